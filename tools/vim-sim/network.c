/*
 * The network is slow, or the service overloaded: which of the two? Row S6.
 */
#include <math.h>
#include <string.h>

#include "sim.h"

#define WARM_UP_S 15.0
#define WINDOWS 24

struct record {
    bool slow; /* else overloaded */
    uint32_t edge, block; /* what is to blame */
    uint32_t verdict[POLICIES_MAX], named_edge[POLICIES_MAX], named_block[POLICIES_MAX];
};

static void draw_load(struct chance *chance, struct service *service, double before, double after)
{
    double change = chance_uniform(chance, 50, 80);

    service->load.seconds = (uint32_t)(WARM_UP_S + WINDOWS * WINDOW_S);
    for (uint32_t i = 0; i < service->load.seconds; i++)
        service->load.level[i] = i < change ? before : after;
}

static void draw(uint64_t seed, struct service *service, struct record *record)
{
    struct chance chance = {chance_join(seed, 2)};
    struct service_plan plan = {.blocks_min = 3,
                                .blocks_max = 8,
                                .rate = chance_uniform(&chance, 20, 45),
                                .tie = chance_uniform(&chance, 1.2, 2.5),
                                .headroom = 4,
                                .binds = chance_integer(&chance, 0, 2),
                                .polling = 0.1,
                                .replicas_max = 4};
    double calm;

    service_draw(&chance, &plan, service, &record->block);
    service->slo_p95 = 5 * service_unloaded(service);
    calm = plan.rate * chance_uniform(&chance, 0.45, 0.7);
    record->edge = chance_integer(&chance, 0, service->edge_count - 1);
    if (record->slow) {
        /* A segment that is lost costs a retransmission time-out: round trips of the order of the SLO. */
        struct service_edge *edge = &service->edges[record->edge];

        edge->slow_from = chance_uniform(&chance, 40, 90);
        edge->slow_rtt = service->slo_p95 * chance_uniform(&chance, 0.8, 2.5);
        edge->resent = chance_uniform(&chance, 1, 30);
        draw_load(&chance, service, calm, calm);
    } else {
        if (chance_is(&chance, 0.5)) /* a long way, which nobody is the worse for */
            service->edges[record->edge].rtt = service->edges[record->edge].slow_rtt =
                service_unloaded(service) * chance_uniform(&chance, 0.05, 0.2);
        draw_load(&chance, service, calm, plan.rate * chance_uniform(&chance, 1.1, 1.6));
    }
}

static void run_one(void *argument, uint32_t index, void *ret_record)
{
    static struct snapshot snapshot;
    static struct judgement judgement;
    static struct service service;
    const struct sim *sim = argument;
    struct record *record = ret_record;
    uint64_t seed = chance_join(sim->seed, index);
    struct measurer measurer;
    struct history *history;
    struct events *events;
    struct window window;

    record->slow = index % 2 == 0;
    draw(seed, &service, record);
    history = measure_begin(&service, seed, &measurer);
    events = events_new(&service, seed);
    events_run(events, WARM_UP_S);
    events_window(events, &window);
    for (int i = 1; i <= WINDOWS; i++) {
        events_run(events, WARM_UP_S + i * WINDOW_S);
        events_window(events, &window);
        measure_window(&measurer, &service, &window, EPOCH_MS + i * WINDOW_MS, history);
    }
    events_free(events);
    snapshot_build(history, WINDOWS, NULL, &snapshot);
    for (uint32_t i = 0; i < sim->policy_count; i++) {
        judge(sim->policies[i].instance, &snapshot, 60000, &judgement);
        record->verdict[i] = judgement.decision.verdict;
        record->named_edge[i] = judgement.decision.edge;
        record->named_block[i] = judgement.decision.block;
    }
    history_free(history);
}

static void tell_policy(const struct sim *sim, const struct record *records, uint32_t policy)
{
    const char *label = sim->policies[policy].label;
    uint32_t slow = 0, misled = 0, named = 0, loaded = 0, found = 0, exact = 0;

    for (uint32_t i = 0; i < sim->count; i++) {
        const struct record *record = &records[i];
        bool out = record->verdict[policy] == VIM_SCALE_OUT;

        if (record->slow) {
            slow++;
            misled += out;
            named += record->verdict[policy] == VIM_NOT_SCALABLE &&
                     record->named_edge[policy] == record->edge;
        } else {
            loaded++;
            found += out;
            exact += out && record->named_block[policy] == record->block;
        }
    }
    print_value("false_scale_outs", label, 100.0 * misled / slow);
    print_value("faulty_hop_named", label, 100.0 * named / slow);
    print_value("overload_found", label, 100.0 * found / loaded);
    print_value("overload_found_and_narrowest_block_named", label, 100.0 * exact / loaded);
}

int run_network(struct sim *sim)
{
    struct record *records = parallel_run(sim->count, sim->jobs, sizeof *records, run_one, sim);
    FILE *csv;

    if (!records)
        return 2;
    for (uint32_t i = 0; i < sim->policy_count; i++)
        tell_policy(sim, records, i);
    csv = open_csv(sim->csv, "scenario,slow,policy,verdict,named");
    for (uint32_t i = 0; csv && i < sim->count; i++)
        for (uint32_t p = 0; p < sim->policy_count; p++)
            fprintf(csv, "%u,%d,%s,%s,%d\n", i, records[i].slow, sim->policies[p].label,
                    judge_verdict_name(records[i].verdict[p]),
                    records[i].slow ? records[i].named_edge[p] == records[i].edge
                                    : records[i].named_block[p] == records[i].block);
    close_csv(csv, sim->csv);
    parallel_free(records, sim->count, sizeof *records);
    return 0;
}
