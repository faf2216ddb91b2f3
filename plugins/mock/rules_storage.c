/* Volumes and their snapshots. */
#include "rules_parts.h"

#include <stdio.h>
#include <string.h>

/* What a server calls the volume that it boots from. */
#define ROOT_DEVICE "/dev/vda"

static bool has_room(struct scene *scene, int64_t more)
{
    struct amounts uses = {.storage = more};
    return rules_check_amounts(scene, &uses) < 300;
}

static int64_t size_of(const json_t *fields)
{
    return json_integer_value(json_object_get(fields, "size"));
}

/* --- Volumes --- */

/* Checks what a new volume shall hold, and completes its FIELDS with the size. */
static int fill_volume(struct scene *scene, json_t *fields)
{
    const char *image_id = json_text(fields, "image");
    const char *snapshot_id = json_text(fields, "snapshot");
    struct thing *image = image_id ? rules_referred(scene, KIND_IMAGE, image_id) : NULL;
    struct thing *snapshot = snapshot_id ? rules_referred(scene, KIND_SNAPSHOT, snapshot_id) : NULL;
    if ((image_id && image == NULL) || (snapshot_id && snapshot == NULL)) {
        return scene->reply->status;
    }
    if (image != NULL && strcmp(image->status, "ACTIVE") != 0) {
        return refuse(scene, 400, "invalid", "image %s has no data yet", image->id);
    }
    if (snapshot != NULL && (snapshot->ready > scene->now || strcmp(snapshot->status, "ACTIVE"))) {
        return refuse(scene, 400, "invalid", "snapshot %s is not available", snapshot->id);
    }
    if (snapshot != NULL) {
        json_default(fields, "size", json_integer(snapshot->uses.storage));
    }
    if (size_of(fields) < 1 || (snapshot && size_of(fields) < snapshot->uses.storage)) {
        return refuse(scene, 400, "invalid", "volume: the size is too small");
    }
    json_object_set_new(fields, "bootable", json_boolean(image != NULL));
    return has_room(scene, size_of(fields)) ? 200 : scene->reply->status;
}

static void put_new_storage(struct scene *scene, struct change *change, json_t *fields)
{
    change->status = scene->error_build ? "ERROR" : "ACTIVE";
    change->word = scene->error_build ? "error" : "available";
    change->doing = "creating";
    change->uses.storage = size_of(fields);
    rules_put_new(scene, change, fields, true);
}

int volume_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    json_t *fields = json_copy(spec);
    if (fill_volume(scene, fields) >= 300) {
        json_decref(fields);
        return scene->reply->status;
    }
    json_default(fields, "type", json_string("mock"));
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_VOLUME, .id = ret_id, .tag = tag};
    put_new_storage(scene, &change, fields);
    return 202;
}

/* The server that the volume is attached to; NULL if none, or if that has vanished. */
static struct thing *server_of(struct scene *scene, const struct thing *volume)
{
    return volume->server ? cloud_find(scene->cloud, KIND_SERVER, volume->server) : NULL;
}

void server_list_volume(struct scene *scene, const struct thing *server, const char *volume,
                        bool add)
{
    json_t *fields = thing_fields(server);
    json_default(fields, "volumes", json_array());
    json_t *list = json_object_get(fields, "volumes");
    if (add) {
        json_array_append_new(list, json_string(volume));
    }
    for (size_t i = json_array_size(list); !add && i > 0; i--) {
        if (strcmp(json_string_value(json_array_get(list, i - 1)), volume) == 0) {
            json_array_remove(list, i - 1);
        }
    }
    struct change change = thing_change(server, fields, scene->now);
    cloud_put(scene->cloud, &change);
}

/* How an action goes on: UPDATING as DOING for a while, then ACTIVE as WORD. */
static void put_changing(struct scene *scene, struct change *change, const char *doing,
                         const char *word)
{
    change->status = "ACTIVE";
    change->word = word;
    change->until = change->doing = NULL;
    change->ready = 0;
    if (scene->build_ms > 0) {
        change->until = "UPDATING";
        change->doing = doing;
        change->ready = scene->build_ms == NEVER ? NEVER : scene->now + scene->build_ms;
    }
    cloud_put(scene->cloud, change);
}

static int attach(struct scene *scene, struct thing *volume, const json_t *arguments,
                  struct change *change)
{
    char device[32];
    struct thing *server = rules_referred(scene, KIND_SERVER, json_text(arguments, "server"));
    struct thing *holder = server_of(scene, volume);
    if (server == NULL) {
        return scene->reply->status;
    }
    if (holder != NULL) {
        return refuse(scene, 409, "conflict", "volume %s is attached to server %s already",
                      volume->id, holder->id);
    }
    if (server->ready > scene->now && strcmp(server->until, "BUILD") == 0) {
        return refuse(scene, 409, "conflict", "server %s is in BUILD", server->id);
    }
    json_t *has = thing_fields(server);
    size_t count = json_array_size(json_object_get(has, "volumes"));
    char first = json_object_get(has, "image") ? 'b' : 'a'; /* its disk is one of its volumes */
    json_decref(has);
    snprintf(device, sizeof(device), "/dev/vd%c", (char)(first + count % 25));
    const char *wanted = json_text(arguments, "device");
    json_object_set_new(change->fields, "device", json_string(wanted ? wanted : device));
    server_list_volume(scene, server, volume->id, true);
    change->server = server->id;
    put_changing(scene, change, "attaching", "in-use");
    return 202;
}

static bool is_disk_of(const struct thing *server, const struct change *volume)
{
    const char *device = json_text(volume->fields, "device");
    json_t *fields = thing_fields(server);
    bool by_volume = json_object_get(fields, "image") == NULL;
    json_decref(fields);
    return by_volume && device != NULL && strcmp(device, ROOT_DEVICE) == 0;
}

static int detach(struct scene *scene, struct thing *volume, struct change *change)
{
    const struct thing *server = server_of(scene, volume);
    if (volume->server == NULL) {
        return refuse(scene, 409, "conflict", "volume %s is not attached", volume->id);
    }
    if (server != NULL && is_disk_of(server, change)) {
        return refuse(scene, 400, "invalid", "volume %s is the disk of server %s", volume->id,
                      server->id);
    }
    if (server != NULL) {
        server_list_volume(scene, server, volume->id, false);
    }
    json_object_del(change->fields, "device");
    change->server = NULL;
    put_changing(scene, change, "detaching", "available");
    return 202;
}

static int extend(struct scene *scene, struct thing *volume, const json_t *arguments,
                  struct change *change)
{
    int64_t size = size_of(arguments);
    if (size <= volume->uses.storage) {
        return refuse(scene, 400, "invalid", "volume %s has %lld GiB already", volume->id,
                      (long long)volume->uses.storage);
    }
    if (!has_room(scene, size - volume->uses.storage)) {
        return scene->reply->status;
    }
    json_object_set_new(change->fields, "size", json_integer(size));
    change->uses.storage = size;
    put_changing(scene, change, "extending", volume->word);
    return 202;
}

int volume_action(struct scene *scene, struct thing *volume, const char *action,
                  const json_t *arguments, const char *tag)
{
    bool pending;
    const char *status = thing_status(volume, scene->now, &pending);
    int result;
    if (strcmp(status, "ACTIVE") != 0) {
        return refuse(scene, 409, "conflict", "%.60s: volume %s is %s", action, volume->id,
                      thing_word(volume, scene->now));
    }
    struct change change = thing_change(volume, NULL, scene->now);
    change.did = tag;
    if (strcmp(action, "attach") == 0) {
        result = attach(scene, volume, arguments, &change);
    } else if (strcmp(action, "detach") == 0) {
        result = detach(scene, volume, &change);
    } else if (strcmp(action, "extend") == 0) {
        result = extend(scene, volume, arguments, &change);
    } else {
        result = refuse(scene, 400, "invalid", "there is no action '%.60s'", action);
    }
    if (result >= 300) {
        json_decref(change.fields);
    }
    return result;
}

int volume_delete(struct scene *scene, struct thing *volume)
{
    const struct thing *snapshot = cloud_next(scene->cloud, KIND_SNAPSHOT, 0);
    const struct thing *server = server_of(scene, volume);
    if (volume->leaving) {
        return 204;
    }
    if (server != NULL) {
        return refuse(scene, 409, "in_use", "volume %s is attached to server %s", volume->id,
                      server->id);
    }
    for (; snapshot != NULL; snapshot = cloud_next(scene->cloud, KIND_SNAPSHOT, snapshot->seq)) {
        if (strstr(snapshot->fields, volume->id) != NULL) {
            return refuse(scene, 409, "in_use", "volume %s has snapshot %s", volume->id,
                          snapshot->id);
        }
    }
    cloud_end_at(scene->cloud, volume, scene->now + scene->delete_ms, true, scene->now);
    return 202;
}

/* --- Disks of servers --- */

int volume_check_boot(struct scene *scene, const json_t *boot)
{
    const char *id = json_text(boot, "volume");
    int64_t most = scene->config ? scene->config->quotas[KIND_VOLUME] : -1;
    bool pending;
    if (boot == NULL) {
        return 200;
    }
    if (id == NULL && size_of(boot) < 1) {
        return refuse(scene, 400, "invalid", "server: 'boot_volume' has neither volume nor size");
    }
    if (id == NULL) {
        return most < 0 || (int64_t)scene->cloud->live[KIND_VOLUME] < most
                   ? 200
                   : refuse(scene, 403, "quota", "the quota of volumes is exhausted");
    }
    struct thing *volume = rules_referred(scene, KIND_VOLUME, id);
    if (volume == NULL) {
        return scene->reply->status;
    }
    if (strcmp(thing_status(volume, scene->now, &pending), "ACTIVE") != 0 ||
        server_of(scene, volume) != NULL) {
        return refuse(scene, 400, "invalid", "volume %s is %s", volume->id,
                      thing_word(volume, scene->now));
    }
    json_t *fields = thing_fields(volume);
    bool bootable = json_is_true(json_object_get(fields, "bootable"));
    json_decref(fields);
    return bootable ? 200 : refuse(scene, 400, "invalid", "volume %s is not bootable", volume->id);
}

/* Makes the volume that goes with its server. */
static void make_disk(struct scene *scene, const json_t *spec, const char *server, char ret_id[256])
{
    const json_t *boot = json_object_get(spec, "boot_volume");
    const char *type = json_text(boot, "type");
    json_t *fields = json_pack("{s:s,s:O,s:s,s:s,s:s,s:b}", "name", "", "size",
                               json_object_get(boot, "size"), "image", json_text(spec, "image"),
                               "type", type ? type : "mock", "device", ROOT_DEVICE, "bootable", 1);
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_VOLUME,
                            .id = ret_id,
                            .status = "ACTIVE",
                            .word = "in-use",
                            .server = server,
                            .owned = true,
                            .uses.storage = size_of(boot)};
    rules_put_new(scene, &change, fields, false);
}

void volume_boot(struct scene *scene, const json_t *spec, const char *server, json_t *fields)
{
    char made[256];
    const json_t *boot = json_object_get(spec, "boot_volume");
    const char *id = json_text(boot, "volume");
    if (boot == NULL) {
        return;
    }
    if (id == NULL) {
        make_disk(scene, spec, server, made);
    } else {
        struct change change =
            thing_change(cloud_find(scene->cloud, KIND_VOLUME, id), NULL, scene->now);
        json_object_set_new(change.fields, "device", json_string(ROOT_DEVICE));
        change.server = server;
        change.word = "in-use";
        cloud_put(scene->cloud, &change);
    }
    json_object_del(fields, "image");
    json_object_set_new(fields, "volumes", json_pack("[s]", id ? id : made));
}

void volumes_forget_server(struct scene *scene, const char *server)
{
    const struct thing *volume = cloud_next(scene->cloud, KIND_VOLUME, 0);
    for (; volume != NULL; volume = cloud_next(scene->cloud, KIND_VOLUME, volume->seq)) {
        if (volume->server == NULL || strcmp(volume->server, server) != 0) {
            continue;
        }
        if (volume->owned) {
            cloud_end_at(scene->cloud, volume, scene->now + scene->delete_ms, true, scene->now);
        } else {
            struct change change = thing_change(volume, NULL, scene->now);
            json_object_del(change.fields, "device");
            change.server = NULL;
            change.word = "available";
            cloud_put(scene->cloud, &change);
        }
    }
}

/* --- Snapshots --- */
int snapshot_create(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    bool pending;
    const struct thing *volume = rules_referred(scene, KIND_VOLUME, json_text(spec, "volume"));
    if (volume == NULL) {
        return scene->reply->status;
    }
    if (strcmp(thing_status(volume, scene->now, &pending), "ACTIVE") != 0) {
        return refuse(scene, 400, "invalid", "volume %s is %s", volume->id,
                      thing_word(volume, scene->now));
    }
    if (!has_room(scene, volume->uses.storage)) {
        return scene->reply->status;
    }
    json_t *fields = json_copy(spec);
    json_object_set_new(fields, "size", json_integer(volume->uses.storage));
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_SNAPSHOT, .id = ret_id, .tag = tag};
    put_new_storage(scene, &change, fields);
    return 202;
}

int snapshot_delete(struct scene *scene, struct thing *snapshot)
{
    if (!snapshot->leaving) {
        cloud_end_at(scene->cloud, snapshot, scene->now + scene->delete_ms, true, scene->now);
    }
    return 202;
}
