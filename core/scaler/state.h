/*
 * scaler/state.h - what the process that acts for a service remembers of it, kept in the store so that another
 * one goes on where this one ended.
 *
 * The row ("scaling-state"/service) is the lease as well: `due` is its end, the body names the owner, and every
 * commit of the owner writes it and expects the revision that it has made itself. Who takes the lease over adds one
 * to `fence`; that number is in every decision, so that the log tells which owner made it.
 */
#ifndef SCALER_STATE_H
#define SCALER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/ids.h"
#include "scaler/guard.h"
#include "scaler/services.h"

struct text;

/* A size that the platform was told, or is about to be. Written before it is told. */
struct state_intent {
    char decision[ID_SIZE]; /* its id, which is the request's too; "": there is none */
    char block[HISTORY_NAME_MAX + 1];
    int32_t delta;
    uint32_t from, to; /* replicas */
    bool own, ahead; /* as in the ruling */
    int64_t at; /* when it was decided */
};

/* A decision that waits for its approval. */
struct state_waiting {
    char decision[ID_SIZE]; /* "": none does */
    char block[HISTORY_NAME_MAX + 1];
    int32_t delta;
    uint32_t verdict; /* of the policy */
    bool own;
    int64_t until;
};

struct watch_state {
    char owner[128];
    uint64_t fence;
    enum service_mode mode; /* in force */
    enum service_mode configured; /* what the configuration said then */
    uint64_t wish; /* revision of the wish that is in force; 0: none */
    struct guard guard;
    char policy[64]; /* whose memory `kept` is */
    char *kept; /* or NULL */
    char shadows[SERVICE_SHADOWS_MAX][64];
    char *shadow_kept[SERVICE_SHADOWS_MAX];
    struct state_intent intent;
    struct state_waiting waiting;
    char effect_of[ID_SIZE]; /* the decision whose effect is being observed; "": none is */
};

/* All empty: mode and rules as configured. */
void state_init(struct watch_state *state, const struct service *service);
void state_free(struct watch_state *state); /* what it holds */

void state_print(const struct watch_state *state, struct text *text);

/* Reads what another process has written, for SERVICE as it is configured here: another policy has no memory, and a
 * mode that the configuration has changed since then is the configuration's. VIM_E_INVALID: it is not readable, and
 * STATE is as state_init() leaves it. */
int state_parse(struct watch_state *state, const struct service *service, const char *body);

/* Replaces what a policy remembers. */
void state_keep(char **kept, const char *text);

#endif
