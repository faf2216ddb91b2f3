/*
 * model/drift.h - what was changed outside of vimd, on resources that are its own: made by it, or adopted.
 *
 * Compared are the fields that an update may change, as they are in the row and as the far side shows them now, but
 * not those that refer to other resources (which get other ids when they become known), nor what the far side does
 * not show. What was there first is what is wanted; it stays so until the far side shows it again, an update through
 * vimd sets the field, or somebody accepts what is there. In the row:
 *     "drift":{"since":TIME,"fields":{"mtu":{"desired":1450,"seen":9000}}}
 */
#ifndef VIMD_MODEL_DRIFT_H
#define VIMD_MODEL_DRIFT_H

#include <stdbool.h>
#include <stdint.h>
#include "model/resource.h"

/* Is it one that vimd has made, or adopted? */
bool resource_is_managed(const struct resource *resource);

/* RESOURCE has been merged with what the far side shows; before it had OLD_NAME and OLD_BODY. */
void drift_look(struct resource *resource, const char *old_name, const json_t *old_body,
                int64_t now);

/* The members of SPEC (JSON text of an object) are wanted as they are from now on. */
void drift_settle(struct resource *resource, const char *spec);

/* How many fields differ. */
size_t drift_count(const struct resource *resource);
/* {"FIELD": desired, ...}: a new reference. */
json_t *drift_desired(const struct resource *resource);

#endif
