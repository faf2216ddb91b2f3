/*
 * logic/services_check.c - a network service's description as a whole, before anything is made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/resources.h"
#include "logic/services.h"

void service_check_clear(struct service_check *check)
{
    json_decref(check->description);
    service_plan_free(&check->plan);
    service_plan_free(&check->before);
    findings_free(&check->findings);
    room_clear(&check->room);
}

bool service_check_passed(struct service_check *check)
{
    return room_passed(check->call, &check->findings, "The description is not valid.");
}

static bool can_attach(struct service_check *check, struct vim_target *target,
                       const struct service_node *node)
{
    if (!json_object_get(node->spec, "attach") ||
        (vim_target_has_action(target, node->kind->name, "attach") &&
         vim_target_has_action(target, node->kind->name, "detach"))) {
        return true;
    }
    logic_unsupported(check->call, vim_target_settings(target)->name, "attach and detach a volume");
    return false;
}

/* Can the VIM's driver make all kinds of things that it takes? */
static bool can_be_made(struct service_check *check, struct vim_target *target)
{
    for (uint32_t i = 0; i < check->plan.count; i++) {
        const struct kind *kind = check->plan.nodes[i].kind;
        const struct vim_trait *trait = vim_target_trait(target, kind->name);
        const uint32_t needed = VIM_VERB_CREATE | VIM_VERB_DELETE;
        if (!trait || (trait->verbs & needed) != needed) {
            char what[128];
            snprintf(what, sizeof(what), "create and delete a %s", kind->name);
            logic_unsupported(check->call, vim_target_settings(target)->name, what);
            return false;
        }
        if (!can_attach(check, target, &check->plan.nodes[i]) ||
            !resources_can_boot(check->call, target, check->plan.nodes[i].spec)) {
            return false;
        }
    }
    return true;
}

bool service_check_description(struct service_check *check, struct vim_target *target,
                               const char *project, const char *prefix)
{
    const struct kind *kind = kinds_service();
    struct failure failure = {0};
    kind_check_create(kind, check->description, &check->findings);
    CLEANUP_FREE char *text = json_print(check->description);
    if (strlen(text) > SERVICE_TEXT_MAX) {
        findings_add(&check->findings, "", "is %zu bytes long; at most %u are allowed",
                     strlen(text), SERVICE_TEXT_MAX);
        return service_check_passed(check);
    }
    if (target) {
        int code = references_resolve(check->call, kind, vim_target_settings(target)->name, project,
                                      check->description, &check->findings, &failure);
        if (code != VIM_OK) {
            failure.code = code;
            logic_failure(check->call, &failure, ORIGIN_OWN);
            return false;
        }
    }
    service_plan_make(prefix, check->description, &check->findings, &check->plan);
    return !target || can_be_made(check, target);
}

void service_check_changes(struct service_check *check, const char *prefix, const json_t *old)
{
    const struct service_plan *before = &check->before;
    struct findings unused = {0};
    bool comparable = check->findings.count == 0;
    check->is_update = true;
    service_plan_make(prefix, old, &unused, &check->before);
    findings_free(&unused);
    for (uint32_t i = 0; comparable && i < check->plan.count; i++) {
        const struct service_node *node = &check->plan.nodes[i];
        uint32_t number = service_plan_find(before, node->name);
        CLEANUP_FREE char *problem =
            number == UINT32_MAX
                ? NULL
                : node_change_problem(node->kind, before->nodes[number].spec, node->spec);
        if (problem && strcmp(problem, "networks") == 0) {
            CLEANUP_FREE char *pointer = text_format("%s/connection_points", node->pointer);
            findings_add(&check->findings, pointer,
                         "cannot be changed once the servers are created");
        } else if (problem) {
            CLEANUP_FREE char *pointer = text_format("%s/%s", node->pointer, problem);
            findings_add(&check->findings, pointer,
                         "cannot be changed once it is created; an element of another name can "
                         "take its place");
        }
    }
}

/* --- Dry runs -------------------------------------------------------------------------------- */

static json_t *node_json(const struct service_plan *plan, const struct service_node *node)
{
    json_t *needs = json_array();
    for (uint32_t i = 0; i < node->need_count; i++) {
        json_array_append_new(needs, json_string(plan->nodes[node->needs[i]].name));
    }
    return json_pack("{s:s, s:s, s:i, s:o}", "name", node->name, "kind", node->kind->name, "level",
                     (int)node->level, "needs", needs);
}

void service_send_plan(struct service_check *check, const char *vim, const char *project)
{
    const struct service_plan *plan = &check->plan;
    json_t *nodes = json_array();
    json_t *calls = json_object();
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[plan->order[i]];
        json_array_append_new(nodes, node_json(plan, node));
        json_set_integer(calls, node->kind->name, json_get_integer(calls, node->kind->name, 0) + 1);
    }
    CLEANUP_JSON json_t *spec = service_shown(check->description);
    json_t *verdict = json_pack("{s:b, s:s, s:s, s:s}", "valid", 1, "kind", kinds_service()->name,
                                "vim", vim, "project", project);
    room_tell(&check->room,
              json_pack("[s,s,s,s]", "fields", "references", "addresses", "capabilities"), verdict);
    json_object_set(verdict, "spec", spec);
    json_object_set_new(verdict, "plan",
                        json_pack("{s:i, s:i, s:o, s:o}", "node_count", (int)plan->count, "levels",
                                  (int)plan->depth, "creates", calls, "nodes", nodes));
    logic_send_json(check->call, verdict);
}
