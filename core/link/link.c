#include "link/ops.h"

void link_free(struct link *link)
{
    if (link) {
        link->ops->free(link);
    }
}

void link_route(struct link *link, const char *method, const char *path,
                struct logic_route_info *ret_info)
{
    link->ops->route(link, method, path, ret_info);
}

bool link_is_inline(struct link *link, const struct request *request)
{
    return link->ops->is_inline(link, request);
}

void link_call(struct link *link, const struct request *request, logic_respond_fn respond,
               void *argument)
{
    link->ops->call(link, request, respond, argument);
}

void link_end_waits(struct link *link, bool all)
{
    link->ops->end_waits(link, all);
}

void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument)
{
    link->ops->authenticate(link, token, complete, argument);
}
