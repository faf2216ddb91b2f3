/*
 * Lock order: events->mutex is a leaf, not held over the store or the watches.
 */
#include "engine/events_internal.h"

#include <assert.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"

#define EVENTS_MAGIC 0x45564e54u
/* Between moves under load: what comes up meanwhile goes along. */
#define GATHER_MS 20
/* While this process has the lease it looks for what others commit. */
#define LOOK_MS 100
/* Among all, in turns: between looks for what was left behind, and for what is too old. */
#define SWEEP_MS 2000
#define FORGET_MS 10000

struct events *events_new(struct store *store, const struct events_settings *settings)
{
    struct events *events = MEMORY_NEW(struct events);
    events->magic = EVENTS_MAGIC;
    events->store = store;
    events->settings = *settings;
    events->watches = event_watches_new(events);
    pthread_mutex_init(&events->mutex, NULL);
    clock_cond_init(&events->cond);
    return events;
}

void events_free(struct events *events)
{
    if (events) {
        assert(events->magic == EVENTS_MAGIC && !events->running);
        events->magic = 0;
        event_watches_free(events->watches);
        pthread_cond_destroy(&events->cond);
        pthread_mutex_destroy(&events->mutex);
        free(events);
    }
}

void events_configure(struct events *events, const struct events_settings *settings)
{
    LOCK_GUARD(&events->mutex);
    events->settings.retention_ms = settings->retention_ms;
}

/* --- The thread ---------------------------------------------------------------------------------- */

static void outbox_changed(void *argument)
{
    struct events *events = argument;
    LOCK_GUARD(&events->mutex);
    if (!events->hinted) {
        events->hinted = true;
        pthread_cond_signal(&events->cond);
    }
}

/* Moves all there is. Returns when to look again (clock_mono_ms()); 0: only for what others may leave behind.
 * RET_PAUSE: not before, whatever comes into the outbox. */
static int64_t move_all(struct events *events, int64_t retention_ms, uint32_t *failures,
                        bool *ret_pause)
{
    struct failure failure = {0};
    int64_t wait_ms = 0;
    bool more = true;
    int code = VIM_OK;
    while (more && code == VIM_OK) {
        code = events_move(events, retention_ms, &more, &wait_ms, &failure);
        if (code == VIM_OK && events->head.last > atomic_load(&events->last)) {
            atomic_store(&events->last, events->head.last);
            event_watches_notify(events->watches);
        }
    }
    int64_t now = clock_mono_ms();
    *ret_pause = code != VIM_OK;
    if (code == VIM_E_BUSY && wait_ms > 0) {
        *failures = 0;
        return now + wait_ms + 1; /* the other moves ours too */
    }
    if (code == VIM_E_CONFLICT) {
        events->head.ours = false;
        return now + error_backoff_ms(5, 100, 3, NULL);
    }
    if (code != VIM_OK) {
        if ((*failures)++ == 0) {
            log_event(VIM_WARNING, "events are not moved", "error=%s text=%s", error_name(code),
                      failure.text);
        }
        events->head.ours = false;
        return now + error_backoff_ms(100, 5000, *failures, NULL);
    }
    *failures = 0;
    return events->head.ours && events->head.until > now ? now + LOOK_MS : 0;
}

static void forget(struct events *events)
{
    struct failure failure = {0};
    int code = events_forget(events, &failure);
    if (code != VIM_OK) {
        log_event(VIM_WARNING, "old events are not deleted", "error=%s text=%s", error_name(code),
                  failure.text);
    }
}

static void *events_main(void *argument)
{
    struct events *events = argument;
    struct presence *presence = events->settings.presence;
    int64_t due = 0, sweep_due = 0, forget_due = 0, moved = 0;
    uint32_t failures = 0;
    bool pause = false, ours;
    pthread_mutex_lock(&events->mutex);
    while (!events->stop) {
        int64_t now = clock_mono_ms();
        int64_t soon = moved + GATHER_MS, next = due ? due : sweep_due;
        next = events->hinted && !pause && soon < next ? soon : next;
        if (now < next) {
            (void)clock_cond_wait_until(&events->cond, &events->mutex, next);
            continue;
        }
        /* What was left behind before the start waits for nobody's turn. */
        bool wanted = due || events->hinted || sweep_due == 0;
        events->hinted = false;
        int64_t retention_ms = events->settings.retention_ms;
        pthread_mutex_unlock(&events->mutex);
        if (now >= sweep_due) {
            sweep_due = presence_turn(presence, NULL, SWEEP_MS, &ours);
            wanted = wanted || ours;
        }
        if (wanted) {
            due = move_all(events, retention_ms, &failures, &pause);
            moved = clock_mono_ms();
        }
        if (now >= forget_due) {
            forget_due = presence_turn(presence, NULL, FORGET_MS, &ours);
            if (ours) {
                forget(events);
            }
        }
        pthread_mutex_lock(&events->mutex);
    }
    pthread_mutex_unlock(&events->mutex);
    return NULL;
}

int events_start(struct events *events, struct failure *failure)
{
    uint64_t last;
    int code = events_read_last(events->store, &last, failure);
    if (code != VIM_OK) {
        return code;
    }
    atomic_store(&events->last, last);
    store_watch(events->store, COLLECTION_OUTBOX, outbox_changed, events);
    events->stop = false;
    code = event_watches_start(events->watches);
    if (code == VIM_OK) {
        code = thread_start("events", events_main, events, &events->thread);
        events->running = code == VIM_OK;
    }
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "no thread for events");
}

void events_stop(struct events *events)
{
    event_watches_stop(events->watches);
    if (!events->running) {
        return;
    }
    pthread_mutex_lock(&events->mutex);
    events->stop = true;
    pthread_cond_signal(&events->cond);
    pthread_mutex_unlock(&events->mutex);
    (void)pthread_join(events->thread, NULL);
    /* Not before: the thread commits. */
    store_watch(events->store, COLLECTION_OUTBOX, NULL, NULL);
    events->running = false;
}

/* --- The range ----------------------------------------------------------------------------------- */

static int take_first(void *argument, const struct vim_item *item)
{
    (void)event_number(item->id, argument);
    return 1;
}

int events_range(struct events *events, uint64_t *ret_first, uint64_t *ret_last,
                 struct failure *failure)
{
    uint64_t first = 0, last = 0;
    struct vim_scan scan = {.collection = COLLECTION_EVENT, .flags = VIM_SCAN_NO_BODY, .limit = 1};
    /* The head first: an event that comes in between is not before the first. */
    int code = events_read_last(events->store, &last, failure);
    if (code == VIM_OK) {
        code = store_scan(events->store, &scan, take_first, &first, failure);
    }
    if (code == VIM_OK) {
        *ret_first = first ? first : last ? last + 1 : 0;
        *ret_last = last;
    }
    return code;
}
