/* What a beat says. One thread at a time; no locks here but those of the metrics. */
#include "engine/presence_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/usage.h"
#include "engine/owner.h"
#include "engine/totals.h"

/* Beats over which rates and latencies are taken. */
#define WINDOW 5u
#define ROLES_MAX 16u
#define TEXT_MAX_LENGTH 255u
#define EXPIRES_MAX_MS 86400000

/* What is measured, by the series that tell it. The blocks of higher floors are known by the names of their
 * series alone. */
static const struct measure {
    const char *name; /* block.operation */
    const char *seconds, *with; /* histogram, and which of its series */
    const char *gauge; /* in flight; NULL: told by another one */
} measures[] = {
    {"api.request", "vimd_http_request_seconds", NULL, "vimd_http_in_flight"},
    {"logic.request", "vimd_logic_request_seconds", "wait=\"false\"", "vimd_logic_in_flight"},
    {"logic.wait", "vimd_logic_request_seconds", "wait=\"true\"", NULL},
    {"worker.step", "vimd_task_step_seconds", NULL, "vimd_task_steps_in_flight"},
    {"store.get", "vimd_store_call_seconds", "operation=\"get\"", "vimd_store_in_flight"},
    {"store.scan", "vimd_store_call_seconds", "operation=\"scan\"", NULL},
    {"store.commit", "vimd_store_call_seconds", "operation=\"commit\"", NULL},
    {"queue.push", "vimd_queue_call_seconds", "operation=\"push\"", "vimd_queue_in_flight"},
    {"queue.done", "vimd_queue_call_seconds", "operation=\"done\"", NULL},
};
#define MEASURE_COUNT (sizeof(measures) / sizeof(measures[0]))

struct sample {
    int64_t at_us, cpu_us; /* at_us 0: none */
    struct metrics_sum sums[MEASURE_COUNT];
};

struct beats {
    char id[ID_SIZE];
    char *roles, *address;
    struct vims *vims; /* borrowed */
    struct totals *totals;
    char host[TEXT_MAX_LENGTH + 1];
    int64_t started, expires_ms;
    size_t count;
    struct sample samples[WINDOW + 1]; /* a ring */
};

/* May it stand in a short text of a beat? */
static bool is_plain(char c)
{
    return c > ' ' && c <= '~';
}

static void take_sample(struct sample *sample)
{
    metrics_collect();
    sample->at_us = clock_mono_us();
    sample->cpu_us = usage_cpu_us();
    for (size_t i = 0; i < MEASURE_COUNT; i++) {
        totals_sum(measures[i].seconds, measures[i].with, &sample->sums[i]);
    }
}

struct beats *beats_new(const char *id, const struct presence_settings *settings)
{
    struct beats *beats = MEMORY_NEW(struct beats);
    memcpy(beats->id, id, ID_SIZE);
    beats->roles = text_duplicate(settings->roles);
    beats->vims = settings->vims;
    beats->totals = totals_new(settings->roles);
    beats->address = text_duplicate(settings->address ? settings->address : "");
    if (gethostname(beats->host, sizeof(beats->host) - 1) != 0) {
        beats->host[0] = '\0';
    }
    for (char *c = beats->host; *c; c++) {
        *c = is_plain(*c) ? *c : '-';
    }
    beats->started = clock_now_ms();
    beats->expires_ms = settings->interval_ms * BEATS_UNTIL_DEAD;
    take_sample(&beats->samples[beats->count++]);
    return beats;
}

void beats_free(struct beats *beats)
{
    if (beats) {
        free(beats->roles);
        free(beats->address);
        totals_free(beats->totals);
        free(beats);
    }
}

static json_t *words_of(const char *words)
{
    json_t *list = json_array();
    while (*words) {
        size_t length = strcspn(words, " ");
        if (length) {
            json_array_append_new(list, json_stringn(words, length));
        }
        words += length + (words[length] == ' ');
    }
    return list;
}

/* VIMs that a beat tells of, and how much of what went wrong. */
#define VIMS_MAX 64u
#define VIM_TEXT_MAX 120

static void add_health(void *argument, struct vim_target *target)
{
    json_t *all = argument;
    struct vim_health health;
    vim_target_health(target, &health);
    if (!health.checked || json_object_size(all) >= VIMS_MAX) {
        return;
    }
    /* Cut, it may end inside of a character: then it is left out. */
    health.text[VIM_TEXT_MAX] = '\0';
    json_t *one = json_object();
    json_set_boolean(one, "reachable", health.reachable);
    json_set_boolean(one, "stuck", health.stuck);
    json_set_integer(one, "checked", health.checked);
    if (health.text[0] && text_is_utf8(health.text, strlen(health.text))) {
        json_set_text(one, "text", health.text);
    }
    json_object_set_new(all, vim_target_settings(target)->name, one);
}

static void add_ended(json_t *shown, const struct metrics_sum *before,
                      const struct metrics_sum *after)
{
    json_t *buckets = json_array();
    for (size_t b = 0; b <= METRICS_SECONDS_COUNT; b++) {
        json_array_append_new(buckets,
                              json_integer((json_int_t)(after->buckets[b] - before->buckets[b])));
    }
    json_set_integer(shown, "count", (int64_t)(after->count - before->count));
    json_object_set_new(
        shown, "seconds",
        json_real((double)(int64_t)((after->value - before->value) * 1e6 + 0.5) / 1e6));
    json_object_set_new(shown, "buckets", buckets);
}

/* What has been measured between two samples. Of what was not called nothing is told: most of a beat would be zeros, and
 * all of it is written again and again. */
static json_t *measured(const struct sample *from, const struct sample *to, int64_t *ret_in_flight)
{
    json_t *all = json_object();
    *ret_in_flight = 0;
    for (size_t i = 0; i < MEASURE_COUNT; i++) {
        const struct metrics_sum *before = &from->sums[i], *after = &to->sums[i];
        struct metrics_sum gauge = {0};
        json_t *one = json_object();
        if (after->count != before->count) {
            add_ended(one, before, after);
        }
        if (measures[i].gauge) {
            metrics_sum(measures[i].gauge, NULL, &gauge);
        }
        if ((int64_t)gauge.value) {
            json_set_integer(one, "in_flight", (int64_t)gauge.value);
        }
        if (strncmp(measures[i].name, "store.", 6) && strncmp(measures[i].name, "queue.", 6)) {
            *ret_in_flight += (int64_t)gauge.value;
        }
        if (json_object_size(one)) {
            json_object_set(all, measures[i].name, one);
        }
        json_decref(one);
    }
    return all;
}

void beats_look_at_queue(struct beats *beats, struct tasks *tasks)
{
    totals_look_at_queue(beats->totals, tasks);
}

/* No more digits than mean something: cpu is told to 0.1 ms per second. */
static double rounded(double value)
{
    return (double)(int64_t)(value * 10000 + 0.5) / 10000;
}

char *beats_next(struct beats *beats, enum presence_state state)
{
    static const char *const names[] = {
        [PRESENCE_UP] = "up", [PRESENCE_DRAINING] = "draining", [PRESENCE_GONE] = "gone"};
    struct sample *now = &beats->samples[beats->count++ % (WINDOW + 1)];
    take_sample(now);
    const struct sample *first =
        &beats->samples[beats->count > WINDOW ? beats->count % (WINDOW + 1) : 0];
    int64_t passed_us = now->at_us > first->at_us ? now->at_us - first->at_us : 1;
    double cpu = (double)(now->cpu_us - first->cpu_us) / (double)passed_us;
    double limit = usage_cpu_limit();
    int64_t in_flight;
    json_t *all = measured(first, now, &in_flight);
    CLEANUP_JSON json_t *beat = json_object();
    json_set_text(beat, "id", beats->id);
    json_object_set_new(beat, "roles", words_of(beats->roles));
    json_set_text(beat, "host", beats->host);
    json_set_integer(beat, "pid", getpid());
    json_set_text(beat, "address", beats->address);
    json_set_text(beat, "version", VIMD_VERSION);
    json_set_text(beat, "state", names[state]);
    json_set_integer(beat, "started", beats->started);
    json_set_text(beat, "owner", owner_self());
    json_set_integer(beat, "expires_ms", beats->expires_ms);
    json_object_set_new(beat, "cpu", json_real(rounded(cpu)));
    json_object_set_new(beat, "cpu_limit", json_real(limit));
    json_set_integer(beat, "memory", usage_memory());
    json_object_set_new(beat, "load", json_real(limit > 0 ? rounded(cpu / limit) : 0));
    json_set_integer(beat, "in_flight", in_flight);
    json_set_integer(beat, "window_ms", passed_us / 1000);
    json_object_set_new(beat, "measured", all);
    json_object_set_new(beat, "signals", totals_json(beats->totals));
    if (beats->vims) {
        json_t *vims = json_object();
        vims_each(beats->vims, add_health, vims);
        json_object_set_new(beat, "vims", vims);
    }
    struct text text = {0};
    json_print_measured(&text, beat);
    return text_take(&text);
}

/* --- Beats of others ------------------------------------------------------------------------------ */

void beat_free(struct beat *beat)
{
    free(beat->owner);
    free(beat->roles);
    free(beat->host);
    free(beat->address);
    free(beat->version);
    memset(beat, 0, sizeof(*beat));
}

/* A short text of printable ASCII, or NULL. */
static const char *short_text(const json_t *body, const char *member)
{
    const char *text = json_string_value(json_object_get(body, member));
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_plain(text[i])) {
            return NULL;
        }
    }
    return length <= TEXT_MAX_LENGTH ? text : NULL;
}

static int take_roles(const json_t *body, char **ret_roles)
{
    const json_t *list = json_object_get(body, "roles");
    struct text text = {0};
    for (size_t i = 0; i < json_array_size(list) && i < ROLES_MAX; i++) {
        const char *role = json_string_value(json_array_get(list, i));
        if (!role || !*role || strlen(role) > 32 ||
            role[strspn(role, "abcdefghijklmnopqrstuvwxyz-")]) {
            text_free(&text);
            return VIM_E_INVALID;
        }
        text_printf(&text, "%s%s", text.length ? " " : "", role);
    }
    if (!text.length) {
        text_free(&text);
        return VIM_E_INVALID;
    }
    *ret_roles = text_take(&text);
    return VIM_OK;
}

static int state_of(const json_t *body, enum presence_state *ret_state)
{
    const char *name = json_get_text(body, "state", "");
    if (strcmp(name, "up") == 0) {
        *ret_state = PRESENCE_UP;
    } else if (strcmp(name, "draining") == 0) {
        *ret_state = PRESENCE_DRAINING;
    } else if (strcmp(name, "gone") == 0) {
        *ret_state = PRESENCE_GONE;
    } else {
        return VIM_E_INVALID;
    }
    return VIM_OK;
}

/* Checks all members that are used by those who read rows. Texts of RET_BEAT are borrowed. */
static const char *check_beat(const json_t *body, struct beat *ret_beat)
{
    const char *id = json_get_text(body, "id", "");
    ret_beat->owner = (char *)short_text(body, "owner");
    ret_beat->host = (char *)short_text(body, "host");
    ret_beat->address = (char *)short_text(body, "address");
    ret_beat->version = (char *)short_text(body, "version");
    ret_beat->expires_ms = json_get_integer(body, "expires_ms", 0);
    ret_beat->in_flight = json_get_integer(body, "in_flight", 0);
    ret_beat->load = json_get_number(body, "load", 0);
    if (!id_valid(id)) {
        return "id";
    }
    memcpy(ret_beat->id, id, ID_SIZE);
    if (!ret_beat->owner || !*ret_beat->owner) {
        return "owner";
    }
    if (!ret_beat->host || !ret_beat->address || !ret_beat->version) {
        return ret_beat->host ? ret_beat->address ? "version" : "address" : "host";
    }
    if (ret_beat->expires_ms < 1 || ret_beat->expires_ms > EXPIRES_MAX_MS) {
        return "expires_ms";
    }
    return state_of(body, &ret_beat->state) == VIM_OK ? NULL : "state";
}

int beat_parse(const char *text, size_t length, struct beat *ret_beat, struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    struct json_limits limits = {.size = BEAT_SIZE_MAX, .depth = 8};
    struct json_fault fault;
    struct beat beat = {0};
    char *roles = NULL;
    if (json_parse(text, length, &limits, &body, &fault) != VIM_OK) {
        return failure_set(failure, VIM_E_INVALID, "a heartbeat is not readable: %s", fault.text);
    }
    const char *wrong = json_is_object(body) ? check_beat(body, &beat) : "body";
    if (!wrong && take_roles(body, &roles) != VIM_OK) {
        wrong = "roles";
    }
    if (wrong) {
        return failure_set(failure, VIM_E_INVALID, "the %s of a heartbeat is not valid", wrong);
    }
    *ret_beat = beat;
    ret_beat->roles = roles;
    ret_beat->owner = text_duplicate(beat.owner);
    ret_beat->host = text_duplicate(beat.host);
    ret_beat->address = text_duplicate(beat.address);
    ret_beat->version = text_duplicate(beat.version);
    return VIM_OK;
}
