/*
 * logic/route.h - the table of routes: what is served, who may ask, who answers, and what
 * /openapi.json says of it.
 *
 * A template with {plural} stands for one route per kind of resource that its flags fit.
 */
#ifndef VIMD_LOGIC_ROUTE_H
#define VIMD_LOGIC_ROUTE_H

#include "logic/call.h"

enum route_flag {
    ROUTE_PUBLIC = 1u << 0, /* needs no principal */
    ROUTE_CHEAP = 1u << 1, /* answers at once where the store is cheap */
    ROUTE_BODY = 1u << 2, /* takes a JSON body */
    ROUTE_EMPTY = 1u << 3, /* takes no body, or an empty object */
    ROUTE_SPOOL = 1u << 4, /* takes data, spooled to a file */
    ROUTE_LIST = 1u << 5, /* a list: its query is checked by the list */
    ROUTE_ACTIONS = 1u << 6, /* only of kinds that have actions */
    ROUTE_DATA = 1u << 7, /* only of kinds that have data: images */
    ROUTE_TASK = 1u << 8, /* makes a task: Prefer, Idempotency-Key */
    ROUTE_OWN = 1u << 9 /* about the process that is asked */
};

struct route {
    const char *method;
    const char *template;
    void (*handle)(struct call *call);
    enum role role; /* 0: public */
    unsigned flags;
    const char *query; /* parameters taken, words; of lists those besides the list's own */
    const char *request; /* schema of the body, or NULL */
    const char *answers; /* "200:Server 404": statuses and schemas of bodies, words; {Kind} */
    const char *operation; /* operationId; {Kind}, {Kinds} */
    const char *summary;
};

#define ROUTE_SEGMENTS 6

/* A route of one kind, with its path cut into segments. */
struct route_entry {
    const struct route *route;
    const struct kind *kind;
    char *template;
    struct {
        const char *text; /* inside of template; NULL for {id} */
        size_t length;
    } segments[ROUTE_SEGMENTS];
    unsigned segment_count;
    struct route_entry *next; /* of the bucket, in the order of the table */
};

#define ROUTE_BUCKETS 64

struct route_table {
    struct route_entry *entries;
    size_t count;
    /* The entries by how many segments they have and what the second one, or the only one, is:
     * literal in all routes. */
    struct route_entry *buckets[ROUTE_BUCKETS];
};

struct route_table *routes_new(void);
void routes_free(struct route_table *routes);

/* Finds the route of METHOD (HEAD is GET) and PATH. RET_ID gets the {id}, or the first of several such. NULL if there is none:
 * then RET_ALLOW, which may be NULL, lists the methods that PATH does have, or is empty if the
 * path is unknown. */
struct text;
const struct route_entry *routes_match(const struct route_table *routes, const char *method,
                                       const char *path, char ret_id[CALL_ID_SIZE],
                                       struct text *ret_allow);

/* The {id} in PATH, which ENTRY was found for; "" if there is none. */
void route_id(const struct route_entry *entry, const char *path, char ret_id[CALL_ID_SIZE]);

/* The routes as data, for documentation. */
const struct route *routes_all(size_t *ret_count);

/* --- Handlers -------------------------------------------------------------------------------- */

void meta_health(struct call *call);
void meta_ready(struct call *call);
void meta_metrics(struct call *call);
void meta_openapi(struct call *call);
void meta_version(struct call *call);
void meta_whoami(struct call *call);
void meta_plugins(struct call *call);
void meta_blocks(struct call *call);

void vims_list(struct call *call);
void vims_get_one(struct call *call);
void vims_check(struct call *call);
void vims_capabilities(struct call *call);
void vims_capacity(struct call *call);
void vims_zones(struct call *call);
void vims_hosts(struct call *call);

void servers_interfaces(struct call *call);
void servers_volumes(struct call *call);
void servers_console(struct call *call);

void resources_list(struct call *call);
void resources_get(struct call *call);
void resources_create(struct call *call);
void resources_update(struct call *call);
void resources_delete(struct call *call);
void resources_act(struct call *call);
void resources_upload(struct call *call);

void services_get(struct call *call);
void services_create(struct call *call);
void services_update(struct call *call);
void services_replace(struct call *call);
void services_delete(struct call *call);
void services_act(struct call *call);
void services_tasks(struct call *call);

void tasks_routes_list(struct call *call);
void tasks_routes_get(struct call *call);
void tasks_routes_cancel(struct call *call);
void tasks_routes_retry(struct call *call);
void tasks_routes_rollback(struct call *call);
void tasks_routes_fail(struct call *call);

void scaling_list(struct call *call);
void scaling_get(struct call *call);
void scaling_explain(struct call *call);
void scaling_decisions(struct call *call);
void scaling_mode(struct call *call);
void scaling_approve(struct call *call);

void events_list(struct call *call);
void events_stream(struct call *call);

void alarms_list(struct call *call);
void orphans_list(struct call *call);
void orphans_adopt(struct call *call);
void orphans_delete(struct call *call);
void drift_list(struct call *call);
void drift_accept(struct call *call);
void drift_repair(struct call *call);

void subscriptions_list(struct call *call);
void subscriptions_get(struct call *call);
void subscriptions_create(struct call *call);
void subscriptions_update(struct call *call);
void subscriptions_delete(struct call *call);
void dead_letters_list(struct call *call);
void dead_letters_get(struct call *call);
void dead_letters_resend(struct call *call);
void dead_letters_delete(struct call *call);

void tokens_list(struct call *call);
void tokens_get(struct call *call);
void tokens_create(struct call *call);
void tokens_revoke(struct call *call);

#endif
