/* Rows of a service's nodes, into memory. */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/rows.h"

struct loading {
    struct graph *graph;
    uint32_t capacity;
    json_t **needs; /* per node: names, as the row has them; and those of before a change */
    json_t **old_needs;
    int code;
    struct failure *failure;
};

static int take_row(void *argument, const struct vim_item *item)
{
    struct loading *loading = argument;
    struct graph *graph = loading->graph;
    struct row row = row_of_item(item);
    struct node node = {0};
    loading->code = node_parse(&row, &node, loading->failure);
    if (loading->code != VIM_OK) {
        return 1;
    }
    if (graph->count == loading->capacity) {
        loading->capacity = loading->capacity ? loading->capacity * 2 : 64;
        graph->nodes = memory_resize(graph->nodes, loading->capacity, sizeof(*graph->nodes));
        loading->needs = memory_resize(loading->needs, loading->capacity, sizeof(json_t *));
        loading->old_needs = memory_resize(loading->old_needs, loading->capacity, sizeof(json_t *));
    }
    const char *by = graph->task.id;
    struct graph_node *loaded = &graph->nodes[graph->count];
    *loaded = (struct graph_node){
        .name = TAKE(node.name),
        .kind = node.kind,
        .state = node.state,
        .there = node.there,
        .made = text_equal(node.made_by, by),
        .dropped = text_equal(node.drop_by, by),
        .renewed = text_equal(node.renew_by, by),
        .changed = text_equal(node.old_by, by),
        .differs = node.have != NULL,
    };
    memcpy(loaded->resource, node.resource, ID_SIZE);
    memcpy(loaded->task, node.task, ID_SIZE);
    loading->needs[graph->count] = json_incref(node.needs);
    loading->old_needs[graph->count] = loaded->changed ? json_incref(node.old_needs) : NULL;
    graph->count++;
    node_free(&node);
    return 0;
}

struct graph_node *graph_find(struct graph *graph, const char *name)
{
    struct graph_node *node;
    HASH_FIND_STR(graph->by_name, name, node);
    return node;
}

static void add_needs(struct graph *graph, struct graph_node *node, const json_t *names)
{
    size_t i;
    json_t *name;
    node->needs =
        memory_resize(node->needs, node->need_count + json_array_size(names) + 1, sizeof(uint32_t));
    json_array_foreach(names, i, name)
    {
        struct graph_node *needed = graph_find(graph, json_string_value(name));
        uint32_t number = needed ? (uint32_t)(needed - graph->nodes) : UINT32_MAX;
        bool known = !needed;
        for (uint32_t n = 0; !known && n < node->need_count; n++) {
            known = node->needs[n] == number;
        }
        if (!known) {
            node->needs[node->need_count++] = number;
        }
    }
}

/* Who needs each node, as slices of one array. */
static void invert_needs(struct graph *graph)
{
    size_t total = 0;
    for (uint32_t i = 0; i < graph->count; i++) {
        total += graph->nodes[i].need_count;
        for (uint32_t n = 0; n < graph->nodes[i].need_count; n++) {
            graph->nodes[graph->nodes[i].needs[n]].user_count++;
        }
    }
    graph->users = memory_new_array(total + 1, sizeof(uint32_t));
    uint32_t *next = graph->users;
    for (uint32_t i = 0; i < graph->count; i++) {
        graph->nodes[i].users = next;
        next += graph->nodes[i].user_count;
        graph->nodes[i].user_count = 0;
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        for (uint32_t n = 0; n < graph->nodes[i].need_count; n++) {
            struct graph_node *needed = &graph->nodes[graph->nodes[i].needs[n]];
            needed->users[needed->user_count++] = i;
        }
    }
}

int graph_load(struct graph *graph, struct failure *failure)
{
    graph_unload(graph);
    struct loading loading = {.graph = graph, .failure = failure};
    struct vim_scan scan = {.size = sizeof(scan),
                            .collection = COLLECTION_SERVICE_NODE,
                            .parent = graph->task.resource};
    int code = store_scan(graph->tasks->store, &scan, take_row, &loading, failure);
    code = code == VIM_OK ? loading.code : code;
    for (uint32_t i = 0; i < graph->count; i++) {
        HASH_ADD_KEYPTR(hh, graph->by_name, graph->nodes[i].name, strlen(graph->nodes[i].name),
                        &graph->nodes[i]);
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        add_needs(graph, &graph->nodes[i], loading.needs[i]);
        add_needs(graph, &graph->nodes[i], loading.old_needs[i]);
        json_decref(loading.needs[i]);
        json_decref(loading.old_needs[i]);
    }
    free(loading.needs);
    free(loading.old_needs);
    invert_needs(graph);
    graph->ready = memory_new_array(graph->count + 1, sizeof(uint32_t));
    graph->running = memory_new_array(graph->count + 1, sizeof(uint32_t));
    graph->later = memory_new_array(graph->count + 1, sizeof(struct graph_later));
    graph->next_poll = 0;
    graph->loaded = code == VIM_OK;
    return code;
}

void graph_unload(struct graph *graph)
{
    HASH_CLEAR(hh, graph->by_name);
    for (uint32_t i = 0; i < graph->count; i++) {
        free(graph->nodes[i].name);
        free(graph->nodes[i].needs);
    }
    free(graph->nodes);
    free(graph->users);
    free(graph->ready);
    free(graph->running);
    free(graph->later);
    graph->nodes = NULL;
    graph->users = graph->ready = graph->running = NULL;
    graph->later = NULL;
    graph->count = graph->ready_first = graph->ready_count = graph->running_count = 0;
    graph->later_count = graph->goals = graph->reached = graph->failed = 0;
    graph->stop = 0;
    graph->cancelled_children = false;
    graph->why = (struct failure){0};
    graph->loaded = false;
}

int graph_read(struct graph *graph, const struct graph_node *node, struct node *ret_node,
               struct failure *failure)
{
    struct row row = {0};
    CLEANUP_FREE char *id = node_row_id(graph->task.resource, node->name);
    int code = store_get(graph->tasks->store, COLLECTION_SERVICE_NODE, id, &row, failure);
    if (code == VIM_OK) {
        code = node_parse(&row, ret_node, failure);
        row_free(&row);
    } else if (code == VIM_E_NOT_FOUND) {
        /* What was loaded is not true any more. */
        code = failure_set(failure, VIM_E_CONFLICT, "the node %s is gone", node->name);
    }
    return code;
}
