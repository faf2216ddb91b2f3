#include "resource.h"

#include <string.h>

/* Cinder's status words; any that begins with "error" is ERROR. */
static const struct {
    const char *cinder;
    const char *status;
    uint32_t flags;
} states[] = {
    {"creating", "BUILD", VIM_ITEM_PENDING},
    {"downloading", "BUILD", VIM_ITEM_PENDING},
    {"available", "ACTIVE", 0},
    {"in-use", "ACTIVE", 0},
    {"awaiting-transfer", "ACTIVE", 0},
    {"reserved", "UPDATING", VIM_ITEM_PENDING},
    {"attaching", "UPDATING", VIM_ITEM_PENDING},
    {"detaching", "UPDATING", VIM_ITEM_PENDING},
    {"extending", "UPDATING", VIM_ITEM_PENDING},
    {"uploading", "UPDATING", VIM_ITEM_PENDING},
    {"retyping", "UPDATING", VIM_ITEM_PENDING},
    {"maintenance", "UPDATING", VIM_ITEM_PENDING},
    {"backing-up", "UPDATING", VIM_ITEM_PENDING},
    {"restoring-backup", "UPDATING", VIM_ITEM_PENDING},
    {"updating", "UPDATING", VIM_ITEM_PENDING},
    {"deleting", "DELETING", VIM_ITEM_PENDING},
    {"unmanaging", "DELETING", VIM_ITEM_PENDING},
    {"deleted", "UNKNOWN", VIM_ITEM_GONE},
};

static void read_state(const char *word, struct os_found *found)
{
    found->status = strncmp(word, "error", 5) == 0 ? "ERROR" : "UNKNOWN";
    for (size_t at = 0; at < sizeof(states) / sizeof(states[0]); at++) {
        if (strcmp(word, states[at].cinder) == 0) {
            found->status = states[at].status;
            found->flags = states[at].flags;
        }
    }
}

/* What volumes and snapshots share. */
static int read_common(const json_t *from, struct os_found *found)
{
    const char *status = os_json_text(from, "status");
    const json_t *metadata = json_object_get(from, "metadata");
    json_t *shown = json_object();
    const char *key;
    json_t *value;

    if (os_read_id(from, "id", found) != VIM_OK || status == NULL) {
        json_decref(shown);
        return VIM_E_INTERNAL;
    }
    read_state(status, found);
    found->body = json_object();
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy(found->body, "description", from, "description", JSON_STRING);
    os_json_copy(found->body, "size", from, "size", JSON_INTEGER);
    json_object_set_new(found->body, "backend_status", json_string(status));
    os_json_copy_time(found->body, "created", from, "created_at");
    os_json_copy_time(found->body, "updated", from, "updated_at");
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (strcmp(key, OS_TAG_KEY) == 0) {
            os_read_text(metadata, key, found->tag, sizeof(found->tag));
        } else if (json_is_string(value)) {
            json_object_set(shown, key, value);
        }
    }
    json_object_set_new(found->body, "metadata", shown);
    return VIM_OK;
}

int os_read_volume(const json_t *from, struct os_found *found)
{
    const json_t *attachment = json_array_get(json_object_get(from, "attachments"), 0);
    const char *bootable = os_json_text(from, "bootable");

    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    os_read_text(from, "os-vol-tenant-attr:tenant_id", found->project, sizeof(found->project));
    os_json_copy(found->body, "type", from, "volume_type", JSON_STRING);
    os_json_copy(found->body, "zone", from, "availability_zone", JSON_STRING);
    os_json_copy(found->body, "server", attachment, "server_id", JSON_STRING);
    os_json_copy(found->body, "device", attachment, "device", JSON_STRING);
    if (bootable != NULL) {
        json_object_set_new(found->body, "bootable", json_boolean(strcmp(bootable, "true") == 0));
    }
    return VIM_OK;
}

int os_read_snapshot(const json_t *from, struct os_found *found)
{
    if (read_common(from, found) != VIM_OK) {
        return VIM_E_INTERNAL;
    }
    os_read_text(from, "os-extended-snapshot-attributes:project_id", found->project,
                 sizeof(found->project));
    os_read_text(from, "volume_id", found->parent, sizeof(found->parent));
    os_json_copy(found->body, "volume", from, "volume_id", JSON_STRING);
    return VIM_OK;
}
