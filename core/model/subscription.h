/*
 * model/subscription.h - who wants events sent to them, how far that has come, and what could not be sent.
 *
 *   subscription   id UUIDv7   parent project        what was asked for; its secrets are in here, and are never shown
 *   delivery       the same    the same              how far: written by whoever delivers, so that a change of the one
 *                                                    is none of the other
 *   dead-letter    id UUIDv7   the same   state 1:   an event that was given up; due: when it is forgotten
 *                                         send again
 */
#ifndef VIMD_MODEL_SUBSCRIPTION_H
#define VIMD_MODEL_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "model/event.h"
#include "model/kinds.h"
#include "model/store.h"

#define COLLECTION_SUBSCRIPTION "subscription"
#define COLLECTION_DELIVERY "delivery"
#define COLLECTION_DEAD_LETTER "dead-letter"
/* Parent of the dead letters of subscriptions to all projects: no project has this name, so nobody sees them
 * but who sees all. */
#define PARENT_ALL_PROJECTS "~"

#define SUBSCRIPTION_SECRETS 2
#define SUBSCRIPTION_SECRET_MIN 16
#define SUBSCRIPTION_SECRET_MAX 128

enum dead_letter_state { DEAD_LETTER_KEPT = 0, DEAD_LETTER_RESEND = 1 };

struct subscription {
    char id[ID_SIZE];
    char *project, *name, *url;
    bool all_projects; /* an operator's: of every project */
    bool enabled;
    char *secrets[SUBSCRIPTION_SECRETS]; /* at least one; the first is the newest */
    struct event_filter filter;
    uint64_t revision;
};
void subscription_free(struct subscription *subscription); /* frees what it holds and clears it */
int subscription_parse(const struct row *row, struct subscription *ret_subscription,
                       struct failure *failure);
bool subscription_wants(const struct subscription *subscription, const struct event_facts *facts);

/* Checks what was asked for, of a create (all that is required is there) or an update. The address is
 * not looked at. */
void subscription_check(const json_t *wish, bool create, struct findings *findings);

/* How far a subscription's delivery has come. */
struct delivery {
    uint64_t cursor; /* all up to this event was delivered, given up, or is not wanted */
    uint32_t failures; /* in a row */
    uint32_t attempts; /* of the event behind the cursor */
    int64_t succeeded, failed; /* ms since 1970 */
    char error[256]; /* the last one */
    uint64_t dead; /* events given up so far */
    uint64_t revision; /* of the row; 0: there is none yet */
};
void delivery_parse(const struct row *row, struct delivery *ret_delivery);
char *delivery_render(const struct delivery *delivery);

#endif
