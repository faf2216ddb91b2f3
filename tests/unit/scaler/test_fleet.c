/* From the totals of processes to windows: with made-up heartbeats and a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "scaler/history.h"
#include "scaler/fleet.h"

#define T0 1800000000000 /* any time of day, on the grid */
#define WINDOW 5000
#define LAG 3000 /* one and a half intervals */
#define ID_A "01900000-0000-7000-8000-00000000000a"
#define ID_B "01900000-0000-7000-8000-00000000000b"

static struct service_block blocks[] = {{.name = "api", .role = "api"},
                                        {.name = "logic", .role = "logic"},
                                        {.name = "db", .role = "store"},
                                        {.name = "mq", .role = "queue"},
                                        {.name = "worker", .role = "worker"}};
static struct service_edge edges[] = {
    {.caller = 0, .callee = 1}, {.caller = 1, .callee = 2}, {.caller = 4, .callee = 2}};
static const struct service service = {.name = "vimd",
                                       .window_ms = WINDOW,
                                       .blocks = blocks,
                                       .block_count = 5,
                                       .edges = edges,
                                       .edge_count = 3};
static struct fleet *fleet;
static struct history *history;

static int setup(void **state)
{
    (void)state;
    fleet = fleet_new(&service);
    history = history_new("vimd", WINDOW, 16);
    for (uint32_t i = 0; i < service.block_count; i++) {
        (void)history_block(history, blocks[i].name);
    }
    for (uint32_t i = 0; i < service.edge_count; i++) {
        (void)history_edge(history, edges[i].caller, edges[i].callee);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fleet_free(fleet);
    history_free(history);
    return 0;
}

/* A process that has served RATE requests per second since START (its own clock), each taking 20 ms, of which the
 * logic has 10 and the store 5; of which half a processor is used, of one. */
struct process {
    const char *id;
    int64_t start;
    double rate;
    int64_t skew; /* its clock is ahead by so much */
    double throttled; /* of the ten periods in a second */
    double abroad; /* ms of each that the logic waits for the infrastructure */
    double
        task; /* ms of each that it waits for its task; there is a worker, too, which does nothing */
    bool silent; /* the queue has not answered since the start */
};

static char *beat(const struct process *process, int64_t now)
{
    double seconds = (double)(now - process->start) / 1000, count = seconds * process->rate;
    const char *worker = process->task > 0
                             ? ",\"worker\":{\"in_flight_us\":0,\"own_us\":0,\"queued_us\":0,"
                               "\"began\":0,\"ended\":0,\"seconds\":0,\"buckets\":[],\"threads\":4}"
                             : "";
    return text_format(
        "{\"id\":\"%s\",\"state\":\"up\",\"expires_ms\":10000,\"started\":%lld,\"signals\":{"
        "\"at\":%lld,\"mono_us\":%lld,\"cores\":1,\"cpu_us\":%.0f,\"memory\":1000,\"periods\":%.0f,"
        "\"throttled\":%.0f,\"pressure\":{\"cpu\":%.6f,\"memory\":0,\"io\":0,\"system\":false},"
        "\"blocks\":{\"api\":{\"in_flight_us\":%.0f,\"own_us\":%.0f,\"began\":%.0f,\"ended\":%.0f,"
        "\"seconds\":%.6f,\"buckets\":[0,0,0,0,0,%.0f,0,0,0,0,0,0,0,0,0],\"errors\":%.0f},"
        "\"logic\":{\"in_flight_us\":%.0f,\"own_us\":%.0f,\"queued_us\":0,\"began\":%.0f,"
        "\"ended\":%.0f,\"seconds\":%.6f,\"buckets\":[],\"threads\":8}%s},"
        "\"edges\":{\"api>logic\":{\"in_flight_us\":%.0f,\"began\":%.0f},"
        "\"logic>store\":{\"in_flight_us\":%.0f,\"began\":%.0f},"
        "\"logic>nfvi\":{\"in_flight_us\":%.0f,\"began\":%.0f},"
        "\"aside>store\":{\"in_flight_us\":0,\"began\":%.0f}},"
        "\"tcp\":{\"store\":{\"connections\":2,\"rtt_ms\":1.5,\"retransmits\":%.0f,"
        "\"network_us\":%.0f}},"
        "\"queue\":{\"waiting\":7,\"at_ms\":%lld}}}",
        process->id, (long long)(process->start + process->skew), (long long)(now + process->skew),
        (long long)(now - process->start + 1000) * 1000, seconds * 5e5, seconds * 10,
        seconds * process->throttled, seconds * 0.25, count * 20000, count * 10000, count, count,
        count * 0.02, count, seconds, count * (10 + process->task) * 1000, count * 5000, count,
        count, count * 0.01, worker, count * 10000, count, count * 5000, count,
        count * process->abroad * 1000, count, seconds, seconds * 2, count * 4000,
        (long long)((process->silent ? process->start : now) + process->skew));
}

/* Looks at NOW; each process's last heartbeat is PHASE old, of COUNT processes. */
static void look(int64_t now, const struct process *processes, const int64_t *ages, size_t count)
{
    fleet_look(fleet, now);
    for (size_t i = 0; i < count; i++) {
        CLEANUP_FREE char *text = beat(&processes[i], now - ages[i]);
        fleet_take(fleet, text, strlen(text));
    }
    fleet_end(fleet);
}

static void window(int64_t end)
{
    assert_int_equal(history_open_window(history, end), 0);
    fleet_put(fleet, end, WINDOW, history);
}

static double value(enum history_scope scope, uint32_t index, const char *metric)
{
    uint32_t number = history_metric(scope, metric);
    assert_int_not_equal(number, VIM_NO_INDEX);
    return history_get(history, scope, index, number, 0);
}

static void is(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 1e-3 * (1 + fabs(wanted)))) {
        fail_msg("%f is not %f", found, wanted);
    }
}

static void one_process(void **state)
{
    (void)state;
    struct process a = {.id = ID_A, .start = T0 - 100000, .rate = 100};
    look(T0, &a, (int64_t[]){1000}, 1);
    look(T0 + WINDOW, &a, (int64_t[]){2000}, 1);
    assert_int_equal(fleet_lag_ms(fleet), LAG);
    window(T0 + WINDOW);
    assert_true(isnan(value(HISTORY_SERVICE, 0, "throughput"))); /* it was there before we were */
    look(T0 + 2 * WINDOW, &a, (int64_t[]){1000}, 1);
    window(T0 + 2 * WINDOW);
    is(value(HISTORY_SERVICE, 0, "throughput"), 100);
    is(value(HISTORY_SERVICE, 0, "offered"), 100);
    is(value(HISTORY_SERVICE, 0, "errors"), 1);
    is(value(HISTORY_SERVICE, 0, "latency"), 20);
    is(value(HISTORY_SERVICE, 0, "in_flight"), 2); /* Little: 100 per second for 20 ms */
    double p95 = value(HISTORY_SERVICE, 0, "latency_p95");
    assert_true(p95 > 10 && p95 <= 25);
    is(value(HISTORY_BLOCK, 0, "own_in_flight"), 1);
    is(value(HISTORY_BLOCK, 1, "in_flight"), 1);
    is(value(HISTORY_BLOCK, 1, "own_in_flight"), 0.5);
    is(value(HISTORY_BLOCK, 1, "residence"), 10);
    is(value(HISTORY_BLOCK, 1, "self_time"), 5);
    is(value(HISTORY_BLOCK, 1, "cpu"), 0.5);
    is(value(HISTORY_BLOCK, 1, "throttled"), 0);
    is(value(HISTORY_BLOCK, 1, "pressure_cpu"), 0.25);
    is(value(HISTORY_BLOCK, 1, "memory"), 1000);
    is(value(HISTORY_BLOCK, 2, "rtt"), 1.5);
    is(value(HISTORY_BLOCK, 2, "calls"), 101); /* as its callers see it */
    is(value(HISTORY_BLOCK, 3, "queue_depth"), 7);
    is(value(HISTORY_EDGE, 0, "in_flight"), 1);
    is(value(HISTORY_EDGE, 1, "visits"), 101); /* with what no request waits for */
    is(value(HISTORY_EDGE, 1, "in_flight"), 0.5);
    is(value(HISTORY_EDGE, 1, "retransmits"), 2);
    is(value(HISTORY_EDGE, 1, "network"), 0.4);
    assert_true(isnan(value(HISTORY_BLOCK, 4, "cpu"))); /* there is no worker */
    assert_true(isnan(value(HISTORY_EDGE, 2, "visits")));
    struct history_block logic = history_get_block(history, 1);
    assert_true(logic.threads == 8 && logic.quota_cores == 1 && logic.ready == 1);
}

/* In eight of ten periods its quota kept it from running for half of the time, as it ran for the other half: 40 % of the
 * time of its calls was its own. */
static void who_is_starved_does_not_blame_its_callees(void **state)
{
    (void)state;
    struct process a = {.id = ID_A, .start = T0 - 100000, .rate = 100, .throttled = 8};
    for (int i = 0; i <= 2; i++) {
        look(T0 + i * WINDOW, &a, (int64_t[]){1000}, 1);
        if (i > 0) {
            window(T0 + i * WINDOW);
        }
    }
    is(value(HISTORY_BLOCK, 1, "throttled"), 0.8);
    is(value(HISTORY_EDGE, 1, "in_flight"), 0.5 * 0.6);
    is(value(HISTORY_BLOCK, 1, "own_in_flight"), 0.5 + 0.5 * 0.4);
    is(value(HISTORY_EDGE, 0, "in_flight"), 1 * 0.6);
    is(value(HISTORY_BLOCK, 0, "own_in_flight"), 1 + 1 * 0.4);
    is(value(HISTORY_BLOCK, 1, "in_flight"), 1); /* what is there is there */
    is(value(HISTORY_SERVICE, 0, "in_flight"), 2);
}

/* The infrastructure is no block of this service: what waits for it is held by who asks it. */
static void calls_to_what_is_not_watched_are_the_caller_s_own(void **state)
{
    (void)state;
    struct process a = {.id = ID_A, .start = T0 - 100000, .rate = 100, .abroad = 3};
    for (int i = 0; i <= 2; i++) {
        look(T0 + i * WINDOW, &a, (int64_t[]){1000}, 1);
        if (i > 0) {
            window(T0 + i * WINDOW);
        }
    }
    is(value(HISTORY_BLOCK, 1, "own_in_flight"), 0.5 + 0.3);
    is(value(HISTORY_BLOCK, 1, "self_time"), 5 + 3);
    is(value(HISTORY_BLOCK, 0, "own_in_flight"), 1);
}

static void look_twice(struct process a)
{
    for (int i = 0; i <= 2; i++) {
        look(T0 + i * WINDOW, &a, (int64_t[]){1000}, 1);
        if (i > 0) {
            window(T0 + i * WINDOW);
        }
    }
}

/* Seven hints wait in the queue, and five requests for their tasks: these are the worker's, though it has not seen
 * them. */
static void what_waits_in_the_queue_is_the_worker_s(void **state)
{
    (void)state;
    look_twice((struct process){.id = ID_A, .start = T0 - 100000, .rate = 100, .task = 50});
    is(value(HISTORY_BLOCK, 4, "thread_queue"), 5);
    is(value(HISTORY_BLOCK, 4, "in_flight"), 5);
    is(value(HISTORY_BLOCK, 4, "own_in_flight"), 0);
    is(value(HISTORY_BLOCK, 1, "in_flight"), 6);
}

/* Ten requests wait, for seven hints: three of their tasks are under way. */
static void no_more_wait_than_are_in_the_queue(void **state)
{
    (void)state;
    look_twice((struct process){.id = ID_A, .start = T0 - 100000, .rate = 100, .task = 100});
    is(value(HISTORY_BLOCK, 4, "thread_queue"), 7);
}

static void what_a_silent_queue_told_once_is_forgotten(void **state)
{
    (void)state;
    look_twice((struct process){
        .id = ID_A, .start = T0 - 100000, .rate = 100, .task = 50, .silent = true});
    assert_true(isnan(value(HISTORY_BLOCK, 3, "queue_depth")));
    is(value(HISTORY_BLOCK, 4, "thread_queue"), 0);
}

/* Processes beat at different times, and look after look nothing is lost or counted twice. */
static void windows_add_up(void **state)
{
    (void)state;
    struct process both[] = {{.id = ID_A, .start = T0 - 50000, .rate = 40},
                             {.id = ID_B, .start = T0 - 60000, .rate = 60}};
    double sum = 0;
    for (int i = 0; i <= 8; i++) {
        look(T0 + i * WINDOW, both, (int64_t[]){i * 700 % 2000, i * 1300 % 2000}, 2);
        if (i > 0) {
            window(T0 + i * WINDOW);
        }
        if (i > 1) {
            is(value(HISTORY_SERVICE, 0, "throughput"), 100);
            sum += value(HISTORY_SERVICE, 0, "throughput") * WINDOW / 1000;
        }
    }
    is(sum, 100 * 7 * WINDOW / 1000.0);
    is(value(HISTORY_BLOCK, 1, "cpu"), 0.5); /* a mean, no sum */
    assert_int_equal(history_get_block(history, 1).ready, 2);
}

static void clocks_may_differ(void **state)
{
    (void)state;
    struct process both[] = {{.id = ID_A, .start = T0 - 50000, .rate = 40, .skew = 3600000},
                             {.id = ID_B, .start = T0 - 60000, .rate = 60, .skew = -7200000}};
    for (int i = 0; i <= 8; i++) {
        look(T0 + i * WINDOW, both, (int64_t[]){i * 700 % 2000, i * 1300 % 2000}, 2);
        if (i > 0) {
            window(T0 + i * WINDOW);
        }
    }
    is(value(HISTORY_SERVICE, 0, "throughput"), 100);
    is(value(HISTORY_BLOCK, 0, "in_flight"), 2);
}

/* The next one under the same totals would be a jump back by all that was ever counted. */
static void a_restart_begins_anew(void **state)
{
    (void)state;
    struct process a = {.id = ID_A, .start = T0 - 100000, .rate = 100};
    look(T0, &a, (int64_t[]){0}, 1);
    look(T0 + WINDOW, &a, (int64_t[]){0}, 1);
    window(T0 + WINDOW);
    a.start = T0 + WINDOW + 1000;
    for (int i = 2; i <= 5; i++) {
        look(T0 + i * WINDOW, &a, (int64_t[]){0}, 1);
        window(T0 + i * WINDOW);
        double throughput = value(HISTORY_SERVICE, 0, "throughput");
        assert_true(isnan(throughput) || (throughput >= 0 && throughput <= 101));
    }
    is(value(HISTORY_SERVICE, 0, "throughput"), 100);
}

/* One that was killed in the middle of a window counts as long as it told; one that came counts from its start. */
static void processes_come_and_go(void **state)
{
    (void)state;
    struct process both[] = {{.id = ID_A, .start = T0 - 50000, .rate = 40},
                             {.id = ID_B, .start = T0 - 60000, .rate = 60}};
    look(T0 - WINDOW, both, (int64_t[]){0, 0}, 2);
    look(T0, both, (int64_t[]){0, 0}, 2);
    look(T0 + WINDOW, both, (int64_t[]){0, 0}, 2);
    window(T0 + WINDOW); /* up to T0 + 2 s */
    is(value(HISTORY_SERVICE, 0, "throughput"), 100);
    look(T0 + 2 * WINDOW, both, (int64_t[]){0, 0}, 1);
    window(T0 + 2 * WINDOW); /* the second told up to T0 + 5 s: 3 s of these */
    is(value(HISTORY_SERVICE, 0, "throughput"), 40 + 60 * 3 / 5.0);
    is(value(HISTORY_BLOCK, 1, "cpu"), 0.5);
    assert_int_equal(history_get_block(history, 1).ready, 1);
    look(T0 + 3 * WINDOW, both, (int64_t[]){0, 0}, 1);
    window(T0 + 3 * WINDOW);
    is(value(HISTORY_SERVICE, 0, "throughput"), 40);
    both[1] = (struct process){.id = ID_B, .start = T0 + 3 * WINDOW, .rate = 10};
    look(T0 + 4 * WINDOW, both, (int64_t[]){0, 0}, 2);
    window(T0 + 4 * WINDOW); /* from 12 s to 17 s; the new one is there from 15 s on */
    is(value(HISTORY_SERVICE, 0, "throughput"), 40 + 10 * 2 / 5.0);
}

static void what_is_late_is_held_for_two_windows(void **state)
{
    (void)state;
    struct process a = {.id = ID_A, .start = T0 - 100000, .rate = 100};
    look(T0 - 2 * WINDOW, &a, (int64_t[]){0}, 1);
    look(T0 - WINDOW, &a, (int64_t[]){0}, 1);
    look(T0, &a, (int64_t[]){0}, 1);
    window(T0);
    for (int i = 1; i <= 5; i++) {
        look(T0 + i * WINDOW, &a, (int64_t[]){(i - 1) * WINDOW},
             1); /* its last one was at the first */
        window(T0 + i * WINDOW);
        if (i == 1) {
            continue; /* 3 s are left over, of the lag */
        }
        bool held = i <= 3;
        assert_int_equal(!isnan(value(HISTORY_SERVICE, 0, "throughput")), held);
        assert_int_equal(!isnan(value(HISTORY_BLOCK, 1, "in_flight")), held);
        assert_int_equal(!isnan(value(HISTORY_EDGE, 1, "visits")), held);
    }
    /* It is heard of again. */
    look(T0 + 6 * WINDOW, &a, (int64_t[]){0}, 1);
    window(T0 + 6 * WINDOW);
    is(value(HISTORY_SERVICE, 0, "throughput"), 100);
}

static void nonsense_is_passed_over(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "null",
                                        "{",
                                        "{\"id\":\"" ID_A "\"}",
                                        "{\"id\":\"x\",\"signals\":{\"at\":1,\"mono_us\":1}}",
                                        "{\"id\":\"" ID_A
                                        "\",\"signals\":{\"at\":-1,\"mono_us\":1}}",
                                        "{\"id\":\"" ID_A "\",\"signals\":[]}"};
    fleet_look(fleet, T0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fleet_take(fleet, texts[i], strlen(texts[i]));
    }
    assert_int_equal(fleet_count(fleet), 0);
    static const char odd[] =
        "{\"id\":\"" ID_A
        "\",\"signals\":{\"at\":1800000000000,\"mono_us\":5000000,\"cpu_us\":\"many\","
        "\"blocks\":{\"api\":{\"began\":-4,\"buckets\":7},\"logic\":[]},\"edges\":3,\"tcp\":{\"store\":5}}}";
    fleet_take(fleet, odd, strlen(odd));
    fleet_end(fleet);
    assert_int_equal(fleet_count(fleet), 1);
    window(T0);
    assert_true(isnan(value(HISTORY_SERVICE, 0, "throughput")));
}

#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HERE(one_process),
        HERE(who_is_starved_does_not_blame_its_callees),
        HERE(calls_to_what_is_not_watched_are_the_caller_s_own),
        HERE(what_waits_in_the_queue_is_the_worker_s),
        HERE(no_more_wait_than_are_in_the_queue),
        HERE(what_a_silent_queue_told_once_is_forgotten),
        HERE(windows_add_up),
        HERE(clocks_may_differ),
        HERE(a_restart_begins_anew),
        HERE(processes_come_and_go),
        HERE(what_is_late_is_held_for_two_windows),
        HERE(nonsense_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
