/* Lock order: tasks->mutex is a leaf. */
#include "engine/tasks_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/graph.h"
#include "engine/hints.h"
#include "plugin/instance.h"

#define TASKS_MAGIC 0x5441534bu

struct tasks *tasks_new(struct store *store, struct instance *queue, struct vims *vims,
                        const struct tasks_settings *settings)
{
    struct tasks *tasks = MEMORY_NEW(struct tasks);
    tasks->magic = TASKS_MAGIC;
    tasks->store = store;
    tasks->queue = queue;
    tasks->vims = vims;
    tasks->settings = *settings;
    tasks->awaits = awaits_new();
    tasks->parking = parking_new();
    tasks->watches = watches_new(tasks);
    tasks->graphs = graphs_new();
    pthread_mutex_init(&tasks->mutex, NULL);
    pthread_mutex_init(&tasks->counting, NULL);
    clock_cond_init(&tasks->sweep_cond);
    return tasks;
}

void tasks_free(struct tasks *tasks)
{
    if (tasks) {
        assert(tasks->magic == TASKS_MAGIC);
        assert(!tasks->sweep_running);
        tasks->magic = 0;
        watches_free(tasks->watches);
        graphs_free(tasks->graphs);
        awaits_free(tasks->awaits);
        parking_free(tasks->parking);
        pthread_cond_destroy(&tasks->sweep_cond);
        pthread_mutex_destroy(&tasks->counting);
        pthread_mutex_destroy(&tasks->mutex);
        free(tasks);
    }
}

void tasks_configure(struct tasks *tasks, const struct tasks_settings *settings)
{
    LOCK_GUARD(&tasks->mutex);
    tasks->settings = *settings;
    pthread_cond_broadcast(&tasks->sweep_cond);
}

struct tasks_settings tasks_settings_now(struct tasks *tasks)
{
    LOCK_GUARD(&tasks->mutex);
    return tasks->settings;
}

void tasks_set_inventory(struct tasks *tasks, struct inventory *inventory)
{
    tasks->inventory = inventory;
}

void tasks_set_presence(struct tasks *tasks, struct presence *presence)
{
    tasks->presence = presence;
}

static int start(struct tasks *tasks, bool works, struct failure *failure)
{
    int code = watches_start(tasks->watches);
    if (code != VIM_OK) {
        return failure_set(failure, code, "no thread for those who wait for tasks");
    }
    code = sweep_start(tasks, works, failure);
    if (code != VIM_OK) {
        watches_stop(tasks->watches);
    }
    return code;
}

int tasks_start(struct tasks *tasks, struct failure *failure)
{
    return start(tasks, true, failure);
}

int tasks_start_apart(struct tasks *tasks, struct failure *failure)
{
    return start(tasks, false, failure);
}

void tasks_stop(struct tasks *tasks)
{
    sweep_stop(tasks);
    watches_stop(tasks->watches);
}

int tasks_get(struct tasks *tasks, const char *id, struct task *ret_task, struct failure *failure)
{
    if (!id_valid(id)) {
        return failure_set(failure, VIM_E_NOT_FOUND, "there is no such task");
    }
    struct row row = {0};
    int code = store_get(tasks->store, COLLECTION_TASK, id, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        return failure_set(failure, code, "there is no task %s", id);
    }
    if (code == VIM_OK) {
        code = task_parse(&row, ret_task, failure);
        row_free(&row);
    }
    return code;
}

int tasks_find_idempotent(struct tasks *tasks, const char *idempotency_id, char ret_task_id[37],
                          char ret_digest[65], struct failure *failure)
{
    struct row row = {0};
    int code = store_get(tasks->store, COLLECTION_IDEMPOTENCY, idempotency_id, &row, failure);
    if (code != VIM_OK) {
        return code;
    }
    CLEANUP_JSON json_t *body = NULL;
    if (row.due && row.due <= clock_now_ms()) {
        code = failure_set(failure, VIM_E_NOT_FOUND, "the idempotency key has expired");
    } else if (json_parse(row.body, row.body_length, NULL, &body, NULL) != VIM_OK) {
        code = failure_set(failure, VIM_E_INTERNAL, "the row idempotency/%s is not readable",
                           idempotency_id);
    } else {
        strncpy(ret_task_id, json_get_text(body, "task", ""), 36);
        ret_task_id[36] = '\0';
        strncpy(ret_digest, json_get_text(body, "digest", ""), 64);
        ret_digest[64] = '\0';
    }
    row_free(&row);
    return code;
}

uint32_t tasks_in_progress(const struct tasks *tasks)
{
    return atomic_load(&((struct tasks *)(uintptr_t)tasks)->in_progress);
}

int tasks_queue_state(struct tasks *tasks, struct failure *failure)
{
    LOCK_GUARD(&tasks->mutex);
    *failure = tasks->queue_failure;
    return failure->code;
}

void tasks_interrupt(struct tasks *tasks)
{
    hints_interrupt(tasks->queue);
}

int tasks_queue_look(struct tasks *tasks, struct tasks_queue *ret_queue, struct failure *failure)
{
    struct hints_depth depth = {0};
    ret_queue->plugin = instance_plugin(tasks->queue)->descriptor.name;
    int code = hints_depth(tasks->queue, &depth, failure);
    ret_queue->waiting = depth.waiting;
    ret_queue->delayed = depth.delayed;
    ret_queue->delivered = depth.delivered;
    ret_queue->oldest_ms = depth.oldest_ms;
    return code;
}
