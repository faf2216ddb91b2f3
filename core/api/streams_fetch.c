/*
 * What streams ask the logic for. Answers come on threads of the link; what they bring is put in its
 * place, and whom it is for is woken.
 */
#include "api/streams_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"

#define FEED_LIMIT "500"
#define FEED_WAIT "20"
#define FEED_TIMEOUT_MS 30000
#define PAGE_LIMIT "50"
#define PAGE_TIMEOUT_MS 15000
#define PAGE_RETRY_MS 1000
#define PAGES_AT_ONCE 8u
#define TOKENS_AT_ONCE 32u
/* Before the place of the first listener: others, who lost their connections with it, come after it. */
#define PRELOAD 1000u

/* One request. Lives until it is answered. */
struct fetch {
    struct streams *streams;
    struct listener *listener; /* NULL: the feed's, or the listener is gone */
    bool is_page;
    struct request request;
    struct header query[3];
    char after[EVENT_ID_SIZE];
    struct principal principal;
};

/* --- Answers ------------------------------------------------------------------------------------- */

static bool covers(const struct response *response, uint64_t *ret_last)
{
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcasecmp(response->headers[i].name, "Last-Event-ID") == 0) {
            return event_number(response->headers[i].value, ret_last);
        }
    }
    return false;
}

/* One event of an answer. */
struct part {
    uint64_t number;
    struct event_facts facts;
    struct json_piece body;
};

static bool next_part(struct json_walk *walk, struct part *ret_part)
{
    struct json_piece id;
    char text[EVENT_ID_SIZE + 2];
    if (json_walk_next(walk, NULL, &ret_part->body) != VIM_OK ||
        json_peek(ret_part->body.start, ret_part->body.length, "id", &id) != VIM_OK ||
        id.length >= sizeof(text) || id.length < 3) {
        return false;
    }
    memcpy(text, id.start + 1, id.length - 2);
    text[id.length - 2] = '\0';
    return event_number(text, &ret_part->number) &&
           event_facts_read(ret_part->body.start, ret_part->body.length, &ret_part->facts);
}

static struct json_walk parts_of(const struct response *response)
{
    struct json_piece events;
    if (!response->body ||
        json_peek(response->body, response->body_length, "events", &events) != VIM_OK) {
        return json_walk_start("", 0);
    }
    return json_walk_start(events.start, events.length);
}

/* Drops the oldest event of the ring. */
static void ring_drop(struct ring *ring)
{
    struct told *old = &ring->events[++ring->from % RING_MAX];
    ring->bytes -= old->length;
    free(old->text);
    *old = (struct told){0};
}

/* False if the number is not the next one: something is wrong at the other end. */
static bool ring_add(struct ring *ring, const struct part *part)
{
    if (part->number != ring->last + 1) {
        return false;
    }
    struct text text = {0};
    stream_add_event(&text, part->number, part->facts.type, part->body.start, part->body.length);
    while (ring->last - ring->from == RING_MAX ||
           (ring->bytes + text.length > RING_BYTES_MAX && ring->from < ring->last)) {
        ring_drop(ring);
    }
    struct told *told = &ring->events[++ring->last % RING_MAX];
    told->facts = part->facts;
    told->length = text.length;
    told->text = text_take(&text);
    ring->bytes += told->length;
    return true;
}

static void ring_reset(struct ring *ring, uint64_t last)
{
    while (ring->from < ring->last) {
        ring_drop(ring);
    }
    ring->from = ring->last = last;
    ring->valid = false;
}

/* The sequence is not what it was (another store), or has run away: all begin anew. */
static void feed_lost(struct streams *streams, struct listener **awake)
{
    if (!streams->no_preload) {
        streams->no_preload = true;
    } else {
        for (struct listener *one = streams->listeners; one; one = one->next) {
            one->end = one->end ? one->end : END_LOST;
            listener_wake(one, awake);
        }
    }
    ring_reset(&streams->ring, 0);
}

static void feed_failed(struct streams *streams, int status)
{
    if (streams->feed_failures++ == 0) {
        log_event(VIM_WARNING, "events do not come in", "status=%d", status);
    }
    streams->feed_due =
        clock_mono_ms() + 100 + error_backoff_ms(100, 5000, streams->feed_failures, NULL);
}

static void take_feed(struct streams *streams, const struct response *response,
                      struct listener **awake)
{
    struct ring *ring = &streams->ring;
    struct part part;
    if (response->status == 410) {
        feed_lost(streams, awake);
        return;
    }
    if (response->status != 200) {
        feed_failed(streams, response->status);
        return;
    }
    streams->feed_failures = 0;
    struct json_walk walk = parts_of(response);
    while (next_part(&walk, &part)) {
        if (!ring_add(ring, &part)) {
            feed_lost(streams, awake);
            return;
        }
    }
    for (struct listener *one = streams->listeners; one; one = one->next) {
        if (one->sleeping && !one->fetch && listener_next(one)) {
            listener_wake(one, awake);
        }
    }
}

static void take_page(struct listener *listener, const struct response *response,
                      struct listener **awake)
{
    uint64_t last;
    struct part part;
    if (response->status == 410) {
        listener->end = END_LOST;
    } else if (response->status != 200 || !covers(response, &last)) {
        listener->retry = clock_mono_ms() + PAGE_RETRY_MS;
        return;
    } else {
        struct json_walk walk = parts_of(response);
        while (next_part(&walk, &part)) {
            if (listener_wants(listener, &part.facts)) {
                stream_add_event(&listener->text, part.number, part.facts.type, part.body.start,
                                 part.body.length);
            }
        }
        listener->cursor = last > listener->cursor ? last : listener->cursor;
        listener->behind = false;
    }
    listener_wake(listener, awake);
}

static void answered(void *argument, struct response *response)
{
    struct fetch *fetch = argument;
    struct streams *streams = fetch->streams;
    struct listener *awake = NULL;
    pthread_mutex_lock(&streams->mutex);
    if (fetch->listener) {
        fetch->listener->fetch = NULL;
        take_page(fetch->listener, response, &awake);
    } else if (!fetch->is_page) {
        streams->feeding = false;
        take_feed(streams, response, &awake);
    }
    streams->fetches--;
    streams->replays -= fetch->is_page;
    streams->hinted = true;
    pthread_cond_broadcast(&streams->cond);
    pthread_mutex_unlock(&streams->mutex);
    listeners_resume(awake);
    free(fetch);
}

/* --- Requests ------------------------------------------------------------------------------------ */

static struct fetch *fetch_new(struct streams *streams, uint64_t after, const char *limit,
                               const char *wait, int64_t timeout_ms)
{
    struct fetch *fetch = MEMORY_NEW(struct fetch);
    fetch->streams = streams;
    event_id(after, fetch->after);
    fetch->query[0] = (struct header){"after", fetch->after};
    fetch->query[1] = (struct header){"limit", limit};
    fetch->query[2] = (struct header){"wait", wait};
    fetch->request = (struct request){.method = "GET",
                                      .path = "/v1/events",
                                      .query = fetch->query,
                                      .query_count = wait ? 3 : 2,
                                      .body = "",
                                      .request_id = "events",
                                      .principal = &fetch->principal,
                                      .deadline = clock_mono_ms() + timeout_ms};
    streams->fetches++;
    return fetch;
}

/* Under the mutex, which is let go meanwhile: the answer may come at once. */
static void call(struct streams *streams, struct fetch *fetch)
{
    pthread_mutex_unlock(&streams->mutex);
    link_call(streams->api->link, &fetch->request, answered, fetch);
    pthread_mutex_lock(&streams->mutex);
}

void fetch_feed(struct streams *streams, int64_t now)
{
    struct ring *ring = &streams->ring;
    if (streams->feeding || streams->count == 0 || streams->ended || now < streams->feed_due) {
        return;
    }
    if (!ring->valid) {
        uint64_t preload = streams->no_preload        ? 0
                           : streams->start < PRELOAD ? streams->start
                                                      : PRELOAD;
        ring_reset(ring, streams->start - preload);
        ring->valid = true;
    }
    struct fetch *fetch = fetch_new(streams, ring->last, FEED_LIMIT, FEED_WAIT, FEED_TIMEOUT_MS);
    fetch->principal = (struct principal){
        .token_id = "events", .name = "events", .project = "events", .role = ROLE_OPERATOR};
    streams->feeding = true;
    call(streams, fetch);
}

void fetch_pages(struct streams *streams, int64_t now)
{
    struct listener *one = streams->listeners;
    while (one && streams->replays < PAGES_AT_ONCE && !streams->ended) {
        if (!one->behind || one->fetch || one->end || one->retry > now) {
            one = one->next;
            continue;
        }
        struct fetch *fetch = fetch_new(streams, one->cursor, PAGE_LIMIT, NULL, PAGE_TIMEOUT_MS);
        fetch->is_page = true;
        fetch->listener = one;
        fetch->principal = one->exchange->principal;
        one->fetch = fetch;
        streams->replays++;
        call(streams, fetch);
        one = streams->listeners; /* the list may be another one by now */
    }
}

void fetch_forget(struct fetch *fetch)
{
    fetch->listener = NULL;
}

/* --- Tokens -------------------------------------------------------------------------------------- */

void stream_token_drop(struct stream_token *token)
{
    if (--token->users > 0) {
        return;
    }
    struct stream_token **link = &token->streams->tokens;
    while (*link != token) {
        link = &(*link)->next;
    }
    *link = token->next;
    explicit_bzero(token->token, sizeof token->token);
    free(token);
}

/* While the logic cannot be asked nothing comes from it either: the stream goes on. */
static void looked_up(void *argument, int code, const struct principal *principal,
                      const struct failure *failure)
{
    (void)principal, (void)failure;
    struct stream_token *token = argument;
    struct streams *streams = token->streams;
    struct listener *awake = NULL;
    pthread_mutex_lock(&streams->mutex);
    token->asking = false;
    token->asked = clock_mono_ms();
    token->bad = code == VIM_E_CREDENTIAL;
    for (struct listener *one = streams->listeners; one && token->bad; one = one->next) {
        if (one->token == token && !one->end) {
            one->end = END_TOKEN;
            listener_wake(one, &awake);
        }
    }
    streams->fetches--;
    stream_token_drop(token);
    pthread_cond_broadcast(&streams->cond);
    pthread_mutex_unlock(&streams->mutex);
    listeners_resume(awake);
}

void fetch_tokens(struct streams *streams, int64_t now)
{
    for (unsigned i = 0; i < TOKENS_AT_ONCE; i++) {
        struct stream_token *token = streams->tokens;
        while (token && (token->asking || token->bad || token->asked + ACCESS_TTL_MS > now)) {
            token = token->next;
        }
        if (!token || streams->ended) {
            return;
        }
        token->asking = true;
        token->users++;
        streams->fetches++;
        pthread_mutex_unlock(&streams->mutex);
        link_authenticate(streams->api->link, token->token, looked_up, token);
        pthread_mutex_lock(&streams->mutex);
    }
}
