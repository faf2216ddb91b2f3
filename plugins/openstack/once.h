/*
 * once.h - creates of which exactly one thing may come, where the service finds by a mark only.
 *
 * A request whose outcome is unknown may still be on its way: a look that finds nothing proves
 * nothing. So a repetition looks for a while before it sends the request again, and from then on
 * two things may come into being: it goes on looking until `settle_time` has passed, and deletes
 * what came late. An undo looks as long before it says that nothing is left.
 *
 *   create  POST --unknown--> look@T N --short wait, nothing--> post@T N --> POST --> wait@T ID
 *                                |                                 | unknown: relook@T N
 *                                +--found--> wait ID               +--found--> wait@T ID
 *   undo    gone@T ID (a delete was sent), undo@T - (looking)
 *
 * T is since when is looked (milliseconds since 1970), N the attempt for which that counts.
 */
#ifndef OPENSTACK_ONCE_H
#define OPENSTACK_ONCE_H

#include "services.h"

struct os_once {
    const struct os_kind *kind;
    const struct vim_op *op;
    const json_t *spec;
    const char *query; /* of the list that shows what bears the mark of the request */

    /* Sends the request that makes it. VIM_OK: RET_FOUND has at least kind, id and status. */
    int (*post)(struct os_call *c, const struct os_once *once, struct os_found *ret_found);

    /* The next step of the create, once it is known by id. SINCE is 0, or doubles may come. */
    int (*go_on)(struct os_call *c, const struct os_once *once, struct os_found *found,
                 int64_t since);

    /* Deletes one. VIM_OK also when it is gone already. */
    int (*remove)(struct os_call *c, const struct os_once *once, const char *id);

    /* Deletes one and sees to it that it goes. VIM_AGAIN: it waits, with the cursor "gone". NULL
     * if remove() is all there is to it. */
    int (*take_back)(struct os_call *c, const struct os_once *once, const char *id, int64_t since);

    /* VIM_OK if a list shows all there is, or NULL if it always does. */
    int (*sure)(struct os_call *c);
};

/* One step of a create whose thing is not known by id. */
int os_once_create(struct os_call *c, const struct os_once *once);

/* Before a create ends with ID: VIM_OK if nothing can come late any more, and all doubles are
 * deleted. VIM_AGAIN: it goes on with the cursor "wait". */
int os_once_end(struct os_call *c, const struct os_once *once, const char *id, int64_t since);

/* One step of the undo of a create. */
int os_once_undo(struct os_call *c, const struct os_once *once);

/* The end of an undo that has found nothing, or nothing more, for a kind whose id is the request's
 * or whose name is its id: VIM_AGAIN while a request of unknown outcome may still be done. */
int os_once_undone(struct os_call *c, const struct vim_op *op);

#endif
