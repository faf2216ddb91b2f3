/*
 * logic/subscriptions_routes.c - /v1/subscriptions: who wants events sent, and /v1/dead-letters: what could not
 * be. Delivery is the worker's (worker/webhooks.h). Secrets go in and never come out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/outbound.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "model/rows.h"
#include "model/subscription.h"

#define SUBSCRIPTIONS_MAX 1000 /* of a project */

/* --- What is shown --------------------------------------------------------------------------- */

static void set_time(json_t *object, const char *member, int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    if (ms) {
        json_set_text(object, member, clock_format_rfc3339(ms, text));
    }
}

/* How far it has come, from the row that the worker writes. */
static json_t *show_delivery(struct store *store, const char *id)
{
    struct row row = {0};
    struct delivery delivery = {0};
    if (store_get(store, COLLECTION_DELIVERY, id, &row, NULL) == VIM_OK) {
        delivery_parse(&row, &delivery);
        row_free(&row);
    }
    char number[EVENT_ID_SIZE];
    json_t *shown = json_object();
    json_set_text(shown, "last_event", event_id(delivery.cursor, number));
    json_set_integer(shown, "failures", delivery.failures);
    json_set_integer(shown, "dead_letters", (int64_t)delivery.dead);
    set_time(shown, "succeeded", delivery.succeeded);
    set_time(shown, "failed", delivery.failed);
    json_set_text(shown, "error", delivery.error[0] ? delivery.error : NULL);
    return shown;
}

/* The stored body but for the secrets, and how its delivery goes. NULL: it is not readable. */
static char *show(struct store *store, const char *id, const char *body, size_t length)
{
    CLEANUP_JSON json_t *shown = NULL;
    if (json_parse(body, length, NULL, &shown, NULL) != VIM_OK) {
        return NULL;
    }
    json_set_integer(shown, "secret_count",
                     (int64_t)json_array_size(json_object_get(shown, "secrets")));
    json_object_del(shown, "secrets");
    json_object_set_new(shown, "delivery", show_delivery(store, id));
    return json_print(shown);
}

void subscriptions_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    struct rows all = {0};
    struct store *store = call->logic->environment.store;
    if (!list_begin(call, &vocabulary_subscriptions, "subscriptions", "created", &lister)) {
        return;
    }
    bool by_id = lister.query.sort == NULL;
    struct vim_scan scan = {
        .flags = by_id && lister.query.descending ? VIM_SCAN_DESCENDING : 0,
        .collection = COLLECTION_SUBSCRIPTION,
        .parent = access_sees_all(call->principal) ? NULL : call->principal->project,
        .after = by_id && lister.query.has_after ? lister.query.after_id : NULL};
    int code = store_scan(store, &scan, rows_add, &all, &failure);
    bool more = code == VIM_OK;
    for (size_t i = 0; i < all.count; i++) {
        CLEANUP_FREE char *text =
            more ? show(store, all.items[i].id, all.items[i].body, all.items[i].body_length) : NULL;
        more = more && text && list_offer(&lister, all.items[i].id, text, strlen(text)) == 0;
    }
    rows_free(&all);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

/* What is of all projects is changed by those alone who see them: who turned another one's subscription to an
 * address of their own would get what they must not see. */
static bool may_change(const struct call *call, const char *collection, const struct row *row)
{
    CLEANUP_JSON json_t *body = NULL;
    if (strcmp(row->parent, PARENT_ALL_PROJECTS) == 0) {
        return access_sees_all(call->principal);
    }
    bool all = strcmp(collection, COLLECTION_SUBSCRIPTION) == 0 &&
               json_parse(row->body, row->body_length, NULL, &body, NULL) == VIM_OK &&
               json_get_boolean(body, "all_projects", false);
    return access_changes(call->principal, row->parent) &&
           (!all || access_sees_all(call->principal));
}

/* The row that the path names, if the principal may see it (CHANGE: change it); else answers. */
static bool load(struct call *call, const char *collection, bool change, struct row *ret_row)
{
    if (!id_valid(call->id)) {
        logic_not_found(call);
        return false;
    }
    if (!resources_load_row(call, collection, ret_row)) {
        return false;
    }
    bool may = !change || may_change(call, collection, ret_row);
    if (!may) {
        bool other = !access_changes(call->principal, ret_row->parent);
        row_free(ret_row);
        logic_fail(call, 403, "forbidden",
                   other ? "It belongs to another project."
                         : "It is of all projects: operators and administrators change it.");
    }
    return may;
}

static void send_subscription(struct call *call, int status, const char *id, const char *body,
                              size_t length)
{
    char *text = show(call->logic->environment.store, id, body, length);
    if (!text) {
        logic_fail(call, 500, "internal", "The stored subscription is not readable.");
        return;
    }
    struct answer answer;
    answer_init(&answer, status);
    if (status == 201) {
        CLEANUP_FREE char *location = text_format("/v1/subscriptions/%s", id);
        answer_header(&answer, "Location", location);
    }
    answer_body(&answer, CONTENT_JSON, text, strlen(text));
    logic_send(call, &answer);
}

void subscriptions_get(struct call *call)
{
    struct row row = {0};
    if (load(call, COLLECTION_SUBSCRIPTION, false, &row)) {
        CLEANUP_FREE char *id = TAKE(row.id);
        CLEANUP_FREE char *body = TAKE(row.body);
        size_t length = row.body_length;
        row_free(&row);
        send_subscription(call, 200, id, body, length);
    }
}

/* --- Changes --------------------------------------------------------------------------------- */

/* Everything that is wrong at once; answers and returns false then. */
static bool check(struct call *call, const json_t *wish, bool create)
{
    struct findings findings = {0};
    char why[256];
    subscription_check(wish, create, &findings);
    const char *url = json_get_text(wish, "url", NULL);
    const struct outbound *rules = call->logic->environment.outbound;
    if (url && rules && !outbound_url(rules, url, why)) {
        findings_add(&findings, "/url", "%s", why);
    }
    if (json_get_boolean(wish, "all_projects", false) && !access_sees_all(call->principal)) {
        findings_add(&findings, "/all_projects", "is for operators and administrators");
    }
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return false;
    }
    findings_free(&findings);
    return true;
}

/* The wish as it is stored: known members, in one order. */
static json_t *make_body(const char *id, const char *project, const json_t *wish)
{
    static const char *const members[] = {"url",   "secrets", "enabled",   "all_projects",
                                          "types", "kinds",   "resources", "vims"};
    char time[CLOCK_TEXT_SIZE];
    json_t *body = json_object();
    json_set_text(body, "id", id);
    json_set_text(body, "name", json_get_text(wish, "name", ""));
    json_set_text(body, "project", project);
    json_set_text(body, "created", clock_format_rfc3339(clock_now_ms(), time));
    json_set_boolean(body, "enabled", true);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(wish, members[i]);
        if (value && !json_is_null(value)) {
            json_object_set(body, members[i], value);
        }
    }
    return body;
}

static int count_one(void *argument, const struct vim_item *item)
{
    (void)item;
    return ++*(size_t *)argument > SUBSCRIPTIONS_MAX;
}

static bool has_room(struct call *call)
{
    size_t count = 0;
    struct vim_scan scan = {.collection = COLLECTION_SUBSCRIPTION,
                            .parent = call->principal->project,
                            .flags = VIM_SCAN_NO_BODY};
    (void)store_scan(call->logic->environment.store, &scan, count_one, &count, NULL);
    if (count >= SUBSCRIPTIONS_MAX) {
        logic_fail(call, 409, "quota", "A project has at most %d subscriptions.",
                   SUBSCRIPTIONS_MAX);
        return false;
    }
    return true;
}

void subscriptions_create(struct call *call)
{
    CLEANUP_JSON json_t *wish = NULL;
    struct failure failure = {0};
    uint64_t last = 0;
    char id[ID_SIZE];
    struct store *store = call->logic->environment.store;
    if (!body_parse(call, false, &wish) || !check(call, wish, true) || !has_room(call)) {
        return;
    }
    int code = events_read_last(store, &last, &failure);
    id_new(id);
    CLEANUP_JSON json_t *body = make_body(id, call->principal->project, wish);
    CLEANUP_FREE char *text = json_print(body);
    struct delivery delivery = {.cursor = last}; /* what comes from now on */
    CLEANUP_FREE char *progress = delivery_render(&delivery);
    struct vim_write writes[2] = {{.collection = COLLECTION_SUBSCRIPTION,
                                   .id = id,
                                   .parent = call->principal->project,
                                   .body = text,
                                   .expect = VIM_EXPECT_ABSENT},
                                  {.collection = COLLECTION_DELIVERY,
                                   .id = id,
                                   .parent = call->principal->project,
                                   .body = progress,
                                   .expect = VIM_EXPECT_ABSENT}};
    if (code == VIM_OK) {
        code = store_commit(store, writes, 2, &failure);
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    send_subscription(call, 201, id, text, strlen(text));
    explicit_bzero(text, strlen(text));
}

/* JSON merge patch of what a subscription has; secrets are replaced as a whole. */
void subscriptions_update(struct call *call)
{
    CLEANUP_JSON json_t *wish = NULL;
    CLEANUP_JSON json_t *body = NULL;
    struct row row = {0};
    struct failure failure = {0};
    if (!load(call, COLLECTION_SUBSCRIPTION, true, &row)) {
        return;
    }
    if (!body_parse(call, true, &wish) || !check(call, wish, false)) {
        row_free(&row);
        return;
    }
    const char *member;
    json_t *value;
    bool readable = json_parse(row.body, row.body_length, NULL, &body, NULL) == VIM_OK;
    json_object_foreach(wish, member, value)
    {
        if (json_is_null(value)) {
            json_object_del(body, member);
        } else {
            json_object_set(body, member, value);
        }
    }
    CLEANUP_FREE char *text = json_print(body);
    struct vim_write write = {.collection = COLLECTION_SUBSCRIPTION,
                              .id = row.id,
                              .parent = row.parent,
                              .body = text,
                              .expect = row.revision};
    int code = readable ? store_commit(call->logic->environment.store, &write, 1, &failure)
                        : failure_set(&failure, VIM_E_INTERNAL, "the row is not readable");
    CLEANUP_FREE char *id = TAKE(row.id);
    row_free(&row);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    send_subscription(call, 200, id, text, strlen(text));
}

static void send_done(struct call *call, int code, const struct failure *failure, int status)
{
    if (code != VIM_OK) {
        logic_failure(call, failure, ORIGIN_OWN);
        return;
    }
    struct answer answer;
    answer_init(&answer, status);
    logic_send(call, &answer);
}

/* Its dead letters stay until they are forgotten; nothing is left to send them to. */
void subscriptions_delete(struct call *call)
{
    struct row row = {0};
    struct failure failure = {0};
    if (!load(call, COLLECTION_SUBSCRIPTION, true, &row)) {
        return;
    }
    struct vim_write writes[2] = {
        {.collection = COLLECTION_SUBSCRIPTION, .id = row.id, .expect = VIM_EXPECT_ANY},
        {.collection = COLLECTION_DELIVERY, .id = row.id, .expect = VIM_EXPECT_ANY}};
    int code = store_commit(call->logic->environment.store, writes, 2, &failure);
    row_free(&row);
    send_done(call, code, &failure, 204);
}

/* --- Dead letters ---------------------------------------------------------------------------- */

static const char *no_state(unsigned number)
{
    (void)number;
    return NULL;
}

void dead_letters_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    if (!list_begin(call, &vocabulary_dead_letters, "dead_letters", NULL, &lister)) {
        return;
    }
    struct list_source source = {
        .collection = COLLECTION_DEAD_LETTER, .state_field = "", .state_name = no_state};
    int code = list_rows(call, &lister, &source, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

void dead_letters_get(struct call *call)
{
    struct row row = {0};
    if (load(call, COLLECTION_DEAD_LETTER, false, &row)) {
        char *body = TAKE(row.body);
        size_t length = row.body_length;
        uint64_t revision = row.revision;
        row_free(&row);
        body_send(call, &vocabulary_dead_letters, 200, revision, body, length);
    }
}

/* The worker finds it, sends it, and deletes it once it is taken. */
void dead_letters_resend(struct call *call)
{
    struct row row = {0}, subscription = {0};
    struct failure failure = {0};
    struct json_piece piece;
    struct store *store = call->logic->environment.store;
    if (!load(call, COLLECTION_DEAD_LETTER, true, &row)) {
        return;
    }
    CLEANUP_FREE char *id = NULL;
    int code = json_peek(row.body, row.body_length, "subscription", &piece) == VIM_OK &&
                       json_piece_text(piece, &id) == VIM_OK
                   ? store_get(store, COLLECTION_SUBSCRIPTION, id, &subscription, &failure)
                   : VIM_E_NOT_FOUND;
    row_free(&subscription);
    if (code == VIM_E_NOT_FOUND) {
        row_free(&row);
        logic_fail(call, 409, "conflict", "Its subscription is deleted.");
        return;
    }
    struct vim_write write = {.collection = COLLECTION_DEAD_LETTER,
                              .id = row.id,
                              .parent = row.parent,
                              .body = row.body,
                              .expect = row.revision,
                              .due = row.due,
                              .state = DEAD_LETTER_RESEND};
    if (code == VIM_OK && row.state != DEAD_LETTER_RESEND) {
        code = store_commit(store, &write, 1, &failure);
    }
    row_free(&row);
    send_done(call, code, &failure, 204);
}

void dead_letters_delete(struct call *call)
{
    struct row row = {0};
    struct failure failure = {0};
    if (!load(call, COLLECTION_DEAD_LETTER, true, &row)) {
        return;
    }
    struct vim_write write = {
        .collection = COLLECTION_DEAD_LETTER, .id = row.id, .expect = VIM_EXPECT_ANY};
    int code = store_commit(call->logic->environment.store, &write, 1, &failure);
    row_free(&row);
    send_done(call, code, &failure, 204);
}
