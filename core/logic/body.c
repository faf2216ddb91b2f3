#include "logic/body.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/prefer.h"

#define DEPTH_MAX 32

int body_read(const char *text, size_t length, json_t **ret_json, char ret_detail[256])
{
    struct json_limits limits = {.size = length > 0 ? length : 1, .depth = DEPTH_MAX};
    struct json_fault fault;
    int code = json_parse(text, length, &limits, ret_json, &fault);
    if (code != VIM_OK && fault.line > 0) {
        snprintf(ret_detail, 256, "line %d, column %d: %s", fault.line, fault.column, fault.text);
    } else if (code != VIM_OK) {
        snprintf(ret_detail, 256, "%s", fault.text);
    }
    return code;
}

static bool check_type(struct call *call, bool patch)
{
    const char *type = logic_header(call, "content-type");
    if (content_type_is(type, CONTENT_JSON) ||
        (patch && content_type_is(type, "application/merge-patch+json"))) {
        return true;
    }
    logic_fail(call, 415, "unsupported-media-type", "The body must be sent as %s%s.", CONTENT_JSON,
               patch ? " or application/merge-patch+json" : "");
    return false;
}

bool body_parse(struct call *call, bool patch, json_t **ret_object)
{
    char detail[256];
    json_t *json = NULL;
    if (!check_type(call, patch)) {
        return false;
    }
    const struct request *request = call->request;
    if (request->body == NULL ||
        body_read(request->body, request->body_length, &json, detail) != VIM_OK) {
        struct findings findings = {0};
        findings_add(&findings, "", "%s", request->body ? detail : "is empty");
        logic_findings(call, 400, "malformed", "The body is not JSON as it is taken here.",
                       &findings);
        return false;
    }
    if (!json_is_object(json)) {
        struct findings findings = {0};
        findings_add(&findings, "", "must be an object");
        json_decref(json);
        logic_findings(call, 422, "validation", "The body is not valid.", &findings);
        return false;
    }
    *ret_object = json;
    return true;
}

static bool not_modified(struct call *call, uint64_t revision)
{
    const char *list = logic_header(call, "if-none-match");
    return list && etag_matches(list, revision, true) &&
           (strcmp(call->request->method, "GET") == 0 ||
            strcmp(call->request->method, "HEAD") == 0);
}

/* What ?fields= chooses of BODY; false if it was answered, since that is not understood. */
static bool project(struct call *call, const struct vocabulary *vocabulary, const char *body,
                    size_t length, struct text *ret_text)
{
    char *fields[QUERY_FIELDS_MAX];
    unsigned count = 0;
    struct findings findings = {0};
    fields_parse(vocabulary, logic_query(call, "fields"), fields, &count, &findings);
    bool fine = findings.count == 0;
    if (fine) {
        fields_project((const char *const *)fields, count, body, length, ret_text);
    }
    for (unsigned i = 0; i < count; i++) {
        free(fields[i]);
    }
    if (!fine) {
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
    }
    return fine;
}

void body_send(struct call *call, const struct vocabulary *vocabulary, int status,
               uint64_t revision, char *body, size_t length)
{
    struct answer answer;
    CLEANUP_FREE char *owned = body;
    if (logic_query(call, "fields")) {
        struct text text = {0};
        if (!project(call, vocabulary, body, length, &text)) {
            return;
        }
        free(owned);
        length = text.length;
        owned = text_take(&text);
    }
    if (not_modified(call, revision)) {
        answer_init(&answer, 304);
        answer_etag(&answer, revision);
    } else {
        answer_init(&answer, status);
        answer_etag(&answer, revision);
        answer_body(&answer, CONTENT_JSON, TAKE(owned), length);
    }
    if (call->replayed) {
        answer_header(&answer, "Idempotent-Replayed", "true");
    }
    logic_send(call, &answer);
}

bool body_check_match(struct call *call, uint64_t revision)
{
    const char *list = logic_header(call, "if-match");
    if (list == NULL || etag_matches(list, revision, false)) {
        return true;
    }
    struct problem problem = {.status = 412, .code = "precondition-failed"};
    snprintf(problem.detail, sizeof(problem.detail),
             "It has changed: its entity tag is \"%" PRIu64 "\" now.", revision);
    logic_send_problem(call, &problem);
    return false;
}
