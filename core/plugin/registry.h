/*
 * plugin/registry.h - the plugins that this process has loaded, by name. They stay for ever; a
 * new .so under a loaded name takes a restart.
 */
#ifndef PLUGIN_REGISTRY_H
#define PLUGIN_REGISTRY_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "plugin/loader.h"

struct registry;

/* DIRECTORIES are searched in order; copied. */
struct registry *registry_new(const char *const *directories, size_t count);
void registry_free(struct registry *registry); /* no instance of its plugins may be left */

/* The plugin NAME of TYPE (0: any), loaded if it is not yet. Errors as plugin_load(). */
int registry_load(struct registry *registry, const char *name, uint32_t type,
                  const struct plugin **ret_plugin, struct text *ret_reason);

/* Calls EACH for every loaded plugin, in order of name. */
void registry_each(struct registry *registry, void (*each)(void *argument, const struct plugin *),
                   void *argument);

/* JSON array for /v1/plugins: name, version, type, summary, abi, flags, options (name, type,
 * default, help, required, secret, live), for drivers the kinds with their verbs and actions. New
 * reference. */
json_t *registry_json(struct registry *registry);
json_t *plugin_json(const struct plugin *plugin);
/* What a driver can do with a kind: {"kind", "verbs": [], "actions": []}. */
json_t *plugin_trait_json(const struct vim_trait *trait);

#endif
