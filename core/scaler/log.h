/*
 * scaler/log.h - decisions as they are logged and shown: JSON with the scores of all blocks, the host's ruling, and
 * one sentence that says it.
 */
#ifndef SCALER_LOG_H
#define SCALER_LOG_H

#include <jansson.h>
#include <stdint.h>
#include "scaler/guard.h"
#include "scaler/judge.h"
#include "scaler/services.h"

/* What came of one snapshot. */
struct log_entry {
    const struct service *service;
    enum service_mode mode;
    uint64_t fence;
    int64_t time;
    const struct snapshot *snapshot;
    const struct judgement *judgement;
    const struct guard_ruling *ruling;
    const struct judgement *shadows; /* one per shadow policy of the service */
};

/* Without id and state. New reference. */
json_t *log_decision(const struct log_entry *entry);

/* The blocks' scores, the best first. New reference. */
json_t *log_scores(const struct snapshot *snapshot, const struct judgement *judgement);

/* What is decided and why, and what the host makes of it; malloc'ed. */
char *log_sentence(const struct log_entry *entry);

/* Does the log need it, after LAST, which was logged AGO ms ago (LAST NULL: nothing was yet)? What says the same as
 * the last one is noted again after a while: a HOLD after LOG_HOLD_MS, others after LOG_SAME_MS. What is to be
 * done always is. */
struct log_mark {
    int code;
    uint32_t verdict, block;
    int32_t delta;
    enum guard_rule_kind rule;
    enum service_mode mode;
};
#define LOG_HOLD_MS 300000
#define LOG_SAME_MS 60000
struct log_mark log_mark_of(const struct log_entry *entry);
bool log_is_news(const struct log_entry *entry, const struct log_mark *last, int64_t ago);

#endif
