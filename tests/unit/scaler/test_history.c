/* The ring of windows, snapshots of it, and the traces that it is written to and read from. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/text.h"
#include "scaler/history.h"
#include "scaler/trace.h"

static struct snapshot snapshot;

static void put_cpu(struct history *history, uint32_t block, double value)
{
    history_put(history, HISTORY_BLOCK, block, history_metric(HISTORY_BLOCK, "cpu"), value);
}

static void series_are_shown_in_one_piece(void **state)
{
    struct history *history = history_new("s", 1000, 4);
    uint32_t db = history_block(history, "db");

    (void)state;
    for (int i = 1; i <= 23; i++) {
        assert_int_equal(history_open_window(history, 1000 * i), VIM_OK);
        put_cpu(history, db, i);
        snapshot_build(history, 4, NULL, &snapshot);
        assert_int_equal(snapshot.view.windows, i < 4 ? i : 4);
        for (uint32_t w = 0; w < snapshot.view.windows; w++)
            assert_true(snapshot.blocks[db].cpu[w] == i - (int)(snapshot.view.windows - 1 - w));
    }
    snapshot_build(history, 2, NULL, &snapshot);
    assert_true(snapshot.view.windows == 2 && snapshot.blocks[db].cpu[1] == 23);
    assert_null(snapshot.blocks[db].memory);
    history_free(history);
}

static void gaps_are_nan(void **state)
{
    struct history *history = history_new("s", 1000, 8);
    uint32_t db = history_block(history, "db");

    (void)state;
    assert_int_equal(history_open_window(history, 10000), VIM_OK);
    put_cpu(history, db, 1);
    assert_int_equal(history_open_window(history, 10000), VIM_E_INVALID);
    assert_int_equal(history_open_window(history, 9000), VIM_E_INVALID);
    assert_int_equal(history_open_window(history, 13040), VIM_OK); /* onto the grid */
    put_cpu(history, db, INFINITY);
    assert_int_equal(history_end(history), 13000);
    snapshot_build(history, 8, NULL, &snapshot);
    assert_int_equal(snapshot.view.windows, 4);
    assert_true(snapshot.blocks[db].cpu[0] == 1);
    for (int i = 1; i < 4; i++)
        assert_true(isnan(snapshot.blocks[db].cpu[i]));
    /* A long pause leaves nothing of before. */
    assert_int_equal(history_open_window(history, 1000000), VIM_OK);
    snapshot_build(history, 8, NULL, &snapshot);
    for (int i = 0; i < 8; i++)
        assert_true(isnan(snapshot.blocks[db].cpu[i]));
    history_free(history);
}

static void names_are_checked(void **state)
{
    struct history *history = history_new("s", 1000, 8);
    char name[80];

    (void)state;
    assert_int_equal(history_block(history, ""), VIM_NO_INDEX);
    assert_int_equal(history_block(history, "a>b"), VIM_NO_INDEX);
    assert_int_equal(history_block(history, "a,b"), VIM_NO_INDEX);
    assert_int_equal(history_block(history, "a\tb"), VIM_NO_INDEX);
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    assert_int_equal(history_block(history, name), VIM_NO_INDEX);
    for (uint32_t i = 0; i < HISTORY_BLOCKS_MAX; i++) {
        snprintf(name, sizeof name, "b%u", i);
        assert_int_equal(history_block(history, name), i);
    }
    assert_int_equal(history_block(history, "b7"), 7);
    assert_int_equal(history_block(history, "more"), VIM_NO_INDEX);
    assert_int_equal(history_edge(history, 1, 99), VIM_NO_INDEX);
    history_free(history);
}

static void the_last_action_has_a_window(void **state)
{
    struct history *history = history_new("s", 1000, 4);
    struct history_action action = {.block = history_block(history, "db"), .delta = 2};

    (void)state;
    for (int i = 1; i <= 6; i++)
        history_open_window(history, 1000 * i);
    snapshot_build(history, 4, NULL, &snapshot);
    assert_int_equal(snapshot.view.last.outcome, VIM_OUTCOME_NONE);
    action.outcome = VIM_OUTCOME_PENDING;
    history_set_action(history, &action);
    snapshot_build(history, 4, NULL, &snapshot);
    assert_int_equal(snapshot.view.last.window, 4); /* not ready: behind all windows */
    action.ready = 5000;
    history_set_action(history, &action);
    snapshot_build(history, 4, NULL, &snapshot);
    assert_int_equal(snapshot.view.last.window, 2);
    assert_int_equal(snapshot.view.last.delta, 2);
    action.ready = 2000;
    history_set_action(history, &action);
    snapshot_build(history, 4, NULL, &snapshot);
    assert_int_equal(snapshot.view.last.outcome, VIM_OUTCOME_NONE);
    history_free(history);
}

/* --- Traces ---------------------------------------------------------------------------------- */

static char path[64];

static void write_bytes(const char *text, size_t length)
{
    FILE *file;
    int fd;

    snprintf(path, sizeof path, "/tmp/vimd-trace-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    file = fdopen(fd, "w");
    fwrite(text, 1, length, file);
    fclose(file);
}

static void write_file(const char *text)
{
    write_bytes(text, strlen(text));
}

static void check_fault_of(const char *text, size_t length, const char *fault)
{
    struct text reason = {0};
    struct trace *trace = NULL;
    int code = VIM_OK;

    write_bytes(text, length);
    assert_int_equal(trace_open(path, 8, &trace, &reason), VIM_OK);
    while (code == VIM_OK)
        code = trace_next(trace, &reason);
    assert_int_equal(code, VIM_E_INVALID);
    assert_true(text_starts_with(text_get(&reason), path));
    if (!strstr(text_get(&reason), fault))
        fail_msg("\"%s\" does not say \"%s\"", text_get(&reason), fault);
    trace_close(trace);
    unlink(path);
    text_free(&reason);
}

static void check_fault(const char *text, const char *fault)
{
    check_fault_of(text, strlen(text), fault);
}

static void broken_traces_name_the_line(void **state)
{
    (void)state;
    check_fault("t_ms,scope,name,metric,value\n1000,block,db\n", ":2: not the five fields");
    check_fault("1000,block,db,cpu,0.5,9\n", ":1: not the five fields");
    check_fault("soon,block,db,cpu,1\n", ":1: t_ms: not a time");
    check_fault("1000,block,db,cpu,much\n", ":1: value: not a number: much");
    check_fault("1000,cluster,db,cpu,1\n", ":1: scope: cluster is not");
    check_fault("1000,block,db,speed,1\n", ":1: metric: block has no speed");
    check_fault("1000,service,db,cpu,1\n", ":1: metric: service has no cpu");
    check_fault("1000,edge,db,visits,1\n", ":1: name: db is no edge");
    check_fault("5000,block,db,cpu,1\n\n# back\n1000,block,db,cpu,1\n", ":4: t_ms: 1000 lies in");
    check_fault("1000,service,s,window_ms,0\n", ":1: window_ms: not 1..3600000");
    check_fault("1000,service,s,window_ms,1000\n2000,service,s,window_ms,500\n",
                ":2: window_ms: 500, after 1000");
    check_fault("1000,service,s,errors,1\n1000,service,t,offered,1\n",
                ":2: name: t, in a trace of the service s");
    check_fault("1000,block,db,cpu,1\n1000,block,db,cpu,2\n",
                ":2: block db has two values of cpu at 1000");
    check_fault("1000,block,db,ready,1\n1000,block,db,ready,1\n",
                ":2: block db has two values of ready at 1000");
    check_fault("1000,action,a,delta,1\n1000,action,b,delta,1\n",
                ":2: name: b: a window tells one");
    /* Half a number is another one. */
    check_fault("1000,block,db,cpu,1\n2000,block,db,cpu,0.", ":2: the line has no end");
    check_fault_of("1000,block,db,cpu,0.\0005\n", 23, ":1: a byte of it is 0");
}

static void states_that_cannot_be_name_the_line(void **state)
{
    static const char *const wrong[] = {
        "block,db,ready,-5",           "block,db,ready,1.5",        "block,db,desired,1e12",
        "block,db,minimum,inf",        "block,db,scalable,7",       "block,db,tabu,-1",
        "block,db,quota_cores,-1",     "block,db,threads,-2",       "service,s,slo_p95_ms,-1",
        "service,s,slo_error_share,7", "service,s,budget_cores,-1", "action,db,delta,0.5",
        "action,db,ready_ms,-1",       "action,db,outcome,9"};
    char line[128], fault[64];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *metric = strchr(strchr(wrong[i], ',') + 1, ',') + 1;

        snprintf(line, sizeof line, "1000,block,db,cpu,1\n1000,%s\n", wrong[i]);
        snprintf(fault, sizeof fault, ":2: value: %.*s cannot be ", (int)strcspn(metric, ","),
                 metric);
        check_fault(line, fault);
    }
}

/* A digest that hangs on the order of lines would be no identity. */
static void the_length_of_a_window_may_be_told_in_any_line(void **state)
{
    struct text reason = {0};
    struct trace *trace = NULL;

    (void)state;
    write_file(
        "1000,block,db,cpu,0.1\n1000,service,shop,errors,1\n1000,service,shop,window_ms,1000\n"
        "2000,block,db,cpu,0.2\n");
    assert_int_equal(trace_open(path, 8, &trace, &reason), VIM_OK);
    assert_int_equal(trace_next(trace, &reason), VIM_OK);
    assert_int_equal(history_window_ms(trace_history(trace)), 1000);
    assert_string_equal(history_service(trace_history(trace)), "shop");
    assert_int_equal(trace_next(trace, &reason), VIM_OK);
    assert_int_equal(history_windows(trace_history(trace)), 2);
    assert_true(history_get(trace_history(trace), HISTORY_BLOCK, 0, 0, 1) == 0.1);
    trace_close(trace);
    unlink(path);
}

/* Two of them write, one after the other, and neither writes to what the other has put away. */
static void a_trace_that_is_full_is_kept_and_a_new_one_begins(void **state)
{
    struct history *history = history_new("shop", 1000, 8);
    char folder[] = "/tmp/vimd-record-XXXXXX", name[96], all[32768] = "";
    struct text reason = {0};
    struct trace *trace = NULL;
    FILE *files[2] = {NULL, NULL};
    unsigned parts = 0, windows = 0;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/shop.csv", folder);
    history_block(history, "db");
    for (int i = 1; i <= 60; i++) {
        history_open_window(history, 1000 * i);
        assert_int_equal(trace_record(&files[i / 3 % 2], path, 1000, history, 0), 0);
    }
    fclose(files[0]);
    fclose(files[1]);
    for (int i = 1; i <= 61; i++) { /* in the order of their times, the last one at last */
        FILE *file;
        size_t used = strlen(all);

        snprintf(name, sizeof name, "%s.%d", path, 1000 * i);
        file = fopen(i <= 60 ? name : path, "r");
        if (!file)
            continue;
        parts++;
        used += fread(all + used, 1, sizeof all - used - 1, file);
        all[used] = '\0';
        fclose(file);
        unlink(i <= 60 ? name : path);
    }
    assert_true(parts > 3);
    assert_int_equal(rmdir(folder), 0); /* and nothing else is there */
    write_file(all);
    assert_int_equal(trace_open(path, 8, &trace, &reason), VIM_OK);
    for (; trace_next(trace, &reason) == VIM_OK; windows++)
        assert_int_equal(history_end(trace_history(trace)), 1000 * (windows + 1));
    assert_int_equal(windows, 60);
    trace_close(trace);
    unlink(path);
    history_free(history);
    text_free(&reason);
}

/* What could not be written whole is taken back, and the next one is tried again. */
static void a_trace_that_cannot_be_written(void **state)
{
    struct history *history = history_new("shop", 1000, 8);
    FILE *file = NULL;

    (void)state;
    history_block(history, "db");
    history_open_window(history, 1000);
    assert_int_equal(trace_record(&file, "/none/shop.csv", 1000, history, 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_null(file);
    assert_int_equal(trace_record(&file, "/dev/full", 1000, history, 0), -1);
    assert_int_equal(errno, ENOSPC);
    assert_null(file);
    history_free(history);
}

/* As a process leaves it that is killed in the middle of a write. */
static void an_unfinished_line_is_cut_off(void **state)
{
    struct history *history = history_new("shop", 1000, 8);
    struct text reason = {0};
    struct trace *trace = NULL;
    FILE *file;

    (void)state;
    write_file("t_ms,scope,name,metric,value\n1000,service,shop,window_ms,1000\n1000,block,db,cp");
    history_block(history, "db");
    history_open_window(history, 2000);
    file = trace_append(path);
    assert_non_null(file);
    trace_write_window(file, history, 0);
    fclose(file);
    assert_int_equal(trace_open(path, 8, &trace, &reason), VIM_OK);
    assert_int_equal(trace_next(trace, &reason), VIM_OK);
    assert_int_equal(trace_next(trace, &reason), VIM_OK);
    assert_int_equal(trace_next(trace, &reason), VIM_E_NOT_FOUND);
    trace_close(trace);
    history_free(history);
    unlink(path);
}

static void what_cannot_be_read_is_said(void **state)
{
    struct text reason = {0};
    struct trace *trace = NULL;

    (void)state;
    assert_int_equal(trace_open("/tmp", 8, &trace, &reason), VIM_OK);
    assert_int_equal(trace_next(trace, &reason), VIM_E_INVALID);
    assert_string_equal(text_get(&reason), "/tmp: Is a directory");
    trace_close(trace);
    text_free(&reason);
}

static void what_was_written_reads_the_same(void **state)
{
    struct history *history = history_new("shop", 2000, 8), *again;
    uint32_t logic = history_block(history, "logic"), db = history_block(history, "db");
    uint32_t edge = history_edge(history, logic, db);
    struct history_block how = {VIM_BLOCK_SCALABLE | VIM_BLOCK_TABU, 3, 2, 1, 1, 9, 0.25, 16};
    struct history_goals goals = {250, 0.01, 12.5};
    struct history_action action = {db, -1, 4000, VIM_OUTCOME_IMPROVED};
    struct text reason = {0};
    struct trace *trace = NULL;
    FILE *file;

    (void)state;
    write_file("");
    file = fopen(path, "w");
    trace_write_heading(file);
    history_set_goals(history, &goals);
    for (int i = 1; i <= 3; i++) {
        history_open_window(history, 2000 * i);
        put_cpu(history, db, 1.0 / 3 * i);
        history_put(history, HISTORY_SERVICE, 0, 0, 0.1 * i);
        history_put(history, HISTORY_EDGE, edge, 1, i == 2 ? NAN : i);
        history_set_block(history, db, &how);
        if (i == 3)
            history_set_action(history, &action);
        trace_write_window(file, history, 4000);
    }
    fclose(file);
    assert_int_equal(trace_open(path, 8, &trace, &reason), VIM_OK);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(trace_next(trace, &reason), VIM_OK);
    again = trace_history(trace);
    assert_string_equal(history_service(again), "shop");
    assert_int_equal(history_window_ms(again), 2000);
    for (uint32_t age = 0; age < 3; age++) {
        assert_true(history_get(again, HISTORY_BLOCK, db, 0, age) == 1.0 / 3 * (3 - (int)age));
        assert_true(history_get(again, HISTORY_SERVICE, 0, 0, age) == 0.1 * (3 - (int)age));
    }
    assert_true(isnan(history_get(again, HISTORY_EDGE, 0, 1, 1)));
    assert_true(history_get_block(again, db).flags == how.flags);
    assert_true(history_get_block(again, db).quota_cores == 0.25);
    assert_true(history_get_goals(again).budget_cores == 12.5);
    assert_true(history_get_action(again).ready == 4000);
    assert_true(history_get_action(again).delta == -1);
    assert_int_equal(trace_interval_ms(trace), 4000);
    assert_int_equal(trace_next(trace, &reason), VIM_E_NOT_FOUND);
    trace_close(trace);
    history_free(history);
    unlink(path);
    text_free(&reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(series_are_shown_in_one_piece),
        cmocka_unit_test(gaps_are_nan),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(the_last_action_has_a_window),
        cmocka_unit_test(a_trace_that_is_full_is_kept_and_a_new_one_begins),
        cmocka_unit_test(a_trace_that_cannot_be_written),
        cmocka_unit_test(broken_traces_name_the_line),
        cmocka_unit_test(states_that_cannot_be_name_the_line),
        cmocka_unit_test(the_length_of_a_window_may_be_told_in_any_line),
        cmocka_unit_test(an_unfinished_line_is_cut_off),
        cmocka_unit_test(what_cannot_be_read_is_said),
        cmocka_unit_test(what_was_written_reads_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
