#include "policy_world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scaler/history.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t value = a * 0x9E3779B97F4A7C15u + b + 0x632BE59BD9B4E019u;

    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* In 0..1, by what is asked for, not by when. */
static double draw(const struct world *world, uint64_t a, uint64_t b, uint64_t c)
{
    return (double)(mix(mix(mix(world->seed, a), b), c) >> 11) * 0x1p-53;
}

static double value_of(const struct world *world, uint64_t thing, uint32_t metric, uint32_t window)
{
    static const double extremes[] = {0, -1, 1e-300, 1e300, -1e300, 1e18, 1, 0.5};
    double low = 20 * draw(world, thing, metric, 1000), grow = 2 * draw(world, thing, metric, 1001);

    if (world->filling == FILL_NAN)
        return NAN;
    if (world->filling == FILL_EXTREME)
        return extremes[(size_t)(8 * draw(world, thing, metric, window)) % 8];
    if (draw(world, thing, metric, 2000 + window) < 0.03)
        return NAN;
    return low * (1 + grow * window / world->windows) *
           (0.95 + 0.1 * draw(world, thing, metric, window));
}

static void put_all(struct history *history, const struct world *world, enum history_scope scope,
                    uint32_t index, uint64_t thing, uint32_t window)
{
    if (world->filling == FILL_NOTHING)
        return;
    for (uint32_t m = 0; m < history_metric_count(scope); m++) {
        double value = value_of(world, thing, m, window);
        const char *name = history_metric_name(scope, m);

        if (world->filling == FILL_SENSIBLE &&
            (strcmp(name, "cpu") == 0 || strstr(name, "pressure") ||
             strcmp(name, "throttled") == 0))
            value /= 60;
        history_put(history, scope, index, m, value);
    }
}

static void set_block(struct history *history, const struct world *world, uint32_t index,
                      uint32_t block)
{
    uint32_t ready = 1 + (uint32_t)(6 * draw(world, block, 300, 0));
    const struct history_block state = {
        .flags = draw(world, block, 301, 0) < 0.9 ? VIM_BLOCK_SCALABLE : 0,
        .desired = ready,
        .ready = world->filling == FILL_EXTREME && block % 3 == 0 ? 0 : ready,
        .starting = draw(world, block, 302, 0) < 0.1,
        .minimum = 1,
        .maximum = world->filling == FILL_EXTREME && block % 2 ? 0 : 12,
        .quota_cores = world->filling == FILL_EXTREME ? -1 : 1,
        .threads = draw(world, block, 303, 0) < 0.5 ? 16 : 0};

    history_set_block(history, index, &state);
}

static uint32_t placed(const struct world *world, uint32_t index)
{
    return world->reversed ? world->blocks - 1 - index : index;
}

struct history *make_history(const struct world *world)
{
    struct history *history = history_new("checked", 5000, world->windows < 2 ? 2 : world->windows);
    const struct history_goals goals = {draw(world, 1, 1, 1) < 0.5 ? 15 : 0, 0, INFINITY};
    char name[24];

    for (uint32_t i = 0; i < world->blocks; i++) {
        snprintf(name, sizeof name, "block-%02u", placed(world, i));
        history_block(history, name);
    }
    /* A tree: block n is called by block (n - 1) / 2. */
    for (uint32_t i = 0; i < world->blocks; i++) {
        uint32_t block = placed(world, i);

        if (block > 0)
            history_edge(history, placed(world, (block - 1) / 2), placed(world, block));
    }
    history_set_goals(history, &goals);
    for (uint32_t w = 0; w < world->windows; w++) {
        history_open_window(history, 1763980200000 + 5000 * (int64_t)w);
        put_all(history, world, HISTORY_SERVICE, 0, 5000, w);
        for (uint32_t i = 0; i < world->blocks; i++) {
            put_all(history, world, HISTORY_BLOCK, i, placed(world, i), w);
            set_block(history, world, i, placed(world, i));
        }
        for (uint32_t i = 0; i < history_edge_count(history); i++) {
            uint32_t caller, callee;

            history_edge_ends(history, i, &caller, &callee);
            put_all(history, world, HISTORY_EDGE, i, 6000 + placed(world, callee), w);
        }
    }
    return history;
}

struct world random_world(uint64_t seed)
{
    struct world world = {.seed = mix(seed, 9)};

    world.blocks = 2 + (uint32_t)(9 * draw(&world, 0, 0, 1));
    world.windows = 8 + (uint32_t)(40 * draw(&world, 0, 0, 2));
    return world;
}
