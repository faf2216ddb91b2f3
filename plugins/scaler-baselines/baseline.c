/*
 * Policies that exist to compare others with, each in a .so of its own (BASELINE_... says which):
 *
 *   scaler-random     a block by the throw of a die that the time of the snapshot falls on
 *   scaler-callcount  the block that is called most often per replica
 *   scaler-psi        the block whose processes wait most for a processor (pressure)
 *
 * They act when the promised p95 is broken, or, without a promise, always, by one replica; and never
 * scale in.
 */
#include <math.h>
#include <stdlib.h>
#include <vim/sdk.h>

#include "policy_view.h"

#if defined(BASELINE_RANDOM)
#define NAME "scaler-random"
#define SUMMARY "Scales a random block; only for comparison."
#define TIER VIM_TIER_CPU
#elif defined(BASELINE_CALLCOUNT)
#define NAME "scaler-callcount"
#define SUMMARY "Scales the block that is called most often; only for comparison."
#define TIER VIM_TIER_CPU
#else
#define NAME "scaler-psi"
#define SUMMARY "Scales the block with the most processor pressure; only for comparison."
#define TIER VIM_TIER_PRESSURE
#endif

#define RECENT_WINDOWS 4u

struct baseline {
    const struct vim_host *host;
    struct view view;
};

#if defined(BASELINE_RANDOM)
static double score_of(const struct view *view, uint32_t block)
{
    uint64_t mixed = (uint64_t)view->snapshot.end * 0x9E3779B97F4A7C15u + block;

    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return (double)((mixed ^ (mixed >> 31)) >> 11) * 0x1p-53;
}
#else
static double score_of(const struct view *view, uint32_t block)
{
    const struct vim_policy_block *at = &view->blocks[block];
    uint32_t windows = view->snapshot.windows;
    uint32_t from = windows > RECENT_WINDOWS ? windows - RECENT_WINDOWS : 0;

#if defined(BASELINE_CALLCOUNT)
    return view_mean(at->calls, from, windows) / (at->ready ? at->ready : 1);
#else
    return view_mean(at->pressure_cpu, from, windows);
#endif
}
#endif

static int baseline_decide(struct vim_call *call, void *instance,
                           const struct vim_policy_snapshot *snapshot,
                           struct vim_policy_decision *decision)
{
    struct baseline *baseline = instance;
    struct view *view = &baseline->view;
    uint32_t best = VIM_NO_INDEX;
    double most = -INFINITY;
    int code = view_take(view, baseline->host, call, snapshot);

    if (code != VIM_OK)
        return code;
    view_begin(view, decision);
    decision->tier = TIER;
    for (uint32_t i = 0; i < view->block_count; i++) {
        struct vim_policy_score *score = view_score(view, decision, i);
        double value = score_of(view, i);
        uint32_t gates = view_gates(view, i, true) | (isnan(value) ? VIM_GATE_NO_DATA : 0);

        if (score) {
            score->score = value;
            score->gates = gates;
        }
        if (gates == 0 && value > most) {
            most = value;
            best = i;
        }
    }
    if (view->snapshot.windows == 0 || best == VIM_NO_INDEX)
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0, "no block is a candidate");
    if (view->snapshot.slo_p95_ms > 0 && !view_slo_broken(view, RECENT_WINDOWS))
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0, "the promised p95 is kept");
    return view_decide(view, decision, VIM_SCALE_OUT, best, 1,
                       "%.60s: its score is %.4g, the highest", view->blocks[best].name, most);
}

static int baseline_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                         const void *config, void **ret_instance)
{
    struct baseline *baseline = calloc(1, sizeof *baseline);

    (void)self;
    (void)config;
    if (!baseline)
        return host->fail(call, VIM_E_BUSY, 0, "out of memory");
    baseline->host = host;
    *ret_instance = baseline;
    return VIM_OK;
}

static void baseline_close(void *instance)
{
    free(instance);
}

static int baseline_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_policy_ops ops = {
    .size = sizeof ops, .needs = TIER, .prefers = TIER, .windows = 24, .decide = baseline_decide};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_POLICY,
    .flags = VIM_SERIAL | VIM_CHEAP,
    .name = NAME,
    .version = "1.0",
    .summary = SUMMARY,
    .open = baseline_open,
    .close = baseline_close,
    .probe = baseline_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
