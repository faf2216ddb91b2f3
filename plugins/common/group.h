/*
 * group.h - the resource kind "group" of scaling platforms: replicas of one program, of which a
 * platform keeps as many as are wanted.
 *
 * A platform is a driver whose one kind is "group": list and get tell where a group stands, UPDATE sets its
 * size ({"replicas": N}), sample tells what each replica has used. docs/plugin-authors.md has the
 * vocabulary.
 */
#ifndef VIMD_PLUGINS_COMMON_GROUP_H
#define VIMD_PLUGINS_COMMON_GROUP_H

#include <jansson.h>
#include <stdint.h>
#include <vim/driver.h>

#define GROUP_KIND "group"
#define GROUP_REPLICAS_MAX 1000

/* Where a group stands. Texts live for the call. */
struct group {
    const char *id; /* the platform's name of it */
    uint32_t wanted; /* replicas asked for */
    uint32_t current; /* that exist, in whatever state, and are not being stopped */
    uint32_t ready; /* that do their work */
    uint32_t starting; /* that are on their way */
    uint32_t stopping; /* that end */
    double quota_cores; /* processor cores that one replica may use; 0: no limit, or not known */
    const char
        *failed; /* why one does not come up, as the platform says it; NULL: nothing failed */
};

/* The number of replicas that a platform tells as VALUE, ABSENT where it tells none (NULL, null); -1 if it is no number
 * of replicas: what is not understood is not acted upon. */
int64_t group_count(const json_t *value, uint32_t absent);

/* Emits it: ACTIVE when as many are ready as are wanted, UPDATING (pending) on the way, ERROR when one
 * does not come up. Returns what emit() returns. */
int group_emit(const struct vim_host *host, struct vim_call *call, const struct group *group);

/* What one replica has used. Totals only ever grow while it lives; NaN: not known. */
struct group_sample {
    const char *replica; /* the platform's id of it */
    const char *group;
    const char *address; /* where it runs, or NULL */
    int ready;
    double cpu_seconds; /* processor time, total */
    double cpu_cores; /* cores in use now, where the platform tells this and no total */
    double quota_cores; /* may use; 0: no limit */
    double periods,
        throttled_periods; /* of the quota, and those in which it was exhausted: totals */
    double memory_bytes;
    double pressure_cpu_seconds, pressure_memory_seconds,
        pressure_io_seconds; /* PSI "some", totals */
};
int group_sample_emit(const struct vim_host *host, struct vim_call *call,
                      const struct group_sample *sample);
/* All that is measured is NaN. */
void group_sample_init(struct group_sample *sample, const char *replica, const char *group);

/* The size that the spec of an UPDATE asks for, 0..GROUP_REPLICAS_MAX; else VIM_E_INVALID, explained. */
int group_wish(const struct vim_host *host, struct vim_call *call, const struct vim_op *op,
               uint32_t *ret_replicas);

#endif
