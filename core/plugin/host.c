/*
 * What struct vim_host offers to plugins.
 *
 * Locks: instance->counter_mutex, above the metrics registry's.
 */
#include "plugin/host.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/tcp.h"

#define COUNTERS_MAX 500u /* series per instance: a plugin must not fill the memory with labels */

struct counter {
    char *key; /* name{labels} */
    struct metric *metric; /* NULL: refused once, and so for ever */
    UT_hash_handle hh;
};

static void host_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    const struct instance *instance = self->instance;
    level = level < VIM_ERROR ? VIM_ERROR : level > VIM_DEBUG ? VIM_DEBUG : level;
    log_write_fields(level, event, fields, "plugin=%s instance=%s", instance->plugin->table.name,
                     instance->name);
}

/* The series, or NULL when the plugin's name or labels are not fit for one. */
static struct metric *counter_metric(const struct instance *instance, const char *name,
                                     const char *labels)
{
    size_t length = strlen(name);
    bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;
    CLEANUP_FREE char *full = text_format("vimd_plugin_%s", name);
    CLEANUP_TEXT struct text all = {0};
    metrics_label(&all, "instance", instance->name);
    if (labels && *labels) {
        text_printf(&all, ",%s", labels);
    }
    bool fit = total && metrics_valid_name(full) && metrics_valid_labels(all.data);
    return fit ? metrics_counter(full, "Counted by a plugin", all.data) : NULL;
}

/* Adds to a counter, which is made if need be. False if it is new and refused. */
static bool count_in(struct instance *instance, const char *name, const char *labels, double add)
{
    CLEANUP_FREE char *key = text_format("%s{%s}", name, labels ? labels : "");
    struct counter *counter = NULL;
    LOCK_GUARD(&instance->counter_mutex);
    HASH_FIND_STR(instance->counters, key, counter);
    bool is_new = !counter;
    if (is_new) {
        if (HASH_COUNT(instance->counters) >= COUNTERS_MAX) {
            return true;
        }
        counter = MEMORY_NEW(struct counter);
        counter->metric = counter_metric(instance, name, labels);
        counter->key = TAKE(key);
        HASH_ADD_KEYPTR(hh, instance->counters, counter->key, strlen(counter->key), counter);
    }
    if (counter->metric) {
        metric_add(counter->metric, add);
    }
    return counter->metric || !is_new;
}

static void host_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    if (name && add >= 0 && !count_in(self->instance, name, labels, add)) {
        log_event(VIM_WARNING, "plugin counts under a bad name", "instance=%s name=%s labels=%s",
                  self->instance->name, name, labels);
    }
}

void host_free_counters(struct instance *instance)
{
    struct counter *counter, *next;
    HASH_ITER(hh, instance->counters, counter, next)
    {
        HASH_DEL(instance->counters, counter);
        free(counter->key);
        free(counter);
    }
}

static const char *host_about(struct vim_self *self, const char *name)
{
    if (text_equal(name, "instance")) {
        return self->instance->name;
    }
    if (text_equal(name, "state_dir")) {
        return self->instance->state_dir;
    }
    return text_equal(name, "version") ? VIMD_VERSION : NULL;
}

static void host_connection(struct vim_self *self, int fd, int open)
{
    static const enum tcp_callee callees[] = {
        [VIM_DRIVER] = TCP_NFVI, [VIM_STORE] = TCP_STORE, [VIM_QUEUE] = TCP_QUEUE};
    uint32_t type = self->instance->plugin->descriptor.type;
    if (type <= VIM_QUEUE) {
        (open ? tcp_add : tcp_remove)(callees[type], fd);
    }
}

const struct vim_host host_services = {
    .size = sizeof(struct vim_host),
    .abi = VIM_ABI,
    .log = host_log,
    .count = host_count,
    .about = host_about,
    .emit = call_host_emit,
    .keep = call_host_keep,
    .again = call_host_again,
    .await = call_host_await,
    .fail = call_host_fail,
    .left_ms = call_host_left_ms,
    .note = call_host_note,
    .read = call_host_read,
    .connection = host_connection,
    .waiting = call_host_waiting,
};
