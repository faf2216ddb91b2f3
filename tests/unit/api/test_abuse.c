/*
 * The HTTP front and clients that do not mean well: each is answered or cut off, and the next
 * client is served as if nothing had been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "api/access.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "client.h"
#include "fake_link.h"

struct world {
    struct config_struct *config;
    struct api *api;
    uint16_t port;
};

static struct world *start(const char *change)
{
    struct world *world = calloc(1, sizeof *world);
    world->config = fake_config(change);
    world->api = fake_start(world->config);
    world->port = api_port(world->api);
    return world;
}

/* It still serves; then stops it. */
static void stop(struct world *world)
{
    CLEANUP_FREE char *answer =
        client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    assert_int_equal(client_status(answer), 200);
    api_stop(world->api, 2000);
    config_struct_free(world->config);
    free(world);
}

/* Limits that are soon over; later where the client is slow against its will. */
static const char *quick(void)
{
    static char text[160];
    const char *patience = getenv("VIMD_TEST_PATIENCE");
    int times = patience ? atoi(patience) : 1;
    int ms = 150 * (times < 1 ? 1 : times > 10 ? 10 : times);
    (void)snprintf(text, sizeof text,
                   "header_timeout: %dms\nbody_timeout: %dms\nidle_timeout: %dms\n"
                   "send_timeout: %dms\n",
                   ms, ms, ms, ms);
    return text;
}

/* Sends TEXT in pieces of one byte with pauses, for as long as the server takes it. */
static void drip(int fd, const char *text, const char *again)
{
    client_send(fd, text);
    for (int i = 0; i < 4000 && client_send(fd, again) == strlen(again); i++) {
        struct pollfd readable = {.fd = fd, .events = POLLIN | POLLRDHUP};
        if (poll(&readable, 1, 5) == 1 && readable.revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            return;
        }
    }
}

/* The connection is closed without having been answered with a success. */
static void expect_cut_off(int fd)
{
    CLEANUP_FREE char *answer = client_read_all(fd, NULL);
    assert_true(client_status(answer) == -1 || client_status(answer) >= 400);
    close(fd);
}

static void test_slow_headers(void **state)
{
    (void)state;
    struct world *world = start(quick());
    int fd = client_connect(world->port);
    drip(fd, "GET /inline HTTP/1.1\r\nHost: x\r\nX-A: ", "a");
    expect_cut_off(fd);
    fd = client_connect(world->port); /* and one that says nothing at all */
    expect_cut_off(fd);
    fd = client_connect(world->port); /* and one that never ends its request line */
    drip(fd, "GET /", "a");
    expect_cut_off(fd);
    stop(world);
}

static void test_slow_second_request(void **state)
{
    (void)state;
    struct world *world = start(quick());
    int fd = client_connect(world->port);
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_int_equal(client_status(answer), 200);
    drip(fd, "GET /inline HTTP/1.1\r\nHost: x\r\nX-A: ", "a");
    expect_cut_off(fd);
    stop(world);
}

static void test_slow_body(void **state)
{
    (void)state;
    struct world *world = start(quick());
    unsigned before = fake_counts().calls;
    int fd = client_connect(world->port);
    drip(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 4000\r\n\r\n", "a");
    expect_cut_off(fd);
    fd = client_connect(world->port);
    drip(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Transfer-Encoding: chunked\r\n\r\n",
         "1\r\na\r\n");
    expect_cut_off(fd);
    assert_int_equal(fake_counts().calls, before);
    stop(world);
}

/* Takes its answer by no bytes at all. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct world *world = start("send_timeout: 50ms\n");
    int fd = client_connect(world->port);
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    for (int i = 0; i < 2000 && api_in_progress(world->api) == 0; i++) {
        clock_sleep_ms(5);
    }
    /* 8 MiB at 16 KiB/s would be allowed 512 s: shorter here is what stop() proves, by ending. */
    client_abort(fd);
    stop(world);
}

static void test_targets(void **state)
{
    (void)state;
    struct world *world = start("");
    CLEANUP_TEXT struct text text = {0};
    text_add(&text, "GET /inline?");
    for (int i = 0; i < 9000; i++) {
        text_add_char(&text, 'a');
    }
    text_add(&text, " HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *answer = client_ask(world->port, text_get(&text));
    assert_int_equal(client_status(answer), 414);
    static const char *const bad[] = {
        "GET /%zz HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
        "GET /a%00b HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
        "GET ftp://else/where HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
        "GET /inline HTTP/1.1\r\n" GOOD "\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CLEANUP_FREE char *refused = client_ask(world->port, bad[i]);
        assert_int_equal(client_status(refused), 400);
    }
    stop(world);
}

static void test_large_headers(void **state)
{
    (void)state;
    struct world *world = start("header_max: 4KiB\n");
    CLEANUP_TEXT struct text one = {0};
    text_add(&one, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "X-Large: ");
    for (int i = 0; i < 5000; i++) {
        text_add_char(&one, 'a');
    }
    text_add(&one, "\r\n\r\n");
    CLEANUP_FREE char *answer = client_ask(world->port, text_get(&one));
    assert_int_equal(client_status(answer), 431);
    CLEANUP_TEXT struct text many = {0};
    text_add(&many, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD);
    for (int i = 0; i < 200; i++) {
        text_add(&many, "X:\r\n");
    }
    text_add(&many, "\r\n");
    CLEANUP_FREE char *counted = client_ask(world->port, text_get(&many));
    assert_int_equal(client_status(counted), 431);
    for (int i = 0; i < 100000; i++) {
        text_add(&one, "X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    }
    one.data[one.length - 100] = 'b';
    int fd = client_connect(world->port);
    client_send(fd, text_get(&one));
    CLEANUP_FREE char *endless = client_read_answer(fd);
    assert_true(client_status(endless) == 431 || client_status(endless) == -1);
    close(fd);
    stop(world);
}

static void test_twice(void **state)
{
    (void)state;
    struct world *world = start("idle_timeout: 200ms\n");
    static const char *const bad[] = {
        "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD GOOD "\r\n",
        "GET /inline HTTP/1.1\r\nHost: x\r\nHost: y\r\n" GOOD "\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
        "Idempotency-Key: a\r\nidempotency-key: b\r\nContent-Length: 0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: -5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 5x\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
        "Content-Length: 99999999999999999999999\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Transfer-Encoding: gzip, chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = client_connect(world->port);
        client_send(fd, bad[i]);
        shutdown(fd, SHUT_WR);
        CLEANUP_FREE char *answer = client_read_all(fd, NULL);
        int status = client_status(answer);
        if (status != 400 && status != 413 && status != 501) {
            fail_msg("%d: %s", status, bad[i]);
        }
        /* One request, one answer: nothing was smuggled in. */
        assert_null(strstr(answer, "HTTP/1.1 2"));
        close(fd);
    }
    stop(world);
}

static void test_too_large_bodies(void **state)
{
    (void)state;
    struct world *world = start("");
    unsigned before = fake_counts().calls;
    CLEANUP_FREE char *known = client_ask(world->port, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
                                                       "Content-Length: 20000000\r\n\r\n");
    assert_int_equal(client_status(known), 413);
    /* In chunks it shows only while they come. */
    CLEANUP_FREE char *piece = calloc(1, 5001);
    memset(piece, 'a', 5000);
    CLEANUP_FREE char *chunks =
        text_format("POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
                    "Transfer-Encoding: chunked\r\n\r\n1388\r\n%s\r\n0\r\n\r\n",
                    piece);
    CLEANUP_FREE char *answer = client_ask(world->port, chunks);
    assert_int_equal(client_status(answer), 413);
    /* And without end: the rest is thrown away for a while, then the line is cut. */
    int fd = client_connect(world->port);
    client_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Transfer-Encoding: chunked\r\n\r\n");
    CLEANUP_FREE char *chunk = text_format("1388\r\n%s\r\n", piece);
    int sent = 0;
    while (sent < 100000 && client_send(fd, chunk) == strlen(chunk)) {
        sent++;
    }
    assert_true(sent < 100000);
    close(fd);
    assert_int_equal(fake_counts().calls, before);
    stop(world);
}

static void test_memory_for_bodies(void **state)
{
    (void)state;
    struct world *world = start("body_memory: 1MiB\naccess_log: off\n");
    struct text text = {0};
    text_add(&text, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 4000\r\n\r\n");
    for (int i = 0; i < 3999; i++) {
        text_add_char(&text, 'a');
    }
    enum { MANY = 400 }; /* of 4 KiB, in 1 MiB */
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(world->port);
        client_send(fds[i], text_get(&text));
    }
    int good = 0;
    int refused = 0;
    for (int i = 0; i < MANY; i++) {
        client_send(fds[i], "b");
    }
    for (int i = 0; i < MANY; i++) {
        CLEANUP_FREE char *answer = client_read_answer(fds[i]);
        good += client_status(answer) == 200;
        refused += client_status(answer) == 503;
        close(fds[i]);
    }
    assert_int_equal(good + refused, MANY);
    assert_true(good > 0);
    text_free(&text);
    stop(world);
}

static void test_nonsense(void **state)
{
    (void)state;
    struct world *world = start(quick());
    static const char *const noise[] = {
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x01garbage\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /inline HTTP/1.1\r\n: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /inline HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 10\r\n\r\nhalf",
    };
    for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
        int fd = client_connect(world->port);
        client_send(fd, noise[i]);
        shutdown(fd, SHUT_WR);
        free(client_read_all(fd, NULL)); /* whatever it is */
        close(fd);
    }
    stop(world);
}

/* With timeouts that this test would not outlive: the end of sending has to be noticed. */
static void test_half_closed(void **state)
{
    (void)state;
    struct world *world = start("header_timeout: 10m\nbody_timeout: 10m\nidle_timeout: 10m\n");
    static const char *const whole[] = {"GET /thread HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
                                        "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n",
                                        "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
                                        "Content-Length: 2\r\n\r\nhi"};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        int fd = client_connect(world->port);
        client_send(fd, whole[i]);
        shutdown(fd, SHUT_WR);
        CLEANUP_FREE char *answer = client_read_all(fd, NULL);
        assert_int_equal(client_status(answer), 200);
        close(fd);
    }
    static const char *const half[] = {"", "GET /inl", "GET /inline HTTP/1.1\r\nHost: x\r\n",
                                       "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD
                                       "Content-Length: 20\r\n\r\nhi"};
    for (size_t i = 0; i < sizeof half / sizeof half[0]; i++) {
        int fd = client_connect(world->port);
        client_send(fd, half[i]);
        shutdown(fd, SHUT_WR);
        expect_cut_off(fd);
    }
    stop(world);
}

/* Clients that leave while the logic works on their request. */
static void test_disconnect_while_suspended(void **state)
{
    (void)state;
    struct world *world = start("");
    enum { MANY = 60 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(world->port);
        client_send(fds[i],
                    "POST /never HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 2\r\n\r\nhi");
    }
    while (fake_held() < MANY) {
        clock_sleep_ms(5);
    }
    for (int i = 0; i < MANY; i++) {
        if (i % 2) {
            client_abort(fds[i]);
        } else {
            close(fds[i]);
        }
    }
    fake_release(200);
    for (int i = 0; i < 4000 && api_in_progress(world->api) > 0; i++) {
        clock_sleep_ms(5);
    }
    assert_int_equal(api_in_progress(world->api), 0);
    stop(world);
}

static void test_in_flight(void **state)
{
    (void)state;
    struct world *world = start("in_flight: 2\n");
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(world->port);
        client_send(fds[i], "GET /never HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    }
    while (fake_held() < 2) {
        clock_sleep_ms(5);
    }
    CLEANUP_FREE char *refused =
        client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    assert_int_equal(client_status(refused), 503);
    assert_non_null(strstr(refused, "\r\nRetry-After: 1\r\n"));
    CLEANUP_FREE char *health = client_ask(world->port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_status(health), 200);
    fake_release(200);
    for (int i = 0; i < 2; i++) {
        CLEANUP_FREE char *answer = client_read_answer(fds[i]);
        assert_int_equal(client_status(answer), 200);
        close(fds[i]);
    }
    while (api_in_progress(world->api) > 0) {
        clock_sleep_ms(5);
    }
    stop(world);
}

static void test_rate(void **state)
{
    (void)state;
    struct world *world = start("rate: 1\nrate_burst: 3\n");
    int statuses[4];
    CLEANUP_FREE char *last = NULL;
    for (int i = 0; i < 4; i++) {
        free(last);
        last = client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        statuses[i] = client_status(last);
    }
    assert_int_equal(statuses[0], 200);
    assert_int_equal(statuses[2], 200);
    if (statuses[3] == 429) { /* else this machine takes seconds for four requests */
        assert_non_null(strstr(last, "\r\nRetry-After: "));
    }
    struct api_config open = *(const struct api_config *)config_data(world->config);
    open.rate = 0;
    api_configure(world->api, &open);
    stop(world);
}

static void test_guessing(void **state)
{
    (void)state;
    struct world *world = start("");
    int64_t began = clock_mono_ms();
    CLEANUP_FREE char *good =
        client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    assert_int_equal(client_status(good), 200);
    unsigned before = fake_counts().authentications;
    int damped = 0;
    for (int i = 0; i < 200; i++) {
        CLEANUP_FREE char *guess = text_format(
            "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess%d\r\n\r\n", i);
        CLEANUP_FREE char *answer = client_ask(world->port, guess);
        assert_true(client_status(answer) == 401 || client_status(answer) == 429);
        damped += client_status(answer) == 429;
    }
    /* 20 at once and one for each second; who is known well is not touched by it while it is known. */
    int64_t allowed = 21 + (clock_mono_ms() - began) / 1000 + 1;
    assert_true(fake_counts().authentications - before <= allowed);
    assert_true(damped >= 200 - allowed);
    for (int status = 429; status == 429;) {
        CLEANUP_FREE char *again =
            client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        status = client_status(again);
        assert_true(status == 200 || clock_mono_ms() - began > ACCESS_TTL_MS);
    }
    stop(world);
}

static void test_a_thousand_connections(void **state)
{
    (void)state;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    enum { MANY = 1000 };
    if (limit.rlim_cur < 2 * MANY + 100) {
        skip();
    }
    struct world *world = start("");
    static int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(world->port);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            client_send(fds[i], i % 10 ? "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n"
                                       : "GET /thread HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        }
        for (int i = 0; i < MANY; i++) {
            CLEANUP_FREE char *answer = client_read_answer(fds[i]);
            assert_int_equal(client_status(answer), 200);
        }
    }
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    stop(world);
}

static void test_connections_per_address(void **state)
{
    (void)state;
    struct world *world = start("connections_per_address: 5\n");
    int fds[20];
    int served = 0;
    for (int i = 0; i < 20; i++) {
        fds[i] = client_connect(world->port);
        client_send(fds[i], "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        CLEANUP_FREE char *answer = client_read_answer(fds[i]);
        served += client_status(answer) == 200;
    }
    assert_int_equal(served, 5);
    for (int i = 0; i < 20; i++) {
        close(fds[i]);
    }
    /* The server notices the closed ones before long. */
    for (int i = 0; i < 1000; i++) {
        CLEANUP_FREE char *answer =
            client_ask(world->port, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        if (client_status(answer) == 200) {
            break;
        }
        clock_sleep_ms(10);
    }
    clock_sleep_ms(50);
    stop(world);
}

static void test_check(void **state)
{
    (void)state;
    struct config_struct *config = fake_config("");
    struct api_config changed = *(const struct api_config *)config_data(config);
    struct failure failure = {0};
    assert_int_equal(api_check(&changed, &failure), VIM_OK);
    changed.listen = "0.0.0.0:8780";
    assert_int_equal(api_check(&changed, &failure), VIM_E_INVALID);
    assert_non_null(strstr(failure.text, "insecure"));
    changed.insecure = 1;
    assert_int_equal(api_check(&changed, &failure), VIM_OK);
    static const char *const bad[] = {"localhost:80", "127.0.0.1", "127.0.0.1:99999", ":80",
                                      "[::1:80",      "[]:80",     "127.0.0.1:"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        changed.listen = bad[i];
        assert_int_equal(api_check(&changed, &failure), VIM_E_INVALID);
    }
    changed.listen = "[::1]:80";
    changed.tls_key = "key.pem";
    assert_int_equal(api_check(&changed, &failure), VIM_E_INVALID);
    config_struct_free(config);
}

static void test_address_in_use(void **state)
{
    (void)state;
    struct world *world = start("");
    struct api_config changed = *(const struct api_config *)config_data(world->config);
    CLEANUP_FREE char *listen = text_format("127.0.0.1:%u", world->port);
    changed.listen = listen;
    struct api *second = NULL;
    struct failure failure = {0};
    assert_int_equal(api_start(&changed, fake_spool_dir(), NULL, &second, &failure),
                     VIM_E_UNAVAILABLE);
    assert_non_null(strstr(failure.text, listen));
    stop(world);
}

static int end(void **state)
{
    (void)state;
    fake_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_headers),
        cmocka_unit_test(test_slow_second_request),
        cmocka_unit_test(test_slow_body),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_large_headers),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_too_large_bodies),
        cmocka_unit_test(test_memory_for_bodies),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_disconnect_while_suspended),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_guessing),
        cmocka_unit_test(test_a_thousand_connections),
        cmocka_unit_test(test_connections_per_address),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
