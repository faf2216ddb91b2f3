/*
 * Calls of store-postgres per second, as vimd makes them: from several threads on one instance.
 *
 *     store_calls PLUGIN fill|get|commit|hot THREADS SECONDS
 *
 *   fill    10 000 rows for the gets; prints nothing
 *   get     one of them at random
 *   commit  three new rows of 1500, 900 and 120 bytes, as accepting a task writes
 *   hot     one and the same row, by all
 *
 * PORT, REPLICAS (ports, or empty) and PGPASSWORD are in the environment. Prints calls per second.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vim/store.h>

#define ROWS 10000
#define THREADS_MAX 256
#define HOSTS_MAX 8

/* As the plugin's option table fills it. */
struct config {
    struct vim_texts hosts;
    const char *database, *user, *password, *schema;
    int64_t connections;
    const char *durability;
    int64_t connect_timeout, replica_wait;
    const char *sslmode, *ca_file, *certificate, *key;
};

struct vim_self {
    int unused;
};

struct vim_call {
    uint32_t count;
};

static const struct vim_store_ops *ops;
static void *instance;
static atomic_bool stop;
static atomic_ullong calls;
static char bodies[3][1501];
static double replica_reads, primary_reads;

static void host_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    (void)self;
    fprintf(stderr, "store_calls: %d %s %s\n", level, event, fields ? fields : "");
}

static void host_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    (void)self;
    if (strcmp(name, "reads_total") != 0)
        return;
    pthread_mutex_lock(&lock);
    *(strstr(labels, "\"replica\"") ? &replica_reads : &primary_reads) += add;
    pthread_mutex_unlock(&lock);
}

static const char *host_about(struct vim_self *self, const char *name)
{
    (void)self;
    return strcmp(name, "instance") == 0 ? "bench" : NULL;
}

static int host_emit(struct vim_call *call, const struct vim_item *item)
{
    (void)item;
    call->count++;
    return 0;
}

static int host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    (void)call, (void)retry_after_ms;
    fprintf(stderr, "store_calls: %s\n", text);
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

static void *get_rows(void *context)
{
    unsigned seed = (unsigned)(uintptr_t)context;
    char id[32];

    while (!atomic_load(&stop)) {
        struct vim_call call = {0};

        snprintf(id, sizeof id, "row-%d", rand_r(&seed) % ROWS);
        must(ops->get(&call, instance, "server", id));
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

static void *commit_rows(void *context)
{
    static const char *const collections[] = {"task", "server", "idempotency"};
    unsigned seed = (unsigned)(uintptr_t)context * 65537 + (unsigned)getpid();
    struct vim_write writes[3] = {0};
    char ids[3][64];

    for (unsigned number = 0; !atomic_load(&stop); number++) {
        struct vim_call call = {0};

        for (int i = 0; i < 3; i++) {
            /* Ids are random, as most of vimd's are. */
            snprintf(ids[i], sizeof ids[i], "%08x-%08x-%04x-%u", rand_r(&seed), rand_r(&seed),
                     (unsigned)(uintptr_t)context, number);
            writes[i] = (struct vim_write){.collection = collections[i],
                                           .id = ids[i],
                                           .parent = i < 2 ? "demo" : NULL,
                                           .body = bodies[i],
                                           .due = i ? 0 : 1800000000000 + number,
                                           .state = 1};
        }
        must(ops->commit(&call, instance, writes, 3, sizeof writes[0]));
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

static void *commit_hot(void *context)
{
    struct vim_write write = {
        .collection = "poll", .id = "hot", .body = bodies[2], .expect = VIM_EXPECT_ANY};

    while (!atomic_load(&stop)) {
        struct vim_call call = {0};

        must(ops->commit(&call, instance, &write, 1, sizeof write));
        atomic_fetch_add(&calls, 1);
    }
    return context;
}

static void fill(void)
{
    char ids[100][32];
    struct vim_write writes[100];

    for (int i = 0; i < ROWS; i += 100) {
        struct vim_call call = {0};

        for (int j = 0; j < 100; j++) {
            snprintf(ids[j], sizeof ids[j], "row-%d", i + j);
            writes[j] = (struct vim_write){.collection = "server",
                                           .id = ids[j],
                                           .parent = "demo",
                                           .body = bodies[1],
                                           .expect = VIM_EXPECT_ANY};
        }
        must(ops->commit(&call, instance, writes, 100, sizeof writes[0]));
    }
}

static void open_store(const char *path)
{
    static struct config config = {.database = "postgres",
                                   .user = "vimd",
                                   .schema = "bench",
                                   .connections = 8,
                                   .durability = "power",
                                   .connect_timeout = 10000,
                                   .replica_wait = 20,
                                   .ca_file = ""};
    static char hosts[HOSTS_MAX][64];
    static const char *names[HOSTS_MAX];
    static struct vim_self self;
    const struct vim_plugin *(*entry)(uint32_t);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    char *ports = strdup(getenv("REPLICAS") ? getenv("REPLICAS") : ""), *rest = ports;
    struct vim_call call = {0};
    unsigned number = 0;

    if (!library || !ports) {
        fprintf(stderr, "store_calls: %s\n", dlerror());
        exit(1);
    }
    snprintf(hosts[number++], sizeof hosts[0], "127.0.0.1:%s", getenv("PORT"));
    for (char *port; number < HOSTS_MAX && (port = strsep(&rest, " "));)
        if (*port)
            snprintf(hosts[number++], sizeof hosts[0], "127.0.0.1:%s replica", port);
    for (unsigned i = 0; i < number; i++)
        names[i] = hosts[i];
    config.hosts = (struct vim_texts){.count = number, .items = names};
    config.password = getenv("PGPASSWORD");
    *(void **)&entry = dlsym(library, "vim_plugin_entry");
    ops = entry(VIM_ABI)->ops;
    must(entry(VIM_ABI)->open(&call, &host, &self, &config, &instance));
    free(ports);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    int number = argc == 5 ? atoi(argv[3]) : 0;
    void *(*work)(void *) = NULL;
    struct timespec pause = {.tv_sec = argc == 5 ? atoi(argv[4]) : 0};

    for (int i = 0; i < 3; i++)
        memset(bodies[i], 'x', (size_t[]){1500, 900, 120}[i]);
    if (argc == 5)
        work = strcmp(argv[2], "get") == 0      ? get_rows
               : strcmp(argv[2], "commit") == 0 ? commit_rows
               : strcmp(argv[2], "hot") == 0    ? commit_hot
                                                : NULL;
    if (number < 1 || number > THREADS_MAX || !getenv("PORT")) {
        fprintf(stderr, "usage: store_calls PLUGIN fill|get|commit|hot THREADS SECONDS\n");
        return 2;
    }
    open_store(argv[1]);
    if (!work) {
        fill();
        return 0;
    }
    for (int i = 0; i < number; i++)
        pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1));
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* connections are made */
    unsigned long long before = atomic_load(&calls);
    nanosleep(&pause, NULL);
    printf("%.1f\n", (double)(atomic_load(&calls) - before) / (double)pause.tv_sec);
    if (replica_reads > 0)
        fprintf(stderr, "answered by replicas: %.0f %%\n",
                100 * replica_reads / (replica_reads + primary_reads));
    atomic_store(&stop, true);
    for (int i = 0; i < number; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
