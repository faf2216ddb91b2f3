/*
 * Locks: lane->mutex, alone; not held while RUN, DONE or PREPARE are called, nor over anything of
 * the instance but its stuck counter.
 */
#include "plugin/lane.h"
#include <assert.h>
#include <stdlib.h>
#include <utlist.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "plugin/lane_internal.h"

static struct lane_settings complete(const struct lane_settings *given, bool serial)
{
    struct lane_settings settings = *given;
    settings.threads = serial ? 1 : settings.threads ? settings.threads : 4;
    settings.queue_limit = settings.queue_limit ? settings.queue_limit : 1000;
    settings.timeout_ms = settings.timeout_ms > 0 ? settings.timeout_ms : 60000;
    settings.grace_ms = settings.grace_ms > 0 ? settings.grace_ms : 10000;
    return settings;
}

static bool is_serial(const struct instance *instance)
{
    return instance_plugin(instance)->descriptor.flags & VIM_SERIAL;
}

/* --- Working ----------------------------------------------------------------------------------- */

/* Next job, from the queue to `running`; NULL if there is none. */
static struct lane_work *take_work(struct lane *lane)
{
    struct lane_work *work = lane->urgent ? lane->urgent : lane->queue;
    if (!work) {
        return NULL;
    }
    if (lane->urgent) {
        DL_DELETE(lane->urgent, work);
    } else {
        DL_DELETE(lane->queue, work);
    }
    DL_APPEND(lane->running, work);
    lane->stats.queued--;
    lane->stats.running++;
    metric_add(lane->metric_queued, -1);
    metric_add(lane->metric_running, 1);
    work->stuck_at = work->deadline > INT64_MAX - lane->settings.grace_ms
                         ? INT64_MAX
                         : work->deadline + lane->settings.grace_ms;
    lane_watch_before(lane, work->stuck_at);
    return work;
}

int64_t lane_end_wait(const struct lane_work *work)
{
    int64_t now_us = clock_mono_us();
    if (work->scope == SCOPE_WORKER) {
        integral_end(QUEUED_WORKER, now_us);
    }
    return now_us;
}

/* Mutex not held. */
static int run_work(struct lane *lane, struct lane_work *work)
{
    struct vim_call *call = &work->call;
    int64_t least_ms = work->job.least_ms > 0 ? work->job.least_ms : 1;
    if (call_is_cancelled(call)) {
        return VIM_E_CANCELLED;
    }
    if (call_left_ms(call) < least_ms) {
        return VIM_E_BUSY;
    }
    if (work->job.prepare) {
        work->job.prepare(call, work->job.argument);
    }
    int code = instance_enter(lane->instance, call);
    if (code == VIM_OK) {
        code = work->job.run(call, instance_handle(lane->instance), work->job.argument);
        code = instance_leave(lane->instance, call, code);
    }
    return code;
}

static void work_returned(struct lane *lane, struct lane_work *work, int code)
{
    work->returned = true;
    lane->stats.calls++;
    lane->stats.errors += code < 0;
    if (work->stuck) {
        work->stuck = false;
        lane->stats.stuck--;
        instance_add_stuck(lane->instance, -1);
        pthread_cond_signal(&lane->watch); /* it tells the log */
    }
}

static void *lane_main(void *argument)
{
    struct lane *lane = argument;
    pthread_mutex_lock(&lane->mutex);
    while (lane->threads <= lane->settings.threads) {
        struct lane_work *work = take_work(lane);
        if (!work && lane->closing) {
            break;
        }
        if (!work) {
            pthread_cond_wait(&lane->work, &lane->mutex);
            continue;
        }
        pthread_mutex_unlock(&lane->mutex);
        int64_t now_us = lane_end_wait(work);
        metric_observe(lane->metric_wait, (double)(now_us - work->posted_us) / 1e6);
        enum integral_scope before = integral_enter(work->scope, now_us);
        int code = run_work(lane, work);
        pthread_mutex_lock(&lane->mutex);
        work_returned(lane, work, code);
        pthread_mutex_unlock(&lane->mutex);
        work->job.done(&work->call, code, work->job.argument);
        integral_leave(before, clock_mono_us());
        pthread_mutex_lock(&lane->mutex);
        DL_DELETE(lane->running, work);
        lane->stats.running--;
        metric_add(lane->metric_running, -1);
        call_free(&work->call);
        free(work);
    }
    lane->threads--;
    metric_add(lane->metric_threads, -1);
    pthread_cond_signal(&lane->watch);
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

/* Starts workers up to the number that is set. Mutex held. */
static int start_workers(struct lane *lane)
{
    while (lane->threads < lane->settings.threads) {
        pthread_t thread;
        int code = thread_start(instance_name(lane->instance), lane_main, lane, &thread);
        if (code != VIM_OK) {
            return code;
        }
        pthread_detach(thread);
        lane->threads++;
        metric_add(lane->metric_threads, 1);
    }
    return VIM_OK;
}

/* --- Opening and closing ------------------------------------------------------------------------ */

static void lane_metrics(struct lane *lane)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "instance", instance_name(lane->instance));
    lane->metric_queued =
        metrics_gauge("vimd_lane_queued", "Calls that wait for a thread of the lane", labels.data);
    lane->metric_running =
        metrics_gauge("vimd_lane_running", "Calls in progress on the lane", labels.data);
    lane->metric_threads = metrics_gauge("vimd_lane_threads", "Threads of the lane", labels.data);
    lane->metric_wait = metrics_histogram(
        "vimd_lane_wait_seconds", "Time that calls waited for a thread", labels.data, NULL, 0);
}

int lane_open(struct instance *instance, const struct lane_settings *settings,
              struct lane **ret_lane)
{
    struct lane *lane = MEMORY_NEW(struct lane);
    lane->magic = LANE_MAGIC;
    lane->instance = instance_hold(instance);
    lane->settings = complete(settings, is_serial(instance));
    lane->references = 1;
    lane->watch_at = INT64_MAX;
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_cond_init(&lane->work, NULL);
    clock_cond_init(&lane->watch);
    clock_cond_init(&lane->finished);
    lane_metrics(lane);
    pthread_t watch;
    int code = thread_start(instance_name(instance), lane_watch_main, lane, &watch);
    if (code != VIM_OK) {
        lane_free(lane);
        return code;
    }
    pthread_detach(watch);
    pthread_mutex_lock(&lane->mutex);
    code = start_workers(lane);
    pthread_mutex_unlock(&lane->mutex);
    if (code != VIM_OK) {
        lane_release(lane);
        return code;
    }
    *ret_lane = lane;
    return VIM_OK;
}

void lane_free(struct lane *lane)
{
    struct instance *instance = lane->instance;
    pthread_cond_destroy(&lane->work);
    pthread_cond_destroy(&lane->watch);
    pthread_cond_destroy(&lane->finished);
    pthread_mutex_destroy(&lane->mutex);
    lane->magic = 0;
    free(lane);
    instance_release(instance);
}

struct lane *lane_hold(struct lane *lane)
{
    LOCK_GUARD(&lane->mutex);
    assert(lane->magic == LANE_MAGIC && lane->references > 0);
    lane->references++;
    return lane;
}

static void start_closing(struct lane *lane)
{
    lane->closing = true;
    pthread_cond_broadcast(&lane->work);
    pthread_cond_signal(&lane->watch);
}

void lane_release(struct lane *lane)
{
    if (!lane) {
        return;
    }
    pthread_mutex_lock(&lane->mutex);
    assert(lane->magic == LANE_MAGIC && lane->references > 0);
    bool last = --lane->references == 0;
    bool free_now = last && lane->is_finished;
    if (last && !free_now) {
        start_closing(lane); /* the watch frees it, after everything else */
    }
    pthread_mutex_unlock(&lane->mutex);
    if (free_now) {
        lane_free(lane);
    }
}

/* Waits for the end of all threads, until UNTIL. Mutex held. */
static bool wait_finished(struct lane *lane, int64_t until)
{
    while (!lane->is_finished && clock_mono_ms() < until) {
        clock_cond_wait_until(&lane->finished, &lane->mutex, until);
    }
    return lane->is_finished;
}

int lane_close(struct lane *lane, int64_t wait_ms)
{
    LOCK_GUARD(&lane->mutex);
    start_closing(lane);
    if (wait_finished(lane, clock_mono_ms() + wait_ms)) {
        return VIM_OK;
    }
    lane_end_all_queued(lane, VIM_E_UNAVAILABLE);
    struct lane_work *work;
    DL_FOREACH(lane->running, work)
    {
        call_cancel(&work->call);
    }
    bool finished = wait_finished(lane, clock_mono_ms() + lane->settings.grace_ms);
    return finished ? VIM_OK : VIM_E_TIMEOUT;
}

/* --- Posting ----------------------------------------------------------------------------------- */

static struct lane_work *work_new(const struct lane_job *job, int64_t timeout_ms)
{
    struct lane_work *work = MEMORY_NEW(struct lane_work);
    work->job = *job;
    work->posted_us = clock_mono_us();
    work->deadline = work->posted_us / 1000 + timeout_ms;
    work->scope = integral_scope_now();
    work->stuck_at = INT64_MAX;
    call_init(&work->call, work->deadline);
    return work;
}

int lane_post(struct lane *lane, const struct lane_job *job, uint64_t *ret_id)
{
    assert(lane->magic == LANE_MAGIC && job->run && job->done);
    LOCK_GUARD(&lane->mutex);
    if (lane->closing || lane->stats.stuck > 0) {
        return VIM_E_UNAVAILABLE;
    }
    if (lane->stats.queued >= lane->settings.queue_limit) {
        return VIM_E_BUSY;
    }
    struct lane_work *work =
        work_new(job, job->timeout_ms > 0 ? job->timeout_ms : lane->settings.timeout_ms);
    work->id = ++lane->last_id;
    if (job->urgent) {
        DL_APPEND(lane->urgent, work);
    } else {
        DL_APPEND(lane->queue, work);
    }
    lane->stats.queued++;
    metric_add(lane->metric_queued, 1);
    if (work->scope == SCOPE_WORKER) {
        integral_begin(QUEUED_WORKER, work->posted_us);
    }
    if (ret_id) {
        *ret_id = work->id;
    }
    lane_watch_before(lane, work->deadline);
    pthread_cond_signal(&lane->work);
    return VIM_OK;
}

static struct lane_work *find_work(struct lane_work *list, uint64_t id)
{
    struct lane_work *work;
    DL_FOREACH(list, work)
    {
        if (work->id == id) {
            return work;
        }
    }
    return NULL;
}

bool lane_cancel(struct lane *lane, uint64_t id)
{
    LOCK_GUARD(&lane->mutex);
    struct lane_work *work = find_work(lane->queue, id);
    work = work ? work : find_work(lane->urgent, id);
    if (work) {
        lane_end_queued(lane, work, VIM_E_CANCELLED);
        return true;
    }
    work = find_work(lane->running, id);
    if (!work || work->returned) {
        return false;
    }
    call_cancel(&work->call);
    int64_t stuck_at = clock_mono_ms() + lane->settings.grace_ms;
    if (stuck_at < work->stuck_at) {
        work->stuck_at = stuck_at;
        lane_watch_before(lane, stuck_at);
    }
    return true;
}

struct instance *lane_instance(const struct lane *lane)
{
    return lane->instance;
}

struct lane_stats lane_stats(struct lane *lane)
{
    LOCK_GUARD(&lane->mutex);
    struct lane_stats stats = lane->stats;
    stats.threads = lane->threads;
    return stats;
}

bool lane_is_stuck(struct lane *lane)
{
    return lane_stats(lane).stuck > 0;
}

void lane_configure(struct lane *lane, const struct lane_settings *settings)
{
    LOCK_GUARD(&lane->mutex);
    if (lane->closing) {
        return;
    }
    lane->settings = complete(settings, is_serial(lane->instance));
    start_workers(lane); /* fewer than wanted still do the work */
    pthread_cond_broadcast(&lane->work);
}
