#include "plugin/normalise.h"
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"

void normalise_struct(void *to, size_t to_size, const void *from)
{
    uint32_t size;
    memcpy(&size, from, sizeof(size));
    memset(to, 0, to_size);
    memcpy(to, from, size < to_size ? size : to_size);
    size = (uint32_t)to_size;
    memcpy(to, &size, sizeof(size));
}

void *normalise_array(const void *from, size_t count, size_t stride, size_t size)
{
    if (count == 0) {
        return NULL;
    }
    char *to = memory_new_array(count, size);
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * size, (const char *)from + i * stride, stride < size ? stride : size);
    }
    return to;
}

struct config_table normalise_table(const struct vim_plugin *descriptor)
{
    return (struct config_table){
        .name = descriptor->name,
        .help = descriptor->summary,
        .options = normalise_array(descriptor->options, descriptor->option_count,
                                   descriptor->option_stride, sizeof(struct vim_option)),
        .count = descriptor->option_count,
        .size = descriptor->config_size,
    };
}

static void normalise_driver(struct plugin *plugin, const struct vim_driver_ops *ops)
{
    struct vim_driver_ops *driver = &plugin->ops.driver;
    normalise_struct(driver, sizeof(*driver), ops);
    driver->traits =
        normalise_array(ops->traits, ops->trait_count, ops->trait_stride, sizeof(struct vim_trait));
    driver->trait_stride = sizeof(struct vim_trait);
}

struct plugin *plugin_from_descriptor(const struct vim_plugin *descriptor, const char *path)
{
    struct plugin *plugin = MEMORY_NEW(struct plugin);
    plugin->path = text_duplicate(path);
    normalise_struct(&plugin->descriptor, sizeof(plugin->descriptor), descriptor);
    plugin->table = normalise_table(descriptor);
    plugin->descriptor.options = plugin->table.options;
    plugin->descriptor.option_stride = sizeof(struct vim_option);
    switch (descriptor->type) {
    case VIM_DRIVER:
        normalise_driver(plugin, descriptor->ops);
        break;
    case VIM_STORE:
        normalise_struct(&plugin->ops.store, sizeof(plugin->ops.store), descriptor->ops);
        break;
    case VIM_QUEUE:
        normalise_struct(&plugin->ops.queue, sizeof(plugin->ops.queue), descriptor->ops);
        break;
    case VIM_POLICY:
        normalise_struct(&plugin->ops.policy, sizeof(plugin->ops.policy), descriptor->ops);
        break;
    }
    return plugin;
}

void plugin_free(struct plugin *plugin)
{
    if (!plugin) {
        return;
    }
    if (plugin->descriptor.type == VIM_DRIVER) {
        free((void *)plugin->ops.driver.traits);
    }
    free((void *)plugin->table.options);
    free(plugin->path);
    free(plugin);
}
