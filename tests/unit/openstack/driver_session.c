/* Tokens, microversions, pages, connections and threads. */
#include "cases.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void one_login_serves_many(void **state)
{
    struct fixture *f = *state;

    for (int turn = 0; turn < 5; turn++) {
        struct result result = {0};
        assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
        assert_int_equal(driver_list(f->driver, "flavor", NULL, 0, &result), VIM_OK);
        result_clear(&result);
    }
    assert_int_equal(fake_calls(f->fake, "POST", "/auth/tokens"), 1);
    assert_int_equal(fake_calls(f->fake, "GET", "/compute/v2.1/?"), 1); /* its microversions */
    assert_int_equal(fake_connections(f->fake, "/compute/"), 1);
}

static void revoked_token(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(driver_list(f->driver, "image", NULL, 0, &result), VIM_OK);
    fake_tell(f->fake, "revoke", "{}");
    assert_int_equal(driver_list(f->driver, "image", NULL, 0, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "POST", "/auth/tokens"), 2);
    assert_int_equal(create(f, "network", "{\"name\":\"n\"}", 1, &result), VIM_OK);
    fake_tell(f->fake, "revoke", "{}");
    assert_int_equal(create(f, "network", "{\"name\":\"n\"}", 2, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "networks"), 2);
    result_clear(&result);

    /* A service that refuses every token is not asked for ever. */
    fake_tell(f->fake, "fault",
              "{\"path\":\"/images\",\"do\":\"answer\",\"status\":401,\"times\":9}");
    assert_int_equal(driver_list(f->driver, "image", NULL, 0, &result), VIM_E_CREDENTIAL);
    result_clear(&result);
}

static void wrong_password(void **state)
{
    static const char *const wrong[] = {"password", "not-to-be-shown", NULL};
    struct fixture *f = *state;
    struct driver *driver = open_driver(f->fake, wrong);
    struct result result = {0};

    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(driver_list(driver, "image", NULL, 0, &result), VIM_E_CREDENTIAL);
        assert_null(strstr(result.fail, "not-to-be-shown"));
    }
    /* Refused once, it is not tried again at once: accounts get locked. */
    assert_int_equal(fake_calls(f->fake, "POST", "/auth/tokens"), 1);
    assert_true(result.retry_after_ms > 0);
    assert_null(strstr(driver_log(driver), "not-to-be-shown"));
    result_clear(&result);
    driver_close(driver);
}

static void application_credential(void **state)
{
    const char *settings[] = {"auth_url",
                              NULL,
                              "auth_type",
                              "application_credential",
                              "application_credential_id",
                              "cred",
                              "application_credential_secret",
                              "secret",
                              "region",
                              "RegionOne",
                              NULL};
    struct fixture *f = *state;
    struct result result = {0};
    struct driver *driver;
    char why[1024];

    settings[1] = fake_auth_url(f->fake);
    driver = driver_open(TEST_PLUGIN_DIR "/openstack.so", settings, why);
    assert_non_null(driver);
    assert_int_equal(driver_probe(driver, &result), VIM_OK);
    result_clear(&result);
    driver_close(driver);
}

static void region_and_interface(void **state)
{
    static const char *const elsewhere[] = {"region", "Elsewhere", NULL};
    static const char *const admin[] = {"interface", "admin", NULL};
    struct fixture *f = *state;
    struct driver *driver = open_driver(f->fake, elsewhere);
    struct result result = {0};

    assert_int_equal(driver_list(driver, "network", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(result.fail, "elsewhere"));
    driver_close(driver);
    driver = open_driver(f->fake, admin);
    assert_int_equal(driver_list(driver, "network", NULL, 0, &result), VIM_E_UNSUPPORTED);
    driver_close(driver);
    result_clear(&result);
}

static void old_nova(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "reset", "{\"microversion\": \"2.50\"}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
    assert_int_equal(driver_list(f->driver, "flavor", NULL, 0, &result), VIM_E_UNSUPPORTED);
    assert_non_null(strstr(result.fail, "2.50"));
    result_clear(&result);
}

static void pages_of_every_service(void **state)
{
    static const char *const kinds[] = {"server", "network", "security-group",
                                        "image",  "flavor",  "keypair"};
    struct fixture *f = *state;
    struct result result = {0};
    char spec[128];

    fake_tell(f->fake, "fill", "{\"servers\": 7}");
    for (int at = 0; at < 7; at++) {
        (void)snprintf(spec, sizeof(spec), "{\"name\":\"x%d\"}", at);
        assert_int_equal(create(f, "network", spec, at, &result), VIM_OK);
        assert_int_equal(create(f, "security-group", spec, at, &result), VIM_OK);
        (void)snprintf(spec, sizeof(spec), "{\"name\":\"x%d\",\"disk_format\":\"raw\"}", at);
        assert_int_equal(create(f, "image", spec, at, &result), VIM_OK);
        (void)snprintf(spec, sizeof(spec), "{\"name\":\"x%d\",\"vcpus\":1,\"ram\":1}", at);
        assert_int_equal(create(f, "flavor", spec, at, &result), VIM_OK);
        (void)snprintf(spec, sizeof(spec), "{\"name\":\"x%d\",\"public_key\":\"ssh-rsa A\"}", at);
        assert_int_equal(create(f, "keypair", spec, at, &result), VIM_OK);
    }
    fake_tell(f->fake, "settings", "{\"page_limit\": 3}");
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); at++) {
        unsigned wanted =
            strcmp(kinds[at], "image") == 0 || strcmp(kinds[at], "flavor") == 0 ? 8 : 7;
        result_clear(&result);
        assert_int_equal(driver_list(f->driver, kinds[at], NULL, 0, &result), VIM_OK);
        assert_int_equal(result.count, wanted);
        result_clear(&result);
        assert_int_equal(driver_list(f->driver, kinds[at], NULL, 1, &result), VIM_OK);
        assert_int_equal(result.count, wanted);
    }
    result_clear(&result);

    /* Cut off in the middle, a list is no list. */
    fake_tell(f->fake, "fault",
              "{\"path\":\"/servers/detail.*marker\",\"do\":\"half\",\"times\":2}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_int_equal(result.count, 0);
    /* The thing at which a page ended is gone: a matter of trying again, not an error for ever. */
    fake_tell(f->fake, "fault",
              "{\"path\":\"/networks.*marker\",\"do\":\"answer\",\"status\":400}");
    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_E_UNAVAILABLE);
    result_clear(&result);
}

/* A sweep costs pages, not servers. */
static void sweep_of_many_servers(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "fill", "{\"servers\": 400}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
    assert_int_equal(result.count, 400);
    assert_non_null(strstr(field(result.items[399].body, "addresses"), "10.0.0.9"));
    assert_int_equal(fake_calls(f->fake, "GET", "/servers/"), 1);
    assert_int_equal(fake_calls(f->fake, "GET", "/ports"), 1);
    result_clear(&result);
}

struct work {
    struct fixture *f;
    int number;
    int rc;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Lists and makes things for longer than a token lives. */
static void *work(void *context)
{
    struct work *work = context;
    int64_t end = now_ms() + 3500;
    int turn = 0;

    while (work->rc == VIM_OK && now_ms() < end) {
        struct result result = {0};
        work->rc = driver_list(work->f->driver, "server", NULL, 0, &result);
        if (work->rc == VIM_OK && turn++ < 3) {
            work->rc =
                create(work->f, "network", "{\"name\":\"n\"}", work->number * 100 + turn, &result);
        }
        result_clear(&result);
    }
    return NULL;
}

static void threads_and_short_tokens(void **state)
{
    struct fixture *f = *state;
    struct work works[12];
    pthread_t threads[12];
    int64_t begun = now_ms();
    int logins;

    fake_tell(f->fake, "reset", "{\"token_ttl\": 2}");
    for (int at = 0; at < 12; at++) {
        works[at] = (struct work){.f = f, .number = at + 1};
        assert_int_equal(pthread_create(&threads[at], NULL, work, &works[at]), 0);
    }
    for (int at = 0; at < 12; at++) {
        pthread_join(threads[at], NULL);
        assert_int_equal(works[at].rc, VIM_OK);
    }
    assert_int_equal(fake_count(f->fake, "networks"), 36);
    /* One thread renews for all: a few tokens, not one per thread or request. */
    logins = fake_calls(f->fake, "POST", "/auth/tokens");
    assert_true(logins >= 2 && logins <= 3 + (now_ms() - begun) / 1000);
    assert_int_equal(fake_calls(f->fake, "GET", "/compute/v2.1/?"), 1);
    /* The pool is a limit. */
    assert_true(fake_connections(f->fake, "/network/v2.0") <= 8);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, (ms % 1000) * 1000000L}, NULL);
}

static void *list_once(void *context)
{
    struct result result = {0};

    (void)driver_list(context, "network", NULL, 0, &result);
    result_clear(&result);
    return NULL;
}

/* Returns 0 when the machine was too slow to tell. */
static int renewal_seen(struct fixture *f)
{
    struct result result = {0};
    pthread_t thread;
    int64_t begun = now_ms();
    int64_t asked;
    int rc;

    /* To be renewed after 6 s, good until 8 s; a call has 1 s, Keystone takes 3 s. */
    driver_limit(f->driver, 1000);
    fake_tell(f->fake, "reset", "{\"token_ttl\": 8}");
    rc = driver_list(f->driver, "network", NULL, 0, &result);
    pause_ms(6100);
    fake_tell(f->fake, "fault", "{\"path\":\"/auth/tokens\",\"do\":\"delay\",\"seconds\":3}");
    assert_int_equal(pthread_create(&thread, NULL, list_once, f->driver), 0);
    while (fake_unanswered(f->fake, "/auth/tokens") == 0 && now_ms() - begun < 7000) {
        pause_ms(10);
    }
    asked = now_ms() - begun;
    if (rc == VIM_OK && asked < 6900) {
        /* Less than the other thread has, whose giving up would end the wait. */
        driver_limit(f->driver, 500);
        rc = driver_list(f->driver, "network", NULL, 0, &result);
        assert_int_equal(rc, VIM_OK);
    }
    pthread_join(thread, NULL);
    result_clear(&result);
    return rc == VIM_OK && asked < 6900;
}

/* While one thread waits for a slow Keystone, the others go on with the old token. */
static void renewal_stops_nobody(void **state)
{
    for (int try = 0; try < 3; try++) {
        if (renewal_seen(*state)) {
            return;
        }
    }
    skip();
}

/* Probes a cloud that speaks HTTPS under a certificate for NAME. */
static int probe_tls(const char *folder, const char *name, const char *const *more, char *ret_fail)
{
    struct fake *fake = fake_start_tls(folder, name);
    struct driver *driver = open_driver(fake, more);
    struct result result = {0};
    int rc = driver_probe(driver, &result);

    strcpy(ret_fail, result.fail);
    result_clear(&result);
    driver_close(driver);
    fake_stop(fake);
    return rc;
}

static void certificates_are_checked(void **state)
{
    char folder[] = "/tmp/openstack-test-XXXXXX";
    char file[64];
    const char *const ca[] = {"ca_file", file, NULL};
    static const char *const careless[] = {"verify_tls", "false", NULL};
    FILE *touched;
    char why[1024];

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof(file), "%s/cert.pem", folder);
    touched = fopen(file, "w");
    assert_non_null(touched);
    (void)fclose(touched);
    assert_int_equal(probe_tls(folder, "IP:127.0.0.1", ca, why), VIM_OK);
    assert_int_equal(probe_tls(folder, "IP:127.0.0.1", NULL, why), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(why, "certificate"));
    assert_int_equal(probe_tls(folder, "IP:127.0.0.2", ca, why), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(why, "certificate"));
    assert_int_equal(probe_tls(folder, "IP:127.0.0.2", careless, why), VIM_OK);
    (void)unlink(file);
    (void)snprintf(file, sizeof(file), "%s/key.pem", folder);
    (void)unlink(file);
    (void)rmdir(folder);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

const struct CMUnitTest session_cases[] = {
    CASE(one_login_serves_many),    CASE(revoked_token),         CASE(wrong_password),
    CASE(application_credential),   CASE(region_and_interface),  CASE(old_nova),
    CASE(pages_of_every_service),   CASE(sweep_of_many_servers), CASE(certificates_are_checked),
    CASE(threads_and_short_tokens), CASE(renewal_stops_nobody),
};
const size_t session_case_count = sizeof(session_cases) / sizeof(session_cases[0]);
