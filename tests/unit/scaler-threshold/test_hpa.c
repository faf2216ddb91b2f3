/* The rule of the HorizontalPodAutoscaler, by numbers worked out by hand from its documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "hpa.h"

static const struct hpa_rule rule = {.target = 0.5, .tolerance = 0.1};

static uint32_t recommend(uint32_t measured, double usage, uint32_t unready, uint32_t missing)
{
    struct hpa_pods pods = {measured, usage, unready, missing, measured + unready + missing};

    return hpa_recommend(&rule, &pods);
}

static void plain_ratio(void **state)
{
    (void)state;
    assert_int_equal(recommend(2, 1.0, 0, 0), 4); /* 2 x 2.0 */
    assert_int_equal(recommend(4, 0.25, 0, 0), 2); /* 4 x 0.5 */
    assert_int_equal(recommend(3, 0.6, 0, 0), 4); /* 3 x 1.2 = 3.6 */
    assert_int_equal(recommend(5, 0.6, 0, 0), 6); /* exactly 6 */
}

static void tolerance(void **state)
{
    (void)state;
    assert_int_equal(recommend(10, 0.549, 0, 0), 10); /* ratio 1.098 */
    assert_int_equal(recommend(10, 0.56, 0, 0), 12); /* ratio 1.12: 11.2 */
    assert_int_equal(recommend(10, 0.451, 0, 0), 10); /* ratio 0.902 */
    assert_int_equal(recommend(10, 0.44, 0, 0), 9); /* ratio 0.88: 8.8 */
}

static void missing_pods(void **state)
{
    (void)state;
    /* On the way up they idle: (2 x 1.0 + 2 x 0) / 4 / 0.5 = 1.0: nothing changes. */
    assert_int_equal(recommend(2, 1.0, 0, 2), 4);
    /* (2 x 1.0) / 3 / 0.5 = 1.333: 3 x 1.333 = 4 */
    assert_int_equal(recommend(2, 1.0, 0, 1), 4);
    /* On the way down they are at 1: (4 x 0.2 + 1 x 1) / 5 / 0.5 = 0.72: 3.6 */
    assert_int_equal(recommend(4, 0.2, 0, 1), 4);
    /* (2 x 0.3 + 2 x 1) / 4 / 0.5 = 1.3: the direction turns: nothing changes. */
    assert_int_equal(recommend(2, 0.3, 0, 2), 4);
}

static void unready_pods(void **state)
{
    (void)state;
    /* On the way up they idle; on the way down they are not counted. */
    assert_int_equal(recommend(2, 1.0, 1, 0), 4);
    assert_int_equal(recommend(4, 0.25, 2, 0), 2);
}

static void nothing_measured(void **state)
{
    (void)state;
    assert_int_equal(recommend(0, 0, 0, 3), 3);
    assert_int_equal(recommend(2, NAN, 0, 0), 2);
}

/* The way down waits for the highest of the window, and no more than that: a recommendation of four minutes ago
 * that was never followed does not scale out a block that idles now. */
static void stabilisation(void **state)
{
    (void)state;
    assert_int_equal(hpa_stabilise(3, 2, 6), 3);
    assert_int_equal(hpa_stabilise(6, 2, 4), 4);
    assert_int_equal(hpa_stabilise(6, 2, 2), 2);
    assert_int_equal(hpa_stabilise(3, 5, 8), 5);
    assert_int_equal(hpa_stabilise(3, 3, 9), 3);
}

static void up_limit(void **state)
{
    (void)state;
    assert_int_equal(hpa_up_limit(1), 5);
    assert_int_equal(hpa_up_limit(4), 8);
    assert_int_equal(hpa_up_limit(5), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_ratio),      cmocka_unit_test(tolerance),
        cmocka_unit_test(missing_pods),     cmocka_unit_test(unready_pods),
        cmocka_unit_test(nothing_measured), cmocka_unit_test(stabilisation),
        cmocka_unit_test(up_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
