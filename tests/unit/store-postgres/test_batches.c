/*
 * Reads that wait for each other go together; and none of them suffers from the others. A lock on the table holds up
 * one, behind which the others gather.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"
#include "fixture.h"

#define READERS 24

/* In which those that were begun get into the queue, if the machine is not very slow. */
#define GATHER_MS 900

/* A read on a thread of its own. */
struct reader {
    pthread_t thread;
    void *instance;
    const char *id; /* NULL: a scan behind `after` */
    const char *after;
    int code;
    atomic_bool done;
    struct vim_call call;
};

static void *read_one(void *context)
{
    struct reader *reader = context;
    struct vim_scan scan = {
        .size = sizeof scan, .collection = "c", .after = reader->after, .limit = 2};

    reader->code = reader->id ? ops->get(&reader->call, reader->instance, "c", reader->id)
                              : ops->scan(&reader->call, reader->instance, &scan);
    atomic_store(&reader->done, true);
    return NULL;
}

/* With LEFT_MS milliseconds to live; 0: enough. */
static void begin(struct reader *reader, void *instance, const char *id, const char *after,
                  int64_t left_ms)
{
    *reader = (struct reader){.instance = instance, .id = id, .after = after};
    test_call_init(&reader->call);
    reader->call.deadline_ms = left_ms ? test_now() + left_ms : 0;
    pthread_create(&reader->thread, NULL, read_one, reader);
}

/* Until COUNT reads have told that they wait for others, or, on a very slow machine, are on their way to it. */
static void await_queued(unsigned count)
{
    for (int i = 0; i < GATHER_MS && atomic_load(&told_to_wait) < count; i++)
        usleep(1000);
}

static void end(struct reader *reader)
{
    pthread_join(reader->thread, NULL);
    test_call_clear(&reader->call);
}

static PGconn *lock_table(const struct fixture *fixture, const char *table)
{
    PGconn *lock = raw_connection();
    char sql[1024], template[128];

    snprintf(template, sizeof template, "BEGIN; LOCK TABLE @.%s", table);
    schema_text(fixture, template, sql);
    PQclear(PQexec(lock, sql));
    return lock;
}

static void unlock_table(PGconn *lock)
{
    PQclear(PQexec(lock, "ROLLBACK"));
    PQfinish(lock);
}

static long ask_number(const char *sql)
{
    PGconn *connection = raw_connection();
    PGresult *result = PQexec(connection, sql);
    long number = strtol(PQgetvalue(result, 0, 0), NULL, 10);

    PQclear(result);
    PQfinish(connection);
    return number;
}

/* Until COUNT connections of the instance wait for a lock. */
static void await_locked(long count)
{
    for (int i = 0; i < 3000; i++) {
        if (ask_number("SELECT count(*) FROM pg_stat_activity WHERE application_name='vimd main'"
                       " AND wait_event_type='Lock'") >= count)
            return;
        usleep(10000);
    }
    fprintf(stderr, "nothing waits for the lock\n");
    abort(); /* and not a failed assertion: threads read what this frame's callers have */
}

/* Rows "0" to "29". */
static void fill(struct fixture *fixture)
{
    char id[24];

    open_store(fixture);
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(put(fixture->instance, id, 0), VIM_OK);
    }
    plugin->close(fixture->instance);
}

/* Begins READERS reads, of which the first is held up by a lock on TABLE, and lets them all end. Every second is a scan
 * if SCANS. */
static void read_all(struct fixture *fixture, const char *table, bool scans,
                     struct reader readers[READERS], char ids[READERS][24])
{
    PGconn *lock = lock_table(fixture, table);

    atomic_store(&told_to_wait, 0);
    for (int i = 0; i < READERS; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        begin(&readers[i], fixture->instance, i % 2 || !scans ? ids[i] : NULL, ids[i], 0);
        if (i == 0)
            await_locked(1);
    }
    await_queued(READERS - 1);
    unlock_table(lock);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
}

/* There are few batches, and each read gets what it asked for. */
static void test_those_that_wait_go_together(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[READERS];
    char ids[READERS][24];

    fill(fixture);
    open_store(fixture);
    atomic_store(&batches, 0);
    read_all(fixture, "rows", true, readers, ids);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].code, VIM_OK);
        assert_int_equal(readers[i].call.count, i % 2 || i == 8 ? 1 : 2);
        assert_false(readers[i].call.waits);
        if (i % 2)
            assert_string_equal(readers[i].call.rows[0].id, ids[i]);
        else
            assert_true(strcmp(readers[i].call.rows[0].id, ids[i]) > 0);
        test_call_clear(&readers[i].call);
    }
    plugin->close(fixture->instance);
    assert_in_range(atomic_load(&told_to_wait), READERS / 2, READERS);
    /* The first; those that waited; and some in between if the lock was there for longer than a batch is waited for. */
    assert_in_range(atomic_load(&batches), 2, READERS / 2);
}

/* A read that fails does so alone: the table is a view (one that can be written to, since writes are
 * prepared as well) in which looking at the row "13" is a division by zero. Row "5" takes its time: what comes after it
 * is gathered. */
static void test_one_that_fails_fails_alone(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[READERS];
    char ids[READERS][24];

    fill(fixture);
    run_schema_sql(fixture, "ALTER TABLE @.rows RENAME TO kept; CREATE VIEW @.rows AS SELECT * FROM"
                            " @.kept WHERE 1/(CASE WHEN id='13' THEN 0 ELSE 1 END)=1 AND"
                            " CASE WHEN id='5' THEN pg_sleep(0.05)::text='' ELSE true END");
    open_store(fixture);
    atomic_store(&batches, 0);
    read_all(fixture, "kept", false, readers, ids);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].code, i == 13 ? VIM_E_INTERNAL : VIM_OK);
        if (i != 13)
            assert_string_equal(readers[i].call.rows[0].id, ids[i]);
        else
            assert_non_null(strstr(readers[i].call.text, "zero"));
        test_call_clear(&readers[i].call);
    }
    plugin->close(fixture->instance);
    assert_true(atomic_load(&batches) < READERS);
}

/* Who has no time left leaves, from a batch as from the queue; the others are answered. */
static void test_one_leaves(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[4], *first = &readers[0], *impatient = &readers[1],
                              *cancelled = &readers[2], *patient = &readers[3];
    int64_t start = test_now();

    fill(fixture);
    fixture->config.connections = 1; /* or else those that wait take another one after a while */
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "rows");
    begin(first, fixture->instance, "1", NULL, 0);
    await_locked(1);
    begin(impatient, fixture->instance, "2", NULL, 300);
    pthread_join(impatient->thread, NULL);
    atomic_store(&told_to_wait, 0);
    begin(cancelled, fixture->instance, "3", NULL, 0);
    begin(patient, fixture->instance, "4", NULL, 0);
    await_queued(2);
    atomic_store(&cancelled->call.cancelled, true);
    pthread_join(cancelled->thread, NULL);
    bool patient_waits = !atomic_load(&patient->done);
    /* The one that has sent the batch. */
    atomic_store(&first->call.cancelled, true);
    pthread_join(first->thread, NULL);
    unlock_table(lock);
    pthread_join(patient->thread, NULL);
    /* In the queue, or, if the machine is slow, because the connection is the first one's. */
    assert_true(impatient->code == VIM_E_TIMEOUT || impatient->code == VIM_E_BUSY);
    assert_true(cancelled->code < 0);
    assert_true(patient_waits);
    assert_true(first->code < 0);
    assert_int_equal(patient->code, VIM_OK);
    assert_true(test_now() - start < 60000);
    for (int i = 0; i < 4; i++)
        test_call_clear(&readers[i].call);
    assert_int_equal(get(fixture->instance, "5"), VIM_OK);
    plugin->close(fixture->instance);
}

/* The time of the one that has taken others along is over while there is no server: theirs is not. */
static void test_one_that_leads_gives_up(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[3], *first = &readers[0], *leader = &readers[1], *other = &readers[2];

    fill(fixture);
    fixture->config.connections = 1;
    fixture->config.connect_timeout = 60000;
    open_store(fixture);
    server_control("postgres", "down", "POSTGRES", "immediate");
    begin(first, fixture->instance, "1", NULL, GATHER_MS); /* the others gather behind it */
    usleep(100000);
    atomic_store(&told_to_wait, 0);
    begin(leader, fixture->instance, "2", NULL, 3000);
    await_queued(1);
    begin(other, fixture->instance, "3", NULL, 0);
    pthread_join(first->thread, NULL);
    pthread_join(leader->thread, NULL);
    usleep(300000); /* it would have failed by then */
    server_control("postgres", "up", "POSTGRES", NULL);
    pthread_join(other->thread, NULL);
    assert_true(first->code < 0);
    assert_true(leader->code < 0);
    assert_int_equal(other->code, VIM_OK);
    for (int i = 0; i < 3; i++)
        test_call_clear(&readers[i].call);
    plugin->close(fixture->instance);
}

/* One that takes long does not hold up the others for long: they take another connection. Nor does it slow them
 * down for as long as it lasts. */
static void test_one_takes_long(void **state)
{
    struct fixture *fixture = *state;
    struct reader slow, other;
    int failed = 0;

    fill(fixture);
    run_schema_sql(fixture,
                   "ALTER TABLE @.rows RENAME TO kept; CREATE TABLE @.locked(); CREATE FUNCTION"
                   " @.wait() RETURNS boolean LANGUAGE plpgsql AS"
                   " $$BEGIN LOCK TABLE @.locked IN ACCESS SHARE MODE; RETURN true; END$$; CREATE"
                   " VIEW @.rows AS SELECT * FROM @.kept WHERE CASE WHEN id='7' THEN @.wait()"
                   " ELSE true END");
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "locked");
    begin(&slow, fixture->instance, "7", NULL, 0);
    await_locked(1);
    int64_t start = test_now();
    for (int i = 0; i < 40 && failed == 0; i++) {
        begin(&other, fixture->instance, "8", NULL, 30000);
        end(&other);
        failed += other.code != VIM_OK;
    }
    int64_t took = test_now() - start;
    bool slow_waits = !atomic_load(&slow.done);
    unlock_table(lock);
    end(&slow);
    assert_int_equal(failed, 0);
    assert_true(slow_waits);
    assert_int_equal(slow.code, VIM_OK);
    assert_true(took < 20000); /* one second, the first time */
    plugin->close(fixture->instance);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_those_that_wait_go_together),
        TEST(test_one_that_fails_fails_alone),
        TEST(test_one_leaves),
        TEST(test_one_that_leads_gives_up),
        TEST(test_one_takes_long),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
