/*
 * api/streams_internal.h - what the files of streams share.
 *
 *   streams.c        listeners: their beginning, what they are sent, their end; the thread
 *   streams_fetch.c  requests to the logic: the feed, replays, whether tokens are still good
 */
#ifndef VIMD_API_STREAMS_INTERNAL_H
#define VIMD_API_STREAMS_INTERNAL_H

#include <pthread.h>
#include "api/internal.h"
#include "api/streams.h"
#include "base/text.h"
#include "model/event.h"

#define RING_MAX 4096u
#define RING_BYTES_MAX ((size_t)16 << 20)

/* An event as it is sent. */
struct told {
    struct event_facts facts;
    char *text;
    size_t length;
};

/* Events without gaps: those with the numbers FROM + 1 .. LAST, in places number % RING_MAX. */
struct ring {
    bool valid; /* the feed has a place to go on from */
    uint64_t from, last;
    size_t bytes;
    struct told *events;
};

/* A token of listeners, looked up again and again. Freed with its last user. */
struct stream_token {
    struct streams *streams;
    char token[ACCESS_TOKEN_MAX + 1];
    unsigned users; /* listeners, and the look-up under way */
    bool asking, bad;
    int64_t asked; /* clock_mono_ms() */
    struct stream_token *next;
};

enum listener_end { END_NONE, END_SILENT, END_TOKEN, END_SHUTDOWN, END_LOST };

/* Made by its network thread, and freed by it. All under the mutex of the streams. */
struct fetch;
struct listener {
    struct streams *streams;
    struct listener *previous, *next;
    struct listener *next_awake; /* of those to be woken when the mutex is free */
    struct exchange *exchange; /* lives longer */
    struct stream_token *token;
    struct event_filter filter;
    uint64_t cursor; /* all up to this event was sent, or is of no interest */
    struct text text; /* to be sent first */
    size_t sent; /* of it */
    bool sleeping; /* suspended; whoever clears it wakes the connection */
    bool behind; /* further than the ring goes: wants a page */
    struct fetch *fetch; /* of the page, under way */
    int64_t retry; /* clock_mono_ms(): no page before */
    bool beat; /* send a sign of life */
    int64_t sent_at; /* clock_mono_ms() */
    enum listener_end end;
    bool farewell; /* was sent */
};

struct streams {
    struct api *api;
    pthread_mutex_t mutex; /* of all; not held over the link, and not while a connection is woken */
    pthread_cond_t cond;
    pthread_t thread;
    bool stop, ended;
    bool hinted; /* the thread has something to do */
    struct listener *listeners;
    unsigned count, fetches, replays;
    struct stream_token *tokens;
    struct ring ring;
    bool feeding; /* a request of the feed is under way */
    bool no_preload; /* what came before the first listener's place is not to be had */
    uint64_t start; /* place of the listener that the feed began for */
    int64_t feed_due; /* clock_mono_ms(): not before, after a failure */
    uint32_t feed_failures;
    int64_t idle_since; /* clock_mono_ms(): without a listener */
};

/* --- streams.c ----------------------------------------------------------------------------------- */

/* Under the mutex: puts a listener that has something to be sent on the list AWAKE, if it sleeps. */
void listener_wake(struct listener *listener, struct listener **awake);
/* Without the mutex: wakes those. */
void listeners_resume(struct listener *awake);
/* Under the mutex: has the ring something for a listener? Moves its cursor over what is not. */
struct told *listener_next(struct listener *listener);
/* May it see an event, and does it want to? */
bool listener_wants(const struct listener *listener, const struct event_facts *facts);

/* Adds an event, as a part of a stream. */
void stream_add_event(struct text *text, uint64_t number, enum event_type type, const char *body,
                      size_t length);

/* --- streams_fetch.c ----------------------------------------------------------------------------- */

/* Under the mutex, which is free while the link is called: starts what is due. */
void fetch_feed(struct streams *streams, int64_t now);
void fetch_pages(struct streams *streams, int64_t now);
void fetch_tokens(struct streams *streams, int64_t now);
/* Under the mutex: nobody waits for the page any more. */
void fetch_forget(struct fetch *fetch);
/* Under the mutex: one user less. */
void stream_token_drop(struct stream_token *token);

#endif
