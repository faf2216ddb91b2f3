/*
 * The API block as a whole: its parts, made and ended in order.
 */
#include "api/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "api/listen.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#define API_MAGIC 0x61706931u
/* A connection that was used so lately will most likely be used again; and how long that is waited for. */
#define LAST_USE_MS 500
#define LAST_USE_MAX_MS 1500
/* For answers of waits that are ended. */
#define ENDED_WAITS_MS 1000
#define ENDED_STREAMS_MS 2000

int api_check(const struct api_config *config, struct failure *failure)
{
    bool loopback = false;
    int code = listen_parse(config->listen, &loopback, failure);
    if (code) {
        return code;
    }
    if (!config->tls_certificate != !config->tls_key) {
        return failure_set(failure, VIM_E_INVALID, "%s is set, %s is not: TLS needs both",
                           config->tls_key ? "tls_key" : "tls_certificate",
                           config->tls_key ? "tls_certificate" : "tls_key");
    }
    if (!loopback && !config->tls_certificate && !config->insecure && config->side != API_PROBES) {
        return failure_set(failure, VIM_E_INVALID,
                           "listen: %s can be reached from outside, and without TLS tokens would "
                           "cross the network in the clear; set tls_certificate and tls_key, or "
                           "insecure: true if a proxy does TLS",
                           config->listen);
    }
    if (config->tls_certificate) {
        struct tls *tls = NULL;
        code = tls_open(config->tls_certificate, config->tls_key, &tls, failure);
        tls_close(tls);
    }
    return code;
}

/* What peers know. Replaced ones are kept until the listener ends, because a request may be looking at them. */
struct secrets {
    struct secrets *older;
    char *now, *previous; /* previous: NULL for none */
};

bool secrets_know(const struct api *api, const char *given)
{
    const struct secrets *secrets = atomic_load(&api->secrets);
    return digest_text_equal(given, secrets->now) ||
           (secrets->previous && digest_text_equal(given, secrets->previous));
}

static void secret_free(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    free(secret);
}

static void secrets_free(struct secrets *secrets)
{
    while (secrets) {
        struct secrets *older = secrets->older;
        secret_free(secrets->now);
        secret_free(secrets->previous);
        free(secrets);
        secrets = older;
    }
}

/* By one thread at a time. */
static void api_set_secrets(struct api *api, const struct api_config *config)
{
    struct secrets *older = atomic_load(&api->secrets);
    if (older && text_equal(older->now, config->secret) &&
        text_equal(older->previous, config->previous_secret)) {
        return;
    }
    struct secrets *secrets = MEMORY_NEW(struct secrets);
    secrets->older = older;
    secrets->now = text_duplicate(config->secret);
    secrets->previous = text_duplicate(config->previous_secret);
    atomic_store(&api->secrets, secrets);
}

void api_configure(struct api *api, const struct api_config *config)
{
    if (api->side == API_PEERS) {
        api_set_secrets(api, config);
    }
    struct api_live *live = &api->live;
    atomic_store(&live->header_timeout_ms, config->header_timeout_ms);
    atomic_store(&live->body_timeout_ms, config->body_timeout_ms);
    atomic_store(&live->send_timeout_ms, config->send_timeout_ms);
    atomic_store(&live->idle_timeout_ms, config->idle_timeout_ms);
    atomic_store(&live->request_timeout_ms, config->request_timeout_ms);
    atomic_store(&live->in_flight, config->in_flight);
    atomic_store(&live->rate, config->rate);
    atomic_store(&live->rate_burst, config->rate_burst);
    atomic_store(&live->streams, config->streams);
    atomic_store(&live->heartbeat_ms, config->heartbeat_ms);
    atomic_store(&live->access_log, text_equal(config->access_log, "all")   ? ACCESS_LOG_ALL
                                    : text_equal(config->access_log, "off") ? ACCESS_LOG_OFF
                                                                            : ACCESS_LOG_ERRORS);
}

static void api_free(struct api *api)
{
    streams_close(api->streams);
    connections_close(api->connections);
    access_free(api->access);
    lookups_drop(api->lookups);
    buckets_free(api->rates);
    tls_close(api->tls);
    text_free(&api->authority);
    secrets_free(atomic_load(&api->secrets));
    free(api->listen);
    free(api->spool_dir);
    api->magic = 0;
    free(api);
}

static int api_open(struct api *api, const struct api_config *config, struct failure *failure)
{
    int code = api_check(config, failure);
    if (!code && config->tls_peer_ca) {
        code = tls_authority_read(config->tls_peer_ca, &api->authority, failure);
    }
    if (!code && config->tls_certificate) {
        code = tls_open(config->tls_certificate, config->tls_key, &api->tls, failure);
    }
    if (!code) {
        code = connections_open(&api->connections);
        if (!code && api->side == API_CLIENTS) {
            code = streams_open(api, &api->streams);
        }
        if (code) {
            return failure_set(failure, code, "no more threads");
        }
        code = http_open(api, config, failure);
    }
    return code;
}

int api_start(const struct api_config *config, const char *spool_dir, struct link *link,
              struct api **ret_api, struct failure *failure)
{
    struct api *api = MEMORY_NEW(struct api);
    api->magic = API_MAGIC;
    api->link = link;
    api->listen_fd = -1;
    api->spool_dir = text_duplicate(config->spool_dir ? config->spool_dir : spool_dir);
    api->header_max = (size_t)config->header_max;
    api->body_memory = config->body_memory;
    uint8_t seed[6];
    digest_random(seed, sizeof seed);
    digest_hex(seed, sizeof seed, api->id_prefix);
    api->side = config->side;
    api->listen = text_duplicate(config->listen);
    api->show_metrics = config->show_metrics;
    api->access = access_new();
    api->lookups = lookups_new();
    api->rates = buckets_new();
    api_configure(api, config);
    int code = api_open(api, config, failure);
    if (code) {
        api_free(api);
        return code;
    }
    observe_open(api);
    bool loopback = true;
    listen_parse(config->listen, &loopback, NULL);
    if (!loopback && !api->tls && api->side != API_PROBES) {
        log_event(VIM_WARNING, "tokens cross the network in the clear: no TLS", "listen=%s",
                  config->listen);
    }
    log_event(VIM_INFO, "listening", "address=%s port=%u tls=%s", config->listen, api->port,
              api->tls ? "yes" : "no");
    *ret_api = api;
    return VIM_OK;
}

int api_reload_tls(struct api *api, struct failure *failure)
{
    return api->tls ? tls_reload(api->tls, failure) : VIM_OK;
}

uint16_t api_port(const struct api *api)
{
    return api->port;
}

unsigned api_in_progress(const struct api *api)
{
    return atomic_load(&api->in_flight);
}

unsigned api_connections(const struct api *api)
{
    return connections_count(api->connections);
}

void api_drain(struct api *api)
{
    atomic_store(&api->draining, true);
    if (api->streams) {
        streams_end(api->streams);
    }
}

/* Listeners are told to come again, and get a moment to take it. */
static void api_end_streams(struct api *api, int64_t end)
{
    if (!api->streams) {
        return;
    }
    streams_end(api->streams);
    int64_t last = clock_mono_ms() + ENDED_STREAMS_MS;
    last = last < end ? last : end;
    while (streams_count(api->streams) > 0 && clock_mono_ms() < last) {
        clock_sleep_ms(10);
    }
}

/* A client that is at work sends its next request on the connection that it keeps, and would find it
 * closed under it. It is told with the answer to that one that there will be no other. After LAST only those
 * are waited for who have asked and were not heard yet. */
static void api_let_go(struct api *api, int64_t last, int64_t end)
{
    int64_t now;
    while ((now = clock_mono_ms()) < end &&
           ((now < last && connections_used(api->connections, now - LAST_USE_MS)) ||
            connections_unread(api->connections))) {
        clock_sleep_ms(10);
    }
}

void api_stop(struct api *api, int64_t timeout_ms)
{
    if (!api) {
        return;
    }
    assert(api->magic == API_MAGIC);
    int64_t now = clock_mono_ms();
    int64_t end = now + timeout_ms;
    atomic_store(&api->draining, true);
    quiesce_listener(api, end);
    api_end_streams(api, end);
    api_let_go(api, now + LAST_USE_MAX_MS, end);
    while (api_in_progress(api) > 0 && clock_mono_ms() < end) {
        clock_sleep_ms(10);
    }
    atomic_store(&api->stopping, true);
    link_end_waits(api->link, true);
    end = clock_mono_ms() + ENDED_WAITS_MS;
    while (api_in_progress(api) > 0 && clock_mono_ms() < end) {
        clock_sleep_ms(10);
    }
    unsigned left = api_in_progress(api);
    /* A connection must not be suspended when MHD stops. Those that wait are answered here; those
     * that were about to wait show up in the next round. */
    int64_t last = clock_mono_ms() + 2000;
    do {
        connections_give_up(api->connections);
        clock_sleep_ms(10);
    } while (connections_waiting(api->connections) > 0 ||
             (api_in_progress(api) > 0 && clock_mono_ms() < last));
    if (left) {
        log_event(VIM_WARNING, "requests were cut short by the shutdown", "count=%u", left);
    }
    http_close(api);
    observe_close(api);
    api_free(api);
}
