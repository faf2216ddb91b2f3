#include "kubernetes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

/* A write loses to another one that came between its read and itself; so often it is tried anew. */
#define WRITE_TRIES 5
#define NAME_MAX_K8S 253

static const struct {
    const char *prefix, *plural;
} types[] = {{"deployment/", "deployments"}, {"statefulset/", "statefulsets"}};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* /apis/apps/v1/namespaces/NAMESPACE/PLURAL[/NAME[/scale]], to be freed. */
static char *path_of(const struct kubernetes *kubernetes, size_t type, const char *name,
                     const char *behind)
{
    KUBERNETES_TEXT space = rest_escape(kubernetes->access.namespace_name);
    KUBERNETES_TEXT escaped = rest_escape(name);
    char *path = NULL;
    if (!space || !escaped ||
        asprintf(&path, "/apis/apps/v1/namespaces/%s/%s%s%s%s", space, types[type].plural,
                 *escaped ? "/" : "", escaped, behind) < 0) {
        return NULL;
    }
    return path;
}

/* The type and the name in the group's ID. */
static int parse_id(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                    size_t *ret_type, const char **ret_name)
{
    for (size_t i = 0; i < TYPES; i++) {
        size_t length = strlen(types[i].prefix);
        if (strncmp(id, types[i].prefix, length) == 0 && id[length] != '\0' &&
            strlen(id + length) <= NAME_MAX_K8S) {
            *ret_type = i;
            *ret_name = id + length;
            return VIM_OK;
        }
    }
    return vim_fail(kubernetes->host, call, VIM_E_NOT_FOUND, 0,
                    "%.300s: a group is deployment/NAME or statefulset/NAME", id);
}

double pod_quota(const json_t *pod_spec)
{
    double sum = 0;
    size_t at;
    const json_t *container;
    json_array_foreach(json_object_get(pod_spec, "containers"), at, container)
    {
        const json_t *limits = json_object_get(json_object_get(container, "resources"), "limits");
        double cores = json_text(limits, "cpu") ? quantity(json_text(limits, "cpu")) : 0;
        if (!(cores > 0)) {
            return 0; /* one container without a limit may use all there is */
        }
        sum += cores;
    }
    return sum;
}

/* Why pods do not come up, from the conditions; NULL if nothing is wrong. */
static const char *failure_of(const json_t *status)
{
    size_t at;
    const json_t *condition;
    json_array_foreach(json_object_get(status, "conditions"), at, condition)
    {
        const char *type = json_text(condition, "type"), *value = json_text(condition, "status");
        int bad = type && value &&
                  ((strcmp(type, "ReplicaFailure") == 0 && strcmp(value, "True") == 0) ||
                   (strcmp(type, "Progressing") == 0 && strcmp(value, "False") == 0));
        if (bad) {
            const char *message = json_text(condition, "message");
            return message && *message ? message : type;
        }
    }
    return NULL;
}

static int is_strange(struct kubernetes *kubernetes, struct vim_call *call, const char *id)
{
    return vim_fail(kubernetes->host, call, VIM_E_UNAVAILABLE, 0,
                    "%s: the answer does not tell how many replicas it has", id);
}

/* VIM_OK, or why it cannot be told where the workload stands. *RET_ENOUGH: no more is wanted. */
static int emit_workload(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                         const json_t *workload, int *ret_enough)
{
    const json_t *spec = json_object_get(workload, "spec");
    const json_t *status = json_object_get(workload, "status");
    int64_t wanted = group_count(json_object_get(spec, "replicas"), 1);
    int64_t current = group_count(json_object_get(status, "replicas"), 0);
    int64_t ready = group_count(json_object_get(status, "readyReplicas"), 0);
    if (!json_is_object(spec) || wanted < 0 || current < 0 || ready < 0) {
        return is_strange(kubernetes, call, id);
    }
    struct group group = {
        .id = id,
        .wanted = (uint32_t)wanted,
        .current = (uint32_t)current,
        .ready = (uint32_t)ready,
        .quota_cores = pod_quota(json_object_get(json_object_get(spec, "template"), "spec")),
        .failed = failure_of(status),
    };
    /* Until the controller has seen a new size, its counts are those of before. */
    int seen = json_count(status, "observedGeneration") >=
               json_count(json_object_get(workload, "metadata"), "generation");
    group.starting = group.wanted > group.ready ? group.wanted - group.ready : !seen;
    group.stopping = seen && current > wanted ? (uint32_t)(current - wanted) : 0;
    *ret_enough = group_emit(kubernetes->host, call, &group);
    return VIM_OK;
}

struct listing {
    struct kubernetes *kubernetes;
    struct vim_call *call;
    const char *prefix;
    int enough;
};

static int list_one(void *argument, json_t *workload)
{
    struct listing *listing = argument;
    const char *name = json_text(json_object_get(workload, "metadata"), "name");
    char id[NAME_MAX_K8S + 32];
    if (!listing->enough && name &&
        snprintf(id, sizeof(id), "%s%s", listing->prefix, name) < (int)sizeof(id)) {
        return emit_workload(listing->kubernetes, listing->call, id, workload, &listing->enough);
    }
    return VIM_OK;
}

int workload_list(struct kubernetes *kubernetes, struct vim_call *call)
{
    int code = VIM_OK;
    for (size_t i = 0; i < TYPES && code == VIM_OK; i++) {
        struct listing listing = {kubernetes, call, types[i].prefix, 0};
        KUBERNETES_TEXT path = path_of(kubernetes, i, "", "");
        code = path ? api_list(kubernetes, call, path, kubernetes->config->selector,
                               types[i].plural, list_one, &listing)
                    : kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    return code;
}

/* The document at the group's path plus BEHIND. */
static int fetch(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                 const char *behind, json_t **ret_document)
{
    size_t type = 0;
    const char *name = NULL;
    int code = parse_id(kubernetes, call, id, &type, &name);
    if (code != VIM_OK) {
        return code;
    }
    KUBERNETES_TEXT path = path_of(kubernetes, type, name, behind);
    if (!path) {
        return kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    code = api_call(kubernetes, call, "GET", path, NULL, id, ret_document);
    if (code == VIM_OK) {
        const char *its = json_text(json_object_get(*ret_document, "metadata"), "name");
        int fits =
            its ? strcmp(its, name) == 0 : json_is_object(json_object_get(*ret_document, "spec"));
        code = fits ? VIM_OK : is_strange(kubernetes, call, id);
    }
    return code;
}

int workload_get(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                 json_t **ret_workload)
{
    return fetch(kubernetes, call, id, "", ret_workload);
}

int workload_emit(struct kubernetes *kubernetes, struct vim_call *call, const char *id)
{
    KUBERNETES_JSON workload = NULL;
    int enough = 0, code = workload_get(kubernetes, call, id, &workload);
    return code == VIM_OK ? emit_workload(kubernetes, call, id, workload, &enough) : code;
}

/* Reads the Scale object and writes it back with its resourceVersion: VIM_E_CONFLICT if somebody came
 * between. */
static int write_scale(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                       uint32_t replicas)
{
    KUBERNETES_JSON scale = NULL;
    KUBERNETES_JSON written = NULL;
    size_t type = 0;
    const char *name = NULL;
    int code = parse_id(kubernetes, call, id, &type, &name);
    code = code ? code : fetch(kubernetes, call, id, "/scale", &scale);
    json_t *spec = json_object_get(scale, "spec");
    int64_t wanted = group_count(json_object_get(spec, "replicas"), 0);
    if (code == VIM_OK && wanted < 0) {
        return is_strange(kubernetes, call, id);
    }
    if (code != VIM_OK || wanted == replicas) {
        return code;
    }
    if (!spec) {
        /* A scale of none is written without its zero. */
        json_object_set_new(scale, "spec", json_object());
        spec = json_object_get(scale, "spec");
    }
    json_object_set_new(spec, "replicas", json_integer(replicas));
    KUBERNETES_TEXT path = path_of(kubernetes, type, name, "/scale");
    return path ? api_call(kubernetes, call, "PUT", path, scale, id, &written)
                : kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
}

int workload_scale(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                   uint32_t replicas)
{
    int code = VIM_E_CONFLICT;
    for (int tries = 0; code == VIM_E_CONFLICT && tries < WRITE_TRIES; tries++) {
        code = write_scale(kubernetes, call, id, replicas);
    }
    if (code == VIM_E_CONFLICT) {
        return vim_fail(kubernetes->host, call, VIM_E_BUSY, 1000,
                        "others keep changing %s: each write was a conflict", id);
    }
    if (code != VIM_OK) {
        return code;
    }
    /* It is not undone by that: who is told that it failed would think that the size is the old one. */
    return workload_emit(kubernetes, call, id) == VIM_OK
               ? VIM_OK
               : vim_fail(kubernetes->host, call, VIM_E_LOST, 0,
                          "%s has been given its size, but how it stands could not be read", id);
}
