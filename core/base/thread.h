/*
 * base/thread.h - threads and a pool of them with a bounded queue.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* Starts a thread with all signals blocked (signals are the main thread's) and NAME (cut to 15
 * characters) for ps and gdb. VIM_E_UNAVAILABLE if the system has no more threads. */
int thread_start(const char *name, void *(*function)(void *argument), void *argument,
                 pthread_t *ret_thread);

/* A small number that threads have as evenly as can be, for counters that are spread so that threads do
 * not wait for each other's cache lines: below THREAD_SLOTS. */
#define THREAD_SLOTS 8
unsigned thread_slot(void);

/* A pool: THREADS threads that run what is posted, in order of posting. */
struct pool;

struct pool_stats {
    uint32_t threads;
    uint32_t queued;
    uint32_t running;
    uint64_t done;
};

/* QUEUE_LIMIT is the number of postings that may wait for a thread. */
int pool_open(const char *name, uint32_t threads, uint32_t queue_limit, struct pool **ret_pool);

/* Has FUNCTION(ARGUMENT) called on a thread of the pool. Never blocks. VIM_E_BUSY when the queue is
 * full, VIM_E_UNAVAILABLE when the pool is being closed; then FUNCTION is not called. */
int pool_post(struct pool *pool, void (*function)(void *argument), void *argument);

struct pool_stats pool_stats(struct pool *pool);

/* Runs what is queued, joins the threads, frees the pool. Not from a thread of the pool. NULL is
 * fine. */
void pool_close(struct pool *pool);

#endif
