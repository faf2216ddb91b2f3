/*
 * scaler/fleet.h - from the totals that vimd's processes tell of themselves (engine/totals.h) to windows of blocks
 * and edges. No I/O and no clock: what was read, and when, is passed in.
 *
 *     fleet_look()   begins a look at all heartbeats: fleet_take() for each, fleet_end()
 *     fleet_put()    puts the window of a history that was opened last
 *
 * Alignment: heartbeats come every few seconds, each process at its own times. What a window shows is what happened
 * in all processes in the same interval, which lies fleet_lag_ms() before the window: by then the
 * heartbeat behind it has been read. Between two heartbeats a total is taken to grow evenly; as the next interval begins
 * where the last one ended, nothing is lost and nothing is counted twice.
 *
 * A process that is new begins with totals of 0 when it was started; of one that was there before it was first heard
 * of, and of one whose totals went back, nothing is told until a whole interval is known. One that is gone counts up to
 * its last heartbeat. One that lives, but has not been heard of, is taken to go on as in its last window, for two
 * windows; then its block and edges have no value.
 *
 * Whose time: a process that its quota keeps from running does not see that a callee has answered. The time of its
 * calls is its own for that share of the interval, else a starved caller would be taken for a slow callee.
 *
 * Clocks: times of a process are those of its host. As long as its heartbeats look no older than they can be they are
 * believed; else its clock is taken to be off by so much that the youngest of the last ones came at once.
 */
#ifndef SCALER_FLEET_H
#define SCALER_FLEET_H

#include <stddef.h>
#include <stdint.h>
#include "scaler/history.h"
#include "scaler/services.h"

struct fleet;

struct fleet *fleet_new(const struct service *service);
void fleet_free(struct fleet *fleet); /* NULL is fine */

/* A look at the heartbeats at NOW (ms since 1970, by the clock here). BEAT: its JSON; one without signals, or that
 * is not readable, is passed over. */
void fleet_look(struct fleet *fleet, int64_t now);
void fleet_take(struct fleet *fleet, const char *beat, size_t length);
void fleet_end(struct fleet *fleet);

/* Living processes that tell signals. */
size_t fleet_count(const struct fleet *fleet);

int64_t fleet_lag_ms(const struct fleet *fleet);

/* Puts what is known of the window that ends at END, and sets threads, quota and (of blocks without a platform) the
 * number of replicas. */
void fleet_put(struct fleet *fleet, int64_t end, int64_t window_ms, struct history *history);

#endif
