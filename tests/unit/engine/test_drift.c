/* What is changed outside: found on what is vimd's own, settled by whoever sets it right, and told. */
#include "fixtures/house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "model/drift.h"
#include "model/event.h"

static char task_id[37], resource_id[37], backend_id[64];

/* A server that vimd has made, and a poller that looks at it. */
static void make_server(void)
{
    house_create(task_id, resource_id);
    house_work_until(task_id, TASK_SUCCEEDED);
    (void)snprintf(backend_id, sizeof(backend_id), "made-%s", resource_id);
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
}

static void show(const char *body)
{
    fake_put("server", backend_id, "ACTIVE", 0, resource_id, body);
}

static struct resource look(void)
{
    struct resource resource = {0};
    assert_true(house_resource(resource_id, &resource));
    return resource;
}

static bool has_drift(void *argument)
{
    struct resource resource = look();
    bool has = drift_count(&resource) == *(size_t *)argument;
    resource_free(&resource);
    return has;
}

static void wait_drift(size_t count)
{
    house_wait(has_drift, &count);
}

/* DESIRED and SEEN of the name. */
static void check_name(const char *desired, const char *seen)
{
    struct resource resource = look();
    const json_t *name = json_object_get(json_object_get(resource.drift, "fields"), "name");
    assert_string_equal(json_get_text(name, "desired", ""), desired);
    assert_string_equal(json_get_text(name, "seen", ""), seen);
    resource_free(&resource);
}

struct counted {
    enum event_type type;
    size_t count;
};

static int count_type(void *argument, const struct vim_item *item)
{
    struct counted *counted = argument;
    counted->count += item->state == (uint32_t)counted->type;
    return 0;
}

static size_t events(enum event_type type)
{
    struct counted counted = {.type = type};
    struct vim_scan scan = {.collection = COLLECTION_OUTBOX};
    assert_int_equal(store_scan(house.store, &scan, count_type, &counted, NULL), VIM_OK);
    return counted.count;
}

static void found_and_settled(void **state)
{
    (void)state;
    make_server();
    show("{\"name\":\"thing\",\"power\":1}");
    show("{\"name\":\"other\"}");
    wait_drift(1);
    check_name("thing", "other");
    assert_int_equal(events(EVENT_DRIFT_FOUND), 1);
    show("{\"name\":\"third\"}"); /* what was wanted stays what is wanted */
    struct resource resource;
    do {
        resource = look();
        bool seen = strcmp(resource.name, "third") == 0;
        resource_free(&resource);
        if (seen) {
            break;
        }
        clock_sleep_ms(2);
    } while (true);
    check_name("thing", "third");
    assert_int_equal(events(EVENT_DRIFT_FOUND), 1);
    show("{\"name\":\"thing\"}");
    wait_drift(0);
    assert_int_equal(events(EVENT_DRIFT_SETTLED), 1);
}

static void an_update_settles_its_fields(void **state)
{
    (void)state;
    make_server();
    show("{\"name\":\"other\"}");
    wait_drift(1);
    assert_int_equal(house_submit(VIM_VERB_UPDATE, resource_id, "{\"name\":\"wanted\"}", task_id),
                     VIM_OK);
    house_work_until(task_id, TASK_SUCCEEDED);
    wait_drift(0);
}

static void a_failed_update_settles_nothing(void **state)
{
    (void)state;
    make_server();
    show("{\"name\":\"other\"}");
    wait_drift(1);
    fake_script(&(struct fake_outcome){.code = VIM_E_DENIED, .text = "no"});
    assert_int_equal(house_submit(VIM_VERB_UPDATE, resource_id, "{\"name\":\"wanted\"}", task_id),
                     VIM_OK);
    house_work_until(task_id, TASK_FAILED);
    check_name("thing", "other");
}

static bool is_gone(void *argument)
{
    (void)argument;
    return events(EVENT_DRIFT_DELETED) == 1;
}

static void deleted_outside(void **state)
{
    (void)state;
    make_server();
    fake_remove("server", backend_id);
    house_wait(is_gone, NULL);
    assert_int_equal(events(EVENT_RESOURCE_DELETED), 1);
    struct resource resource;
    assert_false(house_resource(resource_id, &resource));
}

static bool is_named(void *argument)
{
    struct resource resource;
    char id[37];
    resource_derive_id("edge", "server", "stranger", id);
    if (!house_resource(id, &resource)) {
        return false;
    }
    bool named = strcmp(resource.name, argument) == 0;
    if (named) {
        assert_int_equal(drift_count(&resource), 0);
    }
    resource_free(&resource);
    return named;
}

/* What others have made is theirs to change. */
static void strangers_do_not_drift(void **state)
{
    (void)state;
    fake_put("server", "stranger", "ACTIVE", 0, NULL, "{\"name\":\"a\"}");
    assert_int_equal(inventory_start(house.inventory, NULL), VIM_OK);
    house_wait(is_named, (char[]){"a"});
    fake_put("server", "stranger", "ACTIVE", 0, NULL, "{\"name\":\"b\"}");
    house_wait(is_named, (char[]){"b"});
    assert_int_equal(events(EVENT_DRIFT_FOUND), 0);
}

static void lists_in_another_order_are_the_same(void **state)
{
    (void)state;
    struct resource resource = {.kind = (char[]){"subnet"},
                                .name = (char[]){"s"},
                                .body = json_loads("{\"dns_nameservers\":[\"a\",\"b\"]}", 0, NULL)};
    CLEANUP_JSON json_t *same = json_loads("{\"dns_nameservers\":[\"b\",\"a\"]}", 0, NULL);
    CLEANUP_JSON json_t *other = json_loads("{\"dns_nameservers\":[\"b\",\"b\"]}", 0, NULL);
    drift_look(&resource, "s", same, 1);
    assert_int_equal(drift_count(&resource), 0);
    drift_look(&resource, "s", other, 1);
    assert_int_equal(drift_count(&resource), 1);
    CLEANUP_JSON json_t *desired = drift_desired(&resource);
    assert_true(json_equal(desired, other));
    drift_settle(&resource, "{\"name\":\"x\"}");
    assert_int_equal(drift_count(&resource), 1);
    drift_settle(&resource, "{\"dns_nameservers\":[]}");
    assert_null(resource.drift);
    json_decref(resource.body);
}

int main(void)
{
#define ON_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        ON_A_HOUSE(found_and_settled),
        ON_A_HOUSE(an_update_settles_its_fields),
        ON_A_HOUSE(a_failed_update_settles_nothing),
        ON_A_HOUSE(deleted_outside),
        ON_A_HOUSE(strangers_do_not_drift),
        cmocka_unit_test(lists_in_another_order_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
