/*
 * logic/update.c - PATCH and DELETE of a resource.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "model/event.h"
#include "logic/vocabularies.h"

/* Of this many writers at once each gets through. */
#define STORE_TRIES 64

/* RFC 7396 for an object of texts: null takes a member away. A new reference. */
static json_t *merge_texts(const json_t *current, const json_t *patch)
{
    json_t *merged = json_is_object(current) ? json_copy((json_t *)current) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)patch, key, value)
    {
        if (json_is_null(value)) {
            json_object_del(merged, key);
        } else {
            json_object_set(merged, key, value);
        }
    }
    return merged;
}

/* A patch says what changes inside of an object of texts; a driver gets all of it. */
static void complete_texts(const struct kind *kind, const json_t *current, json_t *patch)
{
    for (unsigned i = 0; i < kind->field_count; i++) {
        const struct field *field = &kind->fields[i];
        const json_t *value = json_object_get(patch, field->name);
        if (field->type == FIELD_TEXTS && json_is_object(value)) {
            json_object_set_new(patch, field->name,
                                merge_texts(json_object_get(current, field->name), value));
        }
    }
}

/* Takes the members out of the patch that are vimd's own, and finds fault with those that cannot be
 * changed. */
static void check_added(json_t *patch, struct findings *findings)
{
    unsigned count;
    const struct field *added = kinds_added_fields(&count);
    for (unsigned i = 0; i < count; i++) {
        if (json_object_get(patch, added[i].name) == NULL) {
            continue;
        }
        if (strcmp(added[i].name, "labels") != 0) {
            char pointer[64];
            snprintf(pointer, sizeof(pointer), "/%s", added[i].name);
            findings_add(findings, pointer, "cannot be changed");
        }
        json_object_del(patch, added[i].name);
    }
}

/* RFC 7396: null takes all of them away. */
static void set_labels(struct resource *resource, const json_t *patch)
{
    json_t *merged = json_is_null(patch) ? NULL : merge_texts(resource->labels, patch);
    json_decref(resource->labels);
    resource->labels = merged;
}

/* None at all and no members are the same. */
static bool same_labels(const json_t *a, const json_t *b)
{
    return json_object_size(a) == 0 ? json_object_size(b) == 0 : json_equal(a, b);
}

/* Labels are vimd's own: no task, no VIM. What changes nothing leaves the entity tag as it is.
 * RESOURCE was read before; another writer may have been faster, which without If-Match is no
 * reason to give up. */
static void update_labels(struct call *call, struct resource *resource, const json_t *labels,
                          const struct idempotency *idempotency)
{
    struct store *store = call->logic->environment.store;
    struct failure failure = {0};
    int code = VIM_E_CONFLICT;
    for (int i = 0; i < STORE_TRIES; i++) {
        CLEANUP_JSON json_t *before = json_incref(resource->labels);
        set_labels(resource, labels);
        bool same = same_labels(before, resource->labels);
        if (same) {
            json_decref(resource->labels);
            resource->labels = json_incref(before);
        }
        CLEANUP_FREE char *body = resource_render(resource);
        CLEANUP_FREE char *key_body = NULL;
        struct vim_write writes[2];
        uint32_t count = 0;
        if (!same) {
            writes[count++] = resource_write(resource, body);
        }
        idempotency_add(call, idempotency, writes, &count, &key_body);
        code = count ? store_commit(store, writes, count, &failure) : VIM_OK;
        if (code == VIM_OK) {
            struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
            size_t length = strlen(body);
            body_send(call, &vocabulary, 200, resource->revision + !same, TAKE(body), length);
            return;
        }
        if (code != VIM_E_CONFLICT) {
            break;
        }
        resource_free(resource);
        if (idempotency_answer(call, idempotency) || !resources_load_to_change(call, resource)) {
            return;
        }
    }
    logic_failure(call, &failure, ORIGIN_OWN);
}

/* Everything that can be wrong with a patch of the kind's own fields; false if answered. */
static bool check_patch(struct call *call, struct resource *resource, json_t *patch,
                        const json_t *labels, struct findings *findings)
{
    struct failure failure = {0};
    if (labels) {
        labels_check(labels, true, findings);
    }
    check_added(patch, findings);
    complete_texts(call->kind, resource->body, patch);
    kind_check_update(call->kind, patch, findings);
    if (findings->count == 0) {
        int code = references_resolve(call, call->kind, resource->vim, resource->project, patch,
                                      findings, &failure);
        if (code != VIM_OK) {
            failure.code = code;
            logic_failure(call, &failure, ORIGIN_OWN);
            return false;
        }
    }
    if (findings->count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", findings);
        return false;
    }
    return true;
}

static void submit_update(struct call *call, struct resource *resource, const json_t *patch,
                          const json_t *labels, const struct idempotency *idempotency)
{
    struct vim_target *target = NULL;
    if (!resources_target(call, resource->vim, &target)) {
        return;
    }
    if (resources_can(call, target, VIM_VERB_UPDATE, "update") &&
        resources_exists(call, resource)) {
        CLEANUP_FREE char *spec = json_print(patch);
        struct task_wish wish = {.spec = spec};
        if (labels) {
            set_labels(resource, labels);
        }
        resources_submit(call, VIM_VERB_UPDATE, resource, STATUS_UPDATING, &wish, idempotency);
    }
    vim_target_release(target);
}

void resources_update(struct call *call)
{
    CLEANUP_JSON json_t *patch = NULL;
    CLEANUP_JSON json_t *labels = NULL;
    struct idempotency idempotency;
    struct findings findings = {0};
    struct resource resource = {0};
    if (!idempotency_begin(call, &idempotency) || !body_parse(call, true, &patch) ||
        !resources_load_to_change(call, &resource)) {
        return;
    }
    labels = json_incref(json_object_get(patch, "labels"));
    if (check_patch(call, &resource, patch, labels, &findings)) {
        if (json_object_size(patch) > 0) {
            submit_update(call, &resource, patch, labels, &idempotency);
        } else {
            CLEANUP_JSON json_t *nothing = json_object();
            update_labels(call, &resource, labels ? labels : nothing, &idempotency);
        }
    }
    findings_free(&findings);
    resource_free(&resource);
}

/* --- Delete ---------------------------------------------------------------------------------- */

/* What never came to exist at the VIM is only a row. */
static void delete_row(struct call *call, const struct resource *resource,
                       const struct idempotency *idempotency)
{
    struct failure failure = {0};
    struct event_buffer event = {0};
    CLEANUP_FREE char *key_body = NULL;
    uint32_t count = 2;
    struct vim_write writes[3] = {
        {.collection = resource->kind, .id = resource->id, .expect = resource->revision},
        event_of_resource(EVENT_RESOURCE_DELETED, resource, resource->status, NULL, clock_now_ms(),
                          &event)};
    idempotency_add(call, idempotency, writes, &count, &key_body);
    int code = store_commit(call->logic->environment.store, writes, count, &failure);
    event_buffer_free(&event);
    if (code == VIM_E_CONFLICT && idempotency_answer(call, idempotency)) {
        return;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct answer answer;
    answer_init(&answer, 204);
    logic_send(call, &answer);
}

void resources_delete(struct call *call)
{
    struct idempotency idempotency;
    struct resource resource = {0};
    struct vim_target *target = NULL;
    if (!idempotency_begin(call, &idempotency) || !resources_load_to_change(call, &resource)) {
        return;
    }
    if (resource.backend_id == NULL && resource.task == NULL) {
        delete_row(call, &resource, &idempotency);
    } else if (resources_target(call, resource.vim, &target)) {
        if (resources_can(call, target, VIM_VERB_DELETE, "delete")) {
            struct task_wish wish = {.spec = "{}"};
            resources_submit(call, VIM_VERB_DELETE, &resource, STATUS_DELETING, &wish,
                             &idempotency);
        }
        vim_target_release(target);
    }
    resource_free(&resource);
}
