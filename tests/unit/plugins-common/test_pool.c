/* The pool of connections that store-postgres and queue-redis share: when it makes one, and when it does not. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool.h"
#include "test_host.h"

#define MANY 8

/* How the next attempts to connect are. */
static struct {
    atomic_int attempts, in_progress, most_at_once, failing;
    atomic_int ms; /* that each takes */
} place;

static int open_one(struct vim_call *call, struct pool *pool, int64_t deadline,
                    struct pooled **ret_connection, struct store_error *ret_error)
{
    int now = atomic_fetch_add(&place.in_progress, 1) + 1;

    (void)call, (void)pool, (void)deadline;
    atomic_fetch_add(&place.attempts, 1);
    if (now > atomic_load(&place.most_at_once))
        atomic_store(&place.most_at_once, now);
    usleep((useconds_t)atomic_load(&place.ms) * 1000);
    atomic_fetch_sub(&place.in_progress, 1);
    if (atomic_load(&place.failing))
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "nobody there");
    *ret_connection = calloc(1, sizeof **ret_connection);
    return VIM_OK;
}

static void close_one(struct pooled *connection)
{
    free(connection);
}

static bool is_alive(struct pooled *connection)
{
    return !connection->broken;
}

static struct vim_self self = {.instance = "main"};
static struct pool pool;

static int setup(void **state)
{
    (void)state;
    atomic_store(&place.attempts, 0);
    atomic_store(&place.most_at_once, 0);
    atomic_store(&place.failing, 0);
    atomic_store(&place.ms, 0);
    pool = (struct pool){.settings = {.host = &test_host,
                                      .self = &self,
                                      .connections = MANY,
                                      .connect_timeout = 300,
                                      .backoff_max = 20,
                                      .open = open_one,
                                      .close = close_one,
                                      .alive = is_alive}};
    return pool_init(&pool);
}

static int teardown(void **state)
{
    (void)state;
    pool_clear(&pool);
    return 0;
}

static struct pooled *borrow(void)
{
    struct vim_call call = {0};
    struct pooled *connection = NULL;
    struct store_error error;

    assert_int_equal(pool_borrow(&call, &pool, true, &connection, &error), VIM_OK);
    return connection;
}

static void *borrow_and_keep(void *argument)
{
    struct pooled **connection = argument;

    *connection = borrow();
    return NULL;
}

/* A place that is quick to take connections gets as many as are in use at a time, one after another. */
static void test_grows_to_what_is_needed(void **state)
{
    struct pooled *connections[MANY];
    pthread_t threads[MANY];

    (void)state;
    atomic_store(&place.ms, 2);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, borrow_and_keep, &connections[i]), 0);
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&place.attempts), MANY);
    assert_int_equal(atomic_load(&place.most_at_once), 1);
    for (int i = 0; i < MANY; i++)
        pool_return(connections[i]);
}

/* One that took two seconds to take a connection is not asked for another while one comes back sooner. */
static void test_waits_as_long_as_connecting_takes(void **state)
{
    struct pooled *first, *second = NULL;
    pthread_t thread;

    (void)state;
    atomic_store(&place.ms, 2000);
    first = borrow();
    assert_int_equal(pthread_create(&thread, NULL, borrow_and_keep, &second), 0);
    usleep(50000);
    pool_return(first);
    pthread_join(thread, NULL);
    assert_ptr_equal(second, first);
    assert_int_equal(atomic_load(&place.attempts), 1);
    pool_return(second);
}

/* Where connecting takes long, another connection beside others is made less than a tenth of the time. */
static void test_slow_places_get_few(void **state)
{
    (void)state;
    atomic_store(&place.ms, 400);
    pool_return(borrow());
    assert_true(pool.grow_at - pool_now() > 10 * pool.connect_ms);
}

/* Whoever waits for a connection that others have is told to wait, and who makes one is not. */
static void test_tells_who_waits(void **state)
{
    struct vim_call call = {0};
    struct pooled *connections[MANY], *one = NULL;
    struct store_error error;

    (void)state;
    assert_int_equal(pool_borrow(&call, &pool, true, &connections[0], &error), VIM_OK);
    assert_int_equal(call.waited, 0);
    for (int i = 1; i < MANY; i++)
        connections[i] = borrow();
    call.deadline_ms = test_now() + 50;
    assert_int_equal(pool_borrow(&call, &pool, true, &one, &error), VIM_E_BUSY);
    assert_int_equal(call.waited, 1);
    assert_false(call.waits);
    for (int i = 0; i < MANY; i++)
        pool_return(connections[i]);
}

static void *borrow_and_return(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20; i++) {
        struct pooled *connection = borrow();

        usleep(50000);
        pool_return(connection);
    }
    return NULL;
}

/* Connections that fail to be made are nothing to those who wait for one that works: for longer than
 * connect_timeout. */
static void test_failing_growth_fails_nobody(void **state)
{
    pthread_t threads[3];

    (void)state;
    pool_return(borrow());
    atomic_store(&place.failing, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, borrow_and_return, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&place.attempts) > 1);
}

/* Who has another way is told that all are in use, not that the place is down. */
static void test_impatient_are_told_busy(void **state)
{
    struct vim_call call = {0};
    struct pooled *connection = borrow(), *other = NULL;
    struct store_error error;

    (void)state;
    atomic_store(&place.failing, 1);
    assert_int_equal(pool_borrow(&call, &pool, false, &other, &error), VIM_E_BUSY);
    assert_false(pool_has_free(&pool));
    pool_return(connection);
    assert_true(pool_has_free(&pool));
}

static void test_place_that_is_down(void **state)
{
    struct vim_call call = {0};
    struct pooled *connection = NULL;
    struct store_error error;

    (void)state;
    atomic_store(&place.failing, 1);
    assert_int_equal(pool_borrow(&call, &pool, true, &connection, &error), VIM_E_UNAVAILABLE);
    assert_true(atomic_load(&place.attempts) > 1);
    atomic_store(&place.failing, 0);
    pool_return(borrow());
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_grows_to_what_is_needed), TEST(test_waits_as_long_as_connecting_takes),
        TEST(test_slow_places_get_few),     TEST(test_failing_growth_fails_nobody),
        TEST(test_impatient_are_told_busy), TEST(test_place_that_is_down),
        TEST(test_tells_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
