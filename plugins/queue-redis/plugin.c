/*
 * queue-redis - entries in Redis or Valkey, for several machines. What Redis loses, vimd's sweep of the
 * store finds again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vim/sdk.h>

#include "redis_queue.h"

#define BACKOFF_MAX_MS 1000

static const struct vim_option options[] = {
    VIM_OPTION_TEXT(
        struct queue_config, address, 0, "127.0.0.1:6379",
        "HOST, HOST:PORT, [IPV6]:PORT or the path of a unix socket. The connection is not "
        "encrypted: on a network that others see, put a TLS tunnel between."),
    VIM_OPTION_TEXT(struct queue_config, username, 0, NULL,
                    "User of Redis's access control lists; left out: the default user."),
    VIM_OPTION_TEXT(struct queue_config, password, VIM_SECRET, NULL,
                    "Password of the user; left out: no login."),
    VIM_OPTION_INTEGER(struct queue_config, database, 0, "0", 0, 65535,
                       "Number of the database to select."),
    VIM_OPTION_TEXT(struct queue_config, prefix, 0, "vimd",
                    "Beginning of all keys and channels, 1..32 characters of a-z 0-9 - _; services "
                    "that share a Redis need one each."),
    VIM_OPTION_INTEGER(
        struct queue_config, capacity, 0, "1000000", 1, 100000000,
        "Entries of one topic at most, some 300 bytes each; a push beyond is refused "
        "as busy, and the sweep of the store delivers it later."),
    VIM_OPTION_INTEGER(struct queue_config, connections, 0, "16", 1, 1000,
                       "Connections of this instance at most, made when needed, and one more to "
                       "listen. Calls beyond wait for one."),
    VIM_OPTION_DURATION(
        struct queue_config, timeout, 0, "2s", 50, 60000,
        "How long a call waits for Redis to answer, or to come back, before it fails."),
};

static bool valid_port(const char *text)
{
    return strlen(text) > 0 && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
           atoi(text) >= 1 && atoi(text) <= 65535;
}

/* Splits the address. False if it is none. */
static bool set_address(struct queue *queue, const char *address)
{
    const char *port = strrchr(address, ':');
    size_t length = strlen(address);

    if (address[0] == '/') {
        snprintf(queue->host_name, sizeof queue->host_name, "%s", address);
        return length < 100;
    }
    if (port && (strchr(address, ':') == port || port[-1] == ']')) {
        if (!valid_port(port + 1))
            return false;
        queue->port = atoi(port + 1);
        length = (size_t)(port - address);
    } else {
        queue->port = 6379;
    }
    if (length > 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof queue->host_name || memchr(address, ' ', length))
        return false;
    snprintf(queue->host_name, sizeof queue->host_name, "%.*s", (int)length, address);
    return true;
}

static bool is_local(const struct queue *queue)
{
    return queue->port == 0 || strcmp(queue->host_name, "localhost") == 0 ||
           strcmp(queue->host_name, "::1") == 0 || strncmp(queue->host_name, "127.", 4) == 0;
}

static int check_config(struct queue *queue, struct store_error *ret_error)
{
    const struct queue_config *config = queue->config;

    if (!set_address(queue, config->address))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "address: \"%.100s\" is not HOST, HOST:PORT or a path",
                               config->address);
    if (!limits_collection(config->prefix))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "prefix: is not 1..32 characters of a-z 0-9 - _");
    if (config->username && !config->password)
        return store_error_set(ret_error, VIM_E_INVALID, "username: goes with `password`");
    if (config->password && !is_local(queue))
        queue->host->log(queue->self, VIM_WARNING,
                         "the password and all entries go over the network unencrypted", NULL);
    return VIM_OK;
}

static void name_consumer(struct queue *queue)
{
    const char *instance = queue->host->about(queue->self, "instance");
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(queue->consumer, sizeof queue->consumer, "%s-%ld-%.40s", host, (long)getpid(),
             instance ? instance : "queue");
}

static void queue_free(struct queue *queue)
{
    while (queue->topics) {
        struct topic *topic = queue->topics;

        queue->topics = topic->next;
        pthread_cond_destroy(&topic->changed);
        free(topic);
    }
    pool_clear(&queue->pool);
    pthread_mutex_destroy(&queue->lock);
    pthread_mutex_destroy(&queue->push_lock);
    pthread_mutex_destroy(&queue->out_lock);
    pthread_cond_destroy(&queue->told);
    out_clear(queue);
    if (queue->wake_fd >= 0)
        close(queue->wake_fd);
    free(queue);
}

static int queue_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct queue *queue = calloc(1, sizeof *queue);
    struct store_error error = {0};

    if (!queue)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    queue->host = host;
    queue->self = self;
    queue->config = config;
    queue->pool.settings = (struct pool_settings){
        .host = host,
        .self = self,
        .connections = queue->config->connections,
        .connect_timeout = queue->config->timeout,
        .backoff_max = BACKOFF_MAX_MS,
        .open = connection_open,
        .close = connection_close,
        .alive = connection_alive,
    };
    pthread_mutex_init(&queue->lock, NULL);
    pthread_mutex_init(&queue->push_lock, NULL);
    pthread_mutex_init(&queue->out_lock, NULL);
    pthread_cond_init(&queue->told, NULL);
    queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool_init(&queue->pool) < 0 || queue->wake_fd < 0)
        store_error_set(&error, VIM_E_UNAVAILABLE, "out of memory, or of file descriptors");
    else
        check_config(queue, &error);
    if (error.code < 0) {
        queue_free(queue);
        return host->fail(call, error.code, 0, error.text);
    }
    name_consumer(queue);
    *ret_instance = queue;
    return VIM_OK;
}

static void queue_close(void *instance)
{
    struct queue *queue = instance;

    listener_stop(queue);
    out_tell_all(queue);
    queue_free(queue);
}

/* The member of the leases for an id that another instance took; VIM_E_NOT_FOUND if nobody has. */
static int find_member(struct vim_call *call, struct queue *queue, const char *name, const char *id,
                       char ret_entry[ENTRY_MAX], struct store_error *ret_error)
{
    const char *arguments[] = {id};
    redisReply *reply = NULL;
    struct topic *topic = queue_topic(queue, name);
    int code = topic ? out_tell(call, queue, topic, ret_error) : VIM_OK;

    if (code == VIM_OK)
        code = connection_script(call, queue, SCRIPT_FIND, name, 1, arguments, true, &reply,
                                 ret_error);
    if (code == VIM_OK && reply->type == REDIS_REPLY_STRING)
        snprintf(ret_entry, ENTRY_MAX, "%s", reply->str);
    else if (code == VIM_OK)
        code = store_error_set(ret_error, VIM_E_NOT_FOUND, "not out for delivery");
    if (reply)
        freeReplyObject(reply);
    return code;
}

static int queue_renew(struct vim_call *call, void *instance, const char *name, const char *id,
                       uint32_t lease_ms)
{
    struct queue *queue = instance;
    int code = queue_refuse_names(call, queue, name, id, true);
    char lease[16], entry[ENTRY_MAX], member[MEMBER_MAX];
    const char *arguments[] = {member, lease};
    redisReply *reply = NULL;
    struct store_error error;

    if (code < 0)
        return code;
    if (!out_extend(queue, name, id, lease_ms, entry))
        code = find_member(call, queue, name, id, entry, &error);
    if (code == VIM_OK) {
        member_write(entry, id, member);
        snprintf(lease, sizeof lease, "%u", lease_ms);
        code =
            connection_script(call, queue, SCRIPT_RENEW, name, 2, arguments, true, &reply, &error);
    }
    if (code == VIM_OK && reply->integer == 0)
        code = store_error_set(&error, VIM_E_NOT_FOUND, "not out for delivery");
    if (reply)
        freeReplyObject(reply);
    return code == VIM_OK ? VIM_OK : queue->host->fail(call, code, 0, error.text);
}

/* Ends what another instance took. */
static int end_foreign(struct vim_call *call, struct queue *queue, const char *name, const char *id,
                       struct store_error *ret_error)
{
    char entry[ENTRY_MAX], member[MEMBER_MAX];
    const char *arguments[] = {"1", entry, member};
    int code = find_member(call, queue, name, id, entry, ret_error);

    if (code < 0)
        return code == VIM_E_NOT_FOUND ? VIM_OK : code;
    member_write(entry, id, member);
    return connection_script(call, queue, SCRIPT_DONE, name, 3, arguments, true, NULL, ret_error);
}

static int queue_done(struct vim_call *call, void *instance, const char *name, const char *id)
{
    struct queue *queue = instance;
    int code = queue_refuse_names(call, queue, name, id, true);
    struct topic *topic;
    struct store_error error;
    bool full = false;

    if (code < 0)
        return code;
    topic = queue_topic(queue, name);
    if (!topic || !out_end(queue, topic, id, &full))
        code = end_foreign(call, queue, name, id, &error);
    else if (full)
        code = out_tell(call, queue, topic, &error);
    return code == VIM_OK ? VIM_OK : queue->host->fail(call, code, 0, error.text);
}

static int queue_depth(struct vim_call *call, void *instance, const char *name)
{
    struct queue *queue = instance;
    int code = queue_refuse_names(call, queue, name, NULL, false);
    char body[160];
    struct vim_item item = {.size = sizeof item, .kind = name, .body = body};
    redisReply *reply = NULL;
    struct store_error error;

    if (code < 0)
        return code;
    out_tell_all(queue);
    code = connection_script(call, queue, SCRIPT_DEPTH, name, 0, NULL, true, &reply, &error);
    if (code < 0)
        return queue->host->fail(call, code, 0, error.text);
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 4) {
        snprintf(body, sizeof body,
                 "{\"waiting\":%lld,\"delayed\":%lld,\"delivered\":%lld,\"oldest_ms\":%lld}",
                 reply->element[0]->integer, reply->element[1]->integer, reply->element[2]->integer,
                 reply->element[3]->integer);
        queue->host->emit(call, &item);
    }
    freeReplyObject(reply);
    return VIM_OK;
}

/* The value of a line NAME:VALUE in the answer to INFO; "" if there is none. */
static void read_fact(const char *info, const char *name, char *ret_value, size_t size)
{
    size_t length = strlen(name);

    ret_value[0] = '\0';
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            snprintf(ret_value, size, "%.*s", (int)strcspn(line + length + 1, "\r\n\"\\"),
                     line + length + 1);
            return;
        }
    }
}

/* A queue that evicts keys under memory pressure loses parts of a topic. */
static void tell_facts(struct vim_call *call, struct queue *queue, const char *info)
{
    char version[32], valkey[32], role[16], policy[32], body[256];
    struct vim_item item = {.size = sizeof item, .kind = "vim", .id = "queue", .body = body};

    read_fact(info, "redis_version", version, sizeof version);
    read_fact(info, "valkey_version", valkey, sizeof valkey);
    read_fact(info, "role", role, sizeof role);
    read_fact(info, "maxmemory_policy", policy, sizeof policy);
    if (policy[0] && strcmp(policy, "noeviction") != 0)
        vim_log(queue->host, queue->self, VIM_WARNING, "Redis may evict entries",
                "maxmemory_policy=%s", policy);
    snprintf(body, sizeof body, "{\"%s\":\"%s\",\"role\":\"%s\",\"maxmemory_policy\":\"%s\"}",
             valkey[0] ? "valkey" : "redis", valkey[0] ? valkey : version, role, policy);
    queue->host->emit(call, &item);
}

static int queue_probe(struct vim_call *call, void *instance)
{
    struct queue *queue = instance;
    const char *info[] = {"INFO"};
    struct pooled *connection = NULL;
    redisReply *reply = NULL;
    struct store_error error;
    int code = pool_borrow(call, &queue->pool, true, &connection, &error);

    if (code == VIM_OK) {
        code = connection_command(call, queue, ((struct connection *)connection)->redis,
                                  pool_now() + queue->config->timeout, 1, info, &reply, &error);
        connection->broken = VIM_IS_UNKNOWN(code);
        pool_return(connection);
    }
    if (code < 0)
        return queue->host->fail(call, VIM_IS_UNKNOWN(code) ? VIM_E_UNAVAILABLE : code, 0,
                                 error.text);
    tell_facts(call, queue, reply->str ? reply->str : "");
    freeReplyObject(reply);
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
    .name = "queue-redis",
    .version = VIMD_VERSION,
    .summary = "Keeps entries in Redis or Valkey, for several machines.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct queue_config),
    .open = queue_open,
    .close = queue_close,
    .probe = queue_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
