/*
 * When a replica may answer a read.
 *
 * "A read that begins after a commit has returned, in any process, sees it." A replica keeps that promise
 * only when it has replayed the log up to where the primary's was after the read had begun. So a
 * read first has the primary asked for that position. One question serves all reads that had begun
 * when it was sent: however many there are, this process asks one at a time. Then a replica is told the
 * position in the same breath as the reads: it says whether it was there, and then, in a transaction of its
 * own, thus with a later snapshot, answers. If it was not, it reads nothing (it remembers what it has said, and
 * each statement begins with that: see REPLICA_CONDITION), and it is asked again for as long as the option
 * replica_wait allows; then the primary answers. Unless that is busy: all connections to it are in use, or the question took it long. One that has too much to do is also slow to feed its
 * replicas, and would get the more to do the further they are behind. So then they are asked for longer.
 *
 * A position means something within one history of the log only. After a failover a replica that still
 * follows the old primary may be far ahead in a history that the new one does not share. So each primary
 * writes the name of its history (of the cluster and the timeline) into a table, and a replica
 * counts only if it has replayed that row.
 *
 * A get, and a scan of which few rows are expected, are no more work than the question, and take one round trip instead
 * of two. They go to a replica only in a batch (batches.c): they had to wait anyway, and share the question.
 *
 * Batches are a sign that there is too much to do. Of those the primary has its share, one of as many as there are
 * servers, unless it is busy.
 *
 * A replica that is down, hangs, or is behind is passed over for a while, which doubles from one time to the
 * next: it costs a read now and then a little time, not each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#include "postgres_store.h"

#define STATEMENT_MAX 400
#define OID_TEXT 25

/* How long a replica is passed over after it could not answer. */
#define PASS_FIRST_MS 50
#define PASS_MAX_MS 5000

/* Silence after which a replica that hangs is left. Not sooner: the connection is lost with it, and a replica that is
 * only slow would have to make another. */
#define PATIENCE_MS 1000

/* While the primary is busy, replicas are asked for so many times replica_wait. */
#define BUSY_PRIMARY_WAITS 25
#define PAUSE_MAX_MS 16
#define PAUSE_BUSY_MS 64

/* The position is that of what is written, not of what is flushed: a commit that does not wait for the disk
 * (durability: process) has returned before. */
#define POSITION_SQL "SELECT pg_current_wal_insert_lsn()::text"

#define HISTORY_SQL                                                \
    "SELECT (SELECT system_identifier FROM pg_control_system())||" \
    "'/'||left(pg_walfile_name(pg_current_wal_insert_lsn()),8)"

#define IN_STEP_SQL                                              \
    "SELECT set_config('vimd.in_step',CASE"                      \
    " WHEN pg_is_in_recovery()"                                  \
    " AND pg_last_wal_replay_lsn()>=$1::text::pg_lsn"            \
    " AND EXISTS(SELECT 1 FROM @.histories WHERE name=$2::text)" \
    " THEN 'yes' ELSE 'no' END,false)"

int replicas_init(struct postgres_store *store)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_mutex_init(&store->question.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&store->question.answered, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc ? -1 : 0;
}

void replicas_clear(struct postgres_store *store)
{
    pthread_cond_destroy(&store->question.answered);
    pthread_mutex_destroy(&store->question.lock);
}

int replicas_prepare(struct connection *connection)
{
    static const Oid types[] = {OID_TEXT, OID_TEXT};
    char sql[STATEMENT_MAX];

    if (!connection->place->replica)
        return !connection->history[0] ||
                       PQsendPrepare(connection->pg, "position", POSITION_SQL, 0, NULL)
                   ? 0
                   : -1;
    schema_sql(IN_STEP_SQL, connection->place->store->config->schema, sql, sizeof sql);
    return PQsendPrepare(connection->pg, "in_step", sql, 2, types) ? 0 : -1;
}

static int write_history(struct vim_call *call, struct connection *connection, int64_t deadline,
                         struct store_error *ret_error)
{
    const char *values[] = {connection->history};
    char sql[STATEMENT_MAX];
    PGresult *result = NULL;
    int code =
        connection_run(call, connection, deadline, NULL, HISTORY_SQL, 0, NULL, &result, ret_error);

    if (code < 0)
        return code;
    snprintf(connection->history, sizeof connection->history, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    schema_sql("INSERT INTO @.histories(name) SELECT $1::text"
               " WHERE NOT EXISTS(SELECT 1 FROM @.histories WHERE name=$1::text)"
               " ON CONFLICT DO NOTHING",
               connection->place->store->config->schema, sql, sizeof sql);
    return connection_run(call, connection, deadline, NULL, sql, 1, values, NULL, ret_error);
}

int replicas_note_history(struct vim_call *call, struct connection *connection, int64_t deadline,
                          struct store_error *ret_error)
{
    struct postgres_store *store = connection->place->store;
    int code;

    if (!store->has_replicas)
        return VIM_OK;
    code = write_history(call, connection, deadline, ret_error);
    if (code == VIM_OK)
        return VIM_OK;
    connection->history[0] = '\0';
    if (connection->pooled.broken || VIM_IS_TRANSIENT(code))
        return code;
    store_error_unquote(ret_error);
    if (!atomic_exchange(&store->warned, true))
        vim_log(store->host, store->self, VIM_WARNING, "replicas are not read", "error=\"%s\"",
                ret_error->text);
    return VIM_OK;
}

/* That it cannot be reached is told as it is, after all the waiting that the configuration allows; any
 * other failure is VIM_E_UNSUPPORTED: the read may fare better, as may others whose time is not over. */
static int ask_primary(struct vim_call *call, struct postgres_store *store,
                       struct position *ret_position, struct store_error *ret_error)
{
    struct connection *connection = NULL;
    PGresult *result = NULL;
    int code = connection_borrow(call, &store->primary, true, &connection, ret_error);

    if (code < 0 && store->host->left_ms(call) <= 0)
        code = ret_error->code = VIM_E_UNSUPPORTED;
    if (code < 0)
        return code;
    if (!connection->history[0] || connection_run(call, connection, INT64_MAX, "position", NULL, 0,
                                                  NULL, &result, ret_error) < 0)
        code = ret_error->code = VIM_E_UNSUPPORTED;
    if (code == VIM_OK) {
        snprintf(ret_position->log, sizeof ret_position->log, "%s", PQgetvalue(result, 0, 0));
        memcpy(ret_position->history, connection->history, HISTORY_SIZE);
    }
    PQclear(result);
    connection_return(connection);
    return code;
}

/* Asks it on behalf of all who wait. Called with the lock held, which is given up meanwhile. */
static void ask_for_all(struct vim_call *call, struct postgres_store *store)
{
    struct question *question = &store->question;
    struct position position = {0};
    struct store_error error = {0};
    uint64_t number = ++question->asked;
    int64_t began = pool_now();

    pthread_mutex_unlock(&question->lock);
    ask_primary(call, store, &position, &error);
    pthread_mutex_lock(&question->lock);
    question->done = number;
    question->took_ms = pool_now() - began;
    question->error = error;
    question->position = position;
    pthread_cond_broadcast(&question->answered);
}

/* Where the primary's log is at some moment after the beginning of the call. */
static int find_position(struct vim_call *call, struct postgres_store *store,
                         struct position *ret_position, struct store_error *ret_error)
{
    struct question *question = &store->question;
    uint64_t mine;
    int code = VIM_E_UNSUPPORTED;

    pthread_mutex_lock(&question->lock);
    mine = question->asked + 1; /* not one that is on its way already */
    while (question->done < mine) {
        int64_t until = pool_now() + CANCEL_CHECK_MS;
        struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

        if (question->asked == question->done)
            ask_for_all(call, store);
        else
            pthread_cond_timedwait(&question->answered, &question->lock, &time);
        if (store->host->left_ms(call) <= 0)
            break;
    }
    if (question->done >= mine) {
        code = question->error.code;
        *ret_error = question->error;
        *ret_position = question->position;
    }
    pthread_mutex_unlock(&question->lock);
    return code;
}

static bool is_passed_over(struct place *place)
{
    return pool_now() < atomic_load(&place->pass_until);
}

static void pass_over(struct place *place)
{
    unsigned misses = atomic_fetch_add(&place->misses, 1);
    int64_t pause = misses < 7 ? PASS_FIRST_MS << misses : PASS_MAX_MS;

    atomic_store(&place->pass_until, pool_now() + pause);
}

static int send_question(struct connection *connection, const struct position *position,
                         struct store_error *ret_error)
{
    const char *values[] = {position->log, position->history};

    if (PQsendQueryPrepared(connection->pg, "in_step", 2, values, NULL, NULL, 1) &&
        PQpipelineSync(connection->pg))
        return VIM_OK;
    connection->pooled.broken = true;
    return store_error_set(ret_error, VIM_E_LOST, "postgresql: %.300s",
                           PQerrorMessage(connection->pg));
}

static int receive_answer(struct vim_call *call, struct connection *connection, bool *ret_in_step,
                          struct store_error *ret_error)
{
    int64_t deadline = pool_now() + PATIENCE_MS;
    PGresult *result = NULL;
    int code = connection_result(call, connection, deadline, &result, ret_error);

    *ret_in_step = false;
    if (code < 0)
        return code;
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        code = connection_error(connection, result, ret_error);
    else
        *ret_in_step = strcmp(PQgetvalue(result, 0, 0), "yes") == 0;
    PQclear(result);
    if (connection->pooled.broken)
        return code;
    if (code == VIM_OK)
        return connection_finish(call, connection, deadline, ret_error);
    connection->pooled.broken = true; /* what else was sent is not waited for */
    return code;
}

/* Is the replica where the position is? With BATCH, which may be NULL, its statements are sent as well; if the replica
 * was not there no rows come of them. */
static int ask_replica(struct vim_call *call, struct connection *connection,
                       const struct position *position, const struct batch *batch,
                       bool *ret_in_step, struct store_error *ret_error)
{
    struct store_error ignored;
    int code = send_question(connection, position, ret_error);

    if (code == VIM_OK && batch)
        code = reader_send(connection, batch, ret_error);
    if (code == VIM_OK)
        code = receive_answer(call, connection, ret_in_step, ret_error);
    /* After an error it is not known what is prepared on it. */
    if (code == VIM_OK && batch && !*ret_in_step &&
        connection_finish(call, connection, pool_now() + PATIENCE_MS, &ignored) < 0)
        connection->pooled.broken = true;
    return code;
}

enum outcome { ANSWERED, BUSY, BEHIND, FAILED };

static enum outcome read_in_step(struct vim_call *call, struct connection *connection,
                                 const struct position *position, struct batch *batch,
                                 int *ret_code, struct store_error *ret_error)
{
    bool in_step = false;
    int code = ask_replica(call, connection, position, batch, &in_step, ret_error);

    if (code < 0 || connection->pooled.broken)
        return FAILED;
    if (!in_step)
        return BEHIND;
    code = reader_receive(call, connection, batch, PATIENCE_MS, ret_error);
    *ret_code = code;
    return code == VIM_OK || batch->reads[0]->emitted ? ANSWERED : FAILED;
}

static enum outcome read_on(struct vim_call *call, struct place *place,
                            const struct position *position, struct batch *batch, int *ret_code,
                            struct store_error *ret_error)
{
    struct connection *connection = NULL;
    enum outcome outcome = FAILED;
    int code = connection_borrow(call, place, false, &connection, ret_error);

    if (code == VIM_E_BUSY)
        return BUSY; /* others have all connections: that is no fault of its own */
    if (code == VIM_OK)
        outcome = read_in_step(call, connection, position, batch, ret_code, ret_error);
    connection_return(connection);
    if (outcome == ANSWERED)
        atomic_store(&place->misses, 0);
    else if (outcome == FAILED)
        pass_over(place);
    return outcome;
}

/* Asks those that may be asked, another one first for each FIRST, until one answers or was behind: so are the
 * others, more often than not. BUSY and BEHIND: some may answer in a moment. The one that was behind gets its
 * bit in *BEHIND_BITS. */
static enum outcome read_on_any(struct vim_call *call, struct postgres_store *store, unsigned first,
                                const struct position *position, struct batch *batch,
                                uint32_t *behind_bits, int *ret_code, struct store_error *ret_error)
{
    unsigned char order[REPLICAS_MAX];
    unsigned count = places_in_turn(store, first, order);
    enum outcome any = FAILED;

    for (unsigned i = 0; i < count; i++) {
        struct place *place = &store->replicas[order[i]];
        enum outcome outcome;

        if (is_passed_over(place) || !place_enter(place))
            continue;
        outcome = read_on(call, place, position, batch, ret_code, ret_error);
        place_leave(place);
        if (outcome == BEHIND)
            *behind_bits |= (uint32_t)1 << order[i];
        if (outcome == ANSWERED || outcome == BEHIND)
            return outcome;
        if (outcome == BUSY)
            any = BUSY;
    }
    return any;
}

static void pass_over_all(struct postgres_store *store, uint32_t behind)
{
    for (unsigned i = 0; i < REPLICAS_MAX; i++)
        if (behind >> i & 1)
            pass_over(&store->replicas[i]);
}

static bool primary_is_busy(struct postgres_store *store)
{
    struct question *question = &store->question;
    bool slow;

    pthread_mutex_lock(&question->lock);
    slow = question->took_ms > store->config->replica_wait;
    pthread_mutex_unlock(&question->lock);
    return slow || !pool_has_free(&store->primary.pool);
}

/* Has a replica that was there at POSITION answer. False: the primary has to. */
static bool read_in_time(struct vim_call *call, struct postgres_store *store,
                         const struct position *position, struct batch *batch, int *ret_code,
                         struct store_error *ret_error)
{
    unsigned first = atomic_fetch_add(&store->next_replica, 1);
    int64_t began = pool_now(), wait = store->config->replica_wait;
    uint32_t behind = 0;

    for (int64_t pause = 1;; first++) {
        enum outcome outcome =
            read_on_any(call, store, first, position, batch, &behind, ret_code, ret_error);
        bool is_busy = primary_is_busy(store);
        int64_t until = began + (is_busy ? BUSY_PRIMARY_WAITS * wait : wait);

        if (outcome == ANSWERED || outcome == FAILED)
            return outcome == ANSWERED;
        if (pool_now() + pause > until || !pool_pause(call, store->host, pause)) {
            pass_over_all(store, behind);
            return false;
        }
        /* Each look costs the replica, too, which is hardly idle if the primary is not. */
        pause = pause * 4 < PAUSE_MAX_MS ? pause * 4 : is_busy ? PAUSE_BUSY_MS : PAUSE_MAX_MS;
    }
}

/* Is it no more work than the question? */
static bool is_small(const struct read *read)
{
    return !read->scan || (read->scan->flags & VIM_SCAN_FEW);
}

/* Is there a replica that may answer, and is the read worth the question? */
static bool is_worth_it(struct postgres_store *store, const struct batch *batch)
{
    unsigned char order[REPLICAS_MAX];

    if (batch->count == 1 && is_small(batch->reads[0]))
        return false;
    for (unsigned i = 0, count = places_in_turn(store, 0, order); i < count; i++)
        if (!is_passed_over(&store->replicas[order[i]]))
            return true;
    return false;
}

/* Where reads wait for each other all servers have much to do. Then the primary takes its share as well, for as
 * long as it has time for it: it answers questions and feeds the replicas before all. */
static bool is_the_primarys(struct postgres_store *store, const struct batch *batch)
{
    return batch->count > 1 && !primary_is_busy(store) &&
           atomic_fetch_add(&store->next_place, 1) % (places_count(store) + 1) == 0;
}

bool replicas_read(struct vim_call *call, struct postgres_store *store, struct batch *batch,
                   int *ret_code, struct store_error *ret_error)
{
    struct position position;
    bool answered = false;
    int code = VIM_E_UNSUPPORTED;

    if (!store->has_replicas)
        return false;
    if (is_worth_it(store, batch) && !is_the_primarys(store, batch))
        code = find_position(call, store, &position, ret_error);
    if (code != VIM_OK && code != VIM_E_UNSUPPORTED) {
        *ret_code = code;
        return true;
    }
    if (code == VIM_OK)
        answered = read_in_time(call, store, &position, batch, ret_code, ret_error);
    store->host->count(store->self, "reads_total",
                       answered ? "answered=\"replica\"" : "answered=\"primary\"", batch->count);
    return answered;
}

static void count_one(struct vim_call *call, struct place *place, const struct position *position,
                      unsigned *reachable, unsigned *in_step)
{
    int64_t end = pool_now() + place->store->config->replica_wait, pause = 1;
    struct connection *connection = NULL;
    struct store_error error;
    bool is_there = false;

    if (connection_borrow(call, place, false, &connection, &error) < 0)
        return;
    while (ask_replica(call, connection, position, NULL, &is_there, &error) == VIM_OK &&
           !is_there && pool_now() + pause <= end && pool_pause(call, place->store->host, pause))
        pause *= 2;
    *reachable += !connection->pooled.broken;
    *in_step += is_there;
    connection_return(connection);
}

unsigned replicas_count(struct vim_call *call, struct postgres_store *store,
                        unsigned *ret_reachable, unsigned *ret_in_step)
{
    unsigned char order[REPLICAS_MAX];
    unsigned count = places_in_turn(store, 0, order);
    struct position position;
    struct store_error error;
    bool known = count > 0 && find_position(call, store, &position, &error) == VIM_OK;

    *ret_reachable = *ret_in_step = 0;
    for (unsigned i = 0; i < count && known; i++) {
        struct place *place = &store->replicas[order[i]];

        if (place_enter(place)) {
            count_one(call, place, &position, ret_reachable, ret_in_step);
            place_leave(place);
        }
    }
    return count;
}
