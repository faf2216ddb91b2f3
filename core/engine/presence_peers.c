/* What is known of the other processes. No locks here, no I/O. */
#include "engine/presence_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/owner.h"

/* How often the time after which it is dead has passed when the row of a dead process is swept. */
#define SWEEP_FACTOR 6
/* How long it is remembered that a process is dead: longer than any lease it may have left. */
#define REMEMBER_MS 3600000

struct peer {
    struct beat beat;
    char *body;
    uint64_t revision, body_revision; /* as seen last, and of `beat` and `body` */
    uint32_t look; /* the last one that showed it */
    uint32_t swept; /* the last one after which its row was swept */
    int64_t unchanged_ms; /* how long we have been looking at this revision */
    bool doubted; /* was past its time when it was first seen, and has not changed since */
    bool dead;
    bool changed; /* since the look before */
    UT_hash_handle hh; /* by beat.id */
};

struct peers {
    struct peer *table;
    uint32_t look;
    int64_t looked; /* when the last look began; 0: never */
    int64_t passed_ms; /* since the one before, as far as it counts */
};

struct peers *peers_new(void)
{
    return MEMORY_NEW(struct peers);
}

static void remove_peer(struct peers *peers, struct peer *peer)
{
    if (peer->beat.owner) {
        owner_declare(peer->beat.owner, false);
    }
    HASH_DEL(peers->table, peer);
    beat_free(&peer->beat);
    free(peer->body);
    free(peer);
}

void peers_free(struct peers *peers)
{
    struct peer *peer, *next;
    if (!peers) {
        return;
    }
    HASH_ITER(hh, peers->table, peer, next)
    {
        remove_peer(peers, peer);
    }
    free(peers);
}

void peers_begin(struct peers *peers, int64_t now, int64_t interval_ms)
{
    /* Time in which nobody looked does not count: the store or this process was away. */
    int64_t passed = peers->looked ? now - peers->looked : 0;
    peers->passed_ms = passed < 2 * interval_ms ? passed : 2 * interval_ms;
    peers->looked = now;
    peers->look++;
}

static void note_revision(const struct peers *peers, struct peer *peer, bool is_new,
                          uint64_t revision)
{
    /* A row that was deleted and written anew may have the revision that it had. */
    peer->changed = is_new || peer->revision != revision || peer->look + 1 != peers->look;
    peer->look = peers->look;
    peer->revision = revision;
    peer->unchanged_ms = peer->changed ? 0 : peer->unchanged_ms + peers->passed_ms;
}

int peers_see(struct peers *peers, const char *body, size_t length, uint64_t revision, bool expired,
              struct failure *failure)
{
    struct beat beat;
    struct peer *peer = NULL;
    int code = beat_parse(body, length, &beat, failure);
    if (code != VIM_OK) {
        return code;
    }
    HASH_FIND_STR(peers->table, beat.id, peer);
    bool is_new = !peer;
    if (is_new) {
        peer = MEMORY_NEW(struct peer);
        peer->doubted = expired;
        memcpy(peer->beat.id, beat.id, ID_SIZE);
        HASH_ADD_STR(peers->table, beat.id, peer);
    }
    note_revision(peers, peer, is_new, revision);
    if (peer->changed) {
        peer->doubted = is_new && expired;
    }
    if (peer->body_revision == revision && !is_new && !peer->changed) {
        beat_free(&beat);
        return VIM_OK;
    }
    beat_free(&peer->beat);
    peer->beat = beat;
    free(peer->body);
    peer->body = text_duplicate_bytes(body, length);
    peer->body_revision = revision;
    return VIM_OK;
}

bool peers_know(const struct peers *peers, const char *id)
{
    struct peer *peer = NULL;
    HASH_FIND_STR(peers->table, id, peer);
    return peer && peer->look == peers->look;
}

void peers_see_again(struct peers *peers, const char *id, uint64_t revision, uint32_t state)
{
    struct peer *peer = NULL;
    HASH_FIND_STR(peers->table, id, peer);
    assert(peer);
    note_revision(peers, peer, false, revision);
    if (peer->changed) {
        peer->doubted = false;
        peer->beat.state = state;
    }
}

static void set_dead(struct peer *peer, bool dead, enum vim_level level, const char *why)
{
    if (peer->dead == dead) {
        return;
    }
    peer->dead = dead;
    peer->unchanged_ms = 0;
    if (peer->beat.owner && strcmp(peer->beat.owner, owner_self()) != 0) {
        owner_declare(peer->beat.owner, dead);
        log_event(level, why, "process=%s host=%s roles=%s", peer->beat.id, peer->beat.host,
                  peer->beat.roles);
    }
}

void peers_end(struct peers *peers)
{
    struct peer *peer, *next;
    HASH_ITER(hh, peers->table, peer, next)
    {
        bool is_there = peer->look == peers->look;
        if (!is_there) {
            /* Its row was deleted: by itself, at its end, or by whoever has swept it. */
            bool was_dead = peer->dead;
            set_dead(peer, true, VIM_INFO, "process has left");
            peer->unchanged_ms += was_dead ? peers->passed_ms : 0;
            if (peer->unchanged_ms > REMEMBER_MS) {
                remove_peer(peers, peer);
            }
        } else if (peer->dead && peer->changed) {
            set_dead(peer, false, VIM_INFO, "process beats again");
        } else if (!peer->dead && peer->unchanged_ms > peer->beat.expires_ms) {
            set_dead(peer, true, VIM_WARNING, "process does not beat any more");
        }
    }
}

bool peers_take_old(struct peers *peers, char ret_id[ID_SIZE], uint64_t *ret_revision)
{
    for (struct peer *peer = peers->table; peer; peer = peer->hh.next) {
        bool is_there = peer->look == peers->look;
        if (is_there && peer->dead && peer->swept != peers->look &&
            peer->unchanged_ms > SWEEP_FACTOR * peer->beat.expires_ms) {
            memcpy(ret_id, peer->beat.id, ID_SIZE);
            *ret_revision = peer->revision;
            peer->swept = peers->look;
            return true;
        }
    }
    return false;
}

size_t peers_rank(const struct peers *peers, const char *role, const char *self, size_t *ret_before,
                  bool *ret_listed)
{
    size_t count = 0;
    *ret_before = 0;
    *ret_listed = false;
    for (const struct peer *peer = peers->table; peer; peer = peer->hh.next) {
        const struct beat *beat = &peer->beat;
        bool looks = role ? text_has_word(beat->roles, role) : strcmp(beat->roles, "api") != 0;
        if (looks && !peer->dead && !peer->doubted && beat->state == PRESENCE_UP &&
            !owner_is_dead(beat->owner)) {
            int order = strcmp(beat->id, self);
            count++;
            *ret_before += order < 0;
            *ret_listed = *ret_listed || order == 0;
        }
    }
    return count;
}

static int by_id(const void *a, const void *b)
{
    const struct peer_copy *one = a, *other = b;
    return strcmp(one->beat.id, other->beat.id);
}

struct peer_copy *peers_copy(const struct peers *peers, size_t *ret_count)
{
    size_t count = 0;
    struct peer_copy *copies =
        memory_new_array(HASH_COUNT(peers->table) + 1, sizeof(struct peer_copy));
    for (const struct peer *peer = peers->table; peer; peer = peer->hh.next) {
        if (peer->dead || peer->doubted) {
            continue;
        }
        struct beat *copy = &copies[count].beat;
        *copy = peer->beat;
        copy->owner = text_duplicate(peer->beat.owner);
        copy->roles = text_duplicate(peer->beat.roles);
        copy->host = text_duplicate(peer->beat.host);
        copy->address = text_duplicate(peer->beat.address);
        copy->version = text_duplicate(peer->beat.version);
        copies[count++].body = text_duplicate(peer->body);
    }
    qsort(copies, count, sizeof(*copies), by_id);
    *ret_count = count;
    return copies;
}
