#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/text.h"
#include "check.h"
#include "config/config.h"
#include "config/fill.h"
#include "plugin/instance.h"
#include "subject.h"

#define CLOSE_WAIT_MS 10000

static int open_filled(struct run *run, const struct config_node *options, const char *name,
                       struct instance **ret_instance, struct text *reason)
{
    struct instance_settings settings = {.name = name, .state_dir = run->directory};
    struct config_struct *filled = NULL;
    struct config_errors errors = {0};
    int code = config_fill(&run->plugin->table, options, NULL, &errors, &filled);

    for (size_t i = 0; i < errors.count; i++)
        text_printf(reason, "%s%s", i ? "; " : "", errors.items[i]);
    config_errors_free(&errors);
    if (code < 0)
        return code;
    return instance_open(run->plugin, &settings, filled, ret_instance, reason);
}

struct instance *subject_open(struct run *run, const char *name)
{
    const struct config_node *options = config_get(config_root(run->config), "plugin");
    CLEANUP_TEXT struct text reason = {0};
    struct instance *instance = NULL;
    int code = open_filled(run, options, name, &instance, &reason);

    if (code != VIM_OK) {
        check_fail(run, "open: %s: %s", code_name(code), text_get(&reason));
        return NULL;
    }
    return instance;
}

int subject_open_text(struct run *run, const char *yaml, struct instance **ret_instance,
                      struct text *reason)
{
    struct config_errors errors = {0};
    struct config *config = NULL;
    int code = config_parse_text(yaml, strlen(yaml), "check.yaml", &config, &errors);

    for (size_t i = 0; i < errors.count; i++)
        text_printf(reason, "%s; ", errors.items[i]);
    config_errors_free(&errors);
    if (code == VIM_OK)
        code = open_filled(run, config_root(config), "check", ret_instance, reason);
    config_free(config);
    return code;
}

void subject_close(struct instance *instance)
{
    uint32_t before = instance_wait_closed(0);
    int64_t end = clock_mono_ms() + CLOSE_WAIT_MS;

    instance_release(instance);
    while (instance_wait_closed(0) >= before && clock_mono_ms() < end)
        clock_sleep_ms(1);
}

static void add_node(struct text *yaml, const struct config_node *node)
{
    if (config_type(node) == CONFIG_SEQUENCE) {
        text_add(yaml, "[");
        for (size_t i = 0; i < config_count(node); i++) {
            text_add(yaml, i ? ", " : "");
            add_node(yaml, config_at(node, i));
        }
        text_add(yaml, "]");
    } else if (config_text(node)) {
        config_dump_scalar(config_text(node), yaml);
    }
}

void subject_write_options(const struct run *run, const char *name, const char *value,
                           struct text *yaml)
{
    const struct config_node *options = config_get(config_root(run->config), "plugin");

    for (size_t i = 0; options && i < config_count(options); i++) {
        const char *key = config_key_at(options, i);

        if (strcmp(key, name) == 0)
            continue;
        text_printf(yaml, "%s: ", key);
        add_node(yaml, config_at(options, i));
        text_add(yaml, "\n");
    }
    if (value)
        text_printf(yaml, "%s: %s\n", name, value);
}

void unique_name(const char *prefix, char ret_name[32])
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof random, 0) < 0)
        random = 1;
    snprintf(ret_name, 32, "%.20s-%08x", prefix, random);
}
