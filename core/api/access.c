/*
 * Locks: one read-write lock per set of the cache, a leaf.
 */
#include "api/access.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "api/buckets.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/memory.h"

#define SETS 256
#define WAYS 4

/* Bad guesses that an address may make at once, and per second afterwards. */
#define GUESSES_BURST 20.0
#define GUESSES_RATE 1.0

/* A principal that was learnt longer ago is asked for again, by one request; by another when that takes long. */
#define RENEW_AFTER_MS (ACCESS_TTL_MS / 2)
#define RENEW_AGAIN_MS (ACCESS_TTL_MS / 5)

struct access_entry {
    uint8_t digest[DIGEST_SIZE];
    int64_t until; /* monotonic ms; 0: free */
    atomic_int_fast64_t renew_at; /* set by readers, too */
    struct principal principal;
};

struct access_set {
    pthread_rwlock_t lock;
    struct access_entry ways[WAYS];
};

struct access {
    struct buckets *guesses;
    struct access_set sets[SETS];
};

struct access *access_new(void)
{
    struct access *access = MEMORY_NEW(struct access);
    access->guesses = buckets_new();
    for (size_t i = 0; i < SETS; i++) {
        pthread_rwlock_init(&access->sets[i].lock, NULL);
    }
    return access;
}

void access_free(struct access *access)
{
    if (!access) {
        return;
    }
    for (size_t i = 0; i < SETS; i++) {
        pthread_rwlock_destroy(&access->sets[i].lock);
    }
    buckets_free(access->guesses);
    free(access);
}

/* *RET_DUE, which may be NULL: the caller is the one to ask for it again. */
static bool access_find(struct access_set *set, const uint8_t *digest, int64_t now_ms,
                        struct principal *ret_principal, bool *ret_due)
{
    bool found = false;
    pthread_rwlock_rdlock(&set->lock);
    for (size_t i = 0; i < WAYS && !found; i++) {
        struct access_entry *entry = &set->ways[i];
        if (entry->until > now_ms && digest_equal(entry->digest, digest, DIGEST_SIZE)) {
            int_fast64_t at = atomic_load(&entry->renew_at);
            *ret_principal = entry->principal;
            found = true;
            if (ret_due) {
                *ret_due = at <= now_ms && atomic_compare_exchange_strong(&entry->renew_at, &at,
                                                                          now_ms + RENEW_AGAIN_MS);
            }
        }
    }
    pthread_rwlock_unlock(&set->lock);
    return found && (ret_principal->expires == 0 || ret_principal->expires > clock_now_ms());
}

static void access_remember(struct access_set *set, const uint8_t *digest, int64_t now_ms,
                            const struct principal *principal)
{
    pthread_rwlock_wrlock(&set->lock);
    struct access_entry *place = &set->ways[0];
    for (size_t i = 0; i < WAYS; i++) {
        struct access_entry *entry = &set->ways[i];
        if (entry->until && memcmp(entry->digest, digest, DIGEST_SIZE) == 0) {
            place = entry;
            break;
        }
        if (entry->until < place->until) {
            place = entry;
        }
    }
    memcpy(place->digest, digest, DIGEST_SIZE);
    place->until = now_ms + ACCESS_TTL_MS;
    atomic_store(&place->renew_at, now_ms + RENEW_AFTER_MS);
    place->principal = *principal;
    pthread_rwlock_unlock(&set->lock);
}

static struct access_set *access_set_of(struct access *access, const struct access_key *key)
{
    return &access->sets[key->digest[0] % SETS];
}

static void access_forget(struct access_set *set, const uint8_t *digest)
{
    pthread_rwlock_wrlock(&set->lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (digest_equal(set->ways[i].digest, digest, DIGEST_SIZE)) {
            set->ways[i].until = 0;
        }
    }
    pthread_rwlock_unlock(&set->lock);
}

int access_principal(struct access *access, const char *token, const uint8_t address[16],
                     int64_t now_ms, struct access_key *ret_key, struct principal *ret_principal,
                     uint32_t *ret_wait_ms)
{
    digest_sha256(token, strlen(token), ret_key->digest);
    memcpy(ret_key->address, address, sizeof ret_key->address);
    bool is_due = false;
    bool found = access_find(access_set_of(access, ret_key), ret_key->digest, now_ms, ret_principal,
                             &is_due);
    if (found && !is_due) {
        return VIM_OK;
    }
    uint32_t wait =
        buckets_take(access->guesses, address, 16, GUESSES_RATE, GUESSES_BURST, 0, now_ms);
    if (wait && found) {
        return VIM_OK;
    }
    if (wait) {
        *ret_wait_ms = wait;
        return VIM_E_BUSY;
    }
    return VIM_AGAIN;
}

bool access_recall(struct access *access, const struct access_key *key, int64_t now_ms,
                   struct principal *ret_principal)
{
    return access_find(access_set_of(access, key), key->digest, now_ms, ret_principal, NULL);
}

void access_learn(struct access *access, const struct access_key *key, int code,
                  const struct principal *principal, int64_t now_ms)
{
    if (code == VIM_OK) {
        access_remember(access_set_of(access, key), key->digest, now_ms, principal);
    } else if (code == VIM_E_CREDENTIAL) {
        access_forget(access_set_of(access, key), key->digest);
        buckets_take(access->guesses, key->address, 16, GUESSES_RATE, GUESSES_BURST, 1, now_ms);
    }
}
