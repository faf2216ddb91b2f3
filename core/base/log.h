/*
 * base/log.h - the log: one line is one event with key=value pairs, on stderr.
 *
 *     log_event(VIM_INFO, "task ended", "task=%s state=%s took_ms=%" PRId64, id, state, took);
 *
 *     time=2026-11-23T20:33:12.345Z level=info event="task ended" task=0193... state=succeeded ...
 *
 * The format is `key=CONVERSIONS` fields separated by single spaces. Each field is rendered on
 * its own and quoted where needed, so no value can forge a field or a line, whatever it holds.
 * Conversions: s d i u x X c f g e p % with the length modifiers hh h l ll z j t, flags, width and
 * precision (also *). A NULL for %s gives an empty value.
 *
 * Values that were given to log_redact_add() never reach a line: they become "***".
 *
 * Threads: everything may be called from any thread; a line is one write().
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <vim/plugin.h>

struct text;

enum log_format { LOG_LOGFMT, LOG_JSON };

/* Sets the level (events above it are dropped) and the form of lines. Before it is called: VIM_INFO
 * and LOG_LOGFMT. May be called again at any time (reload). */
void log_init(enum vim_level level, enum log_format format);

/* "error", "warning", "info", "debug" to a level and back. VIM_E_INVALID if unknown. */
int log_level_from_name(const char *name, enum vim_level *ret_level);
const char *log_level_name(int level);

bool log_enabled(int level);

/* Sends lines (LENGTH bytes, newline included) to SINK instead of stderr; NULL for stderr. For
 * tests; call it while nobody logs. */
void log_set_sink(void (*sink)(void *argument, const char *line, size_t length), void *argument);

/* Writes an event. The first variadic argument is a string literal, if there is any. */
#define log_event(level, event, ...)                  \
    do {                                              \
        if (log_enabled(level)) {                     \
            log_write(level, event, " " __VA_ARGS__); \
        }                                             \
    } while (0)

void log_write(int level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes an event with the fields of FORMAT first and then those of FIELDS: foreign text of the form
 * key=value key="value with \"quotes\"" (a plugin's), which is parsed and written anew; what
 * cannot be parsed becomes the value of a field "text". FIELDS may be NULL. */
void log_write_fields(int level, const char *event, const char *fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* From now on SECRET is replaced by *** in every line. Shorter than 4 bytes is not: it would make
 * the log unreadable and is no secret. NULL is fine. */
void log_redact_add(const char *secret);

/* Replaces known secrets in TEXT: for texts that go elsewhere (task errors, answers). */
void log_redact(struct text *text);

#endif
