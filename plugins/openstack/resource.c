#include "resource.h"

#include <string.h>

#define READ_WRITE (VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_CREATE | VIM_VERB_DELETE)

/*
 * Microversions are pinned to the lowest that has what is needed, so that an answer means the same
 * whatever the cloud offers:
 *     server 2.46   the last in which a server names its flavor by id. From 2.47 on the flavor is
 *                   a copy without one, and a name leads nowhere once the flavor was replaced.
 *     flavor 2.61   description and extra_specs are part of the list
 *     keypair 2.35  paging, and the type
 *     affinity-group 2.64  the policy is one word, with its rules
 *     host 2.53     the last but for paging in which a host tells its processors is 2.87
 */
const struct os_kind os_kinds[] = {
    {"server", OS_COMPUTE, "/servers", "/servers/detail", NULL, "servers", "server", "2.46",
     READ_WRITE | VIM_VERB_UPDATE | VIM_VERB_ACTION | VIM_VERB_CHANGES,
     "start stop reboot pause unpause suspend resume rebuild resize confirm_resize revert_resize "
     "migrate snapshot",
     os_read_server},
    {"network", OS_NETWORK, "/networks", NULL, NULL, "networks", "network", NULL,
     READ_WRITE | VIM_VERB_UPDATE, NULL, os_read_network},
    {"subnet", OS_NETWORK, "/subnets", NULL, NULL, "subnets", "subnet", NULL,
     READ_WRITE | VIM_VERB_UPDATE, NULL, os_read_subnet},
    {"port", OS_NETWORK, "/ports", NULL, NULL, "ports", "port", NULL, READ_WRITE | VIM_VERB_UPDATE,
     NULL, os_read_port},
    {"router", OS_NETWORK, "/routers", NULL, NULL, "routers", "router", NULL,
     READ_WRITE | VIM_VERB_UPDATE | VIM_VERB_ACTION, "add_interface remove_interface",
     os_read_router},
    {"floating-ip", OS_NETWORK, "/floatingips", NULL, NULL, "floatingips", "floatingip", NULL,
     READ_WRITE | VIM_VERB_UPDATE, NULL, os_read_floating_ip},
    {"security-group", OS_NETWORK, "/security-groups", NULL, NULL, "security_groups",
     "security_group", NULL, READ_WRITE | VIM_VERB_UPDATE, NULL, os_read_security_group},
    {"image", OS_IMAGE, "/images", NULL, NULL, "images", NULL, NULL,
     READ_WRITE | VIM_VERB_UPDATE | VIM_VERB_UPLOAD, NULL, os_read_image},
    {"flavor", OS_COMPUTE, "/flavors", "/flavors/detail", "is_public=None", "flavors", "flavor",
     "2.61", READ_WRITE, NULL, os_read_flavor},
    {"keypair", OS_COMPUTE, "/os-keypairs", NULL, NULL, "keypairs", "keypair", "2.35", READ_WRITE,
     NULL, os_read_keypair},
    {"affinity-group", OS_COMPUTE, "/os-server-groups", NULL, NULL, "server_groups", "server_group",
     "2.64", READ_WRITE, NULL, os_read_server_group},
    {"volume", OS_VOLUME, "/volumes", "/volumes/detail", NULL, "volumes", "volume", NULL,
     READ_WRITE | VIM_VERB_UPDATE | VIM_VERB_ACTION, "attach detach extend", os_read_volume},
    {"snapshot", OS_VOLUME, "/snapshots", "/snapshots/detail", NULL, "snapshots", "snapshot", NULL,
     READ_WRITE | VIM_VERB_UPDATE, NULL, os_read_snapshot},
    {"quota", OS_COMPUTE, "/limits", NULL, NULL, "limits", NULL, NULL, VIM_VERB_LOOK, NULL, NULL},
    {"zone", OS_COMPUTE, "/os-availability-zone", NULL, NULL, "availabilityZoneInfo", NULL, NULL,
     VIM_VERB_LOOK, NULL, NULL},
    {"host", OS_COMPUTE, "/os-hypervisors", "/os-hypervisors/detail", NULL, "hypervisors",
     "hypervisor", "2.53", VIM_VERB_LOOK, NULL, os_read_host},
    {"console", OS_COMPUTE, "/servers", NULL, NULL, "servers", NULL, NULL, VIM_VERB_GET, NULL,
     NULL},
};
const unsigned os_kind_count = sizeof(os_kinds) / sizeof(os_kinds[0]);

const struct os_kind *os_kind_find(const char *name)
{
    for (unsigned at = 0; name != NULL && at < os_kind_count; at++) {
        if (strcmp(os_kinds[at].name, name) == 0) {
            return &os_kinds[at];
        }
    }
    return NULL;
}

void os_found_clear(struct os_found *found)
{
    json_decref(found->body);
    found->body = NULL;
}

void os_read_text(const json_t *from, const char *key, char *to, size_t size)
{
    const char *text = os_json_text(from, key);
    size_t length = text == NULL ? 0 : strlen(text);

    if (length >= size) {
        length = 0;
    }
    if (length > 0) {
        memcpy(to, text, length);
    }
    to[length] = '\0';
}

int os_read_id(const json_t *from, const char *key, struct os_found *found)
{
    os_read_text(from, key, found->id, sizeof(found->id));
    return found->id[0] == '\0' ? VIM_E_INTERNAL : VIM_OK;
}

/* The part behind the question mark of a link, to be freed, or NULL. Only that part is followed:
 * the rest of a link may name a host that is not the configured one, and the token must not go
 * there. */
static char *link_query(const char *href)
{
    const char *query = href == NULL ? NULL : strchr(href, '?');
    size_t length;

    if (query == NULL) {
        return NULL;
    }
    query++;
    length = strcspn(query, "#");
    for (size_t at = 0; at < length; at++) {
        if ((unsigned char)query[at] <= ' ' || (unsigned char)query[at] > '~') {
            return NULL;
        }
    }
    return length == 0 ? NULL : strndup(query, length);
}

/* Nova and Neutron: PLURAL_links, a list of {rel, href}; Glance: "next", a path. */
static int read_next(const json_t *root, const char *plural, char **ret_next)
{
    OS_TEXT key = os_text("%s_links", plural);
    const json_t *links = key == NULL ? NULL : json_object_get(root, key);
    const char *href = os_json_text(root, "next");
    const json_t *link;
    size_t at;

    json_array_foreach((json_t *)links, at, link)
    {
        const char *rel = os_json_text(link, "rel");
        if (rel != NULL && strcmp(rel, "next") == 0) {
            href = os_json_text(link, "href");
        }
    }
    *ret_next = link_query(href);
    /* A list that goes on in a way that cannot be followed is not complete. */
    return href != NULL && *ret_next == NULL ? VIM_E_INTERNAL : VIM_OK;
}

int os_read_page(const struct os_kind *kind, const char *body, size_t length, os_found_fn fn,
                 void *context, char **ret_next)
{
    OS_JSON root = os_json_parse(body, length);
    const json_t *entries = json_object_get(root, kind->plural);
    const json_t *entry;
    OS_TEXT next = NULL;
    size_t at;
    int rc;

    if (kind->read == NULL || !json_is_array(entries) || os_json_true(root, "truncated")) {
        return VIM_E_INTERNAL;
    }
    rc = read_next(root, kind->plural, &next);
    if (rc != VIM_OK) {
        return rc;
    }
    json_array_foreach((json_t *)entries, at, entry)
    {
        OS_FOUND found = {.kind = kind->name};
        rc = kind->read(entry, &found);
        if (rc == VIM_OK) {
            rc = fn(context, &found);
        }
        if (rc != VIM_OK) {
            return rc;
        }
    }
    *ret_next = next;
    next = NULL;
    return VIM_OK;
}

int os_read_one(const struct os_kind *kind, const char *body, size_t length,
                struct os_found *ret_found)
{
    OS_JSON root = os_json_parse(body, length);
    const json_t *entry = kind->singular == NULL ? root : json_object_get(root, kind->singular);
    OS_FOUND found = {.kind = kind->name};
    int rc = kind->read == NULL ? VIM_E_INTERNAL : kind->read(entry, &found);

    if (rc == VIM_OK) {
        *ret_found = found;
        found.body = NULL;
    }
    return rc;
}
