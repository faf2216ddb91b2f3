#include "chance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a over the name, then the finaliser of splitmix64, which spreads neighbouring numbers. */
uint64_t chance_bits(uint64_t seed, const char *name, uint64_t number)
{
    uint64_t bits = 0xcbf29ce484222325u ^ seed;
    for (const char *at = name; *at; at++) {
        bits = (bits ^ (unsigned char)*at) * 0x100000001b3u;
    }
    bits += (number + 1) * 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

double chance_uniform(uint64_t seed, const char *name, uint64_t number)
{
    return (double)(chance_bits(seed, name, number) >> 11) / 9007199254740992.0;
}

/* -ln(1 - x) for 0 <= x < 1. The series of atanh on a reduced argument: exact enough here, and a
 * driver needs no other library than libc for it. */
static double minus_log(double x)
{
    double rest = 1.0 - x;
    double sum = 0.0;
    while (rest < 0.5) {
        rest *= 2.0;
        sum += 0.69314718055994531;
    }
    double z = (1.0 - rest) / (1.0 + rest);
    double square = z * z;
    double term = z;
    for (int i = 1; i < 40; i += 2) {
        sum += 2.0 * term / i;
        term *= square;
    }
    return sum;
}

int64_t chance_latency(enum latency_distribution distribution, int64_t mean_ms, double draw)
{
    double factor = 1.0;
    if (distribution == LATENCY_EXPONENTIAL) {
        factor = minus_log(draw);
        factor = factor > 10.0 ? 10.0 : factor;
    } else if (distribution == LATENCY_UNIFORM) {
        factor = 2.0 * draw;
    }
    return (int64_t)(factor * (double)mean_ms);
}

static const char *const fault_names[FAULT_COUNT] = {[FAULT_REFUSE_400] = "refuse-400",
                                                     [FAULT_REFUSE_403] = "refuse-403",
                                                     [FAULT_REFUSE_404] = "refuse-404",
                                                     [FAULT_REFUSE_409] = "refuse-409",
                                                     [FAULT_ERROR_500] = "error-500",
                                                     [FAULT_RATE_LIMIT] = "rate-limit",
                                                     [FAULT_UNAVAILABLE] = "unavailable",
                                                     [FAULT_LOST] = "lost",
                                                     [FAULT_TIMEOUT] = "timeout",
                                                     [FAULT_LOST_BEFORE] = "lost-before",
                                                     [FAULT_STUCK] = "stuck",
                                                     [FAULT_ERROR_BUILD] = "error-build",
                                                     [FAULT_VANISH] = "vanish",
                                                     [FAULT_SLOW] = "slow",
                                                     [FAULT_TRUNCATE] = "truncate",
                                                     [FAULT_EXPIRED] = "expired"};

const char *fault_name(enum fault fault)
{
    return fault_names[fault];
}

static int parse_chance(const char *text, struct fault_rule *rule)
{
    char *end;
    errno = 0;
    if (*text != '@') {
        rule->probability = strtod(text, &end);
        return end != text && *end == '\0' && rule->probability >= 0.0 && rule->probability <= 1.0
                   ? 0
                   : -1;
    }
    if (text[1] < '1' || text[1] > '9') {
        return -1;
    }
    rule->first = rule->last = strtoull(text + 1, &end, 10);
    if (*end == '-' && end[1] >= '1' && end[1] <= '9') {
        rule->last = strtoull(end + 1, &end, 10);
    }
    return *end == '\0' && errno == 0 && rule->last >= rule->first ? 0 : -1;
}

int fault_parse(const char *text, struct fault_rule *ret_rule, const char **ret_error)
{
    struct fault_rule rule = {.ms = -1};
    char fault[16];
    char chance[48];
    char ms[16] = "";
    char rest[2] = "";
    int words =
        sscanf(text, "%15s %31s %15s %47s %15s %1s", rule.verb, rule.kind, fault, chance, ms, rest);
    if (words < 4 || words > 5) {
        *ret_error = "a rule is VERB KIND FAULT CHANCE [MILLISECONDS]";
        return -1;
    }
    for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
        if (strcmp(fault, fault_names[i]) == 0) {
            rule.fault = (enum fault)i;
        }
    }
    if (rule.fault == FAULT_NONE) {
        *ret_error = "there is no fault of that name";
        return -1;
    }
    if (parse_chance(chance, &rule) != 0) {
        *ret_error = "the chance is a probability from 0 to 1, or @N or @N-M";
        return -1;
    }
    if (words == 5) {
        char *end;
        errno = 0;
        rule.ms = strtoll(ms, &end, 10);
        if (errno != 0 || *end != '\0' || rule.ms < 0) {
            *ret_error = "the milliseconds are no number";
            return -1;
        }
    }
    *ret_rule = rule;
    return 0;
}

const struct fault_rule *fault_draw(const struct fault_rule *rules, size_t count, uint64_t seed,
                                    const char *verb, const char *kind, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        const struct fault_rule *rule = &rules[i];
        char name[96];
        if ((strcmp(rule->verb, "*") != 0 && strcmp(rule->verb, verb) != 0) ||
            (strcmp(rule->kind, "*") != 0 && strcmp(rule->kind, kind) != 0)) {
            continue;
        }
        if (rule->first > 0) {
            if (number >= rule->first && number <= rule->last) {
                return rule;
            }
            continue;
        }
        snprintf(name, sizeof(name), "fault %zu %s %s", i, verb, kind);
        if (chance_uniform(seed, name, number) < rule->probability) {
            return rule;
        }
    }
    return NULL;
}
