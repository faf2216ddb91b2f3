/*
 * The loop closed: 20 minutes of a load that changes, a policy behind the host's safety rules, and an
 * oracle that knows the service and the load to come. Rows S7 and S8, and traces for vim-replay.
 */
#include <math.h>
#include <string.h>

#include "scaler/trace.h"
#include "sim.h"

#define SECONDS 1200
#define COUNT_FROM 60 /* seconds: what comes before belongs to the beginning, not to the policy */
#define STEPS (SECONDS / 5)
#define PATTERNS 5

/* Utilisations among which the oracle finds the highest that keeps the SLO. */
static const double levels[] = {0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5};
#define LEVEL_COUNT ((int)(sizeof levels / sizeof levels[0]))

#define ORACLE_VIOLATED 0.01
#define ORACLE_PATIENCE 30 /* seconds that replicas have to be superfluous */

struct result {
    double violated; /* share of windows */
    double replica_hours;
    uint32_t reversals, actions, rollbacks;
};

struct record {
    struct result oracle;
    double oracle_level;
    struct result results[POLICIES_MAX];
};

/* --- Scenarios ------------------------------------------------------------------------------- */

/* From 0 to 1 within SECONDS_LONG seconds from FROM on: nobody's load jumps. */
static double rise(double t, double from, double seconds_long)
{
    double share = (t - from) / seconds_long;

    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static double pattern_at(uint32_t pattern, double t, const double draws[4])
{
    double phase = 6.2832 * (t / SECONDS + draws[0]);

    switch (pattern) {
    case 0: /* a day */
        return 0.5 - 0.5 * cos(phase);
    case 1: /* steps */
        return 0.2 + 0.8 * rise(t, 250 + 200 * draws[1], 40 + 80 * draws[3]) -
               0.6 * rise(t, 750 + 200 * draws[2], 60);
    case 2: /* up, and down */
        return t < 600 ? t / 600 : 1 - 0.8 * (t - 600) / 600;
    case 3: /* peaks */
        t = fmod(t + 400 * draws[1], 400);
        return 0.3 + 0.7 * rise(t, 50, 40 + 60 * draws[3]) -
               0.7 * rise(t, 180 + 100 * draws[2], 60);
    default: /* two rhythms */
        return 0.5 - 0.3 * cos(phase) - 0.2 * cos(3.7 * phase + 6 * draws[3]);
    }
}

static void draw_scenario(const struct sim *sim, uint64_t seed, struct service *service)
{
    struct chance chance = {chance_join(seed, 4)};
    double kind = chance_uniform(&chance, 0, 1), low, high, draws[4];
    uint32_t pattern = chance_integer(&chance, 0, PATTERNS - 1), narrowest;
    struct service_plan plan = {.blocks_min = 3,
                                .blocks_max = 6,
                                .rate = chance_uniform(&chance, 8, 14),
                                .tie = chance_uniform(&chance, 1.05, 2),
                                .headroom = 4,
                                .only_cpu = sim->only_cpu,
                                .polling = sim->only_cpu ? 0 : 0.15,
                                .replicas_max = 1};

    plan.binds = sim->only_cpu || kind < 0.6 ? BIND_CPU : kind < 0.8 ? BIND_LOCK : BIND_POOL;
    service_draw(&chance, &plan, service, &narrowest);
    service->startup = chance_uniform(&chance, 6, 15);
    service->slo_p95 = chance_uniform(&chance, 5, 8) * service_unloaded(service);
    low = plan.rate * chance_uniform(&chance, 0.4, 0.9);
    high = plan.rate * chance_uniform(&chance, 2, 5);
    for (int i = 0; i < 4; i++)
        draws[i] = chance_uniform(&chance, 0, 1);
    service->load.seconds = SECONDS;
    for (uint32_t i = 0; i < SECONDS; i++)
        service->load.level[i] = low + (high - low) * fmax(0, pattern_at(pattern, i, draws));
    for (uint32_t i = 0; i < service->block_count; i++)
        service->blocks[i].replicas =
            (uint32_t)ceil(service->load.level[0] / (0.72 * service->blocks[i].capacity));
}

/* --- Running --------------------------------------------------------------------------------- */

struct course {
    const struct service *service;
    struct events *events;
    struct window window;
    struct result result;
    uint32_t counted, violated;
    int32_t last[SERVICE_BLOCKS]; /* direction of the last action */
};

static void begin(struct course *course, const struct service *service, uint64_t seed)
{
    *course = (struct course){.service = service, .events = events_new(service, seed)};
}

static void pass_window(struct course *course, int step)
{
    const struct window *window = &course->window;

    events_run(course->events, (step + 1) * WINDOW_S);
    events_window(course->events, &course->window);
    if ((step + 1) * WINDOW_S <= COUNT_FROM)
        return;
    course->counted++;
    course->violated += window->p95 > course->service->slo_p95 || window->errors > 0 ||
                        (isnan(window->p95) && window->offered > 0);
    course->result.replica_hours += window->replica_seconds / 3600;
}

static void scale(struct course *course, uint32_t block, int32_t delta)
{
    int32_t direction = delta > 0 ? 1 : -1;

    events_scale(course->events, block, delta);
    course->result.actions++;
    course->result.reversals += course->last[block] == -direction;
    course->last[block] = direction;
}

static struct result end(struct course *course)
{
    course->result.violated = (double)course->violated / course->counted;
    events_free(course->events);
    return course->result;
}

/* --- The oracle ------------------------------------------------------------------------------ */

static uint32_t oracle_need(const struct service *service, uint32_t block, double level,
                            double from, double seconds)
{
    double most = 0;

    for (double t = from; t <= from + seconds && t < SECONDS; t++)
        most = fmax(most, service->load.level[(uint32_t)t]);
    return (uint32_t)fmax(1, ceil(most / (level * service->blocks[block].capacity)));
}

static struct result run_oracle(const struct service *service, uint64_t seed, double level)
{
    static struct service copy;
    struct course course;

    copy = *service;
    for (uint32_t i = 0; i < copy.block_count; i++)
        copy.blocks[i].replicas = oracle_need(service, i, level, 0, copy.startup + WINDOW_S);
    begin(&course, &copy, seed);
    for (int step = 0; step < STEPS; step++) {
        double now = (step + 1) * WINDOW_S;

        pass_window(&course, step);
        for (uint32_t i = 0; i < copy.block_count; i++) {
            uint32_t has = course.window.blocks[i].desired;
            uint32_t soon = oracle_need(service, i, level, now, copy.startup + WINDOW_S);
            uint32_t later = oracle_need(service, i, level, now, ORACLE_PATIENCE);

            if (soon > has)
                scale(&course, i, (int32_t)(soon - has));
            else if (later < has)
                scale(&course, i, (int32_t)later - (int32_t)has);
        }
    }
    return end(&course);
}

/* The cheapest course that keeps the SLO for 99 % of the time: the highest level, found by halving. */
static void find_oracle(const struct service *service, uint64_t seed, struct record *record)
{
    int good = LEVEL_COUNT - 1, low = 0, high = LEVEL_COUNT - 1;
    bool known = false;

    while (low <= high) {
        int middle = (low + high) / 2;
        struct result result = run_oracle(service, seed, levels[middle]);

        if (result.violated <= ORACLE_VIOLATED) {
            record->oracle = result;
            good = middle;
            known = true;
            high = middle - 1;
        } else {
            low = middle + 1;
        }
    }
    if (!known)
        record->oracle = run_oracle(service, seed, levels[good]);
    record->oracle_level = levels[good];
}

/* --- Policies -------------------------------------------------------------------------------- */

struct writing {
    FILE *trace, *labels;
};

/* The block that is fullest, if it is so full that it has to grow; else "none". */
static void write_label(const struct writing *writing, const struct course *course, int64_t now)
{
    const struct service *service = course->service;
    uint32_t fullest = 0;
    double most = 0;

    for (uint32_t i = 0; i < service->block_count; i++) {
        double load =
            course->window.offered / (course->window.blocks[i].ready * service->blocks[i].capacity);

        if (load > most) {
            most = load;
            fullest = i;
        }
    }
    fprintf(writing->labels, "%lld,%s\n", (long long)now,
            most > 0.9 ? service->blocks[fullest].name : "none");
}

static struct result run_policy(const struct service *service, uint64_t seed,
                                const struct policy *policy, const struct writing *writing)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    static char kept[VIM_KEPT_MAX + 1];
    struct measurer measurer;
    struct history *history = measure_begin(service, seed, &measurer);
    struct guard_event event;
    struct guard guard;
    struct course course;

    guard_init(&guard, NULL);
    begin(&course, service, seed);
    kept[0] = '\0';
    for (int step = 0; step < STEPS; step++) {
        int64_t now = EPOCH_MS + (step + 1) * WINDOW_MS;
        struct guard_ruling ruling;

        pass_window(&course, step);
        measure_window(&measurer, service, &course.window, now, history);
        guard_observe(&guard, now, history, &event);
        if (writing) {
            trace_write_window(writing->trace, history, 0);
            write_label(writing, &course, now);
        }
        snapshot_build(history, 24, kept[0] ? kept : NULL, &snapshot);
        judge(policy->instance, &snapshot, 60000, &judgement);
        if (judgement.kept_set)
            memcpy(kept, judgement.kept, sizeof kept);
        ruling = guard_rule(&guard, now, &snapshot, &judgement);
        if (!ruling.act)
            continue;
        course.result.rollbacks += ruling.own;
        scale(&course, ruling.block, ruling.delta);
        guard_acted(&guard, now, history, &ruling);
    }
    history_free(history);
    return end(&course);
}

static void run_one(void *argument, uint32_t index, void *ret_record)
{
    static struct service service;
    const struct sim *sim = argument;
    struct record *record = ret_record;
    uint64_t seed = chance_join(sim->seed, index);

    draw_scenario(sim, seed, &service);
    find_oracle(&service, seed, record);
    for (uint32_t i = 0; i < sim->policy_count; i++)
        record->results[i] = run_policy(&service, seed, &sim->policies[i], NULL);
}

static void tell(const char *label, const struct record *records, uint32_t count, int policy)
{
    double violated = 0, hours = 0, oracle = 0, reversals = 0, actions = 0, rollbacks = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct result *result = policy < 0 ? &records[i].oracle : &records[i].results[policy];

        violated += 100 * result->violated / count;
        hours += result->replica_hours;
        oracle += records[i].oracle.replica_hours;
        reversals += (double)result->reversals / count;
        actions += (double)result->actions / count;
        rollbacks += (double)result->rollbacks / count;
    }
    print_value("slo_violated", label, violated);
    print_value("replica_hours", label, hours);
    print_value("replica_hours_over_oracle", label, hours / oracle);
    print_value("reversals", label, reversals);
    print_value("actions", label, actions);
    print_value("rollbacks_and_probes", label, rollbacks);
}

int run_loop(struct sim *sim)
{
    struct record *records = parallel_run(sim->count, sim->jobs, sizeof *records, run_one, sim);
    FILE *csv;

    if (!records)
        return 2;
    tell("oracle", records, sim->count, -1);
    for (uint32_t i = 0; i < sim->policy_count; i++)
        tell(sim->policies[i].label, records, sim->count, (int)i);
    csv =
        open_csv(sim->csv, "scenario,policy,violated,replica_hours,oracle_hours,reversals,actions");
    for (uint32_t i = 0; csv && i < sim->count; i++)
        for (uint32_t p = 0; p < sim->policy_count; p++) {
            const struct result *result = &records[i].results[p];

            fprintf(csv, "%u,%s,%.4f,%.4f,%.4f,%u,%u\n", i, sim->policies[p].label,
                    result->violated, result->replica_hours, records[i].oracle.replica_hours,
                    result->reversals, result->actions);
        }
    close_csv(csv, sim->csv);
    parallel_free(records, sim->count, sizeof *records);
    return 0;
}

/* One scenario, as vimd would record it: the trace of the first policy's course. */
int run_record(struct sim *sim)
{
    static struct service service;
    struct writing writing;

    if (!sim->csv || !sim->labels) {
        fprintf(stderr, "vim-sim: record needs --csv and --labels\n");
        return 2;
    }
    writing.trace = open_csv(sim->csv, "t_ms,scope,name,metric,value");
    writing.labels = open_csv(sim->labels, "t_ms,block");
    draw_scenario(sim, sim->seed, &service);
    run_policy(&service, sim->seed, &sim->policies[0], &writing);
    close_csv(writing.trace, sim->csv);
    close_csv(writing.labels, sim->labels);
    return 0;
}
