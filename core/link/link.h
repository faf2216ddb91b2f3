/*
 * link/link.h - the seam between the API block and the logic block.
 *
 * In one process it is a function call (local.c); to others it is HTTP on connections that are kept
 * (remote.c). Users do not see which.
 */
#ifndef VIMD_LINK_LINK_H
#define VIMD_LINK_LINK_H

#include "config/fill.h"
#include "link/message.h"
#include "logic/logic.h"

struct link;

/* The section `link` of the configuration, as link_table fills it. Texts belong to the filled struct,
 * which has to outlive what is made of it. */
struct link_config {
    struct vim_texts listen;
    const char *advertise;
    struct vim_texts logic;
    const char *secret, *previous_secret;
    int32_t insecure;
    const char *tls_certificate, *tls_key, *tls_ca, *tls_name;
    /* Of the listener. */
    int64_t threads, blocking_threads, blocking_queue, blocking_wait_ms, connections, in_flight;
    /* Towards the logic. Live. */
    int64_t requests, queue, queue_wait_ms, answer_max;
    int64_t connect_timeout_ms, probe_interval_ms, probe_timeout_ms, refresh_ms;
};

extern const struct config_table link_table;

/* Checks what the table cannot: addresses, a secret worth the name, plain text that would leave the
 * host. Returns VIM_E_INVALID and why. */
int link_check(const struct link_config *config, struct failure *failure);

/* A link to LOGIC in this process, which must outlive it. Requests that may block run on THREADS
 * threads of the link's own, behind a queue of QUEUE_MAX; searches (logic_is_search()) on half as many
 * others, up to 4, or an eighth, and what other processes of the service ask on two, each behind a queue of their own. A full
 * queue answers 503, as does one in which requests wait too long: none is begun later than WAIT_MS after it
 * came. */
int link_new_local(struct logic *logic, unsigned threads, unsigned queue_max, int64_t wait_ms,
                   struct link **ret_link);

/* A link to the logic in other processes. OWN answers what is about this process; it has no engine, and
 * must outlive the link. VIM_E_INVALID, VIM_E_UNAVAILABLE. */
int link_new_remote(const struct link_config *config, struct logic *own, struct link **ret_link,
                    struct failure *failure);

/* Answers what has not been answered. */
void link_free(struct link *link);

/* See logic.h; the same meaning. */
void link_route(struct link *link, const char *method, const char *path,
                struct logic_route_info *ret_info);
bool link_is_inline(struct link *link, const struct request *request);
void link_call(struct link *link, const struct request *request, logic_respond_fn respond,
               void *argument);
void link_end_waits(struct link *link, bool all);

/* Looks up who a bearer token belongs to, and tells COMPLETE once, perhaps before this returns:
 * VIM_OK and the principal, VIM_E_CREDENTIAL, or what kept it from looking. */
typedef void (*link_principal_fn)(void *argument, int code, const struct principal *principal,
                                  const struct failure *failure);
void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument);

/* What the link adds to a request's headers at most, and how long the listener has to keep connections. */
#define LINK_HEADERS_MAX 4096
#define LINK_IDLE_MS 600000

/* The first address of "NAME:PORT", as text to be handed on; malloc'ed, NULL if there is none. */
char *link_resolve(const char *text);

/* --- For processes without a logic of their own: links to others ---------------------------------- */

/* Replaces the live options of CONFIG, the addresses, the secret, and what is in the files of TLS. */
void link_configure(struct link *link, const struct link_config *config);

/* Replicas that are known by other ways than the configuration: replaces those told earlier. */
void link_set_replicas(struct link *link, const char *const *addresses, size_t count);

/* Is a replica there that takes requests? */
bool link_is_ready(struct link *link);

/* Asks any logic process for itself (logic/peers.h) and waits for the answer for up to TIMEOUT_MS.
 * *RET_ANSWER is malloc'ed. An answer other than 200 is an error. */
int link_ask(struct link *link, const char *method, const char *path, const char *body,
             size_t length, int64_t timeout_ms, char **ret_answer, struct failure *failure);

#endif
