/*
 * api/access.h - who asks: principals of bearer tokens, remembered for a few seconds, and the
 * brakes on those who guess.
 */
#ifndef VIMD_API_ACCESS_H
#define VIMD_API_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "link/link.h"

/* How long a revoked token may go on working here. */
#define ACCESS_TTL_MS 5000
#define ACCESS_TOKEN_MAX 200

struct access;

struct access *access_new(struct link *link);
void access_free(struct access *access); /* NULL is fine */

/* The principal of TOKEN. VIM_E_CREDENTIAL: no such token, or expired; VIM_E_BUSY: the address has
 * made too many bad guesses, and *RET_WAIT_MS says for how long tokens that are not known well
 * are refused; or the store's error. */
int access_principal(struct access *access, const char *token, const uint8_t address[16],
                     int64_t now_ms, struct principal *ret_principal, uint32_t *ret_wait_ms,
                     struct failure *failure);

#endif
