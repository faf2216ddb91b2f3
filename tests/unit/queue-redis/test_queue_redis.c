/*
 * What is particular to queue-redis: a server that restarts, hangs, forgets, refuses; several instances.
 * The contract of queue.h itself is held against it by vim-plugin-check (tests/conform).
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vim/queue.h>

#include <cmocka.h>

#include "control.h"
#include "test_host.h"

#define LONG_LEASE_MS 600000

/* As the plugin's option table fills it. */
struct config {
    const char *address, *username, *password;
    int64_t database;
    const char *prefix;
    int64_t capacity, connections, timeout;
};

struct fixture {
    char address[64];
    struct vim_self self;
    struct config config;
    void *instance;
};

static const struct vim_plugin *plugin;
static const struct vim_queue_ops *ops;

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    server_control("redis", "cli", "REDIS", "flushall");
    snprintf(fixture->address, sizeof fixture->address, "127.0.0.1:%s", getenv("TEST_REDIS_PORT"));
    fixture->self = (struct vim_self){.instance = "main"};
    fixture->config = (struct config){.address = fixture->address,
                                      .password = getenv("TEST_REDIS_PASSWORD"),
                                      .prefix = "test",
                                      .capacity = 100000,
                                      .connections = 8,
                                      .timeout = 10000};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static int open_with(struct fixture *fixture, struct vim_call *call, void **ret_instance)
{
    memset(call, 0, sizeof *call);
    return plugin->open(call, &test_host, &fixture->self, &fixture->config, ret_instance);
}

static void *open_queue(struct fixture *fixture)
{
    struct vim_call call;
    void *instance = NULL;

    assert_int_equal(open_with(fixture, &call, &instance), VIM_OK);
    return instance;
}

static int push(void *instance, const char *id, uint32_t delay)
{
    struct vim_call call = {0};

    return ops->push(&call, instance, "task", id, delay);
}

/* Pulls up to MAXIMUM; the number of them, or the error. The first one's id and deliveries. */
static int pull(void *instance, uint32_t maximum, uint32_t wait, uint32_t lease, char id[256],
                uint64_t *ret_deliveries)
{
    struct vim_call call;
    int code;

    test_call_init(&call);
    code = ops->pull(&call, instance, "task", maximum, wait, lease);
    if (code == VIM_OK)
        code = (int)call.count;
    if (code > 0 && id)
        snprintf(id, 256, "%s", call.rows[0].id);
    if (code > 0 && ret_deliveries)
        *ret_deliveries = call.rows[0].revision;
    test_call_clear(&call);
    return code;
}

static int done(void *instance, const char *id)
{
    struct vim_call call = {0};

    return ops->done(&call, instance, "task", id);
}

static void test_refused_options(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call;
    void *instance;

    fixture->config.address = "127.0.0.1:0";
    assert_int_equal(open_with(fixture, &call, &instance), VIM_E_INVALID);
    assert_non_null(strstr(call.text, "address"));
    fixture->config.address = fixture->address;
    fixture->config.prefix = "a{b}";
    assert_int_equal(open_with(fixture, &call, &instance), VIM_E_INVALID);
    assert_non_null(strstr(call.text, "prefix"));
    fixture->config.prefix = "test";
    fixture->config.username = "me";
    fixture->config.password = NULL;
    assert_int_equal(open_with(fixture, &call, &instance), VIM_E_INVALID);
    assert_non_null(strstr(call.text, "username"));
}

static void test_passwords_and_users(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};
    void *instance;

    fixture->config.timeout = 500;
    fixture->config.password = "surely-not-this";
    instance = open_queue(fixture);
    assert_int_equal(plugin->probe(&call, instance), VIM_E_CREDENTIAL);
    assert_null(strstr(call.text, "surely"));
    assert_int_equal(push(instance, "a", 0), VIM_E_CREDENTIAL);
    assert_int_equal(pull(instance, 1, 0, 1000, NULL, NULL), VIM_E_CREDENTIAL);
    plugin->close(instance);
    fixture->config.password = NULL;
    instance = open_queue(fixture);
    assert_int_equal(push(instance, "a", 0), VIM_E_CREDENTIAL);
    plugin->close(instance);
    /* The rights that the documentation names are enough. */
    server_control("redis", "cli", "REDIS",
                   "ACL SETUSER vimd on '>secret' '~test:*' '&test:*' +@read +@write +@connection "
                   "+@scripting +@pubsub +@transaction +info +time");
    fixture->config.username = "vimd";
    fixture->config.password = "secret";
    fixture->config.timeout = 10000;
    instance = open_queue(fixture);
    assert_int_equal(push(instance, "a", 0), VIM_OK);
    assert_int_equal(pull(instance, 1, 5000, 1000, NULL, NULL), 1);
    assert_int_equal(plugin->probe(&call, instance), VIM_OK);
    plugin->close(instance);
    server_control("redis", "cli", "REDIS", "ACL DELUSER vimd");
}

static void test_capacity(void **state)
{
    struct fixture *fixture = *state;
    void *instance;

    fixture->config.capacity = 3;
    instance = open_queue(fixture);
    assert_int_equal(push(instance, "a", 0), VIM_OK);
    assert_int_equal(push(instance, "b", LONG_LEASE_MS), VIM_OK);
    assert_int_equal(push(instance, "c", 0), VIM_OK);
    assert_int_equal(push(instance, "d", 0), VIM_E_BUSY);
    assert_int_equal(push(instance, "a", 0), VIM_OK); /* waits already */
    assert_int_equal(push(instance, "b", 0), VIM_OK);
    assert_int_equal(pull(instance, 10, 5000, LONG_LEASE_MS, NULL, NULL), 3);
    assert_int_equal(push(instance, "d", 0), VIM_E_BUSY); /* out is not gone */
    assert_int_equal(done(instance, "a"), VIM_OK);
    assert_int_equal(push(instance, "d", 0), VIM_OK);
    plugin->close(instance);
}

/* What a process that died has out comes to another when its lease ends. */
static void test_reclaim(void **state)
{
    struct fixture *fixture = *state;
    void *dead = open_queue(fixture), *instance = open_queue(fixture);
    uint64_t deliveries = 0;
    char id[256] = "";

    assert_int_equal(push(dead, "a", 0), VIM_OK);
    assert_int_equal(pull(dead, 1, 5000, 300, NULL, NULL), 1);
    plugin->close(dead);
    assert_int_equal(pull(instance, 1, 0, 1000, NULL, NULL), 0);
    assert_int_equal(pull(instance, 1, 20000, LONG_LEASE_MS, id, &deliveries), 1);
    assert_string_equal(id, "a");
    assert_int_equal(deliveries, 2);
    assert_int_equal(done(instance, "a"), VIM_OK);
    assert_int_equal(pull(instance, 1, 100, 1000, NULL, NULL), 0);
    plugin->close(instance);
}

/* An id that is taken twice is out until the second done. */
static void test_out_twice(void **state)
{
    struct fixture *fixture = *state;
    void *instance = open_queue(fixture);
    struct vim_call call = {0};

    for (int i = 0; i < 3; i++) {
        assert_int_equal(push(instance, "a", 0), VIM_OK);
        assert_int_equal(pull(instance, 1, 5000, LONG_LEASE_MS, NULL, NULL), 1);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(done(instance, "a"), VIM_OK);
        assert_int_equal(ops->renew(&call, instance, "task", "a", LONG_LEASE_MS), VIM_OK);
    }
    assert_int_equal(done(instance, "a"), VIM_OK);
    assert_int_equal(ops->renew(&call, instance, "task", "a", 1000), VIM_E_NOT_FOUND);
    plugin->close(instance);
    server_control("redis", "cli", "REDIS", "xlen 'test:{task}:stream' | grep -qx 0 && true");
}

/* What "delivered" of the topic's depth is, as INSTANCE sees it. */
static int delivered(void *instance)
{
    struct vim_call call;
    int number = -1;

    test_call_init(&call);
    assert_int_equal(ops->depth(&call, instance, "task"), VIM_OK);
    assert_non_null(strstr(call.rows[0].body, "\"delivered\":"));
    number = atoi(strstr(call.rows[0].body, "\"delivered\":") + 12);
    test_call_clear(&call);
    return number;
}

/* That an entry has ended reaches Redis by itself, though nobody pulls any more. */
static void test_ends_are_told(void **state)
{
    struct fixture *fixture = *state;
    void *instance = open_queue(fixture), *other = open_queue(fixture);
    char id[16];

    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(push(instance, id, 0), VIM_OK);
    }
    assert_int_equal(pull(instance, 100, 5000, LONG_LEASE_MS, NULL, NULL), 100);
    assert_int_equal(delivered(other), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(done(instance, id), VIM_OK);
    }
    for (int i = 0; i < 2000 && delivered(other) > 0; i++)
        usleep(10000);
    assert_int_equal(delivered(other), 0);
    /* And with the end of the instance. */
    assert_int_equal(push(instance, "last", 0), VIM_OK);
    assert_int_equal(pull(instance, 1, 5000, LONG_LEASE_MS, NULL, NULL), 1);
    assert_int_equal(done(instance, "last"), VIM_OK);
    plugin->close(instance);
    assert_int_equal(delivered(other), 0);
    plugin->close(other);
}

/* Who got less than it wanted waits next: Redis has to tell it of the next push. Who got all looks again by
 * itself. */
static void test_short_pull_is_told(void **state)
{
    struct fixture *fixture = *state;
    void *instance = open_queue(fixture);

    for (const char *id = "abcd"; *id; id++)
        assert_int_equal(push(instance, (char[]){*id, '\0'}, 0), VIM_OK);
    assert_int_equal(pull(instance, 2, 5000, LONG_LEASE_MS, NULL, NULL), 2);
    server_control("redis", "cli", "REDIS", "exists 'test:{task}:idle' | grep -qx 0 && true");
    assert_int_equal(pull(instance, 8, 5000, LONG_LEASE_MS, NULL, NULL), 2);
    server_control("redis", "cli", "REDIS", "exists 'test:{task}:idle' | grep -qx 1 && true");
    plugin->close(instance);
}

/* One instance may renew and end what another took. */
static void test_foreign_entries(void **state)
{
    struct fixture *fixture = *state;
    void *instance = open_queue(fixture), *other = open_queue(fixture);
    struct vim_call call = {0};

    assert_int_equal(push(instance, "a", 0), VIM_OK);
    assert_int_equal(push(instance, "b", 0), VIM_OK);
    assert_int_equal(pull(instance, 2, 5000, LONG_LEASE_MS, NULL, NULL), 2);
    assert_int_equal(ops->renew(&call, other, "task", "a", LONG_LEASE_MS), VIM_OK);
    assert_int_equal(ops->renew(&call, other, "task", "c", LONG_LEASE_MS), VIM_E_NOT_FOUND);
    assert_int_equal(done(other, "b"), VIM_OK);
    assert_int_equal(done(other, "c"), VIM_OK);
    assert_int_equal(delivered(other), 1);
    assert_int_equal(ops->renew(&call, instance, "task", "b", 1000), VIM_E_NOT_FOUND);
    plugin->close(instance);
    plugin->close(other);
}

#define PUSHERS 24
#define PUSHED 50

struct flood {
    void *instance;
    atomic_uint next, ok, full, wrong;
};

static void *push_many(void *context)
{
    struct flood *flood = context;
    char id[16];

    for (unsigned i = 0; i < PUSHED; i++) {
        int code;

        snprintf(id, sizeof id, "%u", atomic_fetch_add(&flood->next, 1));
        code = push(flood->instance, id, i % 5 == 4 ? LONG_LEASE_MS : 0);
        atomic_fetch_add(code == VIM_OK       ? &flood->ok
                         : code == VIM_E_BUSY ? &flood->full
                                              : &flood->wrong,
                         1);
    }
    return NULL;
}

/* Pushes of many threads go together; each is told of its own, and no more fit in than may. */
static void test_pushes_together(void **state)
{
    struct fixture *fixture = *state;
    struct flood flood = {0};
    pthread_t threads[PUSHERS];
    char ids[PUSHERS * PUSHED] = {0}, id[256];
    unsigned pulled = 0;

    fixture->config.capacity = 1000;
    flood.instance = open_queue(fixture);
    for (int i = 0; i < PUSHERS; i++)
        pthread_create(&threads[i], NULL, push_many, &flood);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&flood.wrong), 0);
    assert_int_equal(atomic_load(&flood.ok), 1000);
    assert_int_equal(atomic_load(&flood.full), PUSHERS * PUSHED - 1000);
    while (pull(flood.instance, 1, 0, LONG_LEASE_MS, id, NULL) == 1) {
        assert_int_equal(ids[atoi(id)]++, 0);
        pulled++;
    }
    assert_true(pulled > 500 && pulled < 1000);
    assert_int_equal(delivered(flood.instance), pulled);
    plugin->close(flood.instance);
}

struct waiter {
    void *instance;
    int got;
    int64_t took;
};

static void *wait_long(void *context)
{
    struct waiter *waiter = context;
    int64_t start = test_now();

    waiter->got = pull(waiter->instance, 1, 50000, LONG_LEASE_MS, NULL, NULL);
    waiter->took = test_now() - start;
    return NULL;
}

/* RUN with a pull in progress, which then gets what is pushed. */
static void with_waiter(struct fixture *fixture, void (*run)(void))
{
    void *instance = open_queue(fixture), *other = open_queue(fixture);
    struct waiter waiter = {.instance = instance};
    pthread_t thread;

    pthread_create(&thread, NULL, wait_long, &waiter);
    usleep(300000);
    run();
    assert_int_equal(push(other, "a", 0), VIM_OK);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.got, 1);
    assert_true(waiter.took < 40000);
    plugin->close(instance);
    plugin->close(other);
}

static void nothing(void)
{
}

static void wipe(void)
{
    server_control("redis", "cli", "REDIS", "flushall");
}

static void restart(void)
{
    server_control("redis", "down", "REDIS", NULL);
    server_control("redis", "up", "REDIS", NULL);
}

static void forget_scripts(void)
{
    server_control("redis", "cli", "REDIS", "script flush");
}

static void test_other_instance_wakes(void **state)
{
    with_waiter(*state, nothing);
}

static void test_wiped_while_waiting(void **state)
{
    with_waiter(*state, wipe);
}

static void test_restarted_while_waiting(void **state)
{
    with_waiter(*state, restart);
}

static void test_scripts_forgotten(void **state)
{
    with_waiter(*state, forget_scripts);
}

static void test_wiped_with_entries(void **state)
{
    struct fixture *fixture = *state;
    void *instance = open_queue(fixture);
    struct vim_call call = {0};

    assert_int_equal(push(instance, "a", 0), VIM_OK);
    assert_int_equal(push(instance, "b", 0), VIM_OK);
    assert_int_equal(pull(instance, 1, 5000, LONG_LEASE_MS, NULL, NULL), 1);
    wipe();
    assert_int_equal(ops->renew(&call, instance, "task", "a", 1000), VIM_E_NOT_FOUND);
    assert_int_equal(done(instance, "a"), VIM_OK);
    assert_int_equal(pull(instance, 1, 0, 1000, NULL, NULL), 0);
    assert_int_equal(push(instance, "b", 0), VIM_OK);
    assert_int_equal(pull(instance, 1, 5000, LONG_LEASE_MS, NULL, NULL), 1);
    /* The stream alone is gone: what waited in it does not swallow the pushes to come. */
    assert_int_equal(push(instance, "c", 0), VIM_OK);
    server_control("redis", "cli", "REDIS", "del 'test:{task}:stream'");
    assert_int_equal(push(instance, "c", 0), VIM_OK);
    assert_int_equal(pull(instance, 1, 5000, LONG_LEASE_MS, NULL, NULL), 1);
    assert_int_equal(done(instance, "b"), VIM_OK);
    plugin->close(instance);
}

static void test_frozen_server(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};
    int64_t start;
    void *instance;
    int code;

    fixture->config.timeout = 300;
    instance = open_queue(fixture);
    assert_int_equal(push(instance, "a", 0), VIM_OK);
    server_control("redis", "freeze", "REDIS", NULL);
    start = test_now();
    assert_int_equal(push(instance, "b", 0), VIM_E_TIMEOUT);
    call.deadline_ms = test_now() + 200;
    code = ops->pull(&call, instance, "task", 1, 60000, 1000);
    assert_true(code == VIM_E_TIMEOUT || code == VIM_E_UNAVAILABLE);
    assert_true(test_now() - start < 20000);
    server_control("redis", "thaw", "REDIS", NULL);
    assert_true(pull(instance, 2, 5000, LONG_LEASE_MS, NULL, NULL) >= 1);
    plugin->close(instance);
}

static void test_nobody_there(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = test_now();
    void *instance;

    fixture->config.address = "127.0.0.1:1";
    fixture->config.timeout = 200;
    instance = open_queue(fixture);
    assert_int_equal(push(instance, "a", 0), VIM_E_UNAVAILABLE);
    assert_true(test_now() - start >= 190);
    assert_int_equal(pull(instance, 1, 60000, 1000, NULL, NULL), VIM_E_UNAVAILABLE);
    plugin->close(instance);
}

#define THREADS 6
#define ENTRIES 1500

struct crowd {
    void *instances[2];
    atomic_uchar seen[ENTRIES];
    atomic_uint pulled, wrong, next;
};

static void *push_and_pull(void *context)
{
    struct crowd *crowd = context;
    unsigned number = atomic_fetch_add(&crowd->next, 1);
    void *mine = crowd->instances[number % 2];
    char id[256];

    for (unsigned i = number; i < ENTRIES; i += THREADS) {
        snprintf(id, sizeof id, "%u", i);
        atomic_fetch_add(&crowd->wrong, push(mine, id, i % 3) != VIM_OK);
    }
    while (atomic_load(&crowd->pulled) < ENTRIES) {
        int count = pull(mine, 1, 50, LONG_LEASE_MS, id, NULL);

        if (count < 1) {
            atomic_fetch_add(&crowd->wrong, count < 0);
            continue;
        }
        atomic_fetch_add(&crowd->wrong, atomic_fetch_add(&crowd->seen[atoi(id)], 1) != 0);
        atomic_fetch_add(&crowd->wrong, done(mine, id) != VIM_OK);
        atomic_fetch_add(&crowd->pulled, 1);
    }
    return NULL;
}

/* More threads than connections, and fewer connections than asked for: the server refuses the rest. */
static void test_two_instances_and_too_many_connections(void **state)
{
    struct fixture *fixture = *state;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    pthread_t threads[THREADS];

    crowd->instances[0] = open_queue(fixture);
    crowd->instances[1] = open_queue(fixture);
    assert_int_equal(push(crowd->instances[0], "0", 0), VIM_OK);
    assert_int_equal(push(crowd->instances[1], "0", 0), VIM_OK);
    server_control("redis", "cli", "REDIS", "config set maxclients 5");
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, push_and_pull, crowd);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd->wrong), 0);
    plugin->close(crowd->instances[0]);
    plugin->close(crowd->instances[1]);
    restart();
    free(crowd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_options),
        TEST(test_passwords_and_users),
        TEST(test_capacity),
        TEST(test_reclaim),
        TEST(test_out_twice),
        TEST(test_ends_are_told),
        TEST(test_short_pull_is_told),
        TEST(test_foreign_entries),
        TEST(test_pushes_together),
        TEST(test_other_instance_wakes),
        TEST(test_wiped_while_waiting),
        TEST(test_restarted_while_waiting),
        TEST(test_scripts_forgotten),
        TEST(test_wiped_with_entries),
        TEST(test_frozen_server),
        TEST(test_nobody_there),
        TEST(test_two_instances_and_too_many_connections),
    };

    signal(SIGPIPE, SIG_IGN);
    plugin = test_load(TEST_PLUGIN_DIR "/queue-redis.so");
    ops = plugin->ops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
