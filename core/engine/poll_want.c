/*
 * Of several processes one polls a (VIM, kind). A step of another one may await something there, or leave
 * something in doubt: its process says so in a row of the collection "want", whose body tells nothing:
 * that the row has changed is the message. "VIM/kind" wants a round soon, "VIM/kind/full" a complete
 * one. Rows stay; there are two per (VIM, kind) at most.
 */
#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

static const char *const suffixes[2] = {"", "/full"};

int poll_want_tell(struct poll *poll, uint32_t wants, struct failure *failure)
{
    CLEANUP_FREE char *soon = text_format("%s/%s%s", poll->vim, poll->kind, suffixes[0]);
    CLEANUP_FREE char *full = text_format("%s/%s%s", poll->vim, poll->kind, suffixes[1]);
    struct vim_write write = {.collection = COLLECTION_WANT,
                              .id = wants & WANT_FULL ? full : soon,
                              .body = "{}",
                              .expect = VIM_EXPECT_ANY};
    return store_commit(poll->inventory->store, &write, 1, failure);
}

struct want_rows {
    struct want_row {
        char *id;
        uint64_t revision;
    } * items;
    size_t count;
};

static int take_row(void *argument, const struct vim_item *item)
{
    struct want_rows *rows = argument;
    rows->items = memory_resize(rows->items, rows->count + 1, sizeof(*rows->items));
    rows->items[rows->count++] = (struct want_row){text_duplicate(item->id), item->revision};
    return 0;
}

/* The poll that a row is about, and which of its two rows that is. Under inventory->mutex. */
static struct poll *find_poll(struct inventory *inventory, const char *id, unsigned *ret_which)
{
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        size_t vim = strlen(poll->vim), kind = strlen(poll->kind);
        if (strncmp(id, poll->vim, vim) != 0 || id[vim] != '/' ||
            strncmp(id + vim + 1, poll->kind, kind) != 0) {
            continue;
        }
        for (unsigned which = 0; which < 2; which++) {
            if (strcmp(id + vim + 1 + kind, suffixes[which]) == 0) {
                *ret_which = which;
                return poll;
            }
        }
    }
    return NULL;
}

/* One row. What was wanted before the lease was taken is met by the complete pass that comes then. */
static void see_row(struct inventory *inventory, const struct want_row *row)
{
    CLEANUP_FREE char *vim = NULL;
    CLEANUP_FREE char *kind = NULL;
    unsigned which = 0;
    pthread_mutex_lock(&inventory->mutex);
    struct poll *poll = find_poll(inventory, row->id, &which);
    if (poll && poll->want_seen[which] != row->revision) {
        poll->want_seen[which] = row->revision;
        if (poll_lease_is_ours(poll)) {
            vim = text_duplicate(poll->vim);
            kind = text_duplicate(poll->kind);
        }
    }
    pthread_mutex_unlock(&inventory->mutex);
    if (vim && which == 1) {
        inventory_doubt(inventory, vim, kind);
    } else if (vim) {
        inventory_hint(inventory, vim, kind);
    }
}

void poll_wants_look(struct inventory *inventory)
{
    struct want_rows rows = {0};
    struct vim_scan scan = {.collection = COLLECTION_WANT,
                            .flags = VIM_SCAN_NO_BODY | VIM_SCAN_FEW};
    if (store_scan(inventory->store, &scan, take_row, &rows, NULL) == VIM_OK) {
        for (size_t i = 0; i < rows.count; i++) {
            see_row(inventory, &rows.items[i]);
        }
    }
    for (size_t i = 0; i < rows.count; i++) {
        free(rows.items[i].id);
    }
    free(rows.items);
}
