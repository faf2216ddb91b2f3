/* The cache of store-sqlite: what stays good behind a commit, and what does not. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache.h"

static char path[64];
static sqlite3 *database, *other; /* the cache's process's, and somebody else's */
static struct cache *cache;

static void run(sqlite3 *on, const char *sql)
{
    assert_int_equal(sqlite3_exec(on, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int setup(void **state)
{
    int fd;

    (void)state;
    strcpy(path, "/tmp/test-cache-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    run(database, "PRAGMA journal_mode=WAL; CREATE TABLE numbers(number); SELECT 1 FROM numbers");
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    cache = cache_new(database, 1 << 20);
    assert_non_null(cache);
    return 0;
}

static int teardown(void **state)
{
    char name[80];

    (void)state;
    cache_free(cache);
    sqlite3_close(other);
    sqlite3_close(database);
    unlink(path);
    snprintf(name, sizeof name, "%s-wal", path);
    unlink(name);
    snprintf(name, sizeof name, "%s-shm", path);
    unlink(name);
    return 0;
}

static struct cache_key key_of(const char *id)
{
    struct cache_key key;
    struct vim_scan scan = {.size = sizeof scan, .collection = "server", .limit = 10};

    if (id)
        cache_key_get(&key, "server", id);
    else
        assert_true(cache_key_scan(&key, &scan));
    return key;
}

static struct snapshot now(void)
{
    struct snapshot state;

    assert_true(cache_snapshot(cache, &state));
    return state;
}

static bool has(const char *id)
{
    struct cache_key key = key_of(id);
    struct snapshot state = now();
    struct answer *answer = cache_find(cache, &key, &state);

    answer_release(answer);
    return answer != NULL;
}

/* The answer to a get of ID, or (NULL) to a scan, as read in STATE. */
static void keep(const char *id, const struct snapshot *state)
{
    struct cache_key key = key_of(id);
    struct answer *answer = answer_new(cache, &key);
    struct vim_item item = {.size = sizeof item, .id = id ? id : "any", .body = "{}"};

    answer_add(cache, &answer, &item);
    cache_keep(cache, answer, state);
}

static void keep_all(void)
{
    struct snapshot state;

    has("a"); /* a first look, which begins a line */
    state = now();
    keep("a", &state);
    keep("b", &state);
    keep(NULL, &state);
    assert_true(has("a") && has("b") && has(NULL));
}

static void commit(const char *collection, const char *id, bool certain)
{
    run(database, "BEGIN IMMEDIATE");
    cache_write_begin(cache);
    run(database, "INSERT INTO numbers VALUES(1); COMMIT");
    cache_write_changed(cache, collection, id);
    cache_write_end(cache, certain);
}

static void test_what_a_commit_leaves(void **state)
{
    (void)state;
    keep_all();
    commit("server", "a", true);
    assert_false(has("a"));
    assert_true(has("b"));
    assert_false(has(NULL));
    keep_all();
    commit("task", "a", true);
    assert_true(has("a") && has("b") && has(NULL));
    commit("task", "b", false);
    assert_false(has("a") || has("b") || has(NULL));
}

static void test_nothing_changed(void **state)
{
    (void)state;
    keep_all();
    run(database, "BEGIN IMMEDIATE");
    cache_write_begin(cache);
    run(database, "COMMIT");
    cache_write_end(cache, true);
    assert_true(has("a") && has("b") && has(NULL));
}

static void test_others_commit(void **state)
{
    (void)state;
    keep_all();
    run(other, "INSERT INTO numbers VALUES(2)");
    assert_false(has("a") || has("b") || has(NULL));
    keep_all();
    /* Right before this process's own commit, and right after it. */
    run(other, "INSERT INTO numbers VALUES(2)");
    commit("task", "t", true);
    assert_false(has("a") || has("b") || has(NULL));
    keep_all();
    run(database, "BEGIN IMMEDIATE");
    cache_write_begin(cache);
    run(database, "INSERT INTO numbers VALUES(1); COMMIT");
    run(other, "INSERT INTO numbers VALUES(2)");
    cache_write_end(cache, true);
    assert_false(has("a") || has("b") || has(NULL));
}

static void test_what_was_read_before_a_commit_is_not_kept_behind_it(void **state)
{
    struct snapshot before;

    (void)state;
    keep_all();
    before = now();
    commit("server", "c", true);
    keep("c", &before);
    assert_false(has("c"));
    /* While a commit is under way nothing is kept, and what is there is not given. */
    before = now();
    run(database, "BEGIN IMMEDIATE");
    cache_write_begin(cache);
    keep("c", &before);
    assert_false(has("c") || has("b"));
    run(database, "ROLLBACK");
    cache_write_end(cache, true);
    assert_false(has("c"));
    assert_true(has("b"));
}

/* The log starts over, which is another header and the same rows. */
static void test_checkpoint(void **state)
{
    (void)state;
    keep_all();
    run(database, "PRAGMA wal_checkpoint(RESTART)");
    commit("task", "t", true);
    keep_all();
    run(database, "PRAGMA wal_checkpoint(PASSIVE)");
    commit("task", "t", true);
    assert_true(has("a") && has("b") && has(NULL));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_commit_leaves),
        TEST(test_nothing_changed),
        TEST(test_others_commit),
        TEST(test_what_was_read_before_a_commit_is_not_kept_behind_it),
        TEST(test_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
