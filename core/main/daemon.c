/*
 * Start and end. The order of the start is that of the floors; the end goes backwards: first nobody
 * new comes in, then what is in progress ends, then what it worked with.
 */
#include "main/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/alarms.h"
#include "plugin/lane.h"
#include "scaler/scaler.h"

#define ALIASES_CACHED 65536
#define LOCK_WAIT_MS 2000

void daemon_tell(const struct config_errors *errors)
{
    for (size_t i = 0; i < errors->warning_count; i++) {
        log_event(VIM_WARNING, "configuration", "text=%s", errors->warnings[i]);
    }
    for (size_t i = 0; i < errors->count; i++) {
        fprintf(stderr, "vimd: %s\n", errors->items[i]);
    }
}

void daemon_blame(const struct settings *settings, const char *section, const char *key,
                  const char *text, struct config_errors *errors)
{
    const struct config_node *node = config_root(settings->config);
    const struct config_node *inner = section ? config_get(node, section) : node;
    const struct config_node *value = config_get(inner, key);
    if (value) {
        config_error(errors, value, "%s", text);
    } else {
        config_error(errors, inner ? inner : node, "%s%s%s: %s", section && !inner ? section : "",
                     section && !inner ? "." : "", key, text);
    }
}

/* --- Parts ------------------------------------------------------------------------------------- */

static int daemon_make_folder(const char *path, struct failure *failure)
{
    struct stat info;
    if (mkdir(path, 0700) && errno != EEXIST) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "cannot make the folder %s: %s", path,
                           strerror(errno));
    }
    if (stat(path, &info) || !S_ISDIR(info.st_mode) || access(path, W_OK | X_OK)) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "%s is not a folder that vimd can write to",
                           path);
    }
    if (info.st_mode & 077) {
        log_event(VIM_WARNING, "others can look into this folder; chmod 700 it",
                  "folder=%s mode=%04o", path, (unsigned)(info.st_mode & 07777));
    }
    return VIM_OK;
}

int daemon_make_folders(const struct settings *settings, struct config_errors *errors)
{
    const struct daemon_config *config = settings_section(settings, SECTION_DAEMON);
    CLEANUP_FREE char *spool = text_format("%s/spool", config->state_dir);
    struct failure failure = {0};
    int code = daemon_make_folder(config->state_dir, &failure);
    code = code ? code : daemon_make_folder(spool, &failure);
    if (code) {
        daemon_blame(settings, NULL, "state_dir", failure.text, errors);
    }
    if (config->spool_dir && (settings->roles & PROCESS_ENGINE) &&
        daemon_make_folder(config->spool_dir, &failure)) {
        daemon_blame(settings, NULL, "spool_dir", failure.text, errors);
        code = VIM_E_UNAVAILABLE;
    }
    return code;
}

/* A process that was killed a moment ago holds its lock until the kernel is through with it. */
static bool daemon_take_lock(int fd)
{
    for (int64_t until = clock_mono_ms() + LOCK_WAIT_MS; flock(fd, LOCK_EX | LOCK_NB) != 0;) {
        if (clock_mono_ms() >= until) {
            return false;
        }
        clock_sleep_ms(20);
    }
    return true;
}

/* One daemon per state folder: two would fight over what is kept in it. */
static int daemon_lock_state(struct daemon *daemon, struct failure *failure)
{
    const struct daemon_config *config = settings_section(daemon->settings, SECTION_DAEMON);
    CLEANUP_FREE char *path = text_format("%s/vimd.lock", config->state_dir);
    daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (daemon->lock_fd < 0) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "cannot open %s: %s", path, strerror(errno));
    }
    if (!daemon_take_lock(daemon->lock_fd)) {
        char owner[32] = "";
        ssize_t length = pread(daemon->lock_fd, owner, sizeof owner - 1, 0);
        owner[length > 0 ? length : 0] = '\0';
        owner[strcspn(owner, "\n")] = '\0';
        return failure_set(failure, VIM_E_CONFLICT,
                           "another vimd (process %s) is using state_dir %s; each needs its own",
                           owner[0] ? owner : "unknown", config->state_dir);
    }
    if (ftruncate(daemon->lock_fd, 0) || dprintf(daemon->lock_fd, "%ld\n", (long)getpid()) < 0) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "cannot write %s: %s", path,
                           strerror(errno));
    }
    return VIM_OK;
}

static int daemon_lock(struct daemon *daemon, struct config_errors *errors)
{
    struct failure failure = {0};
    int code = daemon_lock_state(daemon, &failure);
    if (code) {
        daemon_blame(daemon->settings, NULL, "state_dir", failure.text, errors);
    }
    return code;
}

int daemon_open_instance(const struct settings *settings, const char *name, struct plugin_use *use,
                         struct instance **ret_instance, struct text *ret_reason)
{
    const struct daemon_config *config = settings_section(settings, SECTION_DAEMON);
    struct instance_settings instance = {.name = name, .state_dir = config->state_dir};
    return instance_open(use->plugin, &instance, TAKE(use->options), ret_instance, ret_reason);
}

int daemon_open_lane(const struct vim_use *use, struct instance *instance, struct lane **ret_lane)
{
    const struct vim_config *vim = config_data(use->section);
    struct lane_settings lane = {.threads = (uint32_t)vim->threads,
                                 .queue_limit = (uint32_t)vim->queue,
                                 .timeout_ms = vim->call_timeout_ms};
    if (*ret_lane) {
        lane_configure(*ret_lane, &lane);
        return VIM_OK;
    }
    return lane_open(instance, &lane, ret_lane);
}

int daemon_put_vim(struct daemon *daemon, const struct vim_use *use, struct instance *instance,
                   struct lane *lane, struct failure *failure)
{
    const struct vim_config *vim = config_data(use->section);
    struct vim_settings wanted = {
        .name = vim->name,
        .project = vim->project,
        .call_timeout_ms = vim->call_timeout_ms,
        .poll_pending_ms = vim->poll_pending_ms,
        .poll_idle_ms = vim->poll_idle_ms,
        .poll_full_ms = vim->poll_full_ms,
        .poll_backoff_ms = vim->poll_backoff_ms,
        .operations = (uint32_t)vim->operations,
        .check_quota = vim->check_quota != 0,
    };
    return vims_put(daemon->vims, &wanted, instance, lane, failure);
}

static void daemon_complain(struct config_errors *errors, const struct plugin_use *use,
                            const char *what, const char *name, const char *reason)
{
    config_error(errors, use->node ? use->node : use->parent, "%s %s: %s", what, name, reason);
}

/* Opens all instances; every failure is told. */
static int daemon_open_plugins(struct daemon *daemon, struct config_errors *errors)
{
    struct settings *settings = daemon->settings;
    CLEANUP_TEXT struct text reason = {0};
    if ((daemon->roles & PROCESS_STORE) && daemon_open_instance(settings, "store", &settings->store,
                                                                &daemon->store_instance, &reason)) {
        daemon_complain(errors, &settings->store, "store", settings->store.plugin->descriptor.name,
                        text_get(&reason));
    }
    if (!(daemon->roles & PROCESS_ENGINE)) {
        return errors->count ? VIM_E_INVALID : VIM_OK;
    }
    text_clear(&reason);
    if (daemon_open_instance(settings, "queue", &settings->queue, &daemon->queue_instance,
                             &reason)) {
        daemon_complain(errors, &settings->queue, "queue", settings->queue.plugin->descriptor.name,
                        text_get(&reason));
    }
    daemon->vims = vims_new();
    for (size_t i = 0; i < settings->vim_count; i++) {
        struct vim_use *use = &settings->vims[i];
        const char *name = settings_vim(settings, i)->name;
        struct instance *instance = NULL;
        struct lane *lane = NULL;
        struct failure failure = {0};
        text_clear(&reason);
        if (daemon_open_instance(settings, name, &use->driver, &instance, &reason)) {
            daemon_complain(errors, &use->driver, "VIM", name, text_get(&reason));
        } else if (daemon_open_lane(use, instance, &lane)) {
            daemon_complain(errors, &use->driver, "VIM", name, "no more threads");
            instance_release(instance);
        } else if (daemon_put_vim(daemon, use, instance, lane, &failure)) {
            daemon_complain(errors, &use->driver, "VIM", name, failure.text);
        }
    }
    return errors->count ? VIM_E_INVALID : VIM_OK;
}

/* What all have that have the store. */
static int daemon_open_store(struct daemon *daemon, struct config_errors *errors,
                             struct failure *failure)
{
    const struct store_config *store = settings_section(daemon->settings, SECTION_STORE);
    if (!(daemon->roles & PROCESS_STORE)) {
        return VIM_OK;
    }
    daemon->store = store_new(daemon->store_instance, store->timeout_ms);
    int code = store_probe(daemon->store, 0, failure);
    if (code) {
        daemon_blame(daemon->settings, NULL, "store", failure->text, errors);
        return code;
    }
    code = front_open_presence(daemon, failure);
    if (code) {
        return code;
    }
    struct events_settings events = settings_events(daemon->settings);
    events.presence = daemon->presence;
    daemon->events = events_new(daemon->store, &events);
    return events_start(daemon->events, failure);
}

static int daemon_open_engine(struct daemon *daemon, struct failure *failure)
{
    if (!(daemon->roles & PROCESS_ENGINE)) {
        return VIM_OK;
    }
    daemon->aliases = aliases_new(daemon->store, ALIASES_CACHED);
    struct tasks_settings tasks = settings_tasks(daemon->settings);
    daemon->tasks = tasks_new(daemon->store, daemon->queue_instance, daemon->vims, &tasks);
    daemon->inventory = inventory_new(daemon->store, daemon->vims, daemon->tasks, daemon->aliases);
    tasks_set_inventory(daemon->tasks, daemon->inventory);
    tasks_set_presence(daemon->tasks, daemon->presence);
    /* What is due and forgotten, and what is at the VIMs, the workers look after. */
    bool works = daemon->roles & PROCESS_WORKER;
    if (works) {
        presence_watch_queue(daemon->presence, daemon->tasks);
    }
    int code =
        works ? tasks_start(daemon->tasks, failure) : tasks_start_apart(daemon->tasks, failure);
    return code || !works ? code : inventory_start(daemon->inventory, failure);
}

static int daemon_open_scaler(struct daemon *daemon, struct config_errors *errors,
                              struct failure *failure)
{
    const struct daemon_config *config = settings_section(daemon->settings, SECTION_DAEMON);
    struct scaler_settings settings = {.store = daemon->store,
                                       .presence = daemon->presence,
                                       .services = daemon->settings->services,
                                       .state_dir = config->state_dir};
    if (!(daemon->roles & PROCESS_SCALER)) {
        return VIM_OK;
    }
    struct text text = {0};
    services_dump(settings.services, &text);
    daemon->services_text = text_take(&text);
    int code = scaler_new(&settings, errors, &daemon->scaler);
    daemon->services = TAKE(daemon->settings->services);
    return code ? code : scaler_start(daemon->scaler, failure);
}

static int daemon_open(struct daemon *daemon, struct config_errors *errors)
{
    struct failure failure = {0};
    int code = settings_load(daemon->config_path, daemon->roles, &daemon->registry,
                             &daemon->settings, errors);
    if (code) {
        return code;
    }
    daemon->roles = daemon->settings->roles;
    const struct log_config *log = settings_section(daemon->settings, SECTION_LOG);
    log_init(settings_log_level(daemon->settings),
             text_equal(log->format, "json") ? LOG_JSON : LOG_LOGFMT);
    const struct daemon_config *own = settings_section(daemon->settings, SECTION_DAEMON);
    id_set_origin(own->id);
    code = daemon_make_folders(daemon->settings, errors);
    code = code ? code : daemon_lock(daemon, errors);
    if (!code) {
        code = daemon_open_plugins(daemon, errors);
    }
    code = code ? code : daemon_open_store(daemon, errors, &failure);
    code = code ? code : daemon_open_engine(daemon, &failure);
    code = code ? code : daemon_open_rules(daemon, &failure);
    code = code ? code : front_open(daemon, errors, &failure);
    if (!code && (daemon->roles & PROCESS_WORKER)) {
        const struct worker_config *worker = settings_section(daemon->settings, SECTION_WORKER);
        code = worker_start(daemon->tasks, (uint32_t)worker->threads, &daemon->worker, &failure);
        code = code ? code : daemon_open_webhooks(daemon, &failure);
        code = code ? code : daemon_open_alarms(daemon, &failure);
    }
    code = code ? code : daemon_open_scaler(daemon, errors, &failure);
    if (code && !errors->count) {
        config_error(errors, NULL, "%s", failure.text);
    }
    return code;
}

/* --- The whole ---------------------------------------------------------------------------------- */

int daemon_start(const char *config_path, unsigned roles, struct daemon **ret_daemon)
{
    struct daemon *daemon = MEMORY_NEW(struct daemon);
    daemon->config_path = text_duplicate(config_path);
    daemon->roles = roles;
    daemon->lock_fd = -1;
    struct config_errors errors = {0};
    int code = daemon_open(daemon, &errors);
    daemon_tell(&errors);
    config_errors_free(&errors);
    if (code) {
        daemon_stop(daemon);
        return code;
    }
    *ret_daemon = daemon;
    return VIM_OK;
}

static int64_t daemon_drain_ms(const struct daemon *daemon)
{
    if (!daemon->settings) {
        return 0;
    }
    return ((const struct daemon_config *)settings_section(daemon->settings, SECTION_DAEMON))
        ->drain_ms;
}

/* The last that is written: what this process has claimed and not given back is free from here on. */
static void daemon_say_goodbye(struct daemon *daemon)
{
    if (daemon->presence) {
        presence_stop(daemon->presence);
    }
}

void daemon_stop(struct daemon *daemon)
{
    atomic_store(&daemon->stopping, true);
    if (daemon->presence) {
        presence_drain(daemon->presence);
    }
    int64_t end = clock_mono_ms() + daemon_drain_ms(daemon);
    front_stop(daemon, end);
    daemon_stop_webhooks(daemon);
    alarms_stop(daemon->alarms);
    if (daemon->worker) {
        int64_t left = end - clock_mono_ms();
        worker_stop(daemon->worker, left > 1000 ? left : 1000);
    }
    if ((daemon->scaler && scaler_stop(daemon->scaler, end) != VIM_OK) ||
        (daemon->vims && vims_close(daemon->vims, end) != VIM_OK) ||
        (daemon->tasks && tasks_in_progress(daemon->tasks) > 0) ||
        (daemon->inventory && inventory_stop(daemon->inventory) != VIM_OK)) {
        /* The completion of a call may come at any time, and use all that would be freed now. What
         * is stored can take an end at any instant, so this is one. */
        daemon_say_goodbye(daemon);
        log_event(VIM_WARNING, "stopped with calls of drivers in progress");
        _exit(EXIT_SUCCESS);
    }
    if (daemon->tasks) {
        tasks_stop(daemon->tasks);
    }
    daemon_say_goodbye(daemon);
    if (daemon->events) {
        events_stop(daemon->events);
    }
    scaler_free(daemon->scaler);
    services_free(daemon->services);
    free(daemon->services_text);
    front_free(daemon);
    alarms_free(daemon->alarms);
    presence_free(daemon->presence);
    vims_free(daemon->vims);
    inventory_free(daemon->inventory);
    tasks_free(daemon->tasks);
    aliases_free(daemon->aliases);
    events_free(daemon->events);
    daemon_free_webhooks(daemon);
    store_free(daemon->store);
    instance_release(daemon->queue_instance);
    instance_release(daemon->store_instance);
    settings_free(daemon->settings); /* filled by the plugins' tables: before the registry */
    uint32_t open = instance_wait_closed(5000);
    if (open == 0) {
        registry_free(daemon->registry);
    } else {
        log_event(VIM_WARNING, "plugins are still busy at the end", "instances=%u", open);
    }
    if (daemon->lock_fd >= 0) {
        close(daemon->lock_fd);
    }
    free(daemon->config_path);
    free(daemon);
}
