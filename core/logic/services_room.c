/*
 * logic/services_room.c - has the VIM room for a network service? Its quotas, zones and hosts are asked for before
 * anything is made. What it does not tell is not held against the service.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "logic/services.h"

/* What was told so long ago will do for saying yes; before anybody is refused the VIM is asked again. */
#define RECENT_MS 1000
/* Nobody waits longer than that for what is only a precaution. */
#define LOOK_MAX_MS 10000

enum step { STEP_QUOTAS, STEP_ZONES, STEP_HOSTS, STEP_COUNT };

static const struct {
    const char *kind;
    enum service_room room;
} steps[STEP_COUNT] = {{"quota", ROOM_QUOTA}, {"zone", ROOM_CAPACITY}, {"host", ROOM_CAPACITY}};

/* Lives until DONE is called. */
struct asking {
    struct service_check *check;
    struct vim_target *target;
    service_room_fn done;
    void *argument;
    int64_t began;
    unsigned step;
    bool again; /* this step's answer is as new as the request */
};

static void ask(struct asking *asking);

static void not_told(struct asking *asking, enum service_room room, const char *why)
{
    struct service_check *check = asking->check;
    check->untold |= 1u << room;
    snprintf(check->why[room], sizeof(check->why[room]), "%.255s", why);
}

static bool is_of_interest(const struct demand *demand, unsigned step)
{
    bool zone = false;
    for (uint32_t i = 0; i < demand->server_count; i++) {
        zone = zone || demand->servers[i].zone;
    }
    return step == STEP_QUOTAS || (step == STEP_ZONES ? zone : demand->server_count > 0);
}

static json_t *list_of(const struct vim_item *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *body = NULL;
        if (items[i].body &&
            json_parse(items[i].body, strlen(items[i].body), NULL, &body, NULL) == VIM_OK) {
            json_array_append_new(list, body);
        }
    }
    return list;
}

/* Adds what LIST shows not to suffice. */
static void compare(struct asking *asking, const json_t *list)
{
    struct service_check *check = asking->check;
    switch (asking->step) {
    case STEP_QUOTAS:
        json_decref(check->quotas);
        check->quotas = json_incref((json_t *)(uintptr_t)list);
        demand_check_quotas(&check->demand, list, &check->findings);
        break;
    case STEP_ZONES:
        demand_check_zones(&check->demand, list, &check->findings);
        break;
    default:
        demand_check_hosts(&check->demand, list, &check->findings);
        break;
    }
}

static void told(void *argument, int code, const struct vim_item *items, size_t count,
                 const struct failure *failure)
{
    struct asking *asking = argument;
    struct findings *findings = &asking->check->findings;
    if (code != VIM_OK) {
        not_told(asking, steps[asking->step].room, failure ? failure->text : "");
    } else {
        CLEANUP_JSON json_t *list = list_of(items, count);
        size_t before = findings->count;
        compare(asking, list);
        if (findings->count > before && !asking->again) {
            /* It may be long past: once more, as of now. */
            findings->count = before;
            asking->again = true;
            ask(asking);
            return;
        }
    }
    asking->again = false;
    asking->step++;
    ask(asking);
}

static int64_t time_for(const struct asking *asking)
{
    int64_t timeout = vim_target_settings(asking->target)->call_timeout_ms;
    int64_t left = logic_left_ms(asking->check->call) / 2;
    timeout = timeout < left ? timeout : left;
    return timeout < LOOK_MAX_MS ? timeout : LOOK_MAX_MS;
}

static void end(struct asking *asking)
{
    service_room_fn done = asking->done;
    void *argument = asking->argument;
    vim_target_release(asking->target);
    free(asking);
    done(argument);
}

/* Asks for the next thing that matters, or ends. */
static void ask(struct asking *asking)
{
    while (asking->step < STEP_COUNT) {
        const char *kind = steps[asking->step].kind;
        const struct vim_trait *trait = vim_target_trait(asking->target, kind);
        if (!is_of_interest(&asking->check->demand, asking->step)) {
            asking->step++;
        } else if (!trait || !(trait->verbs & VIM_VERB_LOOK)) {
            char why[96];
            snprintf(why, sizeof(why), "the driver does not tell of any %s", kind);
            not_told(asking, steps[asking->step].room, why);
            asking->step++;
        } else {
            int64_t since = asking->again ? asking->began : asking->began - RECENT_MS;
            vim_target_recall(asking->target, kind, since, time_for(asking), told, asking);
            return;
        }
    }
    end(asking);
}

void service_check_room(struct service_check *check, struct vim_target *target,
                        service_room_fn done, void *argument)
{
    const struct vim_settings *settings = vim_target_settings(target);
    struct asking *asking = MEMORY_NEW(struct asking);
    struct vim_health health;
    *asking =
        (struct asking){.check = check,
                        .target = vims_get(check->call->logic->environment.vims, settings->name),
                        .done = done,
                        .argument = argument,
                        .began = clock_mono_ms()};
    vim_target_health(target, &health);
    bool silent = health.stuck || (health.checked && !health.reachable);
    const char *why = NULL;
    if (!settings->check_quota) {
        why = "check_quota of the VIM is off";
    } else if (silent || !asking->target) {
        why = "the VIM does not answer";
    }
    if (why) {
        not_told(asking, ROOM_QUOTA, why);
        not_told(asking, ROOM_CAPACITY, why);
    }
    if (why || !demand_is_some(&check->demand)) {
        end(asking);
    } else {
        ask(asking);
    }
}
