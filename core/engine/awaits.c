/*
 * Two ways lead to an await: by task, and by what is awaited (a subject), of which there is one
 * per VIM, kind and id; a series is the list of subjects of one VIM and kind.
 * Lock order: awaits->mutex is a leaf; the SEEN function of awaits_observe_end() is called under it
 * and may take the inventory's cache mutex, never the other way round.
 */
#include "engine/awaits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/vims_internal.h"

struct subject;

struct await {
    char task[ID_SIZE];
    int64_t since;
    struct subject *subject;
    struct await *next; /* of the same subject */
    UT_hash_handle hh;
};

struct subject {
    struct series *series;
    struct await *first;
    struct subject *previous, *next; /* in the series */
    UT_hash_handle hh;
    char id[]; /* key in the series' table */
};

struct series {
    char *name; /* "VIM KIND" */
    struct subject *subjects; /* hash by id */
    struct subject *list;
    size_t awaits;
    UT_hash_handle hh;
};

struct seen {
    char task[ID_SIZE];
    int64_t at;
    struct vim_item item;
    UT_hash_handle hh;
};

struct awaits {
    pthread_mutex_t mutex;
    struct await *by_task;
    struct series *series; /* never removed: VIMs times kinds */
    struct seen *seen;
};

struct awaits *awaits_new(void)
{
    struct awaits *awaits = MEMORY_NEW(struct awaits);
    pthread_mutex_init(&awaits->mutex, NULL);
    return awaits;
}

static void remove_subject(struct subject *subject)
{
    struct series *series = subject->series;
    HASH_DEL(series->subjects, subject);
    if (subject->previous) {
        subject->previous->next = subject->next;
    } else {
        series->list = subject->next;
    }
    if (subject->next) {
        subject->next->previous = subject->previous;
    }
    free(subject);
}

/* Takes an await out of everything but the list of its subject, and frees it. */
static void drop_await(struct awaits *awaits, struct await *await)
{
    HASH_DEL(awaits->by_task, await);
    await->subject->series->awaits--;
    free(await);
}

static void remove_await(struct awaits *awaits, struct await *await)
{
    struct subject *subject = await->subject;
    struct await **link = &subject->first;
    while (*link != await) {
        link = &(*link)->next;
    }
    *link = await->next;
    drop_await(awaits, await);
    if (!subject->first) {
        remove_subject(subject);
    }
}

static void remove_seen(struct awaits *awaits, struct seen *seen)
{
    HASH_DEL(awaits->seen, seen);
    item_free(&seen->item);
    free(seen);
}

void awaits_free(struct awaits *awaits)
{
    if (!awaits) {
        return;
    }
    while (awaits->by_task) {
        remove_await(awaits, awaits->by_task);
    }
    while (awaits->seen) {
        remove_seen(awaits, awaits->seen);
    }
    struct series *series, *next;
    HASH_ITER(hh, awaits->series, series, next)
    {
        HASH_DEL(awaits->series, series);
        free(series->name);
        free(series);
    }
    pthread_mutex_destroy(&awaits->mutex);
    free(awaits);
}

static struct series *find_series(struct awaits *awaits, const char *vim, const char *kind,
                                  bool make)
{
    struct series *series;
    char *name = text_format("%s %s", vim, kind);
    HASH_FIND_STR(awaits->series, name, series);
    if (!series && make) {
        series = MEMORY_NEW(struct series);
        series->name = TAKE(name);
        HASH_ADD_KEYPTR(hh, awaits->series, series->name, strlen(series->name), series);
    }
    free(name);
    return series;
}

static struct subject *find_subject(struct series *series, const char *id, bool make)
{
    struct subject *subject;
    HASH_FIND_STR(series->subjects, id, subject);
    if (!subject && make) {
        subject = memory_new(sizeof(struct subject) + strlen(id) + 1);
        strcpy(subject->id, id);
        subject->series = series;
        subject->next = series->list;
        if (series->list) {
            series->list->previous = subject;
        }
        series->list = subject;
        HASH_ADD_STR(series->subjects, id, subject);
    }
    return subject;
}

void awaits_add(struct awaits *awaits, const char *task, const char *vim, const char *kind,
                const char *id, int64_t since)
{
    struct await *await;
    LOCK_GUARD(&awaits->mutex);
    HASH_FIND_STR(awaits->by_task, task, await);
    if (await) {
        remove_await(awaits, await);
    }
    struct series *series = find_series(awaits, vim, kind, true);
    await = MEMORY_NEW(struct await);
    strncpy(await->task, task, ID_SIZE - 1);
    await->since = since;
    await->subject = find_subject(series, id, true);
    await->next = await->subject->first;
    await->subject->first = await;
    series->awaits++;
    HASH_ADD_STR(awaits->by_task, task, await);
}

void awaits_remove(struct awaits *awaits, const char *task)
{
    struct await *await;
    LOCK_GUARD(&awaits->mutex);
    HASH_FIND_STR(awaits->by_task, task, await);
    if (await) {
        remove_await(awaits, await);
    }
}

bool awaits_holds(struct awaits *awaits, const char *task)
{
    struct await *await;
    LOCK_GUARD(&awaits->mutex);
    HASH_FIND_STR(awaits->by_task, task, await);
    return await != NULL;
}

size_t awaits_count(struct awaits *awaits, const char *vim, const char *kind)
{
    LOCK_GUARD(&awaits->mutex);
    struct series *series = find_series(awaits, vim, kind, false);
    return series ? series->awaits : 0;
}

static void put_seen(struct awaits *awaits, const char *task, const struct vim_item *item)
{
    struct seen *seen;
    HASH_FIND_STR(awaits->seen, task, seen);
    if (seen) {
        remove_seen(awaits, seen);
    }
    seen = MEMORY_NEW(struct seen);
    strncpy(seen->task, task, ID_SIZE - 1);
    seen->at = clock_mono_ms();
    item_copy(item, &seen->item);
    HASH_ADD_STR(awaits->seen, task, seen);
}

/* Wakes those of a subject that count a look of LOOKED. True if some did not. */
static bool wake_subject(struct awaits *awaits, struct subject *subject,
                         const struct vim_item *item, int64_t looked, struct awaits_woken *woken)
{
    bool left = false;
    struct await **link = &subject->first;
    while (*link) {
        struct await *await = *link;
        if (await->since >= looked) { /* within one millisecond the order is not known */
            left = true;
            link = &await->next;
            continue;
        }
        woken->items = memory_resize(woken->items, woken->count + 1, ID_SIZE);
        memcpy(woken->items[woken->count++], await->task, ID_SIZE);
        put_seen(awaits, await->task, item);
        *link = await->next;
        drop_await(awaits, await);
    }
    if (!subject->first) {
        remove_subject(subject);
    }
    return left;
}

bool awaits_observe(struct awaits *awaits, const char *vim, const char *kind,
                    const struct vim_item *item, int64_t looked, struct awaits_woken *woken)
{
    if ((item->flags & VIM_ITEM_PENDING) && !(item->flags & VIM_ITEM_GONE)) {
        return false;
    }
    LOCK_GUARD(&awaits->mutex);
    struct series *series = find_series(awaits, vim, kind, false);
    struct subject *subject = series ? find_subject(series, item->id, false) : NULL;
    return subject && wake_subject(awaits, subject, item, looked, woken);
}

void awaits_observe_end(struct awaits *awaits, const char *vim, const char *kind, int64_t looked,
                        bool (*seen)(void *argument, const char *id), void *argument,
                        struct awaits_woken *woken)
{
    LOCK_GUARD(&awaits->mutex);
    struct series *series = find_series(awaits, vim, kind, false);
    struct subject *next;
    for (struct subject *subject = series ? series->list : NULL; subject; subject = next) {
        next = subject->next;
        if (!seen(argument, subject->id)) {
            struct vim_item gone = {
                .size = sizeof(gone), .kind = kind, .id = subject->id, .flags = VIM_ITEM_GONE};
            (void)wake_subject(awaits, subject, &gone, looked, woken);
        }
    }
}

bool awaits_take_seen(struct awaits *awaits, const char *task, struct vim_item *ret_item)
{
    struct seen *seen;
    LOCK_GUARD(&awaits->mutex);
    HASH_FIND_STR(awaits->seen, task, seen);
    if (!seen) {
        return false;
    }
    *ret_item = seen->item;
    memset(&seen->item, 0, sizeof(seen->item));
    remove_seen(awaits, seen);
    return true;
}

void awaits_put_seen(struct awaits *awaits, const char *task, const struct vim_item *item)
{
    LOCK_GUARD(&awaits->mutex);
    put_seen(awaits, task, item);
}

void awaits_drop_seen(struct awaits *awaits, int64_t age_ms)
{
    int64_t limit = clock_mono_ms() - age_ms;
    struct seen *seen, *next;
    LOCK_GUARD(&awaits->mutex);
    HASH_ITER(hh, awaits->seen, seen, next)
    {
        if (seen->at < limit) {
            remove_seen(awaits, seen);
        }
    }
}
