/*
 * The thread that delivers. Lock order: webhooks->mutex is a leaf.
 */
#include "worker/webhooks_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/outbound.h"
#include "base/text.h"
#include "base/thread.h"
#include "engine/events.h"
#include "engine/owner.h"
#include "engine/presence.h"

#define COLLECTION_LEASE "lease"
#define LEASE_ID "webhooks"
#define LEASE_MS 10000
#define REFRESH_MS 500
#define LOOK_MS 100 /* for new events */
#define SAVE_MS 300
#define LETTERS_MS 1000
#define LETTERS_AT_ONCE 20u
#define PAGE 200u

/* --- Who subscribes ------------------------------------------------------------------------------ */

struct found {
    char id[ID_SIZE];
    uint64_t revision;
};

struct findings_of_scan {
    struct found *items;
    size_t count;
};

static int take_id(void *argument, const struct vim_item *item)
{
    struct findings_of_scan *all = argument;
    all->items = memory_resize(all->items, all->count + 1, sizeof(*all->items));
    struct found *found = &all->items[all->count++];
    (void)snprintf(found->id, sizeof(found->id), "%s", item->id);
    found->revision = item->revision;
    return 0;
}

static void read_subscription(struct webhooks *webhooks, struct subscriber *subscriber)
{
    struct row row = {0};
    struct subscription subscription = {0};
    struct failure failure = {0};
    if (store_get(webhooks->store, COLLECTION_SUBSCRIPTION, subscriber->id, &row, NULL) != VIM_OK) {
        return;
    }
    if (subscription_parse(&row, &subscription, &failure) == VIM_OK) {
        bool moved = !text_equal(subscription.url, subscriber->subscription.url);
        subscription_free(&subscriber->subscription);
        subscriber->subscription = subscription;
        subscriber->next = moved ? 0 : subscriber->next; /* another address: no pause */
    } else {
        log_event(VIM_WARNING, "subscription not read", "text=%s", failure.text);
    }
    row_free(&row);
}

static void subscriber_free(struct webhooks *webhooks, struct subscriber *subscriber)
{
    HASH_DEL(webhooks->subscribers, subscriber);
    subscription_free(&subscriber->subscription);
    free(subscriber);
}

static void refresh(struct webhooks *webhooks)
{
    struct findings_of_scan all = {0};
    struct vim_scan scan = {.collection = COLLECTION_SUBSCRIPTION,
                            .flags = VIM_SCAN_NO_BODY | VIM_SCAN_FEW};
    if (store_scan(webhooks->store, &scan, take_id, &all, NULL) != VIM_OK) {
        free(all.items);
        return;
    }
    webhooks->pass++;
    for (size_t i = 0; i < all.count; i++) {
        struct subscriber *subscriber;
        HASH_FIND_STR(webhooks->subscribers, all.items[i].id, subscriber);
        if (!subscriber) {
            subscriber = MEMORY_NEW(struct subscriber);
            memcpy(subscriber->id, all.items[i].id, ID_SIZE);
            HASH_ADD_STR(webhooks->subscribers, id, subscriber);
        }
        subscriber->pass = webhooks->pass;
        if (subscriber->subscription.revision != all.items[i].revision) {
            read_subscription(webhooks, subscriber);
        }
    }
    free(all.items);
    struct subscriber *subscriber, *next;
    HASH_ITER(hh, webhooks->subscribers, subscriber, next)
    {
        if (subscriber->pass != webhooks->pass) {
            subscriber_free(webhooks, subscriber);
        }
    }
}

/* --- The lease ----------------------------------------------------------------------------------- */

static int write_lease(struct webhooks *webhooks, uint64_t expect, int64_t until)
{
    CLEANUP_FREE char *body = text_format("{\"owner\":\"%s\"}", owner_self());
    struct vim_write write = {.collection = COLLECTION_LEASE,
                              .id = LEASE_ID,
                              .body = body,
                              .expect = expect ? expect : VIM_EXPECT_ABSENT,
                              .due = until};
    return store_commit(webhooks->store, &write, 1, NULL);
}

static bool lease_is_others(const struct row *row)
{
    struct json_piece piece;
    CLEANUP_FREE char *owner = NULL;
    if (json_peek(row->body, row->body_length, "owner", &piece) == VIM_OK) {
        (void)json_piece_text(piece, &owner);
    }
    int64_t left = row->due - clock_now_ms();
    return !text_equal(owner, owner_self()) && left > 0 && left <= 2 * LEASE_MS &&
           !owner_is_dead(owner);
}

/* May this process deliver? */
static bool have_lease(struct webhooks *webhooks)
{
    int64_t now = clock_mono_ms();
    if (webhooks->lease_until - now > LEASE_MS / 2) {
        return true;
    }
    struct row row = {0};
    int code = store_get(webhooks->store, COLLECTION_LEASE, LEASE_ID, &row, NULL);
    bool mine = code == VIM_E_NOT_FOUND || (code == VIM_OK && !lease_is_others(&row));
    uint64_t revision = code == VIM_OK ? row.revision : 0;
    row_free(&row);
    if (!mine || write_lease(webhooks, revision, clock_now_ms() + LEASE_MS) != VIM_OK) {
        return webhooks->lease_until > now && mine;
    }
    if (webhooks->lease_until == 0 || webhooks->lease_revision != revision) {
        /* Others may have delivered meanwhile. */
        for (struct subscriber *one = webhooks->subscribers; one; one = one->hh.next) {
            one->loaded = one->sending;
        }
    }
    webhooks->lease_revision = revision + 1;
    webhooks->lease_until = now + LEASE_MS;
    return true;
}

static void give_lease(struct webhooks *webhooks)
{
    if (webhooks->lease_until > clock_mono_ms()) {
        (void)write_lease(webhooks, webhooks->lease_revision, clock_now_ms());
    }
}

/* --- What is due --------------------------------------------------------------------------------- */

static bool load(struct webhooks *webhooks, struct subscriber *subscriber)
{
    struct row row = {0};
    int code = store_get(webhooks->store, COLLECTION_DELIVERY, subscriber->id, &row, NULL);
    if (code == VIM_OK) {
        delivery_parse(&row, &subscriber->delivery);
        row_free(&row);
    }
    subscriber->loaded = code == VIM_OK;
    subscriber->dirty = false;
    return subscriber->loaded;
}

/* The next event that is wanted. */
struct wanted {
    const struct subscriber *subscriber;
    uint64_t first, last, number; /* looked at; number: 0: none */
    char *body;
};

static int take_wanted(void *argument, const struct vim_item *item)
{
    struct wanted *wanted = argument;
    struct event_facts facts;
    (void)event_number(item->id, &wanted->last);
    wanted->first = wanted->first ? wanted->first : wanted->last;
    if (event_facts_read(item->body, strlen(item->body), &facts) &&
        subscription_wants(&wanted->subscriber->subscription, &facts)) {
        wanted->number = wanted->last;
        wanted->body = text_duplicate(item->body);
        return 1;
    }
    return 0;
}

static void serve(struct webhooks *webhooks, struct subscriber *subscriber)
{
    struct delivery *delivery = &subscriber->delivery;
    char after[EVENT_ID_SIZE];
    struct wanted wanted = {.subscriber = subscriber};
    struct vim_scan scan = {
        .collection = COLLECTION_EVENT, .after = event_id(delivery->cursor, after), .limit = PAGE};
    if (store_scan(webhooks->store, &scan, take_wanted, &wanted, NULL) != VIM_OK) {
        subscriber->next = clock_mono_ms() + 1000;
        return;
    }
    if (wanted.first > delivery->cursor + 1) {
        (void)snprintf(delivery->error, sizeof(delivery->error),
                       "events %llu to %llu were forgotten before they could be sent",
                       (unsigned long long)delivery->cursor + 1,
                       (unsigned long long)wanted.first - 1);
        log_event(VIM_ERROR, "events were forgotten before they could be sent",
                  "subscription=%s from=%llu to=%llu", subscriber->id,
                  (unsigned long long)delivery->cursor + 1, (unsigned long long)wanted.first - 1);
    }
    uint64_t passed = wanted.number ? wanted.number - 1 : wanted.last;
    if (passed > delivery->cursor) {
        delivery->cursor = passed;
        subscriber->dirty = true;
    } else if (!wanted.number) {
        delivery->cursor = webhooks->head; /* all of it is forgotten */
        subscriber->dirty = true;
    }
    if (wanted.number) {
        webhooks_send(webhooks, subscriber, wanted.number, wanted.body);
    }
    free(wanted.body);
}

static void serve_all(struct webhooks *webhooks, int64_t now)
{
    struct subscriber *first = NULL;
    HASH_FIND_STR(webhooks->subscribers, webhooks->turn, first);
    first = first ? first : webhooks->subscribers;
    struct subscriber *one = first;
    for (bool more = one != NULL; more;) {
        bool due = !one->sending && one->subscription.enabled && one->subscription.url &&
                   now >= one->next && (one->loaded || load(webhooks, one)) &&
                   one->delivery.cursor < webhooks->head;
        if (due && webhooks->in_flight >= webhooks->settings.concurrency) {
            memcpy(webhooks->turn, one->id, ID_SIZE);
            return;
        }
        if (due && webhooks_have_room(webhooks, one)) {
            serve(webhooks, one);
        }
        one = one->hh.next ? one->hh.next : webhooks->subscribers;
        more = one != first;
    }
}

static void save_all(struct webhooks *webhooks)
{
    for (struct subscriber *one = webhooks->subscribers; one; one = one->hh.next) {
        if (one->dirty && one->loaded) {
            (void)webhooks_save(webhooks, one, NULL);
        }
    }
}

/* --- Dead letters -------------------------------------------------------------------------------- */

struct letters {
    struct row rows[LETTERS_AT_ONCE];
    uint32_t count;
};

static int take_letter(void *argument, const struct vim_item *item)
{
    struct letters *letters = argument;
    letters->rows[letters->count++] =
        (struct row){.id = text_duplicate(item->id),
                     .body = item->body ? text_duplicate(item->body) : NULL,
                     .body_length = item->body ? strlen(item->body) : 0,
                     .revision = item->revision};
    return letters->count == LETTERS_AT_ONCE;
}

static void resend_letters(struct webhooks *webhooks)
{
    struct letters letters = {.count = 0};
    struct vim_scan scan = {.collection = COLLECTION_DEAD_LETTER,
                            .states = 1u << DEAD_LETTER_RESEND,
                            .limit = LETTERS_AT_ONCE};
    (void)store_scan(webhooks->store, &scan, take_letter, &letters, NULL);
    for (uint32_t i = 0; i < letters.count; i++) {
        if (webhooks->in_flight < webhooks->settings.concurrency) {
            webhooks_resend(webhooks, &letters.rows[i]);
        }
        row_free(&letters.rows[i]);
    }
    struct letters old = {.count = 0};
    struct vim_scan expired = {.collection = COLLECTION_DEAD_LETTER,
                               .flags = VIM_SCAN_BY_DUE | VIM_SCAN_NO_BODY,
                               .due_until = clock_now_ms(),
                               .limit = LETTERS_AT_ONCE};
    (void)store_scan(webhooks->store, &expired, take_letter, &old, NULL);
    for (uint32_t i = 0; i < old.count; i++) {
        struct vim_write write = {.collection = COLLECTION_DEAD_LETTER,
                                  .id = old.rows[i].id,
                                  .expect = old.rows[i].revision};
        (void)store_commit(webhooks->store, &write, 1, NULL);
        row_free(&old.rows[i]);
    }
}

/* --- The thread ---------------------------------------------------------------------------------- */

static bool is_allowed(void *argument, const struct sockaddr *address)
{
    const struct webhooks *webhooks = argument;
    return outbound_address(webhooks->settings.rules, address);
}

/* libcurl is looked for when the first subscription is there. */
static bool have_client(struct webhooks *webhooks)
{
    if (webhooks->client || webhooks->unusable) {
        return webhooks->client != NULL;
    }
    char why[256] = "";
    struct http_client_settings settings = {.connect_timeout_ms =
                                                webhooks->settings.connect_timeout_ms,
                                            .timeout_ms = webhooks->settings.timeout_ms,
                                            .ca_file = webhooks->ca_file,
                                            .user_agent = "vimd/" VIMD_VERSION,
                                            .allowed = is_allowed,
                                            .argument = webhooks};
    struct http_client *client = NULL;
    int code = http_client_new(&settings, &client, why);
    pthread_mutex_lock(&webhooks->mutex);
    webhooks->client = client;
    pthread_mutex_unlock(&webhooks->mutex);
    webhooks->unusable = code != VIM_OK;
    if (code != VIM_OK) {
        log_event(VIM_ERROR, "events cannot be sent to subscribers", "error=%s", why);
    }
    return code == VIM_OK;
}

/* False when it has been told to stop. */
static bool pause_ms(struct webhooks *webhooks, int64_t ms)
{
    LOCK_GUARD(&webhooks->mutex);
    if (!webhooks->stop && ms > 0) {
        (void)clock_cond_wait_until(&webhooks->cond, &webhooks->mutex, clock_mono_ms() + ms);
    }
    return !webhooks->stop;
}

static void *webhooks_main(void *argument)
{
    struct webhooks *webhooks = argument;
    int64_t refresh_due = 0, look_due = 0, save_due = 0, letters_due = 0;
    while (pause_ms(webhooks, 0)) {
        int64_t now = clock_mono_ms();
        /* Whether somebody subscribes, and who delivers, those who do not deliver look in turns. */
        bool ours = webhooks->lease_until > now;
        if (now >= refresh_due) {
            bool turn;
            refresh_due = presence_turn(webhooks->settings.presence, "worker", REFRESH_MS, &turn);
            ours = ours || turn;
            if (ours) {
                refresh(webhooks);
            }
        }
        if (!ours || (!webhooks->subscribers && !webhooks->in_flight) || !have_client(webhooks) ||
            !have_lease(webhooks)) {
            (void)pause_ms(webhooks, refresh_due - now);
            continue;
        }
        if (now >= look_due) {
            uint64_t last = 0;
            webhooks->head =
                events_read_last(webhooks->store, &last, NULL) == VIM_OK ? last : webhooks->head;
            look_due = now + LOOK_MS;
        }
        if (now >= letters_due) {
            resend_letters(webhooks);
            letters_due = now + LETTERS_MS;
        }
        serve_all(webhooks, now);
        if (now >= save_due) {
            save_all(webhooks);
            save_due = now + SAVE_MS;
        }
        http_client_work(webhooks->client, LOOK_MS / 2);
    }
    save_all(webhooks);
    give_lease(webhooks);
    return NULL;
}

/* --- The whole ----------------------------------------------------------------------------------- */

struct webhooks *webhooks_new(struct store *store, const struct webhooks_settings *settings)
{
    struct webhooks *webhooks = MEMORY_NEW(struct webhooks);
    webhooks->store = store;
    webhooks->settings = *settings;
    webhooks->source = text_duplicate(settings->source);
    webhooks->ca_file = text_duplicate(settings->ca_file);
    pthread_mutex_init(&webhooks->mutex, NULL);
    clock_cond_init(&webhooks->cond);
    return webhooks;
}

int webhooks_start(struct webhooks *webhooks, struct failure *failure)
{
    int code = thread_start("webhooks", webhooks_main, webhooks, &webhooks->thread);
    webhooks->running = code == VIM_OK;
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "no thread for webhooks");
}

void webhooks_stop(struct webhooks *webhooks)
{
    if (!webhooks->running) {
        return;
    }
    pthread_mutex_lock(&webhooks->mutex);
    webhooks->stop = true;
    pthread_cond_signal(&webhooks->cond);
    if (webhooks->client) {
        http_client_wake(webhooks->client);
    }
    pthread_mutex_unlock(&webhooks->mutex);
    (void)pthread_join(webhooks->thread, NULL);
    webhooks->running = false;
}

void webhooks_free(struct webhooks *webhooks)
{
    if (!webhooks) {
        return;
    }
    assert(!webhooks->running);
    http_client_free(webhooks->client);
    webhooks_forget_sendings(webhooks);
    struct subscriber *subscriber, *next;
    HASH_ITER(hh, webhooks->subscribers, subscriber, next)
    {
        subscriber_free(webhooks, subscriber);
    }
    pthread_cond_destroy(&webhooks->cond);
    pthread_mutex_destroy(&webhooks->mutex);
    free(webhooks->source);
    free(webhooks->ca_file);
    free(webhooks);
}
