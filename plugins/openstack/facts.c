/*
 * What the cloud tells of itself: quotas of Nova, Neutron and Cinder, zones of Nova and Cinder; and
 * consoles of servers.
 */
#include "services.h"

#include <stdio.h>
#include <string.h>

int os_has_service(struct os_call *c, enum os_service service, int *ret_has)
{
    struct os_token *token;
    int rc = VIM_OK;

    *ret_has = service == OS_VOLUME && c->os->config->volume_endpoint != NULL;
    if (!*ret_has) {
        rc = keystone_token(c, &token);
        if (rc == VIM_OK) {
            *ret_has = token->catalog.url[service][0] != '\0';
            keystone_release(c->os, token);
        }
    }
    return rc;
}

/* --- Quotas ---------------------------------------------------------------------------------- */

/* LIMIT below zero is none; USED below zero is not told. */
static int emit_quota(struct os_call *c, const char *name, const char *unit, int64_t limit,
                      int64_t used)
{
    OS_FOUND found = {.kind = "quota", .status = "ACTIVE"};

    (void)snprintf(found.id, sizeof(found.id), "%s", name);
    found.body = json_pack("{s:s}", "name", name);
    if (limit >= 0) {
        json_object_set_new(found.body, "limit", json_integer(limit));
    }
    if (used >= 0) {
        json_object_set_new(found.body, "used", json_integer(used));
    }
    if (unit != NULL) {
        json_object_set_new(found.body, "unit", json_string(unit));
    }
    return os_emit(c, &found);
}

struct limit {
    const char *name;
    const char *unit;
    const char *most; /* in the service's answer */
    const char *used; /* or NULL: it does not tell */
};

/* Nova and Cinder: {"limits": {"absolute": {...}}}. */
static int emit_limits(struct os_call *c, enum os_service service, const char *microversion,
                       const struct limit *limits, size_t count)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const json_t *absolute;
    int rc = os_get(c, service, microversion, &reply, "/limits");

    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    absolute = json_object_get(json_object_get(root, "limits"), "absolute");
    if (!json_is_object(absolute)) {
        return os_fail(c, VIM_E_UNAVAILABLE, "%s answered without its limits",
                       os_service_name(service));
    }
    for (size_t at = 0; rc == VIM_OK && at < count; at++) {
        if (json_object_get(absolute, limits[at].most) != NULL) {
            rc = emit_quota(
                c, limits[at].name, limits[at].unit, os_json_integer(absolute, limits[at].most, -1),
                limits[at].used == NULL ? -1 : os_json_integer(absolute, limits[at].used, -1));
        }
    }
    return rc;
}

/* {"quota": {"network": {"limit", "used", "reserved"}, ...}} of the project. */
static int network_quotas(struct os_call *c)
{
    static const char *const names[][2] = {{"networks", "network"},
                                           {"subnets", "subnet"},
                                           {"ports", "port"},
                                           {"routers", "router"},
                                           {"floating_ips", "floatingip"},
                                           {"security_groups", "security_group"},
                                           {"security_group_rules", "security_group_rule"}};
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const json_t *quota;
    struct os_token *token;
    char project[64];
    int rc = keystone_token(c, &token);

    if (rc != VIM_OK) {
        return rc;
    }
    memcpy(project, token->catalog.project, sizeof(project));
    keystone_release(c->os, token);
    if (project[0] == '\0') {
        return VIM_OK; /* a token of a domain: quotas are a project's */
    }
    rc = os_get(c, OS_NETWORK, NULL, &reply, "/quotas/%s/details.json", project);
    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    quota = json_object_get(root, "quota");
    if (!json_is_object(quota)) {
        return os_fail(c, VIM_E_UNAVAILABLE, "network answered without its quotas");
    }
    for (size_t at = 0; rc == VIM_OK && at < sizeof(names) / sizeof(names[0]); at++) {
        const json_t *one = json_object_get(quota, names[at][1]);
        if (json_is_object(one)) {
            rc = emit_quota(c, names[at][0], NULL, os_json_integer(one, "limit", -1),
                            os_json_integer(one, "used", 0) + os_json_integer(one, "reserved", 0));
        }
    }
    return rc;
}

int os_quotas(struct os_call *c)
{
    static const struct limit compute[] = {
        {"servers", NULL, "maxTotalInstances", "totalInstancesUsed"},
        {"vcpus", NULL, "maxTotalCores", "totalCoresUsed"},
        {"ram", "MiB", "maxTotalRAMSize", "totalRAMUsed"},
        {"keypairs", NULL, "maxTotalKeypairs", NULL},
        {"affinity_groups", NULL, "maxServerGroups", "totalServerGroupsUsed"},
        {"affinity_group_members", NULL, "maxServerGroupMembers", NULL}}; /* of each */
    static const struct limit storage[] = {
        {"volumes", NULL, "maxTotalVolumes", "totalVolumesUsed"},
        {"storage", "GiB", "maxTotalVolumeGigabytes", "totalGigabytesUsed"},
        {"snapshots", NULL, "maxTotalSnapshots", "totalSnapshotsUsed"}};
    int has = 0;
    int rc = emit_limits(c, OS_COMPUTE, "2.57", compute, sizeof(compute) / sizeof(compute[0]));

    if (rc == VIM_OK) {
        rc = network_quotas(c);
    }
    if (rc == VIM_OK) {
        rc = os_has_service(c, OS_VOLUME, &has);
    }
    if (rc == VIM_OK && has) {
        rc = emit_limits(c, OS_VOLUME, NULL, storage, sizeof(storage) / sizeof(storage[0]));
    }
    return rc < 0 ? rc : VIM_OK;
}

/* --- Zones ----------------------------------------------------------------------------------- */

static int emit_zones(struct os_call *c, enum os_service service, const char *microversion,
                      const char *word)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const json_t *entry;
    size_t at;
    int rc = os_get(c, service, microversion, &reply, "/os-availability-zone");

    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    if (!json_is_array(json_object_get(root, "availabilityZoneInfo"))) {
        return os_fail(c, VIM_E_UNAVAILABLE, "%s answered without its zones",
                       os_service_name(service));
    }
    json_array_foreach(json_object_get(root, "availabilityZoneInfo"), at, entry)
    {
        OS_FOUND found = {.kind = "zone", .status = "DOWN"};
        const char *name = os_json_text(entry, "zoneName");
        int available = os_json_true(json_object_get(entry, "zoneState"), "available");
        if (name == NULL || *name == '\0' || strlen(name) > 200 || rc != VIM_OK) {
            continue;
        }
        found.status = available ? "ACTIVE" : "DOWN";
        (void)snprintf(found.id, sizeof(found.id), "%s/%.200s", word, name);
        found.body =
            json_pack("{s:s,s:s,s:b}", "name", name, "service", word, "available", available);
        rc = os_emit(c, &found);
    }
    return rc;
}

int os_zones(struct os_call *c)
{
    int has = 0;
    int rc = emit_zones(c, OS_COMPUTE, "2.46", "compute");

    if (rc == VIM_OK) {
        rc = os_has_service(c, OS_VOLUME, &has);
    }
    if (rc == VIM_OK && has) {
        rc = emit_zones(c, OS_VOLUME, NULL, "storage");
    }
    return rc < 0 ? rc : VIM_OK;
}

/* --- Consoles -------------------------------------------------------------------------------- */

/* Nova's own word for the way that leads to a console of TYPE. */
static const char *protocol_of(const char *type)
{
    return strcmp(type, "serial") == 0 ? "serial" : strcmp(type, "spice") == 0 ? "spice" : "vnc";
}

static int console_url(struct os_call *c, const char *server, const char *type, json_t *body)
{
    const char *word = strcmp(type, "spice") == 0 ? "spice-html5" : type;
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    int rc = os_send(
        c, OS_COMPUTE, "2.46", "POST",
        json_pack("{s:{s:s,s:s}}", "remote_console", "protocol", protocol_of(type), "type", word),
        &reply, "/servers/%s/remote-consoles", server);

    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    os_json_copy(body, "url", json_object_get(root, "remote_console"), "url", JSON_STRING);
    return json_object_get(body, "url") != NULL
               ? VIM_OK
               : os_fail(c, VIM_E_UNAVAILABLE, "compute answered without the console's URL");
}

static int console_log(struct os_call *c, const char *server, json_t *body)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    int rc = os_send(c, OS_COMPUTE, "2.46", "POST",
                     json_pack("{s:{s:i}}", "os-getConsoleOutput", "length", 1000), &reply,
                     "/servers/%s/action", server);

    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    os_json_copy(body, "output", root, "output", JSON_STRING);
    return json_object_get(body, "output") != NULL
               ? VIM_OK
               : os_fail(c, VIM_E_UNAVAILABLE, "compute answered without the console's output");
}

int os_console(struct os_call *c, const char *id)
{
    static const char *const types[] = {"novnc", "spice", "serial", "log"};
    const char *slash = strchr(id, '/');
    OS_FOUND found = {.kind = "console", .status = "ACTIVE"};
    char server[256];
    int known = 0;
    int rc;

    (void)snprintf(server, sizeof(server), "%.*s", (int)strcspn(id, "/"), id);
    for (size_t at = 0; slash != NULL && at < sizeof(types) / sizeof(types[0]); at++) {
        known = known || strcmp(slash + 1, types[at]) == 0;
    }
    if (!known || !os_id_is_plain(server)) {
        return os_fail(c, VIM_E_NOT_FOUND, "this can be no console's id");
    }
    found.body = json_pack("{s:s}", "type", slash + 1);
    (void)snprintf(found.id, sizeof(found.id), "%s", id);
    rc = strcmp(slash + 1, "log") == 0 ? console_log(c, server, found.body)
                                       : console_url(c, server, slash + 1, found.body);
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}
