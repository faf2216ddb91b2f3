/*
 * service.h - a service to simulate: blocks, who calls whom, and the load on it.
 *
 * A request enters at block 0. In each block it takes a thread (if there are threads), processor time,
 * then perhaps a lock and a place in a pool (of connections to something outside, say), and then calls
 * its callees one after another, holding its thread. Locks and pools belong to one replica, so that
 * one replica more brings one more of them.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "chance.h"

#define SERVICE_BLOCKS 8u
#define SERVICE_EDGES 16u
#define SERVICE_SECONDS 1500u

enum bottleneck { BIND_CPU, BIND_LOCK, BIND_POOL };

struct service_call {
    uint32_t edge;
    uint32_t times; /* per visit */
};

struct service_block {
    char name[16];
    uint32_t replicas; /* at the beginning */
    uint32_t maximum;
    uint32_t threads; /* of a replica; 0: asynchronous */
    double cpu, lock, pool; /* seconds per visit, mean */
    uint32_t slots; /* of the pool */
    bool polls; /* burns all its processor time, as far as anybody can see from outside */
    enum bottleneck binds; /* what limits it */
    double visits; /* per request of the service */
    double capacity; /* requests of the service per second that one replica can carry */
    uint32_t call_count;
    struct service_call calls[4];
};

struct service_edge {
    uint32_t caller, callee;
    double rtt; /* seconds */
    double slow_rtt; /* from `slow_from` on */
    double slow_from; /* seconds */
    double resent; /* TCP segments sent again per second, from then on */
};

/* Per second of simulated time. */
struct load {
    bool closed; /* clients that wait for their answers and think; else arrivals that do not wait */
    double think; /* seconds, mean */
    double level[SERVICE_SECONDS]; /* clients; or requests per second */
    uint32_t seconds;
};

struct service {
    uint32_t block_count, edge_count;
    struct service_block blocks[SERVICE_BLOCKS];
    struct service_edge edges[SERVICE_EDGES];
    struct load load;
    double startup; /* seconds until a new replica serves */
    double slo_p95; /* seconds */
};

/* How one is made up. */
struct service_plan {
    uint32_t blocks_min, blocks_max;
    double rate; /* requests per second that the narrowest block can carry */
    double tie; /* capacity of the second narrowest over that of the narrowest */
    double headroom; /* the others have up to so many times its capacity */
    enum bottleneck binds; /* the narrowest */
    bool only_cpu; /* so are all others */
    double polling; /* probability that a block polls which is not the narrowest */
    uint32_t replicas_max;
};

/* Draws a service after the plan (without load); *RET_NARROWEST is the narrowest block. */
void service_draw(struct chance *chance, const struct service_plan *plan,
                  struct service *ret_service, uint32_t *ret_narrowest);

/* Seconds that a request takes when nobody waits. */
double service_unloaded(const struct service *service);

const char *bottleneck_name(enum bottleneck binds);

#endif
