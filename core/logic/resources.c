/*
 * logic/resources.c - reading resources: the rows as they are stored.
 */
#include "logic/resources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

bool resources_load_row(struct call *call, const char *collection, struct row *ret_row)
{
    struct failure failure = {0};
    int code = store_get(call->logic->environment.store, collection, call->id, ret_row, &failure);
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

bool resources_load(struct call *call, struct row *ret_row)
{
    if (!id_valid(call->id)) {
        logic_not_found(call);
        return false;
    }
    return resources_load_row(call, call->kind->name, ret_row);
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

/* --- Lists ----------------------------------------------------------------------------------- */

static const char *status_name(unsigned number)
{
    return number < STATUS_COUNT ? resource_status_name((enum resource_status)number) : NULL;
}

void resources_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    if (!list_begin(call, &vocabulary, call->kind->plural, NULL, &lister)) {
        return;
    }
    struct list_source source = {
        .collection = call->kind->name, .state_field = "status", .state_name = status_name};
    int code = list_rows(call, &lister, &source, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}
