/*
 * driver_groups.h - what the files of driver checks share.
 */
#ifndef DRIVER_GROUPS_H
#define DRIVER_GROUPS_H

#include <stdint.h>
#include "check.h"

/* A check of one kind of resource. */
struct kind_check {
    uint32_t verbs; /* needs all of them */
    bool sample; /* needs a sample */
    const char *name;
    check_fn function; /* finds its kind in run->trait */
    const char *kind; /* the only one that it is for, or NULL */
};

/* Runs the checks for every kind of the driver under test, on an instance that is open. */
void run_kind_checks(struct run *run, const struct kind_check *checks, size_t count);

#endif
