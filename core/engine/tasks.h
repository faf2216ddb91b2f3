/*
 * engine/tasks.h - submit, step, retry, cancel and sweep tasks; the one caller of the queue.
 *
 * Truth is in the store: every change of a task is a commit that expects the revision it read, so
 * of two who act on the same state one loses and looks again. The queue only carries ids.
 *
 * A step: claim (RUNNING, owner, lease + 1, due = end of lease) -> driver step on the VIM's lane ->
 * commit of its outcome together with the resource's row. A claim whose owner is a process that
 * no longer lives is void at once; any other ends with its lease. Whoever finds its claim gone
 * writes nothing.
 */
#ifndef VIMD_ENGINE_TASKS_H
#define VIMD_ENGINE_TASKS_H

#include <stdbool.h>
#include <stdint.h>
#include "engine/vims.h"
#include "model/resource.h"
#include "model/store.h"
#include "model/task.h"

struct instance;
struct tasks;
struct inventory;
struct presence;

struct tasks_settings {
    int64_t deadline_ms; /* of a task that names none */
    uint32_t max_attempts; /* consecutive failures of one step */
    int64_t backoff_base_ms, backoff_cap_ms;
    int64_t lease_margin_ms; /* lease = call timeout of the VIM + this */
    int64_t sweep_ms; /* between looks for what is due and forgotten */
    int64_t idempotency_ms; /* how long keys are kept */
    int64_t retention_ms; /* how long ended tasks are kept; 0: for ever */
    uint32_t active_max; /* accepted tasks that have not ended; beyond: VIM_E_BUSY */
};

struct tasks *tasks_new(struct store *store, struct instance *queue, struct vims *vims,
                        const struct tasks_settings *settings);
void tasks_free(struct tasks *tasks);
/* Settings that a reload changed. */
void tasks_configure(struct tasks *tasks, const struct tasks_settings *settings);

/* Starts recovery (claims of dead owners) and the sweep; stop() ends them. */
int tasks_start(struct tasks *tasks, struct failure *failure);
/* Instead, where other processes look after what is due and forgotten: only counts the active ones. */
int tasks_start_apart(struct tasks *tasks, struct failure *failure);
void tasks_stop(struct tasks *tasks);

/* What to submit. Texts live for the call. */
struct task_wish {
    uint32_t verb;
    const char *action;
    const char *project, *principal;
    const char *vim, *kind;
    const struct resource *resource; /* as it shall be stored with the task; its revision says what
                                        is expected of the row (0: absent) */
    const char *spec; /* JSON object, checked, in vimd's ids */
    const char *data_path;
    int64_t data_size;
    int64_t deadline_ms; /* 0: the default */
    const char *task_id; /* a new id that the task shall have; NULL: any */
    const struct vim_write *more; /* another row for the same commit, or NULL */
    /* Idempotency-Key: all NULL, or all set. */
    const char *idempotency_key; /* as given */
    const char *idempotency_id; /* digest of project, route and key: the row's id */
    const char *idempotency_digest; /* of the request's body */
};

/* Stores task, resource and idempotency row in one commit, and wakes a worker. Sets
 * resource.task to the new task's id. VIM_E_CONFLICT if the resource changed or has a task that
 * has not ended (failure text says which), or the idempotency row exists already (look it up);
 * VIM_E_NOT_FOUND if the resource was there when the wish was made and has gone. */
int tasks_submit(struct tasks *tasks, const struct task_wish *wish, char ret_task_id[37],
                 struct failure *failure);

/* For a write that needs no task: the row that remembers its idempotency key, to be committed with it. The commit
 * is a conflict if the key was used meanwhile. RET_BODY is malloc'ed, and has to live until then. */
struct vim_write tasks_idempotency_write(struct tasks *tasks, const char *idempotency_id,
                                         const char *digest, const char *project, char **ret_body);

/* The task that an idempotency key led to: VIM_E_NOT_FOUND, or its id ("": it needed none) and body digest. */
int tasks_find_idempotent(struct tasks *tasks, const char *idempotency_id, char ret_task_id[37],
                          char ret_digest[65], struct failure *failure);

int tasks_get(struct tasks *tasks, const char *id, struct task *ret_task, struct failure *failure);

/* Asks for a cancel. A task that has ended: VIM_E_CONFLICT. A create is undone; another one ends
 * before its next step, or not at all if its last step is through. */
int tasks_cancel(struct tasks *tasks, const char *id, struct failure *failure);
/* Runs a FAILED, TIMED_OUT, CANCELLED or ROLLBACK_FAILED task again from the start, under the same
 * request id. Else VIM_E_CONFLICT. */
int tasks_retry(struct tasks *tasks, const char *id, struct failure *failure);
/* Undoes what a ROLLBACK_FAILED or FAILED create left: tries the undo again. Else VIM_E_CONFLICT. */
int tasks_rollback(struct tasks *tasks, const char *id, struct failure *failure);
/* Ends a task that waits by declaring it FAILED, without undoing anything. Else VIM_E_CONFLICT. */
int tasks_fail(struct tasks *tasks, const char *id, struct failure *failure);

/* Calls COMPLETE once, when the task has ended or after TIMEOUT_MS, with its state at that time
 * (on any thread, perhaps before this returns). Uses no thread while it waits. */
typedef void (*task_watch_fn)(void *argument, int code, const struct task *task);
void tasks_watch(struct tasks *tasks, const char *id, int64_t timeout_ms, task_watch_fn complete,
                 void *argument);

/* Completes now, with the task as it is, those watches for whose argument WHICH returns true. NULL:
 * all of them, and none waits from then on. WHICH is called under a lock. */
void tasks_watch_end(struct tasks *tasks, bool (*which)(const void *argument));

/* For workers: takes up to MAXIMUM due tasks from the queue (waiting up to WAIT_MS) and sets their
 * steps going, each on its VIM's lane. Returns how many, or an error. Tasks of a VIM with all its
 * `operations` in use wait in this process for their turn. */
int tasks_work(struct tasks *tasks, uint32_t maximum, uint32_t wait_ms);
/* What the last of these came to at the queue: VIM_OK, or the error and why. */
int tasks_queue_state(struct tasks *tasks, struct failure *failure);
/* Wakes those who wait in tasks_work(). */
void tasks_interrupt(struct tasks *tasks);
/* Before the end, when nobody is in tasks_work() any more: no step begins by itself from now on, and what waits
 * here for its turn goes back to the queue, for other processes. */
void tasks_hand_back(struct tasks *tasks);
/* Steps in progress in this process. */
uint32_t tasks_in_progress(const struct tasks *tasks);

/* How the queue of hints is, by its own account: entries ready, not yet due, and out for delivery; how long
 * the oldest ready one has waited. */
struct tasks_queue {
    const char *plugin;
    int64_t waiting, delayed, delivered, oldest_ms;
};
int tasks_queue_look(struct tasks *tasks, struct tasks_queue *ret_queue, struct failure *failure);

/* For the inventory: a resource on which the task TASK_ID works has settled or is gone. If nobody
 * awaits it here, the task may be another process's, and is looked at. */
void tasks_nudge(struct tasks *tasks, const char *task_id);
/* For the inventory: ITEM came up in a look that began at LOOKED (clock_mono_ms()): wakes those who
 * await it, if it is not pending, and if they waited before the look began: what was listed earlier may
 * be from before their step. True if somebody still waits for a later look at it. */
bool tasks_observe(struct tasks *tasks, const char *vim, const char *kind,
                   const struct vim_item *item, int64_t looked);
/* For the inventory: a complete look has ended; wakes those whose resource it has not SEEN. SEEN may
 * take a lock of its own, but must not call tasks. */
void tasks_observe_end(struct tasks *tasks, const char *vim, const char *kind, int64_t looked,
                       bool (*seen)(void *argument, const char *backend_id), void *argument);
/* For the inventory: does anybody await something of this VIM and kind? */
bool tasks_awaited(struct tasks *tasks, const char *vim, const char *kind);
void tasks_set_inventory(struct tasks *tasks, struct inventory *inventory);
/* Before the start: of the processes that share the store, which look for what is due and forgotten in turns. NULL, or
 * never called: there are no others. */
void tasks_set_presence(struct tasks *tasks, struct presence *presence);

#endif
