/*
 * Items as changed rows: which resource is it, what does its row become, and the commits, of many rows
 * at once; one row after the other when somebody else was at one of them.
 *
 * A list tells what was when it was asked for. What a step of this process has done since is known by the
 * entry's `touched`; what another process has done shows in the row, which is not as it was left here, or
 * was never seen here: then it cannot be told which of the two is newer, and the item waits for a look that
 * begins after this.
 */
#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/drift.h"
#include "model/event.h"

#define TRIES_MAX 4
/* So often in a row an item is not believed because somebody has been at its row; who is at it all the time
 * must not keep what happens at the far side out of it. */
#define DOUBTS_MAX 8

/* What becomes of one item. */
struct update {
    const struct vim_item *item;
    struct resource resource;
    char *body; /* rendered; NULL: no write */
    bool created; /* under a derived id */
    bool alias; /* write one */
    bool skipped; /* left to the task that works on it */
    bool unresolved;
    bool disbelieved; /* may be older than the row */
    uint32_t generation;
    struct alias_buffer alias_buffer;
    enum resource_status before;
    size_t drift_before; /* fields */
    struct event_buffer event_buffer, drift_buffer;
};
/* Row, alias, events. */
#define UPDATE_WRITES 4

static void update_free(struct update *update)
{
    resource_free(&update->resource);
    free(update->body);
    event_buffer_free(&update->event_buffer);
    event_buffer_free(&update->drift_buffer);
    memset(update, 0, sizeof(*update));
}

/* --- Which resource ------------------------------------------------------------------------------ */

static int get_resource(struct poll *poll, const char *id, struct resource *ret_resource,
                        char **ret_body, struct failure *failure)
{
    struct row row = {0};
    int code = store_get(poll->inventory->store, poll->kind, id, &row, failure);
    if (code != VIM_OK) {
        return code;
    }
    code = resource_parse(&row, poll->kind, ret_resource, failure);
    if (code == VIM_OK) {
        free(*ret_body);
        *ret_body = TAKE(row.body);
    }
    row_free(&row);
    return code;
}

/* The resource whose create tagged the item, if it is one of this VIM. */
static int find_by_tag(struct poll *poll, struct update *update, char **ret_body,
                       struct failure *failure)
{
    const struct vim_item *item = update->item;
    struct resource *resource = &update->resource;
    int code = get_resource(poll, item->tag, resource, ret_body, failure);
    if (code != VIM_OK) {
        return code;
    }
    if (strcmp(resource->vim, poll->vim) != 0) {
        resource_free(resource);
        return VIM_E_NOT_FOUND;
    }
    if (!resource->backend_id) {
        update->alias = true;
    } else if (strcmp(resource->backend_id, item->id) != 0) {
        log_event(VIM_WARNING, "two things carry one tag",
                  "vim=%s kind=%s tag=%s first=%s second=%s", poll->vim, poll->kind, item->tag,
                  resource->backend_id, item->id);
        resource_free(resource);
        return VIM_E_NOT_FOUND;
    }
    return VIM_OK;
}

static void new_resource(struct poll *poll, const struct vim_target *target, struct update *update,
                         const char *id)
{
    update->created = true;
    update->resource.id = text_duplicate(id);
    update->resource.kind = text_duplicate(poll->kind);
    update->resource.name = text_duplicate("");
    update->resource.vim = text_duplicate(poll->vim);
    update->resource.project = text_duplicate(vim_target_settings(target)->project);
    /* Whether what was made under it is there is looked at when somebody asks for orphans. */
    update->resource.tag = id_valid(update->item->tag) ? text_duplicate(update->item->tag) : NULL;
}

/* By what is known already, by the tag, by the alias; else it is a stranger with a derived id. */
static int find_resource(struct poll *poll, struct vim_target *target, struct update *update,
                         char **ret_body, struct failure *failure)
{
    const struct vim_item *item = update->item;
    char id[ID_SIZE] = "", derived[ID_SIZE];
    bool was_known;
    int code = VIM_E_NOT_FOUND;
    pthread_mutex_lock(&poll->mutex);
    struct entry *entry = cache_find(&poll->cache, item->id);
    if (entry && !entry->deleted) {
        memcpy(id, entry->id, ID_SIZE);
    }
    pthread_mutex_unlock(&poll->mutex);
    was_known = id[0];
    if (was_known) {
        code = get_resource(poll, id, &update->resource, ret_body, failure);
    }
    if (code == VIM_E_NOT_FOUND && id_valid(item->tag)) {
        code = find_by_tag(poll, update, ret_body, failure);
    }
    if (code != VIM_E_NOT_FOUND) {
        return code;
    }
    resource_derive_id(poll->vim, poll->kind, item->id, derived);
    code = aliases_find(poll->inventory->aliases, poll->vim, poll->kind, item->id, id, failure);
    if (code == VIM_OK) {
        code = get_resource(poll, id, &update->resource, ret_body, failure);
    }
    if (code == VIM_E_NOT_FOUND && strcmp(id, derived) != 0) {
        code = get_resource(poll, derived, &update->resource, ret_body, failure);
    }
    if (code == VIM_E_NOT_FOUND && (was_known || strcmp(id, derived) != 0)) {
        /* It had a row: another process has deleted it, and this look may be from before. */
        aliases_learn(poll->inventory->aliases, poll->vim, poll->kind, item->id, NULL);
        update->disbelieved = true;
        return VIM_OK;
    }
    if (code == VIM_E_NOT_FOUND) {
        new_resource(poll, target, update, derived);
        code = VIM_OK;
    }
    return code;
}

/* Has another process, or a step of this one, been at the row since it was read or written here? */
static bool was_changed(struct batch *batch, const struct update *update)
{
    struct poll *poll = batch->poll;
    LOCK_GUARD(&poll->mutex);
    const struct entry *entry = cache_find(&poll->cache, update->item->id);
    return entry && !update->created &&
           (entry->touched >= batch->looked ||
            (entry->revision != update->resource.revision && entry->doubts < DOUBTS_MAX));
}

/* Leaves the row as it is, and has the item shown by a look that begins after this. */
static void disbelieve(struct batch *batch, const struct update *update)
{
    struct poll *poll = batch->poll;
    pthread_mutex_lock(&poll->mutex);
    struct entry *entry = cache_make(&poll->cache, update->item->id);
    entry->hash = 0;
    entry->touched = clock_mono_ms();
    entry->revision = update->resource.revision;
    entry->doubts++;
    if (!update->resource.id) {
        entry->id[0] = '\0';
    }
    pthread_mutex_unlock(&poll->mutex);
    batch->again = true;
}

/* --- What it becomes ----------------------------------------------------------------------------- */

/* While a task works on a resource its status, and for a create all of the row, are the task's. */
static int merge_beside_task(struct poll *poll, struct update *update, struct failure *failure)
{
    struct resource *resource = &update->resource;
    const struct vim_item *item = update->item;
    update->skipped = true;
    if (!(item->flags & VIM_ITEM_PENDING)) {
        tasks_nudge(poll->inventory->tasks, resource->task);
    }
    if (!resource->backend_id || resource->status == STATUS_BUILD ||
        strcmp(resource->backend_id, item->id) != 0) {
        update->alias = false;
        return VIM_OK;
    }
    enum resource_status status = resource->status;
    bool pending = resource->pending;
    char *reason = TAKE(resource->status_reason);
    int code = merge_item(poll->inventory, poll->vim, poll->kind, item, resource,
                          &update->unresolved, failure);
    resource->status = status;
    resource->pending = pending;
    free(resource->status_reason);
    resource->status_reason = reason;
    if (code == VIM_OK) {
        update->body = resource_render(resource);
    }
    return code;
}

static int make_update(struct batch *batch, struct update *update, struct failure *failure)
{
    struct poll *poll = batch->poll;
    CLEANUP_FREE char *old_body = NULL;
    update->generation = atomic_load(&poll->inventory->generation);
    int code = find_resource(poll, batch->target, update, &old_body, failure);
    if (code != VIM_OK) {
        return code;
    }
    update->before = update->resource.status;
    update->drift_before = drift_count(&update->resource);
    update->disbelieved = update->disbelieved || was_changed(batch, update);
    if (update->disbelieved) {
        if (update->resource.task && !(update->item->flags & VIM_ITEM_PENDING)) {
            tasks_nudge(poll->inventory->tasks, update->resource.task);
        }
        return VIM_OK;
    }
    if (update->resource.task) {
        code = merge_beside_task(poll, update, failure);
    } else {
        code = merge_item(poll->inventory, poll->vim, poll->kind, update->item, &update->resource,
                          &update->unresolved, failure);
        if (code == VIM_OK) {
            update->body = resource_render(&update->resource);
        }
    }
    if (code == VIM_OK && text_equal(update->body, old_body) && !update->alias) {
        free(update->body);
        update->body = NULL;
    }
    return code;
}

/* --- Commit -------------------------------------------------------------------------------------- */

static uint32_t add_writes(struct poll *poll, struct update *update, struct vim_write *writes)
{
    uint32_t count = 0;
    if (update->body) {
        writes[count++] = resource_write(&update->resource, update->body);
    }
    if (update->body && update->alias) {
        writes[count++] = alias_write(poll->vim, poll->kind, update->item->id, update->resource.id,
                                      &update->alias_buffer);
    }
    bool changed = update->resource.status != update->before;
    if (update->body && (update->created || changed)) {
        writes[count++] = event_of_resource(
            update->created ? EVENT_RESOURCE_FOUND : EVENT_RESOURCE_CHANGED, &update->resource,
            update->before, NULL, clock_now_ms(), &update->event_buffer);
    }
    size_t drift = drift_count(&update->resource);
    if (update->body && (drift > update->drift_before || (drift == 0 && update->drift_before))) {
        writes[count++] = event_of_drift(drift ? EVENT_DRIFT_FOUND : EVENT_DRIFT_SETTLED,
                                         &update->resource, clock_now_ms(), &update->drift_buffer);
    }
    return count;
}

/* Remembers what the row is now, unless a step has been at it since the look began. */
static void remember(struct batch *batch, const struct update *update)
{
    struct poll *poll = batch->poll;
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_make(&poll->cache, update->item->id);
    if (entry->touched >= batch->looked) {
        return;
    }
    if (!entry->id[0] || !update->skipped) {
        strncpy(entry->id, update->resource.id, ID_SIZE - 1);
    }
    entry->deleted = false;
    entry->revision = update->resource.revision + (update->body != NULL);
    entry->doubts = 0;
    entry->hash = item_hash(update->item);
    entry->skipped = update->skipped;
    entry->unresolved = update->unresolved;
    entry->generation = update->generation;
}

/* A step may have written the alias while the stranger was made: then it was none. */
static void check_created(struct batch *batch, struct update *update)
{
    struct poll *poll = batch->poll;
    char id[ID_SIZE];
    if (aliases_find(poll->inventory->aliases, poll->vim, poll->kind, update->item->id, id, NULL) !=
            VIM_OK ||
        strcmp(id, update->resource.id) == 0) {
        return;
    }
    struct vim_write write = {
        .collection = poll->kind, .id = update->resource.id, .expect = VIM_EXPECT_ANY};
    if (store_commit(poll->inventory->store, &write, 1, NULL) == VIM_OK) {
        inventory_learn(poll->inventory, poll->vim, poll->kind, update->item->id, id, 0);
    }
}

static void settle(struct batch *batch, struct update *update)
{
    if (update->disbelieved) {
        disbelieve(batch, update);
        return;
    }
    batch->changes += update->body != NULL;
    if (update->alias && update->body) {
        aliases_learn(batch->poll->inventory->aliases, batch->poll->vim, batch->poll->kind,
                      update->item->id, update->resource.id);
    }
    remember(batch, update);
    if (update->created && update->body) {
        check_created(batch, update);
    }
}

/* One item by itself, as often as others get in between. */
static int update_one(struct batch *batch, const struct vim_item *item, struct failure *failure)
{
    int code = VIM_E_CONFLICT;
    for (int tries = 0; tries < TRIES_MAX && code == VIM_E_CONFLICT; tries++) {
        struct update update = {.item = item};
        struct vim_write writes[UPDATE_WRITES];
        code = make_update(batch, &update, failure);
        if (code == VIM_OK) {
            uint32_t count = add_writes(batch->poll, &update, writes);
            code = count ? store_commit(batch->poll->inventory->store, writes, count, failure)
                         : VIM_OK;
        }
        if (code == VIM_OK) {
            settle(batch, &update);
        }
        update_free(&update);
    }
    /* Whoever is at that row all the time: the next round looks again. */
    return code == VIM_E_CONFLICT ? VIM_OK : code;
}

/* An item that cannot be read spoils neither the others nor the round. */
static bool is_bad_item(struct batch *batch, const struct vim_item *item, int code,
                        const struct failure *failure)
{
    if (code != VIM_E_INTERNAL) {
        return false;
    }
    log_event(VIM_WARNING, "item not taken", "vim=%s kind=%s id=%s text=%s", batch->poll->vim,
              batch->poll->kind, item->id, failure->text);
    return true;
}

static int flush_one_by_one(struct batch *batch, struct failure *failure)
{
    int code = VIM_OK;
    for (uint32_t i = 0; i < batch->count && code == VIM_OK; i++) {
        code = update_one(batch, &batch->items[i], failure);
        if (is_bad_item(batch, &batch->items[i], code, failure)) {
            code = VIM_OK;
        }
    }
    return code;
}

/* All items in one commit. */
static int flush_together(struct batch *batch, struct failure *failure)
{
    struct update *updates = memory_new_array(batch->count + 1, sizeof(*updates));
    struct vim_write *writes = memory_new_array(batch->count + 1, UPDATE_WRITES * sizeof(*writes));
    uint32_t count = 0, made = 0;
    int code = VIM_OK;
    for (; made < batch->count && code == VIM_OK; made++) {
        updates[made].item = &batch->items[made];
        code = make_update(batch, &updates[made], failure);
        if (code == VIM_OK) {
            count += add_writes(batch->poll, &updates[made], writes + count);
        }
    }
    if (code == VIM_OK && count) {
        code = store_commit(batch->poll->inventory->store, writes, count, failure);
    }
    for (uint32_t i = 0; i < made; i++) {
        if (code == VIM_OK) {
            settle(batch, &updates[i]);
        }
        update_free(&updates[i]);
    }
    free(updates);
    free(writes);
    return code;
}

int batch_flush(struct batch *batch, struct failure *failure)
{
    int code = batch->count ? flush_together(batch, failure) : VIM_OK;
    if (code == VIM_E_CONFLICT || code == VIM_E_INTERNAL || code == VIM_E_INVALID) {
        code = flush_one_by_one(batch, failure);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        item_free(&batch->items[i]);
    }
    batch->count = 0;
    return code;
}

/* --- What is gone -------------------------------------------------------------------------------- */

/* Deletes one row, and forgets its backend id. */
static int delete_gone(struct poll *poll, const struct gone *gone, uint64_t *changes,
                       struct failure *failure)
{
    struct resource resource = {0};
    CLEANUP_FREE char *body = NULL;
    int code = get_resource(poll, gone->id, &resource, &body, failure);
    if (code == VIM_OK && resource.task) {
        /* Its task finds out by itself, or is not in this process. */
        tasks_nudge(poll->inventory->tasks, resource.task);
        resource_free(&resource);
        return VIM_OK;
    }
    if (code == VIM_OK && text_equal(resource.backend_id, gone->backend_id)) {
        struct alias_buffer buffer;
        struct event_buffer event = {0}, drift = {0};
        struct vim_write writes[4] = {
            resource_write(&resource, NULL),
            alias_write(poll->vim, poll->kind, gone->backend_id, NULL, &buffer),
            event_of_resource(EVENT_RESOURCE_DELETED, &resource, resource.status, NULL,
                              clock_now_ms(), &event)};
        uint32_t count = 3;
        if (resource_is_managed(&resource)) {
            writes[count++] =
                event_of_drift(EVENT_DRIFT_DELETED, &resource, clock_now_ms(), &drift);
        }
        code = store_commit(poll->inventory->store, writes, count, failure);
        event_buffer_free(&event);
        event_buffer_free(&drift);
        *changes += code == VIM_OK;
    }
    resource_free(&resource);
    if (code == VIM_OK || code == VIM_E_NOT_FOUND) {
        aliases_learn(poll->inventory->aliases, poll->vim, poll->kind, gone->backend_id, NULL);
        LOCK_GUARD(&poll->mutex);
        struct entry *entry = cache_find(&poll->cache, gone->backend_id);
        if (entry) {
            cache_remove(&poll->cache, entry);
        }
        return VIM_OK;
    }
    return code;
}

int update_gone(struct poll *poll, const struct gone *gone, size_t count, uint64_t *changes,
                struct failure *failure)
{
    int code = VIM_OK;
    for (size_t i = 0; i < count && code == VIM_OK; i++) {
        code = delete_gone(poll, &gone[i], changes, failure);
        if (code == VIM_E_CONFLICT) {
            code = VIM_OK; /* a task has come to it: the next round looks again */
        }
    }
    return code;
}

/* --- Load ---------------------------------------------------------------------------------------- */

struct load {
    struct poll *poll;
    char (*strays)[ID_SIZE]; /* derived twins of rows that a task has made */
    size_t stray_count;
    bool differs; /* a row is not as it was known */
};

static char *peek_text(const struct vim_item *item, const char *member)
{
    struct json_piece piece;
    char *text = NULL;
    if (json_peek(item->body, strlen(item->body), member, &piece) == VIM_OK) {
        (void)json_piece_text(piece, &text);
    }
    return text;
}

static void add_stray(struct load *load, const char *id)
{
    load->strays = memory_resize(load->strays, load->stray_count + 1, ID_SIZE);
    memset(load->strays[load->stray_count], 0, ID_SIZE);
    strncpy(load->strays[load->stray_count++], id, ID_SIZE - 1);
}

static int load_row(void *argument, const struct vim_item *item)
{
    struct load *load = argument;
    struct poll *poll = load->poll;
    CLEANUP_FREE char *vim = item->body ? peek_text(item, "vim") : NULL;
    CLEANUP_FREE char *backend_id = vim ? peek_text(item, "backend_id") : NULL;
    char derived[ID_SIZE];
    if (!backend_id || strcmp(vim, poll->vim) != 0) {
        return 0;
    }
    resource_derive_id(poll->vim, poll->kind, backend_id, derived);
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_make(&poll->cache, backend_id);
    if (entry->load == poll->load && strcmp(entry->id, item->id) != 0) {
        if (strcmp(item->id, derived) == 0) {
            add_stray(load, item->id);
            return 0;
        }
        if (strcmp(entry->id, derived) == 0) {
            add_stray(load, entry->id);
        }
    }
    load->differs = load->differs || entry->revision != item->revision;
    entry->hash = entry->revision == item->revision ? entry->hash : 0;
    entry->revision = item->revision;
    entry->load = poll->load;
    strncpy(entry->id, item->id, ID_SIZE - 1);
    return 0;
}

static void forget_rows(struct poll *poll)
{
    LOCK_GUARD(&poll->mutex);
    for (struct entry *entry = poll->cache.entries; entry; entry = entry->hh.next) {
        entry->hash = entry->revision = 0;
    }
}

/* What has lost its row since, and not by a step of this process: if it is still there it gets one again.
 * After what differs a complete look is due, for nothing else shows what has not changed. */
static void look_at_differences(struct load *load, int64_t began)
{
    struct poll *poll = load->poll;
    LOCK_GUARD(&poll->mutex);
    for (struct entry *entry = poll->cache.entries; entry; entry = entry->hh.next) {
        if (entry->id[0] && entry->load != poll->load && !entry->deleted &&
            entry->touched < began && entry->added < began) {
            entry->hash = entry->revision = 0;
            load->differs = true;
        }
    }
    poll->need_full = poll->need_full || load->differs;
}

int update_load(struct poll *poll, bool anew, struct failure *failure)
{
    struct load load = {.poll = poll};
    int64_t began = clock_mono_ms();
    poll->load++;
    if (anew) {
        forget_rows(poll);
    }
    struct vim_scan scan = {.collection = poll->kind};
    int code = store_scan(poll->inventory->store, &scan, load_row, &load, failure);
    for (size_t i = 0; i < load.stray_count && code == VIM_OK; i++) {
        struct vim_write write = {
            .collection = poll->kind, .id = load.strays[i], .expect = VIM_EXPECT_ANY};
        code = store_commit(poll->inventory->store, &write, 1, failure);
    }
    free(load.strays);
    if (code == VIM_OK) {
        look_at_differences(&load, began);
    }
    return code;
}
