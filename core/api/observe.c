/*
 * Metrics and the access log.
 *
 * Locks: `observe_mutex` guards insertion into the table of series; a leaf but for the metrics
 * registry. Readers take none: a slot is published once and never changes.
 */
#include "api/internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/integral.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"

#define SLOTS 4096 /* routes, methods and statuses are few; what has no slot is not counted apart */

struct observe_series {
    const char *route; /* literal of the logic's: compared by address */
    char method[8];
    int status;
    enum api_side side;
    struct metric *count, *seconds;
};

static pthread_mutex_t observe_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct observe_series *_Atomic observe_table[SLOTS];

static struct observe_series *observe_make(const struct exchange *exchange, int status)
{
    CLEANUP_TEXT struct text labels = {0};
    metrics_label(&labels, "route", exchange->route.route);
    metrics_label(&labels, "method", exchange->method);
    if (exchange->api->side == API_PEERS) {
        metrics_label(&labels, "side", "peers");
    }
    struct observe_series *series = MEMORY_NEW(struct observe_series);
    series->route = exchange->route.route;
    memcpy(series->method, exchange->method, sizeof series->method);
    series->status = status;
    series->side = exchange->api->side;
    series->seconds = metrics_histogram("vimd_http_request_seconds",
                                        "From the headers of a request to its answer.",
                                        text_get(&labels), NULL, 0);
    char number[16];
    snprintf(number, sizeof number, "%d", status);
    metrics_label(&labels, "status", number);
    series->count = metrics_counter("vimd_http_requests_total",
                                    "Requests by route, method and status (0: the client left).",
                                    text_get(&labels));
    return series;
}

static struct observe_series *observe_series(const struct exchange *exchange, int status)
{
    uintptr_t hash = (uintptr_t)exchange->route.route * 31 + (uintptr_t)status;
    for (const char *c = exchange->method; *c; c++) {
        hash = hash * 31 + (unsigned char)*c;
    }
    for (size_t probe = 0; probe < 64; probe++) {
        struct observe_series *_Atomic *slot = &observe_table[(hash + probe) % SLOTS];
        struct observe_series *series = atomic_load_explicit(slot, memory_order_acquire);
        if (!series) {
            LOCK_GUARD(&observe_mutex);
            series = atomic_load_explicit(slot, memory_order_acquire);
            if (!series) {
                series = observe_make(exchange, status);
                atomic_store_explicit(slot, series, memory_order_release);
            }
        }
        if (series->status == status && series->route == exchange->route.route &&
            series->side == exchange->api->side && strcmp(series->method, exchange->method) == 0) {
            return series;
        }
    }
    return NULL;
}

void observe_begin(const struct exchange *exchange)
{
    if (exchange->api->side == API_CLIENTS) {
        integral_begin(IN_API, exchange->started_us);
    }
}

void observe_drop(const struct exchange *exchange)
{
    if (exchange->started_us && exchange->api->side == API_CLIENTS) {
        integral_end(IN_API, clock_mono_us());
    }
}

void observe_end(struct exchange *exchange, int status)
{
    int64_t now_us = clock_mono_us(), took_us = now_us - exchange->started_us;
    if (exchange->api->side == API_CLIENTS) {
        integral_end(IN_API, now_us);
    }
    struct observe_series *series = observe_series(exchange, status);
    if (series) {
        metric_add(series->count, 1);
        metric_observe(series->seconds, (double)took_us / 1e6);
    }
    int mode = atomic_load_explicit(&exchange->api->live.access_log, memory_order_relaxed);
    bool shown = mode == ACCESS_LOG_ALL || (mode == ACCESS_LOG_ERRORS && status >= 500);
    if (mode != ACCESS_LOG_OFF) {
        log_event(shown ? VIM_INFO : VIM_DEBUG, "request",
                  "method=%s path=%s status=%d ms=%lld token=%s project=%s request=%s",
                  exchange->method, exchange->target.path ? exchange->target.path : "", status,
                  (long long)(took_us / 1000), exchange->principal.token_id,
                  exchange->principal.project, exchange->request_id);
    }
}

static void observe_collect(void *argument)
{
    struct api *api = argument;
    metric_set(metrics_gauge("vimd_http_in_flight", "Requests in progress.", NULL),
               atomic_load(&api->in_flight));
    metric_set(metrics_gauge("vimd_http_connections", "Open connections.", NULL),
               connections_count(api->connections));
}

void observe_open(struct api *api)
{
    metrics_add_collector(observe_collect, api);
}

void observe_close(struct api *api)
{
    metrics_remove_collector(observe_collect, api);
}
