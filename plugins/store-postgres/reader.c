/*
 * get and scan. One SELECT is one snapshot.
 *
 * Which server answers. "A read that begins after a commit has returned, in any process, sees it": a
 * replica keeps that promise only when it has replayed the log up to where the primary's was after
 * the read had begun. So a scan first asks the primary for that position, which costs it next to nothing, then
 * a replica whether it is there, and reads in a statement of its own, thus a later snapshot, if it is.
 * A replica that does not get there within the option replica_wait, or is down, or is none any more, is
 * passed over: the primary answers. A get is no more work than the question, and goes to the primary.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define STATEMENT_MAX 200
#define OID_TEXT 25

/* A result of up to this many rows is taken as a whole, a larger one row by row. */
#define WHOLE_ROWS_MAX 1000

/* Columns of a row; get has no id. */
enum { C_ID, C_PARENT, C_STATE, C_DUE, C_REVISION, C_BODY };

int reader_prepare(struct connection *connection)
{
    static const Oid types[] = {OID_TEXT, OID_TEXT};
    char sql[STATEMENT_MAX];

    schema_sql("SELECT id,parent,state,due,revision,body FROM @.rows WHERE collection=$1 AND id=$2",
               connection->place->store->config->schema, sql, sizeof sql);
    return PQsendPrepare(connection->pg, "get", sql, 2, types) ? 0 : -1;
}

static int emit_row(struct vim_call *call, struct postgres_store *store, const PGresult *result,
                    int row, const char *collection)
{
    struct vim_item item = {
        .size = sizeof item,
        .kind = collection,
        .id = PQgetvalue(result, row, C_ID),
        .parent = PQgetvalue(result, row, C_PARENT),
        .body = PQnfields(result) > C_BODY ? PQgetvalue(result, row, C_BODY) : NULL,
        .state = (uint32_t)number_read(result, row, C_STATE),
        .due = number_read(result, row, C_DUE),
        .revision = (uint64_t)number_read(result, row, C_REVISION),
    };

    return store->host->emit(call, &item);
}

/* May the same be tried again on another connection? What is read changes nothing. */
static bool may_retry(struct vim_call *call, const struct postgres_store *store, int code,
                      int64_t end)
{
    if (code != VIM_E_LOST && code != VIM_E_UNAVAILABLE && code != VIM_E_BUSY)
        return false;
    return pool_now() < end && pool_pause(call, store->host, 2 + random() % 8);
}

static int fail_read(struct vim_call *call, const struct postgres_store *store,
                     const struct store_error *error)
{
    /* That a read's outcome is unknown is no news: it has none. */
    int code = error->code == VIM_E_LOST ? VIM_E_UNAVAILABLE : error->code;

    return store->host->fail(call, code, 0, error->text);
}

static int get_once(struct vim_call *call, struct postgres_store *store, const char *collection,
                    const char *id, struct store_error *ret_error)
{
    const char *values[] = {collection, id};
    struct connection *connection = NULL;
    PGresult *result = NULL;
    int code = connection_borrow(call, &store->primary, true, &connection, ret_error);

    if (code < 0)
        return code;
    code = connection_run(call, connection, INT64_MAX, "get", NULL, 2, values, &result, ret_error);
    connection_return(connection);
    if (code == VIM_OK && PQntuples(result) == 0)
        code = store_error_set(ret_error, VIM_E_NOT_FOUND, "no such row");
    if (code == VIM_OK)
        emit_row(call, store, result, 0, collection);
    PQclear(result);
    return code;
}

int reader_get(struct vim_call *call, void *instance, const char *collection, const char *id)
{
    struct postgres_store *store = instance;
    int64_t end = pool_now() + store->config->connect_timeout;
    struct store_error error;
    int code;

    if (!limits_collection(collection) || !limits_id(id))
        return store->host->fail(call, VIM_E_INVALID, 0,
                                 "not the name of a collection, or not an id");
    do
        code = get_once(call, store, collection, id, &error);
    while (may_retry(call, store, code, end));
    return code == VIM_OK ? VIM_OK : fail_read(call, store, &error);
}

/* Prepares the scan's statement on this connection if it is not yet, and sends it. */
static int send_scan(struct connection *connection, const struct vim_scan *scan,
                     struct store_error *ret_error)
{
    struct postgres_store *store = connection->place->store;
    unsigned number = scan_shape_number(scan);
    const char *sql = scan_sql(store, scan);
    struct scan_parameters p;
    char name[16];
    bool sent = true;

    if (!sql)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    scan_bind(scan, &p);
    snprintf(name, sizeof name, "scan_%u", number);
    if (!(connection->scans[number / 64] >> number % 64 & 1)) {
        sent = PQsendPrepare(connection->pg, name, sql, p.count, p.types) != 0;
        connection->scans[number / 64] |= (uint64_t)1 << number % 64;
    }
    if (sent &&
        PQsendQueryPrepared(connection->pg, name, p.count, p.values, p.lengths, p.formats, 1) &&
        PQpipelineSync(connection->pg))
        return VIM_OK;
    connection->pooled.broken = true;
    return store_error_set(ret_error, VIM_E_LOST, "postgresql: %.300s",
                           PQerrorMessage(connection->pg));
}

/* How far a scan has come. */
struct progress {
    bool emitted; /* rows were: it cannot begin again */
    bool enough; /* emit() wants no more */
};

/* Sends the rows on as they come, to the end of the pipeline. */
static int read_rows(struct vim_call *call, struct connection *connection,
                     const struct vim_scan *scan, struct progress *progress,
                     struct store_error *ret_error)
{
    struct postgres_store *store = connection->place->store;
    bool row_by_row = scan->limit == 0 || scan->limit > WHOLE_ROWS_MAX;
    int code = VIM_OK;

    for (;;) {
        PGresult *result = NULL;
        struct store_error error;
        ExecStatusType status;

        if (row_by_row)
            PQsetSingleRowMode(connection->pg);
        if (connection_result(call, connection, INT64_MAX, &result, &error) < 0) {
            if (code == VIM_OK)
                *ret_error = error;
            return ret_error->code;
        }
        status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;
        if (status == PGRES_FATAL_ERROR && code == VIM_OK)
            code = connection_error(connection, result, ret_error);
        for (int i = 0; status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK; i++) {
            if (i >= PQntuples(result) || progress->enough)
                break;
            progress->emitted = true;
            progress->enough = emit_row(call, store, result, i, scan->collection);
        }
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            return code;
        if (progress->enough && status == PGRES_SINGLE_TUPLE) {
            /* Ending the connection is the shortest way to stop the rest from coming. */
            connection->pooled.broken = true;
            return VIM_OK;
        }
    }
}

static int scan_on(struct vim_call *call, struct connection *connection,
                   const struct vim_scan *scan, struct progress *progress,
                   struct store_error *ret_error)
{
    int code = send_scan(connection, scan, ret_error);

    if (code == VIM_OK)
        code = read_rows(call, connection, scan, progress, ret_error);
    /* What is prepared on it is not known any more. */
    if (code < 0)
        connection->pooled.broken = true;
    return code;
}

/* Where the primary's log is now: behind every commit that has returned. */
static int read_position(struct vim_call *call, struct postgres_store *store, char position[32])
{
    struct connection *connection = NULL;
    PGresult *result = NULL;
    struct store_error error;
    int code = connection_borrow(call, &store->primary, true, &connection, &error);

    if (code < 0)
        return code;
    code = connection_run(call, connection, INT64_MAX, NULL,
                          "SELECT pg_current_wal_insert_lsn()::text", 0, NULL, &result, &error);
    connection_return(connection);
    if (code == VIM_OK)
        snprintf(position, 32, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return code;
}

/* Has the replica replayed the log up to POSITION? Waits for it a little. */
static bool has_caught_up(struct vim_call *call, struct connection *connection,
                          const char *position)
{
    struct postgres_store *store = connection->place->store;
    int64_t end = pool_now() + store->config->replica_wait, pause = 1;
    const char *values[] = {position};

    for (;;) {
        PGresult *result = NULL;
        struct store_error error;
        bool there = false;
        int code = connection_run(call, connection, end + 100, NULL,
                                  "SELECT 1 WHERE pg_is_in_recovery() AND "
                                  "pg_last_wal_replay_lsn()>=$1::text::pg_lsn",
                                  1, values, &result, &error);

        if (code == VIM_OK)
            there = PQntuples(result) == 1;
        PQclear(result);
        if (code < 0 || there || pool_now() + pause > end || !pool_pause(call, store->host, pause))
            return there;
        pause *= 2;
    }
}

/* Lets a replica answer. False if none could: nothing was emitted then. */
static bool scan_on_replica(struct vim_call *call, struct postgres_store *store,
                            const struct vim_scan *scan, int *ret_code,
                            struct store_error *ret_error)
{
    unsigned first = atomic_fetch_add(&store->next_replica, 1);
    struct progress progress = {0};
    char position[32];
    bool answered = false;

    if (read_position(call, store, position) < 0)
        return false;
    for (unsigned i = 0; i < store->replica_count && !answered; i++) {
        struct place *place = &store->replicas[(first + i) % store->replica_count];
        struct connection *connection = NULL;

        if (connection_borrow(call, place, false, &connection, ret_error) < 0)
            continue;
        if (has_caught_up(call, connection, position)) {
            *ret_code = scan_on(call, connection, scan, &progress, ret_error);
            answered = *ret_code == VIM_OK || progress.emitted;
        }
        connection_return(connection);
    }
    store->host->count(store->self, "replica_scans_total",
                       answered ? "answered=\"replica\"" : "answered=\"primary\"", 1);
    return answered;
}

static int scan_on_primary(struct vim_call *call, struct postgres_store *store,
                           const struct vim_scan *scan, struct store_error *ret_error)
{
    int64_t end = pool_now() + store->config->connect_timeout;
    struct progress progress = {0};
    int code;

    do {
        struct connection *connection = NULL;

        code = connection_borrow(call, &store->primary, true, &connection, ret_error);
        if (code == VIM_OK)
            code = scan_on(call, connection, scan, &progress, ret_error);
        connection_return(connection);
    } while (!progress.emitted && may_retry(call, store, code, end));
    return code;
}

int reader_scan(struct vim_call *call, void *instance, const struct vim_scan *asked)
{
    struct postgres_store *store = instance;
    struct vim_scan scan = {0};
    struct store_error error;
    int code;

    memcpy(&scan, asked, asked->size < sizeof scan ? asked->size : sizeof scan);
    if (limits_scan(&scan, &error) < 0)
        return store->host->fail(call, error.code, 0, error.text);
    if (store->replica_count == 0 || !scan_on_replica(call, store, &scan, &code, &error))
        code = scan_on_primary(call, store, &scan, &error);
    return code == VIM_OK ? VIM_OK : fail_read(call, store, &error);
}
