/*
 * logic/services.h - what the handlers of network services share.
 */
#ifndef VIMD_LOGIC_SERVICES_H
#define VIMD_LOGIC_SERVICES_H

#include "logic/call.h"
#include "logic/room.h"
#include "logic/submit.h"
#include "model/node.h"
#include "model/resource.h"
#include "model/service.h"

/* A description under examination. */
struct service_check {
    struct call *call;
    json_t *description; /* with ids for names */
    struct service_plan plan;
    struct service_plan before; /* of an update: what there is */
    bool is_update;
    struct findings findings;
    struct room room;
};
void service_check_clear(struct service_check *check);

/* Everything that can be wrong with check->description; makes the plan. PREFIX: what the names of its
 * resources begin with. False if the call was answered. */
bool service_check_description(struct service_check *check, struct vim_target *target,
                               const char *project, const char *prefix);
/* Can what OLD describes become what was checked? Adds findings. */
void service_check_changes(struct service_check *check, const char *prefix, const json_t *old);
/* Answers 422, or 409 if room is all that is missing, and returns false if there are findings. */
bool service_check_passed(struct service_check *check);

/* 200: what a create or an update would do. */
void service_send_plan(struct service_check *check, const char *vim, const char *project);

/* Submits VERB: the service shall become what DESCRIPTION says; NULL: its description stays. */
void service_submit(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                    json_t *arguments, struct service_spec *spec, const json_t *description,
                    const struct idempotency *idempotency);
/* The same for a change to DESCRIPTION, which is checked first, against the VIM as well; or, with DRY_RUN, answers
 * what would be done. RESOURCE, SPEC and DESCRIPTION are taken over; ACTION is static, or NULL. */
void service_change(struct call *call, uint32_t verb, const char *action, struct resource *resource,
                    struct service_spec *spec, json_t *description, bool dry_run,
                    const struct idempotency *idempotency);

/* The service's ROW with its nodes, as GET shows it, malloc'ed; and an entity tag that changes whenever that
 * does. */
int service_render(struct logic *logic, const struct row *row, char **ret_body, size_t *ret_length,
                   uint64_t *ret_tag, struct failure *failure);

#endif
