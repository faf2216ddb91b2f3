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
#include "model/service_private.h"

struct service_index {
    uint32_t number;
    UT_hash_handle hh;
    char name[];
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

/* PREFIX so that no part of it is taken for a reference. */
static char *literal_prefix(const char *prefix)
{
    struct text text = {0};
    for (const char *c = prefix; *c != '\0'; c++) {
        text_add(&text, strncmp(c, "${", 2) == 0 ? "$" : "");
        text_add_char(&text, *c);
    }
    return text_take(&text);
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
    CLEANUP_FREE char *pointer = json_pointer("virtual_links", link, "router", NULL);
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
                 json_pointer("virtual_links", link_name, NULL),
                 spec_begin(link, "subnets router", "%s-%s", making->prefix, link_name));
        json_object_foreach(json_object_get(link, "subnets"), subnet_name, subnet)
        {
            json_t *spec =
                spec_begin(subnet, NULL, "%s-%s-%s", making->prefix, link_name, subnet_name);
            json_object_set_new(spec, "network", json_sprintf("${vl.%s.id}", link_name));
            add_node(making, "subnet", text_format("vl.%s.subnet.%s", link_name, subnet_name),
                     json_pointer("virtual_links", link_name, "subnets", subnet_name, NULL), spec);
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
                     json_pointer(plain_sections[i].section, name, NULL),
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
             json_pointer("vnfs", vnf, "connection_points", point, NULL), spec);
    json_array_append_new(
        networks,
        json_pack("{s:o}", "port", json_sprintf("${vnf.%s.%u.cp.%s.id}", vnf, instance, point)));
}

/* Where a VNF's VOLUME is plugged in. */
static json_t *attachment(const char *vnf, unsigned instance, const json_t *volume)
{
    json_t *attach = json_pack("{s:o}", "server", json_sprintf("${vnf.%s.%u.id}", vnf, instance));
    if (json_object_get(volume, "device")) {
        json_object_set(attach, "device", json_object_get(volume, "device"));
    }
    return attach;
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
        if (!service_boots_from(element, vnf, name)) {
            json_object_set_new(spec, "attach", attachment(vnf, instance, volume));
        }
        add_node(making, "volume", text_format("vnf.%s.%u.volume.%s", vnf, instance, name),
                 json_pointer("vnfs", vnf, "volumes", name, NULL), spec);
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
        CLEANUP_FREE char *pointer = json_pointer("vnfs", vnf, "floating_ips", name, NULL);
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
    service_boot_instance(element, vnf, instance, spec);
    add_node(making, "server", text_format("vnf.%s.%u", vnf, instance),
             json_pointer("vnfs", vnf, NULL), spec);
    add_volumes(making, vnf, instance, element);
    add_addresses(making, vnf, instance, element);
}

static void add_vnfs(struct making *making)
{
    const char *vnf;
    json_t *element;
    json_object_foreach(json_object_get(making->description, "vnfs"), vnf, element)
    {
        int64_t count = service_instances(element);
        for (unsigned i = 0; i < count && making->plan->count < SERVICE_NODES_MAX; i++) {
            add_instance(making, vnf, i, element);
        }
    }
}

/* What is said of VNFs that have no instance has to be right, too: there may be one later. */
static void check_unused(struct making *making)
{
    const char *vnf;
    json_t *element;
    json_object_foreach(json_object_get(making->description, "vnfs"), vnf, element)
    {
        if (service_instances(element) == 0) {
            service_check_unused(making, vnf, element);
        }
    }
}

/* --- All of it ------------------------------------------------------------------------------- */

void service_plan_make(const char *prefix, const json_t *description, struct findings *findings,
                       struct service_plan *ret_plan)
{
    *ret_plan = (struct service_plan){0};
    struct making making = {.plan = ret_plan, .description = description, .findings = findings};
    if (!service_check_limits(description, findings)) {
        return;
    }
    CLEANUP_JSON json_t *points = json_object();
    CLEANUP_FREE char *literal = literal_prefix(prefix);
    collect_points(description, points);
    making.points = points;
    making.prefix = literal;
    add_links(&making);
    add_plain(&making);
    add_vnfs(&making);
    if (ret_plan->count == SERVICE_NODES_MAX) {
        findings_add(findings, "", "is made of more than %u resources", SERVICE_NODES_MAX - 1);
        free(making.routers.items);
        return;
    }
    service_check_addresses(description, findings);
    service_resolve_needs(&making);
    service_check_boot(&making);
    check_unused(&making);
    free(making.routers.items);
    service_put_in_order(&making);
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
        if (field_is_secret(field)) {
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
