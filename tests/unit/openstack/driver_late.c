/* What comes late, twice, or not at all into sight: requests that are done after their connection
 * has ended, cells that are down, pages that go round. */
#include "cases.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Long enough that what is late comes well before its end on a slow machine, too. */
#define PATIENT "4s"
#define LATE "1.2" /* seconds; the request is repeated after 4 s / 6 */

struct late {
    const char *kind;
    const char *spec; /* @ stands for a network */
    const char *collection;
    const char *path;
};

static const struct late lates[] = {
    {"server", SERVER_SPEC, "servers", "/servers$"},
    {"network", "{\"name\":\"n\",\"description\":\"d\"}", "networks", "/networks$"},
    {"subnet", "{\"name\":\"s\",\"network\":\"@\",\"cidr\":\"10.0.0.0/24\"}", "subnets",
     "/subnets$"},
    {"port", "{\"name\":\"p\",\"network\":\"@\"}", "ports", "/ports$"},
    {"security-group", GROUP_SPEC, "security_groups", "/security-groups$"},
    {"security-group", "{\"name\":\"h\"}", "security_groups", "/security-groups$"},
    {"image", "{\"name\":\"i\",\"disk_format\":\"raw\"}", "images", "/images$"},
    {"flavor", "{\"name\":\"f\",\"vcpus\":1,\"ram\":1,\"extra_specs\":{\"a\":\"b\"}}", "flavors",
     "/flavors$"},
    {"keypair", "{\"name\":\"k\",\"public_key\":\"ssh-rsa AAAA\"}", "keypairs", "/os-keypairs$"},
};
#define LATES (sizeof(lates) / sizeof(lates[0]))

/* One kind with a cloud and a driver of its own, so that all of them wait at the same time. */
struct worker {
    const struct late *late;
    struct fake *fake;
    struct driver *driver;
    char spec[512];
    int before; /* things of the kind without it */
    unsigned max_tries;
    int rc;
    struct result result;
};

static void prepare(struct worker *worker, const struct late *late, const char *fault)
{
    static const char *const patient[] = {"settle_time", PATIENT, NULL};
    struct fixture own = {0};
    const char *net = strchr(late->spec, '@');

    memset(worker, 0, sizeof(*worker));
    worker->late = late;
    own.fake = worker->fake = fake_start();
    own.driver = worker->driver = open_driver(worker->fake, patient);
    (void)snprintf(worker->spec, sizeof(worker->spec), "%s", late->spec);
    if (net != NULL) {
        assert_int_equal(create(&own, "network", "{\"name\":\"x\"}", 99, &worker->result), VIM_OK);
        (void)snprintf(worker->spec, sizeof(worker->spec), "%.*s%s%s", (int)(net - late->spec),
                       late->spec, worker->result.items[0].id, net + 1);
        result_clear(&worker->result);
    }
    worker->before = fake_count(worker->fake, late->collection);
    fake_tell(worker->fake, "fault", "{\"method\":\"POST\",\"path\":\"%s\",%s}", late->path, fault);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct run run = RUN(VIM_VERB_CREATE, worker->late->kind, NULL, worker->spec, 7);

    run.max_tries = worker->max_tries;
    worker->rc = driver_run(worker->driver, &run, &worker->result);
    return NULL;
}

/* Creates one of each kind, the first POST struck by FAULT. After each there have to be WANTED
 * more than before. */
static void each_kind(const char *fault, unsigned max_tries, int rc, int wanted)
{
    struct worker workers[LATES];
    pthread_t threads[LATES];

    for (size_t at = 0; at < LATES; at++) {
        prepare(&workers[at], &lates[at], fault);
        workers[at].max_tries = max_tries;
        assert_int_equal(pthread_create(&threads[at], NULL, work, &workers[at]), 0);
    }
    for (size_t at = 0; at < LATES; at++) {
        struct worker *worker = &workers[at];
        pthread_join(threads[at], NULL);
        if (worker->rc != rc) {
            print_error("%s: %d %s\n", worker->late->kind, worker->rc, worker->result.fail);
        }
        assert_int_equal(worker->rc, rc);
        /* What was late has come: nothing more can. */
        char path[64];
        (void)snprintf(path, sizeof(path), "%.*s?", (int)strcspn(worker->late->path, "$"),
                       worker->late->path);
        assert_true(fake_calls(worker->fake, "POST", path) > 0);
        for (int tries = 0; tries < 600 && fake_unanswered(worker->fake, path) != 0; tries++) {
            (void)poll(NULL, 0, 100); /* a busy machine may take its time */
        }
        assert_int_equal(fake_unanswered(worker->fake, path), 0);
        for (int turn = 0; turn < 4; turn++) {
            struct result list = {0}; /* a server goes by being looked at */
            assert_int_equal(driver_list(worker->driver, "server", NULL, 0, &list), VIM_OK);
            result_clear(&list);
        }
        if (fake_count(worker->fake, worker->late->collection) != worker->before + wanted) {
            print_error("%s: %d, %d before\n", worker->late->kind,
                        fake_count(worker->fake, worker->late->collection), worker->before);
        }
        assert_int_equal(fake_count(worker->fake, worker->late->collection),
                         worker->before + wanted);
        result_clear(&worker->result);
        driver_close(worker->driver);
        fake_stop(worker->fake);
    }
}

/* Sent again before the first came into being: there are two, until one of them is deleted. */
static void late_creates_make_one(void **state)
{
    (void)state;
    each_kind("\"do\":\"late\",\"seconds\":" LATE, 0, VIM_OK, 1);
}

/* Given up before the request was done. */
static void late_creates_are_undone(void **state)
{
    (void)state;
    each_kind("\"do\":\"late\",\"seconds\":" LATE, 1, VIM_E_LOST, 0);
}

/* Three lost ones, each done later than the next is sent. */
static void late_creates_in_a_row(void **state)
{
    (void)state;
    each_kind("\"do\":\"late\",\"times\":3,\"seconds\":" LATE, 0, VIM_OK, 1);
}

/* The common case costs no wait: what was done before the answer got lost is there at once. */
static void found_at_once(void **state)
{
    static const char *const patient[] = {"settle_time", "1h", NULL};
    struct fixture *f = *state;
    struct fixture own = {.fake = f->fake, .driver = open_driver(f->fake, patient)};
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "network", NULL, "{\"name\":\"n\"}", 2);

    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/networks$\",\"do\":\"lose\"}");
    assert_int_equal(create(&own, "network", "{\"name\":\"n\"}", 1, &result), VIM_OK);
    assert_int_equal(result.agains, 0);
    assert_int_equal(fake_count(f->fake, "networks"), 1);
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/networks$\",\"do\":\"lose\"}");
    run.max_tries = 1;
    assert_int_equal(driver_run(own.driver, &run, &result), VIM_E_LOST);
    assert_int_equal(fake_count(f->fake, "networks"), 1);
    result_clear(&result);
    driver_close(own.driver);
}

/* Refused for good, because the lost one holds what it wants: that one is it. */
static void refused_by_its_own_double(void **state)
{
    struct worker worker;

    (void)state;
    prepare(&worker, &lates[1], "\"do\":\"late\",\"seconds\":" LATE);
    /* Every POST after the late one waits until that is done, and is then refused. */
    fake_tell(worker.fake, "fault",
              "{\"method\":\"POST\",\"path\":\"/networks$\",\"do\":\"delay\",\"seconds\":2}");
    fake_tell(worker.fake, "settings", "{\"quota\":{\"networks\":1}}");
    (void)work(&worker);
    assert_int_equal(worker.rc, VIM_OK);
    assert_int_equal(fake_calls(worker.fake, "POST", "/networks"), 2);
    assert_int_equal(fake_count(worker.fake, "networks"), 1);
    result_clear(&worker.result);
    driver_close(worker.driver);
    fake_stop(worker.fake);
}

/* Nova says nothing of servers in a cell that is down: they are shown as UNKNOWN, not as gone. */
static void cell_that_is_down(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};
    struct run run = RUN(VIM_VERB_CREATE, "server", NULL, SERVER_SPEC, 1);
    unsigned unknown = 0;

    fake_tell(f->fake, "fill", "{\"servers\": 5}");
    fake_tell(f->fake, "settings", "{\"hidden\":\"server-[12]\"}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
    assert_int_equal(result.count, 5);
    for (unsigned at = 0; at < result.count; at++) {
        if (strcmp(result.items[at].status, "UNKNOWN") == 0) {
            unknown++;
            assert_null(result.items[at].body); /* what is known of it stays */
            assert_int_equal(result.items[at].flags, 0);
        }
    }
    assert_int_equal(unknown, 2);

    /* What is not found may be in that cell: no second one is made, and no undo is done. */
    fake_tell(f->fake, "fault", "{\"method\":\"POST\",\"path\":\"/servers$\",\"do\":\"lose\"}");
    fake_tell(f->fake, "settings", "{\"hidden\":\"^s$\"}");
    run.max_tries = 3;
    run.no_undo = 1;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(result.fail, "a cell of compute is down"));
    assert_int_equal(fake_calls(f->fake, "POST", "/servers"), 1);
    fake_tell(f->fake, "settings", "{\"hidden\":\"\"}");
    run.attempt = 1;
    assert_int_equal(driver_run(f->driver, &run, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "POST", "/servers"), 1);

    /* A Nova that cannot tell. */
    fake_tell(f->fake, "reset", "{\"microversion\": \"2.65\"}");
    fake_tell(f->fake, "fill", "{\"servers\": 2}");
    struct driver *driver = open_driver(f->fake, NULL);
    result_restart(&result);
    assert_int_equal(driver_list(driver, "server", NULL, 0, &result), VIM_OK);
    assert_int_equal(result.count, 2);
    result_clear(&result);
    driver_close(driver);
}

/* Pages that lead to each other. */
static void pages_that_go_round(void **state)
{
    static const char *const next[][2] = {
        {"/networks.limit=1000$", "one"}, {"=one", "two"}, {"=two", "three"}, {"=three", "one"}};
    struct fixture *f = *state;
    struct result result = {0};

    for (size_t at = 0; at < sizeof(next) / sizeof(next[0]); at++) {
        fake_tell(f->fake, "fault",
                  "{\"path\":\"%s\",\"do\":\"answer\",\"times\":999,\"status\":200,\"body\":"
                  "\"{\\\"networks\\\":[],\\\"networks_links\\\":[{\\\"rel\\\":\\\"next\\\","
                  "\\\"href\\\":\\\"http://x/?marker=%s\\\"}]}\"}",
                  next[at][0], next[at][1]);
    }
    assert_int_equal(driver_list(f->driver, "network", NULL, 0, &result), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(result.fail, "do not end"));
    assert_true(fake_calls(f->fake, "GET", "/networks") < 20);
    result_clear(&result);
}

/* Changes are asked for by the cloud's clock, whatever time it is here. */
static void clocks_differ(void **state)
{
    struct fixture *f = *state;
    struct result result = {0};

    fake_tell(f->fake, "fault",
              "{\"path\":\"/servers/detail\",\"do\":\"answer\",\"status\":200,\"headers\":"
              "{\"Date\":\"Mon, 01 Jan 2001 00:10:00 GMT\"},\"body\":\"{\\\"servers\\\":[]}\"}");
    assert_int_equal(driver_list(f->driver, "server", NULL, 0, &result), VIM_OK);
    /* A minute before, or as much more as the answer took. */
    assert_memory_equal(result.kept, "2001-01-01T00:0", 15);
    assert_true(strcmp(result.kept, "2001-01-01T00:09:00Z") <= 0);
    assert_int_equal(driver_list(f->driver, "server", result.kept, 0, &result), VIM_OK);
    assert_int_equal(fake_calls(f->fake, "GET", "changes-since=2001-01-01T00%3A0"), 1);
    /* A cursor of another making is refused by Nova, and does no harm. */
    fake_tell(f->fake, "fault",
              "{\"path\":\"changes-since=nonsense\",\"do\":\"answer\",\"status\":400}");
    assert_int_equal(driver_list(f->driver, "server", "nonsense", 0, &result), VIM_E_INVALID);
    result_clear(&result);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

const struct CMUnitTest late_cases[] = {
    CASE(late_creates_make_one),     CASE(late_creates_are_undone),
    CASE(late_creates_in_a_row),     CASE(found_at_once),
    CASE(refused_by_its_own_double), CASE(cell_that_is_down),
    CASE(pages_that_go_round),       CASE(clocks_differ),
};
const size_t late_case_count = sizeof(late_cases) / sizeof(late_cases[0]);
