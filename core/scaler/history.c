#include "scaler/history.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define METRICS_MAX 18u

struct metric_place {
    const char *name;
    size_t offset; /* of the series in the snapshot's struct */
};

#define SERVICE(field)                                      \
    {                                                       \
#field, offsetof(struct vim_policy_snapshot, field) \
    }
#define BLOCK(field)                                     \
    {                                                    \
#field, offsetof(struct vim_policy_block, field) \
    }
#define EDGE(field)                                     \
    {                                                   \
#field, offsetof(struct vim_policy_edge, field) \
    }

static const struct metric_place service_metrics[] = {
    SERVICE(throughput),  SERVICE(offered),     SERVICE(errors),      SERVICE(latency),
    SERVICE(latency_p50), SERVICE(latency_p95), SERVICE(latency_p99), SERVICE(in_flight)};
static const struct metric_place block_metrics[] = {
    BLOCK(cpu),         BLOCK(memory),    BLOCK(calls),         BLOCK(residence),
    BLOCK(self_time),   BLOCK(throttled), BLOCK(pressure_cpu),  BLOCK(pressure_memory),
    BLOCK(pressure_io), BLOCK(in_flight), BLOCK(own_in_flight), BLOCK(thread_queue),
    BLOCK(queue_depth), BLOCK(rtt),       BLOCK(retransmits)};
static const struct metric_place edge_metrics[] = {EDGE(visits), EDGE(in_flight), EDGE(rtt),
                                                   EDGE(retransmits), EDGE(network)};

static const struct {
    const struct metric_place *places;
    uint32_t count;
} metrics[] = {
    [HISTORY_SERVICE] = {service_metrics, sizeof service_metrics / sizeof service_metrics[0]},
    [HISTORY_BLOCK] = {block_metrics, sizeof block_metrics / sizeof block_metrics[0]},
    [HISTORY_EDGE] = {edge_metrics, sizeof edge_metrics / sizeof edge_metrics[0]},
};

/* Each series has room for twice the windows, so that it can be shown in one piece: when the end is
 * reached, the newer half is moved to the front. */
struct series {
    double *values[METRICS_MAX];
};

struct block {
    char name[HISTORY_NAME_MAX + 1];
    struct history_block state;
    struct series series;
};

struct edge {
    uint32_t caller, callee;
    struct series series;
};

struct history {
    char service[HISTORY_NAME_MAX + 1];
    int64_t window_ms;
    int64_t first, end;
    uint32_t capacity; /* windows */
    uint32_t filled;
    uint32_t place; /* of the last window in each series */
    struct history_goals goals;
    struct history_action action;
    struct series series;
    uint32_t block_count, edge_count;
    struct block blocks[HISTORY_BLOCKS_MAX];
    struct edge edges[HISTORY_EDGES_MAX];
};

struct history *history_new(const char *service, int64_t window_ms, uint32_t windows)
{
    struct history *history = memory_new(sizeof *history);

    assert(window_ms > 0 && windows >= 2 && windows <= HISTORY_WINDOWS_MAX);
    strncpy(history->service, service, HISTORY_NAME_MAX);
    history->window_ms = window_ms;
    history->capacity = windows;
    history->goals.budget_cores = INFINITY;
    history->action.block = VIM_NO_INDEX;
    return history;
}

static void free_series(struct series *series)
{
    for (uint32_t i = 0; i < METRICS_MAX; i++)
        free(series->values[i]);
}

void history_free(struct history *history)
{
    if (!history)
        return;
    free_series(&history->series);
    for (uint32_t i = 0; i < history->block_count; i++)
        free_series(&history->blocks[i].series);
    for (uint32_t i = 0; i < history->edge_count; i++)
        free_series(&history->edges[i].series);
    free(history);
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);

    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F || strchr(">,\"", *c))
            return false;
    return length > 0 && length <= HISTORY_NAME_MAX && text_is_utf8(name, length);
}

uint32_t history_block(struct history *history, const char *name)
{
    for (uint32_t i = 0; i < history->block_count; i++)
        if (strcmp(history->blocks[i].name, name) == 0)
            return i;
    if (!is_name(name) || history->block_count == HISTORY_BLOCKS_MAX)
        return VIM_NO_INDEX;
    strncpy(history->blocks[history->block_count].name, name, HISTORY_NAME_MAX);
    return history->block_count++;
}

uint32_t history_edge(struct history *history, uint32_t caller, uint32_t callee)
{
    if (caller >= history->block_count || callee >= history->block_count)
        return VIM_NO_INDEX;
    for (uint32_t i = 0; i < history->edge_count; i++)
        if (history->edges[i].caller == caller && history->edges[i].callee == callee)
            return i;
    if (history->edge_count == HISTORY_EDGES_MAX)
        return VIM_NO_INDEX;
    history->edges[history->edge_count].caller = caller;
    history->edges[history->edge_count].callee = callee;
    return history->edge_count++;
}

static struct series *find_series(const struct history *history, enum history_scope scope,
                                  uint32_t index)
{
    struct history *owner = (struct history *)history;

    if (scope == HISTORY_SERVICE)
        return &owner->series;
    if (scope == HISTORY_BLOCK) {
        assert(index < history->block_count);
        return &owner->blocks[index].series;
    }
    assert(index < history->edge_count);
    return &owner->edges[index].series;
}

static void advance_series(const struct history *history, struct series *series, bool wrap)
{
    for (uint32_t i = 0; i < METRICS_MAX; i++) {
        double *values = series->values[i];

        if (!values)
            continue;
        if (wrap)
            memmove(values, values + history->capacity + 1,
                    (history->capacity - 1) * sizeof *values);
        values[history->place] = NAN;
    }
}

static void advance(struct history *history)
{
    bool wrap = history->filled && history->place == 2 * history->capacity - 1;

    if (wrap)
        history->place = history->capacity - 1;
    else if (history->filled)
        history->place++;
    if (history->filled < history->capacity)
        history->filled++;
    advance_series(history, &history->series, wrap);
    for (uint32_t i = 0; i < history->block_count; i++)
        advance_series(history, &history->blocks[i].series, wrap);
    for (uint32_t i = 0; i < history->edge_count; i++)
        advance_series(history, &history->edges[i].series, wrap);
}

int history_open_window(struct history *history, int64_t end)
{
    int64_t steps, window = history->window_ms;

    if (!history->filled) {
        history->first = history->end = end;
        advance(history);
        return VIM_OK;
    }
    if (end <= history->end - window || end - history->end > INT64_MAX - window)
        return VIM_E_INVALID;
    steps = (end - history->end + window / 2) / window;
    if (steps <= 0)
        return VIM_E_INVALID;
    history->end += steps * window;
    for (int64_t i = 0; i < steps && i < history->capacity; i++)
        advance(history);
    return VIM_OK;
}

void history_forget(struct history *history)
{
    history->filled = history->place = 0;
    history->action = (struct history_action){.block = VIM_NO_INDEX};
}

uint32_t history_metric(enum history_scope scope, const char *name)
{
    for (uint32_t i = 0; i < metrics[scope].count; i++)
        if (strcmp(metrics[scope].places[i].name, name) == 0)
            return i;
    return VIM_NO_INDEX;
}

const char *history_metric_name(enum history_scope scope, uint32_t metric)
{
    return metrics[scope].places[metric].name;
}

uint32_t history_metric_count(enum history_scope scope)
{
    return metrics[scope].count;
}

void history_put(struct history *history, enum history_scope scope, uint32_t index, uint32_t metric,
                 double value)
{
    double **values = &find_series(history, scope, index)->values[metric];

    assert(metric < metrics[scope].count && history->filled);
    if (!isfinite(value))
        value = NAN;
    if (!*values) {
        *values = memory_new_array(2 * history->capacity, sizeof **values);
        for (uint32_t i = 0; i < 2 * history->capacity; i++)
            (*values)[i] = NAN;
    }
    (*values)[history->place] = value;
}

double history_get(const struct history *history, enum history_scope scope, uint32_t index,
                   uint32_t metric, uint32_t age)
{
    const double *values = find_series(history, scope, index)->values[metric];

    return values && age < history->filled ? values[history->place - age] : NAN;
}

void history_set_block(struct history *history, uint32_t block, const struct history_block *state)
{
    assert(block < history->block_count);
    history->blocks[block].state = *state;
}

struct history_block history_get_block(const struct history *history, uint32_t block)
{
    assert(block < history->block_count);
    return history->blocks[block].state;
}

void history_set_action(struct history *history, const struct history_action *action)
{
    history->action = *action;
}

struct history_action history_get_action(const struct history *history)
{
    return history->action;
}

void history_set_goals(struct history *history, const struct history_goals *goals)
{
    history->goals = *goals;
}

struct history_goals history_get_goals(const struct history *history)
{
    return history->goals;
}

const char *history_service(const struct history *history)
{
    return history->service;
}

int64_t history_window_ms(const struct history *history)
{
    return history->window_ms;
}

int64_t history_end(const struct history *history)
{
    return history->end;
}

uint32_t history_windows(const struct history *history)
{
    return history->filled;
}

uint32_t history_block_count(const struct history *history)
{
    return history->block_count;
}

uint32_t history_edge_count(const struct history *history)
{
    return history->edge_count;
}

const char *history_block_name(const struct history *history, uint32_t block)
{
    assert(block < history->block_count);
    return history->blocks[block].name;
}

void history_edge_ends(const struct history *history, uint32_t edge, uint32_t *ret_caller,
                       uint32_t *ret_callee)
{
    assert(edge < history->edge_count);
    *ret_caller = history->edges[edge].caller;
    *ret_callee = history->edges[edge].callee;
}

/* --- Snapshots ------------------------------------------------------------------------------- */

static void show_series(const struct history *history, enum history_scope scope,
                        const struct series *series, uint32_t windows, void *view)
{
    for (uint32_t i = 0; i < metrics[scope].count; i++) {
        const double **field = (const double **)((char *)view + metrics[scope].places[i].offset);

        if (series->values[i])
            *field = series->values[i] + history->place + 1 - windows;
    }
}

static struct vim_policy_action show_action(const struct history *history, uint32_t windows)
{
    const struct history_action *action = &history->action;
    int64_t age = (history->end - action->ready) / history->window_ms;

    if (action->block == VIM_NO_INDEX)
        return (struct vim_policy_action){0};
    /* One whose replicas are not ready yet lies behind all windows; one too old is no longer told. */
    if (action->ready == 0 || age < 0)
        return (struct vim_policy_action){action->block, action->delta, windows, action->outcome};
    if (age >= windows)
        return (struct vim_policy_action){0};
    return (struct vim_policy_action){action->block, action->delta, windows - 1 - (uint32_t)age,
                                      action->outcome};
}

static void show_block(const struct history *history, uint32_t windows, const struct block *block,
                       struct vim_policy_block *view)
{
    *view = (struct vim_policy_block){.name = block->name,
                                      .flags = block->state.flags,
                                      .desired = block->state.desired,
                                      .ready = block->state.ready,
                                      .starting = block->state.starting,
                                      .minimum = block->state.minimum,
                                      .maximum = block->state.maximum,
                                      .quota_cores = block->state.quota_cores,
                                      .threads = block->state.threads};
    show_series(history, HISTORY_BLOCK, &block->series, windows, view);
}

void snapshot_build(const struct history *history, uint32_t windows, const char *kept,
                    struct snapshot *ret_snapshot)
{
    struct vim_policy_snapshot *view = &ret_snapshot->view;

    if (windows > history->filled)
        windows = history->filled;
    *view = (struct vim_policy_snapshot){.size = sizeof *view,
                                         .windows = windows,
                                         .window_ms = history->window_ms,
                                         .end = history->end,
                                         .service = history->service,
                                         .blocks = ret_snapshot->blocks,
                                         .block_count = history->block_count,
                                         .block_stride = sizeof ret_snapshot->blocks[0],
                                         .edges = ret_snapshot->edges,
                                         .edge_count = history->edge_count,
                                         .edge_stride = sizeof ret_snapshot->edges[0],
                                         .last = show_action(history, windows),
                                         .slo_p95_ms = history->goals.slo_p95_ms,
                                         .slo_error_share = history->goals.slo_error_share,
                                         .budget_cores = history->goals.budget_cores,
                                         .kept = kept};
    show_series(history, HISTORY_SERVICE, &history->series, windows, view);
    for (uint32_t i = 0; i < history->block_count; i++)
        show_block(history, windows, &history->blocks[i], &ret_snapshot->blocks[i]);
    for (uint32_t i = 0; i < history->edge_count; i++) {
        ret_snapshot->edges[i] = (struct vim_policy_edge){.caller = history->edges[i].caller,
                                                          .callee = history->edges[i].callee};
        show_series(history, HISTORY_EDGE, &history->edges[i].series, windows,
                    &ret_snapshot->edges[i]);
    }
}
