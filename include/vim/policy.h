/*
 * vim/policy.h - operations of a scaling policy: given what was measured, which block to scale.
 *
 * A service is made of blocks (for vimd itself: API, logic, worker, database, queue); a block is a
 * number of equal replicas; an edge is a block calling another one. vimd measures all of them in
 * windows of equal length, aligned in time, and asks the policy for one decision.
 *
 * decide() is pure: the same snapshot, configuration and plugin give the same decision, to the last
 * bit. It uses no clock, no files, no network, no threads, and allocates nothing after open(). What
 * it wants to remember goes through host->keep() and comes back in the next snapshot. So decisions
 * can be recorded and replayed, and any number of policies can watch the same service in the
 * shadow of the one that acts.
 *
 * vimd owns the time, the acting and the limits: replicas between their minimum and maximum, at most
 * +4 or -1 at once, pauses between actions, no action while a replica starts, roll back when an
 * action brought nothing. A policy may decide whatever it finds right; vimd says what came of it in
 * the next snapshot's `last`.
 *
 * Where the numbers come from: Na, Park and Ryu, "microservice based NFV-VIM", Journal of Digital
 * Contents Society 19(4), 2018, pp. 809-814. Its equation 2 measures how similar the change of the
 * service's performance x' is to the change of a block's resource usage y'_b,
 *
 *     d_b = sum over t of sqrt((-x'_t - y'_b,t)^2) = sum of |x'_t + y'_b,t|,
 *
 * and scales out the block with the smallest distance; its equation 3 is the example of a database
 * that is more similar than the logic. Mind the minus sign: usage is compared with the degradation.
 * The paper leaves open which performance, which usage and which windows; what is said about them
 * below is this project's choice, and so are all other fields.
 *
 * Signals come in tiers: T0 is the processor alone, T1 adds pressure and throttling, T2 adds requests
 * in flight. A policy says which tier it needs and which it would like; a series that was not
 * measured is NULL.
 *
 * Units: shares are 0..1, rates are per second, times are in milliseconds, sizes in bytes. A series
 * has `windows` values, the oldest first; a value that is missing is NaN. Series of a block are
 * means or sums over its ready replicas, as said with each.
 */
#ifndef VIM_POLICY_H
#define VIM_POLICY_H

#include <vim/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which series there are. Each tier includes those below it. */
enum vim_policy_tier {
    VIM_TIER_CPU = 0, /* T0: cpu, memory, calls, throughput, latency */
    VIM_TIER_PRESSURE = 1, /* T1: throttled, pressure_cpu, pressure_memory, pressure_io */
    VIM_TIER_IN_FLIGHT = 2 /* T2: in_flight, own_in_flight, thread_queue, edges */
};

enum vim_verdict {
    VIM_HOLD = 0, /* all is well, or nothing would help now */
    VIM_SCALE_OUT = 1, /* `block` by `delta` > 0 replicas */
    VIM_SCALE_IN = 2, /* `block` by `delta` < 0 replicas */
    VIM_ROLLBACK = 3, /* undo the last action: it brought nothing; `block`, `delta` say it */
    VIM_NOT_SCALABLE = 4, /* something holds the service back that no replica cures: a slow
                                 network, a foreign system; `edge` names the hop if it is one */
    VIM_INSUFFICIENT_DATA = 5 /* 30 % or more of a series that is needed are missing */
};

enum vim_block_flag {
    VIM_BLOCK_SCALABLE = 1u << 0, /* the platform can change its replicas */
    VIM_BLOCK_TABU = 1u << 1 /* an action on it brought nothing lately: no candidate now */
};

/* One block, as measured. The names of the series are those of the recorded traces. */
struct vim_policy_block {
    const char *name; /* unique within the service; the last tie-break: the smaller name wins */
    uint32_t flags; /* enum vim_block_flag */
    uint32_t desired; /* replicas that are wanted */
    uint32_t ready; /* replicas that work */
    uint32_t starting; /* replicas that are on their way; > 0 means: no candidate */
    uint32_t minimum; /* replicas, as configured */
    uint32_t maximum;
    double quota_cores; /* processor cores that one replica may use; 0 for no limit */
    double threads; /* threads of one replica that serve requests; 0 for an asynchronous one */

    /* T0 */
    const double *cpu; /* share of the quota used, mean over replicas: y of equation 2 in
                                its literal reading */
    const double *memory; /* bytes, mean over replicas */
    const double *calls; /* requests per second that came in, sum */
    const double *residence; /* ms that a request spends in it, its callees included, mean */
    const double *self_time; /* ms that a request spends in it, its callees excluded, mean */
    /* T1 */
    const double *throttled; /* share of periods in which the quota was exhausted, mean */
    const double *pressure_cpu; /* share of time that something waited for a processor (PSI) */
    const double *pressure_memory; /* the same for memory */
    const double *pressure_io; /* the same for input and output */
    /* T2 */
    const double *in_flight; /* requests in it, waiting for callees included: sum, the mean
                                    over the window (from a monotonic integral, no sample) */
    const double
        *own_in_flight; /* requests that it works on itself: that have a thread (where there
                                    are threads) and do not wait for a callee, sum; with their part
                                    of thread_queue y of equation 2 in units of Little's law */
    const double *thread_queue; /* requests that wait for one of its threads, sum; in_flight counts
                                    them too */
    const double *queue_depth; /* entries that wait in it, if it is a queue */
    const double *rtt; /* ms, round trip on connections to it, mean (TCP_INFO) */
    const double *retransmits; /* TCP segments sent again per second, sum */
};

/* One block calling another, as measured at the caller: for a foreign system this is all there is. */
struct vim_policy_edge {
    uint32_t caller; /* index of a block */
    uint32_t callee; /* index of a block */
    const double *visits; /* calls per second, sum over the caller's replicas */
    const double *in_flight; /* calls under way, sum, mean over the window */
    const double *rtt; /* ms, round trip, mean */
    const double *retransmits; /* TCP segments sent again per second, sum */
    const double
        *network; /* calls that are in the network between the two, by the caller's TCP (TCP_INFO,
                              tcpi_busy_time), sum, mean over the window; of calls that share a connection
                              it knows one at a time. NULL or NaN: not known */
};

/* How the last action went. */
enum vim_outcome {
    VIM_OUTCOME_NONE = 0, /* there was no action within the history */
    VIM_OUTCOME_PENDING = 1, /* it is not yet known */
    VIM_OUTCOME_IMPROVED = 2, /* throughput +2 % or p95 -5 %, at an offered load within 10 % */
    VIM_OUTCOME_NO_GAIN = 3, /* neither of them; it is rolled back, the block is tabu */
    VIM_OUTCOME_UNCLEAR = 4 /* the offered load changed too much to tell */
};

struct vim_policy_action {
    uint32_t block; /* index of the block; meaningless with VIM_OUTCOME_NONE */
    int32_t delta; /* replicas, as carried out */
    uint32_t window; /* index of the window in which the replicas became ready; step means of a
                         series are taken before and after it */
    uint32_t outcome; /* enum vim_outcome */
};

/* What was measured. Everything lives for the call. */
struct vim_policy_snapshot {
    uint32_t size;
    uint32_t windows; /* values per series */
    int64_t window_ms; /* length of a window; 5000 unless configured */
    int64_t end; /* when the last window ended */
    const char *service; /* its name */

    /* The service. Its performance x of equation 2 is `throughput` over its window maximum in the
     * literal reading, and -in_flight in units of Little's law. */
    const double *throughput; /* requests finished per second */
    const double *offered; /* requests that came per second, refused ones included */
    const double *errors; /* requests per second that failed */
    const double *latency; /* ms, mean */
    const double *latency_p50; /* ms */
    const double *latency_p95; /* ms */
    const double *latency_p99; /* ms */
    const double *in_flight; /* N: requests in the system, mean over the window */

    const struct vim_policy_block *blocks; /* block_count of them, block_stride bytes apart */
    uint32_t block_count;
    uint32_t block_stride;
    const struct vim_policy_edge *edges;
    uint32_t edge_count;
    uint32_t edge_stride;
    struct vim_policy_action last; /* fixed size: it is never extended */

    double slo_p95_ms; /* promised: p95 of latency; 0 for no promise */
    double slo_error_share; /* promised: errors over offered; 0 for no promise */
    double budget_cores; /* cores that may still be added; infinite if there is no budget */
    const char *kept; /* what the last decision of this policy kept; NULL at first */
};

/* How one block was judged; NaN for what the policy does not compute. */
struct vim_policy_score {
    double score; /* what the blocks were ordered by; the largest wins */
    double similarity; /* d_b of equation 2, divided by the number of differences; the smallest is
                          the most similar */
    double saturation; /* 0..1: how close to its limit it works */
    double level; /* 0..1: its part of all that waits */
    double gain; /* predicted throughput with one replica more over that of now, minus 1 */
    uint32_t replicas; /* how many it should have, as far as this policy can tell; 0 if it cannot */
    uint32_t gates; /* enum vim_policy_gate: why it was no candidate; 0 if it was one */
};

enum vim_policy_gate {
    VIM_GATE_NOT_SCALABLE = 1u << 0, /* the platform cannot, or it is at its maximum or minimum */
    VIM_GATE_STARTING = 1u << 1, /* a replica of it is on its way */
    VIM_GATE_TABU = 1u << 2,
    VIM_GATE_NO_DATA = 1u << 3,
    VIM_GATE_IDLE = 1u << 4, /* not saturated: scaling it would help nobody */
    VIM_GATE_PEAK = 1u << 5, /* past the peak of its scalability: one more makes it slower */
    VIM_GATE_BUDGET = 1u << 6 /* one more replica does not fit into the budget */
};

#define VIM_REASON_MAX 256u
#define VIM_NO_INDEX UINT32_MAX

/* The decision. The host's memory: the policy fills it and keeps no pointer to it. On entry all is
 * zero but `size`, `scores`, `score_count` and `score_stride`; what lies beyond `size` is not there. */
struct vim_policy_decision {
    uint32_t size;
    uint32_t verdict; /* enum vim_verdict */
    uint32_t block; /* index, or VIM_NO_INDEX */
    int32_t delta; /* replicas to add (> 0) or to remove (< 0); 0 where nothing is to change */
    uint32_t edge; /* VIM_NOT_SCALABLE: index of the hop, or VIM_NO_INDEX */
    uint32_t tier; /* enum vim_policy_tier: which signals the decision rests on */
    double confidence; /* 0..1 */
    double throughput; /* predicted after the action, requests per second; NaN if not */
    double latency_p95; /* predicted after the action, ms; NaN if not */
    struct vim_policy_score *scores; /* one per block of the snapshot, in its order */
    uint32_t score_count;
    uint32_t score_stride;
    char reason[VIM_REASON_MAX]; /* one sentence with numbers, for people, NUL-terminated: "db: 84 %
                                    of the +212 requests in flight since 10:02:10 wait here"; one
                                    line of UTF-8 */
};

struct vim_policy_ops {
    uint32_t size;
    uint32_t needs; /* enum vim_policy_tier without which it does not decide */
    uint32_t prefers; /* enum vim_policy_tier that it makes use of */
    uint32_t windows; /* how many windows it wants to see; it gets at most so many */

    /* Decides. Returns VIM_OK, also when it decided to hold; an error only for a snapshot that makes
     * no sense (VIM_E_INVALID) or a defect (VIM_E_INTERNAL). At most 1 ms for 32 blocks and 256
     * windows; a call that takes longer than 100 ms is given up. May call host->keep(), log() and
     * fail(), nothing else of the host. Calls on one instance come one after another. */
    int (*decide)(struct vim_call *call, void *instance, const struct vim_policy_snapshot *snapshot,
                  struct vim_policy_decision *decision);
};

#ifdef __cplusplus
}
#endif
#endif
