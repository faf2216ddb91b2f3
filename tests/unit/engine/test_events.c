/* Events: born with what they tell, moved into a sequence without gaps, by however many processes and
 * through whatever kills. */
#include "fixtures/house.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "base/thread.h"
#include "engine/events.h"
#include "engine/owner.h"

static const struct events_settings for_ever = {0};

/* --- Reading ------------------------------------------------------------------------------------- */

struct seen {
    char *bodies[4096];
    char ids[4096][EVENT_ID_SIZE];
    size_t count;
};

static int take_event(void *argument, const struct vim_item *item)
{
    struct seen *seen = argument;
    strcpy(seen->ids[seen->count], item->id);
    seen->bodies[seen->count++] = text_duplicate(item->body);
    return seen->count == 4096;
}

/* Those behind what was seen already. */
static void look(struct seen *seen)
{
    struct vim_scan scan = {.collection = COLLECTION_EVENT,
                            .after = seen->count ? seen->ids[seen->count - 1] : NULL};
    assert_int_equal(store_scan(house.store, &scan, take_event, seen, NULL), VIM_OK);
}

static void seen_free(struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        free(seen->bodies[i]);
    }
    free(seen);
}

static struct seen *seen_new(void)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    assert_non_null(seen);
    return seen;
}

static void wait_for_events(struct seen *seen, size_t count)
{
    for (int64_t until = clock_mono_ms() + house_patient(60000); seen->count < count;) {
        look(seen);
        assert_true(clock_mono_ms() < until);
        clock_sleep_ms(1);
    }
    assert_int_equal(seen->count, count);
}

/* Member MEMBER of event INDEX is TEXT. */
static void check(const struct seen *seen, size_t index, const char *member, const char *text)
{
    CLEANUP_JSON json_t *body = json_loads(seen->bodies[index], 0, NULL);
    assert_non_null(body);
    const json_t *data = json_object_get(body, "data");
    const char *value = json_get_text(body, member, json_get_text(data, member, NULL));
    if (!text_equal(value, text)) {
        fail_msg("%s is %s, not %s: %s", member, value, text, seen->bodies[index]);
    }
}

static void check_dense(const struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        char id[EVENT_ID_SIZE];
        assert_string_equal(seen->ids[i], event_id(i + 1, id));
        check(seen, i, "id", id);
    }
}

/* --- Writing ------------------------------------------------------------------------------------- */

static int put_event(struct store *store, const char *name)
{
    struct event_buffer buffer = {0};
    struct event event = {.type = EVENT_RESOURCE_CHANGED,
                          .time = clock_now_ms(),
                          .project = "demo",
                          .kind = "server",
                          .name = name};
    struct vim_write write = event_write(&event, &buffer);
    int code = store_commit(store, &write, 1, NULL);
    event_buffer_free(&buffer);
    return code;
}

static void put_head(const char *owner, uint64_t last, int64_t lease_ms)
{
    CLEANUP_FREE char *body =
        text_format("{\"last\":%llu,\"owner\":\"%s\"}", (unsigned long long)last, owner);
    struct vim_write write = {.collection = COLLECTION_EVENT_HEAD,
                              .id = "head",
                              .body = body,
                              .expect = VIM_EXPECT_ANY,
                              .due = clock_now_ms() + lease_ms};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
}

static struct events *start(const struct events_settings *settings)
{
    struct events *events = events_new(house.store, settings);
    assert_int_equal(events_start(events, NULL), VIM_OK);
    return events;
}

static void stop(struct events *events)
{
    events_stop(events);
    events_free(events);
}

/* --- What is told -------------------------------------------------------------------------------- */

static void a_life_is_told(void **state)
{
    (void)state;
    char task[37], resource[37];
    struct events *events = start(&for_ever);
    struct seen *seen = seen_new();
    house_create(task, resource);
    house_work_until(task, TASK_SUCCEEDED);
    wait_for_events(seen, 2);
    check(seen, 0, "type", "task.ended");
    check(seen, 0, "task_kind", "server.create");
    check(seen, 0, "state", "succeeded");
    check(seen, 0, "task", task);
    check(seen, 0, "resource", resource);
    check(seen, 0, "principal", "tester");
    check(seen, 1, "type", "resource.changed");
    check(seen, 1, "before", "BUILD");
    check(seen, 1, "status", "ACTIVE");
    check(seen, 1, "project", "demo");
    assert_int_equal(house_submit(VIM_VERB_DELETE, resource, "{}", task), VIM_OK);
    house_work_until(task, TASK_SUCCEEDED);
    wait_for_events(seen, 5);
    check(seen, 2, "status", "DELETING");
    check(seen, 2, "task", task);
    check(seen, 3, "task_kind", "server.delete");
    check(seen, 4, "type", "resource.deleted");
    check(seen, 4, "resource", resource);
    check_dense(seen);
    assert_int_equal(house_count(COLLECTION_OUTBOX), 0);
    seen_free(seen);
    stop(events);
}

static void a_failure_is_told(void **state)
{
    (void)state;
    char task[37], resource[37];
    struct seen *seen = seen_new();
    fake_script(&(struct fake_outcome){.code = VIM_E_QUOTA, .text = "no more servers"});
    house_create(task, resource);
    house_work_until(task, TASK_FAILED);
    struct events *events = start(&for_ever); /* what was committed before is not lost */
    wait_for_events(seen, 2);
    check(seen, 0, "state", "failed");
    check(seen, 0, "code", "quota");
    check(seen, 0, "reason", "no more servers");
    check(seen, 1, "status", "ERROR");
    seen_free(seen);
    stop(events);
}

static void what_others_do_is_told(void **state)
{
    (void)state;
    struct seen *seen = seen_new();
    struct events *events = start(&for_ever);
    fake_put("server", "stranger", "ACTIVE", 0, NULL, NULL);
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    wait_for_events(seen, 1);
    check(seen, 0, "type", "resource.found");
    check(seen, 0, "status", "ACTIVE");
    check(seen, 0, "backend_id", "stranger");
    fake_put("server", "stranger", "SHUTOFF", 0, NULL, NULL);
    wait_for_events(seen, 2);
    check(seen, 1, "type", "resource.changed");
    check(seen, 1, "before", "ACTIVE");
    check(seen, 1, "status", "SHUTOFF");
    fake_remove("server", "stranger");
    wait_for_events(seen, 3);
    check(seen, 2, "type", "resource.deleted");
    check(seen, 2, "before", "SHUTOFF");
    seen_free(seen);
    stop(events);
}

/* --- The sequence -------------------------------------------------------------------------------- */

#define WRITERS 4
#define EACH 250

static void *write_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < EACH; i++) {
        char name[ID_SIZE];
        assert_int_equal(put_event(house.store, id_new(name)), VIM_OK);
    }
    return NULL;
}

/* Two movers that both take themselves for the holder of the lease; a reader that follows the numbers
 * while they are at it. */
static void movers_do_not_miss_or_double(void **state)
{
    (void)state;
    pthread_t writers[WRITERS];
    struct events *movers[2] = {start(&for_ever), start(&for_ever)};
    struct seen *seen = seen_new();
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(thread_start("writer", write_many, NULL, &writers[i]), VIM_OK);
    }
    wait_for_events(seen, (size_t)WRITERS * EACH);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    clock_sleep_ms(50);
    look(seen);
    assert_int_equal(seen->count, WRITERS * EACH);
    assert_int_equal(house_count(COLLECTION_OUTBOX), 0);
    check_dense(seen);
    json_t *names = json_object();
    for (size_t i = 0; i < seen->count; i++) {
        CLEANUP_JSON json_t *body = json_loads(seen->bodies[i], 0, NULL);
        json_object_set_new(names, json_get_text(body, "name", ""), json_true());
    }
    assert_int_equal(json_object_size(names), WRITERS * EACH);
    json_decref(names);
    seen_free(seen);
    stop(movers[0]);
    stop(movers[1]);
}

static void a_lease_of_another_is_respected(void **state)
{
    (void)state;
    struct seen *seen = seen_new();
    put_head("another-boot:1:2:3", 7, 1500);
    int64_t began = clock_mono_ms();
    struct events *events = start(&for_ever);
    assert_int_equal(put_event(house.store, "one"), VIM_OK);
    wait_for_events(seen, 1);
    assert_true(clock_mono_ms() - began >= 1000);
    assert_string_equal(seen->ids[0], "0000000000000008");
    seen_free(seen);
    stop(events);
}

static void a_lease_of_the_dead_is_void(void **state)
{
    (void)state;
    struct seen *seen = seen_new();
    put_head(house_dead_owner(), 0, 3600000);
    struct events *events = start(&for_ever);
    assert_int_equal(put_event(house.store, "one"), VIM_OK);
    wait_for_events(seen, 1);
    seen_free(seen);
    stop(events);
}

static void old_events_are_forgotten(void **state)
{
    (void)state;
    uint64_t first, last;
    struct seen *seen = seen_new();
    struct events_settings brief = {.retention_ms = 1};
    struct events *events = start(&brief);
    assert_int_equal(events_range(events, &first, &last, NULL), VIM_OK);
    assert_int_equal(first, 0);
    assert_int_equal(last, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put_event(house.store, "old"), VIM_OK);
    }
    do {
        assert_int_equal(events_range(events, &first, &last, NULL), VIM_OK);
    } while (last < 3);
    stop(events);
    clock_sleep_ms(2);
    events = start(&for_ever); /* looks for what is old when it starts */
    do {
        assert_int_equal(events_range(events, &first, &last, NULL), VIM_OK);
    } while (first < 4);
    assert_int_equal(last, 3);
    assert_int_equal(put_event(house.store, "new"), VIM_OK);
    wait_for_events(seen, 1);
    assert_string_equal(seen->ids[0], "0000000000000004");
    seen_free(seen);
    stop(events);
}

/* --- Waiting ------------------------------------------------------------------------------------- */

static void count_one(void *argument)
{
    atomic_fetch_add((atomic_int *)argument, 1);
}

static void wait_count(atomic_int *count, int wanted)
{
    for (int64_t until = clock_mono_ms() + house_patient(60000); atomic_load(count) < wanted;) {
        assert_true(clock_mono_ms() < until);
        clock_sleep_ms(1);
    }
    assert_int_equal(atomic_load(count), wanted);
}

static bool is_second(const void *argument)
{
    static const atomic_int *second;
    second = argument;
    return atomic_load(second) == 100;
}

static void waits_end(void **state)
{
    (void)state;
    atomic_int woken = 0, others = 100;
    struct events *events = start(&for_ever);
    events_watch(events, 0, 1, count_one, &woken); /* nothing comes */
    wait_count(&woken, 1);
    events_watch(events, 0, 600000, count_one, &woken);
    events_watch(events, 1, 600000, count_one, &others);
    assert_int_equal(put_event(house.store, "one"), VIM_OK);
    wait_count(&woken, 2);
    assert_int_equal(atomic_load(&others), 100);
    events_watch(events, 0, 600000, count_one, &woken); /* there already */
    assert_int_equal(atomic_load(&woken), 3);
    events_watch_end(events, is_second);
    wait_count(&others, 101);
    /* Another process's work: only the head row tells. */
    events_watch(events, 1, 600000, count_one, &woken);
    put_head("another-boot:1:2:3", 2, 0);
    wait_count(&woken, 4);
    events_watch(events, 9, 600000, count_one, &woken);
    events_watch_end(events, NULL);
    wait_count(&woken, 5);
    events_watch(events, 9, 600000, count_one, &woken); /* none waits from then on */
    wait_count(&woken, 6);
    stop(events);
}

/* --- Kills --------------------------------------------------------------------------------------- */

#define KILLED_EVENTS 3
#define CHILD_DONE 0

/* A process that tells of three things, and is killed at some commit of it. */
static void child(const char *folder)
{
    house_open(folder);
    struct events *events = events_new(house.store, &for_ever);
    (void)events_start(events, NULL);
    for (int i = 0; i < KILLED_EVENTS; i++) {
        if (put_event(house.store, "x") != VIM_OK) {
            _exit(1);
        }
    }
    uint64_t first, last = 0;
    while (last < KILLED_EVENTS) {
        if (events_range(events, &first, &last, NULL) != VIM_OK) {
            _exit(1);
        }
    }
    _exit(CHILD_DONE);
}

static void kills_lose_nothing(void **state)
{
    (void)state;
    int kills = 0;
    for (int kill_at = 1; kill_at <= 2 * KILLED_EVENTS; kill_at++) {
        for (int after = 0; after < 2; after++) {
            char folder[] = "/tmp/test-events-XXXXXX";
            assert_non_null(mkdtemp(folder));
            pid_t pid = fork();
            if (pid == 0) {
                CLEANUP_FREE char *number = text_format("%d", kill_at);
                (void)setenv("VIMD_TEST_KILL_AT_COMMIT", number, 1);
                (void)setenv("VIMD_TEST_KILL_WHEN", after ? "after" : "before", 1);
                child(folder);
            }
            int status = 0;
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == CHILD_DONE);
            kills += WIFSIGNALED(status);
            /* What had been committed is told once, by the next process. */
            house_open(folder);
            size_t pending = house_count(COLLECTION_OUTBOX);
            size_t numbered = house_count(COLLECTION_EVENT);
            struct seen *seen = seen_new();
            struct events *events = start(&for_ever);
            wait_for_events(seen, pending + numbered);
            check_dense(seen);
            stop(events);
            seen_free(seen);
            house_close();
            CLEANUP_FREE char *command = text_format("rm -rf %s", folder);
            assert_int_equal(system(command), 0);
        }
    }
    assert_true(kills >= 6);
}

int main(void)
{
#define ON_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_lose_nothing), /* forks, so before there are threads */
        ON_A_HOUSE(a_life_is_told),
        ON_A_HOUSE(a_failure_is_told),
        ON_A_HOUSE(what_others_do_is_told),
        ON_A_HOUSE(movers_do_not_miss_or_double),
        ON_A_HOUSE(a_lease_of_another_is_respected),
        ON_A_HOUSE(a_lease_of_the_dead_is_void),
        ON_A_HOUSE(old_events_are_forgotten),
        ON_A_HOUSE(waits_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
