#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* jansson recurses up to 2048 levels; a document is measured before it gets there. */
static int too_deep(const char *text, size_t length)
{
    int depth = 0;
    int in_text = 0;

    for (size_t at = 0; at < length; at++) {
        char c = text[at];
        if (in_text) {
            if (c == '\\') {
                at++;
            } else if (c == '"') {
                in_text = 0;
            }
        } else if (c == '"') {
            in_text = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > OS_JSON_DEPTH) {
                return 1;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

/* The code unit of the \uXXXX at TEXT, or -1. */
static int code_unit(const char *text)
{
    int value = 0;

    if (text[0] != '\\' || text[1] != 'u') {
        return -1;
    }
    for (int at = 2; at < 6; at++) {
        const char *digits = "0123456789abcdef";
        const char *digit = text[at] == '\0' ? NULL : strchr(digits, text[at] | 0x20);
        if (digit == NULL) {
            return -1;
        }
        value = value * 16 + (int)(digit - digits);
    }
    return value;
}

/* Puts a replacement character for the escape at TEXT if it is a NUL or half a pair. Returns the
 * length of the escape. */
static size_t tame_escape(char *text)
{
    int unit = code_unit(text);
    int other = unit >= 0xd800 && unit < 0xdc00 ? code_unit(text + 6) : -1;

    if (other >= 0xdc00 && other < 0xe000) {
        return 12;
    }
    if (unit == 0 || (unit >= 0xd800 && unit < 0xe000)) {
        memcpy(text + 2, "fffd", 4);
    }
    return unit < 0 ? 1 + (text[1] != '\0') : 6;
}

/* Puts null for the number at TEXT if it is beyond what can be held. Returns its length. */
static size_t tame_number(char *text)
{
    size_t length = strspn(text, "+-.0123456789eE");
    int beyond;

    errno = 0;
    if (strcspn(text, ".eE") < length) {
        beyond = isinf(strtod(text, NULL)) != 0;
    } else {
        (void)strtoll(text, NULL, 10);
        beyond = errno == ERANGE;
    }
    if (beyond && length > 4) {
        memset(text, ' ', length);
        memcpy(text, "null", 4);
    }
    return length;
}

/* What one tenant has put into one field must not make a whole list unreadable: numbers that no
 * integer or double holds, and characters that no C text holds. */
static void tame(char *text)
{
    int in_text = 0;

    while (*text != '\0') {
        if (in_text && *text == '\\') {
            text += tame_escape(text);
        } else if (!in_text && strchr("-0123456789", *text) != NULL) {
            text += tame_number(text);
        } else {
            in_text ^= *text == '"';
            text++;
        }
    }
}

json_t *os_json_parse(const char *text, size_t length)
{
    json_error_t error;
    json_t *json;

    if (text == NULL || too_deep(text, length)) {
        return NULL;
    }
    json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        OS_TEXT copy = malloc(length + 1);
        if (copy != NULL) {
            memcpy(copy, text, length);
            copy[length] = '\0';
            tame(copy);
            json = json_loads(copy, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        }
    }
    return json;
}

const char *os_json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

int64_t os_json_integer(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

int os_json_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void os_json_copy(json_t *to, const char *to_key, const json_t *from, const char *from_key,
                  json_type type)
{
    json_t *value = json_object_get(from, from_key);

    if (value == NULL) {
        return;
    }
    if (type == JSON_TRUE ? json_is_boolean(value) : json_typeof(value) == type) {
        json_object_set(to, to_key, value);
    }
}

void os_json_copy_time(json_t *to, const char *to_key, const json_t *from, const char *from_key)
{
    const char *text = os_json_text(from, from_key);
    char out[32];
    struct tm parts;
    int64_t ms = text == NULL ? 0 : os_time_parse(text);
    time_t seconds = (time_t)(ms / 1000);

    if (ms != 0 && gmtime_r(&seconds, &parts) != NULL &&
        strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0) {
        json_object_set_new(to, to_key, json_string(out));
    }
}

char *os_json_dump(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *os_text(const char *format, ...)
{
    char *text = NULL;
    va_list values;
    int length;

    va_start(values, format);
    length = vasprintf(&text, format, values);
    va_end(values);
    return length < 0 ? NULL : text;
}

char *os_escape(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *out = malloc(3 * strlen(text) + 1);
    char *to = out;

    if (out == NULL) {
        return NULL;
    }
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            *to++ = *text;
        } else {
            to += sprintf(to, "%%%02X", (unsigned char)*text);
        }
    }
    *to = '\0';
    return out;
}

int64_t os_time_parse(const char *text)
{
    struct tm parts = {0};
    int used = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
               &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &used) != 6 ||
        parts.tm_year < 1970 || parts.tm_year > 9999 || parts.tm_mon < 1 || parts.tm_mon > 12 ||
        parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour < 0 || parts.tm_hour > 23 ||
        parts.tm_min < 0 || parts.tm_min > 59 || parts.tm_sec < 0 || parts.tm_sec > 60) {
        return 0;
    }
    text += used;
    if (*text == '.') {
        text += 1 + strspn(text + 1, "0123456789");
    }
    if (strcmp(text, "") != 0 && strcmp(text, "Z") != 0 && strcmp(text, "+00:00") != 0) {
        return 0;
    }
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return (int64_t)timegm(&parts) * 1000;
}

int os_is_uuid(const char *text)
{
    size_t at;

    for (at = 0; text[at] != '\0'; at++) {
        int hyphen = at == 8 || at == 13 || at == 18 || at == 23;
        if (at >= 36 || (hyphen ? text[at] != '-' : strchr("0123456789abcdef", text[at]) == NULL)) {
            return 0;
        }
    }
    return at == 36;
}
