/*
 * Glance: images. The client chooses the id, which is the request's; and the property OS_TAG_KEY
 * tells vimd's images from others. The image of a server is made by Nova, which chooses the id: it is
 * found by that property.
 */
#include "once.h"

#include <stdio.h>
#include <string.h>

static const struct os_kind *image_kind(void)
{
    return os_kind_find("image");
}

static json_t *create_body(const struct vim_op *op, const json_t *spec)
{
    json_t *image = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json_object_get(spec, "properties"), key, value)
    {
        if (!os_image_field(key)) {
            json_object_set(image, key, value);
        }
    }
    json_object_set_new(image, "container_format", json_string("bare"));
    json_object_set_new(image, "visibility", json_string("private"));
    os_json_copy(image, "name", spec, "name", JSON_STRING);
    os_json_copy(image, "disk_format", spec, "disk_format", JSON_STRING);
    os_json_copy(image, "container_format", spec, "container_format", JSON_STRING);
    os_json_copy(image, "visibility", spec, "visibility", JSON_STRING);
    os_json_copy(image, "min_disk", spec, "min_disk", JSON_INTEGER);
    os_json_copy(image, "min_ram", spec, "min_ram", JSON_INTEGER);
    os_json_copy(image, "protected", spec, "protected", JSON_TRUE);
    json_object_set_new(image, "id", json_string(op->request_id));
    json_object_set_new(image, OS_TAG_KEY, json_string(op->request_id));
    return image;
}

static int image_create(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    HTTP_REPLY reply = {0};
    OS_FOUND found = {0};
    int rc;

    if (spec == NULL) {
        return c->error.code;
    }
    os_step_note(c, "create-image");
    rc = os_send(c, OS_IMAGE, NULL, "POST", create_body(op, spec), &reply, "/images");
    if (rc == VIM_E_CONFLICT) {
        /* The id is taken: by an earlier try of the same request. */
        struct os_error error = c->error;
        rc = os_fetch(c, image_kind(), op->request_id, &found);
        if (rc == VIM_E_NOT_FOUND || (rc == VIM_OK && strcmp(found.tag, op->request_id) != 0)) {
            c->error = error;
            return error.code;
        }
    } else if (rc == VIM_OK) {
        rc = os_read_answer(c, image_kind(), &reply, 1, &found);
    }
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

static int image_delete(struct os_call *c, const char *id)
{
    int rc;

    os_step_note(c, "delete-image");
    rc = os_delete(c, OS_IMAGE, NULL, "/images/%s", id);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

/* A protected image refuses to be deleted; what a failed create has left is not worth protecting. */
static int image_undo(struct os_call *c, const struct vim_op *op)
{
    HTTP_REPLY reply = {0};
    int rc = image_delete(c, op->request_id);

    if (rc == VIM_E_DENIED) {
        rc =
            os_send(c, OS_IMAGE, NULL, "PATCH",
                    json_pack("[{s:s,s:s,s:b}]", "op", "replace", "path", "/protected", "value", 0),
                    &reply, "/images/%s", op->request_id);
        if (rc == VIM_OK) {
            rc = image_delete(c, op->request_id);
        }
    }
    return rc == VIM_OK ? os_once_undone(c, op) : rc;
}

static int image_update(struct os_call *c, const struct vim_op *op)
{
    static const char *const fields[] = {"name", "visibility", "min_disk", "min_ram", "protected"};
    OS_JSON spec = os_spec_read(c, op);
    json_t *patch;
    HTTP_REPLY reply = {0};
    OS_FOUND found = {0};
    const char *key;
    json_t *value;
    int rc;

    if (spec == NULL) {
        return c->error.code;
    }
    patch = json_array();
    json_object_foreach(spec, key, value)
    {
        OS_TEXT path = os_text("/%s", key);
        size_t at = 0;
        while (at < sizeof(fields) / sizeof(fields[0]) && strcmp(fields[at], key) != 0) {
            at++;
        }
        if (at == sizeof(fields) / sizeof(fields[0])) {
            json_decref(patch);
            return os_fail(c, VIM_E_INVALID, "%s of an image cannot be changed", key);
        }
        json_array_append_new(patch, json_pack("{s:s,s:s,s:O}", "op", "replace", "path",
                                               path == NULL ? "" : path, "value", value));
    }
    os_step_note(c, "update-image");
    rc = os_send(c, OS_IMAGE, NULL, "PATCH", patch, &reply, "/images/%s", op->id);
    if (rc == VIM_OK) {
        rc = os_read_answer(c, image_kind(), &reply, 0, &found);
    }
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

/* --- Upload ---------------------------------------------------------------------------------- */

/* The image as it is after the data went: done if all of it is there. */
static int finish_upload(struct os_call *c, const struct vim_op *op)
{
    OS_FOUND found = {0};
    int64_t size;
    int rc;

    os_step_note(c, "check-image");
    rc = os_fetch(c, image_kind(), op->id, &found);
    if (rc != VIM_OK) {
        return rc;
    }
    if ((found.flags & VIM_ITEM_PENDING) != 0) {
        c->os->host->await(c->call, "image", op->id, OS_AWAIT_MS);
        return VIM_AGAIN;
    }
    size = os_json_integer(found.body, "size", -1);
    if (strcmp(found.status, "ACTIVE") != 0 || size != op->data_size) {
        return os_fail(c, VIM_E_FAILED, "image %s is %s with %lld of %lld bytes", op->id,
                       found.status, (long long)size, (long long)op->data_size);
    }
    rc = os_emit(c, &found);
    return rc < 0 ? rc : VIM_OK;
}

static int put_data(struct os_call *c, const struct vim_op *op)
{
    OS_TEXT path = os_text("/images/%s/file", op->id);
    struct os_request request = {.service = OS_IMAGE,
                                 .method = "PUT",
                                 .path = path,
                                 .content_type = "application/octet-stream",
                                 .stream = 1,
                                 .stream_size = op->data_size};
    HTTP_REPLY reply = {0};

    os_step_note(c, "upload-data");
    return path == NULL ? os_fail(c, VIM_E_INTERNAL, "not enough memory")
                        : os_request(c, &request, &reply);
}

static int image_upload(struct os_call *c, const struct vim_op *op)
{
    struct os_cursor cursor;
    OS_FOUND found = {0};
    int rc;

    if (op->data_size < 0) {
        return os_fail(c, VIM_E_INVALID, "there is no data to upload");
    }
    os_cursor_read(op->kept, &cursor);
    if (op->attempt > 0 || cursor.id[0] != '\0') {
        rc = os_fetch(c, image_kind(), op->id, &found);
        if (rc != VIM_OK) {
            return rc;
        }
        if (strcmp(found.status, "QUEUED") != 0) {
            /* Sent already, or an earlier try is not yet noticed to be broken. */
            return finish_upload(c, op);
        }
    }
    rc = put_data(c, op);
    if (rc != VIM_OK) {
        return rc;
    }
    os_cursor_keep(c, "sent", 0, op->id);
    return finish_upload(c, op);
}

/* --- The image of a server ------------------------------------------------------------------- */

static int post_snapshot(struct os_call *c, const struct os_once *once, struct os_found *ret_found)
{
    static const char *const fields[] = {"name", "server", "properties"};
    json_t *metadata = json_object();
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const char *key;
    json_t *value;
    int rc;

    json_object_foreach((json_t *)once->spec, key, value)
    {
        size_t at = 0;
        while (at < sizeof(fields) / sizeof(fields[0]) && strcmp(fields[at], key) != 0) {
            at++;
        }
        if (at == sizeof(fields) / sizeof(fields[0])) {
            json_decref(metadata);
            return os_fail(c, VIM_E_INVALID, "%s of the image of a server cannot be set", key);
        }
    }
    if (json_is_object(json_object_get(once->spec, "properties"))) {
        json_object_update(metadata, json_object_get(once->spec, "properties"));
    }
    json_object_set_new(metadata, OS_TAG_KEY, json_string(once->op->request_id));
    os_step_note(c, "create-image");
    rc = os_send(c, OS_COMPUTE, NOVA_SERVER_VERSION, "POST",
                 json_pack("{s:{s:s,s:o}}", "createImage", "name", os_json_text(once->spec, "name"),
                           "metadata", metadata),
                 &reply, "/servers/%s/action", os_json_text(once->spec, "server"));
    if (rc == VIM_E_NOT_FOUND) {
        c->error.code = rc = VIM_E_INVALID; /* the server; the image cannot be missing */
    }
    if (rc != VIM_OK) {
        return rc;
    }
    root = os_json_parse(reply.body, reply.length);
    if (os_read_id(root, "image_id", ret_found) != VIM_OK || !os_id_is_plain(ret_found->id)) {
        return os_fail(c, VIM_E_LOST, "compute answered %ld without the image's id", reply.status);
    }
    ret_found->kind = "image";
    ret_found->status = "BUILD";
    ret_found->flags = VIM_ITEM_PENDING;
    (void)snprintf(ret_found->tag, sizeof(ret_found->tag), "%s", once->op->request_id);
    return VIM_OK;
}

/* It is known by id: the rest is to wait until it has its data. */
static int wait_saved(struct os_call *c, const struct os_once *once, struct os_found *found,
                      int64_t since)
{
    int queued = strcmp(found->status, "QUEUED") == 0;
    int rc;

    os_cursor_keep(c, "wait", since, found->id);
    if (queued || (found->flags & VIM_ITEM_PENDING) != 0) {
        found->status = "BUILD";
        found->flags |= VIM_ITEM_PENDING;
        (void)os_emit(c, found);
        c->os->host->again(c->call, 1000);
        return VIM_AGAIN;
    }
    if (strcmp(found->status, "ACTIVE") != 0) {
        return os_fail(c, VIM_E_FAILED, "image %s is %s after it was made", found->id,
                       found->status);
    }
    rc = os_once_end(c, once, found->id, since);
    if (rc == VIM_AGAIN) {
        found->flags |= VIM_ITEM_PENDING;
        (void)os_emit(c, found);
        return rc;
    }
    if (rc == VIM_OK) {
        rc = os_emit(c, found);
    }
    return rc < 0 ? rc : VIM_OK;
}

static int remove_snapshot(struct os_call *c, const struct os_once *once, const char *id)
{
    (void)once;
    return image_delete(c, id);
}

static int snapshot_create(struct os_call *c, const struct vim_op *op, const json_t *spec)
{
    OS_TEXT query = os_text(OS_TAG_KEY "=%s", op->request_id);
    struct os_once once = {.kind = image_kind(),
                           .op = op,
                           .spec = spec,
                           .query = query,
                           .post = post_snapshot,
                           .go_on = wait_saved,
                           .remove = remove_snapshot};
    struct os_cursor cursor;
    OS_FOUND found = {0};
    int rc;

    if (query == NULL || os_json_text(spec, "name") == NULL ||
        !os_id_is_plain(os_json_text(spec, "server"))) {
        return os_fail(c, VIM_E_INVALID, "the image of a server needs a name and the server's id");
    }
    if (op->undo) {
        return os_once_undo(c, &once);
    }
    os_cursor_read(op->kept, &cursor);
    if (strcmp(cursor.phase, "wait") != 0) {
        return os_once_create(c, &once);
    }
    os_step_note(c, "wait-saved");
    rc = os_fetch(c, image_kind(), cursor.id, &found);
    if (rc == VIM_E_NOT_FOUND) {
        return os_fail(c, VIM_E_FAILED, "image %s is gone: the server could not be saved",
                       cursor.id);
    }
    return rc == VIM_OK ? wait_saved(c, &once, &found, cursor.since) : rc;
}

static int step_create(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);

    if (spec == NULL) {
        return c->error.code;
    }
    if (os_json_text(spec, "server") != NULL) {
        return snapshot_create(c, op, spec);
    }
    return op->undo ? image_undo(c, op) : image_create(c, op);
}

int glance_image_step(struct os_call *c, const struct vim_op *op)
{
    switch (op->verb) {
    case VIM_VERB_CREATE:
        return step_create(c, op);
    case VIM_VERB_UPDATE:
        return image_update(c, op);
    case VIM_VERB_DELETE:
        return image_delete(c, op->id);
    case VIM_VERB_UPLOAD:
        return image_upload(c, op);
    default:
        return os_fail(c, VIM_E_UNSUPPORTED, "not for an image");
    }
}
