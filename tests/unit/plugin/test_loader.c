/*
 * Each way in which a plugin can be broken is told by plugin, file and reason, and does no harm.
 */
#include "test.h"
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "plugin/registry.h"

static const char *const directories[] = {"/nonexistent", FIXTURE_DIR};

static void check_refused(const char *name, uint32_t type, int code, const char *wanted)
{
    struct plugin *plugin = NULL;
    struct text reason = {0};
    assert_int_equal(plugin_load(directories, 2, name, type, &plugin, &reason), code);
    assert_null(plugin);
    char *prefix = text_format("plugin %s (%s/%s.so): ", name, FIXTURE_DIR, name);
    char *line = text_format("%s%s", prefix, wanted);
    /* The loader's own words differ between C libraries: only what comes first is compared. */
    if (strstr(wanted, "cannot be loaded")) {
        assert_true(text_starts_with(reason.data, line));
    } else {
        assert_string_equal(reason.data, line);
    }
    free(prefix);
    free(line);
    text_free(&reason);
}

static void broken_plugins_are_refused(void **state)
{
    (void)state;
    check_refused("missing-entry", 0, VIM_E_INVALID,
                  "is not a vimd plugin: it exports no vim_plugin_entry");
    check_refused("wrong-abi", 0, VIM_E_INVALID, "made for plugin ABI 7.3, this vimd has 1.0");
    check_refused("refuses", 0, VIM_E_INVALID, "refuses to work with this vimd (plugin ABI 1.0)");
    check_refused("bad-options", 0, VIM_E_INVALID,
                  "option url: offset lies outside of the configuration struct; option retries: "
                  "default: expected an integer, got many");
    check_refused("bad-traits", 0, VIM_E_INVALID,
                  "trait 0: kind is not 1..32 characters of a-z 0-9 -; trait port: has verbs that "
                  "change things, but step is NULL; trait port: has ACTION, but names no actions; "
                  "trait port: no verbs; trait port: names actions without ACTION; trait port: "
                  "told twice");
    check_refused("wrong-name", 0, VIM_E_INVALID, "calls itself another");
    check_refused("no-ops", 0, VIM_E_INVALID, "ops is NULL");
    check_refused("small-ops", 0, VIM_E_INVALID,
                  "ops: size is 8, less than the 56 bytes of struct vim_driver_ops");
    check_refused("small-descriptor", 0, VIM_E_INVALID,
                  "the descriptor's size is 40, less than the 104 bytes of struct vim_plugin");
    check_refused("policy", 0, VIM_E_INVALID,
                  "ops: decide is NULL; ops: needs tier 2 and prefers tier 0: both are 0..2, the "
                  "second no less; ops: windows is 1, not 2..256");
    check_refused("later-type", 0, VIM_E_INVALID, "type 5 is not supported by this vimd");
    check_refused("good", VIM_STORE, VIM_E_INVALID, "is a driver, not a store");
    check_refused("store", VIM_QUEUE, VIM_E_INVALID, "is a store, not a queue");
    check_refused("undefined-symbol", 0, VIM_E_INVALID, "cannot be loaded: ");
}

static void crashes_stay_in_the_child(void **state)
{
    (void)state;
    check_refused("crash-constructor", 0, VIM_E_INVALID, "crashes while it is probed (SIGSEGV)");
    check_refused("crash-entry", 0, VIM_E_INVALID, "crashes while it is probed (SIGSEGV)");
    check_refused("abort-entry", 0, VIM_E_INVALID, "crashes while it is probed (SIGABRT)");
    check_refused("wild-pointer", 0, VIM_E_INVALID, "crashes while it is probed (SIGSEGV)");
    check_refused("exit-entry", 0, VIM_E_INVALID,
                  "ends the process while it is probed (exit status 3)");
    plugin_set_probe_ms(300);
    check_refused("hang-entry", 0, VIM_E_INVALID,
                  "hangs while it is probed (no end within 300 ms)");
    plugin_set_probe_ms(10000);
}

static void files_that_are_not_there_or_no_plugins(void **state)
{
    (void)state;
    struct plugin *plugin = NULL;
    struct text reason = {0};
    assert_int_equal(plugin_load(directories, 2, "none", 0, &plugin, &reason), VIM_E_NOT_FOUND);
    assert_string_equal(reason.data, "plugin none: no file none.so in /nonexistent, " FIXTURE_DIR);
    assert_int_equal(plugin_load(directories, 2, "../fixtures/good", 0, &plugin, &reason),
                     VIM_E_NOT_FOUND);
    assert_non_null(strstr(reason.data, "'../fixtures/good' is no name of a plugin"));
    assert_int_equal(plugin_load(directories, 2, "", 0, &plugin, &reason), VIM_E_NOT_FOUND);
    assert_non_null(strstr(reason.data, "'' is no name of a plugin"));
    assert_int_equal(plugin_load(directories, 0, "good", 0, &plugin, &reason), VIM_E_NOT_FOUND);
    char folder[] = "/tmp/test-loader-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/text.so", folder);
    assert_int_equal(file_write(path, "hello", 5, 0600), VIM_OK);
    const char *const only[] = {folder};
    assert_int_equal(plugin_load(only, 1, "text", 0, &plugin, &reason), VIM_E_INVALID);
    assert_non_null(strstr(reason.data, "cannot be loaded: "));
    unlink(path);
    rmdir(folder);
    free(path);
    text_free(&reason);
}

static void check_good(const struct plugin *plugin)
{
    assert_int_equal(plugin->descriptor.type, VIM_DRIVER);
    assert_int_equal(plugin->descriptor.size, sizeof(struct vim_plugin));
    assert_int_equal(plugin->table.count, 2);
    assert_string_equal(plugin->table.options[1].name, "retries");
    assert_string_equal(plugin->table.options[1].default_value, "3");
    assert_int_equal(plugin->ops.driver.size, sizeof(struct vim_driver_ops));
    assert_int_equal(plugin->ops.driver.trait_count, 2);
    assert_string_equal(plugin->ops.driver.traits[1].kind, "network");
    assert_non_null(plugin->ops.driver.list);
    assert_null(plugin->ops.driver.step);
}

static void good_plugins_load_also_newer_ones(void **state)
{
    (void)state;
    struct text reason = {0};
    static const char *const names[] = {"good", "newer-minor", "good"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct plugin *plugin = NULL;
        assert_int_equal(plugin_load(directories, 2, names[i], VIM_DRIVER, &plugin, &reason),
                         VIM_OK);
        assert_string_equal(plugin->descriptor.name, names[i]);
        check_good(plugin);
        plugin_free(plugin);
    }
    plugin_free(NULL);
    text_free(&reason);
}

static void registry_loads_once(void **state)
{
    (void)state;
    struct registry *registry = registry_new(directories, 2);
    const struct plugin *store = NULL, *good = NULL, *again = NULL;
    struct text reason = {0};
    assert_int_equal(registry_load(registry, "store", VIM_STORE, &store, &reason), VIM_OK);
    assert_int_equal(registry_load(registry, "good", 0, &good, &reason), VIM_OK);
    assert_int_equal(registry_load(registry, "good", VIM_DRIVER, &again, &reason), VIM_OK);
    assert_ptr_equal(good, again);
    assert_int_equal(registry_load(registry, "good", VIM_STORE, &again, &reason), VIM_E_INVALID);
    assert_non_null(strstr(reason.data, "is a driver, not a store"));
    assert_int_equal(registry_load(registry, "crash-entry", 0, &again, &reason), VIM_E_INVALID);
    json_t *json = registry_json(registry);
    assert_int_equal(json_array_size(json), 2);
    char *text = json_print(json_array_get(json, 0));
    assert_string_equal(
        text,
        "{\"name\":\"good\",\"version\":\"1.2\",\"type\":\"driver\",\"summary\":\"For tests.\","
        "\"abi\":\"1.0\",\"serial\":false,\"options\":[{\"name\":\"url\",\"type\":\"text\","
        "\"help\":\"Where it is.\",\"required\":true,\"secret\":false,\"live\":false},{\"name\":"
        "\"retries\",\"type\":\"integer\",\"default\":\"3\",\"help\":\"How often.\",\"required\":"
        "false,\"secret\":false,\"live\":false}],\"kinds\":[{\"kind\":\"server\",\"verbs\":"
        "[\"list\",\"get\"],\"actions\":[]},{\"kind\":\"network\",\"verbs\":[\"list\"],"
        "\"actions\":[]}]}");
    free(text);
    json_decref(json);
    registry_free(registry);
    registry_free(NULL);
    text_free(&reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_plugins_are_refused),
        cmocka_unit_test(crashes_stay_in_the_child),
        cmocka_unit_test(files_that_are_not_there_or_no_plugins),
        cmocka_unit_test(good_plugins_load_also_newer_ones),
        cmocka_unit_test(registry_loads_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
