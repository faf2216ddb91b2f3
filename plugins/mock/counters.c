#include "counters.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIGITS 15

struct counters {
    int file;
    unsigned kind_count;
    off_t *calls; /* where in the file the number of [kind * CALL_COUNT + call] begins */
    off_t faults[FAULT_COUNT];
};

static const char *const call_names[CALL_COUNT] = {"list",   "changes", "get",    "create",
                                                   "update", "delete",  "action", "upload"};

const char *call_name(enum call call)
{
    return call_names[call];
}

static off_t add_number(struct text *text, const char *name, int comma)
{
    text_addf(text, "\"%s\": ", name);
    off_t at = (off_t)text->length;
    text_addf(text, "%*d%s", DIGITS, 0, comma ? ", " : "");
    return at;
}

/* The file with all counts 0; remembers where each number stands. */
static void lay_out(struct counters *counters, const char *const *kinds, struct text *text)
{
    text_addf(text, "{\"calls\": {\n");
    for (unsigned kind = 0; kind < counters->kind_count; kind++) {
        text_addf(text, "  \"%s\": {", kinds[kind]);
        for (int call = 0; call < CALL_COUNT; call++) {
            counters->calls[kind * CALL_COUNT + (unsigned)call] =
                add_number(text, call_names[call], call + 1 < CALL_COUNT);
        }
        text_addf(text, "}%s\n", kind + 1 < counters->kind_count ? "," : "");
    }
    text_addf(text, " },\n \"faults\": {\n");
    for (int fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        text_addf(text, "  ");
        counters->faults[fault] =
            add_number(text, fault_name((enum fault)fault), fault + 1 < FAULT_COUNT);
        text_addf(text, "\n");
    }
    text_addf(text, " }\n}\n");
}

/* True if the file has the layout: everything but the digits is the same. */
static int has_layout(int file, const struct text *text)
{
    char *bytes = malloc(text->length + 1);
    int same = bytes != NULL && pread(file, bytes, text->length + 1, 0) == (ssize_t)text->length;
    for (size_t i = 0; same && i < text->length; i++) {
        char have = bytes[i] >= '0' && bytes[i] <= '9' ? ' ' : bytes[i];
        char want = text->bytes[i] >= '0' && text->bytes[i] <= '9' ? ' ' : text->bytes[i];
        same = have == want;
    }
    free(bytes);
    return same;
}

static int make_file(const char *path, const struct text *text)
{
    char *fresh;
    if (asprintf(&fresh, "%s.new", path) < 0) {
        return -1;
    }
    int file = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file >= 0 && (write(file, text->bytes, text->length) != (ssize_t)text->length ||
                      rename(fresh, path) != 0)) {
        close(file);
        file = -1;
    }
    free(fresh);
    return file;
}

int counters_open(const char *path, const char *const *kinds, unsigned kind_count,
                  struct counters **ret_counters)
{
    struct text text = {0};
    struct counters *counters = calloc(1, sizeof(*counters));
    if (counters == NULL || (counters->calls = calloc((size_t)kind_count * CALL_COUNT,
                                                      sizeof(*counters->calls))) == NULL) {
        free(counters);
        return -1;
    }
    counters->kind_count = kind_count;
    lay_out(counters, kinds, &text);
    counters->file = open(path, O_RDWR | O_CLOEXEC);
    if (counters->file >= 0 && !has_layout(counters->file, &text)) {
        close(counters->file);
        counters->file = -1;
    }
    if (counters->file < 0) {
        counters->file = make_file(path, &text);
    }
    text_free(&text);
    if (counters->file < 0) {
        int error = errno;
        counters_close(counters);
        errno = error;
        return -1;
    }
    *ret_counters = counters;
    return 0;
}

void counters_close(struct counters *counters)
{
    if (counters == NULL) {
        return;
    }
    if (counters->file >= 0) {
        close(counters->file);
    }
    free(counters->calls);
    free(counters);
}

static uint64_t add_one(struct counters *counters, off_t at)
{
    char digits[DIGITS + 1];
    if (pread(counters->file, digits, DIGITS, at) != DIGITS) {
        return 0;
    }
    digits[DIGITS] = '\0';
    unsigned long long count = strtoull(digits, NULL, 10) + 1;
    snprintf(digits, sizeof(digits), "%*llu", DIGITS, count % 1000000000000000ull);
    return pwrite(counters->file, digits, DIGITS, at) == DIGITS ? count : 0;
}

uint64_t counters_call(struct counters *counters, unsigned kind, enum call call)
{
    return add_one(counters, counters->calls[kind * CALL_COUNT + (unsigned)call]);
}

uint64_t counters_fault(struct counters *counters, enum fault fault)
{
    return add_one(counters, counters->faults[fault]);
}
