#include "engine/hints.h"

#include <stdatomic.h>
#include <string.h>
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "plugin/call.h"
#include "plugin/instance.h"

#define CALL_TIMEOUT_MS 5000
/* Longer than it takes to look at all entries of one pull. */
#define LEASE_MS 60000u

/* Of the queue of this process; as many pushes fail as there are tasks, and all for one reason. */
static atomic_bool push_fails;

/* A call of OPERATION that does not wait has begun, or has ended after it began at STARTED_US. */
static int64_t begin_call(void)
{
    metric_add(metrics_gauge("vimd_queue_in_flight",
                             "Calls of the queue in progress, but for pulls", NULL),
               1);
    return clock_mono_us();
}

static void end_call(const char *operation, int64_t started_us)
{
    metric_observe(metrics_histogram("vimd_queue_call_seconds",
                                     "Duration of calls of the queue, but for pulls", operation,
                                     NULL, 0),
                   (double)(clock_mono_us() - started_us) / 1e6);
    metric_add(metrics_gauge("vimd_queue_in_flight", "", NULL), -1);
}

void hints_push(struct instance *queue, const char *id, int64_t delay_ms)
{
    struct vim_call call;
    int64_t started_us = begin_call();
    uint32_t delay = delay_ms <= 0 ? 0 : delay_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)delay_ms;
    call_init(&call, clock_mono_ms() + CALL_TIMEOUT_MS);
    int code = instance_enter(queue, &call);
    if (code == VIM_OK) {
        code =
            instance_queue(queue)->push(&call, instance_handle(queue), HINTS_TOPIC_TASK, id, delay);
        code = instance_leave(queue, &call, code);
    }
    end_call("operation=\"push\"", started_us);
    metric_add(metrics_counter("vimd_queue_pushes_total", "Entries put into the queue",
                               code == VIM_OK ? "result=\"ok\"" : "result=\"error\""),
               1);
    bool failed = code != VIM_OK;
    if (atomic_exchange(&push_fails, failed) != failed) {
        if (failed) {
            log_event(VIM_WARNING, "queue push failed", "task=%s error=%s text=%s", id,
                      error_name(code), call_fail_text(&call));
        } else {
            log_event(VIM_INFO, "queue pushes get through again");
        }
    }
    call_free(&call);
}

struct pulled {
    char (*ids)[ID_SIZE];
    uint32_t count, maximum;
};

static int take_entry(void *argument, const struct vim_item *item)
{
    struct pulled *pulled = argument;
    if (item->id && id_valid(item->id) && pulled->count < pulled->maximum) {
        memcpy(pulled->ids[pulled->count++], item->id, ID_SIZE);
    }
    return pulled->count == pulled->maximum;
}

int hints_pull(struct instance *queue, uint32_t maximum, uint32_t wait_ms, char (*ret_ids)[ID_SIZE],
               struct failure *failure)
{
    struct pulled pulled = {.ids = ret_ids, .maximum = maximum};
    struct vim_call call;
    call_init(&call, clock_mono_ms() + wait_ms + CALL_TIMEOUT_MS);
    call_set_emit(&call, take_entry, &pulled);
    call_set_idle(&call);
    int code = instance_enter(queue, &call);
    if (code == VIM_OK) {
        code = instance_queue(queue)->pull(&call, instance_handle(queue), HINTS_TOPIC_TASK, maximum,
                                           wait_ms, LEASE_MS);
        code = instance_leave(queue, &call, code);
    }
    if (code < 0) {
        failure_set(failure, code, "queue: %s", call_fail_text(&call));
    }
    call_free(&call);
    return code < 0 ? code : (int)pulled.count;
}

void hints_done(struct instance *queue, const char *id)
{
    struct vim_call call;
    int64_t started_us = begin_call();
    call_init(&call, clock_mono_ms() + CALL_TIMEOUT_MS);
    if (instance_enter(queue, &call) == VIM_OK) {
        int code = instance_queue(queue)->done(&call, instance_handle(queue), HINTS_TOPIC_TASK, id);
        (void)instance_leave(queue, &call, code);
    }
    call_free(&call);
    end_call("operation=\"done\"", started_us);
}

static int take_depth(void *argument, const struct vim_item *item)
{
    struct hints_depth *depth = argument;
    static const char *const members[] = {"waiting", "delayed", "delivered", "oldest_ms"};
    int64_t *values[] = {&depth->waiting, &depth->delayed, &depth->delivered, &depth->oldest_ms};
    for (size_t i = 0; item->body && i < sizeof(members) / sizeof(members[0]); i++) {
        struct json_piece piece;
        if (json_peek(item->body, strlen(item->body), members[i], &piece) == VIM_OK) {
            (void)json_piece_integer(piece, values[i]);
        }
    }
    return 0;
}

int hints_depth(struct instance *queue, struct hints_depth *ret_depth, struct failure *failure)
{
    struct hints_depth depth = {0};
    struct vim_call call;
    call_init(&call, clock_mono_ms() + CALL_TIMEOUT_MS);
    call_set_emit(&call, take_depth, &depth);
    int code = instance_enter(queue, &call);
    if (code == VIM_OK) {
        code = instance_queue(queue)->depth(&call, instance_handle(queue), HINTS_TOPIC_TASK);
        code = instance_leave(queue, &call, code);
    }
    if (code < 0) {
        failure_set(failure, code, "queue: %s", call_fail_text(&call));
    } else {
        *ret_depth = depth;
    }
    call_free(&call);
    return code;
}

void hints_interrupt(struct instance *queue)
{
    instance_queue(queue)->interrupt(instance_handle(queue));
}
