#include "model/alarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

/* Longest text of a reason; a longer one is cut. */
#define REASON_MAX 512

static const struct {
    const char *name, *severity;
} types[ALARM_TYPE_COUNT] = {
    [ALARM_RESOURCE_ERROR] = {"resource-error", "major"},
    [ALARM_ROLLBACK_FAILED] = {"rollback-failed", "major"},
    [ALARM_VIM_UNREACHABLE] = {"vim-unreachable", "critical"},
    [ALARM_QUOTA_NEARLY_USED] = {"quota-nearly-used", "warning"},
    [ALARM_STORE_UNWRITABLE] = {"store-unwritable", "critical"},
};

const char *alarm_type_name(enum alarm_type type)
{
    return (unsigned)type < ALARM_TYPE_COUNT ? types[type].name : "unknown";
}

const char *alarm_type_names(void)
{
    return "resource-error rollback-failed vim-unreachable quota-nearly-used store-unwritable";
}

const char *alarm_severity(enum alarm_type type)
{
    return (unsigned)type < ALARM_TYPE_COUNT ? types[type].severity : "warning";
}

char *alarm_id(enum alarm_type type, const char *subject, const char *part,
               char ret_id[ALARM_ID_SIZE])
{
    (void)snprintf(ret_id, ALARM_ID_SIZE, "%s.%s%s%s", alarm_type_name(type), subject,
                   part ? "." : "", part ? part : "");
    return ret_id;
}

static void add_member(struct text *text, const char *name, const char *value)
{
    if (value && *value) {
        text_printf(text, ",\"%s\":", name);
        json_add_string_bytes(text, value, strnlen(value, REASON_MAX));
    }
}

char *alarm_render(const struct alarm *alarm)
{
    struct text text = {0};
    char time[CLOCK_TEXT_SIZE];
    text_add(&text, "{\"id\":");
    json_add_string(&text, alarm->id);
    add_member(&text, "type", alarm_type_name(alarm->type));
    add_member(&text, "severity", alarm_severity(alarm->type));
    add_member(&text, "raised", clock_format_rfc3339(alarm->raised, time));
    add_member(&text, "project", alarm->shared ? NULL : alarm->project);
    text_add(&text, alarm->shared ? ",\"shared\":true" : "");
    add_member(&text, "vim", alarm->vim);
    add_member(&text, "kind", alarm->kind);
    add_member(&text, "resource", alarm->resource);
    add_member(&text, "name", alarm->name);
    add_member(&text, "task", alarm->task);
    add_member(&text, "reason", alarm->reason);
    text_add_char(&text, '}');
    return text_take(&text);
}

void alarm_buffer_free(struct alarm_buffer *buffer)
{
    event_buffer_free(&buffer->event);
    free(buffer->id);
    free(buffer->body);
    free(buffer->project);
    *buffer = (struct alarm_buffer){0};
}

struct vim_write alarm_tell(const struct alarm *alarm, bool cleared, int64_t now,
                            struct event_buffer *buffer)
{
    CLEANUP_TEXT struct text data = {0};
    char time[CLOCK_TEXT_SIZE];
    text_add(&data, "{\"alarm\":");
    json_add_string(&data, alarm->id);
    add_member(&data, "alarm_type", alarm_type_name(alarm->type));
    add_member(&data, "severity", alarm_severity(alarm->type));
    add_member(&data, "raised", clock_format_rfc3339(alarm->raised, time));
    add_member(&data, "reason", alarm->reason);
    text_add_char(&data, '}');
    struct event event = {.type = cleared ? EVENT_ALARM_CLEARED : EVENT_ALARM_RAISED,
                          .time = now,
                          .project = alarm->project,
                          .shared = alarm->shared,
                          .vim = alarm->vim,
                          .kind = alarm->kind,
                          .resource = alarm->resource,
                          .name = alarm->name,
                          .task = alarm->task,
                          .data = text_get(&data)};
    return event_write(&event, buffer);
}

/* Texts of the writes must not be the alarm's. */
static void keep(struct alarm_buffer *buffer, const struct alarm *alarm, struct vim_write writes[2])
{
    buffer->id = text_duplicate(alarm->id);
    buffer->project = text_duplicate(alarm->shared    ? PROJECT_SHARED
                                     : alarm->project ? alarm->project
                                                      : "");
    writes[0].id = buffer->id;
    writes[0].parent = writes[1].parent = buffer->project;
}

void alarm_raise(const struct alarm *alarm, struct vim_write ret_writes[2],
                 struct alarm_buffer *buffer)
{
    buffer->body = alarm_render(alarm);
    ret_writes[0] = (struct vim_write){.collection = COLLECTION_ALARM,
                                       .body = buffer->body,
                                       .expect = VIM_EXPECT_ANY,
                                       .state = (uint32_t)alarm->type};
    ret_writes[1] = alarm_tell(alarm, false, alarm->raised, &buffer->event);
    keep(buffer, alarm, ret_writes);
}

int alarm_clear(const struct row *row, int64_t now, struct vim_write ret_writes[2],
                struct alarm_buffer *buffer, struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    struct alarm alarm = {.type = (enum alarm_type)row->state, .id = row->id};
    if (json_parse(row->body, row->body_length, NULL, &body, NULL) != VIM_OK) {
        return failure_set(failure, VIM_E_INTERNAL, "the row alarm/%s is not readable", row->id);
    }
    alarm.shared = json_get_boolean(body, "shared", false);
    alarm.project = json_get_text(body, "project", "");
    alarm.vim = json_get_text(body, "vim", NULL);
    alarm.kind = json_get_text(body, "kind", NULL);
    alarm.resource = json_get_text(body, "resource", NULL);
    alarm.name = json_get_text(body, "name", NULL);
    alarm.task = json_get_text(body, "task", NULL);
    alarm.reason = json_get_text(body, "reason", NULL);
    (void)clock_parse_rfc3339(json_get_text(body, "raised", ""), &alarm.raised);
    ret_writes[0] = (struct vim_write){.collection = COLLECTION_ALARM, .expect = VIM_EXPECT_ANY};
    ret_writes[1] = alarm_tell(&alarm, true, now, &buffer->event);
    keep(buffer, &alarm, ret_writes);
    return VIM_OK;
}
