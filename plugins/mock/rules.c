#include "rules.h"

#include "md5.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int refuse(struct scene *scene, int status, const char *code, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(scene->reply->message, sizeof(scene->reply->message), format, values);
    va_end(values);
    snprintf(scene->reply->code, sizeof(scene->reply->code), "%s", code);
    scene->reply->status = status;
    return status;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void set_default(json_t *fields, const char *key, json_t *value)
{
    if (json_object_get(fields, key) == NULL) {
        json_object_set_new(fields, key, value);
    } else {
        json_decref(value);
    }
}

/* A thing that a body refers to has to be there, and not on its way out. */
static struct thing *referred(struct scene *scene, enum kind kind, const char *id)
{
    struct thing *thing = id ? cloud_find(scene->cloud, kind, id) : NULL;
    if (thing == NULL || thing->leaving) {
        (void)refuse(scene, 400, "invalid", "%s %.60s does not exist", kind_name(kind),
                     id ? id : "without an id");
        return NULL;
    }
    return thing;
}

static int check_groups(struct scene *scene, const json_t *list)
{
    size_t i;
    json_t *group;
    json_array_foreach(list, i, group)
    {
        if (referred(scene, KIND_SECURITY_GROUP, json_string_value(group)) == NULL) {
            return scene->reply->status;
        }
    }
    return 200;
}

/* True if a thing of KIND names ID in its list FIELD, be it as a text or as the member MEMBER. */
static bool is_named(struct scene *scene, enum kind kind, const char *field, const char *member,
                     const char *id)
{
    uint64_t at = 0;
    struct thing *thing;
    while ((thing = cloud_next(scene->cloud, kind, at)) != NULL) {
        size_t i;
        json_t *entry;
        bool found = false;
        at = thing->seq;
        if (thing->leaving || strstr(thing->fields, id) == NULL) {
            continue;
        }
        json_t *fields = thing_fields(thing);
        json_array_foreach(json_object_get(fields, field), i, entry)
        {
            const char *text = member ? text_of(entry, member) : json_string_value(entry);
            found = found || (text != NULL && strcmp(text, id) == 0);
        }
        json_decref(fields);
        if (found) {
            return true;
        }
    }
    return false;
}

/* Puts what was made, ready at once unless BUILD. Takes over FIELDS. */
static void put_new(struct scene *scene, struct change *change, json_t *fields, bool build)
{
    change->fields = fields;
    change->created = change->changed = scene->now;
    if (build && scene->build_ms > 0) {
        change->until = "BUILD";
        change->ready = scene->build_ms == NEVER ? NEVER : scene->now + scene->build_ms;
    }
    if (scene->vanish_ms > 0) {
        change->gone = scene->now + scene->vanish_ms;
    }
    cloud_put(scene->cloud, change);
}

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
static int take_addresses(struct scene *scene, const char *network, const json_t *wanted,
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
        const char *id = text_of(entry, "subnet");
        const char *address = text_of(entry, "ip_address");
        if (id == NULL && address != NULL) {
            scene->reply->status = 200;
            if (subnet_for(scene, network, address, list) == NULL) {
                status = refuse(scene, 400, "invalid", "port: no subnet has %.60s", address);
            } else {
                status = scene->reply->status;
            }
        } else {
            struct thing *subnet = referred(scene, KIND_SUBNET, id);
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
static void add_server_addresses(json_t *addresses, const char *port, const json_t *fields)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(fields, "fixed_ips"), i, entry)
    {
        const char *address = text_of(entry, "ip_address");
        json_array_append_new(addresses,
                              json_pack("{s:s,s:s,s:s,s:s,s:i}", "network",
                                        text_of(fields, "network"), "port", port, "address",
                                        address, "mac", text_of(fields, "mac_address"), "version",
                                        strchr(address, ':') ? 6 : 4));
    }
}

/* Makes a port, plugged into SERVER if that is not NULL; its addresses go to ADDRESSES then. */
static int make_port(struct scene *scene, json_t *spec, const char *tag, const char *server,
                     json_t *addresses, char ret_id[256])
{
    const char *network = text_of(spec, "network");
    json_t *list;
    char mac[18];
    if (referred(scene, KIND_NETWORK, network) == NULL ||
        check_groups(scene, json_object_get(spec, "security_groups")) >= 300 ||
        take_addresses(scene, network, json_object_get(spec, "fixed_ips"), &list) >= 300) {
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
    set_default(fields, "mac_address", json_string(mac));
    set_default(fields, "admin_state_up", json_true());
    set_default(fields, "vnic_type", json_string("normal"));
    struct change change = {.kind = KIND_PORT,
                            .id = ret_id,
                            .tag = tag,
                            .network = network,
                            .server = server,
                            .status = server ? "ACTIVE" : "DOWN",
                            .owned = owned || server != NULL};
    if (server != NULL) {
        add_server_addresses(addresses, ret_id, fields);
    }
    put_new(scene, &change, fields, false);
    return 201;
}

/* --- Servers --- */
static int check_server(struct scene *scene, const json_t *spec)
{
    const struct thing *image = referred(scene, KIND_IMAGE, text_of(spec, "image"));
    const struct thing *flavor =
        image ? referred(scene, KIND_FLAVOR, text_of(spec, "flavor")) : NULL;
    const char *key = text_of(spec, "key");
    if (flavor == NULL || (key != NULL && referred(scene, KIND_KEYPAIR, key) == NULL)) {
        return scene->reply->status;
    }
    if (strcmp(image->status, "ACTIVE") != 0) {
        return refuse(scene, 400, "invalid", "image %s has no data yet", image->id);
    }
    json_t *needs = thing_fields(image);
    json_t *has = thing_fields(flavor);
    bool fits = json_integer_value(json_object_get(needs, "min_ram")) <=
                    json_integer_value(json_object_get(has, "ram")) &&
                json_integer_value(json_object_get(needs, "min_disk")) <=
                    json_integer_value(json_object_get(has, "disk"));
    json_decref(needs);
    json_decref(has);
    if (!fits) {
        return refuse(scene, 400, "invalid", "flavor %s is too small for the image", flavor->id);
    }
    return check_groups(scene, json_object_get(spec, "security_groups"));
}

/* Plugs one entry of `networks` into the server ID. */
static int plug(struct scene *scene, const json_t *entry, const json_t *spec, const char *id,
                json_t *addresses)
{
    const char *port_id = text_of(entry, "port");
    if (port_id == NULL) {
        char made[256];
        json_t *port =
            json_pack("{s:s,s:s,s:b}", "name", "", "network",
                      text_of(entry, "network") ? text_of(entry, "network") : "", "owned", 1);
        json_t *groups = json_object_get(spec, "security_groups");
        const char *address = text_of(entry, "fixed_ip");
        if (groups != NULL) {
            json_object_set(port, "security_groups", groups);
        }
        if (address != NULL) {
            json_object_set_new(port, "fixed_ips", json_pack("[{s:s}]", "ip_address", address));
        }
        int status = make_port(scene, port, NULL, id, addresses, made);
        json_decref(port);
        return status;
    }
    struct thing *port = referred(scene, KIND_PORT, port_id);
    if (port == NULL) {
        return scene->reply->status;
    }
    if (port->server != NULL) {
        return refuse(scene, 409, "conflict", "port %s is plugged in already", port_id);
    }
    struct change change = thing_change(port, NULL, scene->now);
    change.server = id;
    change.status = "ACTIVE";
    if (scene->vanish_ms > 0 && port->owned) {
        change.gone = scene->now + scene->vanish_ms;
    }
    add_server_addresses(addresses, port_id, change.fields);
    cloud_put(scene->cloud, &change);
    return 200;
}

static int create_server(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    size_t i;
    json_t *entry;
    int status = check_server(scene, spec);
    if (status >= 300) {
        return status;
    }
    json_t *addresses = json_array();
    cloud_new_id(scene->cloud, ret_id);
    json_array_foreach(json_object_get(spec, "networks"), i, entry)
    {
        status = plug(scene, entry, spec, ret_id, addresses);
        if (status >= 300) {
            json_decref(addresses);
            return status;
        }
    }
    json_t *fields = json_copy(spec);
    json_object_del(fields, "networks");
    json_object_del(fields, "user_data");
    json_object_set_new(fields, "addresses", addresses);
    json_object_set_new(
        fields, "host",
        json_sprintf("compute-%u", (unsigned)(chance_bits(scene->cloud->seed, ret_id, 1) % 8) + 1));
    struct change change = {.kind = KIND_SERVER,
                            .id = ret_id,
                            .tag = tag,
                            .status = scene->error_build ? "ERROR" : "ACTIVE"};
    put_new(scene, &change, fields, true);
    return 202;
}

static int delete_server(struct scene *scene, struct thing *server)
{
    size_t i;
    json_t *entry;
    if (server->leaving) {
        return 204;
    }
    int64_t gone = scene->now + scene->delete_ms;
    json_t *fields = thing_fields(server);
    cloud_end_at(scene->cloud, server, gone, true, scene->now);
    json_array_foreach(json_object_get(fields, "addresses"), i, entry)
    {
        struct thing *port = cloud_find(scene->cloud, KIND_PORT, text_of(entry, "port"));
        if (port == NULL || port->server == NULL || strcmp(port->server, server->id) != 0) {
            continue;
        }
        if (port->owned) {
            cloud_end_at(scene->cloud, port, gone, true, scene->now);
        } else {
            struct change change = thing_change(port, NULL, scene->now);
            change.server = NULL;
            change.status = "DOWN";
            cloud_put(scene->cloud, &change);
        }
    }
    json_decref(fields);
    return 204;
}

int rules_action(struct scene *scene, struct thing *server, const char *action, json_t *arguments,
                 const char *tag)
{
    bool pending;
    const char *status = thing_status(server, scene->now, &pending);
    struct change change = thing_change(server, NULL, scene->now);
    const char *needs = strcmp(action, "start") == 0 ? "SHUTOFF" : "ACTIVE";
    const char *type = text_of(arguments, "type");
    int result = 202;
    if (strcmp(action, "start") != 0 && strcmp(action, "stop") != 0 &&
        strcmp(action, "reboot") != 0) {
        result = refuse(scene, 400, "invalid", "there is no action '%.60s'", action);
    } else if (type != NULL && strcmp(type, "soft") != 0 && strcmp(type, "hard") != 0) {
        result = refuse(scene, 400, "invalid", "reboot: the type is soft or hard");
    } else if (strcmp(status, needs) != 0) {
        result =
            refuse(scene, 409, "conflict", "%s: the server is %s, not %s", action, status, needs);
    }
    if (result >= 300) {
        json_decref(change.fields);
        return result;
    }
    change.status = strcmp(action, "stop") == 0 ? "SHUTOFF" : "ACTIVE";
    change.did = tag;
    change.until = NULL;
    change.ready = 0;
    if (scene->build_ms > 0) {
        change.until = "UPDATING";
        change.ready = scene->build_ms == NEVER ? NEVER : scene->now + scene->build_ms;
    }
    cloud_put(scene->cloud, &change);
    return 202;
}

/* --- Networks and subnets --- */
static int create_network(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_copy(spec);
    cloud_new_id(scene->cloud, ret_id);
    set_default(fields, "admin_state_up", json_true());
    set_default(fields, "mtu", json_integer(1450));
    set_default(fields, "external", json_false());
    set_default(fields, "shared_network", json_false());
    json_object_set_new(fields, "subnets", json_array());
    struct change change = {.kind = KIND_NETWORK,
                            .id = ret_id,
                            .tag = tag,
                            .status = "ACTIVE",
                            .shared = json_is_true(json_object_get(fields, "external")) ||
                                      json_is_true(json_object_get(fields, "shared_network"))};
    put_new(scene, &change, fields, false);
    return 201;
}

/* Adds or removes SUBNET in the network's list. */
static void list_subnet(struct scene *scene, const struct thing *network, const char *subnet,
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

static int create_subnet(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    struct thing *network = referred(scene, KIND_NETWORK, text_of(spec, "network"));
    if (network == NULL) {
        return scene->reply->status;
    }
    json_t *fields = json_copy(spec);
    if (subnet_complete(scene, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    cloud_new_id(scene->cloud, ret_id);
    list_subnet(scene, network, ret_id, true);
    struct change change = {.kind = KIND_SUBNET,
                            .id = ret_id,
                            .tag = tag,
                            .network = network->id,
                            .status = "ACTIVE",
                            .shared = network->shared};
    put_new(scene, &change, fields, false);
    return 201;
}

static int delete_network(struct scene *scene, struct thing *network)
{
    uint64_t at = 0;
    struct thing *subnet;
    if (network->ports > 0) {
        return refuse(scene, 409, "in_use", "network %s has %u ports", network->id, network->ports);
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
    const char *direction = text_of(rule, "direction");
    const char *group = text_of(rule, "remote_group");
    if (direction == NULL ||
        (strcmp(direction, "ingress") != 0 && strcmp(direction, "egress") != 0)) {
        return refuse(scene, 400, "invalid", "rule: the direction is ingress or egress");
    }
    if (group != NULL && referred(scene, KIND_SECURITY_GROUP, group) == NULL) {
        return scene->reply->status;
    }
    set_default(rule, "ethertype", json_string("IPv4"));
    return 200;
}

static int check_rules(struct scene *scene, json_t *rules)
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

static int create_group(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_deep_copy(spec);
    json_t *defaults = json_object_get(fields, "default_rules");
    bool bare = defaults != NULL && !json_is_true(defaults);
    json_object_del(fields, "default_rules");
    if (check_rules(scene, json_object_get(fields, "rules")) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    set_default(fields, "stateful", json_true());
    set_default(fields, "rules",
                bare ? json_array()
                     : json_pack("[{s:s,s:s},{s:s,s:s}]", "direction", "egress", "ethertype",
                                 "IPv4", "direction", "egress", "ethertype", "IPv6"));
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {
        .kind = KIND_SECURITY_GROUP, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    put_new(scene, &change, fields, false);
    return 201;
}

int rules_create_rule(struct scene *scene, json_t *spec, char ret_id[256])
{
    size_t i;
    json_t *known;
    struct thing *group = referred(scene, KIND_SECURITY_GROUP, text_of(spec, "group"));
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

/* --- Flavors, keypairs, images --- */
static int create_flavor(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    uint64_t at = 0;
    struct thing *other;
    while ((other = cloud_next(scene->cloud, KIND_FLAVOR, at)) != NULL) {
        at = other->seq;
        json_t *fields = thing_fields(other);
        bool same = strcmp(text_of(fields, "name"), text_of(spec, "name")) == 0;
        json_decref(fields);
        if (same) {
            return refuse(scene, 409, "conflict", "a flavor of that name exists");
        }
    }
    json_t *fields = json_copy(spec);
    set_default(fields, "disk", json_integer(0));
    set_default(fields, "ephemeral", json_integer(0));
    set_default(fields, "swap", json_integer(0));
    set_default(fields, "public", json_true());
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_FLAVOR,
                            .id = ret_id,
                            .tag = tag,
                            .status = "ACTIVE",
                            .shared = json_is_true(json_object_get(fields, "public"))};
    put_new(scene, &change, fields, false);
    return 201;
}

static int create_keypair(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    const char *key = text_of(spec, "public_key");
    struct md5 md5;
    char hex[33];
    struct text fingerprint = {0};
    snprintf(ret_id, 256, "%s", text_of(spec, "name"));
    if (cloud_find(scene->cloud, KIND_KEYPAIR, ret_id) != NULL) {
        return refuse(scene, 409, "conflict", "a keypair of that name exists");
    }
    md5_begin(&md5);
    md5_add(&md5, key, strlen(key));
    md5_end(&md5, hex);
    for (int i = 0; i < 32; i += 2) {
        text_addf(&fingerprint, "%s%.2s", i ? ":" : "", hex + i);
    }
    json_t *fields = json_copy(spec);
    set_default(fields, "type", json_string("ssh"));
    json_object_set_new(fields, "fingerprint", json_string(fingerprint.bytes));
    text_free(&fingerprint);
    struct change change = {.kind = KIND_KEYPAIR, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    put_new(scene, &change, fields, false);
    return 201;
}

static bool is_visible(const json_t *fields)
{
    const char *visibility = text_of(fields, "visibility");
    return visibility != NULL &&
           (strcmp(visibility, "public") == 0 || strcmp(visibility, "community") == 0);
}

static int create_image(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_copy(spec);
    set_default(fields, "container_format", json_string("bare"));
    set_default(fields, "visibility", json_string("private"));
    set_default(fields, "min_disk", json_integer(0));
    set_default(fields, "min_ram", json_integer(0));
    set_default(fields, "protected", json_false());
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_IMAGE,
                            .id = ret_id,
                            .tag = tag,
                            .status = "QUEUED",
                            .shared = is_visible(fields)};
    put_new(scene, &change, fields, false);
    return 201;
}

int rules_upload(struct scene *scene, struct thing *image, int64_t size, const char *checksum)
{
    if (strcmp(image->status, "QUEUED") != 0) {
        return refuse(scene, 409, "conflict", "image %s has its data already", image->id);
    }
    json_t *fields = thing_fields(image);
    json_object_set_new(fields, "size", json_integer(size));
    json_object_set_new(fields, "checksum", json_string(checksum));
    struct change change = thing_change(image, fields, scene->now);
    change.status = "ACTIVE";
    cloud_put(scene->cloud, &change);
    return 204;
}

/* --- All kinds --- */
int rules_create(struct scene *scene, enum kind kind, json_t *spec, const char *tag,
                 char ret_id[256])
{
    switch (kind) {
    case KIND_FLAVOR:
        return create_flavor(scene, spec, tag, ret_id);
    case KIND_IMAGE:
        return create_image(scene, spec, tag, ret_id);
    case KIND_KEYPAIR:
        return create_keypair(scene, spec, tag, ret_id);
    case KIND_SECURITY_GROUP:
        return create_group(scene, spec, tag, ret_id);
    case KIND_NETWORK:
        return create_network(scene, spec, tag, ret_id);
    case KIND_SUBNET:
        return create_subnet(scene, spec, tag, ret_id);
    case KIND_PORT:
        return make_port(scene, spec, tag, NULL, NULL, ret_id);
    case KIND_SERVER:
        return create_server(scene, spec, tag, ret_id);
    case KIND_COUNT:
        break;
    }
    return refuse(scene, 400, "invalid", "there is no such kind");
}

int rules_update(struct scene *scene, struct thing *thing, json_t *changes)
{
    if (thing->kind == KIND_KEYPAIR || thing->kind == KIND_FLAVOR) {
        return refuse(scene, 400, "invalid", "a %s cannot be changed", kind_name(thing->kind));
    }
    json_t *fields = thing_fields(thing);
    int status = check_rules(scene, json_object_get(changes, "rules"));
    json_t *addresses = json_object_get(changes, "fixed_ips");
    json_t *pools = json_object_get(changes, "allocation_pools");
    if (status < 300) {
        status = check_groups(scene, json_object_get(changes, "security_groups"));
    }
    json_object_update(fields, changes);
    if (status < 300 && addresses != NULL) {
        json_t *list = NULL;
        if (thing->server != NULL) {
            status = refuse(scene, 409, "conflict", "port %s is plugged in", thing->id);
        } else if ((status = take_addresses(scene, thing->network, addresses, &list)) < 300) {
            json_object_set_new(fields, "fixed_ips", list);
        }
    }
    if (status < 300 && (pools != NULL || json_object_get(changes, "gateway_ip") != NULL)) {
        status = subnet_complete(scene, fields);
    }
    if (status >= 300) {
        json_decref(fields);
        return status;
    }
    struct change change = thing_change(thing, fields, scene->now);
    if (thing->kind == KIND_IMAGE) {
        change.shared = is_visible(fields);
    }
    cloud_put(scene->cloud, &change);
    return 200;
}

int rules_delete(struct scene *scene, struct thing *thing)
{
    if (thing->kind == KIND_SERVER) {
        return delete_server(scene, thing);
    }
    if (thing->kind == KIND_NETWORK) {
        return delete_network(scene, thing);
    }
    if (thing->kind == KIND_PORT && thing->server != NULL) {
        return refuse(scene, 409, "in_use", "port %s is plugged into a server", thing->id);
    }
    if (thing->kind == KIND_SUBNET) {
        struct thing *network = cloud_find(scene->cloud, KIND_NETWORK, thing->network);
        if (is_named(scene, KIND_PORT, "fixed_ips", "subnet", thing->id)) {
            return refuse(scene, 409, "in_use", "subnet %s has ports", thing->id);
        }
        if (network != NULL) {
            list_subnet(scene, network, thing->id, false);
        }
    }
    if (thing->kind == KIND_SECURITY_GROUP &&
        (is_named(scene, KIND_PORT, "security_groups", NULL, thing->id) ||
         is_named(scene, KIND_SERVER, "security_groups", NULL, thing->id))) {
        return refuse(scene, 409, "in_use", "security group %s is in use", thing->id);
    }
    if (thing->kind == KIND_IMAGE && strstr(thing->fields, "\"protected\":true") != NULL) {
        return refuse(scene, 403, "denied", "image %s is protected", thing->id);
    }
    cloud_end_at(scene->cloud, thing, scene->now, false, scene->now);
    return 204;
}
