/* New tasks. */
#include "engine/tasks_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/hints.h"
#include "engine/inventory.h"
#include "model/event.h"

void submit_fill(struct task *task, const struct task_wish *wish,
                 const struct tasks_settings *settings)
{
    int64_t now = clock_now_ms();
    if (wish->task_id) {
        memcpy(task->id, wish->task_id, ID_SIZE);
    } else {
        id_new(task->id);
    }
    task->project = text_duplicate(wish->project);
    task->principal = text_duplicate(wish->principal);
    task->verb = wish->verb;
    task->action = text_duplicate(wish->action);
    task->vim = text_duplicate(wish->vim);
    task->kind = text_duplicate(wish->kind);
    task->resource = text_duplicate(wish->resource->id);
    task->resource_name = text_duplicate(wish->resource->name);
    task->request_id =
        text_duplicate(wish->verb == VIM_VERB_CREATE ? wish->resource->id : task->id);
    task->spec = text_duplicate(wish->spec ? wish->spec : "{}");
    task->data_path = text_duplicate(wish->data_path);
    task->data_size = wish->data_path ? wish->data_size : -1;
    task->idempotency_key = text_duplicate(wish->idempotency_key);
    task->state = TASK_QUEUED;
    task->created = task->updated = task->due = now;
    task->deadline = now + (wish->deadline_ms > 0 ? wish->deadline_ms : settings->deadline_ms);
    task->max_attempts = settings->max_attempts;
}

/* Looks at the row as it is: it must be as the wish expects it, and no task may work on it. */
static int check_resource(struct tasks *tasks, const struct task_wish *wish,
                          enum resource_status *ret_status, struct failure *failure)
{
    struct row row = {0};
    struct resource resource = {0};
    int code = store_get(tasks->store, wish->kind, wish->resource->id, &row, failure);
    if (code == VIM_E_NOT_FOUND && wish->resource->revision == 0) {
        return VIM_OK;
    }
    if (code != VIM_OK) {
        return code;
    }
    code = resource_parse(&row, wish->kind, &resource, failure);
    row_free(&row);
    if (code != VIM_OK) {
        return code;
    }
    if (resource.task) {
        code = failure_set(failure, VIM_E_CONFLICT, "task %s works on %s %s", resource.task,
                           wish->kind, wish->resource->id);
    } else if (resource.revision != wish->resource->revision) {
        code = failure_set(failure, VIM_E_CONFLICT, "%s %s has changed meanwhile", wish->kind,
                           wish->resource->id);
    }
    *ret_status = resource.status;
    resource_free(&resource);
    return code;
}

void submit_count(const char *kind, uint32_t verb)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "kind", kind);
    metrics_label(&labels, "verb", task_verb_name(verb));
    metric_add(metrics_counter("vimd_tasks_accepted_total", "Tasks accepted", text_get(&labels)),
               1);
}

/* The row of an idempotency key; its body is in RET_BODY. */
static struct vim_write idempotency_write(const char *id, const char *digest, const char *project,
                                          const char *task, uint64_t expect, int64_t due,
                                          char **ret_body)
{
    CLEANUP_TEXT struct text text = {0};
    text_printf(&text, "{\"task\":\"%s\",\"digest\":", task);
    json_add_string(&text, digest);
    text_add_char(&text, '}');
    *ret_body = text_take(&text);
    return (struct vim_write){.collection = COLLECTION_IDEMPOTENCY,
                              .id = id,
                              .parent = project,
                              .body = *ret_body,
                              .expect = expect,
                              .due = due};
}

static int commit_wish(struct tasks *tasks, const struct task_wish *wish, struct task *task,
                       const struct tasks_settings *settings, uint64_t key_expect,
                       struct failure *failure)
{
    struct resource resource = *wish->resource; /* borrows its texts */
    resource.task = task->id;
    CLEANUP_FREE char *resource_body = resource_render(&resource);
    CLEANUP_FREE char *task_body = task_render(task);
    CLEANUP_FREE char *idempotency_body = NULL;
    struct event_buffer event = {0};
    struct vim_write writes[5] = {task_write(task, task_body),
                                  resource_write(&resource, resource_body)};
    uint32_t count = 2;
    /* That something new is wanted is told to who wants it, by the answer; the first event of a new
     * resource is what becomes of it. */
    if (resource.revision && (uint32_t)resource.status != task->before) {
        writes[count++] =
            event_of_resource(EVENT_RESOURCE_CHANGED, &resource, (enum resource_status)task->before,
                              task->id, task->created, &event);
    }
    if (wish->more) {
        writes[count++] = *wish->more;
    }
    if (wish->idempotency_id) {
        writes[count++] = idempotency_write(
            wish->idempotency_id, wish->idempotency_digest, wish->project, task->id, key_expect,
            task->created + settings->idempotency_ms, &idempotency_body);
    }
    int code = store_commit(tasks->store, writes, count, failure);
    event_buffer_free(&event);
    return code;
}

/* The revision of an idempotency row that has expired and was not swept yet; else 0. */
static uint64_t expired_key(struct tasks *tasks, const char *idempotency_id)
{
    struct row row = {0};
    uint64_t revision = 0;
    if (idempotency_id &&
        store_get(tasks->store, COLLECTION_IDEMPOTENCY, idempotency_id, &row, NULL) == VIM_OK) {
        revision = row.due && row.due <= clock_now_ms() ? row.revision : 0;
        row_free(&row);
    }
    return revision;
}

struct vim_write tasks_idempotency_write(struct tasks *tasks, const char *idempotency_id,
                                         const char *digest, const char *project, char **ret_body)
{
    struct tasks_settings settings = tasks_settings_now(tasks);
    return idempotency_write(idempotency_id, digest, project, "",
                             expired_key(tasks, idempotency_id),
                             clock_now_ms() + settings.idempotency_ms, ret_body);
}

int tasks_submit(struct tasks *tasks, const struct task_wish *wish, char ret_task_id[37],
                 struct failure *failure)
{
    assert(wish->resource && wish->resource->id && wish->resource->kind);
    assert(!wish->idempotency_id == !wish->idempotency_digest);
    struct tasks_settings settings = tasks_settings_now(tasks);
    enum resource_status before = STATUS_UNKNOWN;
    if (settings.active_max && tasks_are_too_many(tasks, settings.active_max)) {
        failure_set(failure, VIM_E_BUSY, "%u tasks have not ended yet; no more are accepted",
                    settings.active_max);
        if (failure) {
            failure->retry_after_ms = 1000;
        }
        return VIM_E_BUSY;
    }
    int code = VIM_OK;
    if (wish->resource->revision) {
        code = check_resource(tasks, wish, &before, failure);
        if (code != VIM_OK) {
            return code;
        }
    }
    struct task task = {0};
    submit_fill(&task, wish, &settings);
    task.before = before;
    code = commit_wish(tasks, wish, &task, &settings, VIM_EXPECT_ABSENT, failure);
    uint64_t expired = code == VIM_E_CONFLICT ? expired_key(tasks, wish->idempotency_id) : 0;
    if (expired) {
        code = commit_wish(tasks, wish, &task, &settings, expired, failure);
    }
    if (code == VIM_E_CONFLICT && wish->resource->revision &&
        check_resource(tasks, wish, &before, failure) == VIM_E_NOT_FOUND) {
        code = VIM_E_NOT_FOUND; /* it went just now; else FAILURE says which task is in the way */
    }
    if (code == VIM_OK) {
        atomic_fetch_add(&tasks->active, 1);
        submit_count(task.kind, task.verb);
        log_event(VIM_INFO, "task accepted", "task=%s kind=%s verb=%s vim=%s resource=%s", task.id,
                  task.kind, task_verb_name(task.verb), task.vim, task.resource);
        hints_push(tasks->queue, task.id, 0);
        memcpy(ret_task_id, task.id, ID_SIZE);
    }
    task_free(&task);
    return code;
}
