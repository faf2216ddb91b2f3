/*
 * vim/driver.h - operations of an infrastructure driver (NFVI connector).
 *
 * A driver knows resources by kind ("server", "network", ...) and by the far side's own ids. The
 * vocabulary of a resource's JSON is the project's docs/resources.md. References inside a body
 * (a server's flavor, a port's network) are the far side's ids too: vimd translates both ways.
 *
 * Reads answer directly. A write is a step function: vimd calls step() again and again, each call
 * doing one short thing, until it returns VIM_OK or an error that cannot be retried. The driver
 * keeps no state of its own about it: progress lives in the cursor that it passes to keep(), which
 * vimd stores. So any instance, in any process, can make the next step.
 *
 *               +------------------------- VIM_AGAIN: again(delay) / await(kind, id, at most)
 *               v                          |       transient or unknown error: backoff, attempt + 1
 *   create --> step(kept, attempt) --------+
 *                |                \
 *                VIM_OK: emitted   permanent error, cancel, deadline:
 *                                  step(undo = 1, kept) until VIM_OK: nothing is left behind
 *
 * Exactly once: `request_id` is the same for all steps and repetitions of an operation. A create
 * tags what it makes with it, in a way that is atomic with the making, and whenever attempt > 0
 * (an earlier step's outcome may be unknown) it looks for the tag before it creates anything.
 *
 * Threads: calls may come in parallel on one instance, unless the plugin sets VIM_SERIAL; vimd
 * never has two steps of one operation in progress knowingly, yet a step whose lease ran out
 * may overlap with its repetition, which is why the tag has to be looked for.
 */
#ifndef VIM_DRIVER_H
#define VIM_DRIVER_H

#include <vim/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vim_verb {
    VIM_VERB_LIST = 1u << 0,
    VIM_VERB_GET = 1u << 1,
    VIM_VERB_CREATE = 1u << 2,
    VIM_VERB_UPDATE = 1u << 3,
    VIM_VERB_DELETE = 1u << 4,
    VIM_VERB_ACTION = 1u << 5,
    VIM_VERB_UPLOAD = 1u << 6, /* takes a resource's data (an image's) */
    VIM_VERB_SAMPLE = 1u << 7,
    VIM_VERB_CHANGES = 1u << 8, /* list() can be asked for what changed since the last pass */
    VIM_VERB_LOOK = 1u << 9 /* list() tells of the far side itself (quota, zone, host): asked when
                               somebody wants to know, neither polled nor stored */
};

/* What a driver can do with one kind of resource. */
struct vim_trait {
    const char *kind;
    uint32_t verbs; /* enum vim_verb, or-ed */
    uint32_t reserved; /* 0 */
    const char *actions; /* VIM_VERB_ACTION: names separated by spaces ("start stop reboot") */
};

/*
 * Normalised status of a resource, as `status` of an emitted item:
 *   pending (leaves by itself; the item carries VIM_ITEM_PENDING): BUILD, UPDATING, DELETING,
 *     UPLOADING
 *   settled: ACTIVE, SHUTOFF, PAUSED, SUSPENDED, DOWN, QUEUED (an image without its data), ERROR,
 *     UNKNOWN; things that simply exist are ACTIVE
 * A driver maps what its far side says to the nearest of these and puts the far side's own word
 * into the body as "backend_status". Whether an item is pending is told by the flag alone.
 */

/* What list() is asked for. */
struct vim_list_query {
    uint32_t size;
    uint32_t page_size; /* ask the far side for pages of this size; 0 for its own choice */
    const char *kind;
    const char *since; /* NULL for all there is; else the cursor kept by the last pass over this
                          kind: emit what changed since, gone things as VIM_ITEM_GONE */
};

/* One operation, as one step sees it. Everything lives for the call. */
struct vim_op {
    uint32_t size;
    uint32_t verb; /* one enum vim_verb: CREATE, UPDATE, DELETE, ACTION or UPLOAD */
    const char *kind; /* resource kind */
    const char *id; /* the far side's id; NULL for a create that has not told it yet */
    const char *parent; /* the far side's id of what it lies in, or NULL */
    const char *action; /* ACTION: its name; else NULL */
    const char *spec; /* JSON object: the wanted fields (CREATE), the fields to change
                               (UPDATE), the arguments (ACTION); "{}" if there are none */
    const char *kept; /* the cursor that an earlier step kept; NULL at first */
    const char *request_id; /* a UUID; the same for all steps and repetitions */
    uint32_t attempt; /* 0 for the first call; counts every repetition whose predecessor's
                               outcome is unknown, so > 0 means: look for the tag first */
    uint32_t undo; /* 1: take back what the steps so far have made, then return VIM_OK;
                               also when nothing was made, or it is gone already */
    const struct vim_item *seen; /* what the inventory saw of the resource that the last step
                                    awaited; NULL if nothing since then */
    int64_t data_size; /* UPLOAD: bytes that host->read() will give; -1 if none */
};

struct vim_sample_query {
    uint32_t size;
    uint32_t reserved;
    const char *kind;
    const char *id; /* NULL for all */
};

struct vim_driver_ops {
    uint32_t size;
    uint32_t trait_count;
    uint32_t trait_stride; /* sizeof(struct vim_trait) */
    uint32_t reserved; /* 0 */
    const struct vim_trait *traits;

    /* Emits every resource of the kind: id, status, flags, tag, and its body. Does all paging
     * itself. Returns VIM_OK only when the list is complete: what was not emitted by a complete
     * pass without `since` is taken as gone. If the driver has VIM_VERB_CHANGES for the kind it
     * keeps a cursor for the next pass. */
    int (*list)(struct vim_call *call, void *instance, const struct vim_list_query *query);

    /* Emits one resource, or returns VIM_E_NOT_FOUND. */
    int (*get)(struct vim_call *call, void *instance, const char *kind, const char *id);

    /* Makes one step. VIM_OK: done; a CREATE, UPDATE, ACTION or UPLOAD has emitted the resource
     * as it is now; a DELETE of what is not there is VIM_OK. VIM_AGAIN: not done; again() or
     * await() was called. A CREATE that has learned the far side's id emits an item (at least
     * kind, id, status) in that very step, also with VIM_AGAIN. Else an error, explained by
     * fail(). */
    int (*step)(struct vim_call *call, void *instance, const struct vim_op *op);

    /* Optional. Emits usage of resources: body is a JSON object of numbers. */
    int (*sample)(struct vim_call *call, void *instance, const struct vim_sample_query *query);
};

#ifdef __cplusplus
}
#endif
#endif
