/* Chance repeats itself: numbers, latencies, fault rules. */
#include "chance.h"
#include "md5.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_numbers_follow_from_seed_name_and_number(void **state)
{
    (void)state;
    double sum = 0;
    assert_true(chance_bits(1, "a", 1) == chance_bits(1, "a", 1));
    assert_true(chance_bits(1, "a", 1) != chance_bits(2, "a", 1));
    assert_true(chance_bits(1, "a", 1) != chance_bits(1, "b", 1));
    assert_true(chance_bits(1, "a", 1) != chance_bits(1, "a", 2));
    for (unsigned i = 0; i < 100000; i++) {
        double draw = chance_uniform(3, "x", i);
        assert_true(draw >= 0.0 && draw < 1.0);
        sum += draw;
    }
    assert_true(sum > 49500 && sum < 50500);
}

static void test_latencies_have_their_mean(void **state)
{
    (void)state;
    const enum latency_distribution all[] = {LATENCY_FIXED, LATENCY_EXPONENTIAL, LATENCY_UNIFORM};
    for (int kind = 0; kind < 3; kind++) {
        double sum = 0;
        int64_t least = INT64_MAX;
        int64_t most = 0;
        for (unsigned i = 0; i < 100000; i++) {
            int64_t ms = chance_latency(all[kind], 10000, chance_uniform(5, "l", i));
            sum += (double)ms;
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        assert_true(sum > 98e7 && sum < 102e7);
        if (all[kind] == LATENCY_FIXED) {
            assert_true(least == 10000 && most == 10000);
        } else if (all[kind] == LATENCY_UNIFORM) {
            assert_true(least < 100 && most > 19900 && most <= 20000);
        } else {
            assert_true(least < 10 && most > 80000 && most <= 100000);
        }
    }
}

static void test_rules_are_read(void **state)
{
    (void)state;
    struct fault_rule rule;
    const char *error;
    for (int fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        assert_non_null(fault_name((enum fault)fault));
    }
    assert_int_equal(fault_parse("create server lost 0.2", &rule, &error), 0);
    assert_int_equal(rule.fault, FAULT_LOST);
    assert_true(rule.probability == 0.2);
    assert_int_equal(fault_parse(" *  * slow @3-5 250", &rule, &error), 0);
    assert_int_equal(rule.first, 3);
    assert_int_equal(rule.last, 5);
    assert_int_equal(rule.ms, 250);
    const char *const bad[] = {"",
                               "create server lost",
                               "create server lots 0.2",
                               "create server lost 1.5",
                               "create server lost -0.1",
                               "create server lost @0",
                               "create server lost @5-3",
                               "create server lost @x",
                               "create server lost 0.2x",
                               "create server slow 1 fast",
                               "create server slow 1 -5",
                               "create server slow 1 5 5"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error = NULL;
        assert_int_equal(fault_parse(bad[i], &rule, &error), -1);
        assert_non_null(error);
    }
}

static void test_faults_are_drawn_alike(void **state)
{
    (void)state;
    struct fault_rule rules[2];
    const char *error;
    unsigned struck = 0;
    assert_int_equal(fault_parse("create port unavailable @2", &rules[0], &error), 0);
    assert_int_equal(fault_parse("create * lost 0.25", &rules[1], &error), 0);
    assert_ptr_equal(fault_draw(rules, 1, 1, "create", "port", 2), &rules[0]);
    assert_null(fault_draw(rules, 1, 1, "create", "port", 1));
    assert_null(fault_draw(rules, 1, 1, "create", "server", 2));
    assert_null(fault_draw(rules, 2, 1, "delete", "port", 2));
    for (unsigned i = 1; i <= 10000; i++) {
        const struct fault_rule *first = fault_draw(rules, 2, 9, "create", "server", i);
        assert_ptr_equal(first, fault_draw(rules, 2, 9, "create", "server", i));
        struck += first != NULL;
    }
    assert_in_range(struck, 2350, 2650);
}

static void check_md5(const char *text, const char *hex)
{
    struct md5 md5;
    char got[33];
    md5_begin(&md5);
    for (const char *at = text; *at; at++) {
        md5_add(&md5, at, 1);
    }
    md5_end(&md5, got);
    assert_string_equal(got, hex);
}

static void test_md5(void **state)
{
    (void)state;
    check_md5("", "d41d8cd98f00b204e9800998ecf8427e");
    check_md5("abc", "900150983cd24fb0d6963f7d28e17f72");
    check_md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890",
              "57edf4a22be3c955ac49da2e2107b67a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_follow_from_seed_name_and_number),
        cmocka_unit_test(test_latencies_have_their_mean),
        cmocka_unit_test(test_rules_are_read),
        cmocka_unit_test(test_faults_are_drawn_alike),
        cmocka_unit_test(test_md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
