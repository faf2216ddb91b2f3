/*
 * similarity.h - private to scaler-similarity: from a snapshot to measures, from measures to a decision.
 *
 * The equations, and what the paper leaves open, are in docs/scaling.md.
 */
#ifndef SIMILARITY_H
#define SIMILARITY_H

#include "policy_view.h"

#define SEEN_WINDOWS 24u /* of a snapshot */
#define RECENT_WINDOWS 4u /* "now": the mean of so many windows */
#define LEVELS_MAX 8u /* replica counts of a block whose throughput is remembered */
#define POINTS_MAX (VIEW_WINDOWS_MAX / 2u)

struct similarity_config {
    const char *mode;
    int64_t aggregate; /* windows per point */
    double gate; /* utilisation */
    double target; /* utilisation */
    double level_weight;
    double tie; /* share */
    double demand_weight; /* of the newest estimate in the moving average */
};

/* One replica count and the throughput that was seen with it while the block was saturated. */
struct usl_level {
    uint32_t replicas;
    double throughput;
};

#define SLOTS_TRIED 5u

/* The bare time of a visit if so many are served at once, as its logarithm (of seconds). */
struct slots_try {
    double mean, variance;
};

/* What is remembered of a block from decision to decision. */
struct memory {
    double demand; /* replica-seconds that a request of the service takes of it; NaN: not known */
    struct slots_try tries[SLOTS_TRIED];
    uint32_t seen; /* decisions that they rest on, up to so many that matter */
    double slots; /* the steadiest of them: 1 for a processor or a lock; not kept */
    uint32_t replicas,
        steady; /* how many were ready, for so many decisions (up to RECENT_WINDOWS) */
    uint32_t neighbours; /* checksum of the replicas of all others when the levels were seen */
    double quota; /* cores of one replica that all of this was learnt with; 0: not known */
    uint32_t tried; /* decisions in a row at which one more was known to carry no more */
    uint32_t level_count;
    struct usl_level levels[LEVELS_MAX];
};

/* How one block was measured in this call. */
struct measure {
    double distance; /* d_b, D_b */
    double level; /* L_b */
    double own; /* requests per replica, n of the gate; in the lower tiers NaN */
    double utilisation; /* u of the gate */
    double growth; /* requests it holds now and did not at the beginning */
    double score;
    double busy; /* replicas that the load to come keeps busy; 0 if that is not known */
    /* Replicas for the load now, for the largest within sizing_stable_ms(), and for that of the last windows. */
    uint32_t need, need_long, need_lately;
    double peak; /* N* of the Universal Scalability Law; infinite if there is none */
    bool tried; /* one replica more was seen lately, and carried no more */
    uint32_t gates;
};

struct similarity {
    const struct vim_host *host;
    const struct similarity_config *config;
    bool literal;
    /* Of the call in progress. */
    struct view view;
    enum vim_policy_tier tier;
    uint32_t recent; /* first window of "now": of the last four, those behind the last action */
    uint32_t points; /* how many points the distances rest on */
    double change; /* 0..1: how much of what changes is more than noise */
    bool step; /* the points are the means before and after a scale action */
    struct measure measures[VIEW_BLOCKS_MAX];
    struct memory memory[VIEW_BLOCKS_MAX];
    bool promised; /* the promised p95 says how full replicas may be */
    double spare; /* replicas above the square root of the load, see promise.c; NaN: not known */
    uint32_t spare_seen; /* decisions that it rests on, up to SEEN_ENOUGH */
    double held[VIEW_BLOCKS_MAX][VIEW_WINDOWS_MAX]; /* y: what a block holds or uses */
    double performance[VIEW_WINDOWS_MAX]; /* x */
    double waits[VIEW_EDGES_MAX]; /* requests that the network of an edge holds, now */
    uint32_t first_edge[VIEW_BLOCKS_MAX]; /* of those that a block calls on; VIM_NO_INDEX: none */
    uint32_t topology[VIEW_BLOCKS_MAX]; /* blocks, callers before callees */
    char kept[VIM_KEPT_MAX + 1];
};

/* --- in_flight.c: who holds the requests -------------------------------------------------------- */

/* Can requests in flight be told of this snapshot? */
bool in_flight_is_measured(const struct view *view);

/* Fills held and performance (-N) with requests, and waits. Blocks of which nothing is known get NaN. */
void in_flight_measure(struct similarity *similarity);

/* --- equation.c: equation 2 -------------------------------------------------------------------- */

/* The sum of |dx + dy| over the differences of the POINTS points, divided by DIVISOR. */
double equation_distance(const double *x, const double *y, uint32_t points, double divisor);

/* Mean of VALUES FROM..TO-1 that are there; NaN if none is. (view_mean() would hold once more what `held` and
 * `performance` hold over gaps already.) */
double equation_mean(const double *values, uint32_t from, uint32_t to);

/* Means of GROUP windows each, the last one ending at WINDOWS; or of all windows before STEP and all
 * behind it, where STEP is a window inside (else VIM_NO_INDEX). Returns how many points. */
uint32_t equation_points(const double *series, uint32_t windows, uint32_t group, uint32_t step,
                         double *ret_points);

/* Distances of all blocks in units of shares (literal) and of requests (little). */
void equation_literal(struct similarity *similarity);
void equation_little(struct similarity *similarity);

/* --- slots.c: what waits, of what a block holds ---------------------------------------------------- */

#define SEEN_ENOUGH 12u
#define SEEN_MOST 60u /* means are over so many decisions */
/* A promise is broken when it is not kept on the mean of so many windows. */
#define SLO_WINDOWS 2u

/* Visits that a replica serves at once, as they are tried. */
extern const double slots_tried[SLOTS_TRIED];

/* Share of waiting in the time of a visit of a queue with SLOTS servers, each used by LOAD: M/M/m as
 * Sakasegawa approximates it. */
double slots_waiting(double slots, double load);

/* The bare time of a visit that takes VISIT with its waiting, at CALLS per second and replica. */
double slots_bare(double visit, double calls, double slots, double replicas);

/* Learns the bare time of a visit and the slots of a block, and corrects its utilisation: many requests
 * that do not wait for each other (calls of a pool, say) are no saturation. */
void slots_measure(struct similarity *similarity, uint32_t block);

/* --- sizing.c: how many ------------------------------------------------------------------------ */

/* Peak of r * X1 / X - 1 = s (r - 1) + k r (r - 1) through the levels: sqrt((1 - s) / k); infinite if
 * throughput does not fall, NaN with fewer than three levels. */
double sizing_peak(const struct usl_level *levels, uint32_t count);

/* The rate to be ready for: RATE plus half of what TREND (a change within 10 s) adds, if it is not more
 * than half of RATE. */
double sizing_load(double rate, double trend);

/* Was one replica more than REPLICAS, which carry THROUGHPUT, seen to carry no more? False if so many carry less now
 * than they did then: it is another load. */
bool sizing_tried(const struct usl_level *levels, uint32_t count, uint32_t replicas,
                  double throughput);

/* Replicas that LOAD needs at a utilisation of TARGET. */
uint32_t sizing_need(double load, double demand, double target);

/* Over how long the largest load counts: 120 s, or all windows that there are. */
int64_t sizing_stable_ms(const struct view *view);

/* Was so much seen? Not after a start of whoever measures: what the load was before is not known then, and replicas
 * that seem superfluous may not be. */
bool sizing_is_stable(const struct view *view);

/* Learns demands and levels from what was measured, and fills need, need_long, need_lately, peak and tried. */
void sizing_measure(struct similarity *similarity);

/* --- promise.c: how full they may be --------------------------------------------------------------- */

/* What SERVERS have to spare, in square roots of their load; and back. */
double promise_spare(double utilisation, double servers);
double promise_utilisation(double spare, double servers);

/* Learns from p95 and its promise. */
void promise_learn(struct similarity *similarity, bool settled);

/* Utilisation that so many replicas of a block are sized for, and from which on they are saturated. */
double promise_target(const struct similarity *similarity, uint32_t block, double replicas);
double promise_gate(const struct similarity *similarity, uint32_t block, double replicas);
/* Why BLOCK is scaled out although it is not saturated: the promise that is broken; "" where it is saturated. */
const char *promise_remark(const struct similarity *similarity, uint32_t block, char ret_text[80]);

/* --- memory.c: what is kept --------------------------------------------------------------------- */
void memory_parse(struct similarity *similarity, const char *kept);
void memory_keep(struct similarity *similarity, struct vim_call *call);

/* --- decide.c ---------------------------------------------------------------------------------- */
int similarity_decide(struct vim_call *call, void *instance,
                      const struct vim_policy_snapshot *snapshot,
                      struct vim_policy_decision *decision);

#endif
