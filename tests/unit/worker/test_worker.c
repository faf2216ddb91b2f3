/* Threads that pull: they start, take what comes, and stop without leaving a step behind. */
#include "fixtures/house.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/clock.h"
#include "worker/worker.h"

static char task_id[37], resource_id[37];

static bool ended(void *argument)
{
    return task_state_is_final(house_state(argument));
}

static void works(void **state)
{
    (void)state;
    struct worker *worker;
    assert_int_equal(worker_start(house.tasks, 2, &worker, NULL), VIM_OK);
    house_create(task_id, resource_id);
    house_wait(ended, task_id);
    assert_int_equal(house_state(task_id), TASK_SUCCEEDED);
    worker_stop(worker, 60000);
    assert_int_equal(tasks_in_progress(house.tasks), 0);
}

static void stops_while_idle(void **state)
{
    (void)state;
    struct worker *worker;
    assert_int_equal(worker_start(house.tasks, 8, &worker, NULL), VIM_OK);
    worker_stop(worker, 0);
    house_create(task_id, resource_id);
    assert_int_equal(house_state(task_id), TASK_QUEUED);
    assert_int_equal(fake_calls(), 0);
    worker_stop(NULL, 0);
}

static atomic_bool begun, go_on;

static void block(void *argument)
{
    (void)argument;
    atomic_store(&begun, true);
    while (!atomic_load(&go_on)) {
        clock_sleep_ms(1);
    }
}

static bool has_begun(void *argument)
{
    (void)argument;
    return atomic_load(&begun);
}

static void *let_go_soon(void *argument)
{
    clock_sleep_ms(50);
    atomic_store(&go_on, true);
    return argument;
}

static void stop_waits_for_steps(void **state)
{
    (void)state;
    struct worker *worker;
    pthread_t thread;
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1", .before = block});
    assert_int_equal(worker_start(house.tasks, 1, &worker, NULL), VIM_OK);
    house_create(task_id, resource_id);
    house_wait(has_begun, NULL);
    assert_int_equal(tasks_in_progress(house.tasks), 1);
    assert_int_equal(pthread_create(&thread, NULL, let_go_soon, NULL), 0);
    worker_stop(worker, 60000);
    (void)pthread_join(thread, NULL);
    assert_int_equal(house_state(task_id), TASK_SUCCEEDED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(works),
        TEST(stops_while_idle),
        TEST(stop_waits_for_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
