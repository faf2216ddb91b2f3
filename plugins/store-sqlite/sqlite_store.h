/*
 * sqlite_store.h - what the files of the plugin share.
 *
 *   plugin.c    descriptor, options, open, close, probe
 *   database.c  one connection: opening, schema and migration, errors in the store's terms
 *   writer.c    the one thread that writes; group commit; checkpoints
 *   reader.c    pool of reading connections; get and scan
 *   cache.c     answers of gets and scans, while nothing changes
 *
 * The file of the database is ours alone in form (application_id, user_version), but not in use:
 * several instances and processes may have it open, each with one writer of its own.
 */
#ifndef SQLITE_STORE_H
#define SQLITE_STORE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <vim/store.h>

#include "store_limits.h"

/* How long open() waits for another process that is making or migrating the same file. */
#define OPEN_WAIT_MS 5000

struct store_config {
    const char *path;
    const char *durability;
    int64_t cache_size;
    int64_t readers;
};

struct cache;
struct commit_request;
struct reader;

/*
 * One instance. Made by open(), with its writer thread running; gone after close(), which is only
 * called when no other call is in progress.
 *
 * Locks: `queue_lock` and `pool_lock` are never held together, nor while SQLite is being called.
 */
struct sqlite_store {
    const struct vim_host *host;
    struct vim_self *self;
    const struct store_config *config;
    char *path;

    /* Writer: queue_lock guards the queue, `stop` and every request's `progress`. */
    pthread_mutex_t queue_lock;
    pthread_cond_t queue_filled;
    struct commit_request *queue_head;
    struct commit_request **queue_tail;
    uint32_t queue_length;
    bool stop;
    pthread_t writer_thread;
    struct writer *writer; /* of the writer thread alone */

    /* Readers: pool_lock guards the list of those that are free. */
    pthread_mutex_t pool_lock;
    pthread_cond_t pool_freed;
    struct reader *pool_free;
    struct reader *pool; /* array of config->readers */
    struct cache *cache; /* on the first of them; NULL: none */
};

/* --- database.c */

/* Sets ERROR from what SQLite said last on DATABASE, whose result code was RC. Returns the enum
 * vim_error that it stands for, given that nothing was changed. */
int store_error_from_sqlite(struct store_error *error, sqlite3 *database, int rc,
                            const char *doing);

/* Creates the file PATH with mode 0600 if there is none, and gives it our schema, migrating an
 * older one. Refuses a file that is not a database, damaged, another application's or newer than
 * this plugin, and leaves it untouched. Waits up to DEADLINE (store_now() terms) for others. */
int database_prepare(const char *path, int64_t deadline, struct store_error *ret_error);

/* Opens a connection for use by one thread at a time. WRITE decides between the writer's and a
 * reader's. On success the caller closes *RET_DATABASE with sqlite3_close(). */
int database_open(const struct sqlite_store *store, bool write, sqlite3 **ret_database,
                  struct store_error *ret_error);

/* Schema version of files that this plugin writes. */
int database_schema_version(void);

/* Milliseconds on the monotonic clock. */
int64_t store_now(void);

/* Makes a condition variable that waits on the monotonic clock; store_wait() waits on it until
 * DEADLINE (store_now() terms) at the latest. */
int store_condition_init(pthread_cond_t *condition);
void store_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline);

/* --- writer.c */

/* Starts the writer thread on a connection of its own. */
int writer_start(struct sqlite_store *store, struct store_error *ret_error);

/* Ends the thread; what is queued is applied before. Does nothing if it was not started. */
void writer_stop(struct sqlite_store *store);

/* The commit of store.h. */
int writer_commit(struct vim_call *call, void *instance, const struct vim_write *writes,
                  uint32_t count, uint32_t stride);

/* --- reader.c */

/* Opens the pool's connections. */
int readers_start(struct sqlite_store *store, struct store_error *ret_error);

/* Closes them; also after a readers_start() that failed half-way. */
void readers_stop(struct sqlite_store *store);

/* The get and scan of store.h. */
int reader_get(struct vim_call *call, void *instance, const char *collection, const char *id);
int reader_scan(struct vim_call *call, void *instance, const struct vim_scan *scan);

/* Reads one number with SQL on a reader, for probe(). */
int reader_number(struct vim_call *call, struct sqlite_store *store, const char *sql,
                  int64_t *ret_number);

#endif
