/*
 * What is particular to store-sqlite: its file, other processes, groups of commits. The contract of
 * store.h itself is held against it by vim-plugin-check (tests/conform).
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/store.h>

#include <cmocka.h>

#include "test_host.h"

/* As the plugin's option table fills it. */
struct config {
    const char *path;
    const char *durability;
    int64_t cache_size;
    int64_t readers;
};

struct fixture {
    char directory[64];
    char path[96];
    struct vim_self self;
    struct config config;
    void *instance;
};

static const struct vim_plugin *plugin;
static const struct vim_store_ops *ops;

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    strcpy(fixture->directory, "/tmp/test-store-XXXXXX");
    if (!mkdtemp(fixture->directory))
        return -1;
    snprintf(fixture->path, sizeof fixture->path, "%s/main.db", fixture->directory);
    fixture->self = (struct vim_self){.instance = "main", .state_dir = fixture->directory};
    fixture->config =
        (struct config){.durability = "power", .cache_size = 4 * 1024 * 1024, .readers = 2};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"main.db", "main.db-wal", "main.db-shm", "other"};
    struct fixture *fixture = *state;
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->directory, names[i]);
        unlink(path);
    }
    rmdir(fixture->directory);
    free(fixture);
    return 0;
}

static int open_with(struct fixture *fixture, struct vim_call *call, void **ret_instance)
{
    memset(call, 0, sizeof *call);
    return plugin->open(call, &test_host, &fixture->self, &fixture->config, ret_instance);
}

static void open_store(struct fixture *fixture)
{
    struct vim_call call;

    assert_int_equal(open_with(fixture, &call, &fixture->instance), VIM_OK);
}

static void close_store(struct fixture *fixture)
{
    plugin->close(fixture->instance);
}

static int put(void *instance, const char *id, const char *body, uint64_t expect)
{
    struct vim_call call = {0};
    struct vim_write write = {.collection = "c", .id = id, .body = body, .expect = expect};

    return ops->commit(&call, instance, &write, 1, sizeof write);
}

static int get(void *instance, const char *id)
{
    struct vim_call call = {0};

    return ops->get(&call, instance, "c", id);
}

/* The file exists, is refused with CODE, the reason holds WORDS, and its bytes stay as they are. */
static void assert_refused(struct fixture *fixture, int code, const char *words)
{
    char before[4096] = "", after[4096] = "";
    struct vim_call call;
    void *instance = NULL;
    FILE *file = fopen(fixture->path, "rb");
    size_t size = fread(before, 1, sizeof before, file);

    fclose(file);
    assert_int_equal(open_with(fixture, &call, &instance), code);
    assert_int_equal(call.failed, code);
    if (!strstr(call.text, words))
        fail_msg("\"%s\" does not say \"%s\"", call.text, words);
    assert_non_null(strstr(call.text, "path"));
    assert_null(instance);
    file = fopen(fixture->path, "rb");
    assert_int_equal(fread(after, 1, sizeof after, file), size);
    fclose(file);
    assert_memory_equal(before, after, size);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *database;

    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

static void test_file_is_private_and_named_after_the_instance(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    char path[128];

    umask(0);
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    snprintf(path, sizeof path, "%s-wal", fixture->path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    close_store(fixture);
    /* The last one out has copied the log into the file. */
    assert_int_equal(stat(path, &status), -1);
    umask(022);
}

static void test_not_a_database(void **state)
{
    struct fixture *fixture = *state;
    FILE *file = fopen(fixture->path, "w");

    for (int i = 0; i < 200; i++)
        fputs("these are notes, not rows\n", file);
    fclose(file);
    assert_refused(fixture, VIM_E_INVALID, "not an SQLite database");
}

static void test_foreign_database(void **state)
{
    struct fixture *fixture = *state;

    run_sql(fixture->path, "CREATE TABLE music(title)");
    assert_refused(fixture, VIM_E_INVALID, "another application's");
    run_sql(fixture->path, "PRAGMA application_id=77; PRAGMA user_version=1");
    assert_refused(fixture, VIM_E_INVALID, "another application's");
}

static void test_newer_schema(void **state)
{
    struct fixture *fixture = *state;

    open_store(fixture);
    close_store(fixture);
    run_sql(fixture->path, "PRAGMA user_version=99");
    assert_refused(fixture, VIM_E_INVALID, "newer");
}

static void test_damaged(void **state)
{
    struct fixture *fixture = *state;
    char noise[4096];
    int fd;

    open_store(fixture);
    close_store(fixture);
    memset(noise, 0x5a, sizeof noise);
    fd = open(fixture->path, O_WRONLY);
    assert_int_equal(pwrite(fd, noise, sizeof noise - 100, 100), (ssize_t)sizeof noise - 100);
    close(fd);
    assert_refused(fixture, VIM_E_INTERNAL, "damaged");
}

static void test_path_that_cannot_be_made(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call;
    void *instance;

    fixture->config.path = "/nonexistent/folder/x.db";
    assert_int_equal(open_with(fixture, &call, &instance), VIM_E_UNAVAILABLE);
    assert_non_null(strstr(call.text, "path"));
    assert_non_null(strstr(call.text, "No such file"));
    fixture->config.path = fixture->directory;
    assert_true(open_with(fixture, &call, &instance) < 0);
    assert_non_null(strstr(call.text, "path"));
}

/* A file size limit stands for the full disk. */
static void test_disk_full(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit old, small;
    char *body = malloc(600001);
    struct vim_call call = {0};
    struct vim_write write = {
        .collection = "c", .id = "big", .body = body, .expect = VIM_EXPECT_ANY};
    int code;

    memset(body, 'x', 600000);
    body[600000] = 0;
    open_store(fixture);
    assert_int_equal(put(fixture->instance, "a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    code = ops->commit(&call, fixture->instance, &write, 1, sizeof write);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(code == VIM_E_UNAVAILABLE || code == VIM_E_LOST);
    assert_true(call.text[0]);
    /* Nothing of it is there, what was there is, and the store goes on. */
    assert_int_equal(get(fixture->instance, "big"), VIM_E_NOT_FOUND);
    assert_int_equal(get(fixture->instance, "a"), VIM_OK);
    assert_int_equal(put(fixture->instance, "big", body, VIM_EXPECT_ABSENT), VIM_OK);
    close_store(fixture);
    free(body);
}

/* Another process holds the write lock: bounded by the caller's time, and nothing was written. */
static void test_busy_file(void **state)
{
    struct fixture *fixture = *state;
    struct vim_write write = {.collection = "c", .id = "a", .body = "{}"};
    struct vim_call call = {0};
    sqlite3 *other;
    int64_t start;

    open_store(fixture);
    assert_int_equal(sqlite3_open(fixture->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    start = test_now();
    call.deadline_ms = start + 150;
    assert_int_equal(ops->commit(&call, fixture->instance, &write, 1, sizeof write), VIM_E_BUSY);
    assert_true(test_now() - start >= 140);
    assert_int_equal(get(fixture->instance, "a"), VIM_E_NOT_FOUND);
    sqlite3_exec(other, "COMMIT", NULL, NULL, NULL);
    assert_int_equal(put(fixture->instance, "a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    sqlite3_close(other);
    close_store(fixture);
}

static void test_two_instances_of_one_file(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call;
    void *second = NULL;

    open_store(fixture);
    assert_int_equal(open_with(fixture, &call, &second), VIM_OK);
    assert_int_equal(put(fixture->instance, "a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(put(second, "a", "{}", VIM_EXPECT_ABSENT), VIM_E_CONFLICT);
    assert_int_equal(put(second, "a", "{}", 1), VIM_OK);
    assert_int_equal(put(fixture->instance, "a", "{}", 1), VIM_E_CONFLICT);
    plugin->close(second);
    close_store(fixture);
}

#define COMMITTERS 16
#define ROUNDS 40

struct committer {
    void *instance;
    unsigned number;
    unsigned wrong;
};

/* Every second commit must fail alone, amid a group of others that succeed. */
static void *commit_and_conflict(void *context)
{
    struct committer *committer = context;
    char id[32];

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(id, sizeof id, "%u-%d", committer->number, i);
        committer->wrong += put(committer->instance, id, "{}", VIM_EXPECT_ABSENT) != VIM_OK;
        committer->wrong += get(committer->instance, id) != VIM_OK;
        committer->wrong += put(committer->instance, id, "{}", 7) != VIM_E_CONFLICT;
    }
    return NULL;
}

static void test_groups(void **state)
{
    struct fixture *fixture = *state;
    struct committer committers[COMMITTERS];
    struct vim_scan scan = {.size = sizeof scan, .collection = "c"};
    struct vim_call call = {0};
    pthread_t threads[COMMITTERS];

    open_store(fixture);
    for (unsigned i = 0; i < COMMITTERS; i++) {
        committers[i] = (struct committer){.instance = fixture->instance, .number = i};
        pthread_create(&threads[i], NULL, commit_and_conflict, &committers[i]);
    }
    for (unsigned i = 0; i < COMMITTERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(committers[i].wrong, 0);
    }
    assert_int_equal(ops->scan(&call, fixture->instance, &scan), VIM_OK);
    assert_int_equal(call.count, COMMITTERS * ROUNDS);
    close_store(fixture);
}

/* The log is written back: it does not grow with the number of commits. */
static void test_log_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    char *body = malloc(300001), path[128];
    struct stat status;

    memset(body, 'x', 300000);
    body[300000] = 0;
    fixture->config.durability = "process";
    open_store(fixture);
    for (int i = 0; i < 200; i++)
        assert_int_equal(put(fixture->instance, "big", body, VIM_EXPECT_ANY), VIM_OK);
    snprintf(path, sizeof path, "%s-wal", fixture->path);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < 32 * 1000 * 1000);
    close_store(fixture);
    free(body);
}

/* Every way to scan finds its rows by an index, whatever the combination. */
static void test_scan_combinations(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call write_call = {0};

    open_store(fixture);
    for (unsigned i = 0; i < 60; i++) {
        char id[16], parent[16];
        struct vim_write write = {.collection = "c",
                                  .id = id,
                                  .parent = parent,
                                  .body = "{}",
                                  .state = i % 6,
                                  .due = i % 4 * 10};

        snprintf(id, sizeof id, "id%02u", i);
        snprintf(parent, sizeof parent, "p%u", i % 3);
        assert_int_equal(ops->commit(&write_call, fixture->instance, &write, 1, sizeof write), 0);
    }
    for (unsigned shape = 0; shape < 32; shape++)
        for (uint32_t states = 0; states < 64; states++) {
            bool by_due = shape & 1, descending = shape & 2 && !by_due;
            bool parent = shape & 4, after = shape & 8 && !by_due, limit = shape & 16;
            struct vim_scan scan = {.size = sizeof scan,
                                    .collection = "c",
                                    .states = states,
                                    .due_until = 20,
                                    .flags = (by_due ? VIM_SCAN_BY_DUE : 0u) |
                                             (descending ? VIM_SCAN_DESCENDING : 0u),
                                    .parent = parent ? "p1" : NULL,
                                    .after = after ? "id30" : NULL,
                                    .limit = limit ? 3 : 0};
            struct vim_call call;
            unsigned expected = 0;

            for (unsigned i = 0; i < 60; i++)
                expected += (!states || states >> i % 6 & 1) && (!parent || i % 3 == 1) &&
                            (!after || (descending ? i < 30 : i > 30)) &&
                            (!by_due || (i % 4 > 0 && i % 4 < 3));
            if (limit && expected > 3)
                expected = 3;
            test_call_init(&call);
            assert_int_equal(ops->scan(&call, fixture->instance, &scan), VIM_OK);
            assert_int_equal(call.count, expected);
            for (unsigned i = 1; i < call.count; i++) {
                struct test_row *a = &call.rows[i - 1], *b = &call.rows[i];

                if (by_due)
                    assert_true(a->due <= b->due);
                else
                    assert_true(descending ? strcmp(a->id, b->id) > 0 : strcmp(a->id, b->id) < 0);
            }
            test_call_clear(&call);
        }
    close_store(fixture);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file_is_private_and_named_after_the_instance),
        TEST(test_not_a_database),
        TEST(test_foreign_database),
        TEST(test_newer_schema),
        TEST(test_damaged),
        TEST(test_path_that_cannot_be_made),
        TEST(test_disk_full),
        TEST(test_busy_file),
        TEST(test_two_instances_of_one_file),
        TEST(test_groups),
        TEST(test_log_is_bounded),
        TEST(test_scan_combinations),
    };

    plugin = test_load(TEST_PLUGIN_DIR "/store-sqlite.so");
    ops = plugin->ops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
