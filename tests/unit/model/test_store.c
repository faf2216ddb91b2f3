/* The caller of the store, aliases, and the kill at a commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/config.h"
#include "model/resource.h"
#include "model/store.h"
#include "plugin/instance.h"
#include "plugin/registry.h"

static char folder[64];
static struct registry *registry;
static struct instance *instance;
static struct store *store;

static void open_store(void)
{
    const char *directory = TEST_PLUGIN_DIR;
    const struct plugin *plugin;
    CLEANUP_TEXT struct text reason = {0};
    struct config_errors errors = {0};
    struct config_struct *filled;
    struct instance_settings settings = {.name = "store", .state_dir = folder};
    registry = registry_new(&directory, 1);
    if (registry_load(registry, "store-sqlite", VIM_STORE, &plugin, &reason) != VIM_OK) {
        fail_msg("%s", text_get(&reason));
    }
    assert_int_equal(config_fill(&plugin->table, NULL, NULL, &errors, &filled), VIM_OK);
    assert_int_equal(instance_open(plugin, &settings, filled, &instance, &reason), VIM_OK);
    store = store_new(instance, 30000);
}

static void close_store(void)
{
    store_free(store);
    instance_release(instance);
    assert_int_equal(instance_wait_closed(30000), 0);
    registry_free(registry);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test-model-XXXXXX");
    assert_non_null(mkdtemp(folder));
    open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_store();
    CLEANUP_FREE char *command = text_format("rm -rf %s", folder);
    return system(command);
}

static int put(const char *id, const char *body, uint64_t expect)
{
    struct vim_write write = {.collection = "thing", .id = id, .body = body, .expect = expect};
    return store_commit(store, &write, 1, NULL);
}

static void rows_come_back(void **state)
{
    (void)state;
    struct row row = {0};
    struct failure failure = {0};
    assert_int_equal(store_probe(store, 0, NULL), VIM_OK);
    assert_int_equal(store_get(store, "thing", "a", &row, &failure), VIM_E_NOT_FOUND);
    assert_int_equal(failure.code, VIM_E_NOT_FOUND);
    assert_int_equal(put("a", "{\"n\":1}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(put("a", "{\"n\":2}", VIM_EXPECT_ABSENT), VIM_E_CONFLICT);
    assert_int_equal(put("a", "{\"n\":2}", 1), VIM_OK);
    assert_int_equal(store_get(store, "thing", "a", &row, NULL), VIM_OK);
    assert_string_equal(row.body, "{\"n\":2}");
    assert_int_equal(row.body_length, 7);
    assert_int_equal(row.revision, 2);
    row_free(&row);
    assert_null(row.body);
}

static int stop_at_second(void *argument, const struct vim_item *item)
{
    (void)item;
    return ++*(int *)argument == 2;
}

static void scan_can_be_ended(void **state)
{
    (void)state;
    assert_int_equal(put("a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(put("b", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(put("c", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    int count = 0;
    struct vim_scan scan = {.collection = "thing"};
    assert_int_equal(store_scan(store, &scan, stop_at_second, &count, NULL), VIM_OK);
    assert_int_equal(count, 2);
}

static int write_alias(const char *backend_id, const char *id)
{
    struct alias_buffer buffer;
    struct vim_write write = alias_write("edge", "keypair", backend_id, id, &buffer);
    return store_commit(store, &write, 1, NULL);
}

static void aliases_lead_to_ids(void **state)
{
    (void)state;
    char id[37], other[37], found[37], derived[37];
    struct aliases *aliases = aliases_new(store, 4);
    resource_derive_id("edge", "keypair", "my key/1", derived);
    assert_int_equal(aliases_find(aliases, "edge", "keypair", "my key/1", found, NULL), VIM_OK);
    assert_string_equal(found, derived);
    assert_int_equal(write_alias("my key/1", id_new(id)), VIM_OK);
    assert_int_equal(aliases_find(aliases, "edge", "keypair", "my key/1", found, NULL), VIM_OK);
    assert_string_equal(found, id);
    /* The name goes to another resource: told, it is known at once. */
    assert_int_equal(write_alias("my key/1", id_new(other)), VIM_OK);
    aliases_learn(aliases, "edge", "keypair", "my key/1", other);
    assert_int_equal(aliases_find(aliases, "edge", "keypair", "my key/1", found, NULL), VIM_OK);
    assert_string_equal(found, other);
    assert_int_equal(write_alias("my key/1", NULL), VIM_OK);
    aliases_learn(aliases, "edge", "keypair", "my key/1", NULL);
    assert_int_equal(aliases_find(aliases, "edge", "keypair", "my key/1", found, NULL), VIM_OK);
    assert_string_equal(found, derived);
    /* More than the cache holds. */
    for (int i = 0; i < 50; i++) {
        CLEANUP_FREE char *name = text_format("key-%d", i);
        assert_int_equal(write_alias(name, id), VIM_OK);
        assert_int_equal(aliases_find(aliases, "edge", "keypair", name, found, NULL), VIM_OK);
        assert_string_equal(found, id);
    }
    aliases_free(aliases);
}

/* A child that is killed at its second commit leaves one row behind, or two. */
static void check_kill(const char *when, bool second_is_there)
{
    close_store();
    pid_t child = fork();
    if (child == 0) {
        (void)setenv("VIMD_TEST_KILL_AT_COMMIT", "2", 1);
        (void)setenv("VIMD_TEST_KILL_WHEN", when, 1);
        open_store();
        (void)put("a", "{}", VIM_EXPECT_ABSENT);
        (void)put("b", "{}", VIM_EXPECT_ABSENT);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    open_store();
    struct row row = {0};
    assert_int_equal(store_get(store, "thing", "a", &row, NULL), VIM_OK);
    row_free(&row);
    int code = store_get(store, "thing", "b", &row, NULL);
    assert_int_equal(code, second_is_there ? VIM_OK : VIM_E_NOT_FOUND);
    row_free(&row);
}

static void kill_before_a_commit(void **state)
{
    (void)state;
    check_kill("before", false);
}

static void kill_after_a_commit(void **state)
{
    (void)state;
    check_kill("after", true);
}

/* A full disk: told once per outbreak, and over with the first commit that comes through. */
static void tells_whether_it_takes_writes(void **state)
{
    (void)state;
    struct failure failure = {0};
    CLEANUP_FREE char *body = memory_new(600001);
    CLEANUP_FREE char *log = text_format("%s/log", folder);
    struct rlimit old, small;
    memset(body, 'x', 600000);
    assert_int_equal(put("a", "{}", VIM_EXPECT_ABSENT), VIM_OK);
    assert_int_equal(put("a", "{}", VIM_EXPECT_ABSENT), VIM_E_CONFLICT);
    assert_int_equal(store_takes_writes(store, &failure), VIM_OK);
    int err = dup(STDERR_FILENO), file = open(log, O_CREAT | O_RDWR, 0600);
    assert_true(err >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (int outbreak = 0; outbreak < 2; outbreak++) {
        small = old;
        small.rlim_cur = 300000;
        setrlimit(RLIMIT_FSIZE, &small);
        int codes[3];
        for (int i = 0; i < 3; i++) {
            codes[i] = put("big", body, VIM_EXPECT_ANY);
        }
        int ill = store_takes_writes(store, &failure);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_true(codes[0] < 0 && codes[1] < 0 && codes[2] < 0);
        assert_int_equal(ill, codes[2]);
        assert_non_null(strstr(failure.text, "store: "));
        assert_int_equal(put("b", "{}", VIM_EXPECT_ANY), VIM_OK);
        assert_int_equal(store_takes_writes(store, &failure), VIM_OK);
    }
    dup2(err, STDERR_FILENO);
    close(err);
    char text[4096] = "";
    assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
    close(file);
    unsigned told = 0;
    for (const char *at = text; (at = strstr(at, "the store takes no writes")); at++) {
        told++;
    }
    assert_int_equal(told, 2);
    assert_non_null(strstr(text, "the store takes writes again"));
    assert_non_null(strstr(text, "failed=3"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tells_whether_it_takes_writes), TEST(rows_come_back),       TEST(scan_can_be_ended),
        TEST(aliases_lead_to_ids),           TEST(kill_before_a_commit), TEST(kill_after_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
