#include "driver_host.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct driver {
    const struct vim_plugin *plugin;
    const struct vim_driver_ops *ops;
    void *config;
    void *instance;
    int64_t limit_ms;
};

/* The log is shared by all instances of a test program. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[65536];

static unsigned requests;

struct vim_self {
    int unused;
};
static struct vim_self the_self;

struct vim_call {
    struct result *result;
    int64_t deadline_ms;
    const char *data;
    int64_t data_size;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(long ms)
{
    struct timespec wait = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&wait, NULL);
}

static void copy(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from == NULL ? "" : from);
}

/* --- What the plugin may call ---------------------------------------------------------------- */

static void host_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    size_t used;

    (void)self;
    pthread_mutex_lock(&log_lock);
    used = strlen(log_text);
    (void)snprintf(log_text + used, sizeof(log_text) - used, "%d %s %s\n", level, event,
                   fields == NULL ? "" : fields);
    pthread_mutex_unlock(&log_lock);
}

static void host_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    (void)self;
    (void)labels;
    assert(strstr(name, "_total") != NULL && add >= 0);
    __atomic_fetch_add(&requests, (unsigned)add, __ATOMIC_RELAXED);
}

static const char *host_about(struct vim_self *self, const char *name)
{
    (void)self;
    return strcmp(name, "instance") == 0 ? "test" : NULL;
}

static int host_emit(struct vim_call *call, const struct vim_item *item)
{
    struct result *result = call->result;
    struct seen *seen;

    result->items = realloc(result->items, (result->count + 1) * sizeof(*result->items));
    assert(result->items != NULL && item->id != NULL && item->kind != NULL);
    seen = &result->items[result->count++];
    memset(seen, 0, sizeof(*seen));
    copy(seen->id, sizeof(seen->id), item->id);
    copy(seen->kind, sizeof(seen->kind), item->kind);
    copy(seen->status, sizeof(seen->status), item->status);
    copy(seen->tag, sizeof(seen->tag), item->tag);
    copy(seen->parent, sizeof(seen->parent), item->parent);
    seen->flags = item->flags;
    seen->body = item->body == NULL ? NULL : strdup(item->body);
    return 0;
}

static void host_keep(struct vim_call *call, const char *cursor)
{
    free(call->result->kept);
    call->result->kept = cursor == NULL ? NULL : strdup(cursor);
}

static void host_again(struct vim_call *call, uint32_t delay_ms)
{
    call->result->agains++;
    call->result->delay_ms = delay_ms;
}

static void host_await(struct vim_call *call, const char *kind, const char *id, uint32_t at_most)
{
    (void)kind;
    (void)at_most;
    call->result->awaits++;
    copy(call->result->await_id, sizeof(call->result->await_id), id);
}

static int host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    call->result->failed_with = code;
    call->result->retry_after_ms = retry_after_ms;
    copy(call->result->fail, sizeof(call->result->fail), text);
    return code;
}

static int64_t host_left_ms(struct vim_call *call)
{
    int64_t left = call->deadline_ms - now_ms();
    return left < 0 ? 0 : left;
}

static void host_note(struct vim_call *call, const char *name, const char *value)
{
    struct result *result = call->result;

    if (strcmp(name, "backend_request_id") == 0) {
        size_t used = strlen(result->request_ids);
        (void)snprintf(result->request_ids + used, sizeof(result->request_ids) - used, "%s ",
                       value);
    } else if (strcmp(name, "backend_status") == 0) {
        copy(result->backend_status, sizeof(result->backend_status), value);
    } else if (strcmp(name, "step") == 0) {
        copy(result->step, sizeof(result->step), value);
    }
}

static int64_t host_read(struct vim_call *call, uint64_t offset, void *buffer, size_t size)
{
    if ((int64_t)offset >= call->data_size) {
        return 0;
    }
    if ((int64_t)size > call->data_size - (int64_t)offset) {
        size = (size_t)(call->data_size - (int64_t)offset);
    }
    memcpy(buffer, call->data + offset, size);
    return (int64_t)size;
}

static const struct vim_host the_host = {.size = sizeof(the_host),
                                         .abi = VIM_ABI,
                                         .log = host_log,
                                         .count = host_count,
                                         .about = host_about,
                                         .emit = host_emit,
                                         .keep = host_keep,
                                         .again = host_again,
                                         .await = host_await,
                                         .fail = host_fail,
                                         .left_ms = host_left_ms,
                                         .note = host_note,
                                         .read = host_read};

/* --- Configuration --------------------------------------------------------------------------- */

static int64_t with_unit(const char *text)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"ms", 1},     {"s", 1000},      {"m", 60000}, {"h", 3600000},
                 {"KiB", 1024}, {"MiB", 1 << 20}, {"", 1}};
    char *end;
    int64_t number = strtoll(text, &end, 10);

    for (size_t at = 0; at < sizeof(units) / sizeof(units[0]); at++) {
        if (strcmp(end, units[at].unit) == 0) {
            return number * units[at].factor;
        }
    }
    assert(!"a unit that is known");
    return 0;
}

static void set_option(void *config, const struct vim_option *option, const char *value)
{
    char *field = (char *)config + option->offset;

    switch (option->type) {
    case VIM_INTEGER:
    case VIM_DURATION:
    case VIM_BYTES:
        *(int64_t *)(void *)field = with_unit(value);
        break;
    case VIM_BOOLEAN:
        *(int32_t *)(void *)field = strcmp(value, "true") == 0;
        break;
    default:
        *(const char **)(void *)field = value;
    }
}

static void fill(const struct vim_plugin *plugin, void *config, const char *const *settings)
{
    for (uint32_t at = 0; at < plugin->option_count; at++) {
        const struct vim_option *option = &plugin->options[at];
        const char *value = option->default_value;
        for (const char *const *name = settings; *name != NULL; name += 2) {
            if (strcmp(*name, option->name) == 0) {
                value = name[1];
            }
        }
        if (value != NULL) {
            set_option(config, option, value);
        }
    }
}

/* --- Life ------------------------------------------------------------------------------------ */

static struct vim_call call_of(const struct driver *driver, struct result *result)
{
    struct vim_call call = {.result = result,
                            .deadline_ms =
                                now_ms() + __atomic_load_n(&driver->limit_ms, __ATOMIC_RELAXED)};
    return call;
}

struct driver *driver_open(const char *path, const char *const *settings, char ret_fail[1024])
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct vim_plugin *(*entry)(uint32_t) = NULL;
    struct driver *driver = calloc(1, sizeof(*driver));
    struct result result = {0};
    struct vim_call call;
    int rc;

    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    *(void **)&entry = dlsym(handle, "vim_plugin_entry");
    assert(entry != NULL && driver != NULL);
    driver->plugin = entry(VIM_ABI);
    assert(driver->plugin != NULL && entry((VIM_ABI_MAJOR + 1) << 16) == NULL);
    driver->ops = driver->plugin->ops;
    driver->limit_ms = 30000;
    driver->config = calloc(1, driver->plugin->config_size);
    fill(driver->plugin, driver->config, settings);
    call = call_of(driver, &result);
    rc = driver->plugin->open(&call, &the_host, &the_self, driver->config, &driver->instance);
    copy(ret_fail, 1024, result.fail);
    result_clear(&result);
    if (rc != VIM_OK) {
        free(driver->config);
        free(driver);
        return NULL;
    }
    return driver;
}

void driver_close(struct driver *driver)
{
    driver->plugin->close(driver->instance);
    free(driver->config);
    free(driver);
}

const struct vim_plugin *driver_plugin(const struct driver *driver)
{
    return driver->plugin;
}

void driver_limit(struct driver *driver, int64_t ms)
{
    __atomic_store_n(&driver->limit_ms, ms, __ATOMIC_RELAXED);
}

const char *driver_log(struct driver *driver)
{
    (void)driver;
    return log_text;
}

unsigned driver_requests(void)
{
    return __atomic_load_n(&requests, __ATOMIC_RELAXED);
}

/* --- Results --------------------------------------------------------------------------------- */

void result_restart(struct result *result)
{
    char *kept = result->kept;
    unsigned steps = result->steps;
    unsigned asked = result->requests;
    char ids[sizeof(result->request_ids)];

    memcpy(ids, result->request_ids, sizeof(ids));
    for (unsigned at = 0; at < result->count; at++) {
        free(result->items[at].body);
    }
    free(result->items);
    memset(result, 0, sizeof(*result));
    memcpy(result->request_ids, ids, sizeof(ids));
    result->kept = kept;
    result->steps = steps;
    result->requests = asked;
}

void result_clear(struct result *result)
{
    result_restart(result);
    free(result->kept);
    memset(result, 0, sizeof(*result));
}

const struct seen *result_find(const struct result *result, const char *id)
{
    for (unsigned at = 0; at < result->count; at++) {
        if (strcmp(result->items[at].id, id) == 0) {
            return &result->items[at];
        }
    }
    return NULL;
}

/* --- Calls ----------------------------------------------------------------------------------- */

int driver_list(struct driver *driver, const char *kind, const char *since, unsigned page_size,
                struct result *result)
{
    struct vim_call call = call_of(driver, result);
    struct vim_list_query query = {
        .size = sizeof(query), .page_size = page_size, .kind = kind, .since = since};

    return driver->ops->list(&call, driver->instance, &query);
}

int driver_get(struct driver *driver, const char *kind, const char *id, struct result *result)
{
    struct vim_call call = call_of(driver, result);

    return driver->ops->get(&call, driver->instance, kind, id);
}

int driver_probe(struct driver *driver, struct result *result)
{
    struct vim_call call = call_of(driver, result);

    return driver->plugin->probe(&call, driver->instance);
}

static int step_with(struct driver *driver, const struct vim_op *op, const void *data,
                     struct result *result)
{
    struct vim_call call = call_of(driver, result);

    call.data = data;
    call.data_size = op->data_size;
    unsigned before = driver_requests();
    int rc = driver->ops->step(&call, driver->instance, op);
    result->steps++;
    result->requests += driver_requests() - before;
    return rc;
}

int driver_step(struct driver *driver, const struct vim_op *op, struct result *result)
{
    return step_with(driver, op, NULL, result);
}

/* --- A run ----------------------------------------------------------------------------------- */

struct progress {
    char id[256];
    char *kept;
    unsigned attempt;
    int have_seen;
    struct seen seen;
};

/* Waits as the inventory does: until what is awaited is no longer pending, or gone. */
static void wait_settled(struct driver *driver, const struct run *run, const char *id,
                         struct progress *progress)
{
    for (int turn = 0; turn < 600; turn++) {
        struct result look = {0};
        const struct seen *seen;
        int rc = run->use_list ? driver_list(driver, run->kind, NULL, 0, &look)
                               : driver_get(driver, run->kind, id, &look);
        seen = result_find(&look, id);
        if ((rc == VIM_OK && seen == NULL) || rc == VIM_E_NOT_FOUND) {
            memset(&progress->seen, 0, sizeof(progress->seen));
            copy(progress->seen.id, sizeof(progress->seen.id), id);
            progress->seen.flags = VIM_ITEM_GONE;
            progress->have_seen = 1;
        } else if (rc == VIM_OK && (seen->flags & VIM_ITEM_PENDING) == 0) {
            progress->seen = *seen;
            progress->seen.body = seen->body == NULL ? NULL : strdup(seen->body);
            progress->have_seen = 1;
        }
        result_clear(&look);
        if (progress->have_seen) {
            return;
        }
        nap(50);
    }
}

/* One step with what is known so far. */
static int run_step(struct driver *driver, const struct run *run, int undo,
                    struct progress *progress, struct result *result)
{
    struct vim_item seen = {.size = sizeof(seen),
                            .flags = progress->seen.flags,
                            .kind = run->kind,
                            .id = progress->seen.id,
                            .status = progress->seen.status,
                            .tag = progress->seen.tag,
                            .body = progress->seen.body};
    struct vim_op op = {.size = sizeof(op),
                        .verb = run->verb,
                        .kind = run->kind,
                        .id = progress->id[0] == '\0' ? NULL : progress->id,
                        .action = run->action,
                        .spec = run->spec == NULL ? "{}" : run->spec,
                        .kept = progress->kept,
                        .request_id = run->request_id,
                        .attempt = progress->attempt,
                        .undo = (uint32_t)undo,
                        .seen = progress->have_seen ? &seen : NULL,
                        .data_size = run->data == NULL ? -1 : run->data_size};
    int rc;

    result_restart(result);
    rc = step_with(driver, &op, run->data, result);
    if (result->kept != NULL) {
        free(progress->kept);
        progress->kept = result->kept;
        result->kept = NULL;
    }
    if (result->count > 0 && progress->id[0] == '\0') {
        copy(progress->id, sizeof(progress->id), result->items[result->count - 1].id);
    }
    free(progress->seen.body);
    memset(&progress->seen, 0, sizeof(progress->seen));
    progress->have_seen = 0;
    return rc;
}

static int run_until(struct driver *driver, const struct run *run, int undo,
                     struct progress *progress, struct result *result)
{
    unsigned tries = run->max_tries == 0 ? 20 : run->max_tries;

    for (unsigned turn = 0; turn < 200; turn++) {
        int rc = run_step(driver, run, undo, progress, result);
        if (rc == VIM_AGAIN) {
            assert(result->awaits + result->agains > 0);
            if (result->awaits > 0) {
                wait_settled(driver, run, result->await_id, progress);
            } else {
                nap(result->delay_ms);
            }
            continue;
        }
        assert(rc == VIM_OK || result->failed_with == rc);
        progress->attempt += VIM_IS_UNKNOWN(rc);
        if (rc == VIM_OK || VIM_IS_PERMANENT(rc) || --tries == 0) {
            return rc;
        }
        nap(result->retry_after_ms > 0 ? result->retry_after_ms : 20);
    }
    return VIM_E_INTERNAL;
}

int driver_run(struct driver *driver, const struct run *run, struct result *result)
{
    struct progress progress = {.attempt = run->attempt};
    int rc;

    copy(progress.id, sizeof(progress.id), run->id);
    rc = run_until(driver, run, 0, &progress, result);
    if (rc != VIM_OK && !run->no_undo) {
        struct result undone = {0};
        int undo = run_until(driver, run, 1, &progress, &undone);
        if (undo != VIM_OK) {
            fprintf(stderr, "undo of a %s failed: %d %s\n", run->kind, undo, undone.fail);
        }
        rc = undo == VIM_OK ? rc : VIM_E_INTERNAL;
        result->steps += undone.steps;
        result_clear(&undone);
    }
    free(progress.kept);
    free(progress.seen.body);
    return rc;
}
