/*
 * scaler-similarity - finds the block that holds a service back by the similarity of the change of its
 * usage to the change of the service's performance (Na, Park and Ryu, 2018, equation 2).
 *
 * An instance is its work space: calls on it come one after another.
 */
#include <stdlib.h>
#include <vim/sdk.h>

#include "similarity.h"

static const struct vim_option options[] = {
    VIM_OPTION_CHOICE(struct similarity_config, mode, 0, "little", "little literal",
                      "literal is equation 2 with throughput and processor shares; little the same "
                      "in requests in flight, with level, gate, sizing and stop."),
    VIM_OPTION_INTEGER(struct similarity_config, aggregate, 0, "4", 1, 64,
                       "Windows that are averaged before differences are taken."),
    VIM_OPTION_NUMBER(struct similarity_config, gate, 0, "0.8", 0, 1,
                      "Utilisation from which on a block counts as saturated."),
    VIM_OPTION_NUMBER(struct similarity_config, target, 0, "0.72", 0, 1,
                      "Utilisation that replicas are sized for."),
    VIM_OPTION_NUMBER(struct similarity_config, level_weight, 0, "1.5", 0, 100,
                      "Weight of a block's part of all that waits, against its distance."),
    VIM_OPTION_NUMBER(struct similarity_config, tie, 0, "0.05", 0, 1,
                      "Scores that differ by a smaller share than this are equal."),
    VIM_OPTION_NUMBER(struct similarity_config, demand_weight, 0, "0.3", 0, 1,
                      "Weight of the newest estimate of a block's demand."),
};

static int similarity_open(struct vim_call *call, const struct vim_host *host,
                           struct vim_self *self, const void *config, void **ret_instance)
{
    const struct similarity_config *settings = config;
    struct similarity *similarity;

    (void)self;
    if (settings->target <= 0)
        return host->fail(call, VIM_E_INVALID, 0, "target has to be more than 0");
    similarity = calloc(1, sizeof *similarity);
    if (!similarity)
        return host->fail(call, VIM_E_BUSY, 0, "out of memory");
    similarity->host = host;
    similarity->config = settings;
    *ret_instance = similarity;
    return VIM_OK;
}

static void similarity_close(void *instance)
{
    free(instance);
}

static int similarity_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_policy_ops ops = {
    .size = sizeof ops,
    .needs = VIM_TIER_CPU,
    .prefers = VIM_TIER_IN_FLIGHT,
    .windows = SEEN_WINDOWS,
    .decide = similarity_decide,
};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_POLICY,
    .flags = VIM_SERIAL | VIM_CHEAP,
    .name = "scaler-similarity",
    .version = "1.0",
    .summary = "Scales the block whose usage grows as the service gets worse.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct similarity_config),
    .open = similarity_open,
    .close = similarity_close,
    .probe = similarity_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
