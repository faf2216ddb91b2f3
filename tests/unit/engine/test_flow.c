/* Many tasks together: references, parking, several workers, watches, sweep, retention, keys. */
#include "fixtures/house.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/owner.h"
#include "plugin/instance.h"
#include "plugin/lane.h"
#include "worker/worker.h"

static char task_id[37], resource_id[37];

/* --- References ---------------------------------------------------------------------------------- */

static void put_image(const char *id, const char *backend_id, const char *task, const char *vim)
{
    struct resource image = {.id = (char *)(uintptr_t)id,
                             .kind = (char[]){"image"},
                             .name = (char[]){"i"},
                             .vim = (char *)(uintptr_t)vim,
                             .project = (char[]){"demo"},
                             .backend_id = (char *)(uintptr_t)backend_id,
                             .task = (char *)(uintptr_t)task,
                             .status = backend_id ? STATUS_ACTIVE : STATUS_ERROR};
    struct row row = {0};
    if (store_get(house.store, "image", id, &row, NULL) == VIM_OK) {
        image.revision = row.revision;
        row_free(&row);
    }
    CLEANUP_FREE char *body = resource_render(&image);
    struct vim_write write = resource_write(&image, body);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
}

static void create_on_image(const char *image)
{
    CLEANUP_FREE char *spec = text_format("{\"name\":\"thing\",\"image\":\"%s\"}", image);
    id_new(resource_id);
    assert_int_equal(house_submit(VIM_VERB_CREATE, resource_id, spec, task_id), VIM_OK);
}

static void references_are_translated(void **state)
{
    (void)state;
    char image[37];
    put_image(id_new(image), "far-image", NULL, "edge");
    create_on_image(image);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_string_equal(fake_call(0).spec, "{\"name\":\"thing\",\"image\":\"far-image\"}");
}

static void check_failed_without_call(int code, const char *named)
{
    house_work_until(task_id, TASK_FAILED);
    struct task task = house_task(task_id);
    assert_int_equal(task.error.code, code);
    assert_non_null(strstr(task.error.text, named));
    task_free(&task);
    assert_int_equal(fake_calls(), 0);
}

static void reference_that_is_gone(void **state)
{
    (void)state;
    char image[37];
    create_on_image(id_new(image));
    check_failed_without_call(VIM_E_NOT_FOUND, image);
}

static void reference_that_came_to_nothing(void **state)
{
    (void)state;
    char image[37];
    put_image(id_new(image), NULL, NULL, "edge");
    create_on_image(image);
    check_failed_without_call(VIM_E_CONFLICT, image);
}

static void reference_in_another_vim(void **state)
{
    (void)state;
    char image[37];
    put_image(id_new(image), "far-image", NULL, "other");
    create_on_image(image);
    check_failed_without_call(VIM_E_INVALID, image);
}

static void reference_being_made_is_waited_for(void **state)
{
    (void)state;
    char image[37], maker[37], maker_resource[37];
    /* some task that has not ended, in the place of the image's create */
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    house_create(maker, maker_resource);
    house_work();
    put_image(id_new(image), NULL, maker, "edge");
    create_on_image(image);
    house_work();
    assert_int_equal(fake_calls(), 1);
    struct task task = house_task(task_id);
    assert_int_equal(task.state, TASK_WAITING);
    assert_int_equal(task.started, 0);
    task_free(&task);
    put_image(image, "far-image", NULL, "edge");
    assert_int_equal(tasks_cancel(house.tasks, maker, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    struct fake_call last = fake_call(fake_calls() - 1);
    assert_non_null(strstr(last.spec, "far-image"));
    assert_int_equal(last.has_seen, false);
}

/* --- Many ---------------------------------------------------------------------------------------- */

#define MANY 100

static char many[MANY][37];

static void create_many(void)
{
    for (int i = 0; i < MANY; i++) {
        house_create(many[i], resource_id);
    }
}

static atomic_uint in_call, in_call_most;

static void count_in_call(void *argument)
{
    (void)argument;
    unsigned now = atomic_fetch_add(&in_call, 1) + 1;
    unsigned most = atomic_load(&in_call_most);
    while (now > most && !atomic_compare_exchange_weak(&in_call_most, &most, now)) {
    }
    clock_sleep_ms(1);
    atomic_fetch_sub(&in_call, 1);
}

static bool many_ended(void *argument)
{
    (void)argument;
    for (int i = 0; i < MANY; i++) {
        if (!task_state_is_final(house_state(many[i]))) {
            return false;
        }
    }
    return tasks_in_progress(house.tasks) == 0;
}

static void no_more_steps_than_operations(void **state)
{
    (void)state;
    struct worker *worker;
    atomic_store(&in_call_most, 0);
    house_put_vim(2, 8);
    for (int i = 0; i < MANY; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_E_QUOTA, .before = count_in_call});
    }
    for (int i = 0; i < MANY; i++) {
        fake_script(&(struct fake_outcome){.code = VIM_OK, .before = count_in_call});
    }
    create_many();
    /* Some of them end while they are parked: their turn goes to others. */
    assert_int_equal(worker_start(house.tasks, 4, &worker, NULL), VIM_OK);
    for (int i = 0; i < MANY; i += 3) {
        (void)tasks_cancel(house.tasks, many[i], NULL);
    }
    house_wait(many_ended, NULL);
    worker_stop(worker, 60000);
    assert_int_equal(atomic_load(&in_call_most), 2);
}

static bool first_have_ended(void *argument)
{
    const int *count = argument;
    for (int i = 0; i < *count; i++) {
        if (!task_state_is_final(house_state(many[i]))) {
            return false;
        }
    }
    return tasks_in_progress(house.tasks) == 0;
}

/* Through the queue, others might get it: nobody pulls from it here. */
static void a_slot_is_handed_on_in_the_process(void **state)
{
    int count = 5;
    (void)state;
    house_put_vim(1, 8);
    for (int i = 0; i < count; i++) {
        house_create(many[i], resource_id);
    }
    while (tasks_work(house.tasks, 64, 0) > 0) {
    }
    house_wait(first_have_ended, &count);
    assert_int_equal(fake_calls(), count);
}

struct second {
    struct tasks *tasks;
    atomic_bool stop;
};

static void *work_second(void *argument)
{
    struct second *second = argument;
    while (!atomic_load(&second->stop)) {
        (void)tasks_work(second->tasks, 8, 5);
    }
    return NULL;
}

static void two_engines_on_one_store(void **state)
{
    (void)state;
    struct worker *worker;
    /* It shares the queue too, so each takes what comes; and each is told of every task. */
    struct vims *vims = house.vims;
    house.vims = vims_new();
    house_put_vim(8, 4);
    struct vims *other_vims = house.vims;
    house.vims = vims;
    struct tasks *other = tasks_new(house.store, house.queue, other_vims, &house.settings);
    tasks_set_inventory(other, house.inventory);
    /* A task that one engine has parked may have ended in the other; then the next that is parked gets
     * the turn, or the sweep gives it. */
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    assert_int_equal(tasks_start(other, NULL), VIM_OK);
    struct second second = {.tasks = other};
    pthread_t threads[2];
    create_many();
    assert_int_equal(worker_start(house.tasks, 2, &worker, NULL), VIM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work_second, &second), 0);
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < MANY; i++) {
            tasks_nudge(other, many[i]);
        }
    }
    house_wait(many_ended, NULL);
    atomic_store(&second.stop, true);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    worker_stop(worker, 60000);
    while (tasks_in_progress(other)) {
        clock_sleep_ms(1);
    }
    assert_int_equal(fake_calls(), MANY);
    assert_int_equal(fake_count("server"), MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(house_state(many[i]), TASK_SUCCEEDED);
    }
    tasks_stop(other);
    tasks_free(other);
    vims_free(other_vims);
}

static void missing_vim_is_waited_for(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    assert_true(vims_remove(house.vims, "edge"));
    house_work();
    assert_int_equal(house_state(task_id), TASK_QUEUED);
    house_put_vim(8, 4);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
}

static void make_vim_that_gets_stuck(void)
{
    struct vim_target *target = vims_get(house.vims, "edge");
    struct vim_settings settings = *vim_target_settings(target);
    struct instance *instance = instance_hold(vim_target_instance(target));
    struct lane_settings lane_settings = {.threads = 1, .grace_ms = 1};
    struct lane *lane;
    /* A call that has not begun by then is not stuck, but tried again later. */
    settings.call_timeout_ms = house_patient(200);
    settings.operations = 1;
    assert_int_equal(lane_open(instance, &lane_settings, &lane), VIM_OK);
    assert_int_equal(vims_put(house.vims, &settings, instance, lane, NULL), VIM_OK);
    vim_target_release(target);
}

static atomic_bool may_return;

static void wait_to_return(void *argument)
{
    (void)argument;
    while (!atomic_load(&may_return)) {
        clock_sleep_ms(1);
    }
}

/* A test that has failed does not wait for the call that it holds. */
static int let_return(void **state)
{
    atomic_store(&may_return, true);
    return house_teardown(state);
}

static bool vim_is_stuck(void *argument)
{
    struct vim_health health;
    struct vim_target *target = vims_get(house.vims, "edge");
    (void)argument;
    vim_target_health(target, &health);
    vim_target_release(target);
    return health.stuck;
}

static void pass_deadline(struct task *task)
{
    task->deadline = task->due = 1;
}

static bool has_timed_out(void *argument)
{
    return house_state(argument) == TASK_TIMED_OUT;
}

/* All of the VIM's operations are in a call that does not return: those who wait for it end in time. */
static void deadline_passes_behind_a_stuck_vim(void **state)
{
    struct worker *worker;
    char behind[37], other[37];
    (void)state;
    atomic_store(&may_return, false);
    make_vim_that_gets_stuck();
    fake_script(&(struct fake_outcome){
        .code = VIM_OK, .emit_id = "s1", .before = wait_to_return, .argument = NULL});
    house_create(task_id, resource_id);
    house_create(behind, other);
    assert_true(tasks_work(house.tasks, 64, 1000) > 0);
    assert_int_equal(tasks_in_progress(house.tasks), 1);
    assert_int_equal(house_state(behind), TASK_QUEUED);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    assert_int_equal(worker_start(house.tasks, 2, &worker, NULL), VIM_OK);
    house_wait(vim_is_stuck, NULL);
    house_edit_task(behind, pass_deadline);
    house_wait(has_timed_out, behind);
    atomic_store(&may_return, true);
    worker_stop(worker, 60000);
}

static bool nothing_in_progress(void *argument)
{
    (void)argument;
    return tasks_in_progress(house.tasks) == 0;
}

static void what_is_parked_is_handed_back_at_the_end(void **state)
{
    char behind[37], other[37];
    (void)state;
    atomic_store(&may_return, false);
    house_put_vim(1, 8);
    fake_script(&(struct fake_outcome){
        .code = VIM_OK, .emit_id = "s1", .before = wait_to_return, .argument = NULL});
    house_create(task_id, resource_id);
    house_create(behind, other);
    while (tasks_work(house.tasks, 64, 0) > 0) {
    }
    tasks_hand_back(house.tasks);
    atomic_store(&may_return, true);
    house_wait(nothing_in_progress, NULL);
    assert_int_equal(house_state(task_id), TASK_SUCCEEDED);
    assert_int_equal(house_state(behind), TASK_QUEUED);
    assert_int_equal(tasks_work(house.tasks, 64, 0), 1);
    house_wait(nothing_in_progress, NULL);
    assert_int_equal(house_state(behind), TASK_SUCCEEDED);
}

/* --- Hints that are lost ------------------------------------------------------------------------- */

static void sweep_finds_what_the_queue_lost(void **state)
{
    (void)state;
    house_create(task_id, resource_id);
    house_restart(); /* the queue was in memory */
    house_work();
    assert_int_equal(fake_calls(), 0);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
}

static void die(struct task *task)
{
    task->state = TASK_RUNNING;
    task->started = 1;
    task->owner = text_duplicate(house_dead_owner());
    task->due = clock_now_ms() + 3600000;
}

static void sweep_voids_claims_of_the_dead(void **state)
{
    (void)state;
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_create(task_id, resource_id);
    house_edit_task(task_id, die);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_call(0).attempt, 1);
}

static bool task_row_gone(void *argument)
{
    struct row row = {0};
    int code = store_get(house.store, COLLECTION_TASK, argument, &row, NULL);
    row_free(&row);
    return code == VIM_E_NOT_FOUND;
}

static void old_tasks_are_deleted(void **state)
{
    (void)state;
    char kept[37], other[37];
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    house_create(kept, other);
    house_work();
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house.settings.retention_ms = 1;
    tasks_configure(house.tasks, &house.settings);
    house_wait(task_row_gone, task_id);
    assert_int_equal(house_state(kept), TASK_WAITING);
}

/* --- Idempotency --------------------------------------------------------------------------------- */

static int submit_with_key(const char *key, const char *digest, char ret_task[37])
{
    char id[37];
    struct resource resource = {.id = id_new(id),
                                .kind = (char[]){"server"},
                                .name = (char[]){"thing"},
                                .vim = (char[]){"edge"},
                                .project = (char[]){"demo"},
                                .status = STATUS_BUILD};
    struct task_wish wish = {.verb = VIM_VERB_CREATE,
                             .project = "demo",
                             .vim = "edge",
                             .kind = "server",
                             .resource = &resource,
                             .spec = "{}",
                             .idempotency_key = key,
                             .idempotency_id = key,
                             .idempotency_digest = digest};
    return tasks_submit(house.tasks, &wish, ret_task, NULL);
}

static bool key_gone(void *argument)
{
    (void)argument;
    return house_count(COLLECTION_IDEMPOTENCY) == 0;
}

static void a_key_makes_one_task(void **state)
{
    (void)state;
    char found[37], digest[65], other[37];
    assert_int_equal(submit_with_key("key-1", "abc", task_id), VIM_OK);
    assert_int_equal(submit_with_key("key-1", "abc", other), VIM_E_CONFLICT);
    assert_int_equal(house_count(COLLECTION_TASK), 1);
    assert_int_equal(house_count("server"), 1);
    assert_int_equal(tasks_find_idempotent(house.tasks, "key-1", found, digest, NULL), VIM_OK);
    assert_string_equal(found, task_id);
    assert_string_equal(digest, "abc");
    assert_int_equal(tasks_find_idempotent(house.tasks, "key-2", found, digest, NULL),
                     VIM_E_NOT_FOUND);
    house.settings.idempotency_ms = -1;
    tasks_configure(house.tasks, &house.settings);
    assert_int_equal(submit_with_key("key-3", "abc", other), VIM_OK);
    assert_int_equal(tasks_find_idempotent(house.tasks, "key-3", found, digest, NULL),
                     VIM_E_NOT_FOUND);
    /* expired, though not swept yet: free to be used again */
    assert_int_equal(submit_with_key("key-3", "def", other), VIM_OK);
    assert_int_equal(house_count(COLLECTION_TASK), 3);
    struct vim_write drop = {
        .collection = COLLECTION_IDEMPOTENCY, .id = "key-1", .expect = VIM_EXPECT_ANY};
    assert_int_equal(store_commit(house.store, &drop, 1, NULL), VIM_OK);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_wait(key_gone, NULL);
}

/* --- Watches ------------------------------------------------------------------------------------- */

struct watched {
    atomic_int calls;
    atomic_int state, code;
};

static void watch_ended(void *argument, int code, const struct task *task)
{
    struct watched *watched = argument;
    atomic_store(&watched->code, code);
    atomic_store(&watched->state, task ? (int)task->state : -1);
    atomic_fetch_add(&watched->calls, 1);
}

static bool watch_called(void *argument)
{
    return atomic_load(&((struct watched *)argument)->calls) > 0;
}

static void watch_sees_the_end(void **state)
{
    (void)state;
    struct watched watched = {0}, early = {0}, late = {0}, missing = {0};
    char id[37];
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_create(task_id, resource_id);
    tasks_watch(house.tasks, task_id, 600000, watch_ended, &watched);
    tasks_watch(house.tasks, task_id, 1, watch_ended, &early);
    tasks_watch(house.tasks, id_new(id), 600000, watch_ended, &missing);
    house_wait(watch_called, &early);
    assert_int_equal(atomic_load(&early.state), TASK_QUEUED);
    house_wait(watch_called, &missing);
    assert_int_equal(atomic_load(&missing.code), VIM_E_NOT_FOUND);
    assert_int_equal(atomic_load(&watched.calls), 0);
    house_work_until(task_id, TASK_SUCCEEDED);
    house_wait(watch_called, &watched);
    assert_int_equal(atomic_load(&watched.state), TASK_SUCCEEDED);
    tasks_watch(house.tasks, task_id, 600000, watch_ended, &late);
    house_wait(watch_called, &late);
    assert_int_equal(atomic_load(&late.state), TASK_SUCCEEDED);
    tasks_stop(house.tasks);
    assert_int_equal(atomic_load(&watched.calls), 1);
    assert_int_equal(atomic_load(&late.calls), 1);
}

static void end(struct task *task)
{
    task->state = TASK_FAILED;
    task->due = 0;
}

static void watch_sees_what_others_did(void **state)
{
    (void)state;
    struct watched watched = {0};
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_create(task_id, resource_id);
    tasks_watch(house.tasks, task_id, 600000, watch_ended, &watched);
    house_edit_task(task_id, end);
    house_wait(watch_called, &watched);
    assert_int_equal(atomic_load(&watched.state), TASK_FAILED);
}

static void watches_end_with_the_engine(void **state)
{
    (void)state;
    struct watched watched = {0};
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_create(task_id, resource_id);
    tasks_watch(house.tasks, task_id, 600000, watch_ended, &watched);
    tasks_stop(house.tasks);
    assert_int_equal(atomic_load(&watched.calls), 1);
}

/* --- Reads --------------------------------------------------------------------------------------- */

static void got(void *argument, int code, const struct vim_item *item,
                const struct failure *failure)
{
    struct watched *watched = argument;
    (void)failure;
    atomic_store(&watched->code, code);
    atomic_store(&watched->state, item && item->status ? strcmp(item->status, "ACTIVE") : -1);
    atomic_fetch_add(&watched->calls, 1);
}

static void reads_and_checks(void **state)
{
    (void)state;
    struct watched found = {0}, missing = {0}, unknown = {0}, checked = {0};
    struct vim_target *target = vims_get(house.vims, "edge");
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    vim_target_get(target, "server", "s1", 30000, got, &found);
    vim_target_get(target, "server", "s2", 30000, got, &missing);
    vim_target_get(target, "router", "r1", 30000, got, &unknown);
    vim_target_check(target, 30000, got, &checked);
    house_wait(watch_called, &found);
    house_wait(watch_called, &missing);
    house_wait(watch_called, &checked);
    assert_int_equal(atomic_load(&found.code), VIM_OK);
    assert_int_equal(atomic_load(&found.state), 0);
    assert_int_equal(atomic_load(&missing.code), VIM_E_NOT_FOUND);
    assert_int_equal(atomic_load(&unknown.code), VIM_E_UNSUPPORTED);
    assert_int_equal(atomic_load(&checked.code), VIM_OK);
    assert_true(vim_target_has_action(target, "server", "reboot"));
    assert_false(vim_target_has_action(target, "server", "explode"));
    assert_false(vim_target_has_action(target, "image", "start"));
    vim_target_release(target);
    assert_null(vims_get(house.vims, "elsewhere"));
    assert_int_equal(vims_count(house.vims), 1);
}

static void owners(void **state)
{
    (void)state;
    assert_false(owner_is_dead(owner_self()));
    assert_true(owner_is_dead(house_dead_owner()));
    assert_false(owner_is_dead("another-boot:1:2:3"));
    assert_false(owner_is_dead(""));
    assert_false(owner_is_dead(NULL));
    /* the same pid, started at another time */
    CLEANUP_FREE char *other = text_format("%s1", owner_self());
    assert_true(owner_is_dead(other));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
#define HOLDING_TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, let_return)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(references_are_translated),
        TEST(reference_that_is_gone),
        TEST(reference_that_came_to_nothing),
        TEST(reference_in_another_vim),
        TEST(reference_being_made_is_waited_for),
        TEST(no_more_steps_than_operations),
        TEST(a_slot_is_handed_on_in_the_process),
        HOLDING_TEST(what_is_parked_is_handed_back_at_the_end),
        TEST(two_engines_on_one_store),
        TEST(missing_vim_is_waited_for),
        HOLDING_TEST(deadline_passes_behind_a_stuck_vim),
        TEST(sweep_finds_what_the_queue_lost),
        TEST(sweep_voids_claims_of_the_dead),
        TEST(old_tasks_are_deleted),
        TEST(a_key_makes_one_task),
        TEST(watch_sees_the_end),
        TEST(watch_sees_what_others_did),
        TEST(watches_end_with_the_engine),
        TEST(reads_and_checks),
        cmocka_unit_test(owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
