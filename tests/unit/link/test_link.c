/*
 * The link to other processes: what crosses, where it goes, and what becomes of it when the other end
 * does not do what it should.
 */
#include "side.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/integral.h"
#include "base/text.h"

static void test_what_crosses(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", side.address, NULL);
    struct reply reply =
        get(link, "POST", "/v1/servers?a=1&b=x%20y+z",
            "idempotency-key: k1\nprefer: wait=3\nprefer: respond-async\n", "{\"x\":1}");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "method=POST\npath=/v1/servers\nid=r-1\n"));
    assert_non_null(strstr(reply.body, "query:a=1\nquery:b=x y z\n"));
    assert_non_null(strstr(reply.body, "header:idempotency-key=k1\nheader:prefer=wait=3\n"
                                       "header:prefer=respond-async\n"));
    assert_non_null(strstr(reply.body, "who=t-1 blue An\u00f6 nym%us\n"));
    const char *left = strstr(reply.body, "left=");
    assert_non_null(left);
    assert_in_range(atoi(left + strlen("left=")), 1, 30);
    assert_non_null(strstr(reply.body, "body={\"x\":1}\n"));
    assert_string_equal(reply.headers,
                        "ETag: \"7\"\nLocation: /x\nContent-Type: application/json\n");
    reply_free(&reply);
    /* What a HEAD is told is what a GET is told; the API leaves the body out. */
    expect(link, 200, "HEAD", "/v1/servers/x", NULL, "method=GET\n");
    expect(link, 204, "DELETE", "/v1/servers/x", NULL, NULL);
    reply = get(link, "GET", "/v1/plugins", NULL, NULL);
    assert_int_equal(strlen(reply.body), 3 << 20);
    reply_free(&reply);
    link_free(link);
    side_close(&side, 0);
}

/* A request that the process makes itself has no target, but a path and pairs. */
static void test_target_is_made(void **state)
{
    (void)state;
    const struct header query[] = {{"a b", "1&2=%"}, {"c", "An\u00f6"}};
    const struct request request = {
        .method = "GET", .path = "/v1/x y", .query = query, .query_count = 2, .body = ""};
    CLEANUP_TEXT struct text text = {0};
    message_request(&request, SECRET, 7, &text);
    assert_string_equal(text.data, "GET /v1/x%20y?a%20b=1%262%3D%25&c=An%C3%B6 HTTP/1.1\r\n"
                                   "Host: vimd\r\nAuthorization: Vimd-Link " SECRET "\r\n"
                                   "Vimd-Left: 7\r\n\r\n");
}

static void test_own_routes_do_not_cross(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", side.address, NULL);
    expect(link, 200, "GET", "/healthz", NULL, "ok");
    expect(link, 404, "GET", "/nowhere", NULL, "not-found");
    expect(link, 405, "PUT", "/v1/servers", NULL, "method-not-allowed");
    assert_int_equal(atomic_load(&side.calls), 0);
    link_free(link);
    side_close(&side, 0);
}

static void test_unix_socket(void **state)
{
    (void)state;
    CLEANUP_FREE char *listen = text_format("unix:/tmp/test-link-%d", (int)getpid());
    struct side side;
    side_open(&side, "u", listen, SECRET, 0);
    struct link *link = link_to("", listen, NULL);
    for (int i = 0; i < 50; i++) {
        expect(link, 200, "GET", "/v1/version", NULL, "side=u\n");
    }
    link_free(link);
    side_close(&side, 0);
}

/* Nothing was sent where nobody listens, so that everything may go elsewhere. */
static void test_nobody_there(void **state)
{
    (void)state;
    struct side dead, side;
    side_open(&dead, "dead", NULL, SECRET, 0);
    CLEANUP_FREE char *address = text_duplicate(dead.address);
    side_close(&dead, 0);
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", address, side.address, NULL);
    for (int i = 0; i < 50; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, "side=a\n");
    }
    link_free(link);
    link = link_to("", address, NULL);
    int64_t before = clock_mono_ms();
    struct reply reply = get(link, "POST", "/v1/servers", NULL, "{}");
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.headers, "Retry-After: 1\n"));
    assert_non_null(strstr(reply.body, "\"retryable\":true"));
    assert_in_range(clock_mono_ms() - before, 300, 20000); /* it has waited for somebody to come */
    reply_free(&reply);
    assert_false(link_is_ready(link));
    /* Who comes meanwhile gets it. */
    struct asked *asked = ask(link, "POST", "/v1/servers", NULL, "{}");
    struct side late;
    side_open(&late, "late", address, SECRET, 0);
    reply = asked_wait(asked);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "side=late\n"));
    reply_free(&reply);
    link_free(link);
    side_close(&late, 0);
    side_close(&side, 0);
}

/* A process that breaks off in the middle: who may ask again does, who may not is told. */
static void test_breaks_off(void **state)
{
    (void)state;
    char *address = NULL;
    struct rogue *rogue = rogue_open(ROGUE_CLOSES, NULL, &address);
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", address, NULL);
    UNTIL(rogue_requests(rogue) > 0);
    struct reply reply = get(link, "POST", "/v1/servers", NULL, "{}");
    assert_int_equal(reply.status, 502);
    assert_non_null(strstr(reply.body, "\"code\":\"lost\""));
    assert_non_null(strstr(reply.body, "\"retryable\":false"));
    reply_free(&reply);
    expect(link, 502, "DELETE", "/v1/servers/x", NULL, "lost");
    /* What heeds no key is not saved by one. */
    expect(link, 502, "POST", "/v1/subscriptions", "idempotency-key: k\n", "lost");
    expect(link, 502, "POST", "/v1/tokens", "idempotency-key: k\n", "lost");
    expect(link, 503, "GET", "/v1/version", NULL, "unavailable");
    link_free(link);
    /* With another one beside: the rogue is never well, so ask for it by name. */
    link = link_to("", address, side.address, NULL);
    for (int i = 0; i < 40; i++) {
        expect(link, 200, "GET", "/v1/version", NULL, "side=a\n");
        expect(link, 200, "POST", "/v1/servers", "idempotency-key: k\n", "side=a\n");
        expect(link, 204, "DELETE", "/v1/servers/x", "idempotency-key: k\n", NULL);
    }
    link_free(link);
    rogue_close(rogue);
    free(address);
    side_close(&side, 0);
}

/* The same with a process that was well until then. */
static void test_dies_while_it_works(void **state)
{
    (void)state;
    char *address = NULL;
    struct rogue *rogue = rogue_open(ROGUE_BREAKS, NULL, &address);
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", address, side.address, NULL);
    struct asked *asked[16];
    unsigned count = 0;
    while (rogue_requests(rogue) < 3 && count < 16) {
        asked[count] =
            ask(link, count % 2 ? "POST" : "GET", count % 2 ? "/v1/vims/x/check" : "/v1/vims",
                count % 4 == 3 ? "idempotency-key: k\n" : NULL, "{}");
        count++;
        UNTIL(rogue_requests(rogue) + atomic_load(&side.held) == count);
    }
    unsigned there = rogue_requests(rogue);
    assert_true(there >= 3);
    rogue_close(rogue);
    atomic_store(&side.release, true);
    unsigned lost = 0;
    for (unsigned i = 0; i < count; i++) {
        struct reply reply = asked_wait(asked[i]);
        bool repeatable = i % 2 == 0; /* a check of a VIM heeds no key */
        if (reply.status != 200 && (reply.status != 502 || repeatable)) {
            fail_msg("%u: %d %s", i, reply.status, reply.body);
        }
        lost += reply.status == 502;
        reply_free(&reply);
    }
    assert_true(lost <= there);
    link_free(link);
    free(address);
    side_close(&side, 0);
}

/* One that is stopped is left, and reads that it has are made elsewhere; writes wait. */
static void test_silent(void **state)
{
    (void)state;
    char *address = NULL;
    struct rogue *rogue = rogue_open(ROGUE_SILENT, NULL, &address);
    struct link *link = link_to("", address, NULL);
    struct asked *read = ask(link, "GET", "/v1/version", NULL, NULL);
    struct asked *write = ask(link, "POST", "/v1/servers", NULL, "{}");
    UNTIL(rogue_requests(rogue) >= 3);
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    const char *told[] = {side.address};
    link_set_replicas(link, told, 1);
    struct reply reply = asked_wait(read);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    assert_false(asked_is_answered(write));
    for (int i = 0; i < 20; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, "side=a\n");
    }
    rogue_close(rogue); /* now it is known to be lost */
    reply = asked_wait(write);
    assert_int_equal(reply.status, 502);
    reply_free(&reply);
    link_free(link);
    free(address);
    side_close(&side, 0);
}

static void test_deadline(void **state)
{
    (void)state;
    char *address = NULL;
    struct rogue *rogue = rogue_open(ROGUE_SILENT, NULL, &address);
    struct link *link = link_to("", address, NULL);
    char *answer = NULL;
    struct failure failure = {0};
    int64_t before = clock_mono_ms();
    assert_int_equal(link_ask(link, "GET", "/link/state", NULL, 0, 300, &answer, &failure),
                     VIM_E_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - before, 200, 20000);
    link_free(link);
    rogue_close(rogue);
    free(address);
}

/* A process that is about to end is left, and no request is lost while it goes. */
static void test_draining(void **state)
{
    (void)state;
    struct side first, second;
    side_open(&first, "first", NULL, SECRET, 0);
    side_open(&second, "second", NULL, SECRET, 0);
    struct link *link = link_to("", first.address, second.address, NULL);
    for (int i = 0; i < 200; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, NULL);
    }
    struct asked *held = ask(link, "POST", "/v1/vims/x/check", NULL, "{}");
    UNTIL(atomic_load(&first.held) + atomic_load(&second.held) == 1);
    struct side *leaving = atomic_load(&first.held) ? &first : &second;
    atomic_store(&leaving->draining, true);
    api_drain(leaving->api);
    for (int i = 0; i < 300; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, NULL);
    }
    unsigned before = atomic_load(&leaving->calls);
    for (int i = 0; i < 100; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, NULL);
    }
    assert_int_equal(atomic_load(&leaving->calls), before);
    assert_false(asked_is_answered(held));
    atomic_store(&leaving->release, true);
    struct reply reply = asked_wait(held);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "released");
    reply_free(&reply);
    link_free(link);
    side_close(&first, 0);
    side_close(&second, 0);
}

static void test_another_secret(void **state)
{
    (void)state;
    struct side stranger, side;
    side_open(&stranger, "stranger", NULL, "another-secret-than-ours", 0);
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", stranger.address, NULL);
    expect(link, 503, "POST", "/v1/servers", NULL, NULL);
    link_free(link);
    link = link_to("", stranger.address, side.address, NULL);
    for (int i = 0; i < 30; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, "side=a\n");
    }
    assert_int_equal(atomic_load(&stranger.calls), 0);
    link_free(link);
    side_close(&stranger, 0);
    side_close(&side, 0);
}

/* Bounds: those that have no room are passed over, and when none has any it is said at once. */
static void test_full(void **state)
{
    (void)state;
    struct side small, side;
    side_open(&small, "small", NULL, SECRET, 1);
    struct link *link = link_to("", small.address, NULL);
    UNTIL(link_is_ready(link));
    struct asked *held = ask(link, "GET", "/v1/vims", NULL, NULL);
    UNTIL(atomic_load(&small.held) == 1);
    struct reply reply = get(link, "POST", "/v1/servers", NULL, "{}");
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"overloaded\""));
    assert_non_null(strstr(reply.headers, "Retry-After: 1\n"));
    reply_free(&reply);
    side_open(&side, "a", NULL, SECRET, 0);
    const char *told[] = {side.address};
    link_set_replicas(link, told, 1);
    UNTIL(atomic_load(&side.calls) > 0 || ({
              reply = get(link, "POST", "/v1/servers", NULL, "{}");
              reply_free(&reply);
              false;
          }));
    for (int i = 0; i < 30; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, "side=a\n");
    }
    atomic_store(&small.release, true);
    reply = asked_wait(held);
    reply_free(&reply);
    link_free(link);
    side_close(&small, 0);
    side_close(&side, 0);
}

/* Requests that are counted as waiting for room at a logic process. */
static int64_t waiting_for_room(void)
{
    struct integral_sum sums[INTEGRAL_COUNT];
    (void)integral_read(sums);
    return sums[WAITS_API].here;
}

/* Of an API process: so many requests at each logic process, so many that wait, and for so long. */
static void test_queue(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("requests: 2\nqueue: 3\n", side.address, NULL);
    UNTIL(link_is_ready(link));
    struct asked *held[2], *waits[3];
    for (int i = 0; i < 2; i++) {
        held[i] = ask(link, "GET", "/v1/vims", NULL, NULL);
    }
    UNTIL(atomic_load(&side.held) == 2);
    for (int i = 0; i < 3; i++) {
        waits[i] = ask(link, "POST", "/v1/servers", NULL, "{}");
    }
    expect(link, 503, "POST", "/v1/servers", NULL, "overloaded");
    for (int i = 0; i < 3; i++) {
        struct reply reply = asked_wait(waits[i]);
        assert_int_equal(reply.status, 503);
        reply_free(&reply);
    }
    for (int i = 0; i < 3; i++) {
        waits[i] = ask(link, "POST", "/v1/servers", NULL, "{}");
    }
    UNTIL(waiting_for_room() == 3);
    atomic_store(&side.release, true);
    for (int i = 0; i < 3; i++) {
        struct reply reply = asked_wait(waits[i]);
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
    }
    for (int i = 0; i < 2; i++) {
        struct reply reply = asked_wait(held[i]);
        reply_free(&reply);
    }
    assert_int_equal(waiting_for_room(), 0);
    link_free(link);
    side_close(&side, 0);
}

/* As long as those that come to their turn have waited for long, nobody else is let in to wait. */
static void test_long_queue(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to(PATIENT, side.address, NULL);
    UNTIL(link_is_ready(link));
    struct asked *asked[3];
    asked[0] = ask(link, "GET", "/v1/vims", NULL, NULL);
    UNTIL(atomic_load(&side.held) == 1);
    asked[1] = ask(link, "GET", "/v1/vims", NULL, NULL);
    asked[2] = ask(link, "POST", "/v1/servers", NULL, "{}");
    clock_sleep_ms(1550); /* more than a quarter of what is allowed */
    asked_leave(asked[0]);
    link_end_waits(link, false);
    UNTIL(atomic_load(&side.ended) == 1 && atomic_load(&side.held) == 1);
    expect(link, 503, "POST", "/v1/servers", NULL, "overloaded"); /* the queue has room */
    atomic_store(&side.release, true);
    for (int i = 0; i < 3; i++) {
        struct reply reply = asked_wait(asked[i]);
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
    }
    expect(link, 200, "POST", "/v1/servers", NULL, "side=a\n"); /* nobody waits any more */
    link_free(link);
    side_close(&side, 0);
}

/* Who has waited for long is not made to wait again when it is refused, and says so at once. */
static void test_refused_late(void **state)
{
    (void)state;
    struct side side, full;
    side_open(&side, "a", NULL, SECRET, 0);
    side_open(&full, "b", NULL, SECRET, 1);
    struct link *link = link_to(PATIENT, side.address, NULL);
    struct link *other = link_to(RARELY, full.address, NULL);
    UNTIL(link_is_ready(link) && link_is_ready(other));
    struct asked *held = ask(link, "GET", "/v1/vims", NULL, NULL);
    struct asked *fills = ask(other, "GET", "/v1/vims", NULL, NULL);
    UNTIL(atomic_load(&side.held) == 1 && atomic_load(&full.held) == 1);
    int64_t begun = clock_mono_ms();
    struct asked *waits = ask(link, "POST", "/v1/servers", NULL, "{}");
    clock_sleep_ms(1550);
    const char *told[] = {full.address};
    link_set_replicas(link, told, 1);
    struct reply reply = asked_wait(waits);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"overloaded\""));
    assert_true(clock_mono_ms() - begun < 6000);
    assert_false(asked_is_answered(held));
    reply_free(&reply);
    atomic_store(&side.release, true);
    atomic_store(&full.release, true);
    reply = asked_wait(held);
    reply_free(&reply);
    reply = asked_wait(fills);
    reply_free(&reply);
    link_free(link);
    link_free(other);
    side_close(&side, 0);
    side_close(&full, 0);
}

/* A client that has left is told to the other end, which need not wait any longer. */
static void test_client_leaves(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", side.address, NULL);
    struct asked *stays = ask(link, "GET", "/v1/vims", NULL, NULL);
    struct asked *leaves = ask(link, "GET", "/v1/vims", NULL, NULL);
    UNTIL(atomic_load(&side.held) == 2);
    asked_leave(leaves);
    link_end_waits(link, false);
    struct reply reply = asked_wait(leaves);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "left");
    reply_free(&reply);
    assert_false(asked_is_answered(stays));
    link_end_waits(link, true);
    reply = asked_wait(stays);
    assert_string_equal(reply.body, "left");
    reply_free(&reply);
    link_free(link);
    side_close(&side, 0);
}

static void test_upload(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", side.address, NULL);
    CLEANUP_FREE char *path = text_format("/tmp/test-link-upload-%d", (int)getpid());
    CLEANUP_TEXT struct text data = {0};
    for (int i = 0; i < 300000; i++) {
        text_printf(&data, "%d,", i);
    }
    char digest[DIGEST_HEX_SIZE];
    digest_sha256_hex(data.data, data.length, digest);
    CLEANUP_FREE char *told = text_format("%zu %s", data.length, digest);
    for (int taken = 0; taken < 2; taken++) {
        assert_int_equal(file_write(path, data.data, data.length, 0600), 0);
        struct reply reply =
            asked_wait(ask_upload(link, taken ? "/v1/images/x/data" : "/v1/images/refuse/data",
                                  path, (int64_t)data.length));
        assert_int_equal(reply.status, taken ? 202 : 409);
        assert_string_equal(reply.body, told);
        /* What was taken is the logic's, and its copy here goes; else it is the caller's still. */
        assert_int_equal(access(path, F_OK), taken ? -1 : 0);
        reply_free(&reply);
    }
    link_free(link);
    side_close(&side, 0);
}

/* Answers that no peer gives. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "",
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than that",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nless than that",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        char *address = NULL;
        struct rogue *rogue = rogue_open(ROGUE_ANSWERS, answers[i], &address);
        struct link *link = link_to(RARELY, address, NULL);
        struct reply reply = get(link, "POST", "/v1/servers", NULL, "{}");
        if (reply.status != 502 && reply.status != 503) {
            fail_msg("%d after: %s", reply.status, answers[i]);
        }
        reply_free(&reply);
        link_free(link);
        rogue_close(rogue);
        free(address);
    }
}

struct found {
    atomic_int code;
    struct principal principal;
};

static void found(void *argument, int code, const struct principal *principal,
                  const struct failure *failure)
{
    (void)failure;
    struct found *found = argument;
    if (code == VIM_OK) {
        found->principal = *principal;
    }
    atomic_store(&found->code, code);
}

static void test_authenticate(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nt-9 reader 0 red me", VIM_OK},
        {"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nt-9 tsarin 0 red me", VIM_E_UNAVAILABLE},
        {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", VIM_E_CREDENTIAL},
        {"HTTP/1.1 401 No\r\nVimd-Refused: 1\r\nContent-Length: 0\r\n\r\n", VIM_E_UNAVAILABLE},
        {"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", VIM_E_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *address = NULL;
        struct rogue *rogue = rogue_open(ROGUE_ANSWERS, cases[i].answer, &address);
        struct link *link = link_to("", address, NULL);
        struct found told = {.code = VIM_AGAIN};
        link_authenticate(link, "vimd_x", found, &told);
        UNTIL(atomic_load(&told.code) != VIM_AGAIN);
        assert_int_equal(atomic_load(&told.code), cases[i].code);
        if (cases[i].code == VIM_OK) {
            assert_string_equal(told.principal.project, "red");
        }
        link_free(link);
        rogue_close(rogue);
        free(address);
    }
}

static void test_end_with_requests_under_way(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "a", NULL, SECRET, 0);
    struct link *link = link_to("", side.address, NULL);
    struct asked *asked[4];
    for (int i = 0; i < 4; i++) {
        asked[i] = ask(link, "GET", "/v1/vims", NULL, NULL);
    }
    UNTIL(atomic_load(&side.held) == 4);
    link_free(link);
    for (int i = 0; i < 4; i++) {
        struct reply reply = asked_wait(asked[i]);
        assert_int_equal(reply.status, 503);
        reply_free(&reply);
    }
    side_close(&side, 0);
}

static int end(void **state)
{
    (void)state;
    own_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_crosses),
        cmocka_unit_test(test_target_is_made),
        cmocka_unit_test(test_own_routes_do_not_cross),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_breaks_off),
        cmocka_unit_test(test_dies_while_it_works),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_another_secret),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_long_queue),
        cmocka_unit_test(test_refused_late),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_authenticate),
        cmocka_unit_test(test_end_with_requests_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
