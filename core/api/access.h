/*
 * api/access.h - who asks: principals of bearer tokens, remembered for a few seconds, and the
 * brakes on those who guess.
 */
#ifndef VIMD_API_ACCESS_H
#define VIMD_API_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/digest.h"
#include "link/link.h"

/* How long a revoked token may go on working here. */
#define ACCESS_TTL_MS 5000
#define ACCESS_TOKEN_MAX 200

struct access;

struct access *access_new(void);
void access_free(struct access *access); /* NULL is fine */

/* What a look-up that is under way is about. */
struct access_key {
    uint8_t digest[DIGEST_SIZE]; /* of the token */
    uint8_t address[16]; /* of the client */
};

/* The principal of TOKEN, if it is known here. VIM_AGAIN: it has to be looked up, and what comes of it
 * to be told to access_learn(). That is told before what is remembered ends, too, but to one request at a time: so
 * the others go on while one asks again. VIM_E_BUSY: the address has made too many bad guesses, and *RET_WAIT_MS
 * says for how long tokens that are not known well are refused. */
int access_principal(struct access *access, const char *token, const uint8_t address[16],
                     int64_t now_ms, struct access_key *ret_key, struct principal *ret_principal,
                     uint32_t *ret_wait_ms);

/* The principal, if it is known all the same when the look-up has failed. */
bool access_recall(struct access *access, const struct access_key *key, int64_t now_ms,
                   struct principal *ret_principal);

void access_learn(struct access *access, const struct access_key *key, int code,
                  const struct principal *principal, int64_t now_ms);

#endif
