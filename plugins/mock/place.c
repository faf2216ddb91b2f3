/* Hosts: how many there are, which has room, and who shall share one. */
#include "rules_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_USUAL 8
#define ZONES 2

unsigned place_count(const struct scene *scene)
{
    int64_t hosts = scene->config ? scene->config->hosts : 0;
    return hosts > 0 && hosts <= PLACES ? (unsigned)hosts : HOSTS_USUAL;
}

void place_name(unsigned place, char ret_name[32])
{
    snprintf(ret_name, 32, "compute-%u", place);
}

void place_zone(unsigned place, char ret_name[32])
{
    snprintf(ret_name, 32, "az%u", (place - 1) % ZONES + 1);
}

/* The number of the host of that name; 0 if there is none. */
static unsigned place_find(const struct scene *scene, const char *name)
{
    char known[32];
    for (unsigned place = 1; place <= place_count(scene); place++) {
        place_name(place, known);
        if (strcmp(known, name) == 0) {
            return place;
        }
    }
    return 0;
}

static bool has_room(const struct scene *scene, unsigned place, const struct amounts *uses)
{
    const struct amounts *used = &scene->cloud->places[place].used;
    const struct backend_config *config = scene->config;
    return config == NULL ||
           ((config->host_vcpus == 0 || used->vcpus + uses->vcpus <= config->host_vcpus) &&
            (config->host_ram == 0 || used->ram + uses->ram <= config->host_ram));
}

/* How many members of a group are on each host. */
static void count_members(const struct scene *scene, const json_t *members, const char *except,
                          unsigned *counts)
{
    size_t i;
    json_t *member;
    json_array_foreach(members, i, member)
    {
        const struct thing *server =
            cloud_find(scene->cloud, KIND_SERVER, json_string_value(member));
        if (server != NULL && (except == NULL || strcmp(server->id, except) != 0)) {
            counts[server->place]++;
        }
    }
}

/* Is a host with COUNT of the TOTAL members good for one more of a group with POLICY? */
static bool is_allowed(const char *policy, json_int_t most, unsigned count, unsigned total)
{
    if (strcmp(policy, "affinity") == 0 || strcmp(policy, "soft-affinity") == 0) {
        return total == 0 || count > 0;
    }
    return count < (most > 0 ? (unsigned)most : 1);
}

/* Looks from START on for a host that fits; COUNTS is NULL, or the group's members count. */
static unsigned search(const struct scene *scene, const struct wanted_place *wanted, unsigned start,
                       const json_t *group, const unsigned *counts)
{
    unsigned total = 0;
    for (unsigned place = 1; counts && place <= PLACES; place++) {
        total += counts[place];
    }
    for (unsigned i = 0; i < place_count(scene); i++) {
        unsigned place = (start + i) % place_count(scene) + 1;
        char name[32];
        place_zone(place, name);
        bool fits = place != wanted->except && has_room(scene, place, &wanted->uses) &&
                    (wanted->zone == NULL || strcmp(wanted->zone, name) == 0) &&
                    (wanted->host == NULL || place_find(scene, wanted->host) == place);
        if (fits && counts) {
            fits = is_allowed(json_text(group, "policy"),
                              json_integer_value(json_object_get(group, "max_per_host")),
                              counts[place], total);
        }
        if (fits) {
            return place;
        }
    }
    return 0;
}

unsigned place_choose(struct scene *scene, const struct wanted_place *wanted)
{
    unsigned start = (unsigned)(chance_bits(scene->cloud->seed, wanted->server, 1) %
                                (uint64_t)place_count(scene));
    if (wanted->group == NULL) {
        return search(scene, wanted, start, NULL, NULL);
    }
    unsigned *counts = calloc(PLACES + 1, sizeof(*counts));
    if (counts == NULL) {
        abort();
    }
    json_t *fields = thing_fields(wanted->group);
    count_members(scene, json_object_get(fields, "members"), wanted->server, counts);
    unsigned place = search(scene, wanted, start, fields, counts);
    if (place == 0 && strncmp(json_text(fields, "policy"), "soft-", 5) == 0) {
        place = search(scene, wanted, start, NULL, NULL);
    }
    json_decref(fields);
    free(counts);
    return place;
}

int place_check_zone(struct scene *scene, const char *zone)
{
    char known[32];
    for (unsigned place = 1; zone != NULL && place <= place_count(scene); place++) {
        place_zone(place, known);
        if (strcmp(known, zone) == 0) {
            return 200;
        }
    }
    return zone == NULL ? 200
                        : refuse(scene, 400, "invalid",
                                 "the requested availability zone %.60s is not available", zone);
}

/* --- Affinity groups --- */
int affinity_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    static const char *const policies[] = {"affinity", "anti-affinity", "soft-affinity",
                                           "soft-anti-affinity"};
    bool known = false;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        known = known || strcmp(json_text(spec, "policy"), policies[i]) == 0;
    }
    if (!known) {
        return refuse(scene, 400, "invalid", "affinity-group: there is no such policy");
    }
    json_t *fields = json_copy(spec);
    json_object_set_new(fields, "members", json_array());
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {
        .kind = KIND_AFFINITY_GROUP, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

void affinity_list_member(struct scene *scene, const struct thing *group, const char *server,
                          bool add)
{
    json_t *fields = thing_fields(group);
    json_t *list = json_object_get(fields, "members");
    if (add) {
        json_array_append_new(list, json_string(server));
    }
    for (size_t i = json_array_size(list); !add && i > 0; i--) {
        if (strcmp(json_string_value(json_array_get(list, i - 1)), server) == 0) {
            json_array_remove(list, i - 1);
        }
    }
    struct change change = thing_change(group, fields, scene->now);
    cloud_put(scene->cloud, &change);
}

const struct thing *affinity_of(const struct scene *scene, const char *server)
{
    const struct thing *group = cloud_next(scene->cloud, KIND_AFFINITY_GROUP, 0);
    while (group != NULL && strstr(group->fields, server) == NULL) {
        group = cloud_next(scene->cloud, KIND_AFFINITY_GROUP, group->seq);
    }
    return group;
}
