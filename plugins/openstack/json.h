/*
 * json.h - reading and writing JSON with limits, and the cleanup helpers of this plugin.
 *
 * Readers never fail on a value of another type than expected: they answer as if it were absent.
 * All functions may be called from any thread, on documents that no other thread changes.
 */
#ifndef OPENSTACK_JSON_H
#define OPENSTACK_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <jansson.h>

/* Deeper documents are refused: the deepest that a service sends is below ten. */
#define OS_JSON_DEPTH 64

static inline void os_free_text(char **text)
{
    free(*text);
}

static inline void os_decref(json_t **json)
{
    json_decref(*json);
}

#define OS_TEXT __attribute__((cleanup(os_free_text))) char *
#define OS_JSON __attribute__((cleanup(os_decref))) json_t *

/* Parses LENGTH bytes. Returns a new reference, or NULL if it is no JSON, deeper than
 * OS_JSON_DEPTH, or names a key twice. A number too large to hold becomes null; a NUL or half a
 * surrogate pair becomes U+FFFD. */
json_t *os_json_parse(const char *text, size_t length);

/* The text at KEY of OBJECT, or NULL. Lives as long as the object. OBJECT may be NULL. */
const char *os_json_text(const json_t *object, const char *key);

/* The integer at KEY, or OTHERWISE. */
int64_t os_json_integer(const json_t *object, const char *key, int64_t otherwise);

/* True if KEY is there and true. */
int os_json_true(const json_t *object, const char *key);

/* Copies FROM's FROM_KEY to TO's TO_KEY if it is there and of TYPE (JSON_TRUE stands for both
 * booleans). */
void os_json_copy(json_t *to, const char *to_key, const json_t *from, const char *from_key,
                  json_type type);

/* Like os_json_copy() for a point in time, which becomes RFC 3339 in whole seconds of UTC: services
 * write it with and without a fraction and the Z. */
void os_json_copy_time(json_t *to, const char *to_key, const json_t *from, const char *from_key);

/* Compact text of a document, to be freed; NULL when memory is short. */
char *os_json_dump(const json_t *json);

/* A printf into new memory, to be freed; NULL when memory is short. */
char *os_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* TEXT with everything but RFC 3986's unreserved characters percent-encoded, to be freed; NULL
 * when memory is short. */
char *os_escape(const char *text);

/* Milliseconds since 1970 of "2026-11-23T02:21:37[.000000][Z]", read as UTC; 0 if it is not that. */
int64_t os_time_parse(const char *text);

/* True if TEXT has the form of a UUID in lower case with hyphens. */
int os_is_uuid(const char *text);

#endif
