/*
 * A growing text. Zero-initialise it; text_free() when done. Not for sharing between threads.
 */
#ifndef MOCK_TEXT_H
#define MOCK_TEXT_H

#include <stddef.h>

struct text {
    char *bytes; /* NUL-terminated once something was added; NULL before */
    size_t length;
    size_t room;
};

/* Adds LENGTH bytes, or printf's result. Memory that runs out ends the process. */
void text_add(struct text *text, const char *bytes, size_t length);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds VALUE as a JSON string, quotes included. VALUE is UTF-8. */
void text_add_json(struct text *text, const char *value);

void text_free(struct text *text);

#endif
