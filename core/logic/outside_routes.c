/*
 * logic/outside_routes.c - what happened outside: /v1/orphans, what carries a tag of vimd's and is nobody's, and
 * /v1/drift, what was changed on resources of vimd's own. Both are marks in the resources' rows; so lists look into
 * all rows, as text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/list.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "model/drift.h"
#include "model/event.h"

/* --- Rows with a mark, of all kinds ---------------------------------------------------------- */

struct marked {
    char id[ID_SIZE];
    char *body;
};

struct marks {
    const struct call *call;
    const char *member; /* that a row has to have */
    struct marked *items;
    size_t count;
};

static int take_marked(void *argument, const struct vim_item *item)
{
    struct marks *marks = argument;
    struct json_piece piece;
    char hint[32];
    (void)snprintf(hint, sizeof(hint), "\"%s\":", marks->member);
    if (!strstr(item->body, hint) || !access_sees(marks->call->principal, item->parent) ||
        json_peek(item->body, strlen(item->body), marks->member, &piece) != VIM_OK) {
        return 0;
    }
    marks->items = memory_resize(marks->items, marks->count + 1, sizeof(*marks->items));
    struct marked *marked = &marks->items[marks->count++];
    (void)snprintf(marked->id, sizeof(marked->id), "%s", item->id);
    marked->body = text_duplicate(item->body);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct marked *)a)->id, ((const struct marked *)b)->id);
}

static int find_marked(struct call *call, const char *member, struct marks *marks,
                       struct failure *failure)
{
    size_t count;
    int code = VIM_OK;
    const struct kind *kinds = kinds_all(&count);
    *marks = (struct marks){.call = call, .member = member};
    for (size_t i = 0; i < count && code == VIM_OK; i++) {
        struct vim_scan scan = {.collection = kinds[i].name};
        code = store_scan(call->logic->environment.store, &scan, take_marked, marks, failure);
    }
    if (marks->count) {
        qsort(marks->items, marks->count, sizeof(*marks->items), by_id);
    }
    return code;
}

static void marks_free(struct marks *marks)
{
    for (size_t i = 0; i < marks->count; i++) {
        free(marks->items[i].body);
    }
    free(marks->items);
}

typedef int (*is_listed_fn)(struct call *call, const struct marked *marked, bool *ret_is,
                            struct failure *failure);

/* Answers with those that have MEMBER, and of which IS_LISTED (NULL: all) says so. */
static void list_marked(struct call *call, const struct vocabulary *vocabulary, const char *name,
                        const char *member, is_listed_fn is_listed)
{
    const char *const members[] = {"id",      "kind",   "name",       "vim",
                                   "project", "status", "backend_id", member};
    struct lister lister;
    struct marks marks;
    struct failure failure = {0};
    if (!list_begin(call, vocabulary, name, NULL, &lister)) {
        return;
    }
    int code = find_marked(call, member, &marks, &failure);
    bool full = false;
    for (size_t n = 0; n < marks.count && code == VIM_OK && !full; n++) {
        const struct marked *marked =
            &marks.items[lister.query.descending ? marks.count - 1 - n : n];
        CLEANUP_TEXT struct text text = {0};
        bool listed = true;
        if (is_listed) {
            code = is_listed(call, marked, &listed, &failure);
        }
        if (code == VIM_OK && listed &&
            (lister.query.sort || !list_is_before(&lister, marked->id))) {
            fields_project(members, sizeof(members) / sizeof(members[0]), marked->body,
                           strlen(marked->body), &text);
            full = list_offer(&lister, marked->id, text_get(&text), text.length) != 0;
        }
    }
    marks_free(&marks);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

/* --- Orphans --------------------------------------------------------------------------------- */

/* Is there anything that was made under TAG: a resource, or the task that did it? What another vimd has made is that
 * one's. */
static int has_owner(struct store *store, const char *tag, bool *ret_has, struct failure *failure)
{
    size_t count;
    if (!id_is_own(tag)) {
        *ret_has = true;
        return VIM_OK;
    }
    const struct kind *kinds = kinds_all(&count);
    int code = VIM_E_NOT_FOUND;
    for (size_t i = 0; i <= count && code == VIM_E_NOT_FOUND; i++) {
        struct row row = {0};
        code = store_get(store, i < count ? kinds[i].name : COLLECTION_TASK, tag, &row, failure);
        row_free(&row);
    }
    *ret_has = code == VIM_OK;
    return code == VIM_E_NOT_FOUND ? VIM_OK : code;
}

static char *tag_of(const char *body)
{
    struct json_piece piece;
    char *tag = NULL;
    if (json_peek(body, strlen(body), "tag", &piece) == VIM_OK) {
        (void)json_piece_text(piece, &tag);
    }
    return tag;
}

static int is_orphan(struct call *call, const struct marked *marked, bool *ret_is,
                     struct failure *failure)
{
    CLEANUP_FREE char *tag = tag_of(marked->body);
    bool owned = true;
    int code = tag ? has_owner(call->logic->environment.store, tag, &owned, failure) : VIM_OK;
    *ret_is = !owned;
    return code;
}

void orphans_list(struct call *call)
{
    list_marked(call, &vocabulary_orphans, "orphans", "tag", is_orphan);
}

/* The resource that the path names, of whatever kind, for a change; else answers. */
static bool load(struct call *call, struct resource *ret_resource)
{
    size_t count;
    struct failure failure = {0};
    const struct kind *kinds = kinds_all(&count);
    int code = VIM_E_NOT_FOUND;
    for (size_t i = 0; i < count && code == VIM_E_NOT_FOUND && id_valid(call->id); i++) {
        struct row row = {0};
        code = store_get(call->logic->environment.store, kinds[i].name, call->id, &row, &failure);
        row_free(&row);
        call->kind = code == VIM_OK ? &kinds[i] : NULL;
    }
    if (code == VIM_OK) {
        return resources_load_to_change(call, ret_resource);
    }
    if (code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else {
        logic_failure(call, &failure, ORIGIN_OWN);
    }
    return false;
}

/* One that is an orphan, and on which no task works; else answers. */
static bool load_orphan(struct call *call, struct resource *ret_resource)
{
    bool owned = true;
    struct failure failure = {0};
    if (!load(call, ret_resource)) {
        return false;
    }
    int code = ret_resource->tag
                   ? has_owner(call->logic->environment.store, ret_resource->tag, &owned, &failure)
                   : VIM_OK;
    if (code == VIM_OK && !owned) {
        return true;
    }
    resource_free(ret_resource);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
    } else {
        logic_fail(call, 409, "conflict", "It is no orphan.");
    }
    return false;
}

/* Commits the resource as it is now, with an event if there is one; answers 204. */
static void store_resource(struct call *call, struct resource *resource,
                           const struct vim_write *event)
{
    struct failure failure = {0};
    CLEANUP_FREE char *body = resource_render(resource);
    struct vim_write writes[2] = {resource_write(resource, body)};
    if (event) {
        writes[1] = *event;
    }
    int code = store_commit(call->logic->environment.store, writes, event ? 2 : 1, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct answer answer;
    answer_init(&answer, 204);
    logic_send(call, &answer);
}

void orphans_adopt(struct call *call)
{
    struct resource resource = {0};
    if (!load_orphan(call, &resource)) {
        return;
    }
    free(TAKE(resource.tag));
    resource.adopted = true;
    store_resource(call, &resource, NULL);
    resource_free(&resource);
}

static void submit(struct call *call, uint32_t verb, const char *what, enum resource_status status,
                   struct resource *resource, const char *spec,
                   const struct idempotency *idempotency)
{
    struct vim_target *target = NULL;
    if (!resources_target(call, resource->vim, &target)) {
        return;
    }
    if (resources_can(call, target, verb, what)) {
        struct task_wish wish = {.spec = spec};
        resources_submit(call, verb, resource, status, &wish, idempotency);
    }
    vim_target_release(target);
}

void orphans_delete(struct call *call)
{
    struct resource resource = {0};
    struct idempotency idempotency;
    if (!idempotency_begin(call, &idempotency) || !load_orphan(call, &resource)) {
        return;
    }
    submit(call, VIM_VERB_DELETE, "delete", STATUS_DELETING, &resource, "{}", &idempotency);
    resource_free(&resource);
}

/* --- Drift ----------------------------------------------------------------------------------- */

void drift_list(struct call *call)
{
    list_marked(call, &vocabulary_drift, "drift", "drift", NULL);
}

static bool load_drifted(struct call *call, struct resource *ret_resource)
{
    if (!load(call, ret_resource)) {
        return false;
    }
    if (ret_resource->drift) {
        return true;
    }
    resource_free(ret_resource);
    logic_fail(call, 409, "conflict", "Nothing of it was changed outside.");
    return false;
}

void drift_accept(struct call *call)
{
    struct resource resource = {0};
    struct event_buffer buffer = {0};
    if (!load_drifted(call, &resource)) {
        return;
    }
    json_decref(TAKE(resource.drift));
    struct vim_write event =
        event_of_drift(EVENT_DRIFT_SETTLED, &resource, clock_now_ms(), &buffer);
    store_resource(call, &resource, &event);
    event_buffer_free(&buffer);
    resource_free(&resource);
}

void drift_repair(struct call *call)
{
    struct resource resource = {0};
    struct idempotency idempotency;
    if (!idempotency_begin(call, &idempotency) || !load_drifted(call, &resource)) {
        return;
    }
    CLEANUP_JSON json_t *desired = drift_desired(&resource);
    CLEANUP_FREE char *spec = json_print(desired);
    submit(call, VIM_VERB_UPDATE, "update", STATUS_UPDATING, &resource, spec, &idempotency);
    resource_free(&resource);
}
