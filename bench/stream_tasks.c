/*
 * The reference for queue_tasks: the least that a producer and a consumer of a Redis stream can do, with
 * hiredis: XADD; XREADGROUP of up to 8 and one XACK and XDEL for each. No leases, no delays, no reclaim, no
 * reconnecting.
 *
 *     stream_tasks produce|consume COUNT THREADS
 *
 * Environment, input and output as of queue_tasks.
 */
#include <hiredis.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 256

static unsigned count;
static atomic_uint next, done;
static pthread_barrier_t connected, begin;

static redisReply *must(redisContext *redis, const char *format, ...)
{
    va_list arguments;
    redisReply *reply;

    va_start(arguments, format);
    reply = redisvCommand(redis, format, arguments);
    va_end(arguments);
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "stream_tasks: %s: %s\n", format, reply ? reply->str : redis->errstr);
        exit(1);
    }
    return reply;
}

static redisContext *connect_to(void)
{
    redisContext *redis = redisConnect("127.0.0.1", atoi(getenv("PORT")));

    if (!redis || redis->err) {
        fprintf(stderr, "stream_tasks: no connection\n");
        exit(1);
    }
    freeReplyObject(must(redis, "AUTH %s", getenv("REDISCLI_AUTH")));
    return redis;
}

static void *produce(void *context)
{
    redisContext *redis = connect_to();
    unsigned number;

    pthread_barrier_wait(&connected);
    pthread_barrier_wait(&begin);
    while ((number = atomic_fetch_add(&next, 1)) < count)
        freeReplyObject(must(redis, "XADD bench-stream * i task-%u", number));
    redisFree(redis);
    return context;
}

static void *consume(void *context)
{
    redisContext *redis = connect_to();

    pthread_barrier_wait(&connected);
    pthread_barrier_wait(&begin);
    while (atomic_load(&done) < count) {
        redisReply *reply =
            must(redis, "XREADGROUP GROUP g %lu COUNT 8 BLOCK 100 STREAMS bench-stream >",
                 (unsigned long)redis->fd);
        redisReply *entries =
            reply->type == REDIS_REPLY_ARRAY ? reply->element[0]->element[1] : NULL;

        for (size_t i = 0; entries && i < entries->elements; i++) {
            const char *id = entries->element[i]->element[0]->str;

            freeReplyObject(must(redis, "XACK bench-stream g %s", id));
            freeReplyObject(must(redis, "XDEL bench-stream %s", id));
            atomic_fetch_add(&done, 1);
        }
        freeReplyObject(reply);
    }
    redisFree(redis);
    return context;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    int number = argc == 4 ? atoi(argv[3]) : 0;
    bool produces;

    if (number < 1 || number > THREADS_MAX || !getenv("PORT") || !getenv("REDISCLI_AUTH")) {
        fprintf(stderr, "usage: stream_tasks produce|consume COUNT THREADS\n");
        return 2;
    }
    produces = strcmp(argv[1], "produce") == 0;
    count = (unsigned)atoi(argv[2]);
    if (!produces) {
        redisContext *redis = connect_to();

        freeReplyObject(must(redis, "XGROUP CREATE bench-stream g 0 MKSTREAM"));
        redisFree(redis);
    }
    pthread_barrier_init(&connected, NULL, (unsigned)number + 1);
    pthread_barrier_init(&begin, NULL, (unsigned)number + 1);
    for (int i = 0; i < number; i++)
        pthread_create(&threads[i], NULL, produces ? produce : consume, NULL);
    pthread_barrier_wait(&connected);
    printf("ready\n");
    fflush(stdout);
    if (produces)
        getchar();
    pthread_barrier_wait(&begin);
    for (int i = 0; i < number; i++)
        pthread_join(threads[i], NULL);
    printf(produces ? "pushed\n" : "done\n");
    return 0;
}
