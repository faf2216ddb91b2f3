/*
 * engine/claims.h - the claims on tasks that this process holds. How long another process's claim
 * lasts is told by the row, in the time of day; of its own claims a process knows better: a clock that
 * is set forward, or a machine that slept, does not end a call that is in progress. In memory, one
 * table per process as there is one owner per process. May be called from any thread.
 */
#ifndef VIMD_ENGINE_CLAIMS_H
#define VIMD_ENGINE_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

/* A claim on TASK is about to be committed, and ends at UNTIL (clock_mono_ms()). Returns its
 * number, never 0. */
uint64_t claims_take(const char *task, int64_t until);
/* The claim NUMBER has ended, or never came to be. */
void claims_give(const char *task, uint64_t number);
/* Is there a claim on TASK whose time is not over? */
bool claims_hold(const char *task);
/* Forgets those whose time is over. */
void claims_drop_old(void);

#endif
