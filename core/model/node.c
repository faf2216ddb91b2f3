#include "model/node.h"

#include <stdlib.h>
#include <string.h>
#include <vim/driver.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"

static const char *const state_names[NODE_STATE_COUNT] = {
    [NODE_WAITING] = "waiting",   [NODE_MAKING] = "making", [NODE_CHANGING] = "changing",
    [NODE_REMOVING] = "removing", [NODE_READY] = "ready",   [NODE_FAILED] = "failed",
};

const char *node_state_name(enum node_state state)
{
    return (unsigned)state < NODE_STATE_COUNT ? state_names[state] : "unknown";
}

void node_free(struct node *node)
{
    free(node->id);
    free(node->service);
    free(node->name);
    free(node->error);
    free(node->made_by);
    free(node->drop_by);
    free(node->renew_by);
    free(node->old_by);
    json_decref(node->needs);
    json_decref(node->spec);
    json_decref(node->old);
    json_decref(node->have);
    json_decref(node->old_needs);
    memset(node, 0, sizeof(*node));
}

char *node_row_id(const char *service, const char *name)
{
    return text_format("%s/%s", service, name);
}

/* --- Row <-> struct -------------------------------------------------------------------------- */

static char *copy_text(const json_t *object, const char *member)
{
    return text_duplicate(json_get_text(object, member, NULL));
}

static json_t *copy_json(const json_t *object, const char *member)
{
    json_t *value = json_object_get(object, member);
    return json_is_null(value) ? NULL : json_incref(value);
}

static bool copy_id(const json_t *object, const char *member, char ret_id[ID_SIZE])
{
    const char *id = json_get_text(object, member, "");
    if (id_valid(id)) {
        memcpy(ret_id, id, ID_SIZE);
    }
    return ret_id[0] != '\0';
}

int node_parse(const struct row *row, struct node *ret_node, struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    if (json_parse(row->body, row->body_length, NULL, &body, NULL) != VIM_OK) {
        return failure_set(failure, VIM_E_INTERNAL, "the row service-node/%s is not readable",
                           row->id);
    }
    struct node node = {
        .id = text_duplicate(row->id),
        .service = text_duplicate(row->parent),
        .name = copy_text(body, "name"),
        .kind = kind_by_name(json_get_text(body, "kind", "")),
        .state = (enum node_state)row->state,
        .there = json_get_boolean(body, "there", false),
        .needs = copy_json(body, "needs"),
        .spec = copy_json(body, "spec"),
        .error = copy_text(body, "error"),
        .made_by = copy_text(body, "made_by"),
        .drop_by = copy_text(body, "drop_by"),
        .renew_by = copy_text(body, "renew_by"),
        .old_by = copy_text(body, "old_by"),
        .old = copy_json(body, "old"),
        .old_needs = copy_json(body, "old_needs"),
        .have = copy_json(body, "have"),
        .tried = json_get_boolean(body, "tried", false),
        .revision = row->revision,
    };
    (void)copy_id(body, "task", node.task);
    if (!copy_id(body, "resource", node.resource) || !node.name || !node.kind || !node.spec ||
        row->state >= NODE_STATE_COUNT) {
        node_free(&node);
        return failure_set(failure, VIM_E_INTERNAL, "the row service-node/%s is no node", row->id);
    }
    *ret_node = node;
    return VIM_OK;
}

static void add_text(struct text *text, const char *member, const char *value)
{
    if (value && *value) {
        text_printf(text, ",\"%s\":", member);
        json_add_string(text, value);
    }
}

static void add_json(struct text *text, const char *member, const json_t *value)
{
    if (value) {
        text_printf(text, ",\"%s\":", member);
        json_print_to(text, value);
    }
}

char *node_render(const struct node *node)
{
    struct text text = {0};
    text_add(&text, "{\"name\":");
    json_add_string(&text, node->name);
    add_text(&text, "kind", node->kind->name);
    add_text(&text, "resource", node->resource);
    add_text(&text, "task", node->task);
    text_printf(&text, ",\"there\":%s", node->there ? "true" : "false");
    add_text(&text, "error", node->error);
    add_text(&text, "made_by", node->made_by);
    add_text(&text, "drop_by", node->drop_by);
    add_text(&text, "renew_by", node->renew_by);
    add_text(&text, "old_by", node->old_by);
    if (node->tried) {
        text_add(&text, ",\"tried\":true");
    }
    add_json(&text, "needs", node->needs);
    add_json(&text, "spec", node->spec);
    add_json(&text, "old", node->old);
    add_json(&text, "have", node->have);
    add_json(&text, "old_needs", node->old_needs);
    text_add_char(&text, '}');
    return text_take(&text);
}

struct vim_write node_write(const struct node *node, const char *body)
{
    return (struct vim_write){
        .collection = COLLECTION_SERVICE_NODE,
        .id = node->id,
        .parent = node->service,
        .body = body,
        .expect = node->revision ? node->revision : VIM_EXPECT_ABSENT,
        .state = (uint32_t)node->state,
    };
}

/* --- Changes --------------------------------------------------------------------------------- */

void node_change_free(struct node_change *change)
{
    json_decref(change->spec);
    json_decref(change->result);
    free(change->problem);
    *change = (struct node_change){0};
}

/* What a field is when it is left out, if an update can say so; a new reference, or NULL. */
static json_t *when_left_out(const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT:
        return field->minimum == 0 ? json_string("") : NULL;
    case FIELD_LIST:
        return json_array();
    case FIELD_TEXTS:
        return json_object();
    case FIELD_BOOLEAN:
        return field->default_value ? json_boolean(strcmp(field->default_value, "true") == 0)
                                    : NULL;
    case FIELD_INTEGER:
        return field->default_value
                   ? json_integer((json_int_t)strtoll(field->default_value, NULL, 10))
                   : NULL;
    default:
        return field->flags & FIELD_NULLABLE ? json_null() : NULL;
    }
}

/* Members of a spec that no create or update takes: actions bring them about. */
#define ATTACH "attach" /* of a volume: where it is plugged in */
#define RESIZED \
    "resized" /* of a server: its new size waits to be confirmed; only in what there is */

bool node_field_changes(const struct kind *kind, const char *name)
{
    const struct field *field = field_by_name(kind->fields, kind->field_count, name);
    if (field && (field->flags & FIELD_UPDATE)) {
        return true;
    }
    return (strcmp(kind->name, "server") == 0 && strcmp(name, "flavor") == 0) ||
           (strcmp(kind->name, "volume") == 0 &&
            (strcmp(name, "size") == 0 || strcmp(name, ATTACH) == 0)) ||
           (strcmp(kind->name, "router") == 0 && strcmp(name, "interfaces") == 0);
}

json_t *node_created(const struct kind *kind, const json_t *spec)
{
    json_t *created = json_copy((json_t *)(uintptr_t)spec);
    if (strcmp(kind->name, "volume") == 0) {
        json_object_del(created, ATTACH);
    }
    return created;
}

json_t *node_perhaps(const struct kind *kind, const json_t *have, const json_t *spec)
{
    json_t *perhaps = json_copy((json_t *)(uintptr_t)spec);
    if (strcmp(kind->name, "server") == 0) {
        /* A resize that failed has not changed the size. */
        json_object_set(perhaps, "flavor", json_object_get(have, "flavor"));
    }
    return perhaps;
}

json_t *node_bare(const struct kind *kind, const json_t *have)
{
    return node_created(kind, have);
}

static void act(struct node_change *change, const char *action, json_t *arguments)
{
    change->verb = VIM_VERB_ACTION;
    change->action = action;
    change->spec = arguments;
}

static json_t *copy(const json_t *have)
{
    return json_copy((json_t *)(uintptr_t)have);
}

static void find_update(const struct kind *kind, const json_t *have, const json_t *want,
                        struct node_change *change)
{
    json_t *patch = json_object();
    change->result = copy(have);
    for (unsigned i = 0; i < kind->field_count; i++) {
        const struct field *field = &kind->fields[i];
        json_t *before = json_object_get(have, field->name);
        json_t *after = json_object_get(want, field->name);
        if (json_equal(before, after) || (!before && !after)) {
            continue;
        }
        json_t *value = after ? json_incref(after) : when_left_out(field);
        if ((field->flags & FIELD_UPDATE) && value) {
            json_object_set_new(patch, field->name, value);
            if (after) {
                json_object_set(change->result, field->name, after);
            } else {
                json_object_del(change->result, field->name);
            }
            continue;
        }
        json_decref(value);
        if (!change->problem && !node_field_changes(kind, field->name)) {
            change->problem = text_duplicate(field->name);
        }
    }
    if (json_object_size(patch) > 0) {
        change->verb = VIM_VERB_UPDATE;
        change->spec = json_incref(patch);
    }
    json_decref(patch);
}

static void find_resize(const json_t *have, const json_t *want, struct node_change *change)
{
    json_t *flavor = json_object_get(want, "flavor");
    if (json_object_get(have, RESIZED)) {
        act(change, "confirm_resize", json_object());
        json_object_del(change->result, RESIZED);
    } else if (flavor && !json_equal(json_object_get(have, "flavor"), flavor)) {
        act(change, "resize", json_pack("{s:O}", "flavor", flavor));
        json_object_set(change->result, "flavor", flavor);
        json_object_set_new(change->result, RESIZED, json_true());
    }
}

static void find_volume_change(const json_t *have, const json_t *want, struct node_change *change)
{
    json_t *attached = json_object_get(have, ATTACH);
    json_t *attach = json_object_get(want, ATTACH);
    json_int_t size = json_get_integer(have, "size", 0);
    json_int_t wanted = json_get_integer(want, "size", 0);
    if (attached && !json_equal(attached, attach)) {
        act(change, "detach", json_object());
        json_object_del(change->result, ATTACH);
    } else if (wanted > size && size > 0) {
        act(change, "extend", json_pack("{s:I}", "size", wanted));
        json_object_set_new(change->result, "size", json_integer(wanted));
    } else if (wanted < size) {
        change->problem = text_duplicate("size");
    } else if (attach && !attached) {
        act(change, "attach", json_incref(attach));
        json_object_set(change->result, ATTACH, attach);
    }
}

static bool has_element(const json_t *list, const json_t *element)
{
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each)
    {
        if (json_equal(each, element)) {
            return true;
        }
    }
    return false;
}

static void find_interface_change(const json_t *have, const json_t *want,
                                  struct node_change *change)
{
    json_t *there = json_object_get(have, "interfaces");
    json_t *wanted = json_object_get(want, "interfaces");
    size_t i;
    json_t *interface;
    json_array_foreach(there, i, interface)
    {
        if (!has_element(wanted, interface)) {
            json_t *left = json_copy(there);
            json_array_remove(left, i);
            act(change, "remove_interface", json_incref(interface));
            json_object_set_new(change->result, "interfaces", left);
            return;
        }
    }
    json_array_foreach(wanted, i, interface)
    {
        if (!has_element(there, interface)) {
            json_t *more = there ? json_copy(there) : json_array();
            json_array_append(more, interface);
            act(change, "add_interface", json_incref(interface));
            json_object_set_new(change->result, "interfaces", more);
            return;
        }
    }
}

void node_change_find(const struct kind *kind, const json_t *have, const json_t *want,
                      struct node_change *ret_change)
{
    *ret_change = (struct node_change){0};
    find_update(kind, have, want, ret_change);
    if (ret_change->verb || ret_change->problem) {
        return;
    }
    if (strcmp(kind->name, "server") == 0) {
        find_resize(have, want, ret_change);
    } else if (strcmp(kind->name, "volume") == 0) {
        find_volume_change(have, want, ret_change);
    } else if (strcmp(kind->name, "router") == 0) {
        find_interface_change(have, want, ret_change);
    }
}

char *node_change_problem(const struct kind *kind, const json_t *have, const json_t *want)
{
    CLEANUP_JSON json_t *at = copy(have);
    char *problem = NULL;
    for (bool more = true; more && !problem;) {
        struct node_change change;
        node_change_find(kind, at, want, &change);
        problem = TAKE(change.problem);
        more = change.verb != 0;
        if (more) {
            json_decref(at);
            at = json_incref(change.result);
        }
        node_change_free(&change);
    }
    return problem;
}

/* --- Descriptions ---------------------------------------------------------------------------- */

void service_spec_free(struct service_spec *spec)
{
    json_decref(spec->now);
    json_decref(spec->next);
    free(spec->by);
    free(spec->prefix);
    *spec = (struct service_spec){0};
}

int service_spec_get(struct store *store, const char *service, struct service_spec *ret_spec,
                     struct failure *failure)
{
    struct row row = {0};
    int code = store_get(store, COLLECTION_SERVICE_SPEC, service, &row, failure);
    if (code != VIM_OK) {
        return code;
    }
    CLEANUP_JSON json_t *body = NULL;
    if (json_parse(row.body, row.body_length, NULL, &body, NULL) != VIM_OK) {
        code = failure_set(failure, VIM_E_INTERNAL, "the row service-spec/%s is not readable",
                           service);
    } else {
        *ret_spec = (struct service_spec){
            .now = copy_json(body, "now"),
            .next = copy_json(body, "next"),
            .by = copy_text(body, "by"),
            .prefix = text_duplicate(json_get_text(body, "prefix", "")),
            .revision = row.revision,
        };
    }
    row_free(&row);
    return code;
}

char *service_spec_render(const struct service_spec *spec)
{
    struct text text = {0};
    text_add(&text, "{\"prefix\":");
    json_add_string(&text, spec->prefix);
    add_json(&text, "now", spec->now);
    add_json(&text, "next", spec->next);
    add_text(&text, "by", spec->by);
    text_add_char(&text, '}');
    return text_take(&text);
}
