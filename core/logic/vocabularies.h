/*
 * logic/vocabularies.h - the fields of what is listed besides resources: for filters, order,
 * projection and documentation.
 */
#ifndef VIMD_LOGIC_VOCABULARIES_H
#define VIMD_LOGIC_VOCABULARIES_H

#include "logic/query.h"

extern const struct vocabulary vocabulary_scaling, vocabulary_decisions;
extern const struct vocabulary vocabulary_tasks;
extern const struct vocabulary vocabulary_vims;
extern const struct vocabulary vocabulary_tokens;
extern const struct vocabulary vocabulary_events;
extern const struct vocabulary vocabulary_subscriptions;
extern const struct vocabulary vocabulary_alarms;
extern const struct vocabulary vocabulary_orphans;
extern const struct vocabulary vocabulary_drift;
extern const struct vocabulary vocabulary_dead_letters;

/* vimd's own fields and those of KIND. */
struct vocabulary vocabulary_of_kind(const struct kind *kind);

#endif
