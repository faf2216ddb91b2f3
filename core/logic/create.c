/*
 * logic/create.c - POST of a resource: checked, resolved, and handed to the engine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/room.h"
#include "logic/route.h"

/* What a create is about, besides the kind's fields. */
struct create {
    struct call *call;
    json_t *body; /* as it came */
    json_t *spec; /* the kind's fields */
    json_t *labels; /* or NULL */
    const char *project;
    struct vim_target *target;
    struct findings findings;
};

static void create_clear(struct create *create)
{
    json_decref(create->body);
    json_decref(create->spec);
    json_decref(create->labels);
    vim_target_release(create->target);
    findings_free(&create->findings);
}

static void add_name(void *argument, struct vim_target *target)
{
    struct text *names = argument;
    text_printf(names, "%s%s", names->length > 0 ? " " : "", vim_target_settings(target)->name);
}

struct vim_target *resources_choose_vim(struct call *call, const json_t *vim,
                                        struct findings *findings)
{
    struct vims *vims = call->logic->environment.vims;
    struct vim_target *target = NULL;
    CLEANUP_TEXT struct text names = {0};
    vims_each(vims, add_name, &names);
    const char *known = text_get(&names);
    const char *name = json_string_value(vim);
    if (vim && !name) {
        findings_add(findings, "/vim", "must be the name of a VIM");
    } else if (!vim && *known == '\0') {
        findings_add(findings, "/vim", "no VIM is configured");
    } else if (!vim && strchr(known, ' ')) {
        findings_add(findings, "/vim", "is required, one of: %s", known);
    } else {
        target = vims_get(vims, name ? name : known);
        if (target == NULL) {
            CLEANUP_FREE char *nearest = text_nearest_word(known, name ? name : known);
            findings_add(findings, "/vim", "is no VIM%s%s", nearest ? "; did you mean " : "",
                         nearest ? nearest : "");
        }
    }
    return target;
}

const char *resources_choose_project(struct call *call, const json_t *project,
                                     struct findings *findings)
{
    const struct principal *principal = call->principal;
    const char *name = json_string_value(project);
    if (project == NULL) {
        return principal->project;
    }
    if (name == NULL || !access_is_project(name)) {
        findings_add(findings, "/project",
                     "must be a project's name: 1 to 63 letters, digits, - and _");
    } else if (principal->role != ROLE_ADMIN && strcmp(name, principal->project) != 0) {
        findings_add(findings, "/project", "only administrators may name another project");
    } else {
        return name;
    }
    return principal->project;
}

/* The wanted fields without what is never shown. */
static json_t *shown_spec(const struct kind *kind, json_t *spec)
{
    json_t *shown = json_copy(spec);
    for (unsigned i = 0; i < kind->field_count; i++) {
        if (kind->fields[i].flags & FIELD_HIDDEN) {
            json_object_del(shown, kind->fields[i].name);
        }
    }
    return shown;
}

/* What GET shows until the VIM has told; the name has a place of its own. */
static json_t *first_body(const struct kind *kind, json_t *spec)
{
    json_t *body = shown_spec(kind, spec);
    json_object_del(body, "name");
    return body;
}

/* --- Dry runs -------------------------------------------------------------------------------- */

/* Lives from the check to the answer. */
struct trial {
    struct create create; /* its call is kept */
    struct room room;
};

/* 200: what a create would do. */
static void send_verdict(struct trial *trial)
{
    const struct create *create = &trial->create;
    json_t *verdict = json_object();
    json_set_boolean(verdict, "valid", true);
    json_set_text(verdict, "kind", create->call->kind->name);
    json_set_text(verdict, "vim", vim_target_settings(create->target)->name);
    json_set_text(verdict, "project", create->project);
    room_tell(&trial->room, json_pack("[s,s,s]", "fields", "references", "capabilities"), verdict);
    json_object_set_new(verdict, "spec", shown_spec(create->call->kind, create->spec));
    logic_send_json(create->call, verdict);
}

/* All is known that can be: the end of the call. */
static void trial_end(void *argument)
{
    struct trial *trial = argument;
    struct create *create = &trial->create;
    if (room_passed(create->call, &create->findings, "The body is not valid.")) {
        send_verdict(trial);
    }
    create_clear(create);
    room_clear(&trial->room);
    free(trial);
}

/* Where in the body stands what needs so much; of the rest it is all of it. */
static void place_demand(struct demand *demand, const struct create *create)
{
    static const struct {
        enum need need;
        const char *pointer;
    } places[] = {{NEED_VCPUS, "/flavor"},
                  {NEED_RAM, "/flavor"},
                  {NEED_STORAGE, "/size"},
                  {NEED_STORAGE, "/boot_volume/size"},
                  {NEED_SECURITY_GROUP_RULES, "/rules"}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char **pointer = &demand->pointers[places[i].need];
        if (*pointer && json_pointer_get(create->body, places[i].pointer)) {
            free(*pointer);
            *pointer = text_duplicate(places[i].pointer);
        }
    }
}

/* Holds it against quota and capacity, as a network service of this one resource. Takes over what CREATE holds. */
static void try_out(struct create *create)
{
    struct trial *trial = MEMORY_NEW(struct trial);
    *trial = (struct trial){.create = *create};
    *create = (struct create){.call = NULL};
    create = &trial->create;
    create->call = logic_keep(create->call);
    char whole[] = "";
    struct service_node node = {
        .name = whole, .kind = create->call->kind, .pointer = whole, .spec = create->spec};
    struct service_plan plan = {.nodes = &node, .count = 1};
    if (!create->target) {
        trial_end(trial);
    } else if (room_count(&trial->room, create->call, &plan, NULL)) {
        place_demand(&trial->room.demand, create);
        room_check(&trial->room, create->call, create->target, &create->findings, trial_end, trial);
    } else {
        create_clear(create);
        free(trial);
    }
}

/* --- Creates --------------------------------------------------------------------------------- */

static void submit_create(struct create *create, const struct idempotency *idempotency)
{
    char id[ID_SIZE];
    struct call *call = create->call;
    CLEANUP_FREE char *spec = json_print(create->spec);
    struct resource resource = {
        .id = text_duplicate(id_new(id)),
        .kind = text_duplicate(call->kind->name),
        .name = text_duplicate(json_get_text(create->spec, "name", "")),
        .vim = text_duplicate(vim_target_settings(create->target)->name),
        .project = text_duplicate(create->project),
        .labels = json_incref(create->labels),
        .body = first_body(call->kind, create->spec),
    };
    struct task_wish wish = {.spec = spec};
    resources_submit(call, VIM_VERB_CREATE, &resource, STATUS_BUILD, &wish, idempotency);
    resource_free(&resource);
}

/* Finds everything that can be wrong with the body; false if the call was answered. */
static bool check(struct create *create)
{
    json_t *body = create->body;
    struct call *call = create->call;
    struct failure failure = {0};
    CLEANUP_JSON json_t *vim = json_incref(json_object_get(body, "vim"));
    json_t *project = json_object_get(body, "project");
    create->labels = json_incref(json_object_get(body, "labels"));
    create->target = resources_choose_vim(call, vim, &create->findings);
    create->project = resources_choose_project(call, project, &create->findings);
    if (create->labels) {
        labels_check(create->labels, false, &create->findings);
    }
    create->spec = json_copy(body);
    json_object_del(create->spec, "vim");
    json_object_del(create->spec, "project");
    json_object_del(create->spec, "labels");
    kind_check_create(call->kind, create->spec, &create->findings);
    if (create->target) {
        /* An image of a server is what its action snapshot makes. */
        bool of_server = strcmp(call->kind->name, "image") == 0 &&
                         json_object_get(create->spec, "server") != NULL;
        if (!resources_can(call, create->target, VIM_VERB_CREATE, "create") ||
            (of_server && !resources_can_act(call, create->target, "server", "snapshot")) ||
            !resources_can_boot(call, create->target, create->spec)) {
            return false;
        }
        int code = references_resolve(call, call->kind, vim_target_settings(create->target)->name,
                                      create->project, create->spec, &create->findings, &failure);
        if (code != VIM_OK) {
            failure.code = code;
            logic_failure(call, &failure, ORIGIN_OWN);
            return false;
        }
    }
    return true;
}

void resources_create(struct call *call)
{
    bool fine;
    struct idempotency idempotency;
    struct create create = {.call = call};
    bool dry_run = logic_query_flag(call, "dryRun", &fine);
    /* A dry run makes no task, so it is not what a key stands for either. */
    if (!fine || (!dry_run && !idempotency_begin(call, &idempotency)) ||
        !body_parse(call, false, &create.body)) {
        return;
    }
    if (!check(&create)) {
        /* answered */
    } else if (dry_run) {
        try_out(&create);
    } else if (create.findings.count > 0) {
        logic_findings(call, 422, "validation", "The body is not valid.", &create.findings);
    } else {
        submit_create(&create, &idempotency);
    }
    create_clear(&create);
}
