/* Events as text: numbers, facts, filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/event.h"
#include "model/kinds.h"

static void numbers(void **state)
{
    (void)state;
    char id[EVENT_ID_SIZE];
    uint64_t number = 99;
    assert_string_equal(event_id(42, id), "0000000000000042");
    assert_true(event_number(id, &number));
    assert_int_equal(number, 42);
    assert_true(event_number("7", &number));
    assert_int_equal(number, 7);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "00000000000000001", "a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(event_number(bad[i], &number));
    }
}

static void types(void **state)
{
    (void)state;
    enum event_type type;
    size_t words = 1;
    for (const char *at = event_type_names(); *at; at++) {
        words += *at == ' ';
    }
    assert_int_equal(words, EVENT_TYPE_COUNT);
    for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
        assert_true(text_has_word(event_type_names(), event_type_name((enum event_type)i)));
        assert_true(event_type_by_name(event_type_name((enum event_type)i), &type));
        assert_int_equal(type, i);
    }
    assert_false(event_type_by_name("task", &type));
}

static void rows(void **state)
{
    (void)state;
    struct event_buffer buffer = {0};
    struct event event = {.type = EVENT_RESOURCE_FOUND,
                          .time = 1000,
                          .project = "red",
                          .shared = true,
                          .vim = "edge1",
                          .kind = "image",
                          .resource = "r1",
                          .name = "a \"name\"\n",
                          .revision = 3,
                          .data = "{\"x\":1}"};
    struct vim_write write = event_write(&event, &buffer);
    assert_string_equal(write.collection, "outbox");
    assert_string_equal(write.parent, PROJECT_SHARED);
    assert_int_equal(write.state, EVENT_RESOURCE_FOUND);
    assert_int_equal(write.expect, VIM_EXPECT_ABSENT);
    CLEANUP_JSON json_t *body = NULL;
    assert_int_equal(json_parse(write.body, strlen(write.body), NULL, &body, NULL), VIM_OK);
    assert_string_equal(json_get_text(body, "name", ""), event.name);
    assert_string_equal(json_get_text(body, "time", ""), "1970-01-01T00:00:01.000Z");
    assert_int_equal(json_get_integer(body, "revision", 0), 3);
    struct event_facts facts;
    assert_true(event_facts_read(write.body, strlen(write.body), &facts));
    assert_int_equal(facts.type, EVENT_RESOURCE_FOUND);
    assert_true(facts.shared);
    assert_string_equal(facts.project, "red");
    assert_string_equal(facts.vim, "edge1");
    assert_string_equal(facts.kind, "image");
    assert_string_equal(facts.resource, "r1");
    event_buffer_free(&buffer);
    assert_false(event_facts_read("{\"type\":\"nonsense\"}", 19, &facts));
    assert_false(event_facts_read("[1", 2, &facts));
}

static bool matches(const char *name, const char *value)
{
    static const struct event_facts facts = {.type = EVENT_TASK_ENDED,
                                             .project = "red",
                                             .vim = "edge1",
                                             .kind = "server",
                                             .resource = "r1"};
    struct event_filter filter = {0};
    struct findings findings = {0};
    event_filter_add(&filter, name, value, "?x", &findings);
    assert_int_equal(findings.count, 0);
    return event_filter_match(&filter, &facts);
}

static size_t faults(const char *name, const char *value)
{
    struct event_filter filter = {0};
    struct findings findings = {0};
    event_filter_add(&filter, name, value, "?x", &findings);
    size_t count = findings.count;
    findings_free(&findings);
    return count;
}

static void filters(void **state)
{
    (void)state;
    assert_true(matches("type", "task.ended"));
    assert_true(matches("type", "resource.found,task.ended"));
    assert_false(matches("type", "resource.found"));
    assert_true(matches("kind", "port,server"));
    assert_false(matches("kind", "port"));
    assert_true(matches("vim", "edge1"));
    assert_false(matches("project", "blue"));
    assert_false(matches("resource", "r2,r3"));
    assert_int_equal(faults("type", "task.end"), 1);
    assert_int_equal(faults("kind", "severs,server"), 1);
    assert_int_equal(faults("vim", "a,,b"), 1);
    assert_int_equal(faults("vim", ""), 1);
    struct text many = {0};
    text_add(&many, "a");
    for (int i = 0; i < 200; i++) {
        text_add(&many, ",b");
    }
    assert_true(faults("vim", text_get(&many)) > 0);
    text_free(&many);
    struct text longer = {0};
    for (int i = 0; i < 64; i++) {
        text_add_char(&longer, 'x');
    }
    assert_int_equal(faults("resource", text_get(&longer)), 1);
    text_free(&longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(types),
        cmocka_unit_test(rows),
        cmocka_unit_test(filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
