/*
 * pull: takes what there is; if there is nothing, waits until the listener has heard of something,
 * something becomes ready by itself, or a while has passed (so that a message that was lost with a
 * connection, or with all that Redis knew, costs a moment and no more).
 *
 * One that got something wakes the next that waits, which then takes or finds nothing: a push to an idle queue
 * wakes one thread of each instance, not all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_queue.h"

#define TOPICS_MAX 256

/* Entries that are taken at a time. */
#define BATCH 64

/* How long a pull that waits trusts in being told. */
#define LOOK_AGAIN_MS 500

int queue_refuse_names(struct vim_call *call, const struct queue *queue, const char *topic,
                       const char *id, bool with_id)
{
    /* The limits of queue.h are those of store.h: a topic is named as a collection. */
    if (!limits_collection(topic))
        return queue->host->fail(call, VIM_E_INVALID, 0,
                                 "a topic is 1..32 characters of a-z 0-9 - _");
    if (with_id && !limits_id(id))
        return queue->host->fail(call, VIM_E_INVALID, 0,
                                 "an id is 1..200 bytes of printable ASCII without spaces");
    return VIM_OK;
}

static struct topic *topic_new(struct queue *queue, const char *name)
{
    struct topic *topic = calloc(1, sizeof *topic);
    pthread_condattr_t attributes;

    if (!topic)
        return NULL;
    snprintf(topic->name, sizeof topic->name, "%s", name);
    topic_channel(queue, name, topic->channel);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&topic->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return topic;
}

/* Finds a topic or makes it, and has the listener listen. NULL when there are too many, or no memory. */
static struct topic *need_topic(struct queue *queue, const char *name, bool *ret_new)
{
    struct topic *topic;

    pthread_mutex_lock(&queue->lock);
    topic = queue->topics;
    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    if (!topic && queue->topic_count < TOPICS_MAX && (topic = topic_new(queue, name))) {
        topic->next = queue->topics;
        queue->topics = topic;
        queue->topic_count++;
        listener_add(queue, topic);
        *ret_new = true;
    }
    pthread_mutex_unlock(&queue->lock);
    return topic;
}

static int take(struct vim_call *call, struct queue *queue, const char *name, uint32_t wanted,
                uint32_t lease_ms, redisReply **ret_reply, struct store_error *ret_error)
{
    char maximum[16], lease[16];
    const char *arguments[] = {queue->consumer, maximum, lease};

    snprintf(maximum, sizeof maximum, "%u", wanted);
    snprintf(lease, sizeof lease, "%u", lease_ms);
    return connection_script(call, queue, SCRIPT_TAKE, name, 3, arguments, true, ret_reply,
                             ret_error);
}

/* Puts an entry back: its lease ends now. */
static void put_back(struct vim_call *call, struct queue *queue, const char *name, const char *id)
{
    const char *arguments[] = {id, "0"};
    struct store_error ignored; /* then it comes back when its lease ends */

    connection_script(call, queue, SCRIPT_RENEW, name, 2, arguments, true, NULL, &ignored);
}

/* The number of entries in a reply of the script, which begins with a time. */
static uint32_t entry_count(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 2
               ? (uint32_t)(reply->elements - 1) / 2
               : 0;
}

/* Emits what was taken. False if no more is wanted: the rest is put back. */
static bool emit_all(struct vim_call *call, struct queue *queue, const char *name,
                     const redisReply *reply)
{
    bool more = true;

    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        struct vim_item item = {.size = sizeof item,
                                .kind = name,
                                .id = reply->element[i]->str,
                                .revision = (uint64_t)reply->element[i + 1]->integer};

        if (!item.id)
            continue;
        if (more)
            more = queue->host->emit(call, &item) == 0;
        else
            put_back(call, queue, name, item.id);
    }
    return more;
}

/* One more may find something. */
static void wake_next(struct queue *queue, struct topic *topic)
{
    pthread_mutex_lock(&queue->lock);
    topic->changes++;
    pthread_cond_signal(&topic->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* Waits until UNTIL, or until there was a change since CHANGES or INTERRUPTS. */
static void await_change(struct queue *queue, struct topic *topic, uint64_t changes,
                         uint64_t interrupts, int64_t until)
{
    struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    pthread_mutex_lock(&queue->lock);
    while (topic->changes == changes && queue->interrupts == interrupts)
        if (pthread_cond_timedwait(&topic->changed, &queue->lock, &time) != 0)
            break;
    pthread_mutex_unlock(&queue->lock);
}

static void read_counters(struct queue *queue, const struct topic *topic, uint64_t *ret_changes,
                          uint64_t *ret_interrupts)
{
    pthread_mutex_lock(&queue->lock);
    *ret_changes = topic->changes;
    *ret_interrupts = queue->interrupts;
    pthread_mutex_unlock(&queue->lock);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Takes one batch of up to *MAXIMUM and emits it; *MAXIMUM is what is wanted after it, 0 if no more. *RET_NEXT is the
 * milliseconds until something becomes ready by itself, or negative. */
static int take_batch(struct vim_call *call, struct queue *queue, struct topic *topic,
                      uint32_t lease_ms, uint32_t *maximum, uint32_t *ret_count, int64_t *ret_next)
{
    uint32_t wanted = *maximum < BATCH ? *maximum : BATCH;
    redisReply *reply = NULL;
    struct store_error error;
    int code = take(call, queue, topic->name, wanted, lease_ms, &reply, &error);

    if (code < 0)
        return queue->host->fail(call, code, 0, error.text);
    *ret_count = entry_count(reply);
    *ret_next = reply->elements > 0 ? reply->element[0]->integer : -1;
    if (*ret_count > 0) {
        wake_next(queue, topic);
        *maximum -= *ret_count;
        if (!emit_all(call, queue, topic->name, reply) || *ret_count < wanted)
            *maximum = 0;
    }
    freeReplyObject(reply);
    return VIM_OK;
}

int queue_pull(struct vim_call *call, void *instance, const char *name, uint32_t maximum,
               uint32_t wait_ms, uint32_t lease_ms)
{
    struct queue *queue = instance;
    int64_t deadline = pool_now() + wait_ms, next = -1;
    uint64_t first_interrupts, interrupts, changes;
    int code = queue_refuse_names(call, queue, name, NULL, false);
    uint32_t count = 0;
    struct store_error error;
    struct topic *topic;
    bool is_new = false;

    if (code < 0)
        return code;
    topic = need_topic(queue, name, &is_new);
    if (!topic)
        return queue->host->fail(call, VIM_E_BUSY, 0, "out of memory, or too many topics");
    if (is_new) /* the first to come cleans up; that it cannot is met by the next command */
        connection_script(call, queue, SCRIPT_TIDY, name, 0, NULL, true, NULL, &error);
    read_counters(queue, topic, &changes, &first_interrupts);
    for (bool any = false; maximum > 0; any |= count > 0) {
        int64_t now, left;

        read_counters(queue, topic, &changes, &interrupts);
        code = take_batch(call, queue, topic, lease_ms, &maximum, &count, &next);
        if (code < 0)
            return code;
        now = pool_now();
        left = queue->host->left_ms(call);
        if (count > 0)
            continue;
        if (any || now >= deadline || left <= 0 || interrupts != first_interrupts)
            break;
        if (next < 0 || next > LOOK_AGAIN_MS)
            next = LOOK_AGAIN_MS;
        await_change(queue, topic, changes, interrupts,
                     earlier(earlier(deadline, now + left), now + next + 1));
    }
    return VIM_OK;
}

void queue_interrupt(void *instance)
{
    struct queue *queue = instance;

    pthread_mutex_lock(&queue->lock);
    queue->interrupts++;
    for (struct topic *topic = queue->topics; topic; topic = topic->next)
        pthread_cond_broadcast(&topic->changed);
    pthread_mutex_unlock(&queue->lock);
}
