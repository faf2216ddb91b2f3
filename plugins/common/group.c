#include "group.h"

#include <math.h>
#include <stdlib.h>
#include <vim/sdk.h>

/* More are a mistake. */
#define COUNT_MAX 1000000

int64_t group_count(const json_t *value, uint32_t absent)
{
    if (!value || json_is_null(value)) {
        return absent;
    }
    json_int_t count = json_is_integer(value) ? json_integer_value(value) : -1;
    return count >= 0 && count <= COUNT_MAX ? count : -1;
}

static int emit_json(const struct vim_host *host, struct vim_call *call, struct vim_item *item,
                     json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text) {
        return 1;
    }
    item->size = sizeof(*item);
    item->kind = GROUP_KIND;
    item->body = text;
    int enough = host->emit(call, item);
    free(text);
    return enough;
}

int group_emit(const struct vim_host *host, struct vim_call *call, const struct group *group)
{
    int settled = group->ready == group->wanted && group->current == group->wanted &&
                  group->starting == 0 && group->stopping == 0;
    struct vim_item item = {.id = group->id,
                            .flags = settled ? 0 : VIM_ITEM_PENDING,
                            .status = group->failed ? "ERROR"
                                      : settled     ? "ACTIVE"
                                                    : "UPDATING"};
    json_t *body =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:i}", "name", group->id, "wanted", (int)group->wanted,
                  "current", (int)group->current, "ready", (int)group->ready, "starting",
                  (int)group->starting, "stopping", (int)group->stopping);
    if (group->quota_cores > 0) {
        json_object_set_new(body, "quota_cores", json_real(group->quota_cores));
    }
    if (group->failed) {
        json_object_set_new(body, "failed", json_string(group->failed));
    }
    return emit_json(host, call, &item, body);
}

void group_sample_init(struct group_sample *sample, const char *replica, const char *group)
{
    *sample = (struct group_sample){.replica = replica,
                                    .group = group,
                                    .cpu_seconds = NAN,
                                    .cpu_cores = NAN,
                                    .periods = NAN,
                                    .throttled_periods = NAN,
                                    .memory_bytes = NAN,
                                    .pressure_cpu_seconds = NAN,
                                    .pressure_memory_seconds = NAN,
                                    .pressure_io_seconds = NAN};
}

static void put(json_t *body, const char *name, double value)
{
    if (isfinite(value)) {
        json_object_set_new(body, name, json_real(value));
    }
}

int group_sample_emit(const struct vim_host *host, struct vim_call *call,
                      const struct group_sample *sample)
{
    struct vim_item item = {.id = sample->replica,
                            .parent = sample->group,
                            .status = sample->ready ? "ACTIVE" : "BUILD",
                            .flags = sample->ready ? 0 : VIM_ITEM_PENDING};
    json_t *body = json_pack("{s:b}", "ready", sample->ready);
    if (sample->address) {
        json_object_set_new(body, "address", json_string(sample->address));
    }
    put(body, "cpu_seconds", sample->cpu_seconds);
    put(body, "cpu_cores", sample->cpu_cores);
    put(body, "quota_cores", sample->quota_cores);
    put(body, "periods", sample->periods);
    put(body, "throttled_periods", sample->throttled_periods);
    put(body, "memory_bytes", sample->memory_bytes);
    put(body, "pressure_cpu_seconds", sample->pressure_cpu_seconds);
    put(body, "pressure_memory_seconds", sample->pressure_memory_seconds);
    put(body, "pressure_io_seconds", sample->pressure_io_seconds);
    return emit_json(host, call, &item, body);
}

int group_wish(const struct vim_host *host, struct vim_call *call, const struct vim_op *op,
               uint32_t *ret_replicas)
{
    json_t *spec = json_loads(op->spec, 0, NULL);
    json_t *replicas = json_object_get(spec, "replicas");
    json_int_t count = json_is_integer(replicas) ? json_integer_value(replicas) : -1;
    size_t fields = json_object_size(spec);
    json_decref(spec);
    if (count < 0 || count > GROUP_REPLICAS_MAX || fields != 1) {
        return vim_fail(host, call, VIM_E_INVALID, 0,
                        "a group is changed by {\"replicas\": 0..%d} and nothing else",
                        GROUP_REPLICAS_MAX);
    }
    *ret_replicas = (uint32_t)count;
    return VIM_OK;
}
