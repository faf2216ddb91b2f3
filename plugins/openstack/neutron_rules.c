/*
 * Rules of a security group. The wanted set and the present one are compared, and only what
 * differs is sent: so it does not matter how far an earlier try has come.
 */
#include "services.h"

#include <string.h>
#include <strings.h>

/* A wanted rule with its defaults written out, in the form of os_read_rule(). */
static json_t *complete(const json_t *wanted)
{
    json_t *rule = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)wanted, key, value)
    {
        if (!json_is_null(value)) {
            json_object_set(rule, key, value);
        }
    }
    if (json_object_get(rule, "ethertype") == NULL) {
        json_object_set_new(rule, "ethertype", json_string("IPv4"));
    }
    return rule;
}

/* RULE without what says nothing: Neutron takes a rule for everybody and one for 0.0.0.0/0 as the
 * same, and refuses the second. */
static json_t *essence(const json_t *rule)
{
    json_t *copy = json_copy((json_t *)rule);
    const char *cidr = os_json_text(copy, "remote_cidr");

    if (cidr != NULL && (strcmp(cidr, "0.0.0.0/0") == 0 || strcmp(cidr, "::/0") == 0)) {
        json_object_del(copy, "remote_cidr");
    }
    return copy;
}

/* Takes RULE over. Neutron refuses a rule that is there twice. */
static void add_once(json_t *rules, json_t *rule)
{
    const json_t *entry;
    size_t at;

    json_array_foreach(rules, at, entry)
    {
        OS_JSON one = essence(entry);
        OS_JSON other = essence(rule);
        if (json_equal(one, other)) {
            json_decref(rule);
            return;
        }
    }
    json_array_append_new(rules, rule);
}

static json_t *to_wire(const char *group, const json_t *rule)
{
    json_t *wire = json_pack("{s:s}", "security_group_id", group);

    os_json_copy(wire, "direction", rule, "direction", JSON_STRING);
    os_json_copy(wire, "ethertype", rule, "ethertype", JSON_STRING);
    os_json_copy(wire, "protocol", rule, "protocol", JSON_STRING);
    os_json_copy(wire, "port_range_min", rule, "port_min", JSON_INTEGER);
    os_json_copy(wire, "port_range_max", rule, "port_max", JSON_INTEGER);
    os_json_copy(wire, "remote_ip_prefix", rule, "remote_cidr", JSON_STRING);
    os_json_copy(wire, "remote_group_id", rule, "remote_group", JSON_STRING);
    return wire;
}

/* The rules that the group has, as Neutron tells them: a new reference, or NULL. */
static json_t *present_rules(struct os_call *c, const char *group)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    json_t *rules;
    int rc = os_get(c, OS_NETWORK, NULL, &reply, "/security-groups/%s", group);

    if (rc != VIM_OK) {
        return NULL;
    }
    root = os_json_parse(reply.body, reply.length);
    rules = json_object_get(json_object_get(root, "security_group"), "security_group_rules");
    if (!json_is_array(rules)) {
        (void)os_fail(c, VIM_E_UNAVAILABLE, "network answered without the group's rules");
        return NULL;
    }
    return json_incref(rules);
}

static int has_twin(const json_t *rules, const json_t *rule)
{
    OS_JSON other = essence(rule);
    const json_t *entry;
    size_t at;

    json_array_foreach((json_t *)rules, at, entry)
    {
        OS_JSON one = essence(entry);
        if (json_equal(one, other)) {
            return 1;
        }
    }
    return 0;
}

/* What is to be done. */
struct difference {
    json_t *wanted; /* rules to be made */
    json_t *twins; /* ids of rules that have to go before, as they are in the way of a wanted one */
    json_t *surplus; /* ids of rules that go afterwards, so that no traffic is cut off meanwhile */
};

static void compare(const json_t *present, struct difference *difference)
{
    OS_JSON others = json_array();
    const json_t *entry;
    size_t at;

    json_array_foreach((json_t *)present, at, entry)
    {
        OS_JSON rule = os_read_rule(entry);
        size_t inner = 0;
        while (inner < json_array_size(difference->wanted) &&
               !json_equal(json_array_get(difference->wanted, inner), rule)) {
            inner++;
        }
        if (inner < json_array_size(difference->wanted)) {
            json_array_remove(difference->wanted, inner);
        } else if (os_json_text(entry, "id") != NULL) {
            json_array_append(others, (json_t *)entry);
        }
    }
    json_array_foreach(others, at, entry)
    {
        OS_JSON rule = os_read_rule(entry);
        json_array_append(has_twin(difference->wanted, rule) ? difference->twins
                                                             : difference->surplus,
                          json_object_get(entry, "id"));
    }
}

static int delete_rules(struct os_call *c, const json_t *ids)
{
    const json_t *id;
    size_t at;
    int rc = VIM_OK;

    json_array_foreach((json_t *)ids, at, id)
    {
        os_step_note(c, "delete-rule");
        rc = os_delete(c, OS_NETWORK, NULL, "/security-group-rules/%s", json_string_value(id));
        if (rc != VIM_OK && rc != VIM_E_NOT_FOUND) {
            return rc;
        }
    }
    return VIM_OK;
}

static int create_rules(struct os_call *c, const char *group, const json_t *wanted)
{
    HTTP_REPLY reply = {0};
    json_t *wire = json_array();
    const json_t *rule;
    size_t at;

    json_array_foreach((json_t *)wanted, at, rule)
    {
        json_array_append_new(wire, to_wire(group, rule));
    }
    os_step_note(c, "create-rules");
    /* All or none: Neutron makes a list of things in one transaction. */
    return os_send(c, OS_NETWORK, NULL, "POST", json_pack("{s:o}", "security_group_rules", wire),
                   &reply, "/security-group-rules");
}

int neutron_rules_set(struct os_call *c, const char *group, const json_t *rules)
{
    OS_JSON present = present_rules(c, group);
    OS_JSON wanted = json_array();
    OS_JSON twins = json_array();
    OS_JSON surplus = json_array();
    struct difference difference = {.wanted = wanted, .twins = twins, .surplus = surplus};
    const json_t *entry;
    size_t at;
    int rc;

    if (present == NULL) {
        return c->error.code;
    }
    json_array_foreach((json_t *)rules, at, entry)
    {
        add_once(wanted, complete(entry));
    }
    compare(present, &difference);
    rc = delete_rules(c, twins);
    if (rc == VIM_OK && json_array_size(wanted) > 0) {
        rc = create_rules(c, group, wanted);
    }
    return rc == VIM_OK ? delete_rules(c, surplus) : rc;
}
