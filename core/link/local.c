/*
 * The link inside one process: a function call, on the caller's thread if it cannot block, else on
 * one of the link's own threads. Searches have threads for themselves, and fewer: they are many times the
 * work of other requests, which are not to wait behind them; and of those that are begun at the same time
 * each takes the longer the more there are. So have other processes of the service: without their heartbeats
 * one would be taken for dead just because it has much to do, and all its requests wait for a token's owner. They are few,
 * each has much that waits for it, and a process that is kept from running is late with all of them: so none of those is
 * refused because it has waited.
 */
#include "link/ops.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/integral.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/thread.h"

#define LOCAL_MAGIC 0x6c6e6b31u
#define PEERS_THREADS 2
#define SEARCHES_MIN 4

/* Threads, and those that wait for one. */
struct local_queue {
    struct pool *pool;
    atomic_int_fast64_t waited_ms; /* by the one that got a thread last; 0: nobody was behind it */
};

struct local {
    struct link link;
    unsigned magic;
    struct logic *logic;
    struct local_queue requests, searches, peers;
    int64_t wait_ms; /* the longest that a request is to wait for a thread */
    struct metric *refused, *threads;
    unsigned thread_count;
};

struct local_job {
    struct local *local;
    struct local_queue *queue;
    int64_t posted_us; /* monotonic */
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
};

static struct local *local_of(struct link *link)
{
    struct local *local = (struct local *)link;
    assert(local->magic == LOCAL_MAGIC);
    return local;
}

static void local_close(struct local *local)
{
    pool_close(local->requests.pool);
    pool_close(local->searches.pool);
    pool_close(local->peers.pool);
    local->magic = 0;
    free(local);
}

static void local_free(struct link *link)
{
    struct local *local = local_of(link);
    metric_add(local->threads, -(double)local->thread_count);
    local_close(local);
}

static void local_route(struct link *link, const char *method, const char *path,
                        struct logic_route_info *ret_info)
{
    logic_route(local_of(link)->logic, method, path, ret_info);
}

static bool local_is_inline(struct link *link, const struct request *request)
{
    return logic_is_inline(local_of(link)->logic, request);
}

static void local_refuse(struct local *local, const struct request *request,
                         logic_respond_fn respond, void *argument)
{
    struct response response = {0};
    metric_add(local->refused, 1);
    logic_problem(503, "overloaded", "more requests are waiting than this service takes",
                  request->request_id, true, 1000, &response);
    response.refused = true;
    respond(argument, &response);
    free(response.body);
}

/* What peers ask for themselves is no work that clients brought, and is not counted. */
static void local_end_wait(const struct request *request, int64_t now_us)
{
    if (!request->peer) {
        integral_end(QUEUED_LOGIC, now_us);
    }
}

/* Who has waited for too long is not worth the work any more: those behind it come sooner. */
static void local_run(void *argument)
{
    struct local_job job = *(struct local_job *)argument;
    int64_t now_us = clock_mono_us(), waited = (now_us - job.posted_us) / 1000;
    free(argument);
    atomic_store_explicit(&job.queue->waited_ms,
                          pool_stats(job.queue->pool).queued > 0 ? waited : 0,
                          memory_order_relaxed);
    local_end_wait(job.request, now_us);
    if (waited > job.local->wait_ms && !job.request->peer) {
        local_refuse(job.local, job.request, job.respond, job.argument);
        return;
    }
    logic_handle(job.local->logic, job.request, job.respond, job.argument);
}

/* Would one that comes now wait for long? As those do that come to their turn now, if any is behind
 * them. */
static bool local_is_full(struct local *local, struct local_queue *queue)
{
    return atomic_load_explicit(&queue->waited_ms, memory_order_relaxed) > local->wait_ms / 2 &&
           pool_stats(queue->pool).queued > 0;
}

static void local_call(struct link *link, const struct request *request, logic_respond_fn respond,
                       void *argument)
{
    struct local *local = local_of(link);
    if (logic_is_inline(local->logic, request)) {
        logic_handle(local->logic, request, respond, argument);
        return;
    }
    struct local_job *job = MEMORY_NEW(struct local_job);
    struct local_queue *queue = request->peer                            ? &local->peers
                                : logic_is_search(local->logic, request) ? &local->searches
                                                                         : &local->requests;
    *job = (struct local_job){local, queue, clock_mono_us(), request, respond, argument};
    if (!request->peer) {
        integral_begin(QUEUED_LOGIC, job->posted_us);
    }
    if ((local_is_full(local, queue) && !request->peer) || pool_post(queue->pool, local_run, job)) {
        free(job);
        local_end_wait(request, clock_mono_us());
        local_refuse(local, request, respond, argument);
    }
}

static void local_end_waits(struct link *link, bool all)
{
    logic_end_waits(local_of(link)->logic, all);
}

struct local_look_up {
    struct logic *logic;
    link_principal_fn complete;
    void *argument;
    char token[];
};

static void local_look_up(void *argument)
{
    struct local_look_up *look_up = argument;
    struct principal principal = {0};
    struct failure failure = {0};
    int code = logic_authenticate(look_up->logic, look_up->token, &principal, &failure);
    look_up->complete(look_up->argument, code, &principal, &failure);
    explicit_bzero(look_up->token, strlen(look_up->token));
    free(look_up);
}

static void local_authenticate(struct link *link, const char *token, link_principal_fn complete,
                               void *argument)
{
    size_t length = strlen(token);
    struct local_look_up *look_up = memory_new(sizeof *look_up + length + 1);
    *look_up = (struct local_look_up){local_of(link)->logic, complete, argument};
    memcpy(look_up->token, token, length + 1);
    if (logic_is_cheap(local_of(link)->logic)) {
        local_look_up(look_up);
    } else if (pool_post(local_of(link)->peers.pool, local_look_up, look_up)) {
        explicit_bzero(look_up->token, length);
        free(look_up);
        struct failure failure = {0};
        int code = failure_set(&failure, VIM_E_UNAVAILABLE, "too many requests are waiting");
        complete(argument, code, NULL, &failure);
    }
}

static const struct link_ops local_ops = {
    .free = local_free,
    .route = local_route,
    .is_inline = local_is_inline,
    .call = local_call,
    .end_waits = local_end_waits,
    .authenticate = local_authenticate,
};

/* Threads that wait for the store do no work: many of them are fine. A search is work all the time. */
static unsigned searching(unsigned threads)
{
    unsigned half = (threads + 1) / 2;
    return half < SEARCHES_MIN ? half : threads / 8 < SEARCHES_MIN ? SEARCHES_MIN : threads / 8;
}

int link_new_local(struct logic *logic, unsigned threads, unsigned queue_max, int64_t wait_ms,
                   struct link **ret_link)
{
    struct local *local = MEMORY_NEW(struct local);
    int code = pool_open("link", threads, queue_max, &local->requests.pool);
    code = code ? code : pool_open("search", searching(threads), queue_max, &local->searches.pool);
    code = code ? code : pool_open("peers", PEERS_THREADS, queue_max, &local->peers.pool);
    if (code) {
        local_close(local);
        return code;
    }
    local->link.ops = &local_ops;
    local->magic = LOCAL_MAGIC;
    local->logic = logic;
    local->wait_ms = wait_ms;
    local->refused = metrics_counter("vimd_link_refused_total",
                                     "Requests refused as too many waited for a thread.", NULL);
    local->threads =
        metrics_gauge("vimd_link_threads", "Threads for requests that may block.", NULL);
    local->thread_count = threads;
    metric_add(local->threads, threads);
    *ret_link = &local->link;
    return VIM_OK;
}
