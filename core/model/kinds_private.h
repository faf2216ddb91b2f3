/*
 * model/kinds_private.h - between the files of kinds: network notations, and what fields demand
 * of one another.
 */
#ifndef VIMD_MODEL_KINDS_PRIVATE_H
#define VIMD_MODEL_KINDS_PRIVATE_H

#include <stdbool.h>
#include "model/kinds.h"

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
