#include "scaler/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"

void state_init(struct watch_state *state, const struct service *service)
{
    *state = (struct watch_state){.mode = service->mode, .configured = service->mode};
    struct guard_rules rules = guard_defaults;
    rules.cooldown_out_ms = service->cooldown_out_ms;
    rules.cooldown_in_ms = service->cooldown_in_ms;
    guard_init(&state->guard, &rules);
    (void)snprintf(state->policy, sizeof(state->policy), "%s", service->policy.name);
    for (uint32_t i = 0; i < service->shadow_count; i++) {
        (void)snprintf(state->shadows[i], sizeof(state->shadows[i]), "%s",
                       service->shadows[i].name);
    }
}

void state_free(struct watch_state *state)
{
    free(state->kept);
    state->kept = NULL;
    for (uint32_t i = 0; i < SERVICE_SHADOWS_MAX; i++) {
        free(state->shadow_kept[i]);
        state->shadow_kept[i] = NULL;
    }
}

void state_keep(char **kept, const char *text)
{
    free(*kept);
    *kept = text_duplicate(text);
}

/* --- Out ------------------------------------------------------------------------------------------ */

static json_t *print_memory(const char *policy, const char *kept)
{
    json_t *object = json_object();
    json_set_text(object, "policy", policy);
    json_set_text(object, "kept", kept);
    return object;
}

static json_t *print_intent(const struct state_intent *intent)
{
    json_t *object = json_object();
    json_set_text(object, "decision", intent->decision);
    json_set_text(object, "block", intent->block);
    json_set_integer(object, "delta", intent->delta);
    json_set_integer(object, "from", intent->from);
    json_set_integer(object, "to", intent->to);
    json_set_boolean(object, "own", intent->own);
    json_set_boolean(object, "ahead", intent->ahead);
    json_set_integer(object, "at", intent->at);
    return object;
}

static json_t *print_waiting(const struct state_waiting *waiting)
{
    json_t *object = json_object();
    json_set_text(object, "decision", waiting->decision);
    json_set_text(object, "block", waiting->block);
    json_set_integer(object, "delta", waiting->delta);
    json_set_integer(object, "verdict", waiting->verdict);
    json_set_boolean(object, "own", waiting->own);
    json_set_integer(object, "until", waiting->until);
    return object;
}

void state_print(const struct watch_state *state, struct text *text)
{
    CLEANUP_JSON json_t *object = json_object();
    CLEANUP_TEXT struct text guard = {0};
    json_t *shadows = json_array(), *parsed = NULL;
    json_set_text(object, "owner", state->owner);
    json_set_integer(object, "fence", (int64_t)state->fence);
    json_set_text(object, "mode", service_mode_name(state->mode));
    json_set_text(object, "configured", service_mode_name(state->configured));
    json_set_integer(object, "wish", (int64_t)state->wish);
    json_object_set_new(object, "memory", print_memory(state->policy, state->kept));
    for (uint32_t i = 0; i < SERVICE_SHADOWS_MAX && state->shadows[i][0]; i++) {
        json_array_append_new(shadows, print_memory(state->shadows[i], state->shadow_kept[i]));
    }
    json_object_set_new(object, "shadows", shadows);
    if (state->intent.decision[0]) {
        json_object_set_new(object, "intent", print_intent(&state->intent));
    }
    if (state->waiting.decision[0]) {
        json_object_set_new(object, "waiting", print_waiting(&state->waiting));
    }
    json_set_text(object, "effect_of", state->effect_of[0] ? state->effect_of : NULL);
    guard_print(&state->guard, &guard);
    if (json_parse(guard.data, guard.length, NULL, &parsed, NULL) == VIM_OK) {
        json_object_set_new(object, "guard", parsed);
    }
    json_print_to(text, object);
}

/* --- In ------------------------------------------------------------------------------------------- */

static void copy(char *to, size_t size, const json_t *object, const char *member)
{
    (void)snprintf(to, size, "%s", json_get_text(object, member, ""));
}

/* An id, or nothing. */
static void copy_id(char to[ID_SIZE], const json_t *object, const char *member)
{
    const char *id = json_get_text(object, member, "");
    (void)snprintf(to, ID_SIZE, "%s", id_valid(id) ? id : "");
}

static void parse_memory(const json_t *object, const char *policy, char **kept)
{
    if (text_equal(json_get_text(object, "policy", NULL), policy)) {
        state_keep(kept, json_get_text(object, "kept", NULL));
    }
}

static void parse_intent(const json_t *object, struct state_intent *intent)
{
    copy_id(intent->decision, object, "decision");
    copy(intent->block, sizeof(intent->block), object, "block");
    intent->delta = (int32_t)json_get_within(object, "delta", -GUARD_COUNT_MAX, GUARD_COUNT_MAX);
    intent->from = (uint32_t)json_get_within(object, "from", 0, GUARD_COUNT_MAX);
    intent->to = (uint32_t)json_get_within(object, "to", 0, GUARD_COUNT_MAX);
    intent->own = json_get_boolean(object, "own", false);
    intent->ahead = json_get_boolean(object, "ahead", false);
    intent->at = json_get_integer(object, "at", 0);
}

static void parse_waiting(const json_t *object, struct state_waiting *waiting)
{
    copy_id(waiting->decision, object, "decision");
    copy(waiting->block, sizeof(waiting->block), object, "block");
    waiting->delta = (int32_t)json_get_within(object, "delta", -GUARD_COUNT_MAX, GUARD_COUNT_MAX);
    waiting->verdict = (uint32_t)json_get_within(object, "verdict", 0, GUARD_COUNT_MAX);
    waiting->own = json_get_boolean(object, "own", false);
    waiting->until = json_get_integer(object, "until", 0);
}

/* What somebody has set stays, until the configuration says something new. */
static void parse_mode(const json_t *object, struct watch_state *state)
{
    enum service_mode configured = state->configured;
    state->wish = (uint64_t)json_get_integer(object, "wish", 0);
    if (service_mode_by_name(json_get_text(object, "configured", ""), &configured) &&
        configured == state->configured) {
        (void)service_mode_by_name(json_get_text(object, "mode", ""), &state->mode);
    }
}

int state_parse(struct watch_state *state, const struct service *service, const char *body)
{
    CLEANUP_JSON json_t *object = NULL;
    state_init(state, service);
    if (json_parse(body, strlen(body), NULL, &object, NULL) != VIM_OK || !json_is_object(object)) {
        return VIM_E_INVALID;
    }
    copy(state->owner, sizeof(state->owner), object, "owner");
    state->fence = (uint64_t)json_get_integer(object, "fence", 0);
    parse_mode(object, state);
    parse_memory(json_object_get(object, "memory"), state->policy, &state->kept);
    const json_t *shadows = json_object_get(object, "shadows");
    for (uint32_t i = 0; i < service->shadow_count; i++) {
        parse_memory(json_array_get(shadows, i), state->shadows[i], &state->shadow_kept[i]);
    }
    if (json_object_get(object, "intent")) {
        parse_intent(json_object_get(object, "intent"), &state->intent);
    }
    if (json_object_get(object, "waiting")) {
        parse_waiting(json_object_get(object, "waiting"), &state->waiting);
    }
    copy_id(state->effect_of, object, "effect_of");
    if (json_object_get(object, "guard")) {
        CLEANUP_FREE char *guard = json_print(json_object_get(object, "guard"));
        (void)guard_parse(&state->guard, guard);
    }
    return VIM_OK;
}
