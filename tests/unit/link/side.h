/*
 * Both ends of a link: a listener for peers over a logic that does what the path says, a peer that
 * misbehaves, and a client's request with its answer.
 */
#ifndef TEST_LINK_SIDE_H
#define TEST_LINK_SIDE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/api.h"
#include "link/ops.h"

#define SECRET "0123456789abcdef"

/* A logic process. What it does:
 *   /v1/version        tells what it was asked, and its name
 *   /v1/vims...        is held until side_release() or nobody waits for the answer any more
 *   /v1/plugins        a large answer
 *   PUT .../data       takes the upload, tells its size and digest
 *   others             200 {} */
struct side {
    struct link link;
    struct api *api;
    char *address; /* for link_config.logic */
    const char *name;
    atomic_uint calls, held, ended, looked_up;
    atomic_bool release, draining;
    uint16_t port;
};

/* PEM files for those that are opened from then on; NULL: plain. */
extern const char *side_certificate, *side_key, *side_authority;

/* LISTEN NULL: any port. IN_FLIGHT 0: many. */
void side_open(struct side *side, const char *name, const char *listen, const char *secret,
               int64_t in_flight);
void side_close(struct side *side, int64_t timeout_ms);

/* A peer that takes connections and does not what one does. */
enum rogue_way {
    ROGUE_CLOSES, /* after the whole request */
    ROGUE_SILENT, /* takes the connection, and reads and says nothing */
    ROGUE_BREAKS, /* is well, and keeps all requests until it is closed */
    ROGUE_ANSWERS /* is well, answers each request with `answer`, and closes */
};
struct rogue;
struct rogue *rogue_open(enum rogue_way way, const char *answer, char **ret_address);
unsigned rogue_requests(const struct rogue *rogue);
void rogue_close(struct rogue *rogue);

/* A link to ADDRESSES (NULL at the end), with quick probes. MORE is YAML, or that probes are rare, or that requests
 * may wait long. */
#define RARELY "rarely"
#define PATIENT "requests: 1\nqueue_wait: 6s\n"
struct link *link_to(const char *more, ...) __attribute__((sentinel));
/* The logic of the process that asks, of which it knows little. */
void own_end(void);

struct reply {
    int status;
    char *body; /* never NULL */
    char *headers; /* "Name: value\n" each */
};

struct asked; /* a request on its way */
struct asked *ask(struct link *link, const char *method, const char *target, const char *headers,
                  const char *body);
struct asked *ask_upload(struct link *link, const char *target, const char *path, int64_t size);
/* The client has left. */
void asked_leave(struct asked *asked);
bool asked_is_answered(struct asked *asked);
struct reply asked_wait(struct asked *asked);
/* Asks and waits. */
struct reply get(struct link *link, const char *method, const char *target, const char *headers,
                 const char *body);
void expect(struct link *link, int status, const char *method, const char *target,
            const char *headers, const char *part);
void reply_free(struct reply *reply);

/* Waits until CONDITION, for long enough on any machine. */
#define UNTIL(condition)                                            \
    for (int64_t until_ = clock_mono_ms() + 20000; !(condition);) { \
        assert_true(clock_mono_ms() < until_);                      \
        clock_sleep_ms(2);                                          \
    }

#endif
