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
#include "base/thread.h"
#include "plugin/host.h"
#include <assert.h>

#define SLICE_MS 50 /* a waiting call looks this often whether it was cancelled */

bool gate_is_empty(const struct instance *instance)
{
    int32_t inside = 0;
    for (unsigned i = 0; i < THREAD_SLOTS; i++) {
        inside += atomic_load(&instance->active[i].count);
    }
    return inside == 0;
}

/* A call ends on the thread that began it, so no slot can hide another's. */
static _Atomic(int32_t) *gate_count(struct instance *instance)
{
    return &instance->active[thread_slot()].count;
}

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
    atomic_fetch_add(gate_count(instance), 1); /* gate_close() sets `exclusive` under the mutex */
    return VIM_OK;
}

static void gate_leave(struct instance *instance)
{
    if (instance->serial) {
        LOCK_GUARD(&instance->gate_mutex);
        instance->serial_busy = false;
        pthread_cond_broadcast(&instance->gate_open);
    }
    atomic_fetch_sub(gate_count(instance), 1);
    if (atomic_load(&instance->exclusive)) {
        gate_changed(instance);
    }
}

/* Tells the integrals that a call is under way. Waiting at the gate is part of it. */
static void count_call(const struct instance *instance, struct vim_call *call)
{
    static const enum integral_callee callees[] = {
        [VIM_DRIVER] = CALLEE_NFVI, [VIM_STORE] = CALLEE_STORE, [VIM_QUEUE] = CALLEE_QUEUE};
    uint32_t type = instance->plugin->descriptor.type;
    if (type <= VIM_QUEUE && !call->idle) {
        call->integral = integral_call(callees[type], call->started_us);
    }
}

int instance_enter(struct instance *instance, struct vim_call *call)
{
    assert(instance->magic == INSTANCE_MAGIC);
    call->instance = instance;
    call->started_us = call->started_us ? call->started_us : clock_mono_us();
    count_call(instance, call);
    if (!instance->serial) {
        _Atomic(int32_t) *count = gate_count(instance);
        atomic_fetch_add(count, 1);
        if (!atomic_load(&instance->exclusive)) {
            return VIM_OK;
        }
        atomic_fetch_sub(count, 1);
        gate_changed(instance);
    }
    int code = enter_slowly(instance, call);
    if (code != VIM_OK) {
        integral_return(call->integral, clock_mono_us());
    }
    return code;
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
    call_host_waiting(call, 0);
    call->ended_us = clock_mono_us();
    integral_return(call->integral, call->ended_us);
    metric_observe(instance->seconds, (double)(call->ended_us - call->started_us) / 1e6);
    metric_add(instance->calls, 1);
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
    while (!gate_is_empty(instance)) {
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
