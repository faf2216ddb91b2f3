/*
 * plugin/loader.h - from NAME.so to a checked, normalised plugin. The one file with dlopen().
 *
 * A file is first tried in a forked child: dlopen, vim_plugin_entry(), lint of the descriptor. So
 * one that crashes, hangs (10 s) or is broken in its constructors does no harm here. Then it is
 * loaded into this process, for as long as the process lives.
 *
 * Shared structs are copied, min(both sizes), the rest zero; arrays with their strides: what is
 * behind a struct plugin has the full layout of this host's headers.
 */
#ifndef PLUGIN_LOADER_H
#define PLUGIN_LOADER_H

#include <stddef.h>
#include <stdint.h>
#include <vim/driver.h>
#include <vim/plugin.h>
#include <vim/policy.h>
#include <vim/queue.h>
#include <vim/store.h>
#include "config/fill.h"

struct text;

/* A loaded plugin: immutable, never freed once it is in a registry. */
struct plugin {
    char *path; /* file it came from */
    struct vim_plugin descriptor; /* normalised; options point to the normalised table */
    struct config_table table; /* its options, for config_fill() and so on */
    union {
        struct vim_driver_ops driver; /* traits point to a normalised array, stride our own */
        struct vim_store_ops store;
        struct vim_queue_ops queue;
        struct vim_policy_ops policy;
    } ops; /* normalised: a member that is not NULL can be called */
};

/* "driver", "store", "queue", "policy"; "unknown" for another number. */
const char *plugin_type_name(uint32_t type);

/* Finds NAME.so in the directories (DIRECTORIES has COUNT), probes and loads it. TYPE is the
 * enum vim_plugin_type that is needed, 0 for any. On error *RET_REASON is one line that names
 * plugin, file and reason: VIM_E_NOT_FOUND (no such file), VIM_E_INVALID (everything else that is
 * the plugin's fault), VIM_E_UNAVAILABLE (no fork). Loading the same file again is fine. */
int plugin_load(const char *const *directories, size_t count, const char *name, uint32_t type,
                struct plugin **ret_plugin, struct text *ret_reason);

/* How long a file may take to be probed; 10 s unless told otherwise (tests). */
void plugin_set_probe_ms(int64_t probe_ms);

/* Frees the copies; the shared object stays mapped. NULL is fine. */
void plugin_free(struct plugin *plugin);

/* Checks a descriptor as the plugin gave it (not normalised), without calling anything of it: sizes,
 * ABI, name, type, option table, the functions that its type must have, traits. Adds one line per
 * fault to FAULTS. NAME is what it should be called, TYPE what it should be (NULL, 0: any).
 * Returns VIM_OK or VIM_E_INVALID. */
int plugin_lint(const struct vim_plugin *descriptor, const char *name, uint32_t type,
                struct text *faults);

/* Makes a struct plugin of a descriptor that passed plugin_lint(), without dlopen: for plugins that
 * are linked in (tests). PATH is for messages. */
struct plugin *plugin_from_descriptor(const struct vim_plugin *descriptor, const char *path);

#endif
