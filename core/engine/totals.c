/* Locks: totals->mutex, a leaf: what the queue told last. */
#include "engine/totals.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/integral.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/tcp.h"
#include "base/text.h"
#include "base/usage.h"
#include "base/usage_group.h"
#include "engine/tasks.h"

/* A block of this process: where its numbers are. */
static const struct block {
    const char *name;
    enum integral in, queued, waits, own; /* INTEGRAL_NONE: there is none */
    bool queue_is_apart; /* `queued` is not part of `in` */
    const char *seconds, *with, *threads;
} blocks[] = {
    {"api", IN_API, INTEGRAL_NONE, WAITS_API, INTEGRAL_NONE, false, "vimd_http_request_seconds",
     NULL, NULL},
    {"logic", IN_LOGIC, QUEUED_LOGIC, WAITS_LOGIC, OWN_LOGIC, true, "vimd_logic_request_seconds",
     "wait=\"false\"", "vimd_link_threads"},
    {"worker", IN_WORKER, QUEUED_WORKER, WAITS_WORKER, OWN_WORKER, false, "vimd_task_step_seconds",
     NULL, "vimd_lane_threads"},
};
#define BLOCK_COUNT (sizeof(blocks) / sizeof(blocks[0]))

struct totals {
    char *roles;
    pthread_mutex_t mutex;
    bool has_queue;
    int64_t queue_at;
    struct tasks_queue queue;
};

void totals_sum(const char *name, const char *with, struct metrics_sum *ret_sum)
{
    metrics_sum(name, with, ret_sum);
    if (strncmp(name, "vimd_http_", 10) == 0) {
        struct metrics_sum peers;
        CLEANUP_TEXT struct text both = {0};
        /* Labels are in this order: see api/observe.c. */
        text_printf(&both, "side=\"peers\"%s%s", with ? "," : "", with ? with : "");
        metrics_sum(name, text_get(&both), &peers);
        ret_sum->value -= peers.value;
        ret_sum->count -= peers.count;
        for (size_t i = 0; i <= METRICS_SECONDS_COUNT; i++) {
            ret_sum->buckets[i] -= peers.buckets[i];
        }
    }
}

/* --- Of a block --------------------------------------------------------------------------------------- */

/* Request-microseconds and requests of a block, waiting for its threads included. */
static struct integral_sum block_in(const struct block *block, const struct integral_sum *sums)
{
    struct integral_sum sum = sums[block->in];
    if (block->queue_is_apart) {
        sum.us += sums[block->queued].us;
        sum.here += sums[block->queued].here;
    }
    return sum;
}

static int64_t block_own(const struct block *block, const struct integral_sum *sums)
{
    if (block->own != INTEGRAL_NONE) {
        return sums[block->own].us;
    }
    /* A call that the API has given up may go on; then it is nobody's. */
    int64_t own = sums[block->in].us - sums[API_TO_LOGIC].us - sums[block->waits].us;
    return own > 0 ? own : 0;
}

static bool has_role(const struct totals *totals, const struct block *block)
{
    return text_has_word(totals->roles, block->name);
}

/* Request-microseconds that waited in the process: for a thread, or for a way to a callee. */
static int64_t block_queued(const struct block *block, const struct integral_sum *sums)
{
    int64_t queued = block->queued != INTEGRAL_NONE ? sums[block->queued].us : 0;
    return queued + sums[block->waits].us;
}

/* --- /metrics ------------------------------------------------------------------------------------------- */

static const char in_flight_name[] = "vimd_inflight_seconds_total";
static const char in_flight_help[] =
    "Request-seconds in a block, or on calls from it: differences over time are exact means";

static void show(const char *name, const char *help, bool counter, const char *labels, double value)
{
    if (!isnan(value)) {
        metric_set(counter ? metrics_counter(name, help, labels)
                           : metrics_gauge(name, help, labels),
                   value);
    }
}

static void show_block(const struct block *block, const struct integral_sum *sums)
{
    CLEANUP_TEXT struct text labels = {0}, with_edge = {0};
    metrics_label(&labels, "block", block->name);
    text_printf(&with_edge, "%s,edge=\"\"", text_get(&labels));
    show(in_flight_name, in_flight_help, true, text_get(&with_edge),
         (double)block_in(block, sums).us / 1e6);
    show("vimd_own_inflight_seconds_total",
         "Request-seconds in a block that wait for no callee, no thread and no connection", true,
         text_get(&labels), (double)block_own(block, sums) / 1e6);
    show("vimd_thread_queue_seconds_total",
         "Request-seconds that waited for a thread of a block, or for a way from it to another one",
         true, text_get(&labels), (double)block_queued(block, sums) / 1e6);
}

static void show_edges(const struct integral_sum *sums)
{
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        const char *edge = integral_edge(i);
        if (*edge && sums[i].began) {
            CLEANUP_TEXT struct text labels = {0};
            text_printf(&labels, "block=\"%.*s\",edge=\"%s\"", (int)strcspn(edge, ">"), edge, edge);
            show(in_flight_name, in_flight_help, true, text_get(&labels), (double)sums[i].us / 1e6);
            show("vimd_edge_calls_total", "Calls from one block to another that have begun", true,
                 text_get(&labels), (double)sums[i].began);
        }
    }
    show("vimd_logic_in_flight", "Requests in the logic block", false, NULL,
         (double)sums[IN_LOGIC].here);
    show("vimd_store_in_flight", "Calls of the store in progress", false, NULL,
         (double)(sums[LOGIC_TO_STORE].here + sums[WORKER_TO_STORE].here +
                  sums[ASIDE_TO_STORE].here));
}

static void show_tcp(void)
{
    for (int i = 0; i < TCP_CALLEE_COUNT; i++) {
        struct tcp_sum sum;
        tcp_look(i, &sum);
        if (sum.made) {
            CLEANUP_TEXT struct text labels = {0};
            metrics_label(&labels, "callee", tcp_callee_name(i));
            show("vimd_edge_connections", "TCP connections to another block", false,
                 text_get(&labels), sum.connections);
            show("vimd_edge_rtt_seconds", "Round trip on connections to another block (TCP_INFO)",
                 false, text_get(&labels), sum.connections ? sum.rtt_ms / 1000 : 0);
            show("vimd_edge_retransmits_total", "TCP segments sent again to another block", true,
                 text_get(&labels), (double)sum.retransmits);
            show("vimd_edge_network_seconds_total",
                 "Connection-seconds with data on its way to another block (TCP_INFO)", true,
                 text_get(&labels), (double)sum.network_us / 1e6);
        }
    }
}

static void show_usage(void)
{
    struct usage_group group;
    usage_group(&group);
    show("vimd_cpu_seconds_total", "Processor time of the process", true, NULL,
         (double)usage_cpu_us() / 1e6);
    show("vimd_cpu_limit_cores", "Processors that the process may use", false, NULL,
         usage_cpu_limit());
    show("vimd_cpu_periods_total", "Periods of the quota of its control group", true, NULL,
         group.periods);
    show("vimd_cpu_throttled_periods_total", "Those in which the quota was exhausted", true, NULL,
         group.throttled);
    show("vimd_cpu_throttled_seconds_total", "Time for which the group was kept from running", true,
         NULL, group.throttled_seconds);
    show("vimd_memory_bytes", "Memory of the control group", false, NULL, group.memory);
    for (int i = 0; i < PRESSURE_COUNT; i++) {
        CLEANUP_TEXT struct text labels = {0};
        metrics_label(&labels, "resource", usage_pressure_name(i));
        metrics_label(&labels, "of", group.pressure_of_system ? "system" : "group");
        show("vimd_pressure_seconds_total", "Time for which something waited for a resource (PSI)",
             true, text_get(&labels), group.pressure[i]);
    }
}

static void show_queue(struct totals *totals)
{
    LOCK_GUARD(&totals->mutex);
    if (totals->has_queue) {
        static const char name[] = "vimd_queue_entries",
                          help[] = "Entries of the queue, by its own account";
        show(name, help, false, "state=\"waiting\"", (double)totals->queue.waiting);
        show(name, help, false, "state=\"delayed\"", (double)totals->queue.delayed);
        show(name, help, false, "state=\"delivered\"", (double)totals->queue.delivered);
        show("vimd_queue_oldest_seconds", "How long the oldest entry that is ready has waited",
             false, NULL, (double)totals->queue.oldest_ms / 1000);
    }
}

static void collect(void *argument)
{
    struct totals *totals = argument;
    struct integral_sum sums[INTEGRAL_COUNT];
    (void)integral_read(sums);
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        if (has_role(totals, &blocks[i])) {
            show_block(&blocks[i], sums);
        }
    }
    show_edges(sums);
    show_tcp();
    show_usage();
    show_queue(totals);
}

/* --- The beat -------------------------------------------------------------------------------------------- */

/* A number that may not be known, without digits that mean nothing. */
static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real((double)(int64_t)(value * 1e6 + 0.5) / 1e6) : json_null();
}

static json_t *block_json(const struct block *block, const struct integral_sum *sums)
{
    struct metrics_sum seconds, errors, threads;
    struct integral_sum in = block_in(block, sums);
    json_t *shown = json_object(), *buckets = json_array();
    totals_sum(block->seconds, block->with, &seconds);
    for (size_t i = 0; i <= METRICS_SECONDS_COUNT; i++) {
        json_array_append_new(buckets, json_integer((json_int_t)seconds.buckets[i]));
    }
    json_set_integer(shown, "in_flight_us", in.us);
    json_set_integer(shown, "own_us", block_own(block, sums));
    json_set_integer(shown, "queued_us", block_queued(block, sums));
    json_set_integer(shown, "began", (int64_t)in.began);
    json_set_integer(shown, "ended", (int64_t)seconds.count);
    json_object_set_new(shown, "seconds", number_or_null(seconds.value));
    json_object_set_new(shown, "buckets", buckets);
    if (block->in == IN_API) {
        totals_sum("vimd_http_requests_total", "status=\"5", &errors);
        json_set_integer(shown, "errors", (int64_t)errors.value);
    }
    if (block->threads) {
        metrics_sum(block->threads, NULL, &threads);
        json_set_integer(shown, "threads", (int64_t)threads.value);
    }
    return shown;
}

static json_t *edges_json(const struct integral_sum *sums)
{
    json_t *shown = json_object();
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        if (*integral_edge(i) && sums[i].began) {
            json_t *one = json_object();
            json_set_integer(one, "in_flight_us", sums[i].us);
            json_set_integer(one, "began", (int64_t)sums[i].began);
            json_object_set_new(shown, integral_edge(i), one);
        }
    }
    return shown;
}

static json_t *tcp_json(void)
{
    json_t *shown = json_object();
    for (int i = 0; i < TCP_CALLEE_COUNT; i++) {
        struct tcp_sum sum;
        tcp_look(i, &sum);
        if (sum.made) {
            json_t *one = json_object();
            json_set_integer(one, "connections", sum.connections);
            json_object_set_new(one, "rtt_ms", number_or_null(sum.rtt_ms));
            json_set_integer(one, "retransmits", (int64_t)sum.retransmits);
            json_set_integer(one, "network_us", (int64_t)sum.network_us);
            json_object_set_new(shown, tcp_callee_name(i), one);
        }
    }
    return shown;
}

static void add_usage(json_t *shown)
{
    struct usage_group group;
    json_t *pressure = json_object();
    usage_group(&group);
    json_object_set_new(shown, "cores", number_or_null(usage_cpu_limit()));
    json_set_integer(shown, "cpu_us", usage_cpu_us());
    json_set_integer(shown, "memory",
                     isfinite(group.memory) ? (int64_t)group.memory : usage_memory());
    json_object_set_new(shown, "periods", number_or_null(group.periods));
    json_object_set_new(shown, "throttled", number_or_null(group.throttled));
    for (int i = 0; i < PRESSURE_COUNT; i++) {
        json_object_set_new(pressure, usage_pressure_name(i), number_or_null(group.pressure[i]));
    }
    json_set_boolean(pressure, "system", group.pressure_of_system);
    json_object_set_new(shown, "pressure", pressure);
}

static void add_queue(struct totals *totals, json_t *shown)
{
    LOCK_GUARD(&totals->mutex);
    if (totals->has_queue) {
        json_t *queue = json_object();
        json_set_integer(queue, "waiting", totals->queue.waiting);
        json_set_integer(queue, "delayed", totals->queue.delayed);
        json_set_integer(queue, "delivered", totals->queue.delivered);
        json_set_integer(queue, "oldest_ms", totals->queue.oldest_ms);
        json_set_integer(queue, "at_ms", totals->queue_at);
        json_object_set_new(shown, "queue", queue);
    }
}

json_t *totals_json(struct totals *totals)
{
    struct integral_sum sums[INTEGRAL_COUNT];
    json_t *shown = json_object(), *list = json_object();
    int64_t mono_us = integral_read(sums);
    json_set_integer(shown, "at", clock_now_ms());
    json_set_integer(shown, "mono_us", mono_us);
    add_usage(shown);
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        if (has_role(totals, &blocks[i])) {
            json_object_set_new(list, blocks[i].name, block_json(&blocks[i], sums));
        }
    }
    json_object_set_new(shown, "blocks", list);
    json_object_set_new(shown, "edges", edges_json(sums));
    json_object_set_new(shown, "tcp", tcp_json());
    add_queue(totals, shown);
    return shown;
}

/* --- Life ------------------------------------------------------------------------------------------------ */

void totals_look_at_queue(struct totals *totals, struct tasks *tasks)
{
    struct tasks_queue queue = {0};
    int code = tasks_queue_look(tasks, &queue, NULL);
    LOCK_GUARD(&totals->mutex);
    totals->has_queue = code == VIM_OK;
    totals->queue = queue;
    totals->queue_at = clock_now_ms();
}

struct totals *totals_new(const char *roles)
{
    struct totals *totals = MEMORY_NEW(struct totals);
    totals->roles = text_duplicate(roles);
    pthread_mutex_init(&totals->mutex, NULL);
    metrics_add_collector(collect, totals);
    return totals;
}

void totals_free(struct totals *totals)
{
    if (totals) {
        metrics_remove_collector(collect, totals);
        pthread_mutex_destroy(&totals->mutex);
        free(totals->roles);
        free(totals);
    }
}
