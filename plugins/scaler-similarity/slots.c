/*
 * A block that holds ten requests may be a processor with a queue of nine, or a pool that serves ten at
 * once: the count alone does not tell. How it changes with the load does. Little's law gives the time of a
 * visit (held over calls); a number of slots says how much of that is waiting at this load, and what is left is
 * the bare time of a visit. With the right number of slots the bare time is the same at all loads; with a wrong one it
 * moves as the load moves. So for each of a few numbers of slots mean and variance of that time are kept, and
 * the one that varies least is believed.
 *
 * All this is learnt over many decisions, and used only when it rests on enough of them.
 */
#include <math.h>

#include "similarity.h"

const double slots_tried[SLOTS_TRIED] = {1, 2, 4, 8, 16};

/* Callers prefer a replica that is less busy: it is as if a few of them shared one queue. */
#define POOLED_MOST 2.0

/* Variances of the logarithm of the time that differ by less do not differ. */
#define VARIANCE_FLOOR 0.001

/* A processor whose time accounts, with its queue, for the time of a visit within this factor binds. */
#define CPU_BINDS 1.7

/* A share of the bare time that something else than the slots may take. */
#define CPU_ASIDE 0.5

/* With more per replica the queue only grows, and its time tells nothing of its bare time. */
#define LEARN_MOST 16.0

/* So many requests per replica are too many, whatever was learnt. */
#define TOO_MANY 3.0

#define HALVINGS 12

double slots_waiting(double slots, double load)
{
    double wait;

    if (!(load < 1))
        return 1;
    wait = pow(load, sqrt(2 * (slots + 1)) - 1) / (slots * (1 - load));
    return wait / (1 + wait);
}

static double pooled(double slots, double replicas)
{
    return slots * (replicas < POOLED_MOST ? replicas : POOLED_MOST);
}

double slots_bare(double visit, double calls, double slots, double replicas)
{
    double low = 0, high = fmin(visit, slots / calls);

    for (int i = 0; i < HALVINGS; i++) {
        double bare = (low + high) / 2;
        double waiting = slots_waiting(pooled(slots, replicas), calls * bare / slots);

        if (bare < visit * (1 - waiting))
            low = bare;
        else
            high = bare;
    }
    return (low + high) / 2;
}

static void learn(struct memory *memory, double visit, double calls, double replicas)
{
    double weight;

    if (!isfinite(log(visit)) || !isfinite(log(calls)))
        return;
    memory->seen += memory->seen < SEEN_MOST;
    weight = 1.0 / memory->seen;
    for (uint32_t i = 0; i < SLOTS_TRIED; i++) {
        struct slots_try *at = &memory->tries[i];
        double away = log(slots_bare(visit, calls, slots_tried[i], replicas)) - at->mean;

        at->mean += weight * away;
        at->variance += weight * ((1 - weight) * away * away - at->variance);
    }
}

static uint32_t find_steadiest(const struct memory *memory)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < SLOTS_TRIED; i++)
        if (memory->tries[i].variance + VARIANCE_FLOOR < memory->tries[best].variance)
            best = i;
    return best;
}

static double calls_of(const struct view *view, uint32_t block, uint32_t from, uint32_t to)
{
    double sum = 0;

    if (view->blocks[block].calls)
        return view_mean(view->blocks[block].calls, from, to);
    for (uint32_t e = 0; e < view->edge_count; e++)
        if (view->edges[e].callee == block)
            sum += view_mean(view->edges[e].visits, from, to);
    return sum;
}

void slots_measure(struct similarity *similarity, uint32_t block)
{
    const struct view *view = &similarity->view;
    const struct vim_policy_block *at = &view->blocks[block];
    struct measure *measure = &similarity->measures[block];
    struct memory *memory = &similarity->memory[block];
    uint32_t windows = view->snapshot.windows, from = similarity->recent, steadiest;
    double calls = calls_of(view, block, from, windows) / at->ready;
    double cpu = view_mean(at->cpu, from, windows), visit, expected;

    if (!(calls > 0) || !(measure->own > 0))
        return;
    visit = measure->own / calls;
    if (at->starting == 0 && at->ready == at->desired && measure->own <= LEARN_MOST)
        learn(memory, visit, calls, at->ready);
    steadiest = find_steadiest(memory);
    memory->slots = slots_tried[steadiest];
    if (memory->seen < SEEN_ENOUGH || measure->own > TOO_MANY * memory->slots + TOO_MANY)
        return;
    /* Would a processor so busy let its visitors stay so long? One that polls would let them stay longer. */
    expected = cpu / calls / (1 - slots_waiting(pooled(1, at->ready), fmin(cpu, 0.98)));
    if (expected <= CPU_BINDS * visit && visit <= CPU_BINDS * expected) {
        memory->slots = 1;
        measure->utilisation = cpu;
    } else {
        double bare = exp(memory->tries[steadiest].mean), computing = cpu / calls;

        /* What it computes, it does outside of the slot. */
        if (computing < CPU_ASIDE * bare)
            bare -= computing;
        measure->utilisation = fmin(0.99, calls * bare / memory->slots);
    }
}
