#include "hpa.h"

#include <math.h>

static uint32_t round_up(double replicas)
{
    double rounded = ceil(replicas - 1e-9);

    return rounded < 0 ? 0 : rounded > 1e6 ? 1000000 : (uint32_t)rounded;
}

/* As replica_calculator.go, GetResourceReplicas(). */
uint32_t hpa_recommend(const struct hpa_rule *rule, const struct hpa_pods *pods)
{
    double ratio = pods->usage / rule->target, again, sum = pods->measured * pods->usage;
    double counted = pods->measured;
    uint32_t wanted;

    if (pods->measured == 0 || !isfinite(ratio))
        return pods->current;
    if ((ratio <= 1 || pods->unready == 0) && pods->missing == 0)
        return fabs(1 - ratio) <= rule->tolerance ? pods->current
                                                  : round_up(ratio * pods->measured);
    if (ratio < 1) {
        sum += pods->missing * (rule->target > 1 ? rule->target : 1);
        counted += pods->missing;
    } else if (ratio > 1) {
        counted += pods->missing + pods->unready;
    }
    again = sum / counted / rule->target;
    if (fabs(1 - again) <= rule->tolerance || (ratio < 1 && again > 1) || (ratio > 1 && again < 1))
        return pods->current;
    wanted = round_up(again * counted);
    if ((again < 1 && wanted > pods->current) || (again > 1 && wanted < pods->current))
        return pods->current;
    return wanted;
}

/* As horizontal.go, stabilizeRecommendationWithBehaviors(), with no window on the way up. */
uint32_t hpa_stabilise(uint32_t current, uint32_t wanted, uint32_t highest)
{
    if (wanted >= current)
        return wanted;
    return highest < current ? highest : current;
}

uint32_t hpa_up_limit(uint32_t start)
{
    return start > 4 ? 2 * start : start + 4;
}
