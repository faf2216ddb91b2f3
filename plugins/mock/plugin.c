/* Descriptor, options and lifecycle. */
#include "mock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct vim_option options[] = {
    VIM_OPTION_INTEGER(struct mock_config, seed, 0, "1", 0, 0,
                       "seed of ids, latencies and faults: the same seed repeats them"),
    VIM_OPTION_DURATION(struct mock_config, latency_mean, VIM_LIVE, "2s", 0, 86400000,
                        "mean time until a new server is ACTIVE or an action on it is done"),
    VIM_OPTION_DURATION(struct mock_config, network_latency_mean, VIM_LIVE, "0ms", 0, 86400000,
                        "mean time until a new network is ACTIVE"),
    VIM_OPTION_INTEGER(struct mock_config, builders, VIM_LIVE, "0", 0, 1000000,
                       "how many things of one kind the mock cloud builds at once, the others wait "
                       "for their turn; 0 for no limit"),
    VIM_OPTION_CHOICE(struct mock_config, server_ports, VIM_LIVE, "driver", "driver cloud",
                      "who makes the ports of a new server: the driver, each in a call of its own, "
                      "or the mock cloud within the server's create"),
    VIM_OPTION_CHOICE(
        struct mock_config, polling, VIM_LIVE, "shared", "shared naive",
        "how a create waits: shared, by the lists that all share; or, to measure what "
        "that saves, naive: each by itself, asking about every thing of its kind that "
        "was made here, with 2 calls per server and 4 per network"),
    VIM_OPTION_DURATION(struct mock_config, delete_latency_mean, VIM_LIVE, "500ms", 0, 86400000,
                        "mean time until a deleted server is gone"),
    VIM_OPTION_CHOICE(struct mock_config, latency_distribution, VIM_LIVE, "exponential",
                      "fixed exponential uniform",
                      "how these times spread around their mean; uniform is from 0 to twice the "
                      "mean, exponential ends at ten times the mean"),
    VIM_OPTION_DURATION(struct mock_config, call_latency, VIM_LIVE, "0ms", 0, 600000,
                        "how long every call to the mock cloud takes"),
    VIM_OPTION_INTEGER(struct mock_config, page_limit, VIM_LIVE, "1000", 1, 1000,
                       "the most things that the mock cloud puts on one page of a list"),
    VIM_OPTION_INTEGER(struct mock_config, hosts, VIM_LIVE, "8", 1, 1000,
                       "how many compute hosts the mock cloud has, compute-1, compute-2 and so on, "
                       "in turn in the zones az1 and az2"),
    VIM_OPTION_INTEGER(struct mock_config, host_vcpus, VIM_LIVE, "1000000", 1, 1000000000,
                       "virtual processors that each host has room for"),
    VIM_OPTION_INTEGER(struct mock_config, host_ram, VIM_LIVE, "1000000000", 1, 1000000000000,
                       "MiB of memory that each host has room for"),
    VIM_OPTION_LIST(struct mock_config, quotas, VIM_LIVE,
                    "quotas as \"KIND COUNT\", say \"server 100\", or of vcpus, ram (MiB) and "
                    "storage (GiB); what is not named has none"),
    VIM_OPTION_LIST(struct mock_config, faults, VIM_LIVE,
                    "fault script: rules as \"VERB KIND FAULT CHANCE [MILLISECONDS]\", say "
                    "\"create server lost 0.2\"; the first that strikes a call counts"),
    VIM_OPTION_PATH(struct mock_config, folder, 0, NULL,
                    "where the mock cloud's files are: the same for all processes that share it; "
                    "left out: state_dir"),
};

static bool set_amount(struct backend_config *config, const char *name, int64_t most)
{
    static const char *const names[AMOUNT_COUNT] = {
        [AMOUNT_VCPUS] = "vcpus", [AMOUNT_RAM] = "ram", [AMOUNT_STORAGE] = "storage"};
    for (int i = 0; i < AMOUNT_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            config->amounts[i] = (struct amount_quota){.is_set = true, .most = most};
            return true;
        }
    }
    return false;
}

static int read_quotas(const struct mock_config *config, struct backend_config *ret_config,
                       char *error, size_t error_size)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        ret_config->quotas[kind] = -1;
    }
    for (uint32_t i = 0; i < config->quotas.count; i++) {
        char name[32];
        char rest[2];
        long long count;
        int kind;
        bool fine =
            sscanf(config->quotas.items[i], "%31s %lld %1s", name, &count, rest) == 2 && count >= 0;
        if (fine && (kind = kind_find(name)) >= 0) {
            ret_config->quotas[kind] = count;
        } else if (!fine || !set_amount(ret_config, name, count)) {
            snprintf(error, error_size, "quotas: \"%.60s\" is not \"KIND COUNT\"",
                     config->quotas.items[i]);
            return -1;
        }
    }
    return 0;
}

/* RET_RULES is new. */
static int read_faults(const struct mock_config *config, struct backend_config *ret_config,
                       struct fault_rule **ret_rules, char *error, size_t error_size)
{
    struct fault_rule *rules = calloc((size_t)config->faults.count + 1, sizeof(*rules));
    if (rules == NULL) {
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    for (uint32_t i = 0; i < config->faults.count; i++) {
        const char *why;
        if (fault_parse(config->faults.items[i], &rules[i], &why) != 0) {
            snprintf(error, error_size, "faults: \"%.60s\": %s", config->faults.items[i], why);
            free(rules);
            return -1;
        }
    }
    ret_config->faults = rules;
    ret_config->fault_count = config->faults.count;
    *ret_rules = rules;
    return 0;
}

static int read_config(const struct mock_config *config, struct backend_config *ret_config,
                       struct fault_rule **ret_rules, char *error, size_t error_size)
{
    const char *distribution = config->latency_distribution;
    *ret_config = (struct backend_config){
        .seed = (uint64_t)config->seed,
        .distribution = strcmp(distribution, "fixed") == 0         ? LATENCY_FIXED
                        : strcmp(distribution, "exponential") == 0 ? LATENCY_EXPONENTIAL
                                                                   : LATENCY_UNIFORM,
        .build_ms = config->latency_mean,
        .delete_ms = config->delete_latency_mean,
        .network_ms = config->network_latency_mean,
        .builders = config->builders,
        .call_ms = config->call_latency,
        .page_limit = (size_t)config->page_limit,
        .hosts = config->hosts,
        .host_vcpus = config->host_vcpus,
        .host_ram = config->host_ram};
    if (read_quotas(config, ret_config, error, error_size) != 0) {
        return -1;
    }
    return read_faults(config, ret_config, ret_rules, error, error_size);
}

/* What the driver itself does otherwise. */
static void set_ways(struct mock *mock, const struct mock_config *config)
{
    mock->ports_by_cloud = strcmp(config->server_ports, "cloud") == 0;
    mock->polls_naively = strcmp(config->polling, "naive") == 0;
}

static int mock_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                     const void *config, void **ret_instance)
{
    struct backend_config settings;
    char error[320];
    char *path = NULL;
    char *counters = NULL;
    const char *name = host->about(self, "instance");
    const char *chosen = ((const struct mock_config *)config)->folder;
    const char *folder = chosen ? chosen : host->about(self, "state_dir");
    struct mock *mock = calloc(1, sizeof(*mock));
    if (mock == NULL || name == NULL || folder == NULL || (mock->naive = naive_new()) == NULL) {
        free(mock);
        return vim_fail(host, call, VIM_E_INTERNAL, 0, "there is no place for the state");
    }
    mock->host = host;
    mock->self = self;
    atomic_init(&mock->token, true);
    set_ways(mock, config);
    if (read_config(config, &settings, &mock->rules, error, sizeof(error)) != 0) {
        naive_free(mock->naive);
        free(mock);
        return host->fail(call, VIM_E_INVALID, 0, error);
    }
    int result = -1;
    if (asprintf(&path, "%s/%s.journal", folder, name) < 0) {
        path = NULL;
    }
    if (asprintf(&counters, "%s/%s.counters.json", folder, name) < 0) {
        counters = NULL;
    }
    snprintf(error, sizeof(error), "out of memory");
    if (path != NULL && counters != NULL) {
        result =
            backend_open(path, counters, name, &settings, error, sizeof(error), &mock->backend);
    }
    free(path);
    free(counters);
    if (result != 0) {
        naive_free(mock->naive);
        free(mock->rules);
        free(mock);
        return host->fail(call, VIM_E_INTERNAL, 0, error);
    }
    *ret_instance = mock;
    return VIM_OK;
}

static void mock_close(void *instance)
{
    struct mock *mock = instance;
    backend_close(mock->backend);
    naive_free(mock->naive);
    free(mock->rules);
    free(mock);
}

static int mock_probe(struct vim_call *call, void *instance)
{
    struct mock *mock = instance;
    struct session session = {.mock = mock, .host = mock->host, .call = call};
    int code = wire_hello(&session);
    if (code == VIM_OK) {
        (void)vim_emit(mock->host, call, "vim", mock->host->about(mock->self, "instance"), "ACTIVE",
                       0, NULL, "{\"product\":\"mock\",\"version\":\"" VIMD_VERSION "\"}");
    }
    return code;
}

static int mock_reconfigure(struct vim_call *call, void *instance, const void *config)
{
    struct mock *mock = instance;
    struct backend_config settings;
    struct fault_rule *rules;
    char error[320];
    if (read_config(config, &settings, &rules, error, sizeof(error)) != 0) {
        return mock->host->fail(call, VIM_E_INVALID, 0, error);
    }
    backend_configure(mock->backend, &settings);
    set_ways(mock, config);
    free(mock->rules);
    mock->rules = rules;
    return VIM_OK;
}

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .name = "mock",
    .version = VIMD_VERSION,
    .summary = "An infrastructure that exists in a file only: to play with, and to torture",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(struct vim_option),
    .config_size = sizeof(struct mock_config),
    .open = mock_open,
    .close = mock_close,
    .probe = mock_probe,
    .reconfigure = mock_reconfigure,
    .ops = &mock_driver_ops};

VIM_PLUGIN_ENTRY(plugin)
