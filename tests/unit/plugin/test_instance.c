/*
 * Instances and calls: what a plugin tells through its host is what the caller gets.
 */
#include "test.h"
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/integral.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "scripted.h"

static struct plugin *plugin;

static int setup(void **state)
{
    (void)state;
    memset(&scripted, 0, sizeof(scripted));
    plugin = scripted_plugin(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    plugin_free(plugin);
    return instance_wait_closed(0) == 0 ? 0 : -1;
}

static int step(struct instance *instance, struct vim_call *call)
{
    const struct vim_op op = {.size = sizeof(op)};
    int code = instance_enter(instance, call);
    if (code == VIM_OK) {
        code = instance_driver(instance)->step(call, instance_handle(instance), &op);
        code = instance_leave(instance, call, code);
    }
    return code;
}

static int tell_all(struct vim_call *call, const struct vim_op *op)
{
    (void)op;
    const struct vim_host *host = scripted.host;
    struct vim_item item = {
        .size = offsetof(struct vim_item, body), .kind = "server", .id = "1", .body = "never seen"};
    assert_int_equal(host->emit(call, &item), 0);
    item.id = "2";
    assert_int_not_equal(host->emit(call, &item), 0); /* the test wants only two */
    assert_int_not_equal(host->emit(call, &item), 0);
    host->keep(call, "first");
    host->keep(call, "cursor");
    host->again(call, 5);
    host->await(call, "server", "far-1", 7000);
    host->note(call, "step", "create-port");
    host->note(call, "step", "boot\nserver");
    host->note(call, "backend_request_id", "req-1");
    host->note(call, "backend_request_id", "req-2");
    assert_true(host->left_ms(call) > 0);
    char buffer[4];
    assert_int_equal(host->read(call, 2, buffer, sizeof(buffer)), 3);
    assert_memory_equal(buffer, "cde", 3);
    assert_int_equal(host->read(call, 99, buffer, sizeof(buffer)), 0);
    return VIM_AGAIN;
}

static int take_two(void *argument, const struct vim_item *item)
{
    assert_int_equal(item->size, sizeof(*item));
    assert_string_equal(item->kind, "server");
    assert_null(item->body); /* beyond the emitter's size */
    return ++*(int *)argument == 2;
}

static void outcome_arrives(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "one");
    struct vim_call call;
    int taken = 0;
    char path[] = "/tmp/test-call-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "abcde", 5), 5);
    scripted.step = tell_all;
    call_init(&call, clock_mono_ms() + 60000);
    call_set_emit(&call, take_two, &taken);
    call_set_read_fd(&call, fd);
    assert_int_equal(step(instance, &call), VIM_AGAIN);
    assert_int_equal(taken, 2);
    assert_int_equal(call_emitted(&call), 3);
    const char *cursor = NULL, *kind, *id;
    uint32_t ms;
    assert_true(call_kept(&call, &cursor));
    assert_string_equal(cursor, "cursor");
    assert_int_equal(call_wait(&call, &ms, &kind, &id), CALL_WAIT_AWAIT);
    assert_int_equal(ms, 7000);
    assert_string_equal(kind, "server");
    assert_string_equal(id, "far-1");
    assert_string_equal(call_note(&call, "step"), "boot server");
    assert_string_equal(call_note(&call, "backend_request_id"), "req-1 req-2");
    assert_null(call_note(&call, "none"));
    assert_string_equal(call_fail_text(&call), "");
    call_free(&call);
    close(fd);
    unlink(path);
    instance_release(instance);
    assert_int_equal(scripted.closed, 1);
}

/* Waits twice as told, is told twice that it waits, and has not gone on when it returns. */
static int wait_for_others(struct vim_call *call, const struct vim_op *op)
{
    (void)op;
    struct integral_sum sums[INTEGRAL_COUNT];
    scripted.host->waiting(call, 1);
    scripted.host->waiting(call, 1);
    integral_read(sums);
    assert_int_equal(sums[WAITS_WORKER].here, 1);
    assert_int_equal(sums[WORKER_TO_NFVI].here, 0);
    scripted.host->waiting(call, 0);
    integral_read(sums);
    assert_int_equal(sums[WAITS_WORKER].here, 0);
    assert_int_equal(sums[WORKER_TO_NFVI].here, 1);
    scripted.host->waiting(call, 1);
    return VIM_OK;
}

static void a_call_that_waits_is_not_under_way(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "one");
    struct integral_sum sums[INTEGRAL_COUNT];
    struct vim_call call;
    scripted.step = wait_for_others;
    call_init(&call, INT64_MAX);
    enum integral_scope before = integral_enter(SCOPE_WORKER, clock_mono_us());
    assert_int_equal(step(instance, &call), VIM_OK);
    integral_leave(before, clock_mono_us());
    call_free(&call);
    instance_release(instance);
    integral_read(sums);
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        assert_int_equal(sums[i].here, 0);
    }
}

static int fail_secretly(struct vim_call *call, const struct vim_op *op)
{
    (void)op;
    char buffer[1];
    scripted.host->keep(call, NULL);
    assert_int_equal(scripted.host->read(call, 0, buffer, 1), VIM_E_INVALID);
    return scripted.host->fail(call, VIM_E_BUSY, 3000, "slow down,\nsays tok-4711 \xFF");
}

static void failure_arrives_without_secrets(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "one");
    struct vim_call call;
    log_redact_add("tok-4711");
    scripted.step = fail_secretly;
    call_init(&call, INT64_MAX);
    assert_int_equal(call_left_ms(&call), INT64_MAX);
    assert_int_equal(step(instance, &call), VIM_E_BUSY);
    assert_string_equal(call_fail_text(&call), "slow down, says *** \xEF\xBF\xBD");
    assert_int_equal(call_retry_after_ms(&call), 3000);
    const char *cursor = "x";
    assert_true(call_kept(&call, &cursor));
    assert_null(cursor);
    assert_int_equal(call_wait(&call, NULL, NULL, NULL), CALL_WAIT_NONE);
    call_free(&call);
    instance_release(instance);
}

static int defect;

static int break_a_rule(struct vim_call *call, const struct vim_op *op)
{
    (void)op;
    static char cursor[VIM_KEPT_MAX + 2];
    struct vim_item item = {.size = 0};
    switch (defect) {
    case 0:
        return 17;
    case 1:
        memset(cursor, 'x', VIM_KEPT_MAX + 1);
        scripted.host->keep(call, cursor);
        return VIM_OK;
    case 2:
        scripted.host->emit(call, &item);
        return VIM_OK;
    default:
        scripted.host->await(call, NULL, "x", 1);
        return VIM_AGAIN;
    }
}

static void drop_line(void *argument, const char *line, size_t length)
{
    (void)line, (void)length;
    ++*(int *)argument;
}

static void broken_rules_are_internal_errors(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "one");
    int logged = 0;
    log_set_sink(drop_line, &logged);
    scripted.step = break_a_rule;
    for (defect = 0; defect < 4; defect++) {
        struct vim_call call;
        call_init(&call, INT64_MAX);
        assert_int_equal(step(instance, &call), VIM_E_INTERNAL);
        assert_true(strlen(call_fail_text(&call)) > 10);
        call_free(&call);
    }
    assert_int_equal(logged, 4);
    log_set_sink(NULL, NULL);
    instance_release(instance);
}

static int refuse(struct vim_call *call)
{
    return scripted.host->fail(call, VIM_E_INVALID, 0, "url: no such host");
}

static void an_instance_that_cannot_open_is_told(void **state)
{
    (void)state;
    struct instance *instance = NULL;
    struct text reason = {0};
    const struct instance_settings settings = {.name = "edge1"};
    scripted.open = refuse;
    assert_int_equal(
        instance_open(plugin, &settings, scripted_fill(plugin, "{}"), &instance, &reason),
        VIM_E_INVALID);
    assert_string_equal(reason.data,
                        "edge1: plugin scripted cannot be opened: invalid: url: no such host");
    assert_int_equal(scripted.closed, 0);
    text_free(&reason);
}

static void references_keep_it_open(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "one");
    assert_ptr_equal(instance_hold(instance), instance);
    instance_release(instance);
    assert_int_equal(scripted.closed, 0);
    assert_int_equal(instance_wait_closed(0), 1);
    struct vim_call call;
    call_init(&call, clock_mono_ms() + 1000);
    assert_int_equal(instance_probe(instance, &call), VIM_OK);
    assert_int_equal(call_emitted(&call), 1);
    call_free(&call);
    assert_string_equal(instance_name(instance), "one");
    assert_ptr_equal(instance_plugin(instance), plugin);
    instance_release(instance);
    instance_release(NULL);
    assert_int_equal(scripted.closed, 1);
    assert_int_equal(instance_wait_closed(0), 0);
}

static void the_host_tells_and_counts(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "count-me");
    const struct vim_host *host = scripted.host;
    struct vim_self *self = scripted.self;
    int logged = 0;
    assert_int_equal(host->abi, VIM_ABI);
    assert_string_equal(host->about(self, "instance"), "count-me");
    assert_string_equal(host->about(self, "state_dir"), "/var/lib/x");
    assert_string_equal(host->about(self, "version"), VIMD_VERSION);
    assert_null(host->about(self, "weather"));
    log_set_sink(drop_line, &logged);
    host->log(self, VIM_INFO, "connected", "url=x");
    host->log(self, 99, "too detailed", NULL);
    assert_int_equal(logged, 1);
    host->count(self, "calls_total", "service=\"compute\"", 2);
    host->count(self, "calls_total", "service=\"compute\"", 3);
    host->count(self, "calls_total", NULL, 1);
    host->count(self, "calls", NULL, 1); /* no _total */
    host->count(self, "bad_total", "}\nx 1", 1); /* no labels */
    host->count(self, "bad_total", "}\nx 1", 1);
    host->count(self, "calls_total", NULL, -1);
    assert_int_equal(logged, 3);
    log_set_sink(NULL, NULL);
    for (int i = 0; i < 1000; i++) { /* more series than a plugin may have */
        char labels[32];
        snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        host->count(self, "many_total", labels, 1);
    }
    struct text text = {0};
    metrics_render(&text);
    assert_non_null(strstr(text.data, "vimd_plugin_calls_total{instance=\"count-me\"} 1\n"));
    assert_non_null(strstr(
        text.data, "vimd_plugin_calls_total{instance=\"count-me\",service=\"compute\"} 5\n"));
    assert_null(strstr(text.data, "bad_total"));
    assert_non_null(strstr(text.data, "i=\"400\""));
    assert_null(strstr(text.data, "i=\"600\""));
    text_free(&text);
    instance_release(instance);
}

/* --- Who may be inside --------------------------------------------------------------------------- */

static sem_t inside, may_go;
static atomic_int now_inside, most_inside;

static int wait_inside(struct vim_call *call, const struct vim_op *op)
{
    (void)call, (void)op;
    int count = ++now_inside;
    if (count > most_inside) {
        most_inside = count;
    }
    sem_post(&inside);
    sem_wait(&may_go);
    now_inside--;
    return VIM_OK;
}

static void *step_thread(void *argument)
{
    struct vim_call call;
    call_init(&call, clock_mono_ms() + 60000);
    assert_int_equal(step(argument, &call), VIM_OK);
    call_free(&call);
    return NULL;
}

static void start_steps(struct instance *instance, pthread_t threads[], int count)
{
    sem_init(&inside, 0, 0);
    sem_init(&may_go, 0, 0);
    now_inside = most_inside = 0;
    scripted.step = wait_inside;
    for (int i = 0; i < count; i++) {
        assert_int_equal(thread_start("step", step_thread, instance, &threads[i]), VIM_OK);
    }
}

static void join_steps(pthread_t threads[], int count)
{
    for (int i = 0; i < count; i++) {
        sem_post(&may_go);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void calls_are_parallel(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "parallel");
    pthread_t threads[3];
    start_steps(instance, threads, 3);
    for (int i = 0; i < 3; i++) {
        sem_wait(&inside); /* all three, while none has left */
    }
    join_steps(threads, 3);
    assert_int_equal(most_inside, 3);
    instance_release(instance);
}

static void serial_calls_are_not(void **state)
{
    (void)state;
    struct plugin *serial = scripted_plugin(VIM_SERIAL);
    struct instance *instance = scripted_instance(serial, "serial");
    pthread_t threads[3];
    start_steps(instance, threads, 3);
    sem_wait(&inside);
    struct vim_call call;
    call_init(&call, clock_mono_ms() + 20);
    assert_int_equal(step(instance, &call), VIM_E_BUSY); /* its time passes at the gate */
    call_free(&call);
    join_steps(threads, 3);
    assert_int_equal(most_inside, 1);
    instance_release(instance);
    plugin_free(serial);
}

/* --- Reconfiguring ------------------------------------------------------------------------------- */

static int alone(struct vim_call *call, const struct scripted_config *config)
{
    (void)call;
    assert_int_equal(now_inside, 0);
    scripted.config = config;
    return VIM_OK;
}

static int reconfigure(struct instance *instance, const char *yaml, int64_t wait_ms)
{
    struct vim_call call;
    call_init(&call, clock_mono_ms() + wait_ms);
    int code = instance_reconfigure(instance, &call, scripted_fill(plugin, yaml));
    call_free(&call);
    return code;
}

static struct instance *locked;

static int step_at_once(struct vim_call *call, const struct vim_op *op)
{
    (void)call, (void)op;
    return VIM_OK;
}

/* While a reconfigure is inside nobody comes in. */
static int try_to_enter(struct vim_call *call, const struct scripted_config *config)
{
    (void)call, (void)config;
    struct vim_call other;
    call_init(&other, clock_mono_ms() + 20);
    assert_int_equal(step(locked, &other), VIM_E_BUSY);
    call_free(&other);
    return VIM_OK;
}

static void reconfigure_keeps_others_out(void **state)
{
    (void)state;
    locked = scripted_instance(plugin, "locked");
    scripted.step = step_at_once;
    scripted.reconfigure = try_to_enter;
    assert_int_equal(reconfigure(locked, "level: 5", 60000), VIM_OK);
    struct vim_call call;
    call_init(&call, INT64_MAX);
    assert_int_equal(step(locked, &call), VIM_OK);
    call_free(&call);
    instance_release(locked);
}

static int refuse_config(struct vim_call *call, const struct scripted_config *config)
{
    (void)config;
    return scripted.host->fail(call, VIM_E_INVALID, 0, "no");
}

static void reconfigure_is_alone_and_live_only(void **state)
{
    (void)state;
    struct instance *instance = scripted_instance(plugin, "live");
    scripted.reconfigure = alone;
    assert_int_equal(reconfigure(instance, "level: 5", 60000), VIM_OK);
    assert_int_equal(scripted.config->level, 5);
    assert_ptr_equal(config_data(instance_config(instance)), scripted.config);
    assert_int_equal(reconfigure(instance, "url: y", 60000), VIM_E_UNSUPPORTED);
    scripted.reconfigure = refuse_config;
    assert_int_equal(reconfigure(instance, "level: 6", 60000), VIM_E_INVALID);
    assert_int_equal(scripted.config->level, 5);
    scripted.reconfigure = alone;
    pthread_t threads[2];
    start_steps(instance, threads, 2);
    sem_wait(&inside);
    sem_wait(&inside);
    assert_int_equal(reconfigure(instance, "level: 7", 20), VIM_E_BUSY); /* calls do not end */
    assert_int_equal(scripted.config->level, 5);
    join_steps(threads, 2);
    start_steps(instance, threads, 2); /* in again after a reconfigure gave up */
    sem_post(&may_go);
    sem_post(&may_go);
    assert_int_equal(reconfigure(instance, "level: 8", 60000), VIM_OK);
    join_steps(threads, 2);
    assert_int_equal(scripted.config->level, 8);
    instance_release(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outcome_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_waits_is_not_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_arrives_without_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_rules_are_internal_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(an_instance_that_cannot_open_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(references_keep_it_open, setup, teardown),
        cmocka_unit_test_setup_teardown(the_host_tells_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_are_parallel, setup, teardown),
        cmocka_unit_test_setup_teardown(serial_calls_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(reconfigure_keeps_others_out, setup, teardown),
        cmocka_unit_test_setup_teardown(reconfigure_is_alone_and_live_only, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
