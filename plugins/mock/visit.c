/*
 * Lock: `mutex` keeps the threads of this process apart, the journal's lock the processes; both are
 * held, in this order, while a call looks at the cloud or changes it, the small read and write of
 * the journal included: they are the cloud's own disk. Nothing waits under them.
 */
#include "visit.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* A journal in use with more records than this, and than so many for each thing, is compacted. */
#define COMPACT_IN_USE 10000
#define COMPACT_PER_THING 2

/* The lifetime of what vanishes, and the delay of what is slow, unless the rule says so. */
#define DEFAULT_VANISH_MS 1000
#define DEFAULT_SLOW_MS 1000
#define DEFAULT_RETRY_MS 500

/* --- The lock --- */
int visit_lock(struct backend *backend)
{
    pthread_mutex_lock(&backend->mutex);
    if (journal_lock(backend->journal) != 0) {
        pthread_mutex_unlock(&backend->mutex);
        return -1;
    }
    return 0;
}

void visit_unlock(struct backend *backend)
{
    journal_unlock(backend->journal);
    pthread_mutex_unlock(&backend->mutex);
}

static void produce(void *context, struct journal_writer *writer)
{
    cloud_produce(context, writer);
}

int visit_compact(struct backend *backend, uint64_t threshold)
{
    size_t things = backend->cloud.trace_used;
    if (journal_records(backend->journal) <= threshold) {
        return 0;
    }
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        things += backend->cloud.live[kind];
    }
    return journal_records(backend->journal) > COMPACT_PER_THING * things
               ? journal_replace(backend->journal, produce)
               : 0;
}

/* --- Answers --- */
int visit_answer(struct visit *visit, int status, const char *code, const char *message)
{
    visit->reply->status = status;
    snprintf(visit->reply->code, sizeof(visit->reply->code), "%s", code);
    snprintf(visit->reply->message, sizeof(visit->reply->message), "%s", message);
    return status;
}

int visit_no_answer(struct visit *visit, int how, const char *message)
{
    visit->reply->request_id[0] = '\0';
    return visit_answer(visit, how, "", message);
}

/* --- The way in --- */

static bool is_over(const struct backend_caller *caller)
{
    return caller->left_ms != NULL && caller->left_ms(caller->context) <= 0;
}

/* Takes its time. Returns false if the caller's patience ended before. */
static bool pass_time(const struct visit *visit, int64_t ms)
{
    while (ms > 0) {
        int64_t nap = ms < 20 ? ms : 20;
        if (is_over(visit->caller)) {
            return false;
        }
        (void)poll(NULL, 0, (int)nap);
        ms -= nap;
    }
    return true;
}

static int strike(struct visit *visit)
{
    const struct fault_rule *rule = visit->fault;
    switch (rule ? rule->fault : FAULT_NONE) {
    case FAULT_REFUSE_400:
        return visit_answer(visit, 400, "invalid", "refused by the fault script");
    case FAULT_REFUSE_403:
        return visit_answer(visit, 403, "denied", "refused by the fault script");
    case FAULT_REFUSE_404:
        return visit_answer(visit, 404, "not_found", "refused by the fault script");
    case FAULT_REFUSE_409:
        return visit_answer(visit, 409, "conflict", "refused by the fault script");
    case FAULT_ERROR_500:
        return visit_answer(visit, 500, "internal", "internal error by the fault script");
    case FAULT_RATE_LIMIT:
        visit->reply->retry_after_ms = rule->ms >= 0 ? (uint32_t)rule->ms : DEFAULT_RETRY_MS;
        return visit_answer(visit, 429, "busy", "too many requests");
    case FAULT_UNAVAILABLE:
        return visit_answer(visit, 503, "unavailable", "the service is down for now");
    case FAULT_LOST_BEFORE:
        return visit_no_answer(visit, NO_ANSWER_BROKEN, "the connection broke");
    case FAULT_EXPIRED:
        visit->backend->expired = true;
        return visit_answer(visit, 401, "expired", "the token has expired");
    default:
        return 200;
    }
}

int visit_enter(struct visit *visit)
{
    struct backend *backend = visit->backend;
    int64_t ms = 0;
    memset(visit->reply, 0, sizeof(*visit->reply));
    if (visit_lock(backend) != 0) {
        return visit_answer(visit, 503, "unavailable", journal_error(backend->journal));
    }
    if (!visit->caller->outside) {
        uint64_t number = counters_call(backend->counters, visit->number, visit->call);
        visit->fault =
            fault_draw(backend->config.faults, backend->config.fault_count, backend->config.seed,
                       call_name(visit->call), visit->kind, number);
        if (visit->fault != NULL) {
            (void)counters_fault(backend->counters, visit->fault->fault);
        }
        snprintf(visit->reply->request_id, sizeof(visit->reply->request_id), "req-%s-%s-%llu",
                 visit->kind, call_name(visit->call), (unsigned long long)number);
        ms = backend->config.call_ms;
        if (visit->fault != NULL && visit->fault->fault == FAULT_SLOW) {
            ms += visit->fault->ms >= 0 ? visit->fault->ms : DEFAULT_SLOW_MS;
        }
        int status = strike(visit);
        bool known = visit->number != EXTRA_VIM && backend->expired;
        if (status == 200 && known) {
            status = visit_answer(visit, 401, "expired", "the token has expired");
        }
        if (ms > 0 || status != 200) {
            visit_unlock(backend);
            if (!pass_time(visit, ms)) {
                return visit_no_answer(visit, NO_ANSWER_TIMEOUT, "no answer in time");
            }
            if (status != 200) {
                return status;
            }
            if (visit_lock(backend) != 0) {
                return visit_answer(visit, 503, "unavailable", journal_error(backend->journal));
            }
        }
    }
    if (is_over(visit->caller)) {
        /* A process that was stopped on the way here has never sent the request, and somebody else may have made it
         * in its place. Who asks under the lock is not overtaken. */
        visit_unlock(backend);
        return visit_no_answer(visit, NO_ANSWER_TIMEOUT, "no answer in time");
    }
    visit->now = cloud_settle(&backend->cloud);
    return 200;
}

int visit_leave(struct visit *visit, struct page *page, int status)
{
    visit_unlock(visit->backend);
    visit->reply->status = status;
    if (page != NULL) {
        page->time = visit->now;
        page_finish(page);
    }
    enum fault fault = visit->fault ? visit->fault->fault : FAULT_NONE;
    if (fault == FAULT_LOST || fault == FAULT_TIMEOUT) {
        if (page != NULL) {
            page_free(page);
        }
        bool broken = fault == FAULT_LOST;
        return visit_no_answer(visit, broken ? NO_ANSWER_BROKEN : NO_ANSWER_TIMEOUT,
                               broken ? "the connection broke" : "no answer in time");
    }
    return status;
}

int visit_begin(struct visit *visit, const char *kind)
{
    int number = strcmp(kind, "security-group-rule") == 0 ? EXTRA_RULE : kind_find(kind);
    if (number < 0) {
        memset(visit->reply, 0, sizeof(*visit->reply));
        return visit_answer(visit, 400, "invalid", "there is no such kind");
    }
    visit->kind = kind;
    visit->number = (unsigned)number;
    return visit_enter(visit);
}

struct scene visit_scene(struct visit *visit, const char *name)
{
    const struct backend_config *config = &visit->backend->config;
    struct scene scene = {
        .cloud = &visit->backend->cloud, .reply = visit->reply, .now = visit->now};
    enum fault fault = visit->fault ? visit->fault->fault : FAULT_NONE;
    if (visit->caller->outside) {
        return scene;
    }
    scene.config = config;
    scene.build_ms = chance_latency(
        config->distribution, visit->number == KIND_NETWORK ? config->network_ms : config->build_ms,
        chance_uniform(config->seed, name, visit->backend->cloud.next_seq));
    scene.delete_ms =
        chance_latency(config->distribution, config->delete_ms,
                       chance_uniform(config->seed, name, visit->backend->cloud.next_seq + 1));
    if (fault == FAULT_STUCK) {
        scene.build_ms = NEVER;
    } else if (fault == FAULT_ERROR_BUILD) {
        scene.error_build = true;
    } else if (fault == FAULT_VANISH) {
        scene.vanish_ms = visit->fault->ms > 0 ? visit->fault->ms : DEFAULT_VANISH_MS;
    }
    return scene;
}

int visit_conclude(struct visit *visit, int status)
{
    struct backend *backend = visit->backend;
    if (status >= 300) {
        cloud_abandon(&backend->cloud);
        return status;
    }
    if (cloud_commit(&backend->cloud, backend->journal) != 0) {
        return visit_answer(visit, 503, "unavailable", journal_error(backend->journal));
    }
    /* If that fails the old journal stays in use, and the next call tries again. */
    (void)visit_compact(backend, COMPACT_IN_USE);
    return status;
}
