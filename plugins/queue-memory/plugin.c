/*
 * queue-memory - entries in the memory of one process. What a restart loses, vimd's sweep of the
 * store finds again.
 *
 * One lock guards everything: operations under it are short, O(log n) in the number of entries.
 * It is not held while something is emitted.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vim/queue.h>

#include "topic.h"

#define TOPICS_MAX 256

/* Entries that one pull takes at a time, before it emits them. */
#define BATCH 32

/* How often a pull that waits looks whether it was cancelled. */
#define CANCEL_CHECK_MS 500

struct queue_config {
    int64_t capacity;
};

/* One instance. Made by open(), gone after close(). */
struct queue {
    const struct vim_host *host;
    const struct queue_config *config;
    pthread_mutex_t lock;
    struct topic *topics;
    uint32_t topic_count;
    uint64_t interrupts; /* so far; a pull ends when the number changes */
};

static const struct vim_option options[] = {
    {
        .name = "capacity",
        .type = VIM_INTEGER,
        .flags = VIM_LIVE,
        .default_value = "1000000",
        .help = "Entries at most, some 250 bytes each; a push beyond is refused as busy, and the "
                "sweep of the store delivers it later.",
        .minimum = 1,
        .maximum = 100000000,
        .offset = offsetof(struct queue_config, capacity),
    },
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool valid_topic(const char *text)
{
    size_t length = 0;

    for (; text && text[length]; length++) {
        char c = text[length];

        if (length == TOPIC_NAME_MAX ||
            !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return length > 0;
}

static bool valid_id(const char *text)
{
    size_t length = 0;

    for (; text && text[length]; length++)
        if (length == ENTRY_ID_MAX || text[length] <= ' ' || text[length] > '~')
            return false;
    return length > 0;
}

/* Names outside the limits of queue.h; ID may be NULL where the call has none. */
static int refuse_names(struct vim_call *call, const struct queue *queue, const char *topic,
                        const char *id, bool with_id)
{
    if (!valid_topic(topic))
        return queue->host->fail(call, VIM_E_INVALID, 0,
                                 "a topic is 1..32 characters of a-z 0-9 - _");
    if (with_id && !valid_id(id))
        return queue->host->fail(call, VIM_E_INVALID, 0,
                                 "an id is 1..200 bytes of printable ASCII without spaces");
    return VIM_OK;
}

static struct topic *find_topic(const struct queue *queue, const char *name)
{
    struct topic *topic = queue->topics;

    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    return topic;
}

/* Finds a topic or makes it. NULL when there are too many, or no memory. */
static struct topic *need_topic(struct queue *queue, const char *name)
{
    struct topic *topic = find_topic(queue, name);

    if (topic || queue->topic_count == TOPICS_MAX || !(topic = topic_new(name)))
        return topic;
    topic->next = queue->topics;
    queue->topics = topic;
    queue->topic_count++;
    return topic;
}

static bool is_full(const struct queue *queue)
{
    int64_t count = 0;

    for (const struct topic *topic = queue->topics; topic; topic = topic->next)
        count += topic_count(topic);
    return count >= queue->config->capacity;
}

static int queue_push(struct vim_call *call, void *instance, const char *name, const char *id,
                      uint32_t delay_ms)
{
    struct queue *queue = instance;
    int code = refuse_names(call, queue, name, id, true);
    const char *reason = "out of memory, or too many topics";
    int64_t now = now_ms(), due = now + delay_ms;
    struct topic *topic;

    if (code < 0)
        return code;
    pthread_mutex_lock(&queue->lock);
    topic = need_topic(queue, name);
    code = VIM_E_BUSY;
    if (topic && !topic_waits(topic, id) && is_full(queue)) {
        reason = "the queue is full (option capacity)";
    } else if (topic && topic_push(topic, id, due, now) == 0) {
        code = VIM_OK;
        /* One that is ready needs one thread; a new earliest time concerns all that wait. */
        if (delay_ms == 0)
            pthread_cond_signal(&topic->filled);
        else if (topic_next(topic) >= due)
            pthread_cond_broadcast(&topic->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return code == VIM_OK ? VIM_OK : queue->host->fail(call, code, 0, reason);
}

/* Takes up to WANTED entries into BATCH. Called with the lock held. */
static uint32_t take_batch(struct topic *topic, uint32_t wanted, uint32_t lease_ms,
                           struct taken *batch)
{
    int64_t now = now_ms();
    uint32_t count = 0;

    topic_promote(topic, now);
    while (count < wanted && topic_take(topic, now + lease_ms, &batch[count]))
        count++;
    if (topic->ready_count && topic->pulling)
        pthread_cond_signal(&topic->filled);
    return count;
}

/* Emits what was taken. False if no more is wanted: the rest is put back. */
static bool emit_batch(struct vim_call *call, struct queue *queue, struct topic *topic,
                       const struct taken *batch, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vim_item item = {.size = sizeof item,
                                .kind = topic->name,
                                .id = batch[i].id,
                                .revision = batch[i].deliveries};

        if (queue->host->emit(call, &item) == 0)
            continue;
        pthread_mutex_lock(&queue->lock);
        while (++i < count)
            topic_untake(topic, batch[i].id, now_ms());
        if (topic->pulling)
            pthread_cond_signal(&topic->filled);
        pthread_mutex_unlock(&queue->lock);
        return false;
    }
    return true;
}

/* Waits until something may be ready, UNTIL at the latest. Called with the lock held. */
static void wait_filled(struct queue *queue, struct topic *topic, int64_t until)
{
    int64_t next = topic_next(topic);
    struct timespec time;

    if (next < until)
        until = next;
    time = (struct timespec){.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    topic->pulling++;
    pthread_cond_timedwait(&topic->filled, &queue->lock, &time);
    topic->pulling--;
}

/* Takes the first batch, waiting for it until DEADLINE. Called with the lock held, which it gives
 * up now and then. Returns 0 if the time is up, or the pull was interrupted. */
static uint32_t await_batch(struct vim_call *call, struct queue *queue, struct topic *topic,
                            uint32_t wanted, int64_t deadline, uint32_t lease_ms,
                            struct taken *batch)
{
    uint64_t interrupts = queue->interrupts;
    uint32_t count;
    int64_t left = INT64_MAX, now;

    while (!(count = take_batch(topic, wanted, lease_ms, batch))) {
        now = now_ms();
        if (left <= 0 || now >= deadline || queue->interrupts != interrupts)
            break;
        pthread_mutex_unlock(&queue->lock);
        left = queue->host->left_ms(call);
        pthread_mutex_lock(&queue->lock);
        if (left <= 0 || queue->interrupts != interrupts)
            continue;
        if (left > CANCEL_CHECK_MS)
            left = CANCEL_CHECK_MS;
        if (topic->ready_count == 0)
            wait_filled(queue, topic, left < deadline - now ? now + left : deadline);
    }
    return count;
}

static int queue_pull(struct vim_call *call, void *instance, const char *name, uint32_t maximum,
                      uint32_t wait_ms, uint32_t lease_ms)
{
    struct queue *queue = instance;
    int code = refuse_names(call, queue, name, NULL, false);
    int64_t deadline = now_ms() + wait_ms;
    struct taken batch[BATCH];
    uint32_t total = 0, wanted, count;
    struct topic *topic;

    if (code < 0)
        return code;
    if (maximum == 0)
        return queue->host->fail(call, VIM_E_INVALID, 0, "a pull of no entries");
    pthread_mutex_lock(&queue->lock);
    topic = need_topic(queue, name);
    pthread_mutex_unlock(&queue->lock);
    if (!topic)
        return queue->host->fail(call, VIM_E_BUSY, 0, "out of memory, or too many topics");
    do {
        wanted = maximum - total < BATCH ? maximum - total : BATCH;
        pthread_mutex_lock(&queue->lock);
        count = total ? take_batch(topic, wanted, lease_ms, batch)
                      : await_batch(call, queue, topic, wanted, deadline, lease_ms, batch);
        pthread_mutex_unlock(&queue->lock);
        total += count;
    } while (emit_batch(call, queue, topic, batch, count) && count == BATCH && total < maximum);
    return VIM_OK;
}

static int queue_renew(struct vim_call *call, void *instance, const char *name, const char *id,
                       uint32_t lease_ms)
{
    struct queue *queue = instance;
    int code = refuse_names(call, queue, name, id, true);
    bool renewed = false;
    struct topic *topic;

    if (code < 0)
        return code;
    pthread_mutex_lock(&queue->lock);
    topic = find_topic(queue, name);
    if (topic) {
        int64_t now = now_ms();

        topic_promote(topic, now);
        renewed = topic_renew(topic, id, now + lease_ms);
        /* Those that wait knew of its old end at the latest; a shorter lease is news to them. */
        if (renewed)
            pthread_cond_broadcast(&topic->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return renewed ? VIM_OK : queue->host->fail(call, VIM_E_NOT_FOUND, 0, "not out for delivery");
}

static int queue_done(struct vim_call *call, void *instance, const char *name, const char *id)
{
    struct queue *queue = instance;
    int code = refuse_names(call, queue, name, id, true);
    struct topic *topic;

    if (code < 0)
        return code;
    pthread_mutex_lock(&queue->lock);
    topic = find_topic(queue, name);
    if (topic) {
        topic_promote(topic, now_ms());
        topic_done(topic, id);
    }
    pthread_mutex_unlock(&queue->lock);
    return VIM_OK;
}

static int queue_depth(struct vim_call *call, void *instance, const char *name)
{
    struct queue *queue = instance;
    int code = refuse_names(call, queue, name, NULL, false);
    unsigned waiting = 0, delayed = 0, delivered = 0;
    int64_t oldest = 0;
    struct topic *topic;
    char body[160];
    struct vim_item item = {.size = sizeof item, .kind = name, .body = body};

    if (code < 0)
        return code;
    pthread_mutex_lock(&queue->lock);
    topic = find_topic(queue, name);
    if (topic) {
        int64_t now = now_ms();

        topic_promote(topic, now);
        waiting = topic->ready_count;
        delayed = topic->delayed.count;
        delivered = topic->leases.count;
        if (topic->ready_first)
            oldest = now - topic->ready_first->time;
    }
    pthread_mutex_unlock(&queue->lock);
    snprintf(body, sizeof body,
             "{\"waiting\":%u,\"delayed\":%u,\"delivered\":%u,\"oldest_ms\":%lld}", waiting,
             delayed, delivered, (long long)oldest);
    queue->host->emit(call, &item);
    return VIM_OK;
}

static void queue_interrupt(void *instance)
{
    struct queue *queue = instance;

    pthread_mutex_lock(&queue->lock);
    queue->interrupts++;
    for (struct topic *topic = queue->topics; topic; topic = topic->next)
        pthread_cond_broadcast(&topic->filled);
    pthread_mutex_unlock(&queue->lock);
}

static int queue_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct queue *queue = calloc(1, sizeof *queue);

    (void)self;
    if (!queue)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    queue->host = host;
    queue->config = config;
    pthread_mutex_init(&queue->lock, NULL);
    *ret_instance = queue;
    return VIM_OK;
}

static void queue_close(void *instance)
{
    struct queue *queue = instance;

    while (queue->topics) {
        struct topic *topic = queue->topics;

        queue->topics = topic->next;
        topic_free(topic);
    }
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* There is no far side. */
static int queue_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static int queue_reconfigure(struct vim_call *call, void *instance, const void *config)
{
    struct queue *queue = instance;

    (void)call;
    queue->config = config;
    return VIM_OK;
}

static const struct vim_queue_ops ops = {
    .size = sizeof ops,
    .push = queue_push,
    .pull = queue_pull,
    .renew = queue_renew,
    .done = queue_done,
    .depth = queue_depth,
    .interrupt = queue_interrupt,
};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_QUEUE,
    .flags = VIM_CHEAP,
    .name = "queue-memory",
    .version = VIMD_VERSION,
    .summary = "Keeps entries in the memory of one process; the embedded default for one machine.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct queue_config),
    .open = queue_open,
    .close = queue_close,
    .probe = queue_probe,
    .reconfigure = queue_reconfigure,
    .ops = &ops,
};

const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == VIM_ABI_MAJOR ? &plugin : NULL;
}
