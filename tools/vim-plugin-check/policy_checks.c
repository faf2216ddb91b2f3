/*
 * Policies: decide() is pure, copes with what is missing, and is quick (policy.h).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocations.h"
#include "base/clock.h"
#include "base/text.h"
#include "check.h"
#include "plugin/instance.h"
#include "scaler/judge.h"
#include "subject.h"
#include "uses.h"

#define WORLDS 60
#define BLOCKS_LARGE 32u
#define WINDOWS_LARGE 256u
#define DECIDE_MOST_US 1000
#define ROUNDS 200

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* --- Worlds ---------------------------------------------------------------------------------- */

enum filling { FILL_SENSIBLE, FILL_NAN, FILL_NOTHING, FILL_EXTREME };

struct world {
    uint64_t seed;
    uint32_t blocks, windows;
    enum filling filling;
    bool reversed; /* blocks and edges in the opposite order: the same world all the same */
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t value = a * 0x9E3779B97F4A7C15u + b + 0x632BE59BD9B4E019u;

    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* In 0..1, by what is asked for, not by when. */
static double draw(const struct world *world, uint64_t a, uint64_t b, uint64_t c)
{
    return (double)(mix(mix(mix(world->seed, a), b), c) >> 11) * 0x1p-53;
}

static double value_of(const struct world *world, uint64_t thing, uint32_t metric, uint32_t window)
{
    static const double extremes[] = {0, -1, 1e-300, 1e300, -1e300, 1e18, 1, 0.5};
    double low = 20 * draw(world, thing, metric, 1000), grow = 2 * draw(world, thing, metric, 1001);

    if (world->filling == FILL_NAN)
        return NAN;
    if (world->filling == FILL_EXTREME)
        return extremes[(size_t)(8 * draw(world, thing, metric, window)) % 8];
    if (draw(world, thing, metric, 2000 + window) < 0.03)
        return NAN;
    return low * (1 + grow * window / world->windows) *
           (0.95 + 0.1 * draw(world, thing, metric, window));
}

static void put_all(struct history *history, const struct world *world, enum history_scope scope,
                    uint32_t index, uint64_t thing, uint32_t window)
{
    if (world->filling == FILL_NOTHING)
        return;
    for (uint32_t m = 0; m < history_metric_count(scope); m++) {
        double value = value_of(world, thing, m, window);
        const char *name = history_metric_name(scope, m);

        if (world->filling == FILL_SENSIBLE &&
            (strcmp(name, "cpu") == 0 || strstr(name, "pressure") ||
             strcmp(name, "throttled") == 0))
            value /= 60;
        history_put(history, scope, index, m, value);
    }
}

static void set_block(struct history *history, const struct world *world, uint32_t index,
                      uint32_t block)
{
    uint32_t ready = 1 + (uint32_t)(6 * draw(world, block, 300, 0));
    const struct history_block state = {
        .flags = draw(world, block, 301, 0) < 0.9 ? VIM_BLOCK_SCALABLE : 0,
        .desired = ready,
        .ready = world->filling == FILL_EXTREME && block % 3 == 0 ? 0 : ready,
        .starting = draw(world, block, 302, 0) < 0.1,
        .minimum = 1,
        .maximum = world->filling == FILL_EXTREME && block % 2 ? 0 : 12,
        .quota_cores = world->filling == FILL_EXTREME ? -1 : 1,
        .threads = draw(world, block, 303, 0) < 0.5 ? 16 : 0};

    history_set_block(history, index, &state);
}

static uint32_t placed(const struct world *world, uint32_t index)
{
    return world->reversed ? world->blocks - 1 - index : index;
}

/* The caller frees it. */
static struct history *make_history(const struct world *world)
{
    struct history *history = history_new("checked", 5000, world->windows < 2 ? 2 : world->windows);
    const struct history_goals goals = {draw(world, 1, 1, 1) < 0.5 ? 15 : 0, 0, INFINITY};
    char name[24];

    for (uint32_t i = 0; i < world->blocks; i++) {
        snprintf(name, sizeof name, "block-%02u", placed(world, i));
        history_block(history, name);
    }
    /* A tree: block n is called by block (n - 1) / 2. */
    for (uint32_t i = 0; i < world->blocks; i++) {
        uint32_t block = placed(world, i);

        if (block > 0)
            history_edge(history, placed(world, (block - 1) / 2), placed(world, block));
    }
    history_set_goals(history, &goals);
    for (uint32_t w = 0; w < world->windows; w++) {
        history_open_window(history, 1763980200000 + 5000 * (int64_t)w);
        put_all(history, world, HISTORY_SERVICE, 0, 5000, w);
        for (uint32_t i = 0; i < world->blocks; i++) {
            put_all(history, world, HISTORY_BLOCK, i, placed(world, i), w);
            set_block(history, world, i, placed(world, i));
        }
        for (uint32_t i = 0; i < history_edge_count(history); i++) {
            uint32_t caller, callee;

            history_edge_ends(history, i, &caller, &callee);
            put_all(history, world, HISTORY_EDGE, i, 6000 + placed(world, callee), w);
        }
    }
    return history;
}

static struct world random_world(uint64_t seed)
{
    struct world world = {.seed = mix(seed, 9)};

    world.blocks = 2 + (uint32_t)(9 * draw(&world, 0, 0, 1));
    world.windows = 8 + (uint32_t)(40 * draw(&world, 0, 0, 2));
    return world;
}

static struct judgement judgement;

/* Decides on a world; all of the decision as text. */
static int decide(struct instance *policy, const struct world *world, const char *kept,
                  struct text *ret_text)
{
    static struct snapshot snapshot;
    struct history *history = make_history(world);
    int code;

    snapshot_build(history, world->windows, kept, &snapshot);
    code = judge(policy, &snapshot, SUBJECT_CALL_MS, &judgement);
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

        REQUIRE(run, decide(run->instance, &world, NULL, &text) == VIM_OK, "world %u: %s",
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

    decide(run->instance, &world, NULL, &first);
    decide(run->instance, &other, NULL, &between);
    decide(run->instance, &world, NULL, &again);
    REQUIRE(run, text_equal(text_get(&first), text_get(&again)), "first %s; then %s",
            text_get(&first), text_get(&again));
}

/* A decision on another world lies between the two. */
static void check_twice(struct run *run)
{
    CLEANUP_TEXT struct text first = {0}, between = {0}, second = {0};

    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = random_world(seed), other = random_world(seed + 1000);

        decide(run->instance, &world, NULL, &first);
        decide(run->instance, &other, NULL, &between);
        decide(run->instance, &world, NULL, &second);
        REQUIRE(run, text_equal(text_get(&first), text_get(&second)), "first %s; then %s",
                text_get(&first), text_get(&second));
    }
}

static void check_order(struct run *run)
{
    CLEANUP_TEXT struct text first = {0}, second = {0};

    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        struct world world = random_world(seed);

        decide(run->instance, &world, NULL, &first);
        world.reversed = true;
        decide(run->instance, &world, NULL, &second);
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
    decide(own, world, NULL, &text);
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

        decide(run->instance, &world, NULL, &text);
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

    decide(run->instance, world, kept, &text);
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

    REQUIRE(run, decide(run->instance, world, kept, &text) == VIM_OK, "%s", judgement.why);
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

static void check_speed(struct run *run)
{
    static struct snapshot snapshot;
    struct world world = {.seed = 3, .blocks = BLOCKS_LARGE, .windows = WINDOWS_LARGE};
    struct history *history = make_history(&world);
    int64_t most = DECIDE_MOST_US * check_patience();
    int64_t least = INT64_MAX;

    snapshot_build(history, WINDOWS_LARGE, NULL, &snapshot);
    for (int i = 0; i < ROUNDS; i++) {
        judge(run->instance, &snapshot, SUBJECT_CALL_MS, &judgement);
        least = judgement.took_us < least ? judgement.took_us : least;
    }
    history_free(history);
    check_note(run, "%lld us", (long long)least);
    if (SANITIZED || check_under_valgrind()) {
        check_skip(run, "a sanitizer makes it slow");
        return;
    }
    REQUIRE(run, least <= most, "the quickest of %d took %lld us", ROUNDS, (long long)least);
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

        allocations_watch();
        uses_watch();
        code = ops->decide(&call, instance_handle(run->instance), &snapshot.view, &decision);
        *ret_use = uses_watched();
        *ret_allocations = allocations_watched();
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

    run_checks_on_instance(run, checks, sizeof checks / sizeof checks[0]);
}
