/*
 * What this instance has out for delivery, and what has ended.
 *
 * Which entry of the stream an id is, only who took it has to know: so that is remembered here, and not in
 * Redis. What another instance took is looked for there, which is rare and slow.
 *
 * That an entry has ended is told to Redis with the next pull, which follows soon where there is work; else the
 * listener tells it after a moment. What a process takes with it when it is killed meanwhile is
 * delivered once more when its lease ends.
 *
 * Lock order: the queue's out_lock, alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_queue.h"

/* How long an entry is remembered after its lease. */
#define FORGET_AFTER_MS 60000

struct out {
    struct out *next;
    int64_t ends; /* of the lease, on pool_now() */
    char entry[ENTRY_MAX];
    char topic[TOPIC_NAME_MAX + 1];
    char id[];
};

void member_write(const char *entry, const char *id, char ret_member[MEMBER_MAX])
{
    char both[MEMBER_MAX];

    snprintf(both, sizeof both, "%s %s", entry, id);
    snprintf(ret_member, MEMBER_MAX, "%-*s", MEMBER_MIN, both);
}

static struct out **bucket_of(struct queue *queue, const char *topic, const char *id)
{
    uint32_t hash = 2166136261u;

    for (const char *c = topic; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &queue->out[hash % OUT_BUCKETS];
}

/* Where the first one of ID is in its bucket, or the end of it. */
static struct out **find(struct queue *queue, const char *topic, const char *id)
{
    struct out **at = bucket_of(queue, topic, id);

    while (*at && (strcmp((*at)->id, id) != 0 || strcmp((*at)->topic, topic) != 0))
        at = &(*at)->next;
    return at;
}

/* Takes ENTRY of ID out of its bucket: it may have come back to this instance after its lease. */
static void forget_entry(struct out **at, const char *topic, const char *id, const char *entry)
{
    for (; *at; at = &(*at)->next) {
        struct out *out = *at;

        if (strcmp(out->entry, entry) != 0 || strcmp(out->id, id) != 0 ||
            strcmp(out->topic, topic) != 0)
            continue;
        *at = out->next;
        free(out);
        return;
    }
}

static void forget_old(struct out **at, int64_t now)
{
    while (*at) {
        struct out *out = *at;

        if (out->ends + FORGET_AFTER_MS > now) {
            at = &out->next;
            continue;
        }
        *at = out->next;
        free(out);
    }
}

void out_add(struct queue *queue, const char *topic, const char *id, const char *entry,
             uint32_t lease_ms)
{
    size_t length = strlen(id) + 1;
    struct out *out = malloc(sizeof *out + length), **bucket = bucket_of(queue, topic, id);
    int64_t now = pool_now();

    if (!out)
        return; /* then it is looked for in Redis */
    out->ends = now + lease_ms;
    snprintf(out->entry, sizeof out->entry, "%s", entry);
    snprintf(out->topic, sizeof out->topic, "%s", topic);
    memcpy(out->id, id, length);
    pthread_mutex_lock(&queue->out_lock);
    forget_old(bucket, now);
    forget_entry(bucket, topic, id, entry);
    out->next = *bucket;
    *bucket = out;
    pthread_mutex_unlock(&queue->out_lock);
}

bool out_extend(struct queue *queue, const char *topic, const char *id, uint32_t lease_ms,
                char ret_entry[ENTRY_MAX])
{
    struct out *out;

    pthread_mutex_lock(&queue->out_lock);
    out = *find(queue, topic, id);
    if (out) {
        out->ends = pool_now() + lease_ms;
        memcpy(ret_entry, out->entry, ENTRY_MAX);
    }
    pthread_mutex_unlock(&queue->out_lock);
    return out;
}

bool out_end(struct queue *queue, struct topic *topic, const char *id, bool *ret_full)
{
    struct out **at, *out;
    bool arm = false;

    pthread_mutex_lock(&queue->out_lock);
    at = find(queue, topic->name, id);
    out = *at;
    if (out) {
        struct ended *ended = &topic->ended;

        *at = out->next;
        if (ended->count < ENDED_MAX) {
            memcpy(ended->entries[ended->count], out->entry, ENTRY_MAX);
            member_write(out->entry, id, ended->members[ended->count++]);
        }
        *ret_full = ended->count == ENDED_MAX;
        arm = !queue->telling;
        queue->telling = true;
    }
    pthread_mutex_unlock(&queue->out_lock);
    free(out);
    if (arm)
        listener_wake(queue);
    return out;
}

void out_ended(struct queue *queue, struct topic *topic, struct ended *ret_ended)
{
    pthread_mutex_lock(&queue->out_lock);
    ret_ended->count = topic->ended.count;
    for (uint32_t i = 0; i < ret_ended->count; i++) {
        memcpy(ret_ended->entries[i], topic->ended.entries[i], ENTRY_MAX);
        snprintf(ret_ended->members[i], MEMBER_MAX, "%s", topic->ended.members[i]);
    }
    topic->ended.count = 0;
    topic->tells++;
    pthread_mutex_unlock(&queue->out_lock);
}

void out_told(struct queue *queue, struct topic *topic)
{
    pthread_mutex_lock(&queue->out_lock);
    topic->told++;
    pthread_cond_broadcast(&queue->told);
    pthread_mutex_unlock(&queue->out_lock);
}

/* Waits until as many have told as have begun to. */
static void await_told(struct queue *queue, struct topic *topic)
{
    int64_t end = pool_now() + queue->config->timeout;
    struct timespec time = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    uint64_t tells;

    pthread_mutex_lock(&queue->out_lock);
    tells = topic->tells;
    while (topic->told < tells)
        if (pthread_cond_clockwait(&queue->told, &queue->out_lock, CLOCK_MONOTONIC, &time) != 0)
            break;
    pthread_mutex_unlock(&queue->out_lock);
}

int out_arguments(const struct ended *ended, char count[16], const char **ret_arguments)
{
    int used = 0;

    snprintf(count, 16, "%u", ended->count);
    ret_arguments[used++] = count;
    for (uint32_t i = 0; i < ended->count; i++)
        ret_arguments[used++] = ended->entries[i];
    for (uint32_t i = 0; i < ended->count; i++)
        ret_arguments[used++] = ended->members[i];
    return used;
}

int out_tell(struct vim_call *call, struct queue *queue, struct topic *topic,
             struct store_error *ret_error)
{
    const char *arguments[1 + 2 * ENDED_MAX];
    struct ended ended;
    char count[16];
    int code = VIM_OK;

    out_ended(queue, topic, &ended);
    if (ended.count > 0) {
        int used = out_arguments(&ended, count, arguments);

        code = connection_script(call, queue, SCRIPT_DONE, topic->name, used, arguments, true, NULL,
                                 ret_error);
    }
    out_told(queue, topic);
    await_told(queue, topic);
    return code;
}

bool out_tell_all(struct queue *queue)
{
    struct topic *topic;
    struct store_error ignored; /* then they come back when their leases end */
    bool any = false;

    pthread_mutex_lock(&queue->lock);
    topic = queue->topics; /* only ever added to, at this end */
    pthread_mutex_unlock(&queue->lock);
    pthread_mutex_lock(&queue->out_lock);
    for (struct topic *at = topic; at; at = at->next)
        any |= at->ended.count > 0 || at->told < at->tells;
    queue->telling = any;
    pthread_mutex_unlock(&queue->out_lock);
    for (; any && topic; topic = topic->next)
        out_tell(NULL, queue, topic, &ignored);
    return any;
}

void out_clear(struct queue *queue)
{
    for (size_t i = 0; i < OUT_BUCKETS; i++)
        forget_old(&queue->out[i], INT64_MAX);
}
