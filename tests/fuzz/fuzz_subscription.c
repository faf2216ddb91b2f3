/* Subscriptions: the wish for one, the addresses that it may name, its stored row, how far its delivery has
 * come, and the events that it is held against. The first byte chooses the rules for addresses, the rest
 * is JSON or an address as it stands. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/json.h"
#include "base/outbound.h"
#include "base/text.h"
#include "model/subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static const char *const hosts[] = {"*.example.org", "hooks.example.net:8443", "192.0.2.7"};
static const char *const networks[] = {"10.1.0.0/16", "fd00::/8", "127.0.0.1"};

/* Rules of all sorts; made once. */
static const struct outbound *rules_of(uint8_t which)
{
    static struct outbound *all[8];
    char why[256];
    which %= 8;
    if (!all[which]) {
        must(outbound_new(hosts, which & 1 ? 3 : 0, networks, which & 2 ? 3 : 0, which & 4,
                          &all[which], why) == VIM_OK);
    }
    return all[which];
}

/* An address that stands in a URL that may be called may be connected to. */
static void check_literal(const struct outbound *rules, const char *url)
{
    char host[64] = "";
    const char *start = strstr(url, "://") + 3;
    bool bracket = *start == '[';
    size_t length = bracket ? strcspn(++start, "]") : strcspn(start, ":/?");
    if (length >= sizeof(host)) {
        return;
    }
    memcpy(host, start, length);
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (!bracket && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        must(outbound_address(rules, (const struct sockaddr *)&v4));
    } else if (bracket && inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        must(outbound_address(rules, (const struct sockaddr *)&v6));
    }
}

static void check_url(const struct outbound *rules, const char *url)
{
    char why[256] = "";
    if (outbound_url(rules, url, why)) {
        must(strlen(url) <= 2048 && strncmp(url, "http", 4) == 0);
        check_literal(rules, url);
    } else {
        must(why[0] != '\0');
    }
}

static void read_row(const struct row *row, const struct event_facts *facts)
{
    struct subscription subscription;
    struct delivery delivery, again;
    struct failure failure;
    if (subscription_parse(row, &subscription, &failure) == VIM_OK) {
        must(subscription.url && subscription.name);
        if (facts) {
            (void)subscription_wants(&subscription, facts);
        }
        subscription_free(&subscription);
    }
    delivery_parse(row, &delivery);
    char *text = delivery_render(&delivery);
    struct row rendered = {.id = row->id, .body = text, .body_length = strlen(text)};
    delivery_parse(&rendered, &again);
    must(again.cursor == delivery.cursor && again.failures == delivery.failures &&
         again.attempts == delivery.attempts && again.dead == delivery.dead &&
         again.succeeded == delivery.succeeded && again.failed == delivery.failed);
    free(text);
}

static void read_wish(const struct outbound *rules, const char *text, size_t length)
{
    json_t *wish = NULL;
    if (json_parse(text, length, NULL, &wish, NULL) != VIM_OK) {
        return;
    }
    struct findings create = {0};
    struct findings update = {0};
    subscription_check(wish, true, &create);
    subscription_check(wish, false, &update);
    must(update.count <= create.count);
    check_url(rules, json_get_text(wish, "url", ""));
    findings_free(&create);
    findings_free(&update);
    json_decref(wish);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct outbound *rules = rules_of(data[0]);
    char *text = text_duplicate_bytes((const char *)data + 1, size - 1);
    struct event_facts facts;
    bool is_event = event_facts_read(text, size - 1, &facts);
    struct row row = {.id = (char *)(uintptr_t) "00000000-0000-4000-8000-000000000000",
                      .parent = (char *)(uintptr_t) "p",
                      .body = text,
                      .body_length = size - 1,
                      .revision = 1};
    check_url(rules, text);
    read_wish(rules, text, size - 1);
    read_row(&row, is_event ? &facts : NULL);
    uint64_t number;
    char id[EVENT_ID_SIZE];
    if (event_number(text, &number)) {
        uint64_t same;
        must(event_number(event_id(number, id), &same) && same == number);
    }
    free(text);
    return 0;
}
