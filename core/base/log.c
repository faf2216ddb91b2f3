/*
 * Locks: secrets_lock, alone; not held over I/O.
 */
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log_line.h"
#include "base/memory.h"

static atomic_int log_level = VIM_INFO;
static atomic_int log_form = LOG_LOGFMT;
static void (*log_sink)(void *argument, const char *line, size_t length);
static void *log_sink_argument;

static pthread_rwlock_t secrets_lock = PTHREAD_RWLOCK_INITIALIZER;
static char **secrets; /* the longest first, so that one which contains another goes first */
static atomic_size_t secret_count;

#define SECRET_LENGTH_MIN 4u

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_init(enum vim_level level, enum log_format format)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_form, (int)format);
}

int log_level_from_name(const char *name, enum vim_level *ret_level)
{
    for (int i = VIM_ERROR; i <= VIM_DEBUG; i++) {
        if (text_equal(name, level_names[i])) {
            *ret_level = (enum vim_level)i;
            return VIM_OK;
        }
    }
    return VIM_E_INVALID;
}

const char *log_level_name(int level)
{
    return level_names[level < VIM_ERROR ? VIM_ERROR : level > VIM_DEBUG ? VIM_DEBUG : level];
}

bool log_enabled(int level)
{
    return level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_sink(void (*sink)(void *argument, const char *line, size_t length), void *argument)
{
    log_sink = sink;
    log_sink_argument = argument;
}

/* One write() per line: lines of several threads do not mix. What cannot be written is lost: there
 * is nowhere to say so. */
static void log_out(const struct text *line)
{
    if (log_sink) {
        log_sink(log_sink_argument, line->data, line->length);
        return;
    }
    const char *at = line->data;
    size_t left = line->length;
    while (left) {
        ssize_t done = write(STDERR_FILENO, at, left);
        if (done < 0 && errno != EINTR) {
            return;
        }
        if (done > 0) {
            at += done;
            left -= (size_t)done;
        }
    }
}

static void log_values_out(int level, const char *event, const char *fields, const char *format,
                           struct log_values *values)
{
    struct log_line line;
    log_line_start(&line, (enum log_format)atomic_load(&log_form), level, event);
    log_line_format(&line, format, values);
    if (fields) {
        log_line_foreign(&line, fields);
    }
    log_line_end(&line);
    log_out(&line.text);
    text_free(&line.text);
}

void log_write(int level, const char *event, const char *format, ...)
{
    struct log_values values;
    va_start(values.list, format);
    log_values_out(level, event, NULL, format, &values);
    va_end(values.list);
}

void log_write_fields(int level, const char *event, const char *fields, const char *format, ...)
{
    struct log_values values;
    if (!log_enabled(level)) {
        return;
    }
    va_start(values.list, format);
    log_values_out(level, event, fields, format, &values);
    va_end(values.list);
}

void log_redact_add(const char *secret)
{
    if (!secret || strlen(secret) < SECRET_LENGTH_MIN) {
        return;
    }
    pthread_rwlock_wrlock(&secrets_lock);
    size_t count = atomic_load(&secret_count), place = 0;
    while (place < count && strcmp(secrets[place], secret) != 0) {
        place++;
    }
    if (place == count) {
        place = 0;
        while (place < count && strlen(secrets[place]) > strlen(secret)) {
            place++;
        }
        secrets = memory_resize(secrets, count + 1, sizeof(*secrets));
        memmove(secrets + place + 1, secrets + place, (count - place) * sizeof(*secrets));
        secrets[place] = text_duplicate(secret);
        atomic_store(&secret_count, count + 1);
    }
    pthread_rwlock_unlock(&secrets_lock);
}

static void redact_one(struct text *text, const char *secret)
{
    size_t length = strlen(secret);
    char *found = memmem(text->data, text->length, secret, length);
    if (!found) {
        return;
    }
    struct text clean = {0};
    const char *at = text->data, *end = text->data + text->length;
    while (found) {
        text_add_bytes(&clean, at, (size_t)(found - at));
        text_add(&clean, "***");
        at = found + length;
        found = memmem(at, (size_t)(end - at), secret, length);
    }
    text_add_bytes(&clean, at, (size_t)(end - at));
    text_free(text);
    *text = clean;
}

void log_redact(struct text *text)
{
    if (atomic_load_explicit(&secret_count, memory_order_acquire) == 0 || text->length == 0) {
        return;
    }
    pthread_rwlock_rdlock(&secrets_lock);
    size_t count = atomic_load(&secret_count);
    for (size_t i = 0; i < count; i++) {
        redact_one(text, secrets[i]);
    }
    pthread_rwlock_unlock(&secrets_lock);
}
