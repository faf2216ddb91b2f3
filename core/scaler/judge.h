/*
 * scaler/judge.h - asking a policy. The one caller of the policy plugins' operations.
 *
 * What comes back is not trusted: a decision that makes no sense (an unknown block, a NaN, ten
 * thousand replicas) is refused, and the judgement says why. judge() calls on the caller's thread, as
 * replay and simulation want it; judge_apart() in a child process that is killed when it takes too
 * long, so that a policy which hangs or crashes costs one decision and no more.
 */
#ifndef SCALER_JUDGE_H
#define SCALER_JUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <vim/policy.h>

#include "base/digest.h"
#include "scaler/history.h"

struct instance;

#define JUDGE_WATCHDOG_MS 100
#define JUDGE_DELTA_MAX 64 /* replicas; or the block's maximum, if that is more */

/* One answer of a policy. Plain data, good for as long as its owner keeps it; `decision.scores` is
 * NULL in it: the scores are `scores`. */
struct judgement {
    int code; /* VIM_OK: a decision that makes sense; VIM_E_INVALID: refused, or the policy refused the
                 snapshot; VIM_E_TIMEOUT, VIM_E_INTERNAL (crashed, or its own defect) */
    char why[256]; /* for a code that is not VIM_OK */
    int64_t took_us;
    uint32_t block_count;
    struct vim_policy_decision decision;
    struct vim_policy_score scores[HISTORY_BLOCKS_MAX];
    bool kept_set; /* it kept something: `kept` replaces what it kept before */
    char kept[VIM_KEPT_MAX + 1];
};

/* Asks POLICY on this thread, with TIMEOUT_MS told to it through left_ms(). Returns ret->code. */
int judge(struct instance *policy, const struct snapshot *snapshot, int64_t timeout_ms,
          struct judgement *ret_judgement);

/* The same in a child process, given up after TIMEOUT_MS. */
int judge_apart(struct instance *policy, const struct snapshot *snapshot, int64_t timeout_ms,
                struct judgement *ret_judgement);

/* Does the decision make sense for this snapshot? VIM_OK, or VIM_E_INVALID and a sentence in
 * judgement->why. Called by judge(). */
int judge_check(const struct vim_policy_snapshot *snapshot, struct judgement *judgement);

/* "hold", "scale_out", "scale_in", "rollback", "not_scalable", "insufficient_data"; "unknown". */
const char *judge_verdict_name(uint32_t verdict);

/* --- Identity of decisions -----------------------------------------------------------------------
 * A running digest: the same decisions, to the last bit, for the same services at the same times give
 * the same text. Blocks count by name, so their order does not matter. */
struct judge_digest {
    uint8_t state[DIGEST_SIZE];
    uint64_t count;
};
void judge_digest_add(struct judge_digest *digest, const struct vim_policy_snapshot *snapshot,
                      const struct judgement *judgement);
char *judge_digest_hex(const struct judge_digest *digest, char ret_hex[DIGEST_HEX_SIZE]);

/* Everything of a decision as text, exact (%a) and independent of the order of blocks: what the digest
 * is made of, and what two decisions are compared by. */
struct text;
void judge_print(const struct vim_policy_snapshot *snapshot, const struct judgement *judgement,
                 struct text *text);

#endif
