/* VIMs: whether they answer, and what is left of their quotas. */
#include "engine/alarms_internal.h"

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
#include "engine/owner.h"

#define COLLECTION_LEASE "lease"
#define KIND_QUOTA "quota"
#define LOOK_TIMEOUT_MS 30000
/* An alarm of a quota is cleared when so much less of it is used than when it is raised, in percent. */
#define QUOTA_SLACK 5

static struct alarm_vim *remember(struct alarms *alarms, const char *name)
{
    struct alarm_vim *vim;
    HASH_FIND_STR(alarms->vims, name, vim);
    if (!vim) {
        vim = MEMORY_NEW(struct alarm_vim);
        (void)snprintf(vim->name, sizeof(vim->name), "%s", name);
        HASH_ADD_STR(alarms->vims, name, vim);
    }
    return vim;
}

/* --- Health -------------------------------------------------------------------------------------- */

/* As the last call tells, whoever made it. */
static void read_health(const struct alarms *alarms, struct vim_target *target,
                        struct vim_health *ret_health)
{
    struct vim_health others;
    vim_target_health(target, ret_health);
    if (alarms->settings.presence &&
        presence_vim_health(alarms->settings.presence, vim_target_settings(target)->name,
                            &others) &&
        others.checked > ret_health->checked) {
        bool stuck = ret_health->stuck;
        *ret_health = others;
        ret_health->stuck = stuck || others.stuck;
    }
}

static void look_at_health(struct alarms *alarms, struct alarm_vim *vim, struct vim_target *target)
{
    struct vim_health health;
    char id[ALARM_ID_SIZE];
    int64_t now = clock_mono_ms();
    read_health(alarms, target, &health);
    alarm_id(ALARM_VIM_UNREACHABLE, vim->name, NULL, id);
    if (!health.stuck && health.reachable) {
        vim->bad_since = 0;
        alarms_clear(alarms, id);
    } else if (health.stuck || health.checked) {
        vim->bad_since = vim->bad_since ? vim->bad_since : now;
        struct alarm alarm = {.type = ALARM_VIM_UNREACHABLE,
                              .id = id,
                              .raised = clock_now_ms(),
                              .shared = true,
                              .vim = vim->name,
                              .reason =
                                  health.stuck ? "a call to it does not return" : health.text};
        if (now - vim->bad_since >= alarms->settings.vim_after_ms) {
            alarms_raise(alarms, &alarm);
        }
    }
}

/* --- Quotas -------------------------------------------------------------------------------------- */

static int64_t number_of(const json_t *body, const char *member, int64_t otherwise)
{
    const json_t *value = json_object_get(body, member);
    return json_is_number(value) ? (int64_t)json_number_value(value) : otherwise;
}

/* On a lane's thread. */
static void looked(void *argument, int code, const struct vim_item *items, size_t count,
                   const struct failure *failure)
{
    struct alarm_look *look = argument;
    (void)failure; /* the health tells of it */
    look->quotas = memory_new_array(count + 1, sizeof(*look->quotas));
    for (size_t i = 0; code == VIM_OK && i < count; i++) {
        CLEANUP_JSON json_t *body = NULL;
        if (json_parse(items[i].body, strlen(items[i].body), NULL, &body, NULL) == VIM_OK) {
            struct alarm_quota *quota = &look->quotas[look->count++];
            (void)snprintf(quota->name, sizeof(quota->name), "%s",
                           json_get_text(body, "name", items[i].id));
            quota->limit = number_of(body, "limit", -1);
            quota->used = number_of(body, "used", -1);
        }
    }
    LOCK_GUARD(&look->alarms->mutex);
    look->next = look->alarms->looks;
    look->alarms->looks = look;
}

/* Is it this process's turn to look? The first look comes an interval after the first start. */
static bool take_turn(struct alarms *alarms, struct alarm_vim *vim)
{
    struct row row = {0};
    CLEANUP_FREE char *id = text_format("quota/%s", vim->name);
    CLEANUP_FREE char *body = text_format("{\"owner\":\"%s\"}", owner_self());
    int64_t now = clock_now_ms(), interval = alarms->settings.quota_interval_ms;
    int code = store_get(alarms->store, COLLECTION_LEASE, id, &row, NULL);
    int64_t left = code == VIM_OK ? row.due - now : 0;
    bool due = code == VIM_OK && (left <= 0 || left > interval);
    vim->quota_due = clock_mono_ms() + (due || left <= 0 ? interval : left);
    struct vim_write write = {.collection = COLLECTION_LEASE,
                              .id = id,
                              .body = body,
                              .expect = code == VIM_OK ? row.revision : VIM_EXPECT_ABSENT,
                              .due = now + interval};
    row_free(&row);
    bool write_it = due || code == VIM_E_NOT_FOUND;
    return write_it && store_commit(alarms->store, &write, 1, NULL) == VIM_OK && due;
}

static void look_at_quotas(struct alarms *alarms, struct alarm_vim *vim, struct vim_target *target)
{
    const struct vim_trait *trait = vim_target_trait(target, KIND_QUOTA);
    if (!alarms->settings.quota_percent || !trait || !(trait->verbs & VIM_VERB_LOOK) ||
        clock_mono_ms() < vim->quota_due || !take_turn(alarms, vim)) {
        return;
    }
    struct alarm_look *look = MEMORY_NEW(struct alarm_look);
    look->alarms = alarms;
    look->number = ++vim->looks_begun;
    (void)snprintf(look->vim, sizeof(look->vim), "%s", vim->name);
    (void)snprintf(look->project, sizeof(look->project), "%s",
                   vim_target_settings(target)->project);
    vim_target_look(target, KIND_QUOTA, LOOK_TIMEOUT_MS, looked, look);
}

/* Has one that was begun later told already? */
static bool is_outdated(struct alarms *alarms, const struct alarm_look *look)
{
    struct alarm_vim *vim = remember(alarms, look->vim);
    if (look->count > 0 && look->number > vim->look_taken) {
        vim->look_taken = look->number;
    }
    return look->number < vim->look_taken;
}

void alarms_take_look(struct alarms *alarms, struct alarm_look *look)
{
    int64_t percent = alarms->settings.quota_percent;
    size_t count = is_outdated(alarms, look) ? 0 : look->count;
    for (size_t i = 0; i < count; i++) {
        const struct alarm_quota *quota = &look->quotas[i];
        char id[ALARM_ID_SIZE];
        alarm_id(ALARM_QUOTA_NEARLY_USED, look->vim, quota->name, id);
        CLEANUP_FREE char *reason =
            text_format("%lld of %lld are used", (long long)quota->used, (long long)quota->limit);
        struct alarm alarm = {.type = ALARM_QUOTA_NEARLY_USED,
                              .id = id,
                              .raised = clock_now_ms(),
                              .project = look->project,
                              .vim = look->vim,
                              .name = quota->name,
                              .reason = reason};
        double used = quota->limit > 0 && quota->used >= 0
                          ? (double)quota->used * 100 / (double)quota->limit
                          : 0; /* no limit, or nothing to be had at all */
        if (used >= (double)percent) {
            alarms_raise(alarms, &alarm);
        } else if (used < (double)(percent - QUOTA_SLACK) || quota->limit <= 0) {
            alarms_clear(alarms, id);
        }
    }
    free(look->quotas);
    free(look);
}

/* --- All of them --------------------------------------------------------------------------------- */

static void look_at_one(void *argument, struct vim_target *target)
{
    struct alarms *alarms = argument;
    struct alarm_vim *vim = remember(alarms, vim_target_settings(target)->name);
    vim->seen = true;
    look_at_health(alarms, vim, target);
    look_at_quotas(alarms, vim, target);
}

/* Is the alarm about a VIM that is not configured any more, here or elsewhere? */
static bool is_of_none(const struct alarms *alarms, const struct alarm_known *known)
{
    struct vim_health unused;
    struct alarm_vim *vim;
    if (known->type != ALARM_VIM_UNREACHABLE && known->type != ALARM_QUOTA_NEARLY_USED) {
        return false;
    }
    CLEANUP_FREE char *name = text_duplicate(known->id + strlen(alarm_type_name(known->type)) + 1);
    name[strcspn(name, ".")] = '\0';
    HASH_FIND_STR(alarms->vims, name, vim);
    return !(vim && vim->seen) && !(alarms->settings.presence &&
                                    presence_vim_health(alarms->settings.presence, name, &unused));
}

void alarms_look_at_vims(struct alarms *alarms)
{
    struct alarm_known *known, *next;
    for (struct alarm_vim *vim = alarms->vims; vim; vim = vim->hh.next) {
        vim->seen = false;
    }
    vims_each(alarms->settings.vims, look_at_one, alarms);
    HASH_ITER(hh, alarms->known, known, next)
    {
        if (is_of_none(alarms, known)) {
            alarms_clear(alarms, known->id);
        }
    }
}
