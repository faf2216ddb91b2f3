/*
 * model/service_private.h - between the files that make the plan of a network service.
 *
 *   service.c            the description into nodes; all of it
 *   service_needs.c      what nodes need of one another, and the order that follows
 *   service_boot.c       volumes that servers boot from
 *   service_addresses.c  addresses
 */
#ifndef VIMD_MODEL_SERVICE_PRIVATE_H
#define VIMD_MODEL_SERVICE_PRIVATE_H

#include "model/service.h"

/* A plan in the making. */
struct making {
    struct service_plan *plan;
    const char *prefix; /* of names; ${ in it is escaped */
    const json_t *description;
    struct findings *findings;
    uint32_t capacity;
    struct {
        uint32_t *items, count;
    } routers; /* numbers of nodes */
    json_t *points; /* connection points that something refers to: "VNF POINT" */
};

/* Finds out which nodes each one needs, and tells of references that lead nowhere. */
void service_resolve_needs(struct making *making);
/* Tells of references in ELEMENT, a VNF without instances, that lead nowhere. */
void service_check_unused(struct making *making, const char *vnf, const json_t *element);
/* Sets order, levels and depth, or tells of a cycle. */
void service_put_in_order(struct making *making);

/* Does the VNF that ELEMENT describes boot from its own VOLUME, each instance from one of its own? */
bool service_boots_from(const json_t *element, const char *vnf, const char *volume);
/* Has SPEC, of a server, name the volume of its own instance then. */
void service_boot_instance(const json_t *element, const char *vnf, unsigned instance, json_t *spec);
/* Tells of volumes that several servers boot from, or that are to be attached as well. */
void service_check_boot(struct making *making);

#endif
