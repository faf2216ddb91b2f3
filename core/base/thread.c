/*
 * Locks: pool->mutex, alone; not held while a posting runs.
 */
#include "base/thread.h"
#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/memory.h"

struct posting {
    void (*function)(void *argument);
    void *argument;
};

#define POOL_MAGIC 0x706F6F6Cu

struct pool {
    uint32_t magic;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t *threads;
    struct posting *ring; /* `limit` places, `queued` of them taken from `head` on */
    uint32_t limit;
    uint32_t head;
    struct pool_stats stats;
    bool closing;
};

int thread_start(const char *name, void *(*function)(void *argument), void *argument,
                 pthread_t *ret_thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret_thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        return VIM_E_UNAVAILABLE;
    }
    char cut[16];
    snprintf(cut, sizeof(cut), "%.15s", name);
    pthread_setname_np(*ret_thread, cut);
    return VIM_OK;
}

unsigned thread_slot(void)
{
    static atomic_uint next;
    static _Thread_local unsigned slot; /* 0: none yet */
    if (!slot) {
        slot = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % THREAD_SLOTS + 1;
    }
    return slot - 1;
}

static void *pool_main(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->stats.queued == 0 && !pool->closing) {
            pthread_cond_wait(&pool->wake, &pool->mutex);
        }
        if (pool->stats.queued == 0) {
            break;
        }
        struct posting posting = pool->ring[pool->head];
        pool->head = (pool->head + 1) % pool->limit;
        pool->stats.queued--;
        pool->stats.running++;
        pthread_mutex_unlock(&pool->mutex);
        posting.function(posting.argument);
        pthread_mutex_lock(&pool->mutex);
        pool->stats.running--;
        pool->stats.done++;
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

int pool_open(const char *name, uint32_t threads, uint32_t queue_limit, struct pool **ret_pool)
{
    struct pool *pool = MEMORY_NEW(struct pool);
    pool->magic = POOL_MAGIC;
    pool->limit = queue_limit ? queue_limit : 1;
    pool->ring = memory_new_array(pool->limit, sizeof(*pool->ring));
    pool->threads = memory_new_array(threads, sizeof(*pool->threads));
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (uint32_t i = 0; i < threads; i++) {
        int code = thread_start(name, pool_main, pool, &pool->threads[i]);
        if (code != VIM_OK) {
            pool_close(pool);
            return code;
        }
        pool->stats.threads++;
    }
    *ret_pool = pool;
    return VIM_OK;
}

int pool_post(struct pool *pool, void (*function)(void *argument), void *argument)
{
    assert(pool->magic == POOL_MAGIC);
    LOCK_GUARD(&pool->mutex);
    if (pool->closing) {
        return VIM_E_UNAVAILABLE;
    }
    if (pool->stats.queued == pool->limit) {
        return VIM_E_BUSY;
    }
    pool->ring[(pool->head + pool->stats.queued) % pool->limit] =
        (struct posting){.function = function, .argument = argument};
    pool->stats.queued++;
    pthread_cond_signal(&pool->wake);
    return VIM_OK;
}

struct pool_stats pool_stats(struct pool *pool)
{
    LOCK_GUARD(&pool->mutex);
    return pool->stats;
}

void pool_close(struct pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->stats.threads; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->ring);
    free(pool->threads);
    pool->magic = 0;
    free(pool);
}
