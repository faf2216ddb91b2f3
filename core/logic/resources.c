/*
 * logic/resources.c - reading resources: the rows as they are stored.
 */
#include "logic/resources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

bool resources_load(struct call *call, struct row *ret_row)
{
    struct failure failure = {0};
    int code = id_valid(call->id) ? store_get(call->logic->environment.store, call->kind->name,
                                              call->id, ret_row, &failure)
                                  : VIM_E_NOT_FOUND;
    if (code == VIM_OK && access_sees(call->principal, ret_row->parent)) {
        return true;
    }
    if (code == VIM_OK) {
        row_free(ret_row);
    }
    if (code == VIM_OK || code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else {
        logic_failure(call, &failure, ORIGIN_OWN);
    }
    return false;
}

bool resources_load_to_change(struct call *call, struct resource *ret_resource)
{
    struct row row = {0};
    struct failure failure = {0};
    if (!resources_load(call, &row)) {
        return false;
    }
    struct resource resource = {0};
    int code = resource_parse(&row, call->kind->name, &resource, &failure);
    row_free(&row);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return false;
    }
    if (!access_changes(call->principal, resource.project)) {
        resource_free(&resource);
        logic_fail(call, 403, "forbidden", "It belongs to another project.");
        return false;
    }
    if (!body_check_match(call, resource.revision)) {
        resource_free(&resource);
        return false;
    }
    *ret_resource = resource;
    return true;
}

bool resources_target(struct call *call, const char *vim, struct vim_target **ret_target)
{
    *ret_target = vims_get(call->logic->environment.vims, vim);
    if (*ret_target == NULL) {
        struct problem problem = {
            .status = 503, .code = "unavailable", .retryable = true, .vim = vim};
        snprintf(problem.detail, sizeof(problem.detail), "VIM %s is not configured (any more).",
                 vim);
        logic_send_problem(call, &problem);
    }
    return *ret_target != NULL;
}

bool resources_can(struct call *call, const struct vim_target *target, uint32_t verb,
                   const char *what)
{
    const struct vim_trait *trait = vim_target_trait(target, call->kind->name);
    if (trait && (trait->verbs & verb)) {
        return true;
    }
    char text[128];
    snprintf(text, sizeof(text), "%s a %s", what, call->kind->name);
    logic_unsupported(call, vim_target_settings(target)->name, text);
    return false;
}

bool resources_exists(struct call *call, const struct resource *resource)
{
    if (resource->backend_id) {
        return true;
    }
    struct problem problem = {.status = 409,
                              .code = "conflict",
                              .retryable = resource->task != NULL,
                              .task = resource->task,
                              .vim = resource->vim};
    snprintf(problem.detail, sizeof(problem.detail), "It does not exist at its VIM%s.",
             resource->task ? " yet" : "");
    logic_send_problem(call, &problem);
    return false;
}

void resources_submit(struct call *call, uint32_t verb, struct resource *resource,
                      enum resource_status status, struct task_wish *wish,
                      const struct idempotency *idempotency)
{
    /* The row shows what goes on; if nothing comes of it the engine restores the status. */
    resource->status = status;
    resource->pending = true;
    wish->verb = verb;
    wish->project = resource->project;
    wish->principal = call->principal->name;
    wish->vim = resource->vim;
    wish->kind = resource->kind;
    wish->resource = resource;
    submit_task(call, wish, idempotency);
}

/* --- One ------------------------------------------------------------------------------------- */

void resources_get(struct call *call)
{
    struct row row = {0};
    bool fine;
    bool fresh = logic_query_flag(call, "fresh", &fine);
    if (!fine || !resources_load(call, &row)) {
        return;
    }
    if (fresh) {
        resources_get_fresh(call, &row);
        return;
    }
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    uint64_t revision = row.revision;
    size_t length = row.body_length;
    char *body = TAKE(row.body);
    row_free(&row);
    body_send(call, &vocabulary, 200, revision, body, length);
}

/* --- Lists: what the project has and what is shared, in one order of ids ----------------------- */

struct kept_row {
    char *id, *body;
    size_t length;
};

struct merge {
    struct lister *lister;
    struct kept_row *shared; /* matching rows that are shared, in order */
    uint32_t shared_count, shared_at, shared_capacity;
};

static int keep_shared(void *argument, const struct vim_item *item)
{
    struct merge *merge = argument;
    size_t length = strlen(item->body);
    if (!list_matches(merge->lister, item->body, length)) {
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
    if (!list_matches(merge->lister, item->body, length)) {
        return 0;
    }
    return take_shared_before(merge, item->id) ||
           list_take(merge->lister, item->id, item->body, length);
}

static int offer_row(void *argument, const struct vim_item *item)
{
    return list_offer(argument, item->id, item->body, strlen(item->body));
}

static const char *status_name(unsigned number)
{
    return number < STATUS_COUNT ? resource_status_name((enum resource_status)number) : NULL;
}

/* Without conditions a store need not go further than the page; with them it cannot know. */
static struct vim_scan make_scan(const struct call *call, const struct lister *lister)
{
    const struct list_query *query = &lister->query;
    bool by_id = query->sort == NULL;
    return (struct vim_scan){
        .size = sizeof(struct vim_scan),
        .flags = by_id && query->descending ? VIM_SCAN_DESCENDING : 0,
        .collection = call->kind->name,
        .after = by_id && query->has_after ? query->after_id : NULL,
        .states = filter_mask(&query->filter, "status", status_name),
        .limit = by_id && query->filter.count == 0 ? list_enough(lister) : 0,
    };
}

static int scan_project(struct call *call, struct lister *lister, struct failure *failure)
{
    struct store *store = call->logic->environment.store;
    struct vim_scan scan = make_scan(call, lister);
    if (access_sees_all(call->principal)) {
        return store_scan(store, &scan, offer_row, lister, failure);
    }
    struct merge merge = {.lister = lister};
    scan.parent = PROJECT_SHARED;
    int code = lister->query.sort ? store_scan(store, &scan, offer_row, lister, failure)
                                  : store_scan(store, &scan, keep_shared, &merge, failure);
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

void resources_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    if (!list_begin(call, &vocabulary, call->kind->plural, NULL, &lister)) {
        return;
    }
    int code = scan_project(call, &lister, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}
