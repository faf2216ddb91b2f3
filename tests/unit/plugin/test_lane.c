/*
 * Lanes: bounds, deadlines, cancellation, stuck calls, the end. Nothing here is judged by how long
 * it took; what has to wait is held back by semaphores.
 */
#include "test.h"
#include <semaphore.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "plugin/lane.h"
#include "scripted.h"

/* One job of a test: its run function waits for `go` if it is to block, its end is told by `ended`. */
struct job {
    bool blocks; /* until `go` */
    bool cooperative; /* until left_ms() is 0 */
    int result;
    sem_t started, go, ended;
    atomic_int code;
    atomic_int order;
    struct lane *release; /* in DONE */
};

static atomic_int order;

static int run(struct vim_call *call, void *handle, void *argument)
{
    struct job *job = argument;
    assert_ptr_equal(handle, &scripted);
    sem_post(&job->started);
    if (job->blocks) {
        sem_wait(&job->go);
    }
    while (job->cooperative) {
        if (scripted.host->left_ms(call) == 0) {
            return scripted.host->fail(
                call, call_is_cancelled(call) ? VIM_E_CANCELLED : VIM_E_TIMEOUT, 0, "given up");
        }
        clock_sleep_ms(1);
    }
    return job->result;
}

static void done(struct vim_call *call, int code, void *argument)
{
    struct job *job = argument;
    (void)call;
    job->code = code;
    job->order = ++order;
    lane_release(job->release);
    sem_post(&job->ended);
}

static void job_init(struct job *job)
{
    memset(job, 0, sizeof(*job));
    sem_init(&job->started, 0, 0);
    sem_init(&job->go, 0, 0);
    sem_init(&job->ended, 0, 0);
    job->code = 12345;
}

static int post(struct lane *lane, struct job *job, int64_t timeout_ms, uint64_t *ret_id)
{
    const struct lane_job lane_job = {
        .run = run, .done = done, .argument = job, .timeout_ms = timeout_ms};
    return lane_post(lane, &lane_job, ret_id);
}

static struct plugin *plugin;
static struct instance *instance;

static struct lane *open_lane(const struct lane_settings *settings)
{
    struct lane *lane = NULL;
    memset(&scripted, 0, sizeof(scripted));
    order = 0;
    plugin = scripted_plugin(0);
    instance = scripted_instance(plugin, "lane-test");
    assert_int_equal(lane_open(instance, settings, &lane), VIM_OK);
    assert_ptr_equal(lane_instance(lane), instance);
    return lane;
}

static void end_lane(struct lane *lane)
{
    assert_int_equal(lane_close(lane, 60000), VIM_OK);
    lane_release(lane);
    instance_release(instance);
    assert_int_equal(instance_wait_closed(60000), 0);
    assert_int_equal(scripted.closed, 1);
    plugin_free(plugin);
}

static void runs_and_tells(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 2});
    struct job jobs[20];
    for (int i = 0; i < 20; i++) {
        job_init(&jobs[i]);
        jobs[i].result = i % 2 ? VIM_E_NOT_FOUND : VIM_OK;
        assert_int_equal(post(lane, &jobs[i], 0, NULL), VIM_OK);
    }
    for (int i = 0; i < 20; i++) {
        sem_wait(&jobs[i].ended);
        assert_int_equal(jobs[i].code, jobs[i].result);
    }
    struct lane_stats stats = lane_stats(lane);
    assert_int_equal(stats.calls, 20);
    assert_int_equal(stats.errors, 10);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.threads, 2);
    assert_false(lane_is_stuck(lane));
    end_lane(lane);
}

static void queue_is_bounded_and_urgent_goes_first(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1, .queue_limit = 3});
    struct job blocker, waiting[3], refused;
    job_init(&blocker);
    job_init(&refused);
    blocker.blocks = true;
    assert_int_equal(post(lane, &blocker, 0, NULL), VIM_OK);
    sem_wait(&blocker.started);
    for (int i = 0; i < 3; i++) {
        job_init(&waiting[i]);
        const struct lane_job lane_job = {
            .run = run, .done = done, .argument = &waiting[i], .urgent = i == 2};
        assert_int_equal(lane_post(lane, &lane_job, NULL), VIM_OK);
    }
    assert_int_equal(post(lane, &refused, 0, NULL), VIM_E_BUSY);
    sem_post(&blocker.go);
    for (int i = 0; i < 3; i++) {
        sem_wait(&waiting[i].ended);
    }
    assert_int_equal(waiting[2].order, 2);
    assert_int_equal(waiting[0].order, 3);
    assert_int_equal(waiting[1].order, 4);
    assert_int_equal(refused.code, 12345);
    end_lane(lane);
}

static void what_has_too_little_time_left_is_not_begun(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1});
    struct job blocker, late, early;
    job_init(&blocker);
    job_init(&late);
    job_init(&early);
    blocker.blocks = true;
    assert_int_equal(post(lane, &blocker, 0, NULL), VIM_OK);
    sem_wait(&blocker.started);
    struct lane_job lane_job = {
        .run = run, .done = done, .argument = &late, .timeout_ms = 600000, .least_ms = 600000};
    assert_int_equal(lane_post(lane, &lane_job, NULL), VIM_OK);
    lane_job.argument = &early;
    lane_job.least_ms = 1;
    assert_int_equal(lane_post(lane, &lane_job, NULL), VIM_OK);
    clock_sleep_ms(5);
    sem_post(&blocker.go);
    sem_wait(&late.ended);
    sem_wait(&early.ended);
    assert_int_equal(late.code, VIM_E_BUSY);
    assert_int_not_equal(sem_trywait(&late.started), 0);
    assert_int_equal(early.code, VIM_OK);
    end_lane(lane);
}

static void deadline_passes_in_the_queue_and_in_the_call(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1});
    struct job blocker, late, slow;
    job_init(&blocker);
    job_init(&late);
    job_init(&slow);
    blocker.blocks = slow.cooperative = true;
    assert_int_equal(post(lane, &blocker, 0, NULL), VIM_OK);
    sem_wait(&blocker.started);
    assert_int_equal(post(lane, &late, 10, NULL), VIM_OK);
    sem_wait(&late.ended); /* although no thread is free */
    assert_int_equal(late.code, VIM_E_BUSY);
    assert_int_not_equal(sem_trywait(&late.started), 0);
    sem_post(&blocker.go);
    sem_wait(&blocker.ended);
    assert_int_equal(post(lane, &slow, 10, NULL), VIM_OK);
    sem_wait(&slow.ended);
    assert_true(slow.code == VIM_E_TIMEOUT || slow.code == VIM_E_BUSY); /* never ran, or gave up */
    end_lane(lane);
}

static void cancel_reaches_queue_and_call(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1});
    struct job running, queued;
    uint64_t running_id, queued_id;
    job_init(&running);
    job_init(&queued);
    running.cooperative = true;
    assert_int_equal(post(lane, &running, 0, &running_id), VIM_OK);
    sem_wait(&running.started);
    assert_int_equal(post(lane, &queued, 0, &queued_id), VIM_OK);
    assert_true(lane_cancel(lane, queued_id));
    sem_wait(&queued.ended);
    assert_int_equal(queued.code, VIM_E_CANCELLED);
    assert_int_not_equal(sem_trywait(&queued.started), 0);
    assert_true(lane_cancel(lane, running_id));
    sem_wait(&running.ended);
    assert_int_equal(running.code, VIM_E_CANCELLED);
    assert_false(lane_cancel(lane, running_id));
    assert_false(lane_cancel(lane, 4711));
    end_lane(lane);
}

static void drop_line(void *argument, const char *line, size_t length)
{
    (void)argument, (void)line, (void)length;
}

static void wait_for_stuck(struct lane *lane, bool wanted)
{
    for (int i = 0; i < 60000 && lane_is_stuck(lane) != wanted; i++) {
        clock_sleep_ms(1);
    }
    assert_int_equal(lane_is_stuck(lane), wanted);
    assert_int_equal(instance_is_stuck(instance), wanted);
}

static void a_call_that_overstays_is_stuck(void **state)
{
    (void)state;
    log_set_sink(drop_line, NULL);
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1, .grace_ms = 10});
    struct job stuck, queued, refused, next;
    uint64_t id;
    job_init(&stuck);
    job_init(&queued);
    job_init(&refused);
    job_init(&next);
    stuck.blocks = true;
    assert_int_equal(post(lane, &stuck, 60000, &id), VIM_OK);
    sem_wait(&stuck.started);
    assert_int_equal(post(lane, &queued, 60000, NULL), VIM_OK);
    assert_false(lane_is_stuck(lane));
    assert_true(lane_cancel(lane, id)); /* it does not heed that */
    wait_for_stuck(lane, true);
    sem_wait(&queued.ended);
    assert_int_equal(queued.code, VIM_E_UNAVAILABLE);
    assert_int_equal(post(lane, &refused, 0, NULL), VIM_E_UNAVAILABLE);
    assert_int_equal(refused.code, 12345);
    assert_int_equal(lane_stats(lane).stuck, 1);
    sem_post(&stuck.go);
    sem_wait(&stuck.ended);
    assert_int_equal(stuck.code, VIM_OK);
    wait_for_stuck(lane, false);
    assert_int_equal(post(lane, &next, 0, NULL), VIM_OK);
    sem_wait(&next.ended);
    assert_int_equal(next.code, VIM_OK);
    end_lane(lane);
    log_set_sink(NULL, NULL);
}

static void close_drains_then_gives_up(void **state)
{
    (void)state;
    log_set_sink(drop_line, NULL);
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1, .grace_ms = 10});
    struct job stuck, queued, refused;
    job_init(&stuck);
    job_init(&queued);
    job_init(&refused);
    stuck.blocks = true;
    assert_int_equal(post(lane, &stuck, 60000, NULL), VIM_OK);
    sem_wait(&stuck.started);
    assert_int_equal(post(lane, &queued, 60000, NULL), VIM_OK);
    assert_int_equal(lane_close(lane, 10), VIM_E_TIMEOUT);
    sem_wait(&queued.ended);
    assert_int_equal(queued.code, VIM_E_UNAVAILABLE);
    assert_int_equal(post(lane, &refused, 0, NULL), VIM_E_UNAVAILABLE);
    sem_post(&stuck.go);
    sem_wait(&stuck.ended);
    end_lane(lane);
    log_set_sink(NULL, NULL);
}

static void the_last_release_may_come_from_a_job(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 3});
    struct job first, second;
    job_init(&first);
    job_init(&second);
    first.blocks = true;
    assert_int_equal(post(lane, &first, 0, NULL), VIM_OK);
    sem_wait(&first.started);
    second.release = lane_hold(lane);
    assert_int_equal(post(lane, &second, 0, NULL), VIM_OK);
    instance_release(instance); /* the lane holds it */
    lane_release(lane);
    sem_wait(&second.ended);
    assert_int_equal(scripted.closed, 0);
    sem_post(&first.go);
    sem_wait(&first.ended);
    assert_int_equal(instance_wait_closed(60000), 0);
    assert_int_equal(scripted.closed, 1);
    lane_release(NULL);
    plugin_free(plugin);
}

static void threads_follow_the_settings(void **state)
{
    (void)state;
    struct lane *lane = open_lane(&(struct lane_settings){.threads = 1});
    struct job jobs[3];
    lane_configure(lane, &(struct lane_settings){.threads = 3});
    for (int i = 0; i < 3; i++) {
        job_init(&jobs[i]);
        jobs[i].blocks = true;
        assert_int_equal(post(lane, &jobs[i], 0, NULL), VIM_OK);
    }
    for (int i = 0; i < 3; i++) {
        sem_wait(&jobs[i].started); /* all at once */
    }
    lane_configure(lane, &(struct lane_settings){.threads = 1});
    for (int i = 0; i < 3; i++) {
        sem_post(&jobs[i].go);
    }
    for (int i = 0; i < 3; i++) {
        sem_wait(&jobs[i].ended);
    }
    while (lane_stats(lane).threads > 1) {
        clock_sleep_ms(1);
    }
    job_init(&jobs[0]);
    assert_int_equal(post(lane, &jobs[0], 0, NULL), VIM_OK);
    sem_wait(&jobs[0].ended);
    end_lane(lane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_tells),
        cmocka_unit_test(queue_is_bounded_and_urgent_goes_first),
        cmocka_unit_test(what_has_too_little_time_left_is_not_begun),
        cmocka_unit_test(deadline_passes_in_the_queue_and_in_the_call),
        cmocka_unit_test(cancel_reaches_queue_and_call),
        cmocka_unit_test(a_call_that_overstays_is_stuck),
        cmocka_unit_test(close_drains_then_gives_up),
        cmocka_unit_test(the_last_release_may_come_from_a_job),
        cmocka_unit_test(threads_follow_the_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
