/*
 * The object, its thread, and when which round is due.
 * Lock order: inventory->mutex, then poll->mutex; neither is held over the store, a driver or tasks.
 */
#include "engine/inventory_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

#define INVENTORY_MAGIC 0x494e5654u
/* An await of something that a list showed as settled this lately wants a complete pass. */
#define LATELY_MS 60000
#define STOP_WAIT_MS 5000
/* Between looks at what other processes want. */
#define WANTS_INTERVAL_MS 250

struct inventory *inventory_new(struct store *store, struct vims *vims, struct tasks *tasks,
                                struct aliases *aliases)
{
    struct inventory *inventory = MEMORY_NEW(struct inventory);
    inventory->magic = INVENTORY_MAGIC;
    inventory->store = store;
    inventory->vims = vims;
    inventory->tasks = tasks;
    inventory->aliases = aliases;
    pthread_mutex_init(&inventory->mutex, NULL);
    clock_cond_init(&inventory->cond);
    inventory_refresh(inventory);
    return inventory;
}

static void poll_free(struct poll *poll)
{
    cache_clear(&poll->cache);
    pthread_mutex_destroy(&poll->mutex);
    free(poll->vim);
    free(poll->kind);
    free(poll->cursor);
    free(poll->holder);
    free(poll);
}

void inventory_free(struct inventory *inventory)
{
    if (!inventory) {
        return;
    }
    assert(inventory->magic == INVENTORY_MAGIC && !inventory->started);
    inventory->magic = 0;
    while (inventory->polls) {
        struct poll *poll = inventory->polls;
        inventory->polls = poll->next;
        poll_free(poll);
    }
    pthread_cond_destroy(&inventory->cond);
    pthread_mutex_destroy(&inventory->mutex);
    free(inventory);
}

struct poll *inventory_find(struct inventory *inventory, const char *vim, const char *kind)
{
    struct poll *poll = inventory->polls;
    while (poll && (strcmp(poll->vim, vim) != 0 || strcmp(poll->kind, kind) != 0)) {
        poll = poll->next;
    }
    return poll;
}

/* --- Which polls there are ----------------------------------------------------------------------- */

static void want_poll(struct inventory *inventory, const char *vim, const char *kind,
                      int64_t pending_ms)
{
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (!poll) {
        poll = MEMORY_NEW(struct poll);
        poll->inventory = inventory;
        poll->vim = text_duplicate(vim);
        poll->kind = text_duplicate(kind);
        pthread_mutex_init(&poll->mutex, NULL);
        poll->next = inventory->polls;
        inventory->polls = poll;
    }
    poll->wanted = true;
    poll->pending_ms = pending_ms;
    pthread_mutex_lock(&poll->mutex);
    poll->need_full =
        true; /* the VIM may be another one under this name: its cursor tells nothing */
    pthread_mutex_unlock(&poll->mutex);
    poll->due = poll->running ? poll->due : 0;
}

static void want_polls(void *argument, struct vim_target *target)
{
    struct inventory *inventory = argument;
    const struct vim_settings *settings = vim_target_settings(target);
    const struct vim_driver_ops *ops = instance_driver(vim_target_instance(target));
    LOCK_GUARD(&inventory->mutex);
    for (uint32_t i = 0; i < ops->trait_count; i++) {
        if (ops->list && (ops->traits[i].verbs & VIM_VERB_LIST)) {
            want_poll(inventory, settings->name, ops->traits[i].kind, settings->poll_pending_ms);
        }
    }
}

/* Removes polls that nobody wants, as far as no round is in progress. Under the lock. */
static void drop_unwanted(struct inventory *inventory)
{
    struct poll **link = &inventory->polls;
    while (*link) {
        struct poll *poll = *link;
        if (poll->wanted || poll->running) {
            link = &poll->next;
        } else {
            *link = poll->next;
            poll_free(poll);
        }
    }
}

void inventory_refresh(struct inventory *inventory)
{
    pthread_mutex_lock(&inventory->mutex);
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        poll->wanted = false;
    }
    pthread_mutex_unlock(&inventory->mutex);
    vims_each(inventory->vims, want_polls, inventory);
    pthread_mutex_lock(&inventory->mutex);
    drop_unwanted(inventory);
    pthread_cond_signal(&inventory->cond);
    pthread_mutex_unlock(&inventory->mutex);
}

/* --- When ---------------------------------------------------------------------------------------- */

static int64_t interval_of(struct poll *poll, const struct vim_settings *settings, int code)
{
    bool soon = tasks_awaited(poll->inventory->tasks, poll->vim, poll->kind);
    pthread_mutex_lock(&poll->mutex);
    soon = soon || cache_has_pending(&poll->cache);
    pthread_mutex_unlock(&poll->mutex);
    int64_t interval = soon ? settings->poll_pending_ms : settings->poll_idle_ms;
    if (code != VIM_OK) {
        interval <<= poll->failures < 16 ? poll->failures : 16;
        int64_t cap = settings->poll_backoff_ms;
        interval = cap > 0 && interval > cap ? cap : interval;
    }
    return interval < 1 ? 1 : interval;
}

/* Of a poll that is running: it becomes idle. */
static void set_idle(struct poll *poll, int64_t interval)
{
    struct inventory *inventory = poll->inventory;
    LOCK_GUARD(&inventory->mutex);
    int64_t now = clock_mono_ms();
    if (poll->hinted && interval > poll->pending_ms && poll->failures == 0) {
        interval = poll->pending_ms;
    }
    poll->hinted = false;
    poll->last_end = now;
    poll->due = now + interval;
    poll->running = false;
    poll->tried = true;
    inventory->running--;
    drop_unwanted(inventory);
    pthread_cond_broadcast(&inventory->cond);
}

void round_ended(struct poll *poll, struct vim_target *target, int code, int64_t pass)
{
    pthread_mutex_lock(&poll->inventory->mutex);
    poll->failures = code == VIM_OK ? 0 : poll->failures + 1;
    poll->last_pass = pass ? pass : poll->last_pass;
    pthread_mutex_unlock(&poll->inventory->mutex);
    int64_t interval = interval_of(poll, vim_target_settings(target), code);
    vim_target_release(target);
    set_idle(poll, interval);
}

void inventory_hint(struct inventory *inventory, const char *vim, const char *kind)
{
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (!poll) {
        return;
    }
    poll->wants |= WANT_SOON;
    if (poll->running) {
        poll->hinted = true;
        return;
    }
    int64_t now = clock_mono_ms();
    int64_t due = poll->last_end + poll->pending_ms > now ? poll->last_end + poll->pending_ms : now;
    /* A far side that fails is left alone for its time. */
    if (poll->failures == 0 && due < poll->due) {
        poll->due = due;
        pthread_cond_signal(&inventory->cond);
    }
}

/* --- The thread ---------------------------------------------------------------------------------- */

/* Everything that comes before the driver's list. On error the poll is put off. Rows are compared with what is
 * known of them now and then: others make and delete some that no list has shown here. */
static int prepare_round(struct poll *poll, const struct vim_target *target, int64_t *ret_wait_ms,
                         struct failure *failure)
{
    bool taken;
    int64_t full_ms = vim_target_settings(target)->poll_full_ms;
    *ret_wait_ms = 1000;
    int code = poll_lease_take(poll, &taken, ret_wait_ms, failure);
    bool anew = taken || !poll->loaded;
    if (code == VIM_OK && (anew || clock_mono_ms() - poll->loaded_at >= full_ms)) {
        code = update_load(poll, anew, failure);
        poll->loaded = code == VIM_OK;
        poll->loaded_at = clock_mono_ms();
        poll->last_full = anew ? 0 : poll->last_full;
    }
    return code;
}

/* Another process polls: it is told what is wanted here. */
static void tell_wants(struct poll *poll)
{
    struct inventory *inventory = poll->inventory;
    bool awaited = tasks_awaited(inventory->tasks, poll->vim, poll->kind);
    pthread_mutex_lock(&inventory->mutex);
    uint32_t wants = poll->wants | (awaited ? WANT_SOON : 0);
    poll->wants = 0;
    pthread_mutex_unlock(&inventory->mutex);
    if (wants && poll_want_tell(poll, wants, NULL) != VIM_OK) {
        LOCK_GUARD(&inventory->mutex);
        poll->wants |= wants;
    }
}

static void begin_round(struct poll *poll)
{
    struct failure failure = {0};
    int64_t wait_ms;
    struct vim_target *target = vims_get(poll->inventory->vims, poll->vim);
    int code = target ? prepare_round(poll, target, &wait_ms, &failure) : VIM_E_NOT_FOUND;
    if (!target) {
        set_idle(poll, poll->pending_ms);
        return;
    }
    if (code == VIM_OK) {
        pthread_mutex_lock(&poll->inventory->mutex);
        poll->wants = 0;
        poll->told = false;
        pthread_mutex_unlock(&poll->inventory->mutex);
        round_start(poll, target);
        return;
    }
    vim_target_release(target);
    if (code == VIM_E_BUSY) {
        tell_wants(poll);
    } else if (!poll->told) {
        poll->told = true; /* only this thread begins rounds */
        log_event(VIM_WARNING, "poll not begun", "vim=%s kind=%s error=%s text=%s", poll->vim,
                  poll->kind, error_name(code), failure.text);
    }
    set_idle(poll, wait_ms < 100 ? 100 : wait_ms);
}

/* The poll that is due first and not running, or NULL. Under the lock. */
static struct poll *first_due(struct inventory *inventory)
{
    struct poll *first = NULL;
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        if (!poll->running && poll->wanted && (!first || poll->due < first->due)) {
            first = poll;
        }
    }
    return first;
}

/* Is any of the polls ours? Under the lock. */
static bool polls_here(const struct inventory *inventory)
{
    const struct poll *poll = inventory->polls;
    while (poll && !poll_lease_is_ours(poll)) {
        poll = poll->next;
    }
    return poll;
}

static void *inventory_main(void *argument)
{
    struct inventory *inventory = argument;
    int64_t wants_due = 0;
    pthread_mutex_lock(&inventory->mutex);
    while (!inventory->stop) {
        int64_t now = clock_mono_ms();
        struct poll *poll = first_due(inventory);
        if (wants_due <= now && polls_here(inventory)) {
            pthread_mutex_unlock(&inventory->mutex);
            poll_wants_look(inventory);
            wants_due = clock_mono_ms() + WANTS_INTERVAL_MS;
            pthread_mutex_lock(&inventory->mutex);
            continue;
        }
        if (!poll || poll->due > now) {
            int64_t due = poll ? poll->due : INT64_MAX;
            int64_t wants = polls_here(inventory) ? wants_due : INT64_MAX;
            (void)clock_cond_wait_until(&inventory->cond, &inventory->mutex,
                                        wants < due ? wants : due);
            continue;
        }
        poll->running = true;
        inventory->running++;
        pthread_mutex_unlock(&inventory->mutex);
        begin_round(poll);
        pthread_mutex_lock(&inventory->mutex);
    }
    pthread_mutex_unlock(&inventory->mutex);
    return NULL;
}

int inventory_start(struct inventory *inventory, struct failure *failure)
{
    inventory->stop = false;
    atomic_store(&inventory->stopping, false);
    int code = thread_start("inventory", inventory_main, inventory, &inventory->thread);
    if (code != VIM_OK) {
        return failure_set(failure, code, "no thread for the inventory");
    }
    inventory->started = true;
    return VIM_OK;
}

int inventory_stop(struct inventory *inventory)
{
    if (!inventory->started) {
        return VIM_OK;
    }
    atomic_store(&inventory->stopping, true);
    pthread_mutex_lock(&inventory->mutex);
    inventory->stop = true;
    pthread_cond_broadcast(&inventory->cond);
    pthread_mutex_unlock(&inventory->mutex);
    (void)pthread_join(inventory->thread, NULL);
    pthread_mutex_lock(&inventory->mutex);
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        if (poll->call) {
            call_cancel(poll->call);
        }
    }
    pthread_mutex_unlock(&inventory->mutex);
    pthread_mutex_lock(&inventory->mutex);
    int64_t until = clock_mono_ms() + STOP_WAIT_MS;
    while (inventory->running && clock_mono_ms() < until) {
        (void)clock_cond_wait_until(&inventory->cond, &inventory->mutex, until);
    }
    bool ended = !inventory->running;
    pthread_mutex_unlock(&inventory->mutex);
    if (!ended) {
        return VIM_E_TIMEOUT;
    }
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        poll_lease_release(poll);
    }
    inventory->started = false;
    return VIM_OK;
}

/* --- What steps tell, and what others ask -------------------------------------------------------- */

void inventory_touch(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id)
{
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (poll) {
        LOCK_GUARD(&poll->mutex);
        int64_t now = clock_mono_ms();
        bool is_new = !cache_find(&poll->cache, backend_id);
        struct entry *entry = cache_make(&poll->cache, backend_id);
        entry->added = is_new ? now : entry->added;
        entry->touched = now;
    }
}

void inventory_learn(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id, const char *id, uint64_t revision)
{
    char derived[ID_SIZE];
    resource_derive_id(vim, kind, backend_id, derived);
    bool is_derived = id && strcmp(id, derived) == 0;
    aliases_learn(inventory->aliases, vim, kind, backend_id, is_derived ? NULL : id);
    atomic_fetch_add(&inventory->generation, 1);
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (!poll) {
        return;
    }
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_find(&poll->cache, backend_id);
    if (!entry) {
        entry = cache_make(&poll->cache, backend_id);
        entry->added = clock_mono_ms();
    }
    entry->hash = 0;
    entry->revision = revision;
    entry->skipped = false;
    entry->deleted = id == NULL;
    memset(entry->id, 0, ID_SIZE);
    if (id) {
        strncpy(entry->id, id, ID_SIZE - 1);
    }
}

void inventory_await(struct inventory *inventory, const char *vim, const char *kind,
                     const char *backend_id)
{
    pthread_mutex_lock(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (poll) {
        LOCK_GUARD(&poll->mutex);
        struct entry *entry = cache_find(&poll->cache, backend_id);
        if (entry && !entry->pending && entry->emitted > clock_mono_ms() - LATELY_MS) {
            /* It may have settled in a list of changes that ran beside the step, and that is not
             * believed: no later one would show it again. */
            poll->need_full = true;
        }
    }
    pthread_mutex_unlock(&inventory->mutex);
    inventory_hint(inventory, vim, kind);
}

void inventory_doubt(struct inventory *inventory, const char *vim, const char *kind)
{
    pthread_mutex_lock(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    if (poll) {
        LOCK_GUARD(&poll->mutex);
        poll->need_full = true;
        poll->wants |= WANT_FULL;
    }
    pthread_mutex_unlock(&inventory->mutex);
    inventory_hint(inventory, vim, kind);
}

int64_t inventory_last_pass(struct inventory *inventory, const char *vim, const char *kind)
{
    LOCK_GUARD(&inventory->mutex);
    struct poll *poll = inventory_find(inventory, vim, kind);
    return poll ? poll->last_pass : 0;
}

bool inventory_is_ready(struct inventory *inventory)
{
    LOCK_GUARD(&inventory->mutex);
    for (struct poll *poll = inventory->polls; poll; poll = poll->next) {
        if (poll->wanted && !poll->tried) {
            return false;
        }
    }
    return true;
}
