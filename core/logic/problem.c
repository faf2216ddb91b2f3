/*
 * logic/problem.c - errors as problem documents (RFC 9457). The one table from error codes to HTTP.
 */
#include "logic/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

static const struct problem_kind kinds[] = {
    {VIM_E_INVALID, 422, 422, "invalid", "The request makes no sense to the VIM."},
    {VIM_E_NOT_FOUND, 404, 404, "not-found", "It does not exist."},
    {VIM_E_CONFLICT, 409, 409, "conflict", "The state of things forbids it."},
    {VIM_E_DENIED, 403, 403, "denied", "The VIM's credentials do not allow it."},
    {VIM_E_QUOTA, 409, 409, "quota", "A quota or the capacity is exhausted."},
    {VIM_E_UNSUPPORTED, 501, 501, "not-supported", "The VIM's driver cannot do it."},
    {VIM_E_CANCELLED, 409, 409, "cancelled", "It was cancelled."},
    {VIM_E_INTERNAL, 500, 502, "internal", "A defect, here (500) or at the VIM (502)."},
    {VIM_E_FAILED, 502, 502, "failed", "The VIM accepted it and then reported failure."},
    {VIM_E_BUSY, 503, 503, "busy", "Rate limited, locked or overloaded."},
    {VIM_E_UNAVAILABLE, 503, 502, "unavailable", "vimd's store (503) or the VIM (502) is down."},
    {VIM_E_CREDENTIAL, 502, 502, "credential", "The VIM refuses the credentials that vimd has."},
    {VIM_E_IN_USE, 409, 409, "in-use", "Something else still depends on it."},
    {VIM_E_TIMEOUT, 504, 504, "timeout", "No answer in time; the outcome is unknown."},
    {VIM_E_LOST, 503, 502, "lost", "The connection broke; the outcome is unknown."},
};

const struct problem_kind *problem_kinds(size_t *ret_count)
{
    *ret_count = sizeof(kinds) / sizeof(kinds[0]);
    return kinds;
}

const struct problem_kind *problem_kind(int error)
{
    const struct problem_kind *internal = NULL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].error == error) {
            return &kinds[i];
        }
        if (kinds[i].error == VIM_E_INTERNAL) {
            internal = &kinds[i];
        }
    }
    /* A code that came later than this table: its class says the most. */
    if (VIM_IS_TRANSIENT(error)) {
        return problem_kind(VIM_E_UNAVAILABLE);
    }
    return VIM_IS_UNKNOWN(error) ? problem_kind(VIM_E_TIMEOUT) : internal;
}

const char *problem_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        if (titles[i].status == status) {
            return titles[i].title;
        }
    }
    return status >= 500 ? "Server Error" : "Client Error";
}

void problem_from_error(struct problem *problem, int code, enum origin origin)
{
    const struct problem_kind *kind = problem_kind(code);
    problem->status = origin == ORIGIN_OWN ? kind->status_own : kind->status_vim;
    problem->code = kind->code;
    problem->retryable = error_is_retryable(code);
}

static void set_backend(json_t *document, const struct task_error *error)
{
    json_t *backend = json_object();
    json_set_text(backend, "service", error->backend_service);
    json_set_text(backend, "status", error->backend_status);
    json_set_text(backend, "request_id", error->backend_request_id);
    json_set_text(backend, "message", error->backend_message);
    if (json_object_size(backend) > 0) {
        json_object_set_new(document, "backend", backend);
    } else {
        json_decref(backend);
    }
}

static unsigned retry_after_seconds(const struct problem *problem)
{
    return (problem->retry_after_ms + 999) / 1000;
}

static json_t *problem_document(const struct problem *problem, const char *instance)
{
    json_t *document = json_object();
    char type[96];
    snprintf(type, sizeof(type), "urn:vimd:problem:%s", problem->code);
    json_set_text(document, "type", type);
    json_set_text(document, "title", problem_title(problem->status));
    json_set_integer(document, "status", problem->status);
    json_set_text(document, "detail", problem->detail[0] != '\0' ? problem->detail : NULL);
    json_set_text(document, "instance", instance);
    json_set_text(document, "code", problem->code);
    json_set_boolean(document, "retryable", problem->retryable);
    if (problem->retry_after_ms > 0) {
        json_set_integer(document, "retry_after", retry_after_seconds(problem));
    }
    json_set_text(document, "task", problem->task);
    json_set_text(document, "vim", problem->vim);
    json_set_text(document, "capabilities", problem->capabilities);
    if (problem->backend) {
        set_backend(document, problem->backend);
    }
    if (problem->findings && problem->findings->count > 0) {
        json_t *errors = json_array();
        for (size_t i = 0; i < problem->findings->count; i++) {
            const struct finding *finding = &problem->findings->items[i];
            json_t *error = json_object();
            json_set_text(error, "pointer", finding->pointer);
            json_set_text(error, "detail", finding->detail);
            if (finding->amount) {
                json_set_text(error, "resource", finding->amount);
                json_set_integer(error, "needed", finding->needed);
                json_set_integer(error, "left", finding->left);
            }
            json_array_append_new(errors, error);
        }
        json_object_set_new(document, "errors", errors);
    }
    return document;
}

void logic_send_problem(struct call *call, const struct problem *problem)
{
    struct answer answer;
    answer_init(&answer, problem->status);
    answer_json(&answer, problem_document(problem, call->request->request_id));
    answer.response.content_type = CONTENT_PROBLEM;
    if (problem->retry_after_ms > 0) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%u", retry_after_seconds(problem));
        answer_header(&answer, "Retry-After", seconds);
    }
    if (problem->status == 401) {
        answer_header(&answer, "WWW-Authenticate", "Bearer realm=\"vimd\"");
    }
    if (problem->allow) {
        answer_header(&answer, "Allow", problem->allow);
    }
    if (problem->replayed) {
        answer_header(&answer, "Idempotent-Replayed", "true");
    }
    logic_send(call, &answer);
}

void logic_fail(struct call *call, int status, const char *code, const char *format, ...)
{
    struct problem problem = {.status = status, .code = code};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem.detail, sizeof(problem.detail), format, arguments);
    va_end(arguments);
    logic_send_problem(call, &problem);
}

void logic_failure(struct call *call, const struct failure *failure, enum origin origin)
{
    struct problem problem = {.retry_after_ms = failure->retry_after_ms};
    problem_from_error(&problem, failure->code, origin);
    if (problem.status == 503 && problem.retry_after_ms == 0) {
        problem.retry_after_ms = 1000;
    }
    snprintf(problem.detail, sizeof(problem.detail), "%s", failure->text);
    logic_send_problem(call, &problem);
}

void logic_findings(struct call *call, int status, const char *code, const char *detail,
                    struct findings *findings)
{
    struct problem problem = {.status = status, .code = code, .findings = findings};
    snprintf(problem.detail, sizeof(problem.detail), "%s", detail);
    logic_send_problem(call, &problem);
    findings_free(findings);
}

void logic_not_found(struct call *call)
{
    logic_fail(call, 404, "not-found", "There is nothing at this path.");
}

void logic_unsupported(struct call *call, const char *vim, const char *what)
{
    char capabilities[128];
    snprintf(capabilities, sizeof(capabilities), "/v1/vims/%s/capabilities", vim);
    struct problem problem = {
        .status = 501, .code = "not-supported", .vim = vim, .capabilities = capabilities};
    snprintf(problem.detail, sizeof(problem.detail), "The driver of VIM %s cannot %s; see %s.", vim,
             what, capabilities);
    logic_send_problem(call, &problem);
}

void logic_problem(int status, const char *code, const char *detail, const char *instance,
                   bool retryable, uint32_t retry_after_ms, struct response *ret_response)
{
    static _Thread_local char seconds[16];
    static _Thread_local struct header headers[2];
    struct problem problem = {
        .status = status, .code = code, .retryable = retryable, .retry_after_ms = retry_after_ms};
    snprintf(problem.detail, sizeof(problem.detail), "%s", detail ? detail : "");
    size_t count = 0;
    if (retry_after_ms > 0) {
        snprintf(seconds, sizeof(seconds), "%u", retry_after_seconds(&problem));
        headers[count++] = (struct header){"Retry-After", seconds};
    }
    if (status == 401) {
        headers[count++] = (struct header){"WWW-Authenticate", "Bearer realm=\"vimd\""};
    }
    json_t *document = problem_document(&problem, instance);
    struct text text = {0};
    json_print_to(&text, document);
    json_decref(document);
    size_t length = text.length;
    *ret_response = (struct response){.status = status,
                                      .content_type = CONTENT_PROBLEM,
                                      .headers = headers,
                                      .header_count = count,
                                      .body = text_take(&text),
                                      .body_length = length};
}
