/*
 * engine/alarms.h - who watches for what is not well (model/alarm.h): a thread in each process with workers.
 *
 *   resource-error, rollback-failed   follow from events: each is looked at once, its alarms are in the commit that
 *                                     moves the head on
 *   vim-unreachable                   the VIM's health, by the calls of all processes, has been bad for a while
 *   quota-nearly-used                 the VIM's quotas are looked at now and then, by one process
 *   store-unwritable                  told when it is over; meanwhile it is shown by those who notice
 *
 * Where nothing changes nothing is written.
 */
#ifndef VIMD_ENGINE_ALARMS_H
#define VIMD_ENGINE_ALARMS_H

#include "engine/presence.h"
#include "engine/vims.h"
#include "model/alarm.h"
#include "model/store.h"

struct alarms;

struct alarms_settings {
    struct vims *vims;
    struct presence *presence; /* what others know of VIMs; NULL: nothing */
    int64_t vim_after_ms; /* a VIM has to be unreachable for so long */
    int64_t quota_interval_ms; /* between looks at the quotas of a VIM */
    int64_t quota_percent; /* of a quota that are used; 0: never */
};

struct alarms *alarms_new(struct store *store, const struct alarms_settings *settings);
int alarms_start(struct alarms *alarms, struct failure *failure);
void alarms_stop(struct alarms *alarms);
/* After the lanes of the VIMs are closed: a look may be under way. NULL is fine. */
void alarms_free(struct alarms *alarms);

#endif
