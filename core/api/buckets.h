/*
 * api/buckets.h - token buckets by key, in a table of fixed size.
 *
 * The table holds the buckets used last; one that was pushed out starts anew, full. Keys are hashed
 * with a seed of the process, so that nobody can choose keys that fall together.
 */
#ifndef VIMD_API_BUCKETS_H
#define VIMD_API_BUCKETS_H

#include <stddef.h>
#include <stdint.h>

struct buckets;

struct buckets *buckets_new(void);
void buckets_free(struct buckets *buckets); /* NULL is fine */

/* Takes COST units out of the bucket of KEY, which fills at RATE per second up to BURST. Returns 0,
 * or, if there are not that many, takes none and returns the milliseconds until there are. A COST
 * of 0 asks whether at least one unit is there. Any thread. */
uint32_t buckets_take(struct buckets *buckets, const void *key, size_t size, double rate,
                      double burst, double cost, int64_t now_ms);

#endif
