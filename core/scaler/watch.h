/*
 * scaler/watch.h - one service under watch: what the files of the daemon's part share.
 *
 *   watch.c     the thread: waits for windows, holds the lease
 *   measure.c   the platforms and the source, into the history
 *   usage.c     what replicas have used, as the platform measures it
 *   decide.c    observe, judge, rule
 *   act.c       tells the platform; finds out what came of it
 *   publish.c   the row that is answered from, and commits
 *
 * All of a watch belongs to its thread, but for `stopping`.
 */
#ifndef SCALER_WATCH_H
#define SCALER_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "engine/groups.h"
#include "model/event.h"
#include "model/scaling.h"
#include "scaler/log.h"
#include "scaler/sampler.h"
#include "scaler/scaler.h"
#include "scaler/state.h"

struct instance;
struct usage;

/* How the group of a block is, as far as it is known. */
struct watch_group {
    struct vim_target *platform; /* NULL: it cannot be scaled */
    int64_t timeout_ms; /* of a call that changes something */
    struct group_state state; /* as seen last */
    bool seen; /* ever */
    bool known; /* with this look */
    char why[256]; /* why not */
    struct usage *usage;
};

/* Something that is wrong, now and then: told when it begins, and when it has been well for a while. */
struct episode {
    bool told;
    int64_t wrong_at; /* monotonic ms: when it was so last */
};

/* What was told as events. */
struct told {
    bool stale;
    struct episode refused; /* the policy gives no decision */
    struct episode
        groups[HISTORY_BLOCKS_MAX]; /* it is not known how one is, or a replica does not come up */
};

struct watch {
    struct scaler *scaler;
    const struct service *service;
    struct sampler *sampler;
    struct history *history;
    struct instance *policy, *shadows[SERVICE_SHADOWS_MAX];
    struct watch_group groups[HISTORY_BLOCKS_MAX]; /* by block */
    FILE *record;
    int64_t recorded; /* end of the window that was written last */
    bool record_failed;

    /* Measured. */
    int64_t good; /* end of the last window that the source has told something of; 0: none */
    char source_error[512]; /* why it has not */
    char source_missing[512]; /* what it has told nothing of, though it has told something */

    /* The lease. */
    bool is_actor;
    int64_t lease_until; /* monotonic ms */
    int64_t lease_ms;
    uint64_t revision; /* of the state's row, as this process has written it */
    struct watch_state state;

    /* The last decision. */
    int64_t decided; /* end of the window after which it was made */
    struct snapshot snapshot;
    struct judgement judgement, shadow_judgements[SERVICE_SHADOWS_MAX];
    struct guard_ruling ruling;
    json_t *decision; /* as shown; NULL: there was none */
    struct log_mark mark; /* of the last one that was logged */
    int64_t marked; /* when; 0: none was */

    struct told told, told_in_store; /* with what is not committed yet, and without it */

    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* a leaf: for `cond` */
    pthread_cond_t cond; /* `stopping` was set */
    atomic_bool stopping;
};

/* --- measure.c ------------------------------------------------------------------------------------ */

/* Takes the window that ended at END into the history. */
void watch_measure(struct watch *watch, int64_t end);
/* Adds it to the trace, if this process decides and one is to be written: as the policy sees it. */
void watch_record(struct watch *watch);
bool watch_is_stale(const struct watch *watch, int64_t now);

/* --- usage.c -------------------------------------------------------------------------------------- */

/* Puts what the replicas of BLOCK have used since the last look, where the source has told nothing. */
void usage_measure(struct watch *watch, uint32_t block, int64_t timeout_ms);
void usage_free(struct usage *usage); /* NULL is fine */

/* --- publish.c: commits --------------------------------------------------------------------------- */

#define BATCH_MAX 32u

/* Writes of one commit, with what they point to. All zero at first. */
struct batch {
    struct vim_write writes[BATCH_MAX];
    uint32_t count;
    char *texts[3 * BATCH_MAX]; /* to be freed */
    uint32_t text_count;
    struct event_buffer events[BATCH_MAX];
    uint32_t event_count;
};

/* BODY is taken over. */
void batch_put(struct batch *batch, const char *collection, const char *id, const char *parent,
               char *body, uint64_t expect, uint32_t state, int64_t due);
/* An event about the service; DATA (taken over, may be NULL) besides `service` and `reason`. */
void batch_tell(struct batch *batch, const struct watch *watch, enum event_type type,
                enum vim_level level, const char *reason, json_t *data);
/* Sets the stored decision ID anew. Nothing is written if it is not there any more. */
void batch_restate(struct batch *batch, const struct watch *watch, const char *id,
                   enum decision_state state, const json_t *more);
/* Commits BATCH with the state, under the lease, and empties it. False: nothing was written, or that is not known;
 * then this process is the actor no longer, until it has read the state again, and what was told was not. */
bool watch_commit(struct watch *watch, struct batch *batch);

/* Adds the row that GET answers from. */
void watch_publish(struct watch *watch, struct batch *batch, int64_t now);

/* --- decide.c ------------------------------------------------------------------------------------- */

/* One round of the actor. */
void watch_decide(struct watch *watch);

/* --- act.c ---------------------------------------------------------------------------------------- */

/* Carries a ruling out, as decision ID with BODY (taken over: a new one, or NULL: it is stored already). Commits.
 * Returns what became of it; what came of the call is left in BATCH. */
enum decision_state watch_act(struct watch *watch, struct batch *batch, const char *id,
                              json_t *body, const struct guard_ruling *ruling);
/* Finds out what came of an action that this process or another one has begun. False: that is still not known, and
 * nothing else may be done. */
bool watch_resolve(struct watch *watch, struct batch *batch, int64_t now);

/* --- watch.c -------------------------------------------------------------------------------------- */

int watch_open(struct watch *watch, struct scaler *scaler, const struct service *service,
               struct failure *failure);
int watch_start(struct watch *watch, struct failure *failure);
void watch_stop(struct watch *watch); /* and joins */
void watch_close(struct watch *watch);

/* What all watches share. */
struct scaler {
    struct scaler_settings settings;
    struct vims *platforms;
    struct watch *watches;
    size_t count;
};

#endif
