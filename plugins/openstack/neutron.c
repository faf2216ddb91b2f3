/*
 * Neutron: networks, subnets, ports, routers, floating IPs and security groups, which differ in their
 * fields only. Every answer is final, so a create is one step; a security group with rules, and a
 * router with interfaces, has a second one.
 */
#include "once.h"

#include <stdio.h>
#include <string.h>

enum { AT_CREATE = 1, AT_UPDATE = 2, BOTH = 3 };

struct field {
    const char *name; /* in the vocabulary */
    const char *wire; /* Neutron's */
    int when;
};

static const struct field network_fields[] = {
    {"name", "name", BOTH},
    {"description", "description", BOTH},
    {"mtu", "mtu", BOTH},
    {"admin_state_up", "admin_state_up", BOTH},
    {"external", "router:external", AT_CREATE},
    {"shared_network", "shared", AT_CREATE},
    {"network_type", "provider:network_type", AT_CREATE},
    {"physical_network", "provider:physical_network", AT_CREATE},
    {"segmentation_id", "provider:segmentation_id", AT_CREATE},
    {NULL, NULL, 0}};

static const struct field subnet_fields[] = {{"name", "name", BOTH},
                                             {"description", "description", BOTH},
                                             {"network", "network_id", AT_CREATE},
                                             {"cidr", "cidr", AT_CREATE},
                                             {"gateway_ip", "gateway_ip", BOTH},
                                             {"enable_dhcp", "enable_dhcp", BOTH},
                                             {"dns_nameservers", "dns_nameservers", BOTH},
                                             {"allocation_pools", "allocation_pools", BOTH},
                                             {"host_routes", "host_routes", BOTH},
                                             {NULL, NULL, 0}};

static const struct field port_fields[] = {{"name", "name", BOTH},
                                           {"description", "description", BOTH},
                                           {"network", "network_id", AT_CREATE},
                                           {"fixed_ips", "fixed_ips", BOTH},
                                           {"mac_address", "mac_address", AT_CREATE},
                                           {"admin_state_up", "admin_state_up", BOTH},
                                           {"security_groups", "security_groups", BOTH},
                                           {"allowed_address_pairs", "allowed_address_pairs", BOTH},
                                           {"vnic_type", "binding:vnic_type", AT_CREATE},
                                           {NULL, NULL, 0}};

static const struct field group_fields[] = {{"name", "name", BOTH},
                                            {"description", "description", BOTH},
                                            {"stateful", "stateful", AT_CREATE},
                                            {"rules", NULL, BOTH}, /* a collection of their own */
                                            {NULL, NULL, 0}};

static const struct field router_fields[] = {
    {"name", "name", BOTH},
    {"description", "description", BOTH},
    {"admin_state_up", "admin_state_up", BOTH},
    {"external_network", NULL, BOTH}, /* with the next one */
    {"enable_snat", NULL, BOTH},
    {"interfaces", NULL, AT_CREATE}, /* ports of Neutron's, neutron_router.c */
    {NULL, NULL, 0}};

static const struct field floating_fields[] = {{"name", NULL, AT_CREATE}, /* it has none */
                                               {"description", "description", BOTH},
                                               {"network", "floating_network_id", AT_CREATE},
                                               {"subnet", "subnet_id", AT_CREATE},
                                               {"address", "floating_ip_address", AT_CREATE},
                                               {"port", "port_id", BOTH},
                                               {"fixed_ip", "fixed_ip_address", BOTH},
                                               {NULL, NULL, 0}};

static const struct field *fields_of(const struct os_kind *kind)
{
    static const struct {
        const char *kind;
        const struct field *fields;
    } all[] = {{"network", network_fields},
               {"subnet", subnet_fields},
               {"port", port_fields},
               {"router", router_fields},
               {"floating-ip", floating_fields}};

    for (size_t at = 0; at < sizeof(all) / sizeof(all[0]); at++) {
        if (strcmp(kind->name, all[at].kind) == 0) {
            return all[at].fields;
        }
    }
    return group_fields;
}

static json_t *fixed_ips(const json_t *spec)
{
    json_t *wanted = json_array();
    const json_t *entry;
    size_t at;

    json_array_foreach((json_t *)spec, at, entry)
    {
        json_t *ip = json_object();
        os_json_copy(ip, "subnet_id", entry, "subnet", JSON_STRING);
        os_json_copy(ip, "ip_address", entry, "ip_address", JSON_STRING);
        json_array_append_new(wanted, ip);
    }
    return wanted;
}

static int is_router(const struct os_kind *kind)
{
    return strcmp(kind->name, "router") == 0;
}

/* Where a router leads outside: null for nowhere. */
static void add_gateway(json_t *wire, const json_t *spec)
{
    const json_t *network = json_object_get(spec, "external_network");
    json_t *gateway;

    if (network == NULL || json_is_null(network)) {
        if (network != NULL) {
            json_object_set_new(wire, "external_gateway_info", json_object());
        }
        return;
    }
    gateway = json_pack("{s:O}", "network_id", network);
    os_json_copy(gateway, "enable_snat", spec, "enable_snat", JSON_TRUE);
    json_object_set_new(wire, "external_gateway_info", gateway);
}

/* Neutron's words for the wanted fields; TAG goes behind the description. Returns NULL, with
 * c->error filled, for a field that cannot be set. */
static json_t *wire_body(struct os_call *c, const struct os_kind *kind, const json_t *spec,
                         int when, const char *tag)
{
    json_t *wire = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)spec, key, value)
    {
        const struct field *field = fields_of(kind);
        while (field->name != NULL && strcmp(field->name, key) != 0) {
            field++;
        }
        if (field->name == NULL || (field->when & when) == 0) {
            json_decref(wire);
            (void)os_fail(c, VIM_E_INVALID, "%s of a %s cannot be %s", key, kind->name,
                          when == AT_CREATE ? "set" : "changed");
            return NULL;
        }
        if (strcmp(key, "fixed_ips") == 0) {
            json_object_set_new(wire, "fixed_ips", fixed_ips(value));
        } else if (field->wire != NULL) {
            json_object_set(wire, field->wire, value);
        }
    }
    if (is_router(kind)) {
        add_gateway(wire, spec);
    }
    if (when == AT_CREATE || json_object_get(spec, "description") != NULL) {
        OS_TEXT marked = os_tag_write(os_json_text(spec, "description"), tag);
        json_object_set_new(wire, "description", json_string(marked == NULL ? "" : marked));
    }
    if (when == AT_CREATE && strcmp(kind->name, "subnet") == 0) {
        const char *cidr = os_json_text(spec, "cidr");
        json_object_set_new(wire, "ip_version",
                            json_integer(cidr != NULL && strchr(cidr, ':') != NULL ? 6 : 4));
    }
    return json_pack("{s:o}", kind->singular, wire);
}

/* --- Create ---------------------------------------------------------------------------------- */

static int delete_one(struct os_call *c, const struct os_kind *kind, const char *id)
{
    char note[64];
    int rc;

    if (is_router(kind)) {
        return neutron_router_delete(c, id);
    }
    (void)snprintf(note, sizeof(note), "delete-%s", kind->name);
    os_step_note(c, note);
    rc = os_delete(c, kind->service, NULL, "%s/%s", kind->path, id);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

static int remove_one(struct os_call *c, const struct os_once *once, const char *id)
{
    return delete_one(c, once->kind, id);
}

/* The list that a create sets in a second step: a group's rules, a router's interfaces. */
static const json_t *second_part(const struct os_once *once)
{
    return json_object_get(once->spec, is_router(once->kind) ? "interfaces" : "rules");
}

/* It is there: done, unless it still wants its second part, or doubles may come. */
static int made(struct os_call *c, const struct os_once *once, struct os_found *found,
                int64_t since)
{
    int rules = json_is_array(second_part(once));
    int rc;

    if (!rules && since == 0) {
        if (is_router(once->kind)) {
            os_join_interfaces(found, NULL);
        }
        rc = os_emit(c, found);
        return rc < 0 ? rc : VIM_OK;
    }
    found->status = "BUILD";
    found->flags |= VIM_ITEM_PENDING;
    os_cursor_keep(c, rules ? "rules" : "wait", since, found->id);
    rc = os_emit(c, found);
    if (rc < 0) {
        return rc;
    }
    c->os->host->again(c->call, 0);
    return VIM_AGAIN;
}

static int post_one(struct os_call *c, const struct os_once *once, struct os_found *ret_found)
{
    HTTP_REPLY reply = {0};
    json_t *body = wire_body(c, once->kind, once->spec, AT_CREATE, once->op->request_id);
    char note[64];
    int rc;

    if (body == NULL) {
        return c->error.code;
    }
    (void)snprintf(note, sizeof(note), "create-%s", once->kind->name);
    os_step_note(c, note);
    rc = os_send(c, OS_NETWORK, NULL, "POST", body, &reply, "%s", once->kind->path);
    if (rc == VIM_E_NOT_FOUND) {
        /* What it refers to is missing; the new thing itself cannot be. */
        c->error.code = rc = VIM_E_INVALID;
    }
    return rc == VIM_OK ? os_read_answer(c, once->kind, &reply, 1, ret_found) : rc;
}

static int emit_one(struct os_call *c, const struct os_kind *kind, const char *id)
{
    return is_router(kind) ? neutron_router_get(c, id) : os_fetch_emit(c, kind, id);
}

/* It is known by id: its second part, and the end. */
static int continue_create(struct os_call *c, const struct os_once *once,
                           const struct os_cursor *cursor)
{
    int rc = VIM_OK;

    if (strcmp(cursor->phase, "rules") == 0) {
        rc = is_router(once->kind) ? neutron_router_lead(c, cursor->id, second_part(once))
                                   : neutron_rules_set(c, cursor->id, second_part(once));
    }
    if (rc == VIM_OK) {
        rc = os_once_end(c, once, cursor->id, cursor->since);
    }
    if (rc == VIM_OK) {
        rc = emit_one(c, once->kind, cursor->id);
    }
    if (rc == VIM_E_NOT_FOUND) {
        /* It was deleted meanwhile, or a rule names a group that is not there. */
        c->error.code = rc = VIM_E_FAILED;
    }
    return rc;
}

/* One step of a create, or of its undo. What was made is found by Neutron's filter on the whole
 * description. */
static int create(struct os_call *c, const struct os_kind *kind, const struct vim_op *op,
                  const json_t *spec)
{
    OS_TEXT marked = os_tag_write(os_json_text(spec, "description"), op->request_id);
    OS_TEXT escaped = marked == NULL ? NULL : os_escape(marked);
    OS_TEXT query = escaped == NULL ? NULL : os_text("description=%s", escaped);
    struct os_once once = {.kind = kind,
                           .op = op,
                           .spec = spec,
                           .query = query,
                           .post = post_one,
                           .go_on = made,
                           .remove = remove_one};
    struct os_cursor cursor;

    if (query == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    if (op->undo) {
        return os_once_undo(c, &once);
    }
    os_cursor_read(op->kept, &cursor);
    return strcmp(cursor.phase, "rules") == 0 || strcmp(cursor.phase, "wait") == 0
               ? continue_create(c, &once, &cursor)
               : os_once_create(c, &once);
}

/* --- Update ---------------------------------------------------------------------------------- */

static int update(struct os_call *c, const struct os_kind *kind, const struct vim_op *op,
                  const json_t *spec)
{
    const json_t *rules = json_object_get(spec, "rules");
    HTTP_REPLY reply = {0};
    OS_FOUND found = {0};
    json_t *body;
    int rc = VIM_OK;

    os_step_note(c, "update");
    if (json_object_get(spec, "description") != NULL) {
        /* The mark behind the old description has to stay. */
        rc = os_fetch(c, kind, op->id, &found);
        if (rc != VIM_OK) {
            return rc;
        }
    }
    body = wire_body(c, kind, spec, AT_UPDATE, found.tag);
    if (body == NULL) {
        return c->error.code;
    }
    if (json_object_size(json_object_get(body, kind->singular)) > 0) {
        rc = os_send(c, kind->service, NULL, "PUT", body, &reply, "%s/%s", kind->path, op->id);
    } else {
        json_decref(body);
    }
    if (rc == VIM_OK && json_is_array(rules)) {
        rc = neutron_rules_set(c, op->id, rules);
    }
    return rc == VIM_OK ? emit_one(c, kind, op->id) : rc;
}

int neutron_step(struct os_call *c, const struct os_kind *kind, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);

    if (spec == NULL) {
        return c->error.code;
    }
    switch (op->verb) {
    case VIM_VERB_CREATE:
        return create(c, kind, op, spec);
    case VIM_VERB_UPDATE:
        return update(c, kind, op, spec);
    case VIM_VERB_DELETE:
        return delete_one(c, kind, op->id);
    case VIM_VERB_ACTION:
        return neutron_router_act(c, op, spec);
    default:
        return os_fail(c, VIM_E_UNSUPPORTED, "not for a %s", kind->name);
    }
}
