#include "fake_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/config.h"

struct held {
    logic_respond_fn respond;
    void *argument;
    const struct request *request;
    struct held *next;
};

static atomic_uint calls, authentications, threads;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct held *held;
static char spool_dir[] = "/tmp/test-api-XXXXXX";
static bool spool_made;

struct fake_counts fake_counts(void)
{
    return (struct fake_counts){atomic_load(&calls), atomic_load(&authentications)};
}

static void answer(logic_respond_fn respond, void *argument, int status, char *body, size_t length)
{
    struct header headers[] = {{"ETag", "\"7\""}};
    struct response response = {.status = status,
                                .content_type = "application/json",
                                .headers = headers,
                                .header_count = 1,
                                .body = body,
                                .body_length = length};
    respond(argument, &response);
    free(response.body);
}

static void answer_text(logic_respond_fn respond, void *argument, int status, const char *text)
{
    answer(respond, argument, status, text_duplicate(text), strlen(text));
}

static void *late(void *argument)
{
    struct held *one = argument;
    clock_sleep_ms(5);
    answer_text(one->respond, one->argument, 200, "{\"late\":true}");
    free(one);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

static void hold(const struct request *request, logic_respond_fn respond, void *argument)
{
    struct held *one = MEMORY_NEW(struct held);
    *one = (struct held){respond, argument, request, NULL};
    LOCK_GUARD(&mutex);
    one->next = held;
    held = one;
}

static void start_late(logic_respond_fn respond, void *argument)
{
    struct held *one = MEMORY_NEW(struct held);
    *one = (struct held){respond, argument, NULL, NULL};
    pthread_t thread;
    atomic_fetch_add(&threads, 1);
    assert_int_equal(pthread_create(&thread, NULL, late, one), 0);
    pthread_detach(thread);
}

unsigned fake_held(void)
{
    LOCK_GUARD(&mutex);
    unsigned count = 0;
    for (struct held *one = held; one; one = one->next) {
        count++;
    }
    return count;
}

void fake_release(int status)
{
    pthread_mutex_lock(&mutex);
    struct held *list = TAKE(held);
    pthread_mutex_unlock(&mutex);
    while (list) {
        struct held *next = list->next;
        /* The request has to be there still, whatever became of its client. */
        assert_string_equal(list->request->path, "/never");
        assert_true(strlen(list->request->request_id) > 0);
        answer_text(list->respond, list->argument, status, "{\"held\":true}");
        free(list);
        list = next;
    }
}

static void see(const struct request *request, logic_respond_fn respond, void *argument)
{
    CLEANUP_TEXT struct text text = {0};
    text_printf(&text, "method=%s\npath=%s\nid=%s\n", request->method, request->path,
                request->request_id);
    for (size_t i = 0; i < request->query_count; i++) {
        text_printf(&text, "query:%s=%s\n", request->query[i].name, request->query[i].value);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        text_printf(&text, "header:%s=%s\n", request->headers[i].name, request->headers[i].value);
    }
    text_printf(&text, "peer=%d\n", request->peer);
    if (request->principal) {
        text_printf(&text, "project=%s\n", request->principal->project);
    }
    answer_text(respond, argument, 200, text_get(&text));
}

static void upload(const struct request *request, logic_respond_fn respond, void *argument)
{
    assert_non_null(request->body_path);
    assert_int_equal(access(request->body_path, R_OK), 0);
    CLEANUP_TEXT struct text text = {0};
    text_printf(&text, "{\"size\":%lld}", (long long)request->body_size);
    bool take = strcmp(request->query_count ? request->query[0].value : "", "take") == 0;
    answer_text(respond, argument, take ? 202 : 409, text_get(&text));
}

void link_call(struct link *link, const struct request *request, logic_respond_fn respond,
               void *argument)
{
    (void)link;
    atomic_fetch_add(&calls, 1);
    if (strcmp(request->path, "/thread") == 0) {
        start_late(respond, argument);
    } else if (strcmp(request->path, "/never") == 0) {
        hold(request, respond, argument);
    } else if (strcmp(request->path, "/big") == 0) {
        char *body = memory_new(FAKE_BIG);
        memset(body, 'x', FAKE_BIG);
        answer(respond, argument, 200, body, FAKE_BIG);
    } else if (strcmp(request->path, "/echo") == 0) {
        CLEANUP_TEXT struct text text = {0};
        text_printf(&text, "%zu:%.8s", request->body_length, request->body);
        answer_text(respond, argument, 200, text_get(&text));
    } else if (strcmp(request->path, "/upload") == 0) {
        upload(request, respond, argument);
    } else if (strcmp(request->path, "/see") == 0) {
        see(request, respond, argument);
    } else if (strcmp(request->path, "/empty") == 0) {
        answer(respond, argument, 204, NULL, 0);
    } else {
        int status = strcmp(request->method, "other") == 0    ? 405
                     : strcmp(request->path, "/missing") == 0 ? 404
                                                              : 200;
        answer_text(respond, argument, status, "{\"ok\":true}");
    }
}

void link_route(struct link *link, const char *method, const char *path,
                struct logic_route_info *ret_info)
{
    (void)link, (void)method;
    *ret_info = (struct logic_route_info){.route = "/fake"};
    ret_info->is_public = strcmp(path, "/healthz") == 0;
    ret_info->spool = strcmp(path, "/upload") == 0;
    if (strcmp(path, "/echo") == 0 || strcmp(path, "/never") == 0) {
        ret_info->body_max = FAKE_BODY_MAX;
    } else if (ret_info->spool) {
        ret_info->body_max = FAKE_UPLOAD_MAX;
    }
}

/* Nothing here waits for tasks. */
void link_end_waits(struct link *link, bool all)
{
    (void)link, (void)all;
}

bool link_is_inline(struct link *link, const struct request *request)
{
    (void)link;
    return strcmp(request->path, "/thread") != 0 && strcmp(request->path, "/never") != 0;
}

struct asked {
    link_principal_fn complete;
    void *argument;
    bool good;
};

static void tell(const struct asked *asked)
{
    const struct failure failure = {.code = VIM_E_CREDENTIAL, .text = "no such token"};
    const struct principal principal = {
        .token_id = "t1", .name = "tester", .project = "demo", .role = ROLE_MEMBER};
    asked->complete(asked->argument, asked->good ? VIM_OK : VIM_E_CREDENTIAL, &principal, &failure);
}

static void *tell_late(void *argument)
{
    struct asked *asked = argument;
    clock_sleep_ms(20);
    tell(asked);
    free(asked);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

/* Of "late-good" and "late-bad" it tells later. */
void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument)
{
    (void)link;
    atomic_fetch_add(&authentications, 1);
    struct asked asked = {complete, argument, strstr(token, "good") != NULL};
    if (strncmp(token, "late", 4) == 0) {
        pthread_t thread;
        atomic_fetch_add(&threads, 1);
        assert_int_equal(
            pthread_create(&thread, NULL, tell_late, memory_copy(&asked, sizeof asked)), 0);
        pthread_detach(thread);
    } else {
        tell(&asked);
    }
}

bool logic_wants_header(const char *name)
{
    return text_has_word("idempotency-key prefer if-match content-type", name);
}

void logic_problem(int status, const char *code, const char *detail, const char *instance,
                   bool retryable, uint32_t retry_after_ms, struct response *ret_response)
{
    (void)retryable, (void)retry_after_ms;
    *ret_response = (struct response){.status = status, .content_type = "application/problem+json"};
    ret_response->body =
        text_format("{\"status\":%d,\"code\":\"%s\",\"detail\":\"%s\",\"instance\":\"%s\"}", status,
                    code, detail, instance ? instance : "");
    ret_response->body_length = strlen(ret_response->body);
}

const char *fake_spool_dir(void)
{
    if (!spool_made) {
        assert_non_null(mkdtemp(spool_dir));
        spool_made = true;
    }
    return spool_dir;
}

unsigned fake_spool_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir(fake_spool_dir());
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.') {
            CLEANUP_FREE char *path = text_format("%s/%s", spool_dir, entry->d_name);
            unlink(path);
            count++;
        }
    }
    closedir(dir);
    return count;
}

void fake_end(void)
{
    while (atomic_load(&threads) > 0) {
        clock_sleep_ms(5);
    }
    if (spool_made) {
        fake_spool_files();
        rmdir(spool_dir);
    }
}

struct config_struct *fake_config(const char *change)
{
    CLEANUP_FREE char *yaml = text_format("listen: 127.0.0.1:0\nthreads: 2\n%s", change);
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    int code = config_parse_text(yaml, strlen(yaml), "test.yaml", &config, &errors);
    if (!code) {
        code = config_fill(&api_table, config_root(config), NULL, &errors, &filled);
    }
    for (size_t i = 0; i < errors.count; i++) {
        print_error("%s\n", errors.items[i]);
    }
    assert_int_equal(code, 0);
    config_errors_free(&errors);
    config_free(config);
    return filled;
}

struct api *fake_start(const struct config_struct *config)
{
    struct api *api = NULL;
    struct failure failure = {0};
    if (api_start(config_data(config), fake_spool_dir(), NULL, &api, &failure)) {
        fail_msg("%s", failure.text);
    }
    return api;
}
