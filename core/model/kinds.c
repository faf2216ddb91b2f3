/*
 * model/kinds.c - checks against the tables: every problem at once, each with a JSON pointer. What a value has to
 * be by itself is in kinds_values.c.
 */
#include "model/kinds.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds_private.h"

enum mode {
    MODE_CREATE,
    MODE_UPDATE,
    MODE_ACTION,
    MODE_BODY, /* what a driver emitted */
    MODE_INNER /* fields of an object inside of one of the first three */
};

static void check_value(struct check *check, const struct field *field, const json_t *value);
static void check_object(struct check *check, const struct field *fields, unsigned count,
                         const json_t *object, enum mode mode, const char *action);

static void check_list(struct check *check, const struct field *field, const json_t *list)
{
    if (!check->body && field->maximum > 0 && (int64_t)json_array_size(list) > field->maximum) {
        ADD(check, "has %zu elements; at most %" PRId64 " are allowed", json_array_size(list),
            field->maximum);
        return;
    }
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value)
    {
        size_t before = place_enter_index(&check->place, i);
        check_value(check, field->fields, value);
        text_truncate(&check->place.pointer, before);
    }
}

/* --- Elements of a map ------------------------------------------------------------------------- */

bool field_map_takes(const struct field *map, const struct field *field)
{
    return (field->flags & FIELD_CREATE) && !text_has_word(map->without, field->name);
}

bool field_map_name(const char *text)
{
    size_t length = strlen(text);
    return length >= 1 && length <= 40 && isalnum((unsigned char)text[0]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
               length;
}

static void check_element_stranger(struct check *check, const struct field *map,
                                   const struct kind *kind, const char *name)
{
    struct text known = {0};
    for (unsigned i = 0; i < map->field_count; i++) {
        text_printf(&known, " %s", map->fields[i].name);
    }
    for (unsigned i = 0; i < kind->field_count; i++) {
        if (field_map_takes(map, &kind->fields[i])) {
            text_printf(&known, " %s", kind->fields[i].name);
        }
    }
    CLEANUP_FREE char *nearest = text_nearest_word(text_get(&known) + 1, name);
    if (nearest) {
        ADD(check, "is not known; did you mean %s?", nearest);
    } else {
        ADD(check, "is not known");
    }
    text_free(&known);
}

static void check_element_required(struct check *check, const struct field *map,
                                   const struct field *fields, unsigned count,
                                   const json_t *element)
{
    for (unsigned i = 0; i < count; i++) {
        if (!text_has_word(map->without, fields[i].name) && strcmp(fields[i].name, "name") != 0 &&
            field_is_missing(&fields[i], element)) {
            size_t before = place_enter(&check->place, fields[i].name);
            ADD(check, "is required");
            text_truncate(&check->place.pointer, before);
        }
    }
}

/* Does one of the places stand in the other, or are they the same? */
static bool are_related(const char *one, const char *other)
{
    size_t length = strlen(one), other_length = strlen(other);
    const char *shorter = length < other_length ? one : other;
    const char *longer = length < other_length ? other : one;
    size_t least = length < other_length ? length : other_length;
    return strncmp(shorter, longer, least) == 0 && (longer[least] == '/' || !longer[least]);
}

/* What the fields of OBJECT, a resource's, demand of one another. Of what is wrong by itself, as one of the findings
 * behind the first BEFORE ones tells, nothing is demanded. */
static void check_together(struct check *check, const struct kind *kind, const json_t *object,
                           bool create, size_t before)
{
    struct findings inner = {0};
    size_t end = check->findings->count;
    kind_check_together(kind, object, create, &inner);
    for (size_t i = 0; i < inner.count; i++) {
        CLEANUP_FREE char *pointer =
            text_format("%s%s", place_get(&check->place), inner.items[i].pointer);
        bool told = false;
        for (size_t at = before; at < end; at++) {
            told = told || are_related(check->findings->items[at].pointer, pointer);
        }
        if (!told) {
            findings_add(check->findings, pointer, "%s", inner.items[i].detail);
        }
    }
    findings_free(&inner);
}

static void check_element(struct check *check, const struct field *map, const json_t *element)
{
    const struct kind *kind = kind_by_name(map->reference);
    const char *name;
    json_t *value;
    if (!json_is_object(element)) {
        ADD(check, "must be an object");
        return;
    }
    size_t found = check->findings->count;
    json_object_foreach((json_t *)element, name, value)
    {
        const struct field *field = field_by_name(map->fields, map->field_count, name);
        if (!field) {
            field = field_by_name(kind->fields, kind->field_count, name);
            field = field && field_map_takes(map, field) ? field : NULL;
        }
        size_t before = place_enter(&check->place, name);
        if (field) {
            check_value(check, field, value);
        } else {
            check_element_stranger(check, map, kind, name);
        }
        text_truncate(&check->place.pointer, before);
    }
    check_element_required(check, map, kind->fields, kind->field_count, element);
    check_element_required(check, map, map->fields, map->field_count, element);
    check_together(check, kind, element, true, found);
}

static void check_map(struct check *check, const struct field *map, const json_t *object)
{
    const char *name;
    json_t *element;
    if (check->body) {
        return;
    }
    if (map->maximum > 0 && (int64_t)json_object_size(object) > map->maximum) {
        ADD(check, "has %zu members; at most %" PRId64 " are allowed", json_object_size(object),
            map->maximum);
        return;
    }
    json_object_foreach((json_t *)object, name, element)
    {
        size_t before = place_enter(&check->place, name);
        if (!field_map_name(name)) {
            ADD(check, "the name must have 1 to 40 letters, digits, - and _, and begin with a "
                       "letter or a digit");
        } else {
            check_element(check, map, element);
        }
        text_truncate(&check->place.pointer, before);
    }
}

static void check_value(struct check *check, const struct field *field, const json_t *value)
{
    if (json_is_null(value) && (field->flags & FIELD_NULLABLE)) {
        return;
    }
    if (!check_type(check, field, value)) {
        return;
    }
    switch (field->type) {
    case FIELD_LIST:
        check_list(check, field, value);
        break;
    case FIELD_OBJECT:
        check_object(check, field->fields, field->field_count, value,
                     check->body ? MODE_BODY : MODE_INNER, NULL);
        break;
    case FIELD_MAP:
        check_map(check, field, value);
        break;
    default:
        check_plain(check, field, value);
        break;
    }
}

/* May a document of this mode hold the field? */
static bool field_belongs(const struct field *field, enum mode mode, const char *action)
{
    switch (mode) {
    case MODE_CREATE:
        return (field->flags & FIELD_CREATE) != 0;
    case MODE_UPDATE:
        return (field->flags & FIELD_UPDATE) != 0;
    case MODE_ACTION:
        return field->actions == NULL || text_has_word(field->actions, action);
    case MODE_BODY:
        return (field->flags & FIELD_HIDDEN) == 0;
    case MODE_INNER:
        break;
    }
    return true;
}

/* Is it one of those that are shown of every kind? */
static bool is_added(const char *name)
{
    unsigned count;
    const struct field *added = kinds_added_fields(&count);
    return field_by_name(added, count, name);
}

static void check_stranger(struct check *check, const struct field *fields, unsigned count,
                           const char *name, enum mode mode, const char *action)
{
    const struct field *field = field_by_name(fields, count, name);
    if (field && mode == MODE_BODY) {
        ADD(check, "is never shown");
    } else if (field && mode == MODE_ACTION) {
        ADD(check, "is no argument of %s", action);
    } else if (field && mode == MODE_UPDATE && (field->flags & FIELD_CREATE)) {
        ADD(check, "cannot be changed once it is created");
    } else if (field || (mode == MODE_CREATE && is_added(name))) {
        ADD(check, "can only be read");
    } else {
        unsigned flags = mode == MODE_CREATE   ? FIELD_CREATE
                         : mode == MODE_UPDATE ? FIELD_UPDATE
                                               : 0;
        CLEANUP_FREE char *names = field_names(fields, count, flags);
        CLEANUP_FREE char *known =
            mode == MODE_CREATE || mode == MODE_UPDATE
                ? text_format("%s labels%s", names, mode == MODE_CREATE ? " vim project" : "")
                : text_duplicate(names);
        CLEANUP_FREE char *nearest = text_nearest_word(known, name);
        if (nearest) {
            ADD(check, "is not known; did you mean %s?", nearest);
        } else {
            ADD(check, "is not known");
        }
    }
}

static void check_object(struct check *check, const struct field *fields, unsigned count,
                         const json_t *object, enum mode mode, const char *action)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        const struct field *field = field_by_name(fields, count, name);
        size_t before = place_enter(&check->place, name);
        if (field && field_belongs(field, mode, action)) {
            check_value(check, field, value);
        } else {
            check_stranger(check, fields, count, name, mode, action);
        }
        text_truncate(&check->place.pointer, before);
    }
    if (mode == MODE_UPDATE || mode == MODE_BODY) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        bool belongs = mode != MODE_ACTION || field_belongs(&fields[i], mode, action);
        if (belongs && field_is_missing(&fields[i], object)) {
            size_t before = place_enter(&check->place, fields[i].name);
            ADD(check, "is required");
            text_truncate(&check->place.pointer, before);
        }
    }
}

static void check_document(const struct kind *kind, const json_t *object, enum mode mode,
                           struct findings *findings)
{
    struct check check = {.findings = findings, .body = mode == MODE_BODY};
    if (!json_is_object(object)) {
        findings_add(findings, "", "must be an object");
        return;
    }
    size_t before = findings->count;
    check_object(&check, kind->fields, kind->field_count, object, mode, NULL);
    if (mode != MODE_BODY) {
        check_together(&check, kind, object, mode == MODE_CREATE, before);
    }
    text_free(&check.place.pointer);
}

void kind_check_create(const struct kind *kind, const json_t *object, struct findings *findings)
{
    check_document(kind, object, MODE_CREATE, findings);
}

void kind_check_update(const struct kind *kind, const json_t *object, struct findings *findings)
{
    check_document(kind, object, MODE_UPDATE, findings);
}

void kind_check_body(const struct kind *kind, const json_t *object, struct findings *findings)
{
    check_document(kind, object, MODE_BODY, findings);
}

void kind_check_action(const struct kind *kind, const char *action, const json_t *object,
                       struct findings *findings)
{
    struct text known = {0};
    bool found = false;
    for (const char *const *name = kind->actions; name && *name; name++) {
        found = found || strcmp(*name, action) == 0;
        text_printf(&known, "%s%s", known.length > 0 ? " " : "", *name);
    }
    if (!found) {
        findings_add(findings, "/action", "must be one of: %s", text_get(&known));
    } else if (!json_is_object(object)) {
        findings_add(findings, "", "must be an object");
    } else {
        struct check check = {.findings = findings};
        size_t before = findings->count;
        check_object(&check, kind->action_fields, kind->action_field_count, object, MODE_ACTION,
                     action);
        if (findings->count == before) {
            kind_check_arguments_together(kind, object, findings);
        }
        text_free(&check.place.pointer);
    }
    text_free(&known);
}
