/* Reading of answers: shapes, errors, marks. No network, no libcurl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "catalog.h"
#include "resource.h"

#define ID "0d9c3a50-1111-4222-8333-944455556666"

/* --- Marks ----------------------------------------------------------------------------------- */

static void mark_comes_back(void **state)
{
    static const char *const descriptions[] = {"", "x", "ends in ]", "[vimd:nothing]",
                                               "two [vimd:" ID "] marks"};
    char tag[OS_TAG_SIZE];

    (void)state;
    for (size_t at = 0; at < sizeof(descriptions) / sizeof(descriptions[0]); at++) {
        OS_TEXT marked = os_tag_write(descriptions[at], ID);
        int length = os_tag_read(marked, tag);
        assert_string_equal(tag, ID);
        assert_int_equal(length, strlen(descriptions[at]));
        assert_memory_equal(marked, descriptions[at], length);
        length = os_tag_read(descriptions[at], tag);
        assert_int_equal(length, strlen(descriptions[at]));
        assert_string_equal(tag, "");
    }
    assert_int_equal(os_tag_read(NULL, tag), 0);
    assert_int_equal(os_tag_read("[vimd:0D9C3A50-1111-4222-8333-944455556666]", tag), 43);
    assert_string_equal(tag, "");
}

/* --- Errors ---------------------------------------------------------------------------------- */

static const struct {
    enum os_service service;
    long status;
    int write;
    int retry;
    const char *body;
    int code;
    const char *says;
} refusals[] = {
    {OS_COMPUTE, 403, 1, 0,
     "{\"forbidden\":{\"code\":403,\"message\":\"Quota exceeded for cores\"}}", VIM_E_QUOTA,
     "Quota exceeded for cores"},
    {OS_COMPUTE, 403, 1, 0, "{\"forbidden\":{\"code\":403,\"message\":\"Policy doesn't allow\"}}",
     VIM_E_DENIED, "Policy"},
    {OS_COMPUTE, 413, 1, 1, "{\"overLimit\":{\"code\":413,\"message\":\"Quota exceeded\"}}",
     VIM_E_QUOTA, "Quota"},
    {OS_COMPUTE, 413, 1, 1, "{\"overLimit\":{\"code\":413,\"message\":\"Slow down\"}}", VIM_E_BUSY,
     "Slow"},
    {OS_COMPUTE, 413, 1, 0, "<html><body>too large</body></html>", VIM_E_INVALID, "too large"},
    {OS_NETWORK, 409, 1, 0, "{\"NeutronError\":{\"type\":\"OverQuota\",\"message\":\"no\"}}",
     VIM_E_QUOTA, "no"},
    {OS_NETWORK, 409, 1, 0, "{\"NeutronError\":{\"type\":\"NetworkInUse\",\"message\":\"ports\"}}",
     VIM_E_IN_USE, "ports"},
    {OS_NETWORK, 409, 1, 0,
     "{\"NeutronError\":{\"type\":\"SecurityGroupInUse\",\"message\":\"p\"}}", VIM_E_IN_USE, "p"},
    {OS_NETWORK, 409, 1, 0,
     "{\"NeutronError\":{\"type\":\"IpAddressAlreadyAllocated\","
     "\"message\":\"taken\"}}",
     VIM_E_CONFLICT, "taken"},
    {OS_NETWORK, 409, 1, 0,
     "{\"NeutronError\":{\"type\":\"IpAddressGenerationFailure\","
     "\"message\":\"No more IP addresses\"}}",
     VIM_E_QUOTA, "No more"},
    {OS_NETWORK, 404, 0, 0, "{\"NeutronError\":{\"type\":\"PortNotFound\",\"message\":\"x\"}}",
     VIM_E_NOT_FOUND, "x"},
    {OS_NETWORK, 404, 0, 0, "{\"itemNotFound\":{\"message\":\"x\"}}", VIM_E_UNAVAILABLE, "x"},
    {OS_NETWORK, 404, 0, 0, "{\"NeutronError\":{\"type\":\"HTTPNotFound\",\"message\":\"x\"}}",
     VIM_E_UNAVAILABLE, "x"},
    {OS_NETWORK, 412, 1, 0,
     "{\"NeutronError\":{\"type\":\"RevisionNumberConstraintFailed\","
     "\"message\":\"r\"}}",
     VIM_E_CONFLICT, "r"},
    {OS_COMPUTE, 404, 0, 0, "{\"itemNotFound\":{\"code\":404,\"message\":\"gone\"}}",
     VIM_E_NOT_FOUND, "gone"},
    {OS_COMPUTE, 404, 0, 0, "<html><head><title>404</title></head><body><h1>404</h1></body></html>",
     VIM_E_UNAVAILABLE, "404"},
    {OS_IMAGE, 404, 0, 0, "<html><body><h1>404 Not Found</h1>No image found with ID x<br />",
     VIM_E_NOT_FOUND, "No image found with ID x"},
    {OS_IMAGE, 404, 0, 0,
     "{\"message\":\"No image found with ID x<br /><br />\\n\\n\",\"code\":"
     "\"404 Not Found\",\"title\":\"Not Found\"}",
     VIM_E_NOT_FOUND, "No image found with ID x"},
    {OS_IMAGE, 404, 0, 0,
     "{\"message\":\"The resource could not be found.<br />\",\"code\":"
     "\"404 Not Found\",\"title\":\"Not Found\"}",
     VIM_E_UNAVAILABLE, "could not be found."},
    {OS_IMAGE, 404, 0, 0, "<html><body>default backend - 404</body></html>", VIM_E_UNAVAILABLE,
     "default backend"},
    {OS_IMAGE, 409, 1, 0, "<html><body>Image x could not be deleted because it is in use: y</body>",
     VIM_E_IN_USE, "in use"},
    {OS_IMAGE, 403, 1, 0, "<html><body>Image x is protected</body>", VIM_E_DENIED, "protected"},
    {OS_IDENTITY, 401, 0, 0, "{\"error\":{\"code\":401,\"message\":\"m\",\"title\":\"t\"}}",
     VIM_E_CREDENTIAL, "m"},
    {OS_COMPUTE, 429, 1, 1, "", VIM_E_BUSY, ""},
    {OS_COMPUTE, 500, 1, 0,
     "{\"computeFault\":{\"code\":500,\"message\":\"Unexpected API Error\"}}", VIM_E_LOST,
     "Unexpected"},
    {OS_COMPUTE, 500, 0, 0, "", VIM_E_UNAVAILABLE, ""},
    {OS_COMPUTE, 502, 1, 0, "<html>", VIM_E_LOST, ""},
    {OS_COMPUTE, 502, 0, 0, "<html>", VIM_E_UNAVAILABLE, ""},
    {OS_COMPUTE, 503, 1, 1, "", VIM_E_UNAVAILABLE, ""},
    {OS_COMPUTE, 400, 1, 0, "{\"badRequest\":{\"code\":400,\"message\":\"a\\nb\\u0000c\"}}",
     VIM_E_INVALID, ""},
    {OS_COMPUTE, 400, 1, 0, "{\"badRequest\":{\"code\":400,\"message\":\"a\\n\\tb\"}}",
     VIM_E_INVALID, "a b"},
    {OS_COMPUTE, 400, 1, 0, "{\"errors\":[{\"title\":\"T\",\"detail\":\"placement says\"}]}",
     VIM_E_INVALID, "placement says"},
    {OS_COMPUTE, 406, 0, 0, "{\"computeFault\":{\"code\":406,\"message\":\"version\"}}",
     VIM_E_UNSUPPORTED, "version"},
    {OS_COMPUTE, 400, 1, 0, "[1,2]", VIM_E_INVALID, ""},
    {OS_COMPUTE, 302, 1, 0, "", VIM_E_INVALID, ""},
};

static void refusals_are_understood(void **state)
{
    (void)state;
    for (size_t at = 0; at < sizeof(refusals) / sizeof(refusals[0]); at++) {
        struct os_refusal refusal = {.service = refusals[at].service,
                                     .write = refusals[at].write,
                                     .status = refusals[at].status,
                                     .has_retry_after = refusals[at].retry,
                                     .retry_after_ms = 2000,
                                     .body = refusals[at].body,
                                     .length = strlen(refusals[at].body)};
        struct os_error error;
        os_error_read(&error, &refusal);
        if (error.code != refusals[at].code) {
            print_error("%ld %s: %d\n", refusal.status, refusal.body, error.code);
        }
        assert_int_equal(error.code, refusals[at].code);
        assert_non_null(strstr(error.message, refusals[at].says));
        assert_int_equal(error.retry_after_ms, refusals[at].retry ? 2000 : 0);
    }
}

static void long_message_is_cut_between_characters(void **state)
{
    char body[2048] = "{\"badRequest\":{\"message\":\"x";
    struct os_refusal refusal = {.service = OS_COMPUTE, .status = 400, .body = body};
    struct os_error error;
    OS_JSON valid = NULL;

    (void)state;
    for (int at = 0; at < 400; at++) {
        strcat(body, "\xc3\xa4");
    }
    strcat(body, "\"}}");
    refusal.length = strlen(body);
    os_error_read(&error, &refusal);
    assert_true(strlen(error.message) > 500);
    valid = json_string(error.message); /* NULL unless it is UTF-8 */
    assert_non_null(valid);
}

/* --- Resources ------------------------------------------------------------------------------- */

static int read_one(const char *kind, const char *text, struct os_found *found)
{
    return os_read_one(os_kind_find(kind), text, strlen(text), found);
}

static void server_states(void **state)
{
    static const struct {
        const char *status;
        const char *task;
        const char *normal;
        uint32_t flags;
    } cases[] = {
        {"BUILD", "\"spawning\"", "BUILD", VIM_ITEM_PENDING},
        {"BUILD", "null", "BUILD", VIM_ITEM_PENDING},
        {"ACTIVE", "null", "ACTIVE", 0},
        {"ACTIVE", "\"powering-off\"", "UPDATING", VIM_ITEM_PENDING},
        {"ACTIVE", "\"deleting\"", "DELETING", VIM_ITEM_PENDING},
        {"ERROR", "\"deleting\"", "DELETING", VIM_ITEM_PENDING},
        {"ERROR", "\"spawning\"", "ERROR", 0},
        {"SHUTOFF", "null", "SHUTOFF", 0},
        {"REBOOT", "\"rebooting\"", "UPDATING", VIM_ITEM_PENDING},
        {"VERIFY_RESIZE", "null", "ACTIVE", 0},
        {"DELETED", "null", "UNKNOWN", VIM_ITEM_GONE},
        {"NEW_WORD", "null", "UNKNOWN", 0},
    };

    (void)state;
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        OS_FOUND found = {0};
        OS_TEXT text = os_text("{\"server\":{\"id\":\"i\",\"status\":\"%s\","
                               "\"OS-EXT-STS:task_state\":%s,\"metadata\":{\"" OS_TAG_KEY "\":\"" ID
                               "\",\"k\":\"v\"}}}",
                               cases[at].status, cases[at].task);
        assert_int_equal(read_one("server", text, &found), VIM_OK);
        assert_string_equal(found.status, cases[at].normal);
        assert_int_equal(found.flags, cases[at].flags);
        assert_string_equal(found.tag, ID);
        assert_int_equal(json_object_size(json_object_get(found.body, "metadata")), 1);
    }
}

static void times_become_rfc3339(void **state)
{
    OS_FOUND found = {0};

    (void)state;
    assert_int_equal(read_one("keypair",
                              "{\"keypair\":{\"name\":\"k\",\"created_at\":"
                              "\"2026-11-23T02:21:37.000000\"}}",
                              &found),
                     VIM_OK);
    assert_string_equal(os_json_text(found.body, "created"), "2026-11-23T02:21:37Z");
    assert_int_equal(os_time_parse("2026-11-23T02:21:37.123Z"), 1795400497000);
    assert_int_equal(os_time_parse("1970-13-01T00:00:00Z"), 0);
    assert_int_equal(os_time_parse("yesterday"), 0);
    assert_int_equal(os_time_parse("2026-11-23T02:21:37+02:00"), 0);
}

static int count(void *context, struct os_found *found)
{
    (void)found;
    ++*(int *)context;
    return VIM_OK;
}

static int read_page(const char *kind, const char *text, int *ret_count, char **ret_next)
{
    *ret_count = 0;
    *ret_next = NULL;
    return os_read_page(os_kind_find(kind), text, strlen(text), count, ret_count, ret_next);
}

static void pages_lead_on(void **state)
{
    char *next;
    int found;

    (void)state;
    assert_int_equal(
        read_page("network",
                  "{\"networks\":[{\"id\":\"a\"}],\"networks_links\":["
                  "{\"rel\":\"previous\",\"href\":\"http://x/?p\"},{\"rel\":\"next\","
                  "\"href\":\"http://evil.example/v2.0/networks?limit=1&marker=a#f\"}]}",
                  &found, &next),
        VIM_OK);
    assert_int_equal(found, 1);
    assert_string_equal(next, "limit=1&marker=a");
    free(next);
    assert_int_equal(
        read_page("image", "{\"images\":[],\"next\":\"/v2/images?marker=b\"}", &found, &next),
        VIM_OK);
    assert_string_equal(next, "marker=b");
    free(next);
    assert_int_equal(read_page("server", "{\"servers\":[],\"servers_links\":[]}", &found, &next),
                     VIM_OK);
    assert_null(next);
    /* A list that goes on somewhere is not complete. */
    assert_int_equal(read_page("image", "{\"images\":[],\"next\":\"/v2/images\"}", &found, &next),
                     VIM_E_INTERNAL);
    assert_int_equal(read_page("image", "{\"images\":[],\"next\":\"/x?a b\"}", &found, &next),
                     VIM_E_INTERNAL);
    assert_int_equal(read_page("network", "{\"networks\":[],\"truncated\":true}", &found, &next),
                     VIM_E_INTERNAL);
}

static void nonsense_is_refused(void **state)
{
    static const char *const bodies[] = {"",
                                         "null",
                                         "[]",
                                         "{}",
                                         "{\"servers\":null}",
                                         "{\"servers\":{}}",
                                         "{\"servers\":[1]}",
                                         "{\"servers\":[{}]}",
                                         "{\"servers\":[{\"id\":7,\"status\":\"ACTIVE\"}]}",
                                         "{\"servers\":[{\"id\":\"\",\"status\":\"ACTIVE\"}]}",
                                         "{\"servers\":[{\"id\":\"x\"}]}",
                                         "{\"servers\":[{\"id\":\"x\",\"status\":\"ACTIVE\"}",
                                         "<html></html>",
                                         "{\"servers\":[],\"servers\":[]}"};
    char deep[4096];
    char *next;
    int found;

    (void)state;
    for (size_t at = 0; at < sizeof(bodies) / sizeof(bodies[0]); at++) {
        assert_int_equal(read_page("server", bodies[at], &found, &next), VIM_E_INTERNAL);
        assert_null(next);
    }
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_null(os_json_parse(deep, strlen(deep)));
    assert_int_equal(read_page("server", deep, &found, &next), VIM_E_INTERNAL);
    for (unsigned at = 0; at < os_kind_count; at++) {
        OS_FOUND one = {0};
        assert_int_equal(read_one(os_kinds[at].name, "{\"server\":[],\"port\":3}", &one),
                         VIM_E_INTERNAL);
    }
}

/* What one tenant writes into one field leaves the rest of a list readable. */
static void one_bad_value_spoils_no_list(void **state)
{
    static const struct {
        const char *value;
        const char *shown; /* as the description, or NULL if it is none */
    } cases[] = {
        {"99999999999999999999999", NULL},
        {"-1e999", NULL},
        {"[1e5, 9223372036854775808, {\"x\": -9223372036854775809}]", NULL},
        {"\"a\\u0000b\"", "a\xef\xbf\xbd"
                          "b"},
        {"\"\\ud800\"", "\xef\xbf\xbd"},
        {"\"\\udc00x\\ud83d\\ude00\"", "\xef\xbf\xbdx\xf0\x9f\x98\x80"},
        {"\"\\\\u0000 \\\" 1e999 \\ud800\"", "\\u0000 \" 1e999 \xef\xbf\xbd"},
    };

    (void)state;
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        OS_TEXT text = os_text("{\"network\":{\"id\":\"n\",\"status\":\"ACTIVE\",\"mtu\":1500,"
                               "\"description\":%s}}",
                               cases[at].value);
        OS_FOUND found = {0};
        const char *shown;
        assert_int_equal(os_read_one(os_kind_find("network"), text, strlen(text), &found), VIM_OK);
        assert_int_equal(os_json_integer(found.body, "mtu", 0), 1500);
        shown = os_json_text(found.body, "description");
        assert_true(cases[at].shown == NULL ? shown == NULL : strcmp(shown, cases[at].shown) == 0);
    }
    for (size_t length = 0; length < 40; length++) {
        /* Cut off anywhere: no JSON, and nothing read behind its end. */
        static const char cut[] = "{\"a\":[\"\\ud83d\\ude00\\u0000\", 1e999, -";
        char *exact = malloc(length + 1);
        memcpy(exact, cut, length < sizeof(cut) ? length : sizeof(cut));
        assert_null(os_json_parse(exact, length < sizeof(cut) ? length : sizeof(cut) - 1));
        free(exact);
    }
}

static void ports_are_joined(void **state)
{
    static const char ports[] =
        "{\"ports\":[{\"id\":\"p\",\"device_id\":\"i\",\"network_id\":\"n\",\"mac_address\":\"m\","
        "\"fixed_ips\":[{\"ip_address\":\"10.0.0.1\"},{\"ip_address\":\"fd00::1\"},{}],"
        "\"security_groups\":[\"g\",\"h\"]},{\"id\":\"q\",\"device_id\":\"i\",\"security_groups\":"
        "[\"g\",5]},{\"id\":\"r\",\"device_id\":\"\"},7],\"ports_links\":[{\"rel\":\"next\","
        "\"href\":\"http://x?marker=r\"}]}";
    OS_JSON index = json_object();
    OS_FOUND server = {.id = "i", .body = json_object()};
    OS_TEXT dumped = NULL;
    char *next = NULL;

    (void)state;
    assert_int_equal(os_read_server_ports(ports, strlen(ports), index, &next), VIM_OK);
    assert_string_equal(next, "marker=r");
    free(next);
    os_join_ports(&server, index);
    dumped = os_json_dump(server.body);
    assert_string_equal(dumped,
                        "{\"addresses\":[{\"network\":\"n\",\"port\":\"p\",\"address\":"
                        "\"10.0.0.1\",\"mac\":\"m\",\"version\":4},{\"network\":\"n\","
                        "\"port\":\"p\",\"address\":\"fd00::1\",\"mac\":\"m\",\"version\":6}],"
                        "\"security_groups\":[\"g\",\"h\"]}");
    assert_int_equal(os_read_server_ports("{}", 2, index, &next), VIM_E_INTERNAL);
}

/* --- Catalog --------------------------------------------------------------------------------- */

static void catalog_is_read(void **state)
{
    static const char body[] =
        "{\"token\":{\"issued_at\":\"2026-11-23T02:21:37.000000Z\",\"expires_at\":"
        "\"2026-11-23T03:21:37.000000Z\",\"project\":{\"id\":\"p\"},\"catalog\":[{\"type\":"
        "\"network\",\"endpoints\":[{\"region_id\":\"A\",\"interface\":\"public\",\"url\":"
        "\"http://a/\"},{\"region_id\":\"B\",\"interface\":\"admin\",\"url\":\"http://b\"},"
        "{\"region_id\":\"B\",\"interface\":\"public\",\"url\":\"https://c:9696\"}]},{\"type\":"
        "\"image\",\"endpoints\":[{\"region\":\"B\",\"interface\":\"public\",\"url\":"
        "\"gopher://x\"}]}]}}";
    struct os_catalog catalog;

    (void)state;
    assert_int_equal(os_catalog_read(body, strlen(body), "B", "public", &catalog), VIM_OK);
    assert_int_equal(catalog.lifetime_ms, 3600000);
    assert_string_equal(catalog.project, "p");
    assert_string_equal(catalog.url[OS_NETWORK], "https://c:9696/v2.0");
    assert_string_equal(catalog.url[OS_IMAGE], "");
    assert_int_equal(os_catalog_read(body, strlen(body), NULL, "public", &catalog), VIM_OK);
    assert_string_equal(catalog.url[OS_NETWORK], "http://a/v2.0");
    assert_int_equal(os_catalog_read("{\"token\":{}}", 12, NULL, "public", &catalog),
                     VIM_E_INTERNAL);
}

static void versions_are_read(void **state)
{
    static const char good[] = "{\"version\":{\"min_version\":\"2.1\",\"version\":\"2.79\"}}";
    static const char bad[] = "{\"version\":{\"min_version\":\"\",\"version\":\"\"}}";
    char url[512];
    int lowest;
    int highest;

    (void)state;
    assert_int_equal(os_microversion("2.93"), 2093);
    assert_int_equal(os_microversion("2.9x"), -1);
    assert_int_equal(os_microversion(NULL), -1);
    assert_int_equal(os_catalog_versions(good, strlen(good), &lowest, &highest), VIM_OK);
    assert_int_equal(highest, 2079);
    assert_int_equal(os_catalog_versions(bad, strlen(bad), &lowest, &highest), VIM_E_INTERNAL);
    assert_int_equal(os_catalog_version_url("http://v2.example/compute/v2.1/abc", url), VIM_OK);
    assert_string_equal(url, "http://v2.example/compute/v2.1/");
    assert_int_equal(os_catalog_version_url("http://x/compute", url), VIM_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(mark_comes_back),
        cmocka_unit_test(refusals_are_understood),
        cmocka_unit_test(long_message_is_cut_between_characters),
        cmocka_unit_test(server_states),
        cmocka_unit_test(times_become_rfc3339),
        cmocka_unit_test(pages_lead_on),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(one_bad_value_spoils_no_list),
        cmocka_unit_test(ports_are_joined),
        cmocka_unit_test(catalog_is_read),
        cmocka_unit_test(versions_are_read),
    };
    return cmocka_run_group_tests_name("parse", cases, NULL, NULL);
}
