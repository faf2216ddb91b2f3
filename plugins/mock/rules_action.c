/* What can be done to a server, and which state leads to which. */
#include "rules_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words are the cloud's own, separated by spaces. */
static const struct transition {
    const char *action;
    const char *from; /* the words in which it is allowed */
    const char *doing; /* the word meanwhile */
    const char *status; /* what it leads to */
    const char *word; /* NULL: the same */
} transitions[] = {
    {"start", "SHUTOFF", "powering-on", "ACTIVE", NULL},
    {"stop", "ACTIVE", "powering-off", "SHUTOFF", NULL},
    {"reboot", "ACTIVE", "REBOOT", "ACTIVE", NULL},
    {"pause", "ACTIVE", "pausing", "PAUSED", NULL},
    {"unpause", "PAUSED", "unpausing", "ACTIVE", NULL},
    {"suspend", "ACTIVE", "suspending", "SUSPENDED", NULL},
    {"resume", "SUSPENDED", "resuming", "ACTIVE", NULL},
    {"rebuild", "ACTIVE SHUTOFF ERROR", "REBUILD", "ACTIVE", NULL},
    {"resize", "ACTIVE SHUTOFF", "RESIZE", "ACTIVE", "VERIFY_RESIZE"},
    {"confirm_resize", "VERIFY_RESIZE", "confirming", "ACTIVE", NULL},
    {"revert_resize", "VERIFY_RESIZE", "REVERT_RESIZE", "ACTIVE", NULL},
    {"migrate", "ACTIVE SHUTOFF PAUSED", "MIGRATING", "ACTIVE", NULL},
};

static const struct transition *find_transition(const char *action)
{
    for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
        if (strcmp(transitions[i].action, action) == 0) {
            return &transitions[i];
        }
    }
    return NULL;
}

static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    const char *at = words;
    while ((at = strstr(at, word)) != NULL) {
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
        at += length;
    }
    return false;
}

struct amounts flavor_amounts(const struct thing *flavor)
{
    json_t *fields = thing_fields(flavor);
    struct amounts amounts = {.vcpus = json_integer_value(json_object_get(fields, "vcpus")),
                              .ram = json_integer_value(json_object_get(fields, "ram"))};
    json_decref(fields);
    return amounts;
}

/* Puts the server on a host that fits, with what it uses by then. */
static int move(struct scene *scene, const struct thing *server, const char *host, bool elsewhere,
                struct change *change)
{
    char name[32];
    struct wanted_place wanted = {.server = server->id,
                                  .uses = change->uses,
                                  .host = host,
                                  .except = elsewhere ? server->place : 0,
                                  .group = affinity_of(scene, server->id)};
    unsigned place = place_choose(scene, &wanted);
    if (place == 0) {
        return refuse(scene, 400, "quota", "No valid host was found for server %s", server->id);
    }
    change->place = place;
    place_name(place, name);
    json_object_set_new(change->fields, "host", json_string(name));
    place_zone(place, name);
    json_object_set_new(change->fields, "zone", json_string(name));
    return 202;
}

/* What revert_resize brings back; to be freed. */
static char *remember(const struct thing *server, const json_t *fields)
{
    json_t *before =
        json_pack("{s:O,s:O?,s:I,s:I,s:I}", "flavor", json_object_get(fields, "flavor"), "host",
                  json_object_get(fields, "host"), "vcpus", (json_int_t)server->uses.vcpus, "ram",
                  (json_int_t)server->uses.ram, "place", (json_int_t)server->place);
    char *text = json_dumps(before, JSON_COMPACT);
    json_decref(before);
    return text;
}

static int resize(struct scene *scene, const struct thing *server, const json_t *arguments,
                  struct change *change, char **ret_before)
{
    const struct thing *flavor = rules_referred(scene, KIND_FLAVOR, json_text(arguments, "flavor"));
    if (flavor == NULL) {
        return scene->reply->status;
    }
    if (strcmp(flavor->id, json_text(change->fields, "flavor")) == 0) {
        return refuse(scene, 400, "invalid", "server %s has flavor %s already", server->id,
                      flavor->id);
    }
    struct amounts uses = flavor_amounts(flavor);
    struct amounts more = {.vcpus = uses.vcpus - server->uses.vcpus,
                           .ram = uses.ram - server->uses.ram};
    if (rules_check_amounts(scene, &more) >= 300) {
        return scene->reply->status;
    }
    *ret_before = remember(server, change->fields);
    change->before = *ret_before;
    change->uses = uses;
    json_object_set_new(change->fields, "flavor", json_string(flavor->id));
    return move(scene, server, NULL, true, change);
}

/* A migration of what runs ends as it was; a cold one has to be confirmed, as a resize. */
static int migrate(struct scene *scene, const struct thing *server, const json_t *arguments,
                   struct change *change, char **ret_before)
{
    const json_t *live = json_object_get(arguments, "live");
    bool cold = live != NULL ? !json_is_true(live) : strcmp(server->status, "SHUTOFF") == 0;
    if (!cold && strcmp(server->status, "SHUTOFF") == 0) {
        return refuse(scene, 409, "conflict", "server %s does not run", server->id);
    }
    change->status = server->status;
    if (cold) {
        *ret_before = remember(server, change->fields);
        change->before = *ret_before;
        change->status = "ACTIVE";
        change->word = "VERIFY_RESIZE";
    }
    return move(scene, server, json_text(arguments, "host"), true, change);
}

static int revert(const struct thing *server, struct change *change)
{
    json_t *before = json_loads(server->before, 0, NULL);
    json_object_set(change->fields, "flavor", json_object_get(before, "flavor"));
    json_object_set(change->fields, "host", json_object_get(before, "host"));
    change->uses.vcpus = json_integer_value(json_object_get(before, "vcpus"));
    change->uses.ram = json_integer_value(json_object_get(before, "ram"));
    change->place = (unsigned)json_integer_value(json_object_get(before, "place"));
    change->before = NULL;
    json_decref(before);
    return 202;
}

/* Checks the arguments and describes what becomes of the server. */
static int transform(struct scene *scene, const struct thing *server, const char *action,
                     const json_t *arguments, struct change *change, char **ret_before)
{
    const char *type = json_text(arguments, "type");
    const char *image = json_text(arguments, "image");
    if (type != NULL && strcmp(type, "soft") != 0 && strcmp(type, "hard") != 0) {
        return refuse(scene, 400, "invalid", "reboot: the type is soft or hard");
    }
    if (strcmp(action, "rebuild") == 0 && image != NULL) {
        if (rules_referred(scene, KIND_IMAGE, image) == NULL) {
            return scene->reply->status;
        }
        json_object_set_new(change->fields, "image", json_string(image));
    } else if (strcmp(action, "resize") == 0) {
        return resize(scene, server, arguments, change, ret_before);
    } else if (strcmp(action, "migrate") == 0) {
        return migrate(scene, server, arguments, change, ret_before);
    } else if (strcmp(action, "revert_resize") == 0) {
        return revert(server, change);
    } else if (strcmp(action, "confirm_resize") == 0) {
        change->before = NULL;
    }
    return 202;
}

int server_action(struct scene *scene, struct thing *server, const char *action,
                  const json_t *arguments, const char *tag)
{
    const struct transition *transition = find_transition(action);
    bool pending;
    (void)thing_status(server, scene->now, &pending);
    const char *word = thing_word(server, scene->now);
    if (transition == NULL) {
        return refuse(scene, 400, "invalid", "there is no action '%.60s'", action);
    }
    if (pending || !has_word(transition->from, word)) {
        return refuse(scene, 409, "conflict", "%s: the server is %s, not %s", action, word,
                      transition->from);
    }
    struct change change = thing_change(server, NULL, scene->now);
    char *before = NULL;
    change.status = transition->status;
    change.word = transition->word;
    change.did = tag;
    change.until = change.doing = NULL;
    change.ready = 0;
    int result = transform(scene, server, action, arguments, &change, &before);
    if (result >= 300) {
        json_decref(change.fields);
        free(before);
        return result;
    }
    if (scene->build_ms > 0) {
        change.until = "UPDATING";
        change.doing = transition->doing;
        change.ready = scene->build_ms == NEVER ? NEVER : scene->now + scene->build_ms;
    }
    cloud_put(scene->cloud, &change);
    free(before);
    return 202;
}
