/*
 * base/digest.h - digests, random bytes and their encodings. The one file with GnuTLS in base.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1)

void digest_sha256(const void *data, size_t size, uint8_t ret_digest[DIGEST_SIZE]);

/* As lower-case hexadecimal text. Returns RET_HEX. */
char *digest_sha256_hex(const void *data, size_t size, char ret_hex[DIGEST_HEX_SIZE]);

void digest_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                        uint8_t ret_digest[DIGEST_SIZE]);

/* Equality in a time that depends on SIZE alone. */
bool digest_equal(const void *a, const void *b, size_t size);

/* Equality of two strings in a time that depends on their lengths alone; false if one is NULL. */
bool digest_text_equal(const char *a, const char *b);

/* Random bytes fit for keys and tokens (getrandom). */
void digest_random(void *ret_bytes, size_t size);

/* RET_HEX has room for 2 * SIZE + 1. */
void digest_hex(const void *data, size_t size, char *ret_hex);

/* malloc'ed, without padding. */
char *digest_base32(const void *data, size_t size); /* RFC 4648, lower case */
char *digest_base64url(const void *data, size_t size); /* RFC 4648 section 5 */

/* Decodes base64url without padding into malloc'ed bytes; VIM_E_INVALID if it is not that. */
int digest_base64url_decode(const char *text, size_t length, uint8_t **ret_data, size_t *ret_size);

/* Is the string base64 (RFC 4648 section 4, padded, no line breaks)? */
bool digest_is_base64(const char *text, size_t length);

#endif
