/*
 * store_limits.h - what store.h allows in a row and in a scan: the same in every store of ours.
 */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/store.h>

#define TEXT_MAX 512

/* An error on its way from where it happened to the thread whose call it concerns. */
struct store_error {
    int code; /* enum vim_error */
    char text[TEXT_MAX];
};

/* Sets ERROR. Returns its code. */
int store_error_set(struct store_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts ' in place of " in ERROR's text, for a value in quotes of a log line. */
void store_error_unquote(struct store_error *error);

/* 1..32 characters of a-z 0-9 - _ */
bool limits_collection(const char *text);

/* 1..200 bytes of printable ASCII without spaces; a parent may be empty. */
bool limits_id(const char *text);
bool limits_parent(const char *text);

/* Checks all that can be said about writes without looking at the rows. */
int limits_writes(const struct vim_write *writes, uint32_t count, uint32_t stride,
                  struct store_error *ret_error);

/* The WRITE at INDEX of an array with STRIDE. */
static inline const struct vim_write *write_at(const struct vim_write *writes, uint32_t stride,
                                               uint32_t index)
{
    return (const struct vim_write *)(const void *)((const char *)writes + (size_t)stride * index);
}

/* Checks all that can be said about a scan. */
int limits_scan(const struct vim_scan *scan, struct store_error *ret_error);

#endif
