/*
 * logic/submit.h - from a wish to an answer: idempotency, submission, and waiting as preferred.
 */
#ifndef VIMD_LOGIC_SUBMIT_H
#define VIMD_LOGIC_SUBMIT_H

#include "logic/call.h"

/* An Idempotency-Key in its scope. */
struct idempotency {
    const char *key; /* as given, or NULL */
    char id[65]; /* digest of project, route and key */
    char digest[65]; /* of path and body */
};

/* Looks at Idempotency-Key. Returns false if the call was answered: the key is malformed (400), was
 * used for another request (422), or has led to a task already, which then is the answer. */
bool idempotency_begin(struct call *call, struct idempotency *ret_idempotency);

/* For a write that needs no task: adds the key's row to WRITES, of which there are *COUNT, if there is a key. RET_BODY
 * (NULL if there is none) has to be freed after the commit. A commit that was a conflict may have met the same
 * request: then idempotency_answer() answers as that one was, and returns true. */
void idempotency_add(struct call *call, const struct idempotency *idempotency,
                     struct vim_write *writes, uint32_t *count, char **ret_body);
bool idempotency_answer(struct call *call, const struct idempotency *idempotency);

/* Answers with the task that the same key and request led to before: under 422 if DIGEST says that
 * it was another request. */
void idempotency_replay(struct call *call, const struct idempotency *idempotency,
                        const char *task_id, const char *digest);

/* Submits WISH and answers as Prefer asks. */
void submit_task(struct call *call, struct task_wish *wish, const struct idempotency *idempotency);

/* Answers with a task as Prefer asks: 202 at once, or the outcome if it ends in time. */
void answer_with_task(struct call *call, const char *task_id, bool replayed);

/* 202 with TASK as it is. */
void send_task_accepted(struct call *call, const struct task *task, bool replayed,
                        const char *applied);

#endif
