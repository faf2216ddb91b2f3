#include "logic/prefer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

/* Behind the end of this preference: the next comma that is not inside of quotes. */
static const char *skip_preference(const char *at)
{
    bool quoted = false;
    for (; *at != '\0'; at++) {
        if (quoted && *at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == '"') {
            quoted = !quoted;
        } else if (*at == ',' && !quoted) {
            return at + 1;
        }
    }
    return at;
}

static void take_wait(const char *value, struct preferences *preferences)
{
    bool quoted = *value == '"';
    value += quoted;
    int64_t seconds = 0;
    size_t digits = strspn(value, "0123456789");
    for (size_t i = 0; i < digits && seconds < PREFER_WAIT_MAX; i++) {
        seconds = seconds * 10 + (value[i] - '0');
    }
    const char *end = skip_blanks(value + digits + (quoted && value[digits] == '"'));
    if (digits > 0 && (*end == '\0' || *end == ',' || *end == ';') && !preferences->wait) {
        preferences->wait = true;
        preferences->wait_seconds = seconds < PREFER_WAIT_MAX ? seconds : PREFER_WAIT_MAX;
    }
}

static void parse_one(const char *at, struct preferences *preferences)
{
    while (*at != '\0') {
        at = skip_blanks(at);
        const char *name = at;
        while (is_token_char(*at)) {
            at++;
        }
        size_t length = (size_t)(at - name);
        at = skip_blanks(at);
        if (length == 13 && strncasecmp(name, "respond-async", 13) == 0 &&
            (*at == '\0' || *at == ',' || *at == ';')) {
            preferences->respond_async = true;
        } else if (length == 4 && strncasecmp(name, "wait", 4) == 0 && *at == '=') {
            take_wait(skip_blanks(at + 1), preferences);
        }
        at = skip_preference(at);
    }
}

void prefer_parse(const struct header *headers, size_t count, struct preferences *ret_preferences)
{
    memset(ret_preferences, 0, sizeof(*ret_preferences));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(headers[i].name, "prefer") == 0) {
            parse_one(headers[i].value, ret_preferences);
        }
    }
}

/* To the next member of a list; it may have empty ones (RFC 9110, 5.6.1). */
static const char *skip_empty(const char *at)
{
    at = skip_blanks(at);
    while (*at == ',') {
        at = skip_blanks(at + 1);
    }
    return at;
}

bool etag_matches(const char *list, uint64_t revision, bool weak)
{
    char wanted[32];
    int length = snprintf(wanted, sizeof(wanted), "\"%" PRIu64 "\"", revision);
    const char *at = skip_blanks(list);
    if (at[0] == '*' && *skip_blanks(at + 1) == '\0') {
        return true;
    }
    while (at = skip_empty(at), *at != '\0') {
        bool is_weak = at[0] == 'W' && at[1] == '/';
        at += is_weak ? 2 : 0;
        if (*at != '"') {
            return false; /* not a list of tags: matches nothing */
        }
        const char *end = strchr(at + 1, '"');
        if (end == NULL) {
            return false;
        }
        if ((weak || !is_weak) && end + 1 - at == length &&
            memcmp(at, wanted, (size_t)length) == 0) {
            return true;
        }
        at = skip_blanks(end + 1);
        if (*at != ',' && *at != '\0') {
            return false;
        }
    }
    return false;
}

/* How closely RANGE, which may end in stars, names MEDIA_TYPE: 3 at most, 0 for not at all. */
static int range_names(const char *range, size_t length, const char *media_type)
{
    size_t main_type = strcspn(media_type, "/") + 1;
    if (length == 3 && memcmp(range, "*/*", 3) == 0) {
        return 1;
    }
    if (length == main_type + 1 && range[main_type] == '*' &&
        strncasecmp(range, media_type, main_type) == 0) {
        return 2;
    }
    return length == strlen(media_type) && strncasecmp(range, media_type, length) == 0 ? 3 : 0;
}

/* Is the weight among the parameters of a range 0, 0.0 ...? */
static bool weight_is_zero(const char *parameters, size_t length)
{
    const char *end = parameters + length;
    for (const char *at = parameters; at < end; at++) {
        at = skip_blanks(at);
        if (end - at > 2 && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=') {
            return strspn(at + 2, "0.") >= strcspn(at + 2, " \t,;");
        }
        at += strcspn(at, ";,");
    }
    return false;
}

bool accept_allows(const struct header *headers, size_t count, const char *media_type)
{
    int closest = 0;
    bool allowed = true, any = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(headers[i].name, "accept") != 0) {
            continue;
        }
        for (const char *at = skip_empty(headers[i].value); *at; at = skip_empty(at)) {
            size_t range = strcspn(at, "; \t,"), length = strcspn(at, ",");
            if (memchr(at, '/', range)) {
                any = true;
            }
            int names = range_names(at, range, media_type);
            if (names > closest) {
                const char *parameters = at + strcspn(at, ";,");
                size_t more = (size_t)(at + length - parameters);
                closest = names;
                allowed = !(*parameters == ';' && weight_is_zero(parameters + 1, more - 1));
            }
            at += length;
        }
    }
    return closest ? allowed : !any;
}

bool content_type_is(const char *type, const char *media_type)
{
    size_t length = strlen(media_type);
    if (type == NULL || strncasecmp(type, media_type, length) != 0) {
        return false;
    }
    const char *end = skip_blanks(type + length);
    return *end == '\0' || *end == ';';
}
