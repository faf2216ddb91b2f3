/* /v1/blocks: what the heartbeats of all processes say. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/text.h"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, false, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static const json_t *block(const struct reply *reply, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(reply->json, "blocks"), i, one)
    {
        if (text_equal(json_get_text(one, "block", NULL), name)) {
            return one;
        }
    }
    fail_msg("there is no block %s in %s", name, reply->body);
    return NULL;
}

static double number(const json_t *object, const char *path, const char *member)
{
    const json_t *at = path ? json_object_get(object, path) : object;
    assert_true(json_is_number(json_object_get(at, member)));
    return json_number_value(json_object_get(at, member));
}

/* A far process: BUCKET of 15 gets COUNT calls of SECONDS together, in a window of ten seconds. */
static void beat(const char *roles, const char *state, const char *operation, int count,
                 double seconds, int bucket)
{
    char id[ID_SIZE];
    struct text buckets = {0};
    struct failure failure = {0};
    for (int i = 0; i < 15; i++) {
        text_printf(&buckets, "%s%d", i ? "," : "", i == bucket ? count : 0);
    }
    CLEANUP_FREE char *body = text_format(
        "{\"id\":\"%s\",\"roles\":[%s],\"host\":\"far\",\"pid\":7,\"address\":\"\",\"version\":\"9\","
        "\"state\":\"%s\",\"started\":1000,\"owner\":\"far:1:2:%s\",\"expires_ms\":60000,\"cpu\":0.04,"
        "\"cpu_limit\":0.05,\"load\":0.8,\"memory\":1048576,\"in_flight\":2,\"window_ms\":10000,"
        "\"measured\":{\"%s\":{\"count\":%d,\"seconds\":%g,\"in_flight\":2,\"buckets\":[%s]}}}",
        id_new(id), roles, state, id, operation, count, seconds, text_get(&buckets));
    char *answer = NULL;
    if (presence_take(world.presence, body, strlen(body), &answer, &failure) != VIM_OK) {
        fail_msg("%s", failure.text);
    }
    free(answer);
    text_free(&buckets);
}

static void blocks_are_shown_with_their_replicas(void **state)
{
    (void)state;
    struct reply reply = ask(&world, "ops/operator", "GET", "/v1/blocks", NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_int_equal(json_array_size(json_object_get(reply.json, "blocks")), 5);
    const json_t *logic = block(&reply, "logic");
    const json_t *self = json_array_get(json_object_get(logic, "replicas"), 0);
    assert_int_equal(json_array_size(json_object_get(logic, "replicas")), 1);
    assert_int_equal(number(logic, NULL, "ready"), 1);
    assert_string_equal(json_get_text(self, "id", ""), presence_id(world.presence));
    assert_true(number(self, NULL, "memory") > 0);
    const json_t *store = block(&reply, "store");
    assert_string_equal(json_get_text(store, "plugin", ""), "store-sqlite");
    assert_true(json_get_boolean(store, "reachable", false));
    const json_t *queue = block(&reply, "queue");
    assert_string_equal(json_get_text(queue, "plugin", ""), "queue-memory");
    assert_int_equal(number(queue, "depth", "delivered"), 0);
    reply_free(&reply);
}

static void replicas_add_up(void **state)
{
    (void)state;
    beat("\"worker\"", "up", "worker.step", 100, 1.5, 5); /* 10..25 ms */
    beat("\"worker\",\"logic\"", "draining", "worker.step", 300, 22.5, 7); /* 50..100 ms */
    beat("\"api\"", "up", "store.commit", 50, 0.1, 2);
    struct reply reply = ask(&world, "ops/operator", "GET", "/v1/blocks", NULL, NULL);
    const json_t *worker = block(&reply, "worker");
    assert_int_equal(json_array_size(json_object_get(worker, "replicas")), 3);
    assert_int_equal(number(worker, NULL, "ready"), 2);
    assert_int_equal(number(worker, NULL, "in_flight"), 4);
    assert_true(number(worker, NULL, "rate") == 40);
    assert_true(number(worker, "latency", "mean_ms") == 60);
    double p95 = number(worker, "latency", "p95_ms");
    assert_true(p95 > 50 && p95 < 100);
    size_t i, seen = 0;
    const json_t *one;
    json_array_foreach(json_object_get(worker, "replicas"), i, one)
    {
        if (number(one, NULL, "rate") == 10) {
            seen++;
            assert_true(number(one, "latency", "mean_ms") == 15);
            assert_true(number(one, NULL, "load") == 0.8);
            assert_string_equal(json_get_text(one, "started", ""), "1970-01-01T00:00:01.000Z");
            assert_null(json_object_get(one, "address"));
        } else if (number(one, NULL, "rate") == 30) {
            seen++;
            assert_string_equal(json_get_text(one, "state", ""), "draining");
        } else {
            assert_true(json_is_null(json_object_get(json_object_get(one, "latency"), "p95_ms")));
        }
    }
    assert_int_equal(seen, 2);
    assert_int_equal(json_array_size(json_object_get(block(&reply, "api"), "replicas")), 2);
    const json_t *commit =
        json_object_get(json_object_get(block(&reply, "store"), "operations"), "commit");
    assert_true(number(commit, NULL, "rate") >= 5);
    assert_true(number(commit, "latency", "mean_ms") > 0);
    reply_free(&reply);
}

static void own_work_is_measured(void **state)
{
    (void)state;
    char id[40];
    make(&world, "p1/member", "networks", "{'vim':'edge1','name':'n'}", id);
    worker_stop(world.worker, 5000); /* a step is measured after what it came to is known */
    world.worker = NULL;
    struct metrics_sum sum;
    metrics_sum("vimd_logic_request_seconds", "wait=\"true\"", &sum);
    assert_true(sum.count >= 1);
    metrics_sum("vimd_task_step_seconds", NULL, &sum);
    assert_true(sum.count >= 1);
    metrics_sum("vimd_queue_call_seconds", "operation=\"push\"", &sum);
    assert_true(sum.count >= 1);
    static const char *const gauges[] = {"vimd_logic_in_flight", "vimd_task_steps_in_flight",
                                         "vimd_queue_in_flight"};
    for (size_t i = 0; i < 3; i++) {
        metrics_sum(gauges[i], NULL, &sum);
        assert_true(sum.value == 0);
    }
}

static void beat_of_vim(const char *state, int64_t checked)
{
    char id[ID_SIZE];
    char *answer = NULL;
    struct failure failure = {0};
    CLEANUP_FREE char *body = text_format(
        "{\"id\":\"%s\",\"roles\":[\"worker\"],\"host\":\"far\",\"address\":\"\",\"version\":\"9\","
        "\"state\":\"up\",\"owner\":\"far:1:2:%s\",\"expires_ms\":60000,\"vims\":{\"other\":{},"
        "\"edge1\":{%s,\"checked\":%lld}}}",
        id_new(id), id, state, (long long)checked);
    if (presence_take(world.presence, body, strlen(body), &answer, &failure) != VIM_OK) {
        fail_msg("%s", failure.text);
    }
    free(answer);
    assert_int_equal(presence_refresh(world.presence, NULL), VIM_OK);
}

/* A process that does not call a VIM itself knows how it is from those that do; the last call counts. */
static void health_of_vims_is_that_of_the_last_call(void **state)
{
    (void)state;
    const int64_t future = clock_now_ms() + 3600000;
    beat_of_vim("\"reachable\":false,\"stuck\":true,\"text\":\"no \\u00e9cho\"", future);
    struct reply reply = ask(&world, "ops/operator", "GET", "/v1/vims/edge1", NULL, NULL);
    const json_t *health = json_object_get(reply.json, "health");
    assert_false(json_get_boolean(health, "reachable", true));
    assert_true(json_get_boolean(health, "stuck", false));
    assert_string_equal(json_get_text(health, "detail", ""), "no \xc3\xa9"
                                                             "cho");
    reply_free(&reply);
    beat_of_vim("\"reachable\":true", future - 1000);
    beat_of_vim("\"reachable\":true", future + 1000);
    beat_of_vim("\"reachable\":false", 1000); /* what this process knows itself is younger */
    reply = ask(&world, "ops/operator", "GET", "/v1/vims", NULL, NULL);
    health = json_object_get(json_array_get(json_object_get(reply.json, "vims"), 0), "health");
    assert_true(json_get_boolean(health, "reachable", false));
    assert_false(json_get_boolean(health, "stuck", true));
    reply_free(&reply);
}

static void only_operators_may_look(void **state)
{
    (void)state;
    expect(&world, 403, "p1/member", "GET", "/v1/blocks", NULL, NULL);
    expect(&world, 401, NULL, "GET", "/v1/blocks", NULL, NULL);
    expect(&world, 400, "ops/operator", "GET", "/v1/blocks?x=1", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_shown_with_their_replicas, setup, teardown),
        cmocka_unit_test_setup_teardown(replicas_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(own_work_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(health_of_vims_is_that_of_the_last_call, setup, teardown),
        cmocka_unit_test_setup_teardown(only_operators_may_look, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
