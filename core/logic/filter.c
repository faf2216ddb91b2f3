/*
 * logic/filter.c - filters over JSON text, which is looked at without being parsed.
 *
 * The negative operators hold when their positive counterpart does not: (neq,key,x) holds also for
 * what has no key. Of a list any element will do.
 */
#include "logic/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

static const struct {
    const char *name;
    enum filter_operator op;
    bool many; /* takes several values */
} operators[] = {
    {"eq", FILTER_EQ, false},      {"neq", FILTER_NEQ, false}, {"in", FILTER_IN, true},
    {"nin", FILTER_NIN, true},     {"gt", FILTER_GT, false},   {"gte", FILTER_GTE, false},
    {"lt", FILTER_LT, false},      {"lte", FILTER_LTE, false}, {"cont", FILTER_CONT, true},
    {"ncont", FILTER_NCONT, true},
};

const struct field *vocabulary_find(const struct vocabulary *vocabulary, const char *name)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct field *field =
            field_by_name(vocabulary->parts[i].fields, vocabulary->parts[i].count, name);
        if (field) {
            return field;
        }
    }
    return NULL;
}

static char *vocabulary_nearest(const struct vocabulary *vocabulary, const char *name)
{
    CLEANUP_FREE char *first =
        field_names(vocabulary->parts[0].fields, vocabulary->parts[0].count, 0);
    CLEANUP_FREE char *second =
        field_names(vocabulary->parts[1].fields, vocabulary->parts[1].count, 0);
    CLEANUP_FREE char *all = text_format("%s %s", first, second);
    return text_nearest_word(all, name);
}

static void clause_free(struct filter_clause *clause)
{
    for (unsigned i = 0; i < clause->path_count; i++) {
        free(clause->path[i]);
    }
    for (unsigned i = 0; i < clause->value_count; i++) {
        free(clause->values[i].text);
    }
    free(clause->values);
    memset(clause, 0, sizeof(*clause));
}

void filter_free(struct filter *filter)
{
    for (unsigned i = 0; i < filter->count; i++) {
        clause_free(&filter->clauses[i]);
    }
    filter->count = 0;
}

/* Takes VALUE over. */
static void clause_add_value(struct filter_clause *clause, char *value)
{
    clause->values =
        memory_resize(clause->values, clause->value_count + 1, sizeof(*clause->values));
    struct filter_value *added = &clause->values[clause->value_count++];
    *added = (struct filter_value){.text = value};
    long long integer;
    if (text_to_integer(value, &integer) == VIM_OK) {
        added->is_integer = added->is_number = true;
        added->integer = integer;
        added->number = (double)integer;
    } else if (*value != '\0' && strspn(value, "+-.0123456789eE") == strlen(value)) {
        char *end;
        added->number = strtod(value, &end);
        added->is_number = *end == '\0' && isfinite(added->number);
    }
    added->is_time = clock_parse_rfc3339(value, &added->time) == VIM_OK;
}

/* Values that FIELD can never have are a mistake rather than an empty list. */
static void check_values(const struct field *field, const struct filter_clause *clause,
                         const char *pointer, struct findings *findings)
{
    if (clause->op == FILTER_CONT || clause->op == FILTER_NCONT) {
        return;
    }
    for (unsigned i = 0; i < clause->value_count; i++) {
        const struct filter_value *value = &clause->values[i];
        if (field->type == FIELD_INTEGER && !value->is_number) {
            findings_add(findings, pointer, "%s is a number", field->name);
        } else if (field->type == FIELD_TIME && !value->is_time) {
            findings_add(findings, pointer, "%s is a time as in 2026-01-31T12:00:00Z", field->name);
        } else if (field->type == FIELD_BOOLEAN && strcmp(value->text, "true") != 0 &&
                   strcmp(value->text, "false") != 0) {
            findings_add(findings, pointer, "%s is true or false", field->name);
        } else if (field->type == FIELD_CHOICE &&
                   (strchr(value->text, ' ') || !text_has_word(field->choices, value->text)) &&
                   (clause->op == FILTER_EQ || clause->op == FILTER_IN)) {
            findings_add(findings, pointer, "%s is one of: %s", field->name, field->choices);
        }
    }
}

static struct filter_clause *filter_add(struct filter *filter, const char *pointer,
                                        struct findings *findings)
{
    if (filter->count == QUERY_CLAUSES_MAX) {
        findings_add(findings, pointer, "there are more than %d conditions", QUERY_CLAUSES_MAX);
        return NULL;
    }
    struct filter_clause *clause = &filter->clauses[filter->count++];
    memset(clause, 0, sizeof(*clause));
    return clause;
}

void filter_add_equal(const struct field *field, const char *value, struct filter *filter,
                      struct findings *findings)
{
    char pointer[128];
    snprintf(pointer, sizeof(pointer), "?%s", field->name);
    struct filter_clause *clause = filter_add(filter, pointer, findings);
    if (clause == NULL) {
        return;
    }
    clause->op = FILTER_EQ;
    clause->path[clause->path_count++] = text_duplicate(field->name);
    if (field->type == FIELD_OBJECT) {
        /* A task's target is meant by its id. */
        clause->path[clause->path_count++] = text_duplicate("id");
    }
    clause->is_time = field->type == FIELD_TIME;
    clause_add_value(clause, text_duplicate(value));
    check_values(field, clause, pointer, findings);
}

void filter_add_label(const char *label, struct filter *filter, struct findings *findings)
{
    struct filter_clause *clause = filter_add(filter, "?label", findings);
    if (clause == NULL) {
        return;
    }
    const char *colon = strchr(label, ':');
    size_t length = colon ? (size_t)(colon - label) : strlen(label);
    if (length == 0) {
        findings_add(findings, "?label", "must be name or name:value");
    }
    clause->op = colon ? FILTER_EQ : FILTER_EXISTS;
    clause->path[clause->path_count++] = text_duplicate("labels");
    clause->path[clause->path_count++] = text_duplicate_bytes(label, length);
    if (colon) {
        clause_add_value(clause, text_duplicate(colon + 1));
    }
}

void filter_add_since(const char *time, struct filter *filter, struct findings *findings)
{
    struct filter_clause *clause = filter_add(filter, "?changed_since", findings);
    if (clause == NULL) {
        return;
    }
    clause->op = FILTER_SINCE;
    clause_add_value(clause, text_duplicate(time));
    if (!clause->values[0].is_time) {
        findings_add(findings, "?changed_since", "must be a time as in 2026-01-31T12:00:00Z");
    }
}

/* --- SOL013 expressions ---------------------------------------------------------------------- */

struct parser {
    const char *text, *at;
    struct findings *findings;
};

static bool parse_error(struct parser *parser, const char *expected)
{
    findings_add(parser->findings, "?filter", "at character %zu: expected %s",
                 (size_t)(parser->at - parser->text) + 1, expected);
    return false;
}

/* Up to one of STOP, as malloc'ed text. */
static char *parse_until(struct parser *parser, const char *stop)
{
    size_t length = strcspn(parser->at, stop);
    char *text = text_duplicate_bytes(parser->at, length);
    parser->at += length;
    return text;
}

static bool parse_operator(struct parser *parser, struct filter_clause *clause, bool *ret_many)
{
    const char *start = parser->at;
    CLEANUP_FREE char *name = parse_until(parser, ",;()'");
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (strcmp(operators[i].name, name) == 0) {
            clause->op = operators[i].op;
            *ret_many = operators[i].many;
            return true;
        }
    }
    parser->at = start;
    return parse_error(parser, "one of eq neq in nin gt gte lt lte cont ncont");
}

/* One name of a path, with SOL013's escapes taken back: ~0 is ~, ~1 is /, ~a is a comma, ~b is @. */
static char *parse_name(struct parser *parser)
{
    struct text name = {0};
    for (; *parser->at != '\0' && strchr("/,;()'", *parser->at) == NULL; parser->at++) {
        if (*parser->at != '~') {
            text_add_char(&name, *parser->at);
            continue;
        }
        const char *escape = "01ab", *meaning = "~/,@";
        const char *found = parser->at[1] != '\0' ? strchr(escape, parser->at[1]) : NULL;
        if (found == NULL) {
            break;
        }
        text_add_char(&name, meaning[found - escape]);
        parser->at++;
    }
    return text_take(&name);
}

static bool parse_path(struct parser *parser, struct filter_clause *clause)
{
    for (;;) {
        char *name = parse_name(parser);
        bool empty = *name == '\0';
        if (clause->path_count == QUERY_PATH_MAX) {
            free(name);
            return parse_error(parser, "a shorter attribute name");
        }
        clause->path[clause->path_count++] = name;
        if (empty) {
            return parse_error(parser, "the name of an attribute");
        }
        if (*parser->at != '/') {
            return *parser->at == ',' ? true : parse_error(parser, "a comma and a value");
        }
        parser->at++;
    }
}

/* 'quoted with '' for a quote', or plain without comma, quote and parenthesis. */
static bool parse_value(struct parser *parser, struct filter_clause *clause)
{
    if (*parser->at != '\'') {
        char *value = parse_until(parser, ",)'");
        clause_add_value(clause, value);
        return *parser->at != '\'' ? true : parse_error(parser, "no quote inside of a plain value");
    }
    struct text value = {0};
    for (parser->at++;; parser->at++) {
        if (*parser->at == '\0') {
            text_free(&value);
            return parse_error(parser, "a closing quote");
        }
        if (*parser->at == '\'' && *++parser->at != '\'') {
            break;
        }
        text_add_char(&value, *parser->at);
    }
    clause_add_value(clause, text_take(&value));
    return true;
}

static bool parse_clause(struct parser *parser, struct filter_clause *clause)
{
    bool many = false;
    if (*parser->at != '(') {
        return parse_error(parser, "an opening parenthesis");
    }
    parser->at++;
    if (!parse_operator(parser, clause, &many)) {
        return false;
    }
    if (*parser->at != ',') {
        return parse_error(parser, "a comma and the name of an attribute");
    }
    parser->at++;
    if (!parse_path(parser, clause)) {
        return false;
    }
    while (*parser->at == ',') {
        if (clause->value_count == (many ? QUERY_VALUES_MAX : 1)) {
            return parse_error(parser, many ? "fewer values" : "one value and a parenthesis");
        }
        parser->at++;
        if (!parse_value(parser, clause)) {
            return false;
        }
    }
    if (*parser->at != ')') {
        return parse_error(parser, "a closing parenthesis");
    }
    parser->at++;
    return true;
}

void filter_parse(const struct vocabulary *vocabulary, const char *expression,
                  struct filter *filter, struct findings *findings)
{
    struct parser parser = {.text = expression, .at = expression, .findings = findings};
    for (;;) {
        struct filter_clause *clause = filter_add(filter, "?filter", findings);
        if (clause == NULL || !parse_clause(&parser, clause)) {
            return;
        }
        const struct field *field = vocabulary_find(vocabulary, clause->path[0]);
        if (field == NULL) {
            CLEANUP_FREE char *nearest = vocabulary_nearest(vocabulary, clause->path[0]);
            findings_add(findings, "?filter", "%s is no attribute%s%s", clause->path[0],
                         nearest ? "; the nearest is " : "", nearest ? nearest : "");
        } else if (clause->path_count == 1) {
            clause->is_time = field->type == FIELD_TIME;
            check_values(field, clause, "?filter", findings);
        }
        if (*parser.at == '\0') {
            return;
        }
        if (*parser.at != ';') {
            parse_error(&parser, "a semicolon, or the end");
            return;
        }
        parser.at++;
    }
}

/* --- Matching -------------------------------------------------------------------------------- */

static int compare_number(const struct filter_value *value, struct json_piece piece)
{
    int64_t integer;
    double number = NAN;
    if (value->is_integer && json_piece_integer(piece, &integer) == VIM_OK) {
        return integer < value->integer ? -1 : integer > value->integer;
    }
    (void)json_piece_number(piece, &number);
    return number < value->number ? -1 : number > value->number;
}

static bool ordered(enum filter_operator op, int order)
{
    switch (op) {
    case FILTER_GT:
        return order > 0;
    case FILTER_GTE:
        return order >= 0;
    case FILTER_LT:
        return order < 0;
    case FILTER_LTE:
        return order <= 0;
    default:
        return order == 0;
    }
}

static bool match_text(const struct filter_clause *clause, const struct filter_value *value,
                       struct json_piece piece)
{
    bool equal = clause->op <= FILTER_NIN;
    if (equal && !clause->is_time) {
        return json_piece_equals(piece, value->text);
    }
    CLEANUP_FREE char *text = NULL;
    if (json_piece_text(piece, &text) != VIM_OK) {
        return false;
    }
    if (clause->op == FILTER_CONT || clause->op == FILTER_NCONT) {
        return strstr(text, value->text) != NULL;
    }
    int64_t time;
    if (clause->is_time && clock_parse_rfc3339(text, &time) == VIM_OK) {
        return ordered(clause->op, time < value->time ? -1 : time > value->time);
    }
    return ordered(clause->op, strcmp(text, value->text));
}

/* Does a scalar fit one of the values, under the positive form of the operator? */
static bool match_scalar(const struct filter_clause *clause, struct json_piece piece)
{
    if (clause->op == FILTER_EXISTS) {
        return true;
    }
    for (unsigned i = 0; i < clause->value_count; i++) {
        const struct filter_value *value = &clause->values[i];
        char first = *piece.start;
        bool fits = false;
        if (first == '"') {
            fits = match_text(clause, value, piece);
        } else if (first == 't' || first == 'f') {
            fits = clause->op <= FILTER_NIN && strlen(value->text) == piece.length &&
                   memcmp(value->text, piece.start, piece.length) == 0;
        } else if (first != 'n' && first != '{' && value->is_number && clause->op < FILTER_CONT) {
            fits = ordered(clause->op, compare_number(value, piece));
        }
        if (fits) {
            return true;
        }
    }
    return false;
}

static bool match_at(const struct filter_clause *clause, struct json_piece piece, unsigned depth,
                     unsigned lists)
{
    if (piece.length == 0) {
        return false;
    }
    if (*piece.start == '[') {
        /* Lists within lists do not occur in the vocabulary. */
        struct json_walk walk = json_walk_start(piece.start, piece.length);
        struct json_piece element;
        while (lists < 2 && json_walk_next(&walk, NULL, &element) == VIM_OK) {
            if (match_at(clause, element, depth, lists + 1)) {
                return true;
            }
        }
        return false;
    }
    if (depth == clause->path_count) {
        return match_scalar(clause, piece);
    }
    struct json_piece member;
    return *piece.start == '{' &&
           json_peek(piece.start, piece.length, clause->path[depth], &member) == VIM_OK &&
           match_at(clause, member, depth + 1, 0);
}

static bool match_since(const struct filter_clause *clause, const char *body, size_t length)
{
    static const char *const members[] = {"updated", "created"};
    for (unsigned i = 0; i < 2; i++) {
        struct json_piece piece;
        CLEANUP_FREE char *text = NULL;
        int64_t time;
        if (json_peek(body, length, members[i], &piece) == VIM_OK &&
            json_piece_text(piece, &text) == VIM_OK && clock_parse_rfc3339(text, &time) == VIM_OK) {
            return time >= clause->values[0].time;
        }
    }
    return true;
}

bool filter_match(const struct filter *filter, const char *body, size_t length)
{
    for (unsigned i = 0; i < filter->count; i++) {
        const struct filter_clause *clause = &filter->clauses[i];
        if (clause->op == FILTER_SINCE) {
            if (!match_since(clause, body, length)) {
                return false;
            }
            continue;
        }
        bool negative =
            clause->op == FILTER_NEQ || clause->op == FILTER_NIN || clause->op == FILTER_NCONT;
        if (match_at(clause, (struct json_piece){body, length}, 0, 0) == negative) {
            return false;
        }
    }
    return true;
}

uint32_t filter_mask(const struct filter *filter, const char *field,
                     const char *(*name_of)(unsigned number))
{
    uint32_t mask = UINT32_MAX;
    for (unsigned i = 0; i < filter->count; i++) {
        const struct filter_clause *clause = &filter->clauses[i];
        if ((clause->op != FILTER_EQ && clause->op != FILTER_IN) || clause->path_count != 1 ||
            strcmp(clause->path[0], field) != 0) {
            continue;
        }
        uint32_t allowed = 0;
        for (unsigned value = 0; value < clause->value_count; value++) {
            const char *name;
            for (unsigned number = 0; number < 32 && (name = name_of(number)); number++) {
                allowed |= strcmp(name, clause->values[value].text) == 0 ? 1u << number : 0;
            }
        }
        mask &= allowed;
    }
    return mask == UINT32_MAX ? 0 : mask;
}
