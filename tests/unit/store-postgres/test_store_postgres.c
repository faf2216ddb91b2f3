/*
 * What is particular to store-postgres: a server that restarts, hangs, refuses; several instances.
 * The contract of store.h itself is held against it by vim-plugin-check (tests/conform).
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vim/store.h>

#include <cmocka.h>

#include "control.h"
#include "fixture.h"

static void test_refused_options(void **state)
{
    static const struct {
        const char *host, *schema, *word;
    } bad[] = {
        {"", "vimd", "hosts"},         {"a b c", "vimd", "hosts"},
        {"h:99999", "vimd", "hosts"},  {"h:1 leader", "vimd", "hosts"},
        {"h;x", "vimd", "hosts"},      {"h replica", "vimd", "hosts"},
        {"h", "Vimd", "schema"},       {"h", "x\"; DROP", "schema"},
        {"h", "pg_catalog", "schema"},
    };
    struct fixture *fixture = *state;
    struct vim_call call;
    void *instance;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fixture->hosts[0] = bad[i].host;
        fixture->config.schema = bad[i].schema;
        assert_int_equal(open_with(fixture, &call, &instance), VIM_E_INVALID);
        assert_non_null(strstr(call.text, bad[i].word));
    }
}

static void test_nobody_there(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};
    int64_t start = test_now();

    fixture->hosts[0] = "127.0.0.1:1";
    fixture->config.connect_timeout = 300;
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_E_UNAVAILABLE);
    assert_true(test_now() - start >= 290);
    assert_int_equal(get(fixture->instance, "a"), VIM_E_UNAVAILABLE);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_UNAVAILABLE);
    plugin->close(fixture->instance);
}

static void test_wrong_password(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};

    fixture->config.password = "surely-not-this";
    open_store(fixture);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_CREDENTIAL);
    assert_null(strstr(call.text, "surely"));
    assert_int_equal(put(fixture->instance, "a", 0), VIM_E_CREDENTIAL);
    plugin->close(fixture->instance);
}

static void test_tls(void **state)
{
    struct fixture *fixture = *state;
    char host_name[64], ca[256];
    struct vim_call call = {0};

    snprintf(host_name, sizeof host_name, "localhost:%s", getenv("TEST_POSTGRES_PORT"));
    snprintf(ca, sizeof ca, "%s/server.crt", getenv("TEST_POSTGRES_DIR"));
    fixture->hosts[0] = host_name;
    fixture->config.sslmode = "verify-full";
    fixture->config.connect_timeout = 3000 * test_patience(5);
    open_store(fixture);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(call.text, "certificate"));
    plugin->close(fixture->instance);
    fixture->config.ca_file = ca;
    fixture->config.connect_timeout = 20000;
    open_store(fixture);
    test_call_init(&call);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_OK);
    assert_non_null(strstr(call.rows[0].body, "\"tls\":true"));
    test_call_clear(&call);
    plugin->close(fixture->instance);
    /* The certificate is for another name. */
    fixture->hosts[0] = fixture->addresses[0];
    fixture->config.connect_timeout = 3000 * test_patience(5);
    memset(&call, 0, sizeof call);
    open_store(fixture);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_UNAVAILABLE);
    plugin->close(fixture->instance);
}

#define STARTERS 6

static void *start_and_put(void *context)
{
    struct fixture *fixture = context;
    struct vim_call call;
    void *instance;
    char id[16];
    intptr_t code = open_with(fixture, &call, &instance);

    if (code == VIM_OK) {
        snprintf(id, sizeof id, "%lx", (unsigned long)pthread_self() & 0xffffffff);
        code = put(instance, id, 0);
        plugin->close(instance);
    }
    return (void *)code;
}

static void test_many_make_the_schema_at_once(void **state)
{
    pthread_t threads[STARTERS];
    void *code;

    for (int i = 0; i < STARTERS; i++)
        pthread_create(&threads[i], NULL, start_and_put, *state);
    for (int i = 0; i < STARTERS; i++) {
        pthread_join(threads[i], &code);
        assert_int_equal((intptr_t)code, VIM_OK);
    }
}

/* The tables as version 1 had them, with a row in them; processes of this version start all at once. */
static void test_many_migrate_at_once(void **state)
{
    struct fixture *fixture = *state;

    run_schema_sql(fixture,
                   "CREATE SCHEMA @; CREATE TABLE @.schema_version(version integer PRIMARY KEY);"
                   "INSERT INTO @.schema_version VALUES(1);"
                   "CREATE TABLE @.rows(collection text COLLATE \"C\" NOT NULL,"
                   " id text COLLATE \"C\" NOT NULL, parent text COLLATE \"C\" NOT NULL,"
                   " state integer NOT NULL, due bigint NOT NULL, revision bigint NOT NULL,"
                   " body bytea NOT NULL, PRIMARY KEY(collection, id));"
                   "INSERT INTO @.rows VALUES('c','old','',0,0,7,'{}')");
    test_many_make_the_schema_at_once(state);
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "old", 7), VIM_OK);
    plugin->close(fixture->instance);
    run_schema_sql(fixture, "DO $$BEGIN ASSERT (SELECT array_agg(version ORDER BY version) ="
                            " ARRAY[1,2] FROM @.schema_version); END$$");
}

static void test_newer_and_foreign_schemas(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};
    char sql[128];

    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_OK);
    plugin->close(fixture->instance);
    snprintf(sql, sizeof sql, "INSERT INTO %s.schema_version VALUES(99)", fixture->schema);
    run_sql(sql);
    open_store(fixture);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_INVALID);
    assert_non_null(strstr(call.text, "newer"));
    plugin->close(fixture->instance);
    snprintf(sql, sizeof sql, "DROP TABLE %s.schema_version", fixture->schema);
    run_sql(sql);
    open_store(fixture);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_E_INVALID);
    assert_non_null(strstr(call.text, "another application"));
    plugin->close(fixture->instance);
}

/* A role that may only read and write the rows is enough once the tables are there. */
static void test_role_without_rights_to_make(void **state)
{
    struct fixture *fixture = *state;
    char sql[512];

    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_OK);
    plugin->close(fixture->instance);
    snprintf(sql, sizeof sql,
             "CREATE ROLE plain LOGIN PASSWORD 'plain'; GRANT USAGE ON SCHEMA %1$s TO plain;"
             "GRANT SELECT ON %1$s.schema_version TO plain;"
             "GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s.rows TO plain",
             fixture->schema);
    run_sql(sql);
    fixture->config.user = fixture->config.password = "plain";
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 1), VIM_OK);
    assert_int_equal(put(fixture->instance, "b", 0), VIM_OK);
    plugin->close(fixture->instance);
    fixture->config.schema = "not_there";
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_E_DENIED);
    plugin->close(fixture->instance);
}

#define WRITERS 6
#define ROUNDS 40

struct writer {
    void *instance;
    unsigned number, wrong;
};

/* Commits of several rows, in an order of each one's own: none waits for another for ever. */
static void *write_crosswise(void *context)
{
    struct writer *writer = context;
    char ids[5][8];

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct vim_write writes[5];
        struct vim_call call = {0};

        for (unsigned i = 0; i < 5; i++) {
            snprintf(ids[i], sizeof ids[i], "x%u", (i * (writer->number + 1) + round) % 5);
            writes[i] = (struct vim_write){
                .collection = "c", .id = ids[i], .body = "{}", .expect = VIM_EXPECT_ANY};
        }
        if (writer->number == 4) /* its multiples of 5 are one row */
            writes[0].body = round % 2 ? NULL : "{}";
        writer->wrong += ops->commit(&call, writer->instance, writes, writer->number == 4 ? 1 : 5,
                                     sizeof writes[0]) != VIM_OK;
    }
    return NULL;
}

static void *add_to_counter(void *context)
{
    struct writer *writer = context;

    for (unsigned done = 0; done < ROUNDS;) {
        struct vim_call call;
        int code;

        test_call_init(&call);
        code = ops->get(&call, writer->instance, "c", "counter");
        if (code == VIM_OK)
            code = put(writer->instance, "counter", call.rows[0].revision);
        test_call_clear(&call);
        done += code == VIM_OK;
        writer->wrong += code != VIM_OK && code != VIM_E_CONFLICT;
        if (writer->wrong)
            break;
    }
    return NULL;
}

static void run_writers(void *const *instances, void *(*function)(void *))
{
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.instance = instances[i % 2], .number = i};
        pthread_create(&threads[i], NULL, function, &writers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].wrong, 0);
    }
}

/* Two instances write the same rows at the same time, and nothing gets lost. */
static void write_from_two(struct fixture *fixture, void *instances[2])
{
    struct vim_call call;

    open_store(fixture);
    instances[0] = fixture->instance;
    assert_int_equal(open_with(fixture, &call, &instances[1]), VIM_OK);
    assert_int_equal(put(instances[0], "counter", 0), VIM_OK);
    run_writers(instances, add_to_counter);
    test_call_init(&call);
    assert_int_equal(ops->get(&call, instances[1], "c", "counter"), VIM_OK);
    assert_int_equal(call.rows[0].revision, 1 + WRITERS * ROUNDS);
    test_call_clear(&call);
    run_writers(instances, write_crosswise);
}

static void test_two_instances(void **state)
{
    struct fixture *fixture = *state;
    void *instances[2];

    write_from_two(fixture, instances);
    plugin->close(instances[0]);
    plugin->close(instances[1]);
}

static void *commit_both(void *context)
{
    struct fixture *fixture = context;
    struct vim_call call = {0};
    struct vim_write writes[] = {
        {.collection = "c", .id = "a", .body = "{}", .expect = VIM_EXPECT_ANY},
        {.collection = "c", .id = "b", .body = "{}", .expect = VIM_EXPECT_ANY},
    };

    return (void *)(intptr_t)ops->commit(&call, fixture->instance, writes, 2, sizeof writes[0]);
}

static const char somebody_waits[] =
    "DO $$BEGIN WHILE NOT EXISTS(SELECT 1 FROM pg_locks WHERE NOT granted) LOOP "
    "PERFORM pg_sleep(0.01); END LOOP; END$$";

/* Somebody else does STEPS, and a commit of two rows gets in between where somebody is to wait. */
static void commit_beside(struct fixture *fixture, const char *const *steps)
{
    PGconn *other = raw_connection();
    pthread_t thread;
    void *code;

    for (int i = 0; steps[i]; i++) {
        char sql[1024];

        if (steps[i] == somebody_waits)
            pthread_create(&thread, NULL, commit_both, fixture);
        schema_text(fixture, steps[i], sql);
        PQclear(PQexec(other, sql));
    }
    pthread_join(thread, &code);
    assert_int_equal((intptr_t)code, VIM_OK);
    PQfinish(other);
}

/* As engines are that know no other isolation: a transaction that meets another fails, and is tried again. */
static void test_serialization_failures(void **state)
{
    struct fixture *fixture = *state;
    void *instances[2];
    static const char *const change[] = {"BEGIN", "UPDATE @.rows SET due=1 WHERE id='a'",
                                         somebody_waits, "COMMIT", NULL};

    run_sql("ALTER ROLE vimd SET default_transaction_isolation='serializable'");
    write_from_two(fixture, instances);
    /* Whether these met is chance; this one does. */
    assert_int_equal(put(instances[0], "a", VIM_EXPECT_ANY), VIM_OK);
    atomic_store(&commit_retries, 0);
    commit_beside(fixture, change);
    assert_true(atomic_load(&commit_retries) > 0);
    plugin->close(instances[0]);
    plugin->close(instances[1]);
    run_sql("ALTER ROLE vimd RESET default_transaction_isolation");
}

/* Somebody else takes the two rows in the other order: PostgreSQL ends one of the two who wait, mostly the commit,
 * which waits for less long until it looks. */
static void test_deadlock(void **state)
{
    struct fixture *fixture = *state;
    static const char *const crosswise[] = {"SET deadlock_timeout='20s'",
                                            "BEGIN",
                                            "UPDATE @.rows SET due=1 WHERE id='b'",
                                            somebody_waits,
                                            "UPDATE @.rows SET due=1 WHERE id='a'",
                                            "COMMIT",
                                            NULL};

    run_sql("ALTER ROLE vimd SET deadlock_timeout='1s'");
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_OK);
    assert_int_equal(put(fixture->instance, "b", 0), VIM_OK);
    atomic_store(&commit_retries, 0);
    for (int i = 0; i < 5 && atomic_load(&commit_retries) == 0; i++)
        commit_beside(fixture, crosswise);
    assert_true(atomic_load(&commit_retries) > 0);
    plugin->close(fixture->instance);
    run_sql("ALTER ROLE vimd RESET deadlock_timeout");
}

/* What each commit of a writer came to, while the server is taken away and comes back. */
#define TRIES 4000
struct survivor {
    void *instance;
    unsigned number, tries;
    atomic_bool *stop;
    atomic_uint *acknowledged;
    signed char codes[TRIES];
};

static void *write_on(void *context)
{
    struct survivor *survivor = context;
    char id[32];

    while (!atomic_load(survivor->stop) && survivor->tries < TRIES) {
        int code;

        snprintf(id, sizeof id, "%u-%u", survivor->number, survivor->tries);
        code = put(survivor->instance, id, VIM_EXPECT_ABSENT);
        survivor->codes[survivor->tries++] = code == VIM_OK           ? 0
                                             : VIM_IS_UNKNOWN(code)   ? 1
                                             : VIM_IS_TRANSIENT(code) ? 2
                                                                      : 3;
        if (code == VIM_OK)
            atomic_fetch_add(survivor->acknowledged, 1);
    }
    return NULL;
}

static void await_acknowledged(atomic_uint *acknowledged, unsigned more)
{
    unsigned wanted = atomic_load(acknowledged) + more;

    for (int i = 0; i < 6000 && atomic_load(acknowledged) < wanted; i++)
        usleep(10000);
    assert_true(atomic_load(acknowledged) >= wanted);
}

static void test_restarts_under_load(void **state)
{
    struct fixture *fixture = *state;
    struct survivor *survivors = calloc(4, sizeof *survivors);
    atomic_bool stop = false;
    atomic_uint acknowledged = 0;
    pthread_t threads[4];
    char id[32];

    open_store(fixture);
    for (unsigned i = 0; i < 4; i++) {
        survivors[i] = (struct survivor){.instance = fixture->instance,
                                         .number = i,
                                         .stop = &stop,
                                         .acknowledged = &acknowledged};
        pthread_create(&threads[i], NULL, write_on, &survivors[i]);
    }
    for (int i = 0; i < 3; i++) {
        await_acknowledged(&acknowledged, 50);
        server_control("postgres", "down", "POSTGRES", i % 2 ? "fast" : "immediate");
        server_control("postgres", "up", "POSTGRES", NULL);
    }
    await_acknowledged(&acknowledged, 50);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < survivors[i].tries; j++) {
            int code;

            snprintf(id, sizeof id, "%u-%u", i, j);
            code = get(fixture->instance, id);
            if (survivors[i].codes[j] != 1)
                assert_int_equal(code, survivors[i].codes[j] == 0 ? VIM_OK : VIM_E_NOT_FOUND);
            assert_int_not_equal(survivors[i].codes[j], 3);
        }
    plugin->close(fixture->instance);
    free(survivors);
}

/* Connections that the server ended while nobody used them are not noticed by any caller. */
static void test_ended_connections(void **state)
{
    struct fixture *fixture = *state;

    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", 0), VIM_OK);
    for (unsigned i = 0; i < 5; i++) {
        run_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name='vimd main'");
        assert_int_equal(put(fixture->instance, "a", i + 1), VIM_OK);
    }
    plugin->close(fixture->instance);
}

static void test_frozen_server(void **state)
{
    struct fixture *fixture = *state;
    struct vim_write write = {.collection = "c", .id = "a", .body = "{}"};
    struct vim_call call = {0};
    int64_t start;
    int code;

    open_store(fixture);
    assert_int_equal(get(fixture->instance, "a"), VIM_E_NOT_FOUND);
    server_control("postgres", "freeze", "POSTGRES", NULL);
    start = test_now();
    call.deadline_ms = start + 300;
    code = ops->commit(&call, fixture->instance, &write, 1, sizeof write);
    assert_true(test_now() - start < 20000);
    assert_int_equal(code, VIM_E_TIMEOUT);
    call.deadline_ms = test_now() + 300;
    code = ops->get(&call, fixture->instance, "c", "a");
    assert_true(code == VIM_E_TIMEOUT || code == VIM_E_UNAVAILABLE);
    server_control("postgres", "thaw", "POSTGRES", NULL);
    /* Unknown was the truth: the server may do what it had received. */
    code = put(fixture->instance, "a", 0);
    assert_true(code == VIM_OK || code == VIM_E_CONFLICT);
    assert_int_equal(get(fixture->instance, "a"), VIM_OK);
    plugin->close(fixture->instance);
}

static void test_too_many_connections(void **state)
{
    struct fixture *fixture = *state;
    PGconn *others[200];
    void *instances[2];
    unsigned number = 0;
    struct vim_call call;
    int code;

    open_store(fixture);
    assert_int_equal(put(fixture->instance, "counter", 0), VIM_OK);
    while (number < 200 && PQstatus(others[number] = raw_connection()) == CONNECTION_OK)
        number++;
    PQfinish(others[number]);
    assert_true(number > 10 && number < 200);
    /* One connection is there, the server has room for no other: all go through the one. */
    instances[0] = instances[1] = fixture->instance;
    run_writers(instances, add_to_counter);
    fixture->config.connect_timeout = 3000; /* enough for a busy server to refuse one more */
    assert_int_equal(open_with(fixture, &call, &instances[1]), VIM_OK);
    assert_int_equal(put(instances[1], "b", 0), VIM_E_BUSY);
    while (number > 0)
        PQfinish(others[--number]);
    /* The server's processes for them end when they get to it. */
    for (int i = 0; (code = put(instances[1], "b", 0)) == VIM_E_BUSY && i < 20; i++)
        continue;
    assert_int_equal(code, VIM_OK);
    plugin->close(instances[1]);
    plugin->close(fixture->instance);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_options),
        TEST(test_nobody_there),
        TEST(test_wrong_password),
        TEST(test_tls),
        TEST(test_many_make_the_schema_at_once),
        TEST(test_many_migrate_at_once),
        TEST(test_newer_and_foreign_schemas),
        TEST(test_role_without_rights_to_make),
        TEST(test_two_instances),
        TEST(test_serialization_failures),
        TEST(test_deadlock),
        TEST(test_ended_connections),
        TEST(test_frozen_server),
        TEST(test_too_many_connections),
        TEST(test_restarts_under_load),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
