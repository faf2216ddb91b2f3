/*
 * One connection to a replica: connect, send, receive, again. It carries one request at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/tcp.h"
#include "link/remote.h"
#include "link/tls.h"

#define CHUNK 65536
#define IN_FIRST 4096
#define LEAVE_MS 200

static void wire_watch(struct remote *remote, struct wire *wire, bool out)
{
    if (wire->polls_out == out) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0),
                                .data.ptr = wire};
    epoll_ctl(remote->epoll, EPOLL_CTL_MOD, wire->fd, &event);
    wire->polls_out = out;
}

static void wire_clear(struct wire *wire)
{
    text_clear(&wire->out);
    wire->out_sent = 0;
    if (wire->file >= 0) {
        close(wire->file);
        wire->file = -1;
    }
    wire->file_left = 0;
    wire->in_length = 0;
    wire->has_head = false;
    free(TAKE(wire->body));
    wire->body_length = 0;
}

static void wire_unlist_idle(struct wire *wire)
{
    for (struct wire **place = &wire->replica->idle; *place; place = &(*place)->next_idle) {
        if (*place == wire) {
            *place = wire->next_idle;
            break;
        }
    }
    wire->next_idle = NULL;
}

void wire_close(struct remote *remote, struct wire *wire)
{
    if (wire->fd < 0) {
        return;
    }
    wire_unlist_idle(wire);
    link_tls_end(TAKE(wire->session));
    tcp_remove(TCP_LOGIC, wire->fd);
    close(wire->fd);
    wire->fd = -1;
    if (wire->flight) {
        wire->replica->in_flight -= wire->flight->only == NULL;
        wire->flight->wire = NULL;
        wire->flight = NULL;
        remote->try_queue = true;
    }
    if (wire->previous) {
        wire->previous->next = wire->next;
    } else {
        remote->wires = wire->next;
    }
    if (wire->next) {
        wire->next->previous = wire->previous;
    }
    wire->next = remote->dead;
    remote->dead = wire;
}

void wires_bury(struct remote *remote)
{
    while (remote->dead) {
        struct wire *wire = remote->dead;
        remote->dead = wire->next;
        wire_clear(wire);
        text_free(&wire->out);
        free(wire->in);
        free(wire);
    }
}

/* The flight's try is over, without an answer. */
static void wire_fail(struct remote *remote, struct wire *wire, const char *why)
{
    struct flight *flight = wire->flight;
    struct replica *replica = wire->replica;
    bool never_open = wire->connecting || wire->shaking;
    wire_close(remote, wire);
    /* A connection that ends in the middle says that its process most likely has ended. */
    if (flight) {
        replica_set(remote, replica, never_open ? REPLICA_DOWN : REPLICA_UNKNOWN, why);
        flight_failed(remote, flight, why);
    }
}

/* --- Sending ----------------------------------------------------------------------------------- */

/* Puts the next piece of the file into `out`. False if the file does not keep what it promised. */
static bool wire_read_file(struct wire *wire)
{
    size_t most = wire->file_left < CHUNK ? (size_t)wire->file_left : CHUNK;
    text_clear(&wire->out);
    wire->out_sent = 0;
    ssize_t got = read(wire->file, text_reserve(&wire->out, most), most);
    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    wire->out.length = (size_t)got;
    wire->file_left -= got;
    return true;
}

static void wire_send(struct remote *remote, struct wire *wire)
{
    for (;;) {
        if (wire->out_sent == wire->out.length) {
            if (wire->file_left == 0) {
                wire_watch(remote, wire, false);
                return;
            }
            if (!wire_read_file(wire)) {
                wire_fail(remote, wire, "the upload cannot be read again");
                return;
            }
            continue;
        }
        const char *data = wire->out.data + wire->out_sent;
        size_t size = wire->out.length - wire->out_sent;
        ssize_t sent = wire->session ? link_tls_send(wire->session, data, size)
                                     : send(wire->fd, data, size, MSG_NOSIGNAL);
        if (sent > 0) {
            wire->flight->sent = true;
            wire->out_sent += (size_t)sent;
        } else if (errno == EAGAIN) {
            wire_watch(remote, wire, true);
            return;
        } else if (errno != EINTR) {
            /* It may have answered before it closed; if so, that is read first. */
            wire_watch(remote, wire, false);
            wire->out_sent = wire->out.length;
            wire->file_left = 0;
            wire->ends = true;
            return;
        }
    }
}

static bool wire_has_sent(const struct wire *wire)
{
    return wire->out_sent == wire->out.length && wire->file_left == 0;
}

void wire_leave(struct wire *wire)
{
    int64_t now = clock_mono_ms();
    if (wire->connecting || wire->shaking || !wire_has_sent(wire) || now < wire->left + LEAVE_MS) {
        return;
    }
    /* To close one end would say it, too, but libmicrohttpd may take that for the end of both. A line where
     * none belongs it leaves alone until the answer is through, and so does who looks for it. It is said
     * again, since the first may have been read together with the request. */
    wire->left = now;
    wire->ends = true;
    if (wire->session) {
        (void)link_tls_send(wire->session, "\r\n", 2);
    } else {
        (void)!send(wire->fd, "\r\n", 2, MSG_NOSIGNAL);
    }
}

/* --- Receiving --------------------------------------------------------------------------------- */

/* The connection is free again, or ends. */
static void wire_release(struct remote *remote, struct wire *wire, bool close)
{
    struct replica *replica = wire->replica;
    if (close || wire->ends || replica->state == REPLICA_DRAINING || !replica->wanted) {
        wire_close(remote, wire);
        return;
    }
    replica->in_flight -= wire->flight->only == NULL;
    wire->flight->wire = NULL;
    wire->flight = NULL;
    wire_clear(wire);
    wire->since = clock_mono_ms();
    wire->next_idle = replica->idle;
    replica->idle = wire;
    remote->try_queue = true;
}

static void wire_answered(struct remote *remote, struct wire *wire)
{
    struct flight *flight = wire->flight;
    /* What the message points to goes with the connection, so that it is let go of afterwards. */
    struct message message = wire->message;
    char *in = TAKE(wire->in);
    char *body = TAKE(wire->body);
    size_t length = wire->body_length;
    size_t capacity = wire->in_capacity;
    bool whole = wire_has_sent(wire);
    struct replica *replica = wire->replica;
    wire->in_capacity = 0;
    wire_release(remote, wire, message.close || !whole);
    if (message.close && whole && !flight->only && replica->state == REPLICA_UP) {
        replica_set(remote, replica, REPLICA_DRAINING, "it closes its connections");
    }
    flight_answered(remote, flight, &message, body, length);
    if (wire->fd >= 0 && !wire->in) {
        wire->in = in;
        wire->in_capacity = capacity;
    } else {
        free(in);
    }
}

/* The head is there: what it says, and what of the body has come with it. */
static bool wire_take_head(struct remote *remote, struct wire *wire)
{
    size_t size = 0;
    int code = message_parse(wire->in, wire->in_length, &wire->message, &size);
    if (code == VIM_AGAIN) {
        return true;
    }
    size_t extra = wire->in_length - size;
    if (code || wire->message.length > remote_live(&remote->live.answer_max) ||
        (int64_t)extra > wire->message.length) {
        wire_fail(remote, wire, code ? "an answer that is none" : "an answer that is too large");
        return false;
    }
    wire->has_head = true;
    wire->body = memory_resize(NULL, (size_t)wire->message.length + 1, 1);
    memcpy(wire->body, wire->in + size, extra);
    wire->body_length = extra;
    return true;
}

/* Where the next bytes go, and how many may. */
static char *wire_room(struct wire *wire, size_t *ret_size)
{
    if (wire->has_head) {
        *ret_size = (size_t)wire->message.length - wire->body_length;
        return wire->body + wire->body_length;
    }
    if (wire->in_length + 1 >= wire->in_capacity) {
        wire->in_capacity = wire->in_capacity ? wire->in_capacity * 2 : IN_FIRST;
        wire->in = memory_resize(wire->in, wire->in_capacity, 1);
    }
    *ret_size = wire->in_capacity - wire->in_length - 1;
    return wire->in + wire->in_length;
}

static void wire_receive(struct remote *remote, struct wire *wire)
{
    for (;;) {
        size_t room = 0;
        char *place = wire_room(wire, &room);
        ssize_t got = wire->session ? link_tls_receive(wire->session, place, room)
                                    : recv(wire->fd, place, room, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            wire_fail(remote, wire, got ? strerror(errno) : "the connection was closed");
            return;
        }
        if (wire->has_head) {
            wire->body_length += (size_t)got;
        } else {
            wire->in_length += (size_t)got;
            if (!wire_take_head(remote, wire)) {
                return;
            }
        }
        if (wire->has_head && (int64_t)wire->body_length == wire->message.length) {
            wire->body[wire->body_length] = '\0';
            wire_answered(remote, wire);
            return;
        }
    }
}

/* --- Connecting -------------------------------------------------------------------------------- */

static void wire_shake(struct remote *remote, struct wire *wire)
{
    bool out = false;
    const char *why = NULL;
    int code = link_tls_shake(wire->session, &out, &why);
    if (code == VIM_AGAIN) {
        wire_watch(remote, wire, out);
    } else if (code) {
        wire_fail(remote, wire, why);
    } else {
        wire->shaking = false;
        wire_send(remote, wire);
    }
}

/* The connection is there: what comes first on it. */
static void wire_begin(struct remote *remote, struct wire *wire)
{
    wire->connecting = false;
    if (!remote->keys->tls || wire->replica->address.socket.ss_family == AF_UNIX) {
        wire_send(remote, wire);
        return;
    }
    wire->session = link_tls_begin(remote->keys->tls, wire->fd);
    wire->shaking = true;
    if (wire->session) {
        wire_shake(remote, wire);
    } else {
        wire_fail(remote, wire, "no memory for TLS");
    }
}

static void wire_connected(struct remote *remote, struct wire *wire)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
        wire_fail(remote, wire, strerror(error));
        return;
    }
    wire_begin(remote, wire);
}

void wire_event(struct remote *remote, struct wire *wire, uint32_t events)
{
    if (wire->fd < 0) {
        return;
    }
    if (!wire->flight) {
        wire_close(remote, wire); /* the other end is not to speak unasked: it has closed */
        return;
    }
    if (wire->connecting) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
            wire_connected(remote, wire);
        }
        return;
    }
    if (wire->shaking) {
        wire_shake(remote, wire);
        return;
    }
    if (events & EPOLLOUT) {
        wire_send(remote, wire);
    }
    if (wire->fd >= 0 && wire->flight && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) {
        wire_receive(remote, wire);
    }
}

static struct wire *wire_open(struct remote *remote, struct replica *replica)
{
    int family = replica->address.socket.ss_family;
    CLEANUP_FD int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0) {
        return NULL;
    }
    if (family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    bool now = connect(fd, (struct sockaddr *)&replica->address.socket, replica->address.size) == 0;
    if (!now && errno != EINPROGRESS) {
        return NULL;
    }
    struct wire *wire = MEMORY_NEW(struct wire);
    wire->fd = fd;
    wire->file = -1;
    wire->replica = replica;
    wire->connecting = !now;
    wire->polls_out = !now;
    wire->since = clock_mono_ms();
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (now ? 0 : EPOLLOUT),
                                .data.ptr = wire};
    if (epoll_ctl(remote->epoll, EPOLL_CTL_ADD, fd, &event)) {
        free(wire);
        return NULL;
    }
    tcp_add(TCP_LOGIC, fd);
    fd = -1;
    wire->next = remote->wires;
    if (wire->next) {
        wire->next->previous = wire;
    }
    remote->wires = wire;
    return wire;
}

/* An idle connection that has not been closed at the other end. */
static struct wire *wire_idle(struct remote *remote, struct replica *replica)
{
    while (replica->idle) {
        struct wire *wire = replica->idle;
        char byte;
        if (recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
            replica->idle = TAKE(wire->next_idle);
            return wire;
        }
        wire_close(remote, wire);
    }
    return NULL;
}

void wire_start(struct remote *remote, struct replica *replica, struct flight *flight)
{
    flight->sent = false;
    int file = -1;
    if (flight->request->body_path) {
        file = open(flight->request->body_path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            flight_failed(remote, flight, "the upload cannot be read again");
            return;
        }
    }
    struct wire *wire = wire_idle(remote, replica);
    bool is_new = !wire;
    wire = wire ? wire : wire_open(remote, replica);
    if (!wire) {
        const char *why = strerror(errno);
        if (file >= 0) {
            close(file);
        }
        replica_set(remote, replica, REPLICA_DOWN, why);
        flight_failed(remote, flight, why);
        return;
    }
    wire->flight = flight;
    flight->wire = wire;
    replica->in_flight += flight->only == NULL;
    wire->file = file;
    wire->file_left = file >= 0 ? flight->request->body_size : 0;
    int64_t until = flight->request->deadline ? flight->request->deadline : flight->deadline;
    message_request(flight->request, remote->keys->secret, until - clock_mono_ms(), &wire->out);
    if (is_new && !wire->connecting) {
        wire_begin(remote, wire);
    } else if (!wire->connecting) {
        wire_send(remote, wire);
    }
}

void wires_tick(struct remote *remote, int64_t now)
{
    int64_t limit = remote_live(&remote->live.connect_timeout_ms);
    for (struct wire *wire = remote->wires, *next; wire; wire = next) {
        next = wire->next;
        if ((wire->connecting || wire->shaking) && now - wire->since > limit) {
            wire_fail(remote, wire, "no connection in time");
            next = remote->wires; /* the list has changed: from the beginning, once */
        }
    }
}
