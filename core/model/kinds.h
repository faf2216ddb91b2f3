/*
 * model/kinds.h - the resource vocabulary of docs/resources.md as tables.
 *
 * One table serves to check requests, to make /openapi.json, to translate references between
 * vimd's ids and the far side's, and to hold drivers to the vocabulary (vim-plugin-check).
 */
#ifndef VIMD_MODEL_KINDS_H
#define VIMD_MODEL_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

enum field_type {
    FIELD_TEXT, /* minimum..maximum: length in characters (code points) */
    FIELD_INTEGER, /* minimum..maximum */
    FIELD_BOOLEAN,
    FIELD_TIME, /* RFC 3339, UTC */
    FIELD_REFERENCE, /* id of a resource of kind `reference` */
    FIELD_CHOICE, /* one of `choices` */
    FIELD_ADDRESS, /* IPv4 or IPv6 address */
    FIELD_CIDR, /* network with host bits zero */
    FIELD_MAC,
    FIELD_BASE64, /* maximum: length of the encoded text */
    FIELD_TEXTS, /* object of texts; maximum: number of members */
    FIELD_LIST, /* of one `fields` element (unnamed); maximum: number of elements */
    FIELD_OBJECT, /* of `fields` */
    FIELD_MAP /* object of named elements: each has the fields that a create of the kind `reference`
                 takes, but for the words of `without`, and `fields` besides; its `name` may be left
                 out. maximum: number of members */
};

enum field_flag {
    FIELD_CREATE = 1u << 0,
    FIELD_UPDATE = 1u << 1,
    FIELD_REQUIRED = 1u << 2, /* at create; inside an object, and of the actions that take an
                                 argument: always */
    FIELD_NULLABLE = 1u << 3,
    FIELD_HIDDEN = 1u << 4 /* taken at create, never shown (user_data) */
};

struct field {
    const char *name; /* NULL for the element of a list */
    enum field_type type;
    unsigned flags; /* enum field_flag; none: only read */
    int64_t minimum, maximum;
    const char *choices; /* words separated by spaces */
    const char *reference; /* kind */
    const struct field *fields;
    unsigned field_count;
    const char *help; /* one sentence, for openapi */
    const char *default_value; /* for openapi; NULL: none */
    const char *actions; /* of an action's argument: the actions that take it, words separated by
                            spaces; NULL: all */
    const char *without; /* of FIELD_MAP: fields of the kind that its elements have not, words */
    const char *unless; /* of one with FIELD_REQUIRED: not where this field is; or NULL */
};

struct kind {
    const char *name; /* "security-group" */
    const char *plural; /* path segment: "security-groups" */
    const char *etsi; /* the name that ETSI NFV-IFA uses, or NULL */
    const char *help;
    const struct field *fields;
    unsigned field_count;
    const char *const *actions; /* NULL-terminated names; NULL if none */
    const struct field *action_fields; /* arguments that actions take ("type" of reboot), or NULL */
    unsigned action_field_count;
};

/* All kinds, in a stable order, mostly parents before what refers to them. */
const struct kind *kinds_all(size_t *ret_count);

/* The kind that is made of the others: a network service. Not among kinds_all(), for no driver knows
 * it; kind_by_name() and kind_by_plural() do. */
const struct kind *kinds_service(void);

/* By name or by plural; NULL if unknown. */
const struct kind *kind_by_name(const char *name);
const struct kind *kind_by_plural(const char *plural);

/* What a VIM tells of itself, or gives on demand: quota, zone, host, console. Asked for, shown and
 * forgotten: no resources, so the functions above do not know them. */
const struct kind *views_all(size_t *ret_count);
const struct kind *view_by_name(const char *name); /* NULL if unknown */

/* The fields that vimd adds to every resource (id, kind, vim, ..., labels): read-only but for
 * `vim` and `labels`, which a request may carry. */
const struct field *kinds_added_fields(unsigned *ret_count);

/* May the elements of a FIELD_MAP have this field of the kind that they are of? */
bool field_map_takes(const struct field *map, const struct field *field);
/* Is TEXT a name that an element of a FIELD_MAP may have: 1 to 40 letters, digits, - and _, the first
 * one a letter or a digit? */
bool field_map_name(const char *text);

/* The element of FIELDS with that name, or NULL. */
const struct field *field_by_name(const struct field *fields, unsigned count, const char *name);

/* Does an object with MEMBERS lack this field, which it has to have? */
bool field_is_missing(const struct field *field, const json_t *members);

/* Is it shown nowhere, not even as a part of what a network service is described by? What is only not read back
 * (a server's affinity_group) is no secret. */
bool field_is_secret(const struct field *field);

/* Names of the fields that carry one of FLAGS (0: all), separated by spaces; malloc'ed. For "did
 * you mean". */
char *field_names(const struct field *fields, unsigned count, unsigned flags);

/* A finding of a check: where and what. */
struct finding {
    char pointer[256]; /* JSON pointer, RFC 6901 */
    char detail[256];
    /* Of something that does not suffice: its name, or NULL; how much is needed, and left. */
    const char *amount;
    int64_t needed, left;
};

struct findings {
    struct finding *items;
    size_t count, capacity; /* stops growing at 100 */
};

void findings_add(struct findings *findings, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for something that does not suffice; AMOUNT has to be static. */
void findings_add_amount(struct findings *findings, const char *pointer, const char *amount,
                         int64_t needed, int64_t left, const char *detail);
void findings_free(struct findings *findings);

/* Checks a `labels` object: at most 64, keys of 1..63 letters, digits and -_./ , values texts of at
 * most 255 characters; with NULLS a value may be null (merge patch: takes the label away), or all of
 * it (takes all away). */
void labels_check(const json_t *labels, bool nulls, struct findings *findings);

/* Checks OBJECT against FIELDS for a create (all that carry FIELD_CREATE, required ones present)
 * or an update (FIELD_UPDATE). Adds one finding per problem: unknown fields (with the nearest
 * known name), wrong types, lengths, ranges, formats, things that exclude each other. */
void kind_check_create(const struct kind *kind, const json_t *object, struct findings *findings);
void kind_check_update(const struct kind *kind, const json_t *object, struct findings *findings);
void kind_check_action(const struct kind *kind, const char *action, const json_t *object,
                       struct findings *findings);

/* Checks what a driver emitted: only known fields, right types. */
void kind_check_body(const struct kind *kind, const json_t *object, struct findings *findings);

/* Calls EACH for every reference inside OBJECT, at any depth: REFERENCED kind and the value, which
 * EACH may replace by storing a new text in *RET_VALUE (malloc, taken over). Returns the first
 * nonzero result of EACH, or 0. POINTER is where it stands. */
typedef int (*kind_reference_fn)(void *argument, const char *referenced, const char *pointer,
                                 const char *value, char **ret_value);
int kind_each_reference(const struct kind *kind, json_t *object, kind_reference_fn each,
                        void *argument);

/* The same for the arguments of an action. */
int kind_each_argument_reference(const struct kind *kind, json_t *arguments, kind_reference_fn each,
                                 void *argument);

#endif
