/*
 * Trees to structs: values, and every mistake with its place.
 */
#include "test.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "sample.h"

/* Fills from `s:` of a YAML text; NULL if that is not possible. */
static struct config_struct *fill(const char *yaml, struct config_errors *errors)
{
    struct config *config = NULL;
    assert_int_equal(config_parse_text(yaml, strlen(yaml), "dir/x.yaml", &config, errors), VIM_OK);
    struct config_struct *filled = NULL;
    const struct config_node *root = config_root(config);
    int code = config_fill(&sample_table, config_get(root, "s"), root, errors, &filled);
    assert_int_equal(code, errors->count ? VIM_E_INVALID : VIM_OK);
    config_free(config); /* what was filled does not need it */
    return filled;
}

static void check_errors(const char *yaml, const char *wanted)
{
    struct config_errors errors = {0};
    struct text all = {0};
    config_struct_free(fill(yaml, &errors));
    for (size_t i = 0; i < errors.count; i++) {
        text_printf(&all, "%s\n", errors.items[i]);
    }
    assert_string_equal(text_get(&all), wanted);
    text_free(&all);
    config_errors_free(&errors);
}

static void defaults_are_filled(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    struct config_struct *filled = fill("s: {url: 'http://x'}", &errors);
    const struct sample *sample = config_data(filled);
    assert_string_equal(sample->url, "http://x");
    assert_null(sample->password);
    assert_int_equal(sample->port, 80);
    assert_true(sample->ratio == 0.5);
    assert_int_equal(sample->verify, 1);
    assert_int_equal(sample->timeout, 30000);
    assert_int_equal(sample->buffer, 65536);
    assert_string_equal(sample->mode, "fast");
    assert_int_equal(sample->zones.count, 2);
    assert_string_equal(sample->zones.items[0], "a");
    assert_string_equal(sample->zones.items[1], "b c");
    assert_null(sample->ca_file);
    assert_ptr_equal(config_struct_table(filled), &sample_table);
    config_struct_free(filled);
    config_struct_free(NULL);
}

static void values_are_filled(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    setenv("TEST_PORT", "443", 1);
    struct config_struct *filled = fill("s:\n"
                                        "  url: true\n"
                                        "  password: \"\"\n"
                                        "  port: ${env:TEST_PORT}\n"
                                        "  ratio: 1e-1\n"
                                        "  verify: false\n"
                                        "  timeout: 2m\n"
                                        "  buffer: 1GiB\n"
                                        "  mode: safe\n"
                                        "  zones: []\n"
                                        "  ca_file: tls/ca.pem\n"
                                        "  note: '~'\n",
                                        &errors);
    const struct sample *sample = config_data(filled);
    assert_string_equal(sample->url, "true");
    assert_string_equal(sample->password, "");
    assert_int_equal(sample->port, 443);
    assert_true(sample->ratio == 0.1);
    assert_int_equal(sample->verify, 0);
    assert_int_equal(sample->timeout, 120000);
    assert_int_equal(sample->buffer, 1 << 30);
    assert_string_equal(sample->mode, "safe");
    assert_int_equal(sample->zones.count, 0);
    assert_string_equal(sample->ca_file, "dir/tls/ca.pem");
    assert_string_equal(sample->note, "~");
    config_struct_free(filled);
    filled = fill("s: {url: x, ca_file: /etc/ca.pem}", &errors);
    assert_string_equal(((const struct sample *)config_data(filled))->ca_file, "/etc/ca.pem");
    config_struct_free(filled);
}

static void all_mistakes_are_told(void **state)
{
    (void)state;
    check_errors("s:\n"
                 "  prot: 1\n"
                 "  password: [x]\n"
                 "  port: 70000\n"
                 "  ratio: 0x1\n"
                 "  verify: yes\n"
                 "  timeout: 5 minutes\n"
                 "  buffer: 10MB\n"
                 "  mode: sfae\n"
                 "  zones: a\n"
                 "  ca_file: ''\n"
                 "  note:\n",
                 "dir/x.yaml:2:3: s.prot: unknown key; did you mean port?\n"
                 "dir/x.yaml:2:3: s: required key url is missing\n"
                 "dir/x.yaml:3:13: s.password: expected a text, got a list\n"
                 "dir/x.yaml:4:9: s.port: expected 1 to 65535, got 70000\n"
                 "dir/x.yaml:5:10: s.ratio: expected a number, got 0x1\n"
                 "dir/x.yaml:6:11: s.verify: expected true or false, got yes\n"
                 "dir/x.yaml:7:12: s.timeout: expected a duration (250ms, 30s, 5m, 2h, 1d), got 5 "
                 "minutes\n"
                 "dir/x.yaml:8:11: s.buffer: expected a number of bytes (512, 64KiB, 10MiB, "
                 "1GiB), got 10MB\n"
                 "dir/x.yaml:9:9: s.mode: expected one of fast safe, got sfae; did you mean "
                 "safe?\n"
                 "dir/x.yaml:10:10: s.zones: expected a list of texts\n"
                 "dir/x.yaml:11:12: s.ca_file: expected a path, got \n"
                 "dir/x.yaml:12:8: s.note: expected a text, got nothing\n");
    check_errors("s: {url: x, timeout: 10ms}",
                 "dir/x.yaml:1:22: s.timeout: expected 100ms to 1h, got 10ms\n");
    check_errors("s: {url: x, mode: {a: b}}",
                 "dir/x.yaml:1:19: s.mode: expected one of fast safe, got a mapping\n");
    check_errors("s: {url: x, zones: [a, [b]]}", "dir/x.yaml:1:24: s.zones[1]: expected a text\n");
    check_errors("s: {url: x, port: 99999999999999999999}",
                 "dir/x.yaml:1:19: s.port: expected an integer, got 99999999999999999999\n");
    check_errors("s: {url: x, buffer: 999999999999TiB}",
                 "dir/x.yaml:1:21: s.buffer: expected a number of bytes (512, 64KiB, 10MiB, "
                 "1GiB), got 999999999999TiB\n");
    check_errors("s: 7", "dir/x.yaml:1:4: s: expected a mapping (key: value)\n");
    check_errors("s:", "dir/x.yaml:1:3: s: required key url is missing\n");
    check_errors("t: 1", "dir/x.yaml:1:1: sample: required key url is missing\n");
}

static void everything_may_be_absent(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    struct config_struct *filled = NULL;
    assert_int_equal(config_fill(&sample_table, NULL, NULL, &errors, &filled), VIM_E_INVALID);
    assert_string_equal(errors.items[0], "sample: required key url is missing");
    config_errors_free(&errors);
}

static void nested_keys_are_somebody_elses(void **state)
{
    (void)state;
    struct config_table table = sample_table;
    table.nested = "options lane";
    static const char yaml[] = "url: x\noptions: {a: b}\nlanes: 1\n";
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    assert_int_equal(config_parse_text(yaml, strlen(yaml), "x.yaml", &config, &errors), VIM_OK);
    assert_int_equal(config_fill(&table, config_root(config), NULL, &errors, &filled),
                     VIM_E_INVALID);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0], "x.yaml:3:1: lanes: unknown key; did you mean lane?");
    config_errors_free(&errors);
    config_free(config);
}

static void secrets_stay_secret(void **state)
{
    (void)state;
    struct vim_option options[] = {
        {.name = "pin", .type = VIM_INTEGER, .flags = VIM_SECRET, .help = "P", .offset = 0}};
    const struct config_table table = {
        .name = "pins", .options = options, .count = 1, .size = sizeof(int64_t)};
    static const char yaml[] = "pin: wrong-pin-0815\n";
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    assert_int_equal(config_parse_text(yaml, strlen(yaml), "x.yaml", &config, &errors), VIM_OK);
    assert_int_equal(config_fill(&table, config_root(config), NULL, &errors, &filled),
                     VIM_E_INVALID);
    assert_string_equal(errors.items[0],
                        "x.yaml:1:6: pin: expected an integer, got something else");
    config_errors_free(&errors);
    config_free(config);
    filled = fill("s: {url: x, password: pass-0816}", &errors);
    struct text text = {0};
    text_add(&text, "it is pass-0816.");
    log_redact(&text);
    assert_string_equal(text.data, "it is ***.");
    text_free(&text);
    config_struct_free(filled);
}

/* Fills from a file of its own with the modes given; returns how many warnings there were. */
static size_t warnings_of(const char *yaml, mode_t yaml_mode, mode_t secret_mode)
{
    char folder[] = "/tmp/test-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *secret = text_format("%s/secret", folder), *path = text_format("%s/c.yaml", folder);
    assert_int_equal(file_write(secret, "from-file", 9, secret_mode), VIM_OK);
    assert_int_equal(file_write(path, yaml, strlen(yaml), yaml_mode), VIM_OK);
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    assert_int_equal(config_load(path, &config, &errors), VIM_OK);
    assert_int_equal(config_fill(&sample_table, config_root(config), NULL, &errors, &filled),
                     VIM_OK);
    size_t count = errors.warning_count;
    config_struct_free(filled);
    config_free(config);
    config_errors_free(&errors);
    unlink(secret);
    unlink(path);
    rmdir(folder);
    free(secret);
    free(path);
    return count;
}

static void readable_secrets_are_warned_about(void **state)
{
    (void)state;
    setenv("TEST_SECRET", "from-env", 1);
    assert_int_equal(warnings_of("url: x\npassword: inline-1\n", 0644, 0600), 1);
    assert_int_equal(warnings_of("url: x\npassword: inline-1\n", 0600, 0644), 0);
    assert_int_equal(warnings_of("url: x\npassword: ${env:TEST_SECRET}\n", 0644, 0600), 0);
    assert_int_equal(warnings_of("url: x\npassword: ${file:secret}\n", 0644, 0600), 0);
    assert_int_equal(warnings_of("url: x\npassword: ${file:secret}\n", 0600, 0644), 1);
    assert_int_equal(warnings_of("url: ${file:secret}\n", 0644, 0644), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled),
        cmocka_unit_test(values_are_filled),
        cmocka_unit_test(all_mistakes_are_told),
        cmocka_unit_test(everything_may_be_absent),
        cmocka_unit_test(nested_keys_are_somebody_elses),
        cmocka_unit_test(secrets_stay_secret),
        cmocka_unit_test(readable_secrets_are_warned_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
