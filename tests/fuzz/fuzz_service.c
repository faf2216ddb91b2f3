/* Descriptions of network services: checked against their table and made a plan of. The input is one
 * description, or a list of two: what a service is, and what it is to become. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/text.h"
#include "model/node.h"
#include "model/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What needs something comes behind it and on a higher level. */
static void check_order(const struct service_plan *plan)
{
    uint32_t *place = calloc(plan->count + 1, sizeof(uint32_t));
    must(place != NULL);
    for (uint32_t i = 0; i < plan->count; i++) {
        place[plan->order[i]] = i + 1;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[i];
        must(place[i] > 0 && node->level < plan->depth);
        for (uint32_t n = 0; n < node->need_count; n++) {
            must(place[node->needs[n]] < place[i]);
            must(plan->nodes[node->needs[n]].level < node->level);
        }
    }
    free(place);
}

/* Every node is one that its kind takes; its references lead to nodes that it needs. */
static int on_reference(void *argument, const char *pointer, const char *name, const char *field,
                        char **ret_text)
{
    const struct service_plan *plan = argument;
    (void)pointer;
    must(field && service_plan_find(plan, name) != UINT32_MAX);
    *ret_text = text_duplicate("00000000-0000-4000-8000-000000000000");
    return 0;
}

static void check_nodes(const struct service_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[i];
        must(service_plan_find(plan, node->name) == i && node->kind && node->pointer[0] == '/');
        must(strlen(node->name) < SERVICE_NODE_NAME_SIZE);
        json_t *filled = json_deep_copy(node->spec);
        must(service_each_reference(filled, true, on_reference, (void *)(uintptr_t)plan) == 0);
        json_decref(filled);
        json_decref(node_created(node->kind, node->spec));
        json_decref(node_bare(node->kind, node->spec));
    }
}

/* The steps from what a node is to what it is to be come to an end. */
static void change(const struct kind *kind, const json_t *from, const json_t *to)
{
    char *problem = node_change_problem(kind, from, to);
    json_t *have = json_deep_copy(from);
    for (unsigned steps = 0; !problem; steps++) {
        struct node_change step;
        node_change_find(kind, have, to, &step);
        must(!step.problem && steps < 1000);
        bool ends = step.verb == 0;
        if (!ends) {
            json_decref(have);
            have = json_incref(step.result);
        }
        node_change_free(&step);
        if (ends) {
            break;
        }
    }
    json_decref(have);
    free(problem);
}

static void compare(const struct service_plan *from, const struct service_plan *to)
{
    for (uint32_t i = 0; i < to->count; i++) {
        uint32_t number = service_plan_find(from, to->nodes[i].name);
        if (number != UINT32_MAX && from->nodes[number].kind == to->nodes[i].kind) {
            change(to->nodes[i].kind, from->nodes[number].spec, to->nodes[i].spec);
        }
    }
}

/* Makes the plan as a request does, whatever the table says; false if the description is refused. */
static bool plan(const json_t *description, struct service_plan *ret_plan)
{
    struct findings findings = {0};
    kind_check_create(kinds_service(), description, &findings);
    service_plan_make("s", description, &findings, ret_plan);
    bool fine = findings.count == 0;
    findings_free(&findings);
    if (fine) {
        check_order(ret_plan);
        check_nodes(ret_plan);
    }
    return fine;
}

static void use(json_t *now, json_t *next)
{
    struct service_plan one, same, other;
    bool fine = plan(now, &one);
    if (fine) {
        /* Who plans it again finds what was planned before. */
        must(plan(now, &same) && one.count == same.count);
        for (uint32_t i = 0; i < one.count; i++) {
            must(strcmp(one.nodes[i].name, same.nodes[i].name) == 0);
            must(json_equal(one.nodes[i].spec, same.nodes[i].spec));
        }
        service_plan_free(&same);
    }
    if (next) {
        if (plan(next, &other) && fine) {
            compare(&one, &other);
        }
        service_plan_free(&other);
    }
    service_plan_free(&one);
    json_decref(service_shown(now));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = NULL;
    if (json_parse((const char *)data, size, NULL, &json, NULL) != 0) {
        return 0;
    }
    if (json_is_array(json) && json_array_size(json) == 2) {
        use(json_array_get(json, 0), json_array_get(json, 1));
    } else {
        use(json, NULL);
    }
    json_decref(json);
    return 0;
}
