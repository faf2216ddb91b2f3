/*
 * What a table tells: dump, description, comparison, lint.
 */
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/text.h"
#include "sample.h"

static struct config_struct *fill(const char *yaml)
{
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    assert_int_equal(config_parse_text(yaml, strlen(yaml), "x.yaml", &config, &errors), VIM_OK);
    assert_int_equal(config_fill(&sample_table, config_root(config), NULL, &errors, &filled),
                     VIM_OK);
    config_free(config);
    return filled;
}

static void dumps_effective_values(void **state)
{
    (void)state;
    setenv("TEST_PASSWORD", "hidden-1", 1);
    struct config_struct *filled = fill("url: 'http://x:1/'\n"
                                        "password: ${env:TEST_PASSWORD}\n"
                                        "port: 0080\n"
                                        "timeout: 90s\n"
                                        "zones: [nova, '12', 'a\"b']\n"
                                        "note: ${env:TEST_PASSWORD:-x}\n");
    struct text text = {0};
    config_dump(filled, 2, &text);
    assert_string_equal(text.data, "  url: \"http://x:1/\"\n"
                                   "  password: \"********\"  # from ${env:TEST_PASSWORD}\n"
                                   "  port: 80\n"
                                   "  # ratio: 0.5\n"
                                   "  # verify: true\n"
                                   "  timeout: 90s\n"
                                   "  # buffer: 64KiB\n"
                                   "  # mode: fast\n"
                                   "  zones: [nova, \"12\", \"a\\\"b\"]\n"
                                   "  # ca_file:\n"
                                   "  note: hidden-1  # from ${env:TEST_PASSWORD:-x}\n");
    text_free(&text);
    config_struct_free(filled);
}

/* Options that are no secrets may hold URLs that are. */
static void dumps_no_passwords_of_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"http://user:hidden@host/v3", "http://user:********@host/v3"},
        {"http://user:hid:den@host:1?x=1", "http://user:********@host:1?x=1"},
        {"redis://:hidden@[::1]:1", "redis://:********@[::1]:1"},
        {"http://u:hi@dden@host", "http://u:********@host"},
        {"http://user@host/", "http://user@host/"},
        {"http://user:@host/", "http://user:@host/"},
        {"http://host/a:b@c", "http://host/a:b@c"},
        {"http://host:1/?q=a:b@c", "http://host:1/?q=a:b@c"},
        {"host:1@x", "host:1@x"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[256], wanted[256];
        snprintf(yaml, sizeof(yaml), "url: '%s'\nzones: ['%s']\n", cases[i].url, cases[i].url);
        struct config_struct *filled = fill(yaml);
        struct text text = {0};
        config_dump(filled, 0, &text);
        snprintf(wanted, sizeof(wanted), "url: \"%s\"\n", cases[i].shown);
        assert_true(text_starts_with(text.data, wanted));
        snprintf(wanted, sizeof(wanted), "\nzones: [\"%s\"]\n", cases[i].shown);
        assert_non_null(strstr(text.data, wanted));
        text_free(&text);
        config_struct_free(filled);
    }
}

/* Any text that is dumped is read back as it was. */
static void dumped_scalars_can_be_read_back(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",        "a",       "true", "No", "null", "12",       "1e5",      "0x1F",
        "- a",     "a: b",    "a #b", "'",  "\"",   "\\",       "$",        "$$",
        "${x}",    "a\nb",    "\t",   "~",  "*a",   "&a",       "!a",       "%a",
        "@a",      "`a",      "a,b",  "[",  "{",    "\x01\x7F", "\xC3\xA4", "/etc/x.pem",
        "1.2.3.4", "a-b_c.d", "-",    ".5", "=",    " a "};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct text yaml = {0};
        struct config_errors errors = {0};
        struct config *config = NULL;
        text_add(&yaml, "a: ");
        config_dump_scalar(cases[i], &yaml);
        assert_int_equal(config_parse_text(yaml.data, yaml.length, "x", &config, &errors), VIM_OK);
        assert_string_equal(config_text(config_get(config_root(config), "a")), cases[i]);
        config_free(config);
        text_free(&yaml);
    }
}

static void describes_options(void **state)
{
    (void)state;
    struct text text = {0};
    config_describe(&sample_table, &text);
    assert_non_null(strstr(text.data, "  url\n      text, required\n      Where it is.\n"));
    assert_non_null(strstr(text.data, "  password\n      text, secret, a reload applies it in "
                                      "place\n      Secret.\n"));
    assert_non_null(strstr(text.data, "  port\n      integer, 1 to 65535, default 80\n"));
    assert_non_null(strstr(text.data, "  timeout\n      duration, 100ms to 1h, default 30s, a "
                                      "reload"));
    assert_non_null(strstr(text.data, "  mode\n      choice (fast safe), default fast\n"));
    text_free(&text);
}

static void compares(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *names;
        size_t count;
        bool live;
    } cases[] = {
        {"url: x", "url: x\nport: 80", "", 0, true},
        {"url: x", "url: x\ntimeout: 31s\npassword: a", "password timeout", 2, true},
        {"url: x", "url: y\ntimeout: 31s", "url timeout", 2, false},
        {"url: x", "url: x\nzones: [a, b]", "zones", 1, false},
        {"url: x", "url: x\nzones: [a]", "zones", 1, false},
        {"url: x\nnote: a", "url: x", "note", 1, false},
        {"url: x", "url: x\nverify: false\nratio: 0.25", "ratio verify", 2, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_struct *a = fill(cases[i].a), *b = fill(cases[i].b);
        struct config_changes changes = config_compare(a, b);
        assert_int_equal(changes.count, cases[i].count);
        assert_int_equal(changes.live, cases[i].live);
        assert_string_equal(changes.names, cases[i].names);
        config_struct_free(a);
        config_struct_free(b);
    }
}

static void check_lint(struct vim_option option, const char *wanted)
{
    struct config_errors errors = {0};
    const struct config_table table = {.name = "t", .options = &option, .count = 1, .size = 16};
    int code = config_lint(&table, &errors);
    assert_int_equal(code, wanted ? VIM_E_INVALID : VIM_OK);
    if (wanted) {
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.items[0], wanted);
    }
    config_errors_free(&errors);
}

static void lint_finds_what_is_wrong(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    assert_int_equal(config_lint(&sample_table, &errors), VIM_OK);
    check_lint((struct vim_option){.name = "a", .help = "h"}, NULL);
    check_lint((struct vim_option){.help = "h"},
               "option 0: name is not lower case with underscores");
    check_lint((struct vim_option){.name = "a-b", .help = "h"},
               "option 0: name is not lower case with underscores");
    check_lint((struct vim_option){.name = "a", .type = 9, .help = "h"},
               "option a: type 9 does not exist");
    check_lint((struct vim_option){.name = "a"}, "option a: has no help");
    check_lint((struct vim_option){.name = "a", .help = "h", .type = VIM_CHOICE, .choices = " "},
               "option a: has no choices");
    check_lint((struct vim_option){.name = "a", .help = "h", .choices = "x"},
               "option a: has choices, but is not a choice");
    check_lint((struct vim_option){.name = "a", .help = "h", .minimum = 2, .maximum = 1},
               "option a: minimum is greater than maximum");
    check_lint((struct vim_option){.name = "a", .help = "h", .offset = 9},
               "option a: offset lies outside of the configuration struct");
    check_lint((struct vim_option){.name = "a", .help = "h", .offset = SIZE_MAX},
               "option a: offset lies outside of the configuration struct");
    check_lint((struct vim_option){.name = "a", .help = "h", .offset = 4},
               "option a: offset is not aligned for its type");
    check_lint(
        (struct vim_option){.name = "a", .help = "h", .flags = VIM_REQUIRED, .default_value = "x"},
        "option a: is required and has a default");
    check_lint(
        (struct vim_option){.name = "a", .help = "h", .type = VIM_INTEGER, .default_value = "x"},
        "option a: default: expected an integer, got x");
    check_lint((struct vim_option){.name = "a",
                                   .help = "h",
                                   .type = VIM_DURATION,
                                   .minimum = 1000,
                                   .maximum = 2000,
                                   .default_value = "3s"},
               "option a: default: expected 1s to 2s, got 3s");
    check_lint(
        (struct vim_option){.name = "a", .help = "h", .type = VIM_LIST, .default_value = "x"},
        "option a: default: expected a list such as [a, b]");
}

static void lint_looks_at_pairs(void **state)
{
    (void)state;
    const struct vim_option options[] = {
        {.name = "a", .help = "h", .offset = 0},
        {.name = "a", .help = "h", .offset = 8},
        {.name = "b", .type = VIM_LIST, .help = "h", .offset = 8},
    };
    const struct config_table table = {.name = "t", .options = options, .count = 3, .size = 64};
    struct config_errors errors = {0};
    assert_int_equal(config_lint(&table, &errors), VIM_E_INVALID);
    assert_int_equal(errors.count, 2);
    assert_string_equal(errors.items[0], "option a: is there twice");
    assert_string_equal(errors.items[1], "option b: offset overlaps that of a");
    config_errors_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dumps_effective_values),
        cmocka_unit_test(dumps_no_passwords_of_urls),
        cmocka_unit_test(dumped_scalars_can_be_read_back),
        cmocka_unit_test(describes_options),
        cmocka_unit_test(compares),
        cmocka_unit_test(lint_finds_what_is_wrong),
        cmocka_unit_test(lint_looks_at_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
