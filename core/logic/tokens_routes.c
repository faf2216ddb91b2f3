/*
 * logic/tokens_routes.c - /v1/tokens, for administrators.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

/* The stored body but for the secret's digest. */
static void show(const char *body, size_t length, struct text *text)
{
    static const char *const members[] = {"id", "name", "project", "role", "created", "expires"};
    fields_project(members, sizeof(members) / sizeof(members[0]), body, length, text);
}

static int offer(void *argument, const struct vim_item *item)
{
    struct lister *lister = argument;
    CLEANUP_TEXT struct text text = {0};
    show(item->body, strlen(item->body), &text);
    return list_offer(lister, item->id, text_get(&text), text.length);
}

void tokens_list(struct call *call)
{
    struct lister lister;
    struct failure failure = {0};
    if (!list_begin(call, &vocabulary_tokens, "tokens", "created", &lister)) {
        return;
    }
    bool by_id = lister.query.sort == NULL;
    struct vim_scan scan = {.size = sizeof(scan),
                            .flags = by_id && lister.query.descending ? VIM_SCAN_DESCENDING : 0,
                            .collection = COLLECTION_TOKEN,
                            .after =
                                by_id && lister.query.has_after ? lister.query.after_id : NULL};
    int code = store_scan(call->logic->environment.store, &scan, offer, &lister, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

void tokens_get(struct call *call)
{
    struct row row = {0};
    struct failure failure = {0};
    int code = id_valid(call->id) ? store_get(call->logic->environment.store, COLLECTION_TOKEN,
                                              call->id, &row, &failure)
                                  : VIM_E_NOT_FOUND;
    if (code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
        return;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct text text = {0};
    show(row.body, row.body_length, &text);
    uint64_t revision = row.revision;
    row_free(&row);
    size_t length = text.length;
    body_send(call, &vocabulary_tokens, 200, revision, text_take(&text), length);
}

static void check_wish(const json_t *wish, enum role *ret_role, int64_t *ret_expires,
                       struct findings *findings)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)wish, key, value)
    {
        char pointer[128];
        snprintf(pointer, sizeof(pointer), "/%.100s", key);
        if (strchr(key, ' ') || !text_has_word("name project role expires", key)) {
            findings_add(findings, pointer, "is not known");
        } else if (!json_is_string(value)) {
            findings_add(findings, pointer, "must be a text");
        }
    }
    const char *name = json_get_text(wish, "name", "");
    if (strlen(name) < 1 || strlen(name) > 63) {
        findings_add(findings, "/name", "is required, 1 to 63 bytes");
    }
    if (!access_is_project(json_get_text(wish, "project", ""))) {
        findings_add(findings, "/project", "is required, 1 to 63 letters, digits, - and _");
    }
    if (role_by_name(json_get_text(wish, "role", ""), ret_role) != VIM_OK) {
        findings_add(findings, "/role", "is required: reader, member, operator or admin");
    }
    const char *expires = json_get_text(wish, "expires", NULL);
    *ret_expires = 0;
    if (expires &&
        (clock_parse_rfc3339(expires, ret_expires) != VIM_OK || *ret_expires <= clock_now_ms())) {
        findings_add(findings, "/expires", "must be a time to come, as in 2030-01-31T12:00:00Z");
    }
}

void tokens_create(struct call *call)
{
    CLEANUP_JSON json_t *wish = NULL;
    struct findings findings = {0};
    struct failure failure = {0};
    enum role role = ROLE_READER;
    int64_t expires = 0;
    char token[128];
    if (!body_parse(call, false, &wish)) {
        return;
    }
    check_wish(wish, &role, &expires, &findings);
    if (findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return;
    }
    int code = token_create(call->logic->environment.store, json_get_text(wish, "name", ""),
                            json_get_text(wish, "project", ""), role, expires, token, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    json_t *shown = json_object();
    CLEANUP_FREE char *id = text_duplicate_bytes(token + strlen("vimd_"), ID_SIZE - 1);
    CLEANUP_FREE char *location = text_format("/v1/tokens/%s", id);
    json_set_text(shown, "id", id);
    json_object_update(shown, wish);
    json_set_text(shown, "token", token);
    struct answer answer;
    answer_init(&answer, 201);
    answer_header(&answer, "Location", location);
    answer_json(&answer, shown);
    explicit_bzero(token, sizeof(token));
    logic_send(call, &answer);
}

void tokens_revoke(struct call *call)
{
    struct failure failure = {0};
    int code = token_revoke(call->logic->environment.store, call->id, &failure);
    if (code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
    } else {
        struct answer answer;
        answer_init(&answer, 204);
        logic_send(call, &answer);
    }
}
