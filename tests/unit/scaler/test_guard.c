/* The safety rules, one by one, with a clock that the test turns. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "scaler/guard.h"

static struct history *history;
static struct snapshot snapshot;
static struct judgement judgement;
static struct guard guard;
static struct guard_event event;
static int64_t now;
static uint32_t a, b;

static int set_up(void **state)
{
    const struct history_block how = {VIM_BLOCK_SCALABLE, 2, 2, 0, 1, 10, 1, 0};

    (void)state;
    history = history_new("s", 5000, 48);
    a = history_block(history, "a");
    b = history_block(history, "b");
    history_set_block(history, a, &how);
    history_set_block(history, b, &how);
    guard_init(&guard, NULL);
    now = 1000000;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    history_free(history);
    return 0;
}

static void put(const char *metric, double value)
{
    history_put(history, HISTORY_SERVICE, 0, history_metric(HISTORY_SERVICE, metric), value);
}

/* COUNT windows pass. */
static void pass(int count, double throughput, double offered, double p95)
{
    for (int i = 0; i < count; i++) {
        now += 5000;
        assert_int_equal(history_open_window(history, now), VIM_OK);
        put("throughput", throughput);
        put("offered", offered);
        put("latency_p95", p95);
        put("in_flight", offered * p95 / 1000);
    }
}

/* The policy wishes DELTA on BLOCK (0: holds). */
static struct guard_ruling wish(uint32_t block, int32_t delta)
{
    guard_observe(&guard, now, history, &event);
    snapshot_build(history, 24, NULL, &snapshot);
    memset(&judgement, 0, sizeof judgement);
    judgement.block_count = 2;
    judgement.decision.verdict = delta > 0 ? VIM_SCALE_OUT : delta < 0 ? VIM_SCALE_IN : VIM_HOLD;
    judgement.decision.block = block;
    judgement.decision.delta = delta;
    return guard_rule(&guard, now, &snapshot, &judgement);
}

/* Does what was ruled; its replicas are ready at once. */
static void act(struct guard_ruling ruling)
{
    struct history_block how = history_get_block(history, ruling.block);

    assert_true(ruling.act);
    how.desired = how.ready = (uint32_t)((int32_t)how.desired + ruling.delta);
    history_set_block(history, ruling.block, &how);
    guard_acted(&guard, now, history, &ruling);
}

/* So many replicas of a more, and what is measured with them, for as long as their effect is looked at. */
static void act_and_see(int32_t delta, double throughput, double offered, double p95)
{
    pass(6, 100, 100, 50);
    act(wish(a, delta));
    pass(1, throughput, offered, p95);
    wish(a, 0);
    pass(3, throughput, offered, p95);
}

static void check_stopped(struct guard_ruling ruling, enum guard_rule_kind rule)
{
    assert_false(ruling.act);
    assert_string_equal(guard_rule_name(ruling.rule), guard_rule_name(rule));
    assert_true(ruling.text[0]);
}

static void steps_and_limits(void **state)
{
    struct guard_ruling ruling;

    (void)state;
    pass(6, 100, 100, 50);
    ruling = wish(a, 7);
    assert_true(ruling.act && ruling.delta == 4 && ruling.block == a && !ruling.own);
    ruling = wish(a, -3);
    assert_true(ruling.act && ruling.delta == -1);
    history_set_block(history, a,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 9, 9, 0, 1, 10, 1, 0});
    assert_int_equal(wish(a, 4).delta, 1);
    history_set_block(history, a,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 10, 10, 0, 1, 10, 1, 0});
    check_stopped(wish(a, 1), GUARD_RULE_LIMIT);
    history_set_block(history, a,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 1, 1, 0, 1, 10, 1, 0});
    check_stopped(wish(a, -1), GUARD_RULE_LIMIT);
    history_set_block(history, a, &(struct history_block){0, 2, 2, 0, 1, 10, 1, 0});
    check_stopped(wish(a, 1), GUARD_RULE_NOT_SCALABLE);
    assert_false(wish(a, 0).act);
}

static void the_budget_holds_whoever_decides(void **state)
{
    struct history_goals goals = {.budget_cores = 2};
    struct guard_ruling ruling;

    (void)state;
    pass(6, 100, 100, 50);
    history_set_goals(history, &goals);
    ruling = wish(a, 4); /* of one core each */
    assert_true(ruling.act);
    assert_int_equal(ruling.delta, 2);
    goals.budget_cores = 0.9;
    history_set_goals(history, &goals);
    check_stopped(wish(a, 1), GUARD_RULE_LIMIT);
    assert_true(wish(a, -1).act);
    goals.budget_cores = INFINITY;
    history_set_goals(history, &goals);
    assert_int_equal(wish(a, 4).delta, 4);
}

/* A right that is missing is not there ten seconds later either: nobody wants an event each time. */
static void who_could_not_be_scaled_is_left_alone(void **state)
{
    struct text text = {0};

    (void)state;
    pass(6, 100, 100, 50);
    assert_true(wish(a, 1).act);
    guard_failed(&guard, now, "a");
    pass(1, 100, 100, 50);
    check_stopped(wish(a, 1), GUARD_RULE_COOLDOWN);
    assert_true(wish(b, 1).act);
    pass(1, 100, 100, 50);
    assert_true(wish(a, 1).act); /* 10 s */
    for (int i = 0; i < 3; i++)
        guard_failed(&guard, now, "a");
    pass(15, 100, 100, 50);
    check_stopped(wish(a, 1), GUARD_RULE_COOLDOWN); /* 75 s */
    guard_print(&guard, &text);
    assert_int_equal(guard_parse(&guard, text_get(&text)), VIM_OK);
    check_stopped(wish(a, 1), GUARD_RULE_COOLDOWN);
    pass(1, 100, 100, 50);
    act(wish(a, 1)); /* 80 s */
    guard_failed(&guard, now, "a");
    pass(4, 130, 100, 50);
    assert_true(wish(a, 1).act); /* the first one again */
    guard_failed(&guard, now, "b");
    guard_reset(&guard);
    assert_true(wish(b, 1).act);
    text_free(&text);
}

/* Its size is not known while the platform is away, and others are not touched before. */
static void nothing_is_rolled_back_while_the_platform_is_away(void **state)
{
    struct history_block how;

    (void)state;
    act_and_see(3, 101, 101, 49);
    how = history_get_block(history, a);
    how.flags &= ~(uint32_t)VIM_BLOCK_SCALABLE;
    history_set_block(history, a, &how);
    check_stopped(wish(a, 0), GUARD_RULE_NOT_SCALABLE);
    how = history_get_block(history, a);
    how.flags |= VIM_BLOCK_SCALABLE;
    history_set_block(history, a, &how);
    assert_true(wish(a, 0).own);
    guard_failed(&guard, now, "a");
    check_stopped(wish(a, 0), GUARD_RULE_COOLDOWN);
    pass(2, 101, 101, 49);
    assert_int_equal(wish(a, 0).delta, -3);
    /* Where it does not come back the others are not held up for ever. */
    how.flags &= ~(uint32_t)VIM_BLOCK_SCALABLE;
    history_set_block(history, a, &how);
    pass(120, 101, 101, 49);
    check_stopped(wish(b, 1), GUARD_RULE_LIMIT);
    assert_true(wish(b, 1).act);
}

static void refused_judgements_do_nothing(void **state)
{
    struct guard_ruling ruling;

    (void)state;
    pass(6, 100, 100, 50);
    wish(a, 1);
    judgement.code = VIM_E_INVALID;
    snprintf(judgement.why, sizeof judgement.why, "nonsense");
    ruling = guard_rule(&guard, now, &snapshot, &judgement);
    check_stopped(ruling, GUARD_RULE_REFUSED);
    assert_string_equal(ruling.text, "nonsense");
}

static void stale_data_freezes(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    now += 15000;
    assert_true(wish(a, 1).act);
    now += 1;
    check_stopped(wish(a, 1), GUARD_RULE_STALE);
}

/* A service of which nothing was ever measured has no last window. */
static void what_was_never_measured_has_no_age(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    snapshot.view.end = 0;
    struct guard_ruling ruling = guard_rule(&guard, now, &snapshot, &judgement);
    check_stopped(ruling, GUARD_RULE_STALE);
    assert_string_equal(ruling.text, "nothing was measured yet");
}

static void nothing_while_a_replica_starts(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    history_set_block(history, b,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 3, 2, 1, 1, 10, 1, 0});
    check_stopped(wish(b, 1), GUARD_RULE_STARTING);
    check_stopped(wish(a, -1), GUARD_RULE_STARTING);
    assert_true(wish(a, 1).act);
}

static void cooldowns(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    act(wish(a, 1));
    pass(2, 110, 100, 50);
    check_stopped(wish(a, 1), GUARD_RULE_COOLDOWN); /* 10 s */
    pass(1, 110, 100, 50);
    assert_true(wish(a, 1).act); /* 15 s */
    check_stopped(wish(a, -1), GUARD_RULE_COOLDOWN);
    check_stopped(wish(b, -1), GUARD_RULE_VERIFYING);
    pass(20, 110, 100, 50);
    check_stopped(wish(a, -1), GUARD_RULE_COOLDOWN); /* 115 s */
    assert_true(wish(b, -1).act);
    pass(1, 110, 100, 50);
    assert_true(wish(a, -1).act); /* 120 s */
}

static void a_clock_that_was_set_back_does_not_stop_everything(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    act(wish(a, 1));
    assert_true(guard.pending.block != VIM_NO_INDEX);
    now -= 600000;
    history_forget(history);
    assert_int_equal(history_windows(history), 0);
    pass(4, 110, 100, 50);
    check_stopped(wish(a, 1), GUARD_RULE_COOLDOWN); /* not ten minutes more */
    pass(3, 110, 100, 50);
    assert_true(wish(a, 1).act);
    pass(4, 110, 100, 50);
    (void)wish(a, 0);
    assert_int_equal(event.kind, GUARD_VERIFIED);
    assert_true(guard.pending.block == VIM_NO_INDEX);
}

static void what_improved_is_kept(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    act(wish(a, 1));
    assert_int_equal(history_get_action(history).outcome, VIM_OUTCOME_PENDING);
    pass(1, 102, 102, 50);
    wish(a, 0); /* ready, seen in this window */
    pass(3, 102, 102, 50);
    wish(a, 0);
    assert_int_equal(event.kind, GUARD_VERIFIED);
    assert_int_equal(event.outcome, VIM_OUTCOME_IMPROVED);
    assert_int_equal(history_get_action(history).outcome, VIM_OUTCOME_IMPROVED);
    assert_string_equal(event.text,
                        "a +1: throughput +2.0 %, p95 +0.0 %, offered load +2.0 %: kept");
}

static void what_brought_nothing_is_rolled_back(void **state)
{
    struct guard_ruling ruling;

    (void)state;
    act_and_see(3, 101, 101, 49);
    ruling = wish(b, 1);
    assert_int_equal(event.outcome, VIM_OUTCOME_NO_GAIN);
    assert_true(ruling.act && ruling.own && ruling.block == a && ruling.delta == -3);
    act(ruling);
    assert_int_equal(history_get_block(history, a).desired, 2);
    assert_int_equal(history_get_action(history).outcome, VIM_OUTCOME_NO_GAIN);
    /* Tabu for six decisions, of which the rollback was the first; seen by the policy too. */
    for (int i = 0; i < 5; i++) {
        pass(4, 101, 101, 49);
        check_stopped(wish(a, 1), GUARD_RULE_TABU);
        assert_true(snapshot.blocks[a].flags & VIM_BLOCK_TABU);
    }
    pass(4, 101, 101, 49);
    assert_true(wish(a, 1).act);
    assert_false(snapshot.blocks[a].flags & VIM_BLOCK_TABU);
}

static void other_loads_tell_nothing(void **state)
{
    (void)state;
    act_and_see(1, 100, 150, 90);
    assert_false(wish(a, 0).act);
    assert_int_equal(event.outcome, VIM_OUTCOME_UNCLEAR);
}

/* Clients that wait for their answers offer less when it gets slower: the load is the same if as many
 * requests are in flight. */
static void closed_clients_are_the_same_load(void **state)
{
    (void)state;
    pass(6, 100, 100, 100);
    act(wish(a, 1));
    pass(1, 80, 80, 125);
    wish(a, 0);
    pass(3, 80, 80, 125);
    assert_true(wish(a, 0).own);
    assert_int_equal(event.outcome, VIM_OUTCOME_NO_GAIN);
}

/* 17 requests/s in 15 s: 255 of them scatter by 18 %; 1700/s by 1.8 %. */
static void scale_ins_may_scatter_but_not_cost(void **state)
{
    (void)state;
    pass(6, 17, 17, 50);
    act(wish(a, -1));
    pass(1, 16, 16, 60);
    wish(a, 0);
    pass(3, 16, 16, 60);
    wish(a, 0);
    assert_int_equal(event.outcome, VIM_OUTCOME_IMPROVED);
    pass(24, 1700, 1700, 50);
    act(wish(b, -1));
    pass(1, 1650, 1700, 60);
    wish(a, 0);
    pass(3, 1650, 1700, 60);
    assert_true(wish(a, 0).own);
    assert_int_equal(event.outcome, VIM_OUTCOME_NO_GAIN);
}

/* With a promise that is kept and nothing saturated there is nothing to gain yet. */
static void what_is_done_ahead_is_not_taken_back(void **state)
{
    const struct history_goals goals = {.slo_p95_ms = 200, .budget_cores = INFINITY};

    (void)state;
    history_set_goals(history, &goals);
    act_and_see(1, 100, 100, 50);
    assert_false(wish(a, 0).act);
    assert_int_equal(event.outcome, VIM_OUTCOME_UNCLEAR);
    assert_non_null(strstr(event.text, "done ahead of time"));
}

/* Latency is measured only while requests come, and a source may know no offered load at all. */
static void what_is_not_measured_is_said_to_be_so(void **state)
{
    (void)state;
    pass(6, 100, 100, NAN);
    act(wish(a, 1));
    pass(1, 103, 103, NAN);
    wish(a, 0);
    pass(3, 103, 103, NAN);
    wish(a, 0);
    assert_int_equal(event.kind, GUARD_VERIFIED);
    assert_string_equal(event.text,
                        "a +1: throughput +3.0 %, p95 not known, offered load +3.0 %: kept");
    pass(24, NAN, NAN, 50);
    act(wish(b, 1));
    pass(1, NAN, NAN, 40);
    wish(a, 0);
    pass(3, NAN, NAN, 40);
    wish(a, 0);
    assert_int_equal(event.kind, GUARD_VERIFIED);
    assert_string_equal(event.text,
                        "b +1: throughput not known, p95 -20.0 %, offered load not known: the load "
                        "changed too much to tell");
}

/* Somebody has taken replicas away, or none was ever started: the minimum is kept whatever the policy says. */
static void who_is_below_the_minimum_is_raised(void **state)
{
    struct guard_ruling ruling;

    (void)state;
    pass(6, 100, 100, 50);
    history_set_block(history, b,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 0, 0, 0, 6, 10, 1, 0});
    now += 1000000; /* there is nothing to measure without replicas */
    ruling = wish(a, 1);
    assert_true(ruling.act && ruling.own && ruling.block == b && ruling.delta == 4);
    assert_string_equal(ruling.text, "b +4: it has 0 replicas, fewer than its minimum of 6");
    act(ruling);
    pass(2, 100, 100, 50);
    assert_false(wish(b, 0).act); /* 10 s */
    pass(1, 100, 100, 50);
    ruling = wish(b, -1);
    assert_true(ruling.act && ruling.block == b && ruling.delta == 2);
    act(ruling);
    /* That it brought nothing is no reason to take it back. */
    pass(1, 100, 100, 50);
    assert_false(wish(a, 0).act);
    pass(3, 100, 100, 50);
    assert_false(wish(a, 0).act);
    assert_int_equal(event.outcome, VIM_OUTCOME_UNCLEAR);
    assert_int_equal(history_get_block(history, b).desired, 6);
    /* One whose platform does not answer is not known to be below it. */
    history_set_block(history, b, &(struct history_block){0, 0, 0, 0, 6, 10, 1, 0});
    pass(4, 100, 100, 50);
    assert_false(wish(a, 0).act);
}

static void replicas_that_never_come(void **state)
{
    (void)state;
    pass(6, 100, 100, 50);
    act(wish(a, 1));
    history_set_block(history, a,
                      &(struct history_block){VIM_BLOCK_SCALABLE, 3, 2, 1, 1, 10, 1, 0});
    pass(60, 100, 100, 50);
    wish(a, 0);
    assert_int_equal(event.kind, GUARD_NO_EVENT);
    pass(1, 100, 100, 50);
    wish(a, 0);
    assert_int_equal(event.kind, GUARD_NOT_READY);
}

static void flaps_open_the_breaker(void **state)
{
    struct guard_rules rules = guard_defaults;

    (void)state;
    rules.cooldown_in_ms = 5000;
    rules.cooldown_out_ms = 5000;
    guard_init(&guard, &rules);
    pass(6, 100, 100, 50);
    for (int i = 0; i < 5; i++) { /* the first is no reversal */
        act(wish(a, i % 2 ? -1 : 1));
        pass(5, 200.0 + 50 * i, 100, 50);
        wish(a, 0);
        pass(5, 200.0 + 50 * i, 100, 50);
    }
    check_stopped(wish(a, -1), GUARD_RULE_FLAPS);
    check_stopped(wish(b, 1), GUARD_RULE_BREAKER);
    guard_reset(&guard);
    assert_true(wish(b, 1).act);
}

static void who_follows_the_load_does_not_flap(void **state)
{
    struct guard_rules rules = guard_defaults;

    (void)state;
    rules.cooldown_in_ms = rules.cooldown_out_ms = 5000;
    guard_init(&guard, &rules);
    for (int i = 0; i < 12; i++) {
        double load = i % 2 ? 100 : 150;

        pass(6, load, load, 50);
        wish(a, 0);
        pass(6, load, load, 50);
        act(wish(a, i % 2 ? -1 : 1));
    }
}

static void idle_neighbours_are_probed(void **state)
{
    struct guard_ruling ruling;

    (void)state;
    pass(6, 100, 100, 50);
    wish(a, 0);
    judgement.scores[a].saturation = 0.95;
    judgement.scores[a].gates = VIM_GATE_PEAK;
    judgement.scores[b].saturation = 0.1;
    ruling = guard_rule(&guard, now, &snapshot, &judgement);
    assert_true(ruling.act && ruling.own && ruling.block == b && ruling.delta == -1);
    judgement.scores[a].gates = 0; /* it can be scaled out: no need */
    assert_false(guard_rule(&guard, now, &snapshot, &judgement).act);
    judgement.scores[a].gates = VIM_GATE_PEAK;
    judgement.scores[b].saturation = 0.5; /* busy */
    assert_false(guard_rule(&guard, now, &snapshot, &judgement).act);
}

static void state_goes_on_in_another_process(void **state)
{
    struct text text = {0}, again = {0};
    struct guard other;

    (void)state;
    pass(6, 100, 100, 50);
    act(wish(a, 3));
    pass(1, 100, 100, 50);
    wish(a, 0);
    guard_print(&guard, &text);
    guard_init(&other, NULL);
    assert_int_equal(guard_parse(&other, text_get(&text)), VIM_OK);
    guard_print(&other, &again);
    assert_string_equal(text_get(&text), text_get(&again));
    guard = other;
    pass(3, 100, 100, 50);
    assert_int_equal(wish(a, 0).delta, -3);
    assert_int_equal(guard_parse(&other, "[1]"), VIM_E_INVALID);
    assert_int_equal(guard_parse(&other, "{\"blocks\":7,\"pending\":{}}"), VIM_OK);
    text_free(&text);
    text_free(&again);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(steps_and_limits),
        RULE(the_budget_holds_whoever_decides),
        RULE(who_could_not_be_scaled_is_left_alone),
        RULE(nothing_is_rolled_back_while_the_platform_is_away),
        RULE(refused_judgements_do_nothing),
        RULE(stale_data_freezes),
        RULE(what_was_never_measured_has_no_age),
        RULE(nothing_while_a_replica_starts),
        RULE(cooldowns),
        RULE(a_clock_that_was_set_back_does_not_stop_everything),
        RULE(what_improved_is_kept),
        RULE(what_brought_nothing_is_rolled_back),
        RULE(other_loads_tell_nothing),
        RULE(closed_clients_are_the_same_load),
        RULE(scale_ins_may_scatter_but_not_cost),
        RULE(what_is_done_ahead_is_not_taken_back),
        RULE(what_is_not_measured_is_said_to_be_so),
        RULE(who_is_below_the_minimum_is_raised),
        RULE(replicas_that_never_come),
        RULE(flaps_open_the_breaker),
        RULE(who_follows_the_load_does_not_flap),
        RULE(idle_neighbours_are_probed),
        RULE(state_goes_on_in_another_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
