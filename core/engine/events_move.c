/* The outbox into the sequence, and the end of the sequence's oldest. Lock order: no locks here. */
#include "engine/events_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/owner.h"

#define HEAD_ID "head"
#define LEASE_MS 3000
#define BATCH_MAX 400u /* two writes each, and the head's: within what a commit takes */
#define FORGET_MAX 500u

/* --- The head ------------------------------------------------------------------------------------ */

static uint64_t peek_last(const struct row *row)
{
    struct json_piece piece;
    int64_t last = 0;
    if (json_peek(row->body, row->body_length, "last", &piece) == VIM_OK) {
        (void)json_piece_integer(piece, &last);
    }
    return last > 0 ? (uint64_t)last : 0;
}

int events_read_last(struct store *store, uint64_t *ret_last, struct failure *failure)
{
    struct row row = {0};
    int code = store_get(store, COLLECTION_EVENT_HEAD, HEAD_ID, &row, failure);
    *ret_last = code == VIM_OK ? peek_last(&row) : 0;
    row_free(&row);
    return code == VIM_E_NOT_FOUND ? VIM_OK : code;
}

/* Reads the head row, and finds out whether somebody else is moving. */
static int read_head(struct events *events, int64_t *ret_wait_ms, struct failure *failure)
{
    struct event_head *head = &events->head;
    struct row row = {0};
    int code = store_get(events->store, COLLECTION_EVENT_HEAD, HEAD_ID, &row, failure);
    if (code == VIM_E_NOT_FOUND) {
        *head = (struct event_head){0};
        return VIM_OK;
    }
    if (code != VIM_OK) {
        return code;
    }
    struct json_piece piece;
    CLEANUP_FREE char *owner = NULL;
    if (json_peek(row.body, row.body_length, "owner", &piece) == VIM_OK) {
        (void)json_piece_text(piece, &owner);
    }
    int64_t left = row.due - clock_now_ms();
    left = left > LEASE_MS ? LEASE_MS : left; /* a clock was set */
    head->last = peek_last(&row);
    head->revision = row.revision;
    head->ours = text_equal(owner, owner_self());
    row_free(&row);
    if (!head->ours && left > 0 && !owner_is_dead(owner)) {
        *ret_wait_ms = left;
        return failure_set(failure, VIM_E_BUSY, "another process moves events");
    }
    return VIM_OK;
}

/* --- One batch ----------------------------------------------------------------------------------- */

/* A row of the outbox, on its way. */
struct moved {
    struct row from;
    char id[EVENT_ID_SIZE];
    char *body;
};

struct batch {
    struct moved *rows;
    uint32_t count;
};

static int take_row(void *argument, const struct vim_item *item)
{
    struct batch *batch = argument;
    struct moved *moved = &batch->rows[batch->count++];
    *moved = (struct moved){.from = {.id = text_duplicate(item->id),
                                     .parent = text_duplicate(item->parent),
                                     .body = text_duplicate(item->body),
                                     .revision = item->revision,
                                     .state = item->state}};
    return batch->count == BATCH_MAX;
}

static void batch_free(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        row_free(&batch->rows[i].from);
        free(batch->rows[i].body);
    }
    free(batch->rows);
}

/* Numbers the rows, and writes all of it: out of the outbox, into the sequence, the head. */
static int commit_batch(struct events *events, struct batch *batch, int64_t retention_ms,
                        struct failure *failure)
{
    struct event_head *head = &events->head;
    int64_t now = clock_now_ms();
    uint64_t last = head->last;
    uint32_t count = 0;
    struct vim_write *writes = memory_new_array(2 * batch->count + 1, sizeof(*writes));
    for (uint32_t i = 0; i < batch->count; i++) {
        struct moved *moved = &batch->rows[i];
        event_id(++last, moved->id);
        moved->body = text_format("{\"id\":\"%s\",%s", moved->id, moved->from.body + 1);
        writes[count++] = (struct vim_write){
            .collection = COLLECTION_OUTBOX, .id = moved->from.id, .expect = moved->from.revision};
        writes[count++] = (struct vim_write){.collection = COLLECTION_EVENT,
                                             .id = moved->id,
                                             .parent = moved->from.parent,
                                             .body = moved->body,
                                             .expect = VIM_EXPECT_ABSENT,
                                             .due = retention_ms > 0 ? now + retention_ms : 0,
                                             .state = moved->from.state};
    }
    CLEANUP_FREE char *body =
        text_format("{\"last\":%llu,\"owner\":\"%s\"}", (unsigned long long)last, owner_self());
    writes[count++] =
        (struct vim_write){.collection = COLLECTION_EVENT_HEAD,
                           .id = HEAD_ID,
                           .body = body,
                           .expect = head->revision ? head->revision : VIM_EXPECT_ABSENT,
                           .due = now + LEASE_MS};
    int64_t started = clock_mono_ms();
    int code = store_commit(events->store, writes, count, failure);
    free(writes);
    head->ours = code == VIM_OK;
    if (code == VIM_OK) {
        head->last = last;
        head->revision++;
        head->until = started + LEASE_MS;
    }
    return code;
}

int events_move(struct events *events, int64_t retention_ms, bool *ret_more, int64_t *ret_wait_ms,
                struct failure *failure)
{
    *ret_more = false;
    struct batch batch = {.rows = memory_new_array(BATCH_MAX, sizeof(*batch.rows))};
    struct vim_scan scan = {
        .collection = COLLECTION_OUTBOX, .flags = VIM_SCAN_FEW, .limit = BATCH_MAX};
    int code = events->head.ours ? VIM_OK : read_head(events, ret_wait_ms, failure);
    if (code == VIM_OK) {
        code = store_scan(events->store, &scan, take_row, &batch, failure);
    }
    if (code == VIM_OK && batch.count) {
        code = commit_batch(events, &batch, retention_ms, failure);
    }
    if (code == VIM_OK && batch.count) {
        metric_add(
            metrics_counter("vimd_events_total", "Events that this process has numbered", NULL),
            batch.count);
        *ret_more = batch.count == BATCH_MAX;
    }
    batch_free(&batch);
    return code;
}

/* --- What is too old ----------------------------------------------------------------------------- */

struct forgotten {
    char (*ids)[EVENT_ID_SIZE];
    uint32_t count;
    int64_t now;
};

static int take_old(void *argument, const struct vim_item *item)
{
    struct forgotten *old = argument;
    if (item->due == 0 || item->due > old->now) {
        return 1;
    }
    (void)snprintf(old->ids[old->count++], EVENT_ID_SIZE, "%s", item->id);
    return old->count == FORGET_MAX;
}

int events_forget(struct events *events, struct failure *failure)
{
    struct forgotten old = {.ids = memory_new_array(FORGET_MAX, EVENT_ID_SIZE),
                            .now = clock_now_ms()};
    struct vim_write *writes = memory_new_array(FORGET_MAX, sizeof(*writes));
    struct vim_scan scan = {
        .collection = COLLECTION_EVENT, .flags = VIM_SCAN_NO_BODY, .limit = FORGET_MAX};
    int code;
    do {
        old.count = 0;
        code = store_scan(events->store, &scan, take_old, &old, failure);
        for (uint32_t i = 0; i < old.count; i++) {
            writes[i] = (struct vim_write){
                .collection = COLLECTION_EVENT, .id = old.ids[i], .expect = VIM_EXPECT_ANY};
        }
        if (code == VIM_OK && old.count) {
            code = store_commit(events->store, writes, old.count, failure);
        }
    } while (code == VIM_OK && old.count == FORGET_MAX);
    free(writes);
    free(old.ids);
    return code;
}
