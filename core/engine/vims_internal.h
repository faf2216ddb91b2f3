/* engine/vims_internal.h - of VIMs and their calls, what the engine alone uses. */
#ifndef VIMD_ENGINE_VIMS_INTERNAL_H
#define VIMD_ENGINE_VIMS_INTERNAL_H

#include "engine/vims.h"

struct vim_call;

/* One more reference. */
struct vim_target *vim_target_hold(struct vim_target *target);

/* Takes one of the VIM's `operations`; false if all are in use. */
bool vim_target_take_step(struct vim_target *target);
void vim_target_give_step(struct vim_target *target);
/* When the last one was given back, clock_mono_ms(); 0: never. */
int64_t vim_target_stepped(const struct vim_target *target);
/* How many are not in use at this moment. */
uint32_t vim_target_free_steps(const struct vim_target *target);

/* What the VIM has told of itself (facts.c). */
struct facts;
struct facts *facts_new(void);
void facts_free(struct facts *facts); /* nobody asks any more */
struct facts *vim_target_facts(const struct vim_target *target);

/* An item whose texts are owned. */
void item_copy(const struct vim_item *from, struct vim_item *ret_item);
void item_free(struct vim_item *item); /* and clears it */

/* What a driver's call told of its error CODE. */
void failure_from_call(struct failure *failure, int code, const struct vim_call *call);

#endif
