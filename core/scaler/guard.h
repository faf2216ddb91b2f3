/*
 * scaler/guard.h - what stands between a policy's wish and the platform: the host's safety rules.
 *
 * Pure: the time is passed in, nothing is waited for, and all state is in struct guard, plain data
 * that guard_print() and guard_parse() turn into JSON and back, so that another process can go on where
 * this one ended. The daemon, vim-replay and vim-sim run this very code. Per decision:
 *
 *     guard_observe(&guard, now, history, &event)      judge the last action, age tabus; tells the
 *                                                      history, and so the policy, what came of it
 *     snapshot_build(), judge()
 *     ruling = guard_rule(&guard, now, snapshot, judgement)
 *     if (ruling.act) { platform: set the size;  guard_acted(&guard, now, history, &ruling); }
 *
 * The rules, in the order in which they are asked:
 *   - a block with fewer replicas than its minimum is raised to it, whatever the policy says, however old the data
 *     are (without replicas there are none); at most `step_out` at once, `cooldown_out_ms` after its last action.
 *     What that brings is not judged.
 *   - no wish, a refused one, or a breaker that is open: nothing is done. An action that brought nothing
 *     is taken back before anything else is done (rule "verify"), whatever the policy says.
 *   - data whose last window ended more than `stale_windows` windows ago: frozen.
 *   - a block of which a replica starts is left alone; nothing is scaled in while any replica starts. (Other
 *     blocks may be scaled out: a load that grows makes several of them short at once.)
 *   - the block is scalable, not tabu, and stays between its minimum and maximum; at most `step_out`
 *     replicas more, or `step_in` fewer, at once: a larger wish is cut, not refused.
 *   - cooldown: a block is not scaled out within `cooldown_out_ms` after its last action, nor in within
 *     `cooldown_in_ms`; no scale-in while an action is being verified.
 *   - flap breaker: with more than `flaps` reversals of a block's direction within `flap_ms`, each at the load (within
 *     20 %) at which it went the other way, the breaker opens:
 *     nothing is done any more until somebody calls guard_reset().
 * Verification: `verify_windows` whole windows after the replicas are ready are compared with as many
 * before the action. At the same load (offered within 10 %; for a scale-out also as many requests in
 * flight within 10 %, as clients that wait for their answers offer what is finished) a scale-out must
 * bring +2 % throughput or -5 % p95, if something was short before (a promise broken, the block
 * saturated: else it was done ahead of time, and there is nothing to gain yet), and a scale-in must not cost 2 % throughput (or what so
 * few requests scatter by, if that is more) nor break the SLO. Else it is rolled back, and
 * the block is tabu for `tabu_decisions` decisions, four times as long each time in a row.
 * Probe: when the policy wants nothing, some block is saturated, and every block that could be scaled
 * out is tabu, at or past its peak or at its maximum, the idlest neighbour is scaled in by one: replicas that
 * idle may be what the others suffer from. It is verified like any action.
 */
#ifndef SCALER_GUARD_H
#define SCALER_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "scaler/history.h"
#include "scaler/judge.h"

struct text;

struct guard_rules {
    uint32_t step_out, step_in; /* replicas at once */
    int64_t cooldown_out_ms, cooldown_in_ms;
    uint32_t stale_windows;
    uint32_t verify_windows;
    int64_t ready_timeout_ms; /* replicas that are not ready by then: the outcome is unclear */
    double load_tolerance; /* share within which two loads are the same */
    double gain_throughput, gain_p95; /* shares */
    uint32_t tabu_decisions;
    uint32_t flaps;
    int64_t flap_ms;
    double probe_saturation; /* a neighbour that is busier is not idle */
};

/* +4/-1, 15 s, 120 s, 3 windows, 3 windows, 5 min, 10 %, 2 %, 5 %, 6 decisions, 4 in 10 min, 0.3. */
extern const struct guard_rules guard_defaults;

#define GUARD_REVERSALS_MAX 8u
#define GUARD_COUNT_MAX 1000000 /* of what is counted and remembered: more is no state of ours */

struct guard_block {
    char name[HISTORY_NAME_MAX + 1];
    int64_t last_ms; /* of its last action; 0: none */
    int32_t last_delta;
    double last_offered; /* load at that time; NaN: not known */
    uint32_t tabu; /* decisions left */
    uint32_t tabu_next; /* how long the next one lasts */
    uint32_t reversal_count;
    int64_t reversals[GUARD_REVERSALS_MAX]; /* when its direction changed, the latest last */
    uint32_t failures; /* in a row, of the platform: each time it is left alone for twice as long */
    int64_t failed_ms; /* the last of them */
};

/* An action whose effect is not known yet. */
struct guard_pending {
    uint32_t block; /* index of the guard's block; VIM_NO_INDEX: there is none */
    int32_t delta;
    int64_t acted_ms;
    int64_t ready_ms; /* end of the window in which its replicas were ready; 0: not yet */
    bool mixed; /* another action fell into its time: no comparison */
    bool ahead; /* nothing was short: there was nothing to gain */
    double throughput, offered, in_flight, p95; /* before */
};

struct guard {
    struct guard_rules rules;
    uint32_t block_count;
    struct guard_block blocks[HISTORY_BLOCKS_MAX];
    struct guard_pending pending;
    bool rollback; /* `pending` brought nothing and is to be taken back */
    bool open; /* the flap breaker */
};

enum guard_event_kind {
    GUARD_NO_EVENT,
    GUARD_VERIFIED, /* the outcome of the last action is known: `outcome` */
    GUARD_NOT_READY /* its replicas did not become ready in time; the outcome is unclear */
};

struct guard_event {
    enum guard_event_kind kind;
    uint32_t outcome; /* enum vim_outcome */
    char text[256]; /* one sentence with numbers */
};

enum guard_rule_kind {
    GUARD_RULE_NONE, /* nothing stood against it, or there was no wish */
    GUARD_RULE_REFUSED, /* the judgement was no decision */
    GUARD_RULE_BREAKER,
    GUARD_RULE_STALE,
    GUARD_RULE_STARTING,
    GUARD_RULE_NOT_SCALABLE,
    GUARD_RULE_TABU,
    GUARD_RULE_LIMIT, /* minimum, maximum or budget */
    GUARD_RULE_COOLDOWN,
    GUARD_RULE_VERIFYING,
    GUARD_RULE_FLAPS /* this wish opened the breaker */
};

/* What is to be done. */
struct guard_ruling {
    bool act;
    uint32_t block; /* index of the snapshot's block */
    int32_t delta;
    bool ahead; /* nothing is short yet */
    bool own; /* the host's own doing: a rollback, a probe or a minimum, not the policy's wish */
    enum guard_rule_kind rule; /* which rule stood against the wish */
    char text[256]; /* one sentence: what is done and why, or why not */
};

/* "none", "refused", "breaker", ... of enum guard_rule_kind. */
const char *guard_rule_name(enum guard_rule_kind rule);

/* RULES NULL: the defaults. */
void guard_init(struct guard *guard, const struct guard_rules *rules);

/* See above. History's blocks get their VIM_BLOCK_TABU, and its action its outcome. */
void guard_observe(struct guard *guard, int64_t now, struct history *history,
                   struct guard_event *ret_event);

/* Rules on a judgement of SNAPSHOT at the time NOW. Counts as one decision for the tabus. */
struct guard_ruling guard_rule(struct guard *guard, int64_t now, const struct snapshot *snapshot,
                               const struct judgement *judgement);

/* What was ruled on the block was not carried out: the platform could not, or would not. */
void guard_failed(struct guard *guard, int64_t now, const char *name);

/* The ruling was carried out; the history's action is set to pending. */
void guard_acted(struct guard *guard, int64_t now, struct history *history,
                 const struct guard_ruling *ruling);

/* Closes the breaker. */
void guard_reset(struct guard *guard);

/* The state (not the rules) as a JSON object, and back. VIM_E_INVALID if it is not that; then GUARD is
 * as guard_init() left it. */
void guard_print(const struct guard *guard, struct text *text);
int guard_parse(struct guard *guard, const char *json);

#endif
