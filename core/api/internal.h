/*
 * api/internal.h - what the files of the API block share.
 */
#ifndef VIMD_API_INTERNAL_H
#define VIMD_API_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include "api/access.h"
#include "api/api.h"
#include "api/buckets.h"
#include "api/connections.h"
#include "api/exchange.h"
#include "api/lookups.h"
#include "api/streams.h"
#include "api/tls.h"

enum access_log { ACCESS_LOG_OFF, ACCESS_LOG_ERRORS, ACCESS_LOG_ALL };

/* Options that a reload may change while network threads read them. */
struct api_live {
    atomic_int_fast64_t header_timeout_ms, body_timeout_ms, send_timeout_ms, idle_timeout_ms;
    atomic_int_fast64_t request_timeout_ms, in_flight, rate, rate_burst;
    atomic_int_fast64_t streams, heartbeat_ms;
    atomic_int access_log;
};

struct api {
    unsigned magic;
    void *daemon; /* MHD's; http.c alone looks into it */
    struct link *link;
    struct access *access;
    struct lookups *lookups;
    struct buckets *rates;
    struct connections *connections;
    struct streams *streams; /* NULL: none are offered on this side */
    struct tls *tls; /* NULL: plain HTTP */
    struct text authority; /* of peers' certificates, as PEM; empty: they need none */
    enum api_side side;
    _Atomic(struct secrets *) secrets; /* of peers; NULL: of other listeners */
    bool show_metrics;
    unsigned threads; /* of the network */
    atomic_uint round, passed; /* how many of them have passed this round (quiesce.c) */
    int listen_fd;
    char *listen; /* as configured */
    uint16_t port;
    char *spool_dir;
    size_t header_max;
    int64_t body_memory;
    struct api_live live;
    atomic_uint in_flight; /* exchanges with `counted` */
    atomic_bool draining; /* answers close their connections */
    atomic_bool stopping; /* no more calls of the logic */
    char id_prefix[17]; /* of the request ids made here */
};

/* --- headers.c --------------------------------------------------------------------------------- */

/* What the headers of a request say, while they are gone through. Texts are the caller's. */
struct headers {
    unsigned count;
    size_t size;
    size_t authorization_size;
    const char *authorization, *content_length, *transfer_encoding, *request_id, *host;
    const char *content_encoding;
    const char *principal, *left_ms; /* from peers */
    bool expects_continue;
    int status; /* of the first fault; 0: none */
    const char *fault;
};

/* One header, in order of arrival. Copies what the logic wants. */
void headers_take(struct headers *headers, struct exchange *exchange, const char *name,
                  size_t name_size, const char *value, size_t value_size);

/* After the last header: request id, target, principal, route, limits. Leaves the exchange either
 * answered with a refusal, ready for its body, or (true) with the owner of its token being looked up:
 * exchange->asking tells when that is through, and then headers_asked() does the rest. */
bool headers_examine(struct headers *headers, struct exchange *exchange, const char *method,
                     int64_t now_ms);
void headers_asked(struct exchange *exchange, int64_t now_ms);

/* --- api.c: what peers know ----------------------------------------------------------------------- */

/* Is it what the processes of the service know, or did until lately? In constant time. */
bool secrets_know(const struct api *api, const char *given);

/* --- http.c: the one file with libmicrohttpd ------------------------------------------------------ */

int http_open(struct api *api, const struct api_config *config, struct failure *failure);
/* Hands a connection to the network threads, to which its socket belongs from here on. */
void http_take(struct api *api, int fd, const struct sockaddr *address, socklen_t size);
/* The network threads accept nobody any more. The listening socket stays open until they have ended: they take it
 * out of their epoll sets when they get to it. False: they had stopped before. */
bool http_stop_accepting(struct api *api);
void http_close(struct api *api); /* nothing may be suspended */
/* Puts the connection of an exchange to sleep that streams; http_resume() wakes it. */
void http_suspend(struct exchange *exchange);

/* --- quiesce.c: the listener at a stop ---------------------------------------------------------- */

/* Nobody begins to connect from here on; who has begun is accepted, and told of to connections.h if there
 * is time until END. */
void quiesce_listener(struct api *api, int64_t end);
/* By a network thread that has told connections.h of one: it is counted once in each round of the above. */
void quiesce_tell(struct api *api);

/* --- body.c ------------------------------------------------------------------------------------- */

/* How much of a body that nobody wants is read, so that the client sees its answer and not a reset
 * connection. */
#define DISCARD_MAX (4 << 20)
#define DISCARD_STRANGERS_MAX (64 << 10)

/* The headers are through: makes room for what comes. False: there is none, and the exchange is refused. */
bool body_begin(struct exchange *exchange);
/* Spools one piece; on trouble the exchange is refused, and what still comes is discarded. */
void body_add(struct exchange *exchange, const char *data, size_t size);
/* All has come. Refuses the exchange if it cannot be kept. */
void body_end(struct exchange *exchange);

/* --- reply.c ------------------------------------------------------------------------------------ */

/* The body is complete: hands the request to the link. */
void reply_call(struct exchange *exchange);

/* Headers of the answer, with what the API adds. EACH is called for each. */
typedef void (*reply_header_fn)(void *argument, const char *name, const char *value);
void reply_headers(struct exchange *exchange, reply_header_fn each, void *argument);

/* --- observe.c ------------------------------------------------------------------------------------ */

/* A request has begun, and will end, or be dropped if it comes to nothing. */
void observe_begin(const struct exchange *exchange);
void observe_drop(const struct exchange *exchange);
/* The request has ended: metrics and the access log. STATUS 0: the client left. */
void observe_end(struct exchange *exchange, int status);
void observe_open(struct api *api);
void observe_close(struct api *api);

#endif
