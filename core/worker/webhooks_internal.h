/*
 * worker/webhooks_internal.h - what the files of webhooks share.
 *
 *   webhooks.c        the thread: who subscribes, the lease, what is due, how far each has come
 *   webhooks_send.c   one request: what is in it, what comes of it; dead letters
 */
#ifndef VIMD_WORKER_WEBHOOKS_INTERNAL_H
#define VIMD_WORKER_WEBHOOKS_INTERNAL_H

#include <pthread.h>
#include <uthash.h>
#include "base/digest.h"
#include "base/http_client.h"
#include "model/subscription.h"
#include "worker/webhooks.h"

/* A subscription. Of the thread alone. */
struct subscriber {
    char id[ID_SIZE];
    struct subscription subscription;
    struct delivery delivery;
    bool loaded; /* the delivery */
    bool dirty; /* the delivery has changed since it was committed */
    bool sending;
    uint32_t pass; /* of the refresh that found it */
    int64_t next; /* clock_mono_ms(): nothing is sent before */
    UT_hash_handle hh;
};

/* A request under way. Freed when it is completed, or when all ends. */
struct sending {
    struct webhooks *webhooks;
    struct sending *previous, *next;
    char subscription[ID_SIZE], project[64];
    char letter[ID_SIZE]; /* a dead letter that is sent again; "": an event that has its turn */
    uint64_t letter_revision, number;
    uint32_t attempts; /* so far, of the letter */
    bool suspect; /* its receiver has failed before */
    char *event, *payload, *url;
    char signature[32 + SUBSCRIPTION_SECRETS * (DIGEST_HEX_SIZE + 4)];
    char subscription_header[ID_SIZE + 32];
    const char *headers[6];
};

struct webhooks {
    struct store *store;
    struct webhooks_settings settings;
    char *source, *ca_file;
    struct http_client *client;
    bool unusable; /* libcurl cannot be used; told once */

    pthread_mutex_t mutex; /* of `stop`, and of the client's making; a leaf */
    pthread_cond_t cond;
    pthread_t thread;
    bool running, stop;

    /* The thread's own. */
    struct subscriber *subscribers;
    struct sending *sendings;
    uint32_t in_flight, pass;
    uint32_t suspects; /* of those in flight */
    char turn[ID_SIZE]; /* whose turn it is: all get theirs, however many there are */
    uint64_t head;
    uint64_t lease_revision;
    int64_t lease_until; /* clock_mono_ms() */
};

/* --- webhooks_send.c ----------------------------------------------------------------------------- */

/* May a request to the subscriber begin? Those whose receivers fail have half of all requests at most, so that
 * receivers that hang, however many, leave the rest to those that do not. */
bool webhooks_have_room(const struct webhooks *webhooks, const struct subscriber *subscriber);
/* Starts to send EVENT (NUMBER, its body), or a dead letter of it. */
void webhooks_send(struct webhooks *webhooks, struct subscriber *subscriber, uint64_t number,
                   const char *event);
void webhooks_resend(struct webhooks *webhooks, const struct row *letter);
void webhooks_forget_sendings(struct webhooks *webhooks);
/* Writes how far the subscriber has come. */
int webhooks_save(struct webhooks *webhooks, struct subscriber *subscriber,
                  const struct vim_write *more);

#endif
