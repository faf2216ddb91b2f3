/*
 * plugin/host.h - private to plugin/: what stands behind struct vim_host, and the inside of an
 * instance.
 */
#ifndef PLUGIN_HOST_H
#define PLUGIN_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/memory.h"
#include "base/metrics.h"
#include "config/fill.h"
#include "plugin/instance.h"

/* The one struct vim_host of the process. */
extern const struct vim_host host_services;

struct vim_self {
    struct instance *instance;
};

struct counter;

/* Calls that threads of one slot have begun, less those that they have ended. */
struct gate_slot {
    _Alignas(MEMORY_LINE) _Atomic(int32_t) count;
};

struct instance {
    uint32_t magic;
    _Atomic(uint32_t) references;
    const struct plugin *plugin;
    char *name;
    char *state_dir;
    struct vim_self self;
    void *handle;
    struct config_struct *config; /* owned; NULL if raw */
    const void *data; /* what the plugin sees of it */

    /* The gate: who may call now (gate.c). */
    pthread_mutex_t gate_mutex;
    pthread_cond_t gate_open;
    struct gate_slot *active; /* THREAD_SLOTS of them: calls inside */
    _Atomic(bool) exclusive; /* a reconfigure is waiting or inside */
    bool serial; /* VIM_SERIAL */
    bool serial_busy; /* and one is inside */

    _Atomic(int) stuck;

    pthread_mutex_t counter_mutex;
    struct counter *counters; /* made by the plugin through count() */
    struct metric *calls;
    struct metric *seconds;
};
#define INSTANCE_MAGIC 0x696E7374u

/* gate.c: everybody out, nobody in. VIM_E_BUSY if that did not come true in the call's time. */
int gate_close(struct instance *instance, const struct vim_call *call);
void gate_open(struct instance *instance);
bool gate_is_empty(const struct instance *instance); /* nobody is inside */

/* call.c: behind struct vim_host. */
int call_host_emit(struct vim_call *call, const struct vim_item *item);
void call_host_keep(struct vim_call *call, const char *cursor);
void call_host_again(struct vim_call *call, uint32_t delay_ms);
void call_host_await(struct vim_call *call, const char *kind, const char *id, uint32_t at_most_ms);
int call_host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text);
int64_t call_host_left_ms(struct vim_call *call);
void call_host_note(struct vim_call *call, const char *name, const char *value);
void call_host_waiting(struct vim_call *call, int waits);
int64_t call_host_read(struct vim_call *call, uint64_t offset, void *buffer, size_t size);

/* host.c */
void host_free_counters(struct instance *instance);

#endif
