#include <stdio.h>
#include <string.h>
#include <vim/queue.h>

#include "base/clock.h"
#include "base/json.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "queue_client.h"
#include "subject.h"

static int keep_entry(void *argument, const struct vim_item *item)
{
    struct pulled *pulled = argument;

    if (pulled->count < PULLED_MAX) {
        snprintf(pulled->entries[pulled->count].topic, sizeof pulled->entries[0].topic, "%s",
                 item->kind ? item->kind : "");
        snprintf(pulled->entries[pulled->count].id, sizeof pulled->entries[0].id, "%s",
                 item->id ? item->id : "");
        pulled->entries[pulled->count].deliveries = item->revision;
    }
    pulled->count++;
    return pulled->stop_after && pulled->count >= pulled->stop_after;
}

static int keep_depth(void *argument, const struct vim_item *item)
{
    struct depth *depth = argument;
    json_t *body = NULL;

    if (item->body && json_parse(item->body, strlen(item->body), NULL, &body, NULL) == VIM_OK) {
        depth->waiting = json_get_integer(body, "waiting", -1);
        depth->delayed = json_get_integer(body, "delayed", -1);
        depth->delivered = json_get_integer(body, "delivered", -1);
        depth->oldest_ms = json_get_integer(body, "oldest_ms", -1);
    }
    json_decref(body);
    return 0;
}

/* Makes one call: EXPRESSION is the call of `ops` with `call` and `handle`. */
#define CALL(queue, left_ms, emit, argument, expression)              \
    ({                                                                \
        const struct vim_queue_ops *ops = instance_queue(queue);      \
        void *handle = instance_handle(queue);                        \
        struct vim_call the_call, *call = &the_call;                  \
        int call_code;                                                \
                                                                      \
        call_init(call, clock_mono_ms() + (left_ms));                 \
        call_set_emit(call, emit, argument);                          \
        call_code = instance_enter(queue, call);                      \
        if (call_code == VIM_OK)                                      \
            call_code = instance_leave(queue, call, ops->expression); \
        call_free(call);                                              \
        (void)handle;                                                 \
        call_code;                                                    \
    })

int queue_client_push(struct instance *queue, const char *topic, const char *id, uint32_t delay_ms)
{
    return CALL(queue, SUBJECT_CALL_MS, NULL, NULL, push(call, handle, topic, id, delay_ms));
}

int queue_client_pull_within(struct instance *queue, const char *topic, uint32_t maximum,
                             uint32_t wait_ms, uint32_t lease_ms, int64_t left_ms,
                             struct pulled *pulled)
{
    pulled->count = 0;
    return CALL(queue, left_ms, keep_entry, pulled,
                pull(call, handle, topic, maximum, wait_ms, lease_ms));
}

int queue_client_pull(struct instance *queue, const char *topic, uint32_t maximum, uint32_t wait_ms,
                      uint32_t lease_ms, struct pulled *pulled)
{
    return queue_client_pull_within(queue, topic, maximum, wait_ms, lease_ms, SUBJECT_CALL_MS,
                                    pulled);
}

int queue_client_renew(struct instance *queue, const char *topic, const char *id, uint32_t lease_ms)
{
    return CALL(queue, SUBJECT_CALL_MS, NULL, NULL, renew(call, handle, topic, id, lease_ms));
}

int queue_client_done(struct instance *queue, const char *topic, const char *id)
{
    return CALL(queue, SUBJECT_CALL_MS, NULL, NULL, done(call, handle, topic, id));
}

int queue_client_depth(struct instance *queue, const char *topic, struct depth *ret_depth)
{
    *ret_depth = (struct depth){-1, -1, -1, -1};
    return CALL(queue, SUBJECT_CALL_MS, keep_depth, ret_depth, depth(call, handle, topic));
}

void queue_client_interrupt(struct instance *queue)
{
    instance_queue(queue)->interrupt(instance_handle(queue));
}
