/*
 * api/streams.h - listeners of GET /v1/events/stream: one fan-out per process.
 *
 * What goes on is fetched once for all, by ordinary requests through the link: GET /v1/events behind the
 * last event known, which the logic answers when there is one (the feed). The last some thousand events
 * are kept, and every listener has a place in them; so a listener costs its connection and little else,
 * and no thread. One that is further behind, after a reconnection with an old Last-Event-ID or because it
 * reads slowly, gets pages of its own (a replay), a few listeners at a time, until it has caught up.
 *
 * A listener is served on its network thread, by a function that MHD calls when there is room to send;
 * when it has nothing to send the connection is put to sleep, and the feed wakes it. A client that does not
 * take what it is sent within `send_timeout` is cut off like any other; it comes back with the id of the
 * last event that it got. So no listener takes more memory than a page.
 */
#ifndef VIMD_API_STREAMS_H
#define VIMD_API_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct api;
struct exchange;
struct streams;
struct listener;

int streams_open(struct api *api, struct streams **ret_streams);
/* When no connection is left. Waits for answers of the link that are still to come. NULL is fine. */
void streams_close(struct streams *streams);

/* Is the exchange's answer the beginning of a stream, or what HEAD is told of one? */
bool streams_is_stream(const struct exchange *exchange);

/* On the network thread: makes a listener of EXCHANGE, whose answer is the beginning of a stream and whose
 * handle is set. NULL: there are too many, or the service is being stopped. */
struct listener *streams_add(struct streams *streams, struct exchange *exchange);
/* Its connection is done with. */
void streams_remove(struct listener *listener);

/* Bytes for the listener, at most ROOM; 0: none now, the connection has been put to sleep; -1: the end. */
ssize_t streams_read(struct listener *listener, char *buffer, size_t room);

unsigned streams_count(struct streams *streams);

/* Ends all streams, and those to come: clients are told when to come again. */
void streams_end(struct streams *streams);

#endif
