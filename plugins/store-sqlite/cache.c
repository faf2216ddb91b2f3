/*
 * Locks: one mutex per shard, a leaf; line_lock before them. The writer holds line_lock over its
 * COMMIT, so nobody else waits for it.
 *
 * Why an answer that is found is true: the header was `last` when the finder looked, so the state was
 * that, and the answer is of the same line and its rows were not changed in it. A writer makes the
 * sequence odd before its COMMIT, and removes the answers that it makes untrue before the sequence is
 * even again; who keeps an answer does it in one critical section of the shard with a look at the
 * sequence, so it is either refused or removed.
 */
#include "cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Layout of the WAL-index header, as walformat.html documents it: two copies, of which the second
 * is written first; the version comes first, and byte 12 says whether it was ever filled in. */
#define HEADER_WORDS 12
#define HEADER_VERSION 3007000
#define HEADER_CHANGES_WORD 2 /* one more with each commit */
#define HEADER_INITIALIZED_WORD 3
#define WAL_INDEX_BLOCK 32768

#define SHARDS 16
#define BUCKET_BYTES 256 /* of answers, per bucket: most buckets have one at most */
#define SHARE_MAX 4 /* no answer takes more than this part of its shard */
#define SCAN_ROWS_MAX 256
#define COLLECTIONS 64 /* numbers of changes; collections that share one lose some answers more */

/*
 * Made by answer_new() with one reference, filled by its maker alone, and not changed after
 * cache_keep(). The cache holds a reference to what it keeps, and each finder one of its own.
 */
struct answer {
    atomic_uint references;
    uint64_t hash;
    uint64_t line;
    int collection; /* of a scan: which number of changes; -1 for a get */
    uint64_t changes; /* what that number was */
    struct answer *chain; /* next of the bucket */
    struct answer *newer, *older; /* by when they were kept */
    bool used; /* found since: stays for one more round. Under the lock, as are the links */
    size_t size, room; /* of data */
    char *data; /* rows */
    size_t key_size;
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    struct answer **buckets;
    struct answer *newest, *oldest;
    size_t bytes;
};

struct cache {
    const volatile uint32_t *header;
    pthread_mutex_t line_lock; /* for those who change what comes next */
    atomic_uint sequence; /* odd: a change is under way */
    _Atomic(uint32_t) last[HEADER_WORDS]; /* the state that the line has come to */
    atomic_uint_fast64_t line;
    atomic_uint_fast64_t changes[COLLECTIONS];
    struct snapshot begun; /* the writer's: the state at its BEGIN */
    bool follows; /* and that was `last` */
    uint64_t seed;
    size_t shard_bytes;
    size_t bucket_mask;
    struct shard shards[SHARDS];
};

/* One row in the data of an answer, before its texts. */
struct stored_row {
    uint64_t revision;
    int64_t due;
    uint32_t state;
    uint32_t id_size, parent_size;
    uint32_t body_size; /* each with its final zero; 0: no body */
};

/* --- The state of the database */

static const volatile uint32_t *wal_index(sqlite3 *database)
{
    sqlite3_file *file = NULL;
    void volatile *block = NULL;

    if (sqlite3_file_control(database, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        !file || !file->pMethods || file->pMethods->iVersion < 2 || !file->pMethods->xShmMap)
        return NULL;
    /* Mapped by SQLite until DATABASE is closed. A file descriptor of our own would not do:
     * closing it would drop the locks that this process holds on the file. */
    if (file->pMethods->xShmMap(file, 0, WAL_INDEX_BLOCK, 0, &block) != SQLITE_OK)
        return NULL;
    return block;
}

bool cache_snapshot(const struct cache *cache, struct snapshot *ret_snapshot)
{
    uint32_t different = 0;

    if (!cache)
        return false;
    /* In the order in which SQLite reads them, so that equal copies were written by one commit. */
    for (int i = 0; i < HEADER_WORDS; i++)
        ret_snapshot->words[i] = __atomic_load_n(&cache->header[i], __ATOMIC_ACQUIRE);
    for (int i = 0; i < HEADER_WORDS; i++)
        different |= ret_snapshot->words[i] ^
                     __atomic_load_n(&cache->header[HEADER_WORDS + i], __ATOMIC_ACQUIRE);
    return different == 0 && ret_snapshot->words[0] == HEADER_VERSION &&
           ((const unsigned char *)&ret_snapshot->words[HEADER_INITIALIZED_WORD])[0] == 1;
}

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* --- The line */

/* The number of the line if STATE is what it has come to, else 0. */
static uint64_t line_at(struct cache *cache, const struct snapshot *state)
{
    unsigned sequence = atomic_load_explicit(&cache->sequence, memory_order_acquire);
    uint32_t different = sequence & 1;
    uint64_t line;

    for (int i = 0; i < HEADER_WORDS; i++)
        different |= atomic_load_explicit(&cache->last[i], memory_order_relaxed) ^ state->words[i];
    line = atomic_load_explicit(&cache->line, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&cache->sequence, memory_order_relaxed) != sequence)
        return 0;
    return different ? 0 : line;
}

/* The next three are called with line_lock held. */

static void change_begin(struct cache *cache)
{
    atomic_fetch_add(&cache->sequence, 1);
}

static void change_end(struct cache *cache)
{
    atomic_fetch_add(&cache->sequence, 1);
}

/* The line has come to STATE; or, if it does not FOLLOW, another line begins there. */
static void line_move(struct cache *cache, const struct snapshot *state, bool follows)
{
    for (int i = 0; i < HEADER_WORDS; i++)
        atomic_store_explicit(&cache->last[i], state->words[i], memory_order_relaxed);
    if (!follows)
        atomic_fetch_add_explicit(&cache->line, 1, memory_order_relaxed);
}

/* Somebody else has committed, or this is the first look. Not worth waiting for. */
static void line_begin(struct cache *cache)
{
    struct snapshot now;

    if (pthread_mutex_trylock(&cache->line_lock) != 0)
        return;
    if (cache_snapshot(cache, &now) && line_at(cache, &now) == 0) {
        change_begin(cache);
        line_move(cache, &now, false);
        change_end(cache);
    }
    pthread_mutex_unlock(&cache->line_lock);
}

/* --- Keys */

static uint64_t hash_bytes(uint64_t seed, const char *bytes, size_t size)
{
    uint64_t hash = seed ^ size, word;

    for (; size > 0; bytes += sizeof word, size -= sizeof word) {
        if (size < sizeof word) {
            word = 0;
            memcpy(&word, bytes, size);
            size = sizeof word;
        } else {
            memcpy(&word, bytes, sizeof word);
        }
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

static int collection_number(const char *collection)
{
    return (int)(hash_bytes(0, collection, strlen(collection)) % COLLECTIONS);
}

static void key_add(struct cache_key *key, const void *bytes, size_t size)
{
    memcpy(key->bytes + key->size, bytes, size);
    key->size += size;
}

/* With the final zero, so that no two sequences of texts are alike. */
static void key_add_text(struct cache_key *key, const char *text)
{
    key_add(key, text, strlen(text) + 1);
}

void cache_key_get(struct cache_key *key, const char *collection, const char *id)
{
    key->size = 0;
    key->collection = -1;
    key_add(key, "g", 1);
    key_add_text(key, collection);
    key_add_text(key, id);
}

bool cache_key_scan(struct cache_key *key, const struct vim_scan *scan)
{
    char given = (char)((scan->parent ? 1 : 0) | (scan->after ? 2 : 0));

    if ((scan->flags & VIM_SCAN_BY_DUE) || scan->limit == 0 || scan->limit > SCAN_ROWS_MAX)
        return false;
    key->size = 0;
    key_add(key, "s", 1);
    key_add(key, &given, 1);
    key_add(key, &scan->flags, sizeof scan->flags);
    key_add(key, &scan->states, sizeof scan->states);
    key_add(key, &scan->limit, sizeof scan->limit);
    key->collection = collection_number(scan->collection);
    key_add_text(key, scan->collection);
    key_add_text(key, scan->parent ? scan->parent : "");
    key_add_text(key, scan->after ? scan->after : "");
    return true;
}

static uint64_t key_hash(const struct cache *cache, const struct cache_key *key)
{
    return hash_bytes(cache->seed, key->bytes, key->size);
}

/* --- The table */

static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
    return &cache->shards[hash % SHARDS];
}

static struct answer **bucket_of(const struct cache *cache, struct shard *shard, uint64_t hash)
{
    return &shard->buckets[hash / SHARDS & cache->bucket_mask];
}

static size_t answer_bytes(const struct answer *answer)
{
    return sizeof *answer + answer->key_size + answer->room;
}

/* The next four are called with the shard's lock held. */

static void unlink_age(struct shard *shard, struct answer *answer)
{
    *(answer->newer ? &answer->newer->older : &shard->newest) = answer->older;
    *(answer->older ? &answer->older->newer : &shard->oldest) = answer->newer;
}

static void link_newest(struct shard *shard, struct answer *answer)
{
    answer->newer = NULL;
    answer->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = answer;
    shard->newest = answer;
}

/* Takes ANSWER, which is there, out; its reference is the caller's. */
static void remove_answer(struct cache *cache, struct shard *shard, struct answer *answer)
{
    struct answer **link = bucket_of(cache, shard, answer->hash);

    while (*link != answer)
        link = &(*link)->chain;
    *link = answer->chain;
    unlink_age(shard, answer);
    shard->bytes -= answer_bytes(answer);
}

static struct answer *look_up(const struct cache *cache, struct shard *shard, uint64_t hash,
                              const void *key, size_t size)
{
    struct answer *answer = *bucket_of(cache, shard, hash);

    while (answer && (answer->hash != hash || answer->key_size != size ||
                      memcmp(answer->key, key, size) != 0))
        answer = answer->chain;
    return answer;
}

/* Of LINE, and not changed in it since. */
static bool answer_is_good(const struct cache *cache, const struct answer *answer, uint64_t line)
{
    return answer->line == line && (answer->collection < 0 ||
                                    atomic_load_explicit(&cache->changes[answer->collection],
                                                         memory_order_relaxed) == answer->changes);
}

struct answer *cache_find(struct cache *cache, const struct cache_key *key,
                          const struct snapshot *now)
{
    uint64_t line = line_at(cache, now), hash;
    struct answer *found, *outdated = NULL;
    struct shard *shard;

    if (!line) {
        line_begin(cache);
        return NULL;
    }
    hash = key_hash(cache, key);
    shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    found = look_up(cache, shard, hash, key->bytes, key->size);
    if (found && !answer_is_good(cache, found, line)) {
        remove_answer(cache, shard, found);
        outdated = found;
        found = NULL;
    } else if (found) {
        atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
        if (!found->used)
            found->used = true;
    }
    pthread_mutex_unlock(&shard->lock);
    answer_release(outdated);
    return found;
}

void cache_keep(struct cache *cache, struct answer *answer, const struct snapshot *snapshot)
{
    struct answer *removed = NULL, *same;
    struct shard *shard;

    if (!answer)
        return;
    shard = shard_of(cache, answer->hash);
    pthread_mutex_lock(&shard->lock);
    if (answer->collection >= 0)
        answer->changes = atomic_load(&cache->changes[answer->collection]);
    answer->line = line_at(cache, snapshot);
    if (!answer->line) {
        pthread_mutex_unlock(&shard->lock);
        answer_release(answer);
        return;
    }
    same = look_up(cache, shard, answer->hash, answer->key, answer->key_size);
    while (same || shard->bytes + answer_bytes(answer) > cache->shard_bytes) {
        struct answer *leaving = same ? same : shard->oldest;

        if (!same && leaving->used && answer_is_good(cache, leaving, answer->line)) {
            leaving->used = false;
            unlink_age(shard, leaving);
            link_newest(shard, leaving);
            continue;
        }
        remove_answer(cache, shard, leaving);
        leaving->chain = removed;
        removed = leaving;
        same = NULL;
    }
    answer->chain = *bucket_of(cache, shard, answer->hash);
    *bucket_of(cache, shard, answer->hash) = answer;
    link_newest(shard, answer);
    shard->bytes += answer_bytes(answer);
    pthread_mutex_unlock(&shard->lock);
    while (removed) {
        struct answer *next = removed->chain;

        answer_release(removed);
        removed = next;
    }
}

/* --- Answers */

struct answer *answer_new(const struct cache *cache, const struct cache_key *key)
{
    struct answer *answer = malloc(sizeof *answer + key->size);

    if (!answer)
        return NULL;
    memset(answer, 0, sizeof *answer);
    atomic_init(&answer->references, 1);
    answer->hash = key_hash(cache, key);
    answer->collection = key->collection;
    answer->key_size = key->size;
    memcpy(answer->key, key->bytes, key->size);
    return answer;
}

/* Makes room for SIZE more bytes of data. */
static bool answer_grow(const struct cache *cache, struct answer *answer, size_t size)
{
    /* One row, as most answers are, takes what it needs. */
    size_t room = answer->room ? answer->room : size;
    char *data;

    while (room < answer->size + size)
        room *= 2;
    if (sizeof *answer + answer->key_size + room > cache->shard_bytes / SHARE_MAX)
        return false;
    data = realloc(answer->data, room);
    if (!data)
        return false;
    answer->data = data;
    answer->room = room;
    return true;
}

static uint32_t text_size(const char *text)
{
    return text ? (uint32_t)strlen(text) + 1 : 0;
}

static void answer_put(struct answer *answer, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(answer->data + answer->size, bytes, size);
    answer->size += size;
}

void answer_add(const struct cache *cache, struct answer **answer, const struct vim_item *item)
{
    struct answer *to = *answer;
    struct stored_row row;
    size_t size;

    if (!to)
        return;
    row = (struct stored_row){
        .revision = item->revision,
        .due = item->due,
        .state = item->state,
        .id_size = text_size(item->id),
        .parent_size = text_size(item->parent),
        .body_size = text_size(item->body),
    };
    size = sizeof row + row.id_size + row.parent_size + row.body_size;
    if (to->size + size > to->room && !answer_grow(cache, to, size)) {
        answer_release(to);
        *answer = NULL;
        return;
    }
    answer_put(to, &row, sizeof row);
    answer_put(to, item->id, row.id_size);
    answer_put(to, item->parent, row.parent_size);
    answer_put(to, item->body, row.body_size);
}

bool answer_row(const struct answer *answer, size_t *position, const char *collection,
                struct vim_item *ret_item)
{
    struct stored_row row;
    const char *text;

    if (*position == answer->size)
        return false;
    memcpy(&row, answer->data + *position, sizeof row);
    text = answer->data + *position + sizeof row;
    *ret_item = (struct vim_item){
        .size = sizeof *ret_item,
        .kind = collection,
        .id = text,
        .parent = text + row.id_size,
        .body = row.body_size ? text + row.id_size + row.parent_size : NULL,
        .state = row.state,
        .due = row.due,
        .revision = row.revision,
    };
    *position += sizeof row + row.id_size + row.parent_size + row.body_size;
    return true;
}

void answer_release(struct answer *answer)
{
    if (answer && atomic_fetch_sub(&answer->references, 1) == 1) {
        free(answer->data);
        free(answer);
    }
}

/* --- The writer */

void cache_write_begin(struct cache *cache)
{
    if (!cache)
        return;
    pthread_mutex_lock(&cache->line_lock);
    cache->follows = cache_snapshot(cache, &cache->begun) && line_at(cache, &cache->begun) != 0;
    change_begin(cache);
}

void cache_write_changed(struct cache *cache, const char *collection, const char *id)
{
    struct cache_key key;
    struct answer *changed;
    struct shard *shard;
    uint64_t hash;

    if (!cache)
        return;
    atomic_fetch_add(&cache->changes[collection_number(collection)], 1);
    cache_key_get(&key, collection, id);
    hash = key_hash(cache, &key);
    shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    changed = look_up(cache, shard, hash, key.bytes, key.size);
    if (changed)
        remove_answer(cache, shard, changed);
    pthread_mutex_unlock(&shard->lock);
    answer_release(changed);
}

void cache_write_end(struct cache *cache, bool certain)
{
    struct snapshot now;
    uint32_t commits;

    if (!cache)
        return;
    if (cache_snapshot(cache, &now)) {
        /* The write lock is gone again: others may have been faster. */
        commits = now.words[HEADER_CHANGES_WORD] - cache->begun.words[HEADER_CHANGES_WORD];
        line_move(cache, &now,
                  certain && cache->follows &&
                      (commits == 1 || snapshot_equal(&now, &cache->begun)));
    } else {
        memset(&now, 0, sizeof now);
        line_move(cache, &now, false);
    }
    change_end(cache);
    pthread_mutex_unlock(&cache->line_lock);
}

/* --- Beginning and end */

struct cache *cache_new(sqlite3 *database, int64_t bytes)
{
    const volatile uint32_t *header = wal_index(database);
    struct cache *cache = header ? calloc(1, sizeof *cache) : NULL;
    size_t buckets = 1;

    if (!cache)
        return NULL;
    cache->header = header;
    pthread_mutex_init(&cache->line_lock, NULL);
    sqlite3_randomness(sizeof cache->seed, &cache->seed);
    cache->shard_bytes = (size_t)bytes / SHARDS;
    while (buckets * BUCKET_BYTES < cache->shard_bytes)
        buckets *= 2;
    cache->bucket_mask = buckets - 1;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
        cache->shards[i].buckets = calloc(buckets, sizeof(struct answer *));
    }
    for (int i = 0; i < SHARDS; i++)
        if (!cache->shards[i].buckets) {
            cache_free(cache);
            return NULL;
        }
    return cache;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];

        while (shard->oldest) {
            struct answer *answer = shard->oldest;

            remove_answer(cache, shard, answer);
            answer_release(answer);
        }
        free(shard->buckets);
        pthread_mutex_destroy(&shard->lock);
    }
    pthread_mutex_destroy(&cache->line_lock);
    free(cache);
}
