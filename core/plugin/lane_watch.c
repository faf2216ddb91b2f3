/*
 * A lane's watch: one thread that sleeps until the next deadline. It finds calls that overstay, ends
 * jobs that never ran, and is the last to leave.
 *
 * Locks: lane->mutex, as in lane.c.
 */
#include <stdlib.h>
#include <utlist.h>
#include "base/clock.h"
#include "base/log.h"
#include "plugin/lane_internal.h"

void lane_watch_before(struct lane *lane, int64_t at)
{
    if (at < lane->watch_at) {
        lane->watch_at = at;
        pthread_cond_signal(&lane->watch);
    }
}

void lane_end_queued(struct lane *lane, struct lane_work *work, int code)
{
    if (work->job.urgent) {
        DL_DELETE(lane->urgent, work);
    } else {
        DL_DELETE(lane->queue, work);
    }
    DL_APPEND(lane->ended, work);
    work->ended = code;
    (void)lane_end_wait(work);
    lane->stats.queued--;
    metric_add(lane->metric_queued, -1);
    pthread_cond_signal(&lane->watch);
}

void lane_end_all_queued(struct lane *lane, int code)
{
    while (lane->urgent || lane->queue) {
        lane_end_queued(lane, lane->urgent ? lane->urgent : lane->queue, code);
    }
}

/* Ends what has waited too long; returns when to look next. */
static int64_t watch_queue(struct lane *lane, struct lane_work *list, int64_t now)
{
    int64_t next = INT64_MAX;
    struct lane_work *work, *behind;
    DL_FOREACH_SAFE(list, work, behind)
    {
        if (work->deadline <= now) {
            lane_end_queued(lane, work, VIM_E_BUSY);
        } else if (work->deadline < next) {
            next = work->deadline;
        }
    }
    return next;
}

/* Marks what overstays; returns when to look next. */
static int64_t watch_running(struct lane *lane, int64_t now)
{
    int64_t next = INT64_MAX;
    struct lane_work *work;
    DL_FOREACH(lane->running, work)
    {
        if (work->returned || work->stuck) {
            continue;
        }
        if (work->stuck_at <= now) {
            work->stuck = true;
            lane->stats.stuck++;
            instance_add_stuck(lane->instance, 1);
        } else if (work->stuck_at < next) {
            next = work->stuck_at;
        }
    }
    return next;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One look at everything. */
static void watch_look(struct lane *lane)
{
    int64_t now = clock_mono_ms();
    lane->watch_at =
        earliest(watch_queue(lane, lane->urgent, now), watch_queue(lane, lane->queue, now));
    lane->watch_at = earliest(lane->watch_at, watch_running(lane, now));
    if (lane->stats.stuck > 0) {
        lane_end_all_queued(lane, VIM_E_UNAVAILABLE);
    }
}

/* Tells the end of jobs that never ran. The mutex is released meanwhile. */
static void watch_end(struct lane *lane)
{
    while (lane->ended) {
        struct lane_work *work = lane->ended;
        DL_DELETE(lane->ended, work);
        pthread_mutex_unlock(&lane->mutex);
        work->job.done(&work->call, work->ended, work->job.argument);
        call_free(&work->call);
        free(work);
        pthread_mutex_lock(&lane->mutex);
    }
}

/* Logs a change without the mutex; returns what was logged. */
static uint32_t watch_log(struct lane *lane, uint32_t before)
{
    uint32_t stuck = lane->stats.stuck;
    if ((stuck > 0) != (before > 0)) {
        pthread_mutex_unlock(&lane->mutex);
        log_event(stuck ? VIM_ERROR : VIM_INFO,
                  stuck ? "instance is stuck in a call" : "instance is no longer stuck",
                  "instance=%s calls=%u", instance_name(lane->instance), stuck);
        pthread_mutex_lock(&lane->mutex);
    }
    return stuck;
}

void *lane_watch_main(void *argument)
{
    struct lane *lane = argument;
    uint32_t stuck = 0;
    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        watch_look(lane);
        stuck = watch_log(lane, stuck);
        watch_end(lane);
        if (lane->closing && lane->threads == 0 && !lane->ended) {
            break;
        }
        if (!lane->ended && lane->watch_at > clock_mono_ms()) {
            clock_cond_wait_until(&lane->watch, &lane->mutex, lane->watch_at);
        }
    }
    lane->is_finished = true;
    pthread_cond_broadcast(&lane->finished);
    bool free_now = lane->references == 0;
    pthread_mutex_unlock(&lane->mutex);
    if (free_now) {
        lane_free(lane);
    }
    return NULL;
}
