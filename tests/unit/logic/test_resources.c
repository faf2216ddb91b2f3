/* Resources over a real engine: what the conventions promise. */
#include "world.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#define BLUE "blue/member"
#define RED "red/member"
#define READER "blue/reader"
#define OPERATOR "ops/operator"
#define ADMIN "ops/admin"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, true, "latency_mean: 10ms\ndelete_latency_mean: 10ms\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* Taken away right before the next commit of a task, or written anew, as the inventory may. Threads of the
 * engine commit as well, and look here. */
static _Atomic(const char *) vanishing_network, changing_network;

int __real_store_commit(struct store *store, const struct vim_write *writes, uint32_t count,
                        struct failure *failure);
int __wrap_store_commit(struct store *store, const struct vim_write *writes, uint32_t count,
                        struct failure *failure);

int __wrap_store_commit(struct store *store, const struct vim_write *writes, uint32_t count,
                        struct failure *failure)
{
    bool is_task = strcmp(writes[0].collection, COLLECTION_TASK) == 0;
    const char *vanishing = is_task ? atomic_exchange(&vanishing_network, NULL) : NULL;
    const char *changing = is_task ? atomic_exchange(&changing_network, NULL) : NULL;
    if (vanishing) {
        struct vim_write removal = {
            .collection = "network", .id = vanishing, .expect = VIM_EXPECT_ANY};
        assert_int_equal(__real_store_commit(store, &removal, 1, NULL), VIM_OK);
    }
    if (changing) {
        struct row row;
        assert_int_equal(store_get(store, "network", changing, &row, NULL), VIM_OK);
        struct vim_write change = {.collection = "network",
                                   .id = changing,
                                   .parent = row.parent,
                                   .body = row.body,
                                   .state = row.state,
                                   .expect = row.revision};
        assert_int_equal(__real_store_commit(store, &change, 1, NULL), VIM_OK);
        row_free(&row);
    }
    return __real_store_commit(store, writes, count, failure);
}

static char *path_of(const char *plural, const char *id)
{
    return text_format("/v1/%s/%s", plural, id);
}

/* Waits until the inventory has found what the mocks have of themselves. */
static void wait_for_inventory(void)
{
    while (!inventory_is_ready(world.inventory)) {
        clock_sleep_ms(10);
    }
}

static void life_of_a_network(void **state)
{
    (void)state;
    char id[40];
    make(&world, BLUE, "networks", "{'vim':'edge1','name':'n1','labels':{'app':'upf'}}", id);
    CLEANUP_FREE char *path = path_of("networks", id);
    struct reply got = ask(&world, READER, "GET", path, NULL, NULL);
    assert_int_equal(got.status, 200);
    assert_string_equal(reply_text(&got, "status"), "ACTIVE");
    assert_string_equal(reply_text(&got, "labels.app"), "upf");
    assert_string_equal(reply_text(&got, "project"), "blue");
    assert_non_null(reply_text(&got, "backend_id"));
    CLEANUP_FREE char *etag = text_duplicate(reply_header(&got, "ETag"));
    CLEANUP_FREE char *match = text_format("if-none-match: %s\n", etag);
    CLEANUP_FREE char *if_match = text_format("if-match: %s\n", etag);
    reply_free(&got);
    expect(&world, 304, READER, "GET", path, match, NULL);
    expect(&world, 200, READER, "HEAD", path, NULL, NULL);
    expect(&world, 404, RED, "GET", path, NULL, NULL);
    expect(&world, 404, RED, "DELETE", path, NULL, NULL);
    expect(&world, 200, OPERATOR, "GET", path, NULL, NULL);
    expect(&world, 403, OPERATOR, "DELETE", path, NULL, NULL);
    expect(&world, 403, READER, "DELETE", path, NULL, NULL);
    expect(&world, 401, NULL, "GET", path, NULL, NULL);

    /* Labels are vimd's own: at once, under a new tag. */
    struct reply patched =
        ask(&world, BLUE, "PATCH", path, if_match, "{'labels':{'app':null,'tier':'core'}}");
    assert_int_equal(patched.status, 200);
    assert_null(reply_text(&patched, "labels.app"));
    assert_string_equal(reply_text(&patched, "labels.tier"), "core");
    assert_string_not_equal(reply_header(&patched, "ETag"), etag);
    /* What changes nothing: not under a new tag. */
    static const char *const same[] = {"{}", "{'labels':{}}", "{'labels':{'tier':'core'}}",
                                       "{'labels':{'none':null}}"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct reply again = ask(&world, BLUE, "PATCH", path, NULL, same[i]);
        assert_int_equal(again.status, 200);
        assert_string_equal(reply_header(&again, "ETag"), reply_header(&patched, "ETag"));
        assert_string_equal(again.body, patched.body);
        reply_free(&again);
    }
    reply_free(&patched);
    patched = ask(&world, BLUE, "PATCH", path, NULL, "{'labels':null}");
    assert_int_equal(patched.status, 200);
    assert_null(json_object_get(patched.json, "labels"));
    reply_free(&patched);
    expect(&world, 200, BLUE, "PATCH", path, NULL, "{'labels':{'tier':'core'}}");
    expect(&world, 412, BLUE, "PATCH", path, if_match, "{'labels':{'a':'b'}}");
    expect(&world, 412, BLUE, "DELETE", path, if_match, NULL);
    expect(&world, 415, BLUE, "PATCH", path, "content-type: text/plain\n", "{}");
    expect(&world, 422, BLUE, "PATCH", path, NULL, "{'status':'ACTIVE','external':true}");

    patched = ask(&world, BLUE, "PATCH", path,
                  "prefer: wait=20\ncontent-type: application/merge-patch+json\n",
                  "{'name':'n2','description':'d'}");
    assert_int_equal(patched.status, 200);
    assert_string_equal(reply_text(&patched, "name"), "n2");
    assert_string_equal(reply_text(&patched, "labels.tier"), "core");
    assert_non_null(strstr(reply_header(&patched, "Preference-Applied"), "wait="));
    reply_free(&patched);

    CLEANUP_FREE char *fresh_path = text_format("%s?fresh=true", path);
    struct reply fresh = ask(&world, READER, "GET", fresh_path, NULL, NULL);
    assert_int_equal(fresh.status, 200);
    assert_string_equal(reply_text(&fresh, "name"), "n2");
    reply_free(&fresh);

    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    expect(&world, 404, BLUE, "GET", path, NULL, NULL);
}

static void asynchronous(void **state)
{
    (void)state;
    struct reply reply = ask(&world, BLUE, "POST", "/v1/networks", "prefer: respond-async\n",
                             "{'vim':'edge1','name':'later'}");
    assert_int_equal(reply.status, 202);
    CLEANUP_FREE char *task = text_duplicate(reply_header(&reply, "Location"));
    CLEANUP_FREE char *network = text_duplicate(reply_header(&reply, "Content-Location"));
    assert_string_equal(reply_header(&reply, "Preference-Applied"), "respond-async");
    assert_string_equal(reply_header(&reply, "Retry-After"), "1");
    assert_string_equal(reply_text(&reply, "kind"), "network.create");
    reply_free(&reply);
    expect(&world, 200, BLUE, "GET", network, NULL, NULL);
    CLEANUP_FREE char *wait = text_format("%s?wait=20", task);
    reply = ask(&world, BLUE, "GET", wait, NULL, NULL);
    assert_string_equal(reply_text(&reply, "state"), "succeeded");
    reply_free(&reply);
    expect(&world, 404, RED, "GET", task, NULL, NULL);
    expect(&world, 204, BLUE, "DELETE", network, "prefer: wait=20\n", NULL);
}

/* Has the body's problem an error at POINTER? */
static bool has_error(const struct reply *reply, const char *pointer)
{
    size_t i;
    json_t *error;
    json_array_foreach(json_object_get(reply->json, "errors"), i, error)
    {
        if (strcmp(json_string_value(json_object_get(error, "pointer")), pointer) == 0) {
            return true;
        }
    }
    return false;
}

static void refused_bodies(void **state)
{
    (void)state;
    struct reply reply = ask(&world, BLUE, "POST", "/v1/networks", NULL, "{'name':}");
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply_text(&reply, "code"), "malformed");
    assert_non_null(strstr(reply.body, "line 1, column"));
    assert_string_equal(reply_text(&reply, "instance"), "req-1");
    reply_free(&reply);

    reply = ask(&world, BLUE, "POST", "/v1/networks", NULL,
                "{'vim':'edge3','mtu':1,'labels':{'a b':'c'},'project':'red'}");
    assert_int_equal(reply.status, 422);
    assert_true(has_error(&reply, "/vim"));
    assert_true(has_error(&reply, "/mtu"));
    assert_true(has_error(&reply, "/name"));
    assert_true(has_error(&reply, "/project"));
    assert_true(has_error(&reply, "/labels/a b"));
    reply_free(&reply);

    reply = ask(&world, BLUE, "POST", "/v1/networks", NULL, "{'name':'a'}");
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "edge1 edge2"));
    reply_free(&reply);

    /* References are looked at even where other things are wrong, but not without end. */
    reply = ask(&world, BLUE, "POST", "/v1/subnets", NULL,
                "{'vim':'edge1','name':'','network':'nowhere','cidr':'10.0.0.0/24'}");
    assert_true(has_error(&reply, "/name"));
    assert_true(has_error(&reply, "/network"));
    reply_free(&reply);
    struct text many = {0};
    text_add(&many, "{'vim':'edge1','name':'p','network':'nowhere','security_groups':['g'");
    for (int i = 0; i < 5000; i++) {
        text_add(&many, ",'g'");
    }
    text_add(&many, "]}");
    reply = ask(&world, BLUE, "POST", "/v1/ports", NULL, text_get(&many));
    assert_int_equal(reply.status, 422);
    assert_true(has_error(&reply, "/security_groups"));
    reply_free(&reply);
    text_free(&many);

    char deep[256] = "{\"name\":";
    for (int i = 0; i < 40; i++) {
        strcat(deep, "[");
    }
    expect(&world, 400, BLUE, "POST", "/v1/networks", NULL, deep);
    expect(&world, 422, BLUE, "POST", "/v1/networks", NULL, "[]");
    expect(&world, 400, BLUE, "POST", "/v1/networks", NULL, "");
    expect(&world, 415, BLUE, "POST", "/v1/networks", "content-type: text/json\n", "{}");
    expect(&world, 403, READER, "POST", "/v1/networks", NULL, "{}");
    expect(&world, 405, BLUE, "PUT", "/v1/networks", NULL, NULL);
    expect(&world, 404, BLUE, "GET", "/v1/network-stones", NULL, NULL);
    expect(&world, 400, BLUE, "POST", "/v1/networks?dryrun=true", NULL, "{}");
    expect(&world, 400, BLUE, "POST", "/v1/networks?dryRun=yes", NULL, "{}");
    expect(&world, 400, BLUE, "GET", "/v1/networks/x?frehs=true", NULL, NULL);
}

static void references(void **state)
{
    (void)state;
    char network[40], other[40], subnet[40];
    make(&world, BLUE, "networks", "{'vim':'edge1','name':'ref'}", network);
    make(&world, BLUE, "networks", "{'vim':'edge2','name':'ref'}", other);
    /* The name is unique at its VIM. */
    struct reply reply = ask(&world, BLUE, "POST", "/v1/subnets?dryRun=true", NULL,
                             "{'vim':'edge1','name':'s','network':'ref','cidr':'10.1.0.0/24'}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "spec.network"), network);
    assert_true(json_is_true(json_object_get(reply.json, "valid")));
    reply_free(&reply);
    make(&world, BLUE, "subnets", "{'vim':'edge1','name':'s','network':'ref','cidr':'10.1.0.0/24'}",
         subnet);

    CLEANUP_FREE char *elsewhere =
        text_format("{'vim':'edge1','name':'s','network':'%s','cidr':'10.1.0.0/24'}", other);
    reply = ask(&world, BLUE, "POST", "/v1/subnets", NULL, elsewhere);
    assert_int_equal(reply.status, 422);
    assert_true(has_error(&reply, "/network"));
    assert_non_null(strstr(reply.body, "another VIM"));
    reply_free(&reply);
    /* Somebody else's is unknown, by id as by name. */
    CLEANUP_FREE char *foreign =
        text_format("{'vim':'edge1','name':'s','network':'%s','cidr':'10.1.0.0/24'}", network);
    expect(&world, 422, RED, "POST", "/v1/subnets", NULL, foreign);
    expect(&world, 422, RED, "POST", "/v1/subnets", NULL,
           "{'vim':'edge1','name':'s','network':'ref','cidr':'10.1.0.0/24'}");
    char twin[40];
    make(&world, BLUE, "networks", "{'vim':'edge1','name':'ref'}", twin);
    reply = ask(&world, BLUE, "POST", "/v1/subnets", NULL,
                "{'vim':'edge1','name':'s','network':'ref','cidr':'10.2.0.0/24'}");
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "several"));
    reply_free(&reply);

    const char *const made[][2] = {
        {"subnets", subnet}, {"networks", network}, {"networks", other}, {"networks", twin}};
    for (size_t i = 0; i < 4; i++) {
        CLEANUP_FREE char *path = path_of(made[i][0], made[i][1]);
        expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    }
}

static void servers(void **state)
{
    (void)state;
    char id[40];
    wait_for_inventory();
    make(&world, BLUE, "servers",
         "{'vim':'edge1','name':'vm','image':'cirros','flavor':'small','user_data':'aGVsbG8=',"
         "'metadata':{'a':'1','b':'2'}}",
         id);
    CLEANUP_FREE char *path = path_of("servers", id);
    CLEANUP_FREE char *actions = text_format("%s/actions", path);
    struct reply reply = ask(&world, BLUE, "GET", path, NULL, NULL);
    assert_string_equal(reply_text(&reply, "status"), "ACTIVE");
    assert_null(strstr(reply.body, "aGVsbG8="));
    reply_free(&reply);
    reply =
        ask(&world, BLUE, "PATCH", path, "prefer: wait=20\n", "{'metadata':{'a':null,'c':'3'}}");
    assert_int_equal(reply.status, 200);
    assert_null(reply_text(&reply, "metadata.a"));
    assert_string_equal(reply_text(&reply, "metadata.b"), "2");
    assert_string_equal(reply_text(&reply, "metadata.c"), "3");
    reply_free(&reply);

    expect(&world, 422, BLUE, "POST", actions, NULL, "{'action':'explode'}");
    expect(&world, 422, BLUE, "POST", actions, NULL, "{'action':'stop','type':'hard'}");
    expect(&world, 422, BLUE, "POST", actions, NULL, "{}");
    reply = ask(&world, BLUE, "POST", actions, "prefer: wait=20\n", "{'action':'stop'}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "status"), "SHUTOFF");
    reply_free(&reply);
    expect(&world, 200, BLUE, "POST", actions, "prefer: wait=20\n", "{'action':'start'}");
    expect(&world, 200, BLUE, "POST", actions, "prefer: wait=20\n",
           "{'action':'reboot','type':'hard'}");
    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    expect(&world, 404, BLUE, "POST", "/v1/networks/x/actions", NULL, "{}");
}

/* What goes between the look at it and the commit is not there; no conflict to be tried again. */
static void gone_meanwhile(void **state)
{
    (void)state;
    char id[40];
    make(&world, BLUE, "networks", "{'vim':'edge1','name':'brief'}", id);
    CLEANUP_FREE char *path = path_of("networks", id);
    vanishing_network = id;
    struct reply reply = ask(&world, BLUE, "DELETE", path, NULL, NULL);
    assert_null(atomic_load(&vanishing_network));
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply_text(&reply, "code"), "not-found");
    reply_free(&reply);
}

/* What somebody else changes in between stands in nobody's way, but for those who named a state of it. */
static void changed_meanwhile(void **state)
{
    (void)state;
    char id[40];
    make(&world, BLUE, "networks", "{'vim':'edge1','name':'moving'}", id);
    CLEANUP_FREE char *path = path_of("networks", id);
    struct reply reply = ask(&world, BLUE, "GET", path, NULL, NULL);
    CLEANUP_FREE char *match = text_format("if-match: %s\n", reply_header(&reply, "ETag"));
    reply_free(&reply);
    changing_network = id;
    expect(&world, 412, BLUE, "DELETE", path, match, NULL);
    assert_null(atomic_load(&changing_network));
    changing_network = id;
    expect(&world, 200, BLUE, "PATCH", path, "prefer: wait=20\n", "{'description':'new'}");
    assert_null(atomic_load(&changing_network));
    changing_network = id;
    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    assert_null(atomic_load(&changing_network));
}

/* What the driver cannot do is told before anything is stored. */
static void unsupported(void **state)
{
    (void)state;
    char id[40];
    make(&world, BLUE, "flavors", "{'vim':'edge1','name':'tiny','vcpus':1,'ram':64}", id);
    CLEANUP_FREE char *path = path_of("flavors", id);
    struct reply reply = ask(&world, BLUE, "PATCH", path, NULL, "{'name':'other'}");
    assert_int_equal(reply.status, 501);
    assert_string_equal(reply_text(&reply, "code"), "not-supported");
    assert_string_equal(reply_text(&reply, "capabilities"), "/v1/vims/edge1/capabilities");
    reply_free(&reply);
    expect(&world, 200, BLUE, "PATCH", path, NULL, "{'labels':{'size':'s'}}");
    /* A name that is taken is the VIM's to refuse; the task's end is the answer. */
    reply = ask(&world, BLUE, "POST", "/v1/flavors", "prefer: wait=20\n",
                "{'vim':'edge1','name':'tiny','vcpus':1,'ram':64}");
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply_text(&reply, "code"), "conflict");
    assert_non_null(reply_text(&reply, "task"));
    assert_string_equal(reply_text(&reply, "vim"), "edge1");
    reply_free(&reply);
    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
}

static void for_another_project(void **state)
{
    (void)state;
    char id[40];
    make(&world, ADMIN, "networks", "{'vim':'edge1','name':'gift','project':'blue'}", id);
    CLEANUP_FREE char *path = path_of("networks", id);
    expect(&world, 200, READER, "GET", path, NULL, NULL);
    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
    expect(&world, 422, OPERATOR, "POST", "/v1/networks", NULL,
           "{'vim':'edge1','name':'gift','project':'blue'}");
}

static void upload(void **state)
{
    (void)state;
    char id[40];
    make(&world, BLUE, "images", "{'vim':'edge1','name':'img','disk_format':'raw'}", id);
    CLEANUP_FREE char *path = path_of("images", id);
    CLEANUP_FREE char *data = text_format("%s/data", path);
    CLEANUP_FREE char *file = text_format("%s/upload", world.folder);
    for (int i = 0; i < 2; i++) {
        int fd = open(file, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        assert_int_equal(write(fd, "hello", 5), 5);
        close(fd);
        struct reply wrong = ask_upload(&world, BLUE, data, "content-type: text/plain\n", file);
        assert_int_equal(wrong.status, 415);
        reply_free(&wrong);
        /* The second time it is the same request: nothing is uploaded twice. */
        struct reply reply = ask_upload(&world, BLUE, data,
                                        "content-type: application/octet-stream\n"
                                        "idempotency-key: u1\nprefer: wait=20\n",
                                        file);
        if (reply.status != 200) {
            fail_msg("%s", reply.body);
        }
        assert_string_equal(reply_text(&reply, "status"), "ACTIVE");
        assert_string_equal(reply_text(&reply, "checksum"), "5d41402abc4b2a76b9719d911017c592");
        assert_int_equal(i == 1, reply_header(&reply, "Idempotent-Replayed") != NULL);
        reply_free(&reply);
        /* Right after the commit that the answer has waited for. */
        for (int waited = 0; access(file, F_OK) == 0 && waited < 20000; waited += 5) {
            clock_sleep_ms(5);
        }
        assert_int_equal(access(file, F_OK), -1);
    }
    expect(&world, 405, BLUE, "GET", data, NULL, NULL);
    expect(&world, 204, BLUE, "DELETE", path, "prefer: wait=20\n", NULL);
}

static void idempotency(void **state)
{
    (void)state;
    char ids[3][40];
    for (int i = 0; i < 2; i++) {
        struct reply reply =
            ask(&world, BLUE, "POST", "/v1/networks", "idempotency-key: k1\nprefer: wait=20\n",
                "{'vim':'edge1','name':'once'}");
        assert_int_equal(reply.status, 201);
        snprintf(ids[i], sizeof(ids[i]), "%s", reply_text(&reply, "id"));
        assert_int_equal(i == 1, reply_header(&reply, "Idempotent-Replayed") != NULL);
        reply_free(&reply);
    }
    assert_string_equal(ids[0], ids[1]);
    struct reply reply = ask(&world, BLUE, "POST", "/v1/networks", "idempotency-key: k1\n",
                             "{'vim':'edge1','name':'once'}");
    assert_int_equal(reply.status, 202);
    assert_string_equal(reply_text(&reply, "state"), "succeeded");
    reply_free(&reply);
    expect(&world, 422, BLUE, "POST", "/v1/networks", "idempotency-key: k1\n",
           "{'vim':'edge1','name':'other'}");
    expect(&world, 400, BLUE, "POST", "/v1/networks", "idempotency-key: a\tb\n",
           "{'vim':'edge1','name':'other'}");
    /* Another project's key is another key. */
    reply = ask(&world, RED, "POST", "/v1/networks", "idempotency-key: k1\nprefer: wait=20\n",
                "{'vim':'edge1','name':'once'}");
    assert_int_equal(reply.status, 201);
    snprintf(ids[2], sizeof(ids[2]), "%s", reply_text(&reply, "id"));
    assert_string_not_equal(ids[0], ids[2]);
    reply_free(&reply);
    CLEANUP_FREE char *first = path_of("networks", ids[0]);
    CLEANUP_FREE char *second = path_of("networks", ids[2]);
    for (int i = 0; i < 2; i++) {
        expect(&world, 204, BLUE, "DELETE", first, "idempotency-key: k2\nprefer: wait=20\n", NULL);
    }
    expect(&world, 422, BLUE, "DELETE", second, "idempotency-key: k2\n", NULL);
    expect(&world, 204, RED, "DELETE", second, "prefer: wait=20\n", NULL);
}

static void vims(void **state)
{
    (void)state;
    struct reply reply = ask(&world, READER, "GET", "/v1/vims", NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_text(&reply, "vims.0.id"), "edge1");
    assert_string_equal(reply_text(&reply, "vims.1.plugin"), "mock");
    reply_free(&reply);
    reply = ask(&world, READER, "GET", "/v1/vims?limit=1&sort=-id", NULL, NULL);
    assert_string_equal(reply_text(&reply, "vims.0.id"), "edge2");
    CLEANUP_FREE char *next =
        text_format("/v1/vims?limit=1&sort=-id&page_token=%s", reply_text(&reply, "next"));
    reply_free(&reply);
    reply = ask(&world, READER, "GET", next, NULL, NULL);
    assert_string_equal(reply_text(&reply, "vims.0.id"), "edge1");
    assert_null(reply_text(&reply, "next"));
    reply_free(&reply);
    expect(&world, 200, READER, "GET", "/v1/vims/edge1?fields=id,health", NULL, NULL);
    expect(&world, 404, READER, "GET", "/v1/vims/edge9", NULL, NULL);
    expect(&world, 403, BLUE, "POST", "/v1/vims/edge1/check", NULL, NULL);
    reply = ask(&world, OPERATOR, "POST", "/v1/vims/edge1/check", NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_true(json_is_true(json_object_get(reply.json, "ok")));
    reply_free(&reply);
    reply = ask(&world, READER, "GET", "/v1/vims/edge1/capabilities", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(reply.json, "kinds")), 17);
    reply_free(&reply);
}

static void meta(void **state)
{
    (void)state;
    expect(&world, 200, NULL, "GET", "/healthz", NULL, NULL);
    expect(&world, 200, NULL, "GET", "/readyz", NULL, NULL);
    expect(&world, 200, NULL, "GET", "/openapi.json", NULL, NULL);
    expect(&world, 401, NULL, "GET", "/metrics", NULL, NULL);
    expect(&world, 200, READER, "GET", "/metrics", NULL, NULL);
    expect(&world, 200, READER, "GET", "/v1/version", NULL, NULL);
    expect(&world, 200, READER, "GET", "/v1/plugins", NULL, NULL);
    expect(&world, 204, READER, "OPTIONS", "/v1/servers", NULL, NULL);
    expect(&world, 404, READER, "OPTIONS", "/v1/stones", NULL, NULL);
    struct reply reply = ask(&world, READER, "GET", "/v1/whoami", NULL, NULL);
    assert_string_equal(reply_text(&reply, "role"), "reader");
    assert_string_equal(reply_text(&reply, "project"), "blue");
    reply_free(&reply);
    reply = ask(&world, READER, "PUT", "/v1/servers", NULL, NULL);
    assert_string_equal(reply_header(&reply, "Allow"), "GET, HEAD, POST, OPTIONS");
    reply_free(&reply);
    struct text longest = {0};
    text_add(&longest, "/v1/servers?name=");
    while (longest.length < 9000) {
        text_add_char(&longest, 'x');
    }
    expect(&world, 414, READER, "GET", text_get(&longest), NULL, NULL);
    text_free(&longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meta),
        cmocka_unit_test(vims),
        cmocka_unit_test(life_of_a_network),
        cmocka_unit_test(asynchronous),
        cmocka_unit_test(refused_bodies),
        cmocka_unit_test(references),
        cmocka_unit_test(servers),
        cmocka_unit_test(gone_meanwhile),
        cmocka_unit_test(changed_meanwhile),
        cmocka_unit_test(unsupported),
        cmocka_unit_test(for_another_project),
        cmocka_unit_test(upload),
        cmocka_unit_test(idempotency),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
