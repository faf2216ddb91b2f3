/*
 * Those who wait for the end of tasks: one thread, which looks at a task when this process commits
 * its end, again and again for what other processes do, and when a watch's time is over.
 *
 * A look for what others do takes one scan over the ids of the active tasks, from the first watched one to
 * the last: what is watched and not among them has ended. Where few are watched and many active, a get each
 * is much cheaper, and is taken then. Looks follow each other closely while somebody waits who has begun to
 * a moment ago, and never take more than a small share of the time: with thousands of waits, or of tasks,
 * they become rarer, not more expensive.
 * Lock order: watches->mutex is a leaf, not held over the store or a callback.
 */
#include "engine/tasks_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/thread.h"

/* Between looks while the youngest watch is younger than this, and otherwise. */
#define YOUNG_MS 2000
#define YOUNG_INTERVAL_MS 20
#define OLD_INTERVAL_MS 100
/* Of the time, looks take at most one part in this many. */
#define SHARE 20
/* So many times cheaper gets must be to be made instead of a scan, which does the store more good. */
#define GETS_CHEAPER 4

/* Made by tasks_watch(); whoever takes it out of the list completes and frees it. */
struct watch {
    char task[ID_SIZE];
    int64_t until; /* clock_mono_ms() */
    bool internal; /* the engine's own: not of those that tasks_watch_end() ends */
    bool look; /* the task was committed as ended, or its time is over */
    task_watch_fn complete;
    void *argument;
    struct watch *previous, *next; /* all watches */
    struct watch *same; /* the next of the same task */
};

struct watched {
    char task[ID_SIZE];
    struct watch *first;
    UT_hash_handle hh;
};

struct watches {
    struct tasks *tasks;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct watched *by_task;
    struct watch *all;
    pthread_t thread;
    bool running, stop, notified;
    bool ended; /* nobody waits any more */
    int64_t youngest; /* when the last watch began */
    int64_t get_us, scan_us; /* what a get and a scan took lately; of the thread */
};

struct watches *watches_new(struct tasks *tasks)
{
    struct watches *watches = MEMORY_NEW(struct watches);
    watches->tasks = tasks;
    pthread_mutex_init(&watches->mutex, NULL);
    clock_cond_init(&watches->cond);
    return watches;
}

void watches_free(struct watches *watches)
{
    if (watches) {
        assert(!watches->running && !watches->all);
        pthread_cond_destroy(&watches->cond);
        pthread_mutex_destroy(&watches->mutex);
        free(watches);
    }
}

/* Under the lock. */
static void put_in(struct watches *watches, struct watch *watch)
{
    struct watched *watched;
    HASH_FIND_STR(watches->by_task, watch->task, watched);
    if (!watched) {
        watched = MEMORY_NEW(struct watched);
        memcpy(watched->task, watch->task, ID_SIZE);
        HASH_ADD_STR(watches->by_task, task, watched);
    }
    watch->same = watched->first;
    watched->first = watch;
    watch->next = watches->all;
    if (watches->all) {
        watches->all->previous = watch;
    }
    watches->all = watch;
}

/* Under the lock. */
static void take_out(struct watches *watches, struct watch *watch)
{
    struct watched *watched;
    HASH_FIND_STR(watches->by_task, watch->task, watched);
    assert(watched);
    struct watch **link = &watched->first;
    while (*link != watch) {
        link = &(*link)->same;
    }
    *link = watch->same;
    if (!watched->first) {
        HASH_DEL(watches->by_task, watched);
        free(watched);
    }
    if (watch->previous) {
        watch->previous->next = watch->next;
    } else {
        watches->all = watch->next;
    }
    if (watch->next) {
        watch->next->previous = watch->previous;
    }
    watch->previous = watch->next = watch->same = NULL;
}

static void complete(struct watches *watches, struct watch *watch)
{
    struct task task = {0};
    int code = tasks_get(watches->tasks, watch->task, &task, NULL);
    watch->complete(watch->argument, code, code == VIM_OK ? &task : NULL);
    task_free(&task);
    free(watch);
}

void watches_notify(struct watches *watches, const char *task_id)
{
    struct watched *watched;
    LOCK_GUARD(&watches->mutex);
    HASH_FIND_STR(watches->by_task, task_id, watched);
    for (struct watch *watch = watched ? watched->first : NULL; watch; watch = watch->same) {
        watch->look = true;
        watches->notified = true;
        pthread_cond_signal(&watches->cond);
    }
}

/* Takes out those to be completed, as a list by `next`. Under the lock. */
static struct watch *take_ready(struct watches *watches, int64_t now, bool all)
{
    struct watch *ready = NULL, *next;
    for (struct watch *watch = watches->all; watch; watch = next) {
        next = watch->next;
        if (all || watch->look || watch->until <= now) {
            take_out(watches, watch);
            watch->next = ready;
            ready = watch;
        }
    }
    return ready;
}

static int64_t next_due(const struct watches *watches, int64_t look_due)
{
    int64_t due = watches->all ? look_due : INT64_MAX;
    for (const struct watch *watch = watches->all; watch; watch = watch->next) {
        due = watch->until < due ? watch->until : due;
    }
    return due;
}

/* Has the task ended, or vanished? Without parsing it. */
static bool has_ended(struct watches *watches, const char *task)
{
    struct row row = {0};
    int code = store_get(watches->tasks->store, COLLECTION_TASK, task, &row, NULL);
    bool ended = code == VIM_E_NOT_FOUND ||
                 (code == VIM_OK && task_state_is_final((enum task_state)row.state));
    row_free(&row);
    return ended;
}

/* Watched tasks in order of their ids, and which of them the scan has shown as active. */
struct look {
    struct looked {
        char task[ID_SIZE];
        bool active;
    } * items;
    size_t count, next;
};

static int by_task(const void *a, const void *b)
{
    return strcmp(((const struct looked *)a)->task, ((const struct looked *)b)->task);
}

/* An active task: those watched before it are none. */
static int take_active(void *argument, const struct vim_item *item)
{
    struct look *look = argument;
    while (look->next < look->count && strcmp(look->items[look->next].task, item->id) < 0) {
        look->next++;
    }
    if (look->next < look->count && strcmp(look->items[look->next].task, item->id) == 0) {
        look->items[look->next++].active = true;
    }
    return look->next == look->count;
}

static void look_by_scan(struct watches *watches, struct look *look)
{
    /* An id that comes right before the first one. */
    char after[ID_SIZE];
    memcpy(after, look->items[0].task, ID_SIZE);
    after[ID_SIZE - 2]--;
    struct vim_scan scan = {.collection = COLLECTION_TASK,
                            .flags = VIM_SCAN_NO_BODY,
                            .states = TASK_STATES_ACTIVE,
                            .after = after};
    int code = store_scan(watches->tasks->store, &scan, take_active, look, NULL);
    for (size_t i = 0; i < look->count && code == VIM_OK; i++) {
        if (!look->items[i].active) {
            watches_notify(watches, look->items[i].task);
        }
    }
}

static void look_by_gets(struct watches *watches, const struct look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        if (has_ended(watches, look->items[i].task)) {
            watches_notify(watches, look->items[i].task);
        }
    }
}

/* Looks at every watched task once, for what other processes have done. Returns how long it took. */
static int64_t look_at_all(struct watches *watches)
{
    struct look look = {0};
    pthread_mutex_lock(&watches->mutex);
    look.items = memory_new_array(HASH_COUNT(watches->by_task) + 1, sizeof(*look.items));
    for (struct watched *watched = watches->by_task; watched; watched = watched->hh.next) {
        memcpy(look.items[look.count++].task, watched->task, ID_SIZE);
    }
    pthread_mutex_unlock(&watches->mutex);
    int64_t began = clock_mono_us(), took = 0;
    if (look.count && (int64_t)look.count * watches->get_us * GETS_CHEAPER <= watches->scan_us) {
        look_by_gets(watches, &look);
        took = clock_mono_us() - began;
        watches->get_us = took / (int64_t)look.count;
        /* What scans take is forgotten by and by, so that one is tried again. */
        watches->scan_us -= watches->scan_us / 16;
    } else if (look.count) {
        qsort(look.items, look.count, sizeof(*look.items), by_task);
        look_by_scan(watches, &look);
        took = watches->scan_us = clock_mono_us() - began;
    }
    free(look.items);
    return took;
}

/* When the next look is due, after one that took TOOK_US. */
static int64_t look_again(struct watches *watches, int64_t took_us)
{
    LOCK_GUARD(&watches->mutex);
    int64_t now = clock_mono_ms();
    int64_t interval = now - watches->youngest < YOUNG_MS ? YOUNG_INTERVAL_MS : OLD_INTERVAL_MS;
    int64_t bound = took_us * SHARE / 1000;
    return now + (interval > bound ? interval : bound);
}

static void complete_list(struct watches *watches, struct watch *ready)
{
    struct watch *next;
    for (struct watch *watch = ready; watch; watch = next) {
        next = watch->next;
        complete(watches, watch);
    }
}

static void *watch_main(void *argument)
{
    struct watches *watches = argument;
    int64_t look_due = 0;
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&watches->mutex);
        int64_t due = next_due(watches, look_due);
        if (!watches->stop && !watches->notified && clock_mono_ms() < due) {
            (void)clock_cond_wait_until(&watches->cond, &watches->mutex, due);
        }
        watches->notified = false;
        stop = watches->stop;
        struct watch *ready = take_ready(watches, clock_mono_ms(), stop);
        pthread_mutex_unlock(&watches->mutex);
        complete_list(watches, ready);
        if (!stop && clock_mono_ms() >= look_due) {
            look_due = look_again(watches, look_at_all(watches));
        }
    }
    return NULL;
}

int watches_start(struct watches *watches)
{
    LOCK_GUARD(&watches->mutex);
    watches->stop = false;
    int code = thread_start("task-watch", watch_main, watches, &watches->thread);
    watches->running = code == VIM_OK;
    return code;
}

void watches_stop(struct watches *watches)
{
    if (!watches->running) {
        return;
    }
    pthread_mutex_lock(&watches->mutex);
    watches->stop = true;
    pthread_cond_signal(&watches->cond);
    pthread_mutex_unlock(&watches->mutex);
    (void)pthread_join(watches->thread, NULL);
    pthread_mutex_lock(&watches->mutex);
    watches->running = false;
    pthread_mutex_unlock(&watches->mutex);
}

static void watch_task(struct tasks *tasks, const char *id, int64_t timeout_ms, bool internal,
                       task_watch_fn function, void *argument)
{
    struct watches *watches = tasks->watches;
    struct watch *watch = MEMORY_NEW(struct watch);
    strncpy(watch->task, id, ID_SIZE - 1);
    watch->until = clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    watch->internal = internal;
    watch->complete = function;
    watch->argument = argument;
    pthread_mutex_lock(&watches->mutex);
    bool wait =
        timeout_ms > 0 && watches->running && !watches->stop && (internal || !watches->ended);
    if (wait) {
        watches->youngest = clock_mono_ms();
        put_in(watches, watch);
        pthread_cond_signal(&watches->cond);
    }
    pthread_mutex_unlock(&watches->mutex);
    if (!wait) {
        complete(watches, watch);
    } else if (has_ended(watches, id)) {
        watches_notify(watches, id);
    }
}

void tasks_watch(struct tasks *tasks, const char *id, int64_t timeout_ms, task_watch_fn function,
                 void *argument)
{
    watch_task(tasks, id, timeout_ms, false, function, argument);
}

void watches_add(struct watches *watches, const char *id, int64_t timeout_ms,
                 task_watch_fn function, void *argument)
{
    watch_task(watches->tasks, id, timeout_ms, true, function, argument);
}

void tasks_watch_end(struct tasks *tasks, bool (*which)(const void *argument))
{
    struct watches *watches = tasks->watches;
    LOCK_GUARD(&watches->mutex);
    watches->ended = watches->ended || !which;
    for (struct watch *watch = watches->all; watch; watch = watch->next) {
        if (!watch->internal && (!which || which(watch->argument))) {
            watch->look = true;
            watches->notified = true;
        }
    }
    pthread_cond_signal(&watches->cond);
}
