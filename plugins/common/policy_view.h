/*
 * policy_view.h - looking at a snapshot, for policies written in C. Compiled into each of them.
 *
 * A view is a copy of the snapshot's fixed parts in this plugin's own layout, whatever the host's, with
 * blocks and edges in the order of their names, so that no result depends on the order in which the
 * host tells them. It needs no allocation: the policy keeps one in its instance.
 */
#ifndef POLICY_VIEW_H
#define POLICY_VIEW_H

#include <stdbool.h>
#include <vim/policy.h>

#define VIEW_BLOCKS_MAX 64u
#define VIEW_EDGES_MAX 256u
#define VIEW_WINDOWS_MAX 256u

/* A missing value is taken to be what it was for so many windows. */
#define VIEW_HOLD_WINDOWS 2u

struct view {
    struct vim_policy_snapshot snapshot;
    uint32_t block_count, edge_count;
    struct vim_policy_block blocks[VIEW_BLOCKS_MAX]; /* by name */
    struct vim_policy_edge edges[VIEW_EDGES_MAX]; /* by names; ends are indices of `blocks` */
    uint32_t block_index[VIEW_BLOCKS_MAX]; /* in the snapshot */
    uint32_t edge_index[VIEW_EDGES_MAX];
    uint32_t last; /* block of the last action, or VIM_NO_INDEX */
};

/* Fills the view. VIM_E_INVALID with fail() if the snapshot makes no sense or is too large. */
int view_take(struct view *view, const struct vim_host *host, struct vim_call *call,
              const struct vim_policy_snapshot *snapshot);

/* The value of a series in window AT, held over gaps of up to two windows; NaN if there is none. */
double view_at(const double *series, uint32_t at);

/* Mean of the values of windows FROM..TO-1 that are there; NaN if none is. */
double view_mean(const double *series, uint32_t from, uint32_t to);

/* Share of the windows in which the series has no value, not even a held one; 1 for NULL. */
double view_missing(const double *series, uint32_t windows);

/* Is it a series that is measured, but of which 30 % or more are missing? */
bool view_is_thin(const double *series, uint32_t windows);

/* The score of a block (index of the view) in the decision, or NULL if the host has no room for it. */
struct vim_policy_score *view_score(const struct view *view, struct vim_policy_decision *decision,
                                    uint32_t block);

/* Sets all scores to NaN, the decision to HOLD with nothing named, predictions to NaN. */
void view_begin(const struct view *view, struct vim_policy_decision *decision);

/* Ends the decision: verdict, block (index of the view), delta, and the reason. Returns VIM_OK. */
int view_decide(const struct view *view, struct vim_policy_decision *decision, uint32_t verdict,
                uint32_t block, int32_t delta, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* Why a block is no candidate for one replica more (or fewer), by what the host told: 0 if it is one. */
uint32_t view_gates(const struct view *view, uint32_t block, bool out);

/* Is the promised p95 or share of errors broken, on the mean of the last WINDOWS windows? */
bool view_slo_broken(const struct view *view, uint32_t windows);

/* A time of day, UTC, "10:02:10". Returns RET_TEXT. */
char *view_time(int64_t ms, char ret_text[16]);

#endif
