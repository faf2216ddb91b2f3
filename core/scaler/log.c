#include "scaler/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

static const char *block_name(const struct snapshot *snapshot, uint32_t block)
{
    return block < snapshot->view.block_count ? snapshot->blocks[block].name : NULL;
}

/* JSON has no NaN: what is not known is left out. */
static void set_number(json_t *object, const char *member, double value)
{
    if (isfinite(value)) {
        json_object_set_new(object, member, json_real(value));
    }
}

/* --- Scores --------------------------------------------------------------------------------------- */

static json_t *gates_of(uint32_t gates)
{
    static const char *const names[] = {"not_scalable", "starting", "tabu",  "no_data",
                                        "idle",         "peak",     "budget"};
    json_t *list = json_array();
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (gates & 1u << i) {
            json_array_append_new(list, json_string(names[i]));
        }
    }
    return list;
}

static json_t *score_of(const struct snapshot *snapshot, const struct judgement *judgement,
                        uint32_t block)
{
    const struct vim_policy_score *score = &judgement->scores[block];
    json_t *object = json_object();
    json_set_text(object, "block", block_name(snapshot, block));
    set_number(object, "score", score->score);
    set_number(object, "similarity", score->similarity);
    set_number(object, "saturation", score->saturation);
    set_number(object, "level", score->level);
    set_number(object, "gain", score->gain);
    if (score->replicas) {
        json_set_integer(object, "replicas", score->replicas);
    }
    json_object_set_new(object, "gates", gates_of(score->gates));
    return object;
}

json_t *log_scores(const struct snapshot *snapshot, const struct judgement *judgement)
{
    uint32_t order[HISTORY_BLOCKS_MAX], count = 0;
    json_t *list = json_array();
    uint32_t blocks = judgement->code == VIM_OK ? snapshot->view.block_count : 0;
    for (uint32_t i = 0; i < blocks; i++, count++) {
        double score = judgement->scores[i].score;
        uint32_t at = count;
        for (; at > 0; at--) {
            double other = judgement->scores[order[at - 1]].score;
            if (isnan(score) || !(isnan(other) || score > other)) {
                break;
            }
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, score_of(snapshot, judgement, order[i]));
    }
    return list;
}

/* --- One decision --------------------------------------------------------------------------------- */

static void set_judgement(json_t *object, const struct snapshot *snapshot,
                          const struct judgement *judgement)
{
    const struct vim_policy_decision *decision = &judgement->decision;
    if (judgement->code != VIM_OK) {
        json_set_text(object, "verdict", "none");
        json_set_text(object, "refused", judgement->why);
        return;
    }
    json_set_text(object, "verdict", judge_verdict_name(decision->verdict));
    json_set_text(object, "block", block_name(snapshot, decision->block));
    if (decision->delta) {
        json_set_integer(object, "delta", decision->delta);
    }
    if (decision->verdict == VIM_NOT_SCALABLE && decision->edge < snapshot->view.edge_count) {
        const struct vim_policy_edge *edge = &snapshot->edges[decision->edge];
        CLEANUP_FREE char *name = text_format("%s -> %s", block_name(snapshot, edge->caller),
                                              block_name(snapshot, edge->callee));
        json_set_text(object, "edge", name);
    }
    json_set_integer(object, "tier", decision->tier);
    set_number(object, "confidence", decision->confidence);
    set_number(object, "predicted_throughput", decision->throughput);
    set_number(object, "predicted_p95_ms", decision->latency_p95);
    json_set_text(object, "reason", decision->reason);
}

static json_t *ruling_json(const struct snapshot *snapshot, const struct guard_ruling *ruling)
{
    json_t *object = json_object();
    json_set_boolean(object, "act", ruling->act);
    json_set_text(object, "block", block_name(snapshot, ruling->block));
    if (ruling->act) {
        json_set_integer(object, "delta", ruling->delta);
    }
    json_set_boolean(object, "own", ruling->own);
    json_set_text(object, "rule", guard_rule_name(ruling->rule));
    json_set_text(object, "text", ruling->text[0] ? ruling->text : NULL);
    return object;
}

static json_t *shadows_json(const struct log_entry *entry)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < entry->service->shadow_count; i++) {
        json_t *one = json_object();
        json_set_text(one, "policy", entry->service->shadows[i].name);
        set_judgement(one, entry->snapshot, &entry->shadows[i]);
        json_array_append_new(list, one);
    }
    return list;
}

char *log_sentence(const struct log_entry *entry)
{
    const struct judgement *judgement = entry->judgement;
    const struct guard_ruling *ruling = entry->ruling;
    struct text text = {0};
    if (judgement->code != VIM_OK) {
        text_printf(&text, "%s gave no decision: %s", entry->service->policy.name, judgement->why);
    } else {
        text_add(&text, judgement->decision.reason);
    }
    if (ruling->own || (ruling->rule != GUARD_RULE_NONE && ruling->rule != GUARD_RULE_REFUSED)) {
        text_printf(&text, "%s%s", text.length ? "; " : "", ruling->text);
    }
    return text_take(&text);
}

json_t *log_decision(const struct log_entry *entry)
{
    char time[CLOCK_TEXT_SIZE];
    CLEANUP_FREE char *sentence = log_sentence(entry);
    json_t *object = json_object();
    json_set_text(object, "service", entry->service->name);
    json_set_text(object, "time", clock_format_rfc3339(entry->time, time));
    json_set_text(object, "mode", service_mode_name(entry->mode));
    json_set_text(object, "policy", entry->service->policy.name);
    set_judgement(object, entry->snapshot, entry->judgement);
    json_set_text(object, "explanation", sentence);
    json_object_set_new(object, "ruling", ruling_json(entry->snapshot, entry->ruling));
    json_object_set_new(object, "scores", log_scores(entry->snapshot, entry->judgement));
    json_object_set_new(object, "shadows", shadows_json(entry));
    json_set_integer(object, "fence", (int64_t)entry->fence);
    return object;
}

/* --- What is news --------------------------------------------------------------------------------- */

struct log_mark log_mark_of(const struct log_entry *entry)
{
    const struct vim_policy_decision *decision = &entry->judgement->decision;
    return (struct log_mark){.code = entry->judgement->code,
                             .verdict = decision->verdict,
                             .block = decision->block,
                             .delta = decision->delta,
                             .rule = entry->ruling->rule,
                             .mode = entry->mode};
}

bool log_is_news(const struct log_entry *entry, const struct log_mark *last, int64_t ago)
{
    struct log_mark mark = log_mark_of(entry);
    bool same = last && mark.code == last->code && mark.verdict == last->verdict &&
                mark.block == last->block && mark.delta == last->delta && mark.rule == last->rule &&
                mark.mode == last->mode;
    bool holds = mark.code == VIM_OK && mark.verdict == VIM_HOLD;
    bool acts = entry->ruling->act && entry->mode == SERVICE_ACT;
    return acts || !same || ago >= (holds ? LOG_HOLD_MS : LOG_SAME_MS);
}
