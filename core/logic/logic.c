/*
 * logic/logic.c - the block itself: from a request to its handler.
 */
#include "logic/logic.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/integral.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "logic/call.h"
#include "logic/openapi.h"
#include "logic/prefer.h"
#include "logic/peers.h"
#include "logic/route.h"

/* Decoded path and query together; the API block bounds the line as it came. */
#define URL_MAX 8192
#define EMPTY_BODY_MAX 1024
/* Up to this many elements a list is made on a network thread. */
#define INLINE_LIMIT 200

int logic_new(const struct logic_environment *environment, struct logic **ret_logic)
{
    assert(!environment->store == !environment->tasks && !environment->vims == !environment->tasks);
    assert(!environment->events == !environment->tasks);
    struct logic *logic = MEMORY_NEW(struct logic);
    logic->magic = LOGIC_MAGIC;
    logic->environment = *environment;
    logic->environment.server_url =
        environment->server_url ? text_duplicate(environment->server_url) : NULL;
    static const char name[] = "vimd_logic_request_seconds";
    static const char help[] = "From a request's arrival in the logic block to its answer; wait: "
                               "those that waited for a task";
    logic->seconds = metrics_histogram(name, help, "wait=\"false\"", NULL, 0);
    logic->wait_seconds = metrics_histogram(name, help, "wait=\"true\"", NULL, 0);
    logic->routes = routes_new();
    logic->openapi = openapi_text(logic->environment.server_url, false);
    logic->openapi_length = strlen(logic->openapi);
    char digest[DIGEST_HEX_SIZE];
    digest_sha256_hex(logic->openapi, logic->openapi_length, digest);
    snprintf(logic->openapi_etag, sizeof(logic->openapi_etag), "\"%.32s\"", digest);
    *ret_logic = logic;
    return VIM_OK;
}

void logic_free(struct logic *logic)
{
    if (logic) {
        assert(logic->magic == LOGIC_MAGIC);
        routes_free(logic->routes);
        free(logic->openapi);
        free((char *)logic->environment.server_url);
        logic->magic = 0;
        free(logic);
    }
}

bool logic_wants_header(const char *name)
{
    static const char *const names[] = {"accept",   "content-type",  "idempotency-key",
                                        "if-match", "if-none-match", "last-event-id",
                                        "prefer"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i][0] == name[0] && strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int64_t body_max(const struct logic *logic, const struct route *route)
{
    if (route->flags & ROUTE_SPOOL) {
        return logic->environment.upload_max;
    }
    if (route->flags & ROUTE_BODY) {
        return logic->environment.body_max;
    }
    return route->flags & ROUTE_EMPTY ? EMPTY_BODY_MAX : 0;
}

void logic_route(struct logic *logic, const char *method, const char *path,
                 struct logic_route_info *ret_info)
{
    char id[CALL_ID_SIZE];
    const struct route_entry *entry = routes_match(logic->routes, method, path, id, NULL);
    *ret_info = (struct logic_route_info){.route = "(none)", .entry = entry};
    entry = entry ? entry : peers_match(method, path);
    const struct route_entry *shown =
        entry ? entry : routes_match(logic->routes, "GET", path, id, NULL);
    /* What may be read without a token may also be asked for its methods without one. */
    ret_info->is_public = shown && (shown->route->flags & ROUTE_PUBLIC) != 0;
    ret_info->is_own = !shown || (shown->route->flags & ROUTE_OWN) || !entry;
    if (entry) {
        ret_info->spool = (entry->route->flags & ROUTE_SPOOL) != 0;
        ret_info->is_keyed = (entry->route->flags & ROUTE_TASK) != 0;
        ret_info->body_max = body_max(logic, entry->route);
        ret_info->route = entry->template;
    }
}

/* A list that takes one or two short scans, nothing that looks into every row. */
static bool list_is_short(const struct request *request)
{
    for (size_t i = 0; i < request->query_count; i++) {
        const char *name = request->query[i].name;
        long long limit;
        if (strcmp(name, "limit") == 0) {
            /* A limit that is none is refused without a look at the store. */
            if (text_to_integer(request->query[i].value, &limit) == VIM_OK &&
                limit > INLINE_LIMIT && limit <= 1000) {
                return false;
            }
        } else if (strcmp(name, "page_token") != 0 && strcmp(name, "fields") != 0) {
            return false;
        }
    }
    return true;
}

static bool has_query(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool logic_is_cheap(struct logic *logic)
{
    return store_is_cheap(logic->environment.store);
}

/* Of a request that is no peer's. RET_ID may be NULL. */
static const struct route_entry *find_entry(struct logic *logic, const struct request *request,
                                            char ret_id[CALL_ID_SIZE])
{
    const struct route_entry *entry = request->entry;
    if (entry && ret_id) {
        route_id(entry, request->path, ret_id);
    }
    char id[CALL_ID_SIZE];
    return entry ? entry
                 : routes_match(logic->routes, request->method, request->path, ret_id ? ret_id : id,
                                NULL);
}

bool logic_is_inline(struct logic *logic, const struct request *request)
{
    if (request->peer) {
        const struct route_entry *asked = peers_match(request->method, request->path);
        return !asked || (asked->route->flags & ROUTE_CHEAP);
    }
    const struct route_entry *entry = find_entry(logic, request, NULL);
    if (entry == NULL) {
        return true;
    }
    if ((entry->route->flags & ROUTE_OWN) && (entry->route->flags & ROUTE_CHEAP)) {
        return true;
    }
    if (!(entry->route->flags & ROUTE_CHEAP) || !store_is_cheap(logic->environment.store) ||
        has_query(request, "fresh") || has_query(request, "wait")) {
        return false;
    }
    return !(entry->route->flags & ROUTE_LIST) || list_is_short(request);
}

bool logic_is_search(struct logic *logic, const struct request *request)
{
    const struct route_entry *entry = request->peer ? NULL : find_entry(logic, request, NULL);
    return entry && (entry->route->flags & ROUTE_LIST) && !list_is_short(request) &&
           !has_query(request, "wait");
}

/* --- Handling -------------------------------------------------------------------------------- */

static bool check_size(struct call *call)
{
    const struct request *request = call->request;
    size_t length = strlen(request->path);
    for (size_t i = 0; i < request->query_count; i++) {
        length += strlen(request->query[i].name) + strlen(request->query[i].value) + 2;
    }
    if (length > URL_MAX) {
        logic_fail(call, 414, "uri-too-long", "Path and query are longer than %d bytes.", URL_MAX);
        return false;
    }
    return true;
}

static void answer_unrouted(struct call *call, const struct text *allow)
{
    if (allow->length == 0) {
        logic_not_found(call);
        return;
    }
    if (strcmp(call->request->method, "OPTIONS") == 0) {
        struct answer answer;
        answer_init(&answer, 204);
        answer_header(&answer, "Allow", text_get(allow));
        logic_send(call, &answer);
        return;
    }
    struct problem problem = {
        .status = 405, .code = "method-not-allowed", .allow = text_get(allow)};
    snprintf(problem.detail, sizeof(problem.detail), "The method is not offered here; %s are.",
             text_get(allow));
    logic_send_problem(call, &problem);
}

/* Parameters that a route does not know are mistakes, never ignored. */
static bool check_query(struct call *call)
{
    const struct route *route = call->entry->route;
    const struct request *request = call->request;
    if (route->flags & ROUTE_LIST) {
        return true;
    }
    struct findings findings = {0};
    for (size_t i = 0; i < request->query_count && findings.count < 32; i++) {
        const char *name = request->query[i].name;
        char pointer[128];
        snprintf(pointer, sizeof(pointer), "?%.120s", name);
        if (strchr(name, ' ') || !text_has_word(route->query, name)) {
            CLEANUP_FREE char *nearest = text_nearest_word(route->query, name);
            findings_add(&findings, pointer, "%.64s is not known%s%s", name,
                         nearest ? "; the nearest is " : "", nearest ? nearest : "");
        } else if (logic_query(call, name) != request->query[i].value) {
            findings_add(&findings, pointer, "is given twice");
        }
    }
    if (findings.count == 0) {
        return true;
    }
    logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
    return false;
}

static bool check_body(struct call *call)
{
    const struct request *request = call->request;
    const struct route *route = call->entry->route;
    int64_t size = request->body_path ? request->body_size : (int64_t)request->body_length;
    int64_t limit = body_max(call->logic, route);
    if (size > limit && limit > 0) {
        logic_fail(call, 413, "too-large", "The body is larger than %lld bytes.", (long long)limit);
        return false;
    }
    bool blank = true;
    for (size_t i = 0; i < request->body_length && !request->body_path; i++) {
        blank = blank && request->body[i] != '\0' && strchr("{} \t\r\n", request->body[i]);
    }
    if (limit == 0 ? size > 0 : (route->flags & ROUTE_EMPTY) && !blank) {
        logic_fail(call, 400, "malformed", "This request takes no body.");
        return false;
    }
    return true;
}

/* What is there in one form only is not sent to somebody who says that he cannot read it. */
static bool check_accept(struct call *call)
{
    const struct route *route = call->entry->route;
    const char *answers = route->answers ? route->answers : "";
    const char *type = strstr(answers, "MetricsText")   ? "text/plain"
                       : strstr(answers, "EventStream") ? CONTENT_EVENTS
                                                        : CONTENT_JSON;
    if ((route->flags & ROUTE_PUBLIC) || !logic_header(call, "accept") ||
        accept_allows(call->request->headers, call->request->header_count, type)) {
        return true;
    }
    logic_fail(call, 406, "not-acceptable", "The answer is %s, which Accept leaves out.", type);
    return false;
}

static bool check_role(struct call *call)
{
    const struct route *route = call->entry->route;
    if ((route->flags & ROUTE_PUBLIC) || call->request->peer) {
        return true;
    }
    if (call->principal == NULL) {
        logic_fail(call, 401, "unauthenticated",
                   "A token is needed: Authorization: Bearer vimd_...");
        return false;
    }
    if (call->principal->role < route->role) {
        logic_fail(call, 403, "forbidden", "This needs the role %s; the token has the role %s.",
                   role_name(route->role), role_name(call->principal->role));
        return false;
    }
    return true;
}

static void handle(struct call *call)
{
    struct logic *logic = call->logic;
    const struct request *request = call->request;
    if (!check_size(call)) {
        return;
    }
    call->entry = request->peer ? peers_match(request->method, request->path)
                                : find_entry(logic, request, call->id);
    if (call->entry == NULL && request->peer) {
        logic_not_found(call);
        return;
    }
    if (call->entry == NULL) {
        CLEANUP_TEXT struct text allow = {0};
        (void)routes_match(logic->routes, request->method, request->path, call->id, &allow);
        answer_unrouted(call, &allow);
        return;
    }
    call->kind = call->entry->kind;
    if (check_role(call) && check_accept(call) && check_query(call) && check_body(call)) {
        call->entry->route->handle(call);
    }
}

void logic_handle(struct logic *logic, const struct request *request, logic_respond_fn respond,
                  void *argument)
{
    assert(logic->magic == LOGIC_MAGIC);
    struct call call = {.logic = logic,
                        .started_us = clock_mono_us(),
                        .request = request,
                        .respond = respond,
                        .argument = argument,
                        .principal = request->principal};
    if (request->peer) {
        handle(&call);
        return;
    }
    integral_begin(IN_LOGIC, call.started_us);
    enum integral_scope before = integral_enter(SCOPE_LOGIC, call.started_us);
    handle(&call);
    integral_leave(before, call.ended_us ? call.ended_us : clock_mono_us());
}

static bool is_unattended(const void *argument)
{
    const struct call *call = argument;
    return call->request->unattended && atomic_load(call->request->unattended);
}

void logic_end_waits(struct logic *logic, bool all)
{
    assert(logic->magic == LOGIC_MAGIC);
    if (!logic->environment.tasks) {
        return;
    }
    /* Every watch is one of this block's, with its call as the argument. */
    tasks_watch_end(logic->environment.tasks, all ? NULL : is_unattended);
    events_watch_end(logic->environment.events, all ? NULL : is_unattended);
}
