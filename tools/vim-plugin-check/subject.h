/*
 * subject.h - instances of the plugin under test.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdint.h>

struct run;
struct instance;
struct config_errors;
struct text;

/* How long a call may take before the check fails. */
#define SUBJECT_CALL_MS 60000

/* Opens an instance with the options of the check configuration. NULL after check_fail(). The caller
 * ends it with subject_close(). Instances with the same NAME find each other's files. */
struct instance *subject_open(struct run *run, const char *name);

/* Releases it and waits until it is closed. */
void subject_close(struct instance *instance);

/* Opens with options given as YAML text instead. Returns VIM_OK, or the error, and REASON tells all
 * that was said. */
int subject_open_text(struct run *run, const char *yaml, struct instance **ret_instance,
                      struct text *reason);

/* Writes the options of the check configuration as YAML, with VALUE for NAME (NULL: without NAME). */
void subject_write_options(const struct run *run, const char *name, const char *value,
                           struct text *yaml);

/* A name nobody else uses: PREFIX, a dash and some random characters; up to 31 characters. */
void unique_name(const char *prefix, char ret_name[32]);

#endif
