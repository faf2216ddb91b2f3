#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/text.h"
#include "check.h"
#include "driver_client.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "subject.h"

/* Between two looks at what an operation waits for: a driver under test is a fast one. */
#define LOOK_MS 20

static void sight_clear(struct sight *sight)
{
    free(sight->kind);
    free(sight->id);
    free(sight->status);
    free(sight->tag);
    free(sight->body);
    *sight = (struct sight){0};
}

static struct sight sight_of(const struct vim_item *item)
{
    return (struct sight){.kind = text_duplicate(item->kind),
                          .id = text_duplicate(item->id),
                          .status = text_duplicate(item->status),
                          .tag = text_duplicate(item->tag),
                          .body = text_duplicate(item->body),
                          .flags = item->flags};
}

void sights_clear(struct sights *sights)
{
    for (size_t i = 0; i < sights->count; i++)
        sight_clear(&sights->items[i]);
    free(sights->items);
    free(sights->cursor);
    *sights = (struct sights){0};
}

const struct sight *sights_find(const struct sights *sights, const char *id)
{
    for (size_t i = 0; i < sights->count; i++)
        if (text_equal(sights->items[i].id, id))
            return &sights->items[i];
    return NULL;
}

static int keep_sight(void *argument, const struct vim_item *item)
{
    struct sights *sights = argument;

    if (sights->count == sights->room) {
        sights->room = sights->room ? sights->room * 2 : 16;
        sights->items = memory_resize(sights->items, sights->room, sizeof *sights->items);
    }
    sights->items[sights->count++] = sight_of(item);
    return 0;
}

static void take_outcome(struct vim_call *call, struct sights *sights)
{
    const char *cursor = NULL;

    if (call_kept(call, &cursor))
        sights->cursor = text_duplicate(cursor);
    snprintf(sights->text, sizeof sights->text, "%s", call_fail_text(call));
}

int driver_list(struct instance *driver, const char *kind, uint32_t page_size, const char *since,
                int64_t left_ms, struct sights *sights)
{
    struct vim_list_query query = {
        .size = sizeof query, .page_size = page_size, .kind = kind, .since = since};
    struct vim_call call;
    int code;

    call_init(&call, clock_mono_ms() + left_ms);
    call_set_emit(&call, keep_sight, sights);
    code = instance_enter(driver, &call);
    if (code == VIM_OK) {
        code = instance_driver(driver)->list(&call, instance_handle(driver), &query);
        code = instance_leave(driver, &call, code);
        take_outcome(&call, sights);
    }
    call_free(&call);
    return code;
}

int driver_get(struct instance *driver, const char *kind, const char *id, int64_t left_ms,
               struct sights *sights)
{
    struct vim_call call;
    int code;

    call_init(&call, clock_mono_ms() + left_ms);
    call_set_emit(&call, keep_sight, sights);
    code = instance_enter(driver, &call);
    if (code == VIM_OK) {
        code = instance_driver(driver)->get(&call, instance_handle(driver), kind, id);
        code = instance_leave(driver, &call, code);
        take_outcome(&call, sights);
    }
    call_free(&call);
    return code;
}

void operation_init(struct operation *operation, uint32_t verb, const char *kind, const char *id,
                    const char *spec)
{
    *operation = (struct operation){.verb = verb,
                                    .kind = kind,
                                    .id = text_duplicate(id),
                                    .spec = text_duplicate(spec ? spec : "{}")};
    id_new(operation->request_id);
}

void operation_clear(struct operation *operation)
{
    free(operation->id);
    free(operation->spec);
    free(operation->kept);
    free(operation->await_kind);
    free(operation->await_id);
    sight_clear(&operation->seen);
    sight_clear(&operation->last);
}

static int64_t read_data(void *argument, uint64_t offset, void *buffer, size_t size)
{
    const char *data = argument;
    size_t length = strlen(data);

    if (offset >= length)
        return 0;
    if (size > length - offset)
        size = length - (size_t)offset;
    memcpy(buffer, data + offset, size);
    return (int64_t)size;
}

/* Takes over what a step told: cursor, id, what it waits for. */
static void take_step(struct operation *operation, struct vim_call *call, struct sights *sights,
                      int code)
{
    const char *cursor = NULL, *kind = NULL, *id = NULL;

    if (call_kept(call, &cursor)) {
        free(operation->kept);
        operation->kept = text_duplicate(cursor);
    }
    sight_clear(&operation->last);
    for (size_t i = 0; i < sights->count; i++) {
        if (!text_equal(sights->items[i].kind, operation->kind))
            continue;
        sight_clear(&operation->last);
        operation->last = sights->items[i];
        sights->items[i] = (struct sight){0};
        if (operation->verb == VIM_VERB_CREATE && !operation->id)
            operation->id = text_duplicate(operation->last.id);
    }
    operation->wait_ms = 0;
    free(operation->await_kind);
    free(operation->await_id);
    operation->await_kind = operation->await_id = NULL;
    if (code == VIM_AGAIN) {
        call_wait(call, &operation->wait_ms, &kind, &id);
        operation->await_kind = text_duplicate(kind);
        operation->await_id = text_duplicate(id);
    }
    sight_clear(&operation->seen);
}

int operation_step(struct instance *driver, struct operation *operation, int64_t left_ms,
                   bool forget)
{
    struct vim_item seen = {.size = sizeof seen,
                            .flags = operation->seen.flags,
                            .kind = operation->seen.kind,
                            .id = operation->seen.id,
                            .status = operation->seen.status,
                            .tag = operation->seen.tag,
                            .body = operation->seen.body};
    struct vim_op op = {
        .size = sizeof op,
        .verb = operation->verb,
        .kind = operation->kind,
        .id = operation->id,
        .action = operation->action,
        .spec = operation->spec,
        .kept = operation->kept,
        .request_id = operation->request_id,
        .attempt = operation->attempt,
        .undo = operation->undo,
        .seen = operation->seen.id ? &seen : NULL,
        .data_size = operation->data ? (int64_t)strlen(operation->data) : -1,
    };
    struct sights sights = {0};
    struct vim_call call;
    int code;

    call_init(&call, clock_mono_ms() + left_ms);
    call_set_emit(&call, keep_sight, &sights);
    if (operation->data)
        call_set_read(&call, read_data, (void *)(uintptr_t)operation->data);
    code = instance_enter(driver, &call);
    if (code == VIM_OK) {
        code = instance_driver(driver)->step(&call, instance_handle(driver), &op);
        code = instance_leave(driver, &call, code);
        snprintf(operation->text, sizeof operation->text, "%s", call_fail_text(&call));
        operation->retry_after_ms = call_retry_after_ms(&call);
        operation->steps++;
        if (forget || VIM_IS_UNKNOWN(code))
            operation->attempt++;
        if (!forget)
            take_step(operation, &call, &sights, code);
    }
    sights_clear(&sights);
    call_free(&call);
    return code;
}

void operation_wait(struct instance *driver, struct operation *operation, int64_t end)
{
    int64_t until = clock_mono_ms() + operation->wait_ms;

    if (until > end)
        until = end;
    if (!operation->await_id) {
        clock_sleep_ms(until - clock_mono_ms());
        return;
    }
    while (clock_mono_ms() < until) {
        struct sights sights = {0};
        int code = driver_get(driver, operation->await_kind, operation->await_id, SUBJECT_CALL_MS,
                              &sights);
        bool settled = code == VIM_E_NOT_FOUND || (code == VIM_OK && sights.count == 1 &&
                                                   !(sights.items[0].flags & VIM_ITEM_PENDING));

        if (settled && code == VIM_OK) {
            operation->seen = sights.items[0];
            sights.items[0] = (struct sight){0};
        } else if (settled) {
            operation->seen = (struct sight){.kind = text_duplicate(operation->await_kind),
                                             .id = text_duplicate(operation->await_id),
                                             .flags = VIM_ITEM_GONE};
        }
        sights_clear(&sights);
        if (settled)
            return;
        clock_sleep_ms(LOOK_MS);
    }
}

/* Another instance in the place of the run's. */
static bool open_fresh(struct run *run)
{
    if (run->instance)
        subject_close(run->instance);
    run->instance = subject_open(run, "checked");
    return run->instance;
}

int operation_carry(struct run *run, struct operation *operation, uint32_t steps,
                    enum operation_mode mode)
{
    int64_t end = clock_mono_ms() + run->timeout_ms;

    for (uint32_t made = 0;; made++) {
        int code;

        if (mode == OPERATION_TORTURE) {
            if (!open_fresh(run))
                return VIM_E_INTERNAL;
            operation_step(run->instance, operation, SUBJECT_CALL_MS, true);
            if (!open_fresh(run))
                return VIM_E_INTERNAL;
        }
        code = operation_step(run->instance, operation, SUBJECT_CALL_MS, false);
        if (code == VIM_OK || VIM_IS_PERMANENT(code) || (steps && made + 1 >= steps))
            return code;
        if (clock_mono_ms() >= end) {
            char last[256];

            snprintf(last, sizeof last, "%.255s", operation->text);
            snprintf(operation->text, sizeof operation->text,
                     "not done after %u steps in %lld ms; the last: %s %s", operation->steps,
                     (long long)run->timeout_ms, code_name(code), last);
            return VIM_E_TIMEOUT;
        }
        if (code == VIM_AGAIN)
            operation_wait(run->instance, operation, end);
        else
            clock_sleep_ms(operation->retry_after_ms ? operation->retry_after_ms : LOOK_MS);
    }
}
