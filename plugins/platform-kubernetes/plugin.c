/*
 * platform-kubernetes: Deployments and StatefulSets of one namespace as groups of replicas, through the
 * scale subresource.
 */
#include "kubernetes.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#define C struct kubernetes_config
#define NAMESPACE_OPTION                                                                         \
    {                                                                                            \
        .name = "namespace", .type = VIM_TEXT, .offset = offsetof(C, namespace_name),            \
        .help = "namespace of the groups; left out: the kubeconfig's, that of the pod in which " \
                "vimd runs, or default"                                                          \
    }
static const struct vim_option options[] = {
    VIM_OPTION_TEXT(C, server, 0, NULL,
                    "address of the API server; left out: https://kubernetes.default.svc, for a "
                    "vimd that runs in the cluster"),
    VIM_OPTION_PATH(C, ca_file, 0, NULL,
                    "PEM file of the authorities that may sign its certificate; left out: that of "
                    "the service account"),
    VIM_OPTION_PATH(C, token_file, 0, NULL,
                    "file with a bearer token, read anew for every request; left out: that of the "
                    "service account"),
    VIM_OPTION_PATH(C, kubeconfig, 0, NULL,
                    "kubeconfig file with server, authority and login, instead of the three above"),
    VIM_OPTION_TEXT(C, context, 0, NULL, "context of the kubeconfig; left out: the current one"),
    NAMESPACE_OPTION,
    VIM_OPTION_TEXT(C, selector, 0, NULL,
                    "label selector of the groups that are listed, as app=vimd; left out: all"),
    VIM_OPTION_DURATION(C, connect_timeout, 0, "2s", 10, 600000, "longest time to connect"),
    VIM_OPTION_DURATION(C, timeout, 0, "10s", 10, 600000, "longest time for one request"),
};
#undef C

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* The namespace that a pod's service account is in, to be freed; NULL outside of a pod. */
static char *own_namespace(void)
{
    char name[256] = "";
    FILE *file = fopen(SERVICE_ACCOUNT "/namespace", "re");
    if (file) {
        name[fread(name, 1, sizeof(name) - 1, file)] = '\0';
        name[strcspn(name, "\r\n")] = '\0';
        (void)fclose(file);
    }
    return *name ? strdup(name) : NULL;
}

static int find_access(const struct kubernetes_config *config, struct access *access,
                       char reason[512])
{
    if (config->kubeconfig) {
        int code = kubeconfig_read(config->kubeconfig, config->context, access, reason);
        if (code != VIM_OK) {
            return code;
        }
    } else {
        access->server = copy(config->server ? config->server : "https://kubernetes.default.svc");
        access->ca_file = copy(config->ca_file ? config->ca_file : SERVICE_ACCOUNT "/ca.crt");
        access->token_file =
            copy(config->token_file ? config->token_file : SERVICE_ACCOUNT "/token");
    }
    if (config->namespace_name) {
        free(access->namespace_name);
        access->namespace_name = copy(config->namespace_name);
    }
    if (!access->namespace_name) {
        access->namespace_name = own_namespace();
    }
    if (!access->namespace_name) {
        access->namespace_name = copy("default");
    }
    return VIM_OK;
}

static int check_options(const struct kubernetes_config *config, const struct vim_host *host,
                         struct vim_call *call)
{
    if (config->kubeconfig && (config->server || config->ca_file || config->token_file)) {
        return host->fail(call, VIM_E_INVALID, 0,
                          "give `kubeconfig`, or `server`, `ca_file` and `token_file`, not both");
    }
    if (config->context && !config->kubeconfig) {
        return host->fail(call, VIM_E_INVALID, 0, "`context` belongs to `kubeconfig`");
    }
    return VIM_OK;
}

/* Is the host that AT begins with this machine? */
static int is_loopback(const char *at)
{
    char host[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    size_t length = *at == '[' ? strcspn(at, "/?#") : strcspn(at, ":/?#");
    if (strncmp(at, "[::1]", 5) == 0 && (length == 5 || at[5] == ':')) {
        return 1;
    }
    if (length < sizeof(host)) {
        memcpy(host, at, length);
    }
    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* A token that goes over a line which others can read is everybody's. */
static int check_server(const struct access *access, const struct vim_host *host,
                        struct vim_call *call)
{
    static const char plain[] = "http://";
    const char *server = access->server, *at = server + sizeof(plain) - 1;
    int is_plain = strncmp(server, plain, sizeof(plain) - 1) == 0;
    if (rest_url_has_user(server)) {
        return host->fail(call, VIM_E_INVALID, 0,
                          "server: stands in logs and answers: no user and password in it");
    }
    return strncmp(server, "https://", 8) == 0 || (is_plain && is_loopback(at))
               ? VIM_OK
               : host->fail(call, VIM_E_INVALID, 0,
                            "server: has to begin with https:// (or be on loopback)");
}

static int kubernetes_open(struct vim_call *call, const struct vim_host *host,
                           struct vim_self *self, const void *filled, void **ret_instance)
{
    const struct kubernetes_config *config = filled;
    char reason[512] = "";
    int code = check_options(config, host, call);
    if (code != VIM_OK) {
        return code;
    }
    struct kubernetes *kubernetes = calloc(1, sizeof(*kubernetes));
    if (!kubernetes) {
        return host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    *kubernetes = (struct kubernetes){.host = host, .self = self, .config = config};
    struct access *access = &kubernetes->access;
    code = find_access(config, access, reason);
    if (code != VIM_OK) {
        code = host->fail(call, code, 0, reason);
    } else {
        code = check_server(access, host, call);
    }
    struct rest_settings settings = {
        .url = access->server,
        .ca_file = access->ca_file,
        .certificate = access->certificate,
        .key = access->key,
        .connect_timeout_ms = config->connect_timeout,
        .timeout_ms = config->timeout,
    };
    if (code == VIM_OK && !(kubernetes->rest = rest_new(&settings))) {
        code = host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    if (code != VIM_OK) {
        access_free(access);
        free(kubernetes);
        return code;
    }
    *ret_instance = kubernetes;
    return VIM_OK;
}

static void kubernetes_close(void *instance)
{
    struct kubernetes *kubernetes = instance;
    rest_free(kubernetes->rest);
    access_free(&kubernetes->access);
    free(kubernetes);
}

/* Rights are checked where they are needed: this call needs those to read what is scaled. */
static int kubernetes_probe(struct vim_call *call, void *instance)
{
    struct kubernetes *kubernetes = instance;
    KUBERNETES_JSON list = NULL;
    KUBERNETES_TEXT space = rest_escape(kubernetes->access.namespace_name);
    KUBERNETES_TEXT path = NULL;
    if (asprintf(&path, "/apis/apps/v1/namespaces/%s/deployments?limit=1", space) < 0) {
        return kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    return api_call(kubernetes, call, "GET", path, NULL, "deployments", &list);
}

static int kubernetes_list(struct vim_call *call, void *instance,
                           const struct vim_list_query *query)
{
    (void)query; /* one kind; the pages are the API server's */
    return workload_list(instance, call);
}

static int kubernetes_get(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    (void)kind;
    return workload_emit(instance, call, id);
}

static int kubernetes_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    struct kubernetes *kubernetes = instance;
    uint32_t replicas = 0;
    if (strcmp(op->kind, GROUP_KIND) != 0 || op->verb != VIM_VERB_UPDATE) {
        return vim_fail(kubernetes->host, call, VIM_E_UNSUPPORTED, 0,
                        "a group is made in the cluster; here only its size can be changed");
    }
    if (op->undo) {
        return VIM_OK;
    }
    vim_note(kubernetes->host, call, "step", "scale");
    int code = group_wish(kubernetes->host, call, op, &replicas);
    return code ? code : workload_scale(kubernetes, call, op->id, replicas);
}

static int kubernetes_sample(struct vim_call *call, void *instance,
                             const struct vim_sample_query *query)
{
    struct kubernetes *kubernetes = instance;
    return query->id ? pods_sample(kubernetes, call, query->id)
                     : kubernetes->host->fail(call, VIM_E_INVALID, 0, "name the group to sample");
}

static const struct vim_trait traits[] = {
    {GROUP_KIND, VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_UPDATE | VIM_VERB_SAMPLE, 0, NULL},
};

static const struct vim_driver_ops ops = {
    .size = sizeof(ops),
    .trait_count = VIM_COUNT(traits),
    .trait_stride = sizeof(struct vim_trait),
    .traits = traits,
    .list = kubernetes_list,
    .get = kubernetes_get,
    .step = kubernetes_step,
    .sample = kubernetes_sample,
};

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .flags = VIM_SERIAL,
    .name = "platform-kubernetes",
    .version = VIMD_VERSION,
    .summary = "Scaling platform: Deployments and StatefulSets of Kubernetes as groups of replicas",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(struct vim_option),
    .config_size = sizeof(struct kubernetes_config),
    .open = kubernetes_open,
    .close = kubernetes_close,
    .probe = kubernetes_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
