/*
 * scaler/fleet_internal.h - what the files of a fleet share.
 *
 *   fleet.c        heartbeats, processes, and what happened in an interval
 *   fleet_put.c    what that means for blocks and edges
 */
#ifndef SCALER_FLEET_INTERNAL_H
#define SCALER_FLEET_INTERNAL_H

#include <stdbool.h>
#include "base/ids.h"
#include "base/metrics.h"
#include "scaler/fleet.h"

enum { ROLE_API, ROLE_LOGIC, ROLE_WORKER, ROLE_COUNT };
enum { CALLEE_OF_LOGIC, CALLEE_OF_STORE, CALLEE_OF_QUEUE, CALLEE_OF_NFVI, CALLEES };
#define BUCKETS (METRICS_SECONDS_COUNT + 1)
#define CALLERS (ROLE_COUNT + 1) /* and aside */

/* Totals of one block, and of one edge, in one process. */
enum {
    B_IN,
    B_OWN,
    B_QUEUED,
    B_BEGAN,
    B_ENDED,
    B_SECONDS,
    B_ERRORS,
    B_BUCKETS,
    B_COUNT = B_BUCKETS + BUCKETS
};
enum { E_IN, E_BEGAN, E_COUNT };

/* All totals of a process, one after the other; NaN: not told. */
enum {
    T_CPU,
    T_PERIODS,
    T_THROTTLED,
    T_PRESSURE, /* cpu, memory, io */
    T_BLOCKS = T_PRESSURE + 3,
    T_EDGES = T_BLOCKS + ROLE_COUNT * B_COUNT,
    T_RETRANSMITS = T_EDGES + CALLERS * CALLEES * E_COUNT,
    T_NETWORK = T_RETRANSMITS + CALLEES,
    TOTALS = T_NETWORK + CALLEES
};
#define BLOCK_TOTAL(role, what) (T_BLOCKS + (role)*B_COUNT + (what))
#define EDGE_TOTAL(caller, callee, what) \
    (T_EDGES + ((caller)*CALLEES + (callee)) * E_COUNT + (what))

struct sample {
    int64_t at; /* ms since 1970, by its host's clock */
    int64_t mono_us;
    double totals[TOTALS];
};
#define SAMPLES 16u

/* What happened in an interval. */
struct stretch {
    double seconds; /* of the interval in which it was there; 0: it was not */
    double grown[TOTALS];
};

struct replica {
    char id[ID_SIZE];
    bool has[ROLE_COUNT]; /* roles */
    bool listed; /* in the last look */
    bool up; /* takes work */
    struct sample samples[SAMPLES]; /* the oldest first */
    uint32_t count;
    bool from_start; /* the first of them is of its start */
    int64_t ages[SAMPLES]; /* of the heartbeats as they were read: by their clock, and ours */
    uint32_t age_count;
    int64_t skew; /* to be added to its times */
    int64_t interval; /* between heartbeats, ms */
    unsigned held; /* windows in which it has not been heard of */
    bool missing; /* for too long */
    struct stretch last; /* what happened in the last window */
    double cores, memory, rtt_ms[CALLEES], threads[ROLE_COUNT];
    bool has_queue;
    int64_t queue_at;
    double queue_waiting;
};

struct fleet {
    const struct service *service;
    struct replica *items;
    size_t count;
    int64_t now, lag;
};

/* The role by its name, or -1; the same for a callee. */
int fleet_role(const char *name);
int fleet_callee(const char *name);

#endif
