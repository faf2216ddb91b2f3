/*
 * Servers: the actions.
 *
 *   action   POST .../action, keep "sent ID", await --> the status that it leads to
 *   reboot   keep "before N" (how many reboots Nova has recorded) --> as an action: a repetition
 *            finds out by that number whether the lost one was accepted
 */
#include "services.h"

#include <stdio.h>
#include <string.h>

static json_t *action_body(const struct vim_op *op, const json_t *spec)
{
    const char *type = os_json_text(spec, "type");

    if (strcmp(op->action, "start") == 0) {
        return json_pack("{s:n}", "os-start");
    }
    if (strcmp(op->action, "stop") == 0) {
        return json_pack("{s:n}", "os-stop");
    }
    return json_pack("{s:{s:s}}", "reboot", "type",
                     type != NULL && strcmp(type, "hard") == 0 ? "HARD" : "SOFT");
}

/* The status that an action leads to. */
static const char *leads_to(const char *action)
{
    return strcmp(action, "stop") == 0 ? "SHUTOFF" : "ACTIVE";
}

/* Ends the action if the server is where it should be; waits if it is on its way. */
static int settle_action(struct os_call *c, const struct vim_op *op)
{
    OS_FOUND found = {0};
    int rc;

    os_step_note(c, "wait-action");
    rc = os_fetch(c, os_kind_find("server"), op->id, &found);
    if (rc != VIM_OK) {
        return rc;
    }
    if ((found.flags & VIM_ITEM_PENDING) != 0) {
        os_cursor_keep(c, "sent", 0, op->id);
        return nova_await(c, op->id);
    }
    if (strcmp(found.status, leads_to(op->action)) != 0) {
        return strcmp(found.status, "ERROR") == 0
                   ? nova_server_failed(c, op->id, found.body, "after the action")
                   : os_fail(c, VIM_E_FAILED, "server %s is %s after %s", op->id, found.status,
                             op->action);
    }
    rc = os_server_ports(c, &found);
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

/* How many reboots Nova has on record for the server. */
static int count_reboots(struct os_call *c, const char *id, int *ret_count)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const json_t *entry;
    size_t at;
    int rc =
        os_get(c, OS_COMPUTE, NOVA_SERVER_VERSION, &reply, "/servers/%s/os-instance-actions", id);

    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    if (!json_is_array(json_object_get(root, "instanceActions"))) {
        return os_fail(c, VIM_E_UNAVAILABLE, "compute answered without the server's actions");
    }
    *ret_count = 0;
    json_array_foreach(json_object_get(root, "instanceActions"), at, entry)
    {
        const char *action = os_json_text(entry, "action");
        *ret_count += action != NULL && strcmp(action, "reboot") == 0;
    }
    return VIM_OK;
}

static int send_action(struct os_call *c, const struct vim_op *op, const json_t *spec)
{
    HTTP_REPLY reply = {0};
    int rc;

    os_step_note(c, op->action);
    rc = os_send(c, OS_COMPUTE, NOVA_SERVER_VERSION, "POST", action_body(op, spec), &reply,
                 "/servers/%s/action", op->id);
    if (rc == VIM_OK) {
        os_cursor_keep(c, "sent", 0, op->id);
        return nova_await(c, op->id);
    }
    if (rc == VIM_E_CONFLICT && strcmp(op->action, "reboot") != 0) {
        /* Nova refuses to start what runs: that is where it should be. */
        struct os_error error = c->error;
        OS_FOUND found = {0};
        if (os_fetch(c, os_kind_find("server"), op->id, &found) == VIM_OK &&
            (found.flags & VIM_ITEM_PENDING) == 0 &&
            strcmp(found.status, leads_to(op->action)) == 0) {
            return settle_action(c, op);
        }
        c->error = error;
    }
    return rc;
}

/* Start and stop say where they lead, and Nova refuses the second. A reboot says nothing. */
static int reboot(struct os_call *c, const struct vim_op *op, const json_t *spec,
                  const struct os_cursor *cursor)
{
    char text[16];
    int before;
    int rc;

    if (strcmp(cursor->phase, "before") != 0) {
        os_step_note(c, "count-reboots");
        rc = count_reboots(c, op->id, &before);
        if (rc != VIM_OK) {
            return rc;
        }
        (void)snprintf(text, sizeof(text), "%d", before);
        os_cursor_keep(c, "before", 0, text);
        c->os->host->again(c->call, 0);
        return VIM_AGAIN;
    }
    if (op->attempt > 0) {
        rc = count_reboots(c, op->id, &before);
        if (rc != VIM_OK) {
            return rc;
        }
        if (before > atoi(cursor->id)) {
            return settle_action(c, op);
        }
    }
    return send_action(c, op, spec);
}

int nova_action(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    struct os_cursor cursor;

    if (spec == NULL) {
        return c->error.code;
    }
    if (op->action == NULL ||
        (strcmp(op->action, "start") != 0 && strcmp(op->action, "stop") != 0 &&
         strcmp(op->action, "reboot") != 0)) {
        return os_fail(c, VIM_E_UNSUPPORTED, "unknown action");
    }
    os_cursor_read(op->kept, &cursor);
    if (strcmp(cursor.phase, "sent") == 0) {
        return settle_action(c, op);
    }
    if (strcmp(op->action, "reboot") == 0) {
        return reboot(c, op, spec, &cursor);
    }
    if (op->attempt > 0) {
        OS_FOUND found = {0};
        int rc = os_fetch(c, os_kind_find("server"), op->id, &found);
        if (rc != VIM_OK) {
            return rc;
        }
        if ((found.flags & VIM_ITEM_PENDING) != 0 ||
            strcmp(found.status, leads_to(op->action)) == 0) {
            return settle_action(c, op);
        }
    }
    return send_action(c, op, spec);
}
