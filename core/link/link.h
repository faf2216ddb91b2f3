/*
 * link/link.h - the seam between the API block and the logic block.
 *
 * In one process it is a function call; to others it is HTTP (remote.h).
 */
#ifndef VIMD_LINK_LINK_H
#define VIMD_LINK_LINK_H

#include "logic/logic.h"

struct link;

/* A link to LOGIC in this process, which must outlive it. Requests that may block run on THREADS
 * threads of the link's own, behind a queue of QUEUE_MAX; a full queue answers 503. */
int link_new_local(struct logic *logic, unsigned threads, unsigned queue_max,
                   struct link **ret_link);
void link_free(struct link *link);

/* See logic.h; the same meaning. */
void link_route(struct link *link, const char *method, const char *path,
                struct logic_route_info *ret_info);
bool link_is_inline(struct link *link, const struct request *request);
void link_call(struct link *link, const struct request *request, logic_respond_fn respond,
               void *argument);
void link_end_waits(struct link *link, bool all);

/* Looks up who a bearer token belongs to, and tells COMPLETE once, perhaps before this returns:
 * VIM_OK and the principal, VIM_E_CREDENTIAL, or what kept it from looking. */
typedef void (*link_principal_fn)(void *argument, int code, const struct principal *principal,
                                  const struct failure *failure);
void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument);

#endif
