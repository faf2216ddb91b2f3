/* What the API shows of a task. */
#include "model/task.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

const char *task_verb_name(uint32_t verb)
{
    switch (verb) {
    case VIM_VERB_CREATE:
        return "create";
    case VIM_VERB_UPDATE:
        return "update";
    case VIM_VERB_DELETE:
        return "delete";
    case VIM_VERB_ACTION:
        return "action";
    case VIM_VERB_UPLOAD:
        return "upload";
    default:
        return "unknown";
    }
}

static void set_time(json_t *object, const char *member, int64_t ms)
{
    if (ms) {
        char text[CLOCK_TEXT_SIZE];
        json_set_text(object, member, clock_format_rfc3339(ms, text));
    }
}

static json_t *render_backend(const struct task_error *error)
{
    json_t *backend = json_object();
    json_set_text(backend, "service", error->backend_service);
    json_set_text(backend, "status", error->backend_status);
    json_set_text(backend, "request_id", error->backend_request_id);
    json_set_text(backend, "message", error->backend_message);
    return backend;
}

static json_t *render_error(const struct task_error *error)
{
    json_t *object = json_object();
    json_set_text(object, "code", error_name(error->code));
    json_set_text(object, "detail", error->text ? error->text : error_name(error->code));
    json_set_boolean(object, "retryable", error_is_retryable(error->code));
    if (error->retry_after_ms) {
        json_set_integer(object, "retry_after", (error->retry_after_ms + 999) / 1000);
    }
    json_t *backend = render_backend(error);
    if (json_object_size(backend)) {
        json_object_set(object, "backend", backend);
    }
    json_decref(backend);
    return object;
}

static json_t *render_steps(const struct task *task)
{
    json_t *steps = json_array();
    for (uint32_t i = 0; i < task->step_count; i++) {
        const struct task_step *step = &task->steps[i];
        json_t *object = json_object();
        json_set_text(object, "name", step->name);
        json_set_text(object, "state", step->state);
        json_set_text(object, "backend_request_id", step->backend_request_id);
        set_time(object, "started", step->started);
        set_time(object, "finished", step->finished);
        json_set_integer(object, "count", step->count);
        json_set_text(object, "error", step->error);
        json_array_append_new(steps, object);
    }
    return steps;
}

json_t *task_render_public(const struct task *task)
{
    json_t *object = json_object();
    CLEANUP_FREE char *kind = task->action
                                  ? text_format("%s.%s", task->kind, task->action)
                                  : text_format("%s.%s", task->kind, task_verb_name(task->verb));
    json_set_text(object, "id", task->id);
    json_set_text(object, "kind", kind);
    json_set_text(object, "state", task_state_name(task->state));
    json_set_integer(object, "progress", task->progress);
    json_t *target = json_object();
    json_set_text(target, "kind", task->kind);
    json_set_text(target, "id", task->resource);
    json_set_text(target, "name", task->resource_name);
    json_object_set_new(object, "target", target);
    json_set_text(object, "project", task->project);
    json_set_text(object, "principal", task->principal);
    json_set_text(object, "vim", task->vim);
    set_time(object, "created", task->created);
    set_time(object, "started", task->started);
    set_time(object, "updated", task->updated);
    set_time(object, "finished", task->finished);
    set_time(object, "deadline", task->deadline);
    json_set_integer(object, "attempt", task->attempt);
    json_set_integer(object, "max_attempts", task->max_attempts);
    json_set_text(object, "idempotency_key", task->idempotency_key);
    json_set_text(object, "parent", task->parent);
    json_set_text(object, "service", task->service);
    json_object_set_new(object, "steps", render_steps(task));
    if (task->result) {
        json_object_set(object, "result", task->result);
    }
    if (task->error.code) {
        json_object_set_new(object, "error", render_error(&task->error));
    }
    return object;
}
