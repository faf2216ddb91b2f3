/*
 * model/service.h - a network service as a graph: its description turned into nodes, each one a
 * resource, with what each needs.
 *
 *   virtual_links.n3            -> vl.n3            network
 *   virtual_links.n3.subnets.v4 -> vl.n3.subnet.v4  subnet
 *   security_groups.web         -> sg.web           security-group
 *   vnfs.upf (count: 2)         -> vnf.upf.0, vnf.upf.1                  server
 *     connection_points.n3      -> vnf.upf.0.cp.n3, vnf.upf.1.cp.n3      port
 *
 * A connection point becomes a port of its own only where it has to (it says more than its network and
 * address, or something refers to it); else the server makes its port on the way, which saves a call.
 *
 * A text may refer to a node: ${vl.n3.id}, or another member of what the node is: ${vnf.upf.cp.n3.mac_address}.
 * Of a VNF the number of the instance may be left out, and means the first. $${ is ${ itself.
 *
 * The same description makes the same nodes, always: who plans it again finds what was planned before.
 */
#ifndef VIMD_MODEL_SERVICE_H
#define VIMD_MODEL_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "model/kinds.h"

/* Bytes of a description as text at most: two of them are in one row. */
#define SERVICE_TEXT_MAX (480u * 1024u)
#define SERVICE_EXPANDED_MAX (16u * 1024u * 1024u) /* bytes of all instances of its VNFs together */
#define SERVICE_NODES_MAX 10000u
#define SERVICE_INSTANCES_MAX 1000 /* of one VNF */
#define SERVICE_NODE_NAME_SIZE 160

struct service_node {
    char *name;
    const struct kind *kind;
    char *pointer; /* JSON pointer of its element in the description */
    json_t *spec; /* fields of a create; references have the full names of nodes */
    uint32_t *needs; /* nodes that have to exist before it */
    uint32_t need_count;
    uint32_t level; /* 0: needs nothing; else one more than the highest level of what it needs */
};

struct service_plan {
    struct service_node *nodes;
    uint32_t count;
    uint32_t *order; /* all nodes, those that are needed before those that need them */
    uint32_t depth; /* levels */
    struct service_index *index; /* by name */
};

/* Makes the plan of a description that its table accepts (kind_check_create()). What is wrong with it as a
 * whole goes to FINDINGS: references to what is not there, cycles, addresses that overlap or are taken
 * twice. The plan is only of use if there are none; it is to be freed in any case. PREFIX is what the
 * names of its resources begin with. One that the table refuses may be planned to tell what else is wrong, but
 * not one beyond service_check_limits(): what is made of that could be of any size. */
void service_plan_make(const char *prefix, const json_t *description, struct findings *findings,
                       struct service_plan *ret_plan);
void service_plan_free(struct service_plan *plan);

/* The number of a node, or UINT32_MAX. */
uint32_t service_plan_find(const struct service_plan *plan, const char *name);

/* Calls EACH for every reference in the texts of VALUE, at any depth: where it stands in VALUE, the NODE and
 * the FIELD of it. What EACH stores in *RET_TEXT (malloc'ed, taken over) takes its place. A nonzero result
 * ends the walk and is returned. A reference that is none has FIELD NULL, and NODE is what stands
 * between the braces. With FINAL, which is for who puts in the values, $${ becomes ${ as well; texts that will
 * be walked again keep it. */
typedef int (*service_reference_fn)(void *argument, const char *pointer, const char *node,
                                    const char *field, char **ret_text);
int service_each_reference(json_t *value, bool final, service_reference_fn each, void *argument);

/* Is TEXT a reference to an element of the service, rather than an id or a name? */
bool service_is_reference(const char *text);

/* A copy of DESCRIPTION without what is never shown. */
json_t *service_shown(const json_t *description);

/* Are there no more elements, and no higher counts, than the table allows, and is all that is made of them no
 * larger than SERVICE_EXPANDED_MAX (service_limits.c)? Adds a finding if not, unless the table has its own. A count
 * of which that has told does not hide what else is wrong: true. */
bool service_check_limits(const json_t *description, struct findings *findings);

/* How many instances a VNF has; one whose count is not allowed: 1. */
int64_t service_instances(const json_t *vnf);

/* Addresses (service_addresses.c): adds findings for subnets of a link, or of a router, that overlap, and
 * addresses that lie in none of them or are taken twice. */
void service_check_addresses(const json_t *description, struct findings *findings);

#endif
