#include "resource.h"

#include <string.h>

static const struct {
    const char *glance;
    const char *status;
    uint32_t flags;
} image_states[] = {
    {"queued", "QUEUED", 0},
    {"saving", "UPLOADING", VIM_ITEM_PENDING},
    {"uploading", "UPLOADING", VIM_ITEM_PENDING},
    {"importing", "UPLOADING", VIM_ITEM_PENDING},
    {"active", "ACTIVE", 0},
    {"deactivated", "SUSPENDED", 0},
    {"killed", "ERROR", 0},
    {"pending_delete", "UNKNOWN", VIM_ITEM_GONE},
    {"deleted", "UNKNOWN", VIM_ITEM_GONE},
};

int os_image_field(const char *key)
{
    static const char *const fields[] = {"name",          "disk_format", "container_format",
                                         "visibility",    "size",        "virtual_size",
                                         "status",        "checksum",    "protected",
                                         "min_ram",       "min_disk",    "owner",
                                         "os_hidden",     "id",          "created_at",
                                         "updated_at",    "tags",        "self",
                                         "file",          "schema",      "stores",
                                         "direct_url",    "locations",   "os_hash_algo",
                                         "os_hash_value", OS_TAG_KEY};

    for (size_t at = 0; at < sizeof(fields) / sizeof(fields[0]); at++) {
        if (strcmp(key, fields[at]) == 0) {
            return 1;
        }
    }
    return 0;
}

int os_read_image(const json_t *from, struct os_found *found)
{
    const char *status = os_json_text(from, "status");
    const char *visibility = os_json_text(from, "visibility");
    json_t *properties;
    const char *key;
    json_t *value;

    if (os_read_id(from, "id", found) != VIM_OK || status == NULL) {
        return VIM_E_INTERNAL;
    }
    found->status = "UNKNOWN";
    for (size_t at = 0; at < sizeof(image_states) / sizeof(image_states[0]); at++) {
        if (strcmp(status, image_states[at].glance) == 0) {
            found->status = image_states[at].status;
            found->flags = image_states[at].flags;
        }
    }
    /* Only private images are their owner's alone. */
    if (visibility != NULL && strcmp(visibility, "private") != 0) {
        found->flags |= VIM_ITEM_SHARED;
    }
    os_read_text(from, "owner", found->project, sizeof(found->project));
    os_read_text(from, OS_TAG_KEY, found->tag, sizeof(found->tag));
    found->body = json_object();
    os_json_copy(found->body, "name", from, "name", JSON_STRING);
    os_json_copy(found->body, "backend_status", from, "status", JSON_STRING);
    os_json_copy_time(found->body, "created", from, "created_at");
    os_json_copy_time(found->body, "updated", from, "updated_at");
    os_json_copy(found->body, "disk_format", from, "disk_format", JSON_STRING);
    os_json_copy(found->body, "container_format", from, "container_format", JSON_STRING);
    os_json_copy(found->body, "visibility", from, "visibility", JSON_STRING);
    os_json_copy(found->body, "min_disk", from, "min_disk", JSON_INTEGER);
    os_json_copy(found->body, "min_ram", from, "min_ram", JSON_INTEGER);
    os_json_copy(found->body, "protected", from, "protected", JSON_TRUE);
    os_json_copy(found->body, "size", from, "size", JSON_INTEGER);
    os_json_copy(found->body, "checksum", from, "checksum", JSON_STRING);
    properties = json_object();
    json_object_foreach((json_t *)from, key, value)
    {
        if (!os_image_field(key) && json_is_string(value)) {
            json_object_set(properties, key, value);
        }
    }
    json_object_set_new(found->body, "properties", properties);
    return VIM_OK;
}
