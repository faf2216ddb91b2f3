/*
 * What is decided about a request before any of its body is read.
 */
#include "api/internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "logic/principal.h"

#define HEADERS_MAX 100
#define HEADERS_IGNORED_MAX (64 << 10)

/* For the look-up of a token's owner. */
#define ASK_TIMEOUT_MS 5000

/* The most that a peer may give a request: longer than anybody waits. */
#define PEER_LEFT_MAX_MS 3600000

/* Two of these would leave open which one counts. */
static const char *const headers_single[] = {
    "authorization", "content-length", "content-type", "host",           "idempotency-key",
    "if-match",      "if-none-match",  "x-request-id", "vimd-principal", "vimd-left",
};

static void headers_fail(struct headers *headers, int status, const char *fault)
{
    if (!headers->status) {
        headers->status = status;
        headers->fault = fault;
    }
}

#define EACH_BYTE(byte) (0x0101010101010101u * (byte))

/* Is one of eight bytes below 0x20, or 0x7f? Right for bytes below 0x80; says yes for some above. */
static bool headers_suspicious(const char *value)
{
    uint64_t word;
    memcpy(&word, value, sizeof word);
    uint64_t low = (word - EACH_BYTE(0x20)) & ~word;
    uint64_t delete = ((word ^ EACH_BYTE(0x7f)) - EACH_BYTE(0x01));
    return (low | delete | word) & EACH_BYTE(0x80);
}

static bool headers_value_is_clean(const char *value, size_t size)
{
    size_t i = 0;
    while (i + sizeof(uint64_t) <= size && !headers_suspicious(value + i)) {
        i += sizeof(uint64_t);
    }
    for (; i < size; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* The name of a header is a token (RFC 9110, 5.6.2). "Content-Length : 5" is a length to one reader and none
 * to another, and so what follows is a body to the one and a request to the other. */
static bool headers_name_is_clean(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c)) {
            return false;
        }
    }
    return size > 0;
}

static const char **headers_place(struct headers *headers, const char *name)
{
    switch (name[0]) {
    case 'a':
        return strcmp(name, "authorization") == 0 ? &headers->authorization : NULL;
    case 'c':
        return strcmp(name, "content-length") == 0     ? &headers->content_length
               : strcmp(name, "content-encoding") == 0 ? &headers->content_encoding
                                                       : NULL;
    case 'h':
        return strcmp(name, "host") == 0 ? &headers->host : NULL;
    case 'v':
        return strcmp(name, "vimd-principal") == 0 ? &headers->principal
               : strcmp(name, "vimd-left") == 0    ? &headers->left_ms
                                                   : NULL;
    case 't':
        return strcmp(name, "transfer-encoding") == 0 ? &headers->transfer_encoding : NULL;
    case 'x':
        return strcmp(name, "x-request-id") == 0 ? &headers->request_id : NULL;
    default:
        return NULL;
    }
}

static bool headers_have(const struct exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->request.header_count; i++) {
        if (strcmp(exchange->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool headers_is_single(const char *name)
{
    for (size_t i = 0; i < sizeof headers_single / sizeof headers_single[0]; i++) {
        if (strcmp(name, headers_single[i]) == 0) {
            return true;
        }
    }
    return false;
}

void headers_take(struct headers *headers, struct exchange *exchange, const char *name,
                  size_t name_size, const char *value, size_t value_size)
{
    headers->size += name_size + value_size + 4;
    if (headers->size > exchange->api->header_max || ++headers->count > HEADERS_MAX) {
        headers_fail(headers, 431, "the headers are too large or too many");
        return;
    }
    if (!headers_name_is_clean(name, name_size)) {
        exchange->must_close = true;
        headers_fail(headers, 400, "a header has characters in its name that names do not have");
        return;
    }
    char lower[64];
    if (name_size >= sizeof lower) {
        return; /* none that matters has such a name */
    }
    for (size_t i = 0; i <= name_size; i++) {
        char letter = i == name_size ? '\0' : name[i];
        lower[i] = (char)(letter >= 'A' && letter <= 'Z' ? letter | 0x20 : letter);
    }
    const char **place = headers_place(headers, lower);
    bool wanted = logic_wants_header(lower);
    if (!place && !wanted) {
        if (strcmp(lower, "expect") == 0) {
            headers->expects_continue = true;
        }
        return;
    }
    if (!value) {
        value = "";
    }
    if (!headers_value_is_clean(value, value_size)) {
        headers_fail(headers, 400, "a header has control characters in its value");
        return;
    }
    if (((place && *place) || (wanted && headers_have(exchange, lower))) &&
        headers_is_single(lower)) {
        headers_fail(headers, 400, "a header that may be given once is there twice");
        return;
    }
    if (place) {
        *place = value;
        if (place == &headers->authorization) {
            headers->authorization_size = value_size;
        }
    }
    if (wanted) {
        if (exchange->request.header_count == EXCHANGE_HEADERS) {
            headers_fail(headers, 431, "too many headers");
            return;
        }
        exchange->headers[exchange->request.header_count++] =
            (struct header){.name = exchange_text(exchange, lower, name_size),
                            .value = exchange_text(exchange, value, value_size)};
    }
}

/* Unique in the process. Threads take them by the thousand, so that they do not wait for each other. */
static uint64_t headers_number(void)
{
    static atomic_uint_fast64_t given;
    static _Thread_local uint64_t next, end;
    if (next == end) {
        next = atomic_fetch_add_explicit(&given, 1024, memory_order_relaxed);
        end = next + 1024;
    }
    return next++;
}

/* The client's request id if it is sane, else one of ours. */
static void headers_request_id(struct exchange *exchange, const char *given)
{
    size_t length = given ? strlen(given) : 0;
    size_t good = given ? strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789._-")
                        : 0;
    if (length > 0 && length == good && length < REQUEST_ID_SIZE) {
        memcpy(exchange->request_id, given, length + 1);
        return;
    }
    uint64_t number = headers_number();
    size_t prefix = strlen(exchange->api->id_prefix);
    memcpy(exchange->request_id, exchange->api->id_prefix, prefix);
    char *out = exchange->request_id + prefix;
    *out++ = '-';
    for (int shift = 44; shift >= 0; shift -= 4) {
        *out++ = "0123456789abcdef"[number >> shift & 15];
    }
    *out = '\0';
}

/* How long the body is. Both ways of telling it at once, or an encoding that is not known, are how
 * requests are smuggled past proxies. */
static void headers_body(struct headers *headers, struct exchange *exchange)
{
    if (headers->transfer_encoding) {
        exchange->has_body = true;
        exchange->must_close = strcasecmp(headers->transfer_encoding, "chunked") != 0;
        if (exchange->must_close) {
            headers_fail(headers, 501, "a transfer encoding other than chunked");
        } else if (headers->content_length) {
            exchange->must_close = true;
            headers_fail(headers, 400, "both Content-Length and Transfer-Encoding");
        }
        return;
    }
    if (!headers->content_length) {
        exchange->content_length = 0;
        return;
    }
    const char *text = headers->content_length;
    long long length = -1;
    if (text[0] < '0' || text[0] > '9' || text_to_integer(text, &length) || length < 0) {
        exchange->has_body = true;
        exchange->must_close = true;
        headers_fail(headers, 400, "Content-Length is not a length");
        return;
    }
    exchange->content_length = length;
    exchange->has_body = length > 0;
}

/* A method that is not known is "other", so that metrics have few labels; the logic tells what is
 * offered instead. */
static void headers_method(const char *method, char ret_method[8])
{
    static const char *const known[] = {"GET", "POST", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(method, known[i]) == 0) {
            memcpy(ret_method, known[i], strlen(known[i]) + 1);
            return;
        }
    }
    memcpy(ret_method, "other", 6);
}

/* Blanks behind a value are no part of it (RFC 9110, 5.5), and libmicrohttpd leaves them there. */
static const char *headers_bearer(struct exchange *exchange, const char *authorization)
{
    if (!authorization || strncasecmp(authorization, "bearer ", 7) != 0) {
        return NULL;
    }
    const char *token = authorization + 7;
    while (*token == ' ') {
        token++;
    }
    size_t length = strlen(token);
    size_t end = length;
    while (end > 0 && (token[end - 1] == ' ' || token[end - 1] == '\t')) {
        end--;
    }
    if (end < length) {
        token = exchange_text(exchange, token, end);
        length = end;
    }
    return length > 0 && length <= ACCESS_TOKEN_MAX && !strpbrk(token, " \t,") ? token : NULL;
}

/* What was sent is letter for letter what the connection remembers, and still good. */
static bool headers_remembered(struct exchange *exchange, const struct headers *headers,
                               int64_t now_ms)
{
    const struct connection *connection = exchange->connection;
    const struct principal *principal = &connection->principal;
    return headers->authorization && connection->principal_until > now_ms &&
           headers->authorization_size == 7 + connection->token_size &&
           digest_equal(headers->authorization + 7, connection->token, connection->token_size) &&
           strncasecmp(headers->authorization, "bearer ", 7) == 0 &&
           (principal->expires == 0 || principal->expires > clock_now_ms());
}

/* Whose token it is, if that was asked lately. */
static int headers_principal(struct exchange *exchange, const char *token, int64_t now_ms,
                             uint32_t *ret_wait_ms)
{
    int code = access_principal(exchange->api->access, token, exchange->connection->address, now_ms,
                                &exchange->ask_key, &exchange->principal, ret_wait_ms);
    exchange->token =
        code == VIM_OK || code == VIM_AGAIN ? exchange_text(exchange, token, strlen(token)) : NULL;
    return code;
}

/* From here to its completion a request is in progress. Returns how many were before. */
static unsigned headers_count(struct exchange *exchange)
{
    if (exchange->counted) {
        return atomic_load(&exchange->api->in_flight) - 1;
    }
    exchange->counted = true;
    return atomic_fetch_add(&exchange->api->in_flight, 1);
}

/* Has the link look for the token's owner. */
static void headers_ask(struct exchange *exchange, int64_t now_ms)
{
    headers_count(exchange);
    exchange->deadline = now_ms + ASK_TIMEOUT_MS;
    atomic_store(&exchange->asking, ASK_CALLED);
    exchange_hold(exchange); /* for exchange_learn() */
    lookups_ask(exchange->api->lookups, exchange->api->link, exchange->token,
                exchange->ask_key.digest, exchange_learn, exchange);
}

/* The principal is known: what the connection remembers of it, and how often it may ask. */
static void headers_known(struct exchange *exchange, int64_t now_ms)
{
    struct connection *connection = exchange->connection;
    if (exchange->token) {
        /* Half of the cache's time, so that both together stay below twice of it. */
        connection->principal_until = now_ms + ACCESS_TTL_MS / 2;
        connection->principal = exchange->principal;
        connection->token_size = strlen(exchange->token);
        memcpy(connection->token, exchange->token, connection->token_size + 1);
    }
    exchange->request.principal = &exchange->principal;
    struct api_live *live = &exchange->api->live;
    int64_t rate = atomic_load_explicit(&live->rate, memory_order_relaxed);
    if (rate > 0) {
        const char *id = exchange->principal.token_id;
        uint32_t wait = buckets_take(exchange->api->rates, id, strlen(id), (double)rate,
                                     (double)atomic_load(&live->rate_burst), 1, now_ms);
        if (wait) {
            exchange_refuse(exchange, 429, "rate-limited", "this token asks too often", wait);
        }
    }
}

static void headers_unknown(struct exchange *exchange, int code, uint32_t wait_ms)
{
    if (code == VIM_E_CREDENTIAL) {
        exchange_refuse(exchange, 401, "unauthenticated",
                        "the token is unknown, expired or revoked", 0);
    } else if (code == VIM_E_BUSY && wait_ms) {
        exchange_refuse(exchange, 429, "rate-limited", "too many bad tokens came from this address",
                        wait_ms);
    } else {
        exchange_refuse(exchange, 503, "unavailable", "the token cannot be looked up now", 1000);
    }
}

/* Leaves the exchange with a principal, answered with a refusal, or (true) asking. */
static bool headers_authenticate(struct headers *headers, struct exchange *exchange, int64_t now_ms)
{
    if (headers_remembered(exchange, headers, now_ms)) {
        exchange->principal = exchange->connection->principal;
        headers_known(exchange, now_ms);
        return false;
    }
    const char *token = headers_bearer(exchange, headers->authorization);
    if (!token) {
        exchange_refuse(exchange, 401, "unauthenticated",
                        "this needs a header Authorization: Bearer TOKEN", 0);
        return false;
    }
    uint32_t wait = 0;
    int code = headers_principal(exchange, token, now_ms, &wait);
    if (code == VIM_AGAIN) {
        headers_ask(exchange, now_ms);
        return true;
    }
    if (code) {
        headers_unknown(exchange, code, wait);
    } else {
        headers_known(exchange, now_ms);
    }
    return false;
}

/* A process of this service tells for whom it asks. */
static void headers_peer(struct headers *headers, struct exchange *exchange)
{
    const char *given = headers->authorization;
    long long left = 0;
    if (exchange->api->authority.length && exchange->connection->peer != PEER_KNOWN) {
        log_event(VIM_WARNING, "a peer has no certificate of the link's CA", "request=%s",
                  exchange->request_id);
        exchange_refuse(exchange, 401, "unauthenticated",
                        "the link needs a certificate of its own CA", 0);
        return;
    }
    if (!given || strncmp(given, PEER_SCHEME, strlen(PEER_SCHEME)) != 0 ||
        !secrets_know(exchange->api, given + strlen(PEER_SCHEME))) {
        log_event(VIM_WARNING, "a peer does not know the secret of the link", "request=%s",
                  exchange->request_id);
        exchange_refuse(exchange, 401, "unauthenticated", "the secret of the link is another one",
                        0);
        return;
    }
    if ((headers->left_ms &&
         (text_to_integer(headers->left_ms, &left) || left < 1 || left > PEER_LEFT_MAX_MS)) ||
        (headers->principal && principal_parse(headers->principal, &exchange->principal))) {
        exchange_refuse(exchange, 400, "malformed", "a header of the link is not understood", 0);
        return;
    }
    exchange->left_ms = left;
    exchange->request.peer = !headers->principal;
    exchange->request.principal = headers->principal ? &exchange->principal : NULL;
}

/* Who looks after the process: one of whom no token is asked, since no more is shown. */
static void headers_probe(struct exchange *exchange)
{
    const char *path = exchange->target.path;
    bool metrics = strcmp(path, "/metrics") == 0 && exchange->api->show_metrics;
    if (!metrics && strcmp(path, "/healthz") != 0 && strcmp(path, "/readyz") != 0) {
        exchange_refuse(
            exchange, 404, "not-found",
            "this listener answers /healthz and /readyz, and /metrics where the configuration has "
            "health: {metrics: true}",
            0);
    } else if (metrics) {
        exchange->principal = (struct principal){
            .token_id = "-", .name = "health check", .project = "-", .role = ROLE_READER};
        exchange->request.principal = &exchange->principal;
    }
}

static void headers_admit(struct exchange *exchange)
{
    struct api *api = exchange->api;
    unsigned before = headers_count(exchange);
    if (exchange->route.is_public || exchange->request.peer) {
        return;
    }
    if ((int64_t)before >= atomic_load_explicit(&api->live.in_flight, memory_order_relaxed)) {
        exchange_refuse(exchange, 503, "overloaded", "too many requests are in progress", 1000);
    }
}

/* What is left to be decided once the principal is known. */
static void headers_finish(struct exchange *exchange)
{
    if (atomic_load_explicit(&exchange->state, memory_order_relaxed) == EXCHANGE_ANSWERED) {
        return;
    }
    if (exchange->encoded) {
        exchange_refuse(exchange, 415, "unsupported-media-type",
                        "a body is taken as it is, without a Content-Encoding", 0);
        return;
    }
    /* A small body where none belongs is ignored, so that the logic can tell what is wrong. */
    int64_t most = exchange->route.body_max > 0 ? exchange->route.body_max : HEADERS_IGNORED_MAX;
    if (exchange->has_body && exchange->content_length > most) {
        exchange_refuse(exchange, 413, "too-large", "the body is larger than allowed here", 0);
        return;
    }
    headers_admit(exchange);
}

void headers_asked(struct exchange *exchange, int64_t now_ms)
{
    struct access *access = exchange->api->access;
    access_learn(access, &exchange->ask_key, exchange->ask_code, &exchange->principal, now_ms);
    bool is_unsure = exchange->ask_code && exchange->ask_code != VIM_E_CREDENTIAL;
    if (is_unsure && access_recall(access, &exchange->ask_key, now_ms, &exchange->principal)) {
        exchange->ask_code = VIM_OK;
    }
    if (exchange->ask_code) {
        headers_unknown(exchange, exchange->ask_code, 0);
    } else {
        headers_known(exchange, now_ms);
    }
    headers_finish(exchange);
}

/* Path and pairs, and the route they lead to. False if the request was refused. */
static bool headers_target(struct exchange *exchange)
{
    const char *why = "nothing in it";
    int target = VIM_E_INVALID;
    if (exchange->raw_target) {
        exchange->raw_target = target_origin(exchange->raw_target);
        exchange->request.target =
            exchange_text(exchange, exchange->raw_target, strlen(exchange->raw_target));
        target = target_parse(exchange->raw_target, &exchange->target, &why);
    }
    if (target) {
        char text[96];
        (void)snprintf(text, sizeof text, "the target has %s", why);
        exchange->target.path = NULL;
        exchange_refuse(exchange, target == VIM_E_NOT_FOUND ? 404 : 400,
                        target == VIM_E_NOT_FOUND ? "not-found" : "malformed", text, 0);
        return false;
    }
    link_route(exchange->api->link, exchange->method, exchange->target.path, &exchange->route);
    if (!exchange->route.route) {
        exchange->route.route = "";
    }
    return true;
}

bool headers_examine(struct headers *headers, struct exchange *exchange, const char *method,
                     int64_t now_ms)
{
    exchange->expects_continue = headers->expects_continue;
    headers_request_id(exchange, headers->request_id);
    headers_body(headers, exchange);
    /* What nobody decodes is no JSON, or worse: an image that is none. */
    exchange->encoded = exchange->has_body && headers->content_encoding &&
                        headers->content_encoding[0] &&
                        strcasecmp(headers->content_encoding, "identity") != 0;
    headers_method(method, exchange->method);
    exchange->route.route = "";
    if (exchange->target_too_long) {
        exchange_refuse(exchange, 414, "uri-too-long", "the target is longer than 8 KiB", 0);
        return false;
    }
    if (headers->status) {
        exchange_refuse(exchange, headers->status,
                        headers->status == 431 ? "too-large" : "malformed", headers->fault, 0);
        return false;
    }
    if (!headers_target(exchange)) {
        return false;
    }
    if (exchange->api->side == API_PEERS) {
        headers_peer(headers, exchange);
    } else if (exchange->api->side == API_PROBES) {
        headers_probe(exchange);
    } else if (!exchange->route.is_public && headers_authenticate(headers, exchange, now_ms)) {
        return true;
    }
    headers_finish(exchange);
    return false;
}
