#include "test.h"
#include "base/error.h"

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int code = VIM_E_LOST; code <= VIM_AGAIN; code++) {
        const char *name = error_name(code);
        bool known = error_from_name(name) == code;
        bool class_name = strcmp(name, "permanent") == 0 || strcmp(name, "transient") == 0 ||
                          strcmp(name, "unknown-outcome") == 0;
        assert_true(known != class_name);
    }
    assert_string_equal(error_name(VIM_E_NOT_FOUND), "not-found");
    assert_string_equal(error_name(VIM_E_IN_USE), "in-use");
    assert_int_equal(error_from_name("no such name"), VIM_E_INTERNAL);
    assert_int_equal(error_from_name(NULL), VIM_E_INTERNAL);
}

static void unknown_codes_have_a_class(void **state)
{
    (void)state;
    assert_int_equal(error_class(-99), ERROR_PERMANENT);
    assert_int_equal(error_class(-100), ERROR_TRANSIENT);
    assert_int_equal(error_class(-199), ERROR_TRANSIENT);
    assert_int_equal(error_class(-200), ERROR_UNKNOWN);
    assert_int_equal(error_class(-5000), ERROR_UNKNOWN);
    assert_int_equal(error_class(VIM_AGAIN), ERROR_NONE);
    assert_string_equal(error_name(-98), "permanent");
    assert_string_equal(error_name(-198), "transient");
    assert_string_equal(error_name(-298), "unknown-outcome");
    assert_false(error_is_retryable(VIM_E_INVALID));
    assert_false(error_is_retryable(VIM_OK));
    assert_true(error_is_retryable(VIM_E_BUSY));
    assert_true(error_is_retryable(VIM_E_TIMEOUT));
}

static void backoff_is_full_jitter(void **state)
{
    (void)state;
    uint64_t seed = 42, same_seed = 42;
    for (uint32_t attempt = 0; attempt < 70; attempt++) {
        uint64_t limit = attempt >= 10 ? 60000 : (uint64_t)100 << attempt;
        limit = limit > 60000 ? 60000 : limit;
        uint64_t sum = 0;
        for (int i = 0; i < 200; i++) {
            uint32_t delay = error_backoff_ms(100, 60000, attempt, &seed);
            assert_int_equal(delay, error_backoff_ms(100, 60000, attempt, &same_seed));
            assert_true(delay <= limit);
            sum += delay;
        }
        /* The mean of 200 draws from 0..limit lies well inside of this. */
        assert_true(sum / 200 > limit / 4 && sum / 200 < limit * 3 / 4);
    }
    assert_int_equal(error_backoff_ms(0, 0, 5, NULL), 0);
    assert_true(error_backoff_ms(10, 20, 31, NULL) <= 20);
    assert_true(error_backoff_ms(UINT32_MAX, UINT32_MAX, 31, NULL) <= UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(unknown_codes_have_a_class),
        cmocka_unit_test(backoff_is_full_jitter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
