/*
 * From a hint to a driver call and the commit of its outcome.
 *
 *   tasks_work()  worker's thread: pull, look at the task, claim it, post to the VIM's lane
 *   run_step()    lane's thread: the driver
 *   done_step()   lane's thread: outcome, commit, next
 */
#include "engine/tasks_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/integral.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/claims.h"
#include "engine/graph.h"
#include "engine/hints.h"
#include "engine/inventory.h"
#include "engine/owner.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

#define PULL_MAX 64u
#define STEP_MAGIC 0x53544550u
/* After a step that wants to be called again and did not say when. */
#define AGAIN_DELAY_MS 1000
/* An upload that is slower than this (1 MiB/s) runs out of time. */
#define UPLOAD_BYTES_PER_MS 1049
/* By how much the clocks of processes that share a store may differ. */
#define CLOCK_SLACK_MS 60000
/* One step in progress: made when its task was claimed, freed when its outcome is committed. */
struct step {
    uint32_t magic;
    struct tasks *tasks;
    struct vim_target *target;
    struct task task; /* as claimed */
    uint64_t lease;
    uint64_t claim; /* its number, see claims.h */
    int64_t timeout_ms, claimed_us;
    struct operation operation;
    int data_fd;
    struct step_result result;
};

static void free_step(struct step *step)
{
    assert(step->magic == STEP_MAGIC);
    step->magic = 0;
    vim_target_release(step->target);
    task_free(&step->task);
    operation_free(&step->operation);
    step_result_free(&step->result);
    if (step->data_fd >= 0) {
        (void)close(step->data_fd);
    }
    free(step);
}

/* --- Outcome ------------------------------------------------------------------------------------- */

static int decide_outcome(struct change *change, void *argument, struct failure *failure)
{
    struct step *step = argument;
    const struct task *task = &change->task;
    if (task->lease != step->lease || !text_equal(task->owner, owner_self())) {
        return failure_set(failure, VIM_E_CANCELLED, "the claim is lost");
    }
    return outcome_apply(change, &step->result, failure);
}

static struct metric *steps_in_flight(void)
{
    return metrics_gauge("vimd_task_steps_in_flight", "Steps of tasks in progress", NULL);
}

static void count_step(const struct step *step)
{
    CLEANUP_TEXT struct text labels = {0};
    const struct step_result *result = &step->result;
    metrics_label(&labels, "vim", vim_target_settings(step->target)->name);
    metrics_label(&labels, "kind", step->task.kind);
    metrics_label(&labels, "verb", task_verb_name(step->task.verb));
    metrics_label(&labels, "result", error_name(result->code));
    metric_add(metrics_counter("vimd_task_steps_total", "Steps of tasks", text_get(&labels)), 1);
    if (result->code < 0 && error_is_retryable(result->code)) {
        metric_add(metrics_counter("vimd_task_retries_total",
                                   "Steps that failed in a way that may pass", NULL),
                   1);
    }
}

/* Commits the outcome, gives the VIM's slot to the next, and ends the step. */
static void end_step(struct step *step)
{
    struct tasks *tasks = step->tasks;
    struct failure failure = {0};
    CLEANUP_FREE char *vim = text_duplicate(step->task.vim);
    char id[ID_SIZE];
    memcpy(id, step->task.id, ID_SIZE);
    count_step(step);
    int code = change_run(tasks, id, &step->task, decide_outcome, step, NULL, &failure);
    if (code != VIM_OK) {
        /* Its lease ends, and the step is made again under the same request id. */
        log_event(VIM_WARNING, "outcome of a step not stored", "task=%s error=%s text=%s", id,
                  error_name(code), failure.text);
    } else {
        claims_give(id, step->claim);
    }
    vim_target_give_step(step->target);
    int64_t now_us = clock_mono_us();
    integral_end(IN_WORKER, now_us);
    metric_add(steps_in_flight(), -1);
    metric_observe(metrics_histogram("vimd_task_step_seconds",
                                     "From the claim of a task to the outcome of its step", NULL,
                                     NULL, 0),
                   (double)(now_us - step->claimed_us) / 1e6);
    free_step(step);
    turns_hand_on(tasks, vim);
    atomic_fetch_sub(&tasks->in_progress, 1);
}

static void take_note(struct vim_call *call, const char *name, char **ret_value)
{
    *ret_value = text_duplicate(call_note(call, name));
}

static void take_result(struct step *step, struct vim_call *call, int code)
{
    struct step_result *result = &step->result;
    const char *cursor = NULL, *kind = NULL, *id = NULL, *progress;
    result->code = code;
    if (code < 0) {
        failure_from_call(&result->failure, code, call);
    }
    result->kept_set = call_kept(call, &cursor);
    result->kept = text_duplicate(cursor);
    enum call_wait wait = call_wait(call, &result->wait_ms, &kind, &id);
    if (wait == CALL_WAIT_NONE) {
        result->wait_ms = AGAIN_DELAY_MS;
    }
    result->await = wait == CALL_WAIT_AWAIT && kind && id;
    result->await_kind = text_duplicate(kind);
    result->await_id = text_duplicate(id);
    take_note(call, "step", &result->name);
    take_note(call, "backend_service", &result->service);
    take_note(call, "backend_status", &result->status);
    take_note(call, "backend_request_id", &result->request_id);
    take_note(call, "backend_message", &result->message);
    progress = call_note(call, "progress");
    result->progress = progress ? atoi(progress) : -1;
}

static void done_step(struct vim_call *call, int code, void *argument)
{
    struct step *step = argument;
    take_result(step, call, code);
    if (step->result.ran) {
        vim_target_report(step->target, code, step->result.failure.text);
    }
    end_step(step);
}

/* --- Call ---------------------------------------------------------------------------------------- */

static int take_item(void *argument, const struct vim_item *item)
{
    struct step *step = argument;
    /* A step may tell of parts it made; the resource itself is what counts. */
    if (item->kind && strcmp(item->kind, step->task.kind) == 0) {
        item_free(&step->result.item);
        item_copy(item, &step->result.item);
        step->result.has_item = true;
    }
    return 0;
}

static void prepare_step(struct vim_call *call, void *argument)
{
    struct step *step = argument;
    call_set_emit(call, take_item, step);
    if (step->data_fd >= 0) {
        call_set_read_fd(call, step->data_fd);
    }
}

static int run_step(struct vim_call *call, void *handle, void *argument)
{
    struct step *step = argument;
    step->result.ran = true;
    return instance_driver(vim_target_instance(step->target))
        ->step(call, handle, &step->operation.op);
}

static void fill_op(struct step *step)
{
    const struct task *task = &step->task;
    struct operation *operation = &step->operation;
    operation->has_seen = awaits_take_seen(step->tasks->awaits, task->id, &operation->seen);
    operation->op = (struct vim_op){
        .size = sizeof(struct vim_op),
        .verb = task->verb,
        .kind = task->kind,
        .id = operation->id,
        .action = task->action,
        .spec = operation->spec,
        .kept = task->kept,
        .request_id = task->request_id,
        .attempt = task->unknown,
        .undo = task_is_undoing(task),
        .seen = operation->has_seen ? &operation->seen : NULL,
        .data_size = task->data_path ? task->data_size : -1,
    };
}

/* How long a step may take. Data goes in one step, so it gets more time, within the task's. */
static int64_t step_timeout_ms(const struct task *task, const struct vim_target *target)
{
    int64_t timeout = vim_target_settings(target)->call_timeout_ms;
    int64_t left = task->deadline - clock_now_ms();
    if (task->data_path && task->data_size > 0 && left > timeout) {
        int64_t more = task->data_size / UPLOAD_BYTES_PER_MS;
        return more < left - timeout ? timeout + more : left;
    }
    return timeout;
}

static void post_step(struct step *step)
{
    struct lane_job job = {
        .run = run_step,
        .done = done_step,
        .prepare = prepare_step,
        .argument = step,
        .timeout_ms = step->timeout_ms,
        /* What starts late and is cut off leaves an unknown outcome; put off, it leaves none. */
        .least_ms = vim_target_settings(step->target)->call_timeout_ms / 2,
    };
    fill_op(step);
    step->result.started = clock_now_ms();
    step->result.progress = -1;
    if (step->task.data_path) {
        step->data_fd = open(step->task.data_path, O_RDONLY | O_CLOEXEC);
    }
    int code = VIM_OK;
    if (step->task.data_path && step->data_fd < 0) {
        code = failure_set(&step->result.failure, VIM_E_NOT_FOUND,
                           "the uploaded data cannot be read here: %s: %s (logic and worker "
                           "processes have to share spool_dir)",
                           step->task.data_path, strerror(errno));
        step->result.ran = true; /* counts as the step's own failure */
    } else {
        code = lane_post(vim_target_lane(step->target), &job, NULL);
        if (code == VIM_OK) {
            return;
        }
        failure_set(&step->result.failure, code, "VIM %s does not take calls now", step->task.vim);
    }
    step->result.code = code;
    end_step(step);
}

/* --- Claim --------------------------------------------------------------------------------------- */

bool task_is_held(const struct task *task, int64_t now)
{
    if (!task->owner) {
        return false;
    }
    if (strcmp(task->owner, owner_self()) == 0) {
        return claims_hold(task->id);
    }
    return !owner_is_dead(task->owner) && task->due > now;
}

struct claim {
    uint64_t revision; /* of the task as it was looked at */
    int64_t lease_ms;
};

static int decide_claim(struct change *change, void *argument, struct failure *failure)
{
    const struct claim *claim = argument;
    struct task *task = &change->task;
    if (task->revision != claim->revision) {
        return failure_set(failure, VIM_E_CONFLICT, "the task has changed");
    }
    if (task->owner) {
        /* Between that claim and now a driver may have been called. */
        task->unknown++;
    }
    free(task->owner);
    task->owner = text_duplicate(owner_self());
    task->lease++;
    task->due = change->now + claim->lease_ms;
    if (!task_is_undoing(task)) {
        task->state = TASK_RUNNING;
    }
    if (!task->started) {
        task->started = change->now;
    }
    free(task->await_kind);
    free(task->await_id);
    task->await_kind = task->await_id = NULL;
    return VIM_OK;
}

static int claim_and_post(struct tasks *tasks, struct task *task, struct vim_target *target,
                          struct operation *operation)
{
    int64_t timeout_ms = step_timeout_ms(task, target);
    struct claim claim = {.revision = task->revision,
                          .lease_ms = timeout_ms + tasks_settings_now(tasks).lease_margin_ms};
    struct task claimed = {0};
    char id[ID_SIZE];
    memcpy(id, task->id, ID_SIZE);
    uint64_t number = claims_take(id, clock_mono_ms() + claim.lease_ms);
    int code = change_run(tasks, id, task, decide_claim, &claim, &claimed, NULL);
    if (code != VIM_OK) {
        claims_give(id, number);
        vim_target_give_step(target);
        return code;
    }
    awaits_remove(tasks->awaits, id);
    struct step *step = MEMORY_NEW(struct step);
    step->magic = STEP_MAGIC;
    step->tasks = tasks;
    step->target = vim_target_hold(target);
    step->task = claimed;
    step->lease = claimed.lease;
    step->claim = number;
    step->timeout_ms = timeout_ms;
    step->operation = *operation;
    *operation = (struct operation){0};
    step->data_fd = -1;
    step->claimed_us = clock_mono_us();
    integral_begin(IN_WORKER, step->claimed_us);
    metric_add(steps_in_flight(), 1);
    atomic_fetch_add(&tasks->in_progress, 1);
    post_step(step);
    return VIM_OK;
}

/* --- Tasks that end or wait without a call --------------------------------------------------------- */

struct verdict {
    uint64_t revision;
    enum {
        GIVE_UP, /* in `state`, with the error if there is one */
        SUCCEED,
        UNDO_FAILED,
        WAIT_FOR_TASK
    } what;
    enum task_state state;
    struct failure failure;
    const char *blocker;
};

static int decide_verdict(struct change *change, void *argument, struct failure *failure)
{
    const struct verdict *verdict = argument;
    struct task *task = &change->task;
    if (task->revision != verdict->revision) {
        return failure_set(failure, VIM_E_CONFLICT, "the task has changed");
    }
    if (task->owner) {
        task->lease++;
        task->unknown++;
        free(task->owner);
        task->owner = NULL;
    }
    switch (verdict->what) {
    case GIVE_UP:
        if (verdict->failure.code) {
            outcome_set_error(task, verdict->failure.code, 0, verdict->failure.text);
        }
        outcome_give_up(change, verdict->state);
        break;
    case SUCCEED:
        change->resource_deleted = change->has_resource && task->verb == VIM_VERB_DELETE;
        outcome_finish(change, TASK_SUCCEEDED);
        break;
    case UNDO_FAILED:
        outcome_undo_failed(change, verdict->failure.text);
        break;
    case WAIT_FOR_TASK:
        task->state = TASK_WAITING;
        task->due = change->now + BLOCKED_DELAY_MS;
        if (task->due > task->deadline) {
            task->due = task->deadline;
        }
        free(task->await_kind);
        free(task->await_id);
        task->await_kind = text_duplicate("task");
        task->await_id = text_duplicate(verdict->blocker);
        break;
    }
    return VIM_OK;
}

static int pass_verdict(struct tasks *tasks, struct task *task, struct verdict *verdict)
{
    verdict->revision = task->revision;
    return change_run(tasks, task->id, task, decide_verdict, verdict, NULL, NULL);
}

/* Cancel and deadline. True if they decided the matter; RET_CODE is then what became of it. */
static bool end_by_wish_or_time(struct tasks *tasks, struct task *task, int64_t now, int *ret_code)
{
    struct verdict verdict = {.what = GIVE_UP};
    bool late = task->deadline && now >= task->deadline;
    if (task_is_undoing(task)) {
        if (!late) {
            return false;
        }
        verdict.what = UNDO_FAILED;
        failure_set(&verdict.failure, VIM_E_TIMEOUT, "the time for it has passed");
    } else if (task->cancel) {
        verdict.state = TASK_CANCELLED;
    } else if (late) {
        verdict.state = TASK_TIMED_OUT;
    } else {
        return false;
    }
    *ret_code = pass_verdict(tasks, task, &verdict);
    return true;
}

/* The call, or what stands in its way. */
static int go(struct tasks *tasks, struct task *task, struct vim_target *target)
{
    struct operation operation = {0};
    struct verdict verdict = {.what = GIVE_UP, .state = TASK_FAILED};
    char blocker[ID_SIZE] = "";
    bool done_already;
    if (!vim_target_take_step(target)) {
        turns_park(tasks, task, target);
        return VIM_OK;
    }
    int code = operation_make(tasks, task, &operation, &done_already, blocker, &verdict.failure);
    if (code == VIM_OK && !done_already) {
        code = claim_and_post(tasks, task, target, &operation);
        operation_free(&operation);
        return code;
    }
    operation_free(&operation);
    vim_target_give_step(target);
    if (code == VIM_AGAIN) {
        verdict.what = WAIT_FOR_TASK;
        verdict.blocker = blocker;
    } else if (code == VIM_OK) {
        verdict.what = SUCCEED;
    } else if (error_is_retryable(code)) {
        hints_push(tasks->queue, task->id, LOOK_AGAIN_DELAY_MS);
        return VIM_OK;
    } else if (task_is_undoing(task)) {
        verdict.what = UNDO_FAILED;
    }
    code = pass_verdict(tasks, task, &verdict);
    if (code != VIM_E_CONFLICT) {
        turns_call_next(tasks, vim_target_settings(target)->name);
    }
    return code;
}

/* One look at a task. VIM_E_CONFLICT: it changed meanwhile, look again. */
static int look(struct tasks *tasks, const char *id)
{
    struct task task = {0};
    int64_t now = clock_now_ms();
    int code = tasks_get(tasks, id, &task, NULL);
    if (code != VIM_OK) {
        return code;
    }
    if (task_is_graph(&task)) {
        code = task_state_is_final(task.state) ? VIM_OK : graph_look(tasks, &task);
        task_free(&task);
        return code;
    }
    if (task.parent && task_state_is_final(task.state)) {
        code = graph_look_at_child(tasks, &task);
        task_free(&task);
        return code;
    }
    /* A row from the future: the clock was set back, and what it says of times means nothing now. */
    bool clock_was_set = task.updated > now + CLOCK_SLACK_MS;
    bool waits = !task.owner && !task.cancel && !task.await_id && task.due > now && !clock_was_set;
    CLEANUP_FREE char *vim = text_duplicate(task.vim);
    bool called = false;
    if (task_state_is_final(task.state) || task_is_held(&task, now)) {
        code = VIM_OK;
    } else if (end_by_wish_or_time(tasks, &task, now, &code)) {
        /* decided */
    } else if (waits) {
        hints_push(tasks->queue, id, task.due - now);
    } else {
        struct vim_target *target = vims_get(tasks->vims, task.vim);
        if (!target || lane_is_stuck(vim_target_lane(target))) {
            turns_park(tasks, &task, NULL);
        } else {
            called = true;
            code = go(tasks, &task, target);
        }
        vim_target_release(target);
    }
    task_free(&task);
    if (!called) {
        /* A hint that led to no step must not use up the turn of those who are parked. */
        turns_call_next_if_free(tasks, vim);
    }
    return code;
}

/* The worker's part of a task, as the signals count it. HINTED: a hint in the queue led here. */
static void work_on(struct tasks *tasks, const char *id, bool hinted)
{
    int code, tries = 0;
    int64_t now_us = clock_mono_us();
    integral_begin(IN_WORKER, now_us);
    enum integral_scope before = integral_enter(SCOPE_WORKER, now_us);
    if (hinted) {
        /* The hint has done its work; what gets lost from here on is found by the sweep. */
        hints_done(tasks->queue, id);
    }
    do {
        code = look(tasks, id);
    } while (code == VIM_E_CONFLICT && ++tries < 5);
    bool failed = code != VIM_OK && code != VIM_E_NOT_FOUND;
    if (atomic_exchange(&tasks->unreadable, failed) != failed && failed) {
        log_event(VIM_WARNING, "tasks cannot be looked at", "task=%s error=%s", id,
                  error_name(code));
    }
    if (failed) {
        hints_push(tasks->queue, id, LOOK_AGAIN_DELAY_MS);
    }
    now_us = clock_mono_us();
    integral_leave(before, now_us);
    integral_end(IN_WORKER, now_us);
}

void step_look(struct tasks *tasks, const char *id)
{
    work_on(tasks, id, false);
}

int tasks_work(struct tasks *tasks, uint32_t maximum, uint32_t wait_ms)
{
    char ids[PULL_MAX][ID_SIZE];
    uint32_t wanted = maximum < 1 ? 1 : maximum > PULL_MAX ? PULL_MAX : maximum;
    struct failure failure = {0};
    int count = hints_pull(tasks->queue, wanted, wait_ms, ids, &failure);
    if (count < 0 || atomic_load(&tasks->queue_fails)) {
        LOCK_GUARD(&tasks->mutex);
        tasks->queue_failure = failure;
        atomic_store(&tasks->queue_fails, count < 0);
    }
    for (int i = 0; i < count; i++) {
        work_on(tasks, ids[i], true);
    }
    return count;
}
