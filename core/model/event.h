/*
 * model/event.h - what happened, for whoever wants to be told.
 *
 * An event is born as a row of the collection "outbox", in the very commit that makes it true. So
 * nothing that was committed is ever left untold, and nothing is told that was not committed. The ids
 * of the outbox are in no order that a reader could follow: commits of several processes become visible
 * in another order than their ids were made in. So one process at a time moves the rows into the
 * sequence (engine/events.h): one commit deletes rows of the outbox, writes each anew in the collection
 * "event" under the next number, and moves the row "event-head"/"head" on, whose revision it expects.
 * Those commits form a chain, so a reader that has seen number N can never find a smaller one later:
 * readers follow the numbers, and need to know nothing else.
 *
 *   outbox      id UUIDv7      parent project or "*"   state type   body: the event but for its id
 *   event       id number      the same                the same     due: when it may be forgotten
 *   event-head  "head"                                              last number; who moves, until when
 */
#ifndef VIMD_MODEL_EVENT_H
#define VIMD_MODEL_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/ids.h"
#include "model/resource.h"
#include "model/store.h"
#include "model/task.h"

#define COLLECTION_OUTBOX "outbox"
#define COLLECTION_EVENT "event"
#define COLLECTION_EVENT_HEAD "event-head"

/* Stored as the row's state: never renumber. */
enum event_type {
    EVENT_TASK_ENDED = 0,
    EVENT_RESOURCE_FOUND, /* at its VIM, and nobody here made it */
    EVENT_RESOURCE_CHANGED, /* its status */
    EVENT_RESOURCE_DELETED,
    EVENT_DRIFT_FOUND, /* a resource of vimd's own was changed outside */
    EVENT_DRIFT_SETTLED, /* and is again as wanted, or was accepted */
    EVENT_DRIFT_DELETED, /* it was deleted outside */
    /* Of a service that is scaled, which is the event's resource. */
    EVENT_SCALING_ACTED, /* a block got more replicas, or fewer */
    EVENT_SCALING_EFFECT, /* what came of that is known */
    EVENT_SCALING_NOT_READY, /* or its replicas did not become ready in time */
    EVENT_SCALING_REFUSED, /* a policy's decision made no sense, or it hung or crashed */
    EVENT_SCALING_BREAKER, /* it went to and fro: it advises, and acts no more */
    EVENT_SCALING_STALE, /* it is not measured any more, or is again */
    EVENT_SCALING_FAILED, /* a platform did not do its part, or does again */
    EVENT_SCALING_MODE, /* somebody has set its mode */
    EVENT_ALARM_RAISED, /* something is not well (model/alarm.h) */
    EVENT_ALARM_CLEARED, /* and is well again */
    EVENT_TYPE_COUNT
};

const char *event_type_name(enum event_type type);
/* All names, separated by spaces. */
const char *event_type_names(void);
/* False for a name that is not known. */
bool event_type_by_name(const char *name, enum event_type *ret_type);

/* Numbers as ids: 16 digits, so that the order of texts is that of numbers. */
#define EVENT_ID_SIZE 17
char *event_id(uint64_t number, char ret_id[EVENT_ID_SIZE]);
/* 1 to 16 digits, with or without the zeroes in front. False for anything else. */
bool event_number(const char *text, uint64_t *ret_number);

/* What to tell. Texts live for the call; those that are NULL are left out. */
struct event {
    enum event_type type;
    int64_t time; /* ms since 1970 */
    const char *project;
    bool shared; /* for every project to see */
    const char *vim, *kind, *resource, *name, *task;
    uint64_t revision; /* of the resource's row after the commit; 0: not told. Of two events about a
                          resource the greater is the later one, whatever the clocks say */
    const char *data; /* JSON object: what depends on the type */
};

/* Where the texts of an outbox row are until it is committed. */
struct event_buffer {
    char id[ID_SIZE];
    char *body;
};
void event_buffer_free(struct event_buffer *buffer);

/* The write that puts EVENT into the outbox; BUFFER must live as long as the write. */
struct vim_write event_write(const struct event *event, struct event_buffer *buffer);

/* The end of TASK, as it is about to be committed. */
struct vim_write event_of_task(const struct task *task, struct event_buffer *buffer);
/* RESOURCE as it is about to be committed (or deleted): it was BEFORE until now. TASK is at work on it,
 * or NULL. */
struct vim_write event_of_resource(enum event_type type, const struct resource *resource,
                                   enum resource_status before, const char *task, int64_t now,
                                   struct event_buffer *buffer);

/* RESOURCE, with its drift as it is about to be committed. */
struct vim_write event_of_drift(enum event_type type, const struct resource *resource, int64_t now,
                                struct event_buffer *buffer);

/* --- Which events somebody wants ----------------------------------------------------------------- */

/* What a filter looks at. */
struct event_facts {
    enum event_type type;
    bool shared;
    char project[64], vim[64], kind[64], resource[64];
};
/* Reads them from an event's body; false if it is none. */
bool event_facts_read(const char *body, size_t length, struct event_facts *ret_facts);

#define EVENT_FILTER_WORDS 32

struct event_words {
    char items[EVENT_FILTER_WORDS][64];
    unsigned count; /* 0: any */
};

/* Each part has to hold. Too large for a stack that is not one's own. */
struct event_filter {
    uint32_t types; /* mask over enum event_type; 0: any */
    struct event_words projects, vims, kinds, resources;
};

/* The names of the parts, as query parameters and members of a subscription. */
#define EVENT_FILTER_NAMES "type kind resource project vim"

/* Adds VALUE, words separated by commas, to the part NAME. What is wrong is added to FINDINGS under
 * POINTER. */
struct findings;
void event_filter_add(struct event_filter *filter, const char *name, const char *value,
                      const char *pointer, struct findings *findings);
bool event_filter_match(const struct event_filter *filter, const struct event_facts *facts);

#endif
