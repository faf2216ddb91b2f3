/*
 * The HTTP front as a client sees it that means well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/text.h"
#include "client.h"
#include "fake_link.h"

struct world {
    struct config_struct *config;
    struct api *api;
    uint16_t port;
};

static int begin(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->config = fake_config("request_timeout: 300ms\nrate: 0\n");
    world->api = fake_start(world->config);
    world->port = api_port(world->api);
    *state = world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;
    fake_release(200);
    api_stop(world->api, 2000);
    config_struct_free(world->config);
    free(world);
    fake_end();
    return 0;
}

static char *ask(void **state, const char *text)
{
    return client_ask(((struct world *)*state)->port, text);
}

static void expect_status(void **state, int status, const char *text)
{
    CLEANUP_FREE char *answer = ask(state, text);
    if (client_status(answer) != status) {
        fail_msg("expected %d: %.200s\nto: %.100s", status, answer, text);
    }
}

static void test_get(void **state)
{
    CLEANUP_FREE char *answer = ask(state, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    assert_int_equal(client_status(answer), 200);
    assert_non_null(strstr(answer, "\r\nETag: \"7\"\r\n"));
    assert_non_null(strstr(answer, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(answer, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(answer, "\r\nX-Request-Id: "));
    assert_non_null(strstr(answer, "\r\n\r\n{\"ok\":true}"));
}

static void test_head(void **state)
{
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "HEAD /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *head = client_read_head(fd);
    assert_int_equal(client_status(head), 200);
    assert_non_null(strstr(head, "\r\nContent-Length: 11\r\n"));
    /* The next answer follows at once: there was no body. */
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_int_equal(client_status(answer), 200);
    close(fd);
}

static void test_no_content(void **state)
{
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "DELETE /empty HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *head = client_read_head(fd);
    assert_int_equal(client_status(head), 204);
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_int_equal(client_status(answer), 200);
    close(fd);
}

static void test_request_id(void **state)
{
    CLEANUP_FREE char *kept =
        ask(state, "GET /see HTTP/1.1\r\nHost: x\r\nX-Request-Id: My.id-1_2\r\n" GOOD "\r\n");
    assert_non_null(strstr(kept, "\r\nX-Request-Id: My.id-1_2\r\n"));
    assert_non_null(strstr(kept, "\nid=My.id-1_2\n"));
    CLEANUP_FREE char *made =
        ask(state, "GET /see HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b<>\r\n" GOOD "\r\n");
    assert_null(strstr(made, "a b<>"));
    assert_non_null(strstr(made, "\r\nX-Request-Id: "));
}

static void test_what_the_logic_sees(void **state)
{
    CLEANUP_FREE char *answer =
        ask(state, "GET /see?a=1&b=x%20y+z HTTP/1.1\r\nHost: x\r\nPREFER: wait=3\r\n"
                   "Prefer: respond-async\r\nX-Other: 1\r\n" GOOD "\r\n");
    assert_non_null(strstr(answer, "method=GET\npath=/see\n"));
    assert_non_null(strstr(answer, "query:a=1\nquery:b=x y z\n"));
    assert_non_null(strstr(answer, "header:prefer=wait=3\nheader:prefer=respond-async\n"));
    assert_non_null(strstr(answer, "project=demo\n"));
    assert_null(strstr(answer, "x-other"));
    assert_null(strstr(answer, "good"));
}

static void test_authentication(void **state)
{
    expect_status(state, 200, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    CLEANUP_FREE char *answer = ask(state, "GET /inline HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_status(answer), 401);
    assert_non_null(strstr(answer, "\r\nWWW-Authenticate: Bearer"));
    assert_non_null(strstr(answer, "application/problem+json"));
    expect_status(state, 401,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Zm9v\r\n\r\n");
    expect_status(state, 401,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\n\r\n");
    expect_status(state, 401,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good x\r\n\r\n");
    expect_status(state, 200,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nauthorization: bearer good\r\n\r\n");
    expect_status(state, 200,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good \t \r\n\r\n");
    expect_status(state, 401,
                  "GET /inline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \t \r\n\r\n");
}

/* A token that is not good is told before its owner has sent the body. */
static void test_authentication_before_the_body(void **state)
{
    struct fake_counts before = fake_counts();
    expect_status(state, 401,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  "Content-Length: 4000\r\n\r\n");
    expect_status(state, 401,
                  "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    assert_int_equal(fake_counts().calls, before.calls);
    assert_int_equal(fake_spool_files(), 0);
    /* With a small body on its way the connection survives. */
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                    "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *first = client_read_answer(fd);
    CLEANUP_FREE char *second = client_read_answer(fd);
    assert_int_equal(client_status(first), 401);
    assert_int_equal(client_status(second), 200);
    close(fd);
}

static void test_token_is_looked_up_once(void **state)
{
    expect_status(state, 200, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    unsigned before = fake_counts().authentications;
    for (int i = 0; i < 10; i++) {
        expect_status(state, 200, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    }
    assert_true(fake_counts().authentications <= before + 1);
}

static void test_body(void **state)
{
    CLEANUP_FREE char *known =
        ask(state, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 5\r\n\r\nhello");
    assert_non_null(strstr(known, "\r\n\r\n5:hello"));
    CLEANUP_FREE char *chunked =
        ask(state, "PATCH /echo HTTP/1.1\r\nHost: x\r\n" GOOD
                   "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n");
    assert_non_null(strstr(chunked, "\r\n\r\n5:hello"));
    CLEANUP_FREE char *none =
        ask(state, "POST /echo HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 0\r\n\r\n");
    assert_non_null(strstr(none, "\r\n\r\n0:"));
}

static void test_body_where_none_belongs(void **state)
{
    expect_status(state, 200,
                  "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 2\r\n\r\n{}");
    expect_status(state, 413,
                  "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 100000000\r\n\r\n");
}

static void upload(void **state, const char *how, unsigned files)
{
    fake_spool_files();
    size_t size = 300000;
    CLEANUP_FREE char *data = malloc(size);
    memset(data, 'd', size);
    int fd = client_connect(((struct world *)*state)->port);
    CLEANUP_FREE char *head = text_format(
        "PUT /upload?how=%s HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: %zu\r\n\r\n", how, size);
    client_send(fd, head);
    client_send_bytes(fd, data, size);
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_non_null(strstr(answer, "{\"size\":300000}"));
    close(fd);
    assert_int_equal(fake_spool_files(), files);
}

static void test_upload(void **state)
{
    upload(state, "take", 1); /* the logic has it now */
    upload(state, "refuse", 0); /* nobody wants it */
}

static void test_upload_that_breaks_off(void **state)
{
    fake_spool_files();
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "PUT /upload?how=take HTTP/1.1\r\nHost: x\r\n" GOOD
                    "Content-Length: 1000\r\n\r\nhalf of it");
    clock_sleep_ms(20);
    client_abort(fd);
    expect_status(state, 200, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    assert_int_equal(fake_spool_files(), 0);
}

static void test_later(void **state)
{
    int fd = client_connect(((struct world *)*state)->port);
    for (int i = 0; i < 20; i++) {
        client_send(fd, "GET /thread HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
        CLEANUP_FREE char *answer = client_read_answer(fd);
        assert_non_null(strstr(answer, "{\"late\":true}"));
    }
    close(fd);
}

static void test_pipelined(void **state)
{
    int fd = client_connect(((struct world *)*state)->port);
    CLEANUP_TEXT struct text text = {0};
    for (int i = 0; i < 50; i++) {
        text_add(&text, i % 3 ? "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n"
                              : "POST /thread HTTP/1.1\r\nHost: x\r\n" GOOD
                                "Content-Length: 0\r\n\r\n");
    }
    client_send(fd, text_get(&text));
    for (int i = 0; i < 50; i++) {
        CLEANUP_FREE char *answer = client_read_answer(fd);
        assert_int_equal(client_status(answer), 200);
        assert_non_null(strstr(answer, i % 3 ? "{\"ok\":true}" : "{\"late\":true}"));
    }
    close(fd);
}

static void test_big_answer(void **state)
{
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\n" GOOD "Connection: close\r\n\r\n");
    size_t size = 0;
    CLEANUP_FREE char *answer = client_read_all(fd, &size);
    const char *body = strstr(answer, "\r\n\r\n") + 4;
    assert_int_equal(size - (size_t)(body - answer), FAKE_BIG);
    close(fd);
}

static void test_deadline(void **state)
{
    fake_release(200);
    int fd = client_connect(((struct world *)*state)->port);
    client_send(fd, "POST /never HTTP/1.1\r\nHost: x\r\n" GOOD "Content-Length: 4\r\n\r\nbody");
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_int_equal(client_status(answer), 504);
    assert_non_null(strstr(answer, "application/problem+json"));
    assert_int_equal(fake_held(), 1);
    /* The connection goes on; then the answer comes after all, and is dropped. */
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *next = client_read_answer(fd);
    assert_int_equal(client_status(next), 200);
    fake_release(200);
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *last = client_read_answer(fd);
    assert_non_null(strstr(last, "{\"ok\":true}"));
    close(fd);
}

static void test_missing_is_the_logics(void **state)
{
    expect_status(state, 404, "GET /missing HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    expect_status(state, 405, "BREW /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
}

static void test_metrics(void **state)
{
    expect_status(state, 404, "GET /missing HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_TEXT struct text text = {0};
    /* Counted when the answer was sent, which the client may see before. */
    for (int i = 0; i < 500; i++) {
        text_clear(&text);
        metrics_render(&text);
        if (strstr(text_get(&text), "status=\"404\"")) {
            break;
        }
        clock_sleep_ms(10);
    }
    assert_non_null(strstr(
        text.data, "vimd_http_requests_total{route=\"/fake\",method=\"GET\",status=\"404\"}"));
    assert_non_null(strstr(text.data, "vimd_http_connections "));
    assert_non_null(strstr(text.data, "vimd_http_in_flight "));
    assert_non_null(strstr(text.data, "vimd_http_request_seconds_bucket{"));
}

static void test_stop_answers_what_is_in_progress(void **state)
{
    (void)state;
    struct config_struct *config = fake_config("");
    struct api *api = fake_start(config);
    int waits = client_connect(api_port(api));
    client_send(waits, "GET /never HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    int idle = client_connect(api_port(api));
    client_send(idle, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *first = client_read_answer(idle);
    assert_int_equal(client_status(first), 200);
    while (fake_held() == 0) {
        clock_sleep_ms(5);
    }
    api_stop(api, 50);
    CLEANUP_FREE char *answer = client_read_all(waits, NULL);
    assert_int_equal(client_status(answer), 503);
    CLEANUP_FREE char *nothing = client_read_all(idle, NULL);
    assert_string_equal(nothing, "");
    close(waits);
    close(idle);
    fake_release(200); /* long after the API is gone */
    config_struct_free(config);
}

/* A thread of libmicrohttpd and the one that stops it may take the same socket out of an epoll set; the
 * second must not take that for a failure, as the library would abort the process. */
static void test_removed_twice(void **state)
{
    (void)state;
    int set = epoll_create1(EPOLL_CLOEXEC);
    int pair[2];
    assert_int_equal(pipe(pair), 0);
    struct epoll_event event = {.events = EPOLLIN};
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &event), 0);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &event), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_DEL, pair[0], NULL), 0);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_DEL, pair[0], NULL), 0);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &event), -1);
    assert_int_equal(errno, ENOENT);
    close(pair[0]);
    close(pair[1]);
    close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_no_content),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_what_the_logic_sees),
        cmocka_unit_test(test_authentication),
        cmocka_unit_test(test_authentication_before_the_body),
        cmocka_unit_test(test_token_is_looked_up_once),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_body_where_none_belongs),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_upload_that_breaks_off),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_big_answer),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_missing_is_the_logics),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_stop_answers_what_is_in_progress),
        cmocka_unit_test(test_removed_twice),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
