/*
 * plugin/call.h - one call of a plugin function, as the host sees it: deadline, cancellation, and
 * what the plugin pushed through struct vim_host.
 *
 *   call_init()  ->  settings (emit, data)  ->  the plugin's function, between instance_enter() and
 *   instance_leave()  ->  call_outcome getters  ->  call_free()
 *
 * A call belongs to one thread; only call_cancel() may be used from another, while the owner of
 * the call keeps it alive. Getters are for after the plugin function has returned.
 */
#ifndef PLUGIN_CALL_H
#define PLUGIN_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/plugin.h>
#include "base/integral.h"
#include "base/text.h"

struct instance;

/* Takes one emitted item: normalised to the full struct vim_item of this host; it and its texts
 * live for the call only. Returns 0, or nonzero when no more are wanted. */
typedef int (*call_emit_fn)(void *argument, const struct vim_item *item);

/* Gives data: like host->read(). */
typedef int64_t (*call_read_fn)(void *argument, uint64_t offset, void *buffer, size_t size);

/* What a step that returned VIM_AGAIN waits for. */
enum call_wait {
    CALL_WAIT_NONE, /* it called neither */
    CALL_WAIT_DELAY,
    CALL_WAIT_AWAIT
};

struct call_note {
    char *name;
    char *value;
};
#define CALL_NOTES_MAX 16u /* names per call; more are dropped */
#define CALL_NOTE_SIZE_MAX 2048u /* bytes of one value; longer ones are cut */
#define CALL_TEXT_SIZE_MAX 4096u /* bytes of fail()'s text; longer ones are cut */

/* Members are private to plugin/; the struct is open so that it can live on a stack. */
struct vim_call {
    uint32_t magic;
    _Atomic(bool) cancelled;
    _Atomic(int64_t) deadline; /* clock_mono_ms(); INT64_MAX for none */
    struct instance *instance;
    call_emit_fn emit;
    void *emit_argument;
    call_read_fn read;
    void *read_argument;
    int read_fd; /* -1: none */
    uint32_t emitted;
    bool stopped; /* the emit function wants no more */
    bool kept_set;
    struct text kept;
    bool kept_null;
    enum call_wait wait;
    uint32_t wait_ms;
    char *await_kind;
    char *await_id;
    const char *defect; /* a rule that the plugin broke in this call, or NULL */
    int fail_code; /* 0: fail() was not called */
    uint32_t retry_after_ms;
    char *fail_text;
    struct call_note *notes;
    uint32_t note_count;
    int64_t started_us; /* call_begin(), else instance_enter() */
    int64_t ended_us; /* instance_leave() */
    bool idle; /* call_set_idle() */
    /* What it is counted as, between instance_enter() and instance_leave(). */
    enum integral integral;
    bool waits; /* call_host_waiting() */
};

/* DEADLINE in clock_mono_ms(); INT64_MAX for none. */
void call_init(struct vim_call *call, int64_t deadline);
/* The same for a call that is made now and has TIMEOUT_MS: with one look at the clock. */
void call_begin(struct vim_call *call, int64_t timeout_ms);
/* How long it took, from its beginning to instance_leave(), or so far. */
int64_t call_took_us(const struct vim_call *call);
void call_free(struct vim_call *call);

/* Where emitted items go. Without it they are counted and dropped. */
void call_set_emit(struct vim_call *call, call_emit_fn emit, void *argument);

/* Where host->read() takes data from: a function, or an open file (not closed by the call). */
void call_set_read(struct vim_call *call, call_read_fn read, void *argument);
void call_set_read_fd(struct vim_call *call, int fd);

/* It mostly waits for something to happen, and is not counted among the calls under way (base/integral.h). */
void call_set_idle(struct vim_call *call);

/* Makes left_ms() 0. Any thread. */
void call_cancel(struct vim_call *call);
bool call_is_cancelled(const struct vim_call *call);

/* As host->left_ms(): 0 when cancelled or past the deadline. */
int64_t call_left_ms(const struct vim_call *call);

/* --- Outcome: valid until call_free() ------------------------------------------------------------ */

/* Did the call keep() a cursor? Then RET_CURSOR is it, or NULL if it was cleared. */
bool call_kept(const struct vim_call *call, const char **ret_cursor);

/* What VIM_AGAIN waits for: the delay, or kind, id and the longest wait. RET_... may be NULL. */
enum call_wait call_wait(const struct vim_call *call, uint32_t *ret_ms, const char **ret_kind,
                         const char **ret_id);

/* What fail() told: the text ("" if none), the retry-after (0 if none). */
const char *call_fail_text(const struct vim_call *call);
uint32_t call_retry_after_ms(const struct vim_call *call);

/* A note by name, or NULL. */
const char *call_note(const struct vim_call *call, const char *name);

uint32_t call_emitted(const struct vim_call *call);

#endif
