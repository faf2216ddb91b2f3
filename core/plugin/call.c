#include "plugin/call.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "plugin/host.h"

#define CALL_MAGIC 0x63616C6Cu

void call_init(struct vim_call *call, int64_t deadline)
{
    memset(call, 0, sizeof(*call));
    call->magic = CALL_MAGIC;
    atomic_init(&call->deadline, deadline);
    call->read_fd = -1;
    call->integral = INTEGRAL_NONE;
}

void call_begin(struct vim_call *call, int64_t timeout_ms)
{
    int64_t now = clock_mono_us();
    call_init(call, now / 1000 + timeout_ms);
    call->started_us = now;
}

int64_t call_took_us(const struct vim_call *call)
{
    return (call->ended_us ? call->ended_us : clock_mono_us()) - call->started_us;
}

void call_free(struct vim_call *call)
{
    assert(call->magic == CALL_MAGIC);
    text_free(&call->kept);
    free(call->await_kind);
    free(call->await_id);
    free(call->fail_text);
    for (uint32_t i = 0; i < call->note_count; i++) {
        free(call->notes[i].name);
        free(call->notes[i].value);
    }
    free(call->notes);
    call->magic = 0;
}

void call_set_emit(struct vim_call *call, call_emit_fn emit, void *argument)
{
    call->emit = emit;
    call->emit_argument = argument;
}

void call_set_read(struct vim_call *call, call_read_fn read, void *argument)
{
    call->read = read;
    call->read_argument = argument;
}

void call_set_read_fd(struct vim_call *call, int fd)
{
    call->read_fd = fd;
}

void call_set_idle(struct vim_call *call)
{
    call->idle = true;
}

void call_cancel(struct vim_call *call)
{
    atomic_store(&call->cancelled, true);
}

bool call_is_cancelled(const struct vim_call *call)
{
    return atomic_load(&call->cancelled);
}

int64_t call_left_ms(const struct vim_call *call)
{
    if (call_is_cancelled(call)) {
        return 0;
    }
    int64_t deadline = atomic_load(&call->deadline);
    if (deadline == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t left = deadline - clock_mono_ms();
    return left > 0 ? left : 0;
}

/* --- Outcome ----------------------------------------------------------------------------------- */

bool call_kept(const struct vim_call *call, const char **ret_cursor)
{
    if (call->kept_set) {
        *ret_cursor = call->kept_null ? NULL : text_get(&call->kept);
    }
    return call->kept_set;
}

enum call_wait call_wait(const struct vim_call *call, uint32_t *ret_ms, const char **ret_kind,
                         const char **ret_id)
{
    if (ret_ms) {
        *ret_ms = call->wait_ms;
    }
    if (ret_kind) {
        *ret_kind = call->await_kind;
    }
    if (ret_id) {
        *ret_id = call->await_id;
    }
    return call->wait;
}

const char *call_fail_text(const struct vim_call *call)
{
    return call->fail_text ? call->fail_text : "";
}

uint32_t call_retry_after_ms(const struct vim_call *call)
{
    return call->retry_after_ms;
}

const char *call_note(const struct vim_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->note_count; i++) {
        if (strcmp(call->notes[i].name, name) == 0) {
            return call->notes[i].value;
        }
    }
    return NULL;
}

uint32_t call_emitted(const struct vim_call *call)
{
    return call->emitted;
}

/* --- What the plugin calls through struct vim_host ---------------------------------------------- */

int call_host_emit(struct vim_call *call, const struct vim_item *item)
{
    assert(call && call->magic == CALL_MAGIC);
    if (!item || item->size < sizeof(uint32_t)) {
        call->defect = "emitted an item without a size";
        return 1;
    }
    struct vim_item full = {0};
    memcpy(&full, item, item->size < sizeof(full) ? item->size : sizeof(full));
    full.size = sizeof(full);
    call->emitted++;
    if (!call->stopped && call->emit) {
        call->stopped = call->emit(call->emit_argument, &full) != 0;
    }
    return call->stopped ? 1 : 0;
}

void call_host_keep(struct vim_call *call, const char *cursor)
{
    assert(call && call->magic == CALL_MAGIC);
    size_t length = cursor ? strlen(cursor) : 0;
    if (length > VIM_KEPT_MAX) {
        call->defect = "kept a cursor that is longer than VIM_KEPT_MAX";
        return;
    }
    call->kept_set = true;
    call->kept_null = cursor == NULL;
    text_clear(&call->kept);
    text_add(&call->kept, cursor);
}

static void set_wait(struct vim_call *call, enum call_wait wait, uint32_t ms)
{
    free(TAKE(call->await_kind));
    free(TAKE(call->await_id));
    call->wait = wait;
    call->wait_ms = ms;
}

void call_host_again(struct vim_call *call, uint32_t delay_ms)
{
    assert(call && call->magic == CALL_MAGIC);
    set_wait(call, CALL_WAIT_DELAY, delay_ms);
}

void call_host_await(struct vim_call *call, const char *kind, const char *id, uint32_t at_most_ms)
{
    assert(call && call->magic == CALL_MAGIC);
    if (!kind || !*kind || !id || !*id) {
        call->defect = "awaits a resource without telling its kind and id";
        return;
    }
    set_wait(call, CALL_WAIT_AWAIT, at_most_ms);
    call->await_kind = text_duplicate(kind);
    call->await_id = text_duplicate(id);
}

/* Foreign text for people: one line of UTF-8, cut, without secrets. malloc'ed. */
static char *clean_text(const char *text, size_t limit)
{
    CLEANUP_TEXT struct text whole = {0};
    text_add(&whole, text);
    log_redact(&whole);
    struct text clean = {0};
    const char *at = text_get(&whole);
    for (size_t left = whole.length; left && clean.length < limit;) {
        size_t step = text_utf8_step(at, left);
        bool control = step == 1 && ((unsigned char)*at < 0x20 || *at == 0x7F);
        if (step == 0) {
            text_add(&clean, "\xEF\xBF\xBD");
        } else if (control) {
            text_add_char(&clean, ' ');
        } else {
            text_add_bytes(&clean, at, step);
        }
        step = step ? step : 1;
        at += step;
        left -= step;
    }
    return text_take(&clean);
}

int call_host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    assert(call && call->magic == CALL_MAGIC);
    call->fail_code = code;
    call->retry_after_ms = retry_after_ms;
    free(call->fail_text);
    call->fail_text = clean_text(text, CALL_TEXT_SIZE_MAX);
    return code;
}

int64_t call_host_left_ms(struct vim_call *call)
{
    assert(call && call->magic == CALL_MAGIC);
    return call_left_ms(call);
}

void call_host_waiting(struct vim_call *call, int waits)
{
    assert(call && call->magic == CALL_MAGIC);
    if (call->waits != (waits != 0)) {
        call->waits = waits != 0;
        (waits ? integral_wait : integral_go_on)(call->integral, clock_mono_us());
    }
}

static struct call_note *find_note(struct vim_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->note_count; i++) {
        if (strcmp(call->notes[i].name, name) == 0) {
            return &call->notes[i];
        }
    }
    if (call->note_count == CALL_NOTES_MAX) {
        return NULL;
    }
    if (!call->notes) {
        call->notes = memory_new_array(CALL_NOTES_MAX, sizeof(*call->notes));
    }
    struct call_note *note = &call->notes[call->note_count++];
    note->name = text_duplicate(name);
    return note;
}

void call_host_note(struct vim_call *call, const char *name, const char *value)
{
    assert(call && call->magic == CALL_MAGIC);
    struct call_note *note = name && strlen(name) <= 64 ? find_note(call, name) : NULL;
    if (!note) {
        return;
    }
    char *clean = clean_text(value, CALL_NOTE_SIZE_MAX);
    if (note->value && strcmp(name, "backend_request_id") == 0) {
        char *both = text_format("%s %s", note->value, clean);
        free(clean);
        clean = both;
        if (strlen(clean) > CALL_NOTE_SIZE_MAX) {
            free(clean); /* a step with dozens of backend calls: the first ones tell enough */
            return;
        }
    }
    free(note->value);
    note->value = clean;
}

int64_t call_host_read(struct vim_call *call, uint64_t offset, void *buffer, size_t size)
{
    assert(call && call->magic == CALL_MAGIC);
    if (call->read) {
        return call->read(call->read_argument, offset, buffer, size);
    }
    if (call->read_fd < 0) {
        return VIM_E_INVALID;
    }
    if (offset > INT64_MAX) {
        return 0;
    }
    ssize_t got;
    do {
        got = pread(call->read_fd, buffer, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : VIM_E_UNAVAILABLE;
}
