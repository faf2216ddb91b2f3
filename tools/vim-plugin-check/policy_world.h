/*
 * policy_world.h - services that a policy is asked about. All of one comes from its numbers, not from when it is asked for.
 */
#ifndef POLICY_WORLD_H
#define POLICY_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct history;

enum filling { FILL_SENSIBLE, FILL_NAN, FILL_NOTHING, FILL_EXTREME };

struct world {
    uint64_t seed;
    uint32_t blocks, windows;
    enum filling filling;
    bool reversed; /* blocks and edges in the opposite order: the same world all the same */
};

/* Of some size, with sensible values of which a few are missing. */
struct world random_world(uint64_t seed);

/* All that can be seen of it. The caller frees it. */
struct history *make_history(const struct world *world);

#endif
