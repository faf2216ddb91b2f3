/*
 * Locks: registry_mutex guards families, series and collectors; it is not held while a collector
 * runs. Values are atomics and need none.
 */
#include "base/metrics.h"
#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* What the threads of one slot have added: a double as bits (histogram: the sum), and for a histogram
 * the count per bound and one for the rest. */
struct metric {
    struct family *family;
    char *labels; /* "" for none */
    unsigned stride; /* numbers per slot of threads, whole cache lines */
    _Atomic(uint64_t) *numbers; /* `stride` per slot: the value, then the buckets */
    UT_hash_handle hh;
};

struct family {
    char *name;
    char *help;
    enum metric_type type;
    const double *bounds;
    size_t bound_count;
    struct metric *series;
    UT_hash_handle hh;
};

struct collector {
    void (*collect)(void *argument);
    void *argument;
};

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t collected = PTHREAD_COND_INITIALIZER;
static struct family *families;
static struct collector *collectors;
static size_t collector_count;
static unsigned collecting; /* renders that are calling collectors */

const double METRICS_SECONDS[METRICS_SECONDS_COUNT] = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60};

static double to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* --- Registry ---------------------------------------------------------------------------------- */

static struct family *family_find(const char *name, const char *help, enum metric_type type,
                                  const double *bounds, size_t bound_count)
{
    struct family *family = NULL;
    HASH_FIND_STR(families, name, family);
    if (!family) {
        family = MEMORY_NEW(struct family);
        family->name = text_duplicate(name);
        family->help = text_duplicate(help ? help : "");
        family->type = type;
        if (type == METRIC_HISTOGRAM) {
            family->bounds = memory_copy(bounds, bound_count * sizeof(*bounds));
            family->bound_count = bound_count;
        }
        HASH_ADD_KEYPTR(hh, families, family->name, strlen(family->name), family);
    }
    assert(family->type == type);
    return family;
}

static void numbers_new(struct metric *metric)
{
    const struct family *family = metric->family;
    size_t count = family->type == METRIC_HISTOGRAM ? family->bound_count + 2 : 1;
    size_t line = MEMORY_LINE / sizeof(*metric->numbers);
    metric->stride = (unsigned)((count + line - 1) / line * line);
    metric->numbers = memory_new_lines(THREAD_SLOTS * metric->stride * sizeof(*metric->numbers));
}

static struct metric *series_find(const char *name, const char *help, const char *labels,
                                  enum metric_type type, const double *bounds, size_t bound_count)
{
    assert(metrics_valid_name(name) && metrics_valid_labels(labels));
    const char *key = labels ? labels : "";
    LOCK_GUARD(&registry_mutex);
    struct family *family = family_find(name, help, type, bounds, bound_count);
    struct metric *metric = NULL;
    HASH_FIND_STR(family->series, key, metric);
    if (!metric) {
        metric = MEMORY_NEW(struct metric);
        metric->family = family;
        metric->labels = text_duplicate(key);
        numbers_new(metric);
        HASH_ADD_KEYPTR(hh, family->series, metric->labels, strlen(metric->labels), metric);
    }
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels)
{
    return series_find(name, help, labels, METRIC_COUNTER, NULL, 0);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels)
{
    return series_find(name, help, labels, METRIC_GAUGE, NULL, 0);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels,
                                 const double *bounds, size_t count)
{
    return series_find(name, help, labels, METRIC_HISTOGRAM, bounds ? bounds : METRICS_SECONDS,
                       bounds ? count : METRICS_SECONDS_COUNT);
}

/* --- Values ------------------------------------------------------------------------------------ */

static _Atomic(uint64_t) *own_numbers(const struct metric *metric)
{
    return metric->numbers + thread_slot() * metric->stride;
}

static void add_to(_Atomic(uint64_t) *number, double value)
{
    uint64_t before = atomic_load_explicit(number, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(number, &before,
                                                  to_bits(to_double(before) + value),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void metric_add(struct metric *metric, double value)
{
    add_to(own_numbers(metric), value);
}

void metric_set(struct metric *metric, double value)
{
    for (unsigned slot = 0; slot < THREAD_SLOTS; slot++) {
        atomic_store_explicit(metric->numbers + slot * metric->stride,
                              slot == 0 ? to_bits(value) : 0, memory_order_relaxed);
    }
}

void metric_observe(struct metric *metric, double value)
{
    const struct family *family = metric->family;
    _Atomic(uint64_t) *numbers = own_numbers(metric);
    size_t place = 0;
    while (place < family->bound_count && value > family->bounds[place]) {
        place++;
    }
    atomic_fetch_add_explicit(&numbers[1 + place], 1, memory_order_relaxed);
    add_to(numbers, value);
}

double metric_value(const struct metric *metric)
{
    double sum = 0;
    for (unsigned slot = 0; slot < THREAD_SLOTS; slot++) {
        sum += to_double(
            atomic_load_explicit(metric->numbers + slot * metric->stride, memory_order_relaxed));
    }
    return sum;
}

static uint64_t bucket_count(const struct metric *metric, size_t bucket)
{
    uint64_t count = 0;
    for (unsigned slot = 0; slot < THREAD_SLOTS; slot++) {
        count += atomic_load_explicit(metric->numbers + slot * metric->stride + 1 + bucket,
                                      memory_order_relaxed);
    }
    return count;
}

uint64_t metric_count(const struct metric *metric)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->family->bound_count; i++) {
        count += bucket_count(metric, i);
    }
    return count;
}

void metrics_sum(const char *name, const char *with, struct metrics_sum *ret_sum)
{
    struct family *family = NULL;
    *ret_sum = (struct metrics_sum){0};
    LOCK_GUARD(&registry_mutex);
    HASH_FIND_STR(families, name, family);
    for (struct metric *metric = family ? family->series : NULL; metric; metric = metric->hh.next) {
        if (with && !strstr(metric->labels, with)) {
            continue;
        }
        ret_sum->value += metric_value(metric);
        if (family->type != METRIC_HISTOGRAM) {
            continue;
        }
        ret_sum->count += metric_count(metric);
        bool usual = family->bound_count == METRICS_SECONDS_COUNT &&
                     memcmp(family->bounds, METRICS_SECONDS, sizeof(METRICS_SECONDS)) == 0;
        for (size_t i = 0; usual && i <= METRICS_SECONDS_COUNT; i++) {
            ret_sum->buckets[i] += bucket_count(metric, i);
        }
    }
}

double metrics_quantile(const uint64_t buckets[METRICS_SECONDS_COUNT + 1], double q)
{
    double count = 0, below = 0;
    for (size_t i = 0; i <= METRICS_SECONDS_COUNT; i++) {
        count += (double)buckets[i];
    }
    for (size_t i = 0; i < METRICS_SECONDS_COUNT && count > 0; i++) {
        double in_it = (double)buckets[i], low = i ? METRICS_SECONDS[i - 1] : 0;
        if (in_it > 0 && below + in_it >= q * count) {
            return low + (METRICS_SECONDS[i] - low) * (q * count - below) / in_it;
        }
        below += in_it;
    }
    return count > 0 ? METRICS_SECONDS[METRICS_SECONDS_COUNT - 1] : NAN;
}

/* --- Collectors -------------------------------------------------------------------------------- */

void metrics_add_collector(void (*collect)(void *argument), void *argument)
{
    LOCK_GUARD(&registry_mutex);
    collectors = memory_resize(collectors, collector_count + 1, sizeof(*collectors));
    collectors[collector_count++] = (struct collector){.collect = collect, .argument = argument};
}

void metrics_remove_collector(void (*collect)(void *argument), void *argument)
{
    LOCK_GUARD(&registry_mutex);
    size_t kept = 0;
    for (size_t i = 0; i < collector_count; i++) {
        if (collectors[i].collect != collect || collectors[i].argument != argument) {
            collectors[kept++] = collectors[i];
        }
    }
    collector_count = kept;
    if (kept == 0) {
        free(TAKE(collectors));
    }
    while (collecting) { /* a render may be calling it from its copy of the list */
        pthread_cond_wait(&collected, &registry_mutex);
    }
}

void metrics_collect(void)
{
    pthread_mutex_lock(&registry_mutex);
    size_t count = collector_count;
    CLEANUP_FREE struct collector *copy = memory_copy(collectors, count * sizeof(struct collector));
    collecting++;
    pthread_mutex_unlock(&registry_mutex);
    for (size_t i = 0; i < count; i++) {
        copy[i].collect(copy[i].argument);
    }
    pthread_mutex_lock(&registry_mutex);
    collecting--;
    pthread_cond_broadcast(&collected);
    pthread_mutex_unlock(&registry_mutex);
}

/* --- Text -------------------------------------------------------------------------------------- */

static void add_number(struct text *text, double value)
{
    if (isnan(value)) {
        text_add(text, "NaN");
    } else if (isinf(value)) {
        text_add(text, value > 0 ? "+Inf" : "-Inf");
    } else {
        text_printf(text, "%.15g", value);
    }
}

static void add_sample(struct text *text, const struct metric *metric, const char *suffix,
                       const char *more_labels, double value)
{
    bool both = metric->labels[0] && more_labels[0];
    text_printf(text, "%s%s", metric->family->name, suffix);
    if (metric->labels[0] || more_labels[0]) {
        text_printf(text, "{%s%s%s}", metric->labels, both ? "," : "", more_labels);
    }
    text_add_char(text, ' ');
    add_number(text, value);
    text_add_char(text, '\n');
}

static void add_histogram(struct text *text, const struct metric *metric)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->family->bound_count; i++) {
        CLEANUP_TEXT struct text bound = {0};
        text_add(&bound, "le=\"");
        add_number(&bound, i < metric->family->bound_count ? metric->family->bounds[i] : INFINITY);
        text_add_char(&bound, '"');
        count += bucket_count(metric, i);
        add_sample(text, metric, "_bucket", bound.data, (double)count);
    }
    add_sample(text, metric, "_sum", "", metric_value(metric));
    add_sample(text, metric, "_count", "", (double)count);
}

static int by_name(const struct family *a, const struct family *b)
{
    return strcmp(a->name, b->name);
}

static int by_labels(const struct metric *a, const struct metric *b)
{
    return strcmp(a->labels, b->labels);
}

static void add_family(struct text *text, struct family *family)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    text_printf(text, "# HELP %s ", family->name);
    for (const char *at = family->help; *at; at++) {
        text_add(text, *at == '\n' ? "\\n" : *at == '\\' ? "\\\\" : (char[]){*at, '\0'});
    }
    text_printf(text, "\n# TYPE %s %s\n", family->name, types[family->type]);
    HASH_SORT(family->series, by_labels);
    for (struct metric *metric = family->series; metric; metric = metric->hh.next) {
        if (family->type == METRIC_HISTOGRAM) {
            add_histogram(text, metric);
        } else {
            add_sample(text, metric, "", "", metric_value(metric));
        }
    }
}

void metrics_render(struct text *text)
{
    metrics_collect();
    LOCK_GUARD(&registry_mutex);
    HASH_SORT(families, by_name);
    for (struct family *family = families; family; family = family->hh.next) {
        add_family(text, family);
    }
}

/* --- Names and labels -------------------------------------------------------------------------- */

void metrics_label(struct text *labels, const char *key, const char *value)
{
    if (labels->length) {
        text_add_char(labels, ',');
    }
    text_printf(labels, "%s=\"", key);
    for (size_t left = strlen(value); left;) {
        size_t step = text_utf8_step(value, left);
        if (step == 0) {
            text_add(labels, "\xEF\xBF\xBD");
        } else if (*value == '\n') {
            text_add(labels, "\\n");
        } else if (*value == '"' || *value == '\\') {
            text_add_char(labels, '\\');
            text_add_char(labels, *value);
        } else {
            text_add_bytes(labels, value, step);
        }
        step = step ? step : 1;
        value += step;
        left -= step;
    }
    text_add_char(labels, '"');
}

static size_t name_length(const char *at)
{
    size_t length = 0;
    while (islower((unsigned char)at[length]) || at[length] == '_' ||
           (length && isdigit((unsigned char)at[length]))) {
        length++;
    }
    return length;
}

bool metrics_valid_name(const char *name)
{
    size_t length = name ? name_length(name) : 0;
    return length > 0 && length <= 100 && name[length] == '\0';
}

/* AT is behind the opening quote; returns what is behind the closing one, or NULL. */
static const char *label_value_end(const char *at)
{
    for (; *at != '"'; at++) {
        if (*at == '\\') {
            at++;
            if (*at != '\\' && *at != '"' && *at != 'n') {
                return NULL;
            }
        }
        if (*at == '\0' || *at == '\n') {
            return NULL;
        }
    }
    return at + 1;
}

bool metrics_valid_labels(const char *labels)
{
    if (!labels || !*labels) {
        return true;
    }
    if (strlen(labels) > 512 || !text_is_utf8(labels, strlen(labels))) {
        return false;
    }
    for (const char *at = labels;;) {
        size_t length = name_length(at);
        if (length == 0 || at[length] != '=' || at[length + 1] != '"') {
            return false;
        }
        at = label_value_end(at + length + 2);
        if (!at || (*at && *at != ',')) {
            return false;
        }
        if (*at == '\0') {
            return true;
        }
        at++;
    }
}
