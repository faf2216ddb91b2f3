/*
 * get and scan. One SELECT is one snapshot. The primary answers, or a replica that has all that was
 * committed before: see replicas.c. What is short may go together with others: see batches.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define STATEMENT_MAX 200
#define OID_TEXT 25

#define GET_SQL "SELECT id,parent,state,due,revision,body FROM @.rows WHERE collection=$1 AND id=$2"

/* A scan of up to this many rows goes together with others: what comes of it is small enough to be kept until its
 * thread emits it. */
#define SHORT_ROWS_MAX 100

/* A result of up to this many rows is taken as a whole, a larger one row by row. */
#define WHOLE_ROWS_MAX 1000

/* So much of what a replica answers row by row is kept until it has all come, or there is more: up to then another
 * server can be asked for all of it, should the replica go away. */
#define HELD_BYTES_MAX (1 << 20)

/* While more reads than this are to be answered, and the first took longer than that, answers are gathered. */
#define GATHER_READS 2
#define GATHER_AFTER_MS 3

/* Columns of a row; get has no id. */
enum { C_ID, C_PARENT, C_STATE, C_DUE, C_REVISION, C_BODY };

int reader_prepare(struct connection *connection)
{
    static const Oid types[] = {OID_TEXT, OID_TEXT};
    char sql[STATEMENT_MAX];

    schema_sql(connection->place->replica ? GET_SQL REPLICA_CONDITION : GET_SQL,
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

/* May the same be tried again on another connection? What is read changes nothing. What the server said about
 * one of several reads does not hold up the others. */
static bool may_retry(struct vim_call *call, const struct postgres_store *store,
                      const struct batch *batch, int code, int64_t end)
{
    if (code != VIM_E_LOST && code != VIM_E_UNAVAILABLE && code != VIM_E_BUSY)
        return false;
    if (batch->reads[0]->emitted || (batch->count > 1 && batch->reached && code != VIM_E_LOST))
        return false;
    return pool_now() < end && pool_pause(call, store->host, 2 + random() % 8);
}

static int send_failed(struct connection *connection, struct store_error *ret_error)
{
    connection->pooled.broken = true;
    return store_error_set(ret_error, VIM_E_LOST, "postgresql: %.300s",
                           PQerrorMessage(connection->pg));
}

/* Prepares the scan's statement on this connection if it is not yet, and sends it. */
static int send_scan(struct connection *connection, const struct vim_scan *scan,
                     struct store_error *ret_error)
{
    struct postgres_store *store = connection->place->store;
    unsigned number = scan_shape_number(scan);
    const char *sql = scan_sql(store, scan, connection->place->replica);
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
        PQsendQueryPrepared(connection->pg, name, p.count, p.values, p.lengths, p.formats, 1))
        return VIM_OK;
    return send_failed(connection, ret_error);
}

static int send_get(struct connection *connection, const struct read *read,
                    struct store_error *ret_error)
{
    const char *values[] = {read->collection, read->id};

    if (PQsendQueryPrepared(connection->pg, "get", 2, values, NULL, NULL, 1))
        return VIM_OK;
    return send_failed(connection, ret_error);
}

int reader_send(struct connection *connection, const struct batch *batch,
                struct store_error *ret_error)
{
    int code = VIM_OK;

    for (unsigned i = 0; i < batch->count && code == VIM_OK; i++) {
        const struct read *read = batch->reads[i];

        if (!read->result)
            code = read->scan ? send_scan(connection, read->scan, ret_error)
                              : send_get(connection, read, ret_error);
    }
    if (code == VIM_OK && !PQpipelineSync(connection->pg))
        code = send_failed(connection, ret_error);
    return code;
}

/* Results that have come and were not emitted yet. */
struct held {
    PGresult **items;
    size_t count, bytes;
    bool over; /* what comes is sent on at once */
};

static void emit_rows(struct vim_call *call, struct postgres_store *store, const PGresult *result,
                      struct read *read)
{
    for (int i = 0; i < PQntuples(result) && !read->enough; i++) {
        read->emitted = true;
        read->enough = emit_row(call, store, result, i, read->collection);
    }
}

/* Emits what is held, unless (DROP) it is not to be believed. Nothing is held any more. */
static void held_end(struct vim_call *call, struct postgres_store *store, struct held *held,
                     struct read *read, bool drop)
{
    for (size_t i = 0; i < held->count; i++) {
        if (!drop)
            emit_rows(call, store, held->items[i], read);
        PQclear(held->items[i]);
    }
    free(held->items);
    *held = (struct held){.over = true};
}

/* Takes RESULT over to hold it. False: there is no room, or no need. */
static bool held_take(struct held *held, PGresult *result)
{
    PGresult **more;

    if (held->over || held->bytes + PQresultMemorySize(result) > HELD_BYTES_MAX)
        return false;
    more = realloc(held->items, (held->count + 1) * sizeof *more);
    if (!more)
        return false;
    held->items = more;
    held->items[held->count++] = result;
    held->bytes += PQresultMemorySize(result);
    return true;
}

/* Sends the rows on as they come, to the end of the pipeline. */
static int receive_rows(struct vim_call *call, struct connection *connection, struct read *read,
                        int64_t patience, struct store_error *ret_error)
{
    struct postgres_store *store = connection->place->store;
    bool row_by_row = read->scan && (read->scan->limit == 0 || read->scan->limit > WHOLE_ROWS_MAX);
    struct held held = {.over = !connection->place->replica};
    int code = VIM_OK;

    for (;;) {
        int64_t deadline = patience == INT64_MAX ? INT64_MAX : pool_now() + patience;
        PGresult *result = NULL;
        struct store_error error;
        ExecStatusType status;

        if (row_by_row)
            PQsetSingleRowMode(connection->pg);
        if (connection_result(call, connection, deadline, &result, &error) < 0) {
            held_end(call, store, &held, read, true);
            if (code == VIM_OK)
                *ret_error = error;
            return ret_error->code;
        }
        status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;
        if (status == PGRES_FATAL_ERROR && code == VIM_OK)
            code = connection_error(connection, result, ret_error);
        if (status == PGRES_SINGLE_TUPLE && held_take(&held, result))
            continue;
        if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK) {
            held_end(call, store, &held, read, false);
            emit_rows(call, store, result, read);
        }
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC) {
            held_end(call, store, &held, read, true);
            return code;
        }
        if (read->enough && status == PGRES_SINGLE_TUPLE) {
            /* Ending the connection is the shortest way to stop the rest from coming. */
            connection->pooled.broken = true;
            return VIM_OK;
        }
    }
}

/* Gives the reads their results, to the end of the pipeline. A server that has sent a piece wakes whoever waits for it,
 * often on its own processor, and stands aside. If it is short of time and much is to come, that takes a good part of it:
 * so it is let send on then. */
static int receive_results(struct vim_call *call, struct connection *connection,
                           struct batch *batch, int64_t patience, struct store_error *ret_error)
{
    int64_t began = pool_now();
    int code = VIM_OK;

    for (unsigned next = 0;;) {
        int64_t deadline = patience == INT64_MAX ? INT64_MAX : pool_now() + patience;
        PGresult *result = NULL;
        struct store_error error;
        ExecStatusType status;

        connection->gather_at =
            batch->count - next > GATHER_READS ? began + GATHER_AFTER_MS : INT64_MAX;
        if (connection_result(call, connection, deadline, &result, &error) < 0) {
            if (code == VIM_OK)
                *ret_error = error;
            return ret_error->code;
        }
        status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;
        if (status == PGRES_FATAL_ERROR && code == VIM_OK)
            code = connection_error(connection, result, ret_error);
        while (next < batch->count && batch->reads[next]->result)
            next++;
        if (status == PGRES_TUPLES_OK && next < batch->count)
            batch->reads[next]->result = result;
        else
            PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            return code;
    }
}

int reader_receive(struct vim_call *call, struct connection *connection, struct batch *batch,
                   int64_t patience, struct store_error *ret_error)
{
    struct read *first = batch->reads[0];
    int code = first->is_long ? receive_rows(call, connection, first, patience, ret_error)
                              : receive_results(call, connection, batch, patience, ret_error);

    connection->gather_at = INT64_MAX;
    /* What is prepared on it is not known any more. */
    if (code < 0)
        connection->pooled.broken = true;
    return code;
}

static int read_on_primary(struct vim_call *call, struct postgres_store *store, struct batch *batch,
                           struct store_error *ret_error)
{
    int64_t end = pool_now() + store->config->connect_timeout;
    int code;

    do {
        struct connection *connection = NULL;

        code = connection_borrow(call, &store->primary, true, &connection, ret_error);
        batch->reached = code == VIM_OK;
        if (code == VIM_OK)
            code = reader_send(connection, batch, ret_error);
        if (code == VIM_OK)
            code = reader_receive(call, connection, batch, INT64_MAX, ret_error);
        connection_return(connection);
    } while (may_retry(call, store, batch, code, end));
    return code;
}

int reader_run(struct vim_call *call, struct postgres_store *store, struct batch *batch,
               struct store_error *ret_error)
{
    int code;

    if (!replicas_read(call, store, batch, &code, ret_error))
        code = read_on_primary(call, store, batch, ret_error);
    return code;
}

/* Emits what was received for READ. */
static int emit_result(struct vim_call *call, struct postgres_store *store, struct read *read,
                       struct store_error *ret_error)
{
    int rows = PQntuples(read->result);

    for (int i = 0; i < rows && !read->enough; i++)
        read->enough = emit_row(call, store, read->result, i, read->collection);
    if (rows == 0 && !read->scan)
        return store_error_set(ret_error, VIM_E_NOT_FOUND, "no such row");
    return VIM_OK;
}

static int run_read(struct vim_call *call, struct postgres_store *store, struct read *read)
{
    struct batch alone = {.count = 1, .reads = {read}};
    struct store_error error;
    int code = read->is_long ? reader_run(call, store, &alone, &error)
                             : batches_read(call, store, read, &error);

    if (code == VIM_OK && read->result)
        code = emit_result(call, store, read, &error);
    PQclear(read->result);
    if (code == VIM_OK)
        return VIM_OK;
    /* That a read's outcome is unknown is no news: it has none. */
    if (code == VIM_E_LOST)
        code = VIM_E_UNAVAILABLE;
    return store->host->fail(call, code, 0, error.text);
}

int reader_get(struct vim_call *call, void *instance, const char *collection, const char *id)
{
    struct postgres_store *store = instance;
    struct read read = {.collection = collection, .id = id};

    if (!limits_collection(collection) || !limits_id(id))
        return store->host->fail(call, VIM_E_INVALID, 0,
                                 "not the name of a collection, or not an id");
    return run_read(call, store, &read);
}

int reader_scan(struct vim_call *call, void *instance, const struct vim_scan *asked)
{
    struct postgres_store *store = instance;
    struct vim_scan scan = {0};
    struct read read = {.scan = &scan};
    struct store_error error;

    memcpy(&scan, asked, asked->size < sizeof scan ? asked->size : sizeof scan);
    if (limits_scan(&scan, &error) < 0)
        return store->host->fail(call, error.code, 0, error.text);
    read.collection = scan.collection;
    read.is_long = scan.limit == 0 || scan.limit > SHORT_ROWS_MAX;
    return run_read(call, store, &read);
}
