/* One round of the process that decides on a service. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "plugin/instance.h"
#include "scaler/watch.h"

/* What was wrong is over when it has been well for so long. */
#define WELL_WINDOWS 12

/* --- What others want ----------------------------------------------------------------------------- */

static void forget_waiting(struct watch *watch, struct batch *batch, enum decision_state state)
{
    struct state_waiting *waiting = &watch->state.waiting;
    if (waiting->decision[0]) {
        batch_restate(batch, watch, waiting->decision, state, NULL);
    }
    *waiting = (struct state_waiting){.decision = ""};
}

static void take_wish(struct watch *watch, struct batch *batch)
{
    struct scaling_wish wish;
    struct watch_state *state = &watch->state;
    enum service_mode mode;
    if (scaling_wish_read(watch->scaler->settings.store, watch->service->name, &wish, NULL) !=
            VIM_OK ||
        wish.revision == state->wish) {
        return;
    }
    state->wish = wish.revision;
    if (!service_mode_by_name(wish.mode, &mode)) {
        return;
    }
    CLEANUP_FREE char *reason = text_format("mode %s: set by %s", wish.mode, wish.by);
    json_t *data = json_object();
    json_set_text(data, "mode", wish.mode);
    batch_tell(batch, watch, EVENT_SCALING_MODE, VIM_INFO, reason, data);
    state->mode = mode;
    guard_reset(&state->guard); /* a human has looked at it */
    if (mode != SERVICE_CONFIRM) {
        forget_waiting(watch, batch, DECISION_SUPERSEDED);
    }
}

/* --- What is wrong, told once --------------------------------------------------------------------- */

static void tell_staleness(struct watch *watch, struct batch *batch, int64_t now)
{
    bool stale = watch_is_stale(watch, now);
    if (stale == watch->told.stale) {
        return;
    }
    CLEANUP_FREE char *reason =
        stale
            ? text_format("nothing is measured: %s",
                          watch->source_error[0] ? watch->source_error : "the source tells nothing")
            : text_duplicate("it is measured again");
    json_t *data = json_object();
    json_set_boolean(data, "stale", stale);
    batch_tell(batch, watch, EVENT_SCALING_STALE, stale ? VIM_WARNING : VIM_INFO, reason, data);
    watch->told.stale = stale;
}

/* Is it to be told that something is WRONG, or is well again? A replica that comes up, crashes and is started anew
 * again and again is one episode. */
static bool is_news(const struct watch *watch, struct episode *episode, bool wrong)
{
    int64_t now = clock_mono_ms();
    if (wrong) {
        episode->wrong_at = now;
        return !episode->told;
    }
    return episode->told && now - episode->wrong_at >= WELL_WINDOWS * watch->service->window_ms;
}

static void tell_platforms(struct watch *watch, struct batch *batch)
{
    for (uint32_t i = 0; i < watch->service->block_count; i++) {
        const struct watch_group *group = &watch->groups[i];
        struct episode *episode = &watch->told.groups[i];
        bool wrong = group->platform && group->why[0];
        /* Half of the batch is for what else is to be told; the others come with the next one. */
        if (!is_news(watch, episode, wrong) || batch->count >= BATCH_MAX / 2) {
            continue;
        }
        const char *name = watch->service->blocks[i].name;
        CLEANUP_FREE char *reason = wrong ? text_format("%s: %s", name, group->why)
                                          : text_format("%s: all is well again", name);
        json_t *data = json_object();
        json_set_text(data, "block", name);
        batch_tell(batch, watch, EVENT_SCALING_FAILED, wrong ? VIM_WARNING : VIM_INFO, reason,
                   data);
        episode->told = wrong;
    }
}

static void tell_refusal(struct watch *watch, struct batch *batch)
{
    struct episode *episode = &watch->told.refused;
    bool refused = watch->judgement.code != VIM_OK;
    if (!is_news(watch, episode, refused)) {
        return;
    }
    if (refused) {
        CLEANUP_FREE char *reason = text_format("%s gave no decision: %s",
                                                watch->service->policy.name, watch->judgement.why);
        batch_tell(batch, watch, EVENT_SCALING_REFUSED, VIM_WARNING, reason, NULL);
    }
    episode->told = refused;
}

/* --- What came of the last action ----------------------------------------------------------------- */

static void observe(struct watch *watch, struct batch *batch, int64_t now)
{
    static const char *const outcomes[] = {"none", "pending", "improved", "no_gain", "unclear"};
    struct watch_state *state = &watch->state;
    struct guard_event event;
    char time[CLOCK_TEXT_SIZE];
    guard_observe(&state->guard, now, watch->history, &event);
    if (event.kind == GUARD_NO_EVENT) {
        return;
    }
    json_t *effect = json_object();
    json_set_text(effect, "outcome", outcomes[event.outcome]);
    json_set_text(effect, "text", event.text);
    json_set_text(effect, "time", clock_format_rfc3339(now, time));
    CLEANUP_JSON json_t *more = json_object();
    json_object_set_new(more, "effect", effect);
    if (state->effect_of[0]) {
        batch_restate(batch, watch, state->effect_of, DECISION_DONE, more);
    }
    /* The event has these as its reason and its time. */
    effect = json_copy(effect);
    json_object_del(effect, "text");
    json_object_del(effect, "time");
    json_set_text(effect, "decision", state->effect_of[0] ? state->effect_of : NULL);
    batch_tell(batch, watch,
               event.kind == GUARD_NOT_READY ? EVENT_SCALING_NOT_READY : EVENT_SCALING_EFFECT,
               event.kind == GUARD_NOT_READY ? VIM_WARNING : VIM_INFO, event.text, effect);
    state->effect_of[0] = '\0';
}

/* --- The judgement -------------------------------------------------------------------------------- */

static void judge_with(struct watch *watch, struct instance *policy, char **kept,
                       struct judgement *judgement)
{
    snapshot_build(watch->history, instance_policy(policy)->windows, *kept, &watch->snapshot);
    judge_apart(policy, &watch->snapshot, JUDGE_WATCHDOG_MS, judgement);
    if (judgement->kept_set) {
        state_keep(kept, judgement->kept);
    }
}

/* Shadows first: the snapshot is the acting policy's in the end. */
static void judge_all(struct watch *watch)
{
    for (uint32_t i = 0; i < watch->service->shadow_count; i++) {
        judge_with(watch, watch->shadows[i], &watch->state.shadow_kept[i],
                   &watch->shadow_judgements[i]);
    }
    judge_with(watch, watch->policy, &watch->state.kept, &watch->judgement);
    /* How old it is hangs on when the source has last told something, not on the grid. */
    watch->snapshot.view.end = watch->good;
}

/* The judgement as it was approved: what is ruled on now. */
static struct judgement *approved_judgement(const struct watch *watch)
{
    const struct state_waiting *waiting = &watch->state.waiting;
    struct judgement *judgement = malloc(sizeof(*judgement));
    if (!judgement) {
        abort();
    }
    *judgement = watch->judgement;
    if (!waiting->own) {
        judgement->code = VIM_OK;
        judgement->decision.verdict = waiting->verdict;
        judgement->decision.block = service_block_by_name(watch->service, waiting->block);
        judgement->decision.delta = waiting->delta;
    }
    return judgement;
}

/* --- Confirmation --------------------------------------------------------------------------------- */

/* How the decision that waits stands: its state, or DECISION_EXPIRED when it is too late or gone. */
static enum decision_state look_at_waiting(struct watch *watch, int64_t now)
{
    struct state_waiting *waiting = &watch->state.waiting;
    struct row row = {0};
    struct failure failure = {0};
    int code = store_get(watch->scaler->settings.store, COLLECTION_DECISION, waiting->decision,
                         &row, &failure);
    enum decision_state state = code == VIM_OK            ? (enum decision_state)row.state
                                : code == VIM_E_NOT_FOUND ? DECISION_EXPIRED
                                                          : DECISION_WAITING;
    row_free(&row);
    /* A clock that was set back gives nobody more time. */
    int64_t latest = now + watch->service->confirm_ms;
    waiting->until = waiting->until < latest ? waiting->until : latest;
    return state == DECISION_WAITING && now >= waiting->until ? DECISION_EXPIRED : state;
}

/* An approved decision is ruled on again, as things are now. */
static void carry_out_approved(struct watch *watch, struct batch *batch, int64_t now)
{
    struct state_waiting waiting = watch->state.waiting;
    uint32_t block = service_block_by_name(watch->service, waiting.block);
    struct guard_ruling ruling = {.rule = GUARD_RULE_NOT_SCALABLE};
    if (block != VIM_NO_INDEX) {
        struct judgement *judgement = approved_judgement(watch);
        ruling = guard_rule(&watch->state.guard, now, &watch->snapshot, judgement);
        free(judgement);
    }
    watch->ruling = ruling;
    watch->state.waiting = (struct state_waiting){.decision = ""};
    if (ruling.act && ruling.block == block && (ruling.delta > 0) == (waiting.delta > 0)) {
        watch_act(watch, batch, waiting.decision, NULL, &ruling);
        return;
    }
    CLEANUP_JSON json_t *more = json_object();
    json_set_text(more, "error",
                  ruling.text[0] ? ruling.text : "meanwhile there is nothing to be done");
    batch_restate(batch, watch, waiting.decision, DECISION_REFUSED, more);
}

/* True: an approved decision took this round. */
static bool settle_waiting(struct watch *watch, struct batch *batch, int64_t now)
{
    if (!watch->state.waiting.decision[0]) {
        return false;
    }
    enum decision_state state = look_at_waiting(watch, now);
    if (state == DECISION_APPROVED) {
        carry_out_approved(watch, batch, now);
        return true;
    }
    if (state != DECISION_WAITING) {
        forget_waiting(watch, batch, DECISION_EXPIRED);
    }
    return false;
}

/* --- What is done about it ------------------------------------------------------------------------ */

static void note(struct watch *watch, struct batch *batch, const char *id, json_t *body,
                 enum decision_state state, int64_t now)
{
    json_set_text(body, "state", decision_state_name(state));
    batch_put(batch, COLLECTION_DECISION, id, watch->service->name, json_print(body),
              VIM_EXPECT_ABSENT, state, now + watch->service->retention_ms);
}

static void wait_for_approval(struct watch *watch, struct batch *batch, const char *id,
                              json_t *body, int64_t now)
{
    struct state_waiting *waiting = &watch->state.waiting;
    char time[CLOCK_TEXT_SIZE];
    forget_waiting(watch, batch, DECISION_SUPERSEDED);
    *waiting = (struct state_waiting){.delta = watch->ruling.delta,
                                      .verdict = watch->judgement.decision.verdict,
                                      .own = watch->ruling.own,
                                      .until = now + watch->service->confirm_ms};
    (void)snprintf(waiting->decision, sizeof(waiting->decision), "%s", id);
    (void)snprintf(waiting->block, sizeof(waiting->block), "%s",
                   watch->service->blocks[watch->ruling.block].name);
    json_set_text(body, "approve_until", clock_format_rfc3339(waiting->until, time));
    note(watch, batch, id, body, DECISION_WAITING, now);
}

static bool is_waited_for(const struct watch *watch)
{
    const struct state_waiting *waiting = &watch->state.waiting;
    return waiting->decision[0] &&
           text_equal(waiting->block, watch->service->blocks[watch->ruling.block].name) &&
           (waiting->delta > 0) == (watch->ruling.delta > 0);
}

static void open_breaker(struct watch *watch, struct batch *batch)
{
    if (watch->ruling.rule == GUARD_RULE_FLAPS) {
        watch->state.mode = SERVICE_ADVISE;
        forget_waiting(watch, batch, DECISION_SUPERSEDED);
        batch_tell(batch, watch, EVENT_SCALING_BREAKER, VIM_WARNING, watch->ruling.text, NULL);
    }
}

/* For who reads the process's own log: that something is to be done, and why. */
static void tell_decision(const struct watch *watch, const char *id, const json_t *body)
{
    log_event(VIM_INFO, "a service is to be scaled", "service=%s decision=%s ruling=%s reason=%s",
              watch->service->name, id, watch->ruling.text, json_get_text(body, "explanation", ""));
}

/* Logs the decision if it is news, and does what the mode allows. */
static void follow(struct watch *watch, struct batch *batch, const struct log_entry *entry)
{
    const struct guard_ruling *ruling = entry->ruling;
    int64_t now = entry->time;
    char id[ID_SIZE];
    CLEANUP_JSON json_t *body = log_decision(entry);
    json_set_text(body, "id", id_new(id));
    json_decref(watch->decision);
    watch->decision = json_deep_copy(body);
    bool news = log_is_news(entry, watch->marked ? &watch->mark : NULL, now - watch->marked);
    bool confirms = ruling->act && entry->mode == SERVICE_CONFIRM && !is_waited_for(watch);
    if (news || confirms) {
        watch->mark = log_mark_of(entry);
        watch->marked = now;
    }
    enum decision_state state = DECISION_NOTED;
    if (confirms || (ruling->act && entry->mode == SERVICE_ACT)) {
        tell_decision(watch, id, body);
    }
    if (ruling->act && entry->mode == SERVICE_ACT) {
        state = watch_act(watch, batch, id, json_incref(body), ruling);
    } else if (confirms) {
        state = DECISION_WAITING;
        wait_for_approval(watch, batch, id, body, now);
    } else if (news) {
        note(watch, batch, id, body, state, now);
    } else {
        json_object_del(watch->decision, "id"); /* it is in no log */
    }
    json_set_text(watch->decision, "state", decision_state_name(state));
}

static void decide(struct watch *watch, struct batch *batch, int64_t now)
{
    judge_all(watch);
    tell_refusal(watch, batch);
    enum service_mode mode = watch->state.mode;
    if (mode == SERVICE_CONFIRM && settle_waiting(watch, batch, now)) {
        return;
    }
    watch->ruling = guard_rule(&watch->state.guard, now, &watch->snapshot, &watch->judgement);
    open_breaker(watch, batch);
    struct log_entry entry = {.service = watch->service,
                              .mode = mode,
                              .fence = watch->state.fence,
                              .time = now,
                              .snapshot = &watch->snapshot,
                              .judgement = &watch->judgement,
                              .ruling = &watch->ruling,
                              .shadows = watch->shadow_judgements};
    follow(watch, batch, &entry);
}

/* --- Old decisions -------------------------------------------------------------------------------- */

static int take_expired(void *argument, const struct vim_item *item)
{
    struct batch *batch = argument;
    batch_put(batch, COLLECTION_DECISION, item->id, NULL, NULL, VIM_EXPECT_ANY, 0, 0);
    return batch->count >= BATCH_MAX - 1;
}

static void sweep(struct watch *watch, int64_t now)
{
    struct batch batch = {.count = 0};
    struct vim_scan scan = {.collection = COLLECTION_DECISION,
                            .parent = watch->service->name,
                            .flags = VIM_SCAN_BY_DUE | VIM_SCAN_NO_BODY,
                            .due_until = now,
                            .limit = BATCH_MAX - 1};
    (void)store_scan(watch->scaler->settings.store, &scan, take_expired, &batch, NULL);
    if (batch.count) {
        (void)watch_commit(watch, &batch);
    }
}

void watch_decide(struct watch *watch)
{
    struct batch batch = {.count = 0};
    int64_t now = clock_now_ms();
    take_wish(watch, &batch);
    tell_staleness(watch, &batch, now);
    tell_platforms(watch, &batch);
    bool settled = watch_resolve(watch, &batch, now);
    if (settled) {
        observe(watch, &batch, now);
    }
    watch_record(watch);
    if (settled && watch->state.mode != SERVICE_OFF && history_windows(watch->history) > 0) {
        decide(watch, &batch, now);
    }
    if (watch->is_actor) {
        watch_publish(watch, &batch, clock_now_ms());
        if (watch_commit(watch, &batch)) {
            sweep(watch, now);
        }
    }
}
