/*
 * What hints have lost, what processes have left behind, and what is too old.
 * Lock order: tasks->counting before tasks->mutex, which is a leaf and not held over anything here; the
 * first is held over a scan, and only ever tried.
 */
#include "engine/tasks_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/thread.h"
#include "engine/claims.h"
#include "engine/hints.h"
#include "engine/owner.h"
#include "engine/presence.h"
#include "plugin/lane.h"

#define PUSHES_MAX 5000u /* per sweep */
#define DELETES_MAX 500u /* per commit */
#define SEEN_AGE_MS 600000
/* Between counts of the active tasks; and of the time, they take at most one part in COUNT_SHARE. */
#define COUNT_INTERVAL_MS 5000
#define COUNT_SHARE 20
/* A count that is older than this does not refuse anybody. */
#define COUNT_FRESH_MS 500
#define PASSED_MAX 8u /* at least every so many sweeps look for due tasks */
#define PARKED_ROUNDS 16u /* sweeps in which each task is looked at whose VIM takes no calls */

/* Ids collected by a scan: nothing else is called while it runs. */
struct ids {
    char (*items)[ID_SIZE];
    size_t count, limit;
};

static void ids_add(struct ids *ids, const char *id)
{
    ids->items = memory_resize(ids->items, ids->count + 1, ID_SIZE);
    memset(ids->items[ids->count], 0, ID_SIZE);
    strncpy(ids->items[ids->count++], id, ID_SIZE - 1);
}

/* Has workers look at the tasks. While the queue gives nothing, this thread is the worker: what is due is done
 * later than it might be, but it is done. */
static void push_all(struct tasks *tasks, struct ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (!atomic_load(&tasks->queue_fails)) {
            hints_push(tasks->queue, ids->items[i], 0);
        } else if (!atomic_load(&tasks->handing_back)) {
            step_look(tasks, ids->items[i]);
        }
    }
    free(ids->items);
    *ids = (struct ids){0};
}

static void log_failure(const char *what, int code, const struct failure *failure)
{
    if (code != VIM_OK) {
        log_event(VIM_WARNING, "sweep failed", "what=%s error=%s text=%s", what, error_name(code),
                  failure->text);
    }
}

/* --- Tasks that are due -------------------------------------------------------------------------- */

struct due_scan {
    struct tasks *tasks;
    struct ids ids;
};

static int take_due(void *argument, const struct vim_item *item)
{
    struct due_scan *due = argument;
    if (!parking_holds(due->tasks->parking, item->id)) {
        ids_add(&due->ids, item->id);
    }
    return due->ids.count >= PUSHES_MAX;
}

static void sweep_due(struct tasks *tasks, bool ours)
{
    /* A process that has more than it can do leaves what it would find to the others: most of it is what they
     * have parked, and each look costs all of them. */
    if (turns_are_taken(tasks) ? ++tasks->sweep_passed < PASSED_MAX : !ours) {
        return;
    }
    tasks->sweep_passed = 0;
    struct due_scan due = {.tasks = tasks};
    struct failure failure = {0};
    struct vim_scan scan = {.collection = COLLECTION_TASK,
                            .flags = VIM_SCAN_BY_DUE | VIM_SCAN_NO_BODY | VIM_SCAN_FEW,
                            .due_until = clock_now_ms()};
    int code = store_scan(tasks->store, &scan, take_due, &due, &failure);
    log_failure("tasks that are due", code, &failure);
    metric_add(metrics_counter("vimd_sweep_found_total", "Tasks that a sweep found due", NULL),
               (double)due.ids.count);
    push_all(tasks, &due.ids);
}

static char *peek_text(const struct vim_item *item, const char *member)
{
    struct json_piece piece;
    char *text = NULL;
    if (item->body && json_peek(item->body, strlen(item->body), member, &piece) == VIM_OK) {
        (void)json_piece_text(piece, &text);
    }
    return text;
}

static int take_void(void *argument, const struct vim_item *item)
{
    struct ids *ids = argument;
    CLEANUP_FREE char *owner = peek_text(item, "owner");
    if (owner && owner_is_dead(owner)) {
        ids_add(ids, item->id);
    }
    return 0;
}

/* Claims of dead processes end at once, not with their lease. */
static void sweep_dead_owners(struct tasks *tasks)
{
    struct ids ids = {0};
    struct failure failure = {0};
    struct vim_scan scan = {.collection = COLLECTION_TASK,
                            .states = 1u << TASK_RUNNING | 1u << TASK_CANCELLING |
                                      1u << TASK_ROLLING_BACK};
    int code = store_scan(tasks->store, &scan, take_void, &ids, &failure);
    log_failure("claims of dead processes", code, &failure);
    push_all(tasks, &ids);
}

static void unpark_vim(void *argument, const char *vim)
{
    struct tasks *tasks = argument;
    struct vim_target *target = vims_get(tasks->vims, vim);
    size_t turns;
    if (target && !lane_is_stuck(vim_target_lane(target))) {
        turns = vim_target_free_steps(target);
    } else {
        /* Without its VIM a task only waits for its deadline or a cancel. All are looked at by and by:
         * thousands must not keep the workers busy with nothing. */
        turns = parking_count(tasks->parking, vim) / PARKED_ROUNDS + 1;
    }
    for (size_t i = 0; i < turns; i++) {
        turns_call_next(tasks, vim);
    }
    vim_target_release(target);
}

/* --- Old rows ------------------------------------------------------------------------------------ */

/* Rows to be deleted, with the file that goes with each, if any. */
struct old {
    struct {
        char id[201];
        uint64_t revision;
        char *path;
    } * rows;
    size_t count;
    int64_t before;
    int64_t keys_since; /* younger tasks with an Idempotency-Key are what the key leads to */
};

static void old_add(struct old *old, const struct vim_item *item, char *path)
{
    old->rows = memory_resize(old->rows, old->count + 1, sizeof(*old->rows));
    memset(&old->rows[old->count], 0, sizeof(*old->rows));
    strncpy(old->rows[old->count].id, item->id, sizeof(old->rows->id) - 1);
    old->rows[old->count].revision = item->revision;
    old->rows[old->count++].path = path;
}

static int take_expired(void *argument, const struct vim_item *item)
{
    struct old *old = argument;
    old_add(old, item, NULL);
    return old->count >= DELETES_MAX;
}

/* Ids begin with the time of making (UUIDv7), so the scan can end at the first that is young. */
static int take_ended(void *argument, const struct vim_item *item)
{
    struct old *old = argument;
    struct json_piece piece;
    int64_t finished = 0, created = 0;
    size_t length = item->body ? strlen(item->body) : 0;
    if (json_peek(item->body, length, "created", &piece) == VIM_OK) {
        (void)json_piece_integer(piece, &created);
    }
    if (created > old->before) {
        return 1;
    }
    if (json_peek(item->body, length, "finished", &piece) == VIM_OK) {
        (void)json_piece_integer(piece, &finished);
    }
    bool has_key = json_peek(item->body, length, "idempotency_key", &piece) == VIM_OK;
    if (finished && finished <= old->before && !(has_key && created > old->keys_since)) {
        old_add(old, item, peek_text(item, "data_path"));
    }
    return old->count >= DELETES_MAX;
}

/* Deletes what was collected. A row that changed meanwhile takes the others with it until the next
 * sweep. */
static void delete_old(struct tasks *tasks, const char *collection, struct old *old)
{
    struct failure failure = {0};
    struct vim_write *writes = memory_new_array(old->count + 1, sizeof(*writes));
    for (size_t i = 0; i < old->count; i++) {
        writes[i] = (struct vim_write){
            .collection = collection, .id = old->rows[i].id, .expect = old->rows[i].revision};
    }
    int code =
        old->count ? store_commit(tasks->store, writes, (uint32_t)old->count, &failure) : VIM_OK;
    log_failure(collection, code, &failure);
    for (size_t i = 0; i < old->count; i++) {
        if (code == VIM_OK && old->rows[i].path) {
            (void)unlink(old->rows[i].path);
        }
        free(old->rows[i].path);
    }
    free(writes);
    free(old->rows);
    *old = (struct old){0};
}

static void sweep_old(struct tasks *tasks, const struct tasks_settings *settings)
{
    struct old old = {0};
    struct failure failure = {0};
    struct vim_scan expired = {.collection = COLLECTION_IDEMPOTENCY,
                               .flags = VIM_SCAN_BY_DUE | VIM_SCAN_NO_BODY | VIM_SCAN_FEW,
                               .due_until = clock_now_ms()};
    int code = store_scan(tasks->store, &expired, take_expired, &old, &failure);
    log_failure("expired idempotency keys", code, &failure);
    delete_old(tasks, COLLECTION_IDEMPOTENCY, &old);
    if (settings->retention_ms <= 0) {
        return;
    }
    struct vim_scan ended = {.collection = COLLECTION_TASK,
                             .states = ((1u << TASK_STATE_COUNT) - 1) & ~TASK_STATES_ACTIVE};
    old.before = clock_now_ms() - settings->retention_ms;
    old.keys_since = clock_now_ms() - settings->idempotency_ms;
    code = store_scan(tasks->store, &ended, take_ended, &old, &failure);
    log_failure("ended tasks", code, &failure);
    delete_old(tasks, COLLECTION_TASK, &old);
}

/* --- Recovery ------------------------------------------------------------------------------------ */

/* Awaits of an earlier process, as (task, vim, kind, id). */
struct recovery {
    struct tasks *tasks;
    struct ids push;
    struct task *waiting; /* only what wake_register() reads */
    size_t waiting_count, active;
};

static int take_active(void *argument, const struct vim_item *item)
{
    struct recovery *recovery = argument;
    CLEANUP_FREE char *owner = peek_text(item, "owner");
    char *await_id = peek_text(item, "await_id");
    recovery->active++;
    if (await_id && !owner) {
        struct task task = {.vim = peek_text(item, "vim"),
                            .await_kind = peek_text(item, "await_kind"),
                            .await_id = await_id};
        strncpy(task.id, item->id, ID_SIZE - 1);
        recovery->waiting =
            memory_resize(recovery->waiting, recovery->waiting_count + 1, sizeof(struct task));
        recovery->waiting[recovery->waiting_count++] = task;
        return 0;
    }
    free(await_id);
    if (!owner || owner_is_dead(owner)) {
        ids_add(&recovery->push, item->id);
    }
    return 0;
}

static int recover(struct tasks *tasks, struct failure *failure)
{
    struct recovery recovery = {.tasks = tasks};
    struct vim_scan scan = {.collection = COLLECTION_TASK, .states = TASK_STATES_ACTIVE};
    int code = store_scan(tasks->store, &scan, take_active, &recovery, failure);
    for (size_t i = 0; i < recovery.waiting_count; i++) {
        struct task *task = &recovery.waiting[i];
        if (code == VIM_OK && task->vim && task->await_kind) {
            wake_register(tasks, task);
        }
        task_free(task);
    }
    free(recovery.waiting);
    if (code == VIM_OK) {
        atomic_store(&tasks->active, (long long)recovery.active);
        atomic_store(&tasks->counted, clock_mono_ms());
        log_event(VIM_INFO, "tasks recovered", "active=%zu waiting=%zu", recovery.active,
                  recovery.waiting_count);
        push_all(tasks, &recovery.push);
    }
    free(recovery.push.items);
    return code;
}

/* --- Thread -------------------------------------------------------------------------------------- */

static int count_row(void *argument, const struct vim_item *item)
{
    (void)item;
    ++*(long long *)argument;
    return 0;
}

static void count_active(struct tasks *tasks)
{
    long long active = 0;
    struct vim_scan scan = {
        .collection = COLLECTION_TASK, .flags = VIM_SCAN_NO_BODY, .states = TASK_STATES_ACTIVE};
    int64_t began = clock_mono_ms();
    if (store_scan(tasks->store, &scan, count_row, &active, NULL) == VIM_OK) {
        atomic_store(&tasks->active, active);
        atomic_store(&tasks->counted, clock_mono_ms());
        atomic_store(&tasks->count_ms, clock_mono_ms() - began);
    }
}

/* Other processes accept and end tasks too. Where nobody has asked how many there are nobody is told. */
static void count_active_again(struct tasks *tasks)
{
    int64_t bound = atomic_load(&tasks->count_ms) * COUNT_SHARE;
    int64_t interval = bound > COUNT_INTERVAL_MS ? bound : COUNT_INTERVAL_MS;
    if (clock_mono_ms() - atomic_load(&tasks->counted) >= interval &&
        atomic_exchange(&tasks->count_asked, false)) {
        count_active(tasks);
    }
}

bool tasks_are_too_many(struct tasks *tasks, uint32_t maximum)
{
    atomic_store(&tasks->count_asked, true);
    if (atomic_load(&tasks->active) < maximum) {
        return false;
    }
    int64_t bound = atomic_load(&tasks->count_ms) * COUNT_SHARE;
    int64_t fresh = bound > COUNT_FRESH_MS ? bound : COUNT_FRESH_MS;
    if (clock_mono_ms() - atomic_load(&tasks->counted) >= fresh &&
        pthread_mutex_trylock(&tasks->counting) == 0) {
        count_active(tasks);
        pthread_mutex_unlock(&tasks->counting);
    }
    return atomic_load(&tasks->active) >= maximum;
}

/* OURS: it is this process's turn to look for what concerns all. */
static void sweep(struct tasks *tasks, const struct tasks_settings *settings, bool ours)
{
    sweep_due(tasks, ours || atomic_load(&tasks->queue_fails));
    parking_each_vim(tasks->parking, unpark_vim, tasks);
    if (ours) {
        sweep_dead_owners(tasks);
        sweep_old(tasks, settings);
    }
    awaits_drop_seen(tasks->awaits, SEEN_AGE_MS);
    claims_drop_old();
}

static void *sweep_main(void *argument)
{
    struct tasks *tasks = argument;
    int64_t period = 0, due = 0;
    pthread_mutex_lock(&tasks->mutex);
    while (!tasks->sweep_stop) {
        struct tasks_settings settings = tasks->settings;
        int64_t wanted = settings.sweep_ms > 0 ? settings.sweep_ms : 1000;
        if (period != wanted) {
            period = wanted;
            due = clock_mono_ms() + period;
        }
        if (clock_mono_ms() < due) {
            (void)clock_cond_wait_until(&tasks->sweep_cond, &tasks->mutex, due);
            continue;
        }
        pthread_mutex_unlock(&tasks->mutex);
        bool ours;
        due = presence_turn(tasks->presence, "worker", period, &ours);
        if (tasks->sweep_works) {
            sweep(tasks, &settings, ours);
        }
        count_active_again(tasks);
        pthread_mutex_lock(&tasks->mutex);
    }
    pthread_mutex_unlock(&tasks->mutex);
    return NULL;
}

int sweep_start(struct tasks *tasks, bool works, struct failure *failure)
{
    int code = VIM_OK;
    if (works) {
        code = recover(tasks, failure);
    } else {
        count_active(tasks);
    }
    if (code != VIM_OK) {
        return code;
    }
    tasks->sweep_works = works;
    tasks->sweep_stop = false;
    code = thread_start("task-sweep", sweep_main, tasks, &tasks->sweep_thread);
    if (code != VIM_OK) {
        return failure_set(failure, code, "no thread for the sweep of tasks");
    }
    tasks->sweep_running = true;
    return VIM_OK;
}

void sweep_stop(struct tasks *tasks)
{
    if (!tasks->sweep_running) {
        return;
    }
    pthread_mutex_lock(&tasks->mutex);
    tasks->sweep_stop = true;
    pthread_cond_broadcast(&tasks->sweep_cond);
    pthread_mutex_unlock(&tasks->mutex);
    (void)pthread_join(tasks->sweep_thread, NULL);
    tasks->sweep_running = false;
}
