/*
 * Replicas of a real primary, streaming: what they answer is never older than what was committed before, though
 * they lag, stop replaying, hang, go away, or follow a primary that is none any more.
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

static const char *const replica_ports[] = {"TEST_REPLICA_PORT", "TEST_REPLICA2_PORT"};

static void pause_replay(bool paused)
{
    for (int i = 0; i < 2; i++)
        run_sql_on(replica_ports[i],
                   paused ? "SELECT pg_wal_replay_pause()" : "SELECT pg_wal_replay_resume()");
    for (int i = 0; paused && i < 2; i++)
        run_sql_on(replica_ports[i],
                   "DO $$BEGIN WHILE pg_get_wal_replay_pause_state()<>'paused' LOOP "
                   "PERFORM pg_sleep(0.01); END LOOP; END$$");
}

static int scan_count(void *instance)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = "c"};
    struct vim_call call = {0};
    int code = ops->scan(&call, instance, &scan);

    return code < 0 ? code : (int)call.count;
}

/* A scan with few rows, which travels with the question. */
static int scan_few(void *instance)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = "c", .limit = 100};
    struct vim_call call = {0};
    int code = ops->scan(&call, instance, &scan);

    return code < 0 ? code : (int)call.count;
}

/* An instance that writes and knows of no replica, and one with both. */
static void *open_both(struct fixture *fixture)
{
    struct vim_call call;
    void *writer;

    /* A replica has half a second for a connection, and a handshake under valgrind takes as long. */
    if (test_patience(20) > 5)
        fixture->config.sslmode = "disable";
    open_store(fixture);
    writer = fixture->instance;
    assert_int_equal(put(writer, "first", 0), VIM_OK);
    fixture->config.hosts.count = 3;
    assert_int_equal(open_with(fixture, &call, &fixture->instance), VIM_OK);
    atomic_store(&answered_by_replica, 0);
    atomic_store(&answered_by_primary, 0);
    return writer;
}

static void close_both(struct fixture *fixture, void *writer)
{
    plugin->close(fixture->instance);
    plugin->close(writer);
}

/* Until a replica answers a scan. */
static void await_replica(struct fixture *fixture)
{
    unsigned before = atomic_load(&answered_by_replica);
    int64_t end = test_now() + 30000 * test_patience(5);

    while (atomic_load(&answered_by_replica) == before && test_now() < end) {
        assert_true(scan_count(fixture->instance) >= 1);
        usleep(10000);
    }
    assert_true(atomic_load(&answered_by_replica) > before);
}

static void test_sees_what_was_committed(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);
    char id[24];

    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(put(writer, id, 0), VIM_OK);
        assert_int_equal(scan_count(fixture->instance), i + 2);
        if (i < 90)
            assert_int_equal(scan_few(fixture->instance), i + 2);
    }
    assert_true(atomic_load(&answered_by_replica) > 0);
    close_both(fixture, writer);
}

/* Where few rows are expected nobody is asked how far the replicas are. */
static void test_few_expected(void **state)
{
    struct fixture *fixture = *state;
    struct vim_scan scan = {.size = sizeof scan, .collection = "c", .flags = VIM_SCAN_FEW};
    void *writer = open_both(fixture);
    unsigned before;

    await_replica(fixture);
    before = atomic_load(&answered_by_replica);
    atomic_store(&answered_by_primary, 0);
    for (uint32_t limit = 0; limit <= 10; limit += 10) {
        struct vim_call call = {0};

        scan.limit = limit;
        assert_int_equal(ops->scan(&call, fixture->instance, &scan), VIM_OK);
        assert_int_equal(call.count, 1);
    }
    assert_int_equal(atomic_load(&answered_by_primary), 2);
    assert_int_equal(atomic_load(&answered_by_replica), before);
    close_both(fixture, writer);
}

/* Until a probe tells WHAT: a connection to a replica takes its time, and is left for then. */
static void await_told(struct fixture *fixture, const char *what)
{
    struct vim_call call;
    int64_t end = test_now() + 30000 * test_patience(5);
    bool told = false;

    while (!told && test_now() < end) {
        test_call_init(&call);
        assert_int_equal(plugin->probe(&call, fixture->instance), VIM_OK);
        told = strstr(call.rows[0].body, what) != NULL;
        test_call_clear(&call);
        if (!told)
            usleep(100000);
    }
    assert_true(told);
}

static void test_probe_tells(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);

    await_told(fixture, "\"replicas\":2,\"replicas_reachable\":2,\"replicas_in_step\":2");
    fixture->config.replica_wait = 20;
    pause_replay(true);
    assert_int_equal(put(writer, "a", 0), VIM_OK);
    await_told(fixture, "\"replicas_reachable\":2,\"replicas_in_step\":0");
    pause_replay(false);
    close_both(fixture, writer);
}

struct busy {
    void *reader;
    int found, written;
    atomic_bool read;
};

static void *read_behind(void *context)
{
    struct busy *busy = context;

    busy->found = scan_few(busy->reader);
    atomic_store(&busy->read, true);
    return NULL;
}

static void *write_locked(void *context)
{
    struct busy *busy = context;

    busy->written = put(busy->reader, "first", VIM_EXPECT_ANY);
    return NULL;
}

/* A read whose replicas are behind does not queue up at a primary whose connections are all in use, however long
 * replica_wait has passed: it goes on with the replicas, and is answered as soon as they are there. */
static void test_busy_primary(void **state)
{
    struct fixture *fixture = *state;
    struct busy busy = {0};
    pthread_t reading, writing;

    fixture->config.connections = 1;
    fixture->config.replica_wait = 2000;
    void *writer = open_both(fixture);
    busy.reader = fixture->instance;
    await_replica(fixture);
    pause_replay(true);
    assert_int_equal(put(writer, "second", 0), VIM_OK);
    PGconn *lock = raw_connection();
    char sql[1024];
    schema_text(fixture, "BEGIN; LOCK TABLE @.rows IN EXCLUSIVE MODE", sql);
    PQclear(PQexec(lock, sql));
    atomic_store(&answered_by_primary, 0);
    pthread_create(&reading, NULL, read_behind, &busy);
    usleep(1000000); /* it has asked for the position by then */
    pthread_create(&writing, NULL, write_locked, &busy);
    usleep(2500000);
    assert_false(atomic_load(&busy.read));
    pause_replay(false);
    for (int i = 0; i < 2000 && !atomic_load(&busy.read); i++)
        usleep(10000);
    assert_true(atomic_load(&busy.read));
    PQclear(PQexec(lock, "ROLLBACK"));
    PQfinish(lock);
    pthread_join(reading, NULL);
    pthread_join(writing, NULL);
    assert_int_equal(busy.found, 2);
    assert_int_equal(busy.written, VIM_OK);
    assert_int_equal(atomic_load(&answered_by_primary), 0);
    close_both(fixture, writer);
}

/* Replicas that stop replaying cost the reads little: they are passed over, not waited for each time. */
static void test_paused(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);
    int64_t start;
    char id[24];

    await_replica(fixture);
    fixture->config.replica_wait = 500;
    pause_replay(true);
    atomic_store(&answered_by_replica, 0);
    start = test_now();
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(put(writer, id, 0), VIM_OK);
        assert_int_equal(scan_count(fixture->instance), i + 2);
    }
    assert_true(test_now() - start < 100 * 500 / 2);
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    pause_replay(false);
    await_replica(fixture);
    close_both(fixture, writer);
}

static void test_one_hangs_and_one_is_gone(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);

    await_replica(fixture);
    server_control("postgres", "freeze", "REPLICA", NULL);
    server_control("postgres", "down", "REPLICA2", "immediate");
    atomic_store(&answered_by_replica, 0);
    assert_int_equal(put(writer, "without", 0), VIM_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(scan_count(fixture->instance), 2);
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    server_control("postgres", "thaw", "REPLICA", NULL);
    await_replica(fixture);
    server_control("postgres", "up", "REPLICA2", NULL);
    server_control("postgres", "down", "REPLICA", "immediate");
    await_replica(fixture);
    server_control("postgres", "up", "REPLICA", NULL);
    close_both(fixture, writer);
}

/* A server that is named a replica, and is a primary. */
static void test_no_replica(void **state)
{
    struct fixture *fixture = *state;
    void *writer;

    snprintf(fixture->addresses[1], sizeof fixture->addresses[1], "127.0.0.1:%s replica",
             getenv("TEST_POSTGRES_PORT"));
    fixture->hosts[2] = fixture->hosts[1];
    writer = open_both(fixture);
    for (int i = 0; i < 20; i++)
        assert_int_equal(scan_count(fixture->instance), 1);
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    close_both(fixture, writer);
}

/* A role that may not write into the table of histories reads from the primary. */
static void test_role_without_the_right(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);
    char sql[512];

    plugin->close(fixture->instance);
    snprintf(sql, sizeof sql,
             "CREATE ROLE older LOGIN PASSWORD 'older'; GRANT USAGE ON SCHEMA %1$s TO older;"
             "GRANT SELECT ON %1$s.schema_version TO older;"
             "GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s.rows TO older",
             fixture->schema);
    run_sql(sql);
    fixture->config.user = fixture->config.password = "older";
    open_store(fixture);
    for (int i = 0; i < 20; i++)
        assert_int_equal(scan_count(fixture->instance), 1);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_OK);
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    close_both(fixture, writer);
}

#define READERS 8
#define WRITTEN 400
#define ANSWER_MOST_MS 120000

struct race {
    void *writer, *reader;
    atomic_uint acknowledged; /* revision of the row "x" that a commit has returned for */
    atomic_uint stale, wrong;
    atomic_bool stop;
};

static void *write_row(void *context)
{
    struct race *race = context;
    int64_t end = test_now() + ANSWER_MOST_MS;

    /* On a busy machine it takes replicas long to get a word in. */
    for (unsigned i = 0;
         i < WRITTEN || (atomic_load(&answered_by_replica) == 0 && test_now() < end); i++) {
        atomic_fetch_add(&race->wrong, put(race->writer, "x", i) != VIM_OK);
        atomic_store(&race->acknowledged, i + 1);
    }
    atomic_store(&race->stop, true);
    return NULL;
}

static void *read_row(void *context)
{
    struct race *race = context;
    struct vim_scan scan = {.size = sizeof scan, .collection = "c", .limit = 10};

    for (unsigned i = 0; !atomic_load(&race->stop); i++) {
        unsigned least = atomic_load(&race->acknowledged);
        struct vim_call call;
        int code;

        test_call_init(&call);
        code =
            i % 4 ? ops->get(&call, race->reader, "c", "x") : ops->scan(&call, race->reader, &scan);
        if (code == VIM_OK && call.count == 1)
            atomic_fetch_add(&race->stale, call.rows[0].revision < least);
        else if (least > 0)
            atomic_fetch_add(&race->wrong, 1);
        test_call_clear(&call);
    }
    return NULL;
}

static void *disturb(void *context)
{
    struct race *race = context;

    for (unsigned i = 0; !atomic_load(&race->stop); i++) {
        run_sql_on(replica_ports[i % 2], "SELECT pg_wal_replay_pause()");
        usleep(30000);
        run_sql_on(replica_ports[i % 2], "SELECT pg_wal_replay_resume()");
        usleep(100000);
    }
    return NULL;
}

static void test_many_readers(void **state)
{
    struct fixture *fixture = *state;
    struct race race = {0};
    pthread_t threads[READERS + 2];

    fixture->config.connections = 3; /* fewer than readers: gets go to replicas too */
    race.writer = open_both(fixture);
    race.reader = fixture->instance;
    /* The row alone in its collection. */
    assert_int_equal(put(race.writer, "first", VIM_EXPECT_ANY), VIM_OK);
    struct vim_write gone = {.collection = "c", .id = "first", .expect = VIM_EXPECT_ANY};
    struct vim_call call = {0};
    await_replica(fixture); /* connected to before there is a crowd */
    assert_int_equal(ops->commit(&call, race.writer, &gone, 1, sizeof gone), VIM_OK);
    atomic_store(&answered_by_replica, 0);
    for (int i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, read_row, &race);
    pthread_create(&threads[READERS], NULL, disturb, &race);
    pthread_create(&threads[READERS + 1], NULL, write_row, &race);
    for (int i = 0; i < READERS + 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.stale), 0);
    assert_int_equal(atomic_load(&race.wrong), 0);
    assert_true(atomic_load(&answered_by_replica) > 0);
    close_both(fixture, race.writer);
}

/* The first replica takes over without the last writes of the old primary, which the second has. That one is
 * ahead in a history that is none any more: it answers nothing. Comes last: nothing is as it was. */
static void test_failover(void **state)
{
    struct fixture *fixture = *state;
    void *writer = open_both(fixture);
    char id[24];

    await_replica(fixture);
    server_control("postgres", "down", "REPLICA", "fast");
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "lost-%d", i);
        assert_int_equal(put(writer, id, 0), VIM_OK);
    }
    /* The second replica has them. */
    await_replica(fixture);
    assert_int_equal(scan_count(fixture->instance), 101);
    close_both(fixture, writer);
    server_control("postgres", "down", "POSTGRES", "immediate");
    server_control("postgres", "up", "REPLICA", NULL);
    server_control("postgres", "promote", "REPLICA", NULL);
    snprintf(fixture->addresses[1], sizeof fixture->addresses[1], "127.0.0.1:%s primary",
             getenv("TEST_REPLICA_PORT"));
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "after", 0), VIM_OK);
    atomic_store(&answered_by_replica, 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(scan_count(fixture->instance), 2);
        usleep(20000);
    }
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    plugin->close(fixture->instance);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sees_what_was_committed),
        TEST(test_few_expected),
        TEST(test_probe_tells),
        TEST(test_busy_primary),
        TEST(test_paused),
        TEST(test_one_hangs_and_one_is_gone),
        TEST(test_no_replica),
        TEST(test_role_without_the_right),
        TEST(test_many_readers),
        TEST(test_failover),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
