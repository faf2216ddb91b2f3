/* A node that is ready becomes a child: an ordinary task, in the commit that says so in the node's row. */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "model/service.h"

#define LATER_BASE_MS 250
#define LATER_CAP_MS 15000
/* Under this label a service's id stands at all its resources. */
#define LABEL_SERVICE "network-service"

/* --- References ------------------------------------------------------------------------------------ */

struct resolving {
    struct graph *graph;
    struct failure *failure;
};

/* The member FIELD of a resource's body; `address` of what has addresses is the first one. */
static char *read_member(const struct row *row, const char *field)
{
    CLEANUP_JSON json_t *body = NULL;
    if (json_parse(row->body, row->body_length, NULL, &body, NULL) != VIM_OK) {
        return NULL;
    }
    const json_t *value = json_object_get(body, field);
    if (!value && strcmp(field, "address") == 0) {
        const json_t *first = json_array_get(json_object_get(body, "fixed_ips"), 0);
        value = json_object_get(first, "ip_address");
        first = json_array_get(json_object_get(body, "addresses"), 0);
        value = value ? value : json_object_get(first, "address");
    }
    if (json_is_string(value)) {
        return text_duplicate(json_string_value(value));
    }
    return json_is_integer(value) || json_is_boolean(value) ? json_print(value) : NULL;
}

static int take_reference(void *argument, const char *pointer, const char *name, const char *field,
                          char **ret_text)
{
    struct resolving *resolving = argument;
    struct graph *graph = resolving->graph;
    struct graph_node *node = field ? graph_find(graph, name) : NULL;
    struct row row = {0};
    (void)pointer;
    if (!node) {
        return failure_set(resolving->failure, VIM_E_INVALID,
                           "${%s.%s} is no element of the service", name, field ? field : "");
    }
    if (strcmp(field, "id") == 0) {
        *ret_text = text_duplicate(node->resource);
        return VIM_OK;
    }
    int code =
        store_get(graph->tasks->store, node->kind->name, node->resource, &row, resolving->failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return code;
    }
    *ret_text = code == VIM_OK ? read_member(&row, field) : NULL;
    row_free(&row);
    if (!*ret_text) {
        return failure_set(resolving->failure, VIM_E_INVALID, "%s has no %s yet", name, field);
    }
    return VIM_OK;
}

static int resolve(struct graph *graph, json_t *spec, struct failure *failure)
{
    struct resolving resolving = {.graph = graph, .failure = failure};
    return service_each_reference(spec, true, take_reference, &resolving);
}

/* --- Children -------------------------------------------------------------------------------------- */

static void begin_child(struct graph *graph, struct graph_node *node, struct node *row,
                        enum node_state state, struct graph_batch *batch)
{
    node->state = row->state = state;
    memcpy(node->task, row->task, ID_SIZE);
    free(row->error);
    row->error = NULL;
    batch_node(batch, row, false);
    graph->running[graph->running_count++] = (uint32_t)(node - graph->nodes);
}

/* Submits VERB for RESOURCE, which is shown as STATUS meanwhile. */
static void submit(struct graph *graph, struct node *row, uint32_t verb, const char *action,
                   struct resource *resource, enum resource_status status, const char *spec,
                   bool again, struct graph_batch *batch)
{
    const struct task *parent = &graph->task;
    struct task task = {0};
    struct tasks_settings settings = tasks_settings_now(graph->tasks);
    struct task_wish wish = {.verb = verb,
                             .action = action,
                             .project = parent->project,
                             .principal = parent->principal,
                             .vim = parent->vim,
                             .kind = resource->kind,
                             .resource = resource,
                             .spec = spec};
    submit_fill(&task, &wish, &settings);
    task.parent = text_duplicate(parent->id);
    task.service = text_duplicate(parent->resource);
    task.before = resource->status;
    /* Of an earlier try something may have been left. */
    task.unknown = again;
    if (parent->deadline && task.deadline > parent->deadline) {
        task.deadline = parent->deadline;
    }
    resource->status = status;
    resource->pending = true;
    free(resource->task);
    resource->task = text_duplicate(task.id);
    batch_resource(batch, resource, false);
    if (resource->revision && (uint32_t)status != task.before) {
        batch_tell_resource(batch, EVENT_RESOURCE_CHANGED, resource,
                            (enum resource_status)task.before, task.id);
    }
    struct vim_write write = task_write(&task, batch_keep(batch, task_render(&task)));
    write.id = batch_keep(batch, text_duplicate(task.id));
    write.parent = batch_keep(batch, text_duplicate(task.project));
    batch_write(batch, write);
    batch_child(batch, &task, row->kind);
    memcpy(row->task, task.id, ID_SIZE);
    task_free(&task);
}

/* The node's resource, if it has a row. */
static int read_resource(struct graph *graph, const struct graph_node *node,
                         struct resource *ret_resource, bool *ret_found, struct failure *failure)
{
    struct row row = {0};
    int code = store_get(graph->tasks->store, node->kind->name, node->resource, &row, failure);
    *ret_found = code == VIM_OK;
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (code == VIM_OK) {
        code = resource_parse(&row, node->kind->name, ret_resource, failure);
        row_free(&row);
    }
    return code;
}

void graph_try_later(struct graph *graph, struct graph_node *node)
{
    graph->later[graph->later_count++] = (struct graph_later){
        .number = (uint32_t)(node - graph->nodes),
        .at = clock_mono_ms() + error_backoff_ms(LATER_BASE_MS, LATER_CAP_MS,
                                                 node->tries > 16 ? 16 : node->tries, NULL),
    };
    node->tries++;
}

/* It cannot even be asked for. */
static void refuse(struct graph *graph, struct graph_node *node, struct node *row,
                   const struct failure *why, struct graph_batch *batch)
{
    free(row->error);
    row->error = text_duplicate(why->text);
    row->state = NODE_FAILED;
    batch_node(batch, row, false);
    graph_failed(graph, node, why);
}

/* --- Make ------------------------------------------------------------------------------------------ */

/* What GET shows until the VIM has told. */
static json_t *first_body(const struct kind *kind, const json_t *spec)
{
    json_t *body = json_copy((json_t *)(uintptr_t)spec);
    json_object_del(body, "name");
    for (unsigned i = 0; i < kind->field_count; i++) {
        if (kind->fields[i].flags & FIELD_HIDDEN) {
            json_object_del(body, kind->fields[i].name);
        }
    }
    return body;
}

/* It is what is wanted of it. */
static void set_ready(struct graph *graph, struct graph_node *node, struct node *row,
                      struct graph_batch *batch)
{
    json_decref(row->have);
    row->have = NULL;
    row->tried = false;
    row->state = NODE_READY;
    free(row->error);
    row->error = NULL;
    batch_node(batch, row, false);
    node->differs = false;
    node->state = NODE_READY;
    graph_reached(graph, node);
}

void graph_node_moved(struct graph *graph, struct graph_node *node, struct node *row, json_t *have,
                      struct graph_batch *batch)
{
    json_decref(row->have);
    row->have = have;
    row->task[0] = node->task[0] = '\0';
    node->state = row->state = NODE_WAITING;
    node->differs = true;
    batch_node(batch, row, false);
    graph_go_on(graph, node);
}

void graph_node_made(struct graph *graph, struct graph_node *node, struct node *row,
                     struct graph_batch *batch)
{
    json_t *created = node_created(row->kind, row->spec);
    node->there = row->there = true;
    if (json_equal(created, row->spec)) {
        json_decref(created);
        set_ready(graph, node, row, batch);
    } else {
        node->goal = GOAL_CHANGE;
        graph_node_moved(graph, node, row, created, batch);
    }
}

static int make(struct graph *graph, struct graph_node *node, struct node *row,
                struct graph_batch *batch, struct failure *failure)
{
    struct resource before = {0};
    bool found;
    int code = read_resource(graph, node, &before, &found, failure);
    if (code != VIM_OK) {
        return code;
    }
    if (found && before.task) {
        graph_try_later(graph, node);
    } else if (found && before.backend_id && before.status != STATUS_ERROR) {
        /* Somebody has tried the child again, and it is made. */
        graph_node_made(graph, node, row, batch);
    } else {
        CLEANUP_JSON json_t *created = node_created(row->kind, row->spec);
        CLEANUP_JSON json_t *spec = json_deep_copy(created);
        code = resolve(graph, spec, failure);
        if (code == VIM_E_INVALID) {
            refuse(graph, node, row, failure, batch);
            code = VIM_OK;
        } else if (code == VIM_OK) {
            struct resource resource = {
                .id = text_duplicate(node->resource),
                .kind = text_duplicate(node->kind->name),
                .name = text_duplicate(json_get_text(spec, "name", "")),
                .vim = text_duplicate(graph->task.vim),
                .project = text_duplicate(graph->task.project),
                .labels = json_pack("{s:s}", LABEL_SERVICE, graph->task.resource),
                .body = first_body(node->kind, spec),
                .revision = before.revision,
            };
            CLEANUP_FREE char *text = json_print(spec);
            submit(graph, row, VIM_VERB_CREATE, NULL, &resource, STATUS_BUILD, text, found, batch);
            resource_free(&resource);
            begin_child(graph, node, row, NODE_MAKING, batch);
        }
    }
    resource_free(&before);
    return code;
}

/* --- Change ---------------------------------------------------------------------------------------- */

void graph_node_changed(struct graph *graph, struct graph_node *node, struct node *row,
                        struct graph_batch *batch)
{
    if (graph->phase == PHASE_UNDO) {
        json_decref(row->spec);
        row->spec = TAKE(row->old);
        json_decref(row->needs);
        row->needs = TAKE(row->old_needs);
        free(row->old_by);
        row->old_by = NULL;
        node->changed = false;
    }
    set_ready(graph, node, row, batch);
}

/* The next step of what makes the resource what it is to be. */
void graph_next_change(const struct graph *graph, const struct graph_node *node,
                       const struct node *row, struct node_change *ret_change)
{
    const json_t *have = row->have ? row->have : row->spec;
    bool back = node->goal == GOAL_REMOVE || graph->phase == PHASE_UNDO;
    CLEANUP_JSON json_t *perhaps =
        row->tried && back ? node_perhaps(row->kind, have, row->spec) : NULL;
    have = perhaps ? perhaps : have;
    if (node->goal == GOAL_REMOVE) {
        CLEANUP_JSON json_t *bare = node_bare(row->kind, have);
        node_change_find(row->kind, have, bare, ret_change);
    } else {
        node_change_find(row->kind, have, graph->phase == PHASE_UNDO ? row->old : row->spec,
                         ret_change);
    }
}

/* Submits a step of a change for RESOURCE. */
static int submit_change(struct graph *graph, struct graph_node *node, struct node *row,
                         const struct node_change *step, struct resource *resource,
                         struct graph_batch *batch, struct failure *failure)
{
    CLEANUP_JSON json_t *spec = json_deep_copy(step->spec);
    int code = resolve(graph, spec, failure);
    if (code == VIM_E_INVALID) {
        refuse(graph, node, row, failure, batch);
        return VIM_OK;
    }
    if (code == VIM_OK) {
        CLEANUP_FREE char *text = json_print(spec);
        /* Of a step back it is known from where it leads. */
        row->tried = row->tried || (node->goal == GOAL_CHANGE && graph->phase != PHASE_UNDO);
        submit(graph, row, step->verb, step->action, resource, STATUS_UPDATING, text, false, batch);
        begin_child(graph, node, row, node->goal == GOAL_REMOVE ? NODE_REMOVING : NODE_CHANGING,
                    batch);
    }
    return code;
}

static int change(struct graph *graph, struct graph_node *node, struct node *row,
                  struct graph_batch *batch, struct failure *failure)
{
    struct node_change step;
    struct resource resource = {0};
    bool found;
    graph_next_change(graph, node, row, &step);
    int code = VIM_OK;
    if (step.problem) {
        failure_set(failure, VIM_E_INVALID, "%s of a %s cannot be changed", step.problem,
                    node->kind->name);
        refuse(graph, node, row, failure, batch);
    } else if (!step.verb) {
        graph_node_changed(graph, node, row, batch);
    } else if ((code = read_resource(graph, node, &resource, &found, failure)) != VIM_OK) {
        /* the store failed */
    } else if (found && resource.task) {
        graph_try_later(graph, node);
    } else if (graph->phase == PHASE_UNDO && (!found || !resource.backend_id)) {
        graph_node_changed(graph, node, row, batch); /* of what is gone nothing is changed back */
    } else if (!found || !resource.backend_id) {
        failure_set(failure, VIM_E_NOT_FOUND, "the %s %s is gone", node->kind->name,
                    node->resource);
        refuse(graph, node, row, failure, batch);
    } else {
        code = submit_change(graph, node, row, &step, &resource, batch, failure);
    }
    resource_free(&resource);
    node_change_free(&step);
    return code;
}

/* --- Remove ---------------------------------------------------------------------------------------- */

void graph_node_removed(struct graph *graph, struct graph_node *node, struct node *row,
                        struct graph_batch *batch)
{
    node->there = row->there = false;
    if (graph->phase == PHASE_CLEAR) {
        /* The next one is another resource. */
        json_decref(row->have);
        row->have = NULL;
        row->tried = node->differs = false;
        id_new(row->resource);
        memcpy(node->resource, row->resource, ID_SIZE);
        row->task[0] = node->task[0] = '\0';
        free(row->renew_by);
        row->renew_by = NULL;
        node->renewed = false;
        node->state = row->state = NODE_WAITING;
        batch_node(batch, row, false);
    } else {
        node->gone = true;
        batch_node(batch, row, true);
    }
    graph_reached(graph, node);
}

/* A create that could not be undone, and never told what it made, has to be undone by its own task. */
static int undo_again(struct graph *graph, struct graph_node *node, struct node *row,
                      struct graph_batch *batch, bool *ret_done, struct failure *failure)
{
    struct task task = {0};
    *ret_done = false;
    int code =
        node->task[0] ? tasks_get(graph->tasks, node->task, &task, failure) : VIM_E_NOT_FOUND;
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (code == VIM_OK && task.verb == VIM_VERB_CREATE && task.state == TASK_ROLLBACK_FAILED) {
        code = tasks_rollback(graph->tasks, task.id, failure);
        if (code == VIM_OK) {
            begin_child(graph, node, row, NODE_REMOVING, batch);
            *ret_done = true;
        }
    }
    task_free(&task);
    return code;
}

/* What hangs on it is taken off first. */
static int delete_resource(struct graph *graph, struct graph_node *node, struct node *row,
                           struct resource *resource, struct graph_batch *batch,
                           struct failure *failure)
{
    struct node_change step = {0};
    int code = VIM_OK;
    if (row->there) {
        graph_next_change(graph, node, row, &step);
    }
    if (step.verb) {
        code = submit_change(graph, node, row, &step, resource, batch, failure);
    } else {
        submit(graph, row, VIM_VERB_DELETE, NULL, resource, STATUS_DELETING, "{}", false, batch);
        begin_child(graph, node, row, NODE_REMOVING, batch);
    }
    node_change_free(&step);
    return code;
}

static int remove_node(struct graph *graph, struct graph_node *node, struct node *row,
                       struct graph_batch *batch, struct failure *failure)
{
    struct resource resource = {0};
    bool found, done = false;
    int code = read_resource(graph, node, &resource, &found, failure);
    if (code != VIM_OK) {
        return code;
    }
    if (!found) {
        graph_node_removed(graph, node, row, batch);
    } else if (resource.task) {
        graph_try_later(graph, node);
    } else if (resource.backend_id) {
        code = delete_resource(graph, node, row, &resource, batch, failure);
    } else if ((code = undo_again(graph, node, row, batch, &done, failure)) == VIM_OK && !done) {
        batch_resource(batch, &resource, true);
        batch_tell_resource(batch, EVENT_RESOURCE_DELETED, &resource, resource.status,
                            graph->task.id);
        graph_node_removed(graph, node, row, batch);
    }
    resource_free(&resource);
    return code;
}

int graph_start_node(struct graph *graph, struct graph_node *node, struct graph_batch *batch,
                     struct failure *failure)
{
    struct node row = {0};
    int code = graph_read(graph, node, &row, failure);
    if (code != VIM_OK) {
        return code;
    }
    switch (node->goal) {
    case GOAL_MAKE:
        code = make(graph, node, &row, batch, failure);
        break;
    case GOAL_CHANGE:
        code = change(graph, node, &row, batch, failure);
        break;
    case GOAL_REMOVE:
        code = remove_node(graph, node, &row, batch, failure);
        break;
    case GOAL_NONE:
        break;
    }
    node_free(&row);
    return code;
}
