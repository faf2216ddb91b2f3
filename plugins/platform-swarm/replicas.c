#include "swarm.h"

#include <math.h>
#include <stdio.h>
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

/* The engine knows the containers of its own node alone. What runs elsewhere is told without figures. */
static int sample_container(struct swarm *swarm, struct vim_call *call, const char *container,
                            struct group_sample *sample)
{
    char path[256];
    if (!container || strlen(container) > 128) {
        return VIM_OK;
    }
    (void)snprintf(path, sizeof(path), SWARM_API "/containers/%s/stats?stream=false&one-shot=true",
                   container);
    REST_REPLY reply = {0};
    int code = rest_call(swarm->rest, swarm->host, call, "GET", path, NULL, NULL, &reply);
    if (code == VIM_OK && reply.status == 200) {
        take_stats(reply.body, sample);
    }
    return code;
}

int replicas_sample(struct swarm *swarm, struct vim_call *call, const char *service)
{
    SWARM_JSON tasks = NULL;
    int code = service_tasks(swarm, call, service, &tasks);
    int enough = 0;
    size_t at;
    const json_t *task;
    json_array_foreach(tasks, at, task)
    {
        const json_t *status = json_object_get(task, "Status");
        const char *id = json_string_value(json_object_get(task, "ID"));
        const char *state = json_string_value(json_object_get(status, "State"));
        const json_t *container = json_object_get(status, "ContainerStatus");
        if (code != VIM_OK || enough || !id) {
            break;
        }
        struct group_sample sample;
        group_sample_init(&sample, id, service);
        sample.ready = state && strcmp(state, "running") == 0;
        sample.quota_cores = task_quota(json_object_get(task, "Spec"));
        code = sample_container(
            swarm, call, json_string_value(json_object_get(container, "ContainerID")), &sample);
        if (code == VIM_OK) {
            enough = group_sample_emit(swarm->host, call, &sample);
        }
    }
    return code;
}
