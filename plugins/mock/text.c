#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct text *text, size_t more)
{
    if (text->room - text->length > more) {
        return;
    }
    size_t room = text->room ? text->room : 256;
    while (room - text->length <= more) {
        room *= 2;
    }
    char *bytes = realloc(text->bytes, room);
    if (bytes == NULL) {
        abort();
    }
    text->bytes = bytes;
    text->room = room;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
    reserve(text, length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_addf(struct text *text, const char *format, ...)
{
    char small[256];
    va_list values;
    va_list again;
    va_start(values, format);
    va_copy(again, values);
    int length = vsnprintf(small, sizeof(small), format, values);
    va_end(values);
    if (length >= 0 && (size_t)length < sizeof(small)) {
        text_add(text, small, (size_t)length);
    } else if (length >= 0) {
        reserve(text, (size_t)length);
        (void)vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void text_add_json(struct text *text, const char *value)
{
    text_add(text, "\"", 1);
    for (const char *at = value; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\') {
            text_addf(text, "\\%c", byte);
        } else if (byte < 0x20) {
            text_addf(text, "\\u%04x", byte);
        } else {
            text_add(text, at, 1);
        }
    }
    text_add(text, "\"", 1);
}

void text_free(struct text *text)
{
    free(text->bytes);
    memset(text, 0, sizeof(*text));
}
