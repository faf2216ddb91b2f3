/*
 * Pushes of several threads go together. A thread that comes while others are being sent waits until one of the
 * batches under way has ended; then one of those who wait sends for all of them. So a batch is as large as
 * the server is busy, and a push that is alone goes at once.
 *
 * Lock order: the queue's push_lock, alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "redis_queue.h"

#define BATCH_MAX 64

/* Under way at a time: one that Redis works on, and one that is being put together. */
#define BATCHES_MAX 2

enum request_state { WAITING, SENT, DECIDED };

/* One call, on the stack of its thread. */
struct request {
    struct request *next; /* of those that wait, or of its batch */
    const char *topic, *id;
    uint32_t delay_ms;
    enum request_state state;
    struct batch *batch; /* while it is SENT */
    pthread_cond_t changed;
    bool refused; /* the queue is full */
    struct store_error error; /* code VIM_OK, or why not */
};

/* Calls that go together; on the stack of the thread that sends them. */
struct batch {
    struct request *requests;
    char topic[TOPIC_NAME_MAX + 1];
    uint32_t count;
    char ids[BATCH_MAX][ENTRY_ID_MAX + 1];
    char delays[BATCH_MAX][12];
};

static void append(struct request **list, struct request *request)
{
    while (*list)
        list = &(*list)->next;
    request->next = NULL;
    *list = request;
}

static void unlink_from(struct request **list, const struct request *request)
{
    while (*list && *list != request)
        list = &(*list)->next;
    if (*list)
        *list = request->next;
}

/* Takes from those that wait the first, and all of the same topic that there is room for. */
static void fill(struct queue *queue, struct batch *batch)
{
    struct request **list = &queue->pushes;

    snprintf(batch->topic, sizeof batch->topic, "%s", (*list)->topic);
    while (*list && batch->count < BATCH_MAX) {
        struct request *request = *list;

        if (strcmp(request->topic, batch->topic) != 0) {
            list = &request->next;
            continue;
        }
        *list = request->next;
        snprintf(batch->ids[batch->count], sizeof batch->ids[0], "%s", request->id);
        snprintf(batch->delays[batch->count], sizeof batch->delays[0], "%u", request->delay_ms);
        batch->count++;
        request->state = SENT;
        request->batch = batch;
        append(&batch->requests, request);
    }
}

static int send_batch(struct vim_call *call, struct queue *queue, const struct batch *batch,
                      redisReply **ret_reply, struct store_error *ret_error)
{
    const char *arguments[1 + 2 * BATCH_MAX];
    char capacity[24];
    int count = 0;

    snprintf(capacity, sizeof capacity, "%lld", (long long)queue->config->capacity);
    arguments[count++] = capacity;
    for (uint32_t i = 0; i < batch->count; i++) {
        arguments[count++] = batch->ids[i];
        arguments[count++] = batch->delays[i];
    }
    return connection_script(call, queue, SCRIPT_PUSH, batch->topic, count, arguments, true,
                             ret_reply, ret_error);
}

static bool was_refused(const redisReply *reply, const char *id, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        if (reply && i < reply->elements && strcmp(batch->ids[i], id) == 0)
            return reply->element[i]->integer == 0;
    return false;
}

/* Tells those who wait for the batch. Called with the lock held. If it failed because the time of the thread
 * that sent it, MINE, was up, the others go back to those that wait: they have their own. */
static void decide(struct queue *queue, struct batch *batch, const struct request *mine,
                   bool out_of_time, const redisReply *reply, const struct store_error *error)
{
    while (batch->requests) {
        struct request *request = batch->requests;

        batch->requests = request->next;
        request->batch = NULL;
        if (error->code < 0 && out_of_time && request != mine) {
            request->state = WAITING;
            append(&queue->pushes, request);
            continue;
        }
        request->state = DECIDED;
        request->error = *error;
        request->refused = error->code == VIM_OK && was_refused(reply, request->id, batch);
        if (request->refused)
            store_error_set(&request->error, VIM_E_BUSY, "the queue is full (option capacity)");
        if (request != mine)
            pthread_cond_signal(&request->changed);
    }
}

/* Sends a batch. Called with the lock held, which is given up meanwhile. */
static void lead(struct vim_call *call, struct queue *queue, const struct request *mine)
{
    struct batch batch;
    redisReply *reply = NULL;
    struct store_error error = {0};

    batch.requests = NULL;
    batch.count = 0;
    fill(queue, &batch);
    queue->pushing++;
    pthread_mutex_unlock(&queue->push_lock);
    error.code = send_batch(call, queue, &batch, &reply, &error);
    pthread_mutex_lock(&queue->push_lock);
    queue->pushing--;
    decide(queue, &batch, mine, queue->host->left_ms(call) <= 0, reply, &error);
    if (queue->pushes)
        pthread_cond_signal(&queue->pushes->changed);
    if (reply)
        freeReplyObject(reply);
}

static void await(struct queue *queue, struct request *request)
{
    int64_t until = pool_now() + CANCEL_CHECK_MS;
    struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    pthread_cond_clockwait(&request->changed, &queue->push_lock, CLOCK_MONOTONIC, &time);
}

static int push(struct vim_call *call, struct queue *queue, struct request *request)
{
    pthread_mutex_lock(&queue->push_lock);
    append(&queue->pushes, request);
    while (request->state != DECIDED) {
        if (request->state == WAITING && queue->pushing < BATCHES_MAX) {
            lead(call, queue, request);
            continue;
        }
        await(queue, request);
        if (request->state == DECIDED || queue->host->left_ms(call) > 0)
            continue;
        store_error_set(&request->error, request->state == SENT ? VIM_E_TIMEOUT : VIM_E_BUSY,
                        "redis: no time left");
        unlink_from(request->batch ? &request->batch->requests : &queue->pushes, request);
        request->state = DECIDED;
        if (queue->pushes) /* what this one was told is for another */
            pthread_cond_signal(&queue->pushes->changed);
    }
    pthread_mutex_unlock(&queue->push_lock);
    return request->error.code;
}

int queue_push(struct vim_call *call, void *instance, const char *topic, const char *id,
               uint32_t delay_ms)
{
    struct queue *queue = instance;
    struct request request = {
        .topic = topic, .id = id, .delay_ms = delay_ms, .changed = PTHREAD_COND_INITIALIZER};
    int code = queue_refuse_names(call, queue, topic, id, true);

    if (code < 0)
        return code;
    code = push(call, queue, &request);
    if (code == VIM_E_BUSY && request.refused && out_tell_all(queue)) {
        /* There may be room now. */
        request.state = WAITING;
        code = push(call, queue, &request);
    }
    pthread_cond_destroy(&request.changed);
    return code == VIM_OK ? VIM_OK : queue->host->fail(call, code, 0, request.error.text);
}
