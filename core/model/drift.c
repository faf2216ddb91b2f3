#include "model/drift.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds.h"

bool resource_is_managed(const struct resource *resource)
{
    char derived[ID_SIZE];
    if (!resource->backend_id || resource->adopted) {
        return resource->adopted;
    }
    resource_derive_id(resource->vim, resource->kind, resource->backend_id, derived);
    return strcmp(derived, resource->id) != 0;
}

static bool has_reference(const struct field *field)
{
    if (field->type == FIELD_REFERENCE) {
        return true;
    }
    for (unsigned i = 0; i < field->field_count; i++) {
        if (has_reference(&field->fields[i])) {
            return true;
        }
    }
    return false;
}

/* A list says the same in any order. */
static bool lists_equal(const json_t *a, const json_t *b)
{
    size_t count = json_array_size(a);
    if (count != json_array_size(b)) {
        return false;
    }
    bool *used = calloc(count + 1, sizeof(*used));
    size_t found = 0;
    for (size_t i = 0; used && i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (!used[j] && json_equal(json_array_get(a, i), json_array_get(b, j))) {
                used[j] = true;
                found++;
                break;
            }
        }
    }
    free(used);
    return found == count;
}

static bool values_equal(const json_t *a, const json_t *b)
{
    return json_is_array(a) && json_is_array(b) ? lists_equal(a, b) : json_equal(a, b);
}

/* What a field is: a new reference, NULL where it is not told. */
static json_t *value_of(const char *field, const char *name, const json_t *body)
{
    if (strcmp(field, "name") == 0) {
        return name && *name ? json_string(name) : NULL;
    }
    json_t *value = json_object_get(body, field);
    return value && !json_is_null(value) ? json_incref(value) : NULL;
}

static json_t *fields_of(const struct resource *resource)
{
    return json_object_get(resource->drift, "fields");
}

size_t drift_count(const struct resource *resource)
{
    return json_object_size(fields_of(resource));
}

static void clear_if_empty(struct resource *resource)
{
    if (resource->drift && drift_count(resource) == 0) {
        json_decref(resource->drift);
        resource->drift = NULL;
    }
}

static void add(struct resource *resource, const char *field, json_t *desired, json_t *seen,
                int64_t now)
{
    if (!resource->drift) {
        char time[CLOCK_TEXT_SIZE];
        resource->drift = json_object();
        json_set_text(resource->drift, "since", clock_format_rfc3339(now, time));
        json_object_set_new(resource->drift, "fields", json_object());
    }
    json_t *difference = json_object();
    json_object_set(difference, "desired", desired);
    json_object_set(difference, "seen", seen);
    json_object_set_new(fields_of(resource), field, difference);
}

static void look_at(struct resource *resource, const char *field, const char *old_name,
                    const json_t *old_body, int64_t now)
{
    CLEANUP_JSON json_t *seen = value_of(field, resource->name, resource->body);
    CLEANUP_JSON json_t *old = value_of(field, old_name, old_body);
    json_t *recorded = json_object_get(fields_of(resource), field);
    if (!seen) {
        return;
    }
    if (recorded && values_equal(seen, json_object_get(recorded, "desired"))) {
        json_object_del(fields_of(resource), field);
    } else if (recorded) {
        json_object_set(recorded, "seen", seen);
    } else if (old && !values_equal(old, seen)) {
        add(resource, field, old, seen, now);
    }
}

void drift_look(struct resource *resource, const char *old_name, const json_t *old_body,
                int64_t now)
{
    const struct kind *kind = kind_by_name(resource->kind);
    for (unsigned i = 0; kind && i < kind->field_count; i++) {
        const struct field *field = &kind->fields[i];
        if ((field->flags & FIELD_UPDATE) && !(field->flags & FIELD_HIDDEN) &&
            !has_reference(field)) {
            look_at(resource, field->name, old_name, old_body, now);
        }
    }
    clear_if_empty(resource);
}

void drift_settle(struct resource *resource, const char *spec)
{
    CLEANUP_JSON json_t *wanted = NULL;
    if (!resource->drift || json_parse(spec, strlen(spec), NULL, &wanted, NULL) != VIM_OK) {
        return;
    }
    const char *member;
    json_t *value;
    json_object_foreach(wanted, member, value)
    {
        json_object_del(fields_of(resource), member);
    }
    clear_if_empty(resource);
}

json_t *drift_desired(const struct resource *resource)
{
    const char *member;
    json_t *difference, *desired = json_object();
    json_object_foreach(fields_of(resource), member, difference)
    {
        json_object_set(desired, member, json_object_get(difference, "desired"));
    }
    return desired;
}
