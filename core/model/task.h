/*
 * model/task.h - a task: one wish, worked off in small resumable steps.
 *
 * The row: collection "task", parent = project, state = enum task_state, due = when somebody has to
 * look at it again (the next step, the end of a lease, the end of an await, the deadline), or 0
 * once it has ended. Its body is internal (cursor, lease, spec); task_render_public gives what the
 * API shows.
 *
 *   QUEUED -> RUNNING -> SUCCEEDED
 *               |  ^
 *               v  |                                          +-> FAILED, TIMED_OUT, CANCELLED
 *             WAITING        (permanent error, deadline,      |
 *               |             cancel of a create) -> ROLLING_BACK / CANCELLING
 *               +---- cancel -> CANCELLING                    |
 *                                                             +-> ROLLBACK_FAILED
 */
#ifndef VIMD_MODEL_TASK_H
#define VIMD_MODEL_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include <vim/driver.h>
#include "model/store.h"

/* Stored as the row's state: never renumber. */
enum task_state {
    TASK_QUEUED = 0,
    TASK_RUNNING,
    TASK_WAITING,
    TASK_SUCCEEDED,
    TASK_FAILED,
    TASK_TIMED_OUT,
    TASK_CANCELLING,
    TASK_CANCELLED,
    TASK_ROLLING_BACK,
    TASK_ROLLED_BACK,
    TASK_ROLLBACK_FAILED,
    TASK_STATE_COUNT
};
#define TASK_STATES_ACTIVE                                                                 \
    (1u << TASK_QUEUED | 1u << TASK_RUNNING | 1u << TASK_WAITING | 1u << TASK_CANCELLING | \
     1u << TASK_ROLLING_BACK)

const char *task_state_name(enum task_state state);
bool task_state_is_final(enum task_state state);

/* Why a task failed, as the problem document shows it. */
struct task_error {
    int code; /* enum vim_error; 0: none */
    uint32_t retry_after_ms;
    char *text;
    char *backend_service, *backend_status, *backend_request_id, *backend_message;
};

/* One entry of the task's history. Repetitions of the same name are merged, the newest kept. */
struct task_step {
    char *name;
    char *state; /* running, succeeded, failed, waiting */
    char *backend_request_id; /* several are separated by a space */
    int64_t started, finished;
    uint32_t count; /* how many calls it took */
    char *error;
};
#define TASK_STEPS_MAX 64

struct task {
    char id[37];
    char *project, *principal;
    uint32_t verb; /* enum vim_verb */
    char *action; /* of VIM_VERB_ACTION */
    char *vim, *kind; /* where, and of what resource kind */
    char *resource; /* vimd's id of the resource */
    char *resource_name; /* for people, after the resource is gone */
    char *request_id; /* a create's is the resource's id, any other's the task's own id */
    char *spec; /* JSON object in vimd's ids */
    char *data_path; /* spooled upload, removed when the task has ended; or NULL */
    int64_t data_size;
    char *idempotency_key; /* as the client gave it, or NULL */
    char *parent; /* the task of a network service that this one is a part of, or NULL */
    char *service; /* and the service */

    enum task_state state;
    int64_t created, started, updated, finished, deadline; /* ms since 1970; 0: not yet */
    uint32_t attempt, max_attempts; /* consecutive failures of the current step; and their limit */
    uint32_t unknown; /* repetitions of a step whose outcome is unknown: op.attempt */
    int progress; /* 0..100 */
    bool cancel; /* a cancel was asked for */
    enum task_state outcome; /* while undoing: the final state to reach after it */
    uint32_t before; /* the resource's status (enum resource_status) before the task */
    char *kept; /* the driver's cursor; of a network service's task the phase */
    char *await_kind, *await_id; /* WAITING for this backend id, or NULL; kind "task": for the end
                                       of the task that makes what the spec refers to */
    char *owner; /* holds the lease, or NULL: see engine/owner.h */
    uint64_t lease; /* counts claims: the fencing token */
    struct task_error error;
    json_t *result; /* object, or NULL */
    struct task_step *steps;
    uint32_t step_count;
    uint64_t revision; /* of the row it was read from; 0 for a new one */
    int64_t due;
};

void task_free(struct task *task); /* frees what it holds and clears it */

/* Forgets why it failed. */
void task_error_clear(struct task *task);

/* "create", "update", "delete", "action", "upload". */
const char *task_verb_name(uint32_t verb);

/* Row <-> struct. */
int task_parse(const struct row *row, struct task *ret_task, struct failure *failure);
char *task_render(const struct task *task);
struct vim_write task_write(const struct task *task, const char *body);

/* What GET /v1/tasks/{id} shows: a new reference. Its "kind" is "server.create", "server.stop": the
 * resource's kind and the verb or action. */
json_t *task_render_public(const struct task *task);

/* Begins or continues the step NAME in the history; returns it. */
struct task_step *task_step_begin(struct task *task, const char *name, int64_t now);

#endif
