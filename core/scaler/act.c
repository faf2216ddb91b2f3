/*
 * Telling the platform, so that a process may die at any instant:
 *
 *   1. commit    the decision ("acting") and the intent: block, size before, size after
 *   2. the call  an absolute size: made twice it changes nothing
 *   3. commit    the decision ("done", "failed"), the guard's state, the event; no intent any more
 *
 * After a death, or a call whose outcome is unknown, the next round (of whoever holds the lease) looks at the group:
 * its size tells whether the call has come through. Until that is known nothing else is done.
 */
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "scaler/watch.h"

/* What the event tells of an action. */
static json_t *describe(const struct state_intent *intent)
{
    json_t *data = json_object();
    json_set_text(data, "decision", intent->decision);
    json_set_text(data, "block", intent->block);
    json_set_integer(data, "delta", intent->delta);
    json_set_integer(data, "from", intent->from);
    json_set_integer(data, "to", intent->to);
    return data;
}

/* The platform has done it: the guard and the policy are told. */
static void settle_done(struct watch *watch, struct batch *batch, uint32_t block, int64_t now)
{
    struct watch_state *state = &watch->state;
    struct state_intent *intent = &state->intent;
    struct guard_ruling ruling = {.act = true,
                                  .block = block,
                                  .delta = intent->delta,
                                  .ahead = intent->ahead,
                                  .own = intent->own};
    CLEANUP_FREE char *reason = text_format("%s %+d: %u -> %u replicas", intent->block,
                                            intent->delta, intent->from, intent->to);
    struct history_block shown = history_get_block(watch->history, block);
    guard_acted(&state->guard, now, watch->history, &ruling);
    /* Until the next look tells how it is. */
    shown.desired = intent->to;
    shown.starting = intent->to > shown.ready ? intent->to - shown.ready : 0;
    history_set_block(watch->history, block, &shown);
    batch_restate(batch, watch, intent->decision, DECISION_DONE, NULL);
    batch_tell(batch, watch, EVENT_SCALING_ACTED, VIM_INFO, reason, describe(intent));
    /* A rollback is not observed: it goes back to what was known. */
    bool observed = state->guard.pending.block != VIM_NO_INDEX;
    (void)snprintf(state->effect_of, sizeof(state->effect_of), "%s",
                   observed ? intent->decision : "");
    *intent = (struct state_intent){.decision = ""};
}

static void settle_failed(struct watch *watch, struct batch *batch, const char *why)
{
    struct state_intent *intent = &watch->state.intent;
    CLEANUP_JSON json_t *more = json_object();
    CLEANUP_FREE char *reason =
        text_format("%s %+d was not carried out: %s", intent->block, intent->delta, why);
    json_set_text(more, "error", why);
    guard_failed(&watch->state.guard, clock_now_ms(), intent->block);
    batch_restate(batch, watch, intent->decision, DECISION_FAILED, more);
    batch_tell(batch, watch, EVENT_SCALING_FAILED, VIM_WARNING, reason, describe(intent));
    *intent = (struct state_intent){.decision = ""};
}

bool watch_resolve(struct watch *watch, struct batch *batch, int64_t now)
{
    struct state_intent *intent = &watch->state.intent;
    if (!intent->decision[0]) {
        return true;
    }
    uint32_t block = service_block_by_name(watch->service, intent->block);
    if (block == VIM_NO_INDEX || !watch->groups[block].platform) {
        settle_failed(watch, batch, "the block is not in the configuration any more");
        return true;
    }
    const struct watch_group *group = &watch->groups[block];
    if (!group->known) {
        return false;
    }
    if (group->state.wanted == intent->to) {
        settle_done(watch, batch, block, now);
        return true;
    }
    /* A call that was given up may yet come through. (What lies ahead was noted before the clock was set back.) */
    intent->at = intent->at < now ? intent->at : now;
    if (now - intent->at < 2 * group->timeout_ms) {
        return false;
    }
    settle_failed(watch, batch,
                  "the platform does not show it, and its answer had been lost on the way");
    return true;
}

/* --- A new one ------------------------------------------------------------------------------------ */

static uint32_t size_after(const struct watch *watch, const struct guard_ruling *ruling)
{
    const struct service_block *block = &watch->service->blocks[ruling->block];
    int64_t size = (int64_t)watch->groups[ruling->block].state.wanted + ruling->delta;
    if (ruling->delta < 0) {
        return (uint32_t)(size < block->minimum ? block->minimum : size);
    }
    return (uint32_t)(size > block->maximum ? block->maximum : size);
}

/* 1: what is about to be done. */
static bool commit_intent(struct watch *watch, struct batch *batch, const char *id, json_t *body,
                          const struct guard_ruling *ruling, int64_t now)
{
    struct state_intent *intent = &watch->state.intent;
    CLEANUP_JSON json_t *more = body ? body : json_object();
    uint32_t from = watch->groups[ruling->block].state.wanted;
    *intent = (struct state_intent){.delta = ruling->delta,
                                    .from = from,
                                    .to = size_after(watch, ruling),
                                    .own = ruling->own,
                                    .ahead = ruling->ahead,
                                    .at = now};
    (void)snprintf(intent->decision, sizeof(intent->decision), "%s", id);
    (void)snprintf(intent->block, sizeof(intent->block), "%s",
                   watch->service->blocks[ruling->block].name);
    json_set_integer(more, "from", intent->from);
    json_set_integer(more, "to", intent->to);
    if (body) {
        json_set_text(more, "state", decision_state_name(DECISION_ACTING));
        batch_put(batch, COLLECTION_DECISION, id, watch->service->name, json_print(more),
                  VIM_EXPECT_ABSENT, DECISION_ACTING, now + watch->service->retention_ms);
    } else {
        batch_restate(batch, watch, id, DECISION_ACTING, more);
    }
    return watch_commit(watch, batch);
}

enum decision_state watch_act(struct watch *watch, struct batch *batch, const char *id,
                              json_t *body, const struct guard_ruling *ruling)
{
    const struct watch_group *group = &watch->groups[ruling->block];
    struct failure failure = {0};
    int64_t now = clock_now_ms();
    if (!commit_intent(watch, batch, id, body, ruling, now)) {
        return DECISION_FAILED;
    }
    int code = group_resize(group->platform, watch->service->blocks[ruling->block].group,
                            watch->state.intent.to, id, group->timeout_ms, &failure);
    if (code == VIM_OK) {
        settle_done(watch, batch, ruling->block, clock_now_ms());
        return DECISION_DONE;
    }
    if (error_class(code) != ERROR_UNKNOWN) {
        settle_failed(watch, batch, failure.text);
        return DECISION_FAILED;
    }
    CLEANUP_FREE char *reason =
        text_format("%s %+d: it is not known whether it was carried out: %s",
                    watch->state.intent.block, ruling->delta, failure.text);
    batch_tell(batch, watch, EVENT_SCALING_FAILED, VIM_WARNING, reason,
               describe(&watch->state.intent));
    return DECISION_ACTING;
}
