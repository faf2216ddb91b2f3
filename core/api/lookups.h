/*
 * api/lookups.h - whose token it is, asked once for all who want to know.
 *
 * When what is remembered of a token ends, or nothing is yet, as many requests may come with it as the service
 * has clients. If each had it looked up, they would all be calls of a logic process that has enough to do, and hold
 * each other up until their time is over. So of one token a few look-ups are under way at most; whoever comes
 * meanwhile waits for them. The first that finds the owner, or finds that there is none, ends all of
 * the waiting; those that fail end it when no other is left.
 *
 * Threads: everything here may be called from any thread. What is told is told without a lock.
 */
#ifndef VIMD_API_LOOKUPS_H
#define VIMD_API_LOOKUPS_H

#include <stdint.h>
#include "base/digest.h"
#include "link/link.h"

struct lookups;

struct lookups *lookups_new(void);

/* Lets go: the look-ups that are under way still end, and tell. NULL is fine. */
void lookups_drop(struct lookups *lookups);

/* Tells TOLD once, perhaps before this returns, who TOKEN, whose digest is DIGEST, belongs to: see
 * link_principal_fn. */
void lookups_ask(struct lookups *lookups, struct link *link, const char *token,
                 const uint8_t digest[DIGEST_SIZE], link_principal_fn told, void *argument);

#endif
