/*
 * engine/parking.h - tasks that are ready, but whose VIM has all its `operations` in use, or takes no
 * calls, or is not configured now. They wait here, in order, instead of going round and round through the queue. In memory only: the sweep finds
 * what a process that died had parked. All functions may be called from any thread.
 */
#ifndef VIMD_ENGINE_PARKING_H
#define VIMD_ENGINE_PARKING_H

#include <stdbool.h>
#include <stddef.h>
#include "base/ids.h"

struct parking;

struct parking *parking_new(void);
void parking_free(struct parking *parking);

/* False if there is no room left. Parking what is parked already is fine. */
bool parking_put(struct parking *parking, const char *vim, const char *task);
/* Takes out the one that has waited longest; false if there is none. */
bool parking_take(struct parking *parking, const char *vim, char ret_task[ID_SIZE]);
bool parking_holds(struct parking *parking, const char *task);
/* How many tasks of a VIM are parked. */
size_t parking_count(struct parking *parking, const char *vim);
/* Calls EACH for every VIM with tasks parked, without holding the lock. */
void parking_each_vim(struct parking *parking, void (*each)(void *argument, const char *vim),
                      void *argument);

#endif
