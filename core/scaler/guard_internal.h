/*
 * scaler/guard_internal.h - what the files of the guard share.
 *
 *   guard.c          the rules, in their order
 *   guard_verify.c   what came of the last action
 *   guard_state.c    the state as JSON
 */
#ifndef SCALER_GUARD_INTERNAL_H
#define SCALER_GUARD_INTERNAL_H

#include "scaler/guard.h"

/* The block by its name, made if it is new; NULL if there are too many. */
struct guard_block *guard_find_block(struct guard *guard, const char *name);

/* Mean of the service's METRIC over the COUNT windows that end at END (0: the last); NaN if not one of
 * them has a value. */
double guard_mean(const struct history *history, const char *metric, uint32_t count, int64_t end);

/* Looks at the action that is being verified: once its windows are over it is settled, and EVENT says so. */
void guard_watch_pending(struct guard *guard, int64_t now, struct history *history,
                         struct guard_event *event);

#endif
