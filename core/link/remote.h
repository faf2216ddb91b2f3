/*
 * link/remote.h - what the files of the link to other processes share.
 *
 *   remote.c    the object, its thread, and the way in for others     address.c   texts to addresses, names
 *   replicas.c  who is there, how they are, who is asked               wire.c      one connection
 *   flight.c    one request on its way: where, once more, or the end
 *
 * One thread does all the input and output, and owns all that is here but for the inbox. Users' threads
 * only put flights into the inbox; answers are given on the link's thread.
 */
#ifndef VIMD_LINK_REMOTE_H
#define VIMD_LINK_REMOTE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "link/ops.h"

#define FLIGHT_TRIES 6

/* --- address.c --------------------------------------------------------------------------------- */

struct address {
    struct sockaddr_storage socket;
    socklen_t size;
};

struct addresses {
    struct address *items;
    size_t count;
};

/* "10.0.0.5:8790", "[::1]:8790" or "unix:/path". VIM_AGAIN: "name:8790", to be resolved; VIM_E_INVALID. */
int address_parse(const char *text, struct address *ret_address);
bool address_is_local(const struct address *address); /* loopback or a Unix socket */
bool address_equal(const struct address *a, const struct address *b);
void address_format(const struct address *address, struct text *text);

/* Adds all addresses of TEXT, which waits for the resolver of the system. False if there are none. */
bool addresses_resolve(struct addresses *addresses, const char *text);
void addresses_add(struct addresses *addresses, const struct address *address);
void addresses_free(struct addresses *addresses);

/* --- The object -------------------------------------------------------------------------------- */

/* Where a replica is known from; it is forgotten when it is known from nowhere. */
enum source { SOURCE_CONFIG, SOURCE_TOLD, SOURCE_COUNT };

struct flights {
    struct flight *first, *last;
};

/* By what this process is known to the others. */
struct keys {
    struct keys *older; /* sessions may use them to the end */
    char *secret;
    struct link_tls *tls; /* NULL: plain */
};

struct remote {
    struct link link;
    unsigned magic;
    struct logic *own;
    bool hidden; /* may leave the host */
    bool has_tls; /* from the start to the end */
    pthread_t thread, names_thread;

    pthread_mutex_t mutex; /* of what follows; a leaf */
    pthread_cond_t names_cond;
    bool stop;
    struct flight *inbox, **inbox_end;
    struct addresses known[SOURCE_COUNT];
    bool known_changed;
    struct keys *new_keys; /* that the thread takes over; NULL: none */
    char **names; /* of the configuration, addresses too */
    size_t name_count;

    int epoll, wake;
    atomic_bool woken; /* the eventfd was written, and not read yet */
    atomic_bool all_end, some_end; /* see link_end_waits() */
    atomic_uint queued; /* flights in inbox and queue */
    atomic_uint up; /* replicas that take requests */
    atomic_int_fast64_t waited_ms; /* in the queue, by who left it last; 0: nobody was behind it */
    struct {
        atomic_int_fast64_t requests, queue, queue_wait_ms, answer_max, connect_timeout_ms;
        atomic_int_fast64_t probe_interval_ms, probe_timeout_ms, refresh_ms;
    } live;

    /* The thread's own. */
    struct keys *keys; /* those in use first */
    struct replica *replicas;
    struct wire *wires, *dead;
    struct flights active, queue;
    int64_t up_since; /* that any replica takes requests */
    int64_t halved; /* `chosen` of all */
    bool try_queue; /* something has changed that those in the queue wait for */
    uint64_t seed;
    struct metric *retries, *unknown, *shed;
};

int64_t remote_live(const atomic_int_fast64_t *option);
/* Is it so long that others need not come to wait, while there is who could answer? */
bool remote_is_long(const struct remote *remote, int64_t waited);

/* --- replicas.c -------------------------------------------------------------------------------- */

enum replica_state {
    REPLICA_UNKNOWN, /* not looked at yet, or a connection to it broke */
    REPLICA_UP,
    REPLICA_SICK, /* does not answer in time: a process that is stopped, or a network that loses all */
    REPLICA_DRAINING, /* is about to end: takes what is sent, and is sent nothing */
    REPLICA_DOWN /* cannot be reached, or does not believe us */
};

struct replica {
    struct replica *next;
    struct address address;
    char *name;
    bool wanted;
    bool leave; /* what is under way there goes elsewhere, if it may */
    enum replica_state state;
    unsigned in_flight; /* probes not counted */
    uint64_t chosen; /* for so many requests, those of long ago counted less */
    struct wire *idle; /* the one used last first */
    struct flight *probe;
    int64_t probe_due, since;
};

/* Makes the list that of KNOWN. */
void replicas_update(struct remote *remote);
/* The less busy of two picked at random among those up that FLIGHT has not tried, and of two about as
 * busy the one that was chosen for fewer lately; else one of which it is not known that it is down. NULL:
 * there is none, *RET_FULL tells whether that is for want of room. */
struct replica *replicas_choose(struct remote *remote, const struct flight *flight, bool *ret_full);
void replica_set(struct remote *remote, struct replica *replica, enum replica_state state,
                 const char *why);
/* Begins probes that are due and lets idle connections go. */
void replicas_tick(struct remote *remote, int64_t now);
void replicas_free(struct remote *remote);

/* --- wire.c ------------------------------------------------------------------------------------ */

struct wire {
    struct wire *next, *previous; /* of all */
    struct wire *next_idle;
    struct replica *replica;
    struct flight *flight; /* NULL: idle */
    int fd; /* -1: closed */
    void *session; /* of TLS, or NULL */
    bool connecting, shaking, polls_out;
    bool ends; /* with the answer that it waits for */
    int64_t left; /* when it was last said that nobody waits for it */
    int64_t since; /* of the connect and handshake, or idle since */
    struct text out;
    size_t out_sent;
    int file; /* of the body; -1: none */
    int64_t file_left;
    char *in; /* the head, and what came with it */
    size_t in_length, in_capacity;
    bool has_head;
    struct message message;
    char *body;
    size_t body_length;
};

/* Sends FLIGHT to REPLICA, on a connection that is idle or a new one. What fails at once is told to
 * flight_failed() as well. */
void wire_start(struct remote *remote, struct replica *replica, struct flight *flight);
void wire_event(struct remote *remote, struct wire *wire, uint32_t events);
/* Tells the other end that nobody waits for the answer any more, which it may give nevertheless. */
void wire_leave(struct wire *wire);
/* Ends it; its flight, if any, is the caller's business. */
void wire_close(struct remote *remote, struct wire *wire);
/* Connects that take too long. */
void wires_tick(struct remote *remote, int64_t now);
/* Frees those that were closed; no event of theirs may be left. */
void wires_bury(struct remote *remote);

/* --- flight.c ---------------------------------------------------------------------------------- */

/* From link_call() to the answer. */
struct flight {
    struct flight *next, *previous;
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
    struct replica *only; /* of a probe */
    bool repeatable; /* may happen twice */
    bool counted; /* as API_TO_LOGIC: somebody outside waits for it (base/integral.h) */
    bool sent; /* of this try some bytes have left */
    bool is_queued, busy; /* busy: all that were tried had no room */
    int64_t deadline, started, queue_until;
    struct replica *tried[FLIGHT_TRIES];
    unsigned tries;
    struct wire *wire;
};

struct flight *flight_new(const struct request *request, logic_respond_fn respond, void *argument);
bool flight_has_key(const struct request *request); /* an Idempotency-Key */
/* Sends it somewhere, or queues it. */
void flight_start(struct remote *remote, struct flight *flight);
/* An answer has come: MESSAGE and its BODY (taken over). */
void flight_answered(struct remote *remote, struct flight *flight, const struct message *message,
                     char *body, size_t length);
/* The try came to nothing; its wire is closed. */
void flight_failed(struct remote *remote, struct flight *flight, const char *why);
/* REPLICA does not answer: what may happen twice goes elsewhere. */
void flights_leave(struct remote *remote, struct replica *replica);
void flights_tick(struct remote *remote, int64_t now);
void flights_end_waits(struct remote *remote, bool all);
/* Tries what is in the queue. */
void flights_dequeue(struct remote *remote);
/* Answers all with 503. */
void flights_abandon(struct remote *remote);
bool flight_has_tried(const struct flight *flight, const struct replica *replica);

#endif
