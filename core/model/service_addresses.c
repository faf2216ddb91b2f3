/* Addresses in a network service: what the description alone tells. */
#include "model/service.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds_private.h"

static void check_subnets(const char *link, const json_t *subnets, struct findings *findings)
{
    const char *name, *other_name;
    json_t *subnet, *other;
    json_object_foreach((json_t *)subnets, name, subnet)
    {
        const char *cidr = json_get_text(subnet, "cidr", "");
        json_object_foreach((json_t *)subnets, other_name, other)
        {
            if (other == subnet) {
                break; /* each pair once, at the later one */
            }
            if (network_cidrs_overlap(cidr, json_get_text(other, "cidr", ""))) {
                CLEANUP_FREE char *pointer =
                    json_pointer("virtual_links", link, "subnets", name, "cidr", NULL);
                findings_add(findings, pointer, "overlaps with that of subnet %s", other_name);
            }
        }
    }
}

static bool lies_in_one(const json_t *subnets, const char *address)
{
    const char *name;
    json_t *subnet;
    json_object_foreach((json_t *)subnets, name, subnet)
    {
        if (network_cidr_holds(json_get_text(subnet, "cidr", ""), address)) {
            return true;
        }
    }
    return false;
}

/* Addresses taken so far: "NETWORK ADDRESS" -> pointer of who takes it. */
static void check_taken(json_t *taken, const char *network, const char *address,
                        const char *pointer, struct findings *findings)
{
    CLEANUP_FREE char *key = text_format("%s %s", network, address);
    const char *before = json_get_text(taken, key, NULL);
    if (before) {
        findings_add(findings, pointer, "%s is taken by %s", address, before);
    } else {
        json_set_text(taken, key, pointer);
    }
}

static void check_point(const json_t *links, json_t *taken, const json_t *vnf, const json_t *point,
                        const char *pointer, struct findings *findings)
{
    const char *address = json_get_text(point, "fixed_ip", NULL);
    const char *network = json_get_text(point, "network", "");
    if (!address) {
        return;
    }
    if (service_instances(vnf) > 1) {
        findings_add(findings, pointer, "%s cannot be that of several instances", address);
    }
    if (text_starts_with(network, "${vl.")) {
        CLEANUP_FREE char *link = text_duplicate(network + strlen("${vl."));
        link[strcspn(link, ".")] = '\0';
        const json_t *element = json_object_get(links, link);
        if (element && !lies_in_one(json_object_get(element, "subnets"), address)) {
            findings_add(findings, pointer, "%s lies in no subnet of the virtual link %s", address,
                         link);
        }
    }
    check_taken(taken, network, address, pointer, findings);
}

/* The range of the service's own subnet that TEXT refers to, ${vl.LINK.subnet.SUBNET.id}; NULL if it is none. */
static const char *range_of(const json_t *links, const char *text)
{
    CLEANUP_FREE char *copy = text_duplicate(text_starts_with(text, "${vl.") ? text + 5 : "");
    char *subnet = strstr(copy, ".subnet.");
    char *end = subnet ? strstr(subnet + 8, ".id}") : NULL;
    if (!end) {
        return NULL;
    }
    *subnet = *end = '\0';
    const json_t *subnets = json_object_get(json_object_get(links, copy), "subnets");
    return json_get_text(json_object_get(subnets, subnet + 8), "cidr", NULL);
}

/* What a router joins has to differ. */
static void check_router(const json_t *links, const char *router, const json_t *interfaces,
                         struct findings *findings)
{
    size_t i, other;
    json_t *interface, *before;
    json_array_foreach((json_t *)(uintptr_t)interfaces, i, interface)
    {
        const char *subnet = json_get_text(interface, "subnet", "");
        const char *range = range_of(links, subnet);
        json_array_foreach((json_t *)(uintptr_t)interfaces, other, before)
        {
            const char *earlier = json_get_text(before, "subnet", "");
            const char *its = other < i && range ? range_of(links, earlier) : NULL;
            if (its && network_cidrs_overlap(range, its)) {
                CLEANUP_FREE char *at = json_pointer("routers", router, "interfaces", NULL);
                CLEANUP_FREE char *pointer = text_format("%s/%zu/subnet", at, i);
                findings_add(findings, pointer, "%s overlaps with %s of %.100s", range, its,
                             earlier);
                break;
            }
        }
    }
}

void service_check_addresses(const json_t *description, struct findings *findings)
{
    const json_t *links = json_object_get(description, "virtual_links");
    const char *link_name, *router_name, *vnf_name, *point_name;
    json_t *link, *router, *vnf, *point;
    CLEANUP_JSON json_t *taken = json_object();
    json_object_foreach((json_t *)links, link_name, link)
    {
        check_subnets(link_name, json_object_get(link, "subnets"), findings);
    }
    json_object_foreach(json_object_get(description, "routers"), router_name, router)
    {
        check_router(links, router_name, json_object_get(router, "interfaces"), findings);
    }
    json_object_foreach(json_object_get(description, "vnfs"), vnf_name, vnf)
    {
        json_object_foreach(json_object_get(vnf, "connection_points"), point_name, point)
        {
            CLEANUP_FREE char *pointer =
                json_pointer("vnfs", vnf_name, "connection_points", point_name, "fixed_ip", NULL);
            check_point(links, taken, vnf, point, pointer, findings);
        }
    }
}
