/* Alarms that follow from events. An event is looked at again after a crash, if it has changed none: with the same
 * outcome. */
#include "engine/alarms_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/graph.h"

#define PAGE 500u

struct found {
    uint64_t number;
    enum event_type type;
    char *body;
};

struct page {
    const struct alarms *alarms;
    struct found items[PAGE];
    uint32_t count;
    uint64_t last;
    bool raises; /* one of them may raise an alarm, which one behind it may clear */
};

static bool says(const char *body, const char *member, const char *value)
{
    struct json_piece data, piece;
    return json_peek(body, strlen(body), "data", &data) == VIM_OK &&
           json_peek(data.start, data.length, member, &piece) == VIM_OK &&
           json_piece_equals(piece, value);
}

static bool is_bad(enum event_type type, const char *body)
{
    if (type == EVENT_TASK_ENDED) {
        return says(body, "state", "rollback_failed");
    }
    return type != EVENT_RESOURCE_DELETED && says(body, "status", "ERROR");
}

static bool matters(const struct page *page, const struct event_facts *facts)
{
    char id[ALARM_ID_SIZE];
    const struct alarms *alarms = page->alarms;
    return page->raises ||
           alarms_have(alarms, alarm_id(ALARM_RESOURCE_ERROR, facts->resource, NULL, id)) ||
           alarms_have(alarms, alarm_id(ALARM_ROLLBACK_FAILED, facts->resource, NULL, id));
}

static int take_event(void *argument, const struct vim_item *item)
{
    struct page *page = argument;
    struct event_facts facts;
    (void)event_number(item->id, &page->last);
    if (!event_facts_read(item->body, strlen(item->body), &facts) ||
        (facts.type != EVENT_TASK_ENDED && facts.type != EVENT_RESOURCE_FOUND &&
         facts.type != EVENT_RESOURCE_CHANGED && facts.type != EVENT_RESOURCE_DELETED)) {
        return 0;
    }
    bool bad = is_bad(facts.type, item->body);
    if (bad || matters(page, &facts)) {
        page->raises = page->raises || bad;
        page->items[page->count++] = (struct found){
            .number = page->last, .type = facts.type, .body = text_duplicate(item->body)};
    }
    return 0;
}

/* The alarm that an event raises or clears. */
static void consider(struct alarms *alarms, const json_t *event, enum alarm_type type, bool bad,
                     bool good)
{
    char id[ALARM_ID_SIZE];
    const json_t *data = json_object_get(event, "data");
    struct alarm alarm = {
        .type = type,
        .id = alarm_id(type, json_get_text(event, "resource", ""), NULL, id),
        .project = json_get_text(event, "project", ""),
        .shared = json_get_boolean(event, "shared", false),
        .vim = json_get_text(event, "vim", NULL),
        .kind = json_get_text(event, "kind", NULL),
        .resource = json_get_text(event, "resource", NULL),
        .name = json_get_text(event, "name", NULL),
        .task = json_get_text(event, "task", NULL),
        .reason = json_get_text(data, "reason", NULL),
    };
    if (clock_parse_rfc3339(json_get_text(event, "time", ""), &alarm.raised) != VIM_OK) {
        alarm.raised = clock_now_ms();
    }
    if (bad) {
        alarms_raise(alarms, &alarm);
    } else if (good) {
        alarms_clear(alarms, id);
    }
}

static void look_at(struct alarms *alarms, const struct found *found)
{
    CLEANUP_JSON json_t *event = NULL;
    if (json_parse(found->body, strlen(found->body), NULL, &event, NULL) != VIM_OK) {
        return;
    }
    const json_t *data = json_object_get(event, "data");
    bool bad = is_bad(found->type, found->body);
    if (found->type == EVENT_TASK_ENDED) {
        const char *state = json_get_text(data, "state", "");
        consider(alarms, event, ALARM_ROLLBACK_FAILED, bad,
                 text_has_word("succeeded rolled_back cancelled", state));
        return;
    }
    /* Of a create that failed its task has told, and nothing is there. */
    bool there = json_object_get(data, "backend_id") ||
                 strcmp(json_get_text(event, "kind", ""), KIND_SERVICE) == 0;
    consider(alarms, event, ALARM_RESOURCE_ERROR, bad && there, !bad);
    if (found->type == EVENT_RESOURCE_DELETED) {
        consider(alarms, event, ALARM_ROLLBACK_FAILED, false, true);
    }
}

void alarms_follow(struct alarms *alarms, uint64_t last)
{
    while (alarms->loaded && alarms->cursor < last) {
        char after[EVENT_ID_SIZE];
        struct page *page = MEMORY_NEW(struct page);
        page->alarms = alarms;
        struct vim_scan scan = {.collection = COLLECTION_EVENT,
                                .after = event_id(alarms->cursor, after),
                                .limit = PAGE};
        int code = store_scan(alarms->store, &scan, take_event, page, NULL);
        for (uint32_t i = 0; i < page->count; i++) {
            if (code == VIM_OK && alarms->loaded) {
                /* A commit on the way must not claim what was not looked at yet. */
                alarms->cursor = page->items[i].number - 1;
                look_at(alarms, &page->items[i]);
            }
            free(page->items[i].body);
        }
        if (code == VIM_OK && alarms->loaded) {
            alarms->cursor = page->last ? page->last : last; /* or all of it is forgotten */
        }
        free(page);
        if (code != VIM_OK) {
            return;
        }
    }
}
