/*
 * postgres_store.h - what the files of the plugin share.
 *
 *   plugin.c      descriptor, options, open, close, probe
 *   places.c      where replicas are: addresses that come and go under a name
 *   conninfo.c    from the options to libpq's parameters
 *   connection.c  one connection: connecting, sending, waiting, errors in the store's terms
 *   schema.c      the tables, made and migrated by one of several processes that start at once
 *   writer.c      commit: one pipeline, one transaction, one round trip
 *   reader.c      get and scan
 *   batches.c     gets and short scans that wait together go together
 *   replicas.c    when a replica may answer them
 *   scan_sql.c    the SELECT of a scan
 *
 * All connections are in libpq's pipeline mode and non-blocking: every wait is our own, bounded by
 * the time that the caller has left.
 */
#ifndef POSTGRES_STORE_H
#define POSTGRES_STORE_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <vim/store.h>

#include "pool.h"
#include "store_limits.h"

struct store_config {
    struct vim_texts hosts;
    const char *database;
    const char *user;
    const char *password;
    const char *schema;
    int64_t connections;
    const char *durability;
    int64_t connect_timeout;
    int64_t replica_wait;
    int64_t replica_refresh;
    const char *sslmode;
    const char *ca_file;
    const char *certificate;
    const char *key;
};

/* As many as a set has bits. */
#define REPLICAS_MAX 32

#define REPLICA_NAMES_MAX 16
#define HOST_NAME_SIZE 256
#define ADDRESS_SIZE 64

/* Ways in which the SQL of one scan differs from that of another; see scan_sql.c. */
#define SCAN_SHAPES 640

/* libpq's parameters for one place, NULL-terminated as it wants them. */
#define CONNINFO_MAX 24
struct conninfo {
    const char *keys[CONNINFO_MAX];
    char *values[CONNINFO_MAX];
    unsigned count;
};

/* Length of the name of a history; see replicas.c. */
#define HISTORY_SIZE 48

/* One connection; of one thread at a time. */
struct connection {
    struct pooled pooled;
    struct place *place;
    PGconn *pg;
    int told_fd; /* the socket that vimd knows of; -1: none */
    uint64_t scans[SCAN_SHAPES / 64]; /* whose statements are prepared */
    char history[HISTORY_SIZE]; /* that a primary with replicas writes; "": not known */
    int64_t gather_at; /* on pool_now(): from then on it gathers; see connection_result() */
};

/* The primary, wherever it is among its hosts, or one replica. One of a name's addresses is taken by, and given up
 * by, the thread that looks names up; see places.c. */
struct place {
    struct pool pool;
    struct postgres_store *store;
    bool replica;
    struct conninfo conninfo;
    char name[128]; /* hosts, for messages */
    bool taken; /* replica: there is one here */
    char address[ADDRESS_SIZE]; /* replica: found under the name NAME_AT; "": as configured */
    unsigned name_at;
    atomic_uint users; /* replica: who has to do with it now */
    atomic_bool schema_ready; /* tables looked at since the plugin was opened */
    _Atomic int64_t pass_until; /* replica: is passed over until then, on pool_now() */
    _Atomic unsigned misses; /* replica: times in a row that it could not answer */
};

/* A name under which replicas are found. */
struct replica_name {
    char name[HOST_NAME_SIZE];
    char port[8];
};

/* The thread that looks names up. */
struct lookup {
    pthread_t thread;
    bool started;
    bool full; /* told that there are more replicas than places */
    pthread_mutex_t lock; /* guards stop */
    pthread_cond_t stopped;
    bool stop;
};

/* How far a primary's log had come: a place in one history. */
struct position {
    char log[24];
    char history[HISTORY_SIZE];
};

/* The question where the primary's log is, asked by one of the reads that wait for the answer. */
struct question {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t answered;
    uint64_t asked, done; /* times so far; one more asked than done while it is in progress */
    int64_t took_ms; /* the last that is done */
    struct store_error error; /* of the last that is done; code 0 if it was answered */
    struct position position;
};

/* Reads that are sent together, at most. */
#define BATCH_MAX 32

struct waiting;
struct running;

/* The reads that wait for others, and how many batches of them may be on their way; see batches.c. */
struct batches {
    pthread_mutex_t lock; /* guards what follows */
    struct waiting *first, **end;
    struct running *running; /* batches that are on their way */
    unsigned most; /* so many at once */
    unsigned quick; /* in a row while as many as may be were running */
    int64_t least_ms; /* that one took; INT64_MAX: not known */
};

/* One instance. Made by open(), gone after close(), which is only called when no other call is in
 * progress. It has a thread of its own only if replicas are found under a name. */
struct postgres_store {
    const struct vim_host *host;
    struct vim_self *self;
    const struct store_config *config;
    struct place primary;
    struct place replicas[REPLICAS_MAX];
    _Atomic uint32_t serving; /* the set of replicas that may be read: a bit for each */
    bool has_replicas; /* some are configured, whether there are any now or not */
    struct replica_name names[REPLICA_NAMES_MAX];
    unsigned name_count;
    struct lookup lookup;
    _Atomic unsigned next_replica, next_place;
    atomic_bool warned; /* that no replica can be used */
    struct question question;
    struct batches batches;
    /* Of the scans, for the primary and for replicas; guarded by sql_lock until set, then constant. */
    char *sql[2][SCAN_SHAPES];
    pthread_mutex_t sql_lock;
};

/* --- conninfo.c */

/* Reads the hosts and fills in the pools' parameters, and the names under which replicas are to be found. The caller
 * frees the parameters with conninfo_clear(), also after an error. */
int conninfo_fill(struct postgres_store *store, struct store_error *ret_error);

/* Those of a replica that was found at ADDRESS under NAME. Returns 0, or -1: no memory. */
int conninfo_fill_found(struct postgres_store *store, struct place *place,
                        const struct replica_name *name, const char *address);
void conninfo_clear(struct conninfo *conninfo);

/* --- places.c */

int places_init(struct postgres_store *store);

/* Begins to look up the names of replicas, if there are any. */
int places_start(struct postgres_store *store, struct store_error *ret_error);

/* Ends that, waiting for a look-up in progress, and closes all connections. */
void places_clear(struct postgres_store *store);

/* How many replicas may be read. */
unsigned places_count(struct postgres_store *store);

/* Puts the numbers of the replicas that may be read in RET_ORDER, beginning with another one for each FIRST. Returns
 * how many there are. */
unsigned places_in_turn(struct postgres_store *store, unsigned first,
                        unsigned char ret_order[REPLICAS_MAX]);

/* Enters a replica, so that it stays what it is until it is left. False: it may not be read any more. */
bool place_enter(struct place *place);
void place_leave(struct place *place);

/* --- connection.c */

/* Connects to a struct place, makes sure that the primary's tables are there, and prepares the
 * statements: the pool's open, close and alive. */
int connection_open(struct vim_call *call, struct pool *pool, int64_t deadline,
                    struct pooled **ret_connection, struct store_error *ret_error);
void connection_close(struct pooled *pooled);
bool connection_alive(struct pooled *pooled);

/* Takes a connection to PLACE; see pool_borrow(). Gives it back; NULL is fine. */
int connection_borrow(struct vim_call *call, struct place *place, bool patient,
                      struct connection **ret_connection, struct store_error *ret_error);
void connection_return(struct connection *connection);

/* Sends all that libpq holds. */
int connection_flush(struct vim_call *call, struct connection *connection, int64_t deadline,
                     struct store_error *ret_error);

/* Waits for the next result of the pipeline, which the caller clears; NULL ends those of a statement. A connection that
 * gathers (gather_at) takes all that is there a moment after something has come, not each piece as it comes.
 * VIM_E_TIMEOUT when no time is left, VIM_E_LOST when the connection broke: it is broken then. */
int connection_result(struct vim_call *call, struct connection *connection, int64_t deadline,
                      PGresult **ret_result, struct store_error *ret_error);

/* Runs one statement, prepared as NAME or given as SQL, with text parameters, to its end.
 * *RET_RESULT (may be NULL) has binary values, and is the caller's to clear. */
int connection_run(struct vim_call *call, struct connection *connection, int64_t deadline,
                   const char *name, const char *sql, int count, const char *const *values,
                   PGresult **ret_result, struct store_error *ret_error);

/* Sets ERROR from a result that is an error. If it is not the server's own words, the connection is gone:
 * VIM_E_LOST. */
int connection_error(struct connection *connection, const PGresult *result,
                     struct store_error *ret_error);

/* Reads results up to the end of the pipeline. Returns the first error among them. */
int connection_finish(struct vim_call *call, struct connection *connection, int64_t deadline,
                      struct store_error *ret_error);

/* SQLSTATE of a result, "" if it is none of the server's. */
const char *result_state(const PGresult *result);

/* Sets ERROR from a result that is an error, given that the server has undone the statement. */
int store_error_from_result(struct store_error *error, const PGresult *result);

/* Big-endian numbers, as binary parameters and values are. */
static inline void number_write(unsigned char bytes[8], uint64_t number)
{
    for (int i = 7; i >= 0; i--, number >>= 8)
        bytes[i] = (unsigned char)number;
}

static inline int64_t number_read(const PGresult *result, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, row, column);
    uint64_t number = 0;

    for (int i = 0; i < PQgetlength(result, row, column); i++)
        number = number << 8 | bytes[i];
    return (int64_t)number;
}

/* --- schema.c */

/* Makes sure that the tables are there and of our version. */
int schema_prepare(struct vim_call *call, struct connection *connection, int64_t deadline,
                   struct store_error *ret_error);
int schema_version(void);

/* Writes a statement: TEMPLATE with the schema's name in place of every @. */
void schema_sql(const char *template, const char *schema, char *ret_sql, size_t size);

/* --- writer.c */

/* Prepares the writer's statements: sends them, and leaves the end of the pipeline to the caller. */
int writer_prepare(struct connection *connection);

/* The commit of store.h. */
int writer_commit(struct vim_call *call, void *instance, const struct vim_write *writes,
                  uint32_t count, uint32_t stride);

/* --- reader.c */

/* One get or scan, and how far it has come. */
struct read {
    const char *collection;
    const char *id; /* of a get */
    const struct vim_scan *scan; /* or NULL: a get */
    bool is_long; /* it goes alone; its rows are emitted as they are received */
    bool emitted; /* rows were: it cannot begin again */
    bool enough; /* emit() wants no more */
    PGresult
        *result; /* of one that is not long: all its rows, to be emitted by the thread that asked */
};

/* Reads that are sent together: one that is long, or up to BATCH_MAX that are not. Those that have their
 * result are not sent again. */
struct batch {
    unsigned count;
    struct read *reads[BATCH_MAX];
    bool
        reached; /* a server took it, the last time: if it failed, maybe because of one of the reads */
};

int reader_prepare(struct connection *connection);

/* Sends the statements of BATCH and the end of the pipeline. */
int reader_send(struct connection *connection, const struct batch *batch,
                struct store_error *ret_error);

/* Receives what comes of them, waiting up to PATIENCE milliseconds for each part of it. After an error some of
 * the reads may have their results. */
int reader_receive(struct vim_call *call, struct connection *connection, struct batch *batch,
                   int64_t patience, struct store_error *ret_error);

/* Has BATCH answered, by a replica or by the primary. */
int reader_run(struct vim_call *call, struct postgres_store *store, struct batch *batch,
               struct store_error *ret_error);

/* The get and scan of store.h. */
int reader_get(struct vim_call *call, void *instance, const char *collection, const char *id);
int reader_scan(struct vim_call *call, void *instance, const struct vim_scan *scan);

/* --- batches.c */

void batches_init(struct postgres_store *store);
void batches_clear(struct postgres_store *store);

/* Has READ, which is not long, answered, maybe together with others. */
int batches_read(struct vim_call *call, struct postgres_store *store, struct read *read,
                 struct store_error *ret_error);

/* --- replicas.c */

/* What a replica is asked for holds only if the question before it, on the same connection, was answered by yes; else
 * there are no rows, and no work. */
#define REPLICA_CONDITION " AND current_setting('vimd.in_step')='yes'"

int replicas_init(struct postgres_store *store);
void replicas_clear(struct postgres_store *store);

/* Prepares a replica's statements, or a primary's; sends them, as reader_prepare() does. */
int replicas_prepare(struct connection *connection);

/* Makes known which history a new connection to the primary writes, if there are replicas to ask
 * about it. That it cannot is logged: then no replica is read. */
int replicas_note_history(struct vim_call *call, struct connection *connection, int64_t deadline,
                          struct store_error *ret_error);

/* Lets a replica answer BATCH, if one has all that was committed before. False if none could, or not
 * all of it: nothing was emitted then. Else *RET_CODE is the outcome. */
bool replicas_read(struct vim_call *call, struct postgres_store *store, struct batch *batch,
                   int *ret_code, struct store_error *ret_error);

/* How many replicas there are, can be reached, and have all that is committed. */
unsigned replicas_count(struct vim_call *call, struct postgres_store *store,
                        unsigned *ret_reachable, unsigned *ret_in_step);

/* --- scan_sql.c */

#define SCAN_PARAMETERS_MAX 10

/* The parameters of one scan, as libpq takes them. */
struct scan_parameters {
    int count;
    const char *values[SCAN_PARAMETERS_MAX];
    int lengths[SCAN_PARAMETERS_MAX];
    int formats[SCAN_PARAMETERS_MAX];
    Oid types[SCAN_PARAMETERS_MAX];
    unsigned char numbers[SCAN_PARAMETERS_MAX][8];
};

/* Number of SCAN's shape, below SCAN_SHAPES. */
unsigned scan_shape_number(const struct vim_scan *scan);

/* The SQL of SCAN's shape, for the primary or for a REPLICA; made when first asked for, kept with the store. NULL: no
 * memory. */
const char *scan_sql(struct postgres_store *store, const struct vim_scan *scan, bool replica);
void scan_sql_clear(struct postgres_store *store);

/* Fills the parameters, which refer to SCAN and to themselves. */
void scan_bind(const struct vim_scan *scan, struct scan_parameters *ret_parameters);

#endif
