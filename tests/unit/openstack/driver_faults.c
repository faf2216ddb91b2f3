/* The script of faults: what is refused, lost, cut off, late or garbled. */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY "{\"name\":\"k\",\"public_key\":\"ssh-rsa AAAA\"}"

struct creation {
    const char *kind;
    const char *spec;
    const char *collection;
    const char *path; /* regular expression */
    int before; /* things that are there without it */
};

static const struct creation creations[] = {
    {"server", SERVER_SPEC, "servers", "/servers$", 0},
    {"network", "{\"name\":\"n\",\"description\":\"ä d\"}", "networks", "/networks$", 0},
    {"security-group", GROUP_SPEC, "security_groups", "/security-groups$", 0},
    {"image", "{\"name\":\"i\",\"disk_format\":\"raw\"}", "images", "/images$", 1},
    {"flavor", "{\"name\":\"f\",\"vcpus\":1,\"ram\":1,\"extra_specs\":{\"a\":\"b\"}}", "flavors",
     "/flavors$", 1},
    {"keypair", KEY, "keypairs", "/os-keypairs$", 0},
};
#define CREATIONS (sizeof(creations) / sizeof(creations[0]))

/* Each create, with its first POST struck by a fault that hides that it was done. */
static void every_create_survives(struct fixture *f, const char *fault)
{
    for (size_t at = 0; at < CREATIONS; at++) {
        const struct creation *one = &creations[at];
        struct result result = {0};
        int rc;

        fake_tell(f->fake, "reset", "{}");
        fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"%s\",%s}", one->path, fault);
        rc = create(f, one->kind, one->spec, (int)at + 1, &result);
        if (rc != VIM_OK) {
            print_error("%s: %s\n", one->kind, result.fail);
        }
        assert_int_equal(rc, VIM_OK);
        assert_int_equal(fake_count(f->fake, one->collection), one->before + 1);
        result_clear(&result);
    }
}

static void lost_replies(void **state)
{
    every_create_survives(*state, "\"do\":\"lose\"");
}

static void half_replies(void **state)
{
    every_create_survives(*state, "\"do\":\"half\"");
}

static void garbled_replies(void **state)
{
    every_create_survives(*state, "\"do\":\"garble\",\"body\":\"<html>Bad gateway</html>\"");
}

static void failing_proxy(void **state)
{
    every_create_survives(*state, "\"do\":\"garble\",\"body\":\"{\\\"x\\\": [1,\"");
}

static void refused_before_it_is_done(void **state)
{
    every_create_survives(*state, "\"do\":\"answer\",\"status\":500,\"times\":2,"
                                  "\"body\":\"<html><body>Internal error</body></html>\"");
}

static void down_for_a_while(void **state)
{
    every_create_survives(*state, "\"do\":\"answer\",\"status\":503,\"times\":3");
}

/* A lost reply on a connection that was kept alive: libcurl must not repeat the POST by itself. */
static void lost_reply_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "network", NULL, "{\"name\":\"n\"}", 1);

    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_OK);
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/networks$\",\"do\":\"lose\"}");
    run.max_tries = 1;
    run.no_undo = 1;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_LOST);
    assert_int_equal(fake_calls(f->fake, "POST", "/networks"), 1);
    assert_int_equal(fake_count(f->fake, "networks"), 1);
    assert_int_equal(fake_connections(f->fake, "/network/v2.0"), 1);
    result_clear(&result);
}

/* A read on a dead connection is repeated, and nobody notices. */
static void dead_connection_is_repeated_for_reads(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_OK);
    fake_tell(f->fake, "fault", "{\"method\":\"GET\",\"path\":\"/networks\",\"do\":\"cut\"}");
    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "GET", "/networks"), 3);
    result_clear(&result);
}

/* What an operation that is given up has made is found and taken back. */
static void undo_of_lost_creates(void **state)
{
    struct fixture *f = *state;

    for (size_t at = 0; at < CREATIONS; at++) {
        const struct creation *one = &creations[at];
        struct result result = {0};
        struct run run = RUN(VIM_VERB_CREATE, one->kind, NULL, one->spec, (int)at + 1);

        fake_tell(f->fake, "reset", "{}");
        fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"%s\",\"do\":\"lose\"}",
                  one->path);
        run.max_tries = 1;
        assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_LOST);
        assert_int_equal(fake_count(f->fake, one->collection), one->before);
        result_clear(&result);
    }
}

static void half_made_group_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"/security-group-rules$\",\"do\":\"answer\","
              "\"status\":400,\"type\":\"application/json\",\"body\":\"{\\\"NeutronError\\\":"
              "{\\\"type\\\":\\\"InvalidInput\\\",\\\"message\\\":\\\"bad rule\\\"}}\"}");
    assert_int_equal(create(f, "security-group", GROUP_SPEC, 1, &result), VIM_E_INVALID);
    assert_non_null(strstr(result.fail, "bad rule"));
    assert_int_equal(fake_count(f->fake, "security_groups"), 0);
    result_clear(&result);

    /* The rules were made, but nobody was told: they are not made twice. */
    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"/security-group-rules$\",\"do\":\"lose\"}");
    assert_int_equal(create(f, "security-group", GROUP_SPEC, 2, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "rules"), 2);
    result_clear(&result);
}

/* Two tries overlapped, and each has made a server: one stays. */
static void doubles_are_removed(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "server", NULL, SERVER_SPEC, 1);

    fake_tell(f->fake, "settings", "{\"build_views\": 4}");
    run.max_tries = 1;
    run.no_undo = 1;
    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"/servers$\",\"do\":\"lose\","
              "\"times\":2}");
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_LOST);
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_LOST);
    assert_int_equal(fake_count(f->fake, "servers"), 2);
    run.attempt = 1;
    run.max_tries = 5;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    for (int turn = 0; turn < 5; turn++) {
        struct result list = {0};
        assert_int_equal(driver_list(f->driver, "server", NULL, 0, &list), VIM_OK);
        result_clear(&list);
    }
    assert_int_equal(fake_count(f->fake, "servers"), 1);
    result_clear(&result);
}

static void lost_reboot_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_ACTION, "server", NULL, "{}", 2);
    char id[256];

    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_OK);
    strcpy(id, result.items[0].id);
    run.id = id;
    run.action = "reboot";
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/action$\",\"do\":\"lose\"}");
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "POST", "/action"), 1);
    run.action = "stop";
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/action$\",\"do\":\"lose\"}");
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(result.items[0].status, "SHUTOFF");
    result_clear(&result);
}

static void lost_upload(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_UPLOAD, "image", NULL, NULL, 2);
    char id[256];

    assert_int_equal(create(f, "image", "{\"name\":\"i\",\"disk_format\":\"raw\"}", 1, &result),
                     VIM_OK);
    strcpy(id, result.items[0].id);
    run.id = id;
    run.data = "hello";
    run.data_size = 5;
    fake_tell(f->fake, "fault", "{\"method\":\"PUT\",\"path\":\"/file$\",\"do\":\"cut\"}");
    fake_tell(f->fake, "fault", "{\"method\":\"PUT\",\"path\":\"/file$\",\"do\":\"lose\"}");
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_string_equal(field(result.items[0].body, "size"), "5");
    assert_int_equal(fake_calls(f->fake, "PUT", "/file"), 2);
    result_clear(&result);
}

static void rate_limit_is_told(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "fault",
              "{\"path\":\"/servers/detail\",\"do\":\"answer\",\"status\":429,"
              "\"headers\":{\"Retry-After\":\"7\"}}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_E_BUSY);
    assert_int_equal(result.retry_after_ms, 7000);
    result_clear(&result);
    fake_tell(f->fake, "fault",
              "{\"method\":\"POST\",\"path\":\"/networks\",\"do\":\"answer\","
              "\"status\":429,\"headers\":{\"retry-after\":\"1\"}}");
    assert_int_equal(create(f, "network", "{\"name\":\"n\"}", 1, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "networks"), 1);
    result_clear(&result);
}

static void quotas(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "settings", "{\"quota\":{\"servers\":0,\"networks\":0,\"images\":0}}");
    assert_int_equal(create(f, "server", SERVER_SPEC, 1, &result), VIM_E_QUOTA);
    assert_non_null(strstr(result.fail, "Quota exceeded for instances"));
    assert_string_equal(result.backend_status, "403");
    assert_int_equal(create(f, "network", "{\"name\":\"n\"}", 2, &result), VIM_E_QUOTA);
    assert_int_equal(create(f, "image", "{\"name\":\"i\",\"disk_format\":\"raw\"}", 3, &result),
                     VIM_E_QUOTA);
    result_clear(&result);
}

static void wrong_references(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    assert_int_equal(
        create(f, "server", "{\"name\":\"s\",\"image\":\"image-0\",\"flavor\":\"no\"}", 1, &result),
        VIM_E_INVALID);
    assert_non_null(strstr(result.fail, "Flavor no could not be found"));
    assert_int_equal(create(f, "port", "{\"network\":\"no\"}", 2, &result), VIM_E_INVALID);
    assert_int_equal(create(f, "network", "{\"colour\":\"red\"}", 3, &result), VIM_E_INVALID);
    assert_int_equal(driver_get(f->driver, "network", "../flavors", &result), VIM_E_NOT_FOUND);
    assert_int_equal(driver_get(f->driver, "stone", "x", &result), VIM_E_UNSUPPORTED);
    result_clear(&result);
}

/* A page of a proxy that says 404 must not make things look deleted. */
static void foreign_404_is_no_absence(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_DELETE, "network", "x", NULL, 1);

    fake_tell(f->fake, "fault",
              "{\"path\":\"/servers/x\",\"do\":\"answer\",\"status\":404,"
              "\"body\":\"<html><body>404 Not Found</body></html>\"}");
    assert_int_equal(driver_get(f->driver, "server", "x", &result), VIM_E_UNAVAILABLE);
    assert_int_equal(driver_get(f->driver, "server", "x", &result), VIM_E_NOT_FOUND);
    fake_tell(f->fake, "fault", "{\"path\":\"/networks/x\",\"do\":\"answer\",\"status\":404}");
    run.max_tries = 1;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_UNAVAILABLE);
    result_clear(&result);
}

static void late_answers(void **state)
{
    static const char *const hasty[] = {"timeout", "1500ms", NULL};
    struct fixture *f = *state;
    struct driver *driver = open_driver(f->fake, hasty);
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "network", NULL, "{\"name\":\"n\"}", 1);

    fake_tell(f->fake, "fault",
              "{\"method\":\"GET\",\"path\":\"/networks\",\"do\":\"delay\","
              "\"seconds\":4}");
    assert_int_equal(driver_list(driver, "network", NULL, 0, &result), VIM_E_TIMEOUT);
    fake_tell(f->fake, "fault",
              "{\"method\":\"GET\",\"path\":\"/networks\",\"do\":\"drip\","
              "\"seconds\":0.4}");
    assert_int_equal(driver_list(driver, "network", NULL, 0, &result), VIM_E_TIMEOUT);
    /* It is done after the driver has given up on it: the tag tells. */
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/networks\",\"do\":\"lose\"}");
    assert_int_equal(driver_run(driver, &run, &result), VIM_OK);
    assert_int_equal(fake_count(f->fake, "networks"), 1);
    result_clear(&result);
    driver_close(driver);

    /* No time left at all: nothing is sent. */
    driver_limit(f->driver, 0);
    fake_tell(f->fake, "reset", "{}");
    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_int_equal(fake_calls(f->fake, NULL, "/"), 0);
    result_clear(&result);
}

static void oversized_answer(void **state)
{
    static const char *const small[] = {"max_answer", "65536", NULL};
    struct fixture *f = *state;
    struct driver *driver = open_driver(f->fake, small);
    struct result result = {0};

    fake_tell(f->fake, "fill", "{\"servers\": 200}");
    assert_int_equal(driver_list(driver, "server", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(result.fail, "larger than allowed"));
    result_clear(&result);
    driver_close(driver);
}

static void nothing_listens(void **state)
{
    static const char *const nowhere[] = {"network_endpoint", "http://127.0.0.1:9", NULL};
    struct fixture *f = *state;
    struct driver *driver = open_driver(f->fake, nowhere);
    struct result result = {0};

    assert_int_equal(driver_list(driver, "network", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(result.fail, "http://127.0.0.1:9"));
    assert_int_equal(driver_list(driver, "server", NULL, 0, &result), VIM_OK);
    result_clear(&result);
    driver_close(driver);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

const struct CMUnitTest fault_cases[] = {
    CASE(lost_replies),
    CASE(half_replies),
    CASE(garbled_replies),
    CASE(failing_proxy),
    CASE(refused_before_it_is_done),
    CASE(down_for_a_while),
    CASE(lost_reply_is_not_repeated),
    CASE(dead_connection_is_repeated_for_reads),
    CASE(undo_of_lost_creates),
    CASE(half_made_group_leaves_nothing),
    CASE(doubles_are_removed),
    CASE(lost_reboot_is_not_repeated),
    CASE(lost_upload),
    CASE(rate_limit_is_told),
    CASE(quotas),
    CASE(wrong_references),
    CASE(foreign_404_is_no_absence),
    CASE(late_answers),
    CASE(oversized_answer),
    CASE(nothing_listens),
};
const size_t fault_case_count = sizeof(fault_cases) / sizeof(fault_cases[0]);
