/*
 * Tasks that do nothing, through queue-redis as vimd uses it: every push and done is a call of its own,
 * pulls take up to 8.
 *
 *     queue_tasks PLUGIN produce|consume COUNT THREADS
 *
 * PORT and REDISCLI_AUTH are in the environment. Says "ready" when connected; `produce` begins at a line of
 * input and says "pushed" when all is added; `consume` says "done" when all COUNT are.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/queue.h>

/* What vimd's workers take at a time, and for how long. */
#define TAKE 8
#define WAIT_MS 100
#define LEASE_MS 60000
#define THREADS_MAX 256

/* As the plugin's option table fills it. */
struct config {
    const char *address, *username, *password;
    int64_t database;
    const char *prefix;
    int64_t capacity, connections, timeout;
};

struct vim_self {
    int unused;
};

/* One pull. */
struct vim_call {
    uint32_t count;
    char ids[TAKE][64];
};

static const struct vim_queue_ops *ops;
static void *instance;
static unsigned count;
static atomic_uint next, done;

static void host_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    (void)self;
    fprintf(stderr, "queue_tasks: %d %s %s\n", level, event, fields ? fields : "");
}

static void host_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    (void)self, (void)name, (void)labels, (void)add;
}

static const char *host_about(struct vim_self *self, const char *name)
{
    (void)self;
    return strcmp(name, "instance") == 0 ? "bench" : NULL;
}

static int host_emit(struct vim_call *call, const struct vim_item *item)
{
    if (item->id)
        snprintf(call->ids[call->count++], sizeof call->ids[0], "%s", item->id);
    return call->count == TAKE;
}

static int host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    (void)call, (void)retry_after_ms;
    fprintf(stderr, "queue_tasks: %s\n", text);
    return code;
}

static int64_t host_left_ms(struct vim_call *call)
{
    (void)call;
    return 60000;
}

static const struct vim_host host = {
    .size = sizeof host,
    .abi = VIM_ABI,
    .log = host_log,
    .count = host_count,
    .about = host_about,
    .emit = host_emit,
    .fail = host_fail,
    .left_ms = host_left_ms,
};

static void must(int code)
{
    if (code < 0)
        exit(1);
}

static void *produce(void *context)
{
    char id[64];
    unsigned number;

    while ((number = atomic_fetch_add(&next, 1)) < count) {
        struct vim_call call = {0};

        snprintf(id, sizeof id, "task-%u", number);
        must(ops->push(&call, instance, "task", id, 0));
    }
    return context;
}

static void *consume(void *context)
{
    while (atomic_load(&done) < count) {
        struct vim_call call = {0};

        must(ops->pull(&call, instance, "task", TAKE, WAIT_MS, LEASE_MS));
        for (uint32_t i = 0; i < call.count; i++) {
            struct vim_call end = {0};

            must(ops->done(&end, instance, "task", call.ids[i]));
            if (atomic_fetch_add(&done, 1) + 1 == count)
                ops->interrupt(instance);
        }
    }
    return context;
}

static const struct vim_plugin *load(const char *path)
{
    const struct vim_plugin *(*entry)(uint32_t);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        fprintf(stderr, "queue_tasks: %s\n", dlerror());
        exit(1);
    }
    *(void **)&entry = dlsym(library, "vim_plugin_entry");
    return entry(VIM_ABI);
}

int main(int argc, char **argv)
{
    struct config config = {.password = getenv("REDISCLI_AUTH"),
                            .prefix = "bench",
                            .capacity = 10000000,
                            .connections = 16,
                            .timeout = 10000};
    const struct vim_plugin *plugin;
    struct vim_self self = {0};
    struct vim_call call = {0};
    pthread_t threads[THREADS_MAX];
    char address[64];
    int number = argc == 5 ? atoi(argv[4]) : 0;
    bool produces;

    if (number < 1 || number > THREADS_MAX || !getenv("PORT")) {
        fprintf(stderr, "usage: queue_tasks PLUGIN produce|consume COUNT THREADS\n");
        return 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%s", getenv("PORT"));
    config.address = address;
    produces = strcmp(argv[2], "produce") == 0;
    count = (unsigned)atoi(argv[3]);
    plugin = load(argv[1]);
    ops = plugin->ops;
    must(plugin->open(&call, &host, &self, &config, &instance));
    must(ops->depth(&call, instance, "task"));
    printf("ready\n");
    fflush(stdout);
    if (produces)
        getchar();
    for (int i = 0; i < number; i++)
        pthread_create(&threads[i], NULL, produces ? produce : consume, NULL);
    for (int i = 0; i < number; i++)
        pthread_join(threads[i], NULL);
    printf(produces ? "pushed\n" : "done\n");
    plugin->close(instance);
    return 0;
}
