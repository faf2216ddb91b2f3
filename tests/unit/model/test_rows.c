/* Resources and tasks: row to struct and back, and what the API shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "model/resource.h"
#include "model/task.h"

static struct row make_row(const char *id, const char *parent, uint32_t state, const char *body)
{
    return (struct row){.id = text_duplicate(id),
                        .parent = text_duplicate(parent),
                        .body = text_duplicate(body),
                        .body_length = strlen(body),
                        .state = state,
                        .revision = 7};
}

static void resource_there_and_back(void **state)
{
    (void)state;
    static const char body[] =
        "{\"id\":\"a\",\"kind\":\"server\",\"name\":\"n\\\"1\",\"vim\":\"edge\",\"project\":\"p\","
        "\"shared\":false,\"status\":\"BUILD\",\"pending\":true,\"status_reason\":\"r\","
        "\"backend_id\":\"b\",\"task\":\"t\",\"labels\":{\"app\":\"upf\"},"
        "\"image\":\"i\",\"networks\":[{\"network\":\"x\"}]}";
    struct row row = make_row("a", "p", STATUS_BUILD, body);
    struct resource resource;
    assert_int_equal(resource_parse(&row, "server", &resource, NULL), VIM_OK);
    assert_string_equal(resource.name, "n\"1");
    assert_int_equal(resource.status, STATUS_BUILD);
    assert_true(resource.pending);
    assert_false(resource.shared);
    assert_int_equal(resource.revision, 7);
    assert_int_equal(json_object_size(resource.body), 2);
    CLEANUP_FREE char *rendered = resource_render(&resource);
    assert_string_equal(rendered, body);
    struct vim_write write = resource_write(&resource, rendered);
    assert_string_equal(write.collection, "server");
    assert_string_equal(write.parent, "p");
    assert_int_equal(write.expect, 7);
    assert_int_equal(write.state, STATUS_BUILD);
    resource.shared = true;
    assert_string_equal(resource_write(&resource, rendered).parent, PROJECT_SHARED);
    resource.revision = 0;
    assert_int_equal(resource_write(&resource, rendered).expect, VIM_EXPECT_ABSENT);
    resource_free(&resource);
    row_free(&row);
}

/* What a driver emits under a name of vimd's own must not pass for it. */
static void driver_cannot_forge_own_members(void **state)
{
    (void)state;
    struct resource resource = {
        .id = (char[]){"a"},
        .kind = (char[]){"server"},
        .project = (char[]){"p"},
        .body = json_pack("{s:s, s:s, s:s}", "project", "other", "task", "t", "host", "h")};
    CLEANUP_FREE char *rendered = resource_render(&resource);
    CLEANUP_JSON json_t *json = json_loads(rendered, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_get_text(json, "project", ""), "p");
    assert_null(json_object_get(json, "task"));
    assert_string_equal(json_get_text(json, "host", ""), "h");
    json_decref(resource.body);
}

static void unreadable_rows_are_told(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "{", "[]", "7"};
    for (unsigned i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct failure failure = {0};
        struct row row = make_row("a", "p", 0, bodies[i]);
        struct resource resource;
        struct task task;
        assert_int_equal(resource_parse(&row, "server", &resource, &failure), VIM_E_INTERNAL);
        assert_non_null(strstr(failure.text, "server/a"));
        assert_int_equal(task_parse(&row, &task, NULL), VIM_E_INTERNAL);
        row_free(&row);
    }
}

static void statuses_have_names(void **state)
{
    (void)state;
    bool known;
    for (int i = 0; i < STATUS_COUNT; i++) {
        const char *name = resource_status_name((enum resource_status)i);
        assert_int_equal(resource_status_by_name(name, &known), i);
        assert_true(known);
    }
    assert_int_equal(resource_status_by_name("BLUE", &known), STATUS_UNKNOWN);
    assert_false(known);
    assert_int_equal(resource_status_by_name(NULL, NULL), STATUS_UNKNOWN);
    assert_string_equal(resource_status_name((enum resource_status)99), "UNKNOWN");
}

static void derived_ids_are_stable(void **state)
{
    (void)state;
    char one[37], two[37];
    resource_derive_id("edge", "server", "b", one);
    resource_derive_id("edge", "server", "b", two);
    assert_string_equal(one, two);
    assert_true(id_valid(one));
    resource_derive_id("edge2", "server", "b", two);
    assert_string_not_equal(one, two);
    resource_derive_id("edge", "port", "b", two);
    assert_string_not_equal(one, two);
}

static struct task sample_task(void)
{
    struct task task = {.project = text_duplicate("p"),
                        .principal = text_duplicate("me"),
                        .verb = VIM_VERB_ACTION,
                        .action = text_duplicate("reboot"),
                        .vim = text_duplicate("edge"),
                        .kind = text_duplicate("server"),
                        .resource = text_duplicate("r"),
                        .resource_name = text_duplicate("web"),
                        .request_id = text_duplicate("q"),
                        .spec = text_duplicate("{\"type\":\"hard\"}"),
                        .data_path = text_duplicate("/spool/x"),
                        .data_size = 12,
                        .idempotency_key = text_duplicate("key"),
                        .state = TASK_WAITING,
                        .created = 1000,
                        .started = 2000,
                        .updated = 3000,
                        .deadline = 9000,
                        .attempt = 2,
                        .max_attempts = 5,
                        .unknown = 1,
                        .progress = 40,
                        .cancel = true,
                        .outcome = TASK_FAILED,
                        .before = STATUS_SHUTOFF,
                        .kept = text_duplicate("cursor"),
                        .await_kind = text_duplicate("server"),
                        .await_id = text_duplicate("b"),
                        .owner = text_duplicate("o"),
                        .lease = 3,
                        .error = {.code = VIM_E_BUSY,
                                  .retry_after_ms = 1500,
                                  .text = text_duplicate("slow down"),
                                  .backend_service = text_duplicate("compute"),
                                  .backend_status = text_duplicate("429"),
                                  .backend_request_id = text_duplicate("req-1"),
                                  .backend_message = text_duplicate("too many")},
                        .result = json_pack("{s:s}", "id", "r"),
                        .due = 5000,
                        .revision = 4};
    id_new(task.id);
    struct task_step *step = task_step_begin(&task, "reboot", 2000);
    step->backend_request_id = text_duplicate("req-1");
    step->finished = 2500;
    step->error = text_duplicate("slow down");
    return task;
}

static void task_there_and_back(void **state)
{
    (void)state;
    struct task task = sample_task(), again;
    CLEANUP_FREE char *body = task_render(&task);
    struct vim_write write = task_write(&task, body);
    assert_string_equal(write.collection, COLLECTION_TASK);
    assert_int_equal(write.expect, 4);
    assert_int_equal(write.due, 5000);
    struct row row = make_row(task.id, write.parent, write.state, write.body);
    row.due = write.due;
    row.revision = 4;
    assert_int_equal(task_parse(&row, &again, NULL), VIM_OK);
    CLEANUP_FREE char *body_again = task_render(&again);
    assert_string_equal(body, body_again);
    assert_string_equal(again.kept, "cursor");
    assert_string_equal(again.owner, "o");
    assert_int_equal(again.lease, 3);
    assert_int_equal(again.before, STATUS_SHUTOFF);
    assert_int_equal(again.state, TASK_WAITING);
    assert_int_equal(again.due, 5000);
    assert_string_equal(again.spec, "{\"type\":\"hard\"}");
    assert_int_equal(again.step_count, 1);
    row_free(&row);
    task_free(&task);
    task_free(&again);
}

static void public_task_hides_what_is_internal(void **state)
{
    (void)state;
    struct task task = sample_task();
    CLEANUP_JSON json_t *shown = task_render_public(&task);
    CLEANUP_FREE char *text = json_print(shown);
    assert_string_equal(json_get_text(shown, "kind", ""), "server.reboot");
    assert_string_equal(json_get_text(shown, "state", ""), "waiting");
    assert_string_equal(json_get_text(shown, "created", ""), "1970-01-01T00:00:01.000Z");
    assert_null(json_object_get(shown, "finished"));
    json_t *error = json_object_get(shown, "error");
    assert_string_equal(json_get_text(error, "code", ""), "busy");
    assert_true(json_get_boolean(error, "retryable", false));
    assert_int_equal(json_get_integer(error, "retry_after", 0), 2);
    assert_string_equal(json_get_text(json_object_get(error, "backend"), "status", ""), "429");
    static const char *const internal[] = {"cursor", "/spool/x", "lease", "owner", "hard"};
    for (unsigned i = 0; i < sizeof(internal) / sizeof(internal[0]); i++) {
        assert_null(strstr(text, internal[i]));
    }
    task_free(&task);
}

static void history_is_bounded(void **state)
{
    (void)state;
    struct task task = {0};
    for (int i = 0; i < TASK_STEPS_MAX + 10; i++) {
        CLEANUP_FREE char *name = text_format("step-%d", i);
        (void)task_step_begin(&task, name, i);
        (void)task_step_begin(&task, name, i);
    }
    assert_int_equal(task.step_count, TASK_STEPS_MAX);
    assert_string_equal(task.steps[0].name, "step-10");
    assert_int_equal(task.steps[TASK_STEPS_MAX - 1].count, 2);
    task_free(&task);
}

static void final_states(void **state)
{
    (void)state;
    assert_false(task_state_is_final(TASK_QUEUED));
    assert_false(task_state_is_final(TASK_CANCELLING));
    assert_false(task_state_is_final(TASK_ROLLING_BACK));
    assert_true(task_state_is_final(TASK_SUCCEEDED));
    assert_true(task_state_is_final(TASK_ROLLBACK_FAILED));
    assert_true(task_state_is_final(TASK_ROLLED_BACK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resource_there_and_back),
        cmocka_unit_test(driver_cannot_forge_own_members),
        cmocka_unit_test(unreadable_rows_are_told),
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(derived_ids_are_stable),
        cmocka_unit_test(task_there_and_back),
        cmocka_unit_test(public_task_hides_what_is_internal),
        cmocka_unit_test(history_is_bounded),
        cmocka_unit_test(final_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
