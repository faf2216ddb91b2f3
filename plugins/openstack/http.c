/*
 * Lock order: pool->lock, alone. It guards the stack of idle handles, and is never held while
 * libcurl works.
 */
#include "http.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <vim/plugin.h>

/* A proxy or nginx closes idle connections after a minute or so; we do it first. */
#define IDLE_SECONDS 50L

struct http_pool {
    uint32_t magic;
    struct http_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    unsigned busy; /* handles that are out */
    unsigned idle_count;
    CURL **idle; /* settings.connections places */
};
#define POOL_MAGIC 0x6f736874u

/* One request in progress. */
struct transfer {
    const struct http_pool *pool;
    const struct http_request *request;
    struct http_reply *reply;
    size_t room;
    uint64_t sent;
    int given_up; /* left_ms() was 0 */
    int too_large; /* the answer passed max_answer */
    int no_memory;
};

static pthread_once_t started = PTHREAD_ONCE_INIT;

static void start(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void http_start(void)
{
    (void)pthread_once(&started, start);
}

struct http_pool *http_pool_new(const struct http_settings *settings)
{
    struct http_pool *pool = calloc(1, sizeof(*pool));
    pthread_condattr_t attributes;

    if (pool == NULL) {
        return NULL;
    }
    pool->idle = calloc(settings->connections, sizeof(*pool->idle));
    if (pool->idle == NULL) {
        free(pool);
        return NULL;
    }
    pool->magic = POOL_MAGIC;
    pool->settings = *settings;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &attributes);
    pthread_condattr_destroy(&attributes);
    return pool;
}

void http_pool_free(struct http_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    assert(pool->magic == POOL_MAGIC && pool->busy == 0);
    for (unsigned at = 0; at < pool->idle_count; at++) {
        curl_easy_cleanup(pool->idle[at]);
    }
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    pool->magic = 0;
    free(pool->idle);
    free(pool);
}

void http_reply_clear(struct http_reply *reply)
{
    free(reply->body);
    memset(reply, 0, sizeof(*reply));
}

/* Takes a handle, the one used last: its connection is the likeliest to be alive. NULL if none
 * came free in time. */
static CURL *pool_take(struct http_pool *pool, const struct http_request *request)
{
    CURL *handle = NULL;
    int made = 0;

    pthread_mutex_lock(&pool->lock);
    while (pool->idle_count == 0 && pool->busy >= pool->settings.connections) {
        struct timespec until;
        pthread_mutex_unlock(&pool->lock);
        if (request->left_ms(request->context) <= 0) {
            return NULL;
        }
        pthread_mutex_lock(&pool->lock);
        if (pool->idle_count > 0 || pool->busy < pool->settings.connections) {
            break;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&pool->freed, &pool->lock, &until);
    }
    pool->busy++;
    if (pool->idle_count > 0) {
        handle = pool->idle[--pool->idle_count];
    } else {
        made = 1;
    }
    pthread_mutex_unlock(&pool->lock);
    if (made) {
        handle = curl_easy_init();
        if (handle == NULL) {
            pthread_mutex_lock(&pool->lock);
            pool->busy--;
            pthread_mutex_unlock(&pool->lock);
        }
    }
    return handle;
}

/* Gives a handle back, or ends it with its connection. */
static void pool_give(struct http_pool *pool, CURL *handle, int keep)
{
    if (keep) {
        /* Options go, the connection stays. */
        curl_easy_reset(handle);
    } else {
        curl_easy_cleanup(handle);
    }
    pthread_mutex_lock(&pool->lock);
    if (keep) {
        pool->idle[pool->idle_count++] = handle;
    }
    pool->busy--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

static size_t on_body(char *data, size_t unit, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct http_reply *reply = transfer->reply;
    size_t size = unit * count;

    if (size > transfer->pool->settings.max_answer - reply->length) {
        transfer->too_large = 1;
        return 0;
    }
    if (reply->length + size + 1 > transfer->room) {
        size_t room = transfer->room == 0 ? 8192 : transfer->room;
        char *grown;
        while (room < reply->length + size + 1) {
            room *= 2;
        }
        grown = realloc(reply->body, room);
        if (grown == NULL) {
            transfer->no_memory = 1;
            return 0;
        }
        reply->body = grown;
        transfer->room = room;
    }
    memcpy(reply->body + reply->length, data, size);
    reply->length += size;
    reply->body[reply->length] = '\0';
    return size;
}

/* The value of a header line if it is NAME's, else NULL; names differ in case between services. */
static const char *header_value(const char *line, const char *name)
{
    size_t length = strlen(name);

    if (strncasecmp(line, name, length) != 0 || line[length] != ':') {
        return NULL;
    }
    line += length + 1;
    return line + strspn(line, " \t");
}

static void copy_header(char *to, size_t size, const char *value)
{
    size_t length = strcspn(value, "\r\n");

    if (length < size) {
        memcpy(to, value, length);
        to[length] = '\0';
    }
}

static void read_retry_after(struct http_reply *reply, const char *value)
{
    char *end;
    long seconds = strtol(value, &end, 10);

    if (end == value) {
        time_t when = curl_getdate(value, NULL);
        seconds = when < 0 ? 0 : (long)(when - time(NULL));
    }
    /* Whatever it asks for, an hour is as good as never. */
    reply->has_retry_after = 1;
    reply->retry_after_ms = seconds <= 0     ? 0
                            : seconds > 3600 ? 3600000u
                                             : (uint32_t)seconds * 1000u;
}

static size_t on_header(char *data, size_t unit, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct http_reply *reply = transfer->reply;
    size_t size = unit * count;
    char line[2304];
    const char *value;

    if (size >= sizeof(line)) {
        return size;
    }
    memcpy(line, data, size);
    line[size] = '\0';
    if ((value = header_value(line, "X-OpenStack-Request-Id")) != NULL) {
        copy_header(reply->request_id, sizeof(reply->request_id), value);
    } else if ((value = header_value(line, "X-Subject-Token")) != NULL) {
        copy_header(reply->token, sizeof(reply->token), value);
    } else if ((value = header_value(line, "Retry-After")) != NULL) {
        read_retry_after(reply, value);
    } else if ((value = header_value(line, "Date")) != NULL) {
        time_t when = curl_getdate(value, NULL);
        reply->date_ms = when < 0 ? 0 : (int64_t)when * 1000;
    }
    return size;
}

static size_t on_read(char *buffer, size_t unit, size_t count, void *context)
{
    struct transfer *transfer = context;
    const struct http_request *request = transfer->request;
    size_t size = unit * count;
    int64_t got;

    if (request->read == NULL) {
        size_t length = strlen(request->body);
        size = length - transfer->sent < size ? length - transfer->sent : size;
        memcpy(buffer, request->body + transfer->sent, size);
        transfer->sent += size;
        return size;
    }
    if ((uint64_t)request->stream_size - transfer->sent < size) {
        size = (size_t)((uint64_t)request->stream_size - transfer->sent);
    }
    got = size == 0 ? 0 : request->read(request->context, transfer->sent, buffer, size);
    if (got < 0 || (got == 0 && size > 0) || (size_t)got > size) {
        transfer->reply->read_error = got < 0 ? (int)got : VIM_E_INVALID;
        return CURL_READFUNC_ABORT;
    }
    transfer->sent += (uint64_t)got;
    return (size_t)got;
}

/* libcurl repeats a request by itself when a kept-alive connection dies. Where that is not safe it
 * has to rewind the body for it, and is told that it cannot. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    struct transfer *transfer = context;

    if (origin != SEEK_SET || offset != 0 || transfer->request->read != NULL ||
        strcmp(transfer->request->method, "POST") == 0) {
        return CURL_SEEKFUNC_FAIL;
    }
    transfer->sent = 0;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *context, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    struct transfer *transfer = context;

    (void)down_all;
    (void)down;
    (void)up_all;
    (void)up;
    transfer->given_up = transfer->request->left_ms(transfer->request->context) <= 0;
    return transfer->given_up;
}

static void set_body(CURL *handle, struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    int64_t size = request->read != NULL   ? request->stream_size
                   : request->body != NULL ? (int64_t)strlen(request->body)
                                           : -1;

    if (size < 0) {
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
        return;
    }
    /* With a length, never chunked: most services read a chunked body as an empty one. */
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(handle, CURLOPT_READDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, transfer);
    if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    } else {
        curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_limits(CURL *handle, const struct http_settings *settings,
                       const struct http_request *request, int64_t left)
{
    int64_t total = settings->timeout_ms < left ? settings->timeout_ms : left;
    int64_t connect = settings->connect_timeout_ms < left ? settings->connect_timeout_ms : left;

    if (request->read != NULL) {
        /* A large upload takes what it takes, as long as it moves. */
        total = left;
        curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                         (long)((settings->timeout_ms + 999) / 1000));
    }
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)total);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
}

static struct curl_slist *make_headers(const struct http_request *request)
{
    /* Without this libcurl waits up to a second for permission to send a large body. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    for (size_t at = 0; list != NULL && at < 8 && request->headers[at] != NULL; at++) {
        struct curl_slist *longer = curl_slist_append(list, request->headers[at]);
        if (longer == NULL) {
            curl_slist_free_all(list);
        }
        list = longer;
    }
    return list;
}

static void set_options(CURL *handle, struct transfer *transfer, struct curl_slist *headers,
                        int64_t left)
{
    const struct http_settings *settings = &transfer->pool->settings;

    curl_easy_setopt(handle, CURLOPT_URL, transfer->request->url);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "vimd/" VIMD_VERSION);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXCONNECTS, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXAGE_CONN, IDLE_SECONDS);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, settings->proxy == NULL ? "" : settings->proxy);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, settings->verify ? 1L : 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, settings->verify ? 2L : 0L);
    if (settings->ca_file != NULL) {
        curl_easy_setopt(handle, CURLOPT_CAINFO, settings->ca_file);
    }
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, transfer);
    set_body(handle, transfer);
    set_limits(handle, settings, transfer->request, left);
}

/* True if a byte of the request may have reached the far side. */
static int was_sent(CURL *handle)
{
    long sent = 0;

    (void)curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0;
}

static int outcome(CURL *handle, CURLcode result, const struct transfer *transfer)
{
    struct http_reply *reply = transfer->reply;
    const char *text = curl_easy_strerror(result);
    int code = was_sent(handle) ? VIM_E_LOST : VIM_E_UNAVAILABLE;

    if (transfer->too_large) {
        text = "the answer is larger than allowed";
    } else if (transfer->no_memory) {
        text = "not enough memory for the answer";
    } else if (reply->read_error != 0) {
        text = "the data ended before its announced size";
        code = reply->read_error;
    } else if (transfer->given_up || result == CURLE_OPERATION_TIMEDOUT) {
        text = transfer->given_up ? "given up before an answer came" : "no answer in time";
        code = was_sent(handle) ? VIM_E_TIMEOUT : VIM_E_UNAVAILABLE;
    } else if (result == CURLE_OUT_OF_MEMORY) {
        code = VIM_E_INTERNAL;
    } else if (result == CURLE_SEND_FAIL_REWIND) {
        text = "the connection was closed before an answer came";
        code = VIM_E_LOST;
    }
    (void)snprintf(reply->problem, sizeof(reply->problem), "%s", text);
    return code;
}

int http_perform(struct http_pool *pool, const struct http_request *request,
                 struct http_reply *reply)
{
    struct transfer transfer = {.pool = pool, .request = request, .reply = reply};
    int64_t left = request->left_ms(request->context);
    CURL *handle = left <= 0 ? NULL : pool_take(pool, request);
    struct curl_slist *headers;
    CURLcode result;
    int rc;

    if (handle == NULL) {
        (void)snprintf(reply->problem, sizeof(reply->problem), "no time left to send the request");
        return VIM_E_UNAVAILABLE;
    }
    left = request->left_ms(request->context);
    headers = make_headers(request);
    if (headers == NULL) {
        pool_give(pool, handle, 1);
        return VIM_E_INTERNAL;
    }
    set_options(handle, &transfer, headers, left < 1 ? 1 : left);
    result = curl_easy_perform(handle);
    rc = VIM_OK;
    if (result == CURLE_OK) {
        (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &reply->status);
    } else {
        rc = outcome(handle, result, &transfer);
    }
    pool_give(pool, handle, result == CURLE_OK);
    curl_slist_free_all(headers);
    return rc;
}
