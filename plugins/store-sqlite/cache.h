/*
 * cache.h - answers of gets and scans, kept for as long as what they tell is true.
 *
 * The state of the database is told without a lock or a system call: SQLite keeps a header of 48
 * bytes at the start of the WAL-index, the memory that all processes with the file open share
 * (sqlite.org/walformat.html). A commit, by whichever process, rewrites it before it returns: the
 * count of changes, the length of the log and the checksum over all of it. Two equal headers are
 * one state of the database.
 *
 * A line is a sequence of states of which each came from the one before by a commit of this
 * process's writer, which tells the rows that it changes: answers that do not tell of those stay
 * good. When somebody else has committed, a new line begins and all answers are void.
 *
 * Threads: all functions may be called from any thread at once, but for cache_new() and
 * cache_free(), and the writer's, which are for one thread.
 */
#ifndef STORE_SQLITE_CACHE_H
#define STORE_SQLITE_CACHE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/store.h>

struct cache;
struct answer;

/* One state of the database. */
struct snapshot {
    uint32_t words[12];
};

/* Answers in at most BYTES of memory. DATABASE is a connection that has read something, and is
 * closed after cache_free(). NULL if there is no memory, or if SQLite does not show its
 * WAL-index; then the store does without. */
struct cache *cache_new(sqlite3 *database, int64_t bytes);
void cache_free(struct cache *cache);

/* The state of the database now. False (also for CACHE NULL): cannot be told at this instant. A
 * statement that begins between two calls that tell the same state reads that state. */
bool cache_snapshot(const struct cache *cache, struct snapshot *ret_snapshot);
bool snapshot_equal(const struct snapshot *a, const struct snapshot *b);

/* --- What was asked */

#define CACHE_KEY_MAX 512

struct cache_key {
    size_t size;
    int collection; /* of a scan: whose changes count; -1 for a get */
    char bytes[CACHE_KEY_MAX];
};

/* COLLECTION and ID, and a scan's texts, are within the limits of store.h. */
void cache_key_get(struct cache_key *key, const char *collection, const char *id);

/* False: an answer to SCAN is not worth being kept, being too large or never asked for again. */
bool cache_key_scan(struct cache_key *key, const struct vim_scan *scan);

/* --- Answers */

/* The answer to KEY if it is of the state NOW, or NULL. The caller gives it back with
 * answer_release(). */
struct answer *cache_find(struct cache *cache, const struct cache_key *key,
                          const struct snapshot *now);

/* Begins an answer to KEY. NULL if there is no memory, which may be passed on to the functions
 * below: they do nothing. */
struct answer *answer_new(const struct cache *cache, const struct cache_key *key);

/* Appends a row to *ANSWER; frees it and sets it to NULL when it gets too large to be kept. */
void answer_add(const struct cache *cache, struct answer **answer, const struct vim_item *item);

/* Takes ANSWER over, as that of the state SNAPSHOT; keeps it if that is still the state. */
void cache_keep(struct cache *cache, struct answer *answer, const struct snapshot *snapshot);

/* The row at *POSITION, which is 0 for the first and is moved on. False: there are no more. The
 * item's texts live until the answer is given back. */
bool answer_row(const struct answer *answer, size_t *position, const char *collection,
                struct vim_item *ret_item);

void answer_release(struct answer *answer);

/* --- The writer, from its BEGIN IMMEDIATE to after its COMMIT. CACHE may be NULL */

/* The write lock is held: what is read from now on is not kept. */
void cache_write_begin(struct cache *cache);

/* The row was changed, or may have been. After the COMMIT, before cache_write_end(). */
void cache_write_changed(struct cache *cache, const char *collection, const char *id);

/* CERTAIN: the COMMIT did all or nothing of it. */
void cache_write_end(struct cache *cache, bool certain);

#endif
