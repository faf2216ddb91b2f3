/*
 * api/exchange.h - one request and its answer.
 *
 * Life: made when a request line has arrived, by its connection, which holds one reference until
 * MHD is done with the request. While the logic works on it, the logic's answer holds another: an
 * exchange whose client is gone, or that was answered with 504, lives on until the logic has
 * answered too. Whoever lets go last frees.
 *
 *   READING -> CALLED -> (WAITING, when the answer does not come at once) -> ANSWERED
 *
 * Of those who want to answer (logic, deadline, shutdown) the first to set `claimed` does; the rest
 * is dropped.
 */
#ifndef VIMD_API_EXCHANGE_H
#define VIMD_API_EXCHANGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include "api/access.h"
#include "api/spool.h"
#include "api/target.h"
#include "link/link.h"

struct api;
struct connection;

#define REQUEST_ID_SIZE 129
#define EXCHANGE_HEADERS 24 /* that the logic wants, at most */
#define ANSWER_HEADERS 16

enum exchange_state { EXCHANGE_READING, EXCHANGE_CALLED, EXCHANGE_WAITING, EXCHANGE_ANSWERED };

/* What the network thread does next; of no interest to others. */
enum exchange_phase {
    PHASE_HEADERS,
    PHASE_ASKING,
    PHASE_BODY,
    PHASE_DISCARD,
    PHASE_CALLED,
    PHASE_REPLIED
};

/* The look-up of a token's owner: ASK_CALLED -> (ASK_WAITING, when the connection sleeps) -> ASK_DONE. Of
 * the look-up and the deadline the first to set `asked` says how it ends. */
enum exchange_ask { ASK_NONE, ASK_CALLED, ASK_WAITING, ASK_DONE };

/* Memory for texts, freed as a whole; the first bytes without an allocation. */
struct arena {
    struct arena_block *blocks;
    char *next;
    size_t left;
    char first[2048];
};

struct answer {
    int status;
    const char *content_type;
    struct header headers[ANSWER_HEADERS];
    size_t header_count;
    char *body; /* malloc'ed, owned */
    size_t body_length;
    bool refused; /* see struct response */
};

struct exchange {
    atomic_uint references;
    atomic_int state; /* enum exchange_state */
    atomic_bool claimed;
    struct api *api; /* valid while `connection` holds its reference */
    struct connection *connection;
    void *handle; /* MHD's connection; to be resumed by who answers in the state WAITING */
    struct exchange *waiting_previous, *waiting_next; /* see connections.h */
    int64_t deadline; /* monotonic ms, of the answer */
    atomic_bool unattended; /* see struct request */
    atomic_int asking; /* enum exchange_ask */
    atomic_bool asked;
    int ask_code; /* what came of it; the principal is in `principal` */
    char *token; /* that is being looked up; in the arena */
    struct access_key ask_key;
    int64_t left_ms; /* that a peer gives the request; 0: not told */

    enum exchange_phase phase;
    bool counted; /* in api->in_flight */
    bool spooled; /* the body goes to a file */
    bool must_close; /* the connection cannot be used after the answer */
    bool observed; /* its end was told to the metrics already */
    bool on_link; /* it is counted as a call of the logic until it is claimed */
    struct listener *listener; /* of a stream */
    bool has_body;
    bool expects_continue;
    bool encoded; /* the body has a Content-Encoding */
    int64_t content_length; /* -1: not told */
    int64_t discard_left;
    int64_t started_us;

    char *raw_target; /* in the arena; NULL: too long, or none */
    bool target_too_long;
    struct target target;
    struct logic_route_info route;
    char method[8];
    char request_id[REQUEST_ID_SIZE];
    struct principal principal;
    struct spool body;
    struct header headers[EXCHANGE_HEADERS];
    struct request request;
    struct answer answer;
    size_t sent; /* bytes of the answer's body */
    struct arena arena;
};

/* One that this thread has used before, if there is one: its memory is warm. */
struct exchange *exchange_new(void);

/* Frees an exchange, to which nobody else refers, or puts it aside for this thread's next one. */
void exchange_recycle(struct exchange *exchange);

void exchange_hold(struct exchange *exchange);

/* Lets go. True if it was the last reference: the caller then frees or recycles it. */
bool exchange_drop(struct exchange *exchange);
void exchange_free(struct exchange *exchange); /* NULL is fine */

/* Copies into the arena. */
char *exchange_text(struct exchange *exchange, const char *text, size_t length);

/* Prepares an error as the answer, on the network thread, before any call of the logic. */
void exchange_refuse(struct exchange *exchange, int status, const char *code, const char *detail,
                     uint32_t retry_after_ms);

/* Puts an error in the place of an answer that cannot be given. On the network thread. */
void exchange_overrule(struct exchange *exchange, int status, const char *code, const char *detail,
                       uint32_t retry_after_ms);

/* What came of the look-up of the token; see link_principal_fn. Drops the look-up's reference. */
void exchange_learn(void *argument, int code, const struct principal *principal,
                    const struct failure *failure);

/* The logic's answer; see logic_respond_fn. Drops the logic's reference. */
void exchange_respond(void *argument, struct response *response);

/* Ends the look-up of the token without a result, unless it has ended. Any thread that holds a
 * reference. */
void exchange_forget(struct exchange *exchange);

/* Answers in the logic's place, unless somebody has answered. Any thread that holds a
 * reference. */
void exchange_give_up(struct exchange *exchange, int status, const char *code, const char *detail);

/* Given by http.c: wakes the connection of an exchange that was WAITING. */
void http_resume(struct exchange *exchange);

#endif
