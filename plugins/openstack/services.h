/*
 * services.h - what the driver does with each service: the reads, and one step of each write.
 *
 * Steps return what the host wants of step(): VIM_OK, VIM_AGAIN, or an error with c->error filled.
 * Progress is kept as "PHASE ID" or "PHASE@TIME ID": a word, the far side's id, and since when
 * (milliseconds since 1970) is waited for what may come late.
 */
#ifndef OPENSTACK_SERVICES_H
#define OPENSTACK_SERVICES_H

#include "session.h"

/* How a write goes on: an empty phase at its start. */
struct os_cursor {
    char phase[16];
    int64_t since; /* 0: none; never in the future */
    char id[256];
};

void os_cursor_read(const char *kept, struct os_cursor *ret_cursor);
void os_cursor_keep(struct os_call *c, const char *phase, int64_t since, const char *id);

/* Milliseconds since 1970, by the clock on the wall: cursors outlive the process. */
int64_t os_wall_ms(void);

/* Milliseconds after which an awaited server is looked at even if no list has shown a change. */
#define OS_AWAIT_MS 300000u

/* The step's wanted fields: a new reference to an object, or NULL with c->error filled. */
json_t *os_spec_read(struct os_call *c, const struct vim_op *op);

/* --- list.c */

/* Emits all resources of a kind, or those that changed since. Returns as list() does. */
int os_list(struct os_call *c, const struct os_kind *kind, const char *since, unsigned page_size);

/* Reads all pages of a list. QUERY may be "". FN as with os_read_page(). DATE_MS, if not NULL, gets
 * the far side's clock at the first page. */
int os_pages(struct os_call *c, const struct os_kind *kind, const char *query, unsigned page_size,
             os_found_fn fn, void *context, int64_t *date_ms);

/* The ports of one server, and from them the addresses and security groups of its body. */
int os_server_ports(struct os_call *c, struct os_found *server);

/* VIM_OK if Nova shows all servers, or cannot tell; VIM_E_UNAVAILABLE if a cell is down, so that a
 * server that is not found may be there. */
int os_server_list_is_whole(struct os_call *c);

/* The interfaces of one router. */
int os_router_interfaces(struct os_call *c, struct os_found *router);

/* What the cloud tells of itself: its quotas, and its zones. */
int os_quotas(struct os_call *c);
int os_zones(struct os_call *c);

/* ID is a server's, a slash, and the type of console. */
int os_console(struct os_call *c, const char *id);

/* True if the cloud has SERVICE: in its catalog or in the configuration. Or the error. */
int os_has_service(struct os_call *c, enum os_service service, int *ret_has);

/* Emits one server with its addresses. */
int os_server_get(struct os_call *c, const char *id);

/* --- servers, nova_server.c and nova_action.c */

/* The microversion of all that is done with a server, except its create. */
#define NOVA_SERVER_VERSION "2.46"

/* Ends a step that waits for a server. */
int nova_await(struct os_call *c, const char *id);

/* Why a server is in ERROR, from its body in the vocabulary: VIM_E_QUOTA or VIM_E_FAILED. */
int nova_server_failed(struct os_call *c, const char *id, const json_t *body, const char *doing);

/* One step of an action. */
int nova_action(struct os_call *c, const struct vim_op *op);

/* --- one step of a write */
int nova_server_step(struct os_call *c, const struct vim_op *op);
int nova_flavor_step(struct os_call *c, const struct vim_op *op);
int nova_keypair_step(struct os_call *c, const struct vim_op *op);
int neutron_step(struct os_call *c, const struct os_kind *kind, const struct vim_op *op);
int nova_group_step(struct os_call *c, const struct vim_op *op);
int glance_image_step(struct os_call *c, const struct vim_op *op);
int cinder_step(struct os_call *c, const struct os_kind *kind, const struct vim_op *op);

/* --- neutron_router.c */

/* A router with its interfaces; and the same, emitted. */
int neutron_router_fetch(struct os_call *c, const char *id, struct os_found *ret_found);
int neutron_router_get(struct os_call *c, const char *id);

/* Makes it lead to all of INTERFACES, a list in the vocabulary. */
int neutron_router_lead(struct os_call *c, const char *id, const json_t *interfaces);

/* Takes its interfaces away, then itself. VIM_OK also when it is gone already. */
int neutron_router_delete(struct os_call *c, const char *id);
int neutron_router_act(struct os_call *c, const struct vim_op *op, const json_t *spec);

/* Makes the rules of a group those that RULES, a list in the vocabulary, wants. Repeating it does
 * no harm. */
int neutron_rules_set(struct os_call *c, const char *group, const json_t *rules);

#endif
