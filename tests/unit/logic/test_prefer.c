/* Prefer, entity tags and content types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "logic/prefer.h"

static struct preferences prefer(const char *a, const char *b)
{
    struct header headers[] = {{"if-match", "*"}, {"prefer", a}, {"prefer", b ? b : ""}};
    struct preferences preferences;
    prefer_parse(headers, b ? 3 : 2, &preferences);
    return preferences;
}

static void preferences(void **state)
{
    (void)state;
    assert_true(prefer("respond-async", NULL).respond_async);
    assert_true(prefer("Respond-Async", NULL).respond_async);
    assert_false(prefer("respond-asynchronously", NULL).respond_async);
    assert_int_equal(prefer("wait=30", NULL).wait_seconds, 30);
    assert_int_equal(prefer("WAIT = \"7\"", NULL).wait_seconds, 7);
    assert_int_equal(prefer("wait=99999999999999999999", NULL).wait_seconds, PREFER_WAIT_MAX);
    assert_true(prefer("wait=0", NULL).wait);
    assert_false(prefer("wait=x", NULL).wait);
    assert_false(prefer("wait=5x", NULL).wait);
    assert_false(prefer("wait", NULL).wait);
    assert_false(prefer("wait=-1", NULL).wait);
    assert_int_equal(prefer("wait=1, wait=2", NULL).wait_seconds, 1);
    struct preferences both = prefer("respond-async, wait=10", NULL);
    assert_true(both.respond_async && both.wait && both.wait_seconds == 10);
    both = prefer("return=minimal; x=\"a, wait=3\", respond-async", "wait=4;foo=bar");
    assert_true(both.respond_async && both.wait_seconds == 4);
    assert_false(prefer("x=\"wait=3", NULL).wait);
    assert_false(prefer(",,;=,\"", NULL).wait);
}

static bool allows(const char *first, const char *second)
{
    struct header headers[] = {{"prefer", "wait=1"}, {"accept", first}, {"accept", second}};
    return accept_allows(headers, second ? 3 : first ? 2 : 1, "application/json");
}

static void accepted_types(void **state)
{
    (void)state;
    static const char *const yes[] = {"application/json",
                                      "*/*",
                                      "Application/*",
                                      "text/html, application/JSON;q=0.1",
                                      "text/html;q=0.9,*/*;q=0.8",
                                      "text/html , application/*; q=0.001",
                                      "",
                                      " , ",
                                      "nonsense",
                                      "application/json;q=1, */*;q=0",
                                      "*/*;q=0, application/json",
                                      "application/json;charset=utf-8;q=0.5"};
    static const char *const no[] = {"text/html",
                                     "image/*, text/plain",
                                     "application/problem+json",
                                     "*/*;q=0",
                                     "application/json;q=0, */*",
                                     "application/json; q=0.000",
                                     "*/*, application/*;q=0.0",
                                     "application/jso",
                                     "application/json;x=1;Q=0"};
    assert_true(allows(NULL, NULL));
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (!allows(yes[i], NULL)) {
            fail_msg("%s", yes[i]);
        }
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        if (allows(no[i], NULL)) {
            fail_msg("%s", no[i]);
        }
    }
    assert_true(allows("text/html", "application/json"));
    assert_false(allows("text/html", "image/png"));
}

static void entity_tags(void **state)
{
    (void)state;
    assert_true(etag_matches("\"5\"", 5, false));
    assert_false(etag_matches("\"5\"", 6, false));
    assert_true(etag_matches("*", 6, false));
    assert_true(etag_matches(" \"4\" , \"5\"", 5, false));
    assert_true(etag_matches("W/\"5\"", 5, true));
    assert_false(etag_matches("W/\"5\"", 5, false));
    assert_true(etag_matches("W/\"5\", \"5\"", 5, false));
    assert_false(etag_matches("5", 5, true));
    assert_false(etag_matches("\"5", 5, true));
    assert_false(etag_matches("\"15\"", 5, true));
    assert_false(etag_matches("", 5, true));
    assert_false(etag_matches("\"4\" \"5\"", 5, true));
    assert_true(etag_matches(", ,\"4\",,\t, \"5\" ,", 5, false));
    assert_false(etag_matches(", ,", 5, true));
}

static void content_types(void **state)
{
    (void)state;
    assert_true(content_type_is("application/json", "application/json"));
    assert_true(content_type_is("Application/JSON; charset=utf-8", "application/json"));
    assert_false(content_type_is("application/jsonp", "application/json"));
    assert_false(content_type_is(NULL, "application/json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preferences),
        cmocka_unit_test(accepted_types),
        cmocka_unit_test(entity_tags),
        cmocka_unit_test(content_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
