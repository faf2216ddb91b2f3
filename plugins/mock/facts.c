/* What the cloud tells of itself: quotas, zones, hosts, consoles. */
#include "facts.h"

#include "page.h"
#include "rules_parts.h"

#include <stdio.h>
#include <string.h>

/* --- Quotas --- */
static void add_quota(struct page *page, const char *name, const char *unit, bool limited,
                      int64_t most, int64_t used)
{
    json_t *body = json_pack("{s:s,s:I}", "name", name, "used", (json_int_t)used);
    if (limited) {
        json_object_set_new(body, "limit", json_integer(most));
    }
    if (unit != NULL) {
        json_object_set_new(body, "unit", json_string(unit));
    }
    page_add_fact(page, name, "ACTIVE", body);
    json_decref(body);
}

void facts_quotas(const struct cloud *cloud, const struct backend_config *config, struct page *page)
{
    static const char *const names[KIND_COUNT] = {[KIND_FLAVOR] = "flavors",
                                                  [KIND_IMAGE] = "images",
                                                  [KIND_KEYPAIR] = "keypairs",
                                                  [KIND_SECURITY_GROUP] = "security_groups",
                                                  [KIND_AFFINITY_GROUP] = "affinity_groups",
                                                  [KIND_NETWORK] = "networks",
                                                  [KIND_SUBNET] = "subnets",
                                                  [KIND_ROUTER] = "routers",
                                                  [KIND_PORT] = "ports",
                                                  [KIND_FLOATING_IP] = "floating_ips",
                                                  [KIND_SERVER] = "servers",
                                                  [KIND_SNAPSHOT] = "snapshots",
                                                  [KIND_VOLUME] = "volumes"};
    const struct amount_quota *amounts = config->amounts;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        add_quota(page, names[kind], NULL, config->quotas[kind] >= 0, config->quotas[kind],
                  (int64_t)cloud->live[kind]);
    }
    add_quota(page, "vcpus", NULL, amounts[AMOUNT_VCPUS].is_set, amounts[AMOUNT_VCPUS].most,
              cloud->used.vcpus);
    add_quota(page, "ram", "MiB", amounts[AMOUNT_RAM].is_set, amounts[AMOUNT_RAM].most,
              cloud->used.ram);
    add_quota(page, "storage", "GiB", amounts[AMOUNT_STORAGE].is_set, amounts[AMOUNT_STORAGE].most,
              cloud->used.storage);
}

/* --- Zones and hosts --- */
void facts_zones(const struct scene *scene, struct page *page)
{
    char first[32];
    place_zone(1, first);
    for (unsigned place = 1; place <= place_count(scene); place++) {
        char zone[32];
        place_zone(place, zone);
        if (place > 1 && strcmp(zone, first) == 0) {
            break; /* they come round again */
        }
        json_t *body =
            json_pack("{s:s,s:s,s:b}", "name", zone, "service", "compute", "available", 1);
        page_add_fact(page, zone, "ACTIVE", body);
        json_decref(body);
    }
}

/* A host promises no more than it has. */
static void add_amount(json_t *body, const char *name, const char *free_name, int64_t most,
                       int64_t used)
{
    json_object_set_new(body, name, json_integer(most));
    json_object_set_new(body, free_name, json_integer(most > used ? most - used : 0));
}

void facts_hosts(const struct scene *scene, struct page *page)
{
    const struct backend_config *config = scene->config;
    for (unsigned place = 1; place <= place_count(scene); place++) {
        char name[32];
        char zone[32];
        place_name(place, name);
        place_zone(place, zone);
        json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:b,s:I,s:I,s:I}", "name", name, "zone", zone,
                                 "type", "mock", "state", "up", "enabled", 1, "servers",
                                 (json_int_t)scene->cloud->places[place].servers, "vcpus_used",
                                 (json_int_t)scene->cloud->places[place].used.vcpus, "ram_used",
                                 (json_int_t)scene->cloud->places[place].used.ram);
        const struct amounts *used = &scene->cloud->places[place].used;
        if (config != NULL && config->host_vcpus > 0) {
            add_amount(body, "vcpus", "vcpus_free", config->host_vcpus, used->vcpus);
        }
        if (config != NULL && config->host_ram > 0) {
            add_amount(body, "ram", "ram_free", config->host_ram, used->ram);
        }
        page_add_fact(page, name, "ACTIVE", body);
        json_decref(body);
    }
}

/* --- Consoles --- */
int facts_console(struct scene *scene, const char *id, struct page *page)
{
    char server_id[256];
    bool pending;
    const char *slash = strchr(id, '/');
    const char *type = slash ? slash + 1 : "novnc";
    snprintf(server_id, sizeof(server_id), "%.*s", (int)strcspn(id, "/"), id);
    const struct thing *server = cloud_find(scene->cloud, KIND_SERVER, server_id);
    if (server == NULL) {
        return refuse(scene, 404, "not_found", "it does not exist");
    }
    const char *status = thing_status(server, scene->now, &pending);
    bool log = strcmp(type, "log") == 0;
    if (!log && strcmp(status, "ACTIVE") != 0) {
        return refuse(scene, 409, "conflict", "server %s is %s", server->id,
                      thing_word(server, scene->now));
    }
    json_t *body = json_pack("{s:s}", "type", type);
    if (log) {
        json_object_set_new(body, "output", json_sprintf("server %s: login: ", server->id));
    } else {
        json_object_set_new(body, "url",
                            json_sprintf("https://console.mock.invalid/%s?token=%016llx", type,
                                         (unsigned long long)chance_bits(scene->cloud->seed, id,
                                                                         (uint64_t)scene->now)));
    }
    page_add_fact(page, id, "ACTIVE", body);
    json_decref(body);
    return 200;
}
