/*
 * A block that holds ten requests may be a processor with a queue of nine, or a pool that serves ten at
 * once: the count alone does not tell. The time of a visit does. Little's law gives it (held over calls),
 * its least is the bare service, and what a visit takes longer than that is waiting. How many slots there
 * are follows from how much waits at which load.
 *
 * All this is learnt over many decisions, and used only when it rests on enough of them.
 */
#include <math.h>

#include "similarity.h"

#define SLOTS_MAX 16

/* The bare time follows a shorter visit quickly, and a longer one slowly: services change. */
#define FASTER 0.2
#define SLOWER 0.004

/* Below it nothing can be said of what waits. */
#define WAITING_LEAST 0.25
#define SLOTS_WEIGHT 0.1

/* A share of the processor's time within this factor of the requests' own account for it. */
#define CPU_BINDS 0.7

/* Balanced queues are shorter than those of single servers, so utilisation by requests comes out too low,
 * but not by more than this. */
#define CPU_ABOVE 0.2

/* With more per replica it is saturated, and the time of a visit tells nothing of its bare time. */
#define LEARN_MOST 8.0

/* So many requests per replica are too many, whatever was learnt. */
#define TOO_MANY 3.0

double slots_waiting(double slots, double load)
{
    double wait;

    if (!(load < 1))
        return 1;
    wait = pow(load, sqrt(2 * (slots + 1)) - 1) / (slots * (1 - load));
    return wait / (1 + wait);
}

/* The number of slots that fits best to so much waiting with so many in service. */
static double fit_slots(double in_service, double waiting)
{
    double best = 1, least = INFINITY;

    for (int slots = 1; slots <= SLOTS_MAX; slots++) {
        double away = fabs(slots_waiting(slots, in_service / slots) - waiting);

        if (in_service < slots && away < least) {
            least = away;
            best = slots;
        }
    }
    return best;
}

static void learn(struct memory *memory, double visit, double calls)
{
    double in_service, waiting;

    if (isnan(memory->service))
        memory->service = visit;
    memory->service += (visit < memory->service ? FASTER : SLOWER) * (visit - memory->service);
    memory->seen += memory->seen < SEEN_ENOUGH;
    in_service = calls * memory->service;
    waiting = 1 - memory->service / visit;
    if (waiting >= WAITING_LEAST)
        memory->slots += SLOTS_WEIGHT * (fit_slots(in_service, waiting) - memory->slots);
    else if (in_service > 0.8 * memory->slots)
        memory->slots = fmin(SLOTS_MAX, in_service / 0.8);
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
    uint32_t windows = view->snapshot.windows, from = similarity->recent;
    double calls = calls_of(view, block, from, windows) / at->ready;
    double cpu = view_mean(at->cpu, from, windows), load, in_service;

    if (!(calls > 0) || !(measure->own > 0))
        return;
    if (at->starting == 0 && at->ready == at->desired && measure->own <= LEARN_MOST)
        learn(memory, measure->own / calls, calls);
    if (memory->seen < SEEN_ENOUGH || measure->own > TOO_MANY * memory->slots + TOO_MANY)
        return;
    in_service = calls * memory->service;
    load = in_service / memory->slots;
    /* A processor that accounts for most of what is in service is what binds; one that is busier than
     * that polls. */
    if (cpu >= CPU_BINDS * in_service && cpu <= in_service / CPU_BINDS &&
        cpu <= measure->utilisation + CPU_ABOVE)
        measure->utilisation = cpu;
    else if (load < measure->utilisation)
        measure->utilisation = load;
}
