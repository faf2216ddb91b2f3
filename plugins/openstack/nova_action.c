/*
 * Servers: the actions.
 *
 *   most     POST .../action, keep "sent ID", await --> the state that it leads to
 *   those that say nothing by where they lead (reboot, rebuild, a migration of what runs):
 *            keep "before N" (how many of the kind Nova has recorded) --> as the others: a repetition
 *            finds out by that number whether the lost one was accepted
 */
#include "services.h"

#include <stdio.h>
#include <string.h>

struct action {
    const char *name;
    const char *wire; /* Nova's word in the request */
    const char *to; /* the states that it leads to, in Nova's words, as ",A,B," */
    const char *record; /* Nova's word on record for it, or NULL: `to` tells it from before */
};

static const struct action actions[] = {
    {"start", "os-start", ",ACTIVE,", NULL},
    {"stop", "os-stop", ",SHUTOFF,", NULL},
    {"reboot", "reboot", ",ACTIVE,", "reboot"},
    {"pause", "pause", ",PAUSED,", NULL},
    {"unpause", "unpause", ",ACTIVE,", NULL},
    {"suspend", "suspend", ",SUSPENDED,", NULL},
    {"resume", "resume", ",ACTIVE,", NULL},
    {"rebuild", "rebuild", ",ACTIVE,SHUTOFF,", "rebuild"},
    {"resize", "resize", ",VERIFY_RESIZE,", NULL},
    {"confirm_resize", "confirmResize", ",ACTIVE,SHUTOFF,", NULL},
    {"revert_resize", "revertResize", ",ACTIVE,SHUTOFF,", NULL},
};

/* Where a migration leads depends on whether the server runs on. */
static const struct action live_migration = {"migrate", "os-migrateLive", ",ACTIVE,PAUSED,",
                                             "live-migration"};
static const struct action cold_migration = {"migrate", "migrate", ",VERIFY_RESIZE,", NULL};

/* The first version in which a cold migration can name its host. */
#define MIGRATE_VERSION "2.56"

static const char *nova_state(const struct os_found *server)
{
    const char *state = os_json_text(server->body, "backend_status");

    return state == NULL ? "" : state;
}

static int is_where_it_leads(const struct action *action, const struct os_found *server)
{
    OS_TEXT word = os_text(",%s,", nova_state(server));

    return word != NULL && strstr(action->to, word) != NULL;
}

/* --- Which action ---------------------------------------------------------------------------- */

/* What kind of migration is wanted: as the arguments say, or by whether the server runs. The cursor of
 * a later step remembers it. */
static int find_migration(struct os_call *c, const struct vim_op *op, const json_t *spec,
                          const struct action **ret_action)
{
    const json_t *live = json_object_get(spec, "live");
    OS_FOUND found = {0};
    struct os_cursor cursor;
    int runs = json_is_true(live);
    int rc = VIM_OK;

    os_cursor_read(op->kept, &cursor);
    if (strncmp(cursor.phase, "live-", 5) == 0) {
        runs = 1;
    } else if (live == NULL && cursor.phase[0] == '\0') {
        rc = os_fetch(c, os_kind_find("server"), op->id, &found);
        runs = rc == VIM_OK && (strcmp(nova_state(&found), "ACTIVE") == 0 ||
                                strcmp(nova_state(&found), "PAUSED") == 0);
    }
    *ret_action = runs ? &live_migration : &cold_migration;
    return rc;
}

static int find_action(struct os_call *c, const struct vim_op *op, const json_t *spec,
                       const struct action **ret_action)
{
    if (op->action != NULL && strcmp(op->action, "migrate") == 0) {
        return find_migration(c, op, spec, ret_action);
    }
    for (size_t at = 0; op->action != NULL && at < sizeof(actions) / sizeof(actions[0]); at++) {
        if (strcmp(op->action, actions[at].name) == 0) {
            *ret_action = &actions[at];
            return VIM_OK;
        }
    }
    return os_fail(c, VIM_E_UNSUPPORTED, "unknown action");
}

/* --- The request ----------------------------------------------------------------------------- */

static json_t *live_body(const json_t *spec)
{
    json_t *body = json_pack("{s:n,s:s}", "host", "block_migration", "auto");

    os_json_copy(body, "host", spec, "host", JSON_STRING);
    return body;
}

/* NULL, with c->error filled, if it cannot be made. */
static json_t *action_body(struct os_call *c, const struct vim_op *op, const struct action *action,
                           const json_t *spec)
{
    const char *type = os_json_text(spec, "type");
    const char *host = os_json_text(spec, "host");
    json_t *arguments = NULL;
    OS_FOUND found = {0};

    if (action == &live_migration) {
        arguments = live_body(spec);
    } else if (action == &cold_migration && host != NULL) {
        arguments = json_pack("{s:s}", "host", host);
    } else if (strcmp(action->name, "reboot") == 0) {
        arguments =
            json_pack("{s:s}", "type", type != NULL && strcmp(type, "hard") == 0 ? "HARD" : "SOFT");
    } else if (strcmp(action->name, "resize") == 0) {
        if (os_json_text(spec, "flavor") == NULL) {
            (void)os_fail(c, VIM_E_INVALID, "a resize needs a flavor");
            return NULL;
        }
        arguments = json_pack("{s:s}", "flavorRef", os_json_text(spec, "flavor"));
    } else if (strcmp(action->name, "rebuild") == 0) {
        arguments = json_object();
        os_json_copy(arguments, "imageRef", spec, "image", JSON_STRING);
        if (json_object_size(arguments) == 0) {
            if (os_fetch(c, os_kind_find("server"), op->id, &found) != VIM_OK) {
                json_decref(arguments);
                return NULL;
            }
            os_json_copy(arguments, "imageRef", found.body, "image", JSON_STRING);
        }
    }
    return json_pack("{s:o}", action->wire, arguments == NULL ? json_null() : arguments);
}

static int sent(struct os_call *c, const struct vim_op *op, const struct action *action)
{
    os_cursor_keep(c, action == &live_migration ? "live-sent" : "sent", 0, op->id);
    return nova_await(c, op->id);
}

/* Ends the action if the server is where it should be; waits if it is on its way. */
static int settle_action(struct os_call *c, const struct vim_op *op, const struct action *action)
{
    OS_FOUND found = {0};
    int rc;

    os_step_note(c, "wait-action");
    rc = os_fetch(c, os_kind_find("server"), op->id, &found);
    if (rc != VIM_OK) {
        return rc;
    }
    if ((found.flags & VIM_ITEM_PENDING) != 0) {
        return sent(c, op, action);
    }
    if (strcmp(nova_state(&found), "VERIFY_RESIZE") == 0 &&
        strcmp(action->name, "confirm_resize") == 0) {
        /* Nova confirms behind its answer, and shows nothing of it meanwhile. */
        os_cursor_keep(c, "sent", 0, op->id);
        c->os->host->again(c->call, 500);
        return VIM_AGAIN;
    }
    if (!is_where_it_leads(action, &found)) {
        return strcmp(found.status, "ERROR") == 0
                   ? nova_server_failed(c, op->id, found.body, "after the action")
                   : os_fail(c, VIM_E_FAILED, "server %s is %s after %s", op->id,
                             nova_state(&found), op->action);
    }
    rc = os_server_ports(c, &found);
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

/* How many actions of that name Nova has on record for the server. */
static int count_records(struct os_call *c, const char *id, const char *record, int *ret_count)
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
        const char *name = os_json_text(entry, "action");
        *ret_count += name != NULL && strcmp(name, record) == 0;
    }
    return VIM_OK;
}

static int send_action(struct os_call *c, const struct vim_op *op, const struct action *action,
                       const json_t *spec)
{
    json_t *body = action_body(c, op, action, spec);
    const char *version = action == &cold_migration && os_json_text(spec, "host") != NULL
                              ? MIGRATE_VERSION
                              : NOVA_SERVER_VERSION;
    HTTP_REPLY reply = {0};
    int rc;

    if (body == NULL) {
        return c->error.code;
    }
    os_step_note(c, op->action);
    rc = os_send(c, OS_COMPUTE, version, "POST", body, &reply, "/servers/%s/action", op->id);
    /* What is being confirmed is shown as before, and Nova knows of no resize any more. */
    if (rc == VIM_OK ||
        (rc == VIM_E_INVALID && op->attempt > 0 && strcmp(action->name, "confirm_resize") == 0)) {
        return sent(c, op, action);
    }
    if (rc == VIM_E_CONFLICT && action->record == NULL) {
        /* Nova refuses to start what runs: that is where it should be. */
        struct os_error error = c->error;
        OS_FOUND found = {0};
        if (os_fetch(c, os_kind_find("server"), op->id, &found) == VIM_OK &&
            (found.flags & VIM_ITEM_PENDING) == 0 && is_where_it_leads(action, &found)) {
            return settle_action(c, op, action);
        }
        c->error = error;
    }
    return rc;
}

/* Most actions say where they lead, and Nova refuses the second. These say nothing. */
static int act_by_record(struct os_call *c, const struct vim_op *op, const struct action *action,
                         const json_t *spec, const struct os_cursor *cursor)
{
    char text[16];
    int before;
    int rc;

    if (strstr(cursor->phase, "before") == NULL) {
        os_step_note(c, "count-actions");
        rc = count_records(c, op->id, action->record, &before);
        if (rc != VIM_OK) {
            return rc;
        }
        (void)snprintf(text, sizeof(text), "%d", before);
        os_cursor_keep(c, action == &live_migration ? "live-before" : "before", 0, text);
        c->os->host->again(c->call, 0);
        return VIM_AGAIN;
    }
    if (op->attempt > 0) {
        rc = count_records(c, op->id, action->record, &before);
        if (rc != VIM_OK) {
            return rc;
        }
        if (before > atoi(cursor->id)) {
            return settle_action(c, op, action);
        }
    }
    return send_action(c, op, action, spec);
}

int nova_action(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    const struct action *action = NULL;
    struct os_cursor cursor;
    int rc;

    if (spec == NULL) {
        return c->error.code;
    }
    rc = find_action(c, op, spec, &action);
    if (rc != VIM_OK) {
        return rc;
    }
    os_cursor_read(op->kept, &cursor);
    if (strstr(cursor.phase, "sent") != NULL) {
        return settle_action(c, op, action);
    }
    if (action->record != NULL) {
        return act_by_record(c, op, action, spec, &cursor);
    }
    if (op->attempt > 0) {
        OS_FOUND found = {0};
        rc = os_fetch(c, os_kind_find("server"), op->id, &found);
        if (rc != VIM_OK) {
            return rc;
        }
        if ((found.flags & VIM_ITEM_PENDING) != 0 || is_where_it_leads(action, &found)) {
            return settle_action(c, op, action);
        }
    }
    return send_action(c, op, action, spec);
}
