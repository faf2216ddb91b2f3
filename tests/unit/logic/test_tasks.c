/* Tasks: long-poll, cancel, retry, failures as problems; VIMs that are down. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#define BLUE "blue/member"
#define READER "blue/reader"
#define OPERATOR "ops/operator"
#define ADMIN "ops/admin"

static struct world world;

/* Servers never get ready, and security groups cannot be looked at. */
static int setup(void **state)
{
    (void)state;
    world_open(&world, false,
               "latency_mean: 10ms\n"
               "delete_latency_mean: 10ms\n"
               "faults:\n"
               "  - create server stuck 1\n"
               "  - get security-group unavailable 1\n");
    while (!inventory_is_ready(world.inventory)) {
        clock_sleep_ms(10);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static char *start(const char *plural, const char *body, char **ret_resource)
{
    CLEANUP_FREE char *path = text_format("/v1/%s", plural);
    struct reply reply = ask(&world, BLUE, "POST", path, NULL, body);
    assert_int_equal(reply.status, 202);
    char *task = text_duplicate(reply_header(&reply, "Location"));
    *ret_resource = text_duplicate(reply_header(&reply, "Content-Location"));
    reply_free(&reply);
    return task;
}

static void cancelled(void **state)
{
    (void)state;
    CLEANUP_FREE char *server = NULL;
    CLEANUP_FREE char *task =
        start("servers", "{'name':'slow','image':'cirros','flavor':'small'}", &server);
    CLEANUP_FREE char *short_wait = text_format("%s?wait=0", task);
    CLEANUP_FREE char *long_wait = text_format("%s?wait=20", task);
    CLEANUP_FREE char *cancel = text_format("%s/cancel", task);
    CLEANUP_FREE char *retry = text_format("%s/retry", task);
    expect(&world, 200, READER, "GET", short_wait, NULL, NULL);
    expect(&world, 409, BLUE, "DELETE", server, NULL, NULL);
    expect(&world, 409, BLUE, "PATCH", server, NULL, "{'name':'x'}");
    expect(&world, 403, READER, "POST", cancel, NULL, NULL);
    expect(&world, 404, "red/member", "POST", cancel, NULL, NULL);
    expect(&world, 400, BLUE, "POST", cancel, NULL, "{'why':'because'}");
    expect(&world, 409, BLUE, "POST", retry, NULL, NULL);
    struct reply reply = ask(&world, OPERATOR, "POST", cancel, NULL, NULL);
    assert_int_equal(reply.status, 202);
    assert_string_equal(reply_header(&reply, "Location"), task);
    reply_free(&reply);
    reply = ask(&world, BLUE, "GET", long_wait, NULL, NULL);
    assert_string_equal(reply_text(&reply, "state"), "cancelled");
    reply_free(&reply);
    expect(&world, 409, BLUE, "POST", cancel, NULL, NULL);
    /* What came to nothing is only a row, and goes at once. */
    reply = ask(&world, BLUE, "GET", server, NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "status"), "ERROR");
    reply_free(&reply);
    expect(&world, 204, BLUE, "DELETE", server, NULL, NULL);
    expect(&world, 404, BLUE, "GET", server, NULL, NULL);
}

static void too_late(void **state)
{
    (void)state;
    struct reply reply = ask(&world, BLUE, "POST", "/v1/servers", "prefer: wait=1\n",
                             "{'name':'slow','image':'cirros','flavor':'small'}");
    assert_int_equal(reply.status, 202);
    assert_string_equal(reply_header(&reply, "Preference-Applied"), "wait=1");
    CLEANUP_FREE char *cancel = text_format("%s/cancel", reply_header(&reply, "Location"));
    reply_free(&reply);
    expect(&world, 202, BLUE, "POST", cancel, NULL, NULL);
}

static void refused_by_the_vim(void **state)
{
    (void)state;
    char image[40];
    make(&world, BLUE, "images", "{'name':'i','disk_format':'raw','protected':true}", image);
    CLEANUP_FREE char *path = text_format("/v1/images/%s", image);
    struct reply reply = ask(&world, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    assert_true(reply.status >= 400);
    assert_non_null(reply_text(&reply, "task"));
    assert_string_equal(reply_text(&reply, "vim"), "edge1");
    assert_non_null(reply_text(&reply, "detail"));
    reply_free(&reply);
}

static void fresh_from_a_vim_that_is_down(void **state)
{
    (void)state;
    char group[40];
    make(&world, BLUE, "security-groups", "{'name':'g'}", group);
    CLEANUP_FREE char *path = text_format("/v1/security-groups/%s?fresh=true", group);
    struct reply reply = ask(&world, BLUE, "GET", path, NULL, NULL);
    if (reply.status != 502 && reply.status != 504) {
        fail_msg("%d %s", reply.status, reply.body);
    }
    assert_string_equal(reply_text(&reply, "vim"), "edge1");
    assert_non_null(reply_text(&reply, "backend.message"));
    assert_true(json_is_true(json_object_get(reply.json, "retryable")));
    reply_free(&reply);
}

static size_t count(const char *who, const char *target)
{
    struct reply reply = ask(&world, who, "GET", target, NULL, NULL);
    if (reply.status != 200) {
        fail_msg("%s: %s", target, reply.body);
    }
    size_t size = json_array_size(json_object_get(reply.json, "tasks"));
    reply_free(&reply);
    return size;
}

static void lists(void **state)
{
    (void)state;
    CLEANUP_FREE char *server = NULL;
    CLEANUP_FREE char *task =
        start("servers", "{'name':'listed','image':'cirros','flavor':'small'}", &server);
    CLEANUP_FREE char *by_target =
        text_format("/v1/tasks?target=%s", server + strlen("/v1/servers/"));
    assert_int_equal(count(READER, by_target), 1);
    assert_int_equal(count("red/reader", by_target), 0);
    assert_int_equal(count(OPERATOR, by_target), 1);
    assert_true(count(READER, "/v1/tasks?kind=server.create&vim=edge1") >= 1);
    assert_int_equal(count(READER, "/v1/tasks?kind=port.create"), 0);
    assert_true(count(READER, "/v1/tasks?filter=(in,state,queued,running,waiting)") >= 1);
    expect(&world, 400, READER, "GET", "/v1/tasks?state=done", NULL, NULL);
    expect(&world, 400, READER, "GET", "/v1/tasks?label=x", NULL, NULL);
    struct reply newest =
        ask(&world, READER, "GET", "/v1/tasks?sort=-created&limit=1&fields=id", NULL, NULL);
    assert_string_equal(reply_text(&newest, "tasks.0.id"), task + strlen("/v1/tasks/"));
    assert_non_null(reply_text(&newest, "next"));
    reply_free(&newest);
    CLEANUP_FREE char *cancel = text_format("%s/cancel", task);
    expect(&world, 202, BLUE, "POST", cancel, NULL, NULL);
    expect(&world, 400, READER, "GET", "/v1/tasks/00000000-0000-4000-8000-000000000000?wait=61",
           NULL, NULL);
    expect(&world, 404, READER, "GET", "/v1/tasks/00000000-0000-4000-8000-000000000000?wait=1",
           NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled),
        cmocka_unit_test(too_late),
        cmocka_unit_test(refused_by_the_vim),
        cmocka_unit_test(fresh_from_a_vim_that_is_down),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
