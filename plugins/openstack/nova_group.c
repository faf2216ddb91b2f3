/*
 * Server groups, vimd's affinity groups. All that a client can say of one is its name, so the mark of
 * the request stands behind that. Every answer is final.
 */
#include "once.h"

#include <string.h>

#define GROUP_VERSION "2.64"

static int remove_group(struct os_call *c, const struct os_once *once, const char *id)
{
    int rc;

    (void)once;
    os_step_note(c, "delete-group");
    rc = os_delete(c, OS_COMPUTE, GROUP_VERSION, "/os-server-groups/%s", id);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

static int post_group(struct os_call *c, const struct os_once *once, struct os_found *ret_found)
{
    OS_TEXT name = os_tag_write(os_json_text(once->spec, "name"), once->op->request_id);
    const char *policy = os_json_text(once->spec, "policy");
    const json_t *most = json_object_get(once->spec, "max_per_host");
    HTTP_REPLY reply = {0};
    json_t *group;
    int rc;

    if (name == NULL || policy == NULL) {
        return os_fail(c, VIM_E_INVALID, "an affinity group needs a name and a policy");
    }
    group = json_pack("{s:s,s:s}", "name", name, "policy", policy);
    if (json_is_integer(most)) {
        json_object_set_new(group, "rules", json_pack("{s:O}", "max_server_per_host", most));
    }
    os_step_note(c, "create-group");
    rc = os_send(c, OS_COMPUTE, GROUP_VERSION, "POST", json_pack("{s:o}", "server_group", group),
                 &reply, "/os-server-groups");
    return rc == VIM_OK ? os_read_answer(c, once->kind, &reply, 1, ret_found) : rc;
}

/* It is there: done, unless doubles may come. */
static int made_group(struct os_call *c, const struct os_once *once, struct os_found *found,
                      int64_t since)
{
    int rc;

    (void)once;
    if (since == 0) {
        rc = os_emit(c, found);
        return rc < 0 ? rc : VIM_OK;
    }
    found->status = "BUILD";
    found->flags |= VIM_ITEM_PENDING;
    os_cursor_keep(c, "wait", since, found->id);
    (void)os_emit(c, found);
    c->os->host->again(c->call, 0);
    return VIM_AGAIN;
}

static int end_create(struct os_call *c, const struct os_once *once, const struct os_cursor *cursor)
{
    int rc = os_once_end(c, once, cursor->id, cursor->since);

    if (rc == VIM_OK) {
        rc = os_fetch_emit(c, once->kind, cursor->id);
    }
    if (rc == VIM_E_NOT_FOUND) {
        c->error.code = rc = VIM_E_FAILED; /* it was deleted meanwhile */
    }
    return rc;
}

int nova_group_step(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    struct os_once once = {.kind = os_kind_find("affinity-group"),
                           .op = op,
                           .spec = spec,
                           .query = "",
                           .post = post_group,
                           .go_on = made_group,
                           .remove = remove_group};
    struct os_cursor cursor;

    if (spec == NULL) {
        return c->error.code;
    }
    if (op->verb == VIM_VERB_DELETE) {
        return remove_group(c, &once, op->id);
    }
    if (op->verb != VIM_VERB_CREATE) {
        return os_fail(c, VIM_E_UNSUPPORTED, "Nova cannot change a server group");
    }
    if (op->undo) {
        return os_once_undo(c, &once);
    }
    os_cursor_read(op->kept, &cursor);
    return strcmp(cursor.phase, "wait") == 0 ? end_create(c, &once, &cursor)
                                             : os_once_create(c, &once);
}
