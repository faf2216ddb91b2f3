/* What crosses the link, and what the listeners read of a request before anything else: heads of answers,
 * principals, addresses, targets, and the headers that ask for a manner of answering. The first byte
 * chooses, the rest is the text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "api/target.h"
#include "base/text.h"
#include "link/remote.h"
#include "logic/peers.h"
#include "logic/prefer.h"
#include "logic/principal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "0123456789abcdef"

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* --- Answers --------------------------------------------------------------------------------- */

static bool is_inside(const char *text, const char *bytes, size_t size)
{
    return text >= bytes && text < bytes + size &&
           memchr(text, '\0', size - (size_t)(text - bytes));
}

/* The same bytes, as they come from a socket: before the head is complete nothing is decided for good. */
static void read_part(const char *bytes, size_t size)
{
    struct message message;
    size_t head;
    char *copy = text_duplicate_bytes(bytes, size);
    must(message_parse(copy, size, &message, &head) != VIM_OK);
    free(copy);
}

static void read_answer(char *bytes, size_t size)
{
    char *before = text_duplicate_bytes(bytes, size);
    struct message message;
    size_t head;
    if (message_parse(bytes, size, &message, &head) == VIM_OK) {
        must(head <= size && message.status >= 200 && message.status <= 599 && message.length >= 0);
        must(message.header_count <= MESSAGE_HEADERS);
        must(!message.content_type || is_inside(message.content_type, bytes, head));
        for (size_t i = 0; i < message.header_count; i++) {
            must(is_inside(message.headers[i].name, bytes, head));
            must(is_inside(message.headers[i].value, bytes, head));
        }
        read_part(before, head - 1);
        read_part(before, head / 2);
    }
    free(before);
}

/* --- Principals and addresses ---------------------------------------------------------------- */

static void read_principal(const char *text)
{
    struct principal first, second;
    char printed[PRINCIPAL_TEXT_SIZE], again[PRINCIPAL_TEXT_SIZE];
    if (principal_parse(text, &first) == VIM_OK) {
        principal_format(&first, printed);
        must(principal_parse(printed, &second) == VIM_OK);
        principal_format(&second, again);
        must(strcmp(printed, again) == 0);
    }
}

static void read_address(const char *text)
{
    struct address first, second;
    if (address_parse(text, &first) == VIM_OK) {
        struct text printed = {0};
        address_format(&first, &printed);
        must(address_parse(text_get(&printed), &second) == VIM_OK);
        must(address_equal(&first, &second));
        must(address_is_local(&first) == address_is_local(&second));
        text_free(&printed);
    }
}

/* --- Targets --------------------------------------------------------------------------------- */

/* The request that a process sends on is read by the next one as it was read here. */
static void send_on(const struct target *target)
{
    struct request request = {.method = "GET",
                              .path = target->path,
                              .query = target->query,
                              .query_count = target->query_count};
    struct text sent = {0};
    struct target again;
    const char *why;
    message_request(&request, SECRET, 1000, &sent);
    char *line = text_take(&sent) + strlen("GET ");
    char *end = strstr(line, " HTTP/1.1\r\n");
    must(end != NULL);
    *end = '\0';
    must(target_parse(line, &again, &why) == VIM_OK);
    must(strcmp(again.path, target->path) == 0 && again.query_count == target->query_count);
    for (size_t i = 0; i < again.query_count; i++) {
        must(strcmp(again.query[i].name, target->query[i].name) == 0);
        must(strcmp(again.query[i].value, target->query[i].value) == 0);
    }
    free(line - strlen("GET "));
}

static void read_target(char *text)
{
    struct target target;
    const char *why = NULL;
    if (target_parse(text, &target, &why) == VIM_OK) {
        must(target.path[0] == '/' && target.query_count <= TARGET_QUERY_MAX);
        (void)peers_match("GET", target.path);
        send_on(&target);
    } else {
        must(why != NULL);
    }
}

/* --- Manners of answering -------------------------------------------------------------------- */

/* Lines are values of headers, by turns Prefer and Accept. */
static void read_manners(char *text)
{
    struct header headers[8];
    size_t count = 0;
    char *rest = text;
    for (char *line; count < 8 && (line = strsep(&rest, "\n"));) {
        headers[count] = (struct header){count % 2 ? "accept" : "prefer", line};
        (void)etag_matches(line, count, true);
        (void)etag_matches(line, UINT64_MAX, false);
        (void)content_type_is(line, "application/json");
        count++;
    }
    struct preferences preferences;
    prefer_parse(headers, count, &preferences);
    must(!preferences.wait ||
         (preferences.wait_seconds >= 0 && preferences.wait_seconds <= PREFER_WAIT_MAX));
    (void)accept_allows(headers, count, "application/json");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    /* A block of just this size, so that reads beyond are seen; texts have their NUL. */
    char *bytes = malloc(size);
    if (!bytes) {
        return 0;
    }
    memcpy(bytes, data + 1, size - 1);
    if (data[0] % 5 == 0) {
        char *exact = size > 1 ? realloc(bytes, size - 1) : bytes;
        bytes = exact ? exact : bytes;
        read_answer(bytes, size - 1);
        free(bytes);
        return 0;
    }
    bytes[size - 1] = '\0';
    switch (data[0] % 5) {
    case 1:
        read_principal(bytes);
        break;
    case 2:
        read_address(bytes);
        break;
    case 3:
        read_target(bytes);
        break;
    default:
        read_manners(bytes);
        break;
    }
    free(bytes);
    return 0;
}
