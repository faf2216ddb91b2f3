/*
 * model/resource.h - a resource as a row: what is stored is what GET answers, byte for byte.
 *
 * The row: collection = kind, id = vimd's id, parent = project ("*" for shared ones), state = the
 * number of its status, due = 0. The body holds, in this order, the fields that vimd adds (id,
 * kind, name, vim, project, shared, status, pending, status_reason, backend_id, task, tag, adopted, drift, labels)
 * followed by those that the driver emitted.
 *
 * Life: created by a task's commit (status QUEUED or BUILD, no backend_id yet) or by the
 * inventory (found at the far side, id derived from vim, kind and backend id); merged with what
 * the far side shows; deleted when a delete task ends or a complete pass no longer shows it.
 */
#ifndef VIMD_MODEL_RESOURCE_H
#define VIMD_MODEL_RESOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include <vim/driver.h>
#include "model/store.h"

/* Parent of rows that every project may read. */
#define PROJECT_SHARED "*"

/* Numbers of statuses as the store's state column has them (never renumber: they are stored). */
enum resource_status {
    STATUS_UNKNOWN = 0,
    STATUS_QUEUED,
    STATUS_BUILD,
    STATUS_UPDATING,
    STATUS_DELETING,
    STATUS_UPLOADING,
    STATUS_ACTIVE,
    STATUS_SHUTOFF,
    STATUS_PAUSED,
    STATUS_SUSPENDED,
    STATUS_DOWN,
    STATUS_ERROR,
    STATUS_COUNT
};

const char *resource_status_name(enum resource_status status);
/* STATUS_UNKNOWN for a name that is not known; RET_KNOWN may be NULL. */
enum resource_status resource_status_by_name(const char *name, bool *ret_known);

/* What vimd itself knows of a resource; texts are owned. */
struct resource {
    char *id, *kind, *name, *vim, *project, *status_reason, *backend_id, *task;
    char
        *tag; /* of one that was found and carries a tag of vimd's: the id that it was made under */
    enum resource_status status;
    bool shared, pending;
    bool adopted; /* found, and taken for vimd's own by somebody */
    json_t *drift; /* see model/drift.h, or NULL */
    json_t *labels; /* object of texts, or NULL */
    json_t *body; /* the driver's fields (name excepted), or NULL */
    uint64_t revision; /* of the row it was read from; 0 for a new one */
};

void resource_free(struct resource *resource); /* frees what it holds and clears it */

/* Row body text <-> struct. resource_render returns a malloc'ed text. */
int resource_parse(const struct row *row, const char *kind, struct resource *ret_resource,
                   struct failure *failure);
char *resource_render(const struct resource *resource);

/* The write that stores RESOURCE, expecting its revision (absent if 0). BODY is the rendered
 * text, which like RESOURCE must live as long as the write. */
struct vim_write resource_write(const struct resource *resource, const char *body);

/* The id that the inventory gives to what it finds at the far side and nobody here made. */
void resource_derive_id(const char *vim, const char *kind, const char *backend_id, char ret_id[37]);

/* Alias rows: (vim, kind, backend id) -> vimd's id, for resources whose id is not derived. Answers
 * are cached, bounded in number, and looked up again after a minute: a far side whose ids are names
 * (keypairs) gives the same one to another resource later. */
struct aliases;
struct aliases *aliases_new(struct store *store, size_t cache_entries);
void aliases_free(struct aliases *aliases);
/* vimd's id for a backend id: the alias if there is one, else the derived id. */
int aliases_find(struct aliases *aliases, const char *vim, const char *kind, const char *backend_id,
                 char ret_id[37], struct failure *failure);
/* What a commit of this process made of an alias: ID, or NULL for none (any more). */
void aliases_learn(struct aliases *aliases, const char *vim, const char *kind,
                   const char *backend_id, const char *id);
/* The write that makes an alias, or with ID NULL removes it, whatever there is; texts are stored in
 * BUFFER. */
struct alias_buffer {
    char id[200];
    char body[64];
};
struct vim_write alias_write(const char *vim, const char *kind, const char *backend_id,
                             const char *id, struct alias_buffer *buffer);

#endif
