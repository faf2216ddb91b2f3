/*
 * engine/inventory_internal.h - what the files of the inventory share.
 *
 *   inventory.c   the object, its thread, when which round is due
 *   round.c       one round: the driver's list, what changed, what is gone
 *   update.c      items as changed rows
 *   cache.c       what is known per backend id, so that unchanged items cost a hash
 *   merge.c       an item into a resource
 *   poll_lease.c  which process polls
 *   poll_want.c   what the others want of it
 */
#ifndef VIMD_ENGINE_INVENTORY_INTERNAL_H
#define VIMD_ENGINE_INVENTORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>
#include "base/ids.h"
#include "engine/inventory.h"
#include "engine/vims_internal.h"

/* --- cache.c: what is known of one backend id ---------------------------------------------------- */

struct entry {
    char id[ID_SIZE]; /* vimd's; "": not known */
    bool pending;
    bool deleted; /* a delete task of this process has ended; kept until a later look agrees */
    bool skipped; /* a task works on it: the row was left to the task */
    bool unresolved; /* refers to things that nobody here knows (yet) */
    uint32_t generation; /* of aliases, when it was merged */
    uint64_t revision; /* of the row, when it was read or written here last; 0: not known */
    uint32_t doubts; /* looks that were not believed, one after the other */
    uint32_t load; /* the last one that found its row */
    uint64_t hash; /* of the item as it is in the row; 0: not known */
    int64_t added; /* clock_mono_ms(); 0: from the store */
    int64_t touched; /* a step of this process ended; looks begun before are not believed */
    int64_t emitted; /* when a list showed it last */
    uint32_t pass; /* the number of that pass */
    uint64_t shown; /* as which item of that list */
    UT_hash_handle hh;
    char backend_id[];
};

/* All under the mutex of the poll they belong to. */
struct cache {
    struct entry *entries;
};
struct entry *cache_find(struct cache *cache, const char *backend_id);
struct entry *cache_make(struct cache *cache, const char *backend_id); /* finds, or adds */
void cache_remove(struct cache *cache, struct entry *entry);
void cache_clear(struct cache *cache);
bool cache_has_pending(const struct cache *cache);
uint64_t item_hash(const struct vim_item *item);

/* --- inventory.c --------------------------------------------------------------------------------- */

/* What a process wants of the one that polls: a round soon, and that one complete. */
enum want { WANT_SOON = 1u << 0, WANT_FULL = 1u << 1 };

/* One (VIM, kind). Made by a refresh, removed by another one when no round is in progress. */
struct poll {
    struct inventory *inventory;
    char *vim, *kind;
    struct poll *next;

    /* Under inventory->mutex. */
    struct vim_call *call; /* the list in progress */
    bool running, wanted; /* wanted: the VIM and the kind are still there */
    bool hinted;
    uint32_t wants; /* enum want: what was asked for here and not told to whoever polls */
    int64_t due, last_end; /* clock_mono_ms() */
    int64_t pending_ms; /* interval while something is pending */
    int64_t last_pass; /* ms since 1970 */
    bool tried; /* had a round, or another process has them */
    uint32_t failures;
    bool told; /* that a round cannot begin: once until one does */

    /* Of the round in progress, or of the inventory's thread while there is none. */
    bool loaded;
    int64_t loaded_at; /* clock_mono_ms() */
    uint32_t load; /* so many times */
    int64_t last_full; /* clock_mono_ms(); 0: never */
    uint32_t pass;
    char *cursor;
    int64_t lease_until; /* clock_mono_ms() */
    uint64_t lease_revision;
    char *holder; /* another process that had the lease when its row was read; NULL: none had */
    int64_t held_until; /* clock_mono_ms(): not read again before, while the holder lives */
    uint64_t want_seen[2]; /* revisions of the rows in which others want something */

    pthread_mutex_t mutex; /* the cache; a leaf */
    struct cache cache;
    bool need_full; /* something may have been missed by asking for changes */
};

struct inventory {
    uint32_t magic;
    struct store *store;
    struct vims *vims;
    struct tasks *tasks;
    struct aliases *aliases;
    atomic_uint generation; /* of aliases: counts those that steps have written */
    atomic_bool stopping;

    pthread_mutex_t mutex; /* before poll->mutex; not held over calls */
    pthread_cond_t cond;
    struct poll *polls;
    uint32_t running; /* rounds */
    pthread_t thread;
    bool started, stop;
};

/* The poll of a (VIM, kind), or NULL. Polls are freed by a refresh only while nobody can hold one:
 * under inventory->mutex, which the caller holds. */
struct poll *inventory_find(struct inventory *inventory, const char *vim, const char *kind);

/* --- round.c ------------------------------------------------------------------------------------- */

/* Starts a round on the VIM's lane; round_ended() is called when it is through, perhaps at once. */
void round_start(struct poll *poll, struct vim_target *target);

/* inventory.c: a round has ended with CODE. PASS: when it began, in ms since 1970, if it was complete; else 0. Releases
 * TARGET. */
void round_ended(struct poll *poll, struct vim_target *target, int code, int64_t pass);

/* --- update.c ------------------------------------------------------------------------------------ */

#define BATCH_MAX 200u

/* Items whose rows may have to change. */
struct batch {
    struct poll *poll;
    struct vim_target *target;
    int64_t looked; /* clock_mono_ms(): when the round began */
    struct vim_item items[BATCH_MAX];
    uint32_t count;
    bool again; /* an item was not believed: a later look has to show it once more */
    uint64_t changes; /* rows written, all together */
};
/* Writes what has changed, and empties the batch. */
int batch_flush(struct batch *batch, struct failure *failure);

/* Deletes the rows of things that are gone, unless a task works on them. */
struct gone {
    char *backend_id;
    char id[ID_SIZE];
    uint64_t at; /* after which item of the list this was known */
};
int update_gone(struct poll *poll, const struct gone *gone, size_t count, uint64_t *changes,
                struct failure *failure);

/* Compares the cache with the rows, and fills it. ANEW: what was known of rows means nothing any more. */
int update_load(struct poll *poll, bool anew, struct failure *failure);

/* --- merge.c ------------------------------------------------------------------------------------- */

/* inventory_merge(); RET_UNRESOLVED: something it refers to is not known here. */
int merge_item(struct inventory *inventory, const char *vim, const char *kind,
               const struct vim_item *item, struct resource *resource, bool *ret_unresolved,
               struct failure *failure);

/* --- poll_lease.c -------------------------------------------------------------------------------- */

/* May this process poll? VIM_OK; VIM_E_BUSY: another one does, until RET_WAIT_MS from now. RET_TAKEN:
 * it was not ours before. */
int poll_lease_take(struct poll *poll, bool *ret_taken, int64_t *ret_wait_ms,
                    struct failure *failure);
void poll_lease_release(struct poll *poll);
/* Is it this process that polls now? */
bool poll_lease_is_ours(const struct poll *poll);

/* --- poll_want.c: on the inventory's thread ------------------------------------------------------- */

/* Tells whoever polls that WANTS (enum want) are wanted here. */
int poll_want_tell(struct poll *poll, uint32_t wants, struct failure *failure);
/* Looks at what others want of the polls that are ours. */
void poll_wants_look(struct inventory *inventory);

#endif
