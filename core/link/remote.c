/*
 * The link to the logic in other processes: the object, its two threads, and the way in.
 *
 * Locks: `mutex` guards inbox and addresses; a leaf.
 */
#include "link/remote.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "link/tls.h"
#include "logic/peers.h"
#include "logic/principal.h"

#define REMOTE_MAGIC 0x6c6e6b32u
#define EVENTS 64
/* Between looks at deadlines. */
#define TICK_MS 20
/* The answer to a client about time is the logic's, if it comes. */
#define GRACE_MS 500
#define AUTHENTICATE_MS 4000
/* The part of queue_wait that closes the queue to more. All of it is for a time in which there is nobody
 * to ask: a restart, say. */
#define LONG_SHARE 4

static struct remote *remote_of(struct link *link)
{
    struct remote *remote = (struct remote *)link;
    assert(remote->magic == REMOTE_MAGIC);
    return remote;
}

int64_t remote_live(const atomic_int_fast64_t *option)
{
    return atomic_load_explicit(option, memory_order_relaxed);
}

static void remote_wake(struct remote *remote)
{
    if (!atomic_exchange(&remote->woken, true)) {
        eventfd_write(remote->wake, 1);
    }
}

/* --- The thread -------------------------------------------------------------------------------- */

static void remote_take_inbox(struct remote *remote)
{
    pthread_mutex_lock(&remote->mutex);
    struct flight *flight = TAKE(remote->inbox);
    remote->inbox_end = &remote->inbox;
    bool changed = remote->known_changed;
    struct keys *keys = TAKE(remote->new_keys);
    pthread_mutex_unlock(&remote->mutex);
    if (keys) {
        keys->older = remote->keys;
        remote->keys = keys;
    }
    if (changed) {
        replicas_update(remote);
    }
    while (flight) {
        struct flight *next = flight->next;
        atomic_fetch_sub(&remote->queued, 1);
        flight_start(remote, flight);
        flight = next;
    }
}

static void remote_events(struct remote *remote)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(remote->epoll, events, EVENTS, TICK_MS);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) {
            wire_event(remote, events[i].data.ptr, events[i].events);
        } else {
            eventfd_t value;
            eventfd_read(remote->wake, &value);
            atomic_store(&remote->woken, false);
        }
    }
    wires_bury(remote);
}

static void *remote_run(void *argument)
{
    struct remote *remote = argument;
    int64_t last = 0;
    for (bool stop = false; !stop;) {
        remote_events(remote);
        remote_take_inbox(remote);
        int64_t now = clock_mono_ms();
        bool all = atomic_load(&remote->all_end);
        if (all || atomic_exchange(&remote->some_end, false)) {
            flights_end_waits(remote, all);
        }
        if (now - last >= TICK_MS) {
            last = now;
            wires_tick(remote, now);
            flights_tick(remote, now);
            replicas_tick(remote, now);
        }
        if (remote->try_queue) {
            flights_dequeue(remote);
        }
        pthread_mutex_lock(&remote->mutex);
        stop = remote->stop;
        pthread_mutex_unlock(&remote->mutex);
    }
    remote_take_inbox(remote);
    flights_abandon(remote);
    replicas_free(remote);
    wires_bury(remote);
    return NULL;
}

/* --- Names ------------------------------------------------------------------------------------- */

static void remote_resolve(struct remote *remote, char **names, size_t count)
{
    struct addresses found = {0};
    bool complete = true;
    for (size_t i = 0; i < count; i++) {
        complete &= addresses_resolve(&found, names[i]);
    }
    LOCK_GUARD(&remote->mutex);
    struct addresses *known = &remote->known[SOURCE_CONFIG];
    /* A resolver that fails takes away nothing. */
    for (size_t i = 0; !complete && i < known->count; i++) {
        addresses_add(&found, &known->items[i]);
    }
    addresses_free(known);
    *known = found;
    remote->known_changed = true;
}

static char **names_copy(char *const *names, size_t count)
{
    char **copy = memory_new_array(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text_duplicate(names[i]);
    }
    return copy;
}

static void names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
}

/* The resolver may take its time, so it has a thread of its own. */
static void *remote_names(void *argument)
{
    struct remote *remote = argument;
    pthread_mutex_lock(&remote->mutex);
    while (!remote->stop) {
        size_t count = remote->name_count;
        char **names = names_copy(remote->names, count);
        pthread_mutex_unlock(&remote->mutex);
        remote_resolve(remote, names, count);
        remote_wake(remote);
        names_free(names, count);
        int64_t due = clock_mono_ms() + remote_live(&remote->live.refresh_ms);
        pthread_mutex_lock(&remote->mutex);
        if (!remote->stop) {
            clock_cond_wait_until(&remote->names_cond, &remote->mutex, due);
        }
    }
    pthread_mutex_unlock(&remote->mutex);
    return NULL;
}

void link_set_replicas(struct link *link, const char *const *texts, size_t count)
{
    struct remote *remote = remote_of(link);
    struct addresses told = {0};
    for (size_t i = 0; i < count; i++) {
        struct address address;
        if (address_parse(texts[i], &address) == VIM_OK &&
            (remote->hidden || address_is_local(&address))) {
            addresses_add(&told, &address);
        }
    }
    LOCK_GUARD(&remote->mutex);
    struct addresses *known = &remote->known[SOURCE_TOLD];
    bool same = told.count == known->count;
    for (size_t i = 0; same && i < told.count; i++) {
        same = address_equal(&told.items[i], &known->items[i]);
    }
    addresses_free(known);
    *known = told;
    remote->known_changed |= !same;
}

/* --- The way in -------------------------------------------------------------------------------- */

static void remote_refuse(const struct request *request, logic_respond_fn respond, void *argument)
{
    struct response response = {0};
    struct header header = {"Retry-After", "1"};
    logic_problem(503, "overloaded", "more requests are waiting than this service takes",
                  request->request_id, true, 1000, &response);
    response.headers = &header;
    response.header_count = 1;
    response.refused = true;
    respond(argument, &response);
    free(response.body);
}

static void remote_post(struct remote *remote, struct flight *flight)
{
    pthread_mutex_lock(&remote->mutex);
    *remote->inbox_end = flight;
    remote->inbox_end = &flight->next;
    atomic_fetch_add(&remote->queued, 1);
    pthread_mutex_unlock(&remote->mutex);
    remote_wake(remote);
}

static bool remote_is_full(struct remote *remote)
{
    return (int64_t)atomic_load(&remote->queued) >= remote_live(&remote->live.queue);
}

bool remote_is_long(const struct remote *remote, int64_t waited)
{
    return waited > remote_live(&remote->live.queue_wait_ms) / LONG_SHARE &&
           atomic_load(&remote->up) > 0;
}

/* Would one that comes now wait for long? Late answers are worth less than a quick refusal, after which
 * the client comes back when there is room. */
static bool remote_is_late(const struct remote *remote)
{
    return remote_is_long(remote, atomic_load_explicit(&remote->waited_ms, memory_order_relaxed));
}

static void remote_route(struct link *link, const char *method, const char *path,
                         struct logic_route_info *ret_info)
{
    logic_route(remote_of(link)->own, method, path, ret_info);
}

static bool remote_is_inline(struct link *link, const struct request *request)
{
    struct logic_route_info info;
    remote_route(link, request->method, request->path, &info);
    return info.is_own;
}

static void remote_call(struct link *link, const struct request *request, logic_respond_fn respond,
                        void *argument)
{
    struct remote *remote = remote_of(link);
    struct logic_route_info info;
    remote_route(link, request->method, request->path, &info);
    if (info.is_own) {
        logic_handle(remote->own, request, respond, argument);
    } else if (remote_is_full(remote) || remote_is_late(remote)) {
        metric_add(remote->shed, 1);
        remote_refuse(request, respond, argument);
    } else {
        struct flight *flight = flight_new(request, respond, argument);
        flight->deadline += GRACE_MS;
        flight->counted = true;
        flight->repeatable |= info.is_keyed && flight_has_key(request);
        remote_post(remote, flight);
    }
}

static void remote_end_waits(struct link *link, bool all)
{
    struct remote *remote = remote_of(link);
    atomic_store(all ? &remote->all_end : &remote->some_end, true);
    remote_wake(remote);
}

struct look_up {
    struct request request;
    link_principal_fn complete;
    void *argument;
    char token[];
};

static void look_up_done(void *argument, struct response *response)
{
    struct look_up *look_up = argument;
    struct principal principal = {0};
    struct failure failure = {0};
    int code = VIM_E_UNAVAILABLE;
    if (response->status == 200 && response->body &&
        principal_parse(response->body, &principal) == VIM_OK) {
        code = VIM_OK;
    } else if (response->status == 401) {
        code = VIM_E_CREDENTIAL;
    }
    if (code) {
        failure_set(&failure, code, "the logic answers %d", response->status);
    }
    look_up->complete(look_up->argument, code, &principal, &failure);
    explicit_bzero(look_up->token, look_up->request.body_length);
    free(look_up);
}

static void remote_authenticate(struct link *link, const char *token, link_principal_fn complete,
                                void *argument)
{
    struct remote *remote = remote_of(link);
    size_t length = strlen(token);
    struct look_up *look_up = memory_new(sizeof *look_up + length + 1);
    look_up->complete = complete;
    look_up->argument = argument;
    memcpy(look_up->token, token, length + 1);
    look_up->request = (struct request){
        .method = "POST",
        .path = PEERS_AUTHENTICATE,
        .target = PEERS_AUTHENTICATE,
        .peer = true,
        .body = look_up->token,
        .body_length = length,
        .deadline = clock_mono_ms() + AUTHENTICATE_MS,
    };
    if (remote_is_full(remote)) {
        remote_refuse(&look_up->request, look_up_done, look_up);
        return;
    }
    struct flight *flight = flight_new(&look_up->request, look_up_done, look_up);
    flight->repeatable = true;
    remote_post(remote, flight);
}

/* --- Asking for oneself ------------------------------------------------------------------------ */

struct ask {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    int status;
    char *body;
};

static void ask_done(void *argument, struct response *response)
{
    struct ask *ask = argument;
    LOCK_GUARD(&ask->mutex);
    ask->status = response->status;
    ask->body = TAKE(response->body);
    ask->done = true;
    pthread_cond_signal(&ask->cond);
}

int link_ask(struct link *link, const char *method, const char *path, const char *body,
             size_t length, int64_t timeout_ms, char **ret_answer, struct failure *failure)
{
    struct remote *remote = remote_of(link);
    struct ask ask = {0};
    pthread_mutex_init(&ask.mutex, NULL);
    clock_cond_init(&ask.cond);
    const struct request request = {.method = method,
                                    .path = path,
                                    .target = path,
                                    .peer = true,
                                    .body = body,
                                    .body_length = length,
                                    .deadline = clock_mono_ms() + timeout_ms};
    struct flight *flight = flight_new(&request, ask_done, &ask);
    flight->repeatable = true;
    remote_post(remote, flight);
    pthread_mutex_lock(&ask.mutex);
    while (!ask.done) {
        pthread_cond_wait(&ask.cond, &ask.mutex); /* every flight ends, by its deadline at last */
    }
    pthread_mutex_unlock(&ask.mutex);
    pthread_cond_destroy(&ask.cond);
    pthread_mutex_destroy(&ask.mutex);
    if (ask.status != 200) {
        free(ask.body);
        return failure_set(failure, VIM_E_UNAVAILABLE, "the logic answers %d", ask.status);
    }
    *ret_answer = ask.body ? ask.body : text_duplicate("");
    return VIM_OK;
}

/* --- Begin and end ----------------------------------------------------------------------------- */

bool link_is_ready(struct link *link)
{
    return atomic_load(&remote_of(link)->up) > 0;
}

static void keys_free(struct keys *keys)
{
    while (keys) {
        struct keys *older = keys->older;
        link_tls_close(keys->tls);
        explicit_bzero(keys->secret, strlen(keys->secret));
        free(keys->secret);
        free(keys);
        keys = older;
    }
}

static int keys_read(const struct link_config *config, struct keys **ret_keys,
                     struct failure *failure)
{
    struct link_tls *tls = NULL;
    int code = config->tls_ca ? link_tls_open(config->tls_certificate, config->tls_key,
                                              config->tls_ca, config->tls_name, &tls, failure)
                              : VIM_OK;
    if (code == VIM_OK) {
        *ret_keys = MEMORY_NEW(struct keys);
        (*ret_keys)->secret = text_duplicate(config->secret);
        (*ret_keys)->tls = tls;
    }
    return code;
}

/* New connections get what the files hold now; those that are there go on as they are. */
static void remote_renew_keys(struct remote *remote, const struct link_config *config)
{
    struct keys *keys = NULL;
    struct failure failure = {0};
    if (keys_read(config, &keys, &failure)) {
        log_event(VIM_ERROR, "the link keeps its old certificate", "error=%s", failure.text);
        return;
    }
    struct keys *unused = keys;
    if (remote->has_tls == (keys->tls != NULL)) { /* else it takes a restart, which was told */
        pthread_mutex_lock(&remote->mutex);
        unused = remote->new_keys;
        remote->new_keys = keys;
        pthread_mutex_unlock(&remote->mutex);
    }
    keys_free(unused);
    remote_wake(remote);
}

static void remote_set(struct remote *remote, const struct link_config *config)
{
    atomic_store(&remote->live.requests, config->requests);
    atomic_store(&remote->live.queue, config->queue);
    atomic_store(&remote->live.queue_wait_ms, config->queue_wait_ms);
    atomic_store(&remote->live.answer_max, config->answer_max);
    atomic_store(&remote->live.connect_timeout_ms, config->connect_timeout_ms);
    atomic_store(&remote->live.probe_interval_ms, config->probe_interval_ms);
    atomic_store(&remote->live.probe_timeout_ms, config->probe_timeout_ms);
    atomic_store(&remote->live.refresh_ms, config->refresh_ms);
    char **names = memory_new_array(config->logic.count + 1, sizeof *names);
    for (size_t i = 0; i < config->logic.count; i++) {
        names[i] = text_duplicate(config->logic.items[i]);
    }
    LOCK_GUARD(&remote->mutex);
    names_free(remote->names, remote->name_count);
    remote->names = names;
    remote->name_count = config->logic.count;
    pthread_cond_signal(&remote->names_cond);
}

void link_configure(struct link *link, const struct link_config *config)
{
    struct remote *remote = remote_of(link);
    remote_set(remote, config);
    remote_renew_keys(remote, config);
}

static void remote_collect(void *argument)
{
    struct remote *remote = argument;
    metric_set(metrics_gauge("vimd_link_replicas_up", "Logic processes that take requests.", NULL),
               atomic_load(&remote->up));
    metric_set(metrics_gauge("vimd_link_queued", "Requests that wait for a logic process.", NULL),
               atomic_load(&remote->queued));
}

static void remote_destroy(struct remote *remote)
{
    if (remote->epoll >= 0) {
        close(remote->epoll);
    }
    if (remote->wake >= 0) {
        close(remote->wake);
    }
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        addresses_free(&remote->known[i]);
    }
    names_free(remote->names, remote->name_count);
    pthread_cond_destroy(&remote->names_cond);
    pthread_mutex_destroy(&remote->mutex);
    keys_free(remote->new_keys);
    keys_free(remote->keys);
    remote->magic = 0;
    free(remote);
}

static void remote_free(struct link *link)
{
    struct remote *remote = remote_of(link);
    metrics_remove_collector(remote_collect, remote);
    pthread_mutex_lock(&remote->mutex);
    remote->stop = true;
    pthread_cond_signal(&remote->names_cond);
    pthread_mutex_unlock(&remote->mutex);
    remote_wake(remote);
    pthread_join(remote->names_thread, NULL);
    pthread_join(remote->thread, NULL);
    remote_destroy(remote);
}

static const struct link_ops remote_ops = {
    .free = remote_free,
    .route = remote_route,
    .is_inline = remote_is_inline,
    .call = remote_call,
    .end_waits = remote_end_waits,
    .authenticate = remote_authenticate,
};

static struct remote *remote_make(const struct link_config *config, struct logic *own)
{
    struct remote *remote = MEMORY_NEW(struct remote);
    remote->link.ops = &remote_ops;
    remote->magic = REMOTE_MAGIC;
    remote->own = own;
    remote->inbox_end = &remote->inbox;
    pthread_mutex_init(&remote->mutex, NULL);
    clock_cond_init(&remote->names_cond);
    digest_random(&remote->seed, sizeof remote->seed);
    remote->seed |= 1;
    remote->retries = metrics_counter("vimd_link_retries_total",
                                      "Tries that came to nothing and were made elsewhere.", NULL);
    remote->unknown = metrics_counter("vimd_link_unknown_total",
                                      "Requests whose outcome is unknown (502).", NULL);
    remote->shed = metrics_counter("vimd_link_shed_total",
                                   "Requests for which no logic process had room (503).", NULL);
    remote->epoll = epoll_create1(EPOLL_CLOEXEC);
    remote->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    remote_set(remote, config);
    return remote;
}

int link_new_remote(const struct link_config *config, struct logic *own, struct link **ret_link,
                    struct failure *failure)
{
    struct keys *keys = NULL;
    int code = link_check(config, failure);
    code = code ? code : keys_read(config, &keys, failure);
    if (code) {
        return code;
    }
    struct remote *remote = remote_make(config, own);
    remote->keys = keys;
    remote->has_tls = keys->tls;
    remote->hidden = keys->tls || config->insecure;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (remote->epoll < 0 || remote->wake < 0 ||
        epoll_ctl(remote->epoll, EPOLL_CTL_ADD, remote->wake, &event) ||
        thread_start("link", remote_run, remote, &remote->thread)) {
        remote_destroy(remote);
        return failure_set(failure, VIM_E_UNAVAILABLE, "no more threads or files for the link");
    }
    if (thread_start("link-names", remote_names, remote, &remote->names_thread)) {
        pthread_mutex_lock(&remote->mutex);
        remote->stop = true;
        pthread_mutex_unlock(&remote->mutex);
        remote_wake(remote);
        pthread_join(remote->thread, NULL);
        remote_destroy(remote);
        return failure_set(failure, VIM_E_UNAVAILABLE, "no more threads for the link");
    }
    metrics_add_collector(remote_collect, remote);
    *ret_link = &remote->link;
    return VIM_OK;
}
