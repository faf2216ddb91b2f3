#include "journal.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX 9 /* eight hex digits and a space */

struct journal {
    struct journal_state state;
    char *path;
    char *lock_path;
    int file; /* the journal, O_APPEND; -1 before the first lock */
    int lock_file; /* flock() on it excludes other processes */
    ino_t inode; /* of `file`, to notice that it was replaced */
    off_t applied; /* everything before this offset is in the state */
    uint64_t records;
    char error[256];
};

struct journal_writer {
    struct text text;
    uint64_t records;
};

static uint32_t crc32_of(const char *bytes, size_t length)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                           0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                           0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                           0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
        crc ^= (unsigned char)bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

static int fail(struct journal *journal, const char *what)
{
    snprintf(journal->error, sizeof(journal->error), "%s: %s: %s", journal->path, what,
             strerror(errno));
    return -1;
}

static int fail_damaged(struct journal *journal, off_t offset)
{
    snprintf(journal->error, sizeof(journal->error), "%s: the record at byte %lld is damaged",
             journal->path, (long long)offset);
    return -1;
}

int journal_open(const char *path, const struct journal_state *state, struct journal **ret_journal)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL) {
        return -1;
    }
    journal->state = *state;
    journal->file = -1;
    journal->lock_file = -1;
    if ((journal->path = strdup(path)) == NULL ||
        asprintf(&journal->lock_path, "%s.lock", path) < 0) {
        journal_close(journal);
        return -1;
    }
    journal->lock_file = open(journal->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal->lock_file < 0) {
        int error = errno;
        journal_close(journal);
        errno = error;
        return -1;
    }
    *ret_journal = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    if (journal->file >= 0) {
        close(journal->file);
    }
    if (journal->lock_file >= 0) {
        close(journal->lock_file);
    }
    free(journal->path);
    free(journal->lock_path);
    free(journal);
}

/* Opens the file, or opens it anew if it has been replaced since. */
static int follow_file(struct journal *journal)
{
    struct stat status;
    if (journal->file >= 0) {
        if (stat(journal->path, &status) == 0 && status.st_ino == journal->inode &&
            status.st_size >= journal->applied) {
            return 0;
        }
        close(journal->file);
        journal->file = -1;
    }
    journal->file = open(journal->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal->file < 0 || fstat(journal->file, &status) != 0) {
        return fail(journal, "open");
    }
    journal->inode = status.st_ino;
    journal->applied = 0;
    journal->records = 0;
    journal->state.reset(journal->state.context);
    return 0;
}

/* True if the LENGTH bytes at LINE, newline excluded, are a whole record. */
static int is_whole(const char *line, size_t length)
{
    char digits[PREFIX] = {0};
    char *end;
    if (length < PREFIX || line[PREFIX - 1] != ' ') {
        return 0;
    }
    memcpy(digits, line, PREFIX - 1);
    unsigned long stated = strtoul(digits, &end, 16);
    return *end == '\0' && stated == crc32_of(line + PREFIX, length - PREFIX);
}

/* Applies the whole records among BYTES, which begin at journal->applied. Returns 0 or -1. */
static int apply_bytes(struct journal *journal, const char *bytes, size_t length)
{
    size_t at = 0;
    while (at < length) {
        const char *line = bytes + at;
        const char *end = memchr(line, '\n', length - at);
        size_t size = end ? (size_t)(end - line) : length - at;
        if (end == NULL || !is_whole(line, size)) {
            /* Only the last line can be torn: every write is made at the end, after cutting. */
            if (end == NULL || at + size + 1 == length) {
                break;
            }
            return fail_damaged(journal, journal->applied);
        }
        if (journal->state.apply(journal->state.context, line + PREFIX, size - PREFIX) != 0) {
            return fail_damaged(journal, journal->applied);
        }
        at += size + 1;
        journal->applied += (off_t)size + 1;
        journal->records++;
    }
    return 0;
}

static int catch_up(struct journal *journal)
{
    struct stat status;
    if (fstat(journal->file, &status) != 0) {
        return fail(journal, "fstat");
    }
    if (status.st_size == journal->applied) {
        return 0;
    }
    size_t length = (size_t)(status.st_size - journal->applied);
    char *bytes = malloc(length);
    if (bytes == NULL) {
        return fail(journal, "read");
    }
    size_t have = 0;
    while (have < length) {
        ssize_t got =
            pread(journal->file, bytes + have, length - have, journal->applied + (off_t)have);
        if (got <= 0) {
            free(bytes);
            return fail(journal, "read");
        }
        have += (size_t)got;
    }
    int result = apply_bytes(journal, bytes, length);
    free(bytes);
    /* What is left over is a torn line. We hold the lock, so nobody is about to finish it. */
    if (result == 0 && journal->applied < status.st_size &&
        ftruncate(journal->file, journal->applied) != 0) {
        return fail(journal, "truncate");
    }
    return result;
}

int journal_lock(struct journal *journal)
{
    while (flock(journal->lock_file, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return fail(journal, "lock");
        }
    }
    if (follow_file(journal) != 0 || catch_up(journal) != 0) {
        journal_unlock(journal);
        return -1;
    }
    return 0;
}

void journal_unlock(struct journal *journal)
{
    (void)flock(journal->lock_file, LOCK_UN);
}

static void add_line(struct text *text, const char *record, size_t length)
{
    text_addf(text, "%08x ", crc32_of(record, length));
    text_add(text, record, length);
    text_add(text, "\n", 1);
}

int journal_append(struct journal *journal, const char *record, size_t length)
{
    struct text line = {0};
    add_line(&line, record, length);
    ssize_t wrote = write(journal->file, line.bytes, line.length);
    int whole = wrote == (ssize_t)line.length;
    if (whole) {
        journal->applied += wrote;
        journal->records++;
    } else {
        if (wrote >= 0) {
            errno = ENOSPC;
        }
        (void)fail(journal, "write");
        if (ftruncate(journal->file, journal->applied) != 0) {
            (void)fail(journal, "truncate"); /* the torn line is cut off by the next lock */
        }
    }
    text_free(&line);
    return whole ? 0 : -1;
}

uint64_t journal_records(const struct journal *journal)
{
    return journal->records;
}

uint64_t journal_size(const struct journal *journal)
{
    return (uint64_t)journal->applied;
}

void journal_produce(struct journal_writer *writer, const char *record, size_t length)
{
    add_line(&writer->text, record, length);
    writer->records++;
}

static int write_all(int file, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(file, bytes, length);
        if (wrote <= 0) {
            return -1;
        }
        bytes += wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

int journal_replace(struct journal *journal,
                    void (*produce)(void *context, struct journal_writer *writer))
{
    struct journal_writer writer = {0};
    struct stat status;
    char *path = NULL;
    if (asprintf(&path, "%s.new", journal->path) < 0) {
        return fail(journal, "compact");
    }
    int result = -1;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) {
        goto out;
    }
    produce(journal->state.context, &writer);
    if (write_all(file, writer.text.bytes, writer.text.length) != 0 || fstat(file, &status) != 0 ||
        rename(path, journal->path) != 0) {
        goto out;
    }
    close(journal->file);
    journal->file = file;
    file = -1;
    journal->inode = status.st_ino;
    journal->applied = (off_t)writer.text.length;
    journal->records = writer.records;
    result = 0;
out:
    if (result != 0) {
        (void)fail(journal, "compact");
        (void)unlink(path);
    }
    if (file >= 0) {
        close(file);
    }
    text_free(&writer.text);
    free(path);
    return result;
}

const char *journal_error(const struct journal *journal)
{
    return journal->error;
}
