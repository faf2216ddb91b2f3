/* What waiting costs when it is not shared: the mock's naive polling, over a real engine. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#define BLUE "blue/member"

/* How often VERB was called on KIND so far. */
static json_int_t calls(const struct world *world, const char *kind, const char *verb)
{
    CLEANUP_FREE char *path = text_format("%s/edge1.counters.json", world->folder);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    json_t *count = json_object_get(json_object_get(json_object_get(root, "calls"), kind), verb);
    assert_true(json_is_integer(count));
    json_int_t value = json_integer_value(count);
    json_decref(root);
    return value;
}

/* Asks for COUNT things at once and waits until all of them are ACTIVE. */
static void load(struct world *world, const char *plural, unsigned count, const char *more)
{
    char ids[16][40];
    for (unsigned i = 0; i < count; i++) {
        CLEANUP_FREE char *path = text_format("/v1/%s", plural);
        CLEANUP_FREE char *named = text_format("{'name':'%s-%u'%s}", plural, i, more);
        struct reply reply = ask(world, BLUE, "POST", path, NULL, named);
        assert_int_equal(reply.status, 202);
        snprintf(ids[i], sizeof(ids[i]), "%s", reply_text(&reply, "id"));
        reply_free(&reply);
    }
    for (unsigned i = 0; i < count; i++) {
        CLEANUP_FREE char *path = text_format("/v1/tasks/%s?wait=30", ids[i]);
        struct reply reply = ask(world, BLUE, "GET", path, NULL, NULL);
        assert_string_equal(reply_text(&reply, "state"), "succeeded");
        reply_free(&reply);
    }
}

static void open_world(struct world *world, const char *polling)
{
    CLEANUP_FREE char *options =
        text_format("latency_mean: 300ms\nnetwork_latency_mean: 300ms\nlatency_distribution: "
                    "fixed\nbuilders: 1\nserver_ports: cloud\npolling: %s\n",
                    polling);
    world_open(world, false, options);
    while (!inventory_is_ready(world->inventory)) {
        clock_sleep_ms(10);
    }
}

#define SERVER ",'image':'cirros','flavor':'small','networks':[{'network':'networks-0'}]"
#define NETWORK ""

/* One thing is done after another, and with each all are asked about: squares. */
static void naive(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "naive");
    load(&world, "networks", 3, NETWORK);
    assert_int_equal(calls(&world, "network", "create"), 3);
    assert_int_equal(calls(&world, "network", "get"), 3 * 3);
    json_int_t ports = calls(&world, "port", "list");
    assert_true(ports >= 3 * 3);
    assert_true(calls(&world, "subnet", "list") >= 3 * 3);
    assert_true(calls(&world, "router", "list") >= 3 * 3);
    load(&world, "servers", 5, SERVER);
    assert_int_equal(calls(&world, "server", "create"), 5);
    assert_int_equal(calls(&world, "server", "get"), 5 * 5);
    assert_true(calls(&world, "port", "list") >= ports + 5 * 5);
    /* The cloud makes the ports. */
    assert_int_equal(calls(&world, "port", "create"), 0);
    world_close(&world);
}

/* The same with shared lists: nobody asks about a thing by itself. */
static void shared(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "shared");
    load(&world, "networks", 3, NETWORK);
    load(&world, "servers", 5, SERVER);
    assert_int_equal(calls(&world, "network", "get"), 0);
    assert_int_equal(calls(&world, "server", "get"), 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(naive), cmocka_unit_test(shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
