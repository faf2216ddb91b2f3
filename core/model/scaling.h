/*
 * model/scaling.h - rows of services that are watched and scaled: what the scaler writes, and those who ask read.
 *
 *   scaling        id service     parent project   due: watched until then   body: what GET answers
 *   scaling-state  id service                      due: end of the lease     body: the scaler's own, see
 *                                                                            scaler/state.h
 *   scaling-wish   id service                                                body: the mode that was set, by whom
 *   decision       id UUIDv7      parent service   due: forgotten then       body: what GET answers
 *                                 state: enum decision_state
 *
 * A service is written by one process, whoever holds the lease in its state's row: each commit of that process
 * expects the revision that it has made itself, so one that has lost the lease writes nothing any more.
 */
#ifndef VIMD_MODEL_SCALING_H
#define VIMD_MODEL_SCALING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "model/store.h"

#define COLLECTION_SCALING "scaling"
#define COLLECTION_SCALING_STATE "scaling-state"
#define COLLECTION_SCALING_WISH "scaling-wish"
#define COLLECTION_DECISION "decision"

/* What became of a decision. Stored as the row's state: never renumber. */
enum decision_state {
    DECISION_NOTED = 0, /* nothing was to be done, or only to be said */
    DECISION_WAITING, /* for its approval */
    DECISION_APPROVED, /* and not yet carried out */
    DECISION_ACTING, /* the platform is told; what came of it is not known yet */
    DECISION_DONE,
    DECISION_FAILED, /* the platform did not do it */
    DECISION_REFUSED, /* approved, and meanwhile a rule stood against it */
    DECISION_EXPIRED, /* nobody approved it in time */
    DECISION_SUPERSEDED, /* another one took its place before it was approved */
    DECISION_STATE_COUNT
};
/* NULL for a number that is none. */
const char *decision_state_name(unsigned state);
/* The names, separated by spaces. */
extern const char decision_state_names[];

/* BODY, a decision's, with its state set anew: as it is to be stored. malloc'ed; NULL: BODY is not readable.
 * More members (may be NULL) are set, too. */
char *decision_restate(const char *body, size_t length, enum decision_state state,
                       const json_t *more);

/* The mode that somebody has set. */
struct scaling_wish {
    char mode[16];
    char by[64]; /* name of who did */
    int64_t time;
    uint64_t revision; /* of the row; 0: nobody has */
};
/* VIM_OK also if there is none. */
int scaling_wish_read(struct store *store, const char *service, struct scaling_wish *ret_wish,
                      struct failure *failure);
/* Sets it. */
int scaling_wish_write(struct store *store, const char *service, const char *mode, const char *by,
                       struct scaling_wish *ret_wish, struct failure *failure);

#endif
