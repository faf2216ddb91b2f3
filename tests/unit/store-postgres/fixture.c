#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

const struct vim_plugin *plugin;
const struct vim_store_ops *ops;
atomic_uint answered_by_replica, answered_by_primary, commit_retries, batches, told_to_wait;
static struct vim_host host;

static void count(struct vim_self *self, const char *name, const char *labels, double add)
{
    (void)self, (void)add;
    if (strcmp(name, "commit_retries_total") == 0)
        atomic_fetch_add(&commit_retries, 1);
    if (strcmp(name, "batches_total") == 0)
        atomic_fetch_add(&batches, 1);
    if (strcmp(name, "reads_total") == 0)
        atomic_fetch_add(
            strstr(labels, "\"replica\"") ? &answered_by_replica : &answered_by_primary, 1);
}

static void waiting(struct vim_call *call, int waits)
{
    atomic_fetch_add(&told_to_wait, waits && !call->waits);
    test_host.waiting(call, waits);
}

int fixture_setup(void **state)
{
    static const char *const replicas[] = {"TEST_REPLICA_PORT", "TEST_REPLICA2_PORT"};
    static unsigned number;
    struct fixture *fixture = calloc(1, sizeof *fixture);

    snprintf(fixture->schema, sizeof fixture->schema, "test_%u", number++);
    snprintf(fixture->addresses[0], sizeof fixture->addresses[0], "127.0.0.1:%s",
             getenv("TEST_POSTGRES_PORT"));
    for (int i = 0; i < 2 && getenv(replicas[i]); i++)
        snprintf(fixture->addresses[i + 1], sizeof fixture->addresses[0], "127.0.0.1:%s replica",
                 getenv(replicas[i]));
    for (int i = 0; i < 3; i++)
        fixture->hosts[i] = fixture->addresses[i];
    fixture->self = (struct vim_self){.instance = "main"};
    fixture->config = (struct config){
        .hosts = {.count = 1, .items = fixture->hosts},
        .database = "postgres",
        .user = "vimd",
        .password = getenv("TEST_POSTGRES_PASSWORD"),
        .schema = fixture->schema,
        .connections = 8,
        .durability = "power",
        .connect_timeout = 20000,
        .replica_wait = 2000,
        .replica_refresh = 100,
        .ca_file = "/etc/ssl/certs/ca-certificates.crt",
    };
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    free(*state);
    return 0;
}

int open_with(struct fixture *fixture, struct vim_call *call, void **ret_instance)
{
    memset(call, 0, sizeof *call);
    return plugin->open(call, &host, &fixture->self, &fixture->config, ret_instance);
}

void open_store(struct fixture *fixture)
{
    struct vim_call call;

    assert_int_equal(open_with(fixture, &call, &fixture->instance), VIM_OK);
}

int put(void *instance, const char *id, uint64_t expect)
{
    struct vim_call call = {0};
    struct vim_write write = {.collection = "c", .id = id, .body = "{}", .expect = expect};

    return ops->commit(&call, instance, &write, 1, sizeof write);
}

int get(void *instance, const char *id)
{
    struct vim_call call = {0};

    return ops->get(&call, instance, "c", id);
}

PGconn *raw_connection_to(const char *port_variable)
{
    const char *keys[] = {"host", "port", "user", "password", "dbname", NULL};
    const char *values[] = {"127.0.0.1", getenv(port_variable),
                            "vimd",      getenv("TEST_POSTGRES_PASSWORD"),
                            "postgres",  NULL};

    return PQconnectdbParams(keys, values, 0);
}

PGconn *raw_connection(void)
{
    return raw_connection_to("TEST_POSTGRES_PORT");
}

void run_sql_on(const char *port_variable, const char *sql)
{
    PGconn *connection = raw_connection_to(port_variable);
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    PQclear(result);
    PQfinish(connection);
}

void run_sql(const char *sql)
{
    run_sql_on("TEST_POSTGRES_PORT", sql);
}

void schema_text(const struct fixture *fixture, const char *template, char ret_sql[1024])
{
    size_t length = 0;

    ret_sql[0] = '\0';
    for (; *template && length < 1024; template ++)
        length += (size_t)(*template == '@'
                               ? snprintf(ret_sql + length, 1024 - length, "%s", fixture->schema)
                               : snprintf(ret_sql + length, 1024 - length, "%c", *template));
    assert_true(length < 1024);
}

void run_schema_sql(const struct fixture *fixture, const char *template)
{
    char sql[1024];

    schema_text(fixture, template, sql);
    run_sql(sql);
}

void fixture_load(void)
{
    host = test_host;
    host.count = count;
    host.waiting = waiting;
    plugin = test_load(TEST_PLUGIN_DIR "/store-postgres.so");
    ops = plugin->ops;
}
