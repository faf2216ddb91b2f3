/*
 * fixture.h - what the tests of store-postgres share: the plugin, instances of it, and the servers that
 * tests/servers/with has started, spoken to behind its back.
 */
#ifndef POSTGRES_FIXTURE_H
#define POSTGRES_FIXTURE_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <vim/store.h>

#include "test_host.h"

/* As the plugin's option table fills it. */
struct config {
    struct vim_texts hosts;
    const char *database, *user, *password, *schema;
    int64_t connections;
    const char *durability;
    int64_t connect_timeout, replica_wait, replica_refresh;
    const char *sslmode, *ca_file, *certificate, *key;
};

/* One test's own schema; hosts are the primary and the replicas that there are, of which the configuration
 * has the primary only, until the test says otherwise. */
struct fixture {
    char schema[32];
    char addresses[3][64];
    const char *hosts[3];
    struct vim_self self;
    struct config config;
    void *instance;
};

extern const struct vim_plugin *plugin;
extern const struct vim_store_ops *ops;

/* Who answered reads of instances that have replicas; commits that were tried again; batches of short reads; calls that
 * wait for others of the instance. */
extern atomic_uint answered_by_replica, answered_by_primary, commit_retries, batches, told_to_wait;

/* Loads the plugin. */
void fixture_load(void);

int fixture_setup(void **state);
int fixture_teardown(void **state);

int open_with(struct fixture *fixture, struct vim_call *call, void **ret_instance);
void open_store(struct fixture *fixture);

/* Writes a row "c"/ID; reads it. */
int put(void *instance, const char *id, uint64_t expect);
int get(void *instance, const char *id);

/* A connection of the test's own to the server on PORT (a variable's name); SQL in one of its own. */
PGconn *raw_connection_to(const char *port_variable);
PGconn *raw_connection(void);
void run_sql_on(const char *port_variable, const char *sql);
void run_sql(const char *sql);

/* TEMPLATE with the name of the test's schema in place of every @. */
void schema_text(const struct fixture *fixture, const char *template, char ret_sql[1024]);
void run_schema_sql(const struct fixture *fixture, const char *template);

#endif
