/*
 * base/http_client.h - requests to addresses that somebody else has named. The one file with libcurl, which
 * is opened when the first client is made: a process that makes none needs none.
 *
 * One thread uses a client; requests go on side by side. Nothing is followed (redirects), nothing is taken
 * from the environment (proxies, netrc), certificates are checked, and where a connection goes is asked of
 * the owner when the address is known and the socket is about to be made: there is no moment between the
 * look at a name's address and its use.
 */
#ifndef BASE_HTTP_CLIENT_H
#define BASE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct http_client;

struct http_client_settings {
    int64_t connect_timeout_ms, timeout_ms; /* of one request */
    const char *ca_file; /* instead of the system's; NULL: those */
    const char *user_agent;
    /* May a connection be made to ADDRESS? On the client's thread. */
    bool (*allowed)(void *argument, const struct sockaddr *address);
    void *argument;
};

/* VIM_E_UNSUPPORTED, RET_WHY says what (static or malloc'ed text of the loader): libcurl cannot be used. */
int http_client_new(const struct http_client_settings *settings, struct http_client **ret_client,
                    char ret_why[256]);
/* Requests in progress are broken off, and not completed. NULL is fine. */
void http_client_free(struct http_client *client);

/* A POST. Texts live until it is completed. */
struct http_client_request {
    const char *url; /* http or https */
    const char *const *headers; /* "Name: value", NULL at the end */
    const char *body;
    size_t body_length;
    void *argument; /* for COMPLETE */
};

/* What came of it. STATUS 0: there was no answer, and ERROR says why. */
typedef void (*http_client_fn)(void *argument, int status, const char *error);

/* Starts a request. VIM_E_UNAVAILABLE: it cannot even be started, and COMPLETE is not called. */
int http_client_post(struct http_client *client, const struct http_client_request *request,
                     http_client_fn complete);

/* What came of a GET: the answer's BODY lives for the call; NULL where there was no answer, or more than was
 * wanted (then ERROR says so, with the status). */
typedef void (*http_client_get_fn)(void *argument, int status, const char *error, const char *body,
                                   size_t length);

/* A GET of REQUEST's url, with its headers. More than ANSWER_MAX bytes break it off. Errors as above. */
int http_client_get(struct http_client *client, const struct http_client_request *request,
                    size_t answer_max, http_client_get_fn complete);

/* Does what is to be done, and waits up to TIMEOUT_MS for more; completes what has ended. */
void http_client_work(struct http_client *client, int timeout_ms);
/* Ends the wait of http_client_work(). Any thread. */
void http_client_wake(struct http_client *client);

#endif
