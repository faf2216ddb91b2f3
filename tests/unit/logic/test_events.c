/* What happened, as a list and as the beginning of a stream. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "model/event.h"
#include "model/kinds.h"

#define RED "red/member"
#define BLUE "blue/reader"
#define OPERATOR "ops/operator"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, false, "latency_mean: 1ms\ndelete_latency_mean: 1ms\n");
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

static void put(enum event_type type, const char *project, bool shared, const char *name)
{
    struct event_buffer buffer = {0};
    struct event event = {.type = type,
                          .time = clock_now_ms(),
                          .project = project,
                          .shared = shared,
                          .kind = "server",
                          .name = name};
    struct vim_write write = event_write(&event, &buffer);
    assert_int_equal(store_commit(world.store, &write, 1, NULL), VIM_OK);
    event_buffer_free(&buffer);
}

/* The number of the last event, when all are told that there are. */
static uint64_t settled(void)
{
    uint64_t first, last = 0, before;
    do {
        before = last;
        clock_sleep_ms(300);
        assert_int_equal(events_range(world.events, &first, &last, NULL), VIM_OK);
    } while (last != before || last == 0);
    return last;
}

static struct reply list(const char *who, uint64_t after, const char *more)
{
    CLEANUP_FREE char *target =
        text_format("/v1/events?after=%llu%s", (unsigned long long)after, more);
    struct reply reply = ask(&world, who, "GET", target, NULL, NULL);
    if (reply.status != 200) {
        fail_msg("%s: %d %s", target, reply.status, reply.body);
    }
    return reply;
}

static void check_names(const char *who, uint64_t after, const char *more, const char *names)
{
    struct reply reply = list(who, after, more);
    CLEANUP_TEXT struct text found = {0};
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(reply.json, "events"), i, event)
    {
        text_add(&found, i ? " " : "");
        text_add(&found, json_string_value(json_object_get(event, "name")));
    }
    assert_string_equal(text_get(&found), names);
    reply_free(&reply);
}

static void wait_names(const char *who, uint64_t after, size_t count)
{
    for (size_t found = 0; found < count;) {
        struct reply reply = list(who, after, "");
        found = json_array_size(json_object_get(reply.json, "events"));
        reply_free(&reply);
    }
}

static void everybody_sees_their_own(void **state)
{
    (void)state;
    uint64_t after = settled();
    put(EVENT_TASK_ENDED, "red", false, "r1");
    put(EVENT_RESOURCE_CHANGED, "blue", false, "b1");
    put(EVENT_RESOURCE_CHANGED, "red", true, "s1");
    put(EVENT_RESOURCE_DELETED, "red", false, "r2");
    put(EVENT_TASK_ENDED, "blue", false, "b2");
    wait_names(OPERATOR, after, 5);
    check_names(OPERATOR, after, "", "r1 b1 s1 r2 b2");
    check_names(RED, after, "", "r1 s1 r2");
    check_names(BLUE, after, "", "b1 s1 b2");
    check_names(BLUE, after + 2, "", "s1 b2");
    check_names(OPERATOR, after, "&type=task.ended", "r1 b2");
    check_names(OPERATOR, after, "&filter=(in,type,task.ended,resource.deleted)", "r1 r2 b2");
    check_names(OPERATOR, after, "&project=blue", "b1 b2");
    check_names(RED, after, "&limit=2", "r1 s1");
    struct reply newest = ask(&world, RED, "GET", "/v1/events?sort=-id&limit=2", NULL, NULL);
    assert_string_equal(reply_text(&newest, "events.0.name"), "r2");
    assert_string_equal(reply_text(&newest, "events.1.name"), "s1");
    reply_free(&newest);
    /* The next ?after: as far as told, be it seen or not. */
    struct reply page = list(RED, after, "&limit=2");
    char id[EVENT_ID_SIZE];
    assert_string_equal(reply_header(&page, "Last-Event-ID"), event_id(after + 3, id));
    assert_non_null(reply_text(&page, "next"));
    reply_free(&page);
    page = list(RED, after, "");
    assert_string_equal(reply_header(&page, "Last-Event-ID"), event_id(after + 5, id));
    reply_free(&page);
}

static void pages(void **state)
{
    (void)state;
    uint64_t after = settled();
    put(EVENT_TASK_ENDED, "red", false, "p1");
    put(EVENT_TASK_ENDED, "red", true, "p2");
    put(EVENT_TASK_ENDED, "red", false, "p3");
    wait_names(RED, after, 3);
    struct reply first = list(RED, after, "&limit=2");
    CLEANUP_FREE char *more = text_format("&limit=2&page_token=%s", reply_text(&first, "next"));
    reply_free(&first);
    check_names(RED, after, more, "p3");
}

static void a_wait_ends_with_the_event(void **state)
{
    (void)state;
    uint64_t after = settled();
    struct reply none = list(RED, after, "&wait=1");
    assert_int_equal(json_array_size(json_object_get(none.json, "events")), 0);
    reply_free(&none);
    put(EVENT_TASK_ENDED, "red", false, "w1");
    check_names(RED, after, "&wait=30", "w1");
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    (void)settled();
    expect(&world, 410, RED, "GET", "/v1/events?after=9999999", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?after=x", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?after=-1", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?after=1&after=2", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?wait=61&after=1", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?wait=5", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?after=1&sort=-id", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?type=nonsense", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events?kinds=server", NULL, NULL);
    expect(&world, 401, NULL, "GET", "/v1/events", NULL, NULL);
    /* The first ones are forgotten. */
    struct vim_write write = {
        .collection = COLLECTION_EVENT, .id = "0000000000000001", .expect = VIM_EXPECT_ANY};
    assert_int_equal(store_commit(world.store, &write, 1, NULL), VIM_OK);
    expect(&world, 410, RED, "GET", "/v1/events?after=0", NULL, NULL);
    expect(&world, 200, RED, "GET", "/v1/events?after=1", NULL, NULL);
}

static void check_stream(const char *query, const char *header, uint64_t after, bool gap)
{
    CLEANUP_FREE char *target = text_format("/v1/events/stream%s", query);
    struct reply reply = ask(&world, RED, "GET", target, header, NULL);
    char id[EVENT_ID_SIZE];
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Content-Type"), "text/event-stream");
    assert_string_equal(reply_header(&reply, "Last-Event-ID"), event_id(after, id));
    assert_true(strncmp(reply.body, "retry: ", 7) == 0);
    assert_int_equal(strstr(reply.body, "event: gap") != NULL, gap);
    reply_free(&reply);
}

static void streams_begin(void **state)
{
    (void)state;
    uint64_t last = settled();
    check_stream("", NULL, last, false);
    check_stream("?after=1", NULL, 1, false);
    check_stream("?after=3&type=task.ended&kind=server,port", "last-event-id: 2\n", 2, false);
    check_stream("?after=0", NULL, 1, true); /* the first one was forgotten above */
    check_stream("", "last-event-id: 9999999999999999\n", 1, true);
    expect(&world, 400, RED, "GET", "/v1/events/stream?type=task", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events/stream?kind=servers", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events/stream?after=x", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events/stream?limit=1", NULL, NULL);
    expect(&world, 400, RED, "GET", "/v1/events/stream", "last-event-id: x\n", NULL);
    expect(&world, 405, RED, "POST", "/v1/events/stream", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_sees_their_own),
        cmocka_unit_test(pages),
        cmocka_unit_test(a_wait_ends_with_the_event),
        cmocka_unit_test(what_is_not_there_is_said),
        cmocka_unit_test(streams_begin),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
