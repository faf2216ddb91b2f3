#include "model/demand.h"

#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

const char *need_name(enum need need)
{
    static const char *const names[NEED_COUNT] = {
        [NEED_SERVERS] = "servers",
        [NEED_VCPUS] = "vcpus",
        [NEED_RAM] = "ram",
        [NEED_VOLUMES] = "volumes",
        [NEED_STORAGE] = "storage",
        [NEED_NETWORKS] = "networks",
        [NEED_SUBNETS] = "subnets",
        [NEED_PORTS] = "ports",
        [NEED_ROUTERS] = "routers",
        [NEED_FLOATING_IPS] = "floating_ips",
        [NEED_SECURITY_GROUPS] = "security_groups",
        [NEED_SECURITY_GROUP_RULES] = "security_group_rules",
        [NEED_SNAPSHOTS] = "snapshots",
        [NEED_KEYPAIRS] = "keypairs",
        [NEED_AFFINITY_GROUPS] = "affinity_groups",
        [NEED_AFFINITY_GROUP_MEMBERS] = "affinity_group_members",
    };
    return names[need];
}

void demand_free(struct demand *demand)
{
    for (int i = 0; i < NEED_COUNT; i++) {
        free(demand->pointers[i]);
    }
    for (uint32_t i = 0; i < demand->server_count; i++) {
        free(demand->servers[i].pointer);
        free(demand->servers[i].zone);
        free(demand->servers[i].group);
    }
    free(demand->servers);
    json_decref(demand->groups);
    *demand = (struct demand){.servers = NULL};
}

bool demand_is_some(const struct demand *demand)
{
    for (int i = 0; i < NEED_COUNT; i++) {
        if (demand->amounts[i] > 0) {
            return true;
        }
    }
    return false;
}

/* --- Counting -------------------------------------------------------------------------------- */

struct counting {
    struct demand *demand;
    struct store *store;
    json_t *flavors; /* by id: {vcpus, ram}, or null where that is not known */
    struct failure *failure;
    int code;
};

/* Cuts *POINTER down to what it has in common with OTHER, by whole elements. */
static void meet(char **pointer, const char *other)
{
    if (!*pointer) {
        *pointer = text_duplicate(other);
        return;
    }
    size_t same = 0, end = 0;
    while ((*pointer)[same] && (*pointer)[same] == other[same]) {
        same++;
    }
    for (size_t i = 0; i <= same; i++) {
        bool ends = ((*pointer)[i] == '/' || !(*pointer)[i]) && (other[i] == '/' || !other[i]);
        end = ends ? i : end;
    }
    (*pointer)[end] = '\0';
}

static void add(struct counting *counting, enum need need, int64_t amount, const char *pointer)
{
    int64_t *sum = &counting->demand->amounts[need];
    if (amount > 0) {
        /* A description that is wrong is counted as well as it can be: its numbers may be any. */
        *sum = amount > INT64_MAX - *sum ? INT64_MAX : *sum + amount;
        meet(&counting->demand->pointers[need], pointer);
    }
}

/* {vcpus, ram} of a flavor, borrowed; NULL if that cannot be told. One whose resources are told otherwise
 * (Nova: extra specs "resources:VCPU", as of bare metal) does not say what it takes. */
static json_t *flavor_of(struct counting *counting, const char *id)
{
    struct row row = {0};
    json_t *known = json_object_get(counting->flavors, id);
    if (known || counting->code != VIM_OK) {
        return json_is_object(known) ? known : NULL;
    }
    int code = store_get(counting->store, "flavor", id, &row, counting->failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        counting->code = code;
        return NULL;
    }
    CLEANUP_JSON json_t *body = code == VIM_OK ? json_loads(row.body, 0, NULL) : NULL;
    row_free(&row);
    bool told = json_is_integer(json_object_get(body, "vcpus")) &&
                json_is_integer(json_object_get(body, "ram"));
    const char *member;
    json_t *unused;
    json_object_foreach(json_object_get(body, "extra_specs"), member, unused)
    {
        told = told && !text_starts_with(member, "resources");
    }
    known = told ? json_pack("{s:O, s:O}", "vcpus", json_object_get(body, "vcpus"), "ram",
                             json_object_get(body, "ram"))
                 : json_null();
    json_object_set_new(counting->flavors, id, known);
    return told ? known : NULL;
}

/* The name of the node that TEXT refers to by its id, malloc'ed; or NULL. */
static char *node_of(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    bool is_node =
        length > 6 && service_is_reference(text) && strcmp(text + length - 4, ".id}") == 0;
    return is_node ? text_duplicate_bytes(text + 2, length - 6) : NULL;
}

static void add_servers(struct counting *counting, const struct service_node *node,
                        const json_t *flavor)
{
    struct demand *demand = counting->demand;
    struct demand_servers *last =
        demand->server_count > 0 ? &demand->servers[demand->server_count - 1] : NULL;
    if (last && strcmp(last->pointer, node->pointer) == 0) {
        last->count++;
        return;
    }
    demand->servers =
        memory_resize(demand->servers, demand->server_count + 1, sizeof(*demand->servers));
    demand->servers[demand->server_count++] =
        (struct demand_servers){.count = 1,
                                .pointer = text_duplicate(node->pointer),
                                .zone = text_duplicate(json_get_text(node->spec, "zone", NULL)),
                                .group = node_of(json_get_text(node->spec, "affinity_group", NULL)),
                                .sized = flavor != NULL,
                                .vcpus = json_get_integer(flavor, "vcpus", 0),
                                .ram = json_get_integer(flavor, "ram", 0)};
}

/* Ports that a server of SPEC makes on the way. */
static int64_t ports_of(const json_t *spec)
{
    size_t i;
    json_t *network;
    int64_t count = 0;
    json_array_foreach(json_object_get(spec, "networks"), i, network)
    {
        count += json_object_get(network, "network") != NULL;
    }
    return count;
}

static void count_server(struct counting *counting, const struct service_node *node,
                         const json_t *before)
{
    json_t *flavor = flavor_of(counting, json_get_text(node->spec, "flavor", ""));
    if (before) {
        json_t *old = flavor_of(counting, json_get_text(before, "flavor", ""));
        if (flavor && old) {
            add(counting, NEED_VCPUS,
                json_get_integer(flavor, "vcpus", 0) - json_get_integer(old, "vcpus", 0),
                node->pointer);
            add(counting, NEED_RAM,
                json_get_integer(flavor, "ram", 0) - json_get_integer(old, "ram", 0),
                node->pointer);
        }
        return;
    }
    add(counting, NEED_SERVERS, 1, node->pointer);
    add(counting, NEED_PORTS, ports_of(node->spec), node->pointer);
    add(counting, NEED_VCPUS, json_get_integer(flavor, "vcpus", 0), node->pointer);
    add(counting, NEED_RAM, json_get_integer(flavor, "ram", 0), node->pointer);
    int64_t disk = json_get_integer(json_object_get(node->spec, "boot_volume"), "size", 0);
    add(counting, NEED_VOLUMES, disk > 0, node->pointer);
    add(counting, NEED_STORAGE, disk, node->pointer);
    add_servers(counting, node, flavor);
}

static int64_t more_elements(const json_t *spec, const json_t *before, const char *list)
{
    return (int64_t)json_array_size(json_object_get(spec, list)) -
           (int64_t)json_array_size(json_object_get(before, list));
}

static void count_node(struct counting *counting, const struct service_node *node,
                       const json_t *before)
{
    static const struct {
        const char *kind;
        enum need need;
    } plain[] = {{"network", NEED_NETWORKS},
                 {"subnet", NEED_SUBNETS},
                 {"port", NEED_PORTS},
                 {"router", NEED_ROUTERS},
                 {"floating-ip", NEED_FLOATING_IPS},
                 {"security-group", NEED_SECURITY_GROUPS},
                 {"affinity-group", NEED_AFFINITY_GROUPS},
                 {"snapshot", NEED_SNAPSHOTS},
                 {"keypair", NEED_KEYPAIRS},
                 {"volume", NEED_VOLUMES}};
    const char *kind = node->kind->name;
    for (size_t i = 0; !before && i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(kind, plain[i].kind) == 0) {
            add(counting, plain[i].need, 1, node->pointer);
        }
    }
    if (strcmp(kind, "server") == 0) {
        count_server(counting, node, before);
    } else if (strcmp(kind, "volume") == 0) {
        add(counting, NEED_STORAGE,
            json_get_integer(node->spec, "size", 0) - json_get_integer(before, "size", 0),
            node->pointer);
    } else if (strcmp(kind, "router") == 0) {
        add(counting, NEED_PORTS, more_elements(node->spec, before, "interfaces"), node->pointer);
    } else if (strcmp(kind, "security-group") == 0) {
        add(counting, NEED_SECURITY_GROUP_RULES, more_elements(node->spec, before, "rules"),
            node->pointer);
    }
}

/* How many servers each group of the service has in the end. */
static void count_members(struct counting *counting, const struct service_plan *plan)
{
    struct demand *demand = counting->demand;
    CLEANUP_JSON json_t *members = json_object();
    for (uint32_t i = 0; i < plan->count; i++) {
        CLEANUP_FREE char *group =
            node_of(json_get_text(plan->nodes[i].spec, "affinity_group", NULL));
        if (group) {
            json_set_integer(members, group, json_get_integer(members, group, 0) + 1);
        }
    }
    demand->groups = json_object();
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[i];
        int64_t count = json_get_integer(members, node->name, 0);
        if (count == 0) {
            continue;
        }
        if (count > demand->amounts[NEED_AFFINITY_GROUP_MEMBERS]) {
            demand->amounts[NEED_AFFINITY_GROUP_MEMBERS] = count;
            free(demand->pointers[NEED_AFFINITY_GROUP_MEMBERS]);
            demand->pointers[NEED_AFFINITY_GROUP_MEMBERS] = text_duplicate(node->pointer);
        }
        int64_t most = json_get_integer(node->spec, "max_per_host", 1);
        if (strcmp(json_get_text(node->spec, "policy", ""), "anti-affinity") == 0 && most > 0) {
            json_object_set_new(demand->groups, node->name,
                                json_pack("{s:I, s:I}", "members", (json_int_t)count, "most",
                                          (json_int_t)(most < count ? most : count)));
        }
    }
}

int demand_of(const struct service_plan *plan, const struct service_plan *before,
              struct store *store, struct demand *ret_demand, struct failure *failure)
{
    struct demand demand = {.servers = NULL};
    CLEANUP_JSON json_t *flavors = json_object();
    struct counting counting = {
        .demand = &demand, .store = store, .flavors = flavors, .failure = failure};
    for (uint32_t i = 0; counting.code == VIM_OK && i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[i];
        uint32_t number = before ? service_plan_find(before, node->name) : UINT32_MAX;
        count_node(&counting, node, number == UINT32_MAX ? NULL : before->nodes[number].spec);
    }
    if (counting.code == VIM_OK && demand.server_count > 0) {
        count_members(&counting, plan);
    }
    if (counting.code != VIM_OK) {
        demand_free(&demand);
        return counting.code;
    }
    *ret_demand = demand;
    return VIM_OK;
}

/* --- Quotas ---------------------------------------------------------------------------------- */

/* What the far side tells of a need, or NULL. */
static const json_t *quota_of(const json_t *quotas, enum need need)
{
    size_t i;
    json_t *quota;
    json_array_foreach((json_t *)(uintptr_t)quotas, i, quota)
    {
        if (strcmp(json_get_text(quota, "name", ""), need_name(need)) == 0) {
            return quota;
        }
    }
    return NULL;
}

/* Is there a limit, so that something is left, or nothing? */
static bool left_of(const json_t *quota, int64_t *ret_left)
{
    const json_t *limit = json_object_get(quota, "limit");
    if (!json_is_integer(limit)) {
        return false;
    }
    int64_t left = json_integer_value(limit) - json_get_integer(quota, "used", 0);
    *ret_left = left > 0 ? left : 0;
    return true;
}

void demand_check_quotas(const struct demand *demand, const json_t *quotas,
                         struct findings *findings)
{
    for (int i = 0; i < NEED_COUNT; i++) {
        int64_t left, needed = demand->amounts[i];
        const json_t *quota = needed > 0 ? quota_of(quotas, (enum need)i) : NULL;
        if (quota && left_of(quota, &left) && needed > left) {
            const char *unit = json_get_text(quota, "unit", "");
            CLEANUP_FREE char *detail =
                text_format("needs %lld%s%s of the quota of %s, of which %lld%s%s are left",
                            (long long)needed, *unit ? " " : "", unit, need_name((enum need)i),
                            (long long)left, *unit ? " " : "", unit);
            findings_add_amount(findings, demand->pointers[i], need_name((enum need)i), needed,
                                left, detail);
        }
    }
}

json_t *demand_json(const struct demand *demand, const json_t *quotas)
{
    json_t *list = json_array();
    for (int i = 0; i < NEED_COUNT; i++) {
        if (demand->amounts[i] <= 0) {
            continue;
        }
        int64_t left;
        json_t *one = json_pack("{s:s, s:I}", "resource", need_name((enum need)i), "needed",
                                (json_int_t)demand->amounts[i]);
        const json_t *quota = quota_of(quotas, (enum need)i);
        if (quota) {
            json_object_set_new(one, "left",
                                left_of(quota, &left) ? json_integer(left) : json_null());
        }
        json_array_append_new(list, one);
    }
    return list;
}

/* --- Zones and hosts ------------------------------------------------------------------------- */

void demand_check_zones(const struct demand *demand, const json_t *zones, struct findings *findings)
{
    for (uint32_t i = 0; i < demand->server_count; i++) {
        const struct demand_servers *servers = &demand->servers[i];
        CLEANUP_TEXT struct text known = {0};
        bool is_there = false, available = false;
        size_t at;
        json_t *zone;
        json_array_foreach((json_t *)(uintptr_t)zones, at, zone)
        {
            const char *name = json_get_text(zone, "name", "");
            if (!servers->zone || strcmp(json_get_text(zone, "service", ""), "compute") != 0) {
                continue;
            }
            text_printf(&known, "%s%s", known.length > 0 ? ", " : "", name);
            /* An administrator may name a host as well: ZONE:HOST. */
            if (strlen(name) == strcspn(servers->zone, ":") &&
                strncmp(name, servers->zone, strlen(name)) == 0) {
                is_there = true;
                available = json_get_boolean(zone, "available", true);
            }
        }
        CLEANUP_FREE char *pointer = text_format("%s/zone", servers->pointer);
        if (known.length > 0 && !is_there) {
            findings_add(findings, pointer, "there is no zone %.60s; there are: %.150s",
                         servers->zone, text_get(&known));
        } else if (known.length > 0 && !available) {
            CLEANUP_FREE char *detail =
                text_format("nothing can be made in zone %.60s now", servers->zone);
            findings_add_amount(findings, pointer, "zones", 1, 0, detail);
        }
    }
}

/* Can new servers of ZONE (NULL: of any) be put there? Where it is not told, they can. */
static bool is_usable(const json_t *host, const char *zone)
{
    const char *own = json_get_text(host, "zone", NULL);
    return strcmp(json_get_text(host, "state", "up"), "up") == 0 &&
           json_get_boolean(host, "enabled", true) &&
           (!zone || !own ||
            (strlen(own) == strcspn(zone, ":") && strncmp(own, zone, strlen(own)) == 0));
}

/* What the hosts of a zone have of something, of which each tells; else it is not known. */
struct room {
    bool known;
    int64_t most, sum;
};

static struct room room_of(const json_t *hosts, const char *zone, const char *member)
{
    struct room room = {.known = true};
    size_t i;
    json_t *host;
    json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
    {
        const json_t *value = json_object_get(host, member);
        if (!is_usable(host, zone)) {
            continue;
        }
        int64_t amount = json_integer_value(value);
        room.known = room.known && json_is_integer(value);
        room.most = amount > room.most ? amount : room.most;
        room.sum = amount > INT64_MAX - room.sum ? INT64_MAX : room.sum + amount;
    }
    return room;
}

static int64_t hosts_of(const json_t *hosts, const char *zone)
{
    size_t i;
    json_t *host;
    int64_t count = 0;
    json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
    {
        count += is_usable(host, zone);
    }
    return count;
}

static const struct {
    const char *need; /* of a host */
    const char *has, *free; /* as a host tells it: all of it; what may yet be promised */
    const char *unit;
} host_amounts[] = {{"vcpus", "vcpus", "vcpus_free", ""}, {"ram", "ram", "ram_free", " MiB"}};

static int64_t each_needs(const struct demand_servers *servers, size_t amount)
{
    return amount == 0 ? servers->vcpus : servers->ram;
}

/* Is there a host that one of these fits on at all? */
static bool check_one(const struct demand_servers *servers, size_t amount, const json_t *hosts,
                      struct findings *findings)
{
    int64_t needed = each_needs(servers, amount);
    struct room has = room_of(hosts, servers->zone, host_amounts[amount].has);
    struct room free_now = room_of(hosts, servers->zone, host_amounts[amount].free);
    int64_t left = has.known ? has.most : INT64_MAX;
    left = free_now.known && free_now.most < left ? free_now.most : left;
    if (!servers->sized || needed <= left) {
        return true;
    }
    CLEANUP_FREE char *detail =
        text_format("needs a host with %lld%s of %s; the most that one has %s is %lld%s",
                    (long long)needed, host_amounts[amount].unit, host_amounts[amount].need,
                    has.known && needed > has.most ? "at all" : "left", (long long)left,
                    host_amounts[amount].unit);
    findings_add_amount(findings, servers->pointer, host_amounts[amount].need, needed, left,
                        detail);
    return false;
}

/* Have the hosts together enough for all? */
static void check_sum(const struct demand *demand, size_t amount, const json_t *hosts,
                      struct findings *findings)
{
    CLEANUP_FREE char *pointer = NULL;
    struct room room = room_of(hosts, NULL, host_amounts[amount].free);
    int64_t needed = 0;
    for (uint32_t i = 0; i < demand->server_count; i++) {
        const struct demand_servers *servers = &demand->servers[i];
        if (servers->sized && each_needs(servers, amount) > 0) {
            needed += each_needs(servers, amount) * servers->count;
            meet(&pointer, servers->pointer);
        }
    }
    if (room.known && needed > room.sum) {
        CLEANUP_FREE char *detail =
            text_format("needs %lld%s of %s on all hosts together, which have %lld%s left",
                        (long long)needed, host_amounts[amount].unit, host_amounts[amount].need,
                        (long long)room.sum, host_amounts[amount].unit);
        findings_add_amount(findings, pointer, host_amounts[amount].need, needed, room.sum, detail);
    }
}

/* The members of a group that may not share a host need as many hosts. */
static void check_group(const struct demand_servers *servers, const json_t *group,
                        const json_t *hosts, struct findings *findings)
{
    int64_t most = json_get_integer(group, "most", 1);
    int64_t members = json_get_integer(group, "members", 0);
    int64_t needed = (members + most - 1) / most;
    int64_t left = hosts_of(hosts, NULL);
    if (needed > left) {
        CLEANUP_FREE char *detail =
            text_format("the group %.60s needs %lld hosts for its %lld members; there are %lld",
                        servers->group, (long long)needed, (long long)members, (long long)left);
        CLEANUP_FREE char *pointer = text_format("%s/affinity_group", servers->pointer);
        findings_add_amount(findings, pointer, "hosts", needed, left, detail);
    }
}

void demand_check_hosts(const struct demand *demand, const json_t *hosts, struct findings *findings)
{
    if (json_array_size(hosts) == 0) {
        return; /* where servers are made there are hosts: these are not shown */
    }
    for (size_t amount = 0; amount < sizeof(host_amounts) / sizeof(host_amounts[0]); amount++) {
        bool each_fits = true;
        for (uint32_t i = 0; i < demand->server_count; i++) {
            each_fits = check_one(&demand->servers[i], amount, hosts, findings) && each_fits;
        }
        if (each_fits) {
            check_sum(demand, amount, hosts, findings);
        }
    }
    for (uint32_t i = 0; i < demand->server_count; i++) {
        const struct demand_servers *servers = &demand->servers[i];
        const json_t *group =
            servers->group ? json_object_get(demand->groups, servers->group) : NULL;
        if (group) {
            check_group(servers, group, hosts, findings);
        }
    }
}
