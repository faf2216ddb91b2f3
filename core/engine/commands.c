/* What people ask of tasks: cancel, retry, rollback, fail. */
#include "engine/tasks_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "engine/graph.h"

/* Does a step hold the task at this moment? */
static bool is_claimed(const struct change *change)
{
    return task_is_held(&change->task, change->now);
}

static int decide_cancel(struct change *change, void *argument, struct failure *failure)
{
    (void)argument;
    struct task *task = &change->task;
    if (task_state_is_final(task->state)) {
        return failure_set(failure, VIM_E_CONFLICT, "task %s has ended: %s", task->id,
                           task_state_name(task->state));
    }
    if (task_is_undoing(task)) {
        return VIM_OK; /* it does already what a cancel leads to */
    }
    task->cancel = true;
    if (task_is_graph(task)) {
        change->hint_delay_ms = 0; /* who runs it sees the flag; what waits is taken up again */
        return VIM_OK;
    }
    if (task->owner) {
        /* A step is in progress, and its end sees the flag; or it died, and a worker has to. */
        change->hint_delay_ms = is_claimed(change) ? -1 : 0;
        return VIM_OK;
    }
    outcome_give_up(change, TASK_CANCELLED);
    return VIM_OK;
}

int tasks_cancel(struct tasks *tasks, const char *id, struct failure *failure)
{
    return change_run(tasks, id, NULL, decide_cancel, NULL, NULL, failure);
}

static enum resource_status status_at_work(const struct task *task)
{
    switch (task->verb) {
    case VIM_VERB_CREATE:
        return STATUS_BUILD;
    case VIM_VERB_DELETE:
        return STATUS_DELETING;
    case VIM_VERB_UPLOAD:
        return STATUS_UPLOADING;
    default:
        return STATUS_UPDATING;
    }
}

/* Makes the task the one that works on its resource. */
static int take_resource(struct change *change, struct failure *failure)
{
    struct task *task = &change->task;
    struct resource *resource = &change->resource;
    if (!change->has_resource) {
        return VIM_OK;
    }
    if (resource->task && strcmp(resource->task, task->id) != 0) {
        return failure_set(failure, VIM_E_CONFLICT, "task %s works on %s %s", resource->task,
                           task->kind, task->resource);
    }
    free(resource->task);
    resource->task = text_duplicate(task->id);
    resource->pending = true;
    change->resource_changed = true;
    return VIM_OK;
}

/* Ready for its next step. What happened earlier is not known well enough to skip the tag. */
static void start_again(struct change *change)
{
    struct task *task = &change->task;
    task->attempt = 0;
    task->unknown += task->started != 0;
    task->finished = 0;
    task->cancel = false;
    task->due = change->now;
    task->deadline = change->now + tasks_settings_now(change->tasks).deadline_ms;
    change->hint_delay_ms = 0;
}

static int decide_retry(struct change *change, void *argument, struct failure *failure)
{
    (void)argument;
    struct task *task = &change->task;
    const unsigned allowed = 1u << TASK_FAILED | 1u << TASK_TIMED_OUT | 1u << TASK_CANCELLED |
                             1u << TASK_ROLLBACK_FAILED;
    if (!(allowed & 1u << task->state) && !task_is_paused(task)) {
        return failure_set(failure, VIM_E_CONFLICT, "task %s is %s and cannot be tried again",
                           task->id, task_state_name(task->state));
    }
    if (!change->has_resource) {
        return failure_set(failure, VIM_E_CONFLICT, "the %s %s is gone", task->kind,
                           task->resource);
    }
    if (task->data_path && access(task->data_path, R_OK) != 0) {
        return failure_set(failure, VIM_E_CONFLICT,
                           "the uploaded data of task %s is gone: upload it again", task->id);
    }
    enum resource_status before =
        task_is_paused(task) ? (enum resource_status)task->before : change->resource.status;
    int code = take_resource(change, failure);
    if (code != VIM_OK) {
        return code;
    }
    task->before = before;
    change->resource.status = status_at_work(task);
    free(change->resource.status_reason);
    change->resource.status_reason = NULL;
    start_again(change);
    task->state = TASK_QUEUED;
    task->progress = 0;
    free(task->kept);
    task->kept = NULL;
    task_error_clear(task);
    return VIM_OK;
}

int tasks_retry(struct tasks *tasks, const char *id, struct failure *failure)
{
    return change_run(tasks, id, NULL, decide_retry, NULL, NULL, failure);
}

static int decide_rollback(struct change *change, void *argument, struct failure *failure)
{
    (void)argument;
    struct task *task = &change->task;
    const unsigned allowed = 1u << TASK_FAILED | 1u << TASK_ROLLBACK_FAILED;
    bool can_be_undone =
        task_is_graph(task) ? task->verb != VIM_VERB_DELETE : task->verb == VIM_VERB_CREATE;
    if (!can_be_undone || !(allowed & 1u << task->state || task_is_paused(task))) {
        return failure_set(failure, VIM_E_CONFLICT, "task %s (%s, %s) has nothing to roll back",
                           task->id, task_verb_name(task->verb), task_state_name(task->state));
    }
    int code = take_resource(change, failure);
    if (code == VIM_OK) {
        start_again(change);
        task->state = TASK_ROLLING_BACK;
        task->outcome = TASK_ROLLED_BACK;
        if (task_is_graph(task)) {
            free(task->kept); /* the phase */
            task->kept = NULL;
        }
    }
    return code;
}

int tasks_rollback(struct tasks *tasks, const char *id, struct failure *failure)
{
    return change_run(tasks, id, NULL, decide_rollback, NULL, NULL, failure);
}

static int decide_fail(struct change *change, void *argument, struct failure *failure)
{
    (void)argument;
    struct task *task = &change->task;
    if (task_state_is_final(task->state)) {
        return failure_set(failure, VIM_E_CONFLICT, "task %s has ended: %s", task->id,
                           task_state_name(task->state));
    }
    if (is_claimed(change)) {
        return failure_set(failure, VIM_E_CONFLICT, "a step of task %s is in progress", task->id);
    }
    /* Whoever still believes to hold it has lost it. */
    task->lease++;
    if (!task->error.code) {
        outcome_set_error(task, VIM_E_FAILED, 0, "declared failed");
    }
    /* Nothing is known of what was made: the inventory keeps looking for it. */
    char *backend_id = text_duplicate(change->resource.backend_id);
    outcome_finish(change, TASK_FAILED);
    if (task->verb == VIM_VERB_CREATE && backend_id && change->has_resource) {
        change->resource.backend_id = TAKE(backend_id);
        free(change->alias_dropped);
        change->alias_dropped = NULL;
    }
    free(backend_id);
    return VIM_OK;
}

int tasks_fail(struct tasks *tasks, const char *id, struct failure *failure)
{
    return change_run(tasks, id, NULL, decide_fail, NULL, NULL, failure);
}
