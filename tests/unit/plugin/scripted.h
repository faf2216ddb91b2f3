/*
 * A driver inside the test: each of its functions calls what the test has set.
 */
#ifndef UNIT_PLUGIN_SCRIPTED_H
#define UNIT_PLUGIN_SCRIPTED_H

#include <assert.h>
#include <stdatomic.h>
#include "plugin/instance.h"

struct scripted_config {
    const char *url;
    int64_t level;
};

static struct {
    int (*open)(struct vim_call *call);
    int (*step)(struct vim_call *call, const struct vim_op *op);
    int (*reconfigure)(struct vim_call *call, const struct scripted_config *config);
    const struct vim_host *host;
    struct vim_self *self;
    const struct scripted_config *config;
    atomic_int opened, closed;
} scripted;

static const struct vim_option scripted_options[] = {
    {.name = "url",
     .type = VIM_TEXT,
     .default_value = "x",
     .help = "Where.",
     .offset = offsetof(struct scripted_config, url)},
    {.name = "level",
     .type = VIM_INTEGER,
     .flags = VIM_LIVE,
     .default_value = "1",
     .help = "How much.",
     .offset = offsetof(struct scripted_config, level)},
};

static int scripted_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                         const void *config, void **ret_instance)
{
    scripted.host = host;
    scripted.self = self;
    scripted.config = config;
    int code = scripted.open ? scripted.open(call) : VIM_OK;
    if (code == VIM_OK) {
        scripted.opened++;
        *ret_instance = &scripted;
    }
    return code;
}

static void scripted_close(void *instance)
{
    assert(instance == &scripted);
    scripted.closed++;
}

static int scripted_probe(struct vim_call *call, void *instance)
{
    assert(instance == &scripted);
    const struct vim_item item = {.size = sizeof(item), .kind = "vim", .body = "{}"};
    scripted.host->emit(call, &item);
    return VIM_OK;
}

static int scripted_reconfigure(struct vim_call *call, void *instance, const void *config)
{
    assert(instance == &scripted);
    return scripted.reconfigure ? scripted.reconfigure(call, config) : VIM_OK;
}

static int scripted_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    assert(instance == &scripted);
    return scripted.step(call, op);
}

static const struct vim_trait scripted_traits[] = {{.kind = "server", .verbs = VIM_VERB_CREATE}};

static const struct vim_driver_ops scripted_ops = {.size = sizeof(scripted_ops),
                                                   .trait_count = 1,
                                                   .trait_stride = sizeof(struct vim_trait),
                                                   .traits = scripted_traits,
                                                   .step = scripted_step};

static struct plugin *scripted_plugin(uint32_t flags)
{
    const struct vim_plugin descriptor = {.size = sizeof(descriptor),
                                          .abi = VIM_ABI,
                                          .type = VIM_DRIVER,
                                          .flags = flags,
                                          .name = "scripted",
                                          .version = "1",
                                          .summary = "For tests.",
                                          .options = scripted_options,
                                          .option_count = 2,
                                          .option_stride = sizeof(struct vim_option),
                                          .config_size = sizeof(struct scripted_config),
                                          .open = scripted_open,
                                          .close = scripted_close,
                                          .probe = scripted_probe,
                                          .reconfigure = scripted_reconfigure,
                                          .ops = &scripted_ops};
    struct text faults = {0};
    assert(plugin_lint(&descriptor, "scripted", VIM_DRIVER, &faults) == VIM_OK);
    text_free(&faults);
    return plugin_from_descriptor(&descriptor, "built in");
}

static struct config_struct *scripted_fill(const struct plugin *plugin, const char *yaml)
{
    struct config *config = NULL;
    struct config_errors errors = {0};
    struct config_struct *filled = NULL;
    int code = config_parse_text(yaml, strlen(yaml), "x.yaml", &config, &errors);
    assert(code == VIM_OK);
    code = config_fill(&plugin->table, config_root(config), NULL, &errors, &filled);
    assert(code == VIM_OK);
    (void)code;
    config_free(config);
    return filled;
}

static struct instance *scripted_instance(const struct plugin *plugin, const char *name)
{
    struct instance *instance = NULL;
    struct text reason = {0};
    const struct instance_settings settings = {.name = name, .state_dir = "/var/lib/x"};
    int code = instance_open(plugin, &settings, scripted_fill(plugin, "{}"), &instance, &reason);
    assert(code == VIM_OK);
    (void)code;
    text_free(&reason);
    return instance;
}

#endif
