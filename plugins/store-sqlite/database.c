#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sqlite_store.h"

#define APPLICATION_ID 0x56494d44 /* "VIMD" */
#define BUSY_PAUSE_MS 5
#define WAL_KEPT_BYTES (64 * 1024 * 1024)

/*
 * What brings a file from version INDEX to INDEX + 1. Only ever appended to.
 *
 * The table is clustered by (collection, id), the order in which nearly everything is read, so
 * that a get is one descent and a page of a list is one walk. Collections and ids compare
 * bytewise (BINARY is the default).
 */
static const char *const migrations[] = {
    "CREATE TABLE rows("
    "  collection TEXT NOT NULL,"
    "  id TEXT NOT NULL,"
    "  parent TEXT NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  due INTEGER NOT NULL,"
    "  revision INTEGER NOT NULL,"
    "  body TEXT NOT NULL,"
    "  PRIMARY KEY(collection, id)"
    ") WITHOUT ROWID;"
    "CREATE INDEX rows_by_parent ON rows(collection, parent, id) WHERE parent > '';"
    "CREATE INDEX rows_by_state ON rows(collection, state, id);"
    "CREATE INDEX rows_by_due ON rows(collection, due, id) WHERE due > 0;",
};

#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

int database_schema_version(void)
{
    return SCHEMA_VERSION;
}

int64_t store_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int store_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc ? -1 : 0;
}

void store_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
    struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};

    pthread_cond_timedwait(condition, lock, &until);
}

int store_error_from_sqlite(struct store_error *error, sqlite3 *database, int rc, const char *doing)
{
    const char *said = database ? sqlite3_errmsg(database) : sqlite3_errstr(rc);

    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return store_error_set(error, VIM_E_BUSY, "%s: another process holds the database", doing);
    case SQLITE_FULL:
        return store_error_set(error, VIM_E_UNAVAILABLE, "%s: the disk is full", doing);
    case SQLITE_NOTADB:
        return store_error_set(error, VIM_E_INVALID, "%s: the file is not an SQLite database",
                               doing);
    case SQLITE_CORRUPT:
        return store_error_set(error, VIM_E_INTERNAL, "%s: the database is damaged (%s)", doing,
                               said);
    case SQLITE_INTERRUPT:
        return store_error_set(error, VIM_E_TIMEOUT, "%s: no time left", doing);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
        return store_error_set(error, VIM_E_UNAVAILABLE, "%s: %s", doing, said);
    default:
        return store_error_set(error, VIM_E_INTERNAL, "%s: %s", doing, said);
    }
}

static int pragma_number(sqlite3 *database, const char *sql, int64_t *ret_number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *ret_number = sqlite3_column_int64(statement, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc;
}

/* Makes an empty file that nobody else can read. SQLite gives its -wal and -shm the same mode.
 * A file that exists is not opened here: closing it would drop the locks that another connection
 * of this process holds on it. */
static int create_file(const char *path, struct store_error *ret_error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0) {
        close(fd);
        return VIM_OK;
    }
    if (errno != EEXIST)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "path: cannot create %s: %s", path,
                               strerror(errno));
    if (access(path, R_OK | W_OK) < 0)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "path: cannot write %s: %s", path,
                               strerror(errno));
    return VIM_OK;
}

/* Reads what kind of file it is: *RET_VERSION is 0 for an empty one. */
static int identify(sqlite3 *database, const char *path, int64_t *ret_version,
                    struct store_error *ret_error)
{
    int64_t application = 0, version = 0, tables = 0;
    int rc = pragma_number(database, "PRAGMA application_id", &application);

    if (rc == SQLITE_OK)
        rc = pragma_number(database, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = pragma_number(database, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK) {
        char doing[TEXT_MAX / 2];

        snprintf(doing, sizeof doing, "path: cannot use %s", path);
        return store_error_from_sqlite(ret_error, database, rc, doing);
    }
    if (application == 0 && version == 0 && tables == 0) {
        *ret_version = 0;
        return VIM_OK;
    }
    if (application != APPLICATION_ID)
        return store_error_set(ret_error, VIM_E_INVALID,
                               "path: %s is another application's database", path);
    if (version > SCHEMA_VERSION)
        return store_error_set(ret_error, VIM_E_INVALID,
                               "path: %s has schema version %lld, newer than this plugin's %d",
                               path, (long long)version, SCHEMA_VERSION);
    if (version < 1)
        return store_error_set(ret_error, VIM_E_INTERNAL, "path: %s has no schema version", path);
    *ret_version = version;
    return VIM_OK;
}

/* In a transaction, so that of several processes that start at once one does it. */
static int migrate(sqlite3 *database, const char *path, struct store_error *ret_error)
{
    char sql[96];
    int64_t version = 0;
    int rc = sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return store_error_from_sqlite(ret_error, database, rc, "path: cannot write the schema");
    if (identify(database, path, &version, ret_error) < 0) {
        sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
        return ret_error->code;
    }
    for (; version < SCHEMA_VERSION && rc == SQLITE_OK; version++)
        rc = sqlite3_exec(database, migrations[version], NULL, NULL, NULL);
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             APPLICATION_ID, SCHEMA_VERSION);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(database, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        store_error_from_sqlite(ret_error, database, rc, "path: cannot write the schema");
        sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
        return ret_error->code;
    }
    return VIM_OK;
}

static int wait_for_others(void *context, int tries)
{
    const int64_t *deadline = context;

    (void)tries;
    if (store_now() >= *deadline)
        return 0;
    usleep(BUSY_PAUSE_MS * 1000);
    return 1;
}

static int prepare_once(const char *path, int64_t deadline, struct store_error *ret_error)
{
    sqlite3 *database = NULL;
    int64_t version = 0;
    int code = VIM_OK, rc;

    rc = sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        code = store_error_from_sqlite(ret_error, database, rc, "path: cannot open the file");
        goto out;
    }
    sqlite3_busy_handler(database, wait_for_others, &deadline);
    /* Look before the first write: turning on WAL would change a file that is not ours. All at one
     * moment, or another process that makes the tables meanwhile looks like a stranger. */
    rc = sqlite3_exec(database, "BEGIN", NULL, NULL, NULL);
    code = rc == SQLITE_OK
               ? identify(database, path, &version, ret_error)
               : store_error_from_sqlite(ret_error, database, rc, "path: cannot read the file");
    if (code < 0)
        goto out;
    sqlite3_exec(database, "COMMIT", NULL, NULL, NULL);
    rc = sqlite3_exec(database, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL,
                      NULL);
    if (rc != SQLITE_OK)
        code = store_error_from_sqlite(ret_error, database, rc, "path: cannot turn on WAL");
    else if (version < SCHEMA_VERSION)
        code = migrate(database, path, ret_error);
out:
    sqlite3_close(database);
    return code;
}

int database_prepare(const char *path, int64_t deadline, struct store_error *ret_error)
{
    int code = create_file(path, ret_error);

    if (code < 0)
        return code;
    /* When another process turns on WAL at the same time SQLite does not ask the busy handler. */
    while ((code = prepare_once(path, deadline, ret_error)) == VIM_E_BUSY && store_now() < deadline)
        usleep(BUSY_PAUSE_MS * 1000);
    return code;
}

int database_open(const struct sqlite_store *store, bool write, sqlite3 **ret_database,
                  struct store_error *ret_error)
{
    int64_t share = write ? store->config->cache_size / 2
                          : store->config->cache_size / 8 / store->config->readers;
    bool power = strcmp(store->config->durability, "power") == 0;
    sqlite3 *database = NULL;
    char sql[320];
    int rc =
        sqlite3_open_v2(store->path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    snprintf(sql, sizeof sql,
             "PRAGMA synchronous=%s; PRAGMA cache_size=-%lld; PRAGMA wal_autocheckpoint=0;"
             "PRAGMA journal_size_limit=%d; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=0;"
             "PRAGMA query_only=%d;",
             power ? "FULL" : "NORMAL", (long long)(share < 65536 ? 64 : share / 1024),
             WAL_KEPT_BYTES, write ? 0 : 1);
    /* For this moment only: each user of a connection waits in a manner of its own. */
    sqlite3_busy_timeout(database, OPEN_WAIT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(database, sql, NULL, NULL, NULL);
    sqlite3_busy_timeout(database, 0);
    if (rc != SQLITE_OK) {
        store_error_from_sqlite(ret_error, database, rc, "path: cannot open the database");
        sqlite3_close(database);
        return ret_error->code;
    }
    *ret_database = database;
    return VIM_OK;
}
