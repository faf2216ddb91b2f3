#include "model/subscription.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

void subscription_free(struct subscription *subscription)
{
    free(subscription->project);
    free(subscription->name);
    free(subscription->url);
    for (int i = 0; i < SUBSCRIPTION_SECRETS; i++) {
        if (subscription->secrets[i]) {
            explicit_bzero(subscription->secrets[i], strlen(subscription->secrets[i]));
        }
        free(subscription->secrets[i]);
    }
    memset(subscription, 0, sizeof(*subscription));
}

/* --- Filters: members with lists of words -------------------------------------------------------- */

static const struct {
    const char *member, *part;
} parts[] = {{"types", "type"}, {"kinds", "kind"}, {"resources", "resource"}, {"vims", "vim"}};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void read_part(const json_t *wish, size_t which, struct event_filter *filter,
                      struct findings *findings)
{
    char pointer[48];
    const json_t *list = json_object_get(wish, parts[which].member);
    (void)snprintf(pointer, sizeof(pointer), "/%s", parts[which].member);
    if (list && !json_is_null(list) && !json_is_array(list)) {
        findings_add(findings, pointer, "must be a list of texts");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        (void)snprintf(pointer, sizeof(pointer), "/%s/%zu", parts[which].member, i);
        if (!word || strchr(word, ',')) {
            findings_add(findings, pointer, "must be a text without commas");
        } else {
            event_filter_add(filter, parts[which].part, word, pointer, findings);
        }
        if (findings->count >= 32) {
            return;
        }
    }
}

static void check_secrets(const json_t *secrets, struct findings *findings)
{
    if (!json_is_array(secrets) || json_array_size(secrets) < 1 ||
        json_array_size(secrets) > SUBSCRIPTION_SECRETS) {
        findings_add(findings, "/secrets", "must be a list of one or two texts");
        return;
    }
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        const char *secret = json_string_value(json_array_get(secrets, i));
        size_t length = secret ? strlen(secret) : 0;
        if (length < SUBSCRIPTION_SECRET_MIN || length > SUBSCRIPTION_SECRET_MAX) {
            char pointer[32];
            (void)snprintf(pointer, sizeof(pointer), "/secrets/%zu", i);
            findings_add(findings, pointer, "must be a text of %d to %d bytes",
                         SUBSCRIPTION_SECRET_MIN, SUBSCRIPTION_SECRET_MAX);
        }
    }
}

void subscription_check(const json_t *wish, bool create, struct findings *findings)
{
    static const char known[] = "name url secrets enabled all_projects types kinds resources vims";
    struct event_filter filter = {0};
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)wish, member, value)
    {
        char pointer[128];
        (void)snprintf(pointer, sizeof(pointer), "/%.100s", member);
        if (strchr(member, ' ') || !text_has_word(known, member)) {
            char *nearest = text_nearest_word(known, member);
            findings_add(findings, pointer, "is not known%s%s", nearest ? "; the nearest is " : "",
                         nearest ? nearest : "");
            free(nearest);
        } else if (text_has_word("enabled all_projects", member) && !json_is_boolean(value)) {
            findings_add(findings, pointer, "must be true or false");
        } else if (text_has_word("name url", member) &&
                   (!json_is_string(value) ||
                    strlen(json_string_value(value)) > (strcmp(member, "url") == 0 ? 2048 : 255))) {
            findings_add(findings, pointer, "must be a text, and not too long");
        }
    }
    if (create && !json_object_get(wish, "url")) {
        findings_add(findings, "/url", "is required");
    }
    if (create || json_object_get(wish, "secrets")) {
        check_secrets(json_object_get(wish, "secrets"), findings);
    }
    for (size_t i = 0; i < PARTS; i++) {
        read_part(wish, i, &filter, findings);
    }
}

int subscription_parse(const struct row *row, struct subscription *ret_subscription,
                       struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    struct findings findings = {0};
    if (json_parse(row->body, row->body_length, NULL, &body, NULL) != VIM_OK ||
        !json_is_object(body) || !id_valid(row->id)) {
        return failure_set(failure, VIM_E_INTERNAL, "the row subscription/%s is not readable",
                           row->id);
    }
    struct subscription subscription = {
        .project = text_duplicate(row->parent),
        .name = text_duplicate(json_get_text(body, "name", "")),
        .url = text_duplicate(json_get_text(body, "url", "")),
        .all_projects = json_get_boolean(body, "all_projects", false),
        .enabled = json_get_boolean(body, "enabled", true),
        .revision = row->revision,
    };
    memcpy(subscription.id, row->id, ID_SIZE);
    const json_t *secrets = json_object_get(body, "secrets");
    for (size_t i = 0; i < json_array_size(secrets) && i < SUBSCRIPTION_SECRETS; i++) {
        subscription.secrets[i] = text_duplicate(json_string_value(json_array_get(secrets, i)));
    }
    for (size_t i = 0; i < PARTS; i++) {
        read_part(body, i, &subscription.filter, &findings);
    }
    findings_free(&findings);
    *ret_subscription = subscription;
    return VIM_OK;
}

bool subscription_wants(const struct subscription *subscription, const struct event_facts *facts)
{
    return (subscription->all_projects || facts->shared ||
            strcmp(facts->project, subscription->project) == 0) &&
           event_filter_match(&subscription->filter, facts);
}

/* --- Deliveries ---------------------------------------------------------------------------------- */

void delivery_parse(const struct row *row, struct delivery *ret_delivery)
{
    CLEANUP_JSON json_t *body = NULL;
    struct delivery delivery = {.revision = row->revision};
    if (json_parse(row->body, row->body_length, NULL, &body, NULL) == VIM_OK) {
        delivery.cursor = (uint64_t)json_get_integer(body, "cursor", 0);
        delivery.failures = (uint32_t)json_get_integer(body, "failures", 0);
        delivery.attempts = (uint32_t)json_get_integer(body, "attempts", 0);
        delivery.succeeded = json_get_integer(body, "succeeded", 0);
        delivery.failed = json_get_integer(body, "failed", 0);
        delivery.dead = (uint64_t)json_get_integer(body, "dead", 0);
        (void)snprintf(delivery.error, sizeof(delivery.error), "%s",
                       json_get_text(body, "error", ""));
    }
    *ret_delivery = delivery;
}

char *delivery_render(const struct delivery *delivery)
{
    struct text text = {0};
    text_printf(&text,
                "{\"cursor\":%llu,\"failures\":%u,\"attempts\":%u,\"succeeded\":%lld,"
                "\"failed\":%lld,\"dead\":%llu,\"error\":",
                (unsigned long long)delivery->cursor, delivery->failures, delivery->attempts,
                (long long)delivery->succeeded, (long long)delivery->failed,
                (unsigned long long)delivery->dead);
    json_add_string(&text, delivery->error);
    text_add_char(&text, '}');
    return text_take(&text);
}
