/*
 * The cloud side of the mock: what stands at the other end of the wire in a real driver.
 *
 * It speaks as clouds do - calls that answer with a status as HTTP has it, things that build for a
 * while, quotas, pages, a fault script - and it is no nicer than clouds are: it does not know that
 * two creates with the same tag are the same wish, and makes two things. Not making two is the
 * driver's business (driver.c).
 *
 * All of it is in two files next to each other, which several processes may share:
 *   NAME.journal        the things (journal.h)
 *   NAME.counters.json  how often each call was made and each fault struck (counters.h)
 *
 * Threads: calls may come in parallel.
 */
#ifndef MOCK_BACKEND_H
#define MOCK_BACKEND_H

#include "chance.h"
#include "cloud.h"
#include "counters.h"

struct backend;

enum amount { AMOUNT_VCPUS, AMOUNT_RAM, AMOUNT_STORAGE, AMOUNT_COUNT };

struct backend_config {
    uint64_t seed; /* of the faults and latencies; of the ids too when the cloud is new */
    enum latency_distribution distribution;
    int64_t build_ms; /* mean time until a new server is ACTIVE, or an action is done */
    int64_t delete_ms; /* mean time until a deleted server is gone */
    int64_t network_ms; /* mean time until a new network is ACTIVE */
    int64_t builders; /* so many things of a kind are built at once; 0 for no limit */
    int64_t call_ms; /* how long each call takes */
    size_t page_limit; /* the most things on one page */
    int64_t quotas[KIND_COUNT]; /* the most things of a kind; -1 for no limit */
    struct amount_quota {
        bool is_set;
        int64_t most;
    } amounts[AMOUNT_COUNT]; /* the most that all things together may use */
    int64_t hosts; /* 1..PLACES; 0 for the usual number */
    int64_t host_vcpus; /* of each; 0 for no limit */
    int64_t host_ram; /* MiB */
    const struct fault_rule *faults; /* stays valid as long as it is in use */
    size_t fault_count;
};

/* Who calls: the wait for slow calls ends when LEFT_MS tells 0. With OUTSIDE set (the command line
 * tool) there are no counts, faults, delays and quotas, and things are ready at once. */
struct backend_caller {
    int64_t (*left_ms)(void *context);
    void *context;
    bool outside;
};

/* How a call ended. 200..299: done. 400 and more: refused, `code` says why in a word ("invalid",
 * "not_found", "conflict", "in_use", "denied", "quota", "busy", "unavailable", "expired",
 * "internal"). NO_ANSWER_*: nobody knows. */
enum { NO_ANSWER_BROKEN = 0, NO_ANSWER_TIMEOUT = -1 };

struct reply {
    int status;
    uint32_t retry_after_ms;
    char code[16];
    char message[200];
    char request_id[64]; /* the cloud's own; empty if there was no answer */
};

/* A thing as an answer holds it. */
struct view {
    const char *id;
    const char *tag; /* NULL if it has none */
    const char *status;
    const char *body; /* JSON, as docs/resources.md */
    const char *did; /* tag of the last action, or NULL */
    uint64_t seq;
    int64_t left_ms; /* of what is pending: until it is ready or gone; -1 if that never comes */
    bool pending;
    bool shared;
    bool gone; /* only the id is told */
};

/* The things of an answer. Zero-initialise; page_free() when done. */
struct page {
    struct view *views;
    size_t count;
    uint64_t more; /* where the next page begins; 0 if this was the last */
    int64_t time; /* of the cloud, when it answered */
    struct text text; /* what the views point into */
};

void page_free(struct page *page);

/* Opens the cloud in PATH (NAME.journal), whose counters are in COUNTERS_PATH; makes it, with a few
 * flavors, images and an external network, when it is new. NAME enters its ids. CONFIG is copied.
 * Returns 0, or -1 with the reason in ERROR. */
int backend_open(const char *path, const char *counters_path, const char *name,
                 const struct backend_config *config, char *error, size_t error_size,
                 struct backend **ret_backend);
void backend_close(struct backend *backend);

/* Takes CONFIG from now on. No call is in progress. */
void backend_configure(struct backend *backend, const struct backend_config *config);

/* All calls return reply->status. What they emit is in PAGE. KIND is a kind's name or
 * "security-group-rule", which can be created only. */
struct backend_query {
    const char *kind;
    uint64_t marker; /* 0, or `more` of the page before */
    size_t limit; /* 0 for as many as a page holds */
    int64_t since; /* 0, or only what has changed at that time or later */
    const char *tag; /* NULL, or only what has this tag, or this tag and "/..." */
    const char *of; /* NULL, or only what lies in or is plugged into the thing with this id */
};
int backend_list(struct backend *backend, const struct backend_caller *caller,
                 const struct backend_query *query, struct page *page, struct reply *reply);
int backend_get(struct backend *backend, const struct backend_caller *caller, const char *kind,
                const char *id, struct page *page, struct reply *reply);

/* SPEC and FIELDS are borrowed. Beyond docs/resources.md a port may have "owned": true (it goes when
 * its server goes), and a security-group "default_rules": false. */
int backend_create(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   json_t *spec, const char *tag, struct page *page, struct reply *reply);
int backend_update(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, json_t *fields, struct page *page, struct reply *reply);
int backend_delete(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, struct reply *reply);
int backend_action(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, const char *action, json_t *arguments, const char *tag,
                   struct page *page, struct reply *reply);

/* The data itself is not kept: only its size and checksum. */
int backend_upload(struct backend *backend, const struct backend_caller *caller, const char *id,
                   int64_t size, const char *checksum, struct page *page, struct reply *reply);

/* What the cloud tells of itself: WHAT is "quota", "zone" or "host"; or "console", with the server's id
 * and "/TYPE" as ID. */
int backend_look(struct backend *backend, const struct backend_caller *caller, const char *what,
                 const char *id, struct page *page, struct reply *reply);

/* A call that asks nothing: is the cloud there, is the token good? Renews an expired token. */
int backend_hello(struct backend *backend, const struct backend_caller *caller,
                  struct reply *reply);

/* Adds one line of JSON per thing that nobody would expect on a tidy cloud: things of one kind with
 * the same tag, and ports that were made for a server which does not exist. Returns how many. */
size_t backend_orphans(struct backend *backend, struct text *text);

#endif
