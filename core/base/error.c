#include "base/error.h"
#include <stddef.h>
#include <string.h>
#include "base/digest.h"

static const struct {
    int code;
    const char *name;
} names[] = {
    {VIM_OK, "ok"},
    {VIM_AGAIN, "again"},
    {VIM_E_INVALID, "invalid"},
    {VIM_E_NOT_FOUND, "not-found"},
    {VIM_E_CONFLICT, "conflict"},
    {VIM_E_DENIED, "denied"},
    {VIM_E_QUOTA, "quota"},
    {VIM_E_UNSUPPORTED, "unsupported"},
    {VIM_E_CANCELLED, "cancelled"},
    {VIM_E_INTERNAL, "internal"},
    {VIM_E_FAILED, "failed"},
    {VIM_E_BUSY, "busy"},
    {VIM_E_UNAVAILABLE, "unavailable"},
    {VIM_E_CREDENTIAL, "credential"},
    {VIM_E_IN_USE, "in-use"},
    {VIM_E_TIMEOUT, "timeout"},
    {VIM_E_LOST, "lost"},
};
#define NAMES (sizeof(names) / sizeof(names[0]))

const char *error_name(int code)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    switch (error_class(code)) {
    case ERROR_PERMANENT:
        return "permanent";
    case ERROR_TRANSIENT:
        return "transient";
    case ERROR_UNKNOWN:
        return "unknown-outcome";
    default:
        return "ok";
    }
}

int error_from_name(const char *name)
{
    for (size_t i = 0; name && i < NAMES; i++) {
        if (strcmp(names[i].name, name) == 0) {
            return names[i].code;
        }
    }
    return VIM_E_INTERNAL;
}

enum error_class error_class(int code)
{
    if (VIM_IS_PERMANENT(code)) {
        return ERROR_PERMANENT;
    }
    if (VIM_IS_TRANSIENT(code)) {
        return ERROR_TRANSIENT;
    }
    return VIM_IS_UNKNOWN(code) ? ERROR_UNKNOWN : ERROR_NONE;
}

bool error_is_retryable(int code)
{
    enum error_class class = error_class(code);
    return class == ERROR_TRANSIENT || class == ERROR_UNKNOWN;
}

/* splitmix64: good enough for jitter, one word of state. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t error_backoff_ms(uint32_t base_ms, uint32_t cap_ms, uint32_t attempt, uint64_t *state)
{
    static __thread uint64_t thread_state;
    if (!state) {
        if (thread_state == 0) {
            digest_random(&thread_state, sizeof(thread_state));
        }
        state = &thread_state;
    }
    uint64_t limit = attempt >= 32 ? cap_ms : (uint64_t)base_ms << attempt;
    if (limit > cap_ms) {
        limit = cap_ms;
    }
    return (uint32_t)(next_random(state) % (limit + 1));
}
