#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t os_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int os_fail(struct os_call *c, int code, const char *format, ...)
{
    va_list values;

    memset(&c->error, 0, sizeof(c->error));
    c->error.code = code;
    va_start(values, format);
    (void)vsnprintf(c->error.message, sizeof(c->error.message), format, values);
    va_end(values);
    return code;
}

static void note(struct os_call *c, const char *name, const char *value)
{
    if (c->request_id != NULL && *value != '\0') {
        c->os->host->note(c->call, name, value);
    }
}

void os_step_note(struct os_call *c, const char *what)
{
    note(c, "step", what);
}

static int64_t left_ms(void *context)
{
    const struct os_call *c = context;

    return c->os->host->left_ms(c->call);
}

static int64_t read_data(void *context, uint64_t offset, void *buffer, size_t size)
{
    const struct os_call *c = context;

    return c->os->host->read(c->call, offset, buffer, size);
}

static const char *configured_endpoint(const struct os_config *config, enum os_service service)
{
    switch (service) {
    case OS_COMPUTE:
        return config->compute_endpoint;
    case OS_NETWORK:
        return config->network_endpoint;
    case OS_IMAGE:
        return config->image_endpoint;
    case OS_VOLUME:
        return config->volume_endpoint;
    default:
        return NULL;
    }
}

static int find_base(struct os_call *c, const struct os_token *token, enum os_service service,
                     char ret_base[512])
{
    const char *configured = configured_endpoint(c->os->config, service);
    const char *base = service == OS_IDENTITY ? c->os->identity : token->catalog.url[service];

    if (configured != NULL) {
        return os_catalog_base(service, configured, ret_base);
    }
    if (*base == '\0') {
        return os_fail(c, VIM_E_UNSUPPORTED,
                       "the catalog has no %s endpoint for this region and interface",
                       os_service_name(service));
    }
    (void)snprintf(ret_base, 512, "%s", base);
    return VIM_OK;
}

/* Sends with one token, without a look at the answer. */
static int send_once(struct os_call *c, const struct os_token *token, const char *base,
                     const struct os_request *request, struct http_reply *reply)
{
    OS_TEXT url = os_text("%s%s", base, request->path);
    OS_TEXT auth = os_text("X-Auth-Token: %s", token->text);
    OS_TEXT type =
        os_text("Content-Type: %s",
                request->content_type == NULL ? "application/json" : request->content_type);
    OS_TEXT version = os_text("OpenStack-API-Version: %s %s", os_service_name(request->service),
                              request->microversion == NULL ? "" : request->microversion);
    OS_TEXT id =
        os_text("X-OpenStack-Request-Id: req-%s", c->request_id == NULL ? "" : c->request_id);
    struct http_request http = {.method = request->method,
                                .url = url,
                                .body = request->body,
                                .stream_size = request->stream_size,
                                .read = request->stream ? read_data : NULL,
                                .left_ms = left_ms,
                                .context = c};
    size_t at = 0;

    if (url == NULL || auth == NULL || type == NULL || version == NULL || id == NULL) {
        (void)snprintf(reply->problem, sizeof(reply->problem), "not enough memory");
        return VIM_E_INTERNAL;
    }
    http.headers[at++] = "Accept: application/json";
    http.headers[at++] = auth;
    if (request->body != NULL || request->stream) {
        http.headers[at++] = type;
    }
    if (request->microversion != NULL) {
        http.headers[at++] = version;
    }
    if (c->request_id != NULL && os_is_uuid(c->request_id)) {
        http.headers[at++] = id;
    }
    return http_perform(c->os->pools[request->service], &http, reply);
}

/* Counts the request, and notes what a person would ask the cloud's operator about. */
static void record(struct os_call *c, const struct os_request *request,
                   const struct http_reply *reply, int rc)
{
    const char *service = os_service_name(request->service);
    char labels[128];
    char status[16];

    (void)snprintf(status, sizeof(status), "%ld", reply->status);
    (void)snprintf(labels, sizeof(labels), "service=\"%s\",method=\"%s\",status=\"%s\"", service,
                   request->method, rc == VIM_OK ? status : "none");
    c->os->host->count(c->os->self, "requests_total", labels, 1);
    note(c, "backend_service", service);
    note(c, "backend_request_id", reply->request_id);
    if (rc == VIM_OK) {
        note(c, "backend_status", status);
    }
}

static int is_write(const struct os_request *request)
{
    return strcmp(request->method, "GET") != 0;
}

/* What a service refused, with the words of the service in front. */
static int refused(struct os_call *c, const struct os_request *request,
                   const struct http_reply *reply)
{
    struct os_refusal refusal = {.service = request->service,
                                 .write = is_write(request),
                                 .status = reply->status,
                                 .has_retry_after = reply->has_retry_after,
                                 .retry_after_ms = reply->retry_after_ms,
                                 .body = reply->body,
                                 .length = reply->length};
    struct os_error error;

    os_error_read(&error, &refusal);
    note(c, "backend_message", error.message);
    (void)os_fail(c, error.code, "%s answered %ld%s%s%s%s", os_service_name(request->service),
                  reply->status, error.type[0] == '\0' ? "" : " ", error.type,
                  error.message[0] == '\0' ? "" : ": ", error.message);
    (void)snprintf(c->error.type, sizeof(c->error.type), "%s", error.type);
    c->error.retry_after_ms = error.retry_after_ms;
    return error.code;
}

static int request_with(struct os_call *c, const struct os_token *token,
                        const struct os_request *request, struct http_reply *reply)
{
    char base[512];
    int rc = find_base(c, token, request->service, base);

    if (rc == VIM_OK && request->microversion != NULL && request->service == OS_COMPUTE) {
        rc = nova_negotiate(c, base, token, request->microversion);
    }
    if (rc != VIM_OK) {
        return rc;
    }
    http_reply_clear(reply);
    rc = send_once(c, token, base, request, reply);
    record(c, request, reply, rc);
    if (rc != VIM_OK) {
        /* A read that got lost has changed nothing. */
        if (!is_write(request) && rc == VIM_E_LOST) {
            rc = VIM_E_UNAVAILABLE;
        }
        return os_fail(c, rc, "%s at %s: %s", os_service_name(request->service), base,
                       reply->problem);
    }
    return VIM_OK;
}

int os_request(struct os_call *c, const struct os_request *request, struct http_reply *reply)
{
    for (int attempt = 0;; attempt++) {
        struct os_token *token;
        int rc = keystone_token(c, &token);
        if (rc != VIM_OK) {
            return rc;
        }
        rc = request_with(c, token, request, reply);
        /* The token may have been revoked or the service may have restarted without its cache:
         * nothing was done, so the request is repeated with a new one, once. */
        if (rc == VIM_OK && reply->status == 401) {
            keystone_reject(c->os, token);
            if (attempt == 0) {
                keystone_release(c->os, token);
                continue;
            }
        }
        keystone_release(c->os, token);
        if (rc != VIM_OK) {
            return rc;
        }
        if (reply->status >= 200 && reply->status < 300) {
            return VIM_OK;
        }
        return refused(c, request, reply);
    }
}

int os_get(struct os_call *c, enum os_service service, const char *microversion,
           struct http_reply *reply, const char *path, ...)
{
    struct os_request request = {.service = service, .method = "GET", .microversion = microversion};
    OS_TEXT text = NULL;
    va_list values;
    int length;

    va_start(values, path);
    length = vasprintf(&text, path, values);
    va_end(values);
    if (length < 0) {
        text = NULL;
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    request.path = text;
    return os_request(c, &request, reply);
}

int os_send(struct os_call *c, enum os_service service, const char *microversion,
            const char *method, json_t *body, struct http_reply *reply, const char *path, ...)
{
    struct os_request request = {
        .service = service, .method = method, .microversion = microversion};
    OS_JSON owned = body;
    OS_TEXT dumped = os_json_dump(owned);
    OS_TEXT text = NULL;
    va_list values;
    int length;

    va_start(values, path);
    length = vasprintf(&text, path, values);
    va_end(values);
    if (length < 0 || dumped == NULL) {
        text = length < 0 ? NULL : text;
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    request.path = text;
    request.body = dumped;
    if (strcmp(method, "PATCH") == 0) {
        request.content_type = "application/openstack-images-v2.1-json-patch";
    }
    return os_request(c, &request, reply);
}

int os_delete(struct os_call *c, enum os_service service, const char *microversion,
              const char *path, ...)
{
    struct os_request request = {
        .service = service, .method = "DELETE", .microversion = microversion};
    HTTP_REPLY reply = {0};
    OS_TEXT text = NULL;
    va_list values;
    int length;

    va_start(values, path);
    length = vasprintf(&text, path, values);
    va_end(values);
    if (length < 0) {
        text = NULL;
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    request.path = text;
    return os_request(c, &request, &reply);
}

int os_emit(struct os_call *c, const struct os_found *found)
{
    OS_TEXT body = found->body == NULL ? NULL : os_json_dump(found->body);
    struct vim_item item = {.size = sizeof(item),
                            .flags = found->flags,
                            .kind = found->kind,
                            .id = found->id,
                            .parent = found->parent[0] == '\0' ? NULL : found->parent,
                            .status = found->status,
                            .tag = found->tag[0] == '\0' ? NULL : found->tag,
                            .body = body};

    if (found->body != NULL && body == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    return c->os->host->emit(c->call, &item) == 0 ? VIM_OK : 1;
}

int os_read_answer(struct os_call *c, const struct os_kind *kind, const struct http_reply *reply,
                   int write, struct os_found *ret_found)
{
    if (os_read_one(kind, reply->body, reply->length, ret_found) == VIM_OK) {
        return VIM_OK;
    }
    return os_fail(c, write ? VIM_E_LOST : VIM_E_UNAVAILABLE,
                   "%s answered %ld with something that is no %s", os_service_name(kind->service),
                   reply->status, kind->name);
}

int os_id_is_plain(const char *id)
{
    size_t length = strlen(id);

    return length > 0 && length < 256 &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._") ==
               length &&
           strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

int os_fetch(struct os_call *c, const struct os_kind *kind, const char *id,
             struct os_found *ret_found)
{
    HTTP_REPLY reply = {0};
    OS_TEXT escaped = os_escape(id);
    int rc;

    if (escaped == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    rc = os_get(c, kind->service, kind->microversion, &reply, "%s/%s", kind->path, escaped);
    if (rc == VIM_OK) {
        rc = os_read_answer(c, kind, &reply, 0, ret_found);
    }
    if (rc == VIM_OK && (ret_found->flags & VIM_ITEM_GONE) != 0) {
        os_found_clear(ret_found);
        return os_fail(c, VIM_E_NOT_FOUND, "%s %s is deleted", kind->name, id);
    }
    return rc;
}

int os_fetch_emit(struct os_call *c, const struct os_kind *kind, const char *id)
{
    OS_FOUND found = {0};
    int rc = os_fetch(c, kind, id, &found);

    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}
