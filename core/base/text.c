#include "base/text.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/memory.h"

void text_free(struct text *text)
{
    if (text) {
        free(text->data);
        *text = (struct text){0};
    }
}

void text_clear(struct text *text)
{
    text_truncate(text, 0);
}

const char *text_get(const struct text *text)
{
    return text->data ? text->data : "";
}

char *text_reserve(struct text *text, size_t extra)
{
    size_t needed = text->length + extra + 1;
    assert(needed > extra);
    if (needed > text->capacity) {
        size_t capacity = text->capacity ? text->capacity : 64;
        while (capacity < needed) {
            capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
        }
        text->data = memory_resize(text->data, capacity, 1);
        text->capacity = capacity;
        text->data[text->length] = '\0';
    }
    return text->data + text->length;
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
    char *end = text_reserve(text, length);
    if (length) {
        memcpy(end, bytes, length);
    }
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    if (string) {
        text_add_bytes(text, string, strlen(string));
    }
}

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

void text_vprintf(struct text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    char *end = text_reserve(text, 0);
    size_t room = text->capacity - text->length;
    int length = vsnprintf(end, room, format, arguments);
    assert(length >= 0);
    if ((size_t)length >= room) {
        end = text_reserve(text, (size_t)length);
        length = vsnprintf(end, (size_t)length + 1, format, again);
    }
    text->length += (size_t)length;
    va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(text, format, arguments);
    va_end(arguments);
}

void text_truncate(struct text *text, size_t length)
{
    if (length < text->length) {
        text->length = length;
        text->data[length] = '\0';
    }
}

char *text_take(struct text *text)
{
    text_reserve(text, 0);
    char *data = text->data;
    *text = (struct text){0};
    return data;
}

char *text_duplicate(const char *string)
{
    return string ? memory_copy(string, strlen(string) + 1) : NULL;
}

char *text_duplicate_bytes(const char *bytes, size_t length)
{
    char *copy = memory_resize(NULL, length + 1, 1);
    if (length) {
        memcpy(copy, bytes, length);
    }
    copy[length] = '\0';
    return copy;
}

char *text_format(const char *format, ...)
{
    struct text text = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&text, format, arguments);
    va_end(arguments);
    return text_take(&text);
}

bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool text_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

/* Steps to the next word of a list; NULL at its end. */
static const char *next_word(const char *at, size_t *ret_length)
{
    at += strspn(at, " ");
    *ret_length = strcspn(at, " ");
    return *ret_length ? at : NULL;
}

bool text_has_word(const char *list, const char *word)
{
    if (!list || !word) {
        return false;
    }
    size_t wanted = strlen(word), length;
    for (const char *at = list; (at = next_word(at, &length)); at += length) {
        if (length == wanted && memcmp(at, word, length) == 0) {
            return true;
        }
    }
    return false;
}

#define NEAREST_MAX 64u

/* Edit distance in which two swapped neighbours count once; NEAREST_MAX for words too long. */
static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned rows[3][NEAREST_MAX + 1];
    if (a_length > NEAREST_MAX || b_length > NEAREST_MAX) {
        return NEAREST_MAX;
    }
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            /* Who mistook the case meant the same word. */
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = above[j - 1] + (same ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

char *text_nearest_word(const char *list, const char *word)
{
    size_t wanted = strlen(word), length, best_length = 0;
    const char *best = NULL;
    /* About one mistake in three letters is still the same word. */
    unsigned limit = (unsigned)(wanted < 3 ? 1 : (wanted + 2) / 3), best_distance = limit + 1;
    for (const char *at = list ? list : ""; (at = next_word(at, &length)); at += length) {
        unsigned distance = edit_distance(word, wanted, at, length);
        if (distance < best_distance && distance < length) {
            best = at;
            best_length = length;
            best_distance = distance;
        }
    }
    return best ? text_duplicate_bytes(best, best_length) : NULL;
}

size_t text_utf8_step(const char *string, size_t left)
{
    const unsigned char *at = (const unsigned char *)string;
    if (at[0] < 0x80) {
        return 1;
    }
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || left < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool bad = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) ||
               (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F);
    return bad ? 0 : length;
}

bool text_is_utf8(const char *string, size_t length)
{
    while (length) {
        uint64_t word;
        if (length >= sizeof(word)) {
            memcpy(&word, string, sizeof(word));
            if ((word & 0x8080808080808080u) == 0) { /* eight letters of ASCII */
                string += sizeof(word);
                length -= sizeof(word);
                continue;
            }
        }
        size_t step = text_utf8_step(string, length);
        if (step == 0) {
            return false;
        }
        string += step;
        length -= step;
    }
    return true;
}

int text_to_integer(const char *string, long long *ret_value)
{
    if (!string || !(isdigit((unsigned char)string[0]) ||
                     (string[0] == '-' && isdigit((unsigned char)string[1])))) {
        return VIM_E_INVALID;
    }
    char *end;
    errno = 0;
    long long value = strtoll(string, &end, 10);
    if (errno || *end) {
        return VIM_E_INVALID;
    }
    *ret_value = value;
    return VIM_OK;
}
