/*
 * The link to several processes: which of them is asked.
 */
#include "side.h"

#include "base/clock.h"

static void test_spread(void **state)
{
    (void)state;
    struct side sides[3];
    for (int i = 0; i < 3; i++) {
        side_open(&sides[i], "s", NULL, SECRET, 0);
    }
    struct link *link = link_to("", sides[0].address, sides[1].address, sides[2].address, NULL);
    UNTIL(link_is_ready(link));
    struct asked *asked[600];
    for (int round = 0; round < 600; round += 6) {
        for (int i = 0; i < 6; i++) {
            asked[i] = ask(link, "GET", "/v1/version", NULL, NULL);
        }
        for (int i = 0; i < 6; i++) {
            struct reply reply = asked_wait(asked[i]);
            assert_int_equal(reply.status, 200);
            reply_free(&reply);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_in_range(atomic_load(&sides[i].calls), 140, 260);
    }
    link_free(link);
    for (int i = 0; i < 3; i++) {
        side_close(&sides[i], 0);
    }
}

static void ask_often(struct link *link, int times)
{
    for (int i = 0; i < times; i++) {
        expect(link, 200, "POST", "/v1/servers", NULL, "{}");
    }
}

static unsigned answered(struct asked **asked, unsigned count)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < count; i++) {
        sum += asked_is_answered(asked[i]);
    }
    return sum;
}

/* A few requests more under way are chance, and cost a replica nothing; twice as many are a load. Who joins
 * has as little to make up for as who was there. */
static void test_even(void **state)
{
    (void)state;
    struct side old, young;
    side_open(&old, "old", NULL, SECRET, 0);
    side_open(&young, "young", NULL, SECRET, 0);
    struct link *link = link_to(RARELY, old.address, NULL);
    UNTIL(link_is_ready(link));
    struct asked *held[12];
    for (int i = 0; i < 3; i++) {
        held[i] = ask(link, "GET", "/v1/vims", NULL, NULL);
    }
    UNTIL(atomic_load(&old.held) == 3);
    ask_often(link, 200);
    const char *told[] = {young.address};
    link_set_replicas(link, told, 1);
    UNTIL(atomic_load(&young.calls) > 0 || (ask_often(link, 1), false));
    for (int i = 3; i < 5; i++) {
        held[i] = ask(link, "GET", "/v1/vims", NULL, NULL);
    }
    UNTIL(atomic_load(&young.held) == 2);
    unsigned before[] = {atomic_load(&old.calls), atomic_load(&young.calls)};
    ask_often(link, 100);
    assert_in_range(atomic_load(&old.calls) - before[0], 40, 60);
    assert_in_range(atomic_load(&young.calls) - before[1], 40, 60);
    for (int i = 5; i < 12; i++) {
        held[i] = ask(link, "GET", "/v1/vims", NULL, NULL);
    }
    UNTIL(atomic_load(&old.held) + atomic_load(&young.held) == 12);
    assert_in_range(atomic_load(&old.held), 5, 7);
    atomic_store(&old.release, true);
    UNTIL(answered(held, 12) + atomic_load(&young.held) == 12);
    unsigned busy = atomic_load(&young.calls);
    ask_often(link, 100);
    assert_int_equal(atomic_load(&young.calls), busy);
    atomic_store(&young.release, true);
    for (int i = 0; i < 12; i++) {
        struct reply reply = asked_wait(held[i]);
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
    }
    link_free(link);
    side_close(&young, 0);
    side_close(&old, 0);
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
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_even),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
