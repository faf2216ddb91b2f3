#include "test.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

static struct text lines;

static void take_line(void *argument, const char *line, size_t length)
{
    (void)argument;
    text_add_bytes(&lines, line, length);
}

/* What was logged behind "time=... ", which is cut off; valid until the next call. */
static const char *logged(void)
{
    static struct text last;
    text_free(&last);
    last = lines;
    lines = (struct text){0};
    assert_true(last.length > 30);
    assert_true(text_starts_with(last.data, "time=2"));
    return strchr(last.data, ' ') + 1;
}

static int setup(void **state)
{
    (void)state;
    log_init(VIM_INFO, LOG_LOGFMT);
    log_set_sink(take_line, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    text_free(&lines);
    log_set_sink(NULL, NULL);
    return 0;
}

static void renders_fields(void **state)
{
    (void)state;
    log_event(VIM_INFO, "ready");
    assert_string_equal(logged(), "level=info event=ready\n");
    log_event(VIM_WARNING, "task ended", "task=%s took_ms=%" PRId64 " ratio=%.2f part=%d/%u", "t-1",
              (int64_t)-5, 0.5, 1, 2u);
    assert_string_equal(
        logged(), "level=warning event=\"task ended\" task=t-1 took_ms=-5 ratio=0.50 part=1/2\n");
    log_event(VIM_ERROR, "x",
              "a=%5d| b=%-3s c=%.*s d=%zu e=%lld f=%hhx g=%p h=%c i=%% j=%lu k=%s l=%#x m=%*d", 42,
              "b", 2, "cdef", (size_t)7, 1ll << 40, (unsigned char)0xff, NULL, 'z', 9ul,
              (char *)NULL, 255u, 4, 3);
    assert_string_equal(logged(), "level=error event=x a=\"   42|\" b=b c=cd d=7 e=1099511627776 "
                                  "f=ff g=(nil) h=z i=% j=9 k=\"\" l=0xff m=\"   3\"\n");
}

static void levels_filter(void **state)
{
    (void)state;
    log_event(VIM_DEBUG, "not shown");
    log_write_fields(VIM_DEBUG, "not shown", "a=b", " ");
    assert_int_equal(lines.length, 0);
    log_init(VIM_DEBUG, LOG_LOGFMT);
    log_event(VIM_DEBUG, "shown");
    assert_string_equal(logged(), "level=debug event=shown\n");
    enum vim_level level;
    assert_int_equal(log_level_from_name("warning", &level), VIM_OK);
    assert_int_equal(level, VIM_WARNING);
    assert_int_equal(log_level_from_name("loud", &level), VIM_E_INVALID);
    log_init(VIM_INFO, LOG_LOGFMT);
}

/* Whatever a value holds, it stays one value in one line. */
static void nothing_can_be_forged(void **state)
{
    (void)state;
    log_event(VIM_INFO, "a\nlevel=error event=forged", "v=%s w=%s",
              "1\n\r\t\" x=y \\ \x1b[31m \x7f \x80 \xC2\x9B \xE2\x80\xA8 \xC3\xA4", "a b=c");
    assert_string_equal(logged(), "level=info event=\"a\\nlevel=error event=forged\" "
                                  "v=\"1\\n\\r\\t\\\" x=y \\\\ \\x1b[31m \\x7f \\x80 \\xc2\\x9b "
                                  "\\xe2\\x80\\xa8 \xC3\xA4\" w=\"a b=c\"\n");
    /* Random bytes: always one line, and pairs of quotes. */
    srand(1);
    for (int i = 0; i < 2000; i++) {
        char value[40];
        for (size_t j = 0; j < sizeof(value) - 1; j++) {
            value[j] = (char)(1 + rand() % 255);
        }
        value[sizeof(value) - 1] = '\0';
        log_event(VIM_INFO, "random", "value=%s end=1", value);
        const char *line = logged();
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_string_equal(line + strlen(line) - 7, " end=1\n");
    }
}

static void foreign_fields_are_written_anew(void **state)
{
    (void)state;
    log_write_fields(VIM_INFO, "e", "a=1 b=\"two words\" c=\"q\\\"q\\n\"  d=", "plugin=%s", "mock");
    assert_string_equal(
        logged(), "level=info event=e plugin=mock a=1 b=\"two words\" c=\"q\\\"q\\n\" d=\"\"\n");
    static const struct {
        const char *fields, *line;
    } cases[] = {
        {NULL, ""},
        {"", ""},
        {"just words", " text=\"just words\""},
        {"a=1 just words", " a=1 text=\"just words\""},
        {"a=\"open", " text=\"a=\\\"open\""},
        {"a=\"x\"y=2", " text=\"a=\\\"x\\\"y=2\""},
        {"=x", " text=\"=x\""},
        {"a=1\nlevel=error", " a=1 level=error"},
        {"b\x01:d=1", " b__d=1"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        log_write_fields(VIM_INFO, "e", cases[i].fields, " ");
        char *wanted = text_format("level=info event=e%s\n", cases[i].line);
        assert_string_equal(logged(), wanted);
        free(wanted);
    }
}

static void long_values_are_cut(void **state)
{
    (void)state;
    char *value = malloc(100001);
    memset(value, 'x', 100000);
    value[100000] = '\0';
    log_event(VIM_INFO, "long", "value=%s end=1", value);
    const char *line = logged();
    assert_int_equal(strlen(line), strlen("level=info event=long value=... end=1\n") + 4096);
    free(value);
}

static void secrets_are_redacted(void **state)
{
    (void)state;
    log_redact_add("hunter22");
    log_redact_add("hunter22-and-more");
    log_redact_add("pass \"word\n");
    log_redact_add("abc"); /* too short to be one */
    log_redact_add(NULL);
    log_redact_add("hunter22");
    log_event(VIM_INFO, "hunter22", "a=xhunter22y b=%s c=%s d=abc", "hunter22-and-more hunter22",
              "=pass \"word\n=");
    assert_string_equal(logged(), "level=info event=*** a=x***y b=\"*** ***\" c=\"=***=\" d=abc\n");
    log_write_fields(VIM_INFO, "e", "url=http://u:hunter22@h key=\"pass \\\"word\\n\"", " ");
    assert_string_equal(logged(), "level=info event=e url=http://u:***@h key=***\n");
    /* One that looks like two fields. */
    log_redact_add("one two=three");
    log_write_fields(VIM_INFO, "e", "key=one two=three", " ");
    assert_string_equal(logged(), "level=info event=e key=***\n");
    struct text text = {0};
    text_add(&text, "hunter22hunter22");
    log_redact(&text);
    assert_string_equal(text.data, "******");
    text_free(&text);
}

static void json_lines_are_json(void **state)
{
    (void)state;
    log_init(VIM_INFO, LOG_JSON);
    log_event(VIM_INFO, "an \"event\"\n", "a=%s b=%d", "x\x01\xFFy", 7);
    log_init(VIM_INFO, LOG_LOGFMT);
    json_t *json = NULL;
    assert_int_equal(lines.data[lines.length - 1], '\n');
    assert_int_equal(json_parse(lines.data, lines.length, NULL, &json, NULL), VIM_OK);
    assert_string_equal(json_get_text(json, "event", ""), "an \"event\"\n");
    assert_string_equal(json_get_text(json, "a", ""), "x\x01\xEF\xBF\xBDy");
    assert_string_equal(json_get_text(json, "b", ""), "7");
    assert_string_equal(json_get_text(json, "level", ""), "info");
    json_decref(json);
    text_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_fields),        cmocka_unit_test(levels_filter),
        cmocka_unit_test(nothing_can_be_forged), cmocka_unit_test(foreign_fields_are_written_anew),
        cmocka_unit_test(long_values_are_cut),   cmocka_unit_test(secrets_are_redacted),
        cmocka_unit_test(json_lines_are_json),
    };
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    return failed;
}
