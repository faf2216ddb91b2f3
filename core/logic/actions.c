/*
 * logic/actions.c - what is done to a resource beyond changing its fields: actions, uploads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
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

bool resources_can_act(struct call *call, const struct vim_target *target, const char *kind,
                       const char *action)
{
    if (vim_target_has_action(target, kind, action)) {
        return true;
    }
    char what[128];
    snprintf(what, sizeof(what), "%s a %s", action, kind);
    logic_unsupported(call, vim_target_settings(target)->name, what);
    return false;
}

bool resources_can_boot(struct call *call, const struct vim_target *target, const json_t *server)
{
    const struct vim_trait *trait = vim_target_trait(target, "volume");
    if (!json_object_get(server, "boot_volume") || (trait && (trait->verbs & VIM_VERB_CREATE))) {
        return true;
    }
    logic_unsupported(call, vim_target_settings(target)->name, "boot a server from a volume");
    return false;
}

/* Puts ids for names in the arguments; false if the call was answered. */
static bool resolve_arguments(struct call *call, const struct resource *resource, json_t *arguments)
{
    struct findings findings = {0};
    struct failure failure = {0};
    int code = references_resolve_arguments(call, resource, arguments, &findings, &failure);
    if (code != VIM_OK) {
        findings_free(&findings);
        failure.code = code;
        logic_failure(call, &failure, ORIGIN_OWN);
        return false;
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return false;
    }
    return true;
}

/* The image that a snapshot makes is a resource of its own, so it is the image's create: with an
 * undo, and an id at once. */
static void submit_snapshot(struct call *call, const struct resource *server, json_t *arguments,
                            const struct idempotency *idempotency)
{
    char id[ID_SIZE];
    json_set_text(arguments, "server", server->id);
    CLEANUP_FREE char *spec = json_print(arguments);
    struct resource image = {
        .id = text_duplicate(id_new(id)),
        .kind = text_duplicate("image"),
        .name = text_duplicate(json_get_text(arguments, "name", "")),
        .vim = text_duplicate(server->vim),
        .project = text_duplicate(server->project),
        .body = json_object(),
    };
    struct task_wish wish = {.spec = spec};
    resources_submit(call, VIM_VERB_CREATE, &image, STATUS_BUILD, &wish, idempotency);
    resource_free(&image);
}

static void submit_action(struct call *call, struct resource *resource, const char *action,
                          const json_t *arguments, const struct idempotency *idempotency)
{
    CLEANUP_FREE char *spec = json_print(arguments);
    struct task_wish wish = {.action = action, .spec = spec};
    resources_submit(call, VIM_VERB_ACTION, resource, STATUS_UPDATING, &wish, idempotency);
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
        if (resources_can_act(call, target, call->kind->name, action) &&
            resources_exists(call, &resource) && resolve_arguments(call, &resource, arguments)) {
            if (strcmp(action, "snapshot") == 0) {
                submit_snapshot(call, &resource, arguments, &idempotency);
            } else {
                submit_action(call, &resource, action, arguments, &idempotency);
            }
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
