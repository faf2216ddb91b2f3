/* What a new cloud comes with, so that a first server can be made at once. */
#include "rules.h"

#include <string.h>

static void make(struct scene *scene, enum kind kind, json_t *spec, char ret_id[256])
{
    (void)rules_create(scene, kind, spec, NULL, ret_id);
    json_decref(spec);
}

static void make_image(struct scene *scene, const char *name, json_int_t size, const char *checksum)
{
    char id[256];
    make(scene, KIND_IMAGE,
         json_pack("{s:s,s:s,s:s}", "name", name, "disk_format", "qcow2", "visibility", "public"),
         id);
    /* It is in the transaction only, so far: complete it there. */
    json_t *entry =
        json_array_get(scene->cloud->changes, json_array_size(scene->cloud->changes) - 1);
    json_object_set_new(entry, "status", json_string("ACTIVE"));
    json_object_set_new(json_object_get(entry, "fields"), "size", json_integer(size));
    json_object_set_new(json_object_get(entry, "fields"), "checksum", json_string(checksum));
}

/* The network and its subnet name each other, so they are put side by side. */
static void make_external_network(struct scene *scene)
{
    char network[37];
    char subnet[37];
    cloud_new_id(scene->cloud, network);
    cloud_new_id(scene->cloud, subnet);
    struct change change = {.kind = KIND_NETWORK,
                            .id = network,
                            .status = "ACTIVE",
                            .shared = true,
                            .created = scene->now,
                            .changed = scene->now,
                            .fields = json_pack("{s:s,s:b,s:i,s:b,s:b,s:[s]}", "name", "public",
                                                "admin_state_up", 1, "mtu", 1500, "external", 1,
                                                "shared_network", 0, "subnets", subnet)};
    cloud_put(scene->cloud, &change);
    change.kind = KIND_SUBNET;
    change.id = subnet;
    change.network = network;
    change.fields = json_pack("{s:s,s:s,s:s}", "name", "public-subnet", "network", network, "cidr",
                              "203.0.113.0/24");
    (void)subnet_complete(scene, change.fields);
    cloud_put(scene->cloud, &change);
}

void rules_seed(struct scene *scene)
{
    static const struct {
        const char *name;
        int vcpus, ram, disk;
    } flavors[] = {{"small", 1, 512, 1}, {"medium", 2, 2048, 20}, {"large", 4, 8192, 40}};
    char id[256];
    for (size_t i = 0; i < sizeof(flavors) / sizeof(flavors[0]); i++) {
        make(scene, KIND_FLAVOR,
             json_pack("{s:s,s:i,s:i,s:i}", "name", flavors[i].name, "vcpus", flavors[i].vcpus,
                       "ram", flavors[i].ram, "disk", flavors[i].disk),
             id);
    }
    make_image(scene, "cirros", 21430272, "87617e24a5e30cb3b87fda8c0764838f");
    make_image(scene, "debian-12", 444006400, "0f5a9a5e3d4b7a1c8d2e6f9041b7c3da");
    make_external_network(scene);
}
