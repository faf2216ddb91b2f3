/* An item as a driver gave it, into a resource in vimd's terms. */
#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "model/drift.h"
#include "model/kinds.h"

struct translating {
    struct inventory *inventory;
    const char *vim;
    bool unresolved;
    struct failure *failure;
};

/* Is BACKEND_ID a resource that the inventory itself has found and named? */
static bool is_known(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id, const char *id)
{
    bool known = false;
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (poll) {
        pthread_mutex_lock(&poll->mutex);
        struct entry *entry = cache_find(&poll->cache, backend_id);
        known = entry && strcmp(entry->id, id) == 0;
        pthread_mutex_unlock(&poll->mutex);
    }
    return known;
}

static int translate(void *argument, const char *referenced, const char *pointer, const char *value,
                     char **ret_value)
{
    struct translating *translating = argument;
    char id[ID_SIZE];
    (void)pointer;
    int code = aliases_find(translating->inventory->aliases, translating->vim, referenced, value,
                            id, translating->failure);
    if (code == VIM_OK) {
        if (!is_known(translating->inventory, translating->vim, referenced, value, id)) {
            translating->unresolved = true;
        }
        *ret_value = text_duplicate(id);
    }
    return code;
}

static int merge_body(struct translating *translating, const char *kind_name,
                      const struct vim_item *item, struct resource *resource)
{
    json_t *body = NULL;
    struct json_fault fault;
    if (json_parse(item->body, strlen(item->body), NULL, &body, &fault) != VIM_OK ||
        !json_is_object(body)) {
        json_decref(body);
        return failure_set(translating->failure, VIM_E_INTERNAL,
                           "the driver's body of %s %s is not a JSON object", kind_name, item->id);
    }
    const struct kind *kind = kind_by_name(kind_name);
    int code = kind ? kind_each_reference(kind, body, translate, translating) : VIM_OK;
    if (code != VIM_OK) {
        json_decref(body);
        return code;
    }
    const char *name = json_get_text(body, "name", NULL);
    if (name) {
        free(resource->name);
        resource->name = text_duplicate(name);
    }
    json_object_del(body, "name");
    json_decref(resource->body);
    resource->body = body;
    return VIM_OK;
}

int merge_item(struct inventory *inventory, const char *vim, const char *kind,
               const struct vim_item *item, struct resource *resource, bool *ret_unresolved,
               struct failure *failure)
{
    struct translating translating = {.inventory = inventory, .vim = vim, .failure = failure};
    bool watched = item->body && !resource->task && resource->revision &&
                   text_equal(resource->backend_id, item->id) && resource_is_managed(resource);
    CLEANUP_JSON json_t *old_body = watched ? json_incref(resource->body) : NULL;
    CLEANUP_FREE char *old_name = watched ? text_duplicate(resource->name) : NULL;
    if (item->body) {
        int code = merge_body(&translating, kind, item, resource);
        if (code != VIM_OK) {
            return code;
        }
    }
    if (watched) {
        drift_look(resource, old_name, old_body, clock_now_ms());
    }
    if (!text_equal(resource->backend_id, item->id)) {
        free(resource->backend_id);
        resource->backend_id = text_duplicate(item->id);
    }
    resource->status = resource_status_by_name(item->status, NULL);
    resource->pending = item->flags & VIM_ITEM_PENDING;
    resource->shared = item->flags & VIM_ITEM_SHARED;
    const char *fault =
        resource->status == STATUS_ERROR
            ? json_get_text(json_object_get(resource->body, "fault"), "message", NULL)
            : NULL;
    free(resource->status_reason);
    resource->status_reason = text_duplicate(fault);
    *ret_unresolved = translating.unresolved;
    return VIM_OK;
}

int inventory_merge(struct inventory *inventory, const char *vim, const char *kind,
                    const struct vim_item *item, struct resource *resource, struct failure *failure)
{
    bool unresolved;
    int code = merge_item(inventory, vim, kind, item, resource, &unresolved, failure);
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (poll) {
        /* The row is going to be what this item says, not what the last list said. */
        pthread_mutex_lock(&poll->mutex);
        struct entry *entry = cache_find(&poll->cache, item->id);
        if (entry) {
            entry->hash = 0;
        }
        pthread_mutex_unlock(&poll->mutex);
    }
    return code;
}
