/*
 * base/file.h - whole files at once.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

struct text;

/* Reads a regular file (or pipe) of at most LIMIT bytes into TEXT, replacing what it held; *RET_MODE
 * (may be NULL) gets its permission bits. VIM_E_NOT_FOUND, VIM_E_DENIED, VIM_E_INVALID (too
 * large, or a directory), VIM_E_UNAVAILABLE; errno tells more. */
int file_read(const char *path, size_t limit, struct text *ret_text, mode_t *ret_mode);

/* Writes a file so that readers see the old or the new content, never half: a temporary file beside
 * it with MODE, flushed, renamed. VIM_E_UNAVAILABLE; errno tells more. */
int file_write(const char *path, const void *data, size_t size, mode_t mode);

#endif
