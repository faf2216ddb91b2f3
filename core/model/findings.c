/* What is wrong with a document: pointers and words. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"
#include "model/kinds.h"

#define FINDINGS_MAX 100

void findings_add(struct findings *findings, const char *pointer, const char *format, ...)
{
    if (findings->count >= FINDINGS_MAX) {
        return;
    }
    if (findings->count == findings->capacity) {
        findings->capacity = findings->capacity == 0 ? 4 : findings->capacity * 2;
        findings->items =
            memory_resize(findings->items, findings->capacity, sizeof(*findings->items));
    }
    struct finding *finding = &findings->items[findings->count++];
    *finding = (struct finding){.amount = NULL};
    snprintf(finding->pointer, sizeof(finding->pointer), "%s", pointer);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
    va_end(arguments);
    /* Foreign text may have been cut inside of a character. */
    for (char *text = finding->detail; !text_is_utf8(text, strlen(text)) && *text != '\0';) {
        text[strlen(text) - 1] = '\0';
    }
    for (char *text = finding->pointer; !text_is_utf8(text, strlen(text)) && *text != '\0';) {
        text[strlen(text) - 1] = '\0';
    }
}

void findings_add_amount(struct findings *findings, const char *pointer, const char *amount,
                         int64_t needed, int64_t left, const char *detail)
{
    size_t before = findings->count;
    findings_add(findings, pointer, "%s", detail);
    if (findings->count > before) {
        struct finding *finding = &findings->items[before];
        finding->amount = amount;
        finding->needed = needed;
        finding->left = left;
    }
}

void findings_free(struct findings *findings)
{
    free(findings->items);
    memset(findings, 0, sizeof(*findings));
}
