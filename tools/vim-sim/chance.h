/*
 * chance.h - numbers that look random and depend on their seed alone, on every machine.
 */
#ifndef CHANCE_H
#define CHANCE_H

#include <math.h>
#include <stdint.h>

/* A state is any number; equal states give equal sequences. */
struct chance {
    uint64_t state;
};

/* splitmix64's finaliser. */
static inline uint64_t chance_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* A number that depends on both. */
static inline uint64_t chance_join(uint64_t a, uint64_t b)
{
    return chance_mix(a * 0x9E3779B97F4A7C15u + b + 0x632BE59BD9B4E019u);
}

static inline uint64_t chance_next(struct chance *chance)
{
    chance->state += 0x9E3779B97F4A7C15u;
    return chance_mix(chance->state);
}

/* A number's place in (0, 1). */
static inline double chance_unit(uint64_t value)
{
    return ((double)(value >> 11) + 0.5) * 0x1p-53;
}

static inline double chance_uniform(struct chance *chance, double from, double to)
{
    return from + (to - from) * chance_unit(chance_next(chance));
}

/* FROM..TO, both included. */
static inline uint32_t chance_integer(struct chance *chance, uint32_t from, uint32_t to)
{
    return from + (uint32_t)(chance_unit(chance_next(chance)) * (to - from + 1));
}

static inline int chance_is(struct chance *chance, double probability)
{
    return chance_unit(chance_next(chance)) < probability;
}

static inline double chance_normal(struct chance *chance)
{
    double a = chance_unit(chance_next(chance)), b = chance_unit(chance_next(chance));

    return sqrt(-2 * log(a)) * cos(6.283185307179586 * b);
}

#endif
