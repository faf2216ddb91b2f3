/*
 * How long a decision takes, for 32 blocks and 256 windows. Row S11. The one experiment whose output
 * depends on the machine.
 */
#include <math.h>

#include "base/clock.h"
#include "sim.h"

#define BLOCKS 32u
#define WINDOWS 256u
#define ROUNDS 500

static void fill(struct history *history, struct chance *chance)
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct history_block state = {VIM_BLOCK_SCALABLE, 4, 4, 0, 1, 16, 1, 16};

        for (uint32_t m = 0; m < history_metric_count(HISTORY_BLOCK); m++)
            history_put(history, HISTORY_BLOCK, i, m, chance_uniform(chance, 0, 20));
        history_set_block(history, i, &state);
    }
    for (uint32_t i = 0; i < history_edge_count(history); i++)
        for (uint32_t m = 0; m < history_metric_count(HISTORY_EDGE); m++)
            history_put(history, HISTORY_EDGE, i, m, chance_uniform(chance, 0, 20));
    for (uint32_t m = 0; m < history_metric_count(HISTORY_SERVICE); m++)
        history_put(history, HISTORY_SERVICE, 0, m, chance_uniform(chance, 100, 200));
}

int run_speed(struct sim *sim)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    struct history *history = history_new("speed", WINDOW_MS, WINDOWS);
    struct chance chance = {sim->seed};

    for (uint32_t i = 0; i < BLOCKS; i++) {
        char name[24];

        snprintf(name, sizeof name, "block-%02u", i);
        history_block(history, name);
        if (i)
            history_edge(history, (i - 1) / 2, i);
    }
    for (uint32_t i = 0; i < WINDOWS; i++) {
        history_open_window(history, EPOCH_MS + i * WINDOW_MS);
        fill(history, &chance);
    }
    snapshot_build(history, WINDOWS, NULL, &snapshot);
    for (uint32_t p = 0; p < sim->policy_count; p++) {
        int64_t least = INT64_MAX;
        double sum = 0;

        for (int i = 0; i < ROUNDS; i++) {
            judge(sim->policies[p].instance, &snapshot, 60000, &judgement);
            sum += (double)judgement.took_us / ROUNDS;
            least = judgement.took_us < least ? judgement.took_us : least;
        }
        print_value("decide_us_mean", sim->policies[p].label, sum);
        print_value("decide_us_least", sim->policies[p].label, (double)least);
    }
    history_free(history);
    return 0;
}
