/*
 * base/text.h - growable text, and small helpers for NUL-terminated strings.
 *
 * A `struct text` is all zero when empty (`struct text t = {0};`) and owns its data. `data` is
 * NUL-terminated whenever it is not NULL; text_get() gives "" for an empty one. Not for sharing
 * between threads.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data;
    size_t length; /* without the NUL */
    size_t capacity; /* bytes allocated */
};

void text_free(struct text *text); /* leaves an empty text; NULL is fine */
void text_clear(struct text *text); /* length 0; keeps the memory */
const char *text_get(const struct text *text);

void text_add(struct text *text, const char *string); /* NULL adds nothing */
void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_add_char(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* Cuts the text to LENGTH bytes, if it is longer. */
void text_truncate(struct text *text, size_t length);

/* Gives the string away (never NULL; the caller frees it) and leaves an empty text. */
char *text_take(struct text *text);

/* Makes room for EXTRA more bytes, to be written at data + length; returns that place. */
char *text_reserve(struct text *text, size_t extra);

/* malloc'ed copies. text_duplicate(NULL) is NULL. */
char *text_duplicate(const char *string);
char *text_duplicate_bytes(const char *bytes, size_t length);
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Equality that takes NULLs: two NULLs are equal. */
bool text_equal(const char *a, const char *b);
bool text_starts_with(const char *string, const char *prefix);

/* Is WORD one of the words of LIST, which are separated by spaces? LIST may be NULL. */
bool text_has_word(const char *list, const char *word);

/* The word of LIST (separated by spaces) that is nearest to WORD by edit distance, if it is near
 * enough to be what was meant; malloc'ed, else NULL. For "did you mean ...?". */
char *text_nearest_word(const char *list, const char *word);

/* Is the string well-formed UTF-8 (no overlong forms, no surrogates), LENGTH bytes of it? */
bool text_is_utf8(const char *string, size_t length);

/* Bytes of the well-formed UTF-8 sequence at AT, of which LEFT (>= 1) bytes can be read; 0 if
 * there is none. */
size_t text_utf8_step(const char *at, size_t left);

/* The whole string as a decimal integer: no spaces, nothing behind it. VIM_E_INVALID otherwise. */
int text_to_integer(const char *string, long long *ret_value);

static inline void text_cleanup(struct text *text)
{
    text_free(text);
}
#define CLEANUP_TEXT __attribute__((cleanup(text_cleanup)))

#endif
