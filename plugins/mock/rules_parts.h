/*
 * What the files rules*.c share among themselves. Status results and ret_id are as in rules.h.
 */
#ifndef MOCK_RULES_PARTS_H
#define MOCK_RULES_PARTS_H

#include "rules.h"

/* A member of an object as text, or NULL. */
const char *json_text(const json_t *object, const char *key);

/* Sets a member that is not there yet. Takes over VALUE. */
void json_default(json_t *fields, const char *key, json_t *value);

/* A thing that a body refers to has to be there, and not on its way out; else refuses, NULL. */
struct thing *rules_referred(struct scene *scene, enum kind kind, const char *id);

/* The same for a list of ids of security groups. */
int rules_check_groups(struct scene *scene, const json_t *list);

/* Puts what was made, ready at once unless BUILD. Takes over FIELDS. */
void rules_put_new(struct scene *scene, struct change *change, json_t *fields, bool build);

/* --- rules_network.c --- */

/* Makes a port, plugged into SERVER if that is not NULL; its addresses go to ADDRESSES then. */
int port_make(struct scene *scene, json_t *spec, const char *tag, const char *server,
              json_t *addresses, char ret_id[256]);

/* Adds to ADDRESSES, a server's list, what a port with FIELDS contributes. */
void port_add_addresses(json_t *addresses, const char *port, const json_t *fields);

/* Gives out the addresses that WANTED lists (NULL: one of the first subnet, if there is one).
 * RET_LIST is new. */
int port_take_addresses(struct scene *scene, const char *network, const json_t *wanted,
                        json_t **ret_list);

int network_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int network_delete(struct scene *scene, struct thing *network);

/* Adds or removes SUBNET in the network's list. */
void network_list_subnet(struct scene *scene, const struct thing *network, const char *subnet,
                         bool add);

int subnet_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int group_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);

/* Checks the rules of a group and completes them with their defaults. */
int group_check_rules(struct scene *scene, json_t *rules);

/* --- rules_server.c --- */
int server_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int server_delete(struct scene *scene, struct thing *server);

#endif
