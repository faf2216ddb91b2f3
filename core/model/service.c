#include "model/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

struct service_index {
    uint32_t number;
    UT_hash_handle hh;
    char name[];
};

/* A plan in the making. */
struct making {
    struct service_plan *plan;
    const char *prefix;
    const json_t *description;
    struct findings *findings;
    uint32_t capacity;
    struct {
        uint32_t *items, count;
    } routers; /* numbers of nodes */
    json_t *points; /* connection points that something refers to: "VNF POINT" */
};

/* --- Nodes ----------------------------------------------------------------------------------- */

uint32_t service_plan_find(const struct service_plan *plan, const char *name)
{
    struct service_index *index;
    HASH_FIND_STR(plan->index, name, index);
    return index ? index->number : UINT32_MAX;
}

/* NAME, POINTER (malloc'ed) and SPEC are taken over. NULL if there are too many. */
static struct service_node *add_node(struct making *making, const char *kind, char *name,
                                     char *pointer, json_t *spec)
{
    struct service_plan *plan = making->plan;
    if (plan->count == SERVICE_NODES_MAX) {
        free(name);
        free(pointer);
        json_decref(spec);
        return NULL;
    }
    if (plan->count == making->capacity) {
        making->capacity = making->capacity ? making->capacity * 2 : 64;
        plan->nodes = memory_resize(plan->nodes, making->capacity, sizeof(*plan->nodes));
    }
    struct service_index *index = memory_new(sizeof(*index) + strlen(name) + 1);
    strcpy(index->name, name);
    index->number = plan->count;
    HASH_ADD_STR(plan->index, name, index);
    if (strcmp(kind, "router") == 0) {
        making->routers.items =
            memory_resize(making->routers.items, making->routers.count + 1, sizeof(uint32_t));
        making->routers.items[making->routers.count++] = plan->count;
    }
    struct service_node *node = &plan->nodes[plan->count++];
    *node = (struct service_node){
        .name = name, .kind = kind_by_name(kind), .pointer = pointer, .spec = spec};
    return node;
}

/* A spec begins with the name of the resource. */
static json_t *spec_begin(const json_t *element, const char *without, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static json_t *spec_begin(const json_t *element, const char *without, const char *format, ...)
{
    CLEANUP_TEXT struct text name = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&name, format, arguments);
    va_end(arguments);
    json_t *spec = json_pack("{s:s}", "name", text_get(&name));
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)element, member, value)
    {
        if (!text_has_word(without, member)) {
            json_object_set_new(spec, member, json_deep_copy(value));
        }
    }
    return spec;
}

/* A link's router leads from all its subnets outwards. */
static void add_link_router(struct making *making, const char *link, const json_t *element)
{
    json_t *interfaces = json_array();
    const char *subnet;
    json_t *unused;
    json_object_foreach(json_object_get(element, "subnets"), subnet, unused)
    {
        json_array_append_new(
            interfaces,
            json_pack("{s:o}", "subnet", json_sprintf("${vl.%s.subnet.%s.id}", link, subnet)));
    }
    CLEANUP_FREE char *pointer = text_format("/virtual_links/%s/router", link);
    if (json_array_size(interfaces) == 0) {
        findings_add(making->findings, pointer, "leads nowhere: the virtual link has no subnets");
    }
    json_t *spec =
        spec_begin(json_object_get(element, "router"), NULL, "%s-%s-router", making->prefix, link);
    json_object_set_new(spec, "interfaces", interfaces);
    add_node(making, "router", text_format("vl.%s.router", link), TAKE(pointer), spec);
}

static void add_links(struct making *making)
{
    const char *link_name, *subnet_name;
    json_t *link, *subnet;
    json_object_foreach(json_object_get(making->description, "virtual_links"), link_name, link)
    {
        add_node(making, "network", text_format("vl.%s", link_name),
                 text_format("/virtual_links/%s", link_name),
                 spec_begin(link, "subnets router", "%s-%s", making->prefix, link_name));
        json_object_foreach(json_object_get(link, "subnets"), subnet_name, subnet)
        {
            json_t *spec =
                spec_begin(subnet, NULL, "%s-%s-%s", making->prefix, link_name, subnet_name);
            json_object_set_new(spec, "network", json_sprintf("${vl.%s.id}", link_name));
            add_node(making, "subnet", text_format("vl.%s.subnet.%s", link_name, subnet_name),
                     text_format("/virtual_links/%s/subnets/%s", link_name, subnet_name), spec);
        }
        if (json_object_get(link, "router")) {
            add_link_router(making, link_name, link);
        }
    }
}

/* Sections whose elements are nodes as they are. */
static const struct {
    const char *section, *prefix, *kind;
} plain_sections[] = {
    {"security_groups", "sg", "security-group"},
    {"affinity_groups", "group", "affinity-group"},
    {"routers", "router", "router"},
    {"volumes", "volume", "volume"},
    {"floating_ips", "fip", "floating-ip"},
};

static void add_plain(struct making *making)
{
    for (size_t i = 0; i < sizeof(plain_sections) / sizeof(plain_sections[0]); i++) {
        const char *name;
        json_t *element;
        json_object_foreach(json_object_get(making->description, plain_sections[i].section), name,
                            element)
        {
            add_node(making, plain_sections[i].kind,
                     text_format("%s.%s", plain_sections[i].prefix, name),
                     text_format("/%s/%s", plain_sections[i].section, name),
                     spec_begin(element, NULL, "%s-%s", making->prefix, name));
        }
    }
}

/* --- VNFs and their connection points -------------------------------------------------------- */

/* Notes "VNF POINT" if TEXT, behind "${vnf.", goes on with VNF[.INSTANCE].cp.POINT. */
static void note_point(json_t *points, const char *text)
{
    const char *rest = text + strcspn(text, ".}");
    CLEANUP_FREE char *vnf = text_duplicate_bytes(text, (size_t)(rest - text));
    size_t digits = *rest == '.' ? strspn(rest + 1, "0123456789") : 0;
    rest += digits > 0 && rest[1 + digits] == '.' ? 1 + digits : 0;
    if (text_starts_with(rest, ".cp.")) {
        rest += strlen(".cp.");
        CLEANUP_FREE char *key = text_format("%s %.*s", vnf, (int)strcspn(rest, ".}"), rest);
        json_set_boolean(points, key, true);
    }
}

/* Collects the connection points that texts in VALUE refer to. */
static void collect_points(const json_t *value, json_t *points)
{
    static const char start[] = "${vnf.";
    const char *member;
    json_t *inner;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, member, inner)
        {
            collect_points(inner, points);
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, inner)
        {
            collect_points(inner, points);
        }
    } else if (json_is_string(value)) {
        for (const char *at = strstr(json_string_value(value), start); at; at = strstr(at, start)) {
            at += strlen(start);
            note_point(points, at);
        }
    }
}

/* What a server can make on the way says no more than a network and an address. */
static bool needs_port(const struct making *making, const char *vnf, const char *point,
                       const json_t *element)
{
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)element, member, value)
    {
        if (strcmp(member, "network") != 0 && strcmp(member, "fixed_ip") != 0 &&
            !(strcmp(member, "port") == 0 && !json_is_true(value))) {
            return true;
        }
    }
    const json_t *described = json_object_get(json_object_get(making->description, "vnfs"), vnf);
    json_object_foreach(json_object_get(described, "floating_ips"), member, value)
    {
        if (strcmp(json_get_text(value, "connection_point", ""), point) == 0) {
            return true;
        }
    }
    CLEANUP_FREE char *key = text_format("%s %s", vnf, point);
    return json_object_get(making->points, key) != NULL;
}

static void add_point(struct making *making, const char *vnf, unsigned instance, const char *point,
                      const json_t *element, json_t *networks)
{
    const json_t *address = json_object_get(element, "fixed_ip");
    if (!needs_port(making, vnf, point, element)) {
        json_t *network = json_pack("{s:O}", "network", json_object_get(element, "network"));
        if (address) {
            json_object_set(network, "fixed_ip", (json_t *)address);
        }
        json_array_append_new(networks, network);
        return;
    }
    json_t *spec =
        spec_begin(element, "port fixed_ip", "%s-%s-%u-%s", making->prefix, vnf, instance, point);
    if (address) {
        json_object_set_new(spec, "fixed_ips", json_pack("[{s:O}]", "ip_address", address));
    }
    add_node(making, "port", text_format("vnf.%s.%u.cp.%s", vnf, instance, point),
             text_format("/vnfs/%s/connection_points/%s", vnf, point), spec);
    json_array_append_new(
        networks,
        json_pack("{s:o}", "port", json_sprintf("${vnf.%s.%u.cp.%s.id}", vnf, instance, point)));
}

static void add_volumes(struct making *making, const char *vnf, unsigned instance,
                        const json_t *element)
{
    const char *name;
    json_t *volume;
    json_object_foreach(json_object_get(element, "volumes"), name, volume)
    {
        json_t *spec =
            spec_begin(volume, "device", "%s-%s-%u-%s", making->prefix, vnf, instance, name);
        json_t *attach =
            json_pack("{s:o}", "server", json_sprintf("${vnf.%s.%u.id}", vnf, instance));
        if (json_object_get(volume, "device")) {
            json_object_set(attach, "device", json_object_get(volume, "device"));
        }
        json_object_set_new(spec, "attach", attach);
        add_node(making, "volume", text_format("vnf.%s.%u.volume.%s", vnf, instance, name),
                 text_format("/vnfs/%s/volumes/%s", vnf, name), spec);
    }
}

static void add_addresses(struct making *making, const char *vnf, unsigned instance,
                          const json_t *element)
{
    const char *name;
    json_t *address;
    json_object_foreach(json_object_get(element, "floating_ips"), name, address)
    {
        const char *point = json_get_text(address, "connection_point", "");
        json_t *spec = spec_begin(address, "connection_point", "%s-%s-%u-%s", making->prefix, vnf,
                                  instance, name);
        json_object_set_new(spec, "port",
                            json_sprintf("${vnf.%s.%u.cp.%s.id}", vnf, instance, point));
        CLEANUP_FREE char *pointer = text_format("/vnfs/%s/floating_ips/%s", vnf, name);
        if (!json_object_get(json_object_get(element, "connection_points"), point) &&
            instance == 0) {
            findings_add(making->findings, pointer, "the VNF has no connection point %s", point);
        }
        add_node(making, "floating-ip", text_format("vnf.%s.%u.fip.%s", vnf, instance, name),
                 TAKE(pointer), spec);
    }
}

static void add_instance(struct making *making, const char *vnf, unsigned instance,
                         const json_t *element)
{
    json_t *networks = json_array();
    const char *point;
    json_t *inner;
    json_object_foreach(json_object_get(element, "connection_points"), point, inner)
    {
        add_point(making, vnf, instance, point, inner, networks);
    }
    json_t *spec = spec_begin(element, "count connection_points volumes floating_ips", "%s-%s-%u",
                              making->prefix, vnf, instance);
    if (instance > 0 && json_object_get(element, "name")) {
        json_object_set_new(spec, "name",
                            json_sprintf("%s-%u", json_get_text(element, "name", ""), instance));
    }
    if (json_array_size(networks) > 0) {
        json_object_set(spec, "networks", networks);
    }
    json_decref(networks);
    add_node(making, "server", text_format("vnf.%s.%u", vnf, instance),
             text_format("/vnfs/%s", vnf), spec);
    add_volumes(making, vnf, instance, element);
    add_addresses(making, vnf, instance, element);
}

static void add_vnfs(struct making *making)
{
    const char *vnf;
    json_t *element;
    json_object_foreach(json_object_get(making->description, "vnfs"), vnf, element)
    {
        int64_t count = json_get_integer(element, "count", 1);
        for (unsigned i = 0; i < count && making->plan->count < SERVICE_NODES_MAX; i++) {
            add_instance(making, vnf, i, element);
        }
    }
}

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
            text_printf(&walk->pointer, "/%s", member);
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
    unsigned index;
    if (strcmp(node->kind->name, "server") != 0 || sscanf(pointer, "/networks/%u", &index) != 1) {
        return text_format("%s%s", node->pointer, pointer);
    }
    const json_t *vnfs = json_object_get(resolving->making->description, "vnfs");
    json_t *vnf = json_object_get(vnfs, node->pointer + strlen("/vnfs/"));
    const char *point;
    json_t *element;
    json_object_foreach(json_object_get(vnf, "connection_points"), point, element)
    {
        if (index-- == 0) {
            return text_format("%s/connection_points/%s%s", node->pointer, point,
                               strrchr(pointer, '/'));
        }
    }
    return text_duplicate(node->pointer);
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

static int take_reference(void *argument, const char *pointer, const char *name, const char *field,
                          char **ret_text)
{
    struct resolving *resolving = argument;
    struct making *making = resolving->making;
    struct service_node *node = resolving->node;
    CLEANUP_FREE char *full = full_name(name);
    CLEANUP_FREE char *at = described_at(resolving, pointer);
    uint32_t number = field ? service_plan_find(making->plan, full) : UINT32_MAX;
    if (!field) {
        findings_add(making->findings, at,
                     "${%.60s}: a reference is ${NODE.FIELD} as in ${vl.n3.id}; $${ is ${ itself",
                     name);
    } else if (number == UINT32_MAX) {
        findings_add(making->findings, at, "${%.60s.%.40s}: the service has no such element", name,
                     field);
    } else if (!is_value_of(making->plan->nodes[number].kind, field)) {
        findings_add(making->findings, at,
                     "${%.60s.%.40s}: a %s has no member of that name that is a single value", name,
                     field, making->plan->nodes[number].kind->name);
    } else {
        need(node, number);
        need_subnets(making, node, number);
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
    findings_add(making->findings, at, "must be the id of a %s, not %.80s", referenced, value);
    return 0;
}

/* Is it an instance of a VNF other than the first, or a part of one? Their faults are the first one's. */
static bool repeats_faults(const char *name)
{
    unsigned instance;
    const char *dot = text_starts_with(name, "vnf.") ? strchr(name + 4, '.') : NULL;
    return dot && sscanf(dot, ".%u", &instance) == 1 && instance > 0;
}

static void resolve_needs(struct making *making)
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

static void put_in_order(struct making *making)
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

/* --- All of it ------------------------------------------------------------------------------- */

void service_plan_make(const char *prefix, const json_t *description, struct findings *findings,
                       struct service_plan *ret_plan)
{
    *ret_plan = (struct service_plan){0};
    struct making making = {
        .plan = ret_plan, .prefix = prefix, .description = description, .findings = findings};
    if (!service_check_limits(description, findings)) {
        return;
    }
    CLEANUP_JSON json_t *points = json_object();
    collect_points(description, points);
    making.points = points;
    add_links(&making);
    add_plain(&making);
    add_vnfs(&making);
    if (ret_plan->count == SERVICE_NODES_MAX) {
        findings_add(findings, "", "is made of more than %u resources", SERVICE_NODES_MAX - 1);
        free(making.routers.items);
        return;
    }
    service_check_addresses(description, findings);
    resolve_needs(&making);
    free(making.routers.items);
    put_in_order(&making);
}

void service_plan_free(struct service_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        free(plan->nodes[i].name);
        free(plan->nodes[i].pointer);
        free(plan->nodes[i].needs);
        json_decref(plan->nodes[i].spec);
    }
    struct service_index *index, *next;
    HASH_ITER(hh, plan->index, index, next)
    {
        HASH_DEL(plan->index, index);
        free(index);
    }
    free(plan->nodes);
    free(plan->order);
    *plan = (struct service_plan){0};
}

/* --- What is shown --------------------------------------------------------------------------- */

static void hide(const struct field *fields, unsigned count, json_t *object)
{
    for (unsigned i = 0; i < count; i++) {
        const struct field *field = &fields[i];
        json_t *map = json_object_get(object, field->name);
        const char *name;
        json_t *element;
        if ((field->flags & FIELD_HIDDEN) && field->type != FIELD_REFERENCE) {
            json_object_del(object, field->name);
        } else if (field->type == FIELD_MAP && json_is_object(map)) {
            const struct kind *kind = kind_by_name(field->reference);
            json_object_foreach(map, name, element)
            {
                hide(kind->fields, kind->field_count, element);
                hide(field->fields, field->field_count, element);
            }
        }
    }
}

json_t *service_shown(const json_t *description)
{
    json_t *shown = json_deep_copy(description);
    hide(kinds_service()->fields, kinds_service()->field_count, shown);
    return shown;
}
