/*
 * An append-only journal that several processes share.
 *
 * One record is one line: eight hex digits of a CRC-32, a space, the text, a newline; written with
 * one write(). A process that is killed in the middle of a write leaves a torn last line, which the
 * next writer cuts off. A record that is damaged anywhere else is an error: nothing is guessed.
 *
 * Everybody keeps the state that the records make in their own memory. Between journal_lock() and
 * journal_unlock() that state is up to date: locking reads what others have appended. Compaction
 * replaces the file by a shorter one that makes the same state; others notice at their next lock.
 *
 * Nothing is flushed to the disk: a record survives the end of the process, not of the machine.
 *
 * Threads: the caller lets one thread in at a time. Processes exclude each other through flock() on
 * a file next to the journal, PATH.lock.
 */
#ifndef MOCK_JOURNAL_H
#define MOCK_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

struct journal;

/* The state that the records make. */
struct journal_state {
    void *context;
    /* Takes in one record that somebody has written. Returns 0, or -1 if it makes no sense. */
    int (*apply)(void *context, const char *record, size_t length);
    /* Forgets everything: all records will be applied again. */
    void (*reset)(void *context);
};

/* Opens or creates the journal at PATH. Nothing is read yet. Returns 0, or -1 with errno set. */
int journal_open(const char *path, const struct journal_state *state, struct journal **ret_journal);

/* Ends the use of the journal. NULL is fine. */
void journal_close(struct journal *journal);

/* Waits until no other process holds the journal, then brings the state up to date. Returns 0, or
 * -1 with journal_error() telling why; then it is not locked. */
int journal_lock(struct journal *journal);
void journal_unlock(struct journal *journal);

/* Appends one record (no newline in it), while locked. The caller applies it to its own state.
 * Returns 0, or -1 with journal_error(): then nothing was appended. */
int journal_append(struct journal *journal, const char *record, size_t length);

/* Number of records in the file, and the file's size in bytes, while locked. */
uint64_t journal_records(const struct journal *journal);
uint64_t journal_size(const struct journal *journal);

/* Replaces the file, while locked, by the records that PRODUCE gives through journal_produce().
 * They have to make the state that is in memory. Returns 0 or -1 with journal_error(): then the old
 * file stays. */
struct journal_writer;
int journal_replace(struct journal *journal,
                    void (*produce)(void *context, struct journal_writer *writer));
void journal_produce(struct journal_writer *writer, const char *record, size_t length);

/* Why the last call failed. */
const char *journal_error(const struct journal *journal);

#endif
