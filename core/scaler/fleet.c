#include "scaler/fleet_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#define BEAT_SIZE_MAX 131072u
#define BEATS_UNTIL_DEAD 5 /* expires_ms is so many intervals */
/* A clock that differs from the monotonic one by more between two heartbeats was set. */
#define CLOCK_SET_MS 1000

static const char *const role_names[ROLE_COUNT] = {"api", "logic", "worker"};
static const char *const caller_names[CALLERS] = {"api", "logic", "worker", "aside"};
static const char *const callee_names[CALLEES] = {"logic", "store", "queue", "nfvi"};

static int index_of(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (text_equal(name, names[i])) {
            return i;
        }
    }
    return -1;
}

int fleet_role(const char *name)
{
    return index_of(name, role_names, ROLE_COUNT);
}

int fleet_callee(const char *name)
{
    return index_of(name, callee_names, CALLEES);
}

struct fleet *fleet_new(const struct service *service)
{
    struct fleet *fleet = MEMORY_NEW(struct fleet);
    fleet->service = service;
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (fleet) {
        free(fleet->items);
        free(fleet);
    }
}

size_t fleet_count(const struct fleet *fleet)
{
    size_t count = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        count += fleet->items[i].listed;
    }
    return count;
}

int64_t fleet_lag_ms(const struct fleet *fleet)
{
    return fleet->lag;
}

/* --- One heartbeat ---------------------------------------------------------------------------------- */

/* NaN for what is no number, or negative: no total is. */
static double number(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    return number >= 0 ? number : NAN;
}

static void read_block(const json_t *block, double *totals)
{
    static const char *const names[] = {"in_flight_us", "own_us",  "queued_us", "began",
                                        "ended",        "seconds", "errors"};
    const json_t *buckets = json_object_get(block, "buckets");
    for (int i = 0; i < B_BUCKETS; i++) {
        totals[i] = number(block, names[i]);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        const json_t *count = json_array_get(buckets, i);
        totals[B_BUCKETS + i] = json_is_number(count) ? json_number_value(count) : NAN;
    }
}

/* An edge that was never used is not told. */
static void read_edges(const json_t *edges, double *totals)
{
    for (int caller = 0; caller < CALLERS; caller++) {
        for (int callee = 0; callee < CALLEES; callee++) {
            CLEANUP_FREE char *name =
                text_format("%s>%s", caller_names[caller], callee_names[callee]);
            const json_t *edge = json_object_get(edges, name);
            totals[EDGE_TOTAL(caller, callee, E_IN)] = edge ? number(edge, "in_flight_us") : 0;
            totals[EDGE_TOTAL(caller, callee, E_BEGAN)] = edge ? number(edge, "began") : 0;
        }
    }
}

static void read_totals(const json_t *signals, struct replica *replica, double *totals)
{
    static const char *const pressures[] = {"cpu", "memory", "io"};
    const json_t *pressure = json_object_get(signals, "pressure");
    /* The whole machine's pressure is nobody's in particular. */
    bool own_pressure = !json_get_boolean(pressure, "system", false);
    totals[T_CPU] = number(signals, "cpu_us");
    totals[T_PERIODS] = number(signals, "periods");
    totals[T_THROTTLED] = number(signals, "throttled");
    for (int i = 0; i < 3; i++) {
        totals[T_PRESSURE + i] = own_pressure ? number(pressure, pressures[i]) : NAN;
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        const json_t *block = json_object_get(json_object_get(signals, "blocks"), role_names[i]);
        replica->has[i] = block != NULL;
        replica->threads[i] = number(block, "threads");
        read_block(block, totals + BLOCK_TOTAL(i, 0));
    }
    read_edges(json_object_get(signals, "edges"), totals);
    for (int i = 0; i < CALLEES; i++) {
        const json_t *tcp = json_object_get(json_object_get(signals, "tcp"), callee_names[i]);
        replica->rtt_ms[i] = number(tcp, "rtt_ms");
        totals[T_RETRANSMITS + i] = tcp ? number(tcp, "retransmits") : NAN;
        totals[T_NETWORK + i] = tcp ? number(tcp, "network_us") : NAN;
    }
}

static struct replica *find_replica(struct fleet *fleet, const char *id)
{
    for (size_t i = 0; i < fleet->count; i++) {
        if (strcmp(fleet->items[i].id, id) == 0) {
            return &fleet->items[i];
        }
    }
    fleet->items = memory_resize(fleet->items, fleet->count + 1, sizeof(*fleet->items));
    struct replica *replica = &fleet->items[fleet->count++];
    memset(replica, 0, sizeof(*replica));
    memcpy(replica->id, id, ID_SIZE);
    return replica;
}

/* Has the process begun anew, or its clock been set, since the sample before? */
static bool is_other(const struct sample *before, const struct sample *sample)
{
    int64_t passed = (sample->mono_us - before->mono_us) / 1000;
    if (passed < 0 || llabs(sample->at - before->at - passed) > CLOCK_SET_MS) {
        return true;
    }
    for (int i = 0; i < TOTALS; i++) {
        if (sample->totals[i] < before->totals[i]) {
            return true;
        }
    }
    return false;
}

static void push(struct replica *replica, const struct sample *sample)
{
    if (replica->count == SAMPLES) {
        replica->from_start = false;
        memmove(replica->samples, replica->samples + 1, (SAMPLES - 1) * sizeof(*sample));
        replica->count--;
    }
    replica->samples[replica->count++] = *sample;
}

/* How old heartbeats are when they are read tells how far the clocks are apart: see the head of fleet.h. */
static void estimate_skew(struct replica *replica, int64_t age)
{
    int64_t youngest = age;
    replica->ages[replica->age_count++ % SAMPLES] = age;
    for (uint32_t i = 0; i < replica->age_count && i < SAMPLES; i++) {
        youngest = replica->ages[i] < youngest ? replica->ages[i] : youngest;
    }
    bool believed = youngest >= -CLOCK_SET_MS && youngest <= 2 * replica->interval + CLOCK_SET_MS;
    replica->skew = believed ? 0 : youngest;
}

static void add_sample(struct fleet *fleet, struct replica *replica, int64_t started,
                       const struct sample *sample)
{
    const struct sample *before = replica->count ? &replica->samples[replica->count - 1] : NULL;
    if (before && before->mono_us == sample->mono_us) {
        return; /* read before */
    }
    if (before && is_other(before, sample)) {
        replica->count = replica->age_count = 0;
        replica->from_start = false;
    } else if (!before && started <= sample->at &&
               sample->at - started <= BEATS_UNTIL_DEAD * replica->interval) {
        replica->from_start = true;
        struct sample first = {.at = started,
                               .mono_us = sample->mono_us - (sample->at - started) * 1000};
        for (int i = 0; i < TOTALS; i++) { /* the group's totals were not 0 */
            first.totals[i] = i >= T_PERIODS && i < T_BLOCKS ? NAN : 0;
        }
        push(replica, &first);
    }
    push(replica, sample);
    estimate_skew(replica, fleet->now - sample->at);
}

void fleet_take(struct fleet *fleet, const char *text, size_t length)
{
    CLEANUP_JSON json_t *beat = NULL;
    struct json_limits limits = {.size = BEAT_SIZE_MAX, .depth = 8};
    if (json_parse(text, length, &limits, &beat, NULL) != VIM_OK) {
        return;
    }
    const json_t *signals = json_object_get(beat, "signals");
    const char *id = json_get_text(beat, "id", "");
    struct sample sample = {.at = json_get_integer(signals, "at", 0),
                            .mono_us = json_get_integer(signals, "mono_us", 0)};
    if (!id_valid(id) || sample.at <= 0 || sample.mono_us <= 0) {
        return;
    }
    struct replica *replica = find_replica(fleet, id);
    const json_t *queue = json_object_get(signals, "queue");
    replica->listed = true;
    replica->up = text_equal(json_get_text(beat, "state", ""), "up");
    replica->interval = json_get_integer(beat, "expires_ms", 0) / BEATS_UNTIL_DEAD;
    replica->cores = number(signals, "cores");
    replica->memory = number(signals, "memory");
    replica->has_queue = queue != NULL;
    replica->queue_waiting = number(queue, "waiting");
    replica->queue_at = json_get_integer(queue, "at_ms", 0);
    read_totals(signals, replica, sample.totals);
    add_sample(fleet, replica, json_get_integer(beat, "started", 0), &sample);
}

/* --- All heartbeats ---------------------------------------------------------------------------------- */

void fleet_look(struct fleet *fleet, int64_t now)
{
    fleet->now = now;
    for (size_t i = 0; i < fleet->count; i++) {
        fleet->items[i].listed = false;
    }
}

void fleet_end(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++) {
        /* One heartbeat may be as old as an interval, and it takes a moment until it is read. */
        int64_t lag = fleet->items[i].interval * 3 / 2;
        fleet->lag = fleet->items[i].listed && lag > fleet->lag ? lag : fleet->lag;
    }
}
