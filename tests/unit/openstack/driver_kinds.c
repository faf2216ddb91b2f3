/* Routers, floating IPs, volumes, snapshots, affinity groups, the newer actions of servers, and what
 * the cloud tells of itself. */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *id_of(const struct result *result)
{
    static __thread char text[8][256];
    static __thread int turn;
    char *to = text[turn++ % 8];

    (void)snprintf(to, 256, "%s", result->count == 0 ? "" : result->items[result->count - 1].id);
    return to;
}

static const char *format(const char *template, const char *one, const char *other)
{
    static __thread char text[4][1024];
    static __thread int turn;
    char *to = text[turn++ % 4];
    char *at = to;

    /* $1 and $2 stand for the ids. */
    for (; *template != '\0'; template ++) {
        if (template[0] == '$') {
            at += sprintf(at, "%s", template[1] == '1' ? one : other);
            template ++;
        } else {
            *at++ = *template == '\'' ? '"' : *template;
        }
    }
    *at = '\0';
    return to;
}

static int act(struct fixture *f, const char *kind, const char *id, const char *action,
               const char *spec, int number, struct result *result)
{
    struct run run = RUN(VIM_VERB_ACTION, kind, id, spec, number);

    run.action = action;
    return driver_run(f->driver, &run, result);
}

static int delete (struct fixture *f, const char *kind, const char *id, int number,
                   struct result *result)
{
    struct run run = RUN(VIM_VERB_DELETE, kind, id, NULL, number);

    run.max_tries = 3;
    return driver_run(f->driver, &run, result);
}

/* Takes back what the create made, nothing of which was stored. */
static void undo(struct fixture *f, const char *kind, const char *spec, int number)
{
    struct result result = {0};
    struct vim_op op = {.size = sizeof(op),
                        .verb = VIM_VERB_CREATE,
                        .kind = kind,
                        .spec = spec,
                        .request_id = uuid(number),
                        .attempt = 1,
                        .undo = 1,
                        .data_size = -1};
    int code = VIM_AGAIN;

    for (int i = 0; i < 100 && code == VIM_AGAIN; i++) {
        op.kept = result.kept;
        code = driver_step(f->driver, &op, &result);
        usleep(20000);
    }
    assert_int_equal(code, VIM_OK);
    result_clear(&result);
}

static const char *last(const struct result *result, const char *key)
{
    return field(result->items[result->count - 1].body, key);
}

static void routers_and_floating_ips(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(create(f, "network", "{\"name\":\"in\"}", 1, &result), VIM_OK);
    const char *network = id_of(&result);
    assert_int_equal(create(f, "network", "{\"name\":\"out\",\"external\":true}", 2, &result),
                     VIM_OK);
    const char *outside = id_of(&result);
    assert_int_equal(create(f, "subnet",
                            format("{'name':'s','network':'$1','cidr':'10.0.0.0/24'}", network, ""),
                            3, &result),
                     VIM_OK);
    const char *subnet = id_of(&result);
    assert_int_equal(
        create(
            f, "port",
            format(
                "{'name':'p','network':'$1','fixed_ips':[{'subnet':'$2','ip_address':'10.0.0.7'}]}",
                network, subnet),
            4, &result),
        VIM_OK);
    const char *port = id_of(&result);
    /* Without a router nothing leads there. */
    const char *wish = format("{'network':'$1','port':'$2'}", outside, port);
    assert_int_equal(create(f, "floating-ip", wish, 5, &result), VIM_E_CONFLICT);
    const char *spec = format("{'name':'r','external_network':'$1','interfaces':[{'subnet':'$2'}]}",
                              outside, subnet);
    assert_int_equal(create(f, "router", spec, 6, &result), VIM_OK);
    const char *router = id_of(&result);
    assert_string_equal(last(&result, "external_network"), outside);
    assert_non_null(strstr(last(&result, "interfaces"), subnet));
    assert_string_equal(result.items[result.count - 1].tag, uuid(6));
    /* The same request again makes no second one, and leads nowhere twice. */
    struct run again = RUN(VIM_VERB_CREATE, "router", NULL, spec, 6);
    again.attempt = 1;
    assert_int_equal(driver_run(f->driver, &again, &result), VIM_OK);
    assert_string_equal(id_of(&result), router);
    assert_int_equal(fake_count(f->fake, "routers"), 1);
    assert_int_equal(fake_calls(f->fake, "PUT", "add_router_interface"), 1);
    result_clear(&result);
    assert_int_equal(driver_list(f->driver, "router", NULL, 1, &result), VIM_OK);
    assert_non_null(strstr(last(&result, "interfaces"), subnet));

    assert_int_equal(create(f, "floating-ip", wish, 7, &result), VIM_OK);
    const char *floating = id_of(&result);
    assert_string_equal(last(&result, "router"), router);
    assert_string_equal(result.items[result.count - 1].status, "ACTIVE");
    /* As long as it leads there, the router stays, and says why. */
    assert_int_equal(delete (f, "router", router, 8, &result), VIM_E_IN_USE);
    assert_non_null(strstr(result.fail, "floating IPs"));
    struct run update = RUN(VIM_VERB_UPDATE, "floating-ip", floating, "{\"port\":null}", 9);
    assert_int_equal(driver_run(f->driver, &update, &result), VIM_OK);
    assert_string_equal(last(&result, "port"), "");
    assert_string_equal(result.items[result.count - 1].status, "DOWN");
    assert_int_equal(act(f, "router", router, "add_interface",
                         format("{'subnet':'$1'}", subnet, ""), 10, &result),
                     VIM_OK); /* there already */
    assert_int_equal(fake_calls(f->fake, "PUT", "add_router_interface"), 1);
    assert_int_equal(delete (f, "router", router, 11, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "routers"), 0);
    assert_int_equal(fake_count(f->fake, "ports"), 1);
    assert_int_equal(delete (f, "floating-ip", floating, 12, &result), VIM_OK);
    result_clear(&result);
}

/* The answer to the add of an interface is lost; then the create is undone. */
static void a_router_is_undone(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(create(f, "network", "{\"name\":\"n\"}", 1, &result), VIM_OK);
    const char *network = id_of(&result);
    assert_int_equal(create(f, "subnet",
                            format("{'name':'s','network':'$1','cidr':'10.0.0.0/24'}", network, ""),
                            2, &result),
                     VIM_OK);
    const char *spec = format("{'name':'r','interfaces':[{'subnet':'$1'}]}", id_of(&result), "");
    fake_tell(f->fake, "fault", "{\"method\":\"PUT\",\"path\":\"add_router\",\"do\":\"lose\"}");
    struct run run = RUN(VIM_VERB_CREATE, "router", NULL, spec, 3);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    /* The driver's connection repeats it by itself, and Neutron refuses the second. */
    assert_int_equal(fake_count(f->fake, "ports"), 1);
    undo(f, "router", spec, 3);
    assert_int_equal(fake_count(f->fake, "routers"), 0);
    assert_int_equal(fake_count(f->fake, "ports"), 0);
    result_clear(&result);
}

static void volumes_live_and_die(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_OK);
    const char *server = id_of(&result);
    /* The answer is lost: the same one is found again by its mark. */
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/volumes\",\"do\":\"lose\"}");
    assert_int_equal(
        create(f, "volume", "{\"name\":\"v\",\"size\":2,\"metadata\":{\"a\":\"b\"}}", 2, &result),
        VIM_OK);
    const char *volume = id_of(&result);
    assert_int_equal(fake_count(f->fake, "volumes"), 1);
    assert_string_equal(last(&result, "metadata"), "{\"a\":\"b\"}");
    assert_string_equal(result.items[result.count - 1].tag, uuid(2));
    assert_string_equal(last(&result, "backend_status"), "available");
    struct run update =
        RUN(VIM_VERB_UPDATE, "volume", volume, "{\"name\":\"w\",\"metadata\":{\"c\":\"d\"}}", 3);
    assert_int_equal(driver_run(f->driver, &update, &result), VIM_OK);
    assert_string_equal(last(&result, "name"), "w");
    assert_string_equal(last(&result, "metadata"), "{\"c\":\"d\"}");
    assert_string_equal(result.items[result.count - 1].tag, uuid(2));

    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"os-volume_attachments\",\"do\":\"lose\"}");
    assert_int_equal(
        act(f, "volume", volume, "attach", format("{'server':'$1'}", server, ""), 4, &result),
        VIM_OK);
    assert_string_equal(last(&result, "server"), server);
    assert_string_equal(last(&result, "backend_status"), "in-use");
    assert_int_equal(fake_calls(f->fake, "POST", "os-volume_attachments"), 1);
    assert_int_equal(delete (f, "volume", volume, 5, &result), VIM_E_IN_USE);
    assert_non_null(strstr(result.fail, "is attached to server"));
    assert_int_equal(act(f, "volume", volume, "attach", "{\"server\":\"another\"}", 6, &result),
                     VIM_E_CONFLICT);
    assert_int_equal(act(f, "volume", volume, "detach", "{}", 7, &result), VIM_OK);
    assert_string_equal(last(&result, "server"), "");
    assert_int_equal(act(f, "volume", volume, "extend", "{\"size\":5}", 8, &result), VIM_OK);
    assert_string_equal(last(&result, "size"), "5");

    assert_int_equal(
        create(f, "snapshot", format("{'name':'s','volume':'$1'}", volume, ""), 9, &result),
        VIM_OK);
    const char *snapshot = id_of(&result);
    assert_string_equal(last(&result, "volume"), volume);
    assert_int_equal(delete (f, "volume", volume, 10, &result), VIM_E_IN_USE);
    assert_int_equal(delete (f, "snapshot", snapshot, 11, &result), VIM_OK);
    assert_int_equal(delete (f, "volume", volume, 12, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "volumes"), 0);
    fake_tell(f->fake, "settings", "{\"quota\":{\"volumes\":0}}");
    assert_int_equal(create(f, "volume", "{\"name\":\"v\",\"size\":2}", 13, &result), VIM_E_QUOTA);
    result_clear(&result);
}

/* What Cinder's messages tell is the reason; where they tell nothing it fails all the same. */
static void volumes_that_fail_say_why(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "settings",
              "{\"volumes_fail\":\"schedule allocate volume:"
              "Could not find any available weighted backend.\"}");
    assert_int_equal(create(f, "volume", "{\"name\":\"v\",\"size\":2}", 1, &result), VIM_E_QUOTA);
    assert_non_null(strstr(result.fail,
                           "went into error while it was made: schedule allocate volume:"
                           "Could not find any available weighted backend."));
    fake_tell(f->fake, "settings",
              "{\"volumes_fail\":\"create volume:Driver is not initialized\"}");
    assert_int_equal(create(f, "volume", "{\"name\":\"v\",\"size\":2}", 2, &result), VIM_E_FAILED);
    assert_non_null(strstr(result.fail, "while it was made: create volume:Driver is not"));
    fake_tell(f->fake, "settings", "{\"volumes_fail\":\"\"}");
    assert_int_equal(create(f, "volume", "{\"name\":\"v\",\"size\":2}", 3, &result), VIM_E_FAILED);
    assert_null(strstr(result.fail, "made:"));
    fake_tell(f->fake, "fault",
              "{\"path\":\"/messages\",\"do\":\"answer\",\"status\":406,"
              "\"times\":9}");
    assert_int_equal(create(f, "volume", "{\"name\":\"v\",\"size\":2}", 4, &result), VIM_E_FAILED);
    assert_null(strstr(result.fail, "made:"));
    assert_int_equal(fake_count(f->fake, "volumes"), 0);
    result_clear(&result);
}

static void groups_carry_their_mark_in_the_name(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"os-server-groups\",\"do\":\"lose\"}");
    assert_int_equal(create(f, "affinity-group",
                            "{\"name\":\"g\",\"policy\":\"anti-affinity\",\"max_per_host\":2}", 1,
                            &result),
                     VIM_OK);
    const char *group = id_of(&result);
    assert_int_equal(fake_count(f->fake, "server_groups"), 1);
    assert_string_equal(last(&result, "name"), "g");
    assert_string_equal(last(&result, "max_per_host"), "2");
    assert_string_equal(result.items[result.count - 1].tag, uuid(1));
    for (int number = 2; number < 6; number++) {
        assert_int_equal(create(f, "affinity-group", "{\"name\":\"g\",\"policy\":\"affinity\"}",
                                number, &result),
                         VIM_OK);
    }
    /* Its pages have no links, and may be shorter than asked for. */
    fake_tell(f->fake, "settings", "{\"page_limit\":2}");
    result_clear(&result);
    assert_int_equal(driver_list(f->driver, "affinity-group", NULL, 0, &result), VIM_OK);
    assert_int_equal(result.count, 5);
    assert_int_equal(
        create(f, "server",
               format("{'name':'s','image':'image-0','flavor':'flavor-0','affinity_group':'$1'}",
                      group, ""),
               7, &result),
        VIM_OK);
    const char *server = id_of(&result);
    result_clear(&result);
    assert_int_equal(driver_get(f->driver, "affinity-group", group, &result), VIM_OK);
    assert_non_null(strstr(last(&result, "members"), server));
    assert_int_equal(delete (f, "affinity-group", group, 8, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "server_groups"), 4);
    result_clear(&result);
}

static void servers_boot_from_volumes(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    /* Made on the way: it goes with the server, whose answer was lost. */
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/servers$\",\"do\":\"lose\"}");
    assert_int_equal(create(f, "server",
                            "{\"name\":\"s\",\"image\":\"image-0\",\"flavor\":\"flavor-0\","
                            "\"boot_volume\":{\"size\":3,\"type\":\"fast\"}}",
                            1, &result),
                     VIM_OK);
    const char *server = id_of(&result);
    assert_string_equal(last(&result, "image"), "");
    assert_string_equal(last(&result, "boot_volume"), "");
    assert_int_equal(fake_count(f->fake, "volumes"), 1);
    result_clear(&result);
    assert_int_equal(driver_list(f->driver, "volume", NULL, 0, &result), VIM_OK);
    assert_string_equal(last(&result, "size"), "3");
    assert_string_equal(last(&result, "type"), "fast");
    assert_string_equal(last(&result, "server"), server);
    assert_int_equal(delete (f, "server", server, 2, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "volumes"), 0);

    /* One that there is outlives it. */
    assert_int_equal(
        create(f, "volume", "{\"name\":\"v\",\"size\":2,\"image\":\"image-0\"}", 3, &result),
        VIM_OK);
    const char *volume = id_of(&result);
    const char *spec =
        format("{'name':'s','flavor':'flavor-0','boot_volume':{'volume':'$1'}}", volume, "");
    assert_int_equal(create(f, "server", spec, 4, &result), VIM_OK);
    server = id_of(&result);
    assert_int_equal(create(f, "server", spec, 5, &result), VIM_E_INVALID);
    assert_int_equal(delete (f, "volume", volume, 6, &result), VIM_E_IN_USE);
    assert_int_equal(delete (f, "server", server, 7, &result), VIM_OK);
    assert_int_equal(delete (f, "volume", volume, 8, &result), VIM_OK);

    fake_tell(f->fake, "settings", "{\"quota\":{\"volumes\":0}}");
    assert_int_equal(create(f, "server",
                            "{\"name\":\"s\",\"image\":\"image-0\",\"flavor\":\"flavor-0\","
                            "\"boot_volume\":{\"size\":3}}",
                            9, &result),
                     VIM_E_QUOTA);
    result_clear(&result);
}

static void servers_do_more(void **state)
{
    static const struct {
        const char *action, *spec, *status, *word;
    } steps[] = {{"pause", "{}", "PAUSED", "PAUSED"},
                 {"unpause", "{}", "ACTIVE", "ACTIVE"},
                 {"suspend", "{}", "SUSPENDED", "SUSPENDED"},
                 {"resume", "{}", "ACTIVE", "ACTIVE"},
                 {"rebuild", "{}", "ACTIVE", "ACTIVE"},
                 {"resize", "{\"flavor\":\"larger\"}", "ACTIVE", "VERIFY_RESIZE"},
                 {"revert_resize", "{}", "ACTIVE", "ACTIVE"},
                 {"resize", "{\"flavor\":\"larger\"}", "ACTIVE", "VERIFY_RESIZE"},
                 {"confirm_resize", "{}", "ACTIVE", "ACTIVE"},
                 {"migrate", "{}", "ACTIVE", "ACTIVE"},
                 {"migrate", "{\"live\":false}", "ACTIVE", "VERIFY_RESIZE"}};
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_OK);
    const char *server = id_of(&result);
    for (size_t at = 0; at < sizeof(steps) / sizeof(steps[0]); at++) {
        /* Each answer is lost once; nothing is done twice. */
        int before = fake_calls(f->fake, "POST", "/action");
        fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/action\",\"do\":\"lose\"}");
        int code =
            act(f, "server", server, steps[at].action, steps[at].spec, 10 + (int)at, &result);
        if (code != VIM_OK) {
            print_error("%s: %d %s\n", steps[at].action, code, result.fail);
        }
        assert_int_equal(code, VIM_OK);
        assert_string_equal(result.items[result.count - 1].status, steps[at].status);
        assert_string_equal(last(&result, "backend_status"), steps[at].word);
        assert_int_equal(fake_calls(f->fake, "POST", "/action"), before + 1);
    }
    assert_int_equal(act(f, "server", server, "pause", "{}", 40, &result), VIM_E_CONFLICT);
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/action\",\"do\":\"lose\"}");
    const char *spec = format("{'name':'saved','server':'$1'}", server, "");
    assert_int_equal(create(f, "image", spec, 41, &result), VIM_OK);
    assert_string_equal(result.items[result.count - 1].status, "ACTIVE");
    assert_string_equal(result.items[result.count - 1].tag, uuid(41));
    assert_int_equal(fake_count(f->fake, "images"), 2);
    undo(f, "image", spec, 41);
    assert_int_equal(fake_count(f->fake, "images"), 1);
    result_clear(&result);
}

static const char *told(const struct result *result, const char *id, const char *key)
{
    const struct seen *item = result_find(result, id);

    assert_non_null(item);
    return field(item->body, key);
}

static void the_cloud_tells_of_itself(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    char id[300];

    fake_tell(f->fake, "settings", "{\"quota\":{\"servers\":7,\"networks\":3,\"volumes\":9}}");
    assert_int_equal(driver_list(f->driver, "quota", NULL, 0, &result), VIM_OK);
    assert_string_equal(told(&result, "servers", "limit"), "7");
    assert_string_equal(told(&result, "servers", "used"), "0");
    assert_string_equal(told(&result, "networks", "limit"), "3");
    assert_string_equal(told(&result, "routers", "limit"), ""); /* -1: none */
    assert_string_equal(told(&result, "volumes", "limit"), "9");
    assert_string_equal(told(&result, "ram", "unit"), "MiB");
    assert_string_equal(told(&result, "security_group_rules", "limit"), "100");
    assert_string_equal(told(&result, "security_group_rules", "used"), "5");
    assert_string_equal(told(&result, "affinity_group_members", "limit"), "10");
    assert_string_equal(told(&result, "affinity_group_members", "used"), ""); /* it is of each */
    result_clear(&result);
    assert_int_equal(driver_list(f->driver, "zone", NULL, 0, &result), VIM_OK);
    assert_string_equal(told(&result, "compute/lost", "available"), "false");
    assert_string_equal(told(&result, "storage/nova", "service"), "storage");
    result_clear(&result);
    assert_int_equal(driver_list(f->driver, "host", NULL, 0, &result), VIM_OK);
    assert_string_equal(last(&result, "name"), "c1");
    assert_string_equal(last(&result, "ram_used"), "512");
    result_clear(&result);
    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_OK);
    const char *server = id_of(&result);
    (void)snprintf(id, sizeof(id), "%s/log", server);
    result_clear(&result);
    assert_int_equal(driver_get(f->driver, "console", id, &result), VIM_OK);
    assert_string_equal(last(&result, "output"), "FAKE CONSOLE OUTPUT");
    (void)snprintf(id, sizeof(id), "%s/novnc", server);
    result_clear(&result);
    assert_int_equal(driver_get(f->driver, "console", id, &result), VIM_OK);
    assert_string_equal(last(&result, "url"), "http://console.invalid/?token=t");
    (void)snprintf(id, sizeof(id), "%s/../../x", server);
    assert_int_equal(driver_get(f->driver, "console", id, &result), VIM_E_NOT_FOUND);
    assert_int_equal(driver_get(f->driver, "quota", "servers", &result), VIM_E_UNSUPPORTED);
    result_clear(&result);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

const struct CMUnitTest kind_cases[] = {
    CASE(routers_and_floating_ips),
    CASE(a_router_is_undone),
    CASE(volumes_live_and_die),
    CASE(volumes_that_fail_say_why),
    CASE(groups_carry_their_mark_in_the_name),
    CASE(servers_boot_from_volumes),
    CASE(servers_do_more),
    CASE(the_cloud_tells_of_itself),
};
const size_t kind_case_count = sizeof(kind_cases) / sizeof(kind_cases[0]);
