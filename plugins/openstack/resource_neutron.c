#include "resource.h"

#include <string.h>
#include <strings.h>

/* What every resource of Neutron has. */
static int read_common(const json_t *from, struct os_found *found)
{
    const char *description = os_json_text(from, "description");
    int length;

    if (os_read_id(from, "id", found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    found->status = "ACTIVE";
    found->body = json_object();
    os_read_text(from, "project_id", found->project, sizeof(found->project));
    if (found->project[0] == '\0') {
        os_read_text(from, "tenant_id", found->project, sizeof(found->project));
    }
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy_time(found->body, "created", from, "created_at");
    os_json_copy_time(found->body, "updated", from, "updated_at");
    length = os_tag_read(description, found->tag);
    if (description != NULL) {
        json_object_set_new(found->body, "description", json_stringn(description, (size_t)length));
    }
    return VIM_OK;
}

static void read_status(const json_t *from, struct os_found *found)
{
    const char *status = os_json_text(from, "status");

    found->status = "UNKNOWN";
    if (status == NULL) {
        return;
    }
    json_object_set_new(found->body, "backend_status", json_string(status));
    if (strcmp(status, "ACTIVE") == 0 || strcmp(status, "DOWN") == 0 ||
        strcmp(status, "ERROR") == 0) {
        found->status = strcmp(status, "ACTIVE") == 0 ? "ACTIVE"
                        : strcmp(status, "DOWN") == 0 ? "DOWN"
                                                      : "ERROR";
    } else if (strcmp(status, "BUILD") == 0) {
        found->status = "BUILD";
        found->flags |= VIM_ITEM_PENDING;
    }
}

int os_read_network(const json_t *from, struct os_found *found)
{
    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    read_status(from, found);
    os_json_copy(found->body, "mtu", from, "mtu", JSON_INTEGER);
    os_json_copy(found->body, "admin_state_up", from, "admin_state_up", JSON_TRUE);
    os_json_copy(found->body, "external", from, "router:external", JSON_TRUE);
    os_json_copy(found->body, "shared_network", from, "shared", JSON_TRUE);
    os_json_copy(found->body, "network_type", from, "provider:network_type", JSON_STRING);
    os_json_copy(found->body, "physical_network", from, "provider:physical_network", JSON_STRING);
    os_json_copy(found->body, "segmentation_id", from, "provider:segmentation_id", JSON_INTEGER);
    os_json_copy(found->body, "subnets", from, "subnets", JSON_ARRAY);
    if (os_json_true(from, "shared") || os_json_true(from, "router:external")) {
        found->flags |= VIM_ITEM_SHARED;
    }
    return VIM_OK;
}

int os_read_subnet(const json_t *from, struct os_found *found)
{
    const json_t *gateway = json_object_get(from, "gateway_ip");

    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    /* Whoever sees a subnet sees its network; whose it is does not matter then. */
    found->project[0] = '\0';
    os_read_text(from, "network_id", found->parent, sizeof(found->parent));
    os_json_copy(found->body, "network", from, "network_id", JSON_STRING);
    os_json_copy(found->body, "cidr", from, "cidr", JSON_STRING);
    os_json_copy(found->body, "ip_version", from, "ip_version", JSON_INTEGER);
    if (json_is_null(gateway) || json_is_string(gateway)) {
        json_object_set(found->body, "gateway_ip", (json_t *)gateway);
    }
    os_json_copy(found->body, "enable_dhcp", from, "enable_dhcp", JSON_TRUE);
    os_json_copy(found->body, "dns_nameservers", from, "dns_nameservers", JSON_ARRAY);
    os_json_copy(found->body, "allocation_pools", from, "allocation_pools", JSON_ARRAY);
    os_json_copy(found->body, "host_routes", from, "host_routes", JSON_ARRAY);
    return VIM_OK;
}

static void read_fixed_ips(const json_t *from, json_t *body)
{
    const json_t *entries = json_object_get(from, "fixed_ips");
    json_t *shown = json_array();
    const json_t *entry;
    size_t at;

    json_array_foreach((json_t *)entries, at, entry)
    {
        json_t *ip = json_object();
        os_json_copy(ip, "subnet", entry, "subnet_id", JSON_STRING);
        os_json_copy(ip, "ip_address", entry, "ip_address", JSON_STRING);
        json_array_append_new(shown, ip);
    }
    json_object_set_new(body, "fixed_ips", shown);
}

int os_read_port(const json_t *from, struct os_found *found)
{
    const char *owner = os_json_text(from, "device_owner");
    const char *device = os_json_text(from, "device_id");

    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    read_status(from, found);
    os_read_text(from, "network_id", found->parent, sizeof(found->parent));
    os_json_copy(found->body, "network", from, "network_id", JSON_STRING);
    read_fixed_ips(from, found->body);
    os_json_copy(found->body, "mac_address", from, "mac_address", JSON_STRING);
    os_json_copy(found->body, "admin_state_up", from, "admin_state_up", JSON_TRUE);
    os_json_copy(found->body, "security_groups", from, "security_groups", JSON_ARRAY);
    os_json_copy(found->body, "allowed_address_pairs", from, "allowed_address_pairs", JSON_ARRAY);
    os_json_copy(found->body, "vnic_type", from, "binding:vnic_type", JSON_STRING);
    if (owner != NULL && *owner != '\0') {
        json_object_set_new(found->body, "device_owner", json_string(owner));
        if (strncmp(owner, "compute:", 8) == 0 && device != NULL && *device != '\0') {
            json_object_set_new(found->body, "server", json_string(device));
        }
    }
    return VIM_OK;
}

int os_read_router(const json_t *from, struct os_found *found)
{
    const json_t *gateway = json_object_get(from, "external_gateway_info");
    json_t *addresses = json_array();
    const json_t *entry;
    size_t at;

    if (read_common(from, found) != VIM_OK) {
        json_decref(addresses);
        return VIM_E_INTERNAL;
    }
    read_status(from, found);
    os_json_copy(found->body, "admin_state_up", from, "admin_state_up", JSON_TRUE);
    if (json_is_object(gateway)) {
        os_json_copy(found->body, "external_network", gateway, "network_id", JSON_STRING);
        os_json_copy(found->body, "enable_snat", gateway, "enable_snat", JSON_TRUE);
    }
    json_array_foreach(json_object_get(gateway, "external_fixed_ips"), at, entry)
    {
        json_t *ip = json_object();
        os_json_copy(ip, "subnet", entry, "subnet_id", JSON_STRING);
        os_json_copy(ip, "ip_address", entry, "ip_address", JSON_STRING);
        json_array_append_new(addresses, ip);
    }
    json_object_set_new(found->body, "external_ips", addresses);
    return VIM_OK;
}

void os_join_interfaces(struct os_found *router, const json_t *index)
{
    json_t *interfaces = json_array();
    const json_t *port;
    size_t at;

    json_array_foreach(json_object_get(index, router->id), at, port)
    {
        const json_t *address = json_array_get(json_object_get(port, "fixed_ips"), 0);
        json_t *shown = json_object();
        os_json_copy(shown, "port", port, "id", JSON_STRING);
        os_json_copy(shown, "subnet", address, "subnet_id", JSON_STRING);
        os_json_copy(shown, "ip_address", address, "ip_address", JSON_STRING);
        json_array_append_new(interfaces, shown);
    }
    json_object_set_new(router->body, "interfaces", interfaces);
}

int os_read_floating_ip(const json_t *from, struct os_found *found)
{
    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    read_status(from, found);
    json_object_del(found->body, "name"); /* it has none */
    os_read_text(from, "floating_network_id", found->parent, sizeof(found->parent));
    os_json_copy(found->body, "network", from, "floating_network_id", JSON_STRING);
    os_json_copy(found->body, "address", from, "floating_ip_address", JSON_STRING);
    os_json_copy(found->body, "port", from, "port_id", JSON_STRING);
    os_json_copy(found->body, "fixed_ip", from, "fixed_ip_address", JSON_STRING);
    os_json_copy(found->body, "router", from, "router_id", JSON_STRING);
    return VIM_OK;
}

json_t *os_read_rule(const json_t *from)
{
    json_t *rule = json_object();

    os_json_copy(rule, "direction", from, "direction", JSON_STRING);
    os_json_copy(rule, "ethertype", from, "ethertype", JSON_STRING);
    os_json_copy(rule, "protocol", from, "protocol", JSON_STRING);
    os_json_copy(rule, "port_min", from, "port_range_min", JSON_INTEGER);
    os_json_copy(rule, "port_max", from, "port_range_max", JSON_INTEGER);
    os_json_copy(rule, "remote_cidr", from, "remote_ip_prefix", JSON_STRING);
    os_json_copy(rule, "remote_group", from, "remote_group_id", JSON_STRING);
    return rule;
}

int os_read_security_group(const json_t *from, struct os_found *found)
{
    const json_t *entries = json_object_get(from, "security_group_rules");
    json_t *rules;
    const json_t *entry;
    size_t at;

    if (read_common(from, found) != VIM_OK || !json_is_array(entries)) {
        return VIM_E_INTERNAL;
    }
    os_json_copy(found->body, "stateful", from, "stateful", JSON_TRUE);
    rules = json_array();
    json_array_foreach((json_t *)entries, at, entry)
    {
        json_array_append_new(rules, os_read_rule(entry));
    }
    json_object_set_new(found->body, "rules", rules);
    if (os_json_true(from, "shared")) {
        found->flags |= VIM_ITEM_SHARED;
    }
    return VIM_OK;
}
