/*
 * Those who wait for the next event: one thread, which looks at the head row now and then as long as
 * somebody waits, for what other processes do.
 * Lock order: watches->mutex is a leaf, not held over the store or a callback.
 */
#include "engine/events_internal.h"

#include <assert.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#define LOOK_MS 100

/* Made by events_watch(); whoever takes it out of the list completes and frees it. */
struct event_watch {
    uint64_t after;
    int64_t until; /* clock_mono_ms() */
    bool end; /* complete it now */
    events_watch_fn complete;
    void *argument;
    struct event_watch *next;
};

struct event_watches {
    struct events *events;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct event_watch *all;
    pthread_t thread;
    bool running, stop, notified;
    bool ended; /* nobody waits any more */
};

struct event_watches *event_watches_new(struct events *events)
{
    struct event_watches *watches = MEMORY_NEW(struct event_watches);
    watches->events = events;
    pthread_mutex_init(&watches->mutex, NULL);
    clock_cond_init(&watches->cond);
    return watches;
}

void event_watches_free(struct event_watches *watches)
{
    assert(!watches->running && !watches->all);
    pthread_cond_destroy(&watches->cond);
    pthread_mutex_destroy(&watches->mutex);
    free(watches);
}

void event_watches_notify(struct event_watches *watches)
{
    LOCK_GUARD(&watches->mutex);
    watches->notified = true;
    pthread_cond_signal(&watches->cond);
}

/* Takes out those to be completed. Under the lock. */
static struct event_watch *take_ready(struct event_watches *watches, uint64_t last, int64_t now,
                                      bool all)
{
    struct event_watch *ready = NULL;
    for (struct event_watch **link = &watches->all; *link;) {
        struct event_watch *watch = *link;
        if (all || watch->end || watch->until <= now || watch->after < last) {
            *link = watch->next;
            watch->next = ready;
            ready = watch;
        } else {
            link = &watch->next;
        }
    }
    return ready;
}

static void complete_list(struct event_watch *ready)
{
    while (ready) {
        struct event_watch *next = ready->next;
        ready->complete(ready->argument);
        free(ready);
        ready = next;
    }
}

static int64_t next_due(const struct event_watches *watches, int64_t look)
{
    int64_t due = watches->all ? look : INT64_MAX;
    for (const struct event_watch *watch = watches->all; watch; watch = watch->next) {
        due = watch->until < due ? watch->until : due;
    }
    return due;
}

/* Events that others have numbered. */
static void look_at_head(struct events *events)
{
    uint64_t last;
    if (events_read_last(events->store, &last, NULL) == VIM_OK) {
        uint_fast64_t known = atomic_load(&events->last);
        while (last > known && !atomic_compare_exchange_weak(&events->last, &known, last)) {
        }
    }
}

static void *watch_main(void *argument)
{
    struct event_watches *watches = argument;
    int64_t look = 0;
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&watches->mutex);
        int64_t due = next_due(watches, look);
        if (!watches->stop && !watches->notified && clock_mono_ms() < due) {
            (void)clock_cond_wait_until(&watches->cond, &watches->mutex, due);
        }
        bool looking = watches->all && clock_mono_ms() >= look;
        watches->notified = false;
        pthread_mutex_unlock(&watches->mutex);
        if (looking) {
            look_at_head(watches->events);
            look = clock_mono_ms() + LOOK_MS;
        }
        pthread_mutex_lock(&watches->mutex);
        stop = watches->stop;
        struct event_watch *ready =
            take_ready(watches, atomic_load(&watches->events->last), clock_mono_ms(), stop);
        pthread_mutex_unlock(&watches->mutex);
        complete_list(ready);
    }
    return NULL;
}

int event_watches_start(struct event_watches *watches)
{
    LOCK_GUARD(&watches->mutex);
    watches->stop = false;
    int code = thread_start("event-watch", watch_main, watches, &watches->thread);
    watches->running = code == VIM_OK;
    return code;
}

void event_watches_stop(struct event_watches *watches)
{
    pthread_mutex_lock(&watches->mutex);
    bool running = watches->running && !watches->stop;
    watches->stop = true;
    pthread_cond_signal(&watches->cond);
    pthread_mutex_unlock(&watches->mutex);
    if (running) {
        (void)pthread_join(watches->thread, NULL);
        pthread_mutex_lock(&watches->mutex);
        watches->running = false;
        pthread_mutex_unlock(&watches->mutex);
    }
}

void events_watch(struct events *events, uint64_t after, int64_t timeout_ms,
                  events_watch_fn complete, void *argument)
{
    struct event_watches *watches = events->watches;
    struct event_watch *watch = MEMORY_NEW(struct event_watch);
    *watch = (struct event_watch){.after = after,
                                  .until = clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0),
                                  .complete = complete,
                                  .argument = argument};
    pthread_mutex_lock(&watches->mutex);
    bool wait = timeout_ms > 0 && watches->running && !watches->stop && !watches->ended &&
                atomic_load(&events->last) <= after;
    if (wait) {
        watch->next = watches->all;
        watches->all = watch;
        pthread_cond_signal(&watches->cond);
    }
    pthread_mutex_unlock(&watches->mutex);
    if (!wait) {
        complete_list(watch);
    }
}

void events_watch_end(struct events *events, bool (*which)(const void *argument))
{
    struct event_watches *watches = events->watches;
    LOCK_GUARD(&watches->mutex);
    watches->ended = watches->ended || !which;
    for (struct event_watch *watch = watches->all; watch; watch = watch->next) {
        watch->end = watch->end || !which || which(watch->argument);
    }
    watches->notified = true;
    pthread_cond_signal(&watches->cond);
}
