/*
 * Topics on a clock of the test's own: every order of events, without waiting for any. What
 * queue.h promises is held against the plugin by vim-plugin-check (tests/conform).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "topic.h"

static int setup(void **state)
{
    *state = topic_new("task");
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    topic_free(*state);
    return 0;
}

static void assert_takes(struct topic *topic, int64_t now, int64_t lease, const char *id,
                         uint32_t deliveries)
{
    struct taken taken;

    topic_promote(topic, now);
    assert_true(topic_take(topic, now + lease, &taken));
    assert_string_equal(taken.id, id);
    assert_int_equal(taken.deliveries, deliveries);
}

static void assert_empty_handed(struct topic *topic, int64_t now)
{
    struct taken taken;

    topic_promote(topic, now);
    assert_false(topic_take(topic, now + 1, &taken));
}

static void test_due_order(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "late", 300, 0);
    topic_push(topic, "now", 0, 0);
    topic_push(topic, "soon", 100, 0);
    assert_int_equal(topic_next(topic), 100);
    assert_takes(topic, 0, 1000, "now", 1);
    assert_empty_handed(topic, 99);
    assert_takes(topic, 300, 1000, "soon", 1);
    assert_takes(topic, 300, 1000, "late", 1);
    assert_empty_handed(topic, 301);
}

static void test_same_id_waits_once(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "a", 500, 0);
    topic_push(topic, "a", 900, 0); /* later: no change */
    assert_int_equal(topic_next(topic), 500);
    topic_push(topic, "a", 200, 0); /* earlier */
    assert_int_equal(topic_next(topic), 200);
    topic_push(topic, "a", 0, 0);
    assert_int_equal(topic_count(topic), 1);
    assert_takes(topic, 0, 1000, "a", 1);
    assert_empty_handed(topic, 600);
}

static void test_lease_runs_out(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "a", 0, 0);
    assert_takes(topic, 0, 100, "a", 1);
    assert_int_equal(topic_next(topic), 100);
    assert_empty_handed(topic, 99);
    assert_takes(topic, 100, 100, "a", 2);
    assert_true(topic_renew(topic, "a", 1000));
    assert_empty_handed(topic, 999);
    topic_done(topic, "a");
    assert_empty_handed(topic, 5000);
    assert_int_equal(topic_count(topic), 0);
    assert_false(topic_renew(topic, "a", 6000));
    topic_done(topic, "a");
}

static void test_push_while_out(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "a", 0, 0);
    assert_takes(topic, 0, 100, "a", 1);
    topic_push(topic, "a", 0, 10);
    assert_int_equal(topic_count(topic), 2);
    assert_takes(topic, 10, 100, "a", 1);
    /* Out twice: it takes two to be done. */
    topic_done(topic, "a");
    assert_takes(topic, 110, 100, "a", 2);
    topic_done(topic, "a");
    assert_int_equal(topic_count(topic), 0);
}

static void test_lease_ends_while_another_waits(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "a", 0, 0);
    assert_takes(topic, 0, 100, "a", 1);
    topic_push(topic, "a", 500, 10);
    assert_takes(topic, 100, 100, "a", 2);
    assert_int_equal(topic_count(topic), 1);
    topic_done(topic, "a");
    assert_empty_handed(topic, 600);
}

static void test_untake(void **state)
{
    struct topic *topic = *state;

    topic_push(topic, "a", 0, 0);
    assert_takes(topic, 0, 100, "a", 1);
    topic_untake(topic, "a", 0);
    assert_takes(topic, 0, 100, "a", 1);
    topic_push(topic, "a", 0, 0);
    assert_takes(topic, 0, 100, "a", 1);
    topic_untake(topic, "a", 0);
    assert_int_equal(topic_count(topic), 2);
    assert_takes(topic, 0, 100, "a", 1);
}

/* Against a model that is too simple to be wrong: arrays over few ids, driven by a fixed seed. */
#define IDS 40

struct model {
    int64_t due[IDS]; /* -1: does not wait */
    int64_t lease[IDS]; /* -1: not out */
    unsigned out[IDS];
};

static void model_promote(struct model *model, int64_t now)
{
    for (unsigned i = 0; i < IDS; i++)
        if (model->lease[i] >= 0 && model->lease[i] <= now) {
            model->due[i] = now;
            model->lease[i] = -1;
            model->out[i] = 0;
        }
}

static void model_push(struct model *model, unsigned i, int64_t due)
{
    if (model->due[i] < 0 || due < model->due[i])
        model->due[i] = due;
}

static void model_take(struct model *model, const char *id, int64_t now, int64_t lease_end)
{
    unsigned i = (unsigned)atoi(id);

    assert_true(model->due[i] >= 0 && model->due[i] <= now);
    model->due[i] = -1;
    model->out[i]++;
    if (lease_end > model->lease[i])
        model->lease[i] = lease_end;
}

static void model_compare(const struct model *model, const struct topic *topic, int64_t now)
{
    unsigned ready = 0, delayed = 0, out = 0;

    for (unsigned i = 0; i < IDS; i++) {
        ready += model->due[i] >= 0 && model->due[i] <= now;
        delayed += model->due[i] > now;
        out += model->lease[i] >= 0;
    }
    assert_int_equal(topic->ready_count, ready);
    assert_int_equal(topic->delayed.count, delayed);
    assert_int_equal(topic->leases.count, out);
}

static void test_against_model(void **state)
{
    struct topic *topic = *state;
    struct model model;
    unsigned seed = 7;
    int64_t now = 1;

    memset(&model, 0xff, sizeof model);
    memset(model.out, 0, sizeof model.out);
    for (int round = 0; round < 200000; round++) {
        unsigned i = (unsigned)rand_r(&seed) % IDS;
        int64_t span = rand_r(&seed) % 50;
        struct taken taken;
        char id[8];

        snprintf(id, sizeof id, "%u", i);
        now += rand_r(&seed) % 3;
        topic_promote(topic, now);
        model_promote(&model, now);
        switch (rand_r(&seed) % 4) {
        case 0:
            topic_push(topic, id, now + span, now);
            model_push(&model, i, now + span);
            break;
        case 1:
            if (topic_take(topic, now + span + 1, &taken))
                model_take(&model, taken.id, now, now + span + 1);
            break;
        case 2:
            assert_int_equal(topic_renew(topic, id, now + span + 1), model.lease[i] >= 0);
            if (model.lease[i] >= 0)
                model.lease[i] = now + span + 1;
            break;
        default:
            topic_done(topic, id);
            if (model.out[i] && --model.out[i] == 0)
                model.lease[i] = -1;
        }
        model_compare(&model, topic, now);
    }
}

static void test_many(void **state)
{
    struct topic *topic = *state;
    struct taken taken;
    char id[16];

    for (unsigned i = 0; i < 100000; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_int_equal(topic_push(topic, id, 100000 - i, 0), 0);
    }
    for (unsigned i = 0; i < 100000; i++) {
        topic_promote(topic, i + 1);
        assert_true(topic_take(topic, 1000000 + i, &taken));
        assert_int_equal(atoi(taken.id), 99999 - i);
        if (i % 2)
            topic_done(topic, taken.id);
    }
    assert_int_equal(topic_count(topic), 50000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_due_order),
        TEST(test_same_id_waits_once),
        TEST(test_lease_runs_out),
        TEST(test_push_while_out),
        TEST(test_lease_ends_while_another_waits),
        TEST(test_untake),
        TEST(test_against_model),
        TEST(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
