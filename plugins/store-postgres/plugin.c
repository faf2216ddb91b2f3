#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#include "postgres_store.h"

#define SCHEMA_NAME_MAX 63

static const struct vim_option options[] = {
    VIM_OPTION_LIST(struct store_config, hosts, 0,
                    "Where PostgreSQL is: HOST, HOST:PORT, [IPV6]:PORT or the folder of a unix "
                    "socket, each with a role behind it, primary (the default) or replica; several "
                    "primaries are tried in order until one takes writes. Each address of a "
                    "replica's name is one. Left out: 127.0.0.1."),
    VIM_OPTION_TEXT(struct store_config, database, 0, "vimd",
                    "Name of the database, which has to exist."),
    VIM_OPTION_TEXT(struct store_config, user, 0, "vimd", "Role to log in as."),
    VIM_OPTION_TEXT(struct store_config, password, VIM_SECRET, NULL,
                    "Password of the role; left out: none, or as libpq's password file has it."),
    VIM_OPTION_TEXT(struct store_config, schema, 0, "vimd",
                    "Schema of the tables, made if there is none; a-z, 0-9 and _. Services that "
                    "share a database need one each."),
    VIM_OPTION_INTEGER(struct store_config, connections, 0, "8", 1, 1000,
                       "Connections of this instance at most, to the primary and to each replica; "
                       "made when needed. Calls beyond wait for one."),
    VIM_OPTION_CHOICE(struct store_config, durability, 0, "power", "power process",
                      "What an acknowledged write survives: power, what the server's "
                      "synchronous_commit promises (with `on`, a power cut); process, only a kill "
                      "of vimd (synchronous_commit is turned off for it)."),
    VIM_OPTION_DURATION(struct store_config, connect_timeout, 0, "5s", 100, 60000,
                        "How long a call waits for the server to come back before it fails as "
                        "unavailable."),
    VIM_OPTION_DURATION(
        struct store_config, replica_wait, 0, "20ms", 0, 10000,
        "How long a read waits for a replica to have what was committed before it, "
        "before the primary answers it; up to 25 times as long while the primary is "
        "busy."),
    VIM_OPTION_DURATION(
        struct store_config, replica_refresh, 0, "2s", 100, 3600000,
        "Between looks for the addresses of replicas' names. One that is gone is not read any "
        "more, and what it is reading is read to the end."),
    VIM_OPTION_CHOICE(struct store_config, sslmode, 0, NULL,
                      "disable prefer require verify-ca verify-full",
                      "TLS, as libpq names it; left out: verify-full, or prefer if all hosts are "
                      "loopback or unix sockets. Less than verify-ca lets anybody in between read "
                      "and change everything."),
    VIM_OPTION_PATH(struct store_config, ca_file, 0, "/etc/ssl/certs/ca-certificates.crt",
                    "Certificates (PEM) of the authorities that the server's certificate is "
                    "verified with."),
    VIM_OPTION_PATH(struct store_config, certificate, 0, NULL,
                    "Certificate (PEM) to log in with; needs `key`."),
    VIM_OPTION_PATH(struct store_config, key, 0, NULL,
                    "Private key (PEM) of `certificate`, readable by its owner alone."),
};

static bool valid_schema(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= SCHEMA_NAME_MAX && !(name[0] >= '0' && name[0] <= '9') &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length &&
           strncmp(name, "pg_", 3) != 0;
}

static int check_config(const struct store_config *config, struct store_error *ret_error)
{
    if (!valid_schema(config->schema))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "schema: a name is 1..%d characters of a-z 0-9 _, begins with no "
                               "digit, and not with pg_",
                               SCHEMA_NAME_MAX);
    if (!config->database[0])
        return store_error_set(ret_error, VIM_E_INVALID, "database: is empty");
    if (!config->user[0])
        return store_error_set(ret_error, VIM_E_INVALID, "user: is empty");
    if (!config->certificate != !config->key)
        return store_error_set(ret_error, VIM_E_INVALID,
                               "certificate: goes with `key`, and the other way round");
    return VIM_OK;
}

static void store_free(struct postgres_store *store)
{
    places_clear(store);
    replicas_clear(store);
    batches_clear(store);
    scan_sql_clear(store);
    pthread_mutex_destroy(&store->sql_lock);
    free(store);
}

static int store_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                      const void *config, void **ret_instance)
{
    struct postgres_store *store = calloc(1, sizeof *store);
    struct store_error error = {0};
    int rc;

    if (!store)
        return host->fail(call, VIM_E_UNAVAILABLE, 0, "out of memory");
    store->host = host;
    store->self = self;
    store->config = config;
    pthread_mutex_init(&store->sql_lock, NULL);
    rc = replicas_init(store) | places_init(store);
    batches_init(store);
    if (rc)
        store_error_set(&error, VIM_E_UNAVAILABLE, "out of memory");
    else if (check_config(config, &error) == VIM_OK && conninfo_fill(store, &error) == VIM_OK)
        places_start(store, &error);
    if (error.code < 0) {
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
    struct postgres_store *store = instance;
    struct connection *connection = NULL;
    PGresult *result = NULL;
    struct store_error error;
    char body[360];
    unsigned replicas = 0, reachable = 0, in_step = 0;
    struct vim_item item = {.size = sizeof item, .kind = "vim", .id = "store", .body = body};
    int version, code = connection_borrow(call, &store->primary, true, &connection, &error);

    if (code < 0)
        return store->host->fail(call, code, 0, error.text);
    version = PQserverVersion(connection->pg);
    code = connection_run(call, connection, INT64_MAX, NULL,
                          "SELECT current_setting('synchronous_commit')", 0, NULL, &result, &error);
    if (code == VIM_OK) {
        replicas = replicas_count(call, store, &reachable, &in_step);
        snprintf(body, sizeof body,
                 "{\"postgresql\":\"%d.%d\",\"schema\":%d,\"synchronous_commit\":\"%.20s\","
                 "\"tls\":%s,\"replicas\":%u,\"replicas_reachable\":%u,"
                 "\"replicas_in_step\":%u}",
                 version / 10000, version % 10000, schema_version(), PQgetvalue(result, 0, 0),
                 PQsslInUse(connection->pg) ? "true" : "false", replicas, reachable, in_step);
    }
    PQclear(result);
    connection_return(connection);
    if (code < 0)
        return store->host->fail(call, code == VIM_E_LOST ? VIM_E_UNAVAILABLE : code, 0,
                                 error.text);
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
    .name = "store-postgres",
    .version = VIMD_VERSION,
    .summary = "Keeps all rows in PostgreSQL, for several machines; replicas share the reads.",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof options[0],
    .config_size = sizeof(struct store_config),
    .open = store_open,
    .close = store_close,
    .probe = store_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)
