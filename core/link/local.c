/*
 * The link inside one process: a function call, on the caller's thread if it cannot block, else on
 * one of the link's own threads.
 */
#include "link/ops.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/thread.h"

#define LOCAL_MAGIC 0x6c6e6b31u

struct local {
    struct link link;
    unsigned magic;
    struct logic *logic;
    struct pool *pool;
};

struct local_job {
    struct logic *logic;
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
};

static struct local *local_of(struct link *link)
{
    struct local *local = (struct local *)link;
    assert(local->magic == LOCAL_MAGIC);
    return local;
}

static void local_free(struct link *link)
{
    struct local *local = local_of(link);
    pool_close(local->pool);
    local->magic = 0;
    free(local);
}

static void local_route(struct link *link, const char *method, const char *path,
                        struct logic_route_info *ret_info)
{
    logic_route(local_of(link)->logic, method, path, ret_info);
}

static bool local_is_inline(struct link *link, const struct request *request)
{
    return logic_is_inline(local_of(link)->logic, request);
}

static void local_run(void *argument)
{
    struct local_job job = *(struct local_job *)argument;
    free(argument);
    logic_handle(job.logic, job.request, job.respond, job.argument);
}

static void local_call(struct link *link, const struct request *request, logic_respond_fn respond,
                       void *argument)
{
    if (logic_is_inline(local_of(link)->logic, request)) {
        logic_handle(local_of(link)->logic, request, respond, argument);
        return;
    }
    struct local_job *job = MEMORY_NEW(struct local_job);
    *job = (struct local_job){local_of(link)->logic, request, respond, argument};
    if (pool_post(local_of(link)->pool, local_run, job)) {
        free(job);
        struct response response = {0};
        logic_problem(503, "overloaded", "more requests are waiting than this service takes",
                      request->path, true, 1000, &response);
        response.refused = true;
        respond(argument, &response);
        free(response.body);
    }
}

static void local_end_waits(struct link *link, bool all)
{
    logic_end_waits(local_of(link)->logic, all);
}

struct local_look_up {
    struct logic *logic;
    link_principal_fn complete;
    void *argument;
    char token[];
};

static void local_look_up(void *argument)
{
    struct local_look_up *look_up = argument;
    struct principal principal = {0};
    struct failure failure = {0};
    int code = logic_authenticate(look_up->logic, look_up->token, &principal, &failure);
    look_up->complete(look_up->argument, code, &principal, &failure);
    explicit_bzero(look_up->token, strlen(look_up->token));
    free(look_up);
}

static void local_authenticate(struct link *link, const char *token, link_principal_fn complete,
                               void *argument)
{
    size_t length = strlen(token);
    struct local_look_up *look_up = memory_new(sizeof *look_up + length + 1);
    *look_up = (struct local_look_up){local_of(link)->logic, complete, argument};
    memcpy(look_up->token, token, length + 1);
    if (logic_is_cheap(local_of(link)->logic)) {
        local_look_up(look_up);
    } else if (pool_post(local_of(link)->pool, local_look_up, look_up)) {
        explicit_bzero(look_up->token, length);
        free(look_up);
        struct failure failure = {0};
        int code = failure_set(&failure, VIM_E_UNAVAILABLE, "too many requests are waiting");
        complete(argument, code, NULL, &failure);
    }
}

static const struct link_ops local_ops = {
    .free = local_free,
    .route = local_route,
    .is_inline = local_is_inline,
    .call = local_call,
    .end_waits = local_end_waits,
    .authenticate = local_authenticate,
};

int link_new_local(struct logic *logic, unsigned threads, unsigned queue_max,
                   struct link **ret_link)
{
    struct pool *pool = NULL;
    int code = pool_open("link", threads, queue_max, &pool);
    if (code) {
        return code;
    }
    struct local *local = MEMORY_NEW(struct local);
    local->link.ops = &local_ops;
    local->magic = LOCAL_MAGIC;
    local->logic = logic;
    local->pool = pool;
    *ret_link = &local->link;
    return VIM_OK;
}
