/* The shared poller, and what it must not do while steps are at work. */
#include "fixtures/house.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/owner.h"
#include "worker/worker.h"

static char task_id[37], resource_id[37];

static void start_inventory(void)
{
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
}

static bool lists_reached(void *argument)
{
    return fake_lists("server") >= *(uint64_t *)argument;
}

/* Until COUNT more rounds over the servers have begun, and all but the last are through. */
static void wait_rounds(unsigned count)
{
    uint64_t wanted = fake_lists("server") + count + 1;
    house_wait(lists_reached, &wanted);
}

static void derived_id(const char *backend_id, char ret_id[37])
{
    resource_derive_id("edge", "server", backend_id, ret_id);
}

static bool row_exists(const char *id)
{
    struct resource resource;
    bool exists = house_resource(id, &resource);
    if (exists) {
        resource_free(&resource);
    }
    return exists;
}

static bool server_is_there(void *argument)
{
    char id[37];
    derived_id(argument, id);
    return row_exists(id);
}

static bool server_is_gone(void *argument)
{
    return !server_is_there(argument);
}

static void finds_updates_and_forgets(void **state)
{
    (void)state;
    char id[37];
    struct resource resource;
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"a\",\"image\":\"i1\"}");
    fake_put("image", "i1", "ACTIVE", VIM_ITEM_SHARED, NULL, "{\"name\":\"i\"}");
    start_inventory();
    house_wait(server_is_there, (char[]){"s1"});
    derived_id("s1", id);
    assert_true(house_resource(id, &resource));
    assert_string_equal(resource.name, "a");
    assert_string_equal(resource.project, "owner");
    assert_string_equal(resource.backend_id, "s1");
    char image[37];
    resource_derive_id("edge", "image", "i1", image);
    assert_string_equal(json_get_text(resource.body, "image", ""), image);
    resource_free(&resource);
    /* changes */
    fake_put("server", "s1", "SHUTOFF", 0, NULL, "{\"name\":\"b\"}");
    wait_rounds(2);
    assert_true(house_resource(id, &resource));
    assert_string_equal(resource.name, "b");
    assert_int_equal(resource.status, STATUS_SHUTOFF);
    assert_int_equal(resource.revision, 2);
    resource_free(&resource);
    /* rests */
    wait_rounds(3);
    assert_true(house_resource(id, &resource));
    assert_int_equal(resource.revision, 2);
    resource_free(&resource);
    /* goes */
    fake_remove("server", "s1");
    house_wait(server_is_gone, (char[]){"s1"});
    struct row row;
    assert_int_equal(store_get(house.store, "image", image, &row, NULL), VIM_OK);
    assert_string_equal(row.parent, PROJECT_SHARED);
    row_free(&row);
    assert_true(inventory_is_ready(house.inventory));
    assert_true(inventory_last_pass(house.inventory, "edge", "server") > 0);
}

static void broken_list_takes_nothing_for_gone(void **state)
{
    (void)state;
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    fake_put("server", "s2", "ACTIVE", 0, NULL, NULL);
    start_inventory();
    house_wait(server_is_there, (char[]){"s2"});
    fake_break_list(VIM_E_UNAVAILABLE, 1);
    wait_rounds(3);
    assert_true(server_is_there((char[]){"s1"}));
    assert_true(server_is_there((char[]){"s2"}));
    struct vim_health health;
    struct vim_target *target = vims_get(house.vims, "edge");
    vim_target_health(target, &health);
    vim_target_release(target);
    assert_false(health.reachable);
    fake_remove("server", "s1");
    fake_break_list(0, 0);
    house_wait(server_is_gone, (char[]){"s1"});
    assert_true(server_is_there((char[]){"s2"}));
}

static void restart_keeps_rows_and_drops_what_went(void **state)
{
    (void)state;
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    fake_put("server", "s2", "ACTIVE", 0, NULL, NULL);
    start_inventory();
    house_wait(server_is_there, (char[]){"s2"});
    house_restart();
    fake_remove("server", "s2");
    start_inventory();
    house_wait(server_is_gone, (char[]){"s2"});
    struct resource resource;
    char id[37];
    derived_id("s1", id);
    assert_true(house_resource(id, &resource));
    assert_int_equal(resource.revision, 1);
    resource_free(&resource);
}

static void tagged_item_finds_its_resource(void **state)
{
    (void)state;
    /* A create of which nothing was stored but the row: its task has ended. */
    house_create(task_id, resource_id);
    assert_int_equal(tasks_cancel(house.tasks, task_id, NULL), VIM_OK);
    fake_put("server", "s1", "ACTIVE", 0, resource_id, NULL);
    start_inventory();
    wait_rounds(2);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_string_equal(resource.backend_id, "s1");
    assert_int_equal(resource.status, STATUS_ACTIVE);
    resource_free(&resource);
    assert_true(server_is_gone((char[]){"s1"}));
    char found[37];
    assert_int_equal(aliases_find(house.aliases, "edge", "server", "s1", found, NULL), VIM_OK);
    assert_string_equal(found, resource_id);
}

static void take_item(void *argument, int code, const struct vim_item *item,
                      const struct failure *failure)
{
    struct resource resource;
    (void)failure;
    assert_int_equal(code, VIM_OK);
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(inventory_merge(house.inventory, "edge", "server", item, &resource, NULL),
                     VIM_OK);
    CLEANUP_FREE char *body = resource_render(&resource);
    struct vim_write write = resource_write(&resource, body);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    resource_free(&resource);
    atomic_store((atomic_bool *)argument, true);
}

static bool is_true(void *argument)
{
    return atomic_load((atomic_bool *)argument);
}

/* A fresh read between two rounds that list the same: the second has to look again. */
static void fresh_read_is_corrected_later(void **state)
{
    (void)state;
    atomic_bool taken = false;
    struct resource resource;
    house_have_server("s1", resource_id);
    start_inventory();
    wait_rounds(2);
    inventory_stop(house.inventory);
    fake_put("server", "s1", "SHUTOFF", 0, NULL, NULL);
    struct vim_target *target = vims_get(house.vims, "edge");
    vim_target_get(target, "server", "s1", 30000, take_item, &taken);
    vim_target_release(target);
    house_wait(is_true, &taken);
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_SHUTOFF);
    resource_free(&resource);
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    start_inventory();
    wait_rounds(2);
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_ACTIVE);
    resource_free(&resource);
}

/* --- Races with steps ---------------------------------------------------------------------------- */

/* Makes the list stop in its middle, until let go. */
static atomic_bool held, let_go, hold_begin, hold_end;

static void hold(void)
{
    atomic_store(&held, true);
    while (!atomic_load(&let_go)) {
        clock_sleep_ms(1);
    }
    atomic_store(&held, false);
}

static void at_begin(void *argument)
{
    (void)argument;
    if (atomic_load(&hold_begin)) {
        hold();
    }
}

static void at_end(void *argument)
{
    (void)argument;
    if (atomic_load(&hold_end)) {
        hold();
    }
}

static bool is_held(void *argument)
{
    (void)argument;
    return atomic_load(&held);
}

static void hold_list(bool begin, bool end)
{
    atomic_store(&let_go, false);
    atomic_store(&hold_begin, begin);
    atomic_store(&hold_end, end);
    house_wait(is_held, NULL);
}

static void release_list(void)
{
    atomic_store(&hold_begin, false);
    atomic_store(&hold_end, false);
    atomic_store(&let_go, true);
}

static int setup_holding(void **state)
{
    int code = house_setup(state);
    fake_hook_list(at_begin, at_end, NULL);
    return code;
}

static int teardown_holding(void **state)
{
    release_list();
    return house_teardown(state);
}

/* The list is through but for its end; then a server is made and its create ends. */
static void created_after_the_pass_began_is_not_gone(void **state)
{
    (void)state;
    start_inventory();
    hold_list(false, true);
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_true(row_exists(resource_id));
    release_list();
    wait_rounds(2);
    assert_true(row_exists(resource_id));
    assert_int_equal(house_count("server"), 1);
}

/* The list has taken its items but not given them; then the server is deleted, and its task ends. */
static void deleted_after_the_pass_began_does_not_come_back(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    start_inventory();
    wait_rounds(1);
    hold_list(true, false);
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_false(row_exists(resource_id));
    atomic_store(&hold_end, true);
    atomic_store(&hold_begin, false);
    atomic_store(&let_go, true);
    wait_rounds(2);
    assert_false(row_exists(resource_id));
    assert_int_equal(house_count("server"), 0);
}

static atomic_int_fast64_t pass_told; /* to the first round that begins; 0: to none yet */

static void tell_pass(void *argument)
{
    int_fast64_t none = 0;
    (void)argument;
    atomic_compare_exchange_strong(&pass_told, &none,
                                   inventory_last_pass(house.inventory, "edge", "server"));
}

static bool is_pass_told(void *argument)
{
    (void)argument;
    return atomic_load(&pass_told) != 0;
}

/* A pass that ends after something was asked for, and began before, has not looked since. */
static void a_pass_is_as_old_as_its_beginning(void **state)
{
    (void)state;
    start_inventory();
    wait_rounds(1);
    hold_list(false, true);
    clock_sleep_ms(2);
    int64_t asked = clock_now_ms();
    atomic_store(&pass_told, 0);
    fake_hook_list(tell_pass, at_end, NULL);
    release_list();
    house_wait(is_pass_told, NULL);
    assert_true(atomic_load(&pass_told) < asked);
}

/* The same with an action: what was listed before does not undo what the step has shown. */
static void stale_item_does_not_hide_an_action(void **state)
{
    (void)state;
    struct resource resource;
    house_have_server("s1", resource_id);
    start_inventory();
    wait_rounds(1);
    hold_list(true, false);
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1", .emit_status = "SHUTOFF"});
    assert_int_equal(house_submit(VIM_VERB_ACTION, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    fake_put("server", "s1", "SHUTOFF", 0, NULL, NULL);
    uint64_t revision;
    assert_true(house_resource(resource_id, &resource));
    revision = resource.revision;
    resource_free(&resource);
    release_list();
    wait_rounds(2);
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_SHUTOFF);
    assert_int_equal(resource.revision, revision); /* never anything else in between */
    resource_free(&resource);
}

/* A poll sees the new server, untagged, before the step that made it has committed. */
static void make_s1_and_wait(void *argument)
{
    (void)argument;
    fake_put("server", "s1", "BUILD", VIM_ITEM_PENDING, NULL, NULL);
    house_wait(server_is_there, (char[]){"s1"});
}

static void stranger_turns_out_to_be_ours(void **state)
{
    (void)state;
    start_inventory();
    fake_script(
        &(struct fake_outcome){.code = VIM_OK, .emit_id = "s1", .before = make_s1_and_wait});
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    wait_rounds(2);
    assert_true(server_is_gone((char[]){"s1"}));
    assert_int_equal(house_count("server"), 1);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_ACTIVE);
    resource_free(&resource);
}

/* The row of a create belongs to its task until that has ended, whatever the list shows. */
static void create_in_progress_is_left_alone(void **state)
{
    (void)state;
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    house_create(task_id, resource_id);
    house_work();
    fake_put("server", "s1", "ACTIVE", 0, resource_id, NULL);
    start_inventory();
    wait_rounds(2);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_null(resource.backend_id);
    assert_int_equal(resource.status, STATUS_BUILD);
    resource_free(&resource);
    assert_int_equal(house_count("server"), 1);
}

static void status_of_an_update_in_progress_stays(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = 600000});
    assert_int_equal(house_submit(VIM_VERB_UPDATE, resource_id, "{}", task_id), VIM_OK);
    house_work();
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"renamed\"}");
    start_inventory();
    wait_rounds(2);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_UPDATING);
    assert_true(resource.pending);
    assert_string_equal(resource.name, "renamed");
    assert_string_equal(resource.task, task_id);
    resource_free(&resource);
    /* nor is it gone while the task works on it */
    fake_remove("server", "s1");
    wait_rounds(2);
    assert_true(row_exists(resource_id));
    assert_int_equal(tasks_cancel(house.tasks, task_id, NULL), VIM_OK);
    house_wait(server_is_gone, (char[]){"s1"});
}

static int setup_changes(void **state)
{
    fake_tell_changes(true);
    return house_setup(state);
}

static int teardown_changes(void **state)
{
    int code = house_teardown(state);
    fake_tell_changes(false);
    return code;
}

static void break_s1_and_list_it(void *argument)
{
    (void)argument;
    fake_put("server", "s1", "ERROR", 0, NULL, NULL);
    wait_rounds(2);
}

/* What a list of changes shows while a task works on it is not shown again: when the task came to
 * nothing, what it left is looked at. */
static void failed_task_leaves_no_old_status(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    start_inventory();
    wait_rounds(2);
    fake_script(&(struct fake_outcome){.code = VIM_E_FAILED, .before = break_s1_and_list_it});
    assert_int_equal(house_submit(VIM_VERB_ACTION, resource_id, "{}", task_id), VIM_OK);
    house_work_until(task_id, TASK_FAILED);
    wait_rounds(3);
    struct resource resource;
    assert_true(house_resource(resource_id, &resource));
    assert_int_equal(resource.status, STATUS_ERROR);
    resource_free(&resource);
}

static bool pass_is_old(void *argument)
{
    (void)argument;
    return fake_lists("server") > 2;
}

/* Another cloud under a VIM's name: its first look is a complete one. */
static void replaced_vim_is_looked_at_anew(void **state)
{
    (void)state;
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    start_inventory();
    house_wait(server_is_there, (char[]){"s1"});
    house_wait(pass_is_old, NULL);
    fake_remove("server", "s1"); /* which changes do not tell */
    house_put_vim(8, 4);
    inventory_refresh(house.inventory);
    wait_rounds(2);
    assert_true(server_is_gone((char[]){"s1"}));
}

/* --- Awaits -------------------------------------------------------------------------------------- */

static void script_create_that_awaits(const char *backend_id)
{
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN,
                                       .emit_id = backend_id,
                                       .emit_status = "BUILD",
                                       .emit_flags = VIM_ITEM_PENDING,
                                       .await_id = backend_id,
                                       .await_ms = 600000});
}

static void await_ends_when_it_settles(void **state)
{
    (void)state;
    script_create_that_awaits("s1");
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1"});
    fake_put("server", "s1", "BUILD", VIM_ITEM_PENDING, NULL, NULL);
    start_inventory();
    house_create(task_id, resource_id);
    house_work();
    wait_rounds(3);
    house_work();
    assert_int_equal(fake_calls(), 1);
    assert_int_equal(house_state(task_id), TASK_WAITING);
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 2);
    assert_true(fake_call(1).has_seen);
    assert_string_equal(fake_call(1).seen_status, "ACTIVE");
    assert_int_equal(fake_gets(), 0);
}

static void await_ends_when_it_vanishes(void **state)
{
    (void)state;
    script_create_that_awaits("s1");
    fake_script(&(struct fake_outcome){.code = VIM_E_FAILED, .text = "it vanished"});
    fake_script(&(struct fake_outcome){.code = VIM_OK});
    fake_put("server", "s1", "BUILD", VIM_ITEM_PENDING, NULL, NULL);
    start_inventory();
    house_create(task_id, resource_id);
    house_work();
    wait_rounds(1);
    fake_remove("server", "s1");
    house_work_until(task_id, TASK_FAILED);
    assert_true(fake_call(1).has_seen);
    assert_true(fake_call(1).seen_gone);
    assert_int_equal(fake_call(2).undo, 1);
}

/* What a list showed that was asked for before the step ended wakes nobody. */
static void await_ignores_older_looks(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    start_inventory();
    wait_rounds(1);
    hold_list(true, false); /* holds s1 as ACTIVE */
    script_create_that_awaits("s1");
    fake_put("server", "s1", "BUILD", VIM_ITEM_PENDING, NULL, NULL);
    assert_int_equal(house_submit(VIM_VERB_ACTION, resource_id, "{}", task_id), VIM_OK);
    house_work();
    assert_int_equal(fake_calls(), 1);
    release_list();
    wait_rounds(2);
    house_work();
    assert_int_equal(fake_calls(), 1);
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    house_work_until(task_id, TASK_SUCCEEDED);
}

static void shorten_await(struct task *task)
{
    task->due = clock_now_ms();
}

static void await_ends_with_its_time(void **state)
{
    (void)state;
    script_create_that_awaits("s1");
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1"});
    house_create(task_id, resource_id);
    house_work();
    house_edit_task(task_id, shorten_await);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_false(fake_call(1).has_seen);
}

static void await_survives_a_restart(void **state)
{
    (void)state;
    script_create_that_awaits("s1");
    fake_script(&(struct fake_outcome){.code = VIM_OK, .emit_id = "s1"});
    fake_put("server", "s1", "BUILD", VIM_ITEM_PENDING, NULL, NULL);
    house_create(task_id, resource_id);
    house_work();
    house_restart();
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    start_inventory();
    wait_rounds(1);
    house_work();
    assert_int_equal(fake_calls(), 1);
    fake_put("server", "s1", "ACTIVE", 0, NULL, NULL);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_call(1).attempt, 0);
}

#define MANY 1200

static bool all_ended(void *argument)
{
    (void)argument;
    return fake_calls() == 2 * MANY && tasks_in_progress(house.tasks) == 0;
}

static bool all_called(void *argument)
{
    (void)argument;
    return fake_calls() == MANY && tasks_in_progress(house.tasks) == 0;
}

/* The fake's own way of making things: BUILD at first, then what the list says. */
static void many_awaits_one_list(void **state)
{
    (void)state;
    struct worker *worker;
    static char backend[MANY][16];
    assert_int_equal(worker_start(house.tasks, 4, &worker, NULL), VIM_OK);
    for (int batch = 0; batch < MANY / 200; batch++) {
        for (int i = 0; i < 200; i++) {
            char *id = backend[batch * 200 + i];
            (void)snprintf(id, 16, "s%d", batch * 200 + i);
            fake_put("server", id, "BUILD", VIM_ITEM_PENDING, NULL, NULL);
            script_create_that_awaits(id);
            house_create(task_id, resource_id);
        }
        int64_t until = clock_mono_ms() + house_patient(60000);
        while (fake_script_left() || tasks_in_progress(house.tasks)) {
            assert_true(clock_mono_ms() < until);
            clock_sleep_ms(1);
        }
        fake_script_rewind();
    }
    house_wait(all_called, NULL);
    assert_int_equal(fake_lists("server"), 0);
    start_inventory();
    wait_rounds(2);
    assert_int_equal(fake_calls(), MANY);
    for (int i = 0; i < MANY; i++) {
        fake_put("server", backend[i], "ACTIVE", 0, NULL, NULL);
    }
    house_wait(all_ended, NULL);
    assert_int_equal(fake_gets(), 0);
    worker_stop(worker, 60000);
    for (int i = 0; i < 10; i++) {
        assert_true(fake_call(MANY + (size_t)i).has_seen);
    }
    assert_int_equal(house_count("server"), MANY);
}

/* --- Leases -------------------------------------------------------------------------------------- */

static void put_lease(const char *owner, int64_t due)
{
    CLEANUP_FREE char *body = text_format("{\"owner\":\"%s\"}", owner);
    struct vim_write write = {.collection = COLLECTION_POLL,
                              .id = "edge/server",
                              .body = body,
                              .expect = VIM_EXPECT_ANY,
                              .due = due};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
}

static bool images_polled(void *argument)
{
    (void)argument;
    return fake_lists("image") >= 5;
}

static void one_process_polls(void **state)
{
    (void)state;
    put_lease("another-boot:1:2:3", clock_now_ms() + 3600000);
    start_inventory();
    house_wait(images_polled, NULL);
    assert_int_equal(fake_lists("server"), 0);
    assert_true(inventory_is_ready(house.inventory));
    put_lease(house_dead_owner(), clock_now_ms() + 3600000);
    wait_rounds(1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
#define TEST_CHANGES(name) cmocka_unit_test_setup_teardown(name, setup_changes, teardown_changes)
#define TEST_HOLDING(name) cmocka_unit_test_setup_teardown(name, setup_holding, teardown_holding)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finds_updates_and_forgets),
        TEST(broken_list_takes_nothing_for_gone),
        TEST(restart_keeps_rows_and_drops_what_went),
        TEST(tagged_item_finds_its_resource),
        TEST(fresh_read_is_corrected_later),
        TEST_HOLDING(created_after_the_pass_began_is_not_gone),
        TEST_HOLDING(deleted_after_the_pass_began_does_not_come_back),
        TEST_HOLDING(a_pass_is_as_old_as_its_beginning),
        TEST_HOLDING(stale_item_does_not_hide_an_action),
        TEST(stranger_turns_out_to_be_ours),
        TEST(create_in_progress_is_left_alone),
        TEST(status_of_an_update_in_progress_stays),
        TEST_CHANGES(failed_task_leaves_no_old_status),
        TEST_CHANGES(replaced_vim_is_looked_at_anew),
        TEST(await_ends_when_it_settles),
        TEST(await_ends_when_it_vanishes),
        TEST_HOLDING(await_ignores_older_looks),
        TEST(await_ends_with_its_time),
        TEST(await_survives_a_restart),
        TEST(many_awaits_one_list),
        TEST(one_process_polls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
