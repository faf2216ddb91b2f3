/*
 * http.h - requests over kept-alive connections. The only file of the plugin that calls libcurl.
 *
 * A pool belongs to one endpoint. It holds up to a fixed number of connections; a request takes
 * one, waits for one if all are busy, and gives it back. All functions may be called from any
 * thread, except that a pool is freed when nobody uses it.
 *
 * What is repeated here: a request that is safe to repeat (GET, PUT, DELETE), once, when a
 * kept-alive connection turns out to be dead before a byte of the answer came. A POST never is, and
 * neither is an upload: the caller learns VIM_E_LOST and finds out.
 */
#ifndef OPENSTACK_HTTP_H
#define OPENSTACK_HTTP_H

#include <stddef.h>
#include <stdint.h>

struct http_pool;

struct http_settings {
    const char *ca_file; /* NULL: the system's */
    const char *proxy; /* NULL: none, whatever the environment says */
    int verify;
    unsigned connections;
    int64_t connect_timeout_ms;
    int64_t timeout_ms;
    size_t max_answer; /* bytes of a body */
};

struct http_request {
    const char *method;
    const char *url;
    const char *headers[8]; /* "Name: value"; the rest NULL */
    const char *body; /* or NULL */
    int64_t stream_size; /* bytes that READ gives as the body, if READ is not NULL */
    int64_t (*read)(void *context, uint64_t offset, void *buffer, size_t size);
    int64_t (*left_ms)(void *context); /* 0: give up */
    void *context;
};

/* Start it zeroed; ends with http_reply_clear(). */
struct http_reply {
    long status;
    char *body; /* NUL-terminated; NULL if empty */
    size_t length;
    char request_id[96];
    char token[2048]; /* X-Subject-Token */
    int has_retry_after;
    uint32_t retry_after_ms;
    int64_t date_ms; /* the far side's clock, or 0 */
    int read_error; /* what READ returned when it failed, or 0 */
    char problem[256]; /* why there is no answer */
};

/* Once per process, before anything else. */
void http_start(void);

/* A copy of what SETTINGS points to is not made: texts live as long as the pool. NULL when memory
 * is short. */
struct http_pool *http_pool_new(const struct http_settings *settings);
void http_pool_free(struct http_pool *pool);

/* Makes one request. VIM_OK: an answer with any status. VIM_E_UNAVAILABLE: nothing was sent.
 * VIM_E_TIMEOUT, VIM_E_LOST: it was, and what became of it is unknown. VIM_E_INTERNAL: memory.
 * The problem is told in the reply. */
int http_perform(struct http_pool *pool, const struct http_request *request,
                 struct http_reply *reply);

void http_reply_clear(struct http_reply *reply);
#define HTTP_REPLY __attribute__((cleanup(http_reply_clear))) struct http_reply

#endif
