/* Which addresses may be called that a user has named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/outbound.h"

static struct outbound *rules(const char *host, const char *network, bool http)
{
    struct outbound *made = NULL;
    char why[256];
    assert_int_equal(outbound_new(&host, host ? 1 : 0, &network, network ? 1 : 0, http, &made, why),
                     VIM_OK);
    return made;
}

static bool allowed(const struct outbound *made, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return outbound_address(made, (struct sockaddr *)&v4);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return outbound_address(made, (struct sockaddr *)&v6);
}

static void addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"8.8.8.8",          "1.1.1.1",       "172.15.255.255",
                                       "172.32.0.1",       "11.0.0.1",      "2606:4700::1111",
                                       "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"};
    static const char *const bad[] = {"0.0.0.0",
                                      "10.1.2.3",
                                      "100.64.0.1",
                                      "127.0.0.1",
                                      "127.255.0.1",
                                      "169.254.169.254",
                                      "172.16.0.1",
                                      "172.31.255.255",
                                      "192.168.1.1",
                                      "198.18.0.1",
                                      "224.0.0.1",
                                      "255.255.255.255",
                                      "::",
                                      "::1",
                                      "fc00::1",
                                      "fd12::1",
                                      "fe80::1",
                                      "fec0::1",
                                      "ff02::1",
                                      "2001:db8::1",
                                      "2002:7f00:1::",
                                      "2001:0:1::1",
                                      "::127.0.0.1",
                                      "::ffff:10.0.0.1",
                                      "64:ff9b::10.0.0.1",
                                      "64:ff9b:1::1",
                                      "::ffff:127.0.0.1"};
    struct outbound *made = rules(NULL, NULL, false);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!allowed(made, good[i])) {
            fail_msg("%s is refused", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (allowed(made, bad[i])) {
            fail_msg("%s is allowed", bad[i]);
        }
    }
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(outbound_address(made, &local));
    outbound_free(made);
    made = rules(NULL, "10.1.0.0/17", false);
    assert_true(allowed(made, "10.1.127.255"));
    assert_true(allowed(made, "::ffff:10.1.0.1"));
    assert_false(allowed(made, "10.1.128.0"));
    assert_false(allowed(made, "127.0.0.1"));
    outbound_free(made);
    made = rules(NULL, "fd00:1::/33", false);
    assert_true(allowed(made, "fd00:1:7fff::1"));
    assert_false(allowed(made, "fd00:1:8000::1"));
    outbound_free(made);
}

static bool url(const struct outbound *made, const char *text)
{
    char why[256] = "";
    bool good = outbound_url(made, text, why);
    assert_true(good || why[0]);
    return good;
}

static void urls(void **state)
{
    (void)state;
    struct outbound *made = rules(NULL, NULL, false);
    assert_true(url(made, "https://hooks.example.org/a/b?c=d&e=%20"));
    assert_true(url(made, "https://hooks.example.org"));
    assert_true(url(made, "https://8.8.8.8:8443/x"));
    assert_true(url(made, "https://[2606:4700::1111]/x"));
    static const char *const bad[] = {
        "",
        "http://hooks.example.org/",
        "ftp://hooks.example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@hooks.example.org/",
        "https://good.example.org\\@bad.example.org/",
        "https://good.example.org#@bad.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/\r\nX: y",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:65536/",
        "https://hooks.example.org:80a/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://ho\xc3\xa9st/",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (url(made, bad[i])) {
            fail_msg("%s is allowed", bad[i]);
        }
    }
    outbound_free(made);
    made = rules("*.example.org", "127.0.0.0/8", true);
    assert_true(url(made, "http://a.example.org/"));
    assert_true(url(made, "https://a.b.EXAMPLE.org:443/"));
    assert_false(url(made, "https://example.org/"));
    assert_false(url(made, "https://badexample.org/"));
    assert_false(url(made, "https://a.example.org:8443/"));
    assert_false(url(made, "https://a.example.org.bad.org/"));
    assert_false(url(made, "http://127.0.0.1/"));
    outbound_free(made);
    made = rules("127.0.0.1:8443", "127.0.0.1", true);
    assert_true(url(made, "http://127.0.0.1:8443/"));
    assert_false(url(made, "http://127.0.0.1:8444/"));
    outbound_free(made);
}

static void rules_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"10.0.0.0/33", "x", "10.0.0", "::/129", "10.0.0.0/", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct outbound *made = NULL;
        char why[256] = "";
        assert_int_equal(outbound_new(NULL, 0, &bad[i], 1, false, &made, why), VIM_E_INVALID);
        assert_non_null(strstr(why, "no network"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(urls),
        cmocka_unit_test(rules_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
