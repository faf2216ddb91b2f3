/*
 * store_groups.h - the checks of stores lie in several files.
 */
#ifndef STORE_GROUPS_H
#define STORE_GROUPS_H

#include "check.h"

/* Those about scan(). */
const struct check *store_scan_checks(size_t *ret_count);

#endif
