#include "testbed.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define N TESTBED_CLIENTS
#define STATIONS 4u

enum station { API, LOGIC, DATABASE, HOST };

static const double service_db = 0.0105, sigma = 0.28, kappa = 0.10;

/* Calls per second of one DB replica with K of them at once. */
static double rate_of_replica(double k)
{
    return k / (1 + sigma * (k - 1) + kappa * k * (k - 1)) / service_db;
}

/* Requests per second that a station finishes when it has COUNT of them. */
static double rate_of(enum station station, double count, double logic, double db)
{
    double k;

    switch (station) {
    case API:
        return 1 / 0.0012;
    case LOGIC:
        return fmin(count, logic) / 0.0022;
    case HOST:
        return 1 / (0.00385 * (1 + 0.16 * (logic - 1) / db + 0.014 * db));
    case DATABASE:
        k = fmin(count / db, logic);
        /* Fewer calls than replicas: each has a replica for itself. */
        return k < 1 ? count / service_db : db * rate_of_replica(k);
    }
    return 0;
}

static void convolve(const double *a, const double *b, double *ret)
{
    for (uint32_t n = 0; n <= N; n++) {
        double sum = 0;

        for (uint32_t i = 0; i <= n; i++)
            sum += a[i] * b[n - i];
        ret[n] = sum;
    }
}

static double db_cores(double count, double logic, double db)
{
    double k = fmin(count / db, logic), busy = fmin(count, db);

    k = k < 1 ? 1 : k;
    return busy / db * k * (1 + kappa * k * (k - 1)) / (1 + sigma * (k - 1) + kappa * k * (k - 1));
}

static void solve(uint32_t logic, uint32_t db, struct testbed *ret)
{
    static double weights[STATIONS][N + 1], part[2][N + 1], others[N + 1];
    double scale = 1e9, cores = 0, mean[STATIONS] = {0}, all = 0;

    for (uint32_t s = 0; s < STATIONS; s++)
        scale = fmin(scale, rate_of(s, N, logic, db));
    for (uint32_t s = 0; s < STATIONS; s++) {
        weights[s][0] = 1;
        for (uint32_t n = 1; n <= N; n++)
            weights[s][n] = weights[s][n - 1] * scale / rate_of(s, n, logic, db);
    }
    convolve(weights[API], weights[LOGIC], part[0]);
    convolve(weights[DATABASE], weights[HOST], part[1]);
    for (uint32_t n = 0; n <= N; n++)
        all += part[0][n] * part[1][N - n];
    for (uint32_t s = 0; s < STATIONS; s++) {
        enum station partner = s ^ 1;

        convolve(weights[partner], part[s < 2], others);
        for (uint32_t n = 0; n <= N; n++) {
            double share = weights[s][n] * others[N - n] / all;

            mean[s] += n * share;
            if (s == DATABASE)
                cores += share * db_cores(n, logic, db);
        }
        if (s == HOST) { /* X = scale G(N - 1) / G(N) */
            double before = 0;

            for (uint32_t n = 0; n < N; n++)
                before += weights[s][n] * others[N - 1 - n];
            ret->throughput = scale * before / all;
        }
    }
    ret->api = mean[API];
    ret->logic = mean[LOGIC];
    ret->db = mean[DATABASE] + mean[HOST];
    ret->cpu_api = ret->throughput * 0.0012;
    ret->cpu_logic = ret->throughput * 0.0022 / logic;
    ret->cpu_db = cores / TESTBED_DB_CORES;
}

const struct testbed *testbed_solve(uint32_t logic, uint32_t db)
{
    static struct testbed known[TESTBED_MAX + 1][TESTBED_MAX + 1];
    struct testbed *at;

    assert(logic >= 1 && logic <= TESTBED_MAX && db >= 1 && db <= TESTBED_MAX);
    at = &known[logic][db];
    if (at->throughput == 0)
        solve(logic, db, at);
    return at;
}
