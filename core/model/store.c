/* Locks: `ill_mutex`, a leaf. */
#include "model/store.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "plugin/call.h"
#include "plugin/instance.h"

#define STORE_MAGIC 0x53544f52u

enum operation { GET, SCAN, COMMIT, OPERATION_COUNT };

struct store {
    uint32_t magic;
    struct instance *instance;
    int64_t timeout_ms;
    struct metric *seconds[OPERATION_COUNT];
    struct metric *errors[OPERATION_COUNT];
    struct metric *conflicts;
    long kill_at; /* 0: never */
    bool kill_after;
    atomic_long commits;
    atomic_bool ill; /* commits fail; since when, how often and why is under ill_mutex */
    pthread_mutex_t ill_mutex;
    int64_t ill_since;
    unsigned long ill_count;
    struct failure ill_failure;
    const char *watched; /* collection */
    void (*changed)(void *argument);
    void *changed_argument;
};

int failure_set(struct failure *failure, int code, const char *format, ...)
{
    if (failure) {
        va_list values;
        va_start(values, format);
        failure->code = code;
        failure->retry_after_ms = 0;
        (void)vsnprintf(failure->text, sizeof(failure->text), format, values);
        va_end(values);
    }
    return code;
}

void row_free(struct row *row)
{
    if (row) {
        free(row->id);
        free(row->parent);
        free(row->body);
        memset(row, 0, sizeof(*row));
    }
}

struct store *store_new(struct instance *instance, int64_t timeout_ms)
{
    static const char *const labels[OPERATION_COUNT] = {"operation=\"get\"", "operation=\"scan\"",
                                                        "operation=\"commit\""};
    struct store *store = MEMORY_NEW(struct store);
    store->magic = STORE_MAGIC;
    store->instance = instance;
    store->timeout_ms = timeout_ms;
    pthread_mutex_init(&store->ill_mutex, NULL);
    for (int i = 0; i < OPERATION_COUNT; i++) {
        store->seconds[i] = metrics_histogram("vimd_store_call_seconds",
                                              "Duration of calls of the store", labels[i], NULL, 0);
        store->errors[i] =
            metrics_counter("vimd_store_errors_total", "Calls of the store that failed", labels[i]);
    }
    store->conflicts = metrics_counter("vimd_store_conflicts_total",
                                       "Commits that found a row not as expected", NULL);
    const char *kill_at = getenv("VIMD_TEST_KILL_AT_COMMIT");
    const char *kill_when = getenv("VIMD_TEST_KILL_WHEN");
    store->kill_at = kill_at ? strtol(kill_at, NULL, 10) : 0;
    store->kill_after = kill_when && strcmp(kill_when, "after") == 0;
    return store;
}

void store_free(struct store *store)
{
    if (store) {
        assert(store->magic == STORE_MAGIC);
        pthread_mutex_destroy(&store->ill_mutex);
        store->magic = 0;
        free(store);
    }
}

bool store_is_cheap(const struct store *store)
{
    return instance_plugin(store->instance)->descriptor.flags & VIM_CHEAP;
}

const char *store_plugin(const struct store *store)
{
    return instance_plugin(store->instance)->descriptor.name;
}

/* Ends a call: counts it, tells its failure, frees it. */
static int end_call(struct store *store, struct vim_call *call, enum operation operation, int code,
                    struct failure *failure)
{
    metric_observe(store->seconds[operation], (double)call_took_us(call) / 1e6);
    if (code < 0) {
        const char *text = call_fail_text(call);
        if (code == VIM_E_CONFLICT) {
            metric_add(store->conflicts, 1);
        } else if (code != VIM_E_NOT_FOUND) {
            metric_add(store->errors[operation], 1);
        }
        failure_set(failure, code, "store: %s",
                    text && *text ? text : (code == VIM_E_NOT_FOUND ? "no such row" : "it failed"));
        if (failure) {
            failure->retry_after_ms = call_retry_after_ms(call);
        }
    }
    call_free(call);
    return code;
}

static int take_row(void *argument, const struct vim_item *item)
{
    struct row *row = argument;
    row_free(row);
    row->id = text_duplicate(item->id ? item->id : "");
    row->parent = text_duplicate(item->parent ? item->parent : "");
    const char *body = item->body ? item->body : "";
    row->body_length = strlen(body);
    row->body = memory_copy(body, row->body_length + 1);
    row->due = item->due;
    row->revision = item->revision;
    row->state = item->state;
    return 0;
}

int store_get(struct store *store, const char *collection, const char *id, struct row *ret_row,
              struct failure *failure)
{
    struct row row = {0};
    struct vim_call call;
    call_begin(&call, store->timeout_ms);
    call_set_emit(&call, take_row, &row);
    int code = instance_enter(store->instance, &call);
    if (code == VIM_OK) {
        code = instance_store(store->instance)
                   ->get(&call, instance_handle(store->instance), collection, id);
        code = instance_leave(store->instance, &call, code);
    }
    if (code == VIM_OK && !row.id) {
        code = VIM_E_INTERNAL;
    }
    code = end_call(store, &call, GET, code, failure);
    if (code == VIM_OK) {
        *ret_row = row;
    } else {
        row_free(&row);
    }
    return code;
}

int store_scan(struct store *store, const struct vim_scan *scan, store_row_fn each, void *argument,
               struct failure *failure)
{
    struct vim_call call;
    struct vim_scan sized = *scan;
    sized.size = sizeof(sized);
    call_begin(&call, store->timeout_ms);
    call_set_emit(&call, each, argument);
    int code = instance_enter(store->instance, &call);
    if (code == VIM_OK) {
        code =
            instance_store(store->instance)->scan(&call, instance_handle(store->instance), &sized);
        code = instance_leave(store->instance, &call, code);
    }
    return end_call(store, &call, SCAN, code, failure);
}

static void kill_for_test(struct store *store, bool after, long number)
{
    if (number == store->kill_at && after == store->kill_after) {
        (void)raise(SIGKILL);
    }
}

void store_watch(struct store *store, const char *collection, void (*changed)(void *argument),
                 void *argument)
{
    store->watched = collection;
    store->changed_argument = argument;
    store->changed = changed;
}

static void tell_watcher(struct store *store, const struct vim_write *writes, uint32_t count)
{
    for (uint32_t i = 0; store->changed && i < count; i++) {
        if (strcmp(writes[i].collection, store->watched) == 0) {
            store->changed(store->changed_argument);
            return;
        }
    }
}

/* Follows whether commits come through; each outbreak is told once. */
static void watch_commits(struct store *store, const struct vim_call *call, int code)
{
    bool ill = code == VIM_E_UNAVAILABLE || code == VIM_E_INTERNAL || VIM_IS_UNKNOWN(code);
    if (ill ? false : code != VIM_OK || !atomic_load_explicit(&store->ill, memory_order_relaxed)) {
        return;
    }
    LOCK_GUARD(&store->ill_mutex);
    bool before = atomic_exchange(&store->ill, ill);
    if (ill) {
        const char *text = call_fail_text(call);
        failure_set(&store->ill_failure, code, "store: %s", *text ? text : "it takes no writes");
        store->ill_count = before ? store->ill_count + 1 : 1;
        store->ill_since = before ? store->ill_since : clock_mono_ms();
    }
    if (ill && !before) {
        log_event(VIM_ERROR, "the store takes no writes", "error=%s", store->ill_failure.text);
    } else if (!ill && before) {
        log_event(VIM_WARNING, "the store takes writes again", "failed=%lu after_ms=%lld",
                  store->ill_count, (long long)(clock_mono_ms() - store->ill_since));
    }
}

int store_takes_writes(struct store *store, struct failure *failure)
{
    if (!atomic_load(&store->ill)) {
        return VIM_OK;
    }
    LOCK_GUARD(&store->ill_mutex);
    if (!atomic_load(&store->ill)) {
        return VIM_OK;
    }
    return failure_set(failure, store->ill_failure.code, "%s", store->ill_failure.text);
}

int64_t store_ill_ms(struct store *store)
{
    LOCK_GUARD(&store->ill_mutex);
    return atomic_load(&store->ill) ? clock_mono_ms() - store->ill_since : 0;
}

int store_commit(struct store *store, const struct vim_write *writes, uint32_t count,
                 struct failure *failure)
{
    struct vim_call call;
    long number = 0;
    if (store->kill_at > 0) {
        number = atomic_fetch_add(&store->commits, 1) + 1;
        kill_for_test(store, false, number);
    }
    call_begin(&call, store->timeout_ms);
    int code = instance_enter(store->instance, &call);
    if (code == VIM_OK) {
        code = instance_store(store->instance)
                   ->commit(&call, instance_handle(store->instance), writes, count,
                            (uint32_t)sizeof(*writes));
        code = instance_leave(store->instance, &call, code);
    }
    if (store->kill_at > 0) {
        kill_for_test(store, true, number);
    }
    watch_commits(store, &call, code);
    if (code == VIM_OK || VIM_IS_UNKNOWN(code)) {
        tell_watcher(store, writes, count);
    }
    return end_call(store, &call, COMMIT, code, failure);
}

int store_probe(struct store *store, int64_t timeout_ms, struct failure *failure)
{
    struct vim_call call;
    bool bounded = timeout_ms > 0 && timeout_ms < store->timeout_ms;
    call_begin(&call, bounded ? timeout_ms : store->timeout_ms);
    int code = instance_probe(store->instance, &call);
    if (code < 0) {
        const char *text = call_fail_text(&call);
        failure_set(failure, code, "store: %s", text && *text ? text : "it is not well");
    }
    call_free(&call);
    return code;
}
