/*
 * hpa.h - the rule of the Kubernetes HorizontalPodAutoscaler, autoscaling/v2, for one target (a block).
 * Pure arithmetic; no clock.
 */
#ifndef HPA_H
#define HPA_H

#include <stdint.h>

struct hpa_rule {
    double target; /* utilisation */
    double tolerance; /* 0.1: a ratio within 10 % of 1 changes nothing */
};

/* Pods of one target and what was measured of them. */
struct hpa_pods {
    uint32_t measured; /* ready, with a metric */
    double usage; /* their mean utilisation */
    uint32_t unready; /* on their way: not counted on the way down, idle on the way up */
    uint32_t
        missing; /* without a metric: at 1 (or the target, if that is more) on the way down, at 0
                         on the way up */
    uint32_t current; /* replicas that are wanted now */
};

/* How many replicas the rule recommends; `current` when it changes nothing. */
uint32_t hpa_recommend(const struct hpa_rule *rule, const struct hpa_pods *pods);

/* What is wanted of a target that has CURRENT replicas, when WANTED are recommended now and HIGHEST is the
 * highest recommendation of the stabilisation window (WANTED among them): the way down goes no farther than
 * that, and an old recommendation never leads up. */
uint32_t hpa_stabilise(uint32_t current, uint32_t wanted, uint32_t highest);

/* The most replicas that scaling up may reach when START were there at the beginning of the 15 s: 4
 * more, or twice as many, whichever is more. */
uint32_t hpa_up_limit(uint32_t start);

#endif
