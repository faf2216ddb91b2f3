/*
 * api/spool.h - a request's body as it arrives: in memory, or in a file for uploads.
 *
 * The file has mode 0600 and no name until the body is complete, so that a crash leaves nothing.
 */
#ifndef VIMD_API_SPOOL_H
#define VIMD_API_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool {
    char *data; /* memory */
    size_t length, capacity;
    size_t charged; /* of the memory for all bodies */
    char *path; /* file, once spool_end() named it */
    int fd; /* -1: none */
    int64_t size; /* bytes so far */
    int64_t limit;
    const char *dir;
};

void spool_init(struct spool *spool);

/* Begins a body of at most LIMIT bytes; DIR: into a file there, which has to live as long as the
 * spool; NULL: into memory. VIM_E_UNAVAILABLE: the disk refuses (errno), or has no room for EXPECTED
 * bytes (0: not known). */
int spool_begin(struct spool *spool, int64_t limit, int64_t expected, const char *dir);

/* Adds bytes. VIM_E_QUOTA: beyond the limit; VIM_E_BUSY: beyond MEMORY_MAX for all bodies of the
 * process together; VIM_E_UNAVAILABLE: the disk refuses (errno). */
int spool_add(struct spool *spool, const void *bytes, size_t size, int64_t memory_max);

/* The body is complete: memory is NUL-terminated, a file gets a name. */
int spool_end(struct spool *spool);

/* Frees; removes the file unless KEEP_FILE, when it belongs to somebody else now. */
void spool_free(struct spool *spool, bool keep_file);

#endif
