/* Looking into JSON text without parsing it: never outside of the text, and where the text is
 * well-formed the same answers as the parser's. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "vim/plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_all(const char *text, size_t length, unsigned depth)
{
    struct json_walk walk = json_walk_start(text, length);
    struct json_piece key;
    struct json_piece value;
    while (json_walk_next(&walk, &key, &value) == VIM_OK) {
        char *decoded = NULL;
        int64_t integer;
        double number;
        if (value.start < text || value.start + value.length > text + length) {
            abort();
        }
        if (json_piece_text(value, &decoded) == VIM_OK) {
            free(decoded);
        }
        (void)json_piece_integer(value, &integer);
        (void)json_piece_number(value, &number);
        (void)json_piece_equals(value, "ACTIVE");
        if (depth < 40 && value.length > 0 && (value.start[0] == '{' || value.start[0] == '[')) {
            walk_all(value.start, value.length, depth + 1);
        }
    }
}

/* Every text and integer member that the parser sees is peeked with the same value. */
static void compare(const char *text, size_t length, json_t *object)
{
    const char *member;
    json_t *value;
    json_object_foreach(object, member, value)
    {
        struct json_piece piece;
        if (json_peek(text, length, member, &piece) != VIM_OK) {
            /* A key that is written with escapes is not found by its decoded name. */
            if (memchr(text, '\\', length) != NULL) {
                continue;
            }
            abort();
        }
        int64_t integer;
        if (json_is_string(value) && !json_piece_equals(piece, json_string_value(value))) {
            abort();
        }
        if (json_is_integer(value) && json_piece_integer(piece, &integer) == VIM_OK &&
            integer != json_integer_value(value)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct json_piece piece;
    (void)json_peek(text, size, "status", &piece);
    walk_all(text, size, 0);

    json_t *json = NULL;
    if (json_parse(text, size, NULL, &json, NULL) == VIM_OK) {
        if (json_is_object(json)) {
            compare(text, size, json);
        }
        char *printed = json_print(json);
        json_t *again = NULL;
        if (json_parse(printed, strlen(printed), NULL, &again, NULL) != VIM_OK ||
            !json_equal(json, again)) {
            abort();
        }
        json_decref(again);
        free(printed);
        json_decref(json);
    }
    return 0;
}
