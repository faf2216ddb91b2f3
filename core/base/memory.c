#include "base/memory.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *memory_check(void *pointer)
{
    if (!pointer) {
        fputs("level=error event=\"out of memory\"\n", stderr);
        abort();
    }
    return pointer;
}

void *memory_new(size_t size)
{
    return memory_check(calloc(1, size ? size : 1));
}

void *memory_new_array(size_t count, size_t size)
{
    return memory_check(calloc(count ? count : 1, size ? size : 1));
}

void *memory_new_lines(size_t size)
{
    size_t lines = size / MEMORY_LINE + (size % MEMORY_LINE || !size);
    void *memory = memory_check(aligned_alloc(MEMORY_LINE, lines * MEMORY_LINE));
    return memset(memory, 0, lines * MEMORY_LINE);
}

void *memory_resize(void *pointer, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        memory_check(NULL);
    }
    return memory_check(realloc(pointer, bytes ? bytes : 1));
}

void *memory_copy(const void *data, size_t size)
{
    void *copy = memory_check(malloc(size ? size : 1));
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}
