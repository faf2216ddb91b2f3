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

#include "fixture.h"

#define READERS 24

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

static void begin(struct reader *reader, void *instance, const char *id, const char *after)
{
    *reader = (struct reader){.instance = instance, .id = id, .after = after};
    test_call_init(&reader->call);
    pthread_create(&reader->thread, NULL, read_one, reader);
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
    for (int i = 0; i < 3000 && ask_number("SELECT count(*) FROM pg_stat_activity WHERE"
                                           " application_name='vimd main' AND"
                                           " wait_event_type='Lock'") < count;
         i++)
        usleep(10000);
}

/* Transactions of backends that are gone. */
static long transactions(void)
{
    for (int i = 0; i < 3000 && ask_number("SELECT count(*) FROM pg_stat_activity WHERE"
                                           " application_name='vimd main'") > 0;
         i++)
        usleep(10000);
    return ask_number("SELECT xact_commit FROM pg_stat_database WHERE datname='postgres'");
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

/* What one batch is takes one transaction, and each gets what it asked for. */
static void test_those_that_wait_go_together(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[READERS];
    char ids[READERS][24];
    long before, after;

    fill(fixture);
    before = transactions();
    fixture->config.connections = 1;
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "rows");
    for (int i = 0; i < READERS; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        begin(&readers[i], fixture->instance, i % 2 ? ids[i] : NULL, ids[i]);
        if (i == 0)
            await_locked(1);
    }
    usleep(200000);
    unlock_table(lock);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].code, VIM_OK);
        assert_int_equal(readers[i].call.count, i % 2 || i == 8 ? 1 : 2);
        if (i % 2)
            assert_string_equal(readers[i].call.rows[0].id, ids[i]);
        else
            assert_true(strcmp(readers[i].call.rows[0].id, ids[i]) > 0);
        test_call_clear(&readers[i].call);
    }
    plugin->close(fixture->instance);
    after = transactions();
    /* The tables are looked at, statements are prepared, this test asks and locks: some more. */
    print_message("%ld transactions for %d reads\n", after - before, READERS);
    assert_true(after - before < READERS);
}

/* A read that fails does so alone: the table is a view (one that can be written to, since writes are
 * prepared as well) in which looking at the row "13" is a division by zero. */
static void test_one_that_fails_fails_alone(void **state)
{
    struct fixture *fixture = *state;
    struct reader readers[READERS];
    char ids[READERS][24];

    fill(fixture);
    run_schema_sql(fixture, "ALTER TABLE @.rows RENAME TO kept; CREATE VIEW @.rows AS SELECT * FROM"
                            " @.kept WHERE 1/(CASE WHEN id='13' THEN 0 ELSE 1 END)=1");
    fixture->config.connections = 1;
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "kept");
    for (int i = 0; i < READERS; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        begin(&readers[i], fixture->instance, ids[i], NULL);
        if (i == 0)
            await_locked(1);
    }
    usleep(200000);
    unlock_table(lock);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].code, i == 13 ? VIM_E_INTERNAL : VIM_OK);
        if (i != 13)
            assert_string_equal(readers[i].call.rows[0].id, ids[i]);
        else
            assert_non_null(strstr(readers[i].call.text, "zero"));
        test_call_clear(&readers[i].call);
    }
    plugin->close(fixture->instance);
}

/* Who has no time left leaves, from a batch as from the queue; the others are answered. */
static void test_one_leaves(void **state)
{
    struct fixture *fixture = *state;
    struct reader first, impatient, cancelled, patient;
    int64_t start = test_now();

    fill(fixture);
    fixture->config.connections = 1;
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "rows");
    begin(&first, fixture->instance, "1", NULL);
    await_locked(1);
    impatient = (struct reader){.instance = fixture->instance, .id = "2"};
    test_call_init(&impatient.call);
    impatient.call.deadline_ms = test_now() + 300;
    read_one(&impatient);
    assert_int_equal(impatient.code, VIM_E_TIMEOUT);
    test_call_clear(&impatient.call);
    begin(&cancelled, fixture->instance, "3", NULL);
    begin(&patient, fixture->instance, "4", NULL);
    usleep(100000);
    atomic_store(&cancelled.call.cancelled, true);
    end(&cancelled);
    assert_true(cancelled.code < 0);
    assert_false(atomic_load(&patient.done));
    /* The one that has sent the batch. */
    atomic_store(&first.call.cancelled, true);
    end(&first);
    assert_true(first.code < 0);
    unlock_table(lock);
    end(&patient);
    assert_int_equal(patient.code, VIM_OK);
    assert_true(test_now() - start < 60000);
    assert_int_equal(get(fixture->instance, "5"), VIM_OK);
    plugin->close(fixture->instance);
}

/* One that takes long does not hold up the others for long: they take another connection. */
static void test_one_takes_long(void **state)
{
    struct fixture *fixture = *state;
    struct reader slow, other;

    fill(fixture);
    run_schema_sql(fixture,
                   "ALTER TABLE @.rows RENAME TO kept; CREATE TABLE @.locked(); CREATE FUNCTION"
                   " @.wait() RETURNS boolean LANGUAGE plpgsql AS"
                   " $$BEGIN LOCK TABLE @.locked IN ACCESS SHARE MODE; RETURN true; END$$; CREATE"
                   " VIEW @.rows AS SELECT * FROM @.kept WHERE CASE WHEN id='7' THEN @.wait()"
                   " ELSE true END");
    open_store(fixture);
    PGconn *lock = lock_table(fixture, "locked");
    begin(&slow, fixture->instance, "7", NULL);
    await_locked(1);
    begin(&other, fixture->instance, "8", NULL);
    end(&other);
    assert_int_equal(other.code, VIM_OK);
    assert_false(atomic_load(&slow.done));
    unlock_table(lock);
    end(&slow);
    assert_int_equal(slow.code, VIM_OK);
    plugin->close(fixture->instance);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_those_that_wait_go_together),
        TEST(test_one_that_fails_fails_alone),
        TEST(test_one_leaves),
        TEST(test_one_takes_long),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
