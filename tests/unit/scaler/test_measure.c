/* The end of a window: which groups are asked what their replicas used, in which order, and for how long. The platforms,
 * what they used and the source are told here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "scaler/watch.h"

#define BLOCKS 5
#define WINDOW_MS 60000

static struct {
    const char *told; /* names of blocks of which the source tells the processor */
    const char *unknown; /* of groups that do not answer */
    int64_t takes_ms; /* a look at what a group used */
    char asked[64]; /* in this order */
    int64_t left[BLOCKS]; /* the time that each was given */
    uint32_t count;
} world;

/* --- What watch_measure() asks -------------------------------------------------------------------- */

int group_get(struct vim_target *platform, const char *id, int64_t timeout_ms,
              struct group_state *ret_state, struct failure *failure)
{
    (void)platform, (void)timeout_ms;
    if (strstr(world.unknown, id)) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "no answer");
    }
    *ret_state = (struct group_state){.wanted = 1, .current = 1, .ready = 1};
    return VIM_OK;
}

int sampler_sample(struct sampler *sampler, const struct sampler_look *look,
                   struct failure *failure)
{
    (void)sampler, (void)failure;
    for (const char *name = world.told; *name; name++) {
        char block[2] = {*name, '\0'};
        history_put(look->history, HISTORY_BLOCK, history_block(look->history, block),
                    history_metric(HISTORY_BLOCK, "cpu"), 0.5);
    }
    return VIM_OK;
}

void usage_measure(struct watch *watch, uint32_t block, int64_t timeout_ms)
{
    world.left[world.count] = timeout_ms;
    world.asked[world.count++] = watch->service->blocks[block].name[0];
    world.asked[world.count] = '\0';
    clock_sleep_ms(world.takes_ms);
}

/* --- Windows -------------------------------------------------------------------------------------- */

/* One window of a service of blocks a to e; each group but that of e is on a platform of its own. */
static void measure(const char *told, const char *unknown, int64_t window_ms, int64_t takes_ms)
{
    static const char *const names[BLOCKS] = {"a", "b", "c", "d", "e"};
    struct service_block blocks[BLOCKS] = {{0}};
    struct service service = {
        .name = "s", .window_ms = window_ms, .blocks = blocks, .block_count = BLOCKS};
    struct watch watch = {.service = &service, .history = history_new("s", window_ms, 4)};
    memset(&world, 0, sizeof(world));
    world.told = told;
    world.unknown = unknown;
    world.takes_ms = takes_ms;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        blocks[i] = (struct service_block){.name = names[i], .group = names[i], .maximum = 3};
        assert_int_equal(history_block(watch.history, names[i]), i);
        watch.groups[i].platform = i < 4 ? (void *)&blocks[i] : NULL;
        watch.groups[i].timeout_ms = 1000;
    }
    watch_measure(&watch, 10 * window_ms);
    history_free(watch.history);
}

static void who_was_not_told_of_comes_first(void **state)
{
    (void)state;
    measure("ac", "", WINDOW_MS, 0);
    assert_string_equal(world.asked, "bdac");
    measure("", "", WINDOW_MS, 0);
    assert_string_equal(world.asked, "abcd");
    measure("abcd", "", WINDOW_MS, 0);
    assert_string_equal(world.asked, "abcd");
    measure("abc", "", WINDOW_MS, 0);
    assert_string_equal(world.asked, "dabc");
}

/* Whose group gave no answer is not asked what it used, nor is who has none. */
static void only_known_groups_are_asked(void **state)
{
    (void)state;
    measure("a", "bd", WINDOW_MS, 0);
    assert_string_equal(world.asked, "ca");
    measure("", "abcd", WINDOW_MS, 0);
    assert_string_equal(world.asked, "");
}

/* Four fifths of the window are theirs; who is left then is asked with the next one. */
static void time_is_up_before_the_window_is(void **state)
{
    (void)state;
    measure("", "", WINDOW_MS, 0);
    for (uint32_t i = 0; i < world.count; i++) {
        assert_in_range(world.left[i], 1, WINDOW_MS * 8 / 10);
    }
    measure("ab", "", 100, 80);
    assert_true(world.count <= 1); /* on a machine that stood still: none */
    assert_true(world.count == 0 || world.asked[0] == 'c');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_not_told_of_comes_first),
        cmocka_unit_test(only_known_groups_are_asked),
        cmocka_unit_test(time_is_up_before_the_window_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
