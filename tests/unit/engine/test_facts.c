/* What a VIM tells of itself: one look for many who ask at once, and none that is older than allowed. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "engine/vims_internal.h"
#include "house.h"

#define MANY 64

/* What was told to each: looks are told apart by where their items are, which live as long as they are remembered. */
struct asked {
    atomic_int done;
    int code;
    size_t count;
    const struct vim_item *items;
};

static struct vim_target *target;

static int setup(void **state)
{
    house_setup(state);
    house_put_driver("mock", "call_latency: 100ms\n");
    target = vims_get(house.vims, "edge");
    assert_non_null(target);
    return 0;
}

static int teardown(void **state)
{
    vim_target_release(target);
    return house_teardown(state);
}

static void take(void *argument, int code, const struct vim_item *items, size_t count,
                 const struct failure *failure)
{
    struct asked *asked = argument;
    (void)failure;
    asked->code = code;
    asked->count = count;
    asked->items = items;
    atomic_store(&asked->done, 1);
}

static void await(struct asked *asked)
{
    for (int i = 0; !atomic_load(&asked->done); i++) {
        assert_true(i < 20000);
        clock_sleep_ms(1);
    }
}

static struct asked ask(const char *kind, int64_t not_before)
{
    struct asked asked = {.done = 0};
    vim_target_recall(target, kind, not_before, 20000, take, &asked);
    await(&asked);
    return asked;
}

static void many_at_once_are_one_look(void **state)
{
    (void)state;
    static struct asked all[MANY];
    int64_t now = clock_mono_ms();
    for (int i = 0; i < MANY; i++) {
        vim_target_recall(target, "quota", now, 20000, take, &all[i]);
    }
    for (int i = 0; i < MANY; i++) {
        await(&all[i]);
        assert_int_equal(all[i].code, VIM_OK);
        assert_true(all[i].count > 5);
        assert_ptr_equal(all[i].items, all[0].items);
    }
    /* It is remembered, but not for who wants to know it as of now. */
    struct asked later = ask("quota", now);
    assert_ptr_equal(later.items, all[0].items);
    clock_sleep_ms(2);
    int64_t then = clock_mono_ms();
    later = ask("quota", then);
    assert_int_equal(later.code, VIM_OK);
    /* The first one is still remembered until the second has been told: they are never at the same place. */
    struct asked again = ask("quota", then);
    assert_ptr_equal(again.items, later.items);
}

static void who_comes_during_a_look_that_is_too_old_gets_the_next_one(void **state)
{
    (void)state;
    static struct asked first, second;
    vim_target_recall(target, "host", clock_mono_ms(), 20000, take, &first);
    clock_sleep_ms(5);
    vim_target_recall(target, "host", clock_mono_ms(), 20000, take, &second);
    await(&first);
    await(&second);
    assert_int_equal(second.code, VIM_OK);
    assert_int_equal(second.count, first.count);
}

static void a_step_makes_it_old(void **state)
{
    (void)state;
    int64_t now = clock_mono_ms();
    struct asked before = ask("zone", now);
    struct asked same = ask("zone", now);
    assert_ptr_equal(same.items, before.items);
    assert_true(vim_target_take_step(target));
    vim_target_give_step(target);
    int64_t looked = clock_mono_ms();
    struct asked after = ask("zone", now);
    assert_int_equal(after.code, VIM_OK);
    assert_true(clock_mono_ms() - looked >= 90); /* the VIM's own time for a call */
}

static void a_kind_that_is_not_told_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct asked asked = ask("server", clock_mono_ms());
        assert_int_equal(asked.code, VIM_E_UNSUPPORTED);
        assert_int_equal(asked.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_at_once_are_one_look, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_during_a_look_that_is_too_old_gets_the_next_one,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_makes_it_old, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kind_that_is_not_told_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
