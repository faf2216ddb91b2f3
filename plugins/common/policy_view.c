#include "policy_view.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vim/sdk.h>

static void take_element(void *to, uint32_t to_size, const void *from, uint32_t index,
                         uint32_t stride)
{
    memset(to, 0, to_size);
    memcpy(to, (const char *)from + (size_t)index * stride, stride < to_size ? stride : to_size);
}

static void sort_blocks(struct view *view)
{
    const struct vim_policy_snapshot *snapshot = &view->snapshot;
    struct vim_policy_block block;

    for (uint32_t i = 0; i < view->block_count; i++) {
        uint32_t at = i;

        take_element(&block, sizeof block, snapshot->blocks, i, snapshot->block_stride);
        for (; at > 0 && strcmp(block.name, view->blocks[at - 1].name) < 0; at--) {
            view->blocks[at] = view->blocks[at - 1];
            view->block_index[at] = view->block_index[at - 1];
        }
        view->blocks[at] = block;
        view->block_index[at] = i;
    }
}

static bool is_behind(const struct vim_policy_edge *a, const struct vim_policy_edge *b)
{
    return a->caller != b->caller ? a->caller < b->caller : a->callee < b->callee;
}

static void sort_edges(struct view *view)
{
    const struct vim_policy_snapshot *snapshot = &view->snapshot;
    uint32_t place[VIEW_BLOCKS_MAX];
    struct vim_policy_edge edge;

    for (uint32_t i = 0; i < view->block_count; i++)
        place[view->block_index[i]] = i;
    for (uint32_t i = 0; i < view->edge_count; i++) {
        uint32_t at = i;

        take_element(&edge, sizeof edge, snapshot->edges, i, snapshot->edge_stride);
        edge.caller = place[edge.caller];
        edge.callee = place[edge.callee];
        for (; at > 0 && is_behind(&edge, &view->edges[at - 1]); at--) {
            view->edges[at] = view->edges[at - 1];
            view->edge_index[at] = view->edge_index[at - 1];
        }
        view->edges[at] = edge;
        view->edge_index[at] = i;
    }
}

int view_take(struct view *view, const struct vim_host *host, struct vim_call *call,
              const struct vim_policy_snapshot *snapshot)
{
    vim_take(&view->snapshot, sizeof view->snapshot, snapshot);
    view->block_count = view->snapshot.block_count;
    view->edge_count = view->snapshot.edge_count;
    if (view->block_count > VIEW_BLOCKS_MAX || view->edge_count > VIEW_EDGES_MAX ||
        view->snapshot.windows > VIEW_WINDOWS_MAX)
        return vim_fail(host, call, VIM_E_INVALID, 0,
                        "%u blocks, %u edges and %u windows: at most %u, %u and %u are looked at",
                        view->block_count, view->edge_count, view->snapshot.windows,
                        VIEW_BLOCKS_MAX, VIEW_EDGES_MAX, VIEW_WINDOWS_MAX);
    if (view->snapshot.window_ms <= 0)
        return vim_fail(host, call, VIM_E_INVALID, 0, "windows of %lld ms",
                        (long long)view->snapshot.window_ms);
    for (uint32_t i = 0; i < view->edge_count; i++) {
        struct vim_policy_edge edge;

        take_element(&edge, sizeof edge, view->snapshot.edges, i, view->snapshot.edge_stride);
        if (edge.caller >= view->block_count || edge.callee >= view->block_count)
            return vim_fail(host, call, VIM_E_INVALID, 0, "edge %u leads to no block", i);
    }
    sort_blocks(view);
    sort_edges(view);
    view->last = VIM_NO_INDEX;
    for (uint32_t i = 0; i < view->block_count; i++)
        if (view->snapshot.last.outcome != VIM_OUTCOME_NONE &&
            view->block_index[i] == view->snapshot.last.block)
            view->last = i;
    return VIM_OK;
}

double view_at(const double *series, uint32_t at)
{
    for (uint32_t back = 0; series && back <= VIEW_HOLD_WINDOWS && back <= at; back++)
        if (isfinite(series[at - back]))
            return series[at - back];
    return NAN;
}

double view_mean(const double *series, uint32_t from, uint32_t to)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = from; i < to; i++) {
        double value = view_at(series, i);

        if (!isnan(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / count : NAN;
}

double view_missing(const double *series, uint32_t windows)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < windows; i++)
        missing += isnan(view_at(series, i)) ? 1 : 0;
    return windows ? (double)missing / windows : 1;
}

bool view_is_thin(const double *series, uint32_t windows)
{
    return series && view_missing(series, windows) >= 0.3;
}

struct vim_policy_score *view_score(const struct view *view, struct vim_policy_decision *decision,
                                    uint32_t block)
{
    uint32_t index = view->block_index[block];

    if (!decision->scores || index >= decision->score_count ||
        decision->score_stride < sizeof(struct vim_policy_score))
        return NULL;
    return (void *)((char *)decision->scores + (size_t)index * decision->score_stride);
}

void view_begin(const struct view *view, struct vim_policy_decision *decision)
{
    decision->verdict = VIM_HOLD;
    decision->block = decision->edge = VIM_NO_INDEX;
    decision->throughput = decision->latency_p95 = NAN;
    for (uint32_t i = 0; i < view->block_count; i++) {
        struct vim_policy_score *score = view_score(view, decision, i);

        if (score)
            *score = (struct vim_policy_score){NAN, NAN, NAN, NAN, NAN, 0, 0};
    }
}

int view_decide(const struct view *view, struct vim_policy_decision *decision, uint32_t verdict,
                uint32_t block, int32_t delta, const char *format, ...)
{
    va_list values;

    decision->verdict = verdict;
    decision->block = block == VIM_NO_INDEX ? VIM_NO_INDEX : view->block_index[block];
    decision->delta = delta;
    va_start(values, format);
    (void)vsnprintf(decision->reason, sizeof decision->reason, format, values);
    va_end(values);
    return VIM_OK;
}

uint32_t view_gates(const struct view *view, uint32_t block, bool out)
{
    const struct vim_policy_block *at = &view->blocks[block];
    uint32_t gates = 0;

    if (!(at->flags & VIM_BLOCK_SCALABLE) ||
        (out ? at->desired >= at->maximum : at->desired <= at->minimum))
        gates |= VIM_GATE_NOT_SCALABLE;
    if (at->flags & VIM_BLOCK_TABU)
        gates |= VIM_GATE_TABU;
    if (at->starting)
        gates |= VIM_GATE_STARTING;
    if (out && at->quota_cores > view->snapshot.budget_cores)
        gates |= VIM_GATE_BUDGET;
    return gates;
}

bool view_slo_broken(const struct view *view, uint32_t windows)
{
    const struct vim_policy_snapshot *snapshot = &view->snapshot;
    uint32_t to = snapshot->windows, from = to > windows ? to - windows : 0;
    double p95 = view_mean(snapshot->latency_p95, from, to);
    double errors = view_mean(snapshot->errors, from, to);
    double offered = view_mean(snapshot->offered, from, to);

    if (snapshot->slo_p95_ms > 0 && p95 > snapshot->slo_p95_ms)
        return true;
    return snapshot->slo_error_share > 0 && offered > 0 &&
           errors / offered > snapshot->slo_error_share;
}

char *view_time(int64_t ms, char ret_text[16])
{
    int64_t second = (ms / 1000) % 86400;

    if (second < 0)
        second += 86400;
    (void)snprintf(ret_text, 16, "%02d:%02d:%02d", (int)(second / 3600), (int)(second / 60 % 60),
                   (int)(second % 60));
    return ret_text;
}
