/*
 * logic/vims_look.c - /v1/vims/{id}/capacity, /zones, /hosts, and a server's console: what is asked of
 * the VIM when somebody wants to know, and not stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/resources.h"
#include "logic/route.h"

/* Lives from the call to the VIM until the answer. */
struct looking {
    struct call *call; /* kept */
    char *vim;
    const char *member; /* of the answer: what the list is called */
};

static struct looking *looking_new(struct call *call, const char *vim, const char *member)
{
    struct looking *looking = MEMORY_NEW(struct looking);
    looking->call = logic_keep(call);
    looking->vim = text_duplicate(vim);
    looking->member = member;
    return looking;
}

static void looking_free(struct looking *looking)
{
    free(looking->vim);
    free(looking);
}

/* What is told of one thing, or NULL if it is not readable. */
static json_t *item_json(const struct vim_item *item)
{
    json_t *body = NULL;
    if (item->body && json_parse(item->body, strlen(item->body), NULL, &body, NULL) != VIM_OK) {
        return NULL;
    }
    return body ? body : json_object();
}

static void looked(void *argument, int code, const struct vim_item *items, size_t count,
                   const struct failure *failure)
{
    struct looking *looking = argument;
    char time[CLOCK_TEXT_SIZE];
    json_t *list = json_array();
    json_t *shown = json_object();
    struct failure why = failure ? *failure : (struct failure){0};
    for (size_t i = 0; i < count && code == VIM_OK; i++) {
        json_t *one = item_json(&items[i]);
        if (one == NULL) {
            code = failure_set(&why, VIM_E_INTERNAL, "what it told of %s is not JSON", items[i].id);
        } else {
            json_array_append_new(list, one);
        }
    }
    json_set_text(shown, "vim", looking->vim);
    json_set_text(shown, "checked", clock_format_rfc3339(clock_now_ms(), time));
    json_object_set_new(shown, looking->member, list);
    if (code == VIM_OK) {
        logic_send_json(looking->call, shown);
    } else {
        json_decref(shown);
        why.code = code;
        resources_fail_far(looking->call, looking->vim, &why);
    }
    looking_free(looking);
}

static int64_t time_for(const struct call *call, const struct vim_target *target)
{
    int64_t timeout = vim_target_settings(target)->call_timeout_ms;
    int64_t left = logic_left_ms(call);
    return timeout < left ? timeout : left;
}

/* Asks the VIM that the path names for all of KIND. */
static void look(struct call *call, const char *kind, const char *member)
{
    struct vim_target *target = vims_get(call->logic->environment.vims, call->id);
    if (target == NULL) {
        logic_not_found(call);
        return;
    }
    const struct vim_trait *trait = vim_target_trait(target, kind);
    if (trait && (trait->verbs & VIM_VERB_LOOK)) {
        vim_target_look(target, kind, time_for(call, target), looked,
                        looking_new(call, call->id, member));
    } else {
        char what[64];
        snprintf(what, sizeof(what), "tell of its %s", member);
        logic_unsupported(call, call->id, what);
    }
    vim_target_release(target);
}

void vims_capacity(struct call *call)
{
    look(call, "quota", "quotas");
}

void vims_zones(struct call *call)
{
    look(call, "zone", "zones");
}

void vims_hosts(struct call *call)
{
    look(call, "host", "hosts");
}

/* --- The console of a server ----------------------------------------------------------------- */

static void console_told(void *argument, int code, const struct vim_item *item,
                         const struct failure *failure)
{
    struct looking *looking = argument;
    struct failure why = failure ? *failure : (struct failure){0};
    json_t *shown = code == VIM_OK && item ? item_json(item) : NULL;
    if (shown) {
        struct answer answer;
        answer_init(&answer, 200);
        answer_header(&answer, "Cache-Control", "no-store");
        answer_json(&answer, shown);
        logic_send(looking->call, &answer);
    } else {
        why.code = code != VIM_OK ? code : VIM_E_INTERNAL;
        resources_fail_far(looking->call, looking->vim, &why);
    }
    looking_free(looking);
}

/* novnc unless ?type= says otherwise; NULL if the call was answered. */
static const char *console_type(struct call *call)
{
    const struct kind *view = view_by_name("console");
    const struct field *field = field_by_name(view->fields, view->field_count, "type");
    const char *type = logic_query(call, "type");
    if (type == NULL) {
        return "novnc";
    }
    if (strchr(type, ' ') == NULL && text_has_word(field->choices, type)) {
        return type;
    }
    struct findings findings = {0};
    findings_add(&findings, "?type", "must be one of: %s", field->choices);
    logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
    return NULL;
}

/* What the driver gets as the console's id: the server's, and which of its consoles. */
static void ask_for_console(struct call *call, struct vim_target *target,
                            const struct resource *server, const char *type)
{
    const struct vim_trait *trait = vim_target_trait(target, "console");
    CLEANUP_FREE char *id = text_format("%s/%s", server->backend_id, type);
    if (trait && (trait->verbs & VIM_VERB_GET)) {
        vim_target_get(target, "console", id, time_for(call, target), console_told,
                       looking_new(call, server->vim, NULL));
    } else {
        logic_unsupported(call, server->vim, "give the console of a server");
    }
}

void servers_console(struct call *call)
{
    struct resource server = {0};
    struct vim_target *target = NULL;
    const char *type = console_type(call);
    call->kind = kind_by_name("server");
    if (type == NULL || !resources_load_to_change(call, &server)) {
        return;
    }
    if (resources_target(call, server.vim, &target)) {
        if (resources_exists(call, &server)) {
            ask_for_console(call, target, &server, type);
        }
        vim_target_release(target);
    }
    resource_free(&server);
}
