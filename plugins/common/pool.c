/*
 * The connections to one place. Lock order: the lock of one pool at a time, alone.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <vim/sdk.h>

#include "pool.h"

/* Pause after the first failure to connect; doubled with each. */
#define BACKOFF_FIRST_MS 20

/* How long a caller that has another way may be held up by connecting. */
#define IMPATIENT_CONNECT_MS 500

/* A place that takes longer than this to take a connection has too much to do. */
#define SLOW_CONNECT_MS 200

/* After an attempt that took a while, so many times as long passes until the next beside other connections; where
 * connecting is slow, it is a good part of what the place has too much to do. */
#define GROW_PAUSE 9
#define GROW_PAUSE_SLOW 49

int64_t pool_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int pool_init(struct pool *pool)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&pool->freed, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc ? -1 : 0;
}

void pool_empty(struct pool *pool)
{
    struct pooled *connection, *next;

    pthread_mutex_lock(&pool->lock);
    connection = pool->free;
    pool->free = NULL;
    pool->count = pool->failures = 0;
    pool->retry_at = pool->connect_ms = pool->grow_at = pool->returned_at = 0;
    pthread_mutex_unlock(&pool->lock);
    for (; connection; connection = next) {
        next = connection->next;
        pool->settings.close(connection);
    }
}

void pool_clear(struct pool *pool)
{
    pool_empty(pool);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
}

static void wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
    struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};

    pthread_cond_timedwait(condition, lock, &until);
}

/* Up to half of it is chance, so that processes do not come back all at once. */
static int64_t backoff(const struct pool *pool)
{
    int64_t most = pool->settings.backoff_max;
    int64_t pause = BACKOFF_FIRST_MS;

    for (uint32_t i = 1; i < pool->failures && pause < most; i++)
        pause *= 2;
    if (pause > most)
        pause = most;
    return pause / 2 + random() % (pause / 2 + 1);
}

static bool is_slow(const struct pool *pool)
{
    return pool->connect_ms > SLOW_CONNECT_MS;
}

/* Makes a connection. Called with the lock held, which is given up meanwhile. */
static int connect_one(struct vim_call *call, struct pool *pool, bool patient,
                       struct pooled **ret_connection, struct store_error *ret_error)
{
    int64_t most = pool->settings.connect_timeout;
    struct pooled *connection = NULL;
    bool failed_before = pool->failures > 0;
    int64_t began = pool_now();
    int code;

    if (!patient && most > IMPATIENT_CONNECT_MS)
        most = IMPATIENT_CONNECT_MS;
    pool->count++;
    pool->connecting++;
    pthread_mutex_unlock(&pool->lock);
    code = pool->settings.open(call, pool, began + most, &connection, ret_error);
    if (code < 0)
        store_error_unquote(ret_error);
    if (code < 0 && !failed_before)
        vim_log(pool->settings.host, pool->settings.self, VIM_WARNING, "cannot connect",
                "error=\"%s\"", ret_error->text);
    else if (code == VIM_OK && failed_before)
        pool->settings.host->log(pool->settings.self, VIM_INFO, "connected again", NULL);
    pthread_mutex_lock(&pool->lock);
    pool->connecting--;
    pool->connect_ms = pool_now() - began;
    pool->grow_at = pool_now() + (is_slow(pool) ? GROW_PAUSE_SLOW : GROW_PAUSE) * pool->connect_ms;
    if (code < 0) {
        pool->count--;
        pool->failures++;
        pool->last_error = *ret_error;
        pool->retry_at = pool_now() + backoff(pool);
    } else {
        pool->failures = 0;
        connection->pool = pool;
        *ret_connection = connection;
    }
    pthread_cond_broadcast(&pool->freed);
    return code;
}

static bool has_others(const struct pool *pool)
{
    return pool->count > pool->connecting;
}

/* When a caller who waits since BEGAN may make a connection, if nothing changes until then. Called with the lock
 * held. */
static int64_t connect_at(const struct pool *pool, bool patient, int64_t began)
{
    int64_t at = pool->failures > 0 ? pool->retry_at : began;

    if (pool->connecting > 0 || pool->count >= pool->settings.connections)
        return INT64_MAX;
    if (has_others(pool)) {
        int64_t waited_at = patient && is_slow(pool) ? began + pool->connect_ms : began;

        at = at > waited_at ? at : waited_at;
        at = at > pool->grow_at ? at : pool->grow_at;
    }
    return at;
}

/* Called with the lock held. */
static int give_up(const struct pool *pool, struct store_error *ret_error)
{
    if (pool->failures == 0 || has_others(pool))
        return store_error_set(ret_error, VIM_E_BUSY, "all connections are in use");
    *ret_error = pool->last_error;
    return ret_error->code;
}

/* Is time left to wait for another connection? Called with the lock held. */
static bool may_wait(const struct pool *pool, int64_t left, int64_t patience_end)
{
    int64_t now = pool_now();

    return left > 0 && (pool->failures == 0 || now < patience_end ||
                        now - pool->returned_at < pool->settings.connect_timeout);
}

/* Waits until something may have changed, LEFT at most. Called with the lock held. */
static void await_freed(struct pool *pool, bool patient, int64_t began, int64_t left)
{
    int64_t now = pool_now(), at = connect_at(pool, patient, began);
    int64_t end = now + (left < CANCEL_CHECK_MS ? left : CANCEL_CHECK_MS);

    wait_until(&pool->freed, &pool->lock, at > now && at < end ? at : end);
}

int pool_borrow(struct vim_call *call, struct pool *pool, bool patient,
                struct pooled **ret_connection, struct store_error *ret_error)
{
    int64_t began = pool_now(), end = began + pool->settings.connect_timeout, left = 1;
    struct pooled *connection;
    int code = VIM_OK;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if ((connection = pool->free)) {
            pool->free = connection->next;
            code = VIM_OK;
            pthread_mutex_unlock(&pool->lock);
            if (pool->settings.alive(connection))
                break;
            connection->broken = true;
            pool_return(connection);
            pthread_mutex_lock(&pool->lock);
            continue;
        }
        if (connect_at(pool, patient, began) <= pool_now()) {
            pool_tell_waiting(call, pool->settings.host, false);
            code = connect_one(call, pool, patient, &connection, ret_error);
            if (code == VIM_OK ||
                ((VIM_IS_PERMANENT(code) || code == VIM_E_CREDENTIAL) && !has_others(pool))) {
                pthread_mutex_unlock(&pool->lock);
                break;
            }
        } else if (patient) {
            pool_tell_waiting(call, pool->settings.host, true);
            await_freed(pool, patient, began, left);
        }
        pthread_mutex_unlock(&pool->lock);
        left = call ? pool->settings.host->left_ms(call) : end - pool_now();
        pthread_mutex_lock(&pool->lock);
        if (!pool->free && (!patient || !may_wait(pool, left, end))) {
            code = give_up(pool, ret_error);
            pthread_mutex_unlock(&pool->lock);
            break;
        }
    }
    pool_tell_waiting(call, pool->settings.host, false);
    if (code == VIM_OK)
        *ret_connection = connection;
    return code;
}

bool pool_has_free(struct pool *pool)
{
    bool has_free;

    pthread_mutex_lock(&pool->lock);
    has_free = pool->free || (pool->count == 0 && pool->failures == 0);
    pthread_mutex_unlock(&pool->lock);
    return has_free;
}

void pool_return(struct pooled *connection)
{
    struct pool *pool = connection ? connection->pool : NULL;

    if (!connection)
        return;
    if (connection->broken) {
        pool->settings.close(connection);
        connection = NULL;
    }
    pthread_mutex_lock(&pool->lock);
    if (connection) {
        connection->next = pool->free;
        pool->free = connection;
        pool->returned_at = pool_now();
    } else {
        pool->count--;
    }
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

bool pool_pause(struct vim_call *call, const struct vim_host *host, int64_t ms)
{
    while (ms > 0) {
        int64_t left = host->left_ms(call), nap = ms < CANCEL_CHECK_MS ? ms : CANCEL_CHECK_MS;
        struct timespec time;

        if (left <= 0)
            return false;
        if (nap > left)
            nap = left;
        time = (struct timespec){.tv_nsec = nap * 1000000};
        nanosleep(&time, NULL);
        ms -= nap;
    }
    return host->left_ms(call) > 0;
}

bool pool_await_socket(struct vim_call *call, const struct vim_host *host, int fd, bool read,
                       bool write, int64_t deadline)
{
    struct pollfd file = {.fd = fd, .events = (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0))};

    for (;;) {
        int64_t left = call ? host->left_ms(call) : INT64_MAX, more = deadline - pool_now();
        int ready;

        left = left < more ? left : more;
        if (left <= 0)
            return false;
        ready = poll(&file, 1, (int)(left < CANCEL_CHECK_MS ? left : CANCEL_CHECK_MS));
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true;
    }
}

void pool_tell_connection(const struct vim_host *host, struct vim_self *self, int fd, bool open)
{
    if (VIM_HAS(host, struct vim_host, connection) && host->connection)
        host->connection(self, fd, open);
}

void pool_tell_waiting(struct vim_call *call, const struct vim_host *host, bool waits)
{
    if (call && VIM_HAS(host, struct vim_host, waiting) && host->waiting)
        host->waiting(call, waits);
}
