#include "engine/alarms_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"
#include "engine/events.h"

#define LOOK_MS 500
/* So many events may have to be looked at again after a crash. */
#define CURSOR_SLACK 1000u

/* --- Which there are ----------------------------------------------------------------------------- */

static struct alarm_known *find(const struct alarms *alarms, const char *id)
{
    struct alarm_known *known;
    HASH_FIND_STR(alarms->known, id, known);
    return known;
}

bool alarms_have(const struct alarms *alarms, const char *id)
{
    return find(alarms, id) != NULL;
}

static void know(struct alarms *alarms, const char *id, enum alarm_type type)
{
    struct alarm_known *known = find(alarms, id);
    if (!known) {
        known = MEMORY_NEW(struct alarm_known);
        (void)snprintf(known->id, sizeof(known->id), "%s", id);
        HASH_ADD_STR(alarms->known, id, known);
    }
    known->type = type;
}

static void forget(struct alarms *alarms, struct alarm_known *known)
{
    HASH_DEL(alarms->known, known);
    free(known);
}

static void forget_all(struct alarms *alarms)
{
    struct alarm_known *known, *next;
    HASH_ITER(hh, alarms->known, known, next)
    {
        forget(alarms, known);
    }
}

static void drop_changes(struct alarms *alarms)
{
    for (uint32_t i = 0; i < alarms->change_count; i++) {
        alarm_buffer_free(&alarms->changes[i].buffer);
    }
    alarms->change_count = 0;
}

static int take_row(void *argument, const struct vim_item *item)
{
    know(argument, item->id, (enum alarm_type)item->state);
    return 0;
}

/* The head, and the alarms if it is another one than before. */
static int load(struct alarms *alarms, struct failure *failure)
{
    struct row row = {0};
    int code = store_get(alarms->store, COLLECTION_ALARM_HEAD, ALARM_HEAD_ID, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        /* What was before this is nobody's news. */
        alarms->head_revision = 0;
        code = events_read_last(alarms->store, &alarms->cursor, failure);
        alarms->loaded = code == VIM_OK;
        return code == VIM_OK ? alarms_commit(alarms) : code;
    }
    if (code != VIM_OK || (alarms->loaded && row.revision == alarms->head_revision)) {
        row_free(&row);
        return code;
    }
    CLEANUP_JSON json_t *body = NULL;
    if (json_parse(row.body, row.body_length, NULL, &body, NULL) == VIM_OK) {
        (void)event_number(json_get_text(body, "cursor", "0"), &alarms->stored_cursor);
        alarms->cursor = alarms->stored_cursor;
        alarms->store_told = json_get_integer(body, "store_told", 0);
    }
    alarms->head_revision = row.revision;
    row_free(&row);
    drop_changes(alarms);
    forget_all(alarms);
    struct vim_scan scan = {.collection = COLLECTION_ALARM, .flags = VIM_SCAN_NO_BODY};
    code = store_scan(alarms->store, &scan, take_row, alarms, failure);
    alarms->loaded = code == VIM_OK;
    return code;
}

/* --- Changes ------------------------------------------------------------------------------------- */

int alarms_commit(struct alarms *alarms)
{
    struct failure failure = {0};
    char cursor[EVENT_ID_SIZE];
    struct vim_write writes[2 * ALARM_CHANGES_MAX + 1];
    uint32_t count = 1;
    if (!alarms->loaded) {
        return VIM_E_CONFLICT;
    }
    CLEANUP_FREE char *body =
        text_format("{\"cursor\":\"%s\",\"store_told\":%lld}", event_id(alarms->cursor, cursor),
                    (long long)alarms->store_told);
    writes[0] = (struct vim_write){.collection = COLLECTION_ALARM_HEAD,
                                   .id = ALARM_HEAD_ID,
                                   .body = body,
                                   .expect = alarms->head_revision ? alarms->head_revision
                                                                   : VIM_EXPECT_ABSENT};
    for (uint32_t i = 0; i < alarms->change_count; i++) {
        for (uint32_t n = 0; n < alarms->changes[i].count; n++) {
            writes[count++] = alarms->changes[i].writes[n];
        }
    }
    int code = store_commit(alarms->store, writes, count, &failure);
    drop_changes(alarms);
    if (code == VIM_OK) {
        alarms->head_revision++;
        alarms->stored_cursor = alarms->cursor;
    } else {
        /* Another process was faster, or it is not known what happened. */
        alarms->loaded = false;
        if (code != VIM_E_CONFLICT) {
            log_event(VIM_WARNING, "alarms not stored", "error=%s text=%s", error_name(code),
                      failure.text);
        }
    }
    return code;
}

/* Room for the change of an alarm, each of which a commit changes once. NULL: all has to be read anew. */
static struct alarm_change *add_change(struct alarms *alarms, const char *id)
{
    bool full = alarms->change_count == ALARM_CHANGES_MAX;
    for (uint32_t i = 0; i < alarms->change_count; i++) {
        full = full || strcmp(alarms->changes[i].id, id) == 0;
    }
    if (full && alarms_commit(alarms) != VIM_OK) {
        return NULL;
    }
    struct alarm_change *change = &alarms->changes[alarms->change_count++];
    *change = (struct alarm_change){.count = 2};
    (void)snprintf(change->id, sizeof(change->id), "%s", id);
    return change;
}

void alarms_raise(struct alarms *alarms, const struct alarm *alarm)
{
    if (!alarms->loaded || alarms_have(alarms, alarm->id)) {
        return;
    }
    struct alarm_change *change = add_change(alarms, alarm->id);
    if (change) {
        alarm_raise(alarm, change->writes, &change->buffer);
        know(alarms, alarm->id, alarm->type);
        log_event(VIM_WARNING, "alarm raised", "alarm=%s reason=%s", alarm->id,
                  alarm->reason ? alarm->reason : "");
    }
}

void alarms_clear(struct alarms *alarms, const char *id)
{
    struct row row = {0};
    struct failure failure = {0};
    struct alarm_known *known = find(alarms, id);
    if (!alarms->loaded || !known) {
        return;
    }
    struct alarm_change *change = add_change(alarms, id);
    if (!change) {
        return;
    }
    int code = store_get(alarms->store, COLLECTION_ALARM, id, &row, &failure);
    if (code == VIM_OK) {
        code = alarm_clear(&row, clock_now_ms(), change->writes, &change->buffer, &failure);
        row_free(&row);
    }
    if (code == VIM_OK) {
        log_event(VIM_INFO, "alarm cleared", "alarm=%s", id);
        forget(alarms, known);
        return;
    }
    alarm_buffer_free(&change->buffer);
    alarms->change_count--;
    alarms->loaded = false;
    log_event(VIM_WARNING, "alarm not cleared", "alarm=%s error=%s text=%s", id, error_name(code),
              failure.text);
}

/* --- The store ----------------------------------------------------------------------------------- */

/* A store that takes no writes takes no alarm of it either: both are told when it is over. */
static bool look_at_store(struct alarms *alarms)
{
    struct failure failure = {0};
    if (store_takes_writes(alarms->store, &failure) == VIM_OK) {
        return true;
    }
    if (!alarms->store_bad_since) {
        alarms->store_bad_since = clock_now_ms() - store_ill_ms(alarms->store);
        alarms->store_failure = failure;
    }
    return false;
}

static void tell_of_store(struct alarms *alarms)
{
    int64_t since = alarms->store_bad_since;
    char id[ALARM_ID_SIZE];
    alarms->store_bad_since = 0;
    if (!since || since <= alarms->store_told) {
        return; /* or another process has told of it */
    }
    struct alarm alarm = {
        .type = ALARM_STORE_UNWRITABLE,
        .id = alarm_id(ALARM_STORE_UNWRITABLE, store_plugin(alarms->store), NULL, id),
        .raised = since,
        .shared = true,
        .reason = alarms->store_failure.text};
    for (int cleared = 0; cleared <= 1; cleared++) {
        struct alarm_change *change = add_change(alarms, cleared ? "" : alarm.id);
        if (!change) {
            alarms->store_bad_since = since;
            return;
        }
        change->count = 1;
        change->writes[0] =
            alarm_tell(&alarm, cleared, cleared ? clock_now_ms() : since, &change->buffer.event);
    }
    int64_t before = alarms->store_told;
    alarms->store_told = clock_now_ms();
    if (alarms_commit(alarms) != VIM_OK) {
        alarms->store_told = before;
        alarms->store_bad_since = since;
    }
}

/* --- The thread ---------------------------------------------------------------------------------- */

static bool has_looks(struct alarms *alarms)
{
    LOCK_GUARD(&alarms->mutex);
    return alarms->looks != NULL;
}

/* OURS: it is this process's turn to look at what all can see. What only this one has seen it tells at once, of
 * alarms as they are then. */
static void look(struct alarms *alarms, bool ours)
{
    uint64_t last = 0;
    struct failure failure = {0};
    if (!look_at_store(alarms) || !(ours || alarms->store_bad_since || has_looks(alarms)) ||
        load(alarms, &failure) != VIM_OK) {
        return;
    }
    tell_of_store(alarms);
    if (!ours) {
        return;
    }
    if (events_read_last(alarms->store, &last, &failure) == VIM_OK) {
        alarms_follow(alarms, last);
    }
    alarms_look_at_vims(alarms);
    if (alarms->change_count || alarms->cursor > alarms->stored_cursor + CURSOR_SLACK) {
        (void)alarms_commit(alarms);
    }
}

static struct alarm_look *take_looks(struct alarms *alarms)
{
    LOCK_GUARD(&alarms->mutex);
    return TAKE(alarms->looks);
}

static bool pause_until(struct alarms *alarms, int64_t due)
{
    LOCK_GUARD(&alarms->mutex);
    if (!alarms->stop) {
        (void)clock_cond_wait_until(&alarms->cond, &alarms->mutex, due);
    }
    return !alarms->stop;
}

static void *alarms_main(void *argument)
{
    struct alarms *alarms = argument;
    int64_t due;
    do {
        bool ours;
        due = presence_turn(alarms->settings.presence, "worker", LOOK_MS, &ours);
        look(alarms, ours);
        struct alarm_look *look, *next;
        for (look = take_looks(alarms); look; look = next) {
            next = look->next;
            alarms_take_look(alarms, look);
        }
        if (alarms->change_count) {
            (void)alarms_commit(alarms);
        }
    } while (pause_until(alarms, due));
    return NULL;
}

struct alarms *alarms_new(struct store *store, const struct alarms_settings *settings)
{
    struct alarms *alarms = MEMORY_NEW(struct alarms);
    alarms->store = store;
    alarms->settings = *settings;
    pthread_mutex_init(&alarms->mutex, NULL);
    clock_cond_init(&alarms->cond);
    return alarms;
}

int alarms_start(struct alarms *alarms, struct failure *failure)
{
    int code = thread_start("alarms", alarms_main, alarms, &alarms->thread);
    alarms->running = code == VIM_OK;
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "no thread for alarms");
}

void alarms_stop(struct alarms *alarms)
{
    if (!alarms || !alarms->running) {
        return;
    }
    pthread_mutex_lock(&alarms->mutex);
    alarms->stop = true;
    pthread_cond_signal(&alarms->cond);
    pthread_mutex_unlock(&alarms->mutex);
    (void)pthread_join(alarms->thread, NULL);
    alarms->running = false;
}

void alarms_free(struct alarms *alarms)
{
    if (!alarms) {
        return;
    }
    assert(!alarms->running);
    struct alarm_look *look, *next_look;
    for (look = alarms->looks; look; look = next_look) {
        next_look = look->next;
        free(look->quotas);
        free(look);
    }
    struct alarm_vim *vim, *next_vim;
    HASH_ITER(hh, alarms->vims, vim, next_vim)
    {
        HASH_DEL(alarms->vims, vim);
        free(vim);
    }
    forget_all(alarms);
    drop_changes(alarms);
    pthread_cond_destroy(&alarms->cond);
    pthread_mutex_destroy(&alarms->mutex);
    free(alarms);
}
