/*
 * What the policy sees is not what is: every number is off by a few per cent, some blocks report a window
 * late, and now and then a window of a block does not come at all.
 */
#include <math.h>

#include "sim.h"

#define NOISE 0.04
#define MISSING 0.03
#define LAGGING 0.2

static void put(struct history *history, enum history_scope scope, uint32_t index,
                const char *metric, double value)
{
    history_put(history, scope, index, history_metric(scope, metric), value);
}

static double blur(struct measurer *measurer, double value)
{
    double factor = 1 + measurer->noise * chance_normal(&measurer->chance);

    return value * (factor > 0 ? factor : 0);
}

static double blur_share(struct measurer *measurer, double value)
{
    return fmin(1, blur(measurer, value));
}

struct history *measure_begin(const struct service *service, uint64_t seed,
                              struct measurer *ret_measurer)
{
    struct history *history = history_new("simulated", WINDOW_MS, 24);
    struct history_goals goals = {1000 * service->slo_p95, 0, INFINITY};

    *ret_measurer =
        (struct measurer){.chance = {chance_join(seed, 991)}, .noise = NOISE, .missing = MISSING};
    for (uint32_t i = 0; i < service->block_count; i++) {
        history_block(history, service->blocks[i].name);
        ret_measurer->lagging[i] = chance_is(&ret_measurer->chance, LAGGING);
    }
    for (uint32_t i = 0; i < service->edge_count; i++)
        history_edge(history, service->edges[i].caller, service->edges[i].callee);
    history_set_goals(history, &goals);
    return history;
}

static void put_service(struct measurer *measurer, const struct window *window,
                        struct history *history)
{
    if (chance_is(&measurer->chance, measurer->missing / 3))
        return;
    put(history, HISTORY_SERVICE, 0, "throughput", blur(measurer, window->throughput));
    put(history, HISTORY_SERVICE, 0, "offered", blur(measurer, window->offered));
    put(history, HISTORY_SERVICE, 0, "errors", window->errors);
    put(history, HISTORY_SERVICE, 0, "latency", blur(measurer, 1000 * window->latency));
    put(history, HISTORY_SERVICE, 0, "latency_p50", blur(measurer, 1000 * window->p50));
    put(history, HISTORY_SERVICE, 0, "latency_p95", blur(measurer, 1000 * window->p95));
    put(history, HISTORY_SERVICE, 0, "latency_p99", blur(measurer, 1000 * window->p99));
    put(history, HISTORY_SERVICE, 0, "in_flight", blur(measurer, window->in_flight));
}

static void put_block(struct measurer *measurer, const struct window_block *seen, uint32_t block,
                      struct history *history)
{
    put(history, HISTORY_BLOCK, block, "cpu", blur_share(measurer, seen->cpu));
    put(history, HISTORY_BLOCK, block, "pressure_cpu", blur_share(measurer, seen->pressure_cpu));
    put(history, HISTORY_BLOCK, block, "pressure_io", blur_share(measurer, seen->pressure_io));
    put(history, HISTORY_BLOCK, block, "calls", blur(measurer, seen->calls));
    put(history, HISTORY_BLOCK, block, "residence", blur(measurer, 1000 * seen->residence));
    put(history, HISTORY_BLOCK, block, "in_flight", blur(measurer, seen->in_flight));
    put(history, HISTORY_BLOCK, block, "own_in_flight", blur(measurer, seen->own));
    put(history, HISTORY_BLOCK, block, "thread_queue", blur(measurer, seen->thread_queue));
}

static void put_edge(struct measurer *measurer, const struct window_edge *seen, uint32_t edge,
                     struct history *history)
{
    put(history, HISTORY_EDGE, edge, "visits", blur(measurer, seen->visits));
    put(history, HISTORY_EDGE, edge, "in_flight", blur(measurer, seen->in_flight));
    put(history, HISTORY_EDGE, edge, "rtt", blur(measurer, 1000 * seen->rtt));
    put(history, HISTORY_EDGE, edge, "retransmits", blur(measurer, seen->resent));
}

/* What a block delivers of itself and of its calls now: this window's numbers, or the last one's. */
static const struct window *delivered(const struct measurer *measurer, const struct window *window,
                                      uint32_t block)
{
    return measurer->lagging[block] && measurer->has_before ? &measurer->before : window;
}

void measure_window(struct measurer *measurer, const struct service *service,
                    const struct window *window, int64_t end, struct history *history)
{
    bool silent[SERVICE_BLOCKS];

    history_open_window(history, end);
    put_service(measurer, window, history);
    for (uint32_t i = 0; i < service->block_count; i++) {
        const struct window_block *now = &window->blocks[i];
        struct history_block state = history_get_block(history, i);

        state.flags |= VIM_BLOCK_SCALABLE;
        state.desired = now->desired;
        state.ready = now->ready;
        state.starting = now->starting;
        state.minimum = 1;
        state.maximum = service->blocks[i].maximum;
        state.quota_cores = 1;
        state.threads = service->blocks[i].threads;
        history_set_block(history, i, &state);
        silent[i] = chance_is(&measurer->chance, measurer->missing);
        if (!silent[i])
            put_block(measurer, &delivered(measurer, window, i)->blocks[i], i, history);
    }
    for (uint32_t i = 0; i < service->edge_count; i++) {
        uint32_t caller = service->edges[i].caller;

        if (!silent[caller])
            put_edge(measurer, &delivered(measurer, window, caller)->edges[i], i, history);
    }
    measurer->before = *window;
    measurer->has_before = true;
}
