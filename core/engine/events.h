/*
 * engine/events.h - from the outbox into the sequence, and those who wait for what comes next.
 * Why there are two steps is told in model/event.h.
 *
 * Any process may move; to keep two from getting in each other's way whoever moves has a lease on the
 * head row for a few seconds, which every move renews. An idle system writes nothing: the lease runs out,
 * and whoever commits an event next moves it at once. For what a process that has ended left behind all look in turns. That no number is given twice and no event moved
 * twice does not hang on the lease, but on the revisions that the commit expects.
 *
 * All functions may be called from any thread.
 */
#ifndef VIMD_ENGINE_EVENTS_H
#define VIMD_ENGINE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include "engine/presence.h"
#include "model/event.h"
#include "model/store.h"

struct events;

struct events_settings {
    int64_t retention_ms; /* how long events are kept; 0: for ever */
    struct presence
        *presence; /* of the processes that share the store; NULL: there are no others */
};

struct events *events_new(struct store *store, const struct events_settings *settings);
void events_free(struct events *events); /* NULL is fine */
/* Settings that a reload changed (not `presence`); they hold for events that are moved from then on. */
void events_configure(struct events *events, const struct events_settings *settings);

/* Starts the threads; from then on the store tells of commits to the outbox (store_watch). */
int events_start(struct events *events, struct failure *failure);
/* What is in the outbox stays there for the next start, or another process. */
void events_stop(struct events *events);

/* The number of the last event; 0: there is none. */
int events_read_last(struct store *store, uint64_t *ret_last, struct failure *failure);

/* Which events there are: the numbers of the first and the last one; both 0 if there never was one. After
 * all were forgotten FIRST is LAST + 1. */
int events_range(struct events *events, uint64_t *ret_first, uint64_t *ret_last,
                 struct failure *failure);

/* Calls COMPLETE once: when there is an event behind AFTER, or when TIMEOUT_MS is over; on a thread of
 * its own, or before this returns. */
typedef void (*events_watch_fn)(void *argument);
void events_watch(struct events *events, uint64_t after, int64_t timeout_ms,
                  events_watch_fn complete, void *argument);
/* Completes now those watches for whose argument WHICH returns true. NULL: all of them, and none waits
 * from then on. WHICH is called under a lock. */
void events_watch_end(struct events *events, bool (*which)(const void *argument));

#endif
