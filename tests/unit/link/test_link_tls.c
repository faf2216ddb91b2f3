/*
 * The link over TLS: both ends have to show certificates of one CA.
 */
#include "side.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "certificates.h"

static struct certificates ours, theirs;

/* YAML of a client with the certificate of OWN that believes the CA of TRUSTED. */
static char *client(const struct certificates *own, const struct certificates *trusted,
                    const char *more)
{
    return text_format("connect_timeout: 30s\n"
                       "tls_certificate: %s\ntls_key: %s\ntls_ca: %s\n%s",
                       own->certificate, own->key, trusted->authority, more);
}

static void open_tls(struct side *side)
{
    side_certificate = ours.certificate;
    side_key = ours.key;
    side_authority = ours.authority;
    side_open(side, "tls", NULL, SECRET, 0);
    side_certificate = side_key = side_authority = NULL;
}

static void test_round(void **state)
{
    (void)state;
    struct side side;
    open_tls(&side);
    CLEANUP_FREE char *yaml = client(&ours, &ours, "tls_name: logic.vimd\n");
    struct link *link = link_to(yaml, side.address, NULL);
    struct asked *asked[20];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 20; i++) {
            asked[i] = ask(link, "POST", "/v1/servers", NULL, "{}");
        }
        for (int i = 0; i < 20; i++) {
            struct reply reply = asked_wait(asked[i]);
            assert_int_equal(reply.status, 200);
            assert_non_null(strstr(reply.body, "side=tls\n"));
            reply_free(&reply);
        }
    }
    struct reply reply = get(link, "GET", "/v1/plugins", NULL, NULL);
    assert_int_equal(strlen(reply.body), 3 << 20);
    reply_free(&reply);
    CLEANUP_FREE char *path = text_format("/tmp/test-link-upload-%d", (int)getpid());
    CLEANUP_TEXT struct text data = {0};
    memset(text_reserve(&data, 2 << 20), 'd', 2 << 20);
    data.length = 2 << 20;
    assert_int_equal(file_write(path, data.data, data.length, 0600), 0);
    reply = asked_wait(ask_upload(link, "/v1/images/x/data", path, 2 << 20));
    assert_int_equal(reply.status, 202);
    assert_non_null(strstr(reply.body, "2097152 "));
    reply_free(&reply);
    struct asked *leaves = ask(link, "GET", "/v1/vims", NULL, NULL);
    UNTIL(atomic_load(&side.held) == 1);
    asked_leave(leaves);
    link_end_waits(link, false);
    reply = asked_wait(leaves);
    assert_string_equal(reply.body, "left");
    reply_free(&reply);
    link_free(link);
    side_close(&side, 0);
}

/* None of these gets through, and none of them hangs. */
static void test_strangers(void **state)
{
    (void)state;
    struct side side, plain;
    open_tls(&side);
    side_open(&plain, "plain", NULL, SECRET, 0);
    CLEANUP_FREE char *other_ca = client(&ours, &theirs, "");
    CLEANUP_FREE char *other_certificate = client(&theirs, &ours, "");
    CLEANUP_FREE char *other_name = client(&ours, &ours, "tls_name: somebody.else\n");
    CLEANUP_FREE char *good = client(&ours, &ours, "");
    const struct {
        const char *yaml, *address;
    } cases[] = {{other_ca, side.address},
                 {other_certificate, side.address},
                 {other_name, side.address},
                 {"", side.address},
                 {good, plain.address}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct link *link = link_to(cases[i].yaml, cases[i].address, NULL);
        struct reply reply = get(link, "POST", "/v1/servers", NULL, "{}");
        if (reply.status != 503 && reply.status != 502) {
            fail_msg("case %zu: %d %s", i, reply.status, reply.body);
        }
        assert_false(link_is_ready(link));
        reply_free(&reply);
        link_free(link);
    }
    assert_int_equal(atomic_load(&side.calls), 0);
    assert_int_equal(atomic_load(&plain.calls), 0);
    side_close(&side, 0);
    side_close(&plain, 0);
}

static int begin(void **state)
{
    (void)state;
    certificates_make(&ours, "logic.vimd");
    certificates_make(&theirs, "logic.vimd");
    return 0;
}

static int end(void **state)
{
    (void)state;
    certificates_free(&ours);
    certificates_free(&theirs);
    own_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_strangers),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
