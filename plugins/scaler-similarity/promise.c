/*
 * How full replicas may be. 0.72 is a guess that fits nobody: one replica that is used by 0.72 lets its visitors wait
 * two and a half times as long as it works for them, eight of them at 0.85 hardly at all, and one service promises five
 * times the bare time where another promises eight.
 *
 * So the promise says it. A load of `a` replicas is given a + s sqrt(a) of them (square-root staffing: what waits
 * depends on s and hardly on a), and s, the spare, is learnt: waiting grows as 1 / s, so where p95 is P of the promise
 * with the spare s, s P / AIM is the one with which it will be AIM.
 */
#include <math.h>
#include <stdio.h>

#include "similarity.h"

/* p95 of a window scatters: its mean has to be so much below the promise. */
#define AIM 0.67

#define SPARE_WEIGHT 0.05
#define SPARE_LEAST 0.1
#define SPARE_MOST 1.0

/* Nothing is learnt of waiting where nobody waits, nor where the queue only grows. */
#define LEARN_LOW 0.35
#define LEARN_HIGH 0.95
#define P95_MOST 2.0

/* A block is saturated when it has so much less to spare than it should have. */
#define SATURATED_SHARE 0.68

/* The spare at which two replicas are used by the target: what is begun with. */
static double spare_by_target(const struct similarity *similarity)
{
    double target = similarity->config->target;

    return (1 - target) * sqrt(2 / target);
}

double promise_spare(double utilisation, double servers)
{
    return utilisation > 0 ? (1 - utilisation) * sqrt(servers / utilisation) : INFINITY;
}

double promise_utilisation(double spare, double servers)
{
    double root = (sqrt(spare * spare + 4 * servers) - spare) / 2;

    return root * root / servers;
}

static double servers_of(const struct similarity *similarity, uint32_t block, double replicas)
{
    const struct memory *memory = &similarity->memory[block];

    return replicas * (memory->seen >= SEEN_ENOUGH ? memory->slots : 1);
}

/* The block that has the least to spare: what it has; infinite if none is known. */
static double least_spare(const struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    double least = INFINITY;

    for (uint32_t i = 0; i < view->block_count; i++) {
        double utilisation = similarity->measures[i].utilisation;
        double servers = servers_of(similarity, i, view->blocks[i].ready);

        if (utilisation >= LEARN_HIGH)
            return INFINITY;
        if (utilisation >= LEARN_LOW)
            least = fmin(least, promise_spare(utilisation, servers));
    }
    return least;
}

void promise_learn(struct similarity *similarity, bool settled)
{
    const struct vim_policy_snapshot *snapshot = &similarity->view.snapshot;
    double p95 = view_mean(snapshot->latency_p95, similarity->recent, snapshot->windows);
    double least = least_spare(similarity), wanted;

    similarity->promised = similarity->tier == VIM_TIER_IN_FLIGHT && snapshot->slo_p95_ms > 0;
    if (isnan(similarity->spare))
        similarity->spare = spare_by_target(similarity);
    if (!similarity->promised || !settled || isnan(p95) || isinf(least))
        return;
    wanted = least * fmin(p95 / snapshot->slo_p95_ms, P95_MOST) / AIM;
    wanted = fmin(SPARE_MOST, fmax(SPARE_LEAST, wanted));
    similarity->spare += SPARE_WEIGHT * (wanted - similarity->spare);
    similarity->spare_seen += similarity->spare_seen < SEEN_ENOUGH;
}

double promise_target(const struct similarity *similarity, uint32_t block, double replicas)
{
    if (!similarity->promised)
        return similarity->config->target;
    return promise_utilisation(similarity->spare, servers_of(similarity, block, replicas));
}

double promise_gate(const struct similarity *similarity, uint32_t block, double replicas)
{
    if (!similarity->promised || similarity->spare_seen < SEEN_ENOUGH)
        return similarity->config->gate;
    return promise_utilisation(SATURATED_SHARE * similarity->spare,
                               servers_of(similarity, block, replicas));
}

const char *promise_remark(const struct similarity *similarity, uint32_t block, char ret_text[80])
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows,
             from = windows > SLO_WINDOWS ? windows - SLO_WINDOWS : 0;
    double p95 = view_mean(view->snapshot.latency_p95, from, windows);
    double promise = view->snapshot.slo_p95_ms;

    if (!(promise > 0 && p95 > promise) ||
        similarity->measures[block].utilisation >=
            promise_gate(similarity, block, view->blocks[block].desired))
        return "";
    (void)snprintf(ret_text, 80, "; p95 of %.0f ms breaks the promise of %.0f ms", p95, promise);
    return ret_text;
}
