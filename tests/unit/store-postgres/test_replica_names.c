/*
 * Replicas that are found under a name: they come and go with its addresses, which the test says. Both real replicas
 * listen at one port, each on a loopback address of its own.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"
#include "fixture.h"

#define NAME "replicas.test"
#define FIRST "127.0.0.2"
#define SECOND "127.0.0.3"
#define ADDRESSES_MAX 64

/* --- What the resolver says ------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    int code;
    unsigned count;
    char addresses[ADDRESSES_MAX][16];
    unsigned looked; /* times that the name was looked up */
} resolver = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* In the place of libc's, for the plugin too. */
__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *port,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret_found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct addrinfo *last = NULL, *all = NULL;
    int code;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!name || strcmp(name, NAME) != 0)
        return real(name, port, hints, ret_found);
    pthread_mutex_lock(&resolver.lock);
    resolver.looked++;
    code = resolver.code;
    for (unsigned i = 0; code == 0 && i < resolver.count; i++) {
        struct addrinfo *one = NULL;

        assert_int_equal(real(resolver.addresses[i], port, hints, &one), 0);
        *(last ? &last->ai_next : &all) = one;
        for (last = one; last->ai_next;)
            last = last->ai_next;
    }
    pthread_mutex_unlock(&resolver.lock);
    *ret_found = all;
    return code == 0 && !all ? EAI_NONAME : code;
}

static unsigned looked(void)
{
    unsigned times;

    pthread_mutex_lock(&resolver.lock);
    times = resolver.looked;
    pthread_mutex_unlock(&resolver.lock);
    return times;
}

static void say(int code, unsigned count, const char *const *addresses)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.code = code;
    resolver.count = count;
    for (unsigned i = 0; i < count; i++)
        snprintf(resolver.addresses[i], sizeof resolver.addresses[i], "%s", addresses[i]);
    pthread_mutex_unlock(&resolver.lock);
}

/* Until what was said has been heard, and acted upon: the look-up after the next begins when that has ended. */
static void await_look_up(void)
{
    unsigned before = looked();

    for (int i = 0; i < 6000 && looked() < before + 3; i++)
        usleep(10000);
    assert_true(looked() >= before + 3);
}

/* --- Connections that break ------------------------------------------------------------------------- */

static _Atomic int64_t cut_after =
    -1; /* bytes from FIRST until its connection breaks, once; -1: never */

static bool is_from_first(int fd)
{
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof peer;

    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
           peer.sin_addr.s_addr == inet_addr(FIRST);
}

/* In the place of libc's, for libpq. */
__attribute__((visibility("default"))) ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    ssize_t (*real)(int, void *, size_t, int);
    int64_t left = atomic_load(&cut_after);
    ssize_t length;

    *(void **)&real = dlsym(RTLD_NEXT, "recv");
    if (left < 0 || !is_from_first(fd))
        return real(fd, buffer, size, flags);
    if (left == 0) {
        atomic_store(&cut_after, -1);
        shutdown(fd, SHUT_RDWR);
        errno = ECONNRESET;
        return -1;
    }
    length = real(fd, buffer, (int64_t)size < left ? size : (size_t)left, flags);
    if (length > 0)
        atomic_store(&cut_after, left - length);
    return length;
}

/* --- Servers ---------------------------------------------------------------------------------------- */

static const char *port;

static void restart(const char *name, const char *address)
{
    char settings[80];

    snprintf(settings, sizeof settings, "listen_addresses=%s port=%s", address, port);
    server_control("postgres", "down", name, NULL);
    server_control("postgres", "up", name, settings);
}

static int start_servers(void **state)
{
    (void)state;
    port = getenv("TEST_REPLICA_PORT");
    restart("REPLICA", FIRST);
    restart("REPLICA2", SECOND);
    return 0;
}

/* Connections of the store to the replica at ADDRESS. */
static int connections_to(const char *address)
{
    const char *keys[] = {"host", "port", "user", "password", "dbname", NULL};
    const char *values[] = {address,    port, "vimd", getenv("TEST_POSTGRES_PASSWORD"),
                            "postgres", NULL};
    PGconn *connection = PQconnectdbParams(keys, values, 0);
    PGresult *result = PQexec(
        connection, "SELECT count(*) FROM pg_stat_activity WHERE application_name='vimd main'");
    int count;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", address, PQerrorMessage(connection));
    count = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    return count;
}

/* --- The store ---------------------------------------------------------------------------------------- */

static int scan_count(void *instance)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = "c"};
    struct vim_call call = {0};
    int code = ops->scan(&call, instance, &scan);

    return code < 0 ? code : (int)call.count;
}

static void open_named(struct fixture *fixture, const char *name)
{
    snprintf(fixture->addresses[1], sizeof fixture->addresses[1], "%s:%s replica", name, port);
    fixture->config.hosts.count = 2;
    fixture->config.sslmode = "disable"; /* the certificate has another name */
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "first", VIM_EXPECT_ANY), VIM_OK);
    atomic_store(&answered_by_replica, 0);
    atomic_store(&answered_by_primary, 0);
}

/* Reads until the number of connections to ADDRESS is (AWAY) none, or some. */
static void read_until(struct fixture *fixture, const char *address, bool away)
{
    for (int i = 0; i < 2000; i++) {
        for (int reads = 0; reads < 5; reads++)
            assert_int_equal(scan_count(fixture->instance), 1);
        if ((connections_to(address) == 0) == away)
            return;
        usleep(10000);
    }
    fail_msg("%s: %d connections", address, connections_to(address));
}

/* --- Tests -------------------------------------------------------------------------------------------- */

static void test_come_and_go(void **state)
{
    static const char *const both[] = {FIRST, SECOND};
    struct fixture *fixture = *state;

    say(0, 0, NULL);
    open_named(fixture, NAME);
    await_look_up();
    assert_int_equal(scan_count(fixture->instance), 1);
    assert_int_equal(atomic_load(&answered_by_replica), 0);
    say(0, 1, both);
    read_until(fixture, FIRST, false);
    assert_int_equal(connections_to(SECOND), 0);
    say(0, 2, both);
    read_until(fixture, SECOND, false);
    read_until(fixture, FIRST, false);
    assert_true(atomic_load(&answered_by_replica) > 0);
    say(0, 1, both + 1);
    read_until(fixture, FIRST, true);
    /* Nobody misses it. */
    server_control("postgres", "down", "REPLICA", NULL);
    await_look_up();
    atomic_store(&answered_by_primary, 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(scan_count(fixture->instance), 1);
    assert_true(connections_to(SECOND) > 0);
    plugin->close(fixture->instance);
    restart("REPLICA", FIRST);
}

/* One answer after another is shared out among those that there are, whatever order the resolver has them in. */
static void test_shared_out(void **state)
{
    static const char *const both[] = {SECOND, FIRST};
    struct fixture *fixture = *state;
    struct vim_call call;

    say(0, 2, both);
    open_named(fixture, NAME);
    read_until(fixture, FIRST, false);
    read_until(fixture, SECOND, false);
    test_call_init(&call);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_OK);
    assert_non_null(strstr(call.rows[0].body, "\"replicas\":2,\"replicas_reachable\":2,"
                                              "\"replicas_in_step\":2"));
    test_call_clear(&call);
    plugin->close(fixture->instance);
}

/* A resolver that fails says nothing; one that knows no such name does. */
static void test_failures(void **state)
{
    static const char *const one[] = {FIRST};
    struct fixture *fixture = *state;

    say(0, 1, one);
    open_named(fixture, NAME);
    read_until(fixture, FIRST, false);
    say(EAI_AGAIN, 0, NULL);
    await_look_up();
    for (int i = 0; i < 20; i++)
        assert_int_equal(scan_count(fixture->instance), 1);
    assert_true(connections_to(FIRST) > 0);
    say(EAI_NONAME, 0, NULL);
    read_until(fixture, FIRST, true);
    plugin->close(fixture->instance);
}

/* Addresses at which there is nothing, and more of them than there are places. */
static void test_too_many(void **state)
{
    char text[ADDRESSES_MAX][16];
    const char *many[ADDRESSES_MAX];
    struct fixture *fixture = *state;
    struct vim_call call;

    for (int i = 0; i < ADDRESSES_MAX; i++) {
        snprintf(text[i], sizeof text[i], "127.0.1.%d", i + 1);
        many[i] = i == 0 ? FIRST : text[i];
    }
    say(0, ADDRESSES_MAX, many);
    open_named(fixture, NAME);
    await_look_up();
    read_until(fixture, FIRST, false);
    test_call_init(&call);
    assert_int_equal(plugin->probe(&call, fixture->instance), VIM_OK);
    assert_non_null(strstr(call.rows[0].body, "\"replicas\":32,\"replicas_reachable\":1,"));
    test_call_clear(&call);
    say(0, 1, many);
    await_look_up();
    for (int i = 0; i < 20; i++)
        assert_int_equal(scan_count(fixture->instance), 1);
    assert_true(connections_to(FIRST) > 0);
    plugin->close(fixture->instance);
}

struct reading {
    void *instance;
    int found;
};

static void *read_slowly(void *context)
{
    struct reading *reading = context;
    struct vim_scan scan = {.size = sizeof scan, .collection = "c"};
    struct vim_call call = {.emit_pause_ms = 20};
    int code = ops->scan(&call, reading->instance, &scan);

    reading->found = code < 0 ? code : (int)call.count;
    return NULL;
}

/* What a replica is reading when it goes is read to the end. */
static void test_read_to_the_end(void **state)
{
    static const char *const one[] = {FIRST};
    struct fixture *fixture = *state;
    struct reading reading;
    pthread_t thread;
    char id[24];

    say(0, 1, one);
    open_named(fixture, NAME);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(put(fixture->instance, id, 0), VIM_OK);
    }
    for (int i = 0; i < 2000 && atomic_load(&answered_by_replica) == 0; i++) {
        assert_int_equal(scan_count(fixture->instance), 101);
        usleep(10000);
    }
    atomic_store(&answered_by_replica, 0);
    reading.instance = fixture->instance;
    pthread_create(&thread, NULL, read_slowly, &reading);
    usleep(300000);
    say(0, 0, NULL);
    await_look_up();
    /* Another one at its place meanwhile would find it taken. */
    say(0, 1, one);
    await_look_up();
    pthread_join(thread, NULL);
    assert_int_equal(reading.found, 101);
    assert_int_equal(atomic_load(&answered_by_replica), 1);
    plugin->close(fixture->instance);
}

/* A replica that is stopped in the middle of an answer: another server gives all of it. */
static void test_broken_answer(void **state)
{
    static const char *const one[] = {FIRST};
    struct fixture *fixture = *state;
    char id[24];

    say(0, 1, one);
    open_named(fixture, NAME);
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(put(fixture->instance, id, 0), VIM_OK);
    }
    for (int i = 0; i < 2000 && atomic_load(&answered_by_replica) == 0; i++) {
        assert_int_equal(scan_count(fixture->instance), 301);
        usleep(10000);
    }
    atomic_store(&answered_by_primary, 0);
    for (int i = 0; i < 2000 && atomic_load(&answered_by_primary) == 0; i++) {
        atomic_store(&cut_after, 10000);
        assert_int_equal(scan_count(fixture->instance), 301);
    }
    assert_int_equal(atomic_load(&cut_after), -1);
    plugin->close(fixture->instance);
}

#define READERS 6

struct crowd {
    void *instance;
    atomic_bool stop;
    atomic_uint wrong, answers;
};

static void *read_on_and_on(void *context)
{
    struct crowd *crowd = context;

    while (!atomic_load(&crowd->stop)) {
        atomic_fetch_add(&crowd->wrong, scan_count(crowd->instance) != 1);
        atomic_fetch_add(&crowd->answers, 1);
    }
    return NULL;
}

/* Many read while replicas come, go, and are stopped once they are gone. */
static void test_crowd(void **state)
{
    static const char *const both[] = {FIRST, SECOND};
    struct fixture *fixture = *state;
    struct crowd crowd = {0};
    pthread_t threads[READERS];

    say(0, 2, both);
    open_named(fixture, NAME);
    read_until(fixture, FIRST, false);
    crowd.instance = fixture->instance;
    for (int i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, read_on_and_on, &crowd);
    for (int round = 0; round < 2; round++) {
        say(0, 1, both + 1);
        await_look_up();
        restart("REPLICA", FIRST);
        say(0, 2, both);
        await_look_up();
        say(0, 1, both);
        await_look_up();
        say(0, 2, both);
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_true(atomic_load(&crowd.answers) > 0);
    assert_true(atomic_load(&answered_by_replica) > 0);
    plugin->close(fixture->instance);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_come_and_go), TEST(test_shared_out),      TEST(test_failures),
        TEST(test_too_many),    TEST(test_read_to_the_end), TEST(test_broken_answer),
        TEST(test_crowd),
    };

    signal(SIGPIPE, SIG_IGN);
    fixture_load();
    return cmocka_run_group_tests(tests, start_servers, NULL);
}
