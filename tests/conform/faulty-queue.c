/*
 * faulty-queue - a small queue in memory that has one fault, chosen by its option, so that
 * vim-plugin-check can show that it finds it. Without a fault it is sound, if slow.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vim/queue.h>

struct entry {
    struct entry *next;
    char topic[40], id[208];
    int64_t time; /* due, or end of the lease */
    bool out;
    uint32_t deliveries;
};

struct config {
    const char *fault;
};

struct queue {
    const struct vim_host *host;
    const struct config *config;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct entry *entries;
    unsigned interrupts;
};

static bool has_fault(const struct queue *queue, const char *fault)
{
    return strcmp(queue->config->fault, fault) == 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool valid(const char *text, size_t most, bool is_topic)
{
    size_t length = strlen(text);

    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~' || (is_topic && ((*c >= 'A' && *c <= 'Z') || *c == '.')))
            return false;
    return length > 0 && length <= most;
}

static int queue_push(struct vim_call *call, void *instance, const char *topic, const char *id,
                      uint32_t delay_ms)
{
    struct queue *queue = instance;
    struct entry *entry;

    if (!valid(topic, 32, true) || !valid(id, 200, false))
        return queue->host->fail(call, VIM_E_INVALID, 0, "not a topic, or not an id");
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return queue->host->fail(call, VIM_E_BUSY, 0, "out of memory");
    snprintf(entry->topic, sizeof entry->topic, "%s", topic);
    snprintf(entry->id, sizeof entry->id, "%s", id);
    entry->time = now_ms() + delay_ms;
    pthread_mutex_lock(&queue->lock);
    for (struct entry *other = queue->entries; other; other = other->next)
        if (!other->out && strcmp(other->topic, topic) == 0 && strcmp(other->id, id) == 0) {
            if (entry->time < other->time)
                other->time = entry->time;
            free(entry);
            entry = NULL;
            break;
        }
    if (entry) {
        entry->next = queue->entries;
        queue->entries = entry;
    }
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return VIM_OK;
}

/* Takes one entry that may be delivered. False if there is none. */
static bool take(struct queue *queue, const char *topic, uint32_t lease_ms, struct entry *ret_copy)
{
    for (struct entry *entry = queue->entries; entry; entry = entry->next) {
        if (strcmp(entry->topic, topic) != 0 || entry->time > now_ms())
            continue;
        if (entry->out && has_fault(queue, "loses_leases"))
            continue;
        entry->out = true;
        entry->time = now_ms() + (has_fault(queue, "delivers_twice") ? 0 : lease_ms);
        entry->deliveries++;
        *ret_copy = *entry;
        return true;
    }
    return false;
}

static void wait_changed(struct queue *queue)
{
    int64_t until = now_ms() + 10;
    struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    if (!has_fault(queue, "spins")) {
        pthread_cond_timedwait(&queue->changed, &queue->lock, &time);
        return;
    }
    pthread_mutex_unlock(&queue->lock);
    pthread_mutex_lock(&queue->lock);
}

static int queue_pull(struct vim_call *call, void *instance, const char *topic, uint32_t maximum,
                      uint32_t wait_ms, uint32_t lease_ms)
{
    struct queue *queue = instance;
    int64_t left = queue->host->left_ms(call);
    int64_t end = now_ms() + (left < wait_ms ? left : wait_ms);
    struct entry copy;
    unsigned interrupts;
    bool more = true;

    pthread_mutex_lock(&queue->lock);
    interrupts = queue->interrupts;
    for (uint32_t count = 0; count < maximum && more;) {
        if (take(queue, topic, lease_ms, &copy)) {
            struct vim_item item = {.size = sizeof item,
                                    .kind = copy.topic,
                                    .id = copy.id,
                                    .revision = copy.deliveries};

            count++;
            more = queue->host->emit(call, &item) == 0;
        } else if (count || now_ms() >= end || queue->interrupts != interrupts) {
            more = false;
        } else {
            wait_changed(queue);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return VIM_OK;
}

static struct entry **find_out(struct queue *queue, const char *topic, const char *id)
{
    struct entry **link = &queue->entries;

    while (*link &&
           (!(*link)->out || strcmp((*link)->topic, topic) != 0 || strcmp((*link)->id, id) != 0))
        link = &(*link)->next;
    return link;
}

static int queue_renew(struct vim_call *call, void *instance, const char *topic, const char *id,
                       uint32_t lease_ms)
{
    struct queue *queue = instance;
    struct entry *entry;

    pthread_mutex_lock(&queue->lock);
    entry = *find_out(queue, topic, id);
    if (entry)
        entry->time = now_ms() + lease_ms;
    pthread_mutex_unlock(&queue->lock);
    return entry ? VIM_OK : queue->host->fail(call, VIM_E_NOT_FOUND, 0, "not out for delivery");
}

static int queue_done(struct vim_call *call, void *instance, const char *topic, const char *id)
{
    struct queue *queue = instance;
    struct entry **link, *entry;

    (void)call;
    pthread_mutex_lock(&queue->lock);
    link = find_out(queue, topic, id);
    entry = *link;
    if (entry)
        *link = entry->next;
    pthread_mutex_unlock(&queue->lock);
    free(entry);
    return VIM_OK;
}

static int queue_depth(struct vim_call *call, void *instance, const char *topic)
{
    struct queue *queue = instance;
    unsigned waiting = 0, delayed = 0, delivered = 0;
    int64_t now = now_ms(), oldest = now;
    char body[160];
    struct vim_item item = {.size = sizeof item, .kind = topic, .body = body};

    pthread_mutex_lock(&queue->lock);
    for (struct entry *entry = queue->entries; entry; entry = entry->next) {
        if (strcmp(entry->topic, topic) != 0)
            continue;
        if (entry->out)
            delivered++;
        else if (entry->time > now)
            delayed++;
        else
            waiting++;
        if (!entry->out && entry->time < oldest)
            oldest = entry->time;
    }
    pthread_mutex_unlock(&queue->lock);
    snprintf(body, sizeof body,
             "{\"waiting\":%u,\"delayed\":%u,\"delivered\":%u,\"oldest_ms\":%lld}", waiting,
             delayed, delivered, (long long)(now - oldest));
    queue->host->emit(call, &item);
    return VIM_OK;
}

static void queue_interrupt(void *instance)
{
    struct queue *queue = instance;

    pthread_mutex_lock(&queue->lock);
    queue->interrupts++;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static int queue_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct queue *queue = calloc(1, sizeof *queue);
    pthread_condattr_t attributes;

    (void)self;
    if (!queue)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    queue->host = host;
    queue->config = config;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret_instance = queue;
    return VIM_OK;
}

static void queue_close(void *instance)
{
    struct queue *queue = instance;

    while (queue->entries) {
        struct entry *entry = queue->entries;

        queue->entries = entry->next;
        free(entry);
    }
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static int queue_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_option options[] = {{
    .name = "fault",
    .type = VIM_CHOICE,
    .default_value = "none",
    .choices = "none loses_leases delivers_twice spins",
    .help = "What this queue does wrong.",
    .offset = offsetof(struct config, fault),
}};

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
    .name = "faulty-queue",
    .version = "1",
    .summary = "A queue in memory with a fault of choice, for tests.",
    .options = options,
    .option_count = 1,
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct config),
    .open = queue_open,
    .close = queue_close,
    .probe = queue_probe,
    .ops = &ops,
};

const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == VIM_ABI_MAJOR ? &plugin : NULL;
}
