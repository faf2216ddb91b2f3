/*
 * base/json.h - JSON: parsing with limits, printing, getters, and looking into text without
 * parsing it.
 *
 * The names json_t, json_object_get() and so on are jansson's. What is here has names that jansson
 * does not use. All objects of jansson's are for one thread at a time.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

static inline void json_cleanup(json_t **json)
{
    json_decref(*json);
}
#define CLEANUP_JSON __attribute__((cleanup(json_cleanup)))

/* --- Parsing and printing -------------------------------------------------------------------- */

struct json_limits {
    size_t size; /* bytes of text at most; 0: JSON_SIZE_DEFAULT */
    unsigned depth; /* nesting at most (1: no nested containers); 0: JSON_DEPTH_DEFAULT */
};
#define JSON_SIZE_DEFAULT ((size_t)1 << 20)
#define JSON_DEPTH_DEFAULT 32u

struct json_fault {
    int line; /* from 1; 0 if the fault has no place (too large) */
    int column; /* from 1 */
    char text[160];
};

/* Parses one JSON text of LENGTH bytes (any value, nothing but whitespace behind it). Duplicate
 * members, invalid UTF-8, U+0000 in strings and what exceeds LIMITS (NULL: defaults) are
 * refused. VIM_E_INVALID and *RET_FAULT (may be NULL) on error. The caller json_decref()s. */
int json_parse(const char *text, size_t length, const struct json_limits *limits, json_t **ret_json,
               struct json_fault *ret_fault);

/* Compact text. malloc'ed, never NULL; members in order of insertion. */
char *json_print(const json_t *json);
void json_print_to(struct text *text, const json_t *json);

/* The same with up to 15 digits per number: of what was measured, the two more that a double needs to come back
 * bit by bit say nothing, and 0.1 is read as 0.10000000000000001. */
void json_print_measured(struct text *text, const json_t *json);

/* Adds STRING as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. NULL adds null. */
void json_add_string(struct text *text, const char *string);
void json_add_string_bytes(struct text *text, const char *string, size_t length);

/* --- Getters: the member of OBJECT, or OTHERWISE when absent or of another type ---------------- */

const char *json_get_text(const json_t *object, const char *member, const char *otherwise);
int64_t json_get_integer(const json_t *object, const char *member, int64_t otherwise);
/* The integer if it is from MINIMUM to MAXIMUM, else 0. */
int64_t json_get_within(const json_t *object, const char *member, int64_t minimum, int64_t maximum);
double json_get_number(const json_t *object, const char *member, double otherwise);
bool json_get_boolean(const json_t *object, const char *member, bool otherwise);

/* Sets a member to a string; removes it when VALUE is NULL. */
void json_set_text(json_t *object, const char *member, const char *value);
void json_set_integer(json_t *object, const char *member, int64_t value);
void json_set_boolean(json_t *object, const char *member, bool value);

/* --- JSON pointers (RFC 6901) ------------------------------------------------------------------ */

/* Adds "/MEMBER", with ~ and / in it as ~0 and ~1. */
void json_pointer_add(struct text *pointer, const char *member);
/* The pointer of MEMBERS, the last of which is NULL; malloc'ed. */
char *json_pointer(const char *first, ...) __attribute__((sentinel));
/* What VALUE has there; NULL if nothing. */
json_t *json_pointer_get(const json_t *value, const char *pointer);

/* --- Looking into text without building a tree --------------------------------------------------
 * For filters and sorting on stored bodies: a scan over the bytes, no allocation. Safe on any
 * input: it never reads outside of LENGTH, and text that is not JSON gives an error or nothing,
 * though what it steps over is checked for structure only. */

/* A value inside a text, with its surrounding whitespace cut off. Its first byte tells the type:
 * { [ " t f n - or a digit. */
struct json_piece {
    const char *start;
    size_t length;
};

/* Finds the first top-level MEMBER (UTF-8, unescaped) of the object that TEXT holds.
 * VIM_E_NOT_FOUND if there is none, VIM_E_INVALID if TEXT is not an object (or broken before the
 * member was found). */
int json_peek(const char *text, size_t length, const char *member, struct json_piece *ret_piece);

/* Walks over the top-level members of an object, or the elements of an array.
 *     struct json_walk walk = json_walk_start(text, length);
 *     while (json_walk_next(&walk, &key, &value) == VIM_OK) ...
 * KEY is the raw key with its quotes (empty in an array; RET_KEY may be NULL). Ends with
 * VIM_E_NOT_FOUND at the end, VIM_E_INVALID at broken text. */
struct json_walk {
    const char *at;
    const char *end;
    char close; /* } or ]; 0 when broken or not a container */
    bool first;
};
struct json_walk json_walk_start(const char *text, size_t length);
int json_walk_next(struct json_walk *walk, struct json_piece *ret_key,
                   struct json_piece *ret_value);

/* Decodes a piece that is a string into malloc'ed UTF-8. VIM_E_INVALID if it is not a well-formed
 * string, or has U+0000 in it. */
int json_piece_text(struct json_piece piece, char **ret_text);

/* Is the piece a string that decodes to TEXT? No allocation. */
bool json_piece_equals(struct json_piece piece, const char *text);

/* A piece that is an integer (or any number). VIM_E_INVALID if it is not, or out of range. */
int json_piece_integer(struct json_piece piece, int64_t *ret_value);
int json_piece_number(struct json_piece piece, double *ret_value);

#endif
