/*
 * The other sides of the HTTP front: tokens whose owner is told later, peers, health checks, Unix
 * sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "api/listen.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "client.h"
#include "fake_link.h"

#define SECRET "0123456789abcdef"
#define PEER "Authorization: " PEER_SCHEME SECRET "\r\n"
#define HEAD " HTTP/1.1\r\nHost: x\r\n"

struct side {
    struct config_struct *filled;
    struct api_config config;
    struct api *api;
    uint16_t port;
};

static void open_side(struct side *side, enum api_side kind, bool metrics)
{
    side->filled = fake_config("");
    side->config = *(const struct api_config *)config_data(side->filled);
    side->config.side = kind;
    side->config.secret = SECRET;
    side->config.show_metrics = metrics;
    struct failure failure = {0};
    assert_int_equal(api_start(&side->config, fake_spool_dir(), NULL, &side->api, &failure), 0);
    side->port = api_port(side->api);
}

static void close_side(struct side *side)
{
    api_stop(side->api, 2000);
    config_struct_free(side->filled);
}

/* With time enough for all that have to be answered, however slow the machine is. */
static void *stop_side(void *argument)
{
    struct side *side = argument;
    api_stop(side->api, 120000);
    config_struct_free(side->filled);
    return NULL;
}

static int end(void **state)
{
    (void)state;
    fake_end();
    return 0;
}

static void expect(const struct side *side, int status, const char *text, const char *part)
{
    CLEANUP_FREE char *answer = client_ask(side->port, text);
    if (client_status(answer) != status || (part && !strstr(answer, part))) {
        fail_msg("expected %d and '%s': %.300s\nto: %.100s", status, part ? part : "", answer,
                 text);
    }
}

static void test_token_looked_up_later(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_CLIENTS, false);
    expect(&side, 200, "GET /see" HEAD "Authorization: Bearer late-good1\r\n\r\n",
           "project=demo\n");
    expect(&side, 401, "GET /see" HEAD "Authorization: Bearer late-bad\r\n\r\n", "unauthenticated");
    expect(&side, 200,
           "POST /echo" HEAD "Content-Length: 5\r\nAuthorization: Bearer late-good2\r\n\r\nhello",
           "5:hello");
    expect(&side, 200,
           "POST /echo" HEAD
           "Transfer-Encoding: chunked\r\nAuthorization: Bearer late-good3\r\n\r\n"
           "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
           "5:hello");
    expect(&side, 401,
           "POST /echo" HEAD "Content-Length: 5\r\nAuthorization: Bearer late-bad\r\n\r\nhello",
           NULL);
    /* Once known it is not looked up again, and the connection goes on after it was. */
    unsigned before = fake_counts().authentications;
    int fd = client_connect(side.port);
    for (int i = 0; i < 3; i++) {
        client_send(fd, "GET /see" HEAD "Authorization: Bearer late-good4\r\n\r\n");
        CLEANUP_FREE char *answer = client_read_answer(fd);
        assert_int_equal(client_status(answer), 200);
    }
    close(fd);
    assert_int_equal(fake_counts().authentications, before + 1);
    close_side(&side);
}

static void test_upload_with_a_token_looked_up_later(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_CLIENTS, false);
    expect(&side, 202,
           "PUT /upload?what=take" HEAD "Content-Length: 5\r\n"
           "Authorization: Bearer late-good1\r\n\r\nhello",
           "\"size\":5");
    /* The stranger is told so before a byte of his data was read. */
    int fd = client_connect(side.port);
    client_send(fd, "PUT /upload" HEAD "Content-Length: 50000\r\nExpect: 100-continue\r\n"
                    "Authorization: Bearer late-bad\r\n\r\n");
    CLEANUP_FREE char *answer = client_read_all(fd, NULL);
    assert_int_equal(client_status(answer), 401);
    assert_non_null(strstr(answer, "Connection: close"));
    close(fd);
    assert_int_equal(fake_spool_files(), 1);
    close_side(&side);
}

static void test_client_that_leaves_while_its_token_is_looked_up(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_CLIENTS, false);
    for (int i = 0; i < 20; i++) {
        int fd = client_connect(side.port);
        client_send(fd, "GET /see" HEAD "Authorization: Bearer late-good1\r\n\r\n");
        client_abort(fd);
    }
    expect(&side, 200, "GET /see" HEAD GOOD "\r\n", NULL);
    close_side(&side);
}

static void test_stop_while_a_token_is_looked_up(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_CLIENTS, false);
    unsigned before = fake_counts().authentications;
    int fd = client_connect(side.port);
    client_send(fd, "GET /see" HEAD "Authorization: Bearer late-good9\r\n\r\n");
    while (fake_counts().authentications == before) {
        clock_sleep_ms(1);
    }
    close_side(&side);
    CLEANUP_FREE char *answer = client_read_all(fd, NULL);
    assert_int_equal(client_status(answer), 200); /* it is waited for */
    assert_non_null(strstr(answer, "Connection: close"));
    close(fd);
}

static void test_peers(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_PEERS, false);
    const char *principal = "Vimd-Principal: t9 operator 0 blue An%c3%b6nym%20us\r\n";
    CLEANUP_FREE char *good = text_format("GET /see" HEAD PEER "%sVimd-Left: 5000\r\n"
                                          "X-Request-Id: r-1\r\n\r\n",
                                          principal);
    expect(&side, 200, good, "project=blue\n");
    expect(&side, 200, good, "id=r-1\n");
    expect(&side, 200, good, "peer=0\n");
    expect(&side, 200, "GET /see" HEAD PEER "\r\n", "peer=1\n");
    CLEANUP_FREE char *plain = client_ask(side.port, good);
    assert_null(strstr(plain, "no-store"));
    assert_null(strstr(plain, "Vimd-Refused"));
    /* Who does not know the secret. */
    expect(&side, 401, "GET /see" HEAD GOOD "\r\n", "Vimd-Refused: 1");
    expect(&side, 401, "GET /healthz" HEAD "\r\n", "Vimd-Refused: 1");
    expect(&side, 401, "GET /see" HEAD "Authorization: " PEER_SCHEME SECRET "x\r\n\r\n", NULL);
    expect(&side, 401, "GET /see" HEAD "Authorization: " PEER_SCHEME "0123\r\n\r\n", NULL);
    /* Headers that are not understood. */
    expect(&side, 400, "GET /see" HEAD PEER "Vimd-Left: soon\r\n\r\n", NULL);
    expect(&side, 400, "GET /see" HEAD PEER "Vimd-Left: 0\r\n\r\n", NULL);
    expect(&side, 400, "GET /see" HEAD PEER "Vimd-Principal: t9 king 0 blue me\r\n\r\n", NULL);
    expect(&side, 400, "GET /see" HEAD PEER "Vimd-Principal: t9\r\n\r\n", NULL);
    close_side(&side);
}

static void test_deadline_of_a_peer(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_PEERS, false);
    int64_t before = clock_mono_ms();
    expect(&side, 504, "GET /never" HEAD PEER "Vimd-Left: 100\r\n\r\n", "timeout");
    assert_in_range(clock_mono_ms() - before, 100, 20000);
    fake_release(200);
    close_side(&side);
}

static void test_clients_are_no_peers(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_CLIENTS, false);
    expect(&side, 401, "GET /see" HEAD PEER "\r\n", NULL);
    expect(&side, 200,
           "GET /see" HEAD GOOD "Vimd-Principal: t9 admin 0 blue me\r\nVimd-Left: 1\r\n\r\n",
           "project=demo\n");
    expect(&side, 200, "GET /see" HEAD GOOD "\r\n", "peer=0\n");
    close_side(&side);
}

static void test_probes(void **state)
{
    (void)state;
    struct side side;
    open_side(&side, API_PROBES, false);
    expect(&side, 200, "GET /healthz" HEAD "\r\n", NULL);
    expect(&side, 200, "GET /readyz" HEAD "\r\n", NULL);
    expect(&side, 404, "GET /metrics" HEAD "\r\n", NULL);
    expect(&side, 404, "GET /v1/servers" HEAD GOOD "\r\n", NULL);
    close_side(&side);
    open_side(&side, API_PROBES, true);
    expect(&side, 200, "GET /metrics" HEAD "\r\n", NULL);
    close_side(&side);
}

/* A client that comes back this soon is at work; and for so long a stop waits for clients at work
 * (LAST_USE_MS, LAST_USE_MAX_MS in core/api/api.c), each with some time to spare. */
#define AT_WORK_MS 400
#define STOP_MS 1400
#define EARLY 40
#define EARLY_LEAST 5

struct client {
    int fd;
    int64_t used_at; /* last, or when it began to connect */
};

struct clients {
    int64_t stopped_at;
    bool slow;
};

static struct client client_new(const struct side *side)
{
    struct client client = {.used_at = clock_mono_ms()};
    client.fd = client_connect(side->port);
    return client;
}

/* True if it was answered, which is promised as long as the clients have not been slow. */
static bool is_answered(struct clients *clients, struct client *client, bool *ret_told)
{
    int64_t before = client->used_at;
    client->used_at = clock_mono_ms();
    client_send(client->fd, "GET /see" HEAD GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_answer(client->fd);
    int64_t now = clock_mono_ms();
    clients->slow |= now - before >= AT_WORK_MS;
    clients->slow |= clients->stopped_at && now - clients->stopped_at >= STOP_MS;
    *ret_told = strstr(answer, "Connection: close") != NULL;
    if (!clients->slow) {
        assert_int_equal(client_status(answer), 200);
    }
    return client_status(answer) == 200;
}

/* EARLY connections that nobody has accepted yet, and one that is kept and used once more. */
static bool are_all_answered(int early)
{
    struct side side;
    open_side(&side, API_CLIENTS, false);
    pthread_t thread;
    struct client waiting[EARLY];
    for (int i = 0; i < early; i++) {
        waiting[i] = client_new(&side);
    }
    struct client kept = client_new(&side);
    struct clients clients = {0};
    bool told = false, answered = true;
    for (unsigned count = 0; answered && !told; count++) {
        answered = is_answered(&clients, &kept, &told);
        assert_true(count > 3 || (answered && !told));
        if (count == 3) {
            clients.stopped_at = clock_mono_ms();
            assert_int_equal(pthread_create(&thread, NULL, stop_side, &side), 0);
        }
    }
    close(kept.fd);
    for (int i = 0; i < early; i++) {
        answered = answered && is_answered(&clients, &waiting[i], &told);
        assert_true(!answered || told);
        close(waiting[i].fd);
    }
    pthread_join(thread, NULL);
    return answered;
}

/* Whoever was there when it began to stop is answered. On a machine that stood still the clients have
 * not been at work, and are no measure; fewer of them are faster. */
static void test_stop_lets_nobody_fall(void **state)
{
    (void)state;
    bool answered = false;
    for (int left = 10, early = EARLY; left > 0 && !answered; left--) {
        answered = are_all_answered(early);
        early = early / 2 > EARLY_LEAST ? early / 2 : EARLY_LEAST;
    }
    assert_true(answered);
}

static int connect_local(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_unix_socket(void **state)
{
    (void)state;
    char folder[] = "/tmp/test-sides-XXXXXX";
    assert_non_null(mkdtemp(folder));
    CLEANUP_FREE char *path = text_format("%s/socket", folder);
    CLEANUP_FREE char *listen = text_format("unix:%s", path);
    /* One that a process left behind is in nobody's way. */
    int left = -1;
    uint16_t port = 1;
    struct failure failure = {0};
    assert_int_equal(listen_open(listen, false, &left, &port, &failure), 0);
    assert_int_equal(port, 0);
    int second = -1;
    assert_int_equal(listen_open(listen, false, &second, &port, &failure), VIM_E_UNAVAILABLE);
    close(left);
    struct side side;
    side.filled = fake_config("");
    side.config = *(const struct api_config *)config_data(side.filled);
    side.config.listen = listen;
    assert_int_equal(api_start(&side.config, fake_spool_dir(), NULL, &side.api, &failure), 0);
    int fd = connect_local(path);
    client_send(fd, "GET /see" HEAD GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_answer(fd);
    assert_int_equal(client_status(answer), 200);
    close(fd);
    close_side(&side);
    assert_int_equal(access(path, F_OK), -1);
    /* A file that is something else stays. */
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    close(file);
    assert_int_equal(listen_open(listen, false, &second, &port, &failure), VIM_E_UNAVAILABLE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    bool loopback = false;
    assert_int_equal(listen_parse("unix:relative", &loopback, &failure), VIM_E_INVALID);
    assert_int_equal(listen_parse("unix:/x", &loopback, &failure), 0);
    assert_true(loopback);
}

static void test_shared_port(void **state)
{
    (void)state;
    int first = -1, second = -1, third = -1;
    uint16_t port = 0;
    struct failure failure = {0};
    assert_int_equal(listen_open("127.0.0.1:0", true, &first, &port, &failure), 0);
    CLEANUP_FREE char *same = text_format("127.0.0.1:%u", port);
    assert_int_equal(listen_open(same, true, &second, &port, &failure), 0);
    assert_int_equal(listen_open(same, false, &third, &port, &failure), VIM_E_UNAVAILABLE);
    close(first);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_looked_up_later),
        cmocka_unit_test(test_upload_with_a_token_looked_up_later),
        cmocka_unit_test(test_client_that_leaves_while_its_token_is_looked_up),
        cmocka_unit_test(test_stop_while_a_token_is_looked_up),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_deadline_of_a_peer),
        cmocka_unit_test(test_clients_are_no_peers),
        cmocka_unit_test(test_probes),
        cmocka_unit_test(test_stop_lets_nobody_fall),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_shared_port),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
