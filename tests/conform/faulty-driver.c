/*
 * faulty-driver - an infrastructure of networks in memory, with a driver that has one fault, chosen by
 * its option, so that vim-plugin-check can show that it finds it.
 *
 * A create takes two steps: the first makes the network, the second tells that it is done.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vim/driver.h>

#define NETWORKS_MAX 1000

struct config {
    const char *fault;
};

struct driver {
    const struct vim_host *host;
    const struct config *config;
};

/* The far side: it outlives instances. */
static struct {
    pthread_mutex_t lock;
    unsigned made;
    struct network {
        bool there;
        char id[24], tag[48];
    } networks[NETWORKS_MAX];
} far_side = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool has_fault(const struct driver *driver, const char *fault)
{
    return strcmp(driver->config->fault, fault) == 0;
}

static bool is_known(const char *kind)
{
    return strcmp(kind, "network") == 0;
}

static int emit(struct vim_call *call, const struct driver *driver, const struct network *network)
{
    struct vim_item item = {.size = sizeof item,
                            .kind = "network",
                            .id = network->id,
                            .status = has_fault(driver, "invents_fields") ? "FINE" : "ACTIVE",
                            .tag = network->tag,
                            .body = "{\"name\":\"a network\"}"};

    return driver->host->emit(call, &item);
}

/* By id, or by tag; NULL if there is none. Called with the lock held. */
static struct network *find(const char *id, const char *tag)
{
    for (unsigned i = 0; i < far_side.made; i++) {
        struct network *network = &far_side.networks[i];

        if (network->there &&
            ((id && strcmp(network->id, id) == 0) || (tag && strcmp(network->tag, tag) == 0)))
            return network;
    }
    return NULL;
}

static int driver_list(struct vim_call *call, void *instance, const struct vim_list_query *query)
{
    struct driver *driver = instance;
    unsigned emitted = 0;

    if (!is_known(query->kind))
        return driver->host->fail(call, VIM_E_UNSUPPORTED, 0, "unknown kind");
    pthread_mutex_lock(&far_side.lock);
    for (unsigned i = 0; i < far_side.made; i++)
        if (far_side.networks[i].there) {
            if (has_fault(driver, "stops_after_a_page") && query->page_size == 1 && emitted == 1)
                break;
            emit(call, driver, &far_side.networks[i]);
            emitted++;
        }
    pthread_mutex_unlock(&far_side.lock);
    return VIM_OK;
}

static int driver_get(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    struct driver *driver = instance;
    struct network *network;

    if (!is_known(kind))
        return driver->host->fail(call, VIM_E_UNSUPPORTED, 0, "unknown kind");
    pthread_mutex_lock(&far_side.lock);
    network = find(id, NULL);
    if (network)
        emit(call, driver, network);
    pthread_mutex_unlock(&far_side.lock);
    return network ? VIM_OK : driver->host->fail(call, VIM_E_NOT_FOUND, 0, "no such network");
}

/* Called with the lock held. */
static int create(struct vim_call *call, const struct driver *driver, const struct vim_op *op)
{
    struct network *network =
        has_fault(driver, "duplicates") && !op->kept ? NULL : find(op->id, op->request_id);

    if (op->undo) {
        if (!has_fault(driver, "forgets_undo") && network)
            network->there = false;
        return VIM_OK;
    }
    if (op->kept) {
        if (!network)
            return driver->host->fail(call, VIM_E_FAILED, 0, "it is gone");
        emit(call, driver, network);
        return VIM_OK;
    }
    if (!network) {
        if (far_side.made == NETWORKS_MAX)
            return driver->host->fail(call, VIM_E_QUOTA, 0, "no room");
        network = &far_side.networks[far_side.made++];
        network->there = true;
        snprintf(network->id, sizeof network->id, "network-%u", far_side.made);
        snprintf(network->tag, sizeof network->tag, "%s", op->request_id);
    }
    emit(call, driver, network);
    driver->host->keep(call, "made");
    driver->host->again(call, 1);
    return VIM_AGAIN;
}

static int driver_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    struct driver *driver = instance;
    struct network *network;
    int code;

    if (!is_known(op->kind) || (op->verb != VIM_VERB_CREATE && op->verb != VIM_VERB_DELETE))
        return driver->host->fail(call, VIM_E_UNSUPPORTED, 0, "unknown kind, or verb");
    if (has_fault(driver, "exits"))
        _exit(0);
    if (has_fault(driver, "leaks") && dup(STDERR_FILENO) < 0)
        return driver->host->fail(call, VIM_E_INTERNAL, 0, "no descriptor is left to leak");
    pthread_mutex_lock(&far_side.lock);
    if (op->verb == VIM_VERB_CREATE) {
        code = create(call, driver, op);
    } else {
        network = find(op->id, NULL);
        if (network)
            network->there = false;
        code = VIM_OK;
    }
    pthread_mutex_unlock(&far_side.lock);
    return code;
}

static int driver_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                       const void *config, void **ret_instance)
{
    struct driver *driver = calloc(1, sizeof *driver);

    (void)self;
    if (!driver)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    driver->host = host;
    driver->config = config;
    *ret_instance = driver;
    return VIM_OK;
}

static void driver_close(void *instance)
{
    free(instance);
}

static int driver_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_option options[] = {{
    .name = "fault",
    .type = VIM_CHOICE,
    .default_value = "none",
    .choices = "none duplicates forgets_undo stops_after_a_page invents_fields leaks exits",
    .help = "What this driver does wrong.",
    .offset = offsetof(struct config, fault),
}};

static const struct vim_trait traits[] = {
    {"network", VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_CREATE | VIM_VERB_DELETE, 0, NULL},
};

static const struct vim_driver_ops ops = {
    .size = sizeof ops,
    .trait_count = 1,
    .trait_stride = sizeof traits[0],
    .traits = traits,
    .list = driver_list,
    .get = driver_get,
    .step = driver_step,
};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .name = "faulty-driver",
    .version = "1",
    .summary = "Networks in memory, with a fault of choice, for tests.",
    .options = options,
    .option_count = 1,
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct config),
    .open = driver_open,
    .close = driver_close,
    .probe = driver_probe,
    .ops = &ops,
};

const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == VIM_ABI_MAJOR ? &plugin : NULL;
}
