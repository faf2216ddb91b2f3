#include "test.h"
#include <time.h>
#include <vim/plugin.h>
#include "base/clock.h"

static void formats_known_moments(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    assert_string_equal(clock_format_rfc3339(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_format_rfc3339(951782399999, text), "2000-02-28T23:59:59.999Z");
    assert_string_equal(clock_format_rfc3339(951782400000, text), "2000-02-29T00:00:00.000Z");
    assert_string_equal(clock_format_rfc3339(-1, text), "1969-12-31T23:59:59.999Z");
    assert_string_equal(clock_format_rfc3339(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(clock_format_rfc3339(INT64_MIN, text), "0000-01-01T00:00:00.000Z");
}

/* The C library is the oracle. */
static void agrees_with_gmtime(void **state)
{
    (void)state;
    for (int64_t seconds = -60000000000; seconds < 250000000000; seconds += 86399 * 1237) {
        char text[CLOCK_TEXT_SIZE], oracle[CLOCK_TEXT_SIZE + 8];
        time_t time = (time_t)seconds;
        struct tm parts;
        gmtime_r(&time, &parts);
        strftime(oracle, sizeof(oracle), "-%m-%dT%H:%M:%S.042Z", &parts);
        clock_format_rfc3339(seconds * 1000 + 42, text);
        assert_string_equal(text + 4, oracle);
        int64_t back;
        assert_int_equal(clock_parse_rfc3339(text, &back), VIM_OK);
        assert_int_equal(back, seconds * 1000 + 42);
    }
}

static void parses_what_rfc3339_allows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:01.5z", 1500},
        {"1970-01-01T00:00:00.123456789Z", 123},
        {"1970-01-01T02:00:00+02:00", 0},
        {"1969-12-31T18:30:00-05:30", 0},
        {"2016-12-31T23:59:60Z", 1483228800000},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t ms = -1;
        assert_int_equal(clock_parse_rfc3339(cases[i].text, &ms), VIM_OK);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void refuses_the_rest(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "1970",
                                        "1970-01-01",
                                        "1970-01-01T00:00:00",
                                        "1970-01-01 00:00:00Z",
                                        "1970-13-01T00:00:00Z",
                                        "1970-00-01T00:00:00Z",
                                        "1970-02-29T00:00:00Z",
                                        "2100-02-29T00:00:00Z",
                                        "1970-01-32T00:00:00Z",
                                        "1970-01-01T24:00:00Z",
                                        "1970-01-01T00:60:00Z",
                                        "1970-01-01T00:00:61Z",
                                        "1970-01-01T00:00:00.Z",
                                        "1970-01-01T00:00:00+0100",
                                        "1970-01-01T00:00:00+24:00",
                                        "1970-01-01T00:00:00Zx",
                                        "+970-01-01T00:00:00Z"};
    int64_t ms;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(clock_parse_rfc3339(cases[i], &ms), VIM_E_INVALID);
    }
    assert_int_equal(clock_parse_rfc3339(NULL, &ms), VIM_E_INVALID);
}

static void monotonic_does_not_go_back(void **state)
{
    (void)state;
    int64_t before = clock_mono_us();
    clock_sleep_ms(2);
    int64_t after = clock_mono_us();
    assert_true(after - before >= 2000);
    assert_true(clock_now_ms() > 1600000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_known_moments),      cmocka_unit_test(agrees_with_gmtime),
        cmocka_unit_test(parses_what_rfc3339_allows), cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(monotonic_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
