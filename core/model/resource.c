#include "model/resource.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

static const char *const status_names[STATUS_COUNT] = {
    [STATUS_UNKNOWN] = "UNKNOWN",   [STATUS_QUEUED] = "QUEUED",
    [STATUS_BUILD] = "BUILD",       [STATUS_UPDATING] = "UPDATING",
    [STATUS_DELETING] = "DELETING", [STATUS_UPLOADING] = "UPLOADING",
    [STATUS_ACTIVE] = "ACTIVE",     [STATUS_SHUTOFF] = "SHUTOFF",
    [STATUS_PAUSED] = "PAUSED",     [STATUS_SUSPENDED] = "SUSPENDED",
    [STATUS_DOWN] = "DOWN",         [STATUS_ERROR] = "ERROR",
};

/* Members that vimd adds; everything else in a row's body is the driver's. */
static const char own_members[] = "id kind name vim project shared status pending status_reason "
                                  "backend_id task tag adopted drift labels";

const char *resource_status_name(enum resource_status status)
{
    return (unsigned)status < STATUS_COUNT ? status_names[status] : status_names[STATUS_UNKNOWN];
}

enum resource_status resource_status_by_name(const char *name, bool *ret_known)
{
    for (int i = 0; name && i < STATUS_COUNT; i++) {
        if (strcmp(name, status_names[i]) == 0) {
            if (ret_known) {
                *ret_known = true;
            }
            return (enum resource_status)i;
        }
    }
    if (ret_known) {
        *ret_known = false;
    }
    return STATUS_UNKNOWN;
}

void resource_free(struct resource *resource)
{
    if (resource) {
        free(resource->id);
        free(resource->kind);
        free(resource->name);
        free(resource->vim);
        free(resource->project);
        free(resource->status_reason);
        free(resource->backend_id);
        free(resource->task);
        free(resource->tag);
        json_decref(resource->drift);
        json_decref(resource->labels);
        json_decref(resource->body);
        memset(resource, 0, sizeof(*resource));
    }
}

int resource_parse(const struct row *row, const char *kind, struct resource *ret_resource,
                   struct failure *failure)
{
    json_t *body;
    struct json_fault fault;
    if (json_parse(row->body, row->body_length, NULL, &body, &fault) != VIM_OK) {
        return failure_set(failure, VIM_E_INTERNAL, "the row %s/%s is not readable: %s", kind,
                           row->id, fault.text);
    }
    if (!json_is_object(body)) {
        json_decref(body);
        return failure_set(failure, VIM_E_INTERNAL, "the row %s/%s is not an object", kind,
                           row->id);
    }
    struct resource resource = {
        .id = text_duplicate(row->id),
        .kind = text_duplicate(kind),
        .name = text_duplicate(json_get_text(body, "name", "")),
        .vim = text_duplicate(json_get_text(body, "vim", "")),
        .project = text_duplicate(json_get_text(body, "project", row->parent)),
        .status_reason = text_duplicate(json_get_text(body, "status_reason", NULL)),
        .backend_id = text_duplicate(json_get_text(body, "backend_id", NULL)),
        .task = text_duplicate(json_get_text(body, "task", NULL)),
        .tag = text_duplicate(json_get_text(body, "tag", NULL)),
        .adopted = json_get_boolean(body, "adopted", false),
        .status = row->state < STATUS_COUNT ? (enum resource_status)row->state : STATUS_UNKNOWN,
        .shared = strcmp(row->parent, PROJECT_SHARED) == 0,
        .pending = json_get_boolean(body, "pending", false),
        .revision = row->revision,
    };
    json_t *drift = json_object_get(body, "drift");
    resource.drift = json_is_object(drift) ? json_incref(drift) : NULL;
    json_t *labels = json_object_get(body, "labels");
    resource.labels = json_is_object(labels) ? json_incref(labels) : NULL;
    const char *member;
    json_t *value;
    void *next;
    json_object_foreach_safe(body, next, member, value)
    {
        if (text_has_word(own_members, member)) {
            json_object_del(body, member);
        }
    }
    resource.body = body;
    *ret_resource = resource;
    return VIM_OK;
}

static void add_member(struct text *text, const char *name, const char *value)
{
    if (value) {
        text_printf(text, ",\"%s\":", name);
        json_add_string(text, value);
    }
}

char *resource_render(const struct resource *resource)
{
    CLEANUP_TEXT struct text text = {0};
    text_add(&text, "{\"id\":");
    json_add_string(&text, resource->id);
    add_member(&text, "kind", resource->kind);
    add_member(&text, "name", resource->name ? resource->name : "");
    add_member(&text, "vim", resource->vim ? resource->vim : "");
    add_member(&text, "project", resource->project ? resource->project : "");
    text_printf(&text, ",\"shared\":%s", resource->shared ? "true" : "false");
    add_member(&text, "status", resource_status_name(resource->status));
    text_printf(&text, ",\"pending\":%s", resource->pending ? "true" : "false");
    add_member(&text, "status_reason", resource->status_reason);
    add_member(&text, "backend_id", resource->backend_id);
    add_member(&text, "task", resource->task);
    add_member(&text, "tag", resource->tag);
    if (resource->adopted) {
        text_add(&text, ",\"adopted\":true");
    }
    if (resource->drift) {
        text_add(&text, ",\"drift\":");
        json_print_to(&text, resource->drift);
    }
    if (resource->labels) {
        text_add(&text, ",\"labels\":");
        json_print_to(&text, resource->labels);
    }
    const char *member;
    json_t *value;
    json_object_foreach(resource->body, member, value)
    {
        if (!text_has_word(own_members, member)) {
            text_add_char(&text, ',');
            json_add_string(&text, member);
            text_add_char(&text, ':');
            json_print_to(&text, value);
        }
    }
    text_add_char(&text, '}');
    return text_take(&text);
}

struct vim_write resource_write(const struct resource *resource, const char *body)
{
    assert(resource->id && resource->kind);
    return (struct vim_write){
        .collection = resource->kind,
        .id = resource->id,
        .parent = resource->shared ? PROJECT_SHARED : resource->project,
        .body = body,
        .expect = resource->revision ? resource->revision : VIM_EXPECT_ABSENT,
        .state = (uint32_t)resource->status,
    };
}

void resource_derive_id(const char *vim, const char *kind, const char *backend_id, char ret_id[37])
{
    char *name = text_format("%s/%s/%s", vim, kind, backend_id);
    id_derive("resource", name, ret_id);
    free(name);
}
