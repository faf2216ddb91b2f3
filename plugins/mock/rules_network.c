/* Networks, subnets, ports and security groups. */
#include "rules_parts.h"

#include <stdio.h>
#include <string.h>

/* --- Ports --- */
static struct thing *first_subnet(struct scene *scene, const char *network)
{
    uint64_t at = 0;
    struct thing *subnet;
    while ((subnet = cloud_next(scene->cloud, KIND_SUBNET, at)) != NULL) {
        at = subnet->seq;
        if (strcmp(subnet->network, network) == 0) {
            return subnet;
        }
    }
    return NULL;
}

/* The subnet of NETWORK in which ADDRESS can be given out; the reply tells if there is none. */
static struct thing *subnet_for(struct scene *scene, const char *network, const char *address,
                                json_t *list)
{
    uint64_t at = 0;
    struct thing *subnet;
    while ((subnet = cloud_next(scene->cloud, KIND_SUBNET, at)) != NULL) {
        at = subnet->seq;
        if (strcmp(subnet->network, network) == 0) {
            int status = subnet_take(scene, subnet, address, list);
            if (status == 200 || status == 409) {
                return subnet;
            }
        }
    }
    return NULL;
}

/* Gives out the addresses that WANTED lists (NULL: one of the first subnet, if there is one).
 * RET_LIST is new. */
int port_take_addresses(struct scene *scene, const char *network, const json_t *wanted,
                        json_t **ret_list)
{
    size_t i;
    json_t *entry;
    json_t *list = json_array();
    int status = 200;
    if (wanted == NULL) {
        struct thing *subnet = first_subnet(scene, network);
        if (subnet != NULL) {
            status = subnet_take(scene, subnet, NULL, list);
        }
    }
    json_array_foreach(wanted, i, entry)
    {
        const char *id = json_text(entry, "subnet");
        const char *address = json_text(entry, "ip_address");
        if (id == NULL && address != NULL) {
            scene->reply->status = 200;
            if (subnet_for(scene, network, address, list) == NULL) {
                status = refuse(scene, 400, "invalid", "port: no subnet has %.60s", address);
            } else {
                status = scene->reply->status;
            }
        } else {
            struct thing *subnet = rules_referred(scene, KIND_SUBNET, id);
            if (subnet == NULL || strcmp(subnet->network, network) != 0) {
                status = refuse(scene, 400, "invalid", "port: the subnet is not the network's");
            } else {
                status = subnet_take(scene, subnet, address, list);
            }
        }
        if (status >= 300) {
            break;
        }
    }
    if (status >= 300) {
        json_decref(list);
        return status;
    }
    *ret_list = list;
    return 200;
}

/* Adds to ADDRESSES, a server's list, what a port with FIELDS contributes. */
void port_add_addresses(json_t *addresses, const char *port, const json_t *fields)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(fields, "fixed_ips"), i, entry)
    {
        const char *address = json_text(entry, "ip_address");
        json_array_append_new(addresses,
                              json_pack("{s:s,s:s,s:s,s:s,s:i}", "network",
                                        json_text(fields, "network"), "port", port, "address",
                                        address, "mac", json_text(fields, "mac_address"), "version",
                                        strchr(address, ':') ? 6 : 4));
    }
}

/* Makes a port, plugged into SERVER if that is not NULL; its addresses go to ADDRESSES then. */
int port_make(struct scene *scene, json_t *spec, const char *tag, const char *server,
              json_t *addresses, char ret_id[256])
{
    const char *network = json_text(spec, "network");
    json_t *list;
    char mac[18];
    if (rules_referred(scene, KIND_NETWORK, network) == NULL ||
        rules_check_groups(scene, json_object_get(spec, "security_groups")) >= 300 ||
        port_take_addresses(scene, network, json_object_get(spec, "fixed_ips"), &list) >= 300) {
        return scene->reply->status;
    }
    cloud_new_id(scene->cloud, ret_id);
    json_t *fields = json_copy(spec);
    bool owned = json_is_true(json_object_get(fields, "owned"));
    json_object_del(fields, "owned");
    json_object_set_new(fields, "fixed_ips", list);
    uint64_t bits = chance_bits(scene->cloud->seed, ret_id, 0);
    snprintf(mac, sizeof(mac), "52:54:%02x:%02x:%02x:%02x", (unsigned)bits & 0xff,
             (unsigned)(bits >> 8) & 0xff, (unsigned)(bits >> 16) & 0xff,
             (unsigned)(bits >> 24) & 0xff);
    json_default(fields, "mac_address", json_string(mac));
    json_default(fields, "admin_state_up", json_true());
    json_default(fields, "vnic_type", json_string("normal"));
    struct change change = {.kind = KIND_PORT,
                            .id = ret_id,
                            .tag = tag,
                            .network = network,
                            .server = server,
                            .status = server ? "ACTIVE" : "DOWN",
                            .owned = owned || server != NULL};
    if (server != NULL) {
        port_add_addresses(addresses, ret_id, fields);
    }
    rules_put_new(scene, &change, fields, false);
    return 201;
}

/* --- Networks and subnets --- */
int network_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_copy(spec);
    cloud_new_id(scene->cloud, ret_id);
    json_default(fields, "admin_state_up", json_true());
    json_default(fields, "mtu", json_integer(1450));
    json_default(fields, "external", json_false());
    json_default(fields, "shared_network", json_false());
    json_object_set_new(fields, "subnets", json_array());
    struct change change = {.kind = KIND_NETWORK,
                            .id = ret_id,
                            .tag = tag,
                            .status = scene->error_build ? "ERROR" : "ACTIVE",
                            .shared = json_is_true(json_object_get(fields, "external")) ||
                                      json_is_true(json_object_get(fields, "shared_network"))};
    rules_put_new(scene, &change, fields, true);
    return 201;
}

/* Adds or removes SUBNET in the network's list. */
void network_list_subnet(struct scene *scene, const struct thing *network, const char *subnet,
                         bool add)
{
    json_t *fields = thing_fields(network);
    json_t *list = json_object_get(fields, "subnets");
    if (add) {
        json_array_append_new(list, json_string(subnet));
    }
    for (size_t i = json_array_size(list); !add && i > 0; i--) {
        if (strcmp(json_string_value(json_array_get(list, i - 1)), subnet) == 0) {
            json_array_remove(list, i - 1);
        }
    }
    struct change change = thing_change(network, fields, scene->now);
    cloud_put(scene->cloud, &change);
}

int subnet_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    struct thing *network = rules_referred(scene, KIND_NETWORK, json_text(spec, "network"));
    if (network == NULL) {
        return scene->reply->status;
    }
    json_t *fields = json_copy(spec);
    if (subnet_complete(scene, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    cloud_new_id(scene->cloud, ret_id);
    network_list_subnet(scene, network, ret_id, true);
    struct change change = {.kind = KIND_SUBNET,
                            .id = ret_id,
                            .tag = tag,
                            .network = network->id,
                            .status = "ACTIVE",
                            .shared = network->shared};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

/* Says how many ports it still has, and which is the first. */
static int refuse_with_ports(struct scene *scene, const struct thing *network)
{
    const struct thing *port = cloud_next(scene->cloud, KIND_PORT, 0);
    while (port != NULL && strcmp(port->network, network->id) != 0) {
        port = cloud_next(scene->cloud, KIND_PORT, port->seq);
    }
    return refuse(scene, 409, "in_use", "network %s has %u ports, %s first", network->id,
                  network->ports, port ? port->id : "?");
}

/* An external network stays while a router or a floating IP has an address of it. */
static int refuse_outside(struct scene *scene, const struct thing *network, enum kind kind)
{
    const struct thing *thing = cloud_next(scene->cloud, kind, 0);
    for (; thing != NULL; thing = cloud_next(scene->cloud, kind, thing->seq)) {
        if (strstr(thing->fields, network->id) != NULL) {
            return refuse(scene, 409, "in_use", "network %s is used by %s %s", network->id,
                          kind_name(kind), thing->id);
        }
    }
    return 200;
}

int network_delete(struct scene *scene, struct thing *network)
{
    uint64_t at = 0;
    struct thing *subnet;
    if (network->ports > 0) {
        return refuse_with_ports(scene, network);
    }
    if (refuse_outside(scene, network, KIND_ROUTER) >= 300 ||
        refuse_outside(scene, network, KIND_FLOATING_IP) >= 300) {
        return scene->reply->status;
    }
    while ((subnet = cloud_next(scene->cloud, KIND_SUBNET, at)) != NULL) {
        at = subnet->seq;
        if (strcmp(subnet->network, network->id) == 0) {
            cloud_end_at(scene->cloud, subnet, scene->now, false, scene->now);
        }
    }
    cloud_end_at(scene->cloud, network, scene->now, false, scene->now);
    return 204;
}

/* --- Security groups --- */
static int check_rule(struct scene *scene, json_t *rule)
{
    const char *direction = json_text(rule, "direction");
    const char *group = json_text(rule, "remote_group");
    if (direction == NULL ||
        (strcmp(direction, "ingress") != 0 && strcmp(direction, "egress") != 0)) {
        return refuse(scene, 400, "invalid", "rule: the direction is ingress or egress");
    }
    if (group != NULL && rules_referred(scene, KIND_SECURITY_GROUP, group) == NULL) {
        return scene->reply->status;
    }
    json_default(rule, "ethertype", json_string("IPv4"));
    return 200;
}

int group_check_rules(struct scene *scene, json_t *rules)
{
    size_t i;
    json_t *rule;
    json_array_foreach(rules, i, rule)
    {
        if (check_rule(scene, rule) >= 300) {
            return scene->reply->status;
        }
    }
    return 200;
}

int group_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_deep_copy(spec);
    json_t *defaults = json_object_get(fields, "default_rules");
    bool bare = defaults != NULL && !json_is_true(defaults);
    json_object_del(fields, "default_rules");
    if (group_check_rules(scene, json_object_get(fields, "rules")) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    json_default(fields, "stateful", json_true());
    json_default(fields, "rules",
                 bare ? json_array()
                      : json_pack("[{s:s,s:s},{s:s,s:s}]", "direction", "egress", "ethertype",
                                  "IPv4", "direction", "egress", "ethertype", "IPv6"));
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {
        .kind = KIND_SECURITY_GROUP, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

int rules_create_rule(struct scene *scene, json_t *spec, char ret_id[256])
{
    size_t i;
    json_t *known;
    struct thing *group = rules_referred(scene, KIND_SECURITY_GROUP, json_text(spec, "group"));
    json_t *rule = json_object_get(spec, "rule");
    if (group == NULL || check_rule(scene, rule) >= 300) {
        return scene->reply->status;
    }
    json_t *fields = thing_fields(group);
    json_array_foreach(json_object_get(fields, "rules"), i, known)
    {
        if (json_equal(known, rule)) {
            json_decref(fields);
            return refuse(scene, 409, "conflict", "the group has this rule already");
        }
    }
    json_array_append(json_object_get(fields, "rules"), rule);
    struct change change = thing_change(group, fields, scene->now);
    cloud_put(scene->cloud, &change);
    snprintf(ret_id, 256, "%s", group->id);
    return 201;
}
