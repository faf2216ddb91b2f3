/*
 * base/memory.h - allocation that cannot fail: out of memory ends the process with one line on
 * stderr. The store is the truth and a restart is cheap, so no code path for a NULL is kept alive
 * untested. Everything is freed with free().
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* SIZE zeroed bytes. */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull));

/* COUNT zeroed elements of SIZE bytes; ends the process when the product overflows. */
void *memory_new_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* SIZE zeroed bytes that share no cache line with anything else. */
#define MEMORY_LINE 64
void *memory_new_lines(size_t size) __attribute__((malloc, returns_nonnull));

/* Like realloc to COUNT elements of SIZE bytes; what was added is not zeroed. */
void *memory_resize(void *pointer, size_t count, size_t size);

/* A copy of SIZE bytes. */
void *memory_copy(const void *data, size_t size) __attribute__((malloc, returns_nonnull));

#define MEMORY_NEW(type) ((type *)memory_new(sizeof(type)))

#endif
