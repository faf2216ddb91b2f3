/*
 * logic/respond.c - looking into a request, and building its answer.
 */
#include "logic/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/integral.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"

struct call *logic_keep(const struct call *call)
{
    if (call->kept) {
        return (struct call *)(uintptr_t)call;
    }
    struct call *kept = memory_copy(call, sizeof(*call));
    kept->kept = true;
    return kept;
}

static const char *find(const struct header *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, name) == 0) {
            return pairs[i].value;
        }
    }
    return NULL;
}

const char *logic_header(const struct call *call, const char *name)
{
    return find(call->request->headers, call->request->header_count, name);
}

const char *logic_query(const struct call *call, const char *name)
{
    return find(call->request->query, call->request->query_count, name);
}

bool logic_query_flag(struct call *call, const char *name, bool *ret_ok)
{
    const char *value = logic_query(call, name);
    *ret_ok = true;
    if (value == NULL || strcmp(value, "false") == 0) {
        return false;
    }
    if (strcmp(value, "true") == 0) {
        return true;
    }
    *ret_ok = false;
    struct findings findings = {0};
    char pointer[64];
    snprintf(pointer, sizeof(pointer), "?%s", name);
    findings_add(&findings, pointer, "must be true or false");
    logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
    return false;
}

int64_t logic_left_ms(const struct call *call)
{
    int64_t left = call->request->deadline - clock_mono_ms();
    return left > 0 ? left : 0;
}

void answer_init(struct answer *answer, int status)
{
    answer->response = (struct response){.status = status, .headers = answer->headers};
    answer->used = 0;
    answer->large_count = 0;
}

void answer_header(struct answer *answer, const char *name, const char *value)
{
    assert(answer->response.header_count < ANSWER_HEADERS);
    size_t size = strlen(value) + 1;
    const char *copy;
    if (size <= sizeof(answer->arena) - answer->used) {
        copy = memcpy(answer->arena + answer->used, value, size);
        answer->used += size;
    } else {
        assert(answer->large_count < sizeof(answer->large) / sizeof(answer->large[0]));
        copy = answer->large[answer->large_count++] = text_duplicate(value);
    }
    answer->headers[answer->response.header_count++] = (struct header){.name = name, .value = copy};
}

void answer_body(struct answer *answer, const char *content_type, char *body, size_t length)
{
    answer->response.content_type = content_type;
    answer->response.body = body;
    answer->response.body_length = length;
}

void answer_json(struct answer *answer, json_t *json)
{
    struct text text = {0};
    json_print_to(&text, json);
    json_decref(json);
    size_t length = text.length;
    answer_body(answer, CONTENT_JSON, text_take(&text), length);
}

void answer_etag(struct answer *answer, uint64_t revision)
{
    char value[32];
    char *at = value + sizeof(value);
    *--at = '\0';
    *--at = '"';
    do {
        *--at = (char)('0' + revision % 10);
        revision /= 10;
    } while (revision > 0);
    *--at = '"';
    answer_header(answer, "ETag", at);
}

void logic_send(struct call *call, struct answer *answer)
{
    const struct logic *logic = call->logic;
    /* What peers ask for themselves, like how this process is, is no work that clients brought. */
    if (!call->request->peer) {
        call->ended_us = clock_mono_us();
        integral_end(IN_LOGIC, call->ended_us);
        metric_observe(call->waited ? logic->wait_seconds : logic->seconds,
                       (double)(call->ended_us - call->started_us) / 1e6);
    }
    call->respond(call->argument, &answer->response);
    free(answer->response.body);
    for (size_t i = 0; i < answer->large_count; i++) {
        free(answer->large[i]);
    }
    if (call->kept) {
        free(call);
    }
}

void logic_send_json(struct call *call, json_t *json)
{
    struct answer answer;
    answer_init(&answer, 200);
    answer_json(&answer, json);
    logic_send(call, &answer);
}
