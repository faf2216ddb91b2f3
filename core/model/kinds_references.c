/*
 * model/kinds_references.c - the fields of a document that are references, wherever they stand.
 */
#include <stdlib.h>
#include "model/kinds.h"
#include "model/kinds_private.h"

struct reference_walk {
    struct place place;
    kind_reference_fn each;
    void *argument;
};

static int walk_fields(struct reference_walk *walk, const struct field *fields, unsigned count,
                       json_t *object);

static int walk_map(struct reference_walk *walk, const struct field *map, json_t *object)
{
    const struct kind *kind = kind_by_name(map->reference);
    const char *name;
    json_t *element;
    int code = 0;
    json_object_foreach(object, name, element)
    {
        size_t before = place_enter(&walk->place, name);
        if (code == 0 && json_is_object(element)) {
            code = walk_fields(walk, kind->fields, kind->field_count, element);
        }
        if (code == 0 && json_is_object(element)) {
            code = walk_fields(walk, map->fields, map->field_count, element);
        }
        text_truncate(&walk->place.pointer, before);
    }
    return code;
}

/* VALUE, or what shall stand in its place as a new reference in *RET_NEW. */
static int walk_value(struct reference_walk *walk, const struct field *field, json_t *value,
                      json_t **ret_new)
{
    int code = 0;
    if (field->type == FIELD_REFERENCE && json_is_string(value)) {
        char *replaced = NULL;
        code = walk->each(walk->argument, field->reference, place_get(&walk->place),
                          json_string_value(value), &replaced);
        if (replaced) {
            *ret_new = json_string(replaced);
            free(replaced);
        }
    } else if (field->type == FIELD_OBJECT && json_is_object(value)) {
        code = walk_fields(walk, field->fields, field->field_count, value);
    } else if (field->type == FIELD_MAP && json_is_object(value)) {
        code = walk_map(walk, field, value);
    } else if (field->type == FIELD_LIST && json_is_array(value)) {
        for (size_t i = 0; code == 0 && i < json_array_size(value); i++) {
            json_t *element = NULL;
            size_t before = place_enter_index(&walk->place, i);
            code = walk_value(walk, field->fields, json_array_get(value, i), &element);
            if (element) {
                json_array_set_new(value, i, element);
            }
            text_truncate(&walk->place.pointer, before);
        }
    }
    return code;
}

static int walk_fields(struct reference_walk *walk, const struct field *fields, unsigned count,
                       json_t *object)
{
    for (unsigned i = 0; i < count; i++) {
        json_t *value = json_object_get(object, fields[i].name);
        if (value == NULL) {
            continue;
        }
        json_t *replaced = NULL;
        size_t before = place_enter(&walk->place, fields[i].name);
        int code = walk_value(walk, &fields[i], value, &replaced);
        text_truncate(&walk->place.pointer, before);
        if (replaced) {
            json_object_set_new(object, fields[i].name, replaced);
        }
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int walk_document(const struct field *fields, unsigned count, json_t *object,
                         kind_reference_fn each, void *argument)
{
    struct reference_walk walk = {.each = each, .argument = argument};
    int code = walk_fields(&walk, fields, count, object);
    text_free(&walk.place.pointer);
    return code;
}

int kind_each_reference(const struct kind *kind, json_t *object, kind_reference_fn each,
                        void *argument)
{
    return walk_document(kind->fields, kind->field_count, object, each, argument);
}

int kind_each_argument_reference(const struct kind *kind, json_t *arguments, kind_reference_fn each,
                                 void *argument)
{
    return walk_document(kind->action_fields, kind->action_field_count, arguments, each, argument);
}
