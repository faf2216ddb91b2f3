/*
 * The link inside one process: a function call, on the caller's thread if it cannot block, else on
 * one of the link's own threads.
 */
#include "link/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/thread.h"

#define LINK_MAGIC 0x6c6e6b31u

struct link {
    unsigned magic;
    struct logic *logic;
    struct pool *pool;
};

struct link_job {
    struct logic *logic;
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
};

int link_new_local(struct logic *logic, unsigned threads, unsigned queue_max,
                   struct link **ret_link)
{
    struct pool *pool = NULL;
    int code = pool_open("link", threads, queue_max, &pool);
    if (code) {
        return code;
    }
    struct link *link = MEMORY_NEW(struct link);
    link->magic = LINK_MAGIC;
    link->logic = logic;
    link->pool = pool;
    *ret_link = link;
    return VIM_OK;
}

void link_free(struct link *link)
{
    if (!link) {
        return;
    }
    assert(link->magic == LINK_MAGIC);
    pool_close(link->pool);
    link->magic = 0;
    free(link);
}

void link_route(struct link *link, const char *method, const char *path,
                struct logic_route_info *ret_info)
{
    logic_route(link->logic, method, path, ret_info);
}

bool link_is_inline(struct link *link, const struct request *request)
{
    return logic_is_inline(link->logic, request);
}

static void link_run(void *argument)
{
    struct link_job job = *(struct link_job *)argument;
    free(argument);
    logic_handle(job.logic, job.request, job.respond, job.argument);
}

void link_call(struct link *link, const struct request *request, logic_respond_fn respond,
               void *argument)
{
    if (logic_is_inline(link->logic, request)) {
        logic_handle(link->logic, request, respond, argument);
        return;
    }
    struct link_job *job = MEMORY_NEW(struct link_job);
    *job = (struct link_job){link->logic, request, respond, argument};
    if (pool_post(link->pool, link_run, job)) {
        free(job);
        struct response response = {0};
        logic_problem(503, "overloaded", "more requests are waiting than this service takes",
                      request->path, true, 1000, &response);
        response.refused = true;
        respond(argument, &response);
        free(response.body);
    }
}

void link_end_waits(struct link *link, bool all)
{
    logic_end_waits(link->logic, all);
}

struct link_look_up {
    struct logic *logic;
    link_principal_fn complete;
    void *argument;
    char token[];
};

static void link_look_up(void *argument)
{
    struct link_look_up *look_up = argument;
    struct principal principal = {0};
    struct failure failure = {0};
    int code = logic_authenticate(look_up->logic, look_up->token, &principal, &failure);
    look_up->complete(look_up->argument, code, &principal, &failure);
    explicit_bzero(look_up->token, strlen(look_up->token));
    free(look_up);
}

void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument)
{
    size_t length = strlen(token);
    struct link_look_up *look_up = memory_new(sizeof *look_up + length + 1);
    *look_up = (struct link_look_up){link->logic, complete, argument};
    memcpy(look_up->token, token, length + 1);
    if (logic_is_cheap(link->logic)) {
        link_look_up(look_up);
    } else if (pool_post(link->pool, link_look_up, look_up)) {
        explicit_bzero(look_up->token, length);
        free(look_up);
        struct failure failure = {0};
        int code = failure_set(&failure, VIM_E_UNAVAILABLE, "too many requests are waiting");
        complete(argument, code, NULL, &failure);
    }
}
