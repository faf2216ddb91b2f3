/*
 * One call of the mock cloud from its beginning to its end: it is counted, the fault script may strike it, it takes its
 * time, and while it looks at the cloud or changes it the cloud is locked. Private to the front (backend.c).
 *
 *     visit_begin() == 200 -> ... visit_conclude() if something was changed ... -> visit_leave()
 */
#ifndef MOCK_VISIT_H
#define MOCK_VISIT_H

#include <pthread.h>
#include "backend.h"
#include "page.h"
#include "rules.h"

/* Counted like kinds, though no things. */
enum {
    EXTRA_RULE = KIND_COUNT,
    EXTRA_VIM,
    EXTRA_QUOTA,
    EXTRA_ZONE,
    EXTRA_HOST,
    EXTRA_CONSOLE,
    COUNTED
};
struct backend {
    pthread_mutex_t mutex;
    struct backend_config config;
    struct cloud cloud;
    struct journal *journal;
    struct counters *counters;
    uint64_t requests; /* numbers the request ids of this process */
    bool expired; /* the token, until it is renewed */
};

/* One call from its beginning to its end. */
struct visit {
    struct backend *backend;
    const struct backend_caller *caller;
    struct reply *reply;
    const char *kind; /* its name; KIND_NUMBER is its number, or EXTRA_... */
    unsigned number;
    enum call call;
    const struct fault_rule *fault; /* that strikes this call, or NULL */
    int64_t now;
};

/* Takes both locks. If it cannot read the journal: -1, and nothing is locked. */
int visit_lock(struct backend *backend);
void visit_unlock(struct backend *backend);

/* Replaces a journal that has more records than THRESHOLD and than there is to tell. -1: it could not be written. */
int visit_compact(struct backend *backend, uint64_t threshold);

/* What is answered; returns STATUS. */
int visit_answer(struct visit *visit, int status, const char *code, const char *message);
/* HOW: NO_ANSWER_..., which it returns. */
int visit_no_answer(struct visit *visit, int how, const char *message);

/* Begins a call: counts it, draws its fault, takes its time, and lets a refusal strike. If the
 * result is 200 the cloud is locked and settled, and visit_leave() follows; else the call has ended. */
int visit_enter(struct visit *visit);
/* The same for a call about things of KIND, which it looks up. */
int visit_begin(struct visit *visit, const char *kind);

/* The circumstances of a change. NAME is what its latencies are drawn for. */
struct scene visit_scene(struct visit *visit, const char *name);

/* Commits the transaction if STATUS is good. Returns the final status. */
int visit_conclude(struct visit *visit, int status);

/* Ends a call that has come to STATUS: lets a fault take the answer away. PAGE may be NULL. */
int visit_leave(struct visit *visit, struct page *page, int status);

#endif
