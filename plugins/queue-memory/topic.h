/*
 * topic.h - the entries of one topic. No locks and no clock in here: the caller has both.
 *
 *           push                    promote: due              take
 *   (none) ------> delayed (heap) ------------> ready (list) ------> delivered (heap by lease)
 *                     push, due now: straight to ready                  |            |
 *                                        ^------- lease ran out --------+            | done
 *                                                                                 (none)
 *
 * At most one entry of an id waits (delayed or ready), and at most one is delivered. If a waiting
 * entry is taken while one of the same id is out for delivery, the two become one delivered entry
 * that is out twice, and ends with the second done.
 */
#ifndef TOPIC_H
#define TOPIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A table that has no memory for an entry marks it instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(entry) ((entry)->refused = true)
#include <uthash.h>

#include "heap.h"

#define TOPIC_NAME_MAX 32
#define ENTRY_ID_MAX 200

enum entry_place { ENTRY_DELAYED, ENTRY_READY, ENTRY_DELIVERED };

struct entry {
    UT_hash_handle hh; /* in `waiting` or in `delivered` */
    struct entry *previous, *next; /* of the ready list */
    int64_t time; /* delayed: due; ready: since when; delivered: end of the lease */
    uint32_t heap_index;
    uint32_t deliveries; /* so far */
    uint32_t out; /* delivered: how many hold it */
    enum entry_place place;
    bool refused; /* by a hash table, for want of memory */
    char id[];
};

struct topic {
    struct topic *next; /* of the queue's topics */
    char name[TOPIC_NAME_MAX + 1];
    pthread_cond_t filled; /* something is ready, or is due earlier than was known */
    uint32_t pulling; /* threads that wait on `filled` */
    struct entry *waiting; /* by id */
    struct entry *delivered; /* by id */
    struct entry *ready_first, *ready_last;
    uint32_t ready_count;
    struct heap delayed;
    struct heap leases;
};

/* A copy of what was taken, for use without the lock. */
struct taken {
    uint32_t deliveries;
    char id[ENTRY_ID_MAX + 1];
};

struct topic *topic_new(const char *name);
void topic_free(struct topic *topic);

/* Entries in the topic, in whatever place. */
uint32_t topic_count(const struct topic *topic);

/* Moves what is due into the ready list, and what has outlived its lease back there. */
void topic_promote(struct topic *topic, int64_t now);

/* Does an entry with ID wait? */
bool topic_waits(const struct topic *topic, const char *id);

/* Adds an entry due at DUE, or makes the one that waits due then if that is earlier. Returns 0, or
 * -1 when out of memory. */
int topic_push(struct topic *topic, const char *id, int64_t due, int64_t now);

/* Takes the entry that is ready for longest, until LEASE_END. False if none is ready. Promote
 * first. */
bool topic_take(struct topic *topic, int64_t lease_end, struct taken *ret_taken);

/* Puts a taken entry back, as if it had not been taken. */
void topic_untake(struct topic *topic, const char *id, int64_t now);

/* Extends a lease. False if the entry is not out for delivery. */
bool topic_renew(struct topic *topic, const char *id, int64_t lease_end);

/* Ends one delivery. */
void topic_done(struct topic *topic, const char *id);

/* When something becomes ready by itself; INT64_MAX for never. */
int64_t topic_next(const struct topic *topic);

#endif
