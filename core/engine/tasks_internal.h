/*
 * engine/tasks_internal.h - what the files of tasks share.
 *
 *   tasks.c     the object, reading tasks
 *   change.c    one change of a task and its resource: read, decide, commit, again on conflict; and
 *               what follows from a commit (hints, awaits, watchers)
 *   submit.c    new tasks                     commands.c  cancel, retry, rollback, fail
 *   operation.c a task as a struct vim_op     step.c      claim, driver call
 *   outcome.c   what a step's result makes of a task and its resource: no I/O
 *   turns.c     who is next where a VIM is busy
 *   wake.c      the inventory's side          sweep.c     what is due, forgotten or old
 *   watch.c     those who wait for the end of a task
 *   graph*.c    network services: see graph.h
 */
#ifndef VIMD_ENGINE_TASKS_INTERNAL_H
#define VIMD_ENGINE_TASKS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "engine/awaits.h"
#include "engine/parking.h"
#include "engine/tasks.h"
#include "engine/vims_internal.h"

/* Until a task that waits for another one looks by itself. */
#define BLOCKED_DELAY_MS 5000
/* Of tasks that could not be read, or were changed by others again and again. */
#define LOOK_AGAIN_DELAY_MS 1000

struct graphs;
struct watches;
struct vim_call;

struct tasks {
    uint32_t magic;
    struct store *store;
    struct instance *queue;
    struct vims *vims;
    struct inventory *inventory;
    struct presence *presence; /* NULL: there are no other processes */
    struct awaits *awaits;
    struct parking *parking;
    struct watches *watches;
    struct graphs *graphs;
    atomic_uint in_progress; /* steps */
    atomic_bool handing_back; /* no more steps begin by themselves */
    atomic_bool queue_fails; /* the last pull has */
    atomic_bool unreadable; /* the last task could not be looked at, which was told */
    atomic_llong active; /* accepted tasks that have not ended, counted anew now and then */
    atomic_llong counted, count_ms; /* when (clock_mono_ms()), and how long it took */
    atomic_bool count_asked; /* whether they are too many, since they were counted */
    pthread_mutex_t counting; /* by one thread is enough */

    pthread_mutex_t mutex; /* settings, and the sweep's thread; a leaf */
    struct tasks_settings settings;
    struct failure queue_failure; /* of the last pull; code VIM_OK: none */
    pthread_cond_t sweep_cond;
    pthread_t sweep_thread;
    bool sweep_running, sweep_stop, sweep_works;
    unsigned sweep_passed; /* looks for due tasks that were left out, one after another */
};

struct tasks_settings tasks_settings_now(struct tasks *tasks);

/* --- change.c ------------------------------------------------------------------------------------ */

/* A task and its resource as read, to be changed by a decide function. */
struct change {
    struct tasks *tasks;
    int64_t now; /* ms since 1970 */
    int64_t now_mono;
    struct task task;
    struct resource resource;
    bool was_final; /* the task had ended before */
    enum resource_status before; /* of the resource, as read */
    bool has_resource; /* the row exists */
    bool resource_changed; /* write it */
    bool resource_deleted; /* delete it */
    char *alias_learned; /* backend id that is the resource's from now on */
    char *alias_dropped; /* backend id that is no longer */
    int64_t hint_delay_ms; /* when a worker has to look again; < 0: not by a hint */
    bool touched_far_side; /* the inventory must not believe looks that began before */
};

/* Returns VIM_OK: commit CHANGE; else an error, with which change_run() ends. May be called several
 * times, each time with rows read anew. */
typedef int (*change_decide_fn)(struct change *change, void *argument, struct failure *failure);

/* Reads the task ID (or begins with FIRST, which is taken over), decides, commits, and does what
 * follows. A conflict: once more from the rows as they are then. RET_TASK (may be NULL) gets the task as
 * committed. */
int change_run(struct tasks *tasks, const char *id, struct task *first, change_decide_fn decide,
               void *argument, struct task *ret_task, struct failure *failure);

/* After the commit of a task by other ways than change_run(). */
void change_follow_up(struct tasks *tasks, const struct task *task, int64_t hint_delay_ms);

/* --- outcome.c ----------------------------------------------------------------------------------- */

/* What one call of a driver's step brought. Texts are owned. */
struct step_result {
    int code;
    bool ran; /* the driver was called */
    struct failure failure;
    bool has_item;
    struct vim_item item;
    bool kept_set;
    char *kept;
    bool await;
    uint32_t wait_ms;
    char *await_kind, *await_id;
    char *name, *service, *status, *request_id, *message; /* notes */
    int progress; /* -1: not told */
    int64_t started; /* ms since 1970 */
};
void step_result_free(struct step_result *result);

/* Applies RESULT to a task that is claimed. */
int outcome_apply(struct change *change, const struct step_result *result, struct failure *failure);

bool task_is_undoing(const struct task *task);
/* Has an effect of a create at the far side to be looked for? */
bool task_needs_undo(const struct task *task);

/* Ends the task in STATE (any final one), and lets its resource go. */
void outcome_finish(struct change *change, enum task_state state);
/* Ends the task in STATE without success; a create whose driver was called is undone first. */
void outcome_give_up(struct change *change, enum task_state state);
void outcome_begin_undo(struct change *change, enum task_state outcome);
/* The undo itself has failed. */
void outcome_undo_failed(struct change *change, const char *why);
void outcome_set_error(struct task *task, int code, uint32_t retry_after_ms, const char *text);

/* --- submit.c ------------------------------------------------------------------------------------ */

/* A new task, QUEUED; and its number in the metrics. */
void submit_fill(struct task *task, const struct task_wish *wish,
                 const struct tasks_settings *settings);
void submit_count(const char *kind, uint32_t verb);

/* --- operation.c --------------------------------------------------------------------------------- */

/* A struct vim_op with what its texts are in. */
struct operation {
    struct vim_op op;
    char *id, *spec;
    struct vim_item seen;
    bool has_seen;
};
void operation_free(struct operation *operation);

/* Makes the operation of a task. VIM_OK; VIM_AGAIN: what it refers to is still being made by the task
 * RET_BLOCKER; VIM_E_NOT_FOUND and the like: the task cannot succeed; others: the store failed
 * (transient). DONE_ALREADY: nothing to be called for, the operation has its effect. */
int operation_make(struct tasks *tasks, const struct task *task, struct operation *ret_operation,
                   bool *ret_done_already, char ret_blocker[ID_SIZE], struct failure *failure);

/* --- wake.c, watch.c, sweep.c -------------------------------------------------------------------- */

/* Registers what a task (as committed) waits for. */
void wake_register(struct tasks *tasks, const struct task *task);
/* TASK has ended: wakes those whose specs refer to what it made. */
void wake_dependents(struct tasks *tasks, const char *task_id);

struct watches *watches_new(struct tasks *tasks);
void watches_free(struct watches *watches);
int watches_start(struct watches *watches);
void watches_stop(struct watches *watches);
/* tasks_watch() for the engine itself. */
void watches_add(struct watches *watches, const char *id, int64_t timeout_ms,
                 task_watch_fn function, void *argument);
/* The task was committed with a final state. */
void watches_notify(struct watches *watches, const char *task_id);

/* Are there MAXIMUM active tasks or more? Counts them anew, if it has to be known better. */
bool tasks_are_too_many(struct tasks *tasks, uint32_t maximum);

/* WORKS: this process carries tasks out; else it only counts them. */
int sweep_start(struct tasks *tasks, bool works, struct failure *failure);
void sweep_stop(struct tasks *tasks);

/* step.c: does somebody hold the task at this moment (NOW: ms since 1970), a step of this process or
 * another process? */
bool task_is_held(const struct task *task, int64_t now);

/* step.c: looks at a task, and does what is due. */
void step_look(struct tasks *tasks, const char *id);

/* --- turns.c ------------------------------------------------------------------------------------- */

/* Puts a task whose VIM is busy aside; TARGET is NULL if the VIM takes no calls at all: then the sweep looks at
 * the task now and then. */
void turns_park(struct tasks *tasks, const struct task *task, struct vim_target *target);
/* Lets the one parked longest for VIM go on, by a hint; the second only if a slot is free. */
void turns_call_next(struct tasks *tasks, const char *vim);
void turns_call_next_if_free(struct tasks *tasks, const char *vim);
/* After a slot of VIM was given back: gives free slots to those parked, on this thread. */
void turns_hand_on(struct tasks *tasks, const char *vim);
/* Is there a VIM that takes calls, has no slot free here, and has tasks parked for the next one? Then this
 * process has enough to do. */
bool turns_are_taken(struct tasks *tasks);

#endif
