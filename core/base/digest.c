#include "base/digest.h"
#include <assert.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <vim/plugin.h>
#include "base/memory.h"

void digest_sha256(const void *data, size_t size, uint8_t ret_digest[DIGEST_SIZE])
{
    int error = gnutls_hash_fast(GNUTLS_DIG_SHA256, size ? data : "", size, ret_digest);
    assert(error == 0);
    (void)error;
}

char *digest_sha256_hex(const void *data, size_t size, char ret_hex[DIGEST_HEX_SIZE])
{
    uint8_t digest[DIGEST_SIZE];
    digest_sha256(data, size, digest);
    digest_hex(digest, sizeof(digest), ret_hex);
    return ret_hex;
}

void digest_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                        uint8_t ret_digest[DIGEST_SIZE])
{
    int error = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key_size ? key : "", key_size, size ? data : "",
                                 size, ret_digest);
    assert(error == 0);
    (void)error;
}

/* By words, as it is done for every request. What the compiler sees of DIFFERENT tells it nothing, so
 * it cannot leave the loop early. */
bool digest_equal(const void *a, const void *b, size_t size)
{
    const unsigned char *left = a, *right = b;
    uint64_t different = 0;
    for (; size >= sizeof(different); size -= sizeof(different)) {
        uint64_t x, y;
        memcpy(&x, left, sizeof(x));
        memcpy(&y, right, sizeof(y));
        different |= x ^ y;
        __asm__ volatile("" : "+r"(different));
        left += sizeof(x);
        right += sizeof(y);
    }
    for (; size > 0; size--) {
        different |= (uint64_t)(*left++ ^ *right++);
        __asm__ volatile("" : "+r"(different));
    }
    return different == 0;
}

bool digest_text_equal(const char *a, const char *b)
{
    if (!a || !b) {
        return false;
    }
    size_t length = strlen(a);
    return strlen(b) == length && digest_equal(a, b, length);
}

void digest_random(void *ret_bytes, size_t size)
{
    uint8_t *at = ret_bytes;
    while (size) {
        ssize_t got = getrandom(at, size < 256 ? size : 256, 0);
        if (got < 0) {
            assert(errno == EINTR);
            continue;
        }
        at += got;
        size -= (size_t)got;
    }
}

void digest_hex(const void *data, size_t size, char *ret_hex)
{
    static const char letters[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        ret_hex[2 * i] = letters[bytes[i] >> 4];
        ret_hex[2 * i + 1] = letters[bytes[i] & 15];
    }
    ret_hex[2 * size] = '\0';
}

/* BITS per letter, most significant first, the last letter filled up with zero bits. */
static char *encode(const uint8_t *bytes, size_t size, unsigned bits, const char *letters)
{
    char *out = memory_new((size * 8 + bits - 1) / bits + 1), *to = out;
    uint32_t buffer = 0;
    unsigned held = 0, mask = (1u << bits) - 1;
    for (size_t i = 0; i < size; i++) {
        buffer = buffer << 8 | bytes[i];
        for (held += 8; held >= bits; held -= bits) {
            *to++ = letters[buffer >> (held - bits) & mask];
        }
    }
    if (held) {
        *to++ = letters[buffer << (bits - held) & mask];
    }
    return out;
}

char *digest_base32(const void *data, size_t size)
{
    return encode(data, size, 5, "abcdefghijklmnopqrstuvwxyz234567");
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *digest_base64url(const void *data, size_t size)
{
    return encode(data, size, 6, base64url);
}

int digest_base64url_decode(const char *text, size_t length, uint8_t **ret_data, size_t *ret_size)
{
    if (length % 4 == 1) {
        return VIM_E_INVALID;
    }
    uint8_t *data = memory_new(length * 3 / 4 + 1), *to = data;
    uint32_t buffer = 0;
    unsigned held = 0;
    for (size_t i = 0; i < length; i++) {
        const char *letter = text[i] ? strchr(base64url, text[i]) : NULL;
        if (!letter) {
            free(data);
            return VIM_E_INVALID;
        }
        buffer = buffer << 6 | (uint32_t)(letter - base64url);
        held += 6;
        if (held >= 8) {
            held -= 8;
            *to++ = (uint8_t)(buffer >> held);
        }
    }
    if (held && (buffer & ((1u << held) - 1))) { /* the bits that are left over have to be zero */
        free(data);
        return VIM_E_INVALID;
    }
    *ret_data = data;
    *ret_size = (size_t)(to - data);
    return VIM_OK;
}

bool digest_is_base64(const char *text, size_t length)
{
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    for (size_t i = 0; i < length - padding; i++) {
        char c = text[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/')) {
            return false;
        }
    }
    return length % 4 == 0;
}
