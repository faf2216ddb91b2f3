/* One change of a task and its resource, and what follows from its commit. */
#include "engine/tasks_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/graph.h"
#include "engine/hints.h"
#include "engine/inventory.h"
#include "model/event.h"

/* Of conflicts and of a store that is busy; together some seconds. */
#define TRIES_MAX 14
#define WRITES_MAX 7

static void change_clear(struct change *change)
{
    task_free(&change->task);
    resource_free(&change->resource);
    free(change->alias_learned);
    free(change->alias_dropped);
    change->alias_learned = change->alias_dropped = NULL;
    change->has_resource = change->resource_changed = change->resource_deleted = false;
    change->touched_far_side = false;
    change->hint_delay_ms = -1;
}

static int read_resource(struct change *change, struct failure *failure)
{
    struct row row = {0};
    const struct task *task = &change->task;
    int code = store_get(change->tasks->store, task->kind, task->resource, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (code == VIM_OK) {
        code = resource_parse(&row, task->kind, &change->resource, failure);
        change->has_resource = code == VIM_OK;
        change->before = change->resource.status;
        row_free(&row);
    }
    return code;
}

static int read_rows(struct change *change, const char *id, struct task *first,
                     struct failure *failure)
{
    if (first) {
        change->task = *first;
        memset(first, 0, sizeof(*first));
    } else {
        int code = tasks_get(change->tasks, id, &change->task, failure);
        if (code != VIM_OK) {
            return code;
        }
    }
    change->was_final = task_state_is_final(change->task.state);
    change->now = clock_now_ms();
    change->now_mono = clock_mono_ms();
    return read_resource(change, failure);
}

/* --- Commit -------------------------------------------------------------------------------------- */

/* What the writes of a commit point to. */
struct commit {
    struct vim_write writes[WRITES_MAX];
    uint32_t count;
    char *task_body, *resource_body;
    struct alias_buffer learned, dropped;
    char derived[ID_SIZE];
    struct event_buffer task_event, resource_event;
};

static void commit_free(struct commit *commit)
{
    free(commit->task_body);
    free(commit->resource_body);
    event_buffer_free(&commit->task_event);
    event_buffer_free(&commit->resource_event);
}

static void add_resource(struct commit *commit, const struct change *change)
{
    if (!change->has_resource) {
        return;
    }
    if (change->resource_deleted) {
        commit->writes[commit->count] = resource_write(&change->resource, NULL);
        commit->count++;
    } else if (change->resource_changed) {
        commit->resource_body = resource_render(&change->resource);
        commit->writes[commit->count++] = resource_write(&change->resource, commit->resource_body);
    }
}

static void add_aliases(struct commit *commit, const struct change *change)
{
    const struct task *task = &change->task;
    if (change->alias_learned) {
        resource_derive_id(task->vim, task->kind, change->alias_learned, commit->derived);
    }
    if (change->alias_learned && strcmp(commit->derived, task->resource) != 0) {
        commit->writes[commit->count++] = alias_write(task->vim, task->kind, change->alias_learned,
                                                      task->resource, &commit->learned);
        /* The inventory may have seen it first, and taken it for a stranger. */
        commit->writes[commit->count++] = (struct vim_write){
            .collection = task->kind, .id = commit->derived, .expect = VIM_EXPECT_ANY};
    }
    if (change->alias_dropped && !text_equal(change->alias_dropped, change->alias_learned)) {
        commit->writes[commit->count++] =
            alias_write(task->vim, task->kind, change->alias_dropped, NULL, &commit->dropped);
    }
}

/* What others want to be told of it. */
static void add_events(struct commit *commit, const struct change *change)
{
    const struct task *task = &change->task;
    if (task_state_is_final(task->state) && !change->was_final) {
        commit->writes[commit->count++] = event_of_task(task, &commit->task_event);
    }
    bool changed = change->resource_changed && change->resource.status != change->before;
    if (change->has_resource && (change->resource_deleted || changed)) {
        commit->writes[commit->count++] = event_of_resource(
            change->resource_deleted ? EVENT_RESOURCE_DELETED : EVENT_RESOURCE_CHANGED,
            &change->resource, change->before, task->id, change->now, &commit->resource_event);
    }
}

static void tell_inventory_before(const struct change *change)
{
    const struct task *task = &change->task;
    const char *ids[] = {change->resource.backend_id, change->alias_dropped};
    for (unsigned i = 0; i < 2 && change->touched_far_side; i++) {
        if (ids[i]) {
            inventory_touch(change->tasks->inventory, task->vim, task->kind, ids[i]);
        }
    }
}

static void tell_inventory_after(const struct change *change)
{
    const struct task *task = &change->task;
    struct inventory *inventory = change->tasks->inventory;
    if (change->alias_dropped) {
        inventory_learn(inventory, task->vim, task->kind, change->alias_dropped, NULL, 0);
    }
    if (change->resource.backend_id && !change->resource_deleted && change->resource_changed) {
        inventory_learn(inventory, task->vim, task->kind, change->resource.backend_id,
                        task->resource, change->resource.revision + 1);
    }
    if (!task_state_is_final(task->state)) {
        return;
    }
    if (task->state != TASK_SUCCEEDED && change->resource_changed && change->resource.backend_id) {
        inventory_doubt(inventory, task->vim, task->kind);
    } else if (change->touched_far_side) {
        inventory_hint(inventory, task->vim, task->kind);
    }
}

/* After a commit whose outcome the store could not tell: has it been done? */
static bool is_committed(struct change *change, const char *task_body)
{
    struct row row = {0};
    if (store_get(change->tasks->store, COLLECTION_TASK, change->task.id, &row, NULL) != VIM_OK) {
        return false;
    }
    bool committed = row.revision == change->task.revision + 1 && text_equal(row.body, task_body);
    row_free(&row);
    return committed;
}

static int commit_change(struct change *change, struct failure *failure)
{
    struct commit commit = {0};
    change->task.updated = change->now;
    commit.task_body = task_render(&change->task);
    commit.writes[commit.count++] = task_write(&change->task, commit.task_body);
    add_resource(&commit, change);
    add_aliases(&commit, change);
    add_events(&commit, change);
    tell_inventory_before(change);
    int code = store_commit(change->tasks->store, commit.writes, commit.count, failure);
    if (VIM_IS_UNKNOWN(code) && is_committed(change, commit.task_body)) {
        code = VIM_OK;
    }
    commit_free(&commit);
    if (code == VIM_OK) {
        change->task.revision++;
        tell_inventory_after(change);
    }
    return code;
}

/* --- What follows -------------------------------------------------------------------------------- */

static void count_end(const struct task *task)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "kind", task->kind);
    metrics_label(&labels, "verb", task_verb_name(task->verb));
    metric_observe(metrics_histogram("vimd_task_seconds", "From acceptance to end of tasks",
                                     text_get(&labels), NULL, 0),
                   (double)(task->finished - task->created) / 1000);
    metrics_label(&labels, "state", task_state_name(task->state));
    metric_add(metrics_counter("vimd_tasks_ended_total", "Tasks ended", text_get(&labels)), 1);
    log_event(VIM_INFO, "task ended",
              "task=%s kind=%s verb=%s vim=%s resource=%s state=%s steps=%u took_ms=%lld error=%s",
              task->id, task->kind, task_verb_name(task->verb), task->vim, task->resource,
              task_state_name(task->state), task->step_count,
              (long long)(task->finished - task->created),
              task->error.text ? task->error.text : "");
}

/* However it ended: who knows whether anybody comes back for what may be gigabytes. */
static void remove_data(const struct task *task)
{
    if (task->data_path && unlink(task->data_path) != 0 && errno != ENOENT) {
        log_event(VIM_WARNING, "upload not removed", "task=%s path=%s errno=%d", task->id,
                  task->data_path, errno);
    }
}

void change_follow_up(struct tasks *tasks, const struct task *task, int64_t hint_delay_ms)
{
    if (task_state_is_final(task->state)) {
        awaits_remove(tasks->awaits, task->id);
        count_end(task);
        remove_data(task);
        watches_notify(tasks->watches, task->id);
        wake_dependents(tasks, task->id);
        if (task->parent) {
            graph_child_ended(tasks, task);
        }
        return;
    }
    if (task->await_id && !task->owner) {
        wake_register(tasks, task);
    }
    if (hint_delay_ms >= 0) {
        hints_push(tasks->queue, task->id, hint_delay_ms);
    }
}

/* --- All of it ----------------------------------------------------------------------------------- */

/* One try. Returns VIM_E_CONFLICT or a retryable code when another one is to be made, and sets
 * RET_DECIDED if the decide function gave the code. */
static int try_change(struct change *change, const char *id, struct task *first,
                      change_decide_fn decide, void *argument, bool *ret_decided,
                      struct failure *failure)
{
    *ret_decided = false;
    int code = read_rows(change, id, first, failure);
    if (code != VIM_OK) {
        return code;
    }
    code = decide(change, argument, failure);
    if (code != VIM_OK) {
        *ret_decided = !error_is_retryable(code);
        return code;
    }
    code = commit_change(change, failure);
    if (code == VIM_OK) {
        int ended = task_state_is_final(change->task.state) - change->was_final;
        atomic_fetch_sub(&change->tasks->active, ended);
        change_follow_up(change->tasks, &change->task, change->hint_delay_ms);
    }
    return code;
}

int change_run(struct tasks *tasks, const char *id, struct task *first, change_decide_fn decide,
               void *argument, struct task *ret_task, struct failure *failure)
{
    struct change change = {.tasks = tasks, .hint_delay_ms = -1};
    struct failure why = {0};
    int code = VIM_OK;
    char copy[ID_SIZE] = "";
    strncpy(copy, id, ID_SIZE - 1); /* ID may lie in FIRST */
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        bool decided;
        code = try_change(&change, copy, first, decide, argument, &decided, &why);
        if (code == VIM_OK && ret_task) {
            *ret_task = change.task;
            memset(&change.task, 0, sizeof(change.task));
        }
        change_clear(&change);
        first = NULL;
        if (code == VIM_OK || decided || (code != VIM_E_CONFLICT && !error_is_retryable(code))) {
            break;
        }
        if (tries > 1) {
            clock_sleep_ms(error_backoff_ms(5, 1000, (uint32_t)tries, NULL));
        }
    }
    if (code != VIM_OK && failure) {
        *failure = why;
    }
    return code;
}
