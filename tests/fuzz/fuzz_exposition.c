/* What a Prometheus endpoint answers: told once per sample, and a series that was told is understood again. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "scaler/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    size_t count;
    const struct exposition_sample *same_as; /* that a sample has to equal, or NULL */
};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void compare(const struct exposition_sample *a, const struct exposition_sample *b)
{
    must(strcmp(a->name, b->name) == 0 && a->label_count == b->label_count);
    for (uint32_t i = 0; i < a->label_count; i++) {
        must(strcmp(a->labels[i].name, b->labels[i].name) == 0);
        must(strcmp(a->labels[i].value, b->labels[i].value) == 0);
    }
    must(a->series_length == b->series_length &&
         memcmp(a->series, b->series, a->series_length) == 0);
}

static void on_sample(void *argument, const struct exposition_sample *sample);

/* The series of SAMPLE with another value is the same series. */
static void read_again(const struct exposition_sample *sample)
{
    size_t length = sample->series_length, bad = 0;
    char *line = malloc(length + 3);
    must(line != NULL);
    memcpy(line, sample->series, length);
    memcpy(line + length, " 1\n", 3);
    struct told told = {.same_as = sample};
    size_t count = exposition_read(line, length + 3, on_sample, &told, &bad);
    free(line);
    must(count == 1 && told.count == 1 && bad == 0);
}

static void on_sample(void *argument, const struct exposition_sample *sample)
{
    struct told *told = argument;
    told->count++;
    must(sample->name[0] && sample->series_length >= strlen(sample->name));
    must(sample->label_count <= EXPOSITION_LABELS_MAX);
    for (uint32_t i = 0; i < sample->label_count; i++) {
        must(sample->labels[i].name[0] && sample->labels[i].value);
        must(exposition_label(sample, sample->labels[i].name) != NULL);
    }
    must(exposition_label(sample, "") == NULL);
    if (told->same_as) {
        compare(sample, told->same_as);
        must(sample->value == 1);
    } else if (sample->series_length < 8000) { /* and so the line is none that is too long */
        read_again(sample);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told told = {0};
    size_t bad = 0, lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    size_t count = exposition_read((const char *)data, size, on_sample, &told, &bad);
    must(count == told.count && count + bad <= lines);
    must(exposition_read((const char *)data, size, on_sample, &told, NULL) == count);
    return 0;
}
