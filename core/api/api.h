/*
 * api/api.h - block: the HTTP front. Sockets, TLS, authentication, limits and answers; what a
 * request means is the logic's, reached through a link.
 *
 *   request line and headers -> limits, request id, principal, route   (before any of the body)
 *   body                     -> memory, or a file for uploads
 *   link_call                -> an answer at once, or the connection sleeps until there is one
 *
 * Network threads never wait for the logic. Every phase of a connection has a deadline.
 */
#ifndef VIMD_API_API_H
#define VIMD_API_API_H

#include <stdint.h>
#include "config/fill.h"
#include "link/link.h"

/* Whom a listener is for. */
enum api_side {
    API_CLIENTS, /* who ask with bearer tokens */
    API_PEERS, /* processes of this service, which prove that they know its secret and say for whom they
                  ask: the far end of link/remote.h */
    API_PROBES /* who look after the process: /healthz, /readyz and perhaps /metrics, for everybody */
};

/* The section `api` of the configuration, as api_table fills it. Texts belong to the filled
 * struct, which has to outlive the API. */
struct api_config {
    const char *listen;
    int32_t insecure, reuse_port;
    const char *tls_certificate, *tls_key;
    int64_t threads, blocking_threads, blocking_queue, blocking_wait_ms;
    int64_t connections, connections_per_address;
    int64_t header_max, body_max, body_memory, upload_max;
    const char *spool_dir;
    const char *public_url;
    /* Live from here on. */
    int64_t header_timeout_ms, body_timeout_ms, send_timeout_ms, idle_timeout_ms;
    int64_t request_timeout_ms;
    int64_t in_flight;
    int64_t rate, rate_burst;
    const char *access_log;
    int64_t streams, heartbeat_ms;
    /* Not of the section: of the other sides. */
    enum api_side side;
    const char *secret; /* API_PEERS; live */
    const char *previous_secret; /* that is believed as well, or NULL; live */
    /* API_PEERS: PEM file with the CA whose certificate every peer has to show; read at the start only. */
    const char *tls_peer_ca;
    int32_t show_metrics; /* API_PROBES */
};

extern const struct config_table api_table;

/* Checks what the table cannot: the address, TLS files that belong together, a listener that
 * would send tokens over a network in the clear. Returns VIM_E_INVALID and why. */
int api_check(const struct api_config *config, struct failure *failure);

struct api;

/* Listens and serves. SPOOL_DIR is used for uploads if the configuration names no other; it must
 * exist. LINK must outlive the API. Errors: VIM_E_INVALID, VIM_E_UNAVAILABLE (the address is in
 * use, a file cannot be read), explained in FAILURE. */
int api_start(const struct api_config *config, const char *spool_dir, struct link *link,
              struct api **ret_api, struct failure *failure);

/* Applies the live options of CONFIG. Any thread. */
void api_configure(struct api *api, const struct api_config *config);

/* Reads certificate and key again; new connections get them. On error the old ones stay in use.
 * VIM_OK without TLS. */
int api_reload_tls(struct api *api, struct failure *failure);

/* The port it listens on (of use when the configured one was 0). */
uint16_t api_port(const struct api *api);

/* Requests in progress: from complete headers to a sent answer. */
unsigned api_in_progress(const struct api *api);

/* Open connections. */
unsigned api_connections(const struct api *api);

/* From now on answers close their connections, and streams end; everything else is taken as before. */
void api_drain(struct api *api);

/* Stops listening, lets requests in progress end for up to TIMEOUT_MS, ends what then still waits
 * for a task, answers the rest with 503 a second later, closes all connections and frees. Answers
 * that the logic gives later are dropped. NULL is fine. */
void api_stop(struct api *api, int64_t timeout_ms);

#endif
