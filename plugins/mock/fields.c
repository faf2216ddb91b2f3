#include "rules.h"

#include <string.h>

enum type { TEXT, TEXT_OR_NULL, WHOLE, TRUTH, TEXTS, LIST, OBJECT };
enum { C = 1, U = 2, R = 4 };

struct field {
    const char *kind;
    const char *name;
    enum type type;
    int flags;
};

/* docs/resources.md, and what backend.h names beyond it. */
static const struct field fields[] = {
    {"server", "image", TEXT, C},
    {"server", "boot_volume", OBJECT, C},
    {"server", "flavor", TEXT, C | R},
    {"server", "networks", LIST, C},
    {"server", "security_groups", LIST, C},
    {"server", "key", TEXT, C},
    {"server", "user_data", TEXT, C},
    {"server", "zone", TEXT, C},
    {"server", "affinity_group", TEXT, C},
    {"server", "metadata", TEXTS, C | U},
    {"network", "description", TEXT, C | U},
    {"network", "mtu", WHOLE, C | U},
    {"network", "admin_state_up", TRUTH, C | U},
    {"network", "external", TRUTH, C},
    {"network", "shared_network", TRUTH, C},
    {"network", "network_type", TEXT, C},
    {"network", "physical_network", TEXT, C},
    {"network", "segmentation_id", WHOLE, C},
    {"subnet", "description", TEXT, C | U},
    {"subnet", "network", TEXT, C | R},
    {"subnet", "cidr", TEXT, C | R},
    {"subnet", "gateway_ip", TEXT_OR_NULL, C | U},
    {"subnet", "enable_dhcp", TRUTH, C | U},
    {"subnet", "dns_nameservers", LIST, C | U},
    {"subnet", "allocation_pools", LIST, C | U},
    {"subnet", "host_routes", LIST, C | U},
    {"port", "description", TEXT, C | U},
    {"port", "network", TEXT, C | R},
    {"port", "fixed_ips", LIST, C | U},
    {"port", "mac_address", TEXT, C},
    {"port", "admin_state_up", TRUTH, C | U},
    {"port", "security_groups", LIST, C | U},
    {"port", "allowed_address_pairs", LIST, C | U},
    {"port", "vnic_type", TEXT, C},
    {"port", "owned", TRUTH, C},
    {"image", "disk_format", TEXT, C},
    {"image", "server", TEXT, C},
    {"image", "container_format", TEXT, C},
    {"image", "visibility", TEXT, C | U},
    {"image", "min_disk", WHOLE, C | U},
    {"image", "min_ram", WHOLE, C | U},
    {"image", "protected", TRUTH, C | U},
    {"image", "properties", TEXTS, C},
    {"flavor", "vcpus", WHOLE, C | R},
    {"flavor", "ram", WHOLE, C | R},
    {"flavor", "disk", WHOLE, C},
    {"flavor", "ephemeral", WHOLE, C},
    {"flavor", "swap", WHOLE, C},
    {"flavor", "public", TRUTH, C},
    {"flavor", "extra_specs", TEXTS, C},
    {"keypair", "public_key", TEXT, C | R},
    {"keypair", "type", TEXT, C},
    {"security-group", "description", TEXT, C | U},
    {"security-group", "stateful", TRUTH, C},
    {"security-group", "rules", LIST, C | U},
    {"security-group", "default_rules", TRUTH, C},
    {"affinity-group", "policy", TEXT, C | R},
    {"affinity-group", "max_per_host", WHOLE, C},
    {"router", "description", TEXT, C | U},
    {"router", "admin_state_up", TRUTH, C | U},
    {"router", "external_network", TEXT_OR_NULL, C | U},
    {"router", "enable_snat", TRUTH, C | U},
    {"floating-ip", "description", TEXT, C | U},
    {"floating-ip", "network", TEXT, C | R},
    {"floating-ip", "subnet", TEXT, C},
    {"floating-ip", "address", TEXT, C},
    {"floating-ip", "port", TEXT_OR_NULL, C | U},
    {"floating-ip", "fixed_ip", TEXT, C | U},
    {"volume", "description", TEXT, C | U},
    {"volume", "size", WHOLE, C},
    {"volume", "image", TEXT, C},
    {"volume", "snapshot", TEXT, C},
    {"volume", "type", TEXT, C},
    {"volume", "zone", TEXT, C},
    {"volume", "metadata", TEXTS, C | U},
    {"snapshot", "description", TEXT, C | U},
    {"snapshot", "volume", TEXT, C | R},
    {"snapshot", "metadata", TEXTS, C | U},
    {"security-group-rule", "group", TEXT, C | R},
    {"security-group-rule", "rule", OBJECT, C | R},
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static bool has_type(const json_t *value, enum type type)
{
    const char *key;
    json_t *entry;
    switch (type) {
    case TEXT:
        return json_is_string(value);
    case TEXT_OR_NULL:
        return json_is_string(value) || json_is_null(value);
    case WHOLE:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case TRUTH:
        return json_is_boolean(value);
    case LIST:
        return json_is_array(value);
    case OBJECT:
        return json_is_object(value);
    case TEXTS:
        json_object_foreach((json_t *)value, key, entry)
        {
            if (!json_is_string(entry)) {
                return false;
            }
        }
        return json_is_object(value);
    }
    return false;
}

static const struct field *find_field(const char *kind, const char *name)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(fields[i].kind, kind) == 0 && strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

int check_fields(struct scene *scene, const char *kind, json_t *spec, bool update)
{
    const char *key;
    json_t *value;
    bool is_rule = strcmp(kind, "security-group-rule") == 0;
    bool needs_name = !is_rule && strcmp(kind, "floating-ip") != 0;
    if (!json_is_object(spec)) {
        return refuse(scene, 400, "invalid", "%s: an object is expected", kind);
    }
    json_object_foreach(spec, key, value)
    {
        struct field name = {kind, "name", TEXT, is_rule ? 0 : C | U};
        const struct field *field = strcmp(key, "name") == 0 ? &name : find_field(kind, key);
        if (field == NULL || !(field->flags & (update ? U : C))) {
            return refuse(scene, 400, "invalid", "%s: '%.60s' %s", kind, key,
                          field ? "cannot be changed" : "is unknown");
        }
        if (!has_type(value, field->type)) {
            return refuse(scene, 400, "invalid", "%s: '%s' has the wrong type", kind, key);
        }
    }
    const char *name = json_string_value(json_object_get(spec, "name"));
    if ((!update && needs_name && name == NULL) ||
        (name != NULL && (*name == '\0' || strlen(name) > 255))) {
        return refuse(scene, 400, "invalid", "%s: a name of 1 to 255 bytes is needed", kind);
    }
    for (size_t i = 0; i < FIELD_COUNT && !update; i++) {
        if ((fields[i].flags & R) && strcmp(fields[i].kind, kind) == 0 &&
            json_object_get(spec, fields[i].name) == NULL) {
            return refuse(scene, 400, "invalid", "%s: '%s' is missing", kind, fields[i].name);
        }
    }
    return 200;
}
