/*
 * How fields become text. Every value goes through log_line_field(), which redacts, cuts and
 * quotes: there is no other way into a line.
 */
#include "base/log_line.h"
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"

/* --- Values ------------------------------------------------------------------------------------ */

/* Is the UTF-8 sequence something that a terminal or a line reader could act on? */
static bool is_control(const char *at, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)at;
    if (length == 1) {
        return bytes[0] < 0x20 || bytes[0] == 0x7F;
    }
    return (length == 2 && bytes[0] == 0xC2 && bytes[1] < 0xA0) || /* C1 controls */
           (length == 3 && bytes[0] == 0xE2 && bytes[1] == 0x80 &&
            (bytes[2] == 0xA8 || bytes[2] == 0xA9)); /* line and paragraph separator */
}

static bool needs_quotes(const char *value, size_t length)
{
    for (size_t i = 0, step; i < length; i += step) {
        step = text_utf8_step(value + i, length - i);
        if (step == 0 || is_control(value + i, step) || strchr(" \"=\\", value[i])) {
            return true;
        }
    }
    return length == 0;
}

static void add_quoted(struct text *text, const char *value, size_t length)
{
    text_add_char(text, '"');
    for (size_t i = 0, step; i < length; i += step) {
        step = text_utf8_step(value + i, length - i);
        bool raw = step > 0 && !is_control(value + i, step);
        if (value[i] == '\n') {
            text_add(text, "\\n");
        } else if (value[i] == '\r') {
            text_add(text, "\\r");
        } else if (value[i] == '\t') {
            text_add(text, "\\t");
        } else if (value[i] == '"' || value[i] == '\\') {
            text_add_char(text, '\\');
            text_add_char(text, value[i]);
        } else if (raw) {
            text_add_bytes(text, value + i, step);
        } else {
            step = step ? step : 1;
            for (size_t j = 0; j < step; j++) {
                text_printf(text, "\\x%02x", (unsigned char)value[i + j]);
            }
        }
    }
    text_add_char(text, '"');
}

static void add_value(struct log_line *line, const char *value, size_t length)
{
    CLEANUP_TEXT struct text clean = {0};
    text_add_bytes(&clean, value, length);
    log_redact(&clean);
    if (clean.length > LOG_VALUE_MAX) {
        text_truncate(&clean, LOG_VALUE_MAX);
        text_add(&clean, "...");
    }
    if (line->format == LOG_JSON) {
        json_add_string_bytes(&line->text, clean.data, clean.length);
    } else if (needs_quotes(clean.data, clean.length)) {
        add_quoted(&line->text, clean.data, clean.length);
    } else {
        text_add_bytes(&line->text, clean.data, clean.length);
    }
}

void log_line_field(struct log_line *line, const char *key, size_t key_length, const char *value,
                    size_t value_length)
{
    bool json = line->format == LOG_JSON;
    if (line->text.length) {
        text_add_char(&line->text, json ? ',' : ' ');
    }
    text_add(&line->text, json ? "\"" : "");
    for (size_t i = 0; i < key_length && i < 64; i++) {
        bool fine = isalnum((unsigned char)key[i]) || strchr("_.-", key[i]);
        text_add_char(&line->text, fine && key[i] ? key[i] : '_');
    }
    text_add(&line->text, json ? "\":" : "=");
    add_value(line, value, value_length);
}

static void add_field(struct log_line *line, const char *key, const char *value)
{
    log_line_field(line, key, strlen(key), value, strlen(value));
}

void log_line_start(struct log_line *line, enum log_format format, int level, const char *event)
{
    char time[CLOCK_TEXT_SIZE];
    *line = (struct log_line){.format = format};
    add_field(line, "time", clock_format_rfc3339(clock_now_ms(), time));
    add_field(line, "level", log_level_name(level));
    add_field(line, "event", event ? event : "");
}

void log_line_end(struct log_line *line)
{
    if (line->format == LOG_JSON) {
        struct text whole = {0};
        text_add_char(&whole, '{');
        text_add_bytes(&whole, line->text.data, line->text.length);
        text_add_char(&whole, '}');
        text_free(&line->text);
        line->text = whole;
    }
    text_add_char(&line->text, '\n');
}

/* --- printf formats ---------------------------------------------------------------------------- */

/* One conversion, taken apart: the specification without its length modifier. */
struct conversion {
    char flags[16];
    int width, precision; /* -1: not given */
    char length[3];
    char type;
};

static int read_number(const char **at, struct log_values *values)
{
    if (**at == '*') {
        (*at)++;
        return va_arg(values->list, int);
    }
    int number = 0;
    while (isdigit((unsigned char)**at)) {
        number = number < 100000 ? number * 10 + (**at - '0') : number;
        (*at)++;
    }
    return number;
}

/* AT is behind the %; returns what is behind the conversion. */
static const char *read_conversion(const char *at, struct log_values *values,
                                   struct conversion *ret_conversion)
{
    struct conversion conversion = {.width = -1, .precision = -1};
    for (size_t i = 0; *at && strchr("-+ #0", *at); at++) {
        if (i + 1 < sizeof(conversion.flags)) {
            conversion.flags[i++] = *at;
        }
    }
    if (*at == '*' || isdigit((unsigned char)*at)) {
        conversion.width = read_number(&at, values);
    }
    if (*at == '.') {
        at++;
        conversion.precision = read_number(&at, values);
    }
    for (size_t i = 0; *at && strchr("hljztL", *at); at++) {
        if (i < 2) {
            conversion.length[i++] = *at;
        }
    }
    conversion.type = *at;
    *ret_conversion = conversion;
    return *at ? at + 1 : at;
}

static intmax_t take_signed(const char *length, struct log_values *values)
{
    switch (length[0]) {
    case 'l':
        return length[1] ? va_arg(values->list, long long) : va_arg(values->list, long);
    case 'j':
        return va_arg(values->list, intmax_t);
    case 'z':
    case 't':
        return va_arg(values->list, ptrdiff_t);
    case 'h':
        return length[1] ? (signed char)va_arg(values->list, int)
                         : (short)va_arg(values->list, int);
    default:
        return va_arg(values->list, int);
    }
}

static uintmax_t take_unsigned(const char *length, struct log_values *values)
{
    switch (length[0]) {
    case 'l':
        return length[1] ? va_arg(values->list, unsigned long long)
                         : va_arg(values->list, unsigned long);
    case 'j':
        return va_arg(values->list, uintmax_t);
    case 'z':
    case 't':
        return va_arg(values->list, size_t);
    case 'h':
        return length[1] ? (unsigned char)va_arg(values->list, int)
                         : (unsigned short)va_arg(values->list, int);
    default:
        return va_arg(values->list, unsigned);
    }
}

/* The format is put together from parts that were checked one by one. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void add_conversion(struct text *text, const struct conversion *conversion,
                           struct log_values *values)
{
    char format[64], width[12] = "", precision[14] = "", out[512];
    if (conversion->width >= 0) {
        snprintf(width, sizeof(width), "%d", conversion->width < 400 ? conversion->width : 400);
    }
    if (conversion->precision >= 0) {
        snprintf(precision, sizeof(precision), ".%d",
                 conversion->precision < 100 ? conversion->precision : 100);
    }
    const char *string;
    char type = conversion->type;
    snprintf(format, sizeof(format), "%%%s%s%s%s%c", conversion->flags, width, precision,
             strchr("diuxXo", type) ? "j" : "", type);
    switch (type) {
    case 's':
        string = va_arg(values->list, const char *);
        if (string) {
            text_add_bytes(text, string,
                           conversion->precision >= 0
                               ? strnlen(string, (size_t)conversion->precision)
                               : strlen(string));
        }
        return;
    case 'd':
    case 'i':
        snprintf(out, sizeof(out), format, take_signed(conversion->length, values));
        break;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        snprintf(out, sizeof(out), format, take_unsigned(conversion->length, values));
        break;
    case 'f':
    case 'g':
    case 'e':
        snprintf(out, sizeof(out), format, va_arg(values->list, double));
        break;
    case 'c':
        snprintf(out, sizeof(out), "%c", va_arg(values->list, int));
        break;
    case 'p':
        snprintf(out, sizeof(out), "%p", va_arg(values->list, void *));
        break;
    default:
        snprintf(out, sizeof(out), "%%");
        break;
    }
    text_add(text, out);
}
#pragma GCC diagnostic pop

void log_line_format(struct log_line *line, const char *format, struct log_values *values)
{
    CLEANUP_TEXT struct text value = {0};
    const char *at = format + strspn(format, " ");
    while (*at) {
        size_t key_length = strcspn(at, "= ");
        const char *key = at;
        at += key_length + (at[key_length] == '=');
        text_clear(&value);
        while (*at && *at != ' ') {
            if (*at != '%') {
                text_add_char(&value, *at++);
                continue;
            }
            struct conversion conversion;
            at = read_conversion(at + 1, values, &conversion);
            add_conversion(&value, &conversion, values);
        }
        log_line_field(line, key, key_length, text_get(&value), value.length);
        at += strspn(at, " ");
    }
}

/* --- Foreign fields ---------------------------------------------------------------------------- */

/* Reads "..." with backslash escapes; returns what is behind it, or NULL. */
static const char *read_quoted(const char *at, struct text *ret_value)
{
    for (at++; *at != '"'; at++) {
        if (*at == '\0') {
            return NULL;
        }
        if (*at == '\\' && at[1]) {
            at++;
            text_add_char(ret_value, *at == 'n' ? '\n' : *at == 't' ? '\t' : *at);
        } else {
            text_add_char(ret_value, *at);
        }
    }
    return at + 1;
}

void log_line_foreign(struct log_line *line, const char *fields)
{
    CLEANUP_TEXT struct text clean = {0}; /* a secret may span what looks like several fields */
    text_add(&clean, fields);
    log_redact(&clean);
    CLEANUP_TEXT struct text value = {0};
    const char *at = text_get(&clean);
    at += strspn(at, " \t\r\n");
    while (*at) {
        size_t key_length = strcspn(at, "= \"\t\r\n");
        const char *behind = at + key_length + 1;
        text_clear(&value);
        if (key_length == 0 || at[key_length] != '=') {
            behind = NULL;
        } else if (*behind == '"') {
            behind = read_quoted(behind, &value);
        } else {
            size_t length = strcspn(behind, " \t\r\n");
            text_add_bytes(&value, behind, length);
            behind += length;
        }
        if (!behind || (*behind && !isspace((unsigned char)*behind))) {
            add_field(line, "text", at);
            return;
        }
        log_line_field(line, at, key_length, text_get(&value), value.length);
        at = behind + strspn(behind, " \t\r\n");
    }
}
