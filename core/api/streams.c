/*
 * Listeners. Lock order: streams->mutex, then MHD's own (a connection is put to sleep under it); MHD calls
 * streams_read() with its lock of the response held. Connections are woken without the mutex: one that
 * sleeps lives until then.
 */
#include "api/streams_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "logic/access.h"
#include "model/kinds.h"

#define TICK_MS 500
/* Without listeners for so long the feed begins anew with the next one. */
#define IDLE_MS 10000
/* What clients wait before they come again after a stop, and a random part more of it each. */
#define AGAIN_MS 1000

/* --- Beginning ----------------------------------------------------------------------------------- */

bool streams_is_stream(const struct exchange *exchange)
{
    const struct answer *answer = &exchange->answer;
    return answer->status == 200 && answer->content_type && answer->body &&
           strcmp(answer->content_type, CONTENT_EVENTS) == 0 && exchange->api->streams;
}

static uint64_t begin_after(const struct answer *answer)
{
    uint64_t after = 0;
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcmp(answer->headers[i].name, "Last-Event-ID") == 0) {
            (void)event_number(answer->headers[i].value, &after);
        }
    }
    return after;
}

static struct stream_token *token_hold(struct streams *streams, const char *text, int64_t now)
{
    struct stream_token *token = streams->tokens;
    while (token && (token->bad || !digest_text_equal(token->token, text))) {
        token = token->next;
    }
    if (!token) {
        token = MEMORY_NEW(struct stream_token);
        token->streams = streams;
        memcpy(token->token, text, strnlen(text, sizeof token->token - 1)); /* zeroed before */
        token->asked = now;
        token->next = streams->tokens;
        streams->tokens = token;
    }
    token->users++;
    return token;
}

/* The first one says where the feed begins. */
static void begin_feed(struct streams *streams, const struct listener *first, int64_t now)
{
    if (streams->count == 0 && !streams->feeding && now - streams->idle_since > IDLE_MS) {
        streams->ring.valid = false;
    }
    if (!streams->ring.valid && !streams->feeding) {
        streams->start = first->cursor;
        streams->no_preload = false;
    }
}

/* The logic has checked it. */
static void read_filter(const struct request *request, struct event_filter *filter)
{
    struct findings findings = {0};
    for (size_t i = 0; i < request->query_count; i++) {
        const struct header *parameter = &request->query[i];
        if (text_has_word(EVENT_FILTER_NAMES, parameter->name)) {
            event_filter_add(filter, parameter->name, parameter->value, "", &findings);
        }
    }
    findings_free(&findings);
}

struct listener *streams_add(struct streams *streams, struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    int64_t now = clock_mono_ms();
    int64_t most = atomic_load_explicit(&streams->api->live.streams, memory_order_relaxed);
    pthread_mutex_lock(&streams->mutex);
    if (streams->ended || streams->count >= most) {
        pthread_mutex_unlock(&streams->mutex);
        return NULL;
    }
    struct listener *listener = MEMORY_NEW(struct listener);
    listener->streams = streams;
    listener->exchange = exchange;
    listener->cursor = begin_after(answer);
    listener->sent_at = now;
    read_filter(&exchange->request, &listener->filter);
    text_add_bytes(&listener->text, answer->body, answer->body_length);
    listener->token = token_hold(streams, exchange->connection->token, now);
    begin_feed(streams, listener, now);
    listener->next = streams->listeners;
    if (listener->next) {
        listener->next->previous = listener;
    }
    streams->listeners = listener;
    streams->count++;
    streams->hinted = true;
    pthread_cond_broadcast(&streams->cond);
    pthread_mutex_unlock(&streams->mutex);
    return listener;
}

void streams_remove(struct listener *listener)
{
    struct streams *streams = listener->streams;
    pthread_mutex_lock(&streams->mutex);
    if (listener->previous) {
        listener->previous->next = listener->next;
    } else {
        streams->listeners = listener->next;
    }
    if (listener->next) {
        listener->next->previous = listener->previous;
    }
    if (listener->fetch) {
        fetch_forget(listener->fetch);
    }
    stream_token_drop(listener->token);
    if (--streams->count == 0) {
        streams->idle_since = clock_mono_ms();
    }
    pthread_cond_broadcast(&streams->cond);
    pthread_mutex_unlock(&streams->mutex);
    text_free(&listener->text);
    free(listener);
}

unsigned streams_count(struct streams *streams)
{
    LOCK_GUARD(&streams->mutex);
    return streams->count;
}

/* --- What is sent -------------------------------------------------------------------------------- */

void stream_add_event(struct text *text, uint64_t number, enum event_type type, const char *body,
                      size_t length)
{
    char id[EVENT_ID_SIZE];
    text_printf(text, "id: %s\nevent: %s\ndata: ", event_id(number, id), event_type_name(type));
    text_add_bytes(text, body, length); /* JSON of ours, which has no line breaks */
    text_add(text, "\n\n");
}

bool listener_wants(const struct listener *listener, const struct event_facts *facts)
{
    return access_sees(&listener->exchange->principal,
                       facts->shared ? PROJECT_SHARED : facts->project) &&
           event_filter_match(&listener->filter, facts);
}

struct told *listener_next(struct listener *listener)
{
    const struct ring *ring = &listener->streams->ring;
    if (!ring->valid || listener->behind || listener->cursor >= ring->last) {
        return NULL;
    }
    if (listener->cursor < ring->from) {
        listener->behind = true;
        return NULL;
    }
    for (; listener->cursor < ring->last; listener->cursor++) {
        struct told *told = &ring->events[(listener->cursor + 1) % RING_MAX];
        if (listener_wants(listener, &told->facts)) {
            return told;
        }
    }
    return NULL;
}

static void say_farewell(struct listener *listener)
{
    uint32_t random;
    digest_random(&random, sizeof random);
    listener->farewell = true;
    switch (listener->end) {
    case END_TOKEN:
        text_add(&listener->text, "event: end\ndata: {\"reason\":\"token\"}\n\n");
        break;
    case END_SHUTDOWN:
        text_printf(&listener->text, "retry: %u\nevent: end\ndata: {\"reason\":\"shutdown\"}\n\n",
                    AGAIN_MS + random % (2 * AGAIN_MS));
        break;
    case END_LOST:
        text_add(&listener->text, "event: end\ndata: {\"reason\":\"restart\"}\n\n");
        break;
    default:
        break;
    }
}

/* Puts what comes next into the listener's text, or as far as it fits into BUFFER. False: nothing. */
static bool fill(struct listener *listener, char *buffer, size_t room, size_t *used)
{
    if (listener->text.length > listener->sent) {
        size_t left = listener->text.length - listener->sent;
        size_t part = left < room - *used ? left : room - *used;
        memcpy(buffer + *used, listener->text.data + listener->sent, part);
        *used += part;
        listener->sent += part;
        if (listener->sent == listener->text.length) {
            text_free(&listener->text);
            listener->sent = 0;
        }
        return true;
    }
    if (listener->end) {
        if (!listener->farewell) {
            say_farewell(listener);
        }
        return listener->text.length > 0;
    }
    const struct told *told = listener_next(listener);
    if (told) {
        listener->cursor++;
        if (told->length <= room - *used) {
            memcpy(buffer + *used, told->text, told->length);
            *used += told->length;
        } else {
            text_add_bytes(&listener->text, told->text, told->length);
        }
        return true;
    }
    if (listener->beat) {
        listener->beat = false;
        text_add(&listener->text, ":\n\n");
        return true;
    }
    return false;
}

ssize_t streams_read(struct listener *listener, char *buffer, size_t room)
{
    struct streams *streams = listener->streams;
    struct connection *connection = listener->exchange->connection;
    size_t used = 0;
    LOCK_GUARD(&streams->mutex);
    while (used < room && fill(listener, buffer, room, &used)) {
    }
    int64_t now = clock_mono_ms();
    if (used > 0) {
        listener->sent_at = now;
        atomic_store(
            &connection->deadline,
            now + atomic_load_explicit(&streams->api->live.send_timeout_ms, memory_order_relaxed));
        return (ssize_t)used;
    }
    if (listener->end) {
        return -1;
    }
    atomic_store(&connection->deadline, DEADLINE_NONE);
    if (listener->behind && !listener->fetch && !streams->hinted) {
        streams->hinted = true;
        pthread_cond_broadcast(&streams->cond);
    }
    listener->sleeping = true;
    http_suspend(listener->exchange);
    return 0;
}

/* --- Waking -------------------------------------------------------------------------------------- */

void listener_wake(struct listener *listener, struct listener **awake)
{
    if (listener->sleeping) {
        listener->sleeping = false;
        listener->next_awake = *awake;
        *awake = listener;
    }
}

void listeners_resume(struct listener *awake)
{
    while (awake) {
        struct listener *next = awake->next_awake; /* it may be gone once it is woken */
        http_resume(awake->exchange);
        awake = next;
    }
}

/* --- The thread ---------------------------------------------------------------------------------- */

static void tick(struct streams *streams, int64_t now, struct listener **awake)
{
    int64_t beat_ms = atomic_load_explicit(&streams->api->live.heartbeat_ms, memory_order_relaxed);
    int64_t today = clock_now_ms();
    for (struct listener *one = streams->listeners; one; one = one->next) {
        int64_t expires = one->exchange->principal.expires;
        if (!one->end && atomic_load(&one->exchange->connection->half_closed)) {
            one->end = END_SILENT;
            one->farewell = true;
        } else if (!one->end && expires && expires <= today) {
            one->end = END_TOKEN;
        } else if (!one->end && now - one->sent_at >= beat_ms) {
            one->beat = true;
        }
        if (one->end || one->beat) {
            listener_wake(one, awake);
        }
    }
}

static void *streams_run(void *argument)
{
    struct streams *streams = argument;
    int64_t due = 0;
    pthread_mutex_lock(&streams->mutex);
    while (!streams->stop) {
        int64_t now = clock_mono_ms();
        if (now >= due) {
            struct listener *awake = NULL;
            tick(streams, now, &awake);
            due = now + TICK_MS;
            pthread_mutex_unlock(&streams->mutex);
            listeners_resume(awake);
            pthread_mutex_lock(&streams->mutex);
            fetch_tokens(streams, now);
        }
        streams->hinted = false;
        fetch_feed(streams, now);
        fetch_pages(streams, now);
        if (!streams->hinted && !streams->stop) {
            (void)clock_cond_wait_until(&streams->cond, &streams->mutex,
                                        streams->count ? due : INT64_MAX);
        }
    }
    pthread_mutex_unlock(&streams->mutex);
    return NULL;
}

static void streams_collect(void *argument)
{
    metric_set(metrics_gauge("vimd_http_streams", "Listeners to streams of events.", NULL),
               streams_count(argument));
}

/* --- The whole ----------------------------------------------------------------------------------- */

static void streams_free(struct streams *streams)
{
    for (unsigned i = 0; i < RING_MAX; i++) {
        free(streams->ring.events[i].text);
    }
    free(streams->ring.events);
    pthread_cond_destroy(&streams->cond);
    pthread_mutex_destroy(&streams->mutex);
    free(streams);
}

int streams_open(struct api *api, struct streams **ret_streams)
{
    struct streams *streams = MEMORY_NEW(struct streams);
    streams->api = api;
    streams->ring.events = memory_new_array(RING_MAX, sizeof(*streams->ring.events));
    streams->idle_since = -IDLE_MS;
    pthread_mutex_init(&streams->mutex, NULL);
    clock_cond_init(&streams->cond);
    int code = thread_start("api-streams", streams_run, streams, &streams->thread);
    if (code != VIM_OK) {
        streams_free(streams);
        return code;
    }
    metrics_add_collector(streams_collect, streams);
    *ret_streams = streams;
    return VIM_OK;
}

void streams_end(struct streams *streams)
{
    struct listener *awake = NULL;
    pthread_mutex_lock(&streams->mutex);
    streams->ended = true;
    for (struct listener *one = streams->listeners; one; one = one->next) {
        one->end = one->end ? one->end : END_SHUTDOWN;
        listener_wake(one, &awake);
    }
    pthread_mutex_unlock(&streams->mutex);
    listeners_resume(awake);
}

void streams_close(struct streams *streams)
{
    if (!streams) {
        return;
    }
    metrics_remove_collector(streams_collect, streams);
    pthread_mutex_lock(&streams->mutex);
    streams->stop = streams->ended = true;
    pthread_cond_broadcast(&streams->cond);
    while (streams->fetches > 0) {
        pthread_cond_wait(&streams->cond, &streams->mutex);
    }
    pthread_mutex_unlock(&streams->mutex);
    pthread_join(streams->thread, NULL);
    streams_free(streams);
}
