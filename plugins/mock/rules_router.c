/* Routers, their interfaces, and floating IPs. */
#include "rules_parts.h"

#include <stdio.h>
#include <string.h>

/* An external network that a body refers to; else refuses, NULL. */
static struct thing *external_network(struct scene *scene, const char *id)
{
    struct thing *network = rules_referred(scene, KIND_NETWORK, id);
    if (network != NULL && strstr(network->fields, "\"external\":true") == NULL) {
        (void)refuse(scene, 400, "invalid", "network %s is not external", network->id);
        return NULL;
    }
    return network;
}

/* --- Routers --- */

/* Leads the router with FIELDS outside, as its external_network says. */
static int open_gateway(struct scene *scene, json_t *fields)
{
    const char *id = json_text(fields, "external_network");
    json_t *list = NULL;
    json_object_del(fields, "external_ips");
    if (id == NULL) {
        json_object_del(fields, "external_network");
        json_object_del(fields, "enable_snat");
        return 200;
    }
    if (external_network(scene, id) == NULL || port_take_addresses(scene, id, NULL, &list) >= 300) {
        return scene->reply->status;
    }
    json_object_set_new(fields, "external_ips", list);
    json_default(fields, "enable_snat", json_true());
    return 200;
}

int router_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_copy(spec);
    if (open_gateway(scene, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    cloud_new_id(scene->cloud, ret_id);
    json_default(fields, "admin_state_up", json_true());
    json_object_set_new(fields, "interfaces", json_array());
    struct change change = {.kind = KIND_ROUTER, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

/* A floating IP that ROUTER translates; of PORT, if that is not NULL. */
static struct thing *floating_of(struct scene *scene, const char *router, const char *port)
{
    struct thing *floating = cloud_next(scene->cloud, KIND_FLOATING_IP, 0);
    for (; floating != NULL; floating = cloud_next(scene->cloud, KIND_FLOATING_IP, floating->seq)) {
        json_t *fields = thing_fields(floating);
        const char *by = json_text(fields, "router");
        const char *to = json_text(fields, "port");
        bool found = to != NULL && (router == NULL || (by != NULL && strcmp(by, router) == 0)) &&
                     (port == NULL || strcmp(to, port) == 0);
        json_decref(fields);
        if (found) {
            return floating;
        }
    }
    return NULL;
}

int router_update(struct scene *scene, struct thing *router, json_t *changes)
{
    json_t *fields = thing_fields(router);
    const char *now = json_text(fields, "external_network");
    const json_t *given = json_object_get(changes, "external_network");
    const char *wanted = json_string_value(given);
    bool moves = given != NULL && (wanted == NULL || now == NULL || strcmp(wanted, now) != 0);
    const struct thing *floating = moves ? floating_of(scene, router->id, NULL) : NULL;
    int status = 200;
    if (floating != NULL) {
        status = refuse(scene, 409, "in_use", "router %s serves floating IP %s", router->id,
                        floating->id);
    }
    json_object_update(fields, changes);
    if (status < 300 && moves) {
        status = open_gateway(scene, fields);
    }
    if (status >= 300) {
        json_decref(fields);
        return status;
    }
    struct change change = thing_change(router, fields, scene->now);
    cloud_put(scene->cloud, &change);
    return 200;
}

/* Where in the list of interfaces the one to SUBNET or by PORT stands; -1 if there is none. */
static int find_interface(const json_t *list, const char *subnet, const char *port)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *text = json_text(entry, subnet ? "subnet" : "port");
        if (text != NULL && strcmp(text, subnet ? subnet : port) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The port of a new interface to SUBNET_ID, with the address of its gateway. */
static int make_interface_port(struct scene *scene, const struct thing *router,
                               const char *subnet_id, char ret_id[256])
{
    struct thing *subnet = rules_referred(scene, KIND_SUBNET, subnet_id);
    if (subnet == NULL) {
        return scene->reply->status;
    }
    json_t *fields = thing_fields(subnet);
    const char *gateway = json_text(fields, "gateway_ip");
    int status = 400;
    if (gateway == NULL) {
        (void)refuse(scene, 400, "invalid", "subnet %s has no gateway", subnet->id);
    } else {
        json_t *port = json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "name", "", "network", subnet->network,
                                 "fixed_ips", "subnet", subnet->id, "ip_address", gateway);
        status = port_make(scene, port, NULL, NULL, NULL, ret_id);
        json_decref(port);
    }
    json_decref(fields);
    if (status < 300) {
        /* It is in the transaction only, so far: complete it there. */
        json_t *entry =
            json_array_get(scene->cloud->changes, json_array_size(scene->cloud->changes) - 1);
        json_object_set_new(entry, "router", json_string(router->id));
        json_object_set_new(entry, "status", json_string("ACTIVE"));
    }
    return status;
}

/* Makes PORT, which is there, the router's. */
static int take_port(struct scene *scene, const struct thing *router, const char *id)
{
    struct thing *port = rules_referred(scene, KIND_PORT, id);
    if (port == NULL) {
        return scene->reply->status;
    }
    if (port->server != NULL || port->router != NULL) {
        return refuse(scene, 409, "conflict", "port %s is plugged in already", port->id);
    }
    if (strstr(port->fields, "\"fixed_ips\":[]") != NULL) {
        return refuse(scene, 400, "invalid", "port %s has no address", port->id);
    }
    struct change change = thing_change(port, NULL, scene->now);
    change.router = router->id;
    change.status = "ACTIVE";
    cloud_put(scene->cloud, &change);
    return 200;
}

static void put_interfaces(struct scene *scene, const struct thing *router, json_t *fields,
                           const char *tag)
{
    struct change change = thing_change(router, fields, scene->now);
    change.did = tag;
    cloud_put(scene->cloud, &change);
}

static int add_interface(struct scene *scene, struct thing *router, const json_t *arguments,
                         const char *tag)
{
    const char *subnet = json_text(arguments, "subnet");
    const char *given = json_text(arguments, "port");
    char port[256];
    json_t *fields = thing_fields(router);
    json_t *list = json_object_get(fields, "interfaces");
    int status;
    if (find_interface(list, subnet, given) >= 0) {
        status = refuse(scene, 409, "conflict", "router %s leads there already", router->id);
    } else if (subnet != NULL) {
        status = make_interface_port(scene, router, subnet, port);
    } else {
        snprintf(port, sizeof(port), "%s", given);
        status = take_port(scene, router, given);
    }
    if (status >= 300) {
        json_decref(fields);
        return status;
    }
    json_t *entry =
        json_array_get(scene->cloud->changes, json_array_size(scene->cloud->changes) - 1);
    json_t *address =
        json_array_get(json_object_get(json_object_get(entry, "fields"), "fixed_ips"), 0);
    json_array_append_new(list, json_pack("{s:s,s:O,s:O}", "port", port, "subnet",
                                          json_object_get(address, "subnet"), "ip_address",
                                          json_object_get(address, "ip_address")));
    put_interfaces(scene, router, fields, tag);
    return 200;
}

/* True if a floating IP leads through the router to a port in SUBNET; refuses then. */
static bool serves(struct scene *scene, const struct thing *router, const char *subnet)
{
    const struct thing *floating = cloud_next(scene->cloud, KIND_FLOATING_IP, 0);
    bool found = false;
    for (; floating != NULL && !found;
         floating = cloud_next(scene->cloud, KIND_FLOATING_IP, floating->seq)) {
        json_t *fields = thing_fields(floating);
        const char *by = json_text(fields, "router");
        const char *to = json_text(fields, "port");
        const struct thing *port = to ? cloud_find(scene->cloud, KIND_PORT, to) : NULL;
        if (port != NULL && by != NULL && strcmp(by, router->id) == 0 &&
            strstr(port->fields, subnet) != NULL) {
            (void)refuse(scene, 409, "in_use", "router %s serves floating IP %s there", router->id,
                         floating->id);
            found = true;
        }
        json_decref(fields);
    }
    return found;
}

static int remove_interface(struct scene *scene, struct thing *router, const json_t *arguments,
                            const char *tag)
{
    json_t *fields = thing_fields(router);
    json_t *list = json_object_get(fields, "interfaces");
    int at = find_interface(list, json_text(arguments, "subnet"), json_text(arguments, "port"));
    json_t *entry = at < 0 ? NULL : json_array_get(list, (size_t)at);
    int status = 200;
    if (entry == NULL) {
        status = refuse(scene, 404, "not_found", "router %s does not lead there", router->id);
    } else if (serves(scene, router, json_text(entry, "subnet"))) {
        status = scene->reply->status;
    }
    if (status >= 300) {
        json_decref(fields);
        return status;
    }
    const struct thing *port = cloud_find(scene->cloud, KIND_PORT, json_text(entry, "port"));
    if (port != NULL) {
        cloud_end_at(scene->cloud, port, scene->now, false, scene->now);
    }
    json_array_remove(list, (size_t)at);
    put_interfaces(scene, router, fields, tag);
    return 200;
}

int router_action(struct scene *scene, struct thing *router, const char *action,
                  const json_t *arguments, const char *tag)
{
    if ((json_text(arguments, "subnet") == NULL) == (json_text(arguments, "port") == NULL)) {
        return refuse(scene, 400, "invalid", "%.60s: either a subnet or a port is needed", action);
    }
    if (strcmp(action, "add_interface") == 0) {
        return add_interface(scene, router, arguments, tag);
    }
    if (strcmp(action, "remove_interface") == 0) {
        return remove_interface(scene, router, arguments, tag);
    }
    return refuse(scene, 400, "invalid", "there is no action '%.60s'", action);
}

int router_delete(struct scene *scene, struct thing *router)
{
    json_t *fields = thing_fields(router);
    const json_t *first = json_array_get(json_object_get(fields, "interfaces"), 0);
    int status = first == NULL ? 204
                               : refuse(scene, 409, "in_use", "router %s has an interface, port %s",
                                        router->id, json_text(first, "port"));
    json_decref(fields);
    if (status < 300) {
        cloud_end_at(scene->cloud, router, scene->now, false, scene->now);
    }
    return status;
}

/* --- Floating IPs --- */

/* The router that leads from SUBNET to the external network; NULL if none does. */
static const struct thing *router_between(struct scene *scene, const char *subnet,
                                          const char *external)
{
    const struct thing *router = cloud_next(scene->cloud, KIND_ROUTER, 0);
    for (; router != NULL; router = cloud_next(scene->cloud, KIND_ROUTER, router->seq)) {
        json_t *fields = thing_fields(router);
        const char *outside = json_text(fields, "external_network");
        bool leads = outside != NULL && strcmp(outside, external) == 0 &&
                     find_interface(json_object_get(fields, "interfaces"), subnet, NULL) >= 0;
        json_decref(fields);
        if (leads) {
            return router;
        }
    }
    return NULL;
}

/* The address of PORT with FIELDS that a floating IP is to lead to: WANTED, or the first. */
static const json_t *port_address(const json_t *fields, const char *wanted)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(fields, "fixed_ips"), i, entry)
    {
        if (wanted == NULL || strcmp(json_text(entry, "ip_address"), wanted) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* Leads the floating IP with FIELDS to the port that they name, or to none. ID is its own. */
static int lead_to_port(struct scene *scene, const char *id, json_t *fields)
{
    const char *port_id = json_text(fields, "port");
    json_object_del(fields, "router");
    if (port_id == NULL) {
        json_object_del(fields, "port");
        json_object_del(fields, "fixed_ip");
        return 200;
    }
    const struct thing *port = rules_referred(scene, KIND_PORT, port_id);
    const struct thing *other = port ? floating_of(scene, NULL, port_id) : NULL;
    if (port == NULL) {
        return scene->reply->status;
    }
    if (other != NULL && strcmp(other->id, id) != 0) {
        return refuse(scene, 409, "conflict", "floating IP %s leads to port %s already", other->id,
                      port->id);
    }
    json_t *has = thing_fields(port);
    const json_t *address = port_address(has, json_text(fields, "fixed_ip"));
    const struct thing *router =
        address == NULL
            ? NULL
            : router_between(scene, json_text(address, "subnet"), json_text(fields, "network"));
    int status = 200;
    if (address == NULL) {
        status = refuse(scene, 400, "invalid", "port %s has no such address", port->id);
    } else if (router == NULL) {
        status = refuse(scene, 409, "conflict",
                        "no router leads from subnet %s to the network of the floating IP",
                        json_text(address, "subnet"));
    } else {
        json_object_set(fields, "fixed_ip", json_object_get(address, "ip_address"));
        json_object_set_new(fields, "router", json_string(router->id));
    }
    json_decref(has);
    return status;
}

int floating_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    const struct thing *network = external_network(scene, json_text(spec, "network"));
    const char *address = json_text(spec, "address");
    const char *subnet = json_text(spec, "subnet");
    json_t *list = NULL;
    if (network == NULL) {
        return scene->reply->status;
    }
    json_t *wanted = subnet || address ? json_pack("[{}]") : NULL;
    if (subnet != NULL) {
        json_object_set_new(json_array_get(wanted, 0), "subnet", json_string(subnet));
    }
    if (address != NULL) {
        json_object_set_new(json_array_get(wanted, 0), "ip_address", json_string(address));
    }
    int status = port_take_addresses(scene, network->id, wanted, &list);
    json_decref(wanted);
    if (status >= 300) {
        return status;
    }
    const json_t *taken = json_array_get(list, 0);
    if (taken == NULL) {
        json_decref(list);
        return refuse(scene, 409, "quota", "network %s has no subnet", network->id);
    }
    json_t *fields = json_copy(spec);
    json_object_set(fields, "subnet", json_object_get(taken, "subnet"));
    json_object_set(fields, "address", json_object_get(taken, "ip_address"));
    json_object_del(fields, "name");
    json_decref(list);
    cloud_new_id(scene->cloud, ret_id);
    if (lead_to_port(scene, ret_id, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    struct change change = {.kind = KIND_FLOATING_IP,
                            .id = ret_id,
                            .tag = tag,
                            .network = network->id,
                            .status = json_text(fields, "port") ? "ACTIVE" : "DOWN"};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

int floating_update(struct scene *scene, struct thing *floating, json_t *changes)
{
    json_t *fields = thing_fields(floating);
    if (json_object_get(changes, "port") != NULL) {
        json_object_del(fields, "fixed_ip");
    }
    json_object_update(fields, changes);
    if (lead_to_port(scene, floating->id, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    struct change change = thing_change(floating, fields, scene->now);
    change.status = json_text(fields, "port") ? "ACTIVE" : "DOWN";
    cloud_put(scene->cloud, &change);
    return 200;
}

void floating_forget_port(struct scene *scene, const char *port)
{
    const struct thing *floating = floating_of(scene, NULL, port);
    if (floating == NULL) {
        return;
    }
    json_t *fields = thing_fields(floating);
    json_object_del(fields, "port");
    json_object_del(fields, "fixed_ip");
    json_object_del(fields, "router");
    struct change change = thing_change(floating, fields, scene->now);
    change.status = "DOWN";
    cloud_put(scene->cloud, &change);
}
