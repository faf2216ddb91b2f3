/*
 * model/node.h - rows of network services besides the service's own: its description, and its nodes.
 *
 * The service itself is a resource of the kind "network-service" (model/resource.h): what GET answers,
 * but for the nodes. Its rows:
 *
 *   service-spec  id = the service's: the description with what is never shown, as it stands and as a
 *                 task wants it to be
 *   service-node  id = SERVICE/NODE, parent = the service's id, state = enum node_state: one resource of
 *                 the service, how it is to be made, and how far that has come
 *
 * A node's row is written when it is planned, when a task for it begins and when that has ended; what
 * belongs to a task of the service bears that task's id, so that nothing has to be tidied up after it.
 */
#ifndef VIMD_MODEL_NODE_H
#define VIMD_MODEL_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "base/ids.h"
#include "model/kinds.h"
#include "model/store.h"

/* Stored as the row's state: never renumber. */
enum node_state {
    NODE_WAITING = 0, /* for what it needs, or for its turn */
    NODE_MAKING,
    NODE_CHANGING,
    NODE_REMOVING,
    NODE_READY,
    NODE_FAILED,
    NODE_STATE_COUNT
};
const char *node_state_name(enum node_state state);

struct node {
    char *id; /* of the row */
    char *service, *name;
    const struct kind *kind;
    char resource[ID_SIZE]; /* vimd's id of the resource, given before it is made */
    char task[ID_SIZE]; /* that worked on it last, or "" */
    enum node_state state;
    bool there; /* the resource was made, and not removed since */
    json_t *needs; /* names of nodes */
    json_t *spec; /* as it is to be, or is if it is READY; with references */
    char *error; /* why it is FAILED */
    /* What belongs to a task of the service, and means nothing to another one. */
    char *made_by; /* the task that brought it into the service */
    char *drop_by; /* the task that takes it out */
    char *renew_by; /* the task that makes it anew, until it has removed what there was */
    char *old_by; /* the task that changes it, from */
    json_t *old; /* this spec, */
    json_t *old_needs; /* with these needs */
    json_t *have; /* what the resource is while that is not what `spec` says; NULL: it is */
    bool tried; /* a step towards `spec` was begun whose end is not known to have done it */
    uint64_t revision; /* 0: a new row */
};

void node_free(struct node *node); /* frees what it holds and clears it */

int node_parse(const struct row *row, struct node *ret_node, struct failure *failure);
/* malloc'ed. */
char *node_render(const struct node *node);
/* BODY NULL deletes the row. Texts must live as long as the write. */
struct vim_write node_write(const struct node *node, const char *body);
/* The id of a node's row; malloc'ed. */
char *node_row_id(const char *service, const char *name);

/* The next thing to do to a resource that is as HAVE says, so that it becomes as WANT says. */
struct node_change {
    uint32_t verb; /* VIM_VERB_UPDATE, VIM_VERB_ACTION; 0: nothing is left to be done */
    const char *action;
    json_t *spec; /* fields of the update, or arguments of the action, with references */
    json_t *result; /* what the resource is after it */
    char *problem; /* a field that cannot be changed; NULL: it can be done */
};
void node_change_free(struct node_change *change);
void node_change_find(const struct kind *kind, const json_t *have, const json_t *want,
                      struct node_change *ret_change);
/* The first field on the whole way from HAVE to WANT that cannot be changed, malloc'ed; or NULL. */
char *node_change_problem(const struct kind *kind, const json_t *have, const json_t *want);
/* Can this field of a resource be changed, in whatever way? */
bool node_field_changes(const struct kind *kind, const char *field);
/* What the resource may be, at the most, when a step from HAVE towards SPEC has failed: what it could have
 * done is to be undone. A new reference. */
json_t *node_perhaps(const struct kind *kind, const json_t *have, const json_t *spec);
/* What a create makes of SPEC: all of it but what is done to it afterwards. A new reference. */
json_t *node_created(const struct kind *kind, const json_t *spec);
/* What has to be undone before the resource can be deleted is not in it. A new reference. */
json_t *node_bare(const struct kind *kind, const json_t *have);

/* The row with a service's description. */
struct service_spec {
    json_t *now; /* the description as it stands; NULL while it is being created */
    json_t *next; /* as the task `by` wants it, or NULL */
    char *by;
    char *prefix; /* what the names of its resources begin with */
    uint64_t revision;
};
void service_spec_free(struct service_spec *spec);
int service_spec_get(struct store *store, const char *service, struct service_spec *ret_spec,
                     struct failure *failure);
char *service_spec_render(const struct service_spec *spec);

#endif
