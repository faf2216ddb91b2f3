/*
 * Gets and short scans that wait together go together.
 *
 * A server that has more to do than processor time gets less done the more of its processes are at it: they
 * take the processor away from each other, each finds its caches cold, and each read costs it two more system
 * calls and a change of process. More connections do not bring more answers then, and with each process of
 * ours that is added there are more of them. So the reads of a process share connections: as many batches as
 * `most` says are on their way at once, and what comes meanwhile waits and goes together, as one pipeline, as
 * soon as one of them is back. `most` follows what the server does: quick batches let it grow, up to where
 * each read has a connection of its own, and a slow one halves it, down to one batch at a time.
 *
 * The thread whose read is the first in the queue takes along all that wait, sends, receives, and hands the
 * results to their threads, which emit them. A read whose time ends leaves its batch, or the queue, at
 * once. If a batch fails because of one of its reads, or since the time of the one that took it along is over,
 * each that has no result yet goes again, alone. What all of them would meet, such as a server that cannot be
 * reached, each of them gets.
 *
 * A read waits for a bounded time: it is taken along in the order in which it came, and a batch that is on its way
 * for long does not count any more, so that another may begin. (How many of those there are is limited by
 * the pools of connections.)
 *
 * A batch begins after all of its reads have: it sees whatever was committed before any of them.
 *
 * Lock order: the lock of the queue, alone; it is given up while a batch is on its way.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "postgres_store.h"

/* A batch that takes longer than this, and a few times as long as the quickest took, met a busy server. */
#define SLOW_MS 20
#define SLOW_TIMES 4

/* So many quick batches in a row, times as many as may be on their way, and there may be one more. A server with
 * a quota of processor time is quick at the beginning of each of its periods: that is no sign. */
#define QUICK_BATCHES 16

/* A batch that is on its way for longer than this does not hold up others: it may have met a lock, or a connection
 * that is none any more. */
#define PATIENCE_MS 1000

/* A read in the queue or in a batch: on the heap, so that the thread that asked can leave. */
struct waiting {
    struct vim_call *call; /* of the thread that asked; not after it has left */
    struct read read;
    struct vim_scan scan;
    char collection[40], id[204], parent[204], after[204];
    struct waiting *next; /* in the queue */
    enum { QUEUED, RUNNING, DONE } stage;
    bool left; /* by the thread that asked: freed by the one that has it in its batch */
    pthread_cond_t changed; /* the stage is, or it may begin a batch */
    int code; /* when it is done */
    bool again; /* it failed, maybe for the sake of others only */
    struct store_error error;
};

/* A batch that is on its way; of the thread that has it. */
struct running {
    int64_t began;
    struct running *next, **at;
};

void batches_init(struct postgres_store *store)
{
    struct batches *batches = &store->batches;

    pthread_mutex_init(&batches->lock, NULL);
    batches->end = &batches->first;
    batches->most = 1;
    batches->least_ms = INT64_MAX;
}

void batches_clear(struct postgres_store *store)
{
    pthread_mutex_destroy(&store->batches.lock);
}

static const char *copy(char *text, size_t size, const char *from)
{
    size_t length = from ? strnlen(from, size - 1) : 0;

    if (!from)
        return NULL;
    memcpy(text, from, length);
    text[length] = '\0';
    return text;
}

/* NULL: no memory. */
static struct waiting *waiting_new(struct vim_call *call, const struct read *read)
{
    struct waiting *waiting = calloc(1, sizeof *waiting);
    pthread_condattr_t attributes;

    if (!waiting)
        return NULL;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&waiting->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    waiting->call = call;
    waiting->read.collection =
        copy(waiting->collection, sizeof waiting->collection, read->collection);
    waiting->read.id = copy(waiting->id, sizeof waiting->id, read->id);
    if (read->scan) {
        waiting->scan = *read->scan;
        waiting->scan.collection = waiting->read.collection;
        waiting->scan.parent = copy(waiting->parent, sizeof waiting->parent, read->scan->parent);
        waiting->scan.after = copy(waiting->after, sizeof waiting->after, read->scan->after);
        waiting->read.scan = &waiting->scan;
    }
    return waiting;
}

static void waiting_free(struct waiting *waiting)
{
    PQclear(waiting->read.result);
    pthread_cond_destroy(&waiting->changed);
    free(waiting);
}

/* --- The queue; all of it with the lock held ---------------------------------------------------- */

static void enqueue(struct batches *batches, struct waiting *waiting)
{
    waiting->next = NULL;
    *batches->end = waiting;
    batches->end = &waiting->next;
}

static struct waiting *dequeue(struct batches *batches)
{
    struct waiting *first = batches->first;

    if (first && !(batches->first = first->next))
        batches->end = &batches->first;
    return first;
}

static void leave_queue(struct batches *batches, struct waiting *waiting)
{
    struct waiting **at = &batches->first;

    while (*at != waiting)
        at = &(*at)->next;
    if (!(*at = waiting->next))
        batches->end = at;
}

/* Batches on their way that others have to wait for. */
static unsigned count_running(const struct batches *batches)
{
    int64_t now = pool_now();
    unsigned count = 0;

    for (const struct running *one = batches->running; one; one = one->next)
        count += now - one->began <= PATIENCE_MS;
    return count;
}

static bool may_begin(const struct batches *batches)
{
    return count_running(batches) < batches->most;
}

static void begin(struct batches *batches, struct running *mine)
{
    mine->began = pool_now();
    mine->at = &batches->running;
    if ((mine->next = batches->running))
        mine->next->at = &mine->next;
    batches->running = mine;
}

static void end(struct running *mine)
{
    if ((*mine->at = mine->next))
        mine->next->at = mine->at;
}

/* If another batch may begin, the first in the queue begins it. */
static void wake_first(struct batches *batches)
{
    if (batches->first && may_begin(batches))
        pthread_cond_signal(&batches->first->changed);
}

/* --- How many at once --------------------------------------------------------------------------- */

/* A batch has ended with CODE after TOOK milliseconds. Called with the lock held. */
static void adapt(struct postgres_store *store, int code, int64_t took)
{
    struct batches *batches = &store->batches;
    unsigned most = (unsigned)store->config->connections * (places_count(store) + 1);
    bool all_were_running = count_running(batches) + 1 >= batches->most;

    if (code == VIM_E_LOST || code == VIM_E_UNAVAILABLE) {
        batches->least_ms = INT64_MAX; /* it may be another server, somewhere else, the next time */
        return;
    }
    if (took < batches->least_ms)
        batches->least_ms = took;
    if (took > SLOW_MS + SLOW_TIMES * batches->least_ms) {
        batches->most /= 2;
        batches->quick = 0;
    } else if (all_were_running && ++batches->quick >= QUICK_BATCHES * batches->most) {
        batches->most++;
        batches->quick = 0;
    }
    if (batches->most > most)
        batches->most = most;
    if (batches->most < 1)
        batches->most = 1;
}

/* --- A batch ------------------------------------------------------------------------------------ */

/* BATCH has ended with CODE, and READS_FAIL_ALONE: it may have been because of one of them. */
static void hand_out(struct waiting *const *taken, const struct batch *batch, int code,
                     bool reads_fail_alone, const struct store_error *error)
{
    for (unsigned i = 0; i < batch->count; i++) {
        struct waiting *one = taken[i];

        one->stage = DONE;
        one->code = one->read.result ? VIM_OK : code;
        one->again = one->code < 0 && batch->count > 1 && reads_fail_alone;
        one->error = *error;
        if (one->left)
            waiting_free(one);
        else
            pthread_cond_signal(&one->changed);
    }
}

/* Takes along those that wait, and has them answered, on the thread of CALL. Called with the lock held, which is
 * given up meanwhile. */
static void run_batch(struct vim_call *call, struct postgres_store *store)
{
    struct batches *batches = &store->batches;
    struct waiting *taken[BATCH_MAX];
    struct batch batch = {0};
    struct store_error error = {0};
    struct running mine;
    bool out_of_time;
    int code;

    while (batch.count < BATCH_MAX && (taken[batch.count] = dequeue(batches))) {
        taken[batch.count]->stage = RUNNING;
        pool_tell_waiting(taken[batch.count]->call, store->host, false);
        batch.reads[batch.count] = &taken[batch.count]->read;
        batch.count++;
    }
    begin(batches, &mine);
    wake_first(batches);
    pthread_mutex_unlock(&batches->lock);
    code = reader_run(call, store, &batch, &error);
    out_of_time = store->host->left_ms(call) <= 0;
    if (batch.count > 1)
        store->host->count(store->self, "batched_reads_total", NULL, batch.count);
    store->host->count(store->self, "batches_total", NULL, 1);
    pthread_mutex_lock(&batches->lock);
    end(&mine);
    adapt(store, code, pool_now() - mine.began);
    hand_out(taken, &batch, code, out_of_time || batch.reached, &error);
    wake_first(batches);
}

/* Until the read is done, or no time is left; begins a batch if it is the first that waits. False: it has left.
 * Called with the lock held. */
static bool await_done(struct vim_call *call, struct postgres_store *store, struct waiting *mine)
{
    struct batches *batches = &store->batches;
    int64_t left = CANCEL_CHECK_MS;

    while (mine->stage != DONE && left > 0) {
        int64_t until = pool_now() + (left < CANCEL_CHECK_MS ? left : CANCEL_CHECK_MS);
        struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

        if (mine == batches->first && may_begin(batches)) {
            run_batch(call, store);
            continue;
        }
        if (mine->stage == QUEUED)
            pool_tell_waiting(call, store->host, true);
        pthread_cond_timedwait(&mine->changed, &batches->lock, &time);
        pthread_mutex_unlock(&batches->lock);
        left = store->host->left_ms(call);
        pthread_mutex_lock(&batches->lock);
    }
    if (mine->stage == QUEUED) {
        pool_tell_waiting(call, store->host, false);
        leave_queue(batches, mine);
        wake_first(batches);
        waiting_free(mine);
        return false;
    }
    mine->left = mine->stage == RUNNING;
    return !mine->left;
}

int batches_read(struct vim_call *call, struct postgres_store *store, struct read *read,
                 struct store_error *ret_error)
{
    struct waiting *mine = waiting_new(call, read);
    struct batch alone = {.count = 1, .reads = {read}};
    bool is_done, again = false;
    int code;

    if (!mine)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    pthread_mutex_lock(&store->batches.lock);
    enqueue(&store->batches, mine);
    is_done = await_done(call, store, mine);
    pthread_mutex_unlock(&store->batches.lock);
    if (!is_done)
        return store_error_set(ret_error, VIM_E_TIMEOUT, "no answer in time");
    code = mine->code;
    again = mine->again;
    *ret_error = mine->error;
    read->result = mine->read.result;
    mine->read.result = NULL;
    waiting_free(mine);
    return again ? reader_run(call, store, &alone, ret_error) : code;
}
