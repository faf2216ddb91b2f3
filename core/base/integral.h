/*
 * base/integral.h - how many requests are in each block of this process, or under way from it to another
 * one, as integrals over time.
 *
 * A gauge samples an instant. An integral, in request-seconds, grows by one per second for each request that is
 * in a place: like processor time, its difference over a window divided by the window's length is the exact mean,
 * however often and whenever somebody looks, and by Little's law it is the sum of the times that requests spent there.
 *
 * Each thread has counts of its own that nobody else writes, so counting takes no lock and no atomic read-modify-write:
 * some nanoseconds. A request may enter on one thread and leave on another; only the sum over threads means something.
 * What a thread counted stays when it ends.
 *
 * Times are clock_mono_us(). They are the caller's, who has them in most cases; a later call may tell an earlier time.
 *
 * Whose calls: a thread that works on a request is in a *scope*. A call of the store, of the queue or of a driver
 * is counted for the block of its scope, and for that time the request counts as waiting for the callee, no longer as
 * worked on. Calls outside of any scope (heartbeats, polls, sweeps) are told apart.
 */
#ifndef BASE_INTEGRAL_H
#define BASE_INTEGRAL_H

#include <stdint.h>

enum integral {
    IN_API, /* requests of clients, from their headers to their answer */
    IN_LOGIC, /* requests that a handler has begun with */
    IN_WORKER, /* hints that are looked at, and steps of tasks from the claim to the outcome */
    /* That wait for a thread: not counted in IN_LOGIC yet, but in IN_WORKER. */
    QUEUED_LOGIC,
    QUEUED_WORKER,
    /* That have a thread and wait for no callee. The API has no threads: there it is IN_API less API_TO_LOGIC. */
    OWN_LOGIC,
    OWN_WORKER,
    /* That wait for what others of this process have: room at a logic process, or with a thread for a connection to a
     * callee. Part of IN_API, IN_LOGIC, IN_WORKER. */
    WAITS_API,
    WAITS_LOGIC,
    WAITS_WORKER,
    /* Calls under way on behalf of a request. In the order of enum integral_callee. */
    API_TO_LOGIC,
    LOGIC_TO_STORE,
    LOGIC_TO_QUEUE,
    LOGIC_TO_NFVI,
    WORKER_TO_STORE,
    WORKER_TO_QUEUE,
    WORKER_TO_NFVI,
    /* Calls under way that no request waits for. */
    ASIDE_TO_STORE,
    ASIDE_TO_QUEUE,
    ASIDE_TO_NFVI,
    INTEGRAL_COUNT,
    INTEGRAL_NONE = INTEGRAL_COUNT
};

enum integral_scope { SCOPE_NONE, SCOPE_LOGIC, SCOPE_WORKER, SCOPE_CALLEE };
enum integral_callee { CALLEE_STORE, CALLEE_QUEUE, CALLEE_NFVI };

void integral_begin(enum integral what, int64_t at_us);
void integral_end(enum integral what, int64_t at_us);

/* The calling thread begins to work on a request of SCOPE, which is counted as its own from now on. Returns the
 * scope that it was in, for integral_leave(). */
enum integral_scope integral_enter(enum integral_scope scope, int64_t at_us);
void integral_leave(enum integral_scope before, int64_t at_us);

/* The scope that the calling thread is in. */
enum integral_scope integral_scope_now(void);

/* The calling thread calls CALLEE. Returns what to end the call with. A call within a call is not counted. */
enum integral integral_call(enum integral_callee callee, int64_t at_us);
void integral_return(enum integral call, int64_t at_us);

/* Between the two the CALL, API_TO_LOGIC or one that integral_call() returned, waits and is not under way. */
void integral_wait(enum integral call, int64_t at_us);
void integral_go_on(enum integral call, int64_t at_us);

struct integral_sum {
    int64_t us; /* request-microseconds up to now, of those that are there too; never decreases */
    int64_t here; /* requests that are there now */
    uint64_t began; /* that ever were */
};

/* All of them, as of one moment, whose clock_mono_us() is returned. */
int64_t integral_read(struct integral_sum ret_sums[INTEGRAL_COUNT]);

/* "logic>store", or "" for what is no call. */
const char *integral_edge(enum integral what);

#endif
