/* One round: the driver's list on the VIM's lane, item by item. */
#include "engine/inventory_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

/* A list takes many pages, a call of the settings' time-out is one. */
#define LIST_TIMEOUT_FACTOR 4

/* Made by round_start(), freed when its round has ended. */
struct round {
    struct poll *poll;
    struct vim_target *target;
    bool changes_only; /* asked for what changed since the cursor */
    bool stopped; /* by us: then it is not complete */
    int store_code; /* of the first write that failed */
    struct failure failure;
    int64_t looked; /* clock_mono_ms() */
    int64_t looked_at; /* the same in ms since 1970 */
    uint64_t items;
    struct gone *gone;
    size_t gone_count;
    struct batch batch;
};

/* --- Items --------------------------------------------------------------------------------------- */

static void add_gone(struct round *round, const struct entry *entry)
{
    round->gone = memory_resize(round->gone, round->gone_count + 1, sizeof(*round->gone));
    struct gone *gone = &round->gone[round->gone_count++];
    gone->backend_id = text_duplicate(entry->backend_id);
    memcpy(gone->id, entry->id, ID_SIZE);
    gone->at = round->items;
}

/* An item of a list of changes that says: no longer there. */
static void see_gone(struct round *round, const struct vim_item *item)
{
    struct poll *poll = round->poll;
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_find(&poll->cache, item->id);
    if (entry && entry->deleted) {
        cache_remove(&poll->cache, entry);
    } else if (entry && entry->touched < round->looked) {
        add_gone(round, entry);
    }
}

/* Notes that ITEM was seen. True if its row has to be looked at. */
static bool see_item(struct round *round, const struct vim_item *item)
{
    struct poll *poll = round->poll;
    uint64_t hash = item_hash(item);
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_find(&poll->cache, item->id);
    bool is_new = !entry;
    entry = cache_make(&poll->cache, item->id);
    if (is_new) {
        entry->added = round->looked;
    }
    entry->pass = poll->pass;
    entry->emitted = clock_mono_ms();
    entry->shown = round->items;
    if (entry->touched >= round->looked) {
        /* What a step has done since may not be in it. */
        entry->hash = 0;
        poll->need_full = poll->need_full || round->changes_only;
        return false;
    }
    entry->pending = item->flags & VIM_ITEM_PENDING;
    if (entry->deleted && entry->pending) {
        return false; /* on its way out */
    }
    bool unchanged = entry->hash == hash && !entry->deleted;
    bool task_may_wait = entry->skipped && !entry->pending;
    bool better_known =
        entry->unresolved && entry->generation != atomic_load(&poll->inventory->generation);
    return !unchanged || task_may_wait || better_known;
}

static int flush(struct round *round)
{
    struct failure failure = {0};
    int code = batch_flush(&round->batch, &failure);
    if (code != VIM_OK && round->store_code == VIM_OK) {
        round->store_code = code;
        round->failure = failure;
    }
    return code;
}

static int take_listed(void *argument, const struct vim_item *item)
{
    struct round *round = argument;
    struct poll *poll = round->poll;
    if (atomic_load(&poll->inventory->stopping) || round->store_code != VIM_OK) {
        round->stopped = true;
        return 1;
    }
    if (!item->id || !*item->id || (item->kind && strcmp(item->kind, poll->kind) != 0)) {
        return 0;
    }
    round->items++;
    bool look = false;
    if (item->flags & VIM_ITEM_GONE) {
        see_gone(round, item);
    } else {
        look = see_item(round, item);
    }
    if (look) {
        item_copy(item, &round->batch.items[round->batch.count++]);
    }
    if (round->batch.count == BATCH_MAX) {
        (void)flush(round);
    }
    if (tasks_observe(poll->inventory->tasks, poll->vim, poll->kind, item, round->looked)) {
        LOCK_GUARD(&poll->mutex);
        poll->need_full = poll->need_full || round->changes_only;
    }
    return 0;
}

/* --- The end of a pass --------------------------------------------------------------------------- */

/* What the cache holds and a complete pass has not shown. What was added or touched after the pass
 * began may have been missed rightly. */
static void find_missing(struct round *round)
{
    struct poll *poll = round->poll;
    struct entry *entry, *next;
    LOCK_GUARD(&poll->mutex);
    HASH_ITER(hh, poll->cache.entries, entry, next)
    {
        bool seen = entry->pass == poll->pass && entry->emitted >= round->looked;
        if (seen || entry->added >= round->looked || entry->touched >= round->looked) {
            continue;
        }
        if (entry->deleted || !entry->id[0]) {
            cache_remove(&poll->cache, entry);
        } else {
            add_gone(round, entry);
        }
    }
}

static bool was_seen(void *argument, const char *backend_id)
{
    struct round *round = argument;
    struct poll *poll = round->poll;
    LOCK_GUARD(&poll->mutex);
    struct entry *entry = cache_find(&poll->cache, backend_id);
    return entry && entry->pass == poll->pass && entry->emitted >= round->looked;
}

/* A list of changes may tell that something has gone and then that it is there: where an id is a
 * name, it was made again. The last word counts. */
static void forget_returned(struct round *round)
{
    struct poll *poll = round->poll;
    size_t kept = 0;
    LOCK_GUARD(&poll->mutex);
    for (size_t i = 0; i < round->gone_count; i++) {
        struct gone *gone = &round->gone[i];
        const struct entry *entry = cache_find(&poll->cache, gone->backend_id);
        if (entry && entry->pass == poll->pass && entry->emitted >= round->looked &&
            entry->shown > gone->at) {
            free(gone->backend_id);
        } else {
            round->gone[kept++] = *gone;
        }
    }
    round->gone_count = kept;
}

static int finish_pass(struct round *round, struct vim_call *call)
{
    struct poll *poll = round->poll;
    struct inventory *inventory = poll->inventory;
    const char *cursor;
    if (!round->changes_only) {
        find_missing(round);
        tasks_observe_end(inventory->tasks, poll->vim, poll->kind, round->looked, was_seen, round);
        poll->last_full = round->looked;
    }
    forget_returned(round);
    int code =
        update_gone(poll, round->gone, round->gone_count, &round->batch.changes, &round->failure);
    /* From the cursor as it was, what was not believed is told once more. */
    if (round->batch.again) {
        inventory_hint(inventory, poll->vim, poll->kind);
    } else if (code == VIM_OK && call_kept(call, &cursor)) {
        free(poll->cursor);
        poll->cursor = text_duplicate(cursor);
    }
    return code;
}

static void count_round(const struct round *round, int code)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "vim", round->poll->vim);
    metrics_label(&labels, "kind", round->poll->kind);
    metric_add(metrics_counter("vimd_poll_items_total", "Items that drivers have listed",
                               text_get(&labels)),
               (double)round->items);
    metric_add(metrics_counter("vimd_poll_changes_total", "Rows that polling has changed",
                               text_get(&labels)),
               (double)round->batch.changes);
    metric_observe(metrics_histogram("vimd_poll_seconds", "Duration of poll rounds",
                                     text_get(&labels), NULL, 0),
                   (double)(clock_mono_ms() - round->looked) / 1000);
    metrics_label(&labels, "result", error_name(code));
    metric_add(metrics_counter("vimd_poll_rounds_total", "Poll rounds", text_get(&labels)), 1);
}

static void round_end(struct round *round, int code)
{
    struct poll *poll = round->poll;
    bool complete = code == VIM_OK && !round->stopped;
    if (code != VIM_OK) {
        /* A cursor may be what it stumbled over. */
        free(poll->cursor);
        poll->cursor = NULL;
        log_event(poll->failures == 0 ? VIM_WARNING : VIM_DEBUG, "poll failed",
                  "vim=%s kind=%s error=%s text=%s", poll->vim, poll->kind, error_name(code),
                  round->failure.text);
    }
    count_round(round, code);
    for (size_t i = 0; i < round->gone_count; i++) {
        free(round->gone[i].backend_id);
    }
    free(round->gone);
    struct vim_target *target = round->target;
    int64_t pass = complete ? round->looked_at : 0;
    free(round);
    round_ended(poll, target, code, pass);
}

static void done_list(struct vim_call *call, int code, void *argument)
{
    struct round *round = argument;
    pthread_mutex_lock(&round->poll->inventory->mutex);
    round->poll->call = NULL;
    pthread_mutex_unlock(&round->poll->inventory->mutex);
    if (code != VIM_OK) {
        failure_from_call(&round->failure, code, call);
    }
    vim_target_report(round->target, code, round->failure.text);
    /* What was listed is true even if the list broke off. */
    (void)flush(round);
    if (code == VIM_OK && round->store_code != VIM_OK) {
        code = round->store_code;
    }
    if (code == VIM_OK && !round->stopped) {
        code = finish_pass(round, call);
    }
    for (uint32_t i = 0; i < round->batch.count; i++) {
        item_free(&round->batch.items[i]);
    }
    round_end(round, code);
}

/* --- Start --------------------------------------------------------------------------------------- */

static void prepare_list(struct vim_call *call, void *argument)
{
    struct round *round = argument;
    struct inventory *inventory = round->poll->inventory;
    call_set_emit(call, take_listed, round);
    LOCK_GUARD(&inventory->mutex);
    round->poll->call = call;
    if (atomic_load(&inventory->stopping)) {
        call_cancel(call);
    }
}

static int run_list(struct vim_call *call, void *handle, void *argument)
{
    struct round *round = argument;
    struct vim_list_query query = {.size = sizeof(query),
                                   .kind = round->poll->kind,
                                   .since = round->changes_only ? round->poll->cursor : NULL};
    round->looked = round->batch.looked = clock_mono_ms();
    round->looked_at = clock_now_ms();
    return instance_driver(vim_target_instance(round->target))->list(call, handle, &query);
}

/* Complete passes now and then, and whenever changes may have been missed. */
static bool wants_changes_only(struct poll *poll, const struct vim_target *target)
{
    const struct vim_trait *trait = vim_target_trait(target, poll->kind);
    int64_t full_ms = vim_target_settings(target)->poll_full_ms;
    LOCK_GUARD(&poll->mutex);
    bool full = poll->need_full || !poll->cursor || !poll->last_full ||
                clock_mono_ms() - poll->last_full >= full_ms || !trait ||
                !(trait->verbs & VIM_VERB_CHANGES);
    if (full) {
        poll->need_full = false;
    }
    return !full;
}

void round_start(struct poll *poll, struct vim_target *target)
{
    struct round *round = MEMORY_NEW(struct round);
    round->poll = poll;
    round->target = target;
    round->batch.poll = poll;
    round->batch.target = target;
    round->looked = clock_mono_ms();
    round->changes_only = wants_changes_only(poll, target);
    pthread_mutex_lock(&poll->mutex);
    poll->pass++;
    pthread_mutex_unlock(&poll->mutex);
    struct lane_job job = {
        .run = run_list,
        .done = done_list,
        .prepare = prepare_list,
        .argument = round,
        .timeout_ms = vim_target_settings(target)->call_timeout_ms * LIST_TIMEOUT_FACTOR,
    };
    int code = lane_post(vim_target_lane(target), &job, NULL);
    if (code != VIM_OK) {
        failure_set(&round->failure, code, "VIM %s does not take calls now", poll->vim);
        round_end(round, code);
    }
}
