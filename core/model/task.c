#include "model/task.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/resource.h"

static const char *const state_names[TASK_STATE_COUNT] = {
    [TASK_QUEUED] = "queued",
    [TASK_RUNNING] = "running",
    [TASK_WAITING] = "waiting",
    [TASK_SUCCEEDED] = "succeeded",
    [TASK_FAILED] = "failed",
    [TASK_TIMED_OUT] = "timed_out",
    [TASK_CANCELLING] = "cancelling",
    [TASK_CANCELLED] = "cancelled",
    [TASK_ROLLING_BACK] = "rolling_back",
    [TASK_ROLLED_BACK] = "rolled_back",
    [TASK_ROLLBACK_FAILED] = "rollback_failed",
};

const char *task_state_name(enum task_state state)
{
    return (unsigned)state < TASK_STATE_COUNT ? state_names[state] : "unknown";
}

bool task_state_is_final(enum task_state state)
{
    return !(TASK_STATES_ACTIVE & (1u << (unsigned)state));
}

static void free_error(struct task_error *error)
{
    free(error->text);
    free(error->backend_service);
    free(error->backend_status);
    free(error->backend_request_id);
    free(error->backend_message);
    memset(error, 0, sizeof(*error));
}

static void free_step(struct task_step *step)
{
    free(step->name);
    free(step->state);
    free(step->backend_request_id);
    free(step->error);
    memset(step, 0, sizeof(*step));
}

void task_error_clear(struct task *task)
{
    free_error(&task->error);
}

void task_free(struct task *task)
{
    if (!task) {
        return;
    }
    free(task->project);
    free(task->principal);
    free(task->action);
    free(task->vim);
    free(task->kind);
    free(task->resource);
    free(task->resource_name);
    free(task->request_id);
    free(task->spec);
    free(task->data_path);
    free(task->idempotency_key);
    free(task->parent);
    free(task->service);
    free(task->kept);
    free(task->await_kind);
    free(task->await_id);
    free(task->owner);
    free_error(&task->error);
    json_decref(task->result);
    for (uint32_t i = 0; i < task->step_count; i++) {
        free_step(&task->steps[i]);
    }
    free(task->steps);
    memset(task, 0, sizeof(*task));
}

/* --- Row to struct ------------------------------------------------------------------------------- */

static char *copy_text(const json_t *object, const char *member)
{
    return text_duplicate(json_get_text(object, member, NULL));
}

static uint32_t get_count(const json_t *object, const char *member)
{
    int64_t value = json_get_integer(object, member, 0);
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void parse_error(const json_t *object, struct task_error *ret_error)
{
    ret_error->code = (int)json_get_integer(object, "code", 0);
    ret_error->retry_after_ms = get_count(object, "retry_after_ms");
    ret_error->text = copy_text(object, "text");
    ret_error->backend_service = copy_text(object, "backend_service");
    ret_error->backend_status = copy_text(object, "backend_status");
    ret_error->backend_request_id = copy_text(object, "backend_request_id");
    ret_error->backend_message = copy_text(object, "backend_message");
}

static void parse_steps(const json_t *array, struct task *task)
{
    size_t count = json_array_size(array);
    if (count > TASK_STEPS_MAX) {
        count = TASK_STEPS_MAX;
    }
    task->steps = count ? memory_new_array(count, sizeof(struct task_step)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(array, i);
        task->steps[task->step_count++] = (struct task_step){
            .name = text_duplicate(json_get_text(object, "name", "")),
            .state = text_duplicate(json_get_text(object, "state", "")),
            .backend_request_id = copy_text(object, "backend_request_id"),
            .started = json_get_integer(object, "started", 0),
            .finished = json_get_integer(object, "finished", 0),
            .count = get_count(object, "count"),
            .error = copy_text(object, "error"),
        };
    }
}

/* What the wish was: written once. */
static void parse_wish(const json_t *body, struct task *task)
{
    task->principal = copy_text(body, "principal");
    task->verb = get_count(body, "verb");
    task->action = copy_text(body, "action");
    task->vim = copy_text(body, "vim");
    task->kind = copy_text(body, "kind");
    task->resource = copy_text(body, "resource");
    task->resource_name = copy_text(body, "resource_name");
    task->request_id = copy_text(body, "request_id");
    task->data_path = copy_text(body, "data_path");
    task->data_size = json_get_integer(body, "data_size", -1);
    task->idempotency_key = copy_text(body, "idempotency_key");
    task->parent = copy_text(body, "parent");
    task->service = copy_text(body, "service");
    json_t *spec = json_object_get(body, "spec");
    task->spec = spec ? json_print(spec) : text_duplicate("{}");
}

/* How far it has come. */
static void parse_progress(const json_t *body, struct task *task)
{
    task->created = json_get_integer(body, "created", 0);
    task->started = json_get_integer(body, "started", 0);
    task->updated = json_get_integer(body, "updated", 0);
    task->finished = json_get_integer(body, "finished", 0);
    task->deadline = json_get_integer(body, "deadline", 0);
    task->attempt = get_count(body, "attempt");
    task->max_attempts = get_count(body, "max_attempts");
    task->unknown = get_count(body, "unknown");
    task->progress = (int)json_get_integer(body, "progress", 0);
    task->cancel = json_get_boolean(body, "cancel", false);
    task->outcome = (enum task_state)json_get_integer(body, "outcome", 0);
    task->before = get_count(body, "before");
    task->kept = copy_text(body, "kept");
    task->await_kind = copy_text(body, "await_kind");
    task->await_id = copy_text(body, "await_id");
    task->owner = copy_text(body, "owner");
    task->lease = (uint64_t)json_get_integer(body, "lease", 0);
    parse_error(json_object_get(body, "error"), &task->error);
    json_t *result = json_object_get(body, "result");
    task->result = json_is_object(result) ? json_incref(result) : NULL;
    parse_steps(json_object_get(body, "steps"), task);
}

int task_parse(const struct row *row, struct task *ret_task, struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    struct json_fault fault;
    if (json_parse(row->body, row->body_length, NULL, &body, &fault) != VIM_OK) {
        return failure_set(failure, VIM_E_INTERNAL, "the row task/%s is not readable: %s", row->id,
                           fault.text);
    }
    struct task task = {
        .project = text_duplicate(row->parent),
        .state = (enum task_state)row->state,
        .revision = row->revision,
        .due = row->due,
    };
    parse_wish(body, &task);
    parse_progress(body, &task);
    if (!id_valid(row->id) || row->state >= TASK_STATE_COUNT || task.before >= STATUS_COUNT ||
        !task.vim || !task.kind || !task.resource || !task.request_id) {
        task_free(&task);
        return failure_set(failure, VIM_E_INTERNAL, "the row task/%s is not a task", row->id);
    }
    memcpy(task.id, row->id, ID_SIZE);
    *ret_task = task;
    return VIM_OK;
}

/* --- Struct to row ------------------------------------------------------------------------------- */

static void add_text(struct text *text, const char *name, const char *value)
{
    if (value) {
        text_printf(text, ",\"%s\":", name);
        json_add_string(text, value);
    }
}

/* Zero is what a missing member is read as. */
static void add_integer(struct text *text, const char *name, int64_t value)
{
    if (value) {
        text_printf(text, ",\"%s\":%lld", name, (long long)value);
    }
}

static void add_error(struct text *text, const struct task_error *error)
{
    if (error->code) {
        text_printf(text, ",\"error\":{\"code\":%d", error->code);
        add_integer(text, "retry_after_ms", error->retry_after_ms);
        add_text(text, "text", error->text);
        add_text(text, "backend_service", error->backend_service);
        add_text(text, "backend_status", error->backend_status);
        add_text(text, "backend_request_id", error->backend_request_id);
        add_text(text, "backend_message", error->backend_message);
        text_add_char(text, '}');
    }
}

static void add_steps(struct text *text, const struct task *task)
{
    if (task->step_count == 0) {
        return;
    }
    text_add(text, ",\"steps\":[");
    for (uint32_t i = 0; i < task->step_count; i++) {
        const struct task_step *step = &task->steps[i];
        text_add(text, i ? ",{\"name\":" : "{\"name\":");
        json_add_string(text, step->name);
        add_text(text, "state", step->state);
        add_text(text, "backend_request_id", step->backend_request_id);
        add_integer(text, "started", step->started);
        add_integer(text, "finished", step->finished);
        add_integer(text, "count", step->count);
        add_text(text, "error", step->error);
        text_add_char(text, '}');
    }
    text_add_char(text, ']');
}

char *task_render(const struct task *task)
{
    CLEANUP_TEXT struct text text = {0};
    text_printf(&text, "{\"verb\":%u", task->verb);
    add_text(&text, "principal", task->principal);
    add_text(&text, "action", task->action);
    add_text(&text, "vim", task->vim);
    add_text(&text, "kind", task->kind);
    add_text(&text, "resource", task->resource);
    add_text(&text, "resource_name", task->resource_name);
    add_text(&text, "request_id", task->request_id);
    add_text(&text, "data_path", task->data_path);
    text_printf(&text, ",\"data_size\":%lld", (long long)task->data_size);
    add_text(&text, "idempotency_key", task->idempotency_key);
    add_text(&text, "parent", task->parent);
    add_text(&text, "service", task->service);
    add_integer(&text, "created", task->created);
    add_integer(&text, "started", task->started);
    add_integer(&text, "updated", task->updated);
    add_integer(&text, "finished", task->finished);
    add_integer(&text, "deadline", task->deadline);
    add_integer(&text, "attempt", task->attempt);
    add_integer(&text, "max_attempts", task->max_attempts);
    add_integer(&text, "unknown", task->unknown);
    add_integer(&text, "progress", task->progress);
    if (task->cancel) {
        text_add(&text, ",\"cancel\":true");
    }
    add_integer(&text, "outcome", task->outcome);
    add_integer(&text, "before", task->before);
    add_text(&text, "kept", task->kept);
    add_text(&text, "await_kind", task->await_kind);
    add_text(&text, "await_id", task->await_id);
    add_text(&text, "owner", task->owner);
    add_integer(&text, "lease", (int64_t)task->lease);
    add_error(&text, &task->error);
    if (task->result) {
        text_add(&text, ",\"result\":");
        json_print_to(&text, task->result);
    }
    add_steps(&text, task);
    text_printf(&text, ",\"spec\":%s}", task->spec ? task->spec : "{}");
    return text_take(&text);
}

struct vim_write task_write(const struct task *task, const char *body)
{
    return (struct vim_write){
        .collection = COLLECTION_TASK,
        .id = task->id,
        .parent = task->project,
        .body = body,
        .expect = task->revision ? task->revision : VIM_EXPECT_ABSENT,
        .due = task->due,
        .state = (uint32_t)task->state,
    };
}

/* --- History ------------------------------------------------------------------------------------- */

struct task_step *task_step_begin(struct task *task, const char *name, int64_t now)
{
    for (uint32_t i = 0; i < task->step_count; i++) {
        if (strcmp(task->steps[i].name, name) == 0) {
            task->steps[i].count++;
            return &task->steps[i];
        }
    }
    if (task->step_count == TASK_STEPS_MAX) {
        free_step(&task->steps[0]);
        memmove(task->steps, task->steps + 1, (TASK_STEPS_MAX - 1) * sizeof(struct task_step));
        task->step_count--;
    }
    task->steps = memory_resize(task->steps, task->step_count + 1, sizeof(struct task_step));
    struct task_step *step = &task->steps[task->step_count++];
    *step = (struct task_step){
        .name = text_duplicate(name),
        .state = text_duplicate("running"),
        .started = now,
        .count = 1,
    };
    return step;
}
