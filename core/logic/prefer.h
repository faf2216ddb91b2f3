/*
 * logic/prefer.h - the headers that ask for a manner of answering: Prefer (RFC 7240), Accept, and the
 * entity tags of If-Match and If-None-Match (RFC 9110).
 */
#ifndef VIMD_LOGIC_PREFER_H
#define VIMD_LOGIC_PREFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "logic/logic.h"

/* Longest wait that is granted, in seconds. */
#define PREFER_WAIT_MAX 60

struct preferences {
    bool respond_async;
    bool wait;
    int64_t wait_seconds; /* at most PREFER_WAIT_MAX */
};

/* Reads all Prefer headers; of a preference given twice the first counts, unknown and malformed
 * ones are ignored. */
void prefer_parse(const struct header *headers, size_t count, struct preferences *ret_preferences);

/* Does a list of entity tags ("*", or "a", W/"b" ...) name REVISION? Weak tags count only if WEAK. */
bool etag_matches(const char *list, uint64_t revision, bool weak);

/* May an answer be of MEDIA_TYPE ("application/json"), as all Accept headers together say? Without any,
 * or with none that is well-formed, it may. */
bool accept_allows(const struct header *headers, size_t count, const char *media_type);

/* Is TYPE (a Content-Type header's value, may be NULL) MEDIA_TYPE, whatever its parameters? */
bool content_type_is(const char *type, const char *media_type);

#endif
