/*
 * The cache is a table of buckets of a few entries each; a new entry replaces the oldest of its
 * bucket. Lock order: aliases->mutex is a leaf, and never held over a call of the store.
 */
#include "model/resource.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#define WAYS 4u
#define AGE_MAX_MS 60000

/* Only aliases that exist are kept: one that does not may be written at any moment. */
struct entry {
    uint8_t key[DIGEST_SIZE];
    char id[ID_SIZE]; /* "": free */
    int64_t since; /* clock_mono_ms() */
};

struct aliases {
    struct store *store;
    pthread_mutex_t mutex;
    size_t buckets;
    struct entry *entries;
};

struct aliases *aliases_new(struct store *store, size_t cache_entries)
{
    struct aliases *aliases = MEMORY_NEW(struct aliases);
    aliases->store = store;
    pthread_mutex_init(&aliases->mutex, NULL);
    aliases->buckets = cache_entries / WAYS + 1;
    aliases->entries = memory_new_array(aliases->buckets * WAYS, sizeof(struct entry));
    return aliases;
}

void aliases_free(struct aliases *aliases)
{
    if (aliases) {
        pthread_mutex_destroy(&aliases->mutex);
        free(aliases->entries);
        free(aliases);
    }
}

/* Far sides' ids may hold any character and have any length; the row's id is a digest of them. */
static void make_key(const char *vim, const char *kind, const char *backend_id,
                     uint8_t ret_key[DIGEST_SIZE])
{
    CLEANUP_FREE char *name = text_format("%s/%s/%s", vim, kind, backend_id);
    digest_sha256(name, strlen(name), ret_key);
}

static struct entry *bucket_of(struct aliases *aliases, const uint8_t key[DIGEST_SIZE])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    return aliases->entries + (hash % aliases->buckets) * WAYS;
}

static struct entry *find_entry(struct aliases *aliases, const uint8_t key[DIGEST_SIZE])
{
    struct entry *bucket = bucket_of(aliases, key);
    for (unsigned i = 0; i < WAYS; i++) {
        if (bucket[i].id[0] && memcmp(bucket[i].key, key, DIGEST_SIZE) == 0) {
            return &bucket[i];
        }
    }
    return NULL;
}

static bool find_cached(struct aliases *aliases, const uint8_t key[DIGEST_SIZE], char ret_id[37])
{
    LOCK_GUARD(&aliases->mutex);
    struct entry *entry = find_entry(aliases, key);
    if (!entry || clock_mono_ms() - entry->since > AGE_MAX_MS) {
        return false;
    }
    memcpy(ret_id, entry->id, ID_SIZE);
    return true;
}

static void put_cached(struct aliases *aliases, const uint8_t key[DIGEST_SIZE], const char *id)
{
    LOCK_GUARD(&aliases->mutex);
    struct entry *entry = find_entry(aliases, key);
    if (!id) {
        if (entry) {
            entry->id[0] = '\0';
        }
        return;
    }
    if (!entry) {
        struct entry *bucket = bucket_of(aliases, key);
        entry = bucket;
        for (unsigned i = 0; i < WAYS && entry->id[0]; i++) {
            if (!bucket[i].id[0] || bucket[i].since < entry->since) {
                entry = &bucket[i];
            }
        }
    }
    memcpy(entry->key, key, DIGEST_SIZE);
    strncpy(entry->id, id, ID_SIZE - 1);
    entry->id[ID_SIZE - 1] = '\0';
    entry->since = clock_mono_ms();
}

int aliases_find(struct aliases *aliases, const char *vim, const char *kind, const char *backend_id,
                 char ret_id[37], struct failure *failure)
{
    uint8_t key[DIGEST_SIZE];
    make_key(vim, kind, backend_id, key);
    if (find_cached(aliases, key, ret_id)) {
        return VIM_OK;
    }
    char row_id[DIGEST_HEX_SIZE];
    struct row row = {0};
    digest_hex(key, DIGEST_SIZE, row_id);
    int code = store_get(aliases->store, COLLECTION_ALIAS, row_id, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        resource_derive_id(vim, kind, backend_id, ret_id);
        return VIM_OK;
    }
    if (code != VIM_OK) {
        return code;
    }
    struct json_piece piece;
    CLEANUP_FREE char *id = NULL;
    if (json_peek(row.body, row.body_length, "id", &piece) != VIM_OK ||
        json_piece_text(piece, &id) != VIM_OK || !id_valid(id)) {
        code = failure_set(failure, VIM_E_INTERNAL, "the row alias/%s is not readable", row_id);
    } else {
        memcpy(ret_id, id, ID_SIZE);
        put_cached(aliases, key, id);
    }
    row_free(&row);
    return code;
}

void aliases_learn(struct aliases *aliases, const char *vim, const char *kind,
                   const char *backend_id, const char *id)
{
    uint8_t key[DIGEST_SIZE];
    make_key(vim, kind, backend_id, key);
    put_cached(aliases, key, id);
}

struct vim_write alias_write(const char *vim, const char *kind, const char *backend_id,
                             const char *id, struct alias_buffer *buffer)
{
    uint8_t key[DIGEST_SIZE];
    make_key(vim, kind, backend_id, key);
    digest_hex(key, DIGEST_SIZE, buffer->id);
    if (id) {
        assert(strlen(id) == ID_SIZE - 1);
        strcpy(buffer->body, "{\"id\":\"");
        strcat(buffer->body, id);
        strcat(buffer->body, "\"}");
    }
    return (struct vim_write){
        .collection = COLLECTION_ALIAS,
        .id = buffer->id,
        .body = id ? buffer->body : NULL,
        .expect = VIM_EXPECT_ANY,
    };
}
