#include "swarm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void take_stats(const json_t *stats, struct group_sample *sample)
{
    const json_t *cpu = json_object_get(stats, "cpu_stats");
    const json_t *throttling = json_object_get(cpu, "throttling_data");
    const json_t *memory = json_object_get(stats, "memory_stats");
    sample->cpu_seconds = number(json_object_get(cpu, "cpu_usage"), "total_usage") / 1e9;
    sample->periods = number(throttling, "periods");
    sample->throttled_periods = number(throttling, "throttled_periods");
    sample->memory_bytes = number(memory, "usage");
    /* What the kernel can drop at once is not the program's: as `docker stats` reckons. */
    const json_t *details = json_object_get(memory, "stats");
    double inactive = number(details, "total_inactive_file"); /* cgroup v1 */
    inactive = isnan(inactive) ? number(details, "inactive_file") : inactive; /* v2 */
    if (inactive < sample->memory_bytes) {
        sample->memory_bytes -= inactive;
    }
}

/* Where the figures of a task's container are. */
static void make_path(const json_t *task, struct rest_get *get)
{
    const json_t *container = json_object_get(json_object_get(task, "Status"), "ContainerStatus");
    const char *id = json_string_value(json_object_get(container, "ContainerID"));
    if (id && strlen(id) <= 128) {
        (void)snprintf(get->path, sizeof(get->path),
                       SWARM_API "/containers/%s/stats?stream=false&one-shot=true", id);
    }
}

static int tell(struct swarm *swarm, struct vim_call *call, const char *service, const json_t *task,
                const struct rest_reply *reply)
{
    const char *id = json_string_value(json_object_get(task, "ID"));
    const char *state =
        json_string_value(json_object_get(json_object_get(task, "Status"), "State"));
    struct group_sample sample;
    if (!id) {
        return 0;
    }
    group_sample_init(&sample, id, service);
    sample.ready = state && strcmp(state, "running") == 0;
    sample.quota_cores = task_quota(json_object_get(task, "Spec"));
    if (reply->status == 200) {
        take_stats(reply->body, &sample);
    }
    return group_sample_emit(swarm->host, call, &sample);
}

/* An engine answers with its next look at a container, which it takes once a second: so all are asked at the same time. It
 * knows the containers of its own node alone. What runs elsewhere is told without figures. */
int replicas_sample(struct swarm *swarm, struct vim_call *call, const char *service)
{
    SWARM_JSON tasks = NULL;
    int code = service_tasks(swarm, call, service, &tasks);
    if (code != VIM_OK) {
        return code;
    }
    size_t count = json_array_size(tasks);
    struct rest_get *gets = calloc(count + 1, sizeof(*gets));
    if (!gets) {
        return swarm->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        make_path(json_array_get(tasks, i), &gets[i]);
    }
    code = rest_get_all(swarm->rest, swarm->host, call, gets, count);
    int enough = 0;
    for (size_t i = 0; code == VIM_OK && !enough && i < count; i++) {
        enough = tell(swarm, call, service, json_array_get(tasks, i), &gets[i].reply);
    }
    for (size_t i = 0; i < count; i++) {
        rest_reply_clear(&gets[i].reply);
    }
    free(gets);
    return code;
}
