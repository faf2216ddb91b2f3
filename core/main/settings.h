/*
 * main/settings.h - the configuration file as a whole: its sections and the plugins they name.
 */
#ifndef VIMD_MAIN_SETTINGS_H
#define VIMD_MAIN_SETTINGS_H

#include "api/api.h"
#include "config/config.h"
#include "config/fill.h"
#include "engine/events.h"
#include "engine/tasks.h"
#include "main/roles.h"
#include "plugin/registry.h"
#include "scaler/services.h"

/* Sections, as their tables (sections.c) fill them. */
struct daemon_config {
    const char *id, *state_dir, *plugin_dir, *spool_dir;
    struct vim_texts roles;
    int64_t drain_ms, heartbeat_ms;
};

struct log_config {
    const char *level, *format;
};

struct tasks_config {
    int64_t deadline_ms, max_attempts, backoff_base_ms, backoff_cap_ms, lease_margin_ms, sweep_ms;
    int64_t idempotency_ms, retention_ms, active_max;
};

struct events_config {
    int64_t retention_ms;
};

struct webhooks_config {
    struct vim_texts allow_hosts, allow_networks;
    int32_t allow_http;
    const char *ca_file, *source;
    int64_t connect_timeout_ms, timeout_ms, backoff_base_ms, backoff_cap_ms;
    int64_t max_attempts, concurrency, retention_ms;
};
extern const struct config_table webhooks_table; /* webhooks.c */
/* What the table cannot check. */
int webhooks_check(const struct webhooks_config *config, struct failure *failure);

struct alarms_config {
    int64_t vim_after_ms, quota_percent, quota_interval_ms;
};
extern const struct config_table alarms_table; /* alarms.c */

struct worker_config {
    int64_t threads;
};

struct health_config {
    const char *listen; /* NULL: not at all */
    int32_t metrics;
};

struct store_config {
    const char *plugin;
    int64_t timeout_ms;
};

struct queue_config {
    const char *plugin;
};

struct vim_config {
    const char *name, *driver, *project;
    int64_t call_timeout_ms, poll_pending_ms, poll_idle_ms, poll_full_ms, poll_backoff_ms;
    int64_t operations, threads, queue;
    int32_t check_quota;
};

enum section {
    SECTION_DAEMON,
    SECTION_LOG,
    SECTION_API,
    SECTION_LINK,
    SECTION_HEALTH,
    SECTION_STORE,
    SECTION_QUEUE,
    SECTION_TASKS,
    SECTION_EVENTS,
    SECTION_WEBHOOKS,
    SECTION_ALARMS,
    SECTION_WORKER,
    SECTION_COUNT
};

/* The tables of all sections, in the order above, and of an element of `vims`. */
extern const struct config_table *const section_tables[SECTION_COUNT];
extern const struct config_table vims_table;

/* A plugin that the configuration uses, and its options. */
struct plugin_use {
    const struct plugin *plugin; /* NULL: the roles of the process need none, and none is there */
    const struct config_node *node; /* of the options, may be NULL */
    const struct config_node *parent;
    struct config_struct *options; /* NULL once an instance has taken it over */
};

struct vim_use {
    struct config_struct *section; /* struct vim_config */
    struct plugin_use driver;
};

struct settings {
    struct config *config;
    struct registry *registry; /* borrowed */
    unsigned roles; /* enum process_role */
    struct config_struct *sections[SECTION_COUNT];
    struct plugin_use store, queue;
    struct vim_use *vims;
    size_t vim_count;
    struct services *services; /* what is scaled, and where */
};

/* Where plugins are looked for. */
struct plugin_dirs {
    char *items[3];
    size_t count;
};
struct plugin_dirs plugin_dirs_find(const char *configured);
void plugin_dirs_free(struct plugin_dirs *dirs);

/* Reads PATH, checks everything that can be checked without opening anything, and loads the plugins
 * it names. ROLES: of the process; 0: as the file says. What these do not need may be left out of the
 * file, and is checked all the same if it is there. All problems are in ERRORS. *REGISTRY is made if it
 * is NULL, else used as it is. */
int settings_load(const char *path, unsigned roles, struct registry **registry,
                  struct settings **ret_settings, struct config_errors *errors);
void settings_free(struct settings *settings); /* NULL is fine */

const void *settings_section(const struct settings *settings, enum section section);
const struct vim_config *settings_vim(const struct settings *settings, size_t index);

/* The VIM with that name, or NULL. */
struct vim_use *settings_find_vim(const struct settings *settings, const char *name);

/* Fills the options of a plugin anew, after an instance took them over. */
struct config_struct *plugin_use_fill(const struct plugin_use *use);

/* Effective configuration as YAML, without secrets. */
void settings_dump(const struct settings *settings, struct text *text);

/* What the engine takes. */
struct tasks_settings settings_tasks(const struct settings *settings);
struct events_settings settings_events(const struct settings *settings);
enum vim_level settings_log_level(const struct settings *settings);

#endif
