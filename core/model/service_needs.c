/* What the nodes of a network service need of one another, which their references tell; and the order that follows. */
#include "model/service_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

/* --- References ------------------------------------------------------------------------------ */

bool service_is_reference(const char *text)
{
    return strncmp(text, "${", 2) == 0;
}

struct walk {
    bool final;
    service_reference_fn each;
    void *argument;
    struct text pointer;
};

/* One reference, which begins at START; *RET_END is behind it. */
static int replace_one(struct walk *walk, const char *start, struct text *ret_text,
                       const char **ret_end)
{
    size_t length = strcspn(start + 2, "}");
    CLEANUP_FREE char *inside = text_duplicate_bytes(start + 2, length);
    CLEANUP_FREE char *value = NULL;
    char *dot = strrchr(inside, '.');
    bool fine = start[2 + length] == '}' && dot && dot > inside && dot[1] &&
                length < SERVICE_NODE_NAME_SIZE;
    if (fine) {
        *dot = '\0';
    }
    int code =
        walk->each(walk->argument, text_get(&walk->pointer), inside, fine ? dot + 1 : NULL, &value);
    text_add(ret_text, value);
    *ret_end = start + 2 + length + (start[2 + length] == '}');
    return code;
}

static int replace_in(struct walk *walk, json_t *value)
{
    CLEANUP_TEXT struct text replaced = {0};
    CLEANUP_FREE char *copy = text_duplicate(json_string_value(value));
    const char *at = copy;
    int code = 0;
    for (const char *start; code == 0 && (start = strstr(at, "${")) != NULL;) {
        if (start > at && start[-1] == '$') {
            text_add_bytes(&replaced, at, (size_t)(start - at) - walk->final);
            text_add(&replaced, "${");
            at = start + 2;
        } else {
            text_add_bytes(&replaced, at, (size_t)(start - at));
            code = replace_one(walk, start, &replaced, &at);
        }
    }
    text_add(&replaced, at);
    if (code == 0 && at != copy) {
        json_string_set(value, text_get(&replaced));
    }
    return code;
}

static int walk_value(struct walk *walk, json_t *value)
{
    const char *member;
    json_t *inner;
    size_t i;
    int code = 0;
    size_t before = walk->pointer.length;
    if (json_is_string(value)) {
        return replace_in(walk, value);
    }
    if (json_is_object(value)) {
        json_object_foreach(value, member, inner)
        {
            json_pointer_add(&walk->pointer, member);
            code = code ? code : walk_value(walk, inner);
            text_truncate(&walk->pointer, before);
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, inner)
        {
            text_printf(&walk->pointer, "/%zu", i);
            code = code ? code : walk_value(walk, inner);
            text_truncate(&walk->pointer, before);
        }
    }
    return code;
}

int service_each_reference(json_t *value, bool final, service_reference_fn each, void *argument)
{
    struct walk walk = {.final = final, .each = each, .argument = argument};
    int code = walk_value(&walk, value);
    text_free(&walk.pointer);
    return code;
}

/* --- Needs ----------------------------------------------------------------------------------- */

struct resolving {
    struct making *making;
    struct service_node *node;
};

/* KNOWN: how many of its needs may be this one already. */
static void need_beside(struct service_node *node, uint32_t number, uint32_t known)
{
    for (uint32_t i = 0; i < known; i++) {
        if (node->needs[i] == number) {
            return;
        }
    }
    node->needs = memory_resize(node->needs, node->need_count + 1, sizeof(uint32_t));
    node->needs[node->need_count++] = number;
}

static void need(struct service_node *node, uint32_t number)
{
    need_beside(node, number, node->need_count);
}

/* Whatever takes an address in a network needs its subnets, which stand behind it. */
static void need_subnets(struct making *making, struct service_node *node, uint32_t network)
{
    const struct service_plan *plan = making->plan;
    const char *name = plan->nodes[network].name;
    size_t length = strlen(name);
    if (strcmp(node->kind->name, "port") != 0 && strcmp(node->kind->name, "server") != 0) {
        return;
    }
    for (uint32_t i = network + 1; i < plan->count; i++) {
        if (strncmp(plan->nodes[i].name, name, length) != 0 ||
            strncmp(plan->nodes[i].name + length, ".subnet.", 8) != 0) {
            break;
        }
        need(node, i);
    }
}

/* A floating IP reaches a port by way of a router; which one, the VIM finds out. */
static void need_routers(struct making *making, struct service_node *node)
{
    if (strcmp(node->kind->name, "floating-ip") != 0 || !json_object_get(node->spec, "port")) {
        return;
    }
    /* Thousands of addresses may need a thousand routers: those are not compared with each other. */
    uint32_t known = node->need_count;
    for (uint32_t i = 0; i < making->routers.count; i++) {
        need_beside(node, making->routers.items[i], known);
    }
}

/* "vnf.upf.cp.n3" means the first instance's: "vnf.upf.0.cp.n3". */
static char *full_name(const char *name)
{
    if (!text_starts_with(name, "vnf.")) {
        return text_duplicate(name);
    }
    const char *end = strchr(name + 4, '.');
    if (end && strspn(end + 1, "0123456789") > 0) {
        return text_duplicate(name);
    }
    int length = end ? (int)(end - name) : (int)strlen(name);
    return text_format("%.*s.0%s", length, name, end ? end : "");
}

/* Where in the description it stands what is at POINTER in the spec: the networks of a server are the
 * connection points of its VNF, in their order. */
static char *described_at(const struct resolving *resolving, const char *pointer)
{
    const struct service_node *node = resolving->node;
    const json_t *description = resolving->making->description;
    unsigned index;
    if (strcmp(node->kind->name, "server") != 0 || sscanf(pointer, "/networks/%u", &index) != 1) {
        char *same = text_format("%s%s", node->pointer, pointer);
        if (!json_pointer_get(description, same)) {
            /* What was put into an object on the way: a volume's device into its attach. */
            free(same);
            same = text_format("%s%s", node->pointer, strrchr(pointer, '/'));
        }
        return same;
    }
    const json_t *vnf = json_pointer_get(description, node->pointer);
    const char *point;
    json_t *element;
    json_object_foreach(json_object_get(vnf, "connection_points"), point, element)
    {
        if (index-- == 0) {
            CLEANUP_FREE char *points = json_pointer("connection_points", point, NULL);
            return text_format("%s%s%s", node->pointer, points, strrchr(pointer, '/'));
        }
    }
    return text_duplicate(node->pointer);
}

/* Adds a finding for what stands AT in the description. What we have put in ourselves stands nowhere, and is wrong only
 * where something else is, of which was told. */
static void tell(const struct making *making, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(const struct making *making, const char *at, const char *format, ...)
{
    if (json_pointer_get(making->description, at)) {
        CLEANUP_TEXT struct text detail = {0};
        va_list arguments;
        va_start(arguments, format);
        text_vprintf(&detail, format, arguments);
        va_end(arguments);
        findings_add(making->findings, at, "%s", text_get(&detail));
    }
}

/* Of what kind's member may a text have the value? */
static bool is_value_of(const struct kind *kind, const char *name)
{
    const struct field *field = field_by_name(kind->fields, kind->field_count, name);
    bool has_addresses = strcmp(kind->name, "port") == 0 || strcmp(kind->name, "server") == 0;
    return strcmp(name, "id") == 0 || (has_addresses && strcmp(name, "address") == 0) ||
           (field && field->type != FIELD_LIST && field->type != FIELD_OBJECT &&
            field->type != FIELD_TEXTS && !(field->flags & FIELD_HIDDEN));
}

/* The number of the node that ${NAME.FIELD}, which stands AT, refers to; UINT32_MAX, and told of, if there is none. */
static uint32_t find_referenced(const struct making *making, const char *at, const char *name,
                                const char *full, const char *field)
{
    uint32_t number = field ? service_plan_find(making->plan, full) : UINT32_MAX;
    if (!field) {
        tell(making, at,
             "${%.60s}: a reference is ${NODE.FIELD} as in ${vl.n3.id}; $${ is ${ itself", name);
    } else if (number == UINT32_MAX) {
        tell(making, at, "${%.60s.%.40s}: the service has no such element", name, field);
    } else if (!is_value_of(making->plan->nodes[number].kind, field)) {
        tell(making, at, "${%.60s.%.40s}: a %s has no member of that name that is a single value",
             name, field, making->plan->nodes[number].kind->name);
        number = UINT32_MAX;
    }
    return number;
}

static int take_reference(void *argument, const char *pointer, const char *name, const char *field,
                          char **ret_text)
{
    struct resolving *resolving = argument;
    struct making *making = resolving->making;
    CLEANUP_FREE char *full = full_name(name);
    CLEANUP_FREE char *at = described_at(resolving, pointer);
    uint32_t number = find_referenced(making, at, name, full, field);
    if (number != UINT32_MAX) {
        need(resolving->node, number);
        need_subnets(making, resolving->node, number);
    }
    *ret_text = text_format("${%s.%s}", full, field ? field : "");
    return 0;
}

/* A field that is a reference has to refer to a node of its kind, and to nothing but its id. */
static int check_kind(void *argument, const char *referenced, const char *pointer,
                      const char *value, char **ret_value)
{
    struct resolving *resolving = argument;
    struct making *making = resolving->making;
    (void)ret_value;
    if (!service_is_reference(value)) {
        return 0;
    }
    CLEANUP_FREE char *name = text_duplicate(value + 2);
    char *end = strstr(name, ".id}");
    if (end && end[4] == '\0') {
        *end = '\0';
        CLEANUP_FREE char *full = full_name(name);
        uint32_t number = service_plan_find(making->plan, full);
        if (number == UINT32_MAX ||
            strcmp(making->plan->nodes[number].kind->name, referenced) == 0) {
            return 0; /* of what is not there the other check tells */
        }
    }
    CLEANUP_FREE char *at = described_at(resolving, pointer);
    tell(making, at, "must be the id of %s %s, not %.80s",
         strchr("aeiou", referenced[0]) ? "an" : "a", referenced, value);
    return 0;
}

/* Is it an instance of a VNF other than the first, or a part of one? Their faults are the first one's. */
static bool repeats_faults(const char *name)
{
    unsigned instance;
    const char *dot = text_starts_with(name, "vnf.") ? strchr(name + 4, '.') : NULL;
    return dot && sscanf(dot, ".%u", &instance) == 1 && instance > 0;
}

void service_resolve_needs(struct making *making)
{
    struct findings *findings = making->findings;
    for (uint32_t i = 0; i < making->plan->count; i++) {
        struct service_node *node = &making->plan->nodes[i];
        struct resolving resolving = {.making = making, .node = node};
        struct findings again = {0};
        making->findings = repeats_faults(node->name) ? &again : findings;
        kind_each_reference(node->kind, node->spec, check_kind, &resolving);
        (void)service_each_reference(node->spec, false, take_reference, &resolving);
        need_routers(making, node);
        making->findings = findings;
        findings_free(&again);
    }
}

/* --- VNFs without instances -------------------------------------------------------------------- */

struct unused {
    const struct making *making;
    const char *vnf;
    char *pointer; /* of the VNF */
};

static int check_reference(void *argument, const char *pointer, const char *name, const char *field,
                           char **ret_text)
{
    const struct unused *unused = argument;
    CLEANUP_FREE char *full = full_name(name);
    CLEANUP_FREE char *own = text_format("vnf.%s.", unused->vnf);
    CLEANUP_FREE char *at = text_format("%s%s", unused->pointer, pointer);
    if (!field || !text_starts_with(full, own)) {
        (void)find_referenced(unused->making, at, name, full, field);
    }
    *ret_text = text_format("${%s.%s}", name, field ? field : "");
    return 0;
}

void service_check_unused(struct making *making, const char *vnf, const json_t *element)
{
    CLEANUP_JSON json_t *copy = json_deep_copy(element);
    CLEANUP_FREE char *pointer = json_pointer("vnfs", vnf, NULL);
    struct unused unused = {.making = making, .vnf = vnf, .pointer = pointer};
    (void)service_each_reference(copy, false, check_reference, &unused);
}

/* --- Order ----------------------------------------------------------------------------------- */

/* Numbers of those that need each node: users[first[n]] to users[first[n + 1] - 1]. */
static void invert(const struct service_plan *plan, uint32_t **ret_first, uint32_t **ret_users)
{
    uint32_t *first = memory_new_array(plan->count + 2, sizeof(uint32_t));
    for (uint32_t i = 0; i < plan->count; i++) {
        for (uint32_t n = 0; n < plan->nodes[i].need_count; n++) {
            first[plan->nodes[i].needs[n] + 2]++;
        }
    }
    for (uint32_t i = 2; i < plan->count + 2; i++) {
        first[i] += first[i - 1];
    }
    uint32_t *users = memory_new_array(first[plan->count + 1] + 1, sizeof(uint32_t));
    for (uint32_t i = 0; i < plan->count; i++) {
        for (uint32_t n = 0; n < plan->nodes[i].need_count; n++) {
            users[first[plan->nodes[i].needs[n] + 1]++] = i;
        }
    }
    *ret_first = first;
    *ret_users = users;
}

/* Those that could not be ordered and go round: each needs one that could not be ordered either. */
static void tell_cycle(struct making *making, const uint32_t *open)
{
    const struct service_plan *plan = making->plan;
    uint32_t at = 0;
    while (!open[at]) {
        at++;
    }
    /* After as many steps as there are nodes it is on a cycle for sure. */
    CLEANUP_TEXT struct text path = {0};
    uint32_t start = UINT32_MAX;
    for (uint32_t steps = 0; at != start; steps++) {
        if (steps == plan->count) {
            start = at;
        }
        if (steps >= plan->count && path.length < 160) {
            text_printf(&path, "%s needs ", plan->nodes[at].name);
        }
        const struct service_node *node = &plan->nodes[at];
        for (uint32_t n = 0; n < node->need_count; n++) {
            if (open[node->needs[n]]) {
                at = node->needs[n];
                break;
            }
        }
    }
    text_add(&path, plan->nodes[start].name);
    findings_add(making->findings, plan->nodes[start].pointer, "goes round: %s", text_get(&path));
}

void service_put_in_order(struct making *making)
{
    struct service_plan *plan = making->plan;
    CLEANUP_FREE uint32_t *first = NULL;
    CLEANUP_FREE uint32_t *users = NULL;
    CLEANUP_FREE uint32_t *open = memory_new_array(plan->count + 1, sizeof(uint32_t));
    uint32_t begin = 0, end = 0;
    invert(plan, &first, &users);
    plan->order = memory_new_array(plan->count + 1, sizeof(uint32_t));
    for (uint32_t i = 0; i < plan->count; i++) {
        open[i] = plan->nodes[i].need_count;
        if (open[i] == 0) {
            plan->order[end++] = i;
        }
    }
    while (begin < end) {
        uint32_t number = plan->order[begin++];
        uint32_t level = plan->nodes[number].level;
        plan->depth = level + 1 > plan->depth ? level + 1 : plan->depth;
        for (uint32_t u = first[number]; u < first[number + 1]; u++) {
            struct service_node *user = &plan->nodes[users[u]];
            user->level = level + 1 > user->level ? level + 1 : user->level;
            if (--open[users[u]] == 0) {
                plan->order[end++] = users[u];
            }
        }
    }
    if (end < plan->count) {
        tell_cycle(making, open);
    }
}
