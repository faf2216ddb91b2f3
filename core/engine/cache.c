#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

struct entry *cache_find(struct cache *cache, const char *backend_id)
{
    struct entry *entry;
    HASH_FIND_STR(cache->entries, backend_id, entry);
    return entry;
}

struct entry *cache_make(struct cache *cache, const char *backend_id)
{
    struct entry *entry = cache_find(cache, backend_id);
    if (!entry) {
        entry = memory_new(sizeof(struct entry) + strlen(backend_id) + 1);
        strcpy(entry->backend_id, backend_id);
        HASH_ADD_STR(cache->entries, backend_id, entry);
    }
    return entry;
}

void cache_remove(struct cache *cache, struct entry *entry)
{
    HASH_DEL(cache->entries, entry);
    free(entry);
}

void cache_clear(struct cache *cache)
{
    struct entry *entry, *next;
    HASH_ITER(hh, cache->entries, entry, next)
    {
        cache_remove(cache, entry);
    }
}

bool cache_has_pending(const struct cache *cache)
{
    for (const struct entry *entry = cache->entries; entry; entry = entry->hh.next) {
        if (entry->pending && !entry->deleted) {
            return true;
        }
    }
    return false;
}

/* FNV-1a over words of eight bytes, with a final mix: enough to tell versions of one item apart. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    uint64_t word = length + 1;
    hash = (hash ^ (text ? word : 0)) * UINT64_C(0x100000001b3);
    for (; length >= 8; length -= 8, text += 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    word = 0;
    if (length) {
        memcpy(&word, text, length);
    }
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

uint64_t item_hash(const struct vim_item *item)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ item->flags;
    hash = hash_text(hash, item->body);
    hash = hash_text(hash, item->status);
    hash = hash_text(hash, item->tag);
    return hash ? hash : 1;
}
