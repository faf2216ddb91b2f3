/*
 * Kind by kind, what a driver can do: each verb of its traits, and what it emits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "driver_client.h"
#include "driver_groups.h"
#include "driver_world.h"
#include "model/kinds.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "subject.h"

#define UNKNOWN_ID "00000000-0000-4000-8000-00000000dead"
#define PROMPT_MS 5000

/* --- running --------------------------------------------------------------------------------- */

static const struct kind_check *running;

/* A check that cannot be made for this kind is skipped with the reason. */
static void run_one(struct run *run)
{
    if ((run->trait->verbs & running->verbs) != running->verbs)
        check_skip(run, "the driver does not have the verb");
    else if (running->sample && !sample_exists(run, "samples", run->trait->kind))
        check_skip(run, "no sample of %s", run->trait->kind);
    else
        running->function(run);
}

static void open_driver(struct run *run)
{
    run->instance = subject_open(run, "checked");
}

void run_kind_checks(struct run *run, const struct kind_check *checks, size_t count)
{
    const struct vim_driver_ops *ops = &run->plugin->ops.driver;
    char name[256];

    run_check(run, "an instance opens", open_driver);
    for (uint32_t i = 0; i < ops->trait_count; i++)
        for (size_t j = 0; j < count && run->instance; j++) {
            uint32_t look = checks[j].verbs & ~ops->traits[i].verbs & VIM_VERB_LOOK;

            if (look || !kind_is_wanted(run, ops->traits[i].kind) ||
                (checks[j].kind && strcmp(checks[j].kind, ops->traits[i].kind) != 0))
                continue; /* not even skipped: it is about other kinds */
            run->trait = &ops->traits[i];
            running = &checks[j];
            snprintf(name, sizeof name, "%s: %s", run->trait->kind, checks[j].name);
            run_check(run, name, run_one);
        }
    if (run->instance)
        subject_close(run->instance);
    run->instance = NULL;
}

/* --- what is emitted -------------------------------------------------------------------------- */

/* A kind of resource, or of what a far side tells of itself. */
static const struct kind *known_kind(const char *name)
{
    const struct kind *kind = kind_by_name(name);

    return kind ? kind : view_by_name(name);
}

static void require_sound(struct run *run, const struct sight *sight)
{
    static const char statuses[] =
        "BUILD UPDATING DELETING UPLOADING ACTIVE SHUTOFF PAUSED SUSPENDED DOWN QUEUED ERROR UNKNOWN";
    const struct kind *kind = known_kind(run->trait->kind);
    struct findings findings = {0};
    struct json_fault why = {0};
    json_t *body = NULL;

    REQUIRE(run, sight->kind && strcmp(sight->kind, run->trait->kind) == 0, "an item of kind %s",
            sight->kind ? sight->kind : "(none)");
    REQUIRE(run, sight->id && sight->id[0], "an item without an id");
    REQUIRE(run, sight->status && text_has_word(statuses, sight->status),
            "%s has the status \"%s\", which driver.h does not know", sight->id,
            sight->status ? sight->status : "");
    REQUIRE(run, sight->body, "%s has no body", sight->id);
    REQUIRE(run, json_parse(sight->body, strlen(sight->body), NULL, &body, &why) == VIM_OK,
            "the body of %s: %s", sight->id, why.text);
    kind_check_body(kind, body, &findings);
    if (findings.count)
        check_fail(run, "the body of %s: %s: %s", sight->id, findings.items[0].pointer,
                   findings.items[0].detail);
    findings_free(&findings);
    json_decref(body);
}

/* Gets a thing, and requires that its item is sound. False after check_fail(). */
static bool get_sound(struct run *run, const char *id, struct sights *sights)
{
    int code = driver_get(run->instance, run->trait->kind, id, SUBJECT_CALL_MS, sights);

    if (code != VIM_OK || sights->count != 1)
        check_fail(run, "get of %s: %s, %zu items: %s", id, code_name(code), sights->count,
                   sights->text);
    else if (strcmp(sights->items[0].id, id) != 0)
        check_fail(run, "get of %s emits %s", id, sights->items[0].id);
    else
        require_sound(run, &sights->items[0]);
    return !run->failed;
}

static void check_kind(struct run *run)
{
    const struct vim_trait *trait = run->trait;
    const struct kind *kind = known_kind(trait->kind);
    char *actions, *save = NULL;

    REQUIRE(run, kind, "docs/resources.md does not know it");
    REQUIRE(run, !(trait->verbs & VIM_VERB_ACTION) == !(trait->actions && trait->actions[0]),
            "VIM_VERB_ACTION and the names of actions do not go together");
    REQUIRE(run, !(trait->verbs & VIM_VERB_CHANGES) || (trait->verbs & VIM_VERB_LIST),
            "VIM_VERB_CHANGES without VIM_VERB_LIST");
    REQUIRE(run, !(trait->verbs & VIM_VERB_LIST) || kind_by_name(trait->kind),
            "VIM_VERB_LIST of what is no resource: VIM_VERB_LOOK is for that");
    actions = text_duplicate(trait->actions ? trait->actions : "");
    for (char *name = strtok_r(actions, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        bool known = false;

        for (size_t i = 0; kind->actions && kind->actions[i]; i++)
            known |= strcmp(kind->actions[i], name) == 0;
        if (!known)
            check_fail(run, "docs/resources.md does not know the action %s", name);
    }
    free(actions);
}

/* --- create to delete ------------------------------------------------------------------------- */

static void check_crud(struct run *run)
{
    struct inventory before;
    struct world world = {0};
    struct sights sights = {0};
    unsigned seen = 0;
    char *id;

    if (!inventory_take(run, &before))
        return;
    id = world_create(run, &world, run->trait->kind);
    if (id && get_sound(run, id, &sights) && (sights.items[0].flags & VIM_ITEM_PENDING))
        check_fail(run, "the create is done, and %s is still pending", id);
    sights_clear(&sights);
    if (id && !run->failed) {
        driver_list(run->instance, run->trait->kind, 0, NULL, SUBJECT_CALL_MS, &sights);
        for (size_t i = 0; i < sights.count; i++) {
            seen += strcmp(sights.items[i].id, id) == 0;
            require_sound(run, &sights.items[i]);
        }
        if (seen != 1)
            check_fail(run, "the list has %s %u times", id, seen);
    }
    sights_clear(&sights);
    if (id)
        world_delete(run, run->trait->kind, id);
    free(id);
    world_clear(run, &world);
    if (!run->failed)
        require_as_before(run, &before, "after create and delete");
    inventory_clear(&before);
}

/* With a thing of the kind at hand. */
static void with_thing(struct run *run, void (*function)(struct run *run, const char *id))
{
    struct world world = {0};
    char *id = world_create(run, &world, run->trait->kind);

    if (id) {
        function(run, id);
        world_delete(run, run->trait->kind, id);
    }
    free(id);
    world_clear(run, &world);
}

static void update_thing(struct run *run, const char *id)
{
    struct world world = {0};
    char *spec = sample_make(run, &world, "updates", run->trait->kind);
    json_t *wanted = spec ? json_loads(spec, 0, NULL) : NULL, *body = NULL, *value;
    struct sights sights = {0};
    struct operation operation;
    const char *member;
    int code;

    operation_init(&operation, VIM_VERB_UPDATE, run->trait->kind, id, spec);
    code = spec ? operation_carry(run, &operation, 0, OPERATION_PLAIN) : VIM_OK;
    if (code != VIM_OK)
        check_fail(run, "%s: %s", code_name(code), operation.text);
    else if (spec && !operation.last.id)
        check_fail(run, "VIM_OK, and no item was emitted");
    if (!run->failed && get_sound(run, id, &sights))
        body = json_loads(sights.items[0].body, 0, NULL);
    if (body)
        json_object_foreach(wanted, member,
                            value) if (!json_is_array(value) &&
                                       !json_equal(json_object_get(body, member), value))
            check_fail(run, "%s is not what it was changed to", member);
    json_decref(body);
    json_decref(wanted);
    free(spec);
    sights_clear(&sights);
    operation_clear(&operation);
    world_clear(run, &world);
}

static void check_update(struct run *run)
{
    if (!sample_exists(run, "updates", run->trait->kind))
        check_skip(run, "no `updates` of %s", run->trait->kind);
    else
        with_thing(run, update_thing);
}

/* Every step twice, the first time with its outcome lost. */
static void act(struct run *run, const char *id, const char *action, const char *arguments)
{
    struct operation operation;
    int code;

    operation_init(&operation, VIM_VERB_ACTION, run->trait->kind, id, arguments);
    operation.action = action;
    code = operation_carry(run, &operation, 0, OPERATION_TORTURE);
    if (code != VIM_OK)
        check_fail(run, "%s: %s: %s", action, code_name(code), operation.text);
    else if (!operation.last.id)
        check_fail(run, "%s: VIM_OK, and no item was emitted", action);
    operation_clear(&operation);
}

/* What a configuration without `actions` asks for. */
static void act_as_usual(struct run *run, const char *id)
{
    char *actions = text_duplicate(run->trait->actions), *save = NULL;

    for (char *name = strtok_r(actions, " ", &save); name && !run->failed;
         name = strtok_r(NULL, " ", &save)) {
        /* A server that runs is started by stopping it before. */
        const char *steps[] = {strcmp(name, "start") == 0 ? "stop" : name,
                               strcmp(name, "start") == 0 || strcmp(name, "stop") == 0 ? "start"
                                                                                       : NULL};

        for (size_t i = 0; i < 2 && steps[i] && !run->failed; i++)
            act(run, id, steps[i], NULL);
    }
    free(actions);
}

/* The image of a server: asked for as its action, carried out as the create of an image. */
static void take_image(struct run *run, const char *id, json_t *arguments)
{
    char *spec, *image;

    json_object_set_new(arguments, "server", json_string(id));
    spec = json_print(arguments);
    image = world_create_by(run, "image", spec);
    if (image)
        world_delete(run, "image", image);
    free(image);
    free(spec);
}

static void act_on_thing(struct run *run, const char *id)
{
    struct world world = {0};
    CLEANUP_TEXT struct text done = {0};
    char *text, *known = text_duplicate(run->trait->actions), *save = NULL;
    struct operation operation;
    int code;
    size_t count = 0;

    if (!sample_exists(run, "actions", run->trait->kind))
        act_as_usual(run, id);
    while (!run->failed && (text = action_make(run, &world, run->trait->kind, count))) {
        json_t *arguments = json_loads(text, 0, NULL);
        char *name = text_duplicate(json_string_value(json_object_get(arguments, "action")));

        json_object_del(arguments, "action");
        free(text);
        text = json_print(arguments);
        if (strcmp(name, "snapshot") == 0)
            take_image(run, id, arguments);
        else
            act(run, id, name, text);
        text_printf(&done, "%s ", name);
        count++;
        json_decref(arguments);
        free(text);
        free(name);
    }
    for (char *name = strtok_r(known, " ", &save); name && count && !run->failed;
         name = strtok_r(NULL, " ", &save))
        if (!text_has_word(text_get(&done), name))
            check_fail(run, "no sample of the action %s", name);
    free(known);
    operation_init(&operation, VIM_VERB_ACTION, run->trait->kind, id, NULL);
    operation.action = "no-such-action";
    code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
    if (code != VIM_E_UNSUPPORTED && code != VIM_E_INVALID)
        check_fail(run, "an unknown action: %s", code_name(code));
    operation_clear(&operation);
    world_clear(run, &world);
}

static void check_actions(struct run *run)
{
    with_thing(run, act_on_thing);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void check_pages(struct run *run)
{
    struct world world = {0};
    struct sights whole = {0}, pages = {0};
    char *ids[3] = {NULL};
    int code;

    for (size_t i = 0; i < 3 && !run->failed; i++)
        ids[i] = world_create(run, &world, run->trait->kind);
    if (!run->failed) {
        code = driver_list(run->instance, run->trait->kind, 0, NULL, SUBJECT_CALL_MS, &whole);
        if (code != VIM_OK)
            check_fail(run, "the whole: %s", code_name(code));
        code = driver_list(run->instance, run->trait->kind, 1, NULL, SUBJECT_CALL_MS, &pages);
        if (code != VIM_OK)
            check_fail(run, "pages of 1: %s", code_name(code));
        if (whole.count != pages.count || whole.count < 3)
            check_fail(run, "%zu things at once, %zu in pages of 1", whole.count, pages.count);
        for (size_t i = 0; i < whole.count; i++)
            if (!sights_find(&pages, whole.items[i].id))
                check_fail(run, "%s is not in the pages of 1", whole.items[i].id);
    }
    sights_clear(&whole);
    sights_clear(&pages);
    for (size_t i = 0; i < 3; i++) {
        if (ids[i])
            world_delete(run, run->trait->kind, ids[i]);
        free(ids[i]);
    }
    world_clear(run, &world);
}

/* Lists what changed since *CURSOR, and moves it on. Returns the sight of ID, or NULL. */
static const struct sight *changes(struct run *run, char **cursor, const char *id,
                                   struct sights *sights)
{
    int code;

    sights_clear(sights);
    code = driver_list(run->instance, run->trait->kind, 0, *cursor, SUBJECT_CALL_MS, sights);
    if (code != VIM_OK)
        check_fail(run, "list since %s: %s: %s", *cursor ? *cursor : "the start", code_name(code),
                   sights->text);
    else if (!sights->cursor)
        check_fail(run, "the list kept no cursor");
    free(*cursor);
    *cursor = text_duplicate(sights->cursor);
    return id ? sights_find(sights, id) : NULL;
}

static void check_changes(struct run *run)
{
    struct world world = {0};
    struct sights sights = {0};
    const struct sight *sight;
    char *cursor = NULL, *id;

    changes(run, &cursor, NULL, &sights);
    id = run->failed ? NULL : world_create(run, &world, run->trait->kind);
    if (id && !run->failed) {
        sight = changes(run, &cursor, id, &sights);
        if (!sight || (sight->flags & VIM_ITEM_GONE))
            check_fail(run, "%s was made and is not among the changes", id);
    }
    if (id && world_delete(run, run->trait->kind, id) && !run->failed) {
        sight = changes(run, &cursor, id, &sights);
        if (!sight || !(sight->flags & VIM_ITEM_GONE))
            check_fail(run, "%s was deleted and is not VIM_ITEM_GONE among the changes", id);
    }
    free(id);
    free(cursor);
    sights_clear(&sights);
    world_clear(run, &world);
}

/* --- what is no resource ------------------------------------------------------------------------- */

static void check_look(struct run *run)
{
    struct sights sights = {0};
    int code = driver_list(run->instance, run->trait->kind, 0, NULL, SUBJECT_CALL_MS, &sights);

    if (code != VIM_OK)
        check_fail(run, "%s: %s", code_name(code), sights.text);
    else if (!sights.count)
        check_fail(run, "nothing is told");
    for (size_t i = 0; i < sights.count && !run->failed; i++)
        require_sound(run, &sights.items[i]);
    check_note(run, "%zu items", sights.count);
    sights_clear(&sights);
}

static void look_at_console(struct run *run)
{
    static const char *const types[] = {"novnc", "log"};
    struct world world = {0};
    char *server = world_create(run, &world, "server");

    for (size_t i = 0; server && i < 2 && !run->failed; i++) {
        char *id = text_format("%s/%s", server, types[i]);
        struct sights sights = {0};

        get_sound(run, id, &sights);
        if (!run->failed && !strstr(sights.items[0].body, i == 0 ? "\"url\"" : "\"output\""))
            check_fail(run, "%s: %s", types[i], sights.items[0].body);
        sights_clear(&sights);
        free(id);
    }
    if (server)
        world_delete(run, "server", server);
    free(server);
    world_clear(run, &world);
}

static void check_console(struct run *run)
{
    if (!sample_exists(run, "samples", "server"))
        check_skip(run, "no sample of server");
    else
        look_at_console(run);
}

/* --- what is not there, or cannot be done -------------------------------------------------------- */

static void check_unknown(struct run *run)
{
    struct sights sights = {0};
    struct operation operation;
    int code;

    if (run->trait->verbs & VIM_VERB_GET) {
        code = driver_get(run->instance, run->trait->kind, UNKNOWN_ID, SUBJECT_CALL_MS, &sights);
        if (code != VIM_E_NOT_FOUND || sights.count)
            check_fail(run, "get of an unknown id: %s", code_name(code));
        sights_clear(&sights);
    }
    if (run->trait->verbs & VIM_VERB_DELETE) {
        operation_init(&operation, VIM_VERB_DELETE, run->trait->kind, UNKNOWN_ID, NULL);
        code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
        if (code != VIM_OK)
            check_fail(run, "delete of an unknown id: %s: %s", code_name(code), operation.text);
        operation_clear(&operation);
    }
}

/* ID is of a thing that is there, or NULL if none could be made. */
static void try_missing_verbs(struct run *run, const char *id)
{
    static const uint32_t verbs[] = {VIM_VERB_CREATE, VIM_VERB_UPDATE, VIM_VERB_DELETE,
                                     VIM_VERB_ACTION, VIM_VERB_UPLOAD};

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0] && !run->failed; i++) {
        const char *subject = id ? id : UNKNOWN_ID;
        struct operation operation;
        int code;

        if (run->trait->verbs & verbs[i])
            continue;
        operation_init(&operation, verbs[i], run->trait->kind,
                       verbs[i] == VIM_VERB_CREATE ? NULL : subject, NULL);
        operation.action = verbs[i] == VIM_VERB_ACTION ? "start" : NULL;
        operation.data = verbs[i] == VIM_VERB_UPLOAD ? "data" : NULL;
        code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
        if (code != VIM_E_UNSUPPORTED && (id || code != VIM_E_NOT_FOUND))
            check_fail(run, "verb %u: %s", verbs[i], code_name(code));
        operation_clear(&operation);
    }
}

static void check_unsupported(struct run *run)
{
    uint32_t made = VIM_VERB_CREATE | VIM_VERB_DELETE;

    if ((run->trait->verbs & made) == made && sample_exists(run, "samples", run->trait->kind))
        with_thing(run, try_missing_verbs);
    else
        try_missing_verbs(run, NULL);
}

static void require_prompt(struct run *run, int64_t start, const char *what)
{
    int64_t took = clock_mono_ms() - start;

    check_note(run, "%s without time left: %lld ms", what, (long long)took);
    if (took > PROMPT_MS)
        check_fail(run, "%s without time left takes %lld ms", what, (long long)took);
}

/* Deadline passed and cancelled look the same to a driver. */
static void check_no_time(struct run *run)
{
    struct sights sights = {0};
    int64_t start = clock_mono_ms();

    if (run->trait->verbs & VIM_VERB_LIST)
        driver_list(run->instance, run->trait->kind, 1, NULL, 0, &sights);
    require_prompt(run, start, "list");
    sights_clear(&sights);
    start = clock_mono_ms();
    if (run->trait->verbs & VIM_VERB_GET)
        driver_get(run->instance, run->trait->kind, UNKNOWN_ID, 0, &sights);
    require_prompt(run, start, "get");
    sights_clear(&sights);
    start = clock_mono_ms();
    if (run->trait->verbs & VIM_VERB_DELETE) {
        struct operation operation;

        operation_init(&operation, VIM_VERB_DELETE, run->trait->kind, UNKNOWN_ID, NULL);
        operation_step(run->instance, &operation, 0, false);
        operation_clear(&operation);
    }
    require_prompt(run, start, "a step");
}

void driver_group(struct run *run)
{
    static const struct kind_check checks[] = {
        {0, false, "it is in the vocabulary", check_kind, NULL},
        {VIM_VERB_CREATE | VIM_VERB_DELETE | VIM_VERB_GET | VIM_VERB_LIST, true,
         "create, get, list and delete, with sound items", check_crud, NULL},
        {VIM_VERB_CREATE | VIM_VERB_UPDATE | VIM_VERB_GET, true, "update changes what it says",
         check_update, NULL},
        {VIM_VERB_CREATE | VIM_VERB_ACTION, true, "every action is done", check_actions, NULL},
        {VIM_VERB_CREATE | VIM_VERB_LIST, true, "pages of 1 equal one large page", check_pages,
         NULL},
        {VIM_VERB_CREATE | VIM_VERB_CHANGES, true,
         "a list of changes has what was made and what is gone", check_changes, NULL},
        {VIM_VERB_LOOK, false, "what it tells is sound", check_look, NULL},
        {VIM_VERB_GET, false, "the consoles of a server are told", check_console, "console"},
        {0, false, "an unknown id: get is VIM_E_NOT_FOUND, delete is VIM_OK", check_unknown, NULL},
        {0, false, "a verb that it does not have is VIM_E_UNSUPPORTED", check_unsupported, NULL},
        {0, false, "calls without time left return at once", check_no_time, NULL},
    };

    run_kind_checks(run, checks, sizeof checks / sizeof checks[0]);
}
