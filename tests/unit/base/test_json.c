#include "test.h"
#include <stdlib.h>
#include <vim/plugin.h>
#include "base/json.h"
#include "base/text.h"

static int parse(const char *text, const struct json_limits *limits, struct json_fault *fault)
{
    json_t *json = NULL;
    int code = json_parse(text, strlen(text), limits, &json, fault);
    json_decref(json);
    return code;
}

static void parses_and_prints(void **state)
{
    (void)state;
    const char *text = "{\"b\":[1,2.5,\"x\",null,true],\"a\":{}}";
    json_t *json = NULL;
    assert_int_equal(json_parse(text, strlen(text), NULL, &json, NULL), VIM_OK);
    char *printed = json_print(json);
    assert_string_equal(printed, text);
    free(printed);
    json_decref(json);
    printed = json_print(NULL);
    assert_string_equal(printed, "null");
    free(printed);
}

static void refuses_and_tells_where(void **state)
{
    (void)state;
    struct json_fault fault;
    assert_int_equal(parse("{\n  \"a\": x}", NULL, &fault), VIM_E_INVALID);
    assert_int_equal(fault.line, 2);
    assert_int_equal(parse("{\"a\":1,\"a\":2}", NULL, &fault), VIM_E_INVALID);
    assert_int_equal(parse("", NULL, &fault), VIM_E_INVALID);
    assert_int_equal(parse("{} x", NULL, &fault), VIM_E_INVALID);
    assert_int_equal(parse("\"\\u0000\"", NULL, &fault), VIM_E_INVALID);
    assert_string_equal(fault.text, "\\u0000 is not taken in texts");
    assert_int_equal(parse("\"\xFF\"", NULL, &fault), VIM_E_INVALID);
    assert_int_equal(parse("\"\\ud800\"", NULL, NULL), VIM_E_INVALID);
    assert_int_equal(parse("1", NULL, &fault), VIM_OK);
}

static void limits_hold(void **state)
{
    (void)state;
    struct json_fault fault;
    struct json_limits limits = {.size = 10, .depth = 3};
    assert_int_equal(parse("[[[1]]]", &limits, &fault), VIM_OK);
    assert_int_equal(parse("[[[[]]]]", &limits, &fault), VIM_E_INVALID);
    assert_string_equal(fault.text, "nested deeper than 3 levels");
    assert_int_equal(fault.line, 1);
    assert_int_equal(fault.column, 4);
    assert_int_equal(parse("\"[[[[[[\"", &limits, &fault), VIM_OK);
    assert_int_equal(parse("\"\\\"[[[[\"", &limits, &fault), VIM_OK);
    assert_int_equal(parse("[],[],[],[]", &limits, &fault), VIM_E_INVALID);
    assert_string_equal(fault.text, "larger than 10 bytes");
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    assert_int_equal(parse(deep, NULL, &fault), VIM_E_INVALID);
    free(deep);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    struct text text = {0};
    json_add_string(&text, "a\"\\\n\r\t\x01\x7F\xC3\xA4\xFF");
    assert_string_equal(text.data, "\"a\\\"\\\\\\n\\r\\t\\u0001\x7F\xC3\xA4\xEF\xBF\xBD\"");
    text_clear(&text);
    json_add_string(&text, NULL);
    assert_string_equal(text.data, "null");
    text_clear(&text);
    json_add_string_bytes(&text, "a\0b", 3);
    assert_string_equal(text.data, "\"a\\u0000b\"");
    text_free(&text);
}

static void getters_have_defaults(void **state)
{
    (void)state;
    json_t *object = json_pack("{s:s, s:i, s:f, s:b}", "t", "x", "i", 7, "n", 0.5, "b", 1);
    assert_string_equal(json_get_text(object, "t", "-"), "x");
    assert_string_equal(json_get_text(object, "i", "-"), "-");
    assert_int_equal(json_get_integer(object, "i", -1), 7);
    assert_int_equal(json_get_integer(object, "t", -1), -1);
    assert_true(json_get_number(object, "i", 0) == 7 && json_get_number(object, "n", 0) == 0.5);
    assert_true(json_get_boolean(object, "b", false));
    assert_true(json_get_boolean(object, "none", true));
    json_set_text(object, "t", "bad \xFF");
    assert_string_equal(json_get_text(object, "t", ""), "bad \xEF\xBF\xBD");
    json_set_text(object, "t", NULL);
    assert_null(json_object_get(object, "t"));
    json_set_integer(object, "i", 8);
    json_set_boolean(object, "b", false);
    assert_int_equal(json_get_integer(object, "i", -1), 8);
    assert_false(json_get_boolean(object, "b", true));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_prints),     cmocka_unit_test(refuses_and_tells_where),
        cmocka_unit_test(limits_hold),           cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(getters_have_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
