/*
 * A commit is one pipeline: its statements, then the end, at which the server commits. Without an
 * explicit BEGIN the pipeline is one transaction, so all of it is one round trip. A statement that
 * fails makes the server skip the rest and undo what was done; so each write that expects something
 * is a statement that fails if the row is not so. (A commit of one write needs no undoing: it looks
 * at the number of rows instead, and spares the server's log the error.)
 *
 * READ COMMITTED is enough: every statement locks the row it is about, or the place where it would be,
 * until the end, so that two commits that have a row in common go one after the other. An absent
 * row has nothing to lock, so what must find none makes one first. Rows are taken in order of their
 * names, so that no two commits wait for each other.
 *
 * PostgreSQL itself flushes the log once for the commits of several connections.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define STATEMENT_MAX 700

/* Output that may gather before it has to be sent. */
#define UNSENT_MAX (256 * 1024)

/* Pause before a transaction that the server gave up is tried again; doubled with each. */
#define RETRY_FIRST_MS 2
#define RETRY_MAX_MS 100

/* A condition that is not met fails as a division by zero. */
#define DIVISION_BY_ZERO "22012"
#define UNIQUE_VIOLATION "23505"

enum statement {
    INSERT_ONE, /* the names of _ONE: alone in their commit */
    INSERT,
    UPDATE_ONE,
    UPDATE,
    REMOVE_ONE,
    REMOVE,
    PUT, /* whatever is there */
    PLACE, /* a row, if there is none: to have it locked */
    PLACE_NEW, /* the same, if there must be none */
    REMOVE_ANY,
    STATEMENT_COUNT
};

#define VALUES "(collection,id,parent,state,due,revision,body) VALUES($1,$2,$3,$4,$5,1,$6)"
#define SET "parent=$3,state=$4,due=$5,revision=revision+1,body=$6"
#define IN_PLACE "collection=$1 AND id=$2"
#define GUARD(sql) "WITH changed AS (" sql " RETURNING 1) SELECT 1/count(*) FROM changed"
#define REMOVE_SQL "DELETE FROM @.rows WHERE " IN_PLACE " AND revision=$3"
#define UPDATE_SQL "UPDATE @.rows SET " SET " WHERE " IN_PLACE " AND revision=$7"

/* Types: text, bigint, integer, bytea. */
#define OID_TEXT 25
#define OID_BIGINT 20
#define OID_BYTEA 17

static const struct {
    const char *name, *sql;
    int count;
    Oid types[7];
} statements[STATEMENT_COUNT] = {
#define ROW_TYPES OID_TEXT, OID_TEXT, OID_TEXT, OID_BIGINT, OID_BIGINT, OID_BYTEA
    [INSERT_ONE] = {"insert_one",
                    "INSERT INTO @.rows" VALUES " ON CONFLICT DO NOTHING",
                    6,
                    {ROW_TYPES}},
    [INSERT] = {"insert", "INSERT INTO @.rows" VALUES, 6, {ROW_TYPES}},
    [UPDATE_ONE] = {"update_one", UPDATE_SQL, 7, {ROW_TYPES, OID_BIGINT}},
    [UPDATE] = {"update", GUARD(UPDATE_SQL), 7, {ROW_TYPES, OID_BIGINT}},
    [REMOVE_ONE] = {"remove_one", REMOVE_SQL, 3, {OID_TEXT, OID_TEXT, OID_BIGINT}},
    [REMOVE] = {"remove", GUARD(REMOVE_SQL), 3, {OID_TEXT, OID_TEXT, OID_BIGINT}},
    [PUT] = {"put",
             "INSERT INTO @.rows AS r" VALUES " ON CONFLICT(collection,id) DO UPDATE SET"
             " parent=excluded.parent,state=excluded.state,due=excluded.due,"
             " revision=r.revision+1,body=excluded.body",
             6,
             {ROW_TYPES}},
    [PLACE] = {"place",
               "INSERT INTO @.rows(collection,id,parent,state,due,revision,body)"
               " VALUES($1,$2,'',0,0,1,'') ON CONFLICT DO NOTHING",
               2,
               {OID_TEXT, OID_TEXT}},
    [PLACE_NEW] = {"place_new",
                   "INSERT INTO @.rows(collection,id,parent,state,due,revision,body)"
                   " VALUES($1,$2,'',0,0,1,'')",
                   2,
                   {OID_TEXT, OID_TEXT}},
    [REMOVE_ANY] = {"remove_any", "DELETE FROM @.rows WHERE " IN_PLACE, 2, {OID_TEXT, OID_TEXT}},
};

/* One commit on its way. */
struct commit {
    struct vim_call *call;
    struct postgres_store *store;
    const struct vim_write **writes; /* in order of their names */
    uint32_t count;
    struct store_error error;
};

/* What an attempt came to. */
enum outcome { DECIDED, TRY_AGAIN };

int writer_prepare(struct connection *connection)
{
    char sql[STATEMENT_MAX];

    for (int i = 0; i < STATEMENT_COUNT; i++) {
        schema_sql(statements[i].sql, connection->place->store->config->schema, sql, sizeof sql);
        if (!PQsendPrepare(connection->pg, statements[i].name, sql, statements[i].count,
                           statements[i].types))
            return -1;
    }
    return 0;
}

static int send_statement(struct connection *connection, enum statement which,
                          const struct vim_write *write)
{
    unsigned char state[8], due[8], revision[8];
    const char *values[7] = {write->collection, write->id};
    int lengths[7] = {0}, formats[7] = {0};

    number_write(revision, write->expect);
    if (statements[which].count == 3) {
        values[2] = (const char *)revision;
        lengths[2] = sizeof revision;
        formats[2] = 1;
    } else if (statements[which].count > 3) {
        number_write(state, write->state);
        number_write(due, (uint64_t)write->due);
        values[2] = write->parent ? write->parent : "";
        values[3] = (const char *)state;
        values[4] = (const char *)due;
        values[5] = write->body;
        values[6] = (const char *)revision;
        lengths[3] = lengths[4] = lengths[6] = 8;
        lengths[5] = (int)strlen(write->body);
        formats[3] = formats[4] = formats[5] = formats[6] = 1;
    }
    return PQsendQueryPrepared(connection->pg, statements[which].name, statements[which].count,
                               values, lengths, formats, 1)
               ? 0
               : -1;
}

/* The one or two statements of a write. */
static unsigned statements_of(const struct vim_write *write, bool alone,
                              enum statement ret_which[2])
{
    bool any = write->expect == VIM_EXPECT_ANY, absent = write->expect == VIM_EXPECT_ABSENT;

    if (write->body) {
        ret_which[0] = any      ? PUT
                       : absent ? (alone ? INSERT_ONE : INSERT)
                                : (alone ? UPDATE_ONE : UPDATE);
        return 1;
    }
    if (!any && !absent) {
        ret_which[0] = alone ? REMOVE_ONE : REMOVE;
        return 1;
    }
    if (any && alone) {
        ret_which[0] = REMOVE_ANY;
        return 1;
    }
    ret_which[0] = any ? PLACE : PLACE_NEW;
    ret_which[1] = REMOVE_ANY;
    return 2;
}

static int compare_writes(const void *left, const void *right)
{
    const struct vim_write *a = *(const struct vim_write *const *)left;
    const struct vim_write *b = *(const struct vim_write *const *)right;
    int order = strcmp(a->collection, b->collection);

    return order ? order : strcmp(a->id, b->id);
}

static int conflict(struct commit *commit, const struct vim_write *write)
{
    return store_error_set(&commit->error, VIM_E_CONFLICT, "%s/%s", write->collection, write->id);
}

/* Sends all but the end. On error nothing happens: the server never sees the end. */
static int send_writes(struct commit *commit, struct connection *connection, int64_t deadline)
{
    size_t unsent = 0;

    for (uint32_t i = 0; i < commit->count; i++) {
        const struct vim_write *write = commit->writes[i];
        enum statement which[2];
        unsigned count = statements_of(write, commit->count == 1, which);

        for (unsigned j = 0; j < count; j++)
            if (send_statement(connection, which[j], write) < 0) {
                connection->pooled.broken = true;
                return store_error_set(&commit->error, VIM_E_UNAVAILABLE, "postgresql: %.300s",
                                       PQerrorMessage(connection->pg));
            }
        unsent += write->body ? strlen(write->body) + 200 : 200;
        if (unsent < UNSENT_MAX)
            continue;
        unsent = 0;
        if (connection_flush(commit->call, connection, deadline, &commit->error) < 0)
            return commit->error.code =
                       commit->error.code == VIM_E_TIMEOUT ? VIM_E_BUSY : VIM_E_UNAVAILABLE;
    }
    return VIM_OK;
}

/* A statement failed: the server has undone the transaction, whatever becomes of the connection. */
static void take_failure(struct commit *commit, const struct vim_write *write,
                         const PGresult *result)
{
    const char *state = result_state(result);

    if (strcmp(state, DIVISION_BY_ZERO) == 0 || strcmp(state, UNIQUE_VIOLATION) == 0)
        conflict(commit, write);
    else
        store_error_from_result(&commit->error, result);
}

/* Did a statement that is alone in its commit find no row as expected? */
static bool found_none(enum statement which, PGresult *result)
{
    return (which == INSERT_ONE || which == UPDATE_ONE || which == REMOVE_ONE) &&
           strcmp(PQcmdTuples(result), "1") != 0;
}

/* Reads the results of one statement of WRITE. Sets commit->error when it is known that nothing was
 * written; returns VIM_E_TIMEOUT or VIM_E_LOST when the rest cannot be read. */
static int read_statement(struct commit *commit, struct connection *connection, int64_t deadline,
                          const struct vim_write *write, enum statement which)
{
    PGresult *result = NULL;
    struct store_error error;
    int code;

    while ((code = connection_result(commit->call, connection, deadline, &result, &error)) ==
               VIM_OK &&
           result) {
        bool failed = PQresultStatus(result) == PGRES_FATAL_ERROR;

        if (failed && !result_state(result)[0]) {
            code = connection_error(connection, result, &error);
        } else if (commit->error.code == VIM_OK) {
            if (failed)
                take_failure(commit, write, result);
            else if (found_none(which, result))
                conflict(commit, write);
        }
        PQclear(result);
        if (code < 0)
            break;
    }
    if (code < 0 && commit->error.code == VIM_OK)
        commit->error = error;
    return code;
}

/* Reads all results. On return commit->error tells what is known. */
static void read_results(struct commit *commit, struct connection *connection, int64_t deadline)
{
    struct store_error error;

    for (uint32_t i = 0; i < commit->count; i++) {
        enum statement which[2];
        unsigned count = statements_of(commit->writes[i], commit->count == 1, which);

        for (unsigned j = 0; j < count; j++)
            if (read_statement(commit, connection, deadline, commit->writes[i], which[j]) < 0)
                return;
    }
    if (connection_finish(commit->call, connection, deadline, &error) == VIM_OK ||
        commit->error.code != VIM_OK)
        return;
    /* The commit itself failed. An error is an answer; an end of the connection is none. */
    commit->error = error;
    if (connection->pooled.broken && !VIM_IS_UNKNOWN(error.code))
        commit->error.code = VIM_E_LOST;
}

static enum outcome attempt(struct commit *commit)
{
    struct connection *connection = NULL;
    int64_t deadline = INT64_MAX; /* the caller's time is the only bound */
    bool again;

    if (connection_borrow(commit->call, &commit->store->primary, true, &connection,
                          &commit->error) < 0)
        return DECIDED;
    commit->error.code = VIM_OK; /* after attempts to connect that failed, maybe */
    if (send_writes(commit, connection, deadline) == VIM_OK) {
        if (PQpipelineSync(connection->pg)) {
            read_results(commit, connection, deadline);
        } else {
            connection->pooled.broken = true;
            store_error_set(&commit->error, VIM_E_LOST, "postgresql: %.300s",
                            PQerrorMessage(connection->pg));
        }
    }
    /* Nothing was written, and it is not the fault of what was asked for: a deadlock, a primary that
     * went down or is none any more. */
    again = commit->error.code == VIM_E_UNAVAILABLE || commit->error.code == VIM_E_BUSY;
    if (commit->error.code == VIM_E_UNAVAILABLE)
        connection->pooled.broken = true;
    connection_return(connection);
    return again ? TRY_AGAIN : DECIDED;
}

static int run_commit(struct commit *commit)
{
    int64_t pause = RETRY_FIRST_MS, end = pool_now() + commit->store->config->connect_timeout;

    while (attempt(commit) == TRY_AGAIN) {
        if (commit->error.code == VIM_E_UNAVAILABLE && pool_now() >= end)
            break;
        if (!pool_pause(commit->call, commit->store->host, pause / 2 + random() % pause))
            break;
        pause = pause * 2 < RETRY_MAX_MS ? pause * 2 : RETRY_MAX_MS;
        commit->store->host->count(commit->store->self, "commit_retries_total", NULL, 1);
    }
    return commit->error.code;
}

int writer_commit(struct vim_call *call, void *instance, const struct vim_write *writes,
                  uint32_t count, uint32_t stride)
{
    struct postgres_store *store = instance;
    struct commit commit = {.call = call, .store = store, .count = count};
    const struct vim_write *few[8];

    if (limits_writes(writes, count, stride, &commit.error) < 0)
        return store->host->fail(call, commit.error.code, 0, commit.error.text);
    if (count == 0)
        return VIM_OK;
    commit.writes = count <= 8 ? few : malloc(count * sizeof *commit.writes);
    if (!commit.writes)
        return store->host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        commit.writes[i] = write_at(writes, stride, i);
    qsort(commit.writes, count, sizeof *commit.writes, compare_writes);
    run_commit(&commit);
    if (commit.writes != few)
        free(commit.writes);
    if (commit.error.code != VIM_OK)
        return store->host->fail(call, commit.error.code, 0, commit.error.text);
    return VIM_OK;
}
