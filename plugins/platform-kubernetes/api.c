#include "kubernetes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/sdk.h>

#define TOKEN_MAX 16384
#define PAGE 500
/* A list that expires so often while it is read is given up. */
#define RESTARTS 3

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

json_int_t json_count(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* The token as it is now, to be freed; NULL if there is none. */
static char *read_token(const struct access *access)
{
    if (access->token) {
        return strdup(access->token);
    }
    FILE *file = access->token_file ? fopen(access->token_file, "re") : NULL;
    char *token = file ? calloc(1, TOKEN_MAX + 1) : NULL;
    if (token) {
        token[fread(token, 1, TOKEN_MAX, file)] = '\0';
        token[strcspn(token, "\r\n")] = '\0';
    }
    if (file) {
        (void)fclose(file);
    }
    return token;
}

static const char *message_of(const struct rest_reply *reply)
{
    const char *message = json_text(reply->body, "message");
    return message ? message : "without a reason";
}

static int refused(struct kubernetes *kubernetes, struct vim_call *call,
                   const struct rest_reply *reply, const char *what)
{
    static const struct {
        long status;
        int code;
    } codes[] = {{400, VIM_E_INVALID},   {401, VIM_E_CREDENTIAL}, {403, VIM_E_DENIED},
                 {404, VIM_E_NOT_FOUND}, {409, VIM_E_CONFLICT},   {410, VIM_E_CONFLICT},
                 {422, VIM_E_INVALID},   {429, VIM_E_BUSY},       {504, VIM_E_TIMEOUT}};
    int code = VIM_E_UNAVAILABLE;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        code = codes[i].status == reply->status ? codes[i].code : code;
    }
    vim_note(kubernetes->host, call, "backend_status", "%ld", reply->status);
    return vim_fail(kubernetes->host, call, code, reply->retry_after_ms,
                    "%s: the API server answers %ld: %.300s", what, reply->status,
                    message_of(reply));
}

/* One request; the reply is the caller's to clear. */
static int request(struct kubernetes *kubernetes, struct vim_call *call, const char *method,
                   const char *path, const char *body, struct rest_reply *ret_reply)
{
    char *token = read_token(&kubernetes->access);
    /* A service account's is looked for where nothing was said; a proxy on loopback needs none. */
    int is_named = kubernetes->config->token_file || kubernetes->config->kubeconfig;
    if (!token && kubernetes->access.token_file && is_named) {
        return vim_fail(kubernetes->host, call, VIM_E_CREDENTIAL, 0,
                        "the token cannot be read: %.200s: %s", kubernetes->access.token_file,
                        strerror(errno));
    }
    int code =
        rest_call(kubernetes->rest, kubernetes->host, call, method, path, token, body, ret_reply);
    if (token) {
        explicit_bzero(token, strlen(token));
    }
    free(token);
    return code;
}

int api_call(struct kubernetes *kubernetes, struct vim_call *call, const char *method,
             const char *path, const json_t *document, const char *what, json_t **ret_body)
{
    KUBERNETES_TEXT body = document ? json_dumps(document, JSON_COMPACT) : NULL;
    REST_REPLY reply = {0};
    int code = request(kubernetes, call, method, path, body, &reply);
    if (code == VIM_OK && reply.status == 401 && kubernetes->access.token_file) {
        rest_reply_clear(&reply);
        code = request(kubernetes, call, method, path, body, &reply);
    }
    if (code != VIM_OK) {
        return code;
    }
    if (reply.status < 200 || reply.status > 299) {
        code = refused(kubernetes, call, &reply, what);
        /* "etcdserver: request timed out", or a balancer that lost the server: a write may have come through. */
        return document && (reply.status == 500 || reply.status == 502)
                   ? vim_fail(kubernetes->host, call, VIM_E_LOST, 0,
                              "%s: the API server answers %ld to a write: %.300s", what,
                              reply.status, message_of(&reply))
                   : code;
    }
    if (!json_is_object(reply.body)) {
        return vim_fail(kubernetes->host, call, VIM_E_UNAVAILABLE, 0,
                        "%s: what answers is no Kubernetes API server", what);
    }
    *ret_body = json_incref(reply.body);
    return VIM_OK;
}

/* One page; *TOKEN is where it begins, and then where the next one does (NULL after the last). */
static int list_page(struct kubernetes *kubernetes, struct vim_call *call, const char *path,
                     const char *selector, const char *what, char **token,
                     int (*each)(void *argument, json_t *item), void *argument)
{
    KUBERNETES_TEXT escaped = rest_escape(selector ? selector : "");
    KUBERNETES_TEXT from = rest_escape(*token ? *token : "");
    KUBERNETES_TEXT whole = NULL;
    KUBERNETES_JSON list = NULL;
    size_t at;
    json_t *item;
    if (!escaped || !from ||
        asprintf(&whole, "%s?limit=%d%s%s%s%s", path, PAGE, *escaped ? "&labelSelector=" : "",
                 escaped, *from ? "&continue=" : "", from) < 0) {
        whole = NULL;
        return kubernetes->host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    int code = api_call(kubernetes, call, "GET", whole, NULL, what, &list);
    json_array_foreach(json_object_get(list, "items"), at, item)
    {
        code = code == VIM_OK ? each(argument, item) : code;
    }
    const char *next = json_text(json_object_get(list, "metadata"), "continue");
    free(*token);
    *token = next && *next ? strdup(next) : NULL;
    return code;
}

int api_list(struct kubernetes *kubernetes, struct vim_call *call, const char *path,
             const char *selector, const char *what, int (*each)(void *argument, json_t *item),
             void *argument)
{
    KUBERNETES_TEXT token = NULL;
    int code, restarts = 0, first;
    do {
        first = token == NULL;
        code = list_page(kubernetes, call, path, selector, what, &token, each, argument);
        if (code == VIM_E_CONFLICT && !first && ++restarts <= RESTARTS) {
            /* 410 Gone: the page token has expired. */
            free(token);
            token = NULL;
            code = VIM_OK;
            continue;
        }
        if (code != VIM_OK || !token) {
            break;
        }
    } while (1);
    return code;
}
