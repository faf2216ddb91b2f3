/*
 * Lock order: the one lock of all look-ups is a leaf.
 */
#include "api/lookups.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/memory.h"

/* Of one token at once. More than one, since a logic process may be slow that others are beside. */
#define AT_ONCE 4

#define LISTS 64

/* One who waits to be told. */
struct wait {
    link_principal_fn told;
    void *argument;
    struct wait *next;
};

/* The look-ups of one token that are under way. Freed by the one that ends last. */
struct lookup {
    struct lookups *lookups;
    uint8_t digest[DIGEST_SIZE];
    unsigned under_way;
    bool over; /* all were told; in no list any more */
    struct wait *waits;
    struct lookup *next;
};

struct lookups {
    atomic_uint references; /* the owner's, and one of each struct lookup */
    pthread_mutex_t mutex; /* guards what follows */
    struct lookup *lists[LISTS];
};

struct lookups *lookups_new(void)
{
    struct lookups *lookups = MEMORY_NEW(struct lookups);
    atomic_init(&lookups->references, 1);
    pthread_mutex_init(&lookups->mutex, NULL);
    return lookups;
}

void lookups_drop(struct lookups *lookups)
{
    if (lookups && atomic_fetch_sub(&lookups->references, 1) == 1) {
        pthread_mutex_destroy(&lookups->mutex);
        free(lookups);
    }
}

static struct lookup **lookup_list(struct lookups *lookups, const uint8_t *digest)
{
    return &lookups->lists[digest[0] % LISTS];
}

/* The one of DIGEST, made if there is none. Called with the lock held. */
static struct lookup *lookup_of(struct lookups *lookups, const uint8_t *digest)
{
    struct lookup **list = lookup_list(lookups, digest);
    for (struct lookup *one = *list; one; one = one->next) {
        if (digest_equal(one->digest, digest, DIGEST_SIZE)) {
            return one;
        }
    }
    struct lookup *lookup = MEMORY_NEW(struct lookup);
    lookup->lookups = lookups;
    memcpy(lookup->digest, digest, DIGEST_SIZE);
    lookup->next = *list;
    *list = lookup;
    atomic_fetch_add(&lookups->references, 1);
    return lookup;
}

/* Nobody waits for it any more. Called with the lock held. */
static void lookup_end(struct lookup *lookup)
{
    struct lookup **at = lookup_list(lookup->lookups, lookup->digest);
    while (*at != lookup) {
        at = &(*at)->next;
    }
    *at = lookup->next;
    lookup->over = true;
}

/* One look-up has ended. */
static void lookup_told(void *argument, int code, const struct principal *principal,
                        const struct failure *failure)
{
    struct lookup *lookup = argument;
    struct lookups *lookups = lookup->lookups;
    struct wait *waits = NULL;
    pthread_mutex_lock(&lookups->mutex);
    bool is_last = --lookup->under_way == 0;
    if (!lookup->over && (is_last || code == VIM_OK || code == VIM_E_CREDENTIAL)) {
        waits = TAKE(lookup->waits);
        lookup_end(lookup);
    }
    pthread_mutex_unlock(&lookups->mutex);
    while (waits) {
        struct wait *next = waits->next;
        waits->told(waits->argument, code, principal, failure);
        free(waits);
        waits = next;
    }
    if (is_last) {
        free(lookup);
        lookups_drop(lookups);
    }
}

void lookups_ask(struct lookups *lookups, struct link *link, const char *token,
                 const uint8_t digest[DIGEST_SIZE], link_principal_fn told, void *argument)
{
    struct wait *wait = MEMORY_NEW(struct wait);
    *wait = (struct wait){.told = told, .argument = argument};
    pthread_mutex_lock(&lookups->mutex);
    struct lookup *lookup = lookup_of(lookups, digest);
    wait->next = lookup->waits;
    lookup->waits = wait;
    bool asks = lookup->under_way < AT_ONCE;
    lookup->under_way += asks;
    pthread_mutex_unlock(&lookups->mutex);
    if (asks) {
        link_authenticate(link, token, lookup_told, lookup);
    }
}
