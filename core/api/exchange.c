#include "api/exchange.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/clock.h"
#include "base/integral.h"
#include "base/log.h"
#include "base/cleanup.h"
#include "base/memory.h"

#define BLOCK_SIZE 8192

struct arena_block {
    struct arena_block *next;
    char bytes[];
};

static void arena_init(struct arena *arena)
{
    arena->blocks = NULL;
    arena->next = arena->first;
    arena->left = sizeof arena->first;
}

static void arena_clear(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block;) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena_init(arena);
}

static char *arena_take(struct arena *arena, size_t size)
{
    if (size > arena->left) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct arena_block *block = memory_resize(NULL, 1, sizeof *block + room);
        block->next = arena->blocks;
        arena->blocks = block;
        arena->next = block->bytes;
        arena->left = room;
    }
    char *taken = arena->next;
    arena->next += size;
    arena->left -= size;
    return taken;
}

char *exchange_text(struct exchange *exchange, const char *text, size_t length)
{
    char *copy = arena_take(&exchange->arena, length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* Everything but the arena, which is large and needs no zeroes. */
static void exchange_clear(struct exchange *exchange)
{
    memset(exchange, 0, offsetof(struct exchange, target));
    exchange->target.path = NULL;
    exchange->target.query_count = 0;
    memset(&exchange->route, 0,
           offsetof(struct exchange, headers) - offsetof(struct exchange, route));
    memset(&exchange->request, 0,
           offsetof(struct exchange, arena) - offsetof(struct exchange, request));
    atomic_init(&exchange->references, 1);
    atomic_init(&exchange->state, EXCHANGE_READING);
    atomic_init(&exchange->claimed, false);
    atomic_init(&exchange->unattended, false);
    atomic_init(&exchange->asking, ASK_NONE);
    atomic_init(&exchange->asked, false);
    exchange->content_length = -1;
    spool_init(&exchange->body);
}

/* --- Spares of the network threads: a thread that has the answers of one connection after the other to
 * make uses the same memory for all of them --------------------------------------------------------- */

#define SPARES_MAX 32

struct spares {
    unsigned count;
    struct exchange *exchanges[SPARES_MAX];
};

static pthread_key_t spares_key;
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;
static _Thread_local struct spares *spares_own; /* what the key has, without a call */

/* The thread ends. */
static void spares_free(void *argument)
{
    struct spares *spares = argument;
    while (spares->count > 0) {
        exchange_free(spares->exchanges[--spares->count]);
    }
    free(spares);
    spares_own = NULL;
}

static void spares_init(void)
{
    int error = pthread_key_create(&spares_key, spares_free);
    assert(error == 0);
    (void)error;
}

struct exchange *exchange_new(void)
{
    struct spares *spares = spares_own;
    struct exchange *exchange;
    if (spares && spares->count > 0) {
        exchange = spares->exchanges[--spares->count];
    } else {
        exchange = memory_resize(NULL, 1, sizeof *exchange);
        arena_init(&exchange->arena);
    }
    exchange_clear(exchange);
    return exchange;
}

void exchange_recycle(struct exchange *exchange)
{
    if (!spares_own) {
        pthread_once(&spares_once, spares_init);
        spares_own = MEMORY_NEW(struct spares);
        pthread_setspecific(spares_key, spares_own);
    }
    if (spares_own->count == SPARES_MAX) {
        exchange_free(exchange);
        return;
    }
    spool_free(&exchange->body, false);
    free(TAKE(exchange->answer.body));
    arena_clear(&exchange->arena);
    spares_own->exchanges[spares_own->count++] = exchange;
}

void exchange_hold(struct exchange *exchange)
{
    atomic_fetch_add(&exchange->references, 1);
}

bool exchange_drop(struct exchange *exchange)
{
    return atomic_fetch_sub(&exchange->references, 1) == 1;
}

void exchange_free(struct exchange *exchange)
{
    if (!exchange) {
        return;
    }
    spool_free(&exchange->body, false);
    free(exchange->answer.body);
    arena_clear(&exchange->arena);
    free(exchange);
}

static void answer_add(struct exchange *exchange, const char *name, const char *value)
{
    struct answer *answer = &exchange->answer;
    if (answer->header_count < ANSWER_HEADERS) {
        answer->headers[answer->header_count++] =
            (struct header){.name = exchange_text(exchange, name, strlen(name)),
                            .value = exchange_text(exchange, value, strlen(value))};
    }
}

/* Takes RESPONSE over as the answer. Only for who set `claimed`. */
static void exchange_answer(struct exchange *exchange, struct response *response)
{
    struct answer *answer = &exchange->answer;
    answer->status = response->status;
    const char *type = response->content_type;
    answer->content_type = type ? exchange_text(exchange, type, strlen(type)) : NULL;
    for (size_t i = 0; i < response->header_count; i++) {
        answer_add(exchange, response->headers[i].name, response->headers[i].value);
    }
    answer->body = response->body;
    answer->body_length = response->body ? response->body_length : 0;
    answer->refused = response->refused;
    response->body = NULL;
}

static bool answer_has(const struct answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcasecmp(answer->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void exchange_problem(struct exchange *exchange, int status, const char *code,
                             const char *detail, uint32_t retry_after_ms)
{
    struct response response = {0};
    bool retryable = status == 408 || status == 429 || status >= 502;
    logic_problem(status, code, detail, exchange->request_id, retryable, retry_after_ms, &response);
    exchange_answer(exchange, &response);
    if (retry_after_ms && !answer_has(&exchange->answer, "Retry-After")) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", (retry_after_ms + 999) / 1000);
        answer_add(exchange, "Retry-After", seconds);
    }
    if (status == 401 && !answer_has(&exchange->answer, "WWW-Authenticate")) {
        answer_add(exchange, "WWW-Authenticate", "Bearer realm=\"vimd\"");
    }
}

void exchange_refuse(struct exchange *exchange, int status, const char *code, const char *detail,
                     uint32_t retry_after_ms)
{
    if (!atomic_exchange(&exchange->claimed, true)) {
        exchange_problem(exchange, status, code, detail, retry_after_ms);
        exchange->answer.refused = true;
        atomic_store(&exchange->state, EXCHANGE_ANSWERED);
    }
}

void exchange_overrule(struct exchange *exchange, int status, const char *code, const char *detail,
                       uint32_t retry_after_ms)
{
    free(exchange->answer.body);
    exchange->answer = (struct answer){0};
    exchange_problem(exchange, status, code, detail, retry_after_ms);
}

static void exchange_publish(struct exchange *exchange)
{
    if (exchange->on_link) {
        integral_end(API_TO_LOGIC, clock_mono_us());
    }
    if (atomic_exchange(&exchange->state, EXCHANGE_ANSWERED) == EXCHANGE_WAITING) {
        http_resume(exchange);
    }
}

void exchange_respond(void *argument, struct response *response)
{
    struct exchange *exchange = argument;
    /* Decided by what the logic did, not by what the client was told: after a 504 the upload may
     * well have been accepted. */
    if (exchange->spooled) {
        spool_free(&exchange->body, response->status < 400);
    }
    if (!atomic_exchange(&exchange->claimed, true)) {
        exchange_answer(exchange, response);
        exchange_publish(exchange);
    }
    if (exchange_drop(exchange)) {
        exchange_free(exchange);
    }
}

static void exchange_ask_end(struct exchange *exchange, int code, const struct principal *principal)
{
    if (atomic_exchange(&exchange->asked, true)) {
        return;
    }
    exchange->ask_code = code;
    if (code == VIM_OK) {
        exchange->principal = *principal;
    }
    if (atomic_exchange(&exchange->asking, ASK_DONE) == ASK_WAITING) {
        http_resume(exchange);
    }
}

void exchange_learn(void *argument, int code, const struct principal *principal,
                    const struct failure *failure)
{
    struct exchange *exchange = argument;
    if (code && code != VIM_E_CREDENTIAL) {
        log_event(VIM_ERROR, "a token could not be looked up", "request=%s error=%s",
                  exchange->request_id, failure->text);
    }
    exchange_ask_end(exchange, code, principal);
    if (exchange_drop(exchange)) {
        exchange_free(exchange);
    }
}

void exchange_forget(struct exchange *exchange)
{
    exchange_ask_end(exchange, VIM_E_TIMEOUT, NULL);
}

void exchange_give_up(struct exchange *exchange, int status, const char *code, const char *detail)
{
    if (!atomic_exchange(&exchange->claimed, true)) {
        exchange_problem(exchange, status, code, detail, status == 503 ? 1000 : 0);
        exchange_publish(exchange);
    }
}
