/*
 * model/kinds_values.c - what a value has to be by itself: its type, its bounds, its form.
 */
#include "model/kinds.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds_private.h"

static const char *type_words(const struct field *field)
{
    switch (field->type) {
    case FIELD_INTEGER:
        return "an integer";
    case FIELD_BOOLEAN:
        return "true or false";
    case FIELD_TEXTS:
        return "an object of texts";
    case FIELD_LIST:
        return "a list";
    case FIELD_OBJECT:
    case FIELD_MAP:
        return "an object";
    case FIELD_TIME:
        return "a time as in 2026-01-31T12:00:00Z";
    case FIELD_ADDRESS:
        return "an IPv4 or IPv6 address";
    case FIELD_CIDR:
        return "a network as in 192.0.2.0/24";
    case FIELD_MAC:
        return "a MAC address as in fa:16:3e:00:00:01";
    case FIELD_BASE64:
        return "base64";
    case FIELD_REFERENCE:
        return "an id or a name";
    case FIELD_TEXT:
    case FIELD_CHOICE:
        break;
    }
    return "a text";
}

static bool type_is_right(const struct field *field, const json_t *value)
{
    switch (field->type) {
    case FIELD_INTEGER:
        return json_is_integer(value);
    case FIELD_BOOLEAN:
        return json_is_boolean(value);
    case FIELD_LIST:
        return json_is_array(value);
    case FIELD_TEXTS:
    case FIELD_OBJECT:
    case FIELD_MAP:
        return json_is_object(value);
    default:
        return json_is_string(value);
    }
}

/* Length in code points, as JSON Schema counts. Texts of JSON are well-formed UTF-8. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static void check_text(struct check *check, const struct field *field, const json_t *value)
{
    int64_t length = (int64_t)characters(json_string_value(value));
    if (check->body) {
        return;
    }
    if (length < field->minimum) {
        ADD(check, field->minimum == 1 ? "must not be empty" : "is shorter than it has to be");
    } else if (field->maximum > 0 && length > field->maximum) {
        ADD(check, "is %" PRId64 " characters long; at most %" PRId64 " are allowed", length,
            field->maximum);
    }
    for (const char *c = json_string_value(value); *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 && (field->maximum <= 255 || (*c != '\n' && *c != '\t'))) {
            ADD(check, "must not hold control characters");
            break;
        }
    }
}

static void check_reference(struct check *check, const json_t *value)
{
    size_t length = characters(json_string_value(value));
    if (length == 0 || length > 255) {
        ADD(check, "must be an id or a name of 1 to 255 characters");
    }
}

static void check_choice(struct check *check, const struct field *field, const char *word)
{
    /* A text with a space in it would match two words. */
    if (*word != '\0' && strchr(word, ' ') == NULL && text_has_word(field->choices, word)) {
        return;
    }
    CLEANUP_FREE char *nearest = text_nearest_word(field->choices, word);
    if (nearest) {
        ADD(check, "must be one of: %s; did you mean %s?", field->choices, nearest);
    } else {
        ADD(check, "must be one of: %s", field->choices);
    }
}

static void check_integer(struct check *check, const struct field *field, int64_t value)
{
    if (check->body || (field->minimum == 0 && field->maximum == 0)) {
        return;
    }
    if (value < field->minimum || value > field->maximum) {
        ADD(check, "must be from %" PRId64 " to %" PRId64, field->minimum, field->maximum);
    }
}

static void check_texts(struct check *check, const struct field *field, const json_t *object)
{
    if (!check->body && field->maximum > 0 && (int64_t)json_object_size(object) > field->maximum) {
        ADD(check, "has %zu members; at most %" PRId64 " are allowed", json_object_size(object),
            field->maximum);
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t before = place_enter(&check->place, key);
        if (!json_is_string(value)) {
            ADD(check, "must be a text");
        } else if (!check->body && (*key == '\0' || characters(key) > 255)) {
            ADD(check, "the name of a member must have 1 to 255 characters");
        } else if (!check->body && characters(json_string_value(value)) > 4096) {
            ADD(check, "is longer than 4096 characters");
        }
        text_truncate(&check->place.pointer, before);
    }
}

/* Texts that have a form; what has none is right. */
static bool form_is_right(const struct field *field, const char *text)
{
    int64_t ms;
    switch (field->type) {
    case FIELD_BASE64:
        return digest_is_base64(text, strlen(text));
    case FIELD_TIME:
        return clock_parse_rfc3339(text, &ms) == VIM_OK;
    case FIELD_ADDRESS:
        return network_is_address(text);
    case FIELD_CIDR:
        return network_is_cidr(text);
    case FIELD_MAC:
        return network_is_mac(text);
    default:
        return true;
    }
}

static void check_form(struct check *check, const struct field *field, const char *text)
{
    if (field->type == FIELD_BASE64 && field->maximum > 0 &&
        (int64_t)strlen(text) > field->maximum) {
        ADD(check, "is %zu bytes long; at most %" PRId64 " are allowed", strlen(text),
            field->maximum);
    } else if (field->type == FIELD_CIDR && network_has_host_bits(text)) {
        ADD(check, "has host bits that are not zero");
    } else if (!form_is_right(field, text)) {
        ADD(check, "must be %s%s", type_words(field),
            field->flags & FIELD_NULLABLE ? " or null" : "");
    }
}

bool check_type(struct check *check, const struct field *field, const json_t *value)
{
    if (!type_is_right(field, value)) {
        ADD(check, "must be %s%s", type_words(field),
            field->flags & FIELD_NULLABLE ? " or null" : "");
        return false;
    }
    return true;
}

void check_plain(struct check *check, const struct field *field, const json_t *value)
{
    switch (field->type) {
    case FIELD_TEXT:
        check_text(check, field, value);
        break;
    case FIELD_REFERENCE:
        check_reference(check, value);
        break;
    case FIELD_CHOICE:
        check_choice(check, field, json_string_value(value));
        break;
    case FIELD_INTEGER:
        check_integer(check, field, json_integer_value(value));
        break;
    case FIELD_BOOLEAN:
        break;
    case FIELD_TEXTS:
        check_texts(check, field, value);
        break;
    default:
        check_form(check, field, json_string_value(value));
        break;
    }
}

void labels_check(const json_t *labels, bool nulls, struct findings *findings)
{
    struct check check = {.findings = findings};
    if (nulls && json_is_null(labels)) {
        return;
    }
    if (!json_is_object(labels)) {
        findings_add(findings, "/labels", "must be an object of texts%s", nulls ? " or null" : "");
        return;
    }
    if (json_object_size(labels) > 64) {
        findings_add(findings, "/labels", "has %zu members; at most 64 are allowed",
                     json_object_size(labels));
        return;
    }
    place_enter(&check.place, "labels");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)labels, key, value)
    {
        size_t before = place_enter(&check.place, key);
        size_t length = strlen(key);
        if (length < 1 || length > 63 ||
            strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") !=
                length) {
            ADD(&check, "a label's name has 1 to 63 letters, digits and -_./");
        } else if (!(json_is_string(value) || (nulls && json_is_null(value)))) {
            ADD(&check, "must be a text%s", nulls ? " or null" : "");
        } else if (json_is_string(value) && characters(json_string_value(value)) > 255) {
            ADD(&check, "is longer than 255 characters");
        }
        text_truncate(&check.place.pointer, before);
    }
    text_free(&check.place.pointer);
}
