/*
 * faulty-policy - a policy with one fault, chosen by its option, so that vim-plugin-check can show that
 * it finds it. Without a fault it is sound: it scales the block that uses most of its processor.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vim/policy.h>
#include <vim/sdk.h>

struct config {
    const char *fault;
};

struct faulty {
    const struct vim_host *host;
    const struct config *config;
    uint32_t decisions;
};

static bool has_fault(const struct faulty *faulty, const char *fault)
{
    return strcmp(faulty->config->fault, fault) == 0;
}

static const struct vim_policy_block *block_at(const struct vim_policy_snapshot *snapshot,
                                               uint32_t i)
{
    return (const void *)((const char *)snapshot->blocks + (size_t)i * snapshot->block_stride);
}

static struct vim_policy_score *score_at(const struct vim_policy_decision *decision, uint32_t i)
{
    return (void *)((char *)decision->scores + (size_t)i * decision->score_stride);
}

static double usage_of(const struct vim_policy_snapshot *snapshot, uint32_t i)
{
    const double *cpu = block_at(snapshot, i)->cpu;

    return cpu && snapshot->windows ? cpu[snapshot->windows - 1] : NAN;
}

/* The block with the highest usage, the smaller name of two; VIM_NO_INDEX if none is measured. */
static uint32_t find_block(const struct faulty *faulty, const struct vim_policy_snapshot *snapshot)
{
    uint32_t best = VIM_NO_INDEX;

    if (has_fault(faulty, "order"))
        return snapshot->block_count && !isnan(usage_of(snapshot, 0)) ? 0 : VIM_NO_INDEX;
    if (has_fault(faulty, "acts_on_nan") && snapshot->block_count && snapshot->windows)
        best = 0;
    for (uint32_t i = 0; i < snapshot->block_count; i++) {
        double usage = usage_of(snapshot, i);

        if (!isnan(usage) && (best == VIM_NO_INDEX || !(usage_of(snapshot, best) > usage)))
            if (best == VIM_NO_INDEX || usage > usage_of(snapshot, best) ||
                isnan(usage_of(snapshot, best)) ||
                strcmp(block_at(snapshot, i)->name, block_at(snapshot, best)->name) < 0)
                best = i;
    }
    return best;
}

/* No fault: it follows the load of the first block up and down, for scenes that cannot wait for minutes. */
static bool follow(const struct faulty *faulty, const struct vim_policy_snapshot *snapshot,
                   struct vim_policy_decision *decision)
{
    double usage = snapshot->block_count ? usage_of(snapshot, 0) : NAN;

    if (!has_fault(faulty, "follows"))
        return false;
    for (uint32_t i = 0; i < snapshot->block_count; i++)
        score_at(decision, i)->saturation = 0.5; /* nothing is short: it acts ahead of time */
    decision->block = usage > 0.7 || usage < 0.3 ? 0 : VIM_NO_INDEX;
    decision->delta = usage > 0.7 ? 1 : usage < 0.3 ? -1 : 0;
    decision->verdict = usage > 0.7 ? VIM_SCALE_OUT : usage < 0.3 ? VIM_SCALE_IN : VIM_HOLD;
    snprintf(decision->reason, sizeof decision->reason, "processor share %.2f", usage);
    return true;
}

static void misbehave(struct faulty *faulty, const struct vim_policy_snapshot *snapshot)
{
    struct timespec now, end;

    if (has_fault(faulty, "allocates") ||
        (has_fault(faulty, "allocates_when_large") && snapshot->block_count > 30))
        free(strdup(snapshot->service));
    if (has_fault(faulty, "environment") && getenv("NIGHT"))
        abort();
    if (has_fault(faulty, "no_blocks") && snapshot->block_count == 0)
        abort();
    if (has_fault(faulty, "one_block") && snapshot->block_count == 1)
        abort();
    if (has_fault(faulty, "one_window") && snapshot->windows == 1)
        abort();
    if (has_fault(faulty, "crashes"))
        abort();
    while (has_fault(faulty, "hangs") ||
           (has_fault(faulty, "hangs_on_one_block") && snapshot->block_count == 1))
        usleep(1000);
    if (has_fault(faulty, "trusts_kept") && snapshot->kept && strchr(snapshot->kept, '{'))
        abort();
    if (has_fault(faulty, "waits"))
        usleep(1500);
    if (!has_fault(faulty, "slow") &&
        !(has_fault(faulty, "mostly_slow") && faulty->decisions++ % 20 != 0))
        return;
    clock_gettime(CLOCK_MONOTONIC, &end);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - end.tv_sec) * 1000000000L + now.tv_nsec - end.tv_nsec < 2000000);
}

static int faulty_decide(struct vim_call *call, void *instance,
                         const struct vim_policy_snapshot *snapshot,
                         struct vim_policy_decision *decision)
{
    struct faulty *faulty = instance;
    uint32_t best = find_block(faulty, snapshot);

    misbehave(faulty, snapshot);
    if (has_fault(faulty, "small") && snapshot->block_count > 16)
        return faulty->host->fail(call, VIM_E_INVALID, 0, "more than 16 blocks");
    decision->block = VIM_NO_INDEX;
    decision->confidence = has_fault(faulty, "nan_confidence") ? NAN : 0.5;
    for (uint32_t i = 0; i < snapshot->block_count; i++)
        score_at(decision, i)->score = usage_of(snapshot, i);
    snprintf(decision->reason, sizeof decision->reason, "nothing is measured");
    if (follow(faulty, snapshot, decision))
        return VIM_OK;
    if (best == VIM_NO_INDEX)
        return VIM_OK;
    if (isnan(score_at(decision, best)->score))
        score_at(decision, best)->score = 0;
    decision->verdict = VIM_SCALE_OUT;
    decision->block = has_fault(faulty, "unknown_block") ? snapshot->block_count : best;
    decision->delta = has_fault(faulty, "nonsense") ? 10000 : 1;
    if (has_fault(faulty, "remembers"))
        decision->delta += (int32_t)(faulty->decisions++ % 3);
    if (has_fault(faulty, "first"))
        decision->delta += faulty->decisions++ == 0;
    if (has_fault(faulty, "hour")) /* not twice in a test, but once a day */
        decision->delta += time(NULL) / 3600 % 24 == 3;
    if (has_fault(faulty, "process"))
        decision->delta += getpid() % 7;
    snprintf(decision->reason, sizeof decision->reason, "%.60s uses most",
             block_at(snapshot, best)->name);
    return VIM_OK;
}

static int faulty_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                       const void *config, void **ret_instance)
{
    struct faulty *faulty = calloc(1, sizeof *faulty);

    (void)self;
    if (!faulty)
        return host->fail(call, VIM_E_BUSY, 0, "out of memory");
    faulty->host = host;
    faulty->config = config;
    *ret_instance = faulty;
    return VIM_OK;
}

static void faulty_close(void *instance)
{
    free(instance);
}

static int faulty_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_option options[] = {
    VIM_OPTION_CHOICE(
        struct config, fault, 0, "none",
        "none nonsense nan_confidence remembers order process acts_on_nan no_blocks "
        "one_block one_window trusts_kept small slow allocates unknown_block hangs "
        "crashes follows allocates_when_large environment first hour hangs_on_one_block mostly_slow waits",
        "What this policy does wrong."),
};

static const struct vim_policy_ops ops = {
    .size = sizeof ops, .windows = 24, .decide = faulty_decide};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_POLICY,
    .flags = VIM_SERIAL,
    .name = "faulty-policy",
    .version = "1",
    .summary = "A policy with a fault of choice, for tests.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct config),
    .open = faulty_open,
    .close = faulty_close,
    .probe = faulty_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
