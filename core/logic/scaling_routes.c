/*
 * logic/scaling_routes.c - /v1/services: what is watched and scaled. The answers are made of rows that the process
 * with the role scaler writes; what is asked of it (a mode, an approval) is a row, too, which it finds with its next
 * round. So any logic process can answer, and none needs to know where the scaler is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "model/rows.h"
#include "model/scaling.h"

#define DECISIONS_SHOWN 10
#define MODES "off advise confirm act"

/* --- What is shown --------------------------------------------------------------------------- */

static void set_time(json_t *object, const char *member, int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    json_set_text(object, member, clock_format_rfc3339(ms, text));
}

/* The stored body; with the mode as it was set, also where the scaler has not seen that yet. NULL: it is not
 * readable. */
static json_t *show(struct store *store, const char *id, const char *body, size_t length,
                    int64_t due)
{
    json_t *shown = NULL;
    struct scaling_wish wish;
    if (json_parse(body, length, NULL, &shown, NULL) != VIM_OK) {
        return NULL;
    }
    uint64_t seen = (uint64_t)json_get_integer(shown, "wish", 0);
    json_object_del(shown, "wish");
    if (scaling_wish_read(store, id, &wish, NULL) == VIM_OK && wish.revision > 0) {
        if (wish.revision != seen) {
            json_set_text(shown, "mode", wish.mode);
            json_set_boolean(shown, "breaker", false);
        }
        json_set_text(shown, "mode_set_by", wish.by);
        set_time(shown, "mode_set", wish.time);
    }
    json_set_boolean(shown, "watched", due > clock_now_ms());
    return shown;
}

struct seen {
    const struct principal *principal;
    struct rows rows;
};

static int take_seen(void *argument, const struct vim_item *item)
{
    struct seen *seen = argument;
    return access_sees(seen->principal, item->parent) ? rows_add(&seen->rows, item) : 0;
}

void scaling_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    struct seen all = {.principal = call->principal};
    struct store *store = call->logic->environment.store;
    if (!list_begin(call, &vocabulary_scaling, "services", NULL, &lister)) {
        return;
    }
    bool by_id = lister.query.sort == NULL;
    struct vim_scan scan = {.flags = by_id && lister.query.descending ? VIM_SCAN_DESCENDING : 0,
                            .collection = COLLECTION_SCALING,
                            .after =
                                by_id && lister.query.has_after ? lister.query.after_id : NULL};
    int code = store_scan(store, &scan, take_seen, &all, &failure);
    bool more = code == VIM_OK;
    for (size_t i = 0; more && i < all.rows.count; i++) {
        const struct row *row = &all.rows.items[i];
        CLEANUP_JSON json_t *shown = show(store, row->id, row->body, row->body_length, row->due);
        CLEANUP_FREE char *text = shown ? json_print(shown) : NULL;
        more = text && list_offer(&lister, row->id, text, strlen(text)) == 0;
    }
    rows_free(&all.rows);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

/* The service that the path names, if the principal may see it (CHANGE: change it); else answers. */
static bool load(struct call *call, bool change, struct row *ret_row)
{
    if (!resources_load_row(call, COLLECTION_SCALING, ret_row)) {
        return false;
    }
    bool may = !change || access_changes(call->principal, ret_row->parent);
    if (!may) {
        row_free(ret_row);
        logic_fail(call, 403, "forbidden",
                   "It belongs to another project, or to all: administrators steer it.");
    }
    return may;
}

/* The same as JSON, shown. */
static json_t *load_shown(struct call *call)
{
    struct row row = {0};
    if (!load(call, false, &row)) {
        return NULL;
    }
    json_t *shown =
        show(call->logic->environment.store, row.id, row.body, row.body_length, row.due);
    row_free(&row);
    if (!shown) {
        logic_fail(call, 500, "internal", "The stored service is not readable.");
    }
    return shown;
}

/* The last decisions, the latest first, in short. */
static json_t *last_decisions(struct store *store, const char *service)
{
    static const char *const members[] = {"id",    "time",  "verdict",     "block",
                                          "delta", "state", "explanation", "effect"};
    struct rows all = {0};
    struct vim_scan scan = {.flags = VIM_SCAN_DESCENDING,
                            .collection = COLLECTION_DECISION,
                            .parent = service,
                            .limit = DECISIONS_SHOWN};
    json_t *list = json_array();
    (void)store_scan(store, &scan, rows_add, &all, NULL);
    for (size_t i = 0; i < all.count; i++) {
        CLEANUP_JSON json_t *whole = NULL;
        if (json_parse(all.items[i].body, all.items[i].body_length, NULL, &whole, NULL) != VIM_OK) {
            continue;
        }
        json_t *brief = json_object();
        for (size_t j = 0; j < sizeof(members) / sizeof(members[0]); j++) {
            json_t *value = json_object_get(whole, members[j]);
            if (value) {
                json_object_set(brief, members[j], value);
            }
        }
        json_array_append_new(list, brief);
    }
    rows_free(&all);
    return list;
}

void scaling_get(struct call *call)
{
    json_t *shown = load_shown(call);
    if (shown) {
        json_object_set_new(shown, "decisions",
                            last_decisions(call->logic->environment.store, call->id));
        logic_send_json(call, shown);
    }
}

/* --- Why ------------------------------------------------------------------------------------- */

static void add_number(struct text *text, const json_t *score, const char *member,
                       const char *format, double factor)
{
    const json_t *value = json_object_get(score, member);
    char number[32];
    if (json_is_number(value)) {
        (void)snprintf(number, sizeof(number), "%.3g", factor * json_number_value(value));
        text_add(text, text->length ? ", " : "");
        text_printf(text, "%s %s", format, number);
    }
}

/* A block's score as a sentence: what it was judged by, and why it was no candidate. */
static json_t *explain_block(const json_t *score)
{
    CLEANUP_TEXT struct text text = {0};
    const json_t *gates = json_object_get(score, "gates");
    add_number(&text, score, "saturation", "utilisation", 1);
    add_number(&text, score, "level", "per cent of what waits:", 100);
    add_number(&text, score, "similarity", "distance", 1);
    add_number(&text, score, "gain", "per cent gained by one more:", 100);
    add_number(&text, score, "replicas", "replicas that the load needs:", 1);
    for (size_t i = 0; i < json_array_size(gates); i++) {
        text_printf(&text, "%s%s",
                    i             ? ", "
                    : text.length ? "; no candidate: "
                                  : "no candidate: ",
                    json_string_value(json_array_get(gates, i)));
    }
    json_t *object = json_object();
    json_set_text(object, "block", json_get_text(score, "block", ""));
    json_set_text(object, "text", text_get(&text));
    return object;
}

void scaling_explain(struct call *call)
{
    CLEANUP_JSON json_t *service = load_shown(call);
    if (!service) {
        return;
    }
    const json_t *decision = json_object_get(service, "decision");
    json_t *shown = json_object(), *blocks = json_array();
    const json_t *scores = json_object_get(decision, "scores");
    for (size_t i = 0; i < json_array_size(scores); i++) {
        json_array_append_new(blocks, explain_block(json_array_get(scores, i)));
    }
    json_set_text(shown, "service", call->id);
    json_set_text(shown, "mode", json_get_text(service, "mode", NULL));
    json_set_text(shown, "time", json_get_text(decision, "time", NULL));
    json_set_text(shown, "explanation",
                  json_get_text(decision, "explanation", "nothing was decided yet"));
    json_object_set_new(shown, "blocks", blocks);
    if (decision) {
        json_object_set(shown, "decision", (json_t *)(uintptr_t)decision);
    }
    logic_send_json(call, shown);
}

/* --- Decisions ------------------------------------------------------------------------------- */

static int offer(void *argument, const struct vim_item *item)
{
    return list_offer(argument, item->id, item->body, strlen(item->body));
}

void scaling_decisions(struct call *call)
{
    struct lister lister;
    struct row row = {0};
    struct failure failure = {0};
    if (!load(call, false, &row)) {
        return;
    }
    row_free(&row);
    if (!list_begin(call, &vocabulary_decisions, "decisions", "time", &lister)) {
        return;
    }
    bool by_id = lister.query.sort == NULL;
    struct vim_scan scan = {
        .flags = by_id && lister.query.descending ? VIM_SCAN_DESCENDING : 0,
        .collection = COLLECTION_DECISION,
        .parent = call->id,
        .after = by_id && lister.query.has_after ? lister.query.after_id : NULL,
        .states = filter_mask(&lister.query.filter, "state", decision_state_name),
        .limit = by_id && lister.query.filter.count == 0 ? list_enough(&lister) : 0};
    int code = store_scan(call->logic->environment.store, &scan, offer, &lister, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

/* The {decision} of /v1/services/{id}/decisions/{decision}/approve. */
static void decision_id(const struct call *call, char ret_id[CALL_ID_SIZE])
{
    const char *at = strstr(call->request->path, "/decisions/");
    at = at ? at + strlen("/decisions/") : "";
    size_t length = strcspn(at, "/");
    length = length < CALL_ID_SIZE ? length : 0;
    memcpy(ret_id, at, length);
    ret_id[length] = '\0';
}

static bool load_decision(struct call *call, const char *id, struct row *ret_row)
{
    struct failure failure = {0};
    int code = id_valid(id) ? store_get(call->logic->environment.store, COLLECTION_DECISION, id,
                                        ret_row, &failure)
                            : VIM_E_NOT_FOUND;
    if (code == VIM_OK && !text_equal(ret_row->parent, call->id)) {
        row_free(ret_row);
        code = VIM_E_NOT_FOUND;
    }
    if (code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
    }
    return code == VIM_OK;
}

static bool is_too_late(const struct row *row)
{
    struct json_piece piece;
    CLEANUP_FREE char *text = NULL;
    int64_t until = 0;
    return json_peek(row->body, row->body_length, "approve_until", &piece) == VIM_OK &&
           json_piece_text(piece, &text) == VIM_OK && clock_parse_rfc3339(text, &until) == VIM_OK &&
           clock_now_ms() >= until;
}

static void approve(struct call *call, const struct row *row)
{
    struct failure failure = {0};
    CLEANUP_JSON json_t *more = json_object();
    json_set_text(more, "approved_by", call->principal->name);
    set_time(more, "approved", clock_now_ms());
    CLEANUP_FREE char *body =
        decision_restate(row->body, row->body_length, DECISION_APPROVED, more);
    struct vim_write write = {.collection = COLLECTION_DECISION,
                              .id = row->id,
                              .parent = row->parent,
                              .body = body,
                              .expect = row->revision,
                              .due = row->due,
                              .state = DECISION_APPROVED};
    int code = body ? store_commit(call->logic->environment.store, &write, 1, &failure)
                    : failure_set(&failure, VIM_E_INTERNAL, "the decision is not readable");
    if (code == VIM_E_CONFLICT) {
        logic_fail(call, 409, "conflict",
                   "It has changed meanwhile, and may not wait for an approval any more.");
        return;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct answer answer;
    size_t length = strlen(body);
    answer_init(&answer, 202);
    answer_body(&answer, CONTENT_JSON, TAKE(body), length);
    logic_send(call, &answer);
}

void scaling_approve(struct call *call)
{
    struct row service = {0}, row = {0};
    char id[CALL_ID_SIZE];
    decision_id(call, id);
    if (!load(call, true, &service)) {
        return;
    }
    row_free(&service);
    if (!load_decision(call, id, &row)) {
        return;
    }
    if (row.state != DECISION_WAITING) {
        const char *state = decision_state_name(row.state);
        logic_fail(call, 409, "conflict", "It does not wait for an approval: it is %s.",
                   state ? state : "unknown");
    } else if (is_too_late(&row)) {
        logic_fail(call, 409, "conflict", "It is too late to approve it.");
    } else {
        approve(call, &row);
    }
    row_free(&row);
}

/* --- The mode -------------------------------------------------------------------------------- */

static bool check_mode(struct call *call, const json_t *wish, const char **ret_mode)
{
    struct findings findings = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wish, key, value)
    {
        if (strcmp(key, "mode") != 0) {
            CLEANUP_FREE char *pointer = json_pointer(key, NULL);
            findings_add(&findings, pointer, "is not known");
        }
    }
    *ret_mode = json_get_text(wish, "mode", "");
    if (strchr(*ret_mode, ' ') || !text_has_word(MODES, *ret_mode)) {
        findings_add(&findings, "/mode", "has to be one of %s", MODES);
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return false;
    }
    findings_free(&findings);
    return true;
}

void scaling_mode(struct call *call)
{
    CLEANUP_JSON json_t *body = NULL;
    struct row row = {0};
    struct failure failure = {0};
    struct scaling_wish wish;
    const char *mode = NULL;
    struct store *store = call->logic->environment.store;
    if (!load(call, true, &row)) {
        return;
    }
    row_free(&row);
    if (!body_parse(call, false, &body) || !check_mode(call, body, &mode)) {
        return;
    }
    int code = scaling_wish_write(store, call->id, mode, call->principal->name, &wish, &failure);
    if (code == VIM_E_CONFLICT) {
        logic_fail(call, 409, "conflict", "Others set it at the same time.");
        return;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    json_t *shown = json_object();
    json_set_text(shown, "service", call->id);
    json_set_text(shown, "mode", wish.mode);
    json_set_text(shown, "mode_set_by", wish.by);
    set_time(shown, "mode_set", wish.time);
    logic_send_json(call, shown);
}
