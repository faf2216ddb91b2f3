/*
 * Trees: what is read, what is refused, and with which words.
 */
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/file.h"
#include "base/text.h"
#include "config/config.h"

static struct config *parse(const char *yaml, struct config_errors *errors)
{
    struct config *config = NULL;
    int code = config_parse_text(yaml, strlen(yaml), "dir/x.yaml", &config, errors);
    assert_int_equal(code, errors->count ? VIM_E_INVALID : VIM_OK);
    assert_true((config == NULL) == (code != VIM_OK));
    return config;
}

static void check_errors(const char *yaml, const char *wanted)
{
    struct config_errors errors = {0};
    struct text all = {0};
    config_free(parse(yaml, &errors));
    for (size_t i = 0; i < errors.count; i++) {
        text_printf(&all, "%s\n", errors.items[i]);
    }
    assert_string_equal(text_get(&all), wanted);
    text_free(&all);
    config_errors_free(&errors);
}

static void nodes_can_be_read(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    struct config *config = parse("# comment\n"
                                  "a: 1\n"
                                  "vims:\n"
                                  "  - {name: edge1, tags: [x, 'y z']}\n"
                                  "  - name: edge2\n"
                                  "empty:\n"
                                  "tilde: ~\n"
                                  "quoted: \"\"\n",
                                  &errors);
    const struct config_node *root = config_root(config);
    assert_int_equal(config_type(root), CONFIG_MAPPING);
    assert_int_equal(config_count(root), 5);
    assert_string_equal(config_key_at(root, 1), "vims");
    assert_string_equal(config_text(config_get(root, "a")), "1");
    const struct config_node *vims = config_get(root, "vims");
    assert_int_equal(config_type(vims), CONFIG_SEQUENCE);
    assert_int_equal(config_count(vims), 2);
    const struct config_node *tag = config_at(config_get(config_at(vims, 0), "tags"), 1);
    assert_string_equal(config_text(tag), "y z");
    char *path = config_path(tag);
    assert_string_equal(path, "vims[0].tags[1]");
    free(path);
    assert_null(config_text(config_get(root, "empty")));
    assert_null(config_text(config_get(root, "tilde")));
    assert_string_equal(config_text(config_get(root, "quoted")), "");
    assert_null(config_text(vims));
    assert_null(config_get(root, "none"));
    assert_null(config_get(NULL, "none"));
    assert_null(config_at(vims, 2));
    assert_null(config_key_at(root, 99));
    assert_string_equal(config_filename(config), "dir/x.yaml");
    config_free(config);
    config = parse("", &errors);
    assert_int_equal(config_count(config_root(config)), 0);
    config_free(config);
    config_free(NULL);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    check_errors("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n",
                 "dir/x.yaml:4:3: key c is here twice, first in line 3\n"
                 "dir/x.yaml:5:1: key a is here twice, first in line 1\n");
    check_errors("a: &x 1\nb: *x\n", "dir/x.yaml:1:4: anchors and aliases are not supported\n"
                                     "dir/x.yaml:2:4: anchors and aliases are not supported\n");
    check_errors("a: !!int 1\n", "dir/x.yaml:1:4: tags are not supported\n");
    check_errors("a: 1\n---\nb: 2\n", "dir/x.yaml:2:1: a second document is not supported\n");
    check_errors("- a\n", "dir/x.yaml:1:1: expected a mapping (key: value)\n");
    check_errors("just text\n", "dir/x.yaml:1:1: expected a mapping (key: value)\n");
    check_errors("a:\n\tb: 1\n",
                 "dir/x.yaml:2:1: not valid YAML: found character that cannot start any token "
                 "while scanning for the next token\n");
    check_errors("a: [1, 2\nb: 3\n",
                 "dir/x.yaml:2:2: not valid YAML: did not find expected ',' or ']' while parsing "
                 "a flow sequence\n");
    check_errors("? [a, b]\n: 1\n", "dir/x.yaml:1:3: expected a key, which is a single word\n");
    check_errors("a: \"x\\0y\"\n", "dir/x.yaml:1:4: a NUL character is not supported\n");
}

static void limits_hold(void **state)
{
    (void)state;
    struct text yaml = {0};
    text_add(&yaml, "a: ");
    for (int i = 0; i < 40; i++) {
        text_add_char(&yaml, '[');
    }
    check_errors(yaml.data, "dir/x.yaml:1:35: nested too deep\n");
    text_clear(&yaml);
    for (int i = 0; i < 1001; i++) {
        text_printf(&yaml, "k%d: 1\n", i);
    }
    check_errors(yaml.data, "dir/x.yaml:1001:1: too many keys in one mapping\n");
    text_clear(&yaml);
    text_add(&yaml, "a: [");
    for (int i = 0; i < 100001; i++) {
        text_add(&yaml, "1,");
    }
    text_add(&yaml, "1]");
    struct config_errors errors = {0};
    assert_null(parse(yaml.data, &errors));
    assert_non_null(strstr(errors.items[0], "too many values"));
    config_errors_free(&errors);
    text_clear(&yaml);
    text_add(&yaml, "a: ");
    for (int i = 0; i < 1 << 20; i++) {
        text_add_char(&yaml, 'x');
    }
    check_errors(yaml.data, "dir/x.yaml:1:1: larger than 1048576 bytes\n");
    text_free(&yaml);
}

static void references_are_expanded(void **state)
{
    (void)state;
    char folder[] = "/tmp/test-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *file = text_format("%s/secret", folder), *yaml_file = text_format("%s/c.yaml", folder);
    assert_int_equal(file_write(file, "s3cret\n", 7, 0600), VIM_OK);
    static const char yaml[] = "a: ${env:TEST_A}-$${env:X}-$5$\n"
                               "b: '${file:secret}'\n"
                               "c: ${env:TEST_NONE:-other text}\n"
                               "d: ${file:none:-}\n"
                               "e: \"${env:TEST_EMPTY:-x}\"\n";
    assert_int_equal(file_write(yaml_file, yaml, strlen(yaml), 0600), VIM_OK);
    setenv("TEST_A", "va${lue}", 1);
    setenv("TEST_EMPTY", "", 1);
    unsetenv("TEST_NONE");
    struct config_errors errors = {0};
    struct config *config = NULL;
    assert_int_equal(config_load(yaml_file, &config, &errors), VIM_OK);
    const struct config_node *root = config_root(config);
    assert_string_equal(config_text(config_get(root, "a")), "va${lue}-${env:X}-$5$");
    assert_string_equal(config_text(config_get(root, "b")), "s3cret");
    assert_string_equal(config_text(config_get(root, "c")), "other text");
    assert_string_equal(config_text(config_get(root, "d")), "");
    assert_string_equal(config_text(config_get(root, "e")), "");
    assert_string_equal(config_reference(config_get(root, "b")), "${file:secret}");
    config_free(config);
    unlink(file);
    unlink(yaml_file);
    rmdir(folder);
    free(file);
    free(yaml_file);
}

static void bad_references_are_told(void **state)
{
    (void)state;
    unsetenv("TEST_NONE");
    check_errors("a:\n  - ${env:TEST_NONE}\n",
                 "dir/x.yaml:2:5: a[0]: the environment variable TEST_NONE is not set\n");
    check_errors("a: ${file:none}\n", "dir/x.yaml:1:4: a: the file none cannot be read: No such "
                                      "file or directory\n");
    check_errors("a: x${env:A\n", "dir/x.yaml:1:4: a: a reference ${ without its }\n");
    check_errors("a: ${HOME}\nb: ${env:}\n",
                 "dir/x.yaml:1:4: a: unknown reference ${HOME}; there are ${env:NAME} and "
                 "${file:PATH}, and $$ is a dollar\n"
                 "dir/x.yaml:2:4: b: a reference without a name\n");
}

static void unknown_keys_get_a_suggestion(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    struct config *config = parse("api:\n  prot: 1\n  zzz: 2\n  port: 3\n", &errors);
    const struct config_node *api = config_get(config_root(config), "api");
    config_check_keys(api, "port listen", &errors);
    config_check_keys(config_get(api, "port"), "x", &errors);
    config_check_keys(NULL, "x", &errors);
    assert_int_equal(errors.count, 3);
    assert_string_equal(errors.items[0],
                        "dir/x.yaml:2:3: api.prot: unknown key; did you mean port?");
    assert_string_equal(errors.items[1], "dir/x.yaml:3:3: api.zzz: unknown key");
    assert_string_equal(errors.items[2],
                        "dir/x.yaml:4:9: api.port: expected a mapping (key: value)");
    config_errors_free(&errors);
    config_free(config);
}

static void a_missing_file_is_told(void **state)
{
    (void)state;
    struct config_errors errors = {0};
    struct config *config;
    assert_int_equal(config_load("/nonexistent/x.yaml", &config, &errors), VIM_E_INVALID);
    assert_string_equal(errors.items[0],
                        "/nonexistent/x.yaml: cannot be read: No such file or directory");
    config_errors_free(&errors);
}

/* Damage of all kinds: an error or a tree, never harm. */
static void random_text_does_no_harm(void **state)
{
    (void)state;
    static const char *const parts[] = {"a",  ": ", "\n", "  ", "- ", "[",  "]",  "{",   "}",
                                        ",",  "'",  "\"", "#",  "&x", "*x", "|",  ">",   "!t",
                                        "\t", "?",  "%",  "$",  "${", "}",  "\\", "---", "\xFF"};
    srand(3);
    for (int round = 0; round < 20000; round++) {
        struct text yaml = {0};
        for (int i = rand() % 30; i > 0; i--) {
            text_add(&yaml, parts[(size_t)rand() % COUNT_OF(parts)]);
        }
        struct config_errors errors = {0};
        config_free(parse(text_get(&yaml), &errors));
        config_errors_free(&errors);
        text_free(&yaml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_can_be_read),
        cmocka_unit_test(mistakes_are_told_with_their_place),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(references_are_expanded),
        cmocka_unit_test(bad_references_are_told),
        cmocka_unit_test(unknown_keys_get_a_suggestion),
        cmocka_unit_test(a_missing_file_is_told),
        cmocka_unit_test(random_text_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
