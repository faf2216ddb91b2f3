/*
 * logic/fresh.c - GET ?fresh=true: asks the VIM, and stores what it says like a poll would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/body.h"
#include "logic/resources.h"
#include "model/drift.h"
#include "model/event.h"
#include "logic/vocabularies.h"

/* Others write the same row; after so many of them the answer is what they made of it. */
#define STORE_TRIES 3

static void send_row(struct call *call, struct row *row)
{
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    uint64_t revision = row->revision;
    size_t length = row->body_length;
    char *body = TAKE(row->body);
    row_free(row);
    body_send(call, &vocabulary, 200, revision, body, length);
}

/* Merges ITEM into the row as it is stored now. VIM_E_CONFLICT: somebody else was faster. */
static int merge_item(struct call *call, const char *vim, const struct vim_item *item,
                      struct row *ret_row, struct failure *failure)
{
    const struct logic_environment *environment = &call->logic->environment;
    struct resource resource = {0};
    int code = store_get(environment->store, call->kind->name, call->id, ret_row, failure);
    if (code != VIM_OK) {
        return code;
    }
    code = resource_parse(ret_row, call->kind->name, &resource, failure);
    if (code == VIM_OK && !resource.task) {
        /* While a task works on it, the row's status is the task's business. */
        enum resource_status before = resource.status;
        size_t drift = drift_count(&resource);
        code = inventory_merge(environment->inventory, vim, call->kind->name, item, &resource,
                               failure);
        CLEANUP_FREE char *body = code == VIM_OK ? resource_render(&resource) : NULL;
        if (code == VIM_OK && strcmp(body, ret_row->body) != 0) {
            struct event_buffer changed = {0}, drifted = {0};
            struct vim_write writes[3] = {resource_write(&resource, body)};
            uint32_t count = 1;
            int64_t now = clock_now_ms();
            if (resource.status != before) {
                writes[count++] = event_of_resource(EVENT_RESOURCE_CHANGED, &resource, before, NULL,
                                                    now, &changed);
            }
            if (drift_count(&resource) > drift) {
                writes[count++] = event_of_drift(EVENT_DRIFT_FOUND, &resource, now, &drifted);
            }
            code = store_commit(environment->store, writes, count, failure);
            event_buffer_free(&changed);
            event_buffer_free(&drifted);
            if (code == VIM_OK) {
                free(ret_row->body);
                ret_row->body_length = strlen(body);
                ret_row->body = TAKE(body);
                ret_row->revision++;
            }
        }
    }
    resource_free(&resource);
    if (code != VIM_OK) {
        row_free(ret_row);
    }
    return code;
}

void resources_fail_far(struct call *call, const char *vim, const struct failure *failure)
{
    struct problem problem = {.vim = vim, .retry_after_ms = failure->retry_after_ms};
    struct task_error backend = {.backend_message = (char *)failure->text};
    problem_from_error(&problem, failure->code, ORIGIN_VIM);
    problem.backend = &backend;
    snprintf(problem.detail, sizeof(problem.detail), "VIM %s did not tell: %s", vim, failure->text);
    logic_send_problem(call, &problem);
}

static void complete(void *argument, int code, const struct vim_item *item,
                     const struct failure *failure)
{
    struct call *call = argument;
    const struct logic_environment *environment = &call->logic->environment;
    struct failure own = {0};
    struct row row = {0};
    struct json_piece piece;
    CLEANUP_FREE char *vim = NULL;
    int read = store_get(environment->store, call->kind->name, call->id, &row, &own);
    if (read != VIM_OK || json_peek(row.body, row.body_length, "vim", &piece) != VIM_OK ||
        json_piece_text(piece, &vim) != VIM_OK) {
        row_free(&row);
        if (read == VIM_E_NOT_FOUND) {
            logic_not_found(call);
        } else {
            failure_set(&own, read != VIM_OK ? read : VIM_E_INTERNAL, "the row is not readable");
            logic_failure(call, &own, ORIGIN_OWN);
        }
        return;
    }
    row_free(&row);
    if (code == VIM_E_NOT_FOUND) {
        /* Gone: the poller takes the row away when it has seen it too. */
        inventory_hint(environment->inventory, vim, call->kind->name);
        logic_not_found(call);
        return;
    }
    if (code != VIM_OK || item == NULL) {
        struct failure far = {.code = code != VIM_OK ? code : VIM_E_INTERNAL};
        if (failure) {
            far = *failure;
            far.code = code;
        }
        resources_fail_far(call, vim, &far);
        return;
    }
    code = VIM_E_CONFLICT;
    for (int i = 0; i < STORE_TRIES && code == VIM_E_CONFLICT; i++) {
        code = merge_item(call, vim, item, &row, &own);
    }
    if (code == VIM_OK) {
        send_row(call, &row);
    } else if (code == VIM_E_NOT_FOUND) {
        logic_not_found(call);
    } else {
        logic_failure(call, &own, ORIGIN_OWN);
    }
}

void resources_get_fresh(struct call *call, struct row *row)
{
    struct resource resource = {0};
    struct failure failure = {0};
    struct vim_target *target = NULL;
    if (resource_parse(row, call->kind->name, &resource, &failure) != VIM_OK) {
        row_free(row);
        logic_failure(call, &failure, ORIGIN_OWN);
    } else if (resource.backend_id == NULL) {
        /* The VIM knows nothing of it; what is stored is all there is. */
        send_row(call, row);
    } else if (resources_target(call, resource.vim, &target)) {
        row_free(row);
        if (resources_can(call, target, VIM_VERB_GET, "look at")) {
            int64_t timeout = vim_target_settings(target)->call_timeout_ms;
            int64_t left = logic_left_ms(call);
            vim_target_get(target, call->kind->name, resource.backend_id,
                           timeout < left ? timeout : left, complete, logic_keep(call));
        }
        vim_target_release(target);
    } else {
        row_free(row);
    }
    resource_free(&resource);
}
