/*
 * api/target.h - the target of a request line: "/v1/servers?status=ACTIVE" to path and pairs.
 *
 * Strict, so that nothing ambiguous gets further: well-formed percent escapes, no encoded slash or NUL, no control
 * characters, well-formed UTF-8.
 */
#ifndef VIMD_API_TARGET_H
#define VIMD_API_TARGET_H

#include <stddef.h>
#include "logic/logic.h"

#define TARGET_MAX 8192 /* bytes of a raw target */
#define TARGET_QUERY_MAX 64 /* pairs */

struct target {
    const char *path;
    struct header query[TARGET_QUERY_MAX];
    size_t query_count;
};

/* Where the path begins in RAW, also if that is in the absolute form ("http://host/v1"): RAW itself if there is
 * nothing to leave out. */
char *target_origin(char *raw);

/* Takes RAW, in origin form, apart in place; the result points into it. Returns VIM_E_INVALID and sets *RET_WHY (a
 * literal) if it is not a good target; VIM_E_NOT_FOUND if nothing can have such a path. */
int target_parse(char *raw, struct target *ret_target, const char **ret_why);

#endif
