/*
 * logic/query.h - what a list is asked for: filters, order, page, fields. Knows no store: parses
 * query parameters, and looks at bodies as text.
 */
#ifndef VIMD_LOGIC_QUERY_H
#define VIMD_LOGIC_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json.h"
#include "base/text.h"
#include "logic/logic.h"
#include "model/kinds.h"

#define QUERY_LIMIT_DEFAULT 100
#define QUERY_LIMIT_MAX 1000
#define QUERY_CLAUSES_MAX 32
#define QUERY_VALUES_MAX 64
#define QUERY_PATH_MAX 4
#define QUERY_FIELDS_MAX 64
#define QUERY_KEY_SIZE 256

/* The fields that a list's elements have: vimd's own and the kind's. */
struct vocabulary {
    struct {
        const struct field *fields;
        unsigned count;
    } parts[2];
};
const struct field *vocabulary_find(const struct vocabulary *vocabulary, const char *name);

/* --- Filters --------------------------------------------------------------------------------- */

enum filter_operator {
    FILTER_EQ,
    FILTER_NEQ,
    FILTER_IN,
    FILTER_NIN,
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_CONT,
    FILTER_NCONT,
    FILTER_EXISTS, /* the attribute is there at all: ?label=app */
    FILTER_SINCE /* changed_since: `updated`, else `created`, is not before; or neither is told */
};

struct filter_value {
    char *text;
    bool is_number, is_integer, is_time;
    double number;
    int64_t integer, time;
};

struct filter_clause {
    enum filter_operator op;
    char *path[QUERY_PATH_MAX];
    unsigned path_count;
    struct filter_value *values;
    unsigned value_count;
    bool is_time; /* values and the attribute are points in time */
};

struct filter {
    struct filter_clause clauses[QUERY_CLAUSES_MAX];
    unsigned count; /* all of them have to hold */
};

/* Adds the clauses of EXPRESSION, ETSI SOL013 section 5.2: (op,attribute,value,...);(...). What is
 * wrong with it is added to FINDINGS. */
void filter_parse(const struct vocabulary *vocabulary, const char *expression,
                  struct filter *filter, struct findings *findings);
/* Adds FIELD = VALUE, as a plain query parameter says it. */
void filter_add_equal(const struct field *field, const char *value, struct filter *filter,
                      struct findings *findings);
/* Adds label=NAME or label=NAME:VALUE. */
void filter_add_label(const char *label, struct filter *filter, struct findings *findings);
void filter_add_since(const char *time, struct filter *filter, struct findings *findings);
void filter_free(struct filter *filter);

/* Does the JSON object of LENGTH bytes match? */
bool filter_match(const struct filter *filter, const char *body, size_t length);

/* The names that a plain eq or in clause allows FIELD to have, as a mask over NAMES (NAME_OF gives the
 * name of number 0..31, NULL behind the last): what a store can select by. 0 for any. */
uint32_t filter_mask(const struct filter *filter, const char *field,
                     const char *(*name_of)(unsigned number));

/* --- Queries --------------------------------------------------------------------------------- */

/* What is sorted by: a scalar, as it compares. */
struct sort_key {
    char type; /* in ascending order of type: 'b' boolean, 'n' number, 't' text, '~' absent */
    double number;
    char text[QUERY_KEY_SIZE]; /* longer ones are cut: ties are broken by id */
};

struct list_query {
    struct filter filter;
    uint32_t limit;
    char *sort; /* field, or NULL: by id */
    bool descending;
    char *fields[QUERY_FIELDS_MAX]; /* members to show, or none: all */
    unsigned field_count;
    uint64_t fingerprint; /* of everything but limit, fields and page_token */
    bool has_after; /* a page_token was given: begin behind this */
    char after_id[256];
    struct sort_key after_key;
};

/* Parses the parameters of a list. SCOPE is what is listed ("server"). By-id order serves also for
 * the fields in the word list ID_ORDERED (may be NULL). Everything that is wrong is added to
 * FINDINGS, with the pointer "?NAME". The result is to be freed in any case. */
void list_query_parse(const struct vocabulary *vocabulary, const char *scope,
                      const char *id_ordered, const struct header *query, size_t count,
                      struct list_query *ret_query, struct findings *findings);
void list_query_free(struct list_query *query);

/* The sort key of a body. */
void sort_key_read(const char *field, const char *body, size_t length, struct sort_key *ret_key);
int sort_key_compare(const struct sort_key *a, const struct sort_key *b);

/* The token of the page behind this element; malloc'ed. KEY is NULL when sorted by id. */
char *page_token_make(const struct list_query *query, const char *id, const struct sort_key *key);

/* Checks a list of member names, separated by commas; FIELDS gets malloc'ed names. */
void fields_parse(const struct vocabulary *vocabulary, const char *value,
                  char *fields[QUERY_FIELDS_MAX], unsigned *ret_count, struct findings *findings);
/* Adds the object BODY with only these members to TEXT. */
void fields_project(const char *const fields[], unsigned count, const char *body, size_t length,
                    struct text *text);

#endif
