/*
 * logic/blocks.c - /v1/blocks: the live topology, out of the heartbeats of all processes. A block is as
 * busy as its replicas say; the store and the queue as those say who call them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "logic/route.h"

/* For the store to say how it is. */
#define PROBE_MS 1000

/* What was measured, over one window or over several processes' added up. */
struct measured {
    double rate; /* per second */
    double seconds; /* spent in those calls, per second */
    double in_flight;
    uint64_t buckets[METRICS_SECONDS_COUNT + 1];
};

struct operation {
    const char *block, *name;
    bool latency; /* of the block */
};

static const struct operation operations[] = {
    {"api", "request", true},  {"logic", "request", true}, {"logic", "wait", false},
    {"worker", "step", true},  {"store", "get", true},     {"store", "scan", true},
    {"store", "commit", true}, {"queue", "push", true},    {"queue", "done", true},
};
#define OPERATION_COUNT (sizeof(operations) / sizeof(operations[0]))

/* One process, as its heartbeat tells. */
struct replica {
    json_t *beat;
    char *roles;
    struct measured measured[OPERATION_COUNT];
};

struct replicas {
    struct replica *items;
    size_t count;
};

static void read_measured(const json_t *beat, const struct operation *operation,
                          struct measured *ret_measured)
{
    CLEANUP_FREE char *name = text_format("%s.%s", operation->block, operation->name);
    const json_t *one = json_object_get(json_object_get(beat, "measured"), name);
    double window = json_get_number(beat, "window_ms", 0) / 1000;
    const json_t *buckets = json_object_get(one, "buckets");
    *ret_measured = (struct measured){.in_flight = json_get_number(one, "in_flight", 0)};
    if (window <= 0) {
        return;
    }
    ret_measured->rate = json_get_number(one, "count", 0) / window;
    ret_measured->seconds = json_get_number(one, "seconds", 0) / window;
    for (size_t i = 0; i <= METRICS_SECONDS_COUNT; i++) {
        json_int_t count = json_integer_value(json_array_get(buckets, i));
        ret_measured->buckets[i] = count > 0 ? (uint64_t)count : 0;
    }
}

static void take_peer(void *argument, const struct presence_peer *peer)
{
    struct replicas *replicas = argument;
    json_t *beat = NULL;
    if (json_parse(peer->body, strlen(peer->body), NULL, &beat, NULL) != VIM_OK) {
        return;
    }
    replicas->items = memory_resize(replicas->items, replicas->count + 1, sizeof(*replicas->items));
    struct replica *replica = &replicas->items[replicas->count++];
    replica->beat = beat;
    replica->roles = text_duplicate(peer->roles);
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        read_measured(beat, &operations[i], &replica->measured[i]);
    }
}

static void replicas_free(struct replicas *replicas)
{
    for (size_t i = 0; i < replicas->count; i++) {
        json_decref(replicas->items[i].beat);
        free(replicas->items[i].roles);
    }
    free(replicas->items);
}

static void add_measured(struct measured *to, const struct measured *from)
{
    to->rate += from->rate;
    to->seconds += from->seconds;
    to->in_flight += from->in_flight;
    for (size_t i = 0; i <= METRICS_SECONDS_COUNT; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

/* To three places; VALUE is not negative. */
static double rounded(double value)
{
    return (double)(int64_t)(value * 1000 + 0.5) / 1000;
}

static void set_number(json_t *object, const char *member, double value)
{
    json_object_set_new(object, member, json_real(rounded(value)));
}

/* Rate and latency; a latency of nothing is null. */
static void show_measured(json_t *shown, const struct measured *rate,
                          const struct measured *latency)
{
    set_number(shown, "rate", rate->rate);
    double p95 = metrics_quantile(latency->buckets, 0.95);
    json_t *times = json_object();
    if (isnan(p95) || latency->rate <= 0) {
        json_object_set_new(times, "mean_ms", json_null());
        json_object_set_new(times, "p95_ms", json_null());
    } else {
        set_number(times, "mean_ms", latency->seconds / latency->rate * 1000);
        set_number(times, "p95_ms", p95 * 1000);
    }
    json_object_set_new(shown, "latency", times);
}

/* The measurements of BLOCK out of COUNT processes together, with each operation's own. */
static void show_block(json_t *shown, const char *block, const struct replica *replicas,
                       size_t count, bool with_operations)
{
    struct measured rate = {0}, latency = {0};
    json_t *list = json_object();
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        if (strcmp(operations[i].block, block) != 0) {
            continue;
        }
        struct measured sum = {0};
        for (size_t r = 0; r < count; r++) {
            add_measured(&sum, &replicas[r].measured[i]);
        }
        add_measured(&rate, &sum);
        if (operations[i].latency) {
            add_measured(&latency, &sum);
        }
        json_t *one = json_object();
        show_measured(one, &sum, &sum);
        json_object_set_new(list, operations[i].name, one);
    }
    show_measured(shown, &rate, &latency);
    json_set_integer(shown, "in_flight", (int64_t)rate.in_flight);
    if (with_operations) {
        json_object_set(shown, "operations", list);
    }
    json_decref(list);
}

static json_t *show_replica(const char *block, const struct replica *replica)
{
    static const char *const texts[] = {"id", "host", "address", "version", "state"};
    static const char *const numbers[] = {"cpu", "cpu_limit", "load"};
    char time[CLOCK_TEXT_SIZE];
    json_t *shown = json_object();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *text = json_get_text(replica->beat, texts[i], "");
        json_set_text(shown, texts[i], *text ? text : NULL);
    }
    json_object_set(shown, "roles", json_object_get(replica->beat, "roles"));
    json_set_integer(shown, "pid", json_get_integer(replica->beat, "pid", 0));
    json_set_text(shown, "started",
                  clock_format_rfc3339(json_get_integer(replica->beat, "started", 0), time));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        set_number(shown, numbers[i], json_get_number(replica->beat, numbers[i], 0));
    }
    json_set_integer(shown, "memory", json_get_integer(replica->beat, "memory", 0));
    show_block(shown, block, replica, 1, false);
    return shown;
}

static json_t *own_block(const char *block, const struct replicas *replicas)
{
    int64_t ready = 0;
    json_t *list = json_array();
    for (size_t i = 0; i < replicas->count; i++) {
        const struct replica *replica = &replicas->items[i];
        if (text_has_word(replica->roles, block)) {
            json_array_append_new(list, show_replica(block, replica));
            ready += strcmp(json_get_text(replica->beat, "state", ""), "up") == 0;
        }
    }
    json_t *shown = json_object();
    json_set_text(shown, "block", block);
    json_set_integer(shown, "ready", ready);
    show_block(shown, block, replicas->items, replicas->count, true);
    json_object_set_new(shown, "replicas", list);
    return shown;
}

/* A block behind a plugin: as its callers see it. */
static json_t *foreign_block(const char *block, const char *plugin, int code,
                             const struct failure *failure, int64_t took_us,
                             const struct replicas *replicas)
{
    json_t *shown = json_object();
    json_set_text(shown, "block", block);
    json_set_text(shown, "plugin", plugin);
    json_set_boolean(shown, "reachable", code == VIM_OK);
    if (code == VIM_OK) {
        set_number(shown, "probe_ms", (double)took_us / 1000);
    } else {
        json_set_text(shown, "detail", failure->text);
    }
    show_block(shown, block, replicas->items, replicas->count, true);
    return shown;
}

static json_t *store_block(struct store *store, const struct replicas *replicas)
{
    struct failure failure = {0};
    int64_t started_us = clock_mono_us();
    int code = store_probe(store, PROBE_MS, &failure);
    return foreign_block("store", store_plugin(store), code, &failure, clock_mono_us() - started_us,
                         replicas);
}

static json_t *queue_block(struct tasks *tasks, const struct replicas *replicas)
{
    struct failure failure = {0};
    struct tasks_queue queue = {0};
    int64_t started_us = clock_mono_us();
    int code = tasks_queue_look(tasks, &queue, &failure);
    json_t *shown = foreign_block("queue", queue.plugin, code, &failure,
                                  clock_mono_us() - started_us, replicas);
    if (code == VIM_OK) {
        json_t *depth = json_object();
        json_set_integer(depth, "waiting", queue.waiting);
        json_set_integer(depth, "delayed", queue.delayed);
        json_set_integer(depth, "delivered", queue.delivered);
        json_set_integer(depth, "oldest_ms", queue.oldest_ms);
        json_object_set_new(shown, "depth", depth);
    }
    return shown;
}

void meta_blocks(struct call *call)
{
    static const char *const blocks[] = {"api", "logic", "worker"};
    const struct logic_environment *environment = &call->logic->environment;
    struct replicas replicas = {0};
    if (environment->presence) {
        /* If the rows cannot be read, what was known a moment ago is shown. */
        (void)presence_refresh(environment->presence, NULL);
        (void)presence_each(environment->presence, NULL, take_peer, &replicas);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        json_array_append_new(list, own_block(blocks[i], &replicas));
    }
    json_array_append_new(list, store_block(environment->store, &replicas));
    json_array_append_new(list, queue_block(environment->tasks, &replicas));
    replicas_free(&replicas);
    json_t *shown = json_object();
    json_object_set_new(shown, "blocks", list);
    struct text text = {0};
    json_print_measured(&text, shown);
    json_decref(shown);
    struct answer answer;
    answer_init(&answer, 200);
    size_t length = text.length;
    answer_body(&answer, CONTENT_JSON, text_take(&text), length);
    logic_send(call, &answer);
}
