#include "test.h"
#include <stdlib.h>
#include <vim/plugin.h>
#include "base/text.h"

static void grows_and_is_taken(void **state)
{
    (void)state;
    struct text text = {0};
    assert_string_equal(text_get(&text), "");
    for (int i = 0; i < 1000; i++) {
        text_printf(&text, "%d,", i);
    }
    text_add(&text, NULL);
    text_add_char(&text, '!');
    assert_int_equal(text.length, 3891);
    assert_string_equal(text.data + 3880, "7,998,999,!");
    text_truncate(&text, 5000);
    assert_int_equal(text.length, 3891);
    text_truncate(&text, 4);
    assert_string_equal(text.data, "0,1,");
    char *taken = text_take(&text);
    assert_string_equal(taken, "0,1,");
    assert_null(text.data);
    free(taken);
    taken = text_take(&text);
    assert_string_equal(taken, "");
    free(taken);
    text_free(NULL);
}

static void words(void **state)
{
    (void)state;
    assert_true(text_has_word(" start stop  reboot", "stop"));
    assert_false(text_has_word("start stop", "sto"));
    assert_false(text_has_word("start stop", ""));
    assert_false(text_has_word(NULL, "stop"));
    static const struct {
        const char *word, *nearest;
    } cases[] = {{"prot", "port"}, {"listn", "listen"}, {"workrs", "workers"},
                 {"xyz", NULL},    {"l", NULL},         {"portt", "port"},
                 {"", NULL},       {"oprt", "port"},    {"completely_other", NULL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *near = text_nearest_word("listen port workers", cases[i].word);
        assert_true(text_equal(near, cases[i].nearest));
        free(near);
    }
}

static void utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"", true},
                 {"abc \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80", true},
                 {"\xC0\x80", false},
                 {"\xC1\xBF", false},
                 {"\xE0\x9F\xBF", false},
                 {"\xED\xA0\x80", false},
                 {"\xEF\xBF\xBF", true},
                 {"\xF0\x8F\xBF\xBF", false},
                 {"\xF4\x8F\xBF\xBF", true},
                 {"\xF4\x90\x80\x80", false},
                 {"\xF5\x80\x80\x80", false},
                 {"\x80", false},
                 {"\xC3", false},
                 {"\xE2\x82", false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(text_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].good);
    }
}

static void integers(void **state)
{
    (void)state;
    long long value;
    assert_int_equal(text_to_integer("-42", &value), VIM_OK);
    assert_int_equal(value, -42);
    assert_int_equal(text_to_integer("9223372036854775807", &value), VIM_OK);
    static const char *const bad[] = {"", "-", " 1", "1 ", "+1", "0x1", "9223372036854775808", "a"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(text_to_integer(bad[i], &value), VIM_E_INVALID);
    }
    assert_int_equal(text_to_integer(NULL, &value), VIM_E_INVALID);
}

/* Well-formed letters at every distance from the start, and one bad byte at every place. */
static void tells_utf8_wherever_it_is(void **state)
{
    (void)state;
    char text[32];
    for (size_t at = 0; at + 3 <= sizeof(text); at++) {
        memset(text, 'a', sizeof(text));
        memcpy(text + at, "\xE2\x82\xAC", 3);
        assert_true(text_is_utf8(text, sizeof(text)));
        assert_false(text_is_utf8(text, at + 2));
        text[at + 1] = 'a';
        assert_false(text_is_utf8(text, sizeof(text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_utf8_wherever_it_is),
        cmocka_unit_test(grows_and_is_taken),
        cmocka_unit_test(words),
        cmocka_unit_test(utf8),
        cmocka_unit_test(integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
