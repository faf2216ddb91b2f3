/*
 * The source `prometheus`: endpoints that answer in the text exposition format, and signals that are computed
 * from their series (scaler/signal.h).
 *
 * All endpoints are asked side by side, within one timeout. A total is remembered per endpoint and series, with
 * the time of the endpoint's look, so an endpoint that has not answered for a while loses nothing. A series that
 * is new at an endpoint that answered the last time began at 0 since then; at one that did not, nothing is known
 * of when. One that was left out of an answer, and comes back, has grown over more than one window: that window
 * does not count. One that an answer has twice counts as it came first, in whatever order its labels are.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "scaler/buckets.h"
#include "scaler/exposition.h"
#include "scaler/sampler.h"

#define SERIES_MAX 20000u /* remembered per endpoint; a term with more tells nothing */
#define ABSENT_LOOKS 12u /* a series that is not told is remembered for so many looks */
#define SLICE_MS 100

/* A series that a term has met, with its total as it was at the last look. */
struct total {
    UT_hash_handle hh;
    double value; /* NaN before the first */
    uint64_t look; /* when it was seen */
    char key[]; /* series and term */
};

struct endpoint {
    struct prometheus *owner;
    const char *url;
    struct total *totals;
    int64_t at; /* monotonic us of the last answer; 0: there was none */
    uint64_t look; /* of the last answer */
    uint64_t look_before; /* of the one before it */
    double seconds; /* between the last two answers; NaN */
    bool seen_before; /* it had answered at the look before */
    bool done, good;
    char error[256];
};

/* One term of one signal, as it adds up over the endpoints of a look. */
struct term {
    const struct signal_term *signal;
    uint32_t number;
    double sum, count; /* of SIGNAL_AVERAGE: of observations */
    bool known;
    bool seen; /* some endpoint has told a series that matches */
    bool too_many; /* series */
    struct buckets buckets;
    char name_sum[256], name_count[256], name_bucket[256];
};

/* A signal with its place. */
struct wanted {
    enum history_scope scope;
    uint32_t index;
    const struct signal *signal;
    uint32_t first; /* of its terms */
};

struct prometheus {
    const struct service *service;
    struct http_client *client;
    char *header; /* Authorization, or NULL */
    struct endpoint *endpoints;
    uint32_t endpoint_count;
    struct wanted *wanted;
    uint32_t wanted_count;
    struct term *terms;
    uint32_t term_count;
    uint64_t look;
    uint32_t waiting; /* for answers */
};

/* --- Totals -------------------------------------------------------------------------------------- */

/* What is remembered of TERM's series; NULL if the answer had it before, or there are too many. */
static struct total *meet(struct endpoint *endpoint, struct term *term,
                          const struct exposition_sample *sample)
{
    CLEANUP_TEXT struct text key = {0};
    struct total *total = NULL;
    text_printf(&key, "%u ", term->number);
    exposition_series(sample, &key);
    HASH_FIND_STR(endpoint->totals, text_get(&key), total);
    if (total) {
        return total->look == endpoint->look ? NULL : total;
    }
    if (HASH_COUNT(endpoint->totals) >= SERIES_MAX) {
        term->too_many = true;
        return NULL;
    }
    total = memory_new(sizeof(*total) + key.length + 1);
    total->value = NAN;
    strcpy(total->key, text_get(&key));
    HASH_ADD_STR(endpoint->totals, key, total);
    return total;
}

/* How much a series has grown since the endpoint's last answer; NaN: not known. */
static double grown(const struct endpoint *endpoint, const struct total *total, double value)
{
    bool is_new = total->look == 0, was_there = total->look == endpoint->look_before;
    if (is_new) {
        return endpoint->seen_before ? value : NAN;
    }
    return value < total->value ? value : was_there ? value - total->value : NAN;
}

static void forget(struct endpoint *endpoint, bool all)
{
    struct total *total, *next;
    HASH_ITER(hh, endpoint->totals, total, next)
    {
        if (all || endpoint->look - total->look > ABSENT_LOOKS) {
            HASH_DEL(endpoint->totals, total);
            free(total);
        }
    }
}

/* --- Samples of one answer ------------------------------------------------------------------------ */

static bool label_matches(const struct signal_label *label, const char *value)
{
    value = value ? value : "";
    switch (label->match) {
    case MATCH_EQUAL:
        return strcmp(label->value, value) == 0;
    case MATCH_NOT_EQUAL:
        return strcmp(label->value, value) != 0;
    case MATCH_REGEX:
        return regexec(&label->regex, value, 0, NULL, 0) == 0;
    default:
        return regexec(&label->regex, value, 0, NULL, 0) != 0;
    }
}

static bool labels_match(const struct signal_selector *selector,
                         const struct exposition_sample *sample)
{
    for (uint32_t i = 0; i < selector->label_count; i++) {
        if (!label_matches(&selector->labels[i],
                           exposition_label(sample, selector->labels[i].name))) {
            return false;
        }
    }
    return true;
}

static void add_gauge(struct term *term, double value)
{
    if (!isfinite(value)) {
        return;
    }
    bool first = !term->known;
    switch (term->signal->function) {
    case SIGNAL_MAX:
        term->sum = first || value > term->sum ? value : term->sum;
        break;
    case SIGNAL_MIN:
        term->sum = first || value < term->sum ? value : term->sum;
        break;
    default:
        term->sum += value;
    }
    term->count++;
    term->known = true;
}

static void add_total(const struct endpoint *endpoint, struct term *term,
                      const struct exposition_sample *sample, double difference)
{
    if (isnan(difference)) {
        return;
    }
    switch (term->signal->function) {
    case SIGNAL_RATE:
        if (endpoint->seconds > 0) {
            term->sum += difference / endpoint->seconds;
            term->known = true;
        }
        break;
    case SIGNAL_AVERAGE:
        if (strcmp(sample->name, term->name_sum) == 0) {
            term->sum += difference;
        } else {
            term->count += difference;
            term->known = true;
        }
        break;
    default:
        term->known |= buckets_add(&term->buckets, exposition_label(sample, "le"), difference);
    }
}

static void add_to_term(struct endpoint *endpoint, struct term *term,
                        const struct exposition_sample *sample)
{
    struct total *total = meet(endpoint, term, sample);
    if (!total) {
        return;
    }
    switch (term->signal->function) {
    case SIGNAL_RATE:
    case SIGNAL_AVERAGE:
    case SIGNAL_QUANTILE:
        if (isfinite(sample->value)) {
            add_total(endpoint, term, sample, grown(endpoint, total, sample->value));
        }
        total->value = isfinite(sample->value) ? sample->value : NAN;
        break;
    default:
        add_gauge(term, sample->value);
    }
    total->look = endpoint->look;
}

static bool name_matches(const struct term *term, const char *name)
{
    switch (term->signal->function) {
    case SIGNAL_AVERAGE:
        return strcmp(name, term->name_sum) == 0 || strcmp(name, term->name_count) == 0;
    case SIGNAL_QUANTILE:
        return strcmp(name, term->name_bucket) == 0;
    default:
        return strcmp(name, term->signal->selector.name) == 0;
    }
}

static void take_sample(void *argument, const struct exposition_sample *sample)
{
    struct endpoint *endpoint = argument;
    struct prometheus *prometheus = endpoint->owner;
    for (uint32_t i = 0; i < prometheus->term_count; i++) {
        struct term *term = &prometheus->terms[i];
        if (name_matches(term, sample->name) && labels_match(&term->signal->selector, sample)) {
            term->seen = true;
            add_to_term(endpoint, term, sample);
        }
    }
}

/* --- Answers -------------------------------------------------------------------------------------- */

static void answered(void *argument, int status, const char *error, const char *body, size_t length)
{
    struct endpoint *endpoint = argument;
    struct prometheus *prometheus = endpoint->owner;
    prometheus->waiting--;
    endpoint->done = true;
    endpoint->error[0] = '\0';
    if (error || status != 200) {
        char prefix[32] = "";
        if (status) {
            (void)snprintf(prefix, sizeof(prefix), "status %d%s", status, error ? ": " : "");
        }
        (void)snprintf(endpoint->error, sizeof(endpoint->error), "%s%s", prefix,
                       error ? error : "");
        return;
    }
    int64_t now = clock_mono_us();
    size_t bad = 0;
    endpoint->seconds = endpoint->at ? (double)(now - endpoint->at) / 1e6 : NAN;
    endpoint->seen_before = endpoint->look != 0 && endpoint->look + 1 == prometheus->look;
    endpoint->look_before = endpoint->look;
    endpoint->look = prometheus->look;
    endpoint->at = now;
    size_t count = exposition_read(body, length, take_sample, endpoint, &bad);
    endpoint->good = count > 0;
    if (count == 0) {
        (void)snprintf(endpoint->error, sizeof(endpoint->error),
                       "its answer holds no sample (%zu lines are none)", bad);
    }
    forget(endpoint, false);
}

static bool is_allowed(void *argument, const struct sockaddr *address)
{
    (void)argument; /* the configuration names it */
    (void)address;
    return true;
}

static int ask_all(struct prometheus *prometheus, const struct sampler_look *look)
{
    const char *headers[] = {"Accept: text/plain;version=0.0.4", prometheus->header, NULL};
    for (uint32_t i = 0; i < prometheus->endpoint_count; i++) {
        struct endpoint *endpoint = &prometheus->endpoints[i];
        struct http_client_request request = {
            .url = endpoint->url, .headers = headers, .argument = endpoint};
        endpoint->done = endpoint->good = false;
        if (http_client_get(prometheus->client, &request,
                            (size_t)prometheus->service->source.size_max, answered) == VIM_OK) {
            prometheus->waiting++;
        }
    }
    while (prometheus->waiting > 0) {
        if (look->stopping && atomic_load(look->stopping)) {
            return VIM_E_CANCELLED;
        }
        http_client_work(prometheus->client, SLICE_MS);
    }
    return VIM_OK;
}

/* --- What comes of it ----------------------------------------------------------------------------- */

static double term_value(const struct term *term, const struct history_block *block)
{
    double value = term->signal->function == SIGNAL_QUANTILE
                       ? buckets_quantile(&term->buckets, term->signal->quantile)
                   : term->signal->function == SIGNAL_AVERAGE ? term->sum / term->count
                   : term->signal->function == SIGNAL_MEAN    ? term->sum / term->count
                                                              : term->sum;
    for (uint32_t i = 0; i < term->signal->factor_count; i++) {
        const struct signal_factor *factor = &term->signal->factors[i];
        double by = factor->kind == FACTOR_NUMBER  ? factor->number
                    : factor->kind == FACTOR_READY ? (block ? block->ready : NAN)
                                                   : (block ? block->quota_cores : NAN);
        value = factor->divides ? value / by : value * by;
    }
    return term->signal->minus ? -value : value;
}

static void put(struct prometheus *prometheus, const struct wanted *wanted, struct history *history)
{
    struct history_block block = {0};
    double sum = 0;
    bool known = false;
    if (wanted->scope == HISTORY_BLOCK) {
        block = history_get_block(history, wanted->index);
    }
    for (uint32_t i = 0; i < wanted->signal->term_count; i++) {
        const struct term *term = &prometheus->terms[wanted->first + i];
        if (term->too_many || term->buckets.too_many) {
            return;
        }
        /* A series that is not there adds nothing where others do: no error was ever counted. */
        if (term->known) {
            sum += term_value(term, wanted->scope == HISTORY_BLOCK ? &block : NULL);
            known = true;
        }
    }
    if (known && isfinite(sum)) {
        history_put(history, wanted->scope, wanted->index, wanted->signal->metric, sum);
    }
}

static const char *why_silent(const struct endpoint *endpoint)
{
    return endpoint->error[0] ? endpoint->error : "it could not be asked";
}

/* Endpoints of replicas that are not there refuse all day long. Whoever answered last, and does not now, is news. */
static int silent_failure(const struct prometheus *prometheus, const struct endpoint *silent,
                          struct failure *failure)
{
    if (prometheus->endpoint_count == 1) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "%s: %s", silent->url, why_silent(silent));
    }
    return failure_set(failure, VIM_E_UNAVAILABLE, "none of %u endpoints answers; %s: %s",
                       prometheus->endpoint_count, silent->url, why_silent(silent));
}

static bool has_series(const struct prometheus *prometheus, const struct wanted *wanted)
{
    for (uint32_t i = 0; i < wanted->signal->term_count; i++) {
        if (prometheus->terms[wanted->first + i].seen) {
            return true;
        }
    }
    return false;
}

static void add_signal_name(struct text *text, const struct service *service,
                            const struct wanted *wanted)
{
    const char *name = history_metric_name(wanted->scope, wanted->signal->metric);
    if (wanted->scope == HISTORY_BLOCK) {
        text_printf(text, "%s of %s", name, service->blocks[wanted->index].name);
    } else if (wanted->scope == HISTORY_EDGE) {
        const struct service_edge *edge = &service->edges[wanted->index];
        text_printf(text, "%s of %s -> %s", name, service->blocks[edge->caller].name,
                    service->blocks[edge->callee].name);
    } else {
        text_add(text, name);
    }
}

/* Sums over some of the replicas, and a name that was mistyped, look like a service with little to do. */
static int tell_missing(const struct prometheus *prometheus, uint32_t good,
                        const struct endpoint *silent, struct failure *failure)
{
    struct text text = {0};
    bool first = true;
    if (silent) {
        text_printf(&text, "%u of %u endpoints answer; %s: %s", good, prometheus->endpoint_count,
                    silent->url, why_silent(silent));
    }
    for (uint32_t i = 0; i < prometheus->wanted_count; i++) {
        if (!has_series(prometheus, &prometheus->wanted[i])) {
            text_add(&text, !first ? ", " : silent ? "; no series for " : "no series for ");
            add_signal_name(&text, prometheus->service, &prometheus->wanted[i]);
            first = false;
        }
    }
    if (text.length) {
        (void)failure_set(failure, VIM_OK, "%s", text_get(&text));
    }
    text_free(&text);
    return VIM_OK;
}

static int prometheus_sample(void *state, const struct sampler_look *look, struct failure *failure)
{
    struct prometheus *prometheus = state;
    prometheus->look++;
    for (uint32_t i = 0; i < prometheus->term_count; i++) {
        struct term *term = &prometheus->terms[i];
        term->sum = term->count = 0;
        term->known = term->seen = term->too_many = term->buckets.too_many = false;
        term->buckets.count = 0;
    }
    if (ask_all(prometheus, look) != VIM_OK) {
        return failure_set(failure, VIM_E_CANCELLED, "stopped");
    }
    uint32_t good = 0;
    const struct endpoint *silent = NULL;
    for (uint32_t i = 0; i < prometheus->endpoint_count; i++) {
        const struct endpoint *endpoint = &prometheus->endpoints[i];
        good += endpoint->good;
        if (!endpoint->good && (!silent || endpoint->at > silent->at)) {
            silent = endpoint;
        }
    }
    if (good == 0) {
        return silent_failure(prometheus, silent, failure);
    }
    for (uint32_t i = 0; i < prometheus->wanted_count; i++) {
        put(prometheus, &prometheus->wanted[i], look->history);
    }
    return tell_missing(prometheus, good, silent, failure);
}

/* --- Life ----------------------------------------------------------------------------------------- */

static void add_wanted(struct prometheus *prometheus, enum history_scope scope, uint32_t index,
                       const struct signals *signals)
{
    for (uint32_t i = 0; i < signals->count; i++) {
        const struct signal *signal = &signals->items[i];
        prometheus->wanted = memory_resize(prometheus->wanted, prometheus->wanted_count + 1,
                                           sizeof(*prometheus->wanted));
        prometheus->wanted[prometheus->wanted_count++] = (struct wanted){
            .scope = scope, .index = index, .signal = signal, .first = prometheus->term_count};
        prometheus->terms =
            memory_resize(prometheus->terms, prometheus->term_count + signal->term_count,
                          sizeof(*prometheus->terms));
        for (uint32_t j = 0; j < signal->term_count; j++) {
            struct term *term = &prometheus->terms[prometheus->term_count];
            const char *name = signal->terms[j].selector.name;
            *term = (struct term){.signal = &signal->terms[j], .number = prometheus->term_count};
            (void)snprintf(term->name_sum, sizeof(term->name_sum), "%s_sum", name);
            (void)snprintf(term->name_count, sizeof(term->name_count), "%s_count", name);
            (void)snprintf(term->name_bucket, sizeof(term->name_bucket), "%s_bucket", name);
            prometheus->term_count++;
        }
    }
}

static void prometheus_close(void *state)
{
    struct prometheus *prometheus = state;
    http_client_free(prometheus->client);
    for (uint32_t i = 0; i < prometheus->endpoint_count; i++) {
        forget(&prometheus->endpoints[i], true);
    }
    if (prometheus->header) {
        explicit_bzero(prometheus->header, strlen(prometheus->header));
    }
    free(prometheus->header);
    free(prometheus->endpoints);
    free(prometheus->wanted);
    free(prometheus->terms);
    free(prometheus);
}

static int prometheus_open(const struct service *service, const struct sampler_host *host,
                           void **ret_state, struct failure *failure)
{
    (void)host;
    const struct service_source *source = &service->source;
    struct prometheus *prometheus = MEMORY_NEW(struct prometheus);
    struct http_client_settings settings = {.connect_timeout_ms = source->timeout_ms,
                                            .timeout_ms = source->timeout_ms,
                                            .ca_file = source->ca_file,
                                            .user_agent = "vimd/" VIMD_VERSION,
                                            .allowed = is_allowed};
    char why[256];
    prometheus->service = service;
    prometheus->header =
        source->token ? text_format("Authorization: Bearer %s", source->token) : NULL;
    prometheus->endpoint_count = source->endpoints.count;
    prometheus->endpoints = memory_new_array(source->endpoints.count, sizeof(struct endpoint));
    for (uint32_t i = 0; i < source->endpoints.count; i++) {
        prometheus->endpoints[i] =
            (struct endpoint){.owner = prometheus, .url = source->endpoints.items[i]};
    }
    add_wanted(prometheus, HISTORY_SERVICE, 0, &service->signals);
    for (uint32_t i = 0; i < service->block_count; i++) {
        add_wanted(prometheus, HISTORY_BLOCK, i, &service->blocks[i].signals);
    }
    for (uint32_t i = 0; i < service->edge_count; i++) {
        add_wanted(prometheus, HISTORY_EDGE, i, &service->edges[i].signals);
    }
    if (http_client_new(&settings, &prometheus->client, why) != VIM_OK) {
        prometheus_close(prometheus);
        return failure_set(failure, VIM_E_UNSUPPORTED, "service %s: %s", service->name, why);
    }
    *ret_state = prometheus;
    return VIM_OK;
}

const struct sampler_source sampler_prometheus = {
    .name = "prometheus",
    .open = prometheus_open,
    .sample = prometheus_sample,
    .close = prometheus_close,
};
