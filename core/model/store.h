/*
 * model/store.h - the one caller of the store plugin's operations.
 *
 * Calls are made on the caller's thread and block for as long as the store takes, at most the
 * store's timeout. All functions may be called from any thread.
 */
#ifndef VIMD_MODEL_STORE_H
#define VIMD_MODEL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/store.h>

struct instance;
struct store;

/* Why something failed, for people and for the mapping to HTTP. */
struct failure {
    int code; /* enum vim_error, < 0 */
    uint32_t retry_after_ms; /* 0: not told */
    char text[512];
};

/* Fills FAILURE (which may be NULL) and returns CODE. */
int failure_set(struct failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One row, owned by whoever asked for it. */
struct row {
    char *id;
    char *parent;
    char *body;
    size_t body_length;
    int64_t due;
    uint64_t revision;
    uint32_t state;
};

/* Frees what ROW holds (not ROW itself) and clears it. A cleared row is fine. */
void row_free(struct row *row);

/* Wraps an open store INSTANCE, which must outlive the result. TIMEOUT_MS bounds every call. */
struct store *store_new(struct instance *instance, int64_t timeout_ms);
void store_free(struct store *store);

/* True if reads are fast enough to be made on a network thread (VIM_CHEAP). */
bool store_is_cheap(const struct store *store);

/* Reads one row. VIM_E_NOT_FOUND if there is none. */
int store_get(struct store *store, const char *collection, const char *id, struct row *ret_row,
              struct failure *failure);

/* Called per row of a scan; the item lives for the call. Nonzero ends the scan early. */
typedef int (*store_row_fn)(void *argument, const struct vim_item *item);

/* Calls EACH for every row that matches, on the caller's thread. */
int store_scan(struct store *store, const struct vim_scan *scan, store_row_fn each, void *argument,
               struct failure *failure);

/* All or nothing; see vim/store.h. VIM_E_CONFLICT: a row was not as expected.
 *
 * For tests that prove what a kill leaves behind: with VIMD_TEST_KILL_AT_COMMIT=N in the
 * environment the process kills itself (SIGKILL) at its Nth commit, VIMD_TEST_KILL_WHEN=before
 * (the default) or after the store has done it. */
int store_commit(struct store *store, const struct vim_write *writes, uint32_t count,
                 struct failure *failure);

/* The name of the plugin. */
const char *store_plugin(const struct store *store);
/* From now on CHANGED(ARGUMENT) is called after each commit of this process that wrote to COLLECTION,
 * on the thread that made it; NULL: no longer. One at a time, set while nothing is committed. */
void store_watch(struct store *store, const char *collection, void (*changed)(void *argument),
                 void *argument);

/* Do commits come through? The first that does not, for other reasons than its rows or a store that is
 * busy, is logged, and the first that does again; in between this is the failure of the last one. */
int store_takes_writes(struct store *store, struct failure *failure);
/* For how long they have not; 0: they do. */
int64_t store_ill_ms(struct store *store);

/* Asks the plugin whether it is well, within TIMEOUT_MS (0: as every call), which a store that is away may take. */
int store_probe(struct store *store, int64_t timeout_ms, struct failure *failure);

/* Names of the collections that are not resource kinds. A resource's collection is its kind. */
#define COLLECTION_TASK "task"
#define COLLECTION_IDEMPOTENCY "idempotency"
#define COLLECTION_ALIAS "alias"
#define COLLECTION_TOKEN "token"
#define COLLECTION_POLL "poll"
#define COLLECTION_PROCESS "process"
#define COLLECTION_WANT "want"
#define COLLECTION_SERVICE_NODE "service-node"
#define COLLECTION_SERVICE_SPEC "service-spec"

#endif
