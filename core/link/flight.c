/*
 * A request on its way. What may be made again after a try that came to nothing:
 *
 *   nothing of it was sent, or it was refused unseen       any request
 *   it may have had its effect                             reads, and what has an Idempotency-Key and
 *                                                          is of those that heed it
 *
 * Everything else is told to the client as it is: the outcome is unknown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/integral.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "link/remote.h"

#define TOO_MANY "all that could answer have more requests than they take"

bool flight_has_key(const struct request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, "idempotency-key") == 0) {
            return true;
        }
    }
    return false;
}

struct flight *flight_new(const struct request *request, logic_respond_fn respond, void *argument)
{
    struct flight *flight = MEMORY_NEW(struct flight);
    flight->request = request;
    flight->respond = respond;
    flight->argument = argument;
    flight->deadline = request->deadline;
    flight->repeatable =
        strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    return flight;
}

bool flight_has_tried(const struct flight *flight, const struct replica *replica)
{
    for (unsigned i = 0; i < flight->tries; i++) {
        if (flight->tried[i] == replica) {
            return true;
        }
    }
    return false;
}

/* For room, that is: while there was nobody to ask does not count. */
static int64_t flight_waited(const struct remote *remote, const struct flight *flight)
{
    int64_t since = flight->started > remote->up_since ? flight->started : remote->up_since;
    return clock_mono_ms() - since;
}

/* --- Lists ------------------------------------------------------------------------------------- */

static void flights_add(struct flights *list, struct flight *flight)
{
    flight->next = NULL;
    flight->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = flight;
    list->last = flight;
}

static void flights_remove(struct flights *list, struct flight *flight)
{
    *(flight->previous ? &flight->previous->next : &list->first) = flight->next;
    *(flight->next ? &flight->next->previous : &list->last) = flight->previous;
    flight->next = flight->previous = NULL;
}

/* --- The end ----------------------------------------------------------------------------------- */

/* Answers and frees. FLIGHT is in the list of the active ones. */
static void flight_end(struct remote *remote, struct flight *flight, struct response *response)
{
    flights_remove(&remote->active, flight);
    /* The logic that takes an upload has a copy of its own. */
    if (flight->request->body_path && response->status < 400) {
        unlink(flight->request->body_path);
    }
    flight->respond(flight->argument, response);
    free(response->body);
    free(flight);
}

static void flight_end_with_problem(struct remote *remote, struct flight *flight, int status,
                                    const char *code, const char *detail, bool retryable)
{
    struct response response = {0};
    uint32_t retry_after_ms = status == 503 ? 1000 : 0;
    logic_problem(status, code, detail, flight->request->request_id, retryable, retry_after_ms,
                  &response);
    struct header header = {"Retry-After", "1"};
    if (status == 503) {
        response.headers = &header;
        response.header_count = 1;
        metric_add(remote->shed, 1);
    }
    flight_end(remote, flight, &response);
}

static void flight_end_unknown(struct remote *remote, struct flight *flight, const char *why)
{
    metric_add(remote->unknown, 1);
    log_event(VIM_WARNING, "the outcome of a request is unknown",
              "request=%s method=%s path=%s reason=%s",
              flight->request->request_id ? flight->request->request_id : "",
              flight->request->method, flight->request->path, why);
    flight_end_with_problem(remote, flight, 502, "lost",
                            "the process that worked on it broke off; what was asked for may have "
                            "happened: look, or ask with an Idempotency-Key, before asking again",
                            false);
}

/* --- Tries ------------------------------------------------------------------------------------- */

static void flight_queue(struct remote *remote, struct flight *flight)
{
    int64_t now = clock_mono_ms();
    if ((int64_t)atomic_load(&remote->queued) >= remote_live(&remote->live.queue)) {
        flight_end_with_problem(remote, flight, 503, "overloaded",
                                "more requests are waiting than this service takes", true);
        return;
    }
    if (!flight->queue_until) {
        flight->queue_until = now + remote_live(&remote->live.queue_wait_ms);
    }
    flights_remove(&remote->active, flight);
    flight->tries = 0;
    flight->is_queued = true;
    if (flight->counted) {
        integral_wait(API_TO_LOGIC, clock_mono_us());
    }
    flights_add(&remote->queue, flight);
    atomic_fetch_add(&remote->queued, 1);
}

static void flight_try(struct remote *remote, struct flight *flight)
{
    bool full = false;
    struct replica *replica = flight->only ? flight->only : replicas_choose(remote, flight, &full);
    if (replica && flight->tries < FLIGHT_TRIES) {
        flight->tried[flight->tries++] = replica;
        wire_start(remote, replica, flight);
    } else if (flight->busy && !full) {
        flight_end_with_problem(remote, flight, 503, "overloaded", TOO_MANY, true);
    } else {
        flight_queue(remote, flight);
    }
}

void flight_start(struct remote *remote, struct flight *flight)
{
    flight->started = clock_mono_ms();
    flights_add(&remote->active, flight);
    flight_try(remote, flight);
}

void flight_failed(struct remote *remote, struct flight *flight, const char *why)
{
    if (flight->only) {
        struct response response = {.status = 502};
        flight_end(remote, flight, &response);
        return;
    }
    if (flight->sent && !flight->repeatable) {
        flight_end_unknown(remote, flight, why);
        return;
    }
    metric_add(remote->retries, 1);
    flight_try(remote, flight);
}

void flight_answered(struct remote *remote, struct flight *flight, const struct message *message,
                     char *body, size_t length)
{
    if (message->refused && !flight->only && (message->status == 503 || message->status == 401)) {
        free(body);
        if (message->status == 401) {
            replica_set(remote, flight->tried[flight->tries - 1], REPLICA_DOWN,
                        "the secret of the link is another one there");
        }
        flight->busy |= message->status == 503;
        if (flight->busy && remote_is_long(remote, flight_waited(remote, flight))) {
            /* It has waited for a thread there, and would wait as long elsewhere. */
            flight_end_with_problem(remote, flight, 503, "overloaded", TOO_MANY, true);
            return;
        }
        metric_add(remote->retries, 1);
        flight_try(remote, flight);
        return;
    }
    struct response response = {.status = message->status,
                                .content_type = message->content_type,
                                .headers = message->headers,
                                .header_count = message->header_count,
                                .body = body,
                                .body_length = length};
    flight_end(remote, flight, &response);
}

void flights_leave(struct remote *remote, struct replica *replica)
{
    for (struct flight *flight = remote->active.first, *next; flight; flight = next) {
        next = flight->next;
        struct wire *wire = flight->wire;
        if (!wire || wire->replica != replica || flight->only || !flight->repeatable ||
            atomic_load(&remote->up) == 0) {
            continue;
        }
        wire_close(remote, wire);
        metric_add(remote->retries, 1);
        flight_try(remote, flight);
    }
}

/* --- The queue --------------------------------------------------------------------------------- */

/* Back among the active ones. */
static void flight_unqueue(struct remote *remote, struct flight *flight)
{
    flights_remove(&remote->queue, flight);
    atomic_fetch_sub(&remote->queued, 1);
    flight->is_queued = false;
    if (flight->counted) {
        integral_go_on(API_TO_LOGIC, clock_mono_us());
    }
    flights_add(&remote->active, flight);
}

/* Tells those that come how long they would wait: as long as FLIGHT, which leaves the queue. */
static void flights_note_wait(struct remote *remote, const struct flight *flight)
{
    atomic_store_explicit(&remote->waited_ms,
                          remote->queue.first ? flight_waited(remote, flight) : 0,
                          memory_order_relaxed);
}

void flights_dequeue(struct remote *remote)
{
    remote->try_queue = false;
    struct flight *last = remote->queue.last;
    for (struct flight *flight = remote->queue.first, *next; flight; flight = next) {
        next = flight == last ? NULL : flight->next;
        bool full = false;
        if (!replicas_choose(remote, flight, &full)) {
            return; /* what holds for the first holds for those behind it */
        }
        flight_unqueue(remote, flight);
        flights_note_wait(remote, flight);
        flight_try(remote, flight);
    }
}

/* --- Time -------------------------------------------------------------------------------------- */

static void flight_expire(struct remote *remote, struct flight *flight)
{
    if (flight->wire) {
        wire_close(remote, flight->wire);
    }
    flight_end_with_problem(remote, flight, 504, "timeout",
                            "no answer in time; what was asked for may still happen",
                            flight->repeatable);
}

void flights_tick(struct remote *remote, int64_t now)
{
    for (struct flight *flight = remote->active.first, *next; flight; flight = next) {
        next = flight->next;
        if (flight->deadline <= now) {
            flight_expire(remote, flight);
        }
    }
    for (struct flight *flight = remote->queue.first, *next; flight; flight = next) {
        next = flight->next;
        if (flight->queue_until <= now || flight->deadline <= now) {
            flight_unqueue(remote, flight);
            flights_note_wait(remote, flight);
            flight_end_with_problem(remote, flight, 503, "unavailable",
                                    atomic_load(&remote->up)
                                        ? TOO_MANY
                                        : "nothing that could answer can be reached now",
                                    true);
        }
    }
}

void flights_end_waits(struct remote *remote, bool all)
{
    for (struct flight *flight = remote->active.first; flight; flight = flight->next) {
        const atomic_bool *unattended = flight->request->unattended;
        if (flight->wire && !flight->only && (all || (unattended && atomic_load(unattended)))) {
            wire_leave(flight->wire);
        }
    }
}

void flights_abandon(struct remote *remote)
{
    while (remote->queue.first) {
        flight_unqueue(remote, remote->queue.first);
    }
    while (remote->active.first) {
        struct flight *flight = remote->active.first;
        if (flight->wire) {
            wire_close(remote, flight->wire);
        }
        flight_end_with_problem(remote, flight, 503, "shutting-down",
                                "this service is shutting down", true);
    }
}
