/*
 * Descriptor, life of an instance, and dispatch. What one instance is made of stands in session.h.
 */
#include "options.h"
#include "services.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static struct openstack *instance_of(void *instance)
{
    struct openstack *os = instance;

    assert(os != NULL && os->magic == OS_MAGIC);
    return os;
}

/* Explains an error to the host; anything else is passed on. */
static int explain(struct os_call *c, int rc)
{
    if (rc >= 0) {
        return rc;
    }
    return c->os->host->fail(c->call, rc, c->error.retry_after_ms,
                             c->error.message[0] == '\0' ? "unexplained" : c->error.message);
}

/* --- Life ------------------------------------------------------------------------------------ */

static void close_instance(void *instance)
{
    struct openstack *os = instance_of(instance);

    if (os->token != NULL) {
        keystone_release(os, os->token);
    }
    for (int service = 0; service < OS_SERVICES; service++) {
        http_pool_free(os->pools[service]);
    }
    pthread_cond_destroy(&os->changed);
    pthread_mutex_destroy(&os->lock);
    os->magic = 0;
    free(os);
}

static int make_pools(struct openstack *os)
{
    const struct os_config *config = os->config;
    struct http_settings settings = {.ca_file = config->ca_file,
                                     .proxy = config->proxy,
                                     .verify = config->verify_tls,
                                     .connections = (unsigned)config->connections,
                                     .connect_timeout_ms = config->connect_timeout,
                                     .timeout_ms = config->timeout,
                                     .max_answer = (size_t)config->max_answer};

    for (int service = 0; service < OS_SERVICES; service++) {
        os->pools[service] = http_pool_new(&settings);
        if (os->pools[service] == NULL) {
            return VIM_E_INTERNAL;
        }
    }
    return VIM_OK;
}

static int open_instance(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                         const void *config, void **ret_instance)
{
    const char *problem = os_config_problem(config);
    struct openstack *os;
    pthread_condattr_t attributes;

    if (problem != NULL) {
        return host->fail(call, VIM_E_INVALID, 0, problem);
    }
    http_start();
    os = calloc(1, sizeof(*os));
    if (os == NULL) {
        return host->fail(call, VIM_E_INTERNAL, 0, "not enough memory");
    }
    os->magic = OS_MAGIC;
    os->config = config;
    os->host = host;
    os->self = self;
    (void)os_catalog_base(OS_IDENTITY, os->config->auth_url, os->identity);
    pthread_mutex_init(&os->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&os->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (make_pools(os) != VIM_OK) {
        close_instance(os);
        return host->fail(call, VIM_E_INTERNAL, 0, "not enough memory");
    }
    if (!os->config->verify_tls) {
        vim_log(host, self, VIM_WARNING, "certificates are not checked", "url=%s", os->identity);
    }
    *ret_instance = os;
    return VIM_OK;
}

/* --- Probe ----------------------------------------------------------------------------------- */

/* Asks Neutron and Glance for next to nothing, which proves that they take the token. */
static int ask_services(struct os_call *c)
{
    HTTP_REPLY network = {0};
    HTTP_REPLY image = {0};
    HTTP_REPLY compute = {0};
    int rc = os_get(c, OS_COMPUTE, "2.61", &compute, "/flavors?limit=1");

    if (rc == VIM_OK) {
        rc = os_get(c, OS_NETWORK, NULL, &network, "/networks?limit=1&fields=id");
    }
    return rc == VIM_OK ? os_get(c, OS_IMAGE, NULL, &image, "/images?limit=1") : rc;
}

static json_t *facts(struct openstack *os, const struct os_token *token)
{
    json_t *body = json_object();
    json_t *endpoints = json_object();
    char text[64];

    json_object_set_new(endpoints, "identity", json_string(os->identity));
    for (int service = OS_COMPUTE; service < OS_SERVICES; service++) {
        json_object_set_new(endpoints, os_service_name((enum os_service)service),
                            json_string(token->catalog.url[service]));
    }
    if (os->config->compute_endpoint != NULL) {
        json_object_set_new(endpoints, "compute", json_string(os->config->compute_endpoint));
    }
    if (os->config->network_endpoint != NULL) {
        json_object_set_new(endpoints, "network", json_string(os->config->network_endpoint));
    }
    if (os->config->image_endpoint != NULL) {
        json_object_set_new(endpoints, "image", json_string(os->config->image_endpoint));
    }
    if (os->config->volume_endpoint != NULL) {
        json_object_set_new(endpoints, "volume", json_string(os->config->volume_endpoint));
    }
    json_object_set_new(body, "endpoints", endpoints);
    pthread_mutex_lock(&os->lock);
    (void)snprintf(text, sizeof(text), "%d.%d to %d.%d", os->lowest / 1000, os->lowest % 1000,
                   os->highest / 1000, os->highest % 1000);
    pthread_mutex_unlock(&os->lock);
    json_object_set_new(body, "compute_microversions", json_string(text));
    if (os->config->region != NULL) {
        json_object_set_new(body, "region", json_string(os->config->region));
    }
    if (token->catalog.project[0] != '\0') {
        json_object_set_new(body, "project_id", json_string(token->catalog.project));
    }
    return body;
}

static int probe(struct vim_call *call, void *instance)
{
    struct os_call c = {.os = instance_of(instance), .call = call};
    OS_FOUND found = {.kind = "vim", .status = "ACTIVE"};
    struct os_token *token;
    int rc = ask_services(&c);

    if (rc == VIM_OK) {
        rc = keystone_token(&c, &token);
    }
    if (rc != VIM_OK) {
        return explain(&c, rc);
    }
    found.body = facts(c.os, token);
    keystone_release(c.os, token);
    (void)snprintf(found.id, sizeof(found.id), "openstack");
    rc = os_emit(&c, &found);
    return rc < 0 ? explain(&c, rc) : VIM_OK;
}

/* --- Operations ------------------------------------------------------------------------------ */

static int list(struct vim_call *call, void *instance, const struct vim_list_query *query)
{
    struct os_call c = {.os = instance_of(instance), .call = call};
    const struct os_kind *kind = os_kind_find(query->kind);

    if (kind == NULL || (kind->verbs & (VIM_VERB_LIST | VIM_VERB_LOOK)) == 0) {
        return explain(&c, os_fail(&c, VIM_E_UNSUPPORTED, "unknown kind"));
    }
    if (kind->read == NULL) {
        return explain(&c, strcmp(kind->name, "quota") == 0 ? os_quotas(&c) : os_zones(&c));
    }
    return explain(&c, os_list(&c, kind, query->since, query->page_size));
}

static int get(struct vim_call *call, void *instance, const char *name, const char *id)
{
    struct os_call c = {.os = instance_of(instance), .call = call};
    const struct os_kind *kind = os_kind_find(name);

    if (kind == NULL || (kind->verbs & VIM_VERB_GET) == 0) {
        return explain(&c, os_fail(&c, VIM_E_UNSUPPORTED, "unknown kind"));
    }
    if (strcmp(name, "console") == 0) {
        return explain(&c, os_console(&c, id));
    }
    if (*id == '\0' || strlen(id) > 255 || (strcmp(name, "keypair") != 0 && !os_id_is_plain(id))) {
        return explain(&c, os_fail(&c, VIM_E_NOT_FOUND, "this can be no %s's id", name));
    }
    return explain(&c, strcmp(name, "server") == 0   ? os_server_get(&c, id)
                       : strcmp(name, "router") == 0 ? neutron_router_get(&c, id)
                                                     : os_fetch_emit(&c, kind, id));
}

/* Ids become parts of paths. */
static int check_op(struct os_call *c, const struct os_kind *kind, const struct vim_op *op)
{
    int named = strcmp(kind->name, "keypair") == 0;

    if (op->request_id == NULL || !os_is_uuid(op->request_id)) {
        return os_fail(c, VIM_E_INVALID, "the request id is no UUID in lower case");
    }
    if ((kind->verbs & op->verb) == 0) {
        return os_fail(c, VIM_E_UNSUPPORTED, "not for a %s", kind->name);
    }
    if (op->verb != VIM_VERB_CREATE &&
        (op->id == NULL || *op->id == '\0' || (!named && !os_id_is_plain(op->id)))) {
        return os_fail(c, VIM_E_NOT_FOUND, "this can be no %s's id", kind->name);
    }
    return VIM_OK;
}

static int step(struct vim_call *call, void *instance, const struct vim_op *from)
{
    struct vim_op op;
    struct os_call c = {.os = instance_of(instance), .call = call};
    const struct os_kind *kind;
    int rc;

    vim_take(&op, sizeof(op), from);
    c.request_id = op.request_id == NULL ? "" : op.request_id;
    kind = os_kind_find(op.kind);
    if (kind == NULL) {
        return explain(&c, os_fail(&c, VIM_E_UNSUPPORTED, "unknown kind"));
    }
    if (op.undo && op.verb != VIM_VERB_CREATE) {
        return VIM_OK; /* only what was made can be taken back */
    }
    rc = check_op(&c, kind, &op);
    if (rc != VIM_OK) {
        return explain(&c, rc);
    }
    if (kind->service == OS_NETWORK) {
        rc = neutron_step(&c, kind, &op);
    } else if (kind->service == OS_IMAGE) {
        rc = glance_image_step(&c, &op);
    } else if (kind->service == OS_VOLUME) {
        rc = cinder_step(&c, kind, &op);
    } else if (strcmp(kind->name, "affinity-group") == 0) {
        rc = nova_group_step(&c, &op);
    } else if (strcmp(kind->name, "server") == 0) {
        rc = nova_server_step(&c, &op);
    } else if (strcmp(kind->name, "flavor") == 0) {
        rc = nova_flavor_step(&c, &op);
    } else {
        rc = nova_keypair_step(&c, &op);
    }
    return explain(&c, rc);
}

/* --- Descriptor ------------------------------------------------------------------------------ */

#define TRAIT_MAX 24
static struct vim_trait traits[TRAIT_MAX];

static struct vim_driver_ops ops = {.size = sizeof(ops),
                                    .trait_stride = sizeof(struct vim_trait),
                                    .traits = traits,
                                    .list = list,
                                    .get = get,
                                    .step = step};

static struct vim_plugin plugin = {.size = sizeof(plugin),
                                   .abi = VIM_ABI,
                                   .type = VIM_DRIVER,
                                   .name = "openstack",
                                   .version = VIMD_VERSION,
                                   .summary =
                                       "OpenStack: Keystone, Nova, Neutron, Glance and Cinder",
                                   .options = os_options,
                                   .option_stride = sizeof(struct vim_option),
                                   .config_size = sizeof(struct os_config),
                                   .open = open_instance,
                                   .close = close_instance,
                                   .probe = probe,
                                   .ops = &ops};

static pthread_once_t filled = PTHREAD_ONCE_INIT;

/* The traits are those of the table of kinds. */
static void fill(void)
{
    assert(os_kind_count <= TRAIT_MAX);
    for (unsigned at = 0; at < os_kind_count; at++) {
        traits[at].kind = os_kinds[at].name;
        traits[at].verbs = os_kinds[at].verbs;
        traits[at].actions = os_kinds[at].actions;
    }
    ops.trait_count = os_kind_count;
    plugin.option_count = os_option_count;
}

VIM_EXPORT const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    if ((host_abi >> 16) != VIM_ABI_MAJOR) {
        return NULL;
    }
    (void)pthread_once(&filled, fill);
    return &plugin;
}
