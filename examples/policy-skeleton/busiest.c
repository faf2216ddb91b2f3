/*
 * A whole scaling policy in one file: one replica more for the block whose processor is busiest, one
 * less for a block whose load the others of it can carry.
 *
 * Read docs/scaling.md, "Writing a policy", next to it.
 */
#include <math.h>
#include <stdlib.h>
#include <vim/policy.h>
#include <vim/sdk.h>

#define RECENT 3u /* windows of which the mean counts */

/* The options. vimd checks them with this table, fills the struct, and documents them. */
struct config {
    double busy;
    double after;
};

static const struct vim_option options[] = {
    VIM_OPTION_NUMBER(struct config, busy, 0, "0.8", 0.05, 1,
                      "share of the processor from which on a block gets a replica more"),
    VIM_OPTION_NUMBER(struct config, after, 0, "0.5", 0.05, 1,
                      "share of the processor that a block's replicas may have after one has gone"),
};

/* An instance. What it has to remember between decisions goes through host->keep(), nothing else:
 * the same snapshot has to give the same decision. */
struct busiest {
    const struct vim_host *host;
    const struct config *config; /* vimd's; stays valid until close() */
};

static int busiest_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                        const void *config, void **ret_instance)
{
    struct busiest *busiest = malloc(sizeof(*busiest));

    (void)self;
    if (busiest == NULL) {
        return vim_fail(host, call, VIM_E_INTERNAL, 0, "out of memory");
    }
    busiest->host = host;
    busiest->config = (const struct config *)config;
    *ret_instance = busiest;
    return VIM_OK;
}

static void busiest_close(void *instance)
{
    free(instance);
}

static int busiest_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

/* --- Reading a snapshot ------------------------------------------------------------------------ */

/* vimd may be newer and its structs longer: elements are a stride apart. */
static const struct vim_policy_block *block_at(const struct vim_policy_snapshot *snapshot,
                                               uint32_t index)
{
    return (const void *)((const char *)snapshot->blocks + (size_t)index * snapshot->block_stride);
}

/* The mean of the last windows. NaN where nothing was measured: a series may be missing as a whole. */
static double recent_mean(const double *series, uint32_t windows)
{
    uint32_t from = windows > RECENT ? windows - RECENT : 0, known = 0;
    double sum = 0;

    for (uint32_t at = from; series != NULL && at < windows; at++) {
        if (!isnan(series[at])) {
            sum += series[at];
            known++;
        }
    }
    return known == 0 ? NAN : sum / known;
}

/* Why a block cannot have one replica more. */
static uint32_t gates_of(const struct vim_policy_snapshot *snapshot,
                         const struct vim_policy_block *block, double share)
{
    uint32_t gates = 0;

    if ((block->flags & VIM_BLOCK_SCALABLE) == 0 || block->desired >= block->maximum) {
        gates |= VIM_GATE_NOT_SCALABLE;
    }
    gates |= (block->flags & VIM_BLOCK_TABU) != 0 ? VIM_GATE_TABU : 0;
    gates |= block->starting > 0 ? VIM_GATE_STARTING : 0;
    gates |= isnan(share) ? VIM_GATE_NO_DATA : 0;
    gates |= block->quota_cores > snapshot->budget_cores ? VIM_GATE_BUDGET : 0;
    return gates;
}

/* --- Deciding ---------------------------------------------------------------------------------- */

VIM_PRINTF(5, 6)
static int decide(struct vim_policy_decision *decision, uint32_t verdict, uint32_t block,
                  int32_t delta, const char *format, ...)
{
    va_list values;

    decision->verdict = verdict;
    decision->block = block;
    decision->delta = delta;
    decision->confidence = verdict == VIM_INSUFFICIENT_DATA ? 0 : 0.5;
    va_start(values, format);
    (void)vsnprintf(decision->reason, sizeof(decision->reason), format, values);
    va_end(values);
    return VIM_OK;
}

/* The larger share comes first; where shares are the same, the smaller name: never the order in which
 * vimd tells the blocks. */
static int comes_before(const struct vim_policy_block *one, double share,
                        const struct vim_policy_block *other, double other_share)
{
    return other == NULL || share > other_share ||
           (!(share < other_share) && strcmp(one->name, other->name) < 0);
}

static int busiest_decide(struct vim_call *call, void *instance,
                          const struct vim_policy_snapshot *snapshot,
                          struct vim_policy_decision *decision)
{
    const struct busiest *busiest = instance;
    const struct vim_policy_block *full = NULL, *spare = NULL;
    double full_share = NAN, spare_share = NAN;
    uint32_t full_index = VIM_NO_INDEX, spare_index = VIM_NO_INDEX, known = 0;

    (void)call;
    decision->edge = VIM_NO_INDEX;
    decision->tier = VIM_TIER_CPU;
    decision->throughput = decision->latency_p95 = NAN; /* it predicts neither */
    for (uint32_t i = 0; i < snapshot->block_count; i++) {
        const struct vim_policy_block *block = block_at(snapshot, i);
        double share = recent_mean(block->cpu, snapshot->windows);
        uint32_t gates = gates_of(snapshot, block, share);
        double after = block->ready > 1 ? share * block->ready / (block->ready - 1) : NAN;

        if (i < decision->score_count) {
            struct vim_policy_score *score =
                (void *)((char *)decision->scores + (size_t)i * decision->score_stride);
            score->score = score->saturation = share;
            score->similarity = score->level = score->gain = NAN;
            score->gates = gates | (share < busiest->config->busy ? VIM_GATE_IDLE : 0);
        }
        known += !isnan(share);
        if (gates == 0 && share >= busiest->config->busy &&
            comes_before(block, share, full, full_share)) {
            full = block;
            full_share = share;
            full_index = i;
        }
        if ((block->flags & VIM_BLOCK_SCALABLE) != 0 && block->starting == 0 &&
            block->desired > block->minimum && after <= busiest->config->after &&
            comes_before(block, -after, spare, -spare_share)) {
            spare = block;
            spare_share = after;
            spare_index = i;
        }
    }
    if (known == 0) {
        return decide(decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                      "no block tells how busy its processor is");
    }
    if (full != NULL) {
        return decide(decision, VIM_SCALE_OUT, full_index, 1,
                      "%.60s: its processor is busy for %.0f %%, %u -> %u replicas", full->name,
                      100 * full_share, full->desired, full->desired + 1);
    }
    if (spare != NULL) {
        return decide(decision, VIM_SCALE_IN, spare_index, -1,
                      "%.60s: with one replica less the others are busy for %.0f %%", spare->name,
                      100 * spare_share);
    }
    return decide(decision, VIM_HOLD, VIM_NO_INDEX, 0, "no block is busy for %.0f %% that can grow",
                  100 * busiest->config->busy);
}

static const struct vim_policy_ops ops = {
    .size = sizeof(ops),
    .needs = VIM_TIER_CPU,
    .prefers = VIM_TIER_CPU,
    .windows = RECENT,
    .decide = busiest_decide,
};

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_POLICY,
    .flags = VIM_SERIAL | VIM_CHEAP,
    .name = "busiest",
    .version = "1.0",
    .summary = "Scales the block whose processor is busiest.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(options[0]),
    .config_size = sizeof(struct config),
    .open = busiest_open,
    .close = busiest_close,
    .probe = busiest_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
