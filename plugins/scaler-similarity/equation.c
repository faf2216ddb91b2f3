/*
 * Equation 2 of Na, Park and Ryu: d_b = sum of |x' + y'_b|. The sign is the paper's: usage is compared
 * with the degradation -x', so the smallest distance belongs to the block whose usage grows as the
 * service gets worse.
 */
#include <math.h>

#include "similarity.h"

double equation_distance(const double *x, const double *y, uint32_t points, double divisor)
{
    double sum = 0;

    for (uint32_t i = 1; i < points; i++)
        sum += fabs((x[i] - x[i - 1]) + (y[i] - y[i - 1]));
    return divisor > 0 ? sum / divisor : NAN;
}

double equation_mean(const double *values, uint32_t from, uint32_t to)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = from; i < to; i++)
        if (!isnan(values[i])) {
            sum += values[i];
            count++;
        }
    return count ? sum / count : NAN;
}

uint32_t equation_points(const double *series, uint32_t windows, uint32_t group, uint32_t step,
                         double *ret_points)
{
    uint32_t points = windows / group, first = windows - points * group;

    if (step != VIM_NO_INDEX) {
        ret_points[0] = equation_mean(series, 0, step);
        /* The window in which the replicas became ready belongs to neither side. */
        ret_points[1] = equation_mean(series, step + 1, windows);
        return 2;
    }
    for (uint32_t i = 0; i < points; i++)
        ret_points[i] = equation_mean(series, first + i * group, first + (i + 1) * group);
    return points;
}

/* The window of a scale action that lies inside, with at least two windows on each side. */
static uint32_t find_step(const struct view *view)
{
    const struct vim_policy_action *last = &view->snapshot.last;

    if (view->last == VIM_NO_INDEX || last->delta == 0 || last->window < 2 ||
        last->window + 3 > view->snapshot.windows)
        return VIM_NO_INDEX;
    return last->window;
}

/* What changed over the least that is no noise, up to 1: the weight of similarity against level. */
static double changed_share(const double *x, uint32_t points, double mean)
{
    double sum = 0, floor = 0.1 * mean * (points - 1.0);

    for (uint32_t i = 1; i < points; i++)
        sum += fabs(x[i] - x[i - 1]);
    return floor > 0 && sum < floor ? sum / floor : 1;
}

/* Distances by the points of x and y; where y has a gap a block has none. */
static void measure_distances(struct similarity *similarity, uint32_t step,
                              double (*divisor)(const double *x, uint32_t points, double mean))
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows, points;
    uint32_t group = (uint32_t)similarity->config->aggregate;
    double x[POINTS_MAX], y[POINTS_MAX];
    double mean = fabs(equation_mean(similarity->performance, 0, windows));

    points = equation_points(similarity->performance, windows, group, step, x);
    similarity->points = points;
    similarity->step = step != VIM_NO_INDEX;
    similarity->change = changed_share(x, points, mean);
    for (uint32_t i = 0; i < view->block_count; i++) {
        equation_points(similarity->held[i], windows, group, step, y);
        similarity->measures[i].distance =
            points < 2 ? NAN : equation_distance(x, y, points, divisor(x, points, mean));
    }
}

static double count_differences(const double *x, uint32_t points, double mean)
{
    (void)x;
    (void)mean;
    return points - 1;
}

/* What changed at all, but not less than a tenth of what there is: below it is noise. */
static double total_change(const double *x, uint32_t points, double mean)
{
    double sum = 0, floor = 0.1 * mean * (points - 1);

    for (uint32_t i = 1; i < points; i++)
        sum += fabs(x[i] - x[i - 1]);
    return sum > floor ? sum : floor;
}

static void take_usage(struct similarity *similarity, uint32_t block)
{
    const struct vim_policy_block *at = &similarity->view.blocks[block];
    bool pressure = similarity->tier >= VIM_TIER_PRESSURE && at->pressure_cpu;

    for (uint32_t i = 0; i < similarity->view.snapshot.windows; i++) {
        double io = view_at(at->pressure_io, i);
        double value = view_at(pressure ? at->pressure_cpu : at->cpu, i);

        if (pressure && io > value)
            value = io;
        similarity->held[block][i] = value;
    }
}

void equation_literal(struct similarity *similarity)
{
    const struct view *view = &similarity->view;
    uint32_t windows = view->snapshot.windows;
    double most = 0;

    for (uint32_t i = 0; i < windows; i++) {
        double value = view_at(view->snapshot.throughput, i);

        if (value > most)
            most = value;
    }
    for (uint32_t i = 0; i < windows; i++)
        similarity->performance[i] = most > 0 ? view_at(view->snapshot.throughput, i) / most : NAN;
    for (uint32_t i = 0; i < view->block_count; i++)
        take_usage(similarity, i);
    measure_distances(similarity, find_step(view), count_differences);
}

void equation_little(struct similarity *similarity)
{
    in_flight_measure(similarity);
    measure_distances(similarity, find_step(&similarity->view), total_change);
}
