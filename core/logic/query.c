/*
 * logic/query.c - the parameters of a list, its order, and the tokens of its pages.
 */
#include "logic/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/digest.h"

static const char reserved[] = "limit page_token filter sort fields changed_since";

static bool is_scalar(const struct field *field)
{
    return field->type != FIELD_TEXTS && field->type != FIELD_LIST && field->type != FIELD_OBJECT;
}

static void unknown_name(const struct vocabulary *vocabulary, const char *pointer, const char *name,
                         const char *more, struct findings *findings)
{
    CLEANUP_FREE char *first =
        field_names(vocabulary->parts[0].fields, vocabulary->parts[0].count, 0);
    CLEANUP_FREE char *second =
        field_names(vocabulary->parts[1].fields, vocabulary->parts[1].count, 0);
    CLEANUP_FREE char *all = text_format("%s %s %s", more, first, second);
    CLEANUP_FREE char *nearest = text_nearest_word(all, name);
    if (nearest) {
        findings_add(findings, pointer, "%s is not known; the nearest is %s", name, nearest);
    } else {
        findings_add(findings, pointer, "%s is not known", name);
    }
}

void fields_parse(const struct vocabulary *vocabulary, const char *value,
                  char *fields[QUERY_FIELDS_MAX], unsigned *ret_count, struct findings *findings)
{
    unsigned count = *ret_count;
    for (;;) {
        size_t length = strcspn(value, ",");
        CLEANUP_FREE char *name = text_duplicate_bytes(value, length);
        if (vocabulary_find(vocabulary, name) == NULL) {
            unknown_name(vocabulary, "?fields", name, "", findings);
        } else if (count == QUERY_FIELDS_MAX) {
            findings_add(findings, "?fields", "there are more than %d names", QUERY_FIELDS_MAX);
        } else {
            fields[count++] = TAKE(name);
        }
        if (value[length] == '\0' || findings->count > 16) {
            break;
        }
        value += length + 1;
    }
    *ret_count = count;
}

static bool is_chosen(const char *const fields[], unsigned count, struct json_piece key)
{
    for (unsigned i = 0; i < count; i++) {
        /* The key comes with its quotes; names of fields need no escapes. */
        if (strlen(fields[i]) + 2 == key.length &&
            memcmp(fields[i], key.start + 1, key.length - 2) == 0) {
            return true;
        }
    }
    return false;
}

void fields_project(const char *const fields[], unsigned count, const char *body, size_t length,
                    struct text *text)
{
    struct json_walk walk = json_walk_start(body, length);
    struct json_piece key, value;
    char separator = '{';
    while (json_walk_next(&walk, &key, &value) == VIM_OK) {
        if (is_chosen(fields, count, key)) {
            text_add_char(text, separator);
            text_add_bytes(text, key.start, key.length);
            text_add_char(text, ':');
            text_add_bytes(text, value.start, value.length);
            separator = ',';
        }
    }
    text_add(text, separator == '{' ? "{}" : "}");
}

/* --- Order ----------------------------------------------------------------------------------- */

void sort_key_read(const char *field, const char *body, size_t length, struct sort_key *ret_key)
{
    struct json_piece piece;
    ret_key->type = '~';
    ret_key->number = 0;
    ret_key->text[0] = '\0';
    if (json_peek(body, length, field, &piece) != VIM_OK || piece.length == 0) {
        return;
    }
    CLEANUP_FREE char *text = NULL;
    if (*piece.start == '"' && json_piece_text(piece, &text) == VIM_OK) {
        ret_key->type = 't';
        snprintf(ret_key->text, sizeof(ret_key->text), "%s", text);
    } else if (*piece.start == 't' || *piece.start == 'f') {
        ret_key->type = 'b';
        ret_key->number = *piece.start == 't';
    } else if (json_piece_number(piece, &ret_key->number) == VIM_OK) {
        ret_key->type = 'n';
    }
}

int sort_key_compare(const struct sort_key *a, const struct sort_key *b)
{
    if (a->type != b->type) {
        return a->type < b->type ? -1 : 1;
    }
    if (a->type == 't') {
        return strcmp(a->text, b->text);
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

/* --- Page tokens: base64url of "CHECK.TYPE.NUMBER.ID.TEXT" ------------------------------------
 * A token grants nothing, since what a page shows is selected by who asks; the check only ties it
 * to its query. Hence a digest without a secret, the same in every process and after a restart.
 */

static void token_check(uint64_t fingerprint, const char *payload, char ret_check[17])
{
    uint8_t digest[DIGEST_SIZE];
    CLEANUP_FREE char *all = text_format("page %016" PRIx64 " %s", fingerprint, payload);
    digest_sha256(all, strlen(all), digest);
    digest_hex(digest, 8, ret_check);
}

char *page_token_make(const struct list_query *query, const char *id, const struct sort_key *key)
{
    char check[17];
    CLEANUP_FREE char *payload =
        key ? text_format("%c.%a.%s.%s", key->type, key->number, id, key->text)
            : text_format("~.0x0p+0.%s.", id);
    token_check(query->fingerprint, payload, check);
    CLEANUP_FREE char *token = text_format("%s.%s", check, payload);
    return digest_base64url(token, strlen(token));
}

/* Cuts the part before SEPARATOR off; NULL if there is none. */
static char *cut(char **text, char separator)
{
    char *start = *text;
    char *end = strchr(start, separator);
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    *text = end + 1;
    return start;
}

static bool token_read(const char *token, struct list_query *query)
{
    uint8_t *bytes = NULL;
    size_t size;
    if (strlen(token) > 2048 ||
        digest_base64url_decode(token, strlen(token), &bytes, &size) != VIM_OK) {
        return false;
    }
    CLEANUP_FREE char *text = text_duplicate_bytes((const char *)bytes, size);
    free(bytes);
    char *rest = text;
    char expected[17];
    const char *check = cut(&rest, '.');
    if (check == NULL) {
        return false;
    }
    token_check(query->fingerprint, rest, expected);
    if (strcmp(check, expected) != 0) {
        return false;
    }
    /* It is ours; that it is complete has still to be seen, since anybody can make a check. */
    const char *type = cut(&rest, '.');
    char *number = type ? rest : NULL;
    /* %a has a point of its own in it: the id begins behind the point that follows the exponent. */
    char *end = NULL;
    query->after_key.number = number ? strtod(number, &end) : 0;
    if (end == NULL || end == number || *end != '.') {
        return false;
    }
    rest = end + 1;
    const char *id = cut(&rest, '.');
    if (id == NULL || strlen(type) != 1 || strlen(id) >= sizeof(query->after_id) ||
        strlen(rest) >= sizeof(query->after_key.text)) {
        return false;
    }
    query->after_key.type = *type;
    strcpy(query->after_id, id);
    strcpy(query->after_key.text, rest);
    return true;
}

/* --- Parameters ------------------------------------------------------------------------------ */

static void parse_limit(const char *value, struct list_query *query, struct findings *findings)
{
    long long limit;
    if (text_to_integer(value, &limit) != VIM_OK || limit < 1 || limit > QUERY_LIMIT_MAX) {
        findings_add(findings, "?limit", "must be from 1 to %d", QUERY_LIMIT_MAX);
    } else {
        query->limit = (uint32_t)limit;
    }
}

static void parse_sort(const struct vocabulary *vocabulary, const char *id_ordered,
                       const char *value, struct list_query *query, struct findings *findings)
{
    query->descending = *value == '-';
    value += *value == '-' || *value == '+';
    const struct field *field = vocabulary_find(vocabulary, value);
    if (field == NULL) {
        unknown_name(vocabulary, "?sort", value, "", findings);
    } else if (!is_scalar(field)) {
        findings_add(findings, "?sort", "%s has no order", value);
    } else if (strcmp(value, "id") != 0 && !text_has_word(id_ordered, value)) {
        free(query->sort);
        query->sort = text_duplicate(value);
    }
}

static uint64_t fingerprint(const char *scope, const struct header *query, size_t count)
{
    CLEANUP_TEXT struct text all = {0};
    text_add(&all, scope);
    for (size_t i = 0; i < count; i++) {
        if (!text_has_word("limit fields page_token", query[i].name)) {
            text_printf(&all, "\n%zu:%s=%s", strlen(query[i].name), query[i].name, query[i].value);
        }
    }
    uint8_t digest[DIGEST_SIZE];
    digest_sha256(text_get(&all), all.length, digest);
    uint64_t value;
    memcpy(&value, digest, sizeof(value));
    return value;
}

static bool given_before(const struct header *query, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(query[i].name, query[at].name) == 0) {
            return true;
        }
    }
    return false;
}

static void parse_parameter(const struct vocabulary *vocabulary, const char *id_ordered,
                            const struct header *parameter, struct list_query *query,
                            struct findings *findings)
{
    const char *name = parameter->name, *value = parameter->value;
    const struct field *field = NULL;
    if (strcmp(name, "limit") == 0) {
        parse_limit(value, query, findings);
    } else if (strcmp(name, "page_token") == 0) {
        query->has_after = true;
    } else if (strcmp(name, "filter") == 0) {
        filter_parse(vocabulary, value, &query->filter, findings);
    } else if (strcmp(name, "sort") == 0) {
        parse_sort(vocabulary, id_ordered, value, query, findings);
    } else if (strcmp(name, "fields") == 0) {
        fields_parse(vocabulary, value, query->fields, &query->field_count, findings);
    } else if (strcmp(name, "changed_since") == 0) {
        filter_add_since(value, &query->filter, findings);
    } else if (strcmp(name, "label") == 0 && vocabulary_find(vocabulary, "labels")) {
        filter_add_label(value, &query->filter, findings);
    } else if ((field = vocabulary_find(vocabulary, name)) != NULL && field->type != FIELD_TEXTS) {
        filter_add_equal(field, value, &query->filter, findings);
    } else {
        char pointer[128];
        snprintf(pointer, sizeof(pointer), "?%.120s", name);
        if (field) {
            findings_add(findings, pointer, "%s has members: use filter=(eq,%s/NAME,VALUE)", name,
                         name);
            return;
        }
        CLEANUP_FREE char *more =
            text_format("%s%s", reserved, vocabulary_find(vocabulary, "labels") ? " label" : "");
        unknown_name(vocabulary, pointer, name, more, findings);
    }
}

void list_query_parse(const struct vocabulary *vocabulary, const char *scope,
                      const char *id_ordered, const struct header *query, size_t count,
                      struct list_query *ret_query, struct findings *findings)
{
    /* The filter's clauses are initialised one by one. */
    ret_query->filter.count = 0;
    ret_query->limit = QUERY_LIMIT_DEFAULT;
    ret_query->sort = NULL;
    ret_query->descending = false;
    ret_query->field_count = 0;
    ret_query->fingerprint = 0;
    ret_query->has_after = false;
    const char *token = NULL;
    bool plain = true;
    for (size_t i = 0; i < count && findings->count < 32; i++) {
        if (text_has_word("limit page_token sort fields changed_since", query[i].name) &&
            given_before(query, i)) {
            char pointer[64];
            snprintf(pointer, sizeof(pointer), "?%s", query[i].name);
            findings_add(findings, pointer, "is given twice");
            continue;
        }
        if (strcmp(query[i].name, "page_token") == 0) {
            token = query[i].value;
        } else if (strcmp(query[i].name, "limit") != 0) {
            plain = false;
        }
        parse_parameter(vocabulary, id_ordered, &query[i], ret_query, findings);
    }
    ret_query->fingerprint = fingerprint(scope, query, plain ? 0 : count);
    if (token && findings->count == 0 && !token_read(token, ret_query)) {
        findings_add(findings, "?page_token",
                     "does not belong to this query: take it from the answer's next, with the same "
                     "filters and the same sort");
    }
}

void list_query_free(struct list_query *query)
{
    filter_free(&query->filter);
    free(query->sort);
    for (unsigned i = 0; i < query->field_count; i++) {
        free(query->fields[i]);
    }
    query->sort = NULL;
    query->field_count = 0;
}
