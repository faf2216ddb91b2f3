/* The end of a window: how the platforms are, what the source tells, and the trace. */
#include "scaler/watch.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "scaler/trace.h"

/* How much of a window looks at platforms may take: the rest is the source's. */
#define PLATFORM_SHARE 0.3
/* By when in a window the platforms have to have told what replicas used: a decision follows. */
#define USAGE_SHARE 0.8
/* A clock that was set back by no more is waited for. */
#define SET_BACK_WINDOWS 3

bool watch_is_stale(const struct watch *watch, int64_t now)
{
    return now - watch->good >
           (int64_t)watch->state.guard.rules.stale_windows * watch->service->window_ms;
}

/* --- Platforms ------------------------------------------------------------------------------------ */

/* Did another block's group on the same platform give no answer with this look? It is not waited for twice. */
static const struct watch_group *failed_before(const struct watch *watch, uint32_t block)
{
    for (uint32_t i = 0; i < block; i++) {
        const struct watch_group *other = &watch->groups[i];
        if (other->platform == watch->groups[block].platform && !other->known) {
            return other;
        }
    }
    return NULL;
}

static void look_at_group(struct watch *watch, uint32_t block, int64_t until)
{
    struct watch_group *group = &watch->groups[block];
    const struct watch_group *failed = failed_before(watch, block);
    int64_t left = until - clock_mono_ms();
    struct failure failure = {0};
    group->known = false;
    if (failed) {
        (void)snprintf(group->why, sizeof(group->why), "%s", failed->why);
        return;
    }
    left = left > 50 ? left : 50;
    int code =
        group_get(group->platform, watch->service->blocks[block].group,
                  left < group->timeout_ms ? left : group->timeout_ms, &group->state, &failure);
    group->known = code == VIM_OK;
    group->seen = group->seen || group->known;
    (void)snprintf(group->why, sizeof(group->why), "%.*s", (int)sizeof(group->why) - 1,
                   group->known ? group->state.failed : failure.text);
}

static void set_block(struct watch *watch, uint32_t block)
{
    const struct service_block *configured = &watch->service->blocks[block];
    const struct watch_group *group = &watch->groups[block];
    struct history_block state = history_get_block(watch->history, block);
    state.minimum = configured->minimum;
    state.maximum = configured->maximum;
    state.flags &= ~(uint32_t)VIM_BLOCK_SCALABLE;
    if (group->known) {
        state.flags |= VIM_BLOCK_SCALABLE;
        state.desired = group->state.wanted;
        state.ready = group->state.ready;
        state.starting = group->state.starting;
        state.quota_cores =
            configured->quota_cores > 0 ? configured->quota_cores : group->state.quota_cores;
    } else if (!group->platform && state.ready == 0) {
        state.desired = state.ready = 1; /* somewhere, and not ours to count */
    }
    history_set_block(watch->history, block, &state);
}

/* What may still be added of the budget, as far as the sizes of replicas are known. */
static void set_goals(struct watch *watch)
{
    const struct service *service = watch->service;
    double used = 0;
    for (uint32_t i = 0; i < service->block_count; i++) {
        struct history_block block = history_get_block(watch->history, i);
        used += block.desired * block.quota_cores;
    }
    double left = service->budget_cores - used;
    struct history_goals goals = {.slo_p95_ms = service->slo_p95_ms,
                                  .slo_error_share = service->slo_error_share,
                                  .budget_cores = left > 0 ? left : 0};
    history_set_goals(watch->history, &goals);
}

/* --- The trace ------------------------------------------------------------------------------------ */

void watch_record(struct watch *watch)
{
    const struct service *service = watch->service;
    int64_t end = history_end(watch->history);
    /* A clock that was set back makes no trace whose times decrease. */
    if (!service->record || !watch->is_actor || end <= watch->recorded) {
        return;
    }
    watch->recorded = end;
    bool failed = trace_record(&watch->record, service->record, service->record_max, watch->history,
                               service->interval_ms) != 0;
    if (failed && !watch->record_failed) {
        log_event(VIM_ERROR, "the trace of a service cannot be written",
                  "service=%s file=%s error=%s", service->name, service->record, strerror(errno));
    }
    watch->record_failed = failed;
}

/* --- Usage ---------------------------------------------------------------------------------------- */

static bool has_cpu(const struct watch *watch, uint32_t block)
{
    return isfinite(
        history_get(watch->history, HISTORY_BLOCK, block, history_metric(HISTORY_BLOCK, "cpu"), 0));
}

/* What replicas used, as their platforms know it. An engine may take a second for each group: first come those of which
 * the source has told nothing. */
static void measure_usage(struct watch *watch, int64_t until)
{
    bool told[HISTORY_BLOCKS_MAX];
    uint32_t count = watch->service->block_count;
    for (uint32_t i = 0; i < count; i++) {
        told[i] = has_cpu(watch, i);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            int64_t left = until - clock_mono_ms();
            if (watch->groups[i].known && told[i] == (pass == 1) && left > 0) {
                usage_measure(watch, i, left);
            }
        }
    }
}

/* --- A clock that was set ------------------------------------------------------------------------ */

/* What was measured belongs to times that are yet to come. */
static void begin_anew(struct watch *watch, int64_t end)
{
    log_event(VIM_WARNING, "the clock was set back; the windows of a service begin anew",
              "service=%s seconds=%lld", watch->service->name,
              (long long)(history_end(watch->history) - end) / 1000);
    history_forget(watch->history);
    watch->decided = watch->marked = 0;
    watch->good = watch->good < end ? watch->good : end;
    (void)history_open_window(watch->history, end);
}

/* --- All of it ------------------------------------------------------------------------------------ */

void watch_measure(struct watch *watch, int64_t end)
{
    const struct service *service = watch->service;
    struct failure failure = {0};
    int64_t window = service->window_ms;
    int64_t began = clock_mono_ms(), until = began + (int64_t)(PLATFORM_SHARE * (double)window);
    if (history_open_window(watch->history, end) != VIM_OK) {
        if (history_end(watch->history) - end <= SET_BACK_WINDOWS * window) {
            return; /* the clock was set back a little: not before it has come to where it was */
        }
        begin_anew(watch, end);
    }
    for (uint32_t i = 0; i < service->block_count; i++) {
        if (watch->groups[i].platform) {
            look_at_group(watch, i, until);
        }
        set_block(watch, i);
    }
    set_goals(watch);
    struct sampler_look look = {.end = history_end(watch->history),
                                .window_ms = window,
                                .history = watch->history,
                                .stopping = &watch->stopping};
    bool good = sampler_sample(watch->sampler, &look, &failure) == VIM_OK;
    (void)snprintf(watch->source_error, sizeof(watch->source_error), "%.*s",
                   (int)sizeof(watch->source_error) - 1, good ? "" : failure.text);
    (void)snprintf(watch->source_missing, sizeof(watch->source_missing), "%.*s",
                   (int)sizeof(watch->source_missing) - 1, good ? failure.text : "");
    if (good) {
        watch->good = look.end;
    }
    measure_usage(watch, began + (int64_t)(USAGE_SHARE * (double)window));
}
