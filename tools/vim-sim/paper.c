/*
 * The paper's own figures, on its testbed: Figs. 4 to 7 (row S2), equation 3 along the sweep of Fig. 4 (S1),
 * and climbing to the best configuration (S9).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "testbed.h"

#define SEEDS_MAX 1000u
#define CLIMB_DECISIONS 24
#define CLIMB_WINDOWS \
    24 /* between two decisions: all cooldowns have passed, all effects are known */

/* Requests per second as counted in SECONDS when the mean is RATE: the count scatters, by half of what it
 * would if the bottleneck served in exponential times. */
static double counted(struct chance *chance, double rate, double seconds)
{
    return fmax(0, rate + 0.5 * sqrt(rate / seconds) * chance_normal(chance));
}

/* --- Figures 4 to 7 -------------------------------------------------------------------------- */

static const struct curve {
    const char *figure;
    uint32_t fixed; /* replicas of the other block */
    bool over_db; /* the DB's replicas grow, not logic's */
    double paper[10]; /* as specified; 0: not given */
} curves[] = {
    {"fig4", 1, false, {96, 129, 132, 125, 116, 106, 97, 88, 82, 76}},
    {"fig5", 3, false, {249, [9] = 170}},
    {"fig6", 5, false, {242, [9] = 191}},
    {"fig7_logic5", 5, true, {116, [5] = 218}},
    {"fig7_logic10", 10, true, {77, [9] = 202}},
};
#define CURVE_COUNT (sizeof curves / sizeof curves[0])

static void measure_curve(const struct curve *curve, struct chance *chance, double ret_curve[10])
{
    for (uint32_t i = 0; i < 10; i++) {
        const struct testbed *state = curve->over_db ? testbed_solve(curve->fixed, i + 1)
                                                     : testbed_solve(i + 1, curve->fixed);

        ret_curve[i] = counted(chance, state->throughput, 5 * 30); /* five times 30 s */
    }
}

static uint32_t peak_of(const double curve[10])
{
    uint32_t peak = 0;

    for (uint32_t i = 1; i < 10; i++)
        if (curve[i] > curve[peak])
            peak = i;
    return peak + 1;
}

/* Does it have the shape that the paper shows? */
static bool has_shape(size_t figure, const double curve[10])
{
    double flat = 0.03 * curve[9];

    switch (figure) {
    case 0:
        return peak_of(curve) == 3 && curve[9] < 0.7 * curve[2];
    case 1:
    case 2:
        return peak_of(curve) == 1 && curve[9] < 0.85 * curve[0];
    case 3: /* rises until 6, then flat */
        for (uint32_t i = 0; i < 5; i++)
            if (curve[i + 1] < curve[i] - flat)
                return false;
        return curve[5] > 1.5 * curve[0] && fabs(curve[9] - curve[5]) < 0.06 * curve[5];
    default: /* rises to the end */
        for (uint32_t i = 0; i < 9; i++)
            if (curve[i + 1] < curve[i] - flat)
                return false;
        return peak_of(curve) >= 8 && curve[9] > 2 * curve[0];
    }
}

int run_testbed(struct sim *sim)
{
    FILE *csv = open_csv(sim->csv, "figure,replicas,seed,throughput");
    uint32_t good[CURVE_COUNT] = {0}, at_three = 0;
    double worst = 0, curve[10];
    char name[64];

    for (uint32_t seed = 0; seed < sim->count; seed++)
        for (size_t i = 0; i < CURVE_COUNT; i++) {
            struct chance chance = {chance_join(chance_join(sim->seed, seed), i)};

            measure_curve(&curves[i], &chance, curve);
            good[i] += has_shape(i, curve);
            at_three += i == 0 && peak_of(curve) == 3;
            for (uint32_t x = 0; csv && x < 10; x++)
                fprintf(csv, "%s,%u,%u,%.3f\n", curves[i].figure, x + 1, seed, curve[x]);
        }
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        for (uint32_t x = 0; x < 10; x++) {
            const struct testbed *state = curves[i].over_db ? testbed_solve(curves[i].fixed, x + 1)
                                                            : testbed_solve(x + 1, curves[i].fixed);

            if (curves[i].paper[x] > 0)
                worst = fmax(worst, fabs(state->throughput / curves[i].paper[x] - 1));
        }
        snprintf(name, sizeof name, "shape_%s", curves[i].figure);
        print_value(name, "-", 100.0 * good[i] / sim->count);
    }
    print_value("fig4_peak_at_three", "-", 100.0 * at_three / sim->count);
    print_value("largest_deviation_from_figures", "-", 100 * worst);
    close_csv(csv, sim->csv);
    return 0;
}

/* --- What can be seen of it ------------------------------------------------------------------- */

enum { API, LOGIC, DB };

struct stage {
    struct history *history;
    struct chance chance;
    int64_t end;
    uint32_t logic, db;
};

static void put(struct stage *stage, enum history_scope scope, uint32_t index, const char *metric,
                double value, double noise)
{
    history_put(stage->history, scope, index, history_metric(scope, metric),
                value * (1 + noise * chance_normal(&stage->chance)));
}

static void begin(struct stage *stage, uint64_t seed, uint32_t logic, uint32_t db)
{
    *stage = (struct stage){.history = history_new("testbed", WINDOW_MS, 24),
                            .chance = {chance_join(seed, 3)},
                            .end = EPOCH_MS,
                            .logic = logic,
                            .db = db};
    history_block(stage->history, "api");
    history_block(stage->history, "logic");
    history_block(stage->history, "db");
    history_edge(stage->history, API, LOGIC);
    history_edge(stage->history, LOGIC, DB);
}

static void put_replicas(struct stage *stage, uint32_t block, uint32_t replicas, uint32_t maximum)
{
    struct history_block state = history_get_block(stage->history, block);

    state.flags |= VIM_BLOCK_SCALABLE;
    state.desired = state.ready = replicas;
    state.minimum = 1;
    state.maximum = maximum;
    state.quota_cores = block == DB ? TESTBED_DB_CORES : 1;
    history_set_block(stage->history, block, &state);
}

static void pass_window(struct stage *stage)
{
    const struct testbed *now = testbed_solve(stage->logic, stage->db);
    double rate = counted(&stage->chance, now->throughput, WINDOW_S);
    double latency = 1000 * TESTBED_CLIENTS / rate;
    const double noise = 0.02;

    stage->end += WINDOW_MS;
    history_open_window(stage->history, stage->end);
    put_replicas(stage, API, 1, 1);
    put_replicas(stage, LOGIC, stage->logic, TESTBED_MAX);
    put_replicas(stage, DB, stage->db, TESTBED_MAX);
    put(stage, HISTORY_SERVICE, 0, "throughput", rate, 0);
    put(stage, HISTORY_SERVICE, 0, "offered", rate, 0);
    put(stage, HISTORY_SERVICE, 0, "in_flight", TESTBED_CLIENTS, noise / 4);
    put(stage, HISTORY_SERVICE, 0, "latency", latency, noise);
    put(stage, HISTORY_SERVICE, 0, "latency_p95", 1.6 * latency, noise);
    put(stage, HISTORY_BLOCK, API, "cpu", now->cpu_api, noise);
    put(stage, HISTORY_BLOCK, LOGIC, "cpu", now->cpu_logic, noise);
    put(stage, HISTORY_BLOCK, DB, "cpu", now->cpu_db, noise);
    put(stage, HISTORY_BLOCK, API, "in_flight", TESTBED_CLIENTS, noise);
    put(stage, HISTORY_BLOCK, API, "own_in_flight", now->api, noise);
    put(stage, HISTORY_BLOCK, LOGIC, "in_flight", now->logic + now->db, noise);
    put(stage, HISTORY_BLOCK, LOGIC, "own_in_flight", now->logic, noise);
    put(stage, HISTORY_EDGE, 0, "visits", rate, noise);
    put(stage, HISTORY_EDGE, 0, "in_flight", now->logic + now->db, noise);
    put(stage, HISTORY_EDGE, 1, "visits", rate, noise);
    put(stage, HISTORY_EDGE, 1, "in_flight", now->db, noise);
    put(stage, HISTORY_EDGE, 1, "rtt", 0.3, noise);
}

/* --- Equation 3 ------------------------------------------------------------------------------ */

struct scores {
    double logic, db; /* distances */
    double logic_opposite, db_opposite; /* |x' - y'|, to show what the wrong sign gives */
};

static double step_of(const struct history *history, enum history_scope scope, uint32_t index,
                      const char *metric)
{
    uint32_t id = history_metric(scope, metric);
    double before = 0, after = 0;

    for (uint32_t i = 0; i < 12; i++)
        before += history_get(history, scope, index, id, 23 - i) / 12;
    for (uint32_t i = 13; i < 24; i++)
        after += history_get(history, scope, index, id, 23 - i) / 11;
    return after - before;
}

static struct scores score_step(struct sim *sim, uint64_t seed, uint32_t logic)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    struct stage stage;
    struct scores scores;
    double x, most = 0;

    begin(&stage, seed, logic, 1);
    for (uint32_t i = 0; i < 24; i++) {
        stage.logic = i < 12 ? logic : logic + 1;
        pass_window(&stage);
        most = fmax(most, history_get(stage.history, HISTORY_SERVICE, 0, 0, 0));
    }
    history_set_action(stage.history, &(struct history_action){LOGIC, 1, EPOCH_MS + 13 * WINDOW_MS,
                                                               VIM_OUTCOME_UNCLEAR});
    snapshot_build(stage.history, 24, NULL, &snapshot);
    judge(sim->policies[0].instance, &snapshot, 60000, &judgement);
    x = step_of(stage.history, HISTORY_SERVICE, 0, "throughput") / most;
    scores = (struct scores){judgement.scores[LOGIC].similarity, judgement.scores[DB].similarity,
                             fabs(x - step_of(stage.history, HISTORY_BLOCK, LOGIC, "cpu")),
                             fabs(x - step_of(stage.history, HISTORY_BLOCK, DB, "cpu"))};
    history_free(stage.history);
    return scores;
}

int run_eq3(struct sim *sim)
{
    FILE *csv = open_csv(sim->csv, "seed,logic_from,logic_to,similarity_logic,similarity_db");
    uint32_t right = 0, opposite = 0;

    for (uint32_t seed = 0; seed < sim->count; seed++) {
        bool all = true, all_opposite = true;

        for (uint32_t logic = 1; logic < TESTBED_MAX; logic++) {
            struct scores scores =
                score_step(sim, chance_join(chance_join(sim->seed, seed), logic), logic);
            bool db_first = scores.db < scores.logic;
            bool db_opposite = scores.db_opposite < scores.logic_opposite;

            if (csv)
                fprintf(csv, "%u,%u,%u,%.5f,%.5f\n", seed, logic, logic + 1, scores.logic,
                        scores.db);
            if (logic == 2) /* around the peak either may be first */
                continue;
            all = all && db_first == (logic >= 3);
            all_opposite = all_opposite && db_opposite == (logic >= 3);
        }
        right += all;
        opposite += all_opposite;
    }
    print_value("flips_where_it_should", sim->policies[0].label, 100.0 * right / sim->count);
    print_value("flips_where_it_should", "opposite-sign", 100.0 * opposite / sim->count);
    close_csv(csv, sim->csv);
    return 0;
}

/* --- Climbing -------------------------------------------------------------------------------- */

struct climb {
    double reached; /* throughput of the end over that of the best configuration */
    uint32_t harmful, actions;
};

static double best_throughput(void)
{
    double best = 0;

    for (uint32_t logic = 1; logic <= TESTBED_MAX; logic++)
        for (uint32_t db = 1; db <= TESTBED_MAX; db++)
            best = fmax(best, testbed_solve(logic, db)->throughput);
    return best;
}

static void act(struct stage *stage, struct guard *guard, const struct guard_ruling *ruling,
                struct climb *climb)
{
    double before = testbed_solve(stage->logic, stage->db)->throughput;

    if (ruling->block == LOGIC)
        stage->logic = (uint32_t)((int32_t)stage->logic + ruling->delta);
    else
        stage->db = (uint32_t)((int32_t)stage->db + ruling->delta);
    climb->actions++;
    climb->harmful += testbed_solve(stage->logic, stage->db)->throughput < 0.99 * before;
    guard_acted(guard, stage->end, stage->history, ruling);
}

static struct climb climb_from(struct policy *policy, uint64_t seed, uint32_t logic, uint32_t db,
                               FILE *csv)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    char kept[VIM_KEPT_MAX + 1] = "";
    struct guard_event event;
    struct guard guard;
    struct climb climb = {0};
    struct stage stage;

    begin(&stage, seed, logic, db);
    guard_init(&guard, NULL);
    for (int decision = 0; decision <= CLIMB_DECISIONS; decision++) {
        struct guard_ruling ruling;

        for (int i = 0; i < CLIMB_WINDOWS; i++) {
            pass_window(&stage);
            guard_observe(&guard, stage.end, stage.history, &event);
        }
        if (decision == CLIMB_DECISIONS)
            break;
        snapshot_build(stage.history, 24, kept[0] ? kept : NULL, &snapshot);
        judge(policy->instance, &snapshot, 60000, &judgement);
        if (judgement.kept_set)
            memcpy(kept, judgement.kept, sizeof kept);
        ruling = guard_rule(&guard, stage.end, &snapshot, &judgement);
        if (ruling.act)
            act(&stage, &guard, &ruling, &climb);
        if (csv)
            fprintf(csv, "%s,%u,%u,%d,%u,%u,%.2f,\"%s\"\n", policy->label, logic, db, decision,
                    stage.logic, stage.db, testbed_solve(stage.logic, stage.db)->throughput,
                    ruling.text[0] ? ruling.text : judgement.decision.reason);
    }
    /* One that is about to be taken back counts as it stands. */
    climb.reached = testbed_solve(stage.logic, stage.db)->throughput / best_throughput();
    history_free(stage.history);
    return climb;
}

int run_climb(struct sim *sim)
{
    static const uint32_t starts[][2] = {{1, 1}, {3, 1}, {5, 1}, {10, 1}, {10, 3}};
    FILE *csv = open_csv(sim->csv, "policy,from_logic,from_db,decision,logic,db,throughput,why");
    char metric[64];

    for (uint32_t p = 0; p < sim->policy_count; p++)
        for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
            double reached = 0, harmful = 0, least = 2;

            for (uint32_t seed = 0; seed < sim->count; seed++) {
                struct climb climb = climb_from(&sim->policies[p], chance_join(sim->seed, seed),
                                                starts[i][0], starts[i][1], seed == 0 ? csv : NULL);

                reached += climb.reached / sim->count;
                harmful += (double)climb.harmful / sim->count;
                least = fmin(least, climb.reached);
            }
            snprintf(metric, sizeof metric, "reached_from_%u_%u", starts[i][0], starts[i][1]);
            print_value(metric, sim->policies[p].label, reached);
            snprintf(metric, sizeof metric, "least_from_%u_%u", starts[i][0], starts[i][1]);
            print_value(metric, sim->policies[p].label, least);
            snprintf(metric, sizeof metric, "harmful_from_%u_%u", starts[i][0], starts[i][1]);
            print_value(metric, sim->policies[p].label, harmful);
        }
    close_csv(csv, sim->csv);
    return 0;
}
