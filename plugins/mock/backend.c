/*
 * The front of the mock cloud: its calls, each a visit (visit.h), and its opening.
 */
#include "backend.h"

#include "facts.h"
#include "visit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const extra_names[] = {
    "security-group-rule", "vim", "quota", "zone", "host", "console"};

/* A journal with more records than this is compacted when it is opened: sooner than in use. */
#define COMPACT_OPENING 1000

/* --- Opening --- */
static int take_record(void *context, const char *record, size_t length)
{
    return cloud_apply(context, record, length);
}

static void forget_all(void *context)
{
    cloud_clear(context);
}

static int set_up(struct backend *backend, const char *name, uint64_t seed)
{
    struct cloud *cloud = &backend->cloud;
    struct reply reply = {0};
    struct scene scene = {.cloud = cloud, .reply = &reply, .now = cloud_settle(cloud)};
    if (journal_records(backend->journal) > 0) {
        return visit_compact(backend, COMPACT_OPENING);
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
    if (visit_lock(backend) != 0) {
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
    visit_unlock(backend);
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

static int show(struct visit *visit, struct page *page, enum kind kind, const char *id)
{
    const struct thing *thing = cloud_find(&visit->backend->cloud, kind, id);
    if (thing == NULL) {
        return visit_answer(visit, 404, "not_found", "it does not exist");
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
        return visit_answer(visit, 400, "invalid",
                            "changes since so long ago are not known any more");
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
    if (visit_begin(&visit, query->kind) != 200) {
        return reply->status;
    }
    int status = fill_page(&visit, query, page);
    status = visit_leave(&visit, page, status);
    if (status == 200 && visit.fault != NULL && visit.fault->fault == FAULT_TRUNCATE) {
        page->count /= 2;
        return visit_no_answer(&visit, NO_ANSWER_BROKEN, "the connection broke within the list");
    }
    return status;
}

int backend_get(struct backend *backend, const struct backend_caller *caller, const char *kind,
                const char *id, struct page *page, struct reply *reply)
{
    struct visit visit = {.backend = backend, .caller = caller, .reply = reply, .call = CALL_GET};
    if (visit_begin(&visit, kind) != 200) {
        return reply->status;
    }
    return visit_leave(&visit, page, show(&visit, page, (enum kind)visit.number, id));
}

static int check_quota(struct visit *visit)
{
    const struct backend *backend = visit->backend;
    if (visit->caller->outside || visit->number >= KIND_COUNT ||
        backend->config.quotas[visit->number] < 0 ||
        (int64_t)backend->cloud.live[visit->number] < backend->config.quotas[visit->number]) {
        return 200;
    }
    return visit_answer(visit, 403, "quota", "the quota is exhausted");
}

int backend_create(struct backend *backend, const struct backend_caller *caller, const char *kind,
                   json_t *spec, const char *tag, struct page *page, struct reply *reply)
{
    struct visit visit = {
        .backend = backend, .caller = caller, .reply = reply, .call = CALL_CREATE};
    char id[256];
    if (visit_begin(&visit, kind) != 200) {
        return reply->status;
    }
    struct scene scene = visit_scene(&visit, "build");
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
    status = visit_conclude(&visit, status);
    if (status < 300) {
        (void)show(&visit, page,
                   visit.number == EXTRA_RULE ? KIND_SECURITY_GROUP : (enum kind)visit.number, id);
    }
    return visit_leave(&visit, page, status);
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
    if (visit_begin(&visit, what->kind) != 200) {
        return reply->status;
    }
    struct scene scene = visit_scene(&visit, call_name(what->call));
    struct thing *thing = visit.number < KIND_COUNT
                              ? cloud_find(&backend->cloud, (enum kind)visit.number, what->id)
                              : NULL;
    if (thing == NULL) {
        return visit_leave(&visit, page,
                           visit_answer(&visit, 404, "not_found", "it does not exist"));
    }
    cloud_begin(&backend->cloud);
    int status = visit_conclude(&visit, alter_thing(&scene, thing, what));
    if (status < 300 && page != NULL) {
        (void)show(&visit, page, (enum kind)visit.number, what->id);
    }
    return visit_leave(&visit, page, status);
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
    if (visit_enter(&visit) != 200) {
        return reply->status;
    }
    struct scene scene = visit_scene(&visit, what);
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
    return visit_leave(&visit, page, status);
}

int backend_hello(struct backend *backend, const struct backend_caller *caller, struct reply *reply)
{
    struct visit visit = {.backend = backend,
                          .caller = caller,
                          .reply = reply,
                          .kind = "vim",
                          .number = EXTRA_VIM,
                          .call = CALL_GET};
    if (visit_enter(&visit) != 200) {
        return reply->status;
    }
    backend->expired = false;
    return visit_leave(&visit, NULL, 200);
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
    if (visit_lock(backend) != 0) {
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
    visit_unlock(backend);
    return count;
}
