/*
 * base/usage_group.h - what the control group of this process uses of the machine, and what it was kept from using.
 *
 * The group is found through /proc/self/cgroup, version 1 and 2 and both side by side. In a container the own
 * group is what is mounted as the root. What the system does not tell is NaN.
 */
#ifndef BASE_USAGE_GROUP_H
#define BASE_USAGE_GROUP_H

#include <stdbool.h>

enum usage_pressure { PRESSURE_CPU, PRESSURE_MEMORY, PRESSURE_IO, PRESSURE_COUNT };

/* Totals since the group was made. */
struct usage_group {
    double periods; /* of the processor quota that have begun while something ran */
    double throttled; /* of these, in which the quota was exhausted */
    double throttled_seconds;
    double pressure[PRESSURE_COUNT]; /* seconds in which something waited for it (PSI, "some") */
    /* The group has no files of its own (version 1), or is the one of all that runs: it is all the machine's. */
    bool pressure_of_system;
    double memory, memory_limit; /* bytes, now; a limit of infinity is none */
};

void usage_group(struct usage_group *ret_group);

/* For tests: the same with the files below ROOT instead of those of the system. */
void usage_group_at(const char *root, struct usage_group *ret_group);

/* "cpu", "memory", "io". */
const char *usage_pressure_name(enum usage_pressure what);

#endif
