#include "scaler/buckets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool buckets_add(struct buckets *buckets, const char *le, double difference)
{
    char *end = NULL;
    double bound = le ? strtod(le, &end) : NAN;
    if (!le || end == le || *end || isnan(bound)) {
        return false;
    }
    uint32_t at = 0;
    while (at < buckets->count && buckets->items[at].le < bound) {
        at++;
    }
    if (at == buckets->count || buckets->items[at].le > bound) {
        if (buckets->count == BUCKETS_MAX) {
            buckets->too_many = true;
            return false;
        }
        memmove(&buckets->items[at + 1], &buckets->items[at],
                (buckets->count - at) * sizeof(buckets->items[0]));
        buckets->items[at].le = bound;
        buckets->items[at].count = 0;
        buckets->count++;
    }
    buckets->items[at].count += difference;
    return true;
}

double buckets_quantile(const struct buckets *buckets, double q)
{
    uint32_t count = buckets->count;
    double all = count && isinf(buckets->items[count - 1].le) ? buckets->items[count - 1].count : 0;
    double below = 0, lower = 0;
    if (!(all > 0)) {
        return NAN;
    }
    for (uint32_t i = 0; i < count; i++) {
        double le = buckets->items[i].le, here = buckets->items[i].count;
        if (here >= q * all && here > below) {
            return isinf(le) ? lower : lower + (le - lower) * (q * all - below) / (here - below);
        }
        below = here > below ? here : below;
        lower = isinf(le) ? lower : le;
    }
    return lower;
}
