/*
 * The guard's state as JSON, for a store: what another process needs to go on.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "scaler/guard.h"

static void set_number(json_t *object, const char *member, double value)
{
    if (isfinite(value))
        json_object_set_new(object, member, json_real(value));
}

static json_t *print_pending(const struct guard *guard)
{
    const struct guard_pending *pending = &guard->pending;
    json_t *object = json_object();

    json_set_text(object, "block", guard->blocks[pending->block].name);
    json_set_integer(object, "delta", pending->delta);
    json_set_integer(object, "acted_ms", pending->acted_ms);
    json_set_integer(object, "ready_ms", pending->ready_ms);
    json_set_boolean(object, "mixed", pending->mixed);
    json_set_boolean(object, "ahead", pending->ahead);
    set_number(object, "throughput", pending->throughput);
    set_number(object, "offered", pending->offered);
    set_number(object, "in_flight", pending->in_flight);
    set_number(object, "p95", pending->p95);
    return object;
}

void guard_print(const struct guard *guard, struct text *text)
{
    CLEANUP_JSON json_t *state = json_object();
    json_t *blocks = json_array();

    json_set_boolean(state, "open", guard->open);
    json_set_boolean(state, "rollback", guard->rollback);
    for (uint32_t i = 0; i < guard->block_count; i++) {
        const struct guard_block *block = &guard->blocks[i];
        json_t *object = json_object(), *reversals = json_array();

        for (uint32_t j = 0; j < block->reversal_count; j++)
            json_array_append_new(reversals, json_integer(block->reversals[j]));
        json_set_text(object, "name", block->name);
        json_set_integer(object, "last_ms", block->last_ms);
        json_set_integer(object, "last_delta", block->last_delta);
        set_number(object, "last_offered", block->last_offered);
        json_set_integer(object, "tabu", block->tabu);
        json_set_integer(object, "tabu_next", block->tabu_next);
        json_set_integer(object, "failures", block->failures);
        json_set_integer(object, "failed_ms", block->failed_ms);
        json_object_set_new(object, "reversals", reversals);
        json_array_append_new(blocks, object);
    }
    json_object_set_new(state, "blocks", blocks);
    if (guard->pending.block != VIM_NO_INDEX)
        json_object_set_new(state, "pending", print_pending(guard));
    json_print_to(text, state);
}

static void parse_pending(struct guard *guard, const json_t *object)
{
    const char *name = json_get_text(object, "block", "");

    for (uint32_t i = 0; i < guard->block_count; i++)
        if (strcmp(guard->blocks[i].name, name) == 0 &&
            (int32_t)json_get_within(object, "delta", -GUARD_COUNT_MAX, GUARD_COUNT_MAX) != 0)
            guard->pending = (struct guard_pending){
                .block = i,
                .delta =
                    (int32_t)json_get_within(object, "delta", -GUARD_COUNT_MAX, GUARD_COUNT_MAX),
                .acted_ms = json_get_integer(object, "acted_ms", 0),
                .ready_ms = json_get_integer(object, "ready_ms", 0),
                .mixed = json_get_boolean(object, "mixed", false),
                .ahead = json_get_boolean(object, "ahead", false),
                .throughput = json_get_number(object, "throughput", NAN),
                .offered = json_get_number(object, "offered", NAN),
                .in_flight = json_get_number(object, "in_flight", NAN),
                .p95 = json_get_number(object, "p95", NAN),
            };
}

int guard_parse(struct guard *guard, const char *json)
{
    struct guard_rules rules = guard->rules;
    CLEANUP_JSON json_t *state = NULL;
    const json_t *blocks;

    guard_init(guard, &rules);
    if (json_parse(json, strlen(json), NULL, &state, NULL) != VIM_OK || !json_is_object(state))
        return VIM_E_INVALID;
    blocks = json_object_get(state, "blocks");
    for (size_t i = 0; i < json_array_size(blocks) && i < HISTORY_BLOCKS_MAX; i++) {
        const json_t *object = json_array_get(blocks, i);
        const json_t *reversals = json_object_get(object, "reversals");
        struct guard_block *block = &guard->blocks[guard->block_count++];

        snprintf(block->name, sizeof block->name, "%s", json_get_text(object, "name", ""));
        block->last_ms = json_get_integer(object, "last_ms", 0);
        block->last_delta =
            (int32_t)json_get_within(object, "last_delta", -GUARD_COUNT_MAX, GUARD_COUNT_MAX);
        block->last_offered = json_get_number(object, "last_offered", NAN);
        block->tabu = (uint32_t)json_get_within(object, "tabu", 0, GUARD_COUNT_MAX);
        block->tabu_next = (uint32_t)json_get_within(object, "tabu_next", 0, GUARD_COUNT_MAX);
        block->failures = (uint32_t)json_get_within(object, "failures", 0, GUARD_COUNT_MAX);
        block->failed_ms = json_get_integer(object, "failed_ms", 0);
        for (size_t j = 0; j < json_array_size(reversals) && j < GUARD_REVERSALS_MAX; j++)
            block->reversals[block->reversal_count++] =
                (int64_t)json_integer_value(json_array_get(reversals, j));
    }
    guard->open = json_get_boolean(state, "open", false);
    if (json_object_get(state, "pending"))
        parse_pending(guard, json_object_get(state, "pending"));
    guard->rollback =
        guard->pending.block != VIM_NO_INDEX && json_get_boolean(state, "rollback", false);
    return VIM_OK;
}
