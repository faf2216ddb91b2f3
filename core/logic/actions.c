/*
 * logic/actions.c - what is done to a resource beyond changing its fields: actions, uploads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "logic/body.h"
#include "logic/prefer.h"
#include "logic/resources.h"
#include "logic/route.h"

/* Splits {"action": "reboot", "type": "hard"} and checks it; NULL if the call was answered. */
static const char *check_action(struct call *call, json_t *arguments, const json_t *body)
{
    struct findings findings = {0};
    const json_t *action = json_object_get(body, "action");
    if (action == NULL) {
        findings_add(&findings, "/action", "is required");
    } else if (!json_is_string(action)) {
        findings_add(&findings, "/action", "must be a text");
    } else {
        kind_check_action(call->kind, json_string_value(action), arguments, &findings);
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return NULL;
    }
    return json_string_value(action);
}

static bool can_act(struct call *call, const struct vim_target *target, const char *action)
{
    if (vim_target_has_action(target, call->kind->name, action)) {
        return true;
    }
    char what[128];
    snprintf(what, sizeof(what), "%s a %s", action, call->kind->name);
    logic_unsupported(call, vim_target_settings(target)->name, what);
    return false;
}

void resources_act(struct call *call)
{
    CLEANUP_JSON json_t *body = NULL;
    CLEANUP_JSON json_t *arguments = NULL;
    struct idempotency idempotency;
    struct resource resource = {0};
    struct vim_target *target = NULL;
    if (!idempotency_begin(call, &idempotency) || !body_parse(call, false, &body)) {
        return;
    }
    arguments = json_copy(body);
    json_object_del(arguments, "action");
    const char *action = check_action(call, arguments, body);
    if (action == NULL || !resources_load_to_change(call, &resource)) {
        return;
    }
    if (resources_target(call, resource.vim, &target)) {
        if (can_act(call, target, action) && resources_exists(call, &resource)) {
            CLEANUP_FREE char *spec = json_print(arguments);
            struct task_wish wish = {.action = action, .spec = spec};
            resources_submit(call, VIM_VERB_ACTION, &resource, STATUS_UPDATING, &wish,
                             &idempotency);
        }
        vim_target_release(target);
    }
    resource_free(&resource);
}

/* --- Uploads --------------------------------------------------------------------------------- */

static bool check_upload(struct call *call)
{
    if (!content_type_is(logic_header(call, "content-type"), "application/octet-stream")) {
        logic_fail(call, 415, "unsupported-media-type",
                   "The data must be sent as application/octet-stream.");
        return false;
    }
    if (call->request->body_path == NULL || call->request->body_size <= 0) {
        logic_fail(call, 422, "validation", "There is no data.");
        return false;
    }
    return true;
}

static bool awaits_data(struct call *call, const struct resource *resource)
{
    if (!resources_exists(call, resource)) {
        return false;
    }
    if (resource->status == STATUS_ACTIVE) {
        logic_fail(call, 409, "conflict", "Its data was uploaded before and cannot be replaced.");
        return false;
    }
    return true;
}

void resources_upload(struct call *call)
{
    struct idempotency idempotency;
    struct resource resource = {0};
    struct vim_target *target = NULL;
    if (!check_upload(call) || !idempotency_begin(call, &idempotency) ||
        !resources_load_to_change(call, &resource)) {
        return;
    }
    if (resources_target(call, resource.vim, &target)) {
        if (resources_can(call, target, VIM_VERB_UPLOAD, "take the data of") &&
            awaits_data(call, &resource)) {
            struct task_wish wish = {.spec = "{}",
                                     .data_path = call->request->body_path,
                                     .data_size = call->request->body_size};
            resources_submit(call, VIM_VERB_UPLOAD, &resource, STATUS_UPLOADING, &wish,
                             &idempotency);
        }
        vim_target_release(target);
    }
    resource_free(&resource);
}
