#include "link/message.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include "logic/principal.h"

static void message_add(struct text *text, const char *name, const char *value)
{
    text_add(text, name);
    text_add(text, ": ");
    text_add(text, value);
    text_add(text, "\r\n");
}

/* Percent-encodes all but what stands for itself in a part of a target. */
static void message_escape(struct text *text, const char *part, bool is_path)
{
    for (; *part; part++) {
        unsigned char c = (unsigned char)*part;
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c) || (is_path && c == '/')) {
            text_add_char(text, (char)c);
        } else {
            text_printf(text, "%%%02X", c);
        }
    }
}

/* As it came; of a request that was made here, as it would have come. */
static void message_target(const struct request *request, struct text *text)
{
    if (request->target) {
        text_add(text, request->target);
        return;
    }
    message_escape(text, request->path, true);
    for (size_t i = 0; i < request->query_count; i++) {
        text_add_char(text, i == 0 ? '?' : '&');
        message_escape(text, request->query[i].name, false);
        text_add_char(text, '=');
        message_escape(text, request->query[i].value, false);
    }
}

void message_request(const struct request *request, const char *secret, int64_t left_ms,
                     struct text *text)
{
    /* A GET has the body that is told to a HEAD. */
    text_add(text, strcmp(request->method, "HEAD") == 0 ? "GET" : request->method);
    text_add_char(text, ' ');
    message_target(request, text);
    text_add(text, " HTTP/1.1\r\nHost: vimd\r\nAuthorization: " PEER_SCHEME);
    text_add(text, secret);
    text_printf(text, "\r\nVimd-Left: %" PRId64 "\r\n", left_ms < 1 ? 1 : left_ms);
    if (request->principal) {
        char principal[PRINCIPAL_TEXT_SIZE];
        principal_format(request->principal, principal);
        message_add(text, "Vimd-Principal", principal);
    }
    if (request->request_id) {
        message_add(text, "X-Request-Id", request->request_id);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        message_add(text, request->headers[i].name, request->headers[i].value);
    }
    int64_t size = request->body_path ? request->body_size : (int64_t)request->body_length;
    if (size > 0) {
        text_printf(text, "Content-Length: %" PRId64 "\r\n", size);
    }
    text_add(text, "\r\n");
    if (!request->body_path) {
        text_add_bytes(text, request->body, request->body_length);
    }
}

/* "HTTP/1.1 200 OK" */
static int message_status(const char *line)
{
    if (strncmp(line, "HTTP/1.", 7) != 0 || line[7] == '\0' || line[8] != ' ') {
        return -1;
    }
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return -1;
        }
        status = status * 10 + (line[i] - '0');
    }
    return status >= 200 && status <= 599 && (line[12] == ' ' || line[12] == '\0') ? status : -1;
}

/* Of an answer, what the API block puts there itself, or what is about this connection alone. */
static bool message_is_own(const char *name)
{
    static const char *const own[] = {"date", "server", "keep-alive"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcasecmp(name, own[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool message_header(struct message *message, const char *name, const char *value)
{
    if (strcasecmp(name, "content-length") == 0) {
        long long length = -1;
        if (message->length >= 0 || text_to_integer(value, &length) || length < 0) {
            return false;
        }
        message->length = length;
    } else if (strcasecmp(name, "content-type") == 0) {
        message->content_type = value;
    } else if (strcasecmp(name, "connection") == 0) {
        message->close |= strcasecmp(value, "close") == 0;
    } else if (strcasecmp(name, PEER_REFUSED) == 0) {
        message->refused = true;
    } else if (strcasecmp(name, "transfer-encoding") == 0) {
        return false;
    } else if (!message_is_own(name)) {
        if (message->header_count == MESSAGE_HEADERS) {
            return false;
        }
        message->headers[message->header_count++] = (struct header){name, value};
    }
    return true;
}

/* The line at *AT, without its end; NULL if it has none. */
static char *message_line(char **at)
{
    char *line = *at;
    char *end = strstr(line, "\r\n");
    if (!end) {
        return NULL;
    }
    *end = '\0';
    *at = end + 2;
    return line;
}

int message_parse(char *bytes, size_t size, struct message *ret_message, size_t *ret_size)
{
    const char *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!end) {
        return size > MESSAGE_HEAD_MAX ? VIM_E_INVALID : VIM_AGAIN;
    }
    size_t head = (size_t)(end - bytes) + 4;
    if (head > MESSAGE_HEAD_MAX || memchr(bytes, '\0', head)) {
        return VIM_E_INVALID;
    }
    bytes[head - 1] = '\0'; /* the head ends with \r, so that strstr() stays inside */
    bytes[head - 2] = '\0';
    struct message message = {.length = -1};
    char *at = bytes;
    const char *first = message_line(&at);
    message.status = first ? message_status(first) : -1;
    if (message.status < 0) {
        return VIM_E_INVALID;
    }
    for (char *line; (line = message_line(&at));) {
        char *colon = strchr(line, ':');
        if (!colon || colon == line) {
            return VIM_E_INVALID;
        }
        *colon++ = '\0';
        colon += strspn(colon, " \t");
        if (!message_header(&message, line, colon)) {
            return VIM_E_INVALID;
        }
    }
    bool bodiless = message.status == 204 || message.status == 304;
    if (message.length < 0 && !bodiless) {
        return VIM_E_INVALID;
    }
    if (bodiless) {
        message.length = 0;
    }
    *ret_message = message;
    *ret_size = head;
    return VIM_OK;
}
