/* What a Prometheus endpoint answers: told once per sample, and a series that was told is understood again. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
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
    CLEANUP_TEXT struct text series_a = {0}, series_b = {0};
    must(strcmp(a->name, b->name) == 0 && a->label_count <= b->label_count);
    for (uint32_t i = 0; i < a->label_count; i++) {
        const char *value = exposition_label(b, a->labels[i].name);
        must(value != NULL && a->labels[i].value[0]);
    }
    exposition_series(a, &series_a);
    exposition_series(b, &series_b);
    must(text_equal(text_get(&series_a), text_get(&series_b)));
}

static void on_sample(void *argument, const struct exposition_sample *sample);

/* The series of SAMPLE with another value is the same series. */
static void read_again(const struct exposition_sample *sample)
{
    CLEANUP_TEXT struct text line = {0};
    struct told told = {.same_as = sample};
    size_t bad = 0;
    exposition_series(sample, &line);
    if (line.length > 8000) { /* with escapes it may be a line that is too long */
        return;
    }
    text_add(&line, " 1\n");
    size_t count = exposition_read(text_get(&line), line.length, on_sample, &told, &bad);
    must(count == 1 && told.count == 1 && bad == 0);
}

static void on_sample(void *argument, const struct exposition_sample *sample)
{
    struct told *told = argument;
    told->count++;
    must(sample->name[0]);
    must(sample->label_count <= EXPOSITION_LABELS_MAX);
    for (uint32_t i = 0; i < sample->label_count; i++) {
        must(sample->labels[i].name[0] && sample->labels[i].value);
        must(exposition_label(sample, sample->labels[i].name) != NULL);
    }
    must(exposition_label(sample, "") == NULL);
    if (told->same_as) {
        compare(sample, told->same_as);
        must(sample->value == 1);
    } else {
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
