/*
 * logic/services.c - /v1/network-services: many resources as one wish. Lists are those of resources; the
 * engine does the rest (engine/graph.h).
 */
#include "logic/services.h"

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
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

/* Of this many writers at once each gets through. */
#define STORE_TRIES 64

/* --- As it is shown -------------------------------------------------------------------------- */

struct showing {
    struct logic *logic;
    struct text text;
    uint64_t tag; /* FNV-1a of ids and revisions */
    struct node *nodes;
    uint32_t count, capacity;
    int code;
    struct failure *failure;
};

static void mix(uint64_t *tag, const char *text, uint64_t number)
{
    for (; *text; text++) {
        *tag = (*tag ^ (unsigned char)*text) * 0x100000001b3u;
    }
    for (int i = 0; i < 8; i++) {
        *tag = (*tag ^ (number >> (8 * i) & 0xff)) * 0x100000001b3u;
    }
}

static int take_node(void *argument, const struct vim_item *item)
{
    struct showing *showing = argument;
    struct row row = {.id = (char *)(uintptr_t)item->id,
                      .parent = (char *)(uintptr_t)item->parent,
                      .body = (char *)(uintptr_t)item->body,
                      .body_length = strlen(item->body),
                      .revision = item->revision,
                      .state = item->state};
    if (showing->count == showing->capacity) {
        showing->capacity = showing->capacity ? showing->capacity * 2 : 64;
        showing->nodes = memory_resize(showing->nodes, showing->capacity, sizeof(*showing->nodes));
    }
    showing->code = node_parse(&row, &showing->nodes[showing->count], showing->failure);
    showing->count += showing->code == VIM_OK;
    return showing->code != VIM_OK;
}

static void add_member(struct text *text, const char *member, const char *value)
{
    if (value && *value) {
        text_printf(text, ",\"%s\":", member);
        json_add_string(text, value);
    }
}

/* A node with the status of its resource as the inventory has it. */
static int add_node(struct showing *showing, const struct node *node)
{
    struct row row = {0};
    struct text *text = &showing->text;
    int code = store_get(showing->logic->environment.store, node->kind->name, node->resource, &row,
                         showing->failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return code;
    }
    mix(&showing->tag, node->name, node->revision);
    mix(&showing->tag, node->resource, row.revision);
    text_add(text, "{\"name\":");
    json_add_string(text, node->name);
    add_member(text, "kind", node->kind->name);
    add_member(text, "id", node->resource);
    add_member(text, "state", node_state_name(node->state));
    if (code == VIM_OK) {
        add_member(text, "status", resource_status_name((enum resource_status)row.state));
    }
    text_add(text, ",\"needs\":");
    CLEANUP_JSON json_t *none = json_array();
    json_print_to(text, node->needs ? node->needs : none);
    add_member(text, "task", node->task);
    add_member(text, "error", node->error);
    text_add_char(text, '}');
    row_free(&row);
    return VIM_OK;
}

int service_render(struct logic *logic, const struct row *row, char **ret_body, size_t *ret_length,
                   uint64_t *ret_tag, struct failure *failure)
{
    struct showing showing = {.logic = logic, .tag = 0xcbf29ce484222325u, .failure = failure};
    struct vim_scan scan = {
        .size = sizeof(scan), .collection = COLLECTION_SERVICE_NODE, .parent = row->id};
    int code = store_scan(logic->environment.store, &scan, take_node, &showing, failure);
    code = code == VIM_OK ? showing.code : code;
    mix(&showing.tag, row->id, row->revision);
    text_add_bytes(&showing.text, row->body, row->body_length - 1); /* without its } */
    text_add(&showing.text, ",\"nodes\":[");
    for (uint32_t i = 0; i < showing.count; i++) {
        if (i > 0) {
            text_add_char(&showing.text, ',');
        }
        code = code == VIM_OK ? add_node(&showing, &showing.nodes[i]) : code;
        node_free(&showing.nodes[i]);
    }
    text_add(&showing.text, "]}");
    free(showing.nodes);
    if (code != VIM_OK) {
        text_free(&showing.text);
        return code;
    }
    *ret_tag = showing.tag;
    *ret_length = showing.text.length;
    *ret_body = text_take(&showing.text);
    return VIM_OK;
}

static void send_service(struct call *call, const struct row *row)
{
    char *body;
    size_t length;
    uint64_t tag;
    struct failure failure = {0};
    int code = service_render(call->logic, row, &body, &length, &tag, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    body_send(call, &vocabulary, 200, tag, body, length);
}

void services_get(struct call *call)
{
    struct row row = {0};
    if (resources_load(call, &row)) {
        send_service(call, &row);
        row_free(&row);
    }
}

/* --- Create ---------------------------------------------------------------------------------- */

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

/* Submits VERB: the service shall become what CHECK has found good; NULL: the description stays. */
static void submit(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                   enum resource_status status, json_t *arguments, struct service_spec *spec,
                   struct service_check *check, const struct idempotency *idempotency)
{
    char task_id[ID_SIZE];
    CLEANUP_FREE char *text = json_print(arguments);
    CLEANUP_FREE char *spec_text = NULL;
    struct vim_write more;
    struct task_wish wish = {.action = action, .spec = text, .task_id = id_new(task_id)};
    if (check) {
        json_decref(spec->next);
        spec->next = json_incref(check->description);
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

static void submit_create(struct service_check *check, const char *vim, const char *project,
                          json_t *labels, const struct idempotency *idempotency)
{
    char id[ID_SIZE];
    const char *name = json_get_text(check->description, "name", "");
    struct resource resource = {
        .id = text_duplicate(id_new(id)),
        .kind = text_duplicate(kinds_service()->name),
        .name = text_duplicate(name),
        .vim = text_duplicate(vim),
        .project = text_duplicate(project),
        .labels = json_incref(labels),
        .body = first_body(check->description, check->plan.count),
    };
    struct service_spec spec = {.prefix = text_duplicate(name)};
    CLEANUP_JSON json_t *arguments =
        json_pack("{s:s}", "on_failure", policy_of(check->description));
    submit(check->call, VIM_VERB_CREATE, NULL, &resource, STATUS_BUILD, arguments, &spec, check,
           idempotency);
    service_spec_free(&spec);
    resource_free(&resource);
}

void services_create(struct call *call)
{
    bool fine;
    CLEANUP_JSON json_t *body = NULL;
    struct idempotency idempotency = {0};
    struct service_check check = {.call = call};
    bool dry_run = logic_query_flag(call, "dryRun", &fine);
    if (!fine || (!dry_run && !idempotency_begin(call, &idempotency)) ||
        !body_parse(call, false, &body)) {
        return;
    }
    json_t *labels = json_object_get(body, "labels");
    struct vim_target *target =
        resources_choose_vim(call, json_object_get(body, "vim"), &check.findings);
    CLEANUP_FREE char *project = text_duplicate(
        resources_choose_project(call, json_object_get(body, "project"), &check.findings));
    if (labels) {
        labels_check(labels, false, &check.findings);
    }
    check.description = json_copy(body);
    json_object_del(check.description, "vim");
    json_object_del(check.description, "project");
    json_object_del(check.description, "labels");
    const char *prefix = json_get_text(body, "name", "");
    if (service_check_description(&check, target, project, prefix) &&
        service_check_passed(&check)) {
        const char *vim = vim_target_settings(target)->name;
        if (dry_run) {
            service_send_plan(&check, vim, project);
        } else {
            submit_create(&check, vim, project, labels, &idempotency);
        }
    }
    service_check_clear(&check);
    vim_target_release(target);
}

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

/* Checks what PATCH makes of the service, and submits it. */
static void change(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                   struct service_spec *spec, const json_t *patch, bool dry_run,
                   const struct idempotency *idempotency)
{
    struct vim_target *target = NULL;
    struct service_check check = {.call = call, .description = merge_patch(spec->now, patch)};
    if (!resources_target(call, resource->vim, &target)) {
        service_check_clear(&check);
        return;
    }
    bool fine = service_check_description(&check, target, resource->project, spec->prefix);
    if (fine && check.findings.count == 0) {
        service_check_changes(&check, spec->prefix, spec->now);
    }
    fine = fine && service_check_passed(&check);
    if (fine && dry_run) {
        service_send_plan(&check, resource->vim, resource->project);
    } else if (fine) {
        json_t *created = json_incref(json_object_get(resource->body, "created"));
        json_decref(resource->body);
        resource->body = first_body(check.description, check.plan.count);
        json_object_set_new(resource->body, "created", created);
        CLEANUP_JSON json_t *arguments =
            json_pack("{s:s}", "on_failure", policy_of(check.description));
        submit(call, verb, action, resource, STATUS_UPDATING, arguments, spec, &check, idempotency);
    }
    service_check_clear(&check);
    vim_target_release(target);
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

/* Labels are vimd's own: no task. */
static void update_labels(struct call *call, const json_t *labels)
{
    struct store *store = call->logic->environment.store;
    struct failure failure = {0};
    int code = VIM_E_CONFLICT;
    for (int i = 0; code == VIM_E_CONFLICT && i < STORE_TRIES; i++) {
        struct row row = {0};
        struct resource resource = {0};
        code = store_get(store, call->kind->name, call->id, &row, &failure);
        code = code == VIM_OK ? resource_parse(&row, call->kind->name, &resource, &failure) : code;
        row_free(&row);
        if (code == VIM_OK) {
            set_labels(&resource, labels);
            CLEANUP_FREE char *body = resource_render(&resource);
            struct vim_write write = resource_write(&resource, body);
            code = store_commit(store, &write, 1, &failure);
        }
        resource_free(&resource);
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
        update_labels(call, labels ? labels : nothing);
    } else if (is_settled(call, &resource, &spec)) {
        if (labels) {
            set_labels(&resource, labels);
        }
        change(call, VIM_VERB_UPDATE, NULL, &resource, &spec, patch, dry_run, &idempotency);
    }
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
    submit(call, VIM_VERB_DELETE, NULL, &resource, STATUS_DELETING, arguments, &spec, NULL,
           &idempotency);
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
    submit(call, VIM_VERB_ACTION, "heal", resource, STATUS_UPDATING, body, spec, NULL, idempotency);
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
    change(call, VIM_VERB_ACTION, "scale", resource, spec, patch, false, idempotency);
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
