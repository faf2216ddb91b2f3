/* What a policy answers is not trusted: nonsense, hangs and crashes become errors that say why. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "scaler/judge.h"

static void (*behave)(struct vim_policy_decision *decision);
static const struct vim_host *host;
static char seen_kept[64];
static const char *keeps = "mine";

static int decide(struct vim_call *call, void *instance, const struct vim_policy_snapshot *snapshot,
                  struct vim_policy_decision *decision)
{
    (void)instance;
    snprintf(seen_kept, sizeof seen_kept, "%s", snapshot->kept ? snapshot->kept : "(none)");
    decision->verdict = VIM_SCALE_OUT;
    decision->block = 1;
    decision->delta = 1;
    decision->confidence = 0.5;
    snprintf(decision->reason, sizeof decision->reason, "because");
    if (behave)
        behave(decision);
    host->keep(call, keeps);
    return VIM_OK;
}

static int open_policy(struct vim_call *call, const struct vim_host *given, struct vim_self *self,
                       const void *config, void **ret_instance)
{
    (void)call, (void)self, (void)config;
    host = given;
    *ret_instance = NULL;
    return VIM_OK;
}

static void close_policy(void *instance)
{
    (void)instance;
}

static int probe_policy(struct vim_call *call, void *instance)
{
    (void)call, (void)instance;
    return VIM_OK;
}

static const struct vim_policy_ops ops = {.size = sizeof ops, .windows = 8, .decide = decide};
static const struct vim_plugin descriptor = {.size = sizeof descriptor,
                                             .abi = VIM_ABI,
                                             .type = VIM_POLICY,
                                             .name = "scripted",
                                             .version = "1",
                                             .summary = "For tests.",
                                             .open = open_policy,
                                             .close = close_policy,
                                             .probe = probe_policy,
                                             .ops = &ops};

static struct plugin *plugin;
static struct instance *policy;
static struct history *history;
static struct snapshot snapshot;
static struct judgement judgement;

static int set_up(void **state)
{
    struct instance_settings settings = {.name = "scripted"};
    struct text reason = {0};
    const struct history_block how = {VIM_BLOCK_SCALABLE, 2, 2, 0, 1, 8, 1, 0};

    (void)state;
    plugin = plugin_from_descriptor(&descriptor, "(here)");
    assert_int_equal(instance_open_raw(plugin, &settings, NULL, &policy, &reason), VIM_OK);
    history = history_new("s", 5000, 8);
    history_set_block(history, history_block(history, "a"), &how);
    history_set_block(history, history_block(history, "b"), &how);
    history_open_window(history, 5000);
    snapshot_build(history, 8, "before", &snapshot);
    text_free(&reason);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    instance_release(policy);
    history_free(history);
    plugin_free(plugin);
    return 0;
}

static void sound_decisions_pass(void **state)
{
    (void)state;
    behave = NULL;
    assert_int_equal(judge(policy, &snapshot, 1000, &judgement), VIM_OK);
    assert_int_equal(judgement.decision.block, 1);
    assert_true(judgement.kept_set);
    assert_string_equal(judgement.kept, "mine");
    assert_string_equal(seen_kept, "before");
    assert_int_equal(judge_apart(policy, &snapshot, 5000, &judgement), VIM_OK);
    assert_int_equal(judgement.decision.block, 1);
    assert_string_equal(judgement.kept, "mine");
    assert_string_equal(judgement.decision.reason, "because");
}

/* --- Nonsense -------------------------------------------------------------------------------- */

static void unknown_block(struct vim_policy_decision *decision)
{
    decision->block = 2;
}

static void many_replicas(struct vim_policy_decision *decision)
{
    decision->delta = 10000;
}

static void wrong_sign(struct vim_policy_decision *decision)
{
    decision->delta = -1;
}

static void no_replicas(struct vim_policy_decision *decision)
{
    decision->delta = 0;
}

static void smallest_number(struct vim_policy_decision *decision)
{
    decision->delta = INT32_MIN;
}

static void nan_score(struct vim_policy_decision *decision)
{
    decision->scores[1].score = NAN;
}

static void nan_confidence(struct vim_policy_decision *decision)
{
    decision->confidence = NAN;
}

static void infinite_throughput(struct vim_policy_decision *decision)
{
    decision->throughput = INFINITY;
}

static void unknown_verdict(struct vim_policy_decision *decision)
{
    decision->verdict = 99;
}

static void no_reason(struct vim_policy_decision *decision)
{
    decision->reason[0] = '\0';
}

static void binary_reason(struct vim_policy_decision *decision)
{
    memset(decision->reason, 0xFF, sizeof decision->reason);
}

static void lines_of_reason(struct vim_policy_decision *decision)
{
    snprintf(decision->reason, sizeof decision->reason, "because\n0\tother\tscale_in");
}

static void hold_by_many(struct vim_policy_decision *decision)
{
    decision->verdict = VIM_HOLD;
    decision->delta = 3;
}

static void unknown_edge(struct vim_policy_decision *decision)
{
    decision->verdict = VIM_NOT_SCALABLE;
    decision->edge = 7;
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        void (*behave)(struct vim_policy_decision *decision);
        const char *why;
    } cases[] = {
        {unknown_block, "scale_out of block 2: there are 2"},
        {many_replicas, "scale_out of b by 10000 replicas: 1..64 make sense"},
        {wrong_sign, "scale_out of b by -1 replicas: the wrong sign"},
        {no_replicas, "scale_out of b by 0 replicas: 1..64 make sense"},
        {smallest_number, "scale_out of b by -2147483648 replicas: 1..64 make sense"},
        {nan_score, "scale_out of b, whose score is not a number"},
        {nan_confidence, "confidence nan is not within 0..1"},
        {infinite_throughput, "predicts a throughput of inf and a p95 of 0"},
        {unknown_verdict, "verdict 99 is unknown"},
        {no_reason, "scale_out of b without a reason"},
        {binary_reason, "the reason is no text"},
        {lines_of_reason, "the reason is no text"},
        {hold_by_many, "hold by +3 replicas: that changes nothing"},
        {unknown_edge, "edge 7: there are 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        behave = cases[i].behave;
        assert_int_equal(judge(policy, &snapshot, 1000, &judgement), VIM_E_INVALID);
        assert_string_equal(judgement.why, cases[i].why);
        assert_false(judgement.kept_set);
        assert_int_equal(judge_apart(policy, &snapshot, 5000, &judgement), VIM_E_INVALID);
        assert_string_equal(judgement.why, cases[i].why);
        assert_false(judgement.kept_set);
    }
}

/* It is stored as JSON, which has no other: the process that takes over would not have it. */
static void what_is_kept_is_text(void **state)
{
    (void)state;
    behave = NULL;
    keeps = "mine \xFF";
    assert_int_equal(judge(policy, &snapshot, 1000, &judgement), VIM_E_INVALID);
    assert_string_equal(judgement.why, "what it keeps is no text");
    assert_false(judgement.kept_set);
    assert_int_equal(judge_apart(policy, &snapshot, 5000, &judgement), VIM_E_INVALID);
    keeps = "mine";
}

/* --- Misbehaviour ---------------------------------------------------------------------------- */

static void hang(struct vim_policy_decision *decision)
{
    (void)decision;
    for (;;)
        pause();
}

static void crash(struct vim_policy_decision *decision)
{
    (void)decision;
    abort();
}

static void end(struct vim_policy_decision *decision)
{
    (void)decision;
    _exit(7);
}

static int64_t fork_takes_ms;

static void be_slow(void)
{
    clock_sleep_ms(fork_takes_ms);
}

/* As in a large process on a busy machine: the policy is done before we look. */
static void what_is_there_counts_however_late_we_look(void **state)
{
    (void)state;
    assert_int_equal(pthread_atfork(NULL, be_slow, NULL), 0);
    fork_takes_ms = 500;
    behave = NULL;
    assert_int_equal(judge_apart(policy, &snapshot, 100, &judgement), VIM_OK);
    assert_string_equal(judgement.decision.reason, "because");
    behave = end;
    assert_int_equal(judge_apart(policy, &snapshot, 100, &judgement), VIM_E_INTERNAL);
    assert_string_equal(judgement.why, "ended the process (exit status 7)");
    behave = hang;
    assert_int_equal(judge_apart(policy, &snapshot, 100, &judgement), VIM_E_TIMEOUT);
    fork_takes_ms = 0;
}

static void hangs_and_crashes_stay_apart(void **state)
{
    int64_t start = clock_mono_ms();

    (void)state;
    behave = hang;
    assert_int_equal(judge_apart(policy, &snapshot, 100, &judgement), VIM_E_TIMEOUT);
    assert_string_equal(judgement.why, "no decision within 100 ms");
    assert_true(clock_mono_ms() - start < 30000);
    behave = crash;
    assert_int_equal(judge_apart(policy, &snapshot, 30000, &judgement), VIM_E_INTERNAL);
    assert_string_equal(judgement.why, "crashed (SIGABRT)");
    behave = end;
    assert_int_equal(judge_apart(policy, &snapshot, 30000, &judgement), VIM_E_INTERNAL);
    assert_string_equal(judgement.why, "ended the process (exit status 7)");
}

/* Its decision lies among what is ours. */
static void write_over(struct vim_policy_decision *decision)
{
    struct judgement *around = (void *)((char *)decision - offsetof(struct judgement, decision));
    around->block_count = HISTORY_BLOCKS_MAX + 20;
    memset(around->why, 'x', sizeof around->why);
}

static void what_is_written_over_is_not_believed(void **state)
{
    struct text text = {0};

    (void)state;
    behave = write_over;
    assert_int_equal(judge(policy, &snapshot, 1000, &judgement), VIM_OK);
    assert_int_equal(judgement.block_count, 2);
    assert_int_equal(judge_apart(policy, &snapshot, 5000, &judgement), VIM_OK);
    assert_int_equal(judgement.block_count, 2);
    assert_true(memchr(judgement.why, '\0', sizeof judgement.why) != NULL);
    judge_print(&snapshot.view, &judgement, &text);
    assert_non_null(strstr(text_get(&text), "scale_out b 1"));
    text_free(&text);
}

static void digests_tell_decisions_apart(void **state)
{
    struct judge_digest one = {0}, two = {0};
    char first[DIGEST_HEX_SIZE], second[DIGEST_HEX_SIZE];

    (void)state;
    behave = NULL;
    judge(policy, &snapshot, 1000, &judgement);
    judge_digest_add(&one, &snapshot.view, &judgement);
    judge_digest_add(&two, &snapshot.view, &judgement);
    assert_string_equal(judge_digest_hex(&one, first), judge_digest_hex(&two, second));
    judgement.scores[0].level = nextafter(judgement.scores[0].level, 1);
    judge_digest_add(&one, &snapshot.view, &judgement);
    judgement.scores[0].level = 0;
    judge_digest_add(&two, &snapshot.view, &judgement);
    assert_string_not_equal(judge_digest_hex(&one, first), judge_digest_hex(&two, second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_decisions_pass),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(what_is_kept_is_text),
        cmocka_unit_test(hangs_and_crashes_stay_apart),
        cmocka_unit_test(what_is_there_counts_however_late_we_look),
        cmocka_unit_test(what_is_written_over_is_not_believed),
        cmocka_unit_test(digests_tell_decisions_apart),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
