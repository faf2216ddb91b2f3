/*
 * Group commit: callers queue their commits and wait; one thread takes all that are queued,
 * applies each or, when a row is not as it expects, leaves it out, and makes them durable with one
 * COMMIT. While that COMMIT waits for the disk the next group gathers.
 *
 * Requests stay in the queue until the thread has SQLite's write lock, so a caller whose time
 * runs out while another process holds it can leave, knowing that nothing happened.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "sqlite_store.h"

/* Commits in one transaction: bounds how long the first of a group waits for the last. */
#define GROUP_MAX 256

/* Callers of the last group come back with their next commit a moment after they were answered.
 * Waiting this long for as many as last time makes groups whole instead of 1, N-1, 1, N-1. */
#define GATHER_US 200

/* Pause between attempts to get the write lock from another process. */
#define BUSY_PAUSE_MS 3

/* How often a waiting caller looks whether it was cancelled. */
#define CANCEL_CHECK_MS 100

/* The log is copied into the database when it has this many pages; when readers have kept it
 * from starting over until it has many more, they are waited for, with a bound. */
#define CHECKPOINT_PAGES 4000
#define CHECKPOINT_FORCED_PAGES 16000
#define CHECKPOINT_WAIT_MS 1000

enum request_progress { REQUEST_QUEUED, REQUEST_TAKEN, REQUEST_DONE };

/* One caller's commit. Lies on the caller's stack, which stays until it is DONE or was unlinked
 * while still QUEUED. */
struct commit_request {
    const struct vim_write *writes;
    uint32_t count;
    uint32_t stride;
    enum request_progress progress;
    struct store_error error; /* valid when DONE */
    pthread_cond_t done;
    struct commit_request *next;
};

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_REVISION,
    STATEMENT_PUT,
    STATEMENT_DELETE,
    STATEMENT_COUNT
};

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_REVISION] = "SELECT revision FROM rows WHERE collection=?1 AND id=?2",
    [STATEMENT_PUT] = "INSERT INTO rows(collection,id,parent,state,due,revision,body)"
                      " VALUES(?1,?2,?3,?4,?5,1,?6) ON CONFLICT DO UPDATE SET"
                      " parent=excluded.parent,state=excluded.state,due=excluded.due,"
                      " revision=revision+1,body=excluded.body",
    [STATEMENT_DELETE] = "DELETE FROM rows WHERE collection=?1 AND id=?2",
};

struct writer {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    uint32_t last_group;
    int wal_pages;
};

static int run(struct writer *writer, enum statement which)
{
    int rc = sqlite3_step(writer->statements[which]);

    sqlite3_reset(writer->statements[which]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static sqlite3_stmt *bind_row(struct writer *writer, enum statement which,
                              const struct vim_write *write)
{
    sqlite3_stmt *statement = writer->statements[which];

    sqlite3_bind_text(statement, 1, write->collection, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, write->id, -1, SQLITE_STATIC);
    return statement;
}

/* Looks whether the row is as WRITE expects. */
static int check_write(struct writer *writer, const struct vim_write *write, bool *ret_expected)
{
    uint64_t revision = VIM_EXPECT_ABSENT;
    sqlite3_stmt *statement;
    int rc;

    *ret_expected = true;
    if (write->expect == VIM_EXPECT_ANY)
        return SQLITE_OK;
    statement = bind_row(writer, STATEMENT_REVISION, write);
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        revision = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    *ret_expected = revision == write->expect;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Applies a write whose row is as expected. */
static int apply_write(struct writer *writer, const struct vim_write *write)
{
    sqlite3_stmt *statement;
    enum statement which = write->body ? STATEMENT_PUT : STATEMENT_DELETE;

    if (!write->body && write->expect == VIM_EXPECT_ABSENT)
        return SQLITE_OK;
    statement = bind_row(writer, which, write);
    if (write->body) {
        sqlite3_bind_text(statement, 3, write->parent ? write->parent : "", -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, write->state);
        sqlite3_bind_int64(statement, 5, write->due);
        sqlite3_bind_text(statement, 6, write->body, -1, SQLITE_STATIC);
    }
    return run(writer, which);
}

/* Applies all writes of a request, or none: all rows are looked at before the first is changed,
 * which does without a savepoint, and no row is named twice. Returns an SQLite error only when
 * the whole transaction is in doubt. */
static int apply_request(struct writer *writer, struct commit_request *request)
{
    int rc = SQLITE_OK;

    request->error.code = VIM_OK;
    for (uint32_t i = 0; i < request->count && rc == SQLITE_OK; i++) {
        const struct vim_write *write = write_at(request->writes, request->stride, i);
        bool expected = false;

        rc = check_write(writer, write, &expected);
        if (rc == SQLITE_OK && !expected) {
            store_error_set(&request->error, VIM_E_CONFLICT, "%s/%s", write->collection, write->id);
            return SQLITE_OK;
        }
    }
    for (uint32_t i = 0; i < request->count && rc == SQLITE_OK; i++)
        rc = apply_write(writer, write_at(request->writes, request->stride, i));
    return rc;
}

static void fail_group(struct commit_request *group, const struct store_error *error)
{
    for (; group; group = group->next)
        group->error = *error;
}

/* A failed flush may have left a whole transaction in the log, which a later start would find. */
static void commit_failed(struct writer *writer, struct commit_request *group, int rc)
{
    struct store_error error;

    store_error_from_sqlite(&error, writer->database, rc, "commit");
    if ((rc & 0xff) == SQLITE_IOERR)
        error.code = VIM_E_LOST;
    for (; group; group = group->next)
        if (group->error.code == VIM_OK)
            group->error = error;
}

/* What was read of GROUP's rows before is void; some of it may not have been changed. */
static void tell_cache(struct cache *cache, const struct commit_request *group)
{
    for (; group; group = group->next)
        for (uint32_t i = 0; i < group->count; i++) {
            const struct vim_write *write = write_at(group->writes, group->stride, i);

            cache_write_changed(cache, write->collection, write->id);
        }
}

/* Applies GROUP in the transaction that is open, and ends it. */
static void apply_group(struct cache *cache, struct writer *writer, struct commit_request *group)
{
    struct store_error error;
    int rc = SQLITE_OK;

    cache_write_begin(cache);
    for (struct commit_request *r = group; r && rc == SQLITE_OK; r = r->next)
        rc = apply_request(writer, r);
    if (rc != SQLITE_OK) {
        store_error_from_sqlite(&error, writer->database, rc, "commit");
        fail_group(group, &error);
    } else if ((rc = run(writer, STATEMENT_COMMIT)) != SQLITE_OK) {
        commit_failed(writer, group, rc);
    }
    if (!sqlite3_get_autocommit(writer->database))
        run(writer, STATEMENT_ROLLBACK);
    tell_cache(cache, group);
    cache_write_end(cache, rc == SQLITE_OK);
}

static int note_wal_pages(void *context, sqlite3 *database, const char *name, int pages)
{
    struct writer *writer = context;

    (void)database;
    (void)name;
    writer->wal_pages = pages;
    return SQLITE_OK;
}

static void checkpoint(struct sqlite_store *store, struct writer *writer)
{
    bool forced = writer->wal_pages >= CHECKPOINT_FORCED_PAGES;
    int rc;

    if (writer->wal_pages < CHECKPOINT_PAGES)
        return;
    if (forced)
        sqlite3_busy_timeout(writer->database, CHECKPOINT_WAIT_MS);
    rc = sqlite3_wal_checkpoint_v2(writer->database, NULL,
                                   forced ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE,
                                   NULL, NULL);
    if (forced)
        sqlite3_busy_timeout(writer->database, 0);
    /* BUSY: another process is at it, or readers take long; the next commits try again. */
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        store->host->log(store->self, VIM_ERROR, "checkpoint failed", sqlite3_errstr(rc));
    writer->wal_pages = 0;
}

/* Waits until there is something to do. False: stop. Called with the lock held. */
static bool await_requests(struct sqlite_store *store, const struct writer *writer)
{
    struct timespec until;

    while (store->queue_length == 0) {
        if (store->stop)
            return false;
        pthread_cond_wait(&store->queue_filled, &store->queue_lock);
    }
    if (store->queue_length >= writer->last_group)
        return true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_US * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (store->queue_length < writer->last_group && !store->stop)
        if (pthread_cond_timedwait(&store->queue_filled, &store->queue_lock, &until) != 0)
            break;
    return true;
}

/* Called with the lock held. NULL if all have left meanwhile. */
static struct commit_request *take_group(struct sqlite_store *store, uint32_t *ret_count)
{
    struct commit_request *group = store->queue_head, *last = NULL;
    uint32_t count = 0;

    for (struct commit_request *r = group; r && count < GROUP_MAX; r = r->next, count++) {
        r->progress = REQUEST_TAKEN;
        last = r;
    }
    *ret_count = count;
    if (!last)
        return NULL;
    store->queue_head = last->next;
    if (!store->queue_head)
        store->queue_tail = &store->queue_head;
    store->queue_length -= count;
    last->next = NULL;
    return group;
}

/* Called with the lock held. */
static void answer_group(struct commit_request *group)
{
    while (group) {
        struct commit_request *next = group->next;

        group->progress = REQUEST_DONE;
        pthread_cond_signal(&group->done);
        group = next;
    }
}

/* Gets the write lock and applies one group. Called with the lock held, which is given up
 * meanwhile. */
static void write_group(struct sqlite_store *store, struct writer *writer)
{
    struct commit_request *group;
    uint32_t count = 0;
    struct store_error error;
    int rc;

    pthread_mutex_unlock(&store->queue_lock);
    rc = run(writer, STATEMENT_BEGIN);
    if (rc != SQLITE_OK)
        store_error_from_sqlite(&error, writer->database, rc, "begin");
    pthread_mutex_lock(&store->queue_lock);
    if ((rc & 0xff) == SQLITE_BUSY) {
        /* Those whose time is up leave by themselves. */
        store_wait(&store->queue_filled, &store->queue_lock, store_now() + BUSY_PAUSE_MS);
        return;
    }
    group = take_group(store, &count);
    pthread_mutex_unlock(&store->queue_lock);
    if (rc != SQLITE_OK)
        fail_group(group, &error);
    else
        apply_group(store->cache, writer, group);
    writer->last_group = count;
    pthread_mutex_lock(&store->queue_lock);
    answer_group(group);
    if (writer->wal_pages >= CHECKPOINT_PAGES) {
        pthread_mutex_unlock(&store->queue_lock);
        checkpoint(store, writer);
        pthread_mutex_lock(&store->queue_lock);
    }
}

static void *writer_main(void *context)
{
    struct sqlite_store *store = context;

    pthread_mutex_lock(&store->queue_lock);
    while (await_requests(store, store->writer))
        write_group(store, store->writer);
    pthread_mutex_unlock(&store->queue_lock);
    return NULL;
}

static void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(writer->statements[i]);
    sqlite3_close(writer->database);
    free(writer);
}

int writer_start(struct sqlite_store *store, struct store_error *ret_error)
{
    struct writer *writer = calloc(1, sizeof *writer);
    int code;

    if (!writer)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    code = database_open(store, true, &writer->database, ret_error);
    for (int i = 0; i < STATEMENT_COUNT && code == VIM_OK; i++) {
        int rc = sqlite3_prepare_v3(writer->database, statement_sql[i], -1,
                                    SQLITE_PREPARE_PERSISTENT, &writer->statements[i], NULL);

        if (rc != SQLITE_OK)
            code = store_error_from_sqlite(ret_error, writer->database, rc,
                                           "path: the tables are not as expected");
    }
    if (code != VIM_OK) {
        writer_free(writer);
        return code;
    }
    sqlite3_wal_hook(writer->database, note_wal_pages, writer);
    store->queue_tail = &store->queue_head;
    store->writer = writer;
    if (pthread_create(&store->writer_thread, NULL, writer_main, store) != 0) {
        store->writer = NULL;
        writer_free(writer);
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "cannot start the writer thread");
    }
    return VIM_OK;
}

void writer_stop(struct sqlite_store *store)
{
    if (!store->writer)
        return;
    pthread_mutex_lock(&store->queue_lock);
    store->stop = true;
    pthread_cond_signal(&store->queue_filled);
    pthread_mutex_unlock(&store->queue_lock);
    pthread_join(store->writer_thread, NULL);
    writer_free(store->writer);
    store->writer = NULL;
}

/* Takes a request that is still queued out of the queue. Called with the lock held. */
static void leave_queue(struct sqlite_store *store, struct commit_request *request)
{
    struct commit_request **link = &store->queue_head;

    while (*link != request)
        link = &(*link)->next;
    *link = request->next;
    if (!*link)
        store->queue_tail = link;
    store->queue_length--;
}

/* Waits for the answer; gives up only while nothing has happened. */
static void await_answer(struct vim_call *call, struct sqlite_store *store,
                         struct commit_request *request)
{
    int64_t left = store->host->left_ms(call);

    pthread_mutex_lock(&store->queue_lock);
    *store->queue_tail = request;
    store->queue_tail = &request->next;
    store->queue_length++;
    pthread_cond_signal(&store->queue_filled);
    while (request->progress != REQUEST_DONE) {
        if (left <= 0 && request->progress == REQUEST_QUEUED) {
            leave_queue(store, request);
            store_error_set(&request->error, VIM_E_BUSY,
                            "nothing was written: the database was busy until no time was left");
            break;
        }
        if (left <= 0 || left > CANCEL_CHECK_MS)
            left = CANCEL_CHECK_MS;
        store_wait(&request->done, &store->queue_lock, store_now() + left);
        if (request->progress == REQUEST_DONE)
            break;
        pthread_mutex_unlock(&store->queue_lock);
        left = store->host->left_ms(call);
        pthread_mutex_lock(&store->queue_lock);
    }
    pthread_mutex_unlock(&store->queue_lock);
}

int writer_commit(struct vim_call *call, void *instance, const struct vim_write *writes,
                  uint32_t count, uint32_t stride)
{
    struct sqlite_store *store = instance;
    struct commit_request request = {.writes = writes, .count = count, .stride = stride};

    if (limits_writes(writes, count, stride, &request.error) < 0)
        return store->host->fail(call, request.error.code, 0, request.error.text);
    if (count == 0)
        return VIM_OK;
    if (store_condition_init(&request.done) < 0)
        return store->host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    await_answer(call, store, &request);
    pthread_cond_destroy(&request.done);
    if (request.error.code != VIM_OK)
        return store->host->fail(call, request.error.code, 0, request.error.text);
    return VIM_OK;
}
