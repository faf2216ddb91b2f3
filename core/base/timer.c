/*
 * Locks: timers->mutex, alone; not held while a callback runs.
 */
#include "base/timer.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

struct timer {
    uint64_t handle;
    int64_t due; /* clock_mono_ms() */
    size_t place; /* in the heap */
    void (*function)(void *argument);
    void *argument;
    UT_hash_handle hh;
};

struct timers {
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* the thread: something earlier is due, or closing */
    pthread_cond_t ran; /* those who cancel: a callback has returned */
    pthread_t thread;
    struct timer **heap; /* earliest first */
    size_t count, capacity;
    struct timer *by_handle;
    uint64_t last_handle;
    uint64_t running; /* handle of the callback in progress, 0 if none */
    bool closing;
};

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->due != b->due ? a->due < b->due : a->handle < b->handle;
}

static void heap_put(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void heap_up(struct timers *timers, size_t place, struct timer *timer)
{
    while (place > 0 && earlier(timer, timers->heap[(place - 1) / 2])) {
        heap_put(timers, place, timers->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(timers, place, timer);
}

static void heap_down(struct timers *timers, size_t place, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= timers->count) {
            break;
        }
        if (child + 1 < timers->count && earlier(timers->heap[child + 1], timers->heap[child])) {
            child++;
        }
        if (!earlier(timers->heap[child], timer)) {
            break;
        }
        heap_put(timers, place, timers->heap[child]);
        place = child;
    }
    heap_put(timers, place, timer);
}

/* Takes a timer out of heap and hash. */
static void timer_remove(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    struct timer *last = timers->heap[--timers->count];
    if (last != timer) {
        heap_down(timers, place, last);
        heap_up(timers, last->place, last);
    }
    HASH_DEL(timers->by_handle, timer);
}

static void *timers_main(void *argument)
{
    struct timers *timers = argument;
    pthread_mutex_lock(&timers->mutex);
    while (!timers->closing) {
        if (timers->count == 0) {
            pthread_cond_wait(&timers->wake, &timers->mutex);
            continue;
        }
        struct timer *timer = timers->heap[0];
        if (timer->due > clock_mono_ms()) {
            clock_cond_wait_until(&timers->wake, &timers->mutex, timer->due);
            continue;
        }
        timer_remove(timers, timer);
        timers->running = timer->handle;
        pthread_mutex_unlock(&timers->mutex);
        timer->function(timer->argument);
        free(timer);
        pthread_mutex_lock(&timers->mutex);
        timers->running = 0;
        pthread_cond_broadcast(&timers->ran);
    }
    pthread_mutex_unlock(&timers->mutex);
    return NULL;
}

int timers_open(const char *name, struct timers **ret_timers)
{
    struct timers *timers = MEMORY_NEW(struct timers);
    pthread_mutex_init(&timers->mutex, NULL);
    clock_cond_init(&timers->wake);
    clock_cond_init(&timers->ran);
    int code = thread_start(name, timers_main, timers, &timers->thread);
    if (code != VIM_OK) {
        free(timers);
        return code;
    }
    *ret_timers = timers;
    return VIM_OK;
}

uint64_t timer_after(struct timers *timers, int64_t delay_ms, void (*function)(void *argument),
                     void *argument)
{
    struct timer *timer = MEMORY_NEW(struct timer);
    timer->due = clock_mono_ms() + (delay_ms > 0 ? delay_ms : 0);
    timer->function = function;
    timer->argument = argument;
    LOCK_GUARD(&timers->mutex);
    uint64_t handle = timer->handle = ++timers->last_handle;
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity ? 2 * timers->capacity : 64;
        timers->heap = memory_resize(timers->heap, timers->capacity, sizeof(struct timer *));
    }
    heap_up(timers, timers->count++, timer);
    HASH_ADD(hh, timers->by_handle, handle, sizeof(timer->handle), timer);
    if (timers->heap[0] == timer) {
        pthread_cond_signal(&timers->wake);
    }
    return handle;
}

bool timer_cancel(struct timers *timers, uint64_t handle)
{
    LOCK_GUARD(&timers->mutex);
    struct timer *timer = NULL;
    HASH_FIND(hh, timers->by_handle, &handle, sizeof(handle), timer);
    if (timer) {
        timer_remove(timers, timer);
        free(timer);
        return true;
    }
    if (!pthread_equal(pthread_self(), timers->thread)) {
        while (handle && timers->running == handle) {
            pthread_cond_wait(&timers->ran, &timers->mutex);
        }
    }
    return false;
}

void timers_close(struct timers *timers)
{
    if (!timers) {
        return;
    }
    pthread_mutex_lock(&timers->mutex);
    timers->closing = true;
    pthread_cond_signal(&timers->wake);
    pthread_mutex_unlock(&timers->mutex);
    pthread_join(timers->thread, NULL);
    HASH_CLEAR(hh, timers->by_handle);
    for (size_t i = 0; i < timers->count; i++) {
        free(timers->heap[i]);
    }
    pthread_cond_destroy(&timers->wake);
    pthread_cond_destroy(&timers->ran);
    pthread_mutex_destroy(&timers->mutex);
    free(timers->heap);
    free(timers);
}
