/*
 * state.h - what the files of the event-by-event simulation share.
 *
 *   events.c      the way of a request through the blocks, load, replicas
 *   schedule.c    what happens next
 *   windows.c     what is counted, and told per window
 */
#ifndef VIM_SIM_STATE_H
#define VIM_SIM_STATE_H

#include "events.h"

#define NONE UINT32_MAX
#define REPLICAS 64u
#define IN_FLIGHT_MAX 4000u /* what comes beyond is refused */
#define BUCKETS 256u

enum event_kind {
    EVENT_CPU,
    EVENT_LOCK,
    EVENT_POOL,
    EVENT_ARRIVE,
    EVENT_RETURN,
    EVENT_CLIENT,
    EVENT_ARRIVAL,
    EVENT_READY
};

struct event {
    double t;
    uint32_t order; /* of two at the same time the earlier one */
    uint32_t what; /* kind in the upper 4 bits, else a visit, or block and replica */
};

struct queue {
    uint32_t first, last;
};

enum replica_state { REPLICA_NONE, REPLICA_STARTING, REPLICA_SERVING, REPLICA_LEAVING };

struct replica {
    enum replica_state state;
    uint32_t in_flight;
    uint32_t threads; /* in use */
    bool cpu_busy, lock_busy;
    uint32_t pool_busy;
    struct queue thread_queue, cpu_queue, lock_queue, pool_queue;
};

struct visit {
    uint32_t parent; /* visit, or NONE for a request of a client */
    uint32_t next; /* in a queue, or of the free ones */
    uint16_t block, replica;
    uint16_t call, times; /* which callee, how many calls of it are left */
    uint32_t edge; /* on which it came */
    uint64_t key;
    double since;
};

struct block_state {
    double touched;
    uint32_t in_flight, own, queued, busy, waiting, pool_waiting, serving, starting, leaving;
    double area_in_flight, area_own, area_queued, area_busy, area_waiting, area_pool_waiting;
    double area_serving, area_all;
    double residence;
    uint64_t calls, left;
    struct replica replicas[REPLICAS];
};

struct edge_state {
    double touched, area;
    uint32_t in_flight;
    uint64_t visits;
};

struct events {
    const struct service *service;
    uint64_t seed, requests;
    double now, window_start;
    struct event *heap;
    uint32_t heap_count, heap_room, order;
    struct visit *visits;
    uint32_t visit_room, free_visit;
    struct block_state blocks[SERVICE_BLOCKS];
    struct edge_state edges[SERVICE_EDGES];
    uint32_t in_flight, clients;
    double touched, area;
    uint64_t offered, finished, refused;
    double latency;
    uint32_t buckets[BUCKETS];
    struct chance chance; /* thinking and arrivals */
};

/* --- schedule.c -------------------------------------------------------------------------------- */

/* WHAT: a visit, or block and replica. */
void schedule(struct events *events, double t, enum event_kind kind, uint32_t what);
/* Of those that are to come, of which there is one at least. */
struct event take_first(struct events *events);

/* --- windows.c --------------------------------------------------------------------------------- */

/* Of the network of EDGE now, in seconds. */
double rtt_of(const struct events *events, uint32_t edge);
/* An answer to a client, after SECONDS. */
void count_latency(struct events *events, double seconds);

/* --- Areas under the counters, up to now: before each change of one ----------------------------- */

static inline struct block_state *touch(struct events *events, uint32_t block)
{
    struct block_state *state = &events->blocks[block];
    double passed = events->now - state->touched;

    state->touched = events->now;
    state->area_in_flight += passed * state->in_flight;
    state->area_own += passed * state->own;
    state->area_queued += passed * state->queued;
    state->area_busy += passed * state->busy;
    state->area_waiting += passed * state->waiting;
    state->area_pool_waiting += passed * state->pool_waiting;
    state->area_serving += passed * state->serving;
    state->area_all += passed * (state->serving + state->starting);
    return state;
}

static inline struct edge_state *touch_edge(struct events *events, uint32_t edge)
{
    struct edge_state *state = &events->edges[edge];

    state->area += (events->now - state->touched) * state->in_flight;
    state->touched = events->now;
    return state;
}

static inline void touch_service(struct events *events)
{
    events->area += (events->now - events->touched) * events->in_flight;
    events->touched = events->now;
}

#endif
