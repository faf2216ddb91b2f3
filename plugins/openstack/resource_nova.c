#include "resource.h"

#include <string.h>

/* Nova's status words. What is not pending here may still be so by its task. */
static const struct {
    const char *nova;
    const char *status;
    uint32_t flags;
} server_states[] = {
    {"ACTIVE", "ACTIVE", 0},
    {"BUILD", "BUILD", VIM_ITEM_PENDING},
    {"REBUILD", "BUILD", VIM_ITEM_PENDING},
    {"REBOOT", "UPDATING", VIM_ITEM_PENDING},
    {"HARD_REBOOT", "UPDATING", VIM_ITEM_PENDING},
    {"MIGRATING", "UPDATING", VIM_ITEM_PENDING},
    {"PASSWORD", "UPDATING", VIM_ITEM_PENDING},
    {"RESIZE", "UPDATING", VIM_ITEM_PENDING},
    {"REVERT_RESIZE", "UPDATING", VIM_ITEM_PENDING},
    {"VERIFY_RESIZE", "ACTIVE", 0},
    {"RESCUE", "ACTIVE", 0},
    {"SHUTOFF", "SHUTOFF", 0},
    {"SHELVED", "SHUTOFF", 0},
    {"SHELVED_OFFLOADED", "SHUTOFF", 0},
    {"PAUSED", "PAUSED", 0},
    {"SUSPENDED", "SUSPENDED", 0},
    {"ERROR", "ERROR", 0},
    {"DELETED", "UNKNOWN", VIM_ITEM_GONE},
    {"SOFT_DELETED", "UNKNOWN", VIM_ITEM_GONE},
};

static void read_server_status(const json_t *from, struct os_found *found)
{
    const char *nova = os_json_text(from, "status");
    const char *task = os_json_text(from, "OS-EXT-STS:task_state");

    found->status = "UNKNOWN";
    for (size_t at = 0; at < sizeof(server_states) / sizeof(server_states[0]); at++) {
        if (nova != NULL && strcmp(nova, server_states[at].nova) == 0) {
            found->status = server_states[at].status;
            found->flags = server_states[at].flags;
        }
    }
    if (task == NULL || *task == '\0' || (found->flags & VIM_ITEM_GONE) != 0) {
        return;
    }
    if (strcmp(task, "deleting") == 0 || strcmp(task, "soft-deleting") == 0) {
        found->status = "DELETING";
        found->flags |= VIM_ITEM_PENDING;
        found->task_running = 1;
    } else if (strcmp(found->status, "ERROR") != 0) {
        /* A server in ERROR may keep the name of the task that failed, and stays there. */
        if ((found->flags & VIM_ITEM_PENDING) == 0) {
            found->status = "UPDATING";
        }
        found->flags |= VIM_ITEM_PENDING;
        found->task_running = 1;
    }
}

static void read_power_state(const json_t *from, json_t *body)
{
    static const char *const words[] = {"none",     "running", NULL,      "paused",
                                        "shutdown", NULL,      "crashed", "suspended"};
    int64_t state = os_json_integer(from, "OS-EXT-STS:power_state", -1);

    if (state >= 0 && state < (int64_t)(sizeof(words) / sizeof(words[0])) && words[state] != NULL) {
        json_object_set_new(body, "power_state", json_string(words[state]));
    }
}

static void read_metadata(const json_t *from, struct os_found *found)
{
    const json_t *metadata = json_object_get(from, "metadata");
    json_t *shown = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)metadata, key, value)
    {
        if (strcmp(key, OS_TAG_KEY) == 0) {
            os_read_text(metadata, key, found->tag, sizeof(found->tag));
        } else if (json_is_string(value)) {
            json_object_set(shown, key, value);
        }
    }
    json_object_set_new(found->body, "metadata", shown);
}

static void copy_id(json_t *to, const char *to_key, const json_t *from, const char *from_key)
{
    const json_t *object = json_object_get(from, from_key);

    os_json_copy(to, to_key, object, "id", JSON_STRING);
}

static void read_volumes(const json_t *from, json_t *body)
{
    json_t *shown = json_array();
    const json_t *entry;
    size_t at;

    json_array_foreach(json_object_get(from, "os-extended-volumes:volumes_attached"), at, entry)
    {
        const json_t *id = json_object_get(entry, "id");
        if (json_is_string(id)) {
            json_array_append(shown, (json_t *)id);
        }
    }
    json_object_set_new(body, "volumes", shown);
}

int os_read_server(const json_t *from, struct os_found *found)
{
    const json_t *fault = json_object_get(from, "fault");
    const char *host;
    const char *zone;

    if (os_read_id(from, "id", found) != VIM_OK || os_json_text(from, "status") == NULL) {
        return VIM_E_INTERNAL;
    }
    os_read_text(from, "tenant_id", found->project, sizeof(found->project));
    read_server_status(from, found);
    found->body = json_object();
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy(found->body, "backend_status", from, "status", JSON_STRING);
    os_json_copy_time(found->body, "created", from, "created");
    os_json_copy_time(found->body, "updated", from, "updated");
    copy_id(found->body, "image", from, "image");
    copy_id(found->body, "flavor", from, "flavor");
    os_json_copy(found->body, "key", from, "key_name", JSON_STRING);
    zone = os_json_text(from, "OS-EXT-AZ:availability_zone");
    if (zone != NULL && *zone != '\0') {
        json_object_set_new(found->body, "zone", json_string(zone));
    }
    host = os_json_text(from, "OS-EXT-SRV-ATTR:host");
    if (host != NULL && *host != '\0') {
        json_object_set_new(found->body, "host", json_string(host));
    }
    read_metadata(from, found);
    read_power_state(from, found->body);
    read_volumes(from, found->body);
    if (json_is_object(fault)) {
        json_t *shown = json_object();
        os_json_copy(shown, "code", fault, "code", JSON_INTEGER);
        os_json_copy(shown, "message", fault, "message", JSON_STRING);
        json_object_set_new(found->body, "fault", shown);
    }
    return VIM_OK;
}

int os_read_flavor(const json_t *from, struct os_found *found)
{
    const json_t *swap = json_object_get(from, "swap");

    if (os_read_id(from, "id", found) != VIM_OK || os_json_text(from, "name") == NULL) {
        return VIM_E_INTERNAL;
    }
    found->status = "ACTIVE";
    (void)os_tag_read(os_json_text(from, "description"), found->tag);
    found->body = json_object();
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy(found->body, "vcpus", from, "vcpus", JSON_INTEGER);
    os_json_copy(found->body, "ram", from, "ram", JSON_INTEGER);
    os_json_copy(found->body, "disk", from, "disk", JSON_INTEGER);
    os_json_copy(found->body, "ephemeral", from, "OS-FLV-EXT-DATA:ephemeral", JSON_INTEGER);
    /* No swap is an empty text up to 2.74. */
    json_object_set_new(found->body, "swap",
                        json_integer(json_is_integer(swap) ? json_integer_value(swap) : 0));
    os_json_copy(found->body, "public", from, "os-flavor-access:is_public", JSON_TRUE);
    os_json_copy(found->body, "extra_specs", from, "extra_specs", JSON_OBJECT);
    if (json_is_true(json_object_get(from, "os-flavor-access:is_public"))) {
        found->flags |= VIM_ITEM_SHARED;
    }
    return VIM_OK;
}

int os_read_keypair(const json_t *from, struct os_found *found)
{
    const json_t *inner = json_object_get(from, "keypair");

    if (json_is_object(inner)) {
        from = inner;
    }
    if (os_read_id(from, "name", found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    found->status = "ACTIVE";
    found->body = json_object();
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy(found->body, "public_key", from, "public_key", JSON_STRING);
    os_json_copy(found->body, "type", from, "type", JSON_STRING);
    os_json_copy(found->body, "fingerprint", from, "fingerprint", JSON_STRING);
    os_json_copy_time(found->body, "created", from, "created_at");
    return VIM_OK;
}

/* The mark is in the name: a server group has no other text. */
int os_read_server_group(const json_t *from, struct os_found *found)
{
    const char *name = os_json_text(from, "name");
    int length = os_tag_read(name, found->tag);

    if (os_read_id(from, "id", found) != VIM_OK || name == NULL) {
        return VIM_E_INTERNAL;
    }
    found->status = "ACTIVE";
    os_read_text(from, "project_id", found->project, sizeof(found->project));
    found->body = json_object();
    json_object_set_new(found->body, "name", json_stringn(name, (size_t)length));
    os_json_copy(found->body, "policy", from, "policy", JSON_STRING);
    os_json_copy(found->body, "max_per_host", json_object_get(from, "rules"), "max_server_per_host",
                 JSON_INTEGER);
    os_json_copy(found->body, "members", from, "members", JSON_ARRAY);
    return VIM_OK;
}

int os_read_host(const json_t *from, struct os_found *found)
{
    static const char *const numbers[][2] = {
        {"vcpus", "vcpus"},        {"vcpus_used", "vcpus_used"},
        {"ram", "memory_mb"},      {"ram_used", "memory_mb_used"},
        {"disk", "local_gb"},      {"disk_used", "local_gb_used"},
        {"servers", "running_vms"}};
    const json_t *service = json_object_get(from, "service");
    const char *status = os_json_text(from, "status");

    if (os_read_id(from, "id", found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    found->body = json_object();
    os_json_copy(found->body, "name", service, "host", JSON_STRING);
    os_json_copy(found->body, "type", from, "hypervisor_type", JSON_STRING);
    os_json_copy(found->body, "state", from, "state", JSON_STRING);
    found->status = "ACTIVE";
    if (os_json_text(from, "state") != NULL && strcmp(os_json_text(from, "state"), "up") != 0) {
        found->status = "DOWN";
    }
    if (status != NULL) {
        json_object_set_new(found->body, "enabled", json_boolean(strcmp(status, "enabled") == 0));
    }
    for (size_t at = 0; at < sizeof(numbers) / sizeof(numbers[0]); at++) {
        os_json_copy(found->body, numbers[at][0], from, numbers[at][1], JSON_INTEGER);
    }
    return VIM_OK;
}

int os_read_server_ports(const char *body, size_t length, json_t *index, char **ret_next)
{
    OS_JSON root = os_json_parse(body, length);
    const json_t *ports = json_object_get(root, "ports");
    json_t *port;
    size_t at;
    OS_JSON rest =
        json_pack("{s:[],s:O?}", "ports", "ports_links", json_object_get(root, "ports_links"));
    OS_TEXT text = rest == NULL ? NULL : os_json_dump(rest);

    if (!json_is_array(ports) || text == NULL) {
        return VIM_E_INTERNAL;
    }
    json_array_foreach((json_t *)ports, at, port)
    {
        const char *server = os_json_text(port, "device_id");
        json_t *known;
        if (server == NULL || *server == '\0') {
            continue;
        }
        known = json_object_get(index, server);
        if (known == NULL) {
            known = json_array();
            json_object_set_new(index, server, known);
        }
        json_array_append(known, port);
    }
    return os_read_page(os_kind_find("port"), text, strlen(text), NULL, NULL, ret_next);
}

void os_join_ports(struct os_found *server, const json_t *index)
{
    const json_t *ports = json_object_get(index, server->id);
    json_t *addresses = json_array();
    json_t *groups = json_array();
    OS_JSON seen = json_object();
    const json_t *port;
    const json_t *entry;
    size_t at;
    size_t inner;

    json_array_foreach((json_t *)ports, at, port)
    {
        json_array_foreach(json_object_get(port, "fixed_ips"), inner, entry)
        {
            const char *address = os_json_text(entry, "ip_address");
            json_t *shown;
            if (address == NULL) {
                continue;
            }
            shown = json_object();
            os_json_copy(shown, "network", port, "network_id", JSON_STRING);
            os_json_copy(shown, "port", port, "id", JSON_STRING);
            json_object_set_new(shown, "address", json_string(address));
            os_json_copy(shown, "mac", port, "mac_address", JSON_STRING);
            json_object_set_new(shown, "version",
                                json_integer(strchr(address, ':') != NULL ? 6 : 4));
            json_array_append_new(addresses, shown);
        }
        json_array_foreach(json_object_get(port, "security_groups"), inner, entry)
        {
            const char *id = json_string_value(entry);
            if (id != NULL && json_object_get(seen, id) == NULL) {
                json_object_set_new(seen, id, json_true());
                json_array_append_new(groups, json_string(id));
            }
        }
    }
    json_object_set_new(server->body, "addresses", addresses);
    json_object_set_new(server->body, "security_groups", groups);
}
