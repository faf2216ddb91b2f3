#include "main/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api/listen.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

/* Adds PATH (taken over) unless there is no such folder, or it is one that is in the list already. */
static void add_dir(struct plugin_dirs *dirs, char *path)
{
    struct stat added, other;
    bool wanted = stat(path, &added) == 0 && S_ISDIR(added.st_mode);
    for (size_t i = 0; wanted && i < dirs->count; i++) {
        wanted = stat(dirs->items[i], &other) != 0 || other.st_dev != added.st_dev ||
                 other.st_ino != added.st_ino;
    }
    if (wanted) {
        dirs->items[dirs->count++] = path;
    } else {
        free(path);
    }
}

struct plugin_dirs plugin_dirs_find(const char *configured)
{
    struct plugin_dirs dirs = {0};
    if (configured) {
        dirs.items[dirs.count++] = text_duplicate(configured);
        return dirs;
    }
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        char *slash = strrchr(program, '/');
        *slash = '\0';
        add_dir(&dirs, text_format("%s/../plugins", program));
        add_dir(&dirs, text_format("%s/../" VIMD_LIBDIR "/vimd/plugins", program));
    }
    add_dir(&dirs, text_duplicate(VIMD_PLUGIN_DIR));
    if (dirs.count == 0) {
        dirs.items[dirs.count++] = text_duplicate(VIMD_PLUGIN_DIR); /* to be named as missing */
    }
    return dirs;
}

void plugin_dirs_free(struct plugin_dirs *dirs)
{
    for (size_t i = 0; i < dirs->count; i++) {
        free(dirs->items[i]);
    }
    *dirs = (struct plugin_dirs){0};
}

const void *settings_section(const struct settings *settings, enum section section)
{
    return config_data(settings->sections[section]);
}

const struct vim_config *settings_vim(const struct settings *settings, size_t index)
{
    return config_data(settings->vims[index].section);
}

struct vim_use *settings_find_vim(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->vim_count; i++) {
        if (text_equal(settings_vim(settings, i)->name, name)) {
            return &settings->vims[i];
        }
    }
    return NULL;
}

struct config_struct *plugin_use_fill(const struct plugin_use *use)
{
    struct config_errors errors = {0};
    struct config_struct *filled = NULL;
    config_fill(&use->plugin->table, use->node, use->parent, &errors, &filled);
    config_errors_free(&errors);
    return filled;
}

/* Loads the plugin NAME that PARENT names under KEY, and fills its options. */
static void settings_use(struct settings *settings, const struct config_node *parent,
                         const char *key, const char *name, uint32_t type, struct plugin_use *use,
                         struct config_errors *errors)
{
    CLEANUP_TEXT struct text reason = {0};
    const struct config_node *node = config_get(parent, key);
    node = node ? node : parent;
    if (registry_load(settings->registry, name, type, &use->plugin, &reason)) {
        if (settings->roles & (type == VIM_STORE ? PROCESS_STORE : PROCESS_ENGINE)) {
            config_error(errors, node, "%s", text_get(&reason));
        } else {
            config_warning(errors, node, "options are not checked: %s", text_get(&reason));
        }
        return;
    }
    use->node = config_get(parent, "options");
    use->parent = parent;
    config_fill(&use->plugin->table, use->node, parent, errors, &use->options);
}

static bool settings_name_is_good(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length >= 1 && length <= 63 && name[length] == '\0';
}

static void settings_check_project(const struct config_node *node, const char *project,
                                   struct config_errors *errors)
{
    if (project && (project[0] == '\0' || strlen(project) > 63 || text_equal(project, "*"))) {
        config_error(errors, config_get(node, "project"), "not a project: 1 to 63 bytes, not *");
    }
}

static void settings_vim_element(struct settings *settings, const struct config_node *node,
                                 struct config_errors *errors)
{
    struct vim_use *use = &settings->vims[settings->vim_count];
    if (config_fill(&vims_table, node, node, errors, &use->section)) {
        /* What its options look like can be told all the same. */
        const char *driver = config_text(config_get(node, "driver"));
        if (driver) {
            settings_use(settings, node, "driver", driver, VIM_DRIVER, &use->driver, errors);
            config_struct_free(TAKE(use->driver.options));
        }
        return;
    }
    const struct vim_config *vim = config_data(use->section);
    if (!settings_name_is_good(vim->name)) {
        config_error(errors, config_get(node, "name"),
                     "'%s' is not a name: 1 to 63 of a-z, 0-9 and -", vim->name);
    } else if (settings_find_vim(settings, vim->name)) {
        config_error(errors, config_get(node, "name"), "there are two VIMs named '%s'", vim->name);
    }
    settings_check_project(node, vim->project, errors);
    settings->vim_count++;
    settings_use(settings, node, "driver", vim->driver, VIM_DRIVER, &use->driver, errors);
}

static void settings_vims(struct settings *settings, struct config_errors *errors)
{
    const struct config_node *list = config_get(config_root(settings->config), "vims");
    if (!list || (config_type(list) == CONFIG_SCALAR && !config_text(list))) {
        return;
    }
    if (config_type(list) != CONFIG_SEQUENCE) {
        config_error(errors, list, "expected a list of VIMs");
        return;
    }
    settings->vims = memory_new_array(config_count(list) + 1, sizeof *settings->vims);
    for (size_t i = 0; i < config_count(list); i++) {
        settings_vim_element(settings, config_at(list, i), errors);
    }
}

/* The roles that the file names, unless the command line does; where neither does, all that the file has
 * something for. False if one of them is none. */
static bool settings_roles(struct settings *settings, struct config_errors *errors)
{
    const struct daemon_config *daemon =
        settings->sections[SECTION_DAEMON] ? settings_section(settings, SECTION_DAEMON) : NULL;
    const struct config_node *list = config_get(config_root(settings->config), "roles");
    unsigned named = 0;
    bool right = true;
    for (size_t i = 0; daemon && i < daemon->roles.count; i++) {
        char wrong[96];
        if (roles_parse(daemon->roles.items[i], &named, wrong, sizeof wrong)) {
            config_error(errors, config_at(list, i), "%s", wrong);
            right = false;
        }
    }
    const struct config_node *services = config_get(config_root(settings->config), "services");
    unsigned all = PROCESS_ALL | (services && config_count(services) ? PROCESS_SCALER : 0);
    settings->roles = settings->roles ? settings->roles : named ? named : all;
    return right;
}

/* Folders are made at the start; what is there already and is none will not become one. */
static void settings_check_folder(const struct config_node *root, const char *key, const char *path,
                                  struct config_errors *errors)
{
    struct stat info;
    const struct config_node *node = config_get(root, key);
    if (node && path && stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) {
        config_error(errors, node, "%s is not a folder", path);
    }
}

/* What processes that are apart have to have in common. */
static void settings_check_apart(struct settings *settings, struct config_errors *errors)
{
    const struct config_node *root = config_root(settings->config);
    const struct store_config *store = settings_section(settings, SECTION_STORE);
    const struct queue_config *queue = settings_section(settings, SECTION_QUEUE);
    const struct daemon_config *daemon = settings_section(settings, SECTION_DAEMON);
    unsigned engine = settings->roles & PROCESS_ENGINE;
    if (engine == PROCESS_ENGINE || !(settings->roles & PROCESS_STORE)) {
        return;
    }
    const struct config_node *node = config_get(root, "store");
    if (text_equal(store->plugin, VIMD_DEFAULT_STORE) && !config_get(node, "options")) {
        config_error(
            errors, node ? node : root,
            "logic, worker and scaler processes need a store that they share, and this one would "
            "be in state_dir, which each has of its own");
    }
    if (engine == 0) {
        return;
    }
    node = config_get(root, "queue");
    if (text_equal(queue->plugin, VIMD_DEFAULT_QUEUE)) {
        config_warning(
            errors, node ? node : root,
            "this queue does not leave the process: tasks begin when a worker process looks "
            "for them by itself, after up to tasks.sweep");
    }
    if (!daemon->spool_dir) {
        config_warning(errors, root,
                       "uploads need a spool_dir that logic and worker processes share");
    }
}

/* What is wrong with a SECTION (NULL: it is not there): where the key is, if the text begins with one. */
static void settings_blame(struct config_errors *errors, const struct config_node *root,
                           const struct config_node *section, const char *text)
{
    const char *colon = strstr(text, ": ");
    CLEANUP_FREE char *key = colon ? text_duplicate_bytes(text, (size_t)(colon - text)) : NULL;
    const struct config_node *value = key && section ? config_get(section, key) : NULL;
    if (value) {
        config_error(errors, value, "%s", colon + 2);
    } else {
        config_error(errors, section ? section : root, "%s", text);
    }
}

/* What the roles need that has no default. */
static void settings_check_link(struct settings *settings, struct config_errors *errors)
{
    const struct config_node *root = config_root(settings->config);
    const struct config_node *node = config_get(root, "link");
    const struct link_config *link = settings_section(settings, SECTION_LINK);
    unsigned both = PROCESS_API | PROCESS_LOGIC;
    struct failure failure = {0};
    if (link_check(link, &failure)) {
        settings_blame(errors, root, node, failure.text);
        return;
    }
    node = node ? node : root;
    if ((settings->roles & both) == PROCESS_API && link->logic.count == 0) {
        config_error(
            errors, node,
            "the role api without logic needs link: logic: [ADDRESS:PORT ...], and a secret");
    } else if ((settings->roles & both) == PROCESS_LOGIC && link->listen.count == 0) {
        config_error(errors, node,
                     "the role logic without api needs link: listen: [ADDRESS:PORT], and a secret");
    }
}

static void settings_check_listeners(struct settings *settings, struct config_errors *errors)
{
    const struct config_node *root = config_root(settings->config);
    const struct config_node *node = config_get(root, "api");
    const struct health_config *health = settings_section(settings, SECTION_HEALTH);
    struct failure failure = {0};
    bool loopback = false;
    if (((settings->roles & PROCESS_API) || node) &&
        api_check(settings_section(settings, SECTION_API), &failure)) {
        settings_blame(errors, root, node, failure.text);
    }
    if (health->listen && listen_parse(health->listen, &loopback, &failure)) {
        config_error(errors, config_get(config_get(root, "health"), "listen"), "%s", failure.text);
    }
}

static void settings_sections(struct settings *settings, struct config_errors *errors)
{
    const struct config_node *root = config_root(settings->config);
    for (int i = 0; i < SECTION_COUNT; i++) {
        const struct config_table *table = section_tables[i];
        const struct config_node *node = i == SECTION_DAEMON ? root : config_get(root, table->name);
        config_fill(table, node, root, errors, &settings->sections[i]);
    }
    bool roles_are_right = settings_roles(settings, errors);
    if (settings->sections[SECTION_DAEMON]) {
        const struct daemon_config *daemon = settings_section(settings, SECTION_DAEMON);
        settings_check_folder(root, "state_dir", daemon->state_dir, errors);
        settings_check_folder(root, "spool_dir", daemon->spool_dir, errors);
        settings_check_folder(root, "plugin_dir", daemon->plugin_dir, errors);
    }
    struct failure failure = {0};
    if (settings->sections[SECTION_WEBHOOKS] &&
        webhooks_check(settings_section(settings, SECTION_WEBHOOKS), &failure)) {
        config_error(errors, config_get(root, "webhooks"), "%s", failure.text);
    }
    if (settings->sections[SECTION_API] && settings->sections[SECTION_HEALTH]) {
        settings_check_listeners(settings, errors);
    }
    if (settings->sections[SECTION_LINK] && roles_are_right) {
        settings_check_link(settings, errors);
    }
    if (roles_are_right && settings->sections[SECTION_DAEMON] &&
        settings->sections[SECTION_STORE] && settings->sections[SECTION_QUEUE]) {
        settings_check_apart(settings, errors);
    }
}

static void settings_plugins(struct settings *settings, struct registry **registry,
                             struct config_errors *errors)
{
    const struct config_node *root = config_root(settings->config);
    if (!*registry) {
        const struct daemon_config *daemon =
            settings->sections[SECTION_DAEMON] ? settings_section(settings, SECTION_DAEMON) : NULL;
        struct plugin_dirs dirs = plugin_dirs_find(daemon ? daemon->plugin_dir : NULL);
        *registry = registry_new((const char *const *)dirs.items, dirs.count);
        plugin_dirs_free(&dirs);
    }
    settings->registry = *registry;
    bool engine = settings->roles & PROCESS_ENGINE;
    const struct config_node *node = config_get(root, "store");
    if (settings->sections[SECTION_STORE] && ((settings->roles & PROCESS_STORE) || node)) {
        const struct store_config *store = settings_section(settings, SECTION_STORE);
        settings_use(settings, node ? node : root, "plugin", store->plugin, VIM_STORE,
                     &settings->store, errors);
    }
    node = config_get(root, "queue");
    if (settings->sections[SECTION_QUEUE] && (engine || node)) {
        const struct queue_config *queue = settings_section(settings, SECTION_QUEUE);
        settings_use(settings, node ? node : root, "plugin", queue->plugin, VIM_QUEUE,
                     &settings->queue, errors);
    }
    settings_vims(settings, errors);
    settings->services =
        services_load(root, settings->registry, settings->roles & PROCESS_SCALER, errors);
}

int settings_load(const char *path, unsigned roles, struct registry **registry,
                  struct settings **ret_settings, struct config_errors *errors)
{
    struct config *config = NULL;
    int code = config_load(path, &config, errors);
    if (code) {
        return code;
    }
    struct settings *settings = MEMORY_NEW(struct settings);
    settings->config = config;
    settings->roles = roles;
    settings_sections(settings, errors);
    settings_plugins(settings, registry, errors);
    if (errors->count > 0) {
        settings_free(settings);
        return VIM_E_INVALID;
    }
    *ret_settings = settings;
    return VIM_OK;
}

void settings_free(struct settings *settings)
{
    if (!settings) {
        return;
    }
    for (int i = 0; i < SECTION_COUNT; i++) {
        config_struct_free(settings->sections[i]);
    }
    config_struct_free(settings->store.options);
    config_struct_free(settings->queue.options);
    for (size_t i = 0; i < settings->vim_count; i++) {
        config_struct_free(settings->vims[i].section);
        config_struct_free(settings->vims[i].driver.options);
    }
    free(settings->vims);
    services_free(settings->services);
    config_free(settings->config);
    free(settings);
}

static void settings_dump_plugin(const struct plugin_use *use, unsigned indent, struct text *text)
{
    if (!use->options) {
        return;
    }
    text_printf(text, "%*soptions:\n", (int)indent, "");
    config_dump(use->options, indent + 2, text);
}

void settings_dump(const struct settings *settings, struct text *text)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        if (i == SECTION_DAEMON) {
            config_dump(settings->sections[i], 0, text);
            continue;
        }
        text_printf(text, "%s:\n", section_tables[i]->name);
        config_dump(settings->sections[i], 2, text);
        if (i == SECTION_STORE) {
            settings_dump_plugin(&settings->store, 2, text);
        } else if (i == SECTION_QUEUE) {
            settings_dump_plugin(&settings->queue, 2, text);
        }
    }
    text_add(text, "vims:\n");
    for (size_t i = 0; i < settings->vim_count; i++) {
        text_add(text, "  -\n");
        config_dump(settings->vims[i].section, 4, text);
        settings_dump_plugin(&settings->vims[i].driver, 4, text);
    }
    services_dump(settings->services, text);
}

struct tasks_settings settings_tasks(const struct settings *settings)
{
    const struct tasks_config *tasks = settings_section(settings, SECTION_TASKS);
    return (struct tasks_settings){
        .deadline_ms = tasks->deadline_ms,
        .max_attempts = (uint32_t)tasks->max_attempts,
        .backoff_base_ms = tasks->backoff_base_ms,
        .backoff_cap_ms = tasks->backoff_cap_ms,
        .lease_margin_ms = tasks->lease_margin_ms,
        .sweep_ms = tasks->sweep_ms,
        .idempotency_ms = tasks->idempotency_ms,
        .retention_ms = tasks->retention_ms,
        .active_max = (uint32_t)tasks->active_max,
    };
}

struct events_settings settings_events(const struct settings *settings)
{
    const struct events_config *events = settings_section(settings, SECTION_EVENTS);
    return (struct events_settings){.retention_ms = events->retention_ms};
}

enum vim_level settings_log_level(const struct settings *settings)
{
    const struct log_config *log = settings_section(settings, SECTION_LOG);
    enum vim_level level = VIM_INFO;
    log_level_from_name(log->level, &level);
    return level;
}
