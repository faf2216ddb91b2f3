/*
 * engine/groups.h - replicas on scaling platforms: drivers with the kind "group" (docs/plugin-authors.md).
 *
 * Calls block, on the caller's thread, until the driver has answered on its lane or TIMEOUT_MS have passed:
 * then VIM_E_TIMEOUT, and what the call may still do is nobody's any more. A platform that is stuck gives
 * VIM_E_UNAVAILABLE at once.
 */
#ifndef VIMD_ENGINE_GROUPS_H
#define VIMD_ENGINE_GROUPS_H

#include <stdbool.h>
#include <stdint.h>
#include "engine/vims.h"

#define GROUP_KIND "group"

/* Where a group stands. */
struct group_state {
    uint32_t wanted, current, ready, starting, stopping;
    double quota_cores; /* that one replica may use; 0: no limit, or not known */
    char failed[256]; /* why one does not come up, in the platform's words; "": nothing failed */
};
int group_get(struct vim_target *platform, const char *id, int64_t timeout_ms,
              struct group_state *ret_state, struct failure *failure);

/* Wants REPLICAS from now on. REQUEST_ID as in struct vim_op. After VIM_E_TIMEOUT and VIM_E_LOST it may have been
 * done, or be done yet: a look tells. */
int group_resize(struct vim_target *platform, const char *id, uint32_t replicas,
                 const char *request_id, int64_t timeout_ms, struct failure *failure);

/* What one replica has used: totals, NaN where not known. */
struct group_usage {
    const char *replica; /* the platform's id of it */
    bool ready;
    double cpu_seconds, cpu_cores, quota_cores, periods, throttled_periods, memory_bytes;
    double pressure_cpu_seconds, pressure_memory_seconds, pressure_io_seconds;
};
typedef void (*group_usage_fn)(void *argument, const struct group_usage *usage);
/* Calls EACH, on the caller's thread, for every replica. VIM_E_UNSUPPORTED: the platform measures nothing. */
int group_sample(struct vim_target *platform, const char *id, int64_t timeout_ms,
                 group_usage_fn each, void *argument, struct failure *failure);

#endif
