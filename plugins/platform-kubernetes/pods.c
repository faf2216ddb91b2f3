#include "kubernetes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

double quantity(const char *text)
{
    static const struct {
        const char *suffix;
        double factor;
    } suffixes[] = {{"", 1},
                    {"n", 1e-9},
                    {"u", 1e-6},
                    {"m", 1e-3},
                    {"k", 1e3},
                    {"M", 1e6},
                    {"G", 1e9},
                    {"T", 1e12},
                    {"Ki", 1024},
                    {"Mi", 1024.0 * 1024},
                    {"Gi", 1024.0 * 1024 * 1024},
                    {"Ti", 1024.0 * 1024 * 1024 * 1024}};
    char *end = NULL;
    double value = text ? strtod(text, &end) : NAN;
    if (!text || end == text) {
        return NAN;
    }
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (strcmp(end, suffixes[i].suffix) == 0) {
            return value * suffixes[i].factor;
        }
    }
    return NAN;
}

/* "app=x,tier=y" of a workload's matchLabels and matchExpressions, to be freed; NULL if it has none. */
static char *selector_of(const json_t *workload)
{
    const json_t *selector = json_object_get(json_object_get(workload, "spec"), "selector");
    char *text = NULL, *longer;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(selector, "matchLabels"), key, value)
    {
        if (asprintf(&longer, "%s%s%s=%s", text ? text : "", text ? "," : "", key,
                     json_string_value(value)) < 0) {
            break;
        }
        free(text);
        text = longer;
    }
    return text;
}

static int is_ready(const json_t *pod)
{
    size_t at;
    const json_t *condition;
    json_array_foreach(json_object_get(json_object_get(pod, "status"), "conditions"), at, condition)
    {
        const char *type = json_text(condition, "type"), *value = json_text(condition, "status");
        if (type && value && strcmp(type, "Ready") == 0) {
            return strcmp(value, "True") == 0;
        }
    }
    return 0;
}

struct sampling {
    struct kubernetes *kubernetes;
    struct vim_call *call;
    const char *group;
    json_t *usage; /* pod's name -> its containers' usage, by the metrics server; may be empty */
    json_t *seen; /* pods told already: a list that began anew tells some twice */
    int enough;
};

static int take_usage(void *argument, json_t *metrics)
{
    struct sampling *sampling = argument;
    const char *name = json_text(json_object_get(metrics, "metadata"), "name");
    if (name) {
        json_object_set(sampling->usage, name, json_object_get(metrics, "containers"));
    }
    return VIM_OK;
}

/* The sum over a pod's containers of what is at KEY. */
static double sum_usage(const json_t *containers, const char *key)
{
    double sum = containers ? 0 : NAN;
    size_t at;
    const json_t *container;
    json_array_foreach(containers, at, container)
    {
        sum += quantity(json_text(json_object_get(container, "usage"), key));
    }
    return sum;
}

static int sample_pod(void *argument, json_t *pod)
{
    struct sampling *sampling = argument;
    const json_t *metadata = json_object_get(pod, "metadata");
    const char *name = json_text(metadata, "name");
    const char *phase = json_text(json_object_get(pod, "status"), "phase");
    if (!name || sampling->enough || json_object_get(sampling->seen, name) ||
        json_object_get(metadata, "deletionTimestamp") ||
        (phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0))) {
        return VIM_OK;
    }
    json_object_set_new(sampling->seen, name, json_true());
    struct group_sample sample;
    group_sample_init(&sample, name, sampling->group);
    sample.ready = is_ready(pod);
    sample.address = json_text(json_object_get(pod, "status"), "podIP");
    sample.quota_cores = pod_quota(json_object_get(pod, "spec"));
    sample.cpu_cores = sum_usage(json_object_get(sampling->usage, name), "cpu");
    sample.memory_bytes = sum_usage(json_object_get(sampling->usage, name), "memory");
    sampling->enough = group_sample_emit(sampling->kubernetes->host, sampling->call, &sample);
    return VIM_OK;
}

int pods_sample(struct kubernetes *kubernetes, struct vim_call *call, const char *id)
{
    KUBERNETES_JSON workload = NULL;
    KUBERNETES_JSON usage = json_object();
    KUBERNETES_JSON seen = json_object();
    KUBERNETES_TEXT space = rest_escape(kubernetes->access.namespace_name);
    KUBERNETES_TEXT pods = NULL;
    KUBERNETES_TEXT metrics = NULL;
    int code = workload_get(kubernetes, call, id, &workload);
    if (code != VIM_OK) {
        return code;
    }
    KUBERNETES_TEXT selector = selector_of(workload);
    if (!selector) {
        return vim_fail(kubernetes->host, call, VIM_E_UNSUPPORTED, 0,
                        "%s selects its pods by no matchLabels: they cannot be told", id);
    }
    if (asprintf(&pods, "/api/v1/namespaces/%s/pods", space) < 0 ||
        asprintf(&metrics, "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods", space) < 0) {
        return kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    struct sampling sampling = {kubernetes, call, id, usage, seen, 0};
    code = api_list(kubernetes, call, metrics, selector, "metrics.k8s.io", take_usage, &sampling);
    /* A cluster without a metrics server, or one that is not vimd's to read, still tells which pods are ready. */
    if (code == VIM_OK || code == VIM_E_NOT_FOUND || code == VIM_E_UNAVAILABLE ||
        code == VIM_E_DENIED) {
        code = api_list(kubernetes, call, pods, selector, "pods", sample_pod, &sampling);
    }
    return code;
}
