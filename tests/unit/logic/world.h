/*
 * The block logic over a real engine: store-sqlite in a folder of its own, queue-memory, and mocks
 * for VIMs. Requests are made as the API block makes them.
 */
#ifndef UNIT_LOGIC_WORLD_H
#define UNIT_LOGIC_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include "logic/logic.h"
#include "plugin/registry.h"
#include "worker/worker.h"

struct world {
    char folder[64];
    struct registry *registry;
    struct instance *store_instance, *queue_instance;
    struct store *store;
    struct vims *vims;
    struct tasks *tasks;
    struct aliases *aliases;
    struct inventory *inventory;
    struct presence *presence;
    struct events *events;
    struct worker *worker;
    struct logic *logic;
};

/* VIMs are "edge1" and, with TWO, "edge2", whose mocks have OPTIONS (YAML, may be NULL). */
void world_open(struct world *world, bool two, const char *options);
void world_close(struct world *world);

struct reply {
    int status;
    char *body; /* NUL-terminated, never NULL */
    json_t *json; /* of the body, or NULL */
    char *headers; /* "Name: value\n" each */
};

/* Makes a request and waits for the answer. WHO is "project/role". TARGET is a path with an undecoded
 * query (no escapes). HEADERS is "name: value\n" each, names in lower case, or NULL. BODY may be
 * NULL; ' in it stands for ". */
struct reply ask(struct world *world, const char *who, const char *method, const char *target,
                 const char *headers, const char *body);
/* The same with a spooled body. */
struct reply ask_upload(struct world *world, const char *who, const char *target,
                        const char *headers, const char *path);
void reply_free(struct reply *reply);
/* Value of a header, or NULL; valid until the next call. */
const char *reply_header(const struct reply *reply, const char *name);
/* A text by a path of members separated by points ("target.id"), or NULL. */
const char *reply_text(const struct reply *reply, const char *path);

/* Asks, checks the status, and frees. */
void expect(struct world *world, int status, const char *who, const char *method,
            const char *target, const char *headers, const char *body);

/* POSTs and waits for the end of the task; gives the id of what was made. */
void make(struct world *world, const char *who, const char *plural, const char *body,
          char ret_id[40]);

#endif
