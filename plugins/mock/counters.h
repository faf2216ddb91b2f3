/*
 * Counts of calls and faults in a file that is always readable JSON:
 *   {"calls": {"server": {"list": 12, "get": 3, ...}, ...}, "faults": {"lost": 1, ...}}
 * Numbers are padded with blanks to a fixed width, so that one more is one small write in place.
 *
 * Threads and processes: the caller holds the journal's lock, except for counters_open().
 */
#ifndef MOCK_COUNTERS_H
#define MOCK_COUNTERS_H

#include "chance.h"

#include <stdint.h>

enum call {
    CALL_LIST, /* one page of a whole list, or one look-up by tag */
    CALL_CHANGES, /* one page of what changed since */
    CALL_GET,
    CALL_CREATE,
    CALL_UPDATE,
    CALL_DELETE,
    CALL_ACTION,
    CALL_UPLOAD,
    CALL_COUNT
};

/* The call's word in the counters, in fault rules and in metrics: "list", "create", ... */
const char *call_name(enum call call);

struct counters;

/* Opens PATH; makes it, with all counts 0, if it does not exist or holds something else. KINDS are
 * KIND_COUNT names that stay valid. Returns 0, or -1 with errno set. */
int counters_open(const char *path, const char *const *kinds, unsigned kind_count,
                  struct counters **ret_counters);
void counters_close(struct counters *counters);

/* Adds one and returns the new count; 0 if the file cannot be read or written. */
uint64_t counters_call(struct counters *counters, unsigned kind, enum call call);
uint64_t counters_fault(struct counters *counters, enum fault fault);

#endif
