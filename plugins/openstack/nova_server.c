/*
 * Servers: the steps of create, update and delete.
 *
 *   create   POST (see once.h), keep "wait ID", await --> settled: ACTIVE is emitted, ERROR is a
 *            failure (keep "fault ID" where the reason is not yet told)
 *   delete   DELETE, keep "gone ID", await --> 404
 */
#include "once.h"

#include <stdio.h>
#include <string.h>

#define CREATE_VERSION "2.52" /* the first in which a create can carry tags, to be found by */
#define VOLUME_TYPE_VERSION \
    "2.67" /* the first in which it can say of what type its disk shall be */

static const struct os_kind *server_kind(void)
{
    return os_kind_find("server");
}

int nova_await(struct os_call *c, const char *id)
{
    c->os->host->await(c->call, "server", id, OS_AWAIT_MS);
    return VIM_AGAIN;
}

int nova_server_failed(struct os_call *c, const char *id, const json_t *body, const char *doing)
{
    const char *text = os_json_text(json_object_get(body, "fault"), "message");

    return os_fail(c, os_error_is_capacity(text) ? VIM_E_QUOTA : VIM_E_FAILED,
                   "server %s went into ERROR %s%s%s", id, doing, text == NULL ? "" : ": ",
                   text == NULL ? "" : text);
}

/* --- Create ---------------------------------------------------------------------------------- */

static json_t *wanted_networks(const json_t *spec)
{
    const json_t *networks = json_object_get(spec, "networks");
    json_t *wanted;
    const json_t *entry;
    size_t at;

    if (json_array_size(networks) == 0) {
        return json_string("none");
    }
    wanted = json_array();
    json_array_foreach((json_t *)networks, at, entry)
    {
        json_t *one = json_object();
        os_json_copy(one, "uuid", entry, "network", JSON_STRING);
        os_json_copy(one, "port", entry, "port", JSON_STRING);
        os_json_copy(one, "fixed_ip", entry, "fixed_ip", JSON_STRING);
        json_array_append_new(wanted, one);
    }
    return wanted;
}

/* Its disk: a volume that there is, which stays when the server goes; or one that Nova makes of the image, without any
 * mark, which therefore goes with the server, whoever deletes that. */
static void set_boot_volume(json_t *server, const json_t *spec)
{
    const json_t *boot = json_object_get(spec, "boot_volume");
    const json_t *volume = json_object_get(boot, "volume");
    json_t *disk;

    if (boot == NULL) {
        return;
    }
    disk = json_pack("{s:i,s:s,s:s,s:b}", "boot_index", 0, "source_type",
                     volume == NULL ? "image" : "volume", "destination_type", "volume",
                     "delete_on_termination", volume == NULL);
    os_json_copy(disk, "uuid", volume == NULL ? spec : boot, volume == NULL ? "image" : "volume",
                 JSON_STRING);
    os_json_copy(disk, "volume_size", boot, "size", JSON_INTEGER);
    os_json_copy(disk, "volume_type", boot, "type", JSON_STRING);
    json_object_set_new(server, "block_device_mapping_v2", json_pack("[o]", disk));
    json_object_del(server, "imageRef");
}

static json_t *create_body(const struct vim_op *op, const json_t *spec)
{
    json_t *server = json_object();
    json_t *metadata = json_object();
    const json_t *groups = json_object_get(spec, "security_groups");
    const json_t *entry;
    size_t at;

    os_json_copy(server, "name", spec, "name", JSON_STRING);
    os_json_copy(server, "imageRef", spec, "image", JSON_STRING);
    os_json_copy(server, "flavorRef", spec, "flavor", JSON_STRING);
    os_json_copy(server, "key_name", spec, "key", JSON_STRING);
    os_json_copy(server, "user_data", spec, "user_data", JSON_STRING);
    os_json_copy(server, "availability_zone", spec, "zone", JSON_STRING);
    json_object_set_new(server, "networks", wanted_networks(spec));
    set_boot_volume(server, spec);
    if (json_array_size(groups) > 0) {
        json_t *named = json_array();
        json_array_foreach((json_t *)groups, at, entry)
        {
            /* Nova calls it a name and takes the id. */
            json_array_append_new(named, json_pack("{s:O}", "name", entry));
        }
        json_object_set_new(server, "security_groups", named);
    }
    if (json_is_object(json_object_get(spec, "metadata"))) {
        json_object_update(metadata, json_object_get(spec, "metadata"));
    }
    json_object_set_new(metadata, OS_TAG_KEY, json_string(op->request_id));
    json_object_set_new(server, "metadata", metadata);
    json_object_set_new(server, "tags", json_pack("[s]", op->request_id));
    return json_object_get(spec, "affinity_group") == NULL
               ? json_pack("{s:o}", "server", server)
               : json_pack("{s:o,s:{s:O}}", "server", server, "os:scheduler_hints", "group",
                           json_object_get(spec, "affinity_group"));
}

static int delete_server(struct os_call *c, const struct os_once *once, const char *id)
{
    int rc;

    (void)once;
    os_step_note(c, "delete-server");
    rc = os_delete(c, OS_COMPUTE, NOVA_SERVER_VERSION, "/servers/%s", id);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

/* The end of a create whose server went into ERROR. Nova shows the state a moment before the
 * reason, so it is asked for the reason once more. */
static int build_failed(struct os_call *c, const struct os_once *once, const struct os_found *found,
                        int64_t since)
{
    struct os_cursor cursor;

    os_cursor_read(once->op->kept, &cursor);
    if (json_object_get(found->body, "fault") == NULL && strcmp(cursor.phase, "fault") != 0) {
        os_cursor_keep(c, "fault", since, found->id);
        c->os->host->again(c->call, 500);
        return VIM_AGAIN;
    }
    return nova_server_failed(c, found->id, found->body, "while it was built");
}

/* A server that is no longer building: the end of the create. */
static int created(struct os_call *c, const struct os_once *once, struct os_found *found,
                   int64_t since)
{
    int rc;

    if (strcmp(found->status, "ERROR") == 0) {
        return build_failed(c, once, found, since);
    }
    rc = os_once_end(c, once, found->id, since);
    if (rc == VIM_AGAIN) {
        found->flags |= VIM_ITEM_PENDING;
        (void)os_emit(c, found);
        return rc;
    }
    if (rc == VIM_OK && json_object_get(found->body, "addresses") == NULL) {
        rc = os_server_ports(c, found);
    }
    if (rc == VIM_OK) {
        rc = os_emit(c, found);
    }
    return rc < 0 ? rc : VIM_OK;
}

/* It is known by id: the rest is to wait. */
static int wait_built(struct os_call *c, const struct os_once *once, struct os_found *found,
                      int64_t since)
{
    os_cursor_keep(c, "wait", since, found->id);
    if ((found->flags & VIM_ITEM_PENDING) == 0) {
        return created(c, once, found, since);
    }
    (void)os_emit(c, found);
    return nova_await(c, found->id);
}

static const char *create_version(const json_t *spec)
{
    return json_object_get(json_object_get(spec, "boot_volume"), "type") == NULL
               ? CREATE_VERSION
               : VOLUME_TYPE_VERSION;
}

static int post_server(struct os_call *c, const struct os_once *once, struct os_found *ret_found)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    int rc;

    os_step_note(c, "create-server");
    rc = os_send(c, OS_COMPUTE, create_version(once->spec), "POST",
                 create_body(once->op, once->spec), &reply, "/servers");
    if (rc != VIM_OK) {
        /* What it refers to is missing; the server itself cannot be. */
        if (rc == VIM_E_NOT_FOUND) {
            c->error.code = rc = VIM_E_INVALID;
        }
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    if (os_read_id(json_object_get(root, "server"), "id", ret_found) != VIM_OK ||
        !os_id_is_plain(ret_found->id)) {
        return os_fail(c, VIM_E_LOST, "compute answered %ld without the server's id", reply.status);
    }
    ret_found->kind = "server";
    ret_found->status = "BUILD";
    ret_found->flags = VIM_ITEM_PENDING;
    (void)snprintf(ret_found->tag, sizeof(ret_found->tag), "%s", once->op->request_id);
    return VIM_OK;
}

/* What the inventory has seen since the wait began needs no request at all. */
static int use_seen(struct os_call *c, const struct os_once *once, const struct os_cursor *cursor,
                    int *ret_used)
{
    const struct vim_item *seen = once->op->seen;
    const char *id = cursor->id;
    OS_FOUND found = {.kind = "server"};

    *ret_used = 0;
    if (seen == NULL || seen->id == NULL || strcmp(seen->id, id) != 0 || seen->body == NULL ||
        seen->status == NULL || (seen->flags & (VIM_ITEM_PENDING | VIM_ITEM_GONE)) != 0) {
        return VIM_OK;
    }
    found.body = os_json_parse(seen->body, strlen(seen->body));
    if (!json_is_object(found.body)) {
        return VIM_OK;
    }
    *ret_used = 1;
    found.status = seen->status;
    found.flags = seen->flags;
    (void)snprintf(found.id, sizeof(found.id), "%s", id);
    (void)snprintf(found.tag, sizeof(found.tag), "%s", once->op->request_id);
    return created(c, once, &found, cursor->since);
}

static int continue_create(struct os_call *c, const struct os_once *once,
                           const struct os_cursor *cursor)
{
    OS_FOUND found = {0};
    int used;
    int rc;

    os_step_note(c, "wait-active");
    rc = use_seen(c, once, cursor, &used);
    if (used) {
        return rc;
    }
    rc = os_fetch(c, server_kind(), cursor->id, &found);
    if (rc == VIM_E_NOT_FOUND) {
        return os_fail(c, VIM_E_FAILED, "server %s was deleted while it was built", cursor->id);
    }
    return rc == VIM_OK ? wait_built(c, once, &found, cursor->since) : rc;
}

/* --- Delete, and the undo of a create --------------------------------------------------------- */

/* Waits until it is gone; asks again if the cloud has forgotten to delete it. */
static int delete_and_wait(struct os_call *c, const struct vim_op *op, const char *id, int begun,
                           int64_t since)
{
    const struct vim_item *seen = op->seen;
    OS_FOUND found = {0};
    int rc;

    if (begun && seen != NULL && seen->id != NULL && strcmp(seen->id, id) == 0 &&
        (seen->flags & VIM_ITEM_GONE) != 0) {
        return VIM_OK;
    }
    if (begun) {
        os_step_note(c, "wait-gone");
        rc = os_fetch(c, server_kind(), id, &found);
        if (rc == VIM_E_NOT_FOUND) {
            return VIM_OK;
        }
        if (rc != VIM_OK) {
            return rc;
        }
        if (strcmp(found.status, "DELETING") == 0) {
            return nova_await(c, id);
        }
    }
    os_step_note(c, "delete-server");
    rc = os_delete(c, OS_COMPUTE, NOVA_SERVER_VERSION, "/servers/%s", id);
    if (rc == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (rc != VIM_OK) {
        return rc;
    }
    os_cursor_keep(c, "gone", since, id);
    return nova_await(c, id);
}

static int take_back_server(struct os_call *c, const struct os_once *once, const char *id,
                            int64_t since)
{
    struct os_cursor cursor;

    os_cursor_read(once->op->kept, &cursor);
    return delete_and_wait(c, once->op, id,
                           strcmp(cursor.phase, "gone") == 0 && strcmp(cursor.id, id) == 0, since);
}

static int server_delete(struct os_call *c, const struct vim_op *op)
{
    struct os_cursor cursor;

    os_cursor_read(op->kept, &cursor);
    return delete_and_wait(c, op, op->id, cursor.id[0] != '\0', 0);
}

/* One step of a create, or of its undo. */
static int server_create(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    OS_TEXT query = os_text("tags=%s", op->request_id);
    struct os_once once = {.kind = server_kind(),
                           .op = op,
                           .spec = spec,
                           .query = query,
                           .post = post_server,
                           .go_on = wait_built,
                           .remove = delete_server,
                           .take_back = take_back_server,
                           .sure = os_server_list_is_whole};
    struct os_cursor cursor;

    if (spec == NULL) {
        return c->error.code;
    }
    if (query == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    if (op->undo) {
        return os_once_undo(c, &once);
    }
    os_cursor_read(op->kept, &cursor);
    return strcmp(cursor.phase, "wait") == 0 || strcmp(cursor.phase, "fault") == 0
               ? continue_create(c, &once, &cursor)
               : os_once_create(c, &once);
}

/* --- Update ---------------------------------------------------------------------------------- */

static int put_metadata(struct os_call *c, const char *id, const json_t *metadata)
{
    HTTP_REPLY reply = {0};
    OS_FOUND found = {0};
    json_t *wanted;
    int rc = os_fetch(c, server_kind(), id, &found);

    if (rc != VIM_OK) {
        return rc;
    }
    /* The whole set is replaced: the tag has to stay. */
    wanted = json_copy((json_t *)metadata);
    if (found.tag[0] != '\0') {
        json_object_set_new(wanted, OS_TAG_KEY, json_string(found.tag));
    }
    return os_send(c, OS_COMPUTE, NOVA_SERVER_VERSION, "PUT",
                   json_pack("{s:o}", "metadata", wanted), &reply, "/servers/%s/metadata", id);
}

static int server_update(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    const json_t *name = json_object_get(spec, "name");
    const json_t *metadata = json_object_get(spec, "metadata");
    HTTP_REPLY reply = {0};
    const char *key;
    json_t *value;
    int rc = VIM_OK;

    if (spec == NULL) {
        return c->error.code;
    }
    json_object_foreach(spec, key, value)
    {
        if (strcmp(key, "name") != 0 && strcmp(key, "metadata") != 0) {
            return os_fail(c, VIM_E_INVALID, "%s of a server cannot be changed", key);
        }
    }
    os_step_note(c, "update-server");
    if (json_is_string(name)) {
        rc = os_send(c, OS_COMPUTE, NOVA_SERVER_VERSION, "PUT",
                     json_pack("{s:{s:O}}", "server", "name", name), &reply, "/servers/%s", op->id);
    }
    if (rc == VIM_OK && json_is_object(metadata)) {
        rc = put_metadata(c, op->id, metadata);
    }
    return rc == VIM_OK ? os_server_get(c, op->id) : rc;
}

int nova_server_step(struct os_call *c, const struct vim_op *op)
{
    switch (op->verb) {
    case VIM_VERB_CREATE:
        return server_create(c, op);
    case VIM_VERB_UPDATE:
        return server_update(c, op);
    case VIM_VERB_DELETE:
        return server_delete(c, op);
    case VIM_VERB_ACTION:
        return nova_action(c, op);
    default:
        return os_fail(c, VIM_E_UNSUPPORTED, "not for a server");
    }
}
