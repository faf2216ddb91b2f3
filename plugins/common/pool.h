/*
 * pool.h - connections to one place: who has one, and reconnecting with backoff.
 *
 * A connection is used by one thread at a time. Connections are made one after another, and where there are
 * some, only for a tenth of the time. A place that is slow to take them, since it has too much to do, is not
 * given more to do by those who wait for it: there another is only made for a caller that has waited for one of
 * those there are as long as the last one took to make, and only for a fiftieth of the time. (Where connecting is quick such waits cost more than
 * they save: fewer connections are more switches between threads.) While connecting fails, one caller at a
 * time tries, after a pause that grows.
 *
 * Threads: everything here may be called from any thread. No lock is held while a connection is
 * opened, looked at or closed.
 */
#ifndef POOL_H
#define POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vim/plugin.h>

#include "store_limits.h"

/* How often a wait looks whether the caller was cancelled. */
#define CANCEL_CHECK_MS 100

struct pool;

/* What every connection begins with. */
struct pooled {
    struct pooled *next; /* of the pool's free list */
    struct pool *pool;
    bool broken; /* not to be used again: set by who has it */
};

struct pool_settings {
    const struct vim_host *host;
    struct vim_self *self;
    int64_t connections; /* at most */
    int64_t connect_timeout; /* milliseconds; also how long a call waits for a place that is down */
    int64_t backoff_max; /* milliseconds between two attempts */

    /* Makes a connection until DEADLINE (pool_now() terms). Errors: nothing has happened. */
    int (*open)(struct vim_call *call, struct pool *pool, int64_t deadline,
                struct pooled **ret_connection, struct store_error *ret_error);
    void (*close)(struct pooled *connection);
    /* Is an idle connection still there? Looks, does not ask. */
    bool (*alive)(struct pooled *connection);
};

struct pool {
    struct pool_settings settings;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed; /* a connection is free, or another may be made */
    struct pooled *free;
    uint32_t count; /* connections, free or not, and those being made */
    uint32_t connecting;
    uint32_t failures; /* to connect, in a row */
    int64_t retry_at; /* not before */
    int64_t connect_ms; /* how long the last attempt took */
    int64_t grow_at; /* no connection beside others before */
    int64_t returned_at; /* when a connection was last given back whole; 0: never */
    struct store_error last_error; /* of connecting; valid while failures > 0 */
};

/* Returns 0, or -1. */
int pool_init(struct pool *pool);

/* Closes the connections, all of which have been given back, and forgets how connecting went: the pool can be used
 * for another place. */
void pool_empty(struct pool *pool);

/* The same, and the end of the pool. */
void pool_clear(struct pool *pool);

/* Takes a connection, making one if need be. With PATIENT it waits: while all are in use, for as long as
 * there is time; while connecting fails and none of those in use comes back, for as long as connect_timeout
 * says. Without, it takes
 * what is there or can be made quickly. CALL may be NULL: then it waits for connect_timeout at most.
 * Errors: nothing has happened. */
int pool_borrow(struct vim_call *call, struct pool *pool, bool patient,
                struct pooled **ret_connection, struct store_error *ret_error);

/* Would a caller get a connection at once, without one more beside those there are? */
bool pool_has_free(struct pool *pool);

/* Gives it back; closes it if it is broken. NULL is fine. */
void pool_return(struct pooled *connection);

/* Milliseconds on the monotonic clock. */
int64_t pool_now(void);

/* Waits MS, or as long as there is time. False: no time is left. */
bool pool_pause(struct vim_call *call, const struct vim_host *host, int64_t ms);

/* Waits until the socket FD can be read (READ), or written (WRITE); until DEADLINE, or as long as there
 * is time in CALL, which may be NULL. False: no time is left. */
bool pool_await_socket(struct vim_call *call, const struct vim_host *host, int fd, bool read,
                       bool write, int64_t deadline);

/* Tells vimd of a connection that was made (OPEN), or is to be closed, if it wants to know. */
void pool_tell_connection(const struct vim_host *host, struct vim_self *self, int fd, bool open);

/* Tells vimd that CALL, which may be NULL, waits for what other calls have, or no longer, if it wants to know. */
void pool_tell_waiting(struct vim_call *call, const struct vim_host *host, bool waits);

#endif
