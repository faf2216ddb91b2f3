/*
 * Targets: what is taken, and what is refused as ambiguous.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "api/target.h"
#include "base/cleanup.h"
#include "base/text.h"

static int parse(const char *raw, struct target *target)
{
    static char buffer[TARGET_MAX + 1];
    assert_true(strlen(raw) < sizeof buffer);
    memcpy(buffer, raw, strlen(raw) + 1);
    const char *why = NULL;
    int code = target_parse(buffer, target, &why);
    assert_true(code == VIM_OK || why);
    return code;
}

static void test_good(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(
        parse("/v1/servers?status=ACTIVE&label=app%3Aupf&fresh&x=a+b%2Fc&&y=", &target), VIM_OK);
    assert_string_equal(target.path, "/v1/servers");
    assert_int_equal(target.query_count, 5);
    assert_string_equal(target.query[0].name, "status");
    assert_string_equal(target.query[0].value, "ACTIVE");
    assert_string_equal(target.query[1].value, "app:upf");
    assert_string_equal(target.query[2].name, "fresh");
    assert_string_equal(target.query[2].value, "");
    assert_string_equal(target.query[3].value, "a b/c");
    assert_string_equal(target.query[4].value, "");
    assert_int_equal(parse("/caf%C3%A9+x", &target), VIM_OK);
    assert_string_equal(target.path, "/caf\xc3\xa9+x");
}

/* What a client sends that takes the server for a proxy: RFC 9112, 3.2.2. */
static void test_absolute(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *origin;
    } cases[] = {
        {"http://host/v1?a=b", "/v1?a=b"},
        {"HTTPS://host:8780/", "/"},
        {"http://[::1]:1/v1", "/v1"},
        {"http://host//v1", "//v1"},
        {"/v1/x", "/v1/x"},
        {"/http://host/v1", "/http://host/v1"},
        {"*", "*"},
        {"host:80", "host:80"},
        {"http://host", "http://host"},
        {"http://host?/v1", "http://host?/v1"},
        {"http:///v1", "http:///v1"},
        {"ftp://host/v1", "ftp://host/v1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char raw[64];
        memcpy(raw, cases[i].raw, strlen(cases[i].raw) + 1);
        assert_string_equal(target_origin(raw), cases[i].origin);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct target target;
    static const char *const bad[] = {
        "",        "*",        "http://host/v1", "v1",
        "/a%",     "/a%2",     "/a%zz",          "/a%00b",
        "/a%0ab",  "/a#b",     "/a%ff",          "/a?x=%00",
        "/a?x=%f", "/a?%0d=1", "/\x7f",          "/a?x=\xc0\xaf",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i], &target) != VIM_E_INVALID) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void test_encoded_slash(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(parse("/v1/servers/..%2f..%2fetc", &target), VIM_E_NOT_FOUND);
    assert_int_equal(parse("/v1/servers?name=a%2Fb", &target), VIM_OK);
}

static void test_many_pairs(void **state)
{
    (void)state;
    CLEANUP_TEXT struct text text = {0};
    text_add(&text, "/a?");
    for (int i = 0; i < TARGET_QUERY_MAX; i++) {
        text_add(&text, "k=v&");
    }
    struct target target;
    assert_int_equal(parse(text_get(&text), &target), VIM_OK);
    text_add(&text, "k=v");
    assert_int_equal(parse(text_get(&text), &target), VIM_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_encoded_slash),
        cmocka_unit_test(test_many_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
