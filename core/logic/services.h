/*
 * logic/services.h - what the handlers of network services share.
 */
#ifndef VIMD_LOGIC_SERVICES_H
#define VIMD_LOGIC_SERVICES_H

#include "logic/call.h"
#include "logic/submit.h"
#include "model/node.h"
#include "model/resource.h"
#include "model/service.h"

/* A description under examination. */
struct service_check {
    struct call *call;
    json_t *description; /* with ids for names */
    struct service_plan plan;
    struct findings findings;
};
void service_check_clear(struct service_check *check);

/* Everything that can be wrong with check->description; makes the plan. PREFIX: what the names of its
 * resources begin with. False if the call was answered. */
bool service_check_description(struct service_check *check, struct vim_target *target,
                               const char *project, const char *prefix);
/* Can what OLD describes become what was checked? Adds findings. */
void service_check_changes(struct service_check *check, const char *prefix, const json_t *old);
/* Answers 422 and returns false if there are findings. */
bool service_check_passed(struct service_check *check);

/* 200: what a create or an update would do. */
void service_send_plan(struct service_check *check, const char *vim, const char *project);

/* The service's ROW with its nodes, as GET shows it, malloc'ed; and an entity tag that changes whenever that
 * does. */
int service_render(struct logic *logic, const struct row *row, char **ret_body, size_t *ret_length,
                   uint64_t *ret_tag, struct failure *failure);

#endif
