/* Writes of a graph that are committed together. */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/hints.h"
#include "engine/owner.h"

void batch_free(struct graph_batch *batch)
{
    for (uint32_t i = 0; i < batch->text_count; i++) {
        free(batch->texts[i]);
    }
    free(batch->texts);
    free(batch->writes);
    free(batch->children);
    *batch = (struct graph_batch){0};
}

char *batch_keep(struct graph_batch *batch, char *text)
{
    if (batch->text_count == batch->text_capacity) {
        batch->text_capacity = batch->text_capacity ? batch->text_capacity * 2 : 64;
        batch->texts = memory_resize(batch->texts, batch->text_capacity, sizeof(char *));
    }
    batch->texts[batch->text_count++] = text;
    return text;
}

void batch_write(struct graph_batch *batch, struct vim_write write)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity ? batch->capacity * 2 : 64;
        batch->writes = memory_resize(batch->writes, batch->capacity, sizeof(*batch->writes));
    }
    batch->writes[batch->count++] = write;
}

void batch_node(struct graph_batch *batch, const struct node *node, bool gone)
{
    struct vim_write write = node_write(node, gone ? NULL : batch_keep(batch, node_render(node)));
    write.id = batch_keep(batch, text_duplicate(node->id));
    write.parent = batch_keep(batch, text_duplicate(node->service));
    batch_write(batch, write);
}

void batch_resource(struct graph_batch *batch, const struct resource *resource, bool gone)
{
    struct vim_write write =
        resource_write(resource, gone ? NULL : batch_keep(batch, resource_render(resource)));
    write.collection = batch_keep(batch, text_duplicate(write.collection));
    write.id = batch_keep(batch, text_duplicate(write.id));
    write.parent = batch_keep(batch, text_duplicate(write.parent));
    batch_write(batch, write);
}

void batch_child(struct graph_batch *batch, const struct task *task, const struct kind *kind)
{
    batch->children =
        memory_resize(batch->children, batch->child_count + 1, sizeof(*batch->children));
    struct graph_child *child = &batch->children[batch->child_count++];
    *child = (struct graph_child){.kind = kind->name, .verb = task->verb};
    memcpy(child->task, task->id, ID_SIZE);
}

/* The event's id and body live as long as the batch. */
static void keep_event(struct graph_batch *batch, struct event_buffer *buffer,
                       struct vim_write write)
{
    (void)batch_keep(batch, buffer->body);
    (void)batch_keep(batch, (char *)buffer);
    write.parent = batch_keep(batch, text_duplicate(write.parent));
    batch_write(batch, write);
}

void batch_tell_task(struct graph_batch *batch, const struct task *task)
{
    struct event_buffer *buffer = MEMORY_NEW(struct event_buffer);
    keep_event(batch, buffer, event_of_task(task, buffer));
}

void batch_tell_resource(struct graph_batch *batch, enum event_type type,
                         const struct resource *resource, enum resource_status before,
                         const char *task)
{
    struct event_buffer *buffer = MEMORY_NEW(struct event_buffer);
    keep_event(batch, buffer,
               event_of_resource(type, resource, before, task, clock_now_ms(), buffer));
}

/* The task as it was written, or not: after a commit whose outcome the store could not tell. */
static bool is_committed(struct graph *graph, const char *body)
{
    struct row row = {0};
    const struct task *task = &graph->task;
    if (store_get(graph->tasks->store, COLLECTION_TASK, task->id, &row, NULL) != VIM_OK) {
        return false;
    }
    bool committed = row.revision == task->revision + 1 && text_equal(row.body, body);
    row_free(&row);
    return committed;
}

int batch_commit(struct graph *graph, struct graph_batch *batch, struct failure *failure)
{
    struct tasks *tasks = graph->tasks;
    struct task *task = &graph->task;
    task->updated = clock_now_ms();
    char *body = batch_keep(batch, task_render(task));
    batch_write(batch, task_write(task, body));
    int code = store_commit(tasks->store, batch->writes, batch->count, failure);
    if (VIM_IS_UNKNOWN(code) && is_committed(graph, body)) {
        code = VIM_OK;
    }
    if (code != VIM_OK) {
        return code;
    }
    task->revision++;
    metric_add(
        metrics_counter("vimd_graph_commits_total", "Commits of graphs of network services", NULL),
        1);
    atomic_fetch_add(&tasks->active, batch->child_count);
    for (uint32_t i = 0; i < batch->child_count; i++) {
        submit_count(batch->children[i].kind, batch->children[i].verb);
        hints_push(tasks->queue, batch->children[i].task, 0);
    }
    return VIM_OK;
}
