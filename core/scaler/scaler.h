/*
 * scaler/scaler.h - block: services are measured, decided on, and scaled.
 *
 *     per service a thread:   at the end of every window     look at platforms, sample, record      (measure.c)
 *                             after every `interval`         observe, judge, rule, act, publish     (decide.c, act.c)
 *
 * Any number of processes may watch the same services. All of them measure, so that each has a history; one of them
 * decides, whoever holds the lease (scaler/state.h). What it decided and what came of it is in the store (model/scaling.h),
 * where other processes answer from.
 */
#ifndef SCALER_SCALER_H
#define SCALER_SCALER_H

#include <stdint.h>
#include "model/store.h"
#include "scaler/services.h"

struct scaler;
struct presence;

struct scaler_settings {
    struct store *store; /* outlives the scaler, as all below do */
    struct presence *presence; /* may be NULL */
    struct services *services; /* options of its plugins are taken over */
    const char *state_dir; /* of platforms */
};

/* Opens the platforms and policies. Everything that is wrong is told in ERRORS, in the configuration's places. */
int scaler_new(const struct scaler_settings *settings, struct config_errors *errors,
               struct scaler **ret_scaler);
int scaler_start(struct scaler *scaler, struct failure *failure);

/* Ends the threads, gives leases back, and waits for calls of platforms until END (monotonic ms). VIM_E_TIMEOUT: one
 * does not return; then nothing may be freed. */
int scaler_stop(struct scaler *scaler, int64_t end);
void scaler_free(struct scaler *scaler); /* NULL is fine */

#endif
