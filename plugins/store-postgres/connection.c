#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "postgres_store.h"

/* So long a connection that gathers lets come what comes. */
#define GATHER_MS 1

const char *result_state(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state ? state : "";
}

static int code_of_state(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } known[] = {
        {"40", VIM_E_BUSY}, /* serialization failure, deadlock */
        {"55P03", VIM_E_BUSY}, /* lock not available */
        {"57014", VIM_E_BUSY}, /* the server's own time limit */
        {"53300", VIM_E_BUSY}, /* too many connections */
        {"53", VIM_E_UNAVAILABLE}, /* out of disk, memory, ... */
        {"57P", VIM_E_UNAVAILABLE}, /* going down, starting, the database dropped */
        {"25006", VIM_E_UNAVAILABLE}, /* read-only: no primary any more */
        {"58", VIM_E_UNAVAILABLE}, /* I/O error */
        {"08", VIM_E_UNAVAILABLE},    {"3D000", VIM_E_UNAVAILABLE}, /* no such database, yet */
        {"28", VIM_E_CREDENTIAL},     {"42501", VIM_E_DENIED},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(state, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].code;
    return VIM_E_INTERNAL;
}

/* The first line of what libpq or the server said, without its line end. */
static int set_from_text(struct store_error *error, int code, const char *state, const char *said)
{
    size_t length = strcspn(said, "\n");

    while (length > 0 && (said[length - 1] == ' ' || said[length - 1] == '\r'))
        length--;
    return store_error_set(error, code, "postgresql: %.*s%s%s%s",
                           (int)(length < 400 ? length : 400), said, state[0] ? " (SQLSTATE " : "",
                           state, state[0] ? ")" : "");
}

int store_error_from_result(struct store_error *error, const PGresult *result)
{
    const char *state = result_state(result);
    const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    return set_from_text(error, code_of_state(state), state,
                         said ? said : PQresultErrorMessage(result));
}

static int broke(struct connection *connection, struct store_error *ret_error)
{
    connection->pooled.broken = true;
    return set_from_text(ret_error, VIM_E_LOST, "", PQerrorMessage(connection->pg));
}

int connection_error(struct connection *connection, const PGresult *result,
                     struct store_error *ret_error)
{
    if (result_state(result)[0])
        return store_error_from_result(ret_error, result);
    connection->pooled.broken = true;
    return set_from_text(ret_error, VIM_E_LOST, "", PQresultErrorMessage(result));
}

static bool await_socket(struct vim_call *call, struct connection *connection, int64_t deadline,
                         bool read, bool write)
{
    return pool_await_socket(call, connection->place->store->host, PQsocket(connection->pg), read,
                             write, deadline);
}

int connection_flush(struct vim_call *call, struct connection *connection, int64_t deadline,
                     struct store_error *ret_error)
{
    int unsent;

    while ((unsent = PQflush(connection->pg)) == 1) {
        if (!await_socket(call, connection, deadline, true, true)) {
            connection->pooled.broken = true;
            return store_error_set(ret_error, VIM_E_TIMEOUT, "no time left");
        }
        /* Reading too, or both sides may wait for the other to read. */
        if (!PQconsumeInput(connection->pg))
            return broke(connection, ret_error);
    }
    return unsent < 0 ? broke(connection, ret_error) : VIM_OK;
}

/* Until something has come, or (UNSENT) more can be sent. */
static bool await_answer(struct vim_call *call, struct connection *connection, int64_t deadline,
                         bool unsent)
{
    struct pollfd file = {.fd = PQsocket(connection->pg), .events = POLLIN};

    if (pool_now() >= connection->gather_at && poll(&file, 1, 0) > 0)
        return true;
    if (!await_socket(call, connection, deadline, true, unsent))
        return false;
    if (pool_now() >= connection->gather_at)
        pool_pause(call, connection->place->store->host, GATHER_MS);
    return true;
}

int connection_result(struct vim_call *call, struct connection *connection, int64_t deadline,
                      PGresult **ret_result, struct store_error *ret_error)
{
    while (PQisBusy(connection->pg)) {
        int unsent = PQflush(connection->pg);

        if (unsent < 0)
            return broke(connection, ret_error);
        if (!await_answer(call, connection, deadline, unsent == 1)) {
            connection->pooled.broken = true;
            return store_error_set(ret_error, VIM_E_TIMEOUT, "no answer in time");
        }
        if (!PQconsumeInput(connection->pg) && !PQisBusy(connection->pg))
            break; /* what the server said before it went is still to be read */
        if (PQstatus(connection->pg) == CONNECTION_BAD && PQisBusy(connection->pg))
            return broke(connection, ret_error);
    }
    *ret_result = PQgetResult(connection->pg);
    if (PQstatus(connection->pg) == CONNECTION_BAD)
        connection->pooled.broken = true;
    if (connection->pooled.broken && !*ret_result)
        return broke(connection, ret_error);
    return VIM_OK;
}

int connection_finish(struct vim_call *call, struct connection *connection, int64_t deadline,
                      struct store_error *ret_error)
{
    int code = VIM_OK;

    for (;;) {
        PGresult *result = NULL;
        struct store_error error;
        ExecStatusType status;

        if (connection_result(call, connection, deadline, &result, &error) < 0) {
            if (code == VIM_OK)
                *ret_error = error;
            return ret_error->code;
        }
        status = PQresultStatus(result);
        if (result && status == PGRES_FATAL_ERROR && code == VIM_OK)
            code = connection_error(connection, result, ret_error);
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC && result)
            return code;
    }
}

int connection_run(struct vim_call *call, struct connection *connection, int64_t deadline,
                   const char *name, const char *sql, int count, const char *const *values,
                   PGresult **ret_result, struct store_error *ret_error)
{
    PGresult *first = NULL;
    int sent = name ? PQsendQueryPrepared(connection->pg, name, count, values, NULL, NULL, 1)
                    : PQsendQueryParams(connection->pg, sql, count, NULL, values, NULL, NULL, 1);
    int code;

    if (!sent || !PQpipelineSync(connection->pg))
        return broke(connection, ret_error);
    code = connection_result(call, connection, deadline, &first, ret_error);
    if (code < 0)
        return code;
    if (PQresultStatus(first) == PGRES_FATAL_ERROR) {
        struct store_error ignored;

        code = connection_error(connection, first, ret_error);
        PQclear(first);
        if (!connection->pooled.broken)
            connection_finish(call, connection, deadline, &ignored);
        return code;
    }
    code = connection_finish(call, connection, deadline, ret_error);
    if (code == VIM_OK && ret_result)
        *ret_result = first;
    else
        PQclear(first);
    return code;
}

bool connection_alive(struct pooled *pooled)
{
    struct connection *connection = (struct connection *)pooled;
    struct pollfd file = {.fd = PQsocket(connection->pg), .events = POLLIN};

    if (connection->pooled.broken || PQstatus(connection->pg) != CONNECTION_OK)
        return false;
    if (poll(&file, 1, 0) == 0)
        return true;
    /* A notice or a changed setting is fine; an end, or the reason for it, is not. */
    if (!PQconsumeInput(connection->pg) || PQstatus(connection->pg) != CONNECTION_OK)
        return false;
    return poll(&file, 1, 0) == 0;
}

static void ignore_notice(void *argument, const char *message)
{
    (void)argument, (void)message;
}

static int connect_failed(struct connection *connection, struct store_error *ret_error)
{
    const char *said = PQerrorMessage(connection->pg);
    int code = VIM_E_UNAVAILABLE;

    /* libpq keeps no SQLSTATE of a failed connect, so the server's words have to do. */
    if (strstr(said, "password authentication failed") || strstr(said, "no password supplied") ||
        strstr(said, "authentication failed") || strstr(said, "no pg_hba.conf entry") ||
        (strstr(said, "role \"") && strstr(said, "does not exist")))
        code = VIM_E_CREDENTIAL;
    else if (strstr(said, "too many c") || strstr(said, "remaining connection slots"))
        code = VIM_E_BUSY;
    return set_from_text(ret_error, code, "", said);
}

static int connect_to(struct vim_call *call, struct connection *connection, int64_t deadline,
                      struct store_error *ret_error)
{
    const struct conninfo *conninfo = &connection->place->conninfo;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    connection->pg = PQconnectStartParams(conninfo->keys, (const char *const *)conninfo->values, 0);
    if (!connection->pg)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    PQsetNoticeProcessor(connection->pg, ignore_notice, NULL);
    if (PQstatus(connection->pg) == CONNECTION_BAD)
        return connect_failed(connection, ret_error);
    while (status != PGRES_POLLING_OK) {
        if (!await_socket(call, connection, deadline, status == PGRES_POLLING_READING,
                          status == PGRES_POLLING_WRITING))
            return store_error_set(ret_error, VIM_E_UNAVAILABLE,
                                   "postgresql: no connection to %s in "
                                   "time",
                                   connection->place->name);
        status = PQconnectPoll(connection->pg);
        if (status == PGRES_POLLING_FAILED)
            return connect_failed(connection, ret_error);
    }
    connection->told_fd = PQsocket(connection->pg);
    pool_tell_connection(connection->place->store->host, connection->place->store->self,
                         connection->told_fd, true);
    if (PQsetnonblocking(connection->pg, 1) < 0 || !PQenterPipelineMode(connection->pg))
        return connect_failed(connection, ret_error);
    return VIM_OK;
}

static int prepare(struct vim_call *call, struct connection *connection, int64_t deadline,
                   struct store_error *ret_error)
{
    struct place *place = connection->place;
    int code;

    if (!place->replica && !atomic_load(&place->schema_ready)) {
        code = schema_prepare(call, connection, deadline, ret_error);
        if (code < 0)
            return code;
        atomic_store(&place->schema_ready, true);
    }
    if (!place->replica) {
        code = replicas_note_history(call, connection, deadline, ret_error);
        if (code < 0)
            return code;
    }
    if ((!place->replica && writer_prepare(connection) < 0) || reader_prepare(connection) < 0 ||
        replicas_prepare(connection) < 0 || !PQpipelineSync(connection->pg))
        return broke(connection, ret_error);
    return connection_finish(call, connection, deadline, ret_error);
}

int connection_open(struct vim_call *call, struct pool *pool, int64_t deadline,
                    struct pooled **ret_connection, struct store_error *ret_error)
{
    struct connection *connection = calloc(1, sizeof *connection);
    int code;

    if (!connection)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    connection->place = (struct place *)pool;
    connection->gather_at = INT64_MAX;
    connection->told_fd = -1;
    code = connect_to(call, connection, deadline, ret_error);
    if (code == VIM_OK)
        code = prepare(call, connection, deadline, ret_error);
    if (code < 0) {
        connection_close(&connection->pooled);
        /* Nothing of the caller's was sent yet. */
        if (VIM_IS_UNKNOWN(code))
            code = ret_error->code = VIM_E_UNAVAILABLE;
        return code;
    }
    *ret_connection = &connection->pooled;
    return VIM_OK;
}

void connection_close(struct pooled *pooled)
{
    struct connection *connection = (struct connection *)pooled;

    if (connection->told_fd >= 0)
        pool_tell_connection(connection->place->store->host, connection->place->store->self,
                             connection->told_fd, false);
    PQfinish(connection->pg);
    free(connection);
}

int connection_borrow(struct vim_call *call, struct place *place, bool patient,
                      struct connection **ret_connection, struct store_error *ret_error)
{
    struct pooled *pooled = NULL;
    int code = pool_borrow(call, &place->pool, patient, &pooled, ret_error);

    if (code == VIM_OK)
        *ret_connection = (struct connection *)pooled;
    return code;
}

void connection_return(struct connection *connection)
{
    if (connection)
        pool_return(&connection->pooled);
}
