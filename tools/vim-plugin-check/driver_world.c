#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "check.h"
#include "config/config.h"
#include "driver_client.h"
#include "driver_world.h"
#include "model/kinds.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "subject.h"

#define LOOK_MS 20
#define DATA "the data of an image"

bool kind_is_wanted(const struct run *run, const char *kind)
{
    return (!run->kinds || text_has_word(run->kinds, kind)) && !text_has_word(run->without, kind);
}

bool sample_exists(const struct run *run, const char *section, const char *kind)
{
    return config_get(config_get(config_root(run->config), section), kind);
}

/* The id of a thing of KIND in the world, made if it is not there yet; "new-KIND" is made anew. */
static const char *world_need(struct run *run, struct world *world, const char *kind)
{
    bool anew = text_starts_with(kind, "new-");
    const struct kind *known = kind_by_name(anew ? kind += strlen("new-") : kind);
    char *id;

    for (size_t i = 0; i < world->count && !anew; i++)
        if (strcmp(world->things[i].kind, kind) == 0)
            return world->things[i].id;
    if (!known || world->count == WORLD_MAX || !sample_exists(run, "samples", kind)) {
        check_fail(run, "a sample refers to $%s.id, and there is no sample of %s", kind, kind);
        return NULL;
    }
    id = world_create(run, world, known->name);
    if (!id || world->count == WORLD_MAX) {
        free(id);
        return NULL;
    }
    world->things[world->count].kind = known->name;
    world->things[world->count++].id = id;
    return id;
}

/* TEXT with every $unique replaced. */
static json_t *unique_text(const char *text)
{
    CLEANUP_TEXT struct text result = {0};
    const char *at;
    char name[32];

    unique_name("check", name);
    while ((at = strstr(text, "$unique"))) {
        text_add_bytes(&result, text, (size_t)(at - text));
        text_add(&result, name);
        text = at + strlen("$unique");
    }
    text_add(&result, text);
    return json_string(text_get(&result));
}

/* A scalar becomes what its field is: "$network.id" the id of a network. */
static json_t *scalar_value(struct run *run, struct world *world, const char *text,
                            const struct field *field)
{
    size_t length = text ? strlen(text) : 0;
    char kind[64];
    const char *id;

    if (!text)
        return json_null();
    if (text[0] == '$' && length > 4 && strcmp(text + length - 3, ".id") == 0) {
        snprintf(kind, sizeof kind, "%.*s", (int)(length - 4), text + 1);
        id = world_need(run, world, kind);
        return id ? json_string(id) : json_null();
    }
    if (field && field->type == FIELD_INTEGER)
        return json_integer(strtoll(text, NULL, 10));
    if (field && field->type == FIELD_BOOLEAN)
        return json_boolean(strcmp(text, "true") == 0);
    return unique_text(text);
}

static json_t *node_value(struct run *run, struct world *world, const struct config_node *node,
                          const struct field *field)
{
    json_t *value;

    if (config_type(node) == CONFIG_SCALAR)
        return scalar_value(run, world, config_text(node), field);
    value = config_type(node) == CONFIG_SEQUENCE ? json_array() : json_object();
    for (size_t i = 0; i < config_count(node); i++) {
        const char *key = config_key_at(node, i);
        const struct field *inner = NULL;

        if (config_type(node) == CONFIG_SEQUENCE)
            inner = field && field->type == FIELD_LIST ? field->fields : NULL;
        else if (field && field->type == FIELD_OBJECT)
            inner = field_by_name(field->fields, field->field_count, key);
        if (config_type(node) == CONFIG_SEQUENCE)
            json_array_append_new(value, node_value(run, world, config_at(node, i), inner));
        else
            json_object_set_new(value, key, node_value(run, world, config_at(node, i), inner));
    }
    return value;
}

char *sample_make(struct run *run, struct world *world, const char *section, const char *kind_name)
{
    const struct config_node *node =
        config_get(config_get(config_root(run->config), section), kind_name);
    const struct kind *kind = kind_by_name(kind_name);
    struct field whole = {.type = FIELD_OBJECT};
    struct findings findings = {0};
    char *text = NULL;
    json_t *sample;

    if (!kind || !node) {
        check_fail(run, "no %s for %s in the check configuration", section, kind_name);
        return NULL;
    }
    whole.fields = kind->fields;
    whole.field_count = kind->field_count;
    sample = node_value(run, world, node, &whole);
    if (strcmp(section, "samples") == 0)
        kind_check_create(kind, sample, &findings);
    else
        kind_check_update(kind, sample, &findings);
    if (findings.count)
        check_fail(run, "%s.%s%s: %s", section, kind_name, findings.items[0].pointer,
                   findings.items[0].detail);
    else if (!run->failed)
        text = json_print(sample);
    findings_free(&findings);
    json_decref(sample);
    return text;
}

char *action_make(struct run *run, struct world *world, const char *kind_name, size_t count)
{
    const struct config_node *node =
        config_get(config_get(config_root(run->config), "actions"), kind_name);
    const struct kind *kind = kind_by_name(kind_name);
    struct field whole = {.type = FIELD_OBJECT};
    struct findings findings = {0};
    const char *name;
    char *text = NULL;
    json_t *sample, *arguments;

    if (!kind || !node || count >= config_count(node))
        return NULL;
    whole.fields = kind->action_fields;
    whole.field_count = kind->action_field_count;
    sample = node_value(run, world, config_at(node, count), &whole);
    arguments = json_copy(sample);
    json_object_del(arguments, "action");
    name = json_string_value(json_object_get(sample, "action"));
    kind_check_action(kind, name ? name : "", arguments, &findings);
    if (findings.count)
        check_fail(run, "actions.%s[%zu]%s: %s", kind_name, count, findings.items[0].pointer,
                   findings.items[0].detail);
    else if (!run->failed)
        text = json_print(sample);
    findings_free(&findings);
    json_decref(arguments);
    json_decref(sample);
    return text;
}

/* An image is of no use before it has its data. */
static bool upload(struct run *run, const char *kind, const char *id)
{
    struct operation operation;
    int code = VIM_OK;

    for (uint32_t i = 0; i < run->plugin->ops.driver.trait_count; i++) {
        const struct vim_trait *trait = &run->plugin->ops.driver.traits[i];

        if (strcmp(trait->kind, kind) != 0 || !(trait->verbs & VIM_VERB_UPLOAD))
            continue;
        operation_init(&operation, VIM_VERB_UPLOAD, kind, id, NULL);
        operation.data = DATA;
        code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
        if (code != VIM_OK)
            check_fail(run, "upload of the data of %s %s: %s: %s", kind, id, code_name(code),
                       operation.text);
        operation_clear(&operation);
    }
    return code == VIM_OK;
}

char *world_create(struct run *run, struct world *world, const char *kind)
{
    char *spec = sample_make(run, world, "samples", kind), *id;

    if (!spec)
        return NULL;
    id = world_create_by(run, kind, spec);
    free(spec);
    return id;
}

char *world_create_by(struct run *run, const char *kind, const char *spec)
{
    struct operation operation;
    char *id = NULL;
    int code;

    operation_init(&operation, VIM_VERB_CREATE, kind, NULL, spec);
    code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
    if (code != VIM_OK)
        check_fail(run, "create %s: %s: %s", kind, code_name(code), operation.text);
    else if (!operation.id)
        check_fail(run, "create %s: VIM_OK, and no item was emitted", kind);
    else if (strcmp(operation.last.status, "QUEUED") != 0 || upload(run, kind, operation.id))
        id = text_duplicate(operation.id);
    operation_clear(&operation);
    return id;
}

bool world_delete(struct run *run, const char *kind, const char *id)
{
    int64_t end = clock_mono_ms() + run->timeout_ms;
    struct operation operation;
    struct sights sights = {0};
    int code;

    operation_init(&operation, VIM_VERB_DELETE, kind, id, NULL);
    code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
    if (code != VIM_OK)
        check_fail(run, "delete %s %s: %s: %s", kind, id, code_name(code), operation.text);
    operation_clear(&operation);
    while (code == VIM_OK && clock_mono_ms() < end) {
        code = driver_get(run->instance, kind, id, SUBJECT_CALL_MS, &sights);
        sights_clear(&sights);
        if (code == VIM_OK)
            clock_sleep_ms(LOOK_MS);
    }
    if (code == VIM_E_NOT_FOUND)
        return true;
    check_fail(run, "%s %s is deleted, and get gives %s", kind, id, code_name(code));
    return false;
}

void world_clear(struct run *run, struct world *world)
{
    while (world->count) {
        world->count--;
        if (run->instance)
            world_delete(run, world->things[world->count].kind, world->things[world->count].id);
        free(world->things[world->count].id);
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void inventory_clear(struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->count; i++)
        free(inventory->names[i]);
    free(inventory->names);
    *inventory = (struct inventory){0};
}

static void inventory_add(struct inventory *inventory, const struct sights *sights)
{
    for (size_t i = 0; i < sights->count; i++) {
        if (inventory->count == inventory->room) {
            inventory->room = inventory->room ? inventory->room * 2 : 64;
            inventory->names =
                memory_resize(inventory->names, inventory->room, sizeof *inventory->names);
        }
        inventory->names[inventory->count++] =
            text_format("%s/%s", sights->items[i].kind, sights->items[i].id);
    }
}

bool inventory_take(struct run *run, struct inventory *ret_inventory)
{
    const struct vim_driver_ops *ops = &run->plugin->ops.driver;

    *ret_inventory = (struct inventory){0};
    for (uint32_t i = 0; i < ops->trait_count && !run->failed; i++) {
        if (!kind_is_wanted(run, ops->traits[i].kind))
            continue;
        struct sights sights = {0};
        int code = VIM_OK;

        if (ops->traits[i].verbs & VIM_VERB_LIST)
            code =
                driver_list(run->instance, ops->traits[i].kind, 0, NULL, SUBJECT_CALL_MS, &sights);
        if (code != VIM_OK)
            check_fail(run, "list of %s: %s: %s", ops->traits[i].kind, code_name(code),
                       sights.text);
        inventory_add(ret_inventory, &sights);
        sights_clear(&sights);
    }
    if (ret_inventory->count)
        qsort(ret_inventory->names, ret_inventory->count, sizeof *ret_inventory->names,
              compare_names);
    if (run->failed)
        inventory_clear(ret_inventory);
    return !run->failed;
}

size_t inventory_added(const struct inventory *before, const struct inventory *after,
                       const char **ret_name)
{
    size_t added = 0;

    for (size_t i = 0; i < after->count; i++) {
        if (before->count && bsearch(&after->names[i], before->names, before->count,
                                     sizeof *before->names, compare_names))
            continue;
        if (added++ == 0)
            *ret_name = after->names[i];
    }
    return added;
}

void require_as_before(struct run *run, const struct inventory *before, const char *when)
{
    int64_t end = clock_mono_ms() + run->timeout_ms;
    struct inventory after = {0};
    const char *name = NULL;
    size_t more, less;

    for (;;) {
        if (!inventory_take(run, &after))
            return;
        more = inventory_added(before, &after, &name);
        less = more ? 0 : inventory_added(&after, before, &name);
        if ((!more && !less) || clock_mono_ms() >= end)
            break;
        inventory_clear(&after);
        clock_sleep_ms(LOOK_MS);
    }
    if (more)
        check_fail(run, "%s: %zu things are left behind, %s first", when, more, name);
    else if (less)
        check_fail(run, "%s: %zu things are missing, %s first", when, less, name);
    inventory_clear(&after);
}
