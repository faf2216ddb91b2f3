#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/text.h"

static int file_error(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return VIM_E_NOT_FOUND;
    case EACCES:
    case EPERM:
        return VIM_E_DENIED;
    default:
        return VIM_E_UNAVAILABLE;
    }
}

int file_read(const char *path, size_t limit, struct text *ret_text, mode_t *ret_mode)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        return file_error();
    }
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return VIM_E_INVALID;
    }
    CLEANUP_TEXT struct text text = {0};
    for (;;) {
        char *to = text_reserve(&text, 16384);
        ssize_t got = read(fd, to, 16384);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return file_error();
        }
        if (got == 0) {
            break;
        }
        text.length += (size_t)got;
        text.data[text.length] = '\0';
        if (text.length > limit) {
            errno = EFBIG;
            return VIM_E_INVALID;
        }
    }
    text_free(ret_text);
    *ret_text = text;
    text = (struct text){0};
    if (ret_mode) {
        *ret_mode = status.st_mode & 07777;
    }
    return VIM_OK;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return VIM_E_UNAVAILABLE;
        }
        data += done;
        size -= (size_t)done;
    }
    return fsync(fd) == 0 ? VIM_OK : VIM_E_UNAVAILABLE;
}

int file_write(const char *path, const void *data, size_t size, mode_t mode)
{
    CLEANUP_FREE char *temporary = text_format("%s.XXXXXX", path);
    CLEANUP_FD int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return VIM_E_UNAVAILABLE;
    }
    int code = write_all(fd, data, size);
    if (code == VIM_OK && (fchmod(fd, mode) != 0 || rename(temporary, path) != 0)) {
        code = VIM_E_UNAVAILABLE;
    }
    if (code != VIM_OK) {
        int saved = errno;
        unlink(temporary);
        errno = saved;
    }
    return code;
}
