/*
 * MD5 (RFC 1321), because that is the checksum that an image service tells. Not for security.
 */
#ifndef MOCK_MD5_H
#define MOCK_MD5_H

#include <stddef.h>
#include <stdint.h>

struct md5 {
    uint32_t state[4];
    uint64_t length;
    unsigned char block[64];
};

void md5_begin(struct md5 *md5);
void md5_add(struct md5 *md5, const void *bytes, size_t length);
void md5_end(struct md5 *md5, char ret_hex[33]);

#endif
