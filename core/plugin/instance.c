/*
 * Locks: open_mutex guards the number of open instances, alone.
 */
#include "plugin/instance.h"
#include <assert.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "plugin/host.h"

static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t open_changed = PTHREAD_COND_INITIALIZER;
static uint32_t open_count;

#define OPEN_TIMEOUT_MS 30000

static void count_open(int change)
{
    LOCK_GUARD(&open_mutex);
    open_count += (uint32_t)change;
    pthread_cond_broadcast(&open_changed);
}

uint32_t instance_wait_closed(int64_t wait_ms)
{
    int64_t until = clock_mono_ms() + wait_ms;
    LOCK_GUARD(&open_mutex);
    while (open_count > 0 && clock_mono_ms() < until) {
        /* The condition variable is a static one and so on the realtime clock: short waits. */
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 20000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&open_changed, &open_mutex, &soon);
    }
    return open_count;
}

static struct instance *instance_new(const struct plugin *plugin,
                                     const struct instance_settings *settings,
                                     struct config_struct *config, const void *data)
{
    struct instance *instance = MEMORY_NEW(struct instance);
    instance->magic = INSTANCE_MAGIC;
    instance->active = memory_new_lines(THREAD_SLOTS * sizeof(*instance->active));
    atomic_init(&instance->references, 1);
    instance->plugin = plugin;
    instance->name = text_duplicate(settings->name);
    instance->state_dir = text_duplicate(settings->state_dir);
    instance->self.instance = instance;
    instance->config = config;
    instance->data = data;
    instance->serial = plugin->descriptor.flags & VIM_SERIAL;
    pthread_mutex_init(&instance->gate_mutex, NULL);
    pthread_mutex_init(&instance->counter_mutex, NULL);
    clock_cond_init(&instance->gate_open);
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "instance", instance->name);
    metrics_label(&labels, "type", plugin_type_name(plugin->descriptor.type));
    instance->calls = metrics_counter("vimd_instance_calls_total",
                                      "Calls of an instance's functions", labels.data);
    instance->seconds =
        metrics_histogram("vimd_instance_call_seconds",
                          "Time that calls of an instance's functions took", labels.data, NULL, 0);
    return instance;
}

static void instance_free(struct instance *instance)
{
    config_struct_free(instance->config);
    host_free_counters(instance);
    pthread_cond_destroy(&instance->gate_open);
    pthread_mutex_destroy(&instance->gate_mutex);
    pthread_mutex_destroy(&instance->counter_mutex);
    free(instance->name);
    free(instance->state_dir);
    free(instance->active);
    instance->magic = 0;
    free(instance);
}

static int open_with(const struct plugin *plugin, const struct instance_settings *settings,
                     struct config_struct *config, const void *data, struct instance **ret_instance,
                     struct text *ret_reason)
{
    struct instance *instance = instance_new(plugin, settings, config, data);
    int64_t timeout = settings->open_timeout_ms ? settings->open_timeout_ms : OPEN_TIMEOUT_MS;
    struct vim_call call;
    call_init(&call, clock_mono_ms() + timeout);
    int code = instance_enter(instance, &call);
    assert(code == VIM_OK); /* nobody else knows it yet */
    code = plugin->descriptor.open(&call, &host_services, &instance->self, data, &instance->handle);
    code = instance_leave(instance, &call, code == VIM_AGAIN ? VIM_E_INTERNAL : code);
    if (code != VIM_OK) {
        const char *why = call_fail_text(&call);
        text_clear(ret_reason);
        text_printf(ret_reason, "%s: plugin %s cannot be opened: %s%s%s", instance->name,
                    plugin->table.name, error_name(code), *why ? ": " : "", why);
        call_free(&call);
        instance_free(instance);
        return code;
    }
    call_free(&call);
    count_open(1);
    *ret_instance = instance;
    return VIM_OK;
}

int instance_open(const struct plugin *plugin, const struct instance_settings *settings,
                  struct config_struct *config, struct instance **ret_instance,
                  struct text *ret_reason)
{
    return open_with(plugin, settings, config, config_data(config), ret_instance, ret_reason);
}

int instance_open_raw(const struct plugin *plugin, const struct instance_settings *settings,
                      const void *config, struct instance **ret_instance, struct text *ret_reason)
{
    return open_with(plugin, settings, NULL, config, ret_instance, ret_reason);
}

struct instance *instance_hold(struct instance *instance)
{
    assert(instance->magic == INSTANCE_MAGIC);
    atomic_fetch_add(&instance->references, 1);
    return instance;
}

void instance_release(struct instance *instance)
{
    if (!instance) {
        return;
    }
    assert(instance->magic == INSTANCE_MAGIC);
    if (atomic_fetch_sub(&instance->references, 1) > 1) {
        return;
    }
    assert(gate_is_empty(instance));
    instance->plugin->descriptor.close(instance->handle);
    instance_free(instance);
    count_open(-1);
}

const char *instance_name(const struct instance *instance)
{
    return instance->name;
}

const struct plugin *instance_plugin(const struct instance *instance)
{
    return instance->plugin;
}

const struct config_struct *instance_config(const struct instance *instance)
{
    return instance->config;
}

void *instance_handle(const struct instance *instance)
{
    return instance->handle;
}

const struct vim_driver_ops *instance_driver(const struct instance *instance)
{
    assert(instance->plugin->descriptor.type == VIM_DRIVER);
    return &instance->plugin->ops.driver;
}

const struct vim_store_ops *instance_store(const struct instance *instance)
{
    assert(instance->plugin->descriptor.type == VIM_STORE);
    return &instance->plugin->ops.store;
}

const struct vim_queue_ops *instance_queue(const struct instance *instance)
{
    assert(instance->plugin->descriptor.type == VIM_QUEUE);
    return &instance->plugin->ops.queue;
}

const struct vim_policy_ops *instance_policy(const struct instance *instance)
{
    assert(instance->plugin->descriptor.type == VIM_POLICY);
    return &instance->plugin->ops.policy;
}

bool instance_is_stuck(const struct instance *instance)
{
    return atomic_load(&instance->stuck) > 0;
}

void instance_add_stuck(struct instance *instance, int change)
{
    atomic_fetch_add(&instance->stuck, change);
}

int instance_probe(struct instance *instance, struct vim_call *call)
{
    int code = instance_enter(instance, call);
    if (code == VIM_OK) {
        code = instance->plugin->descriptor.probe(call, instance->handle);
        code = instance_leave(instance, call, code == VIM_AGAIN ? VIM_E_INTERNAL : code);
    }
    return code;
}

static int reconfigure_alone(struct instance *instance, struct vim_call *call,
                             struct config_struct *config)
{
    int code = gate_close(instance, call);
    if (code != VIM_OK) {
        return code;
    }
    call->instance = instance;
    code = instance->plugin->descriptor.reconfigure(call, instance->handle, config_data(config));
    code = code > 0 ? VIM_E_INTERNAL : code;
    if (code == VIM_OK) {
        config_struct_free(instance->config);
        instance->config = config;
        instance->data = config_data(config);
    }
    gate_open(instance);
    return code;
}

int instance_reconfigure(struct instance *instance, struct vim_call *call,
                         struct config_struct *config)
{
    bool can = instance->plugin->descriptor.reconfigure && instance->config &&
               config_compare(instance->config, config).live;
    int code = can ? reconfigure_alone(instance, call, config) : VIM_E_UNSUPPORTED;
    if (code != VIM_OK) {
        config_struct_free(config);
    }
    return code;
}
