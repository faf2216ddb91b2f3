/*
 * logic/events_routes.c - /v1/events: what happened, as a list and as the beginning of a stream.
 *
 * A stream is begun here and continued by the API block: the answer to GET /v1/events/stream is an
 * ordinary one of type text/event-stream, whose body is the first lines of the stream and whose header
 * Last-Event-ID says behind which event it goes on. The API block then asks for /v1/events like any
 * client, once for all its listeners, and keeps their connections. So only ordinary requests cross the
 * link, whether the logic is in the same process or not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "logic/list.h"
#include "logic/prefer.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "model/event.h"

#define WAIT_MARGIN_MS 250
/* What a client that lost its connection waits before it comes again. */
#define RETRY_MS 2000

static const char *type_name(unsigned number)
{
    return number < EVENT_TYPE_COUNT ? event_type_name((enum event_type)number) : NULL;
}

/* --- Where to begin -------------------------------------------------------------------------- */

/* The number in VALUE (NULL: not given). */
static void parse_after(const char *value, const char *pointer, bool *ret_given,
                        uint64_t *ret_after, struct findings *findings)
{
    if (value && !event_number(value, ret_after)) {
        findings_add(findings, pointer, "must be the id of an event: up to 16 digits");
    }
    *ret_given |= value != NULL;
}

static bool is_gone(uint64_t after, uint64_t first, uint64_t last)
{
    return after + 1 < first || after > last;
}

/* --- List ------------------------------------------------------------------------------------ */

struct events_page {
    bool has_after;
    uint64_t after, first, last;
    int64_t wait_ms;
};

static void parse_wait(const struct call *call, int64_t *ret_ms, struct findings *findings)
{
    const char *value = logic_query(call, "wait");
    long long seconds = 0;
    if (value &&
        (text_to_integer(value, &seconds) != VIM_OK || seconds < 0 || seconds > PREFER_WAIT_MAX)) {
        findings_add(findings, "?wait", "must be from 0 to %d seconds", PREFER_WAIT_MAX);
    }
    int64_t left = logic_left_ms(call) - WAIT_MARGIN_MS;
    *ret_ms = seconds * 1000 < left ? seconds * 1000 : left > 0 ? left : 0;
}

static bool begin_page(struct call *call, struct events_page *page)
{
    struct findings findings = {0};
    struct failure failure = {0};
    parse_after(logic_query(call, "after"), "?after", &page->has_after, &page->after, &findings);
    parse_wait(call, &page->wait_ms, &findings);
    if (page->wait_ms > 0 && !page->has_after) {
        findings_add(&findings, "?wait", "goes with after");
    }
    if (findings.count > 0) {
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
        return false;
    }
    findings_free(&findings);
    int code = events_range(call->logic->environment.events, &page->first, &page->last, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return false;
    }
    if (page->has_after && is_gone(page->after, page->first, page->last)) {
        logic_fail(
            call, 410, "gone",
            "What came behind event %llu is not kept here: the events are those from %llu to "
            "%llu.",
            (unsigned long long)page->after, (unsigned long long)page->first,
            (unsigned long long)page->last);
        return false;
    }
    return true;
}

static void list_events(struct call *call, bool may_wait);

static void woken(void *argument)
{
    list_events(argument, false);
}

/* The call is on the heap if it has waited. */
static void list_events(struct call *call, bool may_wait)
{
    struct lister lister;
    struct failure failure = {0};
    struct events_page page = {0};
    char after[EVENT_ID_SIZE], until[EVENT_ID_SIZE];
    if (!begin_page(call, &page) ||
        !list_begin(call, &vocabulary_events, "events", "time", &lister)) {
        return;
    }
    /* Two scans see two moments: what has come in between is for the next page. */
    event_id(page.last, until);
    struct list_source source = {.collection = COLLECTION_EVENT,
                                 .state_field = "type",
                                 .state_name = type_name,
                                 .after = page.has_after ? event_id(page.after, after) : NULL,
                                 .until = until};
    if (lister.query.descending && !lister.query.sort) {
        if (page.has_after) {
            list_free(&lister);
            logic_fail(call, 400, "invalid-query", "after goes with ascending ids only.");
            return;
        }
        source.after = event_id(page.last + 1, after);
    }
    int code = list_rows(call, &lister, &source, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    if (may_wait && lister.count == 0 && page.wait_ms > 0) {
        list_free(&lister);
        events_watch(call->logic->environment.events, page.last, page.wait_ms, woken,
                     logic_keep(call));
        return;
    }
    if (!lister.query.sort && !lister.query.descending) {
        lister.header = "Last-Event-ID";
        lister.header_value = lister.more ? lister.last_id : until;
    }
    list_finish(call, &lister);
}

void events_list(struct call *call)
{
    list_events(call, true);
}

/* --- Stream ---------------------------------------------------------------------------------- */

static void check_filter(const struct request *request, struct findings *findings)
{
    struct event_filter filter = {0};
    for (size_t i = 0; i < request->query_count; i++) {
        const struct header *parameter = &request->query[i];
        if (text_has_word(EVENT_FILTER_NAMES, parameter->name)) {
            char pointer[32];
            snprintf(pointer, sizeof(pointer), "?%s", parameter->name);
            event_filter_add(&filter, parameter->name, parameter->value, pointer, findings);
        }
    }
}

/* Behind which event the stream begins; what is not kept any more is told as a gap. */
static int begin_stream(struct call *call, bool given, uint64_t *after, struct text *text,
                        struct failure *failure)
{
    uint64_t first, last;
    int code = events_range(call->logic->environment.events, &first, &last, failure);
    if (code != VIM_OK) {
        return code;
    }
    text_printf(text, "retry: %d\n\n", RETRY_MS);
    if (given && is_gone(*after, first, last)) {
        text_printf(text,
                    "event: gap\ndata: {\"after\":\"%016llu\",\"first\":\"%016llu\","
                    "\"last\":\"%016llu\"}\n\n",
                    (unsigned long long)*after, (unsigned long long)first,
                    (unsigned long long)last);
        *after = first > 0 ? first - 1 : 0;
    } else if (!given) {
        *after = last;
    }
    return VIM_OK;
}

void events_stream(struct call *call)
{
    struct findings findings = {0};
    struct failure failure = {0};
    struct text text = {0};
    bool given = false;
    uint64_t after = 0;
    check_filter(call->request, &findings);
    parse_after(logic_query(call, "after"), "?after", &given, &after, &findings);
    parse_after(logic_header(call, "last-event-id"), "Last-Event-ID", &given, &after, &findings);
    if (findings.count > 0) {
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
        return;
    }
    findings_free(&findings);
    int code = begin_stream(call, given, &after, &text, &failure);
    if (code != VIM_OK) {
        text_free(&text);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    char id[EVENT_ID_SIZE];
    struct answer answer;
    answer_init(&answer, 200);
    answer_header(&answer, "Last-Event-ID", event_id(after, id));
    size_t length = text.length;
    answer_body(&answer, CONTENT_EVENTS, text_take(&text), length);
    logic_send(call, &answer);
}
