/*
 * What the mock cloud allows, and what a call does to it: checks, references, quotas, addresses.
 *
 * Each function describes its changes in the transaction that is open in the cloud; the caller
 * commits it if the status is below 300, else abandons it. All of it happens under the caller's
 * lock.
 */
#ifndef MOCK_RULES_H
#define MOCK_RULES_H

#include "backend.h"

/* What a call knows of its circumstances. */
struct scene {
    struct cloud *cloud;
    const struct backend_config *config; /* NULL for who is bound by nothing */
    struct reply *reply;
    int64_t now;
    int64_t build_ms; /* latency drawn for this call; NEVER: it never ends */
    int64_t delete_ms;
    int64_t vanish_ms; /* what is made disappears after so long; 0 for never */
    bool error_build; /* what is built ends in ERROR */
};

/* Refuses: fills the reply. Returns STATUS. */
int refuse(struct scene *scene, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Checks SPEC against the kind's table of fields: unknown fields, types, required ones. UPDATE: only
 * what can be changed. Returns 200, or what refuse() gave. (fields.c) */
int check_fields(struct scene *scene, const char *kind, json_t *spec, bool update);

/* Each returns a status; RET_ID is the id of what was made. */
int rules_create(struct scene *scene, enum kind kind, json_t *spec, const char *tag,
                 char ret_id[256]);
int rules_create_rule(struct scene *scene, json_t *spec, char ret_id[256]);
int rules_update(struct scene *scene, struct thing *thing, json_t *fields);
int rules_delete(struct scene *scene, struct thing *thing);
int rules_action(struct scene *scene, struct thing *thing, const char *action, json_t *arguments,
                 const char *tag);
int rules_upload(struct scene *scene, struct thing *image, int64_t size, const char *checksum);

/* Refuses if the quotas leave no room for so much more. */
int rules_check_amounts(struct scene *scene, const struct amounts *more);

/* Flavors, images and the external network of a new cloud. */
void rules_seed(struct scene *scene);

/* --- addresses.c --- */

/* Checks the fields of a new subnet and completes them: ip_version, gateway_ip, allocation_pools. */
int subnet_complete(struct scene *scene, json_t *fields);

/* Gives out an address of SUBNET: WANTED, or a free one if that is NULL. Adds {subnet, ip_address}
 * to LIST. */
int subnet_take(struct scene *scene, struct thing *subnet, const char *wanted, json_t *list);

#endif
