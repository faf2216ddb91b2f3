/*
 * faulty-store - a small store in memory that has one fault, chosen by its option, so that
 * vim-plugin-check can show that it finds it. Without a fault it is sound as long as it runs.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vim/store.h>

#define ROWS_MAX 20000

struct row {
    char collection[40], id[208], parent[208];
    char *body;
    uint32_t state;
    int64_t due;
    uint64_t revision;
};

struct config {
    const char *fault;
};

struct store {
    const struct vim_host *host;
    const struct config *config;
    pthread_mutex_t lock;
    struct row *rows[ROWS_MAX]; /* in order of collection and id */
    unsigned count;
};

static bool has_fault(const struct store *store, const char *fault)
{
    return strcmp(store->config->fault, fault) == 0;
}

/* The place of a row, or where it would be. */
static unsigned find(const struct store *store, const char *collection, const char *id,
                     bool *ret_found)
{
    unsigned low = 0, high = store->count;

    *ret_found = false;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = strcmp(store->rows[middle]->collection, collection);

        if (order == 0)
            order = strcmp(store->rows[middle]->id, id);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_expected(const struct store *store, const struct vim_write *write)
{
    bool found;
    unsigned place = find(store, write->collection, write->id, &found);

    if (write->expect == VIM_EXPECT_ANY || has_fault(store, "forgets_revisions"))
        return true;
    return write->expect == (found ? store->rows[place]->revision : 0);
}

static void remove_row(struct store *store, unsigned place)
{
    free(store->rows[place]->body);
    free(store->rows[place]);
    store->count--;
    memmove(&store->rows[place], &store->rows[place + 1],
            (store->count - place) * sizeof store->rows[0]);
}

static void apply(struct store *store, const struct vim_write *write)
{
    bool found;
    unsigned place = find(store, write->collection, write->id, &found);
    struct row *row;

    if (!write->body) {
        if (found)
            remove_row(store, place);
        return;
    }
    if (!found) {
        if (store->count == ROWS_MAX)
            abort();
        memmove(&store->rows[place + 1], &store->rows[place],
                (store->count - place) * sizeof store->rows[0]);
        store->rows[place] = calloc(1, sizeof *row);
        store->count++;
    }
    row = store->rows[place];
    snprintf(row->collection, sizeof row->collection, "%s", write->collection);
    snprintf(row->id, sizeof row->id, "%s", write->id);
    snprintf(row->parent, sizeof row->parent, "%s", write->parent ? write->parent : "");
    free(row->body);
    row->body = strdup(write->body);
    row->state = write->state;
    row->due = write->due;
    row->revision++;
}

static int store_commit(struct vim_call *call, void *instance, const struct vim_write *writes,
                        uint32_t count, uint32_t stride)
{
    struct store *store = instance;
    const struct vim_write *conflict = NULL;
    char name[256];

    pthread_mutex_lock(&store->lock);
    for (int applying = has_fault(store, "half_commits"); applying < 2 && !conflict; applying++) {
        /* Between looking and writing others come in. */
        if (applying && has_fault(store, "races")) {
            pthread_mutex_unlock(&store->lock);
            usleep(2000);
            pthread_mutex_lock(&store->lock);
        }
        for (uint32_t i = 0; i < count && !conflict; i++) {
            const char *at = (const char *)writes + (size_t)stride * i;
            const struct vim_write *write = (const struct vim_write *)(const void *)at;

            if (!is_expected(store, write) && !(applying && has_fault(store, "races")))
                conflict = write;
            else if (applying)
                apply(store, write);
        }
    }
    pthread_mutex_unlock(&store->lock);
    if (!conflict)
        return VIM_OK;
    snprintf(name, sizeof name, "%s/%s", conflict->collection, conflict->id);
    return store->host->fail(call, VIM_E_CONFLICT, 0, name);
}

static int emit_row(struct vim_call *call, struct store *store, const struct row *row)
{
    struct vim_item item = {.size = sizeof item,
                            .kind = row->collection,
                            .id = row->id,
                            .parent = row->parent,
                            .body = row->body,
                            .state = row->state,
                            .due = row->due,
                            .revision = row->revision};

    return store->host->emit(call, &item);
}

static int store_get(struct vim_call *call, void *instance, const char *collection, const char *id)
{
    struct store *store = instance;
    bool found;
    unsigned place;

    pthread_mutex_lock(&store->lock);
    place = find(store, collection, id, &found);
    if (found)
        emit_row(call, store, store->rows[place]);
    pthread_mutex_unlock(&store->lock);
    if (!found && has_fault(store, "crashes"))
        abort();
    return found ? VIM_OK : VIM_E_NOT_FOUND;
}

/* Only what the checks need that this store is put to: everything in order, by states. */
static int store_scan(struct vim_call *call, void *instance, const struct vim_scan *scan)
{
    struct store *store = instance;
    bool backwards = scan->flags & VIM_SCAN_DESCENDING;

    if (has_fault(store, "unsorted"))
        backwards = !backwards;
    pthread_mutex_lock(&store->lock);
    for (unsigned i = 0; i < store->count; i++) {
        const struct row *row = store->rows[backwards ? store->count - 1 - i : i];

        if (strcmp(row->collection, scan->collection) == 0 && emit_row(call, store, row))
            break;
    }
    pthread_mutex_unlock(&store->lock);
    return VIM_OK;
}

static int store_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct store *store = calloc(1, sizeof *store);

    (void)self;
    if (!store)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    store->host = host;
    store->config = config;
    pthread_mutex_init(&store->lock, NULL);
    if (has_fault(store, "leaks") && open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
        abort();
    *ret_instance = store;
    return VIM_OK;
}

static void store_close(void *instance)
{
    struct store *store = instance;

    while (store->count)
        remove_row(store, store->count - 1);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static int store_probe(struct vim_call *call, void *instance)
{
    (void)call;
    (void)instance;
    return VIM_OK;
}

static const struct vim_option options[] = {{
    .name = "fault",
    .type = VIM_CHOICE,
    .default_value = "none",
    .choices = "none forgets_revisions races half_commits unsorted crashes leaks",
    .help = "What this store does wrong.",
    .offset = offsetof(struct config, fault),
}};

static const struct vim_store_ops ops = {
    .size = sizeof ops, .commit = store_commit, .get = store_get, .scan = store_scan};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_STORE,
    .flags = VIM_CHEAP,
    .name = "faulty-store",
    .version = "1",
    .summary = "A store in memory with a fault of choice, for tests.",
    .options = options,
    .option_count = 1,
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct config),
    .open = store_open,
    .close = store_close,
    .probe = store_probe,
    .ops = &ops,
};

const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == VIM_ABI_MAJOR ? &plugin : NULL;
}
