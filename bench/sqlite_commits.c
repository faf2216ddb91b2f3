/*
 * The reference for accepted tasks per second: how many transactions SQLite commits, one after the
 * other on one connection, with the schema and settings of vimd's store and rows of the same sizes.
 *
 *     sqlite_commits FILE SECONDS power|process SIZE...       one row of SIZE bytes each per commit
 *
 * Prints commits per second.
 */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX 16

static void run(sqlite3 *database, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(database, sql, NULL, NULL, &error) != SQLITE_OK) {
        fprintf(stderr, "sqlite_commits: %s: %s\n", sql, error);
        exit(1);
    }
}

static void step(sqlite3 *database, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_reset(statement) != SQLITE_OK) {
        fprintf(stderr, "sqlite_commits: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        fprintf(stderr, "sqlite_commits: %s: %s\n", sql, sqlite3_errmsg(database));
        exit(1);
    }
    return statement;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void open_schema(sqlite3 *database, const char *durability)
{
    run(database, "PRAGMA journal_mode=WAL");
    run(database, strcmp(durability, "process") == 0 ? "PRAGMA synchronous=NORMAL"
                                                     : "PRAGMA synchronous=FULL");
    run(database, "PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY");
    run(database, "CREATE TABLE rows(collection TEXT NOT NULL, id TEXT NOT NULL,"
                  " parent TEXT NOT NULL, state INTEGER NOT NULL, due INTEGER NOT NULL,"
                  " revision INTEGER NOT NULL, body TEXT NOT NULL,"
                  " PRIMARY KEY(collection, id)) WITHOUT ROWID;"
                  "CREATE INDEX rows_by_parent ON rows(collection, parent, id);"
                  "CREATE INDEX rows_by_state ON rows(collection, state, id);"
                  "CREATE INDEX rows_by_due ON rows(collection, due, id) WHERE due > 0;");
}

int main(int argc, char **argv)
{
    static const char *const collections[] = {"task", "server", "idempotency"};
    sqlite3 *database = NULL;
    if (argc < 5 || argc - 4 > ROWS_MAX) {
        fprintf(stderr, "usage: sqlite_commits FILE SECONDS power|process SIZE...\n");
        return 2;
    }
    if (sqlite3_open(argv[1], &database) != SQLITE_OK) {
        fprintf(stderr, "sqlite_commits: %s: %s\n", argv[1], sqlite3_errmsg(database));
        return 1;
    }
    open_schema(database, argv[3]);
    sqlite3_stmt *begin = prepare(database, "BEGIN IMMEDIATE");
    sqlite3_stmt *insert = prepare(database, "INSERT INTO rows VALUES(?, ?, 'demo', 1, ?, 1, ?)");
    sqlite3_stmt *commit = prepare(database, "COMMIT");
    char *body = malloc(1 << 20);
    if (body == NULL) {
        return 1;
    }
    memset(body, 'x', 1 << 20);

    double start = now();
    double seconds = atof(argv[2]);
    double taken = 0;
    int64_t commits = 0;
    for (; taken < seconds; taken = now() - start) {
        step(database, begin);
        for (int row = 4; row < argc; row++) {
            char id[64];
            const char *collection = collections[(row - 4) % 3];
            /* Ids are random, as vimd's are: writes go to pages all over the tree. */
            snprintf(id, sizeof(id), "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)random(),
                     (unsigned)random() & 0xffff, (unsigned)random() & 0xfff,
                     (unsigned)random() & 0xfff,
                     (unsigned long long)commits * ROWS_MAX + (unsigned)row);
            sqlite3_bind_text(insert, 1, collection, -1, SQLITE_STATIC);
            sqlite3_bind_text(insert, 2, id, -1, SQLITE_TRANSIENT);
            sqlite3_bind_int64(insert, 3, row == 4 ? 1800000000000 + commits : 0);
            sqlite3_bind_text(insert, 4, body, atoi(argv[row]), SQLITE_STATIC);
            step(database, insert);
        }
        step(database, commit);
        commits++;
    }
    printf("%.1f\n", (double)commits / taken);
    sqlite3_finalize(begin);
    sqlite3_finalize(insert);
    sqlite3_finalize(commit);
    sqlite3_close(database);
    free(body);
    return 0;
}
