#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "redis_queue.h"

/* A script has its name, the number of keys, the keys, and up to so many arguments. */
#define ARGUMENTS_MAX 160

static const char *const key_names[KEY_COUNT] = {
    [KEY_STREAM] = "stream",   [KEY_WAITING] = "waiting", [KEY_LEASES] = "leases",
    [KEY_DELAYED] = "delayed", [KEY_IDLE] = "idle",
};

void topic_channel(const struct queue *queue, const char *name, char ret_channel[KEY_MAX])
{
    snprintf(ret_channel, KEY_MAX, "%s:{%s}:wake", queue->config->prefix, name);
}

static int code_of_reply(const char *said)
{
    static const struct {
        const char *prefix;
        int code;
    } known[] = {
        {"OOM", VIM_E_BUSY},
        {"BUSY", VIM_E_BUSY}, /* a script of somebody's runs on and on */
        {"ERR max number of clients", VIM_E_BUSY},
        {"LOADING", VIM_E_UNAVAILABLE},
        {"READONLY", VIM_E_UNAVAILABLE}, /* a replica: the primary is elsewhere */
        {"MASTERDOWN", VIM_E_UNAVAILABLE},
        {"MISCONF", VIM_E_UNAVAILABLE}, /* cannot write its files */
        {"NOAUTH", VIM_E_CREDENTIAL},
        {"WRONGPASS", VIM_E_CREDENTIAL},
        {"ERR invalid password", VIM_E_CREDENTIAL},
        {"ERR AUTH", VIM_E_CREDENTIAL},
        {"ERR Client sent AUTH", VIM_E_CREDENTIAL},
        {"NOPERM", VIM_E_DENIED},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(said, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].code;
    return VIM_E_INTERNAL;
}

static int broke(const redisContext *redis, struct store_error *ret_error)
{
    return store_error_set(ret_error, VIM_E_LOST, "redis: %.200s",
                           redis->err ? redis->errstr : "the connection broke");
}

/* Sends what is in the context's buffer and reads one reply. */
static int exchange(struct vim_call *call, struct queue *queue, redisContext *redis,
                    int64_t deadline, redisReply **ret_reply, struct store_error *ret_error)
{
    void *reply = NULL;
    int sent = 0;

    while (!sent) {
        if (redisBufferWrite(redis, &sent) != REDIS_OK)
            return broke(redis, ret_error);
        if (!sent && !pool_await_socket(call, queue->host, redis->fd, true, true, deadline))
            return store_error_set(ret_error, VIM_E_TIMEOUT, "redis: no time left");
    }
    for (;;) {
        if (redisGetReplyFromReader(redis, &reply) != REDIS_OK)
            return broke(redis, ret_error);
        if (reply) {
            *ret_reply = reply;
            return VIM_OK;
        }
        if (!pool_await_socket(call, queue->host, redis->fd, true, false, deadline))
            return store_error_set(ret_error, VIM_E_TIMEOUT, "redis: no answer in time");
        if (redisBufferRead(redis) != REDIS_OK)
            return broke(redis, ret_error);
    }
}

int connection_command(struct vim_call *call, struct queue *queue, redisContext *redis,
                       int64_t deadline, int count, const char **arguments, redisReply **ret_reply,
                       struct store_error *ret_error)
{
    redisReply *reply = NULL;
    int code;

    if (redisAppendCommandArgv(redis, count, arguments, NULL) != REDIS_OK)
        return broke(redis, ret_error);
    code = exchange(call, queue, redis, deadline, &reply, ret_error);
    if (code == VIM_OK && reply->type == REDIS_REPLY_ERROR) {
        code = store_error_set(ret_error, code_of_reply(reply->str), "redis: %.300s", reply->str);
        freeReplyObject(reply);
        reply = NULL;
    }
    if (code == VIM_OK && ret_reply)
        *ret_reply = reply;
    else if (reply)
        freeReplyObject(reply);
    return code;
}

static int await_connected(struct vim_call *call, struct queue *queue, redisContext *redis,
                           int64_t deadline, struct store_error *ret_error)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (redis->err)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "redis: %.200s", redis->errstr);
    if (!pool_await_socket(call, queue->host, redis->fd, false, true, deadline))
        return store_error_set(ret_error, VIM_E_UNAVAILABLE,
                               "redis: no connection to %.200s in time", queue->host_name);
    if (getsockopt(redis->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "redis: %.200s: %s", queue->host_name,
                               strerror(error));
    redis->flags |= REDIS_CONNECTED;
    if (queue->port)
        redisEnableKeepAlive(redis);
    pool_tell_connection(queue->host, queue->self, redis->fd, true);
    return VIM_OK;
}

static int log_in(struct vim_call *call, struct queue *queue, redisContext *redis, int64_t deadline,
                  struct store_error *ret_error)
{
    const struct queue_config *config = queue->config;
    char database[16];
    const char *with_user[] = {"AUTH", config->username, config->password};
    const char *without[] = {"AUTH", config->password};
    const char *select[] = {"SELECT", database};
    int code = VIM_OK;

    snprintf(database, sizeof database, "%lld", (long long)config->database);
    if (config->password && config->username)
        code = connection_command(call, queue, redis, deadline, 3, with_user, NULL, ret_error);
    else if (config->password)
        code = connection_command(call, queue, redis, deadline, 2, without, NULL, ret_error);
    if (code == VIM_OK && config->database)
        code = connection_command(call, queue, redis, deadline, 2, select, NULL, ret_error);
    /* What the server says to one client too many comes instead of an answer, before it hangs up. */
    return code == VIM_E_LOST ? ret_error->code = VIM_E_UNAVAILABLE : code;
}

void connection_end(struct queue *queue, redisContext *redis)
{
    pool_tell_connection(queue->host, queue->self, redis->fd, false);
    redisFree(redis);
}

int connection_login(struct vim_call *call, struct queue *queue, int64_t deadline,
                     redisContext **ret_redis, struct store_error *ret_error)
{
    redisContext *redis = queue->port ? redisConnectNonBlock(queue->host_name, queue->port)
                                      : redisConnectUnixNonBlock(queue->host_name);
    int code;

    if (!redis)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    code = await_connected(call, queue, redis, deadline, ret_error);
    if (code == VIM_OK)
        code = log_in(call, queue, redis, deadline, ret_error);
    if (code < 0)
        connection_end(queue, redis);
    else
        *ret_redis = redis;
    return code;
}

static int load_scripts(struct vim_call *call, struct queue *queue, struct connection *connection,
                        int64_t deadline, struct store_error *ret_error)
{
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        const char *load[] = {"SCRIPT", "LOAD", script_text((enum script)i)};
        redisReply *reply = NULL;
        int code = connection_command(call, queue, connection->redis, deadline, 3, load, &reply,
                                      ret_error);

        if (code < 0)
            return code;
        snprintf(connection->scripts[i], SHA_LENGTH + 1, "%s", reply->str ? reply->str : "");
        freeReplyObject(reply);
    }
    return VIM_OK;
}

int connection_open(struct vim_call *call, struct pool *pool, int64_t deadline,
                    struct pooled **ret_connection, struct store_error *ret_error)
{
    struct queue *queue = (struct queue *)pool;
    struct connection *connection = calloc(1, sizeof *connection);
    int code;

    if (!connection)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    connection->queue = queue;
    code = connection_login(call, queue, deadline, &connection->redis, ret_error);
    if (code == VIM_OK)
        code = load_scripts(call, queue, connection, deadline, ret_error);
    if (code < 0) {
        connection_close(&connection->pooled);
        /* Nothing of the caller's was sent yet. */
        return VIM_IS_UNKNOWN(code) ? ret_error->code = VIM_E_UNAVAILABLE : code;
    }
    *ret_connection = &connection->pooled;
    return VIM_OK;
}

void connection_close(struct pooled *pooled)
{
    struct connection *connection = (struct connection *)pooled;

    if (connection->redis)
        connection_end(connection->queue, connection->redis);
    free(connection);
}

/* Nothing is to be read on an idle connection but its end. */
bool connection_alive(struct pooled *pooled)
{
    struct connection *connection = (struct connection *)pooled;
    struct pollfd file = {.fd = connection->redis->fd, .events = POLLIN};

    return !connection->redis->err && poll(&file, 1, 0) == 0;
}

static int run_script(struct vim_call *call, struct queue *queue, struct connection *connection,
                      enum script script, int count, const char **arguments, redisReply **ret_reply,
                      struct store_error *ret_error)
{
    int64_t deadline = pool_now() + queue->config->timeout;
    int code;

    arguments[0] = "EVALSHA";
    arguments[1] = connection->scripts[script];
    code = connection_command(call, queue, connection->redis, deadline, count, arguments, ret_reply,
                              ret_error);
    if (code == VIM_E_INTERNAL && strstr(ret_error->text, "NOSCRIPT")) {
        arguments[0] = "EVAL";
        arguments[1] = script_text(script);
        code = connection_command(call, queue, connection->redis, deadline, count, arguments,
                                  ret_reply, ret_error);
    }
    if (VIM_IS_UNKNOWN(code) || code == VIM_E_UNAVAILABLE)
        connection->pooled.broken = true;
    return code;
}

int connection_script(struct vim_call *call, struct queue *queue, enum script script,
                      const char *name, int count, const char *const *arguments, bool repeat,
                      redisReply **ret_reply, struct store_error *ret_error)
{
    const char *all[3 + KEY_COUNT + ARGUMENTS_MAX];
    char keys[KEY_COUNT][KEY_MAX], channel[KEY_MAX];
    int code, used = 2;

    all[used++] = "5";
    for (int i = 0; i < KEY_COUNT; i++) {
        snprintf(keys[i], KEY_MAX, "%s:{%s}:%s", queue->config->prefix, name, key_names[i]);
        all[used++] = keys[i];
    }
    topic_channel(queue, name, channel);
    all[used++] = channel;
    for (int i = 0; i < count; i++)
        all[used++] = arguments[i];
    do {
        struct pooled *connection = NULL;

        code = pool_borrow(call, &queue->pool, true, &connection, ret_error);
        if (code < 0)
            return code;
        code = run_script(call, queue, (struct connection *)connection, script, used, all,
                          ret_reply, ret_error);
        pool_return(connection);
        if (code != VIM_E_LOST || !repeat)
            return code;
        repeat = false;
    } while (!call || queue->host->left_ms(call) > 0);
    return code;
}
