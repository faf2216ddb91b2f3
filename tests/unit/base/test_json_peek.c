/*
 * Looking into JSON text, held against jansson: random documents, and random damage to them.
 */
#include "test.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <vim/plugin.h>
#include "base/json.h"
#include "base/text.h"

static const char *const keys[] = {"name", "status", "a\"b",  "back\\slash", "\xC3\xA4",
                                   "",     "tab\t",  "name2", "nam",         "\xF0\x9F\x98\x80",
                                   "n",    "x/y"};

static void random_string(struct text *text)
{
    static const char *const parts[] = {
        "a", "b c", "\\\"", "\\\\", "\\n", "\\u00e4",          "\xC3\xA4", "\\ud83d\\ude00",
        "{", "]",   ",",    ":",    "\\/", "\xF0\x9F\x98\x80", "\\b"};
    text_add_char(text, '"');
    for (int i = rand() % 6; i > 0; i--) {
        text_add(text, parts[(size_t)rand() % COUNT_OF(parts)]);
    }
    text_add_char(text, '"');
}

static void random_space(struct text *text)
{
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t ", "\r\n"};
    text_add(text, spaces[(size_t)rand() % COUNT_OF(spaces)]);
}

/* The key as JSON, some of its characters as escapes that nobody needs. */
static void random_key(struct text *text, const char *key)
{
    if (rand() % 3) {
        json_add_string(text, key);
        return;
    }
    text_add_char(text, '"');
    for (; *key; key++) {
        if ((unsigned char)*key >= 0x80) {
            text_add_char(text, *key);
        } else {
            text_printf(text, rand() % 2 ? "\\u%04x" : "\\u%04X", (unsigned)*key);
        }
    }
    text_add_char(text, '"');
}

static void random_value(struct text *text, int depth);

static void random_object(struct text *text, int depth)
{
    bool used[COUNT_OF(keys)] = {false};
    text_add_char(text, '{');
    bool first = true;
    for (int i = rand() % 8; i > 0; i--) {
        size_t key = (size_t)rand() % COUNT_OF(keys);
        if (used[key]) {
            continue;
        }
        used[key] = true;
        text_add(text, first ? "" : ",");
        first = false;
        random_space(text);
        random_key(text, keys[key]);
        random_space(text);
        text_add_char(text, ':');
        random_space(text);
        random_value(text, depth + 1);
        random_space(text);
    }
    text_add_char(text, '}');
}

static void random_value(struct text *text, int depth)
{
    static const char *const scalars[] = {"null",
                                          "true",
                                          "false",
                                          "0",
                                          "-1",
                                          "1e3",
                                          "-0.5E-2",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "123456"};
    int kind = rand() % (depth > 4 ? 6 : 10);
    if (kind < 4) {
        text_add(text, scalars[(size_t)rand() % COUNT_OF(scalars)]);
    } else if (kind < 6) {
        random_string(text);
    } else if (kind < 8) {
        random_object(text, depth);
    } else {
        text_add_char(text, '[');
        for (int i = rand() % 4, first = 1; i > 0; i--, first = 0) {
            text_add(text, first ? "" : ",");
            random_space(text);
            random_value(text, depth + 1);
            random_space(text);
        }
        text_add_char(text, ']');
    }
}

/* A peeked piece, parsed, is what jansson has for the member. */
static void check_member(const json_t *object, const struct text *text, const char *key)
{
    struct json_piece piece;
    const json_t *wanted = json_object_get(object, key);
    int code = json_peek(text->data, text->length, key, &piece);
    assert_int_equal(code, wanted ? VIM_OK : VIM_E_NOT_FOUND);
    if (!wanted) {
        return;
    }
    json_t *got = json_loadb(piece.start, piece.length, JSON_DECODE_ANY, NULL);
    assert_true(json_equal(got, wanted));
    char *string = NULL;
    int64_t integer;
    double number;
    assert_int_equal(json_piece_text(piece, &string) == VIM_OK, json_is_string(wanted));
    if (json_is_string(wanted)) {
        assert_string_equal(string, json_string_value(wanted));
        assert_true(json_piece_equals(piece, string));
        char *longer = text_format("%sx", string);
        assert_false(json_piece_equals(piece, longer));
        free(longer);
    }
    assert_int_equal(json_piece_integer(piece, &integer) == VIM_OK, json_is_integer(wanted));
    if (json_is_integer(wanted)) {
        assert_int_equal(integer, json_integer_value(wanted));
    }
    assert_int_equal(json_piece_number(piece, &number) == VIM_OK, json_is_number(wanted));
    if (json_is_number(wanted)) {
        assert_true(number == json_number_value(wanted));
    }
    free(string);
    json_decref(got);
}

static void agrees_with_jansson(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 5000; round++) {
        struct text text = {0};
        random_space(&text);
        random_object(&text, 0);
        random_space(&text);
        json_error_t error;
        json_t *object = json_loadb(text.data, text.length, 0, &error);
        assert_non_null(object);
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            check_member(object, &text, keys[i]);
        }
        struct json_walk walk = json_walk_start(text.data, text.length);
        struct json_piece key, value;
        size_t count = 0;
        int code;
        while ((code = json_walk_next(&walk, &key, &value)) == VIM_OK) {
            count++;
        }
        assert_int_equal(code, VIM_E_NOT_FOUND);
        assert_int_equal(count, json_object_size(object));
        json_decref(object);
        text_free(&text);
    }
}

/* The text lies at the very end of its memory: what reads on is found by the sanitizers. */
static void peek_everything(const char *text, size_t length)
{
    char *exact = malloc(length ? length : 1);
    memcpy(exact, text, length);
    struct json_piece piece, key;
    char *string;
    int64_t integer;
    double number;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (json_peek(exact, length, keys[i], &piece) == VIM_OK) {
            assert_true(piece.start >= exact && piece.start + piece.length <= exact + length);
            if (json_piece_text(piece, &string) == VIM_OK) {
                free(string);
            }
            json_piece_integer(piece, &integer);
            json_piece_number(piece, &number);
        }
    }
    struct json_walk walk = json_walk_start(exact, length);
    while (json_walk_next(&walk, &key, &piece) == VIM_OK) {
        json_piece_equals(piece, "name");
    }
    free(exact);
}

static void damaged_text_does_no_harm(void **state)
{
    (void)state;
    srand(11);
    for (int round = 0; round < 3000; round++) {
        struct text text = {0};
        random_object(&text, 0);
        for (int i = rand() % 4; i > 0; i--) {
            static const char bytes[] = "{}[]\",:\\u0 \x80\xFF\x01";
            text.data[(size_t)rand() % text.length] = bytes[(size_t)rand() % sizeof(bytes)];
        }
        peek_everything(text.data, (size_t)rand() % (text.length + 1));
        text_free(&text);
    }
    peek_everything("", 0);
}

static void special_cases(void **state)
{
    (void)state;
    struct json_piece piece;
    assert_int_equal(json_peek("[1]", 3, "a", &piece), VIM_E_INVALID);
    assert_int_equal(json_peek("", 0, "a", &piece), VIM_E_INVALID);
    assert_int_equal(json_peek("{", 1, "a", &piece), VIM_E_INVALID);
    assert_int_equal(json_peek("{\"b\":1 \"a\":2}", 13, "a", &piece), VIM_E_INVALID);
    assert_int_equal(json_peek("{\"a\":}", 6, "a", &piece), VIM_E_INVALID);
    const char *text = "[ 1 , {\"x\":[2]} ,\"]\"]";
    struct json_walk walk = json_walk_start(text, strlen(text));
    static const char *const elements[] = {"1", "{\"x\":[2]}", "\"]\""};
    for (size_t i = 0; i < COUNT_OF(elements); i++) {
        assert_int_equal(json_walk_next(&walk, NULL, &piece), VIM_OK);
        assert_int_equal(piece.length, strlen(elements[i]));
        assert_memory_equal(piece.start, elements[i], piece.length);
    }
    assert_int_equal(json_walk_next(&walk, NULL, &piece), VIM_E_NOT_FOUND);
    static const char *const no_strings[] = {
        "\"\\ud800\"", "\"\\ude00\"", "\"\\u0000\"", "\"\\ud800\\u0041\"", "\"\x01\"", "\"\\x\"",
        "\"\xFF\"",    "1",           "\"",          "\"\\u12\""};
    for (size_t i = 0; i < COUNT_OF(no_strings); i++) {
        char *string;
        piece = (struct json_piece){.start = no_strings[i], .length = strlen(no_strings[i])};
        assert_int_equal(json_piece_text(piece, &string), VIM_E_INVALID);
    }
    static const char *const no_numbers[] = {"01",  "-",     "1.",  ".5",  "1e", "+1",
                                             "0x1", "1e999", "nan", "--1", "1 "};
    for (size_t i = 0; i < COUNT_OF(no_numbers); i++) {
        double number;
        piece = (struct json_piece){.start = no_numbers[i], .length = strlen(no_numbers[i])};
        assert_int_equal(json_piece_number(piece, &number), VIM_E_INVALID);
    }
    int64_t integer;
    piece = (struct json_piece){.start = "9223372036854775808", .length = 19};
    assert_int_equal(json_piece_integer(piece, &integer), VIM_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(damaged_text_does_no_harm),
        cmocka_unit_test(special_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
