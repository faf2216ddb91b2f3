/*
 * engine/events_internal.h - what the files of events share.
 *
 *   events.c        the object, its thread: when to move, when to forget
 *   events_move.c   from the outbox into the sequence; what is too old
 *   events_watch.c  those who wait for what comes next
 */
#ifndef VIMD_ENGINE_EVENTS_INTERNAL_H
#define VIMD_ENGINE_EVENTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "engine/events.h"

struct event_watches;

/* The head row as it was read or written last. Of the mover's thread alone. */
struct event_head {
    uint64_t last, revision; /* revision 0: no such row */
    bool ours; /* we wrote it last, so it need not be read again */
    int64_t until; /* clock_mono_ms(): end of the lease, ours or another's */
};

struct events {
    uint32_t magic;
    struct store *store;
    struct event_watches *watches;
    struct event_head head;
    atomic_uint_fast64_t last; /* the greatest number known here */

    pthread_mutex_t mutex; /* what follows; a leaf */
    pthread_cond_t cond;
    struct events_settings settings;
    pthread_t thread;
    bool running, stop;
    bool hinted; /* the outbox has something new */
};

/* --- events_move.c ------------------------------------------------------------------------------- */

/* Moves what is in the outbox, a batch of it. RET_MORE: there is more. RET_WAIT_MS: VIM_E_BUSY, somebody
 * else moves, at most for so long. */
int events_move(struct events *events, int64_t retention_ms, bool *ret_more, int64_t *ret_wait_ms,
                struct failure *failure);
/* Deletes events whose time is over, from the first on: what is left has no gaps. */
int events_forget(struct events *events, struct failure *failure);

/* --- events_watch.c ------------------------------------------------------------------------------ */

struct event_watches *event_watches_new(struct events *events);
void event_watches_free(struct event_watches *watches);
int event_watches_start(struct event_watches *watches);
void event_watches_stop(struct event_watches *watches);
/* events->last has grown. */
void event_watches_notify(struct event_watches *watches);

#endif
