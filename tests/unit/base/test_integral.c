/*
 * Integrals of requests in flight: times are made up where the clock does not matter, so nothing here depends on how
 * fast the machine is.
 */
#include "test.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/clock.h"
#include "base/integral.h"

static struct integral_sum before[INTEGRAL_COUNT], after[INTEGRAL_COUNT];

static int64_t grown(enum integral what)
{
    return after[what].us - before[what].us;
}

static void what_has_left_counts_its_time(void **state)
{
    (void)state;
    int64_t now = integral_read(before);
    integral_begin(IN_API, now - 5000);
    integral_begin(IN_API, now - 3000);
    integral_end(IN_API, now - 1000);
    integral_end(IN_API, now - 500);
    integral_read(after);
    assert_int_equal(grown(IN_API), 4000 + 2500);
    assert_int_equal(after[IN_API].here, 0);
    assert_int_equal(after[IN_API].began - before[IN_API].began, 2);
}

static void what_is_there_counts_up_to_now(void **state)
{
    (void)state;
    int64_t then = integral_read(before);
    integral_begin(IN_API, then - 70);
    integral_begin(IN_API, then - 30);
    int64_t now = integral_read(after);
    assert_int_equal(grown(IN_API), 100 + 2 * (now - then));
    assert_int_equal(after[IN_API].here, 2);
    integral_end(IN_API, now);
    integral_end(IN_API, now);
    integral_read(before);
    integral_read(after);
    assert_int_equal(grown(IN_API), 0);
}

static void *leave(void *argument)
{
    integral_end(IN_LOGIC, *(int64_t *)argument);
    return NULL;
}

static void a_request_may_leave_on_another_thread(void **state)
{
    (void)state;
    int64_t at = integral_read(before);
    integral_begin(IN_LOGIC, at - 1000);
    for (int i = 0; i < 20;
         i++) { /* threads that end leave what they counted, and their place to others */
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, leave, &at), 0);
        pthread_join(thread, NULL);
        integral_begin(IN_LOGIC, at);
    }
    integral_end(IN_LOGIC, at);
    integral_read(after);
    assert_int_equal(grown(IN_LOGIC), 1000);
    assert_int_equal(after[IN_LOGIC].here, 0);
}

/* 100 ms in the logic, of which the store takes 30 and the queue 20; a call within a call is not another one. */
static void time_is_spent_once(void **state)
{
    (void)state;
    int64_t now = integral_read(before), at = now - 200000;
    enum integral_scope outside = integral_enter(SCOPE_LOGIC, at);
    assert_int_equal(outside, SCOPE_NONE);
    enum integral call = integral_call(CALLEE_STORE, at + 10000);
    assert_int_equal(call, LOGIC_TO_STORE);
    enum integral inner = integral_call(CALLEE_QUEUE, at + 20000);
    assert_int_equal(inner, INTEGRAL_NONE);
    integral_return(inner, at + 30000);
    integral_return(call, at + 40000);
    assert_int_equal(integral_scope_now(), SCOPE_LOGIC);
    call = integral_call(CALLEE_QUEUE, at + 50000);
    integral_return(call, at + 70000);
    integral_leave(outside, at + 100000);
    call = integral_call(CALLEE_STORE, at + 110000);
    integral_return(call, at + 117000);
    integral_read(after);
    assert_int_equal(grown(OWN_LOGIC), 50000);
    assert_int_equal(grown(LOGIC_TO_STORE), 30000);
    assert_int_equal(grown(LOGIC_TO_QUEUE), 20000);
    assert_int_equal(grown(ASIDE_TO_STORE), 7000);
    assert_int_equal(grown(WORKER_TO_STORE), 0);
    assert_string_equal(integral_edge(LOGIC_TO_QUEUE), "logic>queue");
    assert_string_equal(integral_edge(IN_LOGIC), "");
}

/* 30 ms on a call of the store, of which 20 are waiting for a connection; the call has begun once. */
static void waiting_is_no_call(void **state)
{
    (void)state;
    int64_t now = integral_read(before), at = now - 200000;
    enum integral_scope outside = integral_enter(SCOPE_WORKER, at);
    enum integral call = integral_call(CALLEE_STORE, at + 1000);
    integral_wait(call, at + 3000);
    integral_go_on(call, at + 23000);
    integral_return(call, at + 31000);
    integral_leave(outside, at + 40000);
    call = integral_call(CALLEE_STORE, at + 50000);
    integral_wait(call, at + 51000); /* nobody waits for it */
    integral_go_on(call, at + 58000);
    integral_return(call, at + 60000);
    integral_wait(INTEGRAL_NONE, at + 70000);
    integral_read(after);
    assert_int_equal(grown(OWN_WORKER), 10000);
    assert_int_equal(grown(WORKER_TO_STORE), 10000);
    assert_int_equal(grown(WAITS_WORKER), 20000);
    assert_int_equal(after[WORKER_TO_STORE].began - before[WORKER_TO_STORE].began, 1);
    assert_int_equal(grown(ASIDE_TO_STORE), 3000);
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        assert_int_equal(after[i].here, 0);
    }
}

static atomic_bool stop;

static void *hurry(void *argument)
{
    (void)argument;
    while (!atomic_load(&stop)) {
        integral_begin(IN_WORKER, clock_mono_us());
        integral_end(IN_WORKER, clock_mono_us());
    }
    return NULL;
}

/* Whoever reads while others write sees no more than that many requests, and nothing that goes back. A time without
 * its request, or the other way round, would be off by all the time since the system was started. */
static void readers_see_whole_numbers(void **state)
{
    (void)state;
    pthread_t threads[3];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hurry, NULL), 0);
    }
    int64_t first = integral_read(before);
    struct integral_sum last = before[IN_WORKER];
    for (int i = 0; i < 20000; i++) {
        integral_read(after);
        assert_true(after[IN_WORKER].us >= last.us && after[IN_WORKER].here <= 3);
        last = after[IN_WORKER];
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(last.us - before[IN_WORKER].us <= 3 * (clock_mono_us() - first));
    integral_read(after);
    assert_int_equal(after[IN_WORKER].here, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_left_counts_its_time),
        cmocka_unit_test(what_is_there_counts_up_to_now),
        cmocka_unit_test(a_request_may_leave_on_another_thread),
        cmocka_unit_test(time_is_spent_once),
        cmocka_unit_test(waiting_is_no_call),
        cmocka_unit_test(readers_see_whole_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
