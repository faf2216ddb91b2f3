/*
 * logic/list_rows.c - a list of stored rows: what the project has and what is shared, in one order of
 * ids.
 */
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/list.h"
#include "model/resource.h"

struct kept_row {
    char *id, *body;
    size_t length;
};

struct merge {
    struct lister *lister;
    const char *until;
    struct kept_row *shared; /* matching rows that are shared, in order */
    uint32_t shared_count, shared_at, shared_capacity;
};

static bool is_beyond(const struct merge *merge, const char *id)
{
    return merge->until && strcmp(id, merge->until) > 0;
}

static int keep_shared(void *argument, const struct vim_item *item)
{
    struct merge *merge = argument;
    size_t length = strlen(item->body);
    if (is_beyond(merge, item->id) || !list_matches(merge->lister, item->body, length)) {
        return 0;
    }
    if (merge->shared_count == merge->shared_capacity) {
        merge->shared_capacity = merge->shared_capacity ? merge->shared_capacity * 2 : 16;
        merge->shared =
            memory_resize(merge->shared, merge->shared_capacity, sizeof(*merge->shared));
    }
    merge->shared[merge->shared_count++] = (struct kept_row){
        text_duplicate(item->id), text_duplicate_bytes(item->body, length), length};
    return merge->shared_count == list_enough(merge->lister);
}

/* Takes the shared rows that come before ID (NULL: all). */
static int take_shared_before(struct merge *merge, const char *id)
{
    while (merge->shared_at < merge->shared_count) {
        const struct kept_row *row = &merge->shared[merge->shared_at];
        int order = id ? strcmp(row->id, id) : -1;
        if (id && (merge->lister->query.descending ? order < 0 : order > 0)) {
            break;
        }
        merge->shared_at++;
        if (list_take(merge->lister, row->id, row->body, row->length)) {
            return 1;
        }
    }
    return 0;
}

static int take_own(void *argument, const struct vim_item *item)
{
    struct merge *merge = argument;
    size_t length = strlen(item->body);
    if (is_beyond(merge, item->id) || !list_matches(merge->lister, item->body, length)) {
        return 0;
    }
    return take_shared_before(merge, item->id) ||
           list_take(merge->lister, item->id, item->body, length);
}

static int offer_row(void *argument, const struct vim_item *item)
{
    struct merge *merge = argument;
    return is_beyond(merge, item->id)
               ? 0
               : list_offer(merge->lister, item->id, item->body, strlen(item->body));
}

/* Without conditions a store need not go further than the page; with them it cannot know. */
static struct vim_scan make_scan(const struct lister *lister, const struct list_source *source)
{
    const struct list_query *query = &lister->query;
    bool by_id = query->sort == NULL;
    return (struct vim_scan){
        .size = sizeof(struct vim_scan),
        .flags = by_id && query->descending ? VIM_SCAN_DESCENDING : 0,
        .collection = source->collection,
        .after = by_id && query->has_after ? query->after_id : source->after,
        .states = filter_mask(&query->filter, source->state_field, source->state_name),
        .limit = by_id && query->filter.count == 0 ? list_enough(lister) : 0,
    };
}

int list_rows(struct call *call, struct lister *lister, const struct list_source *source,
              struct failure *failure)
{
    struct store *store = call->logic->environment.store;
    struct vim_scan scan = make_scan(lister, source);
    struct merge merge = {.lister = lister, .until = source->until};
    if (access_sees_all(call->principal)) {
        return store_scan(store, &scan, offer_row, &merge, failure);
    }
    scan.parent = PROJECT_SHARED;
    int code =
        store_scan(store, &scan, lister->query.sort ? offer_row : keep_shared, &merge, failure);
    if (code == VIM_OK) {
        scan.parent = call->principal->project;
        code = store_scan(store, &scan, take_own, &merge, failure);
    }
    if (code == VIM_OK) {
        take_shared_before(&merge, NULL);
    }
    for (uint32_t i = 0; i < merge.shared_count; i++) {
        free(merge.shared[i].id);
        free(merge.shared[i].body);
    }
    free(merge.shared);
    return code;
}
