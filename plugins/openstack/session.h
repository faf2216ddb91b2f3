/*
 * session.h - one instance of the driver, one call on it, and a request of that call.
 *
 * A request goes to a service of the catalog with a token, is repeated once with a new token when
 * the old one is refused, and its facts (request id, status) are noted on the step.
 */
#ifndef OPENSTACK_SESSION_H
#define OPENSTACK_SESSION_H

#include "catalog.h"
#include "error.h"
#include "http.h"
#include "resource.h"

#include <pthread.h>
#include <vim/driver.h>
#include <vim/plugin.h>
#include <vim/sdk.h>

/* Filled through the option table, options.c. */
struct os_config {
    const char *auth_url;
    const char *auth_type;
    const char *username;
    const char *password;
    const char *user_domain;
    const char *project;
    const char *project_domain;
    const char *domain;
    const char *application_credential_id;
    const char *application_credential_name;
    const char *application_credential_secret;
    const char *region;
    const char *interface;
    const char *compute_endpoint;
    const char *network_endpoint;
    const char *image_endpoint;
    const char *volume_endpoint;
    const char *ca_file;
    const char *proxy;
    int32_t verify_tls;
    int32_t all_projects;
    int64_t connect_timeout;
    int64_t timeout;
    int64_t connections;
    int64_t page_size;
    int64_t changes_overlap;
    int64_t settle_time;
    int64_t max_answer;
};

/* A token with the catalog that came with it. Shared by the calls that use it; freed with the last
 * reference. `refs` and the times are guarded by the instance's lock, the rest does not change. */
struct os_token {
    unsigned refs;
    int64_t renew_ms; /* from then on one thread gets a new one; monotonic clock */
    int64_t expire_ms; /* from then on nobody uses it; monotonic clock */
    struct os_catalog catalog;
    char text[2048];
};

/* One instance. `lock` guards what stands below it; keystone.c and
 * nova.c take it. */
struct openstack {
    uint32_t magic;
    const struct os_config *config;
    const struct vim_host *host;
    struct vim_self *self;
    char identity[512]; /* the base URL of Keystone */
    struct http_pool *pools[OS_SERVICES];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct os_token *token; /* or NULL */
    int renewing; /* a thread is getting a new token */
    int64_t refused_until; /* credentials were refused: no new try before; monotonic clock */
    struct os_error refusal; /* what was said then */
    int negotiating; /* a thread is asking Nova for its microversions */
    int lowest, highest; /* microversions; 0 while unknown */
    char negotiated[512]; /* the endpoint for which they hold */
};
#define OS_MAGIC 0x6f737461u

/* One call of the host. */
struct os_call {
    struct openstack *os;
    struct vim_call *call;
    const char *request_id; /* of the step; NULL if it is no step */
    struct os_error error; /* what went wrong last */
};

struct os_request {
    enum os_service service;
    const char *method;
    const char *path; /* from the service's base on, with its query */
    const char *microversion; /* Nova: "2.46"; else NULL */
    const char *body; /* JSON or NULL */
    const char *content_type; /* NULL: application/json */
    int64_t stream_size; /* >= 0 with STREAM */
    int stream; /* the body is what host->read() gives */
};

/* Milliseconds of the monotonic clock. */
int64_t os_now(void);

/* Makes a request. VIM_OK: the answer has a status below 400. Else the code of the refusal or of
 * the transport, with C->error filled. */
int os_request(struct os_call *c, const struct os_request *request, struct http_reply *reply);

/* The usual requests: PATH is a format. BODY is dumped, and its reference taken over; NULL stands
 * for memory that was short. */
int os_get(struct os_call *c, enum os_service service, const char *microversion,
           struct http_reply *reply, const char *path, ...) __attribute__((format(printf, 5, 6)));
int os_send(struct os_call *c, enum os_service service, const char *microversion,
            const char *method, json_t *body, struct http_reply *reply, const char *path, ...)
    __attribute__((format(printf, 7, 8)));
int os_delete(struct os_call *c, enum os_service service, const char *microversion,
              const char *path, ...) __attribute__((format(printf, 4, 5)));

/* Sets C->error to CODE and a text of our own. Returns CODE. */
int os_fail(struct os_call *c, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Tells the host what the step is doing. */
void os_step_note(struct os_call *c, const char *what);

/* Emits what was found. Returns VIM_OK, or 1 when no more are wanted. */
int os_emit(struct os_call *c, const struct os_found *found);

/* Reads the answer to a request for one resource of KIND. A write whose answer cannot be read has
 * an unknown outcome. */
int os_read_answer(struct os_call *c, const struct os_kind *kind, const struct http_reply *reply,
                   int write, struct os_found *ret_found);

/* GETs one resource. VIM_E_NOT_FOUND also for what is listed as gone. */
int os_fetch(struct os_call *c, const struct os_kind *kind, const char *id,
             struct os_found *ret_found);

/* os_fetch() and os_emit(). */
int os_fetch_emit(struct os_call *c, const struct os_kind *kind, const char *id);

/* True if ID can stand in a path as it is; all ids of OpenStack can, but names cannot. */
int os_id_is_plain(const char *id);

/* --- keystone.c */

/* A token to use, with a reference for the caller. Gets a first one, waiting for the thread that
 * does; near its end one thread renews it and the others go on with it. */
int keystone_token(struct os_call *c, struct os_token **ret_token);
void keystone_release(struct openstack *os, struct os_token *token);

/* A service has refused the token: it is not used again. */
void keystone_reject(struct openstack *os, const struct os_token *token);

/* --- nova.c */

/* Checks that Nova at BASE has the microversion, asking it once per endpoint. */
int nova_negotiate(struct os_call *c, const char *base, const struct os_token *token,
                   const char *microversion);

#endif
