/*
 * logic/services_wish.c - what is wanted of a network service as a whole: checked, held against the room that the
 * VIM has, and submitted.
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
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/services.h"

/* The row as it is shown: the description without secrets. */
static json_t *first_body(const json_t *description, uint32_t node_count)
{
    char time[CLOCK_TEXT_SIZE];
    json_t *body = service_shown(description);
    json_object_del(body, "name");
    json_set_text(body, "created", clock_format_rfc3339(clock_now_ms(), time));
    json_set_text(body, "updated", time);
    json_set_integer(body, "node_count", node_count);
    return body;
}

static const char *policy_of(const json_t *description)
{
    return json_get_text(description, "on_failure", "rollback");
}

void service_submit(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                    json_t *arguments, struct service_spec *spec, const json_t *description,
                    const struct idempotency *idempotency)
{
    char task_id[ID_SIZE];
    CLEANUP_FREE char *text = json_print(arguments);
    CLEANUP_FREE char *spec_text = NULL;
    struct vim_write more;
    struct task_wish wish = {.action = action, .spec = text, .task_id = id_new(task_id)};
    enum resource_status status = verb == VIM_VERB_CREATE   ? STATUS_BUILD
                                  : verb == VIM_VERB_DELETE ? STATUS_DELETING
                                                            : STATUS_UPDATING;
    if (description) {
        json_decref(spec->next);
        spec->next = json_incref((json_t *)(uintptr_t)description);
        free(spec->by);
        spec->by = text_duplicate(task_id);
        spec_text = service_spec_render(spec);
        more = (struct vim_write){.collection = COLLECTION_SERVICE_SPEC,
                                  .id = resource->id,
                                  .parent = resource->project,
                                  .body = spec_text,
                                  .expect = spec->revision ? spec->revision : VIM_EXPECT_ABSENT};
        wish.more = &more;
    }
    resources_submit(call, verb, resource, status, &wish, idempotency);
}

/* --- From the check to the task ---------------------------------------------------------------- */

/* Lives from the check to the submission. */
struct wish {
    struct service_check check; /* its call is kept */
    struct vim_target *target;
    uint32_t verb;
    const char *action; /* or NULL; static */
    struct resource resource;
    struct service_spec spec;
    bool dry_run;
    struct idempotency idempotency;
};

static struct wish *wish_new(struct call *call, uint32_t verb, const char *action, bool dry_run,
                             const struct idempotency *idempotency)
{
    struct wish *wish = MEMORY_NEW(struct wish);
    *wish = (struct wish){.check = {.call = logic_keep(call)},
                          .verb = verb,
                          .action = action,
                          .dry_run = dry_run,
                          .idempotency = *idempotency};
    return wish;
}

static void wish_free(struct wish *wish)
{
    service_check_clear(&wish->check);
    service_spec_free(&wish->spec);
    resource_free(&wish->resource);
    vim_target_release(wish->target);
    free(wish);
}

/* All is known that can be: the end of the call. */
static void decide(void *argument)
{
    struct wish *wish = argument;
    struct service_check *check = &wish->check;
    struct resource *resource = &wish->resource;
    if (!service_check_passed(check)) {
        /* answered */
    } else if (wish->dry_run) {
        service_send_plan(check, resource->vim, resource->project);
    } else {
        json_t *created = json_incref(json_object_get(resource->body, "created"));
        json_decref(resource->body);
        resource->body = first_body(check->description, check->plan.count);
        if (created) {
            json_object_set_new(resource->body, "created", created);
        }
        CLEANUP_JSON json_t *arguments =
            json_pack("{s:s}", "on_failure", policy_of(check->description));
        service_submit(check->call, wish->verb, wish->action, resource, arguments, &wish->spec,
                       check->description, &wish->idempotency);
    }
    wish_free(wish);
}

static void separate(json_t **value)
{
    json_t *copy = json_deep_copy(*value);
    json_decref(*value);
    *value = copy;
}

/* Checks the description, and asks the VIM unless nothing could be asked for. */
static void consider(struct wish *wish)
{
    struct service_check *check = &wish->check;
    /* Another thread may go on with these while the caller lets go of the body that they came in. */
    separate(&check->description);
    separate(&wish->resource.labels);
    if (!service_check_description(check, wish->target, wish->resource.project,
                                   wish->spec.prefix)) {
        wish_free(wish);
        return;
    }
    if (wish->verb != VIM_VERB_CREATE) {
        service_check_changes(check, wish->spec.prefix, wish->spec.now);
    }
    if (!wish->target) {
        decide(wish);
    } else if (room_count(&check->room, check->call, &check->plan,
                          check->is_update ? &check->before : NULL)) {
        room_check(&check->room, check->call, wish->target, &check->findings, decide, wish);
    } else {
        wish_free(wish);
    }
}

/* --- Create ---------------------------------------------------------------------------------- */

void services_create(struct call *call)
{
    bool fine;
    char id[ID_SIZE];
    CLEANUP_JSON json_t *body = NULL;
    struct idempotency idempotency = {0};
    bool dry_run = logic_query_flag(call, "dryRun", &fine);
    if (!fine || (!dry_run && !idempotency_begin(call, &idempotency)) ||
        !body_parse(call, false, &body)) {
        return;
    }
    struct wish *wish = wish_new(call, VIM_VERB_CREATE, NULL, dry_run, &idempotency);
    struct service_check *check = &wish->check;
    json_t *labels = json_object_get(body, "labels");
    const char *name = json_get_text(body, "name", "");
    wish->target =
        resources_choose_vim(check->call, json_object_get(body, "vim"), &check->findings);
    if (labels) {
        labels_check(labels, false, &check->findings);
    }
    wish->resource = (struct resource){
        .id = text_duplicate(id_new(id)),
        .kind = text_duplicate(kinds_service()->name),
        .name = text_duplicate(name),
        .vim = text_duplicate(wish->target ? vim_target_settings(wish->target)->name : NULL),
        .project = text_duplicate(resources_choose_project(
            check->call, json_object_get(body, "project"), &check->findings)),
        .labels = json_incref(labels)};
    wish->spec.prefix = text_duplicate(name);
    check->description = json_copy(body);
    json_object_del(check->description, "vim");
    json_object_del(check->description, "project");
    json_object_del(check->description, "labels");
    consider(wish);
}

/* --- Changes --------------------------------------------------------------------------------- */

void service_change(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                    struct service_spec *spec, json_t *description, bool dry_run,
                    const struct idempotency *idempotency)
{
    struct vim_target *target = NULL;
    if (!resources_target(call, resource->vim, &target)) {
        json_decref(description);
        return;
    }
    struct wish *wish = wish_new(call, verb, action, dry_run, idempotency);
    wish->target = target;
    wish->check.description = description;
    wish->resource = *resource;
    wish->spec = *spec;
    *resource = (struct resource){.id = NULL};
    *spec = (struct service_spec){.now = NULL};
    consider(wish);
}
