/*
 * resource.h - from a service's answer to items in the vocabulary of docs/resources.md.
 *
 * One table tells where each kind lives and how it is read. Nothing here touches a network; what
 * does not have the expected shape is refused (VIM_E_INTERNAL), never guessed at. All functions
 * may be called from any thread.
 */
#ifndef OPENSTACK_RESOURCE_H
#define OPENSTACK_RESOURCE_H

#include "error.h"
#include "json.h"
#include "tag.h"

#include <vim/driver.h>

/* One resource as it was found. Ends with os_found_clear(); start it zeroed. */
struct os_found {
    const char *kind;
    const char *status; /* a word of driver.h */
    uint32_t flags; /* enum vim_item_flag */
    char id[256];
    char parent[64];
    char project[64]; /* the far side's project, or "" if it does not say */
    char tag[OS_TAG_SIZE];
    int task_running; /* server: the far side says that it is at work on it */
    json_t *body; /* owned */
};

struct os_kind {
    const char *name; /* as vimd says it */
    enum os_service service;
    const char *path; /* of the collection, from the service's endpoint on */
    const char *list; /* path of the list, if another */
    const char *filter; /* query that every list needs, or NULL */
    const char *plural;
    const char *singular;
    const char *microversion; /* Nova: pinned for reading; else NULL */
    uint32_t verbs;
    const char *actions;

    /* Reads one object of the service. Returns VIM_OK, or VIM_E_INTERNAL if it is not one. */
    int (*read)(const json_t *from, struct os_found *found);
};

extern const struct os_kind os_kinds[];
extern const unsigned os_kind_count;

/* The kind of that name, or NULL. */
const struct os_kind *os_kind_find(const char *name);

void os_found_clear(struct os_found *found);
#define OS_FOUND __attribute__((cleanup(os_found_clear))) struct os_found

/* Called for each resource of a page; may take the body (setting it to NULL). Returns VIM_OK, or
 * what ends the reading. */
typedef int (*os_found_fn)(void *context, struct os_found *found);

/* Reads one page of a list. Stores the query string of the next page ("limit=2&marker=..."), to
 * be freed, or NULL after the last one. Returns VIM_OK, VIM_E_INTERNAL for a body that is not a
 * page of that kind, or what FN returned. */
int os_read_page(const struct os_kind *kind, const char *body, size_t length, os_found_fn fn,
                 void *context, char **ret_next);

/* Reads the answer about one resource: {"server": {...}}, or the bare object as in Glance. */
int os_read_one(const struct os_kind *kind, const char *body, size_t length,
                struct os_found *ret_found);

/* Adds the ports of a page to INDEX, an object: server id -> array of its ports. RET_NEXT as with
 * os_read_page(). Returns VIM_OK or VIM_E_INTERNAL. */
int os_read_server_ports(const char *body, size_t length, json_t *index, char **ret_next);

/* Writes its interfaces into a router's body, from the index of ports by their device. */
void os_join_interfaces(struct os_found *router, const json_t *index);

/* Writes addresses and security groups into a server's body, from the index of ports. */
void os_join_ports(struct os_found *server, const json_t *index);

/* Copies the id at KEY of FROM. Returns VIM_OK, or VIM_E_INTERNAL if it cannot be an id. */
int os_read_id(const json_t *from, const char *key, struct os_found *found);

/* Copies a short text, or makes TO empty. */
void os_read_text(const json_t *from, const char *key, char *to, size_t size);

/* Readers of the single kinds. */
int os_read_server(const json_t *from, struct os_found *found);
int os_read_flavor(const json_t *from, struct os_found *found);
int os_read_keypair(const json_t *from, struct os_found *found);
int os_read_network(const json_t *from, struct os_found *found);
int os_read_subnet(const json_t *from, struct os_found *found);
int os_read_port(const json_t *from, struct os_found *found);
int os_read_security_group(const json_t *from, struct os_found *found);
int os_read_image(const json_t *from, struct os_found *found);
int os_read_router(const json_t *from, struct os_found *found);
int os_read_floating_ip(const json_t *from, struct os_found *found);
int os_read_server_group(const json_t *from, struct os_found *found);
int os_read_host(const json_t *from, struct os_found *found);
int os_read_volume(const json_t *from, struct os_found *found);
int os_read_snapshot(const json_t *from, struct os_found *found);

/* One rule in the vocabulary; nulls are left out. Returns a new reference. */
json_t *os_read_rule(const json_t *from);

/* True if KEY of an image is one of Glance's own fields and not a property. */
int os_image_field(const char *key);

#endif
