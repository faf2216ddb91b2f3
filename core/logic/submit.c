#include "logic/submit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "logic/prefer.h"
#include "logic/route.h"
#include "logic/services.h"

/* So much of the time is left for making the answer itself. */
#define ANSWER_MARGIN_MS 250

/* --- Answers about a task -------------------------------------------------------------------- */

static void add_common(struct answer *answer, bool replayed, const char *applied)
{
    if (replayed) {
        answer_header(answer, "Idempotent-Replayed", "true");
    }
    if (applied && *applied != '\0') {
        answer_header(answer, "Preference-Applied", applied);
    }
}

/* "/v1/servers/ID" of what a task works on. */
static void resource_path(const struct task *task, char *ret_path, size_t size)
{
    const struct kind *kind = kind_by_name(task->kind);
    snprintf(ret_path, size, "/v1/%s/%s", kind ? kind->plural : task->kind, task->resource);
}

void send_task_accepted(struct call *call, const struct task *task, bool replayed,
                        const char *applied)
{
    struct answer answer;
    char path[160];
    answer_init(&answer, 202);
    snprintf(path, sizeof(path), "/v1/tasks/%s", task->id);
    answer_header(&answer, "Location", path);
    resource_path(task, path, sizeof(path));
    answer_header(&answer, "Content-Location", path);
    answer_header(&answer, "Retry-After", "1");
    add_common(&answer, replayed, applied);
    answer_json(&answer, task_render_public(task));
    logic_send(call, &answer);
}

static void send_task_failed(struct call *call, const struct task *task, bool replayed)
{
    struct problem problem = {.task = task->id,
                              .vim = task->vim,
                              .backend = &task->error,
                              .retry_after_ms = task->error.retry_after_ms,
                              .replayed = replayed};
    int code = task->error.code != 0 ? task->error.code : VIM_E_INTERNAL;
    if (task->state == TASK_TIMED_OUT) {
        code = VIM_E_TIMEOUT;
    } else if (task->state == TASK_CANCELLED) {
        code = VIM_E_CANCELLED;
    }
    problem_from_error(&problem, code, ORIGIN_VIM);
    snprintf(problem.detail, sizeof(problem.detail), "Task %s ended as %s%s%s", task->id,
             task_state_name(task->state), task->error.text ? ": " : ".",
             task->error.text ? task->error.text : "");
    logic_send_problem(call, &problem);
}

static void send_task_succeeded(struct call *call, const struct task *task, bool replayed,
                                const char *applied)
{
    struct answer answer;
    struct failure failure = {0};
    struct row row = {0};
    char path[160];
    if (task->verb == VIM_VERB_DELETE) {
        answer_init(&answer, 204);
        add_common(&answer, replayed, applied);
        logic_send(call, &answer);
        return;
    }
    int code =
        store_get(call->logic->environment.store, task->kind, task->resource, &row, &failure);
    if (code == VIM_E_NOT_FOUND) {
        /* Deleted since: the task is what there is to show. */
        send_task_accepted(call, task, replayed, applied);
        return;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    uint64_t tag = row.revision;
    if (strcmp(task->kind, kinds_service()->name) == 0) {
        char *body = NULL;
        code = service_render(call->logic, &row, &body, &row.body_length, &tag, &failure);
        if (code != VIM_OK) {
            row_free(&row);
            logic_failure(call, &failure, ORIGIN_OWN);
            return;
        }
        free(row.body);
        row.body = body;
    }
    answer_init(&answer, task->verb == VIM_VERB_CREATE ? 201 : 200);
    resource_path(task, path, sizeof(path));
    if (task->verb == VIM_VERB_CREATE) {
        answer_header(&answer, "Location", path);
    }
    answer_header(&answer, "Content-Location", path);
    answer_etag(&answer, tag);
    add_common(&answer, replayed, applied);
    size_t length = row.body_length;
    answer_body(&answer, CONTENT_JSON, TAKE(row.body), length);
    row_free(&row);
    logic_send(call, &answer);
}

/* --- Waiting --------------------------------------------------------------------------------- */

static void complete(void *argument, int code, const struct task *task)
{
    struct call *call = argument;
    if (code != VIM_OK) {
        struct failure failure = {0};
        failure_set(&failure, code, "the task cannot be watched");
        logic_failure(call, &failure, ORIGIN_OWN);
    } else if (!task_state_is_final(task->state)) {
        send_task_accepted(call, task, call->replayed, call->applied);
    } else if (task->state == TASK_SUCCEEDED) {
        send_task_succeeded(call, task, call->replayed, call->applied);
    } else {
        send_task_failed(call, task, call->replayed);
    }
}

void answer_with_task(struct call *call, const char *task_id, bool replayed)
{
    struct preferences preferences;
    struct tasks *tasks = call->logic->environment.tasks;
    prefer_parse(call->request->headers, call->request->header_count, &preferences);
    if (preferences.wait && preferences.wait_seconds > 0) {
        int64_t wait = preferences.wait_seconds * 1000;
        int64_t left = logic_left_ms(call) - ANSWER_MARGIN_MS;
        wait = left < wait ? (left > 0 ? left : 0) : wait;
        struct call *kept = logic_keep(call);
        kept->waited = true;
        kept->replayed = replayed;
        snprintf(kept->applied, sizeof(kept->applied), "wait=%" PRId64, (wait + 999) / 1000);
        tasks_watch(tasks, task_id, wait, complete, kept);
        return;
    }
    struct task task = {0};
    struct failure failure = {0};
    int code = tasks_get(tasks, task_id, &task, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    send_task_accepted(call, &task, replayed,
                       preferences.respond_async ? "respond-async"
                       : preferences.wait        ? "wait=0"
                                                 : NULL);
    task_free(&task);
}

/* --- Submission ------------------------------------------------------------------------------ */

/* Of this many writers at once each gets through. */
#define SUBMIT_TRIES 64

/* A task in the way is a 409, and which one; later the same request may find it gone. If there is none,
 * the row was changed since it was looked at, by the inventory for one: no reason to give up, and if the
 * client named an entity tag, another look tells what has become of it. */
static void send_conflict(struct call *call, const struct task_wish *wish,
                          const struct failure *failure)
{
    struct row row = {0};
    struct resource resource = {0};
    struct store *store = call->logic->environment.store;
    if (store_get(store, wish->kind, wish->resource->id, &row, NULL) == VIM_OK) {
        (void)resource_parse(&row, wish->kind, &resource, NULL);
    }
    if (wish->resource->revision && resource.id && !resource.task && call->tries < SUBMIT_TRIES) {
        call->tries++;
        call->entry->route->handle(call);
    } else {
        struct problem problem = {.task = resource.task, .vim = wish->vim};
        problem_from_error(&problem, VIM_E_CONFLICT, ORIGIN_OWN);
        problem.retryable = true;
        snprintf(problem.detail, sizeof(problem.detail), "%s", failure->text);
        logic_send_problem(call, &problem);
    }
    resource_free(&resource);
    row_free(&row);
}

void submit_task(struct call *call, struct task_wish *wish, const struct idempotency *idempotency)
{
    char task_id[37];
    struct failure failure = {0};
    if (idempotency->key) {
        wish->idempotency_key = idempotency->key;
        wish->idempotency_id = idempotency->id;
        wish->idempotency_digest = idempotency->digest;
    }
    int code = tasks_submit(call->logic->environment.tasks, wish, task_id, &failure);
    if (code == VIM_OK) {
        answer_with_task(call, task_id, false);
    } else if (code != VIM_E_CONFLICT && code != VIM_E_NOT_FOUND) {
        logic_failure(call, &failure, ORIGIN_OWN);
    } else if (idempotency_answer(call, idempotency)) {
        return;
    } else if (code == VIM_E_NOT_FOUND) {
        /* The inventory, or another task, took it away since it was looked at. */
        logic_not_found(call);
    } else {
        send_conflict(call, wish, &failure);
    }
}
