/*
 * scaler/history.h - what was measured of one service: time-aligned series in a ring of windows.
 *
 *     history_new()  ->  per window: history_open_window(), history_put()..., history_set_...()
 *                    ->  snapshot_build() whenever a policy is to decide
 *
 * All series share one grid. A value that nobody put is NaN, a series that nobody ever put into does
 * not exist (NULL in the snapshot). Names of metrics are those of the fields in <vim/policy.h>; the
 * recorded traces (scaler/trace.h) use the same.
 *
 * Not for several threads at a time.
 */
#ifndef SCALER_HISTORY_H
#define SCALER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/policy.h>

#define HISTORY_BLOCKS_MAX 64u
#define HISTORY_EDGES_MAX 256u
#define HISTORY_WINDOWS_MAX 256u
#define HISTORY_NAME_MAX 63u /* bytes of a name of a service or block */

struct history;

enum history_scope { HISTORY_SERVICE, HISTORY_BLOCK, HISTORY_EDGE };

/* WINDOWS (2..HISTORY_WINDOWS_MAX) are remembered, each of WINDOW_MS. */
struct history *history_new(const char *service, int64_t window_ms, uint32_t windows);
void history_free(struct history *history); /* NULL is fine */

/* The block NAME, added if there is none yet; VIM_NO_INDEX if the name is empty, too long, holds
 * control characters, '>', ',' or '"', or if there are too many. */
uint32_t history_block(struct history *history, const char *name);

/* The edge between two blocks, added if need be; VIM_NO_INDEX as above. */
uint32_t history_edge(struct history *history, uint32_t caller, uint32_t callee);

/* Opens the window that ends at END; windows that were left out become NaN. END is moved to the
 * grid that the first window began. VIM_E_INVALID if it is not behind the last one. */
int history_open_window(struct history *history, int64_t end);

/* Forgets all windows and the last action, but not how blocks are: the next window may have any end. */
void history_forget(struct history *history);

/* The number of a metric of SCOPE ("cpu", "throughput" ...), or VIM_NO_INDEX; and back. */
uint32_t history_metric(enum history_scope scope, const char *name);
const char *history_metric_name(enum history_scope scope, uint32_t metric);
uint32_t history_metric_count(enum history_scope scope);

/* Sets a value of the window that was opened last. INDEX is ignored for the service. What is not
 * finite counts as missing. */
void history_put(struct history *history, enum history_scope scope, uint32_t index, uint32_t metric,
                 double value);

/* The value of the window that is AGE windows old (0: the last); NaN if there is none. */
double history_get(const struct history *history, enum history_scope scope, uint32_t index,
                   uint32_t metric, uint32_t age);

/* What is known of a block besides its series: how it is now. */
struct history_block {
    uint32_t flags; /* enum vim_block_flag */
    uint32_t desired, ready, starting;
    uint32_t minimum, maximum;
    double quota_cores, threads;
};
void history_set_block(struct history *history, uint32_t block, const struct history_block *state);
struct history_block history_get_block(const struct history *history, uint32_t block);

/* The last action, for the snapshot's `last`. */
struct history_action {
    uint32_t block; /* VIM_NO_INDEX: there was none */
    int32_t delta;
    int64_t ready; /* end of the window in which the replicas became ready; 0: not yet */
    uint32_t outcome; /* enum vim_outcome */
};
void history_set_action(struct history *history, const struct history_action *action);
struct history_action history_get_action(const struct history *history);

/* Promises and budget; see struct vim_policy_snapshot. */
struct history_goals {
    double slo_p95_ms, slo_error_share, budget_cores;
};
void history_set_goals(struct history *history, const struct history_goals *goals);
struct history_goals history_get_goals(const struct history *history);

const char *history_service(const struct history *history);
int64_t history_window_ms(const struct history *history);
int64_t history_end(const struct history *history); /* of the last window; 0 if there is none */
uint32_t history_windows(const struct history *history); /* that are filled */
uint32_t history_block_count(const struct history *history);
uint32_t history_edge_count(const struct history *history);
const char *history_block_name(const struct history *history, uint32_t block);
void history_edge_ends(const struct history *history, uint32_t edge, uint32_t *ret_caller,
                       uint32_t *ret_callee);

/* --- Snapshots -----------------------------------------------------------------------------------
 * What decide() gets. The series lie in the history: a snapshot is valid until the next window is
 * opened, a block or an edge added, or the history freed. */
struct snapshot {
    struct vim_policy_snapshot view;
    struct vim_policy_block blocks[HISTORY_BLOCKS_MAX];
    struct vim_policy_edge edges[HISTORY_EDGES_MAX];
};

/* The last WINDOWS windows (fewer if fewer are filled). KEPT is what the policy kept, or NULL. */
void snapshot_build(const struct history *history, uint32_t windows, const char *kept,
                    struct snapshot *ret_snapshot);

#endif
