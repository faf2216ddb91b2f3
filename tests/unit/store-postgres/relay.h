/*
 * relay.h - a server of its own between an instance and a real one: it counts what the instance asks for, keeps answers
 * back, and breaks connections, at points that the protocol has and no clock. Speaks without TLS only.
 */
#ifndef POSTGRES_RELAY_H
#define POSTGRES_RELAY_H

#include <pthread.h>
#include <stdbool.h>

#define RELAY_LINKS_MAX 64

struct relay_link;

struct relay {
    pthread_mutex_t lock; /* of all that changes */
    pthread_cond_t changed; /* a count has */
    const char *question; /* the prepared statement that the rest is about */
    bool hold; /* the answer to the next question is kept back, with all behind it */
    bool
        cut; /* the connection of the next question breaks right behind its answer, when reads have gone along */
    unsigned questions; /* that were asked, since relay_begin() */
    unsigned held; /* of these, with an answer that is kept back */
    unsigned cuts; /* connections that were broken */
    unsigned reads; /* gets and scans that were asked for */
    unsigned early; /* of these, while the answer to the question before them was kept back */
    int listener;
    unsigned short port;
    const char *to; /* the name of the variable with the server's port */
    bool ends;
    unsigned count;
    struct relay_link *links[RELAY_LINKS_MAX];
    pthread_t thread;
};

/* Between whoever connects to `port` on 127.0.0.1 and the server whose port is in the variable TO. On the heap: it goes on
 * after a test that has failed. */
struct relay *relay_open(const char *to, const char *question);

/* All of its connections end; frees it. */
void relay_close(struct relay *relay);

/* What is kept back goes on, all counts begin anew, and the next question is one whose answer is kept back (HOLD), or
 * behind whose answer the connection breaks (CUT). */
void relay_begin(struct relay *relay, bool hold, bool cut);

/* What is kept back goes on, and nothing more is kept back; counts stay. */
void relay_release(struct relay *relay);

/* Until *COUNT, one of the relay's, has come to LEAST, for at most MS milliseconds: has it? */
bool relay_await(struct relay *relay, const unsigned *count, unsigned least, int ms);
unsigned relay_count(struct relay *relay, const unsigned *count);

#endif
