#include "rest.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <vim/sdk.h>

#define ANSWER_MAX ((size_t)16 << 20)
#define PATH_SIZE 4096
#define CONNECTIONS_MAX 64L
/* Of the time that is left, in percent: so much may be waited for several answers, so that those that came are told. */
#define GETS_SHARE 90

struct rest {
    CURL *handle;
    CURLM *several; /* for requests at the same time; NULL until there are any */
    char *url, *unix_socket, *ca_file, *certificate, *key;
    int64_t connect_timeout_ms, timeout_ms;
};

/* One call in progress. */
struct transfer {
    const struct vim_host *host;
    struct vim_call *call;
    char *answer;
    size_t length, room;
    const char *problem; /* why it was broken off here */
    uint32_t retry_after_ms;
};

static pthread_once_t started = PTHREAD_ONCE_INIT;

static void start(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

struct rest *rest_new(const struct rest_settings *settings)
{
    (void)pthread_once(&started, start);
    struct rest *rest = calloc(1, sizeof(*rest));
    if (!rest) {
        return NULL;
    }
    rest->handle = curl_easy_init();
    rest->url = copy(settings->url);
    rest->unix_socket = copy(settings->unix_socket);
    rest->ca_file = copy(settings->ca_file);
    rest->certificate = copy(settings->certificate);
    rest->key = copy(settings->key);
    /* Paths bring their own slash. */
    for (size_t length = rest->url ? strlen(rest->url) : 0;
         length > 0 && rest->url[length - 1] == '/'; length--) {
        rest->url[length - 1] = '\0';
    }
    rest->connect_timeout_ms = settings->connect_timeout_ms;
    rest->timeout_ms = settings->timeout_ms;
    if (!rest->handle || !rest->url) {
        rest_free(rest);
        return NULL;
    }
    return rest;
}

void rest_free(struct rest *rest)
{
    if (rest) {
        if (rest->handle) {
            curl_easy_cleanup(rest->handle);
        }
        if (rest->several) {
            curl_multi_cleanup(rest->several);
        }
        free(rest->url);
        free(rest->unix_socket);
        free(rest->ca_file);
        free(rest->certificate);
        free(rest->key);
        free(rest);
    }
}

void rest_reply_clear(struct rest_reply *reply)
{
    json_decref(reply->body);
    memset(reply, 0, sizeof(*reply));
}

char *rest_escape(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *escaped = malloc(3 * strlen(text) + 1), *at = escaped;
    for (; escaped && *text; text++) {
        if (strchr(plain, *text)) {
            *at++ = *text;
        } else {
            at += sprintf(at, "%%%02X", (unsigned char)*text);
        }
    }
    if (escaped) {
        *at = '\0';
    }
    return escaped;
}

/* --- libcurl's side ------------------------------------------------------------------------------ */

static size_t on_body(char *data, size_t unit, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t size = unit * count;
    if (size > ANSWER_MAX - transfer->length) {
        transfer->problem = "the answer is larger than allowed";
        return 0;
    }
    if (transfer->length + size + 1 > transfer->room) {
        size_t room = 2 * (transfer->length + size + 1);
        char *grown = realloc(transfer->answer, room);
        if (!grown) {
            transfer->problem = "not enough memory for the answer";
            return 0;
        }
        transfer->answer = grown;
        transfer->room = room;
    }
    memcpy(transfer->answer + transfer->length, data, size);
    transfer->length += size;
    return size;
}

static size_t on_header(char *data, size_t unit, size_t count, void *context)
{
    static const char name[] = "Retry-After:";
    struct transfer *transfer = context;
    size_t size = unit * count;
    char value[16];
    if (size >= sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
        size_t length = size - (sizeof(name) - 1);
        length = length < sizeof(value) ? length : sizeof(value) - 1;
        memcpy(value, data + sizeof(name) - 1, length);
        value[length] = '\0';
        long seconds = strtol(value, NULL, 10);
        transfer->retry_after_ms = seconds <= 0     ? 0
                                   : seconds > 3600 ? 3600000u
                                                    : (uint32_t)seconds * 1000u;
    }
    return size;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct transfer *transfer = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return transfer->host->left_ms(transfer->call) <= 0;
}

static void set_options(const struct rest *rest, CURL *handle, struct transfer *transfer,
                        const char *method, const char *url, const char *body,
                        struct curl_slist *headers)
{
    int64_t left = transfer->host->left_ms(transfer->call);
    int64_t total = rest->timeout_ms < left ? rest->timeout_ms : left;
    curl_easy_reset(handle); /* the connection stays */
    curl_easy_setopt(handle, CURLOPT_URL, url);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "vimd/" VIMD_VERSION);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)(total < 1 ? 1 : total));
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)rest->connect_timeout_ms);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, transfer);
    if (rest->unix_socket) {
        curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, rest->unix_socket);
    }
    if (rest->ca_file) {
        curl_easy_setopt(handle, CURLOPT_CAINFO, rest->ca_file);
    }
    if (rest->certificate) {
        curl_easy_setopt(handle, CURLOPT_SSLCERT, rest->certificate);
        curl_easy_setopt(handle, CURLOPT_SSLKEY, rest->key);
    }
    if (body) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    }
}

/* Headers with what a failed allocation leaves: NULL. The list is not for logs: it has the token. */
static struct curl_slist *make_headers(const char *token, const char *body)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (list && body) {
        list = curl_slist_append(list, "Content-Type: application/json");
    }
    if (list && token) {
        char *line = NULL;
        if (asprintf(&line, "Authorization: Bearer %s", token) > 0) {
            list = curl_slist_append(list, line);
            explicit_bzero(line, strlen(line));
            free(line);
        }
    }
    return list;
}

static int explain(struct rest *rest, struct transfer *transfer, CURLcode result)
{
    long sent = 0;
    (void)curl_easy_getinfo(rest->handle, CURLINFO_REQUEST_SIZE, &sent);
    bool late = result == CURLE_OPERATION_TIMEDOUT || result == CURLE_ABORTED_BY_CALLBACK;
    int code = sent == 0 ? VIM_E_UNAVAILABLE : late ? VIM_E_TIMEOUT : VIM_E_LOST;
    if (late && sent) {
        transfer->problem = "no answer within the time that there was";
    }
    return vim_fail(transfer->host, transfer->call, code, 0, "%s: %s",
                    rest->unix_socket ? rest->unix_socket : rest->url,
                    transfer->problem ? transfer->problem : curl_easy_strerror(result));
}

static void take_reply(CURL *handle, const struct transfer *transfer, struct rest_reply *ret_reply)
{
    *ret_reply = (struct rest_reply){.retry_after_ms = transfer->retry_after_ms};
    (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &ret_reply->status);
    if (transfer->answer) {
        ret_reply->body = json_loadb(transfer->answer, transfer->length, JSON_DECODE_ANY, NULL);
    }
}

int rest_call(struct rest *rest, const struct vim_host *host, struct vim_call *call,
              const char *method, const char *path, const char *token, const char *body,
              struct rest_reply *ret_reply)
{
    struct transfer transfer = {.host = host, .call = call};
    char url[PATH_SIZE];
    if (snprintf(url, sizeof(url), "%s%s", rest->url, path) >= (int)sizeof(url)) {
        return host->fail(call, VIM_E_INVALID, 0, "the name is too long");
    }
    struct curl_slist *headers = make_headers(token, body);
    if (!headers) {
        return host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
    }
    set_options(rest, rest->handle, &transfer, method, url, body, headers);
    CURLcode result = curl_easy_perform(rest->handle);
    int code = VIM_OK;
    if (result == CURLE_OK) {
        take_reply(rest->handle, &transfer, ret_reply);
    } else {
        code = explain(rest, &transfer, result);
    }
    free(transfer.answer);
    curl_slist_free_all(headers);
    return code;
}

/* --- Several at the same time -------------------------------------------------------------------- */

/* One of them in progress. */
struct get {
    struct rest_get *what;
    struct transfer transfer;
    CURL *handle;
};

static bool get_begin(struct rest *rest, struct get *get, struct curl_slist *headers)
{
    char url[PATH_SIZE];
    int64_t left = get->transfer.host->left_ms(get->transfer.call) * GETS_SHARE / 100;
    if (snprintf(url, sizeof(url), "%s%s", rest->url, get->what->path) >= (int)sizeof(url)) {
        return true; /* nobody answers to such a name */
    }
    get->handle = curl_easy_init();
    if (!get->handle) {
        return false;
    }
    set_options(rest, get->handle, &get->transfer, "GET", url, NULL, headers);
    if (left < rest->timeout_ms) {
        curl_easy_setopt(get->handle, CURLOPT_TIMEOUT_MS, (long)(left < 1 ? 1 : left));
    }
    curl_easy_setopt(get->handle, CURLOPT_PRIVATE, get);
    return curl_multi_add_handle(rest->several, get->handle) == CURLM_OK;
}

static void get_end(struct rest *rest, struct get *get)
{
    if (get->handle) {
        (void)curl_multi_remove_handle(rest->several, get->handle);
        curl_easy_cleanup(get->handle);
    }
    free(get->transfer.answer);
}

/* Until all have ended, each in its own way: its time, too, is its own. */
static void run_all(struct rest *rest)
{
    int running = 0, queued;
    while (curl_multi_perform(rest->several, &running) == CURLM_OK && running > 0 &&
           curl_multi_poll(rest->several, NULL, 0, 1000, NULL) == CURLM_OK) {
    }
    for (CURLMsg *message; (message = curl_multi_info_read(rest->several, &queued));) {
        struct get *get = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &get);
        if (message->data.result == CURLE_OK) {
            take_reply(get->handle, &get->transfer, &get->what->reply);
        }
    }
}

static CURLM *several_new(void)
{
    CURLM *several = curl_multi_init();
    if (several) {
        curl_multi_setopt(several, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
        curl_multi_setopt(several, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
    }
    return several;
}

int rest_get_all(struct rest *rest, const struct vim_host *host, struct vim_call *call,
                 struct rest_get *gets, size_t count)
{
    struct curl_slist *headers = make_headers(NULL, NULL);
    struct get *all = calloc(count + 1, sizeof(*all));
    rest->several = rest->several ? rest->several : several_new();
    bool good = headers && all && rest->several;
    for (size_t i = 0; good && i < count; i++) {
        all[i] = (struct get){&gets[i], {.host = host, .call = call}, NULL};
        good = !gets[i].path[0] || get_begin(rest, &all[i], headers);
    }
    if (good) {
        run_all(rest);
    }
    for (size_t i = 0; all && i < count; i++) {
        get_end(rest, &all[i]);
    }
    free(all);
    curl_slist_free_all(headers);
    return good ? VIM_OK : host->fail(call, VIM_E_INTERNAL, 0, "out of memory");
}
