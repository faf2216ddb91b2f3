/*
 * link/ops.h - the kinds of links.
 */
#ifndef VIMD_LINK_OPS_H
#define VIMD_LINK_OPS_H

#include "link/link.h"

struct link_ops {
    void (*free)(struct link *link);
    void (*route)(struct link *link, const char *method, const char *path,
                  struct logic_route_info *ret_info);
    bool (*is_inline)(struct link *link, const struct request *request);
    void (*call)(struct link *link, const struct request *request, logic_respond_fn respond,
                 void *argument);
    void (*end_waits)(struct link *link, bool all);
    void (*authenticate)(struct link *link, const char *token, link_principal_fn complete,
                         void *argument);
};

/* Stands at the beginning of each kind's own struct. */
struct link {
    const struct link_ops *ops;
};

#endif
