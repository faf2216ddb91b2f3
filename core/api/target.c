#include "api/target.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include "base/text.h"

static int target_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char target_slash[] = "an encoded slash in the path";

/* Letters that stand for themselves, wherever they are in a target. */
static const bool target_plain[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['/'] = true,
    ['-'] = true,         ['_'] = true,         ['.'] = true,         ['~'] = true,
    [','] = true,         [':'] = true,         ['='] = true,         ['*'] = true,
};

/* Decodes TEXT in place. PLUS: a plus is a space, and a slash may be encoded. */
static const char *target_decode(char *text, bool plus)
{
    while (target_plain[(unsigned char)*text]) {
        text++; /* mostly there is nothing else */
    }
    char *out = text;
    for (const char *in = text; *in; in++) {
        char c = *in;
        if (c == '%') {
            int high = target_hex(in[1]);
            int low = high < 0 ? -1 : target_hex(in[2]);
            if (low < 0) {
                return "a percent sign without two hexadecimal digits";
            }
            c = (char)(high << 4 | low);
            in += 2;
            if (c == '/' && !plus) {
                return target_slash;
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            return "a control character";
        }
        *out++ = c;
    }
    *out = '\0';
    return text_is_utf8(text, (size_t)(out - text)) ? NULL : "text that is not UTF-8";
}

char *target_origin(char *raw)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(raw, schemes[i], length) == 0 && raw[length] != '/') {
            char *path = raw + length + strcspn(raw + length, "/?#");
            return *path == '/' ? path : raw;
        }
    }
    return raw;
}

int target_parse(char *raw, struct target *ret_target, const char **ret_why)
{
    if (raw[0] != '/') {
        *ret_why = "no slash at its beginning";
        return VIM_E_INVALID;
    }
    if (strchr(raw, '#')) {
        *ret_why = "a fragment";
        return VIM_E_INVALID;
    }
    char *query = strchr(raw, '?');
    if (query) {
        *query++ = '\0';
    }
    *ret_why = target_decode(raw, false);
    if (*ret_why) {
        return *ret_why == target_slash ? VIM_E_NOT_FOUND : VIM_E_INVALID;
    }
    ret_target->path = raw;
    ret_target->query_count = 0;
    while (query && *query) {
        char *pair = query;
        query = strchr(pair, '&');
        if (query) {
            *query++ = '\0';
        }
        if (!*pair) {
            continue;
        }
        if (ret_target->query_count == TARGET_QUERY_MAX) {
            *ret_why = "more than 64 query parameters";
            return VIM_E_INVALID;
        }
        char *value = strchr(pair, '=');
        if (value) {
            *value++ = '\0';
        }
        *ret_why = target_decode(pair, true);
        if (!*ret_why && value) {
            *ret_why = target_decode(value, true);
        }
        if (*ret_why) {
            return VIM_E_INVALID;
        }
        ret_target->query[ret_target->query_count++] =
            (struct header){.name = pair, .value = value ? value : ""};
    }
    return VIM_OK;
}
