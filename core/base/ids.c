/*
 * Locks: id_mutex, alone.
 */
#include "base/ids.h"
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/memory.h"
#include "base/text.h"

static pthread_mutex_t id_mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t id_last_ms; /* time part of the last id */
static uint32_t id_last_count; /* 26 bits behind it: random at the start of a millisecond */

/* The last bytes of each id. */
#define ID_ORIGIN_SIZE 3
static uint8_t id_origin[ID_ORIGIN_SIZE];
static bool id_has_origin;

#define ID_COUNT_BITS 26
#define ID_COUNT_MAX ((1u << ID_COUNT_BITS) - 1)

static char *id_text(const uint8_t bytes[16], char ret_id[ID_SIZE])
{
    char hex[33];
    digest_hex(bytes, 16, hex);
    static const int starts[] = {0, 8, 12, 16, 20, 32};
    char *to = ret_id;
    for (int part = 0; part < 5; part++) {
        int length = starts[part + 1] - starts[part];
        memcpy(to, hex + starts[part], (size_t)length);
        to += length;
        *to++ = part < 4 ? '-' : '\0';
    }
    return ret_id;
}

/* RFC 9562 6.2, method 1: rand_a (12 bits) and the first 14 bits of rand_b are a counter that is
 * seeded anew with each millisecond; when it overflows, or the clock goes back, the time part runs
 * ahead of the clock. */
char *id_new(char ret_id[ID_SIZE])
{
    uint8_t random[10];
    digest_random(random, sizeof(random));
    uint32_t seed;
    memcpy(&seed, random + 6, sizeof(seed));
    seed &= ID_COUNT_MAX >> 1; /* leaves room to count */
    int64_t ms = clock_now_ms();
    uint32_t count;
    {
        LOCK_GUARD(&id_mutex);
        if (ms > id_last_ms) {
            id_last_ms = ms;
            id_last_count = seed;
        } else if (id_last_count < ID_COUNT_MAX) {
            id_last_count++;
        } else {
            id_last_ms++;
            id_last_count = seed;
        }
        ms = id_last_ms;
        count = id_last_count;
    }
    uint8_t bytes[16];
    for (int i = 0; i < 6; i++) {
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    bytes[6] = (uint8_t)(0x70 | (count >> 22));
    bytes[7] = (uint8_t)(count >> 14);
    bytes[8] = (uint8_t)(0x80 | ((count >> 8) & 0x3F));
    bytes[9] = (uint8_t)count;
    memcpy(bytes + 10, random, 6);
    if (id_has_origin) {
        memcpy(bytes + sizeof(bytes) - ID_ORIGIN_SIZE, id_origin, ID_ORIGIN_SIZE);
    }
    return id_text(bytes, ret_id);
}

void id_set_origin(const char *name)
{
    uint8_t digest[DIGEST_SIZE];
    id_has_origin = name && *name;
    if (id_has_origin) {
        digest_sha256(name, strlen(name), digest);
        memcpy(id_origin, digest, ID_ORIGIN_SIZE);
    }
}

bool id_is_own(const char *id)
{
    char hex[2 * ID_ORIGIN_SIZE + 1];
    digest_hex(id_origin, ID_ORIGIN_SIZE, hex);
    return !id_has_origin ||
           (id_valid(id) && strcmp(id + ID_SIZE - 1 - 2 * ID_ORIGIN_SIZE, hex) == 0);
}

char *id_derive(const char *namespace_text, const char *name, char ret_id[ID_SIZE])
{
    /* The separator cannot be in either text, so the pair is what is digested. */
    size_t first = strlen(namespace_text) + 1, second = strlen(name);
    CLEANUP_FREE char *both = memory_new(first + second + 1);
    memcpy(both, namespace_text, first);
    memcpy(both + first, name, second);
    uint8_t digest[DIGEST_SIZE];
    digest_sha256(both, first + second, digest);
    digest[6] = (uint8_t)(0x80 | (digest[6] & 0x0F));
    digest[8] = (uint8_t)(0x80 | (digest[8] & 0x3F));
    return id_text(digest, ret_id);
}

/* What may stand where: a hexadecimal digit, in lower case, is 1; a dash is 2. */
static const uint8_t id_letters[256] = {['0' ... '9'] = 1, ['a' ... 'f'] = 1, ['-'] = 2};
static const char id_shape[ID_SIZE] = {
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2,
    1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0,
};

bool id_valid(const char *text)
{
    if (!text) {
        return false;
    }
    for (int i = 0; i < ID_SIZE; i++) {
        if (id_letters[(unsigned char)text[i]] != id_shape[i]) {
            return false; /* a NUL too early is none of what is expected there either */
        }
    }
    return text[ID_SIZE - 1] == '\0';
}
