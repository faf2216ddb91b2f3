/*
 * The front of the mock cloud: counts each call, lets the fault script strike, takes its time, and
 * then carries the call out under the lock.
 *
 * Lock: `mutex` keeps the threads of this process apart, the journal's lock the processes; both are
 * held, in this order, while a call looks at the cloud or changes it, the small read and write of
 * the journal included: they are the cloud's own disk. Nothing waits under them.
 */
#include "backend.h"

#include "facts.h"
#include "page.h"
#include "rules.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counted like kinds, though no things. */
enum {
    EXTRA_RULE = KIND_COUNT,
    EXTRA_VIM,
    EXTRA_QUOTA,
    EXTRA_ZONE,
    EXTRA_HOST,
    EXTRA_CONSOLE,
    COUNTED
};
static const char *const extra_names[] = {
    "security-group-rule", "vim", "quota", "zone", "host", "console"};

/* A journal with more records than this, and than so many for each thing, is compacted: sooner when
 * it is opened than in use. */
#define COMPACT_OPENING 1000
#define COMPACT_IN_USE 10000
#define COMPACT_PER_THING 2

/* The lifetime of what vanishes, and the delay of what is slow, unless the rule says so. */
#define DEFAULT_VANISH_MS 1000
#define DEFAULT_SLOW_MS 1000
#define DEFAULT_RETRY_MS 500

struct backend {
    pthread_mutex_t mutex;
    struct backend_config config;
    struct cloud cloud;
    struct journal *journal;
    struct counters *counters;
    uint64_t requests; /* numbers the request ids of this process */
    bool expired; /* the token, until it is renewed */
};

/* One call from its beginning to its end. */
struct visit {
    struct backend *backend;
    const struct backend_caller *caller;
    struct reply *reply;
    const char *kind; /* its name; KIND_NUMBER is its number, or EXTRA_... */
    unsigned number;
    enum call call;
    const struct fault_rule *fault; /* that strikes this call, or NULL */
    int64_t now;
};

/* --- The lock --- */
static int take_record(void *context, const char *record, size_t length)
{
    return cloud_apply(context, record, length);
}

static void forget_all(void *context)
{
    cloud_clear(context);
}

static int lock_cloud(struct backend *backend)
{
    pthread_mutex_lock(&backend->mutex);
    if (journal_lock(backend->journal) != 0) {
        pthread_mutex_unlock(&backend->mutex);
        return -1;
    }
    return 0;
}

static void unlock_cloud(struct backend *backend)
{
    journal_unlock(backend->journal);
    pthread_mutex_unlock(&backend->mutex);
}

/* --- Opening --- */
static void produce(void *context, struct journal_writer *writer)
{
    cloud_produce(context, writer);
}

static int compact(struct backend *backend, uint64_t threshold)
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

static int set_up(struct backend *backend, const char *name, uint64_t seed)
{
    struct cloud *cloud = &backend->cloud;
    struct reply reply = {0};
    struct scene scene = {.cloud = cloud, .reply = &reply, .now = cloud_settle(cloud)};
    if (journal_records(backend->journal) > 0) {
        return compact(backend, COMPACT_OPENING);
    }
    snprintf(cloud->name, sizeof(cloud->name), "%s", name);
    cloud->seed = seed;
    cloud->next_seq = 1;
    cloud_begin(cloud);
    json_array_append_new(cloud->changes, json_pack("{s:s,s:I,s:I,s:I}", "cloud", cloud->name,
                                                    "seed", (json_int_t)seed, "forgotten",
                                                    (json_int_t)0, "next", (json_int_t)1));
    rules_seed(&scene);
    return cloud_commit(cloud, backend->journal);
}

int backend_open(const char *path, const char *counters_path, const char *name,
                 const struct backend_config *config, char *error, size_t error_size,
                 struct backend **ret_backend)
{
    const char *kinds[COUNTED];
    struct backend *backend = calloc(1, sizeof(*backend));
    if (backend == NULL) {
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    pthread_mutex_init(&backend->mutex, NULL);
    backend->config = *config;
    struct journal_state state = {
        .context = &backend->cloud, .apply = take_record, .reset = forget_all};
    if (journal_open(path, &state, &backend->journal) != 0) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        backend_close(backend);
        return -1;
    }
    if (lock_cloud(backend) != 0) {
        snprintf(error, error_size, "%s", journal_error(backend->journal));
        backend_close(backend);
        return -1;
    }
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        kinds[kind] = kind_name((enum kind)kind);
    }
    for (int extra = KIND_COUNT; extra < COUNTED; extra++) {
        kinds[extra] = extra_names[extra - KIND_COUNT];
    }
    int result = set_up(backend, name, config->seed);
    if (result != 0) {
        snprintf(error, error_size, "%s", journal_error(backend->journal));
    } else if ((result = counters_open(counters_path, kinds, COUNTED, &backend->counters)) != 0) {
        snprintf(error, error_size, "%s: %s", counters_path, strerror(errno));
    }
    unlock_cloud(backend);
    if (result != 0) {
        backend_close(backend);
        return -1;
    }
    *ret_backend = backend;
    return 0;
}

void backend_close(struct backend *backend)
{
    if (backend == NULL) {
        return;
    }
    cloud_clear(&backend->cloud);
    journal_close(backend->journal);
    counters_close(backend->counters);
    pthread_mutex_destroy(&backend->mutex);
    free(backend);
}

void backend_configure(struct backend *backend, const struct backend_config *config)
{
    pthread_mutex_lock(&backend->mutex);
    backend->config = *config;
    pthread_mutex_unlock(&backend->mutex);
}

/* --- Answers --- */
static int answer(struct visit *visit, int status, const char *code, const char *message)
{
    visit->reply->status = status;
    snprintf(visit->reply->code, sizeof(visit->reply->code), "%s", code);
    snprintf(visit->reply->message, sizeof(visit->reply->message), "%s", message);
    return status;
}

static int no_answer(struct visit *visit, int how, const char *message)
{
    visit->reply->request_id[0] = '\0';
    return answer(visit, how, "", message);
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
        return answer(visit, 400, "invalid", "refused by the fault script");
    case FAULT_REFUSE_403:
        return answer(visit, 403, "denied", "refused by the fault script");
    case FAULT_REFUSE_404:
        return answer(visit, 404, "not_found", "refused by the fault script");
    case FAULT_REFUSE_409:
        return answer(visit, 409, "conflict", "refused by the fault script");
    case FAULT_ERROR_500:
        return answer(visit, 500, "internal", "internal error by the fault script");
    case FAULT_RATE_LIMIT:
        visit->reply->retry_after_ms = rule->ms >= 0 ? (uint32_t)rule->ms : DEFAULT_RETRY_MS;
        return answer(visit, 429, "busy", "too many requests");
    case FAULT_UNAVAILABLE:
        return answer(visit, 503, "unavailable", "the service is down for now");
    case FAULT_LOST_BEFORE:
        return no_answer(visit, NO_ANSWER_BROKEN, "the connection broke");
    case FAULT_EXPIRED:
        visit->backend->expired = true;
        return answer(visit, 401, "expired", "the token has expired");
    default:
        return 200;
    }
}

/* Begins a call: counts it, draws its fault, takes its time, and lets a refusal strike. If the
 * result is 200 the cloud is locked and settled, and leave() follows; else the call has ended. */
static int enter(struct visit *visit)
{
    struct backend *backend = visit->backend;
    int64_t ms = 0;
    memset(visit->reply, 0, sizeof(*visit->reply));
    if (lock_cloud(backend) != 0) {
        return answer(visit, 503, "unavailable", journal_error(backend->journal));
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
            status = answer(visit, 401, "expired", "the token has expired");
        }
        if (ms > 0 || status != 200) {
            unlock_cloud(backend);
            if (!pass_time(visit, ms)) {
                return no_answer(visit, NO_ANSWER_TIMEOUT, "no answer in time");
            }
            if (status != 200) {
                return status;
            }
            if (lock_cloud(backend) != 0) {
                return answer(visit, 503, "unavailable", journal_error(backend->journal));
            }
        }
    }
    if (is_over(visit->caller)) {
        /* A process that was stopped on the way here has never sent the request, and somebody else may have made it
         * in its place. Who asks under the lock is not overtaken. */
        unlock_cloud(backend);
        return no_answer(visit, NO_ANSWER_TIMEOUT, "no answer in time");
    }
    visit->now = cloud_settle(&backend->cloud);
    return 200;
}

/* Ends a call that has come to STATUS: lets a fault take the answer away. */
static int leave(struct visit *visit, struct page *page, int status)
{
    unlock_cloud(visit->backend);
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
        return no_answer(visit, broken ? NO_ANSWER_BROKEN : NO_ANSWER_TIMEOUT,
                         broken ? "the connection broke" : "no answer in time");
    }
    return status;
}

static int begin(struct visit *visit, const char *kind)
{
    int number = strcmp(kind, "security-group-rule") == 0 ? EXTRA_RULE : kind_find(kind);
    if (number < 0) {
        memset(visit->reply, 0, sizeof(*visit->reply));
        return answer(visit, 400, "invalid", "there is no such kind");
    }
    visit->kind = kind;
    visit->number = (unsigned)number;
    return enter(visit);
}

/* The circumstances of a change. NAME is what its latencies are drawn for. */
static struct scene scene_of(struct visit *visit, const char *name)
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

/* Commits the transaction if STATUS is good. Returns the final status. */
static int conclude(struct visit *visit, int status)
{
    struct backend *backend = visit->backend;
    if (status >= 300) {
        cloud_abandon(&backend->cloud);
        return status;
    }
    if (cloud_commit(&backend->cloud, backend->journal) != 0) {
        return answer(visit, 503, "unavailable", journal_error(backend->journal));
    }
    /* If that fails the old journal stays in use, and the next call tries again. */
    (void)compact(backend, COMPACT_IN_USE);
    return status;
}

static int show(struct visit *visit, struct page *page, enum kind kind, const char *id)
{
    const struct thing *thing = cloud_find(&visit->backend->cloud, kind, id);
    if (thing == NULL) {
        return answer(visit, 404, "not_found", "it does not exist");
    }
    page_add_thing(page, thing, visit->now);
    return 200;
}

/* --- Calls --- */
static bool has_tag(const struct thing *thing, const char *tag)
{
    size_t length = strlen(tag);
    return thing->tag != NULL && strncmp(thing->tag, tag, length) == 0 &&
           (thing->tag[length] == '\0' || thing->tag[length] == '/');
}

static bool is_of(const struct thing *thing, const char *id)
{
    return (thing->network != NULL && strcmp(thing->network, id) == 0) ||
           (thing->server != NULL && strcmp(thing->server, id) == 0) ||
           (thing->kind == KIND_ROUTER && strstr(thing->fields, id) != NULL);
}

static void add_traces(struct page *page, const struct cloud *cloud, enum kind kind, int64_t since)
{
    for (size_t i = cloud->trace_used; i > 0 && cloud->traces[i - 1].gone >= since; i--) {
        /* A keypair may have been made again under its name: then it is there. */
        if (cloud->traces[i - 1].kind == kind &&
            cloud_find(cloud, kind, cloud->traces[i - 1].id) == NULL) {
            page_add_gone(page, cloud->traces[i - 1].id);
        }
    }
}

static int fill_page(struct visit *visit, const struct backend_query *query, struct page *page)
{
    struct cloud *cloud = &visit->backend->cloud;
    size_t limit = visit->backend->config.page_limit;
    uint64_t marker = query->marker;
    const struct thing *thing;
    enum kind kind = (enum kind)visit->number;
    if (query->limit > 0 && query->limit < limit) {
        limit = query->limit;
    }
    if (query->since > 0 && query->since < cloud->forgotten) {
        return answer(visit, 400, "invalid", "changes since so long ago are not known any more");
    }
    if (query->since > 0 && marker == 0) {
        add_traces(page, cloud, kind, query->since);
    }
    size_t room = page->count + limit;
    while ((thing = cloud_next(cloud, kind, marker)) != NULL) {
        bool wanted = (query->since == 0 || thing_changed(thing, visit->now) >= query->since) &&
                      (query->tag == NULL || has_tag(thing, query->tag)) &&
                      (query->of == NULL || is_of(thing, query->of));
        if (wanted && page->count == room) {
            page->more = marker;
            break;
        }
        marker = thing->seq;
        if (wanted) {
            page_add_thing(page, thing, visit->now);
        }
    }
    return 200;
}

int backend_list(struct backend *backend, const struct backend_caller *caller,
                 const struct backend_query *query, struct page *page, struct reply *reply)
{
    struct visit visit = {.backend = backend,
                          .caller = caller,
                          .reply = reply,
                          .call = query->since > 0 ? CALL_CHANGES : CALL_LIST};
    if (begin(&visit, query->kind) != 200) {
        return reply->status;
    }
    int status = fill_page(&visit, query, page);
    status = leave(&visit, page, status);
    if (status == 200 && visit.fault != NULL && visit.fault->fault == FAULT_TRUNCATE) {
        page->count /= 2;
        return no_answer(&visit, NO_ANSWER_BROKEN, "the connection broke within the list");
    }
    return status;
}

int backend_get(struct backend *backend, const struct backend_caller *caller, const char *kind,
                const char *id, struct page *page, struct reply *reply)
{
    struct visit visit = {.backend = backend, .caller = caller, .reply = reply, .call = CALL_GET};
    if (begin(&visit, kind) != 200) {
        return reply->status;
    }
    return leave(&visit, page, show(&visit, page, (enum kind)visit.number, id));
}

static int check_quota(struct visit *visit)
{
    const struct backend *backend = visit->backend;
    if (visit->caller->outside || visit->number >= KIND_COUNT ||
        backend->config.quotas[visit->number] < 0 ||
        (int64_t)backend->cloud.live[visit->number] < backend->config.quotas[visit->number]) {
        return 200;
    }
    return answer(visit, 403, "quota", "the quota is exhausted");
}

int backend_create(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   json_t *spec, const char *tag, struct page *page, struct reply *reply)
{
    struct visit visit = {
        .backend = backend, .caller = caller, .reply = reply, .call = CALL_CREATE};
    char id[256];
    if (begin(&visit, kind) != 200) {
        return reply->status;
    }
    struct scene scene = scene_of(&visit, "build");
    cloud_begin(&backend->cloud);
    int status = check_fields(&scene, kind, spec, false);
    if (status == 200) {
        status = check_quota(&visit);
    }
    if (status == 200) {
        status = visit.number == EXTRA_RULE
                     ? rules_create_rule(&scene, spec, id)
                     : rules_create(&scene, (enum kind)visit.number, spec, tag, id);
    }
    status = conclude(&visit, status);
    if (status < 300) {
        (void)show(&visit, page,
                   visit.number == EXTRA_RULE ? KIND_SECURITY_GROUP : (enum kind)visit.number, id);
    }
    return leave(&visit, page, status);
}

/* What update, delete, action and upload share: they change one thing that is there. */
struct alteration {
    const char *kind;
    const char *id;
    enum call call;
    const char *action;
    json_t *fields;
    const char *tag;
    int64_t size;
    const char *checksum;
};

static int alter_thing(struct scene *scene, struct thing *thing, const struct alteration *what)
{
    switch (what->call) {
    case CALL_UPDATE:
        if (thing->leaving) {
            return refuse(scene, 409, "conflict", "it is being deleted");
        }
        return check_fields(scene, what->kind, what->fields, true) == 200
                   ? rules_update(scene, thing, what->fields)
                   : scene->reply->status;
    case CALL_DELETE:
        return rules_delete(scene, thing);
    case CALL_ACTION:
        return rules_action(scene, thing, what->action, what->fields, what->tag);
    default:
        return rules_upload(scene, thing, what->size, what->checksum);
    }
}

static int alter(struct backend *backend, const struct backend_caller *caller,
                 const struct alteration *what, struct page *page, struct reply *reply)
{
    struct visit visit = {.backend = backend, .caller = caller, .reply = reply, .call = what->call};
    if (begin(&visit, what->kind) != 200) {
        return reply->status;
    }
    struct scene scene = scene_of(&visit, call_name(what->call));
    struct thing *thing = visit.number < KIND_COUNT
                              ? cloud_find(&backend->cloud, (enum kind)visit.number, what->id)
                              : NULL;
    if (thing == NULL) {
        return leave(&visit, page, answer(&visit, 404, "not_found", "it does not exist"));
    }
    cloud_begin(&backend->cloud);
    int status = conclude(&visit, alter_thing(&scene, thing, what));
    if (status < 300 && page != NULL) {
        (void)show(&visit, page, (enum kind)visit.number, what->id);
    }
    return leave(&visit, page, status);
}

int backend_update(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, json_t *fields, struct page *page, struct reply *reply)
{
    struct alteration what = {.kind = kind, .id = id, .call = CALL_UPDATE, .fields = fields};
    return alter(backend, caller, &what, page, reply);
}

int backend_delete(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, struct reply *reply)
{
    struct alteration what = {.kind = kind, .id = id, .call = CALL_DELETE};
    return alter(backend, caller, &what, NULL, reply);
}

int backend_action(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   const char *id, const char *action, json_t *arguments, const char *tag,
                   struct page *page, struct reply *reply)
{
    struct alteration what = {.kind = kind,
                              .id = id,
                              .call = CALL_ACTION,
                              .action = action,
                              .fields = arguments,
                              .tag = tag};
    return alter(backend, caller, &what, page, reply);
}

int backend_upload(struct backend *backend, const struct backend_caller *caller, const char *id,
                   int64_t size, const char *checksum, struct page *page, struct reply *reply)
{
    struct alteration what = {
        .kind = "image", .id = id, .call = CALL_UPLOAD, .size = size, .checksum = checksum};
    return alter(backend, caller, &what, page, reply);
}

int backend_look(struct backend *backend, const struct backend_caller *caller, const char *what,
                 const char *id, struct page *page, struct reply *reply)
{
    unsigned number = EXTRA_QUOTA;
    while (number < EXTRA_CONSOLE && strcmp(what, extra_names[number - KIND_COUNT]) != 0) {
        number++;
    }
    struct visit visit = {.backend = backend,
                          .caller = caller,
                          .reply = reply,
                          .kind = what,
                          .number = number,
                          .call = number == EXTRA_CONSOLE ? CALL_GET : CALL_LIST};
    if (enter(&visit) != 200) {
        return reply->status;
    }
    struct scene scene = scene_of(&visit, what);
    int status = 200;
    if (number == EXTRA_QUOTA) {
        facts_quotas(&backend->cloud, &backend->config, page);
    } else if (number == EXTRA_ZONE) {
        facts_zones(&scene, page);
    } else if (number == EXTRA_HOST) {
        facts_hosts(&scene, page);
    } else {
        status = facts_console(&scene, id, page);
    }
    return leave(&visit, page, status);
}

int backend_hello(struct backend *backend, const struct backend_caller *caller, struct reply *reply)
{
    struct visit visit = {.backend = backend,
                          .caller = caller,
                          .reply = reply,
                          .kind = "vim",
                          .number = EXTRA_VIM,
                          .call = CALL_GET};
    if (enter(&visit) != 200) {
        return reply->status;
    }
    backend->expired = false;
    return leave(&visit, NULL, 200);
}

/* --- For the command line tool --- */
static size_t count_tag(const struct cloud *cloud, const struct thing *thing)
{
    size_t count = 0;
    uint64_t at = 0;
    const struct thing *other;
    while ((other = cloud_next(cloud, thing->kind, at)) != NULL) {
        at = other->seq;
        count += other->tag != NULL && strcmp(other->tag, thing->tag) == 0;
    }
    return count;
}

size_t backend_orphans(struct backend *backend, struct text *text)
{
    size_t count = 0;
    if (lock_cloud(backend) != 0) {
        return 0;
    }
    struct cloud *cloud = &backend->cloud;
    (void)cloud_settle(cloud);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        uint64_t at = 0;
        const struct thing *thing;
        while ((thing = cloud_next(cloud, (enum kind)kind, at)) != NULL) {
            at = thing->seq;
            const char *why = NULL;
            if (thing->tag != NULL && count_tag(cloud, thing) > 1) {
                why = "made more than once";
            } else if (thing->owned && thing->server == NULL) {
                why = "made for a server that was not made";
            } else if (thing->server != NULL &&
                       cloud_find(cloud, KIND_SERVER, thing->server) == NULL) {
                why = "its server has gone";
            }
            if (why != NULL) {
                text_addf(text, "{\"kind\":\"%s\",\"id\":", kind_name(thing->kind));
                text_add_json(text, thing->id);
                text_addf(text, ",\"tag\":");
                text_add_json(text, thing->tag ? thing->tag : "");
                text_addf(text, ",\"why\":\"%s\"}\n", why);
                count++;
            }
        }
    }
    unlock_cloud(backend);
    return count;
}
