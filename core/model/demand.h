/*
 * model/demand.h - what a network service, or a resource, needs of the far side, and whether that has as much.
 *
 * Counted is what is needed for certain, and no more: what a far side makes by itself (ports of DHCP servers, default
 * rules) and what cannot be told is left out. So what is found not to suffice does not suffice, and what is not
 * may still fail later.
 */
#ifndef VIMD_MODEL_DEMAND_H
#define VIMD_MODEL_DEMAND_H

#include <stdint.h>
#include <jansson.h>
#include "model/kinds.h"
#include "model/service.h"
#include "model/store.h"

enum need {
    NEED_SERVERS,
    NEED_VCPUS,
    NEED_RAM,
    NEED_VOLUMES,
    NEED_STORAGE,
    NEED_NETWORKS,
    NEED_SUBNETS,
    NEED_PORTS,
    NEED_ROUTERS,
    NEED_FLOATING_IPS,
    NEED_SECURITY_GROUPS,
    NEED_SECURITY_GROUP_RULES,
    NEED_SNAPSHOTS,
    NEED_KEYPAIRS,
    NEED_AFFINITY_GROUPS,
    NEED_AFFINITY_GROUP_MEMBERS, /* of the largest group */
    NEED_COUNT
};
/* As the kind "quota" calls it: "servers". */
const char *need_name(enum need need);

/* Servers to be made that are alike: the instances of a VNF. */
struct demand_servers {
    uint32_t count;
    char *pointer; /* of the VNF */
    char *zone; /* or NULL */
    char *group; /* the name of the affinity group's node, or NULL */
    bool sized; /* the two that follow are known */
    int64_t vcpus, ram; /* of each */
};

struct demand {
    int64_t amounts[NEED_COUNT];
    char *pointers[NEED_COUNT]; /* the smallest part of the description that all of it comes from */
    struct demand_servers *servers;
    uint32_t server_count;
    json_t *groups; /* name of a node with hard anti-affinity -> {members, most (per host)} */
};
void demand_free(struct demand *demand); /* frees what it holds and clears it */

/* What PLAN takes more than BEFORE (NULL: nothing was there before). What a removal sets free does not count, as it
 * comes last. Sizes of flavors are those that STORE knows. */
int demand_of(const struct service_plan *plan, const struct service_plan *before,
              struct store *store, struct demand *ret_demand, struct failure *failure);
/* Does it take anything at all? */
bool demand_is_some(const struct demand *demand);

/* Each adds a finding for all that does not suffice. The lists are what the kinds "quota", "zone" and "host" tell. */
void demand_check_quotas(const struct demand *demand, const json_t *quotas,
                         struct findings *findings);
void demand_check_zones(const struct demand *demand, const json_t *zones,
                        struct findings *findings);
void demand_check_hosts(const struct demand *demand, const json_t *hosts,
                        struct findings *findings);

/* [{resource, needed, left}] of what is needed; QUOTAS may be NULL. A new reference. */
json_t *demand_json(const struct demand *demand, const json_t *quotas);

#endif
