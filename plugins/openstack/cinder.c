/*
 * Cinder: volumes and their snapshots. The mark of a request is the metadata key OS_TAG_KEY.
 *
 *   create   POST (see once.h), keep "wait ID", await --> available; error is a failure
 *            (keep "fault ID" where the reason is not yet told)
 *   delete   DELETE, keep "gone ID", await --> 404
 */
#include "cinder.h"

#include <stdio.h>
#include <string.h>

int cinder_await(struct os_call *c, const struct os_kind *kind, const char *id)
{
    c->os->host->await(c->call, kind->name, id, OS_AWAIT_MS);
    return VIM_AGAIN;
}

/* --- Create ---------------------------------------------------------------------------------- */

/* Cinder's words for the wanted fields: NULL for one that cannot be set. */
static const char *wire_name(const char *key, int volume)
{
    static const char *const names[][2] = {{"name", "name"},
                                           {"description", "description"},
                                           {"size", "size"},
                                           {"image", "imageRef"},
                                           {"snapshot", "snapshot_id"},
                                           {"type", "volume_type"},
                                           {"zone", "availability_zone"},
                                           {"metadata", "metadata"}};

    if (!volume) {
        return strcmp(key, "volume") == 0 ? "volume_id"
               : strcmp(key, "name") == 0 || strcmp(key, "description") == 0 ||
                       strcmp(key, "metadata") == 0
                   ? key
                   : NULL;
    }
    for (size_t at = 0; at < sizeof(names) / sizeof(names[0]); at++) {
        if (strcmp(names[at][0], key) == 0) {
            return names[at][1];
        }
    }
    return NULL;
}

/* NULL, with c->error filled, for a field that cannot be set. */
static json_t *create_body(struct os_call *c, const struct os_once *once)
{
    int volume = strcmp(once->kind->name, "volume") == 0;
    json_t *wire = json_object();
    json_t *metadata = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)once->spec, key, value)
    {
        const char *name = wire_name(key, volume);
        if (name == NULL) {
            json_decref(wire);
            json_decref(metadata);
            (void)os_fail(c, VIM_E_INVALID, "%s of a %s cannot be set", key, once->kind->name);
            return NULL;
        }
        json_object_set(wire, name, value);
    }
    if (json_is_object(json_object_get(once->spec, "metadata"))) {
        json_object_update(metadata, json_object_get(once->spec, "metadata"));
    }
    json_object_set_new(metadata, OS_TAG_KEY, json_string(once->op->request_id));
    json_object_set_new(wire, "metadata", metadata);
    if (!volume) {
        /* Of a volume that is attached too: as after a power cut. */
        json_object_set_new(wire, "force", json_true());
    }
    return json_pack("{s:o}", once->kind->singular, wire);
}

static int post_one(struct os_call *c, const struct os_once *once, struct os_found *ret_found)
{
    json_t *body = create_body(c, once);
    HTTP_REPLY reply = {0};
    char note[64];
    int rc;

    if (body == NULL) {
        return c->error.code;
    }
    (void)snprintf(note, sizeof(note), "create-%s", once->kind->name);
    os_step_note(c, note);
    rc = os_send(c, OS_VOLUME, NULL, "POST", body, &reply, "%s", once->kind->path);
    if (rc == VIM_E_NOT_FOUND) {
        /* What it refers to is missing; the new thing itself cannot be. */
        c->error.code = rc = VIM_E_INVALID;
    }
    if (rc != VIM_OK) {
        return rc;
    }
    rc = os_read_answer(c, once->kind, &reply, 1, ret_found);
    (void)snprintf(ret_found->tag, sizeof(ret_found->tag), "%s", once->op->request_id);
    return rc;
}

/* What Cinder tells its user about a thing that went into error, or NULL: it may have no such
 * messages (they begin with 3.3, the filter with 3.5), and none about this one. */
static json_t *read_message(struct os_call *c, const char *id)
{
    HTTP_REPLY reply = {0};
    OS_JSON answer = NULL;

    if (!os_id_is_plain(id) ||
        os_get(c, OS_VOLUME, "3.5", &reply,
               "/messages?resource_uuid=%s&sort=created_at:desc&limit=1", id) != VIM_OK) {
        return NULL;
    }
    answer = os_json_parse(reply.body, reply.length);
    return json_incref(json_array_get(json_object_get(answer, "messages"), 0));
}

/* The end of a create whose thing went into error. Cinder shows the state a moment before the
 * reason, so it is asked for the reason once more. */
static int make_failed(struct os_call *c, const struct os_once *once, const struct os_found *found,
                       int64_t since)
{
    OS_JSON message = NULL;
    const char *text;
    struct os_cursor cursor;

    os_step_note(c, "read-message");
    message = read_message(c, found->id);
    text = os_json_text(message, "user_message");
    os_cursor_read(once->op->kept, &cursor);
    if (text == NULL && strcmp(cursor.phase, "fault") != 0) {
        os_cursor_keep(c, "fault", since, found->id);
        c->os->host->again(c->call, 500);
        return VIM_AGAIN;
    }
    return os_fail(c, os_error_is_capacity(text) ? VIM_E_QUOTA : VIM_E_FAILED,
                   "%s %s went into %s while it was made%s%s", once->kind->name, found->id,
                   os_json_text(found->body, "backend_status"), text == NULL ? "" : ": ",
                   text == NULL ? "" : text);
}

/* It is known by id: the rest is to wait. */
static int wait_made(struct os_call *c, const struct os_once *once, struct os_found *found,
                     int64_t since)
{
    int rc;

    os_cursor_keep(c, "wait", since, found->id);
    if ((found->flags & VIM_ITEM_PENDING) != 0) {
        (void)os_emit(c, found);
        return cinder_await(c, once->kind, found->id);
    }
    if (strcmp(found->status, "ERROR") == 0) {
        return make_failed(c, once, found, since);
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

static int continue_create(struct os_call *c, const struct os_once *once,
                           const struct os_cursor *cursor)
{
    OS_FOUND found = {0};
    int rc;

    os_step_note(c, "wait-available");
    rc = os_fetch(c, once->kind, cursor->id, &found);
    if (rc == VIM_E_NOT_FOUND) {
        return os_fail(c, VIM_E_FAILED, "%s %s was deleted while it was made", once->kind->name,
                       cursor->id);
    }
    return rc == VIM_OK ? wait_made(c, once, &found, cursor->since) : rc;
}

/* --- Delete, and the undo of a create --------------------------------------------------------- */

/* Cinder refuses with a 400, whatever is in the way: this says what it is, and whether it may pass. */
static int explain_refusal(struct os_call *c, const struct os_kind *kind, const char *id)
{
    struct os_error error = c->error;
    OS_FOUND found = {0};
    const char *server;
    int rc = os_fetch(c, kind, id, &found);

    if (rc != VIM_OK) {
        return rc;
    }
    server = os_json_text(found.body, "server");
    if (server != NULL) {
        return os_fail(c, VIM_E_IN_USE, "volume %s is attached to server %s", id, server);
    }
    if ((found.flags & VIM_ITEM_PENDING) != 0) {
        return os_fail(c, VIM_E_BUSY, "%s %s is %s", kind->name, id,
                       os_json_text(found.body, "backend_status"));
    }
    c->error = error;
    c->error.code = VIM_E_IN_USE;
    return VIM_E_IN_USE;
}

static int delete_one(struct os_call *c, const struct os_kind *kind, const char *id)
{
    char note[64];
    int rc;

    (void)snprintf(note, sizeof(note), "delete-%s", kind->name);
    os_step_note(c, note);
    rc = os_delete(c, OS_VOLUME, NULL, "%s/%s", kind->path, id);
    if (rc == VIM_E_INVALID) {
        rc = explain_refusal(c, kind, id);
    }
    return rc;
}

/* Waits until it is gone; asks again if the cloud has forgotten to delete it. */
static int delete_and_wait(struct os_call *c, const struct os_kind *kind, const struct vim_op *op,
                           const char *id, int begun, int64_t since)
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
        rc = os_fetch(c, kind, id, &found);
        if (rc != VIM_OK) {
            return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
        }
        if (strcmp(found.status, "DELETING") == 0) {
            return cinder_await(c, kind, id);
        }
    }
    rc = delete_one(c, kind, id);
    if (rc != VIM_OK) {
        return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
    }
    os_cursor_keep(c, "gone", since, id);
    return cinder_await(c, kind, id);
}

static int remove_one(struct os_call *c, const struct os_once *once, const char *id)
{
    int rc = delete_one(c, once->kind, id);

    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

static int take_back(struct os_call *c, const struct os_once *once, const char *id, int64_t since)
{
    struct os_cursor cursor;

    os_cursor_read(once->op->kept, &cursor);
    return delete_and_wait(c, once->kind, once->op, id,
                           strcmp(cursor.phase, "gone") == 0 && strcmp(cursor.id, id) == 0, since);
}

static int create(struct os_call *c, const struct os_kind *kind, const struct vim_op *op,
                  const json_t *spec)
{
    /* A Cinder that does not know the filter shows all of them, which is as good. */
    OS_TEXT query =
        os_text("metadata=%%7B%%22" OS_TAG_KEY "%%22%%3A%%22%s%%22%%7D", op->request_id);
    struct os_once once = {.kind = kind,
                           .op = op,
                           .spec = spec,
                           .query = query,
                           .post = post_one,
                           .go_on = wait_made,
                           .remove = remove_one,
                           .take_back = take_back};
    struct os_cursor cursor;

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

static int put_metadata(struct os_call *c, const struct os_kind *kind, const char *id,
                        const json_t *metadata)
{
    HTTP_REPLY reply = {0};
    OS_FOUND found = {0};
    json_t *wanted;
    int rc = os_fetch(c, kind, id, &found);

    if (rc != VIM_OK) {
        return rc;
    }
    /* The whole set is replaced: the tag has to stay. */
    wanted = json_copy((json_t *)metadata);
    if (found.tag[0] != '\0') {
        json_object_set_new(wanted, OS_TAG_KEY, json_string(found.tag));
    }
    return os_send(c, OS_VOLUME, NULL, "PUT", json_pack("{s:o}", "metadata", wanted), &reply,
                   "%s/%s/metadata", kind->path, id);
}

static int update(struct os_call *c, const struct os_kind *kind, const struct vim_op *op,
                  const json_t *spec)
{
    const json_t *metadata = json_object_get(spec, "metadata");
    json_t *wire = json_object();
    HTTP_REPLY reply = {0};
    int rc = VIM_OK;

    os_json_copy(wire, "name", spec, "name", JSON_STRING);
    os_json_copy(wire, "description", spec, "description", JSON_STRING);
    if (json_object_size(wire) + (metadata != NULL) != json_object_size(spec)) {
        json_decref(wire);
        return os_fail(c, VIM_E_INVALID, "only name, description and metadata of a %s can change",
                       kind->name);
    }
    os_step_note(c, "update");
    if (json_object_size(wire) > 0) {
        rc = os_send(c, OS_VOLUME, NULL, "PUT", json_pack("{s:o}", kind->singular, wire), &reply,
                     "%s/%s", kind->path, op->id);
    } else {
        json_decref(wire);
    }
    if (rc == VIM_OK && json_is_object(metadata)) {
        rc = put_metadata(c, kind, op->id, metadata);
    }
    return rc == VIM_OK ? os_fetch_emit(c, kind, op->id) : rc;
}

static int step_delete(struct os_call *c, const struct os_kind *kind, const struct vim_op *op)
{
    struct os_cursor cursor;

    os_cursor_read(op->kept, &cursor);
    return delete_and_wait(c, kind, op, op->id, cursor.id[0] != '\0', 0);
}

int cinder_step(struct os_call *c, const struct os_kind *kind, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);

    if (spec == NULL) {
        return c->error.code;
    }
    switch (op->verb) {
    case VIM_VERB_CREATE:
        return create(c, kind, op, spec);
    case VIM_VERB_UPDATE:
        return update(c, kind, op, spec);
    case VIM_VERB_DELETE:
        return step_delete(c, kind, op);
    case VIM_VERB_ACTION:
        return cinder_action(c, op, spec);
    default:
        return os_fail(c, VIM_E_UNSUPPORTED, "not for a %s", kind->name);
    }
}
