#include "rules_parts.h"

#include "md5.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int refuse(struct scene *scene, int status, const char *code, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(scene->reply->message, sizeof(scene->reply->message), format, values);
    va_end(values);
    snprintf(scene->reply->code, sizeof(scene->reply->code), "%s", code);
    scene->reply->status = status;
    return status;
}

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

void json_default(json_t *fields, const char *key, json_t *value)
{
    if (json_object_get(fields, key) == NULL) {
        json_object_set_new(fields, key, value);
    } else {
        json_decref(value);
    }
}

/* A thing that a body refers to has to be there, and not on its way out. */
struct thing *rules_referred(struct scene *scene, enum kind kind, const char *id)
{
    struct thing *thing = id ? cloud_find(scene->cloud, kind, id) : NULL;
    if (thing == NULL || thing->leaving) {
        (void)refuse(scene, 400, "invalid", "%s %.60s does not exist", kind_name(kind),
                     id ? id : "without an id");
        return NULL;
    }
    return thing;
}

int rules_check_groups(struct scene *scene, const json_t *list)
{
    size_t i;
    json_t *group;
    json_array_foreach(list, i, group)
    {
        if (rules_referred(scene, KIND_SECURITY_GROUP, json_string_value(group)) == NULL) {
            return scene->reply->status;
        }
    }
    return 200;
}

/* A thing of KIND that names ID in its list FIELD, be it as a text or as the member MEMBER. */
static const struct thing *find_named(struct scene *scene, enum kind kind, const char *field,
                                      const char *member, const char *id)
{
    uint64_t at = 0;
    const struct thing *thing;
    while ((thing = cloud_next(scene->cloud, kind, at)) != NULL) {
        size_t i;
        json_t *entry;
        bool found = false;
        at = thing->seq;
        if (thing->leaving || strstr(thing->fields, id) == NULL) {
            continue;
        }
        json_t *fields = thing_fields(thing);
        json_array_foreach(json_object_get(fields, field), i, entry)
        {
            const char *text = member ? json_text(entry, member) : json_string_value(entry);
            found = found || (text != NULL && strcmp(text, id) == 0);
        }
        json_decref(fields);
        if (found) {
            return thing;
        }
    }
    return NULL;
}

static int compare_times(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a;
    int64_t other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

/* When a builder is free for one more thing of KIND: now, or when enough of what is being built
 * before it is done. What is stuck keeps no builder busy. */
static int64_t build_begins(struct scene *scene, enum kind kind)
{
    size_t builders = scene->config ? (size_t)scene->config->builders : 0;
    size_t live = scene->cloud->live[kind];
    size_t busy = 0;
    const struct thing *thing = cloud_next(scene->cloud, kind, 0);
    if (builders == 0 || live < builders) {
        return scene->now;
    }
    int64_t *times = calloc(live, sizeof(*times));
    if (times == NULL) {
        abort();
    }
    for (; thing != NULL; thing = cloud_next(scene->cloud, kind, thing->seq)) {
        if (!thing->leaving && thing->ready > scene->now && thing->ready != NEVER) {
            times[busy++] = thing->ready;
        }
    }
    qsort(times, busy, sizeof(*times), compare_times);
    int64_t begins = busy < builders ? scene->now : times[busy - builders];
    free(times);
    return begins;
}

/* Puts what was made, ready at once unless BUILD. Takes over FIELDS. */
void rules_put_new(struct scene *scene, struct change *change, json_t *fields, bool build)
{
    change->fields = fields;
    change->created = change->changed = scene->now;
    if (build && scene->build_ms > 0) {
        change->until = "BUILD";
        change->ready =
            scene->build_ms == NEVER ? NEVER : build_begins(scene, change->kind) + scene->build_ms;
    }
    if (scene->vanish_ms > 0) {
        change->gone = scene->now + scene->vanish_ms;
    }
    cloud_put(scene->cloud, change);
}

/* --- Flavors, keypairs, images --- */
static int create_flavor(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    uint64_t at = 0;
    struct thing *other;
    while ((other = cloud_next(scene->cloud, KIND_FLAVOR, at)) != NULL) {
        at = other->seq;
        json_t *fields = thing_fields(other);
        bool same = strcmp(json_text(fields, "name"), json_text(spec, "name")) == 0;
        json_decref(fields);
        if (same) {
            return refuse(scene, 409, "conflict", "a flavor of that name exists");
        }
    }
    json_t *fields = json_copy(spec);
    json_default(fields, "disk", json_integer(0));
    json_default(fields, "ephemeral", json_integer(0));
    json_default(fields, "swap", json_integer(0));
    json_default(fields, "public", json_true());
    cloud_new_id(scene->cloud, ret_id);
    struct change change = {.kind = KIND_FLAVOR,
                            .id = ret_id,
                            .tag = tag,
                            .status = "ACTIVE",
                            .shared = json_is_true(json_object_get(fields, "public"))};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

static int create_keypair(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    const char *key = json_text(spec, "public_key");
    struct md5 md5;
    char hex[33];
    struct text fingerprint = {0};
    snprintf(ret_id, 256, "%s", json_text(spec, "name"));
    if (cloud_find(scene->cloud, KIND_KEYPAIR, ret_id) != NULL) {
        return refuse(scene, 409, "conflict", "a keypair of that name exists");
    }
    md5_begin(&md5);
    md5_add(&md5, key, strlen(key));
    md5_end(&md5, hex);
    for (int i = 0; i < 32; i += 2) {
        text_addf(&fingerprint, "%s%.2s", i ? ":" : "", hex + i);
    }
    json_t *fields = json_copy(spec);
    json_default(fields, "type", json_string("ssh"));
    json_object_set_new(fields, "fingerprint", json_string(fingerprint.bytes));
    text_free(&fingerprint);
    struct change change = {.kind = KIND_KEYPAIR, .id = ret_id, .tag = tag, .status = "ACTIVE"};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

static bool is_visible(const json_t *fields)
{
    const char *visibility = json_text(fields, "visibility");
    return visibility != NULL &&
           (strcmp(visibility, "public") == 0 || strcmp(visibility, "community") == 0);
}

/* An image of a server's disk: has its data after a while. */
static int create_image_of(struct scene *scene, json_t *fields, const char *server_id,
                           const char *tag, const char *id)
{
    bool pending;
    const struct thing *server = rules_referred(scene, KIND_SERVER, server_id);
    if (server == NULL) {
        json_decref(fields);
        return scene->reply->status;
    }
    const char *status = thing_status(server, scene->now, &pending);
    if (pending || strcmp(status, "ERROR") == 0) {
        json_decref(fields);
        return refuse(scene, 409, "conflict", "server %s is %s", server->id,
                      thing_word(server, scene->now));
    }
    json_object_del(fields, "server");
    json_object_set_new(fields, "disk_format", json_string("qcow2"));
    json_object_set_new(fields, "size", json_integer(1048576));
    json_object_set_new(fields, "checksum", json_string("b6d81b360a5672d80c27430f39153e2c"));
    struct change change = {.kind = KIND_IMAGE,
                            .id = id,
                            .tag = tag,
                            .status = scene->error_build ? "ERROR" : "ACTIVE",
                            .doing = "SAVING",
                            .shared = is_visible(fields)};
    rules_put_new(scene, &change, fields, true);
    return 202;
}

static int create_image(struct scene *scene, json_t *spec, const char *tag, char ret_id[256])
{
    const char *server = json_text(spec, "server");
    if (server == NULL && json_text(spec, "disk_format") == NULL) {
        return refuse(scene, 400, "invalid", "image: 'disk_format' is missing");
    }
    json_t *fields = json_copy(spec);
    json_default(fields, "container_format", json_string("bare"));
    json_default(fields, "visibility", json_string("private"));
    json_default(fields, "min_disk", json_integer(0));
    json_default(fields, "min_ram", json_integer(0));
    json_default(fields, "protected", json_false());
    cloud_new_id(scene->cloud, ret_id);
    if (server != NULL) {
        return create_image_of(scene, fields, server, tag, ret_id);
    }
    struct change change = {.kind = KIND_IMAGE,
                            .id = ret_id,
                            .tag = tag,
                            .status = "QUEUED",
                            .shared = is_visible(fields)};
    rules_put_new(scene, &change, fields, false);
    return 201;
}

int rules_upload(struct scene *scene, struct thing *image, int64_t size, const char *checksum)
{
    if (strcmp(image->status, "QUEUED") != 0) {
        return refuse(scene, 409, "conflict", "image %s has its data already", image->id);
    }
    json_t *fields = thing_fields(image);
    json_object_set_new(fields, "size", json_integer(size));
    json_object_set_new(fields, "checksum", json_string(checksum));
    struct change change = thing_change(image, fields, scene->now);
    change.status = "ACTIVE";
    cloud_put(scene->cloud, &change);
    return 204;
}

/* --- All kinds --- */
int rules_create(struct scene *scene, enum kind kind, json_t *spec, const char *tag,
                 char ret_id[256])
{
    switch (kind) {
    case KIND_FLAVOR:
        return create_flavor(scene, spec, tag, ret_id);
    case KIND_IMAGE:
        return create_image(scene, spec, tag, ret_id);
    case KIND_KEYPAIR:
        return create_keypair(scene, spec, tag, ret_id);
    case KIND_SECURITY_GROUP:
        return group_create(scene, spec, tag, ret_id);
    case KIND_NETWORK:
        return network_create(scene, spec, tag, ret_id);
    case KIND_SUBNET:
        return subnet_create(scene, spec, tag, ret_id);
    case KIND_PORT:
        return port_make(scene, spec, tag, NULL, NULL, ret_id);
    case KIND_SERVER:
        return server_create(scene, spec, tag, ret_id);
    case KIND_AFFINITY_GROUP:
        return affinity_create(scene, spec, tag, ret_id);
    case KIND_ROUTER:
        return router_create(scene, spec, tag, ret_id);
    case KIND_FLOATING_IP:
        return floating_create(scene, spec, tag, ret_id);
    case KIND_VOLUME:
        return volume_create(scene, spec, tag, ret_id);
    case KIND_SNAPSHOT:
        return snapshot_create(scene, spec, tag, ret_id);
    case KIND_COUNT:
        break;
    }
    return refuse(scene, 400, "invalid", "there is no such kind");
}

int rules_update(struct scene *scene, struct thing *thing, json_t *changes)
{
    if (thing->kind == KIND_KEYPAIR || thing->kind == KIND_FLAVOR ||
        thing->kind == KIND_AFFINITY_GROUP) {
        return refuse(scene, 400, "invalid", "a %s cannot be changed", kind_name(thing->kind));
    }
    if (thing->kind == KIND_ROUTER) {
        return router_update(scene, thing, changes);
    }
    if (thing->kind == KIND_FLOATING_IP) {
        return floating_update(scene, thing, changes);
    }
    json_t *fields = thing_fields(thing);
    int status = group_check_rules(scene, json_object_get(changes, "rules"));
    json_t *addresses = json_object_get(changes, "fixed_ips");
    json_t *pools = json_object_get(changes, "allocation_pools");
    if (status < 300) {
        status = rules_check_groups(scene, json_object_get(changes, "security_groups"));
    }
    json_object_update(fields, changes);
    if (status < 300 && addresses != NULL) {
        json_t *list = NULL;
        if (thing->server != NULL) {
            status = refuse(scene, 409, "conflict", "port %s is plugged in", thing->id);
        } else if ((status = port_take_addresses(scene, thing->network, addresses, &list)) < 300) {
            json_object_set_new(fields, "fixed_ips", list);
        }
    }
    if (status < 300 && (pools != NULL || json_object_get(changes, "gateway_ip") != NULL)) {
        status = subnet_complete(scene, fields);
    }
    if (status >= 300) {
        json_decref(fields);
        return status;
    }
    struct change change = thing_change(thing, fields, scene->now);
    if (thing->kind == KIND_IMAGE) {
        change.shared = is_visible(fields);
    }
    cloud_put(scene->cloud, &change);
    return 200;
}

/* Names a thing of KIND that names ID in its list FIELD, and refuses; 200 if there is none. */
static int refuse_named(struct scene *scene, const struct thing *thing, enum kind kind,
                        const char *field, const char *member)
{
    const struct thing *by = find_named(scene, kind, field, member, thing->id);
    return by == NULL ? 200
                      : refuse(scene, 409, "in_use", "%s %s is used by %s %s",
                               kind_name(thing->kind), thing->id, kind_name(kind), by->id);
}

static int delete_port(struct scene *scene, struct thing *port)
{
    if (port->server != NULL || port->router != NULL) {
        return refuse(scene, 409, "in_use", "port %s is plugged into %s %s", port->id,
                      port->server ? "server" : "router",
                      port->server ? port->server : port->router);
    }
    floating_forget_port(scene, port->id);
    cloud_end_at(scene->cloud, port, scene->now, false, scene->now);
    return 204;
}

static int delete_subnet(struct scene *scene, struct thing *subnet)
{
    const struct thing *network = cloud_find(scene->cloud, KIND_NETWORK, subnet->network);
    if (refuse_named(scene, subnet, KIND_PORT, "fixed_ips", "subnet") >= 300 ||
        refuse_named(scene, subnet, KIND_ROUTER, "external_ips", "subnet") >= 300) {
        return scene->reply->status;
    }
    if (network != NULL) {
        network_list_subnet(scene, network, subnet->id, false);
    }
    cloud_end_at(scene->cloud, subnet, scene->now, false, scene->now);
    return 204;
}

int rules_delete(struct scene *scene, struct thing *thing)
{
    switch (thing->kind) {
    case KIND_SERVER:
        return server_delete(scene, thing);
    case KIND_NETWORK:
        return network_delete(scene, thing);
    case KIND_SUBNET:
        return delete_subnet(scene, thing);
    case KIND_PORT:
        return delete_port(scene, thing);
    case KIND_ROUTER:
        return router_delete(scene, thing);
    case KIND_VOLUME:
        return volume_delete(scene, thing);
    case KIND_SNAPSHOT:
        return snapshot_delete(scene, thing);
    case KIND_SECURITY_GROUP:
        if (refuse_named(scene, thing, KIND_PORT, "security_groups", NULL) >= 300 ||
            refuse_named(scene, thing, KIND_SERVER, "security_groups", NULL) >= 300) {
            return scene->reply->status;
        }
        break;
    case KIND_IMAGE:
        if (strstr(thing->fields, "\"protected\":true") != NULL) {
            return refuse(scene, 403, "denied", "image %s is protected", thing->id);
        }
        break;
    default:
        break;
    }
    cloud_end_at(scene->cloud, thing, scene->now, false, scene->now);
    return 204;
}

int rules_action(struct scene *scene, struct thing *thing, const char *action, json_t *arguments,
                 const char *tag)
{
    switch (thing->kind) {
    case KIND_SERVER:
        return server_action(scene, thing, action, arguments, tag);
    case KIND_ROUTER:
        return router_action(scene, thing, action, arguments, tag);
    case KIND_VOLUME:
        return volume_action(scene, thing, action, arguments, tag);
    default:
        return refuse(scene, 400, "invalid", "a %s has no actions", kind_name(thing->kind));
    }
}

int rules_check_amounts(struct scene *scene, const struct amounts *more)
{
    const struct backend_config *config = scene->config;
    const struct amounts *used = &scene->cloud->used;
    if (config == NULL) {
        return 200;
    }
    const struct {
        const char *name;
        int64_t sum, more;
    } amounts[AMOUNT_COUNT] = {
        [AMOUNT_VCPUS] = {"vcpus", used->vcpus + more->vcpus, more->vcpus},
        [AMOUNT_RAM] = {"ram", used->ram + more->ram, more->ram},
        [AMOUNT_STORAGE] = {"storage", used->storage + more->storage, more->storage}};
    for (int i = 0; i < AMOUNT_COUNT; i++) {
        const struct amount_quota *quota = &config->amounts[i];
        if (quota->is_set && amounts[i].more > 0 && amounts[i].sum > quota->most) {
            return refuse(scene, 403, "quota", "the quota of %s is exhausted: %lld of %lld",
                          amounts[i].name, (long long)(amounts[i].sum - amounts[i].more),
                          (long long)quota->most);
        }
    }
    return 200;
}
