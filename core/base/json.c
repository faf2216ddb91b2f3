#include "base/json.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/memory.h"
#include "base/text.h"

static void fault_set(struct json_fault *fault, int line, int column, const char *text)
{
    if (fault) {
        *fault = (struct json_fault){.line = line, .column = column};
        snprintf(fault->text, sizeof(fault->text), "%s", text);
    }
}

/* Where the text is nested deeper than DEPTH, or NULL. Done before parsing: the parser recurses. */
static const char *too_deep(const char *text, size_t length, unsigned depth)
{
    unsigned level = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++level > depth) {
                return text + i;
            }
        } else if ((c == '}' || c == ']') && level) {
            level--;
        }
    }
    return NULL;
}

static void place_of(const char *text, const char *at, int *ret_line, int *ret_column)
{
    *ret_line = *ret_column = 1;
    for (; text < at; text++) {
        *ret_column = *text == '\n' ? 1 : *ret_column + 1;
        *ret_line += *text == '\n';
    }
}

int json_parse(const char *text, size_t length, const struct json_limits *limits, json_t **ret_json,
               struct json_fault *ret_fault)
{
    size_t size = limits && limits->size ? limits->size : JSON_SIZE_DEFAULT;
    unsigned depth = limits && limits->depth ? limits->depth : JSON_DEPTH_DEFAULT;
    char why[80];
    if (length > size) {
        snprintf(why, sizeof(why), "larger than %zu bytes", size);
        fault_set(ret_fault, 0, 0, why);
        return VIM_E_INVALID;
    }
    const char *deep = too_deep(text, length, depth);
    if (deep) {
        int line, column;
        place_of(text, deep, &line, &column);
        snprintf(why, sizeof(why), "nested deeper than %u levels", depth);
        fault_set(ret_fault, line, column, why);
        return VIM_E_INVALID;
    }
    /* Jansson passes over a NUL that stands behind a number. */
    const char *nul = length ? memchr(text, '\0', length) : NULL;
    if (nul) {
        int line, column;
        place_of(text, nul, &line, &column);
        fault_set(ret_fault, line, column, "a NUL byte");
        return VIM_E_INVALID;
    }
    json_error_t error;
    json_t *json =
        json_loadb(length ? text : "", length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json) {
        bool nul_letter = json_error_code(&error) == json_error_null_character;
        fault_set(ret_fault, error.line < 1 ? 1 : error.line, error.column < 1 ? 1 : error.column,
                  nul_letter ? "\\u0000 is not taken in texts" : error.text);
        return VIM_E_INVALID;
    }
    *ret_json = json;
    return VIM_OK;
}

static int add_part(const char *buffer, size_t size, void *argument)
{
    text_add_bytes(argument, buffer, size);
    return 0;
}

static void print_with(struct text *text, const json_t *json, size_t flags)
{
    flags |= JSON_COMPACT | JSON_ENCODE_ANY;
    if (!json || json_dump_callback(json, add_part, text, flags) != 0) {
        text_add(text, "null"); /* NULL, or a reference cycle: no JSON value */
    }
}

void json_print_to(struct text *text, const json_t *json)
{
    print_with(text, json, 0);
}

void json_print_measured(struct text *text, const json_t *json)
{
    print_with(text, json, JSON_REAL_PRECISION(15));
}

char *json_print(const json_t *json)
{
    struct text text = {0};
    json_print_to(&text, json);
    return text_take(&text);
}

void json_add_string(struct text *text, const char *string)
{
    if (!string) {
        text_add(text, "null");
        return;
    }
    json_add_string_bytes(text, string, strlen(string));
}

/* How many bytes from AT on stand for themselves in a JSON string. */
static size_t plain_length(const char *at, size_t left)
{
    size_t length = 0;
    while (length < left && (unsigned char)at[length] >= 0x20 && at[length] != '"' &&
           at[length] != '\\') {
        size_t step = text_utf8_step(at + length, left - length);
        if (step == 0) {
            break;
        }
        length += step;
    }
    return length;
}

void json_add_string_bytes(struct text *text, const char *string, size_t length)
{
    text_add_char(text, '"');
    while (length) {
        size_t plain = plain_length(string, length);
        text_add_bytes(text, string, plain);
        string += plain;
        length -= plain;
        if (!length) {
            break;
        }
        unsigned char c = (unsigned char)*string++;
        length--;
        switch (c) {
        case '"':
            text_add(text, "\\\"");
            break;
        case '\\':
            text_add(text, "\\\\");
            break;
        case '\n':
            text_add(text, "\\n");
            break;
        case '\r':
            text_add(text, "\\r");
            break;
        case '\t':
            text_add(text, "\\t");
            break;
        default:
            if (c < 0x20) {
                text_printf(text, "\\u%04x", c);
            } else {
                text_add(text, "\xEF\xBF\xBD");
            }
        }
    }
    text_add_char(text, '"');
}

const char *json_get_text(const json_t *object, const char *member, const char *otherwise)
{
    const json_t *value = json_object_get(object, member);
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

int64_t json_get_integer(const json_t *object, const char *member, int64_t otherwise)
{
    const json_t *value = json_object_get(object, member);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

int64_t json_get_within(const json_t *object, const char *member, int64_t minimum, int64_t maximum)
{
    int64_t value = json_get_integer(object, member, 0);
    return value < minimum || value > maximum ? 0 : value;
}

double json_get_number(const json_t *object, const char *member, double otherwise)
{
    const json_t *value = json_object_get(object, member);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool json_get_boolean(const json_t *object, const char *member, bool otherwise)
{
    const json_t *value = json_object_get(object, member);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* json_string() refuses what is not UTF-8; a foreign text then becomes readable instead of lost. */
static json_t *string_of(const char *value)
{
    if (text_is_utf8(value, strlen(value))) {
        return json_string_nocheck(value);
    }
    CLEANUP_TEXT struct text clean = {0};
    for (size_t left = strlen(value); left;) {
        size_t step = text_utf8_step(value, left);
        text_add_bytes(&clean, step ? value : "\xEF\xBF\xBD", step ? step : 3);
        step = step ? step : 1;
        value += step;
        left -= step;
    }
    return json_string_nocheck(text_get(&clean));
}

void json_set_text(json_t *object, const char *member, const char *value)
{
    if (value) {
        json_object_set_new(object, member, string_of(value));
    } else {
        json_object_del(object, member);
    }
}

void json_set_integer(json_t *object, const char *member, int64_t value)
{
    json_object_set_new(object, member, json_integer(value));
}

void json_set_boolean(json_t *object, const char *member, bool value)
{
    json_object_set_new(object, member, json_boolean(value));
}

/* --- Pointers ------------------------------------------------------------------------------------ */

void json_pointer_add(struct text *pointer, const char *member)
{
    text_add_char(pointer, '/');
    for (const char *c = member; *c != '\0'; c++) {
        if (*c == '~') {
            text_add(pointer, "~0");
        } else if (*c == '/') {
            text_add(pointer, "~1");
        } else {
            text_add_char(pointer, *c);
        }
    }
}

char *json_pointer(const char *first, ...)
{
    struct text pointer = {0};
    va_list members;
    va_start(members, first);
    for (const char *member = first; member; member = va_arg(members, const char *)) {
        json_pointer_add(&pointer, member);
    }
    va_end(members);
    return text_take(&pointer);
}

/* The member that MEMBER, escaped and of LENGTH bytes, names. */
static json_t *pointer_step(const json_t *value, const char *member, size_t length)
{
    CLEANUP_TEXT struct text name = {0};
    for (size_t i = 0; i < length; i++) {
        bool escaped = member[i] == '~' && i + 1 < length;
        i += escaped;
        text_add_char(&name, !escaped ? member[i] : member[i] == '1' ? '/' : '~');
    }
    long long index;
    if (json_is_array(value)) {
        bool fine = text_to_integer(text_get(&name), &index) == VIM_OK && index >= 0;
        return fine ? json_array_get(value, (size_t)index) : NULL;
    }
    return json_object_get(value, text_get(&name));
}

json_t *json_pointer_get(const json_t *value, const char *pointer)
{
    json_t *at = (json_t *)(uintptr_t)value;
    while (at && *pointer == '/') {
        size_t length = strcspn(pointer + 1, "/");
        at = pointer_step(at, pointer + 1, length);
        pointer += 1 + length;
    }
    return at;
}
