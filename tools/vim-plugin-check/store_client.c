#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "store_client.h"
#include "subject.h"

void answer_clear(struct answer *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        free(answer->rows[i].collection);
        free(answer->rows[i].id);
        free(answer->rows[i].parent);
        free(answer->rows[i].body);
    }
    free(answer->rows);
    *answer = (struct answer){.stop_after = answer->stop_after};
}

static int keep_row(void *argument, const struct vim_item *item)
{
    struct answer *answer = argument;

    if (answer->count == answer->room) {
        answer->room = answer->room ? answer->room * 2 : 16;
        answer->rows = memory_resize(answer->rows, answer->room, sizeof *answer->rows);
    }
    answer->rows[answer->count++] = (struct stored){.collection = text_duplicate(item->kind),
                                                    .id = text_duplicate(item->id),
                                                    .parent = text_duplicate(item->parent),
                                                    .body = text_duplicate(item->body),
                                                    .state = item->state,
                                                    .due = item->due,
                                                    .revision = item->revision};
    return answer->stop_after && answer->count >= answer->stop_after;
}

static int begin(struct instance *store, struct vim_call *call, int64_t left_ms,
                 struct answer *answer)
{
    call_init(call, clock_mono_ms() + left_ms);
    if (answer)
        call_set_emit(call, keep_row, answer);
    return instance_enter(store, call);
}

static int end(struct instance *store, struct vim_call *call, int code, struct answer *answer)
{
    code = instance_leave(store, call, code);
    if (answer)
        snprintf(answer->text, sizeof answer->text, "%s", call_fail_text(call));
    call_free(call);
    return code;
}

int store_client_commit_within(struct instance *store, const struct vim_write *writes,
                               uint32_t count, uint32_t stride, int64_t left_ms,
                               struct answer *answer)
{
    struct vim_call call;
    int code = begin(store, &call, left_ms, answer);

    if (code != VIM_OK) {
        call_free(&call);
        return code;
    }
    code = instance_store(store)->commit(&call, instance_handle(store), writes, count, stride);
    return end(store, &call, code, answer);
}

int store_client_commit(struct instance *store, const struct vim_write *writes, uint32_t count,
                        struct answer *answer)
{
    return store_client_commit_within(store, writes, count, sizeof *writes, SUBJECT_CALL_MS,
                                      answer);
}

int store_client_get(struct instance *store, const char *collection, const char *id,
                     struct answer *answer)
{
    struct vim_call call;
    int code = begin(store, &call, SUBJECT_CALL_MS, answer);

    if (code != VIM_OK) {
        call_free(&call);
        return code;
    }
    code = instance_store(store)->get(&call, instance_handle(store), collection, id);
    return end(store, &call, code, answer);
}

int store_client_scan(struct instance *store, const struct vim_scan *scan, struct answer *answer)
{
    struct vim_call call;
    int code = begin(store, &call, SUBJECT_CALL_MS, answer);

    if (code != VIM_OK) {
        call_free(&call);
        return code;
    }
    code = instance_store(store)->scan(&call, instance_handle(store), scan);
    return end(store, &call, code, answer);
}

int store_client_put(struct instance *store, const char *collection, const char *id,
                     const char *body, uint64_t expect)
{
    struct vim_write write = {.collection = collection, .id = id, .body = body, .expect = expect};

    return store_client_commit(store, &write, 1, NULL);
}

uint64_t store_client_revision(struct instance *store, const char *collection, const char *id)
{
    struct answer answer = {0};
    int code = store_client_get(store, collection, id, &answer);
    uint64_t revision = UINT64_MAX;

    if (code == VIM_E_NOT_FOUND)
        revision = 0;
    else if (code == VIM_OK && answer.count == 1)
        revision = answer.rows[0].revision;
    answer_clear(&answer);
    return revision;
}
