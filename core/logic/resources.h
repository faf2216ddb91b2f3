/*
 * logic/resources.h - what the handlers of resources share.
 */
#ifndef VIMD_LOGIC_RESOURCES_H
#define VIMD_LOGIC_RESOURCES_H

#include "logic/call.h"
#include "logic/submit.h"
#include "model/resource.h"

/* Reads the row that the path names. Answers 404 and returns false if there is none that the
 * principal may see. */
bool resources_load(struct call *call, struct row *ret_row);
/* The same of another collection, whose ids need not be UUIDs. */
bool resources_load_row(struct call *call, const char *collection, struct row *ret_row);

/* The same for a change: answers 403 where the principal only may see it, and 412 where If-Match
 * does not hold. */
bool resources_load_to_change(struct call *call, struct resource *ret_resource);

/* The VIM that the `vim` of a create's body names, or the only one, as a reference; and the project that its
 * `project` names, or the principal's. What is wrong goes to FINDINGS, and the VIM is NULL then. */
struct vim_target *resources_choose_vim(struct call *call, const json_t *vim,
                                        struct findings *findings);
const char *resources_choose_project(struct call *call, const json_t *project,
                                     struct findings *findings);

/* The VIM of a resource; answers 503 and returns false if it is not configured. */
bool resources_target(struct call *call, const char *vim, struct vim_target **ret_target);

/* Can its driver do VERB with the call's kind? Answers 501 and returns false if not. WHAT completes
 * "cannot". */
bool resources_can(struct call *call, const struct vim_target *target, uint32_t verb,
                   const char *what);

/* The same for an action on a resource of KIND. */
bool resources_can_act(struct call *call, const struct vim_target *target, const char *kind,
                       const char *action);

/* The same for the volume that SERVER, the spec of one, boots from, if it does. */
bool resources_can_boot(struct call *call, const struct vim_target *target, const json_t *server);

/* Answers 409 and returns false if RESOURCE is not known at its VIM (yet). */
bool resources_exists(struct call *call, const struct resource *resource);

/* Submits VERB for RESOURCE, which is shown as STATUS meanwhile, and answers. SPEC is in vimd's ids. */
void resources_submit(struct call *call, uint32_t verb, struct resource *resource,
                      enum resource_status status, struct task_wish *wish,
                      const struct idempotency *idempotency);

/* --- References (resolve.c) ------------------------------------------------------------------ */

/* Replaces every reference inside SPEC by the id of what it names: an id, or a name that only one
 * resource of the VIM has among those that PROJECT may use. Unknown and ambiguous ones become
 * findings. In a network service references to its own elements stay as they are. VIM_OK, or the store's error. */
int references_resolve(struct call *call, const struct kind *kind, const char *vim,
                       const char *project, json_t *spec, struct findings *findings,
                       struct failure *failure);

/* The same for the arguments of an action on RESOURCE. */
int references_resolve_arguments(struct call *call, const struct resource *resource,
                                 json_t *arguments, struct findings *findings,
                                 struct failure *failure);

/* Answers what VIM said to a read that failed. */
void resources_fail_far(struct call *call, const char *vim, const struct failure *failure);

/* resources_get with ?fresh=true: asks the VIM. Takes ROW over. */
void resources_get_fresh(struct call *call, struct row *row);

#endif
