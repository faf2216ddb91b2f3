/*
 * The buckets of a histogram of Prometheus, as they have grown within a window, summed over series.
 */
#ifndef VIMD_SCALER_BUCKETS_H
#define VIMD_SCALER_BUCKETS_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKETS_MAX 512u /* a histogram with more tells nothing */

struct buckets {
    struct {
        double le, count;
    } items[BUCKETS_MAX]; /* by their bounds */
    uint32_t count;
    bool too_many;
};

/* DIFFERENCE more in the bucket with the label LE. False if that is no bound (NULL is none), or if there are too many. */
bool buckets_add(struct buckets *buckets, const char *le, double difference);

/* The value below which the share Q of what was observed is, as Prometheus has it. Without the bucket of all (+Inf) it
 * is not known how many there were: NaN. */
double buckets_quantile(const struct buckets *buckets, double q);

#endif
