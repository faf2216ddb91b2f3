/*
 * From measures to a decision: which block, whether at all, by how many, and the sentence why.
 */
#include <math.h>
#include <string.h>
#include <vim/sdk.h>

#include "similarity.h"

/* The network has to hold so much of all requests before it is to blame. */
#define NETWORK_SHARE 0.4

#define DRAIN_WINDOWS 8u

/* The load to come keeps a block at most so many times as busy as it is: what says more was learnt with other requests. */
#define COMING_MOST 4

static const char *tier_remark(const struct similarity *similarity)
{
    static const char *const remarks[] = {" (by processor share alone)", " (by pressure)", ""};

    return similarity->literal ? "" : remarks[similarity->tier];
}

/* --- Which signals --------------------------------------------------------------------------- */

static bool has_source(const struct similarity *similarity, uint32_t block)
{
    const struct view *view = &similarity->view;
    const struct vim_policy_block *at = &view->blocks[block];

    if (at->ready == 0)
        return false;
    if (similarity->literal || similarity->tier < VIM_TIER_IN_FLIGHT)
        return at->cpu || (similarity->tier == VIM_TIER_PRESSURE && at->pressure_cpu);
    if (at->own_in_flight || at->in_flight)
        return true;
    for (uint32_t e = 0; e < view->edge_count; e++)
        if (view->edges[e].callee == block && view->edges[e].in_flight)
            return true;
    return false;
}

static enum vim_policy_tier find_tier(const struct similarity *similarity)
{
    if (similarity->literal)
        return VIM_TIER_CPU;
    if (in_flight_is_measured(&similarity->view))
        return VIM_TIER_IN_FLIGHT;
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (similarity->view.blocks[i].pressure_cpu)
            return VIM_TIER_PRESSURE;
    return VIM_TIER_CPU;
}

/* Share of the windows without a value; what could be held over a gap is in HELD already. */
static double missing_in(const double *held, uint32_t windows)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < windows; i++)
        missing += isnan(held[i]) ? 1 : 0;
    return (double)missing / windows;
}

/* The name of what is measured, but too thinly; NULL if all is well. */
static const char *find_thin(const struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows;
    bool little = similarity->tier == VIM_TIER_IN_FLIGHT;
    const double *needed = little ? view->snapshot.in_flight : view->snapshot.throughput;

    if (!needed || view_missing(needed, windows) >= 0.3)
        return little ? "requests in flight" : "throughput";
    for (uint32_t i = 0; i < view->block_count; i++)
        if (has_source(similarity, i) && missing_in(similarity->held[i], windows) >= 0.3)
            return view->blocks[i].name;
    return NULL;
}

/* --- Measures -------------------------------------------------------------------------------- */

/* At least two windows; the one in which replicas became ready is still partly of before. */
static uint32_t find_recent(const struct view *view)
{
    uint32_t windows = view->snapshot.windows, from = windows - RECENT_WINDOWS;
    uint32_t ready = view->snapshot.last.window + 1;

    if (view->last == VIM_NO_INDEX || ready <= from || ready > windows)
        return from;
    return ready + 2 > windows ? windows - 2 : ready;
}

static void measure_level(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows, from = similarity->recent;
    double sum = 0;

    for (uint32_t i = 0; i < view->block_count; i++) {
        struct measure *measure = &similarity->measures[i];
        double now = equation_mean(similarity->held[i], from, windows);
        double cpu = view_mean(view->blocks[i].cpu, from, windows);

        if (!has_source(similarity, i) || isnan(now)) {
            measure->gates |= VIM_GATE_NO_DATA;
            measure->level = NAN;
            continue;
        }
        measure->growth = now - equation_mean(similarity->held[i], 0, RECENT_WINDOWS);
        measure->level = now;
        sum += now;
        if (!similarity->literal && similarity->tier == VIM_TIER_IN_FLIGHT) {
            measure->own = now / view->blocks[i].ready;
            measure->utilisation = measure->own / (1 + measure->own);
            slots_measure(similarity, i);
        } else {
            measure->utilisation = cpu > now || similarity->literal ? cpu : now;
        }
    }
    for (uint32_t i = 0; i < view->block_count; i++)
        if (!isnan(similarity->measures[i].level))
            similarity->measures[i].level = sum > 0 ? similarity->measures[i].level / sum : 0;
}

static void measure_scores(struct similarity *similarity)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++) {
        struct measure *measure = &similarity->measures[i];
        double distance = isnan(measure->distance) ? 0 : measure->distance * similarity->change;

        measure->score = similarity->literal
                             ? -measure->distance
                             : similarity->config->level_weight * measure->level - distance;
        if (isinf(measure->score))
            measure->score = NAN;
    }
}

/* Throughput with one replica more over that of now: until the next block is full (operational laws). */
static double predict_gain(const struct similarity *similarity, uint32_t block)
{
    const struct view *view = &similarity->view;
    double most = (view->blocks[block].ready + 1.0) / view->blocks[block].ready;
    double mine = similarity->measures[block].utilisation;

    if (isnan(mine) || view->blocks[block].ready == 0)
        return NAN;
    for (uint32_t i = 0; i < view->block_count; i++) {
        double other = similarity->measures[i].utilisation;

        if (i != block && other > 0 && mine / other < most)
            most = mine / other;
    }
    return most > 1 ? most - 1 : 0;
}

static void fill_scores(struct similarity *similarity, struct vim_policy_decision *decision)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++) {
        const struct measure *measure = &similarity->measures[i];
        struct vim_policy_score *score = view_score(&similarity->view, decision, i);

        if (score)
            *score = (struct vim_policy_score){
                measure->score, measure->distance,           measure->utilisation,
                measure->level, predict_gain(similarity, i), measure->need,
                measure->gates};
    }
}

/* --- Ranking --------------------------------------------------------------------------------- */

/* Is block A to be preferred to B? Scores within the tie are equal: then saturation, level, name. */
static bool is_before(const struct similarity *similarity, uint32_t a, uint32_t b, double best)
{
    const struct measure *x = &similarity->measures[a], *y = &similarity->measures[b];
    double tie = similarity->config->tie * fabs(best);
    bool x_ties = x->score >= best - tie, y_ties = y->score >= best - tie;

    if (x_ties != y_ties)
        return x_ties;
    if (!x_ties && x->score != y->score)
        return x->score > y->score;
    if (x->utilisation != y->utilisation)
        return x->utilisation > y->utilisation;
    if (x->level != y->level)
        return x->level > y->level;
    return a < b;
}

/* The first of all blocks that have a score and none of GATES; VIM_NO_INDEX if there is none. */
static uint32_t find_first(const struct similarity *similarity, uint32_t gates)
{
    uint32_t first = VIM_NO_INDEX;
    double best = -INFINITY;

    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (!isnan(similarity->measures[i].score) && !(similarity->measures[i].gates & gates) &&
            similarity->measures[i].score > best)
            best = similarity->measures[i].score;
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (!isnan(similarity->measures[i].score) && !(similarity->measures[i].gates & gates) &&
            (first == VIM_NO_INDEX || is_before(similarity, i, first, best)))
            first = i;
    return first;
}

static double confidence_of(const struct similarity *similarity, uint32_t block)
{
    double mine = similarity->measures[block].score, next = -INFINITY, margin;

    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (i != block && similarity->measures[i].score > next)
            next = similarity->measures[i].score;
    if (isinf(next))
        return 1;
    margin = (mine - next) / (fabs(mine) + fabs(next) + 0.1);
    return !(margin > 0) ? 0 : margin > 1 ? 1 : margin; /* NaN: of infinite values */
}

/* --- Gates ----------------------------------------------------------------------------------- */

/* Has it replicas enough for the load, and only what is left of an overload is being worked off? There has to have been
 * one, of a load that was larger or of replicas that were fewer. It is believed while what is left gets less, and for a
 * while after an action. */
static bool is_draining(const struct similarity *similarity, uint32_t block)
{
    const struct view *view = &similarity->view;
    const struct measure *measure = &similarity->measures[block];
    uint32_t windows = view->snapshot.windows;
    double now = view_mean(view->snapshot.in_flight, windows - 2, windows);
    double before = view_mean(view->snapshot.in_flight, windows - 4, windows - 2);

    bool grown = view->last != VIM_NO_INDEX && view->snapshot.last.delta > 0;
    bool fresh = grown && view->snapshot.last.window + DRAIN_WINDOWS >= windows;
    bool overloaded = grown || measure->need_lately > view->blocks[block].desired;

    return measure->busy > 0 &&
           measure->busy <= promise_target(similarity, block, view->blocks[block].desired) *
                                view->blocks[block].desired &&
           ((now < before && overloaded) || fresh);
}

static void set_gates(struct similarity *similarity, uint32_t first, bool broken)
{
    const struct view *view = &similarity->view;

    for (uint32_t i = 0; i < view->block_count; i++) {
        struct measure *measure = &similarity->measures[i];
        double gate = promise_gate(similarity, i, view->blocks[i].desired);
        double coming = view->blocks[i].desired ? measure->busy / view->blocks[i].desired : 0;
        bool busy = measure->utilisation >= gate || (broken && i == first) ||
                    (!similarity->literal && coming >= gate &&
                     measure->utilisation >= coming / COMING_MOST);

        measure->gates |= view_gates(view, i, true);
        if (!busy || is_draining(similarity, i))
            measure->gates |= VIM_GATE_IDLE;
        /* Who breaks the promise tries it again: that one more brought nothing may have been measured in a bad
         * moment, and the host's rules see to it that this is not done at once. */
        if ((measure->tried && !broken) ||
            (measure->peak < 1e6 && view->blocks[i].desired >= floor(measure->peak) + 1))
            measure->gates |= VIM_GATE_PEAK;
    }
}

static const char *gate_text(uint32_t gates)
{
    return gates & VIM_GATE_TABU           ? "one more brought nothing lately"
           : gates & VIM_GATE_STARTING     ? "a replica is on its way"
           : gates & VIM_GATE_PEAK         ? "it is at its peak: one more makes it no faster"
           : gates & VIM_GATE_BUDGET       ? "one more does not fit into the budget"
           : gates & VIM_GATE_NOT_SCALABLE ? "it is at its maximum"
                                           : "it is not measured";
}

/* --- Decisions ------------------------------------------------------------------------------- */

static uint32_t find_hop(const struct similarity *similarity, double *ret_share)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows, hop = VIM_NO_INDEX;
    double all = 0, most = 0;

    for (uint32_t i = 0; i < view->block_count; i++) {
        double held = equation_mean(similarity->held[i], windows - RECENT_WINDOWS, windows);

        all += held > 0 ? held : 0;
    }
    for (uint32_t e = 0; e < view->edge_count; e++) {
        all += similarity->waits[e];
        if (similarity->waits[e] > most) {
            most = similarity->waits[e];
            hop = e;
        }
    }
    *ret_share = all > 0 ? most / all : 0;
    return hop;
}

/* Are requests in flight for longer than p95 is promised to be, by the mean? Latencies are of those that have ended: where
 * some do not end any more, such as creates while lists go on, they tell nothing of these. (Little's law) */
static bool is_late(const struct view *view)
{
    const struct vim_policy_snapshot *snapshot = &view->snapshot;
    uint32_t windows = snapshot->windows, from = windows - SLO_WINDOWS;
    double seconds = view_mean(snapshot->in_flight, from, windows) /
                     view_mean(snapshot->throughput, from, windows);

    return snapshot->slo_p95_ms > 0 && seconds * 1000 > snapshot->slo_p95_ms;
}

/* Does the network hold more than any block, and is somebody the worse for it? */
static bool decide_network(struct similarity *similarity, struct vim_policy_decision *decision,
                           bool broken)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows, from = windows - RECENT_WINDOWS, hop;
    const struct vim_policy_edge *edge;
    double share, largest = 0;

    if (similarity->literal || similarity->tier < VIM_TIER_IN_FLIGHT)
        return false;
    hop = find_hop(similarity, &share);
    for (uint32_t i = 0; i < view->block_count; i++)
        if (similarity->measures[i].level * (1 - share) > largest)
            largest = similarity->measures[i].level * (1 - share);
    if (hop == VIM_NO_INDEX || !(share >= NETWORK_SHARE && share >= largest) ||
        !(broken || is_late(view)))
        return false;
    edge = &view->edges[hop];
    decision->edge = view->edge_index[hop];
    decision->confidence = share;
    view_decide(
        view, decision, VIM_NOT_SCALABLE, VIM_NO_INDEX, 0,
        "network %.60s > %.60s: %.0f %% of what is in flight is under way on it (round trip "
        "%.1f ms, %.1f segments/s sent again); no replica helps",
        view->blocks[edge->caller].name, view->blocks[edge->callee].name, 100 * share,
        view_mean(edge->rtt, from, windows), view_mean(edge->retransmits, from, windows));
    return true;
}

static void predict(const struct similarity *similarity, uint32_t block, int32_t delta,
                    struct vim_policy_decision *decision)
{
    const struct view *view = &similarity->view;
    const struct measure *measure = &similarity->measures[block];
    uint32_t windows = view->snapshot.windows, from = windows - RECENT_WINDOWS;
    double replicas = view->blocks[block].ready, after = replicas + delta;
    double gain = predict_gain(similarity, block), load, queue;

    if (delta > 0 && measure->utilisation >= similarity->config->gate && !isnan(gain))
        decision->throughput = view_mean(view->snapshot.throughput, from, windows) * (1 + gain);
    if (!(decision->throughput >= 0) || isinf(decision->throughput))
        decision->throughput = NAN;
    if (isnan(measure->own) || after <= 0)
        return;
    load = measure->utilisation * replicas / after;
    load = load > 0.95 ? 0.95 : load;
    queue = after * load / (1 - load) / (replicas * measure->own);
    decision->latency_p95 =
        view_mean(view->snapshot.latency_p95, from, windows) * (1 - measure->level * (1 - queue));
    if (!(decision->latency_p95 >= 0) || isinf(decision->latency_p95))
        decision->latency_p95 = NAN;
}

static int decide_out(struct similarity *similarity, struct vim_policy_decision *decision,
                      uint32_t block)
{
    const struct view *view = &similarity->view;
    const struct vim_policy_block *at = &view->blocks[block];
    const struct measure *measure = &similarity->measures[block];
    uint32_t windows = view->snapshot.windows, wanted = measure->need, most = at->maximum;
    double now = -equation_mean(similarity->performance, windows - RECENT_WINDOWS, windows);
    double more = now + equation_mean(similarity->performance, 0, RECENT_WINDOWS);
    char since[16], remark[80];
    int32_t delta;

    if (measure->peak < 1e6 && most > floor(measure->peak) + 1)
        most = (uint32_t)floor(measure->peak) + 1;
    if (at->quota_cores > 0 && view->snapshot.budget_cores / at->quota_cores < most - at->desired)
        most = at->desired + (uint32_t)(view->snapshot.budget_cores / at->quota_cores);
    wanted = wanted > most ? most : wanted;
    delta = wanted > at->desired ? (int32_t)(wanted - at->desired) : 1;
    predict(similarity, block, delta, decision);
    decision->confidence = confidence_of(similarity, block);
    if (similarity->literal)
        return view_decide(view, decision, VIM_SCALE_OUT, block, delta,
                           "%.60s: its processor share follows the degradation most closely, "
                           "distance %.4f%s; utilisation %.2f, %u -> %u replicas",
                           at->name, measure->distance,
                           similarity->step ? " across the last action" : "", measure->utilisation,
                           at->desired, at->desired + (uint32_t)delta);
    if (similarity->tier < VIM_TIER_IN_FLIGHT)
        return view_decide(
            view, decision, VIM_SCALE_OUT, block, delta,
            "%.60s: %.0f %% of all saturation%s; utilisation %.2f, %u -> %u replicas", at->name,
            100 * measure->level, tier_remark(similarity), measure->utilisation, at->desired,
            at->desired + (uint32_t)delta);
    if (more > 0.1 * now && measure->growth > 0)
        return view_decide(
            view, decision, VIM_SCALE_OUT, block, delta,
            "%.60s: %.0f %% of the +%.0f requests in flight since %s wait here; "
            "utilisation %.2f, %u -> %u replicas%s",
            at->name, 100 * (measure->growth > more ? 1 : measure->growth / more), more,
            view_time(view->snapshot.end - (int64_t)windows * view->snapshot.window_ms, since),
            measure->utilisation, at->desired, at->desired + (uint32_t)delta,
            promise_remark(similarity, block, remark));
    return view_decide(view, decision, VIM_SCALE_OUT, block, delta,
                       "%.60s: %.0f %% of %.0f requests in flight wait here; utilisation %.2f, "
                       "%u -> %u replicas%s",
                       at->name, 100 * measure->level, now, measure->utilisation, at->desired,
                       at->desired + (uint32_t)delta, promise_remark(similarity, block, remark));
}

/* The block with the most replicas that the largest load of late did not need. */
static uint32_t find_surplus(const struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t found = VIM_NO_INDEX, most = 0;

    if (!sizing_is_stable(view))
        return found;
    for (uint32_t i = 0; i < view->block_count; i++) {
        const struct measure *measure = &similarity->measures[i];
        uint32_t desired = view->blocks[i].desired;

        if (measure->need_long == 0 || measure->need_long >= desired || view_gates(view, i, false))
            continue;
        if (measure->utilisation * desired / (desired - 1.0) >=
            promise_gate(similarity, i, desired - 1))
            continue;
        if (desired - measure->need_long > most) {
            most = desired - measure->need_long;
            found = i;
        }
    }
    return found;
}

static int decide_in(struct similarity *similarity, struct vim_policy_decision *decision,
                     uint32_t block)
{
    const struct vim_policy_block *at = &similarity->view.blocks[block];
    const struct measure *measure = &similarity->measures[block];
    int64_t stable_ms = sizing_stable_ms(&similarity->view);

    predict(similarity, block, -1, decision);
    decision->confidence = 0.5;
    return view_decide(&similarity->view, decision, VIM_SCALE_IN, block, -1,
                       "%.60s: the largest load of the last %lld s needs %u of %u replicas at a "
                       "utilisation of %.2f%s",
                       at->name, (long long)(stable_ms + 500) / 1000, measure->need_long,
                       at->desired, similarity->config->target, tier_remark(similarity));
}

static int decide_hold(struct similarity *similarity, struct vim_policy_decision *decision,
                       uint32_t first)
{
    const struct view *view = &similarity->view;
    const struct measure *measure = &similarity->measures[first];
    const struct vim_policy_block *at = &view->blocks[first];

    decision->confidence = 0.5;
    if (measure->gates & VIM_GATE_IDLE && is_draining(similarity, first))
        return view_decide(
            view, decision, VIM_HOLD, VIM_NO_INDEX, 0,
            "%.60s works off what is left of an overload: for the load now it has replicas "
            "enough%s",
            at->name, tier_remark(similarity));
    if (measure->gates & VIM_GATE_IDLE)
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0,
                           "nothing is saturated: %.60s comes first with a utilisation of %.2f of "
                           "%.2f%s",
                           at->name, measure->utilisation,
                           promise_gate(similarity, first, at->desired), tier_remark(similarity));
    if (!(at->flags & VIM_BLOCK_SCALABLE))
        return view_decide(view, decision, VIM_NOT_SCALABLE, first, 0,
                           "%.60s: %.0f %% of the load waits here%s, and it cannot be scaled",
                           at->name, 100 * measure->level, tier_remark(similarity));
    return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0,
                       "%.60s holds the service back (utilisation %.2f%s), but %s", at->name,
                       measure->utilisation, tier_remark(similarity), gate_text(measure->gates));
}

static int decide(struct similarity *similarity, struct vim_policy_decision *decision)
{
    bool broken = view_slo_broken(&similarity->view, SLO_WINDOWS);
    uint32_t first = find_first(similarity, VIM_GATE_NO_DATA), chosen, surplus;

    if (first == VIM_NO_INDEX)
        return view_decide(&similarity->view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                           "no block is measured%s", tier_remark(similarity));
    set_gates(similarity, first, broken);
    fill_scores(similarity, decision);
    if (decide_network(similarity, decision, broken))
        return VIM_OK;
    chosen = find_first(similarity, ~0u);
    if (chosen != VIM_NO_INDEX)
        return decide_out(similarity, decision, chosen);
    surplus = broken ? VIM_NO_INDEX : find_surplus(similarity);
    if (surplus != VIM_NO_INDEX && similarity->measures[first].gates & VIM_GATE_IDLE)
        return decide_in(similarity, decision, surplus);
    return decide_hold(similarity, decision, first);
}

int similarity_decide(struct vim_call *call, void *instance,
                      const struct vim_policy_snapshot *snapshot,
                      struct vim_policy_decision *decision)
{
    struct similarity *similarity = instance;
    struct view *view = &similarity->view;
    const char *thin;
    int code = view_take(view, similarity->host, call, snapshot);

    if (code != VIM_OK)
        return code;
    view_begin(view, decision);
    if (view->block_count == 0)
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0, "there are no blocks");
    if (view->snapshot.windows < RECENT_WINDOWS)
        return view_decide(view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                           "%u windows of at least %u", view->snapshot.windows, RECENT_WINDOWS);
    similarity->literal = strcmp(similarity->config->mode, "literal") == 0;
    similarity->tier = decision->tier = find_tier(similarity);
    for (uint32_t i = 0; i < view->block_count; i++)
        similarity->measures[i] = (struct measure){.distance = NAN, .own = NAN, .utilisation = NAN};
    memory_parse(similarity, view->snapshot.kept);
    if (similarity->tier == VIM_TIER_IN_FLIGHT)
        equation_little(similarity);
    else
        equation_literal(similarity);
    thin = find_thin(similarity);
    if (thin)
        return view_decide(view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                           "30 %% or more of the windows of %.60s are missing", thin);
    if (similarity->literal && similarity->points < 2)
        return view_decide(view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                           "%u windows: two points of %lld each are needed", view->snapshot.windows,
                           (long long)similarity->config->aggregate);
    similarity->recent = find_recent(view);
    measure_level(similarity);
    measure_scores(similarity);
    sizing_measure(similarity);
    memory_keep(similarity, call);
    return decide(similarity, decision);
}
