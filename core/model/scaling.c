#include "model/scaling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#define TRIES 8

static const char *const state_names[DECISION_STATE_COUNT] = {
    [DECISION_NOTED] = "noted",
    [DECISION_WAITING] = "waiting",
    [DECISION_APPROVED] = "approved",
    [DECISION_ACTING] = "acting",
    [DECISION_DONE] = "done",
    [DECISION_FAILED] = "failed",
    [DECISION_REFUSED] = "refused",
    [DECISION_EXPIRED] = "expired",
    [DECISION_SUPERSEDED] = "superseded",
};
const char decision_state_names[] =
    "noted waiting approved acting done failed refused expired superseded";

const char *decision_state_name(unsigned state)
{
    return state < DECISION_STATE_COUNT ? state_names[state] : NULL;
}

char *decision_restate(const char *body, size_t length, enum decision_state state,
                       const json_t *more)
{
    CLEANUP_JSON json_t *object = NULL;
    const char *member;
    json_t *value;
    if (json_parse(body, length, NULL, &object, NULL) != VIM_OK || !json_is_object(object)) {
        return NULL;
    }
    json_set_text(object, "state", state_names[state]);
    json_object_foreach((json_t *)more, member, value)
    {
        json_object_set(object, member, value);
    }
    return json_print(object);
}

int scaling_wish_read(struct store *store, const char *service, struct scaling_wish *ret_wish,
                      struct failure *failure)
{
    struct row row = {0};
    CLEANUP_JSON json_t *body = NULL;
    *ret_wish = (struct scaling_wish){.revision = 0};
    int code = store_get(store, COLLECTION_SCALING_WISH, service, &row, failure);
    if (code != VIM_OK) {
        return code == VIM_E_NOT_FOUND ? VIM_OK : code;
    }
    if (json_parse(row.body, row.body_length, NULL, &body, NULL) == VIM_OK) {
        (void)snprintf(ret_wish->mode, sizeof(ret_wish->mode), "%s",
                       json_get_text(body, "mode", ""));
        (void)snprintf(ret_wish->by, sizeof(ret_wish->by), "%s", json_get_text(body, "by", ""));
        ret_wish->time = json_get_integer(body, "time", 0);
    }
    ret_wish->revision = row.revision;
    row_free(&row);
    return VIM_OK;
}

int scaling_wish_write(struct store *store, const char *service, const char *mode, const char *by,
                       struct scaling_wish *ret_wish, struct failure *failure)
{
    CLEANUP_JSON json_t *body = json_object();
    int64_t now = clock_now_ms();
    json_set_text(body, "mode", mode);
    json_set_text(body, "by", by);
    json_set_integer(body, "time", now);
    CLEANUP_FREE char *text = json_print(body);
    int code = VIM_E_CONFLICT;
    for (int i = 0; i < TRIES && code == VIM_E_CONFLICT; i++) {
        code = scaling_wish_read(store, service, ret_wish, failure);
        if (code == VIM_OK) {
            struct vim_write write = {.collection = COLLECTION_SCALING_WISH,
                                      .id = service,
                                      .body = text,
                                      .expect = ret_wish->revision};
            code = store_commit(store, &write, 1, failure);
        }
    }
    if (code == VIM_OK) {
        (void)snprintf(ret_wish->mode, sizeof(ret_wish->mode), "%s", mode);
        (void)snprintf(ret_wish->by, sizeof(ret_wish->by), "%s", by);
        ret_wish->time = now;
        ret_wish->revision++;
    }
    return code;
}
