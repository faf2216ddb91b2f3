/*
 * engine/alarms_internal.h - what the files of the alarms share. All of it is the thread's, but for `looks`.
 *
 *   alarms.c         the thread; which alarms there are, and the commits that change them
 *   alarms_follow.c  events
 *   alarms_vims.c    VIMs: health and quotas
 */
#ifndef VIMD_ENGINE_ALARMS_INTERNAL_H
#define VIMD_ENGINE_ALARMS_INTERNAL_H

#include <pthread.h>
#include <uthash.h>
#include "engine/alarms.h"

/* An alarm that there is. */
struct alarm_known {
    char id[ALARM_ID_SIZE];
    enum alarm_type type;
    UT_hash_handle hh;
};

/* What is remembered of a VIM. Never freed before the end: VIMs are few. */
struct alarm_vim {
    char name[64];
    int64_t bad_since, quota_due; /* clock_mono_ms(); bad_since 0: it is well */
    bool seen; /* in the last pass */
    uint64_t looks_begun,
        look_taken; /* at its quotas: how many, and the number of the last that has told */
    UT_hash_handle hh;
};

/* What a look at a VIM's quotas has found. */
struct alarm_look {
    struct alarms *alarms;
    char vim[64], project[64];
    uint64_t
        number; /* among those at the VIM: they may end in another order than they were begun in */
    struct alarm_quota {
        char name[64];
        int64_t limit, used;
    } * quotas;
    size_t count;
    struct alarm_look *next;
};

/* What is committed together. */
#define ALARM_CHANGES_MAX 100u
struct alarm_change {
    char id[ALARM_ID_SIZE];
    struct vim_write writes[2];
    uint32_t count;
    struct alarm_buffer buffer;
};

struct alarms {
    struct store *store;
    struct alarms_settings settings;
    pthread_t thread;
    pthread_mutex_t mutex; /* stop, looks; a leaf */
    pthread_cond_t cond;
    bool running, stop;
    struct alarm_look *looks; /* to be taken by the thread */

    bool loaded; /* head and known are as stored */
    uint64_t head_revision, cursor, stored_cursor;
    int64_t store_told; /* ms since 1970: up to then a store that took no writes was told of */
    int64_t store_bad_since; /* ms since 1970; 0: it takes writes */
    struct failure store_failure;
    struct alarm_known *known;
    struct alarm_vim *vims;
    struct alarm_change changes[ALARM_CHANGES_MAX];
    uint32_t change_count;
};

bool alarms_have(const struct alarms *alarms, const char *id);
/* Adds to what is committed next; nothing if it is there already, or not there. Of an error they tell the log,
 * and all is read anew. */
void alarms_raise(struct alarms *alarms, const struct alarm *alarm);
void alarms_clear(struct alarms *alarms, const char *id);
/* Commits what was added, and the head; VIM_E_CONFLICT: another process was faster. */
int alarms_commit(struct alarms *alarms);

/* Looks at the events up to LAST. */
void alarms_follow(struct alarms *alarms, uint64_t last);
void alarms_look_at_vims(struct alarms *alarms);
/* Takes over LOOK. */
void alarms_take_look(struct alarms *alarms, struct alarm_look *look);

#endif
