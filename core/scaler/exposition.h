/*
 * scaler/exposition.h - reading what a Prometheus endpoint answers: the text exposition format 0.0.4.
 *
 *     http_requests_total{job="shop",code="200"} 1027 1395066363000
 *
 * Comments, types, help and timestamps are stepped over. Nothing is believed of the text: it may be cut off
 * anywhere, and lines that are not understood are counted and left out.
 */
#ifndef SCALER_EXPOSITION_H
#define SCALER_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#define EXPOSITION_LABELS_MAX 32u

struct exposition_label {
    const char *name, *value; /* unescaped */
};

/* One value. Lives for the call. */
struct exposition_sample {
    const char *name;
    struct exposition_label labels[EXPOSITION_LABELS_MAX];
    uint32_t label_count;
    double value; /* may be NaN or infinite */
};

typedef void (*exposition_fn)(void *argument, const struct exposition_sample *sample);

/* Calls EACH for every sample of TEXT. Returns how many there were; RET_BAD (may be NULL): the lines that are
 * none. */
size_t exposition_read(const char *text, size_t length, exposition_fn each, void *argument,
                       size_t *ret_bad);

/* The value of label NAME, or NULL. */
const char *exposition_label(const struct exposition_sample *sample, const char *name);

/* Appends the series of SAMPLE as the format has it, its labels by name and without those that are empty: the same
 * text in each answer, in whatever order they came. */
struct text;
void exposition_series(const struct exposition_sample *sample, struct text *text);

#endif
