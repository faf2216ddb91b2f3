/*
 * scaler/signal.h - what a signal is computed from, as the configuration says it, over series of a Prometheus
 * endpoint:
 *
 *     throughput:   rate(http_requests_total{job="shop",code!="500"})
 *     errors:       rate(http_requests_total{code=~"5.."})
 *     latency:      average(http_request_seconds) * 1000
 *     latency_p95:  p95(http_request_seconds) * 1000
 *     cpu:          rate(process_cpu_seconds_total) / ready / quota
 *     in_flight:    rate(inflight_seconds_total) + sum(waiting)
 *
 * rate: growth of counters per second, summed over all series that match. sum, mean, max, min: of gauges. average:
 * of the observations of histograms or summaries (NAME_sum over NAME_count) since the look before. p50, p90, p95,
 * p99: quantile of the observations of histograms (NAME_bucket) since then, taken as spread evenly within
 * their bucket. Factors: numbers; `ready`, the block's replicas; `quota`, the cores that one may use.
 */
#ifndef SCALER_SIGNAL_H
#define SCALER_SIGNAL_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNAL_TERMS_MAX 4u
#define SIGNAL_LABELS_MAX 8u
#define SIGNAL_FACTORS_MAX 4u
#define SIGNALS_MAX \
    20u /* of a service, block or edge: at least as many as there are metrics of each */

enum signal_function {
    SIGNAL_RATE,
    SIGNAL_SUM,
    SIGNAL_MEAN,
    SIGNAL_MAX,
    SIGNAL_MIN,
    SIGNAL_AVERAGE,
    SIGNAL_QUANTILE
};

enum signal_match { MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX, MATCH_NOT_REGEX };

struct signal_label {
    char *name, *value;
    enum signal_match match;
    regex_t regex; /* of MATCH_REGEX and MATCH_NOT_REGEX */
};

/* Which series. */
struct signal_selector {
    char *name;
    struct signal_label labels[SIGNAL_LABELS_MAX];
    uint32_t label_count;
};

enum signal_factor_kind { FACTOR_NUMBER, FACTOR_READY, FACTOR_QUOTA };
struct signal_factor {
    enum signal_factor_kind kind;
    bool divides;
    double number;
};

struct signal_term {
    bool minus;
    enum signal_function function;
    double quantile; /* of SIGNAL_QUANTILE: 0..1 */
    struct signal_selector selector;
    struct signal_factor factors[SIGNAL_FACTORS_MAX];
    uint32_t factor_count;
};

/* One signal: the metric that it gives, and the sum of terms that it is. */
struct signal {
    char *text; /* as it was written */
    uint32_t metric; /* of the history's scope */
    struct signal_term terms[SIGNAL_TERMS_MAX];
    uint32_t term_count;
};

struct signals {
    struct signal *items;
    uint32_t count;
};

/* Parses TEXT. VIM_E_INVALID: RET_WHY says what is wrong, and where in the text. */
int signal_parse(const char *text, struct signal *ret_signal, char ret_why[160]);
void signal_free(struct signal *signal); /* what it holds */
void signals_free(struct signals *signals);

#endif
