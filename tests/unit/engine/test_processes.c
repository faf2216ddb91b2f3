/*
 * Several processes on one store: what another one does is told by rows alone. Here the other one is the
 * test, which writes rows behind the engine's back; where it has to be paused it is a child.
 */
#include "house.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/owner.h"
#include "worker/worker.h"

#define FAR "another-boot:1:2:3"
#define LONG_MS 3600000

static char task_id[37], resource_id[37];

static void end_elsewhere(struct task *task)
{
    task->state = TASK_SUCCEEDED;
    task->due = 0;
    task->finished = clock_now_ms();
    free(task->owner);
    task->owner = NULL;
}

static void start_tasks(void)
{
    /* No sweep that finds what others should have been told. */
    house.settings.sweep_ms = LONG_MS;
    tasks_configure(house.tasks, &house.settings);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
}

/* --- Waits ---------------------------------------------------------------------------------------- */

#define WATCHES 400

static atomic_int ended_watches;

static void watch_ended(void *argument, int code, const struct task *task)
{
    (void)argument;
    if (code == VIM_OK && task->state == TASK_SUCCEEDED) {
        atomic_fetch_add(&ended_watches, 1);
    }
}

static bool has_ended_watches(void *argument)
{
    return atomic_load(&ended_watches) >= *(int *)argument;
}

static uint64_t calls_of(const char *operation)
{
    struct metrics_sum sum;
    metrics_sum("vimd_store_call_seconds", operation, &sum);
    return sum.count;
}

static bool scanned(void *argument)
{
    return calls_of("operation=\"scan\"") >= *(uint64_t *)argument;
}

/* Many waits for what others do cost the store a scan per look, not a get each; and all of them see it. */
static void many_waits_cost_one_scan_per_look(void **state)
{
    (void)state;
    static char many[WATCHES][37];
    int some = WATCHES / 2, all = WATCHES;
    start_tasks();
    atomic_store(&ended_watches, 0);
    for (int i = 0; i < WATCHES; i++) {
        house_create(many[i], resource_id);
        tasks_watch(house.tasks, many[i], LONG_MS, watch_ended, NULL);
    }
    uint64_t looks = calls_of("operation=\"scan\"") + 10;
    house_wait(scanned, &looks);
    uint64_t gets = calls_of("operation=\"get\"");
    looks += 30;
    house_wait(scanned, &looks);
    /* A scan that was held up may make gets look cheaper for a while. */
    assert_true(calls_of("operation=\"get\"") - gets < 15 * WATCHES);
    for (int i = 0; i < WATCHES; i += 2) {
        house_edit_task(many[i], end_elsewhere);
    }
    house_wait(has_ended_watches, &some);
    for (int i = 1; i < WATCHES; i += 2) {
        house_edit_task(many[i], end_elsewhere);
    }
    house_wait(has_ended_watches, &all);
    clock_sleep_ms(50);
    assert_int_equal(atomic_load(&ended_watches), WATCHES);
}

/* A task that waits for another one goes on when that one has ended in another process. */
static void end_elsewhere_wakes_dependents(void **state)
{
    (void)state;
    char image[37], maker[37], maker_resource[37];
    struct resource row = {.id = id_new(image),
                           .kind = (char[]){"image"},
                           .name = (char[]){"i"},
                           .vim = (char[]){"edge"},
                           .project = (char[]){"demo"},
                           .task = maker,
                           .status = STATUS_BUILD};
    start_tasks();
    fake_script(&(struct fake_outcome){.code = VIM_AGAIN, .again_ms = LONG_MS});
    house_create(maker, maker_resource);
    house_work();
    CLEANUP_FREE char *body = resource_render(&row);
    struct vim_write write = resource_write(&row, body);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    CLEANUP_FREE char *spec = text_format("{\"name\":\"thing\",\"image\":\"%s\"}", image);
    assert_int_equal(house_submit(VIM_VERB_CREATE, id_new(resource_id), spec, task_id), VIM_OK);
    house_work();
    assert_int_equal(house_state(task_id), TASK_WAITING);
    row.task = NULL;
    row.backend_id = (char[]){"far-image"};
    row.status = STATUS_ACTIVE;
    row.revision = 1;
    CLEANUP_FREE char *made = resource_render(&row);
    write = resource_write(&row, made);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    house_edit_task(maker, end_elsewhere);
    house_work_until(task_id, TASK_SUCCEEDED);
}

/* What others have ended makes room for new tasks at once. */
static void active_tasks_are_those_of_all(void **state)
{
    (void)state;
    char tasks[3][37], other[37];
    house.settings.active_max = 3;
    start_tasks();
    for (int i = 0; i < 3; i++) {
        house_create(tasks[i], resource_id);
    }
    clock_sleep_ms(600); /* a count is good for half a second */
    assert_int_equal(house_submit(VIM_VERB_CREATE, id_new(other), "{}", task_id), VIM_E_BUSY);
    house_edit_task(tasks[1], end_elsewhere);
    clock_sleep_ms(600);
    assert_int_equal(house_submit(VIM_VERB_CREATE, other, "{}", task_id), VIM_OK);
    clock_sleep_ms(600);
    assert_int_equal(house_submit(VIM_VERB_CREATE, id_new(other), "{}", task_id), VIM_E_BUSY);
}

/* --- Who polls ------------------------------------------------------------------------------------ */

static void write_row(const char *collection, const char *id, const char *text, int64_t due)
{
    struct vim_write write = {
        .collection = collection, .id = id, .body = text, .expect = VIM_EXPECT_ANY, .due = due};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
}

static bool want_exists(void *argument)
{
    struct row row = {0};
    int code = store_get(house.store, COLLECTION_WANT, argument, &row, NULL);
    row_free(&row);
    return code == VIM_OK;
}

static void whoever_polls_is_told_what_is_wanted(void **state)
{
    (void)state;
    write_row(COLLECTION_POLL, "edge/server", "{\"owner\":\"" FAR "\"}", clock_now_ms() + LONG_MS);
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    fake_script(&(struct fake_outcome){
        .code = VIM_AGAIN, .await_id = "s1", .await_ms = LONG_MS, .emit_id = "s1"});
    house_create(task_id, resource_id);
    house_work();
    house_wait(want_exists, (char[]){"edge/server"});
    assert_false(want_exists((char[]){"edge/server/full"}));
    assert_false(want_exists((char[]){"edge/image"}));
    inventory_doubt(house.inventory, "edge", "server");
    house_wait(want_exists, (char[]){"edge/server/full"});
    assert_int_equal(fake_lists("server"), 0);
}

static bool lists_reached(void *argument)
{
    return fake_lists("server") >= *(uint64_t *)argument;
}

static void wait_rounds(unsigned count)
{
    uint64_t wanted = fake_lists("server") + count + 1;
    house_wait(lists_reached, &wanted);
}

static void what_others_want_is_looked_at(void **state)
{
    (void)state;
    uint64_t first = 1, second = 2, third = 3;
    house.poll_idle_ms = LONG_MS;
    house_put_vim(8, 4);
    inventory_refresh(house.inventory);
    write_row(COLLECTION_WANT, "edge/server", "{}", 0); /* from before: met by the first look */
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(lists_reached, &first);
    clock_sleep_ms(400);
    uint64_t images = fake_lists("image");
    assert_int_equal(fake_lists("server"), 1);
    write_row(COLLECTION_WANT, "edge/server", "{}", 0);
    write_row(COLLECTION_WANT, "edge/nothing", "{}", 0);
    write_row(COLLECTION_WANT, "elsewhere/server", "{}", 0);
    house_wait(lists_reached, &second);
    write_row(COLLECTION_WANT, "edge/server/full", "{}", 0);
    house_wait(lists_reached, &third);
    clock_sleep_ms(400);
    assert_int_equal(fake_lists("server"), 3);
    assert_int_equal(fake_lists("image"), images);
}

/* --- What another process has done while a list was on its way ------------------------------------- */

static atomic_bool hold_end, held, let_go;

static void at_end(void *argument)
{
    (void)argument;
    if (atomic_load(&hold_end)) {
        atomic_store(&held, true);
        while (!atomic_load(&let_go)) {
            clock_sleep_ms(1);
        }
        atomic_store(&held, false);
    }
}

static bool is_held(void *argument)
{
    (void)argument;
    return atomic_load(&held);
}

/* The next list gives its items and then waits. */
static void hold_list(void)
{
    atomic_store(&let_go, false);
    atomic_store(&hold_end, true);
    house_wait(is_held, NULL);
}

static void release_list(void)
{
    atomic_store(&hold_end, false);
    atomic_store(&let_go, true);
}

static int setup_holding(void **state)
{
    int code = house_setup(state);
    fake_hook_list(NULL, at_end, NULL);
    return code;
}

static int teardown_holding(void **state)
{
    release_list();
    return house_teardown(state);
}

static uint64_t revision_of(const char *id, const char *name)
{
    struct resource resource;
    assert_true(house_resource(id, &resource));
    assert_string_equal(resource.name, name);
    uint64_t revision = resource.revision;
    resource_free(&resource);
    return revision;
}

static void rename_elsewhere(const char *id, const char *name)
{
    struct resource resource;
    assert_true(house_resource(id, &resource));
    free(resource.name);
    resource.name = text_duplicate(name);
    CLEANUP_FREE char *body = resource_render(&resource);
    struct vim_write write = resource_write(&resource, body);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    resource_free(&resource);
}

static bool has_name(void *argument)
{
    struct resource resource = {0};
    bool has = house_resource(resource_id, &resource) && text_equal(resource.name, argument);
    resource_free(&resource);
    return has;
}

static bool is_let_go(void *argument)
{
    return !is_held(argument);
}

/* The server gets a new name, and the first list that shows it waits before it takes effect. */
static void hold_list_with_new_name(void)
{
    for (int i = 0; i < 100; i++) {
        CLEANUP_FREE char *name = text_format("b%d", i);
        CLEANUP_FREE char *body = text_format("{\"name\":\"%s\"}", name);
        fake_put("server", "s1", "ACTIVE", 0, NULL, body);
        hold_list();
        if (!has_name(name)) {
            return;
        }
        release_list(); /* it was the second */
        house_wait(is_let_go, NULL);
    }
    fail_msg("every list was through before it was held");
}

/* A list shows the server as it was; then another process changes it, there and in its row. */
static void an_old_look_does_not_undo_what_another_has_done(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"a\"}");
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(has_name, (char[]){"a"});
    wait_rounds(2);
    hold_list_with_new_name();
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"c\"}");
    rename_elsewhere(resource_id, "c");
    uint64_t revision = revision_of(resource_id, "c");
    release_list();
    wait_rounds(4);
    assert_int_equal(revision_of(resource_id, "c"), revision); /* never anything else in between */
    /* What happens there later is taken over. */
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"d\"}");
    house_wait(has_name, (char[]){"d"});
}

/* The same with a server that this process has never seen: another one has made it, and then changed it. */
static void a_first_look_does_not_undo_what_another_has_done(void **state)
{
    (void)state;
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    wait_rounds(2);
    house_have_server("s1", resource_id); /* row and thing, both without a name worth the word */
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"b\"}");
    for (int i = 0; i < 100; i++) {
        hold_list();
        if (!has_name((char[]){"b"})) {
            break;
        }
        release_list(); /* it was the second look: once more, with another one */
        house_wait(is_let_go, NULL);
        fake_remove("server", "s1");
        wait_rounds(2);
        house_have_server("s1", resource_id);
        fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"b\"}");
    }
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"c\"}");
    rename_elsewhere(resource_id, "c");
    uint64_t revision = revision_of(resource_id, "c");
    release_list();
    wait_rounds(4);
    assert_int_equal(revision_of(resource_id, "c"), revision);
}

static uint64_t changes_polled(void)
{
    struct metrics_sum sum;
    metrics_sum("vimd_poll_changes_total", "kind=\"server\"", &sum);
    return (uint64_t)sum.value;
}

/* A list shows the server; then another process deletes it, there and its row. */
static void an_old_look_does_not_bring_back_what_another_has_deleted(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"a\"}");
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(has_name, (char[]){"a"});
    wait_rounds(2);
    hold_list_with_new_name();
    struct vim_write write = {.collection = "server", .id = resource_id, .expect = VIM_EXPECT_ANY};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    fake_remove("server", "s1");
    uint64_t changes = changes_polled();
    release_list();
    wait_rounds(4);
    assert_int_equal(house_count("server"), 0);
    assert_int_equal(changes_polled(), changes); /* neither made nor deleted again */
    /* One of the same name is a stranger. */
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"e\"}");
    house_wait(has_name, (char[]){"e"});
}

/* The lease goes to another process and comes back: what was known of rows is no longer true. */
static void rows_are_looked_at_anew_after_others_polled(void **state)
{
    (void)state;
    house_have_server("s1", resource_id);
    fake_put("server", "s1", "ACTIVE", 0, NULL, "{\"name\":\"a\"}");
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(has_name, (char[]){"a"});
    wait_rounds(1);
    inventory_stop(house.inventory); /* gives the lease back */
    rename_elsewhere(resource_id,
                     "b"); /* the far side was so for a while, and another process saw it */
    write_row(COLLECTION_POLL, "edge/server", "{\"owner\":\"" FAR "\"}", 1);
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(has_name, (char[]){"a"});
}

static bool has_no_row(void *argument)
{
    struct resource resource = {0};
    bool has = house_resource(argument, &resource);
    resource_free(&resource);
    return !has;
}

static bool has_row(void *argument)
{
    return !has_no_row(argument);
}

/* Rows that others have made or deleted without this process ever seeing it in a list. */
static void rows_are_compared_with_what_is_there(void **state)
{
    (void)state;
    char ghost[37], twin[37], real[37];
    house_have_server("s1", resource_id);
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(has_name, (char[]){"thing"});
    wait_rounds(2);
    /* made elsewhere, and gone before a list could show it */
    house_have_server("ghost", ghost);
    fake_remove("server", "ghost");
    house_wait(has_no_row, ghost);
    /* a row that is lost while its thing is there */
    struct vim_write write = {.collection = "server", .id = resource_id, .expect = VIM_EXPECT_ANY};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    house_wait(has_row, resource_id);
    /* one thing with two rows: a stranger's, whose maker died before it could find out, and the real one */
    struct resource row = {.id = id_new(real),
                           .kind = (char[]){"server"},
                           .name = (char[]){"thing"},
                           .vim = (char[]){"edge"},
                           .project = (char[]){"demo"},
                           .backend_id = (char[]){"s2"},
                           .status = STATUS_ACTIVE};
    struct alias_buffer buffer;
    CLEANUP_FREE char *body = resource_render(&row);
    struct vim_write writes[2] = {resource_write(&row, body),
                                  alias_write("edge", "server", "s2", real, &buffer)};
    house_have_server("s2", twin);
    assert_int_equal(store_commit(house.store, writes, 2, NULL), VIM_OK);
    house_wait(has_no_row, twin);
    assert_true(has_row(real));
}

/* --- A process that is paused past its lease -------------------------------------------------------- */

static void pause_here(void *argument)
{
    (void)argument;
    (void)raise(SIGSTOP);
}

enum { REFUSED = 0, WRITTEN = 10, NOT_ENDED = 11 };

/* The child's life: claims the task, is stopped inside of the driver's call, goes on when told, and finds
 * that its claim is gone. */
static void be_paused(const char *folder)
{
    house_open(folder);
    house.settings.lease_margin_ms = 10;
    house.call_timeout_ms = 200;
    tasks_configure(house.tasks, &house.settings);
    house_put_vim(8, 4);
    fake_script(&(struct fake_outcome){
        .code = VIM_OK, .emit_id = "made-by-the-paused", .before = pause_here});
    (void)tasks_start(house.tasks, NULL);
    for (int64_t until = clock_mono_ms() + house_patient(60000);
         !fake_calls() && clock_mono_ms() < until;) {
        (void)tasks_work(house.tasks, 8, 10);
    }
    while (tasks_in_progress(house.tasks)) {
        clock_sleep_ms(1);
    }
    struct resource resource;
    if (!fake_calls() || !house_resource(resource_id, &resource)) {
        _exit(NOT_ENDED);
    }
    _exit(text_equal(resource.backend_id, "made-by-the-paused") ? WRITTEN : REFUSED);
}

static void a_paused_process_has_lost_its_claim(void **state)
{
    (void)state;
    char folder[] = "/tmp/test-paused-XXXXXX";
    int status = 0;
    assert_non_null(mkdtemp(folder));
    id_new(resource_id);
    house_open(folder);
    assert_int_equal(house_submit(VIM_VERB_CREATE, resource_id, "{\"name\":\"thing\"}", task_id),
                     VIM_OK);
    house_close();
    pid_t child = fork();
    if (child == 0) {
        be_paused(folder);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    house_open(folder);
    assert_int_equal(house_state(task_id), TASK_RUNNING);
    struct task claimed = house_task(task_id);
    assert_false(owner_is_dead(claimed.owner)); /* it is only paused */
    task_free(&claimed);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    assert_int_equal(fake_calls(), 1);
    assert_int_equal(fake_call(0).attempt, 1); /* look for what the other one may have made */
    struct task ended = house_task(task_id);
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), REFUSED);
    struct task after = house_task(task_id);
    assert_int_equal(after.revision, ended.revision);
    task_free(&ended);
    task_free(&after);
    house_close();
    CLEANUP_FREE char *command = text_format("rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
#define TEST_HOLDING(name) cmocka_unit_test_setup_teardown(name, setup_holding, teardown_holding)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_process_has_lost_its_claim),
        TEST(many_waits_cost_one_scan_per_look),
        TEST(end_elsewhere_wakes_dependents),
        TEST(active_tasks_are_those_of_all),
        TEST(whoever_polls_is_told_what_is_wanted),
        TEST(what_others_want_is_looked_at),
        TEST_HOLDING(an_old_look_does_not_undo_what_another_has_done),
        TEST_HOLDING(a_first_look_does_not_undo_what_another_has_done),
        TEST_HOLDING(an_old_look_does_not_bring_back_what_another_has_deleted),
        TEST(rows_are_looked_at_anew_after_others_polled),
        TEST(rows_are_compared_with_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
