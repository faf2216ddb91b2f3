/*
 * Locks: one mutex per set, a leaf.
 */
#include "api/buckets.h"

#include <pthread.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/memory.h"

#define SETS 512
#define WAYS 8

struct bucket {
    uint64_t key; /* 0: free */
    double level;
    int64_t stamp;
};

struct bucket_set {
    pthread_mutex_t mutex;
    struct bucket ways[WAYS];
};

struct buckets {
    uint64_t seed;
    struct bucket_set sets[SETS];
};

struct buckets *buckets_new(void)
{
    struct buckets *buckets = MEMORY_NEW(struct buckets);
    digest_random(&buckets->seed, sizeof buckets->seed);
    for (size_t i = 0; i < SETS; i++) {
        pthread_mutex_init(&buckets->sets[i].mutex, NULL);
    }
    return buckets;
}

void buckets_free(struct buckets *buckets)
{
    if (!buckets) {
        return;
    }
    for (size_t i = 0; i < SETS; i++) {
        pthread_mutex_destroy(&buckets->sets[i].mutex);
    }
    free(buckets);
}

static uint64_t buckets_hash(uint64_t seed, const void *key, size_t size)
{
    const unsigned char *bytes = key;
    uint64_t hash = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    hash *= 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

/* The bucket of KEY in SET, or the one used longest ago made into it. */
static struct bucket *bucket_find(struct bucket_set *set, uint64_t key, double burst, int64_t now)
{
    struct bucket *oldest = &set->ways[0];
    for (size_t i = 0; i < WAYS; i++) {
        struct bucket *bucket = &set->ways[i];
        if (bucket->key == key) {
            return bucket;
        }
        if (bucket->key == 0 || (oldest->key != 0 && bucket->stamp < oldest->stamp)) {
            oldest = bucket;
        }
    }
    *oldest = (struct bucket){.key = key, .level = burst, .stamp = now};
    return oldest;
}

uint32_t buckets_take(struct buckets *buckets, const void *key, size_t size, double rate,
                      double burst, double cost, int64_t now_ms)
{
    uint64_t hash = buckets_hash(buckets->seed, key, size);
    struct bucket_set *set = &buckets->sets[hash % SETS];
    LOCK_GUARD(&set->mutex);
    struct bucket *bucket = bucket_find(set, hash, burst, now_ms);
    if (now_ms > bucket->stamp) {
        bucket->level += rate * (double)(now_ms - bucket->stamp) / 1000.0;
        bucket->stamp = now_ms;
    }
    if (bucket->level > burst) {
        bucket->level = burst;
    }
    double needed = cost > 0 ? cost : 1;
    if (bucket->level < needed) {
        double wait = (needed - bucket->level) / rate * 1000.0;
        return wait < 1 ? 1 : wait > 3600000.0 ? 3600000u : (uint32_t)wait + 1;
    }
    bucket->level -= cost;
    return 0;
}
