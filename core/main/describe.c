/*
 * --check-config, --dump-config and --describe: what the option tables tell.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "main/commands.h"
#include "main/daemon.h"

static struct settings *load(const struct options *options, struct registry **ret_registry)
{
    struct config_errors errors = {0};
    struct settings *settings = NULL;
    settings_load(options->config, options->roles, ret_registry, &settings, &errors);
    for (size_t i = 0; i < errors.warning_count; i++) {
        fprintf(stderr, "vimd: warning: %s\n", errors.warnings[i]);
    }
    for (size_t i = 0; i < errors.count; i++) {
        fprintf(stderr, "vimd: %s\n", errors.items[i]);
    }
    config_errors_free(&errors);
    return settings;
}

int command_check_config(const struct options *options)
{
    struct registry *registry = NULL;
    struct settings *settings = load(options, &registry);
    if (settings) {
        printf("%s: good; %zu VIM%s\n", options->config, settings->vim_count,
               settings->vim_count == 1 ? "" : "s");
    }
    int code = settings ? 0 : 1;
    settings_free(settings);
    registry_free(registry);
    return code;
}

int command_dump_config(const struct options *options)
{
    struct registry *registry = NULL;
    struct settings *settings = load(options, &registry);
    if (settings) {
        CLEANUP_TEXT struct text text = {0};
        settings_dump(settings, &text);
        fputs(text_get(&text), stdout);
    }
    int code = settings ? 0 : 1;
    settings_free(settings);
    registry_free(registry);
    return code;
}

/* Folders as the configuration says, if one was named; it need not be good otherwise. */
static struct plugin_dirs describe_dirs(const struct options *options)
{
    struct config *config = NULL;
    struct config_errors errors = {0};
    const char *configured = NULL;
    if (options->config_given && config_load(options->config, &config, &errors) == VIM_OK) {
        configured = config_text(config_get(config_root(config), "plugin_dir"));
    }
    struct plugin_dirs dirs = plugin_dirs_find(configured);
    config_free(config);
    config_errors_free(&errors);
    return dirs;
}

static void describe_section(const struct config_table *table)
{
    CLEANUP_TEXT struct text text = {0};
    config_describe(table, &text);
    fputs(text_get(&text), stdout);
}

static int describe_plugin(const struct plugin_dirs *dirs, const char *name)
{
    CLEANUP_TEXT struct text reason = {0};
    struct plugin *plugin = NULL;
    if (plugin_load((const char *const *)dirs->items, dirs->count, name, 0, &plugin, &reason)) {
        fprintf(stderr, "vimd: %s\n", text_get(&reason));
        return 1;
    }
    printf("%s %s, a %s: %s\n\n", name, plugin->descriptor.version,
           plugin_type_name(plugin->descriptor.type), plugin->descriptor.summary);
    describe_section(&plugin->table);
    plugin_free(plugin);
    return 0;
}

static int describe_is_plugin(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

static void describe_list_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, describe_is_plugin, alphasort);
    for (int i = 0; i < count; i++) {
        CLEANUP_TEXT struct text reason = {0};
        CLEANUP_FREE char *name =
            text_duplicate_bytes(entries[i]->d_name, strlen(entries[i]->d_name) - 3);
        struct plugin *plugin = NULL;
        if (plugin_load(&folder, 1, name, 0, &plugin, &reason)) {
            printf("  %-20s does not load: %s\n", name, text_get(&reason));
        } else {
            printf("  %-20s %-7s %s\n", name, plugin_type_name(plugin->descriptor.type),
                   plugin->descriptor.summary);
        }
        plugin_free(plugin);
        free(entries[i]);
    }
    free(entries);
}

static int describe_list(const struct plugin_dirs *dirs)
{
    puts("Sections of the configuration");
    for (int i = 0; i < SECTION_COUNT; i++) {
        printf("  %-20s %s\n", section_tables[i]->name, section_tables[i]->help);
    }
    printf("  %-20s %s\n", vims_table.name, vims_table.help);
    for (const struct config_table *const *table = services_tables; *table; table++) {
        printf("  %-20s %s\n", (*table)->name, (*table)->help);
    }
    for (size_t i = 0; i < dirs->count; i++) {
        printf("\nPlugins in %s\n", dirs->items[i]);
        describe_list_folder(dirs->items[i]);
    }
    return 0;
}

static const struct config_table *describe_find_section(const char *name)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(section_tables[i]->name, name) == 0) {
            return section_tables[i];
        }
    }
    for (const struct config_table *const *table = services_tables; *table; table++) {
        if (strcmp((*table)->name, name) == 0) {
            return *table;
        }
    }
    return strcmp(vims_table.name, name) == 0 ? &vims_table : NULL;
}

int command_describe(const struct options *options)
{
    int code = 0;
    struct plugin_dirs dirs = describe_dirs(options);
    const struct config_table *table =
        options->describe ? describe_find_section(options->describe) : NULL;
    if (table) {
        printf("%s: %s\n\n", table->name, table->help);
        describe_section(table);
    } else if (options->describe) {
        code = describe_plugin(&dirs, options->describe);
    } else {
        code = describe_list(&dirs);
    }
    plugin_dirs_free(&dirs);
    return code;
}
