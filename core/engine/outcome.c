/*
 * What a step's result makes of a task and its resource. Nothing here does I/O, except that the
 * inventory looks up aliases when it merges an item; so a decision can be made again from rows that
 * have changed meanwhile.
 */
#include "engine/tasks_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "engine/inventory.h"
#include "engine/owner.h"
#include "model/drift.h"
#include "model/kinds.h"

/* Of a step that was never called because the lane could not: soon enough, without a rush. */
#define NOT_CALLED_DELAY_MS 2000
#define REQUEST_IDS_MAX 600u

void step_result_free(struct step_result *result)
{
    item_free(&result->item);
    free(result->kept);
    free(result->await_kind);
    free(result->await_id);
    free(result->name);
    free(result->service);
    free(result->status);
    free(result->request_id);
    free(result->message);
    memset(result, 0, sizeof(*result));
}

bool task_is_undoing(const struct task *task)
{
    return task->state == TASK_CANCELLING || task->state == TASK_ROLLING_BACK;
}

bool task_needs_undo(const struct task *task)
{
    return task->verb == VIM_VERB_CREATE && task->started != 0;
}

static void set_text(char **text, const char *value)
{
    if (*text != value) {
        char *copy = text_duplicate(value);
        free(*text);
        *text = copy;
    }
}

void outcome_set_error(struct task *task, int code, uint32_t retry_after_ms, const char *text)
{
    task_error_clear(task);
    task->error.code = code;
    task->error.retry_after_ms = retry_after_ms;
    task->error.text = text_duplicate(text);
}

static void release_claim(struct task *task)
{
    set_text(&task->owner, NULL);
    set_text(&task->await_kind, NULL);
    set_text(&task->await_id, NULL);
}

/* --- Ends ---------------------------------------------------------------------------------------- */

/* The row goes on showing what was asked for; what only the far side told is true no more. */
static void forget_what_was_read(struct resource *resource)
{
    const struct kind *kind = kind_by_name(resource->kind);
    for (unsigned i = 0; kind && resource->body && i < kind->field_count; i++) {
        if (!(kind->fields[i].flags & FIELD_CREATE)) {
            json_object_del(resource->body, kind->fields[i].name);
        }
    }
}

/* The resource of a create that came to nothing, kept so that its maker sees why. */
static void leave_failed_create(struct change *change, enum task_state state)
{
    struct resource *resource = &change->resource;
    const char *reason = change->task.error.text;
    resource->status = STATUS_ERROR;
    if (state == TASK_CANCELLED) {
        reason = "cancelled";
    } else if (!reason) {
        reason = state == TASK_TIMED_OUT ? "not done in time" : "not created";
    }
    set_text(&resource->status_reason, reason);
    if (state == TASK_ROLLBACK_FAILED) {
        return;
    }
    forget_what_was_read(resource);
    if (resource->backend_id) {
        change->alias_dropped = TAKE(resource->backend_id);
    }
}

/* The resource that the task did not change, as far as known; the inventory shows the truth soon. */
static void leave_unchanged(struct change *change, enum task_state state)
{
    struct resource *resource = &change->resource;
    resource->status = (enum resource_status)change->task.before;
    set_text(&resource->status_reason, state == TASK_CANCELLED ? NULL : change->task.error.text);
}

void outcome_finish(struct change *change, enum task_state state)
{
    struct task *task = &change->task;
    task->state = state;
    task->finished = change->now;
    task->due = 0;
    task->cancel = state == TASK_CANCELLED;
    release_claim(task);
    change->hint_delay_ms = -1;
    if (state == TASK_SUCCEEDED) {
        task->progress = 100;
        task_error_clear(task);
    }
    if (!change->has_resource || change->resource_deleted ||
        !text_equal(change->resource.task, task->id)) {
        return;
    }
    set_text(&change->resource.task, NULL);
    change->resource.pending = false;
    change->resource_changed = true;
    if (state == TASK_SUCCEEDED) {
        if (task->verb == VIM_VERB_UPDATE) {
            drift_settle(&change->resource, task->spec);
        }
        return;
    }
    if (task->verb == VIM_VERB_CREATE) {
        leave_failed_create(change, state);
    } else {
        leave_unchanged(change, state);
    }
}

void outcome_begin_undo(struct change *change, enum task_state outcome)
{
    struct task *task = &change->task;
    int64_t time_ms = tasks_settings_now(change->tasks).deadline_ms;
    task->state = outcome == TASK_CANCELLED ? TASK_CANCELLING : TASK_ROLLING_BACK;
    task->outcome = outcome;
    task->attempt = 0;
    task->deadline = change->now + time_ms;
    task->due = change->now;
    release_claim(task);
    change->hint_delay_ms = 0;
}

void outcome_give_up(struct change *change, enum task_state state)
{
    struct task *task = &change->task;
    if (state == TASK_TIMED_OUT && !task->error.code) {
        outcome_set_error(task, VIM_E_TIMEOUT, 0, "the task's deadline has passed");
    } else if (state == TASK_CANCELLED && !task->error.code) {
        outcome_set_error(task, VIM_E_CANCELLED, 0, "cancelled");
    }
    if (task_needs_undo(task)) {
        outcome_begin_undo(change, state);
    } else {
        outcome_finish(change, state);
    }
}

void outcome_undo_failed(struct change *change, const char *why)
{
    struct task *task = &change->task;
    CLEANUP_FREE char *text =
        text_format("%s%swhat was made could not be taken back: %s",
                    task->error.text ? task->error.text : "", task->error.text ? "; " : "", why);
    if (!task->error.code) {
        task->error.code = VIM_E_FAILED;
    }
    set_text(&task->error.text, text);
    outcome_finish(change, TASK_ROLLBACK_FAILED);
}

/* --- Steps --------------------------------------------------------------------------------------- */

/* Adds a request id of the far side to those of a step, dropping the oldest when they get many. */
static void add_request_id(struct task_step *step, const char *request_id)
{
    if (!request_id || !*request_id) {
        return;
    }
    char *all = step->backend_request_id
                    ? text_format("%s %s", step->backend_request_id, request_id)
                    : text_duplicate(request_id);
    const char *start = all;
    while (strlen(start) > REQUEST_IDS_MAX && strchr(start, ' ')) {
        start = strchr(start, ' ') + 1;
    }
    char *newest = text_duplicate(start);
    free(all);
    free(step->backend_request_id);
    step->backend_request_id = newest;
}

static void record_step(struct change *change, const struct step_result *result)
{
    struct task *task = &change->task;
    CLEANUP_FREE char *fallback = text_format(
        "%s%s", task_is_undoing(task) ? "undo-" : "",
        task->action && !task_is_undoing(task) ? task->action : task_verb_name(task->verb));
    const char *name = result->name && *result->name ? result->name : fallback;
    for (uint32_t i = 0; i < task->step_count; i++) {
        struct task_step *earlier = &task->steps[i];
        if (strcmp(earlier->name, name) != 0 && strcmp(earlier->state, "waiting") == 0) {
            set_text(&earlier->state, "succeeded");
        }
    }
    struct task_step *step = task_step_begin(task, name, result->started);
    const char *state = result->code == VIM_OK      ? "succeeded"
                        : result->code == VIM_AGAIN ? "waiting"
                                                    : "failed";
    set_text(&step->state, state);
    set_text(&step->error, result->code < 0 ? result->failure.text : NULL);
    step->finished = change->now;
    add_request_id(step, result->request_id);
    if (result->progress >= 0) {
        task->progress = result->progress > 100 ? 100 : result->progress;
    }
}

static void set_error(struct task *task, const struct step_result *result)
{
    outcome_set_error(task, result->code, result->failure.retry_after_ms, result->failure.text);
    task->error.backend_service = text_duplicate(result->service);
    task->error.backend_status = text_duplicate(result->status);
    task->error.backend_request_id = text_duplicate(result->request_id);
    task->error.backend_message = text_duplicate(result->message);
}

/* The far side's id of the resource has become known, or has changed. */
static void learn_backend_id(struct change *change, const char *backend_id)
{
    struct resource *resource = &change->resource;
    if (text_equal(resource->backend_id, backend_id)) {
        return;
    }
    if (resource->backend_id) {
        change->alias_dropped = TAKE(resource->backend_id);
    }
    resource->backend_id = text_duplicate(backend_id);
    change->alias_learned = text_duplicate(backend_id);
}

/* Takes over what the step emitted. While the task goes on, its own status stays. */
static int merge_item(struct change *change, const struct step_result *result, bool ended,
                      struct failure *failure)
{
    struct resource *resource = &change->resource;
    if (!result->has_item || !change->has_resource || (result->item.flags & VIM_ITEM_GONE) ||
        !result->item.id || !text_equal(result->item.kind, change->task.kind)) {
        return VIM_OK;
    }
    enum resource_status status = resource->status;
    bool pending = resource->pending;
    learn_backend_id(change, result->item.id);
    int code = inventory_merge(change->tasks->inventory, change->task.vim, change->task.kind,
                               &result->item, resource, failure);
    if (!ended) {
        resource->status = status;
        resource->pending = pending;
    }
    change->resource_changed = true;
    return code;
}

static void delete_resource(struct change *change)
{
    if (change->has_resource) {
        change->resource_deleted = true;
        if (change->resource.backend_id) {
            change->alias_dropped = TAKE(change->resource.backend_id);
        }
    }
}

static void set_result(struct task *task, const struct change *change)
{
    json_decref(task->result);
    task->result = json_pack("{s:s, s:s, s:s}", "kind", task->kind, "id", task->resource, "status",
                             change->has_resource && !change->resource_deleted
                                 ? resource_status_name(change->resource.status)
                                 : "DELETED");
}

static int apply_success(struct change *change, const struct step_result *result,
                         struct failure *failure)
{
    struct task *task = &change->task;
    if (task->verb == VIM_VERB_CREATE && !result->has_item) {
        return failure_set(failure, VIM_E_INTERNAL, "the driver did not tell what it has made");
    }
    if (task->verb == VIM_VERB_DELETE) {
        delete_resource(change);
    } else if (result->has_item) {
        int code = merge_item(change, result, true, failure);
        if (code != VIM_OK) {
            return code;
        }
        if (task->verb == VIM_VERB_CREATE && task->cancel) {
            outcome_give_up(change, TASK_CANCELLED);
            return VIM_OK;
        }
    } else if (change->has_resource) {
        change->resource.status = (enum resource_status)task->before;
    }
    outcome_finish(change, TASK_SUCCEEDED);
    if (change->has_resource && !change->resource_deleted && result->has_item) {
        /* A thing may be made and still change by itself. */
        change->resource.pending = result->item.flags & VIM_ITEM_PENDING;
    }
    set_result(task, change);
    return VIM_OK;
}

/* Time until the next look, but not beyond the deadline. */
static void wait_for(struct change *change, int64_t delay_ms)
{
    struct task *task = &change->task;
    int64_t due = change->now + delay_ms;
    if (task->deadline && due > task->deadline) {
        due = task->deadline;
    }
    task->due = due;
    change->hint_delay_ms = due > change->now ? due - change->now : 0;
    set_text(&task->owner, NULL);
    if (!task_is_undoing(task)) {
        task->state = TASK_WAITING;
    }
}

static void apply_again(struct change *change, const struct step_result *result)
{
    struct task *task = &change->task;
    task->attempt = 0;
    if (!task_is_undoing(task)) {
        task_error_clear(task);
    }
    release_claim(task);
    wait_for(change, result->wait_ms);
    if (result->await) {
        set_text(&task->await_kind, result->await_kind);
        set_text(&task->await_id, result->await_id);
        change->hint_delay_ms = -1;
    }
}

/* Is another try allowed after CODE? */
static bool may_retry(const struct task *task, int code)
{
    if (!error_is_retryable(code)) {
        return false;
    }
    /* What still hangs on a resource goes away in its own time: the deadline alone ends that wait. */
    bool waits_for_others = task->verb == VIM_VERB_DELETE && code == VIM_E_IN_USE;
    return waits_for_others || task->attempt < task->max_attempts;
}

static void retry_later(struct change *change, int code, uint32_t retry_after_ms)
{
    struct task *task = &change->task;
    struct tasks_settings settings = tasks_settings_now(change->tasks);
    uint32_t exponent = task->attempt > 0 ? task->attempt - 1 : 0;
    int64_t delay = error_backoff_ms((uint32_t)settings.backoff_base_ms,
                                     (uint32_t)settings.backoff_cap_ms, exponent, NULL);
    if (delay < retry_after_ms) {
        delay = retry_after_ms;
    }
    release_claim(task);
    wait_for(change, delay);
    if (code == VIM_E_IN_USE && change->has_resource) {
        set_text(&change->resource.status_reason, task->error.text);
        change->resource_changed = true;
    }
}

/* A step that the lane never called: nothing has happened, nothing is counted. */
static void apply_not_called(struct change *change, const struct step_result *result)
{
    struct task *task = &change->task;
    if (task->cancel && !task_is_undoing(task)) {
        outcome_give_up(change, TASK_CANCELLED);
        return;
    }
    if (!task_is_undoing(task)) {
        set_error(task, result);
    }
    release_claim(task);
    wait_for(change, NOT_CALLED_DELAY_MS);
}

static void apply_error(struct change *change, const struct step_result *result)
{
    struct task *task = &change->task;
    int code = result->code;
    /* Given up because this process stops: what it was doing may have happened. */
    if (code == VIM_E_CANCELLED && !task->cancel) {
        code = VIM_E_LOST;
    }
    set_error(task, result);
    task->error.code = code;
    task->attempt++;
    if (VIM_IS_UNKNOWN(code)) {
        task->unknown++;
    }
    if (task->cancel) {
        outcome_give_up(change, TASK_CANCELLED);
    } else if (task->deadline && change->now >= task->deadline) {
        outcome_give_up(change, TASK_TIMED_OUT);
    } else if (may_retry(task, code)) {
        retry_later(change, code, result->failure.retry_after_ms);
    } else {
        outcome_give_up(change, TASK_FAILED);
    }
}

/* What a far side that is well says to an undo, and will say again. Anything else may pass: a defect or
 * a conflict there is no reason to leave behind what was made. */
static bool undo_is_refused(int code)
{
    return code == VIM_E_INVALID || code == VIM_E_DENIED || code == VIM_E_UNSUPPORTED;
}

static void apply_to_undo(struct change *change, const struct step_result *result)
{
    struct task *task = &change->task;
    if (result->code == VIM_OK) {
        outcome_finish(change, task->outcome);
    } else if (result->code == VIM_AGAIN) {
        apply_again(change, result);
    } else {
        task->attempt++;
        if (VIM_IS_UNKNOWN(result->code)) {
            task->unknown++;
        }
        bool late = task->deadline && change->now >= task->deadline;
        /* The deadline alone ends the tries: what was made must not stay because the far side was
         * away for a while. */
        if (undo_is_refused(result->code) || late) {
            outcome_undo_failed(change, result->failure.text);
        } else {
            retry_later(change, result->code, result->failure.retry_after_ms);
        }
    }
}

/* What the driver emitted cannot be taken over. Unless that is the store's fault for a moment, it is a
 * defect of the driver that another try would show again. */
static int apply_unreadable(struct change *change, const struct step_result *result, int code,
                            const struct failure *why)
{
    if (error_is_retryable(code)) {
        return code;
    }
    struct step_result error = *result; /* borrows its texts */
    error.code = VIM_E_INTERNAL;
    error.failure = *why;
    apply_error(change, &error);
    return VIM_OK;
}

int outcome_apply(struct change *change, const struct step_result *result, struct failure *failure)
{
    struct task *task = &change->task;
    task->updated = change->now;
    if (!result->ran) {
        apply_not_called(change, result);
        return VIM_OK;
    }
    change->touched_far_side = true;
    record_step(change, result);
    if (result->kept_set) {
        set_text(&task->kept, result->kept);
    }
    if (task_is_undoing(task)) {
        apply_to_undo(change, result);
        return VIM_OK;
    }
    struct failure why = {0};
    int code = result->code == VIM_OK ? apply_success(change, result, &why)
                                      : merge_item(change, result, false, &why);
    if (code != VIM_OK) {
        if (failure) {
            *failure = why;
        }
        return apply_unreadable(change, result, code, &why);
    }
    if (result->code == VIM_OK) {
        return VIM_OK;
    }
    if (result->code < 0) {
        apply_error(change, result);
    } else if (task->cancel) {
        outcome_give_up(change, TASK_CANCELLED);
    } else if (task->deadline && change->now >= task->deadline) {
        outcome_give_up(change, TASK_TIMED_OUT);
    } else {
        apply_again(change, result);
    }
    return VIM_OK;
}
