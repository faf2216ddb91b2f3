#include "scaler/exposition.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"

#define LINE_MAX_LENGTH 8192u

/* One line, and where its names and values are put. */
struct line {
    char text[LINE_MAX_LENGTH + 1]; /* as it came */
    char room[LINE_MAX_LENGTH + EXPOSITION_LABELS_MAX + 2];
    size_t used;
    const char *at;
    struct exposition_sample sample;
};

static void skip(struct line *line)
{
    while (*line->at == ' ' || *line->at == '\t') {
        line->at++;
    }
}

static const char *take_name(struct line *line)
{
    const char *start = line->at;
    while (isalnum((unsigned char)*line->at) || *line->at == '_' || *line->at == ':') {
        line->at++;
    }
    size_t length = (size_t)(line->at - start);
    if (length == 0) {
        return NULL;
    }
    char *name = line->room + line->used;
    memcpy(name, start, length);
    name[length] = '\0';
    line->used += length + 1;
    return name;
}

static const char *take_value(struct line *line)
{
    char *value = line->room + line->used;
    if (*line->at != '"') {
        return NULL;
    }
    for (line->at++; *line->at != '"'; line->at++) {
        bool escaped = *line->at == '\\';
        line->at += escaped;
        if (*line->at == '\0') {
            return NULL;
        }
        line->room[line->used++] = escaped && *line->at == 'n' ? '\n' : *line->at;
    }
    line->room[line->used++] = '\0';
    line->at++;
    return value;
}

static bool take_labels(struct line *line)
{
    struct exposition_sample *sample = &line->sample;
    for (skip(line); *line->at != '}'; skip(line)) {
        if (sample->label_count == EXPOSITION_LABELS_MAX) {
            return false;
        }
        struct exposition_label *label = &sample->labels[sample->label_count++];
        label->name = take_name(line);
        skip(line);
        if (!label->name || *line->at != '=') {
            return false;
        }
        line->at++;
        skip(line);
        label->value = take_value(line);
        skip(line);
        if (!label->value || (*line->at != ',' && *line->at != '}')) {
            return false;
        }
        line->at += *line->at == ',';
    }
    line->at++;
    return true;
}

static bool read_line(struct line *line)
{
    struct exposition_sample *sample = &line->sample;
    line->at = line->text;
    line->used = 0;
    sample->label_count = 0;
    skip(line);
    sample->name = take_name(line);
    if (!sample->name) {
        return false;
    }
    const char *behind = line->at;
    skip(line);
    if (*line->at != '{') {
        line->at = behind;
    } else {
        line->at++;
        if (!take_labels(line)) {
            return false;
        }
    }
    skip(line);
    char *end;
    sample->value = strtod(line->at, &end);
    return end != line->at && (*end == '\0' || *end == ' ' || *end == '\t' || *end == '\r');
}

size_t exposition_read(const char *text, size_t length, exposition_fn each, void *argument,
                       size_t *ret_bad)
{
    struct line line;
    size_t count = 0, bad = 0;
    for (const char *at = text, *stop = text + length; at < stop;) {
        const char *newline = memchr(at, '\n', (size_t)(stop - at));
        size_t size = (size_t)((newline ? newline : stop) - at);
        /* What has no end may be cut off: half a number is another number. */
        bool fits = newline && size <= LINE_MAX_LENGTH && !memchr(at, '\0', size);
        memcpy(line.text, at, fits ? size : 0);
        line.text[fits ? size : 0] = '\0';
        bool empty = fits && strspn(line.text, " \t\r") == size;
        if (!empty && *at != '#') {
            if (fits && read_line(&line)) {
                each(argument, &line.sample);
                count++;
            } else {
                bad++;
            }
        }
        at += size + 1;
    }
    if (ret_bad) {
        *ret_bad = bad;
    }
    return count;
}

const char *exposition_label(const struct exposition_sample *sample, const char *name)
{
    for (uint32_t i = 0; i < sample->label_count; i++) {
        if (strcmp(sample->labels[i].name, name) == 0) {
            return sample->labels[i].value;
        }
    }
    return NULL;
}

static void add_label(const struct exposition_label *label, struct text *text)
{
    text_printf(text, "%s=\"", label->name);
    for (const char *c = label->value; *c; c++) {
        if (*c == '"' || *c == '\\') {
            text_add_char(text, '\\');
        }
        text_add(text, *c == '\n' ? "\\n" : (char[]){*c, '\0'});
    }
    text_add_char(text, '"');
}

void exposition_series(const struct exposition_sample *sample, struct text *text)
{
    uint32_t order[EXPOSITION_LABELS_MAX], count = 0;
    for (uint32_t i = 0; i < sample->label_count; i++) {
        if (!sample->labels[i].value[0]) {
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && strcmp(sample->labels[i].name, sample->labels[order[at - 1]].name) < 0;
             at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    text_add(text, sample->name);
    for (uint32_t i = 0; i < count; i++) {
        text_add(text, i ? "," : "{");
        add_label(&sample->labels[order[i]], text);
    }
    text_add(text, count ? "}" : "");
}
