/*
 * A stop that the machine holds up at its worst places: whoever connects anew, or has asked and was not
 * heard yet, is answered, by this listener or by another one at the same port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "client.h"
#include "fake_link.h"

#define CLIENTS 4
#define REQUEST "GET /see HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n"
/* A client whose attempt to connect is not answered does not wait for its second one. */
#define CONNECT_US 30000
#define PATIENCE_S 60

/* --- The machine: as in core/main/epoll.c the linker prefers what the program defines ------------- */

/* So long it holds up who ends a listening socket, after his last look at it; who has accepted a
 * connection, before he tells of it; and, once, who is about to read. */
static atomic_int ends_late_ms, accepts_late_ms, reads_late_ms;

static void *find(const char *name, _Atomic(void *) *known)
{
    void *found = atomic_load(known);
    if (!found) {
        found = dlsym(RTLD_NEXT, name);
        atomic_store(known, found);
    }
    return found;
}

__attribute__((visibility("default"))) int shutdown(int fd, int how)
{
    static _Atomic(void *) known;
    void *found = find("shutdown", &known);
    int (*call)(int, int);
    memcpy(&call, &found, sizeof call);
    int listens = 0, late = atomic_load(&ends_late_ms);
    socklen_t size = sizeof listens;
    if (late && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens) {
        clock_sleep_ms(late);
    }
    return call(fd, how);
}

__attribute__((visibility("default"))) int accept4(int fd, struct sockaddr *address,
                                                   socklen_t *size, int flags)
{
    static _Atomic(void *) known;
    void *found = find("accept4", &known);
    int (*call)(int, struct sockaddr *, socklen_t *, int);
    memcpy(&call, &found, sizeof call);
    int accepted = call(fd, address, size, flags), late = atomic_load(&accepts_late_ms);
    if (late && accepted >= 0) {
        clock_sleep_ms(late);
    }
    return accepted;
}

__attribute__((visibility("default"))) ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    static _Atomic(void *) known;
    void *found = find("recv", &known);
    ssize_t (*call)(int, void *, size_t, int);
    memcpy(&call, &found, sizeof call);
    int late = atomic_exchange(&reads_late_ms, 0);
    if (late) {
        clock_sleep_ms(late);
    }
    return call(fd, buffer, size, flags);
}

/* --- Clients, each with a connection for every request ---------------------------------------------- */

struct clients {
    uint16_t port;
    atomic_bool stop;
    atomic_uint answered, failed;
    pthread_t threads[CLIENTS];
};

/* 0: no connection in time; -1: reset, or no answer. */
static int ask_anew(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval connects = {.tv_usec = CONNECT_US}, answers = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &connects, sizeof connects);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answers, sizeof answers);
    char answer[1024] = "";
    int status = -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        status = errno == EINPROGRESS ? 0 : -1;
    } else if (client_send(fd, REQUEST) == strlen(REQUEST) &&
               recv(fd, answer, sizeof answer - 1, 0) > 0) {
        status = client_status(answer);
    }
    client_abort(fd); /* its port is free at once */
    return status;
}

static void *run_client(void *argument)
{
    struct clients *clients = argument;
    while (!atomic_load(&clients->stop)) {
        int status = ask_anew(clients->port);
        if (status) {
            atomic_fetch_add(status == 200 ? &clients->answered : &clients->failed, 1);
        }
    }
    return NULL;
}

static struct api *start(const struct api_config *config)
{
    struct api *api = NULL;
    struct failure failure = {0};
    assert_int_equal(api_start(config, fake_spool_dir(), NULL, &api, &failure), 0);
    return api;
}

/* One of two is always there. */
static void expect_nobody_falls(int rounds)
{
    struct config_struct *filled = fake_config("reuse_port: true\nrate: 0\n");
    struct api_config config = *(const struct api_config *)config_data(filled);
    struct api *apis[2] = {start(&config), NULL};
    struct clients clients = {.port = api_port(apis[0])};
    CLEANUP_FREE char *listen = text_format("127.0.0.1:%u", clients.port);
    config.listen = listen;
    apis[1] = start(&config);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&clients.threads[i], NULL, run_client, &clients), 0);
    }
    for (int i = 0; i < rounds; i++) {
        unsigned before = atomic_load(&clients.answered) + atomic_load(&clients.failed);
        while (atomic_load(&clients.answered) + atomic_load(&clients.failed) < before + CLIENTS) {
            clock_sleep_ms(1);
        }
        api_stop(apis[i % 2], 120000);
        apis[i % 2] = start(&config);
    }
    atomic_store(&clients.stop, true);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients.threads[i], NULL);
    }
    api_stop(apis[0], 2000);
    api_stop(apis[1], 2000);
    config_struct_free(filled);
    assert_int_equal(atomic_load(&clients.failed), 0);
}

/* The kernel resets those whom it has connected to a listening socket that ends before they were
 * accepted. */
static void test_connected_before_the_end_of_the_socket(void **state)
{
    (void)state;
    expect_nobody_falls(20); /* as it comes */
    atomic_store(&ends_late_ms, 5);
    expect_nobody_falls(20);
    atomic_store(&ends_late_ms, 0);
}

static void test_accepted_and_not_told_of(void **state)
{
    (void)state;
    atomic_store(&accepts_late_ms, 40);
    expect_nobody_falls(10);
    atomic_store(&accepts_late_ms, 0);
}

/* --- A request that lies in its socket -------------------------------------------------------------- */

static void *stop_late(void *argument)
{
    api_stop(argument, 120000);
    return NULL;
}

static void test_request_that_nobody_has_read(void **state)
{
    (void)state;
    struct config_struct *filled = fake_config("rate: 0\n");
    struct api *api = fake_start(filled);
    int fd = client_connect(api_port(api));
    while (api_connections(api) == 0) {
        clock_sleep_ms(1);
    }
    atomic_store(&reads_late_ms, 2000); /* more than LAST_USE_MAX_MS in core/api/api.c */
    client_send(fd, REQUEST);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_late, api), 0);
    CLEANUP_FREE char *answer = client_read_answer(fd);
    pthread_join(thread, NULL);
    close(fd);
    config_struct_free(filled);
    assert_int_equal(atomic_load(&reads_late_ms), 0);
    assert_int_equal(client_status(answer), 200);
    assert_non_null(strstr(answer, "Connection: close"));
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
        cmocka_unit_test(test_connected_before_the_end_of_the_socket),
        cmocka_unit_test(test_accepted_and_not_told_of),
        cmocka_unit_test(test_request_that_nobody_has_read),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
