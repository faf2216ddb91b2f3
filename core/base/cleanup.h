/*
 * base/cleanup.h - variables that clean up after themselves when their scope ends.
 *
 *     CLEANUP_FREE char *copy = text_duplicate(name);
 *     CLEANUP_FD int fd = open(...);
 *     LOCK_GUARD(&lane->mutex);          // unlocked at the end of the block
 *
 * A variable has to be initialised (NULL, -1) before the scope can be left. CLEANUP_TEXT is in
 * base/text.h, CLEANUP_JSON in base/json.h: each beside its type.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static inline pthread_mutex_t *cleanup_lock_mutex(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    return mutex;
}

static inline void cleanup_unlock_mutex(pthread_mutex_t **mutex)
{
    if (*mutex) {
        pthread_mutex_unlock(*mutex);
    }
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_pointer)))
#define CLEANUP_FD __attribute__((cleanup(cleanup_close_fd)))

#define LOCK_GUARD_NAME2(line) lock_guard_##line
#define LOCK_GUARD_NAME(line) LOCK_GUARD_NAME2(line)
#define LOCK_GUARD(mutex)                                                                    \
    __attribute__((cleanup(cleanup_unlock_mutex), unused)) pthread_mutex_t *LOCK_GUARD_NAME( \
        __LINE__) = cleanup_lock_mutex(mutex)

/* Takes a value out of an owning variable, leaving NULL behind: return TAKE(copy); */
#define TAKE(pointer)                           \
    __extension__({                             \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL;                       \
        taken_;                                 \
    })

#endif
