/* The program's own functions come before the C library's, for all shared objects too; CMakeLists.txt exports them. */
#include "uses.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>

static _Thread_local bool watching;
static _Thread_local const char *first;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
bool uses_can_watch(void)
{
    return false;
}
#else
#define EXPORT __attribute__((visibility("default")))

bool uses_can_watch(void)
{
    return true;
}

/* CALLER is where the function was called from. */
static void note(const char *name, const void *caller)
{
    Dl_info here, there;

    if (!watching || first)
        return;
    watching = false; /* what follows asks as well */
    if (dladdr((const void *)note, &here) && dladdr(caller, &there) &&
        there.dli_fbase != here.dli_fbase)
        first = name;
    watching = true;
}

/* The function behind this one. */
static void *behind(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (!function)
        abort();
    return function;
}

#define NOTE(name) note(name, __builtin_return_address(0))
#define BEHIND(type, name)      \
    static _Atomic(type) known; \
    type function = known;      \
    if (!function)              \
    known = function = (type)behind(name)

typedef time_t (*time_fn)(time_t *);
typedef int (*clock_gettime_fn)(clockid_t, struct timespec *);
typedef int (*gettimeofday_fn)(struct timeval *restrict, void *restrict);
typedef clock_t (*clock_fn)(void);
typedef char *(*getenv_fn)(const char *);
typedef int (*rand_fn)(void);
typedef long (*random_fn)(void);
typedef ssize_t (*getrandom_fn)(void *, size_t, unsigned);
typedef int (*open_fn)(const char *, int, ...);
typedef FILE *(*fopen_fn)(const char *restrict, const char *restrict);
typedef int (*pthread_create_fn)(pthread_t *restrict, const pthread_attr_t *restrict,
                                 void *(*)(void *), void *restrict);
typedef void *(*mmap_fn)(void *, size_t, int, int, int, off_t);

EXPORT time_t time(time_t *ret_time)
{
    BEHIND(time_fn, "time");
    NOTE("time");
    return function(ret_time);
}

EXPORT int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    BEHIND(clock_gettime_fn, "clock_gettime");
    NOTE("clock_gettime");
    return function(id, ret_time);
}

EXPORT int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    BEHIND(gettimeofday_fn, "gettimeofday");
    NOTE("gettimeofday");
    return function(ret_time, zone);
}

EXPORT clock_t clock(void)
{
    BEHIND(clock_fn, "clock");
    NOTE("clock");
    return function();
}

EXPORT char *getenv(const char *name)
{
    BEHIND(getenv_fn, "getenv");
    NOTE("getenv");
    return function(name);
}

EXPORT int rand(void)
{
    BEHIND(rand_fn, "rand");
    NOTE("rand");
    return function();
}

EXPORT long random(void)
{
    BEHIND(random_fn, "random");
    NOTE("random");
    return function();
}

EXPORT ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
    BEHIND(getrandom_fn, "getrandom");
    NOTE("getrandom");
    return function(buffer, size, flags);
}

EXPORT int open(const char *path, int flags, ...)
{
    BEHIND(open_fn, "open");
    va_list arguments;
    int mode;

    NOTE("open");
    va_start(arguments, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return function(path, flags, mode);
}

EXPORT FILE *fopen(const char *restrict path, const char *restrict how)
{
    BEHIND(fopen_fn, "fopen");
    NOTE("fopen");
    return function(path, how);
}

EXPORT int pthread_create(pthread_t *restrict ret_thread, const pthread_attr_t *restrict attributes,
                          void *(*start)(void *), void *restrict argument)
{
    BEHIND(pthread_create_fn, "pthread_create");
    NOTE("pthread_create");
    return function(ret_thread, attributes, start, argument);
}

EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    BEHIND(mmap_fn, "mmap");
    NOTE("mmap");
    return function(address, size, protection, flags, fd, offset);
}
#endif

void uses_watch(void)
{
    first = NULL;
    watching = true;
}

const char *uses_watched(void)
{
    watching = false;
    return first;
}
