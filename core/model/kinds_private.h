/*
 * model/kinds_private.h - between the files of kinds: places in documents, what a value has to be by itself, network
 * notations, and what fields demand of one another.
 */
#ifndef VIMD_MODEL_KINDS_PRIVATE_H
#define VIMD_MODEL_KINDS_PRIVATE_H

#include <stdbool.h>
#include "base/json.h"
#include "base/text.h"
#include "model/kinds.h"

/* A place inside a document, grown and cut back while the check walks. */
struct place {
    struct text pointer;
};

static inline size_t place_enter(struct place *place, const char *member)
{
    size_t before = place->pointer.length;
    json_pointer_add(&place->pointer, member);
    return before;
}

static inline size_t place_enter_index(struct place *place, size_t index)
{
    size_t before = place->pointer.length;
    text_printf(&place->pointer, "/%zu", index);
    return before;
}

static inline const char *place_get(const struct place *place)
{
    return text_get(&place->pointer);
}

/* A document that is being checked, and where in it. */
struct check {
    struct place place;
    struct findings *findings;
    bool body; /* a driver's: bounds are the far side's business */
};

/* Adds a finding at the present place. */
#define ADD(check, ...) findings_add((check)->findings, place_get(&(check)->place), __VA_ARGS__)

/* --- kinds_values.c ------------------------------------------------------------------------------ */

/* Is the value of the field's type? If not, that is a finding. */
bool check_type(struct check *check, const struct field *field, const json_t *value);
/* The bounds, choices and form of a value of the right type that has no fields or elements inside. */
void check_plain(struct check *check, const struct field *field, const json_t *value);

/* --- Network notations ---------------------------------------------------------------------------- */

bool network_is_address(const char *text);
/* Is it a network whose host bits are zero? */
bool network_is_cidr(const char *text);
/* Is it a network but for its host bits? */
bool network_has_host_bits(const char *text);
bool network_is_mac(const char *text);
/* Does the address lie in the network? Have the two networks addresses in common? False where one of
 * them is not well-formed. */
bool network_cidr_holds(const char *cidr, const char *address);
bool network_cidrs_overlap(const char *a, const char *b);

/* Adds a finding for every two fields that exclude or contradict each other; each is right by
 * itself. */
void kind_check_together(const struct kind *kind, const json_t *object, bool create,
                         struct findings *findings);
void kind_check_arguments_together(const struct kind *kind, const json_t *arguments,
                                   struct findings *findings);

#endif
