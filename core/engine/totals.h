/*
 * engine/totals.h - what a process tells of itself to whoever scales: in /metrics, and as the member `signals` of its
 * heartbeat. All are totals since the process began, so that whoever reads two beats has the exact mean of what lies
 * between them, and one that is lost costs nothing. The member:
 *
 *     at        ms since 1970 by the clock of its host        mono_us   monotonic time, of the same moment
 *     cores     processors that it may use                    cpu_us    processor time that it has used
 *     memory    bytes, now (of its control group, else resident)
 *     periods, throttled    of the quota (null: none);   pressure {cpu, memory, io}: seconds (null: not told),
 *               system: true if they are the whole machine's
 *     blocks    {"api": {in_flight_us, own_us, queued_us, began, ended, seconds, buckets [], errors, threads}, "logic", "worker"}:
 *               of the roles that it has; buckets as METRICS_SECONDS
 *     edges     {"logic>store": {in_flight_us, began}, ...}: only those that were ever used; "aside>store": calls that
 *               no request waits for
 *     tcp       {"store": {connections, rtt_ms, retransmits, network_us}, ...}: by callee, if there are connections
 *     queue     {waiting, delayed, delivered, oldest_ms, at_ms}: if the process watches it
 */
#ifndef VIMD_ENGINE_TOTALS_H
#define VIMD_ENGINE_TOTALS_H

#include <jansson.h>

struct metrics_sum;
struct totals;
struct tasks;

/* ROLES: words. From now on /metrics shows the signals. */
struct totals *totals_new(const char *roles);
void totals_free(struct totals *totals);

/* What is measured now. The reference is the caller's. */
json_t *totals_json(struct totals *totals);

/* Asks the queue how it is, for later looks at the signals. May block for some seconds. */
void totals_look_at_queue(struct totals *totals, struct tasks *tasks);

/* metrics_sum() of what clients asked, without what other processes asked over the link. */
void totals_sum(const char *name, const char *with, struct metrics_sum *ret_sum);

#endif
