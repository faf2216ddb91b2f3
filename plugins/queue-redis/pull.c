/*
 * pull: takes what there is; if there is nothing, waits until the listener has heard of something,
 * something becomes ready by itself, or a while has passed (so that a message that was lost with a
 * connection, or with all that Redis knew, costs a moment and no more).
 *
 * One that got all it wanted wakes the next that waits, which may find more. One that got less knows that nothing is
 * left, and has Redis tell of the next push: so a push to an idle queue wakes one thread of each
 * instance, not all, and none asks in vain. Where pushes follow each other closely, the one that is woken lets
 * a millisecond pass from one take to the next, and finds more at once.
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

/* From a take that found less than it wanted to the next. */
#define GATHER_US 1000

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
    topic->changes = 1;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&topic->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return topic;
}

/* Finds a topic or makes it, and has the listener listen. NULL when there are too many, or no memory. */
/* Called with the lock held. */
static struct topic *find_topic(struct queue *queue, const char *name)
{
    struct topic *topic = queue->topics;

    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    return topic;
}

struct topic *queue_topic(struct queue *queue, const char *name)
{
    struct topic *topic;

    pthread_mutex_lock(&queue->lock);
    topic = find_topic(queue, name);
    pthread_mutex_unlock(&queue->lock);
    return topic;
}

static struct topic *need_topic(struct queue *queue, const char *name, bool *ret_new)
{
    struct topic *topic;

    pthread_mutex_lock(&queue->lock);
    topic = find_topic(queue, name);
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

/* What has ended goes along. */
static int take(struct vim_call *call, struct queue *queue, struct topic *topic, uint32_t wanted,
                uint32_t lease_ms, redisReply **ret_reply, struct store_error *ret_error)
{
    char maximum[16], lease[16], count[16];
    const char *arguments[4 + 2 * ENDED_MAX] = {queue->consumer, maximum, lease};
    struct ended ended;
    int used, code;

    snprintf(maximum, sizeof maximum, "%u", wanted);
    snprintf(lease, sizeof lease, "%u", lease_ms);
    out_ended(queue, topic, &ended);
    used = 3 + out_arguments(&ended, count, arguments + 3);
    code = connection_script(call, queue, SCRIPT_TAKE, topic->name, used, arguments, true,
                             ret_reply, ret_error);
    out_told(queue, topic);
    return code;
}

/* Puts an entry back: its lease ends now. */
static void put_back(struct vim_call *call, struct queue *queue, const char *name, const char *id,
                     const char *entry)
{
    char member[MEMBER_MAX];
    const char *arguments[] = {member, "0"};
    struct store_error ignored; /* then it comes back when its lease ends */

    member_write(entry, id, member);
    connection_script(call, queue, SCRIPT_RENEW, name, 2, arguments, true, NULL, &ignored);
}

/* The number of entries in a reply of the script, which begins with a time. */
static uint32_t entry_count(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 3
               ? (uint32_t)(reply->elements - 1) / 3
               : 0;
}

/* Emits what was taken. False if no more is wanted: the rest is put back. */
static bool emit_all(struct vim_call *call, struct queue *queue, const char *name,
                     uint32_t lease_ms, const redisReply *reply)
{
    bool more = true;

    for (size_t i = 1; i + 2 < reply->elements; i += 3) {
        const char *entry = reply->element[i + 2]->str;
        struct vim_item item = {.size = sizeof item,
                                .kind = name,
                                .id = reply->element[i]->str,
                                .revision = (uint64_t)reply->element[i + 1]->integer};

        if (!item.id || !entry)
            continue;
        if (!more) {
            put_back(call, queue, name, item.id, entry);
            continue;
        }
        out_add(queue, name, item.id, entry, lease_ms);
        more = queue->host->emit(call, &item) == 0;
    }
    return more;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* More may be there: for the next that waits. */
static void wake_next(struct queue *queue, struct topic *topic)
{
    pthread_mutex_lock(&queue->lock);
    topic->changes++;
    pthread_cond_signal(&topic->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* Less than was wanted was there: nothing is left, until something changes or NEXT milliseconds have passed (if it
 * is not negative). */
static void note_empty(struct queue *queue, struct topic *topic, bool any, int64_t next)
{
    if (next < 0 || next > LOOK_AGAIN_MS)
        next = LOOK_AGAIN_MS;
    pthread_mutex_lock(&queue->lock);
    topic->look_at = pool_now() + next + 1;
    topic->gather_until = any ? now_us() + GATHER_US : 0;
    pthread_mutex_unlock(&queue->lock);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Waits until UNTIL or until something may be ready, if it is known that nothing is; or until there was an
 * interrupt since INTERRUPTS. Who goes on does so for all that is known by then: the others wait for what
 * comes of it. */
static void await_change(struct queue *queue, struct topic *topic, uint64_t interrupts,
                         int64_t until)
{
    int64_t now = pool_now(), gather;

    pthread_mutex_lock(&queue->lock);
    while (topic->changes == topic->empty_at && queue->interrupts == interrupts && now < until &&
           now < topic->look_at) {
        int64_t end = earlier(until, topic->look_at);
        struct timespec time = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};

        pthread_cond_timedwait(&topic->changed, &queue->lock, &time);
        now = pool_now();
    }
    topic->empty_at = topic->changes;
    topic->look_at = pool_now() + LOOK_AGAIN_MS;
    gather = topic->gather_until - now_us();
    pthread_mutex_unlock(&queue->lock);
    if (gather > 0 && now < until) {
        struct timespec time = {.tv_nsec = earlier(gather, GATHER_US) * 1000};

        nanosleep(&time, NULL);
    }
}

static uint64_t interrupts_of(struct queue *queue)
{
    uint64_t interrupts;

    pthread_mutex_lock(&queue->lock);
    interrupts = queue->interrupts;
    pthread_mutex_unlock(&queue->lock);
    return interrupts;
}

/* Takes one batch of up to *MAXIMUM and emits it; *MAXIMUM is what is wanted after it, 0 if no more. */
static int take_batch(struct vim_call *call, struct queue *queue, struct topic *topic,
                      uint32_t lease_ms, uint32_t *maximum, uint32_t *ret_count)
{
    uint32_t wanted = *maximum < BATCH ? *maximum : BATCH;
    redisReply *reply = NULL;
    struct store_error error;
    int code = take(call, queue, topic, wanted, lease_ms, &reply, &error);

    if (code < 0) {
        wake_next(queue, topic);
        return queue->host->fail(call, code, 0, error.text);
    }
    *ret_count = entry_count(reply);
    if (*ret_count == wanted)
        wake_next(queue, topic);
    else
        note_empty(queue, topic, *ret_count > 0,
                   reply->elements > 0 ? reply->element[0]->integer : -1);
    *maximum -= *ret_count;
    if (*ret_count > 0 &&
        (!emit_all(call, queue, topic->name, lease_ms, reply) || *ret_count < wanted))
        *maximum = 0;
    freeReplyObject(reply);
    return VIM_OK;
}

int queue_pull(struct vim_call *call, void *instance, const char *name, uint32_t maximum,
               uint32_t wait_ms, uint32_t lease_ms)
{
    struct queue *queue = instance;
    int64_t deadline = pool_now() + wait_ms;
    uint64_t interrupts;
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
    interrupts = interrupts_of(queue);
    for (bool any = false; maximum > 0; any |= count > 0) {
        int64_t left;

        if (!any)
            await_change(queue, topic, interrupts,
                         earlier(deadline, pool_now() + queue->host->left_ms(call)));
        code = take_batch(call, queue, topic, lease_ms, &maximum, &count);
        if (code < 0)
            return code;
        left = queue->host->left_ms(call);
        if (count == 0 &&
            (any || pool_now() >= deadline || left <= 0 || interrupts_of(queue) != interrupts))
            break;
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
