/*
 * Who holds the requests that are in the system. By Little's law the sum over all blocks of what each
 * holds itself is N, so that performance (-N) and usage have one unit.
 *
 * A block holds what it works on and what waits for its processor, lock or pool, and does not wait for a
 * callee. Of those that wait for one of its threads it holds the share of threads that work (s); the
 * others really wait for what the threads wait for. Where edges are measured they are handed on to the
 * callees, in proportion to the calls under way, and so on down (chosen: without it a bottleneck behind a
 * full thread pool looks smaller than its caller). What is under way on an edge and not at the callee is
 * in the network.
 */
#include <math.h>
#include <string.h>

#include "similarity.h"

/* What the edge tells beyond the callee's own count is taken for network only above this share: both
 * numbers are measured by different processes, at not quite the same time. */
#define DIFFERENCE_FLOOR 0.25

bool in_flight_is_measured(const struct view *view)
{
    if (!view->snapshot.in_flight)
        return false;
    for (uint32_t i = 0; i < view->block_count; i++)
        if (view->blocks[i].own_in_flight || view->blocks[i].in_flight)
            return true;
    return false;
}

static void order_topology(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    bool placed[VIEW_BLOCKS_MAX] = {false};
    uint32_t count = 0;

    while (count < view->block_count) {
        uint32_t next = VIM_NO_INDEX;

        for (uint32_t i = 0; i < view->block_count && next == VIM_NO_INDEX; i++) {
            bool waits = placed[i];

            for (uint32_t e = 0; e < view->edge_count && !waits; e++)
                waits = view->edges[e].callee == i && !placed[view->edges[e].caller] &&
                        view->edges[e].caller != i;
            if (!waits)
                next = i;
        }
        /* A circle of calls is broken at its first name. */
        for (uint32_t i = 0; i < view->block_count && next == VIM_NO_INDEX; i++)
            if (!placed[i])
                next = i;
        placed[next] = true;
        similarity->topology[count++] = next;
    }
}

/* One window of all edges: looked up once, for all that need them. */
struct calls {
    double under_way[VIEW_EDGES_MAX], visits[VIEW_EDGES_MAX], network[VIEW_EDGES_MAX];
    /* Per block; NaN where no edge has that series. */
    double outgoing[VIEW_BLOCKS_MAX]; /* calls that it has under way */
    double incoming[VIEW_BLOCKS_MAX]; /* calls that are under way to it */
    double visited[VIEW_BLOCKS_MAX]; /* per second */
    double incoming_network[VIEW_BLOCKS_MAX];
};

static void add(double *sum, double value)
{
    if (!isnan(value))
        *sum = isnan(*sum) ? value : *sum + value;
}

static void look_at_calls(const struct view *view, uint32_t at, struct calls *ret_calls)
{
    struct calls *calls = ret_calls;

    for (uint32_t i = 0; i < view->block_count; i++) {
        calls->outgoing[i] = calls->incoming[i] = calls->visited[i] = NAN;
        calls->incoming_network[i] = 0;
    }
    for (uint32_t e = 0; e < view->edge_count; e++) {
        const struct vim_policy_edge *edge = &view->edges[e];
        double rtt = view_at(edge->rtt, at);

        calls->under_way[e] = view_at(edge->in_flight, at);
        calls->visits[e] = view_at(edge->visits, at);
        /* One round trip for a call at least; what TCP has seen is more where a call goes to and fro several times, and
         * less where calls share a connection. */
        calls->network[e] =
            isnan(calls->visits[e]) || isnan(rtt) ? 0 : calls->visits[e] * rtt / 1000;
        calls->network[e] = fmax(calls->network[e], view_at(edge->network, at));
        add(&calls->outgoing[edge->caller], calls->under_way[e]);
        add(&calls->incoming[edge->callee], calls->under_way[e]);
        add(&calls->visited[edge->callee], calls->visits[e]);
        calls->incoming_network[edge->callee] += calls->network[e];
    }
}

/* Requests in a block, its callees' included; of a foreign one what its callers see. */
static double total_of(const struct view *view, const struct calls *calls, uint32_t block,
                       uint32_t at)
{
    double total;

    if (view->blocks[block].in_flight)
        return view_at(view->blocks[block].in_flight, at);
    total = calls->incoming[block] - calls->incoming_network[block];
    return total < 0 ? 0 : total;
}

static double own_of(const struct view *view, const struct calls *calls, uint32_t block,
                     double total, uint32_t at)
{
    double callees = calls->outgoing[block];

    if (view->blocks[block].own_in_flight)
        return view_at(view->blocks[block].own_in_flight, at);
    if (isnan(callees))
        return total;
    return total > callees ? total - callees : 0;
}

/* Share of what is under way on an edge that is in the network. */
static double network_share(const struct view *view, const struct calls *calls, uint32_t edge,
                            uint32_t at)
{
    uint32_t callee = view->edges[edge].callee;
    double there = view_at(view->blocks[callee].in_flight, at), share = 0, by_rtt, by_difference;

    by_rtt = calls->network[edge] / calls->under_way[edge];
    if (!isnan(there) && calls->visits[edge] > 0 && calls->visited[callee] > 0) {
        by_difference =
            1 - there * (calls->visits[edge] / calls->visited[callee]) / calls->under_way[edge];
        share = by_difference > DIFFERENCE_FLOOR ? by_difference : 0;
    }
    share = by_rtt > share ? by_rtt : share;
    return share > 1 ? 1 : share;
}

/* Hands BLOCKED requests, which wait for what BLOCK's threads wait for, on to its callees. Edges come in
 * the order of their callers. */
static void hand_on(struct similarity *similarity, const struct calls *calls, uint32_t block,
                    double blocked, uint32_t at, bool recent, double extra[VIEW_BLOCKS_MAX])
{
    const struct view *view = &similarity->view;
    double all = calls->outgoing[block];

    for (uint32_t e = similarity->first_edge[block];
         e < view->edge_count && view->edges[e].caller == block; e++) {
        double share, part;

        if (!(calls->under_way[e] > 0))
            continue;
        share = network_share(view, calls, e, at);
        part = all > 0 ? blocked * calls->under_way[e] / all : 0;
        extra[view->edges[e].callee] += part * (1 - share);
        if (recent)
            similarity->waits[e] += (calls->under_way[e] + part) * share / RECENT_WINDOWS;
    }
}

static void measure_window(struct similarity *similarity, uint32_t at, bool recent)
{
    const struct view *view = &similarity->view;
    double extra[VIEW_BLOCKS_MAX] = {0};
    struct calls calls;

    look_at_calls(view, at, &calls);
    for (uint32_t i = 0; i < view->block_count; i++) {
        uint32_t block = similarity->topology[i];
        double total = total_of(view, &calls, block, at);
        double own = own_of(view, &calls, block, total, at);
        double queued = view_at(view->blocks[block].thread_queue, at), share, in_use;

        queued = isnan(queued) ? 0 : queued;
        /* Threads work or wait for a callee. The difference of two large numbers, each a little off,
         * is the last resort. */
        in_use = isnan(calls.outgoing[block]) ? total - queued : own + calls.outgoing[block];
        share = in_use > 0 ? own / in_use : 1;
        share = isnan(share) || share > 1 ? 1 : share;
        queued += extra[block];
        similarity->held[block][at] = own + queued * share;
        hand_on(similarity, &calls, block, queued * (1 - share), at, recent, extra);
    }
}

void in_flight_measure(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows;

    for (uint32_t i = 0; i < view->block_count; i++)
        similarity->first_edge[i] = VIM_NO_INDEX;
    order_topology(similarity);
    for (uint32_t e = view->edge_count; e-- > 0;)
        similarity->first_edge[view->edges[e].caller] = e;
    memset(similarity->waits, 0, sizeof similarity->waits);
    for (uint32_t at = 0; at < windows; at++) {
        similarity->performance[at] = -view_at(view->snapshot.in_flight, at);
        measure_window(similarity, at, at + RECENT_WINDOWS >= windows);
    }
}
