/*
 * base/timer.h - one thread that calls functions later.
 *
 * Callbacks run one after the other on the timer's thread, so they have to be short: set a flag,
 * signal, post to a pool.
 */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timers;

int timers_open(const char *name, struct timers **ret_timers);

/* Calls FUNCTION(ARGUMENT) once, DELAY_MS from now. Returns a handle, never 0, never used again. */
uint64_t timer_after(struct timers *timers, int64_t delay_ms, void (*function)(void *argument),
                     void *argument);

/* Takes a call back. True: it will not happen and has not. False: it has happened (or the handle
 * is 0); if it is happening at this moment, waits until it has returned, unless called from a
 * callback. So after it, ARGUMENT can be freed. */
bool timer_cancel(struct timers *timers, uint64_t handle);

/* Joins the thread; calls that are not due are dropped. Not from a callback. NULL is fine. */
void timers_close(struct timers *timers);

#endif
