/*
 * logic/room.h - has a VIM room for what is to be made? Its quotas, zones and hosts are asked for before anything is
 * made. What it does not tell is held against nobody.
 */
#ifndef VIMD_LOGIC_ROOM_H
#define VIMD_LOGIC_ROOM_H

#include "logic/call.h"
#include "model/demand.h"

struct vim_target;

/* What a VIM can tell of the room that it has. */
enum room_aspect { ROOM_QUOTA, ROOM_CAPACITY, ROOM_COUNT };

struct room {
    struct demand demand; /* what is needed of it */
    json_t *quotas; /* as the VIM told, or NULL */
    unsigned untold; /* 1 << enum room_aspect: not told, */
    char why[ROOM_COUNT][256]; /* and why */
};
void room_clear(struct room *room);

/* Counts what PLAN takes more than BEFORE (NULL: nothing was there). False if the call was answered. */
bool room_count(struct room *room, struct call *call, const struct service_plan *plan,
                const struct service_plan *before);

/* Asks the VIM whether it has as much, and calls DONE, now or later, on any thread: what does not suffice is among
 * FINDINGS then. ROOM, CALL (a kept one) and FINDINGS have to live until then. */
typedef void (*room_fn)(void *argument);
void room_check(struct room *room, struct call *call, struct vim_target *target,
                struct findings *findings, room_fn done, void *argument);

/* Answers 422 with DETAIL, or 409 if room is all that is missing, and returns false if there are findings. */
bool room_passed(struct call *call, struct findings *findings, const char *detail);

/* Adds to a dry run's VERDICT what was checked besides the names in CHECKED, what not and why not, and the amounts. */
void room_tell(const struct room *room, json_t *checked, json_t *verdict);

#endif
