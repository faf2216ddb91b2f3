/*
 * kubernetes.h - what the files of platform-kubernetes share.
 *
 *   plugin.c      options, life of an instance, the driver's operations
 *   kubeconfig.c  cluster and user of a kubeconfig file
 *   api.c         requests to the API server: token, errors
 *   workload.c    Deployments and StatefulSets: where they stand, and their size
 *   pods.c        what the pods of one have used
 */
#ifndef PLATFORM_KUBERNETES_H
#define PLATFORM_KUBERNETES_H

#include <jansson.h>
#include <vim/driver.h>
#include "group.h"
#include "rest.h"

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

struct kubernetes_config {
    const char *server, *ca_file, *token_file, *kubeconfig, *context, *namespace_name, *selector;
    int64_t connect_timeout, timeout;
};

/* Where the API server is and how to log in. Texts are owned. Data that a kubeconfig holds inline is
 * written to files of mode 0600 below `folder`, which end with it. */
struct access {
    char *server, *ca_file, *token, *token_file, *certificate, *key, *namespace_name;
    char *folder;
};
void access_free(struct access *access);

struct kubernetes {
    const struct vim_host *host;
    struct vim_self *self;
    const struct kubernetes_config *config; /* vimd's; valid until close() */
    struct access access;
    struct rest *rest;
};

#define KUBERNETES_JSON __attribute__((cleanup(kubernetes_decref))) json_t *
static inline void kubernetes_decref(json_t **json)
{
    json_decref(*json);
}
#define KUBERNETES_TEXT __attribute__((cleanup(kubernetes_free_text))) char *
static inline void kubernetes_free_text(char **text)
{
    free(*text);
}

/* --- kubeconfig.c -------------------------------------------------------------------------------- */

/* Reads the file PATH, CONTEXT of it or the current one. On error RET_REASON says what is wrong where. */
int kubeconfig_read(const char *path, const char *context, struct access *ret_access,
                    char ret_reason[512]);

/* --- api.c --------------------------------------------------------------------------------------- */

/* One request. An answer of 2xx gives its document, a new reference, in RET_BODY; anything else is
 * explained, and what a 404 is about is WHAT. A 401 is tried once more with the token as it is now in its
 * file, since a service account's is replaced every hour. VIM_E_CONFLICT is left to the caller. */
int api_call(struct kubernetes *kubernetes, struct vim_call *call, const char *method,
             const char *path, const json_t *document, const char *what, json_t **ret_body);

/* Calls EACH for every item of a list, page by page. A list that has expired on the way (410) begins
 * again, so EACH may see an item twice. */
int api_list(struct kubernetes *kubernetes, struct vim_call *call, const char *path,
             const char *selector, const char *what, int (*each)(void *argument, json_t *item),
             void *argument);

const char *json_text(const json_t *object, const char *key);
json_int_t json_count(const json_t *object, const char *key);

/* --- workload.c ---------------------------------------------------------------------------------- */

/* A group is "deployment/NAME" or "statefulset/NAME". */
int workload_list(struct kubernetes *kubernetes, struct vim_call *call);
int workload_emit(struct kubernetes *kubernetes, struct vim_call *call, const char *id);
int workload_scale(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                   uint32_t replicas);
/* The document of a group: a new reference. */
int workload_get(struct kubernetes *kubernetes, struct vim_call *call, const char *id,
                 json_t **ret_workload);
/* Cores that a pod of this spec may use; 0 if a container of it has no limit. */
double pod_quota(const json_t *pod_spec);

/* --- pods.c -------------------------------------------------------------------------------------- */

int pods_sample(struct kubernetes *kubernetes, struct vim_call *call, const char *id);

/* A Kubernetes quantity ("250m", "1.5", "12345n", "64Mi"); NaN if it is none. */
double quantity(const char *text);

#endif
