/* What is written: batches of rows under the lease, and the row that is answered from. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "model/resource.h"
#include "scaler/watch.h"

#define TREND_MAX 24u /* windows that are shown */
#define WATCHED_SLACK_MS 10000

/* --- Batches -------------------------------------------------------------------------------------- */

static char *batch_own(struct batch *batch, char *text)
{
    batch->texts[batch->text_count++] = text;
    return text;
}

void batch_put(struct batch *batch, const char *collection, const char *id, const char *parent,
               char *body, uint64_t expect, uint32_t state, int64_t due)
{
    assert(batch->count < BATCH_MAX);
    batch->writes[batch->count++] =
        (struct vim_write){.collection = collection,
                           .id = batch_own(batch, text_duplicate(id)),
                           .parent = batch_own(batch, text_duplicate(parent)),
                           .body = batch_own(batch, body),
                           .expect = expect,
                           .state = state,
                           .due = due};
}

void batch_tell(struct batch *batch, const struct watch *watch, enum event_type type,
                enum vim_level level, const char *reason, json_t *data)
{
    const struct service *service = watch->service;
    CLEANUP_JSON json_t *all = data ? data : json_object();
    bool shared = text_equal(service->project, PROJECT_SHARED);
    if (batch->count + 4 > BATCH_MAX) {
        log_event(VIM_WARNING, "an event of a service is not told, as there are too many at once",
                  "service=%s type=%s", service->name, event_type_name(type));
        return;
    }
    json_set_text(all, "reason", reason);
    CLEANUP_FREE char *text = json_print(all);
    struct event event = {.type = type,
                          .time = clock_now_ms(),
                          .project = service->project,
                          .shared = shared,
                          .resource = service->name,
                          .name = service->name,
                          .data = text};
    batch->writes[batch->count++] = event_write(&event, &batch->events[batch->event_count++]);
    log_event(level, event_type_name(type), "service=%s reason=%s", service->name, reason);
}

void batch_restate(struct batch *batch, const struct watch *watch, const char *id,
                   enum decision_state state, const json_t *more)
{
    struct row row = {0};
    if (store_get(watch->scaler->settings.store, COLLECTION_DECISION, id, &row, NULL) != VIM_OK) {
        return;
    }
    char *body = decision_restate(row.body, row.body_length, state, more);
    if (body) {
        batch_put(batch, COLLECTION_DECISION, row.id, row.parent, body, row.revision, state,
                  row.due);
    }
    row_free(&row);
}

static void batch_free(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->text_count; i++) {
        free(batch->texts[i]);
    }
    for (uint32_t i = 0; i < batch->event_count; i++) {
        event_buffer_free(&batch->events[i]);
    }
    *batch = (struct batch){.count = 0};
}

bool watch_commit(struct watch *watch, struct batch *batch)
{
    struct text state = {0};
    struct failure failure = {0};
    bool given = watch->state.owner[0] == '\0';
    int code = VIM_E_CONFLICT;
    if (watch->is_actor) {
        int64_t from = clock_mono_ms();
        state_print(&watch->state, &state);
        batch_put(batch, COLLECTION_SCALING_STATE, watch->service->name, NULL, text_take(&state),
                  watch->revision, 0, clock_now_ms() + (given ? 0 : watch->lease_ms));
        code = store_commit(watch->scaler->settings.store, batch->writes, batch->count, &failure);
        watch->lease_until = code == VIM_OK ? from + watch->lease_ms : 0;
    }
    batch_free(batch);
    if (code == VIM_OK) {
        watch->revision++;
        watch->told_in_store = watch->told;
        return true;
    }
    if (watch->is_actor) {
        /* Another one has the lease, or an approval came in between, or the store is away: the state is
         * read again before anything else is done. */
        log_event(code == VIM_E_CONFLICT ? VIM_INFO : VIM_WARNING,
                  "what was decided on a service is not written", "service=%s error=%s",
                  watch->service->name, failure.text);
    }
    watch->is_actor = false;
    watch->told = watch->told_in_store;
    return false;
}

/* --- What is shown -------------------------------------------------------------------------------- */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void set_series(json_t *object, const struct watch *watch, enum history_scope scope,
                       uint32_t index, uint32_t metric, uint32_t windows)
{
    json_t *list = json_array();
    bool any = false;
    for (uint32_t age = windows; age-- > 0;) {
        double value = history_get(watch->history, scope, index, metric, age);
        any = any || isfinite(value);
        json_array_append_new(list, number_or_null(value));
    }
    if (any) {
        json_object_set_new(object, history_metric_name(scope, metric), list);
    } else {
        json_decref(list);
    }
}

static json_t *show_trend(const struct watch *watch)
{
    uint32_t filled = history_windows(watch->history);
    uint32_t windows = filled < TREND_MAX ? filled : TREND_MAX;
    char time[CLOCK_TEXT_SIZE];
    json_t *object = json_object();
    json_set_text(object, "end", clock_format_rfc3339(history_end(watch->history), time));
    json_set_integer(object, "window_ms", watch->service->window_ms);
    for (uint32_t i = 0; i < history_metric_count(HISTORY_SERVICE); i++) {
        set_series(object, watch, HISTORY_SERVICE, 0, i, windows);
    }
    return object;
}

static json_t *show_block(const struct watch *watch, uint32_t block)
{
    const struct service_block *configured = &watch->service->blocks[block];
    const struct watch_group *group = &watch->groups[block];
    struct history_block state = history_get_block(watch->history, block);
    json_t *object = json_object();
    json_set_text(object, "name", configured->name);
    json_set_text(object, "platform", configured->platform);
    json_set_text(object, "group", configured->group);
    if (configured->platform) {
        json_set_integer(object, "min", state.minimum);
        json_set_integer(object, "max", state.maximum);
    }
    if (group->seen) {
        json_set_integer(object, "desired", state.desired);
        json_set_integer(object, "ready", state.ready);
        json_set_integer(object, "starting", state.starting);
    }
    json_set_boolean(object, "tabu", state.flags & VIM_BLOCK_TABU);
    json_set_text(object, "problem", group->platform && group->why[0] ? group->why : NULL);
    json_t *now = json_object();
    for (uint32_t i = 0; i < history_metric_count(HISTORY_BLOCK); i++) {
        double value = history_get(watch->history, HISTORY_BLOCK, block, i, 0);
        if (isfinite(value)) {
            json_object_set_new(now, history_metric_name(HISTORY_BLOCK, i), json_real(value));
        }
    }
    json_object_set_new(object, "now", now);
    return object;
}

static json_t *show_promises(const struct service *service)
{
    json_t *object = json_object();
    if (service->slo_p95_ms > 0) {
        json_object_set_new(object, "p95_ms", json_real(service->slo_p95_ms));
    }
    if (service->slo_error_share > 0) {
        json_object_set_new(object, "error_share", json_real(service->slo_error_share));
    }
    return object;
}

static void set_blocks(json_t *object, const struct watch *watch)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < watch->service->block_count; i++) {
        json_array_append_new(list, show_block(watch, i));
    }
    json_object_set_new(object, "blocks", list);
}

void watch_publish(struct watch *watch, struct batch *batch, int64_t now)
{
    const struct service *service = watch->service;
    const struct watch_state *state = &watch->state;
    char time[CLOCK_TEXT_SIZE];
    CLEANUP_JSON json_t *object = json_object();
    json_set_text(object, "id", service->name);
    json_set_text(object, "project", service->project);
    json_set_text(object, "mode", service_mode_name(state->mode));
    json_set_text(object, "policy", service->policy.name);
    json_set_text(object, "updated", clock_format_rfc3339(now, time));
    json_set_integer(object, "interval_ms", service->interval_ms);
    json_object_set_new(object, "promises", show_promises(service));
    json_set_boolean(object, "stale", watch_is_stale(watch, now));
    json_set_text(object, "source_error", watch->source_error[0] ? watch->source_error : NULL);
    json_set_text(object, "source_missing",
                  watch->source_missing[0] ? watch->source_missing : NULL);
    json_set_boolean(object, "breaker", state->guard.open);
    json_set_text(object, "waiting", state->waiting.decision[0] ? state->waiting.decision : NULL);
    json_set_integer(object, "wish", (int64_t)state->wish);
    set_blocks(object, watch);
    json_object_set_new(object, "trend", show_trend(watch));
    if (watch->decision) {
        json_object_set(object, "decision", watch->decision);
    }
    int64_t watched = now + 2 * service->interval_ms + watch->lease_ms + WATCHED_SLACK_MS;
    batch_put(batch, COLLECTION_SCALING, service->name, service->project, json_print(object),
              VIM_EXPECT_ANY, 0, watched);
}
