/* What the driver does when nothing goes wrong. */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>

static struct fake *the_fake;

struct driver *open_driver(struct fake *fake, const char *const *more)
{
    const char *patience = getenv("VIMD_TEST_PATIENCE");
    const char *timeout =
        patience && atoi(patience) > 1 ? "20s" : "5s"; /* a handshake takes long */
    const char *settings[64] = {
        "auth_url", fake_auth_url(fake), "username", "admin",   "region", "RegionOne",   "timeout",
        timeout,    "password",          "secret",   "project", "admin",  "settle_time", "300ms"};
    char why[1024];
    struct driver *driver;
    size_t at = 14;

    for (; more != NULL && *more != NULL; more++) {
        settings[at++] = *more;
    }
    settings[at] = NULL;
    driver = driver_open(TEST_PLUGIN_DIR "/openstack.so", settings, why);
    if (driver == NULL) {
        print_error("%s\n", why);
    }
    assert_non_null(driver);
    return driver;
}

int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->fake = the_fake;
    fake_tell(f->fake, "reset", "{}");
    f->driver = open_driver(f->fake, NULL);
    *state = f;
    return 0;
}

int tear_down(void **state)
{
    struct fixture *f = *state;

    driver_close(f->driver);
    free(f);
    return 0;
}

const char *uuid(int number)
{
    static __thread char text[4][37];
    static __thread int turn;
    char *to = text[turn++ % 4];

    (void)snprintf(to, 37, "%08x-1111-4222-8333-%012x", (unsigned)number, (unsigned)number);
    return to;
}

int create(struct fixture *f, const char *kind, const char *spec, int number, struct result *result)
{
    struct run run = RUN(VIM_VERB_CREATE, kind, NULL, spec, number);

    return driver_run(f->driver, &run, result);
}

const char *field(const char *body, const char *key)
{
    static __thread char text[4][4096];
    static __thread int turn;
    char *to = text[turn++ % 4];
    json_t *root = body == NULL ? NULL : json_loads(body, 0, NULL);
    json_t *value = json_object_get(root, key);
    char *dumped = json_is_string(value) ? strdup(json_string_value(value))
                   : value == NULL       ? strdup("")
                                         : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

    (void)snprintf(to, 4096, "%s", dumped);
    free(dumped);
    json_decref(root);
    return to;
}

static void probe_tells_versions(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(driver_probe(f->driver, &result), VIM_OK);
    assert_int_equal(result.count, 1);
    assert_string_equal(result.items[0].kind, "vim");
    assert_string_equal(field(result.items[0].body, "compute_microversions"), "2.1 to 2.93");
    result_clear(&result);
}

static void server_lives_and_dies(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "server", NULL, SERVER_SPEC, 1);
    char id[256];

    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    strcpy(id, result.items[0].id);
    assert_string_equal(result.items[0].status, "ACTIVE");
    assert_string_equal(result.items[0].tag, uuid(1));
    assert_string_equal(field(result.items[0].body, "flavor"), "flavor-0");
    assert_string_equal(field(result.items[0].body, "metadata"), "{\"a\":\"b\"}");
    assert_non_null(strstr(field(result.items[0].body, "addresses"), "\"network\":\"net\""));
    assert_string_equal(field(result.items[0].body, "security_groups"), "[\"sg-default\"]");
    assert_null(strstr(result.items[0].body, "top-secret"));
    assert_true(strstr(result.request_ids, "req-") != NULL);

    run = RUN(VIM_VERB_UPDATE, "server", id, "{\"name\":\"t\",\"metadata\":{\"c\":\"d\"}}", 2);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(field(result.items[0].body, "name"), "t");
    assert_string_equal(field(result.items[0].body, "metadata"), "{\"c\":\"d\"}");
    assert_string_equal(result.items[0].tag, uuid(1));

    run = RUN(VIM_VERB_ACTION, "server", id, NULL, 3);
    run.action = "stop";
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "SHUTOFF");
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK); /* stopped already */
    run.action = "start";
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "ACTIVE");
    run.action = "reboot";
    run.spec = "{\"type\":\"hard\"}";
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "ACTIVE");

    run = RUN(VIM_VERB_DELETE, "server", id, NULL, 4);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "servers"), 0);
    assert_int_equal(fake_count(f->fake, "ports"), 0);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK); /* gone already */
    assert_int_equal(driver_get(f->driver, "server", id, &result), VIM_E_NOT_FOUND);
    result_clear(&result);
}

static void seen_server_needs_no_get(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "server", NULL, SERVER_SPEC, 1);

    run.use_list = 1;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "ACTIVE");
    assert_int_equal(result.steps, 2);
    assert_int_equal(fake_calls(f->fake, "POST", "/compute/v2.1/servers"), 1);
    assert_int_equal(fake_calls(f->fake, "GET", "/compute/v2.1/servers/"),
                     fake_calls(f->fake, "GET", "/compute/v2.1/servers/detail"));
    result_clear(&result);
}

static void failed_server_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "settings", "{\"no_valid_host\": true}");
    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_E_QUOTA);
    assert_non_null(strstr(result.fail, "No valid host"));
    assert_int_equal(fake_count(f->fake, "servers"), 0);
    result_clear(&result);
}

static void network_things(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    char net[256];
    char port[256];
    char spec[512];
    struct run run;

    assert_int_equal(
        create(f, "network", "{\"name\":\"n\",\"description\":\"d\",\"mtu\":1400}", 1, &result),
        VIM_OK);
    strcpy(net, result.items[0].id);
    assert_string_equal(result.items[0].tag, uuid(1));
    assert_string_equal(field(result.items[0].body, "description"), "d");
    assert_string_equal(field(result.items[0].body, "mtu"), "1400");
    assert_int_equal(result.steps, 1);

    (void)snprintf(spec, sizeof(spec),
                   "{\"name\":\"s\",\"network\":\"%s\",\"cidr\":\"2001:db8::/64\"}", net);
    assert_int_equal(create(f, "subnet", spec, 2, &result), VIM_OK);
    assert_string_equal(result.items[0].parent, net);
    assert_string_equal(field(result.items[0].body, "ip_version"), "6");

    (void)snprintf(spec, sizeof(spec),
                   "{\"name\":\"p\",\"network\":\"%s\",\"fixed_ips\":[{\"subnet\":\"x\"}],"
                   "\"vnic_type\":\"direct\"}",
                   net);
    assert_int_equal(create(f, "port", spec, 3, &result), VIM_OK);
    strcpy(port, result.items[0].id);
    assert_string_equal(result.items[0].status, "DOWN");
    assert_string_equal(field(result.items[0].body, "fixed_ips"), "[{\"subnet\":\"x\"}]");
    assert_string_equal(field(result.items[0].body, "vnic_type"), "direct");

    run = RUN(VIM_VERB_UPDATE, "network", net, "{\"description\":\"e\"}", 4);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(field(result.items[0].body, "description"), "e");
    assert_string_equal(result.items[0].tag, uuid(1)); /* the maker's mark stays */
    run = RUN(VIM_VERB_UPDATE, "network", net, "{\"external\":true}", 5);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_INVALID);

    run = RUN(VIM_VERB_DELETE, "network", net, NULL, 6);
    run.max_tries = 2;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_IN_USE);
    run = RUN(VIM_VERB_DELETE, "port", port, NULL, 7);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    run = RUN(VIM_VERB_DELETE, "network", net, NULL, 8);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "networks"), 0);
    result_clear(&result);
}

static void group_has_exactly_its_rules(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run;
    char id[256];

    assert_int_equal(create(f, "security-group", GROUP_SPEC, 1, &result), VIM_OK);
    strcpy(id, result.items[0].id);
    assert_int_equal(fake_count(f->fake, "rules"), 2);
    assert_string_equal(field(result.items[0].body, "description"), "web");
    assert_non_null(strstr(field(result.items[0].body, "rules"), "\"port_min\":80"));

    run = RUN(VIM_VERB_UPDATE, "security-group", id, "{\"rules\":[]}", 2);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "rules"), 0);

    /* Nearly one of the far side's own, which is in its way. */
    run = RUN(VIM_VERB_UPDATE, "security-group", id,
              "{\"rules\":[{\"direction\":\"egress\"},{\"direction\":\"ingress\"}]}", 4);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    run = RUN(VIM_VERB_UPDATE, "security-group", id,
              "{\"rules\":[{\"direction\":\"egress\",\"remote_cidr\":\"0.0.0.0/0\"}]}", 5);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "rules"), 1);
    assert_non_null(strstr(field(result.items[0].body, "rules"), "0.0.0.0/0"));
    run = RUN(VIM_VERB_DELETE, "security-group", id, NULL, 6);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);

    /* Left out: the far side's own. */
    assert_int_equal(create(f, "security-group", "{\"name\":\"h\"}", 3, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "rules"), 2);
    result_clear(&result);
}

static void image_with_its_data(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    size_t size = 3 * 1024 * 1024 + 7;
    char *data = malloc(size);
    struct run run;

    memset(data, 'x', size);
    assert_int_equal(create(f, "image",
                            "{\"name\":\"i\",\"disk_format\":\"raw\",\"properties\":"
                            "{\"os_distro\":\"debian\"}}",
                            1, &result),
                     VIM_OK);
    assert_string_equal(result.items[0].id, uuid(1));
    assert_string_equal(result.items[0].status, "QUEUED");
    assert_string_equal(field(result.items[0].body, "properties"), "{\"os_distro\":\"debian\"}");
    assert_string_equal(field(result.items[0].body, "size"), "");

    run = RUN(VIM_VERB_UPLOAD, "image", uuid(1), NULL, 2);
    run.data = data;
    run.data_size = (int64_t)size;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "ACTIVE");
    assert_string_equal(field(result.items[0].body, "size"), "3145735");
    run.attempt = 1; /* repeated, it finds that the data is there */
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "PUT", "/file"), 1);

    run = RUN(VIM_VERB_UPDATE, "image", uuid(1), "{\"name\":\"j\",\"min_ram\":64}", 3);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(field(result.items[0].body, "name"), "j");
    assert_string_equal(field(result.items[0].body, "min_ram"), "64");

    run = RUN(VIM_VERB_DELETE, "image", uuid(1), NULL, 4);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK); /* gone already */
    assert_int_equal(driver_get(f->driver, "image", uuid(1), &result), VIM_E_NOT_FOUND);
    free(data);
    result_clear(&result);
}

static void flavor_and_keypair(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run;

    assert_int_equal(create(f, "flavor",
                            "{\"name\":\"f\",\"vcpus\":2,\"ram\":512,\"extra_specs\":"
                            "{\"hw:numa_nodes\":\"1\"}}",
                            1, &result),
                     VIM_OK);
    assert_string_equal(result.items[0].id, uuid(1));
    assert_string_equal(result.items[0].tag, uuid(1));
    assert_string_equal(field(result.items[0].body, "extra_specs"), "{\"hw:numa_nodes\":\"1\"}");
    assert_string_equal(field(result.items[0].body, "swap"), "0");
    /* The same name for another request. */
    assert_int_equal(create(f, "flavor", "{\"name\":\"f\",\"vcpus\":2,\"ram\":512}", 2, &result),
                     VIM_E_CONFLICT);
    assert_int_equal(fake_count(f->fake, "flavors"), 2);
    run = RUN(VIM_VERB_DELETE, "flavor", uuid(1), NULL, 3);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);

    assert_int_equal(
        create(f, "keypair", "{\"name\":\"a key\",\"public_key\":\"ssh-rsa AAAA me\"}", 4, &result),
        VIM_OK);
    assert_string_equal(result.items[0].id, "a key");
    /* Somebody's keypair of that name survives the undo of a create that it made fail. */
    assert_int_equal(
        create(f, "keypair", "{\"name\":\"a key\",\"public_key\":\"ssh-rsa AAAA me\"}", 5, &result),
        VIM_E_CONFLICT);
    assert_int_equal(fake_count(f->fake, "keypairs"), 1);
    run = RUN(VIM_VERB_DELETE, "keypair", "a key", NULL, 6);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "keypairs"), 0);
    result_clear(&result);
}

static void changes_since_last_pass(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct result changes = {0};
    struct run run;
    char id[256];

    fake_tell(f->fake, "fill", "{\"servers\": 5}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
    assert_int_equal(result.count, 5);
    assert_non_null(result.kept);
    strcpy(id, result.items[2].id);
    run = RUN(VIM_VERB_DELETE, "server", id, NULL, 1);
    assert_int_equal(driver_run(f->driver, &run, &changes), VIM_OK);
    result_clear(&changes);
    assert_int_equal(driver_list(f->driver, "server", result.kept, 0, &changes), VIM_OK);
    assert_non_null(result_find(&changes, id));
    assert_true((result_find(&changes, id)->flags & VIM_ITEM_GONE) != 0);
    assert_non_null(changes.kept);
    result_clear(&changes);
    result_clear(&result);
}

static void options_are_checked(void **state)
{
    static const char *const bad[][16] = {
        {"auth_url", "ftp://x", "username", "u", "password", "p", "project", "x", NULL},
        {"auth_url", "http://x", "username", "u", "project", "x", NULL},
        {"auth_url", "http://x", "username", "u", "password", "p", NULL},
        {"auth_url", "http://x", "username", "u", "password", "p", "project", "x", "domain", "y",
         NULL},
        {"auth_url", "http://x", "auth_type", "application_credential", "application_credential_id",
         "i", NULL},
        {"auth_url", "http://x", "username", "u", "password", "p", "project", "x", "ca_file",
         "/does/not/exist", NULL},
        {"auth_url", "http://x", "username", "u", "password", "p", "project", "x",
         "compute_endpoint", "http://nova", NULL},
    };
    static const char *const naming[] = {"auth_url", "password", "project",         "project",
                                         "secret",   "ca_file",  "compute_endpoint"};
    char why[1024];

    (void)state;
    for (size_t at = 0; at < sizeof(bad) / sizeof(bad[0]); at++) {
        assert_null(driver_open(TEST_PLUGIN_DIR "/openstack.so", bad[at], why));
        assert_non_null(strstr(why, naming[at]));
    }
}

static int start_fake(void)
{
    the_fake = fake_start();
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(probe_tells_versions),     CASE(server_lives_and_dies),
        CASE(seen_server_needs_no_get), CASE(failed_server_is_taken_back),
        CASE(network_things),           CASE(group_has_exactly_its_rules),
        CASE(image_with_its_data),      CASE(flavor_and_keypair),
        CASE(changes_since_last_pass),  CASE(options_are_checked),
    };
    int failed;

    start_fake();
    failed = cmocka_run_group_tests_name("driver", cases, NULL, NULL);
    failed += _cmocka_run_group_tests("faults", fault_cases, fault_case_count, NULL, NULL);
    failed += _cmocka_run_group_tests("late", late_cases, late_case_count, NULL, NULL);
    failed += _cmocka_run_group_tests("session", session_cases, session_case_count, NULL, NULL);
    failed += _cmocka_run_group_tests("kinds", kind_cases, kind_case_count, NULL, NULL);
    fake_stop(the_fake);
    return failed;
}
