#include "engine/groups.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/vims_internal.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

#define ITEMS_MAX 2000u /* of one answer */
#define ANSWER_SLACK_MS 50 /* a call that ends at its deadline is told as what it is */

enum asking { ASK_GET, ASK_RESIZE, ASK_SAMPLE };

/* One call. Two hold it: who waits for it, and the lane. */
struct ask {
    pthread_mutex_t mutex; /* a leaf: guards what is below until `done` */
    pthread_cond_t cond;
    unsigned holders;
    bool done, ran;
    int code;
    struct failure failure;
    struct vim_target *platform;
    enum asking what;
    char *id, *spec, *request_id;
    struct vim_item *items; /* texts are owned; the lane's until `done` */
    size_t count;
};

static void ask_release(struct ask *ask)
{
    pthread_mutex_lock(&ask->mutex);
    bool last = --ask->holders == 0;
    pthread_mutex_unlock(&ask->mutex);
    if (!last) {
        return;
    }
    for (size_t i = 0; i < ask->count; i++) {
        item_free(&ask->items[i]);
    }
    free(ask->items);
    free(ask->id);
    free(ask->spec);
    free(ask->request_id);
    vim_target_release(ask->platform);
    pthread_cond_destroy(&ask->cond);
    pthread_mutex_destroy(&ask->mutex);
    free(ask);
}

/* --- On the lane --------------------------------------------------------------------------------- */

static int take_item(void *argument, const struct vim_item *item)
{
    struct ask *ask = argument;
    ask->items = memory_resize(ask->items, ask->count + 1, sizeof(*ask->items));
    item_copy(item, &ask->items[ask->count++]);
    return ask->count == ITEMS_MAX;
}

static void prepare(struct vim_call *call, void *argument)
{
    call_set_emit(call, take_item, argument);
}

static int run(struct vim_call *call, void *handle, void *argument)
{
    struct ask *ask = argument;
    const struct vim_driver_ops *ops = instance_driver(vim_target_instance(ask->platform));
    ask->ran = true;
    if (ask->what == ASK_GET) {
        return ops->get(call, handle, GROUP_KIND, ask->id);
    }
    if (ask->what == ASK_SAMPLE) {
        struct vim_sample_query query = {.size = sizeof(query), .kind = GROUP_KIND, .id = ask->id};
        return ops->sample(call, handle, &query);
    }
    struct vim_op op = {.size = sizeof(op),
                        .verb = VIM_VERB_UPDATE,
                        .kind = GROUP_KIND,
                        .id = ask->id,
                        .spec = ask->spec,
                        .request_id = ask->request_id,
                        .data_size = -1};
    return ops->step(call, handle, &op);
}

static void done(struct vim_call *call, int code, void *argument)
{
    struct ask *ask = argument;
    struct failure failure = {0};
    if (code < 0) {
        failure_from_call(&failure, code, call);
    } else if (code != VIM_OK) {
        /* An UPDATE returns at once; this one says that it has not ended. */
        code = failure_set(&failure, VIM_E_TIMEOUT, "the driver has not ended the call");
    }
    if (ask->ran) {
        vim_target_report(ask->platform, code, failure.text);
    }
    pthread_mutex_lock(&ask->mutex);
    ask->code = code;
    ask->failure = failure;
    ask->done = true;
    pthread_cond_signal(&ask->cond);
    pthread_mutex_unlock(&ask->mutex);
    ask_release(ask);
}

/* --- Who asks ------------------------------------------------------------------------------------ */

static struct ask *ask_new(struct vim_target *platform, enum asking what, const char *id)
{
    struct ask *ask = MEMORY_NEW(struct ask);
    pthread_mutex_init(&ask->mutex, NULL);
    clock_cond_init(&ask->cond);
    ask->holders = 1;
    ask->platform = vim_target_hold(platform);
    ask->what = what;
    ask->id = text_duplicate(id);
    return ask;
}

/* Makes the call and waits. */
static int ask_wait(struct ask *ask, int64_t timeout_ms, struct failure *failure)
{
    int64_t until = clock_mono_ms() + timeout_ms + ANSWER_SLACK_MS;
    struct lane_job job = {.run = run,
                           .done = done,
                           .prepare = prepare,
                           .argument = ask,
                           .timeout_ms = timeout_ms,
                           .urgent = true};
    ask->holders = 2;
    int code = lane_post(vim_target_lane(ask->platform), &job, NULL);
    if (code != VIM_OK) {
        ask->holders = 1;
        return failure_set(failure, code, "platform %s does not take calls",
                           vim_target_settings(ask->platform)->name);
    }
    LOCK_GUARD(&ask->mutex);
    while (!ask->done && clock_cond_wait_until(&ask->cond, &ask->mutex, until) == 0) {
    }
    if (!ask->done) {
        return failure_set(failure, VIM_E_TIMEOUT, "platform %s did not answer within %lld ms",
                           vim_target_settings(ask->platform)->name, (long long)timeout_ms);
    }
    if (ask->code != VIM_OK && failure) {
        *failure = ask->failure;
    }
    return ask->code;
}

static uint32_t get_count(const json_t *body, const char *member)
{
    int64_t count = json_get_integer(body, member, 0);
    return count < 0 ? 0 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

static int read_state(const struct vim_item *item, struct group_state *state,
                      struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    if (!item->body || json_parse(item->body, strlen(item->body), NULL, &body, NULL) != VIM_OK ||
        !json_is_integer(json_object_get(body, "wanted")) ||
        !json_is_integer(json_object_get(body, "ready"))) {
        return failure_set(failure, VIM_E_INTERNAL, "the driver tells no wanted and ready of it");
    }
    *state = (struct group_state){.wanted = get_count(body, "wanted"),
                                  .current = get_count(body, "current"),
                                  .ready = get_count(body, "ready"),
                                  .starting = get_count(body, "starting"),
                                  .stopping = get_count(body, "stopping"),
                                  .quota_cores = json_get_number(body, "quota_cores", 0)};
    (void)snprintf(state->failed, sizeof(state->failed), "%s", json_get_text(body, "failed", ""));
    return VIM_OK;
}

int group_get(struct vim_target *platform, const char *id, int64_t timeout_ms,
              struct group_state *ret_state, struct failure *failure)
{
    struct ask *ask = ask_new(platform, ASK_GET, id);
    int code = ask_wait(ask, timeout_ms, failure);
    if (code == VIM_OK) {
        code = ask->count
                   ? read_state(&ask->items[0], ret_state, failure)
                   : failure_set(failure, VIM_E_INTERNAL, "the driver answered without the group");
    }
    ask_release(ask);
    return code;
}

int group_resize(struct vim_target *platform, const char *id, uint32_t replicas,
                 const char *request_id, int64_t timeout_ms, struct failure *failure)
{
    struct ask *ask = ask_new(platform, ASK_RESIZE, id);
    ask->spec = text_format("{\"replicas\":%u}", replicas);
    ask->request_id = text_duplicate(request_id);
    int code = ask_wait(ask, timeout_ms, failure);
    ask_release(ask);
    return code;
}

static void tell_usage(const struct vim_item *item, group_usage_fn each, void *argument)
{
    CLEANUP_JSON json_t *body = NULL;
    if (!item->body || json_parse(item->body, strlen(item->body), NULL, &body, NULL) != VIM_OK) {
        return;
    }
    struct group_usage usage = {
        .replica = item->id,
        .ready = json_get_boolean(body, "ready", false),
        .cpu_seconds = json_get_number(body, "cpu_seconds", NAN),
        .cpu_cores = json_get_number(body, "cpu_cores", NAN),
        .quota_cores = json_get_number(body, "quota_cores", NAN),
        .periods = json_get_number(body, "periods", NAN),
        .throttled_periods = json_get_number(body, "throttled_periods", NAN),
        .memory_bytes = json_get_number(body, "memory_bytes", NAN),
        .pressure_cpu_seconds = json_get_number(body, "pressure_cpu_seconds", NAN),
        .pressure_memory_seconds = json_get_number(body, "pressure_memory_seconds", NAN),
        .pressure_io_seconds = json_get_number(body, "pressure_io_seconds", NAN),
    };
    each(argument, &usage);
}

int group_sample(struct vim_target *platform, const char *id, int64_t timeout_ms,
                 group_usage_fn each, void *argument, struct failure *failure)
{
    const struct vim_trait *trait = vim_target_trait(platform, GROUP_KIND);
    if (!trait || !(trait->verbs & VIM_VERB_SAMPLE) ||
        !instance_driver(vim_target_instance(platform))->sample) {
        return failure_set(failure, VIM_E_UNSUPPORTED, "the platform measures nothing");
    }
    struct ask *ask = ask_new(platform, ASK_SAMPLE, id);
    int code = ask_wait(ask, timeout_ms, failure);
    for (size_t i = 0; code == VIM_OK && i < ask->count; i++) {
        tell_usage(&ask->items[i], each, argument);
    }
    ask_release(ask);
    return code;
}
