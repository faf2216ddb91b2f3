/* What is to be done in a phase, in which order, and what comes after it. */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/owner.h"
#include "model/service.h"

static const char *const phase_names[] = {
    [PHASE_PLAN] = "plan", [PHASE_CLEAR] = "clear", [PHASE_MAKE] = "make",
    [PHASE_DROP] = "drop", [PHASE_UNDO] = "undo",
};

enum graph_phase graph_phase_of(const struct task *task)
{
    for (unsigned i = 0; task->kept && i < sizeof(phase_names) / sizeof(phase_names[0]); i++) {
        if (strcmp(task->kept, phase_names[i]) == 0) {
            return (enum graph_phase)i;
        }
    }
    /* A cancel or a rollback of a task that waited begins here. */
    return task_is_undoing(task) ? PHASE_UNDO : PHASE_PLAN;
}

/* --- Order ----------------------------------------------------------------------------------------- */

static enum goal goal_of(const struct graph *graph, const struct graph_node *node)
{
    switch (graph->phase) {
    case PHASE_CLEAR:
        return node->renewed ? GOAL_REMOVE : GOAL_NONE;
    case PHASE_MAKE:
        if (node->dropped || node->state == NODE_FAILED) {
            return GOAL_NONE;
        }
        return !node->there ? GOAL_MAKE : node->differs ? GOAL_CHANGE : GOAL_NONE;
    case PHASE_DROP:
        return node->dropped || graph->task.verb == VIM_VERB_DELETE ? GOAL_REMOVE : GOAL_NONE;
    case PHASE_UNDO:
        return node->made ? GOAL_REMOVE : node->changed ? GOAL_CHANGE : GOAL_NONE;
    case PHASE_PLAN:
        break;
    }
    return GOAL_NONE;
}

/* How many nodes stand in the way of this one's goal. */
static uint32_t count_open(const struct graph *graph, const struct graph_node *node)
{
    uint32_t open = 0;
    if (node->goal == GOAL_REMOVE) {
        for (uint32_t i = 0; i < node->user_count; i++) {
            open += graph->nodes[node->users[i]].goal != GOAL_NONE;
        }
    } else if (graph->phase == PHASE_MAKE) {
        for (uint32_t i = 0; i < node->need_count; i++) {
            const struct graph_node *needed = &graph->nodes[node->needs[i]];
            open += needed->goal != GOAL_NONE || !needed->there || needed->state == NODE_FAILED;
        }
    }
    return open;
}

static bool has_child(const struct graph_node *node)
{
    return node->task[0] && (node->state == NODE_MAKING || node->state == NODE_CHANGING ||
                             node->state == NODE_REMOVING);
}

void graph_phase_begin(struct graph *graph, enum graph_phase phase)
{
    graph->phase = phase;
    graph->ready_first = graph->ready_count = graph->running_count = graph->later_count = 0;
    graph->goals = graph->reached = graph->failed = 0;
    for (uint32_t i = 0; i < graph->count; i++) {
        struct graph_node *node = &graph->nodes[i];
        node->tries = 0;
        node->goal = node->gone ? GOAL_NONE : goal_of(graph, node);
        graph->goals += node->goal != GOAL_NONE;
        if (phase == PHASE_MAKE && node->state == NODE_FAILED && !node->dropped) {
            graph_failed(graph, node, NULL);
        }
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        struct graph_node *node = &graph->nodes[i];
        if (node->goal == GOAL_NONE) {
            continue;
        }
        node->open = count_open(graph, node);
        if (has_child(node)) {
            graph->running[graph->running_count++] = i;
        } else if (node->open == 0) {
            graph_make_ready(graph, node);
        }
    }
}

void graph_make_ready(struct graph *graph, struct graph_node *node)
{
    uint32_t at = (graph->ready_first + graph->ready_count++) % (graph->count + 1);
    graph->ready[at] = (uint32_t)(node - graph->nodes);
}

void graph_go_on(struct graph *graph, struct graph_node *node)
{
    graph->commit_first = true;
    graph_make_ready(graph, node);
}

void graph_reached(struct graph *graph, struct graph_node *node)
{
    node->goal = GOAL_NONE;
    graph->reached++;
    uint32_t count = graph->phase == PHASE_MAKE ? node->user_count : node->need_count;
    const uint32_t *others = graph->phase == PHASE_MAKE ? node->users : node->needs;
    for (uint32_t i = 0; i < count; i++) {
        struct graph_node *other = &graph->nodes[others[i]];
        bool waits =
            graph->phase == PHASE_MAKE ? other->goal != GOAL_NONE : other->goal == GOAL_REMOVE;
        if (waits && --other->open == 0 && !has_child(other)) {
            graph_make_ready(graph, other);
        }
    }
}

/* --- What stands against going on ------------------------------------------------------------------ */

/* The error of a node that failed before this process took over. */
static void recall_failure(struct graph *graph, const struct graph_node *node,
                           struct failure *ret_why)
{
    struct node row = {0};
    failure_set(ret_why, VIM_E_FAILED, "failed");
    if (graph_read(graph, node, &row, NULL) == VIM_OK) {
        struct task child = {0};
        int code = VIM_E_FAILED;
        if (row.task[0] && tasks_get(graph->tasks, row.task, &child, NULL) == VIM_OK) {
            code = child.error.code ? child.error.code : code;
            task_free(&child);
        }
        failure_set(ret_why, code, "%s", row.error ? row.error : "failed");
        node_free(&row);
    }
}

void graph_failed(struct graph *graph, struct graph_node *node, const struct failure *why)
{
    struct failure recalled;
    node->state = NODE_FAILED;
    node->goal = GOAL_NONE;
    if (graph->failed++ == 0 && !graph->why.code) {
        if (!why) {
            recall_failure(graph, node, &recalled);
            why = &recalled;
        }
        failure_set(&graph->why, why->code, "%s: %s", node->name, why->text);
    }
    if (graph->phase == PHASE_MAKE && !graph->keep && !graph->pause && !graph->stop) {
        graph->stop = TASK_FAILED;
    }
}

void graph_heed(struct graph *graph)
{
    const struct task *task = &graph->task;
    bool late = task->deadline && clock_now_ms() >= task->deadline;
    /* Of a change that is through nothing is taken back: what it drops is dropped. */
    bool may_stop =
        graph->phase != PHASE_UNDO && (graph->phase != PHASE_DROP || task->verb == VIM_VERB_DELETE);
    if (may_stop && task->cancel && graph->stop != TASK_CANCELLED) {
        graph->stop = TASK_CANCELLED;
        failure_set(&graph->why, VIM_E_CANCELLED, "cancelled");
    } else if (late && graph->phase != PHASE_UNDO && !graph->stop) {
        graph->stop = TASK_TIMED_OUT;
        if (!graph->why.code) {
            failure_set(&graph->why, VIM_E_TIMEOUT, "the task's deadline has passed");
        }
    } else if (late && graph->phase == PHASE_UNDO && !graph->stop) {
        graph->stop = TASK_ROLLBACK_FAILED;
    }
}

/* --- From phase to phase --------------------------------------------------------------------------- */

static void set_text(char **text, const char *value)
{
    char *copy = text_duplicate(value);
    free(*text);
    *text = copy;
}

void graph_end_step(struct graph *graph, bool well)
{
    struct task *task = &graph->task;
    int64_t now = clock_now_ms();
    for (uint32_t i = 0; i < task->step_count; i++) {
        struct task_step *step = &task->steps[i];
        if (strcmp(step->name, phase_names[graph->phase]) == 0 && !step->finished) {
            step->finished = now;
            set_text(&step->state, well ? "succeeded" : "failed");
            if (!well && graph->why.code) {
                set_text(&step->error, graph->why.text);
            }
        }
    }
}

/* Commits the task in its new phase. */
static int enter(struct graph *graph, enum graph_phase phase, bool well, struct failure *failure)
{
    struct graph_batch batch = {0};
    struct task *task = &graph->task;
    graph_end_step(graph, well);
    set_text(&task->kept, phase_names[phase]);
    (void)task_step_begin(task, phase_names[phase], clock_now_ms());
    int code = batch_commit(graph, &batch, failure);
    batch_free(&batch);
    if (code == VIM_OK) {
        graph_phase_begin(graph, phase);
    }
    return code;
}

static int begin_undo(struct graph *graph, struct failure *failure)
{
    struct task *task = &graph->task;
    enum task_state outcome = graph->stop == TASK_CANCELLED || graph->stop == TASK_TIMED_OUT
                                  ? (enum task_state)graph->stop
                                  : TASK_ROLLED_BACK;
    task->state = outcome == TASK_CANCELLED ? TASK_CANCELLING : TASK_ROLLING_BACK;
    task->outcome = outcome;
    task->deadline = clock_now_ms() + tasks_settings_now(graph->tasks).deadline_ms;
    outcome_set_error(task, graph->why.code, 0, graph->why.text);
    graph->stop = 0;
    return enter(graph, PHASE_UNDO, false, failure);
}

/* --- The end --------------------------------------------------------------------------------------- */

static int read_service(struct graph *graph, struct change *change, struct failure *failure)
{
    struct row row = {0};
    const struct task *task = &graph->task;
    int code = store_get(graph->tasks->store, task->kind, task->resource, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (code == VIM_OK) {
        code = resource_parse(&row, task->kind, &change->resource, failure);
        change->has_resource = code == VIM_OK;
        row_free(&row);
    }
    return code;
}

/* The fields of the service's row that are its description. */
static void show_description(struct resource *resource, const json_t *description,
                             uint32_t node_count)
{
    const struct kind *kind = kinds_service();
    CLEANUP_JSON json_t *shown = service_shown(description);
    for (unsigned i = 0; i < kind->field_count; i++) {
        const char *name = kind->fields[i].name;
        if ((kind->fields[i].flags & FIELD_CREATE) && strcmp(name, "name") != 0) {
            json_t *value = json_object_get(shown, name);
            if (value) {
                json_object_set(resource->body, name, value);
            } else {
                json_object_del(resource->body, name);
            }
        }
    }
    json_set_integer(resource->body, "node_count", node_count);
    char time[CLOCK_TEXT_SIZE];
    json_set_text(resource->body, "updated", clock_format_rfc3339(clock_now_ms(), time));
}

/* The description that is true from now on, and the service's row as it shows that. */
static void end_description(struct graph *graph, struct change *change, struct service_spec *spec,
                            bool taken_back, struct graph_batch *batch)
{
    const struct task *task = &graph->task;
    uint32_t there = 0;
    for (uint32_t i = 0; i < graph->count; i++) {
        there += !graph->nodes[i].gone;
    }
    if (!taken_back && spec->next && text_equal(spec->by, task->id)) {
        json_decref(spec->now);
        spec->now = TAKE(spec->next);
        batch_write(batch, (struct vim_write){.collection = COLLECTION_SERVICE_SPEC,
                                              .id = task->resource,
                                              .parent = change->resource.project,
                                              .body = batch_keep(batch, service_spec_render(spec)),
                                              .expect = spec->revision});
    }
    if (spec->now) {
        show_description(&change->resource, spec->now, there);
    } else {
        json_set_integer(change->resource.body, "node_count", there);
    }
}

/* Ends the task in STATE. INCOMPLETE: the service is not as its description says. */
static int finish(struct graph *graph, enum task_state state, bool incomplete,
                  struct failure *failure)
{
    struct tasks *tasks = graph->tasks;
    struct graph_batch batch = {0};
    struct service_spec spec = {0};
    struct change change = {.tasks = tasks, .now = clock_now_ms()};
    int code = read_service(graph, &change, failure);
    if (code == VIM_OK && change.has_resource) {
        code = service_spec_get(tasks->store, graph->task.resource, &spec, failure);
    }
    if (code != VIM_OK) {
        resource_free(&change.resource);
        return code == VIM_E_NOT_FOUND ? VIM_E_CONFLICT : code;
    }
    enum resource_status before = change.resource.status;
    bool gone = graph->task.verb == VIM_VERB_DELETE && state == TASK_SUCCEEDED;
    bool taken_back = graph->phase == PHASE_UNDO;
    graph_end_step(graph, state == TASK_SUCCEEDED || taken_back);
    change.task = graph->task;
    if (state != TASK_SUCCEEDED && graph->why.code && !change.task.error.code) {
        outcome_set_error(&change.task, graph->why.code, 0, graph->why.text);
    }
    if (state == TASK_ROLLBACK_FAILED) {
        outcome_undo_failed(&change, "the time for it has passed");
    } else {
        outcome_finish(&change, state);
    }
    json_decref(change.task.result);
    change.task.result =
        json_pack("{s:s, s:s, s:s}", "kind", KIND_SERVICE, "id", change.task.resource, "status",
                  gone                      ? "DELETED"
                  : state == TASK_SUCCEEDED ? "ACTIVE"
                                            : "ERROR");
    graph->task = change.task;
    batch_tell_task(&batch, &graph->task);
    if (change.has_resource && gone) {
        batch_resource(&batch, &change.resource, true);
        batch_tell_resource(&batch, EVENT_RESOURCE_DELETED, &change.resource, STATUS_DELETING,
                            graph->task.id);
        batch_write(&batch, (struct vim_write){.collection = COLLECTION_SERVICE_SPEC,
                                               .id = graph->task.resource,
                                               .expect = VIM_EXPECT_ANY});
    } else if (change.has_resource) {
        if (state == TASK_SUCCEEDED) {
            change.resource.status = STATUS_ACTIVE;
            set_text(&change.resource.status_reason, NULL);
        } else if (incomplete) {
            change.resource.status = STATUS_ERROR;
            set_text(&change.resource.status_reason, graph->task.error.text);
        }
        end_description(graph, &change, &spec, taken_back, &batch);
        batch_resource(&batch, &change.resource, false);
        if (change.resource.status != before) {
            batch_tell_resource(&batch, EVENT_RESOURCE_CHANGED, &change.resource, before,
                                graph->task.id);
        }
    }
    code = batch_commit(graph, &batch, failure);
    if (code == VIM_OK) {
        atomic_fetch_sub(&tasks->active, 1);
        change_follow_up(tasks, &graph->task, -1);
    }
    batch_free(&batch);
    service_spec_free(&spec);
    resource_free(&change.resource);
    return code;
}

/* The task waits for somebody to decide: retry, rollback, cancel or fail. */
static int pause_task(struct graph *graph, struct failure *failure)
{
    struct graph_batch batch = {0};
    struct task *task = &graph->task;
    task->state = TASK_WAITING;
    set_text(&task->owner, NULL);
    task->due = 0;
    task->deadline = 0;
    outcome_set_error(task, graph->why.code, 0, graph->why.text);
    graph_end_step(graph, false);
    int code = batch_commit(graph, &batch, failure);
    batch_free(&batch);
    return code;
}

/* The nodes could not all be made or changed. */
static int end_failed(struct graph *graph, bool *ret_over, struct failure *failure)
{
    enum task_state state = graph->stop ? (enum task_state)graph->stop : TASK_FAILED;
    bool heal = graph->task.verb == VIM_VERB_ACTION && text_equal(graph->task.action, "heal");
    if (!graph->why.code) {
        failure_set(&graph->why, VIM_E_FAILED, "not all of it could be made");
    }
    if (state == TASK_FAILED && graph->pause) {
        *ret_over = true;
        return pause_task(graph, failure);
    }
    if (heal || (graph->keep && state != TASK_CANCELLED)) {
        *ret_over = true;
        return finish(graph, state, true, failure);
    }
    return begin_undo(graph, failure);
}

int graph_phase_end(struct graph *graph, bool *ret_over, struct failure *failure)
{
    bool well = !graph->stop && !graph->failed && graph->reached == graph->goals;
    *ret_over = false;
    switch (graph->phase) {
    case PHASE_PLAN:
    case PHASE_CLEAR:
        return well ? enter(graph, PHASE_MAKE, true, failure)
                    : end_failed(graph, ret_over, failure);
    case PHASE_MAKE:
        return well ? enter(graph, PHASE_DROP, true, failure)
                    : end_failed(graph, ret_over, failure);
    case PHASE_DROP:
        *ret_over = true;
        return finish(graph,
                      well          ? TASK_SUCCEEDED
                      : graph->stop ? graph->stop
                                    : TASK_FAILED,
                      !well, failure);
    case PHASE_UNDO:
        *ret_over = true;
        return finish(graph, well ? graph->task.outcome : TASK_ROLLBACK_FAILED, !well, failure);
    }
    return VIM_OK;
}
