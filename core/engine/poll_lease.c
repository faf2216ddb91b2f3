/* Of several processes that share a store, one polls a (VIM, kind): whoever holds this row. */
#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/owner.h"

#define LEASE_MS 60000
#define RENEW_MS 30000 /* when less than this is left */
/* Who does not hold it tries so often, and reads the row so often while the holder is known and lives: there are as
 * many rows as VIMs and kinds. */
#define TRY_MS 1000
#define READ_MS 10000

static char *row_id(const struct poll *poll)
{
    return text_format("%s/%s", poll->vim, poll->kind);
}

static int write_lease(struct poll *poll, uint64_t expect, bool delete_it, struct failure *failure)
{
    CLEANUP_FREE char *id = row_id(poll);
    CLEANUP_FREE char *body = text_format("{\"owner\":\"%s\"}", owner_self());
    struct vim_write write = {.collection = COLLECTION_POLL,
                              .id = id,
                              .body = delete_it ? NULL : body,
                              .expect = expect,
                              .due = clock_now_ms() + LEASE_MS};
    return store_commit(poll->inventory->store, &write, 1, failure);
}

/* Does another process hold it, as the row told that was read last? Then RET_WAIT_MS is set. */
static bool is_held(const struct poll *poll, int64_t *ret_wait_ms)
{
    int64_t left = poll->held_until - clock_mono_ms();
    bool held = poll->holder && left > 0 && !owner_is_dead(poll->holder);
    if (held) {
        *ret_wait_ms = left < TRY_MS ? left : TRY_MS;
    }
    return held;
}

/* Takes note of the holder that the row tells; none if that is this process. */
static void note_holder(struct poll *poll, const struct row *row, bool *ret_ours)
{
    struct json_piece piece;
    char *owner = NULL;
    if (json_peek(row->body, row->body_length, "owner", &piece) == VIM_OK) {
        (void)json_piece_text(piece, &owner);
    }
    *ret_ours = text_equal(owner, owner_self());
    free(poll->holder);
    poll->holder = *ret_ours ? NULL : TAKE(owner);
    free(owner);
    int64_t left = row->due - clock_now_ms();
    poll->held_until = clock_mono_ms() + (left < READ_MS ? left : READ_MS);
}

int poll_lease_take(struct poll *poll, bool *ret_taken, int64_t *ret_wait_ms,
                    struct failure *failure)
{
    *ret_taken = false;
    if (poll->lease_until - clock_mono_ms() > RENEW_MS) {
        return VIM_OK;
    }
    CLEANUP_FREE char *id = row_id(poll);
    struct row row = {0};
    bool ours = false, held = is_held(poll, ret_wait_ms);
    if (held) {
        return failure_set(failure, VIM_E_BUSY, "another process polls it");
    }
    int code = store_get(poll->inventory->store, COLLECTION_POLL, id, &row, failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return code;
    }
    uint64_t revision = row.revision;
    if (code == VIM_OK) {
        note_holder(poll, &row, &ours);
        held = is_held(poll, ret_wait_ms);
        row_free(&row);
    }
    if (held) {
        return failure_set(failure, VIM_E_BUSY, "another process polls it");
    }
    int64_t now = clock_mono_ms();
    code = write_lease(poll, revision, false, failure);
    if (code == VIM_E_CONFLICT) {
        *ret_wait_ms = TRY_MS;
        return failure_set(failure, VIM_E_BUSY, "another process polls it");
    }
    if (code == VIM_OK) {
        /* After others had it the rows may be their work; it may also just have run out, where rounds
         * are far apart. */
        *ret_taken = !ours || revision != poll->lease_revision;
        poll->lease_until = now + LEASE_MS;
        poll->lease_revision = revision + 1;
    }
    return code;
}

bool poll_lease_is_ours(const struct poll *poll)
{
    return poll->lease_until > clock_mono_ms();
}

void poll_lease_release(struct poll *poll)
{
    if (poll_lease_is_ours(poll)) {
        (void)write_lease(poll, poll->lease_revision, true, NULL);
    }
    poll->lease_until = 0;
}
