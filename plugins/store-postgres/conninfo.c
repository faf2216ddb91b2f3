/*
 * From the options to libpq's parameters. All that matters is set here, so that a PGHOST or
 * PGSSLMODE in the environment changes nothing.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define ADDRESS_MAX (HOST_NAME_SIZE - 1)

struct host {
    struct replica_name at;
    bool replica;
};

static bool is_local(const char *name)
{
    return name[0] == '/' || strcmp(name, "localhost") == 0 || strcmp(name, "::1") == 0 ||
           strncmp(name, "127.", 4) == 0;
}

/* Is it one to look up, which may have any number of addresses? */
static bool is_looked_up(const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return !is_local(name) && !strchr(name, '%') && inet_pton(AF_INET, name, bytes) != 1 &&
           inet_pton(AF_INET6, name, bytes) != 1;
}

static bool valid_port(const char *text)
{
    return strlen(text) > 0 && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
           atoi(text) >= 1 && atoi(text) <= 65535;
}

static bool valid_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-:/%@", *c))
            return false;
    return name[0];
}

/* "NAME", "NAME:PORT", "[IPV6]:PORT" or "/FOLDER:PORT", then maybe "primary" or "replica". */
static bool parse_host(const char *text, struct host *ret_host)
{
    char address[ADDRESS_MAX + 1] = "", role[16] = "primary", rest[2] = "";
    int words = sscanf(text, "%255s %15s %1s", address, role, rest);
    char default_port[] = "5432", *name = address, *port = strrchr(address, ':');

    if (words < 1 || words > 2 || (strcmp(role, "primary") != 0 && strcmp(role, "replica") != 0))
        return false;
    if (address[0] == '[') {
        char *end = strchr(address, ']');

        if (!end || (end[1] && end[1] != ':'))
            return false;
        port = end[1] ? end + 1 : NULL;
        *end = '\0';
        name = address + 1;
    } else if (port && strchr(address, ':') != port) {
        port = NULL; /* an IPv6 address without brackets */
    }
    if (port)
        *port++ = '\0';
    else
        port = default_port;
    if (!valid_name(name) || !valid_port(port))
        return false;
    memcpy(ret_host->at.name, name, strlen(name) + 1);
    memcpy(ret_host->at.port, port, strlen(port) + 1);
    ret_host->replica = strcmp(role, "replica") == 0;
    return true;
}

static int set(struct conninfo *conninfo, const char *key, const char *value)
{
    if (!value)
        return 0;
    conninfo->keys[conninfo->count] = key;
    conninfo->values[conninfo->count] = strdup(value);
    return conninfo->values[conninfo->count++] ? 0 : -1;
}

void conninfo_clear(struct conninfo *conninfo)
{
    for (unsigned i = 0; i < conninfo->count; i++) {
        if (strcmp(conninfo->keys[i], "password") == 0)
            explicit_bzero(conninfo->values[i], strlen(conninfo->values[i]));
        free(conninfo->values[i]);
    }
    conninfo->count = 0;
}

/* Another host behind those that are there, separated by commas. */
static int add_host(struct conninfo *conninfo, const struct replica_name *host)
{
    const char *values[2] = {host->name, host->port};

    if (conninfo->count == 0)
        return set(conninfo, "host", host->name) < 0 || set(conninfo, "port", host->port) < 0 ? -1
                                                                                              : 0;
    for (int i = 0; i < 2; i++) {
        char *longer = NULL;

        if (asprintf(&longer, "%s,%s", conninfo->values[i], values[i]) < 0)
            return -1;
        free(conninfo->values[i]);
        conninfo->values[i] = longer;
    }
    return 0;
}

/* What is the same for every host. Verification is left out only where nobody can sit between. */
static int add_common(struct postgres_store *store, struct place *place, bool local)
{
    const struct store_config *config = store->config;
    struct conninfo *conninfo = &place->conninfo;
    const char *instance = store->host->about(store->self, "instance");
    const char *mode = config->sslmode ? config->sslmode : local ? "prefer" : "verify-full";
    char name[64];
    int rc = 0;

    snprintf(name, sizeof name, "vimd %.50s", instance ? instance : "");
    rc |= set(conninfo, "dbname", config->database);
    rc |= set(conninfo, "user", config->user);
    rc |= set(conninfo, "password", config->password);
    rc |= set(conninfo, "sslmode", mode);
    rc |= set(conninfo, "sslrootcert", strncmp(mode, "verify", 6) == 0 ? config->ca_file : NULL);
    rc |= set(conninfo, "sslcert", config->certificate);
    rc |= set(conninfo, "sslkey", config->key);
    rc |= set(conninfo, "gssencmode", "disable");
    rc |= set(conninfo, "application_name", name);
    rc |= set(conninfo, "client_encoding", "UTF8");
    rc |= set(conninfo, "keepalives_idle", "20");
    rc |= set(conninfo, "keepalives_interval", "5");
    rc |= set(conninfo, "keepalives_count", "3");
    rc |= set(conninfo, "target_session_attrs", place->replica ? "any" : "read-write");
    if (strcmp(config->durability, "process") == 0)
        rc |= set(conninfo, "options", "-c synchronous_commit=off");
    snprintf(place->name, sizeof place->name, "%.70s%s%.40s (port %.5s)", conninfo->values[0],
             place->address[0] ? " " : "", place->address, conninfo->values[1]);
    return rc;
}

int conninfo_fill_found(struct postgres_store *store, struct place *place,
                        const struct replica_name *name, const char *address)
{
    snprintf(place->address, sizeof place->address, "%s", address);
    /* By the name its certificate is known, at the address it is reached. */
    if (add_host(&place->conninfo, name) < 0 || set(&place->conninfo, "hostaddr", address) < 0)
        return -1;
    return add_common(store, place, false);
}

/* One more host that is a replica: a place, or a name under which there are such. */
static int add_replica(struct postgres_store *store, const struct replica_name *host,
                       struct store_error *ret_error)
{
    unsigned at = (unsigned)__builtin_popcount(atomic_load(&store->serving));
    struct place *place = &store->replicas[at];

    store->has_replicas = true;
    if (is_looked_up(host->name)) {
        if (store->name_count == REPLICA_NAMES_MAX)
            return store_error_set(ret_error, VIM_E_INVALID,
                                   "hosts: more than %d names of replicas", REPLICA_NAMES_MAX);
        store->names[store->name_count++] = *host;
        return VIM_OK;
    }
    if (at == REPLICAS_MAX)
        return store_error_set(ret_error, VIM_E_INVALID, "hosts: more than %d replicas",
                               REPLICAS_MAX);
    place->taken = true;
    atomic_fetch_or(&store->serving, (uint32_t)1 << at);
    if (add_host(&place->conninfo, host) < 0 || add_common(store, place, is_local(host->name)) < 0)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    return VIM_OK;
}

int conninfo_fill(struct postgres_store *store, struct store_error *ret_error)
{
    static const char *const local_host[] = {"127.0.0.1"};
    struct vim_texts hosts = store->config->hosts;
    struct conninfo *primary = &store->primary.conninfo;
    bool primary_local = true;
    int rc = 0;

    if (hosts.count == 0)
        hosts = (struct vim_texts){.count = 1, .items = local_host};
    for (uint32_t i = 0; i < hosts.count && rc == 0; i++) {
        struct host host;

        if (!parse_host(hosts.items[i], &host))
            return store_error_set(ret_error, VIM_E_INVALID,
                                   "hosts: \"%.100s\" is not HOST, HOST:PORT or a folder, with "
                                   "\"primary\" or \"replica\" behind it",
                                   hosts.items[i]);
        if (!host.replica) {
            primary_local &= is_local(host.at.name);
            rc = add_host(primary, &host.at);
        } else if (add_replica(store, &host.at, ret_error) < 0) {
            return ret_error->code;
        }
    }
    if (rc == 0 && primary->count == 0)
        return store_error_set(ret_error, VIM_E_INVALID, "hosts: none of them is a primary");
    if (rc == 0)
        rc = add_common(store, &store->primary, primary_local);
    return rc == 0 ? VIM_OK : store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
}
