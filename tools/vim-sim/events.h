/*
 * events.h - a service, event by event.
 *
 * Replicas are single servers of processor time (first come, first served; exponential demands), locks
 * and pools; callers choose the less busy of two replicas at random. Demands are drawn from the
 * request's number and its way through the service, so two runs that differ in a replica count serve the
 * very same requests: what differs is the effect of the replicas.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include "service.h"

struct events;

/* What a window was like, exactly: measuring adds the noise. Means over the window unless said. */
struct window_block {
    uint32_t desired, ready, starting; /* at its end */
    double cpu, pressure_cpu, pressure_io; /* shares */
    double calls; /* per second */
    double residence; /* seconds */
    double in_flight, own, thread_queue;
};

struct window_edge {
    double visits, in_flight, rtt, resent;
};

struct window {
    double seconds;
    double throughput, offered, errors; /* per second */
    double latency, p50, p95, p99; /* seconds; NaN if nothing was finished */
    double in_flight;
    double replica_seconds;
    struct window_block blocks[SERVICE_BLOCKS];
    struct window_edge edges[SERVICE_EDGES];
};

/* SERVICE has to stay. */
struct events *events_new(const struct service *service, uint64_t seed);
void events_free(struct events *events);

/* Lets time pass until UNTIL (seconds from the beginning). */
void events_run(struct events *events, double until);

/* Adds replicas, which serve after service->startup seconds, or lets some finish their work and go. */
void events_scale(struct events *events, uint32_t block, int32_t delta);

/* What was since the last call. */
void events_window(struct events *events, struct window *ret_window);

#endif
