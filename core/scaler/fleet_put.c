#include "scaler/fleet_internal.h"

#include <math.h>
#include <string.h>
#include "base/text.h"

#define HELD_MAX 2u
/* What the queue has told holds for so many heartbeats. */
#define ASKED_INTERVALS 5

/* --- What happened in an interval ---------------------------------------------------------------- */

static int64_t time_of(const struct replica *replica, uint32_t sample)
{
    return replica->samples[sample].at + replica->skew;
}

/* The totals at AT, between the samples before and behind it. */
static void totals_at(const struct replica *replica, int64_t at, double ret_totals[TOTALS])
{
    uint32_t next = 1;
    while (next + 1 < replica->count && time_of(replica, next) < at) {
        next++;
    }
    const struct sample *a = &replica->samples[next - 1], *b = &replica->samples[next];
    double length = (double)(b->at - a->at);
    double share = length > 0 ? (double)(at - time_of(replica, next - 1)) / length : 1;
    for (int i = 0; i < TOTALS; i++) {
        ret_totals[i] = a->totals[i] + share * (b->totals[i] - a->totals[i]);
        /* Known at one end only: an edge or a connection that is new, or gone. */
        if (share >= 1 && !isnan(b->totals[i])) {
            ret_totals[i] = b->totals[i];
        }
    }
}

/* From FROM to TO, as far as the samples reach. */
static void measure(const struct replica *replica, int64_t from, int64_t to,
                    struct stretch *ret_stretch)
{
    double before[TOTALS], after[TOTALS];
    memset(ret_stretch, 0, sizeof(*ret_stretch));
    if (replica->count < 2) {
        return;
    }
    int64_t first = time_of(replica, 0), last = time_of(replica, replica->count - 1);
    from = from < first ? first : from;
    to = to > last ? last : to;
    if (from >= to) {
        return;
    }
    totals_at(replica, from, before);
    totals_at(replica, to, after);
    ret_stretch->seconds = (double)(to - from) / 1000;
    for (int i = 0; i < TOTALS; i++) {
        ret_stretch->grown[i] = after[i] - before[i];
    }
}

/* Share of the interval in which the process was kept from running by its quota. It ran for as long as the processor
 * time that it used, if one thread did; with more of them it is longer, and this is too little. 0 if not known. */
static double kept_from_running(const struct stretch *stretch)
{
    double throttled = stretch->grown[T_THROTTLED] / stretch->grown[T_PERIODS];
    double ran = stretch->grown[T_CPU] / 1e6 / stretch->seconds;
    return throttled > 0 && ran < 1 ? (throttled < 1 ? throttled : 1) * (1 - ran) : 0;
}

/* A process that is kept from running does not see the answers of those it calls: for so long its calls look as if the
 * callee had them, while they wait for the process itself. */
static void take_back_calls(struct stretch *stretch)
{
    double share = stretch->seconds > 0 ? kept_from_running(stretch) : 0;
    for (int caller = 0; share > 0 && caller < CALLERS; caller++) {
        for (int callee = 0; callee < CALLEES; callee++) {
            double back = share * stretch->grown[EDGE_TOTAL(caller, callee, E_IN)];
            if (back > 0) {
                stretch->grown[EDGE_TOTAL(caller, callee, E_IN)] -= back;
                if (caller < ROLE_COUNT) {
                    stretch->grown[BLOCK_TOTAL(caller, B_OWN)] += back;
                }
            }
        }
    }
}

/* Of one process: measured, or as in the window before. */
static void advance(struct replica *replica, int64_t from, int64_t to)
{
    struct stretch stretch;
    bool reaches = replica->count > 0 && time_of(replica, replica->count - 1) >= to;
    bool unknown = replica->count > 0 && !replica->from_start && time_of(replica, 0) > from;
    measure(replica, from, to, &stretch);
    take_back_calls(&stretch);
    if (unknown && replica->listed) {
        replica->missing = true; /* it was there before it was first heard of */
    } else if (reaches || !replica->listed) {
        replica->held = 0;
        replica->missing = false;
        replica->last = stretch;
    } else if (replica->count < 2 && replica->held == 0 && replica->last.seconds == 0) {
        replica->missing = false; /* new: nothing is known of it yet */
    } else {
        replica->held++;
        replica->missing = replica->held > HELD_MAX;
    }
}

static void advance_all(struct fleet *fleet, int64_t from, int64_t to)
{
    size_t kept = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        struct replica *replica = &fleet->items[i];
        advance(replica, from, to);
        /* What is gone is told once more, if it was there in this interval. */
        if (replica->listed || replica->last.seconds > 0) {
            if (kept != i) {
                fleet->items[kept] = *replica;
            }
            kept++;
        }
    }
    fleet->count = kept;
}

/* --- Sums over processes ---------------------------------------------------------------------------- */

struct sum {
    double value;
    bool known, missing;
};

static void sum_add(struct sum *sum, double value)
{
    if (!isnan(value)) {
        sum->value += value;
        sum->known = true;
    }
}

static double sum_value(const struct sum *sum)
{
    return sum->known && !sum->missing ? sum->value : NAN;
}

/* How a total of the processes that have ROLE has grown. */
static double grown(const struct fleet *fleet, int role, int total)
{
    struct sum sum = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        const struct replica *replica = &fleet->items[i];
        if (replica->has[role] && replica->last.seconds > 0) {
            sum_add(&sum, replica->last.grown[total]);
        }
        sum.missing |= replica->has[role] && replica->missing;
    }
    return sum_value(&sum);
}

static double block_grown(const struct fleet *fleet, int role, int what)
{
    return grown(fleet, role, BLOCK_TOTAL(role, what));
}

/* A total over what it could have been at most: WEIGHT per second, or the growth of TOTAL_OF. */
static double share(const struct fleet *fleet, int role, int total, int total_of, bool cores)
{
    struct sum above = {0}, below = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        const struct replica *replica = &fleet->items[i];
        const struct stretch *last = &replica->last;
        above.missing |= replica->has[role] && replica->missing;
        if (!replica->has[role] || last->seconds <= 0 || isnan(last->grown[total])) {
            continue;
        }
        sum_add(&above, last->grown[total]);
        sum_add(&below, total_of >= 0 ? last->grown[total_of]
                                      : last->seconds * (cores ? replica->cores : 1));
    }
    if (total_of >= 0 && below.value == 0) {
        return above.known && !above.missing ? 0 : NAN; /* no period: nothing ran */
    }
    return sum_value(&above) / sum_value(&below);
}

/* --- The service ------------------------------------------------------------------------------------- */

struct putting {
    const struct fleet *fleet;
    struct history *history;
    double seconds; /* of the window */
};

static void put(const struct putting *putting, enum history_scope scope, uint32_t index,
                const char *metric, double value)
{
    if (isfinite(value)) {
        history_put(putting->history, scope, index, history_metric(scope, metric), value);
    }
}

static void put_service(const struct putting *putting)
{
    const struct fleet *all = putting->fleet;
    uint64_t buckets[BUCKETS];
    double ended = block_grown(all, ROLE_API, B_ENDED);
    put(putting, HISTORY_SERVICE, 0, "throughput", ended / putting->seconds);
    put(putting, HISTORY_SERVICE, 0, "offered",
        block_grown(all, ROLE_API, B_BEGAN) / putting->seconds);
    put(putting, HISTORY_SERVICE, 0, "errors",
        block_grown(all, ROLE_API, B_ERRORS) / putting->seconds);
    put(putting, HISTORY_SERVICE, 0, "in_flight",
        block_grown(all, ROLE_API, B_IN) / 1e6 / putting->seconds);
    if (!(ended > 0)) {
        return; /* no request, no latency */
    }
    for (int i = 0; i < (int)BUCKETS; i++) {
        /* Parts of requests, as totals between two heartbeats are. */
        double count = block_grown(all, ROLE_API, B_BUCKETS + i);
        buckets[i] = count > 0 ? (uint64_t)(count * 1000 + 0.5) : 0;
    }
    put(putting, HISTORY_SERVICE, 0, "latency",
        block_grown(all, ROLE_API, B_SECONDS) / ended * 1000);
    put(putting, HISTORY_SERVICE, 0, "latency_p50", metrics_quantile(buckets, 0.50) * 1000);
    put(putting, HISTORY_SERVICE, 0, "latency_p95", metrics_quantile(buckets, 0.95) * 1000);
    put(putting, HISTORY_SERVICE, 0, "latency_p99", metrics_quantile(buckets, 0.99) * 1000);
}

/* --- Blocks --------------------------------------------------------------------------------------------- */

/* What its processes are like now. */
static void set_state(const struct putting *putting, uint32_t block, int role)
{
    const struct service_block *configured = &putting->fleet->service->blocks[block];
    struct history_block state = history_get_block(putting->history, block);
    double cores = 0, threads = 0, memory = 0;
    uint32_t count = 0, up = 0, told = 0;
    for (size_t i = 0; i < putting->fleet->count; i++) {
        const struct replica *replica = &putting->fleet->items[i];
        if (replica->has[role] && replica->listed) {
            count++;
            up += replica->up;
            cores += replica->cores > 0 ? replica->cores : 0;
            threads += replica->threads[role] > 0 ? replica->threads[role] : 0;
            memory += replica->memory > 0 ? replica->memory : 0;
            told += replica->memory > 0;
        }
    }
    put(putting, HISTORY_BLOCK, block, "memory", told ? memory / told : NAN);
    if (count) {
        state.quota_cores = state.quota_cores > 0 ? state.quota_cores : cores / count;
        state.threads = configured->threads > 0 ? configured->threads : threads / count;
    }
    if (!configured->platform) {
        state.desired = state.ready = up;
    }
    history_set_block(putting->history, block, &state);
}

static bool is_watched(const struct service *service, int callee)
{
    for (uint32_t i = 0; i < service->block_count; i++) {
        if (fleet_callee(service->blocks[i].role) == callee) {
            return true;
        }
    }
    return false;
}

/* Requests that a block holds itself: those that it works on, and those on calls to what is no block of the service.
 * Else nobody would have these, and what waits behind them would look as if it waited for the callees that are. */
static double own_grown(const struct fleet *fleet, int role)
{
    double own = block_grown(fleet, role, B_OWN);
    for (int callee = 0; callee < CALLEES; callee++) {
        double calls = grown(fleet, role, EDGE_TOTAL(role, callee, E_IN));
        if (!is_watched(fleet->service, callee) && !isnan(calls)) {
            own += calls;
        }
    }
    return own;
}

/* Hints that wait in the queue, which is one; whoever has asked it last knows best. One that has not answered for
 * long is not known. */
static double queue_waiting(const struct fleet *fleet)
{
    const struct replica *last = NULL;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct replica *replica = &fleet->items[i];
        if (replica->listed && replica->has_queue && !replica->missing &&
            fleet->now - (replica->queue_at + replica->skew) <=
                ASKED_INTERVALS * replica->interval &&
            (!last || replica->queue_at + replica->skew > last->queue_at + last->skew)) {
            last = replica;
        }
    }
    return last ? last->queue_waiting : NAN;
}

/* Requests (times the window) whose tasks wait in the queue for a worker: no block has them. There are no more of
 * them than requests that wait for a task at all; of the other tasks that wait there nobody feels anything. */
static double waiting_for_worker(const struct putting *putting)
{
    const struct fleet *fleet = putting->fleet;
    double waiting = queue_waiting(fleet) * 1e6 * putting->seconds;
    double requests = block_grown(fleet, ROLE_LOGIC, B_IN) -
                      block_grown(fleet, ROLE_LOGIC, B_QUEUED) -
                      block_grown(fleet, ROLE_LOGIC, B_OWN);
    for (int callee = 0; callee < CALLEES; callee++) {
        double calls = grown(fleet, ROLE_LOGIC, EDGE_TOTAL(ROLE_LOGIC, callee, E_IN));
        requests -= isnan(calls) ? 0 : calls;
    }
    waiting = waiting > requests ? requests : waiting;
    return waiting > 0 ? waiting : 0;
}

static void put_role(const struct putting *putting, uint32_t block, int role)
{
    const struct fleet *all = putting->fleet;
    double waiting = role == ROLE_WORKER ? waiting_for_worker(putting) / 1e6 : 0;
    double in = block_grown(all, role, B_IN) / 1e6 + waiting, own = own_grown(all, role) / 1e6;
    /* A worker looks at hints too; its requests are steps of tasks. */
    double calls = block_grown(all, role, role == ROLE_WORKER ? B_ENDED : B_BEGAN);
    put(putting, HISTORY_BLOCK, block, "cpu", share(all, role, T_CPU, -1, true) / 1e6);
    put(putting, HISTORY_BLOCK, block, "throttled",
        share(all, role, T_THROTTLED, T_PERIODS, false));
    put(putting, HISTORY_BLOCK, block, "pressure_cpu", share(all, role, T_PRESSURE, -1, false));
    put(putting, HISTORY_BLOCK, block, "pressure_memory",
        share(all, role, T_PRESSURE + 1, -1, false));
    put(putting, HISTORY_BLOCK, block, "pressure_io", share(all, role, T_PRESSURE + 2, -1, false));
    put(putting, HISTORY_BLOCK, block, "calls", calls / putting->seconds);
    put(putting, HISTORY_BLOCK, block, "in_flight", in / putting->seconds);
    put(putting, HISTORY_BLOCK, block, "own_in_flight", own / putting->seconds);
    put(putting, HISTORY_BLOCK, block, "thread_queue",
        (block_grown(all, role, B_QUEUED) / 1e6 + waiting) / putting->seconds);
    if (calls > 0) {
        put(putting, HISTORY_BLOCK, block, "residence", in / calls * 1000);
        put(putting, HISTORY_BLOCK, block, "self_time", own / calls * 1000);
    }
    set_state(putting, block, role);
}

/* Whose connections: of the processes that have the role CALLER, or (-1) of all. */
static void put_network(const struct putting *putting, enum history_scope scope, uint32_t index,
                        int caller, int callee)
{
    struct sum rtt = {0}, again = {0};
    uint32_t count = 0;
    for (size_t i = 0; i < putting->fleet->count; i++) {
        const struct replica *replica = &putting->fleet->items[i];
        if (caller >= 0 && !replica->has[caller]) {
            continue;
        }
        if (replica->last.seconds > 0) {
            sum_add(&again, replica->last.grown[T_RETRANSMITS + callee]);
        }
        if (replica->listed && !replica->missing && !isnan(replica->rtt_ms[callee])) {
            sum_add(&rtt, replica->rtt_ms[callee]);
            count++;
        }
    }
    put(putting, scope, index, "rtt", sum_value(&rtt) / count);
    put(putting, scope, index, "retransmits", sum_value(&again) / putting->seconds);
}

static void put_depth(const struct putting *putting, uint32_t block)
{
    put(putting, HISTORY_BLOCK, block, "queue_depth", queue_waiting(putting->fleet));
}

/* Of a block that tells nothing itself: what others ask it. */
static void put_asked(const struct putting *putting, uint32_t block, int callee)
{
    struct sum began = {0};
    for (int caller = 0; caller < CALLERS; caller++) {
        for (size_t i = 0; i < putting->fleet->count; i++) {
            const struct replica *replica = &putting->fleet->items[i];
            began.missing |= replica->missing;
            if (replica->last.seconds > 0) {
                sum_add(&began, replica->last.grown[EDGE_TOTAL(caller, callee, E_BEGAN)]);
            }
        }
    }
    put(putting, HISTORY_BLOCK, block, "calls", sum_value(&began) / putting->seconds);
}

static void put_block(const struct putting *putting, uint32_t block)
{
    const char *name = putting->fleet->service->blocks[block].role;
    int role = fleet_role(name), callee = fleet_callee(name);
    if (role >= 0) {
        put_role(putting, block, role);
    }
    if (callee >= 0) {
        put_network(putting, HISTORY_BLOCK, block, -1, callee);
    }
    if (role < 0 && callee >= 0) {
        put_asked(putting, block, callee);
    }
    if (callee == CALLEE_OF_QUEUE) {
        put_depth(putting, block);
    }
}

/* --- Edges ---------------------------------------------------------------------------------------------- */

/* Calls that no request waits for are those of the block that looks after such things in its process. */
static bool is_home(const struct replica *replica, int role)
{
    return role == ROLE_WORKER || (role == ROLE_LOGIC && !replica->has[ROLE_WORKER]);
}

static double edge_grown(const struct fleet *fleet, int caller, int callee, int what)
{
    struct sum sum = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        const struct replica *replica = &fleet->items[i];
        if (!replica->has[caller]) {
            continue;
        }
        sum.missing |= replica->missing;
        if (replica->last.seconds > 0) {
            sum_add(&sum, replica->last.grown[EDGE_TOTAL(caller, callee, what)]);
            if (is_home(replica, caller)) {
                sum_add(&sum, replica->last.grown[EDGE_TOTAL(ROLE_COUNT, callee, what)]);
            }
        }
    }
    return sum_value(&sum);
}

/* Calls (times the window) that are in the network. TCP knows of connections, which the roles of a process share: of
 * what it tells the edge has its part of the calls that are under way. */
static double edge_network(const struct fleet *fleet, int caller, int callee)
{
    struct sum sum = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        const struct replica *replica = &fleet->items[i];
        if (!replica->has[caller]) {
            continue;
        }
        double all = 0, mine = 0;
        for (int from = 0; from < CALLERS; from++) {
            double calls = replica->last.grown[EDGE_TOTAL(from, callee, E_IN)];
            bool is_mine = from == caller || (from == ROLE_COUNT && is_home(replica, caller));
            all += calls > 0 ? calls : 0;
            mine += calls > 0 && is_mine ? calls : 0;
        }
        sum.missing |= replica->missing;
        if (replica->last.seconds > 0 && all > 0) {
            sum_add(&sum, replica->last.grown[T_NETWORK + callee] * mine / all);
        }
    }
    return sum_value(&sum);
}

static void put_edge(const struct putting *putting, uint32_t index)
{
    const struct service *service = putting->fleet->service;
    const struct service_edge *edge = &service->edges[index];
    int caller = fleet_role(service->blocks[edge->caller].role);
    int callee = fleet_callee(service->blocks[edge->callee].role);
    if (caller >= 0 && callee >= 0) {
        put(putting, HISTORY_EDGE, index, "visits",
            edge_grown(putting->fleet, caller, callee, E_BEGAN) / putting->seconds);
        put(putting, HISTORY_EDGE, index, "in_flight",
            edge_grown(putting->fleet, caller, callee, E_IN) / 1e6 / putting->seconds);
        put_network(putting, HISTORY_EDGE, index, caller, callee);
        put(putting, HISTORY_EDGE, index, "network",
            edge_network(putting->fleet, caller, callee) / 1e6 / putting->seconds);
    }
}

void fleet_put(struct fleet *fleet, int64_t end, int64_t window_ms, struct history *history)
{
    struct putting putting = {
        .fleet = fleet, .history = history, .seconds = (double)window_ms / 1000};
    int64_t to = end - fleet->lag;
    advance_all(fleet, to - window_ms, to);
    put_service(&putting);
    for (uint32_t i = 0; i < fleet->service->block_count; i++) {
        put_block(&putting, i);
    }
    for (uint32_t i = 0; i < fleet->service->edge_count; i++) {
        put_edge(&putting, i);
    }
}
