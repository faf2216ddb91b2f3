#include "swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vim/sdk.h>

/* A write loses to another one that came between its read and itself; so often it is tried anew. */
#define WRITE_TRIES 5
/* A task is replaced by another one at once, by the engine's clock. */
#define REPLACED_S 10

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static json_t *inside(const json_t *object, const char *first, const char *second)
{
    return json_object_get(json_object_get(object, first), second);
}

static const char *service_name(const json_t *service)
{
    return json_string_value(inside(service, "Spec", "Name"));
}

/* Does it have a size? Others run once per node, or are jobs. */
static int is_replicated(const json_t *service)
{
    return json_object_get(inside(service, "Spec", "Mode"), "Replicated") != NULL;
}

/* Replicas wanted; -1 if it is not told how many. */
static int64_t service_wanted(const json_t *service)
{
    const json_t *replicated = json_object_get(inside(service, "Spec", "Mode"), "Replicated");
    return group_count(json_object_get(replicated, "Replicas"), 1);
}

double task_quota(const json_t *spec)
{
    const json_t *limits = inside(spec, "Resources", "Limits");
    return (double)json_integer_value(json_object_get(limits, "NanoCPUs")) / 1e9;
}

static int is_strange(struct swarm *swarm, struct vim_call *call, const char *name)
{
    return vim_fail(swarm->host, call, VIM_E_UNAVAILABLE, 0,
                    "%s: what answers is no Docker Engine, or another one", name);
}

/* A list at PATH. */
static int get_list(struct swarm *swarm, struct vim_call *call, const char *path, const char *what,
                    json_t **ret_list)
{
    int code = swarm_get(swarm, call, path, what, ret_list);
    return code == VIM_OK && !json_is_array(*ret_list) ? is_strange(swarm, call, what) : code;
}

/* PATH?filters=FILTERS, both plain. */
static int get_filtered(struct swarm *swarm, struct vim_call *call, const char *path,
                        json_t *filters, const char *what, json_t **ret_body)
{
    char *text = filters ? json_dumps(filters, JSON_COMPACT) : NULL;
    char *escaped = text ? rest_escape(text) : NULL;
    char *whole = NULL;
    int code;
    if (!escaped ||
        asprintf(&whole, "%s%sfilters=%s", path, strchr(path, '?') ? "&" : "?", escaped) < 0) {
        whole = NULL;
        code = swarm->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    } else {
        code = get_list(swarm, call, whole, what, ret_body);
    }
    free(text);
    free(escaped);
    free(whole);
    json_decref(filters);
    return code;
}

int service_tasks(struct swarm *swarm, struct vim_call *call, const char *name, json_t **ret_tasks)
{
    return get_filtered(swarm, call, SWARM_API "/tasks",
                        json_pack("{s:[s],s:[s]}", "service", name, "desired-state", "running"),
                        name, ret_tasks);
}

/* Seconds since 1970 of an RFC 3339 time in UTC, as the engine has them; 0 if it is none. */
static time_t time_at(const json_t *object, const char *key)
{
    const char *text = text_at(object, key);
    struct tm tm = {0};
    return text && strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

/* Is the task to run one day, and does it not yet? */
static int is_on_its_way(const json_t *task)
{
    const char *wanted = text_at(task, "DesiredState");
    const char *state = text_at(json_object_get(task, "Status"), "State");
    return wanted && ((strcmp(wanted, "running") == 0 && state && strcmp(state, "running") != 0) ||
                      strcmp(wanted, "ready") == 0);
}

/* Has TASK failed, and a task that is on its way was made in its place? Others have failed at their time, and that is
 * over. */
static int is_why(const json_t *tasks, const json_t *task)
{
    const json_t *status = json_object_get(task, "Status");
    const char *state = text_at(status, "State");
    time_t failed = time_at(status, "Timestamp");
    size_t at;
    const json_t *other;
    if (!state || (strcmp(state, "failed") != 0 && strcmp(state, "rejected") != 0)) {
        return 0;
    }
    json_array_foreach(tasks, at, other)
    {
        if (is_on_its_way(other) &&
            json_equal(json_object_get(other, "Slot"), json_object_get(task, "Slot")) &&
            time_at(other, "CreatedAt") <= failed + REPLACED_S) {
            return 1;
        }
    }
    return 0;
}

/* Why a replica does not come up: the text of the newest task that has failed. */
static const char *find_failure(const json_t *tasks)
{
    const char *error = NULL;
    time_t newest = 0;
    size_t at;
    const json_t *task;
    json_array_foreach(tasks, at, task)
    {
        const json_t *status = json_object_get(task, "Status");
        const char *its = text_at(status, "Err");
        time_t when = time_at(status, "Timestamp");
        if (its && *its && (!error || when > newest) &&
            (is_on_its_way(task) || is_why(tasks, task))) {
            error = its;
            newest = when;
        }
    }
    return error;
}

/* What the tasks of a service tell of it. A task that does not come up (no such image, it ends at once) is given up for
 * another one, which waits for its turn with the desired state "ready": so the engine has to be asked for all of
 * them, and the reason stands in one that is over. */
static void count_tasks(const json_t *tasks, struct group *group)
{
    size_t at;
    const json_t *task;
    json_array_foreach(tasks, at, task)
    {
        const char *wanted = text_at(task, "DesiredState");
        int comes = is_on_its_way(task);
        int runs = !comes && wanted && strcmp(wanted, "running") == 0;
        group->current += (uint32_t)(comes || runs);
        group->ready += (uint32_t)runs;
        group->starting += (uint32_t)comes;
    }
    /* Of those that the engine has not made yet it tells nothing. */
    group->starting += group->wanted > group->current ? group->wanted - group->current : 0;
    group->failed = group->starting ? find_failure(tasks) : NULL;
}

static int emit_one(struct swarm *swarm, struct vim_call *call, const json_t *service,
                    int *ret_enough)
{
    const char *name = service_name(service);
    int64_t wanted = service_wanted(service);
    SWARM_JSON tasks = NULL;
    if (wanted < 0) {
        return is_strange(swarm, call, name);
    }
    int code = get_filtered(swarm, call, SWARM_API "/tasks", json_pack("{s:[s]}", "service", name),
                            name, &tasks);
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK; /* it went between the two looks */
    }
    if (code != VIM_OK) {
        return code;
    }
    struct group group = {.id = name,
                          .wanted = (uint32_t)wanted,
                          .quota_cores = task_quota(inside(service, "Spec", "TaskTemplate"))};
    count_tasks(tasks, &group);
    /* RunningTasks counts those that still run too although they are to end. */
    json_int_t running = json_integer_value(inside(service, "ServiceStatus", "RunningTasks"));
    group.stopping = running > group.ready ? (uint32_t)running - group.ready : 0;
    *ret_enough = group_emit(swarm->host, call, &group);
    return VIM_OK;
}

int service_emit(struct swarm *swarm, struct vim_call *call, const char *name)
{
    SWARM_JSON services = NULL;
    size_t at;
    const json_t *service;
    int enough = 0, found = 0;
    int code =
        name ? get_filtered(swarm, call, SWARM_API "/services?status=true",
                            json_pack("{s:[s]}", "name", name), name, &services)
             : get_list(swarm, call, SWARM_API "/services?status=true", "services", &services);
    json_array_foreach(services, at, service)
    {
        const char *its = service_name(service);
        /* The filter takes a name for a prefix. */
        if (code == VIM_OK && !enough && its && is_replicated(service) &&
            (name ? strcmp(its, name) == 0 : swarm_is_ours(swarm, its))) {
            code = emit_one(swarm, call, service, &enough);
            found = 1;
        }
    }
    if (code == VIM_OK && name && !found) {
        code = vim_fail(swarm->host, call, VIM_E_NOT_FOUND, 0,
                        "the swarm has no replicated service %s", name);
    }
    return code;
}

/* The engine tells by its text alone that a version was stale: the status is 500. */
static int is_stale(const struct rest_reply *reply)
{
    const char *message = text_at(reply->body, "message");
    return reply->status == 500 && message && strstr(message, "update out of sequence");
}

/* Writes SERVICE's whole spec back with another size: a field that is left out would be unset. */
static int write_size(struct swarm *swarm, struct vim_call *call, const json_t *service,
                      uint32_t replicas, int *ret_stale)
{
    json_t *spec = json_object_get(service, "Spec");
    char path[256];
    (void)snprintf(path, sizeof(path), SWARM_API "/services/%s/update?version=%lld",
                   text_at(service, "ID"),
                   (long long)json_integer_value(inside(service, "Version", "Index")));
    json_object_set_new(json_object_get(json_object_get(spec, "Mode"), "Replicated"), "Replicas",
                        json_integer(replicas));
    char *body = json_dumps(spec, JSON_COMPACT);
    if (!body) {
        return swarm->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    REST_REPLY reply = {0};
    int code = rest_call(swarm->rest, swarm->host, call, "POST", path, NULL, body, &reply);
    free(body);
    *ret_stale = code == VIM_OK && is_stale(&reply);
    if (code == VIM_OK && reply.status != 200 && !*ret_stale) {
        code = swarm_refused(swarm, call, &reply, service_name(service));
    }
    return code;
}

int service_scale(struct swarm *swarm, struct vim_call *call, const char *name, uint32_t replicas)
{
    char *escaped = rest_escape(name);
    char path[1024];
    int code = VIM_OK, stale = 1;
    if (!escaped ||
        snprintf(path, sizeof(path), SWARM_API "/services/%s", escaped) >= (int)sizeof(path)) {
        free(escaped);
        return swarm->host->fail(call, VIM_E_INVALID, 0, "the name is too long");
    }
    free(escaped);
    for (int tries = 0; code == VIM_OK && stale && tries < WRITE_TRIES; tries++) {
        SWARM_JSON service = NULL;
        code = swarm_get(swarm, call, path, name, &service);
        if (code != VIM_OK) {
            break;
        }
        if (!json_is_string(json_object_get(service, "ID")) || service_wanted(service) < 0) {
            return is_strange(swarm, call, name);
        }
        if (!is_replicated(service)) {
            return vim_fail(swarm->host, call, VIM_E_UNSUPPORTED, 0,
                            "%s is not a replicated service: it has no size", name);
        }
        stale = 0;
        if (service_wanted(service) != replicas) {
            code = write_size(swarm, call, service, replicas, &stale);
        }
    }
    if (code == VIM_OK && stale) {
        code = vim_fail(swarm->host, call, VIM_E_BUSY, 1000,
                        "others keep changing %s: each write was out of sequence", name);
    }
    if (code != VIM_OK) {
        return code;
    }
    /* It is not undone by that: who is told that it failed would think that the size is the old one. */
    return service_emit(swarm, call, name) == VIM_OK
               ? VIM_OK
               : vim_fail(swarm->host, call, VIM_E_LOST, 0,
                          "%s has been given its size, but how it stands could not be read", name);
}
