/*
 * Looking into JSON text. All functions work on [at, end) and return NULL where the text ends too
 * early or is not what it should be.
 */
#include "base/json.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/text.h"

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at;
}

/* AT is at the opening quote. */
static const char *skip_string(const char *at, const char *end)
{
    const char *begin = at + 1;
    for (at = begin; at < end; at++) {
        at = memchr(at, '"', (size_t)(end - at));
        if (!at) {
            return NULL;
        }
        const char *slash = at;
        while (slash > begin && slash[-1] == '\\') {
            slash--;
        }
        if ((at - slash) % 2 == 0) {
            return at + 1;
        }
    }
    return NULL;
}

static const char *skip_container(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        switch (*at) {
        case '"':
            at = skip_string(at, end);
            if (!at) {
                return NULL;
            }
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0) {
                return at + 1;
            }
            break;
        }
        at++;
    }
    return NULL;
}

static const char *skip_value(const char *at, const char *end)
{
    if (at >= end) {
        return NULL;
    }
    if (*at == '"') {
        return skip_string(at, end);
    }
    if (*at == '{' || *at == '[') {
        return skip_container(at, end);
    }
    const char *start = at;
    while (at < end && (isalnum((unsigned char)*at) || *at == '-' || *at == '+' || *at == '.')) {
        at++;
    }
    return at > start ? at : NULL;
}

struct json_walk json_walk_start(const char *text, size_t length)
{
    const char *end = text + length;
    const char *at = skip_space(text, end);
    struct json_walk walk = {.at = at, .end = end, .first = true};
    if (at < end && (*at == '{' || *at == '[')) {
        walk.close = *at == '{' ? '}' : ']';
        walk.at++;
    }
    return walk;
}

static int walk_broken(struct json_walk *walk)
{
    walk->close = 0;
    return VIM_E_INVALID;
}

int json_walk_next(struct json_walk *walk, struct json_piece *ret_key, struct json_piece *ret_value)
{
    if (!walk->close) {
        return VIM_E_INVALID;
    }
    const char *end = walk->end;
    const char *at = skip_space(walk->at, end);
    if (at < end && *at == walk->close) {
        return VIM_E_NOT_FOUND;
    }
    if (!walk->first) {
        if (at >= end || *at != ',') {
            return walk_broken(walk);
        }
        at = skip_space(at + 1, end);
    }
    struct json_piece key = {.start = at, .length = 0};
    if (walk->close == '}') {
        const char *behind = at < end && *at == '"' ? skip_string(at, end) : NULL;
        if (!behind) {
            return walk_broken(walk);
        }
        key.length = (size_t)(behind - at);
        at = skip_space(behind, end);
        if (at >= end || *at != ':') {
            return walk_broken(walk);
        }
        at = skip_space(at + 1, end);
    }
    const char *behind = skip_value(at, end);
    if (!behind) {
        return walk_broken(walk);
    }
    if (ret_key) {
        *ret_key = key;
    }
    *ret_value = (struct json_piece){.start = at, .length = (size_t)(behind - at)};
    walk->at = behind;
    walk->first = false;
    return VIM_OK;
}

int json_peek(const char *text, size_t length, const char *member, struct json_piece *ret_piece)
{
    struct json_walk walk = json_walk_start(text, length);
    if (walk.close != '}') {
        return VIM_E_INVALID;
    }
    size_t wanted = strlen(member);
    struct json_piece key, value;
    int code;
    while ((code = json_walk_next(&walk, &key, &value)) == VIM_OK) {
        bool same = key.length == wanted + 2 && memcmp(key.start + 1, member, wanted) == 0 &&
                    !memchr(member, '\\', wanted);
        /* An escape makes the raw key longer than what it stands for. */
        if (same || (key.length > wanted + 2 && memchr(key.start, '\\', key.length) &&
                     json_piece_equals(key, member))) {
            *ret_piece = value;
            return VIM_OK;
        }
    }
    return code;
}

/* --- Decoding ---------------------------------------------------------------------------------- */

static bool read_hex4(const char *at, const char *end, unsigned *ret_value)
{
    unsigned value = 0;
    if (end - at < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)at[i];
        if (!isxdigit(c)) {
            return false;
        }
        value = value << 4 | (unsigned)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    *ret_value = value;
    return true;
}

static size_t put_utf8(unsigned c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(marks[length] | c);
    return length;
}

/* Decodes \uXXXX, AT behind the u; a pair of surrogates is one character. */
static const char *decode_unicode(const char *at, const char *end, char out[4], size_t *ret_length)
{
    unsigned c, low;
    if (!read_hex4(at, end, &c) || c == 0 || (c >= 0xDC00 && c < 0xE000)) {
        return NULL;
    }
    at += 4;
    if (c >= 0xD800 && c < 0xDC00) {
        if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || !read_hex4(at + 2, end, &low) ||
            low < 0xDC00 || low >= 0xE000) {
            return NULL;
        }
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
    }
    *ret_length = put_utf8(c, out);
    return at;
}

/* Decodes one character or raw byte of a string; returns what is behind it. */
static const char *decode_next(const char *at, const char *end, char out[4], size_t *ret_length)
{
    if ((unsigned char)*at < 0x20 || *at == '"') {
        return NULL;
    }
    *ret_length = 1;
    if (*at != '\\') {
        out[0] = *at;
        return at + 1;
    }
    if (++at == end) {
        return NULL;
    }
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*at == 'u') {
        return decode_unicode(at + 1, end, out, ret_length);
    }
    const char *found = *at ? strchr(from, *at) : NULL;
    if (!found) {
        return NULL;
    }
    out[0] = to[found - from];
    return at + 1;
}

static bool is_string(struct json_piece piece)
{
    return piece.length >= 2 && piece.start[0] == '"' && piece.start[piece.length - 1] == '"';
}

int json_piece_text(struct json_piece piece, char **ret_text)
{
    if (!is_string(piece)) {
        return VIM_E_INVALID;
    }
    CLEANUP_TEXT struct text text = {0};
    text_reserve(&text, piece.length);
    const char *end = piece.start + piece.length - 1;
    for (const char *at = piece.start + 1; at < end;) {
        char out[4];
        size_t length;
        at = decode_next(at, end, out, &length);
        if (!at) {
            return VIM_E_INVALID;
        }
        text_add_bytes(&text, out, length);
    }
    if (!text_is_utf8(text.data, text.length)) {
        return VIM_E_INVALID;
    }
    *ret_text = text_take(&text);
    return VIM_OK;
}

bool json_piece_equals(struct json_piece piece, const char *text)
{
    if (!is_string(piece)) {
        return false;
    }
    const char *end = piece.start + piece.length - 1;
    size_t left = strlen(text);
    for (const char *at = piece.start + 1; at < end;) {
        char out[4];
        size_t length;
        at = decode_next(at, end, out, &length);
        if (!at || left < length || memcmp(text, out, length) != 0) {
            return false;
        }
        text += length;
        left -= length;
    }
    return left == 0;
}

/* Length of the digits at AT. */
static size_t count_digits(const char *at, const char *end)
{
    size_t count = 0;
    while (at + count < end && isdigit((unsigned char)at[count])) {
        count++;
    }
    return count;
}

/* Does the piece follow the grammar of numbers? */
static bool is_number(struct json_piece piece, bool *ret_integer)
{
    const char *at = piece.start, *end = at + piece.length;
    at += at < end && *at == '-';
    size_t count = count_digits(at, end);
    if (count == 0 || (count > 1 && *at == '0')) {
        return false;
    }
    at += count;
    *ret_integer = at == end;
    if (at < end && *at == '.') {
        count = count_digits(++at, end);
        if (count == 0) {
            return false;
        }
        at += count;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        count = count_digits(at, end);
        if (count == 0) {
            return false;
        }
        at += count;
    }
    return at == end;
}

int json_piece_integer(struct json_piece piece, int64_t *ret_value)
{
    bool integer;
    if (piece.length > 20 || !is_number(piece, &integer) || !integer) {
        return VIM_E_INVALID;
    }
    char copy[24];
    memcpy(copy, piece.start, piece.length);
    copy[piece.length] = '\0';
    long long value;
    if (text_to_integer(copy, &value) != VIM_OK) {
        return VIM_E_INVALID;
    }
    *ret_value = value;
    return VIM_OK;
}

int json_piece_number(struct json_piece piece, double *ret_value)
{
    bool integer;
    if (!is_number(piece, &integer)) {
        return VIM_E_INVALID;
    }
    CLEANUP_FREE char *copy = text_duplicate_bytes(piece.start, piece.length);
    errno = 0;
    double value = strtod(copy, NULL);
    if (errno == ERANGE && (value > 1 || value < -1)) {
        return VIM_E_INVALID;
    }
    *ret_value = value;
    return VIM_OK;
}
