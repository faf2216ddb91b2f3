/*
 * logic/call.h - one request on its way to its answer: the call, the answer under construction,
 * and problem documents.
 *
 * A call lives on the stack of logic_handle(). A handler that answers later keeps a copy
 * (logic_keep), which the answer frees. Every handler answers exactly once, through logic_send() or
 * one of the functions that end in it; after that the call must not be touched.
 */
#ifndef VIMD_LOGIC_CALL_H
#define VIMD_LOGIC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "logic/logic.h"
#include "model/kinds.h"
#include "model/task.h"

struct route_table;
struct route_entry;

#define LOGIC_MAGIC 0x76696d6cu

struct metric;

struct logic {
    uint32_t magic;
    struct metric *seconds, *wait_seconds;
    struct logic_environment environment;
    struct route_table *routes;
    char *openapi; /* text of /openapi.json */
    size_t openapi_length;
    char openapi_etag[40];
};

/* Longest {id} in a path; what is longer is not found. */
#define CALL_ID_SIZE 65

struct call {
    struct logic *logic;
    const struct request *request;
    logic_respond_fn respond;
    void *argument;
    const struct route_entry *entry;
    const struct kind *kind; /* of a resource's route, else NULL */
    const struct principal *principal; /* NULL on public routes */
    char id[CALL_ID_SIZE]; /* the path's {id}, or "" */
    bool kept; /* on the heap; freed by the answer */
    bool waited; /* for a task */
    int64_t started_us;
    int64_t ended_us; /* of one that was answered before its handler returned */
    unsigned tries; /* how often it was begun anew, as another writer was faster */
    /* Of an answer that waits for a task. */
    bool replayed;
    char applied[32]; /* Preference-Applied */
};

/* A copy on the heap, for an answer that comes later; REQUEST lives until then. CALL itself if it is one. */
struct call *logic_keep(const struct call *call);

/* Value of the first header NAME (lower case), or NULL. */
const char *logic_header(const struct call *call, const char *name);
/* Value of the first query parameter NAME, or NULL. */
const char *logic_query(const struct call *call, const char *name);
/* The parameter as a boolean: true and false; absent is false. Answers 400 and returns false in
 * *RET_OK for anything else. */
bool logic_query_flag(struct call *call, const char *name, bool *ret_ok);

/* Milliseconds that an answer may still take; at least 0. */
int64_t logic_left_ms(const struct call *call);

/* --- Answers --------------------------------------------------------------------------------- */

#define ANSWER_HEADERS 12

struct answer {
    struct response response;
    struct header headers[ANSWER_HEADERS];
    char arena[384]; /* values of headers, as far as they fit; */
    size_t used;
    char *large[4]; /* the others */
    size_t large_count;
};

/* An answer without a body. */
void answer_init(struct answer *answer, int status);
/* Adds a header; NAME must be static, the value is copied. */
void answer_header(struct answer *answer, const char *name, const char *value);
/* Takes BODY over (malloc'ed). CONTENT_TYPE must be static. */
void answer_body(struct answer *answer, const char *content_type, char *body, size_t length);
/* The same for a JSON value, whose reference is taken over. */
void answer_json(struct answer *answer, json_t *json);
void answer_etag(struct answer *answer, uint64_t revision);
/* Gives the answer to whoever asked and frees what it holds. The call ends here. */
void logic_send(struct call *call, struct answer *answer);
/* 200 with a JSON value, whose reference is taken over. */
void logic_send_json(struct call *call, json_t *json);

#define CONTENT_JSON "application/json"
#define CONTENT_PROBLEM "application/problem+json"

/* --- Problems -------------------------------------------------------------------------------- */

/* Whose error it is: vimd's own store and engine, or the far side's. */
enum origin { ORIGIN_OWN, ORIGIN_VIM };

struct problem {
    int status;
    const char *code;
    char detail[1024];
    bool retryable;
    uint32_t retry_after_ms; /* 0: not told */
    const char *task, *vim; /* ids, or NULL */
    const struct task_error *backend; /* what the far side said, or NULL */
    const struct findings *findings; /* one `errors` element each, or NULL */
    const char *capabilities; /* pointer to what a VIM can do, or NULL */
    const char *allow; /* the header of a 405, or NULL */
    bool replayed; /* the answer to a request that had come before */
};

/* Fills status, code and retryable from an enum vim_error. */
void problem_from_error(struct problem *problem, int code, enum origin origin);
/* HTTP status, problem code and title of an error: the one table. */
struct problem_kind {
    int error; /* enum vim_error */
    int status_own, status_vim;
    const char *code;
    const char *meaning;
};
const struct problem_kind *problem_kind(int error);
/* All rows of the table, for documentation. */
const struct problem_kind *problem_kinds(size_t *ret_count);
/* The reason phrase of an HTTP status. */
const char *problem_title(int status);

/* Each ends the call. */
void logic_send_problem(struct call *call, const struct problem *problem);
void logic_fail(struct call *call, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void logic_failure(struct call *call, const struct failure *failure, enum origin origin);
/* FINDINGS are freed. */
void logic_findings(struct call *call, int status, const char *code, const char *detail,
                    struct findings *findings);
/* The answer to what does not exist, or is none of the asker's business. */
void logic_not_found(struct call *call);
/* 501: VIM cannot do WHAT ("create a flavor"). */
void logic_unsupported(struct call *call, const char *vim, const char *what);

#endif
