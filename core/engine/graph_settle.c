/* What the end of a child makes of its node. */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/text.h"

static void set_failed(struct graph *graph, struct graph_node *node, struct node *row,
                       const struct task *child, struct graph_batch *batch)
{
    struct failure why = {0};
    const char *text = child->error.text ? child->error.text : task_state_name(child->state);
    failure_set(&why, child->error.code ? child->error.code : VIM_E_FAILED, "%s", text);
    free(row->error);
    row->error = text_duplicate(text);
    row->state = NODE_FAILED;
    batch_node(batch, row, false);
    graph_failed(graph, node, &why);
}

static void settle_make(struct graph *graph, struct graph_node *node, struct node *row,
                        const struct task *child, struct graph_batch *batch)
{
    if (child->state == TASK_SUCCEEDED) {
        graph_node_made(graph, node, row, batch);
    } else if (graph->stop && child->state == TASK_CANCELLED) {
        /* We have cancelled it, and nothing is left of it. */
        node->state = row->state = NODE_WAITING;
        batch_node(batch, row, false);
    } else {
        set_failed(graph, node, row, child, batch);
    }
}

/* A step of a change has been made, and there may be another one. */
static void settle_step(struct graph *graph, struct graph_node *node, struct node *row,
                        struct graph_batch *batch)
{
    struct node_change step, next;
    graph_next_change(graph, node, row, &step);
    json_decref(row->have);
    row->have = json_incref(step.result);
    row->tried = false;
    node_change_free(&step);
    graph_next_change(graph, node, row, &next);
    if (next.verb || node->goal == GOAL_REMOVE) {
        graph_node_moved(graph, node, row, json_incref(row->have), batch);
    } else {
        graph_node_changed(graph, node, row, batch);
    }
    node_change_free(&next);
}

/* A step that was perhaps made is not, if the VIM refuses to take it back. */
static void doubt_try(struct node *row, const struct task *child, struct graph_batch *batch)
{
    if (row->tried && VIM_IS_PERMANENT(child->error.code)) {
        row->tried = false;
        batch_node(batch, row, false);
    }
}

/* A try that failed while something is taken back, or removed although that is not done yet. */
static void settle_removal(struct graph *graph, struct graph_node *node, struct node *row,
                           const struct task *child, struct graph_batch *batch)
{
    if (child->verb == VIM_VERB_DELETE && child->state == TASK_SUCCEEDED) {
        graph_node_removed(graph, node, row, batch);
    } else if (child->verb == VIM_VERB_ACTION && child->state == TASK_SUCCEEDED) {
        settle_step(graph, node, row, batch);
    } else if (child->verb == VIM_VERB_CREATE && child->state != TASK_ROLLBACK_FAILED) {
        graph_make_ready(graph, node); /* nothing is left of it but its row */
    } else if (graph->phase == PHASE_UNDO) {
        doubt_try(row, child, batch);
        graph_try_later(graph, node);
    } else {
        set_failed(graph, node, row, child, batch);
    }
}

int graph_settle_node(struct graph *graph, struct graph_node *node, const struct task *child,
                      struct graph_batch *batch, struct failure *failure)
{
    struct node row = {0};
    int code = graph_read(graph, node, &row, failure);
    if (code != VIM_OK) {
        return code;
    }
    switch (node->goal) {
    case GOAL_MAKE:
        settle_make(graph, node, &row, child, batch);
        break;
    case GOAL_CHANGE:
        if (child->state == TASK_SUCCEEDED) {
            settle_step(graph, node, &row, batch);
        } else if (graph->phase == PHASE_UNDO) {
            doubt_try(&row, child, batch);
            graph_try_later(graph, node);
        } else {
            set_failed(graph, node, &row, child, batch);
        }
        break;
    case GOAL_REMOVE:
        settle_removal(graph, node, &row, child, batch);
        break;
    case GOAL_NONE:
        break;
    }
    node_free(&row);
    return VIM_OK;
}
