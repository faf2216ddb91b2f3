#include "state.h"

#include <math.h>
#include <string.h>

#define BUCKET_FIRST 1e-4
#define BUCKET_RATIO 1.05

double rtt_of(const struct events *events, uint32_t edge)
{
    const struct service_edge *at = &events->service->edges[edge];

    return events->now >= at->slow_from ? at->slow_rtt : at->rtt;
}

void count_latency(struct events *events, double seconds)
{
    double bucket = log(seconds / BUCKET_FIRST) / log(BUCKET_RATIO);

    events->latency += seconds;
    events->finished++;
    events->buckets[bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : (uint32_t)bucket]++;
}

static double quantile(const struct events *events, double share)
{
    double wanted = share * (double)events->finished, seen = 0;

    for (uint32_t i = 0; i < BUCKETS; i++) {
        double here = events->buckets[i];

        if (seen + here >= wanted && here > 0)
            return BUCKET_FIRST * pow(BUCKET_RATIO, i + (wanted - seen) / here);
        seen += here;
    }
    return NAN;
}

static void show_block(struct events *events, uint32_t block, double seconds,
                       struct window_block *ret_block)
{
    struct block_state *state = touch(events, block);
    double serving = state->area_serving > 0 ? state->area_serving : 1e-9;

    *ret_block = (struct window_block){
        .desired = state->serving + state->starting,
        .ready = state->serving,
        .starting = state->starting,
        .cpu = fmin(1, state->area_busy / serving),
        .pressure_cpu = fmin(1, state->area_waiting / serving),
        .pressure_io = fmin(1, state->area_pool_waiting / serving),
        .calls = (double)state->calls / seconds,
        .residence = state->left ? state->residence / (double)state->left : NAN,
        .in_flight = state->area_in_flight / seconds,
        .own = state->area_own / seconds,
        .thread_queue = state->area_queued / seconds,
    };
    if (events->service->blocks[block].polls) {
        /* Whoever polls always runs, and whatever work there is has to wait for it now and then. */
        ret_block->pressure_cpu = fmin(1, ret_block->pressure_cpu + 0.5 * ret_block->cpu);
        ret_block->cpu = fmax(0.98, ret_block->cpu);
    }
    state->area_in_flight = state->area_own = state->area_queued = state->area_busy = 0;
    state->area_waiting = state->area_pool_waiting = state->area_serving = state->area_all = 0;
    state->residence = 0;
    state->calls = state->left = 0;
}

void events_window(struct events *events, struct window *ret_window)
{
    double seconds = events->now - events->window_start;
    double finished = (double)events->finished;

    memset(ret_window, 0, sizeof *ret_window);
    ret_window->seconds = seconds;
    for (uint32_t i = 0; i < events->service->block_count; i++) {
        ret_window->replica_seconds += touch(events, i)->area_all;
        show_block(events, i, seconds, &ret_window->blocks[i]);
    }
    for (uint32_t i = 0; i < events->service->edge_count; i++) {
        struct edge_state *state = touch_edge(events, i);

        ret_window->edges[i] = (struct window_edge){
            (double)state->visits / seconds, state->area / seconds, rtt_of(events, i),
            events->now >= events->service->edges[i].slow_from ? events->service->edges[i].resent
                                                               : 0};
        state->area = 0;
        state->visits = 0;
    }
    touch_service(events);
    ret_window->throughput = finished / seconds;
    ret_window->offered = (double)events->offered / seconds;
    ret_window->errors = (double)events->refused / seconds;
    ret_window->latency = finished > 0 ? events->latency / finished : NAN;
    ret_window->p50 = quantile(events, 0.5);
    ret_window->p95 = quantile(events, 0.95);
    ret_window->p99 = quantile(events, 0.99);
    ret_window->in_flight = events->area / seconds;
    events->window_start = events->now;
    events->area = events->latency = 0;
    events->offered = events->finished = events->refused = 0;
    memset(events->buckets, 0, sizeof events->buckets);
}
