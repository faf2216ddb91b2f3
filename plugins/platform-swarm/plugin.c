/*
 * platform-swarm: services of a Docker Swarm as groups of replicas, through the Engine API of a manager.
 */
#include "swarm.h"

#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#define C struct swarm_config
static const struct vim_option options[] = {
    VIM_OPTION_PATH(
        C, socket, 0, NULL,
        "Unix socket of the engine of a manager; left out: /var/run/docker.sock, or none "
        "if `url` is given"),
    VIM_OPTION_TEXT(C, url, 0, NULL,
                    "address of the engine over TLS, as https://manager:2376, instead of a socket"),
    VIM_OPTION_PATH(C, ca_file, 0, NULL,
                    "PEM file of the authorities that may sign the engine's certificate; left out: "
                    "the system's"),
    VIM_OPTION_PATH(C, certificate, 0, NULL, "PEM file of the certificate to log in with"),
    VIM_OPTION_PATH(C, key, 0, NULL, "PEM file of its private key, readable by vimd alone"),
    VIM_OPTION_LIST(C, services, 0,
                    "names of the services that may be seen and scaled; left out: all that are "
                    "replicated"),
    VIM_OPTION_DURATION(C, connect_timeout, 0, "2s", 10, 600000, "longest time to connect"),
    VIM_OPTION_DURATION(C, timeout, 0, "10s", 10, 600000, "longest time for one request"),
};
#undef C

int swarm_is_ours(const struct swarm *swarm, const char *name)
{
    const struct vim_texts *services = &swarm->config->services;
    for (uint32_t i = 0; i < services->count; i++) {
        if (strcmp(services->items[i], name) == 0) {
            return 1;
        }
    }
    return services->count == 0;
}

int swarm_refused(struct swarm *swarm, struct vim_call *call, const struct rest_reply *reply,
                  const char *what)
{
    const char *message = json_string_value(json_object_get(reply->body, "message"));
    int code = reply->status == 404                           ? VIM_E_NOT_FOUND
               : reply->status == 401 || reply->status == 403 ? VIM_E_DENIED
               : reply->status == 409                         ? VIM_E_CONFLICT
               : reply->status == 429                         ? VIM_E_BUSY
               : reply->status == 503 || reply->status == 502 ? VIM_E_UNAVAILABLE
               : reply->status >= 400 && reply->status < 500  ? VIM_E_INVALID
                                                              : VIM_E_UNAVAILABLE;
    vim_note(swarm->host, call, "backend_status", "%ld", reply->status);
    return vim_fail(swarm->host, call, code, reply->retry_after_ms,
                    "%s: the engine answers %ld: %.300s", what, reply->status,
                    message ? message : "without a reason");
}

int swarm_get(struct swarm *swarm, struct vim_call *call, const char *path, const char *what,
              json_t **ret_body)
{
    REST_REPLY reply = {0};
    int code = rest_call(swarm->rest, swarm->host, call, "GET", path, NULL, NULL, &reply);
    if (code != VIM_OK) {
        return code;
    }
    if (reply.status != 200) {
        return swarm_refused(swarm, call, &reply, what);
    }
    if (!reply.body) {
        return vim_fail(swarm->host, call, VIM_E_UNAVAILABLE, 0,
                        "%s: what answers is no Docker Engine", what);
    }
    *ret_body = json_incref(reply.body);
    return VIM_OK;
}

static int swarm_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *options_filled, void **ret_instance)
{
    const struct swarm_config *config = options_filled;
    if (config->url && config->socket) {
        return host->fail(call, VIM_E_INVALID, 0, "give `socket` or `url`, not both");
    }
    if (config->url && strncmp(config->url, "https://", 8) != 0) {
        return host->fail(call, VIM_E_INVALID, 0,
                          "url: an engine is reached over https://, or over its socket: who can "
                          "speak to it is root on its machine");
    }
    if (config->url && rest_url_has_user(config->url)) {
        return host->fail(call, VIM_E_INVALID, 0,
                          "url: stands in logs and answers: no user and password in it");
    }
    if (!config->certificate != !config->key) {
        return host->fail(call, VIM_E_INVALID, 0, "`certificate` and `key` go together");
    }
    struct swarm *swarm = calloc(1, sizeof(*swarm));
    struct rest_settings settings = {
        .url = config->url ? config->url : "http://engine",
        .unix_socket = config->url      ? NULL
                       : config->socket ? config->socket
                                        : "/var/run/docker.sock",
        .ca_file = config->ca_file,
        .certificate = config->certificate,
        .key = config->key,
        .connect_timeout_ms = config->connect_timeout,
        .timeout_ms = config->timeout,
    };
    struct rest *rest = swarm ? rest_new(&settings) : NULL;
    if (!rest) {
        free(swarm);
        return host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    *swarm = (struct swarm){host, self, config, rest};
    *ret_instance = swarm;
    return VIM_OK;
}

static void swarm_close(void *instance)
{
    struct swarm *swarm = instance;
    rest_free(swarm->rest);
    free(swarm);
}

static int swarm_probe(struct vim_call *call, void *instance)
{
    struct swarm *swarm = instance;
    SWARM_JSON info = NULL;
    int code = swarm_get(swarm, call, SWARM_API "/info", "engine", &info);
    if (code != VIM_OK) {
        return code;
    }
    const json_t *state = json_object_get(info, "Swarm");
    if (!json_is_true(json_object_get(state, "ControlAvailable"))) {
        return swarm->host->fail(
            call, VIM_E_UNAVAILABLE, 0,
            "this engine is no manager of a swarm: give the socket of one that is");
    }
    return VIM_OK;
}

static int swarm_list(struct vim_call *call, void *instance, const struct vim_list_query *query)
{
    (void)query; /* one kind, one page */
    return service_emit(instance, call, NULL);
}

static int refuse_foreign(struct swarm *swarm, struct vim_call *call, const char *name)
{
    return vim_fail(swarm->host, call, VIM_E_NOT_FOUND, 0,
                    "%s is not among the `services` of the configuration", name);
}

static int swarm_get_one(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    (void)kind;
    return swarm_is_ours(instance, id) ? service_emit(instance, call, id)
                                       : refuse_foreign(instance, call, id);
}

static int swarm_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    struct swarm *swarm = instance;
    uint32_t replicas = 0;
    if (strcmp(op->kind, GROUP_KIND) != 0 || op->verb != VIM_VERB_UPDATE) {
        return vim_fail(swarm->host, call, VIM_E_UNSUPPORTED, 0,
                        "a group is made in the swarm; here only its size can be changed");
    }
    if (op->undo) {
        return VIM_OK;
    }
    vim_note(swarm->host, call, "step", "scale");
    int code = group_wish(swarm->host, call, op, &replicas);
    if (code != VIM_OK) {
        return code;
    }
    return swarm_is_ours(swarm, op->id) ? service_scale(swarm, call, op->id, replicas)
                                        : refuse_foreign(swarm, call, op->id);
}

static int swarm_sample(struct vim_call *call, void *instance, const struct vim_sample_query *query)
{
    struct swarm *swarm = instance;
    if (!query->id) {
        return swarm->host->fail(call, VIM_E_INVALID, 0, "name the group to sample");
    }
    return swarm_is_ours(swarm, query->id) ? replicas_sample(swarm, call, query->id)
                                           : refuse_foreign(swarm, call, query->id);
}

static const struct vim_trait traits[] = {
    {GROUP_KIND, VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_UPDATE | VIM_VERB_SAMPLE, 0, NULL},
};

static const struct vim_driver_ops ops = {
    .size = sizeof(ops),
    .trait_count = VIM_COUNT(traits),
    .trait_stride = sizeof(struct vim_trait),
    .traits = traits,
    .list = swarm_list,
    .get = swarm_get_one,
    .step = swarm_step,
    .sample = swarm_sample,
};

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .flags = VIM_SERIAL,
    .name = "platform-swarm",
    .version = VIMD_VERSION,
    .summary = "Scaling platform: services of a Docker Swarm as groups of replicas",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(struct vim_option),
    .config_size = sizeof(struct swarm_config),
    .open = swarm_open,
    .close = swarm_close,
    .probe = swarm_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
