/*
 * Volumes: attach, detach and extend. Each leads to a state that the volume shows, so a repetition
 * looks first whether it is there already.
 *
 *   look --there--> emitted
 *     | not there: the request, keep "sent ID", await --> look again
 */
#include "cinder.h"

#include <stdio.h>
#include <string.h>

#define ATTACH_VERSION "2.46"
#define EXTEND_VERSION "3.42" /* the first in which a volume in use can be extended */

struct wish {
    const char *action;
    const char *server; /* attach: the server; else NULL */
    int64_t size; /* extend */
};

static int is_there(const struct wish *wish, const struct os_found *volume)
{
    const char *server = os_json_text(volume->body, "server");

    if (strcmp(wish->action, "attach") == 0) {
        return server != NULL && strcmp(server, wish->server) == 0;
    }
    if (strcmp(wish->action, "detach") == 0) {
        return server == NULL;
    }
    return os_json_integer(volume->body, "size", 0) >= wish->size;
}

/* --- The requests: attaching is Nova's business, which asks Cinder --------------------------- */

static int attach(struct os_call *c, const struct vim_op *op, const json_t *spec)
{
    json_t *attachment = json_pack("{s:s}", "volumeId", op->id);
    HTTP_REPLY reply = {0};
    int rc;

    os_json_copy(attachment, "device", spec, "device", JSON_STRING);
    rc = os_send(c, OS_COMPUTE, ATTACH_VERSION, "POST",
                 json_pack("{s:o}", "volumeAttachment", attachment), &reply,
                 "/servers/%s/os-volume_attachments", os_json_text(spec, "server"));
    if (rc == VIM_E_NOT_FOUND) {
        c->error.code = rc = VIM_E_INVALID; /* the server; the volume was there a moment ago */
    }
    return rc;
}

static int detach(struct os_call *c, const struct vim_op *op, const struct os_found *volume)
{
    int rc = os_delete(c, OS_COMPUTE, ATTACH_VERSION, "/servers/%s/os-volume_attachments/%s",
                       os_json_text(volume->body, "server"), op->id);

    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

static int extend(struct os_call *c, const struct vim_op *op, const struct wish *wish)
{
    HTTP_REPLY reply = {0};

    return os_send(c, OS_VOLUME, EXTEND_VERSION, "POST",
                   json_pack("{s:{s:I}}", "os-extend", "new_size", (json_int_t)wish->size), &reply,
                   "/volumes/%s/action", op->id);
}

static int send_wish(struct os_call *c, const struct vim_op *op, const json_t *spec,
                     const struct wish *wish, const struct os_found *volume)
{
    int rc;

    os_step_note(c, op->action);
    rc = strcmp(wish->action, "attach") == 0   ? attach(c, op, spec)
         : strcmp(wish->action, "detach") == 0 ? detach(c, op, volume)
                                               : extend(c, op, wish);
    if (rc == VIM_OK) {
        os_cursor_keep(c, "sent", 0, op->id);
        return cinder_await(c, os_kind_find("volume"), op->id);
    }
    return rc;
}

/* --- Steps ----------------------------------------------------------------------------------- */

static int check_wish(struct os_call *c, const struct vim_op *op, const json_t *spec,
                      struct wish *ret_wish)
{
    struct wish wish = {.action = op->action == NULL ? "" : op->action,
                        .server = os_json_text(spec, "server"),
                        .size = os_json_integer(spec, "size", 0)};

    if (strcmp(wish.action, "attach") != 0 && strcmp(wish.action, "detach") != 0 &&
        strcmp(wish.action, "extend") != 0) {
        return os_fail(c, VIM_E_UNSUPPORTED, "unknown action");
    }
    if (strcmp(wish.action, "attach") == 0 &&
        (wish.server == NULL || !os_id_is_plain(wish.server))) {
        return os_fail(c, VIM_E_INVALID, "to attach a volume needs a server");
    }
    if (strcmp(wish.action, "extend") == 0 && wish.size < 1) {
        return os_fail(c, VIM_E_INVALID, "to extend a volume needs a size");
    }
    *ret_wish = wish;
    return VIM_OK;
}

/* What the volume is, if it is neither there nor on its way. */
static int refuse(struct os_call *c, const struct vim_op *op, const struct wish *wish,
                  const struct os_found *volume, int sent)
{
    const char *server = os_json_text(volume->body, "server");

    if (strcmp(wish->action, "attach") == 0 && server != NULL) {
        return os_fail(c, VIM_E_CONFLICT, "volume %s is attached to server %s", op->id, server);
    }
    if (sent || strcmp(volume->status, "ERROR") == 0) {
        return os_fail(c, VIM_E_FAILED, "volume %s is %s after %s", op->id,
                       os_json_text(volume->body, "backend_status"), op->action);
    }
    return VIM_OK;
}

int cinder_action(struct os_call *c, const struct vim_op *op, const json_t *spec)
{
    struct wish wish = {0};
    struct os_cursor cursor;
    OS_FOUND found = {0};
    int rc = check_wish(c, op, spec, &wish);

    if (rc == VIM_OK) {
        rc = os_fetch(c, os_kind_find("volume"), op->id, &found);
    }
    if (rc != VIM_OK) {
        return rc;
    }
    os_cursor_read(op->kept, &cursor);
    if ((found.flags & VIM_ITEM_PENDING) != 0) {
        return cinder_await(c, os_kind_find("volume"), op->id);
    }
    if (is_there(&wish, &found)) {
        rc = os_emit(c, &found);
        return rc < 0 ? rc : VIM_OK;
    }
    rc = refuse(c, op, &wish, &found, cursor.id[0] != '\0' && op->attempt == 0);
    return rc == VIM_OK ? send_wish(c, op, spec, &wish, &found) : rc;
}
