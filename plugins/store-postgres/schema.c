/*
 * The tables. A fresh or older schema is brought up to date in one transaction, by one process: others
 * that start at the same moment wait for an advisory lock, and find the work done. Engines without
 * such locks give one of them an error about what is there already, or a serialization failure;
 * then it looks again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define ATTEMPTS 10
#define STATEMENT_MAX 600

/* Of no meaning but that nobody else takes it: "VIMD". */
#define ADVISORY_LOCK "1447644484"

/*
 * Statements that bring the schema from version INDEX to INDEX + 1, each with @ for the schema's
 * name; only ever appended to. COLLATE "C" makes ids compare bytewise. The body is bytea, because
 * it is given back byte for byte whatever the encoding of the database.
 */
static const char *const version_1[] = {
    "CREATE TABLE @.rows("
    "  collection text COLLATE \"C\" NOT NULL,"
    "  id text COLLATE \"C\" NOT NULL,"
    "  parent text COLLATE \"C\" NOT NULL,"
    "  state integer NOT NULL,"
    "  due bigint NOT NULL,"
    "  revision bigint NOT NULL,"
    "  body bytea NOT NULL,"
    "  PRIMARY KEY(collection, id))",
    "CREATE INDEX rows_by_parent ON @.rows(collection, parent, id) WHERE parent > ''",
    "CREATE INDEX rows_by_state ON @.rows(collection, state, id)",
    "CREATE INDEX rows_by_due ON @.rows(collection, due, id) WHERE due > 0",
    NULL,
};

/* Histories of primaries that had replicas; see replicas.c. */
static const char *const version_2[] = {
    "CREATE TABLE @.histories(name text COLLATE \"C\" PRIMARY KEY)",
    NULL,
};

static const char *const *const migrations[] = {version_1, version_2};

#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

int schema_version(void)
{
    return SCHEMA_VERSION;
}

void schema_sql(const char *template, const char *schema, char *ret_sql, size_t size)
{
    size_t length = 0;

    for (; *template; template ++) {
        int added = *template == '@' ? snprintf(ret_sql + length, size - length, "%s", schema)
                                     : snprintf(ret_sql + length, size - length, "%c", *template);

        length += (size_t)added;
        assert(length < size);
    }
}

struct schema_run {
    struct vim_call *call;
    struct connection *connection;
    const char *schema;
    int64_t deadline;
    struct store_error *error;
};

static int execute(struct schema_run *run, const char *template, PGresult **ret_result)
{
    char sql[STATEMENT_MAX];

    schema_sql(template, run->schema, sql, sizeof sql);
    return connection_run(run->call, run->connection, run->deadline, NULL, sql, 0, NULL, ret_result,
                          run->error);
}

/* Is there such a thing in the schema? Asked of the standard's own catalogue. */
static int exists(struct schema_run *run, const char *sql, bool *ret_exists)
{
    const char *values[] = {run->schema};
    PGresult *result = NULL;
    int code = connection_run(run->call, run->connection, run->deadline, NULL, sql, 1, values,
                              &result, run->error);

    if (code == VIM_OK)
        *ret_exists = PQntuples(result) > 0;
    PQclear(result);
    return code;
}

/* *RET_VERSION is 0 if there are no tables yet. */
static int read_version(struct schema_run *run, int *ret_version)
{
    static const char versions[] = "SELECT 1 FROM information_schema.tables"
                                   " WHERE table_schema=$1::text AND table_name='schema_version'";
    PGresult *result = NULL;
    bool there = false;
    int code = exists(run, versions, &there);

    *ret_version = 0;
    if (code < 0 || !there)
        return code;
    code = execute(run, "SELECT max(version) FROM @.schema_version", &result);
    if (code == VIM_OK)
        *ret_version = (int)number_read(result, 0, 0);
    PQclear(result);
    if (code == VIM_OK && *ret_version > SCHEMA_VERSION)
        return store_error_set(run->error, VIM_E_INVALID,
                               "schema: %s has version %d, newer than this plugin's %d",
                               run->schema, *ret_version, SCHEMA_VERSION);
    return code;
}

/* An engine without the function goes on without. */
static int take_lock(struct schema_run *run)
{
    int code = execute(run, "SELECT pg_advisory_xact_lock(" ADVISORY_LOCK ")", NULL);

    if (code == VIM_OK || !strstr(run->error->text, "42883"))
        return code;
    code = execute(run, "ROLLBACK", NULL);
    return code == VIM_OK ? execute(run, "BEGIN", NULL) : code;
}

/* In the transaction that is open. */
static int migrate(struct schema_run *run)
{
    char insert[128];
    bool there = false;
    int version = 0, code = take_lock(run);

    if (code == VIM_OK)
        code = read_version(run, &version);
    if (code < 0 || version == SCHEMA_VERSION)
        return code;
    code =
        exists(run, "SELECT 1 FROM information_schema.schemata WHERE schema_name=$1::text", &there);
    /* Not IF NOT EXISTS: that asks for the right to make one even where it is there. */
    if (code == VIM_OK && !there)
        code = execute(run, "CREATE SCHEMA @", NULL);
    if (code == VIM_OK && version == 0)
        code = execute(run, "CREATE TABLE @.schema_version(version integer PRIMARY KEY)", NULL);
    for (int i = version; i < SCHEMA_VERSION && code == VIM_OK; i++) {
        for (const char *const *sql = migrations[i]; *sql && code == VIM_OK; sql++)
            code = execute(run, *sql, NULL);
        snprintf(insert, sizeof insert, "INSERT INTO @.schema_version(version) VALUES(%d)", i + 1);
        if (code == VIM_OK)
            code = execute(run, insert, NULL);
    }
    return code;
}

/* What another process that does the same may cause. */
static bool is_race(const struct store_error *error)
{
    static const char *const states[] = {"23505", "42P06", "42P07", "42710", "40001", "40P01"};

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strstr(error->text, states[i]))
            return true;
    return strstr(error->text, "concurrently updated");
}

int schema_prepare(struct vim_call *call, struct connection *connection, int64_t deadline,
                   struct store_error *ret_error)
{
    struct schema_run run = {call, connection, connection->place->store->config->schema, deadline,
                             ret_error};
    int code = VIM_OK, version = 0;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct store_error error;

        /* Without the right to make anything it works as long as all is there. */
        code = read_version(&run, &version);
        if (code < 0 || version == SCHEMA_VERSION)
            return code;
        code = execute(&run, "BEGIN", NULL);
        if (code == VIM_OK)
            code = migrate(&run);
        if (code == VIM_OK)
            return execute(&run, "COMMIT", NULL);
        error = *ret_error;
        if (!connection->pooled.broken)
            execute(&run, "ROLLBACK", NULL);
        *ret_error = error;
        if (connection->pooled.broken || !is_race(&error) ||
            !pool_pause(call, connection->place->store->host, 20 + random() % 50))
            break;
    }
    if (strstr(ret_error->text, "42P07"))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "schema: %s has a table `rows` of another application's",
                               run.schema);
    return code;
}
