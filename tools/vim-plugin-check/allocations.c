#include "allocations.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static _Thread_local bool watching;
static _Thread_local unsigned count;

static void note(void)
{
    if (watching)
        count++;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Sanitizers have a malloc() of their own, and hooks for it. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *memory, size_t size)
{
    (void)memory;
    (void)size;
    note();
}

static void on_free(const volatile void *memory)
{
    (void)memory;
}

static void install(void)
{
    static bool installed;

    if (!installed)
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    installed = true;
}
#else
/* The program's own malloc() comes before the C library's, for all shared objects too. */
#define EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t number, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t number, size_t size);
EXPORT void *realloc(void *memory, size_t size);
EXPORT void *aligned_alloc(size_t alignment, size_t size);
EXPORT int posix_memalign(void **ret_memory, size_t alignment, size_t size);

void *malloc(size_t size)
{
    note();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    note();
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size)
{
    note();
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    note();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory;

    note();
    memory = __libc_memalign(alignment, size);
    if (!memory)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

static void install(void)
{
}
#endif

void allocations_watch(void)
{
    install();
    count = 0;
    watching = true;
}

unsigned allocations_watched(void)
{
    watching = false;
    return count;
}
