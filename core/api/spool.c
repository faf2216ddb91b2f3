#include "api/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/text.h"

/* Memory of all bodies in the process. A body may outlive the API object that took it in: the logic
 * has it until it answers. */
static atomic_int_fast64_t spool_memory;

void spool_init(struct spool *spool)
{
    *spool = (struct spool){.fd = -1};
}

/* Room for so many bytes; whether it is still there when they have come is another question. */
static bool spool_has_room(const char *dir, int64_t expected)
{
    struct statvfs status;
    if (expected <= 0 || statvfs(dir, &status) != 0) {
        return true;
    }
    return (uint64_t)expected / status.f_frsize < status.f_bavail;
}

int spool_begin(struct spool *spool, int64_t limit, int64_t expected, const char *dir)
{
    spool->limit = limit;
    spool->dir = dir;
    if (!dir) {
        return VIM_OK;
    }
    if (!spool_has_room(dir, expected)) {
        errno = ENOSPC;
        return VIM_E_UNAVAILABLE;
    }
    spool->fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (spool->fd >= 0) {
        return VIM_OK;
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
        return VIM_E_UNAVAILABLE;
    }
    /* A file system without nameless files. */
    char id[ID_SIZE];
    spool->path = text_format("%s/upload-%s", dir, id_new(id));
    spool->fd = open(spool->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (spool->fd < 0) {
        free(TAKE(spool->path));
        return VIM_E_UNAVAILABLE;
    }
    return VIM_OK;
}

static int spool_write(struct spool *spool, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(spool->fd, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return VIM_E_UNAVAILABLE;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return VIM_OK;
}

static int spool_grow(struct spool *spool, size_t size, int64_t memory_max)
{
    size_t needed = spool->length + size + 1;
    if (needed <= spool->capacity) {
        return VIM_OK;
    }
    size_t capacity = spool->capacity ? spool->capacity : 1024;
    while (capacity < needed) {
        capacity *= 2;
    }
    int64_t more = (int64_t)(capacity - spool->capacity);
    if (atomic_fetch_add(&spool_memory, more) + more > memory_max) {
        atomic_fetch_sub(&spool_memory, more);
        return VIM_E_BUSY;
    }
    spool->charged += (size_t)more;
    spool->data = memory_resize(spool->data, capacity, 1);
    spool->capacity = capacity;
    return VIM_OK;
}

int spool_add(struct spool *spool, const void *bytes, size_t size, int64_t memory_max)
{
    if ((int64_t)size > spool->limit - spool->size) {
        return VIM_E_QUOTA;
    }
    int code =
        spool->fd >= 0 ? spool_write(spool, bytes, size) : spool_grow(spool, size, memory_max);
    if (code) {
        return code;
    }
    if (spool->fd < 0) {
        memcpy(spool->data + spool->length, bytes, size);
        spool->length += size;
        spool->data[spool->length] = '\0';
    }
    spool->size += (int64_t)size;
    return VIM_OK;
}

int spool_end(struct spool *spool)
{
    if (spool->fd < 0 || spool->path) {
        return VIM_OK;
    }
    char id[ID_SIZE];
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", spool->fd);
    char *path = text_format("%s/upload-%s", spool->dir, id_new(id));
    if (linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW)) {
        free(path);
        return VIM_E_UNAVAILABLE;
    }
    spool->path = path;
    return VIM_OK;
}

void spool_free(struct spool *spool, bool keep_file)
{
    if (spool->fd >= 0) {
        close(spool->fd);
    }
    if (spool->path && !keep_file) {
        unlink(spool->path);
    }
    free(spool->path);
    free(spool->data);
    atomic_fetch_sub(&spool_memory, (int_fast64_t)spool->charged);
    spool_init(spool);
}
