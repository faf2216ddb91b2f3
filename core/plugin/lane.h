/*
 * plugin/lane.h - the threads on which an instance's blocking calls are made.
 *
 * A lane has a bounded queue and a few threads of its own, so an instance that hangs starves only
 * itself. One more thread watches: a call that is in progress GRACE_MS after its deadline (or after
 * it was cancelled) marks the instance *stuck*: nothing more is accepted (VIM_E_UNAVAILABLE), what
 * waits in the queue ends so too, and the health shows it, until the call returns after all.
 *
 * A lane is reference counted. With the last release it takes no more, runs what is queued, and
 * its threads end; the last of them frees it and releases its instance.
 */
#ifndef PLUGIN_LANE_H
#define PLUGIN_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include "plugin/call.h"
#include "plugin/instance.h"

struct lane;

struct lane_settings {
    uint32_t threads; /* 0: 4; VIM_SERIAL makes it 1 */
    uint32_t queue_limit; /* 0: 1000 */
    int64_t timeout_ms; /* of a job that names none; 0: 60 s */
    int64_t grace_ms; /* between deadline and stuck; 0: 10 s */
};

/* One piece of work. RUN makes plugin calls on the lane's thread with CALL, which is between
 * instance_enter() and instance_leave() already: `return ops->get(call, handle, ...)`. DONE is called
 * exactly once for every job that lane_post() accepted, on a thread of the lane, with the code that
 * instance_leave() gave and the call's outcome; CALL is freed after it. A job that never ran: VIM_E_BUSY
 * (its deadline passed in the queue, or nearly), VIM_E_CANCELLED, or VIM_E_UNAVAILABLE (stuck, closed). */
struct lane_job {
    int (*run)(struct vim_call *call, void *handle, void *argument);
    void (*done)(struct vim_call *call, int code, void *argument);
    void *argument;
    int64_t timeout_ms; /* from posting; 0: the lane's */
    int64_t
        least_ms; /* with less left when its turn comes it is not run: it would only be cut off */
    /* Optional: prepares the call (call_set_emit ...) before RUN. */
    void (*prepare)(struct vim_call *call, void *argument);
    bool urgent; /* ahead of those that are not: reads that somebody waits for */
};

struct lane_stats {
    uint32_t threads;
    uint32_t queued;
    uint32_t running;
    uint32_t stuck; /* of those running */
    uint64_t calls;
    uint64_t errors;
};

/* Opens a lane on INSTANCE, holding it. */
int lane_open(struct instance *instance, const struct lane_settings *settings,
              struct lane **ret_lane);

struct lane *lane_hold(struct lane *lane);
void lane_release(struct lane *lane); /* NULL is fine; any thread, also in DONE */

/* Queues a job (copied). Never blocks. RET_ID (may be NULL) is for lane_cancel(). VIM_E_BUSY when the
 * queue is full, VIM_E_UNAVAILABLE when stuck or closed: then DONE is not called. */
int lane_post(struct lane *lane, const struct lane_job *job, uint64_t *ret_id);

/* Cancels a job: one in the queue ends at once with VIM_E_CANCELLED (DONE on a lane thread), one in
 * progress sees left_ms() = 0. False if it has ended. */
bool lane_cancel(struct lane *lane, uint64_t id);

/* Takes no more jobs from now on and waits for the end of those there are, at most WAIT_MS; then
 * those still queued end with VIM_E_UNAVAILABLE, those in progress are cancelled and get the grace
 * time. VIM_OK when no thread of the lane is left, VIM_E_TIMEOUT if one is stuck: it stays until it
 * returns, or the process ends. The reference stays the caller's. Not from a thread of the lane. */
int lane_close(struct lane *lane, int64_t wait_ms);

struct instance *lane_instance(const struct lane *lane);
struct lane_stats lane_stats(struct lane *lane);
bool lane_is_stuck(struct lane *lane);

/* Applies other settings (a reload): timeouts at once, more threads at once, fewer as they get idle.
 */
void lane_configure(struct lane *lane, const struct lane_settings *settings);

#endif
