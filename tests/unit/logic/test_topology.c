/* Routers, floating IPs, volumes, affinity groups and the actions of servers, over a real engine:
 * what refers to what, by name and while it is still being made. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#define BLUE "blue/member"
#define WAIT "prefer: wait=20\n"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, false,
               "latency_mean: 20ms\ndelete_latency_mean: 10ms\nlatency_distribution: fixed\n"
               "quotas: [storage 20, vcpus 6]\n");
    while (!inventory_is_ready(world.inventory)) {
        clock_sleep_ms(10);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* Formats; lives until the next but seven. */
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *text(const char *format, ...)
{
    static char texts[8][512];
    static unsigned next;
    char *one = texts[next++ % 8];
    va_list values;
    va_start(values, format);
    vsnprintf(one, sizeof(texts[0]), format, values);
    va_end(values);
    return one;
}

static void expect_gone(const char *plural, const char *id)
{
    expect(&world, 204, BLUE, "DELETE", text("/v1/%s/%s", plural, id), WAIT, NULL);
    expect(&world, 404, BLUE, "GET", text("/v1/%s/%s", plural, id), NULL, NULL);
}

/* Asks for something and does not wait; gives the id of what is being made. */
static void begin(const char *plural, const char *body, char ret_id[40])
{
    struct reply reply = ask(&world, BLUE, "POST", text("/v1/%s", plural), NULL, body);
    if (reply.status != 202) {
        fail_msg("%s: %d %s", plural, reply.status, reply.body);
    }
    snprintf(ret_id, 40, "%s", reply_text(&reply, "target.id"));
    reply_free(&reply);
}

/* PATH's member as a text, once it is that; fails when it does not become so. */
static void await_text(const char *path, const char *member, const char *wanted)
{
    for (int i = 0; i < 2000; i++) {
        struct reply reply = ask(&world, BLUE, "GET", path, NULL, NULL);
        const char *now = reply_text(&reply, member);
        bool same = wanted ? now && strcmp(now, wanted) == 0 : now == NULL;
        reply_free(&reply);
        if (same) {
            return;
        }
        clock_sleep_ms(10);
    }
    fail_msg("%s: %s does not become %s", path, member, wanted ? wanted : "(none)");
}

/* A body that is asked for afresh. The result lives until reply_free(). */
static struct reply look(const char *plural, const char *id)
{
    struct reply reply =
        ask(&world, BLUE, "GET", text("/v1/%s/%s?fresh=true", plural, id), NULL, NULL);
    assert_int_equal(reply.status, 200);
    return reply;
}

/* A graph asked for in one go: everything refers to what is still being made, the servers to one
 * another by their group. */
static void all_at_once(void **state)
{
    (void)state;
    char network[40], subnet[40], router[40], port[40], floating[40], group[40];
    char servers[2][40], volume[40];
    begin("networks", "{'name':'inner'}", network);
    begin("subnets", text("{'name':'s','network':'%s','cidr':'10.5.0.0/24'}", network), subnet);
    begin("routers",
          text("{'name':'r','external_network':'public','interfaces':[{'subnet':'%s'}]}", subnet),
          router);
    begin("ports",
          text("{'name':'p','network':'%s','fixed_ips':[{'subnet':'%s'}]}", network, subnet), port);
    begin("affinity-groups", "{'name':'apart','policy':'anti-affinity'}", group);
    for (int i = 0; i < 2; i++) {
        begin("servers",
              text("{'name':'vm%d','image':'cirros','flavor':'small','affinity_group':'%s'%s}", i,
                   group, i == 0 ? text(",'networks':[{'port':'%s'}]", port) : ""),
              servers[i]);
    }
    begin("volumes", "{'name':'disk','size':5}", volume);
    for (int i = 0; i < 2; i++) {
        await_text(text("/v1/servers/%s", servers[i]), "status", "ACTIVE");
    }
    await_text(text("/v1/routers/%s", router), "status", "ACTIVE");
    await_text(text("/v1/volumes/%s", volume), "status", "ACTIVE");
    make(&world, BLUE, "floating-ips",
         text("{'name':'front','network':'public','port':'%s'}", port), floating);

    struct reply reply = look("floating-ips", floating);
    assert_string_equal(reply_text(&reply, "name"), "front");
    assert_string_equal(reply_text(&reply, "router"), router);
    assert_string_equal(reply_text(&reply, "port"), port);
    assert_string_equal(reply_text(&reply, "status"), "ACTIVE");
    assert_non_null(strstr(reply.body, "\"address\":\"203.0.113."));
    reply_free(&reply);
    reply = look("routers", router);
    const json_t *interface = json_array_get(json_object_get(reply.json, "interfaces"), 0);
    assert_string_equal(json_string_value(json_object_get(interface, "subnet")), subnet);
    assert_string_equal(json_string_value(json_object_get(interface, "ip_address")), "10.5.0.1");
    reply_free(&reply);
    reply = look("affinity-groups", group);
    assert_int_equal(json_array_size(json_object_get(reply.json, "members")), 2);
    reply_free(&reply);
    struct reply one = look("servers", servers[0]), other = look("servers", servers[1]);
    assert_string_not_equal(reply_text(&one, "host"), reply_text(&other, "host"));
    assert_null(reply_text(&one, "affinity_group"));
    reply_free(&one);
    reply_free(&other);

    /* What is in use stays, and says by what; as long as somebody waits for it. */
    reply = ask(&world, BLUE, "DELETE", text("/v1/networks/%s", network), NULL, NULL);
    assert_int_equal(reply.status, 202);
    CLEANUP_FREE char *task = text_duplicate(reply_text(&reply, "id"));
    reply_free(&reply);
    await_text(text("/v1/tasks/%s", task), "state", "waiting");
    reply = ask(&world, BLUE, "GET", text("/v1/networks/%s", network), NULL, NULL);
    assert_non_null(strstr(reply_text(&reply, "status_reason"), "has 2 ports"));
    reply_free(&reply);

    /* null disassociates; then the router can go, with its interface. */
    expect(&world, 200, BLUE, "PATCH", text("/v1/floating-ips/%s", floating), WAIT,
           "{'port':null}");
    await_text(text("/v1/floating-ips/%s", floating), "port", NULL);
    await_text(text("/v1/floating-ips/%s", floating), "status", "DOWN");
    expect_gone("routers", router);
    expect_gone("floating-ips", floating);
    expect_gone("servers", servers[0]);
    expect_gone("servers", servers[1]);
    expect_gone("ports", port);
    await_text(text("/v1/tasks/%s", task), "state", "succeeded");
    await_text(text("/v1/subnets/%s", subnet), "id", NULL); /* went with its network */
    expect_gone("affinity-groups", group);
    expect_gone("volumes", volume);
}

static void volumes(void **state)
{
    (void)state;
    char server[40], volume[40], snapshot[40], copy[40];
    begin("servers", "{'name':'holder','image':'cirros','flavor':'small'}", server);
    begin("volumes", "{'name':'data','size':5,'image':'cirros'}", volume);
    /* An action waits for the volume it is done to no less than it is refused meanwhile. */
    await_text(text("/v1/volumes/%s", volume), "status", "ACTIVE");
    const char *actions = text("/v1/volumes/%s/actions", volume);
    CLEANUP_FREE char *path = text_duplicate(actions);
    expect(&world, 422, BLUE, "POST", path, NULL, "{'action':'attach'}");
    expect(&world, 422, BLUE, "POST", path, NULL, "{'action':'attach','server':'nobody'}");
    expect(&world, 422, BLUE, "POST", path, NULL, "{'action':'detach','server':'holder'}");
    struct reply reply =
        ask(&world, BLUE, "POST", path, WAIT, "{'action':'attach','server':'holder'}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "server"), server);
    assert_string_equal(reply_text(&reply, "backend_status"), "in-use");
    reply_free(&reply);
    reply = look("servers", server);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(reply.json, "volumes"), 0)), volume);
    reply_free(&reply);
    make(&world, BLUE, "snapshots", text("{'name':'snap','volume':'%s'}", volume), snapshot);
    make(&world, BLUE, "volumes", "{'name':'copy','snapshot':'snap'}", copy);
    reply = look("volumes", copy);
    assert_int_equal(json_integer_value(json_object_get(reply.json, "size")), 5);
    reply_free(&reply);
    /* 5 + 5 + 5 of 20 are taken. */
    reply = ask(&world, BLUE, "POST", path, WAIT, "{'action':'extend','size':11}");
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply_text(&reply, "code"), "quota");
    reply_free(&reply);
    expect(&world, 200, BLUE, "POST", path, WAIT, "{'action':'extend','size':10}");
    reply = ask(&world, BLUE, "DELETE", text("/v1/volumes/%s", volume), NULL, NULL);
    CLEANUP_FREE char *task = text_duplicate(reply_text(&reply, "id"));
    reply_free(&reply);
    await_text(text("/v1/tasks/%s", task), "error.code", "in-use");
    reply = ask(&world, BLUE, "GET", text("/v1/volumes/%s", volume), NULL, NULL);
    assert_non_null(strstr(reply_text(&reply, "status_reason"), "is attached to server"));
    reply_free(&reply);
    /* The server goes, and takes nothing with it; the snapshot goes; then the volume does. */
    expect_gone("servers", server);
    expect_gone("snapshots", snapshot);
    await_text(text("/v1/tasks/%s", task), "state", "succeeded");
    expect_gone("volumes", copy);
}

static void act(const char *server, const char *body, const char *status, const char *word)
{
    struct reply reply =
        ask(&world, BLUE, "POST", text("/v1/servers/%s/actions", server), WAIT, body);
    if (reply.status != 200) {
        fail_msg("%s: %d %s", body, reply.status, reply.body);
    }
    assert_string_equal(reply_text(&reply, "status"), status);
    assert_string_equal(reply_text(&reply, "backend_status"), word);
    reply_free(&reply);
}

static void server_actions(void **state)
{
    (void)state;
    char server[40];
    make(&world, BLUE, "servers", "{'name':'actor','image':'cirros','flavor':'small'}", server);
    CLEANUP_FREE char *actions = text_duplicate(text("/v1/servers/%s/actions", server));
    act(server, "{'action':'pause'}", "PAUSED", "PAUSED");
    struct reply reply = ask(&world, BLUE, "POST", actions, WAIT, "{'action':'suspend'}");
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply_text(&reply, "code"), "conflict");
    reply_free(&reply);
    act(server, "{'action':'unpause'}", "ACTIVE", "ACTIVE");
    act(server, "{'action':'suspend'}", "SUSPENDED", "SUSPENDED");
    act(server, "{'action':'resume'}", "ACTIVE", "ACTIVE");
    act(server, "{'action':'rebuild','image':'debian-12'}", "ACTIVE", "ACTIVE");
    expect(&world, 422, BLUE, "POST", actions, NULL, "{'action':'resize'}");
    expect(&world, 422, BLUE, "POST", actions, NULL, "{'action':'stop','flavor':'medium'}");
    act(server, "{'action':'resize','flavor':'medium'}", "ACTIVE", "VERIFY_RESIZE");
    expect(&world, 409, BLUE, "POST", actions, WAIT, "{'action':'stop'}");
    act(server, "{'action':'revert_resize'}", "ACTIVE", "ACTIVE");
    /* 4 of 6 processors: no room for the large one beside them. */
    act(server, "{'action':'resize','flavor':'large'}", "ACTIVE", "VERIFY_RESIZE");
    act(server, "{'action':'confirm_resize'}", "ACTIVE", "ACTIVE");
    reply = ask(&world, BLUE, "POST", "/v1/servers", WAIT,
                "{'name':'more','image':'cirros','flavor':'large'}");
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply_text(&reply, "code"), "quota");
    reply_free(&reply);
    reply = look("servers", server);
    CLEANUP_FREE char *host = text_duplicate(reply_text(&reply, "host"));
    reply_free(&reply);
    act(server, "{'action':'migrate'}", "ACTIVE", "ACTIVE");
    reply = look("servers", server);
    assert_string_not_equal(reply_text(&reply, "host"), host);
    reply_free(&reply);
    act(server, "{'action':'migrate','live':false}", "ACTIVE", "VERIFY_RESIZE");
    act(server, "{'action':'confirm_resize'}", "ACTIVE", "ACTIVE");

    reply = ask(&world, BLUE, "POST", actions, WAIT, "{'action':'snapshot','name':'saved'}");
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply_text(&reply, "kind"), "image");
    assert_string_equal(reply_text(&reply, "name"), "saved");
    assert_string_equal(reply_text(&reply, "project"), "blue");
    assert_string_equal(reply_text(&reply, "status"), "ACTIVE");
    CLEANUP_FREE char *image = text_duplicate(reply_text(&reply, "id"));
    assert_string_equal(reply_header(&reply, "Location"), text("/v1/images/%s", image));
    reply_free(&reply);
    expect(&world, 422, BLUE, "POST", "/v1/images", NULL,
           "{'name':'x','server':'actor','disk_format':'raw'}");
    expect(&world, 422, BLUE, "POST", "/v1/images", NULL, "{'name':'x'}");
    expect_gone("images", image);
    expect_gone("servers", server);
}

static void refused_bodies(void **state)
{
    (void)state;
    expect(&world, 422, BLUE, "POST", "/v1/volumes", NULL, "{'name':'v'}");
    expect(&world, 422, BLUE, "POST", "/v1/affinity-groups", NULL,
           "{'name':'g','policy':'affinity','max_per_host':2}");
    expect(&world, 422, BLUE, "POST", "/v1/floating-ips", NULL,
           "{'network':'public','fixed_ip':'::1'}");
    expect(&world, 422, BLUE, "POST", "/v1/routers", NULL, "{'name':'r','interfaces':[{}]}");
    expect(&world, 422, BLUE, "POST", "/v1/routers", NULL, "{'name':'r','enable_snat':true}");
    /* What the far side has to say: an inner network is none to take floating IPs of. */
    char network[40];
    make(&world, BLUE, "networks", "{'name':'plain'}", network);
    expect(&world, 422, BLUE, "POST", "/v1/floating-ips", WAIT, "{'network':'plain'}");
    expect_gone("networks", network);
    expect(&world, 422, BLUE, "POST", "/v1/servers", WAIT,
           "{'name':'s','image':'cirros','flavor':'small','zone':'nowhere'}");
}

/* The member NAME of the list MEMBER in a reply: a borrowed object. */
static const json_t *named(const struct reply *reply, const char *member, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(reply->json, member), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0) {
            return one;
        }
    }
    fail_msg("no %s in %s", name, reply->body);
    return NULL;
}

static json_int_t number_of(const json_t *object, const char *member)
{
    assert_true(json_is_integer(json_object_get(object, member)));
    return json_integer_value(json_object_get(object, member));
}

/* What the VIM tells of itself is asked for and not stored; what is plugged into a server is a list. */
static void looks(void **state)
{
    (void)state;
    char network[40], subnet[40], server[40], volume[40];
    make(&world, BLUE, "networks", "{'name':'look'}", network);
    make(&world, BLUE, "subnets", "{'name':'l','network':'look','cidr':'10.6.0.0/24'}", subnet);
    make(&world, BLUE, "servers",
         "{'name':'seen','image':'cirros','flavor':'medium','networks':[{'network':'look'}]}",
         server);
    make(&world, BLUE, "volumes", "{'name':'seen','size':3}", volume);
    expect(&world, 200, BLUE, "POST", text("/v1/volumes/%s/actions", volume), WAIT,
           "{'action':'attach','server':'seen'}");

    struct reply reply = ask(&world, BLUE, "GET", "/v1/vims/edge1/capacity", NULL, NULL);
    assert_int_equal(reply.status, 200);
    const json_t *quota = named(&reply, "quotas", "vcpus");
    assert_int_equal(number_of(quota, "limit"), 6);
    assert_int_equal(number_of(quota, "used"), 2);
    assert_int_equal(number_of(named(&reply, "quotas", "storage"), "used"), 3);
    assert_int_equal(number_of(named(&reply, "quotas", "servers"), "used"), 1);
    assert_null(json_object_get(named(&reply, "quotas", "servers"), "limit"));
    reply_free(&reply);
    reply = ask(&world, BLUE, "GET", "/v1/vims/edge1/zones", NULL, NULL);
    assert_true(json_is_true(json_object_get(named(&reply, "zones", "az2"), "available")));
    reply_free(&reply);
    expect(&world, 403, BLUE, "GET", "/v1/vims/edge1/hosts", NULL, NULL);
    reply = look("servers", server);
    CLEANUP_FREE char *host = text_duplicate(reply_text(&reply, "host"));
    reply_free(&reply);
    reply = ask(&world, "ops/operator", "GET", "/v1/vims/edge1/hosts", NULL, NULL);
    assert_int_equal(number_of(named(&reply, "hosts", host), "servers"), 1);
    assert_int_equal(number_of(named(&reply, "hosts", host), "ram_used"), 2048);
    reply_free(&reply);
    expect(&world, 404, BLUE, "GET", "/v1/vims/nowhere/zones", NULL, NULL);

    await_text(text("/v1/volumes/%s", volume), "server", server);
    reply = ask(&world, BLUE, "GET", text("/v1/servers/%s/volumes", server), NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(reply.json, "volumes")), 1);
    reply_free(&reply);
    for (int i = 0; i < 1000; i++) { /* the inventory finds the port that was made on the way */
        reply = ask(&world, BLUE, "GET", text("/v1/ports?server=%s", server), NULL, NULL);
        size_t count = json_array_size(json_object_get(reply.json, "ports"));
        reply_free(&reply);
        if (count > 0) {
            break;
        }
        clock_sleep_ms(10);
    }
    reply =
        ask(&world, "infra/reader", "GET", text("/v1/servers/%s/interfaces", server), NULL, NULL);
    assert_int_equal(reply.status, 404); /* another project's */
    reply_free(&reply);
    reply = ask(&world, "ops/operator", "GET",
                text("/v1/servers/%s/interfaces?fields=id,server", server), NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(reply.json, "ports")), 1);
    reply_free(&reply);
    expect(&world, 400, BLUE, "GET", text("/v1/servers/%s/interfaces?colour=red", server), NULL,
           NULL);

    reply = ask(&world, BLUE, "GET", text("/v1/servers/%s/console", server), NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "type"), "novnc");
    assert_non_null(strstr(reply_text(&reply, "url"), "https://"));
    assert_string_equal(reply_header(&reply, "Cache-Control"), "no-store");
    reply_free(&reply);
    reply = ask(&world, BLUE, "GET", text("/v1/servers/%s/console?type=log", server), NULL, NULL);
    assert_non_null(strstr(reply_text(&reply, "output"), "login:"));
    reply_free(&reply);
    expect(&world, 400, BLUE, "GET", text("/v1/servers/%s/console?type=tty", server), NULL, NULL);
    expect(&world, 403, "blue/reader", "GET", text("/v1/servers/%s/console", server), NULL, NULL);
    expect_gone("servers", server);
    expect_gone("volumes", volume);
    expect_gone("networks", network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),    cmocka_unit_test(volumes),
        cmocka_unit_test(server_actions), cmocka_unit_test(refused_bodies),
        cmocka_unit_test(looks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
