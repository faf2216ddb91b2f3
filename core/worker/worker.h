/*
 * worker/worker.h - block: N threads that pull tasks and step them.
 *
 * The threads do not wait for drivers (lanes do that), so a few of them keep many thousands of
 * tasks going.
 */
#ifndef VIMD_WORKER_WORKER_H
#define VIMD_WORKER_WORKER_H

#include <stdint.h>
#include "engine/tasks.h"

struct worker;

/* Starts THREADS threads over TASKS. */
int worker_start(struct tasks *tasks, uint32_t threads, struct worker **ret_worker,
                 struct failure *failure);
/* Takes no more tasks, lets steps in progress end for up to TIMEOUT_MS, and frees. */
void worker_stop(struct worker *worker, int64_t timeout_ms);

#endif
