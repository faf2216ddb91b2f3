/*
 * sim.h - private to vim-sim: what its experiments share.
 */
#ifndef SIM_H
#define SIM_H

#include <stdio.h>

#include "events.h"
#include "policy_spec.h"
#include "scaler/guard.h"
#include "scaler/history.h"
#include "scaler/judge.h"

#define WINDOW_S 5.0
#define WINDOW_MS 5000
#define EPOCH_MS 1763980200000 /* simulated time begins here */
#define POLICIES_MAX 12u

/* The command line. */
struct sim {
    uint64_t seed;
    uint32_t count; /* scenarios, or seeds */
    uint32_t jobs;
    struct policy policies[POLICIES_MAX];
    uint32_t policy_count;
    bool only_cpu;
    const char *csv; /* details, or NULL */
    const char *labels;
};

/* --- measure.c: what can be seen of a simulated service --------------------------------------- */

struct measurer {
    struct chance chance;
    double noise; /* standard deviation of a factor around 1 */
    double missing; /* probability that a block's window is not delivered */
    bool lagging[SERVICE_BLOCKS]; /* its numbers are one window old */
    bool has_before;
    struct window before;
};

/* A history for SERVICE, and a measurer with noise, gaps and lags drawn from SEED. */
struct history *measure_begin(const struct service *service, uint64_t seed,
                              struct measurer *ret_measurer);

/* Opens the next window of the history and puts in it what is seen of WINDOW. */
void measure_window(struct measurer *measurer, const struct service *service,
                    const struct window *window, int64_t end, struct history *history);

/* --- parallel.c -------------------------------------------------------------------------------
 * Calls RUN for 0..COUNT-1 in JOBS processes. Each fills its own record of SIZE bytes (zeroed) of the
 * array that is returned, whatever process it ran in: the result does not depend on JOBS. To be freed with
 * parallel_free(). NULL, with a message, if a process did not end well. */
void *parallel_run(uint32_t count, uint32_t jobs, size_t size,
                   void (*run)(void *argument, uint32_t index, void *record), void *argument);
void parallel_free(void *records, uint32_t count, size_t size);

/* --- Experiments: each prints lines of METRIC, POLICY, VALUE, separated by tabs ------------------- */
int run_testbed(struct sim *sim);
int run_eq3(struct sim *sim);
int run_climb(struct sim *sim);
int run_find(struct sim *sim);
int run_network(struct sim *sim);
int run_loop(struct sim *sim);
int run_record(struct sim *sim);
int run_speed(struct sim *sim);

void print_value(const char *metric, const char *policy, double value);

/* The best-scored block of a judgement, whatever its verdict; VIM_NO_INDEX if none has a score. */
uint32_t top_block(const struct judgement *judgement);

/* Opens sim->csv for writing; NULL if it is not wanted. Ends the program when it cannot be. */
FILE *open_csv(const char *path, const char *heading);

/* Closes it (NULL is fine). Exits if not all of it could be written. */
void close_csv(FILE *file, const char *path);

#endif
