#include "test.h"
#include <math.h>
#include <stdlib.h>
#include "base/metrics.h"
#include "base/text.h"
#include "base/thread.h"

static void renders_text(void **state)
{
    (void)state;
    struct text labels = {0};
    metrics_label(&labels, "kind", "a\"b\\c\nd");
    metrics_label(&labels, "verb", "x\xFF");
    assert_string_equal(labels.data, "kind=\"a\\\"b\\\\c\\nd\",verb=\"x\xEF\xBF\xBD\"");
    assert_true(metrics_valid_labels(labels.data));
    struct metric *counter = metrics_counter("vimd_test_total", "Things\nthat are \\ tested", NULL);
    assert_ptr_equal(counter, metrics_counter("vimd_test_total", "other", ""));
    metric_add(counter, 2);
    metric_add(counter, 0.5);
    metric_set(metrics_gauge("vimd_test_gauge", "G", "b=\"2\""), -1);
    metric_set(metrics_gauge("vimd_test_gauge", "G", "b=\"1\""), 1e15);
    metric_set(metrics_gauge("vimd_test_gauge", "G", "b=\"0\""), INFINITY);
    static const double bounds[] = {0.1, 1};
    struct metric *histogram = metrics_histogram("vimd_test_seconds", "H", "a=\"b\"", bounds, 2);
    metric_observe(histogram, 0.1);
    metric_observe(histogram, 0.5);
    metric_observe(histogram, 7);
    assert_int_equal(metric_count(histogram), 3);
    struct text text = {0};
    metrics_render(&text);
    assert_string_equal(text.data, "# HELP vimd_test_gauge G\n"
                                   "# TYPE vimd_test_gauge gauge\n"
                                   "vimd_test_gauge{b=\"0\"} +Inf\n"
                                   "vimd_test_gauge{b=\"1\"} 1e+15\n"
                                   "vimd_test_gauge{b=\"2\"} -1\n"
                                   "# HELP vimd_test_seconds H\n"
                                   "# TYPE vimd_test_seconds histogram\n"
                                   "vimd_test_seconds_bucket{a=\"b\",le=\"0.1\"} 1\n"
                                   "vimd_test_seconds_bucket{a=\"b\",le=\"1\"} 2\n"
                                   "vimd_test_seconds_bucket{a=\"b\",le=\"+Inf\"} 3\n"
                                   "vimd_test_seconds_sum{a=\"b\"} 7.6\n"
                                   "vimd_test_seconds_count{a=\"b\"} 3\n"
                                   "# HELP vimd_test_total Things\\nthat are \\\\ tested\n"
                                   "# TYPE vimd_test_total counter\n"
                                   "vimd_test_total 2.5\n");
    text_free(&text);
    text_free(&labels);
}

static void tells_valid_labels(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a=\"\"", "a=\"b\",c_2=\"d,e=\\\"\""};
    static const char *const bad[] = {"a",        "a=b",           "a=\"b",     "a=\"b\",",
                                      "=\"b\"",   "a=\"b\" ",      "a=\"\\x\"", "a=\"b\"c=\"d\"",
                                      "a=\"\n\"", "a=\"b\"}\nx 1", "A=\"b\"",   "a=\"\xFF\"",
                                      "2=\"b\"",  "a=\"\\"};
    assert_true(metrics_valid_labels(NULL));
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(metrics_valid_labels(good[i]));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(metrics_valid_labels(bad[i]));
    }
    assert_true(metrics_valid_name("vimd_x_total"));
    assert_false(metrics_valid_name("vimd-x"));
    assert_false(metrics_valid_name(""));
    assert_false(metrics_valid_name(NULL));
}

#define ROUNDS 20000

static void *add_many(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(argument, 1);
        metric_observe(metrics_histogram("vimd_test_parallel_seconds", "", NULL, NULL, 0), 0.01);
    }
    return NULL;
}

static void adding_in_parallel_loses_nothing(void **state)
{
    (void)state;
    struct metric *counter = metrics_counter("vimd_test_parallel_total", "", NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(thread_start("add", add_many, counter, &threads[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(metric_value(counter) == 4.0 * ROUNDS);
    assert_int_equal(
        metric_count(metrics_histogram("vimd_test_parallel_seconds", "", NULL, NULL, 0)),
        4 * ROUNDS);
}

static void collect(void *argument)
{
    metric_set(metrics_gauge("vimd_test_collected", "", NULL), ++*(int *)argument);
}

static void collectors_run_at_rendering(void **state)
{
    (void)state;
    int calls = 0;
    struct text text = {0};
    metrics_add_collector(collect, &calls);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "vimd_test_collected 1\n"));
    metrics_remove_collector(collect, &calls);
    metrics_render(&text);
    assert_int_equal(calls, 1);
    text_free(&text);
}

static void series_are_summed_by_name_and_label(void **state)
{
    (void)state;
    struct metrics_sum sum;
    metrics_sum("vimd_test_nobody_total", NULL, &sum);
    assert_true(sum.value == 0 && sum.count == 0);
    metric_add(metrics_counter("vimd_test_sum_total", "", "a=\"1\",b=\"x\""), 2);
    metric_add(metrics_counter("vimd_test_sum_total", "", "a=\"2\",b=\"x\""), 3);
    metrics_sum("vimd_test_sum_total", NULL, &sum);
    assert_true(sum.value == 5);
    metrics_sum("vimd_test_sum_total", "a=\"2\"", &sum);
    assert_true(sum.value == 3);
    struct metric *one = metrics_histogram("vimd_test_sum_seconds", "", "a=\"1\"", NULL, 0);
    struct metric *two = metrics_histogram("vimd_test_sum_seconds", "", "a=\"2\"", NULL, 0);
    metric_observe(one, 0.0004);
    metric_observe(two, 0.0004);
    metric_observe(two, 0.75);
    metric_observe(two, 1000);
    metrics_sum("vimd_test_sum_seconds", NULL, &sum);
    assert_int_equal(sum.count, 4);
    assert_true(sum.value == 0.0004 + 0.0004 + 0.75 + 1000);
    assert_int_equal(sum.buckets[0], 2);
    assert_int_equal(sum.buckets[10], 1);
    assert_int_equal(sum.buckets[METRICS_SECONDS_COUNT], 1);
}

static void quantiles_come_from_buckets(void **state)
{
    (void)state;
    uint64_t buckets[METRICS_SECONDS_COUNT + 1] = {0};
    assert_true(isnan(metrics_quantile(buckets, 0.95)));
    buckets[1] = 100; /* 0.5 ms .. 1 ms */
    assert_true(fabs(metrics_quantile(buckets, 0.5) - 0.00075) < 1e-9);
    assert_true(fabs(metrics_quantile(buckets, 0.95) - 0.000975) < 1e-9);
    buckets[4] = 100; /* 5 ms .. 10 ms */
    assert_true(fabs(metrics_quantile(buckets, 0.75) - 0.0075) < 1e-9);
    buckets[METRICS_SECONDS_COUNT] = 1000;
    assert_true(metrics_quantile(buckets, 0.95) == 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_text),
        cmocka_unit_test(tells_valid_labels),
        cmocka_unit_test(adding_in_parallel_loses_nothing),
        cmocka_unit_test(collectors_run_at_rendering),
        cmocka_unit_test(series_are_summed_by_name_and_label),
        cmocka_unit_test(quantiles_come_from_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
