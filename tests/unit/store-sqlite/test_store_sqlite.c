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
#include <sys/wait.h>
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

/* --- Reads are current, wherever the commit came from */

static int put_number(void *instance, const char *id, int number)
{
    char body[32];

    snprintf(body, sizeof body, "%d", number);
    return put(instance, id, body, VIM_EXPECT_ANY);
}

/* The number in row ID, by a get or by a scan of one row; -1 if the answer is none. */
static int number_of(void *instance, const char *id, bool by_scan)
{
    struct test_row row = {0};
    struct vim_call call = {.rows = &row};
    struct vim_scan scan = {.size = sizeof scan, .collection = "c", .limit = 1};
    int code = by_scan ? ops->scan(&call, instance, &scan) : ops->get(&call, instance, "c", id);
    int number = -1;

    if (code == VIM_OK && call.count == 1 && row.body && strcmp(row.id, id) == 0)
        number = atoi(row.body);
    free(row.body);
    return number;
}

#define ALTERNATIONS 1000

/* Commits each number that comes through a pipe and says so through the other. */
static void other_process(struct fixture *fixture, int from, int to)
{
    struct vim_call call;
    void *instance = NULL;
    int number;

    if (open_with(fixture, &call, &instance) != VIM_OK)
        _exit(1);
    while (read(from, &number, sizeof number) == sizeof number)
        if (put_number(instance, "row", number) != VIM_OK ||
            number_of(instance, "row", number & 1) != number ||
            write(to, &number, sizeof number) != sizeof number)
            _exit(2);
    plugin->close(instance);
    _exit(0);
}

/* Who makes the file, turns on WAL and makes the tables is settled among those who open it. */
static void test_processes_open_a_new_file_together(void **state)
{
    struct fixture *fixture = *state;
    enum { OPENINGS = 20, PROCESSES = 4 };

    for (int round = 0; round < OPENINGS; round++) {
        pid_t children[PROCESSES];

        for (int i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] == 0) {
                struct vim_call call;
                void *instance = NULL;

                if (open_with(fixture, &call, &instance) != VIM_OK) {
                    print_error("%s\n", call.text);
                    _exit(1);
                }
                plugin->close(instance);
                _exit(0);
            }
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status = -1;

            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        unlink(fixture->path);
    }
}

static void test_commits_of_another_process_are_seen(void **state)
{
    struct fixture *fixture = *state;
    int there[2], back[2], status = -1;
    pid_t child;

    fixture->config.durability = "process";
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    child = fork(); /* before there are threads and connections */
    assert_true(child >= 0);
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        other_process(fixture, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    open_store(fixture);
    for (int number = 1; number <= ALTERNATIONS; number++) {
        if (number % 3 == 0) {
            assert_int_equal(put_number(fixture->instance, "row", number), VIM_OK);
        } else {
            int answer = 0;

            assert_int_equal(write(there[1], &number, sizeof number), sizeof number);
            assert_int_equal(read(back[0], &answer, sizeof answer), sizeof answer);
            assert_int_equal(answer, number);
        }
        for (int times = 0; times < 4; times++)
            assert_int_equal(number_of(fixture->instance, "row", times & 1), number);
    }
    close(there[1]);
    close(back[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close_store(fixture);
}

struct racing {
    void *instance;
    atomic_int committed; /* the last number whose commit has returned */
    atomic_bool ended;
    atomic_uint wrong;
};

static void *read_racing(void *context)
{
    struct racing *racing = context;

    for (unsigned times = 0; !atomic_load(&racing->ended); times++) {
        int least = atomic_load(&racing->committed);

        if (number_of(racing->instance, "row", times & 1) < least)
            atomic_fetch_add(&racing->wrong, 1);
    }
    return NULL;
}

static void test_reads_never_go_back_behind_a_commit(void **state)
{
    struct fixture *fixture = *state;
    struct racing racing = {0};
    pthread_t threads[4];

    fixture->config.durability = "process";
    open_store(fixture);
    racing.instance = fixture->instance;
    assert_int_equal(put_number(fixture->instance, "row", 0), VIM_OK);
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, read_racing, &racing);
    for (int number = 1; number <= ALTERNATIONS; number++) {
        assert_int_equal(put_number(fixture->instance, "row", number), VIM_OK);
        atomic_store(&racing.committed, number);
    }
    atomic_store(&racing.ended, true);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&racing.wrong), 0);
    close_store(fixture);
}

/* More rows than are kept in memory, and rows too large for it: each is what was written, the
 * first time and when it is asked for again. */
static void test_rows_beyond_the_cache(void **state)
{
    struct fixture *fixture = *state;
    struct vim_write writes[500];
    char ids[500][16], *bodies[500];

    fixture->config.cache_size = 1024 * 1024;
    open_store(fixture);
    for (int i = 0; i < 500; i++) {
        size_t size = (size_t)(i * 37 % 4000 + (i % 50 == 0 ? 100000 : 0));

        snprintf(ids[i], sizeof ids[i], "%d", i);
        bodies[i] = malloc(size + 16);
        memset(bodies[i], 'x', size);
        snprintf(bodies[i] + size, 16, "%d", i);
        writes[i] = (struct vim_write){.collection = "c", .id = ids[i], .body = bodies[i]};
    }
    struct vim_call call = {0};
    assert_int_equal(ops->commit(&call, fixture->instance, writes, 500, sizeof writes[0]), VIM_OK);
    for (int step = 0; step < 3000; step++) {
        struct test_row row = {0};
        int i = step % 3 == 0 ? step % 20 : step % 500;

        call = (struct vim_call){.rows = &row};
        assert_int_equal(ops->get(&call, fixture->instance, "c", ids[i]), VIM_OK);
        assert_int_equal(call.count, 1);
        assert_string_equal(row.id, ids[i]);
        assert_string_equal(row.body, bodies[i]);
        assert_int_equal(row.revision, 1);
        free(row.body);
    }
    for (int i = 0; i < 500; i++)
        free(bodies[i]);
    close_store(fixture);
}

static uint32_t count_of(void *instance, struct vim_scan scan, uint32_t stop_after,
                         const char *first)
{
    struct vim_call call;
    uint32_t count;

    test_call_init(&call);
    call.stop_after = stop_after;
    scan.size = sizeof scan;
    scan.collection = "c";
    assert_int_equal(ops->scan(&call, instance, &scan), VIM_OK);
    count = call.count;
    if (count)
        assert_string_equal(call.rows[0].id, first);
    for (uint32_t i = 0; i < count; i++)
        assert_true(call.rows[i].body || (scan.flags & VIM_SCAN_NO_BODY));
    test_call_clear(&call);
    return count;
}

/* What one scan has read is not taken for the answer to another one. */
static void test_scans_are_told_apart(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call call = {0};
    char ids[20][16];

    open_store(fixture);
    for (int i = 0; i < 20; i++) {
        snprintf(ids[i], sizeof ids[i], "%02d", i);
        struct vim_write write = {.collection = "c",
                                  .id = ids[i],
                                  .parent = i < 5 ? "p" : "",
                                  .body = "{}",
                                  .state = (uint32_t)i % 10};
        assert_int_equal(ops->commit(&call, fixture->instance, &write, 1, sizeof write), VIM_OK);
    }
    for (int times = 0; times < 3; times++) {
        void *store = fixture->instance;
        struct vim_scan ten = {.limit = 10};
        struct vim_scan wide = {.limit = 100};

        /* A caller that had enough has not seen the end. */
        assert_int_equal(count_of(store, wide, 3, "00"), 3);
        assert_int_equal(count_of(store, wide, 0, "00"), 20);
        assert_int_equal(count_of(store, ten, 10, "00"), 10);
        assert_int_equal(count_of(store, ten, 0, "00"), 10);
        assert_int_equal(count_of(store, ten, 2, "00"), 2);
        ten.flags = VIM_SCAN_NO_BODY;
        assert_int_equal(count_of(store, ten, 0, "00"), 10);
        ten.flags = VIM_SCAN_DESCENDING;
        assert_int_equal(count_of(store, ten, 0, "19"), 10);
        ten.flags = 0;
        ten.after = "17";
        assert_int_equal(count_of(store, ten, 0, "18"), 2);
        ten.after = NULL;
        ten.parent = "";
        assert_int_equal(count_of(store, ten, 0, "05"), 10);
        ten.parent = "p";
        assert_int_equal(count_of(store, ten, 0, "00"), 5);
        ten.parent = NULL;
        for (uint32_t states = 0x3ff; states; states >>= 1)
            assert_int_equal(
                count_of(store, (struct vim_scan){.states = states, .limit = 100}, 0, "00"),
                2 * __builtin_popcount(states));
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
        TEST(test_processes_open_a_new_file_together),
        TEST(test_commits_of_another_process_are_seen),
        TEST(test_reads_never_go_back_behind_a_commit),
        TEST(test_rows_beyond_the_cache),
        TEST(test_scans_are_told_apart),
    };

    plugin = test_load(TEST_PLUGIN_DIR "/store-sqlite.so");
    ops = plugin->ops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
