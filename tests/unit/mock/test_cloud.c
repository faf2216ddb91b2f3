/* The cloud side: what it refuses, what it gives out, and that several processes share it. */
#include "backend.h"
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    char folder[128];
    char path[160];
    char counters[160];
    struct backend *backend;
};

static const struct backend_caller caller = {0};
static const struct backend_caller outside = {.outside = true};

static struct backend_config plain_config(void)
{
    struct backend_config config = {.seed = 1, .page_limit = 1000};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        config.quotas[kind] = -1;
    }
    return config;
}

static struct backend *open_cloud(const struct fixture *fixture,
                                  const struct backend_config *config)
{
    char error[320];
    struct backend *backend;
    if (backend_open(fixture->path, fixture->counters, "test", config, error, sizeof(error),
                     &backend) != 0) {
        fail_msg("%s", error);
    }
    return backend;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct backend_config config = plain_config();
    folder_make(fixture->folder);
    snprintf(fixture->path, sizeof(fixture->path), "%s/t.journal", fixture->folder);
    snprintf(fixture->counters, sizeof(fixture->counters), "%s/t.counters.json", fixture->folder);
    fixture->backend = open_cloud(fixture, &config);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    backend_close(fixture->backend);
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

/* Creates from JSON text with ' for ". Returns the status; RET_ID may be NULL. */
static int make(struct backend *backend, const char *kind, const char *text, char *ret_id)
{
    char json[2048];
    struct page page = {0};
    struct reply reply;
    snprintf(json, sizeof(json), "%s", text);
    for (char *at = json; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    json_t *spec = json_loads(json, 0, NULL);
    assert_non_null(spec);
    int status = backend_create(backend, &caller, kind, spec, NULL, &page, &reply);
    if (status < 300 && ret_id != NULL) {
        snprintf(ret_id, 256, "%s", page.views[0].id);
    }
    page_free(&page);
    json_decref(spec);
    return status;
}

static int makef(struct backend *backend, const char *kind, char *ret_id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int makef(struct backend *backend, const char *kind, char *ret_id, const char *format, ...)
{
    char text[2048];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    return make(backend, kind, text, ret_id);
}

static size_t count_of(struct backend *backend, const char *kind)
{
    struct backend_query query = {.kind = kind};
    struct reply reply;
    size_t count = 0;
    do {
        struct page page = {0};
        assert_int_equal(backend_list(backend, &outside, &query, &page, &reply), 200);
        count += page.count;
        query.marker = page.more;
        page_free(&page);
    } while (query.marker != 0);
    return count;
}

static void first_of(struct backend *backend, const char *kind, char ret_id[256])
{
    struct backend_query query = {.kind = kind, .limit = 1};
    struct reply reply;
    struct page page = {0};
    assert_int_equal(backend_list(backend, &outside, &query, &page, &reply), 200);
    snprintf(ret_id, 256, "%s", page.views[0].id);
    page_free(&page);
}

static int delete_code(struct backend *backend, const char *kind, const char *id, char code[16])
{
    struct reply reply;
    int status = backend_delete(backend, &caller, kind, id, &reply);
    snprintf(code, 16, "%s", reply.code);
    return status;
}

static void test_a_new_cloud_has_a_catalogue(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(count_of(fixture->backend, "flavor"), 3);
    assert_int_equal(count_of(fixture->backend, "image"), 2);
    assert_int_equal(count_of(fixture->backend, "network"), 1);
    assert_int_equal(count_of(fixture->backend, "subnet"), 1);
    assert_int_equal(count_of(fixture->backend, "server"), 0);
    char network[256];
    char subnet[256];
    first_of(fixture->backend, "network", network);
    first_of(fixture->backend, "subnet", subnet);
    assert_string_not_equal(network, subnet);
}

static void test_what_is_refused(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    char image[256];
    char flavor[256];
    char network[256];
    char subnet[256];
    char port[256];
    char server[256];
    char code[16];
    first_of(backend, "image", image);
    first_of(backend, "flavor", flavor);
    assert_int_equal(make(backend, "server", "{'name':'s'}", NULL), 400);
    assert_int_equal(
        makef(backend, "server", NULL, "{'name':'s','image':'%s','flavor':'x'}", image), 400);
    assert_int_equal(
        makef(backend, "server", NULL, "{'name':'s','image':'x','flavor':'%s'}", flavor), 400);
    assert_int_equal(makef(backend, "server", NULL,
                           "{'name':'s','image':'%s','flavor':'%s','colour':'red'}", image, flavor),
                     400);
    assert_int_equal(makef(backend, "server", NULL,
                           "{'name':'s','image':'%s','flavor':'%s','networks':[{'network':'x'}]}",
                           image, flavor),
                     400);
    assert_int_equal(make(backend, "flavor", "{'name':'small','vcpus':1,'ram':1}", NULL), 409);
    assert_int_equal(make(backend, "keypair", "{'name':'k','public_key':'a'}", NULL), 201);
    assert_int_equal(make(backend, "keypair", "{'name':'k','public_key':'a'}", NULL), 409);
    assert_int_equal(make(backend, "image", "{'name':'i','disk_format':'raw'}", image), 201);
    assert_int_equal(
        makef(backend, "server", NULL, "{'name':'s','image':'%s','flavor':'%s'}", image, flavor),
        400); /* no data yet */
    assert_int_equal(make(backend, "network", "{'name':'n'}", network), 201);
    assert_int_equal(
        makef(backend, "subnet", NULL, "{'name':'s','network':'%s','cidr':'10.0.0.1/24'}", network),
        400);
    assert_int_equal(makef(backend, "subnet", subnet,
                           "{'name':'s','network':'%s','cidr':'10.0.0.0/29'}", network),
                     201);
    assert_int_equal(makef(backend, "port", port, "{'name':'p','network':'%s'}", network), 201);
    assert_int_equal(delete_code(backend, "network", network, code), 409);
    assert_string_equal(code, "in_use");
    assert_int_equal(delete_code(backend, "subnet", subnet, code), 409);
    assert_string_equal(code, "in_use");
    first_of(backend, "image", image);
    assert_int_equal(makef(backend, "server", server,
                           "{'name':'s','image':'%s','flavor':'%s','networks':[{'port':'%s'}]}",
                           image, flavor, port),
                     202);
    assert_int_equal(makef(backend, "server", NULL,
                           "{'name':'s','image':'%s','flavor':'%s','networks':[{'port':'%s'}]}",
                           image, flavor, port),
                     409);
    assert_int_equal(delete_code(backend, "port", port, code), 409);
    assert_int_equal(delete_code(backend, "server", server, code), 204);
    assert_int_equal(count_of(backend, "port"), 1); /* was not the server's own: it stays */
    assert_int_equal(delete_code(backend, "port", port, code), 204);
    assert_int_equal(delete_code(backend, "network", network, code), 204);
    assert_int_equal(delete_code(backend, "subnet", subnet, code), 404); /* went with it */
}

/* A port on a network without a subnet has no address, so no address of the server names it. */
static void test_a_server_takes_ports_without_address_along(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    char image[256];
    char flavor[256];
    char network[256];
    char server[256];
    char code[16];
    first_of(backend, "image", image);
    first_of(backend, "flavor", flavor);
    assert_int_equal(make(backend, "network", "{'name':'n'}", network), 201);
    assert_int_equal(makef(backend, "server", server,
                           "{'name':'s','image':'%s','flavor':'%s','networks':[{'network':'%s'}]}",
                           image, flavor, network),
                     202);
    assert_int_equal(count_of(backend, "port"), 1);
    assert_int_equal(delete_code(backend, "server", server, code), 204);
    assert_int_equal(count_of(backend, "port"), 0);
    assert_int_equal(delete_code(backend, "network", network, code), 204);
}

static void test_addresses_run_out_and_come_back(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    char network[256];
    char subnet[256];
    char ports[5][256];
    char code[16];
    assert_int_equal(make(backend, "network", "{'name':'n'}", network), 201);
    assert_int_equal(makef(backend, "subnet", subnet,
                           "{'name':'s','network':'%s','cidr':'10.0.0.0/29'}", network),
                     201);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(makef(backend, "port", ports[i], "{'name':'p','network':'%s'}", network),
                         201);
    }
    assert_int_equal(makef(backend, "port", NULL, "{'name':'p','network':'%s'}", network), 409);
    assert_int_equal(delete_code(backend, "port", ports[2], code), 204);
    assert_int_equal(makef(backend, "port", NULL,
                           "{'name':'p','network':'%s','fixed_ips':[{'ip_address':'10.0.0.3'}]}",
                           network),
                     409);
    assert_int_equal(makef(backend, "port", ports[2],
                           "{'name':'p','network':'%s','fixed_ips':[{'ip_address':'10.0.0.4'}]}",
                           network),
                     201);
    assert_int_equal(makef(backend, "port", NULL,
                           "{'name':'p','network':'%s','fixed_ips':[{'ip_address':'10.0.1.4'}]}",
                           network),
                     400);
    assert_int_equal(makef(backend, "subnet", subnet,
                           "{'name':'6','network':'%s','cidr':'2001:db8::/64'}", network),
                     201);
    assert_int_equal(makef(backend, "port", NULL,
                           "{'name':'p','network':'%s','fixed_ips':[{'subnet':'%s'}]}", network,
                           subnet),
                     201);
}

static void test_quota(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    struct backend_config config = plain_config();
    struct reply reply;
    struct page page = {0};
    config.quotas[KIND_NETWORK] = 3; /* one is there */
    backend_configure(backend, &config);
    assert_int_equal(make(backend, "network", "{'name':'a'}", NULL), 201);
    assert_int_equal(make(backend, "network", "{'name':'b'}", NULL), 201);
    json_t *spec = json_pack("{s:s}", "name", "c");
    assert_int_equal(backend_create(backend, &caller, "network", spec, NULL, &page, &reply), 403);
    assert_string_equal(reply.code, "quota");
    assert_int_equal(backend_create(backend, &outside, "network", spec, NULL, &page, &reply), 201);
    page_free(&page);
    json_decref(spec);
}

static void test_the_cloud_makes_two_of_one_tag(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    struct reply reply;
    struct text text = {0};
    json_t *spec = json_pack("{s:s}", "name", "c");
    for (int i = 0; i < 2; i++) {
        struct page page = {0};
        assert_int_equal(backend_create(backend, &caller, "network", spec, "T", &page, &reply),
                         201);
        page_free(&page);
    }
    json_decref(spec);
    assert_int_equal(count_of(backend, "network"), 3);
    assert_int_equal(backend_orphans(backend, &text), 2);
    assert_non_null(strstr(text.bytes, "made more than once"));
    text_free(&text);
}

/* The text of the whole cloud. */
static char *dump(struct backend *backend)
{
    struct text text = {0};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct backend_query query = {.kind = kind_name((enum kind)kind)};
        struct reply reply;
        struct page page = {0};
        assert_int_equal(backend_list(backend, &outside, &query, &page, &reply), 200);
        for (size_t i = 0; i < page.count; i++) {
            text_addf(&text, "%s %s %s\n", page.views[i].id, page.views[i].status,
                      page.views[i].body);
        }
        page_free(&page);
    }
    return text.bytes;
}

static void test_compaction_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct backend_config config = plain_config();
    char network[256];
    char code[16];
    for (int i = 0; i < 600; i++) {
        char id[256];
        assert_int_equal(make(fixture->backend, "network", "{'name':'x'}", id), 201);
        if (i != 599) {
            assert_int_equal(delete_code(fixture->backend, "network", id, code), 204);
        } else {
            snprintf(network, sizeof(network), "%s", id);
        }
    }
    assert_int_equal(makef(fixture->backend, "subnet", NULL,
                           "{'name':'s','network':'%s','cidr':'10.0.0.0/24'}", network),
                     201);
    assert_int_equal(makef(fixture->backend, "port", NULL, "{'name':'p','network':'%s'}", network),
                     201);
    for (int i = 0; i < 200; i++) {
        struct page page = {0};
        struct reply reply;
        json_t *fields = json_pack("{s:i}", "mtu", 1000 + i);
        assert_int_equal(
            backend_update(fixture->backend, &caller, "network", network, fields, &page, &reply),
            200);
        json_decref(fields);
        page_free(&page);
    }
    char *before = dump(fixture->backend);
    struct backend *other = open_cloud(fixture, &config); /* compacts */
    char *after = dump(other);
    char *seen = dump(fixture->backend); /* follows the new file */
    assert_string_equal(before, after);
    assert_string_equal(before, seen);
    assert_int_equal(delete_code(other, "network", network, code), 409);
    backend_close(other);
    free(before);
    free(after);
    free(seen);
}

/* What a server's life looks like through `changes`. */
static void test_changes(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    struct backend_query query = {.kind = "network", .since = 1};
    struct reply reply;
    struct page page = {0};
    char id[256];
    char code[16];
    usleep(2000); /* what changed in the very millisecond of the cursor comes again */
    assert_int_equal(backend_list(backend, &caller, &query, &page, &reply), 200);
    query.since = page.time;
    page_free(&page);
    assert_int_equal(make(backend, "network", "{'name':'new'}", id), 201);
    assert_int_equal(backend_list(backend, &caller, &query, &page, &reply), 200);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.views[0].id, id);
    page_free(&page);
    assert_int_equal(delete_code(backend, "network", id, code), 204);
    assert_int_equal(backend_list(backend, &caller, &query, &page, &reply), 200);
    assert_int_equal(page.count, 1);
    assert_true(page.views[0].gone);
    page_free(&page);
}

enum { SHARED_PROCESSES = 3, SHARED_SERVERS = 60 };

static void test_processes_share_a_cloud(void **state)
{
    struct fixture *fixture = *state;
    struct backend_config config = plain_config();
    char image[256];
    char flavor[256];
    char network[256];
    pid_t children[SHARED_PROCESSES];
    first_of(fixture->backend, "image", image);
    first_of(fixture->backend, "flavor", flavor);
    assert_int_equal(make(fixture->backend, "network", "{'name':'n'}", network), 201);
    assert_int_equal(makef(fixture->backend, "subnet", NULL,
                           "{'name':'s','network':'%s','cidr':'10.0.0.0/22'}", network),
                     201);
    for (int i = 0; i < SHARED_PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct backend *own = open_cloud(fixture, &config);
            int failed = 0;
            for (int k = 0; k < SHARED_SERVERS; k++) {
                failed +=
                    makef(own, "server", NULL,
                          "{'name':'s','image':'%s','flavor':'%s','networks':[{'network':'%s'}]}",
                          image, flavor, network) != 202;
            }
            backend_close(own);
            _exit(failed > 0);
        }
    }
    for (int i = 0; i < SHARED_PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(count_of(fixture->backend, "server"), SHARED_PROCESSES * SHARED_SERVERS);
    json_t *addresses = json_object();
    struct backend_query query = {.kind = "port"};
    struct reply reply;
    struct page page = {0};
    assert_int_equal(backend_list(fixture->backend, &outside, &query, &page, &reply), 200);
    for (size_t i = 0; i < page.count; i++) {
        json_t *body = json_loads(page.views[i].body, 0, NULL);
        json_t *address = json_array_get(json_object_get(body, "fixed_ips"), 0);
        json_object_set_new(addresses, json_string_value(json_object_get(address, "ip_address")),
                            json_true());
        json_decref(body);
    }
    page_free(&page);
    assert_int_equal(json_object_size(addresses), SHARED_PROCESSES * SHARED_SERVERS);
    json_decref(addresses);
    json_error_t error;
    json_t *counters = json_load_file(fixture->counters, 0, &error);
    assert_non_null(counters);
    json_t *server = json_object_get(json_object_get(counters, "calls"), "server");
    assert_int_equal(json_integer_value(json_object_get(server, "create")),
                     SHARED_PROCESSES * SHARED_SERVERS);
    json_decref(counters);
}

/* A cloud that is used for long does not grow with what has happened to it. */
static int64_t left_once(void *context)
{
    return (*(int *)context)-- > 0 ? 1000 : 0;
}

/* The caller was stopped on its way, past its time: others may have done its work since. */
static void test_a_late_call_does_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct backend_config config = plain_config();
    int looks = 1;
    struct backend_caller late = {.left_ms = left_once, .context = &looks};
    struct page page = {0};
    struct reply reply;
    int before = (int)count_of(fixture->backend, "network");
    config.call_ms = 5;
    backend_configure(fixture->backend, &config);
    json_t *spec = json_pack("{s:s}", "name", "late");
    int status = backend_create(fixture->backend, &late, "network", spec, "T", &page, &reply);
    assert_int_equal(status, NO_ANSWER_TIMEOUT);
    looks = 100;
    assert_int_equal(count_of(fixture->backend, "network"), before);
    status = backend_create(fixture->backend, &late, "network", spec, "T", &page, &reply);
    assert_int_equal(status, 201);
    assert_int_equal(count_of(fixture->backend, "network"), before + 1);
    page_free(&page);
    json_decref(spec);
}

static void test_the_journal_stays_short(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    char id[256];
    char *before;
    char *after;
    assert_int_equal(make(fixture->backend, "network", "{'name':'n'}", id), 201);
    for (int i = 0; i < 60000; i++) {
        struct page page = {0};
        struct reply reply;
        json_t *fields = json_pack("{s:i}", "mtu", 1000 + i % 1000);
        assert_int_equal(
            backend_update(fixture->backend, &caller, "network", id, fields, &page, &reply), 200);
        json_decref(fields);
        page_free(&page);
    }
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_in_range(status.st_size, 1000, 12000 * 400);
    before = dump(fixture->backend);
    struct backend_config config = plain_config();
    struct backend *other = open_cloud(fixture, &config);
    after = dump(other);
    assert_string_equal(before, after);
    backend_close(other);
    free(before);
    free(after);
}

/* Whoever reads the journal later sees what those saw who wrote it. */
static void test_a_keypair_made_again_is_there_for_later_readers(void **state)
{
    struct fixture *fixture = *state;
    struct backend_config config = plain_config();
    struct reply reply;
    char id[256];
    const char *text = "{'name':'k','public_key':'ssh-ed25519 AAAA k'}";
    assert_int_equal(make(fixture->backend, "keypair", text, id), 201);
    assert_int_equal(backend_delete(fixture->backend, &caller, "keypair", id, &reply), 204);
    assert_int_equal(make(fixture->backend, "keypair", text, id), 201);
    struct backend *other = open_cloud(fixture, &config);
    assert_int_equal(count_of(other, "keypair"), 1);
    assert_int_equal(make(other, "keypair", text, NULL), 409);
    backend_close(other);
}

static void test_ten_thousand_servers(void **state)
{
    struct fixture *fixture = *state;
    struct backend_config config = plain_config();
    struct backend_query query = {.kind = "server"};
    struct reply reply;
    char image[256];
    char flavor[256];
    char network[256];
    unsigned pages = 0;
    size_t pending = 0;
    size_t total = 0;
    config.build_ms = 3600000;
    backend_configure(fixture->backend, &config);
    first_of(fixture->backend, "image", image);
    first_of(fixture->backend, "flavor", flavor);
    assert_int_equal(make(fixture->backend, "network", "{'name':'n'}", network), 201);
    assert_int_equal(makef(fixture->backend, "subnet", NULL,
                           "{'name':'s','network':'%s','cidr':'10.0.0.0/16'}", network),
                     201);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(
            makef(fixture->backend, "server", NULL,
                  "{'name':'s%d','image':'%s','flavor':'%s','networks':[{'network':'%s'}]}", i,
                  image, flavor, network),
            202);
    }
    do {
        struct page page = {0};
        assert_int_equal(backend_list(fixture->backend, &caller, &query, &page, &reply), 200);
        for (size_t i = 0; i < page.count; i++) {
            pending += page.views[i].pending;
        }
        total += page.count;
        pages++;
        query.marker = page.more;
        page_free(&page);
    } while (query.marker != 0);
    assert_int_equal(total, 10000);
    assert_int_equal(pending, 10000);
    assert_int_equal(pages, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_cloud_has_a_catalogue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_server_takes_ports_without_address_along, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_run_out_and_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quota, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_cloud_makes_two_of_one_tag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compaction_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_processes_share_a_cloud, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_call_does_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_journal_stays_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_keypair_made_again_is_there_for_later_readers,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ten_thousand_servers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
