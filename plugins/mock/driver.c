/* The operations of the driver. See mock.h for what is where. */
#include "mock.h"

#include "md5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A wait for the inventory looks again by itself after so long: it may have missed something. */
#define AWAIT_MS 300000

/* Bytes of an image's data read at a time. */
#define CHUNK 65536

#define READS (VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_CHANGES)
#define MAKES (READS | VIM_VERB_CREATE | VIM_VERB_DELETE)
#define WRITES (MAKES | VIM_VERB_UPDATE)

static const struct vim_trait traits[] = {
    {"server", WRITES | VIM_VERB_ACTION, 0,
     "start stop reboot pause unpause suspend resume rebuild resize confirm_resize revert_resize "
     "migrate snapshot"},
    {"network", WRITES, 0, NULL},
    {"subnet", WRITES, 0, NULL},
    {"port", WRITES, 0, NULL},
    {"router", WRITES | VIM_VERB_ACTION, 0, "add_interface remove_interface"},
    {"floating-ip", WRITES, 0, NULL},
    {"image", WRITES | VIM_VERB_UPLOAD, 0, NULL},
    {"flavor", MAKES, 0, NULL},
    {"keypair", MAKES, 0, NULL},
    {"affinity-group", MAKES, 0, NULL},
    {"security-group", WRITES, 0, NULL},
    {"volume", WRITES | VIM_VERB_ACTION, 0, "attach detach extend"},
    {"snapshot", WRITES, 0, NULL},
    {"quota", VIM_VERB_LOOK, 0, NULL},
    {"zone", VIM_VERB_LOOK, 0, NULL},
    {"host", VIM_VERB_LOOK, 0, NULL},
    {"console", VIM_VERB_GET, 0, NULL},
};

static struct session session_of(struct vim_call *call, void *instance)
{
    struct mock *mock = instance;
    return (struct session){.mock = mock, .host = mock->host, .call = call};
}

/* --- Reading --- */
int emit_view(struct session *session, const char *kind, const struct view *view)
{
    char request_id[64];
    const char *tag = NULL;
    if (view->gone) {
        return vim_emit_gone(session->host, session->call, kind, view->id);
    }
    if (view->tag != NULL) { /* "REQUEST_ID", or "REQUEST_ID/0" for what was made on the way */
        snprintf(request_id, sizeof(request_id), "%.*s", (int)strcspn(view->tag, "/"), view->tag);
        tag = request_id;
    }
    uint32_t flags = view->pending ? VIM_ITEM_PENDING : 0;
    flags |= view->shared ? VIM_ITEM_SHARED : 0;
    return vim_emit(session->host, session->call, kind, view->id, view->status, flags, tag,
                    view->body);
}

/* What the far side tells of itself. */
static int look(struct session *session, const char *kind, const char *id)
{
    struct page page = {0};
    int enough = 0;
    int code = wire_look(session, kind, id, &page);
    for (size_t i = 0; i < page.count && code == VIM_OK && !enough; i++) {
        enough = emit_view(session, kind, &page.views[i]);
    }
    page_free(&page);
    return code;
}

static int mock_list(struct vim_call *call, void *instance, const struct vim_list_query *asked)
{
    struct session session = session_of(call, instance);
    struct backend_query query = {.kind = asked->kind, .limit = asked->page_size};
    char cursor[32];
    int64_t time = 0;
    if (vim_can(&mock_driver_ops, asked->kind, VIM_VERB_LOOK)) {
        return look(&session, asked->kind, NULL);
    }
    if (asked->since != NULL) {
        char *end;
        query.since = strtoll(asked->since, &end, 10);
        if (*end != '\0' || query.since <= 0) {
            return vim_fail(session.host, call, VIM_E_INVALID, 0, "this is no cursor of ours");
        }
    }
    do {
        struct page page = {0};
        int enough = 0;
        int code = wire_list(&session, &query, &page);
        /* What a broken answer did bring is as true as the rest of it would have been. */
        for (size_t i = 0; i < page.count && !enough; i++) {
            enough = emit_view(&session, asked->kind, &page.views[i]);
        }
        time = time == 0 ? page.time : time;
        query.marker = page.more;
        page_free(&page);
        if (code != VIM_OK || enough) {
            return code;
        }
        if (query.marker != 0 && session.host->left_ms(call) <= 0) {
            return vim_fail(session.host, call, VIM_E_TIMEOUT, 0, "the list is not complete");
        }
    } while (query.marker != 0);
    /* The far side's time when the first page was made: what changes meanwhile comes again. */
    snprintf(cursor, sizeof(cursor), "%lld", (long long)time);
    session.host->keep(call, cursor);
    return VIM_OK;
}

static int mock_get(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    struct session session = session_of(call, instance);
    struct page page = {0};
    if (strcmp(kind, "console") == 0) {
        return look(&session, kind, id);
    }
    int code = wire_get(&session, kind, id, &page);
    if (code == VIM_OK) {
        (void)emit_view(&session, kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

/* --- What steps are made of --- */
int make_once(struct session *session, const char *kind, json_t *spec, const char *tag,
              bool may_exist, struct page *page)
{
    if (may_exist) {
        struct backend_query query = {.kind = kind, .tag = tag};
        int code = wire_list(session, &query, page);
        if (code != VIM_OK || page->count > 0) {
            return code;
        }
        page_free(page);
    }
    return wire_create(session, kind, spec, tag, page);
}

/* Ends a step that waits for VIEW: looks again when the shared list shows that it has settled; or,
 * naively, when the far side said that it will have. */
static int wait_for_view(struct session *session, const char *kind, const struct view *view)
{
    if (!session->mock->polls_naively) {
        return vim_await(session->host, session->call, kind, view->id, AWAIT_MS);
    }
    int64_t left = view->left_ms < 0 || view->left_ms > AWAIT_MS ? AWAIT_MS : view->left_ms;
    return vim_again(session->host, session->call, (uint32_t)left + 1);
}

int settle_view(struct session *session, const char *kind, const struct view *view)
{
    if (view->pending) {
        (void)emit_view(session, kind, view);
        if (session->mock->polls_naively) {
            naive_remember(session->mock->naive, kind, view->id);
        }
        return wait_for_view(session, kind, view);
    }
    if (view->status != NULL && strcmp(view->status, "ERROR") == 0) {
        (void)emit_view(session, kind, view);
        return vim_fail(session->host, session->call, VIM_E_FAILED, 0, "%s %s is in ERROR", kind,
                        view->id);
    }
    (void)emit_view(session, kind, view);
    return VIM_OK;
}

int settle_later(struct session *session, const struct vim_op *op, const char *id)
{
    struct page page = {0};
    struct vim_item seen;
    if (op->seen != NULL && !session->mock->polls_naively) {
        vim_take(&seen, sizeof(seen), op->seen);
        if (seen.flags & VIM_ITEM_GONE) {
            return vim_fail(session->host, session->call, VIM_E_FAILED, 0,
                            "%s %s disappeared while it was being made", op->kind, id);
        }
        if (seen.body != NULL && !(seen.flags & VIM_ITEM_PENDING)) {
            struct view view = {.id = id,
                                .tag = seen.tag,
                                .status = seen.status,
                                .body = seen.body,
                                .shared = (seen.flags & VIM_ITEM_SHARED) != 0};
            return settle_view(session, op->kind, &view);
        }
    }
    int code = session->mock->polls_naively ? naive_round(session, op->kind, id, &page)
                                            : wire_get(session, op->kind, id, &page);
    if (code == VIM_E_NOT_FOUND) {
        code = vim_fail(session->host, session->call, VIM_E_FAILED, 0,
                        "%s %s disappeared while it was being made", op->kind, id);
    } else if (code == VIM_OK) {
        code = settle_view(session, op->kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

/* True for what is DELETING for a while. */
static bool goes_slowly(const char *kind)
{
    return strcmp(kind, "server") == 0 || strcmp(kind, "volume") == 0 ||
           strcmp(kind, "snapshot") == 0;
}

/* Ends a step that waits until what is DELETING has gone. */
static int wait_for_end(struct session *session, const char *kind, const char *id)
{
    return session->mock->polls_naively
               ? vim_again(session->host, session->call, 100)
               : vim_await(session->host, session->call, kind, id, AWAIT_MS);
}

/* Asks for the deletion of all that carries the operation's tag. What goes slowly is awaited: the
 * next step looks again. */
int take_back(struct session *session, const struct vim_op *op)
{
    struct backend_query query = {.kind = op->kind, .tag = op->request_id};
    struct page page = {0};
    const char *slow = NULL;
    int code = wire_list(session, &query, &page);
    for (size_t i = 0; i < page.count && code == VIM_OK; i++) {
        const struct view *view = &page.views[i];
        if (!view->pending || strcmp(view->status, "DELETING") != 0) {
            code = strcmp(op->kind, "router") == 0 ? remove_router(session, view->id)
                                                   : wire_delete(session, op->kind, view->id);
            code = code == VIM_E_NOT_FOUND ? VIM_OK : code;
        }
        naive_forget(session->mock->naive, op->kind, view->id);
        slow = view->id;
    }
    if (code == VIM_OK && page.more != 0) {
        code = vim_again(session->host, session->call, 0);
    } else if (code == VIM_OK && slow != NULL && goes_slowly(op->kind)) {
        code = wait_for_end(session, op->kind, slow);
    }
    page_free(&page);
    return code;
}

/* --- Steps --- */
static int step_create(struct session *session, const struct vim_op *op, json_t *spec)
{
    struct page page = {0};
    if (strcmp(op->kind, "server") == 0) {
        return op->undo ? undo_server(session, op) : create_server(session, op, spec);
    }
    if (op->undo) {
        return take_back(session, op);
    }
    if (strcmp(op->kind, "security-group") == 0) {
        return create_group(session, op, spec);
    }
    if (strcmp(op->kind, "router") == 0) {
        return create_router(session, op, spec);
    }
    if (op->kept != NULL) { /* made already: has it settled? */
        vim_note(session->host, session->call, "step", "await-%s", op->kind);
        return settle_later(session, op, op->kept);
    }
    session->host->note(session->call, "step", "create");
    int code = make_once(session, op->kind, spec, op->request_id, op->attempt > 0, &page);
    if (code == VIM_OK) {
        session->host->keep(session->call, page.views[0].id);
        code = settle_view(session, op->kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

static int step_update(struct session *session, const struct vim_op *op, json_t *fields)
{
    struct page page = {0};
    session->host->note(session->call, "step", "update");
    int code = wire_update(session, op->kind, op->id, fields, &page);
    if (code == VIM_OK) {
        (void)emit_view(session, op->kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

static int step_delete(struct session *session, const struct vim_op *op)
{
    struct page page = {0};
    int code;
    session->host->note(session->call, "step", op->kept ? "await-deletion" : "delete");
    if (op->kept != NULL) { /* asked for already: has it gone? */
        struct vim_item seen = {0};
        if (op->seen != NULL) {
            vim_take(&seen, sizeof(seen), op->seen);
        }
        if (seen.flags & VIM_ITEM_GONE) {
            return VIM_OK;
        }
        code = wire_get(session, op->kind, op->id, &page);
        bool leaving = code == VIM_OK && page.views[0].pending &&
                       strcmp(page.views[0].status, "DELETING") == 0;
        page_free(&page);
        if (leaving) {
            return wait_for_end(session, op->kind, op->id);
        }
        if (code != VIM_OK) {
            return code == VIM_E_NOT_FOUND ? VIM_OK : code;
        }
    }
    code = strcmp(op->kind, "router") == 0 ? remove_router(session, op->id)
                                           : wire_delete(session, op->kind, op->id);
    if (code != VIM_OK) {
        return code == VIM_E_NOT_FOUND ? VIM_OK : code;
    }
    naive_forget(session->mock->naive, op->kind, op->id);
    if (!goes_slowly(op->kind)) {
        return VIM_OK;
    }
    session->host->keep(session->call, "asked");
    return wait_for_end(session, op->kind, op->id);
}

static int step_action(struct session *session, const struct vim_op *op, json_t *arguments)
{
    struct page page = {0};
    int code = VIM_OK;
    session->host->note(session->call, "step", op->action);
    if (op->kept != NULL) {
        return settle_later(session, op, op->id);
    }
    if (op->attempt > 0) { /* may have been asked for already: the thing remembers by whom */
        code = wire_get(session, op->kind, op->id, &page);
        if (code == VIM_OK &&
            (page.views[0].did == NULL || strcmp(page.views[0].did, op->request_id) != 0)) {
            page_free(&page);
        }
    }
    if (code == VIM_OK && page.count == 0) {
        code = wire_action(session, op->kind, op->id, op->action, arguments, op->request_id, &page);
    }
    if (code == VIM_OK) {
        session->host->keep(session->call, "asked");
        code = settle_view(session, op->kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

/* Sends the data to the far side, which keeps its size and checksum. */
static int step_upload(struct session *session, const struct vim_op *op)
{
    struct page page = {0};
    struct md5 md5;
    char checksum[33];
    unsigned char chunk[CHUNK];
    int64_t size = 0;
    int64_t got;
    session->host->note(session->call, "step", "upload");
    if (op->attempt > 0) { /* may have arrived already */
        int code = wire_get(session, op->kind, op->id, &page);
        if (code == VIM_OK && strcmp(page.views[0].status, "ACTIVE") == 0) {
            (void)emit_view(session, op->kind, &page.views[0]);
            page_free(&page);
            return VIM_OK;
        }
        page_free(&page);
        if (code != VIM_OK) {
            return code;
        }
    }
    md5_begin(&md5);
    while ((got = session->host->read(session->call, (uint64_t)size, chunk, sizeof(chunk))) > 0) {
        md5_add(&md5, chunk, (size_t)got);
        size += got;
        if (session->host->left_ms(session->call) <= 0) {
            return vim_fail(session->host, session->call, VIM_E_TIMEOUT, 0,
                            "the upload was not complete in time");
        }
    }
    if (got < 0 || (op->data_size >= 0 && size != op->data_size)) {
        return vim_fail(session->host, session->call, got < 0 ? (int)got : VIM_E_INVALID, 0,
                        "the data ended after %lld bytes", (long long)size);
    }
    md5_end(&md5, checksum);
    int code = wire_upload(session, op->id, size, checksum, &page);
    if (code == VIM_OK) {
        (void)emit_view(session, op->kind, &page.views[0]);
    }
    page_free(&page);
    return code;
}

static int mock_step(struct vim_call *call, void *instance, const struct vim_op *given)
{
    struct session session = session_of(call, instance);
    struct vim_op op;
    vim_take(&op, sizeof(op), given);
    json_error_t error;
    json_t *spec = json_loads(op.spec ? op.spec : "{}", 0, &error);
    int code;
    if (!vim_can(&mock_driver_ops, op.kind, op.verb)) {
        code = vim_fail(session.host, call, VIM_E_UNSUPPORTED, 0, "%s: not this verb", op.kind);
    } else if (!json_is_object(spec)) {
        code = vim_fail(session.host, call, VIM_E_INVALID, 0, "the spec is no JSON object");
    } else if (op.verb == VIM_VERB_CREATE) {
        code = step_create(&session, &op, spec);
    } else if (op.undo) {
        code = VIM_OK; /* nothing was made that could be taken back */
    } else if (op.verb == VIM_VERB_UPDATE) {
        code = step_update(&session, &op, spec);
    } else if (op.verb == VIM_VERB_DELETE) {
        code = step_delete(&session, &op);
    } else if (op.verb == VIM_VERB_ACTION) {
        code = step_action(&session, &op, spec);
    } else {
        code = step_upload(&session, &op);
    }
    json_decref(spec);
    return code;
}

const struct vim_driver_ops mock_driver_ops = {.size = sizeof(mock_driver_ops),
                                               .trait_count = VIM_COUNT(traits),
                                               .trait_stride = sizeof(struct vim_trait),
                                               .traits = traits,
                                               .list = mock_list,
                                               .get = mock_get,
                                               .step = mock_step};
