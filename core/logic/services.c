/*
 * logic/services.c - /v1/network-services: many resources as one wish. Lists are those of resources; they are
 * shown by services_show.c; what is wanted is checked and submitted by services_wish.c; the engine does the rest (engine/graph.h).
 */
#include "logic/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/route.h"

/* Of this many writers at once each gets through. */
#define STORE_TRIES 64

/* --- Changes --------------------------------------------------------------------------------- */

/* The service that the path names, to be changed. False if the call was answered. */
static bool load(struct call *call, struct resource *ret_resource, struct service_spec *ret_spec)
{
    struct row row = {0};
    struct failure failure = {0};
    uint64_t tag = 0;
    char *body = NULL;
    size_t length;
    if (!resources_load(call, &row)) {
        return false;
    }
    int code = VIM_OK;
    if (logic_header(call, "if-match")) {
        code = service_render(call->logic, &row, &body, &length, &tag, &failure);
        free(body);
    }
    code = code == VIM_OK ? resource_parse(&row, call->kind->name, ret_resource, &failure) : code;
    row_free(&row);
    if (code == VIM_OK) {
        code = service_spec_get(call->logic->environment.store, call->id, ret_spec, &failure);
    }
    if (code != VIM_OK) {
        resource_free(ret_resource);
        logic_failure(call, &failure, ORIGIN_OWN);
        return false;
    }
    bool fine = access_changes(call->principal, ret_resource->project);
    if (!fine) {
        logic_fail(call, 403, "forbidden", "It belongs to another project.");
    }
    fine = fine && body_check_match(call, tag);
    if (!fine) {
        resource_free(ret_resource);
        service_spec_free(ret_spec);
    }
    return fine;
}

/* Answers 409 if there is nothing that could be changed: it was never made, or something works on it. */
static bool is_settled(struct call *call, const struct resource *resource,
                       const struct service_spec *spec)
{
    if (spec->now && !resource->task) {
        return true;
    }
    struct problem problem = {.status = 409,
                              .code = "conflict",
                              .retryable = resource->task != NULL,
                              .task = resource->task,
                              .vim = resource->vim};
    if (resource->task) {
        snprintf(problem.detail, sizeof(problem.detail), "Task %s works on it.", resource->task);
    } else {
        snprintf(problem.detail, sizeof(problem.detail), "It was never made: delete it.");
    }
    logic_send_problem(call, &problem);
    return false;
}

/* RFC 7396: PATCH applied to TARGET; a new reference. */
static json_t *merge_patch(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch)) {
        return json_incref((json_t *)(uintptr_t)patch);
    }
    json_t *merged =
        json_is_object(target) ? json_copy((json_t *)(uintptr_t)target) : json_object();
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, member, value)
    {
        if (json_is_null(value)) {
            json_object_del(merged, member);
        } else {
            json_object_set_new(merged, member,
                                merge_patch(json_object_get(target, member), value));
        }
    }
    return merged;
}

/* What cannot be changed; takes labels out of the patch. */
static bool check_patch(struct call *call, json_t *patch, json_t **ret_labels)
{
    struct findings findings = {0};
    static const char *const fixed[] = {"name",  "vim",           "project",   "id",
                                        "kind",  "shared",        "status",    "pending",
                                        "task",  "created",       "updated",   "node_count",
                                        "nodes", "status_reason", "backend_id"};
    *ret_labels = json_incref(json_object_get(patch, "labels"));
    json_object_del(patch, "labels");
    if (*ret_labels) {
        labels_check(*ret_labels, true, &findings);
    }
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (json_object_get(patch, fixed[i])) {
            CLEANUP_FREE char *pointer = text_format("/%s", fixed[i]);
            findings_add(&findings, pointer, "cannot be changed");
        }
    }
    bool fine = findings.count == 0;
    if (!fine) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
    }
    return fine;
}

static void set_labels(struct resource *resource, const json_t *patch)
{
    json_t *merged = json_is_null(patch) ? NULL : merge_patch(resource->labels, patch);
    json_decref(resource->labels);
    resource->labels = merged;
}

/* Labels are vimd's own: no task. RESOURCE and SPEC were read before; another writer may have been faster, which
 * without If-Match is no reason to give up. */
static void update_labels(struct call *call, struct resource *resource, struct service_spec *spec,
                          const json_t *labels, const struct idempotency *idempotency)
{
    struct store *store = call->logic->environment.store;
    struct failure failure = {0};
    int code = VIM_E_CONFLICT;
    for (int i = 0; code == VIM_E_CONFLICT && i < STORE_TRIES; i++) {
        if (i > 0) {
            service_spec_free(spec);
            resource_free(resource);
            if (idempotency_answer(call, idempotency) || !load(call, resource, spec)) {
                return;
            }
        }
        set_labels(resource, labels);
        CLEANUP_FREE char *body = resource_render(resource);
        CLEANUP_FREE char *key_body = NULL;
        struct vim_write writes[2] = {resource_write(resource, body)};
        uint32_t count = 1;
        idempotency_add(call, idempotency, writes, &count, &key_body);
        code = store_commit(store, writes, count, &failure);
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    services_get(call);
}

void services_update(struct call *call)
{
    bool fine;
    CLEANUP_JSON json_t *patch = NULL;
    CLEANUP_JSON json_t *labels = NULL;
    struct idempotency idempotency = {0};
    struct resource resource = {0};
    struct service_spec spec = {0};
    bool dry_run = logic_query_flag(call, "dryRun", &fine);
    if (!fine || (!dry_run && !idempotency_begin(call, &idempotency)) ||
        !body_parse(call, true, &patch) || !check_patch(call, patch, &labels) ||
        !load(call, &resource, &spec)) {
        return;
    }
    if (json_object_size(patch) == 0 && !dry_run) {
        CLEANUP_JSON json_t *nothing = json_object();
        update_labels(call, &resource, &spec, labels ? labels : nothing, &idempotency);
    } else if (is_settled(call, &resource, &spec)) {
        if (labels) {
            set_labels(&resource, labels);
        }
        json_t *description = merge_patch(spec.now, patch);
        service_change(call, VIM_VERB_UPDATE, NULL, &resource, &spec, description, dry_run,
                       &idempotency);
    }
    service_spec_free(&spec);
    resource_free(&resource);
}

/* What a replacement may tell, but not change. */
static void check_fixed(const json_t *body, const char *member, const char *is,
                        struct findings *findings)
{
    const json_t *value = json_object_get(body, member);
    if (value && !text_equal(json_string_value(value), is)) {
        CLEANUP_FREE char *pointer = text_format("/%s", member);
        findings_add(findings, pointer, "cannot be changed");
    }
}

/* The description that BODY is, without what is not part of it; NULL if the call was answered. */
static json_t *check_replacement(struct call *call, const json_t *body,
                                 const struct resource *resource)
{
    struct findings findings = {0};
    const json_t *labels = json_object_get(body, "labels");
    check_fixed(body, "name", resource->name, &findings);
    check_fixed(body, "vim", resource->vim, &findings);
    check_fixed(body, "project", resource->project, &findings);
    if (labels) {
        labels_check(labels, false, &findings);
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return NULL;
    }
    json_t *description = json_copy((json_t *)(uintptr_t)body);
    json_object_del(description, "vim");
    json_object_del(description, "project");
    json_object_del(description, "labels");
    return description;
}

/* PUT: the body takes the place of the description and of the labels; what differs is changed as by PATCH. */
void services_replace(struct call *call)
{
    bool fine;
    CLEANUP_JSON json_t *body = NULL;
    struct idempotency idempotency = {0};
    struct resource resource = {0};
    struct service_spec spec = {0};
    bool dry_run = logic_query_flag(call, "dryRun", &fine);
    if (!fine || (!dry_run && !idempotency_begin(call, &idempotency)) ||
        !body_parse(call, false, &body) || !load(call, &resource, &spec)) {
        return;
    }
    json_t *description = check_replacement(call, body, &resource);
    if (description && is_settled(call, &resource, &spec)) {
        json_decref(resource.labels);
        resource.labels = json_incref(json_object_get(body, "labels"));
        service_change(call, VIM_VERB_UPDATE, NULL, &resource, &spec, description, dry_run,
                       &idempotency);
        description = NULL;
    }
    json_decref(description);
    service_spec_free(&spec);
    resource_free(&resource);
}

void services_delete(struct call *call)
{
    struct idempotency idempotency;
    struct resource resource = {0};
    struct service_spec spec = {0};
    if (!idempotency_begin(call, &idempotency) || !load(call, &resource, &spec)) {
        return;
    }
    CLEANUP_JSON json_t *arguments = json_object();
    service_submit(call, VIM_VERB_DELETE, NULL, &resource, arguments, &spec, NULL, &idempotency);
    service_spec_free(&spec);
    resource_free(&resource);
}

/* --- Actions --------------------------------------------------------------------------------- */

/* Makes what is lost anew, and what the request names. */
static void heal(struct call *call, struct resource *resource, struct service_spec *spec,
                 json_t *body, const struct idempotency *idempotency)
{
    struct findings findings = {0};
    struct service_plan plan;
    size_t i;
    json_t *name;
    service_plan_make(spec->prefix, spec->now, &findings, &plan);
    json_array_foreach(json_object_get(body, "nodes"), i, name)
    {
        if (service_plan_find(&plan, json_string_value(name)) == UINT32_MAX) {
            CLEANUP_FREE char *pointer = text_format("/nodes/%zu", i);
            findings_add(&findings, pointer, "the service has no node %s", json_string_value(name));
        }
    }
    service_plan_free(&plan);
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return;
    }
    json_object_del(body, "action");
    service_submit(call, VIM_VERB_ACTION, "heal", resource, body, spec, NULL, idempotency);
}

static void scale(struct call *call, struct resource *resource, struct service_spec *spec,
                  const json_t *body, const struct idempotency *idempotency)
{
    struct findings findings = {0};
    const char *vnf = json_get_text(body, "vnf", NULL);
    const json_t *count = json_object_get(body, "count");
    if (!vnf) {
        findings_add(&findings, "/vnf", "is required");
    } else if (!json_object_get(json_object_get(spec->now, "vnfs"), vnf)) {
        findings_add(&findings, "/vnf", "the service has no VNF %s", vnf);
    }
    if (!count) {
        findings_add(&findings, "/count", "is required");
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return;
    }
    CLEANUP_JSON json_t *patch = json_pack("{s:{s:{s:O}}}", "vnfs", vnf, "count", count);
    service_change(call, VIM_VERB_ACTION, "scale", resource, spec, merge_patch(spec->now, patch),
                   false, idempotency);
}

void services_act(struct call *call)
{
    CLEANUP_JSON json_t *body = NULL;
    struct idempotency idempotency;
    struct resource resource = {0};
    struct service_spec spec = {0};
    struct findings findings = {0};
    if (!idempotency_begin(call, &idempotency) || !body_parse(call, false, &body)) {
        return;
    }
    CLEANUP_JSON json_t *arguments = json_copy(body);
    const char *action = json_get_text(body, "action", NULL);
    json_object_del(arguments, "action");
    if (!action) {
        findings_add(&findings, "/action", "is required: heal or scale");
    } else {
        kind_check_action(call->kind, action, arguments, &findings);
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return;
    }
    if (!load(call, &resource, &spec)) {
        return;
    }
    if (!is_settled(call, &resource, &spec)) {
        /* answered */
    } else if (strcmp(action, "heal") == 0) {
        heal(call, &resource, &spec, arguments, &idempotency);
    } else {
        scale(call, &resource, &spec, arguments, &idempotency);
    }
    service_spec_free(&spec);
    resource_free(&resource);
}

void services_tasks(struct call *call)
{
    struct row row = {0};
    call->kind = kinds_service();
    if (resources_load(call, &row)) {
        row_free(&row);
        tasks_routes_list(call);
    }
}
