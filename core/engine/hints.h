/*
 * engine/hints.h - the one caller of the queue plugin's operations. An entry is a hint: look at this
 * task. What goes wrong here is found by the sweep; it costs time, never truth.
 */
#ifndef VIMD_ENGINE_HINTS_H
#define VIMD_ENGINE_HINTS_H

#include <stdint.h>
#include "base/ids.h"
#include "model/store.h"

struct instance;

#define HINTS_TOPIC_TASK "task"

/* Counted, and logged when it begins to fail; the caller goes on. */
void hints_push(struct instance *queue, const char *id, int64_t delay_ms);

/* Waits up to WAIT_MS for entries and takes up to MAXIMUM of them. Returns how many, or an error. */
int hints_pull(struct instance *queue, uint32_t maximum, uint32_t wait_ms, char (*ret_ids)[ID_SIZE],
               struct failure *failure);
/* The entries of all processes that share the queue, as it tells them; and how long the oldest of those that
 * are ready has waited. */
struct hints_depth {
    int64_t waiting, delayed, delivered, oldest_ms;
};
int hints_depth(struct instance *queue, struct hints_depth *ret_depth, struct failure *failure);
void hints_done(struct instance *queue, const char *id);
void hints_interrupt(struct instance *queue);

#endif
