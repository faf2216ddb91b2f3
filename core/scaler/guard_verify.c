/* What came of the last action. */
#include "scaler/guard_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A tabu that is renewed is so much longer; at most so many times the first one. */
#define TABU_FACTOR 4u
#define TABU_FACTOR_MAX 64u

static uint32_t find_in_history(const struct history *history, const char *name)
{
    for (uint32_t i = 0; i < history_block_count(history); i++)
        if (strcmp(history_block_name(history, i), name) == 0)
            return i;
    return VIM_NO_INDEX;
}

double guard_mean(const struct history *history, const char *metric, uint32_t count, int64_t end)
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

#define SHARE_SIZE 24u

/* A change in per cent; what was not measured is said to be so. */
static const char *print_change(double value, char ret_text[SHARE_SIZE])
{
    snprintf(ret_text, SHARE_SIZE, isfinite(value) ? "%+.1f %%" : "not known", 100 * value);
    return ret_text;
}

static uint32_t judge_effect(const struct guard *guard, const struct history *history,
                             struct guard_event *event)
{
    const struct guard_pending *pending = &guard->pending;
    const struct guard_rules *rules = &guard->rules;
    uint32_t windows = rules->verify_windows;
    double slo = history_get_goals(history).slo_p95_ms;
    double p95 = guard_mean(history, "latency_p95", windows, 0);
    double throughput = change(pending->throughput, guard_mean(history, "throughput", windows, 0));
    double offered = change(pending->offered, guard_mean(history, "offered", windows, 0));
    double in_flight = change(pending->in_flight, guard_mean(history, "in_flight", windows, 0));
    double latency = change(pending->p95, p95);
    const char *name = guard->blocks[pending->block].name;
    char carried[SHARE_SIZE], slower[SHARE_SIZE], more[SHARE_SIZE];
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
    snprintf(event->text, sizeof event->text, "%s %+d: throughput %s, p95 %s, offered load %s: %s",
             name, pending->delta, print_change(throughput, carried), print_change(latency, slower),
             print_change(offered, more),
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

void guard_watch_pending(struct guard *guard, int64_t now, struct history *history,
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
