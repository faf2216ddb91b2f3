/*
 * engine/vims.h - the configured VIMs: name -> driver instance, lane and settings; and the one
 * caller of driver operations.
 *
 * A reload replaces a VIM's instance; calls in progress finish on the old one. Everything here may
 * be called from any thread. Drivers are called on the lane of their VIM, never on the caller's
 * thread; COMPLETE functions run on that lane's thread, or on the caller's before the function
 * returns when the call cannot even be queued.
 */
#ifndef VIMD_ENGINE_VIMS_H
#define VIMD_ENGINE_VIMS_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include <vim/driver.h>
#include "model/store.h"

struct instance;
struct lane;
struct vims;
struct vim_target; /* one VIM, reference counted */

/* What the configuration says of one VIM. Texts are copied. */
struct vim_settings {
    const char *name; /* 1..63 of a-z 0-9 - */
    const char *project; /* owner of what the inventory finds there */
    int64_t call_timeout_ms;
    int64_t poll_pending_ms; /* between rounds over a kind while something is pending */
    int64_t poll_idle_ms; /* and otherwise */
    int64_t poll_full_ms; /* between complete passes where the driver can tell changes */
    int64_t poll_backoff_ms; /* cap of the interval after failures */
    uint32_t operations; /* steps in progress at once, at most */
    bool check_quota; /* network services and dry runs are held against quota and capacity */
};

struct vims *vims_new(void);
void vims_free(struct vims *vims);

/* Before the end: takes no more calls to any VIM, and waits for those in progress until DEADLINE
 * (clock_mono_ms()); then cancels them. VIM_OK: none is left, and none of their completions runs any
 * more. VIM_E_TIMEOUT: one does not return; what it may still use must not be freed. */
int vims_close(struct vims *vims, int64_t deadline);

/* Adds or replaces (same name) a VIM. Takes over one reference on INSTANCE and LANE. */
int vims_put(struct vims *vims, const struct vim_settings *settings, struct instance *instance,
             struct lane *lane, struct failure *failure);
/* Removes it; its tasks wait until it comes back or their deadline. False if unknown. */
bool vims_remove(struct vims *vims, const char *name);

/* Reference to a VIM, or NULL. */
struct vim_target *vims_get(struct vims *vims, const char *name);
void vim_target_release(struct vim_target *target);
/* Calls EACH for every VIM in order of name. */
void vims_each(struct vims *vims, void (*each)(void *argument, struct vim_target *target),
               void *argument);
size_t vims_count(struct vims *vims);

const struct vim_settings *vim_target_settings(const struct vim_target *target);
struct instance *vim_target_instance(const struct vim_target *target);
struct lane *vim_target_lane(const struct vim_target *target);
/* The trait of a kind, or NULL if the driver does not know the kind. */
const struct vim_trait *vim_target_trait(const struct vim_target *target, const char *kind);
bool vim_target_has_action(const struct vim_target *target, const char *kind, const char *action);

/* Health as seen by the calls made: the last success and failure of polls and steps. */
struct vim_health {
    bool stuck, reachable; /* reachable: the last call that told either way was answered */
    int64_t checked; /* when; 0: never */
    char text[256]; /* the last failure */
};
void vim_target_health(struct vim_target *target, struct vim_health *ret_health);
void vim_target_report(struct vim_target *target, int code, const char *text);

/* Asks the far side for one resource. COMPLETE gets 0 and the item (for the call), or an error. */
typedef void (*vim_get_fn)(void *argument, int code, const struct vim_item *item,
                           const struct failure *failure);
void vim_target_get(struct vim_target *target, const char *kind, const char *backend_id,
                    int64_t timeout_ms, vim_get_fn complete, void *argument);

/* Asks for all that the far side tells of KIND, of which the driver has VIM_VERB_LOOK. COMPLETE gets 0
 * and the items (for the call), or an error. */
typedef void (*vim_look_fn)(void *argument, int code, const struct vim_item *items, size_t count,
                            const struct failure *failure);
void vim_target_look(struct vim_target *target, const char *kind, int64_t timeout_ms,
                     vim_look_fn complete, void *argument);

/* The same for many who ask at once: COMPLETE gets what a look that began at NOT_BEFORE (clock_mono_ms()) or
 * later has told, which may be remembered (but not over a step of this process), or be told to others as well. It
 * may run before the function returns. A refusal (denied, unsupported) is remembered for a minute longer. */
void vim_target_recall(struct vim_target *target, const char *kind, int64_t not_before,
                       int64_t timeout_ms, vim_look_fn complete, void *argument);

/* Asks whether the VIM is well (probe). ITEM may be NULL on success too. */
void vim_target_check(struct vim_target *target, int64_t timeout_ms, vim_get_fn complete,
                      void *argument);

#endif
