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

/* --- rules_router.c --- */
int router_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int router_update(struct scene *scene, struct thing *router, json_t *changes);
int router_action(struct scene *scene, struct thing *router, const char *action,
                  const json_t *arguments, const char *tag);
int router_delete(struct scene *scene, struct thing *router);
int floating_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int floating_update(struct scene *scene, struct thing *floating, json_t *changes);

/* PORT goes: the floating IP that leads to it leads nowhere from now on. */
void floating_forget_port(struct scene *scene, const char *port);

/* --- rules_storage.c --- */
int volume_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int volume_action(struct scene *scene, struct thing *volume, const char *action,
                  const json_t *arguments, const char *tag);
int volume_delete(struct scene *scene, struct thing *volume);
int snapshot_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int snapshot_delete(struct scene *scene, struct thing *snapshot);

/* Adds or removes VOLUME in the server's list. */
void server_list_volume(struct scene *scene, const struct thing *server, const char *volume,
                        bool add);

/* Can a server boot from what BOOT, its `boot_volume`, says? NULL: it does not boot from a volume. */
int volume_check_boot(struct scene *scene, const json_t *boot);

/* Gives the server with that id its disk, if SPEC's `boot_volume` asks for one: makes it, or plugs it in. FIELDS are
 * the server's; of one that has a volume for its disk the image is not told. */
void volume_boot(struct scene *scene, const json_t *spec, const char *server, json_t *fields);

/* SERVER goes: nothing is attached to it any more, and the volume that was made with it goes, too. */
void volumes_forget_server(struct scene *scene, const char *server);

/* --- place.c --- */

/* How many hosts there are; their names and zones. */
unsigned place_count(const struct scene *scene);
void place_name(unsigned place, char ret_name[32]);
void place_zone(unsigned place, char ret_name[32]);

/* What a server asks of its host. */
struct wanted_place {
    const char *server; /* its id */
    struct amounts uses;
    const char *zone; /* or NULL */
    const char *host; /* or NULL */
    unsigned except; /* not this one; 0: any */
    const struct thing *group; /* affinity group, or NULL */
};

/* The number of a host for it; 0 if there is none. */
unsigned place_choose(struct scene *scene, const struct wanted_place *wanted);

/* Refuses a zone (NULL: none is asked for) that does not exist. */
int place_check_zone(struct scene *scene, const char *zone);

int affinity_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);

/* Adds or removes SERVER in the group's list. */
void affinity_list_member(struct scene *scene, const struct thing *group, const char *server,
                          bool add);

/* The group that SERVER is in, or NULL. */
const struct thing *affinity_of(const struct scene *scene, const char *server);

/* --- rules_server.c --- */
int server_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256]);
int server_delete(struct scene *scene, struct thing *server);

/* --- rules_action.c --- */
int server_action(struct scene *scene, struct thing *server, const char *action,
                  const json_t *arguments, const char *tag);

/* What a server of FLAVOR uses. */
struct amounts flavor_amounts(const struct thing *flavor);

#endif
