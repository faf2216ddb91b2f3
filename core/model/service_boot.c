/* Volumes that the servers of a network service boot from. */
#include "model/service_private.h"

#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"

static const char *boot_volume_of(const json_t *server)
{
    return json_get_text(json_object_get(server, "boot_volume"), "volume", NULL);
}

bool service_boots_from(const json_t *element, const char *vnf, const char *volume)
{
    CLEANUP_FREE char *own = text_format("${vnf.%s.volume.%s.id}", vnf, volume);
    const char *boot = boot_volume_of(element);
    return boot && strcmp(boot, own) == 0;
}

void service_boot_instance(const json_t *element, const char *vnf, unsigned instance, json_t *spec)
{
    const char *name;
    json_t *unused;
    json_object_foreach(json_object_get(element, "volumes"), name, unused)
    {
        if (service_boots_from(element, vnf, name)) {
            json_object_set_new(json_object_get(spec, "boot_volume"), "volume",
                                json_sprintf("${vnf.%s.%u.volume.%s.id}", vnf, instance, name));
        }
    }
}

/* The volume's node, which TEXT refers to; NULL if it is none of the service's. */
static const struct service_node *node_of(const struct service_plan *plan, const char *text)
{
    size_t length = strlen(text);
    if (!service_is_reference(text) || length < 6 || strcmp(text + length - 4, ".id}") != 0) {
        return NULL;
    }
    CLEANUP_FREE char *name = text_duplicate_bytes(text + 2, length - 6);
    uint32_t number = service_plan_find(plan, name);
    return number == UINT32_MAX ? NULL : &plan->nodes[number];
}

void service_check_boot(struct making *making)
{
    const struct service_plan *plan = making->plan;
    CLEANUP_JSON json_t *taken = json_object(); /* what is booted from -> by which node */
    CLEANUP_JSON json_t *told = json_object(); /* pointers: instances share them */
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct service_node *node = &plan->nodes[i];
        const char *boot =
            strcmp(node->kind->name, "server") == 0 ? boot_volume_of(node->spec) : NULL;
        if (!boot) {
            continue;
        }
        CLEANUP_FREE char *pointer = text_format("%s/boot_volume/volume", node->pointer);
        const char *other = json_get_text(taken, boot, NULL);
        const struct service_node *volume = node_of(plan, boot);
        if (other && !json_object_get(told, pointer)) {
            findings_add(making->findings, pointer, "%s boots from it already", other);
            json_set_boolean(told, pointer, true);
        } else if (!other && volume && json_object_get(volume->spec, "attach")) {
            CLEANUP_FREE char *at = text_format("%s/attach", volume->pointer);
            findings_add(making->findings, json_pointer_get(making->description, at) ? at : pointer,
                         "%s boots from it: it cannot be attached as well", node->name);
        }
        json_set_text(taken, boot, other ? other : node->name);
    }
}
