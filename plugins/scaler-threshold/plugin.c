/*
 * scaler-threshold - what the Kubernetes HorizontalPodAutoscaler would do with each block, one at a
 * time: the block that is farthest above its recommendation first.
 *
 * Kept, one line per block, fields separated by tabs: the name, then time:replicas of recommendations
 * (300 s of them, of which only those count that a later one did not reach: a falling staircase), a bar,
 * and time:replicas of what was wanted within the last 15 s.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#include "hpa.h"
#include "policy_view.h"

#define DOWN_MS 300000
#define UP_MS 15000
#define STEPS_MAX 16u

struct threshold_config {
    double target;
    double tolerance;
    int64_t usage_windows;
};

struct mark {
    int64_t t;
    uint32_t replicas;
};

struct marks {
    uint32_t count;
    struct mark marks[STEPS_MAX];
};

struct memory {
    struct marks recommended, wanted;
};

struct threshold {
    const struct vim_host *host;
    const struct threshold_config *config;
    struct view view;
    struct memory memory[VIEW_BLOCKS_MAX];
    uint32_t goal[VIEW_BLOCKS_MAX]; /* replicas after stabilisation and limits; 0: not known */
    double usage[VIEW_BLOCKS_MAX];
    char kept[VIM_KEPT_MAX + 1];
};

/* --- Memory ---------------------------------------------------------------------------------- */

static const char *parse_marks(const char *at, struct marks *marks, int64_t since)
{
    char *next;

    marks->count = 0;
    for (;; at = next) {
        int64_t t = strtoll(at, &next, 10);
        uint32_t replicas;

        if (next == at || *next != ':')
            return at;
        replicas = (uint32_t)strtoul(next + 1, &next, 10);
        if (t > since && marks->count < STEPS_MAX)
            marks->marks[marks->count++] = (struct mark){t, replicas};
    }
}

static void parse_line(struct threshold *threshold, const char *line)
{
    size_t length = strcspn(line, "\t\n");
    int64_t now = threshold->view.snapshot.end;

    for (uint32_t i = 0; i < threshold->view.block_count; i++) {
        const char *name = threshold->view.blocks[i].name, *at = line + length;

        if (strncmp(name, line, length) != 0 || name[length] != '\0')
            continue;
        at = parse_marks(at, &threshold->memory[i].recommended, now - DOWN_MS);
        at += strspn(at, "\t|");
        parse_marks(at, &threshold->memory[i].wanted, now - UP_MS);
    }
}

static void recall(struct threshold *threshold)
{
    const char *kept = threshold->view.snapshot.kept;

    memset(threshold->memory, 0, sizeof threshold->memory);
    while (kept && *kept) {
        parse_line(threshold, kept);
        kept += strcspn(kept, "\n");
        kept += *kept == '\n';
    }
}

static void append(char *to, size_t size, size_t *used, const char *format, ...) VIM_PRINTF(4, 5);
static void append(char *to, size_t size, size_t *used, const char *format, ...)
{
    va_list values;
    int length;

    if (*used >= size)
        return;
    va_start(values, format);
    length = vsnprintf(to + *used, size - *used, format, values);
    va_end(values);
    *used += length > 0 ? (size_t)length : 0;
}

static void remember(struct threshold *threshold, struct vim_call *call)
{
    size_t used = 0, complete = 0, size = sizeof threshold->kept;
    char *to = threshold->kept;

    for (uint32_t i = 0; i < threshold->view.block_count; i++) {
        const struct memory *memory = &threshold->memory[i];

        append(to, size, &used, "%s", threshold->view.blocks[i].name);
        for (uint32_t j = 0; j < memory->recommended.count; j++)
            append(to, size, &used, "\t%lld:%u", (long long)memory->recommended.marks[j].t,
                   memory->recommended.marks[j].replicas);
        append(to, size, &used, "\t|");
        for (uint32_t j = 0; j < memory->wanted.count; j++)
            append(to, size, &used, "\t%lld:%u", (long long)memory->wanted.marks[j].t,
                   memory->wanted.marks[j].replicas);
        append(to, size, &used, "\n");
        if (used < size)
            complete = used;
    }
    to[complete] = '\0';
    threshold->host->keep(call, to);
}

/* Notes a recommendation, and returns the highest of the last 300 s. It makes all earlier ones that were no
 * higher meaningless for that. */
static uint32_t note_recommended(struct marks *marks, int64_t now, uint32_t replicas)
{
    while (marks->count && marks->marks[marks->count - 1].replicas <= replicas)
        marks->count--;
    if (marks->count == STEPS_MAX) /* the lowest of the staircase is the least to lose */
        marks->count--;
    marks->marks[marks->count++] = (struct mark){now, replicas};
    return marks->marks[0].replicas;
}

/* --- The rule -------------------------------------------------------------------------------- */

static void recommend(struct threshold *threshold, uint32_t block)
{
    const struct view *view = &threshold->view;
    const struct vim_policy_block *at = &view->blocks[block];
    struct memory *memory = &threshold->memory[block];
    struct hpa_rule rule = {threshold->config->target, threshold->config->tolerance};
    uint32_t windows = view->snapshot.windows, span = (uint32_t)threshold->config->usage_windows;
    uint32_t others = at->ready + at->starting, start, goal, limit;
    struct hpa_pods pods = {.measured = at->ready,
                            .unready = at->starting,
                            .missing = at->desired > others ? at->desired - others : 0,
                            .current = at->desired};

    pods.usage = view_mean(at->cpu, windows > span ? windows - span : 0, windows);
    threshold->usage[block] = pods.usage;
    threshold->goal[block] = 0;
    start = memory->wanted.count ? memory->wanted.marks[0].replicas : at->desired;
    if (memory->wanted.count == STEPS_MAX)
        memory->wanted.count--;
    memory->wanted.marks[memory->wanted.count++] = (struct mark){view->snapshot.end, at->desired};
    if (isnan(pods.usage) || !at->cpu || pods.measured == 0)
        return;
    goal = hpa_recommend(&rule, &pods);
    goal = hpa_stabilise(at->desired, goal,
                         note_recommended(&memory->recommended, view->snapshot.end, goal));
    limit = hpa_up_limit(start);
    limit = limit < at->desired ? at->desired : limit;
    limit = limit > at->maximum ? at->maximum : limit;
    goal = goal > limit ? limit : goal;
    threshold->goal[block] = goal < at->minimum ? at->minimum : goal;
}

static double score_of(const struct threshold *threshold, uint32_t block)
{
    return threshold->usage[block] / threshold->config->target;
}

static void fill_scores(const struct threshold *threshold, struct vim_policy_decision *decision)
{
    const struct view *view = &threshold->view;

    for (uint32_t i = 0; i < view->block_count; i++) {
        struct vim_policy_score *score = view_score(view, decision, i);
        uint32_t gates = view_gates(view, i, true) & ~(uint32_t)VIM_GATE_STARTING;

        if (threshold->goal[i] == 0)
            gates |= VIM_GATE_NO_DATA;
        else if (threshold->goal[i] <= view->blocks[i].desired)
            gates |= VIM_GATE_IDLE;
        if (score)
            *score = (struct vim_policy_score){.score = score_of(threshold, i),
                                               .similarity = NAN,
                                               .saturation = threshold->usage[i],
                                               .level = NAN,
                                               .gain = NAN,
                                               .replicas = threshold->goal[i],
                                               .gates = gates};
    }
}

/* The block that is farthest from its goal in the direction OUT; VIM_NO_INDEX if there is none. */
static uint32_t find_farthest(const struct threshold *threshold, bool out)
{
    const struct view *view = &threshold->view;
    uint32_t found = VIM_NO_INDEX;
    double most = 0;

    for (uint32_t i = 0; i < view->block_count; i++) {
        double away = out ? score_of(threshold, i) : 1 / score_of(threshold, i);
        bool wanted = out ? threshold->goal[i] > view->blocks[i].desired
                          : threshold->goal[i] < view->blocks[i].desired;

        if (threshold->goal[i] == 0 || !wanted ||
            view_gates(view, i, out) & ~(uint32_t)VIM_GATE_STARTING)
            continue;
        if (away > most) {
            most = away;
            found = i;
        }
    }
    return found;
}

static int threshold_decide(struct vim_call *call, void *instance,
                            const struct vim_policy_snapshot *snapshot,
                            struct vim_policy_decision *decision)
{
    struct threshold *threshold = instance;
    struct view *view = &threshold->view;
    const struct vim_policy_block *at;
    bool any = false, out = true;
    uint32_t block;
    int code = view_take(view, threshold->host, call, snapshot);

    if (code != VIM_OK)
        return code;
    view_begin(view, decision);
    if (view->block_count == 0)
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0, "there are no blocks");
    recall(threshold);
    for (uint32_t i = 0; i < view->block_count; i++) {
        recommend(threshold, i);
        any = any || threshold->goal[i];
        if (view_is_thin(view->blocks[i].cpu, view->snapshot.windows))
            return view_decide(view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                               "30 %% or more of the windows of %.60s are missing",
                               view->blocks[i].name);
    }
    if (!any)
        return view_decide(view, decision, VIM_INSUFFICIENT_DATA, VIM_NO_INDEX, 0,
                           "no block's processor share is measured");
    fill_scores(threshold, decision);
    remember(threshold, call);
    decision->confidence = 0.5;
    block = find_farthest(threshold, true);
    if (block == VIM_NO_INDEX) {
        out = false;
        block = find_farthest(threshold, false);
    }
    if (block == VIM_NO_INDEX)
        return view_decide(view, decision, VIM_HOLD, VIM_NO_INDEX, 0,
                           "every block is within %.0f %% of a processor share of %.2f, or waits",
                           100 * threshold->config->tolerance, threshold->config->target);
    at = &view->blocks[block];
    return view_decide(view, decision, out ? VIM_SCALE_OUT : VIM_SCALE_IN, block,
                       (int32_t)threshold->goal[block] - (int32_t)at->desired,
                       "%.60s: processor share %.2f of %.2f, %u -> %u replicas", at->name,
                       threshold->usage[block], threshold->config->target, at->desired,
                       threshold->goal[block]);
}

/* --- Plugin ---------------------------------------------------------------------------------- */

static const struct vim_option options[] = {
    VIM_OPTION_NUMBER(struct threshold_config, target, 0, "0.7", 0, 10,
                      "Processor share of the quota that replicas should have."),
    VIM_OPTION_NUMBER(struct threshold_config, tolerance, 0, "0.1", 0, 1,
                      "A share that is so close to the target changes nothing."),
    VIM_OPTION_INTEGER(struct threshold_config, usage_windows, 0, "3", 1, 64,
                       "Windows whose mean is the share; 3 of 5 s are one period of the HPA."),
};

static int threshold_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                          const void *config, void **ret_instance)
{
    const struct threshold_config *settings = config;
    struct threshold *threshold;

    (void)self;
    if (settings->target <= 0)
        return host->fail(call, VIM_E_INVALID, 0, "target has to be more than 0");
    threshold = calloc(1, sizeof *threshold);
    if (!threshold)
        return host->fail(call, VIM_E_BUSY, 0, "out of memory");
    threshold->host = host;
    threshold->config = settings;
    *ret_instance = threshold;
    return VIM_OK;
}

static void threshold_close(void *instance)
{
    free(instance);
}

static int threshold_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_policy_ops ops = {
    .size = sizeof ops,
    .needs = VIM_TIER_CPU,
    .prefers = VIM_TIER_CPU,
    .windows = 24,
    .decide = threshold_decide,
};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_POLICY,
    .flags = VIM_SERIAL | VIM_CHEAP,
    .name = "scaler-threshold",
    .version = "1.0",
    .summary = "The Kubernetes HPA v2 rule, for comparison and for services that only CPU binds.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct threshold_config),
    .open = threshold_open,
    .close = threshold_close,
    .probe = threshold_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
