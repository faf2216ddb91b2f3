/*
 * The driver side of the mock, in the shape of any driver:
 *   plugin.c   descriptor, options, open, close, probe
 *   wire.c     one function per call to the far side: token, counting, errors translated
 *   driver.c   list, get, and the steps of what is done in one call
 *   naive.c    how a create would wait if waiting were not shared, to be measured against
 *   create.c   creates that take several steps: servers with their ports, groups with their rules,
 *              routers with their interfaces
 */
#ifndef MOCK_H
#define MOCK_H

#include "backend.h"

#include <stdatomic.h>
#include <vim/driver.h>
#include <vim/sdk.h>

/* Filled by the option table. */
struct mock_config {
    int64_t seed;
    const char *latency_distribution;
    int64_t latency_mean;
    int64_t network_latency_mean;
    int64_t builders;
    const char *server_ports;
    const char *polling;
    int64_t delete_latency_mean;
    int64_t call_latency;
    int64_t page_limit;
    int64_t hosts;
    int64_t host_vcpus;
    int64_t host_ram;
    struct vim_texts quotas;
    struct vim_texts faults;
    const char *folder;
};

struct naive;

/* An instance. Immutable but for the token, what naive.c remembers, and, in reconfigure(), what the
 * options say. */
struct mock {
    const struct vim_host *host;
    struct vim_self *self;
    struct backend *backend;
    struct fault_rule *rules; /* the backend uses them */
    atomic_bool token; /* good, as far as we know */
    bool ports_by_cloud;
    bool polls_naively;
    struct naive *naive;
};

/* One call of vimd's to the driver, with what the far side last answered. */
struct session {
    struct mock *mock;
    const struct vim_host *host;
    struct vim_call *call;
    struct reply reply;
};

extern const struct vim_driver_ops mock_driver_ops;

/* --- wire.c: each makes one call to the far side. VIM_OK, with PAGE filled, or an error that was
 * explained with fail(). The caller frees PAGE in either case. --- */
int wire_hello(struct session *session);
int wire_list(struct session *session, const struct backend_query *query, struct page *page);
/* WHAT is "quota", "zone", "host" or "console". */
int wire_look(struct session *session, const char *what, const char *id, struct page *page);
int wire_get(struct session *session, const char *kind, const char *id, struct page *page);
int wire_create(struct session *session, const char *kind, json_t *spec, const char *tag,
                struct page *page);
int wire_update(struct session *session, const char *kind, const char *id, json_t *fields,
                struct page *page);
int wire_delete(struct session *session, const char *kind, const char *id);
int wire_action(struct session *session, const char *kind, const char *id, const char *action,
                json_t *arguments, const char *tag, struct page *page);
int wire_upload(struct session *session, const char *id, int64_t size, const char *checksum,
                struct page *page);

/* --- driver.c --- */

/* Makes a thing exactly once: if a step before may have made it already, it is looked for by its
 * tag first. PAGE then holds it. */
int make_once(struct session *session, const char *kind, json_t *spec, const char *tag,
              bool may_exist, struct page *page);

/* Emits a thing. Nonzero when no more are wanted. */
int emit_view(struct session *session, const char *kind, const struct view *view);

/* The end of a step after which the resource may still be on its way: emits it and is VIM_OK when it
 * has settled well, VIM_E_FAILED when it has not, else VIM_AGAIN. */
int settle_view(struct session *session, const char *kind, const struct view *view);

/* The same for a later step: judges by what the inventory saw, or asks. */
int settle_later(struct session *session, const struct vim_op *op, const char *id);

/* Deletes whatever carries the tag of the operation, for an undo. */
int take_back(struct session *session, const struct vim_op *op);

/* --- naive.c: waiting as it should not be done, see there. --- */
struct naive *naive_new(void);
void naive_free(struct naive *naive);

/* The instance has made, or deleted, a thing. */
void naive_remember(struct naive *naive, const char *kind, const char *id);
void naive_forget(struct naive *naive, const char *kind, const char *id);

/* One round: asks about every thing of the kind. PAGE gets the one with ID. As wire_get(). */
int naive_round(struct session *session, const char *kind, const char *id, struct page *page);

/* --- create.c --- */
int create_server(struct session *session, const struct vim_op *op, json_t *spec);
int undo_server(struct session *session, const struct vim_op *op);
int create_group(struct session *session, const struct vim_op *op, json_t *spec);
int create_router(struct session *session, const struct vim_op *op, json_t *spec);

/* Takes the router's interfaces away, and then itself. VIM_E_NOT_FOUND if it is gone already. */
int remove_router(struct session *session, const char *id);

#endif
