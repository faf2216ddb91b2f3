/* What a network service needs, and what does not suffice for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/demand.h"

/* Stands for the store: flavors f (2 processors, 1000 MiB), g (4, 3000) and bare, whose resources are told otherwise. */
int __wrap_store_get(struct store *store, const char *collection, const char *id,
                     struct row *ret_row, struct failure *failure);

int __wrap_store_get(struct store *store, const char *collection, const char *id,
                     struct row *ret_row, struct failure *failure)
{
    static const char *const bodies[][2] = {
        {"f", "{\"vcpus\":2,\"ram\":1000}"},
        {"g", "{\"vcpus\":4,\"ram\":3000}"},
        {"bare", "{\"vcpus\":64,\"ram\":9000,\"extra_specs\":{\"resources:VCPU\":\"0\"}}"}};
    (void)store;
    assert_string_equal(collection, "flavor");
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(bodies[i][0], id) == 0) {
            *ret_row = (struct row){.body = text_duplicate(bodies[i][1]),
                                    .body_length = strlen(bodies[i][1])};
            return VIM_OK;
        }
    }
    return strcmp(id, "broken") == 0 ? failure_set(failure, VIM_E_UNAVAILABLE, "the store is away")
                                     : VIM_E_NOT_FOUND;
}

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

static int count(const char *description, const char *before, struct demand *ret_demand)
{
    CLEANUP_JSON json_t *json = parse(description);
    CLEANUP_JSON json_t *old = before ? parse(before) : NULL;
    struct service_plan plan, old_plan;
    struct findings findings = {0};
    struct failure failure = {0};
    service_plan_make("s", json, &findings, &plan);
    if (before) {
        service_plan_make("s", old, &findings, &old_plan);
    }
    assert_int_equal(findings.count, 0);
    int code = demand_of(&plan, before ? &old_plan : NULL, NULL, ret_demand, &failure);
    service_plan_free(&plan);
    if (before) {
        service_plan_free(&old_plan);
    }
    return code;
}

/* "NAME AMOUNT POINTER" of each, one a line. */
static void expect_needs(const char *description, const char *before, const char *expected)
{
    struct demand demand = {0};
    CLEANUP_TEXT struct text text = {0};
    assert_int_equal(count(description, before, &demand), VIM_OK);
    for (int i = 0; i < NEED_COUNT; i++) {
        if (demand.amounts[i] > 0) {
            text_printf(&text, "%s %lld %s\n", need_name((enum need)i),
                        (long long)demand.amounts[i], demand.pointers[i]);
        }
    }
    assert_string_equal(text_get(&text), expected);
    demand_free(&demand);
}

typedef void (*check_fn)(const struct demand *, const json_t *, struct findings *);

/* "POINTER AMOUNT NEEDED LEFT" of what does not suffice, or "POINTER: DETAIL". */
static void expect_missing(check_fn check, const char *description, const char *told,
                           const char *expected)
{
    struct demand demand = {0};
    struct findings findings = {0};
    CLEANUP_TEXT struct text text = {0};
    CLEANUP_JSON json_t *list = parse(told);
    assert_int_equal(count(description, NULL, &demand), VIM_OK);
    check(&demand, list, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *one = &findings.items[i];
        if (one->amount) {
            text_printf(&text, "%s %s %lld %lld\n", one->pointer, one->amount,
                        (long long)one->needed, (long long)one->left);
        } else {
            text_printf(&text, "%s: %s\n", one->pointer, one->detail);
        }
    }
    assert_string_equal(text_get(&text), expected);
    findings_free(&findings);
    demand_free(&demand);
}

#define VNF "'image':'i','flavor':'f'"

static void what_is_new_is_counted(void **state)
{
    (void)state;
    expect_needs(
        "{'virtual_links':{'a':{'subnets':{'v4':{'cidr':'10.0.0.0/24'},'v6':{'cidr':'fd00::/64'}},"
        "'router':{'external_network':'p'}},'b':{}},"
        "'security_groups':{'w':{'rules':[{'direction':'ingress'},{'direction':'egress'}]}},"
        "'affinity_groups':{'g':{'policy':'affinity'}},"
        "'volumes':{'v':{'size':5}},'floating_ips':{'f':{'network':'p'}},"
        "'vnfs':{'x':{" VNF ",'count':3,'affinity_group':'${group.g.id}','connection_points':{"
        "'1':{'network':'${vl.a.id}'},'2':{'network':'${vl.b.id}','port':true}},"
        "'volumes':{'d':{'size':2}}},'y':{'image':'i','flavor':'g'}}}",
        NULL,
        "servers 4 /vnfs\nvcpus 10 /vnfs\nram 6000 /vnfs\nvolumes 4 \nstorage 11 \n"
        "networks 2 /virtual_links\nsubnets 2 /virtual_links/a/subnets\nports 8 \n"
        "routers 1 /virtual_links/a/router\nfloating_ips 1 /floating_ips/f\n"
        "security_groups 1 /security_groups/w\nsecurity_group_rules 2 /security_groups/w\n"
        "affinity_groups 1 /affinity_groups/g\naffinity_group_members 3 /affinity_groups/g\n");
    /* The name of one may be the beginning of another one's. */
    expect_needs("{'vnfs':{'ab':{" VNF "},'abc':{" VNF "}}}", NULL,
                 "servers 2 /vnfs\nvcpus 4 /vnfs\nram 2000 /vnfs\n");
    /* A disk that is made on the way is a volume as well. */
    expect_needs("{'vnfs':{'a':{" VNF ",'count':2,'boot_volume':{'size':5}}}}", NULL,
                 "servers 2 /vnfs/a\nvcpus 4 /vnfs/a\nram 2000 /vnfs/a\n"
                 "volumes 2 /vnfs/a\nstorage 10 /vnfs/a\n");
}

static void of_a_change_only_what_is_more(void **state)
{
    (void)state;
    static const char before[] =
        "{'vnfs':{'x':{" VNF ",'count':2,'volumes':{'d':{'size':2}}},'y':{" VNF "}},"
        "'security_groups':{'w':{'rules':[{'direction':'ingress'}]}}}";
    expect_needs(before, before, "");
    expect_needs("{'vnfs':{'x':{" VNF ",'count':3,'volumes':{'d':{'size':5}}}},"
                 "'security_groups':{'w':{'rules':[{'direction':'ingress'},"
                 "{'direction':'egress'}]}}}",
                 before,
                 "servers 1 /vnfs/x\nvcpus 2 /vnfs/x\nram 1000 /vnfs/x\n"
                 "volumes 1 /vnfs/x/volumes/d\nstorage 11 /vnfs/x/volumes/d\n"
                 "security_group_rules 1 /security_groups/w\n");
    /* A larger flavor takes the difference, a smaller one nothing. */
    expect_needs("{'vnfs':{'x':{'image':'i','flavor':'g','count':2,'volumes':{'d':{'size':2}}},"
                 "'y':{" VNF "}}}",
                 before, "vcpus 4 /vnfs/x\nram 4000 /vnfs/x\n");
    expect_needs(before,
                 "{'vnfs':{'x':{'image':'i','flavor':'g','count':2,'volumes':{'d':{"
                 "'size':2}}},'y':{" VNF "}},'security_groups':{'w':{}}}",
                 "security_group_rules 1 /security_groups/w\n");
}

static void what_a_flavor_does_not_tell_is_not_counted(void **state)
{
    (void)state;
    struct demand demand = {0};
    expect_needs("{'vnfs':{'x':{'image':'i','flavor':'bare'},'y':{'image':'i','flavor':'gone'}}}",
                 NULL, "servers 2 /vnfs\n");
    expect_missing(demand_check_hosts, "{'vnfs':{'x':{'image':'i','flavor':'bare'}}}",
                   "[{'name':'h','vcpus':8,'ram':10}]", "");
    assert_int_equal(count("{'vnfs':{'x':{'image':'i','flavor':'broken'}}}", NULL, &demand),
                     VIM_E_UNAVAILABLE);
}

static void quotas_are_held_against_it(void **state)
{
    (void)state;
    static const char two[] = "{'vnfs':{'x':{" VNF ",'count':2}}}";
    expect_missing(demand_check_quotas, two,
                   "[{'name':'servers','limit':10,'used':8},{'name':'vcpus','used':900},"
                   "{'name':'ram','limit':4000,'used':2000},{'name':'volumes','limit':0,'used':0}]",
                   "");
    /* Used up and more; just too little; a limit of which it is not told what is used. */
    expect_missing(demand_check_quotas, two,
                   "[{'name':'servers','limit':10,'used':12},{'name':'vcpus','limit':4,'used':1},"
                   "{'name':'ram','limit':1999}]",
                   "/vnfs/x servers 2 0\n/vnfs/x vcpus 4 3\n/vnfs/x ram 2000 1999\n");
}

static void zones_are_held_against_it(void **state)
{
    (void)state;
    static const char zones[] = "[{'name':'a','service':'compute','available':true},"
                                "{'name':'b','service':'compute','available':false},"
                                "{'name':'c','service':'storage','available':true}]";
    expect_missing(demand_check_zones,
                   "{'vnfs':{'v':{" VNF ",'zone':'a'},'w':{" VNF ",'zone':'a:host1'},'x':{" VNF
                   ",'zone':'b'},'y':{" VNF ",'zone':'c'},'z':{" VNF "}}}",
                   zones,
                   "/vnfs/x/zone zones 1 0\n/vnfs/y/zone: there is no zone c; there are: a, b\n");
    expect_missing(demand_check_zones, "{'vnfs':{'v':{" VNF ",'zone':'x'}}}",
                   "[{'name':'c','service':'storage'}]", "");
}

static void hosts_are_held_against_it(void **state)
{
    (void)state;
    static const char two[] =
        "{'affinity_groups':{'g':{'policy':'anti-affinity'}},'vnfs':{'x':{" VNF
        ",'count':2,'affinity_group':'${group.g.id}'}}}";
    /* What may be promised is not known of hosts that only say what they have. */
    expect_missing(demand_check_hosts, two,
                   "[{'name':'1','vcpus':2,'vcpus_used':30,'ram':1000},"
                   "{'name':'2','vcpus':1,'ram':1}]",
                   "");
    expect_missing(demand_check_hosts, two,
                   "[{'name':'1','vcpus':1,'ram':1000},{'name':'2','vcpus':9,'ram':9000,"
                   "'state':'down'},{'name':'3','vcpus':9,'ram':9000,'enabled':false}]",
                   "/vnfs/x vcpus 2 1\n/vnfs/x/affinity_group hosts 2 1\n");
    expect_missing(demand_check_hosts, two,
                   "[{'name':'1','vcpus':8,'vcpus_free':2,'ram':9000,'ram_free':1000},"
                   "{'name':'2','vcpus':8,'vcpus_free':1,'ram':9000,'ram_free':1000}]",
                   "/vnfs/x vcpus 4 3\n");
    expect_missing(demand_check_hosts, two,
                   "[{'name':'1','vcpus':8,'vcpus_free':1},{'name':'2','vcpus':8,'vcpus_free':1}]",
                   "/vnfs/x vcpus 2 1\n");
    /* Who may not see hosts sees none. */
    expect_missing(demand_check_hosts, two, "[]", "");
    expect_missing(demand_check_hosts,
                   "{'affinity_groups':{'g':{'policy':'anti-affinity','max_per_host':2}},"
                   "'vnfs':{'x':{" VNF ",'count':2,'affinity_group':'${group.g.id}'},"
                   "'y':{" VNF ",'count':2,'affinity_group':'${group.g.id}'}}}",
                   "[{'name':'1'},{'name':'2'}]", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_new_is_counted),
        cmocka_unit_test(of_a_change_only_what_is_more),
        cmocka_unit_test(what_a_flavor_does_not_tell_is_not_counted),
        cmocka_unit_test(quotas_are_held_against_it),
        cmocka_unit_test(zones_are_held_against_it),
        cmocka_unit_test(hosts_are_held_against_it),
    };
    return cmocka_run_group_tests_name("demand", tests, NULL, NULL);
}
