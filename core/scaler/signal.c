#include "scaler/signal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/text.h"

#define NAME_MAX_LENGTH 200u
#define VALUE_MAX_LENGTH 200u

/* Where the parser is. */
struct reader {
    const char *text, *at;
    char *why; /* 160 bytes */
};

static int wrong(struct reader *reader, const char *expected)
{
    (void)snprintf(reader->why, 160, "at character %zu: expected %s", reader->at - reader->text + 1,
                   expected);
    return VIM_E_INVALID;
}

static void skip(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\t') {
        reader->at++;
    }
}

/* The next character that counts is C: steps over it. */
static bool take(struct reader *reader, char c)
{
    skip(reader);
    if (*reader->at != c) {
        return false;
    }
    reader->at++;
    return true;
}

/* A name of letters, digits, _ and :, malloc'ed, or NULL. */
static char *take_name(struct reader *reader)
{
    skip(reader);
    size_t length = 0;
    while (isalnum((unsigned char)reader->at[length]) || reader->at[length] == '_' ||
           reader->at[length] == ':') {
        length++;
    }
    if (length == 0 || length > NAME_MAX_LENGTH || isdigit((unsigned char)reader->at[0])) {
        return NULL;
    }
    char *name = text_duplicate_bytes(reader->at, length);
    reader->at += length;
    return name;
}

/* "value", with \" \\ and \n; malloc'ed, or NULL. */
static char *take_value(struct reader *reader)
{
    struct text value = {0};
    if (!take(reader, '"')) {
        return NULL;
    }
    for (; *reader->at && *reader->at != '"' && value.length <= VALUE_MAX_LENGTH; reader->at++) {
        if (*reader->at == '\\' && reader->at[1]) {
            reader->at++;
            text_add_char(&value, *reader->at == 'n' ? '\n' : *reader->at);
        } else {
            text_add_char(&value, *reader->at);
        }
    }
    if (*reader->at != '"') {
        text_free(&value);
        return NULL;
    }
    reader->at++;
    return text_take(&value);
}

static bool take_match(struct reader *reader, enum signal_match *ret_match)
{
    static const struct {
        const char *text;
        enum signal_match match;
    } matches[] = {
        {"=~", MATCH_REGEX}, {"!~", MATCH_NOT_REGEX}, {"!=", MATCH_NOT_EQUAL}, {"=", MATCH_EQUAL}};
    skip(reader);
    for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
        if (text_starts_with(reader->at, matches[i].text)) {
            reader->at += strlen(matches[i].text);
            *ret_match = matches[i].match;
            return true;
        }
    }
    return false;
}

/* A whole value has to match, as Prometheus has it. */
static int compile(struct reader *reader, struct signal_label *label)
{
    char *whole = text_format("^(%s)$", label->value);
    int error = regcomp(&label->regex, whole, REG_EXTENDED | REG_NOSUB);
    free(whole);
    if (error) {
        label->match = MATCH_EQUAL; /* nothing to free */
        return wrong(reader, "a regular expression before here");
    }
    return VIM_OK;
}

static int read_label(struct reader *reader, struct signal_selector *selector)
{
    if (selector->label_count == SIGNAL_LABELS_MAX) {
        return wrong(reader, "no more than 8 labels");
    }
    struct signal_label label = {.name = take_name(reader)};
    if (!label.name) {
        return wrong(reader, "the name of a label");
    }
    int code = take_match(reader, &label.match) ? VIM_OK : wrong(reader, "=, !=, =~ or !~");
    if (code == VIM_OK && (label.value = take_value(reader)) == NULL) {
        code = wrong(reader, "a value in double quotes");
    }
    if (code != VIM_OK) {
        free(label.name);
        return code;
    }
    bool is_regex = label.match == MATCH_REGEX || label.match == MATCH_NOT_REGEX;
    struct signal_label *mine = &selector->labels[selector->label_count++];
    *mine = label;
    return is_regex ? compile(reader, mine) : VIM_OK;
}

static int read_selector(struct reader *reader, struct signal_selector *selector)
{
    selector->name = take_name(reader);
    if (!selector->name) {
        return wrong(reader, "the name of a series");
    }
    if (!take(reader, '{')) {
        return VIM_OK;
    }
    while (!take(reader, '}')) {
        int code = read_label(reader, selector);
        if (code != VIM_OK) {
            return code;
        }
        skip(reader);
        if (*reader->at != '}' && !take(reader, ',')) {
            return wrong(reader, ", or }");
        }
    }
    return VIM_OK;
}

static bool function_by_name(const char *name, struct signal_term *term)
{
    static const struct {
        const char *name;
        enum signal_function function;
        double quantile;
    } functions[] = {
        {"rate", SIGNAL_RATE, 0},       {"sum", SIGNAL_SUM, 0},
        {"mean", SIGNAL_MEAN, 0},       {"max", SIGNAL_MAX, 0},
        {"min", SIGNAL_MIN, 0},         {"average", SIGNAL_AVERAGE, 0},
        {"p50", SIGNAL_QUANTILE, 0.50}, {"p90", SIGNAL_QUANTILE, 0.90},
        {"p95", SIGNAL_QUANTILE, 0.95}, {"p99", SIGNAL_QUANTILE, 0.99},
    };
    for (size_t i = 0; name && i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            term->function = functions[i].function;
            term->quantile = functions[i].quantile;
            return true;
        }
    }
    return false;
}

static int read_factor(struct reader *reader, struct signal_term *term, bool divides)
{
    if (term->factor_count == SIGNAL_FACTORS_MAX) {
        return wrong(reader, "no more than 4 factors");
    }
    struct signal_factor *factor = &term->factors[term->factor_count];
    *factor = (struct signal_factor){.divides = divides};
    skip(reader);
    if (isalpha((unsigned char)*reader->at)) {
        const char *start = reader->at;
        char *name = take_name(reader);
        bool known = text_equal(name, "ready") || text_equal(name, "quota");
        factor->kind = text_equal(name, "ready") ? FACTOR_READY : FACTOR_QUOTA;
        free(name);
        if (!known) {
            reader->at = start;
            return wrong(reader, "a number, ready or quota");
        }
    } else {
        char *end;
        factor->number = strtod(reader->at, &end);
        if (end == reader->at || !isfinite(factor->number) || (divides && factor->number == 0)) {
            return wrong(reader, "a number, ready or quota");
        }
        reader->at = end;
    }
    term->factor_count++;
    return VIM_OK;
}

static int read_term(struct reader *reader, struct signal_term *term)
{
    const char *start = reader->at;
    char *name = take_name(reader);
    bool known = function_by_name(name, term);
    free(name);
    if (!known) {
        reader->at = start;
        skip(reader);
        return wrong(reader, "rate, sum, mean, max, min, average, p50, p90, p95 or p99");
    }
    if (!take(reader, '(')) {
        return wrong(reader, "(");
    }
    int code = read_selector(reader, &term->selector);
    if (code == VIM_OK && !take(reader, ')')) {
        code = wrong(reader, ")");
    }
    while (code == VIM_OK) {
        bool divides = take(reader, '/');
        if (!divides && !take(reader, '*')) {
            break;
        }
        code = read_factor(reader, term, divides);
    }
    return code;
}

int signal_parse(const char *text, struct signal *ret_signal, char ret_why[160])
{
    struct reader reader = {.text = text, .at = text, .why = ret_why};
    struct signal signal = {0};
    bool minus = false;
    int code = VIM_OK;
    do {
        if (signal.term_count == SIGNAL_TERMS_MAX) {
            code = wrong(&reader, "no more than 4 terms");
            break;
        }
        struct signal_term *term = &signal.terms[signal.term_count++];
        term->minus = minus;
        code = read_term(&reader, term);
        minus = code == VIM_OK && take(&reader, '-');
    } while (code == VIM_OK && (minus || take(&reader, '+')));
    skip(&reader);
    if (code == VIM_OK && *reader.at) {
        code = wrong(&reader, "+, -, *, / or the end");
    }
    if (code != VIM_OK) {
        signal_free(&signal);
        return code;
    }
    signal.text = text_duplicate(text);
    *ret_signal = signal;
    return VIM_OK;
}

void signal_free(struct signal *signal)
{
    for (uint32_t i = 0; i < signal->term_count; i++) {
        struct signal_selector *selector = &signal->terms[i].selector;
        for (uint32_t j = 0; j < selector->label_count; j++) {
            struct signal_label *label = &selector->labels[j];
            if (label->match == MATCH_REGEX || label->match == MATCH_NOT_REGEX) {
                regfree(&label->regex);
            }
            free(label->name);
            free(label->value);
        }
        free(selector->name);
    }
    free(signal->text);
    *signal = (struct signal){0};
}

void signals_free(struct signals *signals)
{
    for (uint32_t i = 0; i < signals->count; i++) {
        signal_free(&signals->items[i]);
    }
    free(signals->items);
    *signals = (struct signals){0};
}
