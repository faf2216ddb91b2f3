/* Descriptions of network services: their plans, what is wrong with them, what turns one into another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <vim/driver.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/node.h"
#include "model/service.h"

/* ' stands for ". */
static json_t *parse(const char *text)
{
    CLEANUP_FREE char *copy = text_duplicate(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_t *json = json_loads(copy, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    return json;
}

/* The plan as "NAME KIND LEVEL: NEEDS" lines in its order, or what is wrong as "POINTER DETAIL" lines. */
static char *plan_of(const char *description)
{
    CLEANUP_JSON json_t *json = parse(description);
    struct service_plan plan;
    struct findings findings = {0};
    struct text text = {0};
    kind_check_create(kinds_service(), json, &findings);
    service_plan_make("s", json, &findings, &plan);
    for (size_t i = 0; i < findings.count; i++) {
        text_printf(&text, "%s %s\n", findings.items[i].pointer, findings.items[i].detail);
    }
    for (uint32_t i = 0; findings.count == 0 && i < plan.count; i++) {
        const struct service_node *node = &plan.nodes[plan.order[i]];
        text_printf(&text, "%s %s %u:", node->name, node->kind->name, node->level);
        for (uint32_t n = 0; n < node->need_count; n++) {
            text_printf(&text, " %s", plan.nodes[node->needs[n]].name);
        }
        text_add_char(&text, '\n');
    }
    findings_free(&findings);
    service_plan_free(&plan);
    return text_take(&text);
}

static void expect_plan(const char *description, const char *expected)
{
    CLEANUP_FREE char *plan = plan_of(description);
    assert_string_equal(plan, expected);
}

static void expect_finding(const char *description, const char *expected)
{
    CLEANUP_FREE char *plan = plan_of(description);
    if (!strstr(plan, expected)) {
        fail_msg("%s is not among:\n%s", expected, plan);
    }
}

#define VNF "'image':'i','flavor':'f'"

static void order(void **state)
{
    (void)state;
    expect_plan("{'name':'s','virtual_links':{'a':{'subnets':{'v4':{'cidr':'10.0.0.0/24'}},"
                "'router':{'external_network':'public'}}},"
                "'vnfs':{'f':{" VNF ",'connection_points':{'x':{'network':'${vl.a.id}'}},"
                "'volumes':{'d':{'size':1}},"
                "'floating_ips':{'out':{'network':'public','connection_point':'x'}}}}}",
                "vl.a network 0:\n"
                "vl.a.subnet.v4 subnet 1: vl.a\n"
                "vl.a.router router 2: vl.a.subnet.v4\n"
                "vnf.f.0.cp.x port 2: vl.a vl.a.subnet.v4\n"
                "vnf.f.0 server 3: vnf.f.0.cp.x\n"
                "vnf.f.0.fip.out floating-ip 3: vnf.f.0.cp.x vl.a.router\n"
                "vnf.f.0.volume.d volume 4: vnf.f.0\n");
}

/* A port of its own only where it has to be. */
static void points(void **state)
{
    (void)state;
    expect_plan("{'name':'s','virtual_links':{'a':{}},'vnfs':{"
                "'one':{" VNF ",'connection_points':{'x':{'network':'${vl.a.id}'}}},"
                "'two':{" VNF ",'connection_points':{'x':{'network':'${vl.a.id}','port':true}}},"
                "'six':{" VNF ",'connection_points':{'x':{'network':'${vl.a.id}'}}},"
                "'ask':{" VNF ",'metadata':{'peer':'at ${vnf.six.cp.x.address}, $${HOME}'}}}}",
                "vl.a network 0:\n"
                "vnf.one.0 server 1: vl.a\n"
                "vnf.two.0.cp.x port 1: vl.a\n"
                "vnf.six.0.cp.x port 1: vl.a\n"
                "vnf.two.0 server 2: vnf.two.0.cp.x\n"
                "vnf.six.0 server 2: vnf.six.0.cp.x\n"
                "vnf.ask.0 server 2: vnf.six.0.cp.x\n");
}

/* $${ stays until the values are put in, and is ${ then. */
static int on_reference(void *argument, const char *pointer, const char *node, const char *field,
                        char **ret_text)
{
    unsigned *count = argument;
    (void)pointer;
    (*count)++;
    *ret_text = text_format("<%s|%s>", node, field ? field : "");
    return 0;
}

static void escapes(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *json =
        parse("{'name':'s','virtual_links':{'a':{}},'vnfs':{"
              "'v':{" VNF ",'metadata':{'x':'$${HOME}, $$${, $${vl.a and ${vl.a.name}'}}}}");
    struct findings findings = {0};
    struct service_plan plan;
    unsigned count = 0;
    service_plan_make("s", json, &findings, &plan);
    assert_int_equal(findings.count, 0);
    json_t *spec = plan.nodes[service_plan_find(&plan, "vnf.v.0")].spec;
    assert_int_equal(service_each_reference(spec, true, on_reference, &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(json_get_text(json_object_get(spec, "metadata"), "x", ""),
                        "${HOME}, $${, ${vl.a and <vl.a|name>");
    findings_free(&findings);
    service_plan_free(&plan);
}

/* What a table refuses for its size is not expanded, and neither is what it would make too much of. */
static void limits(void **state)
{
    (void)state;
    struct text text = {0};
    text_add(&text, "{'name':'s','vnfs':{'v':{" VNF ",'count':9999,'connection_points':{");
    for (unsigned i = 0; i < 33; i++) {
        text_printf(&text, "%s'p%u':{'network':'n'}", i ? "," : "", i);
    }
    text_add(&text, "}}}}");
    CLEANUP_FREE char *many = text_take(&text);
    CLEANUP_JSON json_t *json = parse(many);
    struct findings findings = {0};
    struct service_plan plan;
    service_plan_make("s", json, &findings, &plan);
    assert_int_equal(plan.count, 0);
    assert_int_equal(findings.count, 1);
    findings_free(&findings);
    service_plan_free(&plan);

    /* A count that is too high hides nothing else. */
    CLEANUP_FREE char *both = plan_of("{'name':'s','vnfs':{'v':{" VNF ",'count':9999},'w':{" VNF
                                      ",'count':-1,'metadata':{'a':'${vl.no.id}'}}}}");
    assert_string_equal(both, "/vnfs/v/count must be from 0 to 1000\n"
                              "/vnfs/w/count must be from 0 to 1000\n"
                              "/vnfs/w/metadata/a ${vl.no.id}: the service has no such element\n");

    text_add(&text, "{'name':'s','vnfs':{'v':{" VNF ",'count':1000,'user_data':'");
    for (unsigned i = 0; i < 4500; i++) {
        text_add(&text, "AAAA");
    }
    text_add(&text, "'}}}");
    CLEANUP_FREE char *large = text_take(&text);
    expect_finding(large, "/vnfs are more than 16777216 bytes, with all their instances");
}

static void faults(void **state)
{
    (void)state;
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'metadata':{'x':'${vnf.b.id}'}},"
                   "'b':{" VNF ",'metadata':{'x':'${vnf.c.0.id}'}},"
                   "'c':{" VNF ",'metadata':{'x':'${vnf.a.id}'}}}}",
                   "goes round: vnf.");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'metadata':{'x':'${vnf.a.id}'}}}}",
                   "/vnfs/a goes round: vnf.a.0 needs vnf.a.0\n");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'metadata':{'x':'${vl.no.id}'}}}}",
                   "/vnfs/a/metadata/x ${vl.no.id}: the service has no such element\n");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'metadata':{'x':'${oops'}}}}",
                   "/vnfs/a/metadata/x ${oops}: a reference is");
    expect_finding(
        "{'name':'s','virtual_links':{'l':{}},'security_groups':{'g':{}},'vnfs':{'a':{" VNF
        ",'connection_points':{'p':{'network':'${sg.g.id}'}}}}}",
        "/vnfs/a/connection_points/p/network must be the id of a network");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF
                   ",'user_data':'bm8=','key':'${vnf.b.user_data}'},"
                   "'b':{" VNF "}}}",
                   "has no member of that name");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF
                   ",'floating_ips':{'o':{'network':'n','connection_point':'no'}}}}}",
                   "/vnfs/a/floating_ips/o the VNF has no connection point no\n");
    expect_finding("{'name':'s','virtual_links':{'a':{'router':{'external_network':'n'}}}}",
                   "/virtual_links/a/router leads nowhere");
    expect_finding("{'name':'s','vnfs':{'a b':{" VNF "}}}", "/vnfs/a b the name must have");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'networks':[]}}}",
                   "/vnfs/a/networks is not known");
    expect_finding("{'name':'s','vnfs':{'a':{'flavor':'f'}}}", "/vnfs/a/image is required");
    expect_finding("{'name':'s','vnfs':{'a':[]},'volumes':{'v':{}}}", "/vnfs/a must be an object");
    expect_finding("{'name':'s','volumes':{'v':{}}}", "/volumes/v/size is required");
}

/* Pointers lead to what is wrong, whatever it is called, and each problem is told once. */
static void pointers(void **state)
{
    (void)state;
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'metadata':{'x/y~':'${vl.no.id}'}}}}",
                   "/vnfs/a/metadata/x~1y~0 ${vl.no.id}: the service has no such element\n");
    CLEANUP_FREE char *one =
        plan_of("{'name':'s','vnfs':{'a':{" VNF
                ",'floating_ips':{'o':{'network':'n','connection_point':'no'}}}}}");
    assert_string_equal(one, "/vnfs/a/floating_ips/o the VNF has no connection point no\n");
    CLEANUP_FREE char *odd =
        plan_of("{'name':'s','virtual_links':{'a/b':{'subnets':{'v':{'cidr':'10.0.0.0/24'}}}}}");
    assert_string_equal(odd,
                        "/virtual_links/a~1b the name must have 1 to 40 letters, digits, - and "
                        "_, and begin with a letter or a digit\n");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF
                   ",'volumes':{'v':{'size':1,'device':'${vl.no.id}'}}}}}",
                   "/vnfs/a/volumes/v/device ${vl.no.id}: the service has no such element\n");
    expect_finding("{'name':'s','volumes':{'v':{'size':1,'attach':{'server':'${vl.no.id}'}}}}",
                   "/volumes/v/attach/server ${vl.no.id}: the service has no such element\n");
}

/* What is said of a VNF without instances is checked, too. */
static void unused(void **state)
{
    (void)state;
    expect_finding("{'name':'s','vnfs':{'a':{" VNF
                   ",'count':0,'connection_points':{'p':{'network':'${vl.no.id}'}}}}}",
                   "/vnfs/a/connection_points/p/network ${vl.no.id}: the service has no such "
                   "element\n");
    expect_finding("{'name':'s','vnfs':{'a':{" VNF ",'count':0,'metadata':{'x':'${oops'}}}}",
                   "/vnfs/a/metadata/x ${oops}: a reference is");
    expect_plan("{'name':'s','virtual_links':{'l':{}},'vnfs':{'a':{" VNF
                ",'count':0,'connection_points':{'p':{'network':'${vl.l.id}'}},"
                "'metadata':{'me':'${vnf.a.cp.p.address}'}}}}",
                "vl.l network 0:\n");
}

static void disks(void **state)
{
    (void)state;
    expect_plan(
        "{'name':'s','vnfs':{'a':{'flavor':'f','count':2,'volumes':{'r':{'size':1,'image':'i'},"
        "'d':{'size':1}},'boot_volume':{'volume':'${vnf.a.volume.r.id}'}}}}",
        "vnf.a.0.volume.r volume 0:\n"
        "vnf.a.1.volume.r volume 0:\n"
        "vnf.a.0 server 1: vnf.a.0.volume.r\n"
        "vnf.a.1 server 1: vnf.a.1.volume.r\n"
        "vnf.a.0.volume.d volume 2: vnf.a.0\n"
        "vnf.a.1.volume.d volume 2: vnf.a.1\n");
    /* Of another VNF, or of none of ours: one server alone may have it. */
    expect_finding(
        "{'name':'s','vnfs':{'a':{'flavor':'f','count':3,'boot_volume':{'volume':'v'}}}}",
        "/vnfs/a/boot_volume/volume vnf.a.0 boots from it already\n");
    expect_finding("{'name':'s','vnfs':{'a':{'flavor':'f','volumes':{'r':{'size':1,'image':'i'}},"
                   "'boot_volume':{'volume':'${vnf.a.volume.r.id}'}},"
                   "'b':{'flavor':'f','boot_volume':{'volume':'${vnf.a.volume.r.id}'}}}}",
                   "/vnfs/b/boot_volume/volume vnf.a.0 boots from it already\n");
    expect_finding(
        "{'name':'s','vnfs':{'a':{'flavor':'f','boot_volume':{'volume':'${volume.no.id}'}}}}",
        "/vnfs/a/boot_volume/volume ${volume.no.id}: the service has no such element\n");
    expect_finding("{'name':'s','virtual_links':{'l':{}},"
                   "'vnfs':{'a':{'flavor':'f','boot_volume':{'volume':'${vl.l.id}'}}}}",
                   "/vnfs/a/boot_volume/volume must be the id of a volume, not ${vl.l.id}\n");
}

static void joined_ranges(void **state)
{
    (void)state;
    static const char joined[] =
        "{'name':'s','virtual_links':{'a':{'subnets':{'x':{'cidr':'10.0.0.0/16'}}},"
        "'b':{'subnets':{'y':{'cidr':'10.0.9.0/24'},'z':{'cidr':'10.1.0.0/24'}}}}%s}";
    CLEANUP_FREE char *apart = text_format(
        joined,
        ",'routers':{'r':{'interfaces':[{'subnet':'${vl.a.subnet.x.id}'},{'subnet':'other'},"
        "{'subnet':'${vl.b.subnet.z.id}'}]},'q':{'interfaces':[{'subnet':'${vl.b.subnet.y.id}'}"
        "]}}");
    CLEANUP_FREE char *plan = plan_of(apart);
    assert_non_null(strstr(plan, "router.r router 2:"));
    CLEANUP_FREE char *overlapping =
        text_format(joined, ",'routers':{'r':{'interfaces':[{'subnet':'${vl.a.subnet.x.id}'},"
                            "{'subnet':'${vl.b.subnet.y.id}'}]}}");
    expect_finding(overlapping,
                   "/routers/r/interfaces/1/subnet 10.0.9.0/24 overlaps with 10.0.0.0/16 "
                   "of ${vl.a.subnet.x.id}\n");
}

static int take_nothing(void *argument, const char *pointer, const char *node, const char *field,
                        char **ret_text)
{
    (void)pointer, (void)field;
    *ret_text = text_format("<%s>", node);
    ++*(int *)argument;
    return 0;
}

/* $${ is ${ itself, also in the name of the service: at the very end, and not before. */
static void escaped_names(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *json =
        parse("{'name':'${vl.l.id}','virtual_links':{'l':{}},'vnfs':{'a':{" VNF
              ",'metadata':{'x':'$${HOME} ${vl.l.name} $$${y}'}}}}");
    struct service_plan plan;
    struct findings findings = {0};
    int count = 0;
    service_plan_make("${vl.l.id}", json, &findings, &plan);
    assert_int_equal(findings.count, 0);
    assert_int_equal(plan.count, 2);
    for (uint32_t i = 0; i < plan.count; i++) {
        assert_int_equal(service_each_reference(plan.nodes[i].spec, true, take_nothing, &count), 0);
    }
    assert_int_equal(count, 1);
    assert_string_equal(json_get_text(plan.nodes[0].spec, "name", ""), "${vl.l.id}-l");
    assert_string_equal(json_get_text(json_object_get(plan.nodes[1].spec, "metadata"), "x", ""),
                        "${HOME} <vl.l> $${y}");
    service_plan_free(&plan);
    findings_free(&findings);
}

/* Malformed in every way that a body may be: told, and survived. */
static void hostile(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'name':'s','vnfs':7}",
        "{'name':'s','vnfs':{'a':{'count':1e9}}}",
        "{'name':'s','vnfs':{'a':{'count':900000000000}}}",
        "{'name':'s','vnfs':{'a':{'connection_points':[1]}}}",
        "{'name':'s','vnfs':{'a':{'connection_points':{'p':4}}}}",
        "{'name':'s','virtual_links':{'a':{'subnets':{'v':{'cidr':7}}}}}",
        "{'name':'s','virtual_links':{'a':7}}",
        "{'name':'s','vnfs':{'${vl':{'image':'${${}}','flavor':'${}'}}}",
        "{'name':'s','vnfs':{'a':{'metadata':{'x':'${.}','y':'${a.}','z':'${.a}','$':'$${'}}}}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        CLEANUP_FREE char *plan = plan_of(bodies[i]);
        assert_non_null(strchr(plan, '/'));
    }
}

/* The steps from HAVE to WANT, "update", "resize" ..., or "!FIELD" for what cannot be changed. */
static void expect_steps(const char *kind, const char *have, const char *want, const char *expected)
{
    CLEANUP_JSON json_t *at = parse(have);
    CLEANUP_JSON json_t *goal = parse(want);
    struct text steps = {0};
    bool more = true;
    for (int i = 0; more && i < 10; i++) {
        struct node_change change;
        node_change_find(kind_by_name(kind), at, goal, &change);
        more = change.verb != 0 && !change.problem;
        text_printf(&steps, "%s%s", change.problem ? "!" : "",
                    change.problem  ? change.problem
                    : !more         ? ""
                    : change.action ? change.action
                                    : "update");
        text_add(&steps, more ? " " : "");
        if (more) {
            json_decref(at);
            at = json_incref(change.result);
        }
        node_change_free(&change);
    }
    assert_false(more);
    assert_string_equal(text_get(&steps), expected);
    text_free(&steps);
}

static void changes(void **state)
{
    (void)state;
    expect_steps("server", "{'name':'a','flavor':'s'}", "{'name':'a','flavor':'s'}", "");
    expect_steps("server", "{'name':'a','flavor':'s'}", "{'name':'b','flavor':'m'}",
                 "update resize confirm_resize ");
    expect_steps("server", "{'image':'a'}", "{'image':'b'}", "!image");
    expect_steps("server", "{'metadata':{'a':'b'}}", "{}", "update ");
    expect_steps("volume", "{'size':1,'attach':{'server':'a'}}",
                 "{'size':2,'attach':{'server':'b'}}", "detach extend attach ");
    expect_steps("volume", "{'size':2}", "{'size':1}", "!size");
    expect_steps("router", "{'interfaces':[{'subnet':'a'},{'subnet':'b'}]}",
                 "{'interfaces':[{'subnet':'c'},{'subnet':'a'}]}",
                 "remove_interface add_interface ");
    expect_steps("subnet", "{'cidr':'10.0.0.0/24'}", "{'cidr':'10.1.0.0/24'}", "!cidr");
}

static void secrets(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *json = parse(
        "{'name':'s','vnfs':{'a':{'user_data':'c2VjcmV0','affinity_group':'${group.g.id}'}}}");
    CLEANUP_JSON json_t *shown = service_shown(json);
    CLEANUP_FREE char *text = json_print(shown);
    assert_null(strstr(text, "c2VjcmV0"));
    assert_non_null(strstr(text, "${group.g.id}"));
    CLEANUP_FREE char *before = json_print(json);
    assert_non_null(strstr(before, "c2VjcmV0"));
}

static void rows(void **state)
{
    (void)state;
    struct node node = {.id = text_duplicate("s/vnf.a.0"),
                        .service = text_duplicate("s"),
                        .name = text_duplicate("vnf.a.0"),
                        .kind = kind_by_name("server"),
                        .resource = "0193b2c4-0000-7000-8000-000000000001",
                        .state = NODE_CHANGING,
                        .there = true,
                        .tried = true,
                        .needs = parse("['vl.a']"),
                        .spec = parse("{'name':'x'}"),
                        .have = parse("{'name':'y'}"),
                        .old_by = text_duplicate("t")};
    struct row row = {.id = node.id, .parent = node.service, .state = NODE_CHANGING, .revision = 3};
    struct node read = {0};
    row.body = node_render(&node);
    row.body_length = strlen(row.body);
    assert_int_equal(node_parse(&row, &read, NULL), VIM_OK);
    CLEANUP_FREE char *again = node_render(&read);
    assert_string_equal(again, row.body);
    assert_int_equal(read.revision, 3);
    free(row.body);
    node_free(&read);
    row.body = text_duplicate("{\"name\":\"x\"}");
    row.body_length = strlen(row.body);
    assert_int_equal(node_parse(&row, &read, NULL), VIM_E_INTERNAL);
    free(row.body);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),   cmocka_unit_test(points),        cmocka_unit_test(escapes),
        cmocka_unit_test(limits),  cmocka_unit_test(faults),        cmocka_unit_test(hostile),
        cmocka_unit_test(changes), cmocka_unit_test(secrets),       cmocka_unit_test(rows),
        cmocka_unit_test(disks),   cmocka_unit_test(joined_ranges), cmocka_unit_test(pointers),
        cmocka_unit_test(unused),  cmocka_unit_test(escaped_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
