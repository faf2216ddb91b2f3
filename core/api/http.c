/*
 * The one file with libmicrohttpd: its callbacks on one side, exchanges on the other.
 *
 * MHD calls http_handle() for one request several times: once when the headers are complete, for each
 * piece of the body, at its end, and again after a resume. The phase of the exchange says which.
 */
#include "api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <microhttpd.h>
#include "api/listen.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* Room for pieces of streams. */
#define STREAM_BLOCK 16384
#define STREAM_SEND_BUFFER 65536

/* The least speed of a client, bytes per millisecond. */
#define SPEED_MIN 16

static int64_t http_live(const atomic_int_fast64_t *option)
{
    return atomic_load_explicit(option, memory_order_relaxed);
}

/* --- Answers ----------------------------------------------------------------------------------- */

static void http_add_header(void *argument, const char *name, const char *value)
{
    MHD_add_response_header(argument, name, value);
}

/* --- Streams --- */

static ssize_t http_stream_read(void *argument, uint64_t position, char *buffer, size_t room)
{
    (void)position;
    ssize_t count = streams_read(argument, buffer, room);
    return count < 0 ? MHD_CONTENT_READER_END_OF_STREAM : count;
}

void http_suspend(struct exchange *exchange)
{
    MHD_suspend_connection(exchange->handle);
}

/* The answer has no end for now. As a request it is through: neither a stop nor the limit of requests in
 * progress waits for it. */
static enum MHD_Result http_stream(struct exchange *exchange, struct MHD_Connection *handle)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, http_stream_read, exchange->listener, NULL);
    if (!response) {
        return MHD_NO;
    }
    /* What a client does not take waits here, and not by the megabyte in the kernel. */
    int send_buffer = STREAM_SEND_BUFFER;
    (void)setsockopt(exchange->connection->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer,
                     sizeof send_buffer);
    exchange->must_close = true;
    reply_headers(exchange, http_add_header, response);
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* proxies would hold it back */
    enum MHD_Result result = MHD_queue_response(handle, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    exchange->phase = PHASE_REPLIED;
    connection_set_deadline(exchange->connection,
                            clock_mono_ms() + http_live(&exchange->api->live.send_timeout_ms));
    observe_end(exchange, MHD_HTTP_OK);
    exchange->observed = true;
    if (exchange->counted) {
        exchange->counted = false;
        atomic_fetch_sub(&exchange->api->in_flight, 1);
    }
    return result;
}

static ssize_t http_read_nothing(void *argument, uint64_t position, char *buffer, size_t room)
{
    (void)argument, (void)position, (void)buffer, (void)room;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* What HEAD is told of a stream: as GET, and no length, as it has none. */
static struct MHD_Response *http_stream_head(struct exchange *exchange)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, http_read_nothing, NULL, NULL);
    exchange->must_close = true;
    exchange->sent = 0;
    if (response) {
        /* Or MHD says that it is chunked, and sends the last chunk. */
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    return response;
}

static enum MHD_Result http_reply(struct exchange *exchange, struct MHD_Connection *handle)
{
    bool head = strcmp(exchange->method, "HEAD") == 0, stream = streams_is_stream(exchange);
    if (stream && !head) {
        exchange->handle = handle;
        exchange->listener = streams_add(exchange->api->streams, exchange);
        if (exchange->listener) {
            return http_stream(exchange, handle);
        }
        exchange_overrule(exchange, 503, "overloaded", "there are as many streams as there may be",
                          5000);
    }
    struct answer *answer = &exchange->answer;
    struct MHD_Response *response;
    bool bodiless = answer->status == 204 || answer->status == 304;
    exchange->sent = bodiless ? 0 : answer->body_length;
    if (stream && head) {
        response = http_stream_head(exchange);
    } else if (answer->body && !bodiless) {
        response = MHD_create_response_from_buffer(answer->body_length, answer->body,
                                                   MHD_RESPMEM_MUST_FREE);
    } else {
        response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    }
    if (!response) {
        return MHD_NO;
    }
    exchange->must_close |= atomic_load(&exchange->connection->half_closed);
    reply_headers(exchange, http_add_header, response);
    if (answer->body && !bodiless && !(stream && head)) {
        answer->body = NULL; /* the response frees it */
    }
    enum MHD_Result result = MHD_queue_response(handle, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    exchange->phase = PHASE_REPLIED;
    connection_set_deadline(exchange->connection,
                            clock_coarse_ms() + http_live(&exchange->api->live.send_timeout_ms) +
                                (int64_t)exchange->sent / SPEED_MIN);
    return result;
}

void http_resume(struct exchange *exchange)
{
    MHD_resume_connection(exchange->handle);
}

static enum MHD_Result http_call(struct exchange *exchange, struct MHD_Connection *handle)
{
    exchange->phase = PHASE_CALLED;
    connection_set_deadline(exchange->connection, DEADLINE_NONE);
    reply_call(exchange);
    if (atomic_load(&exchange->state) == EXCHANGE_ANSWERED) {
        return http_reply(exchange, handle);
    }
    exchange->handle = handle;
    connections_wait(exchange->api->connections, exchange);
    MHD_suspend_connection(handle);
    int expected = EXCHANGE_CALLED;
    if (!atomic_compare_exchange_strong(&exchange->state, &expected, EXCHANGE_WAITING)) {
        MHD_resume_connection(handle); /* the answer came in between, and nobody else does */
    }
    return MHD_YES;
}

/* --- Bodies ------------------------------------------------------------------------------------- */

static enum MHD_Result http_refused(struct exchange *exchange, struct MHD_Connection *handle)
{
    int64_t limit = exchange->request.principal ? DISCARD_MAX : DISCARD_STRANGERS_MAX;
    if (!exchange->has_body && !exchange->must_close) {
        exchange->phase = PHASE_DISCARD;
        return MHD_YES;
    }
    if (exchange->must_close || exchange->expects_continue || exchange->content_length > limit) {
        exchange->must_close = true;
        return http_reply(exchange, handle);
    }
    exchange->phase = PHASE_DISCARD;
    exchange->discard_left = limit;
    return MHD_YES;
}

static enum MHD_Result http_body(struct exchange *exchange, struct MHD_Connection *handle,
                                 const char *data, size_t *size)
{
    if (*size == 0) {
        if (exchange->phase == PHASE_BODY) {
            body_end(exchange);
        }
        return atomic_load(&exchange->state) == EXCHANGE_ANSWERED ? http_reply(exchange, handle)
                                                                  : http_call(exchange, handle);
    }
    if (exchange->phase == PHASE_BODY) {
        body_add(exchange, data, *size);
        connection_set_reading_deadline(exchange->connection, clock_mono_ms(),
                                        exchange->started_us / 1000 +
                                            http_live(&exchange->api->live.body_timeout_ms) +
                                            exchange->body.size / SPEED_MIN);
    } else if ((int64_t)*size > exchange->discard_left) {
        return MHD_NO;
    } else {
        exchange->discard_left -= (int64_t)*size;
    }
    *size = 0;
    return MHD_YES;
}

/* --- Headers ------------------------------------------------------------------------------------- */

struct http_walk {
    struct headers headers;
    struct exchange *exchange;
};

static enum MHD_Result http_each_header(void *argument, enum MHD_ValueKind kind, const char *key,
                                        size_t key_size, const char *value, size_t value_size)
{
    (void)kind;
    struct http_walk *walk = argument;
    headers_take(&walk->headers, walk->exchange, key, key_size, value, value_size);
    return MHD_YES;
}

/* What was examined is ready for its body, or was refused. */
static enum MHD_Result http_examined(struct exchange *exchange, struct MHD_Connection *handle)
{
    if (atomic_load_explicit(&exchange->state, memory_order_relaxed) == EXCHANGE_ANSWERED) {
        return http_refused(exchange, handle);
    }
    if (exchange->has_body && exchange->route.body_max <= 0) {
        exchange->phase = PHASE_DISCARD;
        exchange->discard_left = DISCARD_STRANGERS_MAX;
        return MHD_YES;
    }
    return body_begin(exchange) ? MHD_YES : http_refused(exchange, handle);
}

/* Sleeps until the owner of the token is known. */
static enum MHD_Result http_ask(struct exchange *exchange, struct MHD_Connection *handle)
{
    exchange->phase = PHASE_ASKING;
    connection_set_deadline(exchange->connection, DEADLINE_NONE);
    exchange->handle = handle;
    connections_wait(exchange->api->connections, exchange);
    MHD_suspend_connection(handle);
    int expected = ASK_CALLED;
    if (!atomic_compare_exchange_strong(&exchange->asking, &expected, ASK_WAITING)) {
        MHD_resume_connection(handle); /* it is known by now, and nobody else does */
    }
    return MHD_YES;
}

/* After the sleep MHD calls for the headers again, so that an answer may be given before the body. */
static enum MHD_Result http_asked(struct exchange *exchange, struct MHD_Connection *handle)
{
    connections_wait_end(exchange->api->connections, exchange);
    int64_t now = clock_mono_ms();
    connection_set_reading_deadline(exchange->connection, now,
                                    now + http_live(&exchange->api->live.body_timeout_ms));
    headers_asked(exchange, now);
    return http_examined(exchange, handle);
}

/* Once per connection, when its handshake is through. */
static void http_look_at_peer(struct exchange *exchange, struct MHD_Connection *handle)
{
    struct connection *connection = exchange->connection;
    if (exchange->api->authority.length && connection->peer == PEER_UNSEEN) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(handle, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        connection->peer =
            info && tls_peer_is_known(info->tls_session) ? PEER_KNOWN : PEER_STRANGER;
    }
}

static enum MHD_Result http_headers(struct exchange *exchange, struct MHD_Connection *handle,
                                    const char *method)
{
    struct http_walk walk = {.exchange = exchange};
    MHD_get_connection_values_n(handle, MHD_HEADER_KIND, http_each_header, &walk);
    http_look_at_peer(exchange, handle);
    exchange->started_us = clock_mono_us();
    observe_begin(exchange);
    int64_t now = exchange->started_us / 1000;
    bool asks = headers_examine(&walk.headers, exchange, method, now);
    if (exchange->has_body) {
        connection_set_reading_deadline(exchange->connection, now,
                                        now + http_live(&exchange->api->live.body_timeout_ms));
    }
    if (asks) {
        if (atomic_load(&exchange->asking) != ASK_DONE) {
            return http_ask(exchange, handle);
        }
        headers_asked(exchange, now);
    }
    return http_examined(exchange, handle);
}

static enum MHD_Result http_handle(void *argument, struct MHD_Connection *handle, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *size, void **request)
{
    (void)argument, (void)url, (void)version;
    struct exchange *exchange = *request;
    if (!exchange) {
        return MHD_NO;
    }
    switch (exchange->phase) {
    case PHASE_HEADERS:
        return http_headers(exchange, handle, method);
    case PHASE_ASKING:
        if (atomic_load(&exchange->asking) != ASK_DONE) {
            return MHD_YES;
        }
        return http_asked(exchange, handle);
    case PHASE_BODY:
    case PHASE_DISCARD:
        return http_body(exchange, handle, data, size);
    case PHASE_CALLED:
        if (atomic_load(&exchange->state) != EXCHANGE_ANSWERED) {
            return MHD_YES;
        }
        connections_wait_end(exchange->api->connections, exchange);
        return http_reply(exchange, handle);
    default:
        *size = 0;
        return MHD_YES;
    }
}

/* --- Begin and end of connections and requests ------------------------------------------------------ */

static struct connection *http_connection(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Of a request whose headers never came to an end, and whose completion was not told. */
static void http_forget(struct exchange *exchange)
{
    if (exchange && exchange_drop(exchange)) {
        exchange_free(exchange);
    }
}

static void http_connected(void *argument, struct MHD_Connection *handle, void **context,
                           enum MHD_ConnectionNotificationCode code)
{
    struct api *api = argument;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct connection *closed = *context;
        if (closed) {
            http_forget(TAKE(closed->current));
            connections_remove(api->connections, closed);
            *context = NULL;
        }
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = info ? info->connect_fd : -1;
    struct connection *connection = connections_add(
        api->connections, fd, clock_mono_ms() + http_live(&api->live.header_timeout_ms));
    info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    connection_set_address(connection, info ? info->client_addr : NULL);
    *context = connection;
    quiesce_tell(api);
}

/* A request line has arrived. What is returned becomes the request's context. */
static void *http_request_line(void *argument, const char *target, struct MHD_Connection *handle)
{
    struct api *api = argument;
    struct connection *connection = http_connection(handle);
    if (!connection) {
        return NULL;
    }
    struct exchange *exchange = exchange_new();
    http_forget(connection->current);
    connection->current = exchange;
    exchange->api = api;
    exchange->connection = connection;
    size_t length = target ? strlen(target) : 0;
    exchange->target_too_long = length > TARGET_MAX;
    if (length && !exchange->target_too_long) {
        exchange->raw_target = exchange_text(exchange, target, length);
    }
    int64_t now = clock_coarse_ms();
    connection_set_reading_deadline(connection, now, now + http_live(&api->live.header_timeout_ms));
    return exchange;
}

static void http_completed(void *argument, struct MHD_Connection *handle, void **request,
                           enum MHD_RequestTerminationCode code)
{
    (void)handle;
    struct api *api = argument;
    struct exchange *exchange = *request;
    *request = NULL;
    if (!exchange) {
        return;
    }
    struct connection *connection = exchange->connection;
    connection->current = NULL;
    if (exchange->phase == PHASE_CALLED || exchange->phase == PHASE_ASKING) {
        connections_wait_end(api->connections, exchange);
    }
    if (exchange->listener) {
        streams_remove(TAKE(exchange->listener));
    }
    if (exchange->phase == PHASE_HEADERS || exchange->phase == PHASE_ASKING) {
        observe_drop(exchange);
    } else if (!exchange->observed) {
        observe_end(exchange,
                    code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? exchange->answer.status : 0);
    }
    if (exchange->counted) {
        atomic_fetch_sub(&api->in_flight, 1);
    }
    int64_t now = clock_coarse_ms();
    atomic_store_explicit(&connection->used, now, memory_order_relaxed);
    connection_set_reading_deadline(connection, now, now + http_live(&api->live.idle_timeout_ms));
    if (exchange_drop(exchange)) {
        exchange_recycle(exchange);
    }
}

static void http_log(void *argument, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void http_log(void *argument, const char *format, va_list arguments)
{
    (void)argument;
    if (log_enabled(VIM_DEBUG)) {
        char line[256];
        vsnprintf(line, sizeof line, format, arguments);
        line[strcspn(line, "\n")] = '\0';
        log_event(VIM_DEBUG, "libmicrohttpd", "text=%s", line);
    }
}

/* --- The listener ------------------------------------------------------------------------------- */

static void http_tls_options(struct api *api, struct MHD_OptionItem ret_options[4])
{
    struct MHD_OptionItem *next = ret_options;
    if (api->tls) {
        enum tls_listener listener = api->side == API_PEERS ? TLS_PEERS : TLS_CLIENTS;
        *next++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES};
        *next++ =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_callback(listener)};
        tls_use(api->tls, listener);
    }
    if (api->authority.length) {
        *next++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, api->authority.data};
    }
    *next = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

int http_open(struct api *api, const struct api_config *config, struct failure *failure)
{
    int code =
        listen_open(config->listen, config->reuse_port, &api->listen_fd, &api->port, failure);
    if (code) {
        return code;
    }
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    flags |= api->tls ? MHD_USE_TLS : 0;
    struct MHD_OptionItem tls[4];
    http_tls_options(api, tls);
    unsigned threads = api->threads = listen_threads(config->threads);
    /* Room for the answer's headers too. Not more: MHD clears all of it for every request. */
    size_t memory = api->header_max + 4096;
    unsigned connections = (unsigned)config->connections;
    /* MHD divides the limit among its threads, and each needs room for one. */
    connections = connections < threads ? threads : connections;
    struct MHD_OptionItem pool[2] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
                                     {MHD_OPTION_END, 0, NULL}};
    if (threads == 1) {
        pool[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    api->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_handle, api, MHD_OPTION_EXTERNAL_LOGGER, http_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, api->listen_fd, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)config->connections_per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, http_request_line, api,
        MHD_OPTION_NOTIFY_COMPLETED, http_completed, api, MHD_OPTION_NOTIFY_CONNECTION,
        http_connected, api, MHD_OPTION_ARRAY, pool, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!api->daemon) {
        listen_remove(api->listen);
        close(api->listen_fd);
        api->listen_fd = -1;
        tls_unuse(api->tls);
        return failure_set(failure, VIM_E_UNAVAILABLE, "the HTTP server does not start: %s",
                           strerror(errno));
    }
    return VIM_OK;
}

void http_take(struct api *api, int fd, const struct sockaddr *address, socklen_t size)
{
    MHD_add_connection(api->daemon, fd, address, size);
}

bool http_stop_accepting(struct api *api)
{
    return MHD_quiesce_daemon(api->daemon) != MHD_INVALID_SOCKET;
}

void http_close(struct api *api)
{
    MHD_stop_daemon(api->daemon);
    api->daemon = NULL;
    close(api->listen_fd);
    api->listen_fd = -1;
    tls_unuse(api->tls);
}
