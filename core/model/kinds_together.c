/*
 * model/kinds_together.c - network notations, and what fields demand of one another.
 */
#include "model/kinds_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An address of either version; the bytes of IPv4 are the first four. */
struct address {
    uint8_t bytes[16];
    int version; /* 4 or 6 */
};

static bool address_parse(const char *text, struct address *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (inet_pton(AF_INET, text, ret_address->bytes) == 1) {
        ret_address->version = 4;
        return true;
    }
    if (inet_pton(AF_INET6, text, ret_address->bytes) == 1) {
        ret_address->version = 6;
        return true;
    }
    return false;
}

static bool bit_of(const struct address *address, unsigned bit)
{
    return (address->bytes[bit / 8] >> (7 - bit % 8)) & 1;
}

static bool cidr_parse(const char *text, struct address *ret_address, unsigned *ret_prefix)
{
    char copy[64];
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, (size_t)(slash - text));
    copy[slash - text] = '\0';
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits < 1 || digits > 3 || slash[1 + digits] != '\0' || (digits > 1 && slash[1] == '0') ||
        !address_parse(copy, ret_address)) {
        return false;
    }
    *ret_prefix = (unsigned)atoi(slash + 1);
    return *ret_prefix <= (ret_address->version == 4 ? 32u : 128u);
}

static bool host_bits_are_zero(const struct address *address, unsigned prefix)
{
    for (unsigned bit = prefix; bit < (address->version == 4 ? 32u : 128u); bit++) {
        if (bit_of(address, bit)) {
            return false;
        }
    }
    return true;
}

static bool cidr_holds(const struct address *network, unsigned prefix,
                       const struct address *address)
{
    if (network->version != address->version) {
        return false;
    }
    for (unsigned bit = 0; bit < prefix; bit++) {
        if (bit_of(network, bit) != bit_of(address, bit)) {
            return false;
        }
    }
    return true;
}

bool network_is_address(const char *text)
{
    struct address address;
    return address_parse(text, &address);
}

bool network_is_cidr(const char *text)
{
    struct address address;
    unsigned prefix;
    return cidr_parse(text, &address, &prefix) && host_bits_are_zero(&address, prefix);
}

bool network_has_host_bits(const char *text)
{
    struct address address;
    unsigned prefix;
    return cidr_parse(text, &address, &prefix) && !host_bits_are_zero(&address, prefix);
}

bool network_is_mac(const char *text)
{
    if (strlen(text) != 17) {
        return false;
    }
    for (unsigned i = 0; i < 17; i++) {
        if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i])) {
            return false;
        }
    }
    return true;
}

bool network_cidr_holds(const char *cidr, const char *text)
{
    struct address network, address;
    unsigned prefix;
    return cidr_parse(cidr, &network, &prefix) && address_parse(text, &address) &&
           cidr_holds(&network, prefix, &address);
}

bool network_cidrs_overlap(const char *a, const char *b)
{
    struct address first, second;
    unsigned first_prefix, second_prefix;
    if (!cidr_parse(a, &first, &first_prefix) || !cidr_parse(b, &second, &second_prefix)) {
        return false;
    }
    return first_prefix <= second_prefix ? cidr_holds(&first, first_prefix, &second)
                                         : cidr_holds(&second, second_prefix, &first);
}

/* --- What fields demand of one another ------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

/* Adds a finding at /LIST/INDEX or, with a MEMBER, at /LIST/INDEX/MEMBER. */
static void add_at(struct findings *findings, const char *list, size_t index, const char *member,
                   const char *detail)
{
    char pointer[128];
    snprintf(pointer, sizeof(pointer), "/%s/%zu%s%s", list, index, member ? "/" : "",
             member ? member : "");
    findings_add(findings, pointer, "%s", detail);
}

/* It boots from a volume that there is, or from one that is made of its image on the way. */
static void boot_together(const json_t *server, struct findings *findings)
{
    const json_t *boot = json_object_get(server, "boot_volume");
    bool by_volume = json_object_get(boot, "volume") != NULL;
    bool by_size = json_object_get(boot, "size") != NULL;
    if (boot && by_volume == by_size) {
        findings_add(findings, "/boot_volume", "needs either volume or size");
    } else if (by_volume && json_object_get(server, "image")) {
        findings_add(findings, "/image", "does not go with a volume to boot from");
    } else if (by_size && !json_object_get(server, "image")) {
        findings_add(findings, "/image", "is required: the volume is made of it");
    }
    if (by_volume && json_object_get(boot, "type")) {
        findings_add(findings, "/boot_volume/type", "goes only with size");
    }
}

static void server_together(const json_t *server, struct findings *findings)
{
    size_t i;
    json_t *network;
    json_array_foreach(json_object_get(server, "networks"), i, network)
    {
        bool by_network = json_object_get(network, "network") != NULL;
        bool by_port = json_object_get(network, "port") != NULL;
        if (by_network == by_port) {
            add_at(findings, "networks", i, NULL, "needs either network or port");
        } else if (by_port && json_object_get(network, "fixed_ip")) {
            add_at(findings, "networks", i, "fixed_ip", "goes only with network, not with port");
        }
    }
    boot_together(server, findings);
}

static void subnet_pools_together(const json_t *subnet, const struct address *network,
                                  unsigned prefix, struct findings *findings)
{
    size_t i;
    json_t *pool;
    json_array_foreach(json_object_get(subnet, "allocation_pools"), i, pool)
    {
        struct address start, end;
        bool parsed = address_parse(text_of(pool, "start"), &start) &&
                      address_parse(text_of(pool, "end"), &end);
        if (!parsed || start.version != end.version) {
            add_at(findings, "allocation_pools", i, NULL,
                   "start and end must be of the same version of IP");
        } else if (memcmp(start.bytes, end.bytes, sizeof(start.bytes)) > 0) {
            add_at(findings, "allocation_pools", i, NULL, "start lies behind end");
        } else if (network &&
                   !(cidr_holds(network, prefix, &start) && cidr_holds(network, prefix, &end))) {
            add_at(findings, "allocation_pools", i, NULL, "lies outside of cidr");
        }
    }
}

static void subnet_together(const json_t *subnet, struct findings *findings)
{
    struct address network, gateway;
    unsigned prefix = 0;
    const char *cidr = text_of(subnet, "cidr");
    bool has_network = cidr && cidr_parse(cidr, &network, &prefix);
    const char *gateway_ip = text_of(subnet, "gateway_ip");
    if (has_network && gateway_ip && address_parse(gateway_ip, &gateway) &&
        gateway.version != network.version) {
        findings_add(findings, "/gateway_ip", "is not of the same version of IP as cidr");
    }
    subnet_pools_together(subnet, has_network ? &network : NULL, prefix, findings);
}

static void rules_together(const json_t *group, struct findings *findings)
{
    size_t i;
    json_t *rule;
    json_array_foreach(json_object_get(group, "rules"), i, rule)
    {
        const json_t *low = json_object_get(rule, "port_min");
        const json_t *high = json_object_get(rule, "port_max");
        const char *protocol = text_of(rule, "protocol");
        const char *ethertype = text_of(rule, "ethertype");
        const char *cidr = text_of(rule, "remote_cidr");
        bool icmp = protocol && strstr(protocol, "icmp") != NULL;
        struct address remote;
        unsigned prefix;
        if ((low || high) && protocol == NULL) {
            add_at(findings, "rules", i, NULL, "ports need a protocol");
        }
        if (low && high && !icmp && json_integer_value(low) > json_integer_value(high)) {
            add_at(findings, "rules", i, "port_min", "is larger than port_max");
        }
        if (cidr && json_object_get(rule, "remote_group")) {
            add_at(findings, "rules", i, NULL, "remote_cidr and remote_group exclude each other");
        }
        if (cidr && cidr_parse(cidr, &remote, &prefix) &&
            remote.version != (ethertype && strcmp(ethertype, "IPv6") == 0 ? 6 : 4)) {
            add_at(findings, "rules", i, "remote_cidr",
                   "is not of the version of IP that ethertype says");
        }
    }
}

/* An image has its data uploaded, in a format; or it is made of a server. */
static void image_together(const json_t *image, bool create, struct findings *findings)
{
    bool of_server = json_object_get(image, "server") != NULL;
    bool format = json_object_get(image, "disk_format") != NULL;
    if (create && !of_server && !format) {
        findings_add(findings, "/disk_format", "is required");
    } else if (of_server && (format || json_object_get(image, "container_format"))) {
        findings_add(findings, format ? "/disk_format" : "/container_format",
                     "does not go with server: the format is what the far side makes it");
    }
}

/* Exactly one of subnet and port; BASE is where the object stands. */
static void interface_together(const json_t *interface, const char *base, struct findings *findings)
{
    bool by_subnet = json_object_get(interface, "subnet") != NULL;
    bool by_port = json_object_get(interface, "port") != NULL;
    if (by_subnet == by_port) {
        findings_add(findings, base, "needs either subnet or port");
    }
    if (json_object_get(interface, "ip_address")) {
        char pointer[128];
        snprintf(pointer, sizeof(pointer), "%s/ip_address", base);
        findings_add(findings, pointer, "can only be read");
    }
}

static void router_together(const json_t *router, bool create, struct findings *findings)
{
    size_t i;
    json_t *interface;
    json_array_foreach(json_object_get(router, "interfaces"), i, interface)
    {
        char base[64];
        snprintf(base, sizeof(base), "/interfaces/%zu", i);
        interface_together(interface, base, findings);
    }
    if (json_object_get(router, "enable_snat") && text_of(router, "external_network") == NULL) {
        findings_add(findings, "/enable_snat", "goes only with external_network%s",
                     create ? "" : ", which has to be told again");
    }
}

static void floating_ip_together(const json_t *floating, struct findings *findings)
{
    if (json_object_get(floating, "fixed_ip") && text_of(floating, "port") == NULL) {
        findings_add(findings, "/fixed_ip", "goes only with port");
    }
}

static void volume_together(const json_t *volume, bool create, struct findings *findings)
{
    bool snapshot = json_object_get(volume, "snapshot") != NULL;
    if (create && !snapshot && json_object_get(volume, "size") == NULL) {
        findings_add(findings, "/size", "is required");
    }
    if (snapshot && json_object_get(volume, "image")) {
        findings_add(findings, "/snapshot", "excludes image");
    }
}

static void affinity_together(const json_t *group, struct findings *findings)
{
    const char *policy = text_of(group, "policy");
    if (json_object_get(group, "max_per_host") && policy && strcmp(policy, "anti-affinity") != 0) {
        findings_add(findings, "/max_per_host", "goes only with the policy anti-affinity");
    }
}

void kind_check_together(const struct kind *kind, const json_t *object, bool create,
                         struct findings *findings)
{
    if (strcmp(kind->name, "server") == 0 && create) { /* none of it can be changed */
        server_together(object, findings);
    } else if (strcmp(kind->name, "subnet") == 0) {
        subnet_together(object, findings);
    } else if (strcmp(kind->name, "security-group") == 0) {
        rules_together(object, findings);
    } else if (strcmp(kind->name, "image") == 0) {
        image_together(object, create, findings);
    } else if (strcmp(kind->name, "router") == 0) {
        router_together(object, create, findings);
    } else if (strcmp(kind->name, "floating-ip") == 0) {
        floating_ip_together(object, findings);
    } else if (strcmp(kind->name, "volume") == 0) {
        volume_together(object, create, findings);
    } else if (strcmp(kind->name, "affinity-group") == 0) {
        affinity_together(object, findings);
    }
}

void kind_check_arguments_together(const struct kind *kind, const json_t *arguments,
                                   struct findings *findings)
{
    if (strcmp(kind->name, "router") == 0) {
        interface_together(arguments, "", findings);
    }
}
