/*
 * Creates in several steps. Each step makes one thing and keeps what it has learned, so that after
 * a crash the next one goes on from there; a step that is repeated looks for what it may have made.
 * What is made on the way carries the operation's request id too, with a number: an undo finds it
 * even if the step that made it never got to tell.
 */
#include "mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The cursor: {"ports": [ids, one per entry of the spec's networks], "server": id}. */
static int keep_cursor(struct session *session, json_t *cursor)
{
    char *text = json_dumps(cursor, JSON_COMPACT);
    int code = VIM_OK;
    if (text == NULL || strlen(text) >= VIM_KEPT_MAX) {
        code = vim_fail(session->host, session->call, VIM_E_INTERNAL, 0, "too many networks");
    } else {
        session->host->keep(session->call, text);
    }
    free(text);
    return code;
}

/* Takes care of one entry of `networks`: makes its port, unless it names one. */
static int make_port(struct session *session, const struct vim_op *op, json_t *spec, size_t index,
                     json_t *ports)
{
    json_t *entry = json_array_get(json_object_get(spec, "networks"), index);
    json_t *given = json_object_get(entry, "port");
    const char *network = json_string_value(json_object_get(entry, "network"));
    json_t *address = json_object_get(entry, "fixed_ip");
    json_t *groups = json_object_get(spec, "security_groups");
    struct page page = {0};
    char tag[64];
    if (given != NULL) {
        json_array_append(ports, given);
        return VIM_OK;
    }
    vim_note(session->host, session->call, "step", "create-port-%zu", index);
    snprintf(tag, sizeof(tag), "%s/%zu", op->request_id, index);
    json_t *port = json_pack(
        "{s:o,s:s,s:b}", "name",
        json_sprintf("%.200s-%zu", json_string_value(json_object_get(spec, "name")), index),
        "network", network ? network : "", "owned", 1);
    if (address != NULL) {
        json_object_set_new(port, "fixed_ips", json_pack("[{s:O}]", "ip_address", address));
    }
    if (groups != NULL) {
        json_object_set(port, "security_groups", groups);
    }
    int code = make_once(session, "port", port, tag, op->attempt > 0, &page);
    if (code == VIM_OK) {
        json_array_append_new(ports, json_string(page.views[0].id));
    }
    json_decref(port);
    page_free(&page);
    return code;
}

/* Names the ports that were made in place of their networks. */
static void plug_ports(json_t *spec, const json_t *cursor)
{
    size_t i;
    json_t *port;
    json_t *plugs = json_array();
    json_array_foreach(json_object_get(cursor, "ports"), i, port)
    {
        json_array_append_new(plugs, json_pack("{s:O}", "port", port));
    }
    json_object_set_new(spec, "networks", plugs);
}

static int make_server(struct session *session, const struct vim_op *op, json_t *spec,
                       json_t *cursor)
{
    struct page page = {0};
    if (!session->mock->ports_by_cloud) {
        plug_ports(spec, cursor);
    }
    session->host->note(session->call, "step", "create-server");
    int code = make_once(session, "server", spec, op->request_id, op->attempt > 0, &page);
    if (code == VIM_OK) {
        json_object_set_new(cursor, "server", json_string(page.views[0].id));
        code = keep_cursor(session, cursor);
    }
    if (code == VIM_OK) {
        code = settle_view(session, "server", &page.views[0]);
    }
    page_free(&page);
    return code;
}

int create_server(struct session *session, const struct vim_op *op, json_t *spec)
{
    json_t *cursor = op->kept ? json_loads(op->kept, 0, NULL) : json_pack("{s:[]}", "ports");
    json_t *ports = json_object_get(cursor, "ports");
    const char *server = json_string_value(json_object_get(cursor, "server"));
    size_t done = json_array_size(ports);
    int code;
    if (ports == NULL) {
        code = vim_fail(session->host, session->call, VIM_E_INTERNAL, 0, "the cursor is damaged");
    } else if (server != NULL) {
        session->host->note(session->call, "step", "await-server");
        code = settle_later(session, op, server);
    } else if (!session->mock->ports_by_cloud &&
               done < json_array_size(json_object_get(spec, "networks"))) {
        code = make_port(session, op, spec, done, ports);
        if (code == VIM_OK) {
            code = keep_cursor(session, cursor);
        }
        if (code == VIM_OK) {
            code = vim_again(session->host, session->call, 0);
        }
    } else {
        code = make_server(session, op, spec, cursor);
    }
    json_decref(cursor);
    return code;
}

/* First the server, which takes its ports with it; then ports that never got a server. */
int undo_server(struct session *session, const struct vim_op *op)
{
    session->host->note(session->call, "step", "undo");
    int code = take_back(session, op);
    if (code == VIM_OK) {
        struct vim_op ports = *op;
        ports.kind = "port";
        code = take_back(session, &ports);
    }
    return code;
}

/* The group first, then one rule per step. The cursor is "ID COUNT-OF-RULES". */
int create_group(struct session *session, const struct vim_op *op, json_t *spec)
{
    char id[64];
    unsigned done = 0;
    struct page page = {0};
    json_t *rules = json_object_get(spec, "rules");
    int code;
    if (op->kept == NULL) {
        session->host->note(session->call, "step", "create-group");
        if (rules != NULL) {
            json_incref(rules);
            json_object_del(spec, "rules");
            json_object_set_new(spec, "default_rules", json_false());
        }
        code = make_once(session, "security-group", spec, op->request_id, op->attempt > 0, &page);
        if (code == VIM_OK) {
            (void)emit_view(session, "security-group", &page.views[0]);
            code = vim_keep(session->host, session->call, "%s 0", page.views[0].id);
        }
        bool more = json_array_size(rules) > 0;
        json_decref(rules);
        page_free(&page);
        return code == VIM_OK && more ? vim_again(session->host, session->call, 0) : code;
    }
    if (sscanf(op->kept, "%63s %u", id, &done) != 2) {
        return vim_fail(session->host, session->call, VIM_E_INTERNAL, 0, "the cursor is damaged");
    }
    if (done < json_array_size(rules)) {
        json_t *rule = json_pack("{s:s,s:O}", "group", id, "rule", json_array_get(rules, done));
        vim_note(session->host, session->call, "step", "create-rule-%u", done);
        code = wire_create(session, "security-group-rule", rule, NULL, &page);
        json_decref(rule);
        page_free(&page);
        /* Repeated, and the rule is there: then it is ours. */
        if (code != VIM_OK && !(code == VIM_E_CONFLICT && op->attempt > 0)) {
            return code;
        }
        done++;
        code = vim_keep(session->host, session->call, "%s %u", id, done);
        return code == VIM_OK ? vim_again(session->host, session->call, 0) : code;
    }
    return settle_later(session, op, id);
}

/* Does the router lead where INTERFACE says? VIM_E_CONFLICT if not. */
static int leads_there(struct session *session, const char *router, const json_t *interface)
{
    struct page page = {0};
    size_t i;
    json_t *entry;
    const char *key = json_object_get(interface, "port") ? "port" : "subnet";
    int code = wire_get(session, "router", router, &page);
    json_t *body = code == VIM_OK ? json_loads(page.views[0].body, 0, NULL) : NULL;
    bool found = false;
    json_array_foreach(json_object_get(body, "interfaces"), i, entry)
    {
        found = found || json_equal(json_object_get(entry, key), json_object_get(interface, key));
    }
    json_decref(body);
    page_free(&page);
    return code != VIM_OK || found
               ? code
               : vim_fail(session->host, session->call, VIM_E_CONFLICT, 0,
                          "router %s cannot be led to the %s that is wanted", router, key);
}

/* The router first, then one interface per step. The cursor is "ID COUNT-OF-INTERFACES". */
int create_router(struct session *session, const struct vim_op *op, json_t *spec)
{
    char id[64];
    unsigned done = 0;
    struct page page = {0};
    json_t *interfaces = json_incref(json_object_get(spec, "interfaces"));
    size_t wanted = json_array_size(interfaces);
    int code;
    json_object_del(spec, "interfaces");
    if (op->kept == NULL) {
        session->host->note(session->call, "step", "create-router");
        code = make_once(session, "router", spec, op->request_id, op->attempt > 0, &page);
        if (code == VIM_OK) {
            (void)emit_view(session, "router", &page.views[0]);
            code = vim_keep(session->host, session->call, "%s 0", page.views[0].id);
        }
        if (code == VIM_OK && wanted > 0) {
            code = vim_again(session->host, session->call, 0);
        }
    } else if (sscanf(op->kept, "%63s %u", id, &done) != 2) {
        code = vim_fail(session->host, session->call, VIM_E_INTERNAL, 0, "the cursor is damaged");
    } else if (done < wanted) {
        vim_note(session->host, session->call, "step", "add-interface-%u", done);
        code = wire_action(session, "router", id, "add_interface", json_array_get(interfaces, done),
                           op->request_id, &page);
        if (code == VIM_E_CONFLICT && op->attempt > 0) { /* a step before may have done it */
            code = leads_there(session, id, json_array_get(interfaces, done));
        }
        if (code == VIM_OK) {
            code = vim_keep(session->host, session->call, "%s %u", id, done + 1);
            code = code == VIM_OK ? vim_again(session->host, session->call, 0) : code;
        }
    } else {
        code = settle_later(session, op, id);
    }
    json_decref(interfaces);
    page_free(&page);
    return code;
}

int remove_router(struct session *session, const char *id)
{
    struct page page = {0};
    size_t i;
    json_t *interface;
    int code = wire_get(session, "router", id, &page);
    json_t *body = code == VIM_OK ? json_loads(page.views[0].body, 0, NULL) : NULL;
    page_free(&page);
    json_array_foreach(json_object_get(body, "interfaces"), i, interface)
    {
        json_t *argument = json_pack("{s:O}", "port", json_object_get(interface, "port"));
        code = wire_action(session, "router", id, "remove_interface", argument, NULL, &page);
        json_decref(argument);
        page_free(&page);
        if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
            break;
        }
        code = VIM_OK;
    }
    json_decref(body);
    return code == VIM_OK ? wire_delete(session, "router", id) : code;
}
