/*
 * logic/logic.h - block: what a request means.
 *
 * {principal, method, path, query, headers that matter, body} -> {status, headers, body}. Knows
 * no sockets. All functions may be called from any thread.
 */
#ifndef VIMD_LOGIC_LOGIC_H
#define VIMD_LOGIC_LOGIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/events.h"
#include "engine/inventory.h"
#include "engine/presence.h"
#include "engine/tasks.h"
#include "engine/vims.h"
#include "model/store.h"

enum role { ROLE_READER = 1, ROLE_MEMBER = 2, ROLE_OPERATOR = 3, ROLE_ADMIN = 4 };

/* Who asks. */
struct principal {
    char token_id[40];
    char name[64];
    char project[64];
    enum role role;
    int64_t expires; /* ms since 1970; 0: never */
};

/* A header that a request brings along or an answer carries. */
struct header {
    const char *name, *value;
};

struct request {
    const char *method; /* GET, HEAD, POST, PUT, PATCH, DELETE */
    const char *path; /* decoded, begins with / */
    const char *target; /* path and query as they came, or NULL; for links to other processes */
    const struct header *query; /* decoded pairs, in order */
    size_t query_count;
    const struct header *headers; /* those that logic_wants_header() accepts; names in lower case */
    size_t header_count;
    const char *body;
    size_t body_length;
    const char *body_path; /* spooled body (uploads); logic takes the file over on success */
    int64_t body_size;
    const char *request_id;
    const void *entry; /* of logic_route_info for the same method and path; NULL: to be looked up */
    const struct principal *principal; /* NULL: not authenticated (public routes only) */
    bool peer; /* a process of this service asks for itself: internal routes, and only those */
    int64_t deadline; /* monotonic ms, by which the answer has to be given */
    const atomic_bool *unattended; /* nobody waits for the answer any more; NULL: not told */
};

/* An answer. One to HEAD has the body that GET would get, for its length; it is not to be sent.
 * Whoever receives it through logic_respond_fn may take `body` over by setting it to NULL (then
 * frees it with free()); everything else lives for the call. */
struct response {
    int status;
    const char *content_type;
    const struct header *headers;
    size_t header_count;
    char *body;
    size_t body_length;
    bool refused; /* nothing was begun: the same request may be made elsewhere */
};

typedef void (*logic_respond_fn)(void *argument, struct response *response);

struct logic;
struct outbound;

/* What the process as a whole can tell; given by main. Functions may be NULL. In a process that
 * has no engine, all up to `aliases` are NULL, and only routes that are `is_own` may be asked for. */
struct logic_environment {
    struct store *store;
    struct vims *vims;
    struct tasks *tasks;
    struct inventory *inventory;
    struct aliases *aliases;
    struct presence *presence; /* NULL: /v1/blocks knows of no process */
    struct events *events;
    const struct outbound *outbound; /* which addresses subscriptions may name; NULL: any */
    void *argument;
    /* JSON array of the loaded plugins, new reference. */
    json_t *(*plugins)(void *argument);
    /* 0 if the process is ready to serve; else RET_DETAIL (malloc'ed JSON object) says what is not. */
    int (*ready)(void *argument, char **ret_detail);
    /* Prometheus text, malloc'ed. */
    char *(*metrics)(void *argument);
    /* For peers: is the process about to end, and an array of the addresses of all logic processes that
     * live, new reference, or NULL if that is not known. */
    bool (*draining)(void *argument);
    json_t *(*replicas)(void *argument);
    int64_t body_max; /* bytes of a JSON body */
    int64_t upload_max; /* bytes of an upload */
    const char *server_url; /* for openapi */
};

int logic_new(const struct logic_environment *environment, struct logic **ret_logic);
void logic_free(struct logic *logic);

/* Before the body is read: how large it may be, whether it is spooled to a file, and whether the
 * route needs a principal. An unknown path allows no body. */
struct logic_route_info {
    bool is_public; /* /healthz, /readyz, /openapi.json */
    bool is_own; /* about the process that is asked: not for another one to answer */
    bool spool;
    bool is_keyed; /* heeds an Idempotency-Key: asked for twice with one, it is done once */
    int64_t body_max;
    const char *route; /* the template, for metrics: "/v1/servers/{id}" */
    const void *entry; /* what was found, for struct request; means nothing in another process */
};
void logic_route(struct logic *logic, const char *method, const char *path,
                 struct logic_route_info *ret_info);
bool logic_wants_header(const char *lower_case_name);

/* True if logic_handle() will answer before it returns, without waiting for anything slower than a
 * cheap store: it may then be called on a network thread. */
bool logic_is_inline(struct logic *logic, const struct request *request);

/* True if it may look into every row, or answer with a thousand: many times the work of another
 * request. */
bool logic_is_search(struct logic *logic, const struct request *request);

/* True if looks into the store are quick enough for a network thread. */
bool logic_is_cheap(struct logic *logic);

/* Answers REQUEST: calls RESPOND exactly once, now or later, on any thread. REQUEST must live until
 * then. */
void logic_handle(struct logic *logic, const struct request *request, logic_respond_fn respond,
                  void *argument);

/* The type of an answer that is the beginning of a stream of events: its header Last-Event-ID says behind
 * which event the stream goes on, by GET /v1/events (see events_routes.c). */
#define CONTENT_EVENTS "text/event-stream"

/* Ends the waits for tasks and events of requests that are unattended, or ALL and those to come as well:
 * they are answered soon, with things as they are. */
void logic_end_waits(struct logic *logic, bool all);

/* Who a bearer token belongs to: VIM_OK, VIM_E_CREDENTIAL (unknown, revoked or expired), or the
 * store's error. Takes the same time whether or not a token is nearly right. */
int logic_authenticate(struct logic *logic, const char *token, struct principal *ret_principal,
                       struct failure *failure);

/* Makes a problem document (RFC 9457) outside of a route: for the API block's own errors (401,
 * 413, 431, 429, 503 ...). The body is malloc'ed. */
void logic_problem(int status, const char *code, const char *detail, const char *instance,
                   bool retryable, uint32_t retry_after_ms, struct response *ret_response);

/* Access tokens: "vimd_" + token id + "_" + secret. The row (collection "token", id = token id)
 * holds the SHA-256 of the secret, never the secret. */
int token_create(struct store *store, const char *name, const char *project, enum role role,
                 int64_t expires, char ret_token[128], struct failure *failure);
int token_revoke(struct store *store, const char *token_id, struct failure *failure);
int role_by_name(const char *name, enum role *ret_role);
const char *role_name(enum role role);

#endif
