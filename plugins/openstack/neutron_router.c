/*
 * Routers: their interfaces, which are ports of Neutron's that name the router as their device.
 * Wanted and present ones are compared, so it does not matter how far an earlier try has come.
 */
#include "services.h"

#include <stdio.h>
#include <string.h>

static const struct os_kind *router_kind(void)
{
    return os_kind_find("router");
}

/* Does INTERFACE, {subnet} or {port} in the vocabulary, stand among those of the router? */
static int is_there(const struct os_found *router, const json_t *interface)
{
    const char *key = os_json_text(interface, "port") != NULL ? "port" : "subnet";
    const char *wanted = os_json_text(interface, key);
    const json_t *entry;
    size_t at;

    json_array_foreach(json_object_get(router->body, "interfaces"), at, entry)
    {
        const char *there = os_json_text(entry, key);
        if (there != NULL && wanted != NULL && strcmp(there, wanted) == 0) {
            return 1;
        }
    }
    return 0;
}

/* WORD is add or remove. */
static int change(struct os_call *c, const char *id, const char *word, const json_t *interface)
{
    json_t *body = json_object();
    HTTP_REPLY reply = {0};
    char note[32];

    os_json_copy(body, "port_id", interface, "port", JSON_STRING);
    if (json_object_size(body) == 0) {
        os_json_copy(body, "subnet_id", interface, "subnet", JSON_STRING);
    }
    (void)snprintf(note, sizeof(note), "%s-interface", word);
    os_step_note(c, note);
    return os_send(c, OS_NETWORK, NULL, "PUT", body, &reply, "/routers/%s/%s_router_interface", id,
                   word);
}

/* change(), unless it turns out to be done: a connection that dies under a PUT has it sent twice, and
 * Neutron refuses the second. */
static int change_once(struct os_call *c, const char *id, int adds, const json_t *interface)
{
    OS_FOUND found = {0};
    int rc = change(c, id, adds ? "add" : "remove", interface);
    struct os_error error = c->error;

    if (rc == VIM_OK || !VIM_IS_PERMANENT(rc)) {
        return rc;
    }
    if (neutron_router_fetch(c, id, &found) == VIM_OK && is_there(&found, interface) == adds) {
        return VIM_OK;
    }
    c->error = error;
    return rc;
}

int neutron_router_fetch(struct os_call *c, const char *id, struct os_found *ret_found)
{
    int rc = os_fetch(c, router_kind(), id, ret_found);

    return rc == VIM_OK ? os_router_interfaces(c, ret_found) : rc;
}

int neutron_router_get(struct os_call *c, const char *id)
{
    OS_FOUND found = {0};
    int rc = neutron_router_fetch(c, id, &found);

    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

int neutron_router_lead(struct os_call *c, const char *id, const json_t *interfaces)
{
    OS_FOUND found = {0};
    int rc = neutron_router_fetch(c, id, &found);
    const json_t *entry;
    size_t at;

    json_array_foreach((json_t *)interfaces, at, entry)
    {
        if (rc == VIM_OK && !is_there(&found, entry)) {
            rc = change_once(c, id, 1, entry);
        }
    }
    return rc;
}

int neutron_router_delete(struct os_call *c, const char *id)
{
    OS_FOUND found = {0};
    int rc = neutron_router_fetch(c, id, &found);
    const json_t *entry;
    size_t at;

    json_array_foreach(json_object_get(found.body, "interfaces"), at, entry)
    {
        if (rc == VIM_OK) {
            rc = change_once(c, id, 0, entry);
        }
    }
    if (rc == VIM_OK) {
        os_step_note(c, "delete-router");
        rc = os_delete(c, OS_NETWORK, NULL, "/routers/%s", id);
    }
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

int neutron_router_act(struct os_call *c, const struct vim_op *op, const json_t *spec)
{
    int adds = op->action != NULL && strcmp(op->action, "add_interface") == 0;
    OS_FOUND found = {0};
    int rc;

    if (!adds && (op->action == NULL || strcmp(op->action, "remove_interface") != 0)) {
        return os_fail(c, VIM_E_UNSUPPORTED, "unknown action");
    }
    if ((os_json_text(spec, "subnet") == NULL) == (os_json_text(spec, "port") == NULL)) {
        return os_fail(c, VIM_E_INVALID, "an interface needs either a subnet or a port");
    }
    rc = neutron_router_fetch(c, op->id, &found);
    if (rc == VIM_OK && is_there(&found, spec) != adds) {
        rc = change_once(c, op->id, adds, spec);
        if (rc == VIM_E_NOT_FOUND) {
            /* The router was there a moment ago: it is the subnet or the port that is not. */
            c->error.code = rc = VIM_E_INVALID;
        }
    }
    return rc == VIM_OK ? neutron_router_get(c, op->id) : rc;
}
