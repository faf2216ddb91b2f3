/*
 * plugin/instance.h - one configured use of a plugin.
 *
 *   instance_open()                        one reference, the caller's
 *   instance_hold() / instance_release()   more of them; lanes hold one each
 *   the last release: waits for nothing (no call can be left), plugin close(), configuration freed
 *
 * So a reload opens a new instance, swaps the pointer, and releases the old one: calls in progress
 * on the old one hold it until they are through.
 *
 * Threads: everything here may be called from any thread, unless said otherwise.
 */
#ifndef PLUGIN_INSTANCE_H
#define PLUGIN_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>
#include "plugin/call.h"
#include "plugin/loader.h"

struct instance;
struct config_struct;

struct instance_settings {
    const char *name; /* configured name; copied */
    const char *state_dir; /* for host->about(); copied; may be NULL */
    int64_t open_timeout_ms; /* 0: 30 s */
};

/* Opens an instance. Takes CONFIG over (made with PLUGIN's table), also on error. RET_REASON says
 * why not. */
int instance_open(const struct plugin *plugin, const struct instance_settings *settings,
                  struct config_struct *config, struct instance **ret_instance,
                  struct text *ret_reason);

/* The same with a configuration from memory that the caller keeps alive (tests, tools). CONFIG may be
 * NULL for a plugin whose config_size is 0. */
int instance_open_raw(const struct plugin *plugin, const struct instance_settings *settings,
                      const void *config, struct instance **ret_instance, struct text *ret_reason);

struct instance *instance_hold(struct instance *instance);
void instance_release(struct instance *instance); /* NULL is fine; any thread, also in a call's
                                                     completion */

/* Instances of this process that are open. After everything was released, for a check that
 * nothing is left: waits until it is 0, at most WAIT_MS; returns how many remain. */
uint32_t instance_wait_closed(int64_t wait_ms);

const char *instance_name(const struct instance *instance);
const struct plugin *instance_plugin(const struct instance *instance);
const struct config_struct *instance_config(const struct instance *instance); /* NULL if raw */

/* What the plugin's functions take as `instance`. */
void *instance_handle(const struct instance *instance);

/* The operations, normalised: a member that is not NULL can be called. The plugin must be of that
 * type (assert). */
const struct vim_driver_ops *instance_driver(const struct instance *instance);
const struct vim_store_ops *instance_store(const struct instance *instance);
const struct vim_queue_ops *instance_queue(const struct instance *instance);
const struct vim_policy_ops *instance_policy(const struct instance *instance);

/* Is a call in progress that has overstayed its deadline (set and cleared by lanes)? */
bool instance_is_stuck(const struct instance *instance);

/* --- Calls ---------------------------------------------------------------------------------------
 * Every call of an operation is made between these two, on the thread that makes it. enter() waits
 * while the plugin is VIM_SERIAL and a call is in progress, or a reconfigure is, at most until the
 * call's deadline: then VIM_E_BUSY, and leave() must not be called. leave() gets the code the plugin
 * returned and gives the code to go on with: VIM_OK, VIM_AGAIN, or a negative one that is
 * consistent with what the call told (a plugin's nonsense becomes VIM_E_INTERNAL; VIM_AGAIN and
 * others are counted in /metrics). It also clips fail's text to one line without secrets.
 *
 *     struct vim_call call;
 *     call_init(&call, clock_mono_ms() + 5000);
 *     call_set_emit(&call, take_row, &rows);
 *     int code = instance_enter(store, &call);
 *     if (code == VIM_OK) {
 *         code = instance_store(store)->get(&call, instance_handle(store), "task", id);
 *         code = instance_leave(store, &call, code);
 *     }
 *     call_free(&call);
 */
int instance_enter(struct instance *instance, struct vim_call *call);
int instance_leave(struct instance *instance, struct vim_call *call, int code);

/* Calls the plugin's probe() on the caller's thread. */
int instance_probe(struct instance *instance, struct vim_call *call);

/* Applies CONFIG (same table), taking it over. Waits for calls in progress, at most until the
 * call's deadline. VIM_E_UNSUPPORTED if the plugin cannot, or options that are not VIM_LIVE differ:
 * then open a new instance. On any error CONFIG is freed and the old one stays in force. */
int instance_reconfigure(struct instance *instance, struct vim_call *call,
                         struct config_struct *config);

/* Marks it stuck or not; counted, as several calls may be stuck. For lanes. */
void instance_add_stuck(struct instance *instance, int change);

#endif
