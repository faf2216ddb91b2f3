/*
 * logic/meta.c - about vimd itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/text.h"
#include "logic/prefer.h"
#include "logic/route.h"

void meta_health(struct call *call)
{
    json_t *shown = json_object();
    json_set_text(shown, "status", "ok");
    logic_send_json(call, shown);
}

void meta_ready(struct call *call)
{
    const struct logic_environment *environment = &call->logic->environment;
    struct answer answer;
    char *detail = NULL;
    int code = environment->ready ? environment->ready(environment->argument, &detail) : VIM_OK;
    json_t *shown = json_object();
    json_t *facts = NULL;
    answer_init(&answer, code == VIM_OK ? 200 : 503);
    json_set_text(shown, "status", code == VIM_OK ? "ready" : "not ready");
    if (detail && json_parse(detail, strlen(detail), NULL, &facts, NULL) == VIM_OK) {
        json_object_set_new(shown, "detail", facts);
    }
    free(detail);
    if (code != VIM_OK) {
        answer_header(&answer, "Retry-After", "1");
    }
    answer_json(&answer, shown);
    logic_send(call, &answer);
}

void meta_metrics(struct call *call)
{
    const struct logic_environment *environment = &call->logic->environment;
    struct answer answer;
    struct text text = {0};
    if (environment->metrics) {
        char *rendered = environment->metrics(environment->argument);
        text_add(&text, rendered);
        free(rendered);
    } else {
        metrics_render(&text);
    }
    size_t length = text.length;
    answer_init(&answer, 200);
    answer_body(&answer, "text/plain; version=0.0.4; charset=utf-8", text_take(&text), length);
    logic_send(call, &answer);
}

void meta_openapi(struct call *call)
{
    const struct logic *logic = call->logic;
    struct answer answer;
    const char *known = logic_header(call, "if-none-match");
    if (known && strcmp(known, logic->openapi_etag) == 0) {
        answer_init(&answer, 304);
    } else {
        answer_init(&answer, 200);
        answer_body(&answer, CONTENT_JSON,
                    text_duplicate_bytes(logic->openapi, logic->openapi_length),
                    logic->openapi_length);
    }
    answer_header(&answer, "ETag", logic->openapi_etag);
    logic_send(call, &answer);
}

void meta_version(struct call *call)
{
    char abi[32];
    snprintf(abi, sizeof(abi), "%u.%u", VIM_ABI_MAJOR, VIM_ABI_MINOR);
    json_t *shown = json_object();
    json_set_text(shown, "name", "vimd");
    json_set_text(shown, "version", VIMD_VERSION);
    json_set_text(shown, "api", "v1");
    json_set_text(shown, "plugin_abi", abi);
    logic_send_json(call, shown);
}

void meta_whoami(struct call *call)
{
    const struct principal *principal = call->principal;
    char time[CLOCK_TEXT_SIZE];
    json_t *shown = json_object();
    json_set_text(shown, "token", principal->token_id);
    json_set_text(shown, "name", principal->name);
    json_set_text(shown, "project", principal->project);
    json_set_text(shown, "role", role_name(principal->role));
    if (principal->expires != 0) {
        json_set_text(shown, "expires", clock_format_rfc3339(principal->expires, time));
    }
    logic_send_json(call, shown);
}

void meta_plugins(struct call *call)
{
    const struct logic_environment *environment = &call->logic->environment;
    json_t *list = environment->plugins ? environment->plugins(environment->argument) : NULL;
    json_t *shown = json_object();
    json_object_set_new(shown, "plugins", list ? list : json_array());
    logic_send_json(call, shown);
}
