/*
 * SIGHUP: the file is read again and checked as at the start; then all that can fail is made (new
 * instances), and only then anything is changed. So a reload that fails leaves everything as it was.
 */
#include "main/daemon.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "main/notify.h"
#include "plugin/lane.h"

#define RECONFIGURE_MS 30000

/* A VIM of the new file whose plugin instance is new. */
struct fresh {
    struct instance *instance;
    struct lane *lane;
};

static bool reload_same(const struct config_struct *a, const struct config_struct *b)
{
    return config_compare(a, b).count == 0;
}

/* Changes OPTIONS of a running instance in place. False if that cannot be, and then OPTIONS is gone. */
static bool reload_in_place(struct instance *instance, struct config_struct *options)
{
    struct vim_call call;
    call_init(&call, clock_mono_ms() + RECONFIGURE_MS);
    int code = instance_reconfigure(instance, &call, options);
    if (code && code != VIM_E_UNSUPPORTED) {
        log_event(VIM_WARNING, "options cannot be changed in place",
                  "instance=%s plugin=%s error=%s", instance_name(instance),
                  instance_plugin(instance)->descriptor.name, call_fail_text(&call));
    }
    call_free(&call);
    return code == VIM_OK;
}

/* May the options be applied to the instance that runs? */
static bool reload_is_live(const struct plugin_use *use, const struct instance *instance)
{
    return use->plugin == instance_plugin(instance) &&
           config_compare(instance_config(instance), use->options).live &&
           use->plugin->descriptor.reconfigure;
}

static bool reload_needs_instance(struct daemon *daemon, const struct vim_use *use)
{
    const struct vim_config *vim = config_data(use->section);
    struct vim_target *target = vims_get(daemon->vims, vim->name);
    if (!target) {
        return true;
    }
    const struct instance *instance = vim_target_instance(target);
    bool same = use->driver.plugin == instance_plugin(instance) &&
                (reload_same(instance_config(instance), use->driver.options) ||
                 reload_is_live(&use->driver, instance));
    vim_target_release(target);
    return !same;
}

/* --- First: what can fail ------------------------------------------------------------------------ */

static int reload_open(struct daemon *daemon, struct settings *settings, struct fresh *fresh,
                       struct config_errors *errors)
{
    CLEANUP_TEXT struct text reason = {0};
    for (size_t i = 0; i < settings->vim_count && daemon->vims; i++) {
        struct vim_use *use = &settings->vims[i];
        if (!reload_needs_instance(daemon, use)) {
            continue;
        }
        const char *name = settings_vim(settings, i)->name;
        text_clear(&reason);
        if (daemon_open_instance(settings, name, &use->driver, &fresh[i].instance, &reason)) {
            config_error(errors, use->driver.parent, "VIM %s: %s", name, text_get(&reason));
        } else if (daemon_open_lane(use, fresh[i].instance, &fresh[i].lane)) {
            config_error(errors, use->driver.parent, "VIM %s: no more threads", name);
        }
    }
    if (errors->count == 0) {
        return VIM_OK;
    }
    for (size_t i = 0; i < settings->vim_count; i++) {
        lane_release(fresh[i].lane);
        instance_release(fresh[i].instance);
    }
    return VIM_E_INVALID;
}

/* --- Then: what is changed ------------------------------------------------------------------------- */

/* Puts a VIM with other settings around the instance that runs. */
static void reload_keep_vim(struct daemon *daemon, struct settings *settings, struct vim_use *use)
{
    const struct vim_config *vim = config_data(use->section);
    struct vim_target *target = vims_get(daemon->vims, vim->name);
    const struct vim_use *before = settings_find_vim(daemon->settings, vim->name);
    struct instance *instance = instance_hold(vim_target_instance(target));
    struct lane *lane = lane_hold(vim_target_lane(target));
    vim_target_release(target);
    struct config_changes options = config_compare(instance_config(instance), use->driver.options);
    struct failure failure = {0};
    int code = VIM_OK;
    if (options.count && !reload_in_place(instance, TAKE(use->driver.options))) {
        CLEANUP_TEXT struct text reason = {0};
        lane_release(TAKE(lane));
        instance_release(TAKE(instance));
        use->driver.options = plugin_use_fill(&use->driver);
        code = daemon_open_instance(settings, vim->name, &use->driver, &instance, &reason);
        code = code ? code : daemon_open_lane(use, instance, &lane);
        failure_set(&failure, code, "%s", text_get(&reason));
    } else if (!options.count && before && reload_same(before->section, use->section)) {
        lane_release(lane);
        instance_release(instance);
        return;
    } else {
        code = daemon_open_lane(use, instance, &lane);
    }
    if (code) {
        log_event(VIM_ERROR, "VIM stays as it was", "vim=%s error=%s", vim->name, failure.text);
        lane_release(lane);
        instance_release(instance);
        return;
    }
    code = daemon_put_vim(daemon, use, instance, lane, &failure);
    log_event(code ? VIM_ERROR : VIM_INFO, code ? "VIM cannot be changed" : "VIM changed",
              "vim=%s options=%s error=%s", vim->name, options.names, failure.text);
}

static void reload_vims(struct daemon *daemon, struct settings *settings, struct fresh *fresh)
{
    for (size_t i = 0; i < settings->vim_count; i++) {
        struct vim_use *use = &settings->vims[i];
        const char *name = settings_vim(settings, i)->name;
        if (!fresh[i].instance) {
            reload_keep_vim(daemon, settings, use);
            continue;
        }
        struct failure failure = {0};
        int code = daemon_put_vim(daemon, use, fresh[i].instance, fresh[i].lane, &failure);
        bool known = settings_find_vim(daemon->settings, name);
        log_event(code ? VIM_ERROR : VIM_INFO,
                  code    ? "VIM cannot be changed"
                  : known ? "VIM replaced"
                          : "VIM added",
                  "vim=%s error=%s", name, failure.text);
    }
    for (size_t i = 0; i < daemon->settings->vim_count; i++) {
        const char *name = settings_vim(daemon->settings, i)->name;
        if (!settings_find_vim(settings, name)) {
            vims_remove(daemon->vims, name);
            log_event(VIM_INFO, "VIM removed", "vim=%s", name);
        }
    }
    inventory_refresh(daemon->inventory);
}

/* Those of CHANGED, names separated by spaces, that are not live. */
static void reload_name_fixed(const struct config_table *table, const char *changed,
                              struct text *names)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct vim_option *option = &table->options[i];
        if (!(option->flags & VIM_LIVE) && text_has_word(changed, option->name)) {
            text_printf(names, "%s%s", names->length ? " " : "", option->name);
        }
    }
}

/* Applies what is live, and names what a restart is needed for. */
static void reload_sections(struct daemon *daemon, struct settings *settings)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        struct config_changes changes =
            config_compare(daemon->settings->sections[i], settings->sections[i]);
        if (changes.count && !changes.live) {
            CLEANUP_TEXT struct text names = {0};
            reload_name_fixed(section_tables[i], changes.names, &names);
            log_event(VIM_WARNING, "a restart is needed for some of the changed options",
                      "section=%s options=%s", section_tables[i]->name, text_get(&names));
        } else if (changes.count) {
            log_event(VIM_INFO, "options changed", "section=%s options=%s", section_tables[i]->name,
                      changes.names);
        }
    }
    const struct log_config *log = settings_section(settings, SECTION_LOG);
    log_init(settings_log_level(settings), text_equal(log->format, "json") ? LOG_JSON : LOG_LOGFMT);
    struct tasks_settings tasks = settings_tasks(settings);
    if (daemon->tasks) {
        tasks_configure(daemon->tasks, &tasks);
    }
    if (daemon->events) {
        struct events_settings events = settings_events(settings);
        events_configure(daemon->events, &events);
    }
    front_configure(daemon, settings);
    struct failure failure = {0};
    if (daemon->api && api_reload_tls(daemon->api, &failure)) {
        log_event(VIM_ERROR, "the old TLS certificate stays in use", "error=%s", failure.text);
    }
}

/* Store and queue: in place, or at the next start. */
static void reload_plugin(const char *section, struct plugin_use *use, struct instance *instance)
{
    if (use->plugin == instance_plugin(instance) &&
        reload_same(instance_config(instance), use->options)) {
        return;
    }
    if (reload_is_live(use, instance) && reload_in_place(instance, TAKE(use->options))) {
        log_event(VIM_INFO, "options changed", "section=%s", section);
        return;
    }
    log_event(VIM_WARNING, "a restart is needed for some of the changed options",
              "section=%s plugin=%s", section, use->plugin->descriptor.name);
}

/* Of services nothing is live: histories begin with the process. */
static void reload_services(const struct daemon *daemon, const struct settings *settings)
{
    CLEANUP_TEXT struct text text = {0};
    services_dump(settings->services, &text);
    if (daemon->scaler && !text_equal(daemon->services_text, text_get(&text))) {
        log_event(VIM_WARNING,
                  "a restart is needed for what has changed of platforms and services");
    }
}

void daemon_reload(struct daemon *daemon)
{
    notify_reloading();
    struct config_errors errors = {0};
    struct settings *settings = NULL;
    struct fresh *fresh = NULL;
    int code =
        settings_load(daemon->config_path, daemon->roles, &daemon->registry, &settings, &errors);
    if (!code && config_count(config_root(settings->config)) == 0) {
        /* It may be what a whole configuration looks like, and here it is one that is being written. */
        config_error(&errors, config_root(settings->config), "the file is empty");
        code = VIM_E_INVALID;
    }
    if (!code) {
        fresh = memory_new_array(settings->vim_count + 1, sizeof *fresh);
        code = reload_open(daemon, settings, fresh, &errors);
    }
    if (code) {
        for (size_t i = 0; i < errors.count; i++) {
            log_event(VIM_ERROR, "configuration", "text=%s", errors.items[i]);
        }
        log_event(VIM_ERROR, "reload refused; the old configuration stays in force", "errors=%zu",
                  errors.count);
        settings_free(settings);
    } else {
        daemon_tell(&errors);
        reload_sections(daemon, settings);
        reload_services(daemon, settings);
        if (daemon->roles & PROCESS_STORE) {
            reload_plugin("store", &settings->store, daemon->store_instance);
        }
        if (daemon->roles & PROCESS_ENGINE) {
            reload_plugin("queue", &settings->queue, daemon->queue_instance);
            reload_vims(daemon, settings, fresh);
        }
        settings_free(daemon->settings);
        daemon->settings = settings;
        log_event(VIM_INFO, "reloaded", "file=%s", daemon->config_path);
    }
    free(fresh);
    config_errors_free(&errors);
    notify_state("READY=1");
}
