/*
 * cinder.h - between cinder.c and cinder_action.c.
 */
#ifndef OPENSTACK_CINDER_H
#define OPENSTACK_CINDER_H

#include "once.h"

/* Ends a step that waits for a volume or a snapshot. */
int cinder_await(struct os_call *c, const struct os_kind *kind, const char *id);

/* One step of an action on a volume. */
int cinder_action(struct os_call *c, const struct vim_op *op, const json_t *spec);

#endif
