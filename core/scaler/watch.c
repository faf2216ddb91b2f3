#include "scaler/watch.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"
#include "engine/owner.h"
#include "plugin/instance.h"

/* A lease lasts so much longer than anything that is done under it may take. */
#define LEASE_MS 10000

/* --- The lease ------------------------------------------------------------------------------------ */

static bool is_held_by_other(const struct watch_state *state, int64_t due, int64_t lease_ms)
{
    int64_t left = due - clock_now_ms();
    /* What lies oddly far in the future was written by a clock that is wrong. */
    return state->owner[0] && !text_equal(state->owner, owner_self()) && left > 0 &&
           left <= 4 * lease_ms && !owner_is_dead(state->owner);
}

/* An action whose effect is not known yet is the policy's business, too. */
static void restore_action(struct watch *watch)
{
    const struct guard_pending *pending = &watch->state.guard.pending;
    if (pending->block == VIM_NO_INDEX) {
        return;
    }
    struct history_action action = {
        .block =
            service_block_by_name(watch->service, watch->state.guard.blocks[pending->block].name),
        .delta = pending->delta,
        .ready = pending->ready_ms,
        .outcome = VIM_OUTCOME_PENDING};
    history_set_action(watch->history, &action);
}

/* Takes the lease and what its last owner remembered, if nobody holds it. */
static bool take_lease(struct watch *watch)
{
    struct row row = {0};
    struct failure failure = {0};
    struct watch_state state = {.owner = ""};
    int code = store_get(watch->scaler->settings.store, COLLECTION_SCALING_STATE,
                         watch->service->name, &row, &failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return false;
    }
    state_init(&state, watch->service);
    if (code == VIM_OK && state_parse(&state, watch->service, row.body) != VIM_OK) {
        log_event(VIM_ERROR, "the state of a service is not readable and begins anew", "service=%s",
                  watch->service->name);
    }
    uint64_t revision = row.revision;
    int64_t due = row.due;
    row_free(&row);
    if (is_held_by_other(&state, due, watch->lease_ms)) {
        state_free(&state);
        return false;
    }
    bool other = !text_equal(state.owner, owner_self());
    (void)snprintf(state.owner, sizeof(state.owner), "%s", owner_self());
    state.fence++;
    state_free(&watch->state);
    watch->state = state;
    watch->revision = revision;
    watch->is_actor = true;
    struct batch batch = {.count = 0};
    watch_publish(watch, &batch, clock_now_ms()); /* it is there from now on, for whoever asks */
    if (!watch_commit(watch, &batch)) {
        return false;
    }
    restore_action(watch);
    log_event(VIM_INFO, "this process decides on a service", "service=%s fence=%llu taken_over=%s",
              watch->service->name, (unsigned long long)watch->state.fence,
              revision && other ? "true" : "false");
    return true;
}

/* May this process decide? */
static bool hold_lease(struct watch *watch)
{
    int64_t left = watch->lease_until - clock_mono_ms();
    if (!watch->is_actor || left <= 0) {
        watch->is_actor = false;
        return take_lease(watch);
    }
    if (left < watch->lease_ms / 2) {
        struct batch batch = {.count = 0};
        return watch_commit(watch, &batch);
    }
    return true;
}

static void give_lease(struct watch *watch)
{
    if (watch->is_actor && watch->lease_until > clock_mono_ms()) {
        struct batch batch = {.count = 0};
        watch->state.owner[0] = '\0';
        (void)watch_commit(watch, &batch);
        watch->is_actor = false;
    }
}

/* --- The thread ----------------------------------------------------------------------------------- */

/* Waits for the end of the next window behind LAST. False: it is to stop. */
static bool wait_for_window(struct watch *watch, int64_t last, int64_t *ret_end)
{
    int64_t window = watch->service->window_ms;
    LOCK_GUARD(&watch->mutex);
    for (;;) {
        int64_t now = clock_now_ms(), end = sampler_grid(now, window);
        if (atomic_load(&watch->stopping)) {
            return false;
        }
        if (end > last || last - end > window) { /* or the clock was set back */
            *ret_end = end;
            return true;
        }
        (void)clock_cond_wait_until(&watch->cond, &watch->mutex,
                                    clock_mono_ms() + end + window - now);
    }
}

static void *watch_main(void *argument)
{
    struct watch *watch = argument;
    int64_t end = sampler_grid(clock_now_ms(), watch->service->window_ms);
    while (wait_for_window(watch, end, &end)) {
        watch_measure(watch, end);
        if (atomic_load(&watch->stopping) || !hold_lease(watch)) {
            continue;
        }
        if (sampler_grid(end, watch->service->interval_ms) >
            sampler_grid(watch->decided, watch->service->interval_ms)) {
            watch->decided = end;
            watch_decide(watch);
        } else {
            watch_record(watch);
        }
    }
    give_lease(watch);
    return NULL;
}

int watch_start(struct watch *watch, struct failure *failure)
{
    int code = thread_start("scaler", watch_main, watch, &watch->thread);
    watch->running = code == VIM_OK;
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "no thread for a service");
}

void watch_stop(struct watch *watch)
{
    if (watch->running) {
        pthread_mutex_lock(&watch->mutex);
        atomic_store(&watch->stopping, true);
        pthread_cond_signal(&watch->cond);
        pthread_mutex_unlock(&watch->mutex);
        (void)pthread_join(watch->thread, NULL);
        watch->running = false;
    }
}

/* --- Life ----------------------------------------------------------------------------------------- */

static const struct service_platform *platform_of(const struct services *services, const char *name)
{
    for (size_t i = 0; i < services->platform_count; i++) {
        if (text_equal(services->platforms[i].name, name)) {
            return &services->platforms[i];
        }
    }
    return NULL;
}

static void open_blocks(struct watch *watch)
{
    const struct service *service = watch->service;
    for (uint32_t i = 0; i < service->block_count; i++) {
        const struct service_block *block = &service->blocks[i];
        const struct service_platform *platform =
            platform_of(watch->scaler->settings.services, block->platform);
        struct history_block state = {.minimum = block->minimum,
                                      .maximum = block->maximum,
                                      .quota_cores = block->quota_cores,
                                      .threads = block->threads};
        history_set_block(watch->history, history_block(watch->history, block->name), &state);
        if (platform) {
            watch->groups[i].platform = vims_get(watch->scaler->platforms, block->platform);
            watch->groups[i].timeout_ms = platform->call_timeout_ms;
            if (platform->call_timeout_ms * 2 + LEASE_MS > watch->lease_ms) {
                watch->lease_ms = platform->call_timeout_ms * 2 + LEASE_MS;
            }
        }
    }
    for (uint32_t i = 0; i < service->edge_count; i++) {
        history_edge(watch->history, service->edges[i].caller, service->edges[i].callee);
    }
}

int watch_open(struct watch *watch, struct scaler *scaler, const struct service *service,
               struct failure *failure)
{
    struct sampler_host host = {.store = scaler->settings.store,
                                .presence = scaler->settings.presence};
    watch->scaler = scaler;
    watch->service = service;
    watch->lease_ms = LEASE_MS + 2 * service->window_ms;
    watch->history = history_new(service->name, service->window_ms, service->windows);
    open_blocks(watch);
    state_init(&watch->state, service);
    pthread_mutex_init(&watch->mutex, NULL);
    clock_cond_init(&watch->cond);
    return sampler_new(service, &host, &watch->sampler, failure);
}

void watch_close(struct watch *watch)
{
    if (!watch->service) {
        return;
    }
    for (uint32_t i = 0; i < watch->service->block_count; i++) {
        vim_target_release(watch->groups[i].platform);
        usage_free(watch->groups[i].usage);
    }
    for (uint32_t i = 0; i < SERVICE_SHADOWS_MAX; i++) {
        instance_release(watch->shadows[i]);
    }
    instance_release(watch->policy);
    sampler_free(watch->sampler);
    history_free(watch->history);
    state_free(&watch->state);
    json_decref(watch->decision);
    if (watch->record) {
        (void)fclose(watch->record);
    }
    pthread_cond_destroy(&watch->cond);
    pthread_mutex_destroy(&watch->mutex);
}
