/*
 * base/error.h - names and classes of enum vim_error, and the delay before a repetition.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>
#include <vim/plugin.h>

enum error_class {
    ERROR_NONE, /* not an error */
    ERROR_PERMANENT, /* the same call will fail again */
    ERROR_TRANSIENT, /* nothing happened; may succeed later */
    ERROR_UNKNOWN /* may have happened; repeat only under the same request id */
};

/* Stable name of a code: "ok", "again", "invalid", "not-found", "conflict", "denied", "quota",
 * "unsupported", "cancelled", "internal", "failed", "busy", "unavailable", "credential", "in-use",
 * "timeout", "lost". A code that this core does not know gets the name of its class: "permanent",
 * "transient", "unknown-outcome". Never NULL. */
const char *error_name(int code);

/* The code with that name; VIM_E_INTERNAL for a name that is unknown. */
int error_from_name(const char *name);

enum error_class error_class(int code);

/* May the same call succeed later? Transient and unknown-outcome codes. */
bool error_is_retryable(int code);

/* Full-jitter backoff: a random number of milliseconds in 0..min(CAP, BASE * 2^ATTEMPT), from
 * *STATE, a seed that is advanced; NULL takes a per-thread seed of real randomness. */
uint32_t error_backoff_ms(uint32_t base_ms, uint32_t cap_ms, uint32_t attempt, uint64_t *state);

#endif
