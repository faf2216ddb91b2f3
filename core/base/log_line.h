/*
 * base/log_line.h - private to base: builds one line of the log.
 */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include <stdarg.h>
#include "base/log.h"
#include "base/text.h"

struct log_line {
    struct text text;
    enum log_format format;
};

/* va_list as something that can be passed on by address, whatever kind of type it is. */
struct log_values {
    va_list list;
};

#define LOG_VALUE_MAX 4096u /* bytes of one value; longer ones are cut */

void log_line_start(struct log_line *line, enum log_format format, int level, const char *event);
void log_line_end(struct log_line *line);

/* Adds one field. What is not [A-Za-z0-9_.-] in the key becomes _. */
void log_line_field(struct log_line *line, const char *key, size_t key_length, const char *value,
                    size_t value_length);

/* Adds the fields of a printf format (log.h). */
void log_line_format(struct log_line *line, const char *format, struct log_values *values);

/* Adds the fields of foreign text (log.h). */
void log_line_foreign(struct log_line *line, const char *fields);

#endif
