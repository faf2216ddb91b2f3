/*
 * base/usage.h - what this process uses of the machine.
 */
#ifndef BASE_USAGE_H
#define BASE_USAGE_H

#include <stdint.h>

/* Processor time used by all threads since the start of the process, in microseconds. */
int64_t usage_cpu_us(void);

/* Bytes of memory that are resident; 0 if the system does not tell. */
int64_t usage_memory(void);

/* Processors that the process may use: those of its affinity, or less where the quota of its control
 * group (version 1 or 2; of its own group, not of those above) allows less. */
double usage_cpu_limit(void);

/* For tests: the same with the files below ROOT instead of those of the system ("ROOT/proc/self/cgroup",
 * "ROOT/sys/fs/cgroup/..."). */
double usage_cpu_limit_at(const char *root);

#endif
