/*
 * What a read asks before a replica answers it: the primary, for its position, and the replica, whether it is there. A
 * relay before one of them keeps the answers back, or breaks off behind them.
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
#include "relay.h"

#define LONG_MS 30000
#define READS_MAX 8
#define ROUNDS 20

/* In which those that were begun get into the queue, and in which what was sent with a question arrives, if the machine is
 * not very slow. Together less than a replica that is silent is waited for. */
#define GATHER_MS 500
#define EARLY_MS 200

/* A read on a thread of its own: a get, or a scan of everything, which goes alone, or of a few rows. */
struct asker {
    pthread_t thread;
    void *instance;
    enum { GET, SCAN_ALL, SCAN_FEW } what;
    int code;
    atomic_bool done;
    struct vim_call call;
};

static void *ask(void *context)
{
    struct asker *asker = context;
    struct vim_scan scan = {
        .size = sizeof scan, .collection = "c", .limit = asker->what == SCAN_FEW ? 10 : 0};

    asker->code = asker->what == GET ? ops->get(&asker->call, asker->instance, "c", "first")
                                     : ops->scan(&asker->call, asker->instance, &scan);
    atomic_store(&asker->done, true);
    return NULL;
}

/* With LEFT_MS milliseconds to live; 0: enough. */
static void begin(struct asker *asker, void *instance, int what, int64_t left_ms)
{
    *asker = (struct asker){.instance = instance, .what = what};
    asker->call.deadline_ms = left_ms ? test_now() + left_ms : 0;
    pthread_create(&asker->thread, NULL, ask, asker);
}

static bool await_done(struct asker *asker)
{
    int64_t end = test_now() + LONG_MS;

    while (!atomic_load(&asker->done) && test_now() < end)
        usleep(1000);
    return atomic_load(&asker->done);
}

static int scan_few(void *instance)
{
    struct asker asker = {.instance = instance, .what = SCAN_FEW};

    ask(&asker);
    return asker.code < 0 ? asker.code : (int)asker.call.count;
}

/* Until a replica answers. */
static void await_replica(struct fixture *fixture)
{
    unsigned before = atomic_load(&answered_by_replica);
    int64_t end = test_now() + LONG_MS * test_patience(5);

    while (atomic_load(&answered_by_replica) == before && test_now() < end) {
        assert_true(scan_few(fixture->instance) >= 1);
        usleep(10000);
    }
    assert_true(atomic_load(&answered_by_replica) > before);
}

/* An instance that writes and knows of no replica, and one with a replica; a relay before the primary of the second
 * (QUESTION: "position"), or before its replica ("in_step"). */
static void *open_relayed(struct fixture *fixture, const char *question, struct relay **ret_relay)
{
    bool is_primary = strcmp(question, "position") == 0;
    struct vim_call call;
    void *writer;

    fixture->config.sslmode = "disable"; /* which the relay does not speak */
    open_store(fixture);
    writer = fixture->instance;
    assert_int_equal(put(writer, "first", 0), VIM_OK);
    *ret_relay = relay_open(is_primary ? "TEST_POSTGRES_PORT" : "TEST_REPLICA_PORT", question);
    snprintf(fixture->addresses[!is_primary], sizeof fixture->addresses[0], "127.0.0.1:%u%s",
             (*ret_relay)->port, is_primary ? "" : " replica");
    fixture->config.hosts.count = 2;
    assert_int_equal(open_with(fixture, &call, &fixture->instance), VIM_OK);
    await_replica(fixture);
    return writer;
}

static void close_relayed(struct fixture *fixture, struct relay *relay, void *writer)
{
    plugin->close(fixture->instance);
    plugin->close(writer);
    relay_close(relay);
}

/* --- The primary's position ------------------------------------------------------------------------- */

/* A read that waits for the answer to a question of another leaves when its time is over, however long that waits. */
static void test_out_of_time_beside_another(void **state)
{
    struct fixture *fixture = *state;
    struct asker first, late;
    struct relay *relay;
    void *writer = open_relayed(fixture, "position", &relay);

    relay_begin(relay, true, false);
    begin(&first, fixture->instance, SCAN_ALL, 0);
    assert_true(relay_await(relay, &relay->held, 1, LONG_MS));
    begin(&late, fixture->instance, SCAN_ALL, 300);
    bool late_left = await_done(&late), first_waits = !atomic_load(&first.done);
    relay_release(relay);
    pthread_join(late.thread, NULL);
    pthread_join(first.thread, NULL);
    assert_true(late_left);
    assert_true(first_waits);
    assert_true(late.code < 0);
    assert_int_equal(late.call.count, 0);
    assert_int_equal(first.code, VIM_OK);
    assert_int_equal(first.call.count, 1);
    close_relayed(fixture, relay, writer);
}

/* One question serves all that had begun before it was sent. That the time of the one that has asked it is over is
 * nothing to the others. Who asks is chance: there are several rounds, and more of those whose time is short. */
static void test_out_of_time_for_others(void **state)
{
    struct fixture *fixture = *state;
    struct asker first, late[4], patient;
    struct relay *relay;
    void *writer = open_relayed(fixture, "position", &relay);

    for (int round = 0; round < 4; round++) {
        relay_begin(relay, true, false);
        begin(&first, fixture->instance, SCAN_ALL, 0);
        assert_true(relay_await(relay, &relay->held, 1, LONG_MS));
        for (int i = 0; i < 4; i++)
            begin(&late[i], fixture->instance, SCAN_ALL, 500);
        begin(&patient, fixture->instance, SCAN_ALL, 0);
        usleep(100000); /* they wait by then, or the round shows less */
        relay_begin(relay, true, false); /* for the question of one of them, on behalf of all */
        for (int i = 0; i < 4; i++)
            pthread_join(late[i].thread, NULL);
        relay_release(relay);
        pthread_join(patient.thread, NULL);
        pthread_join(first.thread, NULL);
        for (int i = 0; i < 4; i++)
            assert_int_equal(late[i].call.count, late[i].code < 0 ? 0 : 1);
        assert_int_equal(patient.code, VIM_OK);
        assert_int_equal(patient.call.count, 1);
        assert_int_equal(first.code, VIM_OK);
    }
    close_relayed(fixture, relay, writer);
}

/* --- The replica's answer --------------------------------------------------------------------------- */

static bool are_done(struct asker *askers, unsigned count)
{
    bool done = true;

    for (unsigned i = 0; i < count; i++)
        done = atomic_load(&askers[i].done) && done;
    return done;
}

/* Has COUNT reads gather behind one whose answer is kept back, and then go together. Returns how many of them went to the
 * replica in one batch: all of them if it was not the primary's turn, nor the machine too slow. *RET_EARLY of
 * these were sent before the replica had said that it is in step. */
static unsigned read_together(struct fixture *fixture, struct relay *relay, unsigned count,
                              unsigned *ret_early)
{
    struct asker first, askers[READS_MAX];
    unsigned failed = 0;

    await_replica(fixture); /* and is known to be in step */
    atomic_store(&told_to_wait, 0);
    relay_begin(relay, true, false);
    begin(&first, fixture->instance, SCAN_FEW, 0);
    relay_await(relay, &relay->held, 1, LONG_MS);
    for (unsigned i = 0; i < count; i++)
        begin(&askers[i], fixture->instance, i % 2 ? GET : SCAN_FEW, 0);
    for (int i = 0; i < GATHER_MS && atomic_load(&told_to_wait) < count; i++)
        usleep(1000);
    relay_begin(relay, true, false);
    while (!relay_await(relay, &relay->held, 1, 1) && !are_done(askers, count))
        ;
    /* What goes with the question comes along with it. */
    if (relay_count(relay, &relay->held) > 0)
        relay_await(relay, &relay->early, count, EARLY_MS);
    *ret_early = relay_count(relay, &relay->early);
    relay_release(relay);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(askers[i].thread, NULL);
        failed += askers[i].code != VIM_OK || askers[i].call.count != 1;
    }
    pthread_join(first.thread, NULL);
    assert_int_equal(failed, 0);
    assert_int_equal(first.code, VIM_OK);
    return relay_count(relay, &relay->questions) == 1 ? relay_count(relay, &relay->reads) : 0;
}

/* All reads go along with the question, as they are no work should the replica be behind. */
static void test_all_go_along(void **state)
{
    struct fixture *fixture = *state;
    unsigned together = 0, early = 0;
    struct relay *relay;
    void *writer = open_relayed(fixture, "in_step", &relay);

    for (int round = 0; round < ROUNDS && together < READS_MAX; round++)
        together = read_together(fixture, relay, READS_MAX, &early);
    assert_int_equal(together, READS_MAX);
    assert_int_equal(early, READS_MAX);
    close_relayed(fixture, relay, writer);
}

/* The replica does not go on, and lacks a row. */
static void fall_behind(void *writer)
{
    run_sql_on("TEST_REPLICA_PORT", "SELECT pg_wal_replay_pause()");
    run_sql_on("TEST_REPLICA_PORT", "DO $$BEGIN WHILE pg_get_wal_replay_pause_state()<>'paused' "
                                    "LOOP PERFORM pg_sleep(0.01); END LOOP; END$$");
    assert_int_equal(put(writer, "second", 0), VIM_OK);
}

/* A replica that is not in step, and whose connection is of no use any more when what went along with the question is
 * to be thrown away, is not asked again for as long as replica_wait allows: the read goes on to another server, here
 * the primary, which has what was written. */
static void read_past_replica(struct fixture *fixture, struct relay *relay, void *writer, bool cut)
{
    fall_behind(writer);
    atomic_store(&answered_by_primary, 0);
    relay_begin(relay, false, cut);
    int found = scan_few(fixture->instance);
    unsigned questions = relay_count(relay, &relay->questions),
             reads = relay_count(relay, &relay->reads), cuts = relay_count(relay, &relay->cuts);
    run_sql_on("TEST_REPLICA_PORT", "SELECT pg_wal_replay_resume()");
    assert_int_equal(found, 2);
    assert_int_equal(reads, 1);
    assert_int_equal(cuts, cut);
    assert_int_equal(questions, 1);
    assert_int_equal(atomic_load(&answered_by_primary), 1);
}

static void test_breaks_behind_not_in_step(void **state)
{
    struct fixture *fixture = *state;
    struct relay *relay;

    fixture->config.replica_wait = LONG_MS;
    void *writer = open_relayed(fixture, "in_step", &relay);
    read_past_replica(fixture, relay, writer, true);
    await_replica(fixture);
    close_relayed(fixture, relay, writer);
}

/* In place of the table comes a view of it, whose CONDITION (which may use the function refuse(), to which RETURNS, and
 * what else is said there, belongs) a replica fails at. */
static void make_unreadable(struct fixture *fixture, const char *returns, const char *condition)
{
    char sql[1024], text[1024];

    snprintf(text, sizeof text,
             "ALTER TABLE @.rows RENAME TO kept;"
             " CREATE FUNCTION @.refuse() RETURNS %s AS $$BEGIN IF pg_is_in_recovery() THEN"
             " RAISE 'not here'; END IF; RETURN 1; END$$ LANGUAGE plpgsql;"
             " CREATE VIEW @.rows AS SELECT * FROM @.kept WHERE %s",
             returns, condition);
    run_schema_sql(fixture, text);
    schema_text(fixture,
                "DO $$BEGIN WHILE NOT EXISTS(SELECT 1 FROM pg_views WHERE schemaname='@' AND"
                " viewname='rows') LOOP PERFORM pg_sleep(0.01); END LOOP; END$$",
                sql);
    run_sql_on("TEST_REPLICA_PORT", sql);
}

/* As above: it is not known what is prepared on a connection on which something has failed, here before anything
 * was read: a function that is said to be immutable is asked when the statement is planned. */
static void test_fails_behind_not_in_step(void **state)
{
    struct fixture *fixture = *state;
    struct relay *relay;

    fixture->config.replica_wait = LONG_MS;
    void *writer = open_relayed(fixture, "in_step", &relay);
    make_unreadable(fixture, "int IMMUTABLE", "@.refuse()=1");
    read_past_replica(fixture, relay, writer, false);
    close_relayed(fixture, relay, writer);
}

/* A replica that is not in step reads nothing: it would fail at the first row. So it is asked again. When it is in
 * step it does fail, and the primary answers. */
static void test_nothing_is_read_out_of_step(void **state)
{
    struct fixture *fixture = *state;
    struct asker asker;
    struct relay *relay;

    fixture->config.replica_wait = LONG_MS;
    void *writer = open_relayed(fixture, "in_step", &relay);
    make_unreadable(fixture, "int", "@.refuse()=length(id)-length(id)+1");
    fall_behind(writer);
    relay_begin(relay, false, false);
    begin(&asker, fixture->instance, SCAN_FEW, 0);
    bool asked_again = relay_await(relay, &relay->questions, 3, LONG_MS);
    bool done = atomic_load(&asker.done);
    run_sql_on("TEST_REPLICA_PORT", "SELECT pg_wal_replay_resume()");
    pthread_join(asker.thread, NULL);
    assert_true(asked_again);
    assert_false(done);
    assert_int_equal(asker.code, VIM_OK);
    assert_int_equal(asker.call.count, 2);
    close_relayed(fixture, relay, writer);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_out_of_time_beside_another),
        TEST(test_out_of_time_for_others),
        TEST(test_all_go_along),
        TEST(test_breaks_behind_not_in_step),
        TEST(test_fails_behind_not_in_step),
        TEST(test_nothing_is_read_out_of_step),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
