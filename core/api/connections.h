/*
 * api/connections.h - what is known of a TCP connection, and the thread that cuts off those that
 * are too slow and answers requests whose time is up.
 *
 * MHD's own timeout starts anew with every byte, and does not run while a connection is suspended;
 * so the deadlines are here, one per phase of a request. MHD also misses the end of a client's
 * sending when it arrives together with data; so that is watched for here, too.
 */
#ifndef VIMD_API_CONNECTIONS_H
#define VIMD_API_CONNECTIONS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include "api/access.h"
#include "api/exchange.h"

#define DEADLINE_NONE INT64_MAX

/* What a client has sent before it stopped sending is read within this time, or never. */
#define HALF_CLOSED_MS 500

/* Made and ended by MHD's notification; used by the one network thread it belongs to, but for
 * `deadline` and `used`. */
struct connection {
    struct connection *previous, *next;
    int fd;
    atomic_int_fast64_t deadline; /* monotonic ms */
    atomic_int_fast64_t used; /* monotonic ms: when it was opened, or the last request ended */
    enum { PEER_UNSEEN, PEER_KNOWN, PEER_STRANGER } peer; /* by its certificate */
    atomic_bool half_closed; /* the client will send no more */
    uint8_t address[16]; /* of the client: IPv6, its first 64 bits; IPv4 mapped */
    /* From its request line to its completion, of which MHD does not tell if it closes the
     * connection for want of memory in between. */
    struct exchange *current;
    /* The token of the last request and whose it is, so that a client that keeps its connection
     * costs no look-up at all. */
    char token[ACCESS_TOKEN_MAX + 1];
    size_t token_size;
    int64_t principal_until; /* monotonic ms */
    struct principal principal;
};

struct connections;

int connections_open(struct connections **ret_connections);
void connections_close(struct connections *connections); /* NULL is fine */

struct connection *connections_add(struct connections *connections, int fd, int64_t deadline);
/* Before the socket is closed. */
void connections_remove(struct connections *connections, struct connection *connection);
/* Where the client is. */
void connection_set_address(struct connection *connection, const struct sockaddr *address);

void connection_set_deadline(struct connection *connection, int64_t deadline);
/* While something of the client is being waited for; once it has stopped sending, not for long. */
void connection_set_reading_deadline(struct connection *connection, int64_t now, int64_t deadline);

unsigned connections_count(struct connections *connections);
/* Those that were used at SINCE (monotonic ms) or later. */
unsigned connections_used(struct connections *connections, int64_t since);
/* Those of which something has come that was not read yet. */
unsigned connections_unread(struct connections *connections);

/* From now on the exchange is answered with 504 at its deadline. */
void connections_wait(struct connections *connections, struct exchange *exchange);
/* No longer; no effect if it does not wait. */
void connections_wait_end(struct connections *connections, struct exchange *exchange);

/* Answers all that wait with 503. Returns how many there were. */
unsigned connections_give_up(struct connections *connections);

/* How many exchanges wait, answered ones that have not been picked up yet included. */
unsigned connections_waiting(struct connections *connections);

#endif
