#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sqlite_store.h"

static const struct vim_option options[] = {
    {
        .name = "path",
        .type = VIM_PATH,
        .help = "File of the database, made with mode 0600 if there is none; left out: "
                "INSTANCE.db in vimd's state directory. It needs a local file system.",
        .offset = offsetof(struct store_config, path),
    },
    {
        .name = "durability",
        .type = VIM_CHOICE,
        .default_value = "power",
        .choices = "power process",
        .help = "What an acknowledged write survives: power, a power cut (each commit waits for "
                "the disk); process, only a kill of the process (faster).",
        .offset = offsetof(struct store_config, durability),
    },
    {
        .name = "cache_size",
        .type = VIM_BYTES,
        .default_value = "32MiB",
        .help = "Memory for pages of the database and for answers, at most: half of it for pages "
                "when writing, an eighth for pages when reading, shared out among the readers, "
                "and the rest for what was read since the last change.",
        .minimum = 1024 * 1024,
        .maximum = (int64_t)64 * 1024 * 1024 * 1024,
        .offset = offsetof(struct store_config, cache_size),
    },
    {
        .name = "readers",
        .type = VIM_INTEGER,
        .default_value = "8",
        .help = "Connections that read in parallel; each costs a few file descriptors.",
        .minimum = 1,
        .maximum = 128,
        .offset = offsetof(struct store_config, readers),
    },
};

static int set_path(struct sqlite_store *store, struct store_error *ret_error)
{
    const struct vim_host *host = store->host;
    const char *directory = host->about(store->self, "state_dir");
    const char *name = host->about(store->self, "instance");
    int length;

    if (store->config->path && store->config->path[0])
        length = asprintf(&store->path, "%s", store->config->path);
    else if (directory && name)
        length = asprintf(&store->path, "%s/%s.db", directory, name);
    else
        return store_error_set(ret_error, VIM_E_INVALID,
                               "path: is needed, as there is no state directory");
    if (length < 0) {
        store->path = NULL;
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    }
    return VIM_OK;
}

static void warn_if_readable_by_others(const struct sqlite_store *store)
{
    struct stat status;

    if (stat(store->path, &status) == 0 && (status.st_mode & 077))
        store->host->log(store->self, VIM_WARNING, "others may read or write the database file",
                         NULL);
}

static void store_free(struct sqlite_store *store)
{
    writer_stop(store);
    readers_stop(store);
    pthread_cond_destroy(&store->pool_freed);
    pthread_mutex_destroy(&store->pool_lock);
    pthread_cond_destroy(&store->queue_filled);
    pthread_mutex_destroy(&store->queue_lock);
    free(store->path);
    free(store);
}

static int open_all(struct sqlite_store *store, int64_t left, struct store_error *ret_error)
{
    int64_t deadline = store_now() + (left < OPEN_WAIT_MS ? left : OPEN_WAIT_MS);

    if (set_path(store, ret_error) < 0 || database_prepare(store->path, deadline, ret_error) < 0 ||
        readers_start(store, ret_error) < 0 || writer_start(store, ret_error) < 0)
        return ret_error->code;
    warn_if_readable_by_others(store);
    return VIM_OK;
}

static int store_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct sqlite_store *store = calloc(1, sizeof *store);
    struct store_error error;

    if (!store)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    store->host = host;
    store->self = self;
    store->config = config;
    pthread_mutex_init(&store->queue_lock, NULL);
    pthread_mutex_init(&store->pool_lock, NULL);
    if (store_condition_init(&store->queue_filled) < 0 ||
        store_condition_init(&store->pool_freed) < 0) {
        free(store);
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    }
    if (open_all(store, host->left_ms(call), &error) < 0) {
        store_free(store);
        return host->fail(call, error.code, 0, error.text);
    }
    *ret_instance = store;
    return VIM_OK;
}

static void store_close(void *instance)
{
    store_free(instance);
}

static int store_probe(struct vim_call *call, void *instance)
{
    struct sqlite_store *store = instance;
    int64_t pages = 0, page_size = 0, schema = 0;
    char body[256];
    struct vim_item item = {.size = sizeof item, .kind = "vim", .id = "store", .body = body};
    int code = reader_number(call, store, "PRAGMA page_count", &pages);

    if (code == VIM_OK)
        code = reader_number(call, store, "PRAGMA page_size", &page_size);
    if (code == VIM_OK)
        code = reader_number(call, store, "PRAGMA user_version", &schema);
    if (code != VIM_OK)
        return code;
    snprintf(body, sizeof body,
             "{\"sqlite\":\"%s\",\"schema\":%lld,\"size_bytes\":%lld,\"durability\":\"%s\"}",
             sqlite3_libversion(), (long long)schema, (long long)(pages * page_size),
             store->config->durability);
    store->host->emit(call, &item);
    return VIM_OK;
}

static const struct vim_store_ops ops = {
    .size = sizeof ops,
    .commit = writer_commit,
    .get = reader_get,
    .scan = reader_scan,
};

static const struct vim_plugin plugin = {
    .size = sizeof plugin,
    .abi = VIM_ABI,
    .type = VIM_STORE,
    .flags = VIM_CHEAP,
    .name = "store-sqlite",
    .version = VIMD_VERSION,
    .summary = "Keeps all rows in one SQLite file; the embedded default for one machine.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct store_config),
    .open = store_open,
    .close = store_close,
    .probe = store_probe,
    .ops = &ops,
};

const struct vim_plugin *vim_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == VIM_ABI_MAJOR ? &plugin : NULL;
}
