/* Calls to the far side. A real driver has HTTP requests here; the rest of it looks the same. */
#include "mock.h"

#include <stdio.h>
#include <string.h>

/* What the far side's refusals mean to vimd. Whether an error is permanent, transient or of unknown
 * outcome decides what happens next, so this table is the most important one of a driver. */
static const struct {
    const char *code;
    int error;
} errors[] = {
    {"invalid", VIM_E_INVALID},   {"not_found", VIM_E_NOT_FOUND},     {"conflict", VIM_E_CONFLICT},
    {"in_use", VIM_E_IN_USE},     {"denied", VIM_E_DENIED},           {"quota", VIM_E_QUOTA},
    {"busy", VIM_E_BUSY},         {"unavailable", VIM_E_UNAVAILABLE}, {"expired", VIM_E_CREDENTIAL},
    {"internal", VIM_E_INTERNAL},
};

static int64_t left_ms(void *context)
{
    const struct session *session = context;
    return session->host->left_ms(session->call);
}

static struct backend_caller caller_of(struct session *session)
{
    return (struct backend_caller){.left_ms = left_ms, .context = session};
}

static int error_of(const struct reply *reply)
{
    if (reply->status == NO_ANSWER_BROKEN) {
        return VIM_E_LOST;
    }
    if (reply->status == NO_ANSWER_TIMEOUT) {
        return VIM_E_TIMEOUT;
    }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(reply->code, errors[i].code) == 0) {
            return errors[i].error;
        }
    }
    return VIM_E_INTERNAL;
}

/* After every call: counts it, records the far side's request id for the operation's owner, and
 * translates the answer. */
static int conclude(struct session *session, const char *verb, const char *kind)
{
    const struct reply *reply = &session->reply;
    char labels[96];
    snprintf(labels, sizeof(labels), "kind=\"%s\",verb=\"%s\"", kind, verb);
    session->host->count(session->mock->self, "calls_total", labels, 1);
    if (reply->request_id[0] != '\0') {
        session->host->note(session->call, "backend_request_id", reply->request_id);
    }
    if (reply->status >= 200 && reply->status < 300) {
        return VIM_OK;
    }
    if (reply->status > 0) {
        vim_note(session->host, session->call, "backend_status", "%d", reply->status);
        session->host->note(session->call, "backend_message", reply->message);
    }
    if (reply->status == 401) {
        atomic_store(&session->mock->token, false);
    }
    return session->host->fail(session->call, error_of(reply), reply->retry_after_ms,
                               reply->message);
}

/* Before every call: gets a new token if the last answer said that the old one has expired. */
static int authenticate(struct session *session)
{
    return atomic_load(&session->mock->token) ? VIM_OK : wire_hello(session);
}

int wire_hello(struct session *session)
{
    struct backend_caller caller = caller_of(session);
    (void)backend_hello(session->mock->backend, &caller, &session->reply);
    int code = conclude(session, "get", "vim");
    if (code == VIM_OK) {
        atomic_store(&session->mock->token, true);
    }
    return code;
}

int wire_list(struct session *session, const struct backend_query *query, struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_list(session->mock->backend, &caller, query, page, &session->reply);
    return conclude(session, query->since > 0 ? "changes" : "list", query->kind);
}

int wire_get(struct session *session, const char *kind, const char *id, struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_get(session->mock->backend, &caller, kind, id, page, &session->reply);
    return conclude(session, "get", kind);
}

int wire_look(struct session *session, const char *what, const char *id, struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_look(session->mock->backend, &caller, what, id, page, &session->reply);
    return conclude(session, id ? "get" : "list", what);
}

int wire_create(struct session *session, const char *kind, json_t *spec, const char *tag,
                struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_create(session->mock->backend, &caller, kind, spec, tag, page, &session->reply);
    return conclude(session, "create", kind);
}

int wire_update(struct session *session, const char *kind, const char *id, json_t *fields,
                struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_update(session->mock->backend, &caller, kind, id, fields, page, &session->reply);
    return conclude(session, "update", kind);
}

int wire_delete(struct session *session, const char *kind, const char *id)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_delete(session->mock->backend, &caller, kind, id, &session->reply);
    return conclude(session, "delete", kind);
}

int wire_action(struct session *session, const char *kind, const char *id, const char *action,
                json_t *arguments, const char *tag, struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_action(session->mock->backend, &caller, kind, id, action, arguments, tag, page,
                         &session->reply);
    return conclude(session, "action", kind);
}

int wire_upload(struct session *session, const char *id, int64_t size, const char *checksum,
                struct page *page)
{
    struct backend_caller caller = caller_of(session);
    int code = authenticate(session);
    if (code != VIM_OK) {
        return code;
    }
    (void)backend_upload(session->mock->backend, &caller, id, size, checksum, page,
                         &session->reply);
    return conclude(session, "upload", "image");
}
