/*
 * logic/tasks_routes.c - /v1/tasks: list, look, wait, and intervene.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/prefer.h"
#include "logic/route.h"
#include "logic/submit.h"
#include "logic/vocabularies.h"

#define WAIT_MARGIN_MS 250

/* --- List ------------------------------------------------------------------------------------ */

struct task_scan {
    struct lister *lister;
    const char *service; /* only what belongs to this network service; NULL: all */
    struct failure *failure;
    int code;
};

static int offer_task(void *argument, const struct vim_item *item)
{
    struct task_scan *scan = argument;
    struct row row = {.id = (char *)item->id,
                      .parent = (char *)item->parent,
                      .body = (char *)item->body,
                      .body_length = strlen(item->body),
                      .due = item->due,
                      .revision = item->revision,
                      .state = item->state};
    struct task task = {0};
    scan->code = task_parse(&row, &task, scan->failure);
    if (scan->code != VIM_OK) {
        return 1;
    }
    if (scan->service && !text_equal(task.service, scan->service) &&
        strcmp(task.resource, scan->service) != 0) {
        task_free(&task);
        return 0;
    }
    json_t *shown = task_render_public(&task);
    CLEANUP_TEXT struct text text = {0};
    json_print_to(&text, shown);
    json_decref(shown);
    task_free(&task);
    return list_offer(scan->lister, item->id, text_get(&text), text.length);
}

static const char *state_name(unsigned number)
{
    return number < TASK_STATE_COUNT ? task_state_name((enum task_state)number) : NULL;
}

void tasks_routes_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    /* Ids of tasks grow with time. */
    if (!list_begin(call, &vocabulary_tasks, "tasks", "created", &lister)) {
        return;
    }
    const struct list_query *query = &lister.query;
    bool by_id = query->sort == NULL;
    struct vim_scan scan = {
        .size = sizeof(scan),
        .flags = by_id && query->descending ? VIM_SCAN_DESCENDING : 0,
        .collection = COLLECTION_TASK,
        .parent = access_sees_all(call->principal) ? NULL : call->principal->project,
        .after = by_id && query->has_after ? query->after_id : NULL,
        .states = filter_mask(&query->filter, "state", state_name),
        .limit = by_id && query->filter.count == 0 && !*call->id ? list_enough(&lister) : 0,
    };
    struct task_scan tasks = {
        .lister = &lister, .service = *call->id ? call->id : NULL, .failure = &failure};
    int code = store_scan(call->logic->environment.store, &scan, offer_task, &tasks, &failure);
    if (code == VIM_OK) {
        code = tasks.code;
    }
    if (code != VIM_OK) {
        list_free(&lister);
        failure.code = code;
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

/* --- One ------------------------------------------------------------------------------------- */

/* The task that the path names, if the principal may see it; else answers. */
static bool load(struct call *call, struct task *ret_task)
{
    struct failure failure = {0};
    int code = id_valid(call->id)
                   ? tasks_get(call->logic->environment.tasks, call->id, ret_task, &failure)
                   : VIM_E_NOT_FOUND;
    if (code == VIM_OK && access_sees(call->principal, ret_task->project)) {
        return true;
    }
    if (code == VIM_OK) {
        task_free(ret_task);
    }
    if (code == VIM_OK || code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else {
        logic_failure(call, &failure, ORIGIN_OWN);
    }
    return false;
}

static void send_task(struct call *call, const struct task *task)
{
    json_t *shown = task_render_public(task);
    struct text text = {0};
    json_print_to(&text, shown);
    json_decref(shown);
    size_t length = text.length;
    body_send(call, &vocabulary_tasks, 200, task->revision, text_take(&text), length);
}

static void watched(void *argument, int code, const struct task *task)
{
    struct call *call = argument;
    if (code == VIM_OK) {
        send_task(call, task);
        return;
    }
    struct failure failure = {0};
    failure_set(&failure, code, "the task cannot be watched");
    logic_failure(call, &failure, ORIGIN_OWN);
}

/* ?wait=SECONDS; false if it was answered, since it is none. */
static bool parse_wait(struct call *call, int64_t *ret_ms)
{
    const char *value = logic_query(call, "wait");
    long long seconds = 0;
    if (value &&
        (text_to_integer(value, &seconds) != VIM_OK || seconds < 0 || seconds > PREFER_WAIT_MAX)) {
        struct findings findings = {0};
        findings_add(&findings, "?wait", "must be from 0 to %d seconds", PREFER_WAIT_MAX);
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
        return false;
    }
    int64_t left = logic_left_ms(call) - WAIT_MARGIN_MS;
    *ret_ms = seconds * 1000 < left ? seconds * 1000 : (left > 0 ? left : 0);
    return true;
}

void tasks_routes_get(struct call *call)
{
    int64_t wait_ms;
    struct task task = {0};
    if (!parse_wait(call, &wait_ms) || !load(call, &task)) {
        return;
    }
    bool final = task_state_is_final(task.state);
    if (wait_ms > 0 && !final) {
        task_free(&task);
        struct call *kept = logic_keep(call);
        kept->waited = true;
        tasks_watch(call->logic->environment.tasks, call->id, wait_ms, watched, kept);
        return;
    }
    send_task(call, &task);
    task_free(&task);
}

/* --- Interventions --------------------------------------------------------------------------- */

typedef int (*intervene_fn)(struct tasks *tasks, const char *id, struct failure *failure);

static bool may_intervene(const struct principal *principal, const struct task *task,
                          bool operators)
{
    return access_changes(principal, task->project) ||
           (operators && principal->role >= ROLE_OPERATOR);
}

static void intervene(struct call *call, intervene_fn act, bool operators)
{
    struct task task = {0};
    struct failure failure = {0};
    struct tasks *tasks = call->logic->environment.tasks;
    if (!load(call, &task)) {
        return;
    }
    bool allowed = may_intervene(call->principal, &task, operators);
    task_free(&task);
    if (!allowed) {
        logic_fail(call, 403, "forbidden", "The task belongs to another project.");
        return;
    }
    int code = act(tasks, call->id, &failure);
    if (code == VIM_OK) {
        code = tasks_get(tasks, call->id, &task, &failure);
    }
    if (code != VIM_OK) {
        struct problem problem = {.task = call->id, .retry_after_ms = failure.retry_after_ms};
        problem_from_error(&problem, code, ORIGIN_OWN);
        snprintf(problem.detail, sizeof(problem.detail), "%s", failure.text);
        logic_send_problem(call, &problem);
        return;
    }
    send_task_accepted(call, &task, false, NULL);
    task_free(&task);
}

void tasks_routes_cancel(struct call *call)
{
    intervene(call, tasks_cancel, true);
}

void tasks_routes_retry(struct call *call)
{
    intervene(call, tasks_retry, true);
}

void tasks_routes_rollback(struct call *call)
{
    intervene(call, tasks_rollback, false);
}

void tasks_routes_fail(struct call *call)
{
    intervene(call, tasks_fail, false);
}
