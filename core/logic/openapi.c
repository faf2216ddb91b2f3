/*
 * logic/openapi.c - the document around the schemas: paths, parameters, answers.
 */
#include "logic/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/call.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

/* --- Parameters and headers ------------------------------------------------------------------ */

static const struct {
    const char *name, *in, *schema, *help;
} parameters[] = {
    {"id", "path", "{\"type\":\"string\",\"maxLength\":64}", "Id; of a VIM or a service its name."},
    {"decision", "path", "{\"type\":\"string\",\"maxLength\":64}", "The decision's id."},
    {"X-Request-Id", "header", "{\"type\":\"string\"}", "Echoed, and kept in the logs."},
    {"Prefer", "header", "{\"type\":\"string\"}",
     "RFC 7240: respond-async (as without it), or wait=SECONDS (at most 60) to have the outcome "
     "if it is there by then."},
    {"Idempotency-Key", "header", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}",
     "The same key and request lead to the same task, however often they are sent."},
    {"If-Match", "header", "{\"type\":\"string\"}", "Only if the ETag is (still) one of these."},
    {"If-None-Match", "header", "{\"type\":\"string\"}", "304 if the ETag is one of these."},
    {"fresh", "query", "{\"type\":\"boolean\",\"default\":false}", "Ask the VIM."},
    {"dryRun", "query", "{\"type\":\"boolean\",\"default\":false}",
     "Only check: 200 with a verdict, or what is wrong."},
    {"type", "query",
     "{\"type\":\"string\",\"enum\":[\"novnc\",\"spice\",\"serial\",\"log\"],\"default\":\"novnc\"}",
     "What kind of console; log: what the server has written lately."},
    {"wait", "query", "{\"type\":\"integer\",\"minimum\":0,\"maximum\":60}",
     "Seconds to wait for the end of the task, or for an event where there is none yet."},
    {"after", "query", "{\"type\":\"string\",\"pattern\":\"^[0-9]{1,16}$\"}",
     "Only what comes behind the event with this id; 0: from the first one on."},
    {"type", "query", "{\"type\":\"string\"}", "Only events of these types, separated by commas."},
    {"kind", "query", "{\"type\":\"string\"}",
     "Only about resources of these kinds, separated by commas."},
    {"resource", "query", "{\"type\":\"string\"}",
     "Only about the resources with these ids, separated by commas."},
    {"project", "query", "{\"type\":\"string\"}", "Only of these projects, separated by commas."},
    {"vim", "query", "{\"type\":\"string\"}", "Only of these VIMs, separated by commas."},
    {"Last-Event-ID", "header", "{\"type\":\"string\",\"pattern\":\"^[0-9]{1,16}$\"}",
     "Go on behind this event. Counts more than ?after."},
    {"fields", "query", "{\"type\":\"string\"}", "Members to show, separated by commas."},
    {"limit", "query", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"default\":100}",
     "Elements on a page."},
    {"page_token", "query", "{\"type\":\"string\"}", "The page behind the one that gave this."},
    {"filter", "query", "{\"type\":\"string\"}",
     "ETSI NFV-SOL 013 section 5.2: (eq,status,ACTIVE);(gt,created,2026-01-01T00:00:00Z)."},
    {"sort", "query", "{\"type\":\"string\"}",
     "The field to sort by, with - in front from the last to the first. Without it by id."},
    {"changed_since", "query", "{\"type\":\"string\",\"format\":\"date-time\"}",
     "Only what was updated (or else created) at this time or later, or does not tell."},
    {"label", "query", "{\"type\":\"string\"}",
     "name or name:value of a label; may be given several times."},
};

static const struct {
    const char *name, *help;
} headers[] = {
    {"X-Request-Id", "The id of the request."},
    {"ETag", "The revision of what is shown."},
    {"Location", "202: the task; 201: what was made."},
    {"Content-Location", "The resource that it is about."},
    {"Retry-After", "Seconds after which to ask again."},
    {"Last-Event-ID", "Up to which event the answer tells all: the next ?after."},
    {"Link", "rel=\"next\": the next page (RFC 8288)."},
    {"Preference-Applied", "Which preference was followed (RFC 7240)."},
    {"Idempotent-Replayed", "true: the key and the request had come before."},
    {"Allow", "The methods that the path has."},
    {"WWW-Authenticate", "Bearer."},
};

static json_t *reference(const char *section, const char *name)
{
    CLEANUP_FREE char *path = text_format("#/components/%s/%s", section, name);
    return json_pack("{s:s}", "$ref", path);
}

static json_t *components_parameters(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        json_t *parameter = json_pack("{s:s, s:s, s:s, s:o}", "name", parameters[i].name, "in",
                                      parameters[i].in, "description", parameters[i].help, "schema",
                                      json_loads(parameters[i].schema, 0, NULL));
        if (strcmp(parameters[i].in, "path") == 0) {
            json_set_boolean(parameter, "required", true);
        }
        json_object_set_new(all, parameters[i].name, parameter);
    }
    return all;
}

static json_t *components_headers(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        json_object_set_new(all, headers[i].name,
                            json_pack("{s:s, s:{s:s}}", "description", headers[i].help, "schema",
                                      "type", "string"));
    }
    return all;
}

/* --- Answers --------------------------------------------------------------------------------- */

static void add_headers(json_t *response, const char *names)
{
    json_t *all = json_object();
    while (*names != '\0') {
        size_t length = strcspn(names, " ");
        CLEANUP_FREE char *name = text_duplicate_bytes(names, length);
        json_object_set_new(all, name, reference("headers", name));
        names += length + (names[length] == ' ');
    }
    json_object_set_new(response, "headers", all);
}

static json_t *components_responses(void)
{
    static const int statuses[] = {400, 401, 403, 404, 405, 406, 409, 410, 412, 413,
                                   414, 415, 422, 429, 431, 500, 501, 502, 503, 504};
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "Problem%d", statuses[i]);
        json_t *response =
            json_pack("{s:s, s:{s:{s:o}}}", "description", problem_title(statuses[i]), "content",
                      CONTENT_PROBLEM, "schema", reference("schemas", "Problem"));
        add_headers(response, statuses[i] == 429 || statuses[i] == 503 ? "X-Request-Id Retry-After"
                              : statuses[i] == 401 ? "X-Request-Id WWW-Authenticate"
                              : statuses[i] == 405 ? "X-Request-Id Allow"
                                                   : "X-Request-Id");
        json_object_set_new(all, name, response);
    }
    return all;
}

static const char *success_words(int status)
{
    switch (status) {
    case 201:
        return "Made.";
    case 202:
        return "Accepted: a task does it.";
    case 204:
        return "Done.";
    case 304:
        return "As it was.";
    default:
        return "As asked for.";
    }
}

static const char *success_headers(const struct route *route, int status)
{
    if (status == 202) {
        return "X-Request-Id Location Content-Location Retry-After Preference-Applied "
               "Idempotent-Replayed";
    }
    if (status == 201) {
        return route->flags & ROUTE_TASK
                   ? "X-Request-Id Location Content-Location ETag Preference-Applied "
                     "Idempotent-Replayed"
                   : "X-Request-Id Location";
    }
    if (route->flags & ROUTE_LIST) {
        return strstr(route->template, "/events") ? "X-Request-Id Link Last-Event-ID"
                                                  : "X-Request-Id Link";
    }
    return strstr(route->answers, "304") ? "X-Request-Id ETag" : "X-Request-Id";
}

/* "{Kind}List" with the name of the route's kind; malloc'ed. */
static char *expand(const char *pattern, size_t length, const struct kind *kind)
{
    struct text text = {0};
    CLEANUP_FREE char *one = kind ? openapi_type_name(kind->name) : NULL;
    CLEANUP_FREE char *many = kind ? openapi_type_name(kind->plural) : NULL;
    for (size_t i = 0; i < length;) {
        if (strncmp(pattern + i, "{Kind}", 6) == 0) {
            text_add(&text, one);
            i += 6;
        } else if (strncmp(pattern + i, "{Kinds}", 7) == 0) {
            text_add(&text, many);
            i += 7;
        } else {
            text_add_char(&text, pattern[i++]);
        }
    }
    return text_take(&text);
}

static json_t *success(const struct route_entry *entry, int status, const char *schema)
{
    json_t *response = json_pack("{s:s}", "description", success_words(status));
    add_headers(response, success_headers(entry->route, status));
    if (strcmp(schema, "MetricsText") == 0) {
        json_object_set_new(response, "content",
                            json_pack("{s:{s:{s:s}}}", "text/plain", "schema", "type", "string"));
    } else if (strcmp(schema, "EventStream") == 0) {
        json_object_set_new(
            response, "content",
            json_pack("{s:{s:{s:s}}}", "text/event-stream", "schema", "type", "string"));
    } else if (*schema != '\0') {
        json_object_set_new(
            response, "content",
            json_pack("{s:{s:o}}", CONTENT_JSON, "schema", reference("schemas", schema)));
    }
    return response;
}

static void add_problem(json_t *responses, int status)
{
    char name[32], key[16];
    snprintf(name, sizeof(name), "Problem%d", status);
    snprintf(key, sizeof(key), "%d", status);
    if (json_object_get(responses, key) == NULL) {
        json_object_set_new(responses, key, reference("responses", name));
    }
}

/* Of all actions only a server's snapshot makes something. */
#define SNAPSHOT_ANSWER "201:Image"

static json_t *make_responses(const struct route_entry *entry)
{
    static const int everywhere[] = {400, 401, 403, 406, 414, 429, 431, 500, 503};
    json_t *responses = json_object();
    for (const char *word = entry->route->answers; *word != '\0';) {
        size_t length = strcspn(word, " ");
        if (strncmp(word, SNAPSHOT_ANSWER, length) == 0 &&
            strcmp(entry->kind->name, "server") != 0) {
            word += length + (word[length] == ' ');
            continue;
        }
        int status = atoi(word);
        CLEANUP_FREE char *schema =
            length > 4 ? expand(word + 4, length - 4, entry->kind) : text_duplicate("");
        if (status < 400 || *schema != '\0') {
            char key[16];
            snprintf(key, sizeof(key), "%d", status);
            json_object_set_new(responses, key, success(entry, status, schema));
        } else {
            add_problem(responses, status);
        }
        word += length + (word[length] == ' ');
    }
    for (size_t i = 0; i < sizeof(everywhere) / sizeof(everywhere[0]); i++) {
        bool access = everywhere[i] == 401 || everywhere[i] == 403 || everywhere[i] == 406;
        if (!(access && (entry->route->flags & ROUTE_PUBLIC))) {
            add_problem(responses, everywhere[i]);
        }
    }
    if (entry->route->flags & (ROUTE_BODY | ROUTE_SPOOL | ROUTE_EMPTY)) {
        add_problem(responses, 413);
    }
    return responses;
}

/* --- Operations ------------------------------------------------------------------------------ */

static void add_filters(json_t *list, const struct field *fields, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fields[i].type == FIELD_TEXTS || (fields[i].flags & FIELD_HIDDEN)) {
            continue;
        }
        CLEANUP_FREE char *help = text_format("Only where this is equal. %s", fields[i].help);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:{s:s}}", "name", fields[i].name, "in",
                                        "query", "description", help, "schema", "type", "string"));
    }
}

/* The kind whose resources a list shows, or NULL. */
static const struct kind *listed_kind(const struct route_entry *entry)
{
    return strstr(entry->template, "/{id}/interfaces") ? kind_by_name("port")
           : strstr(entry->template, "/{id}/volumes")  ? kind_by_name("volume")
                                                       : entry->kind;
}

static void add_list_parameters(json_t *list, const struct route_entry *entry)
{
    static const char *const names[] = {"limit", "page_token",    "filter",
                                        "sort",  "changed_since", "fields"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_array_append_new(list, reference("parameters", names[i]));
    }
    struct vocabulary vocabulary = strstr(entry->template, "/tasks")     ? vocabulary_tasks
                                   : strstr(entry->template, "/tokens")  ? vocabulary_tokens
                                   : strstr(entry->template, "/subscr")  ? vocabulary_subscriptions
                                   : strstr(entry->template, "/dead-l")  ? vocabulary_dead_letters
                                   : strstr(entry->template, "/orphans") ? vocabulary_orphans
                                   : strstr(entry->template, "/drift")   ? vocabulary_drift
                                   : strstr(entry->template, "/events")  ? vocabulary_events
                                   : strstr(entry->template, "/decis")   ? vocabulary_decisions
                                   : strstr(entry->template, "/v1/serv") ? vocabulary_scaling
                                                                         : vocabulary_vims;
    const struct kind *kind = listed_kind(entry);
    if (kind) {
        vocabulary = vocabulary_of_kind(kind);
        json_array_append_new(list, reference("parameters", "label"));
    }
    add_filters(list, vocabulary.parts[0].fields, vocabulary.parts[0].count);
    add_filters(list, vocabulary.parts[1].fields, vocabulary.parts[1].count);
}

static json_t *make_parameters(const struct route_entry *entry)
{
    const struct route *route = entry->route;
    json_t *list = json_array();
    if (strstr(entry->template, "{id}")) {
        json_array_append_new(list, reference("parameters", "id"));
    }
    if (strstr(entry->template, "{decision}")) {
        json_array_append_new(list, reference("parameters", "decision"));
    }
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (text_has_word(route->query, parameters[i].name)) {
            json_array_append_new(list, reference("parameters", parameters[i].name));
        }
    }
    if (route->flags & ROUTE_LIST) {
        add_list_parameters(list, entry);
    }
    if (strstr(route->answers, "EventStream")) {
        json_array_append_new(list, reference("parameters", "Last-Event-ID"));
    }
    if (route->flags & ROUTE_TASK) {
        json_array_append_new(list, reference("parameters", "Prefer"));
        json_array_append_new(list, reference("parameters", "Idempotency-Key"));
        if (strstr(entry->template, "{id}")) {
            json_array_append_new(list, reference("parameters", "If-Match"));
        }
    }
    if (strstr(route->answers, "304")) {
        json_array_append_new(list, reference("parameters", "If-None-Match"));
    }
    json_array_append_new(list, reference("parameters", "X-Request-Id"));
    return list;
}

static json_t *make_request(const struct route_entry *entry)
{
    const char *pattern = entry->route->request;
    if (strcmp(pattern, "Data") == 0) {
        return json_pack("{s:b, s:{s:{}}}", "required", 1, "content", "application/octet-stream");
    }
    CLEANUP_FREE char *schema = expand(pattern, strlen(pattern), entry->kind);
    json_t *content = json_pack("{s:{s:o}}", CONTENT_JSON, "schema", reference("schemas", schema));
    if (strcmp(entry->route->method, "PATCH") == 0) {
        json_object_set(content, "application/merge-patch+json",
                        json_object_get(content, CONTENT_JSON));
    }
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

static const char *tag_of(const struct route_entry *entry)
{
    if (entry->kind) {
        return entry->kind->plural;
    }
    static const char *const areas[] = {"vims",         "tasks",  "events",  "subscriptions",
                                        "dead-letters", "tokens", "servers", "network-services",
                                        "orphans",      "drift"};
    for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
        if (strncmp(entry->template + strlen("/v1/"), areas[i], strlen(areas[i])) == 0) {
            return areas[i];
        }
    }
    return "meta";
}

static json_t *make_operation(const struct route_entry *entry)
{
    const struct route *route = entry->route;
    CLEANUP_FREE char *id = expand(route->operation, strlen(route->operation), entry->kind);
    json_t *operation = json_pack("{s:s, s:s, s:[s]}", "operationId", id, "summary", route->summary,
                                  "tags", tag_of(entry));
    if (route->flags & ROUTE_PUBLIC) {
        json_object_set_new(operation, "security", json_array());
    } else {
        CLEANUP_FREE char *role = text_format("Needs the role %s.", role_name(route->role));
        json_set_text(operation, "description", role);
    }
    json_object_set_new(operation, "parameters", make_parameters(entry));
    if (route->request) {
        json_object_set_new(operation, "requestBody", make_request(entry));
    }
    json_object_set_new(operation, "responses", make_responses(entry));
    return operation;
}

static json_t *make_paths(void)
{
    struct route_table *table = routes_new();
    json_t *paths = json_object();
    for (size_t i = 0; i < table->count; i++) {
        const struct route_entry *entry = &table->entries[i];
        char method[16] = {0};
        for (size_t c = 0; entry->route->method[c] != '\0' && c < sizeof(method) - 1; c++) {
            method[c] = (char)(entry->route->method[c] | 0x20);
        }
        json_t *path = json_object_get(paths, entry->template);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, entry->template, path);
        }
        json_object_set_new(path, method, make_operation(entry));
    }
    routes_free(table);
    return paths;
}

char *openapi_text(const char *server_url, bool pretty)
{
    CLEANUP_JSON json_t *document = json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:[{s:[]}], s:o}", "openapi", "3.1.0", "info", "title",
        "vimd", "version", VIMD_VERSION, "description",
        "A Virtualised Infrastructure Manager. HEAD answers as GET without a body, OPTIONS with "
        "the methods of a path. Conventions: docs/rest-api.md.",
        "servers", "url", server_url ? server_url : "/", "security", "token", "paths",
        make_paths());
    json_t *components = json_pack(
        "{s:o, s:o, s:o, s:o, s:{s:{s:s, s:s, s:s}}}", "schemas", openapi_schemas(), "parameters",
        components_parameters(), "headers", components_headers(), "responses",
        components_responses(), "securitySchemes", "token", "type", "http", "scheme", "bearer",
        "description", "vimd_..., as `vimd token create` or POST /v1/tokens gives it.");
    json_object_set_new(document, "components", components);
    return json_dumps(document, pretty ? JSON_INDENT(2) : JSON_COMPACT);
}
