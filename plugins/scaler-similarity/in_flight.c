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

/* Sum over the edges to (callee) or from (caller) BLOCK; NaN if there are none with that series. */
static double sum_edges(const struct view *view, uint32_t block, bool incoming, bool visits,
                        uint32_t at)
{
    double sum = 0;
    bool any = false;

    for (uint32_t e = 0; e < view->edge_count; e++) {
        const struct vim_policy_edge *edge = &view->edges[e];
        double value = view_at(visits ? edge->visits : edge->in_flight, at);

        if ((incoming ? edge->callee : edge->caller) == block && !isnan(value)) {
            sum += value;
            any = true;
        }
    }
    return any ? sum : NAN;
}

static double network_of(const struct vim_policy_edge *edge, uint32_t at)
{
    double visits = view_at(edge->visits, at), rtt = view_at(edge->rtt, at);

    return isnan(visits) || isnan(rtt) ? 0 : visits * rtt / 1000;
}

/* Requests in a block, its callees' included; of a foreign one what its callers see. */
static double total_of(const struct view *view, uint32_t block, uint32_t at)
{
    double total = view_at(view->blocks[block].in_flight, at);

    if (isnan(total) && !view->blocks[block].in_flight) {
        total = sum_edges(view, block, true, false, at);
        for (uint32_t e = 0; e < view->edge_count; e++)
            if (view->edges[e].callee == block && !isnan(total))
                total -= network_of(&view->edges[e], at);
        total = total < 0 ? 0 : total;
    }
    return total;
}

static double own_of(const struct view *view, uint32_t block, double total, uint32_t at)
{
    double own = view_at(view->blocks[block].own_in_flight, at), callees;

    if (!isnan(own) || view->blocks[block].own_in_flight)
        return own;
    callees = sum_edges(view, block, false, false, at);
    if (isnan(callees))
        return total;
    return total > callees ? total - callees : 0;
}

/* Share of what is under way on an edge that is in the network. */
static double network_share(const struct view *view, const struct vim_policy_edge *edge,
                            uint32_t at)
{
    double under_way = view_at(edge->in_flight, at), visits = view_at(edge->visits, at);
    double there = view_at(view->blocks[edge->callee].in_flight, at);
    double all = sum_edges(view, edge->callee, true, true, at);
    double share = 0, by_rtt, by_difference;

    if (!(under_way > 0))
        return 0;
    by_rtt = network_of(edge, at) / under_way;
    if (!isnan(there) && visits > 0 && all > 0) {
        by_difference = 1 - there * (visits / all) / under_way;
        share = by_difference > DIFFERENCE_FLOOR ? by_difference : 0;
    }
    share = by_rtt > share ? by_rtt : share;
    return share > 1 ? 1 : share;
}

/* Hands BLOCKED requests, which wait for what BLOCK's threads wait for, on to its callees. */
static void hand_on(struct similarity *similarity, uint32_t block, double blocked, uint32_t at,
                    bool recent, double extra[VIEW_BLOCKS_MAX])
{
    const struct view *view = &similarity->view;
    double all = sum_edges(view, block, false, false, at);

    for (uint32_t e = 0; e < view->edge_count; e++) {
        const struct vim_policy_edge *edge = &view->edges[e];
        double under_way = view_at(edge->in_flight, at), share, part;

        if (edge->caller != block || !(under_way > 0))
            continue;
        share = network_share(view, edge, at);
        part = all > 0 ? blocked * under_way / all : 0;
        extra[edge->callee] += part * (1 - share);
        if (recent)
            similarity->waits[e] += (under_way + part) * share / RECENT_WINDOWS;
    }
}

static void measure_window(struct similarity *similarity, uint32_t at, bool recent)
{
    const struct view *view = &similarity->view;
    double extra[VIEW_BLOCKS_MAX] = {0};

    for (uint32_t i = 0; i < view->block_count; i++) {
        uint32_t block = similarity->topology[i];
        double total = total_of(view, block, at), own = own_of(view, block, total, at);
        double queued = view_at(view->blocks[block].thread_queue, at), share, in_use;

        queued = isnan(queued) ? 0 : queued;
        in_use = total - queued;
        share = in_use > 0 ? own / in_use : 1;
        share = isnan(share) || share > 1 ? 1 : share;
        queued += extra[block];
        similarity->held[block][at] = own + queued * share;
        hand_on(similarity, block, queued * (1 - share), at, recent, extra);
    }
}

void in_flight_measure(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows;

    order_topology(similarity);
    memset(similarity->waits, 0, sizeof similarity->waits);
    for (uint32_t at = 0; at < windows; at++) {
        similarity->performance[at] = -view_at(view->snapshot.in_flight, at);
        measure_window(similarity, at, at + RECENT_WINDOWS >= windows);
    }
}
