/* The source `prometheus` against an endpoint that the test scripts. */
#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "scaler/sampler.h"

/* One request per connection; the answer is what stands in `answer`. */
static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t mutex;
    char *answer; /* the body; NULL: nothing is answered until the connection ends */
    int status;
    char request[2048];
} endpoint;

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(endpoint.fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        char request[sizeof(endpoint.request)] = "";
        ssize_t length = recv(fd, request, sizeof(request) - 1, 0);
        pthread_mutex_lock(&endpoint.mutex);
        memcpy(endpoint.request, request, sizeof(request));
        char *text = length > 0 && endpoint.answer
                         ? text_format("HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
                                       "Connection: close\r\n\r\n%s",
                                       endpoint.status, strlen(endpoint.answer), endpoint.answer)
                         : NULL;
        pthread_mutex_unlock(&endpoint.mutex);
        if (text) {
            (void)!write(fd, text, strlen(text));
            free(text);
        } else {
            (void)recv(fd, request, 1, 0); /* until the other end has had enough */
        }
        close(fd);
    }
}

static void answer(int status, const char *text)
{
    pthread_mutex_lock(&endpoint.mutex);
    free(endpoint.answer);
    endpoint.answer = text_duplicate(text);
    endpoint.status = status;
    pthread_mutex_unlock(&endpoint.mutex);
}

static int open_endpoint(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    (void)state;
    pthread_mutex_init(&endpoint.mutex, NULL);
    endpoint.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(endpoint.fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(endpoint.fd, 16), 0);
    assert_int_equal(getsockname(endpoint.fd, (struct sockaddr *)&address, &size), 0);
    endpoint.port = ntohs(address.sin_port);
    return pthread_create(&endpoint.thread, NULL, serve, NULL);
}

static int close_endpoint(void **state)
{
    (void)state;
    shutdown(endpoint.fd, SHUT_RDWR);
    close(endpoint.fd);
    pthread_join(endpoint.thread, NULL);
    free(endpoint.answer);
    return 0;
}

/* --- A service ------------------------------------------------------------------------------------ */

static struct signal service_signals[8], block_signals[4];
static struct service_block block = {.name = "web"};
static struct service service;
static char url[64];
static const char *urls[2];
static uint32_t endpoint_count = 1;
static struct history *history;
static struct sampler *sampler;
static int64_t end;

static void want(struct signals *signals, enum history_scope scope, const char *metric,
                 const char *text)
{
    char why[160];
    struct signal *signal = &signals->items[signals->count++];
    if (signal_parse(text, signal, why) != VIM_OK) {
        fail_msg("%s", why);
    }
    signal->metric = history_metric(scope, metric);
}

static int open_sampler(void **state)
{
    struct failure failure = {0};
    struct history_block how = {.ready = 2, .quota_cores = 0.5};
    (void)state;
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/metrics", endpoint.port);
    urls[0] = url;
    block.signals = (struct signals){.items = block_signals};
    service = (struct service){.name = "shop",
                               .window_ms = 1000,
                               .source = {.kind = SOURCE_PROMETHEUS,
                                          .endpoints = {endpoint_count, urls},
                                          .timeout_ms = 2000,
                                          .size_max = 4096,
                                          .token = "sesame"},
                               .signals = {.items = service_signals},
                               .blocks = &block,
                               .block_count = 1};
    want(&service.signals, HISTORY_SERVICE, "throughput", "rate(r_total{code=~\"2..\"})");
    want(&service.signals, HISTORY_SERVICE, "errors", "rate(r_total{code!~\"2..\"})");
    want(&service.signals, HISTORY_SERVICE, "latency", "average(s) * 1000");
    want(&service.signals, HISTORY_SERVICE, "latency_p95", "p95(s) * 1000");
    want(&service.signals, HISTORY_SERVICE, "in_flight", "sum(f) + max(f) - min(f)");
    want(&block.signals, HISTORY_BLOCK, "cpu", "sum(cores) / ready / quota");
    history = history_new("shop", 1000, 16);
    history_block(history, "web");
    history_set_block(history, 0, &how);
    end = 100000;
    return sampler_new(&service, &(struct sampler_host){NULL, NULL}, &sampler, &failure);
}

static int close_sampler(void **state)
{
    (void)state;
    sampler_free(sampler);
    history_free(history);
    for (uint32_t i = 0; i < service.signals.count; i++) {
        signal_free(&service_signals[i]);
    }
    for (uint32_t i = 0; i < block.signals.count; i++) {
        signal_free(&block_signals[i]);
    }
    return 0;
}

/* A look. Returns how long the window was, in seconds, as the test sees it: at least that. */
static int look(struct failure *failure)
{
    end += 1000;
    assert_int_equal(history_open_window(history, end), VIM_OK);
    struct sampler_look one = {.end = end, .window_ms = 1000, .history = history};
    return sampler_sample(sampler, &one, failure);
}

static double got(enum history_scope scope, const char *metric)
{
    return history_get(history, scope, 0, history_metric(scope, metric), 0);
}

static void assert_near(double value, double wanted, double share)
{
    if (!(fabs(value - wanted) <= share * fabs(wanted))) {
        fail_msg("%g is not near %g", value, wanted);
    }
}

static void measures(void **state)
{
    (void)state;
    answer(200, "r_total{code=\"200\"} 1000\nf{a=\"1\"} 3\nf{a=\"2\"} 5\ncores 0.4\n"
                "s_bucket{le=\"0.1\"} 100\ns_bucket{le=\"0.2\"} 100\ns_bucket{le=\"+Inf\"} 100\n"
                "s_sum 5\ns_count 100\n");
    assert_int_equal(look(NULL), VIM_OK);
    /* Gauges are as they are; of totals nothing is known yet. */
    assert_float_equal(got(HISTORY_SERVICE, "in_flight"), 8 + 5 - 3, 1e-9);
    assert_float_equal(got(HISTORY_BLOCK, "cpu"), 0.4, 1e-9); /* 0.4 cores of 2 * 0.5 */
    assert_true(isnan(got(HISTORY_SERVICE, "throughput")));
    assert_true(isnan(got(HISTORY_SERVICE, "latency_p95")));
    pthread_mutex_lock(&endpoint.mutex);
    assert_non_null(strstr(endpoint.request, "GET /metrics HTTP/1.1"));
    assert_non_null(strstr(endpoint.request, "Authorization: Bearer sesame"));
    pthread_mutex_unlock(&endpoint.mutex);

    /* 300 more, and 100 of a series that is new: it began at 0 since then. */
    int64_t from = clock_mono_us();
    answer(200, "r_total{code=\"200\"} 1300\nr_total{code=\"500\"} 100\n"
                "s_bucket{le=\"0.1\"} 150\ns_bucket{le=\"0.2\"} 200\ns_bucket{le=\"+Inf\"} 200\n"
                "s_sum 15\ns_count 200\n");
    clock_sleep_ms(200);
    assert_int_equal(look(NULL), VIM_OK);
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    double rate = got(HISTORY_SERVICE, "throughput");
    assert_true(rate > 0.5 * 300 / seconds && rate <= 300 / 0.2);
    assert_near(got(HISTORY_SERVICE, "errors"), rate / 3, 1e-6);
    assert_float_equal(got(HISTORY_SERVICE, "latency"), 100, 1e-6); /* 10 s over 100 */
    /* 50 up to 0.1 s, 50 up to 0.2 s: the 95th of 100 lies at 0.19 s. */
    assert_float_equal(got(HISTORY_SERVICE, "latency_p95"), 190, 1e-6);
    assert_true(isnan(got(HISTORY_SERVICE, "in_flight")));

    /* The process was started anew: its totals are what they have grown. */
    answer(200, "r_total{code=\"200\"} 30\nr_total{code=\"500\"} 10\n");
    clock_sleep_ms(50);
    assert_int_equal(look(NULL), VIM_OK);
    assert_near(got(HISTORY_SERVICE, "throughput") / got(HISTORY_SERVICE, "errors"), 3, 1e-6);
}

static void expect_failure(const char *part)
{
    struct failure failure = {0};
    assert_int_not_equal(look(&failure), VIM_OK);
    if (!strstr(failure.text, part)) {
        fail_msg("'%s' does not say '%s'", failure.text, part);
    }
    assert_true(isnan(got(HISTORY_SERVICE, "throughput")));
}

static void goes_wrong(void **state)
{
    struct text large = {0};
    (void)state;
    answer(503, "r_total{code=\"200\"} 1\n");
    expect_failure("status 503");
    answer(200, "<html>no\n");
    expect_failure("holds no sample");
    for (int i = 0; i < 600; i++) {
        text_printf(&large, "r_total{code=\"200\"} %d\n", i);
    }
    answer(200, text_get(&large));
    expect_failure("more than 4096 bytes");
    text_free(&large);
    service.source.timeout_ms = 2000;
    answer(200, NULL);
    int64_t from = clock_mono_ms();
    expect_failure("timed out");
    assert_true(clock_mono_ms() - from >= 1900);
    /* And goes on. What it was asked in between is not held against it. */
    answer(200, "r_total{code=\"200\"} 5\n");
    assert_int_equal(look(NULL), VIM_OK);
    answer(200, "r_total{code=\"200\"} 6\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(got(HISTORY_SERVICE, "throughput") > 0);
}

/* Of endpoints that refuse, since their replicas are not there, and one that was there and does not answer in time, it is
 * the latter that is told of. */
static void tells_who_was_lost(void **state)
{
    struct failure failure = {0};
    (void)state;
    answer(200, "r_total{code=\"200\"} 1\n");
    assert_int_equal(look(&failure), VIM_OK);
    assert_non_null(strstr(failure.text, "1 of 2 endpoints answer; http://127.0.0.1:1/gone: "));
    answer(503, "");
    assert_int_equal(look(&failure), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(failure.text, "none of 2 endpoints answers; "));
    assert_non_null(strstr(failure.text, "status 503"));
    assert_null(strstr(failure.text, "gone"));
}

static int open_with_one_gone(void **state)
{
    urls[1] = "http://127.0.0.1:1/gone";
    endpoint_count = 2;
    int code = open_sampler(state);
    endpoint_count = 1;
    return code;
}

/* A name that was mistyped gives no error: no endpoint has it. */
static void tells_what_has_no_series(void **state)
{
    struct failure failure = {0};
    (void)state;
    answer(200, "r_total{code=\"200\"} 1\ns_sum 1\ns_count 1\nf 1\n");
    assert_int_equal(look(&failure), VIM_OK);
    assert_string_equal(failure.text, "no series for errors, latency_p95, cpu of web");
    failure = (struct failure){0};
    answer(200, "r_total{code=\"200\"} 1\nr_total{code=\"500\"} 1\ncores 1\nf 1\n"
                "s_sum 1\ns_count 1\ns_bucket{le=\"+Inf\"} 1\n");
    assert_int_equal(look(&failure), VIM_OK);
    assert_string_equal(failure.text, "");
}

/* An endpoint that is away for a look loses nothing: the rate is over all of the time. */
static void pauses(void **state)
{
    (void)state;
    answer(200, "r_total{code=\"200\"} 100\n");
    assert_int_equal(look(NULL), VIM_OK);
    answer(500, "");
    clock_sleep_ms(300);
    expect_failure("status 500");
    answer(200, "r_total{code=\"200\"} 130\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(got(HISTORY_SERVICE, "throughput") <= 30 / 0.3);
}

/* An exporter that leaves a series out once, and an answer that has one twice: nothing of it is traffic. */
static void series_go_and_come_back(void **state)
{
    (void)state;
    answer(200, "r_total{code=\"200\"} 1000000\nf 1\n");
    assert_int_equal(look(NULL), VIM_OK);
    answer(200, "r_total{code=\"200\"} 1000050\nr_total{code=\"200\"} 7\nf 1\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(got(HISTORY_SERVICE, "throughput") > 0);
    answer(200, "f 1\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(isnan(got(HISTORY_SERVICE, "throughput")));
    answer(200, "r_total{code=\"200\"} 1000100\nr_total{code=\"200\"} 7\nf 1\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(isnan(got(HISTORY_SERVICE, "throughput"))); /* 50 in two windows, or 1000100 */
    answer(200, "r_total{code=\"200\"} 1000200\nr_total{code=\"200\"} 7\nf 1\n");
    clock_sleep_ms(50);
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(got(HISTORY_SERVICE, "throughput") > 0);
    assert_true(got(HISTORY_SERVICE, "throughput") <= 100 / 0.05);
}

/* A gauge that is told twice is one, and so is a counter whose labels come in another order. */
static void series_told_twice_are_one(void **state)
{
    (void)state;
    answer(
        200,
        "f{a=\"1\",b=\"\"} 3\nf{a=\"1\"} 4\nf{ a=\"1\", } 5\nf{a=\"2\"} 5\ncores 0.4\ncores 0.4\n"
        "r_total{code=\"200\",zone=\"a\"} 1000000\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_float_equal(got(HISTORY_SERVICE, "in_flight"), 8 + 5 - 3, 1e-9);
    assert_float_equal(got(HISTORY_BLOCK, "cpu"), 0.4, 1e-9);
    answer(200,
           "f{a=\"1\"} 4\nf{a=\"2\"} NaN\ncores 0.2\nr_total{zone=\"a\",code=\"200\"} 1000010\n");
    clock_sleep_ms(50);
    assert_int_equal(look(NULL), VIM_OK);
    assert_float_equal(got(HISTORY_SERVICE, "in_flight"), 4, 1e-9);
    assert_float_equal(got(HISTORY_BLOCK, "cpu"), 0.2, 1e-9);
    assert_true(got(HISTORY_SERVICE, "throughput") > 0);
    assert_true(got(HISTORY_SERVICE, "throughput") <= 10 / 0.05);
}

/* What is more than is remembered is not left out of a sum as if it were not there. */
static void too_many_series_tell_nothing(void **state)
{
    struct text many = {0};
    (void)state;
    service.source.size_max = 4 << 20;
    text_add(&many, "cores 0.4\n");
    for (int i = 0; i < 20001; i++) {
        text_printf(&many, "r_total{code=\"200\",i=\"%d\"} 1\n", i);
    }
    answer(200, text_get(&many));
    assert_int_equal(look(NULL), VIM_OK);
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(isnan(got(HISTORY_SERVICE, "throughput")));
    assert_float_equal(got(HISTORY_BLOCK, "cpu"), 0.4, 1e-9);
    text_free(&many);
}

/* NaN: how many took longer than the last bound is not known. */
static void histograms_without_an_end_tell_nothing(void **state)
{
    (void)state;
    answer(200, "s_bucket{le=\"0.1\"} 0\ns_bucket{le=\"0.2\"} 0\n");
    assert_int_equal(look(NULL), VIM_OK);
    answer(200, "s_bucket{le=\"0.1\"} 10\ns_bucket{le=\"0.2\"} 20\n");
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(isnan(got(HISTORY_SERVICE, "latency_p95")));
}

/* Micrometer has 69 buckets and more. COUNT each of the hundredth part of a second. */
static void answer_buckets(unsigned count, unsigned each)
{
    struct text text = {0};
    for (unsigned i = 1; i <= count; i++) {
        text_printf(&text, "s_bucket{le=\"%.2f\"} %u\n", 0.01 * i, each * i);
    }
    text_printf(&text, "s_bucket{le=\"+Inf\"} %u\n", each * count);
    answer(200, text_get(&text));
    text_free(&text);
}

static void histograms_have_many_buckets(void **state)
{
    (void)state;
    service.source.size_max = 65536;
    answer_buckets(100, 0);
    assert_int_equal(look(NULL), VIM_OK);
    answer_buckets(100, 10);
    assert_int_equal(look(NULL), VIM_OK);
    assert_near(got(HISTORY_SERVICE, "latency_p95"), 950, 0.02);
    answer_buckets(600, 10);
    assert_int_equal(look(NULL), VIM_OK);
    answer_buckets(600, 20);
    assert_int_equal(look(NULL), VIM_OK);
    assert_true(isnan(got(HISTORY_SERVICE, "latency_p95")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(measures, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(goes_wrong, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(tells_who_was_lost, open_with_one_gone, close_sampler),
        cmocka_unit_test_setup_teardown(tells_what_has_no_series, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(pauses, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(series_go_and_come_back, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(series_told_twice_are_one, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(too_many_series_tell_nothing, open_sampler, close_sampler),
        cmocka_unit_test_setup_teardown(histograms_without_an_end_tell_nothing, open_sampler,
                                        close_sampler),
        cmocka_unit_test_setup_teardown(histograms_have_many_buckets, open_sampler, close_sampler),
    };
    return cmocka_run_group_tests(tests, open_endpoint, close_endpoint);
}
