/*
 * The thread that hears from Redis that something can be taken. It has a connection of its own, subscribed to
 * the channel of each topic that this instance pulls from. When the connection was lost, all that
 * wait look once more as soon as it is back.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "redis_queue.h"

/* Silence after which the other side is asked whether it is there; and after which it is not. */
#define PING_MS 10000
#define SILENCE_MAX_MS 20000

/* How long what has ended waits for a pull to tell it. */
#define TELL_AFTER_MS 20

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 1000

static bool must_stop(struct queue *queue)
{
    bool stop;

    pthread_mutex_lock(&queue->lock);
    stop = queue->stop;
    pthread_mutex_unlock(&queue->lock);
    return stop;
}

static bool must_tell(struct queue *queue)
{
    bool tell;

    pthread_mutex_lock(&queue->out_lock);
    tell = queue->telling;
    pthread_mutex_unlock(&queue->out_lock);
    return tell;
}

static void forget_wake(struct queue *queue)
{
    uint64_t count;

    if (read(queue->wake_fd, &count, sizeof count) < 0)
        return;
}

/* Waits for input, or to be woken; MS at most. True: there is input. */
static bool await_input(struct queue *queue, int fd, int64_t ms)
{
    struct pollfd files[] = {{.fd = queue->wake_fd, .events = POLLIN},
                             {.fd = fd, .events = POLLIN}};

    if (poll(files, fd >= 0 ? 2 : 1, (int)ms) <= 0)
        return false;
    if (files[0].revents)
        forget_wake(queue);
    return fd >= 0 && files[1].revents;
}

/* After a new connection nothing is subscribed. */
static void forget_announced(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    for (struct topic *topic = queue->topics; topic; topic = topic->next)
        topic->announced = false;
    pthread_mutex_unlock(&queue->lock);
}

/* Asks for the channels of topics that are new. */
static int subscribe_new(struct queue *queue, redisContext *redis)
{
    int rc = REDIS_OK;

    pthread_mutex_lock(&queue->lock);
    for (struct topic *topic = queue->topics; topic; topic = topic->next) {
        const char *subscribe[] = {"SUBSCRIBE", topic->channel};

        if (topic->announced)
            continue;
        topic->announced = true;
        rc |= redisAppendCommandArgv(redis, 2, subscribe, NULL);
    }
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

static void wake_topic(struct queue *queue, const char *channel, bool all)
{
    pthread_mutex_lock(&queue->lock);
    for (struct topic *topic = queue->topics; topic; topic = topic->next) {
        if (strcmp(topic->channel, channel) != 0)
            continue;
        topic->changes++;
        if (all)
            pthread_cond_broadcast(&topic->changed);
        else
            pthread_cond_signal(&topic->changed);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* A message wakes one; a subscription that begins wakes all, for what was said before it. */
static void take_reply(struct queue *queue, const redisReply *reply)
{
    const char *kind, *channel;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !reply->element[0]->str ||
        !reply->element[1]->str)
        return;
    kind = reply->element[0]->str;
    channel = reply->element[1]->str;
    if (strcmp(kind, "message") == 0)
        wake_topic(queue, channel, false);
    else if (strcmp(kind, "subscribe") == 0)
        wake_topic(queue, channel, true);
}

static int send_all(struct queue *queue, redisContext *redis)
{
    int64_t deadline = pool_now() + queue->config->timeout;
    int sent = 0;

    while (!sent) {
        if (redisBufferWrite(redis, &sent) != REDIS_OK)
            return -1;
        if (!sent && !pool_await_socket(NULL, queue->host, redis->fd, false, true, deadline))
            return -1;
    }
    return 0;
}

/* Reads what there is. -1: the connection is not to be used again. */
static int read_all(struct queue *queue, redisContext *redis)
{
    void *reply = NULL;

    if (redisBufferRead(redis) != REDIS_OK)
        return -1;
    for (;;) {
        if (redisGetReplyFromReader(redis, &reply) != REDIS_OK)
            return -1;
        if (!reply)
            return 0;
        if (((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
            queue->host->log(queue->self, VIM_WARNING, "cannot subscribe", NULL);
            freeReplyObject(reply);
            return -1;
        }
        take_reply(queue, reply);
        freeReplyObject(reply);
    }
}

/* Listens until the connection breaks or the thread has to end. */
static void listen_on(struct queue *queue, redisContext *redis)
{
    const char *ping[] = {"PING"};
    int64_t heard = pool_now(), asked = heard, told = heard;

    forget_announced(queue);
    while (!must_stop(queue)) {
        int64_t now;

        if (subscribe_new(queue, redis) != REDIS_OK || send_all(queue, redis) < 0)
            return;
        if (await_input(queue, redis->fd, must_tell(queue) ? TELL_AFTER_MS : PING_MS)) {
            if (read_all(queue, redis) < 0)
                return;
            heard = pool_now();
        }
        now = pool_now();
        if (now - told >= TELL_AFTER_MS && must_tell(queue)) {
            out_tell_all(queue);
            told = now;
        }
        if (now - heard > SILENCE_MAX_MS)
            return;
        if (now - heard >= PING_MS && now - asked >= PING_MS) {
            asked = now;
            if (redisAppendCommandArgv(redis, 1, ping, NULL) != REDIS_OK)
                return;
        }
    }
}

static void *listener_main(void *argument)
{
    struct queue *queue = argument;
    int64_t pause = BACKOFF_FIRST_MS;

    while (!must_stop(queue)) {
        redisContext *redis = NULL;
        struct store_error error; /* told by the pulls, which meet it too */

        if (connection_login(NULL, queue, pool_now() + queue->config->timeout, &redis, &error) ==
            VIM_OK) {
            pause = BACKOFF_FIRST_MS;
            listen_on(queue, redis);
            connection_end(queue, redis);
        }
        if (!must_stop(queue))
            await_input(queue, -1, pause / 2 + random() % (pause / 2 + 1));
        pause = pause * 2 < BACKOFF_MAX_MS ? pause * 2 : BACKOFF_MAX_MS;
    }
    return NULL;
}

void listener_wake(struct queue *queue)
{
    uint64_t one = 1;

    if (write(queue->wake_fd, &one, sizeof one) < 0)
        return; /* it is full, so the thread is awake */
}

int listener_add(struct queue *queue, struct topic *topic)
{
    topic->announced = false;
    if (!queue->listening && !queue->stop)
        queue->listening = pthread_create(&queue->listener, NULL, listener_main, queue) == 0;
    listener_wake(queue);
    return queue->listening ? 0 : -1;
}

void listener_stop(struct queue *queue)
{
    bool listening;

    pthread_mutex_lock(&queue->lock);
    queue->stop = true;
    listening = queue->listening;
    pthread_mutex_unlock(&queue->lock);
    if (!listening)
        return;
    listener_wake(queue);
    pthread_join(queue->listener, NULL);
}
