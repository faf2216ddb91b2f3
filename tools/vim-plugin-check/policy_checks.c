/*
 * Policies: decide() is pure, copes with what is missing, and is quick (policy.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "allocations.h"
#include "base/clock.h"
#include "base/text.h"
#include "check.h"
#include "plugin/instance.h"
#include "policy_world.h"
#include "scaler/judge.h"
#include "subject.h"
#include "uses.h"

#define WORLDS 60
#define BLOCKS_LARGE 32u
#define WINDOWS_LARGE 256u
#define DECIDE_SECONDS 5u /* a call that takes longer hangs */
#define DECIDE_MOST_US 1000
#define TENTH_MOST_US 3000 /* of the slowest tenth: caches and interrupts are not the policy's */
#define ROUNDS 200u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static struct judgement judgement;

static int ask(struct run *run, struct instance *policy, const struct snapshot *snapshot)
{
    int code;

    check_within(run, DECIDE_SECONDS);
    code = judge(policy, snapshot, SUBJECT_CALL_MS, &judgement);
    check_within(run, 0);
    return code;
}

/* Decides on a world; all of the decision as text. */
static int decide(struct run *run, struct instance *policy, const struct world *world,
                  const char *kept, struct text *ret_text)
{
    static struct snapshot snapshot;
    struct history *history = make_history(world);
    int code;

    snapshot_build(history, world->windows, kept, &snapshot);
    code = ask(run, policy, &snapshot);
    text_clear(ret_text);
    judge_print(&snapshot.view, &judgement, ret_text);
    text_add(ret_text, judgement.kept_set ? judgement.kept : "");
    history_free(history);
    return code;
}

/* --- Checks ---------------------------------------------------------------------------------- */

static void check_sense(struct run *run)
{
    CLEANUP_TEXT struct text text = {0};
    unsigned acting = 0;

    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = random_world(seed);

        REQUIRE(run, decide(run, run->instance, &world, NULL, &text) == VIM_OK, "world %u: %s",
                (unsigned)seed, judgement.why);
        REQUIRE(run, judgement.decision.reason[0], "world %u: a decision without a reason",
                (unsigned)seed);
        acting += judgement.decision.verdict == VIM_SCALE_OUT;
    }
    check_note(run, "%u of %d worlds are scaled out", acting, WORLDS);
}

/* Before anything else: what a process has not decided on yet is no reason to decide differently. */
static void check_first(struct run *run)
{
    CLEANUP_TEXT struct text first = {0}, between = {0}, again = {0};
    struct world world = random_world(0), other = random_world(1000);

    decide(run, run->instance, &world, NULL, &first);
    decide(run, run->instance, &other, NULL, &between);
    decide(run, run->instance, &world, NULL, &again);
    REQUIRE(run, text_equal(text_get(&first), text_get(&again)), "first %s; then %s",
            text_get(&first), text_get(&again));
}

/* A decision on another world lies between the two. */
static void check_twice(struct run *run)
{
    CLEANUP_TEXT struct text first = {0}, between = {0}, second = {0};

    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = random_world(seed), other = random_world(seed + 1000);

        decide(run, run->instance, &world, NULL, &first);
        decide(run, run->instance, &other, NULL, &between);
        decide(run, run->instance, &world, NULL, &second);
        REQUIRE(run, text_equal(text_get(&first), text_get(&second)), "first %s; then %s",
                text_get(&first), text_get(&second));
    }
}

static void check_order(struct run *run)
{
    CLEANUP_TEXT struct text first = {0}, second = {0};

    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = random_world(seed);

        decide(run, run->instance, &world, NULL, &first);
        world.reversed = true;
        decide(run, run->instance, &world, NULL, &second);
        REQUIRE(run, text_equal(text_get(&first), text_get(&second)), "in order %s; reversed %s",
                text_get(&first), text_get(&second));
    }
}

/* In a child: exit code 0 if an instance of its own decides the same. */
static int decide_elsewhere(struct run *run, const struct world *world, const char *expected)
{
    CLEANUP_TEXT struct text text = {0};
    struct instance *own = subject_open(run, "elsewhere");

    if (!own)
        return 2;
    clock_sleep_ms(2);
    decide(run, own, world, NULL, &text);
    subject_close(own);
    return strcmp(text_get(&text), expected) == 0 ? 0 : 1;
}

static void check_process(struct run *run)
{
    CLEANUP_TEXT struct text text = {0};

    for (uint64_t seed = 0; seed < 10; seed++) {
        struct world world = random_world(seed);
        int status = 0;
        pid_t child;

        decide(run, run->instance, &world, NULL, &text);
        fflush(NULL);
        child = fork();
        if (child == 0)
            _exit(decide_elsewhere(run, &world, text_get(&text)));
        REQUIRE(run, child > 0 && waitpid(child, &status, 0) == child, "no process");
        REQUIRE(run, status == 0, "world %u is decided differently there (%s)", (unsigned)seed,
                WIFEXITED(status) ? "another decision" : "it died");
    }
}

static void require_no_action(struct run *run, const struct world *world, const char *kept)
{
    CLEANUP_TEXT struct text text = {0};

    decide(run, run->instance, world, kept, &text);
    REQUIRE(run, judgement.code == VIM_OK || judgement.code == VIM_E_INVALID, "%s: %s",
            code_name(judgement.code), judgement.why);
    REQUIRE(run,
            judgement.code != VIM_OK || (judgement.decision.verdict != VIM_SCALE_OUT &&
                                         judgement.decision.verdict != VIM_SCALE_IN &&
                                         judgement.decision.verdict != VIM_ROLLBACK),
            "%s on it: %s", judge_verdict_name(judgement.decision.verdict),
            judgement.decision.reason);
}

static void check_nan(struct run *run)
{
    struct world world = {.seed = 1, .blocks = 5, .windows = 24, .filling = FILL_NAN};

    require_no_action(run, &world, NULL);
}

static void check_absent(struct run *run)
{
    struct world world = {.seed = 1, .blocks = 5, .windows = 24, .filling = FILL_NOTHING};

    require_no_action(run, &world, NULL);
}

static void check_no_blocks(struct run *run)
{
    struct world world = {.seed = 1, .blocks = 0, .windows = 24};

    require_no_action(run, &world, NULL);
}

static void check_no_windows(struct run *run)
{
    struct world world = {.seed = 1, .blocks = 5, .windows = 0};

    require_no_action(run, &world, NULL);
}

static void require_sense(struct run *run, const struct world *world, const char *kept)
{
    CLEANUP_TEXT struct text text = {0};

    REQUIRE(run, decide(run, run->instance, world, kept, &text) == VIM_OK, "%s", judgement.why);
}

static void check_one_block(struct run *run)
{
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = {.seed = seed, .blocks = 1, .windows = 24};

        require_sense(run, &world, NULL);
    }
}

static void check_one_window(struct run *run)
{
    struct world world = {.seed = 1, .blocks = 5, .windows = 1};

    require_sense(run, &world, NULL);
}

static void check_extremes(struct run *run)
{
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = {.seed = seed, .blocks = 5, .windows = 24, .filling = FILL_EXTREME};

        require_sense(run, &world, NULL);
    }
}

static void check_kept(struct run *run)
{
    static char long_text[VIM_KEPT_MAX + 1];
    static const char *const texts[] = {"",
                                        "\n",
                                        "block-00",
                                        "block-00\t\n\t:\t:|::",
                                        "{\"a\":[1,",
                                        "block-00\t1e999\tnan\t-1\t99999999999999999999\t1:2:3",
                                        "%s%n%d \xc3\xa9 \xff"};

    memset(long_text, '9', VIM_KEPT_MAX);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct world world = random_world(i);

        require_sense(run, &world, texts[i]);
        require_sense(run, &world, long_text);
    }
}

static void check_large(struct run *run)
{
    struct world world = {.seed = 3, .blocks = BLOCKS_LARGE, .windows = WINDOWS_LARGE};

    require_sense(run, &world, NULL);
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

static int64_t thread_cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* How often this thread has given up its processor by itself. */
static long waits(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/* By the processor time, so that a busy machine does not make a policy slow, and by how many calls kept within the
 * time, so that neither a few lucky calls nor a few unlucky ones decide. Who waits uses no time: that counts apart. */
static void check_speed(struct run *run)
{
    static struct snapshot snapshot;
    struct world world = {.seed = 3, .blocks = BLOCKS_LARGE, .windows = WINDOWS_LARGE};
    struct history *history = make_history(&world);
    int64_t patience = check_patience();
    int64_t took[ROUNDS];
    unsigned waited = 0;

    snapshot_build(history, WINDOWS_LARGE, NULL, &snapshot);
    for (unsigned i = 0; i < ROUNDS; i++) {
        long waits_before = waits();
        int64_t start = thread_cpu_us();

        ask(run, run->instance, &snapshot);
        took[i] = thread_cpu_us() - start;
        waited += waits() != waits_before;
    }
    history_free(history);
    qsort(took, ROUNDS, sizeof took[0], compare_times);
    check_note(run,
               "%lld us of processor time; a tenth took %lld us or more; it waited in %u calls",
               (long long)took[ROUNDS / 2], (long long)took[ROUNDS - ROUNDS / 10], waited);
    REQUIRE(run, waited <= ROUNDS / 10, "it waited for something in %u of %u calls", waited,
            ROUNDS);
    if (SANITIZED || check_under_valgrind()) {
        check_skip(run, "a sanitizer makes it slow");
        return;
    }
    REQUIRE(run,
            took[ROUNDS / 2] <= DECIDE_MOST_US * patience &&
                took[ROUNDS - ROUNDS / 10] <= TENTH_MOST_US * patience,
            "half of %u took %lld us of processor time or more, a tenth %lld us", ROUNDS,
            (long long)took[ROUNDS / 2], (long long)took[ROUNDS - ROUNDS / 10]);
}

/* Decides on a world with nothing around it, and hands over what was seen of that. */
static void decide_watched(struct run *run, const struct world *world, const char *kept,
                           unsigned *ret_allocations, const char **ret_use)
{
    static struct snapshot snapshot;
    const struct vim_policy_ops *ops = instance_policy(run->instance);
    struct history *history = make_history(world);
    struct vim_policy_score scores[HISTORY_BLOCKS_MAX];
    struct vim_policy_decision decision = {.size = sizeof decision,
                                           .scores = scores,
                                           .score_count = world->blocks,
                                           .score_stride = sizeof scores[0]};
    struct vim_call call;

    *ret_allocations = 0;
    *ret_use = NULL;
    memset(scores, 0, sizeof scores);
    snapshot_build(history, world->windows, kept, &snapshot);
    call_init(&call, clock_mono_ms() + SUBJECT_CALL_MS);
    /* What keep() copies to is the host's, and not counted. */
    text_reserve(&call.kept, VIM_KEPT_MAX + 1);
    if (instance_enter(run->instance, &call) == VIM_OK) {
        int code;

        check_within(run, DECIDE_SECONDS);
        allocations_watch();
        uses_watch();
        code = ops->decide(&call, instance_handle(run->instance), &snapshot.view, &decision);
        *ret_use = uses_watched();
        *ret_allocations = allocations_watched();
        check_within(run, 0);
        instance_leave(run->instance, &call, code);
    }
    call_free(&call);
    history_free(history);
}

/* Worlds of all sizes, the last ones as large as they get, empty and without values. */
static struct world any_world(uint64_t seed)
{
    struct world world = random_world(seed);

    if (seed >= WORLDS - 5)
        world = (struct world){.seed = seed, .blocks = BLOCKS_LARGE, .windows = WINDOWS_LARGE};
    if (seed == WORLDS - 4)
        world.filling = FILL_NAN;
    if (seed == WORLDS - 3)
        world.filling = FILL_EXTREME;
    if (seed == WORLDS - 2)
        world.blocks = 1;
    if (seed == WORLDS - 1)
        world.windows = 1;
    return world;
}

static void check_allocations(struct run *run)
{
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = any_world(seed);
        unsigned count;
        const char *use;

        decide_watched(run, &world, seed % 2 ? "block-00\t1\t2\n" : NULL, &count, &use);
        REQUIRE(run, count == 0, "world %u: memory was asked for %u times", (unsigned)seed, count);
    }
}

static void check_uses(struct run *run)
{
    if (!uses_can_watch()) {
        check_skip(run, "a sanitizer is in the way");
        return;
    }
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = any_world(seed);
        unsigned count;
        const char *use;

        decide_watched(run, &world, seed % 2 ? "block-00\t1\t2\n" : NULL, &count, &use);
        REQUIRE(run, !use, "world %u: %s() was called", (unsigned)seed, use);
    }
}

void policy_group(struct run *run)
{
    static const struct check checks[] = {
        {"the first decision is like any other", check_first},
        {"decisions make sense and say why", check_sense},
        {"the same snapshot twice gives the same decision", check_twice},
        {"the order of blocks and edges changes nothing", check_order},
        {"another process decides the same", check_process},
        {"nothing is done when every value is missing", check_nan},
        {"nothing is done when nothing is measured", check_absent},
        {"nothing is done without blocks", check_no_blocks},
        {"nothing is done without windows", check_no_windows},
        {"one block", check_one_block},
        {"one window", check_one_window},
        {"zero, negative and huge values, and no replicas", check_extremes},
        {"what was kept may be anything", check_kept},
        {"32 blocks with 256 windows", check_large},
        {"32 blocks with 256 windows take 1 ms at most", check_speed},
        {"decide() allocates nothing", check_allocations},
        {"decide() asks for no clock, chance, file, thread or environment", check_uses},
    };

    run_checks_apart(run, checks, sizeof checks / sizeof checks[0]);
}
