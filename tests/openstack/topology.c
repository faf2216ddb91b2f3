/* Part of driver.c: routers, floating IPs, volumes, groups, more actions, and what the cloud tells of
 * itself. */
#include "driver_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parts {
    char network[256];
    char subnet[256];
    char port[256];
    char router[256];
    char floating[256];
    char group[256];
    char volume[256];
    char snapshot[256];
    char member[256];
    char image[256];
    char flavor[256];
};

static int act(const char *kind, const char *id, const char *action, json_t *arguments, int number)
{
    char *spec = json_dumps(arguments, 0);
    struct run one = {.verb = VIM_VERB_ACTION,
                      .kind = kind,
                      .id = id,
                      .action = action,
                      .spec = spec,
                      .request_id = uuid(number),
                      .use_list = 1};
    int rc = driver_run(driver, &one, &result);

    free(spec);
    json_decref(arguments);
    return rc;
}

/* One try only. */
static int refused(const char *kind, const char *id, int number)
{
    struct run one = {.verb = VIM_VERB_DELETE,
                      .kind = kind,
                      .id = id,
                      .request_id = uuid(number),
                      .max_tries = 1};

    return driver_run(driver, &one, &result);
}

static void external_network(char ret_id[256])
{
    ret_id[0] = '\0';
    result_clear(&result);
    (void)driver_list(driver, "network", NULL, 0, &result);
    for (unsigned at = 0; at < result.count; at++) {
        if (strstr(result.items[at].body, "\"external\":true") != NULL) {
            (void)snprintf(ret_id, 256, "%s", result.items[at].id);
        }
    }
}

static void lead_outside(struct parts *parts)
{
    char public[256];

    external_network(public);
    make("network", json_pack("{s:s}", "name", name("inner")), 100, parts->network);
    make("subnet",
         json_pack("{s:s,s:s,s:s}", "name", name("inner"), "network", parts->network, "cidr",
                   "10.92.0.0/24"),
         101, parts->subnet);
    make("port",
         json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "name", name("inner"), "network", parts->network,
                   "fixed_ips", "subnet", parts->subnet, "ip_address", "10.92.0.9"),
         102, parts->port);
    json_t *wanted = json_pack("{s:s,s:s}", "network", public, "port", parts->port);
    char *spec = json_dumps(wanted, 0);
    json_decref(wanted);
    check("a floating IP without a router",
          run(VIM_VERB_CREATE, "floating-ip", NULL, spec, 103) == VIM_E_CONFLICT);
    free(spec);
    make("router",
         json_pack("{s:s,s:s,s:[{s:s}]}", "name", name("router"), "external_network", public,
                   "interfaces", "subnet", parts->subnet),
         104, parts->router);
    check("the router leads to both sides",
          strcmp(field("external_network"), public) == 0 &&
              strstr(field("interfaces"), parts->subnet) != NULL &&
              strstr(field("external_ips"), "198.18.") != NULL);
    make("floating-ip",
         json_pack("{s:s,s:s,s:s}", "network", public, "port", parts->port, "description", "front"),
         105, parts->floating);
    check("the floating IP leads to the port", strcmp(field("port"), parts->port) == 0 &&
                                                   strcmp(field("fixed_ip"), "10.92.0.9") == 0 &&
                                                   strcmp(field("router"), parts->router) == 0 &&
                                                   strcmp(field("description"), "front") == 0);
    check("a router that is in use", refused("router", parts->router, 106) == VIM_E_IN_USE);
    printf("      %s\n", result.fail);
    check("disassociate",
          run(VIM_VERB_UPDATE, "floating-ip", parts->floating, "{\"port\":null}", 107) == VIM_OK &&
              strcmp(field("port"), "null") == 0);
    check("remove the interface", act("router", parts->router, "remove_interface",
                                      json_pack("{s:s}", "subnet", parts->subnet), 108) == VIM_OK &&
                                      strcmp(field("interfaces"), "[]") == 0);
    check("add it again", act("router", parts->router, "add_interface",
                              json_pack("{s:s}", "subnet", parts->subnet), 109) == VIM_OK &&
                              strstr(field("interfaces"), parts->subnet) != NULL);
    check("no longer outside", run(VIM_VERB_UPDATE, "router", parts->router,
                                   "{\"external_network\":null}", 110) == VIM_OK &&
                                   strcmp(field("external_network"), "null") == 0);
}

static void store(struct parts *parts, const char *server)
{
    make("volume",
         json_pack("{s:s,s:i,s:{s:s}}", "name", name("volume"), "size", 1, "metadata", "a", "b"),
         120, parts->volume);
    check("its metadata is shown without the mark",
          strcmp(field("metadata"), "{\"a\":\"b\"}") == 0);
    check("attach", act("volume", parts->volume, "attach", json_pack("{s:s}", "server", server),
                        121) == VIM_OK &&
                        strcmp(field("server"), server) == 0 &&
                        strcmp(field("backend_status"), "in-use") == 0);
    check("attach again", act("volume", parts->volume, "attach",
                              json_pack("{s:s}", "server", server), 122) == VIM_OK);
    result_clear(&result);
    check("the server shows it", driver_get(driver, "server", server, &result) == VIM_OK &&
                                     strstr(field("volumes"), parts->volume) != NULL);
    check("a volume that is attached", refused("volume", parts->volume, 123) == VIM_E_IN_USE);
    printf("      %s\n", result.fail);
    make("snapshot", json_pack("{s:s,s:s}", "name", name("snapshot"), "volume", parts->volume), 124,
         parts->snapshot);
    check("detach", act("volume", parts->volume, "detach", json_object(), 125) == VIM_OK &&
                        strcmp(field("server"), "null") == 0);
    check("extend",
          act("volume", parts->volume, "extend", json_pack("{s:i}", "size", 2), 126) == VIM_OK &&
              strcmp(field("size"), "2") == 0);
    check("update volume",
          run(VIM_VERB_UPDATE, "volume", parts->volume,
              "{\"name\":\"vimd-check-other\",\"metadata\":{\"c\":\"d\"}}", 127) == VIM_OK &&
              strcmp(field("metadata"), "{\"c\":\"d\"}") == 0 &&
              strcmp(result.items[0].tag, uuid(120)) == 0);
    check("a volume with a snapshot", refused("volume", parts->volume, 128) == VIM_E_IN_USE);
}

static void more_of_servers(struct parts *parts, const char *image, const char *flavor)
{
    char console[300];

    make("affinity-group", json_pack("{s:s,s:s}", "name", name("group"), "policy", "anti-affinity"),
         140, parts->group);
    check("its name is shown without the mark", strcmp(field("name"), name("group")) == 0);
    make("flavor",
         json_pack("{s:s,s:i,s:i,s:i}", "name", name("larger"), "vcpus", 2, "ram", 128, "disk", 1),
         141, parts->flavor);
    make("server",
         json_pack("{s:s,s:s,s:s,s:s}", "name", name("member"), "image", image, "flavor", flavor,
                   "affinity_group", parts->group),
         142, parts->member);
    result_clear(&result);
    check("the group shows its member",
          driver_get(driver, "affinity-group", parts->group, &result) == VIM_OK &&
              strstr(field("members"), parts->member) != NULL);
    check("resize", act("server", parts->member, "resize",
                        json_pack("{s:s}", "flavor", parts->flavor), 143) == VIM_OK &&
                        strcmp(field("backend_status"), "VERIFY_RESIZE") == 0);
    check("confirm_resize",
          act("server", parts->member, "confirm_resize", json_object(), 144) == VIM_OK &&
              strcmp(field("flavor"), parts->flavor) == 0);
    make("image", json_pack("{s:s,s:s}", "name", name("saved"), "server", parts->member), 145,
         parts->image);
    check("the image is ACTIVE", strcmp(status(), "ACTIVE") == 0);
    (void)snprintf(console, sizeof(console), "%s/log", parts->member);
    result_clear(&result);
    check("console log", driver_get(driver, "console", console, &result) == VIM_OK &&
                             strstr(field("output"), "FAKE CONSOLE OUTPUT") != NULL);
    (void)snprintf(console, sizeof(console), "%s/novnc", parts->member);
    result_clear(&result);
    check("console", driver_get(driver, "console", console, &result) == VIM_OK &&
                         strstr(field("url"), "http") != NULL);
}

static void tell(void)
{
    static const char *const quotas[] = {"servers", "vcpus",   "ram",     "networks",
                                         "ports",   "routers", "volumes", "storage"};

    result_clear(&result);
    check("quotas", driver_list(driver, "quota", NULL, 0, &result) == VIM_OK);
    for (size_t at = 0; at < sizeof(quotas) / sizeof(quotas[0]); at++) {
        check(quotas[at], result_find(&result, quotas[at]) != NULL);
    }
    result_clear(&result);
    check("zones", driver_list(driver, "zone", NULL, 0, &result) == VIM_OK &&
                       result_find(&result, "compute/nova") != NULL);
    result_clear(&result);
    check("hosts", driver_list(driver, "host", NULL, 0, &result) == VIM_OK && result.count >= 2 &&
                       strcmp(field("state"), "up") == 0);
}

void check_topology(const char *server, const char *image, const char *flavor)
{
    struct parts parts = {.network = ""};

    tell();
    lead_outside(&parts);
    store(&parts, server);
    more_of_servers(&parts, image, flavor);
    destroy("image", parts.image, 160);
    destroy("server", parts.member, 161);
    destroy("affinity-group", parts.group, 162);
    destroy("flavor", parts.flavor, 163);
    destroy("snapshot", parts.snapshot, 164);
    destroy("volume", parts.volume, 165);
    destroy("floating-ip", parts.floating, 166);
    destroy("router", parts.router, 167);
    destroy("port", parts.port, 168);
    destroy("subnet", parts.subnet, 169);
    destroy("network", parts.network, 170);
}
