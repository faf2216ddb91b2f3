/*
 * A process that is killed before or after any of its commits, while it makes and then deletes a
 * network at a mock far side that loses answers: the next process ends what was accepted, and
 * there is one network, or none, never two.
 */
#include "fixtures/house.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "worker/worker.h"

#define LIMIT_MS 60000
/* What a child tells by its exit code. */
enum { DONE = 0, NOT_IN_TIME = 10, WRONG_ROW = 11, WRONG_COUNT = 12, NOT_ACCEPTED = 13 };

static const char network_id[] = "0193b2c4-0000-7000-8000-000000000001";
static const char mock_yaml[] =
    "latency_mean: 0ms\ndelete_latency_mean: 0ms\n"
    "faults: [\"create network lost 0.5\", \"delete network lost 0.5\"]\n";

/* --- In the child: no cmocka, no clean ends ------------------------------------------------------- */

/* The network's row; false if there is none. */
static bool get_network(struct resource *ret_resource)
{
    struct row row = {0};
    if (store_get(house.store, "network", network_id, &row, NULL) != VIM_OK) {
        return false;
    }
    int code = resource_parse(&row, "network", ret_resource, NULL);
    row_free(&row);
    return code == VIM_OK;
}

static void wish(uint32_t verb, struct resource *resource)
{
    char task[37];
    struct task_wish wished = {.verb = verb,
                               .project = "demo",
                               .vim = "edge",
                               .kind = "network",
                               .resource = resource,
                               .spec = verb == VIM_VERB_CREATE ? "{\"name\":\"net\"}" : "{}"};
    if (tasks_submit(house.tasks, &wished, task, NULL) != VIM_OK) {
        _exit(NOT_ACCEPTED);
    }
}

static void wish_network(void)
{
    struct resource resource = {.id = (char *)(uintptr_t)network_id,
                                .kind = (char[]){"network"},
                                .name = (char[]){"net"},
                                .vim = (char[]){"edge"},
                                .project = (char[]){"demo"},
                                .status = STATUS_BUILD,
                                .pending = true};
    wish(VIM_VERB_CREATE, &resource);
}

/* Until no task works on the network. False if it has no row then. */
static bool wait_idle(struct resource *ret_resource)
{
    int64_t until = clock_mono_ms() + LIMIT_MS;
    while (clock_mono_ms() < until) {
        if (!get_network(ret_resource)) {
            return false;
        }
        if (!ret_resource->task) {
            return true;
        }
        resource_free(ret_resource);
        clock_sleep_ms(1);
    }
    _exit(NOT_IN_TIME);
}

/* After a look at the far side that began now, how many networks are there? */
static size_t count_networks(void)
{
    int64_t until = clock_mono_ms() + LIMIT_MS;
    for (int i = 0; i < 2; i++) {
        int64_t last = inventory_last_pass(house.inventory, "edge", "network");
        inventory_hint(house.inventory, "edge", "network");
        while (inventory_last_pass(house.inventory, "edge", "network") == last) {
            if (clock_mono_ms() > until) {
                _exit(NOT_IN_TIME);
            }
            clock_sleep_ms(1);
        }
    }
    return house_count("network");
}

#define SEEDED 1u /* networks that the mock has from the start */

static void live(const char *folder, bool deletes)
{
    struct worker *worker;
    struct resource resource;
    house_open(folder);
    house.settings.max_attempts = 50; /* lost answers are no reason to give up */
    tasks_configure(house.tasks, &house.settings);
    house_put_driver("mock", mock_yaml);
    (void)tasks_start(house.tasks, NULL);
    (void)inventory_start(house.inventory, NULL);
    (void)worker_start(house.tasks, 2, &worker, NULL);
    bool accepted_before = access("made", F_OK) == 0;
    if (!get_network(&resource)) {
        if (accepted_before) {
            /* killed after the delete was through */
            _exit(count_networks() == SEEDED ? DONE : WRONG_COUNT);
        }
        wish_network();
    } else {
        resource_free(&resource);
    }
    bool exists = wait_idle(&resource);
    if (!deletes) {
        bool good = exists && resource.status == STATUS_ACTIVE && resource.backend_id;
        _exit(!good ? WRONG_ROW : count_networks() == SEEDED + 1 ? DONE : WRONG_COUNT);
    }
    if (exists) {
        FILE *made = fopen("made", "w");
        if (!made || fclose(made) != 0) {
            _exit(WRONG_ROW);
        }
        resource.status = STATUS_DELETING;
        wish(VIM_VERB_DELETE, &resource);
        exists = wait_idle(&resource);
    }
    _exit(exists ? WRONG_ROW : count_networks() == SEEDED ? DONE : WRONG_COUNT);
}

/* --- In the parent: no threads -------------------------------------------------------------------- */

static int run(const char *folder, bool deletes, int kill_at, const char *when)
{
    pid_t child = fork();
    if (child == 0) {
        CLEANUP_FREE char *number = text_format("%d", kill_at);
        if (chdir(folder) != 0) {
            _exit(1);
        }
        (void)setenv("VIMD_TEST_KILL_AT_COMMIT", number, 1);
        (void)setenv("VIMD_TEST_KILL_WHEN", when, 1);
        live(folder, deletes);
    }
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Where a few kills are asked for, as under valgrind, commits are left out. */
static int step(void)
{
    const char *kills = getenv("VIMD_TEST_KILLS");
    int count = kills ? atoi(kills) : 50;
    return count < 1 || count >= 50 ? 1 : 50 / count;
}

static void kill_everywhere(bool deletes, int last)
{
    int kills = 0;
    for (int kill_at = 1; kill_at <= last; kill_at += step()) {
        for (int after = 0; after < 2; after++) {
            char folder[] = "/tmp/test-kill-XXXXXX";
            assert_non_null(mkdtemp(folder));
            int first = run(folder, deletes, kill_at, after ? "after" : "before");
            kills += first == -SIGKILL;
            assert_true(first == -SIGKILL || first == DONE);
            int second = first == DONE ? DONE : run(folder, deletes, 0, "before");
            if (second != DONE) {
                fail_msg("killed %s commit %d: the next process ends with %d",
                         after ? "after" : "before", kill_at, second);
            }
            CLEANUP_FREE char *command = text_format("rm -rf %s", folder);
            assert_int_equal(system(command), 0);
        }
    }
    assert_true(kills >= last / step());
}

static void create(void **state)
{
    (void)state;
    kill_everywhere(false, 16);
}

static void create_and_delete(void **state)
{
    (void)state;
    kill_everywhere(true, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create),
        cmocka_unit_test(create_and_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
