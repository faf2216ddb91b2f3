/*
 * scaler/trace.h - recorded measurements: tidy CSV, one value per line, for replaying decisions.
 *
 *     t_ms,scope,name,metric,value
 *     1763980205000,service,vimd,throughput,131.5
 *     1763980205000,block,db,cpu,0.97
 *     1763980205000,block,db,ready,1
 *     1763980205000,edge,logic>db,in_flight,211.2
 *     1763980205000,action,logic,delta,1
 *
 * t_ms is the end of a window (never decreasing), in milliseconds since 1970. Metrics are the series
 * of <vim/policy.h> and, telling how things are from that window on: of the service `window_ms`,
 * `interval_ms` (between decisions, as the daemon makes them; left out: one per window), `slo_p95_ms`, `slo_error_share`, `budget_cores`; of a block `scalable`, `tabu` (0 or 1), `desired`,
 * `ready`, `starting`, `minimum`, `maximum`, `quota_cores`, `threads`; of the last action `delta`,
 * `ready_ms` (end of the window in which its replicas were ready, 0: not yet) and `outcome`
 * (enum vim_outcome). A value that is missing has no line, or `nan`. Within a window the order of lines
 * does not matter, and nothing may be told twice; a trace is of one service, all of whose windows are of
 * one length. Empty lines and lines that begin with # are skipped. Each line has an end: one without may be cut off.
 */
#ifndef SCALER_TRACE_H
#define SCALER_TRACE_H

#include <stdint.h>
#include <stdio.h>

struct history;
struct trace;
struct text;

/* Begins to read. WINDOWS are remembered. On error RET_REASON is one line that names file and line. */
int trace_open(const char *path, uint32_t windows, struct trace **ret_trace,
               struct text *ret_reason);
void trace_close(struct trace *trace); /* NULL is fine */

/* The history, which trace_next() fills; NULL before. It belongs to the trace. */
struct history *trace_history(struct trace *trace);

/* Reads the next window into the history. VIM_OK, VIM_E_NOT_FOUND at the end, or VIM_E_INVALID with a
 * reason. */
int trace_next(struct trace *trace, struct text *ret_reason);

/* How far decisions are apart, as told up to now; 0: one is made at the end of each window. */
int64_t trace_interval_ms(const struct trace *trace);

/* Opens a file that windows are added to, and writes the heading if it is new. A line that somebody who died
 * has left unfinished is cut off. NULL with errno. */
FILE *trace_append(const char *path);

/* Adds the last window to *FILE (NULL at first: opened), which is at PATH, all of it or nothing. One that has reached
 * SIZE_MAX gets the name PATH.T, by the time T of its first window, and a new one begins. -1 with errno; *FILE is
 * NULL then, and the next window may go better. */
int trace_record(FILE **file, const char *path, int64_t size_max, const struct history *history,
                 int64_t interval_ms);

/* Writes the heading, and everything known of the history's last window. Values are written so that
 * reading them gives the very same. INTERVAL_MS: between decisions, or 0. */
void trace_write_heading(FILE *file);
void trace_write_window(FILE *file, const struct history *history, int64_t interval_ms);

#endif
