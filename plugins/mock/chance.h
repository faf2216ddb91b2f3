/*
 * Chance that can be repeated: numbers that follow from a seed and a name, latencies drawn from
 * them, and the fault script.
 */
#ifndef MOCK_CHANCE_H
#define MOCK_CHANCE_H

#include <stddef.h>
#include <stdint.h>

/* 64 bits that follow from SEED, NAME and NUMBER, and nothing else. */
uint64_t chance_bits(uint64_t seed, const char *name, uint64_t number);

/* The same as a number 0 <= x < 1. */
double chance_uniform(uint64_t seed, const char *name, uint64_t number);

enum latency_distribution { LATENCY_FIXED, LATENCY_EXPONENTIAL, LATENCY_UNIFORM };

/* Milliseconds with the mean MEAN_MS: fixed; exponential, cut at ten times the mean; or uniform
 * between 0 and twice the mean. DRAW is a chance_uniform(). */
int64_t chance_latency(enum latency_distribution distribution, int64_t mean_ms, double draw);

enum fault {
    FAULT_NONE,
    FAULT_REFUSE_400,
    FAULT_REFUSE_403,
    FAULT_REFUSE_404,
    FAULT_REFUSE_409,
    FAULT_ERROR_500,
    FAULT_RATE_LIMIT,
    FAULT_UNAVAILABLE,
    FAULT_LOST,
    FAULT_TIMEOUT,
    FAULT_LOST_BEFORE,
    FAULT_STUCK,
    FAULT_ERROR_BUILD,
    FAULT_VANISH,
    FAULT_SLOW,
    FAULT_TRUNCATE,
    FAULT_EXPIRED,
    FAULT_COUNT
};

/* The fault's name as the script has it; NULL for FAULT_NONE. */
const char *fault_name(enum fault fault);

/* One rule: "VERB KIND FAULT CHANCE [MILLISECONDS]". VERB and KIND may be *. CHANCE is a
 * probability 0..1, or @N or @N-M for exactly the N-th (to M-th) call of that kind and verb. */
struct fault_rule {
    char verb[16];
    char kind[32];
    enum fault fault;
    double probability;
    uint64_t first; /* of an @N-M rule; 0 if the rule has a probability */
    uint64_t last;
    int64_t ms; /* slow: how long; rate-limit: retry after; vanish: how long it lives */
};

/* Reads a rule. Returns 0, or -1 with RET_ERROR, a static text, saying what is wrong with it. */
int fault_parse(const char *text, struct fault_rule *ret_rule, const char **ret_error);

/* The first of COUNT rules that strikes the NUMBER-th call of VERB on KIND, or NULL. */
const struct fault_rule *fault_draw(const struct fault_rule *rules, size_t count, uint64_t seed,
                                    const char *verb, const char *kind, uint64_t number);

#endif
