/* Servers: what they need, the ports that they are plugged into, actions. */
#include "rules_parts.h"

#include <stdio.h>
#include <string.h>

/* Does the server fit into its flavor? An image's demand on the disk is one on the volume where there is one. */
static int check_sizes(struct scene *scene, const struct thing *image, const struct thing *flavor,
                       const json_t *boot)
{
    json_t *needs = thing_fields(image);
    json_t *has = thing_fields(flavor);
    int64_t disk =
        json_integer_value(boot ? json_object_get(boot, "size") : json_object_get(has, "disk"));
    bool fits = json_integer_value(json_object_get(needs, "min_ram")) <=
                    json_integer_value(json_object_get(has, "ram")) &&
                json_integer_value(json_object_get(needs, "min_disk")) <= disk;
    json_decref(needs);
    json_decref(has);
    if (!fits) {
        return refuse(scene, 400, "invalid", "%s %s is too small for the image",
                      boot ? "the volume for flavor" : "flavor", flavor->id);
    }
    return 200;
}

static int check_server(struct scene *scene, const json_t *spec)
{
    const json_t *boot = json_object_get(spec, "boot_volume");
    const char *volume = json_text(boot, "volume");
    const struct thing *image =
        volume ? NULL : rules_referred(scene, KIND_IMAGE, json_text(spec, "image"));
    const struct thing *flavor =
        volume || image ? rules_referred(scene, KIND_FLAVOR, json_text(spec, "flavor")) : NULL;
    const char *key = json_text(spec, "key");
    if (flavor == NULL || (key != NULL && rules_referred(scene, KIND_KEYPAIR, key) == NULL)) {
        return scene->reply->status;
    }
    if (image != NULL && strcmp(image->status, "ACTIVE") != 0) {
        return refuse(scene, 400, "invalid", "image %s has no data yet", image->id);
    }
    if ((image != NULL && check_sizes(scene, image, flavor, boot) >= 300) ||
        volume_check_boot(scene, boot) >= 300) {
        return scene->reply->status;
    }
    struct amounts uses = flavor_amounts(flavor);
    uses.storage = json_integer_value(json_object_get(boot, "size"));
    const char *group = json_text(spec, "affinity_group");
    if ((group != NULL && rules_referred(scene, KIND_AFFINITY_GROUP, group) == NULL) ||
        place_check_zone(scene, json_text(spec, "zone")) >= 300 ||
        rules_check_amounts(scene, &uses) >= 300) {
        return scene->reply->status;
    }
    return rules_check_groups(scene, json_object_get(spec, "security_groups"));
}

/* Plugs one entry of `networks` into the server ID. */
static int plug(struct scene *scene, const json_t *entry, const json_t *spec, const char *id,
                json_t *addresses)
{
    const char *port_id = json_text(entry, "port");
    if (port_id == NULL) {
        char made[256];
        json_t *port =
            json_pack("{s:s,s:s,s:b}", "name", "", "network",
                      json_text(entry, "network") ? json_text(entry, "network") : "", "owned", 1);
        json_t *groups = json_object_get(spec, "security_groups");
        const char *address = json_text(entry, "fixed_ip");
        if (groups != NULL) {
            json_object_set(port, "security_groups", groups);
        }
        if (address != NULL) {
            json_object_set_new(port, "fixed_ips", json_pack("[{s:s}]", "ip_address", address));
        }
        int status = port_make(scene, port, NULL, id, addresses, made);
        json_decref(port);
        return status;
    }
    struct thing *port = rules_referred(scene, KIND_PORT, port_id);
    if (port == NULL) {
        return scene->reply->status;
    }
    if (port->server != NULL || port->router != NULL) {
        return refuse(scene, 409, "conflict", "port %s is plugged in already", port_id);
    }
    struct change change = thing_change(port, NULL, scene->now);
    change.server = id;
    change.status = "ACTIVE";
    if (scene->vanish_ms > 0 && port->owned) {
        change.gone = scene->now + scene->vanish_ms;
    }
    port_add_addresses(addresses, port_id, change.fields);
    cloud_put(scene->cloud, &change);
    return 200;
}

/* Puts the server with FIELDS, which are taken over, on a host; without one it ends in ERROR, as
 * clouds have it that accept before they look for room. */
static void put_new_server(struct scene *scene, const json_t *spec, const char *tag, const char *id,
                           json_t *fields)
{
    char host[32];
    const char *group = json_text(spec, "affinity_group");
    struct wanted_place wanted = {
        .server = id,
        .uses = flavor_amounts(cloud_find(scene->cloud, KIND_FLAVOR, json_text(spec, "flavor"))),
        .zone = json_text(spec, "zone"),
        .group = group ? cloud_find(scene->cloud, KIND_AFFINITY_GROUP, group) : NULL};
    unsigned place = place_choose(scene, &wanted);
    struct change change = {.kind = KIND_SERVER,
                            .id = id,
                            .tag = tag,
                            .status = scene->error_build || place == 0 ? "ERROR" : "ACTIVE",
                            .uses = wanted.uses,
                            .place = place};
    if (place > 0) {
        place_name(place, host);
        json_object_set_new(fields, "host", json_string(host));
        place_zone(place, host);
        json_default(fields, "zone", json_string(host));
    }
    if (wanted.group != NULL) {
        affinity_list_member(scene, wanted.group, id, true);
    }
    rules_put_new(scene, &change, fields, true);
}

int server_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
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
    json_object_del(fields, "affinity_group");
    json_object_del(fields, "boot_volume");
    json_object_set_new(fields, "addresses", addresses);
    json_object_set_new(fields, "volumes", json_array());
    volume_boot(scene, spec, ret_id, fields);
    put_new_server(scene, spec, tag, ret_id, fields);
    return 202;
}

int server_delete(struct scene *scene, struct thing *server)
{
    if (server->leaving) {
        return 204;
    }
    int64_t gone = scene->now + scene->delete_ms;
    const struct thing *group = affinity_of(scene, server->id);
    if (group != NULL) {
        affinity_list_member(scene, group, server->id, false);
    }
    volumes_forget_server(scene, server->id);
    cloud_end_at(scene->cloud, server, gone, true, scene->now);
    /* By what the ports say: one without an address is not among the server's addresses. */
    const struct thing *port = cloud_next(scene->cloud, KIND_PORT, 0);
    for (; port != NULL; port = cloud_next(scene->cloud, KIND_PORT, port->seq)) {
        if (port->server == NULL || strcmp(port->server, server->id) != 0) {
            continue;
        }
        if (port->owned) {
            floating_forget_port(scene, port->id);
            cloud_end_at(scene->cloud, port, gone, true, scene->now);
        } else {
            struct change change = thing_change(port, NULL, scene->now);
            change.server = NULL;
            change.status = "DOWN";
            cloud_put(scene->cloud, &change);
        }
    }
    return 204;
}
