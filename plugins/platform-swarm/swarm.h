/*
 * swarm.h - what the files of platform-swarm share.
 *
 *   plugin.c    options, life of an instance, the driver's operations
 *   service.c   services: where they stand, and how many replicas are wanted
 *   replicas.c  what the containers of a service have used
 */
#ifndef PLATFORM_SWARM_H
#define PLATFORM_SWARM_H

#include <jansson.h>
#include <vim/driver.h>
#include "group.h"
#include "rest.h"

/* Engine API version asked for: the oldest that tells the running tasks of a service in its list
 * (Docker Engine 20.10 has it). */
#define SWARM_API "/v1.41"

struct swarm_config {
    const char *socket, *url;
    const char *ca_file, *certificate, *key;
    struct vim_texts services;
    int64_t connect_timeout, timeout;
};

struct swarm {
    const struct vim_host *host;
    struct vim_self *self;
    const struct swarm_config *config; /* vimd's; valid until close() */
    struct rest *rest;
};

#define SWARM_JSON __attribute__((cleanup(swarm_decref))) json_t *
static inline void swarm_decref(json_t **json)
{
    json_decref(*json);
}

/* GET PATH, which has to be answered with 200 and JSON: a new reference in RET_BODY. Else explained;
 * what a 404 is about is WHAT. */
int swarm_get(struct swarm *swarm, struct vim_call *call, const char *path, const char *what,
              json_t **ret_body);

/* The error of an answer that is none of those expected; explained. */
int swarm_refused(struct swarm *swarm, struct vim_call *call, const struct rest_reply *reply,
                  const char *what);

/* True if the configuration allows to see and scale the service of that name. */
int swarm_is_ours(const struct swarm *swarm, const char *name);

/* --- service.c ----------------------------------------------------------------------------------- */

/* Emits the service NAME, or with NAME NULL all that are replicated. */
int service_emit(struct swarm *swarm, struct vim_call *call, const char *name);

/* Asks for REPLICAS of it, and emits it. */
int service_scale(struct swarm *swarm, struct vim_call *call, const char *name, uint32_t replicas);

/* Tasks of the service that are wanted to run: a new reference to an array. */
int service_tasks(struct swarm *swarm, struct vim_call *call, const char *name, json_t **ret_tasks);

/* Cores that one task may use by its spec; 0: no limit. */
double task_quota(const json_t *spec);

/* --- replicas.c ---------------------------------------------------------------------------------- */

int replicas_sample(struct swarm *swarm, struct vim_call *call, const char *service);

#endif
