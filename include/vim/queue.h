/*
 * vim/queue.h - operations of a message queue: it wakes workers, nothing more.
 *
 * An entry is a topic and an id; it says "look at the row with this id". The truth is in the store,
 * and vimd sweeps the store for what a queue has lost. So a queue may lose, repeat and reorder
 * entries; it should rarely do so, and it must never block a push for long.
 *
 * Threads: all calls may come in parallel on one instance.
 *
 * Limits: topics are 1..32 characters of a-z 0-9 - _ ; ids 1..200 bytes of printable ASCII without
 * spaces.
 */
#ifndef VIM_QUEUE_H
#define VIM_QUEUE_H

#include <vim/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vim_queue_ops {
    uint32_t size;
    uint32_t reserved; /* 0 */

    /* Adds an entry, to be delivered not before DELAY_MS from now. If an entry with the same
     * topic and id waits for delivery already, the two may become one, due at the earlier time;
     * a push for an entry that is out for delivery is a new entry. A queue that is full returns
     * VIM_E_BUSY. */
    int (*push)(struct vim_call *call, void *instance, const char *topic, const char *id,
                uint32_t delay_ms);

    /* Takes up to MAXIMUM entries (>= 1) of TOPIC, waiting up to WAIT_MS for the first one, or
     * until left_ms() is 0. Emits each (kind = topic, id, revision = number of deliveries, from
     * 1). Emitting none is not an error. An entry that is not told done() within LEASE_MS, nor
     * renewed, is delivered again. An idle pull must not use the processor. */
    int (*pull)(struct vim_call *call, void *instance, const char *topic, uint32_t maximum,
                uint32_t wait_ms, uint32_t lease_ms);

    /* Extends the lease of a delivered entry to LEASE_MS from now. VIM_E_NOT_FOUND if it is no
     * longer out for delivery. */
    int (*renew)(struct vim_call *call, void *instance, const char *topic, const char *id,
                 uint32_t lease_ms);

    /* Ends a delivered entry. Unknown ids are fine. */
    int (*done)(struct vim_call *call, void *instance, const char *topic, const char *id);

    /* Emits one item of kind TOPIC whose body is {"waiting": N, "delayed": N, "delivered": N,
     * "oldest_ms": N}: entries ready to be pulled, not yet due, and out for delivery; and how
     * long the oldest ready one has waited. */
    int (*depth)(struct vim_call *call, void *instance, const char *topic);

    /* Wakes every pull() that waits, which then returns what it has. Called before close(). */
    void (*interrupt)(void *instance);
};

#ifdef __cplusplus
}
#endif
#endif
