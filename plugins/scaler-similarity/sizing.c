/*
 * How many replicas: service demand times the load to be ready for; and where more of them make it
 * slower: the Universal Scalability Law.
 */
#include <math.h>
#include <string.h>

#include "similarity.h"

#define STABLE_MS \
    120000 /* replicas are taken away only if so long ago they were not needed either */
#define TREND_MS 10000
#define SMOOTH_WINDOWS 3u
#define LATELY_WINDOWS 12u /* an overload that is longer ago has been worked off */
#define NEED_MAX 10000u

/* So much of the throughput that was seen with so many replicas: the load is what it was. */
#define SAME_LOAD 0.95

/* For so many decisions it is believed that one more brings nothing: the measurement may have been a bad one, and what
 * it was due to may be gone. */
#define TRIED_MOST 180u

/* Demand is learnt where utilisation says something about it. */
#define DEMAND_LOW 0.05
#define DEMAND_HIGH 0.88

/* --- Universal Scalability Law --------------------------------------------------------------- */

static double peak_of(double sigma, double kappa)
{
    if (!(kappa > 0))
        return INFINITY;
    return sigma < 1 ? sqrt((1 - sigma) / kappa) : 1;
}

/* Least squares of z = s u + k v over the levels above one replica, where X1 was seen. */
static double peak_by_first(const struct usl_level *levels, uint32_t count, double first)
{
    double uu = 0, uv = 0, vv = 0, uz = 0, vz = 0, determinant;

    for (uint32_t i = 0; i < count; i++) {
        double r = levels[i].replicas, u = r - 1, v = r * (r - 1);
        double z = r * first / levels[i].throughput - 1;

        uu += u * u;
        uv += u * v;
        vv += v * v;
        uz += u * z;
        vz += v * z;
    }
    determinant = uu * vv - uv * uv;
    if (!(fabs(determinant) > 1e-12))
        return NAN;
    return peak_of((uz * vv - vz * uv) / determinant, (uu * vz - uv * uz) / determinant);
}

/* Solves the symmetric 3 x 3 system by elimination; false if it has no single solution. */
static bool solve(double matrix[3][4], double ret_solution[3])
{
    for (int i = 0; i < 3; i++) {
        if (!(fabs(matrix[i][i]) > 1e-12))
            return false;
        for (int row = 0; row < 3; row++) {
            double factor = matrix[row][i] / matrix[i][i];

            for (int column = i; column < 4 && row != i; column++)
                matrix[row][column] -= factor * matrix[i][column];
        }
    }
    for (int i = 0; i < 3; i++)
        ret_solution[i] = matrix[i][3] / matrix[i][i];
    return true;
}

/* Where one replica was never seen X1 is a third unknown: r / X = a + a s (r - 1) + a k r (r - 1). */
static double peak_by_all(const struct usl_level *levels, uint32_t count)
{
    double matrix[3][4], solution[3];

    memset(matrix, 0, sizeof matrix);
    for (uint32_t i = 0; i < count; i++) {
        double r = levels[i].replicas;
        double terms[4] = {1, r - 1, r * (r - 1), r / levels[i].throughput};

        for (int row = 0; row < 3; row++)
            for (int column = 0; column < 4; column++)
                matrix[row][column] += terms[row] * terms[column];
    }
    if (!solve(matrix, solution) || !(solution[0] > 0))
        return NAN;
    return peak_of(solution[1] / solution[0], solution[2] / solution[0]);
}

double sizing_peak(const struct usl_level *levels, uint32_t count)
{
    if (count < 3)
        return NAN;
    for (uint32_t i = 0; i < count; i++)
        if (levels[i].replicas == 1)
            return peak_by_first(levels, count, levels[i].throughput);
    return peak_by_all(levels, count);
}

static double throughput_of(const struct usl_level *levels, uint32_t count, uint32_t replicas)
{
    for (uint32_t i = 0; i < count; i++)
        if (levels[i].replicas == replicas)
            return levels[i].throughput;
    return NAN;
}

bool sizing_tried(const struct usl_level *levels, uint32_t count, uint32_t replicas,
                  double throughput)
{
    double now = throughput_of(levels, count, replicas);

    return throughput_of(levels, count, replicas + 1) <= now && throughput >= SAME_LOAD * now;
}

/* --- Demand ---------------------------------------------------------------------------------- */

double sizing_load(double rate, double trend)
{
    double most = 0.5 * rate;

    if (!(trend > 0))
        return rate;
    return rate + 0.5 * (trend > most ? most : trend);
}

uint32_t sizing_need(double load, double demand, double target)
{
    double need = ceil(load * demand / target - 1e-9);

    if (!(need >= 1))
        return 1;
    return need > NEED_MAX ? NEED_MAX : (uint32_t)need;
}

/* The same where the target depends on how many there are. */
static uint32_t need_of(const struct similarity *similarity, uint32_t block, double load,
                        double demand)
{
    uint32_t need = sizing_need(load, demand, 1);

    while (need < NEED_MAX && load * demand / need > promise_target(similarity, block, need))
        need++;
    return need;
}

static double offered_at(const struct view *view, uint32_t at)
{
    double offered = view_at(view->snapshot.offered, at);

    return isnan(offered) ? view_at(view->snapshot.throughput, at) : offered;
}

/* Arrivals scatter: the mean of up to COUNT windows, the last one being AT. */
static double smooth_at(const struct view *view, uint32_t at, uint32_t count)
{
    double sum = 0;
    uint32_t seen = 0;

    for (uint32_t back = 0; back < count && back <= at; back++) {
        double offered = offered_at(view, at - back);

        if (!isnan(offered)) {
            sum += offered;
            seen++;
        }
    }
    return seen ? sum / seen : NAN;
}

static double load_now(const struct view *view)
{
    uint32_t last = view->snapshot.windows - 1;
    uint32_t back = (uint32_t)(TREND_MS / view->snapshot.window_ms);
    double trend;

    back = back < 1 ? 1 : back;
    trend = last >= 2 * back ? smooth_at(view, last, back) - smooth_at(view, last - back, back) : 0;
    return sizing_load(smooth_at(view, last, SMOOTH_WINDOWS), trend);
}

int64_t sizing_stable_ms(const struct view *view)
{
    int64_t seen = (int64_t)view->snapshot.windows * view->snapshot.window_ms;

    return seen < STABLE_MS ? seen : STABLE_MS;
}

bool sizing_is_stable(const struct view *view)
{
    return view->snapshot.windows >= SEEN_WINDOWS || sizing_stable_ms(view) >= STABLE_MS;
}

/* Of the last BACK windows. */
static double largest_load(const struct view *view, uint32_t back)
{
    uint32_t windows = view->snapshot.windows;
    double most = 0;

    for (uint32_t at = windows > back ? windows - back : 0; at < windows; at++)
        if (smooth_at(view, at, SMOOTH_WINDOWS) > most)
            most = smooth_at(view, at, SMOOTH_WINDOWS);
    return most;
}

/* --- Learning -------------------------------------------------------------------------------- */

static uint32_t checksum_neighbours(const struct view *view, uint32_t block)
{
    uint32_t sum = 2166136261u;

    for (uint32_t i = 0; i < view->block_count; i++)
        if (i != block)
            sum = (sum ^ view->blocks[i].ready) * 16777619u;
    return sum;
}

static bool is_settled(const struct view *view)
{
    const struct vim_policy_action *last = &view->snapshot.last;

    for (uint32_t i = 0; i < view->block_count; i++)
        if (view->blocks[i].starting || view->blocks[i].ready != view->blocks[i].desired)
            return false;
    return view->last == VIM_NO_INDEX || last->window + RECENT_WINDOWS < view->snapshot.windows;
}

static void learn_level(struct memory *memory, uint32_t replicas, double throughput)
{
    struct usl_level *level = NULL;

    for (uint32_t i = 0; i < memory->level_count; i++)
        if (memory->levels[i].replicas == replicas)
            level = &memory->levels[i];
    if (!level && memory->level_count == LEVELS_MAX) {
        memmove(memory->levels, memory->levels + 1, (LEVELS_MAX - 1) * sizeof *level);
        memory->level_count--;
    }
    if (!level) {
        level = &memory->levels[memory->level_count++];
        *level = (struct usl_level){replicas, throughput};
    }
    if (throughput > level->throughput)
        level->throughput = throughput;
}

static void forget_level(struct memory *memory, uint32_t replicas)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < memory->level_count; i++)
        if (memory->levels[i].replicas != replicas)
            memory->levels[kept++] = memory->levels[i];
    memory->level_count = kept;
}

static void learn(struct similarity *similarity, uint32_t block, double throughput, bool settled)
{
    const struct view *view = &similarity->view;
    struct memory *memory = &similarity->memory[block];
    const struct measure *measure = &similarity->measures[block];
    uint32_t replicas = view->blocks[block].ready;
    uint32_t neighbours = checksum_neighbours(view, block);
    double demand = measure->utilisation * replicas / throughput;
    double expected = memory->demand * throughput / replicas;
    double weight = similarity->config->demand_weight;

    memory->steady = replicas == memory->replicas && view->blocks[block].starting == 0
                         ? memory->steady + (memory->steady < RECENT_WINDOWS)
                         : 0;
    memory->replicas = replicas;
    if (!(throughput > 0) || replicas == 0 || isnan(measure->utilisation))
        return;
    /* Next to idle says something where it was not expected: other requests come now.
     * What is saturated takes all it has for what it carries: less than that is no estimate any more. */
    if ((settled || memory->steady == RECENT_WINDOWS) &&
        fmax(measure->utilisation, expected) > DEMAND_LOW &&
        (measure->utilisation < DEMAND_HIGH || demand > memory->demand))
        memory->demand =
            isnan(memory->demand) ? demand : weight * demand + (1 - weight) * memory->demand;
    if (!settled)
        return;
    if (memory->neighbours != neighbours)
        memory->level_count = 0;
    memory->neighbours = neighbours;
    if (measure->utilisation >= similarity->config->gate)
        learn_level(memory, replicas, throughput);
}

/* Is it known that one more carries no more? That is forgotten after a while, and found out anew. */
static bool is_tried(struct memory *memory, uint32_t replicas, double throughput)
{
    if (!sizing_tried(memory->levels, memory->level_count, replicas, throughput)) {
        memory->tried = 0;
        return false;
    }
    if (++memory->tried <= TRIED_MOST)
        return true;
    forget_level(memory, replicas + 1);
    memory->tried = 0;
    return false;
}

/* Replicas that a block needs whose demand was never learnt, because it was saturated or next to idle and nothing in
 * between: once it has been idle for as long as counts, no more than make that a use. 0: not known. */
static uint32_t need_of_idle(const struct similarity *similarity, uint32_t block)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows, ready = view->blocks[block].ready;

    if (ready == 0 || !sizing_is_stable(view))
        return 0;
    for (uint32_t at = 0; at < windows; at++) {
        double used = similarity->held[block][at];

        if (similarity->tier == VIM_TIER_IN_FLIGHT)
            used = used / ready / (1 + used / ready);
        if (!(used < DEMAND_LOW))
            return 0;
    }
    return sizing_need(ready, DEMAND_LOW, similarity->config->target);
}

void sizing_measure(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows;
    double throughput = view_mean(view->snapshot.throughput, similarity->recent, windows);
    double now = load_now(view), target = similarity->config->target;
    double most = fmax(now, largest_load(view, (uint32_t)(STABLE_MS / view->snapshot.window_ms)));
    double lately = largest_load(view, LATELY_WINDOWS);
    bool settled = is_settled(view);

    promise_learn(similarity, settled);
    for (uint32_t i = 0; i < view->block_count; i++) {
        struct measure *measure = &similarity->measures[i];
        double demand, at = target;

        learn(similarity, i, throughput, settled);
        demand = similarity->memory[i].demand;
        /* A block that was only ever seen saturated: nothing is known but that it takes all it has for
         * what it carries. Clients that wait for their answers offer no more than that. */
        if (isnan(demand) && measure->utilisation >= DEMAND_HIGH && throughput > 0) {
            demand = measure->utilisation * view->blocks[i].ready / throughput;
            at = 1;
        }
        measure->peak =
            sizing_peak(similarity->memory[i].levels, similarity->memory[i].level_count);
        measure->tried = is_tried(&similarity->memory[i], view->blocks[i].ready, throughput);
        if (isnan(demand) || isnan(now)) {
            measure->need_long = need_of_idle(similarity, i);
            continue;
        }
        measure->busy = now * demand;
        if (at == 1 || !similarity->promised) {
            measure->need = sizing_need(now, demand, at);
            measure->need_long = sizing_need(most, demand, at);
            measure->need_lately = sizing_need(lately, demand, at);
        } else {
            measure->need = need_of(similarity, i, now, demand);
            measure->need_long = need_of(similarity, i, most, demand);
            measure->need_lately = need_of(similarity, i, lately, demand);
        }
    }
}
