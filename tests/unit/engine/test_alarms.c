/* Alarms: raised once and cleared once, by however many processes that look, over restarts. */
#include "fixtures/house.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "base/memory.h"
#include "base/thread.h"
#include "engine/alarms.h"
#include "engine/alarms_internal.h"
#include "engine/events.h"

#define LOOKERS 3

static struct {
    struct events *events;
    struct alarms *alarms[LOOKERS];
} run;

static void start(void)
{
    static const struct events_settings for_ever = {0};
    struct alarms_settings settings = {
        .vims = house.vims, .vim_after_ms = 1, .quota_percent = 80, .quota_interval_ms = 86400000};
    run.events = events_new(house.store, &for_ever);
    assert_int_equal(events_start(run.events, NULL), VIM_OK);
    for (int i = 0; i < LOOKERS; i++) {
        run.alarms[i] = alarms_new(house.store, &settings);
        assert_int_equal(alarms_start(run.alarms[i], NULL), VIM_OK);
    }
}

static void stop(void)
{
    for (int i = 0; i < LOOKERS; i++) {
        alarms_stop(run.alarms[i]);
        alarms_free(run.alarms[i]);
    }
    events_stop(run.events);
    events_free(run.events);
}

/* A resource was changed, as its driver or a task would tell. */
static void tell(enum event_type type, const char *id, const char *kind,
                 enum resource_status status, const char *backend_id)
{
    struct resource resource = {.id = text_duplicate(id),
                                .kind = text_duplicate(kind),
                                .name = text_duplicate("n"),
                                .vim = text_duplicate("edge"),
                                .project = text_duplicate("demo"),
                                .status = status,
                                .backend_id = text_duplicate(backend_id)};
    struct event_buffer buffer = {0};
    struct vim_write write =
        event_of_resource(type, &resource, STATUS_ACTIVE, NULL, clock_now_ms(), &buffer);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    event_buffer_free(&buffer);
    resource_free(&resource);
}

static void tell_task(const char *resource, enum task_state task_state)
{
    struct task task = {.verb = VIM_VERB_CREATE,
                        .state = task_state,
                        .project = text_duplicate("demo"),
                        .principal = text_duplicate("me"),
                        .vim = text_duplicate("edge"),
                        .kind = text_duplicate("server"),
                        .finished = clock_now_ms()};
    struct event_buffer buffer = {0};
    id_new(task.id);
    task.resource = text_duplicate(resource);
    struct vim_write write = event_of_task(&task, &buffer);
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    event_buffer_free(&buffer);
    task_free(&task);
}

struct wanted {
    const char *what;
    char text[1024];
};

static int take_alarm_event(void *argument, const struct vim_item *item)
{
    struct wanted *found = argument;
    CLEANUP_JSON json_t *body = json_loads(item->body, 0, NULL);
    const char *type = json_get_text(body, "type", "");
    if (text_starts_with(type, "alarm.")) {
        const char *alarm = json_get_text(json_object_get(body, "data"), "alarm_type", "");
        size_t length = strlen(found->text);
        (void)snprintf(found->text + length, sizeof(found->text) - length, "%s%s %s",
                       length ? ", " : "", type + strlen("alarm."), alarm);
    }
    return 0;
}

static bool is_told(void *argument)
{
    struct wanted *wanted = argument;
    struct vim_scan scan = {.collection = COLLECTION_EVENT};
    wanted->text[0] = '\0';
    assert_int_equal(store_scan(house.store, &scan, take_alarm_event, wanted, NULL), VIM_OK);
    return strcmp(wanted->text, wanted->what) == 0;
}

/* All events of alarms, in their order; then nothing more comes. */
static void expect(const char *events, size_t alarms)
{
    struct wanted wanted = {.what = events};
    house_wait(is_told, &wanted);
    clock_sleep_ms(1200);
    assert_true(is_told(&wanted));
    assert_int_equal(house_count(COLLECTION_ALARM), alarms);
}

static bool has_head(void *argument)
{
    (void)argument;
    return house_count(COLLECTION_ALARM_HEAD) == 1;
}

static void resources(void **state)
{
    (void)state;
    char a[ID_SIZE], b[ID_SIZE], c[ID_SIZE];
    id_new(a), id_new(b), id_new(c);
    start();
    house_wait(has_head, NULL);
    tell(EVENT_RESOURCE_CHANGED, a, "server", STATUS_ERROR, "far-a");
    tell(EVENT_RESOURCE_CHANGED, a, "server", STATUS_ERROR, "far-a");
    tell(EVENT_RESOURCE_CHANGED, b, "server", STATUS_ERROR, NULL); /* nothing is there */
    tell(EVENT_RESOURCE_CHANGED, c, "server", STATUS_ACTIVE, "far-c");
    expect("raised resource-error", 1);
    stop();
    /* Raised and cleared again while nobody looked; and one that lasts. */
    tell(EVENT_RESOURCE_CHANGED, a, "server", STATUS_ACTIVE, "far-a");
    tell(EVENT_RESOURCE_FOUND, c, "server", STATUS_ERROR, "far-c");
    tell(EVENT_RESOURCE_DELETED, c, "server", STATUS_ERROR, "far-c");
    tell(EVENT_RESOURCE_CHANGED, b, "network-service", STATUS_ERROR, NULL);
    start();
    expect("raised resource-error, cleared resource-error, raised resource-error, "
           "cleared resource-error, raised resource-error",
           1);
    stop();
}

static void rollbacks(void **state)
{
    (void)state;
    char a[ID_SIZE], b[ID_SIZE];
    id_new(a), id_new(b);
    start();
    house_wait(has_head, NULL);
    tell_task(a, TASK_ROLLBACK_FAILED);
    tell_task(b, TASK_ROLLBACK_FAILED);
    tell_task(b, TASK_FAILED); /* nothing is better for that */
    expect("raised rollback-failed, raised rollback-failed", 2);
    tell_task(a, TASK_ROLLED_BACK);
    expect("raised rollback-failed, raised rollback-failed, cleared rollback-failed", 1);
    tell(EVENT_RESOURCE_DELETED, b, "server", STATUS_DELETING, "far-b");
    expect("raised rollback-failed, raised rollback-failed, cleared rollback-failed, "
           "cleared rollback-failed",
           0);
    stop();
}

/* Many at once, raised and cleared between two looks. */
static void many(void **state)
{
    (void)state;
    char id[ID_SIZE];
    start();
    house_wait(has_head, NULL);
    stop();
    for (int i = 0; i < 700; i++) {
        tell(EVENT_RESOURCE_CHANGED, id_new(id), "server", STATUS_ERROR, "far");
        if (i % 2) {
            tell(EVENT_RESOURCE_CHANGED, id, "server", STATUS_ACTIVE, "far");
        }
    }
    start();
    for (int64_t until = clock_mono_ms() + house_patient(60000);
         house_count(COLLECTION_ALARM) != 350;) {
        assert_true(clock_mono_ms() < until);
        clock_sleep_ms(10);
    }
    /* 1050 that were told, 700 that raised, 350 that cleared. */
    for (int64_t until = clock_mono_ms() + house_patient(60000);
         house_count(COLLECTION_EVENT) < 2100;) {
        assert_true(clock_mono_ms() < until);
        clock_sleep_ms(10);
    }
    clock_sleep_ms(1200);
    assert_int_equal(house_count(COLLECTION_EVENT), 2100);
    stop();
}

static void vims(void **state)
{
    (void)state;
    struct vim_target *target = vims_get(house.vims, "edge");
    start();
    vim_target_report(target, VIM_OK, NULL);
    house_wait(has_head, NULL);
    clock_sleep_ms(600);
    vim_target_report(target, VIM_E_UNAVAILABLE, "it is down");
    expect("raised vim-unreachable", 1);
    vim_target_report(target, VIM_E_QUOTA, NULL); /* it answers */
    expect("raised vim-unreachable, cleared vim-unreachable", 0);
    stop();
    vim_target_release(target);
}

/* What the NUMBER-th look at the quota of servers has found: of five so many are USED. */
static void push_look(uint64_t number, int64_t used)
{
    struct alarms *alarms = run.alarms[0];
    struct alarm_look *look = MEMORY_NEW(struct alarm_look);
    *look = (struct alarm_look){.alarms = alarms,
                                .vim = "edge",
                                .project = "p",
                                .number = number,
                                .quotas = memory_new_array(1, sizeof(*look->quotas)),
                                .count = 1,
                                .next = alarms->looks};
    look->quotas[0] = (struct alarm_quota){.name = "servers", .limit = 5, .used = used};
    alarms->looks = look;
}

/* One look, or two of which the thread gets to know together; NUMBER 0: none. */
static void push_looks(uint64_t number, int64_t used, uint64_t second, int64_t its)
{
    LOCK_GUARD(&run.alarms[0]->mutex);
    push_look(number, used);
    if (second) {
        push_look(second, its);
    }
}

/* Calls on a VIM's lane end in any order: an answer that comes late tells of what has been. */
static void late_looks(void **state)
{
    (void)state;
    start();
    house_wait(has_head, NULL);
    clock_sleep_ms(600);
    push_looks(1, 4, 0, 0);
    expect("raised quota-nearly-used", 1);
    push_looks(2, 4, 3, 1);
    expect("raised quota-nearly-used, cleared quota-nearly-used", 0);
    push_looks(2, 5, 0, 0);
    expect("raised quota-nearly-used, cleared quota-nearly-used", 0);
    stop();
}

int main(void)
{
#define ON_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        ON_A_HOUSE(resources), ON_A_HOUSE(rollbacks),  ON_A_HOUSE(many),
        ON_A_HOUSE(vims),      ON_A_HOUSE(late_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
