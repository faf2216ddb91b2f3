/*
 * Who may be inside a plugin's functions: everybody, one at a time (VIM_SERIAL), or a reconfigure
 * alone. The usual way in and out is two atomic operations; the mutex is for those who wait.
 *
 * Locks: instance->gate_mutex, alone; not held while a plugin is called.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "plugin/host.h"
#include <assert.h>

#define SLICE_MS 50 /* a waiting call looks this often whether it was cancelled */

/* Waits for a change at the gate; false when the call's time is over. Mutex held. */
static bool gate_wait(struct instance *instance, const struct vim_call *call)
{
    int64_t left = call_left_ms(call);
    if (left == 0) {
        return false;
    }
    clock_cond_wait_until(&instance->gate_open, &instance->gate_mutex,
                          clock_mono_ms() + (left < SLICE_MS ? left : SLICE_MS));
    return true;
}

static void gate_changed(struct instance *instance)
{
    LOCK_GUARD(&instance->gate_mutex);
    pthread_cond_broadcast(&instance->gate_open);
}

static int enter_slowly(struct instance *instance, const struct vim_call *call)
{
    LOCK_GUARD(&instance->gate_mutex);
    while (atomic_load(&instance->exclusive) || (instance->serial && instance->serial_busy)) {
        if (!gate_wait(instance, call)) {
            return VIM_E_BUSY;
        }
    }
    instance->serial_busy = instance->serial;
    atomic_fetch_add(&instance->active, 1); /* gate_close() sets `exclusive` under the mutex */
    return VIM_OK;
}

static void gate_leave(struct instance *instance)
{
    if (instance->serial) {
        LOCK_GUARD(&instance->gate_mutex);
        instance->serial_busy = false;
        pthread_cond_broadcast(&instance->gate_open);
    }
    if (atomic_fetch_sub(&instance->active, 1) == 1 && atomic_load(&instance->exclusive)) {
        gate_changed(instance);
    }
}

int instance_enter(struct instance *instance, struct vim_call *call)
{
    assert(instance->magic == INSTANCE_MAGIC);
    call->instance = instance;
    call->started_us = clock_mono_us();
    if (!instance->serial) {
        atomic_fetch_add(&instance->active, 1);
        if (!atomic_load(&instance->exclusive)) {
            return VIM_OK;
        }
        if (atomic_fetch_sub(&instance->active, 1) == 1) {
            gate_changed(instance);
        }
    }
    return enter_slowly(instance, call);
}

/* What the plugin returned, made consistent with what it told. */
static int checked_code(struct vim_call *call, int code)
{
    if (code > 0 && code != VIM_AGAIN) {
        call->defect = "returned a positive number that is not VIM_AGAIN";
    }
    if (!call->defect) {
        return code;
    }
    log_event(VIM_ERROR, "plugin broke a rule", "plugin=%s instance=%s defect=%s",
              call->instance->plugin->table.name, call->instance->name, call->defect);
    return call_host_fail(call, VIM_E_INTERNAL, 0, call->defect);
}

static void count_error(const struct instance *instance, int code)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "instance", instance->name);
    metrics_label(&labels, "type", plugin_type_name(instance->plugin->descriptor.type));
    metrics_label(&labels, "error", error_name(code));
    metric_add(metrics_counter("vimd_instance_errors_total",
                               "Calls of an instance's functions that failed", labels.data),
               1);
}

int instance_leave(struct instance *instance, struct vim_call *call, int code)
{
    code = checked_code(call, code);
    metric_add(instance->calls, 1);
    metric_observe(instance->seconds, (double)(clock_mono_us() - call->started_us) / 1e6);
    if (code < 0) {
        count_error(instance, code);
    }
    gate_leave(instance);
    return code;
}

int gate_close(struct instance *instance, const struct vim_call *call)
{
    LOCK_GUARD(&instance->gate_mutex);
    while (atomic_load(&instance->exclusive)) { /* another one */
        if (!gate_wait(instance, call)) {
            return VIM_E_BUSY;
        }
    }
    atomic_store(&instance->exclusive, true);
    while (atomic_load(&instance->active) > 0) {
        if (!gate_wait(instance, call)) {
            atomic_store(&instance->exclusive, false);
            pthread_cond_broadcast(&instance->gate_open);
            return VIM_E_BUSY;
        }
    }
    return VIM_OK;
}

void gate_open(struct instance *instance)
{
    LOCK_GUARD(&instance->gate_mutex);
    atomic_store(&instance->exclusive, false);
    pthread_cond_broadcast(&instance->gate_open);
}
