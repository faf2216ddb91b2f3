/*
 * engine/inventory.h - the shared poller: what is at the far side, as rows in the store.
 *
 * Per (VIM, kind) one round at a time, however many wait: one thread posts what is due to the VIMs'
 * lanes. Short interval while something is pending or awaited, long
 * otherwise, doubled after failures up to a cap. Where the driver can tell changes (VIM_VERB_CHANGES) rounds ask for
 * changes, and now and then a complete pass looks for what is gone. A body that is byte for byte
 * what it was is not parsed. Changed rows are committed in batches; a resource on which a task
 * works is only updated in what the task does not write. Of several processes one polls a
 * (VIM, kind): a lease row in the collection "poll".
 */
#ifndef VIMD_ENGINE_INVENTORY_H
#define VIMD_ENGINE_INVENTORY_H

#include <stdbool.h>
#include <stdint.h>
#include "engine/tasks.h"
#include "engine/vims.h"
#include "model/resource.h"
#include "model/store.h"

struct inventory;

struct inventory *inventory_new(struct store *store, struct vims *vims, struct tasks *tasks,
                                struct aliases *aliases);
void inventory_free(struct inventory *inventory);
int inventory_start(struct inventory *inventory, struct failure *failure);
/* Cancels rounds in progress and waits for their end, for a few seconds: VIM_E_TIMEOUT if a driver
 * does not return (of a VIM that a reload replaced, say); the inventory must not be freed then. */
int inventory_stop(struct inventory *inventory);

/* A VIM was added, replaced or removed: look at vims again. */
void inventory_refresh(struct inventory *inventory);

/* Somebody awaits or changed something of this kind: make the next round soon. */
void inventory_hint(struct inventory *inventory, const char *vim, const char *kind);

/* Merges an item that a driver call brought (step, fresh get) into RESOURCE: the driver's fields, status,
 * pending, name, backend id, references translated to vimd's ids. Used by steps, rounds and
 * fresh reads alike. */
int inventory_merge(struct inventory *inventory, const char *vim, const char *kind,
                    const struct vim_item *item, struct resource *resource,
                    struct failure *failure);

/* --- For tasks, about what a step of this process did ------------------------------------------- */

/* A step has returned and its outcome is about to be committed: lists that were asked for before
 * now may show what was before, and are not believed about this resource. */
void inventory_touch(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id);
/* The commit is through: BACKEND_ID is vimd's ID now, whose row has REVISION (0: not known), or with ID
 * NULL does not exist any more. */
void inventory_learn(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id, const char *id, uint64_t revision);
/* A task has begun to await BACKEND_ID: the next round comes soon. */
void inventory_await(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id);

/* A task has ended and not told what became of its resource: the next round is soon, and complete, for
 * what changed while the task was at work is not told again. */
void inventory_doubt(struct inventory *inventory, const char *vim, const char *kind);

/* When the last complete pass over a kind that has ended began (ms since 1970, 0: never): what was there, or was gone,
 * before that has been seen. */
int64_t inventory_last_pass(struct inventory *inventory, const char *vim, const char *kind);

/* True once every VIM's kinds had a first pass, or failed at it. */
bool inventory_is_ready(struct inventory *inventory);

#endif
