/*
 * logic/vims_routes.c - /v1/vims: what is configured, how it is, and what it can do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/body.h"
#include "logic/list.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "plugin/instance.h"
#include "plugin/registry.h"

/* As the process knows it that has called the VIM last: this one, or another one by its heartbeat. */
static json_t *health_json(struct presence *presence, struct vim_target *target)
{
    struct vim_health health, other;
    char time[CLOCK_TEXT_SIZE];
    vim_target_health(target, &health);
    if (presence && presence_vim_health(presence, vim_target_settings(target)->name, &other) &&
        other.checked > health.checked) {
        other.stuck = other.stuck || health.stuck;
        health = other;
    }
    json_t *object = json_object();
    json_set_boolean(object, "reachable", health.reachable);
    json_set_boolean(object, "stuck", health.stuck);
    if (health.checked != 0) {
        json_set_text(object, "checked", clock_format_rfc3339(health.checked, time));
    }
    json_set_text(object, "detail", health.text[0] != '\0' ? health.text : NULL);
    return object;
}

static const char *plugin_name(struct vim_target *target)
{
    return instance_plugin(vim_target_instance(target))->descriptor.name;
}

static json_t *vim_json(struct presence *presence, struct vim_target *target)
{
    size_t count;
    const struct kind *kinds = kinds_all(&count);
    const struct vim_settings *settings = vim_target_settings(target);
    json_t *known = json_array();
    for (size_t i = 0; i < count; i++) {
        if (vim_target_trait(target, kinds[i].name)) {
            json_array_append_new(known, json_string(kinds[i].name));
        }
    }
    json_t *object = json_object();
    json_set_text(object, "id", settings->name);
    json_set_text(object, "name", settings->name);
    json_set_text(object, "plugin", plugin_name(target));
    json_set_text(object, "project", settings->project);
    json_object_set_new(object, "health", health_json(presence, target));
    json_object_set_new(object, "kinds", known);
    return object;
}

/* --- List and one ---------------------------------------------------------------------------- */

struct vim_texts_list {
    struct {
        char *id, *body;
    } * items;
    size_t count;
    struct presence *presence;
};

static void collect(void *argument, struct vim_target *target)
{
    struct vim_texts_list *list = argument;
    json_t *shown = vim_json(list->presence, target);
    list->items = memory_resize(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count].id = text_duplicate(vim_target_settings(target)->name);
    list->items[list->count++].body = json_print(shown);
    json_decref(shown);
}

void vims_list(struct call *call)
{
    struct lister lister;
    struct vim_texts_list list = {.presence = call->logic->environment.presence};
    if (!list_begin(call, &vocabulary_vims, "vims", "name", &lister)) {
        return;
    }
    vims_each(call->logic->environment.vims, collect, &list);
    for (size_t i = 0; i < list.count; i++) {
        size_t at = lister.query.sort == NULL && lister.query.descending ? list.count - 1 - i : i;
        if (lister.query.sort || !list_is_before(&lister, list.items[at].id)) {
            (void)list_offer(&lister, list.items[at].id, list.items[at].body,
                             strlen(list.items[at].body));
        }
    }
    for (size_t i = 0; i < list.count; i++) {
        free(list.items[i].id);
        free(list.items[i].body);
    }
    free(list.items);
    list_finish(call, &lister);
}

/* The VIM that the path names; answers 404 and returns NULL if there is none. */
static struct vim_target *load(struct call *call)
{
    struct vim_target *target = vims_get(call->logic->environment.vims, call->id);
    if (target == NULL) {
        logic_not_found(call);
    }
    return target;
}

/* A VIM has no revision: its health changes by itself. */
static void send_projected(struct call *call, json_t *shown)
{
    const char *chosen = logic_query(call, "fields");
    if (chosen) {
        char *fields[QUERY_FIELDS_MAX];
        unsigned count = 0;
        struct findings findings = {0};
        fields_parse(&vocabulary_vims, chosen, fields, &count, &findings);
        json_t *projected = json_object();
        for (unsigned i = 0; i < count; i++) {
            json_object_set(projected, fields[i], json_object_get(shown, fields[i]));
            free(fields[i]);
        }
        json_decref(shown);
        shown = projected;
        if (findings.count > 0) {
            json_decref(shown);
            logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
            return;
        }
    }
    logic_send_json(call, shown);
}

void vims_get_one(struct call *call)
{
    struct vim_target *target = load(call);
    if (target) {
        json_t *shown = vim_json(call->logic->environment.presence, target);
        vim_target_release(target);
        send_projected(call, shown);
    }
}

/* --- Check ----------------------------------------------------------------------------------- */

struct checking {
    struct call *call;
    int64_t started; /* monotonic µs */
};

static void checked(void *argument, int code, const struct vim_item *item,
                    const struct failure *failure)
{
    struct checking checking = *(struct checking *)argument;
    free(argument);
    char time[CLOCK_TEXT_SIZE];
    json_t *verdict = json_object();
    json_set_text(verdict, "vim", checking.call->id);
    json_set_boolean(verdict, "ok", code == VIM_OK);
    json_set_text(verdict, "checked", clock_format_rfc3339(clock_now_ms(), time));
    json_set_integer(verdict, "took_ms", (clock_mono_us() - checking.started) / 1000);
    json_t *facts = NULL;
    if (code == VIM_OK && item && item->body &&
        json_parse(item->body, strlen(item->body), NULL, &facts, NULL) == VIM_OK) {
        json_object_set_new(verdict, "facts", facts);
    }
    if (code != VIM_OK) {
        json_t *error = json_object();
        json_set_text(error, "code", problem_kind(code)->code);
        json_set_text(error, "detail", failure ? failure->text : error_name(code));
        json_set_boolean(error, "retryable", error_is_retryable(code));
        json_object_set_new(verdict, "error", error);
    }
    logic_send_json(checking.call, verdict);
}

void vims_check(struct call *call)
{
    struct vim_target *target = load(call);
    if (target) {
        struct checking *checking = MEMORY_NEW(struct checking);
        int64_t timeout = vim_target_settings(target)->call_timeout_ms;
        int64_t left = logic_left_ms(call);
        checking->call = logic_keep(call);
        checking->started = clock_mono_us();
        vim_target_check(target, timeout < left ? timeout : left, checked, checking);
        vim_target_release(target);
    }
}

/* --- Capabilities ---------------------------------------------------------------------------- */

static void add_traits(json_t *list, const struct vim_target *target, const struct kind *kinds,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct vim_trait *trait = vim_target_trait(target, kinds[i].name);
        if (trait) {
            json_array_append_new(list, plugin_trait_json(trait));
        }
    }
}

void vims_capabilities(struct call *call)
{
    size_t count;
    const struct kind *kinds = kinds_all(&count);
    struct vim_target *target = load(call);
    if (target == NULL) {
        return;
    }
    json_t *list = json_array();
    add_traits(list, target, kinds, count);
    kinds = views_all(&count);
    add_traits(list, target, kinds, count);
    json_t *shown = json_object();
    json_set_text(shown, "vim", call->id);
    json_set_text(shown, "plugin", plugin_name(target));
    json_object_set_new(shown, "kinds", list);
    vim_target_release(target);
    logic_send_json(call, shown);
}
