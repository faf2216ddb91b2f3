/*
 * Reads: what was read before and has not changed comes from the cache. Else each takes a
 * connection out of the pool, so that as many run in parallel as there are connections, and uses
 * statements that stay prepared on it. One SELECT is one snapshot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "sqlite_store.h"

/* How often a reader that waits for a connection looks whether it was cancelled. */
#define CANCEL_CHECK_MS 100

/* Steps of SQLite's virtual machine between looks at the time left: some 50 microseconds. */
#define PROGRESS_STEPS 10000

/* A scan over up to this many states merges as many walks of the index; over more it filters. */
#define MERGED_STATES_MAX 8

#define COLUMNS "id,parent,state,due,revision"

/* Everything in which the SQL of one scan differs from that of another. */
struct scan_shape {
    bool parent, orphan; /* of one parent; of the empty one, which is not in the index */
    bool after, filter, descending, by_due, no_body;
    unsigned merged; /* 0..MERGED_STATES_MAX; 0: no use of the index by state */
};

#define SHAPE_COUNT (128 * (MERGED_STATES_MAX + 1))

struct reader {
    struct reader *next; /* of the free list */
    sqlite3 *database;
    sqlite3_stmt *get;
    sqlite3_stmt *scans[SHAPE_COUNT]; /* prepared when first needed */
    const struct vim_host *host;
    struct vim_call *call; /* the one that uses the connection now */
};

/* Numbers of the parameters of a scan. */
enum { P_COLLECTION = 1, P_PARENT, P_AFTER, P_STATES, P_DUE, P_LIMIT, P_MERGED };

/* No time left: ends a statement. */
static int check_time(void *context)
{
    struct reader *reader = context;

    return reader->call && reader->host->left_ms(reader->call) <= 0;
}

static int wait_for_others(void *context, int tries)
{
    (void)tries;
    if (check_time(context))
        return 0;
    sqlite3_sleep(2);
    return 1;
}

static int open_reader(struct sqlite_store *store, struct reader *reader,
                       struct store_error *ret_error)
{
    static const char get[] = "SELECT " COLUMNS ",body FROM rows WHERE collection=?1 AND id=?2";
    int code = database_open(store, false, &reader->database, ret_error), rc;

    if (code < 0)
        return code;
    reader->host = store->host;
    sqlite3_busy_handler(reader->database, wait_for_others, reader);
    sqlite3_progress_handler(reader->database, PROGRESS_STEPS, check_time, reader);
    rc = sqlite3_prepare_v3(reader->database, get, -1, SQLITE_PREPARE_PERSISTENT, &reader->get,
                            NULL);
    if (rc != SQLITE_OK)
        return store_error_from_sqlite(ret_error, reader->database, rc,
                                       "path: the tables are not as expected");
    return VIM_OK;
}

int readers_start(struct sqlite_store *store, struct store_error *ret_error)
{
    store->pool = calloc((size_t)store->config->readers, sizeof *store->pool);
    if (!store->pool)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    for (int64_t i = 0; i < store->config->readers; i++) {
        if (open_reader(store, &store->pool[i], ret_error) < 0)
            return ret_error->code;
        store->pool[i].next = store->pool_free;
        store->pool_free = &store->pool[i];
    }
    store->cache = cache_new(store->pool[0].database, store->config->cache_size -
                                                          store->config->cache_size / 2 -
                                                          store->config->cache_size / 8);
    return VIM_OK;
}

void readers_stop(struct sqlite_store *store)
{
    if (!store->pool)
        return;
    cache_free(store->cache);
    store->cache = NULL;
    for (int64_t i = 0; i < store->config->readers; i++) {
        struct reader *reader = &store->pool[i];

        sqlite3_finalize(reader->get);
        for (size_t j = 0; j < SHAPE_COUNT; j++)
            sqlite3_finalize(reader->scans[j]);
        sqlite3_close(reader->database);
    }
    free(store->pool);
    store->pool = NULL;
}

/* Takes a connection out of the pool; the one used last, whose cache is warm. */
static int borrow(struct vim_call *call, struct sqlite_store *store, struct reader **ret_reader)
{
    struct reader *reader;

    pthread_mutex_lock(&store->pool_lock);
    while (!(reader = store->pool_free)) {
        int64_t left;

        pthread_mutex_unlock(&store->pool_lock);
        left = store->host->left_ms(call);
        if (left <= 0)
            return store->host->fail(call, VIM_E_BUSY, 0, "all reading connections are in use");
        pthread_mutex_lock(&store->pool_lock);
        if (!store->pool_free)
            store_wait(&store->pool_freed, &store->pool_lock,
                       store_now() + (left < CANCEL_CHECK_MS ? left : CANCEL_CHECK_MS));
    }
    store->pool_free = reader->next;
    pthread_mutex_unlock(&store->pool_lock);
    reader->call = call;
    *ret_reader = reader;
    return VIM_OK;
}

static void give_back(struct sqlite_store *store, struct reader *reader)
{
    reader->call = NULL;
    pthread_mutex_lock(&store->pool_lock);
    reader->next = store->pool_free;
    store->pool_free = reader;
    pthread_cond_signal(&store->pool_freed);
    pthread_mutex_unlock(&store->pool_lock);
}

static int fail_read(struct vim_call *call, struct sqlite_store *store, struct reader *reader,
                     int rc, const char *doing)
{
    struct store_error error;

    store_error_from_sqlite(&error, reader->database, rc, doing);
    return store->host->fail(call, error.code, 0, error.text);
}

/* --- One read: from the cache, or with a connection and into the cache */

struct reading {
    struct sqlite_store *store;
    struct vim_call *call;
    const char *collection;
    struct cache_key key;
    struct snapshot before; /* of when the read began */
    bool cacheable; /* `key` and `before` are filled in */
    struct answer *answer; /* what is read, for the cache; or NULL */
};

static void reading_init(struct reading *reading, struct sqlite_store *store, struct vim_call *call,
                         const char *collection)
{
    reading->store = store;
    reading->call = call;
    reading->collection = collection;
    reading->cacheable = false;
    reading->answer = NULL;
}

/* Emits the answer to what was asked, if the cache has it. */
static bool answer_from_cache(struct reading *reading)
{
    struct cache *cache = reading->store->cache;
    struct answer *answer;
    struct vim_item item;
    size_t position = 0;

    reading->cacheable = reading->cacheable && cache_snapshot(cache, &reading->before);
    if (!reading->cacheable)
        return false;
    answer = cache_find(cache, &reading->key, &reading->before);
    if (!answer)
        return false;
    while (answer_row(answer, &position, reading->collection, &item))
        if (reading->store->host->emit(reading->call, &item))
            break;
    answer_release(answer);
    return true;
}

/* A statement has made its first step: what it reads can be kept if nothing has changed between
 * the beginning of the read and now, as it then reads the state of the beginning. */
static void begin_answer(struct reading *reading)
{
    struct snapshot now;

    if (reading->cacheable && cache_snapshot(reading->store->cache, &now) &&
        snapshot_equal(&reading->before, &now))
        reading->answer = answer_new(reading->store->cache, &reading->key);
}

/* Emits the row on which STATEMENT stands. Nonzero: no more are wanted. */
static int emit_row(struct reading *reading, sqlite3_stmt *statement, bool with_body)
{
    struct vim_item item = {
        .size = sizeof item,
        .kind = reading->collection,
        .id = (const char *)sqlite3_column_text(statement, 0),
        .parent = (const char *)sqlite3_column_text(statement, 1),
        .state = (uint32_t)sqlite3_column_int64(statement, 2),
        .due = sqlite3_column_int64(statement, 3),
        .revision = (uint64_t)sqlite3_column_int64(statement, 4),
        .body = with_body ? (const char *)sqlite3_column_text(statement, 5) : NULL,
    };

    answer_add(reading->store->cache, &reading->answer, &item);
    return reading->store->host->emit(reading->call, &item);
}

/* Emits the rows of STATEMENT, which gives at most LIMIT (0: all). Returns SQLITE_DONE, also when no
 * more were wanted, or an error. */
static int emit_rows(struct reading *reading, sqlite3_stmt *statement, bool with_body,
                     uint32_t limit)
{
    int rc = sqlite3_step(statement);
    uint32_t count = 0;
    bool enough = false;

    begin_answer(reading);
    while (rc == SQLITE_ROW && !enough) {
        enough = emit_row(reading, statement, with_body);
        /* No step further, if it can be told that there is nothing more. */
        rc = ++count == limit ? SQLITE_DONE : enough ? rc : sqlite3_step(statement);
    }
    if (rc == SQLITE_DONE)
        cache_keep(reading->store->cache, reading->answer, &reading->before);
    else
        answer_release(reading->answer);
    return enough ? SQLITE_DONE : rc;
}

int reader_get(struct vim_call *call, void *instance, const char *collection, const char *id)
{
    struct sqlite_store *store = instance;
    struct reading reading;
    struct reader *reader;
    int code, rc;

    if (!limits_collection(collection) || !limits_id(id))
        return store->host->fail(call, VIM_E_INVALID, 0,
                                 "not the name of a collection, or not an id");
    reading_init(&reading, store, call, collection);
    cache_key_get(&reading.key, collection, id);
    reading.cacheable = true;
    if (answer_from_cache(&reading))
        return VIM_OK;
    code = borrow(call, store, &reader);
    if (code < 0)
        return code;
    sqlite3_bind_text(reader->get, 1, collection, -1, SQLITE_STATIC);
    sqlite3_bind_text(reader->get, 2, id, -1, SQLITE_STATIC);
    rc = sqlite3_step(reader->get);
    if (rc == SQLITE_ROW) {
        begin_answer(&reading);
        emit_row(&reading, reader->get, true);
        cache_keep(store->cache, reading.answer, &reading.before);
        code = VIM_OK;
    } else if (rc == SQLITE_DONE) {
        code = store->host->fail(call, VIM_E_NOT_FOUND, 0, "no such row");
    } else {
        code = fail_read(call, store, reader, rc, "get");
    }
    sqlite3_reset(reader->get);
    give_back(store, reader);
    return code;
}

static size_t shape_number(const struct scan_shape *shape)
{
    return (shape->parent | shape->after << 1 | shape->filter << 2 | shape->descending << 3 |
            shape->by_due << 4 | shape->no_body << 5 | shape->orphan << 6) +
           128 * (size_t)shape->merged;
}

/* One SELECT of a scan, over one state (STATE_PARAMETER) or over all (0). */
static int write_select(char *sql, size_t size, const struct scan_shape *shape, int state_parameter)
{
    char state[32] = "";

    if (state_parameter)
        snprintf(state, sizeof state, " AND state=?%d", state_parameter);
    /* Left to itself SQLite walks the whole collection, once per state. */
    return snprintf(sql, size, "SELECT " COLUMNS "%s FROM rows%s WHERE collection=?1%s%s%s%s%s",
                    shape->no_body ? "" : ",body",
                    state_parameter ? " INDEXED BY rows_by_state" : "",
                    shape->parent   ? " AND parent=?2 AND parent>''"
                    : shape->orphan ? " AND parent=''"
                                    : "",
                    !shape->after       ? ""
                    : shape->descending ? " AND id<?3"
                                        : " AND id>?3",
                    shape->filter ? " AND (?4>>state)&1" : "",
                    shape->by_due ? " AND due>0 AND due<=?5" : "", state);
}

static int prepare_scan(struct reader *reader, const struct scan_shape *shape,
                        sqlite3_stmt **ret_statement)
{
    size_t number = shape_number(shape), length;
    char sql[2400];
    int rc;

    if (!reader->scans[number]) {
        length = (size_t)write_select(sql, sizeof sql, shape, shape->merged ? P_MERGED : 0);
        for (unsigned i = 1; i < shape->merged; i++) {
            length += (size_t)snprintf(sql + length, sizeof sql - length, " UNION ALL ");
            length +=
                (size_t)write_select(sql + length, sizeof sql - length, shape, P_MERGED + (int)i);
        }
        snprintf(sql + length, sizeof sql - length, " ORDER BY %s LIMIT ?6",
                 shape->by_due       ? "due,id"
                 : shape->descending ? "id DESC"
                                     : "id");
        rc = sqlite3_prepare_v3(reader->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                &reader->scans[number], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    *ret_statement = reader->scans[number];
    return SQLITE_OK;
}

/* A parameter that the shape has no use for is bound to no effect. */
static void bind_scan(sqlite3_stmt *statement, const struct vim_scan *scan,
                      const struct scan_shape *shape)
{
    int parameter = P_MERGED;

    sqlite3_bind_text(statement, P_COLLECTION, scan->collection, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, P_PARENT, scan->parent, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, P_AFTER, scan->after, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, P_STATES, scan->states);
    sqlite3_bind_int64(statement, P_DUE, scan->due_until);
    sqlite3_bind_int64(statement, P_LIMIT, scan->limit ? (int64_t)scan->limit : -1);
    for (int state = 0; state < 32 && shape->merged; state++)
        if (scan->states >> state & 1)
            sqlite3_bind_int(statement, parameter++, state);
}

static struct scan_shape shape_of(const struct vim_scan *scan)
{
    struct scan_shape shape = {
        .parent = scan->parent && scan->parent[0],
        .orphan = scan->parent && !scan->parent[0],
        .after = scan->after,
        .descending = scan->flags & VIM_SCAN_DESCENDING,
        .by_due = scan->flags & VIM_SCAN_BY_DUE,
        .no_body = scan->flags & VIM_SCAN_NO_BODY,
    };
    unsigned states = (unsigned)__builtin_popcount(scan->states);

    if (states && states <= MERGED_STATES_MAX && !scan->parent && !shape.by_due)
        shape.merged = states;
    else
        shape.filter = states && states < 32;
    return shape;
}

int reader_scan(struct vim_call *call, void *instance, const struct vim_scan *asked)
{
    struct sqlite_store *store = instance;
    struct vim_scan scan = {0};
    struct store_error error;
    struct scan_shape shape;
    struct reading reading;
    struct reader *reader;
    sqlite3_stmt *statement = NULL;
    int code, rc;

    memcpy(&scan, asked, asked->size < sizeof scan ? asked->size : sizeof scan);
    if (limits_scan(&scan, &error) < 0)
        return store->host->fail(call, error.code, 0, error.text);
    reading_init(&reading, store, call, scan.collection);
    reading.cacheable = cache_key_scan(&reading.key, &scan);
    if (answer_from_cache(&reading))
        return VIM_OK;
    code = borrow(call, store, &reader);
    if (code < 0)
        return code;
    shape = shape_of(&scan);
    rc = prepare_scan(reader, &shape, &statement);
    if (rc == SQLITE_OK) {
        bind_scan(statement, &scan, &shape);
        rc = emit_rows(&reading, statement, !shape.no_body, scan.limit);
    }
    code = rc == SQLITE_DONE ? VIM_OK : fail_read(call, store, reader, rc, "scan");
    sqlite3_reset(statement);
    give_back(store, reader);
    return code;
}

int reader_number(struct vim_call *call, struct sqlite_store *store, const char *sql,
                  int64_t *ret_number)
{
    sqlite3_stmt *statement = NULL;
    struct reader *reader;
    int code = borrow(call, store, &reader), rc;

    if (code < 0)
        return code;
    rc = sqlite3_prepare_v2(reader->database, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        *ret_number = sqlite3_column_int64(statement, 0);
    else
        code = fail_read(call, store, reader, rc, "probe");
    sqlite3_finalize(statement);
    give_back(store, reader);
    return code;
}
