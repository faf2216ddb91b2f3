/*
 * testbed.h - the testbed of the paper, as a closed queueing network: 400 clients, API, logic and DB.
 *
 * Stations: API (1.2 ms), logic (2.2 ms on each of L replicas), DB (D replicas, each with at most one
 * connection per logic replica, so k <= L calls at once; rate (1/S) k / (1 + 0.28 (k - 1) + 0.10 k (k - 1)),
 * S = 10.5 ms) and the host that all share (3.85 ms (1 + 0.16 (L - 1) / D + 0.014 D)). Solved exactly, by
 * convolution. Chosen: what waits for the host waits within calls of the DB; the 0.10 of the DB is
 * coherence, which costs processor time, the 0.28 is waiting for locks, which costs none.
 */
#ifndef TESTBED_H
#define TESTBED_H

#include <stdint.h>

#define TESTBED_CLIENTS 400u
#define TESTBED_MAX 10u /* replicas of logic, and of the DB */
#define TESTBED_DB_CORES 16 /* that one DB replica may use */

struct testbed {
    double throughput; /* requests per second */
    double api, logic, db; /* requests that each holds, the DB with its connections and the host */
    double cpu_api, cpu_logic, cpu_db; /* shares of the quota: 1, 1 and 16 cores */
};

/* The state with L logic and D DB replicas (1..TESTBED_MAX); solved once, then remembered. */
const struct testbed *testbed_solve(uint32_t logic, uint32_t db);

#endif
