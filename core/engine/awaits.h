/*
 * engine/awaits.h - which task waits for what, and what was seen of it: in memory only, made anew
 * from the tasks' rows after a restart.
 *
 * An observation counts only if it was asked for after the step had returned: what a list showed
 * before may be from before the step took effect. All functions may be called from any thread.
 */
#ifndef VIMD_ENGINE_AWAITS_H
#define VIMD_ENGINE_AWAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/plugin.h>
#include "base/ids.h"

struct awaits;

/* Ids of tasks to be woken; free(items). */
struct awaits_woken {
    char (*items)[ID_SIZE];
    size_t count;
};

struct awaits *awaits_new(void);
void awaits_free(struct awaits *awaits);

/* TASK waits for ID, by observations from SINCE (clock_mono_ms()) on. Replaces what it awaited. */
void awaits_add(struct awaits *awaits, const char *task, const char *vim, const char *kind,
                const char *id, int64_t since);
void awaits_remove(struct awaits *awaits, const char *task);
bool awaits_holds(struct awaits *awaits, const char *task);

/* How many wait for something of this VIM and kind. */
size_t awaits_count(struct awaits *awaits, const char *vim, const char *kind);

/* ITEM was seen by a look that began at LOOKED. Takes out those it wakes (none while it is pending),
 * keeping a copy of ITEM for each. True if somebody waits for it who did not count the look. */
bool awaits_observe(struct awaits *awaits, const char *vim, const char *kind,
                    const struct vim_item *item, int64_t looked, struct awaits_woken *woken);

/* A complete look that began at LOOKED has ended: takes out those whose resource it has not SEEN. */
void awaits_observe_end(struct awaits *awaits, const char *vim, const char *kind, int64_t looked,
                        bool (*seen)(void *argument, const char *id), void *argument,
                        struct awaits_woken *woken);

/* Takes what was seen for TASK; false if nothing. The item's texts become the caller's. */
bool awaits_take_seen(struct awaits *awaits, const char *task, struct vim_item *ret_item);
/* Keeps a copy of ITEM for TASK. */
void awaits_put_seen(struct awaits *awaits, const char *task, const struct vim_item *item);
/* Drops what nobody took for longer than AGE_MS: another process made the step. */
void awaits_drop_seen(struct awaits *awaits, int64_t age_ms);

#endif
