#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "logic/room.h"

/* What was told so long ago will do for saying yes; before anybody is refused the VIM is asked again. */
#define RECENT_MS 1000
/* Nobody waits longer than that for what is only a precaution. */
#define LOOK_MAX_MS 10000

enum step { STEP_QUOTAS, STEP_ZONES, STEP_HOSTS, STEP_COUNT };

static const struct {
    const char *kind;
    enum room_aspect aspect;
} steps[STEP_COUNT] = {{"quota", ROOM_QUOTA}, {"zone", ROOM_CAPACITY}, {"host", ROOM_CAPACITY}};

/* Lives until DONE is called. */
struct asking {
    struct room *room;
    struct call *call;
    struct findings *findings;
    struct vim_target *target;
    room_fn done;
    void *argument;
    int64_t began;
    unsigned step;
    bool again; /* this step's answer is as new as the request */
};

static void ask(struct asking *asking);

static void not_told(struct room *room, enum room_aspect aspect, const char *why)
{
    room->untold |= 1u << aspect;
    snprintf(room->why[aspect], sizeof(room->why[aspect]), "%.255s", why);
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
    struct room *room = asking->room;
    switch (asking->step) {
    case STEP_QUOTAS:
        json_decref(room->quotas);
        room->quotas = json_incref((json_t *)(uintptr_t)list);
        demand_check_quotas(&room->demand, list, asking->findings);
        break;
    case STEP_ZONES:
        demand_check_zones(&room->demand, list, asking->findings);
        break;
    default:
        demand_check_hosts(&room->demand, list, asking->findings);
        break;
    }
}

static void told(void *argument, int code, const struct vim_item *items, size_t count,
                 const struct failure *failure)
{
    struct asking *asking = argument;
    struct findings *findings = asking->findings;
    if (code != VIM_OK) {
        not_told(asking->room, steps[asking->step].aspect, failure ? failure->text : "");
    } else {
        json_t *list = list_of(items, count);
        size_t before = findings->count;
        compare(asking, list);
        json_decref(list); /* before another thread may be asked to go on */
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
    int64_t left = logic_left_ms(asking->call) / 2;
    timeout = timeout < left ? timeout : left;
    return timeout < LOOK_MAX_MS ? timeout : LOOK_MAX_MS;
}

static void end(struct asking *asking)
{
    room_fn done = asking->done;
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
        if (!is_of_interest(&asking->room->demand, asking->step)) {
            asking->step++;
        } else if (!trait || !(trait->verbs & VIM_VERB_LOOK)) {
            char why[96];
            snprintf(why, sizeof(why), "the driver does not tell of any %s", kind);
            not_told(asking->room, steps[asking->step].aspect, why);
            asking->step++;
        } else {
            int64_t since = asking->again ? asking->began : asking->began - RECENT_MS;
            vim_target_recall(asking->target, kind, since, time_for(asking), told, asking);
            return;
        }
    }
    end(asking);
}

void room_check(struct room *room, struct call *call, struct vim_target *target,
                struct findings *findings, room_fn done, void *argument)
{
    const struct vim_settings *settings = vim_target_settings(target);
    struct asking *asking = MEMORY_NEW(struct asking);
    struct vim_health health;
    *asking = (struct asking){.room = room,
                              .call = call,
                              .findings = findings,
                              .target = vims_get(call->logic->environment.vims, settings->name),
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
        not_told(room, ROOM_QUOTA, why);
        not_told(room, ROOM_CAPACITY, why);
    }
    if (why || !demand_is_some(&room->demand)) {
        end(asking);
    } else {
        ask(asking);
    }
}

void room_clear(struct room *room)
{
    demand_free(&room->demand);
    json_decref(room->quotas);
}

bool room_count(struct room *room, struct call *call, const struct service_plan *plan,
                const struct service_plan *before)
{
    struct failure failure = {0};
    int code = demand_of(plan, before, call->logic->environment.store, &room->demand, &failure);
    if (code != VIM_OK) {
        failure.code = code;
        logic_failure(call, &failure, ORIGIN_OWN);
    }
    return code == VIM_OK;
}

bool room_passed(struct call *call, struct findings *findings, const char *detail)
{
    bool only_room = true;
    for (size_t i = 0; i < findings->count; i++) {
        only_room = only_room && findings->items[i].amount;
    }
    if (findings->count == 0) {
        return true;
    }
    if (only_room) {
        struct problem problem = {.findings = findings};
        problem_from_error(&problem, VIM_E_QUOTA, ORIGIN_OWN);
        snprintf(problem.detail, sizeof(problem.detail), "The VIM has no room for it.");
        logic_send_problem(call, &problem);
    } else {
        logic_findings(call, 422, "validation", detail, findings);
    }
    return false;
}

void room_tell(const struct room *room, json_t *checked, json_t *verdict)
{
    static const char *const names[ROOM_COUNT] = {"quota", "capacity"};
    json_t *unchecked = json_array();
    json_t *because = json_object();
    for (int aspect = 0; aspect < ROOM_COUNT; aspect++) {
        bool untold = room->untold & 1u << aspect;
        json_array_append_new(untold ? unchecked : checked, json_string(names[aspect]));
        json_set_text(because, names[aspect], untold ? room->why[aspect] : NULL);
    }
    json_object_set_new(verdict, "checked", checked);
    json_object_set_new(verdict, "not_checked", unchecked);
    if (json_object_size(because) > 0) {
        json_object_set_new(verdict, "not_checked_because", because);
    } else {
        json_decref(because);
    }
    json_object_set_new(verdict, "amounts", demand_json(&room->demand, room->quotas));
}
