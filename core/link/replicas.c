/*
 * The replicas of the logic: which there are, how they are, and which of them is asked next.
 */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "link/remote.h"
#include "logic/peers.h"

/* Shorter than the other end's patience, so that it never closes what is just being used. */
#define IDLE_MS 30000
/* So many times as much under way is another load, not chance. */
#define MUCH_BUSIER 2
/* After so long, what a replica was chosen for counts half. */
#define CHOSEN_HALVES_MS 2000

static const char *const replica_states[] = {"unknown", "up", "sick", "draining", "down"};

static void replica_close_idle(struct remote *remote, struct replica *replica)
{
    while (replica->idle) {
        wire_close(remote, replica->idle);
    }
}

static void replicas_count(struct remote *remote)
{
    unsigned up = 0;
    for (struct replica *one = remote->replicas; one; one = one->next) {
        up += one->wanted && one->state == REPLICA_UP;
    }
    if (up > 0 && atomic_load(&remote->up) == 0) {
        remote->up_since = clock_mono_ms();
    }
    atomic_store(&remote->up, up);
}

/* Who joins has nothing to make up for. */
static uint64_t replicas_chosen(const struct remote *remote)
{
    uint64_t sum = 0, count = 0;
    for (const struct replica *one = remote->replicas; one; one = one->next) {
        if (one->wanted && one->state == REPLICA_UP) {
            sum += one->chosen;
            count++;
        }
    }
    return count ? sum / count : 0;
}

void replica_set(struct remote *remote, struct replica *replica, enum replica_state state,
                 const char *why)
{
    enum replica_state before = replica->state;
    /* A broken connection says less than what is known of it by now. */
    if (before == state || (state == REPLICA_UNKNOWN && before != REPLICA_UP)) {
        return;
    }
    if (state == REPLICA_UP) {
        replica->chosen = replicas_chosen(remote);
    }
    replica->state = state;
    replica->since = clock_mono_ms();
    log_event(state == REPLICA_DOWN || state == REPLICA_SICK ? VIM_WARNING : VIM_INFO,
              "a logic process has changed", "address=%s state=%s before=%s reason=%s",
              replica->name, replica_states[state], replica_states[before], why ? why : "");
    if (state == REPLICA_UP) {
        remote->try_queue = true;
    } else {
        replica_close_idle(remote, replica);
    }
    if (state == REPLICA_UNKNOWN || state == REPLICA_DRAINING) {
        replica->probe_due = replica->since;
    }
    replicas_count(remote);
}

/* --- The list ---------------------------------------------------------------------------------- */

static struct replica *replicas_find(struct remote *remote, const struct address *address)
{
    for (struct replica *one = remote->replicas; one; one = one->next) {
        if (address_equal(&one->address, address)) {
            return one;
        }
    }
    return NULL;
}

static void replicas_add(struct remote *remote, const struct address *address)
{
    struct replica *replica = replicas_find(remote, address);
    if (!replica) {
        struct text name = {0};
        address_format(address, &name);
        replica = MEMORY_NEW(struct replica);
        replica->address = *address;
        replica->name = text_take(&name);
        replica->next = remote->replicas;
        remote->replicas = replica;
        log_event(VIM_INFO, "a logic process is known", "address=%s", replica->name);
    }
    replica->wanted = true;
}

static void replica_free(struct replica *replica)
{
    free(replica->name);
    free(replica);
}

/* Lets those go that are not wanted any more, once nothing of them is under way. */
static void replicas_drop(struct remote *remote)
{
    for (struct replica **place = &remote->replicas; *place;) {
        struct replica *replica = *place;
        if (replica->wanted || replica->in_flight > 0 || replica->probe) {
            place = &replica->next;
            continue;
        }
        replica_close_idle(remote, replica);
        log_event(VIM_INFO, "a logic process is forgotten", "address=%s", replica->name);
        *place = replica->next;
        replica_free(replica);
    }
}

void replicas_update(struct remote *remote)
{
    for (struct replica *one = remote->replicas; one; one = one->next) {
        one->wanted = false;
    }
    pthread_mutex_lock(&remote->mutex);
    for (size_t source = 0; source < SOURCE_COUNT; source++) {
        for (size_t i = 0; i < remote->known[source].count; i++) {
            replicas_add(remote, &remote->known[source].items[i]);
        }
    }
    remote->known_changed = false;
    pthread_mutex_unlock(&remote->mutex);
    replicas_drop(remote);
    replicas_count(remote);
    remote->try_queue = true;
}

void replicas_free(struct remote *remote)
{
    while (remote->replicas) {
        struct replica *replica = remote->replicas;
        remote->replicas = replica->next;
        replica_close_idle(remote, replica);
        replica_free(replica);
    }
}

/* --- Choice ------------------------------------------------------------------------------------ */

static uint64_t replicas_random(struct remote *remote)
{
    remote->seed ^= remote->seed << 13;
    remote->seed ^= remote->seed >> 7;
    remote->seed ^= remote->seed << 17;
    return remote->seed;
}

/* How much a replica is worth being asked: 0 not at all. */
static unsigned replica_grade(const struct replica *replica)
{
    switch (replica->wanted ? replica->state : REPLICA_DOWN) {
    case REPLICA_UP:
        return 3;
    case REPLICA_UNKNOWN:
        return 2;
    case REPLICA_SICK:
    case REPLICA_DRAINING:
        return 1;
    default:
        return 0;
    }
}

/* Much less is under way there; or about as much, and it had fewer lately. A replica that its host lets
 * wait for some milliseconds is some requests behind, which says little about how busy it is: going by
 * each of them gives the fewest requests to who has bad luck with the scheduler. */
static bool replica_goes_before(const struct replica *one, const struct replica *other)
{
    if (one->in_flight * MUCH_BUSIER < other->in_flight) {
        return true;
    }
    return one->in_flight <= other->in_flight * MUCH_BUSIER && one->chosen < other->chosen;
}

struct replica *replicas_choose(struct remote *remote, const struct flight *flight, bool *ret_full)
{
    struct replica *first = NULL, *second = NULL;
    unsigned best = 1, count = 0;
    unsigned limit = (unsigned)remote_live(&remote->live.requests);
    *ret_full = false;
    for (struct replica *one = remote->replicas; one; one = one->next) {
        unsigned grade = replica_grade(one);
        if (grade < best || flight_has_tried(flight, one)) {
            continue;
        }
        if (grade > best) {
            best = grade;
            count = 0;
            first = second = NULL;
            *ret_full = false;
        }
        if (one->in_flight >= limit && !flight->request->peer) { /* this service's own are few */
            *ret_full = true;
            continue;
        }
        /* A sample of two out of those seen so far, each pair as likely as any other. */
        count++;
        uint64_t at = replicas_random(remote) % count;
        if (count == 1) {
            first = one;
        } else if (count == 2) {
            second = one;
        } else if (at < 2) {
            *(at == 0 ? &first : &second) = one;
        }
    }
    if (second && replica_goes_before(second, first)) {
        first = second;
    }
    if (first) {
        first->chosen++;
    }
    return first;
}

/* --- Probes ------------------------------------------------------------------------------------ */

struct probe {
    struct remote *remote;
    struct replica *replica;
};

static const struct request probe_request = {
    .method = "GET", .path = PEERS_STATE, .target = PEERS_STATE, .peer = true};

/* Addresses that a replica knows of. */
static void probe_take_others(struct remote *remote, const json_t *list)
{
    size_t count = json_array_size(list);
    const char **texts = memory_new_array(count + 1, sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        texts[i] = text ? text : "";
    }
    link_set_replicas(&remote->link, texts, count);
    free(texts);
}

static void probe_answered(struct remote *remote, struct replica *replica,
                           const struct response *response)
{
    CLEANUP_JSON json_t *state = NULL;
    if (json_parse(response->body, response->body_length, NULL, &state, NULL) ||
        !json_is_object(state)) {
        replica_set(remote, replica, REPLICA_DOWN, "it tells nothing that is understood");
        return;
    }
    bool draining = json_is_true(json_object_get(state, "draining"));
    replica_set(remote, replica, draining ? REPLICA_DRAINING : REPLICA_UP,
                draining ? "it is about to end" : "it answers");
    const json_t *others = json_object_get(state, "replicas");
    if (json_is_array(others) && !draining) {
        probe_take_others(remote, others);
    }
}

static void probe_done(void *argument, struct response *response)
{
    struct probe *probe = argument;
    struct remote *remote = probe->remote;
    struct replica *replica = probe->replica;
    replica->probe = NULL;
    replica->probe_due = clock_mono_ms() + remote_live(&remote->live.probe_interval_ms);
    free(probe);
    if (response->status == 200) {
        probe_answered(remote, replica, response);
    } else if (response->status == 401) {
        replica_set(remote, replica, REPLICA_DOWN, "the secret of the link is another one there");
    } else if (response->status == 504) {
        replica_set(remote, replica, REPLICA_SICK, "it does not answer in time");
        replica->leave = true; /* not here, in the middle of the list of flights */
    }
}

static void replica_probe(struct remote *remote, struct replica *replica, int64_t now)
{
    struct probe *probe = MEMORY_NEW(struct probe);
    *probe = (struct probe){remote, replica};
    struct flight *flight = flight_new(&probe_request, probe_done, probe);
    flight->only = replica;
    flight->deadline = now + remote_live(&remote->live.probe_timeout_ms);
    replica->probe = flight;
    flight_start(remote, flight);
}

void replicas_tick(struct remote *remote, int64_t now)
{
    if (now - remote->halved >= CHOSEN_HALVES_MS) {
        remote->halved = now;
        for (struct replica *one = remote->replicas; one; one = one->next) {
            one->chosen /= 2;
        }
    }
    for (struct replica *one = remote->replicas; one; one = one->next) {
        while (one->idle && now - one->idle->since > IDLE_MS) {
            wire_close(remote, one->idle);
        }
        /* The one used last is first, so the others may be old still. */
        for (struct wire *wire = one->idle, *next; wire; wire = next) {
            next = wire->next_idle;
            if (now - wire->since > IDLE_MS) {
                wire_close(remote, wire);
            }
        }
        if (one->wanted && !one->probe && one->probe_due <= now) {
            replica_probe(remote, one, now);
        }
    }
    for (struct replica *one = remote->replicas; one; one = one->next) {
        if (one->leave) {
            one->leave = false;
            flights_leave(remote, one);
        }
    }
    replicas_drop(remote);
}
