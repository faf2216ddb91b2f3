/*
 * base/metrics.h - numbers about the running process, rendered as Prometheus text.
 *
 * A series is a name and labels; getting it (metrics_counter() and so on) takes a lock, adding to it
 * does not: hot paths keep the handle. Series are never removed, so labels must come from a bounded
 * set: no ids in labels. Names begin with vimd_; counters end in _total.
 *
 * LABELS is NULL or Prometheus form without braces: kind="server",verb="create". Use
 * metrics_label() to build it from foreign text.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;
struct metric;

/* Find or make a series. HELP counts where the name is new. A name has one type: using it with
 * another is a bug (assert). Handles are valid until the process ends. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);

/* BOUNDS: ascending upper bounds of COUNT buckets; NULL for METRICS_SECONDS. */
struct metric *metrics_histogram(const char *name, const char *help, const char *labels,
                                 const double *bounds, size_t count);
#define METRICS_SECONDS_COUNT 14
extern const double METRICS_SECONDS[METRICS_SECONDS_COUNT]; /* 0.5 ms .. 60 s */

/* Lock-free; any thread. */
void metric_add(struct metric *metric, double value); /* counter (value >= 0) or gauge */
/* A gauge, or a counter whose total is kept elsewhere; one is set or added to, not both. */
void metric_set(struct metric *metric, double value);
void metric_observe(struct metric *metric, double value); /* histogram */
double metric_value(const struct metric *metric); /* counter, gauge; histogram: its sum */
uint64_t metric_count(const struct metric *metric); /* histogram: number of observations */

/* All series of one name together. */
struct metrics_sum {
    double value; /* of counters and gauges; of histograms all that was observed */
    uint64_t count; /* histogram: number of observations */
    /* Of histograms with the bounds METRICS_SECONDS, else zero: observations up to each bound, and
     * those above all. */
    uint64_t buckets[METRICS_SECONDS_COUNT + 1];
};

/* Adds up the series of NAME whose labels contain WITH (NULL: all of them). A name that nobody has
 * used gives zeros. */
void metrics_sum(const char *name, const char *with, struct metrics_sum *ret_sum);

/* The value below which the share Q (0..1) of the observations in BUCKETS (as in struct metrics_sum) is,
 * taken as spread evenly within their bucket; NaN if there are none. */
double metrics_quantile(const uint64_t buckets[METRICS_SECONDS_COUNT + 1], double q);

/* A function to be called at the beginning of every metrics_render() and metrics_collect(), to set
 * gauges. Stays until it is removed with the same two arguments. */
void metrics_add_collector(void (*collect)(void *argument), void *argument);
void metrics_remove_collector(void (*collect)(void *argument), void *argument);

/* Calls the collectors, so that gauges are as they should be now. */
void metrics_collect(void);

/* Adds all series to TEXT, in text exposition format 0.0.4, sorted by name. */
void metrics_render(struct text *text);

/* Adds KEY="VALUE" to LABELS (with a comma where needed), VALUE escaped. */
void metrics_label(struct text *labels, const char *key, const char *value);

/* Are they fit for metrics_...(): [a-z_][a-z0-9_]*, and pairs in Prometheus form? */
bool metrics_valid_name(const char *name);
bool metrics_valid_labels(const char *labels);

#endif
