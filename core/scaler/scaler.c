#include "scaler/scaler.h"

#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/resource.h"
#include "plugin/instance.h"
#include "plugin/lane.h"
#include "scaler/watch.h"

#define PLATFORM_THREADS 2
#define PLATFORM_QUEUE 256

static int open_instance(const struct scaler *scaler, const char *name, struct service_plugin *use,
                         struct instance **ret_instance, struct config_errors *errors)
{
    CLEANUP_TEXT struct text reason = {0};
    struct instance_settings settings = {.name = name, .state_dir = scaler->settings.state_dir};
    int code = instance_open(use->plugin, &settings, TAKE(use->options), ret_instance, &reason);
    if (code != VIM_OK) {
        config_error(errors, use->node ? use->node : use->parent, "%s", text_get(&reason));
    }
    return code;
}

static void open_platform(struct scaler *scaler, struct service_platform *platform,
                          struct config_errors *errors)
{
    struct instance *instance = NULL;
    struct lane *lane = NULL;
    struct failure failure = {0};
    struct vim_settings settings = {.name = platform->name,
                                    .project = PROJECT_SHARED,
                                    .call_timeout_ms = platform->call_timeout_ms,
                                    .operations = 1};
    struct lane_settings threads = {.threads = PLATFORM_THREADS,
                                    .queue_limit = PLATFORM_QUEUE,
                                    .timeout_ms = platform->call_timeout_ms};
    if (open_instance(scaler, platform->name, &platform->driver, &instance, errors) != VIM_OK) {
        return;
    }
    if (lane_open(instance, &threads, &lane) != VIM_OK) {
        config_error(errors, platform->driver.parent, "%s: no more threads", platform->name);
        instance_release(instance);
    } else if (vims_put(scaler->platforms, &settings, instance, lane, &failure) != VIM_OK) {
        config_error(errors, platform->driver.parent, "%s: %s", platform->name, failure.text);
    }
}

static void open_service(struct scaler *scaler, struct service *service,
                         struct config_errors *errors)
{
    struct watch *watch = &scaler->watches[scaler->count++];
    struct failure failure = {0};
    if (watch_open(watch, scaler, service, &failure) != VIM_OK) {
        config_error(errors, service->policy.parent, "%s", failure.text);
    }
    CLEANUP_FREE char *name = text_format("%s.policy", service->name);
    (void)open_instance(scaler, name, &service->policy, &watch->policy, errors);
    for (uint32_t i = 0; i < service->shadow_count; i++) {
        CLEANUP_FREE char *shadow = text_format("%s.shadow%u", service->name, i + 1);
        (void)open_instance(scaler, shadow, &service->shadows[i], &watch->shadows[i], errors);
    }
}

int scaler_new(const struct scaler_settings *settings, struct config_errors *errors,
               struct scaler **ret_scaler)
{
    struct services *services = settings->services;
    struct scaler *scaler = MEMORY_NEW(struct scaler);
    size_t before = errors->count;
    scaler->settings = *settings;
    scaler->platforms = vims_new();
    scaler->watches = memory_new_array(services->count + 1, sizeof(*scaler->watches));
    for (size_t i = 0; i < services->platform_count; i++) {
        open_platform(scaler, &services->platforms[i], errors);
    }
    for (size_t i = 0; i < services->count && errors->count == before; i++) {
        open_service(scaler, &services->items[i], errors);
    }
    if (errors->count != before) {
        scaler_free(scaler);
        return VIM_E_INVALID;
    }
    *ret_scaler = scaler;
    return VIM_OK;
}

int scaler_start(struct scaler *scaler, struct failure *failure)
{
    for (size_t i = 0; i < scaler->count; i++) {
        int code = watch_start(&scaler->watches[i], failure);
        if (code != VIM_OK) {
            return code;
        }
    }
    return VIM_OK;
}

int scaler_stop(struct scaler *scaler, int64_t end)
{
    for (size_t i = 0; i < scaler->count; i++) {
        watch_stop(&scaler->watches[i]);
    }
    return vims_close(scaler->platforms, end);
}

void scaler_free(struct scaler *scaler)
{
    if (!scaler) {
        return;
    }
    for (size_t i = 0; i < scaler->count; i++) {
        watch_close(&scaler->watches[i]);
    }
    vims_free(scaler->platforms);
    free(scaler->watches);
    free(scaler);
}
