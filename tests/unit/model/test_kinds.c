/* The vocabulary: what is accepted, what is refused and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "model/kinds.h"

enum what { CREATE, UPDATE, BODY };

/* All findings as "pointer detail" lines in TEXT; the result is TEXT. ' stands for ". */
static const char *check(enum what what, const char *kind, const char *json, char text[8192])
{
    char copy[4096];
    snprintf(copy, sizeof(copy), "%s", json);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_t *object = json_loads(copy, JSON_DECODE_ANY, NULL);
    assert_non_null(object);
    struct findings findings = {0};
    (what == CREATE   ? kind_check_create
     : what == UPDATE ? kind_check_update
                      : kind_check_body)(kind_by_name(kind), object, &findings);
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < findings.count && length < 8000; i++) {
        length += (size_t)snprintf(text + length, 8192 - length, "%s %s\n",
                                   findings.items[i].pointer, findings.items[i].detail);
    }
    findings_free(&findings);
    json_decref(object);
    return text;
}

#define ACCEPT(what, kind, json) assert_string_equal(check(what, kind, json, text), "")
#define REFUSE(what, kind, json, expected) \
    assert_string_equal(check(what, kind, json, text), expected)

static void accepted(void **state)
{
    (void)state;
    char text[8192];
    ACCEPT(CREATE, "server",
           "{'name':'a','image':'i','flavor':'f','networks':[{'network':'n','fixed_ip':'10.0.0.1'},"
           "{'port':'p'}],'user_data':'aGVsbG8=','metadata':{'a':'b'},'key':'k','zone':'z',"
           "'security_groups':['g']}");
    ACCEPT(CREATE, "server", "{'name':'a','flavor':'f','boot_volume':{'volume':'v'}}");
    ACCEPT(CREATE, "server",
           "{'name':'a','flavor':'f','image':'i','boot_volume':{'size':1,'type':'t'}}");
    ACCEPT(CREATE, "subnet",
           "{'name':'a','network':'n','cidr':'10.0.0.0/24','gateway_ip':null,'allocation_pools':"
           "[{'start':'10.0.0.10','end':'10.0.0.20'}],'dns_nameservers':['9.9.9.9','fd00::1'],"
           "'host_routes':[{'destination':'10.1.0.0/16','nexthop':'10.0.0.1'}]}");
    ACCEPT(CREATE, "subnet", "{'name':'a','network':'n','cidr':'fd00::/64'}");
    ACCEPT(CREATE, "security-group",
           "{'name':'a','rules':[{'direction':'ingress','protocol':'tcp','port_min':80,"
           "'port_max':80,'remote_cidr':'0.0.0.0/0'},{'direction':'egress','ethertype':'IPv6',"
           "'remote_cidr':'::/0'},{'direction':'ingress','protocol':'icmp','port_min':8,"
           "'port_max':0}]}");
    ACCEPT(CREATE, "port",
           "{'name':'a','network':'n','mac_address':'fa:16:3e:00:00:01',"
           "'fixed_ips':[{'ip_address':'10.0.0.5'}],'vnic_type':'direct'}");
    ACCEPT(CREATE, "flavor", "{'name':'a','vcpus':4096,'ram':1}");
    ACCEPT(CREATE, "image", "{'name':'a','disk_format':'raw','properties':{}}");
    ACCEPT(CREATE, "keypair", "{'name':'a','public_key':'ssh-ed25519 AAAA\\n'}");
    ACCEPT(UPDATE, "network", "{'name':'b','mtu':68,'admin_state_up':false}");
    ACCEPT(UPDATE, "subnet", "{'gateway_ip':null}");
    ACCEPT(BODY, "server",
           "{'name':'','created':'2026-01-01T00:00:00Z','power_state':'running',"
           "'addresses':[{'address':'10.0.0.1','version':4}],'host':'c1',"
           "'fault':{'code':500,'message':'No valid host'}}");
}

static void everything_at_once(void **state)
{
    (void)state;
    char text[8192];
    REFUSE(CREATE, "server",
           "{'name':'','flavor':7,'networks':[{'network':1},{'prot':'x'}],'user_data':'%%',"
           "'metadata':{'a':1},'host':'h','a/b~c':1}",
           "/name must not be empty\n"
           "/flavor must be an id or a name\n"
           "/networks/0/network must be an id or a name\n"
           "/networks/1/prot is not known; did you mean port?\n"
           "/user_data must be base64\n"
           "/metadata/a must be a text\n"
           "/host can only be read\n"
           "/a~1b~0c is not known\n"
           "/image is required\n");
}

static void refused(void **state)
{
    (void)state;
    char text[8192];
    REFUSE(CREATE, "flavor", "{'name':'a','vcpus':0,'ram':1}", "/vcpus must be from 1 to 4096\n");
    REFUSE(CREATE, "flavor", "{'name':'a','vcpus':1.5,'ram':1}", "/vcpus must be an integer\n");
    REFUSE(CREATE, "flavor", "{'name':'a','vcpus':1,'ram':1,'public':'yes'}",
           "/public must be true or false\n");
    REFUSE(CREATE, "subnet", "{'name':'a','network':'n','cidr':'10.0.0.1/24'}",
           "/cidr has host bits that are not zero\n");
    REFUSE(CREATE, "subnet", "{'name':'a','network':'n','cidr':'10.0.0.0/33'}",
           "/cidr must be a network as in 192.0.2.0/24\n");
    REFUSE(CREATE, "subnet", "{'name':'a','network':'n','cidr':'10.0.0.0/024'}",
           "/cidr must be a network as in 192.0.2.0/24\n");
    REFUSE(CREATE, "subnet", "{'name':'a','network':'n','cidr':'10.0.0.0/24','gateway_ip':'x'}",
           "/gateway_ip must be an IPv4 or IPv6 address or null\n");
    REFUSE(CREATE, "subnet",
           "{'name':'a','network':'n','cidr':'10.0.0.0/24','gateway_ip':'fd00::1',"
           "'allocation_pools':[{'start':'10.0.0.9','end':'10.0.0.3'},"
           "{'start':'10.0.1.1','end':'10.0.1.2'},{'start':'10.0.0.1','end':'fd00::1'}]}",
           "/gateway_ip is not of the same version of IP as cidr\n"
           "/allocation_pools/0 start lies behind end\n"
           "/allocation_pools/1 lies outside of cidr\n"
           "/allocation_pools/2 start and end must be of the same version of IP\n");
    REFUSE(CREATE, "server",
           "{'name':'a','image':'i','flavor':'f','networks':[{},{'network':'n','port':'p'},"
           "{'port':'p','fixed_ip':'10.0.0.1'}]}",
           "/networks/0 needs either network or port\n"
           "/networks/1 needs either network or port\n"
           "/networks/2/fixed_ip goes only with network, not with port\n");
    REFUSE(CREATE, "server", "{'name':'a','flavor':'f','boot_volume':{'size':1}}",
           "/image is required: the volume is made of it\n");
    REFUSE(CREATE, "server", "{'name':'a','flavor':'f','image':'i','boot_volume':{'volume':'v'}}",
           "/image does not go with a volume to boot from\n");
    REFUSE(CREATE, "server", "{'name':'a','flavor':'f','image':'i','boot_volume':{'type':'t'}}",
           "/boot_volume needs either volume or size\n");
    REFUSE(CREATE, "server",
           "{'name':'a','flavor':'f','boot_volume':{'volume':'v','size':1,'type':'t'}}",
           "/boot_volume needs either volume or size\n/boot_volume/type goes only with size\n");
    REFUSE(UPDATE, "server", "{'boot_volume':{'size':2}}",
           "/boot_volume cannot be changed once it is created\n");
    REFUSE(CREATE, "security-group",
           "{'name':'a','rules':[{'direction':'ingress','port_min':1},"
           "{'direction':'ingress','protocol':'tcp','port_min':9,'port_max':1},"
           "{'direction':'ingress','remote_cidr':'10.0.0.0/8','remote_group':'g'},"
           "{'direction':'ingress','remote_cidr':'::/0'}]}",
           "/rules/0 ports need a protocol\n"
           "/rules/1/port_min is larger than port_max\n"
           "/rules/2 remote_cidr and remote_group exclude each other\n"
           "/rules/3/remote_cidr is not of the version of IP that ethertype says\n");
    REFUSE(CREATE, "security-group", "{'name':'a','rules':[{'protocol':'tcp'}]}",
           "/rules/0/direction is required\n");
    REFUSE(CREATE, "image", "{'name':'a','disk_format':'qcow'}",
           "/disk_format must be one of: raw qcow2 iso vmdk vdi vhd vhdx ami ari aki; did you mean "
           "qcow2?\n");
    REFUSE(CREATE, "image", "{'name':'a','disk_format':'raw qcow2'}",
           "/disk_format must be one of: raw qcow2 iso vmdk vdi vhd vhdx ami ari aki\n");
    REFUSE(CREATE, "port", "{'name':'a\\nb','network':'n','mac_address':'fa:16:3e:00:00'}",
           "/name must not hold control characters\n"
           "/mac_address must be a MAC address as in fa:16:3e:00:00:01\n");
    REFUSE(CREATE, "network", "[]", " must be an object\n");
    REFUSE(CREATE, "network", "{'name':'a','lables':{}}",
           "/lables is not known; did you mean labels?\n");
    REFUSE(UPDATE, "network", "{'external':true,'name':null}",
           "/external cannot be changed once it is created\n/name must be a text\n");
    REFUSE(UPDATE, "keypair", "{'name':'b'}", "/name cannot be changed once it is created\n");
    REFUSE(BODY, "server", "{'user_data':'eA==','flavour':'x','power_state':'on'}",
           "/user_data is never shown\n/flavour is not known; did you mean flavor?\n/power_state "
           "must be one of: running paused shutdown crashed suspended none\n");
}

static void bounded(void **state)
{
    (void)state;
    json_t *object = json_pack("{s:s}", "name", "a");
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "x%d", i);
        json_object_set_new(object, name, json_null());
    }
    struct findings findings = {0};
    kind_check_create(kind_by_name("network"), object, &findings);
    assert_int_equal(findings.count, 100);
    findings_free(&findings);
    json_decref(object);
    char text[8192], json[600];
    snprintf(json, sizeof(json), "{'name':'%0300d'}", 0);
    REFUSE(CREATE, "network", json, "/name is 300 characters long; at most 255 are allowed\n");
}

/* As JSON Schema counts: a character may have up to four bytes. */
static void lengths_count_characters(void **state)
{
    (void)state;
    static const char *const letters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        char name[257 * 4 + 1] = "";
        for (int at = 0; at < 255; at++) {
            strcat(name, letters[i]);
        }
        for (int more = 0; more < 2; more++) {
            json_t *network = json_pack("{s:s}", "name", name);
            json_t *subnet =
                json_pack("{s:s, s:s, s:s}", "name", "s", "network", name, "cidr", "10.0.0.0/24");
            json_t *named = json_pack("{s:s}", "a", name);
            struct findings findings = {0};
            kind_check_create(kind_by_name("network"), network, &findings);
            kind_check_create(kind_by_name("subnet"), subnet, &findings);
            labels_check(named, false, &findings);
            assert_int_equal(findings.count, more ? 3 : 0);
            findings_free(&findings);
            json_decref(network);
            json_decref(subnet);
            json_decref(named);
            strcat(name, letters[i]);
        }
    }
}

static void actions(void **state)
{
    (void)state;
    const struct kind *server = kind_by_name("server");
    struct findings findings = {0};
    json_t *none = json_object();
    json_t *hard = json_pack("{s:s}", "type", "hard");
    json_t *odd = json_pack("{s:s}", "type", "odd");
    kind_check_action(server, "start", none, &findings);
    kind_check_action(server, "reboot", hard, &findings);
    assert_int_equal(findings.count, 0);
    kind_check_action(server, "reboot", odd, &findings);
    kind_check_action(server, "start", hard, &findings);
    kind_check_action(server, "explode", none, &findings);
    assert_int_equal(findings.count, 3);
    assert_string_equal(findings.items[0].pointer, "/type");
    assert_string_equal(findings.items[1].detail, "is no argument of start");
    assert_string_equal(findings.items[2].pointer, "/action");
    findings_free(&findings);
    json_decref(none);
    json_decref(hard);
    json_decref(odd);
}

static void labels(void **state)
{
    (void)state;
    struct findings findings = {0};
    json_t *good = json_pack("{s:s, s:s}", "app", "upf", "a.b/c-d", "");
    json_t *gone = json_pack("{s:n}", "app");
    json_t *bad = json_pack("{s:s, s:i}", "a b", "x", "n", 1);
    labels_check(good, false, &findings);
    labels_check(gone, true, &findings);
    labels_check(json_null(), true, &findings);
    assert_int_equal(findings.count, 0);
    labels_check(json_null(), false, &findings);
    assert_int_equal(findings.count, 1);
    findings_free(&findings);
    labels_check(gone, false, &findings);
    labels_check(bad, false, &findings);
    assert_int_equal(findings.count, 3);
    assert_string_equal(findings.items[1].pointer, "/labels/a b");
    findings_free(&findings);
    json_decref(good);
    json_decref(gone);
    json_decref(bad);
}

struct visit {
    char seen[512];
    int stop_at, count;
};

static int visit(void *argument, const char *kind, const char *pointer, const char *value,
                 char **ret_value)
{
    struct visit *visit = argument;
    size_t length = strlen(visit->seen);
    snprintf(visit->seen + length, sizeof(visit->seen) - length, "%s %s %s\n", kind, pointer,
             value);
    if (++visit->count == visit->stop_at) {
        return -7;
    }
    if (strcmp(value, "n") == 0) {
        *ret_value = strdup("N");
    }
    return 0;
}

static void references(void **state)
{
    (void)state;
    json_t *server =
        json_loads("{\"image\":\"i\",\"networks\":[{\"port\":\"p\"},{\"network\":\"n\"}],"
                   "\"security_groups\":[\"g\",\"n\"],\"flavor\":5}",
                   0, NULL);
    struct visit all = {.stop_at = -1};
    assert_int_equal(kind_each_reference(kind_by_name("server"), server, visit, &all), 0);
    assert_string_equal(all.seen, "image /image i\nport /networks/0/port p\n"
                                  "network /networks/1/network n\n"
                                  "security-group /security_groups/0 g\n"
                                  "security-group /security_groups/1 n\n");
    const char *network = NULL, *group = NULL;
    assert_int_equal(json_unpack(server, "{s:[o,{s:s}], s:[o,s]}", "networks", &(json_t *){NULL},
                                 "network", &network, "security_groups", &(json_t *){NULL}, &group),
                     0);
    assert_string_equal(network, "N");
    assert_string_equal(group, "N");
    struct visit some = {.stop_at = 2};
    assert_int_equal(kind_each_reference(kind_by_name("server"), server, visit, &some), -7);
    assert_int_equal(some.count, 2);
    json_decref(server);
}

static void tables(void **state)
{
    (void)state;
    size_t count;
    const struct kind *kinds = kinds_all(&count);
    assert_int_equal(count, 13);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(kind_by_name(kinds[i].name), &kinds[i]);
        assert_ptr_equal(kind_by_plural(kinds[i].plural), &kinds[i]);
        for (unsigned f = 0; f < kinds[i].field_count; f++) {
            const struct field *field = &kinds[i].fields[f];
            assert_non_null(field->help);
            assert_ptr_equal(field_by_name(kinds[i].fields, kinds[i].field_count, field->name),
                             field);
            if (field->type == FIELD_REFERENCE) {
                assert_non_null(kind_by_name(field->reference));
            }
        }
    }
    assert_null(kind_by_name("servers"));
    assert_null(kind_by_plural("server"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(refused),
        cmocka_unit_test(bounded),
        cmocka_unit_test(actions),
        cmocka_unit_test(labels),
        cmocka_unit_test(lengths_count_characters),
        cmocka_unit_test(references),
        cmocka_unit_test(tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
