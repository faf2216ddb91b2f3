#include "logic/principal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char principal_plain[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    "-_.";

/* Appends TEXT to OUT, all but plain characters as %XX; returns the end. */
static char *principal_escape(char *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (strchr(principal_plain, c)) {
            *out++ = (char)c;
        } else {
            *out++ = '%';
            *out++ = "0123456789abcdef"[c >> 4];
            *out++ = "0123456789abcdef"[c & 15];
        }
    }
    *out = '\0';
    return out;
}

void principal_format(const struct principal *principal, char ret_text[PRINCIPAL_TEXT_SIZE])
{
    char *out = principal_escape(ret_text, principal->token_id);
    out += sprintf(out, " %s %" PRId64 " ", role_name(principal->role), principal->expires);
    out = principal_escape(out, principal->project);
    *out++ = ' ';
    principal_escape(out, principal->name);
}

static int principal_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the word at *TEXT, which ends with END, into ROOM bytes at OUT. */
static bool principal_unescape(const char **text, char end, char *out, size_t room)
{
    const char *at = *text;
    while (*at && *at != end) {
        int high = 0, low = 0;
        if (*at == '%') {
            high = principal_hex(at[1]);
            low = high < 0 ? -1 : principal_hex(at[2]);
        }
        if (low < 0 || --room == 0) {
            return false;
        }
        *out++ = *at == '%' ? (char)(high << 4 | low) : *at;
        at += *at == '%' ? 3 : 1;
    }
    *out = '\0';
    *text = *at ? at + 1 : at;
    return *at == end;
}

int principal_parse(const char *text, struct principal *ret_principal)
{
    struct principal principal = {0};
    char role[16], expires[24];
    char *rest = NULL;
    if (!principal_unescape(&text, ' ', principal.token_id, sizeof principal.token_id) ||
        !principal_unescape(&text, ' ', role, sizeof role) ||
        !principal_unescape(&text, ' ', expires, sizeof expires) ||
        !principal_unescape(&text, ' ', principal.project, sizeof principal.project) ||
        !principal_unescape(&text, '\0', principal.name, sizeof principal.name) ||
        role_by_name(role, &principal.role) || !principal.token_id[0] || !principal.project[0]) {
        return VIM_E_INVALID;
    }
    principal.expires = strtoll(expires, &rest, 10);
    if (!expires[0] || *rest || principal.expires < 0) {
        return VIM_E_INVALID;
    }
    *ret_principal = principal;
    return VIM_OK;
}
