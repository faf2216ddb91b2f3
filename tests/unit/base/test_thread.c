/*
 * Pools and timers. Order and number are checked, never how long something took.
 */
#include "test.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <vim/plugin.h>
#include "base/clock.h"
#include "base/thread.h"
#include "base/timer.h"

static sem_t entered, may_go;

static void block(void *argument)
{
    sem_post(&entered);
    sem_wait(&may_go);
    atomic_fetch_add((atomic_int *)argument, 1);
}

static void count(void *argument)
{
    atomic_fetch_add((atomic_int *)argument, 1);
}

static void pool_is_bounded_and_drains(void **state)
{
    (void)state;
    atomic_int done = 0;
    struct pool *pool = NULL;
    sem_init(&entered, 0, 0);
    sem_init(&may_go, 0, 0);
    assert_int_equal(pool_open("test-pool", 2, 3, &pool), VIM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pool_post(pool, block, &done), VIM_OK);
        sem_wait(&entered);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pool_post(pool, count, &done), VIM_OK);
    }
    assert_int_equal(pool_post(pool, count, &done), VIM_E_BUSY);
    struct pool_stats stats = pool_stats(pool);
    assert_int_equal(stats.threads, 2);
    assert_int_equal(stats.queued, 3);
    assert_int_equal(stats.running, 2);
    sem_post(&may_go);
    sem_post(&may_go);
    pool_close(pool);
    assert_int_equal(atomic_load(&done), 5);
    pool_close(NULL);
}

struct order {
    pthread_mutex_t mutex;
    int seen[100];
    int count;
};
static struct order order = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static int numbers[100];

static void note(void *argument)
{
    pthread_mutex_lock(&order.mutex);
    order.seen[order.count++] = *(int *)argument;
    pthread_mutex_unlock(&order.mutex);
}

static void post_semaphore(void *argument)
{
    sem_post(argument);
}

static void timers_fire_in_order_of_time(void **state)
{
    (void)state;
    struct timers *timers = NULL;
    sem_t all;
    sem_init(&all, 0, 0);
    order.count = 0;
    assert_int_equal(timers_open("test-timer", &timers), VIM_OK);
    uint64_t handles[100];
    for (int i = 0; i < 100; i++) {
        numbers[i] = (i * 37) % 100;
        handles[i] = timer_after(timers, 200 + numbers[i] * 5, note, &numbers[i]);
        assert_int_not_equal(handles[i], 0);
    }
    for (int i = 0; i < 100; i += 2) {
        assert_true(timer_cancel(timers, handles[i]));
        assert_false(timer_cancel(timers, handles[i]));
    }
    timer_after(timers, 800, post_semaphore, &all);
    sem_wait(&all);
    assert_int_equal(order.count, 50);
    for (int i = 1; i < order.count; i++) {
        assert_true(order.seen[i - 1] < order.seen[i]);
    }
    assert_false(timer_cancel(timers, handles[1]));
    assert_false(timer_cancel(timers, 0));
    timers_close(timers);
    timers_close(NULL);
}

struct slow {
    struct timers *timers;
    _Atomic(uint64_t) handle;
    atomic_bool finished;
};

static void slow_callback(void *argument)
{
    struct slow *slow = argument;
    sem_post(&entered);
    clock_sleep_ms(30);
    assert_false(timer_cancel(slow->timers,
                              atomic_load(&slow->handle))); /* its own: does not wait for itself */
    atomic_store(&slow->finished, true);
}

static void cancel_waits_for_a_running_callback(void **state)
{
    (void)state;
    struct slow slow = {0};
    sem_init(&entered, 0, 0);
    assert_int_equal(timers_open("test-timer", &slow.timers), VIM_OK);
    slow.handle = timer_after(slow.timers, 0, slow_callback, &slow);
    sem_wait(&entered);
    assert_false(timer_cancel(slow.timers, slow.handle));
    assert_true(atomic_load(&slow.finished));
    timer_after(slow.timers, 100000, note, &numbers[0]);
    timers_close(slow.timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_is_bounded_and_drains),
        cmocka_unit_test(timers_fire_in_order_of_time),
        cmocka_unit_test(cancel_waits_for_a_running_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
