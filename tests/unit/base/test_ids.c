#include "test.h"
#include <stdlib.h>
#include "base/clock.h"
#include "base/ids.h"
#include "base/thread.h"

static void new_ids_are_uuids_in_order(void **state)
{
    (void)state;
    char last[ID_SIZE] = "", id[ID_SIZE];
    for (int i = 0; i < 100000; i++) {
        id_new(id);
        assert_true(strcmp(last, id) < 0);
        memcpy(last, id, sizeof(id));
    }
    assert_true(id_valid(id));
    assert_int_equal(id[14], '7');
    assert_non_null(strchr("89ab", id[19]));
    char hex[13] = "";
    memcpy(hex, id, 8);
    memcpy(hex + 8, id + 9, 4);
    int64_t age = clock_now_ms() - (int64_t)strtoull(hex, NULL, 16);
    assert_true(age >= -1000 && age < 60000);
}

#define THREADS 4
#define PER_THREAD 20000

static char (*thread_ids)[ID_SIZE];

static void *make_ids(void *argument)
{
    char(*ids)[ID_SIZE] = argument;
    for (int i = 0; i < PER_THREAD; i++) {
        id_new(ids[i]);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void threads_get_different_ids(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    thread_ids = calloc(THREADS * PER_THREAD, ID_SIZE);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(thread_start("ids", make_ids, thread_ids + i * PER_THREAD, &threads[i]),
                         0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    qsort(thread_ids, THREADS * PER_THREAD, ID_SIZE, compare);
    for (int i = 1; i < THREADS * PER_THREAD; i++) {
        assert_string_not_equal(thread_ids[i - 1], thread_ids[i]);
    }
    free(thread_ids);
}

static void derived_ids_follow_from_their_names(void **state)
{
    (void)state;
    char a[ID_SIZE], b[ID_SIZE];
    id_derive("vim/edge1/server", "42", a);
    assert_string_equal(id_derive("vim/edge1/server", "42", b), a);
    assert_true(id_valid(a));
    assert_int_equal(a[14], '8');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(id_derive("vim/edge1/server", "43", b), a);
    assert_string_not_equal(id_derive("vim/edge1/server4", "2", b), a);
    /* Stored ids depend on it: it must never change. */
    assert_string_equal(id_derive("a", "b", b), "59b271ae-1bbc-81d3-9d41-929817f4b16f");
}

static void origins_are_told_apart(void **state)
{
    (void)state;
    char none[ID_SIZE], one[ID_SIZE], again[ID_SIZE], other[ID_SIZE];
    id_new(none);
    assert_true(id_is_own(none));
    id_set_origin("site-b");
    id_new(other);
    id_set_origin("site-a");
    id_new(one);
    id_new(again);
    assert_true(id_valid(one));
    assert_true(strcmp(one, again) < 0);
    assert_true(id_is_own(one) && id_is_own(again));
    assert_false(id_is_own(other));
    assert_false(id_is_own("nonsense"));
    assert_false(id_is_own(""));
    /* What is out there depends on it: it must never change. */
    assert_string_equal(one + ID_SIZE - 7, "d74a1f");
    id_set_origin(NULL);
    assert_true(id_is_own(other));
}

static void validity(void **state)
{
    (void)state;
    assert_true(id_valid("0193a2b4-0000-7000-8000-0123456789ab"));
    assert_false(id_valid(NULL));
    assert_false(id_valid(""));
    assert_false(id_valid("0193A2B4-0000-7000-8000-0123456789ab"));
    assert_false(id_valid("0193a2b4-0000-7000-8000-0123456789abc"));
    assert_false(id_valid("0193a2b4-0000-7000-8000-0123456789a"));
    assert_false(id_valid("0193a2b400000-7000-8000-0123456789ab"));
    assert_false(id_valid("0193a2b4-0000-7000-8000-0123456789ag"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_ids_are_uuids_in_order),
        cmocka_unit_test(threads_get_different_ids),
        cmocka_unit_test(derived_ids_follow_from_their_names),
        cmocka_unit_test(origins_are_told_apart),
        cmocka_unit_test(validity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
