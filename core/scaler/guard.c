#include "scaler/guard.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

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

/* A tabu that is renewed is so much longer; at most so many times the first one. */
#define TABU_FACTOR 4u
#define TABU_FACTOR_MAX 64u

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
        guard->blocks[i].reversal_count = 0;
}

static struct guard_block *find_block(struct guard *guard, const char *name)
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

static uint32_t find_in_history(const struct history *history, const char *name)
{
    for (uint32_t i = 0; i < history_block_count(history); i++)
        if (strcmp(history_block_name(history, i), name) == 0)
            return i;
    return VIM_NO_INDEX;
}

/* --- Verification ---------------------------------------------------------------------------- */

/* Mean of the service's METRIC over the COUNT windows that end at END (0: the last); NaN if not one of
 * them has a value. */
static double mean(const struct history *history, const char *metric, uint32_t count, int64_t end)
{
    uint32_t id = history_metric(HISTORY_SERVICE, metric), seen = 0, age = 0;
    double sum = 0;

    if (end)
        age = (uint32_t)((history_end(history) - end) / history_window_ms(history));
    for (uint32_t i = 0; i < count; i++) {
        double value = history_get(history, HISTORY_SERVICE, 0, id, age + i);

        if (!isnan(value)) {
            sum += value;
            seen++;
        }
    }
    return seen ? sum / seen : NAN;
}

static double change(double before, double after)
{
    return before > 0 ? after / before - 1 : NAN;
}

/* Clients that wait for their answers offer what is finished: as many requests in flight are the same
 * load then. Fewer replicas may come to the same number by chance, so this is for more of them alone. */
static bool is_same_load(const struct guard *guard, double offered, double in_flight)
{
    double tolerance = guard->rules.load_tolerance;

    return fabs(offered) <= tolerance || (guard->pending.delta > 0 && fabs(in_flight) <= tolerance);
}

/* Requests are counted: below it a difference is none. Two standard deviations of a difference of two
 * Poisson counts. */
static double scatter(const struct guard *guard, const struct history *history)
{
    double seconds = guard->rules.verify_windows * (double)history_window_ms(history) / 1000;
    double requests = guard->pending.throughput * seconds;
    double share = requests > 0 ? 2 * sqrt(2 / requests) : 1;

    return share > guard->rules.gain_throughput ? share : guard->rules.gain_throughput;
}

static uint32_t judge_effect(const struct guard *guard, const struct history *history,
                             struct guard_event *event)
{
    const struct guard_pending *pending = &guard->pending;
    const struct guard_rules *rules = &guard->rules;
    uint32_t windows = rules->verify_windows;
    double slo = history_get_goals(history).slo_p95_ms;
    double p95 = mean(history, "latency_p95", windows, 0);
    double throughput = change(pending->throughput, mean(history, "throughput", windows, 0));
    double offered = change(pending->offered, mean(history, "offered", windows, 0));
    double in_flight = change(pending->in_flight, mean(history, "in_flight", windows, 0));
    double latency = change(pending->p95, p95);
    const char *name = guard->blocks[pending->block].name;
    uint32_t outcome;

    if (pending->mixed || pending->ahead || !is_same_load(guard, offered, in_flight) ||
        (isnan(throughput) && isnan(latency)))
        outcome = VIM_OUTCOME_UNCLEAR;
    else if (pending->delta > 0)
        outcome = throughput >= rules->gain_throughput || latency <= -rules->gain_p95
                      ? VIM_OUTCOME_IMPROVED
                      : VIM_OUTCOME_NO_GAIN;
    else
        outcome =
            throughput < -scatter(guard, history) || (slo > 0 && p95 > slo && pending->p95 <= slo)
                ? VIM_OUTCOME_NO_GAIN
                : VIM_OUTCOME_IMPROVED;
    snprintf(event->text, sizeof event->text,
             "%s %+d: throughput %+.1f %%, p95 %+.1f %%, offered load %+.1f %%: %s", name,
             pending->delta, 100 * throughput, 100 * latency, 100 * offered,
             pending->mixed                    ? "another action fell into the same time"
             : pending->ahead                  ? "done ahead of time"
             : outcome == VIM_OUTCOME_UNCLEAR  ? "the load changed too much to tell"
             : outcome == VIM_OUTCOME_IMPROVED ? "kept"
                                               : "it brought nothing");
    return outcome;
}

static void settle(struct guard *guard, struct history *history, uint32_t outcome)
{
    struct guard_pending *pending = &guard->pending;
    struct guard_block *block = &guard->blocks[pending->block];
    struct history_action action = history_get_action(history);
    uint32_t most = guard->rules.tabu_decisions * TABU_FACTOR_MAX;

    action.outcome = outcome;
    if (action.ready == 0)
        action.ready = history_end(history);
    history_set_action(history, &action);
    if (outcome == VIM_OUTCOME_NO_GAIN) {
        guard->rollback = true;
        block->tabu = block->tabu_next ? block->tabu_next : guard->rules.tabu_decisions;
        block->tabu_next = TABU_FACTOR * block->tabu > most ? most : TABU_FACTOR * block->tabu;
        return;
    }
    /* What holds the service back has changed: others deserve another try. */
    if (outcome == VIM_OUTCOME_IMPROVED)
        for (uint32_t i = 0; i < guard->block_count; i++)
            guard->blocks[i].tabu_next = 0;
    pending->block = VIM_NO_INDEX;
}

static void watch_pending(struct guard *guard, int64_t now, struct history *history,
                          struct guard_event *event)
{
    struct guard_pending *pending = &guard->pending;
    uint32_t index = find_in_history(history, guard->blocks[pending->block].name);
    struct history_action action = history_get_action(history);
    struct history_block state;

    if (index == VIM_NO_INDEX) {
        pending->block = VIM_NO_INDEX;
        return;
    }
    state = history_get_block(history, index);
    if (pending->ready_ms == 0 && state.starting == 0 && state.ready == state.desired &&
        history_end(history) > pending->acted_ms) {
        pending->ready_ms = history_end(history);
        action.ready = pending->ready_ms;
        history_set_action(history, &action);
    }
    if (pending->ready_ms == 0 && now - pending->acted_ms > guard->rules.ready_timeout_ms) {
        event->kind = GUARD_NOT_READY;
        event->outcome = VIM_OUTCOME_UNCLEAR;
        snprintf(event->text, sizeof event->text,
                 "%s %+d: %u of %u replicas are ready after %lld s",
                 guard->blocks[pending->block].name, pending->delta, state.ready, state.desired,
                 (long long)(now - pending->acted_ms) / 1000);
        settle(guard, history, VIM_OUTCOME_UNCLEAR);
    } else if (pending->ready_ms &&
               history_end(history) >= pending->ready_ms + (int64_t)guard->rules.verify_windows *
                                                               history_window_ms(history)) {
        event->kind = GUARD_VERIFIED;
        event->outcome = judge_effect(guard, history, event);
        settle(guard, history, event->outcome);
    }
}

void guard_observe(struct guard *guard, int64_t now, struct history *history,
                   struct guard_event *ret_event)
{
    memset(ret_event, 0, sizeof *ret_event);
    for (uint32_t i = 0; i < history_block_count(history); i++)
        find_block(guard, history_block_name(history, i));
    if (guard->pending.block != VIM_NO_INDEX && !guard->rollback)
        watch_pending(guard, now, history, ret_event);
    for (uint32_t i = 0; i < history_block_count(history); i++) {
        struct history_block state = history_get_block(history, i);
        struct guard_block *block = find_block(guard, history_block_name(history, i));

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

static struct guard_ruling roll_back(struct guard *guard, const struct snapshot *snapshot)
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
        return stand_against(ruling, GUARD_RULE_NOT_SCALABLE, "the block to roll back is gone");
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

/* Size, limits, cooldown: of a wish that is no rollback. */
static struct guard_ruling rule_on_wish(struct guard *guard, int64_t now,
                                        const struct snapshot *snapshot, struct guard_ruling ruling)
{
    const struct guard_rules *rules = &guard->rules;
    const struct vim_policy_block *block = &snapshot->blocks[ruling.block];
    struct guard_block *mine = find_block(guard, block->name);
    bool out = ruling.delta > 0;
    int64_t cooldown = out ? rules->cooldown_out_ms : rules->cooldown_in_ms;
    int64_t delta = ruling.delta, target;

    if (!mine || !(block->flags & VIM_BLOCK_SCALABLE))
        return stand_against(ruling, GUARD_RULE_NOT_SCALABLE, "%s cannot be scaled", block->name);
    if (mine->tabu)
        return stand_against(ruling, GUARD_RULE_TABU, "%s is tabu for %u more decisions",
                             block->name, mine->tabu);
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

static struct guard_ruling rule_on(struct guard *guard, int64_t now,
                                   const struct snapshot *snapshot,
                                   const struct judgement *judgement)
{
    const struct vim_policy_decision *decision = &judgement->decision;
    struct guard_ruling ruling = {.block = VIM_NO_INDEX};
    const char *starting = NULL;
    int64_t age = now - snapshot->view.end;
    uint32_t probe, count;

    if (guard->open)
        return stand_against(ruling, GUARD_RULE_BREAKER, "the flap breaker is open");
    if (age > (int64_t)guard->rules.stale_windows * snapshot->view.window_ms)
        return stand_against(ruling, GUARD_RULE_STALE, "the last window ended %lld s ago",
                             (long long)age / 1000);
    count = blocks_starting(snapshot, &starting);
    if (guard->rollback && !count) {
        ruling = roll_back(guard, snapshot);
        if (!ruling.act) { /* it never will be */
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

void guard_acted(struct guard *guard, int64_t now, struct history *history,
                 const struct guard_ruling *ruling)
{
    struct guard_block *block = find_block(guard, history_block_name(history, ruling->block));
    uint32_t windows = guard->rules.verify_windows;
    struct history_action action = {
        .block = ruling->block, .delta = ruling->delta, .outcome = VIM_OUTCOME_PENDING};
    bool mixed = guard->pending.block != VIM_NO_INDEX;

    double offered = mean(history, "offered", windows, 0);

    if (is_reversal(guard, block, now, offered, ruling->delta) &&
        count_reversals(block, now, guard->rules.flap_ms) < GUARD_REVERSALS_MAX)
        block->reversals[block->reversal_count++] = now;
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
        .throughput = mean(history, "throughput", windows, 0),
        .offered = mean(history, "offered", windows, 0),
        .in_flight = mean(history, "in_flight", windows, 0),
        .p95 = mean(history, "latency_p95", windows, 0),
    };
}
