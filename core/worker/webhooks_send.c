/* One request: what is in it, what comes of it. Lock order: no locks here; all is the thread's. */
#include "worker/webhooks_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/outbound.h"
#include "base/text.h"

/* --- What is sent -------------------------------------------------------------------------------- */

static void add_piece(struct text *text, const char *name, const char *event, const char *member)
{
    struct json_piece piece;
    if (json_peek(event, strlen(event), member, &piece) == VIM_OK) {
        text_printf(text, ",\"%s\":", name);
        text_add_bytes(text, piece.start, piece.length);
    }
}

static char *peek_text(const char *event, const char *member)
{
    struct json_piece piece;
    char *value = NULL;
    if (json_peek(event, strlen(event), member, &piece) == VIM_OK) {
        (void)json_piece_text(piece, &value);
    }
    return value;
}

/* The event as a CloudEvent 1.0 in structured JSON. */
static char *make_payload(const struct webhooks *webhooks, const char *event)
{
    struct text text = {0};
    CLEANUP_FREE char *type = peek_text(event, "type");
    CLEANUP_FREE char *kind = peek_text(event, "kind");
    CLEANUP_FREE char *resource = peek_text(event, "resource");
    text_add(&text, "{\"specversion\":\"1.0\"");
    add_piece(&text, "id", event, "id");
    text_add(&text, ",\"source\":");
    json_add_string(&text, webhooks->source);
    text_printf(&text, ",\"type\":\"vimd.%s\"", type ? type : "unknown");
    if (kind && resource) {
        CLEANUP_FREE char *subject = text_format("%s/%s", kind, resource);
        text_add(&text, ",\"subject\":");
        json_add_string(&text, subject);
    }
    add_piece(&text, "time", event, "time");
    text_add(&text, ",\"datacontenttype\":\"application/json\",\"data\":");
    text_add(&text, event);
    text_add_char(&text, '}');
    return text_take(&text);
}

/* "t=SECONDS,v1=HEX,v1=HEX": HMAC-SHA256 of "SECONDS.PAYLOAD" under each secret. */
static void sign(struct sending *sending, const struct subscription *subscription)
{
    char seconds[24];
    (void)snprintf(seconds, sizeof(seconds), "%lld", (long long)(clock_now_ms() / 1000));
    CLEANUP_FREE char *signed_text = text_format("%s.%s", seconds, sending->payload);
    size_t used = (size_t)snprintf(sending->signature, sizeof(sending->signature),
                                   "Vimd-Signature: t=%s", seconds);
    for (int i = 0; i < SUBSCRIPTION_SECRETS && subscription->secrets[i]; i++) {
        uint8_t digest[DIGEST_SIZE];
        char hex[DIGEST_HEX_SIZE];
        digest_hmac_sha256(subscription->secrets[i], strlen(subscription->secrets[i]), signed_text,
                           strlen(signed_text), digest);
        digest_hex(digest, DIGEST_SIZE, hex);
        used += (size_t)snprintf(sending->signature + used, sizeof(sending->signature) - used,
                                 ",v1=%s", hex);
    }
}

static void sending_free(struct sending *sending)
{
    struct webhooks *webhooks = sending->webhooks;
    if (sending->previous) {
        sending->previous->next = sending->next;
    } else {
        webhooks->sendings = sending->next;
    }
    if (sending->next) {
        sending->next->previous = sending->previous;
    }
    free(sending->event);
    free(sending->payload);
    free(sending->url);
    free(sending);
}

void webhooks_forget_sendings(struct webhooks *webhooks)
{
    while (webhooks->sendings) {
        sending_free(webhooks->sendings);
    }
    webhooks->in_flight = webhooks->suspects = 0;
}

/* --- What comes of it ---------------------------------------------------------------------------- */

static struct subscriber *subscriber_of(const struct sending *sending)
{
    struct subscriber *subscriber;
    HASH_FIND_STR(sending->webhooks->subscribers, sending->subscription, subscriber);
    return subscriber;
}

int webhooks_save(struct webhooks *webhooks, struct subscriber *subscriber,
                  const struct vim_write *more)
{
    struct failure failure = {0};
    CLEANUP_FREE char *body = delivery_render(&subscriber->delivery);
    struct vim_write writes[2] = {{.collection = COLLECTION_DELIVERY,
                                   .id = subscriber->id,
                                   .parent = subscriber->subscription.project,
                                   .body = body,
                                   .expect = subscriber->delivery.revision
                                                 ? subscriber->delivery.revision
                                                 : VIM_EXPECT_ABSENT}};
    if (more) {
        writes[1] = *more;
    }
    int code = store_commit(webhooks->store, writes, more ? 2 : 1, &failure);
    if (code == VIM_OK) {
        subscriber->delivery.revision++;
        subscriber->dirty = false;
    } else {
        /* Another process delivers, or the subscription is gone; or it is not known what happened. */
        subscriber->loaded = false;
        subscriber->next = clock_mono_ms() + 500;
        if (code != VIM_E_CONFLICT) {
            log_event(VIM_WARNING, "delivery not stored", "subscription=%s error=%s text=%s",
                      subscriber->id, error_name(code), failure.text);
        }
    }
    return code;
}

static char *letter_body(const char *id, const struct sending *sending, uint32_t attempts,
                         const char *error)
{
    struct text text = {0};
    char time[CLOCK_TEXT_SIZE], number[EVENT_ID_SIZE];
    text_printf(&text,
                "{\"id\":\"%s\",\"subscription\":\"%s\",\"event\":\"%s\",\"attempts\":%u,"
                "\"time\":\"%s\",\"error\":",
                id, sending->subscription, event_id(sending->number, number), attempts,
                clock_format_rfc3339(clock_now_ms(), time));
    json_add_string(&text, error);
    text_printf(&text, ",\"data\":%s}", sending->event);
    return text_take(&text);
}

/* It has been tried often enough: a dead letter, and the next one's turn. */
static void give_up(struct sending *sending, struct subscriber *subscriber)
{
    const struct webhooks_settings *settings = &sending->webhooks->settings;
    char id[ID_SIZE];
    id_new(id);
    struct delivery *delivery = &subscriber->delivery;
    CLEANUP_FREE char *body = letter_body(id, sending, delivery->attempts, delivery->error);
    struct vim_write letter = {
        .collection = COLLECTION_DEAD_LETTER,
        .id = id,
        .parent = subscriber->subscription.all_projects ? PARENT_ALL_PROJECTS
                                                        : subscriber->subscription.project,
        .body = body,
        .expect = VIM_EXPECT_ABSENT,
        .due = settings->retention_ms > 0 ? clock_now_ms() + settings->retention_ms : 0,
        .state = DEAD_LETTER_KEPT};
    delivery->cursor = sending->number;
    delivery->attempts = 0;
    delivery->dead++;
    if (webhooks_save(sending->webhooks, subscriber, &letter) == VIM_OK) {
        metric_add(metrics_counter("vimd_webhook_dead_letters_total", "Events given up", NULL), 1);
        log_event(VIM_WARNING, "event not delivered, given up",
                  "subscription=%s event=%llu letter=%s error=%s", subscriber->id,
                  (unsigned long long)sending->number, id, delivery->error);
    }
}

static void event_failed(struct sending *sending, struct subscriber *subscriber, const char *error)
{
    const struct webhooks_settings *settings = &sending->webhooks->settings;
    struct delivery *delivery = &subscriber->delivery;
    delivery->failures++;
    delivery->attempts++;
    delivery->failed = clock_now_ms();
    (void)snprintf(delivery->error, sizeof(delivery->error), "%s", error);
    subscriber->dirty = true;
    subscriber->next = clock_mono_ms() + error_backoff_ms((uint32_t)settings->backoff_base_ms,
                                                          (uint32_t)settings->backoff_cap_ms,
                                                          delivery->failures - 1, NULL);
    if (delivery->attempts >= settings->max_attempts) {
        give_up(sending, subscriber);
    }
}

static void event_taken(const struct sending *sending, struct subscriber *subscriber)
{
    struct delivery *delivery = &subscriber->delivery;
    delivery->cursor = sending->number;
    delivery->failures = delivery->attempts = 0;
    delivery->succeeded = clock_now_ms();
    delivery->error[0] = '\0';
    subscriber->dirty = true;
}

static void letter_done(struct sending *sending, bool taken, const char *error)
{
    CLEANUP_FREE char *body =
        taken ? NULL : letter_body(sending->letter, sending, sending->attempts + 1, error);
    const struct webhooks_settings *settings = &sending->webhooks->settings;
    struct vim_write write = {
        .collection = COLLECTION_DEAD_LETTER,
        .id = sending->letter,
        .parent = sending->project,
        .body = body,
        .expect = sending->letter_revision,
        .due = settings->retention_ms > 0 ? clock_now_ms() + settings->retention_ms : 0,
        .state = DEAD_LETTER_KEPT};
    (void)store_commit(sending->webhooks->store, &write, 1, NULL);
}

static void done(struct sending *sending, int status, const char *error)
{
    bool taken = status >= 200 && status < 300;
    char text[256];
    (void)snprintf(text, sizeof(text), "%s", error ? error : "");
    if (!error && !taken) {
        (void)snprintf(text, sizeof(text), "it answered %d%s", status,
                       status >= 300 && status < 400 ? "; redirections are not followed" : "");
    }
    metric_add(metrics_counter("vimd_webhook_requests_total", "Events sent to subscribers",
                               taken ? "taken=\"yes\"" : "taken=\"no\""),
               1);
    struct subscriber *subscriber = subscriber_of(sending);
    if (sending->letter[0]) {
        letter_done(sending, taken, text);
    } else if (subscriber && subscriber->sending) {
        subscriber->sending = false;
        if (subscriber->loaded && taken) {
            event_taken(sending, subscriber);
        } else if (subscriber->loaded) {
            event_failed(sending, subscriber, text);
        }
    }
    sending_free(sending);
}

static void completed(void *argument, int status, const char *error)
{
    struct sending *sending = argument;
    sending->webhooks->in_flight--;
    sending->webhooks->suspects -= sending->suspect;
    done(sending, status, error);
}

/* --- Sending ------------------------------------------------------------------------------------- */

static struct sending *sending_new(struct webhooks *webhooks,
                                   const struct subscription *subscription, uint64_t number,
                                   const char *event)
{
    struct sending *sending = MEMORY_NEW(struct sending);
    sending->webhooks = webhooks;
    sending->number = number;
    sending->next = webhooks->sendings;
    if (sending->next) {
        sending->next->previous = sending;
    }
    webhooks->sendings = sending;
    memcpy(sending->subscription, subscription->id, ID_SIZE);
    (void)snprintf(sending->project, sizeof(sending->project), "%s", subscription->project);
    sending->event = text_duplicate(event);
    sending->payload = make_payload(webhooks, event);
    sending->url = text_duplicate(subscription->url);
    sign(sending, subscription);
    (void)snprintf(sending->subscription_header, sizeof(sending->subscription_header),
                   "Vimd-Subscription: %s", subscription->id);
    const char *headers[] = {"Content-Type: application/cloudevents+json; charset=utf-8",
                             sending->signature, sending->subscription_header, "Expect:", NULL};
    memcpy(sending->headers, headers, sizeof(headers));
    return sending;
}

static void start(struct sending *sending)
{
    struct webhooks *webhooks = sending->webhooks;
    char why[256];
    struct http_client_request request = {.url = sending->url,
                                          .headers = sending->headers,
                                          .body = sending->payload,
                                          .body_length = strlen(sending->payload),
                                          .argument = sending};
    /* The rules may be others than when the subscription was made. */
    if (!outbound_url(webhooks->settings.rules, sending->url, why)) {
        CLEANUP_FREE char *error = text_format("its address %s", why);
        done(sending, 0, error);
        return;
    }
    if (http_client_post(webhooks->client, &request, completed) != VIM_OK) {
        done(sending, 0, "the request cannot be made");
        return;
    }
    webhooks->in_flight++;
    webhooks->suspects += sending->suspect;
}

bool webhooks_have_room(const struct webhooks *webhooks, const struct subscriber *subscriber)
{
    uint32_t most = webhooks->settings.concurrency;
    uint32_t half = most > 1 ? most / 2 : 1;
    return webhooks->in_flight < most &&
           (!subscriber->delivery.failures || webhooks->suspects < half);
}

void webhooks_send(struct webhooks *webhooks, struct subscriber *subscriber, uint64_t number,
                   const char *event)
{
    subscriber->sending = true;
    struct sending *sending = sending_new(webhooks, &subscriber->subscription, number, event);
    sending->suspect = subscriber->delivery.failures > 0;
    start(sending);
}

void webhooks_resend(struct webhooks *webhooks, const struct row *letter)
{
    CLEANUP_JSON json_t *body = NULL;
    struct subscriber *subscriber = NULL;
    for (struct sending *one = webhooks->sendings; one; one = one->next) {
        if (strcmp(one->letter, letter->id) == 0) {
            return; /* under way */
        }
    }
    uint64_t number = 0;
    if (json_parse(letter->body, letter->body_length, NULL, &body, NULL) == VIM_OK) {
        const char *id = json_get_text(body, "subscription", "");
        HASH_FIND_STR(webhooks->subscribers, id, subscriber);
        (void)event_number(json_get_text(body, "event", ""), &number);
    }
    if (!subscriber || !webhooks_have_room(webhooks, subscriber)) {
        return; /* it goes with its subscription, or later */
    }
    CLEANUP_FREE char *event = json_print(json_object_get(body, "data"));
    struct sending *sending = sending_new(webhooks, &subscriber->subscription, number, event);
    (void)snprintf(sending->letter, sizeof(sending->letter), "%s", letter->id);
    sending->letter_revision = letter->revision;
    sending->suspect = subscriber->delivery.failures > 0;
    sending->attempts = (uint32_t)json_get_integer(body, "attempts", 0);
    start(sending);
}
