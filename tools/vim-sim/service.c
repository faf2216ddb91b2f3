#include "service.h"

#include <stdio.h>
#include <string.h>

const char *bottleneck_name(enum bottleneck binds)
{
    static const char *const names[] = {"cpu", "lock", "pool"};

    return names[binds];
}

static void add_call(struct service *service, uint32_t caller, uint32_t callee, uint32_t times,
                     double rtt)
{
    struct service_block *block = &service->blocks[caller];

    if (block->call_count == 4 || service->edge_count == SERVICE_EDGES)
        return;
    for (uint32_t i = 0; i < service->edge_count; i++)
        if (service->edges[i].caller == caller && service->edges[i].callee == callee)
            return;
    service->edges[service->edge_count] = (struct service_edge){
        .caller = caller, .callee = callee, .rtt = rtt, .slow_rtt = rtt, .slow_from = 1e9};
    block->calls[block->call_count++] = (struct service_call){service->edge_count++, times};
}

/* A tree with a few edges more: every block is called by an earlier one. */
static void draw_calls(struct chance *chance, struct service *service)
{
    for (uint32_t i = 1; i < service->block_count; i++) {
        uint32_t from = i > 3 ? i - 3 : 0, caller = chance_integer(chance, from, i - 1);

        for (uint32_t tries = 0; service->blocks[caller].call_count == 4 && tries < i; tries++)
            caller = (caller + 1) % i;
        add_call(service, caller, i, chance_is(chance, 0.2) ? 2 : 1,
                 chance_uniform(chance, 0.0002, 0.0009));
    }
    for (uint32_t i = 2; i < service->block_count; i++)
        if (chance_is(chance, 0.15))
            add_call(service, chance_integer(chance, 0, i - 1), i, 1,
                     chance_uniform(chance, 0.0002, 0.0009));
}

static void count_visits(struct service *service)
{
    service->blocks[0].visits = 1;
    for (uint32_t i = 0; i < service->block_count; i++)
        for (uint32_t j = 0; j < service->blocks[i].call_count; j++) {
            const struct service_call *call = &service->blocks[i].calls[j];

            service->blocks[service->edges[call->edge].callee].visits +=
                service->blocks[i].visits * call->times;
        }
}

/* Sets the times so that all replicas together carry CAPACITY requests of the service per second. */
static void draw_times(struct chance *chance, struct service_block *block, double capacity)
{
    double each = block->replicas / (capacity * block->visits);
    double aside = each * chance_uniform(chance, 0.1, 0.4);

    block->capacity = capacity / block->replicas;
    block->cpu = block->binds == BIND_CPU ? each : aside;
    if (block->binds == BIND_LOCK)
        block->lock = each;
    if (block->binds == BIND_POOL) {
        block->slots = 1u << chance_integer(chance, 1, 3);
        block->pool = each * block->slots;
    }
}

/* Seconds that a visit of a block lasts, its callees' work included, when nobody waits. */
static double visit_time(const struct service *service, uint32_t block)
{
    const struct service_block *at = &service->blocks[block];
    double sum = at->cpu + at->lock + at->pool;

    for (uint32_t i = 0; i < at->call_count; i++)
        sum += at->calls[i].times * (visit_time(service, service->edges[at->calls[i].edge].callee) +
                                     service->edges[at->calls[i].edge].rtt);
    return sum;
}

/* Thread pools are made large enough: twice what is under way at RATE when nobody waits, at least. They
 * fill all the same when something behind them is overloaded. */
static void draw_threads(struct chance *chance, struct service *service, double rate)
{
    for (uint32_t i = 0; i < service->block_count; i++) {
        struct service_block *block = &service->blocks[i];
        double least = 2 * rate * block->visits * visit_time(service, i) / block->replicas;

        if (!chance_is(chance, 0.6))
            continue;
        block->threads = 8u << chance_integer(chance, 0, 3);
        while (block->threads < least)
            block->threads *= 2;
    }
}

void service_draw(struct chance *chance, const struct service_plan *plan,
                  struct service *ret_service, uint32_t *ret_narrowest)
{
    struct service *service = ret_service;
    uint32_t narrowest, second;

    memset(service, 0, sizeof *service);
    service->block_count = chance_integer(chance, plan->blocks_min, plan->blocks_max);
    draw_calls(chance, service);
    count_visits(service);
    narrowest = chance_integer(chance, 0, service->block_count - 1);
    second =
        (narrowest + chance_integer(chance, 1, service->block_count - 1)) % service->block_count;
    for (uint32_t i = 0; i < service->block_count; i++) {
        struct service_block *block = &service->blocks[i];
        double ratio = i == narrowest ? 1
                       : i == second  ? plan->tie
                                      : chance_uniform(chance, plan->tie > 1.3 ? plan->tie : 1.3,
                                                       plan->headroom);
        uint32_t kind = chance_integer(chance, 0, 5);

        snprintf(block->name, sizeof block->name, "b%u", i);
        block->replicas = chance_integer(chance, 1, plan->replicas_max);
        block->maximum = 32;
        block->binds = i == narrowest   ? plan->binds
                       : plan->only_cpu ? BIND_CPU
                       : kind == 0      ? BIND_LOCK
                       : kind == 1      ? BIND_POOL
                                        : BIND_CPU;
        block->polls = i != narrowest && chance_is(chance, plan->polling);
        draw_times(chance, block, plan->rate * ratio);
    }
    draw_threads(chance, service, plan->rate);
    *ret_narrowest = narrowest;
}

double service_unloaded(const struct service *service)
{
    double sum = 0;

    for (uint32_t i = 0; i < service->block_count; i++) {
        const struct service_block *block = &service->blocks[i];

        sum += block->visits * (block->cpu + block->lock + block->pool);
    }
    for (uint32_t i = 0; i < service->block_count; i++)
        for (uint32_t j = 0; j < service->blocks[i].call_count; j++)
            sum += service->blocks[i].visits * service->blocks[i].calls[j].times *
                   service->edges[service->blocks[i].calls[j].edge].rtt;
    return sum;
}
