/*
 * model/alarm.h - what is not well, and lasts: a row as long as it does, an event when it begins and when it ends.
 *
 *   alarm       id "TYPE.SUBJECT"   parent project or "*"   state type   body: what GET /v1/alarms shows
 *   alarm-head  "head"                                      the last event that was looked at
 *
 * All changes of alarms go through one commit that expects the head's revision: so every process that looks sees the
 * same alarms, and none is raised or cleared twice. Who looks is engine/alarms.h.
 */
#ifndef VIMD_MODEL_ALARM_H
#define VIMD_MODEL_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include "model/event.h"
#include "model/store.h"

#define COLLECTION_ALARM "alarm"
#define COLLECTION_ALARM_HEAD "alarm-head"
#define ALARM_HEAD_ID "head"

/* Stored as the row's state: never renumber. */
enum alarm_type {
    ALARM_RESOURCE_ERROR = 0, /* a resource that there is at its VIM is in ERROR */
    ALARM_ROLLBACK_FAILED, /* a task could not take back what it had made */
    ALARM_VIM_UNREACHABLE,
    ALARM_QUOTA_NEARLY_USED,
    ALARM_STORE_UNWRITABLE,
    ALARM_TYPE_COUNT
};

const char *alarm_type_name(enum alarm_type type);
/* All names, separated by spaces. */
const char *alarm_type_names(void);
/* "critical": nothing works any more; "major": something does not; "warning": soon. */
const char *alarm_severity(enum alarm_type type);

/* Bytes of an id and its NUL: type, VIM, name of a quota. */
#define ALARM_ID_SIZE 160
/* SUBJECT: of what; PART: more of it, or NULL. */
char *alarm_id(enum alarm_type type, const char *subject, const char *part,
               char ret_id[ALARM_ID_SIZE]);

/* Texts live for the call; those that are NULL are left out. */
struct alarm {
    enum alarm_type type;
    const char *id;
    int64_t raised; /* ms since 1970 */
    const char *project; /* or shared */
    bool shared;
    const char *vim, *kind, *resource, *name, *task;
    const char *reason; /* for people */
};

/* As GET shows it; malloc'ed. */
char *alarm_render(const struct alarm *alarm);

/* Where the texts of an alarm's writes are until they are committed. */
struct alarm_buffer {
    struct event_buffer event;
    char *id, *body, *project;
};
void alarm_buffer_free(struct alarm_buffer *buffer);

/* Its row, and the event that tells of it. BUFFER must live as long as the writes. */
void alarm_raise(const struct alarm *alarm, struct vim_write ret_writes[2],
                 struct alarm_buffer *buffer);
/* The end of the one that ROW is. */
int alarm_clear(const struct row *row, int64_t now, struct vim_write ret_writes[2],
                struct alarm_buffer *buffer, struct failure *failure);
/* Only the event: for one that was not stored. */
struct vim_write alarm_tell(const struct alarm *alarm, bool cleared, int64_t now,
                            struct event_buffer *buffer);

#endif
