/*
 * Which block holds the service back? Random services; the truth is found by giving each block in turn a
 * replica more, for the very same requests. Rows S3, S4 and S5.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define WARM_UP_S 15.0
#define WINDOWS 24
#define TRUTH_S 60.0
#define TRIES 50

/* What makes one block the right one: it gains so much, and so much more than any other. */
#define GAIN_LEAST 0.03
#define GAIN_MARGIN 0.015

/* Less is nothing, if p95 does not fall either: what the host's verification goes by. */
#define GAIN_NOTHING 0.02
#define P95_NOTHING 0.05

enum load_shape { LOAD_FLAT, LOAD_STEP, LOAD_RAMP, LOAD_WAVE, LOAD_SHAPES };

struct scenario {
    struct service service;
    uint64_t seed;
    uint32_t narrowest, truth;
    double tie;
    enum load_shape shape;
    bool idle; /* nothing is short: whoever scales out gains nothing */
    bool polls;
    double gains[SERVICE_BLOCKS]; /* throughput with one replica more over that without, minus 1 */
    double p95s[SERVICE_BLOCKS]; /* the same of p95 */
};

struct pick {
    uint32_t top; /* best-scored block */
    uint32_t verdict, block;
};

struct record {
    bool valid;
    struct scenario scenario;
    struct pick picks[POLICIES_MAX];
};

static void draw_load(struct chance *chance, struct scenario *scenario, double clients)
{
    struct load *load = &scenario->service.load;
    double end = WARM_UP_S + WINDOWS * WINDOW_S, low = chance_uniform(chance, 0.2, 0.7);
    double change = chance_uniform(chance, 0.3, 0.7) * end;

    scenario->shape = chance_integer(chance, 0, LOAD_SHAPES - 1);
    load->closed = true;
    load->seconds = (uint32_t)end;
    for (uint32_t i = 0; i < load->seconds; i++) {
        double share = 1;

        if (scenario->shape == LOAD_STEP)
            share = i < change ? low : 1;
        else if (scenario->shape == LOAD_RAMP)
            share = low + (1 - low) * fmin(1, i / (0.9 * end));
        else if (scenario->shape == LOAD_WAVE)
            share = 0.5 * (1 + low) + 0.5 * (1 - low) * cos(6.2832 * (end - i) / (0.6 * end));
        load->level[i] = ceil(clients * share);
    }
}

/* How it goes with the clients of the end and one replica more of BLOCK. */
static struct window try_replica(const struct scenario *scenario, uint32_t block)
{
    static struct service service;
    struct events *events;
    struct window window;
    double clients = scenario->service.load.level[scenario->service.load.seconds - 1];

    service = scenario->service;
    service.load.seconds = 1;
    service.load.level[0] = clients;
    if (block < service.block_count)
        service.blocks[block].replicas++;
    events = events_new(&service, chance_join(scenario->seed, 5));
    events_run(events, WARM_UP_S);
    events_window(events, &window);
    events_run(events, WARM_UP_S + TRUTH_S);
    events_window(events, &window);
    events_free(events);
    return window;
}

/* False if no block is clearly the right one. */
static bool find_truth(struct scenario *scenario)
{
    struct window before = try_replica(scenario, SERVICE_BLOCKS);
    double best = -1, second = -1;

    for (uint32_t i = 0; i < scenario->service.block_count; i++) {
        struct window after = try_replica(scenario, i);
        double gain = after.throughput / before.throughput - 1;

        scenario->gains[i] = gain;
        scenario->p95s[i] = after.p95 / before.p95 - 1;
        if (gain > best) {
            second = best;
            best = gain;
            scenario->truth = i;
        } else if (gain > second) {
            second = gain;
        }
    }
    if (scenario->idle)
        return best < GAIN_NOTHING;
    return best >= GAIN_LEAST && best - second >= GAIN_MARGIN;
}

static void draw_scenario(uint64_t seed, struct scenario *scenario)
{
    struct chance chance = {chance_join(seed, 1)};
    double draw = chance_uniform(&chance, 0, 1);
    struct service_plan plan = {
        .blocks_min = 3,
        .blocks_max = 8,
        .rate = chance_uniform(&chance, 20, 45),
        .headroom = 4,
        .polling = chance_is(&chance, 0.35) ? 0.35 : 0,
        .replicas_max = 4,
    };
    double clients;

    memset(scenario, 0, sizeof *scenario);
    scenario->seed = seed;
    plan.binds = draw < 0.5 ? BIND_CPU : draw < 0.75 ? BIND_LOCK : BIND_POOL;
    plan.tie = chance_is(&chance, 0.35) ? chance_uniform(&chance, 1.05, 1.25)
                                        : chance_uniform(&chance, 1.3, 3);
    scenario->tie = plan.tie;
    scenario->idle = chance_is(&chance, 0.15);
    service_draw(&chance, &plan, &scenario->service, &scenario->narrowest);
    for (uint32_t i = 0; i < scenario->service.block_count; i++)
        scenario->polls = scenario->polls || scenario->service.blocks[i].polls;
    scenario->service.load.think = chance_is(&chance, 0.3) ? 0 : chance_uniform(&chance, 0.2, 1.5);
    if (scenario->idle)
        scenario->service.load.think = chance_uniform(&chance, 0.8, 1.5);
    scenario->service.slo_p95 = 4 * service_unloaded(&scenario->service);
    clients = plan.rate * (scenario->service.load.think + service_unloaded(&scenario->service));
    clients *= scenario->idle ? chance_uniform(&chance, 0.2, 0.5) : chance_uniform(&chance, 1.5, 3);
    clients += scenario->idle ? 1 : chance_uniform(&chance, 10, 40);
    draw_load(&chance, scenario, ceil(clients));
}

static void watch(const struct scenario *scenario, struct snapshot *snapshot,
                  struct history **ret_history)
{
    struct measurer measurer;
    struct history *history = measure_begin(&scenario->service, scenario->seed, &measurer);
    struct events *events = events_new(&scenario->service, scenario->seed);
    struct window window;

    events_run(events, WARM_UP_S);
    events_window(events, &window);
    for (int i = 1; i <= WINDOWS; i++) {
        events_run(events, WARM_UP_S + i * WINDOW_S);
        events_window(events, &window);
        measure_window(&measurer, &scenario->service, &window, EPOCH_MS + i * WINDOW_MS, history);
    }
    events_free(events);
    snapshot_build(history, WINDOWS, NULL, snapshot);
    *ret_history = history;
}

static void run_one(void *argument, uint32_t index, void *ret_record)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    const struct sim *sim = argument;
    struct record *record = ret_record;
    struct history *history;

    for (uint32_t try = 0; try < TRIES && !record->valid; try++) {
        draw_scenario(chance_join(chance_join(sim->seed, index), try), &record->scenario);
        record->valid = find_truth(&record->scenario);
    }
    if (!record->valid)
        return;
    watch(&record->scenario, &snapshot, &history);
    for (uint32_t i = 0; i < sim->policy_count; i++) {
        judge(sim->policies[i].instance, &snapshot, 60000, &judgement);
        record->picks[i] = (struct pick){top_block(&judgement), judgement.decision.verdict,
                                         judgement.decision.block};
        if (judgement.code == VIM_OK && judgement.decision.verdict == VIM_SCALE_OUT)
            record->picks[i].top = judgement.decision.block;
    }
    history_free(history);
}

/* --- Telling --------------------------------------------------------------------------------- */

struct tally {
    uint32_t right, all;
};

static void count(struct tally *tally, bool right)
{
    tally->all++;
    tally->right += right ? 1 : 0;
}

static void print_tally(const char *metric, const char *policy, struct tally tally)
{
    print_value(metric, policy, tally.all ? 100.0 * tally.right / tally.all : NAN);
}

static void tell_policy(const struct sim *sim, const struct record *records, uint32_t policy)
{
    struct tally all = {0}, ties = {0}, pools = {0}, decoys = {0}, useless = {0}, acted = {0};
    const char *label = sim->policies[policy].label;

    for (uint32_t i = 0; i < sim->count; i++) {
        const struct scenario *scenario = &records[i].scenario;
        const struct pick *pick = &records[i].picks[policy];
        bool right = pick->top == scenario->truth;
        bool out = pick->verdict == VIM_SCALE_OUT;

        if (!records[i].valid)
            continue;
        if (out)
            count(&useless, scenario->gains[pick->block] < GAIN_NOTHING &&
                                scenario->p95s[pick->block] > -P95_NOTHING);
        if (scenario->idle)
            continue;
        count(&acted, out);
        count(&all, right);
        if (scenario->tie < 1.25)
            count(&ties, right);
        if (scenario->service.blocks[scenario->truth].binds != BIND_CPU)
            count(&pools, right);
        if (scenario->polls)
            count(&decoys, right);
    }
    print_tally("top1", label, all);
    print_tally("top1_near_ties", label, ties);
    print_tally("top1_locks_and_pools", label, pools);
    print_tally("top1_decoys", label, decoys);
    print_tally("useless_scale_outs", label, useless);
    print_tally("scales_out_when_needed", label, acted);
}

static void write_details(const struct sim *sim, const struct record *records)
{
    static const char *const shapes[] = {"flat", "step", "ramp", "wave"};
    FILE *csv =
        open_csv(sim->csv, "scenario,blocks,binds,tie,shape,idle,decoy,policy,right,verdict");

    for (uint32_t i = 0; csv && i < sim->count; i++)
        for (uint32_t p = 0; p < sim->policy_count && records[i].valid; p++) {
            const struct scenario *scenario = &records[i].scenario;

            fprintf(csv, "%u,%u,%s,%.3f,%s,%d,%d,%s,%d,%s\n", i, scenario->service.block_count,
                    bottleneck_name(scenario->service.blocks[scenario->truth].binds), scenario->tie,
                    shapes[scenario->shape], scenario->idle, scenario->polls,
                    sim->policies[p].label, records[i].picks[p].top == scenario->truth,
                    judge_verdict_name(records[i].picks[p].verdict));
        }
    close_csv(csv, sim->csv);
}

int run_find(struct sim *sim)
{
    struct record *records = parallel_run(sim->count, sim->jobs, sizeof *records, run_one, sim);
    uint32_t valid = 0, idle = 0;

    if (!records)
        return 2;
    for (uint32_t i = 0; i < sim->count; i++) {
        valid += records[i].valid;
        idle += records[i].valid && records[i].scenario.idle;
    }
    print_value("scenarios", "-", valid);
    print_value("scenarios_where_nothing_is_short", "-", idle);
    for (uint32_t i = 0; i < sim->policy_count; i++)
        tell_policy(sim, records, i);
    write_details(sim, records);
    parallel_free(records, sim->count, sizeof *records);
    return 0;
}
