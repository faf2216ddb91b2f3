#include "api/internal.h"

#include <string.h>
#include <strings.h>
#include "base/clock.h"
#include "base/integral.h"

/* The logic gets this much less than the client, so that its own answer about time comes first. */
#define GRACE_MS 1000

void reply_call(struct exchange *exchange)
{
    struct api *api = exchange->api;
    if (atomic_load(&api->stopping)) {
        exchange_refuse(exchange, 503, "shutting-down", "this service is shutting down", 1000);
        return;
    }
    int64_t now = clock_coarse_ms();
    int64_t timeout = atomic_load_explicit(&api->live.request_timeout_ms, memory_order_relaxed);
    if (api->side == API_PEERS && exchange->left_ms) {
        timeout = exchange->left_ms + GRACE_MS;
    }
    exchange->deadline = now + timeout;
    struct request *request = &exchange->request;
    request->method = exchange->method;
    request->path = exchange->target.path;
    request->entry = exchange->route.entry;
    request->query = exchange->target.query;
    request->query_count = exchange->target.query_count;
    request->headers = exchange->headers;
    request->request_id = exchange->request_id;
    request->deadline = now + (timeout > 2 * GRACE_MS ? timeout - GRACE_MS : timeout / 2);
    request->unattended = &exchange->unattended;
    request->body_size = exchange->body.size;
    if (exchange->spooled) {
        request->body_path = exchange->body.path;
    } else {
        request->body = exchange->body.data ? exchange->body.data : "";
        request->body_length = exchange->body.length;
    }
    atomic_store(&exchange->state, EXCHANGE_CALLED);
    exchange_hold(exchange); /* for exchange_respond() */
    exchange->on_link = api->side == API_CLIENTS;
    if (exchange->on_link) {
        integral_begin(API_TO_LOGIC, clock_mono_us());
    }
    link_call(api->link, request, exchange_respond, exchange);
}

/* To a peer goes what the logic says, and what the link is to know. */
static void reply_to_peer(struct exchange *exchange, reply_header_fn each, void *argument)
{
    const struct answer *answer = &exchange->answer;
    for (size_t i = 0; i < answer->header_count; i++) {
        each(argument, answer->headers[i].name, answer->headers[i].value);
    }
    if (answer->body && answer->content_type) {
        each(argument, "Content-Type", answer->content_type);
    }
    if (answer->refused) {
        each(argument, PEER_REFUSED, "1");
    }
}

static void reply_to_client(struct exchange *exchange, reply_header_fn each, void *argument)
{
    const struct answer *answer = &exchange->answer;
    bool cache_control = false;
    for (size_t i = 0; i < answer->header_count; i++) {
        each(argument, answer->headers[i].name, answer->headers[i].value);
        cache_control |= strcasecmp(answer->headers[i].name, "Cache-Control") == 0;
    }
    if (answer->body && answer->content_type) {
        each(argument, "Content-Type", answer->content_type);
        each(argument, "X-Content-Type-Options", "nosniff");
    }
    if (!cache_control && !exchange->route.is_public) {
        each(argument, "Cache-Control", "no-store");
    }
    each(argument, "X-Request-Id", exchange->request_id);
}

void reply_headers(struct exchange *exchange, reply_header_fn each, void *argument)
{
    if (exchange->api->side == API_PEERS) {
        reply_to_peer(exchange, each, argument);
    } else {
        reply_to_client(exchange, each, argument);
    }
    if (exchange->must_close ||
        atomic_load_explicit(&exchange->api->draining, memory_order_relaxed)) {
        each(argument, "Connection", "close");
    }
}
