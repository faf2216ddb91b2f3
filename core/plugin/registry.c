/*
 * Locks: registry->mutex, alone; not held while a file is loaded.
 */
#include "plugin/registry.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

struct entry {
    struct plugin *plugin;
    UT_hash_handle hh; /* by the plugin's name */
};

struct registry {
    pthread_mutex_t mutex;
    char **directories;
    size_t directory_count;
    struct entry *entries;
};

struct registry *registry_new(const char *const *directories, size_t count)
{
    struct registry *registry = MEMORY_NEW(struct registry);
    pthread_mutex_init(&registry->mutex, NULL);
    registry->directories = memory_new_array(count, sizeof(char *));
    registry->directory_count = count;
    for (size_t i = 0; i < count; i++) {
        registry->directories[i] = text_duplicate(directories[i]);
    }
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry) {
        return;
    }
    struct entry *entry, *next;
    HASH_ITER(hh, registry->entries, entry, next)
    {
        HASH_DEL(registry->entries, entry);
        plugin_free(entry->plugin);
        free(entry);
    }
    for (size_t i = 0; i < registry->directory_count; i++) {
        free(registry->directories[i]);
    }
    free(registry->directories);
    pthread_mutex_destroy(&registry->mutex);
    free(registry);
}

static const struct plugin *find(struct registry *registry, const char *name)
{
    struct entry *entry = NULL;
    LOCK_GUARD(&registry->mutex);
    HASH_FIND_STR(registry->entries, name, entry);
    return entry ? entry->plugin : NULL;
}

/* Adds a plugin, unless another thread was faster: then that one counts. */
static const struct plugin *add(struct registry *registry, struct plugin *plugin)
{
    const char *name = plugin->descriptor.name;
    struct entry *entry = NULL;
    LOCK_GUARD(&registry->mutex);
    HASH_FIND_STR(registry->entries, name, entry);
    if (entry) {
        plugin_free(plugin);
        return entry->plugin;
    }
    entry = MEMORY_NEW(struct entry);
    entry->plugin = plugin;
    HASH_ADD_KEYPTR(hh, registry->entries, name, strlen(name), entry);
    return plugin;
}

int registry_load(struct registry *registry, const char *name, uint32_t type,
                  const struct plugin **ret_plugin, struct text *ret_reason)
{
    const struct plugin *plugin = find(registry, name);
    if (!plugin) {
        struct plugin *loaded;
        int code = plugin_load((const char *const *)registry->directories,
                               registry->directory_count, name, type, &loaded, ret_reason);
        if (code != VIM_OK) {
            return code;
        }
        plugin = add(registry, loaded);
    }
    if (type && plugin->descriptor.type != type) {
        text_clear(ret_reason);
        text_printf(ret_reason, "plugin %s (%s): is a %s, not a %s", name, plugin->path,
                    plugin_type_name(plugin->descriptor.type), plugin_type_name(type));
        return VIM_E_INVALID;
    }
    *ret_plugin = plugin;
    return VIM_OK;
}

static int by_name(const struct entry *a, const struct entry *b)
{
    return strcmp(a->plugin->descriptor.name, b->plugin->descriptor.name);
}

void registry_each(struct registry *registry, void (*each)(void *argument, const struct plugin *),
                   void *argument)
{
    pthread_mutex_lock(&registry->mutex);
    HASH_SORT(registry->entries, by_name);
    size_t count = 0;
    CLEANUP_FREE const struct plugin **plugins =
        memory_new_array(HASH_COUNT(registry->entries), sizeof(*plugins));
    for (struct entry *entry = registry->entries; entry; entry = entry->hh.next) {
        plugins[count++] = entry->plugin;
    }
    pthread_mutex_unlock(&registry->mutex);
    for (size_t i = 0; i < count; i++) {
        each(argument, plugins[i]);
    }
}

/* --- JSON -------------------------------------------------------------------------------------- */

static json_t *option_json(const struct vim_option *option)
{
    static const char *const types[] = {"text",  "integer", "number", "boolean", "duration",
                                        "bytes", "choice",  "list",   "path"};
    json_t *json = json_object();
    json_set_text(json, "name", option->name);
    json_set_text(json, "type", types[option->type]);
    if (!(option->flags & VIM_SECRET)) {
        json_set_text(json, "default", option->default_value);
    }
    json_set_text(json, "choices", option->choices);
    json_set_text(json, "help", option->help);
    json_set_boolean(json, "required", option->flags & VIM_REQUIRED);
    json_set_boolean(json, "secret", option->flags & VIM_SECRET);
    json_set_boolean(json, "live", option->flags & VIM_LIVE);
    return json;
}

json_t *plugin_trait_json(const struct vim_trait *trait)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } verbs[] = {
        {VIM_VERB_LIST, "list"},     {VIM_VERB_GET, "get"},       {VIM_VERB_CREATE, "create"},
        {VIM_VERB_UPDATE, "update"}, {VIM_VERB_DELETE, "delete"}, {VIM_VERB_ACTION, "action"},
        {VIM_VERB_UPLOAD, "upload"}, {VIM_VERB_SAMPLE, "sample"}, {VIM_VERB_CHANGES, "changes"},
        {VIM_VERB_LOOK, "look"},
    };
    json_t *json = json_object(), *names = json_array(), *actions = json_array();
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (trait->verbs & verbs[i].bit) {
            json_array_append_new(names, json_string(verbs[i].name));
        }
    }
    const char *at = trait->actions ? trait->actions : "";
    for (at += strspn(at, " "); *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        json_array_append_new(actions, json_stringn(at, length));
        at += length;
    }
    json_set_text(json, "kind", trait->kind);
    json_object_set_new(json, "verbs", names);
    json_object_set_new(json, "actions", actions);
    return json;
}

json_t *plugin_json(const struct plugin *plugin)
{
    const struct vim_plugin *descriptor = &plugin->descriptor;
    CLEANUP_FREE char *abi = text_format("%u.%u", descriptor->abi >> 16, descriptor->abi & 0xFFFF);
    json_t *json = json_object(), *options = json_array();
    json_set_text(json, "name", descriptor->name);
    json_set_text(json, "version", descriptor->version);
    json_set_text(json, "type", plugin_type_name(descriptor->type));
    json_set_text(json, "summary", descriptor->summary);
    json_set_text(json, "abi", abi);
    json_set_boolean(json, "serial", descriptor->flags & VIM_SERIAL);
    for (size_t i = 0; i < plugin->table.count; i++) {
        json_array_append_new(options, option_json(&plugin->table.options[i]));
    }
    json_object_set_new(json, "options", options);
    if (descriptor->type == VIM_DRIVER) {
        json_t *kinds = json_array();
        for (uint32_t i = 0; i < plugin->ops.driver.trait_count; i++) {
            json_array_append_new(kinds, plugin_trait_json(&plugin->ops.driver.traits[i]));
        }
        json_object_set_new(json, "kinds", kinds);
    }
    return json;
}

static void append_json(void *argument, const struct plugin *plugin)
{
    json_array_append_new(argument, plugin_json(plugin));
}

json_t *registry_json(struct registry *registry)
{
    json_t *array = json_array();
    registry_each(registry, append_json, array);
    return array;
}
