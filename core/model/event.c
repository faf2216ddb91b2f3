#include "model/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds.h"

/* Longest text of an error or a reason that an event carries; the whole is in the task. */
#define REASON_MAX 512

static const char *const type_names[EVENT_TYPE_COUNT] = {
    [EVENT_TASK_ENDED] = "task.ended",
    [EVENT_RESOURCE_FOUND] = "resource.found",
    [EVENT_RESOURCE_CHANGED] = "resource.changed",
    [EVENT_RESOURCE_DELETED] = "resource.deleted",
    [EVENT_DRIFT_FOUND] = "drift.found",
    [EVENT_DRIFT_SETTLED] = "drift.settled",
    [EVENT_DRIFT_DELETED] = "drift.deleted",
    [EVENT_SCALING_ACTED] = "scaling.acted",
    [EVENT_SCALING_EFFECT] = "scaling.effect",
    [EVENT_SCALING_NOT_READY] = "scaling.not_ready",
    [EVENT_SCALING_REFUSED] = "scaling.refused",
    [EVENT_SCALING_BREAKER] = "scaling.breaker",
    [EVENT_SCALING_STALE] = "scaling.stale",
    [EVENT_SCALING_FAILED] = "scaling.failed",
    [EVENT_SCALING_MODE] = "scaling.mode",
    [EVENT_ALARM_RAISED] = "alarm.raised",
    [EVENT_ALARM_CLEARED] = "alarm.cleared",
};

const char *event_type_name(enum event_type type)
{
    return (unsigned)type < EVENT_TYPE_COUNT ? type_names[type] : "unknown";
}

const char *event_type_names(void)
{
    return "task.ended resource.found resource.changed resource.deleted "
           "drift.found drift.settled drift.deleted "
           "scaling.acted scaling.effect scaling.not_ready scaling.refused scaling.breaker "
           "scaling.stale scaling.failed scaling.mode alarm.raised alarm.cleared";
}

bool event_type_by_name(const char *name, enum event_type *ret_type)
{
    for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *ret_type = (enum event_type)i;
            return true;
        }
    }
    return false;
}

char *event_id(uint64_t number, char ret_id[EVENT_ID_SIZE])
{
    (void)snprintf(ret_id, EVENT_ID_SIZE, "%016llu",
                   (unsigned long long)(number % 10000000000000000u));
    return ret_id;
}

bool event_number(const char *text, uint64_t *ret_number)
{
    size_t length = strlen(text);
    if (length < 1 || length > EVENT_ID_SIZE - 1 || strspn(text, "0123456789") != length) {
        return false;
    }
    *ret_number = strtoull(text, NULL, 10);
    return true;
}

void event_buffer_free(struct event_buffer *buffer)
{
    free(buffer->body);
    buffer->body = NULL;
}

/* --- Rows ---------------------------------------------------------------------------------------- */

static void add_text(struct text *text, const char *name, const char *value)
{
    if (value) {
        text_printf(text, ",\"%s\":", name);
        json_add_string(text, value);
    }
}

/* Cut where it is too long; a character that the cut goes through is replaced. */
static void add_reason(struct text *text, const char *name, const char *value)
{
    if (value && *value) {
        text_printf(text, ",\"%s\":", name);
        json_add_string_bytes(text, value, strnlen(value, REASON_MAX));
    }
}

struct vim_write event_write(const struct event *event, struct event_buffer *buffer)
{
    CLEANUP_TEXT struct text text = {0};
    char time[CLOCK_TEXT_SIZE];
    text_printf(&text, "{\"type\":\"%s\",\"time\":\"%s\"", event_type_name(event->type),
                clock_format_rfc3339(event->time, time));
    add_text(&text, "project", event->project ? event->project : "");
    if (event->shared) {
        text_add(&text, ",\"shared\":true");
    }
    add_text(&text, "vim", event->vim);
    add_text(&text, "kind", event->kind);
    add_text(&text, "resource", event->resource);
    add_text(&text, "name", event->name);
    add_text(&text, "task", event->task);
    if (event->revision) {
        text_printf(&text, ",\"revision\":%llu", (unsigned long long)event->revision);
    }
    text_printf(&text, ",\"data\":%s}", event->data ? event->data : "{}");
    id_new(buffer->id);
    buffer->body = text_take(&text);
    return (struct vim_write){.collection = COLLECTION_OUTBOX,
                              .id = buffer->id,
                              .parent = event->shared ? PROJECT_SHARED : event->project,
                              .body = buffer->body,
                              .expect = VIM_EXPECT_ABSENT,
                              .state = (uint32_t)event->type};
}

struct vim_write event_of_task(const struct task *task, struct event_buffer *buffer)
{
    CLEANUP_TEXT struct text data = {0};
    text_add(&data, "{\"task_kind\":");
    CLEANUP_FREE char *kind =
        text_format("%s.%s", task->kind, task->action ? task->action : task_verb_name(task->verb));
    json_add_string(&data, kind);
    text_printf(&data, ",\"state\":\"%s\"", task_state_name(task->state));
    add_text(&data, "principal", task->principal);
    if (task->error.code) {
        add_text(&data, "code", error_name(task->error.code));
        add_reason(&data, "reason", task->error.text);
    }
    text_add_char(&data, '}');
    struct event event = {.type = EVENT_TASK_ENDED,
                          .time = task->finished,
                          .project = task->project,
                          .vim = task->vim,
                          .kind = task->kind,
                          .resource = task->resource,
                          .name = task->resource_name,
                          .task = task->id,
                          .data = text_get(&data)};
    return event_write(&event, buffer);
}

struct vim_write event_of_resource(enum event_type type, const struct resource *resource,
                                   enum resource_status before, const char *task, int64_t now,
                                   struct event_buffer *buffer)
{
    CLEANUP_TEXT struct text data = {0};
    if (type != EVENT_RESOURCE_FOUND) {
        text_printf(&data, ",\"before\":\"%s\"", resource_status_name(before));
    }
    if (type != EVENT_RESOURCE_DELETED) {
        text_printf(&data, ",\"status\":\"%s\",\"pending\":%s",
                    resource_status_name(resource->status), resource->pending ? "true" : "false");
        add_reason(&data, "reason", resource->status_reason);
    }
    add_text(&data, "backend_id", resource->backend_id);
    text_add_char(&data, '}');
    data.data[0] = '{'; /* in the place of the first comma */
    struct event event = {.type = type,
                          .time = now,
                          .project = resource->project,
                          .shared = resource->shared,
                          .vim = resource->vim,
                          .kind = resource->kind,
                          .resource = resource->id,
                          .name = resource->name,
                          .task = task,
                          .revision = resource->revision + 1,
                          .data = data.data};
    return event_write(&event, buffer);
}

struct vim_write event_of_drift(enum event_type type, const struct resource *resource, int64_t now,
                                struct event_buffer *buffer)
{
    CLEANUP_TEXT struct text data = {0};
    const char *separator = "", *member;
    json_t *difference;
    text_add(&data, "{\"fields\":[");
    json_object_foreach(json_object_get(resource->drift, "fields"), member, difference)
    {
        text_add(&data, separator);
        json_add_string(&data, member);
        separator = ",";
    }
    text_add(&data, "]");
    add_text(&data, "backend_id", resource->backend_id);
    text_add_char(&data, '}');
    struct event event = {.type = type,
                          .time = now,
                          .project = resource->project,
                          .shared = resource->shared,
                          .vim = resource->vim,
                          .kind = resource->kind,
                          .resource = resource->id,
                          .name = resource->name,
                          .revision = resource->revision + 1,
                          .data = data.data};
    return event_write(&event, buffer);
}

/* --- Filters ------------------------------------------------------------------------------------- */

static void copy_fact(struct json_piece piece, char ret_fact[64])
{
    /* Names and ids need no escapes; one that has some is no name that a filter could have. */
    if (piece.length >= 2 && piece.start[0] == '"' && piece.length - 2 < 64) {
        memcpy(ret_fact, piece.start + 1, piece.length - 2);
        ret_fact[piece.length - 2] = '\0';
    }
}

bool event_facts_read(const char *body, size_t length, struct event_facts *ret_facts)
{
    struct event_facts facts = {0};
    char type[64] = "";
    struct json_piece key, value;
    struct json_walk walk = json_walk_start(body, length);
    int code;
    while ((code = json_walk_next(&walk, &key, &value)) == VIM_OK) {
        const struct {
            const char *name;
            char *place;
        } wanted[] = {{"\"type\"", type},
                      {"\"project\"", facts.project},
                      {"\"vim\"", facts.vim},
                      {"\"kind\"", facts.kind},
                      {"\"resource\"", facts.resource}};
        for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (key.length == strlen(wanted[i].name) &&
                memcmp(key.start, wanted[i].name, key.length) == 0) {
                copy_fact(value, wanted[i].place);
            }
        }
        facts.shared |=
            key.length == 8 && memcmp(key.start, "\"shared\"", 8) == 0 && value.start[0] == 't';
    }
    if (code != VIM_E_NOT_FOUND || !event_type_by_name(type, &facts.type)) {
        return false;
    }
    *ret_facts = facts;
    return true;
}

static void add_word(struct event_words *words, const char *word, const char *pointer,
                     struct findings *findings)
{
    if (words->count == EVENT_FILTER_WORDS) {
        findings_add(findings, pointer, "has more than %d values", EVENT_FILTER_WORDS);
        return;
    }
    (void)snprintf(words->items[words->count++], sizeof(words->items[0]), "%s", word);
}

static void add_value(struct event_filter *filter, const char *name, const char *word,
                      const char *pointer, struct findings *findings)
{
    enum event_type type;
    size_t length = strlen(word);
    if (length < 1 || length > 63) {
        findings_add(findings, pointer, "has values of 1 to 63 characters, separated by commas");
    } else if (strcmp(name, "type") != 0) {
        struct event_words *words = strcmp(name, "kind") == 0       ? &filter->kinds
                                    : strcmp(name, "resource") == 0 ? &filter->resources
                                    : strcmp(name, "project") == 0  ? &filter->projects
                                                                    : &filter->vims;
        if (words == &filter->kinds && !kind_by_name(word)) {
            findings_add(findings, pointer, "%s is no kind of resource", word);
        }
        add_word(words, word, pointer, findings);
    } else if (event_type_by_name(word, &type)) {
        filter->types |= 1u << type;
    } else {
        CLEANUP_FREE char *nearest = text_nearest_word(event_type_names(), word);
        findings_add(findings, pointer, "%s is no type of event%s%s", word,
                     nearest ? "; the nearest is " : "", nearest ? nearest : "");
    }
}

void event_filter_add(struct event_filter *filter, const char *name, const char *value,
                      const char *pointer, struct findings *findings)
{
    for (const char *at = value;; at++) {
        size_t length = strcspn(at, ",");
        CLEANUP_FREE char *word = text_duplicate_bytes(at, length);
        add_value(filter, name, word, pointer, findings);
        at += length;
        if (*at == '\0' || findings->count >= 32) {
            return;
        }
    }
}

static bool has(const struct event_words *words, const char *fact)
{
    for (unsigned i = 0; i < words->count; i++) {
        if (strcmp(words->items[i], fact) == 0) {
            return true;
        }
    }
    return words->count == 0;
}

bool event_filter_match(const struct event_filter *filter, const struct event_facts *facts)
{
    return (filter->types == 0 || (filter->types >> facts->type & 1u)) &&
           has(&filter->resources, facts->resource) && has(&filter->kinds, facts->kind) &&
           has(&filter->vims, facts->vim) && has(&filter->projects, facts->project);
}
