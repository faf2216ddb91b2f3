/* How large a network service's description may be, before anything is made of it. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "model/service.h"

int64_t service_instances(const json_t *vnf)
{
    int64_t count = json_get_integer(vnf, "count", 1);
    return count < 0 || count > SERVICE_INSTANCES_MAX ? 1 : count;
}

/* No more elements than the table allows. */
static bool is_within(const struct field *fields, unsigned count, const json_t *object)
{
    for (unsigned i = 0; i < count; i++) {
        const struct field *field = &fields[i];
        const json_t *value = json_object_get(object, field->name);
        if (field->type != FIELD_MAP || !json_is_object(value)) {
            continue;
        }
        if (json_object_size(value) > (size_t)field->maximum) {
            return false;
        }
        const char *name;
        json_t *element;
        json_object_foreach((json_t *)(uintptr_t)value, name, element)
        {
            if (!is_within(field->fields, field->field_count, element)) {
                return false;
            }
        }
    }
    return true;
}

/* Bytes of all VNFs as text, each as often as there are instances of it. */
static size_t expanded_size(const json_t *description)
{
    size_t size = 0;
    const char *name;
    json_t *vnf;
    json_object_foreach(json_object_get(description, "vnfs"), name, vnf)
    {
        CLEANUP_FREE char *text = json_print(vnf);
        size += strlen(text) * (size_t)service_instances(vnf);
    }
    return size;
}

static bool counts_are_within(const json_t *description)
{
    const char *name;
    json_t *vnf;
    json_object_foreach(json_object_get(description, "vnfs"), name, vnf)
    {
        if (service_instances(vnf) != json_get_integer(vnf, "count", 1)) {
            return false;
        }
    }
    return true;
}

bool service_check_limits(const json_t *description, struct findings *findings)
{
    const struct kind *kind = kinds_service();
    bool within = is_within(kind->fields, kind->field_count, description);
    if (!within || (findings->count == 0 && !counts_are_within(description))) {
        if (findings->count == 0) { /* else the table has told */
            findings_add(findings, "", "has more elements than are allowed");
        }
        return false;
    }
    if (expanded_size(description) > SERVICE_EXPANDED_MAX) {
        findings_add(findings, "/vnfs", "are more than %u bytes, with all their instances",
                     SERVICE_EXPANDED_MAX);
        return false;
    }
    return true;
}
