/*
 * rest.h - JSON over HTTP for drivers that make few calls. rest.c is the only file of a plugin that
 * includes it which calls libcurl.
 *
 * A client keeps connections alive and makes one call at a time, so the plugin sets VIM_SERIAL.
 * Nothing is repeated here, but for a request that libcurl can prove was not sent.
 */
#ifndef VIMD_PLUGINS_COMMON_REST_H
#define VIMD_PLUGINS_COMMON_REST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <jansson.h>
#include <vim/plugin.h>

struct rest;

/* Texts are copied. */
struct rest_settings {
    const char *url; /* "https://host:port" or "http://host"; paths are appended */
    const char *unix_socket; /* path; NULL for TCP */
    const char *ca_file; /* PEM; NULL for the system's authorities */
    const char *certificate, *key; /* PEM files of a client certificate, or both NULL */
    int64_t connect_timeout_ms, timeout_ms;
};

struct rest_reply {
    long status;
    json_t *body; /* NULL if there is none, or it is no JSON */
    uint32_t retry_after_ms; /* 0: not told */
};

/* Is there a user, and maybe a password, in the URL? It stands in what is told of failures. */
static inline int rest_url_has_user(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return memchr(host, '@', strcspn(host, "/?#")) != NULL;
}

/* NULL when memory is short. */
struct rest *rest_new(const struct rest_settings *settings);
void rest_free(struct rest *rest); /* NULL is fine */

/* One request. TOKEN is sent as a bearer token, or NULL. BODY is JSON text, or NULL. VIM_OK: an
 * answer with any status, to be cleared with rest_reply_clear(). Else the error was explained by
 * fail(): VIM_E_UNAVAILABLE (nothing was sent), VIM_E_TIMEOUT, VIM_E_LOST (what became of it is
 * unknown), VIM_E_INTERNAL. */
int rest_call(struct rest *rest, const struct vim_host *host, struct vim_call *call,
              const char *method, const char *path, const char *token, const char *body,
              struct rest_reply *ret_reply);
void rest_reply_clear(struct rest_reply *reply);

/* One of several things that are asked for at the same time. */
struct rest_get {
    char path[256]; /* "": nothing */
    struct rest_reply reply; /* to be cleared; status 0: there was no answer */
};

/* GETs them all, over as many connections. VIM_OK, or VIM_E_INTERNAL, which was explained: memory is short. */
int rest_get_all(struct rest *rest, const struct vim_host *host, struct vim_call *call,
                 struct rest_get *gets, size_t count);
#define REST_REPLY __attribute__((cleanup(rest_reply_clear))) struct rest_reply

/* TEXT percent-encoded for a path or a query, to be freed; NULL when memory is short. */
char *rest_escape(const char *text);

#endif
