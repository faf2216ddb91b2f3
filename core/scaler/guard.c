#include "scaler/guard.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "scaler/guard_internal.h"

const struct guard_rules guard_defaults = {
    .step_out = 4,
    .step_in = 1,
    .cooldown_out_ms = 15000,
    .cooldown_in_ms = 120000,
    .stale_windows = 3,
    .verify_windows = 3,
    .ready_timeout_ms = 300000,
    .load_tolerance = 0.10,
    .gain_throughput = 0.02,
    .gain_p95 = 0.05,
    .tabu_decisions = 6,
    .flaps = 4,
    .flap_ms = 600000,
    .probe_saturation = 0.3,
};

/* A block that is so utilised is short. */
#define SATURATED 0.8

/* So long a block is left alone whose platform has failed; twice as long each time in a row. */
#define FAILURE_PAUSE_MS 10000
#define FAILURE_PAUSE_MAX_MS 600000

const char *guard_rule_name(enum guard_rule_kind rule)
{
    static const char *const names[] = {"none",     "refused",      "breaker", "stale",
                                        "starting", "not_scalable", "tabu",    "limit",
                                        "cooldown", "verifying",    "flaps"};

    return names[rule];
}

void guard_init(struct guard *guard, const struct guard_rules *rules)
{
    memset(guard, 0, sizeof *guard);
    guard->rules = rules ? *rules : guard_defaults;
    guard->pending.block = VIM_NO_INDEX;
}

void guard_reset(struct guard *guard)
{
    guard->open = false;
    for (uint32_t i = 0; i < guard->block_count; i++)
        guard->blocks[i].reversal_count = guard->blocks[i].failures = 0;
}

struct guard_block *guard_find_block(struct guard *guard, const char *name)
{
    struct guard_block *block;

    for (uint32_t i = 0; i < guard->block_count; i++)
        if (strcmp(guard->blocks[i].name, name) == 0)
            return &guard->blocks[i];
    if (guard->block_count == HISTORY_BLOCKS_MAX)
        return NULL;
    block = &guard->blocks[guard->block_count++];
    memset(block, 0, sizeof *block);
    snprintf(block->name, sizeof block->name, "%s", name);
    return block;
}

static void no_later(int64_t *at, int64_t now)
{
    *at = *at > now ? now : *at;
}

/* What lies ahead was noted before the clock was set back: it would be waited for until it has come again. */
static void take_back_times(struct guard *guard, int64_t now)
{
    for (uint32_t i = 0; i < guard->block_count; i++) {
        no_later(&guard->blocks[i].last_ms, now);
        no_later(&guard->blocks[i].failed_ms, now);
        for (uint32_t j = 0; j < guard->blocks[i].reversal_count; j++)
            no_later(&guard->blocks[i].reversals[j], now);
    }
    no_later(&guard->pending.acted_ms, now);
    no_later(&guard->pending.ready_ms, now);
}

void guard_observe(struct guard *guard, int64_t now, struct history *history,
                   struct guard_event *ret_event)
{
    memset(ret_event, 0, sizeof *ret_event);
    take_back_times(guard, now);
    for (uint32_t i = 0; i < history_block_count(history); i++)
        guard_find_block(guard, history_block_name(history, i));
    if (guard->pending.block != VIM_NO_INDEX && !guard->rollback)
        guard_watch_pending(guard, now, history, ret_event);
    for (uint32_t i = 0; i < history_block_count(history); i++) {
        struct history_block state = history_get_block(history, i);
        struct guard_block *block = guard_find_block(guard, history_block_name(history, i));

        state.flags &= ~(uint32_t)VIM_BLOCK_TABU;
        if (block && block->tabu)
            state.flags |= VIM_BLOCK_TABU;
        history_set_block(history, i, &state);
    }
}

/* --- Ruling ---------------------------------------------------------------------------------- */

static struct guard_ruling stand_against(struct guard_ruling ruling, enum guard_rule_kind rule,
                                         const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static struct guard_ruling stand_against(struct guard_ruling ruling, enum guard_rule_kind rule,
                                         const char *format, ...)
{
    va_list arguments;

    ruling.act = false;
    ruling.rule = rule;
    va_start(arguments, format);
    vsnprintf(ruling.text, sizeof ruling.text, format, arguments);
    va_end(arguments);
    return ruling;
}

/* How long a block is left alone after its platform has failed so often in a row; 0: not any longer. */
static int64_t failure_pause(const struct guard_block *block, int64_t now)
{
    uint32_t doublings = block->failures > 1 ? block->failures - 1 : 0;
    int64_t pause = doublings < 16 ? (int64_t)FAILURE_PAUSE_MS << doublings : FAILURE_PAUSE_MAX_MS;

    pause = pause > FAILURE_PAUSE_MAX_MS ? FAILURE_PAUSE_MAX_MS : pause;
    return block->failures && now - block->failed_ms < pause ? pause : 0;
}

static struct guard_ruling pause_after_failure(struct guard_ruling ruling,
                                               const struct guard_block *block, int64_t now)
{
    return stand_against(ruling, GUARD_RULE_COOLDOWN,
                         "%s could not be scaled %lld s ago: it is tried again after %lld s",
                         block->name, (long long)(now - block->failed_ms) / 1000,
                         (long long)failure_pause(block, now) / 1000);
}

/* GUARD_RULE_LIMIT: it never will be. */
static struct guard_ruling roll_back(struct guard *guard, int64_t now,
                                     const struct snapshot *snapshot)
{
    struct guard_ruling ruling = {.own = true, .block = VIM_NO_INDEX};
    const struct guard_pending *pending = &guard->pending;
    const struct vim_policy_block *block = NULL;
    int64_t target;

    for (uint32_t i = 0; i < snapshot->view.block_count; i++)
        if (strcmp(snapshot->blocks[i].name, guard->blocks[pending->block].name) == 0) {
            ruling.block = i;
            block = &snapshot->blocks[i];
        }
    if (!block)
        return stand_against(ruling, GUARD_RULE_LIMIT, "the block to roll back is gone");
    if (!(block->flags & VIM_BLOCK_SCALABLE) &&
        now - pending->acted_ms < 2 * guard->rules.ready_timeout_ms)
        return stand_against(ruling, GUARD_RULE_NOT_SCALABLE, "%s cannot be rolled back now",
                             block->name);
    if (!(block->flags & VIM_BLOCK_SCALABLE))
        return stand_against(ruling, GUARD_RULE_LIMIT, "%s cannot be rolled back any more",
                             block->name);
    if (failure_pause(&guard->blocks[pending->block], now))
        return pause_after_failure(ruling, &guard->blocks[pending->block], now);
    target = (int64_t)block->desired - pending->delta;
    target = target < block->minimum ? block->minimum : target;
    target = target > block->maximum ? block->maximum : target;
    ruling.delta = (int32_t)(target - block->desired);
    if (ruling.delta == 0)
        return stand_against(ruling, GUARD_RULE_LIMIT, "%s has nothing to roll back", block->name);
    ruling.act = true;
    snprintf(ruling.text, sizeof ruling.text, "%s %+d: rolls back %+d, which brought nothing",
             block->name, ruling.delta, pending->delta);
    return ruling;
}

/* Would a scale-out of BLOCK cure something, or is it done ahead of time? */
static bool is_ahead(const struct snapshot *snapshot, const struct judgement *judgement,
                     uint32_t block)
{
    const struct vim_policy_snapshot *view = &snapshot->view;
    double saturation = judgement->scores[block].saturation;
    const double *p95 = view->latency_p95;
    bool broken = view->slo_p95_ms > 0 && p95 && view->windows > 0 &&
                  p95[view->windows - 1] > view->slo_p95_ms;

    return view->slo_p95_ms > 0 && !broken && saturation < SATURATED;
}

static uint32_t blocks_starting(const struct snapshot *snapshot, const char **ret_name)
{
    for (uint32_t i = 0; i < snapshot->view.block_count; i++)
        if (snapshot->blocks[i].starting) {
            *ret_name = snapshot->blocks[i].name;
            return snapshot->blocks[i].starting;
        }
    return 0;
}

static uint32_t count_reversals(struct guard_block *block, int64_t now, int64_t flap_ms)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < block->reversal_count; i++)
        if (now - block->reversals[i] < flap_ms)
            block->reversals[kept++] = block->reversals[i];
    block->reversal_count = kept;
    return kept;
}

/* The direction changes although the load does not: who follows the load does not flap. */
static bool is_reversal(const struct guard *guard, const struct guard_block *block, int64_t now,
                        double offered, int32_t delta)
{
    double moved = fabs(offered / block->last_offered - 1);

    return block->last_ms && now - block->last_ms < guard->rules.flap_ms &&
           block->last_delta != 0 && (block->last_delta > 0) != (delta > 0) &&
           !(moved > 2 * guard->rules.load_tolerance);
}

static double offered_now(const struct guard *guard, const struct vim_policy_snapshot *view)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; view->offered && i < guard->rules.verify_windows && i < view->windows;
         i++) {
        double value = view->offered[view->windows - 1 - i];

        sum += isnan(value) ? 0 : value;
        count += isnan(value) ? 0 : 1;
    }
    return count ? sum / count : NAN;
}

/* How many replicas more fit into what is left of the budget. */
static int64_t room_in_budget(const struct snapshot *snapshot, const struct vim_policy_block *block)
{
    double room = snapshot->view.budget_cores / block->quota_cores;

    return block->quota_cores > 0 && room < GUARD_COUNT_MAX ? (int64_t)(room + 1e-9)
                                                            : GUARD_COUNT_MAX;
}

/* Size, limits, cooldown: of a wish that is no rollback. */
static struct guard_ruling rule_on_wish(struct guard *guard, int64_t now,
                                        const struct snapshot *snapshot, struct guard_ruling ruling)
{
    const struct guard_rules *rules = &guard->rules;
    const struct vim_policy_block *block = &snapshot->blocks[ruling.block];
    struct guard_block *mine = guard_find_block(guard, block->name);
    bool out = ruling.delta > 0;
    int64_t cooldown = out ? rules->cooldown_out_ms : rules->cooldown_in_ms;
    int64_t delta = ruling.delta, target;

    if (!mine || !(block->flags & VIM_BLOCK_SCALABLE))
        return stand_against(ruling, GUARD_RULE_NOT_SCALABLE, "%s cannot be scaled", block->name);
    if (mine->tabu)
        return stand_against(ruling, GUARD_RULE_TABU, "%s is tabu for %u more decisions",
                             block->name, mine->tabu);
    if (failure_pause(mine, now))
        return pause_after_failure(ruling, mine, now);
    if (delta > 0 && room_in_budget(snapshot, block) == 0)
        return stand_against(ruling, GUARD_RULE_LIMIT,
                             "%s +1 takes %g cores, and %g are left of the budget", block->name,
                             block->quota_cores, snapshot->view.budget_cores);
    delta = delta > room_in_budget(snapshot, block) ? room_in_budget(snapshot, block) : delta;
    delta = delta > rules->step_out ? rules->step_out : delta;
    delta = delta < -(int64_t)rules->step_in ? -(int64_t)rules->step_in : delta;
    target = (int64_t)block->desired + delta;
    target = target > block->maximum ? block->maximum : target;
    target = target < block->minimum ? block->minimum : target;
    if (out != (target > block->desired) || target == block->desired)
        return stand_against(ruling, GUARD_RULE_LIMIT, "%s is at its %s of %u replicas",
                             block->name, out ? "maximum" : "minimum",
                             out ? block->maximum : block->minimum);
    if (mine->last_ms && now - mine->last_ms < cooldown)
        return stand_against(ruling, GUARD_RULE_COOLDOWN,
                             "%s was scaled %lld s ago: %lld s have to pass", block->name,
                             (long long)(now - mine->last_ms) / 1000, (long long)cooldown / 1000);
    if (!out && guard->pending.block != VIM_NO_INDEX)
        return stand_against(ruling, GUARD_RULE_VERIFYING,
                             "the effect of %+d on %s is still being measured",
                             guard->pending.delta, guard->blocks[guard->pending.block].name);
    ruling.delta = (int32_t)(target - block->desired);
    if (is_reversal(guard, mine, now, offered_now(guard, &snapshot->view), ruling.delta) &&
        count_reversals(mine, now, rules->flap_ms) >= rules->flaps) {
        guard->open = true;
        return stand_against(
            ruling, GUARD_RULE_FLAPS, "%s would be the %uth change of direction within %lld min",
            block->name, mine->reversal_count + 1, (long long)rules->flap_ms / 60000);
    }
    ruling.act = true;
    if (!ruling.own)
        snprintf(ruling.text, sizeof ruling.text, "%s %+d", block->name, ruling.delta);
    return ruling;
}

/* The idlest neighbour of a saturated block that cannot be scaled out; VIM_NO_INDEX if there is no need
 * or nobody idle. */
static uint32_t find_probe(const struct guard *guard, const struct snapshot *snapshot,
                           const struct judgement *judgement)
{
    uint32_t idlest = VIM_NO_INDEX;
    bool stuck = false;

    for (uint32_t i = 0; i < snapshot->view.block_count; i++) {
        const struct vim_policy_block *block = &snapshot->blocks[i];
        const struct vim_policy_score *score = &judgement->scores[i];
        bool saturated = score->saturation >= SATURATED;
        bool barred = block->flags & VIM_BLOCK_TABU || score->gates & VIM_GATE_PEAK ||
                      !(block->flags & VIM_BLOCK_SCALABLE) || block->desired >= block->maximum;

        if (saturated && !barred)
            return VIM_NO_INDEX;
        stuck = stuck || saturated;
        if (score->saturation < guard->rules.probe_saturation && block->desired > block->minimum &&
            block->flags & VIM_BLOCK_SCALABLE && !(block->flags & VIM_BLOCK_TABU) &&
            (idlest == VIM_NO_INDEX || score->saturation < judgement->scores[idlest].saturation))
            idlest = i;
    }
    return stuck ? idlest : VIM_NO_INDEX;
}

/* Is there a block with fewer replicas than its minimum? Somebody else has taken them away, or the minimum
 * was raised; without them there may be nothing to be measured, so no policy is asked. */
static bool raise_to_minimum(struct guard *guard, int64_t now, const struct snapshot *snapshot,
                             struct guard_ruling *ret_ruling)
{
    const struct guard_rules *rules = &guard->rules;

    for (uint32_t i = 0; i < snapshot->view.block_count; i++) {
        const struct vim_policy_block *block = &snapshot->blocks[i];
        const struct guard_block *mine = guard_find_block(guard, block->name);
        uint32_t missing = block->minimum > block->desired ? block->minimum - block->desired : 0;

        if (!missing || !(block->flags & VIM_BLOCK_SCALABLE) || !mine || failure_pause(mine, now) ||
            (mine->last_ms && now - mine->last_ms < rules->cooldown_out_ms))
            continue;
        /* Not for what it brings, so it is not judged by that. */
        *ret_ruling = (struct guard_ruling){.act = true, .block = i, .ahead = true, .own = true};
        ret_ruling->delta = (int32_t)(missing < rules->step_out ? missing : rules->step_out);
        snprintf(ret_ruling->text, sizeof ret_ruling->text,
                 "%s %+d: it has %u replica%s, fewer than its minimum of %u", block->name,
                 ret_ruling->delta, block->desired, block->desired == 1 ? "" : "s", block->minimum);
        return true;
    }
    return false;
}

static struct guard_ruling rule_on(struct guard *guard, int64_t now,
                                   const struct snapshot *snapshot,
                                   const struct judgement *judgement)
{
    const struct vim_policy_decision *decision = &judgement->decision;
    struct guard_ruling ruling = {.block = VIM_NO_INDEX};
    const char *starting = NULL;
    int64_t age = now - snapshot->view.end;
    uint32_t probe, count;

    if (raise_to_minimum(guard, now, snapshot, &ruling))
        return ruling;
    if (guard->open)
        return stand_against(ruling, GUARD_RULE_BREAKER, "the flap breaker is open");
    if (age > (int64_t)guard->rules.stale_windows * snapshot->view.window_ms)
        return snapshot->view.end
                   ? stand_against(ruling, GUARD_RULE_STALE,
                                   "the last window in which anything was measured "
                                   "ended %lld s ago",
                                   (long long)age / 1000)
                   : stand_against(ruling, GUARD_RULE_STALE, "nothing was measured yet");
    count = blocks_starting(snapshot, &starting);
    if (guard->rollback && !count) {
        ruling = roll_back(guard, now, snapshot);
        if (!ruling.act && ruling.rule == GUARD_RULE_LIMIT) {
            guard->rollback = false;
            guard->pending.block = VIM_NO_INDEX;
        }
        return ruling;
    }
    if (judgement->code != VIM_OK)
        return stand_against(ruling, GUARD_RULE_REFUSED, "%s", judgement->why);
    if (decision->verdict == VIM_SCALE_OUT || decision->verdict == VIM_SCALE_IN ||
        decision->verdict == VIM_ROLLBACK) {
        ruling.block = decision->block;
        ruling.delta = decision->delta;
        ruling.ahead = ruling.delta > 0 && is_ahead(snapshot, judgement, ruling.block);
    } else if (decision->verdict == VIM_HOLD && guard->pending.block == VIM_NO_INDEX &&
               (probe = find_probe(guard, snapshot, judgement)) != VIM_NO_INDEX) {
        ruling = (struct guard_ruling){.block = probe, .delta = -1, .own = true};
        snprintf(ruling.text, sizeof ruling.text,
                 "%s -1: idle, and nothing that is saturated can be scaled out",
                 snapshot->blocks[probe].name);
    } else {
        return ruling;
    }
    if (count && (ruling.delta < 0 || snapshot->blocks[ruling.block].starting))
        return stand_against(ruling, GUARD_RULE_STARTING, "%u replica%s of %s start%s", count,
                             count > 1 ? "s" : "", starting, count > 1 ? "" : "s");
    return rule_on_wish(guard, now, snapshot, ruling);
}

struct guard_ruling guard_rule(struct guard *guard, int64_t now, const struct snapshot *snapshot,
                               const struct judgement *judgement)
{
    struct guard_ruling ruling = rule_on(guard, now, snapshot, judgement);

    for (uint32_t i = 0; i < guard->block_count; i++)
        if (guard->blocks[i].tabu)
            guard->blocks[i].tabu--;
    return ruling;
}

void guard_failed(struct guard *guard, int64_t now, const char *name)
{
    struct guard_block *block = guard_find_block(guard, name);

    if (block) {
        block->failures += block->failures < GUARD_COUNT_MAX;
        block->failed_ms = now;
    }
}

void guard_acted(struct guard *guard, int64_t now, struct history *history,
                 const struct guard_ruling *ruling)
{
    struct guard_block *block = guard_find_block(guard, history_block_name(history, ruling->block));
    uint32_t windows = guard->rules.verify_windows;
    struct history_action action = {
        .block = ruling->block, .delta = ruling->delta, .outcome = VIM_OUTCOME_PENDING};
    bool mixed = guard->pending.block != VIM_NO_INDEX;

    double offered = guard_mean(history, "offered", windows, 0);

    if (is_reversal(guard, block, now, offered, ruling->delta) &&
        count_reversals(block, now, guard->rules.flap_ms) < GUARD_REVERSALS_MAX)
        block->reversals[block->reversal_count++] = now;
    block->failures = 0;
    block->last_ms = now;
    block->last_delta = ruling->delta;
    block->last_offered = offered;
    if (guard->rollback) {
        /* Back where it was before: there is nothing to be verified. */
        guard->rollback = false;
        guard->pending.block = VIM_NO_INDEX;
        action.outcome = VIM_OUTCOME_NO_GAIN;
        action.ready = history_end(history);
        history_set_action(history, &action);
        return;
    }
    history_set_action(history, &action);
    guard->pending = (struct guard_pending){
        .block = (uint32_t)(block - guard->blocks),
        .delta = ruling->delta,
        .acted_ms = now,
        .mixed = mixed,
        .ahead = ruling->ahead,
        .throughput = guard_mean(history, "throughput", windows, 0),
        .offered = guard_mean(history, "offered", windows, 0),
        .in_flight = guard_mean(history, "in_flight", windows, 0),
        .p95 = guard_mean(history, "latency_p95", windows, 0),
    };
}
