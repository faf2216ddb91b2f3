#include "policy_spec.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/config.h"
#include "config/fill.h"
#include "plugin/instance.h"
#include "plugin/loader.h"

const char *policy_directory(void)
{
    static char path[PATH_MAX + 32];
    static const char *const beside[] = {"../plugins", "../" VIMD_LIBDIR "/vimd/plugins"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
        for (size_t i = 0; slash && i < sizeof beside / sizeof beside[0]; i++) {
            *slash = '\0';
            snprintf(path, sizeof path, "%s/%s", self, beside[i]);
            if (access(path, F_OK) == 0)
                return path;
        }
    }
    return VIMD_PLUGIN_DIR;
}

static int load(const char *file, const char *directory, struct plugin **ret_plugin)
{
    CLEANUP_TEXT struct text reason = {0};
    CLEANUP_FREE char *folder = text_duplicate(file);
    char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    size_t length = strlen(name);
    int code;

    if (slash) {
        *slash = '\0';
        directory = slash == folder ? "/" : folder;
    }
    if (length > 3 && strcmp(name + length - 3, ".so") == 0) {
        name[length - 3] = '\0';
        directory = slash ? directory : ".";
    }
    code = plugin_load(&directory, 1, name, VIM_POLICY, ret_plugin, &reason);
    if (code != VIM_OK)
        fprintf(stderr, "%s\n", text_get(&reason));
    return code;
}

/* "a=b,c=d" as YAML. */
static void write_options(const char *options, struct text *yaml)
{
    while (options && *options) {
        size_t length = strcspn(options, ","), name = strcspn(options, "=,");

        text_add_bytes(yaml, options, name);
        text_add(yaml, ": ");
        if (name < length)
            text_add_bytes(yaml, options + name + 1, length - name - 1);
        text_add(yaml, "\n");
        options += length + (options[length] == ',');
    }
}

static int open_instance(struct policy *policy, const char *options)
{
    struct instance_settings settings = {.name = policy->label};
    CLEANUP_TEXT struct text yaml = {0}, reason = {0};
    struct config_errors errors = {0};
    struct config_struct *filled = NULL;
    struct config *config = NULL;
    int code;

    write_options(options, &yaml);
    code = config_parse_text(text_get(&yaml), yaml.length, policy->label, &config, &errors);
    if (code == VIM_OK)
        code = config_fill(&policy->plugin->table, config_root(config), NULL, &errors, &filled);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.items[i]);
    if (code == VIM_OK) {
        code = instance_open(policy->plugin, &settings, filled, &policy->instance, &reason);
        if (code != VIM_OK)
            fprintf(stderr, "%s\n", text_get(&reason));
    }
    config_errors_free(&errors);
    config_free(config);
    return code;
}

int policy_open(const char *spec, const char *directory, struct policy *ret_policy)
{
    CLEANUP_FREE char *file = text_duplicate(spec);
    char *options = strchr(file, ':');

    memset(ret_policy, 0, sizeof *ret_policy);
    if (options)
        *options++ = '\0';
    if (load(file, directory, &ret_policy->plugin) != VIM_OK)
        return -1;
    snprintf(ret_policy->label, sizeof ret_policy->label, "%s%s%s",
             ret_policy->plugin->descriptor.name, options ? ":" : "", options ? options : "");
    if (open_instance(ret_policy, options) == VIM_OK)
        return 0;
    policy_close(ret_policy);
    return -1;
}

void policy_close(struct policy *policy)
{
    instance_release(policy->instance);
    plugin_free(policy->plugin);
    memset(policy, 0, sizeof *policy);
}
