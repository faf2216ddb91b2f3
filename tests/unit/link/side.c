#include "side.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "config/config.h"

#define LARGE ((size_t)3 << 20)

const char *side_certificate, *side_key, *side_authority;

/* --- A logic process --------------------------------------------------------------------------- */

static void side_route(struct link *link, const char *method, const char *path,
                       struct logic_route_info *ret_info)
{
    (void)link;
    bool data = strcmp(method, "PUT") == 0;
    *ret_info = (struct logic_route_info){
        .route = "/side", .body_max = data ? 1 << 24 : 1 << 20, .spool = data};
    if (strcmp(path, "/link/state") == 0) {
        ret_info->route = "/state";
    }
}

static bool side_is_inline(struct link *link, const struct request *request)
{
    (void)link, (void)request;
    return true;
}

static void side_answer(logic_respond_fn respond, void *argument, int status, struct text *text)
{
    struct header headers[] = {{"ETag", "\"7\""}, {"Location", "/x"}};
    struct response response = {.status = status,
                                .content_type = "application/json",
                                .headers = headers,
                                .header_count = 2,
                                .body_length = text->length};
    response.body = text_take(text);
    respond(argument, &response);
    free(response.body);
}

static void side_tell(struct side *side, const struct request *request, struct text *text)
{
    text_printf(text, "side=%s\nmethod=%s\npath=%s\nid=%s\n", side->name, request->method,
                request->path, request->request_id);
    for (size_t i = 0; i < request->query_count; i++) {
        text_printf(text, "query:%s=%s\n", request->query[i].name, request->query[i].value);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        text_printf(text, "header:%s=%s\n", request->headers[i].name, request->headers[i].value);
    }
    if (request->principal) {
        text_printf(text, "who=%s %s %s\n", request->principal->token_id,
                    request->principal->project, request->principal->name);
    }
    text_printf(text, "left=%d\nbody=%.*s\n",
                (int)((request->deadline - clock_mono_ms() + 500) / 1000),
                (int)request->body_length, request->body);
}

struct held {
    struct side *side;
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
};

static void *side_hold(void *argument)
{
    struct held *held = argument;
    struct side *side = held->side;
    const atomic_bool *unattended = held->request->unattended;
    while (!atomic_load(&side->release) && !atomic_load(unattended)) {
        clock_sleep_ms(2);
    }
    struct text text = {0};
    text_add(&text, atomic_load(unattended) ? "left" : "released");
    atomic_fetch_add(&side->ended, atomic_load(unattended));
    atomic_fetch_sub(&side->held, 1);
    side_answer(held->respond, held->argument, 200, &text);
    free(held);
    return NULL;
}

static void side_take(const struct request *request, logic_respond_fn respond, void *argument)
{
    struct text text = {0};
    CLEANUP_TEXT struct text data = {0};
    char digest[DIGEST_HEX_SIZE];
    assert_non_null(request->body_path);
    assert_int_equal(file_read(request->body_path, 1 << 24, &data, NULL), 0);
    digest_sha256_hex(data.data, data.length, digest);
    text_printf(&text, "%zu %s", data.length, digest);
    bool takes = !strstr(request->path, "refuse");
    if (takes) {
        unlink(request->body_path);
    }
    side_answer(respond, argument, takes ? 202 : 409, &text);
}

static void side_call(struct link *link, const struct request *request, logic_respond_fn respond,
                      void *argument)
{
    struct side *side = (struct side *)link;
    struct text text = {0};
    if (request->peer) {
        text_printf(&text, "{\"draining\":%s}", atomic_load(&side->draining) ? "true" : "false");
        side_answer(respond, argument, 200, &text);
        return;
    }
    atomic_fetch_add(&side->calls, 1);
    if (text_starts_with(request->path, "/v1/vims")) {
        atomic_fetch_add(&side->held, 1);
        struct held held = {side, request, respond, argument};
        pthread_t thread;
        assert_int_equal(thread_start("held", side_hold, memory_copy(&held, sizeof held), &thread),
                         0);
        pthread_detach(thread);
        return;
    }
    if (strcmp(request->method, "PUT") == 0) {
        side_take(request, respond, argument);
        return;
    }
    if (strcmp(request->path, "/v1/plugins") == 0) {
        memset(text_reserve(&text, LARGE), 'x', LARGE);
        text.length = LARGE;
    } else {
        side_tell(side, request, &text);
    }
    side_answer(respond, argument, strcmp(request->method, "DELETE") == 0 ? 204 : 200, &text);
}

static void side_end_waits(struct link *link, bool all)
{
    struct side *side = (struct side *)link;
    if (all) {
        atomic_store(&side->release, true);
    }
}

static const struct link_ops side_ops = {.route = side_route,
                                         .is_inline = side_is_inline,
                                         .call = side_call,
                                         .end_waits = side_end_waits};

static struct config_struct *filled_of(const struct config_table *table, const char *yaml)
{
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    int code = config_parse_text(yaml, strlen(yaml), "test.yaml", &config, &errors);
    if (!code) {
        code = config_fill(table, config_root(config), NULL, &errors, &filled);
    }
    for (size_t i = 0; i < errors.count; i++) {
        print_error("%s\n", errors.items[i]);
    }
    assert_int_equal(code, 0);
    config_errors_free(&errors);
    config_free(config);
    return filled;
}

/* What is slow because valgrind runs it is not dead. */
static int patience(void)
{
    const char *text = getenv("VIMD_TEST_PATIENCE");
    int times = text ? atoi(text) : 1;
    return times < 1 ? 1 : times > 20 ? 20 : times;
}

void side_open(struct side *side, const char *name, const char *listen, const char *secret,
               int64_t in_flight)
{
    memset(side, 0, sizeof *side);
    side->link.ops = &side_ops;
    side->name = name;
    CLEANUP_FREE char *yaml =
        text_format("threads: 2\naccess_log: off\nheader_timeout: %ds\n", 10 * patience());
    struct config_struct *filled = filled_of(&api_table, yaml);
    struct api_config config = *(const struct api_config *)config_data(filled);
    config.listen = listen ? listen : "127.0.0.1:0";
    config.side = API_PEERS;
    config.secret = secret;
    config.tls_certificate = side_certificate;
    config.tls_key = side_key;
    config.tls_peer_ca = side_authority;
    config.in_flight = in_flight ? in_flight : config.in_flight;
    struct failure failure = {0};
    if (api_start(&config, "/tmp", &side->link, &side->api, &failure)) {
        fail_msg("%s", failure.text);
    }
    side->port = api_port(side->api);
    side->address = side->port ? text_format("127.0.0.1:%u", side->port) : text_duplicate(listen);
    config_struct_free(filled);
}

void side_close(struct side *side, int64_t timeout_ms)
{
    api_stop(TAKE(side->api), timeout_ms);
    atomic_store(&side->release, true);
    UNTIL(atomic_load(&side->held) == 0);
    free(TAKE(side->address));
}

/* --- One that misbehaves ------------------------------------------------------------------------ */

struct rogue {
    enum rogue_way way;
    char *answer;
    int fd;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint requests;
};

static bool rogue_read(int fd, struct text *text)
{
    while (!text->data || !strstr(text->data, "\r\n\r\n")) {
        ssize_t got = recv(fd, text_reserve(text, 4096), 4096, 0);
        if (got <= 0) {
            return false;
        }
        text->length += (size_t)got;
        text->data[text->length] = '\0';
    }
    return true;
}

/* Answers, and tells whether the connection is to be kept. */
static bool rogue_answer(struct rogue *rogue, int fd, const char *request)
{
    static const char well[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    bool probe = strstr(request, " /link/state ") != NULL;
    const char *answer = rogue->way == ROGUE_CLOSES    ? NULL
                         : probe                       ? well
                         : rogue->way == ROGUE_ANSWERS ? rogue->answer
                                                       : NULL;
    if (answer) {
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    }
    if (rogue->way != ROGUE_BREAKS || !probe) {
        atomic_fetch_add(&rogue->requests, 1);
    }
    return rogue->way == ROGUE_BREAKS && !probe;
}

static void *rogue_run(void *argument)
{
    struct rogue *rogue = argument;
    int kept[64];
    size_t count = 0;
    while (!atomic_load(&rogue->stop)) {
        int fd = accept(rogue->fd, NULL, NULL);
        if (fd < 0) {
            break;
        }
        if (rogue->way == ROGUE_SILENT && count < 64) {
            atomic_fetch_add(&rogue->requests, 1);
            kept[count++] = fd;
            continue;
        }
        CLEANUP_TEXT struct text text = {0};
        if (rogue_read(fd, &text) && rogue_answer(rogue, fd, text.data) && count < 64) {
            kept[count++] = fd;
        } else {
            close(fd);
        }
    }
    while (count > 0) {
        close(kept[--count]);
    }
    return NULL;
}

struct rogue *rogue_open(enum rogue_way way, const char *answer, char **ret_address)
{
    struct rogue *rogue = MEMORY_NEW(struct rogue);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    rogue->way = way;
    rogue->answer = text_duplicate(answer);
    rogue->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(rogue->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(rogue->fd, 64), 0);
    assert_int_equal(getsockname(rogue->fd, (struct sockaddr *)&address, &size), 0);
    *ret_address = text_format("127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(thread_start("rogue", rogue_run, rogue, &rogue->thread), 0);
    return rogue;
}

unsigned rogue_requests(const struct rogue *rogue)
{
    return atomic_load(&rogue->requests);
}

void rogue_close(struct rogue *rogue)
{
    atomic_store(&rogue->stop, true);
    shutdown(rogue->fd, SHUT_RDWR);
    pthread_join(rogue->thread, NULL);
    close(rogue->fd);
    free(rogue->answer);
    free(rogue);
}

/* --- The end that asks -------------------------------------------------------------------------- */

static struct logic *own;

void own_end(void)
{
    logic_free(TAKE(own));
}

struct link *link_to(const char *more, ...)
{
    CLEANUP_TEXT struct text yaml = {0};
    text_printf(&yaml, "secret: " SECRET "\nprobe_interval: %s\nprobe_timeout: %dms\n",
                strcmp(more, RARELY) == 0 ? "5s" : "30ms", 300 * patience());
    if (strcmp(more, PATIENT) != 0) {
        text_printf(&yaml, "queue_wait: %dms\n", 400 * patience());
    }
    text_printf(&yaml, "%slogic:\n", strcmp(more, RARELY) == 0 ? "" : more);
    va_list addresses;
    va_start(addresses, more);
    for (const char *one; (one = va_arg(addresses, const char *));) {
        text_printf(&yaml, "  - \"%s\"\n", one);
    }
    va_end(addresses);
    if (!own) {
        struct logic_environment environment = {.body_max = 1 << 20, .upload_max = 1 << 24};
        assert_int_equal(logic_new(&environment, &own), 0);
    }
    struct config_struct *filled = filled_of(&link_table, text_get(&yaml));
    struct link *link = NULL;
    struct failure failure = {0};
    if (link_new_remote(config_data(filled), own, &link, &failure)) {
        fail_msg("%s", failure.text);
    }
    config_struct_free(filled);
    return link;
}

struct asked {
    struct request request;
    struct principal principal;
    struct header headers[8];
    char *texts, *target, *path, *body, *upload;
    atomic_bool unattended;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    struct reply reply;
};

static void asked_done(void *argument, struct response *response)
{
    struct asked *asked = argument;
    struct text headers = {0};
    for (size_t i = 0; i < response->header_count; i++) {
        text_printf(&headers, "%s: %s\n", response->headers[i].name, response->headers[i].value);
    }
    if (response->content_type) {
        text_printf(&headers, "Content-Type: %s\n", response->content_type);
    }
    LOCK_GUARD(&asked->mutex);
    assert_false(asked->done);
    asked->reply.status = response->status;
    asked->reply.headers = text_take(&headers);
    asked->reply.body = response->body ? text_duplicate_bytes(response->body, response->body_length)
                                       : text_duplicate("");
    asked->done = true;
    pthread_cond_signal(&asked->cond);
}

/* "name: value\n" each. */
static void asked_headers(struct asked *asked, const char *headers)
{
    asked->texts = text_duplicate(headers ? headers : "");
    char *at = asked->texts;
    while (*at) {
        char *value = strstr(at, ": "), *end = strchr(at, '\n');
        *value = *end = '\0';
        asked->headers[asked->request.header_count++] = (struct header){at, value + 2};
        at = end + 1;
    }
    asked->request.headers = asked->headers;
}

static struct asked *asked_new(const char *method, const char *target, const char *headers,
                               const char *body)
{
    struct asked *asked = MEMORY_NEW(struct asked);
    pthread_mutex_init(&asked->mutex, NULL);
    clock_cond_init(&asked->cond);
    asked->principal = (struct principal){
        .token_id = "t-1", .name = "An\u00f6 nym%us", .project = "blue", .role = ROLE_MEMBER};
    asked->target = text_duplicate(target);
    asked->path = text_duplicate_bytes(target, strcspn(target, "?"));
    asked->body = text_duplicate(body ? body : "");
    asked_headers(asked, headers);
    asked->request.method = method;
    asked->request.target = asked->target;
    asked->request.path = asked->path;
    asked->request.body = asked->body;
    asked->request.body_length = strlen(asked->body);
    asked->request.request_id = "r-1";
    asked->request.principal = &asked->principal;
    asked->request.deadline = clock_mono_ms() + 30000;
    asked->request.unattended = &asked->unattended;
    return asked;
}

struct asked *ask(struct link *link, const char *method, const char *target, const char *headers,
                  const char *body)
{
    struct asked *asked = asked_new(method, target, headers, body);
    link_call(link, &asked->request, asked_done, asked);
    return asked;
}

struct asked *ask_upload(struct link *link, const char *target, const char *path, int64_t size)
{
    struct asked *asked = asked_new("PUT", target, NULL, NULL);
    asked->upload = text_duplicate(path);
    asked->request.body_path = asked->upload;
    asked->request.body_size = size;
    link_call(link, &asked->request, asked_done, asked);
    return asked;
}

void asked_leave(struct asked *asked)
{
    atomic_store(&asked->unattended, true);
}

bool asked_is_answered(struct asked *asked)
{
    LOCK_GUARD(&asked->mutex);
    return asked->done;
}

struct reply asked_wait(struct asked *asked)
{
    pthread_mutex_lock(&asked->mutex);
    while (!asked->done) {
        pthread_cond_wait(&asked->cond, &asked->mutex);
    }
    pthread_mutex_unlock(&asked->mutex);
    struct reply reply = asked->reply;
    pthread_mutex_destroy(&asked->mutex);
    pthread_cond_destroy(&asked->cond);
    free(asked->texts);
    free(asked->target);
    free(asked->path);
    free(asked->body);
    free(asked->upload);
    free(asked);
    return reply;
}

struct reply get(struct link *link, const char *method, const char *target, const char *headers,
                 const char *body)
{
    return asked_wait(ask(link, method, target, headers, body));
}

void expect(struct link *link, int status, const char *method, const char *target,
            const char *headers, const char *part)
{
    struct reply reply = get(link, method, target, headers, method[0] == 'P' ? "{}" : NULL);
    if (reply.status != status || (part && !strstr(reply.body, part))) {
        fail_msg("expected %d and '%s': %d %s %.300s", status, part ? part : "", reply.status,
                 reply.headers, reply.body);
    }
    reply_free(&reply);
}

void reply_free(struct reply *reply)
{
    free(reply->body);
    free(reply->headers);
}
