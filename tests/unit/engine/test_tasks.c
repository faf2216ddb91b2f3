/* Each way a task can go, on a driver that does as it is told. */
#include "fixtures/house.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "engine/owner.h"

static char task_id[37], resource_id[37];

static void check_resource(enum resource_status status, const char *backend_id, bool pending)
{
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, status);
    if (backend_id) {
        assert_string_equal(resource.backend_id, backend_id);
    } else {
        assert_null(resource.backend_id);
    }
    assert_int_equal(resource.pending, pending);
    assert_null(resource.task);
    resource_free(&resource);
}

static void create_succeeds(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_string_equal(resource.task, task_id);
    assert_int_equal(resource.status, STATUS_BUILD);
    resource_free(&resource);
    house_work();
    struct task task = house_task(task_id);
    assert_int_equal(task.state, TASK_SUCCEEDED);
    assert_int_equal(task.progress, 100);
    assert_int_equal(task.due, 0);
    assert_null(task.owner);
    assert_int_equal(task.step_count, 1);
    assert_string_equal(task.request_id, resource_id);
    CLEANUP_FREE char *backend_id = text_format("made-%s", resource_id);
    check_resource(STATUS_ACTIVE, backend_id, false);
    assert_int_equal(house_count(COLLECTION_ALIAS), 1);
    char found[37];
    assert_int_equal(aliases_find(house.aliases, "edge", "server", backend_id, found, NULL),
                     VIM_OK);
    assert_string_equal(found, resource_id);
    assert_int_equal(fake_calls(), 1);
    assert_int_equal(fake_call(0).attempt, 0);
    task_free(&task);
}

static void steps_keep_their_cursor(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){
        .code = VIM_AGAIN, .keep = "port:p1", .again_ms = 1, .note_step = "create-port"});
    fake_script(&(struct fake_outcome){
        .code = VIM_AGAIN, .emit_id = "s1", .emit_status = "BUILD", .again_ms = 1});
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1"});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 3);
    assert_string_equal(fake_call(0).kept, "");
    assert_string_equal(fake_call(1).kept, "port:p1");
    assert_string_equal(fake_call(2).kept, "port:p1");
    assert_string_equal(fake_call(1).id, "");
    assert_string_equal(fake_call(2).id, "s1");
    check_resource(STATUS_ACTIVE, "s1", false);
    struct task task = house_task(task_id);
    assert_int_equal(task.step_count, 2);
    assert_string_equal(task.steps[0].name, "create-port");
    assert_string_equal(task.steps[0].state, "succeeded");
    assert_int_equal(task.steps[1].count, 2);
    task_free(&task);
}

static void backend_id_is_stored_while_building(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN,
                                       .emit_id = "s1",
                                       .emit_status = "BUILD",
                                       .emit_flags = VIM_ITEM_PENDING,
                                       .again_ms = 600000});
    house_create(task_id, resource_id);
    house_work();
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_string_equal(resource.backend_id, "s1");
    assert_int_equal(resource.status, STATUS_BUILD);
    assert_true(resource.pending);
    assert_string_equal(resource.task, task_id);
    resource_free(&resource);
    assert_int_equal(house_state(task_id), TASK_WAITING);
    assert_int_equal(house_count(COLLECTION_ALIAS), 1);
}

static void unknown_outcome_is_told(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_LOST});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 2);
    assert_int_equal(fake_call(0).attempt, 0);
    assert_int_equal(fake_call(1).attempt, 1);
    assert_string_equal(fake_call(0).request_id, fake_call(1).request_id);
    assert_string_equal(fake_call(1).request_id, resource_id);
}

static void transient_error_counts_no_unknown(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_BUSY, .retry_after_ms = 3});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 2);
    assert_int_equal(fake_call(1).attempt, 0);
    struct task task = house_task(task_id);
    assert_int_equal(task.error.code, 0);
    task_free(&task);
}

static void attempts_run_out(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_E_UNAVAILABLE, .text = "it is down"});
    }
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_calls(), 4);
    assert_int_equal(fake_call(3).undo, 1);
    check_resource(STATUS_ERROR, NULL, false);
    struct task task = house_task(task_id);
    assert_int_equal(task.error.code, VIM_E_UNAVAILABLE);
    assert_string_equal(task.error.text, "it is down");
    task_free(&task);
}

static void progress_resets_attempts(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_E_UNAVAILABLE});
        fake_script(&(struct fake_outcome){.code = VIM_E_UNAVAILABLE});
        fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 1});
    }
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 13);
}

static void permanent_error_undoes_a_create(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){
        .code = VIM_AGAIN, .emit_id = "s1", .keep = "port:p1", .again_ms = 1});
    fake_script(&(struct fake_outcome){.code = VIM_E_QUOTA, .text = "no more cores"});
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 1});
    fake_script(&(struct fake_outcome){.code = VIM_OK});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_calls(), 4);
    assert_int_equal(fake_call(1).undo, 0);
    assert_int_equal(fake_call(2).undo, 1);
    assert_string_equal(fake_call(2).id, "s1");
    assert_string_equal(fake_call(3).kept, "port:p1");
    check_resource(STATUS_ERROR, NULL, false);
    assert_int_equal(house_count(COLLECTION_ALIAS), 0);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_string_equal(resource.status_reason, "no more cores");
    resource_free(&resource);
}

static void undo_goes_on_behind_a_defect_of_the_far_side(void **state)
{
    (void)state;
    fake_script(
        &(struct fake_outcome){.code = VIM_AGAIN,
                               .emit_id = "s1",
                               .again_ms = 1,
                               .emit_body = "{\"name\":\"thing\",\"backend_status\":\"X\"}"});
    fake_script(&(struct fake_outcome){.code = VIM_E_FAILED, .text = "no host"});
    fake_script(&(struct fake_outcome){.code = VIM_E_INTERNAL, .text = "500"});
    fake_script(&(struct fake_outcome){.code = VIM_OK});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_calls(), 4);
    assert_int_equal(fake_call(3).undo, 1);
    check_resource(STATUS_ERROR, NULL, false);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_null(json_object_get(resource.body, "backend_status"));
    resource_free(&resource);
}

static void undo_that_fails_is_told(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .emit_id = "s1", .again_ms = 1});
    fake_script(&(struct fake_outcome){.code = VIM_E_FAILED, .text = "no host"});
    fake_script(&(struct fake_outcome){.code = VIM_E_DENIED, .text = "locked"});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_ROLLBACK_FAILED);
    check_resource(STATUS_ERROR, "s1", false);
    struct task task = house_task(task_id);
    assert_non_null(strstr(task.error.text, "no host"));
    assert_non_null(strstr(task.error.text, "locked"));
    task_free(&task);
    /* and can be tried again */
    assert_int_equal(tasks_rollback(house.tasks, task_id, NULL), VIM_OK);
    house_work_until(task_id, TASK_ROLLED_BACK);
    assert_true(fake_call(3).attempt > 0);
    check_resource(STATUS_ERROR, NULL, false);
}

/* More failures than one step may have: an undo goes on until its deadline. */
static void undo_outlasts_an_outage(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_INVALID});
    for (int i = 0; i < 5; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_E_LOST});
    }
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_calls(), 7);
    assert_int_equal(fake_call(6).undo, 1);
    assert_int_equal(fake_call(6).attempt, 5);
    check_resource(STATUS_ERROR, NULL, false);
}

static void set_dead_owner(struct task *task)
{
    task->state = TASK_RUNNING;
    task->started = 1;
    task->owner = text_duplicate(house_dead_owner());
    task->lease = 1;
    task->due = clock_now_ms() + 3600000;
}

static void crash_between_claim_and_commit(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_edit_task(task_id, set_dead_owner);
    house_restart();
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 1);
    assert_int_equal(fake_call(0).attempt, 1);
}

static void expire_lease(struct task *task)
{
    set_dead_owner(task);
    free(task->owner);
    task->owner = text_duplicate("another-boot:1:2:3");
    task->due = clock_now_ms() - 1;
}

static void expired_lease_of_far_process_is_taken_over(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_edit_task(task_id, expire_lease);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_call(0).attempt, 1);
    struct task task = house_task(task_id);
    assert_int_equal(task.lease, 2);
    task_free(&task);
}

static void hold_lease(struct task *task)
{
    expire_lease(task);
    task->due = clock_now_ms() + 3600000;
}

static void living_claim_is_respected(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_edit_task(task_id, hold_lease);
    house_work();
    assert_int_equal(fake_calls(), 0);
    assert_int_equal(house_state(task_id), TASK_RUNNING);
}

/* The clock is set forward, or the machine slept, while a step is in progress: for the time of day the
 * lease has ended, but the call has not. */
static void end_lease_by_the_clock(struct task *task)
{
    assert_string_equal(task->owner, owner_self());
    task->due = clock_now_ms() - 1;
}

static atomic_bool may_return;

static void wait_to_return(void *argument)
{
    (void)argument;
    while (!atomic_load(&may_return)) {
        clock_sleep_ms(1);
    }
}

static void clock_set_forward_ends_no_call(void **state)
{
    (void)state;
    atomic_store(&may_return, false);
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1", .before = wait_to_return});
    house_create(task_id, resource_id);
    assert_int_equal(tasks_work(house.tasks, 64, 1000), 1);
    house_edit_task(task_id, end_lease_by_the_clock);
    tasks_nudge(house.tasks, task_id);
    assert_int_equal(tasks_work(house.tasks, 64, 1000), 1);
    assert_int_equal(tasks_in_progress(house.tasks), 1);
    atomic_store(&may_return, true);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 1);
    struct task task = house_task(task_id);
    assert_int_equal(task.lease, 1);
    task_free(&task);
}

/* The clock is set back by an hour: what was to happen in a moment does not wait that long. */
static void move_to_the_future(struct task *task)
{
    task->updated += 3600000;
    task->due += 3600000;
}

static void clock_set_back_delays_no_task(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 5});
    house_create(task_id, resource_id);
    house_edit_task(task_id, move_to_the_future);
    assert_int_equal(tasks_work(house.tasks, 64, 1000), 1);
    while (tasks_in_progress(house.tasks)) {
        clock_sleep_ms(1);
    }
    house_edit_task(task_id, move_to_the_future);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 2);
}

static void steal(struct task *task)
{
    free(task->owner);
    task->owner = text_duplicate("another-boot:1:2:3");
    task->lease++;
}

static void steal_lease(void *argument)
{
    house_edit_task(argument, steal);
}

static void lost_lease_writes_nothing(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){
        .code = VIM_OK, .emit_id = "s1", .before = steal_lease, .argument = task_id});
    house_create(task_id, resource_id);
    house_work();
    struct task task = house_task(task_id);
    assert_int_equal(task.state, TASK_RUNNING);
    assert_string_equal(task.owner, "another-boot:1:2:3");
    assert_int_equal(task.lease, 2);
    task_free(&task);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_null(resource.backend_id);
    assert_int_equal(resource.status, STATUS_BUILD);
    resource_free(&resource);
}

static void cancel_task(void *argument)
{
    assert_int_equal(tasks_cancel(house.tasks, argument, NULL), VIM_OK);
}

static void cancel_while_queued(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    cancel_task(task_id);
    assert_int_equal(house_state(task_id), TASK_CANCELLED);
    house_work();
    assert_int_equal(fake_calls(), 0);
    check_resource(STATUS_ERROR, NULL, false);
    assert_int_equal(tasks_cancel(house.tasks, task_id, NULL), VIM_E_CONFLICT);
}

static void cancel_while_running(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN,
                                       .emit_id = "s1",
                                       .again_ms = 600000,
                                       .before = cancel_task,
                                       .argument = task_id});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_CANCELLED);
    assert_int_equal(fake_calls(), 2);
    assert_int_equal(fake_call(1).undo, 1);
    assert_string_equal(fake_call(1).id, "s1");
    check_resource(STATUS_ERROR, NULL, false);
}

static void cancel_while_last_step_runs(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){
        .code = VIM_OK, .emit_id = "s1", .before = cancel_task, .argument = task_id});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_CANCELLED);
    assert_int_equal(fake_call(1).undo, 1);
}

static void cancel_while_waiting(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    house_create(task_id, resource_id);
    house_work();
    cancel_task(task_id);
    assert_int_equal(house_state(task_id), TASK_CANCELLING);
    house_work_until(task_id, TASK_CANCELLED);
    assert_int_equal(fake_call(1).undo, 1);
}

static void cancel_while_undoing(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_INVALID});
    fake_script(&(struct fake_outcome){.code = VIM_OK, .before = cancel_task, .argument = task_id});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
}

static void cancel_of_an_action_undoes_nothing(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    assert_int_equal(house_submit(VIM_VERB_ACTION, resource_id, "{}", task_id), VIM_OK);
    house_work();
    cancel_task(task_id);
    assert_int_equal(house_state(task_id), TASK_CANCELLED);
    house_work();
    assert_int_equal(fake_calls(), 1);
    check_resource(STATUS_ACTIVE, "s1", false);
}

static void cancel_after_dead_owner(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_edit_task(task_id, set_dead_owner);
    cancel_task(task_id);
    house_work_until(task_id, TASK_CANCELLED);
    assert_int_equal(fake_calls(), 1);
    assert_int_equal(fake_call(0).undo, 1);
    assert_int_equal(fake_call(0).attempt, 1);
}

static void pass_deadline(struct task *task)
{
    task->deadline = 1;
    task->due = 1;
}

static void deadline_before_the_first_step(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_edit_task(task_id, pass_deadline);
    house_work_until(task_id, TASK_TIMED_OUT);
    assert_int_equal(fake_calls(), 0);
    check_resource(STATUS_ERROR, NULL, false);
}

static void deadline_undoes_a_create(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .emit_id = "s1", .again_ms = 20});
    house_create(task_id, resource_id);
    house_work();
    house_edit_task(task_id, pass_deadline);
    house_work_until(task_id, TASK_TIMED_OUT);
    assert_int_equal(fake_calls(), 2);
    assert_int_equal(fake_call(1).undo, 1);
}

static void deadline_of_the_undo(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_INVALID});
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 20});
    house_create(task_id, resource_id);
    house_work();
    assert_int_equal(house_state(task_id), TASK_ROLLING_BACK);
    house_edit_task(task_id, pass_deadline);
    house_work_until(task_id, TASK_ROLLBACK_FAILED);
}

static void delete_removes_row_and_alias(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    struct resource resource;
    assert_false(house_resource(resource_id, &resource));
    assert_int_equal(house_count(COLLECTION_ALIAS), 0);
    assert_int_equal(fake_count("server"), 0);
}

static void delete_waits_while_in_use(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    for (int i = 0; i < 10; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_E_IN_USE, .text = "a port is on it"});
    }
    fake_script(&(struct fake_outcome){
        .code = VIM_E_IN_USE, .text = "a port is on it", .retry_after_ms = 600000});
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource_id, "{}", task_id), VIM_OK);
    while (fake_script_left()) {
        house_work();
    }
    struct task task = house_task(task_id);
    assert_int_equal(task.state, TASK_WAITING);
    assert_int_equal(task.error.code, VIM_E_IN_USE);
    task_free(&task);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_DELETING);
    assert_string_equal(resource.status_reason, "a port is on it");
    resource_free(&resource);
}

static void delete_that_fails_restores_the_status(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_script(&(struct fake_outcome){.code = VIM_E_DENIED, .text = "locked"});
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_FAILED);
    check_resource(STATUS_ACTIVE, "s1", false);
    assert_int_equal(fake_calls(), 1);
}

static void delete_of_what_was_never_made_needs_no_call(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    cancel_task(task_id);
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 0);
    struct resource resource;
    assert_false(house_resource(resource_id, &resource));
}

static void one_task_at_a_time(void **state)
{
    (void)state;
    char other[37];
    house_have_server("s1", resource_id);
    assert_int_equal(house_submit(VIM_VERB_UPDATE, resource_id, "{}", task_id), VIM_OK);
    struct resource resource;
    struct failure failure = {0};
    assert_true(house_resource(resource_id, &resource));
    struct task_wish wish = {.verb = VIM_VERB_DELETE,
                             .project = "demo",
                             .vim = "edge",
                             .kind = "server",
                             .resource = &resource,
                             .spec = "{}"};
    assert_int_equal(tasks_submit(house.tasks, &wish, other, &failure), VIM_E_CONFLICT);
    assert_non_null(strstr(failure.text, task_id));
    resource_free(&resource);
    assert_int_equal(house_count(COLLECTION_TASK), 1);
}

static void retry_runs_under_the_same_request_id(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_E_QUOTA});
    fake_script(&(struct fake_outcome){.code = VIM_OK});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(tasks_retry(house.tasks, task_id, NULL), VIM_OK);
    assert_int_equal(house_state(task_id), TASK_QUEUED);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 3);
    assert_string_equal(fake_call(2).request_id, resource_id);
    assert_true(fake_call(2).attempt > 0);
    assert_int_equal(fake_call(2).undo, 0);
    assert_int_equal(tasks_retry(house.tasks, task_id, NULL), VIM_E_CONFLICT);
}

static void fail_ends_a_waiting_task(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .emit_id = "s1", .again_ms = 600000});
    house_create(task_id, resource_id);
    house_work();
    assert_int_equal(tasks_fail(house.tasks, task_id, NULL), VIM_OK);
    assert_int_equal(house_state(task_id), TASK_FAILED);
    assert_int_equal(fake_calls(), 1);
    check_resource(STATUS_ERROR, "s1", false);
    assert_int_equal(tasks_rollback(house.tasks, task_id, NULL), VIM_OK);
    house_work_until(task_id, TASK_ROLLED_BACK);
}

static void too_many_tasks_are_refused(void **state)
{
    (void)state;
    house.settings.active_max = 1;
    tasks_configure(house.tasks, &house.settings);
    house_create(task_id, resource_id);
    char other[37], id[37];
    assert_int_equal(house_submit(VIM_VERB_CREATE, id_new(id), "{}", other), VIM_E_BUSY);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(house_submit(VIM_VERB_CREATE, id_new(id), "{}", other), VIM_OK);
}

static void driver_that_emits_nonsense_fails_the_task(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1", .emit_body = "[1"});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_call(1).undo, 1);
}

static void create_that_tells_nothing_fails(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_OK});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_FAILED);
    assert_int_equal(fake_call(1).undo, 1);
}

static void upload_reads_its_file(void **state)
{
    (void)state;
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/spool", house.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("data of an image", file) >= 0);
    assert_int_equal(fclose(file), 0);
    house_have_server("s1", resource_id);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    struct task_wish wish = {.verb = VIM_VERB_UPLOAD,
                             .project = "demo",
                             .vim = "edge",
                             .kind = "server",
                             .resource = &resource,
                             .data_path = path,
                             .data_size = 16};
    fake_script(&(struct fake_outcome){.code = VIM_E_UNAVAILABLE});
    assert_int_equal(tasks_submit(house.tasks, &wish, task_id, NULL), VIM_OK);
    resource_free(&resource);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_call(1).data_size, 16);
    assert_string_equal(fake_call(1).data, "data of an image");
    assert_int_not_equal(access(path, R_OK), 0);
}

/* What an upload leaves is gone with its task, and a retry says so. */
static void failed_upload_leaves_no_file(void **state)
{
    (void)state;
    char path[100];
    struct failure failure = {0};
    (void)snprintf(path, sizeof(path), "%s/spool", house.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    house_have_server("s1", resource_id);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    struct task_wish wish = {.verb = VIM_VERB_UPLOAD,
                             .project = "demo",
                             .vim = "edge",
                             .kind = "server",
                             .resource = &resource,
                             .data_path = path,
                             .data_size = 0};
    fake_script(&(struct fake_outcome){.code = VIM_E_FAILED});
    assert_int_equal(tasks_submit(house.tasks, &wish, task_id, NULL), VIM_OK);
    resource_free(&resource);
    house_work_until(task_id, TASK_FAILED);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(tasks_retry(house.tasks, task_id, &failure), VIM_E_CONFLICT);
    assert_non_null(strstr(failure.text, "upload it again"));
}

static void put_future_deadline(struct task *task)
{
    task->due = clock_now_ms();
    task->deadline = task->due + 7200000;
}

/* What takes minutes on the wire is not cut off after a call's usual time. */
static void large_upload_gets_time(void **state)
{
    (void)state;
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/spool", house.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    house_have_server("s1", resource_id);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    struct task_wish wish = {.verb = VIM_VERB_UPLOAD,
                             .project = "demo",
                             .vim = "edge",
                             .kind = "server",
                             .resource = &resource,
                             .data_path = path,
                             .data_size = INT64_C(1) << 40};
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    assert_int_equal(tasks_submit(house.tasks, &wish, task_id, NULL), VIM_OK);
    resource_free(&resource);
    house_work();
    /* 600 s are the whole task's */
    assert_in_range(fake_call(0).left_ms, 300000, 600000);
    house_edit_task(task_id, put_future_deadline);
    tasks_nudge(house.tasks, task_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_in_range(fake_call(1).left_ms, 3600000, 7200000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_succeeds),
        TEST(steps_keep_their_cursor),
        TEST(backend_id_is_stored_while_building),
        TEST(unknown_outcome_is_told),
        TEST(transient_error_counts_no_unknown),
        TEST(attempts_run_out),
        TEST(progress_resets_attempts),
        TEST(permanent_error_undoes_a_create),
        TEST(undo_goes_on_behind_a_defect_of_the_far_side),
        TEST(undo_that_fails_is_told),
        TEST(undo_outlasts_an_outage),
        TEST(crash_between_claim_and_commit),
        TEST(expired_lease_of_far_process_is_taken_over),
        TEST(living_claim_is_respected),
        TEST(clock_set_forward_ends_no_call),
        TEST(clock_set_back_delays_no_task),
        TEST(lost_lease_writes_nothing),
        TEST(cancel_while_queued),
        TEST(cancel_while_running),
        TEST(cancel_while_last_step_runs),
        TEST(cancel_while_waiting),
        TEST(cancel_while_undoing),
        TEST(cancel_of_an_action_undoes_nothing),
        TEST(cancel_after_dead_owner),
        TEST(deadline_before_the_first_step),
        TEST(deadline_undoes_a_create),
        TEST(deadline_of_the_undo),
        TEST(delete_removes_row_and_alias),
        TEST(delete_waits_while_in_use),
        TEST(delete_that_fails_restores_the_status),
        TEST(delete_of_what_was_never_made_needs_no_call),
        TEST(one_task_at_a_time),
        TEST(retry_runs_under_the_same_request_id),
        TEST(fail_ends_a_waiting_task),
        TEST(too_many_tasks_are_refused),
        TEST(driver_that_emits_nonsense_fails_the_task),
        TEST(create_that_tells_nothing_fails),
        TEST(upload_reads_its_file),
        TEST(failed_upload_leaves_no_file),
        TEST(large_upload_gets_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
