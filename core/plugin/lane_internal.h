/*
 * plugin/lane_internal.h - private to plugin/: the inside of a lane, shared by lane.c (posting and
 * working) and lane_watch.c (deadlines, stuck calls, the end).
 */
#ifndef PLUGIN_LANE_INTERNAL_H
#define PLUGIN_LANE_INTERNAL_H

#include <pthread.h>
#include "base/metrics.h"
#include "plugin/lane.h"

/* One job on its way: queued -> running -> returned (DONE is being called), or queued -> ended (DONE
 * is called by the watch). Owned by the lane; freed after DONE. */
struct lane_work {
    uint64_t id;
    struct lane_job job;
    struct vim_call call;
    int64_t posted_us; /* clock_mono_us() */
    enum integral_scope scope; /* whose work it is: of whoever posted it */
    int64_t deadline; /* likewise */
    int64_t stuck_at; /* running: from when on it is stuck */
    int ended; /* code of one that never ran */
    bool stuck;
    bool returned; /* the plugin is through with it */
    struct lane_work *prev, *next;
};

struct lane {
    uint32_t magic;
    struct instance *instance;
    pthread_mutex_t mutex;
    pthread_cond_t work; /* workers: something to do, or closing */
    pthread_cond_t watch; /* the watch: look again */
    pthread_cond_t finished; /* those who close: the watch has ended */
    struct lane_settings settings; /* no zeros left */
    uint32_t references;
    uint32_t threads; /* workers that exist */
    struct lane_work *urgent, *queue, *running, *ended;
    uint64_t last_id;
    int64_t watch_at; /* when the watch is going to look */
    struct lane_stats stats;
    bool closing;
    bool is_finished; /* no thread is left that touches the lane */
    struct metric *metric_queued, *metric_running, *metric_threads, *metric_wait;
};
#define LANE_MAGIC 0x6C616E65u

/* All with the lane's mutex held, unless said otherwise. */

/* WORK waits no longer. Returns clock_mono_us(). */
int64_t lane_end_wait(const struct lane_work *work);

/* Takes WORK out of the queue and has the watch end it with CODE. */
void lane_end_queued(struct lane *lane, struct lane_work *work, int code);
void lane_end_all_queued(struct lane *lane, int code);

/* Has the watch look at AT at the latest. */
void lane_watch_before(struct lane *lane, int64_t at);

/* Mutex not held. */
void lane_free(struct lane *lane);
void *lane_watch_main(void *argument);

#endif
