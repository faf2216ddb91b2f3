/*
 * Locks: `mutex` guards both lists; a leaf, but for shutdown() of a socket, which does not block and
 * has to happen before MHD closes it and somebody else gets its number.
 */
#include "api/connections.h"

#include <netinet/in.h>
#include <pthread.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "api/internal.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/thread.h"

#define TICK_MS 100
#define BATCH 64
#define EVENTS 64

struct connections {
    pthread_mutex_t mutex;
    int epoll; /* of all connections, for half-closed ones */
    int wake; /* eventfd */
    pthread_t thread;
    atomic_bool stop;
    unsigned count;
    struct connection *first;
    struct exchange *waiting;
    struct metric *cut_off;
};

/* Who has stopped sending and is not being answered gets a short deadline. Events are fetched with
 * the mutex held, so that none is of a connection that was removed in between. */
static void connections_half_closed(struct connections *connections, int64_t now)
{
    LOCK_GUARD(&connections->mutex);
    struct epoll_event events[EVENTS];
    int count;
    do {
        count = epoll_wait(connections->epoll, events, EVENTS, 0);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection) {
                continue;
            }
            atomic_store(&connection->half_closed, true);
            int_fast64_t deadline = atomic_load(&connection->deadline);
            if (deadline != DEADLINE_NONE && deadline > now + HALF_CLOSED_MS) {
                /* If it fails, the network thread has set a new one, and has seen the flag. */
                atomic_compare_exchange_strong(&connection->deadline, &deadline,
                                               now + HALF_CLOSED_MS);
            }
        }
    } while (count == EVENTS);
}

static void connections_cut_off(struct connections *connections, int64_t now)
{
    LOCK_GUARD(&connections->mutex);
    for (struct connection *one = connections->first; one; one = one->next) {
        if (atomic_load_explicit(&one->deadline, memory_order_relaxed) <= now) {
            atomic_store(&one->deadline, DEADLINE_NONE);
            shutdown(one->fd, SHUT_RDWR);
            metric_add(connections->cut_off, 1);
        }
    }
}

/* Gives up exchanges whose deadline is before NOW, and returns how many. */
static unsigned connections_expire(struct connections *connections, int64_t now, int status,
                                   const char *code, const char *detail)
{
    unsigned total = 0;
    unsigned count;
    do {
        struct exchange *batch[BATCH];
        bool asks[BATCH]; /* the phase does not change while an exchange is in the list */
        count = 0;
        pthread_mutex_lock(&connections->mutex);
        for (struct exchange *one = connections->waiting; one && count < BATCH;
             one = one->waiting_next) {
            asks[count] = one->phase == PHASE_ASKING;
            if (one->deadline <= now && !atomic_load(asks[count] ? &one->asked : &one->claimed)) {
                exchange_hold(one);
                batch[count++] = one;
            }
        }
        pthread_mutex_unlock(&connections->mutex);
        for (unsigned i = 0; i < count; i++) {
            if (asks[i]) {
                exchange_forget(batch[i]);
            } else {
                exchange_give_up(batch[i], status, code, detail);
            }
            if (exchange_drop(batch[i])) {
                exchange_free(batch[i]);
            }
        }
        total += count;
    } while (count == BATCH);
    return total;
}

static bool connections_has_bytes(const struct connection *connection)
{
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Of a peer that has a request in progress nothing is to come, unless it wants to say that nobody waits
 * for the answer (link/wire.c). */
static bool connections_is_told(const struct exchange *exchange)
{
    return exchange->api->side == API_PEERS && connections_has_bytes(exchange->connection);
}

/* A client that has stopped sending is most likely gone: a request of it does not wait for a task.
 * It is told again and again, since the wait may begin later than the client has left. */
static void connections_unattended(struct connections *connections)
{
    struct link *link = NULL;
    pthread_mutex_lock(&connections->mutex);
    for (struct exchange *one = connections->waiting; one; one = one->waiting_next) {
        if (!atomic_load(&one->claimed) &&
            (atomic_load(&one->connection->half_closed) || connections_is_told(one))) {
            atomic_store(&one->unattended, true);
            link = one->api->link;
        }
    }
    pthread_mutex_unlock(&connections->mutex);
    if (link) {
        link_end_waits(link, false);
    }
}

static void *connections_run(void *argument)
{
    struct connections *connections = argument;
    while (!atomic_load(&connections->stop)) {
        struct pollfd wait = {.fd = connections->epoll, .events = POLLIN};
        poll(&wait, 1, TICK_MS);
        int64_t now = clock_mono_ms();
        connections_half_closed(connections, now);
        connections_cut_off(connections, now);
        connections_unattended(connections);
        connections_expire(connections, now, 504, "timeout",
                           "no answer in time; what was asked for may still happen");
    }
    return NULL;
}

static void connections_free(struct connections *connections)
{
    if (connections->epoll >= 0) {
        close(connections->epoll);
    }
    if (connections->wake >= 0) {
        close(connections->wake);
    }
    pthread_mutex_destroy(&connections->mutex);
    free(connections);
}

int connections_open(struct connections **ret_connections)
{
    struct connections *connections = MEMORY_NEW(struct connections);
    pthread_mutex_init(&connections->mutex, NULL);
    connections->cut_off =
        metrics_counter("vimd_http_cut_off_total", "Connections closed for being too slow.", NULL);
    connections->epoll = epoll_create1(EPOLL_CLOEXEC);
    connections->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (connections->epoll < 0 || connections->wake < 0 ||
        epoll_ctl(connections->epoll, EPOLL_CTL_ADD, connections->wake, &event) ||
        thread_start("api-deadlines", connections_run, connections, &connections->thread)) {
        connections_free(connections);
        return VIM_E_UNAVAILABLE;
    }
    *ret_connections = connections;
    return VIM_OK;
}

void connections_close(struct connections *connections)
{
    if (!connections) {
        return;
    }
    atomic_store(&connections->stop, true);
    eventfd_write(connections->wake, 1);
    pthread_join(connections->thread, NULL);
    connections_free(connections);
}

struct connection *connections_add(struct connections *connections, int fd, int64_t deadline)
{
    struct connection *connection = MEMORY_NEW(struct connection);
    connection->fd = fd;
    atomic_init(&connection->deadline, deadline);
    atomic_init(&connection->half_closed, false);
    atomic_init(&connection->used, clock_mono_ms());
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    LOCK_GUARD(&connections->mutex);
    connection->next = connections->first;
    if (connection->next) {
        connection->next->previous = connection;
    }
    connections->first = connection;
    connections->count++;
    epoll_ctl(connections->epoll, EPOLL_CTL_ADD, fd, &event);
    return connection;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    pthread_mutex_lock(&connections->mutex);
    if (connection->previous) {
        connection->previous->next = connection->next;
    } else {
        connections->first = connection->next;
    }
    if (connection->next) {
        connection->next->previous = connection->previous;
    }
    connections->count--;
    epoll_ctl(connections->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
    pthread_mutex_unlock(&connections->mutex);
    explicit_bzero(connection->token, sizeof connection->token);
    free(connection);
}

void connection_set_address(struct connection *connection, const struct sockaddr *address)
{
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        memset(connection->address + 10, 0xff, 2);
        memcpy(connection->address + 12, &v4->sin_addr, 4);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        memcpy(connection->address, &v6->sin6_addr, 8); /* a subscriber has a whole /64 */
    }
}

void connection_set_deadline(struct connection *connection, int64_t deadline)
{
    atomic_store_explicit(&connection->deadline, deadline, memory_order_release);
}

void connection_set_reading_deadline(struct connection *connection, int64_t now, int64_t deadline)
{
    atomic_store(&connection->deadline, deadline); /* before the look at the flag */
    if (atomic_load(&connection->half_closed) && deadline > now + HALF_CLOSED_MS) {
        connection_set_deadline(connection, now + HALF_CLOSED_MS);
    }
}

unsigned connections_count(struct connections *connections)
{
    LOCK_GUARD(&connections->mutex);
    return connections->count;
}

unsigned connections_used(struct connections *connections, int64_t since)
{
    LOCK_GUARD(&connections->mutex);
    unsigned count = 0;
    for (struct connection *one = connections->first; one; one = one->next) {
        count += atomic_load_explicit(&one->used, memory_order_relaxed) >= since;
    }
    return count;
}

unsigned connections_unread(struct connections *connections)
{
    LOCK_GUARD(&connections->mutex);
    unsigned count = 0;
    for (struct connection *one = connections->first; one; one = one->next) {
        count += connections_has_bytes(one);
    }
    return count;
}

void connections_wait(struct connections *connections, struct exchange *exchange)
{
    LOCK_GUARD(&connections->mutex);
    exchange->waiting_previous = NULL;
    exchange->waiting_next = connections->waiting;
    if (exchange->waiting_next) {
        exchange->waiting_next->waiting_previous = exchange;
    }
    connections->waiting = exchange;
}

void connections_wait_end(struct connections *connections, struct exchange *exchange)
{
    LOCK_GUARD(&connections->mutex);
    if (exchange->waiting_previous) {
        exchange->waiting_previous->waiting_next = exchange->waiting_next;
    } else if (connections->waiting == exchange) {
        connections->waiting = exchange->waiting_next;
    } else {
        return;
    }
    if (exchange->waiting_next) {
        exchange->waiting_next->waiting_previous = exchange->waiting_previous;
    }
    exchange->waiting_previous = exchange->waiting_next = NULL;
}

unsigned connections_give_up(struct connections *connections)
{
    return connections_expire(connections, INT64_MAX, 503, "shutting-down",
                              "this service is shutting down");
}

unsigned connections_waiting(struct connections *connections)
{
    LOCK_GUARD(&connections->mutex);
    unsigned count = 0;
    for (struct exchange *one = connections->waiting; one; one = one->waiting_next) {
        count++;
    }
    return count;
}
