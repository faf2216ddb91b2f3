#include "base/http_client.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vim/plugin.h>
#include <curl/curl.h>
#include "base/memory.h"
#include "base/text.h"

#define LIBRARY "libcurl.so.4"
/* More of an answer's body is of no interest. */
#define ANSWER_MAX (64 << 10)
/* More of headers, of all answers to one request together, is refused. */
#define HEADERS_MAX (64 << 10)

/* What is used of libcurl. */
#define FUNCTIONS(each)                                                                       \
    each(global_init) each(easy_init) each(easy_setopt) each(easy_getinfo) each(easy_cleanup) \
        each(easy_strerror) each(multi_init) each(multi_cleanup) each(multi_add_handle)       \
            each(multi_remove_handle) each(multi_perform) each(multi_poll) each(multi_wakeup) \
                each(multi_info_read) each(multi_setopt) each(slist_append) each(slist_free_all)
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

static struct {
#define MEMBER(name) __typeof__(&curl_##name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} lib;
static pthread_mutex_t lib_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool lib_ready;

struct http_client {
    CURLM *multi;
    struct http_client_settings settings;
    char *ca_file, *user_agent;
    struct transfer *transfers;
};

/* One request. Made by http_client_post() or _get(), freed when it is completed or the client is. */
struct transfer {
    struct http_client *client;
    struct transfer *previous, *next;
    CURL *easy;
    struct curl_slist *headers;
    size_t received, answer_max, header_bytes;
    bool refused; /* the owner did not allow the address */
    void *argument;
    http_client_fn complete; /* of a POST */
    http_client_get_fn complete_get; /* of a GET */
    struct text body; /* of the answer to a GET */
    char error[CURL_ERROR_SIZE];
};

static int lib_load(char ret_why[256])
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        (void)snprintf(ret_why, 256, "%s", dlerror());
        return VIM_E_UNSUPPORTED;
    }
#define LOAD(name)                                                          \
    {                                                                       \
        void *symbol = dlsym(handle, "curl_" #name);                        \
        if (!symbol) {                                                      \
            (void)snprintf(ret_why, 256, "%s has no curl_" #name, LIBRARY); \
            return VIM_E_UNSUPPORTED;                                       \
        }                                                                   \
        memcpy(&lib.name, &symbol, sizeof(symbol));                         \
    }
    FUNCTIONS(LOAD)
#undef LOAD
    if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)snprintf(ret_why, 256, "%s does not start", LIBRARY);
        return VIM_E_UNSUPPORTED;
    }
    lib_ready = true;
    return VIM_OK;
}

int http_client_new(const struct http_client_settings *settings, struct http_client **ret_client,
                    char ret_why[256])
{
    pthread_mutex_lock(&lib_mutex);
    int code = lib_ready ? VIM_OK : lib_load(ret_why);
    pthread_mutex_unlock(&lib_mutex);
    if (code != VIM_OK) {
        return code;
    }
    struct http_client *client = MEMORY_NEW(struct http_client);
    client->settings = *settings;
    client->ca_file = settings->ca_file ? strdup(settings->ca_file) : NULL;
    client->user_agent = strdup(settings->user_agent);
    client->multi = lib.multi_init();
    if (!client->multi || !client->user_agent) {
        http_client_free(client);
        (void)snprintf(ret_why, 256, "no memory");
        return VIM_E_UNSUPPORTED;
    }
    *ret_client = client;
    return VIM_OK;
}

static void transfer_free(struct transfer *transfer)
{
    struct http_client *client = transfer->client;
    if (transfer->previous) {
        transfer->previous->next = transfer->next;
    } else {
        client->transfers = transfer->next;
    }
    if (transfer->next) {
        transfer->next->previous = transfer->previous;
    }
    if (transfer->easy) {
        lib.multi_remove_handle(client->multi, transfer->easy);
        lib.easy_cleanup(transfer->easy);
    }
    lib.slist_free_all(transfer->headers);
    text_free(&transfer->body);
    free(transfer);
}

void http_client_free(struct http_client *client)
{
    if (!client) {
        return;
    }
    while (client->transfers) {
        transfer_free(client->transfers);
    }
    if (client->multi) {
        lib.multi_cleanup(client->multi);
    }
    free(client->ca_file);
    free(client->user_agent);
    free(client);
}

/* --- One request --------------------------------------------------------------------------------- */

static curl_socket_t open_socket(void *argument, curlsocktype purpose,
                                 struct curl_sockaddr *address)
{
    struct transfer *transfer = argument;
    struct http_client_settings *settings = &transfer->client->settings;
    if (purpose != CURLSOCKTYPE_IPCXN || !settings->allowed(settings->argument, &address->addr)) {
        transfer->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    transfer->received += size * count;
    if (transfer->received > transfer->answer_max) {
        return 0;
    }
    if (transfer->complete_get) {
        text_add_bytes(&transfer->body, data, size * count);
    }
    return size * count;
}

/* Headers without end are not waited for, nor kept. */
static size_t count_header(char *data, size_t size, size_t count, void *argument)
{
    (void)data;
    struct transfer *transfer = argument;
    transfer->header_bytes += size * count;
    return transfer->header_bytes > HEADERS_MAX ? 0 : size * count;
}

static void set_options(struct transfer *transfer, const struct http_client_request *request)
{
    CURL *easy = transfer->easy;
    const struct http_client *client = transfer->client;
    lib.easy_setopt(easy, CURLOPT_URL, request->url);
    lib.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    lib.easy_setopt(easy, CURLOPT_PROXY, "");
    lib.easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    lib.easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a name server that hangs holds nothing up */
    lib.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)client->settings.connect_timeout_ms);
    lib.easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)client->settings.timeout_ms);
    lib.easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    lib.easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    lib.easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (client->ca_file) {
        lib.easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
    }
    lib.easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent);
    lib.easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    if (transfer->complete) {
        lib.easy_setopt(easy, CURLOPT_POST, 1L);
        lib.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        lib.easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    }
    lib.easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    lib.easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    lib.easy_setopt(easy, CURLOPT_HEADERFUNCTION, count_header);
    lib.easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    lib.easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    lib.easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    lib.easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    lib.easy_setopt(easy, CURLOPT_PRIVATE, transfer);
}

static struct transfer *transfer_new(struct http_client *client, void *argument, size_t answer_max)
{
    struct transfer *transfer = MEMORY_NEW(struct transfer);
    transfer->client = client;
    transfer->argument = argument;
    transfer->answer_max = answer_max;
    return transfer;
}

static int start(struct http_client *client, struct transfer *transfer,
                 const struct http_client_request *request)
{
    transfer->next = client->transfers;
    if (transfer->next) {
        transfer->next->previous = transfer;
    }
    client->transfers = transfer;
    for (size_t i = 0; request->headers && request->headers[i]; i++) {
        struct curl_slist *more = lib.slist_append(transfer->headers, request->headers[i]);
        transfer->headers = more ? more : transfer->headers;
    }
    transfer->easy = lib.easy_init();
    if (transfer->easy) {
        set_options(transfer, request);
    }
    if (!transfer->easy || lib.multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
        transfer_free(transfer);
        return VIM_E_UNAVAILABLE;
    }
    return VIM_OK;
}

int http_client_post(struct http_client *client, const struct http_client_request *request,
                     http_client_fn complete)
{
    struct transfer *transfer = transfer_new(client, request->argument, ANSWER_MAX);
    transfer->complete = complete;
    return start(client, transfer, request);
}

int http_client_get(struct http_client *client, const struct http_client_request *request,
                    size_t answer_max, http_client_get_fn complete)
{
    struct transfer *transfer = transfer_new(client, request->argument, answer_max);
    transfer->complete_get = complete;
    return start(client, transfer, request);
}

static void complete_get(struct transfer *transfer, int status, CURLcode result, const char *error)
{
    http_client_get_fn complete = transfer->complete_get;
    void *argument = transfer->argument;
    char more[64];
    (void)snprintf(more, sizeof(more), "more than %zu bytes", transfer->answer_max);
    bool large = transfer->received > transfer->answer_max, whole = result == CURLE_OK;
    struct text body = transfer->body;
    transfer->body = (struct text){0};
    transfer_free(transfer);
    complete(argument, whole || large ? status : 0,
             whole   ? NULL
             : large ? more
                     : error,
             whole ? text_get(&body) : NULL, whole ? body.length : 0);
    text_free(&body);
}

static void complete_one(struct http_client *client, CURL *easy, CURLcode result)
{
    (void)client;
    struct transfer *transfer = NULL;
    long status = 0;
    lib.easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    lib.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    char error[CURL_ERROR_SIZE + 64];
    bool too_many_headers = transfer->header_bytes > HEADERS_MAX;
    (void)snprintf(error, sizeof(error), "%s",
                   transfer->refused    ? "its address is one that must not be called"
                   : too_many_headers   ? "it sends headers without end"
                   : transfer->error[0] ? transfer->error
                                        : lib.easy_strerror(result));
    if (transfer->complete_get) {
        complete_get(transfer, (int)status, result, error);
        return;
    }
    http_client_fn complete = transfer->complete;
    void *argument = transfer->argument;
    transfer_free(transfer);
    /* Who sends more of a body than is wanted has answered all the same. */
    bool answered =
        result == CURLE_OK || (result == CURLE_WRITE_ERROR && status > 0 && !too_many_headers);
    complete(argument, answered ? (int)status : 0, answered ? NULL : error);
}

void http_client_work(struct http_client *client, int timeout_ms)
{
    int running = 0, left = 0;
    (void)lib.multi_perform(client->multi, &running);
    CURLMsg *message;
    bool ended = false;
    while ((message = lib.multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            complete_one(client, message->easy_handle, message->data.result);
            ended = true;
        }
    }
    if (!ended) {
        (void)lib.multi_poll(client->multi, NULL, 0, timeout_ms, NULL);
    }
}

void http_client_wake(struct http_client *client)
{
    (void)lib.multi_wakeup(client->multi);
}
