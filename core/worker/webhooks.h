/*
 * worker/webhooks.h - events sent to those who subscribed: CloudEvents over HTTP POST, signed.
 *
 * One process at a time delivers, whoever holds the lease row; one thread does it, with as many requests side
 * by side as subscriptions have something to be sent, one per subscription: so what one receiver does harms no
 * other, and each gets its events in order. An event is sent until it is taken, or given up as a dead letter
 * after `max_attempts`; then the next one has its turn, without the pause being forgotten, so that a receiver
 * that is away is not flooded. How far a subscription has come is committed now and then: after a crash some are
 * sent again (at least once). The commits expect the revision that was read, so of two that deliver, because
 * one was held up for longer than its lease, one finds out.
 */
#ifndef VIMD_WORKER_WEBHOOKS_H
#define VIMD_WORKER_WEBHOOKS_H

#include <stdint.h>
#include "model/store.h"

struct outbound;
struct presence;
struct webhooks;

struct webhooks_settings {
    const struct outbound *rules; /* outlives */
    const char *source; /* of the CloudEvents; texts are copied */
    const char *ca_file;
    int64_t connect_timeout_ms, timeout_ms;
    int64_t backoff_base_ms, backoff_cap_ms;
    uint32_t max_attempts; /* of one event */
    uint32_t concurrency; /* requests side by side */
    int64_t retention_ms; /* of dead letters; 0: for ever */
    struct presence
        *presence; /* of the processes that share the store; NULL: there are no others */
};

struct webhooks *webhooks_new(struct store *store, const struct webhooks_settings *settings);
int webhooks_start(struct webhooks *webhooks, struct failure *failure);
/* Requests in progress are broken off; they are made again. */
void webhooks_stop(struct webhooks *webhooks);
void webhooks_free(struct webhooks *webhooks); /* NULL is fine */

#endif
